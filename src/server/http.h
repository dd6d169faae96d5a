/* HTTP/1.1 over the same store: libmicrohttpd with its own small thread pool, each thread with a
 * store session of its own. See doc/http.md for the interface. */
#ifndef SERVER_HTTP_H
#define SERVER_HTTP_H

#include "server/server.h"

struct http;

/* Listen on one or more numeric addresses, separated by commas (port 0: any). The threads accept
 * connections from the moment *ret_http is written; it may be a field of the server's. */
TARN_MUST int http_open(struct server *server, const char *address, uint16_t port,
                        struct http **ret_http, struct tarn_error *error);
uint16_t http_port(const struct http *http);
void http_stop_accepting(struct http *http); /* first half of a graceful stop */
void http_close(struct http *http);          /* waits for replies under way; NULL is allowed */

/* Memory of its connections, bodies and generated replies now, for the cap on memory. */
uint64_t http_buffers_bytes(const struct http *http);
uint64_t http_connections_now(const struct http *http);

/* For server_counters. */
void http_counters_get(const struct http *http, uint64_t *ret_requests, uint64_t *ret_connections,
                       uint64_t *ret_hits, uint64_t *ret_misses, uint64_t *ret_rejected);

#endif
