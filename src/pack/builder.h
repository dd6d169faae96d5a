/* Building an index in one pass over the data, on all cores.
 *
 * scan   threads take chunks of whole records from a splitter, parse and hash them, and drop
 *        (hash, offset) into 256 partitions by the hash's top bits
 * solve  threads take partitions, cut them into shards and solve each shard's static function;
 *        equal hashes show up as an unsolvable shard and only then are looked into: records with
 *        the same key are duplicates, others become exceptions
 * join   header, tables and shards are laid out as they will lie in the file
 *
 * Memory: 16 bytes a record, plus the index; the data are not kept. */
#ifndef PACK_BUILDER_H
#define PACK_BUILDER_H

#include "pack/index.h"

struct builder_options {
    struct tarn_format format; /* never AUTO */
    enum tarn_duplicates duplicates;
    unsigned granule_log2;     /* 0: an index of bytes; else of blocks (index.h) */
    unsigned fingerprint_bits; /* with a granule */
    int64_t data_mtime_ns;
    unsigned threads;       /* at least 1 */
    tarn_progress progress; /* may be NULL; called on the calling thread */
    void *progress_context;
    uint64_t hash_mask; /* 0: all ones; fewer bits force equal hashes, for tests */
};

struct builder_report {
    uint64_t collisions; /* keys that became exceptions */
    uint64_t scan_us, solve_us;
};

/* Errors: CORRUPT, TOOBIG (bad record: offset and record set), DUPLICATE (policy ERROR), STALE
 * (the file changed meanwhile), IO, NOMEM, CANCELLED. */
TARN_MUST int builder_run(const struct source *source, const struct builder_options *options,
                          struct index **ret_index, struct builder_report *ret_report,
                          struct tarn_error *error);

/* A bad record was met, possibly out of order: read from the start to say which is the first. STALE
 * if there is none. */
TARN_MUST int builder_explain_bad_record(const struct source *source,
                                         const struct tarn_format *format,
                                         struct tarn_error *error);

/* Fill *error: this record, at byte `at`, repeats the key of the one at byte `of`. DUPLICATE. */
int builder_duplicate_error(const char *path, struct tarn_bytes key, uint64_t record, uint64_t at,
                            uint64_t of, struct tarn_error *error);

#endif
