/* An event loop's core over epoll(7), eventfd(2) and signalfd(2).
 *
 * Invariants
 * 1. The wake-up descriptor's tag is NULL, and no other descriptor's is.
 * 2. A wake-up is taken (read) before loop_wait() reports it, so that none is lost: what the waker
 *    wrote before loop_wake() is visible after the report.
 * Failure modes: those of the system calls; after a failed open everything is closed. */
#include "os/loop.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "core/assert.h"

int loop_open(struct loop *loop)
{
    int status;
    loop->coarse = false;
    loop->wake_fd = -1;
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll_fd < 0)
        return -errno;
    loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (loop->wake_fd < 0) {
        status = -errno;
        goto fail;
    }
    struct epoll_event event = {.events = EPOLLIN};
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, loop->wake_fd, &event) != 0) {
        status = -errno;
        goto fail;
    }
    return 0;
fail:
    loop_close(loop);
    return status;
}

void loop_close(struct loop *loop)
{
    if (loop->wake_fd >= 0)
        close(loop->wake_fd);
    if (loop->epoll_fd >= 0)
        close(loop->epoll_fd);
    loop->wake_fd = -1;
    loop->epoll_fd = -1;
}

static int loop_control(struct loop *loop, int operation, int fd, uint32_t events, void *tag)
{
    ASSERT(tag != NULL);
    struct epoll_event event = {.events = events, .data.ptr = tag};
    return epoll_ctl(loop->epoll_fd, operation, fd, &event) == 0 ? 0 : -errno;
}

int loop_add(struct loop *loop, int fd, uint32_t events, void *tag)
{
    return loop_control(loop, EPOLL_CTL_ADD, fd, events, tag);
}

int loop_modify(struct loop *loop, int fd, uint32_t events, void *tag)
{
    return loop_control(loop, EPOLL_CTL_MOD, fd, events, tag);
}

void loop_remove(struct loop *loop, int fd)
{
    /* It can fail only if the descriptor is not in the set: nothing is left to do then. */
    (void)epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
}

/* Hand out what a wait found: ready events, or -1 with errno. */
static int take_events(struct loop *loop, int ready, struct loop_event *ret_events,
                       unsigned *ret_count, bool *ret_woken)
{
    if (ready < 0 && errno != EINTR)
        return -errno;
    unsigned count = 0;
    bool woken = false;
    for (int i = 0; i < ready; i++) {
        const struct epoll_event *event = &loop->events[i];
        if (event->data.ptr == NULL) {
            uint64_t wakes;
            woken = read(loop->wake_fd, &wakes, sizeof wakes) == sizeof wakes;
            continue;
        }
        ret_events[count].tag = event->data.ptr;
        ret_events[count].events = event->events;
        count++;
    }
    *ret_count = count;
    *ret_woken = woken;
    return 0;
}

int loop_wait(struct loop *loop, int timeout_ms, struct loop_event *ret_events, unsigned *ret_count,
              bool *ret_woken)
{
    int ready = epoll_wait(loop->epoll_fd, loop->events, LOOP_EVENTS_MAX, timeout_ms);
    return take_events(loop, ready, ret_events, ret_count, ret_woken);
}

/* Milliseconds for epoll_wait(2), rounded up; more than it can take is as good as for ever. */
static int round_up_ms(uint64_t timeout_ns)
{
    uint64_t ms = timeout_ns / 1000000 + (timeout_ns % 1000000 != 0);
    return ms > INT32_MAX ? -1 : (int)ms;
}

/* epoll_pwait2(2), which older C libraries have no name for. */
static int wait_fine(struct loop *loop, uint64_t timeout_ns)
{
#ifdef SYS_epoll_pwait2
    struct timespec timeout = {.tv_sec = (time_t)(timeout_ns / 1000000000),
                               .tv_nsec = (long)(timeout_ns % 1000000000)};
    return (int)syscall(SYS_epoll_pwait2, loop->epoll_fd, loop->events, LOOP_EVENTS_MAX, &timeout,
                        NULL, 0);
#else
    (void)loop, (void)timeout_ns;
    errno = ENOSYS;
    return -1;
#endif
}

int loop_wait_ns(struct loop *loop, uint64_t timeout_ns, struct loop_event *ret_events,
                 unsigned *ret_count, bool *ret_woken)
{
    if (timeout_ns != 0 && timeout_ns != UINT64_MAX && !loop->coarse) {
        int ready = wait_fine(loop, timeout_ns);
        /* some sandboxes say EPERM for a call that they do not know */
        loop->coarse = ready < 0 && (errno == ENOSYS || errno == EPERM);
        if (!loop->coarse)
            return take_events(loop, ready, ret_events, ret_count, ret_woken);
    }
    return loop_wait(loop, round_up_ms(timeout_ns), ret_events, ret_count, ret_woken);
}

void loop_set_timer_slack_ns(uint64_t slack_ns)
{
    ASSERT(slack_ns >= 1 && slack_ns <= INT64_MAX); /* 0 would mean the default */
    /* It cannot fail; and if it did, waits would be as late as they are by default. */
    (void)prctl(PR_SET_TIMERSLACK, (unsigned long)slack_ns, 0, 0, 0);
}

void loop_wake(struct loop *loop)
{
    const uint64_t one = 1;
    /* It fails only when the counter is about to overflow: then a wake-up is pending anyway. */
    ssize_t written = write(loop->wake_fd, &one, sizeof one);
    (void)written;
}

int loop_signals_open(const sigset_t *signals, int *ret_fd)
{
    int fd = signalfd(-1, signals, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0)
        return -errno;
    *ret_fd = fd;
    return 0;
}

int loop_signals_read(int fd)
{
    struct signalfd_siginfo info;
    ssize_t size = read(fd, &info, sizeof info);
    if (size == (ssize_t)sizeof info)
        return (int)info.ssi_signo;
    return size < 0 ? -errno : -EAGAIN;
}
