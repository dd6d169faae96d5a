/* Which record a request asks for: the five distributions, and the permutation that scatters the
 * popular ones. Pure; nothing here fails. */
#ifndef BENCH_DISTRIBUTION_H
#define BENCH_DISTRIBUTION_H

#include "bench/zipf.h"

enum distribution_kind {
    DISTRIBUTION_UNIFORM,
    DISTRIBUTION_ZIPFIAN,    /* scrambled: popular records lie anywhere in the key space */
    DISTRIBUTION_LATEST,     /* zipfian by age: the newest record is the most popular */
    DISTRIBUTION_HOTSPOT,    /* a share of the requests goes to a share of the records */
    DISTRIBUTION_SEQUENTIAL, /* one after the other, again from the start at the end */
};

struct distribution_options {
    enum distribution_kind kind;
    uint64_t domain;           /* records that exist or may come to exist, 1..ZIPF_N_MAX: below */
    double theta;              /* zipfian, latest */
    double hot_records_share;  /* hotspot: 0 < share <= 1 */
    double hot_requests_share; /* hotspot: 0..1 */
};

/* Read-only once made; shared by all threads. */
struct distribution {
    struct distribution_options options;
    struct zipf zipf; /* over the domain */
};

void distribution_init(struct distribution *d, const struct distribution_options *options);

/* One thread's stream of choices. */
struct chooser {
    const struct distribution *distribution;
    uint64_t random;       /* state of core/random.h */
    uint64_t next, stride; /* sequential: this thread's next, and the number of threads */
    struct zipf latest;    /* latest: over the records that existed at the last choice */
};

/* Thread number `thread` of `threads`; different seeds give independent streams. */
void chooser_init(struct chooser *c, const struct distribution *d, uint64_t seed, unsigned thread,
                  unsigned threads);

/* A record 0..limit-1. limit: records that exist now, 1 <= limit. The zipfian is over the whole
 * domain, choices >= limit being drawn again (as YCSB does where a workload inserts; uniformly
 * after 64 times), so that the popular records stay the same while the key space grows; where
 * nothing is inserted the domain is the number of records and the distribution exact. Uniform,
 * latest and hotspot are over [0, limit); a sequential thread visits thread, thread + threads, ...
 * and wraps at limit. */
uint64_t chooser_next(struct chooser *c, uint64_t limit);

/* A fixed permutation of 0..domain-1 without structure to the eye: a bijection of hardly more
 * numbers than that, repeated until it falls inside. rank < domain, domain 1..ZIPF_N_MAX. */
uint64_t distribution_scatter(uint64_t rank, uint64_t domain);

#endif
