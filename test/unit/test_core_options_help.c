/* Goal: --help names every visible option once, with its placeholder, meaning, choices and default,
 * in lines of at most 80 columns, and no hidden option.
 * Method: the sample table's whole text; the width of every line. */
#include "core/options.h"

#include "lib/test.h"

#include "lib/sample_options.h"

static const char expected[] =
    "  --quiet             Say nothing\n"
    "  --no-color          Use no color\n"
    "  --port N            TCP port of RESP (default 6379)\n"
    "  --seed N            Where random numbers start\n"
    "  --memory SIZE       Most memory that data, index and buffers may take\n"
    "                      together, after which clients get errors (default 1G)\n"
    "  --value-size N|A-B  Size of values (default 20-50)\n"
    "  --bind ADDRESS      Address to listen on (default 127.0.0.1)\n"
    "  --password TEXT     Password that clients must give\n"
    "  --a-very-long-option-name LEVEL\n"
    "                      Least level logged: debug, info or warning (default info)\n"
    "  --records N         Number of records (default 1M)\n"
    "  --step TIME         Time of a step (default 1.5s)\n"
    "  --ratio R           Share of reads (default 0.95)\n";

static void test_whole_text(void **state)
{
    (void)state;
    struct buffer out;
    buffer_init(&out, 0);
    options_help(&sample_options, &out);
    buffer_append_byte(&out, 0);
    assert_false(out.failed);
    assert_string_equal((const char *)out.data, expected);
    for (const char *line = (const char *)out.data; *line;) {
        size_t size = strcspn(line, "\n");
        assert_true(size <= 80);
        line += size + 1;
    }
    buffer_done(&out);
}

static void test_empty_table(void **state)
{
    (void)state;
    struct buffer out;
    buffer_init(&out, 0);
    options_help(&(struct options){sample_rows, 0}, &out);
    assert_int_equal(out.size, 0);
    buffer_done(&out);
}

/* A choice without a stated default: the first word. A text without one: none told. */
static void test_unstated_defaults(void **state)
{
    (void)state;
    static const struct option rows[] = {
        {"level", OPTION_WORD, 0, .meaning = "Level", .words = sample_levels},
        {"text", OPTION_TEXT, 0, .meaning = "Text"},
    };
    struct buffer out;
    buffer_init(&out, 0);
    options_help(&(struct options){rows, 2}, &out);
    buffer_append_byte(&out, 0);
    assert_string_equal((const char *)out.data,
                        "  --level VALUE  Level: debug, info or warning (default debug)\n"
                        "  --text VALUE   Text\n");
    buffer_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_text),
        cmocka_unit_test(test_empty_table),
        cmocka_unit_test(test_unstated_defaults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
