/* The `tarn` format: what a checkpoint writes, and what a data file is rewritten to. Records with
 * their expiries, ordered by their keys' hash, in blocks that have checksums, and a directory of
 * the blocks; reading it back whole, and looking keys up where they lie. doc/format-tarn.md.
 *
 * header | block... | directory page... | top | footer. A block is at most block_bytes large unless
 * it holds one record only; its checksum is seeded by the file's salt and the block's
 * number, so no block can stand in for another. The directory has each block's first hash and its
 * offset, the top the same of each page of the directory. The footer counts blocks, records and
 * bytes and sums the checksums of all the rest. */
#ifndef PACK_CHECKPOINT_H
#define PACK_CHECKPOINT_H

#include "core/hash.h"
#include "os/os.h"
#include "os/publish.h"
#include "tarn.h"

#define CHECKPOINT_BLOCK_BYTES     (16u << 10) /* of version 2, and the least of version 3 */
#define CHECKPOINT_BLOCK_BYTES_MAX (64u << 10)

struct checkpoint_about {
    uint64_t store_id;    /* of the directory it belongs to; 0: of none */
    uint64_t sequence;    /* every change up to this one is in it */
    int64_t time_ms;      /* when it was made; ms since 1970 */
    uint32_t block_bytes; /* 0: version 2, blocks of CHECKPOINT_BLOCK_BYTES; else version 3, whose
                             large values can be read by pieces: a power of two from that to
                             CHECKPOINT_BLOCK_BYTES_MAX */
    unsigned char secret[HASH_SECRET_BYTES]; /* keys are hashed with it: hash_key() */
};

struct checkpoint_totals {
    uint64_t records, expiring, blocks;
    uint64_t payload_bytes; /* of keys and values */
    uint64_t bytes;         /* the file's */
    uint64_t checksum;      /* of all of it: what a manifest remembers */
};

/* --- writing; one thread --- */

struct checkpoint_writer;

/* Begin `path` (a temporary file beside it until the end). Errors: those of publish_open(), NOMEM.
 */
TARN_MUST int checkpoint_create(const struct os *os, const char *path,
                                const struct checkpoint_about *about,
                                struct checkpoint_writer **ret_writer, struct tarn_error *error);
/* hash: hash_key(about.secret, record->key), not lower than that of the record before. No key may
 * be there twice. Memory: some blocks, and 16 bytes for each block of the file; a large value is
 * written from where it lies. Errors: INVALID (hash), TOOBIG: nothing was added, the writer goes
 * on; else (IO, NOSPACE, NOMEM) it does not. */
TARN_MUST int checkpoint_add(struct checkpoint_writer *w, const struct tarn_record *record,
                             uint64_t hash, struct tarn_error *error);
/* The same of a record whose value is not in memory: record->value.data is NULL, its size right,
 * and `fetch` is asked for it from its begin to its end, some MiB at most at a time, at any record
 * of version 3 whose value is larger than CHECKPOINT_FETCH_BYTES; for others it must be there. */
#define CHECKPOINT_FETCH_BYTES (1u << 20)
typedef int (*checkpoint_fetch)(void *context, uint64_t at, void *data, size_t size,
                                struct tarn_error *error);
TARN_MUST int checkpoint_add_far(struct checkpoint_writer *w, const struct tarn_record *record,
                                 uint64_t hash, checkpoint_fetch fetch, void *context,
                                 struct tarn_error *error);
/* Write the rest, make it durable and visible; the writer is freed, on failure too. */
TARN_MUST int checkpoint_commit(struct checkpoint_writer *w, struct checkpoint_totals *ret_totals,
                                struct tarn_error *error);
void checkpoint_abort(struct checkpoint_writer *w); /* NULL is allowed */

/* --- reading --- */

/* Called with up to CHECKPOINT_APPLY_RECORDS records at a time, views that are valid during the
 * call; stops the reading by returning other than TARN_OK. */
typedef int (*checkpoint_apply)(void *context, const struct tarn_record *records, size_t count);

#define CHECKPOINT_APPLY_RECORDS 64

/* Read all of it, in order, each block only after its checksum was verified; the order of the
 * hashes and the directory are verified too. apply may be NULL: verify only. expected_checksum:
 * what the totals' checksum must be; 0: any. damaged: NULL, or (salvage) what is not sound is
 * skipped and counted here; of a sound block no record is lost because the directory is damaged.
 * Errors: MISSING, DENIED, IO, NOMEM, CORRUPT (with offset), CANCELLED, what apply returned. */
TARN_MUST int checkpoint_read(const struct os *os, const char *path, uint64_t expected_checksum,
                              checkpoint_apply apply, void *context, tarn_progress progress,
                              void *progress_context, struct checkpoint_about *ret_about,
                              struct checkpoint_totals *ret_totals, uint64_t *damaged_blocks,
                              struct tarn_error *error);

/* --- looking up; any number of threads at a time --- */

struct checkpoint_file; /* does not change while it is open */

/* Reads and verifies the header, the footer and the top (16 bytes for 4 MB of records), no more; so
 * a damaged block or page is met only by what looks there. The file must not be changed while it is
 * open; it may be unlinked. os is borrowed until checkpoint_close(). Errors: MISSING, DENIED, IO,
 * NOMEM, CORRUPT; INVALID: another version. */
TARN_MUST int checkpoint_open(const struct os *os, const char *path, uint64_t expected_checksum,
                              struct checkpoint_file **ret_file, struct checkpoint_about *ret_about,
                              struct checkpoint_totals *ret_totals, struct tarn_error *error);
void checkpoint_close(struct checkpoint_file *file); /* NULL is allowed; nobody uses it any more */

/* The record of a key whose hash is this. Views into scratch, valid until it is used again; its
 * memory grows to a block's and is kept, so that mostly none is asked for. TARN_OK, NOTFOUND
 * (*error is as it was). Errors: IO; CORRUPT, with path and offset: the key may or may not be
 * there; NOMEM. */
TARN_MUST int checkpoint_find(const struct checkpoint_file *file, struct tarn_bytes key,
                              uint64_t hash, struct buffer *scratch, struct tarn_record *ret_record,
                              struct tarn_error *error);

/* All records whose hashes lie from first_hash to last_hash, both included, in their order. Memory:
 * 256 KiB, or what the largest block needs. Errors: IO, CORRUPT, NOMEM, what apply returned; some
 * records may have been given out by then. */
TARN_MUST int checkpoint_range(const struct checkpoint_file *file, uint64_t first_hash,
                               uint64_t last_hash, checkpoint_apply apply, void *context,
                               struct tarn_error *error);

#endif
