/* Goal: a key that is there during a whole scan is visited exactly once, however the arrays grow
 * and shrink meanwhile; any cursor is safe.
 * Method: stable keys and passing ones in a few crowded shards; between the steps of a scan passing
 * keys come and go by the hundreds and arrays are rebuilt to other sizes.
 *
 * Bugs planted once to see it fail: places before the cursor visited again after growth; items that
 * were displaced over the array's end left out; the cursor rounded down to the bucket's start. */
#include "lib/test.h"

#include <stdlib.h>

#include "lib/table_fixture.h"
#include "table/reclaim.h"

enum { STABLE = 3000, PASSING = 6000, SHARDS = 5 };

static struct table_fixture fixture;
static char texts[STABLE + PASSING][24];
static struct tarn_bytes keys[STABLE + PASSING];

static int setup(void **state)
{
    (void)state;
    uint64_t from = 0;
    fixture_open(&fixture, 0, TARN_EVICT_NOTHING);
    for (size_t i = 0; i < STABLE + PASSING; i++)
        keys[i] = fixture_key(fixture.table, SHARDS, &from, texts[i]);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fixture_close(&fixture);
    return 0;
}

static void put(size_t i)
{
    struct tarn_record record = {keys[i], {&i, sizeof i}, 0};
    assert_int_equal(table_put(fixture.session, &record), TARN_OK);
}

static void see(void *context, struct tarn_bytes key, struct tarn_bytes value)
{
    unsigned char *times = context;
    size_t i;
    (void)key;
    assert_int_equal(value.size, sizeof i);
    memcpy(&i, value.data, sizeof i);
    times[i]++;
}

/* Rebuild each crowded shard to another size that holds its items. */
static void resize(uint64_t *random)
{
    for (uint32_t shard = 0; shard < SHARDS; shard++) {
        assert_true(reclaim_reserve(fixture.session, 1));
        shard_lock(fixture.session, shard);
        struct array *array = shard_array_locked(&fixture.table->shards[shard]);
        uint32_t items = array->items_count + (uint32_t)pick(random, 3000);
        struct array *rebuilt = array_rebuild(fixture.table, array, items);
        assert_non_null(rebuilt);
        shard_change_begin_locked(fixture.session, shard);
        shard_set_array_locked(fixture.session, shard, rebuilt, RETIRED_ARRAY);
        shard_change_end_locked(fixture.session, shard);
        shard_unlock(fixture.session, shard);
    }
}

static void scans_while_it_changes(void **state)
{
    (void)state;
    for (size_t i = 0; i < STABLE; i++)
        put(i);
    for (uint64_t seed = 1; seed <= 40 / TEST_SLOWER; seed++) {
        unsigned char *times = calloc(STABLE + PASSING, 1);
        uint64_t random = seed, cursor = 0;
        size_t step = 1 + pick(&random, 300);
        do {
            table_scan(fixture.session, &cursor, step, see, times);
            for (size_t n = 0; n < 100; n++) {
                size_t i = STABLE + pick(&random, PASSING);
                if (pick(&random, 2) == 0)
                    put(i);
                else
                    (void)!table_delete(fixture.session, keys[i]);
            }
            if (seed % 2 == 0)
                resize(&random);
            fixture_quiescent(fixture.session);
        } while (cursor != 0);
        for (size_t i = 0; i < STABLE; i++)
            if (times[i] != 1)
                fail_msg("seed %llu: key %zu was visited %d times", (unsigned long long)seed, i,
                         times[i]);
        free(times);
    }
}

static void count(void *context, struct tarn_bytes key, struct tarn_bytes value)
{
    (void)key;
    (void)value;
    ++*(size_t *)context;
}

/* Trips on: a cursor of the client's own making that leads outside, or that never ends. */
static void any_cursor(void **state)
{
    (void)state;
    uint64_t random = 9;
    for (size_t i = 0; i < STABLE; i++)
        put(i);
    for (int n = 0; n < 3000; n++) {
        uint64_t cursor = n == 0 ? UINT64_MAX : random_next(&random) >> pick(&random, 64);
        size_t seen = 0;
        for (unsigned rounds = 0; rounds < TABLE_SHARDS; rounds++) {
            table_scan(fixture.session, &cursor, 100, count, &seen);
            if (cursor == 0)
                break;
        }
        assert_int_equal(cursor, 0);
        assert_true(seen <= STABLE);
    }
}

/* Trips on: keys that random choice can never reach, or prefers grossly. */
static void random_keys(void **state)
{
    (void)state;
    enum { FEW = 40, DRAWS = 40000 };
    unsigned drawn[FEW] = {0};
    uint64_t random = 3;
    struct tarn_bytes key;
    assert_int_equal(table_random_key(fixture.session, 1, &key), TARN_NOTFOUND);
    uint64_t from = 0;
    for (size_t i = 0; i < FEW; i++)
        keys[i] = fixture_key(fixture.table, TABLE_SHARDS, &from, texts[i]);
    for (size_t i = 0; i < FEW; i++)
        put(i);
    for (int n = 0; n < DRAWS; n++) {
        assert_int_equal(table_random_key(fixture.session, random_next(&random), &key), TARN_OK);
        for (size_t i = 0; i < FEW; i++)
            drawn[i] += bytes_equal(key, keys[i]);
    }
    for (size_t i = 0; i < FEW; i++)
        assert_true(drawn[i] > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(scans_while_it_changes, setup, teardown),
        cmocka_unit_test_setup_teardown(any_cursor, setup, teardown),
        cmocka_unit_test_setup_teardown(random_keys, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
