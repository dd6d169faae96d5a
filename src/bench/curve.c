/* A latency distribution as points; see curve.h.
 *
 * How: x = 1 / (1 - quantile) in equal steps of its logarithm, so that the tail, which is what one
 * looks for, is as finely drawn as the middle.
 *
 * Invariant: both coordinates never fall.
 * Failure modes: none. */
#include "bench/curve.h"

#include <math.h>

#define POINTS_PER_DECADE 20

size_t curve_points(const struct histogram *latency_ns, struct curve_point out[CURVE_POINTS_MAX])
{
    uint64_t requests = histogram_count(latency_ns);
    size_t count = 0;
    if (requests == 0)
        return 0;
    for (int i = 0; i < CURVE_POINTS_MAX - 1; i++) {
        double x = pow(10, (double)i / POINTS_PER_DECADE);
        if (x > (double)requests)
            break;
        out[count].quantile = 1 - 1 / x;
        uint64_t ns = i == 0 ? histogram_min(latency_ns) /* known exactly */
                             : histogram_quantile(latency_ns, out[count].quantile);
        out[count].us = (double)ns / 1e3;
        count++;
    }
    out[count++] = (struct curve_point){1, (double)histogram_max(latency_ns) / 1e3};
    return count;
}
