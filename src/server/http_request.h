/* What an HTTP request says, as pure functions on bytes: percent-encoding, Range, entity tags,
 * Host, credentials, header fields. No I/O, no clock, no library; nothing reads outside its view.
 */
#ifndef SERVER_HTTP_REQUEST_H
#define SERVER_HTTP_REQUEST_H

#include "core/bytes.h"

/* %HH -> byte; everything else, '+' included, stays. out: at least text.size bytes; may be the
 * text itself. False if a '%' is not followed by two hexadecimal digits. */
bool http_percent_decode(struct tarn_bytes text, unsigned char *out, size_t *ret_size);

enum http_range_outcome {
    HTTP_RANGE_NONE,          /* malformed, another unit, several ranges: answer the whole */
    HTTP_RANGE_PART,          /* *ret_first..*ret_last, inclusive, within the value */
    HTTP_RANGE_UNSATISFIABLE, /* well-formed, but outside the value */
};

/* A Range field ("bytes=0-99", "bytes=5-", "bytes=-10") against a value of `size` bytes
 * (RFC 9110 section 14). Numbers of any length are understood. */
enum http_range_outcome http_range_parse(struct tarn_bytes field, uint64_t size,
                                         uint64_t *ret_first, uint64_t *ret_last);

/* Does `tag` (quotes included, strong) stand in the field, a list of entity tags or "*"? weak:
 * compare as If-None-Match does (W/"x" matches "x"); else as If-Match and If-Range do. */
bool http_tag_listed(struct tarn_bytes field, struct tarn_bytes tag, bool weak);

/* Is the field such a list, or "*"? */
bool http_tags_valid(struct tarn_bytes field);

/* Is this Host field ("localhost", "127.0.0.1:8379", "[::1]:8379") the loopback interface's? */
bool http_host_is_loopback(struct tarn_bytes host);

/* Is this numeric address (of --bind) a loopback address? */
bool http_address_is_loopback(const char *address);

/* Does an Authorization field carry the password, as "Bearer <password>" or as "Basic <base64 of
 * user:password>" with any user? The time taken does not depend on where the bytes differ. */
bool http_authorized(struct tarn_bytes authorization, struct tarn_bytes password);

/* A field name is one or more token characters (RFC 9110 section 5.6.2). */
bool http_field_name_valid(struct tarn_bytes name);

/* Without leading and trailing spaces and tabs. */
struct tarn_bytes http_trim(struct tarn_bytes bytes);

/* Split a request target into path and query. The absolute form ("http://host/path") is
 * understood: *ret_authority is then the host and port, else its data is NULL. ret_query's data
 * is NULL if there is no '?'. False for anything else ("*", "host:port", bytes below 0x21). */
bool http_target_split(struct tarn_bytes target, struct tarn_bytes *ret_authority,
                       struct tarn_bytes *ret_path, struct tarn_bytes *ret_query);

enum http_parameter_outcome { HTTP_PARAMETER_MISSING, HTTP_PARAMETER_FOUND, HTTP_PARAMETER_TWICE };

/* The raw value of `name` in a query (a=1&b=2); "name" without '=' counts as missing. */
enum http_parameter_outcome http_query_find(struct tarn_bytes query, const char *name,
                                            struct tarn_bytes *ret_value);

/* How long a key is to live: seconds ("1.5"), or with a unit ("90s", "500ms", "10m", "2h"). In ms,
 * rounded up, over 0. False if it is no such time. */
bool http_ttl_parse(struct tarn_bytes text, int64_t *ret_ms);

/* What a write's query says beside the key. */
struct http_parameters {
    int64_t ttl_ms; /* how long the key is to live; 0: for ever */
    int64_t by;     /* 1 if not given */
};
enum http_parameter_flags {
    HTTP_TAKES_KEY = 1 << 0, /* key, which is left alone here */
    HTTP_TAKES_TTL = 1 << 1, /* ttl and ttl_ms */
    HTTP_TAKES_BY = 1 << 2,  /* by */
};

/* Read the parameters that `takes` allows. NULL, or what is wrong: one that is not known (a write
 * that leaves one out of account does what nobody asked for), is given twice or is malformed. */
const char *http_parameters_parse(struct tarn_bytes query, unsigned takes,
                                  struct http_parameters *ret_parameters);

/* Is this Origin field ("http://localhost:8379") that of a page from this host? */
bool http_origin_is(struct tarn_bytes origin, struct tarn_bytes host);

/* Does a Prefer field (RFC 7240: "respond-async, durability=commit; why=\"x\"") have this
 * preference with this value, case of the name ignored? */
bool http_prefers(struct tarn_bytes field, const char *name, const char *value);

/* As http_percent_decode, and '+' becomes a space. */
bool http_query_decode(struct tarn_bytes text, unsigned char *out, size_t *ret_size);

#endif
