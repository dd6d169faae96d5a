/* The ring by io_uring (liburing).
 *
 * How: a submission entry a read, as many as the depth, so there is always room; completions carry
 * the read's address. A read that came short is pushed again at once.
 *
 * Failure modes: io_uring_setup() is not there or not permitted: the ring has threads then. A
 * submission that the kernel has no memory for now is handed over again with the next one. */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <sched.h>
#include <stdlib.h>

#include "core/assert.h"
#include "os/ring_internal.h"

struct ring_uring {
    struct io_uring io;
    unsigned unsubmitted; /* entries that the kernel has not taken yet */
};

/* Work of the kernel's for this thread is left until the thread enters it anyway. */
static int set_up(struct ring_uring *u, unsigned depth)
{
    int status =
        io_uring_queue_init(depth, &u->io, IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG);
    if (status == -EINVAL)
        status = io_uring_queue_init(depth, &u->io, 0);
    if (status == 0) {
        /* File systems that cannot begin a read without waiting (FUSE, NFS) get kernel threads,
         * four a processor by default. A refusal leaves it at that. */
        unsigned workers[2] = {depth, 0};
        (void)io_uring_register_iowq_max_workers(&u->io, workers);
    }
    return status;
}

int uring_open(const struct ring_settings *settings, struct ring_uring **ret)
{
    struct ring_uring *u = calloc(1, sizeof *u);
    if (u == NULL)
        return -ENOMEM;
    int status = set_up(u, settings->depth);
    if (status != 0) {
        free(u);
        return status;
    }
    *ret = u;
    return 0;
}

void uring_close(struct ring_uring *u)
{
    io_uring_queue_exit(&u->io);
    free(u);
}

void uring_push(struct ring_uring *u, struct ring_read *read)
{
    struct io_uring_sqe *entry = io_uring_get_sqe(&u->io);
    ASSERT(entry != NULL);
    size_t rest = read->size - read->at;
    io_uring_prep_read(entry, read->fd, (char *)read->data + read->at,
                       rest < INT32_MAX ? (unsigned)rest
                                        : (unsigned)(INT32_MAX - RING_ALIGN_BYTES + 1),
                       read->offset + read->at);
    io_uring_sqe_set_data(entry, read);
    u->unsubmitted++;
}

void uring_submit(struct ring_uring *u)
{
    if (u->unsubmitted == 0)
        return;
    int taken = io_uring_submit(&u->io);
    if (taken > 0)
        u->unsubmitted -= (unsigned)taken;
}

/* Of a descriptor opened with O_NONBLOCK, which does nothing else with a regular file, io_uring
 * gives EAGAIN instead of waiting. */
static void let_wait(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags >= 0 && (flags & O_NONBLOCK) != 0)
        (void)fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
}

struct ring_read *uring_reap(struct ring *ring)
{
    struct ring_uring *u = ring->uring;
    struct io_uring_cqe *completion;
    while (io_uring_peek_cqe(&u->io, &completion) == 0) {
        struct ring_read *read = io_uring_cqe_get_data(completion);
        int result = completion->res;
        io_uring_cqe_seen(&u->io, completion);
        if (ring->settings.meddle != NULL)
            result = ring->settings.meddle(ring->settings.meddle_context, read, result);
        if (ring_advance(read, result)) {
            read->ended_ns = ring->os->monotonic_ns(ring->os);
            return read;
        }
        if (result == -EAGAIN)
            let_wait(read->fd);
        uring_push(u, read);
    }
    uring_submit(u);
    return NULL;
}

void uring_wait(struct ring_uring *u)
{
    struct io_uring_cqe *completion;
    while (io_uring_peek_cqe(&u->io, &completion) != 0) {
        int taken = io_uring_submit_and_wait(&u->io, 1);
        if (taken > 0)
            u->unsubmitted -= (unsigned)taken < u->unsubmitted ? (unsigned)taken : u->unsubmitted;
        else if (taken < 0 && taken != -EINTR)
            sched_yield(); /* the kernel has no memory for it now */
    }
}

int uring_tell(struct ring_uring *u, int event_fd)
{
    return io_uring_register_eventfd(&u->io, event_fd);
}
