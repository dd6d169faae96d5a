/* Goal: flags and words are told apart and set; a configuration file's lines are cut right;
 * whatever is wrong is named with its place and with what to write instead.
 * Method: command lines and files as a user would write them, whole error texts; every prefix of
 * a file ending at an unreadable page. */
#include "core/options.h"

#include <stdlib.h>

#include "lib/test.h"

#include "lib/guard.h"
#include "lib/sample_options.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define WORDS_MAX    16

struct parsed {
    struct sample sample;
    struct tarn_error error;
    char *argv[WORDS_MAX + 1];
    int words_count, status;
};

/* Parse a NULL-terminated list of words after the program's name. */
static struct parsed *parse(const char *const *words)
{
    static struct parsed p;
    int argc = 1;
    memset(&p, 0, sizeof p);
    options_init(&sample_options, &p.sample);
    p.argv[0] = strdup("program");
    for (int i = 0; words[i]; i++)
        p.argv[argc++] = strdup(words[i]);
    p.words_count = -1;
    p.status =
        options_parse_args(&sample_options, &p.sample, argc, p.argv, &p.words_count, &p.error);
    return &p;
}

static void finish(struct parsed *p)
{
    for (int i = 0; p->argv[i]; i++)
        free(p->argv[i]);
    options_done(&sample_options, &p->sample);
}

#define ARGS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void test_flags_and_words(void **state)
{
    (void)state;
    struct parsed *p = parse(ARGS("serve", "--port", "80", "file", "--bind=::", "--quiet", "-",
                                  "--no-color", "--value-size", "3-4", "--", "--port", "-x"));
    assert_int_equal(p->status, TARN_OK);
    assert_int_equal(p->words_count, 5);
    static const char *const words[] = {"program", "serve", "file", "-", "--port", "-x"};
    for (size_t i = 0; i < COUNT(words); i++)
        assert_string_equal(p->argv[i], words[i]);
    assert_int_equal(p->sample.port, 80);
    assert_string_equal(p->sample.bind, "::");
    assert_true(p->sample.quiet);
    assert_false(p->sample.color);
    assert_true(p->sample.value_size.low == 3 && p->sample.value_size.high == 4);
    finish(p);

    p = parse(ARGS("--quiet=no", "--bind=", "--bind=a=b", "--password", "--odd--"));
    assert_int_equal(p->status, TARN_OK);
    assert_int_equal(p->words_count, 0);
    assert_string_equal(p->sample.bind, "a=b"); /* the last one counts */
    assert_string_equal(p->sample.password, "--odd--");
    finish(p);

    p = parse(ARGS("--no-quiet", "--quiet", "w"));
    assert_int_equal(p->status, TARN_OK);
    assert_true(p->sample.quiet);
    assert_string_equal(p->argv[1], "w");
    finish(p);
}

