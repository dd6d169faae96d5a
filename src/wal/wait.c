/* Waiting for a sequence, and asking for it.
 *
 * How: who waits for `written` writes what is pending himself: one write for all that has gathered,
 * and whoever comes meanwhile waits for f->io and mostly finds it done. All else is the flushers':
 * what is wanted sooner than the dial says is noted, and they are woken.
 *
 * Invariants
 * 1. A waiter has always asked for what he waits for, under the dial of that moment.
 * Failure modes: the log has failed, no room: UNSURE, unless it has been reached. */
#include "wal/wal_internal.h"

bool wal_reached(const struct wal *wal, uint64_t sequence, enum wal_level level)
{
    const _Atomic uint64_t *reached = level == WAL_DURABLE   ? &wal->durable
                                      : level == WAL_WRITTEN ? &wal->written
                                                             : &wal->horizon;
    return atomic_load_explicit(reached, memory_order_acquire) >= sequence;
}

int wal_state(const struct wal *wal)
{
    return atomic_load_explicit(&wal->state, memory_order_acquire);
}

/* What has to be done for a level under the present dial. */
static enum wal_level level_needed(const struct wal *wal, uint64_t sequence, enum wal_level level)
{
    if (level != WAL_ACKNOWLEDGED)
        return level;
    int dial = atomic_load_explicit(&wal->dial, memory_order_relaxed);
    return dial == WAL_COMMIT || wal_reached(wal, sequence, WAL_WRITTEN) ? WAL_DURABLE
                                                                         : WAL_WRITTEN;
}

/* Note what is wanted, and find the flushers that sleep over it. */
static uint64_t ask_locked(struct wal *wal, uint64_t sequence, bool durable)
{
    uint64_t *asked = durable ? &wal->asked_durable : &wal->asked_written;
    uint64_t sleepers = 0;
    if (sequence > *asked)
        *asked = sequence;
    for (unsigned i = 0; i < wal->files; i++) {
        struct wal_file *f = &wal->file[i];
        uint64_t first = durable ? file_unsynced_locked(f) : file_unwritten_locked(f);
        if (first && first <= sequence && f->wake_bytes != WAL_NEVER) {
            f->wake_bytes = WAL_NEVER;
            sleepers |= 1ull << i;
        }
    }
    return sleepers;
}

static void ask(struct wal *wal, uint64_t sequence, bool durable)
{
    lock_take(&wal->lock);
    uint64_t sleepers = ask_locked(wal, sequence, durable);
    lock_give(&wal->lock);
    flusher_wake_all(wal, sleepers);
}

void wal_hurry(struct wal *wal, uint64_t sequence, enum wal_level level)
{
    if (!wal_reached(wal, sequence, level))
        ask(wal, sequence, level_needed(wal, sequence, level) == WAL_DURABLE);
}

/* --- waiting --- */

/* Has this file something to write up to that sequence? */
static bool has_unwritten(struct wal_file *f, uint64_t sequence)
{
    lock_take(&f->wal->lock);
    uint64_t first = file_unwritten_locked(f);
    lock_give(&f->wal->lock);
    return first && first <= sequence;
}

static void write_upto(struct wal *wal, uint64_t sequence)
{
    for (unsigned i = 0; i < wal->files; i++) {
        struct wal_file *f = &wal->file[i];
        if (!has_unwritten(f, sequence))
            continue;
        pthread_mutex_lock(&f->io);
        if (has_unwritten(f, sequence) && file_is_writable(f))
            (void)file_write_locked(f, false); /* a failure shows in the state */
        pthread_mutex_unlock(&f->io);
    }
}

/* Does the present dial let whoever waits write himself? */
static bool writes_itself(const struct wal *wal, enum wal_level level)
{
    return level == WAL_WRITTEN ||
           (level == WAL_ACKNOWLEDGED &&
            atomic_load_explicit(&wal->dial, memory_order_relaxed) == WAL_PERIODIC);
}

static bool is_lost(const struct wal *wal, enum wal_level level)
{
    int state = wal_state(wal);
    return state == TARN_IO || (state == TARN_NOSPACE && level == WAL_ACKNOWLEDGED);
}

static int wait_for(struct wal *wal, uint64_t sequence, enum wal_level level, uint64_t deadline_ns)
{
    int status = TARN_OK;
    pthread_mutex_lock(&wal->progress_lock);
    while (!wal_reached(wal, sequence, level)) {
        wal_hurry(wal, sequence, level); /* anew, for the dial may have been turned */
        if (is_lost(wal, level))
            status = TARN_UNSURE;
        else if (wal_now(wal) >= deadline_ns)
            status = TARN_CANCELLED;
        if (status != TARN_OK)
            break;
        progress_wait_locked(wal, deadline_ns);
    }
    pthread_mutex_unlock(&wal->progress_lock);
    return status;
}

int wal_wait(struct wal *wal, uint64_t sequence, enum wal_level level, uint64_t deadline_ns)
{
    if (wal_reached(wal, sequence, level))
        return TARN_OK;
    if (writes_itself(wal, level))
        write_upto(wal, sequence);
    return wait_for(wal, sequence, level, deadline_ns ? deadline_ns : WAL_NEVER);
}

/* --- too much at once --- */

static bool is_over(const struct wal *wal)
{
    return atomic_load_explicit(&wal->pending_bytes, memory_order_relaxed) >
           atomic_load_explicit(&wal->memory_bytes_max, memory_order_relaxed);
}

void wal_admit(struct wal *wal)
{
    if (!is_over(wal))
        return;
    pthread_mutex_lock(&wal->progress_lock);
    while (is_over(wal) && wal_state(wal) == TARN_OK) {
        lock_take(&wal->lock);
        uint64_t sleepers = ask_locked(wal, wal->sequence, false);
        lock_give(&wal->lock);
        flusher_wake_all(wal, sleepers);
        progress_wait_locked(wal, WAL_NEVER);
    }
    pthread_mutex_unlock(&wal->progress_lock);
}
