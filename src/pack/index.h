/* The index of a data file: from a key's hash to where its record is, and what is needed to trust
 * it. File format: doc/index.md; one file: header, pages (if it has any), body.
 *
 * A file that is served from memory has an index of bytes (granule_log2 0): a static function gives
 * the byte where the record starts. One that stays on disk has an index of blocks: block i is the
 * records that start in bytes [i << granule_log2, (i + 1) << granule_log2) of the data, and either
 * a static function gives the block (and some bits of the hash), or pages in the order of hashes
 * do.
 *
 * In memory an index is the header, decoded, and the body as it lies in the file, in one mapping.
 * Pages are never in memory: whoever looks up reads them from the file.
 *
 * Threads: immutable after build or read; any thread may read. */
#ifndef PACK_INDEX_H
#define PACK_INDEX_H

#include "core/hash.h"
#include "os/os.h"
#include "pack/ribbon.h"
#include "pack/splitter.h"

#define INDEX_SUFFIX       ".tarnidx"
#define INDEX_HEADER_BYTES 384

#define INDEX_GRANULE_LOG2_MIN 9
#define INDEX_GRANULE_LOG2_MAX 24
#define INDEX_FINGERPRINT_MAX  16

/* Pages of layout INDEX_PAGES: a header of checksum (XXH3-64 of the rest of the page) and count
 * (u64 each), then entries in the order of (hash, block): hash (u64), block (index_entry_bytes() -
 * 8 bytes, little-endian), then zeros. */
#define INDEX_PAGE_BYTES        4096
#define INDEX_PAGE_HEADER_BYTES 16
#define INDEX_PAGES_AT          4096 /* where the pages begin in the file */

enum index_layout {
    INDEX_BLOCKS, /* a static function, in memory */
    INDEX_PAGES   /* pages in the file; in memory the first hash of each */
};

/* A key whose 64-bit hash another key has too: kept exactly, sorted by hash, then location. The
 * location is the record's byte; with a granule the number of its block, and a hash may have
 * several, each of which may hold the key: the last that does counts (with FIRST the first). */
struct index_exception {
    uint64_t hash, location;
};

struct index {
    const struct os *os;
    struct tarn_format format; /* never AUTO */
    enum tarn_duplicates duplicates_policy;
    uint64_t data_bytes;
    int64_t data_mtime_ns;
    uint64_t data_checksum;       /* over the block checksums */
    uint64_t records, duplicates; /* live keys = records - duplicates */
    uint64_t key_bytes_total, value_bytes_total;
    uint64_t record_bytes_min; /* 0 if there is none */
    uint64_t exception_count;
    unsigned char secret[HASH_SECRET_BYTES];
    uint64_t hash_mask; /* all ones; fewer only in tests, never in a file */
    enum index_layout layout;
    unsigned granule_log2;     /* 0: locations are bytes; else 9..24 */
    unsigned fingerprint_bits; /* 0..16; value = block << bits | low bits of the hash */
    uint64_t block_count;      /* granules of the data; 0 without a granule */
    uint64_t page_count;       /* layout INDEX_PAGES; else 0 */

    /* Layout INDEX_PAGES: only bits is set, to those of a block's number. */
    struct ribbon ribbon;
    const struct index_exception *exceptions;
    const uint64_t *checksums; /* checksum_block_count(data_bytes) */
    const unsigned char *sync; /* index_sync_count(); NULL if 0 */
    /* With a granule: where in granule i its first record starts; all ones: nowhere. One of the
     * two: 16 bits up to a granule of 32 KiB. Checked: below the granule, and 0 of granule 0. */
    const uint16_t *starts16;
    const uint32_t *starts32;
    const uint32_t *block_checksums; /* low half of XXH3-64 of a block's bytes; 0 of none */
    const uint64_t *top;             /* first hash of each page; non-decreasing (checked) */

    void *body;          /* the mapping all of the above point into */
    uint64_t body_bytes; /* as in the file */
};

/* What one says of a block that has no record. */
#define INDEX_NO_START UINT64_MAX

static inline uint64_t index_hash(const struct index *index, struct tarn_bytes key)
{
    return hash_key(index->secret, key) & index->hash_mask;
}

static inline uint64_t index_keys(const struct index *index)
{
    return index->records - index->duplicates;
}

