/* Reading the table, without locks.
 *
 * How: a batch is approached in steps, each for all its keys, so that their memory accesses
 * overlap: hash and shard; array; bucket; item. Only then is each key looked up, in order, from its
 * shard on: what was seen on approach is not used. Several keys at one moment: look up between two
 * readings of the shards' versions; if a version was odd or has changed, again, and at last with
 * the shards locked.
 *
 * Invariants
 * 1. A shard's array is loaded anew for each look-up, after the one before: so the look-ups of a
 *    session happen in their order.
 * 2. A view of a large item's value is given away only frozen.
 * Failure modes: none; a missing key is an answer. */
#include "table/base.h"
#include "table/journal.h"

#define BATCH       64
#define TRIES_MAX   4
#define LINE_OFFSET (CACHE_LINE_BYTES - 1)

/* --- one key --- */

/* The present, unexpired item of a key taken apart, ready to be given away. TARN_OK, NOTFOUND;
 * BUSY: the table has nothing of this key. */
static inline int look_into_table(struct table_session *s, struct place place,
                                  struct tarn_bytes key, bool marks, int64_t *now_ms,
                                  struct item_parts *ret_parts)
{
    uint32_t bucket;
    unsigned i;
    uint64_t slot =
        array_find(table_array_for_reading(s, place.shard), place.index, key, &bucket, &i);
    if (slot == 0) {
        session_saw(s, place.shard);
        return TARN_BUSY;
    }
    const struct item *item = slot_item(slot);
    item_freeze(item);
    *ret_parts = item_parts(item);
    session_saw(s, place.shard); /* after: it may have been changed in place */
    if (table_expired(s->table, ret_parts->expire_ms, now_ms))
        return TARN_NOTFOUND;
    if (marks)
        item_visit(item);
    return TARN_OK;
}

/* The table had nothing of this key, and it has a base. */
static __attribute__((noinline)) int look_below(struct table_session *s, struct place place,
                                                struct tarn_bytes key, bool marks, int64_t *now_ms,
                                                struct item_parts *ret_parts)
{
    for (;;) {
        bool done = table_under(s->table, place.shard) == NULL;
        int status = done ? TARN_BUSY : base_read(s, place, key, ret_parts);
        if (status == TARN_BUSY)
            status = look_into_table(s, place, key, marks, now_ms, ret_parts);
        if (status != TARN_BUSY)
            return status;
        if (done)
            return TARN_NOTFOUND;
    }
}

/* A key's record, ready to be given away. TARN_OK, NOTFOUND, or why it cannot be read. Only copies
 * are handed on to where it is not inlined: so the caller's stay in registers. */
static inline int look_up(struct table_session *s, struct place place, struct tarn_bytes key,
                          bool marks, int64_t *now_ms, struct item_parts *ret_parts)
{
    int status = look_into_table(s, place, key, marks, now_ms, ret_parts);
    if (status != TARN_BUSY)
        return status;
    if (__builtin_expect(atomic_load_explicit(&s->table->under, memory_order_acquire) == NULL, 1))
        return TARN_NOTFOUND;
    struct item_parts parts = {.expire_ms = 0};
    int64_t time_ms = *now_ms;
    status = look_below(s, place, key, marks, &time_ms, &parts);
    *now_ms = time_ms;
    *ret_parts = parts;
    return status;
}

int table_get(struct table_session *s, struct tarn_bytes key, struct tarn_record *ret_record)
{
    struct item_parts parts;
    int64_t now_ms = 0;
    int status = look_up(s, table_place(s->table, key), key, session_marks(s), &now_ms, &parts);
    if (status != TARN_OK)
        return status;
    *ret_record = (struct tarn_record){key, parts.value, parts.expire_ms};
    return TARN_OK;
}

/* What is known of a key of which the table had nothing. */
static int about_below(struct table_session *s, struct place place, struct tarn_bytes key,
                       struct table_about *ret_about)
{
    struct item_parts parts;
    uint32_t bucket;
    unsigned i;
    int64_t now_ms = 0;
    if (atomic_load_explicit(&s->table->under, memory_order_acquire) == NULL)
        return TARN_NOTFOUND;
    int status = look_below(s, place, key, false, &now_ms, &parts);
    if (status != TARN_OK)
        return status;
    uint64_t slot = /* perhaps the table has it by now */
        array_find(table_array_for_reading(s, place.shard), place.index, key, &bucket, &i);
    *ret_about = (struct table_about){
        parts.expire_ms,
        slot != 0 ? item_bytes(slot_item(slot)) : parts.key.size + parts.value.size,
    };
    return TARN_OK;
}

int table_about(struct table_session *s, struct tarn_bytes key, struct table_about *ret_about)
{
    struct place place = table_place(s->table, key);
    uint32_t bucket;
    unsigned i;
    int64_t now_ms = 0;
    uint64_t slot =
        array_find(table_array_for_reading(s, place.shard), place.index, key, &bucket, &i);
    if (slot == 0) {
        session_saw(s, place.shard);
        return about_below(s, place, key, ret_about);
    }
    int64_t expire_ms = item_parts(slot_item(slot)).expire_ms;
    session_saw(s, place.shard);
    if (table_expired(s->table, expire_ms, &now_ms))
        return TARN_NOTFOUND;
    *ret_about = (struct table_about){expire_ms, item_bytes(slot_item(slot))};
    return TARN_OK;
}

/* --- batches --- */

