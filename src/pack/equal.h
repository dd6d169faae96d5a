/* Records whose keys have equal 64-bit hashes: the same key again (a duplicate, of which one
 * counts) or different keys (exceptions, kept exactly). */
#ifndef PACK_EQUAL_H
#define PACK_EQUAL_H

#include "pack/index.h"

/* What was found while resolving; sums over many calls. Zeroed struct to start. */
struct equal_result {
    struct index_exception *exceptions; /* owned; unsorted */
    size_t exception_count, exception_capacity;
    uint64_t duplicates;      /* records that do not count */
    uint64_t repeat_location; /* lowest location of a record that repeats a key; UINT64_MAX none */
    uint64_t repeat_of;       /* location of an earlier record with that key */
};

void equal_result_init(struct equal_result *r);
void equal_result_done(struct equal_result *r);

/* NOMEM. */
TARN_MUST int equal_add_exception(struct equal_result *r, uint64_t hash, uint64_t location);

/* Reduce pairs[0..*count) to those with a hash of their own, in place. The keys are read from the
 * source. Errors: STALE (the data changed), IO, NOMEM. */
TARN_MUST int equal_resolve(const struct source *source, const struct tarn_format *format,
                            enum tarn_duplicates policy, struct ribbon_pair *pairs, size_t *count,
                            struct equal_result *result, struct tarn_error *error);

#endif
