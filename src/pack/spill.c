/* See spill.h.
 *
 * An extent's header: id of the build (u64), stream (u32), bytes (u32), number of bytes in the file
 * before it (u64), XXH3-64 of the bytes (u64), zeros (u64), XXH3-64 of the header before it (u64).
 *
 * Invariants: (1) extents lie one behind the other from the file's first byte to `end`; (2) a
 * buffer's bytes are in no extent yet. Failure modes: those of reading and writing, a full disk
 * among them; bytes that are not what was written are found by their checksum. */
#include "pack/spill.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>

#include "core/assert.h"
#include "core/codec.h"
#include "core/hash.h"

enum extent_header {
    EXTENT_ID = 0,
    EXTENT_STREAM = 8,
    EXTENT_BYTES = 12,
    EXTENT_OFFSET = 16,
    EXTENT_CHECKSUM = 24,
    EXTENT_ZERO = 32,
    EXTENT_HEADER_CHECKSUM = 40,
};

static int damaged(const struct spill *s, uint64_t offset, struct tarn_error *error)
{
    return error_set_at(error, TARN_CORRUPT, offset, UINT64_MAX,
                        "%s: damaged at byte %" PRIu64 "; begin anew with --restart", s->path,
                        offset);
}

static void encode_header(const struct spill *s, const struct spill_extent *e,
                          uint64_t bytes_checksum, unsigned char *h)
{
    memset(h, 0, SPILL_HEADER_BYTES);
    store_u64le(h + EXTENT_ID, s->id);
    store_u32le(h + EXTENT_STREAM, e->stream);
    store_u32le(h + EXTENT_BYTES, e->bytes);
    store_u64le(h + EXTENT_OFFSET, e->offset);
    store_u64le(h + EXTENT_CHECKSUM, bytes_checksum);
    store_u64le(h + EXTENT_HEADER_CHECKSUM, hash_checksum(h, EXTENT_HEADER_CHECKSUM, 0));
}

/* Whether this header is that of the extent, or (bytes 0) of any at its offset, which is filled
 * in. */
static bool decode_header(const struct spill *s, const unsigned char *h, struct spill_extent *e)
{
    if (load_u64le(h + EXTENT_HEADER_CHECKSUM) != hash_checksum(h, EXTENT_HEADER_CHECKSUM, 0) ||
        load_u64le(h + EXTENT_ID) != s->id || load_u64le(h + EXTENT_OFFSET) != e->offset)
        return false;
    uint32_t stream = load_u32le(h + EXTENT_STREAM), bytes = load_u32le(h + EXTENT_BYTES);
    if (e->bytes != 0 && (stream != e->stream || bytes != e->bytes))
        return false;
    e->stream = stream;
    e->bytes = bytes;
    return stream < s->streams && bytes > 0;
}

static bool reserve_extent(struct spill *s)
{
    if (s->extent_count < s->extent_capacity)
        return true;
    size_t capacity = s->extent_capacity ? 2 * s->extent_capacity : 1024;
    void *bigger = realloc(s->extents, capacity * sizeof *s->extents);
    if (bigger == NULL)
        return false;
    s->extents = bigger;
    s->extent_capacity = capacity;
    return true;
}

/* --- opening --- */

/* Find the extents of a file that is gone on with. */
static int find_extents(struct spill *s, uint64_t end, struct tarn_error *error)
{
    unsigned char header[SPILL_HEADER_BYTES];
    while (s->end < end) {
        struct spill_extent extent = {.offset = s->end};
        int result = os_read_full(s->os, s->fd, header, sizeof header, s->end);
        if (result < 0 && result != -ENODATA)
            return os_error(error, result, "cannot read", s->path);
        if (result < 0 || !decode_header(s, header, &extent) ||
            end - s->end < SPILL_HEADER_BYTES + (uint64_t)extent.bytes)
            return damaged(s, s->end, error);
        if (!reserve_extent(s))
            return error_set(error, TARN_NOMEM, "%s: out of memory", s->path);
        s->extents[s->extent_count++] = extent;
        s->end += SPILL_HEADER_BYTES + extent.bytes;
    }
    return TARN_OK;
}

