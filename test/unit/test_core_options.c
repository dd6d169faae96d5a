/* Goal: each type takes exactly its values within its bounds; a refused value changes nothing and
 * its error says which option, which value and what would do; values read back.
 * Method: a sample table; tables of good and bad values with the whole error text. */
#include "core/options.h"

#include "lib/test.h"

#include "lib/sample_options.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct option *row(const char *name)
{
    const struct option *found = options_find(&sample_options, bytes_of(name));
    assert_non_null(found);
    return found;
}

static int setup(void **state)
{
    static struct sample sample;
    memset(&sample, 0xee, sizeof sample); /* init must not read what was there */
    options_init(&sample_options, &sample);
    *state = &sample;
    return 0;
}

static int teardown(void **state)
{
    struct sample *s = *state;
    options_done(&sample_options, s);
    assert_null(s->bind);
    options_done(&sample_options, s); /* twice is allowed */
    return 0;
}

static void test_defaults(void **state)
{
    const struct sample *s = *state;
    assert_false(s->quiet);
    assert_true(s->color);
    assert_int_equal(s->port, 6379);
    assert_int_equal(s->seed, 0);
    assert_int_equal(s->memory, 1 << 30);
    assert_true(s->value_size.low == 20 && s->value_size.high == 50);
    assert_string_equal(s->bind, "127.0.0.1");
    assert_string_equal(s->password, "");
    assert_int_equal(s->level, 1);
    assert_int_equal(s->hidden, 10);
    assert_int_equal(s->records, 1000000);
    assert_true(s->step_ns == 1500000000);
    assert_true(s->ratio == 0.95);
}

/* Each row's field is the default until set to something else, and again when set back. */
static void test_is_default(void **state)
{
    static const struct {
        const char *name, *other, *same;
    } cases[] = {
        {"quiet", "yes", "no"},
        {"color", "no", "yes"},
        {"port", "1", "06379"},
        {"seed", "5", "0"},
        {"memory", "1M", "1024M"},
        {"value-size", "20-51", "20-50"},
        {"bind", "", "127.0.0.1"},
        {"password", "x", ""},
        {"a-very-long-option-name", "debug", "info"},
        {"records", "2M", "1000k"},
        {"step", "1500us", "1.5"},
        {"ratio", "0.9", "0.950"},
        {"value-size", "19-50", "20-50"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct option *r = row(cases[i].name);
        assert_true(options_is_default(r, *state));
        assert_int_equal(options_set(r, *state, bytes_of(cases[i].other), NULL), TARN_OK);
        assert_false(options_is_default(r, *state));
        assert_int_equal(options_set(r, *state, bytes_of(cases[i].same), NULL), TARN_OK);
        assert_true(options_is_default(r, *state));
    }
}

static void test_find(void **state)
{
    (void)state;
    assert_null(options_find(&sample_options, bytes_of("por")));
    assert_null(options_find(&sample_options, bytes_of("ports")));
    assert_null(options_find(&sample_options, bytes_of("")));
    assert_ptr_equal(row("port"), &sample_rows[2]);
}

/* Good values, and what options_get() makes of them. */
static void test_good_values(void **state)
{
    static const struct {
        const char *name, *value, *back;
    } cases[] = {
        {"quiet", "yes", "yes"},
        {"quiet", "NO", "no"},
        {"port", "1", "1"},
        {"port", "65535", "65535"},
        {"port", "0080", "80"},
        {"seed", "18446744073709551614", "18446744073709551614"},
        {"memory", "1M", "1048576"},
        {"memory", "1T", "1099511627776"},
        {"memory", "1.5g", "1610612736"},
        {"value-size", "7", "7"},
        {"value-size", "1-100", "1-100"},
        {"value-size", "5-5", "5"},
        {"bind", "", ""},
        {"bind", "::1", "::1"},
        {"password", "p w", "p w"},
        {"a-very-long-option-name", "WARNING", "warning"},
        {"records", "1T", "1T"},
        {"records", "1.5k", "1500"},
        {"records", "0012", "12"},
        {"records", "2500000", "2.5M"},
        {"step", "0.25", "250ms"},
        {"step", "90s", "90s"},
        {"step", "24h", "24h"},
        {"step", "1MS", "1ms"},
        {"ratio", "1", "1"},
        {"ratio", "0.50", "0.5"},
        {"ratio", "1e-3", "0.001"},
    };
    struct buffer out;
    buffer_init(&out, 0);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct tarn_error error;
        assert_int_equal(options_set(row(cases[i].name), *state, bytes_of(cases[i].value), &error),
                         TARN_OK);
        buffer_clear(&out);
        options_get(row(cases[i].name), *state, &out);
        assert_true(bytes_equal(buffer_view(&out), bytes_of(cases[i].back)));
    }
    buffer_done(&out);
}

