/* Bytes put aside on disk in many streams: whoever has some appends them to a stream; later each
 * stream is read back whole. One file, written from its beginning to its end, so that a disk with
 * a head writes as fast as it can; it is made of extents, each the bytes of one stream, as many as
 * that stream's buffer held, with a header by which they are found and checked again.
 *
 * Threads: spill_append() by any number at once; all else by one, while there is no append. */
#ifndef PACK_SPILL_H
#define PACK_SPILL_H

#include <pthread.h>

#include "os/os.h"

#define SPILL_HEADER_BYTES     48 /* so that what is behind it in a page is whole pairs */
#define SPILL_BUFFER_BYTES_MIN 4096u

struct spill_extent {
    uint64_t offset; /* of its header in the file */
    uint32_t bytes;  /* behind the header */
    uint32_t stream;
};

struct spill_buffer {
    pthread_mutex_t lock;
    unsigned char *data; /* the header's place, then `used` bytes */
    size_t used;
};

struct spill {
    const struct os *os;
    const char *path; /* borrowed */
    int fd;
    uint64_t id;         /* of this build: an extent of another one is refused */
    size_t buffer_bytes; /* of one buffer, header and all */
    unsigned streams;
    struct spill_buffer *buffers;
    void *memory;

    pthread_mutex_t lock; /* guards all below */
    uint64_t end;         /* of the file */
    struct spill_extent *extents;
    size_t extent_count, extent_capacity;
};

/* Create the file, or go on with one of `end` bytes (0: create), all of whose extents are read;
 * what lies behind them is cut off. path is borrowed. Errors: those of opening, writing, CORRUPT
 * (it is not what it was), NOMEM. */
TARN_MUST int spill_open(struct spill *s, const struct os *os, const char *path, uint64_t id,
                         unsigned streams, size_t buffer_bytes, uint64_t end,
                         struct tarn_error *error);
/* The file stays. Allowed on a zeroed struct. */
void spill_close(struct spill *s);

/* Put bytes aside. Errors: IO, NOSPACE, NOMEM; it can only be closed then. */
TARN_MUST int spill_append(struct spill *s, unsigned stream, const void *data, size_t size,
                           struct tarn_error *error);
/* Write out what is in buffers. */
TARN_MUST int spill_flush(struct spill *s, struct tarn_error *error);
/* Flush, and wait until all is on the disk. */
TARN_MUST int spill_sync(struct spill *s, struct tarn_error *error);

/* Buffers of another size from now on, such as small ones when only few streams go on. After
 * spill_flush(). NOMEM. */
TARN_MUST int spill_resize(struct spill *s, size_t buffer_bytes, struct tarn_error *error);

/* Bytes of a stream that are in the file. */
uint64_t spill_bytes(const struct spill *s, unsigned stream);

/* Called with each piece of a stream, in the order of the file; the view is valid during the call.
 * A status other than TARN_OK ends the reading. */
typedef int (*spill_take)(void *context, struct tarn_bytes piece, struct tarn_error *error);

/* Read streams first..last back, each once by spill_group(); `buffer` is memory for an extent. Any
 * number of threads, each with its own buffer. Errors: IO, CORRUPT, NOMEM, what `take` gave. */
TARN_MUST int spill_read(const struct spill *s, unsigned first, unsigned last,
                         struct buffer *buffer, spill_take take, void *context,
                         struct tarn_error *error);

/* Order the extents by stream, for spill_read() and spill_bytes(). After the last spill_flush(), or
 * as often as there is something new. */
void spill_group(struct spill *s);

#endif
