/* Goal: bits are counted, found, read, written and combined at every position as the definition
 * says, and no byte outside is touched.
 * Method: a model that looks at one bit at a time; all ranges of short strings and random ones of
 * longer strings (mostly zeros, mostly ones, mixed) that end at an unreadable page; arithmetic of
 * narrow fields over all values, of wide ones at their limits. */
#include "core/bits.h"

#include <stdio.h>

#include "lib/test.h"

#include "core/random.h"
#include "lib/guard.h"

#define SHORT_BYTES 5
#define LONG_BYTES  1200
#define SEED        20261121

static bool model_bit(const unsigned char *data, uint64_t at)
{
    return (data[at / 8] & (0x80 >> at % 8)) != 0;
}

static void model_set(unsigned char *data, uint64_t at, bool bit)
{
    unsigned char mask = (unsigned char)(0x80 >> at % 8);
    data[at / 8] = (unsigned char)(bit ? data[at / 8] | mask : data[at / 8] & ~mask);
}

static void check_range(const unsigned char *data, uint64_t first, uint64_t end)
{
    uint64_t count = 0, found[2] = {end, end};
    for (uint64_t at = end; at-- > first;) {
        count += model_bit(data, at);
        found[model_bit(data, at)] = at;
    }
    assert_int_equal(bits_count(data, first, end), count);
    assert_int_equal(bits_find(data, first, end, false), found[0]);
    assert_int_equal(bits_find(data, first, end, true), found[1]);
}

/* Bytes that are rare, frequent or as likely as not another than 0x00 or 0xff. */
static void fill(uint64_t *random, unsigned char *data, size_t size)
{
    uint64_t kind = random_next(random) % 5;
    memset(data, kind % 2 ? 0xff : 0, size);
    for (size_t i = 0; i < size; i++)
        if (kind == 4 || (kind >= 2 && random_next(random) % 300 == 0))
            data[i] = (unsigned char)random_next(random);
}

/* Trips on any wrong mask at an edge. */
static void test_all_ranges_of_short_strings(void **state)
{
    (void)state;
    struct guard guard = guard_new(SHORT_BYTES);
    uint64_t random = SEED;
    for (int round = 0; round < 60 / TEST_SLOWER; round++) {
        unsigned char data[SHORT_BYTES];
        fill(&random, data, sizeof data);
        if (round == 0)
            memset(data, 0, sizeof data);
        if (round == 1)
            memset(data, 0xff, sizeof data);
        struct tarn_bytes end = guard_end(&guard, data, sizeof data);
        for (uint64_t i = 0; i <= 8 * SHORT_BYTES; i++)
            for (uint64_t j = i; j <= 8 * SHORT_BYTES; j++)
                check_range(end.data, i, j);
    }
    guard_free(&guard);
}

/* Trips on words skipped or counted twice, and on reading past the last byte. */
static void test_random_ranges_of_long_strings(void **state)
{
    (void)state;
    struct guard guard = guard_new(LONG_BYTES);
    uint64_t random = SEED + 1;
    for (int round = 0; round < 3000 / TEST_SLOWER; round++) {
        unsigned char data[LONG_BYTES];
        size_t size = 1 + random_next(&random) % LONG_BYTES;
        fill(&random, data, size);
        struct tarn_bytes end = guard_end(&guard, data, size);
        uint64_t a = random_next(&random) % (8 * size + 1);
        uint64_t b = random_next(&random) % (8 * size + 1);
        check_range(end.data, a < b ? a : b, a < b ? b : a);
        check_range(end.data, 0, 8 * size);
    }
    guard_free(&guard);
}

static void test_empty_and_reversed_ranges(void **state)
{
    (void)state;
    assert_int_equal(bits_count("\xff", 0, 0), 0);
    assert_int_equal(bits_count("\xff", 5, 3), 0);
    assert_int_equal(bits_find("\xff", 0, 0, true), 0);
    assert_int_equal(bits_find("\xff", 5, 3, true), 3);
    assert_int_equal(bits_count(NULL, 0, 0), 0);
    assert_int_equal(bits_find(NULL, 0, 0, false), 0);
}

