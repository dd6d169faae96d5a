/* Appending: changes become records, in order, in memory.
 *
 * How: outside of the lock each change is encoded into memory of the thread's own, records larger
 * than WAL_APART_BYTES into a chunk of their own. Then under the log's lock: see what chunks that
 * needs; take the sequences; seal each record and copy it to the end of its file's chunks. If the
 * pool has not enough chunks, or a new segment has another encoding, the lock is given back and all
 * begins anew, so that nothing can fail once a sequence is taken.
 *
 * Most steps are a few small changes for which the tail has room: those are encoded where they are
 * to lie, under the lock, which takes no longer than copying them there.
 *
 * Invariants
 * 1. Under the lock: no allocation, no system call.
 * 2. A step's sequences are an unbroken run.
 * 3. A flusher that wants to be woken at a number of pending bytes is, by whoever reaches it.
 * Failure modes: memory, and a log that has failed: 0 is returned and nothing has changed. Without
 * room on the disk it goes on in memory: whoever makes changes has asked wal_state() before. */
#include <errno.h>
#include <stdlib.h>

#include "core/random.h"
#include "wal/wal_internal.h"

#define SCRATCH_KEEP_BYTES (256u << 10) /* of a thread, between its calls */
#define LIST_KEEP          4096u
#define APART_EXTRA_BYTES  256u /* what binary and CBOR need besides key and value */
#define SMALL_BYTES        512u /* of key and value: encoding takes no longer than a copy and a call */

struct prepared {
    size_t offset, size; /* in scratch.bytes, ... */
    struct chunk *apart; /* ... unless this */
    unsigned char file, encoding;
};

struct scratch {
    struct buffer bytes;
    struct prepared *list;
    size_t list_capacity;
};

/* --- a thread's scratch --- */

static _Thread_local struct scratch *own_scratch;
static pthread_key_t scratch_key; /* frees it when the thread ends */
static pthread_once_t scratch_once = PTHREAD_ONCE_INIT;

static void scratch_free(void *scratch)
{
    struct scratch *s = scratch;
    buffer_done(&s->bytes);
    free(s->list);
    free(s);
    own_scratch = NULL;
}

static void make_key(void)
{
    int status = pthread_key_create(&scratch_key, scratch_free);
    ASSERT(status == 0);
}

static struct scratch *scratch_new(void)
{
    struct scratch *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    pthread_once(&scratch_once, make_key);
    if (pthread_setspecific(scratch_key, s) != 0) {
        free(s);
        return NULL;
    }
    return own_scratch = s;
}

static struct scratch *scratch_get(size_t count)
{
    struct scratch *s = own_scratch ? own_scratch : scratch_new();
    if (s == NULL || count <= s->list_capacity)
        return s;
    struct prepared *list = realloc(s->list, count * sizeof *list);
    if (list == NULL)
        return NULL;
    s->list = list;
    s->list_capacity = count;
    return s;
}

static void scratch_put(struct scratch *s)
{
    if (s->bytes.capacity > SCRATCH_KEEP_BYTES) {
        buffer_clear(&s->bytes);
        buffer_trim(&s->bytes, SCRATCH_KEEP_BYTES);
    }
    if (s->list_capacity > LIST_KEEP) {
        free(s->list);
        s->list = NULL;
        s->list_capacity = 0;
    }
}

/* --- encoding --- */

static bool prepare_apart(struct wal *wal, const struct change *change, struct prepared *p)
{
    struct buffer b = {0};
    buffer_reserve_exactly(&b, change->key.size + change->value.size + APART_EXTRA_BYTES);
    record_prepare((enum wal_encoding)p->encoding, change, &b);
    p->size = b.size;
    p->apart = b.failed ? NULL : chunk_new_apart(wal, &b);
    buffer_done(&b);
    return p->apart != NULL;
}

