/* See turns.h.
 *
 * How: every thread has a semaphore; whoever has the turn posts that of the next one and waits for
 * its own. What a thread waits for is kept here, mutexes and condition variables are not waited for
 * in the kernel at all; a mutex is still taken and given back with trylock and unlock, so that it
 * is in order when the turns end.
 *
 * Grace periods: a reader of liburcu's QSBR is quiescent when its counter is 0 (offline) or has
 * reached the period's (urcu/static/urcu-qsbr.h); one who waits for that is ready when all have.
 *
 * Invariants
 * 1. Exactly one thread that is not waiting in hand_over() runs; only it reads or writes `turns`.
 * 2. A thread that is in WAIT_COND holds no mutex that it gave back for it.
 * Failure modes: deadlock, too many turns, too many threads: a report and abort(). */
#include "lib/turns.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define _LGPL_SOURCE /* for the reader's counter; nothing is inlined into the program by it */
#include <urcu/urcu-qsbr.h>

#include "core/lock.h"
#include "core/random.h"

#define THREADS_MAX 32
#define TURNS_MAX   100000000u
#define NEVER       UINT64_MAX
#define REALTIME_NS 1700000000000000000u /* CLOCK_REALTIME at turns_begin() */
#define STEP_NS_MAX 4000u

enum wait {
    WAIT_NONE,
    WAIT_MUTEX,
    WAIT_COND,
    WAIT_SLEEP,
    WAIT_JOIN,
    WAIT_LOCK,
    WAIT_GRACE,
    ENDED,
    JOINED /* its place can be taken */
};

static const char *const wait_names[] = {"nothing",        "a mutex",  "a condition",
                                         "time",           "a thread", "a lock",
                                         "a grace period", "no more",  "no more"};

struct thread {
    sem_t turn;
    pthread_t id;
    void *(*run)(void *);
    void *argument, *result;
    enum wait wait;
    const void *object; /* what it waits for */
    uint64_t until;     /* time at which it gives up; NEVER */
    bool timed_out;
    unsigned long grace; /* WAIT_GRACE: the counter to reach */
    const struct urcu_qsbr_reader *reader;
};

static struct {
    bool on;
    uint64_t random, now_ns, taken;
    unsigned eagerness; /* another one gets the turn once in so many calls */
    struct thread threads[THREADS_MAX];
    unsigned count, current;
} turns;

static __thread bool takes_turns; /* is this thread one of them? */

int __real_pthread_create(pthread_t *id, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *argument);
int __real_pthread_join(pthread_t id, void **result);
int __real_pthread_mutex_lock(pthread_mutex_t *mutex);
int __real_pthread_mutex_trylock(pthread_mutex_t *mutex);
int __real_pthread_mutex_unlock(pthread_mutex_t *mutex);
int __real_pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex);
int __real_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex,
                                  const struct timespec *until);
int __real_pthread_cond_signal(pthread_cond_t *cond);
int __real_pthread_cond_broadcast(pthread_cond_t *cond);
int __real_sched_yield(void);
int __real_nanosleep(const struct timespec *time, struct timespec *left);
int __real_clock_gettime(clockid_t clock, struct timespec *now);
void __real_lock_wait(struct lock *lock);
void __real_urcu_qsbr_synchronize_rcu(void);

int __wrap_pthread_create(pthread_t *id, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *argument);
int __wrap_pthread_join(pthread_t id, void **result);
int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_trylock(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_unlock(pthread_mutex_t *mutex);
int __wrap_pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex);
int __wrap_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex,
                                  const struct timespec *until);
int __wrap_pthread_cond_signal(pthread_cond_t *cond);
int __wrap_pthread_cond_broadcast(pthread_cond_t *cond);
int __wrap_sched_yield(void);
int __wrap_nanosleep(const struct timespec *time, struct timespec *left);
int __wrap_clock_gettime(clockid_t clock, struct timespec *now);
void __wrap_lock_wait(struct lock *lock);
void __wrap_urcu_qsbr_synchronize_rcu(void);

