/* Goal: two results are compared figure by figure, better and worse the right way round; files that
 * are no results are refused with the reason; no damaged file does harm.
 * Method: results of report_json() in a file system in memory, changed in one thing at a time;
 * every prefix of one, and every byte of it changed. */
#include "bench/diff.h"

#include <stdio.h>
#include <stdlib.h>

#include "bench/report.h"

#include "lib/test.h"

#include "lib/memory_os.h"
#include "lib/sample_figures.h"

struct world {
    struct memory_os os;
    struct settings settings;
    struct figures figures;
    struct buffer a, b, out;
    struct tarn_error error;
};

static int setup(void **state)
{
    static struct world w;
    memset(&w, 0, sizeof w);
    memory_os_init(&w.os);
    options_init(&settings_options, &w.settings);
    sample_figures(&w.figures);
    *state = &w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    assert_int_equal(w->os.open, 0);
    options_done(&settings_options, &w->settings);
    sample_done(&w->figures);
    buffer_done(&w->a);
    buffer_done(&w->b);
    buffer_done(&w->out);
    return 0;
}

static void set(struct world *w, const char *name, const char *value)
{
    const struct option *row = options_find(&settings_options, bytes_of(name));
    assert_int_equal(options_set(row, &w->settings, bytes_of(value), NULL), TARN_OK);
}

static void write_result(struct world *w, const char *path, struct buffer *json)
{
    buffer_clear(json);
    report_json(&w->settings, &w->figures, NULL, 0, json);
    assert_false(json->failed);
    memory_os_put(&w->os, path, buffer_view(json), 0);
}

static int diff(struct world *w)
{
    buffer_clear(&w->out);
    int status = diff_files(&w->os.os, "a.json", "b.json", &w->out, &w->error);
    buffer_append_byte(&w->out, 0);
    return status;
}

static void has(const struct world *w, const char *part)
{
    if (!strstr((const char *)w->out.data, part))
        fail_msg("no \"%s\" in:\n%s", part, (const char *)w->out.data);
}

static void has_not(const struct world *w, const char *part)
{
    if (strstr((const char *)w->out.data, part))
        fail_msg("\"%s\" in:\n%s", part, (const char *)w->out.data);
}

static void test_same(void **state)
{
    struct world *w = *state;
    write_result(w, "a.json", &w->a);
    set(w, "json", "elsewhere.json"); /* where it was written says nothing */
    write_result(w, "b.json", &w->b);
    assert_int_equal(diff(w), TARN_OK);
    has(w, "A  a.json: RESP 127.0.0.1:6379, 1970-01-01T00:00:00Z\n"
           "B  b.json: RESP 127.0.0.1:6379, 1970-01-01T00:00:00Z\n"
           "\n"
           "                                           A               B     B / A\n");
    has(w, "\ntotal_ops_per_sec                    100,000         100,000     1.000\n");
    has_not(w, "differ");
    has_not(w, "better");
    has_not(w, "worse");
    has_not(w, "PARTIAL");
    has_not(w, "errors");   /* 0 in both */
    has_not(w, "read p50"); /* one kind is all */
}

static void test_different(void **state)
{
    struct world *w = *state;
    sample_kinds(&w->figures);
    write_result(w, "a.json", &w->a);
    set(w, "pipeline", "10");
    set(w, "verify", "yes");
    set(w, "connect", "h:1");
    w->figures.seconds = 8;
    w->figures.complete = false;
    snprintf(w->figures.stopped, sizeof w->figures.stopped, "interrupted");
    w->figures.server.cpu_s = 6.5;
    w->figures.server.memory_bytes = 123456790; /* within the noise */
    histogram_record(w->figures.all.kind_ns[OPERATION_UPDATE], 1000, 1000000);
    tally_error(&w->figures.all, bytes_of("ERR"), 5);
    write_result(w, "b.json", &w->b);
    assert_int_equal(diff(w), TARN_OK);
    has(w, "\nsettings that differ\n"
           "  --connect                   none -> h:1\n"
           "  --verify                    no -> yes\n"
           "  --pipeline                  1 -> 10\n");
    has(w, "\n   PARTIAL RESULT: interrupted\n\nsettings");
    has(w, "\ntotal_runtime, s                       10.00           8.000     0.800\n");
    has(w, "\ntotal_ops_per_sec                    100,000         125,000     1.250   better\n");
    has(w, "\nerrors                                     0               5         -   worse\n");
    has(w, "\nserver CPU us per op                   3.250           6.500     2.000   worse\n");
    has(w, "\nserver memory, bytes             123,456,789     123,456,790     1.000\n");
    has(w, "\nupdate p50, us                         77.06           1.000     0.013   better\n");
    has(w, "\nread p50, us                           49.02           49.02     1.000\n");
}

