/* Arrays of buckets: their memory, rebuilding, and single slots.
 *
 * Invariants (of an array that readers may see)
 * 1. A tag other than 0 is stored after its slot, and cleared before it.
 * 2. An item that lies n buckets after its home is counted as displaced in each of the n buckets
 *    before it, from before it is published until after it is gone. At DISPLACED_MAX a count stays.
 * 3. due[b] is never later than the first expiry in bucket b; an array without `due` has no item
 *    that expires.
 * Failure modes: no memory within the budget: NULL. */
#include <stdlib.h>

#include "table/shard.h"

/* Small arrays lie in the slab: while a table grows all its shards change from one size to the next
 * at about the same time, so that whole pages run empty, where malloc would keep as many bytes in
 * holes as in arrays. Large ones are mapped: what they leave goes back to the system. Classes of
 * more than 1 KiB and pages are multiples of a cache line, so every array begins at one. */
#define MAP_STEP_BYTES 4096u

struct array shard_empty = {.buckets_count = 1, .buckets = {{0}}};

/* --- memory --- */

/* Bytes that an array of at least so many buckets takes, and all of which it uses. */
static size_t allocation_bytes(uint32_t buckets_count, bool dues)
{
    size_t bytes = sizeof(struct array) + buckets_count * array_bucket_bytes(dues);
    bytes = (bytes + CACHE_LINE_BYTES - 1) / CACHE_LINE_BYTES * CACHE_LINE_BYTES;
    if (bytes <= SLAB_BYTES_MAX)
        return slab_slot_bytes(bytes);
    return (bytes + MAP_STEP_BYTES - 1) / MAP_STEP_BYTES * MAP_STEP_BYTES;
}

/* Zeroed, aligned to a cache line, counted; NULL. */
static void *allocate(struct table *t, size_t bytes)
{
    void *memory = NULL;
    if (bytes <= SLAB_BYTES_MAX) {
        memory = slab_alloc(t->slab, ARRAY_ARENA, bytes);
        if (memory != NULL)
            memset(memory, 0, bytes);
        return memory;
    }
    if (!budget_take(&t->budget, bytes))
        return NULL;
    if (t->os->map(t->os, bytes, &memory) == 0)
        return memory;
    budget_give(&t->budget, bytes);
    return NULL;
}

struct array *array_new(struct table *t, uint32_t buckets_count, bool dues)
{
    size_t bytes = allocation_bytes(buckets_count, dues);
    struct array *array = allocate(t, bytes);
    if (array == NULL)
        return NULL;
    ASSERT((uintptr_t)array % CACHE_LINE_BYTES == 0);
    atomic_fetch_add_explicit(&t->array_bytes, bytes, memory_order_relaxed);
    if (bytes <= SLAB_BYTES_MAX)
        atomic_fetch_add_explicit(&t->slab_array_bytes, bytes, memory_order_relaxed);
    buckets_count = (uint32_t)((bytes - sizeof *array) / array_bucket_bytes(dues));
    array->flags = ITEM_ARRAY;
    array->bytes = bytes;
    array->buckets_count = buckets_count;
    array->scale = ((uint64_t)buckets_count << 40) / PLACES;
    array->due = dues ? (due_time *)(array->buckets + buckets_count) : NULL;
    array->items_max = array_items_max(buckets_count);
    return array;
}

void array_free(struct table *t, struct array *array)
{
    if (array == &shard_empty)
        return;
    size_t bytes = array->bytes;
    atomic_fetch_sub_explicit(&t->array_bytes, bytes, memory_order_relaxed);
    if (bytes <= SLAB_BYTES_MAX) {
        atomic_fetch_sub_explicit(&t->slab_array_bytes, bytes, memory_order_relaxed);
        slab_free(t->slab, (void *[]){array}, 1);
        return;
    }
    t->os->unmap(t->os, array, bytes);
    budget_give(&t->budget, bytes);
}

/* --- slots --- */

static inline uint64_t load(const _Atomic uint64_t *word)
{
    return atomic_load_explicit(word, memory_order_relaxed);
}

static void count_displaced(struct bucket *bucket)
{
    uint64_t tags = load(&bucket->tags);
    if (tags_displaced(tags) < DISPLACED_MAX)
        atomic_store_explicit(&bucket->tags, tags + (1ull << DISPLACED_SHIFT),
                              memory_order_release);
}

static void uncount_displaced(struct bucket *bucket)
{
    uint64_t tags = load(&bucket->tags);
    if (tags_displaced(tags) < DISPLACED_MAX)
        atomic_store_explicit(&bucket->tags, tags - (1ull << DISPLACED_SHIFT),
                              memory_order_release);
}

