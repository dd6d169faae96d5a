/* The cache before a data file on disk; see cache.h.
 *
 * How: a table with the policy ALL_SIEVE. A value is stored with one byte behind it that says
 * whether the key is there at all, so that a look-up of many keys tells absent from unknown.
 *
 * Invariants: what is stored was read from one version of the data file, the cache's.
 * Failure modes: no memory: nothing is kept, which costs a read the next time. */
#include "store/cache.h"

#include <stdlib.h>

#include "core/qsbr.h"

int cache_open(const struct os *os, uint64_t bytes_max, struct cache **ret_cache,
               struct tarn_error *error)
{
    struct cache *cache = calloc(1, sizeof *cache);
    if (cache == NULL)
        return error_set(error, TARN_NOMEM, "out of memory for the cache");
    int status = table_open(os, bytes_max, TARN_EVICT_ALL_SIEVE, &cache->table, error);
    if (status != TARN_OK) {
        free(cache);
        return status;
    }
    atomic_init(&cache->references, 1);
    *ret_cache = cache;
    return TARN_OK;
}

void cache_close(struct cache *cache)
{
    if (cache == NULL)
        return;
    table_close(cache->table);
    free(cache);
}

void cache_retire(struct cache *cache)
{
    struct table_session *s;
    atomic_store(&cache->retired, true);
    qsbr_register();
    qsbr_online();
    if (table_session_open(cache->table, &s) == TARN_OK) {
        (void)!table_flush(s); /* NOMEM: it stays as large as it is until it is closed */
        table_session_quiescent(s);
        table_session_close(s);
    }
    qsbr_offline();
    qsbr_unregister();
}

bool cache_is_empty(struct cache *cache)
{
    struct tarn_stats stats;
    table_stats_get(cache->table, &stats);
    return stats.keys == 0 && stats.item_bytes == 0;
}

void cache_charge(struct cache *cache, int64_t bytes)
{
    if (atomic_load_explicit(&cache->charge, memory_order_relaxed) == bytes)
        return;
    int64_t before = atomic_exchange_explicit(&cache->charge, bytes, memory_order_relaxed);
    if (bytes != before)
        table_charge(cache->table, bytes - before);
}

int cache_understand(struct tarn_bytes *value)
{
    if (value->data == NULL)
        return CACHE_NOTHING;
    value->size -= CACHE_MARK_BYTES;
    const unsigned char *mark = (const unsigned char *)value->data + value->size;
    return *mark == CACHE_ABSENT ? TARN_NOTFOUND : TARN_OK;
}

int cache_get(struct table_session *s, struct tarn_bytes key, struct tarn_record *ret_record)
{
    if (table_get(s, key, ret_record) != TARN_OK)
        return CACHE_NOTHING;
    return cache_understand(&ret_record->value);
}

static void put(struct cache *cache, struct table_session *s, const struct tarn_record *record)
{
    if (!atomic_load_explicit(&cache->retired, memory_order_relaxed))
        (void)!table_put(s, record); /* FULL, TOOBIG: it is read again when it is wanted */
}

void cache_put(struct cache *cache, struct table_session *s, const struct tarn_record *record)
{
    struct tarn_record marked = *record;
    marked.value.size += CACHE_MARK_BYTES;
    put(cache, s, &marked);
}

void cache_put_absent(struct cache *cache, struct table_session *s, struct tarn_bytes key)
{
    static const unsigned char absent = CACHE_ABSENT;
    put(cache, s, &(struct tarn_record){key, {&absent, sizeof absent}, 0});
}
