/* The sweep: takes out items whose time is over.
 *
 * How: each shard has the earliest due time of its buckets (table->due_first), each bucket one of
 * its items. Once a DUE_UNIT_MS a pass looks through the shards' (8 KiB), then through the due
 * times of the shards that are due, then at the buckets that are due: what has expired goes, and
 * the due time is set anew from what stays. A shard is locked for SLICE_BUCKETS buckets at a time,
 * whose items are fetched first: some 30 us.
 *
 * A due time is rounded down, so a bucket may be looked at once more than needed; it may be too
 * early, when what it was for has gone. It is never too late (array.c).
 *
 * So an item is taken out at most two DUE_UNIT_MS after its expiry, and freed in the same round.
 *
 * Due times wrap after 109 minutes. If no pass has been for long (sweeping was switched off, the
 * process stopped), the next one looks at all buckets that have any.
 *
 * Failure modes: no memory to retire into: the pass goes on at the next tick. */
#include "table/expire.h"

#include "table/reclaim_internal.h"

#define SLICE_BUCKETS 32u
#define STEP_ITEMS    32768u /* a round's part: some 10 ms */
/* Due times are told apart for 32767 units; half of it is safe. */
#define PASS_GAP_MS_MAX (16000 * DUE_UNIT_MS)

/* Work on one shard. */
struct slice {
    struct reclaim *r;
    uint32_t shard;
    int64_t now_ms;
    due_time now;
    uint32_t due[SLICE_BUCKETS]; /* buckets */
    unsigned due_count;
    unsigned removed;
};

static bool is_due(const struct slice *slice, due_time due)
{
    return due_has_come(due, slice->now) || (due != 0 && slice->r->expire.everything);
}

/* Choose the next buckets to look at, and fetch them. */
static void choose_locked(struct slice *slice, const struct array *array)
{
    struct expire *e = &slice->r->expire;
    slice->due_count = 0;
    if (array->due == NULL)
        e->bucket = array->buckets_count;
    for (; e->bucket < array->buckets_count && slice->due_count < SLICE_BUCKETS; e->bucket++)
        if (is_due(slice, array->due[e->bucket])) {
            prefetch_line(&array->buckets[e->bucket]);
            slice->due[slice->due_count++] = e->bucket;
        }
}

/* The slots of items that expire, a bit each. */
static unsigned expiring_slots(const struct bucket *bucket)
{
    unsigned found = 0;
    for (unsigned i = 0; i < BUCKET_SLOTS; i++)
        if (atomic_load_explicit(&bucket->slots[i], memory_order_relaxed) & SLOT_EXPIRES)
            found |= 1u << i;
    return found;
}

static const struct item *item_at(const struct bucket *bucket, unsigned i)
{
    return slot_item(atomic_load_explicit(&bucket->slots[i], memory_order_relaxed));
}

static void fetch_items_locked(const struct slice *slice, const struct array *array)
{
    for (unsigned n = 0; n < slice->due_count; n++) {
        const struct bucket *bucket = &array->buckets[slice->due[n]];
        for (unsigned slots = expiring_slots(bucket); slots != 0; slots &= slots - 1)
            prefetch_line(item_at(bucket, (unsigned)__builtin_ctz(slots)));
    }
}

static void note_oldest(_Atomic int64_t *oldest_ms, int64_t expire_ms)
{
    int64_t oldest = atomic_load_explicit(oldest_ms, memory_order_relaxed);
    if (expire_ms != 0 && (oldest == 0 || expire_ms < oldest))
        atomic_store_explicit(oldest_ms, expire_ms, memory_order_relaxed);
}

static void sweep_bucket_locked(struct slice *slice, struct array *array, uint32_t b)
{
    const struct bucket *bucket = &array->buckets[b];
    due_time due = 0;
    for (unsigned slots = expiring_slots(bucket); slots != 0; slots &= slots - 1) {
        unsigned i = (unsigned)__builtin_ctz(slots);
        int64_t expire_ms = item_parts(item_at(bucket, i)).expire_ms;
        if (expire_ms > slice->now_ms) {
            due_lower(&due, due_of(expire_ms, slice->now_ms));
            continue;
        }
        note_oldest(&slice->r->expire.oldest_swept_ms, expire_ms);
        shard_remove_expired_locked(slice->r->session, slice->shard,
                                    (struct position){array, b, i});
        slice->removed++;
    }
    array->due[b] = due;
}

/* The earliest due time of an array's buckets, as seen at `now`. */
static due_time earliest(const struct array *array, due_time now)
{
    int least = INT16_MAX;
    bool any = false;
    for (uint32_t b = 0; b < array->buckets_count; b++) {
        int left = (int16_t)(due_time)(array_due(array, b) - now);
        if (array_due(array, b) != 0 && left <= least) {
            least = left;
            any = true;
        }
    }
    due_time due = (due_time)(now + least);
    return any ? due : 0;
}

