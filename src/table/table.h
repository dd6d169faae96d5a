/* The table: a concurrent hash table in memory (doc/table.md). What tarn.h says of writable stores
 * is done here; the contracts stand there, functions of the same name mean the same.
 *
 * Threads: a session belongs to one thread, which is registered with core/qsbr.h and online during
 * all calls with it; what they return is valid until its next quiescent state. */
#ifndef TABLE_TABLE_H
#define TABLE_TABLE_H

#include "core/buffer.h"
#include "core/change.h"
#include "core/hash.h"
#include "os/os.h"
#include "tarn.h"

/* The highest bits of a key's hash tell its shard. */
#define TABLE_SHARD_BITS 12
#define TABLE_SHARDS     (1u << TABLE_SHARD_BITS)

static inline uint32_t table_shard_of(uint64_t hash)
{
    return (uint32_t)(hash >> (64 - TABLE_SHARD_BITS));
}

/* The lowest and the highest hash of a shard's keys. */
static inline uint64_t table_hash_first(uint32_t shard)
{
    return (uint64_t)shard << (64 - TABLE_SHARD_BITS);
}

static inline uint64_t table_hash_last(uint32_t shard)
{
    return table_hash_first(shard) + (((uint64_t)1 << (64 - TABLE_SHARD_BITS)) - 1);
}

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
/* Of one shard's part of a scan: which one a cursor is at; and a scan that ends before the shard
 * `end`, with a cursor that is there (0: that was the last). Returns how many were visited. */
unsigned table_scan_shard(uint64_t cursor);
size_t table_scan_until(struct table_session *s, uint64_t *cursor, unsigned end, size_t count,
                        tarn_visit visit, void *context);
/* Everything that the table has of one shard, of which there are TABLE_SHARDS, in the order of the
 * hashes by the table's secret, each key once. record->value.data NULL: the key is not there. Views
 * as those of table_get(). Stops by what visit returns other than TARN_OK. Errors: NOMEM. */
typedef int (*table_visit_ordered)(void *context, uint64_t hash, const struct tarn_record *record);
TARN_MUST int table_scan_ordered(struct table_session *s, uint32_t shard, table_visit_ordered visit,
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
/* After much was put while time stood still: shards that have room for many more items than they
 * have give it back. The session is to be quiescent soon. Errors: NOMEM: some have not. */
TARN_MUST int table_fit(struct table_session *s);

/* --- base.c: records that lie under the table --- */

/* They hold as long as the table has nothing of their keys. */
struct table_base {
    void *context;
    uint64_t records;
    /* Records lie in memory as long as the base is set: views of them are given to readers. Else
     * they are read into `scratch`, and what was read is adopted as an item. */
    bool stays;
    /* Any thread, several at once. hash: hash_key() by the table's secret. TARN_OK, NOTFOUND; IO,
     * CORRUPT, NOMEM. */
    int (*find)(void *context, struct tarn_bytes key, uint64_t hash, struct buffer *scratch,
                struct tarn_record *ret_record);
};
/* Once, while the table is empty and no session is open. Errors: NOMEM. */
TARN_MUST int table_base_set(struct table *t, const struct table_base *base);
/* Does this shard (the hash's highest TABLE_SHARD_BITS bits) still rest on the base? */
bool table_base_rests(const struct table *t, uint32_t shard);
/* ... and this key's. */
bool table_key_rests(struct table_session *s, struct tarn_bytes key);
/* Keys that the base does not have; exact if it stays. */
uint64_t table_own_keys(struct table *t);
/* About so many records of this shard are going to be taken in. */
void table_base_expect(struct table_session *s, uint32_t shard, uint64_t records);
/* Take these records of the base in, at most 64, but those that the table has something of. Errors:
 * FULL, NOMEM: some of them. */
TARN_MUST int table_adopt(struct table_session *s, const struct tarn_record *records, size_t count);
/* All records of this shard, so many, were taken in: it does not rest on the base any more. Errors:
 * NOMEM. */
TARN_MUST int table_base_done(struct table_session *s, uint32_t shard, uint64_t records);
/* No shard rests on it any more: the base will not be asked again. Waits for grace periods. */
void table_base_forget(struct table *t);

/* How keys are hashed; set only while the table is empty and no session is open. */
void table_secret_get(const struct table *t, unsigned char ret_secret[HASH_SECRET_BYTES]);
void table_secret_set(struct table *t, const unsigned char secret[HASH_SECRET_BYTES]);

/* Keep the item of this value; item_unref() of table/item.h lets it go. */
struct item_large *table_pin(struct tarn_bytes value);
void table_unpin(struct item_large *pin);

#endif