/* The byte of the data where block `block` (< block_count) begins; INDEX_NO_START: it has none. */
static inline uint64_t index_block_start(const struct index *index, uint64_t block)
{
    uint64_t start = index->starts16 != NULL ? index->starts16[block] : index->starts32[block];
    uint64_t none = index->starts16 != NULL ? UINT16_MAX : UINT32_MAX;
    return start == none ? INDEX_NO_START : (block << index->granule_log2) + start;
}

/* All bytes of a block, which are whole records. False: it has none. */
bool index_block_range(const struct index *index, uint64_t block, uint64_t *ret_offset,
                       uint64_t *ret_size);

static inline uint32_t index_block_checksum(const void *data, size_t size)
{
    return (uint32_t)hash_checksum(data, size, 0);
}

/* What the static function answers for a key of this hash whose record starts at `offset`. */
static inline uint64_t index_value(const struct index *index, uint64_t hash, uint64_t offset)
{
    uint64_t mask = (1ull << index->fingerprint_bits) - 1;
    return offset >> index->granule_log2 << index->fingerprint_bits | (hash & mask);
}

/* Bits of a location: of the last byte, or of the last block; at least 1. */
unsigned index_location_bits(const struct index *index);

/* Of one entry of a page. */
static inline unsigned index_entry_bytes(const struct index *index)
{
    return 8 + (index->ribbon.bits + 7) / 8;
}

static inline unsigned index_page_entries(const struct index *index)
{
    return (INDEX_PAGE_BYTES - INDEX_PAGE_HEADER_BYTES) / index_entry_bytes(index);
}

/* Entries of the sync table: none with a granule, as the starts say the same. */
uint64_t index_sync_count(const struct index *index);

/* Bytes the index takes on disk; in memory that is less by its pages. */
uint64_t index_bytes(const struct index *index);
uint64_t index_memory_bytes(const struct index *index);

/* Where each section of the body begins, from the body's start; the same order as in the file. */
struct index_sections {
    uint64_t checksums, sync, starts, block_checksums, groups, shards, top, exceptions, end;
};

/* From the counts and ribbon.bits, shard_count, groups_bytes; sets block_count too. False if they
 * overflow. */
bool index_lay_out(struct index *index, struct index_sections *ret_sections);

/* Set every pointer, and the size of the body. body may be NULL to learn the size only. False if
 * the counts overflow. */
bool index_attach(struct index *index, void *body);

/* What precedes the body in the file: the header, and what is left up to INDEX_PAGES_AT and the
 * pages themselves where there are any. */
uint64_t index_body_at(const struct index *index);

/* XXH3-64 of the XXH3-64s of the body's pieces of a MiB each, so that one who writes it piece by
 * piece can stop and go on. */
#define INDEX_PIECE_BYTES (1ull << 20)
uint64_t index_body_checksum(const void *body, uint64_t body_bytes);

void index_header(const struct index *index, uint64_t body_checksum,
                  unsigned char ret_header[INDEX_HEADER_BYTES]);

/* Map memory for a body of index->body_bytes, with what queries may read behind it. */
TARN_MUST int index_body_map(struct index *index, struct tarn_error *error);

/* Write under `path` so that it appears whole or not at all. Errors: IO, NOSPACE, DENIED, ... */
TARN_MUST int index_write(const struct index *index, const char *path, struct tarn_error *error);

/* Read and check. What it must belong to: data_bytes and data_mtime_ns of the data file, format
 * (AUTO: any) and policy. Errors: MISSING, STALE (another version of the data or other settings),
 * CORRUPT (with the offset), NOMEM, IO, DENIED. */
TARN_MUST int index_read(const struct os *os, const char *path, const struct os_file_info *data,
                         const struct tarn_format *format, enum tarn_duplicates policy,
                         struct index **ret_index, struct tarn_error *error);

/* The same without a data file to hold it against (for inspection). */
TARN_MUST int index_read_any(const struct os *os, const char *path, struct index **ret_index,
                             struct tarn_error *error);

/* Whether the file begins as an index of blocks does, for data that stay on disk: not, if it is
 * none or not there. Errors: DENIED, IO, INVALID. */
TARN_MUST int index_is_of_blocks(const struct os *os, const char *path, bool *ret_blocks,
                                 struct tarn_error *error);

void index_free(struct index *index); /* NULL is allowed */

#endif