static void set_first_locked(struct table *t, uint32_t shard, due_time due)
{
    atomic_store_explicit(&t->due_first[shard], due, memory_order_relaxed);
}

void expire_renew_first_locked(struct table *t, uint32_t shard, const struct array *array,
                               due_time now)
{
    set_first_locked(t, shard, earliest(array, now));
}

/* Sweep some buckets of the shard; true: it is through, or can not go on now. */
static bool sweep_some(struct slice *slice)
{
    struct reclaim *r = slice->r;
    struct table_session *s = r->session;
    if (!reclaim_reserve(s, SLICE_BUCKETS * BUCKET_SLOTS))
        return true;
    shard_lock(s, slice->shard);
    struct array *array = shard_array_locked(&r->table->shards[slice->shard]);
    bool through = true;
    if (array == &shard_empty) {
        set_first_locked(r->table, slice->shard, 0);
    } else {
        choose_locked(slice, array);
        fetch_items_locked(slice, array);
        for (unsigned n = 0; n < slice->due_count; n++)
            sweep_bucket_locked(slice, array, slice->due[n]);
        through = r->expire.bucket >= array->buckets_count;
        if (through)
            expire_renew_first_locked(r->table, slice->shard, array, slice->now);
    }
    shard_unlock(s, slice->shard);
    return through;
}

void expire_init(struct reclaim *r)
{
    r->expire.through = true;
    r->expire.pass_ms = table_now_ms(r->table);
}

/* Begin a pass if it is time for one, or go on with the one that is not through. */
static bool has_pass(struct expire *e, int64_t now_ms, due_time now)
{
    if (!e->through)
        return true;
    if (e->unit == now)
        return false;
    e->everything = now_ms - e->pass_ms > PASS_GAP_MS_MAX;
    e->unit = now;
    e->pass_ms = now_ms;
    e->shard = e->bucket = 0;
    e->through = false;
    return true;
}

bool expire_step(struct reclaim *r)
{
    struct table *t = r->table;
    struct expire *e = &r->expire;
    int64_t now_ms = table_now_ms(t);
    struct slice slice = {.r = r, .now_ms = now_ms, .now = due_of(now_ms, now_ms)};
    if (!atomic_load_explicit(&t->expire_actively, memory_order_relaxed) ||
        atomic_load_explicit(&t->timeless, memory_order_relaxed) || !has_pass(e, now_ms, slice.now))
        return false;
    while (e->shard < TABLE_SHARDS && slice.removed < STEP_ITEMS) {
        slice.shard = e->shard;
        due_time first = atomic_load_explicit(&t->due_first[e->shard], memory_order_relaxed);
        if (is_due(&slice, first) && !sweep_some(&slice))
            continue;
        e->shard++;
        e->bucket = 0;
    }
    e->through = e->shard == TABLE_SHARDS;
    return !e->through;
}

void expire_taken(struct reclaim *r)
{
    struct expire *e = &r->expire;
    note_oldest(&e->oldest_limbo_ms,
                atomic_exchange_explicit(&e->oldest_swept_ms, 0, memory_order_relaxed));
}

void expire_freed(struct reclaim *r)
{
    atomic_store_explicit(&r->expire.oldest_limbo_ms, 0, memory_order_relaxed);
}

bool expire_expects(const struct table *t)
{
    for (uint32_t i = 0; i < TABLE_SHARDS; i++)
        if (atomic_load_explicit(&t->due_first[i], memory_order_seq_cst) != 0)
            return true;
    return false;
}

/* Since when the shard that has waited longest is due, in whole units. */
static int longest_due(const struct table *t, due_time now)
{
    int longest = 0;
    for (uint32_t i = 0; i < TABLE_SHARDS; i++) {
        due_time due = atomic_load_explicit(&t->due_first[i], memory_order_relaxed);
        int since = (int16_t)(due_time)(now - due);
        if (due != 0 && since > longest)
            longest = since;
    }
    return longest;
}

uint64_t expire_lag_ms(struct reclaim *r)
{
    struct expire *e = &r->expire;
    int64_t now_ms = table_now_ms(r->table);
    int64_t swept = atomic_load_explicit(&e->oldest_swept_ms, memory_order_relaxed);
    int64_t limbo = atomic_load_explicit(&e->oldest_limbo_ms, memory_order_relaxed);
    int64_t oldest = swept != 0 && (limbo == 0 || swept < limbo) ? swept : limbo;
    int64_t lag = oldest != 0 && oldest < now_ms ? now_ms - oldest : 0;
    /* What nobody has looked at for longer than from one pass to the next. */
    int64_t due_ms = (longest_due(r->table, due_of(now_ms, now_ms)) - 1) * DUE_UNIT_MS;
    return (uint64_t)(due_ms > DUE_UNIT_MS && due_ms > lag ? due_ms : lag);
}