/* A record that turned out large is moved out of the scratch. */
static bool set_apart(struct wal *wal, struct scratch *s, struct prepared *p)
{
    struct buffer b = {0};
    buffer_append(&b, s->bytes.data + p->offset, p->size);
    s->bytes.size = p->offset;
    p->apart = b.failed ? NULL : chunk_new_apart(wal, &b);
    buffer_done(&b);
    return p->apart != NULL;
}

/* Mixed, as what deals may be a small number, such as that of a shard. */
static unsigned file_of(const struct wal *wal, uint64_t hash)
{
    return wal->files == 1 ? 0 : (unsigned)((random_mix(hash) >> 32) * wal->files >> 32);
}

static bool prepare(struct wal *wal, struct scratch *s, const struct change *change, uint64_t hash,
                    struct prepared *p)
{
    p->file = (unsigned char)file_of(wal, hash);
    p->encoding =
        (unsigned char)atomic_load_explicit(&wal->file[p->file].encoding, memory_order_relaxed);
    p->apart = NULL;
    if (change->key.size + change->value.size > WAL_APART_BYTES)
        return prepare_apart(wal, change, p);
    p->offset = record_prepare((enum wal_encoding)p->encoding, change, &s->bytes);
    p->size = s->bytes.size - p->offset;
    return !s->bytes.failed && (p->size <= WAL_APART_BYTES || set_apart(wal, s, p));
}

/* Free what was encoded apart. */
static void discard(struct wal *wal, const struct scratch *s, size_t count)
{
    for (size_t i = 0; i < count; i++)
        chunk_free(wal, s->list[i].apart);
}

static bool prepare_all(struct wal *wal, struct scratch *s, const struct change *changes,
                        const uint64_t *hashes, size_t count)
{
    buffer_clear(&s->bytes);
    for (size_t i = 0; i < count; i++)
        if (!prepare(wal, s, &changes[i], hashes[i], &s->list[i])) {
            discard(wal, s, i);
            return false;
        }
    return true;
}

/* --- under the lock --- */

/* What a step needs before it can be placed. */
struct needs {
    unsigned chunks;
    uint64_t begin; /* bit i: file i is to begin a new segment */
    bool stale;     /* a record's encoding is no longer that of its file */
};

static bool is_full_locked(const struct wal_file *f)
{
    return f->segment_bytes >= f->wal->settings.segment_bytes &&
           f->segment_bytes > SEGMENT_HEADER_BYTES;
}

/* Go through the step as it will be placed. */
static struct needs find_needs_locked(const struct wal *wal, const struct prepared *list,
                                      size_t count)
{
    struct needs needs = {0};
    size_t room[WAL_FILES_MAX];
    uint64_t seen = 0;
    for (size_t i = 0; i < count; i++) {
        const struct prepared *p = &list[i];
        const struct wal_file *f = &wal->file[p->file];
        uint64_t bit = 1ull << p->file;
        if (!(seen & bit)) {
            seen |= bit;
            bool begin = is_full_locked(f);
            room[p->file] = begin ? WAL_CHUNK_BYTES : f->room;
            needs.begin |= begin ? bit : 0;
            needs.chunks += begin;
        }
        if (p->apart) {
            room[p->file] = 0;
        } else if (p->size <= room[p->file]) {
            room[p->file] -= p->size;
        } else {
            needs.chunks++;
            room[p->file] = WAL_CHUNK_BYTES - p->size;
        }
        needs.stale |= p->encoding != atomic_load_explicit(&f->encoding, memory_order_relaxed);
    }
    return needs;
}

/* New segments, each with a chunk of its own. True: the encoding of what follows is another. */
static bool begin_segments_locked(struct wal *wal, uint64_t begin, uint64_t *wake)
{
    bool changed = false;
    for (; begin; begin &= begin - 1) {
        unsigned index = (unsigned)__builtin_ctzll(begin);
        struct wal_file *f = &wal->file[index];
        struct chunk *c = chunk_take_locked(wal);
        int before = atomic_load_explicit(&f->encoding, memory_order_relaxed);
        chunk_begin_locked(f, c);
        chunk_link_locked(f, c);
        changed |= before != (int)c->encoding;
        if (f->wake_bytes != WAL_NEVER)
            *wake |= 1ull << index;
        f->wake_bytes = WAL_NEVER;
    }
    return changed;
}

