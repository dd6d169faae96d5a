/* Goal: whatever the background does, a view stays what it was until it is given back; nothing is
 * freed twice, nothing is lost.
 * Method: readers, writers, flushes, expiry, eviction by every policy, changing limits and sizes,
 * all together on a table with its thread, long enough for each to happen often. Each value tells
 * its key and how to compute the rest of it, and is checked when it is got and again before it is
 * given back. Under AddressSanitizer freed memory, under ThreadSanitizer every access out of order
 * is reported. At the end the table is emptied: all memory is back. Seeds are fixed; threads end by
 * counting what they have done, never by time.
 *
 * Bugs planted once to see it fail: freeing without the grace period; an array freed at once when
 * it is rebuilt (seen by ThreadSanitizer); items of a flushed array not freed; a closing session's
 * batch lost; a sweep without the lock; a moved item freed at once. */
#include "lib/test.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "lib/table_fixture.h"
#include "table/reclaim_internal.h"

enum {
    KEYS = 120000,
    READERS = 2,
    WRITERS = 2,
    BATCH = 32,
    HELD_BATCHES = 4,
    WRITES = TEST_SLOWER > 1 ? 150000 : 600000,
    VALUE_MAX = 30000,
    HEAD = 24,
};

#define LIMIT ((uint64_t)32 << 20)

static struct table_fixture fixture;
static _Atomic unsigned writers_left;
static _Atomic uint64_t bad, seen, full;

/* --- values that tell whether they are whole --- */

struct head {
    uint64_t key, seed, size;
};
_Static_assert(sizeof(struct head) == HEAD, "as values begin");

static size_t value_make(unsigned char *value, uint64_t key, uint64_t seed, size_t size)
{
    struct head head = {key, seed, size};
    uint64_t state = key * 31 + seed;
    memcpy(value, &head, HEAD);
    for (size_t i = HEAD; i < size; i += 8) {
        uint64_t bits = random_next(&state);
        memcpy(value + i, &bits, size - i < 8 ? size - i : 8);
    }
    return size;
}

static bool value_is_whole(struct tarn_bytes value, uint64_t key)
{
    struct head head;
    const unsigned char *p = value.data;
    if (value.size < HEAD)
        return false;
    memcpy(&head, p, HEAD);
    uint64_t state = head.key * 31 + head.seed;
    if (head.key != key || head.size != value.size)
        return false;
    for (size_t i = HEAD; i < value.size; i += 8) {
        uint64_t bits = random_next(&state);
        if (memcmp(p + i, &bits, value.size - i < 8 ? value.size - i : 8) != 0)
            return false;
    }
    return true;
}

static struct tarn_bytes key_text(uint64_t key, char text[24])
{
    int size = snprintf(text, 24, "key:%llu", (unsigned long long)key);
    return (struct tarn_bytes){text, (size_t)size};
}

/* Some keys are read often. */
static uint64_t any_key(uint64_t *random)
{
    return pick(random, pick(random, 2) ? KEYS / 20 : KEYS);
}

/* --- readers --- */

struct held {
    uint64_t keys[BATCH];
    struct tarn_bytes values[BATCH];
};

static void check(const struct held *held)
{
    for (size_t i = 0; i < BATCH; i++)
        if (held->values[i].data != NULL) {
            bool whole = value_is_whole(held->values[i], held->keys[i]);
            atomic_fetch_add_explicit(whole ? &seen : &bad, 1, memory_order_relaxed);
        }
}

static void get_batch(struct table_session *s, uint64_t *random, struct held *held)
{
    char texts[BATCH][24];
    struct tarn_bytes keys[BATCH];
    for (size_t i = 0; i < BATCH; i++) {
        held->keys[i] = any_key(random);
        keys[i] = key_text(held->keys[i], texts[i]);
    }
    if (pick(random, 4) == 0)
        table_get_together(s, keys, BATCH, held->values);
    else
        table_get_many(s, keys, BATCH, held->values);
}

