/* The HTTP front: requests that read.
 *
 * Invariant: a value sent without copying is pinned in the same version it was found in.
 * Failure modes: out of memory or over a bound is a 503 or 413; a key that cannot be read a 500. Of
 * a data file on disk: http_fetch.c's. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "server/http_internal.h"
#include "server/http_mget.h"
#include "server/http_request.h"
#include "server/metrics.h"

/* --- values --- */

static struct tarn_bytes field(struct MHD_Connection *mhd, const char *name)
{
    const char *value = NULL;
    size_t size = 0;

    if (MHD_lookup_connection_value_n(mhd, MHD_HEADER_KIND, name, strlen(name), &value, &size) !=
        MHD_YES)
        return (struct tarn_bytes){NULL, 0};
    return (struct tarn_bytes){value != NULL ? value : "", size};
}

/* A value that was found, and what it is sent from. */
struct found {
    struct tarn_record record;
    uint64_t size;           /* of the value */
    struct tarn_pin *pin;    /* keeps a large one; NULL: it is copied */
    struct tarn_stream *far; /* of one that is on disk and read by pieces: the record's is NULL */
};

/* Find a value; one too large to copy is pinned. Both look at the version the session sees until
 * its next quiescent state. */
static int find_value(struct http_connection *c, struct found *ret_found)
{
    struct tarn_session *session = c->thread->session;
    struct tarn_record *record = &ret_found->record;
    int status;

    *ret_found = (struct found){.record = {.key = c->key}};
    if (c->fetched) {
        status = tarn_stream_open(session, c->key, &ret_found->far, &ret_found->size);
        if (status != TARN_OK || ret_found->far != NULL)
            return status;
    }
    status = tarn_get_record(session, c->key, record);
    if (status != TARN_OK)
        return status;
    ret_found->size = record->value.size;
    if (record->value.size > HTTP_COPY_BYTES_MAX)
        ret_found->pin = tarn_pin(session, record->value);
    return TARN_OK;
}

static void release_pin(void *pin)
{
    tarn_unpin(pin);
}

/* `size` bytes of the value from `offset` on; takes over what it is sent from. */
static struct MHD_Response *response_of_part(struct http_connection *c, struct MHD_Connection *mhd,
                                             const struct found *found, uint64_t offset,
                                             uint64_t size)
{
    struct MHD_Response *response;

    if (found->far != NULL)
        return http_far_response(c, mhd, found->far, offset, size);
    /* MHD only reads. */
    void *data = (void *)(uintptr_t)((const char *)found->record.value.data + offset);
    if (found->pin == NULL)
        return MHD_create_response_from_buffer(size, data, MHD_RESPMEM_MUST_COPY);
    response =
        MHD_create_response_from_buffer_with_free_callback_cls(size, data, release_pin, found->pin);
    if (response == NULL)
        tarn_unpin(found->pin);
    return response;
}

/* A text instead of the value. */
static struct MHD_Response *response_of_text(const struct found *found, const char *text)
{
    tarn_unpin(found->pin);
    tarn_stream_close(found->far);
    return MHD_create_response_from_buffer(strlen(text), (void *)(uintptr_t)text,
                                           MHD_RESPMEM_PERSISTENT);
}

/* What of a value is to be sent, after the conditions and the range asked for (RFC 9110 sections
 * 13.2.2 and 14.2). Returns the status. */
static unsigned select_part(struct http_connection *c, struct MHD_Connection *mhd,
                            struct tarn_bytes tag, uint64_t size, uint64_t *first, uint64_t *last)
{
    struct tarn_bytes range = field(mhd, "Range");
    struct tarn_bytes if_range = field(mhd, "If-Range");
    struct http_conditions conditions;

