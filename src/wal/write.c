/* From memory to files: writing what is pending, syncing it.
 *
 * How: whoever holds f->io writes the list's chunks from its head on, each with one call where the
 * system takes it whole, and takes each out once it is written. The tail is closed first, so that
 * appenders go on in another chunk. A chunk that begins a segment has the flusher end the segment
 * before: cut, sync, close; then make the new one. Syncing needs no f->io: meanwhile others write.
 *
 * Invariants
 * 1. f->offset is behind the last record that was written whole; what lies after it does not count.
 * 2. A sync covers what was written before it began: `unsynced`; what comes meanwhile is `later`.
 * Failure modes: no room (full.c); anything else, and any failed sync: the log has failed. */
#include <errno.h>

#include "wal/wal_internal.h"

static void fail(struct wal_file *f, int negative_errno, const char *what)
{
    char name[SEGMENT_NAME_BYTES];
    segment_name(f->index, atomic_load(&f->number), name);
    progress_fail(f->wal, negative_errno, what, name);
}

/* --- syncing --- */

static int sync_call(struct wal_file *f)
{
    const struct os *os = f->wal->os;
    if (plant(PLANT_NO_DATA_SYNC))
        return 0;
    /* data_sync may leave a size that shrank for later. */
    bool shrunk = atomic_exchange(&f->shrunk, false);
    int (*sync)(const struct os *, int) = shrunk ? os->sync : os->data_sync;
    int status = sync(os, f->fd);
    if (status != 0 && plant(PLANT_SYNC_RETRIED))
        status = sync(os, f->fd);
    return status;
}

static void note_sync(struct wal *wal, uint64_t ns)
{
    atomic_fetch_add_explicit(&wal->syncs, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&wal->sync_ns_total, ns, memory_order_relaxed);
    uint64_t max = atomic_load_explicit(&wal->sync_ns_max, memory_order_relaxed);
    while (ns > max && !atomic_compare_exchange_weak_explicit(
                           &wal->sync_ns_max, &max, ns, memory_order_relaxed, memory_order_relaxed))
        ;
}

/* Whoever was told of that sync comes again, and the others have come meanwhile. */
static void await_group_locked(struct wal_file *f, uint64_t group_bytes, uint64_t begin,
                               uint64_t end)
{
    uint64_t half = (end - begin) / 2, all = group_bytes + f->pending_bytes;
    f->expected_bytes = all - all / 8;
    f->expected_ns = end - begin < WAL_SLOW_SYNC_NS ? 0
                     : half < WAL_AWAIT_NS_MAX      ? end + half
                                                    : end + WAL_AWAIT_NS_MAX;
}

bool file_sync(struct wal_file *f)
{
    struct wal *wal = f->wal;
    lock_take(&wal->lock);
    f->syncing = true;
    f->later = 0;
    uint64_t group_bytes = f->group_bytes;
    f->group_bytes = 0;
    lock_give(&wal->lock);
    uint64_t begin = wal_now(wal);
    int status = sync_call(f);
    if (status != 0) {
        fail(f, status, "cannot sync");
        return false;
    }
    uint64_t end = wal_now(wal);
    note_sync(wal, end - begin);
    lock_take(&wal->lock);
    await_group_locked(f, group_bytes, begin, end);
    f->syncing = false;
    f->unsynced = f->later;
    f->unsynced_ns = f->later_ns;
    lock_give(&wal->lock);
    progress_durable(wal);
    return true;
}

/* --- the next segment --- */

/* May it go better another time, when there is room, or a descriptor? */
static bool is_passing(int negative_errno)
{
    return wal_is_room(negative_errno) || negative_errno == -EMFILE || negative_errno == -ENFILE ||
           negative_errno == -ENOMEM;
}

static bool end_segment(struct wal_file *f)
{
    if (f->fd < 0)
        return true;
    segment_cut(f);
    if (!file_sync(f))
        return false;
    segment_close(f);
    return true;
}

static bool begin_segment(struct wal_file *f, struct chunk *c)
{
    struct wal *wal = f->wal;
    bool of_sync;
    if (!end_segment(f))
        return false;
    int status = segment_create(f, &c->header, c->header_bytes, &of_sync);
    if (status != 0 && !of_sync && is_passing(status)) {
        file_full_locked(f, status, "cannot make the segment after");
        return false;
    }
    if (status != 0) {
        fail(f, status, "cannot make the segment after");
        return false;
    }
    status = segment_sync_directory(wal);
    if (status != 0) {
        fail(f, status, "cannot sync the directory of");
        return false;
    }
    lock_take(&wal->lock);
    c->begins = false;
    f->marks--;
    lock_give(&wal->lock);
    atomic_store_explicit(&f->made, c->header.number, memory_order_release);
    progress_state(wal);
    return true;
}

