/* A file seen through a window that slides along.
 *
 * How: what has been passed makes room for what comes; if nothing has been, the window doubles, and
 * becomes as it was once it can. For a small file it is only as large as that.
 *
 * Invariants
 * 1. at <= size <= capacity; base + size <= file_bytes.
 * 2. data holds the file's bytes [base, base + size).
 * Failure modes: I/O errors, a file that became shorter (IO); NOMEM. Then all stays as it was. */
#include "wal/window.h"

#include <errno.h>
#include <stdlib.h>

#include "core/assert.h"

void window_init(struct window *w, const struct os *os, size_t usual_bytes)
{
    *w = (struct window){.os = os, .fd = -1, .usual_bytes = usual_bytes};
}

void window_close(struct window *w)
{
    if (w->fd >= 0) /* only read from: a failing close loses nothing */
        (void)w->os->close(w->os, w->fd);
    w->fd = -1;
    w->file_bytes = w->base = 0;
    w->size = w->at = 0;
}

void window_done(struct window *w)
{
    window_close(w);
    free(w->data);
    w->data = NULL;
    w->capacity = 0;
}

static int resize(struct window *w, size_t capacity, const char *path, struct tarn_error *error)
{
    unsigned char *data = realloc(w->data, capacity);
    if (!data)
        return error_set(error, TARN_NOMEM, "%s: out of memory for a record", path);
    w->data = data;
    w->capacity = capacity;
    return TARN_OK;
}

int window_open(struct window *w, const char *path, struct tarn_error *error)
{
    struct os_file_info info;
    window_close(w);
    int status = os_open_data(w->os, path, &w->fd, &info, error);
    if (status != TARN_OK) {
        w->fd = -1;
        return status;
    }
    w->file_bytes = info.size;
    return TARN_OK;
}

/* Move what is in view to the start, and see to it that there is room behind it. */
static int make_room(struct window *w, const char *path, struct tarn_error *error)
{
    if (w->at > 0) {
        w->size -= w->at;
        memmove(w->data, w->data + w->at, w->size);
        w->base += w->at;
        w->at = 0;
        if (w->capacity > w->usual_bytes && w->size < w->usual_bytes)
            return resize(w, w->usual_bytes, path, error);
    }
    if (w->capacity < w->usual_bytes && w->capacity < w->file_bytes)
        return resize(w, w->file_bytes < w->usual_bytes ? (size_t)w->file_bytes : w->usual_bytes,
                      path, error);
    return w->size == w->capacity ? resize(w, 2 * w->capacity, path, error) : TARN_OK;
}

int window_more(struct window *w, const char *path, struct tarn_error *error)
{
    ASSERT(!window_is_last(w));
    int status = make_room(w, path, error);
    if (status != TARN_OK)
        return status;
    uint64_t left = w->file_bytes - w->base - w->size;
    size_t room = w->capacity - w->size;
    size_t wanted = left < room ? (size_t)left : room;
    int e = os_read_full(w->os, w->fd, w->data + w->size, wanted, w->base + w->size);
    if (e == -ENODATA)
        return error_set(error, TARN_IO, "%s: the file became shorter while it was read", path);
    if (e < 0)
        return os_error(error, e, "cannot read", path);
    w->size += wanted;
    w->read_bytes += wanted;
    return TARN_OK;
}

int window_seek(struct window *w, uint64_t offset, const char *path, struct tarn_error *error)
{
    ASSERT(offset <= w->file_bytes);
    if (offset >= w->base && offset <= w->base + w->size) {
        w->at = (size_t)(offset - w->base);
        return TARN_OK;
    }
    w->base = offset;
    w->size = w->at = 0;
    return window_is_last(w) ? TARN_OK : window_more(w, path, error);
}
