/* The store: joins its parts behind tarn.h. Either a pack, the present version of an immutable data
 * file, or such a file left on disk (far.h), or a table, which is writable.
 *
 * Invariants: (0) Without a table `current` is what is served; with one it is what the table rests
 * on (base.h), which never changes, or NULL. (1) `current` points to a pack on which the store
 * holds one reference. (2) A pack taken out of `current` loses that reference only after a grace
 * period, so a session that read the pointer may use the pack until it is quiescent. (3) Whoever
 * needs it longer holds a reference of its own (a pin). (4) `options` and its strings are the
 * store's own copies.
 *
 * Lock order: reload_lock is the only lock. */
#include "store/session.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "core/qsbr.h"

static int check_options(const struct tarn_options *options, struct tarn_error *error)
{
    if (options == NULL || options->path == NULL || options->path[0] == 0)
        return error_set(error, TARN_INVALID, "no data file given (options.path)");
    if ((unsigned)options->duplicates > TARN_DUPLICATES_ERROR)
        return error_set(error, TARN_INVALID, "%s: no such policy for duplicates: %d",
                         options->path, (int)options->duplicates);
    if ((unsigned)options->data > TARN_DATA_ON_DISK)
        return error_set(error, TARN_INVALID, "%s: no such place for data: %d", options->path,
                         (int)options->data);
    return TARN_OK;
}

static int copy_options(struct tarn *store, const struct tarn_options *options)
{
    store->options = *options;
    store->path = options->path ? strdup(options->path) : NULL;
    store->index_path = options->index_path ? strdup(options->index_path) : NULL;
    store->options.path = store->path;
    store->options.index_path = store->index_path;
    return (options->path && !store->path) || (options->index_path && !store->index_path)
               ? TARN_NOMEM
               : TARN_OK;
}

uint64_t store_pack_bytes(const struct tarn *store, const struct pack *pack)
{
    return pack->data_bytes + index_bytes(pack->index) + sizeof *pack + sizeof *store;
}

/* A writable store, in memory only or with a directory. */
static int open_table(const struct os *os, const struct tarn_options *options,
                      struct tarn **ret_store, struct tarn_error *error)
{
    if ((unsigned)options->eviction > TARN_EVICT_EXPIRING_SOONEST)
        return error_set(error, TARN_INVALID, "no such policy for eviction: %d",
                         (int)options->eviction);
    if (options->path != NULL && options->data == TARN_DATA_ON_DISK)
        return error_set(error, TARN_INVALID,
                         "%s: changes to a data file on disk are not kept: serve it without a "
                         "directory, or from memory",
                         options->path);
    struct tarn *store = calloc(1, sizeof *store);
    if (store == NULL)
        return error_set(error, TARN_NOMEM, "out of memory for a store");
    store->os = os;
    pthread_mutex_init(&store->reload_lock, NULL);
    int status = copy_options(store, options);
    if (status != TARN_OK)
        error_set(error, status, "out of memory for a store");
    else
        status = table_open(os, options->memory_bytes_max, options->eviction, &store->table, error);
    if (status == TARN_OK && options->directory != NULL)
        status = durable_open(store, options, error);
    store->options.progress = NULL;
    if (status != TARN_OK)
        tarn_close(store);
    else
        *ret_store = store;
    return status;
}

/* What is served: loaded, or left on disk. What was to be decided by size and does not fit in
 * memory with its index is left there, too. */
static int open_data(struct tarn *store, struct tarn_error *error)
{
    bool on_disk;
    struct pack *pack;
    int status = far_is_wanted(store->os, &store->options, &on_disk, error);
    if (status != TARN_OK)
        return status;
    if (!on_disk) {
        status = pack_open(store->os, &store->options, false, &pack, error);
        on_disk = status == TARN_TOOBIG && store->options.data == TARN_DATA_AUTO;
        if (status == TARN_OK) {
            atomic_store(&store->current, pack);
            atomic_store(&store->pack_bytes, store_pack_bytes(store, pack));
        }
    }
    return on_disk ? far_open(store->os, &store->options, &store->far, error) : status;
}

