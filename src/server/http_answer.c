/* The HTTP front: what requests ask and what they get. Threads and time are in http.c.
 *
 * How: MHD calls http_target_seen() with the request line, then http_request_handle() when the
 * head is complete, for each piece of a body, and at the request's end. The first of these judges
 * the head; the verdict is either "go on", an error to answer at the end (the connection stays
 * usable), or an error to answer at once, after which MHD closes the connection.
 *
 * Invariants
 * 1. Nothing of a request whose framing is in doubt is answered but with an error and a close:
 *    what follows it might be part of it (request smuggling).
 * 2. Checks come in this order: framing, connection limit, Host, path, password, method, body.
 * 3. A value sent without copying is pinned in the same version it was found in.
 * 4. A request's buffers are counted in http->buffered_bytes until it is done.
 * Failure modes: out of memory or over a bound is a 503 or 413; where not even that can be said,
 * the connection is closed. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/hash.h"
#include "server/escape.h"
#include "server/http_internal.h"
#include "server/http_mget.h"
#include "server/http_request.h"
#include "server/metrics.h"

enum { METHOD_GET = 1, METHOD_POST = 2 };

struct http_route {
    const char *path;
    const char *allow; /* for 405 */
    unsigned methods;
    bool is_prefix; /* the rest of the path is a key */
    bool is_open;   /* no password needed */
    enum MHD_Result (*answer)(struct http_connection *c, struct MHD_Connection *mhd);
};

/* --- replies --- */

