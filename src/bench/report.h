/* Figures as text for people, JSON and CSV for programs. JSON's members: doc/bench.md. */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include "bench/peak.h"

#define REPORT_FORMAT 1 /* of the JSON: raised when a member changes its meaning or goes away */

/* Resident memory of the server for each record loaded, beyond the record's key and value (below 0
 * where it had room already); false if that is not known. */
bool report_memory_per_key(const struct figures *figures, double *ret_bytes);

/* What was measured and how, in half a line: the title of a picture. */
void report_title(const struct settings *settings, const struct figures *figures,
                  struct buffer *out);

/* peak: NULL if none was looked for. */
void report_text(const struct settings *settings, const struct figures *figures,
                 const struct peak *peak, struct buffer *out);
void report_json(const struct settings *settings, const struct figures *figures,
                 const struct peak *peak, int64_t started_realtime_us, struct buffer *out);
void report_csv(const struct figures *figures, struct buffer *out); /* the series over time */

#endif
