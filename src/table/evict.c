/* Eviction: which items go when memory is short.
 *
 * How: shards take turns; a visit locks one, looks at up to VISIT_ITEMS items, fetched first, and
 * takes some out.
 *   ALL_SIEVE, EXPIRING_SIEVE  a hand goes through the shard's buckets; an item read since it last
 *       passed (ITEM_VISITED) stays and loses the mark, any other goes (Zhang et al., "SIEVE is
 *       simpler than LRU", NSDI 2024, algorithm 1). Buckets stand for its queue, which would let
 *       new items that nobody reads stay for half a round. So of those looked at in a visit the
 *       ones go first that no hand has ever found read (not SLOT_PROVEN): few of them are then
 *       left, as in the small queue of S3-FIFO. bench/cache compares.
 *   ALL_RANDOM                 items at random places
 *   EXPIRING_SOONEST           the shard with the earliest due time of some hundred; in it, of the
 *       items in its earliest buckets, the one that expires first
 * The background does this ahead of need, so that writers find memory; a writer that finds none
 * does it too.
 *
 * Invariants: what is evicted is retired like anything else; an eviction is counted.
 * Failure modes: no memory to retire into: nothing is evicted. */
#include "table/evict.h"

#include "core/random.h"
#include "table/journal.h"
#include "table/reclaim_internal.h"

#define VISIT_ITEMS    16u /* items looked at in a visit */
#define VISIT_BUCKETS  64u /* buckets looked at, where few items qualify */
#define RANDOM_PICKS   4u
#define VISIT_PART     16u  /* at most such a part of the items, and one, goes in a visit */
#define SOONEST_SHARDS 256u /* whose due times are compared; divides TABLE_SHARDS */
#define SOONEST_PICKS  8u   /* buckets whose items are compared */
#define STEP_VISITS    2048u
/* Waits in vain before more is forced out; and how far that goes. */
#define WAITS_MIN        2u
#define FORCED_DOUBLINGS 8u

/* One shard's visit. */
struct visit {
    struct table_session *s;
    uint32_t shard;
    struct array *array;
    unsigned round;         /* how often all shards have had their turn */
    uint64_t wanted, freed; /* bytes */
    unsigned items;         /* taken out */
    unsigned items_max;     /* a small shard is not emptied in one visit */
};

/* Items to look at in a visit, whose first lines are being fetched. */
struct seen {
    unsigned count;
    struct position at[VISIT_ITEMS + BUCKET_SLOTS];
};

static uint64_t slot_at(struct position p)
{
    return atomic_load_explicit(&p.array->buckets[p.bucket].slots[p.slot], memory_order_relaxed);
}

static void evict_locked(struct visit *v, struct position p)
{
    struct stripe *stripe = table_stripe(v->s);
    if (item_is_dead(slot_item(slot_at(p))) ||
        !journal_delete_locked(v->s, v->shard, item_parts(slot_item(slot_at(p))).key))
        return;
    v->freed += item_bytes(slot_item(slot_at(p)));
    v->items++;
    shard_change_begin_locked(v->s, v->shard);
    shard_remove_locked(v->s, v->shard, p);
    shard_change_end_locked(v->s, v->shard);
    if (slot_at(p) != 0) /* a dead one stays */
        v->freed -= item_bytes(slot_item(slot_at(p)));
    atomic_fetch_add_explicit(&stripe->evicted, 1, memory_order_relaxed);
}

static bool is_enough(const struct visit *v)
{
    return v->freed >= v->wanted || v->items >= v->items_max;
}

static uint32_t next_bucket(const struct array *array, uint32_t b)
{
    return b + 1 < array->buckets_count ? b + 1 : 0;
}

static uint64_t any_random(struct table *t)
{
    const uint64_t step = 0x9e3779b97f4a7c15ull; /* as random_next(), for many threads */
    return random_mix(
        atomic_fetch_add_explicit(&t->reclaim->evict.random, step, memory_order_relaxed));
}

