/* The longest common subsequence of two byte strings, and where it lies in them.
 *
 *     size_t bytes = lcs_bytes(a, b, true);
 *     void *memory = ... at least `bytes` ...
 *     struct lcs lcs;
 *     lcs_solve(&lcs, a, b, memory, true);
 *     ... lcs.length ...
 *     struct lcs_match match;
 *     while (lcs_next(&lcs, &match)) ...
 *
 * Of several subsequences of that length it is the one that Redis finds. Pure: memory is the
 * caller's, and used until the last lcs_next(); a and b are borrowed as long. */
#ifndef CORE_LCS_H
#define CORE_LCS_H

#include "core/bytes.h"

struct lcs {
    size_t length; /* of the subsequence */
    struct tarn_bytes a, b;
    unsigned char *rows;   /* a bit for each pair of positions; NULL without matches */
    size_t row_bytes;      /* from one row to the next */
    uint64_t *columns;     /* the present row's working vector, `words` long */
    uint64_t *masks;       /* vectors of where in b a byte stands */
    size_t words;          /* 64-bit words in a vector of b's positions */
    uint16_t mask_of[256]; /* which vector is a byte's; 0: it is not in a or not in b */
    size_t a_left, b_left; /* lcs_next(): what is not yet walked */
};

/* One run of bytes that follow each other in the subsequence, in a and in b. */
struct lcs_match {
    size_t a_start, b_start, size; /* size >= 1 */
};

/* Memory needed, in bytes: about a bit for each pair of positions with matches, without them a few
 * per byte of b. Sizes whose product times 4 fits 64 bits. */
size_t lcs_bytes(struct tarn_bytes a, struct tarn_bytes b, bool matches);

/* Takes a.size * b.size / 64 steps. memory: lcs_bytes() of it, aligned for words; matches: is
 * lcs_next() to be called? */
void lcs_solve(struct lcs *lcs, struct tarn_bytes a, struct tarn_bytes b, void *memory,
               bool matches);

/* The next run, from the ends of both strings to their beginnings; false: there is none. Each is as
 * long as can be. */
bool lcs_next(struct lcs *lcs, struct lcs_match *ret_match);

#endif
