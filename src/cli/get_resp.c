/* GET over RESP: requests are sent in batches small enough for any socket buffer, so that neither
 * side waits for the other to read; replies are read in order. */
#include "cli/get.h"

#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "core/number.h"

#define BATCH_KEYS  64
#define BATCH_BYTES 16384

static void append_bulk(struct buffer *request, struct tarn_bytes bytes)
{
    buffer_printf(request, "$%zu\r\n", bytes.size);
    buffer_append(request, bytes.data, bytes.size);
    buffer_append_text(request, "\r\n");
}

static int send_buffer(struct stream *stream, struct buffer *request, struct tarn_error *error)
{
    int status = request->failed ? error_set(error, TARN_NOMEM, "out of memory")
                                 : stream_send(stream, buffer_view(request), error);
    buffer_clear(request);
    return status;
}

static int not_resp(const struct stream *stream, struct tarn_error *error)
{
    return error_set(error, TARN_CORRUPT,
                     "%s: the answer is not RESP; for HTTP write http://HOST:PORT", stream->name);
}

/* An error reply as our error. */
static int server_error(const struct stream *stream, const char *line, struct tarn_error *error)
{
    bool denied = strncmp(line, "-NOAUTH", 7) == 0 || strncmp(line, "-WRONGPASS", 10) == 0;
    return error_set(error, denied ? TARN_DENIED : TARN_IO, "%s: %.300s%s", stream->name, line + 1,
                     strncmp(line, "-NOAUTH", 7) == 0 ? " (use --password)" : "");
}

static int authenticate(struct stream *stream, const char *password, struct buffer *request,
                        struct tarn_error *error)
{
    char line[STREAM_LINE_MAX];
    buffer_append_text(request, "*2\r\n$4\r\nAUTH\r\n");
    append_bulk(request, bytes_of(password));
    int status = send_buffer(stream, request, error);
    if (status == TARN_OK)
        status = stream_line(stream, line, error);
    if (status != TARN_OK)
        return status;
    if (line[0] == '-')
        return server_error(stream, line, error);
    return line[0] == '+' ? TARN_OK : not_resp(stream, error);
}

static int read_reply(struct stream *stream, const char *key, struct get_output *output,
                      struct tarn_error *error)
{
    char line[STREAM_LINE_MAX];
    uint64_t size;
    int status = stream_line(stream, line, error);
    if (status != TARN_OK)
        return status;
    if (line[0] == '-')
        return server_error(stream, line, error);
    if (strcmp(line, "$-1") == 0 || strcmp(line, "_") == 0) {
        output->missing_count++;
        output->missing(output->context, key);
        return TARN_OK;
    }
    if (line[0] != '$' || !number_parse_uint(bytes_of(line + 1), &size) ||
        size > TARN_VALUE_BYTES_MAX)
        return not_resp(stream, error);
    status = stream_copy(stream, size, output->values, error);
    if (status == TARN_OK)
        status = stream_line(stream, line, error);
    if (status == TARN_OK && line[0] != 0)
        status = not_resp(stream, error);
    if (status == TARN_OK && output->terminator >= 0)
        putc(output->terminator, output->values);
    return status;
}

int get_resp(struct stream *stream, const char *password, const char *const *keys, int count,
             struct get_output *output, struct tarn_error *error)
{
    struct buffer request = {0};
    int status = TARN_OK;
    if (password && *password)
        status = authenticate(stream, password, &request, error);
    for (int sent = 0, received = 0; received < count && status == TARN_OK;) {
        do {
            buffer_append_text(&request, "*2\r\n$3\r\nGET\r\n");
            append_bulk(&request, bytes_of(keys[sent++]));
        } while (sent < count && sent - received < BATCH_KEYS &&
                 request.size + strlen(keys[sent]) < BATCH_BYTES);
        status = send_buffer(stream, &request, error);
        for (; received < sent && status == TARN_OK; received++)
            status = read_reply(stream, keys[received], output, error);
    }
    buffer_done(&request);
    return status;
}
