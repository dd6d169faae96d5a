/* Goal: what has expired is taken out and freed within two ticks, whatever was done to it before;
 * nothing goes a moment too early; the lag that is reported is true.
 * Method: a list of what must be there; a clock that the test moves, in ticks and in leaps; rounds
 * made by the test. After each leap and two rounds exactly the keys whose time is over are gone, by
 * the table's count, by look-ups, and by the bytes of items.
 *
 * Bugs planted once to see it fail: due times not kept when an array is rebuilt; a due time
 * cleared, or set to the latest; a shard's due time not lowered; items taken out a little early;
 * wrapped due times; the lag of what waits to be freed not told; a slice that loses its place. */
#include "lib/test.h"

#include <stdlib.h>
#include <string.h>

#include "lib/fault_malloc.h"
#include "lib/table_rounds.h"

enum { KEYS = 40000 / TEST_SLOWER };

static struct table_fixture fixture;
static int64_t expiries[KEYS]; /* 0: never; -1: not there */

static int setup(void **state)
{
    (void)state;
    rounds_open(&fixture, 0, TARN_EVICT_NOTHING);
    for (size_t i = 0; i < KEYS; i++)
        expiries[i] = -1;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fixture_close(&fixture);
    return 0;
}

static int64_t now_ms(void)
{
    return table_now_ms(fixture.table);
}

static void put(uint64_t i, size_t size, int64_t expire_ms)
{
    assert_int_equal(rounds_put_number(&fixture, i, size, expire_ms), TARN_OK);
    expiries[i] = expire_ms == 0 || expire_ms > now_ms() ? expire_ms : -1;
}

static enum tarn_verdict change_expiry(void *context, struct tarn_update *update)
{
    if (update->record.value.data == NULL)
        return TARN_KEEP;
    update->record.expire_ms = *(int64_t *)context;
    return TARN_EXPIRE;
}

static void expire(uint64_t i, int64_t expire_ms)
{
    char text[24];
    assert_int_equal(table_update(fixture.session, rounds_key(i, text), change_expiry, &expire_ms),
                     TARN_OK);
    if (expiries[i] == 0 || expiries[i] > now_ms())
        expiries[i] = expire_ms == 0 || expire_ms > now_ms() ? expire_ms : -1;
}

static void delete_it(uint64_t i)
{
    char text[24];
    int status = table_delete(fixture.session, rounds_key(i, text));
    bool there = expiries[i] == 0 || expiries[i] > now_ms();
    assert_int_equal(status, there ? TARN_OK : TARN_NOTFOUND);
    expiries[i] = -1;
}

/* All that was over two ticks ago is gone, all that is not over is there. */
static void assert_swept(void)
{
    uint64_t least = 0, most = 0, expiring_least = 0;
    for (uint64_t i = 0; i < KEYS; i++) {
        if (expiries[i] == 0 || expiries[i] > now_ms()) {
            least++;
            expiring_least += expiries[i] != 0;
        }
        most += expiries[i] == 0 || expiries[i] > now_ms() - 2 * DUE_UNIT_MS;
    }
    struct tarn_stats stats = rounds_stats(&fixture);
    assert_in_range(stats.keys, least, most);
    assert_in_range(stats.expiring, expiring_least, stats.keys);
    assert_int_equal(stats.limbo_bytes, 0);
    assert_in_range(stats.expired_lag_ms, 0, 2 * DUE_UNIT_MS);
}

static void assert_right(void)
{
    for (uint64_t i = 0; i < KEYS; i++)
        assert_int_equal(rounds_has(&fixture, i), expiries[i] == 0 || expiries[i] > now_ms());
}

static void leap(uint64_t ms)
{
    fixture_advance_ms(&fixture, ms);
    rounds_settle(&fixture);
    assert_swept();
}

static int64_t any_expiry(uint64_t *random)
{
    static const uint64_t spans[] = {200, 3000, 60000, 5000000, 20000000};
    if (pick(random, 4) == 0)
        return 0;
    return now_ms() + 1 + (int64_t)pick(random, spans[pick(random, 5)]);
}

static size_t any_size(uint64_t *random)
{
    return pick(random, 100) == 0 ? 9000 + pick(random, 3000) : pick(random, 200);
}

static void random_steps(void **state)
{
    (void)state;
    static const uint64_t leaps[] = {1, 100, 100, 100, 150, 1000, 40000, 4000000, 9000000};
    uint64_t random = 11;
    for (unsigned turn = 0; turn < 150; turn++) {
        for (unsigned n = 0; n < KEYS / 20; n++) {
            uint64_t i = pick(&random, KEYS);
            unsigned what = (unsigned)pick(&random, 8);
            if (what == 0)
                delete_it(i);
            else if (what <= 2)
                expire(i, any_expiry(&random));
            else
                put(i, any_size(&random), any_expiry(&random));
        }
        leap(leaps[pick(&random, turn % 10 == 9 ? 9 : 7)]);
        if (turn % 50 == 49)
            assert_right();
    }
    assert_true(rounds_stats(&fixture).expired_total > KEYS);
    /* In the end all that expires is gone, its memory too. */
    leap(30000000);
    for (uint64_t i = 0; i < KEYS; i++)
        if (expiries[i] == 0)
            delete_it(i);
    rounds_settle(&fixture);
    assert_int_equal(rounds_stats(&fixture).keys, 0);
    assert_int_equal(rounds_stats(&fixture).item_bytes, 0);
    assert_false(expire_expects(fixture.table));
}

