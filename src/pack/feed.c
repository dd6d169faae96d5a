/* See feed.h.
 *
 * How: the buffers are a circle; each is filled by one read, in the order of the file, and the read
 * for what comes FEED_BUFFERS further on begins as soon as a buffer has been taken. The ring works
 * with threads of its own, so that it does not matter which thread asks.
 *
 * Invariants: (1) buffer `current` is the one that holds, or will hold, the next byte; (2) a read
 * is with the ring or done[], or there is nothing left for it. Failure modes: those of opening and
 * reading; a file that got shorter. */
#include "pack/feed.h"

#include <errno.h>
#include <fcntl.h>

#include "core/assert.h"

static void begin_read(struct feed *f, unsigned buffer)
{
    struct ring_read *read = &f->reads[buffer];
    f->done[buffer] = false;
    if (f->next_offset >= f->size)
        return;
    uint64_t left = f->size - f->next_offset;
    uint64_t whole = (left + RING_ALIGN_BYTES - 1) & ~(uint64_t)(RING_ALIGN_BYTES - 1);
    *read = (struct ring_read){
        .fd = f->fd,
        .data = (char *)f->memory + buffer * f->buffer_bytes,
        .size = whole < f->buffer_bytes ? (size_t)whole : f->buffer_bytes,
        .offset = f->next_offset,
    };
    f->next_offset += read->size;
    ring_add(f->ring, read);
}

/* O_DIRECT where it can be had; the file is the one that was looked at, if its size is. */
static int open_direct(struct feed *f, struct tarn_error *error)
{
    int flags = O_RDONLY | O_NONBLOCK | O_NOCTTY;
    int result = f->os->open(f->os, f->path, flags | O_DIRECT, 0, &f->fd);
    if (result == -EINVAL)
        result = f->os->open(f->os, f->path, flags, 0, &f->fd);
    if (result < 0) {
        f->fd = -1;
        return os_error(error, result, "cannot open", f->path);
    }
    return TARN_OK;
}

int feed_open(struct feed *f, const struct os *os, const char *path, uint64_t offset, uint64_t size,
              size_t buffer_bytes, struct tarn_error *error)
{
    ASSERT(offset % RING_ALIGN_BYTES == 0 && buffer_bytes % RING_ALIGN_BYTES == 0);
    *f = (struct feed){.os = os, .path = path, .fd = -1, .size = size};
    f->buffer_bytes = buffer_bytes;
    f->next_offset = offset;
    int status = open_direct(f, error);
    if (status != TARN_OK)
        return status;
    int result = os->map(os, FEED_BUFFERS * buffer_bytes, &f->memory);
    if (result == 0)
        result = ring_open(
            os, &(struct ring_settings){.depth = FEED_BUFFERS, .engine = RING_THREADS}, &f->ring);
    if (result < 0) {
        feed_close(f);
        return os_error(error, result, "cannot prepare to read", path);
    }
    for (unsigned i = 0; i < FEED_BUFFERS; i++)
        begin_read(f, i);
    ring_submit(f->ring);
    return TARN_OK;
}

void feed_close(struct feed *f)
{
    if (f->os == NULL)
        return;
    ring_close(f->ring);
    if (f->memory != NULL)
        f->os->unmap(f->os, f->memory, FEED_BUFFERS * f->buffer_bytes);
    if (f->fd >= 0)
        (void)f->os->close(f->os, f->fd); /* only read from */
    *f = (struct feed){.os = NULL};
}

/* Until the current buffer is there. */
static void wait_current(struct feed *f)
{
    while (!f->done[f->current]) {
        struct ring_read *read = ring_reap(f->ring);
        if (read == NULL)
            ring_wait(f->ring, false);
        else
            f->done[read - f->reads] = true;
    }
}

/* What the current buffer has of the file. */
static int check_current(const struct feed *f, struct tarn_error *error)
{
    const struct ring_read *read = &f->reads[f->current];
    if (read->status < 0)
        return os_error(error, read->status, "cannot read", f->path);
    uint64_t left = f->size - read->offset;
    if (read->done < (left < read->size ? left : read->size))
        return error_set_at(error, TARN_STALE, read->offset + read->done, UINT64_MAX,
                            "%s: got shorter while it was read", f->path);
    return TARN_OK;
}

int feed_take(struct feed *f, void *out, size_t size, struct tarn_error *error)
{
    while (size > 0) {
        wait_current(f);
        int status = check_current(f, error);
        if (status != TARN_OK)
            return status;
        const struct ring_read *read = &f->reads[f->current];
        size_t part = read->size - f->at < size ? read->size - f->at : size;
        memcpy(out, (const char *)read->data + f->at, part);
        out = (char *)out + part;
        size -= part;
        f->at += part;
        if (f->at == read->size) {
            begin_read(f, f->current);
            ring_submit(f->ring);
            f->current = (f->current + 1) % FEED_BUFFERS;
            f->at = 0;
        }
    }
    return TARN_OK;
}
