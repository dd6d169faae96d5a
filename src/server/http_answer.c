/* The HTTP front: who asks for what, and the bodies of requests. Threads and time are in http.c,
 * what requests do in http_read.c and http_write.c.
 *
 * How: MHD calls http_target_seen() with the request line, then http_request_handle() when the
 * head is complete, for each piece of a body, and at the request's end. The first of these judges
 * the head; the verdict is either "go on", an error to answer at the end (the connection stays
 * usable), or an error to answer at once, after which MHD closes the connection.
 *
 * Invariants
 * 1. Checks come in this order: framing, connection limit, Host, path, password, method, Origin,
 *    parameters, key, body.
 * 2. Nothing of a write is done before all of its body is there.
 * 3. The parameters are read before the key is decoded, over bytes of the query perhaps.
 * Failure modes: out of memory or over a bound is a 503, 507 or 413; where not even that can be
 * said, the connection is closed. */
#include "server/http_internal.h"

enum { WRITE_FLAGS = HTTP_WRITES | HTTP_KEYED };

static const struct http_route routes[] = {
    {"/kv/", HTTP_GET, HTTP_KEYED | HTTP_PREFIX, 0, 0, http_answer_value},
    {"/kv/", HTTP_PUT | HTTP_POST, WRITE_FLAGS | HTTP_PREFIX, HTTP_TAKES_TTL, TARN_VALUE_BYTES_MAX,
     http_answer_put},
    {"/kv/", HTTP_DELETE, WRITE_FLAGS | HTTP_PREFIX, 0, 0, http_answer_delete},
    {"/kv", HTTP_GET, HTTP_KEYED, 0, 0, http_answer_value},
    {"/kv", HTTP_PUT | HTTP_POST, WRITE_FLAGS, HTTP_TAKES_KEY | HTTP_TAKES_TTL,
     TARN_VALUE_BYTES_MAX, http_answer_put},
    {"/kv", HTTP_DELETE, WRITE_FLAGS, HTTP_TAKES_KEY, 0, http_answer_delete},
    {"/mget", HTTP_POST, 0, 0, HTTP_MGET_BYTES_MAX, http_answer_mget},
    {"/mset", HTTP_POST, HTTP_WRITES, HTTP_TAKES_TTL, HTTP_MSET_BYTES_MAX, http_answer_mset},
    {"/incr/", HTTP_POST, WRITE_FLAGS | HTTP_PREFIX, HTTP_TAKES_BY, 0, http_answer_incr},
    {"/incr", HTTP_POST, WRITE_FLAGS, HTTP_TAKES_KEY | HTTP_TAKES_BY, 0, http_answer_incr},
    {"/healthz", HTTP_GET, HTTP_OPEN, 0, 0, http_answer_healthz},
    {"/stats", HTTP_GET, 0, 0, 0, http_answer_stats},
    {"/metrics", HTTP_GET, 0, 0, 0, http_answer_metrics},
};
enum { ROUTES_COUNT = sizeof routes / sizeof routes[0] };

static bool path_fits(const struct http_route *route, struct tarn_bytes path)
{
    size_t size = strlen(route->path);
    return path.size >= size && memcmp(path.data, route->path, size) == 0 &&
           ((route->flags & HTTP_PREFIX) || path.size == size);
}

/* The first route of a path; NULL: there is no such path. */
static const struct http_route *find_path(struct tarn_bytes path)
{
    for (size_t i = 0; i < ROUTES_COUNT; i++)
        if (path_fits(&routes[i], path))
            return &routes[i];
    return NULL;
}

/* The path's route with this method, if the store can do it; else NULL. */
static const struct http_route *find_method(const struct http_route *first, unsigned method,
                                            bool writable)
{
    for (const struct http_route *r = first; r < routes + ROUTES_COUNT; r++)
        if (strcmp(r->path, first->path) == 0 && (r->methods & method) &&
            (writable || !(r->flags & HTTP_WRITES)))
            return r;
    return NULL;
}

/* "GET, HEAD, PUT": what the path has. Empty: nothing, with this store. */
static void list_methods(const struct http_route *first, bool writable, char allow[32])
{
    static const struct {
        enum http_method method;
        const char *text;
    } names[] = {
        {HTTP_GET, "GET, HEAD"}, {HTTP_POST, "POST"}, {HTTP_PUT, "PUT"}, {HTTP_DELETE, "DELETE"}};
    allow[0] = 0;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (find_method(first, names[i].method, writable) == NULL)
            continue;
        if (allow[0] != 0)
            strcat(allow, ", ");
        strcat(allow, names[i].text);
    }
}

