/* Walking the table while it changes.
 *
 * A cursor is (shard, place): everything before it has been visited. Items are visited by the
 * bucket where they belong, wherever they were displaced to, and a bucket holds a range of places;
 * so a cursor means the same in an array of any size, and a key that is there during the whole scan
 * is visited exactly once. Cursor 0 is the start and the end; place 0 of a shard > 0 is not 0.
 *
 * What belongs in one bucket is gathered between two readings of the shard's version, and visited
 * then: so no value from inside a step is. If a version was odd or has changed, again, and at last
 * with the shard locked (not by a session that holds other locks, inside its own step).
 *
 * Failure modes: none; a cursor that nobody has given is taken for what it says. */
#include "core/assert.h"
#include "table/base.h"
#include "table/journal.h"

#define PLACE_BITS 24
#define FOUND_MAX  64 /* some 7 belong in a bucket */
#define TRIES_MAX  4
_Static_assert(PLACES <= 1u << PLACE_BITS, "a place fits a cursor");

struct walk {
    struct table_session *s;
    tarn_visit visit;
    void *context;
    size_t visited;
    int64_t now_ms;
    bool base_visits; /* what covers a record of the base is visited there */
};

/* Items of some neighbouring places, as they were at one moment. */
struct found {
    const struct array *array;
    unsigned count;
    uint64_t slots[FOUND_MAX];
};

static void visit_slot(struct walk *walk, uint64_t slot)
{
    const struct item *item = slot_item(slot);
    if ((item_flags(item) & ITEM_COVERS) && walk->base_visits)
        return;
    struct item_parts parts = item_parts(item);
    if (table_expired(walk->s->table, parts.expire_ms, &walk->now_ms))
        return;
    walk->visit(walk->context, parts.key, parts.value);
    walk->visited++;
}

/* Add a slot's item, frozen, if it is one of the places [from, to). False: there is no room. */
static bool add_slot(struct found *found, uint64_t slot, uint32_t index, uint32_t from, uint32_t to)
{
    const struct item *item = slot_item(slot);
    if (item == NULL || index < from || index >= to)
        return true;
    if (found->count == FOUND_MAX)
        return false;
    item_freeze(item);
    found->slots[found->count++] = slot;
    return true;
}

/* Gather the items of the places [from, to), which belong in one bucket. False: too many. */
static bool gather(struct found *found, uint32_t from, uint32_t to)
{
    const struct array *array = found->array;
    uint32_t b = place_bucket(array, from);
    found->count = 0;
    for (uint32_t n = 0; n < array->buckets_count; n++) {
        const struct bucket *bucket = &array->buckets[b];
        uint64_t tags = atomic_load_explicit(&bucket->tags, memory_order_acquire);
        for (unsigned i = 0; i < BUCKET_SLOTS; i++) {
            if (tags_at(tags, i) == 0)
                continue;
            uint64_t slot = atomic_load_explicit(&bucket->slots[i], memory_order_acquire);
            if (!add_slot(found, slot, slot_place(slot, tags_at(tags, i)), from, to))
                return false;
        }
        if (tags_displaced(tags) == 0)
            break;
        if (++b == array->buckets_count)
            b = 0;
    }
    return true;
}

/* The first place that belongs in a later bucket than this place; PLACES: there is none. */
static uint32_t next_home(const struct array *array, uint32_t index)
{
    uint32_t bucket = place_bucket(array, index) + 1;
    if (bucket >= array->buckets_count)
        return PLACES;
    uint64_t first = (((uint64_t)bucket << 40) + array->scale - 1) / array->scale;
    return first < PLACES ? (uint32_t)first : PLACES;
}

/* Fetch the items in the bucket of this place, which is gathered next, while others are visited. */
static void approach_next(const struct array *array, uint32_t place)
{
    if (place >= PLACES)
        return;
    const struct bucket *bucket = &array->buckets[place_bucket(array, place)];
    for (unsigned i = 0; i < BUCKET_SLOTS; i++) {
        uint64_t slot = atomic_load_explicit(&bucket->slots[i], memory_order_relaxed);
        uintptr_t item = (uintptr_t)slot_item(slot); /* 0: fetching does nothing */
        prefetch_line((const void *)item);
        prefetch_line((const void *)(item + CACHE_LINE_BYTES));
    }
}

