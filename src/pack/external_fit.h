/* How an external build divides its memory; pure. */
#ifndef PACK_EXTERNAL_FIT_H
#define PACK_EXTERNAL_FIT_H

#include "pack/index.h"

#define FIT_PARTITIONS_LOG2_MIN 8
#define FIT_PARTITIONS_LOG2_MAX 12

struct fit_input {
    uint64_t memory_bytes, data_bytes, records; /* records: a guess */
    uint64_t record_bytes_max;                  /* a guess: of the largest record */
    unsigned threads;
    unsigned granule_log2;
    unsigned partitions_log2; /* 0: choose */
};

struct fit {
    unsigned partitions_log2;
    size_t spill_buffer_bytes;
    size_t feed_buffer_bytes;
    uint64_t unit_bytes; /* of one unit's pairs; twice that is in memory */
};

/* False: *ret_needed is the least that would do. */
bool fit_build(const struct fit_input *input, struct fit *ret_fit, uint64_t *ret_needed);

/* Memory of the index of so many keys while it is served. */
uint64_t fit_serving_bytes(uint64_t data_bytes, uint64_t keys, enum index_layout layout,
                           unsigned granule_log2, unsigned fingerprint_bits);

/* Of a table of blocks, while scanning. */
uint64_t fit_tables_bytes(uint64_t data_bytes, unsigned granule_log2);

/* How hashes are divided once it is known how many there are. */
struct fit_units {
    uint64_t shards; /* multiple of units */
    uint64_t units;  /* a power of two */
};
struct fit_units fit_units(uint64_t records, uint64_t partition_records_max,
                           unsigned partitions_log2, uint64_t unit_bytes);

#endif
