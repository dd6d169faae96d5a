/* Goal: a copy has the value and expiry of its source; it happens at one moment or not at all, even
 * if everybody changes the keys meanwhile.
 * Method: each answer once, alone and inside table_begin(); a counter that threads move from key to
 * key while others count in it and readers look for it in all places at one moment; every
 * allocation failed once, and a cap that is reached.
 *
 * Bugs planted once to see it fail: a clock looked at twice (a crash); the source not looked at
 * again under the lock (a count is lost); a move that leaves the source (two counters); the expiry
 * left out; an expired target that keeps TARN_COPY_NEW from its place; the item not freed when the
 * source has changed (a leak). */
#include "lib/test.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "lib/fault_malloc.h"
#include "lib/table_fixture.h"

enum { KEYS = 6, LARGE_BYTES = 20000, MOVES = 20000, MOVERS = 2, COUNTERS = 2 };

static struct table_fixture fixture;
static char texts[KEYS][24];
static struct tarn_bytes keys[KEYS];
static char large[LARGE_BYTES];

static int setup(void **state)
{
    (void)state;
    uint64_t from = 0;
    fixture_open(&fixture, 0, TARN_EVICT_NOTHING);
    for (size_t i = 0; i < KEYS; i++) /* two of them share a shard, as some do in earnest */
        keys[i] = fixture_key(fixture.table, KEYS - 1, &from, texts[i]);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fixture_close(&fixture);
    return 0;
}

static void put(struct tarn_bytes key, struct tarn_bytes value, int64_t expire_ms)
{
    struct tarn_record record = {key, value, expire_ms};
    assert_int_equal(table_put(fixture.session, &record), TARN_OK);
}

static void assert_record(struct tarn_bytes key, struct tarn_bytes value, int64_t expire_ms)
{
    struct tarn_record record;
    assert_int_equal(table_get(fixture.session, key, &record), TARN_OK);
    assert_int_equal(record.expire_ms, expire_ms);
    assert_int_equal(record.value.size, value.size);
    assert_memory_equal(record.value.data, value.data, value.size);
}

static void assert_absent(struct tarn_bytes key)
{
    struct tarn_record record;
    assert_int_equal(table_get(fixture.session, key, &record), TARN_NOTFOUND);
}

static int copy(struct tarn_bytes source, struct tarn_bytes target, unsigned flags)
{
    return table_copy(fixture.session, source, target, flags);
}

static uint64_t keys_count(void)
{
    struct tarn_stats stats;
    table_stats_get(fixture.table, &stats);
    return stats.keys;
}

/* --- answers --- */

static void check_answers(struct tarn_bytes value)
{
    const int64_t later = table_now_ms(fixture.table) + 5000;
    const struct tarn_bytes a = keys[0], b = keys[1], c = keys[2];
    const struct tarn_bytes other = {"other", 5};
    assert_int_equal(copy(a, b, 0), TARN_NOTFOUND);
    assert_int_equal(copy(a, a, 0), TARN_NOTFOUND);
    put(a, value, later);
    assert_int_equal(copy(a, b, TARN_COPY_NEW), TARN_OK);
    assert_record(a, value, later);
    assert_record(b, value, later);
    put(c, other, 0);
    assert_int_equal(copy(a, c, TARN_COPY_NEW), TARN_DUPLICATE);
    assert_int_equal(copy(a, c, TARN_COPY_NEW | TARN_COPY_MOVE), TARN_DUPLICATE);
    assert_record(c, other, 0);
    assert_int_equal(copy(c, b, 0), TARN_OK);
    assert_record(b, other, 0);
    assert_int_equal(copy(a, c, TARN_COPY_MOVE), TARN_OK);
    assert_absent(a);
    assert_record(c, value, later);
    assert_int_equal(copy(c, a, TARN_COPY_MOVE | TARN_COPY_NEW), TARN_OK);
    assert_absent(c);
    assert_int_equal(copy(a, a, TARN_COPY_MOVE), TARN_OK);
    assert_int_equal(copy(a, a, TARN_COPY_NEW), TARN_DUPLICATE);
    assert_record(a, value, later);
    assert_int_equal(keys_count(), 2);
    assert_int_equal(table_flush(fixture.session), TARN_OK);
}

