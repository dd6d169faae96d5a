/* The course of a measurement: what happened in each interval of about a second, from tallies that
 * threads go on writing. One thread uses it. */
#ifndef BENCH_METER_H
#define BENCH_METER_H

#include "bench/figures.h"

struct meter {
    struct histogram *before, *now, *interval; /* merged latencies: at the last look, at this one */
    uint64_t operations, errors;               /* at the last look */
    uint64_t start_ns, last_ns;
    struct figures_point *points;
    size_t points_count, points_capacity;
};

TARN_MUST int meter_init(struct meter *m, uint64_t start_ns); /* Errors: NOMEM */
void meter_done(struct meter *m);                             /* a zeroed one is allowed */

/* Look at the tallies of `count` threads and append a point for the time
 * since the last look. Errors: NOMEM; the point is lost then. */
TARN_MUST int meter_look(struct meter *m, const struct tally *const *tallies, unsigned count,
                         uint64_t now_ns, struct figures_point *ret_point);

#endif
