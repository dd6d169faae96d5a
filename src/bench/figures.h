/* What a measurement found. Filled by run.h, printed by report.h. */
#ifndef BENCH_FIGURES_H
#define BENCH_FIGURES_H

#include "bench/tally.h"

/* One point of the series over time: about a second. */
struct figures_point {
    double at_s;    /* end of the interval, since the start */
    double seconds; /* its length */
    uint64_t operations, errors;
    double mean_us, p50_us, p99_us, p999_us, max_us; /* of the requests answered in it */
};

struct figures_server {
    bool local; /* its processes were found on this machine */
    unsigned processes;
    double cpu_s;          /* processor time during the measurement, user and system */
    uint64_t memory_bytes; /* resident, at the end */
};

/* What a store in this process wrote to its log. */
struct figures_log {
    bool kept; /* there is one */
    uint64_t records, bytes, syncs;
    double sync_s;      /* all syncs together */
    double sync_us_max; /* the longest since the store was opened */
    uint64_t checkpoints;
    double drain_s; /* after the measurement, until all of it was synced */
};

/* What a store over a data file on disk read during the measurement. */
struct figures_disk {
    bool on_disk; /* there is one */
    uint64_t hits, misses, joined, reads, read_bytes;
    double read_us_mean, read_us_p50, read_us_p99;    /* since the store was opened */
    uint64_t index_bytes, cache_bytes, cache_records; /* at the end */
};

enum figures_bottleneck {
    BOTTLENECK_NONE,
    BOTTLENECK_GENERATOR,       /* its threads at 100 % of a core each and the server not */
    BOTTLENECK_GENERATOR_MAYBE, /* the same, and how busy the server could be is not known */
    BOTTLENECK_SCHEDULE,        /* open loop: requests were sent late by the generator itself */
};

struct figures {
    bool complete; /* false: ended early, `stopped` says why */
    char stopped[512];
    char target[320]; /* "RESP 127.0.0.1:6379", "embedded memory" */
    uint64_t records; /* of the data set, at the start */
    bool records_from_file;
    double seconds; /* from the start to the last answer */
    double rate;    /* intended, requests per second; 0: closed loop */
    unsigned threads, connections;
    struct tally all;            /* of all threads */
    uint64_t *thread_operations; /* [threads] */
    struct figures_point *points;
    size_t points_count;
    double generator_cpu_s;
    double process_cpu_s; /* with a store in it: all of this process, threads of the store's too */
    struct figures_server server;
    struct figures_log log;
    struct figures_disk disk;
    enum figures_bottleneck bottleneck;

    /* of the load phase, if there was one */
    bool loaded;
    uint64_t load_operations;
    double load_seconds, load_cpu_s;                   /* load_cpu_s: the server's, 0 if unknown */
    uint64_t data_bytes;                               /* keys and values of the data set */
    uint64_t memory_before_bytes, memory_loaded_bytes; /* server's resident memory; 0: unknown */
};

/* Zeroed is empty. */
void figures_done(struct figures *f);

static inline double figures_per_second(const struct figures *f)
{
    return f->seconds > 0 ? (double)tally_get(&f->all.operations) / f->seconds : 0;
}

#endif
