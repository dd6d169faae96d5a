/* A session's reads: buffers, the queue before the ring, figures.
 *
 * How: a read gets its buffer when the ring has room for it. Buffers of all sessions together stay
 * within far->buffer_bytes_max, but a session that has nothing under way may always read; the
 * others go on when one of their own comes back. Free buffers are kept by class of size: up to 16
 * KiB every 4 KiB, then four classes a doubling.
 *
 * Invariants: (1) in_flight <= depth; (2) what waits waits behind something in flight; (3) every
 * buffer is counted in buffer_bytes and charged.
 * Failure modes: no memory, no ring: the read fails with -ENOMEM or whatever, as one of the
 * system's does. */
#include <errno.h>
#include <stdlib.h>

#include "core/assert.h"
#include "store/far.h"

#define PAGE_BYTES     ((size_t)DISK_ALIGN_BYTES)
#define POOL_BYTES_MAX ((uint64_t)8 << 20) /* free, of one session */
#define NOT_POOLED     FAR_POOL_CLASSES

/* Lies in the free buffer itself. */
struct far_buffer {
    struct far_buffer *next;
};

/* --- buffers --- */

/* Which class a size is of, and its bytes. */
static unsigned class_of(size_t size, size_t *ret_bytes)
{
    size_t pages = (size + PAGE_BYTES - 1) / PAGE_BYTES;
    if (pages <= 4) {
        *ret_bytes = pages * PAGE_BYTES;
        return (unsigned)pages - 1;
    }
    unsigned log2 = 63 - (unsigned)__builtin_clzll(pages - 1);
    size_t below = (size_t)1 << log2, step = below / 4;
    size_t steps = (pages - below + step - 1) / step;
    *ret_bytes = (below + steps * step) * PAGE_BYTES;
    unsigned number = 4 * (log2 - 1) + (unsigned)steps - 1;
    return number < FAR_POOL_CLASSES ? number : NOT_POOLED;
}

static void count_buffer(struct far *far, int64_t bytes)
{
    atomic_fetch_add_explicit(&far->buffer_bytes, (uint64_t)bytes, memory_order_relaxed);
    far_charge(far, bytes);
}

static void empty_pool(struct far_session *s)
{
    for (unsigned i = 0; i < FAR_POOL_CLASSES; i++)
        while (s->pool.free[i] != NULL) {
            struct far_buffer *b = s->pool.free[i];
            s->pool.free[i] = b->next;
            free(b);
        }
    if (s->pool.bytes > 0)
        count_buffer(s->far, -(int64_t)s->pool.bytes);
    s->pool.bytes = 0;
}

static bool is_full(const struct far *far, size_t bytes)
{
    uint64_t used = atomic_load_explicit(&far->buffer_bytes, memory_order_relaxed);
    return used + bytes > far->buffer_bytes_max;
}

enum taken { TAKEN, TAKEN_LATER, TAKEN_NEVER };

static enum taken take_buffer(struct far_session *s, struct far_io *io)
{
    size_t bytes;
    unsigned class = class_of(io->read.size, &bytes);
    struct far_buffer *b = class < NOT_POOLED ? s->pool.free[class] : NULL;
    if (b != NULL) {
        s->pool.free[class] = b->next;
        s->pool.bytes -= bytes;
    } else {
        if (is_full(s->far, bytes))
            empty_pool(s);
        if (s->in_flight > 0 && is_full(s->far, bytes))
            return TAKEN_LATER;
        if ((b = aligned_alloc(PAGE_BYTES, bytes)) == NULL)
            return s->in_flight > 0 ? TAKEN_LATER : TAKEN_NEVER;
        count_buffer(s->far, (int64_t)bytes);
    }
    io->buffer = (unsigned char *)b;
    io->capacity = bytes;
    return TAKEN;
}

