/* What a way of laying out a data set would cost: memory, time to build, reads and time per query.
 * The model behind `tarn plan` and the `auto` of `tarn index`; doc/plan.md has its arithmetic.
 *
 * Pure: no I/O, no allocation, no state. Any thread. Numbers are estimates and so doubles, but for
 * what an index holds, which is exact where the records are as even as the model takes them. */
#ifndef PACK_PLAN_H
#define PACK_PLAN_H

#include "core/bytes.h"
#include "core/status.h"

/* A device: what random reads of some sizes cost, and what reading on costs. */
struct plan_point {
    double bytes;
    double latency_us; /* of one read when it is alone */
    double reads_s;    /* reads a second when `depth` are under way */
};

enum { PLAN_POINTS_MAX = 12 };

struct plan_disk {
    double rate; /* bytes a second, in sequence; > 0 */
    unsigned depth;
    unsigned count;                            /* 1..PLAN_POINTS_MAX */
    struct plan_point points[PLAN_POINTS_MAX]; /* by bytes, growing */
};

/* Of a read of that many bytes: between two points in proportion, beyond the last at `rate`. */
double plan_disk_latency_us(const struct plan_disk *disk, double bytes);
/* Time from one read to the next when `depth` are under way. */
double plan_disk_interval_us(const struct plan_disk *disk, double bytes);

/* "hdd", "ssd", or a profile: "rate=200M,depth=32,4K=12ms/130,1M=17ms/100": the rate in bytes a
 * second, the depth, and of at least one size of reads the time of one alone and, behind a slash,
 * how many a second there are at that depth (left out: one over the time). Errors: INVALID, with
 * what is wrong. */
TARN_MUST int plan_disk_parse(struct tarn_bytes text, struct plan_disk *ret_disk,
                              struct tarn_error *error);
/* A profile that plan_disk_parse() reads as (nearly) this disk. */
enum { PLAN_DISK_TEXT_BYTES = 64 * (PLAN_POINTS_MAX + 1) };
const char *plan_disk_format(const struct plan_disk *disk, char out[PLAN_DISK_TEXT_BYTES]);

/* What is asked. Zero is a default where one is named. */
struct plan_input {
    uint64_t data_bytes, records; /* both > 0 */
    uint64_t memory_bytes;        /* for everything while serving; > 0 */
    unsigned cores;               /* 0: 1 */
    uint64_t queries;             /* 0: PLAN_QUERIES */
    double theta;                 /* of those of keys that are there: zipf; 0: uniform */
    double missing_ratio;         /* share of queries whose key is not there, 0..1 */
    struct plan_disk disk;
};

#define PLAN_QUERIES       100000000ull /* what `tarn index` counts with */
#define PLAN_THETA         0.99
#define PLAN_MISSING_RATIO 0.01

/* As `tarn index --memory` asks: hdd, PLAN_QUERIES, PLAN_THETA, PLAN_MISSING_RATIO. */
struct plan_input plan_input_default(uint64_t data_bytes, uint64_t records, uint64_t memory_bytes,
                                     unsigned cores);

enum plan_layout {
    PLAN_MEMORY,    /* function to the byte, and all data in memory */
    PLAN_BLOCKS,    /* function in memory, to a granule */
    PLAN_PAGES,     /* in memory where blocks begin; keys' hashes in pages on disk */
    PLAN_REWRITTEN, /* data copied in the order of the hashes */
    PLAN_LAYOUTS
};
const char *plan_layout_name(enum plan_layout layout);

/* Bounds of what is tried: those of an index. */
enum { PLAN_GRANULE_LOG2_MIN = 9, PLAN_GRANULE_LOG2_MAX = 24, PLAN_FINGERPRINT_BITS_MAX = 16 };

struct plan_candidate {
    enum plan_layout layout;
    unsigned granule_log2;     /* 0: to the byte */
    unsigned fingerprint_bits; /* F */
    unsigned location_bits;    /* b; 0 where there is no function */

    uint64_t index_bytes;  /* in memory, the data too with PLAN_MEMORY */
    uint64_t disk_bytes;   /* written beside the data */
    uint64_t memory_bytes; /* the least that --memory must be: index, reads under way, the rest */
    bool fits;             /* below are zeros if not */
    uint64_t cache_bytes;  /* what is left for copies of records */

    double build_s;                 /* until the first query can be answered */
    double hit_ratio;               /* of the cache, over all queries of keys that are there */
    double reads_hit, reads_absent; /* of a key that is not cached; of one that is not there */
    double reads_query;             /* mean over all queries */
    double read_bytes;              /* mean of one read */
    double latency_us;              /* mean of a query when it is alone */
    double query_us;                /* mean from one query to the next, `depth` under way */
    double total_s;                 /* build_s and all queries */
};

/* One candidate. fingerprint_bits counts for PLAN_BLOCKS only, granule_log2 for PLAN_BLOCKS and
 * PLAN_PAGES. */
struct plan_candidate plan_evaluate(const struct plan_input *input, enum plan_layout layout,
                                    unsigned granule_log2, unsigned fingerprint_bits);

/* The one with the least total time among granules and fingerprint bits of a layout; if none fits
 * that with the least memory. */
struct plan_candidate plan_best(const struct plan_input *input, enum plan_layout layout);

/* The same of one granule. */
struct plan_candidate plan_best_granule(const struct plan_input *input, enum plan_layout layout,
                                        unsigned granule_log2);

/* What `tarn index` chooses: the best of PLAN_MEMORY, PLAN_BLOCKS and PLAN_PAGES (rewriting is for
 * people to ask for). Errors: INVALID (input, says what), FULL (the memory is too little: says how
 * much is needed). */
TARN_MUST int plan_choose(const struct plan_input *input, struct plan_candidate *ret_candidate,
                          struct tarn_error *error);

/* The cache: share of `queries` of keys that are in it, when it begins empty, has room for
 * `capacity` of `keys` and keeps by SIEVE, ranks being asked by zipf(theta). */
double plan_hit_ratio(double keys, double theta, double capacity, double queries);

#endif
