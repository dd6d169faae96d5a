/* A static function: 64-bit hash -> value of `bits` bits, stored at about 1.006 x the payload.
 *
 * Any hash gets an answer; only hashes that were built in get the right one, so the caller must
 * check it. Sharded ribbon retrieval: Dillinger, Walzer, "Ribbon filter: practically smaller than
 * Bloom and Xor" (2021), sections 2-4; Dillinger, Huebschle-Schneider, Sanders, Walzer, "Fast
 * succinct retrieval and approximate membership using ribbon" (2022).
 *
 * Layout. A shard is a system of `m` rows over GF(2), m a multiple of 8. Rows are stored in groups
 * of 8: `bits` bytes a group, byte j holding bit j of the 8 rows. A hash selects a window of 128
 * rows and a 128-bit coefficient; bit j of its value is the parity of (coefficient AND the
 * window's bits j). The window covers at most 17 groups, 17 x bits contiguous bytes.
 *
 *     shards[s] = first group << 8 | seed      (shards[shard_count] closes the last)
 *     groups    = all groups of all shards, then RIBBON_PAD_BYTES of anything readable
 *
 * Invariants: (1) shards[] is non-decreasing in its group numbers and every shard has at least
 * RIBBON_GROUPS_MIN groups; ribbon_check() decides that for bytes from a file. (2) After that a
 * query reads only groups[0 .. groups_bytes + RIBBON_PAD_BYTES).
 */
#ifndef PACK_RIBBON_H
#define PACK_RIBBON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tarn.h"

#define RIBBON_WIDTH         128
#define RIBBON_GROUPS_MIN    (RIBBON_WIDTH / 8)
#define RIBBON_WINDOW_GROUPS (RIBBON_WIDTH / 8 + 1)
#define RIBBON_PAD_BYTES     128 /* a window's last group and the widest vector load */
#define RIBBON_BITS_MAX      48
#define RIBBON_SHARD_KEYS    4096 /* aimed at; research: above 8K a shard needs many seeds */

/* A read-only view of a built function. */
struct ribbon {
    const uint64_t *shards;
    const unsigned char *groups;
    uint64_t shard_count;
    uint64_t groups_bytes;
    unsigned bits; /* 1..RIBBON_BITS_MAX */
};

/* How many shards a set of `keys` keys gets: a power of two below 256, else a multiple of 256, so
 * that a hash's top 8 bits alone select a range of shards or a part of one. */
uint64_t ribbon_shard_count(uint64_t keys);

static inline uint64_t ribbon_shard_of(uint64_t hash, uint64_t shard_count)
{
    return (uint64_t)(((unsigned __int128)hash * shard_count) >> 64);
}

/* Whether bytes from a file can be queried safely (invariants 1 and 2). */
bool ribbon_check(const struct ribbon *r);

/* A query between its two steps. */
struct ribbon_probe {
    const unsigned char *window; /* first group */
    unsigned char coefficient[RIBBON_WINDOW_GROUPS + 7];
};

/* Step 1: where to look; asks the processor to fetch it. */
void ribbon_probes_init(const struct ribbon *r, const uint64_t *hashes, size_t count,
                        struct ribbon_probe *ret_probes);
/* Step 2: the values. */
void ribbon_probes_values(const struct ribbon *r, const struct ribbon_probe *probes, size_t count,
                          uint64_t *ret_values);

/* Both steps for one hash. */
uint64_t ribbon_query(const struct ribbon *r, uint64_t hash);

/* --- building one shard --- */

struct ribbon_pair {
    uint64_t hash;
    uint64_t value; /* below 2^bits */
};

/* Reusable memory for ribbon_shard_build; one per thread. */
struct ribbon_workspace;
struct ribbon_workspace *ribbon_workspace_new(void); /* NULL if out of memory */
void ribbon_workspace_free(struct ribbon_workspace *w);

/* Solve one shard. All hashes must be distinct; if two with different values are equal, no seed
 * works and the answer is DUPLICATE: take them out and call again.
 * ret_groups: *ret_group_count x bits bytes, owned by the workspace until the next call.
 * Errors: NOMEM, DUPLICATE, TOOBIG (no seed works: a bug or a hostile hash). */
TARN_MUST int ribbon_shard_build(struct ribbon_workspace *w, const struct ribbon_pair *pairs,
                                 size_t count, unsigned bits, const unsigned char **ret_groups,
                                 size_t *ret_group_count, unsigned *ret_seed);

#endif
