/* What was taken out of the table: collected, handed over, freed.
 *
 * How: a session collects in a batch of its own, without locks. It is handed over when it is full,
 * and at each quiescent state: small batches are copied together, so that a session that retires
 * one thing a turn does not cost a batch each time. A round takes all that was handed over, waits
 * for a grace period, and frees in windows, fetching the items ahead.
 *
 * Invariants
 * 1. A session has room for what it has reserved; handing over allocates nothing. So retiring never
 *    fails.
 * 2. A thing is freed once: it is in exactly one batch, and a batch in exactly one place.
 * 3. Only rounds free what was published.
 * Failure modes: no memory for a batch: reclaim_reserve() is false, nothing is lost. */
#include <stdlib.h>

#include "table/reclaim_internal.h"

#define BATCH_THINGS 256u
#define POOL_MAX     64u
#define WINDOW       64u /* items freed at a time; the next ones are fetched meanwhile */

/* --- batches --- */

static size_t batch_bytes(size_t capacity)
{
    return sizeof(struct retired) + capacity * sizeof(uintptr_t);
}

static uint64_t over_allowance(uint64_t bytes)
{
    return bytes > RETIRE_ALLOWANCE_BYTES ? bytes - RETIRE_ALLOWANCE_BYTES : 0;
}

/* Count batches in and out: against the cap as a whole, beyond what was charged at opening. */
static void count_in(struct reclaim *r, uint64_t bytes)
{
    uint64_t before = atomic_fetch_add_explicit(&r->limbo.batch_bytes, bytes, memory_order_relaxed);
    budget_charge(&r->table->budget, over_allowance(before + bytes) - over_allowance(before));
}

static void count_out(struct reclaim *r, uint64_t bytes)
{
    uint64_t before = atomic_fetch_sub_explicit(&r->limbo.batch_bytes, bytes, memory_order_relaxed);
    budget_give(&r->table->budget, over_allowance(before) - over_allowance(before - bytes));
}

static struct retired *batch_new(struct reclaim *r, size_t capacity)
{
    struct retired *batch = malloc(batch_bytes(capacity));
    if (batch == NULL)
        return NULL;
    count_in(r, batch_bytes(capacity));
    *batch = (struct retired){.capacity = (uint32_t)capacity};
    return batch;
}

static void batch_free(struct reclaim *r, struct retired *batch)
{
    if (batch == NULL)
        return;
    count_out(r, batch_bytes(batch->capacity));
    free(batch);
}

static void push(struct retired **list, struct retired *batch)
{
    batch->next = *list;
    *list = batch;
}

static struct retired *pop(struct retired **list)
{
    struct retired *batch = *list;
    if (batch != NULL)
        *list = batch->next;
    return batch;
}

/* An empty batch from the pool, NULL: there is none. */
static struct retired *pool_get_locked(struct limbo *limbo)
{
    struct retired *batch = pop(&limbo->pool);
    if (batch != NULL)
        limbo->pool_count--;
    return batch;
}

/* Keep a batch for later, or free it. */
static void recycle(struct reclaim *r, struct retired *batch)
{
    struct limbo *limbo = &r->limbo;
    if (batch == NULL)
        return;
    pthread_mutex_lock(&r->lock);
    bool keep = batch->capacity == BATCH_THINGS && limbo->pool_count < POOL_MAX;
    if (keep) {
        batch->count = 0;
        batch->bytes = 0;
        push(&limbo->pool, batch);
        limbo->pool_count++;
    }
    pthread_mutex_unlock(&r->lock);
    if (!keep)
        batch_free(r, batch);
}

/* --- handing over --- */

static void append(struct retired *to, const struct retired *from)
{
    memcpy(to->things + to->count, from->things, from->count * sizeof from->things[0]);
    to->count += from->count;
    to->bytes += from->bytes;
}

/* Take over what is in a session's batch; returns the batch that the session has then, or NULL. */
static struct retired *take_over_locked(struct limbo *limbo, struct retired *batch)
{
    struct retired *filling = limbo->filling;
    if (batch->capacity != BATCH_THINGS) {
        push(&limbo->full, batch);
        return pool_get_locked(limbo);
    }
    if (filling != NULL && batch->count <= filling->capacity - filling->count) {
        append(filling, batch);
        batch->count = 0;
        batch->bytes = 0;
        return batch;
    }
    if (filling != NULL)
        push(&limbo->full, filling);
    limbo->filling = batch;
    return pool_get_locked(limbo);
}

