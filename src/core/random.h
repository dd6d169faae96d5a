/* Pseudo-random numbers from a seed, the same on every machine: splitmix64 (Steele, Lea, Flood,
 * "Fast splittable pseudorandom number generators", 2014). Not for secrets: those come from the
 * operating system. */
#ifndef CORE_RANDOM_H
#define CORE_RANDOM_H

#include <stdint.h>

/* Its finisher: a bijection that spreads every bit over all others. */
static inline uint64_t random_mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

/* The next of the stream that *state stands in; any state is a good one. */
static inline uint64_t random_next(uint64_t *state)
{
    return random_mix(*state += 0x9e3779b97f4a7c15ull);
}

/* 0..limit-1 from 64 random bits: the high half of their product (Lemire, "Fast random integer
 * generation in an interval", 2019). Without his correction a number's probability is off by up to
 * limit / 2^64 of itself. */
static inline uint64_t random_below(uint64_t bits, uint64_t limit)
{
    return (uint64_t)((unsigned __int128)bits * limit >> 64);
}

#endif
