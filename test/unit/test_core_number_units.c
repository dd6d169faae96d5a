/* Goal: sizes, counts, times and decimal numbers are parsed exactly within their bounds and nothing
 * else is accepted; what is formatted is as short as can be and reads back to the same value.
 * Method: tables of accepted and refused texts around every limit, inputs ending at an unreadable
 * page; many values there and back; reals beside the C library's strtod(). */
#include "core/number.h"

#include <stdlib.h>

#include "core/random.h"

#include "lib/test.h"

#include "lib/guard.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void test_parse_size(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {
        {"0", 0},
        {"4096", 4096},
        {"100B", 100},
        {"1k", 1024},
        {"1K", 1024},
        {"1kb", 1024},
        {"1KiB", 1024},
        {"64M", 64ull << 20},
        {"64MB", 64ull << 20},
        {"1G", 1ull << 30},
        {"3tib", 3ull << 40},
        {"1.5G", 3ull << 29},
        {"0.5K", 512},
        {"1.25M", 5ull << 18},
        {"0.001K", 1}, /* 1.024, rounded down */
        {"16777215T", 16777215ull << 40},
        {"18446744073709551615", UINT64_MAX},
        {"007", 7},
    };
    static const char *const bad[] = {
        "",
        "K",
        "-1",
        "+1",
        "1.5",
        "1.5B",
        "1.",
        "1.K",
        ".5G",
        "1 K",
        "1X",
        "1KK",
        "1kbb",
        "1ib",
        "1e3",
        "16777216T",
        "18446744073709551616",
        "1,5G",
        "0.0000000000000000001G",
        "99999999999999999999G",
        "1.5.5G",
        "K1",
        " 1K",
        "1K ",
    };
    struct guard guard = guard_new(64);
    for (size_t i = 0; i < COUNT(good); i++) {
        uint64_t bytes = 42;
        assert_true(
            number_parse_size(guard_end(&guard, good[i].text, strlen(good[i].text)), &bytes));
        assert_true(bytes == good[i].bytes);
    }
    for (size_t i = 0; i < COUNT(bad); i++) {
        uint64_t bytes = 42;
        assert_false(number_parse_size(guard_end(&guard, bad[i], strlen(bad[i])), &bytes));
        assert_true(bytes == 42);
    }
    guard_free(&guard);
}

typedef bool (*parser)(struct tarn_bytes text, uint64_t *ret_value);

static void check_taken(parser parse, const char *text, uint64_t expected)
{
    struct guard guard = guard_new(64);
    uint64_t value = 42;
    if (!parse(guard_end(&guard, text, strlen(text)), &value))
        fail_msg("%s was refused", text);
    if (value != expected)
        fail_msg("%s gave %llu", text, (unsigned long long)value);
    guard_free(&guard);
}

static void check_refused(parser parse, const char *text)
{
    struct guard guard = guard_new(64);
    uint64_t value = 42;
    if (parse(guard_end(&guard, text, strlen(text)), &value))
        fail_msg("%s was taken for %llu", text, (unsigned long long)value);
    assert_true(value == 42);
    guard_free(&guard);
}

static void test_parse_scaled(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t value;
    } good[] = {
        {"0", 0},
        {"1000000", 1000000},
        {"1k", 1000},
        {"1K", 1000},
        {"1M", 1000000},
        {"1m", 1000000},
        {"1.5k", 1500},
        {"10G", 10000000000},
        {"0.5T", 500000000000},
        {"18446744073709551615", UINT64_MAX},
        {"1.001k", 1001},
        {"007k", 7000},
        {"18446744.073709551615T", UINT64_MAX},
        {"1e9", 1000000000},
        {"2.5E6", 2500000},
        {"0e0", 0},
        {"18e18", 18000000000000000000ull},
    };
    static const char *const bad[] = {
        "",
        "k",
        "-1",
        "+1",
        "1.5",
        "1.0",
        "1.0005k",
        "1.k",
        ".5k",
        "1 k",
        "1kk",
        "1kb",
        "1Ki",
        "1e",
        "e3",
        "-1e3",
        "15e-1",
        "1e3k",
        "1e20",
        "1e23",
        "1,5k",
        " 1",
        "1 ",
        "1.5.5k",
        "18446744073709551616",
        "18446744.073709551616T",
        "18446745T",
        "1.0000000000000000000k",
    };
    for (size_t i = 0; i < COUNT(good); i++)
        check_taken(number_parse_scaled, good[i].text, good[i].value);
    for (size_t i = 0; i < COUNT(bad); i++)
        check_refused(number_parse_scaled, bad[i]);
}