static void test_bad_command_lines(void **state)
{
    (void)state;
    static const struct {
        const char *words[3];
        const char *text;
    } cases[] = {
        {{"--prot", "80"}, "--prot: unknown option; did you mean --port?"},
        {{"--memry=1G"}, "--memry: unknown option; did you mean --memory?"},
        {{"--pas", "x"}, "--pas: unknown option; did you mean --password?"},
        {{"--valuesize", "4"}, "--valuesize: unknown option; did you mean --value-size?"},
        {{"--emmoyr=1G"}, "--emmoyr: unknown option; did you mean --memory?"}, /* two swaps */
        {{"--xyzzy"}, "--xyzzy: unknown option; see --help"},
        {{"--"
          "=5"},
         "--: unknown option; see --help"},
        {{"--hz", "5"}, "--hz: unknown option; see --help"}, /* hidden ones are no flags */
        {{"-p", "80"},
         "-p: unknown option; options begin with two dashes, see --help (a word that begins with a "
         "dash goes after --)"},
        {{"--port"}, "--port: needs a value (--port N)"},
        {{"--port", "70000"}, "--port: 70000 is over 65535"},
        {{"--port=70000"}, "--port: 70000 is over 65535"},
        {{"--no-port"}, "--no-port: --port cannot be negated, it takes a value"},
        {{"--no-quiet=yes"}, "--no-quiet: takes no value"},
        {{"--quiet=perhaps"}, "--quiet: perhaps is neither yes nor no"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct parsed *p = parse(cases[i].words);
        assert_int_equal(p->status, TARN_INVALID);
        assert_string_equal(p->error.text, cases[i].text);
        assert_int_equal(p->words_count, -1); /* outputs are written on success only */
        finish(p);
    }
}

/* A name far over every buffer, and a password given to a misspelt flag. */
static void test_odd_names(void **state)
{
    (void)state;
    char longest[10000];
    memset(longest, '-', sizeof longest);
    memset(longest + 2, 'n', sizeof longest - 3);
    longest[sizeof longest - 1] = 0;
    struct parsed *p = parse(ARGS(longest));
    assert_int_equal(p->status, TARN_INVALID);
    assert_non_null(strstr(p->error.text, "unknown option"));
    finish(p);

    p = parse(ARGS("--pasword=hunter2"));
    assert_string_equal(p->error.text, "--pasword: unknown option; did you mean --password?");
    finish(p);
}

static int parse_file(struct sample *s, const char *text, size_t size, struct tarn_error *error)
{
    options_init(&sample_options, s);
    return options_parse_file(&sample_options, s, "a.conf", (struct tarn_bytes){text, size}, error);
}

static const char file_good[] = "# comment\n"
                                "\n"
                                "  port 80 # trailing comment\r\n"
                                "\tquiet\tyes\n"
                                "bind \"a \\\"b\\\" \\x41\\n\\\\\" # note\n"
                                "password 'it\\'s \\n #1'  \n"
                                "memory   2G\n"
                                "value-size 3-4\n"
                                "color no";

static void test_file(void **state)
{
    (void)state;
    struct sample s;
    struct tarn_error error;
    assert_int_equal(parse_file(&s, file_good, sizeof file_good - 1, &error), TARN_OK);
    assert_int_equal(s.port, 80);
    assert_true(s.quiet);
    assert_false(s.color);
    assert_string_equal(s.bind, "a \"b\" A\n\\");
    assert_string_equal(s.password, "it's \\n #1");
    assert_true(s.memory == 2ull << 30);
    assert_true(s.value_size.low == 3 && s.value_size.high == 4);
    options_done(&sample_options, &s);

    static const struct {
        const char *text, *password;
    } values[] = {
        {"password a b  c \t", "a b  c"},
        {"password a#b", "a#b"},
        {"password a #b", "a"},
        {"password \"\"", ""},
        {"password ''", ""},
        {"password a\"b\"", "a\"b\""},
        {"password 'a\\b'", "a\\b"},
        {"password \"#\"", "#"},
        {"", ""},
        {"\n\n\r\n  \n#", ""},
        {"password \"\\xfF\"", "\xff"},
        {"password \\x41", "\\x41"},
    };
    for (size_t i = 0; i < COUNT(values); i++) {
        assert_int_equal(parse_file(&s, values[i].text, strlen(values[i].text), &error), TARN_OK);
        assert_string_equal(s.password, values[i].password);
        options_done(&sample_options, &s);
    }
}

static void test_bad_files(void **state)
{
    (void)state;
    static const struct {
        const char *text, *error;
    } cases[] = {
        {"port 70000", "a.conf line 1: --port: 70000 is over 65535"},
        {"\n#\nquiet yes\nprot 80\n",
         "a.conf line 4: --prot: unknown option; did you mean --port?"},
        {"port\n", "a.conf line 1: --port: needs a value (port N)"},
        {"port # 80\n", "a.conf line 1: --port: needs a value (port N)"},
        {"quiet\n", "a.conf line 1: --quiet: needs a value (quiet yes)"},
        {"bind\n", "a.conf line 1: --bind: needs a value (bind ADDRESS, or \"\" for none)"},
        {"hz 5", "a.conf line 1: --hz: unknown option; see --help"},
        {"a-very-long-option-name info",
         "a.conf line 1: --a-very-long-option-name: only allowed on the command line"},
        {"bind \"x", "a.conf line 1: the quote \" is not closed"},
        {"bind \"x\\\"", "a.conf line 1: the quote \" is not closed"},
        {"bind 'x\n'", "a.conf line 1: the quote ' is not closed"},
        {"bind \"x\" y", "a.conf line 1: nothing may follow a quoted value but a comment"},
        {"bind \"x\"#y", "a.conf line 1: nothing may follow a quoted value but a comment"},
        {"bind \"\\xg0\"",
         "a.conf line 1: bad escape; write \\n \\r \\t \\\" \\\\ or \\x and two hex digits"},
        {"bind \"\\x4",
         "a.conf line 1: bad escape; write \\n \\r \\t \\\" \\\\ or \\x and two hex digits"},
        {"bind \"\\",
         "a.conf line 1: bad escape; write \\n \\r \\t \\\" \\\\ or \\x and two hex digits"},
    };
    struct sample s;
    struct tarn_error error;
    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_int_equal(parse_file(&s, cases[i].text, strlen(cases[i].text), &error),
                         TARN_INVALID);
        assert_string_equal(error.text, cases[i].error);
        options_done(&sample_options, &s);
    }
    assert_int_equal(parse_file(&s, "quiet yes\nbind a\0b\n", 19, &error), TARN_INVALID);
    assert_string_equal(error.text,
                        "a.conf line 2: the line holds a NUL byte; is this a text file?");
    options_done(&sample_options, &s);
}

/* Trips on any read past the text: every prefix, and every byte of it changed to a quote. */
static void test_file_cut_anywhere(void **state)
{
    (void)state;
    struct guard guard = guard_new(sizeof file_good);
    struct sample s;
    for (size_t size = 0; size < sizeof file_good; size++) {
        struct tarn_bytes text = guard_end(&guard, file_good, size);
        int status = parse_file(&s, text.data, text.size, NULL);
        assert_true(status == TARN_OK || status == TARN_INVALID);
        options_done(&sample_options, &s);
        for (const char *c = "\"'\\#\n"; *c && size > 0; c++) {
            char changed[sizeof file_good];
            memcpy(changed, file_good, size);
            changed[size - 1] = *c;
            text = guard_end(&guard, changed, size);
            status = parse_file(&s, text.data, text.size, NULL);
            assert_true(status == TARN_OK || status == TARN_INVALID);
            options_done(&sample_options, &s);
        }
    }
    guard_free(&guard);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flags_and_words), cmocka_unit_test(test_bad_command_lines),
        cmocka_unit_test(test_odd_names),       cmocka_unit_test(test_file),
        cmocka_unit_test(test_bad_files),       cmocka_unit_test(test_file_cut_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
