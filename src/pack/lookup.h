/* Looking a key up in a pack on disk: a state machine that does no I/O. It says which bytes it
 * needs, gets them from whoever drives it (a ring, a pread, a test), and says what comes next:
 *
 *     int status = lookup_begin(pack, key, &l);
 *     while (status == LOOKUP_READ) {
 *         read l.size bytes at l.offset of l.fd into memory aligned to DISK_ALIGN_BYTES, until
 *         l.needed of them are there
 *         status = failed ? lookup_failed(&l, number, &error)
 *                         : lookup_next(&l, data, got, &found, &error);
 *     }
 *
 * Nothing it gets is believed before its checksum held, and the key is compared with the record's;
 * so a wrong index, equal hashes and a file that changed give an error or NOTFOUND, never another
 * key's value.
 *
 * A struct lookup borrows pack and key; it owns nothing and may be dropped in any state. Threads:
 * one at a time. */
#ifndef PACK_LOOKUP_H
#define PACK_LOOKUP_H

#include "pack/disk.h"

#define LOOKUP_READ 2 /* beside TARN_OK (0) and TARN_NOTFOUND (1) */

/* Reads of pieces are no larger than this. */
#define PIECE_READ_BYTES_MAX (DISK_FAR_BYTES + 2 * DISK_ALIGN_BYTES)

struct lookup {
    /* After LOOKUP_READ: what to read. Offset and size are multiples of DISK_ALIGN_BYTES; the read
     * may reach beyond the end of the file, where it comes short. */
    int fd;
    size_t size;   /* at least 1 */
    size_t needed; /* of these, from the first on; what comes behind is for alignment only */
    uint64_t offset;

    /* Private. */
    const struct disk_pack *pack;
    struct tarn_bytes key;
    uint64_t hash;
    uint64_t start, end;               /* the bytes wanted of the file, exactly */
    uint64_t number;                   /* of the block or page that is being read */
    uint64_t exception, exception_end; /* of the index's list: those still to be tried */
    uint64_t value_at;                 /* READING_TAIL: where the value begins in the file */
    uint64_t page;                     /* whose entry led here */
    uint64_t bound;                    /* blocks of this hash up to here have been tried */
    unsigned char reading;             /* enum lookup_reading */
};

/* Where a value lies that is not read at once. */
struct lookup_far {
    uint64_t offset;                     /* DISK_HASHED: in the block's body; else in the file */
    uint64_t size;                       /* bytes, over 0 */
    uint64_t block_offset, block_number; /* DISK_HASHED */
};

struct lookup_found {
    struct tarn_record record; /* key as asked for; value: a view into the data read */
    bool far;                  /* the value's data is NULL, its size right; it lies there: */
    struct lookup_far place;
};

/* Bytes of the largest read that is ever asked for, pieces included. */
uint64_t lookup_read_bytes_max(const struct disk_pack *pack);

/* NOTFOUND (known without a read) or LOOKUP_READ. */
TARN_MUST int lookup_begin(const struct disk_pack *pack, struct tarn_bytes key, struct lookup *ret);

/* What was asked for has been read: `size` bytes of it, fewer than l->size only because the file
 * ends; they may be moved within `data`. TARN_OK, NOTFOUND, LOOKUP_READ: more is needed, what was
 * read no longer. Errors, with path and offset: CORRUPT, STALE (the file is shorter than when it
 * was opened). Whether the key is there is not known then; other keys are not affected. */
TARN_MUST int lookup_next(struct lookup *l, void *data, size_t size, struct lookup_found *ret_found,
                          struct tarn_error *error);

/* The read failed with this negative errno: fills the error with path and offset; returns IO. */
int lookup_failed(const struct lookup *l, int negative_errno, struct tarn_error *error);

/* --- a far value, piece by piece --- */

struct piece {
    int fd; /* what to read, as in struct lookup; at most PIECE_READ_BYTES_MAX */
    size_t size, needed;
    uint64_t offset;

    const struct disk_pack *pack; /* private */
    struct lookup_far value;
    uint64_t at;
};

/* at: byte of the value, below its size, to have the piece from. Pieces need not be read in order,
 * and several may be under way. */
void piece_begin(const struct disk_pack *pack, const struct lookup_far *value, uint64_t at,
                 struct piece *ret);
/* As lookup_next(). ret_view: bytes of the value from `at` on, 1..DISK_FAR_BYTES; the next piece
 * begins behind them. Errors: CORRUPT, STALE. */
TARN_MUST int piece_finish(const struct piece *p, void *data, size_t size,
                           struct tarn_bytes *ret_view, struct tarn_error *error);
int piece_failed(const struct piece *p, int negative_errno, struct tarn_error *error);

#endif
