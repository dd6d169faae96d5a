/* Goal: the event loop reports what is ready with its tag, wakes from another thread, and turns
 * signals into events.
 * Method: pipes and real threads; every wait is for something that is already there or certain to
 * come, so nothing depends on time. */
#include "lib/test.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ready),
        cmocka_unit_test(test_wake),
        cmocka_unit_test(test_signals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
