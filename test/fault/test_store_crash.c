/* Goal: whatever moment a store is killed or loses power at, it opens again with what it promised.
 * Method: lives from seeds (test/lib/crash_run.h).
 *
 *     test_store_crash                        the quick form
 *     test_store_crash SEEDS [FIRST [JOBS]]   so many seeds, a table of what was seen, and the line
 *                                             for script/fault
 *     test_store_crash trace SEED             one, with all that happens
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/test.h"

#include "lib/crash_run.h"
#include "lib/fault_line.h"

#define SECONDS_A_RUN 120 /* then it hangs */
#define JOBS_MAX      64
#define FAILURES_MAX  10 /* then a job gives up */

struct job {
    struct crash_tally tally;
    uint64_t failures, seed; /* seed: being run */
};

/* --- many --- */

static void run_job(struct job *job, uint64_t first, uint64_t end, uint64_t stride)
{
    char failure[1024];
    for (uint64_t seed = first; seed < end && job->failures < FAILURES_MAX; seed += stride) {
        job->seed = seed;
        alarm(SECONDS_A_RUN);
        if (!crash_run(seed, &job->tally, NULL, failure)) {
            job->failures++;
            fprintf(stderr, "seed %" PRIu64 ": %s\n", seed, failure);
        }
    }
    alarm(0);
}

static void add_tally(struct crash_tally *sum, const struct crash_tally *tally)
{
    sum->runs += tally->runs;
    sum->opened += tally->opened;
    sum->in_recovery += tally->in_recovery;
    sum->closed += tally->closed;
    sum->torn += tally->torn;
    sum->checkpoints += tally->checkpoints;
    sum->full += tally->full;
    sum->failed_syncs += tally->failed_syncs;
    sum->losses += tally->losses;
    sum->wrong += tally->wrong;
    for (unsigned dial = 0; dial < CRASH_DIALS; dial++)
        for (unsigned end = 0; end < 2; end++) {
            struct crash_row *row = &sum->rows[dial][end];
            const struct crash_row *other = &tally->rows[dial][end];
            row->crashes += other->crashes;
            row->acknowledged += other->acknowledged;
            row->lost += other->lost;
            if (row->lost_most < other->lost_most)
                row->lost_most = other->lost_most;
        }
}

static void print_tally(const struct crash_tally *t, uint64_t failures)
{
    printf("durability  end            crashes  acknowledged          lost  at most\n");
    for (unsigned dial = 0; dial < CRASH_DIALS; dial++)
        for (unsigned end = 0; end < 2; end++) {
            const struct crash_row *row = &t->rows[dial][end];
            printf("%-10s  %-10s  %10" PRIu64 "  %12" PRIu64 "  %12" PRIu64 "  %7" PRIu64 "\n",
                   crash_dial_name(dial), end == DISK_KILLED ? "killed" : "power lost",
                   row->crashes, row->acknowledged, row->lost, row->lost_most);
        }
    printf("%" PRIu64 " seeds, %" PRIu64 " openings (%" PRIu64 " crashed in recovery, %" PRIu64
           " after a clean close, %" PRIu64 " with a torn end), %" PRIu64 " checkpoints, %" PRIu64
           " failing syncs, %" PRIu64 " full disks\n"
           "%" PRIu64 " seeds broke a promise\n",
           t->runs, t->opened, t->in_recovery, t->closed, t->torn, t->checkpoints, t->failed_syncs,
           t->full, failures);
}

static pid_t start_job(struct job *job, uint64_t first, uint64_t end, unsigned jobs)
{
    fflush(NULL);
    pid_t process = fork();
    if (process < 0)
        abort();
    if (process == 0) {
        run_job(job, first, end, jobs);
        _exit(0);
    }
    return process;
}

/* A process ended. Badly: that was its seed, and another one goes on behind it. Returns whether. */
static bool goes_on(struct job *job, int status)
{
    if (status == 0)
        return false;
    fprintf(stderr, "seed %" PRIu64 ": the process ended with status %d\n", job->seed, status);
    job->tally.runs++;
    job->tally.wrong++;
    return ++job->failures < FAILURES_MAX;
}

