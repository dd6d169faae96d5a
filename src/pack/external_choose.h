/* Choosing granule, fingerprint and layout of an index of blocks; pure. */
#ifndef PACK_EXTERNAL_CHOOSE_H
#define PACK_EXTERNAL_CHOOSE_H

#include "pack/external_fit.h"

struct choice_input {
    const char *path;                           /* for messages */
    uint64_t data_bytes, records, memory_bytes; /* none of them 0 */
    unsigned threads;
    int granule_log2, fingerprint_bits, layout; /* negative: to be chosen */
};

struct choice {
    enum index_layout layout;
    unsigned granule_log2, fingerprint_bits;
    uint64_t serving_bytes; /* memory of the index */
};

/* TOOBIG: what was asked for, or anything, does not fit; says what is needed and what would fit. */
TARN_MUST int external_choose(const struct choice_input *input, struct choice *ret_choice,
                              struct tarn_error *error);

#endif
