/* Where things lie in a `tarn` file: for its writer and its reader. doc/format-tarn.md has these
 * tables in words. All integers little-endian. */
#ifndef PACK_CHECKPOINT_LAYOUT_H
#define PACK_CHECKPOINT_LAYOUT_H

#include <assert.h>

#include "core/codec.h"
#include "core/hash.h"
#include "pack/checkpoint.h"

#define CHECKPOINT_VERSION 1
#define CHECKPOINT_MAGIC   "tarndata"

enum checkpoint_header_offset {
    HEADER_MAGIC = 0,     /* 8 bytes */
    HEADER_VERSION = 8,   /* u32 */
    HEADER_RESERVED = 12, /* zeros, 4 bytes */
    HEADER_STORE_ID = 16, /* u64 */
    HEADER_SALT = 24,     /* u64 */
    HEADER_SEQUENCE = 32, /* u64 */
    HEADER_TIME_MS = 40,  /* i64 */
    HEADER_ZERO = 48,     /* zeros, 8 bytes */
    HEADER_CHECKSUM = 56, /* u64, over all before it */
    HEADER_BYTES = 64,
};

enum checkpoint_block_offset {
    BLOCK_NUMBER = 0,         /* u64, from 0 */
    BLOCK_RECORDS = 8,        /* u32, >= 1 */
    BLOCK_BODY_BYTES = 12,    /* u32 */
    BLOCK_BODY_CHECKSUM = 16, /* u64, seeded by salt + number */
    BLOCK_CHECKSUM = 24,      /* u64, over the head before it, seeded by the salt */
    BLOCK_HEAD_BYTES = 32,
};

enum checkpoint_footer_offset {
    FOOTER_HEADER = 0,     /* the header once more, HEADER_BYTES */
    FOOTER_RECORDS = 64,   /* u64 */
    FOOTER_EXPIRING = 72,  /* u64 */
    FOOTER_BLOCKS = 80,    /* u64 */
    FOOTER_BYTES_ALL = 88, /* u64, the file's size */
    FOOTER_SUM = 96,       /* u64, of the blocks' checksums in their order */
    FOOTER_ZERO = 104,     /* zeros, 16 bytes */
    FOOTER_CHECKSUM = 120, /* u64, over all before it */
    FOOTER_BYTES = 128,
};
static_assert(FOOTER_HEADER + (int)HEADER_BYTES == (int)FOOTER_RECORDS, "layout");
static_assert(FOOTER_CHECKSUM + 8 == (int)FOOTER_BYTES, "layout");

/* A record: varint of the key's size; varint of twice the value's size, +1 if it expires; then
 * i64 expire_ms if so; key; value. */
#define RECORD_HEAD_BYTES_MAX (3 + 5 + 8)
static_assert(TARN_KEY_BYTES_MAX < 1u << 21, "a varint of 3 bytes");
static_assert(TARN_VALUE_BYTES_MAX * 2 + 1 < 1ull << 35, "a varint of 5 bytes");
static_assert(RECORD_HEAD_BYTES_MAX + TARN_KEY_BYTES_MAX + TARN_VALUE_BYTES_MAX < UINT32_MAX,
              "any record's size fits a block's");

/* What header and footer are summed with, so that one cannot stand for the other. */
enum { HEADER_SEED = 1, FOOTER_SEED = 2 };

static inline uint64_t checkpoint_sum(uint64_t sum, uint64_t block_checksum)
{
    return hash_checksum(&block_checksum, sizeof block_checksum, sum);
}

/* The checksum of a whole file, as its footer has it. Never 0, which stands for "any". */
static inline uint64_t checkpoint_footer_checksum(const unsigned char footer[FOOTER_BYTES])
{
    uint64_t checksum = hash_checksum(footer, FOOTER_CHECKSUM, FOOTER_SEED);
    return checksum != 0 ? checksum : 1;
}

#endif
