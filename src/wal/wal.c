/* The log as a whole: opening, closing, settings, figures.
 *
 * How: opening makes a segment for each file and syncs them and the directory, then starts the
 * flushers; closing lets each of them finish its file. See wal_internal.h for who does what.
 *
 * Invariants
 * 1. A wal that wal_open() gives has all its segments, durable and without a record.
 * Failure modes: opening leaves no thread, no descriptor, and no segment that can be removed. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "wal/wal_internal.h"

#define SEAL_BYTES_MAX 1024u

/* --- memory --- */

static void apply_settings_locked(struct wal *wal, const struct wal_settings *settings)
{
    wal->settings = *settings;
    atomic_store(&wal->dial, (int)settings->durability);
    atomic_store(&wal->queue_depth, settings->queue_depth);
    atomic_store(&wal->memory_bytes_max, settings->memory_bytes_max);
}

static void init_condition(pthread_cond_t *condition)
{
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(condition, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

static void init_file(struct wal *wal, unsigned index)
{
    struct wal_file *f = &wal->file[index];
    const struct replay_end *end = &wal->start.ends[index];
    f->wal = wal;
    f->index = index;
    f->fd = -1;
    f->wake_bytes = WAL_NEVER;
    f->last_sequence = f->written_sequence = end->sequence;
    f->chain.checksum = end->checksum;
    f->begun = end->number;
    atomic_store(&f->number, end->number);
    pthread_mutex_init(&f->io, NULL);
    pthread_mutex_init(&f->gate, NULL);
    init_condition(&f->wake);
}

static struct wal *new_wal(const struct os *os, const struct wal_settings *settings,
                           const struct wal_start *start)
{
    size_t size = sizeof(struct wal) + settings->files * sizeof(struct wal_file);
    struct wal *wal = aligned_alloc(_Alignof(struct wal), (size + _Alignof(struct wal) - 1) &
                                                              ~(_Alignof(struct wal) - 1));
    if (wal == NULL)
        return NULL;
    memset(wal, 0, size);
    wal->os = os;
    wal->start = *start;
    wal->files = settings->files;
    wal->directory_fd = -1;
    wal->sequence = wal->sequence_before = start->sequence;
    atomic_store(&wal->written, start->sequence);
    atomic_store(&wal->durable, start->sequence);
    atomic_store(&wal->horizon, start->sequence);
    apply_settings_locked(wal, settings);
    pthread_mutex_init(&wal->progress_lock, NULL);
    pthread_mutex_init(&wal->durable_lock, NULL);
    init_condition(&wal->progress);
    for (unsigned i = 0; i < wal->files; i++)
        init_file(wal, i);
    wal->start.ends = NULL; /* the caller's */
    return wal;
}

static void free_chunks(struct wal *wal, struct chunk *c)
{
    while (c) {
        struct chunk *next = c->next;
        chunk_free(wal, c);
        c = next;
    }
}

static void free_file(struct wal_file *f)
{
    segment_close(f);
    free_chunks(f->wal, f->head);
    buffer_done(&f->seal);
    pthread_mutex_destroy(&f->io);
    pthread_mutex_destroy(&f->gate);
    pthread_cond_destroy(&f->wake);
}

static void free_wal(struct wal *wal)
{
    for (unsigned i = 0; i < wal->files; i++)
        free_file(&wal->file[i]);
    free_chunks(wal, wal->pool);
    progress_charge(wal);
    if (wal->directory_fd >= 0)
        (void)wal->os->close(wal->os, wal->directory_fd); /* read only */
    pthread_mutex_destroy(&wal->progress_lock);
    pthread_mutex_destroy(&wal->durable_lock);
    pthread_cond_destroy(&wal->progress);
    free(wal->directory);
    free(wal);
}

/* --- opening --- */

static int prepare(struct wal *wal, const struct wal_start *start)
{
    wal->directory = strdup(start->directory);
    for (unsigned i = 0; i < wal->files; i++)
        if (!buffer_reserve(&wal->file[i].seal, SEAL_BYTES_MAX))
            return -ENOMEM;
    if (wal->directory == NULL)
        return -ENOMEM;
    int status = wal->os->entropy(wal->os, &wal->salts, sizeof wal->salts);
    if (status != 0)
        return status;
    return wal->os->open(wal->os, wal->directory, O_RDONLY | O_DIRECTORY, 0, &wal->directory_fd);
}

static int make_segments(struct wal *wal)
{
    int status = 0;
    for (unsigned i = 0; i < wal->files && status == 0; i++) {
        struct wal_file *f = &wal->file[i];
        struct chunk c = {0};
        bool of_sync;
        chunk_begin_locked(f, &c); /* nobody else knows the wal yet */
        f->marks = 0;
        status = segment_create(f, &c.header, c.header_bytes, &of_sync);
    }
    return status != 0 ? status : segment_sync_directory(wal);
}

static void remove_segments(struct wal *wal)
{
    for (unsigned i = 0; i < wal->files; i++)
        if (wal->file[i].fd >= 0)
            segment_remove(&wal->file[i], atomic_load(&wal->file[i].number));
}

static void stop_flushers(struct wal *wal)
{
    atomic_store(&wal->stop, true);
    for (unsigned i = 0; i < wal->files; i++) {
        if (!wal->file[i].runs)
            continue;
        flusher_wake(&wal->file[i]);
        pthread_join(wal->file[i].thread, NULL);
        wal->file[i].runs = false;
    }
}

static int start_flushers(struct wal *wal)
{
    progress_state(wal); /* a queue is there from the beginning */
    for (unsigned i = 0; i < wal->files; i++)
        if (flusher_start(&wal->file[i]) != TARN_OK)
            return TARN_NOMEM;
    return TARN_OK;
}

int wal_open(const struct os *os, const struct wal_settings *settings,
             const struct wal_start *start, struct wal **ret_wal, struct tarn_error *error)
{
    ASSERT(settings->files >= 1 && settings->files <= WAL_FILES_MAX);
    struct wal *wal = new_wal(os, settings, start);
    if (wal == NULL)
        return os_error(error, -ENOMEM, "cannot open the log in", start->directory);
    int status = prepare(wal, start);
    if (status == 0)
        status = make_segments(wal);
    if (status != 0) {
        status = os_error(error, status, "cannot begin a log in", start->directory);
    } else if (start_flushers(wal) != TARN_OK) {
        status = error_set(error, TARN_NOMEM, "cannot start a thread to write the log in %s",
                           start->directory);
        stop_flushers(wal);
    }
    if (status != TARN_OK) {
        remove_segments(wal);
        free_wal(wal);
        return status;
    }
    *ret_wal = wal;
    return TARN_OK;
}

/* --- closing --- */

int wal_close(struct wal *wal, struct tarn_error *error)
{
    if (wal == NULL)
        return TARN_OK;
    stop_flushers(wal);
    /* A seal says that all up to its sequence is synced, in whatever file. */
    for (unsigned i = 0; i < wal->files && wal_state(wal) == TARN_OK; i++)
        file_seal_locked(&wal->file[i]);
    int status = wal_state(wal);
    if (status != TARN_OK)
        error_set(error, status, "the last changes may be lost: %s", wal->failure);
    free_wal(wal);
    return status;
}

void wal_configure(struct wal *wal, const struct wal_settings *settings)
{
    lock_take(&wal->lock);
    apply_settings_locked(wal, settings);
    lock_give(&wal->lock);
    for (unsigned i = 0; i < wal->files; i++)
        flusher_wake(&wal->file[i]);
    progress_dial(wal);
}

/* --- figures --- */

static void figures_locked(const struct wal *wal, struct wal_figures *figures)
{
    figures->sequence = wal->sequence;
    figures->records = wal->sequence - wal->sequence_before;
    figures->bytes = wal->bytes;
    figures->live_bytes = wal->live_bytes;
    figures->pending_bytes = atomic_load(&wal->pending_bytes);
}

void wal_figures_get(struct wal *wal, struct wal_figures *ret_figures)
{
    *ret_figures = (struct wal_figures){
        .syncs = atomic_load(&wal->syncs),
        .segments = atomic_load(&wal->segments),
        .sync_us_total = atomic_load(&wal->sync_ns_total) / 1000,
        .sync_us_max = atomic_load(&wal->sync_ns_max) / 1000,
    };
    pthread_mutex_lock(&wal->progress_lock);
    ret_figures->written = atomic_load(&wal->written);
    ret_figures->durable = atomic_load(&wal->durable);
    ret_figures->horizon = atomic_load(&wal->horizon);
    ret_figures->state = wal_state(wal);
    memcpy(ret_figures->failure, wal->failure, sizeof wal->failure);
    pthread_mutex_unlock(&wal->progress_lock);
    lock_take(&wal->lock);
    figures_locked(wal, ret_figures);
    lock_give(&wal->lock);
}
