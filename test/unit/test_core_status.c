/* Goal: an error's text is always one NUL-terminated printable line, cut visibly when too long;
 * every status has its meaning.
 * Method: texts around the array's size, control bytes, an error among its own arguments, NULL. */
#include "core/status.h"

#include <string.h>

#include "lib/test.h"

static void test_every_status_has_its_text(void **state)
{
    (void)state;
#define X(name, value, text)                                                                       \
    assert_int_equal(TARN_##name, value);                                                          \
    assert_string_equal(tarn_status_text(value), text);
    TARN_STATUS_MAP(X)
#undef X
    assert_string_equal(tarn_status_text(-99), "unknown status");
    assert_string_equal(tarn_status_text(2), "unknown status");
}

static void test_set_fills_all_fields(void **state)
{
    (void)state;
    struct tarn_error error;
    memset(&error, 0xee, sizeof error);
    assert_int_equal(error_set(&error, TARN_IO, "cannot read %s: %d", "x", 5), TARN_IO);
    assert_int_equal(error.status, TARN_IO);
    assert_true(error.offset == UINT64_MAX && error.record == UINT64_MAX);
    assert_string_equal(error.text, "cannot read x: 5");

    assert_int_equal(error_set_at(&error, TARN_CORRUPT, 7, 9, "bad"), TARN_CORRUPT);
    assert_true(error.offset == 7 && error.record == 9);
    assert_string_equal(error.text, "bad");
}

static void test_null_error_is_allowed(void **state)
{
    (void)state;
    assert_int_equal(error_set(NULL, TARN_NOMEM, "x"), TARN_NOMEM);
    assert_int_equal(error_set_at(NULL, TARN_IO, 1, 2, "x"), TARN_IO);
    error_prepend(NULL, "x");
}

/* Trips on an off-by-one at the array's end, or a cut that does not show. */
static void test_long_texts_are_cut_visibly(void **state)
{
    (void)state;
    struct tarn_error error;
    char longest[sizeof error.text + 100];
    for (size_t size = sizeof error.text - 3; size < sizeof error.text + 3; size++) {
        memset(longest, 'x', size);
        longest[size] = 0;
        error_set(&error, TARN_IO, "%s", longest);
        if (size < sizeof error.text) {
            assert_string_equal(error.text, longest);
        } else {
            assert_int_equal(strlen(error.text), sizeof error.text - 1);
            assert_string_equal(error.text + sizeof error.text - 4, "...");
        }
    }
}

static void test_prepend(void **state)
{
    (void)state;
    struct tarn_error error;
    error_set_at(&error, TARN_CORRUPT, 3, 4, "record too long");
    error_prepend(&error, "%s line %d", "a.conf", 12);
    assert_string_equal(error.text, "a.conf line 12: record too long");
    assert_true(error.status == TARN_CORRUPT && error.offset == 3 && error.record == 4);

    char context[1000];
    for (size_t size = sizeof error.text - 8; size < sizeof error.text + 8; size++) {
        memset(context, 'c', size);
        context[size] = 0;
        error_set(&error, TARN_IO, "tail");
        error_prepend(&error, "%s", context);
        assert_int_equal(strlen(error.text),
                         size + 6 < sizeof error.text ? size + 6 : sizeof error.text - 1);
        assert_memory_equal(error.text, context, sizeof error.text - 8);
        const char *end = error.text + strlen(error.text);
        assert_string_equal(end - 3, size + 6 < sizeof error.text ? "ail" : "...");
    }
}

/* A path may hold a newline; a log line must not. */
static void test_one_line_only(void **state)
{
    (void)state;
    struct tarn_error error;
    error_set(&error, TARN_IO, "cannot open %s", "a\nb\x1b[31m\x7f\tz");
    assert_string_equal(error.text, "cannot open a?b?[31m??z");
    error_prepend(&error, "x\ny");
    assert_string_equal(error.text, "x?y: cannot open a?b?[31m??z");
}

static void test_own_text_as_argument(void **state)
{
    (void)state;
    struct tarn_error error;
    error_set(&error, TARN_IO, "inner");
    error_set(&error, TARN_IO, "outer (%s)", error.text);
    assert_string_equal(error.text, "outer (inner)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_status_has_its_text),
        cmocka_unit_test(test_set_fills_all_fields),
        cmocka_unit_test(test_null_error_is_allowed),
        cmocka_unit_test(test_long_texts_are_cut_visibly),
        cmocka_unit_test(test_prepend),
        cmocka_unit_test(test_one_line_only),
        cmocka_unit_test(test_own_text_as_argument),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
