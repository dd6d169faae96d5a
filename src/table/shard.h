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

#include "core/buffer.h"
#include "core/lock.h"
#include "table/bucket.h"
#include "table/table.h"

#define SHARD_BUSY 1u /* in `array` */

struct table_watch;

struct shard {
    _Atomic uintptr_t array; /* struct array *, and SHARD_BUSY */
    _Atomic uint64_t version;
    struct lock lock;
    struct table_watch *watches; /* of keys of this shard; the lock's */
    _Atomic uint64_t sequence;   /* of the last change, if they are told of: journal.h */
} __attribute__((aligned(CACHE_LINE_BYTES)));
_Static_assert(sizeof(struct shard) == CACHE_LINE_BYTES, "one cache line");

/* Counted without a lock; each session has one stripe, which a few may share. */
struct stripe {
    _Atomic int64_t items, expiring;
    _Atomic int64_t expire_ms_sum; /* of all expiring items, see expiry_term() */
    _Atomic uint64_t expired, evicted;
} __attribute__((aligned(CACHE_LINE_BYTES)));
#define STRIPES 16u

struct reclaim;
struct gathered;
struct under;

struct table {
    const struct os *os;
    struct budget budget;
    struct slab *slab;
    struct item_memory items;
    struct reclaim *reclaim;
    unsigned char secret[HASH_SECRET_BYTES];
    int64_t start_ms;         /* real time when it was opened, ms since 1970 ... */
    uint64_t start_ns;        /* ... and the monotonic clock then */
    _Atomic int64_t ahead_ms; /* the clock had been set back since it was last seen */
    _Atomic int eviction;     /* enum tarn_eviction */
    _Atomic bool expire_actively;
    _Atomic bool timeless; /* nothing expires */
    _Atomic bool readers_wait;
    _Atomic(const struct table_journal *) journal; /* NULL: nobody is told */
    _Atomic(struct under *) under;                 /* NULL: there is no base; base.h */
    struct under *under_owned;
    _Atomic unsigned sessions_opened;
    _Atomic uint64_t array_bytes, slab_array_bytes, charged_bytes;
    struct stripe stripes[STRIPES];
    /* Of each shard the earliest due time of its buckets, or one before it; 0: none. Written under
     * the shard's lock. */
    _Atomic due_time due_first[TABLE_SHARDS];
    struct shard shards[TABLE_SHARDS];
};

/* One thread's handle. */
struct table_session {
    struct table *table;
    unsigned arena, stripe;
    bool touches; /* reads set the visited bit where the policy needs it */
    bool locked;  /* between table_begin() and table_end(): locked_shards are busy and odd */
    struct retired *retired;   /* what was taken out since they were last handed over */
    uint64_t short_bytes;      /* what it last failed to get */
    unsigned waits;            /* for memory, since something was last published */
    uint64_t sequence;         /* table_session_sequence() */
    struct gathered *gathered; /* changes of a step; NULL: there were none so far */
    struct buffer scratch;     /* a record that was read from the base */
    uint64_t locked_shards[TABLE_SHARDS / 64];
    uint64_t versions[TABLE_SHARDS]; /* scratch of table_get_together() */
};

static inline struct array *shard_array_locked(const struct shard *shard)
{
    uintptr_t array = atomic_load_explicit(&shard->array, memory_order_relaxed);
    return (struct array *)(array & ~(uintptr_t)SHARD_BUSY);
}

/* As shard_array_locked(), for those without the lock: what the array holds may be looked at. */
static inline struct array *shard_array(const struct shard *shard)
{
    uintptr_t array = atomic_load_explicit(&shard->array, memory_order_acquire);
    return (struct array *)(array & ~(uintptr_t)SHARD_BUSY);
}

/* The array that readers are to use now; waits while a change of several keys is half-way. */
static inline const struct array *table_array_for_reading(const struct table_session *s, uint32_t i)
{
    struct shard *shard = &s->table->shards[i];
    uintptr_t array = atomic_load_explicit(&shard->array, memory_order_acquire);
    while (__builtin_expect((array & SHARD_BUSY) != 0 && !s->locked, 0)) {
        lock_take(&shard->lock);
        lock_give(&shard->lock);
        array = atomic_load_explicit(&shard->array, memory_order_acquire);
    }
    return (const struct array *)(array & ~(uintptr_t)SHARD_BUSY);
}

static inline struct stripe *table_stripe(const struct table_session *s)
{
    return &s->table->stripes[s->stripe];
}

