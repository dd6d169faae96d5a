/* Goal: the progress bar says the right thing, fits the terminal, is drawn at most ten times a
 * second and wiped away, and is silent where there is no terminal.
 * Method: lines drawn into a buffer; updates with a clock set by hand, drawn into a memory file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "cli/progress.h"

#define SECOND 1000000000ull

static const char *line(const char *phase, uint64_t done, uint64_t total, uint64_t elapsed_ns,
                        unsigned columns, struct buffer *out)
{
    buffer_clear(out);
    progress_line(phase, done, total, elapsed_ns, done, columns, out);
    assert_true(out->size < columns || columns == 0);
    buffer_append_byte(out, 0);
    return (const char *)out->data;
}

static void test_lines(void **context)
{
    (void)context;
    struct buffer out = {0};
    assert_string_equal(line("reading", 0, 1000, 0, 60, &out),
                        "reading  [>                                       ]   0 %");
    assert_string_equal(line("reading", 500000000, 1000000000, 2 * SECOND, 80, &out),
                        "reading  [==================>                  ]  50 %   250.0 MB/s   "
                        "0:02 left");
    /* work that is not bytes has no rate */
    assert_string_equal(line("solving", 25, 100, 30 * SECOND, 60, &out),
                        "solving  [=======>                      ]  25 %   1:30 left");
    assert_string_equal(line("solving", 1, 1000, 20 * SECOND, 100, &out),
                        "solving  [>                                       ]   0 %   5:33:00 left");
    /* the end, and a total that was an estimate and too low */
    assert_string_equal(line("solving", 7, 7, 100, 40, &out),
                        "solving  [======================] 100 %");
    assert_string_equal(line("solving", 9, 7, 100, 40, &out),
                        "solving  [======================] 100 %");
    assert_string_equal(line("solving", 0, 0, 100, 40, &out),
                        "solving  [======================] 100 %");
    /* too narrow for a bar, and for anything */
    assert_string_equal(line("solving", 25, 100, 30 * SECOND, 28, &out),
                        "solving  25 %   1:30 left");
    assert_string_equal(line("solving", 25, 100, 30 * SECOND, 12, &out), "solving  25");
    assert_string_equal(line("solving", 25, 100, 30 * SECOND, 0, &out), "");
    buffer_done(&out);
}

static uint64_t clock_now(const struct os *os)
{
    return *(const uint64_t *)os->context;
}

/* How often was the bar drawn so far? */
static unsigned drawn(int fd)
{
    char text[8192];
    unsigned count = 0;
    ssize_t size = pread(fd, text, sizeof text, 0);
    for (ssize_t i = 0; i < size; i++)
        count += text[i] == '\r';
    return count;
}

static void test_drawing(void **context)
{
    (void)context;
    uint64_t now = 5 * SECOND;
    struct os os = *os_real();
    os.monotonic_ns = clock_now;
    os.context = &now;
    int fd = memfd_create("progress", MFD_CLOEXEC);
    assert_true(fd >= 0);
    struct progress p = {.os = &os, .fd = fd, .columns = 80};

    assert_true(progress_update(&p, "reading", 0, 100)); /* at once */
    assert_int_equal(drawn(fd), 1);
    for (int i = 1; i < 100; i++) { /* 99 ms: not again */
        now += 1000000;
        assert_true(progress_update(&p, "reading", (uint64_t)i, 100));
    }
    assert_int_equal(drawn(fd), 1);
    now += 1000000;
    assert_true(progress_update(&p, "reading", 100, 100));
    assert_int_equal(drawn(fd), 2);
    now += 1;
    assert_true(progress_update(&p, "solving", 0, 100)); /* a new phase, at once */
    assert_int_equal(drawn(fd), 3);
    progress_close(&p);
    assert_int_equal(drawn(fd), 4);
    char text[8192];
    ssize_t size = pread(fd, text, sizeof text, 0);
    assert_true(size > 4);
    assert_memory_equal(text + size - 4, "\r\033[K", 4);
    assert_null(memchr(text, '\n', (size_t)size));
    close(fd);
}

/* Not a terminal (the test's stderr is made a memory file): nothing is ever written. */
static void test_quiet_in_a_pipe(void **context)
{
    (void)context;
    struct progress p;
    int fd = memfd_create("stderr", MFD_CLOEXEC), saved = dup(STDERR_FILENO);
    assert_true(fd >= 0 && saved >= 0);
    assert_int_equal(dup2(fd, STDERR_FILENO), STDERR_FILENO);
    progress_open(&p, os_real(), NULL);
    bool go_on = progress_update(&p, "reading", 1, 2);
    progress_close(&p);
    assert_int_equal(dup2(saved, STDERR_FILENO), STDERR_FILENO);
    assert_true(go_on);
    assert_int_equal(lseek(fd, 0, SEEK_END), 0);
    close(fd);
    close(saved);
}

/* A signal cancels the work, and its number is kept for the exit status. */
static void test_signal_cancels(void **context)
{
    (void)context;
    struct interrupt interrupt;
    struct progress p;
    interrupt_open(&interrupt);
    progress_open(&p, os_real(), &interrupt);
    p.fd = -1;
    assert_true(progress_update(&p, "reading", 1, 2));
    assert_int_equal(kill(getpid(), SIGTERM), 0);
    assert_false(progress_update(&p, "reading", 1, 2));
    assert_false(progress_update(&p, "reading", 2, 2));
    assert_int_equal(interrupt.signal, SIGTERM);
    progress_close(&p);
    interrupt_close(&interrupt);
    sigset_t mask;
    assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &mask), 0);
    assert_false(sigismember(&mask, SIGTERM));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_drawing),
        cmocka_unit_test(test_quiet_in_a_pipe),
        cmocka_unit_test(test_signal_cancels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
