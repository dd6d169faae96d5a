/* Figures of a measurement that never was, for the tests of reports and pictures: 1,000,000 GETs in
 * 10 s with latencies from 40 us on, a tail and a stall in the sixth second. */
#ifndef LIB_SAMPLE_FIGURES_H
#define LIB_SAMPLE_FIGURES_H

#include <stdlib.h>

#include "bench/figures.h"

#define SAMPLE_SECONDS 10

/* A point of the series: a second with `operations` operations. */
static inline struct figures_point sample_point(double at_s, uint64_t operations, uint64_t errors)
{
    return (struct figures_point){.at_s = at_s,
                                  .seconds = 1,
                                  .operations = operations,
                                  .errors = errors,
                                  .mean_us = 61.5,
                                  .p50_us = 58,
                                  .p99_us = 140,
                                  .p999_us = 420,
                                  .max_us = operations < 60000 ? 500000 : 900};
}

/* Latencies of one kind of operation: `requests` of them, from base_us on. */
static inline void sample_latencies(struct histogram *h, uint64_t requests, double base_us)
{
    for (uint64_t i = 0; i < 1000; i++) {
        double share = (double)i / 1000; /* most a little above the base, a hundredth far above */
        double us = base_us * (1 + 0.8 * share) + (share > 0.99 ? 100 * (share - 0.99) * 1000 : 0);
        histogram_record(h, (uint64_t)(us * 1000), requests / 1000);
    }
    histogram_record(h, 480000000, requests / 2000);
}

/* Closed loop, everything known, nothing by kind of operation. Freed with sample_done(). */
static inline void sample_figures(struct figures *f)
{
    *f = (struct figures){.complete = true,
                          .target = "RESP 127.0.0.1:6379",
                          .seconds = SAMPLE_SECONDS,
                          .threads = 2,
                          .connections = 50,
                          .generator_cpu_s = 1.5,
                          .bottleneck = BOTTLENECK_NONE};
    if (tally_init(&f->all) != TARN_OK)
        abort();
    tally_add(&f->all.operations, 1000000);
    tally_add(&f->all.requests, 1000000);
    tally_add(&f->all.hits, 999000);
    tally_add(&f->all.misses, 1000);
    tally_add(&f->all.misses_expected, 1000);
    tally_add(&f->all.bytes_sent, 36000000);
    tally_add(&f->all.bytes_received, 70930000);
    tally_add(&f->all.value_bytes, 63936000);
    sample_latencies(f->all.latency_ns, 1000000, 40);
    f->server = (struct figures_server){
        .local = true, .processes = 1, .cpu_s = 3.25, .memory_bytes = 123456789};
    f->thread_operations = calloc(2, sizeof *f->thread_operations);
    f->points = calloc(SAMPLE_SECONDS, sizeof *f->points);
    if (!f->thread_operations || !f->points)
        abort();
    f->thread_operations[0] = 499000;
    f->thread_operations[1] = 501000;
    f->points_count = SAMPLE_SECONDS;
    for (int i = 0; i < SAMPLE_SECONDS; i++)
        f->points[i] = sample_point(i + 1, i == 5 ? 55000 : 105000 + (uint64_t)(i % 3) * 1000, 0);
}

/* Half of it reads, half updates. */
static inline void sample_kinds(struct figures *f)
{
    sample_latencies(f->all.kind_ns[OPERATION_READ], 500000, 35);
    sample_latencies(f->all.kind_ns[OPERATION_UPDATE], 500000, 55);
}

static inline void sample_done(struct figures *f)
{
    tally_done(&f->all);
    free(f->thread_operations);
    free(f->points);
}

#endif
