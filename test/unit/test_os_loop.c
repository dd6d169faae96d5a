/* Goal: the event loop reports what is ready with its tag, wakes from another thread, and turns
 * signals into events; a time-out in ns never ends early.
 * Method: pipes and real threads; every wait is for something that is already there or certain to
 * come, so nothing depends on time; time-outs are held against a lower bound only. */
#include "lib/test.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "os/loop.h"
#include "os/socket.h"

static void wait_for(struct loop *loop, int timeout_ms, struct loop_event *events, unsigned count,
                     bool woken)
{
    unsigned got;
    bool was_woken;
    assert_int_equal(loop_wait(loop, timeout_ms, events, &got, &was_woken), 0);
    assert_int_equal(got, count);
    assert_int_equal(was_woken, woken);
}

static void test_ready(void **state)
{
    (void)state;
    struct loop loop;
    struct loop_event events[LOOP_EVENTS_MAX];
    int a[2], b[2], tag_a, tag_b;
    assert_int_equal(loop_open(&loop), 0);
    assert_int_equal(pipe(a), 0);
    assert_int_equal(pipe(b), 0);
    assert_int_equal(loop_add(&loop, a[0], EPOLLIN, &tag_a), 0);
    assert_int_equal(loop_add(&loop, b[0], EPOLLIN, &tag_b), 0);
    assert_int_equal(loop_add(&loop, b[0], EPOLLIN, &tag_b), -EEXIST);
    wait_for(&loop, 0, events, 0, false);

    assert_int_equal(write(b[1], "x", 1), 1);
    wait_for(&loop, -1, events, 1, false);
    assert_ptr_equal(events[0].tag, &tag_b);
    assert_int_equal(events[0].events, EPOLLIN);
    wait_for(&loop, -1, events, 1, false); /* level-triggered: still there */

    assert_int_equal(loop_modify(&loop, b[0], 0, &tag_b), 0);
    wait_for(&loop, 0, events, 0, false);
    assert_int_equal(loop_modify(&loop, b[0], EPOLLIN, &tag_a), 0);
    wait_for(&loop, -1, events, 1, false);
    assert_ptr_equal(events[0].tag, &tag_a);
    loop_remove(&loop, b[0]);
    wait_for(&loop, 0, events, 0, false);

    close(a[1]);
    wait_for(&loop, -1, events, 1, false);
    assert_true(events[0].events & EPOLLHUP);
    loop_close(&loop);
    loop_close(&loop); /* harmless */
    close(a[0]);
    close(b[0]);
    close(b[1]);
}

struct waker {
    struct loop *loop;
    int value; /* written before the wake-up, read after it: ThreadSanitizer looks at it */
};

static void *wake(void *argument)
{
    struct waker *w = argument;
    w->value = 42;
    loop_wake(w->loop);
    loop_wake(w->loop);
    return NULL;
}

static void test_wake(void **state)
{
    (void)state;
    struct loop loop;
    struct loop_event events[LOOP_EVENTS_MAX];
    struct waker waker = {&loop, 0};
    pthread_t thread;
    assert_int_equal(loop_open(&loop), 0);
    assert_int_equal(pthread_create(&thread, NULL, wake, &waker), 0);
    wait_for(&loop, -1, events, 0, true);
    assert_int_equal(waker.value, 42);
    pthread_join(thread, NULL);
    unsigned count;
    bool woken; /* the second wake-up may have come with the first or after it */
    assert_int_equal(loop_wait(&loop, 0, events, &count, &woken), 0);
    wait_for(&loop, 0, events, 0, false);
    loop_close(&loop);
}

static void test_signals(void **state)
{
    (void)state;
    struct loop loop;
    struct loop_event events[LOOP_EVENTS_MAX];
    sigset_t set;
    int fd, tag;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGUSR2);
    assert_int_equal(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
    assert_int_equal(loop_signals_open(&set, &fd), 0);
    assert_int_equal(loop_open(&loop), 0);
    assert_int_equal(loop_add(&loop, fd, EPOLLIN, &tag), 0);
    assert_int_equal(loop_signals_read(fd), -EAGAIN);
    kill(getpid(), SIGUSR2);
    wait_for(&loop, -1, events, 1, false);
    assert_ptr_equal(events[0].tag, &tag);
    assert_int_equal(loop_signals_read(fd), SIGUSR2);
    assert_int_equal(loop_signals_read(fd), -EAGAIN);
    loop_close(&loop);
    close(fd);
}

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static unsigned wait_ns(struct loop *loop, uint64_t timeout_ns, struct loop_event *events)
{
    unsigned count = 99;
    bool woken;
    assert_int_equal(loop_wait_ns(loop, timeout_ns, events, &count, &woken), 0);
    assert_false(woken);
    return count;
}

/* Both ways of waiting. Trips on a time-out cut to whole milliseconds, on one that overflows the
 * kernel's type (an error, or a wait that ends at once). */