static enum MHD_Result send_reply(struct http_connection *c, struct MHD_Connection *mhd,
                                  unsigned status, struct MHD_Response *response, uint64_t bytes)
{
    if (response == NULL)
        return MHD_NO;
    if (atomic_load(&c->thread->http->closing))
        MHD_add_response_header(response, "Connection", "close");
    c->stage = HTTP_REPLY;
    http_connection_extend(c, bytes);
    enum MHD_Result result = MHD_queue_response(mhd, status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result answer_text(struct http_connection *c, struct MHD_Connection *mhd,
                                   unsigned status, struct tarn_bytes text, const char *type)
{
    /* MHD copies, and does not write to what it is given. */
    struct MHD_Response *response = MHD_create_response_from_buffer(
        text.size, (void *)(uintptr_t)text.data, MHD_RESPMEM_MUST_COPY);
    if (response == NULL)
        return MHD_NO;
    MHD_add_response_header(response, "Content-Type", type);
    if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
        MHD_add_response_header(response, "Allow", c->route->allow);
    if (status == MHD_HTTP_UNAUTHORIZED) {
        MHD_add_response_header(response, "WWW-Authenticate",
                                "Basic realm=\"tarn\", charset=\"UTF-8\"");
        MHD_add_response_header(response, "WWW-Authenticate", "Bearer realm=\"tarn\"");
    }
    if (status == MHD_HTTP_SERVICE_UNAVAILABLE)
        MHD_add_response_header(response, "Retry-After", "1");
    return send_reply(c, mhd, status, response, text.size);
}

/* {"error": text}. */
static enum MHD_Result answer_error(struct http_connection *c, struct MHD_Connection *mhd,
                                    unsigned status, const char *text)
{
    struct buffer body = {0};

    buffer_append_text(&body, "{\"error\":");
    escape_json_lossy(&body, bytes_of(text));
    buffer_append_text(&body, "}\n");
    enum MHD_Result result = MHD_NO;
    if (!body.failed)
        result = answer_text(c, mhd, status, buffer_view(&body), "application/json");
    buffer_done(&body);
    return result;
}

static void free_buffer(void *buffer)
{
    buffer_done(buffer);
    free(buffer);
}

/* Reply with a generated text, whose memory is taken over. */
static enum MHD_Result answer_buffer(struct http_connection *c, struct MHD_Connection *mhd,
                                     struct buffer *text, const char *type)
{
    if (text->failed || text->size == 0) {
        buffer_done(text);
        return answer_error(c, mhd, MHD_HTTP_SERVICE_UNAVAILABLE, "out of memory");
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
    return send_reply(c, mhd, MHD_HTTP_OK, response, owned->size);
}

/* --- the bound on buffers --- */

/* Count `bytes` more for this request; false if all requests together would be over the bound, or
 * the server over its cap. */
static bool budget_take(struct http_connection *c, uint64_t bytes)
{
    struct http *http = c->thread->http;

    if (atomic_fetch_add(&http->buffered_bytes, bytes) + bytes > HTTP_BUFFERED_BYTES_MAX ||
        !server_memory_allows(http->server, bytes)) {
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

/* Find a value; one too large to copy is pinned (*ret_pin, else NULL). Both look at the version the
 * session sees until its next quiescent state. */
static int find_value(struct http_thread *t, struct tarn_bytes key, struct tarn_bytes *ret_value,
                      struct tarn_pin **ret_pin)
{
    int status = tarn_get(t->session, key, ret_value);

    *ret_pin = NULL;
    if (status == TARN_OK && ret_value->size > HTTP_COPY_BYTES_MAX)
        *ret_pin = tarn_pin(t->session, *ret_value);
    return status;
}

static void release_pin(void *pin)
{
    tarn_unpin(pin);
}

static struct MHD_Response *response_of_value(struct tarn_bytes part, struct tarn_pin *pin)
{
    void *data = (void *)(uintptr_t)part.data; /* MHD only reads */
    struct MHD_Response *response;

    if (pin == NULL)
        return MHD_create_response_from_buffer(part.size, data, MHD_RESPMEM_MUST_COPY);
    response =
        MHD_create_response_from_buffer_with_free_callback_cls(part.size, data, release_pin, pin);
    if (response == NULL)
        tarn_unpin(pin);
    return response;
}

/* What of a value is to be sent, after the conditions and the range asked for (RFC 9110 sections
 * 13.2.2 and 14.2). Returns the status. */
static unsigned select_part(struct http_connection *c, struct MHD_Connection *mhd,
                            struct tarn_bytes tag, uint64_t size, uint64_t *first, uint64_t *last)
{
    struct tarn_bytes if_match = field(mhd, "If-Match");
    struct tarn_bytes if_none_match = field(mhd, "If-None-Match");
    struct tarn_bytes range = field(mhd, "Range");
    struct tarn_bytes if_range = field(mhd, "If-Range");

    if (if_match.data != NULL && !http_tag_listed(if_match, tag, false))
        return MHD_HTTP_PRECONDITION_FAILED;
    if (if_none_match.data != NULL && http_tag_listed(if_none_match, tag, true))
        return MHD_HTTP_NOT_MODIFIED;
    if (range.data == NULL || c->is_head)
        return MHD_HTTP_OK;
    if (if_range.data != NULL && !bytes_equal(http_trim(if_range), tag))
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

static enum MHD_Result answer_value(struct http_connection *c, struct MHD_Connection *mhd,
                                    struct tarn_bytes value, struct tarn_pin *pin)
{
    char tag[24], range[80];
    uint64_t first = 0, last = value.size - 1;

    snprintf(tag, sizeof tag, "\"%016" PRIx64 "\"", hash_checksum(value.data, value.size, 0));
    unsigned status = select_part(c, mhd, bytes_of(tag), value.size, &first, &last);
    snprintf(range, sizeof range, "bytes %" PRIu64 "-%" PRIu64 "/%zu", first, last, value.size);
    if (status == MHD_HTTP_PARTIAL_CONTENT) {
        value = (struct tarn_bytes){(const char *)value.data + first, last - first + 1};
    } else if (status == MHD_HTTP_RANGE_NOT_SATISFIABLE) {
        snprintf(range, sizeof range, "bytes */%zu", value.size);
        value = bytes_of("{\"error\":\"range is outside the value\"}\n");
    } else if (status == MHD_HTTP_PRECONDITION_FAILED) {
        value = bytes_of("{\"error\":\"the value has another entity tag\"}\n");
    } else if (status == MHD_HTTP_NOT_MODIFIED) {
        value = (struct tarn_bytes){"", 0};
    }
    struct MHD_Response *response = response_of_value(value, pin);
    if (response == NULL)
        return MHD_NO;
    bool is_error = status >= MHD_HTTP_BAD_REQUEST;
    if (status != MHD_HTTP_NOT_MODIFIED)
        MHD_add_response_header(response, "Content-Type",
                                is_error ? "application/json" : "application/octet-stream");
    MHD_add_response_header(response, "ETag", tag);
    MHD_add_response_header(response, "Accept-Ranges", "bytes");
    MHD_add_response_header(response, "Cache-Control", "no-cache");
    if (status == MHD_HTTP_PARTIAL_CONTENT || status == MHD_HTTP_RANGE_NOT_SATISFIABLE)
        MHD_add_response_header(response, "Content-Range", range);
    return send_reply(c, mhd, status, response, value.size);
}

static enum MHD_Result answer_kv(struct http_connection *c, struct MHD_Connection *mhd)
{
    struct tarn_bytes value;
    struct tarn_pin *pin;
    int status = find_value(c->thread, c->key, &value, &pin);

    if (status == TARN_OK) {
        http_count(&c->thread->counters.hits, 1);
        return answer_value(c, mhd, value, pin);
    }
    http_count(&c->thread->counters.misses, 1);
    return answer_error(c, mhd, MHD_HTTP_NOT_FOUND, "no such key");
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

static enum MHD_Result answer_mget(struct http_connection *c, struct MHD_Connection *mhd)
{
    struct http_thread *t = c->thread;
    struct tarn_bytes *keys = NULL;
    struct tarn_error error;
    struct buffer out;
    size_t count;
    uint64_t hits = 0, misses = 0;

    if (http_mget_parse(c->body.data, c->body.size, HTTP_MGET_KEYS_MAX, &keys, &count, &error) !=
        TARN_OK) {
        unsigned code = error.status == TARN_INVALID  ? MHD_HTTP_BAD_REQUEST
                        : error.status == TARN_TOOBIG ? MHD_HTTP_CONTENT_TOO_LARGE
                                                      : MHD_HTTP_SERVICE_UNAVAILABLE;
        return answer_error(c, mhd, code, error.text);
    }
    buffer_init(&out, reply_bytes_max(c));
    int status = http_mget_answer(t->session, keys, count, t->http->seed, &out, &hits, &misses);
    free(keys);
    http_count(&t->counters.hits, hits);
    http_count(&t->counters.misses, misses);
    if (status == TARN_OK && budget_take(c, out.capacity))
        return answer_buffer(c, mhd, &out, "application/json");
    buffer_done(&out);
    if (status == TARN_TOOBIG)
        return answer_error(c, mhd, MHD_HTTP_CONTENT_TOO_LARGE,
                            "the values are too large for one reply: ask for fewer keys");
    return answer_error(c, mhd, MHD_HTTP_SERVICE_UNAVAILABLE,
                        "too much memory is taken by other requests");
}

static enum MHD_Result answer_healthz(struct http_connection *c, struct MHD_Connection *mhd)
{
    return answer_text(c, mhd, MHD_HTTP_OK, bytes_of("ok\n"), "text/plain; charset=utf-8");
}

static enum MHD_Result answer_stats(struct http_connection *c, struct MHD_Connection *mhd)
{
    struct buffer out;

    buffer_init(&out, HTTP_REPLY_BYTES_MAX);
    metrics_json(c->thread->http->server, &out);
    return answer_buffer(c, mhd, &out, "application/json");
}

static enum MHD_Result answer_metrics(struct http_connection *c, struct MHD_Connection *mhd)
{
    struct buffer out;

    buffer_init(&out, HTTP_REPLY_BYTES_MAX);
    metrics_prometheus(c->thread->http->server, &out);
    return answer_buffer(c, mhd, &out, "text/plain; version=0.0.4; charset=utf-8");
}

static const struct http_route routes[] = {
    {"/kv/", "GET, HEAD", METHOD_GET, true, false, answer_kv},
    {"/kv", "GET, HEAD", METHOD_GET, false, false, answer_kv},
    {"/mget", "POST", METHOD_POST, false, false, answer_mget},
    {"/healthz", "GET, HEAD", METHOD_GET, false, true, answer_healthz},
    {"/stats", "GET, HEAD", METHOD_GET, false, false, answer_stats},
    {"/metrics", "GET, HEAD", METHOD_GET, false, false, answer_metrics},
};

static const struct http_route *find_route(struct tarn_bytes path)
{
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        size_t size = strlen(routes[i].path);
        if (path.size >= size && memcmp(path.data, routes[i].path, size) == 0 &&
            (routes[i].is_prefix || path.size == size))
            return &routes[i];
    }
    return NULL;
}

/* --- the head --- */

/* What the fields of a request say that decides how it is taken. */
struct head {
    const char *method, *version;
    struct tarn_bytes host, authorization, content_length, transfer_encoding;
    unsigned hosts, content_lengths, transfer_encodings;
    bool expects, bad_name;
    bool torn;            /* the fields do not follow one another */
    const char *field_at; /* where the next field must begin */
};

/* 0.9.75 drops what is not well-formed in a head without a word: a line that continues the one
 * before, a bare LF, a NUL. It parses in place, so a head was clean exactly if each field begins
 * two bytes (CR and LF) after the one before. Later versions refuse such heads themselves. */
#define HEAD_IS_CHECKED_BY_PLACE (MHD_VERSION < 0x00097600)

static enum MHD_Result scan_field(void *head, enum MHD_ValueKind kind, const char *name,
                                  size_t name_size, const char *value, size_t value_size)
{
    struct head *h = head;
    struct tarn_bytes n = {name, name_size}, v = {value != NULL ? value : "", value_size};

    (void)kind;
    if (!http_field_name_valid(n))
        h->bad_name = true;
    if (name != h->field_at || value == NULL)
        h->torn = true;
    h->field_at = value != NULL ? value + value_size + 2 : NULL;
    if (bytes_equal_nocase(n, "host")) {
        h->host = v;
        h->hosts++;
    } else if (bytes_equal_nocase(n, "authorization")) {
        h->authorization = v;
    } else if (bytes_equal_nocase(n, "content-length")) {
        h->content_length = v;
        h->content_lengths++;
    } else if (bytes_equal_nocase(n, "transfer-encoding")) {
        h->transfer_encoding = v;
        h->transfer_encodings++;
    } else if (bytes_equal_nocase(n, "expect")) {
        h->expects = true;
    }
    return MHD_YES;
}

static void scan_head(struct http_connection *c, struct MHD_Connection *mhd, const char *method,
                      const char *version, struct head *ret_head)
{
    struct head h = {.method = method, .version = version};

    h.field_at = version + strlen(version) + 2;
    MHD_get_connection_values_n(mhd, MHD_HEADER_KIND, scan_field, &h);
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    if (c->target_at != method + strlen(method) + 1 ||
        version != c->target_at + c->target_size + 1 || info == NULL || h.field_at == NULL ||
        h.field_at + 2 != method + info->header_size)
        h.torn = true;
    *ret_head = h;
}

/* Why this request's framing must not be trusted, NULL if it may. *ret_status: 400 or 501. */
static const char *check_framing(const struct head *h, unsigned *ret_status)
{
    bool is_1_1 = strcmp(h->version, "HTTP/1.0") != 0;

    *ret_status = MHD_HTTP_BAD_REQUEST;
    if (h->bad_name)
        return "malformed field name";
    if (HEAD_IS_CHECKED_BY_PLACE && h->torn)
        return "malformed request head";
    if (!http_field_name_valid(bytes_of(h->method)))
        return "malformed method";
    if (h->content_lengths > 1)
        return "more than one Content-Length";
    if (h->transfer_encodings > 1)
        return "more than one Transfer-Encoding";
    if (h->transfer_encodings > 0 && h->content_lengths > 0)
        return "both Content-Length and Transfer-Encoding";
    if (h->transfer_encodings > 0 && !is_1_1)
        return "Transfer-Encoding in HTTP/1.0";
    if (h->hosts > 1)
        return "more than one Host";
    if (h->hosts == 0 && is_1_1)
        return "no Host";
    if (h->transfer_encodings > 0 && !bytes_equal_nocase(h->transfer_encoding, "chunked")) {
        *ret_status = MHD_HTTP_NOT_IMPLEMENTED;
        return "unknown Transfer-Encoding";
    }
    return NULL;
}

static bool is_authorized(struct server *server, struct tarn_bytes authorization)
{
    server_config_lock(server);
    const char *password = server_config(server)->password;
    bool ok =
        password == NULL || password[0] == 0 || http_authorized(authorization, bytes_of(password));
    server_config_unlock(server);
    return ok;
}

static void decide(struct http_connection *c, unsigned status, const char *text)
{
    c->status = status;
    c->error_text = text;
}

/* The key of a /kv request, decoded in place in c->target. */
static void take_key(struct http_connection *c, struct tarn_bytes path, struct tarn_bytes query)
{
    struct tarn_bytes text;
    bool ok;

    if (c->route->is_prefix) {
        size_t skip = strlen(c->route->path);
        text = (struct tarn_bytes){(const char *)path.data + skip, path.size - skip};
    } else {
        enum http_parameter_outcome outcome = http_query_find(query, "key", &text);
        if (outcome != HTTP_PARAMETER_FOUND) {
            decide(c, MHD_HTTP_BAD_REQUEST,
                   outcome == HTTP_PARAMETER_TWICE
                       ? "the parameter key is given twice"
                       : "the parameter key is missing: /kv?key=..., or /kv/<key>");
            return;
        }
    }
    unsigned char *to = c->target.data + ((const unsigned char *)text.data - c->target.data);
    size_t size;
    ok = c->route->is_prefix ? http_percent_decode(text, to, &size)
                             : http_query_decode(text, to, &size);
    if (ok)
        c->key = (struct tarn_bytes){to, size};
    else
        decide(c, MHD_HTTP_BAD_REQUEST, "malformed percent-encoding");
}

static const char *refusal_of_method(const struct http_route *route, const char *method)
{
    static const char *const writes[] = {"PUT", "POST", "DELETE", "PATCH"};

    if (route->answer == answer_kv)
        for (size_t i = 0; i < sizeof writes / sizeof writes[0]; i++)
            if (strcmp(method, writes[i]) == 0)
                return "the data set is immutable: it can only be read";
    return "method not allowed";
}

/* Who asks for what: sets c->route, c->key and, when it is refused, c->status. authority, path,
 * query: of the target. */
static void judge(struct http_connection *c, const struct head *h, struct tarn_bytes authority,
                  struct tarn_bytes path, struct tarn_bytes query)
{
    struct http *http = c->thread->http;
    struct tarn_bytes host = h->host;

    if (authority.data != NULL)
        host = authority; /* RFC 9112 section 3.2.2 */
    if (http->is_loopback && (h->hosts > 0 || authority.data != NULL) &&
        !http_host_is_loopback(host)) {
        decide(c, MHD_HTTP_FORBIDDEN,
               "Host must be localhost, 127.x.x.x or [::1]: this server is for this machine only");
        return;
    }
    c->route = find_route(path);
    if ((c->route == NULL || !c->route->is_open) && !is_authorized(http->server, h->authorization))
        decide(c, MHD_HTTP_UNAUTHORIZED, "password needed, as Bearer or Basic");
    else if (c->route == NULL)
        decide(c, MHD_HTTP_NOT_FOUND,
               "no such path: there are /kv/<key>, /kv?key=, /mget, /stats, /metrics, /healthz");
    if (c->status != 0)
        return;
    c->is_head = strcmp(h->method, "HEAD") == 0;
    unsigned method = strcmp(h->method, "POST") == 0                ? METHOD_POST
                      : c->is_head || strcmp(h->method, "GET") == 0 ? METHOD_GET
                                                                    : 0;
    if ((c->route->methods & method) == 0)
        decide(c, MHD_HTTP_METHOD_NOT_ALLOWED, refusal_of_method(c->route, h->method));
    else if (c->route->answer == answer_kv)
        take_key(c, path, query);
}

static uint64_t body_bytes_max(struct server *server)
{
    server_config_lock(server);
    uint64_t limit = server_config(server)->request_bytes_max;
    server_config_unlock(server);
    return limit == 0 || limit > HTTP_BODY_BYTES_MAX ? HTTP_BODY_BYTES_MAX : limit;
}

/* The head is complete. */
static enum MHD_Result begin(struct http_connection *c, struct MHD_Connection *mhd,
                             const char *method, const char *version)
{
    struct tarn_bytes authority, path, query;
    struct head h;
    unsigned status;
    uint64_t length = 0;

    c->stage = HTTP_BODY;
    http_count(&c->thread->counters.requests, 1);
    if (c->over_limit)
        return answer_error(c, mhd, MHD_HTTP_SERVICE_UNAVAILABLE, "too many connections are open");
    if (c->target.failed)
        return answer_error(c, mhd, MHD_HTTP_SERVICE_UNAVAILABLE, "out of memory");
    scan_head(c, mhd, method, version, &h);
    const char *doubt = check_framing(&h, &status);
    if (doubt == NULL && !http_target_split(buffer_view(&c->target), &authority, &path, &query))
        doubt = "malformed request target"; /* a space in it, perhaps: where does it end? */
    if (doubt != NULL)
        return answer_error(c, mhd, status, doubt);
    judge(c, &h, authority, path, query);

    /* MHD has refused what is not a number; a number beyond 64 bits too. */
    for (size_t i = 0; i < h.content_length.size; i++)
        length = length * 10 + (uint64_t)(((const char *)h.content_length.data)[i] - '0');
    uint64_t limit = body_bytes_max(c->thread->http->server);
    bool wanted = c->status == 0 && (c->route->methods & METHOD_POST) != 0;
    if (c->status == 0 && length > (wanted ? limit : HTTP_DRAIN_BYTES_MAX))
        decide(c, MHD_HTTP_CONTENT_TOO_LARGE, "the body is too large");
    if (c->status != 0 && (length > HTTP_DRAIN_BYTES_MAX || h.expects))
        return answer_error(c, mhd, c->status, c->error_text);
    buffer_init(&c->body, limit);
    if (length > 0 || h.transfer_encodings > 0)
        http_connection_extend(c, length);
    return MHD_YES;
}

/* A piece of the body has come. All of it is taken; what nobody wants is dropped, up to a bound. */
static enum MHD_Result take_body(struct http_connection *c, const char *data, size_t size)
{
    if (c->status == 0 && (c->route->methods & METHOD_POST) != 0) {
        size_t before = c->body.capacity;
        buffer_append(&c->body, data, size);
        if (c->body.failed)
            decide(c, MHD_HTTP_CONTENT_TOO_LARGE, "the body is too large");
        else if (!budget_take(c, c->body.capacity - before))
            decide(c, MHD_HTTP_SERVICE_UNAVAILABLE, "too much memory is taken by other requests");
        else
            return MHD_YES;
        http_connection_release(c);
    }
    c->body_dropped += size;
    return c->body_dropped <= HTTP_DRAIN_BYTES_MAX ? MHD_YES : MHD_NO;
}

/* --- MHD's callbacks --- */

void *http_target_seen(void *thread, const char *target, struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct http_connection *c = info->socket_context;

    (void)thread;
    if (c == NULL)
        return NULL;
    c->stage = HTTP_HEAD;
    c->target_at = target;
    c->target_size = target != NULL ? strlen(target) : 0;
    buffer_clear(&c->target);
    buffer_append(&c->target, target, c->target_size);
    return c;
}

enum MHD_Result http_request_handle(void *thread, struct MHD_Connection *mhd, const char *target,
                                    const char *method, const char *version, const char *data,
                                    size_t *data_size, void **context)
{
    struct http_connection *c = *context;

    (void)thread;
    (void)target; /* c->target is the same, untouched */
    if (c == NULL)
        return MHD_NO;
    if (c->stage == HTTP_HEAD)
        return begin(c, mhd, method, version);
    if (*data_size > 0) {
        enum MHD_Result result = take_body(c, data, *data_size);
        *data_size = 0;
        return result;
    }
    if (c->status != 0)
        return answer_error(c, mhd, c->status, c->error_text);
    return c->route->answer(c, mhd);
}

void http_request_done(void *thread, struct MHD_Connection *mhd, void **context,
                       enum MHD_RequestTerminationCode code)
{
    struct http_connection *c = *context;

    (void)thread;
    (void)mhd;
    (void)code;
    if (c == NULL)
        return;
    http_connection_release(c);
    buffer_trim(&c->target, 1024);
    c->stage = HTTP_IDLE;
    c->route = NULL;
    c->is_head = false;
    c->key = (struct tarn_bytes){NULL, 0};
    c->body_dropped = 0;
    c->status = 0;
    c->error_text = NULL;
    *context = NULL;
    http_connection_extend(c, 0);
}