int store_open(const struct os *os, const struct tarn_options *options, struct tarn **ret_store,
               struct tarn_error *error)
{
    if (options != NULL && (options->path == NULL || options->directory != NULL))
        return open_table(os, options, ret_store, error);
    int status = check_options(options, error);
    if (status != TARN_OK)
        return status;
    struct tarn *store = calloc(1, sizeof *store);
    if (store == NULL)
        return error_set(error, TARN_NOMEM, "%s: out of memory", options->path);
    store->os = os;
    pthread_mutex_init(&store->reload_lock, NULL);
    status = copy_options(store, options);
    if (status != TARN_OK) {
        error_set(error, status, "%s: out of memory", options->path);
        goto failed;
    }
    status = open_data(store, error);
    if (status != TARN_OK)
        goto failed;
    atomic_store(&store->memory_bytes_max, options->memory_bytes_max);
    atomic_store(&store->generation, 1);
    /* Reports of the first load are the opener's; what they point to need not outlive it. */
    store->options.progress = NULL;
    *ret_store = store;
    return TARN_OK;

failed:
    tarn_close(store);
    return status;
}

int tarn_open(const struct tarn_options *options, struct tarn **ret_store, struct tarn_error *error)
{
    return store_open(os_real(), options, ret_store, error);
}

void tarn_close(struct tarn *store)
{
    if (store == NULL)
        return;
    durable_close(store->durable);
    table_close(store->table);
    far_close(store->far);
    pack_unref(atomic_load(&store->current));
    pthread_mutex_destroy(&store->reload_lock);
    free(store->path);
    free(store->index_path);
    free(store);
}

static int reload_pack(struct tarn *store, struct tarn_error *error)
{
    struct pack *pack;
    int status = pack_open(store->os, &store->options, false, &pack, error);
    if (status != TARN_OK)
        return status;
    struct pack *old = atomic_exchange_explicit(&store->current, pack, memory_order_acq_rel);
    atomic_fetch_add(&store->generation, 1);
    atomic_store(&store->pack_bytes, store_pack_bytes(store, pack));
    qsbr_wait();
    pack_unref(old);
    return TARN_OK;
}

int tarn_reload(struct tarn *store, struct tarn_error *error)
{
    if (store->table != NULL)
        return error_set(error, TARN_INVALID,
                         "a store that can be written has no data file to load anew");
    if (pthread_mutex_trylock(&store->reload_lock) != 0)
        return error_set(error, TARN_BUSY, "%s: a reload is under way already", store->path);
    store->options.memory_bytes_max = atomic_load(&store->memory_bytes_max);
    int status = store->far != NULL
                     ? far_reload(store->far, &store->options, &store->generation, error)
                     : reload_pack(store, error);
    pthread_mutex_unlock(&store->reload_lock);
    return status;
}

static void pack_stats_get(struct tarn *store, struct tarn_stats *ret_stats)
{
    const struct pack *pack = atomic_load_explicit(&store->current, memory_order_acquire);
    const struct index *index = pack->index;
    *ret_stats = (struct tarn_stats){
        .keys = index_keys(index),
        .records = index->records,
        .data_bytes = pack->data_bytes,
        .index_bytes = index_bytes(index),
        .memory_bytes = store_pack_bytes(store, pack),
        .key_bytes_total = index->key_bytes_total,
        .value_bytes_total = index->value_bytes_total,
        .generation = atomic_load(&store->generation),
        .load_us = pack->load_us,
        .index_built = pack->index_built,
        .format = index->format,
    };
}

void tarn_stats_get(struct tarn *store, struct tarn_stats *ret_stats)
{
    if (store->table != NULL) {
        table_stats_get(store->table, ret_stats);
        ret_stats->memory_bytes += sizeof *store;
        return;
    }
    session_look_briefly();
    if (store->far != NULL)
        far_stats_get(store->far, ret_stats);
    else
        pack_stats_get(store, ret_stats);
    session_look_away_again();
}

void tarn_disk_stats_get(struct tarn *store, struct tarn_disk_stats *ret_stats)
{
    *ret_stats = (struct tarn_disk_stats){.on_disk = false};
    if (store->far == NULL)
        return;
    session_look_briefly();
    far_disk_stats_get(store->far, ret_stats);
    session_look_away_again();
}