/* Keep a large value beyond the quiescent state, as a server that is sending it does. */
static void check_pinned(struct table_session *s, const struct held *held)
{
    struct item_large *pins[BATCH] = {NULL};
    for (size_t i = 0; i < BATCH; i++)
        if (held->values[i].size >= TARN_PIN_BYTES_MIN)
            pins[i] = table_pin(held->values[i]);
    fixture_quiescent(s);
    for (size_t i = 0; i < BATCH; i++)
        if (pins[i] != NULL) {
            if (!value_is_whole(held->values[i], held->keys[i]))
                atomic_fetch_add(&bad, 1);
            table_unpin(pins[i]);
        }
}

static void scan_some(void *context, struct tarn_bytes key, struct tarn_bytes value)
{
    (void)context;
    unsigned long long number;
    char text[24] = {0};
    memcpy(text, key.data, key.size < sizeof text ? key.size : sizeof text - 1);
    if (sscanf(text, "key:%llu", &number) != 1 || !value_is_whole(value, number))
        atomic_fetch_add(&bad, 1);
}

static void *read_on(void *argument)
{
    uint64_t random = *(uint64_t *)argument, cursor = 0;
    struct table_session *s;
    struct held *held = calloc(HELD_BATCHES, sizeof *held);
    qsbr_register();
    if (held == NULL || table_session_open(fixture.table, &s) != TARN_OK)
        abort();
    while (atomic_load(&writers_left) > 0) {
        for (size_t i = 0; i < HELD_BATCHES; i++) {
            get_batch(s, &random, &held[i]);
            check(&held[i]);
        }
        table_scan(s, &cursor, 50, scan_some, NULL);
        for (size_t i = 0; i < HELD_BATCHES; i++)
            check(&held[i]);
        if (pick(&random, 8) == 0)
            check_pinned(s, &held[0]);
        fixture_quiescent(s);
        if (pick(&random, 8) == 0) {
            qsbr_offline();
            sched_yield();
            qsbr_online();
        }
    }
    table_session_close(s);
    qsbr_unregister();
    free(held);
    return NULL;
}

/* --- writers --- */

static size_t any_size(uint64_t *random, unsigned phase)
{
    static const size_t limits[] = {100, 900, 300, 2000};
    if (pick(random, 400) == 0)
        return HEAD + pick(random, VALUE_MAX - HEAD);
    return HEAD + pick(random, limits[phase % 4]);
}

static int64_t any_expiry(uint64_t *random)
{
    static const uint64_t spans[] = {300, 3000, 60000};
    if (pick(random, 2) != 0)
        return 0;
    return table_now_ms(fixture.table) + 1 + (int64_t)pick(random, spans[pick(random, 3)]);
}

struct rewriting {
    uint64_t key, seed;
    unsigned char *space;
};

/* Give the key another value of the same size; delete it now and then. */
static enum tarn_verdict rewrite(void *context, struct tarn_update *update)
{
    struct rewriting *w = context;
    struct tarn_bytes value = update->record.value;
    if (value.data == NULL)
        return TARN_KEEP;
    if (!value_is_whole(value, w->key))
        atomic_fetch_add(&bad, 1);
    if (w->seed % 16 == 0)
        return TARN_REMOVE;
    update->record.value =
        (struct tarn_bytes){w->space, value_make(w->space, w->key, w->seed, value.size)};
    return TARN_STORE;
}

static void put(struct table_session *s, const struct tarn_record *record)
{
    int status = table_put(s, record);
    for (int tries = 0; status == TARN_FULL && tries < 20; tries++) {
        table_session_quiescent(s);
        qsbr_offline();
        bool waited = table_make_room(s);
        qsbr_online();
        if (!waited)
            break;
        status = table_put(s, record);
    }
    if (status == TARN_FULL)
        atomic_fetch_add(&full, 1);
    else if (status != TARN_OK)
        atomic_fetch_add(&bad, 1);
}

/* A change that is not made for want of memory is no failure; any other is. */
static void note_status(int status)
{
    if (status != TARN_OK && status != TARN_NOTFOUND && status != TARN_FULL)
        atomic_fetch_add(&bad, 1);
}

