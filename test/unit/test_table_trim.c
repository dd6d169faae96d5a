/* Goal: what malloc keeps of large items that were freed is given back, and is left alone while
 * others take their place.
 * Method: values between what the slabs take and what malloc maps by itself, of sizes at random;
 * rounds are made by the test. How often malloc was told is counted; with glibc's malloc the
 * process must shrink, too.
 *
 * Bugs planted once to see it fail: trimming at the end of a round left out, and while it frees;
 * the most there was not noted before a round frees. */
#include "lib/test.h"

#include <malloc.h>
#include <stdlib.h>

#include "lib/table_fixture.h"
#include "os/observe.h"
#include "table/reclaim_internal.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SHRINKS false /* not glibc's malloc */
#else
#define SHRINKS true
#endif

enum { VALUE_MIN = 16000, VALUE_SPAN = 200000, MIB = 1 << 20 };

static struct table_fixture fixture;
static struct reclaim *rounds;
static unsigned char bytes[VALUE_MIN + VALUE_SPAN];

static int setup(void **state)
{
    (void)state;
    (void)mallopt(M_MMAP_THRESHOLD, 256 << 10); /* as the server has it */
    (void)mallopt(M_TRIM_THRESHOLD, 256 << 10);
    fixture_open(&fixture, 0, TARN_EVICT_NOTHING);
    rounds = fixture.table->reclaim;
    reclaim_stop(rounds);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fixture_close(&fixture);
    return 0;
}

static size_t put(uint64_t key)
{
    size_t size = VALUE_MIN + (size_t)(random_mix(key) % VALUE_SPAN);
    struct tarn_record record = {{&key, sizeof key}, {bytes, size}, 0};
    assert_int_equal(table_put(fixture.session, &record), TARN_OK);
    return size;
}

/* Returns how many keys that made. */
static uint64_t fill(size_t total)
{
    uint64_t keys = 0;
    for (size_t size = 0; size < total; keys++)
        size += put(keys);
    return keys;
}

static void make_rounds(void)
{
    fixture_quiescent(fixture.session);
    qsbr_offline();
    while (reclaim_round(rounds))
        continue;
    qsbr_online();
}

static void test_flush(void **state)
{
    (void)state;
    uint64_t before = os_memory_resident();
    (void)fill(100 * MIB);
    uint64_t full = os_memory_resident();
    assert_int_equal(table_flush(fixture.session), TARN_OK);
    make_rounds();
    assert_true(rounds->trims >= 4 && rounds->trims <= 8);
    if (SHRINKS)
        assert_true(full - before > 90 * MIB && os_memory_resident() - before < 20 * MIB);
}

static void test_some_are_deleted(void **state)
{
    (void)state;
    uint64_t keys = fill(10 * MIB);
    for (uint64_t key = 0; key < keys; key += 2)
        assert_int_equal(table_delete(fixture.session, (struct tarn_bytes){&key, sizeof key}),
                         TARN_OK);
    make_rounds();
    assert_int_equal(rounds->trims, 1);
}

/* Trips on: a cache whose values come and go gives back what it needs at once. */
static void test_others_take_their_place(void **state)
{
    (void)state;
    uint64_t random = 7, keys = fill(40 * MIB);
    for (uint64_t n = 0; n < 3 * keys; n++) {
        (void)put(pick(&random, keys));
        if (n % 16 == 0)
            make_rounds();
    }
    make_rounds();
    assert_int_equal(rounds->trims, 0);
}

static void test_little(void **state)
{
    (void)state;
    (void)fill(3 * MIB);
    assert_int_equal(table_flush(fixture.session), TARN_OK);
    make_rounds();
    assert_int_equal(rounds->trims, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_flush, setup, teardown),
        cmocka_unit_test_setup_teardown(test_some_are_deleted, setup, teardown),
        cmocka_unit_test_setup_teardown(test_others_take_their_place, setup, teardown),
        cmocka_unit_test_setup_teardown(test_little, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
