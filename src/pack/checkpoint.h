/* The `tarn` format: what a checkpoint writes. Records with their expiries, in blocks that have
 * checksums, in one sequential pass; and reading it back whole. doc/format-tarn.md.
 *
 * header | block... | footer. A block is at most CHECKPOINT_BLOCK_BYTES unless it holds one record
 * only; its checksum is seeded by the file's salt and the block's number, so no block can stand in
 * for another. The footer counts blocks, records and bytes and sums the blocks' checksums. */
#ifndef PACK_CHECKPOINT_H
#define PACK_CHECKPOINT_H

#include "os/os.h"
#include "os/publish.h"
#include "tarn.h"

#define CHECKPOINT_BLOCK_BYTES (64u << 10)

struct checkpoint_about {
    uint64_t store_id; /* of the directory it belongs to; 0: of none */
    uint64_t sequence; /* every change up to this one is in it */
    int64_t time_ms;   /* when it was made; ms since 1970 */
};

struct checkpoint_totals {
    uint64_t records, expiring, blocks, bytes; /* bytes: the file's */
    uint64_t checksum;                         /* of all of it: what a manifest remembers */
};

/* --- writing; one thread --- */

struct checkpoint_writer;

/* Begin `path` (a temporary file beside it until the end). Errors: those of publish_open(), NOMEM.
 */
TARN_MUST int checkpoint_create(const struct os *os, const char *path,
                                const struct checkpoint_about *about,
                                struct checkpoint_writer **ret_writer, struct tarn_error *error);
/* Bounded memory: a block, or one large value which is written from where it lies. */
TARN_MUST int checkpoint_add(struct checkpoint_writer *w, const struct tarn_record *record,
                             struct tarn_error *error);
/* Write the footer, make it durable and visible; the writer is freed, on failure too. */
TARN_MUST int checkpoint_commit(struct checkpoint_writer *w, struct checkpoint_totals *ret_totals,
                                struct tarn_error *error);
void checkpoint_abort(struct checkpoint_writer *w); /* NULL is allowed */

/* --- reading --- */

/* Called with up to 64 records at a time, views that are valid during the call; stops the reading
 * by returning other than TARN_OK. */
typedef int (*checkpoint_apply)(void *context, const struct tarn_record *records, size_t count);

/* Read all of it, in order, each block only after its checksum was verified. apply may be NULL:
 * verify only. expected_checksum: what the totals' checksum must be; 0: any. damaged: NULL, or
 * (salvage) told of each bad block, which is skipped. Errors: MISSING, DENIED, IO, NOMEM, CORRUPT
 * (with offset), CANCELLED, what apply returned. */
TARN_MUST int checkpoint_read(const struct os *os, const char *path, uint64_t expected_checksum,
                              checkpoint_apply apply, void *context, tarn_progress progress,
                              void *progress_context, struct checkpoint_about *ret_about,
                              struct checkpoint_totals *ret_totals, uint64_t *damaged_blocks,
                              struct tarn_error *error);

#endif