static unsigned method_of(const char *text)
{
    return strcmp(text, "GET") == 0 || strcmp(text, "HEAD") == 0 ? HTTP_GET
           : strcmp(text, "POST") == 0                           ? HTTP_POST
           : strcmp(text, "PUT") == 0                            ? HTTP_PUT
           : strcmp(text, "DELETE") == 0                         ? HTTP_DELETE
                                                                 : 0;
}

/* --- the head --- */

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

    if ((c->route->flags & HTTP_PREFIX)) {
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
    ok = (c->route->flags & HTTP_PREFIX) ? http_percent_decode(text, to, &size)
                                         : http_query_decode(text, to, &size);
    if (ok)
        c->key = (struct tarn_bytes){to, size};
    else
        decide(c, MHD_HTTP_BAD_REQUEST, "malformed percent-encoding");
}

/* The route for this method, or 405, or 403 where there is none at all. */
static void take_method(struct http_connection *c, const char *method)
{
    bool writable = server_is_writable(c->thread->http->server);
    const struct http_route *first = c->route;
    bool is_write = (method_of(method) & ~(unsigned)HTTP_GET) != 0 || strcmp(method, "PATCH") == 0;

    c->route = find_method(first, method_of(method), writable);
    if (c->route != NULL)
        return;
    list_methods(first, writable, c->allow);
    bool immutable = !writable && is_write && (first->flags & WRITE_FLAGS);
    decide(c, c->allow[0] == 0 ? MHD_HTTP_FORBIDDEN : MHD_HTTP_METHOD_NOT_ALLOWED,
           immutable ? HTTP_IMMUTABLE_TEXT : "method not allowed");
}

/* What only writes are asked. */
static void judge_write(struct http_connection *c, const struct http_head *h,
                        struct tarn_bytes host, struct tarn_bytes query)
{
    const char *problem = http_parameters_parse(query, c->route->takes, &c->parameters);

    if (h->origins > 0 && (h->origins > 1 || !http_origin_is(h->origin, host)))
        decide(c, MHD_HTTP_FORBIDDEN, "Origin must be this server: other web pages may not write");
    else if (problem != NULL)
        decide(c, MHD_HTTP_BAD_REQUEST, problem);
    else if (h->has_content_range)
        decide(c, MHD_HTTP_BAD_REQUEST, "Content-Range: a value can only be written whole");
    c->prefers_commit = h->prefers_commit;
}

/* Who asks for what: sets c->route, c->key and, when it is refused, c->status. authority, path,
 * query: of the target. */
static void judge(struct http_connection *c, const struct http_head *h, struct tarn_bytes authority,
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
    c->route = find_path(path);
    if ((c->route == NULL || !(c->route->flags & HTTP_OPEN)) &&
        !is_authorized(http->server, h->authorization))
        decide(c, MHD_HTTP_UNAUTHORIZED, "password needed, as Bearer or Basic");
    else if (c->route == NULL)
        decide(c, MHD_HTTP_NOT_FOUND,
               "no such path: there are /kv/<key>, /kv?key=, /mget, /mset, /incr/<key>, /stats, "
               "/metrics, /healthz");
    if (c->status == 0)
        take_method(c, h->method);
    if (c->status == 0 && (c->route->flags & HTTP_WRITES))
        judge_write(c, h, host, query);
    if (c->status == 0 && (c->route->flags & HTTP_KEYED))
        take_key(c, path, query);
    c->is_head = strcmp(h->method, "HEAD") == 0;
}

/* --- the body --- */

/* 0: none is wanted. */
static uint64_t body_bytes_max(struct http_connection *c)
{
    struct server *server = c->thread->http->server;
    uint64_t most = c->status == 0 ? c->route->body_bytes_max : 0;

    server_config_lock(server);
    uint64_t limit = server_config(server)->request_bytes_max;
    server_config_unlock(server);
    return limit == 0 || limit > most ? most : limit;
}

/* There is no memory for the body. */
static void decide_no_memory(struct http_connection *c)
{
    if (c->route->flags & HTTP_WRITES)
        decide(c, MHD_HTTP_INSUFFICIENT_STORAGE, HTTP_FULL_TEXT);
    else
        decide(c, MHD_HTTP_SERVICE_UNAVAILABLE, "too much memory is taken by other requests");
}

