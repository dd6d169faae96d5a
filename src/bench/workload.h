/* What is asked next: a mix of operations over a distribution of records.
 *
 * A struct workload is shared by all threads of a run; each has a struct workload_thread of its
 * own. The only shared state that changes is the growing end of the key space. */
#ifndef BENCH_WORKLOAD_H
#define BENCH_WORKLOAD_H

#include <stdbool.h>

#include "bench/distribution.h"
#include "bench/records.h"

enum operation_kind {
    OPERATION_READ,
    OPERATION_UPDATE, /* write a record that exists */
    OPERATION_INSERT, /* write the next new record */
    OPERATION_SCAN,   /* read a run of 1..SCAN_RECORDS_MAX records */
    OPERATION_READ_MODIFY_WRITE,
    OPERATION_KINDS,
};
/* "read", "update", "insert", "scan", "read_modify_write". */
const char *operation_name(enum operation_kind kind);

#define SCAN_RECORDS_MAX 100 /* YCSB workload E: uniform 1..100 */

/* The order of this enum is that of workload_names. */
enum workload_name {
    WORKLOAD_GET,   /* read only */
    WORKLOAD_SET,   /* update only */
    WORKLOAD_MIXED, /* read and update by read_ratio */
    WORKLOAD_A,     /* YCSB: 50 % read, 50 % update, zipfian */
    WORKLOAD_B,     /* 95 % read, 5 % update, zipfian */
    WORKLOAD_C,     /* read only, zipfian */
    WORKLOAD_D,     /* 95 % read, 5 % insert, latest */
    WORKLOAD_E,     /* 95 % scan, 5 % insert, zipfian */
    WORKLOAD_F,     /* 50 % read, 50 % read-modify-write, zipfian */
    WORKLOAD_NAMES,
};
extern const char *const workload_names[]; /* "get", "set", "mixed", "a" .. "f"; NULL-terminated */

/* Shares of the operations, summing to 1, and the distribution that the definition names (uniform
 * for get, set and mixed). Source: Cooper et al., "Benchmarking cloud serving systems with YCSB",
 * SoCC 2010, table 2, and YCSB's workloads/ files. */
struct workload_mix {
    double share[OPERATION_KINDS];
    enum distribution_kind distribution;
};
struct workload_mix workload_mix(enum workload_name name, double read_ratio);
bool workload_writes(const struct workload_mix *mix);

struct workload_options {
    struct workload_mix mix; /* its distribution is the one to use */
    double theta, hot_records_share, hot_requests_share;
    double missing_ratio;      /* of the reads: keys that are not there */
    uint64_t inserts_expected; /* room in the zipfian's domain; 0 where the mix inserts nothing */
    uint64_t seed;
};

struct workload;
/* records: borrowed, must outlive it. NULL if out of memory. */
struct workload *workload_new(const struct workload_options *options,
                              const struct records *records);
void workload_free(struct workload *w);

struct workload_thread {
    struct workload *workload;
    struct chooser chooser;
    uint64_t random;
};
void workload_thread_init(struct workload_thread *t, struct workload *w, unsigned thread,
                          unsigned threads);

enum operation_kind workload_kind(struct workload_thread *t);
/* The record of an operation; reads may get a RECORD_MISSING one; an insert gets the next new
 * record, which is asked for by others only after workload_inserted(). Where the key
 * space is exhausted (records_count_max), or the oldest unanswered insert is a million behind,
 * inserts overwrite visible records instead, from record 0 on. */
uint64_t workload_record(struct workload_thread *t, enum operation_kind kind);
unsigned workload_scan_count(struct workload_thread *t); /* 1..SCAN_RECORDS_MAX */
/* The insert of this record was answered, well or not. Any order, any thread: records become
 * visible to the distributions in order, as with YCSB's acknowledged counter. */
void workload_inserted(struct workload *w, uint64_t record);
uint64_t workload_limit(const struct workload *w); /* records visible now */

#endif
