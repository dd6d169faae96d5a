/* Making an index file believe in itself again after its bytes were changed: the checksums are
 * computed anew, so that what stands behind them is reached. The offsets are those of
 * doc/index.md, written down a second time on purpose. */
#ifndef LIB_FORGE_H
#define LIB_FORGE_H

#include "core/codec.h"
#include "core/hash.h"

enum forge_offset {
    FORGE_VERSION = 8,
    FORGE_DATA_BYTES = 16,
    FORGE_DATA_MTIME_NS = 24,
    FORGE_DATA_CHECKSUM = 32,
    FORGE_RECORDS = 40,
    FORGE_DUPLICATES = 48,
    FORGE_KEY_BYTES = 56,
    FORGE_VALUE_BYTES = 64,
    FORGE_RECORD_BYTES_MIN = 72,
    FORGE_EXCEPTIONS = 80,
    FORGE_SHARDS = 88,
    FORGE_GROUPS_BYTES = 96,
    FORGE_BODY_BYTES = 104,
    FORGE_BODY_CHECKSUM = 112,
    FORGE_FORMAT = 120,
    FORGE_POLICY = 125,
    FORGE_BITS = 126,
    FORGE_SECRET = 128,
    FORGE_RESERVED = 320,
    FORGE_HEADER_CHECKSUM = 376,
    FORGE_HEADER_BYTES = 384,
};

/* Where a part of the body begins in the file, by the header's counts; 0 where they make no sense
 * for a file of this size. */
struct forge_layout {
    uint64_t shards, exceptions, checksums, sync, groups;
};

static inline struct forge_layout forge_layout(const unsigned char *file, size_t size)
{
    struct forge_layout l = {0};
    uint64_t shards = load_u64le(file + FORGE_SHARDS), data = load_u64le(file + FORGE_DATA_BYTES);
    uint64_t exceptions = load_u64le(file + FORGE_EXCEPTIONS);
    if (shards > size || exceptions > size || data > (uint64_t)1 << 40)
        return l;
    uint64_t blocks = (data + (1 << 20) - 1) >> 20;
    uint64_t sync = file[FORGE_FORMAT] == TARN_FORMAT_TEXT ? 0 : (data + 254) / 255;
    l.shards = FORGE_HEADER_BYTES;
    l.exceptions = l.shards + 8 * (shards + 1);
    l.checksums = l.exceptions + 16 * exceptions;
    l.sync = l.checksums + 8 * blocks;
    l.groups = l.sync + (sync + 7) / 8 * 8;
    if (l.groups > size)
        l = (struct forge_layout){0};
    return l;
}

/* The checksums of header and body. size >= FORGE_HEADER_BYTES. */
static inline void forge_checksums(unsigned char *file, size_t size)
{
    store_u64le(file + FORGE_BODY_CHECKSUM,
                hash_checksum(file + FORGE_HEADER_BYTES, size - FORGE_HEADER_BYTES, 0));
    store_u64le(file + FORGE_HEADER_CHECKSUM, hash_checksum(file, FORGE_HEADER_CHECKSUM, 1));
}

/* Belong to these data: their size and time, and their blocks' checksums where the counts leave
 * room for them. */
static inline void forge_data(unsigned char *file, size_t size, struct tarn_bytes data,
                              int64_t mtime_ns)
{
    store_u64le(file + FORGE_DATA_BYTES, data.size);
    store_u64le(file + FORGE_DATA_MTIME_NS, (uint64_t)mtime_ns);
    struct forge_layout l = forge_layout(file, size);
    if (l.checksums == 0)
        return;
    uint64_t blocks = (data.size + (1 << 20) - 1) >> 20;
    for (uint64_t b = 0; b < blocks; b++) {
        size_t left = data.size - (b << 20);
        store_u64le(file + l.checksums + 8 * b,
                    hash_checksum((const char *)data.data + (b << 20),
                                  left < (1 << 20) ? left : 1 << 20, 0));
    }
    store_u64le(file + FORGE_DATA_CHECKSUM, hash_checksum(file + l.checksums, 8 * blocks, 0));
}

/* Counts that add up: the groups take what is left of the file, the last shard ends there. */
static inline void forge_counts(unsigned char *file, size_t size)
{
    store_u64le(file + FORGE_BODY_BYTES, size - FORGE_HEADER_BYTES);
    struct forge_layout l = forge_layout(file, size);
    unsigned bits = file[FORGE_BITS];
    if (l.groups == 0 || bits == 0)
        return;
    uint64_t groups = (size - l.groups) / bits, shards = load_u64le(file + FORGE_SHARDS);
    store_u64le(file + FORGE_GROUPS_BYTES, size - l.groups);
    store_u64le(file + l.shards, load_u64le(file + l.shards) & 0xff);
    store_u64le(file + l.shards + 8 * shards, groups << 8);
}

#endif
