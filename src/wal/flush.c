/* The flushers: a thread a file that writes, syncs and sleeps as the dial says.
 *
 * How: again and again a flusher makes a plan: write, sync, try again after the disk was full, or
 * sleep, until when, and at how many pending bytes to be woken before. A plan to sleep is made
 * under the log's lock together with `wake_bytes`, so whoever appends or asks afterwards wakes it.
 *   async     writes WAL_BATCH_BYTES (less if the queue is short), or after WAL_BATCH_NS; sleeps
 *             deeply when nothing has come for WAL_LINGER_NS: steady traffic needs no waking
 *   periodic  writes and syncs a period after the first change not synced; a large batch is written
 *             before, if nobody who waits does
 *   commit    writes and syncs whatever there is; meanwhile the next group gathers; after a slow
 *             sync the whole of it is awaited, unless somebody asks for it
 *
 * Invariants
 * 1. Only its flusher opens, syncs and closes a file.
 * 2. A log that has failed is not touched again.
 * Failure modes: see write.c and full.c. */
#include <signal.h>

#include "wal/wal_internal.h"

/* --- waking --- */

void flusher_wake(struct wal_file *f)
{
    pthread_mutex_lock(&f->gate);
    f->asked = true;
    pthread_cond_signal(&f->wake);
    pthread_mutex_unlock(&f->gate);
}

void flusher_wake_all(struct wal *wal, uint64_t files)
{
    for (; files; files &= files - 1)
        flusher_wake(&wal->file[__builtin_ctzll(files)]);
}

static void sleep_until(struct wal_file *f, uint64_t deadline_ns)
{
    pthread_mutex_lock(&f->gate);
    if (!f->asked && !atomic_load(&f->wal->stop))
        wal_sleep(f->wal->os, &f->wake, &f->gate, deadline_ns);
    f->asked = false;
    pthread_mutex_unlock(&f->gate);
}

/* --- planning --- */

struct plan {
    bool retry, write, sync;
    uint64_t until; /* else sleep until then, ... */
    uint64_t bytes; /* ... or until so many are pending */
};

/* Writing begins well before a short queue is full and holds everybody up. */
static uint64_t async_batch_bytes(const struct wal *wal)
{
    uint64_t depth = wal->settings.queue_depth;
    return depth < WAL_BATCH_BYTES / RECORD_HEAD_BYTES ? depth * RECORD_HEAD_BYTES
                                                       : WAL_BATCH_BYTES;
}

static void plan_async(struct wal_file *f, uint64_t now, uint64_t unwritten, struct plan *p)
{
    p->bytes = async_batch_bytes(f->wal);
    if (unwritten) {
        p->write = f->pending_bytes >= p->bytes || now >= f->noticed_ns + WAL_BATCH_NS;
        p->until = f->noticed_ns + WAL_BATCH_NS;
    } else if (now < f->linger_ns) {
        p->until = now + WAL_BATCH_NS;
    } else {
        p->bytes = 1;
    }
}

static void plan_periodic(struct wal_file *f, uint64_t now, uint64_t unwritten, struct plan *p)
{
    uint64_t since = WAL_NEVER;
    if (unwritten)
        since = f->noticed_ns;
    if (f->unsynced && f->unsynced_ns < since)
        since = f->unsynced_ns;
    p->bytes = since == WAL_NEVER ? 1 : WAL_BATCH_BYTES;
    if (since == WAL_NEVER)
        return;
    p->until = since + f->wal->settings.period_us * 1000;
    p->sync = now >= p->until;
    p->write = p->sync || f->pending_bytes >= WAL_BATCH_BYTES;
}

/* Two groups that take turns would make two syncs of what one can do, which is worth awaiting only
 * where a sync takes longer than for everybody to come again. */
static void plan_commit(struct wal_file *f, uint64_t now, uint64_t unwritten, struct plan *p)
{
    if (unwritten && f->unsynced == 0 && now < f->expected_ns &&
        f->pending_bytes < f->expected_bytes) {
        p->until = f->expected_ns;
        p->bytes = f->expected_bytes;
    } else {
        p->write = p->sync = unwritten || f->unsynced;
    }
}

