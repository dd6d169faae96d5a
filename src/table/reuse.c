/* Slots used again: what was taken out becomes memory for new items without a way through the slab.
 *
 * How: who writes over old values needs as many slots as he retires, and of the same sizes. When
 * the grace period of a batch of retired items is over, it is not freed but made ready, and a
 * session that writes takes it as a whole: its slots are the next items, one after the other, and
 * are still in the caches. No lock of an arena, no page's header, no mark; the background
 * touches only the batch. Slots of other sizes than the writer needs make him give the batch back,
 * to be freed.
 *
 * Only while somebody writes: a round that finds nobody has wanted a batch since the last one frees
 * all that is ready, from sessions' hands too. What a session has is in an atomic pointer; it is
 * whose exchange gets it.
 *
 * Invariants
 * 1. A batch is in one place: ready, spent, a session's, or in its session's hands for a call.
 * 2. `bytes` counts a batch from reuse_offer() until it is empty, or goes to be freed.
 * 3. No slot of a page that is being emptied is used again (slab_reuse()).
 * Failure modes: none; without a slot that fits there is the slab. */
#include "table/reclaim_internal.h"

#define BYTES_MAX (4u << 20) /* ready at most */
#define BATCH_MIN 32u        /* fewer things are not worth it */
#define LOOK_MAX  16u        /* slots looked at for one of the right size */
#define PAUSE     256u       /* slots from the slab after a batch had none of the right size */
#define AHEAD     6u         /* slots fetched before they are used */

/* --- sessions --- */

void reuse_session_open(struct reclaim *r, struct table_session *s)
{
    pthread_mutex_lock(&r->lock);
    s->next = r->reuse.sessions;
    r->reuse.sessions = s;
    pthread_mutex_unlock(&r->lock);
}

static struct retired *take(struct table_session *s)
{
    return atomic_exchange_explicit(&s->slots, NULL, memory_order_acquire);
}

static void push(struct retired **list, struct retired *batch)
{
    if (batch == NULL)
        return;
    batch->next = *list;
    *list = batch;
}

void reuse_session_done(struct table_session *s)
{
    struct reclaim *r = s->table->reclaim;
    pthread_mutex_lock(&r->lock);
    struct table_session **at = &r->reuse.sessions;
    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    push(&r->reuse.spent, take(s));
    pthread_mutex_unlock(&r->lock);
}

/* --- for writers --- */

/* The slot that is used as the nth from now. */
static void fetch(const struct retired *batch, uint32_t n)
{
    if (n >= batch->count)
        return;
    const char *slot = retired_address(batch->things[batch->count - 1 - n]);
    __builtin_prefetch(slot, 1);
    __builtin_prefetch(slot + CACHE_LINE_BYTES, 1);
}

static struct retired *next_batch(struct table_session *s)
{
    struct reclaim *r = s->table->reclaim;
    struct reuse *reuse = &r->reuse;
    if (!atomic_load_explicit(&reuse->wanted, memory_order_relaxed))
        atomic_store_explicit(&reuse->wanted, true, memory_order_relaxed);
    if (!atomic_load_explicit(&reuse->any, memory_order_relaxed))
        return NULL;
    pthread_mutex_lock(&r->lock);
    struct retired *batch = reuse->ready;
    if (batch != NULL)
        reuse->ready = batch->next;
    atomic_store_explicit(&reuse->any, reuse->ready != NULL, memory_order_relaxed);
    pthread_mutex_unlock(&r->lock);
    for (uint32_t n = 0; batch != NULL && n < AHEAD; n++)
        fetch(batch, n);
    return batch;
}

static void give_back(struct reclaim *r, struct retired *batch)
{
    pthread_mutex_lock(&r->lock);
    push(&r->reuse.spent, batch);
    pthread_mutex_unlock(&r->lock);
}

static void count_out(struct reclaim *r, const struct retired *batch)
{
    atomic_fetch_sub_explicit(&r->reuse.bytes, batch->ready_bytes, memory_order_relaxed);
}

