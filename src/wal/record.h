/* Records: how one change lies in a log file. Pure: bytes in, bytes out. doc/format-log.md.
 *
 * Each record carries its sequence, the highest sequence known to be synced when it was made, and a
 * checksum over everything, its length included, which is seeded by the checksum of the record
 * before it in the file (the first one's: by the segment header's) and the segment's salt. Making a
 * record has two steps, so that only the second one need be done in order: record_prepare() encodes
 * a change and sums its payload; record_seal() adds sequence and checksum.
 *
 * Encodings: each record begins with a head, which has a check of its own, salted, by which it is
 * recognised wherever it lies. In `binary` and `cbor` it has RECORD_HEAD_BYTES (in cbor as a byte
 * string before the payload's map, so that all is a sequence of CBOR items); `json` is one line of
 * text a record, and its head is the first 103 characters of it. */
#ifndef WAL_RECORD_H
#define WAL_RECORD_H

#include "core/buffer.h"
#include "core/change.h"

enum wal_encoding { WAL_BINARY, WAL_CBOR, WAL_JSON };
#define WAL_ENCODINGS 3

#define RECORD_HEAD_BYTES 32

/* "binary", "cbor", "json"; and back, false: no such encoding. */
const char *wal_encoding_name(enum wal_encoding encoding);
bool wal_encoding_parse(const char *name, enum wal_encoding *ret_encoding);

/* What seals a record; the chain goes on with what record_seal() returns. */
struct record_chain {
    uint64_t salt;     /* of the segment */
    uint64_t checksum; /* of the record before */
};

struct record_stamp {
    uint64_t sequence;     /* >= 1 */
    uint64_t durable_upto; /* < sequence; noted as the distance, at most 2^32-1 */
    bool more;             /* the next sequence belongs to the same step: all or none is replayed */
};

/* Encode a change at the end of `out`, with room for what record_seal() fills in. Threads: any.
 * Failure (memory, its bound): out->failed. Returns the offset of the record in out. */
size_t record_prepare(enum wal_encoding encoding, const struct change *change, struct buffer *out);

/* A prepared record of the binary encoding, made where it is to lie: how large it will be, and
 * making it there. */
size_t record_binary_size(const struct change *change);
void record_write_binary(const struct change *change, size_t size, unsigned char *out);

/* Complete a prepared record of `size` bytes where it lies; never fails, touches only its ends.
 * Updates chain->checksum. */
void record_seal(enum wal_encoding encoding, unsigned char *record, size_t size,
                 const struct record_stamp *stamp, struct record_chain *chain);

/* --- reading --- */

enum record_found {
    RECORD_FOUND, /* whole and sound */
    RECORD_END,   /* from here to the end of the bytes there is only filling */
    RECORD_SHORT, /* the bytes end within what may be a record */
    RECORD_BAD,   /* no sound record */
    RECORD_SEAL,  /* the seal of a clean end: nothing may follow but filling */
};

struct record_view {
    size_t size; /* bytes in the file */
    struct record_stamp stamp;
    struct change change; /* views into the bytes or into `scratch` */
};

/* Read the record at the start of `bytes`. chain: as after the record before; updated if FOUND or
 * SEAL. scratch: cleared, and filled with what has to be decoded. A failed allocation:
 * scratch->failed and RECORD_BAD. Hostile bytes are expected. */
enum record_found record_read(enum wal_encoding encoding, struct tarn_bytes bytes,
                              struct record_chain *chain, struct record_view *ret_view,
                              struct buffer *scratch);

/* Does a record that looks sound by itself lie somewhere in `bytes`, made when `sequence` was known
 * to be synced already (durable_upto >= sequence)? Then what is bad before it was lost later than
 * it was written: damage, not a torn end. */
bool record_evidence(enum wal_encoding encoding, struct tarn_bytes bytes, uint64_t salt,
                     uint64_t sequence);

/* Append the seal of a clean end, and what fills a segment's room ahead of its records. The seal
 * says that every sequence up to its own is synced, whatever the file: so it is written when they
 * are. */
void record_append_seal(enum wal_encoding encoding, uint64_t last_sequence,
                        struct record_chain *chain, struct buffer *out);
unsigned char record_filling(enum wal_encoding encoding); /* the byte */
/* That byte, or zeros, which are what is left of a size that was cut. */
bool record_only_filling(enum wal_encoding encoding, struct tarn_bytes bytes);

/* --- where the chain is broken --- */

/* What the head of a record says. */
struct record_mark {
    struct record_stamp stamp;
    bool seal;         /* or a record that claims to be synced itself */
    uint64_t checksum; /* not vouched for by the head's check */
};

/* The next head that looks sound by itself, at *at or after it, which becomes its place; the
 * payload is not looked at. False: none begins where there is room for a head. */
bool record_find(enum wal_encoding encoding, struct tarn_bytes bytes, uint64_t salt, size_t *at,
                 struct record_mark *ret_mark);

size_t record_head_bytes(enum wal_encoding encoding); /* of one head */
size_t record_bytes_max(enum wal_encoding encoding);  /* no record is larger */

#endif
