/* The table as a whole: opening, sessions, time, figures. See doc/table.md.
 *
 * Failure modes: opening fails wholly; the rest cannot fail. */
#include <stdlib.h>

#include "table/base.h"
#include "table/journal.h"
#include "table/reclaim.h"
#include "table/shard.h"

#define SCRATCH_BYTES_KEPT (64u << 10) /* by a session for what it reads from a base */

static void init_shards(struct table *t)
{
    for (uint32_t i = 0; i < TABLE_SHARDS; i++)
        atomic_init(&t->shards[i].array, (uintptr_t)&shard_empty);
}

int table_open(const struct os *os, uint64_t memory_bytes_max, enum tarn_eviction eviction,
               struct table **ret_table, struct tarn_error *error)
{
    struct table *t = aligned_alloc(CACHE_LINE_BYTES, sizeof *t);
    if (t == NULL)
        return error_set(error, TARN_NOMEM, "out of memory for a store");
    memset(t, 0, sizeof *t);
    t->os = os;
    t->start_ms = os->realtime_us(os) / 1000;
    t->start_ns = os->monotonic_ns(os);
    atomic_init(&t->expire_actively, true);
    t->items.budget = &t->budget;
    init_shards(t);
    budget_charge(&t->budget, sizeof *t);
    table_limit(t, memory_bytes_max, eviction);
    int status = os->entropy(os, t->secret, sizeof t->secret);
    if (status != 0) {
        status = os_error(error, status, "read", "random bytes");
        goto failed;
    }
    if ((status = slab_open(os, &t->budget, &t->slab)) != TARN_OK ||
        (status = reclaim_open(t, &t->reclaim)) != TARN_OK) {
        error_set(error, status, "out of memory for a store");
        goto failed;
    }
    t->items.slab = t->slab;
    *ret_table = t;
    return TARN_OK;
failed:
    table_close(t);
    return status;
}

/* Large items are not in the slab: let go of each. */
static void drop_items(struct table *t, struct array *array)
{
    for (uint32_t b = 0; b < array->buckets_count; b++)
        for (unsigned i = 0; i < BUCKET_SLOTS; i++) {
            uint64_t slot = atomic_load_explicit(&array->buckets[b].slots[i], memory_order_relaxed);
            struct item *item = slot_item(slot);
            if (item != NULL && item_is_large(item))
                item_free_many(&t->items, &item, 1);
        }
}

void table_close(struct table *t)
{
    if (t == NULL)
        return;
    reclaim_close(t->reclaim);
    for (uint32_t i = 0; i < TABLE_SHARDS; i++) {
        struct array *array = shard_array_locked(&t->shards[i]);
        drop_items(t, array);
        array_free(t, array);
    }
    slab_close(t->slab);
    free(t->under_owned);
    free(t);
}

/* --- sessions --- */

int table_session_open(struct table *t, struct table_session **ret_session)
{
    struct table_session *s = calloc(1, sizeof *s);
    if (s == NULL)
        return TARN_NOMEM;
    unsigned number = atomic_fetch_add_explicit(&t->sessions_opened, 1, memory_order_relaxed);
    s->table = t;
    s->arena = number % ARRAY_ARENA;
    s->stripe = number % STRIPES;
    s->touches = true;
    budget_charge(&t->budget, sizeof *s);
    *ret_session = s;
    return TARN_OK;
}

void table_session_close(struct table_session *s)
{
    if (s == NULL)
        return;
    reclaim_session_done(s);
    journal_session_done(s);
    buffer_done(&s->scratch);
    budget_give(&s->table->budget, sizeof *s);
    free(s);
}

void table_session_quiescent(struct table_session *s)
{
    reclaim_flush(s);
    if (s->scratch.capacity > SCRATCH_BYTES_KEPT)
        buffer_done(&s->scratch);
}

void table_session_touches(struct table_session *s, bool touches)
{
    s->touches = touches;
}

/* --- the whole --- */

void table_secret_get(const struct table *t, unsigned char ret_secret[HASH_SECRET_BYTES])
{
    memcpy(ret_secret, t->secret, HASH_SECRET_BYTES);
}

void table_secret_set(struct table *t, const unsigned char secret[HASH_SECRET_BYTES])
{
    memcpy(t->secret, secret, HASH_SECRET_BYTES);
}

int64_t table_now_ms(const struct table *t)
{
    return t->start_ms + atomic_load_explicit(&t->ahead_ms, memory_order_relaxed) +
           (int64_t)((t->os->monotonic_ns(t->os) - t->start_ns) / 1000000);
}