/* A slot for so many bytes, NULL: there is none near the end of the batch. */
static void *pick(struct slab *slab, struct retired *batch, size_t bytes)
{
    unsigned size = (unsigned)(slab_slot_bytes(bytes) / REUSE_UNIT);
    for (uint32_t n = 1; n <= LOOK_MAX && n <= batch->count; n++) {
        uintptr_t *thing = &batch->things[batch->count - n], found = *thing;
        if (retired_size(found) != size || !slab_reuse(slab, retired_address(found), bytes))
            continue;
        fetch(batch, AHEAD);
        batch->count--;
        batch->bytes -= size * REUSE_UNIT;
        *thing = batch->things[batch->count];
        return retired_address(found);
    }
    return NULL;
}

void *reclaim_reuse(struct table_session *s, size_t bytes)
{
    struct reclaim *r = s->table->reclaim;
    if (s->slots_pause > 0) {
        s->slots_pause--;
        return NULL;
    }
    struct retired *batch =
        atomic_load_explicit(&s->slots, memory_order_relaxed) != NULL ? take(s) : NULL;
    if (batch == NULL && (batch = next_batch(s)) == NULL)
        return NULL;
    void *slot = pick(r->table->slab, batch, bytes);
    if (slot == NULL) {
        s->slots_pause = PAUSE;
        give_back(r, batch);
    } else if (batch->count == 0) {
        count_out(r, batch);
        retire_recycle(r, batch);
    } else {
        atomic_store_explicit(&s->slots, batch, memory_order_release);
    }
    return slot;
}

/* --- for rounds --- */

static void free_list(struct reclaim *r, struct retired *list)
{
    while (list != NULL) {
        struct retired *batch = list;
        list = batch->next;
        count_out(r, batch);
        retire_free_later(r, batch);
    }
}

/* Spent batches, and all others too if so wished. */
static struct retired *collect(struct reclaim *r, bool all)
{
    struct reuse *reuse = &r->reuse;
    pthread_mutex_lock(&r->lock);
    struct retired *list = reuse->spent;
    reuse->spent = NULL;
    while (all && reuse->ready != NULL) {
        struct retired *batch = reuse->ready;
        reuse->ready = batch->next;
        push(&list, batch);
    }
    for (struct table_session *s = reuse->sessions; all && s != NULL; s = s->next)
        push(&list, take(s));
    atomic_store_explicit(&reuse->any, reuse->ready != NULL, memory_order_relaxed);
    pthread_mutex_unlock(&r->lock);
    return list;
}

void reuse_begin_round(struct reclaim *r)
{
    struct reuse *reuse = &r->reuse;
    uint64_t limit = evict_limit(r->table);
    reuse->bytes_max =
        limit != 0 && evict_reserve(limit) / 4 < BYTES_MAX ? evict_reserve(limit) / 4 : BYTES_MAX;
    reuse->offers = atomic_exchange_explicit(&reuse->wanted, false, memory_order_relaxed) &&
                    r->round_short_bytes == 0;
    free_list(r, collect(r, !reuse->offers));
}

void reuse_take_back(struct reclaim *r)
{
    free_list(r, collect(r, true));
}

static bool is_worth_it(const struct reclaim *r, const struct retired *batch)
{
    return batch->others == 0 && batch->count >= BATCH_MIN &&
           reuse_bytes(r) + batch->bytes <= r->reuse.bytes_max;
}

static void make_ready(struct reclaim *r, struct retired *batch)
{
    struct reuse *reuse = &r->reuse;
    batch->ready_bytes = batch->bytes;
    atomic_fetch_add_explicit(&reuse->bytes, batch->bytes, memory_order_relaxed);
    atomic_fetch_sub_explicit(&r->limbo.bytes, batch->bytes, memory_order_relaxed);
    pthread_mutex_lock(&r->lock);
    push(&reuse->ready, batch);
    atomic_store_explicit(&reuse->any, true, memory_order_relaxed);
    pthread_mutex_unlock(&r->lock);
}

void reuse_offer(struct reclaim *r)
{
    struct retired **at = &r->limbo.freeing;
    if (!r->reuse.offers)
        return;
    if (*at != NULL && r->limbo.freeing_thing > 0)
        at = &(*at)->next;
    while (*at != NULL) {
        struct retired *batch = *at;
        if (is_worth_it(r, batch)) {
            *at = batch->next;
            make_ready(r, batch);
        } else {
            at = &batch->next;
        }
    }
}

uint64_t reuse_bytes(const struct reclaim *r)
{
    return atomic_load_explicit(&r->reuse.bytes, memory_order_relaxed);
}