/* Do reads of this session leave the visited bit behind? */
static inline bool session_marks(const struct table_session *s)
{
    int eviction = atomic_load_explicit(&s->table->eviction, memory_order_relaxed);
    return s->touches &&
           (eviction == TARN_EVICT_ALL_SIEVE || eviction == TARN_EVICT_EXPIRING_SIEVE);
}

/* Is a time of expiry (0: never) over? *now_ms: 0, or the time taken before. */
static inline bool table_expired(const struct table *t, int64_t expire_ms, int64_t *now_ms)
{
    if (__builtin_expect(expire_ms == 0, 1))
        return false;
    if (expire_ms == ITEM_DEAD_MS)
        return true;
    if (atomic_load_explicit(&t->timeless, memory_order_relaxed))
        return false;
    if (*now_ms == 0)
        *now_ms = table_now_ms(t);
    return expire_ms <= *now_ms;
}

static inline struct place table_place(const struct table *t, struct tarn_bytes key)
{
    return place_of_hash(hash_key(t->secret, key));
}

/* Between table_begin() and table_end(): is this shard among those that the session has locked? */
bool shard_is_locked(const struct table_session *s, uint32_t shard);

/* Lock a shard for one change, and end that. Inside table_begin() both do nothing. */
void shard_lock(struct table_session *s, uint32_t shard);
void shard_unlock(struct table_session *s, uint32_t shard);
/* Between the two: a change is about to be published, or was. Readers that need one moment retry.
 */
void shard_change_begin_locked(struct table_session *s, uint32_t shard);
void shard_change_end_locked(struct table_session *s, uint32_t shard);

/* Set the bits of the keys' shards in s->locked_shards, and no others; keys NULL: all. */
void session_note_shards(struct table_session *s, const struct tarn_bytes *keys, size_t count);

/* Lock the shards whose bits are set in s->locked_shards, in order, and unlock them. */
void shards_lock(struct table_session *s);
void shards_unlock(struct table_session *s);
/* Mark them busy and odd, and take that back. */
void shards_change_begin_locked(struct table_session *s);
void shards_change_end_locked(struct table_session *s);

/* The slot of a key in an array that may be shared with a writer, 0: not there. */
static inline uint64_t array_find(const struct array *array, uint32_t place_index,
                                  struct tarn_bytes key, uint32_t *ret_bucket, unsigned *ret_slot)
{
    uint32_t b = place_bucket(array, place_index);
    unsigned tag = place_tag(place_index);
    uint64_t high = place_index / TAGS;
    for (uint32_t n = 0; n < array->buckets_count; n++) {
        const struct bucket *bucket = &array->buckets[b];
        uint64_t tags = atomic_load_explicit(&bucket->tags, memory_order_acquire);
        for (unsigned match = tags_match(tags, tag); match != 0; match &= match - 1) {
            unsigned i = (unsigned)__builtin_ctz(match);
            uint64_t slot = atomic_load_explicit(&bucket->slots[i], memory_order_acquire);
            if (slot >> 48 != high || (slot & SLOT_ADDRESS_MASK) == 0)
                continue;
            if (bytes_equal(item_parts(slot_item(slot)).key, key)) {
                *ret_bucket = b;
                *ret_slot = i;
                return slot;
            }
        }
        if (tags_displaced(tags) == 0)
            return 0;
        if (++b == array->buckets_count)
            b = 0;
    }
    return 0;
}

/* A slot of an array. */
struct position {
    struct array *array;
    uint32_t bucket;
    unsigned slot;
};

/* Make room for one more item (beyond the pending ones) by rebuilding the array if it is time;
 * false: no memory, and no free slot at all. Needs reclaim_reserve(s, 1). */
bool shard_make_room_locked(struct table_session *s, uint32_t shard);
/* So many more items are to come: make room for them at once, if there is memory. Needs
 * reclaim_reserve(s, 1). */
void shard_expect_locked(struct table_session *s, uint32_t shard, uint32_t more);
/* Make the shard's array one where items can expire, before a position in it is looked for and an
 * item that expires is published; false: no memory. Needs reclaim_reserve(s, 1). */
bool shard_make_dues_locked(struct table_session *s, uint32_t shard);
/* Put an item in whose key is not there; there is room. Needs change_begin. */
void shard_insert_locked(struct table_session *s, uint32_t shard, uint32_t place_index,
                         struct item *item);

/* The same for a record of the base, or a dead item over it: no change, so nobody is told of it. */
void shard_adopt_locked(struct table_session *s, uint32_t shard, uint32_t place_index,
                        struct item *item);

