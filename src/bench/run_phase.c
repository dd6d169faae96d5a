/* One phase on its threads, watched by the calling thread.
 *
 * How: a thread each; the calling thread waits on a condition, looks for a signal ten times a
 * second and takes an interval's figures about once a second.
 *
 * Invariant: when run_phase() returns no thread is left, whatever happened.
 * Failure modes: the first real failure of a thread stops all of them and is the phase's. */
#include <time.h>

#include "bench/run_internal.h"

#define POLL_NS 100000000u  /* how often a signal is looked for */
#define TICK_NS 1000000000u /* an interval */

/* --- threads of a phase --- */

static int run_store(struct run_thread *t, struct phase *phase)
{
    struct run *run = t->run;
    const struct embedded_store *store = run->target.store;
    void *handle = NULL;
    int status = store->thread_open(run->store, &handle, &t->error);
    if (status != TARN_OK)
        return status;
    status = embedded_run(run->os, store, handle, t->number, phase, &t->tally, &t->error);
    store->thread_close(handle);
    return status;
}

static void *thread_main(void *argument)
{
    struct run_thread *t = argument;
    struct run *run = t->run;
    t->status = run->target.store ? run_store(t, t->phase)
                                  : client_run(t->client, t->phase, &t->tally, &t->error);
    if (t->status != TARN_OK)
        phase_stop(t->phase);
    pthread_mutex_lock(&run->lock);
    run->running--;
    pthread_cond_signal(&run->done);
    pthread_mutex_unlock(&run->lock);
    return NULL;
}

/* Start `count` threads; how many did. */
static unsigned start_threads(struct run *run, struct phase *phase, unsigned count)
{
    unsigned started = 0;
    run->running = count;
    for (; started < count; started++) {
        struct run_thread *t = &run->threads[started];
        t->phase = phase;
        t->status = TARN_OK;
        tally_reset(&t->tally);
        if (pthread_create(&t->thread, NULL, thread_main, t) != 0)
            break;
    }
    if (started < count) {
        phase_stop(phase);
        pthread_mutex_lock(&run->lock);
        run->running -= count - started;
        pthread_mutex_unlock(&run->lock);
    }
    return started;
}

/* Wait until all threads are done or POLL_NS are over; true when they are done. */
static bool wait_briefly(struct run *run)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += POLL_NS;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    pthread_mutex_lock(&run->lock);
    int e = 0;
    while (run->running > 0 && e == 0)
        e = pthread_cond_timedwait(&run->done, &run->lock, &until);
    bool done = run->running == 0;
    pthread_mutex_unlock(&run->lock);
    return done;
}

/* --- the course of a phase --- */

static void tell(struct run *run, const struct course *course, const struct figures_point *point,
                 uint64_t now_ns)
{
    const struct phase *phase = course->phase;
    uint64_t next = atomic_load_explicit(&phase->next, memory_order_relaxed), errors = 0;
    for (unsigned i = 0; i < run->threads_count; i++)
        errors += tally_get(&run->tallies[i]->errors);
    struct run_tick tick = {
        .phase = course->name,
        .elapsed_s = (double)(now_ns - phase->start_ns) / 1e9,
        .total_s = phase->deadline_ns ? (double)(phase->deadline_ns - phase->start_ns) / 1e9 : 0,
        .done = next < phase->total ? next : phase->total,
        .total = phase->total == UINT64_MAX ? 0 : phase->total,
        .per_second = point->seconds > 0 ? (double)point->operations / point->seconds : 0,
        .p50_us = point->p50_us,
        .p99_us = point->p99_us,
        .errors = errors,
    };
    if (run->hooks.tick)
        run->hooks.tick(run->hooks.context, &tick);
}

/* One more point; a lost one is no failure. */
static void look(struct run *run, struct course *course)
{
    struct figures_point point;
    uint64_t now_ns = run->os->monotonic_ns(run->os);
    if (meter_look(&course->meter, run->tallies, run->threads_count, now_ns, &point) == TARN_OK)
        tell(run, course, &point, now_ns);
}

static void watch(struct run *run, struct course *course)
{
    uint64_t looked_ns = course->phase->start_ns;
    while (!wait_briefly(run)) {
        if (!course->cancelled && run->hooks.cancelled &&
            run->hooks.cancelled(run->hooks.context)) {
            course->cancelled = true;
            phase_stop(course->phase);
        }
        uint64_t now_ns = run->os->monotonic_ns(run->os);
        if (now_ns - looked_ns < TICK_NS)
            continue;
        looked_ns = now_ns;
        look(run, course);
    }
}

/* The first failure that is not the echo of another one. */
static int first_failure(const struct run *run, unsigned count, struct tarn_error *error)
{
    const struct run_thread *found = NULL;
    for (unsigned i = 0; i < count; i++) {
        const struct run_thread *t = &run->threads[i];
        if (t->status != TARN_OK && (!found || found->status == TARN_CANCELLED))
            found = t;
    }
    if (!found)
        return TARN_OK;
    *error = found->error;
    return found->status;
}

int run_phase(struct run *run, struct course *course, unsigned count, struct tarn_error *error)
{
    for (unsigned i = count; i < run->threads_count; i++)
        tally_reset(&run->threads[i].tally); /* those that have no part in it */
    unsigned started = start_threads(run, course->phase, count);
    watch(run, course);
    for (unsigned i = 0; i < started; i++)
        pthread_join(run->threads[i].thread, NULL);
    look(run, course);
    int status = first_failure(run, started, error);
    if (started < count)
        return error_set(error, TARN_NOMEM, "cannot start thread %u of %u", started + 1, count);
    if (status == TARN_CANCELLED)
        error_set(error, TARN_CANCELLED, "stopped by a signal");
    return status;
}

void run_phase_init(const struct run *run, struct phase *phase)
{
    const struct settings *s = run->settings;
    *phase = (struct phase){
        .records = run->records,
        .workload = run->workload,
        .streams = run->streams,
        .batch = (unsigned)s->batch,
        .pipeline = (unsigned)s->pipeline,
        .pattern = (enum arrival_pattern)s->arrival,
        .poisson = s->poisson,
        .period_s = (double)s->period_ns / 1e9,
        .verify = s->verify,
        .seed = s->seed,
        .threads = run->threads_count,
        .total = UINT64_MAX,
        .start_ns = run->os->monotonic_ns(run->os),
    };
}
