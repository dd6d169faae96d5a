/* A struct os whose write_at and data_sync stop when told to, until they are let go: for tests that
 * want something to happen just then. It counts them, and its clock can be put forward.
 *
 *     held_os_hold(&h, HELD_SYNC);        // from now on
 *     ... have a sync done ...
 *     held_os_wait(&h, HELD_SYNC);        // it has come to the call, and stays there
 *     ... whatever is to happen meanwhile ...
 *     held_os_release(&h, HELD_SYNC);     // all go on
 */
#ifndef LIB_HELD_OS_H
#define LIB_HELD_OS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "os/os.h"

enum held_call { HELD_WRITE, HELD_SYNC, HELD_CALLS };

struct held_os {
    struct os os; /* hand &h.os to the code under test */
    const struct os *next;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct {
        bool held;
        unsigned waiting;
        uint64_t calls; /* that have begun */
    } call[HELD_CALLS];
    _Atomic uint64_t ahead_ns; /* of next's clock */
};

static inline void held_os_enter(struct held_os *h, enum held_call call)
{
    pthread_mutex_lock(&h->lock);
    h->call[call].calls++;
    h->call[call].waiting++;
    pthread_cond_broadcast(&h->changed);
    while (h->call[call].held)
        pthread_cond_wait(&h->changed, &h->lock);
    h->call[call].waiting--;
    pthread_mutex_unlock(&h->lock);
}

static inline int held_os_write_at(const struct os *os, int fd, const void *data, size_t size,
                                   uint64_t offset, size_t *ret_size)
{
    struct held_os *h = os->context;
    held_os_enter(h, HELD_WRITE);
    return h->next->write_at(h->next, fd, data, size, offset, ret_size);
}

static inline int held_os_data_sync(const struct os *os, int fd)
{
    struct held_os *h = os->context;
    held_os_enter(h, HELD_SYNC);
    return h->next->data_sync(h->next, fd);
}

static inline uint64_t held_os_monotonic_ns(const struct os *os)
{
    struct held_os *h = os->context;
    return h->next->monotonic_ns(h->next) + atomic_load(&h->ahead_ns);
}

/* The entries that are not held go to `next` directly, whose context must not matter to them. */
static inline void held_os_init(struct held_os *h)
{
    *h = (struct held_os){.os = *os_real(), .next = os_real()};
    pthread_mutex_init(&h->lock, NULL);
    pthread_cond_init(&h->changed, NULL);
    h->os.write_at = held_os_write_at;
    h->os.data_sync = held_os_data_sync;
    h->os.monotonic_ns = held_os_monotonic_ns;
    h->os.context = h;
}

static inline void held_os_hold(struct held_os *h, enum held_call call)
{
    pthread_mutex_lock(&h->lock);
    h->call[call].held = true;
    pthread_mutex_unlock(&h->lock);
}

static inline void held_os_wait(struct held_os *h, enum held_call call)
{
    pthread_mutex_lock(&h->lock);
    while (!h->call[call].held || h->call[call].waiting == 0)
        pthread_cond_wait(&h->changed, &h->lock);
    pthread_mutex_unlock(&h->lock);
}

static inline void held_os_release(struct held_os *h, enum held_call call)
{
    pthread_mutex_lock(&h->lock);
    h->call[call].held = false;
    pthread_cond_broadcast(&h->changed);
    pthread_mutex_unlock(&h->lock);
}

static inline uint64_t held_os_calls(struct held_os *h, enum held_call call)
{
    pthread_mutex_lock(&h->lock);
    uint64_t calls = h->call[call].calls;
    pthread_mutex_unlock(&h->lock);
    return calls;
}

/* All go on, so that what a failed test left behind does not keep it from ending. */
static inline void held_os_done(struct held_os *h)
{
    held_os_release(h, HELD_WRITE);
    held_os_release(h, HELD_SYNC);
}

#endif
