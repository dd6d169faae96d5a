/* One phase of a run (load, warm-up, measurement) as its threads see it: what to do, until when.
 * Threads share it; all but the atomics is read-only while they run. */
#ifndef BENCH_PHASE_H
#define BENCH_PHASE_H

#include <stdatomic.h>

#include "bench/arrival.h"
#include "bench/workload.h"

struct phase {
    bool load; /* write records 0..count-1 once each, in order, instead of the workload */
    bool verify;
    const struct records *records;
    struct workload *workload;
    /* Stores in process: [threads], where each thread stands in its stream and leaves it, so that
     * the next phase goes on from there; NULL: from the start. */
    struct workload_thread *streams;
    unsigned batch;       /* keys per request, >= 1 */
    unsigned pipeline;    /* requests in flight per connection, >= 1 */
    uint64_t start_ns;    /* monotonic; schedules count from here */
    uint64_t deadline_ns; /* nothing is sent from then on; 0: none */
    double rate;          /* open loop: requests per second of all threads; 0: closed loop */
    enum arrival_pattern pattern;
    bool poisson;
    double period_s;
    uint64_t seed;
    unsigned threads;
    _Atomic uint64_t next; /* requests handed out (load: records) */
    uint64_t total;        /* how many there are; UINT64_MAX: as many as the time allows */
    atomic_bool stop;      /* a failure or a signal: send no more, wait for nothing */
};

/* Take up to `want` of what is left; returns how many, *ret_first the number of the first. */
static inline uint64_t phase_take(struct phase *p, uint64_t want, uint64_t *ret_first)
{
    uint64_t first = atomic_fetch_add_explicit(&p->next, want, memory_order_relaxed);
    *ret_first = first;
    return first >= p->total ? 0 : p->total - first < want ? p->total - first : want;
}

static inline bool phase_stopped(const struct phase *p)
{
    return atomic_load_explicit(&p->stop, memory_order_relaxed);
}

static inline void phase_stop(struct phase *p)
{
    atomic_store_explicit(&p->stop, true, memory_order_relaxed);
}

#endif
