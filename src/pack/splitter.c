/* See splitter.h.
 *
 * Invariants, under the lock: (1) chunk_offset <= cut_offset <= walk_offset <= read_bytes <= size.
 * (2) Records between chunk_offset and walk_offset are whole; with a granule cut_offset is the
 * first record in its granule, or the end; without one it is walk_offset. (3) read_bytes is a
 * multiple of the block size or the file's size; the checksums of all blocks before it are set. (4)
 * carry holds exactly the bytes chunk_offset..read_bytes of a file source and is empty for a memory
 * source. Failure: any error is sticky, so that no thread goes on with a later part. */
#include "pack/splitter.h"

#include <errno.h>

#include "core/assert.h"
#include "core/hash.h"

int source_read(const struct source *source, uint64_t offset, size_t size, struct buffer *buffer,
                struct tarn_bytes *ret_view, struct tarn_error *error)
{
    ASSERT(offset <= source->size && size <= source->size - offset);
    if (source->memory.data != NULL) {
        *ret_view = (struct tarn_bytes){(const char *)source->memory.data + offset, size};
        return TARN_OK;
    }
    buffer_clear(buffer);
    if (!buffer_reserve(buffer, size))
        return error_set(error, TARN_NOMEM, "%s: out of memory reading %zu bytes", source->path,
                         size);
    int result = os_read_full(source->os, source->fd, buffer->data, size, offset);
    if (result == -ENODATA)
        return error_set_at(error, TARN_STALE, offset, UINT64_MAX,
                            "%s: got shorter while it was read", source->path);
    if (result < 0)
        return os_error(error, result, "cannot read", source->path);
    buffer->size = size;
    *ret_view = buffer_view(buffer);
    return TARN_OK;
}

uint64_t sync_block_count(const struct tarn_format *format, uint64_t data_bytes)
{
    if (format->kind == TARN_FORMAT_TEXT)
        return 0;
    return (data_bytes + SYNC_BLOCK_BYTES - 1) / SYNC_BLOCK_BYTES;
}

void splitter_init(struct splitter *s, const struct source *source,
                   const struct tarn_format *format, uint64_t *checksums, unsigned char *sync)
{
    *s =
        (struct splitter){.source = source, .format = format, .checksums = checksums, .sync = sync};
    pthread_mutex_init(&s->lock, NULL);
    if (sync != NULL)
        memset(sync, SYNC_NONE, sync_block_count(format, source->size));
}

void splitter_done(struct splitter *s)
{
    buffer_done(&s->carry);
    pthread_mutex_destroy(&s->lock);
}

/* The block at read_bytes, behind what is in carry, where there is room for it. */
static int read_into_carry_locked(struct splitter *s, size_t size, struct tarn_error *error)
{
    const struct source *source = s->source;
    unsigned char *out = s->carry.data + s->carry.size;
    if (s->feed != NULL) {
        int status = feed_take(s->feed, out, size, error);
        if (status != TARN_OK)
            return status;
    } else {
        int result = os_read_full(source->os, source->fd, out, size, s->read_bytes);
        if (result == -ENODATA)
            return error_set_at(error, TARN_STALE, s->read_bytes, UINT64_MAX,
                                "%s: got shorter while it was read", source->path);
        if (result < 0)
            return os_error(error, result, "cannot read", source->path);
    }
    s->carry.size += size;
    return TARN_OK;
}

/* Read and checksum one more block. */
static int read_block_locked(struct splitter *s, struct tarn_error *error)
{
    const struct source *source = s->source;
    uint64_t left = source->size - s->read_bytes;
    size_t size = left < CHECKSUM_BLOCK_BYTES ? (size_t)left : CHECKSUM_BLOCK_BYTES;
    const void *block;
    if (source->memory.data != NULL) {
        block = (const char *)source->memory.data + s->read_bytes;
    } else {
        if (!buffer_reserve(&s->carry, size))
            return error_set(error, TARN_NOMEM, "%s: out of memory for a record of over %zu bytes",
                             source->path, s->carry.size);
        block = s->carry.data + s->carry.size;
        int status = read_into_carry_locked(s, size, error);
        if (status != TARN_OK)
            return status;
    }
    s->checksums[s->read_bytes >> CHECKSUM_BLOCK_BYTES_LOG2] = hash_checksum(block, size, 0);
    s->read_bytes += size;
    return TARN_OK;
}

int splitter_seek(struct splitter *s, uint64_t offset, struct tarn_error *error)
{
    uint64_t block = offset & ~(CHECKSUM_BLOCK_BYTES - 1);
    ASSERT(s->read_bytes == 0 && offset <= s->source->size);
    s->read_bytes = block;
    if (offset > block) {
        int status = read_block_locked(s, error);
        if (status != TARN_OK)
            return status;
        if (s->source->memory.data == NULL)
            buffer_consume(&s->carry, offset - block);
    }
    s->chunk_offset = s->cut_offset = s->walk_offset = offset;
    s->walk_granule = offset >> s->granule_log2;
    return TARN_OK;
}

/* The bytes chunk_offset..read_bytes. */
static struct tarn_bytes unread_locked(const struct splitter *s)
{
    size_t size = (size_t)(s->read_bytes - s->chunk_offset);
    if (s->source->memory.data == NULL)
        return (struct tarn_bytes){s->carry.data, size};
    return (struct tarn_bytes){(const char *)s->source->memory.data + s->chunk_offset, size};
}

