/* GET over HTTP/1.1: one request a key on a kept-alive connection; the body's size comes from
 * Content-Length, which tarn always sends. */
#include "cli/get.h"

#include <string.h>
#include <strings.h>

#include "core/bytes.h"
#include "core/number.h"

#define HEADER_LINES_MAX 100

static void append_encoded(struct buffer *out, const char *key)
{
    for (const unsigned char *p = (const unsigned char *)key; *p; p++) {
        bool plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
                     (*p >= '0' && *p <= '9') || strchr("-_~", *p);
        if (plain)
            buffer_append_byte(out, *p);
        else
            buffer_printf(out, "%%%02X", *p);
    }
}

static int send_request(struct stream *stream, const char *password, const char *key,
                        struct tarn_error *error)
{
    struct buffer request = {0};
    buffer_append_text(&request, "GET /kv?key=");
    append_encoded(&request, key);
    buffer_printf(&request, " HTTP/1.1\r\nHost: %s\r\nUser-Agent: tarn/%s\r\n", stream->name,
                  TARN_VERSION);
    if (password && *password)
        buffer_printf(&request, "Authorization: Bearer %s\r\n", password);
    buffer_append_text(&request, "\r\n");
    int status = request.failed ? error_set(error, TARN_NOMEM, "out of memory")
                                : stream_send(stream, buffer_view(&request), error);
    buffer_done(&request);
    return status;
}

struct response {
    int status;
    uint64_t size; /* of the body */
    bool sized;    /* there was a Content-Length */
    bool close;    /* the server closes after it */
    char reason[128];
};

static int not_http(const struct stream *stream, struct tarn_error *error)
{
    return error_set(error, TARN_CORRUPT, "%s: the answer is not HTTP; for RESP leave out http://",
                     stream->name);
}

/* The value of a header line called `name`, or NULL. */
static const char *header_value(const char *line, const char *name)
{
    size_t size = strlen(name);
    if (strncasecmp(line, name, size) != 0 || line[size] != ':')
        return NULL;
    line += size + 1;
    return line + strspn(line, " \t");
}

static int read_head(struct stream *stream, struct response *response, struct tarn_error *error)
{
    char line[STREAM_LINE_MAX];
    int minor = 0, status = stream_line(stream, line, error);
    if (status != TARN_OK)
        return status;
    *response = (struct response){0};
    if (sscanf(line, "HTTP/1.%1d %3d %127[^\r\n]", &minor, &response->status, response->reason) < 2)
        return not_http(stream, error);
    response->close = minor == 0;
    for (int i = 0; i < HEADER_LINES_MAX; i++) {
        const char *value;
        status = stream_line(stream, line, error);
        if (status != TARN_OK)
            return status;
        if (line[0] == 0)
            return TARN_OK;
        if ((value = header_value(line, "Content-Length"))) {
            response->sized = number_parse_uint(bytes_of(value), &response->size);
            if (!response->sized)
                return not_http(stream, error);
        } else if ((value = header_value(line, "Connection"))) {
            response->close = strcasecmp(value, "close") == 0;
        } else if (header_value(line, "Transfer-Encoding")) {
            return error_set(error, TARN_CORRUPT, "%s: the answer is chunked; is it tarn?",
                             stream->name);
        }
    }
    return error_set(error, TARN_CORRUPT, "%s: too many header lines", stream->name);
}

static int get_one(struct stream *stream, const char *password, const char *key,
                   struct get_output *output, bool *ret_close, struct tarn_error *error)
{
    struct response response;
    int status = send_request(stream, password, key, error);
    do { /* 1xx answers come before the real one */
        if (status == TARN_OK)
            status = read_head(stream, &response, error);
    } while (status == TARN_OK && response.status / 100 == 1);
    if (status != TARN_OK)
        return status;
    *ret_close = response.close;
    if (response.status == 401)
        return error_set(error, TARN_DENIED, "%s: %s", stream->name,
                         password && *password ? "wrong password" : "use --password");
    if (response.status != 200 && response.status != 404)
        return error_set(error, TARN_IO, "%s: HTTP status %d %s", stream->name, response.status,
                         response.reason);
    if (!response.sized)
        return error_set(error, TARN_CORRUPT, "%s: an answer without Content-Length; is it tarn?",
                         stream->name);
    bool found = response.status == 200;
    status = stream_copy(stream, response.size, found ? output->values : NULL, error);
    if (status != TARN_OK)
        return status;
    if (found && output->terminator >= 0)
        putc(output->terminator, output->values);
    if (!found) {
        output->missing_count++;
        output->missing(output->context, key);
    }
    return TARN_OK;
}

int get_http_on(struct stream *stream, const char *password, const char *const *keys, int count,
                struct get_output *output, int *ret_done, struct tarn_error *error)
{
    bool closed = false;
    int status = TARN_OK, done = 0;
    while (done < count && status == TARN_OK && !closed) {
        status = get_one(stream, password, keys[done], output, &closed, error);
        done++;
    }
    *ret_done = done;
    return status;
}

int get_http(struct stream *stream, const struct stream_address *address, unsigned timeout_ms,
             const char *password, const char *const *keys, int count, struct get_output *output,
             struct tarn_error *error)
{
    int status = TARN_OK;
    if (password && strpbrk(password, "\r\n"))
        return error_set(error, TARN_INVALID, "a password with a line break cannot go over HTTP");
    for (int done = 0; done < count && status == TARN_OK;) {
        int more = 0;
        status = stream_open(stream, address, timeout_ms, error);
        if (status == TARN_OK)
            status = get_http_on(stream, password, keys + done, count - done, output, &more, error);
        stream_close(stream);
        done += more;
    }
    return status;
}
