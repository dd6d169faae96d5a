/* Goal: a table with a cap goes on taking writes for as long as its policy lets anything go, never
 * uses more than the cap, and lets go of what the policy says.
 * Method: rounds made by the test; several times the cap is put in, with sizes that stay, change,
 * or are mixed; which keys are left is compared with what each policy promises.
 *
 * Bugs planted once to see it fail: marks not cleared by the hand; marked items evicted; what was
 * never read not going first; nothing else ever going; items
 * without expiry evicted by the policies for expiring ones; the latest instead of the soonest
 * taken out; nothing forced out when sizes change; no pages emptied for that; the reserve not
 * kept; a value larger than the cap that empties the table; waiting in vain without a policy; a
 * writer's reservation used up by its eviction. */
#include "lib/test.h"

#include <stdlib.h>
#include <string.h>

#include "lib/fault_malloc.h"
#include "lib/table_rounds.h"

#define LIMIT ((uint64_t)8 << 20)

/* How often the cap goes by where it is for good measure. */
enum { CAPS = TEST_SLOWER > 1 ? 2 : 5 };

static struct table_fixture fixture;

static void open_with(uint64_t limit, enum tarn_eviction eviction)
{
    rounds_open(&fixture, limit, eviction);
}

static void close_it(void)
{
    assert_int_equal(table_flush(fixture.session), TARN_OK);
    rounds_settle(&fixture);
    assert_int_equal(rounds_stats(&fixture).item_bytes, 0);
    assert_int_equal(rounds_stats(&fixture).limbo_bytes, 0);
    fixture_close(&fixture);
}

static void fill(uint64_t from, uint64_t to, size_t size, int64_t expire_ms)
{
    for (uint64_t i = from; i < to; i++)
        if (rounds_put_number(&fixture, i, size, expire_ms) != TARN_OK)
            fail_msg("key %llu of %zu bytes", (unsigned long long)i, size);
}

static uint64_t count_present(uint64_t from, uint64_t to)
{
    uint64_t count = 0;
    for (uint64_t i = from; i < to; i++)
        count += rounds_has(&fixture, i);
    return count;
}

static int64_t in_ms(int64_t ms)
{
    return table_now_ms(fixture.table) + ms;
}

/* One size, several times the cap: nothing is refused, and most of the cap is used. */
static void one_size(void **state)
{
    static const enum tarn_eviction policies[] = {TARN_EVICT_ALL_SIEVE, TARN_EVICT_ALL_RANDOM,
                                                  TARN_EVICT_EXPIRING_SIEVE,
                                                  TARN_EVICT_EXPIRING_SOONEST};
    (void)state;
    for (size_t i = 0; i < sizeof policies / sizeof policies[0]; i++) {
        open_with(LIMIT, policies[i]);
        uint64_t count = CAPS * LIMIT / 200;
        fill(0, count, 180, in_ms(1000000));
        struct tarn_stats stats = rounds_stats(&fixture);
        assert_int_equal(stats.keys + stats.evicted_total, count);
        assert_int_equal(count_present(0, count), stats.keys);
        assert_true(fixture.table->reclaim->rounds_done < count / 200); /* waits are rare */
        assert_true(stats.keys * 200 > (LIMIT - stats.table_bytes) * 3 / 4);
        close_it();
    }
}

/* Sizes change wholly, again and again, up to values outside the slab. */
static void sizes_change(void **state)
{
    static const size_t sizes[] = {100, 900, 40, 5000, 300, 20000, 700, 60000, 16};
    (void)state;
    open_with(LIMIT, TARN_EVICT_ALL_SIEVE);
    uint64_t from = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        uint64_t count = CAPS * LIMIT / (sizes[i] + 40) / (TEST_SLOWER > 1 ? 4 : 2);
        fill(from, from + count, sizes[i], 0);
        from += count;
        assert_true(rounds_stats(&fixture).keys > count / 8);
    }
    close_it();
}

static void sizes_mixed(void **state)
{
    (void)state;
    uint64_t random = 5;
    open_with(2 * LIMIT, TARN_EVICT_ALL_RANDOM);
    for (uint64_t i = 0; i < 60000; i++) {
        size_t size = 16 + pick(&random, pick(&random, 50) == 0 ? 30000 : 1000);
        assert_int_equal(rounds_put_number(&fixture, i, size, 0), TARN_OK);
    }
    assert_true(rounds_stats(&fixture).keys > 8000);
    close_it();
}