/* Text with a granule: the first line that starts in the granule of walk_offset, or behind it. */
static void cut_text_locked(struct splitter *s, struct tarn_bytes view)
{
    uint64_t granule = s->walk_offset >> s->granule_log2 << s->granule_log2;
    if (granule <= s->chunk_offset)
        return; /* no other granule is in view */
    /* A line starts after a newline; there is one at walk_offset - 1. */
    const char *from = (const char *)view.data + (granule - 1 - s->chunk_offset);
    const char *newline = memchr(from, '\n', (size_t)(s->walk_offset - (granule - 1)));
    ASSERT(newline != NULL);
    s->cut_offset = granule + (uint64_t)(newline - from);
}

/* Only the end matters here; the lines are checked by whoever parses them. */
static int walk_text_locked(struct splitter *s, struct tarn_bytes view, bool at_end)
{
    uint64_t block = (s->read_bytes - 1) & ~(CHECKSUM_BLOCK_BYTES - 1);
    /* Blocks before the last hold no newline behind walk_offset, or it would lie there. */
    uint64_t from = s->walk_offset > block ? s->walk_offset : block;
    const char *start = (const char *)view.data + (from - s->chunk_offset);
    const char *newline = memrchr(start, '\n', (size_t)(s->read_bytes - from));
    if (at_end)
        s->walk_offset = s->read_bytes;
    else if (newline != NULL)
        s->walk_offset = from + (uint64_t)(newline + 1 - start);
    else if (s->read_bytes - s->walk_offset > TARN_KEY_BYTES_MAX + TARN_VALUE_BYTES_MAX + 2)
        return TARN_TOOBIG;
    if (s->granule_log2 == 0 || at_end)
        s->cut_offset = s->walk_offset;
    else
        cut_text_locked(s, view);
    return TARN_OK;
}

/* A record starts at walk_offset. */
static void note_start_locked(struct splitter *s)
{
    uint64_t at = s->walk_offset;
    if (s->sync != NULL && s->sync[at / SYNC_BLOCK_BYTES] == SYNC_NONE)
        s->sync[at / SYNC_BLOCK_BYTES] = (unsigned char)(at % SYNC_BLOCK_BYTES);
    if (at >> s->granule_log2 != s->walk_granule) {
        s->walk_granule = at >> s->granule_log2;
        s->cut_offset = at;
    }
}

static int walk_binary_locked(struct splitter *s, struct tarn_bytes view, bool at_end)
{
    while (s->walk_offset < s->read_bytes) {
        struct record record;
        enum format_outcome outcome =
            format_parse(s->format, view, s->walk_offset - s->chunk_offset, at_end, &record);
        if (outcome == FORMAT_INCOMPLETE && !at_end)
            break;
        if (outcome != FORMAT_OK)
            return TARN_CORRUPT;
        note_start_locked(s);
        s->walk_offset += record.size;
    }
    if (s->granule_log2 == 0 || s->walk_offset == s->source->size)
        s->cut_offset = s->walk_offset;
    return TARN_OK;
}

/* Move walk_offset over the whole records now in view, and cut_offset behind it. */
static int walk_locked(struct splitter *s)
{
    struct tarn_bytes view = unread_locked(s);
    bool at_end = s->read_bytes == s->source->size;
    return s->format->kind == TARN_FORMAT_TEXT ? walk_text_locked(s, view, at_end)
                                               : walk_binary_locked(s, view, at_end);
}

/* Hand out chunk_offset..cut_offset. A file source's buffer goes with it; what is behind the last
 * whole record (or block) is copied into the next one. */
static int hand_out_locked(struct splitter *s, struct chunk *chunk, struct tarn_error *error)
{
    size_t size = (size_t)(s->cut_offset - s->chunk_offset);
    struct tarn_bytes view = unread_locked(s);
    if (s->source->memory.data == NULL) {
        struct buffer next = chunk->buffer;
        buffer_clear(&next);
        buffer_append(&next, (const char *)view.data + size, view.size - size);
        if (next.failed) {
            chunk->buffer = next;
            return error_set(error, TARN_NOMEM, "%s: out of memory", s->source->path);
        }
        chunk->buffer = s->carry;
        s->carry = next;
    }
    chunk->data = (struct tarn_bytes){view.data, size};
    chunk->offset = s->chunk_offset;
    s->chunk_offset = s->cut_offset;
    return TARN_OK;
}

static int next_locked(struct splitter *s, struct chunk *chunk, struct tarn_error *error)
{
    while (s->cut_offset == s->chunk_offset) {
        if (s->read_bytes == s->source->size)
            return TARN_NOTFOUND;
        int status = read_block_locked(s, error);
        if (status != TARN_OK)
            return status;
        status = walk_locked(s);
        /* Records before a bad one need not be handed out: nothing is served. */
        if (status != TARN_OK) {
            s->bad_record = true;
            return error_set(error, status, "%s: bad record", s->source->path);
        }
    }
    return hand_out_locked(s, chunk, error);
}

int splitter_next(struct splitter *s, struct chunk *chunk, struct tarn_error *error)
{
    pthread_mutex_lock(&s->lock);
    int status = s->status;
    if (status == TARN_OK) {
        status = next_locked(s, chunk, &s->error);
        s->status = status;
    }
    if (status < 0 && error != NULL)
        *error = s->error; /* the same for all, whoever reports it first */
    pthread_mutex_unlock(&s->lock);
    return status;
}
