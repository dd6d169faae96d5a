/* Cutting a data file into chunks of whole records, in one sequential pass, for several threads.
 *
 * Each splitter_next() takes a lock, reads on (or looks on, where the data are in memory already),
 * and hands out the next whole records; parsing and hashing them is the caller's and runs outside
 * the lock. On the way the splitter fills what only a sequential pass can: the checksum of every
 * block and, for formats whose records cannot be recognised by themselves, the sync table. With a
 * granule a chunk is whole blocks as well: the first record of the next chunk, and none before it,
 * is the first to start in its granule.
 *
 * Memory: for a file source each chunk owns a buffer of about two blocks, or of the largest
 * record; a memory source copies nothing. */
#ifndef PACK_SPLITTER_H
#define PACK_SPLITTER_H

#include <pthread.h>

#include "os/os.h"
#include "pack/feed.h"
#include "pack/format.h"

/* Where data come from: `memory` if its data is set, else the open file. Borrowed. */
struct source {
    const struct os *os;
    const char *path; /* for messages */
    int fd;
    uint64_t size;
    struct tarn_bytes memory;
};

/* size bytes at offset (within the source): a view into memory, or read into `buffer` (which is
 * enlarged as needed). Errors: IO, NOMEM, STALE (the file got shorter). */
TARN_MUST int source_read(const struct source *source, uint64_t offset, size_t size,
                          struct buffer *buffer, struct tarn_bytes *ret_view,
                          struct tarn_error *error);

/* Blocks that are checksummed, by log2 of bytes, and what the sync table speaks of. */
#define CHECKSUM_BLOCK_BYTES_LOG2 20
#define CHECKSUM_BLOCK_BYTES      (1ull << CHECKSUM_BLOCK_BYTES_LOG2)
#define SYNC_BLOCK_BYTES          255 /* so that an offset in it, or "none", fits a byte */
#define SYNC_NONE                 255 /* no record starts in this block */

static inline uint64_t checksum_block_count(uint64_t data_bytes)
{
    return (data_bytes + CHECKSUM_BLOCK_BYTES - 1) >> CHECKSUM_BLOCK_BYTES_LOG2;
}

/* 0 for formats that need none: in text a record starts after a newline. */
uint64_t sync_block_count(const struct tarn_format *format, uint64_t data_bytes);

struct chunk {
    struct tarn_bytes data; /* whole records only */
    uint64_t offset;        /* of data in the file */
    struct buffer buffer;   /* reused from call to call; buffer_done() at the end */
};

struct splitter {
    const struct source *source;
    const struct tarn_format *format;
    uint64_t *checksums;     /* checksum_block_count() of them; filled */
    unsigned char *sync;     /* sync_block_count(), or NULL; filled */
    unsigned granule_log2;   /* 0: none. May be set after splitter_init() */
    struct feed *feed;       /* NULL, or where the file's bytes come from. Likewise */
    pthread_mutex_t lock;    /* guards all below */
    uint64_t read_bytes;     /* read and checksummed so far */
    uint64_t chunk_offset;   /* start of the first record not handed out */
    uint64_t walk_offset;    /* start of the first record not known to be whole */
    uint64_t cut_offset;     /* what is before it may be handed out */
    uint64_t walk_granule;   /* binary: of the last record walked over */
    struct buffer carry;     /* file source: bytes chunk_offset..read_bytes */
    int status;              /* sticky */
    struct tarn_error error; /* of that */
    bool bad_record;         /* status is about a record: the reader can say which */
};

void splitter_init(struct splitter *s, const struct source *source,
                   const struct tarn_format *format, uint64_t *checksums, unsigned char *sync);
void splitter_done(struct splitter *s);

/* Begin at the record that starts at `offset`, the first one in its granule; before the first
 * splitter_next(). A feed begins with this offset's block. Errors: as splitter_next(). */
TARN_MUST int splitter_seek(struct splitter *s, uint64_t offset, struct tarn_error *error);

/* Where the next chunk begins. No other thread may be in a call. */
static inline uint64_t splitter_offset(const struct splitter *s)
{
    return s->chunk_offset;
}

/* The next chunk, valid until the next call with the same struct chunk. NOTFOUND at the end.
 * Errors: IO, NOMEM, STALE; CORRUPT or TOOBIG without text (and bad_record) for a bad record.
 * Any thread. */
TARN_MUST int splitter_next(struct splitter *s, struct chunk *chunk, struct tarn_error *error);

#endif
