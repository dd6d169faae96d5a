/* What the query and the builder of the static function share: how a hash becomes an equation. */
#ifndef PACK_RIBBON_INTERNAL_H
#define PACK_RIBBON_INTERNAL_H

#include "pack/ribbon.h"

/* The kernel in plain 64-bit words, used where there is no AVX2; here so that a test can hold the
 * two against each other. */
void ribbon_values_portable(const struct ribbon *r, const struct ribbon_probe *probes, size_t count,
                            uint64_t *ret_values);

/* Rows by which starts reach beyond either end before they are clamped ("smash", RocksDB's
 * ribbon): the windows at the ends would otherwise cover their rows too thinly. Measured with
 * shards of 4096 keys at +0.6 %: share of seeds that work is 0.33 at 0, 0.83 at 32, 0.88 at 48,
 * 0.85 at 64, 0.64 at 96. */
#define RIBBON_SMASH_ROWS 48

/* The window's first row (0..rows - 128) and the coefficient, whose bit 0 is always set. */
static inline uint32_t ribbon_derive(uint64_t hash, unsigned seed, uint32_t rows,
                                     unsigned __int128 *ret_coefficient)
{
    typedef unsigned __int128 wide;
    /* The hash's top bits chose the shard; mix all of it again under the seed. */
    wide product = (wide)(hash ^ (seed * 0x9e3779b97f4a7c15ull)) * 0xd6e8feb86659fd93ull;
    uint64_t mixed = (uint64_t)product ^ (uint64_t)(product >> 64);
    mixed *= 0xff51afd7ed558ccdull;
    mixed ^= mixed >> 32;

    uint32_t starts = rows - RIBBON_WIDTH + 1;
    int64_t start = (int64_t)(((wide)mixed * (starts + 2 * RIBBON_SMASH_ROWS)) >> 64);
    start -= RIBBON_SMASH_ROWS;
    start = start < 0 ? 0 : start >= (int64_t)starts ? (int64_t)starts - 1 : start;

    product = (wide)(mixed ^ 0xa0761d6478bd642full) * 0xe7037ed1a0b428dbull;
    uint64_t low = (uint64_t)product ^ (uint64_t)(product >> 64);
    uint64_t high = mixed * 0x8ebc6af09c88c6e3ull;
    high ^= high >> 29;
    high *= 0x589965cc75374cc3ull;
    high ^= high >> 32;
    *ret_coefficient = (wide)high << 64 | low | 1;
    return (uint32_t)start;
}

#endif
