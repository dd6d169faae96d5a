/* A data file's bytes in their order, read ahead: some large reads are always under way, direct
 * where the file system has that, so that the device does not wait for whoever takes the bytes.
 *
 * Threads: one at a time, any. */
#ifndef PACK_FEED_H
#define PACK_FEED_H

#include "os/ring.h"

#define FEED_BUFFERS          3
#define FEED_BUFFER_BYTES     (4u << 20)
#define FEED_BUFFER_BYTES_MIN (256u << 10)

struct feed {
    const struct os *os;
    const char *path; /* borrowed, for messages */
    int fd;
    uint64_t size; /* of the file */
    size_t buffer_bytes;
    struct ring *ring;
    void *memory; /* of all buffers */
    struct ring_read reads[FEED_BUFFERS];
    bool done[FEED_BUFFERS]; /* the read is back */
    uint64_t next_offset;    /* where the next read begins */
    unsigned current;        /* the buffer that bytes are taken from */
    size_t at;               /* in it */
};

/* Bytes from `offset` (a multiple of 4096) up to `size`, the file's. Errors: as opening, NOMEM. */
TARN_MUST int feed_open(struct feed *f, const struct os *os, const char *path, uint64_t offset,
                        uint64_t size, size_t buffer_bytes, struct tarn_error *error);
void feed_close(struct feed *f); /* allowed on a zeroed struct */

/* The next `size` bytes, of which there are so many. Errors: IO, STALE (the file got shorter). */
TARN_MUST int feed_take(struct feed *f, void *out, size_t size, struct tarn_error *error);

#endif
