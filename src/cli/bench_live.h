/* What a benchmark is doing, as one line of a terminal that is drawn again each second:
 *
 *     measuring 4.0 s of 10 s  123,456 ops/s  p50 45.00 us  p99 120.0 us
 *
 * In a pipe nothing is written. One thread. */
#ifndef CLI_BENCH_LIVE_H
#define CLI_BENCH_LIVE_H

#include "bench/peak.h"
#include "cli/progress.h"

/* The line, without newline. */
void bench_live_line(const struct run_tick *tick, struct buffer *out);

/* struct run_hooks of a run whose signs of life are drawn by progress and whose end comes with its
 * interrupt. */
struct run_hooks bench_live_hooks(struct progress *progress);

/* For peak_find(): a step that is done stays on the terminal. context: a struct progress. */
void bench_live_step(void *context, const struct peak_step *step);

#endif
