/* What a store with a directory has beside its table: the log, the dial, checkpoints. Private to
 * the store folder. doc/durability.md. */
#ifndef STORE_DURABLE_H
#define STORE_DURABLE_H

#include "store/base.h"
#include "store/directory.h"
#include "store/store_internal.h"
#include "wal/wal.h"

struct durable {
    struct tarn *store;
    struct directory directory;
    struct wal *wal;
    struct table_journal journal;
    struct base base; /* what the table rests on */
    unsigned log_files;
    uint64_t idle_first[WAL_FILES_MAX]; /* next segments of files that the log no longer uses */
    bool checkpoint_at_close;

    pthread_mutex_t lock; /* of all below; never taken under a table's lock */
    pthread_cond_t changed;
    struct manifest manifest; /* as published; written by who runs a checkpoint or turns the dial */
    struct tarn_dial dial;
    bool journaled; /* changes go to the log */
    bool busy;      /* a checkpoint, a backup or a turn of the dial is under way: one at a time */
    bool checkpointing; /* ... and it is a checkpoint */
    bool wanted;        /* a checkpoint is */
    bool stopping;
    uint64_t checkpoint_tried;   /* the last number given to one */
    uint64_t runs;               /* checkpoints that ended, well or not */
    struct tarn_log_stats stats; /* of checkpoints and recovery; the rest is filled in when asked */
    uint64_t checkpoint_ns;      /* monotonic, when the last one ended or the store was opened */
    pthread_t thread;            /* runs checkpoints */
    bool thread_started;

    _Atomic int durability; /* enum tarn_durability, for the quick path */
    _Atomic uint64_t
        log_end; /* the log that counts ends with this sequence; UINT64_MAX: it goes on */
};

/* --- durable.c --- */

/* Open the directory of options, recover into store->table, start log and thread; sets
 * store->durable. Errors: those of tarn_open(). */
TARN_MUST int durable_open(struct tarn *store, const struct tarn_options *options,
                           struct tarn_error *error);
/* All sessions are closed. NULL is allowed. */
void durable_close(struct durable *d);

/* May this session change something now? OK, NOSPACE, IO. */
TARN_MUST int durable_admit(struct tarn_session *session);
/* After a call that gave `status`: wait, unless the session defers, until what it did or saw may be
 * told. The status, or UNSURE, or why it was refused. */
TARN_MUST int durable_settle(struct tarn_session *session, int status);

/* Have changes told to the log, or no more; no step is under way. */
void durable_journal(struct durable *d, bool on);

/* Take the right to run a checkpoint and the like; false: somebody has it. */
bool durable_take(struct durable *d);
void durable_give(struct durable *d);

struct wal_settings durable_settings(const struct tarn_dial *dial, unsigned files);

/* --- recover.c --- */

/* Whether the directory's changes are to a data file, and to this one: opens it if it is needed.
 * Errors: INVALID, STALE, those of pack_open(). */
TARN_MUST int durable_open_data_file(struct durable *d, struct tarn_error *error);

/* Read checkpoint and log into the table, cut a torn end, clean up. ret_ends: where the log's files
 * end; ret_sequence: the last one. */
TARN_MUST int durable_recover(struct durable *d, struct replay_end ret_ends[WAL_FILES_MAX],
                              uint64_t *ret_sequence, struct tarn_error *error);

/* --- checkpoint.c --- */

/* Run one on this thread, which has no session online; durable_take() was done. */
TARN_MUST int durable_checkpoint(struct durable *d, struct tarn_error *error);
int durable_thread_start(struct durable *d);
void durable_thread_stop(struct durable *d);

#endif
