/* Goal: a scan by one session never shows what another one's step has done so far, and still
 * visits every key that stays exactly once.
 * Method: a writer changes keys of a few crowded shards in steps: first to a value that is only
 * ever there inside a step, with new keys that make the arrays grow, then to one that stays. A
 * scanner reads everything meanwhile. The two take turns as the seed has it (lib/turns.h): at
 * locks, between the changes of a step, and at each key visited.
 *
 * Bugs planted once to see it fail: busy shards read as they are; gathered by the bucket of the
 * array before; the rest of a bucket left out. */
#include "lib/test.h"

#include <pthread.h>
#include <stdlib.h>

#include "lib/table_fixture.h"
#include "lib/turns.h"

enum { KEYS = 60, PASSING = 200, SHARDS = 3, STEPS = 12, SCANS = 6, SEEDS = 60 / TEST_SLOWER };
enum { INSIDE = 1 << 20 }; /* added to what is there within a step only */

static struct table_fixture fixture;
static char texts[KEYS + PASSING][24];
static struct tarn_bytes keys[KEYS + PASSING];

struct sight {
    uint64_t seed;
    unsigned char times[KEYS];
};

static void put(struct table_session *s, size_t key, int value)
{
    struct tarn_record record = {keys[key], {&value, sizeof value}, 0};
    assert_int_equal(table_put(s, &record), TARN_OK);
    turns_yield();
}

static void step(struct table_session *s, uint64_t *random, int n)
{
    size_t key = KEYS + pick(random, PASSING);
    table_begin(s, NULL, 0);
    turns_yield();
    for (size_t i = 0; i < KEYS; i += 1 + pick(random, 9)) {
        put(s, i, INSIDE);
        put(s, i, n);
    }
    for (int i = 0; i < 9; i++) {
        put(s, key, INSIDE);
        (void)!table_delete(s, keys[key]);
    }
    for (size_t i = 0; i < PASSING; i++) /* all of them, and half of them stay */
        put(s, KEYS + i, INSIDE);
    for (size_t i = 0; i < PASSING; i += 2)
        (void)!table_delete(s, keys[KEYS + i]);
    for (size_t i = 1; i < PASSING; i += 2)
        put(s, KEYS + i, n);
    turns_yield();
    table_end(s);
}

static void *write_steps(void *argument)
{
    uint64_t random = *(const uint64_t *)argument;
    struct table_session *s;
    qsbr_register();
    assert_int_equal(table_session_open(fixture.table, &s), TARN_OK);
    for (int n = 1; n <= STEPS; n++) {
        step(s, &random, n);
        turns_yield();
        fixture_quiescent(s);
    }
    table_session_close(s);
    qsbr_unregister();
    return NULL;
}

static void see(void *context, struct tarn_bytes key, struct tarn_bytes value)
{
    struct sight *sight = context;
    int n;
    memcpy(&n, value.data, sizeof n);
    if (n >= INSIDE)
        fail_msg("seed %llu: %.*s has a value from inside a step", (unsigned long long)sight->seed,
                 (int)key.size, (const char *)key.data);
    for (size_t i = 0; i < KEYS; i++)
        sight->times[i] += bytes_equal(key, keys[i]);
    turns_yield();
}

static void scan(uint64_t seed)
{
    struct sight sight = {.seed = seed};
    uint64_t cursor = 0;
    do {
        table_scan(fixture.session, &cursor, 1 + seed % 40, see, &sight);
        fixture_quiescent(fixture.session);
    } while (cursor != 0);
    for (size_t i = 0; i < KEYS; i++)
        assert_int_equal(sight.times[i], 1);
}

static void test_scans_while_steps_are_made(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        pthread_t writer;
        uint64_t from = 0;
        fixture_open(&fixture, 0, TARN_EVICT_NOTHING);
        for (size_t i = 0; i < KEYS + PASSING; i++)
            keys[i] = fixture_key(fixture.table, SHARDS, &from, texts[i]);
        for (size_t i = 0; i < KEYS; i++)
            put(fixture.session, i, 0);
        turns_begin(seed);
        assert_int_equal(pthread_create(&writer, NULL, write_steps, &seed), 0);
        for (int i = 0; i < SCANS; i++)
            scan(seed);
        qsbr_offline();
        assert_int_equal(pthread_join(writer, NULL), 0);
        qsbr_online();
        turns_end();
        fixture_close(&fixture);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scans_while_steps_are_made),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
