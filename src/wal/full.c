/* No room: what becomes of a file whose segment cannot be written.
 *
 * How: the segment is cut back to what was written whole, new changes are refused, and the flusher
 * tries again now and then: the records that are pending are made anew for a segment of their own,
 * because a record's checksum depends on the one before it. When a segment could not even be made,
 * or has no record yet, they are as they should be already.
 *
 * Invariants
 * 1. What is pending is given up only for its like in another segment, with all that came to it
 *    meanwhile: that part is remade under the log's lock, where alone that is possible.
 * Failure modes: cutting back fails: the log has failed. No memory for the records: later. */
#include <errno.h>
#include <stdio.h>

#include "wal/wal_internal.h"

bool wal_is_room(int negative_errno)
{
    return negative_errno == -EFBIG || os_status(negative_errno) == TARN_NOSPACE;
}

/* --- becoming full, and no longer --- */

/* Again soon, then less and less often. */
static void plan_retry(struct wal_file *f, bool first)
{
    f->retry_delay_ns = first ? WAL_RETRY_NS_MIN : 2 * f->retry_delay_ns;
    if (f->retry_delay_ns > WAL_RETRY_NS_MAX)
        f->retry_delay_ns = WAL_RETRY_NS_MAX;
    atomic_store(&f->retry_ns, wal_now(f->wal) + f->retry_delay_ns);
}

static void refuse(struct wal_file *f, int negative_errno, const char *what)
{
    struct wal *wal = f->wal;
    char name[SEGMENT_NAME_BYTES];
    segment_name(f->index, atomic_load(&f->number), name);
    pthread_mutex_lock(&wal->progress_lock);
    if (!atomic_exchange(&f->full, true)) {
        wal->full_count++;
        plan_retry(f, true);
    }
    if (wal_state(wal) == TARN_OK) {
        snprintf(wal->failure, sizeof wal->failure,
                 "%s %s/%s: %s; writes are refused until that can be done", what, wal->directory,
                 name, strerrordesc_np(-negative_errno));
        progress_set_state_locked(wal, TARN_NOSPACE);
    }
    pthread_mutex_unlock(&wal->progress_lock);
    progress_state(wal);
    flusher_wake(f); /* to plan the next attempt, if this was not the flusher */
}

static void admit(struct wal_file *f)
{
    struct wal *wal = f->wal;
    pthread_mutex_lock(&wal->progress_lock);
    atomic_store(&f->full, false);
    if (--wal->full_count == 0 && wal_state(wal) == TARN_NOSPACE) {
        wal->failure[0] = 0;
        progress_set_state_locked(wal, TARN_OK);
    }
    pthread_mutex_unlock(&wal->progress_lock);
    progress_state(wal);
}

void file_full_locked(struct wal_file *f, int negative_errno, const char *what)
{
    int status = f->fd >= 0 ? segment_truncate(f) : 0;
    if (status != 0)
        progress_fail(f->wal, status, "cannot cut back the log in", f->wal->directory);
    else
        refuse(f, negative_errno, what);
}

/* --- records made anew --- */

/* All records of a chunk in an encoding of another segment. */
static bool remake_records(const struct chunk *c, enum wal_encoding encoding,
                           struct record_chain *chain, struct buffer *out)
{
    struct record_chain read_chain = c->chain;
    struct tarn_bytes rest = {c->data, c->size};
    struct record_view view;
    struct buffer scratch = {0};
    bool sound = true;
    while (rest.size > 0 && sound) {
        sound = record_read(c->encoding, rest, &read_chain, &view, &scratch) == RECORD_FOUND;
        if (!sound)
            break;
        size_t offset = record_prepare(encoding, &view.change, out);
        sound = !out->failed;
        if (sound)
            record_seal(encoding, out->data + offset, out->size - offset, &view.stamp, chain);
        rest.data = (const unsigned char *)rest.data + view.size;
        rest.size -= view.size;
    }
    buffer_done(&scratch);
    return sound;
}

static struct chunk *remake_chunk(struct wal *wal, const struct chunk *c,
                                  enum wal_encoding encoding, struct record_chain *chain)
{
    struct record_chain before = *chain;
    struct buffer b = {0};
    buffer_reserve_exactly(&b, c->size);
    struct chunk *made = NULL;
    if (remake_records(c, encoding, chain, &b))
        made = chunk_new_apart(wal, &b);
    buffer_done(&b);
    if (made == NULL)
        return NULL;
    made->first = c->first;
    made->last = c->last;
    made->chain = before;
    made->encoding = encoding;
    return made;
}

