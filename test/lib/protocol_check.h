/* What the tests of the wire protocols share: whole answers cut at every byte, their texts, and
 * requests compared byte by byte. Include lib/test.h first. */
#ifndef LIB_PROTOCOL_CHECK_H
#define LIB_PROTOCOL_CHECK_H

#include "lib/fault_malloc.h"
#include "lib/protocol_feed.h"

#define BYTES(literal) ((struct tarn_bytes){literal, sizeof literal - 1})

static inline void check_bytes(struct tarn_bytes got, struct tarn_bytes expected)
{
    assert_int_equal(got.size, expected.size);
    if (expected.size > 0)
        assert_memory_equal(got.data, expected.data, expected.size);
}

static inline void check_text(struct tarn_bytes got, const char *expected)
{
    if (got.size != strlen(expected) || memcmp(got.data, expected, got.size) != 0)
        fail_msg("\"%.*s\" is not \"%s\"", (int)got.size, (const char *)got.data, expected);
}

/* The buffer holds this and nothing else; it is emptied. */
static inline void check_sent(struct buffer *out, struct tarn_bytes expected)
{
    assert_false(out->failed);
    check_bytes(buffer_view(out), expected);
    buffer_clear(out);
}

/* One complete reply, cut at every byte, then with another answer behind it: always the same. The
 * result is in *f. */
static inline void check_complete(struct feed *f, struct tarn_bytes bytes)
{
    struct buffer more = {0};
    buffer_append(&more, bytes.data, bytes.size);
    buffer_append(&more, bytes.data, bytes.size);
    assert_int_equal(feed_once(f, more.data, more.size), PROTOCOL_COMPLETE);
    assert_int_equal(f->size, bytes.size);
    buffer_done(&more);
    assert_int_equal(feed_all(f, bytes.data, bytes.size, 1), PROTOCOL_COMPLETE);
    assert_int_equal(f->size, bytes.size);
}

static inline void check_refused(struct feed *f, struct tarn_bytes bytes, const char *text)
{
    check_complete(f, bytes);
    assert_true(f->reply.error);
    check_text(f->reply.error_text, text);
}

/* Malformed, whatever follows, and no start of it is taken for a reply. */
static inline void check_malformed(struct feed *f, struct tarn_bytes bytes, const char *text)
{
    struct buffer more = {0};
    buffer_append(&more, bytes.data, bytes.size);
    buffer_append_text(&more, "\r\n\r\n");
    assert_int_equal(feed_all(f, bytes.data, bytes.size, 1), PROTOCOL_MALFORMED);
    check_text(f->reply.error_text, text);
    assert_int_equal(feed_once(f, more.data, more.size), PROTOCOL_MALFORMED);
    buffer_done(&more);
}

/* Incomplete, and at least `needed` bytes are needed. */
static inline void check_needed(struct feed *f, struct tarn_bytes bytes, size_t needed)
{
    assert_int_equal(feed_once(f, bytes.data, bytes.size), PROTOCOL_INCOMPLETE);
    assert_int_equal(f->size, needed);
}

/* Each allocation that decoding these bytes makes fails once: out of memory, and then it works. */
static inline void check_nomem(const struct protocol *protocol, enum request_kind kind,
                               const struct tarn_bytes *keys, size_t count, struct tarn_bytes bytes)
{
    enum protocol_outcome outcome;
    uint64_t nth = 1;
    do {
        struct protocol_reply reply = {0};
        size_t size;
        fault_malloc_arm(nth++, false);
        outcome = protocol->decode(kind, keys, count, bytes, &reply, &size);
        uint64_t failed = fault_malloc_disarm();
        assert_int_equal(outcome, failed ? PROTOCOL_NOMEM : PROTOCOL_COMPLETE);
        assert_int_equal(protocol->decode(kind, keys, count, bytes, &reply, &size),
                         PROTOCOL_COMPLETE);
        assert_int_equal(size, bytes.size);
        protocol_reply_done(&reply);
    } while (outcome == PROTOCOL_NOMEM);
    assert_true(nth > 2); /* there was an allocation to fail */
}

/* A request into a buffer `out` of every bound: it finds no room and leaves the buffer as it was,
 * and failed, up to the first bound that is enough for what is reserved; then all that is written
 * is within that, which the encoders assert. */
#define CHECK_ROOM(call)                                                                           \
    do {                                                                                           \
        bool room = false;                                                                         \
        for (size_t bound = 4; !room; bound++) {                                                   \
            struct buffer out;                                                                     \
            buffer_init(&out, bound);                                                              \
            buffer_append(&out, "abc", 3);                                                         \
            call;                                                                                  \
            room = !out.failed;                                                                    \
            assert_true(room || bound < 4096);                                                     \
            if (!room)                                                                             \
                check_bytes(buffer_view(&out), BYTES("abc"));                                      \
            buffer_done(&out);                                                                     \
        }                                                                                          \
    } while (0)

#endif
