/* The store behind tarn.h, with the operating system handed in. */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "os/os.h"

/* tarn_open(), tarn_index_build() and tarn_verify() with this operating system (borrowed, must
 * outlive the store); the public functions pass the real one. */
TARN_MUST int store_open(const struct os *os, const struct tarn_options *options,
                         struct tarn **ret_store, struct tarn_error *error);
TARN_MUST int store_index_build(const struct os *os, const struct tarn_options *options,
                                struct tarn_index_report *ret_report, struct tarn_error *error);
TARN_MUST int store_verify(const struct os *os, const struct tarn_options *options,
                           struct tarn_verify_report *ret_report, struct tarn_error *error);

/* tarn_check() and tarn_repair() likewise. */
TARN_MUST int store_check(const struct os *os, const char *directory, tarn_line line, void *context,
                          tarn_progress progress, void *progress_context,
                          struct tarn_check_report *ret_report, struct tarn_error *error);
struct tarn_line_context {
    tarn_line line;
    void *context;
    tarn_progress progress;
    void *progress_context;
};
/* data_path: the data file that the directory holds changes to; NULL: none is named, which is
 * INVALID if it is needed. STALE: it is another one. */
TARN_MUST int store_repair(const struct os *os, const char *directory, const char *data_path,
                           const char *target, const struct tarn_line_context *lines,
                           struct tarn_repair_report *ret_report, struct tarn_error *error);

#endif
