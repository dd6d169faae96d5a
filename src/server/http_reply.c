/* The HTTP front: replies, and the memory of requests and replies.
 *
 * Invariant: a request's buffers are counted in http->buffered_bytes, and in the store's budget,
 * until it is done or lets them go.
 * Failure modes: where not even an error can be made for lack of memory, MHD_NO closes the
 * connection. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/escape.h"
#include "core/hash.h"
#include "server/http_internal.h"

enum MHD_Result http_send(struct http_connection *c, struct MHD_Connection *mhd, unsigned status,
                          struct MHD_Response *response, uint64_t bytes)
{
    if (response == NULL)
        return MHD_NO;
    if (atomic_load(&c->thread->http->closing))
        MHD_add_response_header(response, "Connection", "close");
    if (c->committed)
        MHD_add_response_header(response, "Preference-Applied", "durability=commit");
    c->stage = HTTP_REPLY;
    http_connection_extend(c, bytes);
    enum MHD_Result result = MHD_queue_response(mhd, status, response);
    MHD_destroy_response(response);
    return result;
}

enum MHD_Result http_answer_text(struct http_connection *c, struct MHD_Connection *mhd,
                                 unsigned status, struct tarn_bytes text, const char *type)
{
    /* MHD copies, and does not write to what it is given. */
    struct MHD_Response *response = MHD_create_response_from_buffer(
        text.size, (void *)(uintptr_t)text.data, MHD_RESPMEM_MUST_COPY);
    if (response == NULL)
        return MHD_NO;
    MHD_add_response_header(response, "Content-Type", type);
    if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
        MHD_add_response_header(response, "Allow", c->allow);
    if (status == MHD_HTTP_UNAUTHORIZED) {
        MHD_add_response_header(response, "WWW-Authenticate",
                                "Basic realm=\"tarn\", charset=\"UTF-8\"");
        MHD_add_response_header(response, "WWW-Authenticate", "Bearer realm=\"tarn\"");
    }
    if (status == MHD_HTTP_SERVICE_UNAVAILABLE)
        MHD_add_response_header(response, "Retry-After", "1");
    return http_send(c, mhd, status, response, text.size);
}

enum MHD_Result http_answer_error(struct http_connection *c, struct MHD_Connection *mhd,
                                  unsigned status, const char *text)
{
    struct buffer body = {0};

    buffer_append_text(&body, "{\"error\":");
    escape_json_lossy(&body, bytes_of(text));
    buffer_append_text(&body, "}\n");
    enum MHD_Result result = MHD_NO;
    if (!body.failed)
        result = http_answer_text(c, mhd, status, buffer_view(&body), "application/json");
    buffer_done(&body);
    return result;
}

static void free_buffer(void *buffer)
{
    buffer_done(buffer);
    free(buffer);
}

enum MHD_Result http_answer_buffer(struct http_connection *c, struct MHD_Connection *mhd,
                                   struct buffer *text, const char *type)
{
    if (text->failed || text->size == 0) {
        buffer_done(text);
        return http_answer_error(c, mhd, MHD_HTTP_SERVICE_UNAVAILABLE, "out of memory");
    }
    struct buffer *owned = malloc(sizeof *owned);
    if (owned == NULL) {
        buffer_done(text);
        return MHD_NO;
    }
    *owned = *text;
    struct MHD_Response *response = MHD_create_response_from_buffer_with_free_callback_cls(
        owned->size, owned->data, free_buffer, owned);
    if (response == NULL) {
        free_buffer(owned);
        return MHD_NO;
    }
    MHD_add_response_header(response, "Content-Type", type);
    MHD_add_response_header(response, "Cache-Control", "no-store");
    return http_send(c, mhd, MHD_HTTP_OK, response, owned->size);
}

enum MHD_Result http_answer_bad_body(struct http_connection *c, struct MHD_Connection *mhd,
                                     const struct tarn_error *error)
{
    unsigned status = error->status == TARN_INVALID  ? MHD_HTTP_BAD_REQUEST
                      : error->status == TARN_TOOBIG ? MHD_HTTP_CONTENT_TOO_LARGE
                                                     : MHD_HTTP_SERVICE_UNAVAILABLE;
    return http_answer_error(c, mhd, status, error->text);
}

