/* Pending records: chunks of memory in a list a file, and the pool that they come from.
 *
 * How: appenders fill the tail, whoever writes takes from the head. A new segment begins with a
 * chunk: that way the place where it begins is fixed in the order of changes while the file itself
 * is created later. What the chain was before a chunk's first record is kept, so that the chunk can
 * be read again.
 *
 * Invariants
 * 1. room is what is left in the tail; 0 for one that is being written.
 * 2. The pool is only ever filled outside of the lock, and taken from under it.
 * Failure modes: memory, before anything is changed. */
#include <stdlib.h>

#include "core/random.h"
#include "wal/wal_internal.h"

static void held(struct wal *wal, int64_t bytes)
{
    atomic_fetch_add_explicit(&wal->uncharged, bytes, memory_order_relaxed);
}

struct chunk *chunk_new(struct wal *wal)
{
    struct chunk *c = malloc(sizeof *c + WAL_CHUNK_BYTES);
    if (c == NULL)
        return NULL;
    *c = (struct chunk){.data = (unsigned char *)(c + 1), .capacity = WAL_CHUNK_BYTES};
    held(wal, (int64_t)(sizeof *c + WAL_CHUNK_BYTES));
    return c;
}

struct chunk *chunk_new_apart(struct wal *wal, struct buffer *b)
{
    struct chunk *c = malloc(sizeof *c);
    if (c == NULL)
        return NULL;
    *c = (struct chunk){.data = b->data, .size = b->size, .capacity = b->capacity, .apart = true};
    held(wal, (int64_t)(sizeof *c + c->capacity));
    *b = (struct buffer){0};
    return c;
}

void chunk_free(struct wal *wal, struct chunk *c)
{
    if (c == NULL)
        return;
    held(wal, -(int64_t)(sizeof *c + c->capacity));
    if (c->apart)
        free(c->data);
    free(c);
}

/* --- the pool --- */

bool chunk_provide(struct wal *wal, unsigned count)
{
    lock_take(&wal->lock);
    while (wal->pool_count < count) {
        lock_give(&wal->lock);
        struct chunk *c = chunk_new(wal);
        if (c == NULL)
            return false;
        lock_take(&wal->lock);
        c->next = wal->pool;
        wal->pool = c;
        wal->pool_count++;
    }
    lock_give(&wal->lock);
    return true;
}

struct chunk *chunk_take_locked(struct wal *wal)
{
    struct chunk *c = wal->pool;
    ASSERT(c != NULL);
    wal->pool = c->next;
    wal->pool_count--;
    return c;
}

struct chunk *chunk_give_locked(struct wal *wal, struct chunk *c)
{
    if (c->apart || wal->pool_count >= WAL_POOL_CHUNKS)
        return c;
    c->size = 0;
    c->first = 0;
    c->begins = false;
    c->next = wal->pool;
    wal->pool = c;
    wal->pool_count++;
    return NULL;
}

/* --- a file's list --- */

void chunk_link_locked(struct wal_file *f, struct chunk *c)
{
    c->next = NULL;
    c->chain = f->chain;
    c->encoding = (enum wal_encoding)atomic_load_explicit(&f->encoding, memory_order_relaxed);
    if (f->tail)
        f->tail->next = c;
    else
        f->head = c;
    f->tail = c;
    f->room = c->capacity - c->size;
}

void chunk_header_locked(struct wal_file *f, uint64_t number, uint64_t previous_sequence,
                         uint64_t previous_checksum, uint64_t first_sequence,
                         struct segment_header *ret_header)
{
    struct wal *wal = f->wal;
    *ret_header = (struct segment_header){
        .encoding = wal->settings.encoding,
        .file = f->index,
        .number = number,
        .store_id = wal->start.store_id,
        .salt = random_next(&wal->salts),
        .previous_sequence = previous_sequence,
        .previous_checksum = previous_checksum,
        .first_sequence = first_sequence,
    };
}

void chunk_begin_locked(struct wal_file *f, struct chunk *c)
{
    uint64_t checksum;
    chunk_header_locked(f, f->begun + 1, f->last_sequence, f->chain.checksum, f->wal->sequence + 1,
                        &c->header);
    segment_header_write(&c->header, c->header_bytes, &checksum);
    c->begins = true;
    f->chain = (struct record_chain){.salt = c->header.salt, .checksum = checksum};
    atomic_store_explicit(&f->encoding, (int)c->header.encoding, memory_order_relaxed);
    f->begun++;
    f->segment_bytes = SEGMENT_HEADER_BYTES;
    f->marks++;
    f->wal->live_bytes += SEGMENT_HEADER_BYTES;
}

uint64_t file_unwritten_locked(const struct wal_file *f)
{
    const struct chunk *c = f->head;
    while (c && c->size == 0)
        c = c->next;
    return c ? c->first : 0;
}

uint64_t file_unsynced_locked(const struct wal_file *f)
{
    return f->unsynced ? f->unsynced : file_unwritten_locked(f);
}
