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
    FORGE_GRANULE = 320,
    FORGE_FINGERPRINT = 321,
    FORGE_LAYOUT = 322,
    FORGE_PAGES = 328,
    FORGE_RESERVED = 336,
    FORGE_HEADER_CHECKSUM = 376,
    FORGE_HEADER_BYTES = 384,
};

/* Where a part of the body begins in the file, by the header's counts; 0 where they make no sense
 * for a file of this size. */
struct forge_layout {
    uint64_t checksums, sync, starts, block_checksums, groups, shards, top, exceptions;
};

/* The body's first byte in the file; it follows the pages. */
static inline uint64_t forge_body_at(const unsigned char *file)
{
    if (file[FORGE_LAYOUT] != 1)
        return FORGE_HEADER_BYTES;
    return 4096 * (1 + load_u64le(file + FORGE_PAGES));
}

static inline struct forge_layout forge_layout(const unsigned char *file, size_t size)
{
    struct forge_layout l = {0};
    uint64_t shards = load_u64le(file + FORGE_SHARDS), data = load_u64le(file + FORGE_DATA_BYTES);
    uint64_t exceptions = load_u64le(file + FORGE_EXCEPTIONS);
    uint64_t pages = load_u64le(file + FORGE_PAGES);
    uint64_t groups = load_u64le(file + FORGE_GROUPS_BYTES);
    unsigned granule = file[FORGE_GRANULE];
    if (shards > size || exceptions > size || pages > size || groups > size || granule > 40 ||
        data > (uint64_t)1 << 40)
        return l;
    uint64_t blocks = (data + (1 << 20) - 1) >> 20;
    uint64_t sync = file[FORGE_FORMAT] == TARN_FORMAT_TEXT || granule ? 0 : (data + 254) / 255;
    uint64_t granules = granule ? (data + (1ull << granule) - 1) >> granule : 0;
    l.checksums = forge_body_at(file);
    l.sync = l.checksums + 8 * blocks;
    l.starts = l.sync + (sync + 7) / 8 * 8;
    l.block_checksums = l.starts + (granules * (granule < 16 ? 2 : 4) + 7) / 8 * 8;
    l.groups = l.block_checksums + (granules * 4 + 7) / 8 * 8;
    l.shards = l.groups + (groups + 7) / 8 * 8;
    l.top = l.shards + (shards ? 8 * (shards + 1) : 0);
    l.exceptions = l.top + 8 * pages;
    if (l.exceptions + 16 * exceptions > size)
        l = (struct forge_layout){0};
    return l;
}

/* The checksums of header and body. size >= FORGE_HEADER_BYTES. */
static inline void forge_checksums(unsigned char *file, size_t size)
{
    uint64_t at = forge_body_at(file), pieces[64], count = 0;
    for (; at < size && count < 64; at += 1 << 20)
        pieces[count++] = hash_checksum(file + at, size - at < 1 << 20 ? size - at : 1 << 20, 0);
    store_u64le(file + FORGE_BODY_CHECKSUM, hash_checksum(pieces, 8 * count, 0));
    store_u64le(file + FORGE_HEADER_CHECKSUM, hash_checksum(file, FORGE_HEADER_CHECKSUM, 2));
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

/* Counts that add up: the groups take what is left of the file by the other sections, the last
 * shard ends there. */
static inline void forge_counts(unsigned char *file, size_t size)
{
    unsigned bits = file[FORGE_BITS];
    store_u64le(file + FORGE_GROUPS_BYTES, 0);
    struct forge_layout l = forge_layout(file, size);
    uint64_t shards = load_u64le(file + FORGE_SHARDS);
    if (l.groups == 0 || bits == 0 || shards == 0)
        return;
    uint64_t others = l.exceptions + 16 * load_u64le(file + FORGE_EXCEPTIONS);
    uint64_t groups = (size - others) / bits;
    store_u64le(file + FORGE_GROUPS_BYTES, groups * bits);
    l = forge_layout(file, size);
    if (l.groups == 0) { /* the padding did not fit */
        groups -= groups > 8 ? 8 : groups;
        store_u64le(file + FORGE_GROUPS_BYTES, groups * bits);
        l = forge_layout(file, size);
    }
    store_u64le(file + FORGE_BODY_BYTES,
                l.exceptions + 16 * load_u64le(file + FORGE_EXCEPTIONS) - forge_body_at(file));
    store_u64le(file + l.shards, load_u64le(file + l.shards) & 0xff);
    store_u64le(file + l.shards + 8 * shards, groups << 8);
}

#endif
