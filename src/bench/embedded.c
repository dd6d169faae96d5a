/* One generator thread over a store in this process: when its calls are made.
 *
 * How: the closed loop asks in rounds of several calls of `batch` keys, chosen together; a deadline
 * is looked for after every round. The open loop chooses one call at a time and waits for its due
 * time by yielding, for calls take less than a sleep's precision.
 *
 * Invariant: operations handed out == operations + errors + lost + unsent of the tally.
 * Failure modes: those of calls; a store that cannot keep up with an open loop: calls go on after
 * the deadline for as long again as the phase took, at least 2 s; what is left then is unsent, as
 * over the network (client_open.c). */
#include <sched.h>

#include "bench/embedded_internal.h"
#include "os/observe.h"

#define OVERTIME_NS 2000000000ull /* at least so long may calls go on after the deadline */
#define NEVER       UINT64_MAX

/* --- rounds --- */

static bool is_over(const struct caller *c, uint64_t now_ns)
{
    return c->phase->deadline_ns != 0 && now_ns >= c->phase->deadline_ns;
}

static int run_load(struct caller *c, struct tarn_error *error)
{
    uint64_t first, count;
    int status = TARN_OK;
    while (status == TARN_OK) {
        if (phase_stopped(c->phase))
            return TARN_CANCELLED;
        if ((count = phase_take(c->phase, c->batch, &first)) == 0)
            return TARN_OK;
        caller_choose_load(c, first, count);
        status = caller_put(c, count, error);
    }
    return status;
}

static int run_closed(struct caller *c, struct tarn_error *error)
{
    uint64_t first, calls;
    int status = TARN_OK;
    while (status == TARN_OK) {
        if (phase_stopped(c->phase))
            return TARN_CANCELLED;
        if (is_over(c, c->os->monotonic_ns(c->os)) ||
            (calls = phase_take(c->phase, c->calls_max, &first)) == 0)
            return TARN_OK;
        caller_choose(c, calls);
        for (size_t i = 0; i < calls; i++)
            if (status == TARN_OK)
                status = caller_ask(c, i, 0, error);
            else
                tally_add(&c->tally->lost, caller_keys(c, i)); /* chosen, and never to be made */
    }
    return status;
}

/* --- the open loop --- */

static uint64_t next_due(struct caller *c)
{
    uint64_t due_ns = c->phase->start_ns + arrival_next(&c->arrival);
    return is_over(c, due_ns) ? NEVER : due_ns;
}

/* Until it is due, or the phase is stopped. */
static uint64_t wait_until(struct caller *c, uint64_t due_ns)
{
    uint64_t now_ns = c->os->monotonic_ns(c->os);
    while (now_ns < due_ns && !phase_stopped(c->phase)) {
        sched_yield();
        now_ns = c->os->monotonic_ns(c->os);
    }
    return now_ns;
}

/* No call is made from then on. */
static uint64_t limit_of(const struct phase *phase)
{
    uint64_t overtime = phase->deadline_ns - phase->start_ns;
    if (phase->deadline_ns == 0)
        return NEVER;
    return phase->deadline_ns + (overtime > OVERTIME_NS ? overtime : OVERTIME_NS);
}

/* Calls due until now that will not be made. */
static void count_unsent(struct caller *c, uint64_t due_ns, uint64_t now_ns)
{
    uint64_t first;
    for (; due_ns <= now_ns && phase_take(c->phase, 1, &first) > 0; due_ns = next_due(c)) {
        c->kinds[0] = workload_kind(&c->workload);
        tally_add(&c->tally->unsent, caller_keys(c, 0));
    }
}

/* Make the chosen call when it is due. *free_ns: when the call before it ended, then this one. */
static int make_due_call(struct caller *c, uint64_t due_ns, uint64_t *free_ns,
                         struct tarn_error *error)
{
    uint64_t now_ns = wait_until(c, due_ns), ready_ns = due_ns > *free_ns ? due_ns : *free_ns;
    if (phase_stopped(c->phase)) {
        tally_add(&c->tally->unsent, caller_keys(c, 0));
        return TARN_CANCELLED;
    }
    histogram_record(c->tally->late_ns, now_ns > ready_ns ? now_ns - ready_ns : 0, 1);
    int status = caller_ask(c, 0, due_ns, error);
    *free_ns = c->os->monotonic_ns(c->os);
    return status;
}

static int run_open(struct caller *c, struct tarn_error *error)
{
    uint64_t first, due_ns = next_due(c), limit_ns = limit_of(c->phase);
    uint64_t free_ns = c->os->monotonic_ns(c->os);
    int status = TARN_OK;
    while (status == TARN_OK && due_ns != NEVER && free_ns < limit_ns &&
           phase_take(c->phase, 1, &first) > 0) {
        caller_choose(c, 1);
        status = make_due_call(c, due_ns, &free_ns, error);
        due_ns = next_due(c);
    }
    count_unsent(c, due_ns, free_ns);
    return status;
}

int embedded_run(const struct os *os, const struct embedded_store *store, void *handle,
                 unsigned thread, struct phase *phase, struct tally *tally,
                 struct tarn_error *error)
{
    struct caller c = {.os = os, .store = store, .handle = handle, .phase = phase, .tally = tally};
    uint64_t cpu_ns = observe_thread_cpu_ns();
    int status = caller_init(&c, error);
    if (status == TARN_OK) {
        double threads = (double)phase->threads;
        bool streams = phase->streams && !phase->load;
        if (streams)
            c.workload = phase->streams[thread];
        else if (!phase->load)
            workload_thread_init(&c.workload, phase->workload, thread, phase->threads);
        if (phase->rate > 0)
            arrival_init(&c.arrival, phase->pattern, phase->poisson, phase->rate / threads,
                         phase->period_s, thread / threads, phase->seed + thread);
        status = phase->load       ? run_load(&c, error)
                 : phase->rate > 0 ? run_open(&c, error)
                                   : run_closed(&c, error);
        __asm__ volatile("" : : "r"(c.touched)); /* the values were wanted */
        if (streams)
            phase->streams[thread] = c.workload;
        caller_done(&c);
    }
    if (status != TARN_OK)
        phase_stop(phase);
    if (status == TARN_CANCELLED)
        error_set(error, TARN_CANCELLED, "stopped");
    tally->end_ns = os->monotonic_ns(os);
    tally->cpu_ns += observe_thread_cpu_ns() - cpu_ns;
    return status;
}