static int make_buffers(struct spill *s, struct tarn_error *error)
{
    s->buffers = calloc(s->streams, sizeof *s->buffers);
    int result = s->buffers ? s->os->map(s->os, s->streams * s->buffer_bytes, &s->memory) : -ENOMEM;
    if (result < 0)
        return os_error(error, result, "cannot get memory to write", s->path);
    for (unsigned i = 0; i < s->streams; i++) {
        pthread_mutex_init(&s->buffers[i].lock, NULL);
        s->buffers[i].data = (unsigned char *)s->memory + i * s->buffer_bytes;
    }
    return TARN_OK;
}

int spill_open(struct spill *s, const struct os *os, const char *path, uint64_t id,
               unsigned streams, size_t buffer_bytes, uint64_t end, struct tarn_error *error)
{
    ASSERT(buffer_bytes >= SPILL_BUFFER_BYTES_MIN && buffer_bytes <= UINT32_MAX);
    *s = (struct spill){.os = os, .path = path, .fd = -1, .id = id, .streams = streams};
    s->buffer_bytes = buffer_bytes;
    pthread_mutex_init(&s->lock, NULL);
    int result = os->open(os, path, O_RDWR | (end > 0 ? 0 : O_CREAT), 0666, &s->fd);
    if (result < 0) {
        s->fd = -1;
        return os_error(error, result, "cannot open", path);
    }
    struct os_file_info info;
    result = os->file_info(os, s->fd, &info);
    if (result < 0)
        return os_error(error, result, "cannot examine", path);
    int status = info.size < end ? damaged(s, info.size, error) : find_extents(s, end, error);
    if (status != TARN_OK)
        return status;
    result = os->truncate(os, s->fd, end);
    if (result < 0)
        return os_error(error, result, "cannot cut", path);
    return make_buffers(s, error);
}

static void free_buffers(struct spill *s)
{
    for (unsigned i = 0; s->memory != NULL && i < s->streams; i++)
        pthread_mutex_destroy(&s->buffers[i].lock);
    if (s->memory != NULL)
        s->os->unmap(s->os, s->memory, s->streams * s->buffer_bytes);
    free(s->buffers);
    s->memory = NULL;
    s->buffers = NULL;
}

int spill_resize(struct spill *s, size_t buffer_bytes, struct tarn_error *error)
{
    free_buffers(s);
    s->buffer_bytes = buffer_bytes;
    return make_buffers(s, error);
}

void spill_close(struct spill *s)
{
    if (s->os == NULL)
        return;
    free_buffers(s);
    if (s->fd >= 0)
        (void)s->os->close(s->os, s->fd); /* what counts was synced */
    free(s->extents);
    pthread_mutex_destroy(&s->lock);
    *s = (struct spill){.os = NULL};
}

/* --- writing --- */

/* The place of the next extent. False: out of memory. */
static bool take_place(struct spill *s, struct spill_extent *e)
{
    pthread_mutex_lock(&s->lock);
    bool room = reserve_extent(s);
    if (room) {
        e->offset = s->end;
        s->end += SPILL_HEADER_BYTES + e->bytes;
        s->extents[s->extent_count++] = *e;
    }
    pthread_mutex_unlock(&s->lock);
    return room;
}

/* Write a stream's buffer as an extent. Its lock is held. */
static int write_extent_locked(struct spill *s, unsigned stream, struct tarn_error *error)
{
    struct spill_buffer *buffer = &s->buffers[stream];
    struct spill_extent extent = {.bytes = (uint32_t)buffer->used, .stream = stream};
    if (buffer->used == 0)
        return TARN_OK;
    if (!take_place(s, &extent))
        return error_set(error, TARN_NOMEM, "%s: out of memory", s->path);
    encode_header(s, &extent, hash_checksum(buffer->data + SPILL_HEADER_BYTES, buffer->used, 0),
                  buffer->data);
    size_t size = SPILL_HEADER_BYTES + buffer->used;
    int result = os_write_full(s->os, s->fd, buffer->data, size, extent.offset);
    if (result < 0)
        return os_error(error, result, "cannot write", s->path);
    s->os->write_soon(s->os, s->fd, extent.offset, size);
    buffer->used = 0;
    return TARN_OK;
}

