/* The parts of a run, for run*.c only.
 *
 * run.c opens and closes; run_servers.c looks at the servers' processes; run_phase.c runs one phase
 * on its threads; run_load.c fills the target; run_measure.c makes figures.
 *
 * Invariants
 * 1. While a phase runs, its threads own their struct run_thread but for the tally's counters;
 *    `running` is guarded by the lock.
 * 2. Clients are opened and closed on the calling thread, used on one thread at a time. */
#ifndef BENCH_RUN_INTERNAL_H
#define BENCH_RUN_INTERNAL_H

#include <pthread.h>

#include "bench/meter.h"
#include "bench/run.h"
#include "bench/target.h"

#define RUN_SERVERS_MAX   64 /* processes */
#define RUN_LOAD_PIPELINE 64 /* at least, while loading */

struct run_thread {
    struct run *run;
    unsigned number;
    struct client *client; /* servers */
    struct tally tally;
    bool tally_ready;
    pthread_t thread;
    struct phase *phase; /* of the phase under way */
    struct tarn_error error;
    int status;
};

struct run {
    const struct os *os;
    const struct settings *settings;
    struct run_hooks hooks;
    struct target target;
    void *store; /* the target's handle */
    struct records *records;
    struct workload *workload;
    struct workload_mix mix;
    struct run_thread *threads;
    unsigned threads_count;
    const struct tally **tallies;    /* [threads_count], the threads' */
    struct workload_thread *streams; /* [threads_count], of stores; clients keep their own */
    int servers[RUN_SERVERS_MAX];    /* process numbers of servers on this machine */
    unsigned servers_count;
    bool servers_local;

    pthread_mutex_t lock;
    pthread_cond_t done;
    unsigned running;

    bool loaded;
    uint64_t load_operations, memory_before_bytes, memory_loaded_bytes;
    double load_seconds, load_cpu_s;
};

/* --- run_servers.c --- */

/* All servers are on this machine and their processes can be seen; else nothing is said of them. */
void run_find_servers(struct run *run);
uint64_t run_servers_cpu_ns(const struct run *run);
/* Resident memory of the servers, or of this process where the store is in it. */
uint64_t run_memory_bytes(const struct run *run);

/* --- run_phase.c --- */

/* A phase under way. */
struct course {
    const char *name;
    struct phase *phase;
    struct meter meter;
    bool cancelled;
};

/* A phase by the settings, of any number of requests and without a deadline, beginning now. */
void run_phase_init(const struct run *run, struct phase *phase);
/* Run a phase on `count` threads. course->meter is ready; its last point is taken here. Errors:
 * those of client_run() and embedded_run(), NOMEM (no thread), CANCELLED by a signal. */
TARN_MUST int run_phase(struct run *run, struct course *course, unsigned count,
                        struct tarn_error *error);

/* --- run_measure.c --- */

/* Was it the generator that set the pace? in_process: the generator's time is the store's too.
 * target_ns: what p99.9 must not exceed. Of f: seconds, rate, threads, generator_cpu_s, server and
 * all.late_ns. Pure. */
enum figures_bottleneck run_judge(const struct figures *f, bool in_process, uint64_t target_ns);

/* --- run_load.c --- */

/* Load if asked to, or if the store is empty without it. Errors: as run_open(). */
TARN_MUST int run_load_target(struct run *run, struct tarn_error *error);

#endif
