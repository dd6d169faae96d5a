/* Goal: gnuplot draws every measurement there can be, without a word; names and titles stay text
 * whatever they hold; what goes wrong is said in one line.
 * Method: the sample figures and odd ones through the real gnuplot into files whose first bytes are
 * looked at; scripts searched for what must and must not be in them; a PATH without gnuplot. */
#include "bench/plot.h"

#include <stdlib.h>

#include "core/bytes.h"

#include "lib/test.h"

#include "lib/sample_figures.h"
#include "lib/scratch.h"

static struct scratch scratch;

static int setup(void **state)
{
    (void)state;
    scratch_open(&scratch);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    scratch_close(&scratch);
    return 0;
}

static void test_names(void **state)
{
    (void)state;
    static const char *const good[] = {"a.svg", "a.png", "dir/x.y.png", "~|'\".svg"};
    static const char *const bad[] = {"",      "a",        ".svg",    "png",
                                      "a.pdf", "a.svg.gz", "a\n.svg", "a.SVG"};
    struct tarn_error error;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_int_equal(plot_check(good[i], &error), TARN_OK);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(plot_check(bad[i], &error), TARN_INVALID);
}

static char *script_of(const struct figures *f, const char *path, const char *title)
{
    struct buffer script = {0};
    plot_script(f, path, title, &script);
    buffer_append_byte(&script, 0);
    assert_false(script.failed);
    return (char *)script.data;
}

static void test_script_quotes_names(void **state)
{
    (void)state;
    struct figures f;
    sample_figures(&f);
    char *script = script_of(&f, "|touch it's`id`.svg", "a 'b'\nquit \\n `id` @x");
    assert_non_null(strstr(script, "\nset output './|touch it''s`id`.svg'\n"));
    assert_non_null(strstr(script, " title 'a ''b''?quit \\n `id` @x' "));
    assert_non_null(strstr(script, "set terminal svg "));
    free(script);
    script = script_of(&f, "/a/b.png", "");
    assert_non_null(strstr(script, "\nset output '/a/b.png'\n"));
    assert_non_null(strstr(script, "set terminal pngcairo "));
    free(script);
    sample_done(&f);
}

static void test_script_shows_what_there_is(void **state)
{
    (void)state;
    struct figures f;
    sample_figures(&f);
    char *script = script_of(&f, "a.svg", "t");
    assert_null(strstr(script, "$read"));
    assert_null(strstr(script, "refused"));
    assert_null(strstr(script, "title 'due on average'"));
    assert_non_null(strstr(script, "\n5 55000 0\n6 55000 0\n"));
    free(script);
    sample_kinds(&f);
    f.rate = 60000; /* requests of two keys each */
    tally_add(&f.all.operations,
              histogram_count(f.all.latency_ns) * 2 - tally_get(&f.all.operations) - 7);
    tally_add(&f.all.errors, 7);
    f.points[3].errors = 7;
    script = script_of(&f, "a.svg", "t");
    assert_non_null(strstr(script, "title 'read'"));
    assert_non_null(strstr(script, "title 'update'"));
    assert_null(strstr(script, "insert"));
    assert_non_null(strstr(script, "title 'refused'"));
    assert_non_null(strstr(script, ", 120000 with lines"));
    free(script);
    sample_done(&f);
}

/* Draw and look at the first bytes. */
static void draw(const struct figures *f, const char *name, const char *begins)
{
    struct tarn_error error;
    struct buffer picture = {0};
    const char *path = scratch_at(&scratch, name);
    if (plot_draw(f, path, "RESP 127.0.0.1:6379, it's 'get'", &error) != TARN_OK)
        fail_msg("%s: %s", name, error.text);
    assert_true(file_read(path, &picture));
    assert_true(picture.size > 1000);
    assert_memory_equal(picture.data, begins, strlen(begins));
    buffer_done(&picture);
}

static void test_draws(void **state)
{
    (void)state;
    struct figures f;
    struct tarn_error error;
    assert_int_equal(plot_ready(&error), TARN_OK);
    sample_figures(&f);
    draw(&f, "plain.svg", "<?xml");
    draw(&f, "plain.png", "\x89PNG");
    draw(&f, "it's `id` $(id).svg", "<?xml");
    sample_kinds(&f);
    f.rate = 120000;
    f.points[3].errors = 7000;
    draw(&f, "kinds.png", "\x89PNG");
    f.points_count = 0;
    draw(&f, "short.svg", "<?xml");
    f.points_count = 1;
    draw(&f, "second.svg", "<?xml");
    sample_done(&f);
}

/* Nothing answered; everything in 0 ns; one request. */
static void test_draws_odd_figures(void **state)
{
    (void)state;
    struct figures f = {0};
    assert_int_equal(tally_init(&f.all), TARN_OK);
    draw(&f, "nothing.svg", "<?xml");
    histogram_record(f.all.latency_ns, 0, 1);
    draw(&f, "one.svg", "<?xml");
    histogram_record(f.all.latency_ns, UINT64_MAX, UINT64_MAX / 2);
    f.seconds = 1e-9;
    draw(&f, "much.svg", "<?xml");
    sample_done(&f);
}

static void test_failures(void **state)
{
    (void)state;
    struct figures f;
    struct tarn_error error;
    sample_figures(&f);
    const char *path = scratch_at(&scratch, "no/such/folder.svg");
    assert_int_equal(plot_draw(&f, path, "t", &error), TARN_IO);
    assert_non_null(strstr(error.text, "gnuplot failed: "));
    assert_non_null(strstr(error.text, "no/such/folder.svg"));
    assert_null(strchr(error.text, '\n'));

    char *before = strdup(getenv("PATH"));
    setenv("PATH", scratch.path, 1);
    assert_int_equal(plot_ready(&error), TARN_MISSING);
    assert_string_equal(error.text, "--plot: gnuplot is not installed; on Debian, apt-get install "
                                    "gnuplot-nox");
    setenv("PATH", before, 1);
    free(before);
    sample_done(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_script_quotes_names),
        cmocka_unit_test(test_script_shows_what_there_is),
        cmocka_unit_test_setup_teardown(test_draws, setup, teardown),
        cmocka_unit_test_setup_teardown(test_draws_odd_figures, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failures, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
