/* A data file on disk: the store's part. See far.h.
 *
 * How: a version is an open file with its index in memory and a cache that has what is left of the
 * cap; all other memory (buffers of reads, records that are kept, the caller's) is charged to the
 * cache, which makes room for it. A reload opens the new version beside the old.
 *
 * Invariants: (1) `current` is never NULL; a session that saw a version may use it until it is
 * quiescent; whoever needs its file longer has a reference to that; (2) a cache is closed when it
 * has no session any more and nothing of it is pinned.
 * Failure modes: opening fails wholly; the old version is then served on. */
#include "store/far.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/number.h"
#include "core/qsbr.h"
#include "pack/checkpoint_layout.h"
#include "pack/external.h"

/* What a cache cannot do without, and a moment's buffers. */
#define CACHE_BYTES_MIN   ((uint64_t)1 << 20)
#define LOOK_EVERY_NS     ((uint64_t)1000000000)
#define SUFFICIENT(total) ((total) / 4 * 3) /* of the machine's memory, where no cap was given */

/* --- on disk or in memory --- */

static uint64_t cap_of(const struct tarn_options *options)
{
    return options->memory_bytes_max > 0 ? options->memory_bytes_max
                                         : SUFFICIENT(os_memory_total());
}

int far_is_wanted(const struct os *os, const struct tarn_options *options, bool *ret_wanted,
                  struct tarn_error *error)
{
    struct os_file_info info;
    int fd;
    if (options->data != TARN_DATA_AUTO) {
        *ret_wanted = options->data == TARN_DATA_ON_DISK;
        return TARN_OK;
    }
    int status = os_open_data(os, options->path, &fd, &info, error);
    if (status != TARN_OK)
        return status;
    uint64_t cap = cap_of(options);
    bool hashed;
    status = disk_is_hashed(os, options, fd, &hashed, error);
    (void)os->close(os, fd); /* only looked at */
    if (status == TARN_OK)
        *ret_wanted = (cap > 0 && info.size > cap) || hashed;
    return status;
}

/* --- versions --- */

static void version_free(struct far_version *version)
{
    if (version == NULL)
        return;
    disk_unref(version->pack);
    free(version);
}

static uint64_t least_memory(const struct disk_figures *figures)
{
    return figures->memory_bytes + figures->read_bytes_max + CACHE_BYTES_MIN;
}

static int too_small(const struct tarn_options *options, const struct disk_figures *figures,
                     struct tarn_error *error)
{
    char cap[32], index[32], reads[32], needed[32];
    uint64_t beside = least_memory(figures) - figures->memory_bytes;
    return error_set(error, TARN_TOOBIG,
                     "%s: the memory of %s is too small: the index needs %s, a cache and a read at "
                     "least %s; give at least %s (--memory), or build a smaller index (tarn index "
                     "--memory; tarn plan tells what fits)",
                     options->path, number_format_size(cap_of(options), cap),
                     number_format_size(figures->memory_bytes, index),
                     number_format_size(beside, reads),
                     number_format_size(least_memory(figures), needed));
}

/* Is it the index that is the matter, and can be made? */
static bool can_be_built(const struct os *os, const struct tarn_options *options, int status)
{
    struct os_file_info info;
    int fd;
    if (status != TARN_MISSING && status != TARN_STALE && status != TARN_CORRUPT)
        return false;
    if (options->index_readonly || os_open_data(os, options->path, &fd, &info, NULL) != TARN_OK)
        return false;
    bool hashed;
    status = disk_is_hashed(os, options, fd, &hashed, NULL);
    (void)os->close(os, fd); /* only looked at */
    return status == TARN_OK && !hashed;
}

/* The index as it is, or built anew where it is none for this file left on disk: as that of a file
 * in memory is. */