static void answers(void **state)
{
    (void)state;
    static char long_key[TARN_KEY_BYTES_MAX + 1];
    const struct tarn_bytes values[] = {{"", 0}, {"value", 5}, {large, sizeof large}};
    for (size_t i = 0; i < 3; i++) {
        check_answers(values[i]);
        table_begin(fixture.session, keys, KEYS);
        for (size_t j = 0; j < 3; j++)
            assert_int_equal(table_delete(fixture.session, keys[j]), TARN_NOTFOUND);
        table_end(fixture.session);
    }
    put(keys[0], values[1], 0);
    assert_int_equal(copy(keys[0], (struct tarn_bytes){long_key, sizeof long_key}, 0), TARN_TOOBIG);
    assert_int_equal(copy((struct tarn_bytes){long_key, sizeof long_key}, keys[0], 0),
                     TARN_NOTFOUND);
}

/* Trips on: a source that is there when it is looked at, and not when it is taken out. */
static void a_source_expires_under_way(void **state)
{
    (void)state;
    const struct tarn_bytes value = {"value", 5};
    unsigned moved = 0, gone = 0;
    for (int64_t ms = 1; ms < 20; ms++) {
        put(keys[0], value, table_now_ms(fixture.table) + ms);
        atomic_store(&fixture.clock_step_ns, 1000000);
        int status = copy(keys[0], keys[1], TARN_COPY_MOVE);
        atomic_store(&fixture.clock_step_ns, 0);
        moved += status == TARN_OK;
        gone += status == TARN_NOTFOUND;
        fixture_advance_ms(&fixture, 20);
        assert_absent(keys[0]);
        assert_absent(keys[1]);
    }
    assert_int_equal(moved + gone, 19);
    assert_true(moved > 0 && gone > 0);
}

/* Trips on: tries without locks there, which would wait for themselves. */
static void answers_inside_begin(void **state)
{
    (void)state;
    put(keys[0], (struct tarn_bytes){"value", 5}, 0);
    put(keys[1], (struct tarn_bytes){"other", 5}, 0);
    table_begin(fixture.session, keys, KEYS);
    assert_int_equal(copy(keys[0], keys[1], TARN_COPY_NEW), TARN_DUPLICATE);
    assert_int_equal(copy(keys[0], keys[1], TARN_COPY_MOVE), TARN_OK);
    assert_int_equal(copy(keys[0], keys[1], 0), TARN_NOTFOUND);
    assert_int_equal(copy(keys[1], keys[2], TARN_COPY_NEW), TARN_OK);
    table_end(fixture.session);
    assert_absent(keys[0]);
    assert_record(keys[1], (struct tarn_bytes){"value", 5}, 0);
    assert_record(keys[2], (struct tarn_bytes){"value", 5}, 0);
}

static void expired_keys_are_not_there(void **state)
{
    (void)state;
    const int64_t soon = table_now_ms(fixture.table) + 10;
    put(keys[0], (struct tarn_bytes){"soon", 4}, soon);
    put(keys[1], (struct tarn_bytes){"later", 5}, soon + 10);
    fixture_advance_ms(&fixture, 10);
    assert_int_equal(copy(keys[0], keys[2], 0), TARN_NOTFOUND);
    assert_int_equal(copy(keys[1], keys[0], TARN_COPY_NEW), TARN_OK);
    assert_record(keys[0], (struct tarn_bytes){"later", 5}, soon + 10);
    fixture_advance_ms(&fixture, 10);
    assert_int_equal(copy(keys[0], keys[1], TARN_COPY_MOVE), TARN_NOTFOUND);
    assert_absent(keys[0]);
}

static void watches_of_both_are_told(void **state)
{
    (void)state;
    for (unsigned flags = 0; flags <= TARN_COPY_MOVE; flags++) {
        struct table_watch *source, *target;
        put(keys[0], (struct tarn_bytes){"value", 5}, 0);
        assert_int_equal(table_watch_open(fixture.session, keys[0], &source), TARN_OK);
        assert_int_equal(table_watch_open(fixture.session, keys[1], &target), TARN_OK);
        assert_int_equal(copy(keys[0], keys[1], flags), TARN_OK);
        assert_int_equal(table_watch_changed(source), flags == TARN_COPY_MOVE);
        assert_true(table_watch_changed(target));
        table_watch_close(source);
        table_watch_close(target);
    }
}

