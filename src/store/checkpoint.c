/* Checkpoints: the whole store into one file while it is served, then the log before it is dropped.
 *
 * How (doc/durability.md): new segments; wait until all that the old ones were told of can be seen;
 * write all there is; sync the log up to where it is by then; read the file back; publish the
 * manifest. What changes meanwhile may or may not be in the file: it is in the new segments, and
 * replaying it ends the same.
 *
 * Without a log (durability `none`, or before it begins) changes are told to it during the walk all
 * the same. Until the manifest is published nothing of that may be replayed, as there are changes
 * between it and the log before: the manifest says where the old log ends (`last`), and what is
 * synced behind that is not marked as synced (`log_end`).
 *
 * Invariants
 * 1. The old checkpoint and its log count until the new manifest is published, whatever fails.
 * 2. One at a time (durable_take()).
 * 3. If a manifest could not be published, either one may be what is on the disk: nothing that the
 * new one needs is removed, and no checkpoint gets a number twice.
 * Failure modes: IO, NOSPACE, NOMEM, UNSURE (the log failed): everything is as it was. */
#include "pack/checkpoint.h"
#include "store/durable.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "core/plant.h"
#include "core/qsbr.h"

#define RETRY_NS ((uint64_t)60 * 1000000000) /* after one that failed and nobody asked for */
#define LOOK_NS  ((uint64_t)100 * 1000000)   /* how often waiting looks for a full disk */

/* All that is being changed is done. Before the walk: what the old segments have been told of can
 * be seen, too. After it: it may have met changes of steps that are told to the log when they end.
 */
static void wait_for_changes(struct tarn_session *session)
{
    table_begin(session->table, NULL, 0);
    table_end(session->table);
}

/* All there is; the session is quiescent now and then. */
static int write_records(struct durable *d, struct checkpoint_writer *writer,
                         struct tarn_error *error)
{
    struct tarn_session *session;
    int status = tarn_session_open(d->store, &session, error);
    if (status != TARN_OK)
        return status;
    tarn_session_touches(session, false);
    if (!plant(PLANT_WALK_TOO_EARLY))
        wait_for_changes(session);
    status = base_write_all(&d->base, session, writer, error);
    wait_for_changes(session);
    tarn_session_close(session);
    return status;
}

static int log_failure(struct durable *d, int status, struct tarn_error *error)
{
    struct wal_figures figures;
    wal_figures_get(d->wal, &figures);
    return error_set(error, status, "%s: the log: %s", d->directory.path, figures.failure);
}

/* Wait until it is durable, unless the disk is full: that may last. */
static int wait_durable(struct durable *d, uint64_t sequence)
{
    const struct os *os = d->directory.os;
    int status = TARN_CANCELLED;
    while (status == TARN_CANCELLED) {
        status = wal_wait(d->wal, sequence, WAL_DURABLE, os->monotonic_ns(os) + LOOK_NS);
        if (status == TARN_CANCELLED && wal_state(d->wal) != TARN_OK)
            status = wal_state(d->wal);
    }
    return status;
}

/* Everything in the log up to now is durable; the last sequence. */
static int sync_log(struct durable *d, uint64_t *ret_sequence, struct tarn_error *error)
{
    struct wal_figures figures;
    wal_figures_get(d->wal, &figures);
    *ret_sequence = figures.sequence;
    int status = wait_durable(d, figures.sequence);
    if (status == TARN_OK && wal_state(d->wal) == TARN_IO) /* not all has been told to it */
        status = TARN_IO;
    return status == TARN_OK ? TARN_OK : log_failure(d, status, error);
}

static int write_file(struct durable *d, const char *path, uint64_t sequence, struct manifest *m,
                      struct checkpoint_totals *ret_totals, struct tarn_error *error)
{
    const struct os *os = d->directory.os;
    struct checkpoint_about again, about = {.store_id = m->store_id,
                                            .sequence = sequence,
                                            .time_ms = table_now_ms(d->store->table)};
    struct checkpoint_writer *writer;
    table_secret_get(d->store->table, about.secret);
    int status = checkpoint_create(os, path, &about, &writer, error);
    if (status != TARN_OK)
        return status;
    status = write_records(d, writer, error);
    if (status == TARN_OK)
        status = sync_log(d, &m->sequence_needed, error);
    if (status != TARN_OK) {
        checkpoint_abort(writer);
        return status;
    }
    status = checkpoint_commit(writer, ret_totals, error);
    if (status == TARN_OK)
        status = checkpoint_read(os, path, ret_totals->checksum, NULL, NULL, NULL, NULL, &again,
                                 ret_totals, NULL, error);
    m->sequence = sequence;
    m->checkpoint_checksum = ret_totals->checksum;
    m->time_ms = about.time_ms;
    return status;
}

