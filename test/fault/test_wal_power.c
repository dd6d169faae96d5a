/* Goal: what the dial promises holds when the process is killed or the power fails in any call:
 * what was acknowledged is there but for the stated bound, as a prefix of whole steps in their
 * order. Method: threads append to a log on a simulated disk, which stops in the nth call that
 * changes it, and may be full for a while; the threads take turns, so a seed replays a run. What
 * the disk kept is read back, by the fixture and by replay(), after which the log goes on and is
 * replayed once more. Bug planted: a rotation that was refused before there was room again waits
 * for ever. SEEDS=n: so many runs; SEED=n: that one. */
#include <stdatomic.h>
#include <stdlib.h>

#include "lib/test.h"

#include "core/random.h"
#include "lib/log_fixture.h"
#include "lib/simulated_disk.h"
#include "lib/turns.h"

enum { SEEDS = 1500 / TEST_SLOWER, THREADS_MAX = 3, STEPS = 12, STEP_MAX = 4, CALLS_MAX = 120 };

static struct simulated_disk disk;
static uint64_t tags[THREADS_MAX * STEPS * STEP_MAX + 11]; /* of each sequence, as appended */

/* One run, as its seed has it. */
struct run {
    uint64_t random;
    struct wal_settings settings;
    unsigned threads;
    bool fills; /* the disk becomes full, and has room again */
    struct wal *wal;
    enum disk_end end;
    /* Seen before the disk stopped: */
    _Atomic uint64_t acknowledged, durable, rotated;
    uint64_t first[WAL_FILES_MAX]; /* of the rotation */
};

struct worker {
    struct run *run;
    uint64_t random;
};

static uint64_t below(uint64_t *random, uint64_t limit)
{
    return random_below(random_next(random), limit);
}

static void raise_to(_Atomic uint64_t *sequence, uint64_t value)
{
    uint64_t before = atomic_load(sequence);
    while (before < value && !atomic_compare_exchange_weak(sequence, &before, value))
        ;
}

/* --- working --- */

static uint64_t append_step(struct run *run, uint64_t *random)
{
    static const size_t sizes[] = {8, 60, 700, 5000, 40000};
    struct change changes[STEP_MAX] = {0};
    uint64_t hashes[STEP_MAX] = {0};
    size_t count = 1 + below(random, STEP_MAX);
    for (size_t i = 0; i < count; i++) {
        size_t size = sizes[below(random, 20) == 0 ? 4 : below(random, 4)];
        changes[i] = log_change(1 + below(random, 1000000), calloc(1, size), size);
        hashes[i] = random_next(random);
    }
    uint64_t sequence = wal_append(run->wal, changes, hashes, count);
    for (size_t i = 0; i < count && sequence > 0; i++)
        tags[sequence - count + 1 + i] = load_u64le(changes[i].value.data);
    for (size_t i = 0; i < count; i++)
        free((void *)(uintptr_t)changes[i].value.data);
    return sequence;
}

/* What is reached now, if power is still there afterwards, counts. */
static void note(struct run *run, uint64_t sequence)
{
    bool acknowledged = wal_reached(run->wal, sequence, WAL_ACKNOWLEDGED);
    bool durable = wal_reached(run->wal, sequence, WAL_DURABLE);
    if (disk_stopped(&disk))
        return;
    if (acknowledged)
        raise_to(&run->acknowledged, sequence);
    if (durable)
        raise_to(&run->durable, sequence);
}

static void maybe_rotate(struct run *run, uint64_t *random)
{
    uint64_t sequence, first[WAL_FILES_MAX];
    if (below(random, run->fills ? 3 : 20) == 0 &&
        wal_rotate(run->wal, &sequence, first, NULL) == TARN_OK && !disk_stopped(&disk))
        raise_to(&run->durable, sequence);
}

static void *work(void *argument)
{
    struct worker *w = argument;
    struct run *run = w->run;
    for (int i = 0; i < STEPS; i++) {
        uint64_t sequence = append_step(run, &w->random);
        if (sequence == 0)
            break;
        static const enum wal_level levels[] = {WAL_ACKNOWLEDGED, WAL_ACKNOWLEDGED,
                                                WAL_ACKNOWLEDGED, WAL_WRITTEN, WAL_DURABLE};
        if (below(&w->random, 2) == 0)
            (void)!wal_wait(run->wal, sequence, levels[below(&w->random, 5)],
                            run->fills ? turns_now_ns() + 1000000000 : 0);
        note(run, sequence);
        maybe_rotate(run, &w->random);
        if (run->fills)
            disk_limit(&disk, below(&w->random, 2) ? 0 : disk_used(&disk) + 1);
    }
    return NULL;
}

