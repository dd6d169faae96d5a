/* Shards: locks, changes, and taking single items in and out.
 *
 * Invariants
 * 1. All changes of a shard happen under its lock, between change_begin and change_end.
 * 2. SHARD_BUSY is set only by the lock's holder, who then has all the locks it will need.
 * 3. What leaves a shard is retired, never freed here.
 * Failure modes: only shard_make_room_locked() can fail; the shard is as it was. */
#include "table/shard.h"

#include "table/base.h"
#include "table/reclaim.h"

#define GROWTH_DIVISOR 16 /* grow by a sixteenth: 96 % down to 90 % full */

/* --- locking --- */

static inline void lock(struct table *t, uint32_t i)
{
    lock_take(&t->shards[i].lock);
}

static inline void unlock(struct table *t, uint32_t i)
{
    lock_give(&t->shards[i].lock);
}

bool shard_is_locked(const struct table_session *s, uint32_t i)
{
    return (s->locked_shards[i / 64] >> i % 64 & 1) != 0;
}

void shard_lock(struct table_session *s, uint32_t i)
{
    if (s->locked)
        ASSERT(shard_is_locked(s, i));
    else
        lock(s->table, i);
}

void shard_unlock(struct table_session *s, uint32_t i)
{
    if (!s->locked)
        unlock(s->table, i);
}

/* The lock's holder is the only writer: plain arithmetic. */
static inline void step_version(struct shard *shard)
{
    uint64_t version = atomic_load_explicit(&shard->version, memory_order_relaxed);
    atomic_store_explicit(&shard->version, version + 1, memory_order_release);
}

void shard_change_begin_locked(struct table_session *s, uint32_t i)
{
    if (!s->locked)
        step_version(&s->table->shards[i]);
}

void shard_change_end_locked(struct table_session *s, uint32_t i)
{
    if (!s->locked)
        step_version(&s->table->shards[i]);
}

static void each_locked_shard(struct table_session *s, void (*act)(struct table *t, uint32_t i))
{
    for (uint32_t word = 0; word < TABLE_SHARDS / 64; word++)
        for (uint64_t bits = s->locked_shards[word]; bits != 0; bits &= bits - 1)
            act(s->table, word * 64 + (uint32_t)__builtin_ctzll(bits));
}

static void begin_change(struct table *t, uint32_t i)
{
    struct shard *shard = &t->shards[i];
    uintptr_t array = atomic_load_explicit(&shard->array, memory_order_relaxed);
    step_version(shard);
    atomic_store_explicit(&shard->array, array | SHARD_BUSY, memory_order_release);
}

static void end_change(struct table *t, uint32_t i)
{
    struct shard *shard = &t->shards[i];
    uintptr_t array = atomic_load_explicit(&shard->array, memory_order_relaxed);
    atomic_store_explicit(&shard->array, array & ~(uintptr_t)SHARD_BUSY, memory_order_release);
    step_version(shard);
}

void shards_lock(struct table_session *s)
{
    each_locked_shard(s, lock);
}

void shards_unlock(struct table_session *s)
{
    each_locked_shard(s, unlock);
}

void shards_change_begin_locked(struct table_session *s)
{
    each_locked_shard(s, begin_change);
}

void shards_change_end_locked(struct table_session *s)
{
    each_locked_shard(s, end_change);
}

/* --- items --- */

/* Publish another array, keeping the busy mark. */
static void set_array(struct shard *shard, struct array *array)
{
    uintptr_t old = atomic_load_explicit(&shard->array, memory_order_relaxed);
    atomic_store_explicit(&shard->array, (uintptr_t)array | (old & SHARD_BUSY),
                          memory_order_release);
}

void shard_set_array_locked(struct table_session *s, uint32_t i, struct array *array,
                            enum retired_kind kind)
{
    struct shard *shard = &s->table->shards[i];
    struct array *old = shard_array_locked(shard);
    if (array != &shard_empty)
        array->shard = i;
    set_array(shard, array);
    if (old != &shard_empty)
        reclaim_add(s, kind, old, old->bytes);
}

/* Publish an array that has just been made of the shard's. */
static void put_array_locked(struct table_session *s, uint32_t i, struct array *array)
{
    array->pending = shard_array_locked(&s->table->shards[i])->pending;
    shard_change_begin_locked(s, i);
    shard_set_array_locked(s, i, array, RETIRED_ARRAY);
    shard_change_end_locked(s, i);
}

bool shard_make_dues_locked(struct table_session *s, uint32_t i)
{
    struct array *array = shard_array_locked(&s->table->shards[i]);
    if (__builtin_expect(array->due != NULL, 1))
        return true;
    struct array *dues = array_with_dues(s->table, array);
    if (dues != NULL)
        put_array_locked(s, i, dues);
    return dues != NULL;
}

/* By how many items a full array is to grow at most: while a log is replayed, or over a base whose
 * records will come, not by small steps. */
