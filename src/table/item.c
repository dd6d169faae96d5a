/* Items: making, patching and freeing them. See item.h for how they lie.
 *
 * Invariants
 * 1. A large item is counted in its budget with `bytes` from item_new() until the last reference is
 *    gone.
 * 2. `state` goes FROZEN once and never back; WRITING is set only by the shard's lock holder, and
 *    only while not FROZEN.
 * Failure modes: no memory within the budget gives NULL, nothing else fails. */
#include "table/item.h"

#include <sched.h>
#include <stdlib.h>

/* --- small items --- */

static size_t small_bytes(struct tarn_bytes key, size_t value_size, int64_t expire_ms)
{
    return 3 + (key.size > 0xff) + (value_size > 0xff) + (expire_ms != 0 ? 8u : 0u) + key.size +
           value_size;
}

static unsigned char *put_size(unsigned char *p, size_t size)
{
    if (size <= 0xff) {
        *p = (unsigned char)size;
        return p + 1;
    }
    uint16_t wide = (uint16_t)size;
    memcpy(p, &wide, sizeof wide);
    return p + sizeof wide;
}

/* A small item but for its value, and where that belongs. */
static struct item *small_new(struct slab *slab, unsigned arena, size_t bytes,
                              struct tarn_bytes key, size_t value_size, int64_t expire_ms,
                              unsigned char **ret_value)
{
    struct item *item = slab_alloc(slab, arena, bytes);
    if (item == NULL)
        return NULL;
    unsigned flags = (key.size > 0xff ? ITEM_KEY_WIDE : 0u) |
                     (value_size > 0xff ? ITEM_VALUE_WIDE : 0u) |
                     (expire_ms != 0 ? ITEM_EXPIRES : 0u);
    atomic_store_explicit(&item->flags, (unsigned char)flags, memory_order_relaxed);
    unsigned char *p = put_size(item->rest, key.size);
    p = put_size(p, value_size);
    if (expire_ms != 0) {
        memcpy(p, &expire_ms, sizeof expire_ms);
        p += sizeof expire_ms;
    }
    memcpy(p, key.data, key.size);
    *ret_value = p + key.size;
    return item;
}

/* --- large items --- */

static size_t large_bytes(struct tarn_bytes key, size_t value_room)
{
    return sizeof(struct item_large) + value_room + key.size;
}

/* A large item of memory that is in the budget already; if malloc fails it is not any more. */
static struct item *large_new_counted(struct item_memory *memory, struct tarn_bytes key,
                                      size_t value_size, size_t room, int64_t expire_ms,
                                      unsigned char **ret_value)
{
    size_t value_room = value_size + room;
    size_t bytes = large_bytes(key, value_room);
    struct item_large *large = malloc(bytes);
    if (large == NULL) {
        budget_give(memory->budget, bytes);
        return NULL;
    }
    atomic_init(&large->flags, ITEM_LARGE);
    large->key_size = (uint16_t)key.size;
    atomic_init(&large->state, 0);
    atomic_init(&large->refs, 1);
    large->memory = memory;
    atomic_fetch_add_explicit(&memory->large_bytes, bytes, memory_order_relaxed);
    atomic_init(&large->value_size, value_size);
    large->value_room = value_room;
    atomic_init(&large->expire_ms, expire_ms);
    large->bytes = bytes;
    memcpy(large->data + value_room, key.data, key.size);
    *ret_value = large->data;
    return (struct item *)large;
}

static struct item *large_new(struct item_memory *memory, struct tarn_bytes key, size_t value_size,
                              size_t room, int64_t expire_ms, unsigned char **ret_value)
{
    uint64_t rest = slab_rest(budget_limit(memory->budget), 0);
    if (!budget_take_leaving(memory->budget, large_bytes(key, value_size + room), rest))
        return NULL;
    return large_new_counted(memory, key, value_size, room, expire_ms, ret_value);
}

