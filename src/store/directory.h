/* The directory a store lives in: who holds it, and what its files mean. doc/durability.md.
 *
 *     LOCK             held (OFD lock) by the process that has the store open
 *     MANIFEST         which files count; replaced whole, never changed
 *     SYNCED           the highest sequence known to be synced; written after a sync, not synced
 * itself checkpoint-N     everything up to a sequence wal-F-N.log      changes after it
 *
 * Anything else is not ours: left alone, but for our own leftovers (*.tmp.*, files that the
 * manifest does not reach), which are removed once a store is open. */
#ifndef STORE_DIRECTORY_H
#define STORE_DIRECTORY_H

#include "wal/segment.h"

struct manifest {
    uint64_t store_id;
    uint64_t generation;          /* +1 with each manifest */
    uint64_t checkpoint_number;   /* 0: none yet */
    uint64_t checkpoint_checksum; /* of its totals */
    uint64_t sequence; /* every change up to this one is in the checkpoint; the log goes on */
    uint64_t sequence_needed; /* the log must reach this one: the checkpoint may know as much */
    bool closed;              /* cleanly, with closed_sequence as the last one */
    uint64_t closed_sequence;
    int64_t time_ms;               /* the latest time known; the clock does not go back before it */
    unsigned files;                /* that the log has had */
    uint64_t first[WAL_FILES_MAX]; /* first segment of each that counts */
    bool over_data;                /* the first checkpoint's records come from a data file ... */
    uint64_t data_bytes;           /* ... of this size ... */
    uint64_t data_checksum;        /* ... and content: as its index has it */
    uint64_t last[WAL_FILES_MAX];  /* last one that counts; 0: all there are. Set while changes are
                                      made that no log knows of. */
};

struct directory {
    const struct os *os;
    char *path;
    uint64_t store_id;
    int lock_fd, synced_fd; /* -1: not open */
};

/* Create it if it is not there, lock it, read the manifest (zero: a new directory). readonly:
 * create nothing. Errors: BUSY (another process; says so), DENIED, INVALID (a file; a directory
 * with other things in it and no manifest), CORRUPT, MISSING (readonly). */
TARN_MUST int directory_open(const struct os *os, const char *path, bool readonly,
                             struct directory *ret_directory, struct manifest *ret_manifest,
                             struct tarn_error *error);
/* A new directory, which must not be there yet, for files of this store; it has no manifest.
 * Errors: INVALID (there is something of that name), DENIED, IO, NOSPACE, NOMEM. */
TARN_MUST int directory_create(const struct os *os, const char *path, uint64_t store_id,
                               struct directory *ret_directory, struct tarn_error *error);
void directory_close(struct directory *d);

/* Errors: MISSING, CORRUPT, and those of reading. */
TARN_MUST int directory_read_manifest(struct directory *d, struct manifest *ret_manifest,
                                      struct tarn_error *error);
/* Publish a manifest: it holds from now on, or the old one does. */
TARN_MUST int directory_put_manifest(struct directory *d, const struct manifest *manifest,
                                     struct tarn_error *error);

/* Make the names in it durable, whoever gave them. */
TARN_MUST int directory_sync(struct directory *d, struct tarn_error *error);

/* The mark of what is synced. A missing or damaged one of a directory that has a manifest: CORRUPT.
 */
void directory_mark_synced(struct directory *d, uint64_t sequence);
/* Make it durable that less counts as synced: what had been was cut. */
TARN_MUST int directory_lower_synced(struct directory *d, uint64_t sequence,
                                     struct tarn_error *error);
TARN_MUST int directory_read_synced(struct directory *d, uint64_t *ret_sequence,
                                    struct tarn_error *error);

/* "checkpoint-0000000003". */
#define DIRECTORY_NAME_BYTES 40
void directory_checkpoint_name(uint64_t number, char ret_name[DIRECTORY_NAME_BYTES]);
bool directory_checkpoint_parse(const char *name, uint64_t *ret_number);

/* Path of a file in it; the caller frees. NULL: no memory. */
char *directory_path(const struct directory *d, const char *name);

/* Remove what no manifest of this directory can mean any more. Failures are no harm. */
void directory_clean(struct directory *d, const struct manifest *manifest);

#endif
