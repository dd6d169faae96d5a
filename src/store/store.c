/* The store: joins its parts behind tarn.h. Today the one part is a pack, the present version of
 * an immutable data file.
 *
 * Invariants: (1) `current` points to a pack on which the store holds one reference. (2) A pack
 * taken out of `current` loses that reference only after a grace period, so a session that read
 * the pointer may use the pack until it is quiescent. (3) Whoever needs it longer holds a
 * reference of its own (a pin). (4) `options` and its strings are the store's own copies.
 *
 * Lock order: reload_lock is the only lock. */
#include "store/store.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "core/assert.h"
#include "core/qsbr.h"
#include "pack/pack.h"

struct tarn {
    const struct os *os;
    struct tarn_options options;
    char *path, *index_path; /* copies that options points to */
    _Atomic(struct pack *) current;
    _Atomic uint64_t generation;
    pthread_mutex_t
        reload_lock; /* held during a reload, and to look at current without a session */
};

struct tarn_session {
    struct tarn *store;
    struct pack *seen; /* version used since the last quiescent state, NULL: none yet */
    bool online;
};

/* Reclamation knows threads, not sessions, so a thread with several sessions is quiescent only
 * when none of them has anything in view, and offline only when all are. */
static __thread struct {
    unsigned online; /* sessions that are */
    unsigned seeing; /* sessions whose `seen` is set */
} thread_sessions;

/* A pin is a reference to a pack; the type is only a name for callers. */
struct tarn_pin {
    struct pack pack;
};

static int check_options(const struct tarn_options *options, struct tarn_error *error)
{
    if (options == NULL || options->path == NULL || options->path[0] == 0)
        return error_set(error, TARN_INVALID, "no data file given (options.path)");
    if ((unsigned)options->duplicates > TARN_DUPLICATES_ERROR)
        return error_set(error, TARN_INVALID, "%s: no such policy for duplicates: %d",
                         options->path, (int)options->duplicates);
    return TARN_OK;
}

static int copy_options(struct tarn *store, const struct tarn_options *options)
{
    store->options = *options;
    store->path = strdup(options->path);
    store->index_path = options->index_path ? strdup(options->index_path) : NULL;
    store->options.path = store->path;
    store->options.index_path = store->index_path;
    return store->path == NULL || (options->index_path && !store->index_path) ? TARN_NOMEM
                                                                              : TARN_OK;
}

int store_open(const struct os *os, const struct tarn_options *options, struct tarn **ret_store,
               struct tarn_error *error)
{
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
    struct pack *pack;
    status = pack_open(os, &store->options, false, &pack, error);
    if (status != TARN_OK)
        goto failed;
    atomic_store(&store->current, pack);
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
    pack_unref(atomic_load(&store->current));
    pthread_mutex_destroy(&store->reload_lock);
    free(store->path);
    free(store->index_path);
    free(store);
}

int tarn_reload(struct tarn *store, struct tarn_error *error)
{
    if (pthread_mutex_trylock(&store->reload_lock) != 0)
        return error_set(error, TARN_BUSY, "%s: a reload is under way already", store->path);
    struct pack *pack;
    int status = pack_open(store->os, &store->options, false, &pack, error);
    if (status == TARN_OK) {
        struct pack *old = atomic_exchange_explicit(&store->current, pack, memory_order_acq_rel);
        atomic_fetch_add(&store->generation, 1);
        qsbr_wait();
        pack_unref(old);
    }
    pthread_mutex_unlock(&store->reload_lock);
    return status;
}

void tarn_stats_get(struct tarn *store, struct tarn_stats *ret_stats)
{
    /* Any thread, with or without a session: register it for the moment. */
    qsbr_register();
    if (thread_sessions.online == 0)
        qsbr_online();
    const struct pack *pack = atomic_load_explicit(&store->current, memory_order_acquire);
    const struct index *index = pack->index;
    *ret_stats = (struct tarn_stats){
        .keys = index_keys(index),
        .records = index->records,
        .data_bytes = pack->data_bytes,
        .index_bytes = index_bytes(index),
        .memory_bytes = pack->data_bytes + index_bytes(index) + sizeof *pack + sizeof *store,
        .key_bytes_total = index->key_bytes_total,
        .value_bytes_total = index->value_bytes_total,
        .generation = atomic_load(&store->generation),
        .load_us = pack->load_us,
        .index_built = pack->index_built,
        .format = index->format,
    };
    if (thread_sessions.online == 0)
        qsbr_offline();
    qsbr_unregister();
}

/* --- sessions --- */

static void look_away(struct tarn_session *session)
{
    if (session->seen != NULL) {
        session->seen = NULL;
        thread_sessions.seeing--;
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
    else if (thread_sessions.seeing == 0)
        qsbr_quiescent();
}

int tarn_session_open(struct tarn *store, struct tarn_session **ret_session,
                      struct tarn_error *error)
{
    struct tarn_session *session = malloc(sizeof *session);
    if (session == NULL)
        return error_set(error, TARN_NOMEM, "out of memory for a session");
    *session = (struct tarn_session){.store = store};
    qsbr_register();
    go_online(session);
    *ret_session = session;
    return TARN_OK;
}

void tarn_session_close(struct tarn_session *session)
{
    if (session == NULL)
        return;
    if (session->online)
        go_offline(session);
    qsbr_unregister();
    free(session);
}

void tarn_quiescent(struct tarn_session *session)
{
    look_away(session);
    if (thread_sessions.seeing == 0)
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
        session->seen = atomic_load_explicit(&session->store->current, memory_order_acquire);
        thread_sessions.seeing++;
    }
    return session->seen;
}

struct tarn_pin *tarn_pin(struct tarn_session *session, struct tarn_bytes value)
{
    (void)value;
    struct pack *pack = session_pack(session);
    pack_ref(pack);
    return (struct tarn_pin *)pack;
}

void tarn_unpin(struct tarn_pin *pin)
{
    pack_unref((struct pack *)pin);
}

int tarn_get(struct tarn_session *session, struct tarn_bytes key, struct tarn_bytes *ret_value)
{
    return pack_get(session_pack(session), key, ret_value);
}

size_t tarn_get_many(struct tarn_session *session, const struct tarn_bytes *keys, size_t count,
                     struct tarn_bytes *ret_values)
{
    return pack_get_many(session_pack(session), keys, count, ret_values);
}

void tarn_scan(struct tarn_session *session, uint64_t *cursor, size_t count, tarn_visit visit,
               void *context)
{
    pack_scan(session_pack(session), cursor, count ? count : 1, visit, context);
}

int tarn_random_key(struct tarn_session *session, uint64_t random, struct tarn_bytes *ret_key)
{
    return pack_random_key(session_pack(session), random, ret_key);
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

int store_verify(const struct os *os, const struct tarn_options *options,
                 struct tarn_verify_report *ret_report, struct tarn_error *error)
{
    int status = check_options(options, error);
    if (status != TARN_OK)
        return status;
    struct pack *pack;
    status = pack_open(os, options, true, &pack, error);
    if (status != TARN_OK)
        return status;
    status = pack_verify(pack, options, ret_report, error);
    pack_unref(pack);
    return status;
}

int tarn_verify(const struct tarn_options *options, struct tarn_verify_report *ret_report,
                struct tarn_error *error)
{
    return store_verify(os_real(), options, ret_report, error);
}
