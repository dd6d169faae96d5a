/* A table whose background does its rounds when the test wants it. Include lib/test.h first. */
#ifndef LIB_TABLE_ROUNDS_H
#define LIB_TABLE_ROUNDS_H

#include "lib/table_fixture.h"
#include "table/reclaim_internal.h"

static inline void rounds_open(struct table_fixture *f, uint64_t memory_bytes_max,
                               enum tarn_eviction eviction)
{
    fixture_open(f, memory_bytes_max, eviction);
    reclaim_stop(f->table->reclaim);
}

/* All that can be done now; the session's views are gone. */
static inline void rounds_settle(struct table_fixture *f)
{
    fixture_quiescent(f->session);
    while (reclaim_round(f->table->reclaim) || compact_advances(&f->table->reclaim->compact))
        continue;
}

/* Put, waiting for room as long as that helps; returns the status. The cap holds all the time. */
static inline int rounds_put(struct table_fixture *f, const struct tarn_record *record)
{
    struct budget *budget = &f->table->budget;
    int status;
    while ((status = table_put(f->session, record)) == TARN_FULL) {
        fixture_quiescent(f->session);
        if (!table_make_room(f->session))
            break;
    }
    if (budget_limit(budget) != 0 && budget_used(budget) > budget_limit(budget))
        fail_msg("%llu bytes in use of %llu", (unsigned long long)budget_used(budget),
                 (unsigned long long)budget_limit(budget));
    return status;
}

static inline struct tarn_stats rounds_stats(const struct table_fixture *f)
{
    struct tarn_stats stats;
    table_stats_get(f->table, &stats);
    return stats;
}

/* Key number i, as text. */
static inline struct tarn_bytes rounds_key(uint64_t i, char text[24])
{
    int size = snprintf(text, 24, "key:%llu", (unsigned long long)i);
    return (struct tarn_bytes){text, (size_t)size};
}

/* Its value of this size in `space`: 8 bytes of the number, over and over. */
static inline struct tarn_bytes rounds_value(uint64_t i, size_t size, unsigned char *space)
{
    uint64_t bits = random_mix(i + 1);
    for (size_t at = 0; at < size; at += 8)
        memcpy(space + at, &bits, size - at < 8 ? size - at : 8);
    return (struct tarn_bytes){space, size};
}

/* Is the key there, with the value that it must have? */
static inline bool rounds_has(struct table_fixture *f, uint64_t i)
{
    char text[24];
    static unsigned char space[65536];
    struct tarn_record record;
    if (table_get(f->session, rounds_key(i, text), &record) != TARN_OK)
        return false;
    assert_true(record.value.size <= sizeof space);
    struct tarn_bytes value = rounds_value(i, record.value.size, space);
    assert_memory_equal(record.value.data, value.data, value.size);
    return true;
}

/* Put key i with a value of this size. */
static inline int rounds_put_number(struct table_fixture *f, uint64_t i, size_t size,
                                    int64_t expire_ms)
{
    char text[24];
    static unsigned char space[65536];
    struct tarn_record record = {rounds_key(i, text), rounds_value(i, size, space), expire_ms};
    return rounds_put(f, &record);
}

#endif
