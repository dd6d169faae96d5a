/* Intervals as differences of two states.
 *
 * Invariant: the points' operations and errors add up to those of the tallies at the last look.
 * Failure modes: out of memory for a point, which is then lost from the series; the counts go on
 * and belong to the next. */
#include "bench/meter.h"

#include <stdlib.h>

int meter_init(struct meter *m, uint64_t start_ns)
{
    *m = (struct meter){.start_ns = start_ns, .last_ns = start_ns};
    m->before = histogram_new();
    m->now = histogram_new();
    m->interval = histogram_new();
    if (m->before && m->now && m->interval)
        return TARN_OK;
    meter_done(m);
    return TARN_NOMEM;
}

void meter_done(struct meter *m)
{
    histogram_free(m->before);
    histogram_free(m->now);
    histogram_free(m->interval);
    free(m->points);
    *m = (struct meter){0};
}

static bool reserve_point(struct meter *m)
{
    if (m->points_count < m->points_capacity)
        return true;
    size_t capacity = m->points_capacity ? 2 * m->points_capacity : 64;
    struct figures_point *points = realloc(m->points, capacity * sizeof *points);
    if (!points)
        return false;
    m->points = points;
    m->points_capacity = capacity;
    return true;
}

/* The latencies of all threads since the last look, into m->interval. */
static void take_interval(struct meter *m, const struct tally *const *tallies, unsigned count)
{
    histogram_reset(m->now);
    for (unsigned i = 0; i < count; i++)
        histogram_merge(m->now, tallies[i]->latency_ns);
    histogram_reset(m->interval);
    histogram_merge(m->interval, m->now);
    histogram_subtract(m->interval, m->before);
    struct histogram *swap = m->before;
    m->before = m->now;
    m->now = swap;
}

static double quantile_us(const struct histogram *h, double quantile)
{
    return (double)histogram_quantile(h, quantile) / 1e3;
}

int meter_look(struct meter *m, const struct tally *const *tallies, unsigned count, uint64_t now_ns,
               struct figures_point *ret_point)
{
    uint64_t operations = 0, errors = 0;
    if (!reserve_point(m))
        return TARN_NOMEM;
    for (unsigned i = 0; i < count; i++) {
        operations += tally_get(&tallies[i]->operations);
        errors += tally_get(&tallies[i]->errors);
    }
    take_interval(m, tallies, count);
    struct figures_point point = {
        .at_s = (double)(now_ns - m->start_ns) / 1e9,
        .seconds = (double)(now_ns - m->last_ns) / 1e9,
        .operations = operations - m->operations,
        .errors = errors - m->errors,
        .mean_us = histogram_mean(m->interval) / 1e3,
        .p50_us = quantile_us(m->interval, 0.5),
        .p99_us = quantile_us(m->interval, 0.99),
        .p999_us = quantile_us(m->interval, 0.999),
        .max_us = (double)histogram_max(m->interval) / 1e3,
    };
    m->operations = operations;
    m->errors = errors;
    m->last_ns = now_ns;
    m->points[m->points_count++] = point;
    *ret_point = point;
    return TARN_OK;
}
