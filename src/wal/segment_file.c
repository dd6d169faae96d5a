/* Segments as files: making them, filling room ahead, ending them.
 *
 * How: a new segment gets its header, is synced, then its directory is; nothing is filled ahead
 * before, so that a segment whose making was interrupted is empty. Only the flusher of a file does
 * that, after the segment before has been ended: cut back to its records and synced.
 *
 * Invariants
 * 1. When a record is written to a segment, its header and its name are durable.
 * 2. A number is used again only for a file that never had a sound header, or that could be
 * removed. Failure modes: those of the calls. Cutting and filling are no matter: filling after the
 * last record is what a reader expects, room that is not filled ahead makes syncs slower. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "wal/wal_internal.h"

#define PATH_BYTES  4096
#define FILL_PIECE  (32u << 10)
#define BLOCK_BYTES 4096u

static int path_of(const struct wal_file *f, uint64_t number, char ret_path[PATH_BYTES])
{
    char name[SEGMENT_NAME_BYTES];
    segment_name(f->index, number, name);
    int size = snprintf(ret_path, PATH_BYTES, "%s/%s", f->wal->directory, name);
    return size < PATH_BYTES ? 0 : -ENAMETOOLONG;
}

int segment_sync_directory(struct wal *wal)
{
    if (plant(PLANT_NO_DIRECTORY_SYNC))
        return 0;
    return os_sync_directory(wal->os, wal->directory_fd);
}

/* --- filling --- */

/* Write filling up to `end`. */
static int fill_to(struct wal_file *f, uint64_t end)
{
    unsigned char piece[FILL_PIECE];
    memset(piece, record_filling(f->written_encoding), sizeof piece);
    while (f->filled < end) {
        size_t size = end - f->filled < sizeof piece ? (size_t)(end - f->filled) : sizeof piece;
        int status = os_write_full(f->wal->os, f->fd, piece, size, f->filled);
        if (status != 0)
            return status;
        f->filled += size;
    }
    return 0;
}

int segment_fill(struct wal_file *f)
{
    if (f->filled < f->offset)
        f->filled = f->offset;
    if (f->filled - f->offset >= WAL_FILL_LOW)
        return 0;
    uint64_t end = (f->offset + WAL_FILL_BYTES) & ~(uint64_t)(BLOCK_BYTES - 1);
    int status = fill_to(f, end);
    return wal_is_room(status) ? 0 : status;
}

/* --- making --- */

static int write_header(struct wal_file *f, const struct segment_header *header,
                        const unsigned char bytes[SEGMENT_HEADER_BYTES])
{
    f->offset = SEGMENT_HEADER_BYTES;
    f->filled = f->soon = 0;
    atomic_store(&f->shrunk, false);
    f->written_encoding = header->encoding;
    return os_write_full(f->wal->os, f->fd, bytes, SEGMENT_HEADER_BYTES, 0);
}

int segment_create(struct wal_file *f, const struct segment_header *header,
                   const unsigned char bytes[SEGMENT_HEADER_BYTES], bool *ret_sync)
{
    const struct os *os = f->wal->os;
    char path[PATH_BYTES];
    ASSERT(f->fd < 0 && header->number > atomic_load(&f->number));
    *ret_sync = false;
    int flags = O_WRONLY | O_CREAT | (f->leftover == header->number ? O_TRUNC : O_EXCL);
    int status = path_of(f, header->number, path);
    if (status == 0)
        status = os->open(os, path, flags, 0666, &f->fd);
    if (status != 0)
        return status;
    status = write_header(f, header, bytes);
    if (status == 0) {
        status = os->data_sync(os, f->fd);
        *ret_sync = status != 0;
    }
    if (status != 0) {
        segment_remove(f, header->number);
        return status;
    }
    atomic_store_explicit(&f->number, header->number, memory_order_release);
    atomic_fetch_add_explicit(&f->wal->segments, 1, memory_order_relaxed);
    return 0;
}

void segment_remove(struct wal_file *f, uint64_t number)
{
    const struct os *os = f->wal->os;
    char path[PATH_BYTES];
    /* What they say changes nothing: nobody relies on this file. */
    (void)os->close(os, f->fd);
    f->fd = -1;
    f->leftover = path_of(f, number, path) == 0 && os->unlink(os, path) == 0 ? 0 : number;
}

/* --- ending --- */

int segment_truncate(struct wal_file *f)
{
    const struct os *os = f->wal->os;
    f->filled = 0;
    atomic_store(&f->shrunk, true);
    return os->truncate(os, f->fd, f->offset);
}

void segment_cut(struct wal_file *f)
{
    if (f->filled > f->offset)
        (void)segment_truncate(f); /* left as it is, it is filling */
}

void segment_close(struct wal_file *f)
{
    const struct os *os = f->wal->os;
    if (f->fd >= 0)
        (void)os->close(os, f->fd); /* all of it has been synced, or has failed */
    f->fd = -1;
}