static void plan_by_dial(struct wal_file *f, uint64_t now, uint64_t unwritten, struct plan *p)
{
    if (unwritten && f->noticed_ns == 0)
        f->noticed_ns = now;
    if (f->wal->settings.durability == WAL_ASYNC)
        plan_async(f, now, unwritten, p);
    else if (f->wal->settings.durability == WAL_PERIODIC)
        plan_periodic(f, now, unwritten, p);
    else
        plan_commit(f, now, unwritten, p);
    p->write |= unwritten && unwritten <= f->wal->asked_written;
}

/* A full file can be synced and retried, but not written. */
static void plan_full(struct wal_file *f, uint64_t now, struct plan *p)
{
    uint64_t retry_ns = atomic_load(&f->retry_ns);
    p->bytes = WAL_NEVER;
    p->write = false;
    p->retry = now >= retry_ns;
    if (retry_ns < p->until)
        p->until = retry_ns;
}

/* What to do now. Nothing: the flusher is to be woken from now on. */
static struct plan make_plan(struct wal_file *f)
{
    struct wal *wal = f->wal;
    struct plan p = {.until = WAL_NEVER, .bytes = 1};
    uint64_t now = wal_now(wal);
    lock_take(&wal->lock);
    bool full = atomic_load(&f->full);
    uint64_t unwritten = full ? 0 : file_unwritten_locked(f);
    uint64_t unsynced = f->unsynced ? f->unsynced : unwritten;
    plan_by_dial(f, now, unwritten, &p);
    if (unsynced && unsynced <= wal->asked_durable)
        p.write = p.sync = true;
    p.write |= f->marks > 0;
    if (full)
        plan_full(f, now, &p);
    if (wal_failed(wal))
        p = (struct plan){.until = WAL_NEVER, .bytes = WAL_NEVER};
    p.sync &= p.write || f->unsynced != 0;
    f->wake_bytes = p.retry || p.write || p.sync ? WAL_NEVER : p.bytes;
    lock_give(&wal->lock);
    return p;
}

/* --- doing --- */

static bool has_unsynced(struct wal_file *f)
{
    lock_take(&f->wal->lock);
    bool unsynced = f->unsynced != 0;
    lock_give(&f->wal->lock);
    return unsynced;
}

static bool write_all(struct wal_file *f)
{
    pthread_mutex_lock(&f->io);
    bool ok = file_is_writable(f) && file_write_locked(f, true);
    if (ok && atomic_load(&f->wal->dial) == WAL_COMMIT)
        ok = file_fill_locked(f);
    pthread_mutex_unlock(&f->io);
    f->linger_ns = wal_now(f->wal) + WAL_LINGER_NS;
    return ok;
}

static void retry(struct wal_file *f)
{
    pthread_mutex_lock(&f->io);
    file_retry_locked(f);
    pthread_mutex_unlock(&f->io);
}

static void carry_out(struct wal_file *f, const struct plan *p)
{
    bool ok = true;
    if (p->retry)
        retry(f);
    else if (p->write)
        ok = write_all(f);
    if (ok && p->sync && has_unsynced(f) && !wal_failed(f->wal))
        (void)file_sync(f); /* a failure shows in the state */
}

/* All written and synced; the seal comes when that holds for every file. */
static void finish(struct wal_file *f)
{
    pthread_mutex_lock(&f->io);
    if (atomic_load(&f->full) && !wal_failed(f->wal))
        file_retry_locked(f);
    else if (file_is_writable(f))
        (void)file_write_locked(f, true); /* a failure shows in the state */
    pthread_mutex_unlock(&f->io);
    if (has_unsynced(f) && !wal_failed(f->wal))
        (void)file_sync(f);
}

static void *run(void *argument)
{
    struct wal_file *f = argument;
    while (!atomic_load(&f->wal->stop)) {
        struct plan p = make_plan(f);
        progress_charge(f->wal); /* before what was taken is given back */
        if (p.retry || p.write || p.sync)
            carry_out(f, &p);
        else
            sleep_until(f, p.until);
    }
    finish(f);
    progress_charge(f->wal);
    return NULL;
}

int flusher_start(struct wal_file *f)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    f->runs = pthread_create(&f->thread, NULL, run, f) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return f->runs ? TARN_OK : TARN_NOMEM;
}