static void test_missing_members(void **state)
{
    struct world *w = *state;
    static const char a[] = "{\"tool\": \"tarn bench\", \"format\": 1}";
    static const char b[] = "{\"tool\": \"tarn bench\", \"format\": 1, \"total_ops\": \"many\","
                            "\"latency_us\": [1], \"latency_us_by_kind\": {\"read\": 1, \"x\": 2},"
                            "\"settings\": {\"a\\u001b\": null, \"b\": 1e999999},"
                            "\"target\": \"t\\n\\u001b[2J\", \"complete\": true}";
    memory_os_put(&w->os, "a.json", bytes_of(a), 0);
    memory_os_put(&w->os, "b.json", bytes_of(b), 0);
    assert_int_equal(diff(w), TARN_CORRUPT); /* no double holds 1e999999 */
    static const char c[] = "{\"tool\": \"tarn bench\", \"format\": 1, \"total_ops\": \"many\","
                            "\"latency_us\": [1], \"latency_us_by_kind\": {\"read\": 1, \"x\": 2},"
                            "\"settings\": {\"a\\u001b\": null, \"b\": -1.5}, \"rate\": -3,"
                            "\"target\": \"t\\n\\u001b[2J\", \"complete\": true}";
    memory_os_put(&w->os, "b.json", bytes_of(c), 0);
    assert_int_equal(diff(w), TARN_OK);
    has(w, "B  b.json: t\\n\\x1b[2J, -\n");
    has(w, "  --a\\x1b                     - -> -\n");
    has(w, "  --b                         - -> -1.5\n");
    has(w, "\nrate                                       -          -3.000         -\n");
    has_not(w, "total_ops");
}

static void test_refused(void **state)
{
    struct world *w = *state;
    static const struct {
        const char *content;
        int status;
        const char *text;
    } cases[] = {
        {"", TARN_CORRUPT, "b.json line 1: not JSON: '[' or '{' expected near end of file"},
        {"{\n\"a\": 1,\n}", TARN_CORRUPT,
         "b.json line 3: not JSON: string or '}' expected near '}'"},
        {"[]", TARN_CORRUPT, "b.json: not a result of tarn bench --json"},
        {"{}", TARN_CORRUPT, "b.json: not a result of tarn bench --json"},
        {"{\"tool\": 1}", TARN_CORRUPT, "b.json: not a result of tarn bench --json"},
        {"{\"tool\": \"tarn bench\"}", TARN_CORRUPT, "b.json: not a result of tarn bench --json"},
        {"{\"tool\": \"tarn bench\", \"format\": 2}", TARN_CORRUPT,
         "b.json: a result of another version of tarn bench (format 2, not 1)"},
        {NULL, TARN_MISSING, "cannot open b.json: No such file or directory; check the path"},
    };
    write_result(w, "a.json", &w->a);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (cases[i].content) {
            memory_os_put(&w->os, "b.json", bytes_of(cases[i].content), 0);
        } else {
            memory_os_init(&w->os);
            write_result(w, "a.json", &w->a);
        }
        assert_int_equal(diff(w), cases[i].status);
        assert_string_equal(w->error.text, cases[i].text);
        assert_int_equal(w->out.size, 1); /* nothing was said but the error */
    }
}

/* Trips on a read past the end, a crash, a leak: under AddressSanitizer. */
static void test_damaged(void **state)
{
    struct world *w = *state;
    w->figures.points_count = 1;
    write_result(w, "a.json", &w->a);
    struct buffer damaged = {0};
    for (size_t i = 0; i < w->a.size; i += TEST_SLOWER) {
        memory_os_put(&w->os, "b.json", (struct tarn_bytes){w->a.data, i}, 0);
        assert_true(diff(w) == TARN_CORRUPT || i + 2 > w->a.size);
        buffer_clear(&damaged);
        buffer_append(&damaged, w->a.data, w->a.size);
        damaged.data[i] = (unsigned char)"\"{}[],:0\xff"[i % 10];
        memory_os_put(&w->os, "b.json", buffer_view(&damaged), 0);
        int status = diff(w);
        assert_true(status == TARN_OK || status == TARN_CORRUPT);
    }
    buffer_done(&damaged);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_same),    TEST(test_different), TEST(test_missing_members),
        TEST(test_refused), TEST(test_damaged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
