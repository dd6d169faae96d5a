/* Goal: while the data are loaded, progress is reported and a signal to stop is heeded.
 * Method: a server over a small file, opened with a progress function, and with a SIGTERM pending.
 * Trips on: progress not handed on; signals looked at only after loading; a cancelled opening that
 * leaks its sockets or threads (sanitizers). */
#include <signal.h>

#include "lib/test.h"

#include "lib/server_world.h"

struct seen {
    unsigned calls;
    bool answer;
    uint64_t done_last, total_last;
};

static bool on_progress(void *context, const char *phase, uint64_t done, uint64_t total)
{
    struct seen *seen = context;
    assert_non_null(phase);
    assert_true(done <= total);
    seen->calls++;
    seen->done_last = done;
    seen->total_last = total;
    return seen->answer;
}

static void test_progress_is_reported_to_the_end(void **state)
{
    (void)state;
    struct world world;
    struct tarn_error error;
    struct seen seen = {.answer = true};
    world_prepare(&world, "", 0);
    assert_int_equal(server_open(&world.os, &world.config, world.path, on_progress, &seen,
                                 &world.server, &error),
                     TARN_OK);
    assert_true(seen.calls >= 3); /* loading, reading, solving */
    assert_int_equal(seen.done_last, seen.total_last);
    server_close(world.server);
    world_clean(&world);
}

static void test_progress_may_cancel(void **state)
{
    (void)state;
    struct world world;
    struct tarn_error error;
    struct seen seen = {.answer = false};
    world_prepare(&world, "", 0);
    assert_int_equal(server_open(&world.os, &world.config, world.path, on_progress, &seen,
                                 &world.server, &error),
                     TARN_CANCELLED);
    assert_non_null(strstr(error.text, world.path));
    assert_int_equal(seen.calls, 1);
    world_clean(&world);
}

static void test_a_signal_cancels_loading(void **state)
{
    (void)state;
    struct world world;
    struct tarn_error error;
    struct seen seen = {.answer = true};
    sigset_t stop, before;
    sigemptyset(&stop);
    sigaddset(&stop, SIGTERM);
    assert_int_equal(pthread_sigmask(SIG_BLOCK, &stop, &before), 0);
    world_prepare(&world, "", 0);
    assert_int_equal(kill(getpid(), SIGTERM), 0); /* stays pending: it is blocked */
    assert_int_equal(server_open(&world.os, &world.config, world.path, on_progress, &seen,
                                 &world.server, &error),
                     TARN_CANCELLED);
    assert_int_equal(seen.calls, 0);
    world_clean(&world);
    /* It was taken: nothing is left to end the test program with. */
    sigset_t pending;
    assert_int_equal(sigpending(&pending), 0);
    assert_false(sigismember(&pending, SIGTERM));
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_progress_is_reported_to_the_end),
        cmocka_unit_test(test_progress_may_cancel),
        cmocka_unit_test(test_a_signal_cancels_loading),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