/* Prepare for a body; length: announced, else 0. What is announced is allocated at once, so that
 * nothing is copied when it grows: address space only, its pages are used, and counted, as it
 * arrives. */
static void expect_body(struct http_connection *c, uint64_t length)
{
    uint64_t limit = body_bytes_max(c);

    if (c->status == 0 && length > (limit > 0 ? limit : HTTP_DRAIN_BYTES_MAX))
        decide(c, MHD_HTTP_CONTENT_TOO_LARGE, "the body is too large");
    buffer_init(&c->body, limit);
    if (c->status == 0 && limit > 0 && length > 0 &&
        (!server_memory_could(c->thread->http->server, length) ||
         !buffer_reserve_exactly(&c->body, length)))
        decide_no_memory(c);
}

/* The head is complete. */
static enum MHD_Result begin(struct http_connection *c, struct MHD_Connection *mhd,
                             const char *method, const char *version)
{
    struct tarn_bytes authority, path, query;
    struct http_head h;
    unsigned status;
    uint64_t length = 0;

    c->stage = HTTP_BODY;
    http_count(&c->thread->counters.requests, 1);
    if (c->over_limit)
        return http_answer_error(c, mhd, MHD_HTTP_SERVICE_UNAVAILABLE,
                                 "too many connections are open");
    if (c->target.failed)
        return http_answer_error(c, mhd, MHD_HTTP_SERVICE_UNAVAILABLE, "out of memory");
    http_head_scan(c, mhd, method, version, &h);
    const char *doubt = http_head_doubt(&h, &status);
    if (doubt == NULL && !http_target_split(buffer_view(&c->target), &authority, &path, &query))
        doubt = "malformed request target"; /* a space in it, perhaps: where does it end? */
    if (doubt != NULL)
        return http_answer_error(c, mhd, status, doubt);
    judge(c, &h, authority, path, query);

    /* MHD has refused what is not a number; a number beyond 64 bits too. */
    for (size_t i = 0; i < h.content_length.size; i++)
        length = length * 10 + (uint64_t)(((const char *)h.content_length.data)[i] - '0');
    expect_body(c, length);
    if (c->status != 0 && (length > HTTP_DRAIN_BYTES_MAX || h.expects)) {
        http_connection_release(c);
        return http_answer_error(c, mhd, c->status, c->error_text);
    }
    c->body_announced = length;
    if (length > 0 || h.transfer_encodings > 0)
        http_connection_extend(c, length);
    return MHD_YES;
}

/* A piece of the body has come. All of it is taken; what nobody wants is dropped, up to a bound:
 * what was announced, and was wanted at first. */
static enum MHD_Result take_body(struct http_connection *c, const char *data, size_t size)
{
    uint64_t drain_max =
        c->body_announced > HTTP_DRAIN_BYTES_MAX ? c->body_announced : HTTP_DRAIN_BYTES_MAX;

    if (c->status == 0 && c->route->body_bytes_max > 0) {
        bool room = buffer_reserve(&c->body, size);
        if (!room)
            decide(c, MHD_HTTP_CONTENT_TOO_LARGE, "the body is too large");
        else if (!http_buffers_take(c, size))
            decide_no_memory(c);
        if (c->status == 0) {
            buffer_append(&c->body, data, size);
            return MHD_YES;
        }
        http_connection_release(c);
    }
    c->body_dropped += size;
    return c->body_dropped <= drain_max ? MHD_YES : MHD_NO;
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
    if (c == NULL || c->cut)
        return MHD_NO;
    if (c->stage == HTTP_HEAD)
        return begin(c, mhd, method, version);
    if (*data_size > 0) {
        enum MHD_Result result = take_body(c, data, *data_size);
        *data_size = 0;
        return result;
    }
    if (c->status != 0)
        return http_answer_error(c, mhd, c->status, c->error_text);
    if ((c->route->flags & HTTP_WRITES) && server_is_paused(c->thread->http->server, true))
        return http_answer_error(c, mhd, MHD_HTTP_SERVICE_UNAVAILABLE,
                                 "clients are paused (CLIENT PAUSE): try again");
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
    http_fetch_end(c);
    http_connection_release(c);
    buffer_trim(&c->target, 1024);
    c->stage = HTTP_IDLE;
    c->route = NULL;
    c->is_head = c->prefers_commit = c->committed = false;
    c->key = (struct tarn_bytes){NULL, 0};
    c->body_announced = c->body_dropped = 0;
    c->status = 0;
    c->error_text = NULL;
    *context = NULL;
    http_connection_extend(c, 0);
}