/* All at one instant: each round does a bounded part. */
static void all_at_once(void **state)
{
    (void)state;
    enum { MANY = 300000 / TEST_SLOWER };
    int64_t at = now_ms() + 5000;
    for (uint64_t i = 0; i < MANY; i++)
        assert_int_equal(rounds_put_number(&fixture, i, 10, at), TARN_OK);
    fixture_advance_ms(&fixture, 5100);
    fixture_quiescent(fixture.session);
    uint64_t before = MANY, rounds = 0;
    bool more;
    do {
        more = reclaim_round(fixture.table->reclaim);
        uint64_t left = rounds_stats(&fixture).keys;
        assert_in_range(before - left, 0, 40000);
        before = left;
        rounds++;
    } while (more);
    assert_int_equal(before, 0);
    assert_true(rounds > MANY / 40000);
    assert_int_equal(rounds_stats(&fixture).item_bytes, 0);
    assert_int_equal(rounds_stats(&fixture).expired_total, MANY);
}

/* Many buckets of one shard, more than are looked at under one lock. */
static void crowded(void **state)
{
    (void)state;
    enum { MANY = 40000, SHARDS = 64 };
    uint64_t from = 0;
    char text[24];
    for (unsigned i = 0; i < MANY; i++) {
        struct tarn_record record = {
            .key = fixture_key(fixture.table, SHARDS, &from, text),
            .expire_ms = now_ms() + 1000 + (i % 2) * 60000,
        };
        assert_int_equal(rounds_put(&fixture, &record), TARN_OK);
    }
    fixture_advance_ms(&fixture, 1200);
    rounds_settle(&fixture);
    assert_int_equal(rounds_stats(&fixture).keys, MANY / 2);
    assert_int_equal(rounds_stats(&fixture).expired_lag_ms, 0);
    fixture_advance_ms(&fixture, 60000);
    rounds_settle(&fixture);
    assert_int_equal(rounds_stats(&fixture).keys, 0);
}

static void lag(void **state)
{
    (void)state;
    assert_int_equal(rounds_stats(&fixture).expired_lag_ms, 0);
    table_expire_actively(fixture.table, false);
    put(1, 10, now_ms() + 1000);
    put(2, 10, now_ms() + 2000);
    fixture_advance_ms(&fixture, 900);
    assert_int_equal(rounds_stats(&fixture).expired_lag_ms, 0);
    fixture_advance_ms(&fixture, 4100);
    rounds_settle(&fixture);
    assert_int_equal(rounds_stats(&fixture).keys, 2);
    assert_in_range(rounds_stats(&fixture).expired_lag_ms, 3800, 4100);
    /* Taken out, and still to be freed. */
    table_expire_actively(fixture.table, true);
    (void)expire_step(fixture.table->reclaim);
    assert_int_equal(rounds_stats(&fixture).keys, 0);
    assert_int_equal(rounds_stats(&fixture).expired_lag_ms, 4000);
    rounds_settle(&fixture);
    assert_int_equal(rounds_stats(&fixture).expired_lag_ms, 0);
}

/* Switched off for so long that due times wrap. */
static void long_off(void **state)
{
    (void)state;
    static const uint64_t offs_ms[] = {1700000, 3300000, 5000000, 6600000, 30000000};
    for (size_t n = 0; n < sizeof offs_ms / sizeof offs_ms[0]; n++) {
        for (uint64_t i = 0; i < KEYS; i++)
            put(i, 10, now_ms() + 1 + (int64_t)(i * 100));
        leap(1000);
        table_expire_actively(fixture.table, false);
        fixture_advance_ms(&fixture, offs_ms[n]);
        rounds_settle(&fixture);
        table_expire_actively(fixture.table, true);
        leap(100);
        leap(100);
        assert_right();
    }
}

static void failing_allocations(void **state)
{
    (void)state;
    uint64_t random = 3;
    for (unsigned turn = 0; turn < 100; turn++) {
        for (unsigned n = 0; n < KEYS / 20; n++)
            put(pick(&random, KEYS), any_size(&random), any_expiry(&random));
        fixture_quiescent(fixture.session);
        fixture_advance_ms(&fixture, pick(&random, 3000));
        fault_malloc_arm(turn % 20 + 1, turn % 3 == 0);
        (void)reclaim_round(fixture.table->reclaim);
        (void)fault_malloc_disarm();
    }
    leap(100);
    leap(100);
    assert_right();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(random_steps, setup, teardown),
        cmocka_unit_test_setup_teardown(all_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(crowded, setup, teardown),
        cmocka_unit_test_setup_teardown(lag, setup, teardown),
        cmocka_unit_test_setup_teardown(long_off, setup, teardown),
        cmocka_unit_test_setup_teardown(failing_allocations, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
