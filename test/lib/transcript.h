/* What a RESP parser makes of bytes that arrive in pieces, written down as text: the same bytes
 * must give the same transcript however they are cut. Each call of the parser gets a copy of its
 * input that ends where readable memory ends, at another address than the call before. */
#ifndef LIB_TRANSCRIPT_H
#define LIB_TRANSCRIPT_H

#include <stdlib.h>

#include "core/assert.h"
#include "core/buffer.h"
#include "lib/guard.h"
#include "resp/parse.h"

#define TRANSCRIPT_ARGS 10 /* few, so that the parser's own storage is used as well */

struct transcript {
    struct resp_parser *parser;
    struct resp_limits limits;
    struct buffer pending; /* received, not yet taken */
    size_t needed;         /* the parser said that it needs so many bytes; 0: nothing said */
    bool ended;            /* by a protocol error */
    struct guard guards[2];
    unsigned turn;
    struct buffer text;
};

static inline void transcript_init(struct transcript *t, const struct resp_limits *limits,
                                   size_t bytes_max)
{
    *t = (struct transcript){.parser = resp_parser_new(), .limits = *limits};
    ASSERT(t->parser != NULL);
    t->guards[0] = guard_new(bytes_max);
    t->guards[1] = guard_new(bytes_max);
}

static inline void transcript_done(struct transcript *t)
{
    resp_parser_free(t->parser);
    buffer_done(&t->pending);
    buffer_done(&t->text);
    guard_free(&t->guards[0]);
    guard_free(&t->guards[1]);
}

static inline void transcript_request(struct transcript *t, const struct resp_request *request)
{
    ASSERT(request->count > 0);
    buffer_append_text(&t->text, "request");
    for (size_t i = 0; i < request->count; i++) {
        buffer_append_text(&t->text, " \"");
        buffer_append_escaped(&t->text, request->args[i]);
        buffer_append_text(&t->text, "\"");
    }
    buffer_append_text(&t->text, "\n");
}

/* One call of the parser; false when it wants more bytes or has ended. */
static inline bool transcript_step(struct transcript *t)
{
    struct tarn_bytes args[TRANSCRIPT_ARGS];
    struct resp_request request = {0};
    size_t size = 0;
    struct tarn_bytes input =
        guard_end(&t->guards[t->turn++ % 2], t->pending.data, t->pending.size);
    enum resp_outcome outcome =
        resp_parse(t->parser, input, &t->limits, args, TRANSCRIPT_ARGS, &request, &size);
    if (outcome == RESP_INCOMPLETE) {
        t->needed = resp_parser_bytes_needed(t->parser);
        ASSERT(t->needed > input.size);
        return false;
    }
    if (outcome == RESP_INVALID) {
        buffer_printf(&t->text, "error %s\n", resp_parser_error(t->parser));
        t->ended = true;
        return false;
    }
    ASSERT(input.size >= t->needed); /* it did not ask for more than it needed */
    ASSERT(size > 0 && size <= input.size);
    if (outcome == RESP_REQUEST)
        transcript_request(t, &request);
    t->needed = 0;
    buffer_consume(&t->pending, size);
    return true;
}

/* More bytes arrive. */
static inline void transcript_feed(struct transcript *t, const void *data, size_t size)
{
    buffer_append(&t->pending, data, size);
    while (!t->ended && transcript_step(t))
        continue;
}

#endif
