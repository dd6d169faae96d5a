/* CBOR (RFC 8949) by pieces: a number, a string of definite length, the head of a map. As much of
 * it as records and dumps need; libcbor does the encoding and decoding. Pure; nothing is allocated
 * but by the buffer, whose appends follow core/buffer.h. */
#ifndef CORE_CBOR_PIECE_H
#define CORE_CBOR_PIECE_H

#include "core/buffer.h"

enum cbor_piece_type {
    CBOR_PIECE_OTHER, /* none of these */
    CBOR_PIECE_UNSIGNED,
    CBOR_PIECE_NEGATIVE, /* -1 - number */
    CBOR_PIECE_BYTES,
    CBOR_PIECE_TEXT,
    CBOR_PIECE_MAP, /* number: of pairs that follow */
};

struct cbor_piece {
    enum cbor_piece_type type;
    uint64_t number;
    struct tarn_bytes bytes; /* view into what was read */
};

enum cbor_outcome {
    CBOR_TAKEN,
    CBOR_SHORT, /* the bytes end within it */
    CBOR_BAD,   /* not CBOR */
};

/* Take the next piece off the front of *in; all but TAKEN leave it as it is. Of any bytes. */
enum cbor_outcome cbor_piece_take(struct tarn_bytes *in, struct cbor_piece *ret_piece);

void cbor_append_map(struct buffer *out, size_t pairs);
void cbor_append_text(struct buffer *out, struct tarn_bytes text);
void cbor_append_bytes(struct buffer *out, struct tarn_bytes bytes);
void cbor_append_int(struct buffer *out, int64_t value);

#endif
