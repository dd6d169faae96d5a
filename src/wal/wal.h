/* The log being written: changes in, in order; records in files, synced as the dial says.
 *
 * wal_append() gives changes their sequences and puts them in memory; it is called under the locks
 * that order the changes (the table's shards), and does no input or output. One flusher a file
 * writes and syncs. How far that has come is three sequences: `written` (in the page cache: kept
 * when the process is killed), `durable` (synced), and `horizon`, up to which the dial allows
 * changes to be acknowledged. All three only grow, but for the horizon when the dial is turned, and
 * hold for every file: each change up to them is.
 *
 * Dial       horizon                                   synced
 * async      written + queue_depth                     when a segment is full, and at the end
 * periodic   written; durable if the oldest change     every period_us
 *            not synced is older than 2 periods
 * commit     durable                                   as soon as the sync before is done
 *
 * Failures. A failed sync, or a write that fails for other reasons than room, is never retried: the
 * log has failed for good, waiters get UNSURE, appends are refused. No room: the segment
 * is cut back to the last whole record, wal_state() says so, and the flusher tries again with a new
 * segment, now and then; what was appended stays in memory until then, and whoever waits for it
 * gets UNSURE at once unless the horizon had passed it. */
#ifndef WAL_WAL_H
#define WAL_WAL_H

#include "wal/replay.h"

struct wal;

enum wal_durability { WAL_ASYNC = 1, WAL_PERIODIC, WAL_COMMIT };

struct wal_settings {
    enum wal_durability durability;
    uint64_t queue_depth;       /* async: acknowledged changes that may not be written yet, >= 1 */
    uint64_t period_us;         /* periodic: >= 1 */
    unsigned files;             /* 1..WAL_FILES_MAX; only wal_open() looks at it */
    enum wal_encoding encoding; /* holds from the next segment on */
    uint64_t segment_bytes;     /* begin a new one when this is reached */
    uint64_t
        memory_bytes_max; /* of changes not yet written; wal_append() goes on, wal_admit() waits */
};

enum wal_level { WAL_ACKNOWLEDGED, WAL_WRITTEN, WAL_DURABLE };

struct wal_start {
    const char *directory;
    uint64_t store_id;
    uint64_t sequence;             /* the last one used */
    const struct replay_end *ends; /* of WAL_FILES_MAX files: number, sequence, checksum */
    /* Told, on a flusher's thread, when memory held for changes grows (> 0) or shrinks. */
    void (*charge)(void *context, int64_t bytes);
    /* Told, on a flusher's thread, when a sequence has become durable: before anybody who waits. */
    void (*synced)(void *context, uint64_t sequence);
    void *context;
};

/* Creates a new segment for each file (header synced, directory synced) and starts the flushers.
 * settings and start are copied. Errors: NOSPACE, IO, NOMEM, DENIED. */
TARN_MUST int wal_open(const struct os *os, const struct wal_settings *settings,
                       const struct wal_start *start, struct wal **ret_wal,
                       struct tarn_error *error);

/* Write and sync all, append the seal, stop. The error is that of the log if it had failed. The wal
 * is freed in any case. NULL is allowed. */
TARN_MUST int wal_close(struct wal *wal, struct tarn_error *error);

/* --- appending; any thread --- */

/* May changes be made now? OK, NOSPACE, IO (failed: for good). */
TARN_MUST int wal_state(const struct wal *wal);

/* Append `count` changes as one step: all or none of it is replayed. `hashes` deal them to files:
 * any numbers that go by the keys. Returns the last one's sequence; 0: refused, as the log has
 * failed or there is no memory, and nothing was appended. A full disk is no reason to refuse:
 * whoever makes changes asks wal_state() before, and what is under way by then is kept in memory.
 * The bytes are copied. */
TARN_MUST uint64_t wal_append(struct wal *wal, const struct change *changes, const uint64_t *hashes,
                              size_t count);

/* Something happened that could not be appended: the log has failed. Returns a sequence that will
 * never be reached. */
uint64_t wal_fail(struct wal *wal, const char *why);

/* Hold up whoever makes changes faster than they can be written; not under any lock. */
void wal_admit(struct wal *wal);

/* --- how far it has come; any thread --- */

bool wal_reached(const struct wal *wal, uint64_t sequence, enum wal_level level);

/* Wait until a sequence has reached a level; WRITTEN and DURABLE have it done now, whatever the
 * dial says. deadline_ns (monotonic clock; 0: none): CANCELLED when it comes. UNSURE: whether the
 * change is kept is not known: the log has failed, or (level ACKNOWLEDGED) there is no room. */
TARN_MUST int wal_wait(struct wal *wal, uint64_t sequence, enum wal_level level,
                       uint64_t deadline_ns);

/* Ask for it without waiting: DURABLE has a sync done soon. */
void wal_hurry(struct wal *wal, uint64_t sequence, enum wal_level level);

/* Have `wake` called, on any thread, after each advance and each change of state; it must be quick.
 * Not while a call of wake may be under way is it removed: wal_unlisten() waits for that. */
struct wal_listener {
    void (*wake)(void *context);
    void *context;
    struct wal_listener *next; /* the wal's */
};
void wal_listen(struct wal *wal, struct wal_listener *listener);
void wal_unlisten(struct wal *wal, struct wal_listener *listener);

/* --- segments --- */

/* End all present segments and begin new ones: every change up to *ret_sequence is in segments
 * before ret_first[file], every later one in these or later ones; the former are synced. Errors:
 * NOMEM, those of wal_state() if there was one meanwhile. */
TARN_MUST int wal_rotate(struct wal *wal, uint64_t *ret_sequence, uint64_t ret_first[WAL_FILES_MAX],
                         struct tarn_error *error);

/* Other settings, from now on (files: ignored). */
void wal_configure(struct wal *wal, const struct wal_settings *settings);

struct wal_figures {
    uint64_t sequence, written, durable, horizon;
    uint64_t bytes, records, syncs, segments; /* since wal_open() */
    uint64_t pending_bytes;                   /* in memory, not yet written */
    uint64_t sync_us_total, sync_us_max;
    uint64_t live_bytes; /* of segments since the last wal_rotate() */
    int state;           /* as wal_state() */
    char failure[256];   /* why, if not OK */
};
void wal_figures_get(struct wal *wal, struct wal_figures *ret_figures);

#endif