static void run_threads(struct run *run)
{
    pthread_t threads[THREADS_MAX];
    struct worker workers[THREADS_MAX];
    for (unsigned i = 0; i < run->threads; i++) {
        workers[i] = (struct worker){run, random_next(&run->random)};
        assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
    for (unsigned i = 0; i < run->threads; i++)
        pthread_join(threads[i], NULL);
}

static void choose(struct run *run, uint64_t seed)
{
    uint64_t *random = &run->random;
    *run = (struct run){.random = seed, .settings = log_settings};
    run->settings.durability = (enum wal_durability)(WAL_ASYNC + below(random, 3));
    run->settings.encoding = (enum wal_encoding)below(random, WAL_ENCODINGS);
    run->settings.files = 1 + (unsigned)below(random, 3);
    run->settings.queue_depth = 1 + below(random, 20);
    run->settings.period_us = 1 + below(random, 2000);
    run->settings.segment_bytes = 1000 << below(random, 8);
    run->threads = 1 + (unsigned)below(random, THREADS_MAX);
    run->end = (enum disk_end)below(random, 2);
}

static void play(struct run *run)
{
    assert_int_equal(disk.os.make_directory(&disk.os, "/log", 0777), 0);
    int fd;
    assert_int_equal(disk.os.open(&disk.os, "/", 0, 0, &fd), 0);
    assert_int_equal(disk.os.sync(&disk.os, fd), 0);
    disk.os.close(&disk.os, fd);
    uint64_t kind = below(&run->random, 3);
    if (kind == 0)
        disk_fail_sync(&disk, 1 + below(&run->random, 40));
    disk_stop_at(&disk, 1 + below(&run->random, CALLS_MAX));
    if (log_open(&disk.os, "/log", &run->settings, &run->wal, NULL) != TARN_OK)
        return;
    run->fills = kind == 1 && below(&run->random, 2) == 0;
    run_threads(run);
    disk_limit(&disk, 0);
    bool stopped = disk_stopped(&disk);
    struct wal_figures figures;
    wal_figures_get(run->wal, &figures);
    bool closed = wal_close(run->wal, NULL) == TARN_OK;
    if (closed && !stopped && !disk_stopped(&disk))
        raise_to(&run->durable, figures.sequence);
}

/* --- afterwards --- */

/* Up to where all must be there. */
static uint64_t find_due(const struct run *run)
{
    uint64_t acknowledged = atomic_load(&run->acknowledged), due = atomic_load(&run->durable);
    bool async = run->settings.durability == WAL_ASYNC;
    uint64_t slack = async ? run->settings.queue_depth : 0;
    if (run->end == DISK_POWER_LOST && run->settings.durability != WAL_COMMIT)
        return due;
    return acknowledged > due + slack ? acknowledged - slack : due;
}

static void check_files(const struct run *run, uint64_t seed)
{
    struct log_back back;
    uint64_t due = find_due(run);
    log_back_read(&back, &disk.os, "/log", run->settings.files);
    if (back.run < due || back.broken)
        fail_msg("seed %llu: %llu are there of %llu; broken: %d", (unsigned long long)seed,
                 (unsigned long long)back.unbroken, (unsigned long long)due, back.broken);
    for (uint64_t s = 1; s <= back.unbroken; s++)
        assert_true(back.tags[s] == tags[s]);
    log_back_done(&back);
}

static int apply(void *context, uint64_t sequence, const struct change *change)
{
    uint64_t *last = context;
    bool right = sequence == *last + 1 && load_u64le(change->value.data) == tags[sequence];
    *last = sequence;
    return right ? TARN_OK : TARN_CORRUPT;
}

static void must_replay(const struct replay_start *start, uint64_t seed,
                        struct replay_result *ret_result)
{
    struct tarn_error error;
    uint64_t last = 0;
    if (replay(&disk.os, start, apply, &last, NULL, NULL, ret_result, &error) != TARN_OK)
        fail_msg("seed %llu: %s", (unsigned long long)seed, error.text);
    assert_true(last == ret_result->sequence);
}

static void go_on(struct run *run, const struct replay_result *result)
{
    assert_int_equal(log_open_after(&disk.os, "/log", &run->settings, result->sequence,
                                    result->ends, &run->wal, NULL),
                     TARN_OK);
    for (uint64_t i = 1; i <= 10; i++) {
        tags[result->sequence + i] = i;
        assert_true(log_append(run->wal, i) == result->sequence + i);
    }
    assert_int_equal(wal_close(run->wal, NULL), TARN_OK);
}

static void check_replay(struct run *run, uint64_t seed)
{
    const uint64_t first[WAL_FILES_MAX] = {1, 1, 1};
    struct replay_start start = {.directory = "/log",
                                 .store_id = LOG_STORE_ID,
                                 .synced_upto = atomic_load(&run->durable),
                                 .files = run->settings.files,
                                 .first = first};
    struct replay_result result, again;
    must_replay(&start, seed, &result);
    assert_true(result.sequence >= find_due(run));
    assert_true(result.sequence >= atomic_load(&run->durable));
    assert_int_equal(replay_truncate(&disk.os, &start, &result, NULL), TARN_OK);
    go_on(run, &result);
    start.closed = true;
    start.synced_upto = result.sequence + 10;
    must_replay(&start, seed, &again);
    assert_true(again.sealed && again.sequence == result.sequence + 10);
    assert_true(again.truncated_bytes == 0);
}

static void test_ends(void **state)
{
    (void)state;
    const char *only = getenv("SEED"), *many = getenv("SEEDS");
    uint64_t begin = only ? strtoull(only, NULL, 10) : 1;
    uint64_t count = only ? 1 : many ? strtoull(many, NULL, 10) : SEEDS;
    for (uint64_t seed = begin; seed < begin + count; seed++) {
        struct run run;
        choose(&run, seed);
        disk_init(&disk, seed);
        turns_begin(seed);
        play(&run);
        turns_end();
        disk_restart(&disk, run.end, seed);
        check_files(&run, seed);
        check_replay(&run, seed);
        disk_done(&disk);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