    if (!http_conditions_get(mhd, &conditions))
        return MHD_HTTP_BAD_REQUEST;
    if (conditions.match.count > 0 && !http_tags_have(&conditions.match, tag, false))
        return MHD_HTTP_PRECONDITION_FAILED;
    if (http_tags_have(&conditions.none_match, tag, true))
        return MHD_HTTP_NOT_MODIFIED;
    if (range.data == NULL || c->is_head)
        return MHD_HTTP_OK;
    if (if_range.data != NULL && (tag.size == 0 || !bytes_equal(http_trim(if_range), tag)))
        return MHD_HTTP_OK;
    switch (http_range_parse(range, size, first, last)) {
    case HTTP_RANGE_PART:
        return MHD_HTTP_PARTIAL_CONTENT;
    case HTTP_RANGE_UNSATISFIABLE:
        return MHD_HTTP_RANGE_NOT_SATISFIABLE;
    case HTTP_RANGE_NONE:
        break;
    }
    return MHD_HTTP_OK;
}

/* How long the key still lives, if not for ever. */
static void add_ttl(struct http_connection *c, struct MHD_Response *response, int64_t expire_ms)
{
    char text[24];
    if (expire_ms == 0)
        return;
    int64_t left_ms = expire_ms - tarn_now_ms(server_store(c->thread->http->server));
    snprintf(text, sizeof text, "%" PRId64, left_ms > 0 ? left_ms : 1); /* it was there just now */
    MHD_add_response_header(response, "Tarn-Ttl-Ms", text);
}

/* What is answered instead of the value; NULL: the value. */
static const char *text_of(unsigned status)
{
    switch (status) {
    case MHD_HTTP_RANGE_NOT_SATISFIABLE:
        return "{\"error\":\"range is outside the value\"}\n";
    case MHD_HTTP_PRECONDITION_FAILED:
        return "{\"error\":\"the value has another entity tag\"}\n";
    case MHD_HTTP_NOT_MODIFIED:
        return "";
    case MHD_HTTP_BAD_REQUEST:
        return "{\"error\":\"too many conditions\"}\n";
    default:
        return NULL;
    }
}

