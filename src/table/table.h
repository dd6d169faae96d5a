/* The table: a concurrent hash table in memory (doc/table.md). What tarn.h says of writable stores
 * is done here; the contracts stand there, functions of the same name mean the same.
 *
 * Threads: a session belongs to one thread, which is registered with core/qsbr.h and online during
 * all calls with it; what they return is valid until its next quiescent state. */
#ifndef TABLE_TABLE_H
#define TABLE_TABLE_H

#include "core/change.h"
#include "os/os.h"
#include "tarn.h"

struct table;
struct table_session;
struct table_watch;
struct item_large;

/* Errors: NOMEM, IO. */
TARN_MUST int table_open(const struct os *os, uint64_t memory_bytes_max,
                         enum tarn_eviction eviction, struct table **ret_table,
                         struct tarn_error *error);
void table_close(struct table *t); /* all sessions are closed; NULL is allowed */

TARN_MUST int table_session_open(struct table *t, struct table_session **ret_session);
void table_session_close(struct table_session *s); /* the thread still registered */
/* Call before the thread's quiescent state: hands over what was retired. */
void table_session_quiescent(struct table_session *s);

/* --- table_read.c --- */
TARN_MUST int table_get(struct table_session *s, struct tarn_bytes key,
                        struct tarn_record *ret_record);
size_t table_get_many(struct table_session *s, const struct tarn_bytes *keys, size_t count,
                      struct tarn_bytes *ret_values);
size_t table_get_together(struct table_session *s, const struct tarn_bytes *keys, size_t count,
                          struct tarn_bytes *ret_values);
void table_prefetch(struct table_session *s, const struct tarn_bytes *keys, size_t count);
/* What is known of a key without looking at its value. TARN_OK or TARN_NOTFOUND. */
struct table_about {
    int64_t expire_ms; /* 0: never */
    size_t item_bytes; /* as allocated */
};
TARN_MUST int table_about(struct table_session *s, struct tarn_bytes key,
                          struct table_about *ret_about);

/* --- table_write.c --- */
TARN_MUST int table_put(struct table_session *s, const struct tarn_record *record);
TARN_MUST int table_put_many(struct table_session *s, const struct tarn_record *records,
                             size_t count);
TARN_MUST int table_prepare(struct table_session *s, const struct tarn_record *records,
                            size_t count);
TARN_MUST int table_put_if(struct table_session *s, const struct tarn_record *record,
                           tarn_condition condition, void *context);
TARN_MUST int table_delete(struct table_session *s, struct tarn_bytes key);
TARN_MUST int table_update(struct table_session *s, struct tarn_bytes key, tarn_change change,
                           void *context);
TARN_MUST int table_flush(struct table_session *s);
void table_begin(struct table_session *s, const struct tarn_bytes *keys, size_t count);
void table_end(struct table_session *s);

/* --- table_copy.c --- */
TARN_MUST int table_copy(struct table_session *s, struct tarn_bytes source,
                         struct tarn_bytes target, unsigned flags);

/* --- table_scan.c --- */
void table_scan(struct table_session *s, uint64_t *cursor, size_t count, tarn_visit visit,
                void *context);
/* The same with expiries. */
typedef void (*table_visit)(void *context, const struct tarn_record *record);
void table_scan_records(struct table_session *s, uint64_t *cursor, size_t count, table_visit visit,
                        void *context);
TARN_MUST int table_random_key(struct table_session *s, uint64_t random,
                               struct tarn_bytes *ret_key);

/* --- watch.c --- */
TARN_MUST int table_watch_open(struct table_session *s, struct tarn_bytes key,
                               struct table_watch **ret_watch);
bool table_watch_changed(const struct table_watch *watch);
void table_watch_close(struct table_watch *watch);

/* --- table.c --- */
int64_t table_now_ms(const struct table *t);
bool table_make_room(struct table_session *s); /* the caller takes the thread offline around it */
void table_limit(struct table *t, uint64_t memory_bytes_max, enum tarn_eviction eviction);
void table_charge(struct table *t, int64_t bytes);
uint64_t table_memory_used(const struct table *t);
void table_session_touches(struct table_session *s, bool touches);
void table_expire_actively(struct table *t, bool active);
void table_stats_get(struct table *t, struct tarn_stats *ret_stats);

/* --- journal.c: who keeps a log hears of every change --- */

/* Called under the locks of the shards concerned, before the change can be seen: append() must be
 * quick and must not call into the table. The changes, one step, are of the shards `shards`;
 * returns the last one's sequence, > 0; 0: refused, and the change does not happen. failed(): a
 * step that has happened could not be appended: nothing may be appended from now on; returns a
 * sequence that will never be kept. */
struct table_journal {
    void *context;
    uint64_t (*append)(void *context, const struct change *changes, const uint64_t *shards,
                       size_t count);
    uint64_t (*failed)(void *context);
};
/* From now on (NULL: no more). Between table_begin() with all shards and table_end(). */
void table_journal_set(struct table *t, const struct table_journal *journal);
/* Sessions note the sequences of what they read, too. */
void table_readers_wait(struct table *t, bool wait);
/* The highest sequence of a change that the session made or (if readers wait) may have seen since
 * this was last asked; 0: none. */
uint64_t table_session_sequence(struct table_session *s);
/* Do what a log says, to a table that is not journaled and in which nothing expires meanwhile. */
TARN_MUST int table_apply(struct table_session *s, const struct change *change);
/* Let nothing expire, until table_start_time(); the time is time_ms at least, wherever the system's
 * clock has been set since. */
void table_stop_time(struct table *t, int64_t time_ms);
void table_start_time(struct table *t);

/* Keep the item of this value; item_unref() of table/item.h lets it go. */
struct item_large *table_pin(struct tarn_bytes value);
void table_unpin(struct item_large *pin);

#endif