/* Have changes told to new segments, which do not count yet. */
static int borrow_log(struct durable *d, uint64_t sequence, const uint64_t first[WAL_FILES_MAX],
                      struct tarn_error *error)
{
    struct manifest m = d->manifest;
    m.generation++;
    for (unsigned i = 0; i < d->log_files; i++)
        if (m.last[i] == 0)
            m.last[i] = first[i] - 1;
    int status = directory_put_manifest(&d->directory, &m, error);
    if (status != TARN_OK)
        return status;
    d->manifest = m;
    if (atomic_load(&d->log_end) == UINT64_MAX)
        atomic_store(&d->log_end, sequence);
    durable_journal(d, true);
    return TARN_OK;
}

static void use_segments(struct manifest *m, const struct durable *d,
                         const uint64_t first[WAL_FILES_MAX])
{
    for (unsigned i = 0; i < m->files; i++)
        m->first[i] = i < d->log_files ? first[i] : d->idle_first[i];
    memset(m->last, 0, sizeof m->last);
}

static int publish(struct durable *d, struct manifest *m, const uint64_t first[WAL_FILES_MAX],
                   struct tarn_error *error)
{
    m->generation++;
    use_segments(m, d, first);
    int status = directory_put_manifest(&d->directory, m, error);
    if (status == TARN_OK) {
        d->manifest = *m;
        atomic_store(&d->log_end, UINT64_MAX);
    }
    return status;
}

static int run(struct durable *d, struct checkpoint_totals *ret_totals, struct tarn_error *error)
{
    struct manifest m;
    uint64_t sequence, first[WAL_FILES_MAX];
    char name[DIRECTORY_NAME_BYTES];
    bool borrowed = !d->journaled;
    int status = base_take_in_all(&d->base, error);
    if (status == TARN_OK)
        status = wal_rotate(d->wal, &sequence, first, error);
    if (status == TARN_OK && borrowed)
        status = borrow_log(d, sequence, first, error);
    if (status != TARN_OK)
        return status;
    if (d->checkpoint_tried < d->manifest.checkpoint_number)
        d->checkpoint_tried = d->manifest.checkpoint_number;
    m = d->manifest;
    m.checkpoint_number = ++d->checkpoint_tried;
    directory_checkpoint_name(m.checkpoint_number, name);
    char *path = directory_path(&d->directory, name);
    status = path != NULL ? write_file(d, path, sequence, &m, ret_totals, error)
                          : error_set(error, TARN_NOMEM, "out of memory");
    if (status != TARN_OK && path != NULL)
        (void)d->directory.os->unlink(d->directory.os, path);
    if (status == TARN_OK && plant(PLANT_UNLINK_BEFORE_RENAME)) {
        use_segments(&m, d, first);
        directory_clean(&d->directory, &m);
    }
    if (status == TARN_OK)
        status = publish(d, &m, first, error);
    if (borrowed && (status != TARN_OK || d->dial.durability == TARN_DURABILITY_NONE))
        durable_journal(d, false);
    if (status == TARN_OK)
        directory_clean(&d->directory, &d->manifest);
    free(path);
    return status;
}

static void note(struct durable *d, int status, const struct checkpoint_totals *totals,
                 uint64_t start_ns, const struct tarn_error *error)
{
    const struct os *os = d->directory.os;
    pthread_mutex_lock(&d->lock);
    d->checkpoint_ns = os->monotonic_ns(os);
    d->checkpointing = false;
    d->runs++;
    d->stats.checkpoint_status = status;
    if (status == TARN_OK) {
        d->stats.checkpoints++;
        d->stats.checkpoint_failure[0] = 0;
        d->stats.checkpoint_time_ms = d->manifest.time_ms;
        d->stats.checkpoint_sequence = d->manifest.sequence;
        d->stats.checkpoint_us = (d->checkpoint_ns - start_ns) / 1000;
        d->stats.checkpoint_bytes = totals->bytes;
        d->stats.checkpoint_records = totals->records;
    } else {
        d->stats.checkpoints_failed++;
        snprintf(d->stats.checkpoint_failure, sizeof d->stats.checkpoint_failure, "%.255s",
                 error->text);
    }
    pthread_cond_broadcast(&d->changed);
    pthread_mutex_unlock(&d->lock);
}

