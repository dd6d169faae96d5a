/* Goal: long doubles are read and written as Redis's INCRBYFLOAT does it.
 * Method: texts and what they must become, as told by redis-server 7.0; random values of every
 * magnitude, whose text must be what snprintf() makes of them to 17 decimals, without zeros and a
 * point at the end that another way of cutting finds, and must read back as near as 17 decimals
 * say; texts that end at an unreadable page. */
#include <float.h>
#include <math.h>
#include <stdio.h>

#include "lib/test.h"

#include "core/number.h"
#include "core/random.h"
#include "lib/guard.h"

#define SEED 20261121

static void assert_text(long double value, const char *expected)
{
    char text[NUMBER_LONG_DOUBLE_BYTES];
    size_t size = number_format_long_double(value, text);
    text[size] = 0;
    assert_string_equal(text, expected);
}

static void test_texts_for_people(void **state)
{
    (void)state;
    assert_text(0, "0");
    assert_text(-0.0L, "0");
    assert_text(1, "1");
    assert_text(-1, "-1");
    assert_text(10, "10");
    assert_text(1000, "1000");
    assert_text(10.5L + 0.1L, "10.6");
    assert_text(3.0e3L + 200, "3200");
    assert_text(0.1L + 0.2L, "0.3");
    assert_text(-5.0e-3L, "-0.005");
    assert_text(1e-17L, "0.00000000000000001");
    assert_text(1e-18L, "0");
    assert_text(-1e-18L, "0");
    assert_text(-4.9e-18L, "0");
    assert_text(1.0L / 3, "0.33333333333333333");
    assert_text(17179869184.0L * 17179869184.0L, "295147905179352825856");
    assert_text(-100.25L, "-100.25");
}

/* The longest there are must fit. */
static void test_the_largest_and_smallest_values(void **state)
{
    (void)state;
    char text[NUMBER_LONG_DOUBLE_BYTES];
    long double value;
    assert_int_equal(number_format_long_double(-LDBL_MAX, text), 1 + LDBL_MAX_10_EXP + 1);
    assert_true(
        number_parse_long_double((struct tarn_bytes){text, 1 + LDBL_MAX_10_EXP + 1}, &value));
    assert_true(value == -LDBL_MAX);
    assert_text(LDBL_MIN, "0");
    assert_text(LDBL_TRUE_MIN, "0");
}

/* A random value of any exponent, often near 1. */
static long double random_value(uint64_t *random)
{
    uint64_t bits = random_next(random);
    int exponent = bits % 2 ? (int)random_below(random_next(random), 32000) - 16000
                            : (int)random_below(random_next(random), 140) - 70;
    long double value = ldexpl((long double)random_next(random), exponent - 63);
    return bits & 4 ? -value : value;
}

/* What snprintf() says, cut by strspn() from behind instead of byte by byte. */
static void expect_text(long double value, char *expected)
{
    char *point, *last = NULL;
    snprintf(expected, NUMBER_LONG_DOUBLE_BYTES, "%.17Lf", value);
    point = strchr(expected, '.');
    for (char *p = point; *p != 0; p++)
        if (strspn(p, ".0") == strlen(p)) {
            last = p;
            break;
        }
    if (last != NULL)
        *last = 0;
    if (strcmp(expected, "-0") == 0)
        strcpy(expected, "0");
}

static void test_random_values(void **state)
{
    (void)state;
    uint64_t random = SEED;
    char text[NUMBER_LONG_DOUBLE_BYTES], expected[NUMBER_LONG_DOUBLE_BYTES];
    for (int i = 0; i < 20000 / TEST_SLOWER; i++) {
        long double value = random_value(&random), again;
        size_t size = number_format_long_double(value, text);
        expect_text(value, expected);
        assert_int_equal(size, strlen(expected));
        assert_memory_equal(text, expected, size);
        assert_true(number_parse_long_double((struct tarn_bytes){text, size}, &again));
        assert_true(fabsl(again - value) <= 0.5e-17L + fabsl(value) * LDBL_EPSILON);
    }
}

/* --- reading --- */

static void check_read(struct guard *guard, const char *text, size_t size, bool read,
                       long double expected)
{
    long double value = 12345;
    assert_int_equal(number_parse_long_double(guard_end(guard, text, size), &value), read);
    assert_true(value == (read ? expected : 12345)); /* untouched where it fails */
}

static void test_texts_that_are_numbers(void **state)
{
    (void)state;
    struct guard guard = guard_new(100);
    static const struct {
        const char *text;
        long double value;
    } rows[] = {
        {"0", 0},
        {"-0", 0},
        {"1", 1},
        {"+1", 1},
        {"-1.5", -1.5L},
        {"1e3", 1000},
        {"1E+3", 1000},
        {"5e-1", 0.5L},
        {".5", 0.5L},
        {"5.", 5},
        {"007", 7},
        {"0x10", 16},
        {"0x1p4", 16},
        {"inf", HUGE_VALL},
        {"-Infinity", -HUGE_VALL},
        {"1e-4940", 1e-4940L},
        {"9223372036854775807", 9223372036854775807.0L},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        check_read(&guard, rows[i].text, strlen(rows[i].text), true, rows[i].value);
    guard_free(&guard);
}

static void test_texts_that_are_not(void **state)
{
    (void)state;
    struct guard guard = guard_new(100);
    static const char *const rows[] = {
        "",    " 1",     "\t1",     "1 ",      "1x",      "x",    "e3",     "1e",
        ".",   "-",      "+",       "--1",     "nan",     "-nan", "NaN(1)", "0x",
        "1,5", "1e5000", "-1e5000", "1e-5000", "infinit", "1 2",  "\n",     "1\n",
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        check_read(&guard, rows[i], strlen(rows[i]), false, 0);
    check_read(&guard, "1\0", 2, false, 0);
    check_read(&guard, "\0", 1, false, 0);
    check_read(&guard, "1\0002", 3, false, 0);
    guard_free(&guard);
}

/* Redis's own limit: a text of 5120 bytes is no number any more. */
static void test_long_texts(void **state)
{
    (void)state;
    static char text[NUMBER_LONG_DOUBLE_BYTES + 1];
    struct guard guard = guard_new(sizeof text);
    memset(text, '0', sizeof text);
    text[NUMBER_LONG_DOUBLE_BYTES - 2] = '7';
    check_read(&guard, text, NUMBER_LONG_DOUBLE_BYTES - 1, true, 7);
    check_read(&guard, text, NUMBER_LONG_DOUBLE_BYTES, false, 0);
    check_read(&guard, text, NUMBER_LONG_DOUBLE_BYTES + 1, false, 0);
    guard_free(&guard);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts_for_people),
        cmocka_unit_test(test_the_largest_and_smallest_values),
        cmocka_unit_test(test_random_values),
        cmocka_unit_test(test_texts_that_are_numbers),
        cmocka_unit_test(test_texts_that_are_not),
        cmocka_unit_test(test_long_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
