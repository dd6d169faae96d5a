/* What random and sequential reads of a device cost, measured by reading a file on it. */
#ifndef CLI_PLAN_MEASURE_H
#define CLI_PLAN_MEASURE_H

#include "os/os.h"
#include "pack/plan.h"

/* A smaller file would not send a disk far. */
#define PLAN_MEASURE_BYTES_MIN (16ull << 20)

/* Read at random, directly (not through the page cache), in sizes from 4 KiB to 1 MiB, one at a
 * time and `depth` together, and in sequence: five seconds or so, more on a slow disk. Nothing is
 * written. Errors: those of os_open_data(); INVALID (too small; the file system knows no direct
 * reads), NOMEM, IO, CANCELLED. */
TARN_MUST int plan_measure(const struct os *os, const char *path, unsigned depth,
                           tarn_progress progress, void *context, struct plan_disk *ret_disk,
                           struct tarn_error *error);

#endif