static void hand_over(struct table_session *s)
{
    struct reclaim *r = s->table->reclaim;
    struct retired *batch = s->retired;
    uint64_t limbo = batch->bytes +
                     atomic_fetch_add_explicit(&r->limbo.bytes, batch->bytes, memory_order_relaxed);
    pthread_mutex_lock(&r->lock);
    s->retired = take_over_locked(&r->limbo, batch);
    if (limbo >= atomic_load_explicit(&r->wake_limbo, memory_order_relaxed) ||
        atomic_load_explicit(&r->idle, memory_order_relaxed))
        reclaim_ask_locked(r);
    pthread_mutex_unlock(&r->lock);
}

static void ask_if_short(struct table *t)
{
    struct reclaim *r = t->reclaim;
    if (budget_used(&t->budget) < atomic_load_explicit(&r->wake_used, memory_order_relaxed))
        return;
    pthread_mutex_lock(&r->lock);
    reclaim_ask_locked(r);
    pthread_mutex_unlock(&r->lock);
}

void reclaim_flush(struct table_session *s)
{
    struct retired *batch = s->retired;
    if (batch != NULL && batch->count > 0) {
        hand_over(s);
    } else if (batch != NULL && batch->capacity > BATCH_THINGS) {
        s->retired = NULL;
        batch_free(s->table->reclaim, batch);
    }
    ask_if_short(s->table);
}

void reclaim_session_done(struct table_session *s)
{
    reclaim_flush(s);
    if (s->retired != NULL)
        recycle(s->table->reclaim, s->retired);
    s->retired = NULL;
}

/* A batch with room for `count` things; NULL: no memory. */
static struct retired *batch_get(struct reclaim *r, size_t count)
{
    if (count > BATCH_THINGS)
        return batch_new(r, count);
    pthread_mutex_lock(&r->lock);
    struct retired *batch = pool_get_locked(&r->limbo);
    pthread_mutex_unlock(&r->lock);
    return batch != NULL ? batch : batch_new(r, BATCH_THINGS);
}

bool reclaim_reserve(struct table_session *s, size_t count)
{
    struct reclaim *r = s->table->reclaim;
    if (__builtin_expect(s->retired != NULL && s->retired->capacity - s->retired->count >= count,
                         1))
        return true;
    if (s->retired != NULL && s->retired->count > 0)
        hand_over(s);
    if (s->retired != NULL && s->retired->capacity >= count)
        return true;
    struct retired *batch = count <= UINT32_MAX ? batch_get(r, count) : NULL;
    if (batch == NULL)
        return false;
    recycle(r, s->retired);
    s->retired = batch;
    return true;
}

void reclaim_add(struct table_session *s, enum retired_kind kind, void *thing, size_t bytes)
{
    struct retired *batch = s->retired;
    ASSERT(batch != NULL && batch->count < batch->capacity);
    batch->things[batch->count++] = (uintptr_t)thing | (uintptr_t)kind;
    batch->bytes += bytes;
    if (__builtin_expect(kind == RETIRED_ARRAY_ITEMS, 0))
        atomic_fetch_add_explicit(&s->table->reclaim->limbo.array_items,
                                  ((struct array *)thing)->items_count, memory_order_relaxed);
}

/* --- freeing --- */

bool retire_take(struct reclaim *r)
{
    struct limbo *limbo = &r->limbo;
    pthread_mutex_lock(&r->lock);
    struct retired *taken = limbo->full;
    limbo->full = NULL;
    if (limbo->filling != NULL) {
        push(&taken, limbo->filling);
        limbo->filling = NULL;
    }
    pthread_mutex_unlock(&r->lock);
    if (taken == NULL)
        return false;
    struct retired **end = &limbo->freeing;
    while (*end != NULL) /* what is left of earlier rounds goes first */
        end = &(*end)->next;
    *end = taken;
    return true;
}

static void *thing_address(uintptr_t thing)
{
    return (void *)(thing & ~(uintptr_t)RETIRED_KIND_MASK);
}

static enum retired_kind thing_kind(uintptr_t thing)
{
    return (enum retired_kind)(thing & RETIRED_KIND_MASK);
}

