/* A protocol's decoder under bytes of any origin: every input ends where readable memory ends, what
 * it answers is checked against its contract, and what it says of the start of an answer against
 * what it says of more of it. */
#ifndef LIB_PROTOCOL_FEED_H
#define LIB_PROTOCOL_FEED_H

#include "bench/protocol.h"
#include "core/assert.h"
#include "lib/guard.h"

struct feed {
    const struct protocol *protocol;
    enum request_kind kind;
    const struct tarn_bytes *keys;
    size_t count;
    struct guard guard;
    struct tarn_bytes input; /* of the last call */
    struct protocol_reply reply;
    enum protocol_outcome outcome;
    size_t size; /* what decode() wrote to ret_size */
};

static inline void feed_init(struct feed *f, const struct protocol *protocol,
                             enum request_kind kind, const struct tarn_bytes *keys, size_t count,
                             size_t bytes_max)
{
    *f = (struct feed){.protocol = protocol,
                       .kind = kind,
                       .keys = keys,
                       .count = count,
                       .guard = guard_new(bytes_max)};
}

static inline void feed_done(struct feed *f)
{
    protocol_reply_done(&f->reply);
    guard_free(&f->guard);
}

static inline bool feed_within(const void *data, size_t size, const void *block, size_t block_size)
{
    uintptr_t first = (uintptr_t)data, start = (uintptr_t)block;
    return first >= start && first <= start + block_size && size <= start + block_size - first;
}

static inline void feed_check_view(const struct feed *f, struct tarn_bytes view)
{
    const struct protocol_reply *r = &f->reply;
    ASSERT(feed_within(view.data, view.size, f->input.data, f->input.size) ||
           feed_within(view.data, view.size, r->text, sizeof r->text) ||
           (r->gathered.data &&
            feed_within(view.data, view.size, r->gathered.data, r->gathered.size)));
}

static inline void feed_check(const struct feed *f)
{
    const struct protocol_reply *r = &f->reply;
    ASSERT(r->count <= r->capacity);
    if (f->outcome == PROTOCOL_INCOMPLETE)
        ASSERT(f->size > f->input.size && f->size <= PROTOCOL_REPLY_BYTES_MAX);
    if (f->outcome == PROTOCOL_MALFORMED) {
        ASSERT(r->error_text.data == r->text && r->error_text.size == strlen(r->text));
        ASSERT(r->error_text.size > 0 && r->count == 0);
    }
    if (f->outcome != PROTOCOL_COMPLETE)
        return;
    ASSERT(f->size > 0 && f->size <= f->input.size);
    if (r->error) {
        ASSERT(r->count == 0);
        feed_check_view(f, r->error_text);
    } else if (f->kind != REQUEST_SCAN) {
        ASSERT(r->count == (f->kind == REQUEST_GET ? f->count : 0));
    }
    for (size_t i = 0; i < r->count; i++) {
        if (r->values[i].data)
            feed_check_view(f, r->values[i]);
        else
            ASSERT(f->kind == REQUEST_GET && r->values[i].size == 0);
    }
}

/* Decode these bytes; the result stays in *f until the next call. */
static inline enum protocol_outcome feed_once(struct feed *f, const void *data, size_t size)
{
    f->input = guard_end(&f->guard, data, size);
    f->size = SIZE_MAX;
    f->outcome = f->protocol->decode(f->kind, f->keys, f->count, f->input, &f->reply, &f->size);
    ASSERT(f->outcome != PROTOCOL_NOMEM);
    feed_check(f);
    return f->outcome;
}

/* Decode the first `part` bytes and compare with the outcome for all of them. */
static inline void feed_part(struct feed *f, const void *data, size_t part,
                             enum protocol_outcome whole, size_t whole_size)
{
    enum protocol_outcome outcome = feed_once(f, data, part);
    if (whole == PROTOCOL_COMPLETE && part >= whole_size)
        ASSERT(outcome == PROTOCOL_COMPLETE && f->size == whole_size);
    else if (whole == PROTOCOL_COMPLETE)
        ASSERT(outcome == PROTOCOL_INCOMPLETE && f->size <= whole_size);
    else if (whole == PROTOCOL_INCOMPLETE)
        ASSERT(outcome == PROTOCOL_INCOMPLETE);
    else
        ASSERT(outcome != PROTOCOL_COMPLETE);
}

/* Decode every start of these bytes whose size is a multiple of `step`, then all of them, whose
 * result stays in *f. */
static inline enum protocol_outcome feed_all(struct feed *f, const void *data, size_t size,
                                             size_t step)
{
    enum protocol_outcome whole = feed_once(f, data, size);
    size_t whole_size = f->size;
    bool malformed = false;
    for (size_t part = 0; part < size; part += step) {
        feed_part(f, data, part, whole, whole_size);
        ASSERT(!malformed || f->outcome == PROTOCOL_MALFORMED);
        malformed = f->outcome == PROTOCOL_MALFORMED;
    }
    return feed_once(f, data, size);
}

#endif
