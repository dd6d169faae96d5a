/* Where things lie in a `tarn` file: for its writer and its reader. doc/format-tarn.md has these
 * tables in words. All integers little-endian. */
#ifndef PACK_CHECKPOINT_LAYOUT_H
#define PACK_CHECKPOINT_LAYOUT_H

#include <assert.h>

#include "core/codec.h"
#include "core/hash.h"
#include "pack/checkpoint.h"

#define CHECKPOINT_VERSION        2
#define CHECKPOINT_VERSION_PIECES 3
#define CHECKPOINT_MAGIC          "tarndata"

enum checkpoint_header_offset {
    HEADER_MAGIC = 0,        /* 8 bytes */
    HEADER_VERSION = 8,      /* u32 */
    HEADER_BLOCK_BYTES = 12, /* u32; version 2: zeros */
    HEADER_STORE_ID = 16,    /* u64 */
    HEADER_SALT = 24,        /* u64 */
    HEADER_SEQUENCE = 32,    /* u64 */
    HEADER_TIME_MS = 40,     /* i64 */
    HEADER_SECRET = 48,      /* 192 bytes: with it keys are hashed */
    HEADER_ZERO = 240,       /* zeros, 8 bytes */
    HEADER_CHECKSUM = 248,   /* u64, over all before it */
    HEADER_BYTES = 256,
};
static_assert(HEADER_SECRET + HASH_SECRET_BYTES == (int)HEADER_ZERO, "layout");

enum checkpoint_block_offset {
    BLOCK_NUMBER = 0,         /* u64, from 0 */
    BLOCK_RECORDS = 8,        /* u32, >= 1 */
    BLOCK_BODY_BYTES = 12,    /* u32 */
    BLOCK_BODY_CHECKSUM = 16, /* u64, seeded by salt + number */
    BLOCK_CHECKSUM = 24,      /* u64, over the head before it, seeded by the salt */
    BLOCK_HEAD_BYTES = 32,
};

/* A body that is larger than a piece lies, in version 3, in pieces of this size, the last one may
 * be smaller; each ends with the checksum of all before it in the piece. */
enum checkpoint_piece {
    PIECE_BYTES = 1 << 20,
    PIECE_CHECKSUM_BYTES = 8, /* u64, seeded by checkpoint_piece_seed() */
    PIECE_DATA = PIECE_BYTES - PIECE_CHECKSUM_BYTES,
};

/* Of the directory: a block, by its first record's hash. Of the top: a page, by its first entry. */
enum checkpoint_entry_offset {
    ENTRY_HASH = 0,   /* u64 */
    ENTRY_OFFSET = 8, /* u64, of the block in the file */
    ENTRY_BYTES = 16,
};

/* A page of the directory; all but the last are full. */
enum checkpoint_page_offset {
    PAGE_ENTRIES = 0,     /* 255 entries; zeros behind the last */
    PAGE_NUMBER = 4080,   /* u64, from 0 */
    PAGE_CHECKSUM = 4088, /* u64, over all before it, seeded by salt and number */
    PAGE_BYTES = 4096,
    PAGE_ENTRIES_MAX = 255,
    PAGE_FULL = PAGE_ENTRIES_MAX * ENTRY_BYTES,
};
static_assert(PAGE_FULL == (int)PAGE_NUMBER, "layout");

enum checkpoint_footer_offset {
    FOOTER_HEADER = 0,         /* the header once more, HEADER_BYTES */
    FOOTER_RECORDS = 256,      /* u64 */
    FOOTER_EXPIRING = 264,     /* u64 */
    FOOTER_PAYLOAD = 272,      /* u64, bytes of all keys and values */
    FOOTER_BLOCKS = 280,       /* u64 */
    FOOTER_SUM = 288,          /* u64, of the blocks' checksums in their order */
    FOOTER_DIRECTORY = 296,    /* u64, where the blocks end and the directory begins */
    FOOTER_PAGES = 304,        /* u64, of the directory */
    FOOTER_PAGES_SUM = 312,    /* u64, of the pages' checksums in their order */
    FOOTER_TOP_CHECKSUM = 320, /* u64, over the top, seeded by the salt */
    FOOTER_BYTES_ALL = 328,    /* u64, the file's size */
    FOOTER_ZERO = 336,         /* zeros, 40 bytes */
    FOOTER_CHECKSUM = 376,     /* u64, over all before it */
    FOOTER_BYTES = 384,
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

/* The seed of a page's checksum, which is none of a block's. */
static inline uint64_t checkpoint_page_seed(uint64_t salt, uint64_t number)
{
    return ~(salt + number);
}

/* The seed of a piece's checksum, which is no body's and no page's of the same file (they would
 * need 2^40 blocks), nor another piece's. */
static inline uint64_t checkpoint_piece_seed(uint64_t salt, uint64_t number, uint64_t piece)
{
    return salt + number + ((piece + 1) << 40);
}

/* Do these look like the first bytes of a `tarn` file (of any version that there will be)? */
static inline bool checkpoint_looks_like(const void *data, size_t size)
{
    return size >= HEADER_BLOCK_BYTES && memcmp(data, CHECKPOINT_MAGIC, HEADER_VERSION) == 0 &&
           load_u32le((const char *)data + HEADER_VERSION) < 256;
}

/* A power of two within the limits. */
static inline bool checkpoint_block_bytes_good(uint32_t bytes)
{
    return bytes >= CHECKPOINT_BLOCK_BYTES && bytes <= CHECKPOINT_BLOCK_BYTES_MAX &&
           (bytes & (bytes - 1)) == 0;
}

/* Bytes that a body of this size takes in the file in pieces. */
static inline uint64_t checkpoint_stored_bytes(uint64_t body)
{
    return body <= PIECE_BYTES ? body
                               : body + (body + PIECE_DATA - 1) / PIECE_DATA * PIECE_CHECKSUM_BYTES;
}

static inline uint64_t checkpoint_sum(uint64_t sum, uint64_t checksum)
{
    return hash_checksum(&checksum, sizeof checksum, sum);
}

/* The checksum of a whole file, as its footer has it. Never 0, which stands for "any". */
static inline uint64_t checkpoint_footer_checksum(const unsigned char footer[FOOTER_BYTES])
{
    uint64_t checksum = hash_checksum(footer, FOOTER_CHECKSUM, FOOTER_SEED);
    return checksum != 0 ? checksum : 1;
}

#endif
