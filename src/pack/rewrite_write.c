/* The second pass of a rewriting: streams, which are ranges of hashes, read back one after the
 * other, sorted in memory, and appended to the new file. See rewrite.h.
 *
 * Invariant: of each key one record is written, the one that counts; where keys have one hash, all
 * that have it are compared.
 * Failure modes: those of spill.h and checkpoint.h; DUPLICATE; NOMEM: a stream is larger than was
 * expected. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "core/bytes.h"
#include "core/status.h"
#include "pack/pack_open.h"
#include "pack/rewrite_internal.h"

/* A record of the stream at hand. */
struct entry {
    uint64_t hash, offset;
    size_t at; /* of its head in the stream */
};

struct writing {
    struct rewrite *r;
    struct checkpoint_writer *writer;
    struct buffer stream; /* all of it */
    struct buffer extent;
    struct entry *entries;
    size_t count, capacity;
    uint64_t done; /* records */
};

static int no_memory(const struct writing *w, struct tarn_error *error)
{
    return error_set(error, TARN_NOMEM,
                     "%s: out of memory while rewriting: %zu bytes of records are to be sorted at "
                     "once; raise --memory and begin anew (--restart)",
                     w->r->options->path, w->stream.capacity);
}

static struct rewrite_head head_at(const struct writing *w, size_t at)
{
    struct rewrite_head head;
    memcpy(&head, w->stream.data + at, sizeof head);
    return head;
}

static struct tarn_bytes key_at(const struct writing *w, size_t at)
{
    return (struct tarn_bytes){w->stream.data + at + sizeof(struct rewrite_head),
                               head_at(w, at).key_bytes};
}

/* --- a stream into memory, in order --- */

static int take_piece(void *context, struct tarn_bytes piece, struct tarn_error *error)
{
    struct writing *w = context;
    if (piece.size > w->stream.capacity - w->stream.size)
        return no_memory(w, error);
    buffer_append(&w->stream, piece.data, piece.size);
    return TARN_OK;
}

static int note_entry(struct writing *w, const struct rewrite_head *head, size_t at)
{
    if (w->count == w->capacity) {
        size_t capacity = w->capacity ? w->capacity + w->capacity / 2 : 1024;
        void *larger = realloc(w->entries, capacity * sizeof *w->entries);
        if (larger == NULL)
            return TARN_NOMEM;
        w->entries = larger;
        w->capacity = capacity;
    }
    w->entries[w->count++] = (struct entry){head->hash, head->offset, at};
    return TARN_OK;
}