static void test_one_bit_behind_the_end_is_zero(void **state)
{
    (void)state;
    struct tarn_bytes data = {"\x81", 1};
    assert_true(bits_get(data, 0));
    assert_false(bits_get(data, 1));
    assert_true(bits_get(data, 7));
    assert_false(bits_get(data, 8));
    assert_false(bits_get(data, UINT64_MAX));
    assert_false(bits_get((struct tarn_bytes){NULL, 0}, 0));
}

/* --- fields --- */

static void check_field(uint64_t *random, struct guard *guard, uint64_t at, unsigned width)
{
    unsigned char data[18], model[18];
    size_t size = (at + width + 7) / 8;
    for (size_t i = 0; i < size; i++)
        data[i] = model[i] = (unsigned char)random_next(random);
    uint64_t wanted = 0, value = random_next(random);
    for (unsigned i = 0; i < width; i++) {
        wanted = wanted << 1 | model_bit(data, at + i);
        model_set(model, at + i, value >> (width - 1 - i) & 1);
    }
    struct tarn_bytes end = guard_end(guard, data, size);
    assert_true(bits_read(end.data, at, width) == wanted);
    bits_write((void *)(uintptr_t)end.data, at, width, value);
    assert_memory_equal(end.data, model, size);
    assert_true(bits_read(end.data, at, width) == (value & (UINT64_MAX >> (64 - width))));
}

static void test_fields_of_every_width_at_every_position(void **state)
{
    (void)state;
    struct guard guard = guard_new(32);
    uint64_t random = SEED + 2;
    for (unsigned width = 1; width <= 64; width++)
        for (uint64_t at = 0; at < 64; at++)
            check_field(&random, &guard, at, width);
    guard_free(&guard);
}

static void test_sign(void **state)
{
    (void)state;
    assert_true(bits_sign_extend(1, 1) == -1);
    assert_true(bits_sign_extend(0, 1) == 0);
    assert_true(bits_sign_extend(0x7f, 8) == 127);
    assert_true(bits_sign_extend(0x80, 8) == -128);
    assert_true(bits_sign_extend(UINT64_MAX, 64) == -1);
    assert_true(bits_sign_extend(1ull << 63, 64) == INT64_MIN);
}

/* --- arithmetic --- */

/* The result by counting up and down one at a time. */
static void check_add(int value, int increment, unsigned width, bool sign_kept)
{
    int span = 1 << width, least = sign_kept ? -span / 2 : 0, most = least + span - 1;
    int sum = value + increment, wrapped = sum;
    while (wrapped > most)
        wrapped -= span;
    while (wrapped < least)
        wrapped += span;
    int clamped = sum < least ? least : sum > most ? most : sum;
    int64_t got = 4711;
    assert_true(bits_add(value, increment, width, sign_kept, BITS_WRAP, &got));
    assert_int_equal(got, wrapped);
    assert_true(bits_add(value, increment, width, sign_kept, BITS_SATURATE, &got));
    assert_int_equal(got, clamped);
    got = 4711;
    assert_int_equal(bits_add(value, increment, width, sign_kept, BITS_FAIL, &got), sum == clamped);
    assert_int_equal(got, sum == clamped ? sum : 4711);
}

static void test_narrow_arithmetic_of_all_values(void **state)
{
    (void)state;
    for (unsigned width = 1; width <= 5; width++) {
        int span = 1 << width;
        for (int increment = -3 * span; increment <= 3 * span; increment++) {
            for (int value = 0; value < span; value++)
                check_add(value, increment, width, false);
            for (int value = -span; value < span; value++)
                check_add(value, increment, width, true);
        }
    }
}

