/* The durable store: opening, closing, the dial, and who waits for what. See durable.h.
 *
 * How: the table tells the journal of each change; the journal is the log's wal_append(). A session
 * knows the highest sequence it made or saw; it may be told of once the log's horizon has reached
 * it.
 *
 * Invariants
 * 1. journaled == the table has a journal; it is switched only while every shard is locked.
 * 2. The manifest in memory is the published one; only who has taken the right (durable_take()) or
 * is opening or closing the store changes it. Lock order: d->lock last of all, but for the log's
 * own locks. Failure modes: as tarn.h says. */
#include "store/durable.h"

#include <stdlib.h>

#include "core/qsbr.h"

#define QUEUE_DEPTH     100000u
#define PERIOD_US       10000u
#define LOG_BYTES_MAX   ((uint64_t)1 << 30)
#define SEGMENT_BYTES   ((uint64_t)64 << 20)
#define PENDING_BYTES   ((uint64_t)64 << 20)
#define PERIOD_US_MAX   ((uint64_t)3600 * 1000000)
#define QUEUE_DEPTH_MAX ((uint64_t)1 << 40)

/* --- the dial --- */

static int check_dial(const struct tarn_dial *dial, unsigned log_files, struct tarn_error *error)
{
    if ((unsigned)dial->durability > TARN_DURABILITY_COMMIT)
        return error_set(error, TARN_INVALID, "no such durability: %d", (int)dial->durability);
    if ((unsigned)dial->log_format > TARN_LOG_JSON)
        return error_set(error, TARN_INVALID, "no such log format: %d", (int)dial->log_format);
    if (log_files > WAL_FILES_MAX)
        return error_set(error, TARN_INVALID, "a log has 1 to %d files, not %u", WAL_FILES_MAX,
                         log_files);
    if (dial->period_us > PERIOD_US_MAX)
        return error_set(error, TARN_INVALID, "a period is at most an hour, not %llu us",
                         (unsigned long long)dial->period_us);
    if (dial->queue_depth > QUEUE_DEPTH_MAX)
        return error_set(error, TARN_INVALID, "a queue depth is at most 2^40, not %llu",
                         (unsigned long long)dial->queue_depth);
    return TARN_OK;
}

static struct tarn_dial with_defaults(const struct tarn_dial *dial)
{
    struct tarn_dial full = *dial;
    full.queue_depth = dial->queue_depth ? dial->queue_depth : QUEUE_DEPTH;
    full.period_us = dial->period_us ? dial->period_us : PERIOD_US;
    full.log_bytes_max = dial->log_bytes_max ? dial->log_bytes_max : LOG_BYTES_MAX;
    return full;
}

/* With NONE the log is idle, or keeps what a checkpoint needs: as quickly as it goes. */
static enum wal_durability wal_durability_of(enum tarn_durability durability)
{
    switch (durability) {
    case TARN_DURABILITY_PERIODIC:
        return WAL_PERIODIC;
    case TARN_DURABILITY_COMMIT:
        return WAL_COMMIT;
    case TARN_DURABILITY_NONE:
    case TARN_DURABILITY_ASYNC:
        break;
    }
    return WAL_ASYNC;
}

struct wal_settings durable_settings(const struct tarn_dial *dial, unsigned files)
{
    return (struct wal_settings){
        .durability = wal_durability_of(dial->durability),
        .queue_depth = dial->queue_depth,
        .period_us = dial->period_us,
        .files = files,
        .encoding = (enum wal_encoding)dial->log_format,
        .segment_bytes = SEGMENT_BYTES,
        .memory_bytes_max = PENDING_BYTES,
    };
}

static void use_dial(struct durable *d, const struct tarn_dial *dial)
{
    d->dial = *dial;
    atomic_store_explicit(&d->durability, (int)dial->durability, memory_order_release);
    table_readers_wait(d->store->table, dial->durability == TARN_DURABILITY_COMMIT);
}

/* --- the journal --- */

#define UNTOLD UINT64_MAX /* the sequence of changes that the log will never have */

/* With `none` the log is there for a checkpoint only: one that has failed fails that (sync_log() in
 * checkpoint.c), and holds up nobody. */
static uint64_t append(void *context, const struct change *changes, const uint64_t *shards,
                       size_t count)
{
    struct durable *d = context;
    uint64_t sequence = wal_append(d->wal, changes, shards, count);
    bool needed = atomic_load(&d->durability) != TARN_DURABILITY_NONE;
    return sequence != 0 || needed || wal_state(d->wal) != TARN_IO ? sequence : UNTOLD;
}