/* What is read now and then stays, though the cap goes by several times. */
static void sieve_keeps_what_is_read(void **state)
{
    (void)state;
    enum { HOT = 4000, STEP = 2500 };
    open_with(LIMIT, TARN_EVICT_ALL_SIEVE);
    uint64_t count = CAPS * LIMIT / 200;
    fill(0, HOT, 180, 0);
    for (uint64_t i = HOT; i < count; i += STEP) {
        (void)count_present(0, HOT);
        fill(i, i + STEP, 180, 0);
    }
    assert_in_range(count_present(0, HOT), HOT * 99 / 100, HOT);
    /* What nobody reads does not drive it out. */
    fill(count, count + LIMIT / 200, 180, 0);
    table_session_touches(fixture.session, false);
    assert_in_range(count_present(0, HOT), HOT / 2, HOT);
    table_session_touches(fixture.session, true);
    /* But it goes when it is others that are read. */
    for (uint64_t i = 2 * count; i < 2 * count + 5 * LIMIT / 200; i += STEP) {
        fill(i, i + STEP, 180, 0);
        (void)count_present(i, i + STEP);
    }
    table_session_touches(fixture.session, false);
    assert_in_range(count_present(0, HOT), 0, HOT / 20);
    close_it();
    /* Not so if the reads do not count. */
    open_with(LIMIT, TARN_EVICT_ALL_SIEVE);
    table_session_touches(fixture.session, false);
    fill(0, HOT, 180, 0);
    for (uint64_t i = HOT; i < count; i += STEP) {
        (void)count_present(0, HOT);
        fill(i, i + STEP, 180, 0);
    }
    assert_in_range(count_present(0, HOT), 0, HOT / 2);
    close_it();
}

static void only_what_expires(void **state)
{
    static const enum tarn_eviction policies[] = {TARN_EVICT_EXPIRING_SIEVE,
                                                  TARN_EVICT_EXPIRING_SOONEST};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        open_with(LIMIT, policies[i]);
        uint64_t lasting = LIMIT / 2 / 200, count = 3 * LIMIT / 200, at = lasting;
        fill(0, lasting, 180, 0);
        fill(lasting, count, 180, in_ms(100000));
        assert_int_equal(count_present(0, lasting), lasting);
        assert_true(rounds_stats(&fixture).evicted_total > lasting);
        /* Only lasting ones, until no more is to be had. */
        while (rounds_put_number(&fixture, count + at, 180, 0) == TARN_OK)
            at++;
        assert_int_equal(count_present(0, lasting), lasting);
        assert_int_equal(count_present(count + lasting, count + at), at - lasting);
        assert_true(rounds_stats(&fixture).expiring < 1000);
        assert_false(table_make_room(fixture.session));
        close_it();
    }
}

/* The sooner it expires, the likelier it is gone. */
static void soonest_first(void **state)
{
    (void)state;
    open_with(LIMIT, TARN_EVICT_EXPIRING_SOONEST);
    uint64_t count = 2 * LIMIT / 200, left[4] = {0}, put[4] = {0};
    for (uint64_t i = 0; i < count; i++) {
        unsigned quarter = (unsigned)(random_mix(i) % 4);
        int64_t ms = 100000 + quarter * 400000 + (int64_t)(random_mix(i * 7) % 400000);
        assert_int_equal(rounds_put_number(&fixture, i, 180, in_ms(ms)), TARN_OK);
        put[quarter]++;
    }
    for (uint64_t i = 0; i < count; i++)
        left[random_mix(i) % 4] += rounds_has(&fixture, i);
    assert_in_range(left[0], 0, put[0] / 20);
    assert_in_range(left[3], put[3] * 98 / 100, put[3]);
    close_it();
}

static void random_is_even(void **state)
{
    (void)state;
    open_with(LIMIT, TARN_EVICT_ALL_RANDOM);
    uint64_t first = LIMIT / 3 / 200, count = LIMIT * 2 / 200;
    fill(0, first, 180, 0);
    fill(first, count, 180, 0);
    /* An item's chance to stay while (count - n) others come is the same for all: about
     * exp(-(count - n) / capacity). The first ones' share lies well within these bounds. */
    uint64_t left = count_present(0, first), all = rounds_stats(&fixture).keys;
    assert_in_range(left, first / 20, first * 4 / 10);
    assert_true(all > first);
    close_it();
}