/* --- SIEVE --- */

/* Note and fetch the items of a bucket, or only those that expire; another slot first each time, so
 * that in a shard of one bucket all have their turn. */
static void see_locked(const struct visit *v, struct seen *seen, uint32_t b, bool expiring_only)
{
    for (unsigned i = 0; i < BUCKET_SLOTS; i++) {
        struct position p = {v->array, b, (i + v->round) % BUCKET_SLOTS};
        uint64_t slot = slot_at(p);
        if (slot == 0 || (expiring_only && !(slot & SLOT_EXPIRES)))
            continue;
        prefetch_line(slot_item(slot));
        seen->at[seen->count++] = p;
    }
}

/* Take the mark off; was it there? */
static bool unmark(struct item *item)
{
    return (item_flags(item) & ITEM_VISITED) != 0 &&
           (atomic_fetch_and_explicit(&item->flags, (unsigned char)~ITEM_VISITED,
                                      memory_order_relaxed) &
            ITEM_VISITED) != 0;
}

static bool is_unread(uint64_t slot)
{
    return slot != 0 && !(slot & SLOT_PROVEN) && !(item_flags(slot_item(slot)) & ITEM_VISITED);
}

/* Of those seen, the ones that nobody has ever read; *next: behind the last that went. */
static void evict_unread_locked(struct visit *v, const struct seen *seen, uint32_t *next)
{
    for (unsigned i = 0; i < seen->count && !is_enough(v); i++) {
        if (!is_unread(slot_at(seen->at[i])))
            continue;
        evict_locked(v, seen->at[i]);
        *next = next_bucket(v->array, seen->at[i].bucket);
    }
}

/* It had been read when the hand passed. */
static void prove_locked(struct position p)
{
    _Atomic uint64_t *slot = &p.array->buckets[p.bucket].slots[p.slot];
    uint64_t word = atomic_load_explicit(slot, memory_order_relaxed);
    if (!(word & SLOT_PROVEN))
        atomic_store_explicit(slot, word | SLOT_PROVEN, memory_order_release);
}

/* The hand passes over those seen until there is enough; *next: where it stops then. */
static void evict_unmarked_locked(struct visit *v, const struct seen *seen, uint32_t *next)
{
    for (unsigned i = 0; i < seen->count; i++) {
        if (slot_at(seen->at[i]) == 0)
            continue;
        if (unmark(slot_item(slot_at(seen->at[i])))) {
            prove_locked(seen->at[i]);
            continue;
        }
        evict_locked(v, seen->at[i]);
        if (is_enough(v)) {
            *next = next_bucket(v->array, seen->at[i].bucket);
            return;
        }
    }
}

static void sieve_locked(struct visit *v, bool expiring_only)
{
    struct array *array = v->array;
    struct seen seen = {0};
    uint32_t b = array->hand < array->buckets_count ? array->hand : 0;
    for (uint32_t n = 0; n < array->buckets_count && n < VISIT_BUCKETS && seen.count < VISIT_ITEMS;
         n++) {
        see_locked(v, &seen, b, expiring_only);
        b = next_bucket(array, b);
    }
    uint32_t next = b;
    evict_unread_locked(v, &seen, &next);
    if (!is_enough(v)) {
        next = b;
        evict_unmarked_locked(v, &seen, &next);
    }
    array->hand = next;
}

static void sieve_all_locked(struct visit *v)
{
    sieve_locked(v, false);
}

static void sieve_expiring_locked(struct visit *v)
{
    sieve_locked(v, true);
}

/* --- random --- */