static int open_pack(const struct os *os, const struct tarn_options *options,
                     struct disk_pack **ret_pack, struct tarn_error *error)
{
    struct tarn_error reason;
    struct tarn_index_report report;
    int status = disk_open(os, options, false, ret_pack, &reason);
    if (!can_be_built(os, options, status)) {
        if (status != TARN_OK && error != NULL)
            *error = reason;
        return status;
    }
    if (status != TARN_MISSING && options->notice != NULL)
        options->notice(options->notice_context, reason.text);
    struct external_settings settings = {
        .memory_bytes = cap_of(options),
        .granule_log2 = EXTERNAL_AUTO,
        .fingerprint_bits = EXTERNAL_AUTO,
        .layout = EXTERNAL_AUTO,
    };
    status = external_build(os, options, &settings, &report, error);
    if (status == TARN_OK)
        status = disk_open(os, options, true, ret_pack, error);
    if (status == TARN_OK)
        (*ret_pack)->index_built = true;
    return status;
}

/* No block is longer, where the index in memory tells; far values, if there are any, are in one
 * that is. */
static uint64_t largest_read(const struct disk_pack *pack, uint64_t most)
{
    uint64_t largest = 0, offset, size;
    if (pack->layout != DISK_BLOCKS)
        return most;
    for (uint64_t i = 0; i < pack->index->block_count && largest < most; i++)
        if (index_block_range(pack->index, i, &offset, &size) && size > largest)
            largest = size;
    largest += 2 * DISK_ALIGN_BYTES;
    return largest < most ? largest : most;
}

/* What the cap leaves to the cache, which all other memory is charged to. */
static int open_version(const struct os *os, const struct tarn_options *options, uint64_t number,
                        struct far_version **ret_version, struct tarn_error *error)
{
    struct far_version *version = calloc(1, sizeof *version);
    if (version == NULL)
        return error_set(error, TARN_NOMEM, "%s: out of memory", options->path);
    version->number = number;
    int status = open_pack(os, options, &version->pack, error);
    if (status == TARN_OK) {
        const struct disk_figures *figures = &version->figures;
        disk_figures(version->pack, &version->figures);
        version->figures.read_bytes_max = largest_read(version->pack, figures->read_bytes_max);
        uint64_t cap = cap_of(options);
        if (cap < least_memory(figures))
            status = too_small(options, figures, error);
        else
            status = cache_open(os, cap - figures->memory_bytes, &version->cache, error);
    }
    if (status != TARN_OK) {
        version_free(version);
        return status;
    }
    *ret_version = version;
    return TARN_OK;
}

static void set_limits(struct far *far, uint64_t cap, const struct far_version *version)
{
    uint64_t room = cap - version->figures.memory_bytes;
    uint64_t part = room / 4, read = version->figures.read_bytes_max;
    atomic_store(&far->memory_bytes_max, cap);
    atomic_store(&far->buffer_bytes_max, part > read ? part : read);
    atomic_store(&far->record_bytes_max, room / 2);
}

int far_open(const struct os *os, const struct tarn_options *options, struct far **ret_far,
             struct tarn_error *error)
{
    if (options->read_depth > RING_DEPTH_MAX)
        return error_set(error, TARN_INVALID, "reads under way: 1 to %u, not %u", RING_DEPTH_MAX,
                         options->read_depth);
    struct far *far = aligned_alloc(64, sizeof *far);
    if (far == NULL)
        return error_set(error, TARN_NOMEM, "%s: out of memory", options->path);
    memset(far, 0, sizeof *far);
    far->os = os;
    far->depth = options->read_depth > 0 ? options->read_depth : FAR_DEPTH_DEFAULT;
    pthread_mutex_init(&far->list_lock, NULL);
    struct far_version *version = NULL;
    int status = os->entropy(os, far->secret, sizeof far->secret);
    if (status != 0)
        status = os_error(error, status, "read", "random bytes");
    else if ((far->past_latency = histogram_new()) == NULL)
        status = error_set(error, TARN_NOMEM, "%s: out of memory", options->path);
    if (status == TARN_OK)
        status = open_version(os, options, 1, &version, error);
    if (status != TARN_OK) {
        far_close(far);
        return status;
    }
    set_limits(far, cap_of(options), version);
    atomic_store(&far->current, version);
    *ret_far = far;
    return TARN_OK;
}