static void write_once(struct table_session *s, uint64_t *random, unsigned char *space,
                       unsigned phase)
{
    char text[24];
    uint64_t key = any_key(random), seed = random_next(random);
    struct tarn_record record = {.key = key_text(key, text)};
    struct rewriting w = {key, seed, space};
    switch (pick(random, 8)) {
    case 0:
        note_status(table_delete(s, record.key));
        break;
    case 1:
        note_status(table_update(s, record.key, rewrite, &w));
        break;
    default:
        record.value =
            (struct tarn_bytes){space, value_make(space, key, seed, any_size(random, phase))};
        record.expire_ms = any_expiry(random);
        put(s, &record);
    }
}

/* What happens to all now and then; the first writer does it. */
static void disturb(struct table_session *s, uint64_t *random)
{
    static const enum tarn_eviction policies[] = {
        TARN_EVICT_ALL_SIEVE,  TARN_EVICT_ALL_RANDOM,     TARN_EVICT_ALL_SIEVE,
        TARN_EVICT_ALL_RANDOM, TARN_EVICT_EXPIRING_SIEVE, TARN_EVICT_EXPIRING_SOONEST};
    fixture_advance_ms(&fixture, pick(random, 150));
    switch (pick(random, 48)) {
    case 0:
        if (table_flush(s) != TARN_OK)
            atomic_fetch_add(&bad, 1);
        break;
    case 1:
    case 2:
        table_limit(fixture.table, LIMIT / 2 * (1 + pick(random, 2)), policies[pick(random, 6)]);
        break;
    case 3:
        table_expire_actively(fixture.table, pick(random, 2) == 0);
        break;
    default:
        break;
    }
}

static void *write_on(void *argument)
{
    uint64_t random = *(uint64_t *)argument;
    bool first = random % 2 != 0;
    struct table_session *s;
    unsigned char *space = malloc(VALUE_MAX + 8);
    qsbr_register();
    if (space == NULL || table_session_open(fixture.table, &s) != TARN_OK)
        abort();
    for (unsigned i = 0; i < WRITES; i++) {
        write_once(s, &random, space, i * 8 / WRITES);
        if (i % 16 == 0)
            fixture_quiescent(s);
        if (first && i % 256 == 0)
            disturb(s, &random);
    }
    table_session_close(s);
    qsbr_unregister();
    free(space);
    atomic_fetch_sub(&writers_left, 1);
    return NULL;
}

/* --- all together --- */

static void everything_together(void **state)
{
    (void)state;
    pthread_t threads[READERS + WRITERS];
    uint64_t seeds[READERS + WRITERS];
    fixture_open(&fixture, LIMIT, TARN_EVICT_ALL_SIEVE);
    uint64_t used = budget_used(&fixture.table->budget);
    atomic_store(&writers_left, WRITERS);
    qsbr_offline();
    for (unsigned i = 0; i < READERS + WRITERS; i++) {
        seeds[i] = i * 2 + (i == 0);
        assert_int_equal(
            pthread_create(&threads[i], NULL, i < WRITERS ? write_on : read_on, &seeds[i]), 0);
    }
    for (unsigned i = 0; i < READERS + WRITERS; i++)
        pthread_join(threads[i], NULL);
    qsbr_online();
    assert_int_equal(atomic_load(&bad), 0);
    struct tarn_stats stats;
    table_stats_get(fixture.table, &stats);
    printf("seen %llu, full %llu, evicted %llu, expired %llu, keys %llu\n",
           (unsigned long long)atomic_load(&seen), (unsigned long long)atomic_load(&full),
           (unsigned long long)stats.evicted_total, (unsigned long long)stats.expired_total,
           (unsigned long long)stats.keys);
    assert_true(atomic_load(&seen) > 1000 && stats.evicted_total > 1000 &&
                stats.expired_total > 1000);

    assert_int_equal(table_flush(fixture.session), TARN_OK);
    fixture_quiescent(fixture.session);
    reclaim_stop(fixture.table->reclaim);
    while (reclaim_round(fixture.table->reclaim))
        continue;
    table_stats_get(fixture.table, &stats);
    assert_int_equal(stats.keys, 0);
    assert_int_equal(stats.expiring, 0);
    assert_int_equal(stats.limbo_bytes, 0);
    assert_int_equal(stats.item_bytes, 0);
    /* Besides what was there at first only a few empty batches, and what the slab keeps ready. */
    assert_in_range(budget_used(&fixture.table->budget), used, used + (1 << 20));
    fixture_close(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(everything_together)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
