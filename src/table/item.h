/* An item: a key, its value and perhaps an expiry, in one allocation. Published items do not
 * change, but for the visited bit, and large ones as their `state` allows.
 *
 * Small (at most SLAB_BYTES_MAX bytes in all), in a slab slot, packed, sizes in native order:
 *     flags 1 | key size 1 or 2 | value size 1 or 2 | expiry 0 or 8 | key | value
 * Large, from malloc: struct item_large | value | room to grow | key. */
#ifndef TABLE_ITEM_H
#define TABLE_ITEM_H

#include <stdatomic.h>

#include "core/assert.h"
#include "core/bytes.h"
#include "table/slab.h"

enum item_flags {
    ITEM_EXPIRES = 1 << 0,    /* small: has the expiry field */
    ITEM_KEY_WIDE = 1 << 1,   /* small: two bytes of key size */
    ITEM_VALUE_WIDE = 1 << 2, /* small: two bytes of value size */
    ITEM_LARGE = 1 << 3,
    ITEM_VISITED = 1 << 4, /* read since the hand last passed; set by readers */
    ITEM_ARRAY = 1 << 5,   /* without COVERS: no item, but a shard's array of buckets */
    ITEM_COVERS = 1 << 6,  /* the table's base may have a record of this key: base.h */
    ITEM_DEAD = 1 << 5,    /* with COVERS: its key is not there, whatever the base says */
};
_Static_assert(((ITEM_COVERS | ITEM_DEAD) & SLAB_FREE) == 0, "that bit is the slab's");

/* The expiry of a dead item: always over. No item is made with it. */
#define ITEM_DEAD_MS INT64_MIN

struct item {
    _Atomic unsigned char flags;
    unsigned char rest[];
};

/* Where items come from. */
struct item_memory {
    struct slab *slab;
    struct budget *budget; /* for large ones; the slab's own counts the others */
    _Atomic uint64_t large_bytes;
};

/* What readers and the writer of a large item tell each other. A writer, under the shard's lock,
 * changes the item in place only while it is not frozen; who takes a view of the value freezes
 * it, and waits for a writer that is just at it. */
enum item_state {
    ITEM_FROZEN = 1 << 0,  /* views of the value may exist: never change it again */
    ITEM_WRITING = 1 << 1, /* being changed in place */
};

struct item_large {
    _Atomic unsigned char flags; /* first, as in struct item */
    uint16_t key_size;
    _Atomic uint32_t state;
    _Atomic uint32_t refs;       /* the table's, and one a pin; the last one frees */
    struct item_memory *memory;  /* what it is counted in */
    _Atomic uint64_t value_size; /* changes only while WRITING */
    uint64_t value_room;         /* bytes for the value before the key, >= value_size */
    _Atomic int64_t expire_ms;   /* 0: never */
    uint64_t bytes;              /* of the allocation */
    unsigned char data[];        /* value_room bytes, then the key */
};

/* An item taken apart; views into it. */
struct item_parts {
    struct tarn_bytes key, value;
    int64_t expire_ms; /* 0: never */
};

static inline unsigned item_flags(const struct item *item)
{
    return atomic_load_explicit(&item->flags, memory_order_relaxed);
}

static inline bool item_is_large(const struct item *item)
{
    return (item_flags(item) & ITEM_LARGE) != 0;
}

static inline const struct item_large *item_large(const struct item *item)
{
    return (const struct item_large *)(const void *)item;
}

/* Bytes of a small item before its key. */
static inline size_t item_header_bytes(unsigned flags)
{
    return 3 + ((flags & ITEM_KEY_WIDE) != 0) + ((flags & ITEM_VALUE_WIDE) != 0) +
           ((flags & ITEM_EXPIRES) != 0 ? 8u : 0u);
}

