/* What the two engines of a ring share. Private to ring*.c. */
#ifndef OS_RING_INTERNAL_H
#define OS_RING_INTERNAL_H

#include "os/ring.h"

/* A singly linked queue of reads. */
struct ring_queue {
    struct ring_read *first, *last;
};

static inline void ring_queue_push(struct ring_queue *q, struct ring_read *read)
{
    read->next = NULL;
    if (q->last != NULL)
        q->last->next = read;
    else
        q->first = read;
    q->last = read;
}

static inline struct ring_read *ring_queue_pop(struct ring_queue *q)
{
    struct ring_read *read = q->first;
    if (read != NULL) {
        q->first = read->next;
        if (q->first == NULL)
            q->last = NULL;
    }
    return read;
}

struct ring_uring;
struct ring_threads;

struct ring {
    const struct os *os;
    struct ring_settings settings;
    int event_fd;              /* -1: not asked for yet */
    unsigned in_flight;        /* with the engine */
    struct ring_queue waiting; /* beyond the depth, or not submitted yet */
    struct ring_uring *uring;  /* one of the two */
    struct ring_threads *threads;
};

/* An attempt gave `result`: bytes, or a negative errno. True: the read is done; else the rest, from
 * read->at on, is to be read. */
bool ring_advance(struct ring_read *read, int result);

int uring_open(const struct ring_settings *settings, struct ring_uring **ret);
void uring_close(struct ring_uring *u);
/* There is room for `depth` reads. The system is told by uring_submit(). */
void uring_push(struct ring_uring *u, struct ring_read *read);
void uring_submit(struct ring_uring *u);
struct ring_read *uring_reap(struct ring *ring);
void uring_wait(struct ring_uring *u); /* for a completion */
int uring_tell(struct ring_uring *u, int event_fd);

int threads_open(const struct os *os, const struct ring_settings *settings,
                 struct ring_threads **ret);
void threads_close(struct ring_threads *t);
void threads_push(struct ring_threads *t, struct ring_read *read);
struct ring_read *threads_reap(struct ring_threads *t);
void threads_wait(struct ring_threads *t);
void threads_tell(struct ring_threads *t, int event_fd);

#endif