static uint32_t growth_wanted(const struct table *t, uint32_t i, uint32_t items_max)
{
    if (atomic_load_explicit(&t->timeless, memory_order_relaxed))
        return items_max;
    return base_growth(t, i, items_max);
}

/* A larger array, for `needed` items; NULL: no memory. */
static struct array *grow(struct table *t, uint32_t i, const struct array *array, uint32_t needed)
{
    /* A small array takes the slab's next size, 4 % more. */
    uint32_t more = array->bytes < SLAB_BYTES_MAX ? 1 : array->items_max / GROWTH_DIVISOR + 1;
    uint32_t wanted = growth_wanted(t, i, array->items_max);
    struct array *grown = NULL;
    if (wanted > more && array->items_max + wanted > needed)
        grown = array_rebuild(t, array, array->items_max + wanted);
    if (grown != NULL)
        return grown;
    return array_rebuild(t, array,
                         needed > array->items_max + more ? needed : array->items_max + more);
}

bool shard_make_room_locked(struct table_session *s, uint32_t i)
{
    struct table *t = s->table;
    struct array *array = shard_array_locked(&t->shards[i]);
    uint32_t needed = array->items_count + array->pending + 1;
    if (needed <= array->items_max)
        return true;
    struct array *grown = grow(t, i, array, needed);
    if (grown == NULL)
        return array->items_max > 0 && needed <= array->buckets_count * BUCKET_SLOTS;
    put_array_locked(s, i, grown);
    return true;
}

int table_fit(struct table_session *s)
{
    for (uint32_t i = 0; i < TABLE_SHARDS; i++) {
        if (!reclaim_reserve(s, 1))
            return TARN_NOMEM;
        shard_lock(s, i);
        const struct array *array = shard_array_locked(&s->table->shards[i]);
        uint32_t items = array->items_count + array->items_count / GROWTH_DIVISOR;
        struct array *fit = NULL;
        if (array->items_max > items + items / GROWTH_DIVISOR + BUCKET_SLOTS &&
            table_under(s->table, i) == NULL)
            fit = array_rebuild(s->table, array, items);
        if (fit != NULL)
            put_array_locked(s, i, fit);
        shard_unlock(s, i);
    }
    return TARN_OK;
}

void shard_expect_locked(struct table_session *s, uint32_t i, uint32_t more)
{
    struct array *array = shard_array_locked(&s->table->shards[i]);
    uint32_t wanted = array->items_count + array->pending + more;
    struct array *grown = wanted > array->items_max ? array_rebuild(s->table, array, wanted) : NULL;
    if (grown != NULL)
        put_array_locked(s, i, grown);
}

uint64_t shard_find_locked(const struct shard *shard, uint32_t place_index, struct tarn_bytes key,
                           struct position *ret_position)
{
    struct array *array = shard_array_locked(shard);
    uint64_t slot = array_find(array, place_index, key, &ret_position->bucket, &ret_position->slot);
    ret_position->array = array;
    return slot;
}

