/* Goal: qsbr_wait() returns only after every thread that was online has passed a quiescent state,
 * and does not wait for those offline or gone; registration counts.
 * Method: a writer replaces an object and poisons, then frees, the old one after the wait, while
 * readers check the object they hold (a wait that is too short: wrong contents, a fault under
 * ASan, a race under TSan); threads meet at barriers, never by time.
 *
 * Bugs planted once to see it fail: qsbr_wait() empty; qsbr_offline() empty (the wait for a
 * sleeping thread never ends); unregistration at the first of two owners. */
#include "lib/test.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#include "core/qsbr.h"

enum { READERS = 4, WORDS = 64, REPLACEMENTS = 200 };

struct object {
    unsigned words[WORDS];
};

struct scene {
    _Atomic(struct object *) current;
    atomic_bool stop;
    _Atomic unsigned wrong, looks;
};

static struct object *object_new(unsigned value)
{
    struct object *o = malloc(sizeof *o);
    for (unsigned i = 0; i < WORDS; i++)
        o->words[i] = value;
    return o;
}

static void *read_on(void *argument)
{
    struct scene *s = argument;
    qsbr_register();
    for (unsigned turn = 0; !atomic_load(&s->stop); turn++) {
        struct object *o = atomic_load_explicit(&s->current, memory_order_acquire);
        for (int again = 0; again < 4; again++)
            for (unsigned i = 0; i < WORDS; i++)
                if (o->words[i] != o->words[0] || o->words[i] == 0)
                    atomic_fetch_add(&s->wrong, 1);
        atomic_fetch_add(&s->looks, 1);
        if (turn % 64 == 63) {
            qsbr_offline();
            qsbr_online();
        } else {
            qsbr_quiescent();
        }
    }
    qsbr_unregister();
    return NULL;
}

static void readers_keep_what_they_see(void **context)
{
    (void)context;
    struct scene s = {.current = object_new(1)};
    pthread_t threads[READERS];
    for (int i = 0; i < READERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_on, &s), 0);
    for (unsigned i = 2; i < REPLACEMENTS; i++) {
        unsigned before = atomic_load(&s.looks);
        struct object *old = atomic_exchange(&s.current, object_new(i));
        qsbr_wait();
        for (unsigned w = 0; w < WORDS; w++)
            old->words[w] = 0;
        free(old);
        while (atomic_load(&s.looks) == before) /* somebody has looked meanwhile */
            sched_yield();
    }
    atomic_store(&s.stop, true);
    for (int i = 0; i < READERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&s.wrong), 0);
    free(atomic_load(&s.current));
}

/* --- who is waited for --- */

struct sleeper {
    pthread_barrier_t ready, done;
    int owners; /* registrations, and how many are undone before the sleep */
    int undone;
    bool offline;
    atomic_bool quiescent;
};

static void *sleep_on(void *argument)
{
    struct sleeper *s = argument;
    for (int i = 0; i < s->owners; i++)
        qsbr_register();
    for (int i = 0; i < s->undone; i++)
        qsbr_unregister();
    if (s->offline)
        qsbr_offline();
    pthread_barrier_wait(&s->ready);
    pthread_barrier_wait(&s->done); /* after the wait has returned */
    if (s->offline)
        qsbr_online();
    for (int i = s->undone; i < s->owners; i++)
        qsbr_unregister();
    return NULL;
}

/* Trips (by never ending) on: waiting for a thread that is offline, or no longer registered. */
static void nobody_to_wait_for(void **context)
{
    (void)context;
    for (int kind = 0; kind < 3; kind++) {
        struct sleeper s = {.owners = kind, .undone = kind == 2 ? 0 : kind, .offline = kind == 2};
        pthread_t thread;
        pthread_barrier_init(&s.ready, NULL, 2);
        pthread_barrier_init(&s.done, NULL, 2);
        assert_int_equal(pthread_create(&thread, NULL, sleep_on, &s), 0);
        pthread_barrier_wait(&s.ready);
        qsbr_wait();
        pthread_barrier_wait(&s.done);
        pthread_join(thread, NULL);
        pthread_barrier_destroy(&s.ready);
        pthread_barrier_destroy(&s.done);
    }
}

/* A thread with two registrations, one undone: still online. */
static void *hold_out(void *argument)
{
    struct sleeper *s = argument;
    qsbr_register();
    qsbr_register();
    qsbr_unregister();
    pthread_barrier_wait(&s->ready);
    for (int i = 0; i < 1000; i++) /* the waiting thread has every chance to return too early */
        sched_yield();
    atomic_store(&s->quiescent, true);
    qsbr_quiescent();
    qsbr_unregister();
    return NULL;
}

/* Trips on: a wait that does not wait; registration that does not count. */
static void online_is_waited_for(void **context)
{
    (void)context;
    for (int i = 0; i < 20; i++) {
        struct sleeper s = {.owners = 0};
        pthread_t thread;
        pthread_barrier_init(&s.ready, NULL, 2);
        assert_int_equal(pthread_create(&thread, NULL, hold_out, &s), 0);
        pthread_barrier_wait(&s.ready);
        qsbr_wait();
        assert_true(atomic_load(&s.quiescent));
        pthread_join(thread, NULL);
        pthread_barrier_destroy(&s.ready);
    }
}

/* Trips (by never ending) on: a waiting thread that waits for itself. */
static void own_thread_is_no_obstacle(void **context)
{
    (void)context;
    qsbr_wait(); /* not registered */
    qsbr_register();
    qsbr_wait();
    qsbr_register();
    qsbr_offline();
    qsbr_wait();
    qsbr_online();
    qsbr_unregister();
    qsbr_wait();
    qsbr_unregister();
    qsbr_wait();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(own_thread_is_no_obstacle),
        cmocka_unit_test(nobody_to_wait_for),
        cmocka_unit_test(online_is_waited_for),
        cmocka_unit_test(readers_keep_what_they_see),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
