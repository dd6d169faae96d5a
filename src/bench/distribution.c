/* Which record a request asks for.
 *
 * How: hotspot is YCSB's HotspotIntegerGenerator (the hot records are the first ones, as generated
 * keys are scattered already), latest its SkewedLatestGenerator. Ranks of the zipfian become
 * records by a permutation, so that each record has one rank.
 *
 * Invariants
 * 1. A choice is below the limit it was asked for, whatever the domain and the thread.
 * 2. Choices depend on seed, thread, threads and the limits alone.
 * Failure modes: none. A zipfian whose limit is a tiny part of its domain would draw for ever;
 * after REDRAWS_MAX draws it chooses uniformly (at a limit of 4/5 of the domain: once in 10^44). */
#include "bench/distribution.h"

#include "core/assert.h"
#include "core/random.h"

#define REDRAWS_MAX 64

void distribution_init(struct distribution *d, const struct distribution_options *options)
{
    ASSERT(options->domain >= 1);
    d->options = *options;
    zipf_init(&d->zipf, options->domain, options->theta);
}

void chooser_init(struct chooser *c, const struct distribution *d, uint64_t seed, unsigned thread,
                  unsigned threads)
{
    ASSERT(thread < threads);
    *c = (struct chooser){
        .distribution = d,
        .random = random_mix(random_mix(seed) + thread + 1),
        .next = thread,
        .stride = threads,
        .latest = d->zipf,
    };
}

static inline uint64_t uniform(uint64_t *random, uint64_t limit)
{
    return random_below(random_next(random), limit);
}

/* 32 bits that depend on all of x < 2^32, the high ones most; two products at the same time. */
static inline uint64_t spread(uint64_t x)
{
    return (uint32_t)(x * 0x94d049bb133111ebull ^ x * 0xbf58476d1ce4e5b9ull >> 32);
}

/* A permutation of 0 .. high_count * 2^low_bits - 1: three rounds of a Feistel network, each of
 * which can be undone as it changes one part by what the other one says (Luby and Rackoff, "How to
 * construct pseudorandom permutations", 1988). Both parts are below 2^32. */
static inline uint64_t feistel(uint64_t x, uint64_t high_count, unsigned low_bits)
{
    uint64_t mask = (1ull << low_bits) - 1, high = x >> low_bits, low = x & mask;
    high += spread(low + 0x6a09e667) * high_count >> 32;
    high -= high >= high_count ? high_count : 0;
    low ^= spread(high + 0xf3bcc908) & mask;
    high += spread(low + 0xbb67ae85) * high_count >> 32;
    high -= high >= high_count ? high_count : 0;
    return high << low_bits | low;
}

uint64_t distribution_scatter(uint64_t rank, uint64_t domain)
{
    ASSERT(rank < domain);
    unsigned low_bits = (65 - (unsigned)__builtin_clzll(domain)) / 2;
    uint64_t high_count = ((domain - 1) >> low_bits) + 1;
    do /* on the same cycle of the permutation: ends at rank itself at the latest */
        rank = feistel(rank, high_count, low_bits);
    while (__builtin_expect(rank >= domain, 0));
    return rank;
}

static uint64_t next_zipfian(struct chooser *c, uint64_t limit)
{
    const struct zipf *z = &c->distribution->zipf;
    for (int i = 0; i < REDRAWS_MAX; i++) {
        uint64_t record = distribution_scatter(zipf_next(z, &c->random), z->n);
        if (record < limit)
            return record;
    }
    return uniform(&c->random, limit);
}

static uint64_t next_latest(struct chooser *c, uint64_t limit)
{
    if (c->latest.n != limit)
        zipf_resize(&c->latest, limit);
    return limit - 1 - zipf_next(&c->latest, &c->random);
}

static uint64_t next_hotspot(struct chooser *c, uint64_t limit)
{
    const struct distribution_options *o = &c->distribution->options;
    uint64_t hot = (uint64_t)((double)limit * o->hot_records_share);
    hot = hot < 1 ? 1 : hot < limit ? hot : limit;
    double part = (double)(int64_t)(random_next(&c->random) >> 11) * 0x1p-53;
    if (part < o->hot_requests_share || hot == limit)
        return uniform(&c->random, hot);
    return hot + uniform(&c->random, limit - hot);
}

/* next stays congruent to the thread's number modulo stride, so that where it began is known. */
static uint64_t next_sequential(struct chooser *c, uint64_t limit)
{
    if (c->next >= limit)
        c->next %= c->stride;
    uint64_t record = c->next;
    c->next += c->stride;
    return record < limit ? record : record % limit; /* fewer records than threads */
}

uint64_t chooser_next(struct chooser *c, uint64_t limit)
{
    switch (c->distribution->options.kind) {
    case DISTRIBUTION_ZIPFIAN:
        return next_zipfian(c, limit);
    case DISTRIBUTION_LATEST:
        return next_latest(c, limit);
    case DISTRIBUTION_HOTSPOT:
        return next_hotspot(c, limit);
    case DISTRIBUTION_SEQUENTIAL:
        return next_sequential(c, limit);
    case DISTRIBUTION_UNIFORM:
        break;
    }
    return uniform(&c->random, limit);
}