static int compare_entries(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    if (x->hash != y->hash)
        return x->hash < y->hash ? -1 : 1;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

static int bad_stream(const struct writing *w, struct tarn_error *error)
{
    return error_set(error, TARN_CORRUPT, "%s: is not what was written to it; begin anew",
                     w->r->spill_path);
}

static int load_stream(struct writing *w, unsigned stream, struct tarn_error *error)
{
    uint64_t size = spill_bytes(&w->r->spill, stream);
    buffer_clear(&w->stream);
    w->count = 0;
    if (size > SIZE_MAX / 2 || !buffer_reserve_exactly(&w->stream, (size_t)size + 1))
        return no_memory(w, error);
    int status = spill_read(&w->r->spill, stream, stream, &w->extent, take_piece, w, error);
    if (status != TARN_OK)
        return status;
    for (size_t at = 0; at < w->stream.size;) {
        struct rewrite_head head;
        size_t left = w->stream.size - at;
        if (left < sizeof head)
            return bad_stream(w, error);
        head = head_at(w, at);
        size_t bytes = sizeof head + head.key_bytes +
                       (head.value_bytes > REWRITE_FAR_BYTES ? 0 : head.value_bytes);
        if (bytes > left)
            return bad_stream(w, error);
        if (note_entry(w, &head, at) != TARN_OK)
            return no_memory(w, error);
        at += bytes;
    }
    if (w->count > 0)
        qsort(w->entries, w->count, sizeof *w->entries, compare_entries);
    return TARN_OK;
}

/* --- out of it --- */

/* A far value's bytes, from the data file. */
struct far {
    const struct rewrite *r;
    uint64_t offset; /* of the value */
};

static int fetch(void *context, uint64_t at, void *data, size_t size, struct tarn_error *error)
{
    const struct far *far = context;
    const char *path = far->r->options->path;
    int result = os_read_full(far->r->os, far->r->fd, data, size, far->offset + at);
    if (result == -ENODATA)
        return error_set(error, TARN_STALE, "%s: got shorter while it was rewritten", path);
    return result < 0 ? os_error(error, result, "cannot read", path) : TARN_OK;
}

static int write_record(struct writing *w, const struct entry *e, struct tarn_error *error)
{
    struct rewrite_head head = head_at(w, e->at);
    struct tarn_bytes key = key_at(w, e->at);
    struct tarn_record record = {.key = key,
                                 .value = {(const char *)key.data + key.size, head.value_bytes}};
    struct far far = {w->r, head.offset + head.framing + head.key_bytes};
    if (head.value_bytes > REWRITE_FAR_BYTES)
        record.value.data = NULL;
    w->r->report.keys++;
    return checkpoint_add_far(w->writer, &record, e->hash, fetch, &far, error);
}

static int repeated(const struct writing *w, const struct entry *first, const struct entry *again,
                    struct tarn_error *error)
{
    return error_set_at(error, TARN_DUPLICATE, again->offset, UINT64_MAX,
                        "%s: the record at byte %" PRIu64 " repeats the key of the record at byte "
                        "%" PRIu64,
                        w->r->options->path, again->offset, first->offset);
}

/* Records of one hash, in the order of the data file: of each key the one that counts is moved to
 * the front, in the place of the key's first. Returns how many, or an error. */
static int settle(struct writing *w, struct entry *run, size_t count, size_t *ret_keys,
                  struct tarn_error *error)
{
    size_t keys = 0, k;
    for (size_t i = 0; i < count; i++) {
        for (k = 0; k < keys && !bytes_equal(key_at(w, run[k].at), key_at(w, run[i].at)); k++)
            ;
        if (k == keys)
            run[keys++] = run[i];
        else if (w->r->options->duplicates == TARN_DUPLICATES_ERROR)
            return repeated(w, &run[k], &run[i], error);
        else if (w->r->options->duplicates == TARN_DUPLICATES_LAST)
            run[k] = run[i];
    }
    w->r->report.duplicates += count - keys;
    w->r->report.collisions += keys > 1 ? keys : 0;
    *ret_keys = keys;
    return TARN_OK;
}

static int write_entries(struct writing *w, struct tarn_error *error)
{
    for (size_t first = 0, end; first < w->count; first = end) {
        size_t keys = 0;
        for (end = first + 1; end < w->count && w->entries[end].hash == w->entries[first].hash;)
            end++;
        int status = settle(w, w->entries + first, end - first, &keys, error);
        for (size_t k = 0; k < keys && status == TARN_OK; k++)
            status = write_record(w, &w->entries[first + k], error);
        if (status != TARN_OK)
            return status;
        if ((w->done + end) / 1024 != (w->done + first) / 1024) {
            status = rewrite_progress(w->r, "writing", w->done + end, w->r->state.records, error);
            if (status != TARN_OK)
                return status;
        }
    }
    w->done += w->count;
    return TARN_OK;
}

static int write_all(struct writing *w, struct tarn_error *error)
{
    int status = TARN_OK;
    for (unsigned s = 0; s < w->r->spill.streams && status == TARN_OK; s++) {
        status = load_stream(w, s, error);
        if (status == TARN_OK)
            status = write_entries(w, error);
    }
    if (status != TARN_OK)
        return status;
    if (w->done != w->r->state.records)
        return bad_stream(w, error);
    return pack_check_unchanged(w->r->os, w->r->fd, &w->r->info, w->r->options->path, error);
}

int rewrite_write(struct rewrite *r, struct tarn_error *error)
{
    struct writing w = {.r = r};
    struct checkpoint_totals totals = {0};
    struct checkpoint_about about = {
        .time_ms = r->os->realtime_us(r->os) / 1000,
        .block_bytes = (uint32_t)r->state.block_bytes,
    };
    memcpy(about.secret, r->state.secret, sizeof about.secret);
    int status = spill_resize(&r->spill, SPILL_BUFFER_BYTES_MIN, error);
    if (status != TARN_OK)
        return status;
    spill_group(&r->spill);
    status = checkpoint_create(r->os, r->output, &about, &w.writer, error);
    if (status != TARN_OK)
        return status;
    status = write_all(&w, error);
    if (status == TARN_OK)
        status = checkpoint_commit(w.writer, &totals, error);
    else
        checkpoint_abort(w.writer);
    r->report.index_bytes = totals.bytes;
    buffer_done(&w.stream);
    buffer_done(&w.extent);
    free(w.entries);
    return status;
}
