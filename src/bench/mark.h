/* The mark in directories that the bench made, so that it never writes into anybody else's store.
 */
#ifndef BENCH_MARK_H
#define BENCH_MARK_H

#include "os/os.h"

/* May the bench write into this directory? One that is not there, or holds no store, is none of
 * ours to refuse. Errors: INVALID (a store that the bench did not make; says so), DENIED, IO. */
TARN_MUST int mark_check(const struct os *os, const char *directory, struct tarn_error *error);

/* Mark a directory in which a store was opened; one that is marked is left as it is. Errors: NOMEM,
 * DENIED, NOSPACE, IO. */
TARN_MUST int mark_put(const struct os *os, const char *directory, struct tarn_error *error);

#endif
