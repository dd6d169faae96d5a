/* Bytes to requests: RESP arrays of bulk strings and inline commands. Pure: no I/O, no clock.
 *
 * The parser is incremental: when a request is incomplete it remembers how far it got, so that a
 * request arriving in many pieces is scanned once. The input must start at the same request on
 * every call until that request is complete, and may have moved in memory. */
#ifndef RESP_PARSE_H
#define RESP_PARSE_H

#include "core/bytes.h"

struct resp_limits {
    size_t args_max;          /* arguments of one request */
    size_t arg_bytes_max;     /* one argument */
    size_t request_bytes_max; /* all bytes of one request, framing included */
    size_t inline_bytes_max;  /* one inline line, or one line that carries a length */
    bool unauthenticated;     /* these are the limits before AUTH: the error texts say so */
};

/* One request: args[0] is the command's name. The views point into the input (for inline
 * requests with quotes, into the parser) and live until the next call with this parser. */
struct resp_request {
    struct tarn_bytes *args;
    size_t count;
};

enum resp_outcome {
    RESP_INCOMPLETE, /* wait for more bytes */
    RESP_REQUEST,    /* *ret_request is set; ret_size bytes were taken */
    RESP_EMPTY,      /* an empty line or array: ret_size bytes taken, nothing to do */
    RESP_INVALID,    /* protocol error, text in parser->error_text: reply it and close */
};

struct resp_parser;
struct resp_parser *resp_parser_new(void); /* NULL if out of memory; small until it is used */
void resp_parser_free(struct resp_parser *p);

/* Take one request from the start of input. args_storage/args_capacity: where the views go if
 * they fit (so that a batch of requests can live side by side); a request with more arguments
 * uses the parser's own storage, and then must be executed before the next call. */
enum resp_outcome resp_parse(struct resp_parser *p, struct tarn_bytes input,
                             const struct resp_limits *limits, struct tarn_bytes *args_storage,
                             size_t args_capacity, struct resp_request *ret_request,
                             size_t *ret_size);

/* Forget the request that was incomplete at the last call: the next input starts with another. */
void resp_parser_reset(struct resp_parser *p);

/* After RESP_INVALID: what to answer after "-ERR ", e.g. "Protocol error: invalid bulk length",
 * word for word as Redis 7. */
const char *resp_parser_error(const struct resp_parser *p);

/* After RESP_INCOMPLETE: at least this many bytes in all are needed to complete the request, as
 * far as is known (for sizing the input buffer); within limits->request_bytes_max. */
size_t resp_parser_bytes_needed(const struct resp_parser *p);

#endif