/* Find a key, expired or dead or not; returns its slot's word, 0: not there. */
uint64_t shard_find_locked(const struct shard *shard, uint32_t place_index, struct tarn_bytes key,
                           struct position *ret_position);

/* Take the item at a position out: counted, watched, retired; if it covers a record of the base, a
 * dead one stays in its place. A dead item stays as it is. Needs lock and change_begin. */
void shard_remove_locked(struct table_session *s, uint32_t shard, struct position position);
/* As shard_remove_locked() with a change of its own, for an item whose time is over: counted. */
void shard_remove_expired_locked(struct table_session *s, uint32_t shard, struct position position);
/* Take a dead item out, which is no change. */
void shard_drop_dead_locked(struct table_session *s, struct position position);
/* Put another item with the same key in its place (the old one is retired). item: not yet seen by
 * anybody. */
void shard_replace_locked(struct table_session *s, uint32_t shard, struct position position,
                          struct item *item);

/* A large item was changed in place from one expiry to another: slot, due time and counts follow.
 */
void shard_set_expiry_locked(struct table_session *s, uint32_t shard, struct position position,
                             int64_t before_ms, int64_t expire_ms);

/* Publish another array of the same items (or none); the old one is retired as `kind`. Needs
 * change_begin and reclaim_reserve(s, 1). */
enum retired_kind {
    RETIRED_ITEM,
    RETIRED_ARRAY,       /* an array that was rebuilt: its items live on */
    RETIRED_ARRAY_ITEMS, /* an array with all its items (flush) */
};
void shard_set_array_locked(struct table_session *s, uint32_t shard, struct array *array,
                            enum retired_kind kind);

/* The array of every shard that has never had an item, or was flushed; it is never written. */
extern struct array shard_empty;

/* --- arrays: array.c --- */

/* Buckets for so many items: full to LOAD_PERCENT_MAX at most; at least one. */
#define LOAD_PERCENT_MAX 96
static inline uint32_t array_items_max(uint32_t buckets_count)
{
    return (uint32_t)((uint64_t)buckets_count * BUCKET_SLOTS * LOAD_PERCENT_MAX / 100);
}

static inline uint32_t array_buckets_for(uint32_t items_count)
{
    uint64_t slots = (uint64_t)items_count * 100 / LOAD_PERCENT_MAX + 1;
    return (uint32_t)((slots + BUCKET_SLOTS - 1) / BUCKET_SLOTS);
}

/* The slab's arena for arrays; sessions have the others. */
#define ARRAY_ARENA SLAB_LAST_ARENA

/* An empty array of at least so many buckets, with due times or without; NULL: no memory within the
 * budget. */
struct array *array_new(struct table *t, uint32_t buckets_count, bool dues);
void array_free(struct table *t, struct array *array); /* not its items */
/* A copy with room for items_count items; NULL as array_new(). */
struct array *array_rebuild(struct table *t, const struct array *array, uint32_t items_count);
/* A copy of the same size, elsewhere; and one that has due times. */
struct array *array_copy(struct table *t, const struct array *array);
struct array *array_with_dues(struct table *t, const struct array *array);
/* Put an item that is not there into a free slot, of which there is one: displaced counts first,
 * then slot, then tag. Returns the bucket. */
uint32_t array_insert(struct array *array, uint32_t place_index, uint64_t slot);
/* Empty a slot: tag first. The displaced counts on its way are taken back. */
void array_remove(struct array *array, uint32_t bucket, unsigned slot);

/* Note that an item in this bucket expires then. now_ms: by table_now_ms(). */
void array_note_expiry(struct array *array, uint32_t bucket, int64_t expire_ms, int64_t now_ms);

/* --- making items outside any lock: table_write.c --- */

/* An item that nobody sees yet; evicts if it must and may, which frees memory a little later. NULL:
 * no memory, which is what table_no_memory() calls it. Freed like this as long as nobody sees it
 * (NULL is allowed). */
struct item *table_make_item(struct table_session *s, const struct tarn_record *record);
void table_free_item(struct table_session *s, struct item *item);
int table_no_memory(const struct table *t); /* FULL if there is a cap, else NOMEM */

#define RETIRED_BY_ONE 4 /* items and arrays that a change of one key retires at most */

/* --- watches: watch.c --- */

/* A key is about to change, or (key data NULL) every key of the shard. */
void watch_notify_locked(struct shard *shard, struct tarn_bytes key);

#endif
