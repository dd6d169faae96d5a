/* Shards: one array of buckets each, with a lock for its writers. Private to the table folder.
 *
 * Readers take no lock: they load `array` (acquire), then a bucket's tags, a slot and the item,
 * each published by one store (release). While SHARD_BUSY is set, a change of several keys is
 * half-way: readers wait for the lock.
 *
 * `version` is odd while a change is being made and even between; who needs several keys at one
 * moment reads it before and after (a seqlock; Lameter, "Effective synchronization on Linux/NUMA
 * systems", 2005).
 *
 * Lock order: shards by their number; then a slab arena. Functions in _locked need the lock. */
#ifndef TABLE_SHARD_H
#define TABLE_SHARD_H

#include <pthread.h>

#include "table/bucket.h"
#include "table/table.h"

#define SHARD_BUSY 1u /* in `array` */

struct watch_list;

struct shard {
    _Atomic uintptr_t array; /* struct array *, and SHARD_BUSY */
    _Atomic uint64_t version;
    pthread_mutex_t lock;
    struct table_watch *watches; /* of keys of this shard; the lock's */
};
_Static_assert(sizeof(struct shard) == CACHE_LINE_BYTES, "one cache line");

/* Counted without a lock; each session has one stripe, which a few may share. */
struct stripe {
    _Atomic int64_t items, expiring;
    _Atomic int64_t expire_ms_sum; /* of all expiring items, relative to the table's start */
    _Atomic uint64_t expired, evicted;
} __attribute__((aligned(CACHE_LINE_BYTES)));
#define STRIPES 16u

struct reclaim;

struct table {
    const struct os *os;
    struct budget budget;
    struct slab *slab;
    struct reclaim *reclaim;
    unsigned char secret[HASH_SECRET_BYTES];
    int64_t start_ms;         /* real time when it was opened, ms since 1970 ... */
    uint64_t start_ns;        /* ... and the monotonic clock then */
    _Atomic int eviction;     /* enum tarn_eviction */
    _Atomic bool expire_actively;
    _Atomic unsigned sessions_opened;
    _Atomic uint64_t array_bytes, charged_bytes;
    struct stripe stripes[STRIPES];
    struct shard shards[TABLE_SHARDS];
};

/* One thread's handle. */
struct table_session {
    struct table *table;
    unsigned arena, stripe;
    bool touches;  /* reads set the visited bit where the policy needs it */
    bool locked;   /* between table_begin() and table_end() */
    bool changing; /* ... whose shards are marked busy and odd */
    struct retired *retired; /* what was taken out since they were last handed over */
    uint64_t locked_shards[TABLE_SHARDS / 64];
    uint64_t versions[TABLE_SHARDS]; /* scratch of table_get_together() */
};

static inline struct array *shard_array_locked(const struct shard *shard)
{
    uintptr_t array = atomic_load_explicit(&shard->array, memory_order_relaxed);
    return (struct array *)(array & ~(uintptr_t)SHARD_BUSY);
}

static inline struct place table_place(const struct table *t, struct tarn_bytes key)
{
    return place_of_hash(hash_key(t->secret, key));
}

/* Lock a shard for one change, and end that. Inside table_begin() both do nothing. */
void shard_lock(struct table_session *s, uint32_t shard);
void shard_unlock(struct table_session *s, uint32_t shard);
/* Between the two: a change is about to be published, or was. Readers that need one moment retry. */
void shard_change_begin_locked(struct table_session *s, uint32_t shard);
void shard_change_end_locked(struct table_session *s, uint32_t shard);

/* A slot of an array. */
struct position {
    struct array *array;
    uint32_t bucket;
    unsigned slot;
};

/* Find a key, expired or not; returns its slot's word, 0: not there. */
uint64_t shard_find_locked(const struct shard *shard, uint32_t place_index, struct tarn_bytes key,
                           struct position *ret_position);

/* Take the item at a position out: counted, watched, retired. Needs lock and change_begin. */
void shard_remove_locked(struct table_session *s, uint32_t shard, struct position position);
/* Put another item with the same key in its place (the old one is retired). item: not yet seen by
 * anybody. */
void shard_replace_locked(struct table_session *s, uint32_t shard, struct position position,
                          struct item *item);

/* The bucket where the item at a position belongs (it may have been displaced from there). */
uint32_t position_home(struct position position);

/* The static array of a shard without items; it is never written. */
extern struct array shard_empty;

/* --- arrays: array.c --- */

/* An empty array; NULL: no memory within the budget. */
struct array *array_new(struct table *t, uint32_t buckets_count);
void array_free(struct table *t, struct array *array); /* not its items */
/* A copy with room for items_count items; NULL as array_new(). */
struct array *array_rebuild(struct table *t, const struct array *array, uint32_t items_count);
/* Put an item that is not there into a free slot: displaced counts first, then slot, then tag. */
void array_insert(struct array *array, uint32_t place_index, uint64_t slot);
/* Empty a slot: tag first. The displaced counts on its way are taken back. */
void array_remove(struct array *array, uint32_t bucket, unsigned slot);

/* Note that an item in this bucket expires then. now_ms: by table_now_ms(). */
void array_note_expiry(struct array *array, uint32_t bucket, int64_t expire_ms, int64_t now_ms);

/* --- watches: watch.c --- */

/* A key is about to change, or (key data NULL) every key of the shard. */
void watch_notify_locked(struct shard *shard, struct tarn_bytes key);

#endif
