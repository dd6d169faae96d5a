/* What a store's table rests on: a checkpoint that is too large to be read before serving, until
 * all of it was taken in; or a data file that is never touched. Private to the store folder. */
#ifndef STORE_BASE_H
#define STORE_BASE_H

#include "pack/checkpoint.h"
#include "store/store_internal.h"

struct base {
    struct tarn *store;
    struct checkpoint_file *file; /* NULL: none, or taken in */
    uint64_t file_records;
    size_t fold_bytes;    /* for a part of the data file that is noted and sorted */
    struct pack *pack;    /* the data file's, held by store->current; NULL: none */
    unsigned skipped;     /* shards that cannot be read; the background thread's */
    bool waits;           /* for room in memory; the background thread's */
    unsigned next;        /* shard to take in next; the background thread's */
    _Atomic int status;   /* not TARN_OK: it cannot be read, or does not fit in memory */
    _Atomic bool resting; /* on `file`: something is still to be taken in */
    pthread_mutex_t lock; /* of `failure` */
    char failure[256];
};

void base_init(struct base *b, struct tarn *store);
void base_close(struct base *b); /* the table is not used any more */

/* Have the table rest on a checkpoint, whose file is the base's from now on, on failure too. */
TARN_MUST int base_rest_on_checkpoint(struct base *b, struct checkpoint_file *file,
                                      const struct checkpoint_totals *totals,
                                      struct tarn_error *error);
/* ... or on a data file, of which store->current holds a reference. */
TARN_MUST int base_rest_on_pack(struct base *b, struct pack *pack, struct tarn_error *error);

/* Take in one shard, or all that are left; any thread, several at once, with a session of its own.
 * Views of the session stay. Errors: IO, CORRUPT, NOMEM; FULL: no room in memory. */
TARN_MUST int base_take_in_shard(struct base *b, struct tarn_session *session, unsigned shard,
                                 struct tarn_error *error);
TARN_MUST int base_take_in_all(struct base *b, struct tarn_error *error);
/* Take in a little; false: nothing is left, or no use. `session` is quiescent then. The background
 * thread's. */
bool base_take_in_some(struct base *b, struct tarn_session *session);

/* Fill in `loading` and what belongs to it. Any thread. */
void base_figures_get(struct base *b, struct tarn_log_stats *ret_stats);

/* As tarn_scan() and tarn_random_key(). */
TARN_MUST int base_scan(struct base *b, struct tarn_session *session, uint64_t *cursor,
                        size_t count, tarn_visit visit, void *context);
TARN_MUST int base_random_key(struct base *b, struct tarn_session *session, uint64_t random,
                              struct tarn_bytes *ret_key);

/* Write all there is, in the order of its hashes, into a checkpoint; nothing rests on another one.
 * The session is quiescent now and then. Errors: NOMEM, those of checkpoint_add(). */
TARN_MUST int base_write_all(struct base *b, struct tarn_session *session,
                             struct checkpoint_writer *writer, struct tarn_error *error);

#endif