/* A random item, at a random place or behind it. */
static bool pick_locked(struct visit *v, struct position *ret_position)
{
    uint64_t random = any_random(v->s->table);
    struct position p = {.array = v->array};
    p.bucket = (uint32_t)random_below(random, v->array->buckets_count);
    for (unsigned n = 0; n < VISIT_BUCKETS; n++) {
        for (unsigned i = 0; i < BUCKET_SLOTS; i++) {
            p.slot = (unsigned)(random % BUCKET_SLOTS + i) % BUCKET_SLOTS;
            if (slot_at(p) == 0)
                continue;
            *ret_position = p;
            return true;
        }
        p.bucket = next_bucket(p.array, p.bucket);
    }
    return false;
}

static void random_locked(struct visit *v)
{
    struct position picks[RANDOM_PICKS];
    unsigned count = 0;
    for (unsigned n = 0; n < RANDOM_PICKS; n++)
        if (pick_locked(v, &picks[count]))
            prefetch_line(slot_item(slot_at(picks[count++])));
    for (unsigned i = 0; i < count && !is_enough(v); i++)
        if (slot_at(picks[i]) != 0) /* not the same as one before */
            evict_locked(v, picks[i]);
}

/* --- what expires soonest --- */

/* Of the next shards, the one with the earliest due time; NULL: none has any. */
static bool soonest_shard(struct table *t, uint32_t *ret_shard)
{
    uint32_t from =
        atomic_fetch_add_explicit(&t->reclaim->evict.next, SOONEST_SHARDS, memory_order_relaxed);
    int64_t now_ms = table_now_ms(t);
    due_time now = due_of(now_ms, now_ms);
    int least = INT16_MAX + 1;
    for (uint32_t n = 0; n < SOONEST_SHARDS; n++) {
        uint32_t i = (from + n) % TABLE_SHARDS;
        due_time due = atomic_load_explicit(&t->due_first[i], memory_order_relaxed);
        int left = (int16_t)(due_time)(due - now);
        if (due != 0 && left < least) {
            least = left;
            *ret_shard = i;
        }
    }
    return least <= INT16_MAX;
}

/* The buckets with the earliest due times, in no order; returns how many. */
static unsigned soonest_buckets_locked(const struct array *array, due_time now,
                                       uint32_t ret_buckets[SOONEST_PICKS])
{
    int lefts[SOONEST_PICKS], worst = 0;
    unsigned count = 0;
    for (uint32_t b = 0; b < array->buckets_count; b++) {
        int left = (int16_t)(due_time)(array_due(array, b) - now);
        if (array_due(array, b) == 0 || (count == SOONEST_PICKS && left >= lefts[worst]))
            continue;
        unsigned at = count < SOONEST_PICKS ? count++ : (unsigned)worst;
        lefts[at] = left;
        ret_buckets[at] = b;
        for (unsigned i = 0; i < count; i++)
            worst = lefts[i] > lefts[worst] || (unsigned)worst >= count ? (int)i : worst;
    }
    return count;
}

/* The item of a bucket that expires first, if before *expire_ms. */
static void compare_locked(struct array *array, uint32_t b, int64_t *expire_ms,
                           struct position *ret_position)
{
    for (unsigned i = 0; i < BUCKET_SLOTS; i++) {
        struct position p = {array, b, i};
        uint64_t slot = slot_at(p);
        if (!(slot & SLOT_EXPIRES))
            continue;
        int64_t its_ms = item_parts(slot_item(slot)).expire_ms;
        if (its_ms < *expire_ms) {
            *expire_ms = its_ms;
            *ret_position = p;
        }
    }
}

/* The due time of a bucket, and the shard's, from what is there now. */
static void renew_due_locked(struct visit *v, uint32_t b, int64_t now_ms)
{
    int64_t expire_ms = INT64_MAX;
    struct position p;
    compare_locked(v->array, b, &expire_ms, &p);
    v->array->due[b] = expire_ms == INT64_MAX ? 0 : due_of(expire_ms, now_ms);
}

static bool is_later(due_time due, due_time than)
{
    return (int16_t)(due_time)(due - than) > 0;
}

/* Evicts nothing where the shard's due time promised something sooner than there is: that is set
 * right, and another shard may be the one. */
