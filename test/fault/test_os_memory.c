/* Goal: when memory runs out at any allocation, core and os say so, keep what they had and leak
 * nothing.
 * Method: each operation is run with its nth allocation failing, for n = 1, 2, ... until none
 * fails any more. That nothing leaks is AddressSanitizer's to tell. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/test.h"

#include "core/buffer.h"
#include "core/histogram.h"
#include "lib/fault_malloc.h"
#include "lib/sample_options.h"
#include "lib/scratch.h"
#include "os/publish.h"

/* Run `operation` with every allocation failed once. It returns whether it succeeded, which it must
 * exactly when nothing failed. Returns how many allocations there were. */
static uint64_t fail_each(bool (*operation)(void *context), void *context)
{
    for (uint64_t nth = 1;; nth++) {
        fault_malloc_arm(nth, false);
        bool succeeded = operation(context);
        bool fired = fault_malloc_disarm() > 0;
        assert_int_equal(succeeded, !fired);
        if (!fired)
            return nth - 1;
    }
}

/* Appends until an allocation fails: what was there before must still be there. */
static bool fill_buffer(void *context)
{
    (void)context;
    struct buffer b;
    char text[300];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    buffer_init(&b, 600);
    size_t size = 0;
    for (int i = 0; i < 20 && !b.failed; i++) {
        size = b.size;
        if (i % 2 == 0)
            buffer_printf(&b, "%.30s", text);
        else
            buffer_append(&b, text, 30);
    }
    bool succeeded = !b.failed;
    if (!succeeded)
        assert_int_equal(b.size, size);
    for (size_t i = 0; i < b.size; i++)
        assert_int_equal(b.data[i], 'x');
    buffer_done(&b);
    return succeeded;
}

static void test_buffer(void **state)
{
    (void)state;
    assert_true(fail_each(fill_buffer, NULL) >= 5); /* 64, 128, 256, 512, 600; printf's aside */
}

static void test_buffer_trim_keeps_on_failure(void **state)
{
    (void)state;
    struct buffer b = {0};
    buffer_append_text(&b, "content");
    assert_true(buffer_reserve(&b, 5000));
    fault_malloc_arm(1, false);
    buffer_trim(&b, 100);
    assert_int_equal(fault_malloc_disarm(), 1);
    assert_false(b.failed);
    assert_memory_equal(b.data, "content", 7);
    buffer_done(&b);
}

/* Counts must stay exact and only precision may be lost. */
static void test_histogram(void **state)
{
    (void)state;
    fault_malloc_arm(1, false);
    assert_null(histogram_new());
    assert_int_equal(fault_malloc_disarm(), 1);
    for (uint64_t nth = 1; nth <= 3; nth++) {
        struct histogram *h = histogram_new(), *copy = histogram_new();
        fault_malloc_arm(nth, false);
        histogram_record(h, 100, 10);     /* magnitude 0 */
        histogram_record(h, 5000, 20);    /* 2: 4096..8191 */
        histogram_record(h, 1000000, 30); /* 9 */
        histogram_record(h, 1000000, 1);  /* allocates anew if that failed before */
        assert_int_equal(fault_malloc_disarm(), 1);
        histogram_merge(copy, h);
        for (int i = 0; i < 2; i++) {
            const struct histogram *x = i ? copy : h;
            assert_int_equal(histogram_count(x), 61);
            assert_int_equal(histogram_count_upto(x, UINT64_MAX), 61);
            assert_true(histogram_min(x) == 100 && histogram_max(x) == 1000000);
            assert_int_equal(histogram_count_upto(x, 2047), 10);
            assert_int_equal(histogram_count_upto(x, 8191), 30);
            assert_in_range(histogram_quantile(x, 0.1), 100, 2047);
            assert_in_range(histogram_quantile(x, 0.4), 5000, 8191);
            assert_int_equal(histogram_quantile(x, 1), 1000000);
        }
        histogram_reset(h);
        assert_int_equal(histogram_count_upto(h, UINT64_MAX), 0);
        histogram_free(h);
        histogram_free(copy);
    }
}

static bool parse_all(void *context)
{
    struct sample *s = context;
    struct tarn_error error = {0};
    char name[] = "program", flag[] = "--bind", value[] = "::1", word[] = "file";
    char *argv[] = {name, flag, value, word, NULL};
    static const char text[] = "password \"a b\"\nbind 'x'\n";
    int count;
    int status = options_parse_args(&sample_options, s, 4, argv, &count, &error);
    if (status == TARN_OK)
        status = options_parse_file(&sample_options, s, "a.conf",
                                    (struct tarn_bytes){text, sizeof text - 1}, &error);
    assert_true(status == TARN_OK || status == TARN_NOMEM);
    if (status != TARN_OK)
        assert_non_null(strstr(error.text, "out of memory"));
    assert_non_null(s->bind);
    assert_non_null(s->password);
    return status == TARN_OK;
}

static void test_options(void **state)
{
    (void)state;
    struct sample s;
    options_init(&sample_options, &s);
    assert_int_equal(fail_each(parse_all, &s), 4); /* three texts and the file's scratch */
    options_done(&sample_options, &s);
}

static bool publish_once(void *context)
{
    const char *path = context;
    struct tarn_error error = {0};
    struct publish p;
    int status = publish_open(&p, os_real(), path, &error);
    if (status == TARN_OK)
        status = publish_append(&p, "new", 3, &error);
    if (status == TARN_OK)
        status = publish_commit(&p, &error);
    publish_abort(&p);
    assert_true(status == TARN_OK || status == TARN_NOMEM);
    if (status != TARN_OK)
        assert_non_null(strstr(error.text, path));
    return status == TARN_OK;
}

static void test_publish(void **state)
{
    (void)state;
    struct scratch scratch;
    scratch_open(&scratch);
    char path[SCRATCH_PATH_BYTES];
    scratch_name(&scratch, "f", path);
    file_write(path, (struct tarn_bytes){"old", 3});
    assert_int_equal(fail_each(publish_once, path), 3); /* two names and the directory's */
    assert_true(file_holds(path, (struct tarn_bytes){"new", 3}));
    assert_int_equal(scratch_count(&scratch, ""), 1);
    scratch_close(&scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buffer),    cmocka_unit_test(test_buffer_trim_keeps_on_failure),
        cmocka_unit_test(test_histogram), cmocka_unit_test(test_options),
        cmocka_unit_test(test_publish),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
