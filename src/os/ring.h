/* A ring: reads that are begun now and told of when they are done, many at the same time.
 *
 * By io_uring where the system permits it; else, and over a struct os that is not the real one, by
 * threads that call its read_at. What is read and told is the same with both.
 *
 * Threads: a ring belongs to one thread; ring_wake() may be called by any. */
#ifndef OS_RING_H
#define OS_RING_H

#include <stdbool.h>

#include "os/os.h"

/* What direct reads need memory, offset and size to be multiples of. */
#define RING_ALIGN_BYTES 4096u
#define RING_DEPTH_MAX   4096u
/* Threads that read, where there is no io_uring. */
#define RING_THREADS_MAX 64u
/* Times that a read that makes no progress is tried again after EAGAIN or EINTR. */
#define RING_TRIES_MAX 100u

struct ring;

/* One read; the caller's memory, and the ring's from ring_add() until ring_reap() gives it back. */
struct ring_read {
    int fd;
    void *data; /* aligned, and the next two, if the file was opened for direct reads */
    size_t size;
    uint64_t offset;
    size_t enough; /* so many bytes will do, since the file is known to end there; 0: size */
    void *context; /* the caller's */

    /* When it has been given back. */
    int status;                  /* 0 or a negative errno */
    size_t done;                 /* bytes read; fewer than size only where the file ends */
    uint64_t begun_ns, ended_ns; /* monotonic; begun: when the system was asked */

    /* The ring's. */
    struct ring_read *next;
    size_t at;      /* where the present attempt begins */
    unsigned tries; /* since there was progress */
};

enum ring_engine { RING_AUTO, RING_URING, RING_THREADS };

struct ring_settings {
    unsigned depth; /* reads under way at most, 1..RING_DEPTH_MAX */
    enum ring_engine engine;
    /* For tests: what an attempt gave (bytes or a negative errno) passes through this. */
    int (*meddle)(void *context, const struct ring_read *read, int result);
    void *meddle_context;
};

/* 0, -ENOMEM, -EMFILE, ...; and, of RING_URING only, why there is no io_uring. */
TARN_MUST int ring_open(const struct os *os, const struct ring_settings *settings,
                        struct ring **ret_ring);
/* Waits for reads that are under way and forgets all. NULL is allowed. */
void ring_close(struct ring *ring);
enum ring_engine ring_engine(const struct ring *ring); /* never AUTO */

/* Never fails: what is beyond the depth waits. */
void ring_add(struct ring *ring, struct ring_read *read);
/* Hand the system all that was added and fits into the depth. ring_reap() does it with what
 * waits. */
void ring_submit(struct ring *ring);
/* A read that is done, or NULL: there is none now. Never waits. */
struct ring_read *ring_reap(struct ring *ring);
/* ring_submit(), and wait until ring_reap() has something; with `wakes` also until ring_wake() was
 * called. There is a read under way, or `wakes`. */
void ring_wait(struct ring *ring, bool wakes);
/* Readable when there is something to reap or ring_wake() was called, until ring_quiet(). Negative
 * errno: there are none left. */
TARN_MUST int ring_fd(struct ring *ring);
void ring_quiet(struct ring *ring);
/* ring_fd() was called before. Any thread. */
void ring_wake(struct ring *ring);

#endif
