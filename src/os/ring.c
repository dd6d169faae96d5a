/* A ring: what both engines have in common; see ring.h.
 *
 * How: reads wait in a queue until the engine has fewer than `depth`. A read that comes short is
 * continued where it ended, or at the aligned place before, since direct reads begin at none other;
 * one that brings nothing new has met the end of the file.
 *
 * Invariants: (1) the engine has at most `depth` reads; (2) each read that was added is given back
 * once; (3) a read that is continued does not leave the engine.
 * Failure modes: the reads' own, as their status. */
#include "os/ring.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/assert.h"
#include "os/ring_internal.h"

/* Attempts, one after the other, that bring less than there is already, before that is taken for
 * the end of the file. */
#define STUCK_MAX 8u

bool ring_advance(struct ring_read *read, int result)
{
    if ((result == -EAGAIN || result == -EINTR) && ++read->tries <= RING_TRIES_MAX)
        return false;
    if (result < 0) {
        read->status = result;
        return true;
    }
    size_t end = read->at + (size_t)result;
    if (end <= read->done) /* the file ends here; unless that was a very short one */
        return result == 0 || ++read->tries >= STUCK_MAX;
    read->done = end;
    read->at = end - end % RING_ALIGN_BYTES;
    read->tries = 0;
    return end >= (read->enough > 0 ? read->enough : read->size);
}

/* Where io_uring cannot be had, threads do. */
static int open_engine(struct ring *ring)
{
    enum ring_engine engine = ring->settings.engine;
    if (engine == RING_AUTO && ring->os != os_real())
        engine = RING_THREADS;
    if (engine != RING_THREADS) {
        int status = uring_open(&ring->settings, &ring->uring);
        if (status == 0 || engine == RING_URING)
            return status;
    }
    return threads_open(ring->os, &ring->settings, &ring->threads);
}

int ring_open(const struct os *os, const struct ring_settings *settings, struct ring **ret_ring)
{
    ASSERT(settings->depth >= 1 && settings->depth <= RING_DEPTH_MAX);
    struct ring *ring = calloc(1, sizeof *ring);
    if (ring == NULL)
        return -ENOMEM;
    ring->os = os;
    ring->settings = *settings;
    ring->event_fd = -1;
    int status = open_engine(ring);
    if (status != 0) {
        free(ring);
        return status;
    }
    *ret_ring = ring;
    return 0;
}

void ring_close(struct ring *ring)
{
    if (ring == NULL)
        return;
    ring->waiting = (struct ring_queue){NULL, NULL};
    while (ring->in_flight > 0)
        if (ring_reap(ring) == NULL)
            ring_wait(ring, false);
    if (ring->uring != NULL)
        uring_close(ring->uring);
    else
        threads_close(ring->threads);
    if (ring->event_fd >= 0)
        close(ring->event_fd);
    free(ring);
}

enum ring_engine ring_engine(const struct ring *ring)
{
    return ring->uring != NULL ? RING_URING : RING_THREADS;
}

void ring_add(struct ring *ring, struct ring_read *read)
{
    read->status = 0;
    read->done = read->at = 0;
    read->tries = 0;
    ring_queue_push(&ring->waiting, read);
}

/* Give the engine what fits; io_uring's is not told of it yet. */
static void push_waiting(struct ring *ring)
{
    uint64_t now = 0;
    while (ring->in_flight < ring->settings.depth && ring->waiting.first != NULL) {
        struct ring_read *read = ring_queue_pop(&ring->waiting);
        if (now == 0)
            now = ring->os->monotonic_ns(ring->os);
        read->begun_ns = now;
        ring->in_flight++;
        if (ring->uring != NULL)
            uring_push(ring->uring, read);
        else
            threads_push(ring->threads, read);
    }
}

void ring_submit(struct ring *ring)
{
    push_waiting(ring);
    if (ring->uring != NULL)
        uring_submit(ring->uring);
}

struct ring_read *ring_reap(struct ring *ring)
{
    struct ring_read *read = ring->uring != NULL ? uring_reap(ring) : threads_reap(ring->threads);
    if (read != NULL)
        ring->in_flight--;
    /* Not for each one: the next call would often find more to hand over. */
    if (ring->waiting.first != NULL &&
        (read == NULL || ring->in_flight <= ring->settings.depth / 2))
        ring_submit(ring);
    return read;
}

void ring_wait(struct ring *ring, bool wakes)
{
    push_waiting(ring);
    ASSERT(ring->in_flight > 0 || wakes);
    if (wakes) {
        ring_submit(ring);
        struct pollfd p = {.fd = ring->event_fd, .events = POLLIN};
        while (poll(&p, 1, -1) < 0 && errno == EINTR)
            ;
        ring_quiet(ring);
    } else if (ring->uring != NULL) {
        uring_wait(ring->uring);
    } else {
        threads_wait(ring->threads);
    }
}

int ring_fd(struct ring *ring)
{
    if (ring->event_fd >= 0)
        return ring->event_fd;
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0)
        return -errno;
    int status = ring->uring != NULL ? uring_tell(ring->uring, fd) : 0;
    if (status != 0) {
        close(fd);
        return status;
    }
    if (ring->threads != NULL)
        threads_tell(ring->threads, fd);
    ring->event_fd = fd;
    ring_wake(ring); /* what came before the descriptor did */
    return fd;
}

void ring_quiet(struct ring *ring)
{
    uint64_t count;
    if (ring->event_fd >= 0)
        (void)!read(ring->event_fd, &count, sizeof count);
}

void ring_wake(struct ring *ring)
{
    (void)!write(ring->event_fd, &(uint64_t){1}, sizeof(uint64_t));
}
