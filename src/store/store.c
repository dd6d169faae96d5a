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
#include "store/store_internal.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "core/assert.h"
#include "core/qsbr.h"
#include "store/durable.h"
#include "store/far.h"

/* Reclamation knows threads, not sessions, so a thread with several sessions is quiescent only
 * when none of them has anything in view, and offline only when all are. */
static __thread struct {
    unsigned online;  /* sessions that are */
    unsigned viewing; /* sessions that may have views */
} thread_sessions;

/* A pin is a reference to a pack or, with one of these bits set in its address, to a large item of
 * a table, or to what was read from disk; the type is only a name for callers. */
#define PIN_ITEM   1u
#define PIN_RECORD 2u

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
    if (status == TARN_OK && !on_disk) {
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

/* For any thread, with or without a session, which looks at what is served for a moment. */
static void look_briefly(void)
{
    qsbr_register();
    if (thread_sessions.online == 0)
        qsbr_online();
}

static void look_away_again(void)
{
    if (thread_sessions.online == 0)
        qsbr_offline();
    qsbr_unregister();
}

void tarn_stats_get(struct tarn *store, struct tarn_stats *ret_stats)
{
    if (store->table != NULL) {
        table_stats_get(store->table, ret_stats);
        ret_stats->memory_bytes += sizeof *store;
        return;
    }
    look_briefly();
    if (store->far != NULL)
        far_stats_get(store->far, ret_stats);
    else
        pack_stats_get(store, ret_stats);
    look_away_again();
}

void tarn_disk_stats_get(struct tarn *store, struct tarn_disk_stats *ret_stats)
{
    *ret_stats = (struct tarn_disk_stats){.on_disk = false};
    if (store->far == NULL)
        return;
    look_briefly();
    far_disk_stats_get(store->far, ret_stats);
    look_away_again();
}

/* --- sessions --- */

static void look_away(struct tarn_session *session)
{
    if (session->viewing) {
        session->viewing = false;
        session->seen = NULL;
        thread_sessions.viewing--;
        if (session->table != NULL)
            table_session_quiescent(session->table);
        if (session->far != NULL)
            far_session_quiescent(session->far);
    }
}

static inline void look(struct tarn_session *session)
{
    if (!session->viewing) {
        session->viewing = true;
        thread_sessions.viewing++;
    }
}

static void go_online(struct tarn_session *session)
{
    ASSERT(!session->online);
    session->online = true;
    if (thread_sessions.online++ == 0)
        qsbr_online();
}

static void go_offline(struct tarn_session *session)
{
    ASSERT(session->online);
    look_away(session);
    session->online = false;
    if (--thread_sessions.online == 0)
        qsbr_offline();
    else if (thread_sessions.viewing == 0)
        qsbr_quiescent();
}

int tarn_session_open(struct tarn *store, struct tarn_session **ret_session,
                      struct tarn_error *error)
{
    struct tarn_session *session = malloc(sizeof *session);
    if (session == NULL)
        return error_set(error, TARN_NOMEM, "out of memory for a session");
    *session = (struct tarn_session){.store = store};
    if (store->table != NULL && table_session_open(store->table, &session->table) != TARN_OK) {
        free(session);
        return error_set(error, TARN_NOMEM, "out of memory for a session");
    }
    if (store->far != NULL && far_session_open(store->far, &session->far) != TARN_OK) {
        free(session);
        return error_set(error, TARN_NOMEM, "out of memory for a session");
    }
    session->durable = store->durable;
    qsbr_register();
    go_online(session);
    *ret_session = session;
    return TARN_OK;
}

void tarn_session_close(struct tarn_session *session)
{
    if (session == NULL)
        return;
    table_session_close(session->table);
    session->table = NULL;
    far_session_close(session->far);
    session->far = NULL;
    if (session->online)
        go_offline(session);
    qsbr_unregister();
    free(session);
}

void tarn_quiescent(struct tarn_session *session)
{
    look_away(session);
    if (thread_sessions.viewing == 0)
        qsbr_quiescent();
}

void tarn_offline(struct tarn_session *session)
{
    go_offline(session);
}

void tarn_online(struct tarn_session *session)
{
    go_online(session);
}

/* The version this session sees: one and the same between two quiescent states, so that a pin is
 * on the version from which the values of this turn came, also when a reload swaps meanwhile. */
static inline struct pack *session_pack(struct tarn_session *session)
{
    if (session->seen == NULL) {
        look(session);
        session->seen = atomic_load_explicit(&session->store->current, memory_order_acquire);
    }
    return session->seen;
}

/* The session's table if it has one, else NULL: then session_pack() is to be asked. */
static inline struct table_session *session_table(struct tarn_session *session)
{
    if (session->table != NULL)
        look(session);
    return session->table;
}

/* The same for a data file on disk. */
static inline struct far_session *session_far(struct tarn_session *session)
{
    if (session->far != NULL)
        look(session);
    return session->far;
}

struct far_session *store_session_far(struct tarn_session *session)
{
    return session_far(session);
}

static bool is_of_pack(const struct pack *pack, struct tarn_bytes value)
{
    const unsigned char *data = value.data;
    return pack != NULL && data >= pack->data && data < pack->data + pack->data_bytes;
}

/* What was read from disk, or its copy in the cache. */
static struct tarn_pin *pin_far(struct far_session *far, struct tarn_bytes value)
{
    struct far_record *record = far_kept_record_of(far, value);
    if (record == NULL)
        return (struct tarn_pin *)((uintptr_t)table_pin(value) | PIN_ITEM);
    far_record_ref(record);
    return (struct tarn_pin *)((uintptr_t)record | PIN_RECORD);
}

struct tarn_pin *tarn_pin(struct tarn_session *session, struct tarn_bytes value)
{
    if (session->far != NULL)
        return pin_far(session->far, value);
    struct pack *pack = session->table != NULL ? session->store->current : session_pack(session);
    if (session->table != NULL && !is_of_pack(pack, value))
        return (struct tarn_pin *)((uintptr_t)table_pin(value) | PIN_ITEM);
    pack_ref(pack);
    return (struct tarn_pin *)pack;
}

void tarn_unpin(struct tarn_pin *pin)
{
    uintptr_t address = (uintptr_t)pin;
    if (address & PIN_ITEM)
        table_unpin((struct item_large *)(address - PIN_ITEM));
    else if (address & PIN_RECORD)
        far_record_unref((struct far_record *)(address - PIN_RECORD));
    else
        pack_unref((struct pack *)address);
}

/* --- waiting for durability, where there is any --- */

static inline int settle(struct tarn_session *session, int status)
{
    return __builtin_expect(session->durable == NULL, 1) ? status : durable_settle(session, status);
}

/* What cannot be told for certain is told as it is in memory: see tarn.h. */
static inline size_t settle_count(struct tarn_session *session, size_t count)
{
    (void)settle(session, TARN_OK);
    return count;
}

/* What comes before a change: TARN_OK if it may be made. */
static inline int admit(struct tarn_session *session, const struct table_session *table)
{
    if (table == NULL)
        return TARN_READONLY;
    return __builtin_expect(session->durable == NULL, 1) ? TARN_OK : durable_admit(session);
}

#define WRITE(session, table, call)                                                                \
    ({                                                                                             \
        int write_status_ = admit(session, table);                                                 \
        write_status_ == TARN_OK ? settle(session, call) : write_status_;                          \
    })

/* --- reading --- */

int tarn_get_record(struct tarn_session *session, struct tarn_bytes key,
                    struct tarn_record *ret_record)
{
    struct table_session *table = session_table(session);
    if (table != NULL)
        return settle(session, table_get(table, key, ret_record));
    struct far_session *far = session_far(session);
    if (far != NULL)
        return far_get(far, key, ret_record);
    struct tarn_bytes value;
    int status = pack_get(session_pack(session), key, &value);
    if (status == TARN_OK)
        *ret_record = (struct tarn_record){key, value, 0};
    return status;
}

int tarn_get(struct tarn_session *session, struct tarn_bytes key, struct tarn_bytes *ret_value)
{
    struct table_session *table = session_table(session);
    struct far_session *far = session_far(session);
    if (table == NULL && far == NULL)
        return pack_get(session_pack(session), key, ret_value);
    struct tarn_record record;
    int status =
        far != NULL ? far_get(far, key, &record) : settle(session, table_get(table, key, &record));
    if (status == TARN_OK)
        *ret_value = record.value;
    return status;
}

size_t tarn_get_many(struct tarn_session *session, const struct tarn_bytes *keys, size_t count,
                     struct tarn_bytes *ret_values)
{
    struct table_session *table = session_table(session);
    if (table != NULL)
        return settle_count(session, table_get_many(table, keys, count, ret_values));
    struct far_session *far = session_far(session);
    if (far != NULL)
        return far_get_many(far, keys, count, ret_values);
    return pack_get_many(session_pack(session), keys, count, ret_values);
}

size_t tarn_get_together(struct tarn_session *session, const struct tarn_bytes *keys, size_t count,
                         struct tarn_bytes *ret_values)
{
    struct table_session *table = session_table(session);
    if (table != NULL)
        return settle_count(session, table_get_together(table, keys, count, ret_values));
    return tarn_get_many(session, keys, count, ret_values); /* nothing of it changes */
}

void tarn_prefetch(struct tarn_session *session, const struct tarn_bytes *keys, size_t count)
{
    struct table_session *table = session_table(session);
    struct far_session *far = session_far(session);
    if (table != NULL)
        table_prefetch(table, keys, count);
    else if (far != NULL)
        far_prefetch(far, keys, count);
}

int tarn_scan(struct tarn_session *session, uint64_t *cursor, size_t count, tarn_visit visit,
              void *context)
{
    struct table_session *table = session_table(session);
    size_t wanted = count ? count : 1;
    if (session->durable != NULL)
        return settle(session,
                      base_scan(&session->durable->base, session, cursor, wanted, visit, context));
    struct far_session *far = session_far(session);
    if (far != NULL)
        return far_scan(far, cursor, wanted, visit, context);
    if (table != NULL)
        table_scan(table, cursor, wanted, visit, context);
    else
        pack_scan(session_pack(session), cursor, wanted, visit, context);
    return TARN_OK;
}

int tarn_random_key(struct tarn_session *session, uint64_t random, struct tarn_bytes *ret_key)
{
    struct table_session *table = session_table(session);
    if (session->durable != NULL)
        return settle(session, base_random_key(&session->durable->base, session, random, ret_key));
    if (table != NULL)
        return table_random_key(table, random, ret_key);
    struct far_session *far = session_far(session);
    if (far != NULL)
        return far_random_key(far, random, ret_key);
    return pack_random_key(session_pack(session), random, ret_key);
}

/* What a key takes beside its item or its key and value: the table, or file framing and index,
 * shared equally; rounded up. */
static uint64_t overhead_per_key(const struct tarn_stats *stats)
{
    uint64_t payload = stats->key_bytes_total + stats->value_bytes_total;
    uint64_t framing = stats->data_bytes > payload ? stats->data_bytes - payload : 0;
    uint64_t count = stats->records > 0 ? stats->records : 1;
    uint64_t bytes = stats->writable ? stats->table_bytes : framing + stats->index_bytes;
    return (bytes + count - 1) / count;
}

/* What is known of a key: when it expires, how large it is. */
static int get_about(struct tarn_session *session, struct tarn_bytes key,
                     struct table_about *ret_about)
{
    struct table_session *table = session_table(session);
    struct far_session *far = session_far(session);
    struct far_record *not_read;
    struct tarn_record record = {.expire_ms = 0};
    if (table != NULL)
        return settle(session, table_about(table, key, ret_about));
    int status = far != NULL ? far_find(far, key, &record, &not_read)
                             : pack_get(session_pack(session), key, &record.value);
    if (status == TARN_OK)
        *ret_about = (struct table_about){record.expire_ms, key.size + record.value.size};
    return status;
}

int tarn_get_expiry(struct tarn_session *session, struct tarn_bytes key, int64_t *ret_expire_ms)
{
    struct table_about about;
    int status = get_about(session, key, &about);
    if (status == TARN_OK)
        *ret_expire_ms = about.expire_ms;
    return status;
}

int tarn_usage(struct tarn_session *session, struct tarn_bytes key, uint64_t *ret_bytes)
{
    struct tarn_stats stats;
    struct table_about about;
    int status = get_about(session, key, &about);
    if (status != TARN_OK)
        return status;
    tarn_stats_get(session->store, &stats);
    *ret_bytes = overhead_per_key(&stats) + about.item_bytes;
    return TARN_OK;
}

int64_t tarn_now_ms(struct tarn *store)
{
    if (store->table != NULL)
        return table_now_ms(store->table);
    return store->os->realtime_us(store->os) / 1000;
}

/* --- writing --- */

int tarn_put(struct tarn_session *session, struct tarn_bytes key, struct tarn_bytes value,
             int64_t expire_ms)
{
    struct table_session *table = session_table(session);
    struct tarn_record record = {key, value, expire_ms};
    return WRITE(session, table, table_put(table, &record));
}

int tarn_put_many(struct tarn_session *session, const struct tarn_record *records, size_t count)
{
    struct table_session *table = session_table(session);
    return WRITE(session, table, table_put_many(table, records, count));
}

int tarn_prepare(struct tarn_session *session, const struct tarn_record *records, size_t count)
{
    struct table_session *table = session_table(session);
    return table != NULL ? table_prepare(table, records, count) : TARN_READONLY;
}

int tarn_put_if(struct tarn_session *session, struct tarn_bytes key, struct tarn_bytes value,
                int64_t expire_ms, tarn_condition condition, void *context)
{
    struct table_session *table = session_table(session);
    struct tarn_record record = {key, value, expire_ms};
    return WRITE(session, table, table_put_if(table, &record, condition, context));
}

int tarn_delete(struct tarn_session *session, struct tarn_bytes key)
{
    struct table_session *table = session_table(session);
    return WRITE(session, table, table_delete(table, key));
}

int tarn_copy(struct tarn_session *session, struct tarn_bytes source, struct tarn_bytes target,
              unsigned flags)
{
    struct table_session *table = session_table(session);
    return WRITE(session, table, table_copy(table, source, target, flags));
}

int tarn_update(struct tarn_session *session, struct tarn_bytes key, tarn_change change,
                void *context)
{
    struct table_session *table = session_table(session);
    return WRITE(session, table, table_update(table, key, change, context));
}

/* What tarn_expire() wants, and whether there was such a key. */
struct expiry_change {
    int64_t expire_ms;
    bool found;
};

static enum tarn_verdict change_expiry(void *context, struct tarn_update *update)
{
    struct expiry_change *change = context;
    change->found = update->record.value.data != NULL;
    if (!change->found || update->record.expire_ms == change->expire_ms)
        return TARN_KEEP;
    update->record.expire_ms = change->expire_ms;
    return TARN_EXPIRE;
}

int tarn_expire(struct tarn_session *session, struct tarn_bytes key, int64_t expire_ms)
{
    struct expiry_change change = {expire_ms, false};
    int status = tarn_update(session, key, change_expiry, &change);
    return status == TARN_OK && !change.found ? TARN_NOTFOUND : status;
}

int tarn_flush(struct tarn_session *session)
{
    struct table_session *table = session_table(session);
    return WRITE(session, table, table_flush(table));
}

void tarn_begin(struct tarn_session *session, const struct tarn_bytes *keys, size_t count)
{
    struct table_session *table = session_table(session);
    session->in_step = true;
    if (table != NULL)
        table_begin(table, keys, count);
}

int tarn_end(struct tarn_session *session)
{
    struct table_session *table = session_table(session);
    session->in_step = false;
    if (table == NULL)
        return TARN_OK;
    table_end(table);
    return settle(session, TARN_OK);
}

/* A watch of a key of a table, or of the version of a pack. */
struct tarn_watch {
    struct table_watch *table; /* NULL: a pack */
    struct tarn *store;
    uint64_t generation;
};

int tarn_watch_open(struct tarn_session *session, struct tarn_bytes key,
                    struct tarn_watch **ret_watch)
{
    struct table_session *table = session_table(session);
    struct tarn_watch *watch = malloc(sizeof *watch);
    if (watch == NULL)
        return TARN_NOMEM;
    *watch = (struct tarn_watch){.store = session->store,
                                 .generation = atomic_load(&session->store->generation)};
    int status = table != NULL ? table_watch_open(table, key, &watch->table) : TARN_OK;
    if (status != TARN_OK) {
        free(watch);
        return status;
    }
    *ret_watch = watch;
    return TARN_OK;
}

bool tarn_watch_changed(const struct tarn_watch *watch)
{
    if (watch->table != NULL)
        return table_watch_changed(watch->table);
    return watch->generation != atomic_load(&watch->store->generation);
}

void tarn_watch_close(struct tarn_watch *watch)
{
    if (watch == NULL)
        return;
    table_watch_close(watch->table);
    free(watch);
}

/* --- memory and expiry of a table --- */

bool tarn_make_room(struct tarn_session *session)
{
    if (session->table == NULL)
        return false;
    go_offline(session);
    bool waited = table_make_room(session->table);
    go_online(session);
    return waited;
}

void tarn_limit(struct tarn *store, uint64_t memory_bytes_max, enum tarn_eviction eviction)
{
    if (store->table != NULL)
        table_limit(store->table, memory_bytes_max, eviction);
    else
        atomic_store(&store->memory_bytes_max, memory_bytes_max); /* for the next reload */
    if (store->far != NULL) {
        look_briefly();
        far_limit(store->far, memory_bytes_max);
        look_away_again();
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
        look_briefly();
        uint64_t bytes = sizeof *store + far_memory_used(store->far);
        look_away_again();
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
    bool on_disk;
    status = far_is_wanted(os, options, &on_disk, error);
    if (status == TARN_OK)
        status = on_disk ? verify_disk(os, options, ret_report, error)
                         : verify_pack(os, options, ret_report, error);
    return status;
}

int tarn_verify(const struct tarn_options *options, struct tarn_verify_report *ret_report,
                struct tarn_error *error)
{
    return store_verify(os_real(), options, ret_report, error);
}
