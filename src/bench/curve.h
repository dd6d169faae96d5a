/* A latency distribution as the points of a curve: for pictures, and for programs that draw their
 * own. */
#ifndef BENCH_CURVE_H
#define BENCH_CURVE_H

#include <stddef.h>

#include "core/histogram.h"

struct curve_point {
    double quantile; /* 0..1 */
    double us;       /* that share of the requests took at most so long */
};

/* 20 points for every factor of ten of 1 / (1 - quantile), as far as there are requests to tell
 * them apart, and at most twelve factors. The last point is the maximum, at quantile 1. */
#define CURVE_POINTS_MAX (12 * 20 + 2)

/* Returns how many points there are; 0 if the histogram is empty. Quantiles and times rise. */
size_t curve_points(const struct histogram *latency_ns, struct curve_point out[CURVE_POINTS_MAX]);

#endif
