/* Walking the table while it changes.
 *
 * A cursor is (shard, place): everything before it has been visited. Items are visited by the
 * bucket where they belong, wherever they were displaced to, and a bucket holds a range of places;
 * so a cursor means the same in an array of any size, and a key that is there during the whole scan
 * is visited exactly once. Cursor 0 is the start and the end; place 0 of a shard > 0 is not 0.
 *
 * Failure modes: none; a cursor that nobody has given is taken for what it says. */
#include "table/journal.h"

#define PLACE_BITS 24
_Static_assert(PLACES <= 1u << PLACE_BITS, "a place fits a cursor");

struct walk {
    struct table_session *s;
    table_visit visit;
    void *context;
    size_t visited;
    int64_t now_ms;
};

static const struct array *array_now(const struct table_session *s, uint32_t i)
{
    struct shard *shard = &s->table->shards[i];
    uintptr_t array = atomic_load_explicit(&shard->array, memory_order_acquire);
    return (const struct array *)(array & ~(uintptr_t)SHARD_BUSY);
}

static void visit_slot(struct walk *walk, uint64_t slot)
{
    const struct item *item = slot_item(slot);
    if (item == NULL)
        return;
    item_freeze(item);
    struct item_parts parts = item_parts(item);
    if (table_expired(walk->s->table, parts.expire_ms, &walk->now_ms))
        return;
    const struct tarn_record record = {parts.key, parts.value, parts.expire_ms};
    walk->visit(walk->context, &record);
    walk->visited++;
}

/* Visit the items of places from `from` on that belong in bucket `home`. */
static void visit_home(struct walk *walk, const struct array *array, uint32_t home, uint32_t from)
{
    uint32_t b = home;
    for (uint32_t n = 0; n < array->buckets_count; n++) {
        const struct bucket *bucket = &array->buckets[b];
        uint64_t tags = atomic_load_explicit(&bucket->tags, memory_order_acquire);
        for (unsigned i = 0; i < BUCKET_SLOTS; i++) {
            if (tags_at(tags, i) == 0)
                continue;
            uint64_t slot = atomic_load_explicit(&bucket->slots[i], memory_order_acquire);
            uint32_t index = slot_place(slot, tags_at(tags, i));
            if (slot != 0 && index >= from && place_bucket(array, index) == home)
                visit_slot(walk, slot);
        }
        if (tags_displaced(tags) == 0)
            break;
        if (++b == array->buckets_count)
            b = 0;
    }
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

/* Visit from `from` on in one shard; returns where to go on, PLACES: it is done. */
static uint32_t walk_shard(struct walk *walk, uint32_t shard, uint32_t from, size_t count)
{
    const struct array *array = array_now(walk->s, shard);
    if (array->items_max == 0)
        return PLACES;
    while (from < PLACES && walk->visited < count) {
        visit_home(walk, array, place_bucket(array, from), from);
        from = next_home(array, from);
    }
    session_saw(walk->s, shard);
    return from;
}

void table_scan_records(struct table_session *s, uint64_t *cursor, size_t count, table_visit visit,
                        void *context)
{
    struct walk walk = {s, visit, context, 0, 0};
    uint64_t shard = *cursor >> PLACE_BITS;
    uint32_t from = (uint32_t)(*cursor & ((1u << PLACE_BITS) - 1));
    for (; shard < TABLE_SHARDS && walk.visited < count; shard++) {
        from = walk_shard(&walk, (uint32_t)shard, from, count);
        if (from < PLACES)
            break;
        from = 0;
    }
    *cursor = shard < TABLE_SHARDS ? shard << PLACE_BITS | from : 0;
}

/* Whom records without their expiries are for. */
struct plain_visit {
    tarn_visit visit;
    void *context;
};

static void visit_plainly(void *context, const struct tarn_record *record)
{
    const struct plain_visit *plain = context;
    plain->visit(plain->context, record->key, record->value);
}

void table_scan(struct table_session *s, uint64_t *cursor, size_t count, tarn_visit visit,
                void *context)
{
    struct plain_visit plain = {visit, context};
    table_scan_records(s, cursor, count, visit_plainly, &plain);
}

/* --- a random key --- */

struct choice {
    uint64_t random;
    uint64_t seen;
    struct tarn_bytes key;
};

/* Keep each of the keys seen with the same chance (reservoir sampling, Vitter 1985). */
static void choose(void *context, const struct tarn_record *record)
{
    struct choice *choice = context;
    choice->random = choice->random * 6364136223846793005u + 1442695040888963407u;
    if ((choice->random >> 33) % ++choice->seen == 0)
        choice->key = record->key;
}

int table_random_key(struct table_session *s, uint64_t random, struct tarn_bytes *ret_key)
{
    struct choice choice = {.random = random};
    struct walk walk = {s, choose, &choice, 0, 0};
    uint32_t first = (uint32_t)(random >> (64 - TABLE_SHARD_BITS));
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