/* An item but for its value, and where that belongs. */
static struct item *item_begin(struct item_memory *memory, unsigned arena, struct tarn_bytes key,
                               size_t value_size, size_t room, int64_t expire_ms,
                               unsigned char **ret_value)
{
    ASSERT(key.size <= TARN_KEY_BYTES_MAX && value_size <= TARN_VALUE_BYTES_MAX);
    size_t bytes = small_bytes(key, value_size, expire_ms);
    if (bytes <= SLAB_BYTES_MAX)
        return small_new(memory->slab, arena, bytes, key, value_size, expire_ms, ret_value);
    return large_new(memory, key, value_size, room, expire_ms, ret_value);
}

static void copy(unsigned char *to, const void *from, size_t size)
{
    if (size > 0)
        memcpy(to, from, size);
}

struct item *item_new(struct item_memory *memory, unsigned arena, struct tarn_bytes key,
                      struct tarn_bytes value, int64_t expire_ms, size_t room)
{
    unsigned char *p;
    struct item *item = item_begin(memory, arena, key, value.size, room, expire_ms, &p);
    if (item != NULL)
        copy(p, value.data, value.size);
    return item;
}

struct item *item_new_like(struct item_memory *memory, unsigned arena, const struct item *item)
{
    unsigned flags = item_flags(item);
    struct item_parts parts = item_parts(item);
    int64_t expire_ms = flags & ITEM_DEAD ? 0 : parts.expire_ms;
    struct item *like = item_new(memory, arena, parts.key, parts.value, expire_ms, 0);
    if (like != NULL)
        item_mark(like, flags & (ITEM_COVERS | ITEM_DEAD));
    return like;
}

struct item *item_new_beyond(struct item_memory *memory, struct tarn_bytes key,
                             struct tarn_bytes value, int64_t expire_ms)
{
    unsigned char *p;
    budget_charge(memory->budget, large_bytes(key, value.size));
    struct item *item = large_new_counted(memory, key, value.size, 0, expire_ms, &p);
    if (item != NULL)
        copy(p, value.data, value.size);
    return item;
}

/* The size that a value has after a patch. */
static size_t patched_size(size_t size, struct tarn_bytes patch, size_t offset)
{
    return offset + patch.size > size ? offset + patch.size : size;
}

/* Room to leave when a large value grows: values that are appended to are moved rarely. */
static size_t growth_room(size_t old_size, size_t size)
{
    if (size <= old_size || old_size == 0)
        return 0;
    size_t room = size / 4;
    return size + room > TARN_VALUE_BYTES_MAX ? TARN_VALUE_BYTES_MAX - size : room;
}

struct item *item_new_patched(struct item_memory *memory, unsigned arena, struct tarn_bytes key,
                              struct tarn_bytes value, struct tarn_bytes patch, size_t offset,
                              int64_t expire_ms)
{
    size_t size = patched_size(value.size, patch, offset);
    size_t kept = value.size < offset ? value.size : offset;
    unsigned char *p;
    struct item *item =
        item_begin(memory, arena, key, size, growth_room(value.size, size), expire_ms, &p);
    if (item == NULL)
        return NULL;
    copy(p, value.data, kept);
    memset(p + kept, 0, offset - kept);
    copy(p + offset, patch.data, patch.size);
    if (offset + patch.size < value.size)
        copy(p + offset + patch.size, (const unsigned char *)value.data + offset + patch.size,
             value.size - offset - patch.size);
    return item;
}

static struct item_large *as_large(struct item *item)
{
    return (struct item_large *)(void *)item;
}

bool item_patch_begin(struct item *item, struct tarn_bytes patch, size_t offset)
{
    struct item_large *large = as_large(item);
    if (!item_is_large(item))
        return false;
    size_t old_size = atomic_load_explicit(&large->value_size, memory_order_relaxed);
    uint32_t untouched = 0;
    return patched_size(old_size, patch, offset) <= large->value_room &&
           atomic_compare_exchange_strong_explicit(&large->state, &untouched, ITEM_WRITING,
                                                   memory_order_acquire, memory_order_relaxed);
}

