/* Records that lie under a table, for tests: kept in the order of their hashes, found there or made
 * to fail. Include lib/test.h first. */
#ifndef LIB_FAKE_BASE_H
#define LIB_FAKE_BASE_H

#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "core/hash.h"
#include "lib/table_fixture.h"

struct fake_base {
    struct tarn_record *records; /* by their hashes; the caller's keys, values of its own */
    size_t count;
    struct table *table;
    bool stays;
    _Atomic int fails;       /* what find() answers, if not TARN_OK */
    _Atomic bool forgotten;  /* find() must not be called any more */
    _Atomic uint64_t asked;  /* times */
    bool yields;             /* others go on in the midst of find() */
    _Atomic bool holds;      /* find() does not return ... */
    _Atomic unsigned inside; /* ... of those who have ever been in it */
};

static inline uint64_t fake_base_hash(const struct table *t, struct tarn_bytes key)
{
    return hash_key(t->secret, key);
}

/* The first record whose hash is not below this one. */
static inline size_t fake_base_from(const struct fake_base *b, uint64_t hash)
{
    size_t from = 0, to = b->count;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (fake_base_hash(b->table, b->records[middle].key) < hash)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

/* The first record of a shard; of TABLE_SHARDS: their number. */
static inline size_t fake_base_shard(const struct fake_base *b, uint32_t shard)
{
    return shard < TABLE_SHARDS ? fake_base_from(b, (uint64_t)shard << (64 - TABLE_SHARD_BITS))
                                : b->count;
}

/* As from a disk: into scratch, over what was read before. */
static inline void fake_base_copy(struct buffer *scratch, struct tarn_record *record)
{
    size_t key_size = record->key.size;
    if (scratch->size > 0)
        memset(scratch->data, 0xee, scratch->size);
    buffer_clear(scratch);
    buffer_append(scratch, record->key.data, key_size);
    buffer_append(scratch, record->value.data, record->value.size);
    record->key.data = scratch->data;
    record->value.data = scratch->data + key_size;
}

static inline void fake_base_check(const struct fake_base *b)
{
    if (atomic_load_explicit(&b->forgotten, memory_order_relaxed))
        abort();
}

static inline int fake_base_find(void *context, struct tarn_bytes key, uint64_t hash,
                                 struct buffer *scratch, struct tarn_record *ret_record)
{
    struct fake_base *b = context;
    int status = atomic_load_explicit(&b->fails, memory_order_relaxed);
    fake_base_check(b);
    if (hash != fake_base_hash(b->table, key))
        abort();
    atomic_fetch_add_explicit(&b->asked, 1, memory_order_relaxed);
    for (size_t i = fake_base_from(b, hash); status == TARN_OK; i++) {
        if (i == b->count || fake_base_hash(b->table, b->records[i].key) != hash)
            return TARN_NOTFOUND;
        if (!bytes_equal(b->records[i].key, key))
            continue;
        *ret_record = b->records[i];
        break;
    }
    if (status == TARN_OK && !b->stays)
        fake_base_copy(scratch, ret_record);
    atomic_fetch_add(&b->inside, 1);
    while (atomic_load(&b->holds))
        sched_yield();
    if (b->yields)
        sched_yield();
    fake_base_check(b); /* it is not taken away meanwhile */
    return status == TARN_OK && !b->stays && scratch->failed ? TARN_NOMEM : status;
}

static struct table *fake_base_sorting;

static inline int fake_base_compare(const void *a, const void *b)
{
    uint64_t x = fake_base_hash(fake_base_sorting, ((const struct tarn_record *)a)->key);
    uint64_t y = fake_base_hash(fake_base_sorting, ((const struct tarn_record *)b)->key);
    return x < y ? -1 : x > y;
}

/* records: sorted here, and the caller's until fake_base_done(). The fixture's session is opened
 * again: a base is set while there is none. */
static inline void fake_base_set(struct fake_base *b, struct table_fixture *f,
                                 struct tarn_record *records, size_t count, bool stays)
{
    *b = (struct fake_base){.records = records, .count = count, .table = f->table, .stays = stays};
    fake_base_sorting = f->table;
    qsort(records, count, sizeof *records, fake_base_compare);
    table_session_close(f->session);
    const struct table_base base = {b, count, stays, fake_base_find};
    assert_int_equal(table_base_set(f->table, &base), TARN_OK);
    assert_int_equal(table_session_open(f->table, &f->session), TARN_OK);
}

/* Take a shard's records in, as far as there is room, and have it done with; how that went. */
static inline int fake_base_take_in(struct fake_base *b, struct table_session *s, uint32_t shard)
{
    size_t from = fake_base_shard(b, shard), to = fake_base_shard(b, shard + 1);
    int status = TARN_OK;
    table_base_expect(s, shard, to - from);
    for (size_t i = from; i < to && status == TARN_OK; i += 64)
        status = table_adopt(s, b->records + i, to - i < 64 ? to - i : 64);
    return status == TARN_OK ? table_base_done(s, shard, to - from) : status;
}

static inline void fake_base_forget(struct fake_base *b)
{
    table_base_forget(b->table);
    atomic_store(&b->forgotten, true);
}

#endif
