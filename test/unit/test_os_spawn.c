/* Goal: a program gets all its input, its messages and its exit status come back, and whatever it
 * does (reads nothing, says too much, leaves children, never ends) the call returns and leaves no
 * process and no descriptor behind.
 * Method: small shell programs, each doing one of these. */
#include "os/spawn.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "core/bytes.h"

#include "lib/test.h"

#define TIMEOUT_MS 60000

struct ran {
    int status, exit;
    struct tarn_error error;
    struct buffer errors;
};

static void run_input(struct ran *r, const char *script, struct tarn_bytes input,
                      unsigned timeout_ms)
{
    const char *argv[] = {"sh", "-c", script, NULL};
    *r = (struct ran){.exit = -1};
    r->status = spawn_run(argv, input, timeout_ms, &r->errors, &r->exit, &r->error);
    buffer_append_byte(&r->errors, 0);
}

static void run(struct ran *r, const char *script)
{
    run_input(r, script, (struct tarn_bytes){"", 0}, TIMEOUT_MS);
}

static int descriptors(void)
{
    int count = 0;
    DIR *folder = opendir("/proc/self/fd");
    assert_non_null(folder);
    while (readdir(folder))
        count++;
    closedir(folder);
    return count;
}

static int before;

static int setup(void **state)
{
    (void)state;
    before = descriptors();
    return 0;
}

/* No descriptor, no child left. */
static int teardown(void **state)
{
    (void)state;
    assert_int_equal(descriptors(), before);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
    return 0;
}

static void test_exit_status_and_messages(void **state)
{
    (void)state;
    struct ran r;
    run(&r, "echo out; echo one >&2; echo two >&2; exit 3");
    assert_int_equal(r.status, TARN_OK);
    assert_int_equal(r.exit, 3);
    assert_string_equal((const char *)r.errors.data, "one\ntwo\n");
    buffer_done(&r.errors);
}

/* More than any pipe holds, counted by the program. */
static void test_input(void **state)
{
    (void)state;
    size_t size = 5000000;
    char *input = malloc(size);
    struct ran r;
    assert_non_null(input);
    memset(input, 'x', size);
    run_input(&r, "wc -c >&2", (struct tarn_bytes){input, size}, TIMEOUT_MS);
    assert_int_equal(r.status, TARN_OK);
    assert_int_equal(r.exit, 0);
    assert_string_equal((const char *)r.errors.data, "5000000\n");
    buffer_done(&r.errors);

    run_input(&r, "exit 0", (struct tarn_bytes){input, size}, TIMEOUT_MS); /* reads nothing */
    assert_int_equal(r.status, TARN_OK);
    assert_int_equal(r.exit, 0);
    buffer_done(&r.errors);
    free(input);
}

static void test_messages_are_bounded(void **state)
{
    (void)state;
    struct ran r;
    run(&r, "yes message | head -c 1000000 >&2; exit 1");
    assert_int_equal(r.status, TARN_OK);
    assert_int_equal(r.exit, 1);
    assert_int_equal(r.errors.size, SPAWN_ERRORS_BYTES_MAX + 1);
    buffer_done(&r.errors);
}

static void test_no_such_program(void **state)
{
    (void)state;
    const char *argv[] = {"no-such-program-anywhere", NULL};
    struct buffer errors = {0};
    struct tarn_error error;
    int exit_status = 42;
    assert_int_equal(
        spawn_run(argv, (struct tarn_bytes){"", 0}, TIMEOUT_MS, &errors, &exit_status, &error),
        TARN_MISSING);
    assert_string_equal(error.text, "no-such-program-anywhere: no such program; is it installed?");
    assert_int_equal(exit_status, 42);
}

static void test_signal(void **state)
{
    (void)state;
    struct ran r;
    run(&r, "echo before >&2; kill -9 $$");
    assert_int_equal(r.status, TARN_IO);
    assert_string_equal(r.error.text, "sh: ended by signal 9");
    assert_string_equal((const char *)r.errors.data, "before\n");
    buffer_done(&r.errors);
}

static void test_too_long(void **state)
{
    (void)state;
    struct ran r;
    run_input(&r, "exec sleep 1000", (struct tarn_bytes){"", 0}, 20);
    assert_int_equal(r.status, TARN_IO);
    assert_string_equal(r.error.text, "sh: not done after 20 ms, and was killed");
    buffer_done(&r.errors);
}

/* The grandchild keeps standard error open for longer than the call may take. */
static void test_grandchild(void **state)
{
    (void)state;
    struct ran r;
    run(&r, "sleep 1000 & echo $! >&2; exit 0");
    assert_int_equal(r.status, TARN_OK);
    assert_int_equal(r.exit, 0);
    long pid = strtol((const char *)r.errors.data, NULL, 10);
    assert_true(pid > 1);
    kill((pid_t)pid, SIGKILL);
    buffer_done(&r.errors);
}

/* One field of the started program's own /proc/self/status; a shell would clear its mask. */
static uint64_t inherited_signals(const char *field)
{
    char script[64];
    const char *argv[] = {"sed", "-n", script, "/proc/self/status", NULL};
    struct buffer errors = {0};
    int exit_status = -1;
    snprintf(script, sizeof script, "s/^%s:[[:space:]]*//w /dev/stderr", field);
    assert_int_equal(
        spawn_run(argv, (struct tarn_bytes){"", 0}, TIMEOUT_MS, &errors, &exit_status, NULL),
        TARN_OK);
    assert_int_equal(exit_status, 0);
    assert_int_equal(errors.size, 17); /* 16 digits and a newline */
    uint64_t signals = strtoull((const char *)errors.data, NULL, 16);
    buffer_done(&errors);
    return signals;
}

/* Neither blocked signals nor an ignored SIGPIPE nor the sockets of the call. */
static void test_inherits_nothing(void **state)
{
    (void)state;
    sigset_t blocked, was;
    struct ran r;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGINT);
    sigprocmask(SIG_BLOCK, &blocked, &was);
    struct sigaction ignore = {.sa_handler = SIG_IGN}, old;
    sigaction(SIGPIPE, &ignore, &old);
    assert_int_equal(inherited_signals("SigBlk"), 0);
    assert_int_equal(inherited_signals("SigIgn") & 1ull << (SIGPIPE - 1), 0);
    sigaction(SIGPIPE, &old, NULL);
    sigprocmask(SIG_SETMASK, &was, NULL);

    for (int fd = 3; fd < 1024; fd++) /* what this test was given itself does not count */
        fcntl(fd, F_SETFD, FD_CLOEXEC);
    run(&r, "find /proc/self/fd -lname 'socket:*' -o -lname 'pipe:*' | wc -l >&2");
    assert_int_equal(r.status, TARN_OK);
    /* standard input and error, and the pipe to wc */
    assert_string_equal((const char *)r.errors.data, "3\n");
    buffer_done(&r.errors);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_exit_status_and_messages, setup, teardown),
        cmocka_unit_test_setup_teardown(test_input, setup, teardown),
        cmocka_unit_test_setup_teardown(test_messages_are_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_such_program, setup, teardown),
        cmocka_unit_test_setup_teardown(test_signal, setup, teardown),
        cmocka_unit_test_setup_teardown(test_too_long, setup, teardown),
        cmocka_unit_test_setup_teardown(test_grandchild, setup, teardown),
        cmocka_unit_test_setup_teardown(test_inherits_nothing, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