void item_patch(struct item *item, struct tarn_bytes patch, size_t offset)
{
    struct item_large *large = as_large(item);
    size_t old_size = atomic_load_explicit(&large->value_size, memory_order_relaxed);
    if (offset > old_size)
        memset(large->data + old_size, 0, offset - old_size);
    copy(large->data + offset, patch.data, patch.size);
    atomic_store_explicit(&large->value_size, patched_size(old_size, patch, offset),
                          memory_order_relaxed);
}

void item_patch_end(struct item *item)
{
    atomic_fetch_and_explicit(&as_large(item)->state, ~(uint32_t)ITEM_WRITING,
                              memory_order_release);
}

void item_set_expiry(struct item *item, int64_t expire_ms)
{
    atomic_store_explicit(&as_large(item)->expire_ms, expire_ms, memory_order_relaxed);
}

static void freeze(struct item_large *large)
{
    if (atomic_load_explicit(&large->state, memory_order_acquire) == ITEM_FROZEN)
        return;
    uint32_t state = atomic_fetch_or_explicit(&large->state, ITEM_FROZEN, memory_order_acq_rel);
    while (state & ITEM_WRITING) { /* a patch: microseconds */
        sched_yield();
        state = atomic_load_explicit(&large->state, memory_order_acquire);
    }
}

void item_freeze(const struct item *item)
{
    if (__builtin_expect(item_is_large(item), 0))
        freeze((struct item_large *)(uintptr_t)item);
}

struct item_large *item_ref_value(struct tarn_bytes value)
{
    ASSERT(value.size >= TARN_PIN_BYTES_MIN);
    const unsigned char *data = value.data;
    struct item_large *large =
        (struct item_large *)(uintptr_t)(data - offsetof(struct item_large, data));
    ASSERT((atomic_load_explicit(&large->flags, memory_order_relaxed) & ITEM_LARGE) != 0);
    freeze(large);
    atomic_fetch_add_explicit(&large->refs, 1, memory_order_relaxed);
    return large;
}

void item_unref(struct item_large *large)
{
    if (large == NULL || atomic_fetch_sub_explicit(&large->refs, 1, memory_order_acq_rel) != 1)
        return;
    atomic_fetch_sub_explicit(&large->memory->large_bytes, large->bytes, memory_order_relaxed);
    budget_give(large->memory->budget, large->bytes);
    free(large);
}

/* --- both --- */

static struct item_parts large_parts(const struct item_large *large)
{
    return (struct item_parts){
        .key = {large->data + large->value_room, large->key_size},
        .value = {large->data, atomic_load_explicit(&large->value_size, memory_order_relaxed)},
        .expire_ms = atomic_load_explicit(&large->expire_ms, memory_order_relaxed),
    };
}

struct item_parts item_parts_rare(const struct item *item, unsigned flags)
{
    struct item_parts parts =
        flags & ITEM_LARGE ? large_parts(item_large(item)) : item_parts_small(item, flags);
    if (flags & ITEM_DEAD) {
        parts.value.size = 0;
        parts.expire_ms = ITEM_DEAD_MS;
    }
    return parts;
}

void item_free_many(struct item_memory *memory, struct item *const *items, size_t count)
{
    size_t from = 0;
    for (size_t i = 0; i <= count; i++) {
        if (i < count && !item_is_large(items[i]))
            continue;
        if (i > from)
            slab_free(memory->slab, (void *const *)(items + from), i - from);
        if (i < count)
            item_unref((struct item_large *)(void *)items[i]);
        from = i + 1;
    }
}

size_t item_bytes(const struct item *item)
{
    if (item_is_large(item))
        return item_large(item)->bytes;
    struct item_parts parts = item_parts_small(item, item_flags(item));
    return slab_slot_bytes(small_bytes(parts.key, parts.value.size, parts.expire_ms));
}
