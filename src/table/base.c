/* The base of a table: see base.h.
 *
 * How: a look-up that finds nothing asks the base. A record that lies on disk is adopted: put in as
 * an item, which is no change, so nobody is told or disturbed. Before a key is changed its record
 * is adopted too, so that all else in the table needs to know only about items; a plain put does
 * without, and covers what there may be. table_adopt() takes in the rest, shard by shard.
 *
 * Invariants
 * 1. While a shard rests on the base, a key of which it has no item is as the base says.
 * 2. `done` goes to true once, under the shard's lock, when the shard has an item of every key that
 *    is there (or every key is gone: a flush); only then dead items may leave it.
 * 3. `left` + live items = keys, but for items that cover a record nobody has looked for: `left`
 *    counts those until the shard is done.
 * Failure modes: a base that cannot be read: that look-up or change fails, nothing else; no room to
 * adopt: a reader gets a copy of its own, a change fails (FULL). */
#include "table/base.h"

#include <stdlib.h>

#include "core/qsbr.h"
#include "table/journal.h"
#include "table/reclaim.h"

#define ADOPTED_AT_ONCE 64

static uint64_t hash_of(const struct table *t, struct tarn_bytes key)
{
    return hash_key(t->secret, key);
}

static int find(struct table_session *s, const struct under *u, struct tarn_bytes key,
                struct tarn_record *ret_record)
{
    return u->base.find(u->base.context, key, hash_of(s->table, key), &s->scratch, ret_record);
}

