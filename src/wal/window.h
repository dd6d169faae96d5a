/* Inside of replay: a file seen through a window that slides along, so that memory is bounded by
 * the largest record and not by the file. One thread. */
#ifndef WAL_WINDOW_H
#define WAL_WINDOW_H

#include "os/os.h"

struct window {
    const struct os *os;
    int fd;              /* -1: no file */
    uint64_t file_bytes; /* its size when it was opened: nothing behind that is read */
    unsigned char *data;
    size_t capacity, size, at; /* bytes allocated; of the file; before what is next */
    uint64_t base;             /* offset of data[0] in the file */
    uint64_t read_bytes;       /* from all files */
    size_t usual_bytes;        /* capacity, unless something larger has to be seen whole */
};

void window_init(struct window *w, const struct os *os, size_t usual_bytes);
void window_done(struct window *w);

/* Look at the start of another file. path: for errors. Errors: those of os_open_data(), NOMEM. */
TARN_MUST int window_open(struct window *w, const char *path, struct tarn_error *error);
void window_close(struct window *w);

/* What is next, as far as it is in view; and is that up to the end of the file? */
static inline struct tarn_bytes window_view(const struct window *w)
{
    return (struct tarn_bytes){w->data + w->at, w->size - w->at};
}
static inline bool window_is_last(const struct window *w)
{
    return w->base + w->size == w->file_bytes;
}
static inline uint64_t window_offset(const struct window *w)
{
    return w->base + w->at;
}
static inline void window_pass(struct window *w, size_t size)
{
    w->at += size;
}

/* Bring more into view behind what is there, which goes on being in view but moves. Not if the view
 * is the last. Errors: IO, NOMEM. */
TARN_MUST int window_more(struct window *w, const char *path, struct tarn_error *error);

/* Go to an offset, at most the file's size. */
TARN_MUST int window_seek(struct window *w, uint64_t offset, const char *path,
                          struct tarn_error *error);

#endif
