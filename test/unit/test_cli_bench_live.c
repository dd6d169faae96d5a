/* Goal: the live line says what is being done, how far it is and how fast; it is drawn on a
 * terminal only, in place; a signal ends the run. Method: lines of made-up ticks; hooks drawing
 * into a memory file. */
#include "cli/bench_live.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/test.h"

static void test_lines(void **state)
{
    (void)state;
    static const struct {
        struct run_tick tick;
        const char *line;
    } cases[] = {
        {{"connecting", 0, 0, 0, 0, 0, 0, 0, 0}, "connecting"},
        {{"connecting", 3.2, 0, 0, 0, 0, 0, 0, 0}, "connecting 3 s"},
        {{"loading", 1, 0, 400000, 1000000, 400000, 2382, 4383, 0},
         "loading 400,000 of 1,000,000  400,000 ops/s  p50 2,382 us  p99 4,383 us"},
        {{"measuring", 4, 10, 0, 0, 123456, 45, 120, 0},
         "measuring 4.0 s of 10 s  123,456 ops/s  p50 45.00 us  p99 120.0 us"},
        {{"measuring", 0.5, 0.5, 77, 0, 0, 0, 0, 1234}, "measuring 0.5 s of 0.5 s  errors 1,234"},
    };
    struct buffer out = {0};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        buffer_clear(&out);
        bench_live_line(&cases[i].tick, &out);
        buffer_append_byte(&out, 0);
        assert_string_equal((const char *)out.data, cases[i].line);
    }
    buffer_done(&out);
}

static void expect_drawn(int file, const char *expected)
{
    char drawn[512] = {0};
    assert_true(pread(file, drawn, sizeof drawn - 1, 0) >= 0);
    assert_string_equal(drawn, expected);
}

static void test_hooks(void **state)
{
    (void)state;
    struct interrupt interrupt = {.fd = -1};
    int file = memfd_create("terminal", MFD_CLOEXEC);
    struct progress progress = {.interrupt = &interrupt, .fd = -1, .columns = 20};
    struct run_hooks hooks = bench_live_hooks(&progress);
    struct run_tick tick = {.phase = "measuring", .elapsed_s = 1, .total_s = 10, .per_second = 5};
    struct peak_step step = {.rate = 5};
    hooks.tick(hooks.context, &tick); /* no terminal: nothing, nowhere */
    bench_live_step(&progress, &step);
    expect_drawn(file, "");

    progress.fd = file;
    hooks.tick(hooks.context, &tick);
    expect_drawn(file, "\rmeasuring 1.0 s of \033[K"); /* cut to the width */
    progress_wipe(&progress);
    expect_drawn(file, "\rmeasuring 1.0 s of \033[K\r\033[K");
    progress_close(&progress);
    expect_drawn(file, "\rmeasuring 1.0 s of \033[K\r\033[K"); /* already wiped */

    assert_false(hooks.cancelled(hooks.context));
    interrupt.signal = 2;
    assert_true(hooks.cancelled(hooks.context));
    close(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_hooks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