/* Where the record is to lie. */
static unsigned char *make_room_locked(struct wal_file *f, const struct prepared *p,
                                       const unsigned char *bytes)
{
    struct chunk *c = f->tail;
    if (p->apart) {
        c = p->apart;
        chunk_link_locked(f, c);
        f->room = 0;
        return c->data;
    }
    if (p->size > f->room) {
        c = chunk_take_locked(f->wal);
        chunk_link_locked(f, c);
    }
    unsigned char *at = c->data + c->size;
    memcpy(at, bytes + p->offset, p->size);
    c->size += p->size;
    f->room -= p->size;
    return at;
}

/* Count what was placed at the end of a file's chunks; is its flusher to be woken? */
static bool count_file_locked(struct wal_file *f, size_t size)
{
    f->segment_bytes += size;
    f->pending_bytes += size;
    if (f->pending_bytes < f->wake_bytes)
        return false;
    f->wake_bytes = WAL_NEVER;
    return true;
}

static void count_step_locked(struct wal *wal, uint64_t bytes)
{
    wal->bytes += bytes;
    wal->live_bytes += bytes;
    uint64_t pending = atomic_load_explicit(&wal->pending_bytes, memory_order_relaxed);
    atomic_store_explicit(&wal->pending_bytes, pending + bytes, memory_order_relaxed);
}

/* begin: the sequence before the step. */
static void place_locked(struct wal *wal, const struct scratch *s, const struct prepared *p,
                         const struct record_stamp *stamp, uint64_t begin)
{
    struct wal_file *f = &wal->file[p->file];
    unsigned char *at = make_room_locked(f, p, s->bytes.data);
    if (f->tail->first == 0)
        f->tail->first = plant(PLANT_HALF_STEP) ? stamp->sequence : begin + 1;
    f->tail->last = stamp->sequence;
    record_seal((enum wal_encoding)p->encoding, at, p->size, stamp, &f->chain);
    f->last_sequence = stamp->sequence;
}

static void place_all_locked(struct wal *wal, const struct scratch *s, size_t count, uint64_t *wake)
{
    struct record_stamp stamp = {.durable_upto =
                                     atomic_load_explicit(&wal->durable, memory_order_relaxed)};
    uint64_t bytes = 0, begin = wal->sequence;
    for (size_t i = 0; i < count; i++) {
        const struct prepared *p = &s->list[i];
        struct wal_file *f = &wal->file[p->file];
        stamp.sequence = ++wal->sequence;
        stamp.more = i + 1 < count;
        place_locked(wal, s, p, &stamp, begin);
        bytes += p->size;
        if (count_file_locked(f, p->size))
            *wake |= 1ull << p->file;
    }
    count_step_locked(wal, bytes);
}

/* --- a step --- */

enum outcome { PLACED, REFUSED, STALE, SHORT };

static enum outcome try_place(struct wal *wal, const struct scratch *s, size_t count,
                              unsigned *ret_chunks, uint64_t *ret_sequence, uint64_t *wake)
{
    lock_take(&wal->lock);
    enum outcome outcome = PLACED;
    struct needs needs = find_needs_locked(wal, s->list, count);
    if (atomic_load_explicit(&wal->state, memory_order_relaxed) == TARN_IO)
        outcome = REFUSED;
    else if (needs.stale)
        outcome = STALE;
    else if (needs.chunks > wal->pool_count)
        outcome = SHORT;
    else if (needs.begin && begin_segments_locked(wal, needs.begin, wake))
        outcome = STALE;
    else
        place_all_locked(wal, s, count, wake);
    *ret_chunks = needs.chunks;
    *ret_sequence = wal->sequence;
    lock_give(&wal->lock);
    return outcome;
}