int durable_checkpoint(struct durable *d, struct tarn_error *error)
{
    struct checkpoint_totals totals = {0};
    struct tarn_error own = {.text = ""};
    uint64_t start_ns = d->directory.os->monotonic_ns(d->directory.os);
    pthread_mutex_lock(&d->lock);
    d->checkpointing = true;
    pthread_mutex_unlock(&d->lock);
    int status = run(d, &totals, &own);
    note(d, status, &totals, start_ns, &own);
    if (status != TARN_OK && error != NULL)
        *error = own;
    return status;
}

int tarn_checkpoint(struct tarn *store, struct tarn_error *error)
{
    struct durable *d = store->durable;
    if (d == NULL)
        return error_set(error, TARN_INVALID, "the store has no directory for a checkpoint");
    if (!durable_take(d))
        return error_set(error, TARN_BUSY, "%s: a checkpoint is under way already",
                         d->directory.path);
    int status = durable_checkpoint(d, error);
    durable_give(d);
    return status;
}

/* --- in the background --- */

int tarn_checkpoint_start(struct tarn *store)
{
    struct durable *d = store->durable;
    if (d == NULL)
        return TARN_INVALID;
    pthread_mutex_lock(&d->lock);
    bool busy = d->checkpointing || d->wanted;
    d->wanted = d->wanted || !busy;
    pthread_cond_broadcast(&d->changed);
    pthread_mutex_unlock(&d->lock);
    return busy ? TARN_BUSY : TARN_OK;
}

/* Is it time for one that nobody asked for? */
static bool is_due(struct durable *d)
{
    struct wal_figures f;
    uint64_t age_ns = d->directory.os->monotonic_ns(d->directory.os) - d->checkpoint_ns;
    if (d->stats.checkpoint_status != TARN_OK && age_ns < RETRY_NS)
        return false;
    wal_figures_get(d->wal, &f);
    if (f.state != TARN_OK)
        return false;
    return f.live_bytes >= d->dial.log_bytes_max ||
           (d->dial.checkpoint_s != 0 && f.sequence > d->manifest.sequence &&
            age_ns / 1000000000 >= d->dial.checkpoint_s);
}

static void wait_a_second_locked(struct durable *d)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec++;
    (void)pthread_cond_timedwait(&d->changed, &d->lock, &until);
}

static bool is_stopping(struct durable *d)
{
    pthread_mutex_lock(&d->lock);
    bool stopping = d->stopping;
    pthread_mutex_unlock(&d->lock);
    return stopping;
}

/* Take in what the table rests on, as far as it goes now. */
static void take_in(struct durable *d)
{
    struct tarn_session *session;
    if (!atomic_load(&d->base.resting) || tarn_session_open(d->store, &session, NULL) != TARN_OK)
        return;
    while (!is_stopping(d) && base_take_in_some(&d->base, session))
        ;
    tarn_session_close(session);
}

static void *work(void *argument)
{
    struct durable *d = argument;
    os_thread_gives_way();
    take_in(d);
    pthread_mutex_lock(&d->lock);
    while (!d->stopping) {
        if (d->base.waits && atomic_load(&d->base.resting)) {
            pthread_mutex_unlock(&d->lock); /* there may be room by now */
            take_in(d);
            pthread_mutex_lock(&d->lock);
        }
        if (d->busy || (!d->wanted && !is_due(d))) {
            wait_a_second_locked(d);
            continue;
        }
        d->busy = d->checkpointing = true;
        d->wanted = false;
        pthread_mutex_unlock(&d->lock);
        int status = durable_checkpoint(d, NULL);
        (void)status; /* it is in the figures */
        durable_give(d);
        pthread_mutex_lock(&d->lock);
    }
    pthread_mutex_unlock(&d->lock);
    return NULL;
}

int durable_thread_start(struct durable *d)
{
    d->thread_started = pthread_create(&d->thread, NULL, work, d) == 0;
    return d->thread_started ? TARN_OK : TARN_NOMEM;
}

void durable_thread_stop(struct durable *d)
{
    if (!d->thread_started)
        return;
    pthread_mutex_lock(&d->lock);
    d->stopping = true;
    pthread_cond_broadcast(&d->changed);
    pthread_mutex_unlock(&d->lock);
    bool online =
        urcu_qsbr_read_ongoing(); /* with a session of another store: it may wait for us */
    if (online)
        qsbr_offline();
    pthread_join(d->thread, NULL);
    if (online)
        qsbr_online();
    d->thread_started = false;
}