static void close_retired(struct far *far, bool all)
{
    struct cache *closing = NULL, *cache, **p;
    pthread_mutex_lock(&far->list_lock);
    for (p = &far->retired; (cache = *p) != NULL;) {
        if (!all && !cache_is_empty(cache)) {
            p = &cache->next;
            continue;
        }
        *p = cache->next;
        cache->next = closing;
        closing = cache;
    }
    pthread_mutex_unlock(&far->list_lock);
    while ((cache = closing) != NULL) {
        closing = cache->next;
        cache_close(cache);
    }
}

/* The version's own reference; no session is left, or sees it. */
static void drop_version(struct far *far, struct far_version *version)
{
    struct cache *cache = version->cache;
    if (atomic_fetch_sub_explicit(&cache->references, 1, memory_order_acq_rel) == 1) {
        pthread_mutex_lock(&far->list_lock);
        cache->next = far->retired;
        far->retired = cache;
        pthread_mutex_unlock(&far->list_lock);
    }
    version_free(version);
}

void far_close(struct far *far)
{
    if (far == NULL)
        return;
    struct far_version *version = atomic_load(&far->current);
    if (version != NULL)
        drop_version(far, version);
    close_retired(far, true);
    histogram_free(far->past_latency);
    pthread_mutex_destroy(&far->list_lock);
    free(far);
}

int far_reload(struct far *far, const struct tarn_options *options, _Atomic uint64_t *generation,
               struct tarn_error *error)
{
    struct far_version *version, *old = atomic_load(&far->current);
    close_retired(far, false);
    int status = open_version(far->os, options, old->number + 1, &version, error);
    if (status != TARN_OK)
        return status;
    set_limits(far, cap_of(options), version);
    atomic_store_explicit(&far->current, version, memory_order_release);
    atomic_fetch_add(generation, 1);
    atomic_store(&far->changed, false);
    qsbr_wait();
    cache_retire(old->cache);
    drop_version(far, old);
    return TARN_OK;
}

/* --- memory --- */

void far_charge(struct far *far, int64_t bytes)
{
    atomic_fetch_add_explicit(&far->charged, bytes, memory_order_relaxed);
}

void far_limit(struct far *far, uint64_t memory_bytes_max)
{
    struct far_version *version = atomic_load_explicit(&far->current, memory_order_acquire);
    uint64_t cap = cap_of(&(struct tarn_options){.memory_bytes_max = memory_bytes_max});
    uint64_t least = least_memory(&version->figures);
    if (cap < least)
        cap = least;
    set_limits(far, cap, version);
    table_limit(version->cache->table, cap - version->figures.memory_bytes, TARN_EVICT_ALL_SIEVE);
}

uint64_t far_memory_used(struct far *far)
{
    struct far_version *version = atomic_load_explicit(&far->current, memory_order_acquire);
    cache_charge(version->cache, atomic_load_explicit(&far->charged, memory_order_relaxed));
    return sizeof *far + version->figures.memory_bytes + table_memory_used(version->cache->table);
}

/* --- the file --- */

void far_failed(struct far *far, const struct tarn_error *error)
{
    pthread_mutex_lock(&far->list_lock);
    snprintf(far->failure, sizeof far->failure, "%.*s", (int)sizeof far->failure - 1, error->text);
    pthread_mutex_unlock(&far->list_lock);
}

void far_look_at_file(struct far *far, const struct disk_pack *pack)
{
    uint64_t now = far->os->monotonic_ns(far->os);
    uint64_t looked = atomic_load_explicit(&far->looked_ns, memory_order_relaxed);
    struct tarn_error error;
    if (now - looked < LOOK_EVERY_NS ||
        !atomic_compare_exchange_strong(&far->looked_ns, &looked, now))
        return;
    int status = disk_look(pack, &error);
    if (status != TARN_OK && !atomic_exchange(&far->changed, true))
        far_failed(far, &error);
}