uint32_t array_insert(struct array *array, uint32_t place_index, uint64_t slot)
{
    uint32_t b = place_bucket(array, place_index);
    unsigned free_slots;
    uint64_t tags;
    ASSERT(array->items_count < array->buckets_count * BUCKET_SLOTS);
    for (;;) {
        tags = load(&array->buckets[b].tags);
        free_slots = tags_match(tags, 0);
        if (free_slots != 0)
            break;
        count_displaced(&array->buckets[b]);
        if (++b == array->buckets_count)
            b = 0;
    }
    struct bucket *bucket = &array->buckets[b];
    unsigned i = (unsigned)__builtin_ctz(free_slots);
    atomic_store_explicit(&bucket->slots[i], slot, memory_order_release);
    atomic_store_explicit(&bucket->tags, tags | (uint64_t)place_tag(place_index) << 8 * i,
                          memory_order_release);
    array->items_count++;
    return b;
}

void array_remove(struct array *array, uint32_t b, unsigned i)
{
    struct bucket *bucket = &array->buckets[b];
    uint64_t tags = load(&bucket->tags);
    uint32_t home = place_bucket(array, slot_place(load(&bucket->slots[i]), tags_at(tags, i)));
    atomic_store_explicit(&bucket->tags, tags & ~(0xffull << 8 * i), memory_order_release);
    atomic_store_explicit(&bucket->slots[i], 0, memory_order_release);
    while (home != b) {
        uncount_displaced(&array->buckets[home]);
        if (++home == array->buckets_count)
            home = 0;
    }
    array->items_count--;
}

/* How an array of buckets is filled that nobody sees yet: buckets are met in nearly rising order,
 * so the one before is in the cache, and no store has to be ordered. */
static void fill(struct array *to, uint32_t place_index, uint64_t slot, due_time due)
{
    uint32_t b = place_bucket(to, place_index);
    uint64_t tags;
    unsigned free_slots;
    while ((free_slots = tags_match(tags = load(&to->buckets[b].tags), 0)) == 0) {
        count_displaced(&to->buckets[b]);
        if (++b == to->buckets_count)
            b = 0;
    }
    unsigned i = (unsigned)__builtin_ctz(free_slots);
    atomic_store_explicit(&to->buckets[b].slots[i], slot, memory_order_relaxed);
    atomic_store_explicit(&to->buckets[b].tags, tags | (uint64_t)place_tag(place_index) << 8 * i,
                          memory_order_relaxed);
    if (slot & SLOT_EXPIRES)
        due_lower(&to->due[b], due);
}

/* A copy with at least so many buckets; NULL as array_new(). */
static struct array *rebuild(struct table *t, const struct array *from, uint32_t buckets_count,
                             bool dues)
{
    struct array *to = array_new(t, buckets_count, dues);
    if (to == NULL)
        return NULL;
    ASSERT(from->items_count <= to->buckets_count * BUCKET_SLOTS);
    for (uint32_t b = 0; b < from->buckets_count && from->items_count > 0; b++) {
        const struct bucket *bucket = &from->buckets[b];
        uint64_t tags = load(&bucket->tags);
        unsigned used = ~tags_match(tags, 0) & ((1u << BUCKET_SLOTS) - 1);
        for (; used != 0; used &= used - 1) {
            unsigned i = (unsigned)__builtin_ctz(used);
            uint64_t slot = load(&bucket->slots[i]);
            fill(to, slot_place(slot, tags_at(tags, i)), slot, array_due(from, b));
        }
    }
    to->items_count = from->items_count;
    to->expiring_count = from->expiring_count;
    to->expire_ms_sum = from->expire_ms_sum;
    to->hand = (uint32_t)((uint64_t)from->hand * to->buckets_count / from->buckets_count);
    return to;
}

struct array *array_rebuild(struct table *t, const struct array *from, uint32_t items_count)
{
    return rebuild(t, from, array_buckets_for(items_count), from->due != NULL);
}

struct array *array_copy(struct table *t, const struct array *from)
{
    return rebuild(t, from, from->buckets_count, from->due != NULL);
}

struct array *array_with_dues(struct table *t, const struct array *from)
{
    return rebuild(t, from, from->buckets_count, true);
}

void array_note_expiry(struct array *array, uint32_t bucket, int64_t expire_ms, int64_t now_ms)
{
    ASSERT(array->due != NULL);
    due_lower(&array->due[bucket], due_of(expire_ms, now_ms));
}