static inline void add(_Atomic int64_t *counter, int64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* What an expiry adds to the sum for the mean: not more than 34 years, so that it never wraps. */
static int64_t expiry_term(const struct table *t, int64_t expire_ms)
{
    int64_t left = expire_ms - t->start_ms;
    return left < (int64_t)1 << 40 ? left : (int64_t)1 << 40;
}

/* Count an item with this expiry in (sign 1) or out (-1). */
static void count_expiry(struct table_session *s, struct array *array, int64_t expire_ms, int sign)
{
    if (expire_ms == 0 || expire_ms == ITEM_DEAD_MS)
        return;
    struct stripe *stripe = table_stripe(s);
    add(&stripe->expiring, sign);
    int64_t term = sign * expiry_term(s->table, expire_ms);
    add(&stripe->expire_ms_sum, term);
    array->expire_ms_sum += term;
    array->expiring_count += (uint32_t)sign;
}

/* An item in this bucket expires then: lower the due times of bucket and shard if they are later.
 */
static inline void note_expiry(struct table_session *s, uint32_t i, struct array *array,
                               uint32_t bucket, int64_t expire_ms)
{
    if (expire_ms == 0)
        return;
    struct table *t = s->table;
    array_note_expiry(array, bucket, expire_ms, table_now_ms(t));
    due_time before = atomic_load_explicit(&t->due_first[i], memory_order_relaxed), first = before;
    due_lower(&first, array->due[bucket]);
    if (first == before)
        return;
    atomic_store_explicit(&t->due_first[i], first, memory_order_seq_cst); /* then: idle? */
    reclaim_expect(t->reclaim);
}

void shard_adopt_locked(struct table_session *s, uint32_t i, uint32_t place_index,
                        struct item *item)
{
    struct array *array = shard_array_locked(&s->table->shards[i]);
    int64_t expire_ms = item_is_dead(item) ? 0 : item_parts(item).expire_ms;
    uint32_t bucket =
        array_insert(array, place_index, slot_make(place_index, item, expire_ms != 0));
    note_expiry(s, i, array, bucket, expire_ms);
    count_expiry(s, array, expire_ms, 1);
    add(&table_stripe(s)->items, 1);
    s->waits = 0;
}

void shard_insert_locked(struct table_session *s, uint32_t i, uint32_t place_index,
                         struct item *item)
{
    struct shard *shard = &s->table->shards[i];
    if (__builtin_expect(shard->watches != NULL, 0))
        watch_notify_locked(shard, item_parts(item).key);
    base_cover_locked(s, i, item);
    shard_adopt_locked(s, i, place_index, item);
}

/* Publish another item of the same key, and retire the old one. */
static void change_slot(struct table_session *s, struct position position, struct item *item,
                        int64_t expire_ms)
{
    _Atomic uint64_t *slot = &position.array->buckets[position.bucket].slots[position.slot];
    uint64_t word = atomic_load_explicit(slot, memory_order_relaxed);
    struct item *old = slot_item(word);
    atomic_store_explicit(slot,
                          (word & ~(SLOT_ADDRESS_MASK | SLOT_EXPIRES)) | (uintptr_t)item |
                              (expire_ms != 0 ? SLOT_EXPIRES : 0),
                          memory_order_release);
    if (item != old)
        reclaim_add(s, RETIRED_ITEM, old, item_bytes(old));
}

void shard_remove_locked(struct table_session *s, uint32_t i, struct position position)
{
    struct shard *shard = &s->table->shards[i];
    struct bucket *bucket = &position.array->buckets[position.bucket];
    struct item *item =
        slot_item(atomic_load_explicit(&bucket->slots[position.slot], memory_order_relaxed));
    struct item_parts parts = item_parts(item);
    struct item *dead;
    if (__builtin_expect(parts.expire_ms == ITEM_DEAD_MS, 0))
        return;
    if (__builtin_expect(shard->watches != NULL, 0))
        watch_notify_locked(shard, parts.key);
    if (base_bury_locked(s, i, item, &dead)) {
        change_slot(s, position, dead, 0);
        count_expiry(s, position.array, parts.expire_ms, -1);
        return;
    }
    array_remove(position.array, position.bucket, position.slot);
    count_expiry(s, position.array, parts.expire_ms, -1);
    add(&table_stripe(s)->items, -1);
    reclaim_add(s, RETIRED_ITEM, item, item_bytes(item));
}

static const struct item *item_at(struct position p)
{
    return slot_item(
        atomic_load_explicit(&p.array->buckets[p.bucket].slots[p.slot], memory_order_relaxed));
}

void shard_drop_dead_locked(struct table_session *s, struct position position)
{
    struct item *item = (struct item *)(uintptr_t)item_at(position);
    array_remove(position.array, position.bucket, position.slot);
    add(&table_stripe(s)->items, -1);
    reclaim_add(s, RETIRED_ITEM, item, item_bytes(item));
}

void shard_remove_expired_locked(struct table_session *s, uint32_t i, struct position position)
{
    if (item_is_dead(item_at(position)))
        return;
    shard_change_begin_locked(s, i);
    shard_remove_locked(s, i, position);
    shard_change_end_locked(s, i);
    atomic_fetch_add_explicit(&table_stripe(s)->expired, 1, memory_order_relaxed);
}

void shard_replace_locked(struct table_session *s, uint32_t i, struct position position,
                          struct item *item)
{
    struct shard *shard = &s->table->shards[i];
    _Atomic uint64_t *slot = &position.array->buckets[position.bucket].slots[position.slot];
    uint64_t word = atomic_load_explicit(slot, memory_order_relaxed);
    struct item_parts before = item_parts(slot_item(word)), after = item_parts(item);
    base_replace_locked(s, slot_item(word), item);
    if (__builtin_expect(shard->watches != NULL, 0))
        watch_notify_locked(shard, after.key);
    note_expiry(s, i, position.array, position.bucket, after.expire_ms);
    if (session_marks(s)) /* writing a key again is use of it */
        item_visit(item);
    change_slot(s, position, item, after.expire_ms);
    count_expiry(s, position.array, before.expire_ms, -1);
    count_expiry(s, position.array, after.expire_ms, 1);
    s->waits = 0;
}

void shard_set_expiry_locked(struct table_session *s, uint32_t i, struct position position,
                             int64_t before_ms, int64_t expire_ms)
{
    struct shard *shard = &s->table->shards[i];
    _Atomic uint64_t *slot = &position.array->buckets[position.bucket].slots[position.slot];
    uint64_t word = atomic_load_explicit(slot, memory_order_relaxed);
    if (__builtin_expect(shard->watches != NULL, 0))
        watch_notify_locked(shard, item_parts(slot_item(word)).key);
    note_expiry(s, i, position.array, position.bucket, expire_ms);
    atomic_store_explicit(slot, (word & ~SLOT_EXPIRES) | (expire_ms != 0 ? SLOT_EXPIRES : 0),
                          memory_order_release);
    count_expiry(s, position.array, before_ms, -1);
    count_expiry(s, position.array, expire_ms, 1);
}
