/* Blocks of a `tarn` file and the records in them, decoded: for all who read such a file. Pure
 * functions; the bytes are hostile. doc/format-tarn.md. */
#ifndef PACK_CHECKPOINT_BLOCK_H
#define PACK_CHECKPOINT_BLOCK_H

#include "pack/checkpoint_layout.h"

struct checkpoint_block {
    uint64_t number, body_checksum, checksum;
    uint32_t records, body_bytes;
};

/* NULL, or what is wrong with a head, behind which a body of at most `left` bytes has room. */
static inline const char *checkpoint_decode_head(const unsigned char h[BLOCK_HEAD_BYTES],
                                                 uint64_t salt, uint64_t left,
                                                 struct checkpoint_block *ret_block)
{
    struct checkpoint_block b = {
        .number = load_u64le(h + BLOCK_NUMBER),
        .records = load_u32le(h + BLOCK_RECORDS),
        .body_bytes = load_u32le(h + BLOCK_BODY_BYTES),
        .body_checksum = load_u64le(h + BLOCK_BODY_CHECKSUM),
        .checksum = load_u64le(h + BLOCK_CHECKSUM),
    };
    if (b.checksum != hash_checksum(h, BLOCK_CHECKSUM, salt))
        return "a block's head does not match its checksum";
    if (b.records == 0 || b.records > b.body_bytes / 2)
        return "impossible count of records";
    if (b.body_bytes > left)
        return "a block is longer than its place";
    *ret_block = b;
    return NULL;
}

/* One piece of a body, `size` bytes with its checksum: is it sound? */
static inline bool checkpoint_piece_sound(const struct checkpoint_block *b,
                                          const unsigned char *bytes, size_t size, uint64_t piece,
                                          uint64_t salt)
{
    return size > PIECE_CHECKSUM_BYTES &&
           load_u64le(bytes + size - PIECE_CHECKSUM_BYTES) ==
               hash_checksum(bytes, size - PIECE_CHECKSUM_BYTES,
                             checkpoint_piece_seed(salt, b->number, piece));
}

/* Is the body sound? pieces: it is of version 3; then its pieces are moved together. b->body_bytes:
 * before, what it takes in the file; afterwards, the records' bytes. */
static inline bool checkpoint_open_body(struct checkpoint_block *b, unsigned char *body,
                                        uint64_t salt, bool pieces)
{
    size_t size = 0;
    if (!pieces || b->body_bytes <= PIECE_BYTES)
        return hash_checksum(body, b->body_bytes, salt + b->number) == b->body_checksum;
    for (uint64_t piece = 0, at = 0; at < b->body_bytes; piece++, at += PIECE_BYTES) {
        size_t left = b->body_bytes - (size_t)at, some = left < PIECE_BYTES ? left : PIECE_BYTES;
        if (!checkpoint_piece_sound(b, body + at, some, piece, salt))
            return false;
        memmove(body + size, body + at, some - PIECE_CHECKSUM_BYTES);
        size += some - PIECE_CHECKSUM_BYTES;
    }
    b->body_bytes = (uint32_t)size;
    return b->body_checksum == 0;
}

/* load_varint(), quick for one byte. */
static inline int checkpoint_load_size(const unsigned char *p, size_t size, uint64_t *ret_value)
{
    if (size > 0 && p[0] < 0x80) {
        *ret_value = p[0];
        return 1;
    }
    return load_varint(p, size, ret_value);
}

/* What stands before a record's value, which is not looked at: key, expiry, the value's size. *at
 * is moved to where it begins. False: there is none. */
static inline bool checkpoint_decode_start(const unsigned char *body, size_t size, size_t *at,
                                           struct tarn_record *ret)
{
    uint64_t key, value;
    size_t i = *at;
    int n = checkpoint_load_size(body + i, size - i, &key);
    if (n <= 0 || key > TARN_KEY_BYTES_MAX)
        return false;
    i += (size_t)n;
    n = checkpoint_load_size(body + i, size - i, &value);
    if (n <= 0 || value >> 1 > TARN_VALUE_BYTES_MAX)
        return false;
    i += (size_t)n;
    bool expires = value & 1;
    if (size - i < key + (expires ? 8 : 0))
        return false;
    ret->expire_ms = expires ? (int64_t)load_u64le(body + i) : 0;
    i += expires ? 8 : 0;
    ret->key = (struct tarn_bytes){body + i, key};
    ret->value = (struct tarn_bytes){NULL, value >> 1};
    *at = i + key;
    return !expires || ret->expire_ms != 0;
}

/* The record at *at, which is moved behind it; false: there is none. */
static inline bool checkpoint_decode_record(const unsigned char *body, size_t size, size_t *at,
                                            struct tarn_record *ret)
{
    size_t i = *at;
    if (!checkpoint_decode_start(body, size, &i, ret) || size - i < ret->value.size)
        return false;
    ret->value.data = body + i;
    *at = i + ret->value.size;
    return true;
}

/* Up to `want` records from *at on; fewer: there is none. */
static inline size_t checkpoint_decode_records(const unsigned char *body, size_t size, size_t *at,
                                               struct tarn_record *ret_records, size_t want)
{
    size_t count = 0;
    while (count < want && checkpoint_decode_record(body, size, at, &ret_records[count]))
        count++;
    return count;
}

#endif