/* Whether the key is there is not known. */
static enum MHD_Result answer_unreadable(struct http_connection *c, struct MHD_Connection *mhd,
                                         int status)
{
    const char *reason = tarn_unreadable(c->thread->session, c->key);
    char text[640];
    for (size_t i = 0; i < c->keys_count && reason == NULL; i++)
        reason = tarn_unreadable(c->thread->session, c->keys[i]);
    snprintf(text, sizeof text, HTTP_UNREADABLE_TEXT "%s",
             reason != NULL ? reason : tarn_status_text(status));
    return http_answer_error(c, mhd, MHD_HTTP_INTERNAL_SERVER_ERROR, text);
}

/* The log takes no changes, or nobody knows whether it has taken this one; or, if it is sound, what
 * was asked for could not be read. */
static enum MHD_Result answer_log_failure(struct http_connection *c, struct MHD_Connection *mhd,
                                          int status)
{
    struct tarn_log_stats log;
    struct buffer text = {0};

    tarn_log_stats_get(server_store(c->thread->http->server), &log);
    if (status == TARN_IO && log.state != TARN_IO)
        return answer_unreadable(c, mhd, status);
    buffer_append_text(&text, status == TARN_NOSPACE ? HTTP_NO_SPACE_TEXT
                              : status == TARN_IO    ? HTTP_LOG_FAILED_TEXT
                                                     : HTTP_UNSURE_TEXT);
    if (log.failure[0] != 0)
        buffer_printf(&text, ": %s", log.failure);
    buffer_append_byte(&text, 0);
    enum MHD_Result result = MHD_NO;
    if (!text.failed)
        result = http_answer_error(c, mhd,
                                   status == TARN_NOSPACE ? MHD_HTTP_INSUFFICIENT_STORAGE
                                                          : MHD_HTTP_SERVICE_UNAVAILABLE,
                                   (const char *)text.data);
    buffer_done(&text);
    return result;
}

enum MHD_Result http_answer_failure(struct http_connection *c, struct MHD_Connection *mhd,
                                    int status)
{
    switch (status) {
    case TARN_NOTFOUND:
        return http_answer_error(c, mhd, MHD_HTTP_NOT_FOUND, "no such key");
    case TARN_FULL:
        if (!server_is_writable(c->thread->http->server))
            return http_answer_error(c, mhd, MHD_HTTP_SERVICE_UNAVAILABLE, HTTP_NO_READ_TEXT);
        return http_answer_error(c, mhd, MHD_HTTP_INSUFFICIENT_STORAGE, HTTP_FULL_TEXT);
    case TARN_TOOBIG:
        return http_answer_error(c, mhd, MHD_HTTP_CONTENT_TOO_LARGE,
                                 "a key or a value is larger than its limit");
    case TARN_NOSPACE:
    case TARN_IO:
    case TARN_UNSURE:
        return answer_log_failure(c, mhd, status);
    case TARN_CORRUPT:
    case TARN_STALE:
        return answer_unreadable(c, mhd, status);
    case TARN_READONLY:
        return http_answer_error(c, mhd, MHD_HTTP_FORBIDDEN, HTTP_IMMUTABLE_TEXT);
    default:
        return http_answer_error(c, mhd, MHD_HTTP_SERVICE_UNAVAILABLE, tarn_status_text(status));
    }
}

void http_tag_make(struct tarn_bytes value, char ret_tag[HTTP_TAG_BYTES])
{
    snprintf(ret_tag, HTTP_TAG_BYTES, "\"%016" PRIx64 "\"",
             hash_checksum(value.data, value.size, 0));
}

/* --- the bound on buffers --- */

bool http_buffers_take(struct http_connection *c, uint64_t bytes)
{
    struct http *http = c->thread->http;
    uint64_t limit = server_is_writable(http->server) ? HTTP_BUFFERED_WRITABLE_BYTES_MAX
                                                      : HTTP_BUFFERED_BYTES_MAX;

    if (atomic_fetch_add(&http->buffered_bytes, bytes) + bytes > limit ||
        !server_memory_wait(http->server, c->thread->session, bytes)) {
        atomic_fetch_sub(&http->buffered_bytes, bytes);
        return false;
    }
    tarn_charge(server_store(http->server), (int64_t)bytes);
    c->buffered += bytes;
    return true;
}

void http_connection_release(struct http_connection *c)
{
    buffer_done(&c->body);
    if (c->buffered == 0)
        return;
    atomic_fetch_sub(&c->thread->http->buffered_bytes, c->buffered);
    tarn_charge(server_store(c->thread->http->server), -(int64_t)c->buffered);
    c->buffered = 0;
}
