/* Latency by percentile and throughput over time as a picture, drawn by gnuplot. */
#ifndef BENCH_PLOT_H
#define BENCH_PLOT_H

#include "bench/figures.h"

/* Is this a name that can be drawn (.svg or .png)? Errors: INVALID. */
TARN_MUST int plot_check(const char *path, struct tarn_error *error);
/* Is gnuplot there? To be asked before what is to be drawn takes its time. Errors: those of
 * plot_draw(). */
TARN_MUST int plot_ready(struct tarn_error *error);
/* The script, with its data inside. path: checked. */
void plot_script(const struct figures *figures, const char *path, const char *title,
                 struct buffer *out);
/* Run gnuplot on it. Errors: MISSING (gnuplot is not installed), IO (its message is in the text).
 */
TARN_MUST int plot_draw(const struct figures *figures, const char *path, const char *title,
                        struct tarn_error *error);

#endif
