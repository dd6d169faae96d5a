/* Scanning JSON in place, as far as /mget and /mset need it: a hand-written scanner of their shapes
 * instead of a JSON library, which takes some 80 bytes for each `"",` of a hostile body. Pure. */
#ifndef SERVER_HTTP_JSON_H
#define SERVER_HTTP_JSON_H

#include "core/bytes.h"
#include "core/status.h"

/* Reads data from `at` on; strings are decoded over themselves. */
struct http_json {
    unsigned char *data;
    size_t size, at;
    struct tarn_error *error; /* may be NULL */
};

/* INVALID, with "<what> at byte <at>". */
int http_json_fail(struct http_json *p, size_t at, const char *what);

void http_json_skip_space(struct http_json *p);

/* The byte that comes after white space, without taking it; 0 at the end. */
unsigned char http_json_next(struct http_json *p);

/* Take this byte, after white space; false, and nothing is taken but white space, if another comes.
 */
bool http_json_take(struct http_json *p, unsigned char byte);

/* Take a string, which begins right at p->at; it lies decoded in data and is UTF-8. Errors:
 * INVALID.
 */
TARN_MUST int http_json_string(struct http_json *p, struct tarn_bytes *ret_string);

/* Take bytes, after white space: a string, or {"base64":"..."} for what is not UTF-8. Errors:
 * INVALID. */
TARN_MUST int http_json_bytes(struct http_json *p, struct tarn_bytes *ret_bytes);

/* After an element: true in *ret_more if a comma was taken, false if `close` (']' or '}') was.
 * Errors: INVALID. */
TARN_MUST int http_json_separator(struct http_json *p, unsigned char close, bool *ret_more);

/* White space to the end of the text. Errors: INVALID. */
TARN_MUST int http_json_end(struct http_json *p, const char *problem);

#endif