static void free_list(struct wal *wal, struct chunk *c)
{
    while (c) {
        struct chunk *next = c->next;
        chunk_free(wal, c);
        c = next;
    }
}

/* A file's list, as it is to replace the present one. */
struct remade {
    struct chunk *head, *tail;
    uint64_t bytes;
    struct record_chain chain;
};

static bool remake_into(struct wal *wal, const struct chunk *c, enum wal_encoding encoding,
                        struct remade *r)
{
    struct chunk *made = remake_chunk(wal, c, encoding, &r->chain);
    if (made == NULL)
        return false;
    if (r->tail)
        r->tail->next = made;
    else
        r->head = made;
    r->tail = made;
    r->bytes += made->size;
    return true;
}

/* From one chunk to another, which may be NULL, that is the last one, but may have got a next. */
static bool remake_list(struct wal *wal, const struct chunk *c, const struct chunk *last,
                        enum wal_encoding encoding, struct remade *r)
{
    bool ok = true;
    for (const struct chunk *next; c && ok; c = next) {
        ok = c->size == 0 || remake_into(wal, c, encoding, r);
        next = c == last ? NULL : c->next;
    }
    return ok && r->head != NULL;
}

/* Replace the list by the remade one, which begins a segment of its own; returns the old. */
static struct chunk *replace_locked(struct wal_file *f, const struct remade *r)
{
    struct wal *wal = f->wal;
    struct chunk *old = f->head;
    uint64_t pending = atomic_load_explicit(&wal->pending_bytes, memory_order_relaxed);
    atomic_store_explicit(&wal->pending_bytes, pending - f->pending_bytes + r->bytes,
                          memory_order_relaxed);
    f->head = r->head;
    f->tail = r->tail;
    f->room = 0;
    f->chain = r->chain;
    f->pending_bytes = r->bytes;
    f->segment_bytes = SEGMENT_HEADER_BYTES + r->bytes;
    f->begun = r->head->header.number;
    f->marks = 1;
    atomic_store_explicit(&f->encoding, (int)r->head->encoding, memory_order_relaxed);
    return old;
}

/* The header of a segment for all that is pending; where that ends now. */
static const struct chunk *begin_remake(struct wal_file *f, struct segment_header *ret_header)
{
    struct wal *wal = f->wal;
    lock_take(&wal->lock);
    chunk_header_locked(f, atomic_load(&f->number) + 1, f->written_sequence,
                        f->head->chain.checksum, file_unwritten_locked(f), ret_header);
    const struct chunk *last = f->tail;
    f->room = 0; /* what comes from now on goes behind it */
    lock_give(&wal->lock);
    return last;
}

/* Remake what has come meanwhile, which is little, and put all in the list's place. */
static bool end_remake(struct wal_file *f, const struct chunk *last, enum wal_encoding encoding,
                       struct remade *r, struct chunk **ret_old)
{
    struct wal *wal = f->wal;
    lock_take(&wal->lock);
    bool made = last->next == NULL || remake_list(wal, last->next, NULL, encoding, r);
    if (made)
        *ret_old = replace_locked(f, r);
    lock_give(&wal->lock);
    return made;
}

static bool remake(struct wal_file *f)
{
    struct wal *wal = f->wal;
    struct segment_header header;
    unsigned char bytes[SEGMENT_HEADER_BYTES];
    const struct chunk *last = begin_remake(f, &header);
    struct remade r = {.chain.salt = header.salt};
    struct chunk *old;
    segment_header_write(&header, bytes, &r.chain.checksum);
    if (!remake_list(wal, f->head, last, header.encoding, &r)) {
        free_list(wal, r.head);
        return false;
    }
    r.head->begins = true;
    r.head->header = header;
    memcpy(r.head->header_bytes, bytes, sizeof bytes);
    bool made = end_remake(f, last, header.encoding, &r, &old);
    free_list(wal, made ? old : r.head);
    return made;
}

void file_retry_locked(struct wal_file *f)
{
    plan_retry(f, false);
    bool usable = f->fd < 0 || f->head->begins || f->offset == SEGMENT_HEADER_BYTES;
    if ((usable || remake(f)) && file_write_locked(f, true))
        admit(f);
}
