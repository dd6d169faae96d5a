/* Buckets: one cache line of seven slots, and arrays of them.
 *
 * word 0: seven tag bytes (lowest first; 0: the slot is empty), and in the highest byte how many
 *         items were displaced past this bucket (255: too many to count, stays until the array is
 *         rebuilt). Word 1..7: slots.
 * slot:   bits 63..48 the high part of the place, 47..0 the item's address; bit 0 of it is
 *         SLOT_EXPIRES, bit 1 SLOT_PROVEN. 0: empty.
 *
 * A key's hash gives its shard (12 bits) and its place in it, a number below PLACES: 16 bits in the
 * slot, 255 values in the tag. So an array can be rebuilt without looking at the items, and the
 * bucket where an item belongs is place * buckets / PLACES: monotone in the place, whatever the
 * number of buckets. What does not fit there goes to the next bucket, cyclically; a search goes on
 * as long as the displaced count is not 0.
 *
 * Sources: F14 (Bronson, Shi: "Open-sourcing F14", 2019) for tags and the displaced count. */
#ifndef TABLE_BUCKET_H
#define TABLE_BUCKET_H

#include <emmintrin.h>
#include <stdatomic.h>

#include "core/hash.h"
#include "core/prefetch.h"
#include "table/item.h"
#include "table/table.h"

#define BUCKET_SLOTS    7
#define TAGS            255u /* values of a tag, 1..255 */
#define PLACES          (65536u * TAGS)
#define DISPLACED_SHIFT 56
#define DISPLACED_MAX   255u

#define SLOT_EXPIRES      1ull
#define SLOT_PROVEN       2ull /* had been read when eviction's hand passed; the lock holder's */
#define SLOT_ADDRESS_MASK 0xfffffffffff8ull

struct bucket {
    _Atomic uint64_t tags;
    _Atomic uint64_t slots[BUCKET_SLOTS];
};
_Static_assert(sizeof(struct bucket) == CACHE_LINE_BYTES, "one cache line");

/* When to look at a bucket's expiring items again: the low 16 bits of the time in units of
 * DUE_UNIT_MS; 0: never. Never later than the first of them expires. */
#define DUE_UNIT_MS   100
#define DUE_UNITS_MAX 32000 /* look at least so soon: they wrap */
typedef uint16_t due_time;

static inline due_time due_of(int64_t expire_ms, int64_t now_ms)
{
    int64_t units = expire_ms / DUE_UNIT_MS, now = now_ms / DUE_UNIT_MS;
    if (units > now + DUE_UNITS_MAX)
        units = now + DUE_UNITS_MAX;
    due_time due = (due_time)(units < now ? now : units);
    return due != 0 ? due : 0xffff; /* a unit early rather than never */
}

/* Has `due` come at `now` (any due_of(now, now))? */
static inline bool due_has_come(due_time due, due_time now)
{
    return due != 0 && (int16_t)(due_time)(due - now) <= 0;
}

/* The earlier of both. */
static inline void due_lower(due_time *due, due_time other)
{
    if (*due == 0 || (other != 0 && (int16_t)(due_time)(other - *due) < 0))
        *due = other;
}

/* One version of a shard's buckets. Counters and `due` are the lock holder's; the hand too. */
struct array {
    unsigned char flags; /* ITEM_ARRAY: small arrays lie among the items */
    uint32_t shard;      /* whose it is, or was */
    uint32_t buckets_count;
    uint32_t items_count, items_max; /* grow when an insert would exceed items_max */
    uint32_t expiring_count;
    uint64_t scale;        /* floor(2^40 * buckets_count / PLACES) */
    uint64_t bytes;        /* of the allocation; 0: static */
    due_time *due;         /* one a bucket, behind the buckets; NULL until something expires */
    uint32_t hand;         /* bucket where eviction goes on */
    uint32_t pending;      /* inserts that the lock holder has announced */
    int64_t expire_ms_sum; /* of its expiring items, for the mean */
    struct bucket buckets[] __attribute__((aligned(64)));
};

static inline due_time array_due(const struct array *array, uint32_t bucket)
{
    return array->due != NULL ? array->due[bucket] : 0;
}

static inline size_t array_bucket_bytes(bool dues)
{
    return sizeof(struct bucket) + (dues ? sizeof(due_time) : 0);
}

_Static_assert(sizeof(struct array) == CACHE_LINE_BYTES, "one line tells where a bucket is");

/* Where a key lives. */
struct place {
    uint32_t shard;
    uint32_t index; /* 0 .. PLACES - 1 */
};

static inline struct place place_of_hash(uint64_t hash)
{
    uint32_t high = (uint32_t)(hash >> 36) & 0xffff;
    uint32_t low = (uint32_t)(hash >> 28) & 0xff;
    return (struct place){table_shard_of(hash), high * TAGS + (low * TAGS >> 8)};
}

static inline uint32_t place_bucket(const struct array *a, uint32_t index)
{
    return (uint32_t)(index * a->scale >> 40);
}

static inline uint32_t place_tag(uint32_t index)
{
    return index % TAGS + 1;
}

static inline uint64_t slot_make(uint32_t index, const struct item *item, bool expires)
{
    return (uint64_t)(index / TAGS) << 48 | (uint64_t)(uintptr_t)item |
           (expires ? SLOT_EXPIRES : 0);
}

static inline struct item *slot_item(uint64_t slot)
{
    return (struct item *)(uintptr_t)(slot & SLOT_ADDRESS_MASK);
}

/* The place of an item, from its slot and its tag. */
static inline uint32_t slot_place(uint64_t slot, unsigned tag)
{
    return (uint32_t)(slot >> 48) * TAGS + tag - 1;
}

/* Bit i is set where tag i equals `tag`. */
static inline unsigned tags_match(uint64_t tags, unsigned tag)
{
    __m128i all = _mm_cvtsi64_si128((long long)tags);
    __m128i one = _mm_set1_epi8((char)tag);
    return (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(all, one)) & ((1u << BUCKET_SLOTS) - 1);
}

static inline unsigned tags_at(uint64_t tags, unsigned i)
{
    return (unsigned)(tags >> 8 * i) & 0xff;
}

static inline unsigned tags_displaced(uint64_t tags)
{
    return (unsigned)(tags >> DISPLACED_SHIFT);
}

#endif