static uint64_t failed(void *context)
{
    return wal_fail(((struct durable *)context)->wal, "a change could not be appended to the log");
}

void durable_journal(struct durable *d, bool on)
{
    struct tarn_session *session = NULL;
    while (tarn_session_open(d->store, &session, NULL) != TARN_OK)
        sched_yield(); /* some hundred bytes: there will be memory again */
    table_begin(session->table, NULL, 0);
    table_journal_set(d->store->table, on ? &d->journal : NULL);
    table_end(session->table);
    tarn_session_close(session);
    d->journaled = on;
}

static void charge(void *context, int64_t bytes)
{
    table_charge(((struct durable *)context)->store->table, bytes);
}

/* What is synced behind the end of the log that counts is not promised to anybody. */
static void note_synced(void *context, uint64_t sequence)
{
    struct durable *d = context;
    if (sequence <= atomic_load(&d->log_end))
        directory_mark_synced(&d->directory, sequence);
}

/* --- opening and closing --- */

static int open_log(struct durable *d, const struct replay_end *ends, uint64_t sequence,
                    struct tarn_error *error)
{
    const struct wal_settings settings = durable_settings(&d->dial, d->log_files);
    const struct wal_start start = {
        .directory = d->directory.path,
        .store_id = d->manifest.store_id,
        .sequence = sequence,
        .ends = ends,
        .charge = charge,
        .synced = note_synced,
        .context = d,
    };
    return wal_open(d->directory.os, &settings, &start, &d->wal, error);
}

/* From here on there may be changes that the manifest of a clean close does not know of. */
static int publish_open_manifest(struct durable *d, struct tarn_error *error)
{
    struct manifest m = d->manifest;
    m.generation++;
    m.closed = false;
    m.closed_sequence = 0;
    for (unsigned i = 0; i < d->log_files; i++)
        if (m.first[i] == 0)
            m.first[i] = 1;
    if (m.files < d->log_files)
        m.files = d->log_files;
    memset(m.last, 0, sizeof m.last);
    m.time_ms = table_now_ms(d->store->table);
    int status = directory_put_manifest(&d->directory, &m, error);
    if (status == TARN_OK)
        d->manifest = m;
    return status;
}

static int start(struct durable *d, struct tarn_error *error)
{
    struct replay_end ends[WAL_FILES_MAX] = {{0}};
    uint64_t sequence;
    int status = durable_open_data_file(d, error);
    if (status == TARN_OK)
        status = durable_recover(d, ends, &sequence, error);
    for (unsigned i = 0; i < WAL_FILES_MAX; i++)
        d->idle_first[i] = ends[i].number + 1;
    if (status == TARN_OK)
        status = publish_open_manifest(d, error);
    if (status == TARN_OK)
        status = open_log(d, ends, sequence, error);
    if (status != TARN_OK)
        return status;
    table_start_time(d->store->table);
    if (d->dial.durability != TARN_DURABILITY_NONE)
        durable_journal(d, true);
    use_dial(d, &d->dial);
    return durable_thread_start(d) == TARN_OK
               ? TARN_OK
               : error_set(error, TARN_NOMEM, "%s: cannot start a thread", d->directory.path);
}

