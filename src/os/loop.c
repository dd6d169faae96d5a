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
#include <sys/signalfd.h>
#include <unistd.h>

#include "core/assert.h"

int loop_open(struct loop *loop)
{
    int status;
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

int loop_wait(struct loop *loop, int timeout_ms, struct loop_event *ret_events, unsigned *ret_count,
              bool *ret_woken)
{
    int ready = epoll_wait(loop->epoll_fd, loop->events, LOOP_EVENTS_MAX, timeout_ms);
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