int spill_append(struct spill *s, unsigned stream, const void *data, size_t size,
                 struct tarn_error *error)
{
    ASSERT(stream < s->streams);
    struct spill_buffer *buffer = &s->buffers[stream];
    size_t capacity = s->buffer_bytes - SPILL_HEADER_BYTES;
    int status = TARN_OK;
    pthread_mutex_lock(&buffer->lock);
    while (size > 0 && status == TARN_OK) {
        size_t part = capacity - buffer->used < size ? capacity - buffer->used : size;
        memcpy(buffer->data + SPILL_HEADER_BYTES + buffer->used, data, part);
        buffer->used += part;
        data = (const char *)data + part;
        size -= part;
        if (buffer->used == capacity)
            status = write_extent_locked(s, stream, error);
    }
    pthread_mutex_unlock(&buffer->lock);
    return status;
}

int spill_flush(struct spill *s, struct tarn_error *error)
{
    int status = TARN_OK;
    for (unsigned i = 0; s->memory != NULL && i < s->streams && status == TARN_OK; i++)
        status = write_extent_locked(s, i, error);
    return status;
}

int spill_sync(struct spill *s, struct tarn_error *error)
{
    int status = spill_flush(s, error);
    if (status != TARN_OK)
        return status;
    int result = s->os->data_sync(s->os, s->fd);
    return result < 0 ? os_error(error, result, "cannot sync", s->path) : TARN_OK;
}

/* --- reading --- */

static int compare_extents(const void *a, const void *b)
{
    const struct spill_extent *x = a, *y = b;
    if (x->stream != y->stream)
        return x->stream < y->stream ? -1 : 1;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

void spill_group(struct spill *s)
{
    if (s->extent_count > 0)
        qsort(s->extents, s->extent_count, sizeof *s->extents, compare_extents);
}

/* The first extent of this stream or a later one. */
static size_t first_extent(const struct spill *s, unsigned stream)
{
    size_t low = 0, high = s->extent_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (s->extents[middle].stream < stream)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

uint64_t spill_bytes(const struct spill *s, unsigned stream)
{
    uint64_t bytes = 0;
    for (size_t i = first_extent(s, stream); i < s->extent_count && s->extents[i].stream == stream;
         i++)
        bytes += s->extents[i].bytes;
    return bytes;
}

static int read_extent(const struct spill *s, struct spill_extent extent, struct buffer *buffer,
                       struct tarn_error *error)
{
    size_t size = SPILL_HEADER_BYTES + (size_t)extent.bytes;
    buffer_clear(buffer);
    if (!buffer_reserve_exactly(buffer, size))
        return error_set(error, TARN_NOMEM, "%s: out of memory", s->path);
    int result = os_read_full(s->os, s->fd, buffer->data, size, extent.offset);
    if (result < 0 && result != -ENODATA)
        return os_error(error, result, "cannot read", s->path);
    const unsigned char *bytes = buffer->data + SPILL_HEADER_BYTES;
    if (result < 0 || !decode_header(s, buffer->data, &extent) ||
        load_u64le(buffer->data + EXTENT_CHECKSUM) != hash_checksum(bytes, extent.bytes, 0))
        return damaged(s, extent.offset, error);
    buffer->size = size;
    return TARN_OK;
}

int spill_read(const struct spill *s, unsigned first, unsigned last, struct buffer *buffer,
               spill_take take, void *context, struct tarn_error *error)
{
    for (size_t i = first_extent(s, first); i < s->extent_count && s->extents[i].stream <= last;
         i++) {
        int status = read_extent(s, s->extents[i], buffer, error);
        if (status != TARN_OK)
            return status;
        struct tarn_bytes piece = {buffer->data + SPILL_HEADER_BYTES, s->extents[i].bytes};
        status = take(context, piece, error);
        if (status != TARN_OK)
            return status;
    }
    return TARN_OK;
}