static void test_wide_arithmetic(void **state)
{
    (void)state;
    static const struct {
        int64_t value, increment;
        unsigned width;
        bool sign_kept;
        int64_t wrapped, clamped;
        bool fits;
    } cases[] = {
        {INT64_MAX, 1, 64, true, INT64_MIN, INT64_MAX, false},
        {INT64_MIN, -1, 64, true, INT64_MAX, INT64_MIN, false},
        {INT64_MAX, INT64_MIN, 64, true, -1, -1, true},
        {INT64_MAX, INT64_MAX, 64, true, -2, INT64_MAX, false},
        {INT64_MIN, INT64_MIN, 64, true, 0, INT64_MIN, false},
        {INT64_MIN, 0, 8, true, 0, -128, false}, /* SET of a value far too small */
        {INT64_MAX, 0, 8, true, -1, 127, false},
        {INT64_MAX, 1, 63, false, 0, INT64_MAX, false},
        {0, -1, 63, false, INT64_MAX, 0, false},
        {0, INT64_MIN, 63, false, 0, 0, false},
        {-1, 0, 63, false, INT64_MAX, INT64_MAX, false}, /* -1 is taken as 2^64 - 1 */
        {-1, 0, 8, false, 255, 255, false},
        {INT64_MIN, 0, 8, false, 0, 255, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t got;
        assert_true(bits_add(cases[i].value, cases[i].increment, cases[i].width, cases[i].sign_kept,
                             BITS_WRAP, &got));
        assert_true(got == cases[i].wrapped);
        assert_true(bits_add(cases[i].value, cases[i].increment, cases[i].width, cases[i].sign_kept,
                             BITS_SATURATE, &got));
        assert_true(got == cases[i].clamped);
        assert_int_equal(bits_add(cases[i].value, cases[i].increment, cases[i].width,
                                  cases[i].sign_kept, BITS_FAIL, &got),
                         cases[i].fits);
    }
}

/* --- combining --- */

static unsigned char model_byte(enum bits_operation operation, const struct tarn_bytes *sources,
                                size_t count, size_t at)
{
    unsigned result = 0;
    for (size_t i = 0; i < count; i++) {
        unsigned byte = at < sources[i].size ? ((const unsigned char *)sources[i].data)[at] : 0;
        if (i == 0)
            result = operation == BITS_NOT ? ~byte : byte;
        else if (operation == BITS_AND)
            result &= byte;
        else
            result = operation == BITS_OR ? result | byte : result ^ byte;
    }
    return (unsigned char)result;
}

static void check_combine(enum bits_operation operation, const struct tarn_bytes *sources,
                          size_t count, struct guard *guard)
{
    static unsigned char zeros[20000];
    size_t size = 0;
    for (size_t i = 0; i < count; i++)
        size = sources[i].size > size ? sources[i].size : size;
    struct tarn_bytes out = guard_end(guard, zeros, size);
    bits_combine(operation, sources, count, (void *)(uintptr_t)out.data);
    for (size_t i = 0; i < size; i++)
        assert_int_equal(((const unsigned char *)out.data)[i],
                         model_byte(operation, sources, count, i));
}

/* Lengths around the size of a block; trips where a shorter source ends in the wrong place. */
static void test_combining_strings_of_different_sizes(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 7, 8, 100, 4095, 4096, 4097, 8192, 12000};
    enum { SIZES = sizeof sizes / sizeof *sizes };
    struct guard guard = guard_new(20000);
    uint64_t random = SEED + 3;
    static unsigned char data[4][12000];
    for (int round = 0; round < 400 / TEST_SLOWER; round++) {
        struct tarn_bytes sources[4];
        size_t count = 1 + random_next(&random) % 4;
        for (size_t i = 0; i < count; i++) {
            sources[i] = (struct tarn_bytes){data[i], sizes[random_next(&random) % SIZES]};
            for (size_t j = 0; j < sources[i].size; j++)
                data[i][j] = (unsigned char)(random_next(&random) >> 20);
            if (sources[i].size == 0)
                sources[i].data = NULL; /* as of a key that is not there */
        }
        check_combine(BITS_AND, sources, count, &guard);
        check_combine(BITS_OR, sources, count, &guard);
        check_combine(BITS_XOR, sources, count, &guard);
        check_combine(BITS_NOT, sources, 1, &guard);
    }
    guard_free(&guard);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_ranges_of_short_strings),
        cmocka_unit_test(test_random_ranges_of_long_strings),
        cmocka_unit_test(test_empty_and_reversed_ranges),
        cmocka_unit_test(test_one_bit_behind_the_end_is_zero),
        cmocka_unit_test(test_fields_of_every_width_at_every_position),
        cmocka_unit_test(test_sign),
        cmocka_unit_test(test_narrow_arithmetic_of_all_values),
        cmocka_unit_test(test_wide_arithmetic),
        cmocka_unit_test(test_combining_strings_of_different_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