/* Free the run of items at `from`, at most a window; returns how many. */
static uint32_t free_items(struct reclaim *r, const struct retired *batch, uint32_t from)
{
    struct item *items[WINDOW];
    uint32_t count = 0;
    while (count < WINDOW && from + count < batch->count &&
           thing_kind(batch->things[from + count]) == RETIRED_ITEM) {
        items[count] = thing_address(batch->things[from + count]);
        prefetch_line(items[count++]);
    }
    for (uint32_t i = from + count; i < from + 2 * count && i < batch->count; i++)
        prefetch_line(thing_address(batch->things[i]));
    item_free_many(&r->table->items, items, count);
    return count;
}

/* Free the items of some buckets of an array that nobody sees; returns how many. */
static uint32_t free_buckets(struct reclaim *r, const struct array *array)
{
    struct item *items[WINDOW];
    uint32_t count = 0, b = r->limbo.freeing_bucket;
    for (; b < array->buckets_count && count + BUCKET_SLOTS <= WINDOW; b++)
        for (unsigned i = 0; i < BUCKET_SLOTS; i++) {
            uint64_t slot = atomic_load_explicit(&array->buckets[b].slots[i], memory_order_relaxed);
            if (slot == 0)
                continue;
            items[count] = slot_item(slot);
            prefetch_line(items[count++]);
        }
    r->limbo.freeing_bucket = b;
    item_free_many(&r->table->items, items, count);
    atomic_fetch_sub_explicit(&r->limbo.array_items, count, memory_order_relaxed);
    return count;
}

/* Free a part of the array at freeing_thing, or all that is left of it. */
static uint32_t free_array(struct reclaim *r, uintptr_t thing)
{
    struct array *array = thing_address(thing);
    if (thing_kind(thing) == RETIRED_ARRAY_ITEMS && r->limbo.freeing_bucket < array->buckets_count)
        return 1 + free_buckets(r, array);
    array_free(r->table, array);
    r->limbo.freeing_bucket = 0;
    r->limbo.freeing_thing++;
    return 1;
}

/* Free a little of the first batch; returns how many things. */
static uint32_t free_some(struct reclaim *r)
{
    struct limbo *limbo = &r->limbo;
    struct retired *batch = limbo->freeing;
    if (limbo->freeing_thing < batch->count) {
        uintptr_t thing = batch->things[limbo->freeing_thing];
        if (thing_kind(thing) != RETIRED_ITEM)
            return free_array(r, thing);
        uint32_t count = free_items(r, batch, limbo->freeing_thing);
        limbo->freeing_thing += count;
        return count;
    }
    limbo->freeing = batch->next;
    limbo->freeing_thing = 0;
    atomic_fetch_sub_explicit(&limbo->bytes, batch->bytes, memory_order_relaxed);
    recycle(r, batch);
    return 0;
}

bool retire_free(struct reclaim *r, size_t items_max)
{
    for (size_t freed = 0; r->limbo.freeing != NULL && freed < items_max;) {
        freed += free_some(r);
        trim_step(r);
    }
    return r->limbo.freeing != NULL;
}

uint64_t retire_limbo_bytes(const struct reclaim *r)
{
    struct table *t = r->table;
    uint64_t bytes = atomic_load_explicit(&r->limbo.bytes, memory_order_relaxed);
    uint64_t items = atomic_load_explicit(&r->limbo.array_items, memory_order_relaxed);
    if (items == 0)
        return bytes;
    struct slab_figures slab;
    slab_figures_get(t->slab, SLAB_ANY_ARENA, &slab);
    uint64_t all =
        slab.used_bytes + atomic_load_explicit(&t->items.large_bytes, memory_order_relaxed);
    int64_t present = 0;
    for (unsigned i = 0; i < STRIPES; i++)
        present += atomic_load_explicit(&t->stripes[i].items, memory_order_relaxed);
    return bytes + (uint64_t)((double)all * (double)items /
                              (double)(items + (present > 0 ? (uint64_t)present : 0)));
}

void retire_done(struct reclaim *r)
{
    (void)retire_take(r);
    (void)retire_free(r, SIZE_MAX);
    for (struct retired *batch; (batch = pop(&r->limbo.pool)) != NULL;)
        batch_free(r, batch);
}