int durable_open(struct tarn *store, const struct tarn_options *options, struct tarn_error *error)
{
    int status = check_dial(&options->dial, options->log_files, error);
    if (status != TARN_OK)
        return status;
    struct durable *d = calloc(1, sizeof *d);
    if (d == NULL)
        return error_set(error, TARN_NOMEM, "%s: out of memory", options->directory);
    d->store = store;
    d->dial = with_defaults(&options->dial);
    d->log_files = options->log_files ? options->log_files : 1;
    d->log_end = UINT64_MAX;
    d->journal = (struct table_journal){d, append, failed};
    d->directory = (struct directory){.lock_fd = -1, .synced_fd = -1, .os = store->os};
    d->checkpoint_ns = store->os->monotonic_ns(store->os);
    pthread_mutex_init(&d->lock, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&d->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    base_init(&d->base, store);
    store->durable = d;
    status =
        directory_open(store->os, options->directory, false, &d->directory, &d->manifest, error);
    if (status == TARN_OK)
        status = start(d, error);
    if (status == TARN_OK)
        d->checkpoint_at_close = options->checkpoint_at_close;
    return status;
}

/* Say in the manifest that nothing is missing at the end of the log. */
static void publish_closed_manifest(struct durable *d, uint64_t sequence)
{
    struct manifest m = d->manifest;
    m.generation++;
    m.closed = true;
    m.closed_sequence = sequence < d->log_end ? sequence : d->log_end;
    m.time_ms = table_now_ms(d->store->table);
    if (directory_put_manifest(&d->directory, &m, NULL) == TARN_OK)
        d->manifest = m; /* else: the log is as good as after a crash */
}

void durable_close(struct durable *d)
{
    struct tarn_error error;
    if (d == NULL)
        return;
    durable_thread_stop(d);
    if (d->wal != NULL) {
        if (d->checkpoint_at_close && wal_state(d->wal) == TARN_OK &&
            durable_checkpoint(d, &error) != TARN_OK)
            d->checkpoint_at_close = false; /* the log is there for the next time */
        struct wal_figures figures;
        if (d->journaled)
            durable_journal(d, false);
        wal_figures_get(d->wal, &figures);
        if (wal_close(d->wal, &error) == TARN_OK)
            publish_closed_manifest(d, figures.sequence);
    }
    base_close(&d->base);
    if (d->directory.path != NULL)
        directory_close(&d->directory);
    pthread_cond_destroy(&d->changed);
    pthread_mutex_destroy(&d->lock);
    free(d);
}

/* --- changes and waiting --- */

int durable_admit(struct tarn_session *session)
{
    struct durable *d = session->store->durable;
    if (atomic_load_explicit(&d->durability, memory_order_relaxed) == TARN_DURABILITY_NONE)
        return TARN_OK;
    int status = wal_state(d->wal);
    if (status == TARN_OK && !session->in_step && !session->defers)
        wal_admit(d->wal);
    return status;
}

static int wait_for(struct tarn_session *session)
{
    struct durable *d = session->store->durable;
    uint64_t sequence = table_session_sequence(session->table);
    if (sequence == 0 || tarn_reached(session->store, sequence, TARN_ACKNOWLEDGED))
        return TARN_OK;
    return wal_wait(d->wal, sequence, WAL_ACKNOWLEDGED, 0);
}

int durable_settle(struct tarn_session *session, int status)
{
    struct durable *d = session->store->durable;
    if (session->in_step)
        return status;
    if (status == TARN_FULL || status == TARN_NOMEM) {
        int state = durable_admit(session);
        return state != TARN_OK ? state : status;
    }
    if (session->defers ||
        atomic_load_explicit(&d->durability, memory_order_relaxed) == TARN_DURABILITY_NONE)
        return status;
    int waited = wait_for(session);
    return waited != TARN_OK ? waited : status;
}

void tarn_session_defers(struct tarn_session *session, bool defers)
{
    session->defers = defers;
}

uint64_t tarn_session_sequence(struct tarn_session *session)
{
    return session->durable != NULL ? table_session_sequence(session->table) : 0;
}

bool tarn_reached(struct tarn *store, uint64_t sequence, enum tarn_level level)
{
    struct durable *d = store->durable;
    if (d == NULL || sequence == 0)
        return true;
    if (level == TARN_ACKNOWLEDGED &&
        atomic_load_explicit(&d->durability, memory_order_acquire) == TARN_DURABILITY_NONE)
        return true;
    return wal_reached(d->wal, sequence, (enum wal_level)level);
}

int tarn_await(struct tarn *store, uint64_t sequence, enum tarn_level level, uint64_t timeout_us)
{
    struct durable *d = store->durable;
    if (d == NULL || tarn_reached(store, sequence, level))
        return TARN_OK;
    if (sequence > tarn_sequence(store))
        return TARN_INVALID;
    uint64_t deadline_ns = timeout_us ? store->os->monotonic_ns(store->os) + timeout_us * 1000 : 0;
    return wal_wait(d->wal, sequence, (enum wal_level)level, deadline_ns);
}

void tarn_hurry(struct tarn *store, uint64_t sequence, enum tarn_level level)
{
    if (store->durable != NULL && !tarn_reached(store, sequence, level))
        wal_hurry(store->durable->wal, sequence, (enum wal_level)level);
}

uint64_t tarn_sequence(struct tarn *store)
{
    struct wal_figures figures = {.sequence = 0};
    if (store->durable != NULL)
        wal_figures_get(store->durable->wal, &figures);
    return figures.sequence;
}

struct tarn_listener {
    struct wal_listener listener;
    struct wal *wal;
};

int tarn_listen(struct tarn *store, void (*wake)(void *context), void *context,
                struct tarn_listener **ret_listener)
{
    *ret_listener = NULL;
    if (store->durable == NULL)
        return TARN_OK;
    struct tarn_listener *listener = malloc(sizeof *listener);
    if (listener == NULL)
        return TARN_NOMEM;
    *listener = (struct tarn_listener){{wake, context, NULL}, store->durable->wal};
    wal_listen(listener->wal, &listener->listener);
    *ret_listener = listener;
    return TARN_OK;
}

void tarn_unlisten(struct tarn_listener *listener)
{
    if (listener == NULL)
        return;
    wal_unlisten(listener->wal, &listener->listener);
    free(listener);
}

/* --- turning the dial --- */

bool durable_take(struct durable *d)
{
    pthread_mutex_lock(&d->lock);
    bool taken = !d->busy;
    d->busy = true;
    pthread_mutex_unlock(&d->lock);
    return taken;
}

void durable_give(struct durable *d)
{
    pthread_mutex_lock(&d->lock);
    d->busy = false;
    pthread_cond_broadcast(&d->changed);
    pthread_mutex_unlock(&d->lock);
}

static void set_dial(struct durable *d, const struct tarn_dial *dial)
{
    const struct wal_settings settings = durable_settings(dial, d->log_files);
    pthread_mutex_lock(&d->lock);
    wal_configure(d->wal, &settings);
    use_dial(d, dial);
    pthread_mutex_unlock(&d->lock);
}

/* Into a log go changes from now on: what was changed without one is in the checkpoint. */
static int begin_logging(struct durable *d, const struct tarn_dial *dial, struct tarn_error *error)
{
    struct tarn_dial before = d->dial;
    set_dial(d, dial);
    int status = durable_checkpoint(d, error);
    if (status != TARN_OK)
        set_dial(d, &before);
    return status;
}

int tarn_dial_set(struct tarn *store, const struct tarn_dial *dial, struct tarn_error *error)
{
    struct durable *d = store->durable;
    if (d == NULL)
        return error_set(error, TARN_INVALID, "the store has no directory to keep changes in");
    int status = check_dial(dial, 0, error);
    if (status != TARN_OK)
        return status;
    pthread_mutex_lock(&d->lock);
    while (d->busy)
        pthread_cond_wait(&d->changed, &d->lock);
    d->busy = true;
    pthread_mutex_unlock(&d->lock);
    const struct tarn_dial full = with_defaults(dial);
    if (full.durability == TARN_DURABILITY_NONE) {
        set_dial(d, &full);
        if (d->journaled)
            durable_journal(d, false);
    } else if (!d->journaled) {
        status = begin_logging(d, &full, error);
    } else {
        set_dial(d, &full);
    }
    durable_give(d);
    return status;
}

void tarn_log_stats_get(struct tarn *store, struct tarn_log_stats *ret_stats)
{
    struct durable *d = store->durable;
    *ret_stats = (struct tarn_log_stats){.state = TARN_OK};
    if (d == NULL)
        return;
    struct wal_figures f;
    wal_figures_get(d->wal, &f);
    pthread_mutex_lock(&d->lock);
    *ret_stats = d->stats;
    ret_stats->durable_store = true;
    ret_stats->dial = d->dial;
    ret_stats->log_files = d->log_files;
    ret_stats->checkpoint_running = d->checkpointing || d->wanted;
    pthread_mutex_unlock(&d->lock);
    base_figures_get(&d->base, ret_stats);
    ret_stats->state = f.state;
    memcpy(ret_stats->failure, f.failure, sizeof ret_stats->failure);
    ret_stats->sequence = f.sequence;
    ret_stats->written = f.written;
    ret_stats->durable = f.durable;
    ret_stats->log_bytes = f.live_bytes;
    ret_stats->records = f.records;
    ret_stats->bytes = f.bytes;
    ret_stats->syncs = f.syncs;
    ret_stats->segments = f.segments;
    ret_stats->pending_bytes = f.pending_bytes;
    ret_stats->sync_us_total = f.sync_us_total;
    ret_stats->sync_us_max = f.sync_us_max;
}