static void add_range(struct MHD_Response *response, unsigned status, uint64_t first, uint64_t last,
                      uint64_t size)
{
    char range[80];

    if (status == MHD_HTTP_PARTIAL_CONTENT)
        snprintf(range, sizeof range, "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, first, last, size);
    else if (status == MHD_HTTP_RANGE_NOT_SATISFIABLE)
        snprintf(range, sizeof range, "bytes */%" PRIu64, size);
    else
        return;
    MHD_add_response_header(response, "Content-Range", range);
}

/* A value that is read by pieces has no tag, since nobody has seen all of it yet. */
static enum MHD_Result answer_found(struct http_connection *c, struct MHD_Connection *mhd,
                                    const struct found *found)
{
    char tag[HTTP_TAG_BYTES] = "";
    uint64_t first = 0, last = found->size - 1;

    if (found->far == NULL)
        http_tag_make(found->record.value, tag);
    unsigned status = select_part(c, mhd, bytes_of(tag), found->size, &first, &last);
    const char *text = text_of(status);
    uint64_t size = text != NULL ? strlen(text) : last - first + 1;
    struct MHD_Response *response =
        text != NULL ? response_of_text(found, text) : response_of_part(c, mhd, found, first, size);
    if (response == NULL)
        return MHD_NO;
    if (status != MHD_HTTP_NOT_MODIFIED)
        MHD_add_response_header(response, "Content-Type",
                                status >= MHD_HTTP_BAD_REQUEST ? "application/json"
                                                               : "application/octet-stream");
    if (tag[0] != 0)
        MHD_add_response_header(response, "ETag", tag);
    MHD_add_response_header(response, "Accept-Ranges", "bytes");
    MHD_add_response_header(response, "Cache-Control", "no-cache");
    add_ttl(c, response, found->record.expire_ms);
    add_range(response, status, first, last, found->size);
    return http_send(c, mhd, status, response, size);
}

enum MHD_Result http_answer_value(struct http_connection *c, struct MHD_Connection *mhd)
{
    struct found found;
    enum MHD_Result result;

    if (!http_fetch(c, mhd, &c->key, 1, &result))
        return result;
    int status = find_value(c, &found);
    http_count(status == TARN_OK ? &c->thread->counters.hits : &c->thread->counters.misses, 1);
    return status == TARN_OK ? answer_found(c, mhd, &found) : http_answer_failure(c, mhd, status);
}

/* --- other routes --- */

static uint64_t reply_bytes_max(struct http_connection *c)
{
    struct server *server = c->thread->http->server;

    server_config_lock(server);
    uint64_t limit = server_config(server)->output_bytes_max;
    server_config_unlock(server);
    return limit == 0 || limit > HTTP_REPLY_BYTES_MAX ? HTTP_REPLY_BYTES_MAX : limit;
}

enum MHD_Result http_answer_mget(struct http_connection *c, struct MHD_Connection *mhd)
{
    struct http_thread *t = c->thread;
    struct tarn_error error;
    struct buffer out;
    uint64_t hits = 0, misses = 0;
    enum MHD_Result result;

    if (!c->fetched && http_mget_parse(c->body.data, c->body.size, HTTP_KEYS_MAX, &c->keys,
                                       &c->keys_count, &error) != TARN_OK)
        return http_answer_bad_body(c, mhd, &error);
    if (!http_fetch(c, mhd, c->keys, c->keys_count, &result))
        return result;
    buffer_init(&out, reply_bytes_max(c));
    int status =
        http_mget_answer(t->session, c->keys, c->keys_count, t->http->seed, &out, &hits, &misses);
    http_count(&t->counters.hits, hits);
    http_count(&t->counters.misses, misses);
    if (status == TARN_OK && http_buffers_take(c, out.capacity))
        return http_answer_buffer(c, mhd, &out, "application/json");
    buffer_done(&out);
    if (status == TARN_TOOBIG)
        return http_answer_error(c, mhd, MHD_HTTP_CONTENT_TOO_LARGE,
                                 "the values are too large for one reply: ask for fewer keys");
    if (status == TARN_IO || status == TARN_CORRUPT)
        return http_answer_failure(c, mhd, status);
    return http_answer_error(c, mhd, MHD_HTTP_SERVICE_UNAVAILABLE,
                             "too much memory is taken by other requests");
}

/* 503, 507 when changes are not taken any more, or not all keys can be read: somebody must look. No
 * password is needed here, so nothing more is told. */
enum MHD_Result http_answer_healthz(struct http_connection *c, struct MHD_Connection *mhd)
{
    struct tarn_log_stats log;

    tarn_log_stats_get(server_store(c->thread->http->server), &log);
    if (log.state == TARN_NOSPACE)
        return http_answer_error(c, mhd, MHD_HTTP_INSUFFICIENT_STORAGE, HTTP_NO_SPACE_TEXT);
    if (log.state != TARN_OK)
        return http_answer_error(c, mhd, MHD_HTTP_SERVICE_UNAVAILABLE, HTTP_LOG_FAILED_TEXT);
    if (log.loading && log.loading_status == TARN_FULL)
        return http_answer_error(c, mhd, MHD_HTTP_INSUFFICIENT_STORAGE, HTTP_LOADING_FULL_TEXT);
    if (log.loading && log.loading_status != TARN_OK)
        return http_answer_error(c, mhd, MHD_HTTP_SERVICE_UNAVAILABLE, HTTP_LOADING_FAILED_TEXT);
    return http_answer_text(
        c, mhd, MHD_HTTP_OK,
        bytes_of(log.loading ? "ok, the checkpoint is still being read\n" : "ok\n"),
        "text/plain; charset=utf-8");
}

enum MHD_Result http_answer_stats(struct http_connection *c, struct MHD_Connection *mhd)
{
    struct buffer out;

    buffer_init(&out, HTTP_REPLY_BYTES_MAX);
    metrics_json(c->thread->http->server, &out);
    return http_answer_buffer(c, mhd, &out, "application/json");
}

enum MHD_Result http_answer_metrics(struct http_connection *c, struct MHD_Connection *mhd)
{
    struct buffer out;

    buffer_init(&out, HTTP_REPLY_BYTES_MAX);
    metrics_prometheus(c->thread->http->server, &out);
    return http_answer_buffer(c, mhd, &out, "text/plain; version=0.0.4; charset=utf-8");
}
