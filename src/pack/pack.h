/* A pack: one version of an immutable data file in memory, with its index. Reads only.
 *
 * Threads: immutable after open; any number of threads may read. Its memory lives until the last
 * pack_unref(); views returned point into it. */
#ifndef PACK_PACK_H
#define PACK_PACK_H

#include "pack/index.h"

/* Keys handled together by pack_get_many; more are done in runs of this. */
#define PACK_BATCH 64

struct pack {
    const struct os *os;
    const unsigned char *data; /* the file's bytes, anonymous memory; NULL if empty */
    uint64_t data_bytes;
    struct index *index;
    bool index_built; /* was built at open, not read */
    uint64_t load_us;
    unsigned prefetch_bytes; /* of a record: the mean size, within reason */
    _Atomic uint64_t references;
};

/* Open as tarn_open() says. require_index: refuse instead of building a missing, stale or damaged
 * index, and check the format given against it. The caller holds one reference. */
TARN_MUST int pack_open(const struct os *os, const struct tarn_options *options, bool require_index,
                        struct pack **ret_pack, struct tarn_error *error);

void pack_ref(struct pack *pack);
void pack_unref(struct pack *pack); /* NULL is allowed */

/* Where the index of this data file lies: index_path, or path + ".tarnidx". Owned by the caller;
 * NULL if out of memory. */
char *pack_index_path(const struct tarn_options *options);

/* Build the index and write it, reading the data as a stream. See tarn_index_build(). */
TARN_MUST int pack_index_build(const struct os *os, const struct tarn_options *options,
                               struct tarn_index_report *ret_report, struct tarn_error *error);

/* Check every record of an open pack: whole, found under its key, and as many as the index says
 * (pack_verify.c). See tarn_verify(). */
TARN_MUST int pack_verify(const struct pack *pack, const struct tarn_options *options,
                          struct tarn_verify_report *ret_report, struct tarn_error *error);

/* --- reading (pack_read.c) --- */

/* TARN_OK or NOTFOUND. */
TARN_MUST int pack_get(const struct pack *pack, struct tarn_bytes key,
                       struct tarn_bytes *ret_value);

/* ret_values[i].data is NULL for a missing key. Returns how many were found. */
size_t pack_get_many(const struct pack *pack, const struct tarn_bytes *keys, size_t count,
                     struct tarn_bytes *ret_values);

/* See tarn_scan(). A cursor is the byte offset to go on from. */
void pack_scan(const struct pack *pack, uint64_t *cursor, size_t count, tarn_visit visit,
               void *context);

/* See tarn_random_key(). */
TARN_MUST int pack_random_key(const struct pack *pack, uint64_t random, struct tarn_bytes *ret_key);

/* Whether a record starts at this byte: exact, whatever the bytes look like. */
bool pack_record_starts(const struct pack *pack, uint64_t location);

#endif