static void get_all(const struct sample *s, struct buffer *out)
{
    for (size_t i = 0; i < sample_options.count; i++) {
        options_get(&sample_rows[i], s, out);
        buffer_append_byte(out, '\n');
    }
}

static void test_bad_values(void **state)
{
    static const struct {
        const char *name, *value, *text;
    } cases[] = {
        {"quiet", "maybe", "--quiet: maybe is neither yes nor no"},
        {"quiet", "", "--quiet: an empty value is neither yes nor no"},
        {"port", "70000", "--port: 70000 is over 65535"},
        {"port", "99999999999999999999999", "--port: 99999999999999999999999 is over 65535"},
        {"port", "0", "--port: 0 is under 1"},
        {"port", "80x", "--port: 80x is not a whole number"},
        {"port", "-1", "--port: -1 is not a whole number"},
        {"port", "", "--port: an empty value is not a whole number"},
        {"seed", "18446744073709551616", "--seed: 18446744073709551616 is too large"},
        {"memory", "1023K", "--memory: 1023K is under 1M"},
        {"memory", "2T", "--memory: 2T is over 1T"},
        {"memory", "much", "--memory: much is not a size; write it like 4096, 64K, 512M or 1.5G"},
        {"value-size", "9-3", "--value-size: 9-3 is backwards; write the smaller number first"},
        {"value-size", "0-3", "--value-size: 0 is under 1"},
        {"value-size", "3-101", "--value-size: 101 is over 100"},
        {"value-size", "3-", "--value-size: 3- is neither a number nor a range like 10-20"},
        {"value-size", "-", "--value-size: - is neither a number nor a range like 10-20"},
        {"value-size", "1-2-3", "--value-size: 1-2-3 is neither a number nor a range like 10-20"},
        {"a-very-long-option-name", "loud",
         "--a-very-long-option-name: loud is unknown; choose debug, info or warning"},
        {"records", "1.0005k",
         "--records: 1.0005k is not a whole number; write it like 5000, 10k, 1.5M or 2G"},
        {"records", "-5",
         "--records: -5 is not a whole number; write it like 5000, 10k, 1.5M or 2G"},
        {"records", "0", "--records: 0 is under 1"},
        {"records", "1.1T", "--records: 1.1T is over 1T"},
        {"step", "fast", "--step: fast is not a time; write it like 10s, 500ms, 250us, 2m or 1h"},
        {"step", "",
         "--step: an empty value is not a time; write it like 10s, 500ms, 250us, 2m or "
         "1h"},
        {"step", "999us", "--step: 999us is under 1ms"},
        {"step", "25h", "--step: 25h is over 24h"},
        {"ratio", "half", "--ratio: half is not a number like 3 or 0.25 (at most 15 digits)"},
        {"ratio", "-1", "--ratio: -1 is not a number like 3 or 0.25 (at most 15 digits)"},
        {"ratio", "nan", "--ratio: nan is not a number like 3 or 0.25 (at most 15 digits)"},
        {"ratio", "1.001", "--ratio: 1.001 is over 1"},
        {"ratio", "0", "--ratio: 0 is under 0.001"},
    };
    struct buffer before, after;
    buffer_init(&before, 0);
    buffer_init(&after, 0);
    get_all(*state, &before);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct tarn_error error;
        assert_int_equal(options_set(row(cases[i].name), *state, bytes_of(cases[i].value), &error),
                         TARN_INVALID);
        assert_int_equal(error.status, TARN_INVALID);
        assert_string_equal(error.text, cases[i].text);
    }
    struct tarn_error error;
    assert_int_equal(
        options_set(row("password"), *state, (struct tarn_bytes){"sec\0ret", 7}, &error),
        TARN_INVALID);
    assert_null(strstr(error.text, "sec"));
    get_all(*state, &after);
    assert_true(bytes_equal(buffer_view(&before), buffer_view(&after)));
    buffer_done(&before);
    buffer_done(&after);
}

/* Trips if a long value pushes the reason out of the error's text. */
static void test_long_value_leaves_room_for_the_reason(void **state)
{
    char value[4096];
    memset(value, '9', sizeof value);
    struct tarn_error error;
    assert_int_equal(
        options_set(row("port"), *state, (struct tarn_bytes){value, sizeof value}, &error),
        TARN_INVALID);
    assert_non_null(strstr(error.text, " is over 65535"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_defaults, setup, teardown),
        cmocka_unit_test_setup_teardown(test_is_default, setup, teardown),
        cmocka_unit_test(test_find),
        cmocka_unit_test_setup_teardown(test_good_values, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_values, setup, teardown),
        cmocka_unit_test_setup_teardown(test_long_value_leaves_room_for_the_reason, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