void table_stop_time(struct table *t, int64_t time_ms)
{
    int64_t behind = time_ms - table_now_ms(t);
    if (behind > 0)
        atomic_fetch_add_explicit(&t->ahead_ms, behind, memory_order_relaxed);
    atomic_store_explicit(&t->timeless, true, memory_order_relaxed);
}

void table_start_time(struct table *t)
{
    atomic_store_explicit(&t->timeless, false, memory_order_relaxed);
    reclaim_wake(t->reclaim);
}

bool table_make_room(struct table_session *s)
{
    return reclaim_wait(s);
}

void table_limit(struct table *t, uint64_t memory_bytes_max, enum tarn_eviction eviction)
{
    atomic_store_explicit(&t->budget.limit, memory_bytes_max, memory_order_relaxed);
    atomic_store_explicit(&t->eviction, (int)eviction, memory_order_relaxed);
    if (t->reclaim != NULL)
        reclaim_wake(t->reclaim);
}

void table_charge(struct table *t, int64_t bytes)
{
    atomic_fetch_add_explicit(&t->charged_bytes, (uint64_t)bytes, memory_order_relaxed);
    if (bytes >= 0)
        budget_charge(&t->budget, (uint64_t)bytes);
    else
        budget_give(&t->budget, (uint64_t)-bytes);
}

uint64_t table_memory_used(const struct table *t)
{
    return budget_used(&t->budget);
}

void table_expire_actively(struct table *t, bool active)
{
    atomic_store_explicit(&t->expire_actively, active, memory_order_relaxed);
    if (active)
        reclaim_wake(t->reclaim);
}

struct item_large *table_pin(struct tarn_bytes value)
{
    return item_ref_value(value);
}

void table_unpin(struct item_large *pin)
{
    item_unref(pin);
}

static uint64_t at_least_zero(int64_t n)
{
    return n > 0 ? (uint64_t)n : 0;
}

/* Sums of the stripes; what one session takes out another may have put in. */
static void add_stripes(struct table *t, struct tarn_stats *stats)
{
    int64_t items = 0, expiring = 0, expire_ms_sum = 0;
    for (unsigned i = 0; i < STRIPES; i++) {
        const struct stripe *stripe = &t->stripes[i];
        items += atomic_load_explicit(&stripe->items, memory_order_relaxed);
        expiring += atomic_load_explicit(&stripe->expiring, memory_order_relaxed);
        expire_ms_sum += atomic_load_explicit(&stripe->expire_ms_sum, memory_order_relaxed);
        stats->expired_total += atomic_load_explicit(&stripe->expired, memory_order_relaxed);
        stats->evicted_total += atomic_load_explicit(&stripe->evicted, memory_order_relaxed);
    }
    stats->keys = stats->records = at_least_zero(items);
    stats->expiring = at_least_zero(expiring);
    if (expiring > 0) {
        int64_t mean = t->start_ms + expire_ms_sum / expiring - table_now_ms(t);
        stats->expire_ms_mean = mean > 0 ? mean : 0;
    }
}

void table_stats_get(struct table *t, struct tarn_stats *ret_stats)
{
    struct slab_figures slab;
    struct reclaim_figures reclaim;
    slab_figures_get(t->slab, SLAB_ANY_ARENA, &slab);
    reclaim_figures_get(t->reclaim, &reclaim);
    uint64_t arrays = atomic_load_explicit(&t->slab_array_bytes, memory_order_relaxed);
    struct tarn_stats stats = {
        .generation = 1,
        .writable = true,
        .memory_bytes = budget_used(&t->budget),
        .memory_bytes_max = budget_limit(&t->budget),
        .eviction = (enum tarn_eviction)atomic_load_explicit(&t->eviction, memory_order_relaxed),
        .item_bytes = (slab.used_bytes > arrays ? slab.used_bytes - arrays : 0) +
                      atomic_load_explicit(&t->items.large_bytes, memory_order_relaxed),
        .table_bytes = atomic_load_explicit(&t->array_bytes, memory_order_relaxed) + sizeof *t,
        .free_bytes = slab.page_bytes > slab.used_bytes ? slab.page_bytes - slab.used_bytes : 0,
        .limbo_bytes = reclaim.limbo_bytes,
        .charged_bytes = atomic_load_explicit(&t->charged_bytes, memory_order_relaxed),
        .expired_lag_ms = reclaim.expired_lag_ms,
    };
    add_stripes(t, &stats);
    base_add_figures(t, &stats);
    stats.data_bytes = stats.item_bytes;
    stats.index_bytes = stats.table_bytes;
    *ret_stats = stats;
}