static struct table_about about(struct tarn_bytes key)
{
    struct table_about known;
    assert_int_equal(table_about(fixture.session, key, &known), TARN_OK);
    return known;
}

static void usage_is_what_was_allocated(void **state)
{
    (void)state;
    struct table_about known;
    const int64_t soon = table_now_ms(fixture.table) + 10;
    assert_int_equal(table_about(fixture.session, keys[0], &known), TARN_NOTFOUND);
    put(keys[0], (struct tarn_bytes){large, 100}, 0);
    put(keys[1], (struct tarn_bytes){large, 100}, soon);
    put(keys[2], (struct tarn_bytes){large, sizeof large}, 0);
    size_t small = about(keys[0]).item_bytes, least = keys[0].size + 100 + 3;
    assert_in_range(small, least, least + 7);
    assert_int_equal(about(keys[1]).item_bytes, small + 8);
    assert_int_equal(about(keys[0]).expire_ms, 0);
    assert_int_equal(about(keys[1]).expire_ms, soon);
    assert_in_range(about(keys[2]).item_bytes, sizeof large, sizeof large + 4096);
    fixture_advance_ms(&fixture, 10);
    assert_int_equal(table_about(fixture.session, keys[1], &known), TARN_NOTFOUND);
}

/* --- no memory --- */

static void out_of_memory(void **state)
{
    (void)state;
    const struct tarn_bytes value = {large, sizeof large};
    unsigned failures = 0;
    bool failed = true;
    for (uint64_t nth = 1; failed && nth < 100; nth++) {
        put(keys[0], value, 0);
        put(keys[1], (struct tarn_bytes){"old", 3}, 0);
        fault_malloc_arm(nth, false);
        int status = copy(keys[0], keys[1], TARN_COPY_MOVE);
        failed = fault_malloc_disarm() != 0;
        if (status == TARN_OK) {
            assert_absent(keys[0]);
            assert_record(keys[1], value, 0);
        } else {
            assert_int_equal(status, TARN_NOMEM);
            assert_record(keys[0], value, 0);
            assert_record(keys[1], (struct tarn_bytes){"old", 3}, 0);
            failures++;
        }
        fixture_quiescent(fixture.session);
    }
    assert_true(failures > 0 && !failed);
}

static void over_the_cap(void **state)
{
    (void)state;
    const struct tarn_bytes value = {large, sizeof large};
    put(keys[0], value, 0);
    table_limit(fixture.table, 1, TARN_EVICT_NOTHING);
    for (unsigned flags = 0; flags <= (TARN_COPY_MOVE | TARN_COPY_NEW); flags++) {
        assert_int_equal(copy(keys[0], keys[1], flags), TARN_FULL);
        table_begin(fixture.session, keys, KEYS);
        assert_int_equal(copy(keys[0], keys[1], flags), TARN_FULL);
        table_end(fixture.session);
        assert_absent(keys[1]);
    }
    assert_record(keys[0], value, 0);
}

/* --- many threads --- */

static _Atomic int movers_running;
static _Atomic uint64_t counted, violations;

static struct table_session *session_open(void)
{
    struct table_session *s;
    qsbr_register();
    return table_session_open(fixture.table, &s) == TARN_OK ? s : NULL;
}

static void session_close(struct table_session *s)
{
    table_session_close(s);
    qsbr_unregister();
}

