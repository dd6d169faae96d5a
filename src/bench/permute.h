/* A bijection of 0..2^bits-1 that looks random, another one for each seed: multiplications by odd
 * numbers and shifts within `bits` bits, each of which can be undone. Not for secrets. */
#ifndef BENCH_PERMUTE_H
#define BENCH_PERMUTE_H

#include <stdint.h>

/* x < 2^bits; bits: 0..64. A multiplication carries low bits up, a shift by half the width takes
 * them down again; three rounds, so that each bit of x reaches all others. */
static inline uint64_t permute(uint64_t x, unsigned bits, uint64_t seed)
{
    if (bits == 0)
        return 0;
    uint64_t mask = UINT64_MAX >> (64 - bits);
    unsigned half = (bits + 1) / 2;
    x = (x + seed) * 0xbf58476d1ce4e5b9ull & mask;
    x ^= x >> half;
    x = (x + (seed >> 21)) * 0x94d049bb133111ebull & mask;
    x ^= x >> half;
    x = (x + (seed >> 42)) * 0x9e3779b97f4a7c15ull & mask;
    return x ^ x >> half;
}

#endif