/* Place what has been prepared, with chunks as it takes. Not PLACED: it is discarded. */
static enum outcome place_step(struct wal *wal, const struct scratch *s, size_t count,
                               uint64_t *ret_sequence, uint64_t *wake)
{
    unsigned chunks = 0;
    enum outcome outcome = try_place(wal, s, count, &chunks, ret_sequence, wake);
    while (outcome == SHORT) {
        if (chunk_provide(wal, chunks))
            outcome = try_place(wal, s, count, &chunks, ret_sequence, wake);
        else
            outcome = REFUSED;
    }
    if (outcome != PLACED)
        discard(wal, s, count);
    return outcome;
}

/* --- small steps --- */

/* The size of a step's records if all are binary, small and of one file; else 0. */
static size_t small_size(const struct wal *wal, const struct change *changes, size_t count)
{
    size_t size = 0;
    if (count > 1 && wal->files > 1)
        return 0;
    for (size_t i = 0; i < count; i++) {
        if (changes[i].key.size + changes[i].value.size > SMALL_BYTES)
            return 0;
        size += record_binary_size(&changes[i]);
    }
    return size;
}

static bool has_room_locked(const struct wal_file *f, size_t size)
{
    return size <= f->room && !is_full_locked(f) && !wal_failed(f->wal) &&
           atomic_load_explicit(&f->encoding, memory_order_relaxed) == WAL_BINARY;
}

/* Encode a step at the end of the tail, which has room for it. */
static void write_small_locked(struct wal_file *f, const struct change *changes, size_t count)
{
    struct wal *wal = f->wal;
    struct record_stamp stamp = {.sequence = wal->sequence,
                                 .durable_upto =
                                     atomic_load_explicit(&wal->durable, memory_order_relaxed)};
    struct record_chain chain = f->chain;
    struct chunk *c = f->tail;
    unsigned char *at = c->data + c->size;
    for (size_t i = 0; i < count; i++) {
        size_t size = record_binary_size(&changes[i]);
        stamp.sequence++;
        stamp.more = i + 1 < count;
        record_write_binary(&changes[i], size, at);
        record_seal(WAL_BINARY, at, size, &stamp, &chain);
        at += size;
    }
    size_t size = (size_t)(at - c->data) - c->size;
    if (c->first == 0)
        c->first = wal->sequence + 1;
    c->last = f->last_sequence = wal->sequence = stamp.sequence;
    c->size += size;
    f->room -= size;
    f->chain = chain;
}

/* A step that needs nothing but room in the tail; 0: it does need more. */
static uint64_t append_small(struct wal *wal, const struct change *changes, const uint64_t *hashes,
                             size_t count)
{
    struct wal_file *f = &wal->file[file_of(wal, hashes[0])];
    size_t size = small_size(wal, changes, count);
    uint64_t sequence = 0;
    bool wake = false;
    if (size == 0)
        return 0;
    lock_take(&wal->lock);
    if (has_room_locked(f, size)) {
        write_small_locked(f, changes, count);
        wake = count_file_locked(f, size);
        count_step_locked(wal, size);
        sequence = wal->sequence;
    }
    lock_give(&wal->lock);
    if (wake)
        flusher_wake(f);
    return sequence;
}

uint64_t wal_append(struct wal *wal, const struct change *changes, const uint64_t *hashes,
                    size_t count)
{
    uint64_t sequence = count > 0 ? append_small(wal, changes, hashes, count) : 0, wake = 0;
    if (sequence != 0)
        return sequence;
    struct scratch *s = !wal_failed(wal) && count > 0 ? scratch_get(count) : NULL;
    if (s == NULL)
        return 0;
    enum outcome outcome = STALE;
    while (outcome == STALE)
        outcome = prepare_all(wal, s, changes, hashes, count)
                      ? place_step(wal, s, count, &sequence, &wake)
                      : REFUSED;
    scratch_put(s);
    if (wake)
        flusher_wake_all(wal, wake);
    return outcome == PLACED ? sequence : 0;
}

uint64_t wal_fail(struct wal *wal, const char *why)
{
    progress_fail(wal, -ENOMEM, why, "");
    return WAL_NEVER;
}
