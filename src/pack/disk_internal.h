/* What disk_scan.c and disk_verify.c have done for a `tarn` file. Private to disk_*.c. */
#ifndef PACK_DISK_INTERNAL_H
#define PACK_DISK_INTERNAL_H

#include "pack/disk.h"

/* What is read at a time where all is wanted. */
#define DISK_RUN_BYTES (4u << 20)

/* As the functions of disk.h without `_hashed`. */
TARN_MUST int disk_hashed_scan(const struct disk_pack *pack, uint64_t *cursor, size_t count,
                               struct disk_buffer *buffer, tarn_visit visit, void *context,
                               uint64_t *ret_skip, struct tarn_error *error);
TARN_MUST int disk_hashed_random_key(const struct disk_pack *pack, uint64_t random,
                                     struct disk_buffer *buffer, struct tarn_bytes *ret_key,
                                     struct tarn_error *error);
TARN_MUST int disk_hashed_verify(const struct disk_pack *pack, const struct tarn_options *options,
                                 struct tarn_verify_report *ret_report, struct tarn_error *error);

/* Bytes that `count` records of `total` in `bytes` need, a little more than their mean, at most
 * DISK_RUN_BYTES. */
static inline uint64_t disk_run_bytes(uint64_t bytes, uint64_t total, size_t count)
{
    uint64_t mean = total > 0 ? bytes / total + 1 : 1;
    uint64_t wanted = count < DISK_RUN_BYTES ? (uint64_t)count * (mean + mean / 8) : DISK_RUN_BYTES;
    return wanted < DISK_RUN_BYTES ? wanted : DISK_RUN_BYTES;
}

#endif