void far_io_release(struct far_session *s, struct far_io *io)
{
    if (io->buffer == NULL)
        return;
    size_t bytes;
    unsigned class = class_of(io->capacity, &bytes);
    ASSERT(bytes == io->capacity);
    struct far_buffer *b = (struct far_buffer *)(void *)io->buffer;
    if (class < NOT_POOLED && s->pool.bytes + bytes <= POOL_BYTES_MAX && !is_full(s->far, 0)) {
        b->next = s->pool.free[class];
        s->pool.free[class] = b;
        s->pool.bytes += bytes;
    } else {
        free(b);
        count_buffer(s->far, -(int64_t)bytes);
    }
    io->buffer = NULL;
    io->capacity = 0;
}

/* --- the ring --- */

int far_ring_open(struct far_session *s)
{
    if (s->ring != NULL)
        return 0;
    struct ring_settings settings = {.depth = s->far->depth, .engine = s->far->engine};
    int status = ring_open(s->far->os, &settings, &s->ring);
    if (status == 0)
        atomic_store_explicit(&s->latency, histogram_new(), memory_order_release);
    return status;
}

static void fail(struct far_session *s, struct far_io *io, int status)
{
    io->read.status = status;
    io->read.done = 0;
    io->next = s->failed;
    s->failed = io;
    if (s->told)
        ring_wake(s->ring);
}

static void leave_queue(struct far_session *s, struct far_io *io)
{
    *io->link = io->next;
    if (io->next != NULL)
        io->next->link = io->link;
    else
        s->waiting_last = io->link;
    io->link = NULL;
}

/* Give the ring what fits. */
static void issue(struct far_session *s)
{
    while (s->waiting != NULL && s->in_flight < s->far->depth) {
        struct far_io *io = s->waiting;
        int status = far_ring_open(s);
        if (status == 0 && io->capacity < io->read.size) {
            far_io_release(s, io);
            enum taken taken = take_buffer(s, io);
            if (taken == TAKEN_LATER)
                break;
            status = taken == TAKEN ? 0 : -ENOMEM;
        }
        leave_queue(s, io);
        if (status != 0) {
            fail(s, io, status);
            continue;
        }
        io->read.data = io->buffer;
        io->read.context = io;
        s->in_flight++;
        far_count(&s->counters.reads, 1);
        ring_add(s->ring, &io->read);
    }
    atomic_store_explicit(&s->under_way, s->in_flight, memory_order_relaxed);
}

void far_io_begin(struct far_session *s, struct far_io *io)
{
    io->next = NULL;
    io->link = s->waiting_last;
    *s->waiting_last = io;
    s->waiting_last = &io->next;
    issue(s);
}

bool far_io_cancel(struct far_session *s, struct far_io *io)
{
    if (io->link == NULL)
        return false;
    leave_queue(s, io);
    return true;
}

static void note(struct far_session *s, const struct ring_read *read)
{
    struct histogram *latency = atomic_load_explicit(&s->latency, memory_order_relaxed);
    if (read->status != 0)
        far_count(&s->counters.io_errors, 1);
    far_count(&s->counters.read_bytes, read->done);
    if (latency != NULL && read->ended_ns >= read->begun_ns)
        histogram_record(latency, read->ended_ns - read->begun_ns, 1);
}

void far_io_poll(struct far_session *s)
{
    while (s->failed != NULL) {
        struct far_io *io = s->failed;
        s->failed = io->next;
        far_count(&s->counters.io_errors, 1);
        io->finish(s, io);
    }
    if (s->ring == NULL)
        return;
    struct ring_read *read;
    while ((read = ring_reap(s->ring)) != NULL) {
        struct far_io *io = read->context;
        s->in_flight--;
        note(s, read);
        io->finish(s, io);
    }
    issue(s);
    ring_submit(s->ring);
}

void far_io_done(struct far_session *s)
{
    ASSERT(s->in_flight == 0 && s->waiting == NULL);
    empty_pool(s);
    ring_close(s->ring);
    s->ring = NULL;
}
