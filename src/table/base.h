/* What lies under a table: records that hold as long as the table has nothing of their keys.
 * Private to the table folder; table.h has what others see.
 *
 * Items COVER the base's record of their key, if there is one. As long as a shard rests on the
 * base, what covers does not leave it: a key that is taken out stays as a dead item, which says
 * that it is not there. Once all records of a shard have been adopted, it does not rest on the base
 * any more. */
#ifndef TABLE_BASE_H
#define TABLE_BASE_H

#include "core/buffer.h"
#include "table/shard.h"

struct under {
    struct table_base base;
    _Atomic int64_t left;            /* records that no item is known to cover */
    _Atomic int64_t dead;            /* dead items */
    _Atomic bool done[TABLE_SHARDS]; /* the shard does not rest on the base; the lock's */
    uint32_t adopted[TABLE_SHARDS];  /* items known to cover a record; the shard's lock */
};

/* The base, if this shard rests on it; else NULL. Without the lock, ask after the look-up that
 * found nothing: then there was nothing while the base held. */
static inline struct under *table_under(const struct table *t, uint32_t shard)
{
    struct under *u = atomic_load_explicit(&t->under, memory_order_acquire);
    if (__builtin_expect(u == NULL, 1))
        return NULL;
    return atomic_load_explicit(&u->done[shard], memory_order_acquire) ? NULL : u;
}

/* The table has nothing of this key: what the base has of it. Its record is adopted, so that it is
 * found in the table from now on, unless the base itself lies in memory. The view is valid as that
 * of an item. TARN_OK, NOTFOUND; BUSY: look into the table again, which has something now, or does
 * not rest on the base any more; IO, CORRUPT, NOMEM. */
TARN_MUST int base_read(struct table_session *s, struct place place, struct tarn_bytes key,
                        struct item_parts *ret_parts);

/* Make sure that the table has the record of a key that is to be changed, if the base has one. The
 * caller does not have the shard's lock, unless by table_begin(). TARN_OK; FULL, IO, CORRUPT,
 * NOMEM. */
TARN_MUST int base_fault(struct table_session *s, struct place place, struct tarn_bytes key);

static inline int table_fault(struct table_session *s, struct tarn_bytes key)
{
    if (__builtin_expect(atomic_load_explicit(&s->table->under, memory_order_relaxed) == NULL, 1))
        return TARN_OK;
    return base_fault(s, table_place(s->table, key), key);
}

/* table_delete() for who need not know whether the key was there: without a journal, a base on disk
 * is not read. */
TARN_MUST int base_delete(struct table_session *s, struct tarn_bytes key);

/* An item is about to be put in, or in the place of another one. */
void base_cover_locked(struct table_session *s, uint32_t shard, struct item *item);
void base_replace_locked(struct table_session *s, const struct item *old, struct item *item);
/* An item is about to be taken out: true if it is to stay as a dead one, which *ret_dead is from
 * now on (perhaps the same item). */
bool base_bury_locked(struct table_session *s, uint32_t shard, struct item *item,
                      struct item **ret_dead);
/* By how many items a full shard that holds so many should grow, because its records will come; 0:
 * as it likes. */
static inline uint32_t base_growth(const struct table *t, uint32_t shard, uint32_t items)
{
    const struct under *u = table_under(t, shard);
    if (__builtin_expect(u == NULL, 1) || u->base.stays)
        return 0;
    uint64_t expected = u->base.records / TABLE_SHARDS;
    if (expected <= items)
        return 0;
    return expected - items < items ? (uint32_t)(expected - items) : items;
}

/* Every shard is locked and loses its items: nothing rests on the base any more. */
void base_flush_locked(struct table *t);

/* Keys of the base count as keys. Any thread that is online. */
void base_add_figures(const struct table *t, struct tarn_stats *stats);

#endif