/* Gather from `from` on what belongs in its bucket, or the first of it if that is much; returns
 * where to go on. */
static uint32_t gather_next(struct found *found, const struct shard *shard, uint32_t from)
{
    found->array = shard_array(shard);
    found->count = 0;
    if (found->array->items_max == 0)
        return PLACES;
    uint32_t to = next_home(found->array, from);
    while (!gather(found, from, to)) {
        ASSERT(to - from > 1); /* places are hashes: not that many are equal */
        to = from + (to - from) / 2;
    }
    approach_next(found->array, to);
    return to;
}

/* ... between steps: as it was at one moment when none was under way. */
static uint32_t gather_whole(const struct walk *walk, struct shard *shard, uint32_t from,
                             struct found *found)
{
    if (walk->s->locked)
        return gather_next(found, shard, from);
    for (int i = 0; i < TRIES_MAX; i++) {
        uint64_t version = atomic_load_explicit(&shard->version, memory_order_acquire);
        if (version & 1)
            break;
        uint32_t to = gather_next(found, shard, from);
        if (atomic_load_explicit(&shard->version, memory_order_acquire) == version)
            return to;
    }
    lock_take(&shard->lock);
    uint32_t to = gather_next(found, shard, from);
    lock_give(&shard->lock);
    return to;
}

/* Visit from `from` on in one shard; returns where to go on, PLACES: it is done. */
static uint32_t walk_shard(struct walk *walk, uint32_t shard, uint32_t from, size_t count)
{
    const struct under *u = table_under(walk->s->table, shard);
    walk->base_visits = u != NULL && u->base.stays;
    while (from < PLACES && walk->visited < count) {
        struct found found;
        from = gather_whole(walk, &walk->s->table->shards[shard], from, &found);
        for (unsigned i = 0; i < found.count; i++)
            visit_slot(walk, found.slots[i]);
    }
    session_saw(walk->s, shard);
    return from;
}

unsigned table_scan_shard(uint64_t cursor)
{
    uint64_t shard = cursor >> PLACE_BITS;
    return shard < TABLE_SHARDS ? (unsigned)shard : TABLE_SHARDS - 1;
}

size_t table_scan_until(struct table_session *s, uint64_t *cursor, unsigned end, size_t count,
                        tarn_visit visit, void *context)
{
    struct walk walk = {s, visit, context, 0, 0, false};
    uint64_t shard = *cursor >> PLACE_BITS;
    uint32_t from = (uint32_t)(*cursor & ((1u << PLACE_BITS) - 1));
    for (; shard < end && walk.visited < count; shard++) {
        from = walk_shard(&walk, (uint32_t)shard, from, count);
        if (from < PLACES)
            break;
        from = 0;
    }
    *cursor = shard < TABLE_SHARDS ? shard << PLACE_BITS | from : 0;
    return walk.visited;
}

void table_scan(struct table_session *s, uint64_t *cursor, size_t count, tarn_visit visit,
                void *context)
{
    (void)table_scan_until(s, cursor, TABLE_SHARDS, count, visit, context);
}

/* --- a random key --- */

struct choice {
    uint64_t random;
    uint64_t seen;
    struct tarn_bytes key;
};

/* Keep each of the keys seen with the same chance (reservoir sampling, Vitter 1985). */
static void choose(void *context, struct tarn_bytes key, struct tarn_bytes value)
{
    struct choice *choice = context;
    (void)value;
    choice->random = choice->random * 6364136223846793005u + 1442695040888963407u;
    if ((choice->random >> 33) % ++choice->seen == 0)
        choice->key = key;
}

int table_random_key(struct table_session *s, uint64_t random, struct tarn_bytes *ret_key)
{
    struct choice choice = {.random = random};
    struct walk walk = {s, choose, &choice, 0, 0, false};
    uint32_t first = table_shard_of(random);
    for (uint32_t i = 0; i < TABLE_SHARDS && choice.seen == 0; i++) {
        uint32_t shard = (first + i) % TABLE_SHARDS;
        uint32_t place = (uint32_t)((random & 0xffffffff) * PLACES >> 32);
        (void)walk_shard(&walk, shard, place, 1);
        if (choice.seen == 0)
            (void)walk_shard(&walk, shard, 0, 1);
    }
    if (choice.seen == 0)
        return TARN_NOTFOUND;
    *ret_key = choice.key;
    return TARN_OK;
}
