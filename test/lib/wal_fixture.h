/* Changes of every kind, compared and written as records: what the log's tests and fuzzer share.
 * Include lib/test.h first. */
#ifndef LIB_WAL_FIXTURE_H
#define LIB_WAL_FIXTURE_H

#include "core/assert.h"
#include "wal/record.h"

#define WAL_BYTES(text)                                                                            \
    {                                                                                              \
        (text), sizeof(text) - 1                                                                   \
    }

/* All kinds; keys and values that are empty, binary, UTF-8, in need of escapes. */
static const struct change wal_changes[] = {
    {CHANGE_PUT, WAL_BYTES("key"), WAL_BYTES("value"), 0, 0},
    {CHANGE_PUT, WAL_BYTES(""), WAL_BYTES(""), 0, 0},
    {CHANGE_PUT, WAL_BYTES("k\xff"), WAL_BYTES("a\0b"), 0, 1234567890123},
    {CHANGE_PUT, WAL_BYTES("k\"\\\n\x01/"), WAL_BYTES("gr\xc3\xbc\xc3\x9f"), 0, -1},
    {CHANGE_PUT, WAL_BYTES("\xc3\xa4\"quoted\""), WAL_BYTES("\xed\xa0\x80"), 0, INT64_MAX},
    {CHANGE_PUT, WAL_BYTES("\x01\x02\x03\x04"), WAL_BYTES("{\"seq\": 1}\n\n"), 0, INT64_MIN},
    {CHANGE_DELETE, WAL_BYTES("key"), {0}, 0, 0},
    {CHANGE_EXPIRE, WAL_BYTES("key"), {0}, 0, 1},
    {CHANGE_EXPIRE, WAL_BYTES("key"), {0}, 0, 0},
    {CHANGE_PATCH, WAL_BYTES("key"), WAL_BYTES("part"), 3, 99},
    {CHANGE_PATCH, WAL_BYTES("\0"), WAL_BYTES(""), (uint64_t)512 << 20, 0},
    {CHANGE_FLUSH, {0}, {0}, 0, 0},
};
enum { WAL_CHANGES = sizeof wal_changes / sizeof *wal_changes };

static inline bool wal_changes_equal(const struct change *a, const struct change *b)
{
    return a->kind == b->kind && a->expire_ms == b->expire_ms && a->offset == b->offset &&
           bytes_equal(a->key, b->key) && bytes_equal(a->value, b->value);
}

/* Append a record; its offset. */
static inline size_t wal_put(enum wal_encoding encoding, const struct change *change,
                             struct record_stamp stamp, struct record_chain *chain,
                             struct buffer *out)
{
    size_t at = record_prepare(encoding, change, out);
    ASSERT(!out->failed);
    record_seal(encoding, out->data + at, out->size - at, &stamp, chain);
    return at;
}

#endif