static void soonest_locked(struct visit *v)
{
    uint32_t buckets[SOONEST_PICKS];
    struct table *t = v->s->table;
    int64_t now_ms = table_now_ms(t), expire_ms = INT64_MAX;
    due_time now = due_of(now_ms, now_ms);
    due_time promised = atomic_load_explicit(&t->due_first[v->shard], memory_order_relaxed);
    struct position p;
    unsigned count = soonest_buckets_locked(v->array, now, buckets);
    for (unsigned i = 0; i < count; i++)
        for (unsigned n = 0; n < BUCKET_SLOTS; n++)
            prefetch_line(slot_item(slot_at((struct position){v->array, buckets[i], n})));
    for (unsigned i = 0; i < count; i++)
        compare_locked(v->array, buckets[i], &expire_ms, &p);
    if (expire_ms != INT64_MAX && !is_later(due_of(expire_ms, now_ms), promised))
        evict_locked(v, p);
    for (unsigned i = 0; i < count; i++)
        renew_due_locked(v, buckets[i], now_ms);
    expire_renew_first_locked(t, v->shard, v->array, now);
}

/* --- visits --- */

static void (*const policies[])(struct visit *v) = {
    [TARN_EVICT_ALL_SIEVE] = sieve_all_locked,
    [TARN_EVICT_ALL_RANDOM] = random_locked,
    [TARN_EVICT_EXPIRING_SIEVE] = sieve_expiring_locked,
    [TARN_EVICT_EXPIRING_SOONEST] = soonest_locked,
};

static bool expiring_only(enum tarn_eviction policy)
{
    return policy == TARN_EVICT_EXPIRING_SIEVE || policy == TARN_EVICT_EXPIRING_SOONEST;
}

static enum tarn_eviction policy_of(const struct table *t)
{
    return (enum tarn_eviction)atomic_load_explicit(&t->eviction, memory_order_relaxed);
}

/* The shard to visit now; false: none qualifies. */
static bool next_shard(struct visit *v, enum tarn_eviction policy)
{
    struct table *t = v->s->table;
    if (policy == TARN_EVICT_EXPIRING_SOONEST)
        return soonest_shard(t, &v->shard);
    uint32_t turn = atomic_fetch_add_explicit(&t->reclaim->evict.next, 1, memory_order_relaxed);
    v->shard = turn % TABLE_SHARDS;
    v->round = turn / TABLE_SHARDS;
    prefetch_line(&t->shards[(v->shard + 2) % TABLE_SHARDS]);
    prefetch_line(shard_array_locked(&t->shards[(v->shard + 1) % TABLE_SHARDS]));
    return true;
}

/* Visit a shard; returns the bytes taken out. */
static uint64_t visit(struct table_session *s, enum tarn_eviction policy, uint64_t wanted)
{
    struct visit v = {.s = s, .wanted = wanted};
    if (!next_shard(&v, policy))
        return 0;
    shard_lock(s, v.shard);
    v.array = shard_array_locked(&s->table->shards[v.shard]);
    uint32_t items = expiring_only(policy) ? v.array->expiring_count : v.array->items_count;
    v.items_max = items / VISIT_PART + 1;
    if (items > 0)
        policies[policy](&v);
    else if (expiring_only(policy)) /* a due time that is out of date attracts no more visits */
        atomic_store_explicit(&s->table->due_first[v.shard], 0, memory_order_relaxed);
    shard_unlock(s, v.shard);
    return v.freed;
}

uint64_t evict_some(struct table_session *s, uint64_t bytes, unsigned visits_max)
{
    struct retired *reserved = s->retired;
    uint64_t freed = 0;
    s->retired = NULL;
    for (unsigned n = 0; n < visits_max && freed < bytes; n++) {
        enum tarn_eviction policy = policy_of(s->table); /* which may change meanwhile */
        if (policy == TARN_EVICT_NOTHING || !reclaim_reserve(s, VISIT_ITEMS + BUCKET_SLOTS))
            break;
        freed += visit(s, policy, bytes - freed);
    }
    reclaim_session_done(s);
    s->retired = reserved;
    return freed;
}