static void *move(void *argument)
{
    struct table_session *s = session_open();
    uint64_t random = (uint64_t)(uintptr_t)argument;
    for (int i = 0; i < MOVES / TEST_SLOWER; i++) {
        size_t from = pick(&random, KEYS), to = pick(&random, KEYS);
        unsigned flags = TARN_COPY_MOVE | (pick(&random, 2) == 0 ? TARN_COPY_NEW : 0);
        int status = table_copy(s, keys[from], keys[to], flags);
        /* There is one counter: where it is not, it may go. */
        bool right = status == TARN_OK || status == TARN_NOTFOUND ||
                     (status == TARN_DUPLICATE && from == to);
        if (!right)
            atomic_fetch_add(&violations, 1);
        fixture_quiescent(s);
    }
    session_close(s);
    atomic_fetch_sub(&movers_running, 1);
    return NULL;
}

static enum tarn_verdict increment(void *context, struct tarn_update *update)
{
    uint64_t *n = context;
    *n = 0;
    if (update->record.value.data == NULL)
        return TARN_KEEP;
    memcpy(n, update->record.value.data, sizeof *n);
    ++*n;
    update->patch = (struct tarn_bytes){n, sizeof *n};
    return TARN_PATCH;
}

static void *count(void *argument)
{
    struct table_session *s = session_open();
    uint64_t random = (uint64_t)(uintptr_t)argument, n;
    while (atomic_load(&movers_running) > 0) {
        if (table_update(s, keys[pick(&random, KEYS)], increment, &n) == TARN_OK && n > 0)
            atomic_fetch_add(&counted, 1);
        fixture_quiescent(s);
    }
    session_close(s);
    return NULL;
}

static void *look_everywhere(void *argument)
{
    (void)argument;
    struct table_session *s = session_open();
    struct tarn_bytes values[KEYS];
    while (atomic_load(&movers_running) > 0) {
        if (table_get_together(s, keys, KEYS, values) != 1)
            atomic_fetch_add(&violations, 1);
        fixture_quiescent(s);
    }
    session_close(s);
    return NULL;
}

/* size: of the counter's value: small ones are replaced, large ones also changed in place. */
static void move_a_counter(size_t size)
{
    pthread_t threads[MOVERS + COUNTERS + 1];
    size_t started = 0;
    int64_t expire_ms = table_now_ms(fixture.table) + 1000;
    memset(large, 0, sizeof large);
    put(keys[0], (struct tarn_bytes){large, size}, expire_ms);
    atomic_store(&movers_running, MOVERS);
    atomic_store(&counted, 0);
    qsbr_offline();
    for (size_t i = 0; i < MOVERS; i++)
        assert_int_equal(pthread_create(&threads[started++], NULL, move, (void *)(i + 1)), 0);
    for (size_t i = 0; i < COUNTERS; i++)
        assert_int_equal(pthread_create(&threads[started++], NULL, count, (void *)(i + 9)), 0);
    assert_int_equal(pthread_create(&threads[started++], NULL, look_everywhere, NULL), 0);
    while (started > 0)
        pthread_join(threads[--started], NULL);
    qsbr_online();
    uint64_t n = atomic_load(&counted);
    assert_int_equal(atomic_load(&violations), 0);
    assert_int_equal(keys_count(), 1);
    for (size_t i = 0; i < KEYS; i++) {
        struct tarn_record record;
        if (table_get(fixture.session, keys[i], &record) != TARN_OK)
            continue;
        assert_int_equal(record.expire_ms, expire_ms);
        assert_int_equal(record.value.size, size);
        assert_memory_equal(record.value.data, &n, sizeof n);
    }
    assert_int_equal(table_flush(fixture.session), TARN_OK);
}

static void a_counter_moves_about(void **state)
{
    (void)state;
    move_a_counter(sizeof(uint64_t));
    move_a_counter(LARGE_BYTES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(answers, setup, teardown),
        cmocka_unit_test_setup_teardown(answers_inside_begin, setup, teardown),
        cmocka_unit_test_setup_teardown(a_source_expires_under_way, setup, teardown),
        cmocka_unit_test_setup_teardown(expired_keys_are_not_there, setup, teardown),
        cmocka_unit_test_setup_teardown(watches_of_both_are_told, setup, teardown),
        cmocka_unit_test_setup_teardown(usage_is_what_was_allocated, setup, teardown),
        cmocka_unit_test_setup_teardown(out_of_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(over_the_cap, setup, teardown),
        cmocka_unit_test_setup_teardown(a_counter_moves_about, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
