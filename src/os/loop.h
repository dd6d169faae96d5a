/* An event loop's core: epoll, a wake-up from other threads, and signals as events.
 *
 * Level-triggered. The caller gives each descriptor a tag (never NULL) and gets the tags of those
 * that are ready. One thread waits and changes the set; loop_wake() may be called from any.
 * Functions return 0 or a negative errno, as everywhere in os. */
#ifndef OS_LOOP_H
#define OS_LOOP_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "tarn.h"

#define LOOP_EVENTS_MAX 64 /* handed out by one wait */

struct loop {
    int epoll_fd, wake_fd;
    bool coarse; /* the kernel has no time-outs finer than a millisecond */
    struct epoll_event events[LOOP_EVENTS_MAX];
};

struct loop_event {
    void *tag;
    uint32_t events; /* EPOLLIN, EPOLLOUT, EPOLLERR, EPOLLHUP */
};

TARN_MUST int loop_open(struct loop *loop);
void loop_close(struct loop *loop); /* allowed after a failed open and twice */

/* events: EPOLLIN and/or EPOLLOUT; 0 keeps only errors and hang-ups. */
TARN_MUST int loop_add(struct loop *loop, int fd, uint32_t events, void *tag);
TARN_MUST int loop_modify(struct loop *loop, int fd, uint32_t events, void *tag);
/* Before closing the descriptor. Tags of the wait under way may still be in its results. */
void loop_remove(struct loop *loop, int fd);

/* Wait at most timeout_ms (-1: for ever; 0: do not wait). ret_events: room for LOOP_EVENTS_MAX.
 * ret_woken: loop_wake() was called since the last wait (which never counts as an event). A
 * signal handler's interruption returns no events. */
TARN_MUST int loop_wait(struct loop *loop, int timeout_ms, struct loop_event *ret_events,
                        unsigned *ret_count, bool *ret_woken);

/* The same with a time-out in ns (UINT64_MAX: for ever). Never returns early for want of precision:
 * where the kernel has none (before Linux 5.11) it is rounded up to milliseconds. */
TARN_MUST int loop_wait_ns(struct loop *loop, uint64_t timeout_ns, struct loop_event *ret_events,
                           unsigned *ret_count, bool *ret_woken);
/* How much later than asked the kernel may end waits of the calling thread, to save power: 50,000
 * ns unless set; at least 1. */
void loop_set_timer_slack_ns(uint64_t slack_ns);

/* Let the present or the next wait return. Any thread; many calls may give one return. */
void loop_wake(struct loop *loop);

/* A descriptor that becomes readable when one of these signals is pending; they must be blocked
 * in every thread. Close it as any other. */
TARN_MUST int loop_signals_open(const sigset_t *signals, int *ret_fd);
/* The next pending signal's number, or -EAGAIN. */
int loop_signals_read(int fd);

#endif