/* --- writing --- */

static int write_call(struct wal_file *f, const struct chunk *c)
{
    const struct os *os = f->wal->os;
    size_t written;
    if (plant(PLANT_SHORT_WRITE))
        return os->write_at(os, f->fd, c->data, c->size, f->offset, &written);
    return os_write_full(os, f->fd, c->data, c->size, f->offset);
}

/* Have the disk begin with what nobody syncs soon, so that the sync at the segment's end, during
 * which nothing is written, finds little left to do. */
static void hurry_disk(struct wal_file *f)
{
    const struct os *os = f->wal->os;
    uint64_t end = f->offset & ~(uint64_t)4095; /* the page behind it is not full yet */
    if (end < f->soon + WAL_SOON_BYTES || atomic_load(&f->wal->dial) == WAL_COMMIT)
        return;
    os->write_soon(os, f->fd, f->soon, end - f->soon);
    f->soon = end;
}

/* Write a chunk; false: that has been dealt with. */
static bool write_chunk(struct wal_file *f, const struct chunk *c)
{
    int status = write_call(f, c);
    if (status == 0) {
        f->offset += c->size;
        hurry_disk(f);
    } else if (wal_is_room(status)) {
        file_full_locked(f, status, "cannot write");
    } else {
        fail(f, status, "cannot write");
    }
    return status == 0;
}

static void note_written_locked(struct wal_file *f, const struct chunk *c, uint64_t now)
{
    if (f->unsynced == 0) {
        f->unsynced = c->first;
        f->unsynced_ns = now;
    }
    if (f->syncing && f->later == 0) {
        f->later = c->first;
        f->later_ns = now;
    }
    f->group_bytes += c->size;
    f->written_sequence = c->last;
    f->pending_bytes -= c->size;
    uint64_t pending = atomic_load_explicit(&f->wal->pending_bytes, memory_order_relaxed);
    atomic_store_explicit(&f->wal->pending_bytes, pending - c->size, memory_order_relaxed);
}

/* Take the head out; returns the one after it. */
static struct chunk *pop(struct wal_file *f, uint64_t now)
{
    struct wal *wal = f->wal;
    lock_take(&wal->lock);
    struct chunk *c = f->head, *next = c->next;
    f->head = next;
    if (next == NULL) {
        f->tail = NULL;
        f->room = 0;
        f->noticed_ns = 0;
    }
    if (c->size > 0)
        note_written_locked(f, c, now);
    c = chunk_give_locked(wal, c);
    lock_give(&wal->lock);
    chunk_free(wal, c);
    return next;
}

/* Close the tail, so that it can be written: where to begin and to end. */
static void find_run(struct wal_file *f, struct chunk **ret_first, struct chunk **ret_last)
{
    lock_take(&f->wal->lock);
    *ret_first = f->head;
    *ret_last = f->tail;
    f->room = 0;
    lock_give(&f->wal->lock);
}

bool file_write_locked(struct wal_file *f, bool flusher)
{
    struct chunk *c, *last;
    bool at_last = false;
    find_run(f, &c, &last);
    while (c != NULL && !at_last) {
        if (c->begins && !flusher) {
            flusher_wake(f);
            return true;
        }
        if (c->begins && !begin_segment(f, c))
            return false;
        uint64_t now = wal_now(f->wal);
        if (c->size > 0 && !write_chunk(f, c))
            return false;
        bool advanced = c->size > 0;
        at_last = c == last;
        c = pop(f, now);
        if (advanced)
            progress_written(f->wal);
    }
    return true;
}

bool file_fill_locked(struct wal_file *f)
{
    int status = segment_fill(f);
    if (status != 0)
        fail(f, status, "cannot write");
    return status == 0;
}

/* Write it; no room: the end is just not a clean one. */
static int write_seal(struct wal_file *f)
{
    const struct os *os = f->wal->os;
    buffer_clear(&f->seal);
    record_append_seal(f->written_encoding, f->last_sequence, &f->chain, &f->seal);
    ASSERT(!f->seal.failed);
    int status = os_write_full(os, f->fd, f->seal.data, f->seal.size, f->offset);
    if (status == 0)
        f->offset += f->seal.size;
    else if (wal_is_room(status))
        status = segment_truncate(f);
    return status;
}

void file_seal_locked(struct wal_file *f)
{
    int status = write_seal(f);
    if (status != 0) {
        fail(f, status, "cannot write");
        return;
    }
    segment_cut(f);
    (void)file_sync(f); /* a failure shows in the state */
}