static void add(_Atomic int64_t *counter, int64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* --- adopting --- */

/* Put in an item of a record of the base, or a dead one, unless the shard has one of its key by now
 * or does not need it. TARN_OK: the item is in; BUSY: not needed; FULL. */
static int put_in_locked(struct table_session *s, struct place place, struct tarn_bytes key,
                         struct item *item)
{
    struct position position;
    struct under *u = table_under(s->table, place.shard);
    if (u == NULL ||
        shard_find_locked(&s->table->shards[place.shard], place.index, key, &position) != 0)
        return TARN_BUSY;
    bool dead = item_is_dead(item);
    if ((!dead && item_expires(item) && !shard_make_dues_locked(s, place.shard)) ||
        !shard_make_room_locked(s, place.shard))
        return table_no_memory(s->table);
    item_mark(item, ITEM_COVERS);
    shard_adopt_locked(s, place.shard, place.index, item);
    if (dead) {
        add(&u->dead, 1);
        return TARN_OK;
    }
    u->adopted[place.shard]++;
    add(&u->left, -1);
    return TARN_OK;
}

/* ... and free it if it is not needed or there is no room. */
static int put_in(struct table_session *s, struct place place, struct tarn_bytes key,
                  struct item *item)
{
    shard_lock(s, place.shard);
    int status = put_in_locked(s, place, key, item);
    shard_unlock(s, place.shard);
    if (status != TARN_OK)
        table_free_item(s, item);
    return status;
}

/* A dead item that nobody sees yet; NULL: no memory. */
static struct item *make_dead(struct table_session *s, struct tarn_bytes key)
{
    struct item *item =
        item_new(&s->table->items, s->arena, key, (struct tarn_bytes){NULL, 0}, 0, 0);
    if (item != NULL)
        item_mark(item, ITEM_COVERS | ITEM_DEAD);
    return item;
}

/* Without the lock: is there an item of this key? As long as its shard rests on the base it stays.
 */
static bool is_covered(const struct table *t, struct place place, struct tarn_bytes key)
{
    uint32_t bucket;
    unsigned i;
    return array_find(shard_array(&t->shards[place.shard]), place.index, key, &bucket, &i) != 0;
}

/* TARN_OK: the shard has an item of this key now, or does not rest on the base. */
static int adopt(struct table_session *s, struct place place, const struct tarn_record *record)
{
    if (!reclaim_reserve(s, RETIRED_BY_ONE))
        return TARN_NOMEM;
    struct item *item = table_make_item(s, record);
    if (item == NULL)
        return table_no_memory(s->table);
    int status = put_in(s, place, record->key, item);
    return status == TARN_BUSY ? TARN_OK : status;
}

/* There is no room for the record in the table, or its shard is not the session's: a copy that goes
 * when the session is quiescent. */
static int lend(struct table_session *s, const struct tarn_record *record,
                struct item_parts *ret_parts)
{
    if (!reclaim_reserve(s, 1))
        return TARN_NOMEM;
    struct item *item =
        item_new_beyond(&s->table->items, record->key, record->value, record->expire_ms);
    if (item == NULL)
        return TARN_NOMEM;
    item_freeze(item);
    *ret_parts = item_parts(item);
    reclaim_add(s, RETIRED_ITEM, item, item_bytes(item));
    return TARN_OK;
}

int base_read(struct table_session *s, struct place place, struct tarn_bytes key,
              struct item_parts *ret_parts)
{
    struct tarn_record record;
    int64_t now_ms = 0;
    const struct under *u = table_under(s->table, place.shard);
    if (u == NULL)
        return TARN_BUSY;
    int status = find(s, u, key, &record);
    if (status != TARN_OK)
        return status;
    if (table_expired(s->table, record.expire_ms, &now_ms))
        return TARN_NOTFOUND;
    if (u->base.stays) {
        *ret_parts = (struct item_parts){record.key, record.value, record.expire_ms};
        return TARN_OK;
    }
    if (s->locked && !shard_is_locked(s, place.shard))
        return lend(s, &record, ret_parts);
    status = adopt(s, place, &record);
    return status == TARN_OK ? TARN_BUSY : lend(s, &record, ret_parts);
}

int base_fault(struct table_session *s, struct place place, struct tarn_bytes key)
{
    struct tarn_record record;
    int64_t now_ms = 0;
    if (is_covered(s->table, place, key))
        return TARN_OK;
    const struct under *u = table_under(s->table, place.shard);
    if (u == NULL)
        return TARN_OK;
    int status = find(s, u, key, &record);
    if (status == TARN_OK && !table_expired(s->table, record.expire_ms, &now_ms))
        return adopt(s, place, &record);
    return status == TARN_NOTFOUND ? TARN_OK : status;
}

int base_delete(struct table_session *s, struct tarn_bytes key)
{
    struct place place = table_place(s->table, key);
    const struct under *u = table_under(s->table, place.shard);
    if (u == NULL || u->base.stays || table_is_journaled(s->table) ||
        is_covered(s->table, place, key))
        return table_delete(s, key);
    if (!reclaim_reserve(s, RETIRED_BY_ONE))
        return TARN_NOMEM;
    struct item *dead = make_dead(s, key);
    int status = dead != NULL ? put_in(s, place, key, dead) : table_no_memory(s->table);
    return status == TARN_BUSY ? table_delete(s, key) : status;
}

/* --- items that cover --- */

void base_cover_locked(struct table_session *s, uint32_t shard, struct item *item)
{
    struct tarn_record record;
    struct under *u = table_under(s->table, shard);
    if (u == NULL)
        return;
    int status = u->base.stays ? find(s, u, item_parts(item).key, &record) : TARN_BUSY;
    if (status == TARN_NOTFOUND)
        return;
    if (status == TARN_OK)
        add(&u->left, -1);
    item_mark(item, ITEM_COVERS); /* as well if that cannot be known */
}

void base_replace_locked(struct table_session *s, const struct item *old, struct item *item)
{
    struct under *u = atomic_load_explicit(&s->table->under, memory_order_relaxed);
    if (u == NULL)
        return;
    if (item_flags(old) & ITEM_COVERS)
        item_mark(item, ITEM_COVERS);
    if (item_is_dead(old))
        add(&u->dead, -1);
}

bool base_bury_locked(struct table_session *s, uint32_t shard, struct item *item,
                      struct item **ret_dead)
{
    struct under *u = table_under(s->table, shard);
    if (u == NULL || !(item_flags(item) & ITEM_COVERS))
        return false;
    struct item *dead = make_dead(s, item_parts(item).key);
    item_freeze(item);
    if (dead == NULL)
        item_mark(item, ITEM_COVERS | ITEM_DEAD); /* it keeps its memory */
    *ret_dead = dead != NULL ? dead : item;
    add(&u->dead, 1);
    return true;
}

void base_flush_locked(struct table *t)
{
    struct under *u = atomic_load_explicit(&t->under, memory_order_relaxed);
    if (u == NULL)
        return;
    for (uint32_t i = 0; i < TABLE_SHARDS; i++)
        atomic_store_explicit(&u->done[i], true, memory_order_release);
    atomic_store_explicit(&u->left, 0, memory_order_relaxed);
    atomic_store_explicit(&u->dead, 0, memory_order_relaxed);
}

/* --- the base as a whole --- */

int table_base_set(struct table *t, const struct table_base *base)
{
    struct under *u = calloc(1, sizeof *u);
    if (u == NULL)
        return TARN_NOMEM;
    u->base = *base;
    atomic_store_explicit(&u->left, (int64_t)base->records, memory_order_relaxed);
    budget_charge(&t->budget, sizeof *u);
    t->under_owned = u;
    atomic_store_explicit(&t->under, u, memory_order_release);
    return TARN_OK;
}

void table_base_forget(struct table *t)
{
    qsbr_wait(); /* who found nothing in a shard that was not done is through */
    atomic_store_explicit(&t->under, NULL, memory_order_release);
    qsbr_wait(); /* who asked the base is, too */
}

bool table_base_rests(const struct table *t, uint32_t shard)
{
    return table_under(t, shard) != NULL;
}

bool table_key_rests(struct table_session *s, struct tarn_bytes key)
{
    return table_base_rests(s->table, table_place(s->table, key).shard);
}

uint64_t table_own_keys(struct table *t)
{
    int64_t items = 0;
    for (unsigned i = 0; i < STRIPES; i++)
        items += atomic_load_explicit(&t->stripes[i].items, memory_order_relaxed);
    const struct under *u = table_under(t, 0); /* if it stays, all shards rest on it or none */
    if (u != NULL)
        items -= (int64_t)u->base.records - atomic_load_explicit(&u->left, memory_order_relaxed);
    return items > 0 ? (uint64_t)items : 0;
}

void table_base_expect(struct table_session *s, uint32_t shard, uint64_t records)
{
    if (!reclaim_reserve(s, 1))
        return;
    shard_lock(s, shard);
    const struct under *u = table_under(s->table, shard);
    if (u != NULL && records > u->adopted[shard] && records < UINT32_MAX)
        shard_expect_locked(s, shard, (uint32_t)records - u->adopted[shard]);
    shard_unlock(s, shard);
}

int table_adopt(struct table_session *s, const struct tarn_record *records, size_t count)
{
    struct tarn_bytes keys[ADOPTED_AT_ONCE] = {{NULL, 0}};
    int status = TARN_OK;
    int64_t now_ms = 0;
    ASSERT(count <= ADOPTED_AT_ONCE);
    for (size_t i = 0; i < count; i++)
        keys[i] = records[i].key;
    table_prefetch(s, keys, count);
    for (size_t i = 0; i < count && status == TARN_OK; i++) {
        struct place place = table_place(s->table, records[i].key);
        if (!table_expired(s->table, records[i].expire_ms, &now_ms) &&
            !is_covered(s->table, place, records[i].key))
            status = adopt(s, place, &records[i]);
    }
    return status;
}

/* Dead items of an array, or (remove) take them out. */
static uint32_t bury_all_locked(struct table_session *s, struct array *array, bool remove)
{
    uint32_t count = 0;
    for (uint32_t b = 0; b < array->buckets_count; b++)
        for (unsigned i = 0; i < BUCKET_SLOTS; i++) {
            uint64_t slot = atomic_load_explicit(&array->buckets[b].slots[i], memory_order_relaxed);
            if (slot == 0 || !item_is_dead(slot_item(slot)))
                continue;
            count++;
            if (remove)
                shard_drop_dead_locked(s, (struct position){array, b, i});
        }
    return count;
}

int table_base_done(struct table_session *s, uint32_t shard, uint64_t records)
{
    struct table *t = s->table;
    uint32_t reserved = 0;
    for (;;) {
        if (!reclaim_reserve(s, reserved))
            return TARN_NOMEM;
        shard_lock(s, shard);
        struct under *u = table_under(t, shard);
        struct array *array = shard_array_locked(&t->shards[shard]);
        uint32_t dead = u != NULL ? bury_all_locked(s, array, false) : 0;
        if (dead > reserved) {
            shard_unlock(s, shard);
            reserved = dead;
            continue;
        }
        if (u != NULL) {
            atomic_store_explicit(&u->done[shard], true, memory_order_release);
            if (dead > 0)
                bury_all_locked(s, array, true);
            add(&u->dead, -(int64_t)dead);
            add(&u->left, (int64_t)u->adopted[shard] - (int64_t)records);
        }
        shard_unlock(s, shard);
        return TARN_OK;
    }
}

void base_add_figures(const struct table *t, struct tarn_stats *stats)
{
    struct under *u = atomic_load_explicit(&t->under, memory_order_acquire);
    if (u == NULL)
        return;
    int64_t left = atomic_load_explicit(&u->left, memory_order_relaxed);
    int64_t dead = atomic_load_explicit(&u->dead, memory_order_relaxed);
    int64_t keys = (int64_t)stats->keys + left - dead;
    stats->keys = stats->records = keys > 0 ? (uint64_t)keys : 0;
    stats->base_records_left = left > 0 ? (uint64_t)left : 0;
}