/* Fetch what look-ups of these keys will touch. count <= BATCH. */
static void approach(const struct table_session *s, const struct tarn_bytes *keys, size_t count,
                     struct place *ret_places)
{
    const struct table *t = s->table;
    const struct array *arrays[BATCH];
    const struct bucket *buckets[BATCH];
    for (size_t i = 0; i < count; i++) {
        ret_places[i] = table_place(t, keys[i]);
        prefetch_line(&t->shards[ret_places[i].shard]);
    }
    for (size_t i = 0; i < count; i++) {
        arrays[i] = shard_array(&t->shards[ret_places[i].shard]);
        prefetch_line(arrays[i]);
    }
    for (size_t i = 0; i < count; i++) {
        buckets[i] = &arrays[i]->buckets[place_bucket(arrays[i], ret_places[i].index)];
        prefetch_line(buckets[i]);
    }
    for (size_t i = 0; i < count; i++) {
        uint64_t tags = atomic_load_explicit(&buckets[i]->tags, memory_order_acquire);
        unsigned match = tags_match(tags, place_tag(ret_places[i].index));
        if (match == 0)
            continue;
        uint64_t slot =
            atomic_load_explicit(&buckets[i]->slots[__builtin_ctz(match)], memory_order_relaxed);
        const char *item = (const char *)slot_item(slot);
        prefetch_line(item);
        prefetch_line(item + LINE_OFFSET);
    }
}

void table_prefetch(struct table_session *s, const struct tarn_bytes *keys, size_t count)
{
    struct place places[BATCH];
    for (size_t i = 0; i < count; i += BATCH)
        approach(s, keys + i, count - i < BATCH ? count - i : BATCH, places);
}

/* The values of keys that were approached. */
static size_t look_up_batch(struct table_session *s, const struct tarn_bytes *keys,
                            const struct place *places, size_t count, struct tarn_bytes *ret_values)
{
    struct item_parts parts;
    bool marks = session_marks(s);
    int64_t now_ms = 0;
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        int status = look_up(s, places[i], keys[i], marks, &now_ms, &parts);
        if (__builtin_expect(status == TARN_OK, 1)) {
            ret_values[i] = parts.value;
            found++;
        } else {
            ret_values[i] = (struct tarn_bytes){NULL, status == TARN_NOTFOUND ? 0 : (size_t)status};
        }
    }
    return found;
}

size_t table_get_many(struct table_session *s, const struct tarn_bytes *keys, size_t count,
                      struct tarn_bytes *ret_values)
{
    struct place places[BATCH];
    size_t found = 0;
    for (size_t from = 0; from < count; from += BATCH) {
        size_t size = count - from < BATCH ? count - from : BATCH;
        approach(s, keys + from, size, places);
        found += look_up_batch(s, keys + from, places, size, ret_values + from);
    }
    return found;
}

/* --- several keys at one moment --- */

/* Note the shards of some more keys in the session's bit map, and their versions as they are before
 * the first look-up there. False: a change is being made in one. */
static bool note_versions(struct table_session *s, const struct place *places, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t shard = places[i].shard;
        uint64_t *word = &s->locked_shards[shard / 64], bit = 1ull << shard % 64;
        if (*word & bit)
            continue;
        *word |= bit;
        s->versions[shard] =
            atomic_load_explicit(&s->table->shards[shard].version, memory_order_acquire);
        if (s->versions[shard] & 1)
            return false;
    }
    return true;
}

static bool versions_unchanged(const struct table_session *s)
{
    for (uint32_t word = 0; word < TABLE_SHARDS / 64; word++)
        for (uint64_t bits = s->locked_shards[word]; bits != 0; bits &= bits - 1) {
            uint32_t shard = word * 64 + (uint32_t)__builtin_ctzll(bits);
            uint64_t version =
                atomic_load_explicit(&s->table->shards[shard].version, memory_order_acquire);
            if (version != s->versions[shard])
                return false;
        }
    return true;
}

/* Look all up between two readings of the shards' versions. A shard's may be read after look-ups in
 * others: all first readings come before all second ones, so there is a moment between them. False:
 * something was changed meanwhile. */
static bool look_up_together(struct table_session *s, const struct tarn_bytes *keys, size_t count,
                             struct tarn_bytes *ret_values, size_t *ret_found)
{
    struct place places[BATCH];
    size_t found = 0;
    memset(s->locked_shards, 0, sizeof s->locked_shards);
    for (size_t from = 0; from < count; from += BATCH) {
        size_t size = count - from < BATCH ? count - from : BATCH;
        approach(s, keys + from, size, places);
        if (!note_versions(s, places, size))
            return false;
        found += look_up_batch(s, keys + from, places, size, ret_values + from);
    }
    *ret_found = found;
    return versions_unchanged(s);
}

size_t table_get_together(struct table_session *s, const struct tarn_bytes *keys, size_t count,
                          struct tarn_bytes *ret_values)
{
    size_t found;
    if (s->locked || count == 1)
        return table_get_many(s, keys, count, ret_values);
    for (int i = 0; i < TRIES_MAX; i++)
        if (look_up_together(s, keys, count, ret_values, &found))
            return found;
    session_note_shards(s, keys, count);
    shards_lock(s);
    s->locked = true; /* look-ups need not wait for anybody */
    found = table_get_many(s, keys, count, ret_values);
    s->locked = false;
    shards_unlock(s);
    return found;
}