/* --- whose turn it is --- */

static struct thread *current(void)
{
    return &turns.threads[turns.current];
}

static uint64_t below(uint64_t limit)
{
    return random_below(random_next(&turns.random), limit);
}

static void give_up(const char *what)
{
    fprintf(stderr, "turns: %s after %llu turns\n", what, (unsigned long long)turns.taken);
    for (unsigned i = 0; i < turns.count; i++)
        fprintf(stderr, "    thread %u waits for %s %p\n", i, wait_names[turns.threads[i].wait],
                turns.threads[i].object);
    abort();
}

static bool grace_is_over(const struct thread *waiting)
{
    for (unsigned i = 0; i < turns.count; i++) {
        const struct thread *t = &turns.threads[i];
        if (t->wait >= ENDED || t->reader == NULL)
            continue;
        unsigned long counter = t->reader->ctr;
        if (counter != 0 && (long)(counter - waiting->grace) < 0)
            return false;
    }
    return true;
}

static bool is_ready(const struct thread *t)
{
    switch (t->wait) {
    case WAIT_NONE:
        return true;
    case WAIT_LOCK:
        return atomic_load(&((const struct lock *)t->object)->taken) == 0;
    case WAIT_GRACE:
        return grace_is_over(t);
    default:
        return false;
    }
}

/* Those whose time has come wait no longer. */
static void pass_time(uint64_t now_ns)
{
    turns.now_ns = now_ns;
    for (unsigned i = 0; i < turns.count; i++) {
        struct thread *t = &turns.threads[i];
        if (t->wait != WAIT_NONE && t->wait < ENDED && t->until <= now_ns) {
            t->timed_out = true;
            t->wait = WAIT_NONE;
            t->until = NEVER;
        }
    }
}

static uint64_t first_deadline(void)
{
    uint64_t first = NEVER;
    for (unsigned i = 0; i < turns.count; i++)
        if (turns.threads[i].wait < ENDED && turns.threads[i].until < first)
            first = turns.threads[i].until;
    return first;
}

/* One that can go on; now and then one whose time has not come yet: the machine may be slow. */
static unsigned choose(void)
{
    pass_time(turns.now_ns + below(STEP_NS_MAX));
    if (below(256) == 0 && first_deadline() != NEVER)
        pass_time(first_deadline());
    for (;;) {
        unsigned ready[THREADS_MAX], count = 0;
        for (unsigned i = 0; i < turns.count; i++)
            if (is_ready(&turns.threads[i]))
                ready[count++] = i;
        if (count > 0)
            return ready[below(count)];
        if (first_deadline() == NEVER)
            give_up("nobody can go on");
        pass_time(first_deadline());
    }
}

static void wait_for_turn(struct thread *t)
{
    while (sem_wait(&t->turn) != 0)
        continue;
}

/* Let somebody go on; returns when it is this thread's turn again. */
static void hand_over(void)
{
    struct thread *self = current();
    if (++turns.taken > TURNS_MAX)
        give_up("no end");
    unsigned next = choose();
    struct thread *chosen = &turns.threads[next];
    chosen->wait = WAIT_NONE;
    chosen->until = NEVER;
    if (chosen == self)
        return;
    turns.current = next;
    bool ended = self->wait == ENDED;
    sem_post(&chosen->turn);
    if (!ended)
        wait_for_turn(self);
}

/* Returns false if the time was up. */
static bool wait_for(enum wait wait, const void *object, uint64_t until)
{
    struct thread *self = current();
    self->wait = wait;
    self->object = object;
    self->until = until;
    self->timed_out = false;
    hand_over();
    return !self->timed_out;
}

static void maybe_hand_over(void)
{
    if (below(turns.eagerness) == 0)
        hand_over();
}

static bool active(void)
{
    return turns.on && takes_turns;
}

/* --- control --- */

