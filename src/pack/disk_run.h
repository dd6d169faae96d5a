/* Runs of blocks of a data file on disk, read at once and one after the other: for all who go
 * through the data in its order. Private to disk_*.c. */
#ifndef PACK_DISK_RUN_H
#define PACK_DISK_RUN_H

#include "pack/disk.h"

struct disk_run {
    const struct disk_pack *pack;
    const unsigned char *data; /* of the bytes start..end of the file; sound */
    uint64_t start, end;
    uint64_t first_block, next_block; /* all blocks from the one to before the other */
};

/* Read the first block from `block` on that has records, and as many behind it as `bytes` have room
 * for. Those that are sound: if the first is not, its error, and ret_run->end is where it ends.
 * Views into `buffer`. NOTFOUND: there is no such block. Errors: IO, CORRUPT, STALE, NOMEM. */
TARN_MUST int disk_run_read(const struct disk_pack *pack, uint64_t block, uint64_t bytes,
                            struct disk_buffer *buffer, struct disk_run *ret_run,
                            struct tarn_error *error);

/* The record at byte `at` of the file, which is in the run. CORRUPT: none starts there. */
TARN_MUST int disk_run_record(const struct disk_run *run, uint64_t at, struct record *ret_record,
                              struct tarn_error *error);

/* Which records count: of each block those that do are found out together. Zeroed it is empty. */
struct disk_live {
    struct disk_buffer buffer; /* for blocks that the same hash leads to */
    uint32_t *slots;           /* of one block: places of records in it + 1, by key; 0: none */
    size_t slots_count, slots_capacity;
    uint64_t block; /* whose they are; UINT64_MAX: none */
};
void disk_live_init(struct disk_live *live);
void disk_live_done(struct disk_live *live);

/* TARN_OK: the record at `at` is the one that counts for its key; NOTFOUND: another is. Where no
 * key is repeated that is known at once; else it may take reads of blocks (and pages) elsewhere.
 * Errors: as disk_find(). */
TARN_MUST int disk_live_check(struct disk_live *live, const struct disk_run *run, uint64_t at,
                              const struct record *record, struct tarn_error *error);

/* TARN_OK: lookups of the key come to this block before they find it in another; NOTFOUND: they do
 * not. Errors: as disk_find(). */
TARN_MUST int disk_leads_to(const struct disk_pack *pack, struct disk_buffer *buffer,
                            struct tarn_bytes key, uint64_t block, struct tarn_error *error);

#endif
