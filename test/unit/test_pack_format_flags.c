/* Goal: the flags of a data format mean the same everywhere, and flags that contradict each other
 * are refused by name. Method: tables of flags and what must come of them. */
#include "lib/test.h"

#include <string.h>

#include "pack/format_flags.h"

static void test_formats(void **state)
{
    (void)state;
    static const struct {
        struct format_flags flags;
        struct tarn_format format;
    } cases[] = {
        {{0, 0, false, ""}, {.kind = TARN_FORMAT_AUTO}},
        {{TARN_FORMAT_TEXT, 0, false, ""}, {.kind = TARN_FORMAT_TEXT}},
        {{0, 0, false, ","}, {TARN_FORMAT_TEXT, .separator_set = true, .separator = ','}},
        {{0, 0, false, "comma"}, {TARN_FORMAT_TEXT, .separator_set = true, .separator = ','}},
        {{0, 0, false, "tab"}, {TARN_FORMAT_TEXT, .separator_set = true, .separator = '\t'}},
        {{0, 0, false, "\\t"}, {TARN_FORMAT_TEXT, .separator_set = true, .separator = '\t'}},
        {{0, 0, false, "space"}, {TARN_FORMAT_TEXT, .separator_set = true, .separator = ' '}},
        {{0, TARN_SIZE_U16, true, ""}, {TARN_FORMAT_BINARY, TARN_SIZE_U16, .big_endian = true}},
        {{0, TARN_SIZE_VARINT, false, ""}, {TARN_FORMAT_BINARY, TARN_SIZE_VARINT}},
        {{TARN_FORMAT_BINARY, 0, true, ""}, {TARN_FORMAT_BINARY, .big_endian = true}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tarn_format format = {.separator = 'x'};
        assert_int_equal(format_from_flags(&cases[i].flags, &format, NULL), TARN_OK);
        assert_int_equal(format.kind, cases[i].format.kind);
        assert_int_equal(format.size_type, cases[i].format.size_type);
        assert_int_equal(format.big_endian, cases[i].format.big_endian);
        assert_int_equal(format.separator_set, cases[i].format.separator_set);
        assert_int_equal(format.separator, cases[i].format.separator);
    }
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        struct format_flags flags;
        const char *named;
    } cases[] = {
        {{TARN_FORMAT_BINARY, 0, false, ","}, "--format says binary"},
        {{0, TARN_SIZE_U16, false, ","}, "--size-type says binary"},
        {{0, 0, true, ","}, "--big-endian says binary"},
        {{TARN_FORMAT_TEXT, TARN_SIZE_U64, false, ""}, "--size-type is for the binary format"},
        {{TARN_FORMAT_TEXT, 0, true, ""}, "--big-endian is for the binary format"},
        {{0, TARN_SIZE_VARINT, true, ""}, "varint have no byte order"},
        {{0, 0, false, ",,"}, "\",,\" is not one byte"},
        {{0, 0, false, "\n"}, "--separator"},
        {{0, 0, false, "Tab"}, "--separator"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tarn_format format = {.separator = 'x'};
        struct tarn_error error;
        assert_int_equal(format_from_flags(&cases[i].flags, &format, &error), TARN_INVALID);
        assert_non_null(strstr(error.text, cases[i].named));
        assert_int_equal(format.separator, 'x'); /* untouched */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_formats),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
