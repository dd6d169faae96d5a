/* The live records of a data file, by number: what records.h gives out for --keys-from. */
#ifndef BENCH_RECORDS_FILE_H
#define BENCH_RECORDS_FILE_H

#include "os/os.h"

struct records_file;

/* Opens the file as a store would (an index that is there is used, none is written), lists its live
 * records in the order of tarn_scan() and makes up keys that it does not have. progress may be
 * NULL. Errors: those of tarn_open(), INVALID (no records), NOMEM, CANCELLED. */
TARN_MUST int records_file_open(const struct os *os, const char *path,
                                const struct tarn_format *format, tarn_progress progress,
                                void *progress_context, struct records_file **ret_file,
                                struct tarn_error *error);
/* From any thread, when no view is used any more. NULL is allowed. */
void records_file_close(struct records_file *f);

struct records_file_sums {
    uint64_t count, bytes;                 /* records; bytes of all keys and values */
    size_t key_bytes_max, value_bytes_max; /* of missing keys too */
};
struct records_file_sums records_file_sums(const struct records_file *f);

/* Views of the file, i < count; valid until records_file_close(). */
struct tarn_bytes records_file_key(const struct records_file *f, uint64_t i);
struct tarn_bytes records_file_value(const struct records_file *f, uint64_t i);
/* A key that is not in the file, one of up to 65,536, the same one for the same n. */
struct tarn_bytes records_file_missing(const struct records_file *f, uint64_t n);

void records_file_prefetch(const struct records_file *f, uint64_t i);       /* where i's key is */
void records_file_prefetch_bytes(const struct records_file *f, uint64_t i); /* its key, value */

#endif