static void test_parse_duration(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t value;
    } good[] = {
        {"0", 0},
        {"10", 10000000000},
        {"10s", 10000000000},
        {"0.5", 500000000},
        {"500ms", 500000000},
        {"250us", 250000},
        {"80ns", 80},
        {"2m", 120000000000},
        {"2min", 120000000000},
        {"1h", 3600000000000},
        {"1.5h", 5400000000000},
        {"1.25MS", 1250000},
        {"0.000000001", 1},
        {"18446744073709551615ns", UINT64_MAX},
    };
    static const char *const bad[] = {
        "",     "s",  "-1s", "1.5ns", "0.0000000001", "0.0001us", "1 s", "1d",
        "1sec", "ms", "1e3", "1h30m", "18446744074s", "5124096h", "inf",
    };
    for (size_t i = 0; i < COUNT(good); i++)
        check_taken(number_parse_duration, good[i].text, good[i].value);
    for (size_t i = 0; i < COUNT(bad); i++)
        check_refused(number_parse_duration, bad[i]);
}

static void test_format(void **state)
{
    (void)state;
    static const struct {
        uint64_t value;
        const char *scaled, *duration;
    } cases[] = {
        {0, "0", "0s"},
        {1, "1", "1ns"},
        {1000, "1k", "1us"},
        {1500, "1500", "1.5us"}, /* 1.5k is no shorter */
        {12300, "12300", "12.3us"},
        {1000000, "1M", "1ms"},
        {2500000, "2.5M", "2.5ms"},
        {90000000000, "90G", "90s"},
        {3600000000000, "3.6T", "1h"},
        {UINT64_MAX, "18446744073709551615", "18446744073709551615ns"},
    };
    char out[32];
    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_string_equal(number_format_scaled(cases[i].value, out), cases[i].scaled);
        assert_string_equal(number_format_duration(cases[i].value, out), cases[i].duration);
    }
}

/* Trips if a text is shorter than the value needs. */
static void test_units_there_and_back(void **state)
{
    (void)state;
    uint64_t random = 1, back;
    char out[32];
    for (int i = 0; i < 100000 / TEST_SLOWER; i++) {
        uint64_t value = random_next(&random) >> (random_next(&random) % 64);
        static const uint64_t rounds[] = {1, 1000, 100000, 1000000000, 60000000000, 3600000000000};
        value -= value % rounds[random_next(&random) % COUNT(rounds)];
        assert_true(number_parse_scaled(bytes_of(number_format_scaled(value, out)), &back));
        assert_true(back == value);
        assert_true(number_parse_duration(bytes_of(number_format_duration(value, out)), &back));
        assert_true(back == value);
    }
}

static void test_parse_real(void **state)
{
    (void)state;
    static const char *const good[] = {
        "0",
        "0.0",
        "1",
        "0.95",
        "0.1",
        "000.5",
        "1.50",
        "1e6",
        "1E+6",
        "2.5e-3",
        "1e22",
        "1e-22",
        "0e999",
        "123456789012345",
        "0.123456789012345",
        "3.14159",
        "99999.9999999999",
        "0.00000000000000000001",
    };
    static const char *const bad[] = {
        "",
        ".",
        ".5",
        "1.",
        "-1",
        "+1",
        "nan",
        "inf",
        "0x1p3",
        "1e",
        "1e+",
        "e5",
        "1e5 ",
        " 1",
        "1,5",
        "1.5.5",
        "1ee5",
        "1e5.5",
        "1e23",
        "1e-23",
        "1234567890123456",
        "0.1234567890123456",
        "1e99999999999999999999",
        "1k",
    };
    struct guard guard = guard_new(64);
    for (size_t i = 0; i < COUNT(good); i++) {
        double value = 42;
        assert_true(number_parse_real(guard_end(&guard, good[i], strlen(good[i])), &value));
        assert_true(value == strtod(good[i], NULL));
    }
    for (size_t i = 0; i < COUNT(bad); i++) {
        double value = 42;
        if (number_parse_real(guard_end(&guard, bad[i], strlen(bad[i])), &value))
            fail_msg("%s was taken for %g", bad[i], value);
        assert_true(value == 42);
    }
    guard_free(&guard);
}

static void test_format_real(void **state)
{
    (void)state;
    static const char *const same[] = {
        "0",
        "1",
        "0.95",
        "10",
        "100000",
        "1500000",
        "0.001",
        "0.1",
        "2.5",
        "123.456",
        "1e20",
        "1e-7",
        "25e-7",
        "123456789012345",
        "0.123456789012345",
    };
    char out[32];
    double value, back;
    for (size_t i = 0; i < COUNT(same); i++) {
        assert_true(number_parse_real(bytes_of(same[i]), &value));
        assert_string_equal(number_format_real(value, out), same[i]);
    }
    uint64_t random = 7;
    for (int i = 0; i < 20000 / TEST_SLOWER; i++) {
        value = (double)(random_next(&random) % 1000000000000000);
        double scale = 1;
        for (uint64_t n = random_next(&random) % 20; n > 0; n--)
            scale *= 10;
        value /= scale;
        assert_true(number_parse_real(bytes_of(number_format_real(value, out)), &back));
        assert_true(back == value);
    }
    assert_string_equal(number_format_real(1.0 / 3, out), "0.333333333333333");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse_size),           cmocka_unit_test(test_parse_scaled),
        cmocka_unit_test(test_parse_duration),       cmocka_unit_test(test_format),
        cmocka_unit_test(test_units_there_and_back), cmocka_unit_test(test_parse_real),
        cmocka_unit_test(test_format_real),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