/* --- figures --- */

void far_stats_get(struct far *far, struct tarn_stats *stats)
{
    const struct far_version *version = atomic_load_explicit(&far->current, memory_order_acquire);
    const struct disk_figures *figures = &version->figures;
    *stats = (struct tarn_stats){
        .keys = figures->keys,
        .records = figures->records,
        .data_bytes = version->pack->data_bytes,
        .index_bytes = figures->memory_bytes,
        .memory_bytes = far_memory_used(far),
        .key_bytes_total = figures->key_bytes_total,
        .value_bytes_total = figures->value_bytes_total,
        .generation = version->number,
        .load_us = version->pack->open_us,
        .index_built = version->pack->index_built,
        .format = figures->format,
        .memory_bytes_max = atomic_load(&far->memory_bytes_max),
    };
}

/* Upper bounds of the buckets of latency. */
static const uint64_t bounds_us[TARN_READ_BOUNDS] = {10,     20,     50,     100,    200,   500,
                                                     1000,   2000,   5000,   10000,  20000, 50000,
                                                     100000, 200000, 500000, 1000000};

static void read_latency(const struct histogram *all, struct tarn_disk_stats *stats)
{
    stats->read_ns_mean = (uint64_t)histogram_mean(all);
    stats->read_ns_p50 = histogram_quantile(all, 0.5);
    stats->read_ns_p99 = histogram_quantile(all, 0.99);
    stats->read_ns_p999 = histogram_quantile(all, 0.999);
    stats->read_ns_max = histogram_max(all);
    for (unsigned i = 0; i < TARN_READ_BOUNDS; i++) {
        stats->read_latency[i].bound_ns = bounds_us[i] * 1000;
        stats->read_latency[i].count = histogram_count_upto(all, bounds_us[i] * 1000);
    }
}

static void add_counters(struct tarn_disk_stats *stats, struct far_counters *c)
{
#define ADD(name) stats->name += atomic_load_explicit(&c->name, memory_order_relaxed)
    ADD(hits);
    ADD(absent_hits);
    ADD(refused);
    ADD(misses);
    ADD(joined);
    ADD(reads);
    ADD(read_bytes);
    ADD(corrupt);
    ADD(io_errors);
#undef ADD
}

/* Sums over all sessions; without memory for it, no latencies. */
static void add_sessions(struct far *far, struct tarn_disk_stats *stats)
{
    struct histogram *all = histogram_new();
    pthread_mutex_lock(&far->list_lock);
    add_counters(stats, &far->past);
    if (all != NULL)
        histogram_merge(all, far->past_latency);
    for (struct far_session *s = far->sessions; s != NULL; s = s->next) {
        const struct histogram *latency = atomic_load_explicit(&s->latency, memory_order_acquire);
        add_counters(stats, &s->counters);
        stats->in_flight += atomic_load_explicit(&s->under_way, memory_order_relaxed);
        if (all != NULL && latency != NULL)
            histogram_merge(all, latency);
    }
    memcpy(stats->failure, far->failure, sizeof stats->failure);
    pthread_mutex_unlock(&far->list_lock);
    if (all != NULL)
        read_latency(all, stats);
    histogram_free(all);
}

void far_disk_stats_get(struct far *far, struct tarn_disk_stats *ret_stats)
{
    const struct far_version *version = atomic_load_explicit(&far->current, memory_order_acquire);
    struct tarn_stats cache;
    table_stats_get(version->cache->table, &cache);
    *ret_stats = (struct tarn_disk_stats){
        .on_disk = true,
        .changed = atomic_load(&far->changed),
        .data_bytes = version->pack->data_bytes,
        .index_bytes = version->figures.memory_bytes,
        .cache_bytes = cache.memory_bytes - cache.charged_bytes,
        .cache_bytes_max = cache.memory_bytes_max,
        .cache_records = cache.keys,
        .depth = far->depth,
    };
    add_sessions(far, ret_stats);
}
