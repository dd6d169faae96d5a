/* RESP as a client speaks it; see resp_client.h.
 *
 * Failure modes: whatever a server sends that is not RESP, or has a size over tarn's limits, is
 * CORRUPT, with the server's name. */
#include "cli/resp_client.h"

#include "core/bytes.h"
#include "core/number.h"

void resp_client_argument(struct buffer *request, struct tarn_bytes argument)
{
    buffer_printf(request, "$%zu\r\n", argument.size);
    buffer_append(request, argument.data, argument.size);
    buffer_append_text(request, "\r\n");
}

void resp_client_begin(struct buffer *request, size_t arguments)
{
    buffer_printf(request, "*%zu\r\n", arguments);
}

int resp_client_send(struct stream *stream, struct buffer *request, struct tarn_error *error)
{
    int status = request->failed ? error_set(error, TARN_NOMEM, "out of memory")
                                 : stream_send(stream, buffer_view(request), error);
    buffer_clear(request);
    return status;
}

int resp_client_unexpected(const struct stream *stream, struct tarn_error *error)
{
    return error_set(error, TARN_CORRUPT,
                     "%s: the answer is not RESP; for HTTP write http://HOST:PORT", stream->name);
}

int resp_client_refused(const struct stream *stream, const struct resp_reply *reply,
                        struct tarn_error *error)
{
    bool no_password = strncmp(reply->line, "NOAUTH", 6) == 0;
    bool denied = no_password || strncmp(reply->line, "WRONGPASS", 9) == 0;
    return error_set(error, denied ? TARN_DENIED : TARN_IO, "%s: %.300s%s", stream->name,
                     reply->line, no_password ? " (use --password)" : "");
}

/* The number of a line, behind its type; -1 stands for "none" where a size is meant. */
static bool take_number(const char *line, struct resp_reply *reply, uint64_t size_max)
{
    bool ok = number_parse_int(bytes_of(line + 1), &reply->number);
    if (!ok || reply->type == RESP_INTEGER)
        return ok;
    if (reply->number == -1)
        reply->type = RESP_NULL;
    return reply->number >= -1 && (reply->number < 0 || (uint64_t)reply->number <= size_max);
}

int resp_client_reply(struct stream *stream, struct resp_reply *ret_reply, struct tarn_error *error)
{
    static const char types[] = "+-:$_*";
    char *line = ret_reply->line;
    int status = stream_line(stream, line, error);
    if (status != TARN_OK)
        return status;
    const char *type = line[0] != 0 ? strchr(types, line[0]) : NULL;
    if (type == NULL)
        return resp_client_unexpected(stream, error);
    ret_reply->type = (enum resp_reply_type)(type - types);
    ret_reply->number = 0;
    switch (ret_reply->type) {
    case RESP_SIMPLE:
    case RESP_ERROR:
        memmove(line, line + 1, strlen(line));
        return TARN_OK;
    case RESP_NULL:
        return line[1] == 0 ? TARN_OK : resp_client_unexpected(stream, error);
    default:
        return take_number(line, ret_reply,
                           ret_reply->type == RESP_BULK ? TARN_VALUE_BYTES_MAX : UINT32_MAX)
                   ? TARN_OK
                   : resp_client_unexpected(stream, error);
    }
}

/* The end of line behind a bulk string. */
static int take_end(struct stream *stream, struct tarn_error *error)
{
    char end[2];
    int status = stream_read(stream, end, sizeof end, error);
    if (status == TARN_OK && memcmp(end, "\r\n", 2) != 0)
        status = resp_client_unexpected(stream, error);
    return status;
}

int resp_client_bulk(struct stream *stream, uint64_t size, struct buffer *out,
                     struct tarn_error *error)
{
    if (!buffer_reserve_exactly(out, size))
        return error_set(error, TARN_NOMEM, "out of memory: a value has %llu bytes",
                         (unsigned long long)size);
    int status = stream_read(stream, out->data + out->size, size, error);
    if (status != TARN_OK)
        return status;
    out->size += size;
    return take_end(stream, error);
}

int resp_client_copy_bulk(struct stream *stream, uint64_t size, FILE *to, struct tarn_error *error)
{
    int status = stream_copy(stream, size, to, error);
    return status == TARN_OK ? take_end(stream, error) : status;
}

int resp_client_do(struct stream *stream, struct buffer *request, struct tarn_error *error)
{
    struct resp_reply reply;
    int status = resp_client_send(stream, request, error);
    if (status == TARN_OK)
        status = resp_client_reply(stream, &reply, error);
    if (status != TARN_OK)
        return status;
    if (reply.type == RESP_ERROR)
        return resp_client_refused(stream, &reply, error);
    return reply.type == RESP_SIMPLE ? TARN_OK : resp_client_unexpected(stream, error);
}

int resp_client_authenticate(struct stream *stream, const char *password, struct tarn_error *error)
{
    struct buffer request = {0};
    if (!password || !*password)
        return TARN_OK;
    resp_client_begin(&request, 2);
    resp_client_argument(&request, bytes_of("AUTH"));
    resp_client_argument(&request, bytes_of(password));
    int status = resp_client_do(stream, &request, error);
    buffer_done(&request);
    return status;
}
