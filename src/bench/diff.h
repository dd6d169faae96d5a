/* Two result files of tarn bench --json side by side. */
#ifndef BENCH_DIFF_H
#define BENCH_DIFF_H

#include "core/buffer.h"
#include "os/os.h"

/* One row a figure: A, B, B / A; settings that differ are named first. Errors: those of
 * os_open_data(), CORRUPT (not JSON, with line; or not a result of tarn bench). */
TARN_MUST int diff_files(const struct os *os, const char *path_a, const char *path_b,
                         struct buffer *out, struct tarn_error *error);

#endif
