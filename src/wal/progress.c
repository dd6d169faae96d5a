/* How far the log has come: computing the three sequences, publishing them, waiting, failing.
 *
 * How: under the spin lock, `written` is the sequence before the first step of which any file has
 * not written all, or the last one used if there is none; `durable` likewise: of a step that is not
 * whole nothing would be replayed, so nothing of it counts. The horizon follows from them and the
 * dial. Both only ever grow, so a stale figure is no harm and is skipped.
 *
 * Invariants
 * 1. What is published holds at that moment and from then on.
 * 2. start.synced() is told of a sequence before anybody can see that it is durable, and in order.
 * 3. Whoever waits checks under progress_lock, and all that he waits for is published under it.
 * Failure modes: none. The first failure is kept: state IO never changes again. */
#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "wal/wal_internal.h"

/* --- what has come to pass --- */

static uint64_t find_written(struct wal *wal)
{
    lock_take(&wal->lock);
    uint64_t written = wal->sequence;
    for (unsigned i = 0; i < wal->files; i++) {
        uint64_t first = file_unwritten_locked(&wal->file[i]);
        if (first && first - 1 < written)
            written = first - 1;
    }
    lock_give(&wal->lock);
    return written;
}

static uint64_t find_durable(struct wal *wal)
{
    lock_take(&wal->lock);
    uint64_t durable = wal->sequence;
    for (unsigned i = 0; i < wal->files; i++) {
        uint64_t first = file_unsynced_locked(&wal->file[i]);
        if (first && first - 1 < durable)
            durable = first - 1;
    }
    lock_give(&wal->lock);
    return durable;
}

/* Periodic: is a change not synced that was written more than two periods ago? */
static bool is_late(struct wal *wal)
{
    uint64_t oldest = WAL_NEVER, now = wal_now(wal);
    lock_take(&wal->lock);
    uint64_t period_ns = wal->settings.period_us * 1000;
    for (unsigned i = 0; i < wal->files; i++) {
        const struct wal_file *f = &wal->file[i];
        if (f->unsynced && f->unsynced_ns < oldest)
            oldest = f->unsynced_ns;
    }
    lock_give(&wal->lock);
    return oldest < now && now - oldest > 2 * period_ns;
}

static uint64_t find_horizon(struct wal *wal)
{
    uint64_t written = atomic_load(&wal->written), durable = atomic_load(&wal->durable);
    switch (atomic_load(&wal->dial)) {
    case WAL_ASYNC:
        return written + atomic_load(&wal->queue_depth);
    case WAL_PERIODIC:
        return is_late(wal) ? durable : written;
    default:
        return plant(PLANT_EARLY_HORIZON) ? written : durable;
    }
}

/* --- publishing --- */

static bool grow_locked(_Atomic uint64_t *sequence, uint64_t value)
{
    if (value <= atomic_load_explicit(sequence, memory_order_relaxed))
        return false;
    atomic_store_explicit(sequence, value, memory_order_release);
    return true;
}

static void tell_locked(struct wal *wal)
{
    if (wal->waiters > 0)
        pthread_cond_broadcast(&wal->progress);
    for (struct wal_listener *l = wal->listeners; l; l = l->next)
        l->wake(l->context);
}

void progress_written(struct wal *wal)
{
    pthread_mutex_lock(&wal->progress_lock);
    bool grown = grow_locked(&wal->written, find_written(wal));
    grown |= grow_locked(&wal->horizon, find_horizon(wal));
    if (grown)
        tell_locked(wal);
    pthread_mutex_unlock(&wal->progress_lock);
}

void progress_durable(struct wal *wal)
{
    pthread_mutex_lock(&wal->durable_lock);
    uint64_t durable = find_durable(wal);
    if (durable > atomic_load(&wal->durable) && wal->start.synced)
        wal->start.synced(wal->start.context, durable);
    pthread_mutex_lock(&wal->progress_lock);
    bool grown = grow_locked(&wal->written, durable);
    grown |= grow_locked(&wal->durable, durable);
    grown |= grow_locked(&wal->horizon, find_horizon(wal));
    if (grown)
        tell_locked(wal);
    pthread_mutex_unlock(&wal->progress_lock);
    pthread_mutex_unlock(&wal->durable_lock);
}

void progress_state(struct wal *wal)
{
    pthread_mutex_lock(&wal->progress_lock);
    (void)grow_locked(&wal->horizon, find_horizon(wal));
    tell_locked(wal);
    pthread_mutex_unlock(&wal->progress_lock);
}

void progress_dial(struct wal *wal)
{
    pthread_mutex_lock(&wal->progress_lock);
    atomic_store_explicit(&wal->horizon, find_horizon(wal), memory_order_release);
    tell_locked(wal);
    pthread_mutex_unlock(&wal->progress_lock);
}

void progress_set_state_locked(struct wal *wal, int state)
{
    lock_take(&wal->lock); /* an append sees it before it takes a sequence, or is before it */
    atomic_store_explicit(&wal->state, state, memory_order_release);
    wal->refusals += state == TARN_NOSPACE;
    lock_give(&wal->lock);
}

void progress_fail(struct wal *wal, int negative_errno, const char *what, const char *name)
{
    pthread_mutex_lock(&wal->progress_lock);
    if (!wal_failed(wal)) {
        const char *reason = strerrordesc_np(-negative_errno);
        snprintf(wal->failure, sizeof wal->failure,
                 "%s %s in %.128s: %s; writes are refused: check the disk and start again", what,
                 name, wal->directory, reason ? reason : "unknown error");
        progress_set_state_locked(wal, TARN_IO);
    }
    pthread_mutex_unlock(&wal->progress_lock);
    progress_state(wal);
}

void progress_charge(struct wal *wal)
{
    int64_t bytes = atomic_exchange_explicit(&wal->uncharged, 0, memory_order_relaxed);
    if (bytes != 0 && wal->start.charge)
        wal->start.charge(wal->start.context, bytes);
}

/* --- waiting --- */

void wal_sleep(const struct os *os, pthread_cond_t *condition, pthread_mutex_t *mutex,
               uint64_t deadline_ns)
{
    uint64_t now = os->monotonic_ns(os);
    if (deadline_ns == WAL_NEVER) {
        pthread_cond_wait(condition, mutex);
    } else if (now < deadline_ns) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until); /* which is not os's in a test */
        uint64_t ns = (uint64_t)until.tv_nsec + (deadline_ns - now) % 1000000000;
        until.tv_sec += (time_t)((deadline_ns - now) / 1000000000 + ns / 1000000000);
        until.tv_nsec = (long)(ns % 1000000000);
        (void)pthread_cond_timedwait(condition, mutex, &until); /* the caller looks at the clock */
    }
}

void progress_wait_locked(struct wal *wal, uint64_t deadline_ns)
{
    wal->waiters++;
    wal_sleep(wal->os, &wal->progress, &wal->progress_lock, deadline_ns);
    wal->waiters--;
}

void wal_listen(struct wal *wal, struct wal_listener *listener)
{
    pthread_mutex_lock(&wal->progress_lock);
    listener->next = wal->listeners;
    wal->listeners = listener;
    pthread_mutex_unlock(&wal->progress_lock);
}

void wal_unlisten(struct wal *wal, struct wal_listener *listener)
{
    pthread_mutex_lock(&wal->progress_lock);
    struct wal_listener **at = &wal->listeners;
    while (*at && *at != listener)
        at = &(*at)->next;
    if (*at)
        *at = listener->next;
    pthread_mutex_unlock(&wal->progress_lock);
}