/* --- memory and expiry of a table --- */

bool tarn_make_room(struct tarn_session *session)
{
    if (session->table == NULL)
        return false;
    tarn_offline(session);
    bool waited = table_make_room(session->table);
    tarn_online(session);
    return waited;
}

void tarn_limit(struct tarn *store, uint64_t memory_bytes_max, enum tarn_eviction eviction)
{
    if (store->table != NULL)
        table_limit(store->table, memory_bytes_max, eviction);
    else
        atomic_store(&store->memory_bytes_max, memory_bytes_max); /* for the next reload */
    if (store->far != NULL) {
        session_look_briefly();
        far_limit(store->far, memory_bytes_max);
        session_look_away_again();
    }
}

void tarn_charge(struct tarn *store, int64_t bytes)
{
    if (store->table != NULL)
        table_charge(store->table, bytes);
    else if (store->far != NULL)
        far_charge(store->far, bytes);
    else
        atomic_fetch_add_explicit(&store->charged_bytes, (uint64_t)bytes, memory_order_relaxed);
}

uint64_t tarn_memory_used(struct tarn *store)
{
    if (store->table != NULL)
        return table_memory_used(store->table);
    if (store->far != NULL) {
        session_look_briefly();
        uint64_t bytes = sizeof *store + far_memory_used(store->far);
        session_look_away_again();
        return bytes;
    }
    return atomic_load_explicit(&store->pack_bytes, memory_order_relaxed) +
           atomic_load_explicit(&store->charged_bytes, memory_order_relaxed);
}

void tarn_session_touches(struct tarn_session *session, bool touches)
{
    if (session->table != NULL)
        table_session_touches(session->table, touches);
    if (session->far != NULL)
        far_session_touches(session->far, touches);
}

void tarn_expire_actively(struct tarn *store, bool active)
{
    if (store->table != NULL)
        table_expire_actively(store->table, active);
}

/* --- indexing and verification --- */

int store_index_build(const struct os *os, const struct tarn_options *options,
                      struct tarn_index_report *ret_report, struct tarn_error *error)
{
    int status = check_options(options, error);
    return status != TARN_OK ? status : pack_index_build(os, options, ret_report, error);
}

int tarn_index_build(const struct tarn_options *options, struct tarn_index_report *ret_report,
                     struct tarn_error *error)
{
    return store_index_build(os_real(), options, ret_report, error);
}

static int verify_pack(const struct os *os, const struct tarn_options *options,
                       struct tarn_verify_report *ret_report, struct tarn_error *error)
{
    struct pack *pack;
    int status = pack_open(os, options, true, &pack, error);
    if (status != TARN_OK)
        return status;
    status = pack_verify(pack, options, ret_report, error);
    pack_unref(pack);
    return status;
}

static int verify_disk(const struct os *os, const struct tarn_options *options,
                       struct tarn_verify_report *ret_report, struct tarn_error *error)
{
    struct disk_pack *pack;
    int status = disk_open(os, options, true, &pack, error);
    if (status != TARN_OK)
        return status;
    status = disk_verify(pack, options, ret_report, error);
    disk_unref(pack);
    return status;
}

int store_verify(const struct os *os, const struct tarn_options *options,
                 struct tarn_verify_report *ret_report, struct tarn_error *error)
{
    int status = check_options(options, error);
    if (status != TARN_OK)
        return status;
    bool on_disk, blocks = false;
    char *index_path = pack_index_path(options);
    if (index_path == NULL)
        return error_set(error, TARN_NOMEM, "%s: out of memory", options->path);
    status = far_is_wanted(os, options, &on_disk, error);
    if (status == TARN_OK && !on_disk)
        status = index_is_of_blocks(os, index_path, &blocks, error);
    if (status == TARN_OK) /* what the index is for counts, whether or not the data would fit */
        status = on_disk || blocks ? verify_disk(os, options, ret_report, error)
                                   : verify_pack(os, options, ret_report, error);
    free(index_path);
    return status;
}

int tarn_verify(const struct tarn_options *options, struct tarn_verify_report *ret_report,
                struct tarn_error *error)
{
    return store_verify(os_real(), options, ret_report, error);
}