static struct thread *add_thread(void)
{
    unsigned i = 0;
    while (i < turns.count && turns.threads[i].wait != JOINED)
        i++;
    if (i == THREADS_MAX)
        give_up("too many threads");
    if (i == turns.count)
        turns.count++;
    struct thread *t = &turns.threads[i];
    *t = (struct thread){.until = NEVER};
    if (sem_init(&t->turn, 0, 0) != 0)
        abort();
    return t;
}

void turns_begin(uint64_t seed)
{
    static const unsigned eagernesses[] = {2, 8, 40, 200};
    memset(&turns, 0, sizeof turns);
    turns.random = random_mix(seed);
    turns.now_ns = 1000000000;
    turns.eagerness = eagernesses[below(4)];
    struct thread *t = add_thread();
    t->id = pthread_self();
    t->reader = &URCU_TLS(urcu_qsbr_reader);
    takes_turns = true;
    turns.on = true;
}

void turns_end(void)
{
    for (unsigned i = 1; i < turns.count; i++)
        if (turns.threads[i].wait != JOINED)
            give_up("a thread was not joined");
    sem_destroy(&turns.threads[0].turn);
    turns.on = takes_turns = false;
}

void turns_yield(void)
{
    if (active())
        maybe_hand_over();
}

uint64_t turns_taken(void)
{
    return turns.taken;
}

uint64_t turns_now_ns(void)
{
    return turns.now_ns;
}

/* --- threads --- */

static void *start(void *argument)
{
    struct thread *self = argument;
    wait_for_turn(self);
    takes_turns = true;
    self->reader = &URCU_TLS(urcu_qsbr_reader);
    self->result = self->run(self->argument);
    self->wait = ENDED;
    for (unsigned i = 0; i < turns.count; i++)
        if (turns.threads[i].wait == WAIT_JOIN && turns.threads[i].object == self)
            turns.threads[i].wait = WAIT_NONE;
    takes_turns = false; /* its destructors are nobody's turn */
    hand_over();
    return self->result;
}

int __wrap_pthread_create(pthread_t *id, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *argument)
{
    if (!active())
        return __real_pthread_create(id, attributes, run, argument);
    struct thread *t = add_thread();
    t->run = run;
    t->argument = argument;
    int status = __real_pthread_create(id, attributes, start, t);
    if (status != 0)
        give_up("no thread");
    t->id = *id;
    maybe_hand_over();
    return 0;
}

int __wrap_pthread_join(pthread_t id, void **result)
{
    if (!active())
        return __real_pthread_join(id, result);
    struct thread *t = NULL;
    for (unsigned i = 0; i < turns.count; i++)
        if (turns.threads[i].wait != JOINED && turns.threads[i].run && turns.threads[i].id == id)
            t = &turns.threads[i];
    if (t == NULL)
        give_up("no such thread to join");
    if (t->wait != ENDED)
        (void)wait_for(WAIT_JOIN, t, NEVER);
    int status = __real_pthread_join(id, result);
    sem_destroy(&t->turn);
    t->wait = JOINED;
    return status;
}

/* --- mutexes --- */

int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex)
{
    if (!active())
        return __real_pthread_mutex_lock(mutex);
    maybe_hand_over();
    int status;
    while ((status = __real_pthread_mutex_trylock(mutex)) == EBUSY)
        (void)wait_for(WAIT_MUTEX, mutex, NEVER);
    return status;
}

int __wrap_pthread_mutex_trylock(pthread_mutex_t *mutex)
{
    if (active())
        maybe_hand_over();
    return __real_pthread_mutex_trylock(mutex);
}

static void unlock(pthread_mutex_t *mutex)
{
    if (__real_pthread_mutex_unlock(mutex) != 0)
        abort();
    for (unsigned i = 0; i < turns.count; i++)
        if (turns.threads[i].wait == WAIT_MUTEX && turns.threads[i].object == mutex)
            turns.threads[i].wait = WAIT_NONE;
}

int __wrap_pthread_mutex_unlock(pthread_mutex_t *mutex)
{
    if (!active())
        return __real_pthread_mutex_unlock(mutex);
    unlock(mutex);
    maybe_hand_over();
    return 0;
}

/* --- conditions --- */

