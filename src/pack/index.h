/* The index of a data file: a static function from key hash to the byte where the record starts,
 * and what is needed to trust it. File format: doc/index.md; one file, header then body.
 *
 * In memory an index is the header, decoded, and the body as it lies in the file, in one mapping.
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

/* A key whose 64-bit hash another key has too: kept exactly, sorted by hash. */
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

    struct ribbon ribbon;
    const struct index_exception *exceptions;
    const uint64_t *checksums; /* checksum_block_count(data_bytes) */
    const unsigned char *sync; /* sync_block_count(format, data_bytes); NULL if 0 */

    void *body;          /* the mapping all of the above point into */
    uint64_t body_bytes; /* as in the file */
};

static inline uint64_t index_hash(const struct index *index, struct tarn_bytes key)
{
    return hash_key(index->secret, key) & index->hash_mask;
}

static inline uint64_t index_keys(const struct index *index)
{
    return index->records - index->duplicates;
}

/* Bytes the index takes in memory and on disk. */
uint64_t index_bytes(const struct index *index);

/* Set every pointer from the counts and ribbon.bits, shard_count, groups_bytes; and the size of
 * the body. body may be NULL to learn body_bytes only. False if the counts overflow. */
bool index_attach(struct index *index, void *body);

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

void index_free(struct index *index); /* NULL is allowed */

#endif