static void smaller_limit(void **state)
{
    (void)state;
    open_with(2 * LIMIT, TARN_EVICT_ALL_SIEVE);
    fill(0, 2 * LIMIT / 200, 180, 0);
    table_limit(fixture.table, LIMIT / 2, TARN_EVICT_ALL_SIEVE);
    rounds_settle(&fixture);
    assert_in_range(budget_used(&fixture.table->budget), LIMIT / 4, LIMIT / 2);
    fill(2 * LIMIT / 200, 3 * LIMIT / 200, 180, 0);
    /* Ahead of need: some of the limit is free after the rounds. */
    rounds_settle(&fixture);
    struct tarn_stats stats = rounds_stats(&fixture);
    assert_true(stats.memory_bytes + evict_reserve(LIMIT / 2) / 3 <= LIMIT / 2 + stats.free_bytes);
    close_it();
}

static void nothing_allowed(void **state)
{
    (void)state;
    open_with(LIMIT, TARN_EVICT_NOTHING);
    uint64_t i = 0;
    while (rounds_put_number(&fixture, i, 180, 0) == TARN_OK)
        i++;
    assert_true(i > LIMIT / 2 / 200);
    assert_int_equal(count_present(0, i), i);
    assert_int_equal(rounds_stats(&fixture).evicted_total, 0);
    uint64_t done = fixture.table->reclaim->rounds_done;
    for (unsigned n = 0; n < 100; n++)
        assert_int_equal(rounds_put_number(&fixture, i, 180, 0), TARN_FULL);
    assert_in_range(fixture.table->reclaim->rounds_done - done, 0, 2); /* refused at once */
    /* What is deleted can be used again, after one wait. */
    char text[24];
    for (uint64_t n = 0; n < 1000; n++) {
        assert_int_equal(table_delete(fixture.session, rounds_key(n, text)), TARN_OK);
        assert_int_equal(rounds_put_number(&fixture, i + n, 180, 0), TARN_OK);
    }
    /* Also for another size, when enough is. */
    for (uint64_t n = 1000; n < i; n++)
        assert_int_equal(table_delete(fixture.session, rounds_key(n, text)), TARN_OK);
    for (uint64_t n = 0; n < LIMIT / 3 / 5000; n++)
        assert_int_equal(rounds_put_number(&fixture, 2 * i + n, 5000, 0), TARN_OK);
    close_it();
}

static void too_large(void **state)
{
    (void)state;
    open_with(LIMIT, TARN_EVICT_ALL_SIEVE);
    fill(0, 20000, 180, 0);
    static const size_t sizes[] = {LIMIT * 3 / 2, LIMIT, LIMIT - LIMIT / 10};
    void *value = calloc(1, LIMIT * 2);
    struct tarn_record record = {.key = {"large", 5}};
    for (unsigned i = 0; i < 3; i++) {
        record.value = (struct tarn_bytes){value, sizes[i]};
        assert_int_equal(rounds_put(&fixture, &record), TARN_FULL);
    }
    assert_int_equal(rounds_stats(&fixture).evicted_total, 0);
    /* Half of the cap can be had. */
    record.value.size = LIMIT / 2;
    assert_int_equal(rounds_put(&fixture, &record), TARN_OK);
    struct tarn_record found;
    assert_int_equal(table_get(fixture.session, record.key, &found), TARN_OK);
    assert_int_equal(found.value.size, LIMIT / 2);
    free(value);
    close_it();
}

static void failing_allocations(void **state)
{
    (void)state;
    open_with(LIMIT, TARN_EVICT_ALL_SIEVE);
    fill(0, LIMIT / 150, 180, 0);
    for (uint64_t nth = 1; nth < 2000; nth++) {
        fault_malloc_arm(nth % 9 + 1, nth % 2 == 0);
        int status = rounds_put_number(&fixture, LIMIT + nth, 180, 0);
        assert_true(status == TARN_OK || status == TARN_NOMEM || status == TARN_FULL);
        (void)reclaim_round(fixture.table->reclaim);
        (void)fault_malloc_disarm();
    }
    struct tarn_stats stats = rounds_stats(&fixture);
    assert_int_equal(count_present(0, LIMIT / 150) + count_present(LIMIT, LIMIT + 2000),
                     stats.keys);
    close_it();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_size),
        cmocka_unit_test(sizes_change),
        cmocka_unit_test(sizes_mixed),
        cmocka_unit_test(sieve_keeps_what_is_read),
        cmocka_unit_test(only_what_expires),
        cmocka_unit_test(soonest_first),
        cmocka_unit_test(random_is_even),
        cmocka_unit_test(smaller_limit),
        cmocka_unit_test(nothing_allowed),
        cmocka_unit_test(too_large),
        cmocka_unit_test(failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