/* A small item's, as it was made. */
static inline struct item_parts item_parts_small(const struct item *item, unsigned flags)
{
    struct item_parts parts = {.expire_ms = 0};
    const unsigned char *p = item->rest;
    if (__builtin_expect((flags & (ITEM_KEY_WIDE | ITEM_VALUE_WIDE)) == 0, 1)) {
        parts.key.size = p[0];
        parts.value.size = p[1];
        p += 2;
    } else {
        uint16_t wide;
        if (flags & ITEM_KEY_WIDE) {
            memcpy(&wide, p, sizeof wide);
            parts.key.size = wide;
            p += 2;
        } else {
            parts.key.size = *p++;
        }
        if (flags & ITEM_VALUE_WIDE) {
            memcpy(&wide, p, sizeof wide);
            parts.value.size = wide;
            p += 2;
        } else {
            parts.value.size = *p++;
        }
    }
    if (flags & ITEM_EXPIRES) {
        memcpy(&parts.expire_ms, p, sizeof parts.expire_ms);
        p += sizeof parts.expire_ms;
    }
    parts.key.data = p;
    parts.value.data = p + parts.key.size;
    return parts;
}

/* A large one's, or a dead one's. */
struct item_parts item_parts_rare(const struct item *item, unsigned flags);

static inline struct item_parts item_parts(const struct item *item)
{
    unsigned flags = item_flags(item);
    if (__builtin_expect((flags & (ITEM_LARGE | ITEM_DEAD)) != 0, 0))
        return item_parts_rare(item, flags);
    return item_parts_small(item, flags);
}

static inline bool item_is_dead(const struct item *item)
{
    return (item_flags(item) & ITEM_DEAD) != 0;
}

/* Is this slot of the slab that of an array, or of an item? */
static inline bool item_is_array(const struct item *item)
{
    return (item_flags(item) & (ITEM_ARRAY | ITEM_COVERS)) == ITEM_ARRAY;
}

static inline void item_mark(struct item *item, unsigned flags)
{
    atomic_fetch_or_explicit(&item->flags, (unsigned char)flags, memory_order_relaxed);
}

static inline bool item_expires(const struct item *item)
{
    return item_parts(item).expire_ms != 0;
}

static inline void item_visit(const struct item *item)
{
    unsigned flags = item_flags(item);
    if ((flags & ITEM_VISITED) == 0) /* most often it is set: do not dirty the line */
        atomic_fetch_or_explicit(&((struct item *)(uintptr_t)item)->flags, ITEM_VISITED,
                                 memory_order_relaxed);
}

/* Make an item that nobody sees yet. value.size <= TARN_VALUE_BYTES_MAX. room: bytes to keep for
 * the value beyond its size, if it is large. NULL: no memory within the budget. */
struct item *item_new(struct item_memory *memory, unsigned arena, struct tarn_bytes key,
                      struct tarn_bytes value, int64_t expire_ms, size_t room);

/* As item_new(), with the value that `value` patched with `patch` at `offset` has (TARN_PATCH). */
struct item *item_new_patched(struct item_memory *memory, unsigned arena, struct tarn_bytes key,
                              struct tarn_bytes value, struct tarn_bytes patch, size_t offset,
                              int64_t expire_ms);

/* Another item like this one, with all its flags but VISITED. */
struct item *item_new_like(struct item_memory *memory, unsigned arena, const struct item *item);

/* A large item whose memory is charged and not taken: it may go over the budget. For what is
 * retired at once. NULL: malloc failed. */
struct item *item_new_beyond(struct item_memory *memory, struct tarn_bytes key,
                             struct tarn_bytes value, int64_t expire_ms);

/* Claim a large item for a patch in place, under its shard's lock: item_patch() can follow, and
 * item_patch_end() must. False: it is small, somebody may be looking, or it has no room. */
bool item_patch_begin(struct item *item, struct tarn_bytes patch, size_t offset);
void item_patch(struct item *item, struct tarn_bytes patch, size_t offset);
void item_patch_end(struct item *item);

/* Change only the expiry, where the item can: a large one. */
void item_set_expiry(struct item *item, int64_t expire_ms);

/* Before a view of a large item's value is given away: the view will not change. */
void item_freeze(const struct item *item);

/* The item whose value this is, of at least TARN_PIN_BYTES_MIN bytes, frozen and kept until
 * item_unref(). */
struct item_large *item_ref_value(struct tarn_bytes value);
void item_unref(struct item_large *large);

/* Free items that nobody can see any more (a large one loses the table's reference). */
void item_free_many(struct item_memory *memory, struct item *const *items, size_t count);

/* Bytes it takes, as allocated. */
size_t item_bytes(const struct item *item);

#endif
