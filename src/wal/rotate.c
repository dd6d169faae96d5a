/* New segments in all files at one moment: what a checkpoint begins with.
 *
 * How: under the log's lock each file gets a chunk that begins a segment, so that no change can
 * come between; then the flushers do the rest, and each tells when its segment can be used.
 *
 * Invariants
 * 1. The segments returned hold no change up to the sequence returned: what has been refused room
 *    meanwhile may have been put elsewhere, so then it has failed.
 * Failure modes: memory, the log's own. */
#include "wal/wal_internal.h"

struct rotation {
    uint64_t sequence, refusals;
    uint64_t *first; /* of each file */
    bool refused;    /* at once */
};

enum outcome { BEGUN, SHORT, REFUSED };

static enum outcome begin_all(struct wal *wal, struct rotation *r)
{
    enum outcome outcome = BEGUN;
    lock_take(&wal->lock);
    if (atomic_load_explicit(&wal->state, memory_order_relaxed) != TARN_OK)
        outcome = REFUSED;
    else if (wal->pool_count < wal->files)
        outcome = SHORT;
    for (unsigned i = 0; i < wal->files && outcome == BEGUN; i++) {
        struct wal_file *f = &wal->file[i];
        struct chunk *c = chunk_take_locked(wal);
        chunk_begin_locked(f, c);
        chunk_link_locked(f, c);
        r->first[i] = f->begun;
    }
    r->refused = outcome == REFUSED;
    if (outcome == BEGUN)
        wal->live_bytes = wal->files * (uint64_t)SEGMENT_HEADER_BYTES;
    r->sequence = wal->sequence;
    r->refusals = wal->refusals;
    lock_give(&wal->lock);
    return outcome;
}

static bool are_made(const struct wal *wal, const struct rotation *r)
{
    for (unsigned i = 0; i < wal->files; i++)
        if (atomic_load_explicit(&wal->file[i].made, memory_order_acquire) < r->first[i])
            return false;
    return true;
}

/* Has the log refused anything since? Under progress_lock, under which that changes. */
static int state_since_locked(struct wal *wal, const struct rotation *r)
{
    int state = wal_state(wal);
    lock_take(&wal->lock);
    bool refused = r->refused || wal->refusals != r->refusals;
    lock_give(&wal->lock);
    return state == TARN_OK && refused ? TARN_NOSPACE : state;
}

static int wait_made(struct wal *wal, const struct rotation *r, struct tarn_error *error)
{
    pthread_mutex_lock(&wal->progress_lock);
    int status = state_since_locked(wal, r);
    while (status == TARN_OK && !are_made(wal, r)) {
        progress_wait_locked(wal, WAL_NEVER);
        status = state_since_locked(wal, r);
    }
    if (status != TARN_OK)
        error_set(error, status, "%s",
                  wal->failure[0] ? wal->failure : "there was no room for the log; try again");
    pthread_mutex_unlock(&wal->progress_lock);
    return status;
}

int wal_rotate(struct wal *wal, uint64_t *ret_sequence, uint64_t ret_first[WAL_FILES_MAX],
               struct tarn_error *error)
{
    uint64_t first[WAL_FILES_MAX];
    struct rotation r = {.first = first};
    enum outcome outcome = SHORT;
    while (outcome == SHORT) {
        if (!chunk_provide(wal, wal->files))
            return error_set(error, TARN_NOMEM, "no memory for new segments of the log");
        outcome = begin_all(wal, &r);
    }
    if (outcome == BEGUN)
        for (unsigned i = 0; i < wal->files; i++)
            flusher_wake(&wal->file[i]);
    int status = wait_made(wal, &r, error);
    if (status != TARN_OK)
        return status;
    *ret_sequence = r.sequence;
    memcpy(ret_first, first, wal->files * sizeof *first);
    return TARN_OK;
}