static void test_nanoseconds(void **state)
{
    (void)state;
    struct loop loop;
    struct loop_event events[LOOP_EVENTS_MAX];
    int fds[2], tag;
    static const uint64_t waits[] = {0, 1, 999, 1000001, 2999999};
    static const uint64_t long_waits[] = {INT32_MAX * 1000000ull + 1, INT64_MAX,
                                          UINT64_MAX - 1000000, UINT64_MAX - 1, UINT64_MAX};
    assert_int_equal(loop_open(&loop), 0);
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(loop_add(&loop, fds[0], EPOLLIN, &tag), 0);
    for (int coarse = 0; coarse < 2; coarse++) {
        for (size_t i = 0; i < sizeof waits / sizeof waits[0]; i++) {
            loop.coarse = coarse || loop.coarse;
            uint64_t start = now_ns();
            assert_int_equal(wait_ns(&loop, waits[i], events), 0);
            assert_true(now_ns() - start >= waits[i]);
        }
    }
    assert_int_equal(write(fds[1], "x", 1), 1);
    loop.coarse = false;
    for (int coarse = 0; coarse < 2; coarse++) {
        for (size_t i = 0; i < sizeof long_waits / sizeof long_waits[0]; i++) {
            loop.coarse = coarse || loop.coarse;
            assert_int_equal(wait_ns(&loop, long_waits[i], events), 1);
            assert_ptr_equal(events[0].tag, &tag);
        }
    }
    loop_close(&loop);
    close(fds[0]);
    close(fds[1]);
}

struct delayed {
    int fd;
    atomic_bool waiting;
};

static void *write_later(void *argument)
{
    struct delayed *d = argument;
    while (!atomic_load(&d->waiting))
        sched_yield();
    /* For the bug's sake only: a wait that ends at once is seen to. Without it all passes too. */
    struct timespec pause = {0, 5000000};
    nanosleep(&pause, NULL);
    assert_int_equal(write(d->fd, "x", 1), 1);
    return NULL;
}

/* The longest time-outs do wait: nothing is there when the wait begins. */
static void test_long_waits_wait(void **state)
{
    (void)state;
    struct loop_event events[LOOP_EVENTS_MAX];
    /* the first is 0 ms to who keeps 32 bits */
    static const uint64_t waits[] = {(1ull << 32) * 1000000, UINT64_MAX - 1, UINT64_MAX};
    for (size_t i = 0; i < 6; i++) {
        struct loop loop;
        struct delayed delayed = {0};
        pthread_t thread;
        int fds[2], tag;
        assert_int_equal(loop_open(&loop), 0);
        loop.coarse = i >= 3;
        assert_int_equal(pipe(fds), 0);
        assert_int_equal(loop_add(&loop, fds[0], EPOLLIN, &tag), 0);
        delayed.fd = fds[1];
        assert_int_equal(pthread_create(&thread, NULL, write_later, &delayed), 0);
        atomic_store(&delayed.waiting, true);
        assert_int_equal(wait_ns(&loop, waits[i % 3], events), 1);
        pthread_join(thread, NULL);
        loop_close(&loop);
        close(fds[0]);
        close(fds[1]);
    }
}

/* An old kernel: in this thread epoll_pwait2(2) answers as if it were not there. */
static bool forbid_pwait2(int answer)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_epoll_pwait2, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)answer),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof filter / sizeof filter[0], filter};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

struct old_kernel {
    int answer; /* errno of epoll_pwait2(2) */
    bool ran, right;
};

static void *wait_on_old_kernel(void *argument)
{
    struct old_kernel *k = argument;
    struct loop_event events[LOOP_EVENTS_MAX];
    struct loop loop;
    unsigned count = 99;
    bool woken;
    if (!forbid_pwait2(k->answer) || loop_open(&loop) != 0)
        return NULL; /* not allowed to here */
    k->ran = k->right = true;
    for (int i = 0; i < 2; i++) {
        uint64_t start = now_ns();
        k->right = k->right && loop_wait_ns(&loop, 1001, events, &count, &woken) == 0 &&
                   count == 0 && loop.coarse && now_ns() - start >= 1001;
    }
    loop_close(&loop);
    return NULL;
}

static void test_old_kernel(void **state)
{
    (void)state;
    struct old_kernel kernels[] = {{.answer = ENOSYS}, {.answer = EPERM}};
    for (size_t i = 0; i < 2; i++) {
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, wait_on_old_kernel, &kernels[i]), 0);
        pthread_join(thread, NULL);
        assert_int_equal(kernels[i].ran, kernels[i].right);
    }
}

static void test_timer_slack(void **state)
{
    (void)state;
    loop_set_timer_slack_ns(1);
    assert_int_equal(prctl(PR_GET_TIMERSLACK), 1);
    loop_set_timer_slack_ns(50000);
    assert_int_equal(prctl(PR_GET_TIMERSLACK), 50000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ready),           cmocka_unit_test(test_wake),
        cmocka_unit_test(test_signals),         cmocka_unit_test(test_nanoseconds),
        cmocka_unit_test(test_long_waits_wait), cmocka_unit_test(test_timer_slack),
        cmocka_unit_test(test_old_kernel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
