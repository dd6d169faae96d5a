/* The ring by threads that call the struct os's read_at.
 *
 * How: reads to be done and reads that are done in two queues under one lock. A thread is started
 * when there is a read and none is idle, up to the depth or RING_THREADS_MAX.
 *
 * Invariants: (1) `lock` is held for all of struct ring_threads; (2) a read is in one queue, or in
 * the hands of one thread.
 * Failure modes: no thread can be started: with none at all the caller reads by itself. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#include "os/ring_internal.h"

struct ring_threads {
    const struct os *os;
    struct ring_settings settings;
    pthread_mutex_t lock;
    pthread_cond_t work, news;
    struct ring_queue wanted, done;
    unsigned wanted_count, idle, count;
    bool stopping;
    int event_fd; /* -1: nobody is told */
    pthread_t ids[RING_THREADS_MAX];
};

static void run_read(struct ring_threads *t, struct ring_read *read)
{
    int result;
    do {
        size_t size = 0;
        if (read->tries > 0)
            sched_yield();
        result = t->os->read_at(t->os, read->fd, (char *)read->data + read->at,
                                read->size - read->at, read->offset + read->at, &size);
        if (result == 0)
            result = (int)size;
        if (t->settings.meddle != NULL)
            result = t->settings.meddle(t->settings.meddle_context, read, result);
    } while (!ring_advance(read, result));
    read->ended_ns = t->os->monotonic_ns(t->os);
}

static void finish_locked(struct ring_threads *t, struct ring_read *read)
{
    ring_queue_push(&t->done, read);
    pthread_cond_signal(&t->news);
    if (t->event_fd >= 0)
        (void)!write(t->event_fd, &(uint64_t){1}, sizeof(uint64_t));
}

static void *thread_main(void *context)
{
    struct ring_threads *t = context;
    pthread_mutex_lock(&t->lock);
    for (;;) {
        struct ring_read *read = ring_queue_pop(&t->wanted);
        if (read == NULL && t->stopping)
            break;
        if (read == NULL) {
            t->idle++;
            pthread_cond_wait(&t->work, &t->lock);
            t->idle--;
            continue;
        }
        t->wanted_count--;
        pthread_mutex_unlock(&t->lock);
        run_read(t, read);
        pthread_mutex_lock(&t->lock);
        finish_locked(t, read);
    }
    pthread_mutex_unlock(&t->lock);
    return NULL;
}

int threads_open(const struct os *os, const struct ring_settings *settings,
                 struct ring_threads **ret)
{
    struct ring_threads *t = calloc(1, sizeof *t);
    if (t == NULL)
        return -ENOMEM;
    t->os = os;
    t->settings = *settings;
    t->event_fd = -1;
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->work, NULL);
    pthread_cond_init(&t->news, NULL);
    *ret = t;
    return 0;
}

void threads_close(struct ring_threads *t)
{
    pthread_mutex_lock(&t->lock);
    t->stopping = true;
    pthread_cond_broadcast(&t->work);
    pthread_mutex_unlock(&t->lock);
    for (unsigned i = 0; i < t->count; i++)
        pthread_join(t->ids[i], NULL);
    pthread_cond_destroy(&t->news);
    pthread_cond_destroy(&t->work);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

static void start_thread_locked(struct ring_threads *t)
{
    if (t->wanted_count <= t->idle || t->count >= t->settings.depth || t->count >= RING_THREADS_MAX)
        return;
    if (pthread_create(&t->ids[t->count], NULL, thread_main, t) == 0)
        t->count++;
}

void threads_push(struct ring_threads *t, struct ring_read *read)
{
    pthread_mutex_lock(&t->lock);
    ring_queue_push(&t->wanted, read);
    t->wanted_count++;
    start_thread_locked(t);
    if (t->idle > 0) {
        pthread_cond_signal(&t->work);
    } else if (t->count == 0) {
        read = ring_queue_pop(&t->wanted);
        t->wanted_count--;
        run_read(t, read);
        finish_locked(t, read);
    }
    pthread_mutex_unlock(&t->lock);
}

struct ring_read *threads_reap(struct ring_threads *t)
{
    pthread_mutex_lock(&t->lock);
    struct ring_read *read = ring_queue_pop(&t->done);
    pthread_mutex_unlock(&t->lock);
    return read;
}

void threads_wait(struct ring_threads *t)
{
    pthread_mutex_lock(&t->lock);
    while (t->done.first == NULL)
        pthread_cond_wait(&t->news, &t->lock);
    pthread_mutex_unlock(&t->lock);
}

void threads_tell(struct ring_threads *t, int event_fd)
{
    pthread_mutex_lock(&t->lock);
    t->event_fd = event_fd;
    pthread_mutex_unlock(&t->lock);
}