void evict_one_locked(struct table_session *s, uint32_t shard, struct position position)
{
    enum tarn_eviction policy = policy_of(s->table);
    struct visit v = {.s = s, .shard = shard};
    if (policy != TARN_EVICT_NOTHING &&
        (!expiring_only(policy) || (slot_at(position) & SLOT_EXPIRES)))
        evict_locked(&v, position);
}

bool evict_possible(const struct table *t)
{
    enum tarn_eviction policy = policy_of(t);
    if (policy == TARN_EVICT_NOTHING)
        return false;
    int64_t count = 0;
    for (unsigned i = 0; i < STRIPES; i++)
        count += atomic_load_explicit(expiring_only(policy) ? &t->stripes[i].expiring
                                                            : &t->stripes[i].items,
                                      memory_order_relaxed);
    return count > 0;
}

/* --- ahead of need --- */

uint64_t evict_limit(const struct table *t)
{
    uint64_t limit = budget_limit(&t->budget);
    return limit - slab_rest(limit, 0);
}

uint64_t evict_free_slots(const struct table *t)
{
    struct slab_figures all, arrays;
    slab_figures_get(t->slab, ARRAY_ARENA, &arrays);
    slab_figures_get(t->slab, SLAB_ANY_ARENA, &all);
    uint64_t free_bytes = all.page_bytes - all.used_bytes;
    uint64_t of_arrays = arrays.page_bytes - arrays.used_bytes;
    return free_bytes > of_arrays ? free_bytes - of_arrays : 0;
}

bool evict_could_hold(const struct table *t, uint64_t bytes)
{
    struct slab_figures all, arrays;
    uint64_t limit = evict_limit(t), used = budget_used(&t->budget);
    if (limit == 0)
        return true;
    slab_figures_get(t->slab, ARRAY_ARENA, &arrays);
    slab_figures_get(t->slab, SLAB_ANY_ARENA, &all);
    uint64_t items = all.page_bytes - arrays.page_bytes +
                     atomic_load_explicit(&t->items.large_bytes, memory_order_relaxed);
    return used + bytes <= limit + items;
}

uint64_t evict_reserve(uint64_t limit)
{
    uint64_t reserve = limit / 100 > 1u << 20 ? limit / 100 : 1u << 20;
    return reserve < limit / 16 ? reserve : limit / 16;
}

/* Bytes missing of the reserve, when all that is in limbo is free. */
static uint64_t missing(const struct reclaim *r, uint64_t limit)
{
    const struct table *t = r->table;
    uint64_t ready = limit + evict_free_slots(t) + retire_limbo_bytes(r);
    uint64_t wanted = budget_used(&t->budget) + evict_reserve(limit) + r->round_short_bytes;
    return wanted > ready ? wanted - ready : 0;
}

/* Free slots are of no use to a writer who needs another size, unless a page can be made of them.
 * While that does not succeed, more and more goes, until pages run empty. */
static uint64_t forced(const struct reclaim *r)
{
    if (r->round_waits < WAITS_MIN || compact_advances(&r->compact))
        return 0;
    unsigned doublings = r->round_waits - WAITS_MIN;
    return (uint64_t)SLAB_PAGE_BYTES
           << (doublings < FORCED_DOUBLINGS ? doublings : FORCED_DOUBLINGS);
}

bool evict_step(struct reclaim *r)
{
    uint64_t limit = evict_limit(r->table);
    if (limit == 0 || !evict_possible(r->table))
        return false;
    uint64_t bytes = missing(r, limit) + forced(r);
    uint64_t freed = bytes > 0 ? evict_some(r->session, bytes, STEP_VISITS) : 0;
    return freed > 0 && freed < bytes; /* nothing: no memory to go on, or all were marked */
}
