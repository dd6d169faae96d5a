/* The files that --json, --csv and --plot name. They are begun before anything is measured, so that
 * a name that cannot be written costs no measurement, and appear whole at the end or not at all. */
#ifndef CLI_BENCH_FILES_H
#define CLI_BENCH_FILES_H

#include "bench/peak.h"
#include "os/publish.h"

struct bench_files {
    const struct os *os;
    const struct settings *settings; /* borrowed */
    struct publish json, csv;        /* open if asked for */
};

/* Errors: INVALID and those of opening; MISSING (no gnuplot). Nothing is open then. */
TARN_MUST int bench_files_open(struct bench_files *files, const struct os *os,
                               const struct settings *settings, struct tarn_error *error);
/* Write what was asked for. peak: NULL if none. Errors: those of publishing and of plot_draw(). */
TARN_MUST int bench_files_write(struct bench_files *files, const struct figures *figures,
                                const struct peak *peak, int64_t started_realtime_us,
                                struct tarn_error *error);
/* Whatever was not written stays as it was before. */
void bench_files_close(struct bench_files *files);

#endif
