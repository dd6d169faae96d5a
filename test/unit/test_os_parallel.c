/* Goal: the work runs once for each number, number 0 on the calling thread; all of it is over at
 * return; where memory or threads are out, fewer calls are made, but always number 0; signals go
 * to the threads that were there before.
 * Method: calls are marked in an array without locks (ThreadSanitizer sees a missing join);
 * allocation failed by test/lib, threads by a limit on the process.
 *
 * Bugs planted once to see it fail: no join; numbers from 0 for the new threads too; NULL jobs
 * used; signals not blocked. */
#include "lib/test.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/fault_malloc.h"
#include "os/parallel.h"

enum { THREADS_MAX = 32 };

struct calls {
    unsigned count[THREADS_MAX]; /* plain: each is touched by one thread, then by the caller */
    pthread_t thread[THREADS_MAX];
    bool blocked[THREADS_MAX];
};

static void mark(void *context, unsigned index)
{
    struct calls *calls = context;
    sigset_t mask;
    if (index >= THREADS_MAX)
        abort();
    calls->count[index]++;
    calls->thread[index] = pthread_self();
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    calls->blocked[index] = sigismember(&mask, SIGTERM) && sigismember(&mask, SIGHUP);
}

static void every_number_once(void **context)
{
    (void)context;
    for (unsigned threads = 0; threads <= THREADS_MAX; threads += threads < 5 ? 1 : 9) {
        struct calls calls = {0};
        parallel_run(threads, mark, &calls);
        for (unsigned i = 0; i < THREADS_MAX; i++)
            assert_int_equal(calls.count[i], i == 0 || i < threads);
        assert_true(pthread_equal(calls.thread[0], pthread_self()));
        for (unsigned i = 1; i < threads; i++) {
            assert_false(pthread_equal(calls.thread[i], pthread_self()));
            assert_true(calls.blocked[i]);
        }
        sigset_t mask; /* the caller's is as it was */
        pthread_sigmask(SIG_SETMASK, NULL, &mask);
        assert_false(calls.blocked[0]);
        assert_false(sigismember(&mask, SIGTERM));
    }
}

static void memory_is_out(void **context)
{
    (void)context;
    struct calls calls = {0};
    fault_malloc_arm(1, false);
    parallel_run(8, mark, &calls);
    assert_int_equal(fault_malloc_disarm(), 1);
    for (unsigned i = 0; i < THREADS_MAX; i++)
        assert_int_equal(calls.count[i], i == 0);
}

/* In a child, whose address space has no room for another stack. The sanitizers need room there
 * themselves. */
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
static void threads_are_out(void **context)
{
    (void)context;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct calls calls = {0};
        struct rlimit none = {1 << 20, 1 << 20};
        setrlimit(RLIMIT_AS, &none);
        parallel_run(8, mark, &calls);
        unsigned sum = 0;
        for (unsigned i = 0; i < THREADS_MAX; i++)
            sum += calls.count[i];
        _exit(calls.count[0] == 1 && sum == 1 ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
        cmocka_unit_test(threads_are_out), /* first: no stacks are left over to be used again */
#endif
        cmocka_unit_test(every_number_once),
        cmocka_unit_test(memory_is_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