static uint64_t deadline(const struct timespec *until)
{
    uint64_t ns = (uint64_t)until->tv_sec * 1000000000 + (uint64_t)until->tv_nsec;
    return ns >= REALTIME_NS ? ns - REALTIME_NS : ns; /* of one clock or the other */
}

static int wait_condition(pthread_cond_t *cond, pthread_mutex_t *mutex, uint64_t until)
{
    if (until <= turns.now_ns)
        return ETIMEDOUT;
    unlock(mutex);
    bool signalled = wait_for(WAIT_COND, cond, until);
    while (__real_pthread_mutex_trylock(mutex) == EBUSY)
        (void)wait_for(WAIT_MUTEX, mutex, NEVER);
    return signalled ? 0 : ETIMEDOUT;
}

int __wrap_pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex)
{
    if (!active())
        return __real_pthread_cond_wait(cond, mutex);
    return wait_condition(cond, mutex, NEVER);
}

int __wrap_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex,
                                  const struct timespec *until)
{
    if (!active())
        return __real_pthread_cond_timedwait(cond, mutex, until);
    return wait_condition(cond, mutex, deadline(until));
}

static bool waits_on(unsigned i, const pthread_cond_t *cond)
{
    return turns.threads[i].wait == WAIT_COND && turns.threads[i].object == cond;
}

int __wrap_pthread_cond_signal(pthread_cond_t *cond)
{
    if (!active())
        return __real_pthread_cond_signal(cond);
    unsigned waiting = 0;
    for (unsigned i = 0; i < turns.count; i++)
        waiting += waits_on(i, cond);
    unsigned chosen = waiting > 0 ? (unsigned)below(waiting) : 0;
    for (unsigned i = 0; waiting > 0 && i < turns.count; i++)
        if (waits_on(i, cond) && chosen-- == 0) {
            turns.threads[i].wait = WAIT_NONE;
            turns.threads[i].until = NEVER;
            break;
        }
    maybe_hand_over();
    return 0;
}

int __wrap_pthread_cond_broadcast(pthread_cond_t *cond)
{
    if (!active())
        return __real_pthread_cond_broadcast(cond);
    for (unsigned i = 0; i < turns.count; i++)
        if (waits_on(i, cond)) {
            turns.threads[i].wait = WAIT_NONE;
            turns.threads[i].until = NEVER;
        }
    maybe_hand_over();
    return 0;
}

/* --- time and yielding --- */

int __wrap_sched_yield(void)
{
    if (!active())
        return __real_sched_yield();
    hand_over();
    return 0;
}

int __wrap_nanosleep(const struct timespec *time, struct timespec *left)
{
    if (!active())
        return __real_nanosleep(time, left);
    uint64_t ns = (uint64_t)time->tv_sec * 1000000000 + (uint64_t)time->tv_nsec;
    (void)wait_for(WAIT_SLEEP, NULL, turns.now_ns + ns);
    return 0;
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *now)
{
    if (!active())
        return __real_clock_gettime(clock, now);
    uint64_t ns = turns.now_ns + (clock == CLOCK_REALTIME ? REALTIME_NS : 0);
    *now =
        (struct timespec){.tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000)};
    return 0;
}

void __wrap_lock_wait(struct lock *lock)
{
    if (!active())
        __real_lock_wait(lock);
    else
        (void)wait_for(WAIT_LOCK, lock, NEVER);
}

void __wrap_urcu_qsbr_synchronize_rcu(void)
{
    if (!active()) {
        __real_urcu_qsbr_synchronize_rcu();
        return;
    }
    struct urcu_qsbr_reader *reader = &URCU_TLS(urcu_qsbr_reader);
    bool online = reader->ctr != 0;
    reader->ctr = 0;
    urcu_qsbr_gp.ctr += URCU_QSBR_GP_CTR;
    current()->grace = urcu_qsbr_gp.ctr;
    (void)wait_for(WAIT_GRACE, NULL, NEVER);
    if (online)
        reader->ctr = urcu_qsbr_gp.ctr;
}