/* Wait for whichever job's process ends first; it goes on in another if it ended badly. Returns
 * whether it is done. */
static bool await_one(struct job *all, pid_t *processes, uint64_t end, unsigned jobs)
{
    int status;
    unsigned i = 0;
    pid_t process = waitpid(-1, &status, 0);
    if (process < 0)
        abort();
    while (processes[i] != process)
        i++;
    if (!goes_on(&all[i], status))
        return true;
    processes[i] = start_job(&all[i], all[i].seed + jobs, end, jobs);
    return false;
}

/* Seeds first to end in so many processes. Returns how many failed. */
static uint64_t run_jobs(uint64_t first, uint64_t end, unsigned jobs, struct crash_tally *tally)
{
    struct job *all =
        mmap(NULL, sizeof *all * jobs, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t processes[JOBS_MAX];
    uint64_t failures = 0;
    if (all == MAP_FAILED)
        abort();
    for (unsigned i = 0; i < jobs; i++)
        processes[i] = start_job(&all[i], first + i, end, jobs);
    for (unsigned left = jobs; left > 0;)
        left -= await_one(all, processes, end, jobs);
    for (unsigned i = 0; i < jobs; i++) {
        add_tally(tally, &all[i].tally);
        failures += all[i].failures;
    }
    munmap(all, sizeof *all * jobs);
    return failures;
}

/* --- the quick form --- */

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
enum { QUICK_SEEDS = 600 / TEST_SLOWER };
#else
enum { QUICK_SEEDS = 2500 };
#endif

static void test_promises_are_kept(void **state)
{
    (void)state;
    struct crash_tally tally = {0};
    uint64_t failures = run_jobs(1, 1 + QUICK_SEEDS, 2, &tally);
    print_tally(&tally, failures);
    assert_int_equal(failures, 0);
    assert_int_equal(tally.rows[TARN_DURABILITY_COMMIT][DISK_POWER_LOST].lost, 0);
    for (unsigned dial = 0; dial < CRASH_DIALS; dial++)
        for (unsigned end = 0; end < 2; end++)
            assert_true(tally.rows[dial][end].crashes > 0);
    assert_true(tally.torn > 0 && tally.closed > 0 && tally.in_recovery > 0);
}

static void test_a_seed_replays(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 30; seed++) {
        struct crash_tally tallies[2] = {{0}, {0}};
        char failure[1024];
        for (unsigned i = 0; i < 2; i++)
            (void)crash_run(seed, &tallies[i], NULL, failure);
        assert_memory_equal(&tallies[0], &tallies[1], sizeof tallies[0]);
    }
}

static int run_many(int count, char **arguments)
{
    struct crash_tally tally = {0};
    uint64_t seeds = strtoull(arguments[1], NULL, 10);
    uint64_t first = count > 2 ? strtoull(arguments[2], NULL, 10) : 1;
    unsigned jobs = count > 3 ? (unsigned)atoi(arguments[3]) : 1;
    uint64_t failures = run_jobs(first, first + seeds, jobs < JOBS_MAX ? jobs : JOBS_MAX, &tally);
    print_tally(&tally, failures);
    fault_line("seeds of the simulated disk", tally.runs, tally.losses, tally.wrong);
    return failures > 0;
}

static int run_traced(uint64_t seed)
{
    struct crash_tally tally = {0};
    char failure[1024];
    bool good = crash_run(seed, &tally, stdout, failure);
    printf("%s\n", good ? "all promises were kept" : failure);
    return !good;
}

int main(int count, char **arguments)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_promises_are_kept),
        cmocka_unit_test(test_a_seed_replays),
    };
    if (count > 2 && strcmp(arguments[1], "trace") == 0)
        return run_traced(strtoull(arguments[2], NULL, 10));
    return count > 1 ? run_many(count, arguments) : cmocka_run_group_tests(tests, NULL, NULL);
}
