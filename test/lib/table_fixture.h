/* A table for tests: a clock that only the test moves, a hash secret that is always the same, and a
 * session of this thread. Include lib/test.h first. */
#ifndef LIB_TABLE_FIXTURE_H
#define LIB_TABLE_FIXTURE_H

#include <stdatomic.h>
#include <stdio.h>

#include "core/qsbr.h"
#include "core/random.h"
#include "table/shard.h"

#define FIXTURE_START_MS 1700000000000ll

struct table_fixture {
    struct os os;
    _Atomic uint64_t clock_ns;
    _Atomic uint64_t clock_step_ns; /* by which it moves whenever it is looked at */
    struct table *table;
    struct table_session *session;
};

static uint64_t fixture_monotonic_ns(const struct os *os)
{
    struct table_fixture *f = os->context;
    uint64_t step_ns = atomic_load_explicit(&f->clock_step_ns, memory_order_relaxed);
    return atomic_fetch_add_explicit(&f->clock_ns, step_ns, memory_order_relaxed);
}

static int64_t fixture_realtime_us(const struct os *os)
{
    (void)os;
    return FIXTURE_START_MS * 1000;
}

static int fixture_entropy(const struct os *os, void *data, size_t size)
{
    (void)os;
    for (size_t i = 0; i < size; i++)
        ((unsigned char *)data)[i] = (unsigned char)(i * 167 + 13);
    return 0;
}

static inline void fixture_open(struct table_fixture *f, uint64_t memory_bytes_max,
                                enum tarn_eviction eviction)
{
    f->os = *os_real();
    f->os.context = f;
    f->os.monotonic_ns = fixture_monotonic_ns;
    f->os.realtime_us = fixture_realtime_us;
    f->os.entropy = fixture_entropy;
    atomic_store(&f->clock_ns, 1000000000);
    atomic_store(&f->clock_step_ns, 0);
    struct tarn_error error;
    if (table_open(&f->os, memory_bytes_max, eviction, &f->table, &error) != TARN_OK)
        fail_msg("%s", error.text);
    qsbr_register();
    assert_int_equal(table_session_open(f->table, &f->session), TARN_OK);
}

static inline void fixture_close(struct table_fixture *f)
{
    table_session_close(f->session);
    qsbr_unregister();
    table_close(f->table);
}

/* Let go of all views, as a session does once a turn. */
static inline void fixture_quiescent(struct table_session *s)
{
    table_session_quiescent(s);
    qsbr_quiescent();
}

static inline void fixture_advance_ms(struct table_fixture *f, uint64_t ms)
{
    atomic_fetch_add(&f->clock_ns, ms * 1000000);
}

/* 0..limit-1 from a stream of random numbers. */
static inline uint64_t pick(uint64_t *random, uint64_t limit)
{
    return random_below(random_next(random), limit);
}

/* The nth key of those that lie in the first `shards` shards, as text; for tests that want many
 * keys in few shards. Keys must be asked for in order: *from keeps the place. */
static inline struct tarn_bytes fixture_key(const struct table *t, uint32_t shards, uint64_t *from,
                                            char text[24])
{
    for (;;) {
        int size = snprintf(text, 24, "k%llu", (unsigned long long)(*from)++);
        struct tarn_bytes key = {text, (size_t)size};
        if (table_place(t, key).shard < shards)
            return key;
    }
}

#endif
