/* Replaying a log: all its files' segments, merged by sequence, to a function that applies each
 * change; and the rule by which a torn end is told from damage (doc/durability.md).
 *
 * Tail rule. A record that is not sound is damage if a later segment of its file exists, or any
 * later record of any file was made when its sequence was known to be synced, or the caller knows
 * that it was (sequence <= synced_upto): CORRUPT, with file and offset. Otherwise the log ends
 * before it: what follows was never promised to anybody. Then every file is cut after the last
 * sequence of the unbroken run, and never within a step of several changes. */
#ifndef WAL_REPLAY_H
#define WAL_REPLAY_H

#include "wal/segment.h"

struct replay_start {
    const char *directory;
    uint64_t store_id;
    uint64_t after;        /* replay sequences above this one */
    uint64_t synced_upto;  /* is known to have been synced: a log that ends below is damaged */
    unsigned files;        /* files that the log has had since: 0..files-1 */
    const uint64_t *last;  /* NULL, or of each the number of the last segment that counts; 0: all */
    const uint64_t *first; /* of each the number of the first segment to read; a file without
                              segments has `first` as its next number */
    bool closed;           /* is known to have been closed: all of it was synced */
    bool repair;           /* salvage: skip what is damaged, take what is sound, in order */
};

struct replay_result {
    uint64_t records, bytes; /* applied, read */
    uint64_t sequence;       /* the last one of the run */
    uint64_t truncated_bytes,
        truncated_records;           /* of the torn end; records where they were sound */
    uint64_t damaged_places;         /* repair only */
    bool sealed;                     /* every file ends with its seal: the store was closed */
    struct replay_end {              /* where each file ends */
        uint64_t number;             /* of its last segment; 0: none */
        uint64_t size;               /* bytes of it that count; the rest is to be cut */
        uint64_t sequence, checksum; /* of its last record */
    } ends[WAL_FILES_MAX];
};

/* Called in the order of sequences; stops the replay by returning other than TARN_OK. */
typedef int (*replay_apply)(void *context, uint64_t sequence, const struct change *change);

/* Reads only. progress may be NULL. Errors: CORRUPT (error->text names file, offset and what to
 * do), MISSING (a segment), IO, NOMEM, what apply returned. */
TARN_MUST int replay(const struct os *os, const struct replay_start *start, replay_apply apply,
                     void *context, tarn_progress progress, void *progress_context,
                     struct replay_result *ret_result, struct tarn_error *error);

/* Cut the torn end that replay() found from the files, and make what is left durable. If
 * result->sequence is below start->synced_upto (of a step that is not whole, a part had been
 * synced), see to it before that the next replay is told of no more than result->sequence. */
TARN_MUST int replay_truncate(const struct os *os, const struct replay_start *start,
                              const struct replay_result *result, struct tarn_error *error);

#endif
