/* Goal: numbers are parsed exactly within their bounds and nothing else is accepted; what is
 * formatted reads back.
 * Method: tables of accepted and refused texts around every limit, inputs ending at an unreadable
 * page; powers of two and ten with their neighbours there and back. */
#include "core/number.h"

#include <inttypes.h>
#include <stdio.h>

#include "lib/test.h"

#include "lib/guard.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void test_parse_int(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t value;
    } good[] = {
        {"0", 0},
        {"7", 7},
        {"-1", -1},
        {"1234567890", 1234567890},
        {"9223372036854775807", INT64_MAX},
        {"-9223372036854775808", INT64_MIN},
        {"-9223372036854775807", -INT64_MAX},
    };
    static const char *const bad[] = {
        "",
        "-",
        "+1",
        "01",
        "00",
        "-0",
        "-01",
        " 1",
        "1 ",
        "1.0",
        "0x1",
        "1e3",
        "--1",
        "-+1",
        "9223372036854775808",
        "-9223372036854775809",
        "18446744073709551616",
        "99999999999999999999999999",
        "1a",
        "a",
    };
    struct guard guard = guard_new(64);
    for (size_t i = 0; i < COUNT(good); i++) {
        int64_t value = 42;
        assert_true(
            number_parse_int(guard_end(&guard, good[i].text, strlen(good[i].text)), &value));
        assert_true(value == good[i].value);
    }
    for (size_t i = 0; i < COUNT(bad); i++) {
        int64_t value = 42;
        assert_false(number_parse_int(guard_end(&guard, bad[i], strlen(bad[i])), &value));
        assert_true(value == 42);
    }
    int64_t value;
    assert_false(number_parse_int((struct tarn_bytes){"1\0", 2}, &value));
    guard_free(&guard);
}

static void test_parse_uint(void **state)
{
    (void)state;
    uint64_t value = 42;
    assert_true(number_parse_uint(bytes_of("18446744073709551615"), &value));
    assert_true(value == UINT64_MAX);
    assert_true(number_parse_uint(bytes_of("0"), &value));
    assert_true(value == 0);
    value = 42;
    static const char *const bad[] = {
        "", "-1", "+1", "00", "01", "18446744073709551616", "184467440737095516150", "1 ", " 1"};
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_false(number_parse_uint(bytes_of(bad[i]), &value));
    assert_true(value == 42);
}

static void test_format_size(void **state)
{
    (void)state;
    static const struct {
        uint64_t bytes;
        const char *text;
    } cases[] = {
        {0, "0 B"},
        {999, "999 B"},
        {1000, "1.0 kB"},
        {1049, "1.0 kB"},
        {1050, "1.1 kB"},
        {999949, "999.9 kB"},
        {999950, "1.0 MB"}, /* not "1000.0 kB" */
        {1500000000, "1.5 GB"},
        {71000000, "71.0 MB"},
        {UINT64_MAX, "18.4 EB"},
    };
    char out[32];
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_string_equal(number_format_size(cases[i].bytes, out), cases[i].text);
}

static void test_format_figure(void **state)
{
    (void)state;
    static const struct {
        double value;
        const char *text;
    } cases[] = {
        {0, "0.000"},
        {0.1204, "0.120"},
        {1.5, "1.500"},
        {9.9994, "9.999"},
        {9.9996, "10.00"},
        {56.031, "56.03"},
        {99.994, "99.99"},
        {99.996, "100.0"},
        {972.28, "972.3"},
        {999.949, "999.9"},
        {999.951, "1,000"},
        {480000, "480,000"},
        {1234567.5, "1,234,568"},
        {-3.5, "-3.500"},
        {-1234, "-1,234"},
        {1e15, "1e+15"},
        {-999999999999999, "-999,999,999,999,999"},
        {-1e300, "-1e+300"},
    };
    char out[32];
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_string_equal(number_format_figure(cases[i].value, out), cases[i].text);
}

static void test_format_count(void **state)
{
    (void)state;
    char out[32];
    assert_string_equal(number_format_count(0, out), "0");
    assert_string_equal(number_format_count(999, out), "999");
    assert_string_equal(number_format_count(1000, out), "1,000");
    assert_string_equal(number_format_count(1234567, out), "1,234,567");
    assert_string_equal(number_format_count(100000, out), "100,000");
    assert_string_equal(number_format_count(UINT64_MAX, out), "18,446,744,073,709,551,615");
}

/* Trips on a digit lost at any length. */
static void there_and_back(uint64_t value)
{
    char out[20], expected[32];
    uint64_t back;
    size_t size = number_format_uint(value, out);
    assert_int_equal(size, snprintf(expected, sizeof expected, "%" PRIu64, value));
    assert_memory_equal(out, expected, size);
    assert_true(number_parse_uint((struct tarn_bytes){out, size}, &back));
    assert_true(back == value);

    int64_t back_int, value_int = (int64_t)value;
    size = number_format_int(value_int, out);
    assert_int_equal(size, snprintf(expected, sizeof expected, "%" PRId64, value_int));
    assert_memory_equal(out, expected, size);
    assert_true(number_parse_int((struct tarn_bytes){out, size}, &back_int));
    assert_true(back_int == value_int);
}

static void test_there_and_back(void **state)
{
    (void)state;
    uint64_t ten = 1;
    for (int i = 0; i < 64; i++) {
        for (uint64_t delta = 0; delta < 3; delta++) {
            there_and_back((1ull << i) + delta - 1);
            there_and_back(ten + delta - 1);
        }
        ten = i < 19 ? ten * 10 : ten;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse_int),     cmocka_unit_test(test_parse_uint),
        cmocka_unit_test(test_format_size),   cmocka_unit_test(test_format_count),
        cmocka_unit_test(test_format_figure), cmocka_unit_test(test_there_and_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
