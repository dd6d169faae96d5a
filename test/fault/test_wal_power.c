/* Goal: what the dial promises holds when the process is killed or the power fails in any call:
 * what was acknowledged is there but for the stated bound, as a prefix of whole steps in their
 * order. Method: threads append to a log on a simulated disk, which stops in the nth call that
 * changes it; the threads take turns, so a seed replays a run. What the disk kept is read back.
 * SEEDS=n: so many runs; SEED=n: that one. */
#include <stdatomic.h>
#include <stdlib.h>

#include "lib/test.h"

#include "core/random.h"
#include "lib/log_fixture.h"
#include "lib/simulated_disk.h"
#include "lib/turns.h"

enum { SEEDS = 1500 / TEST_SLOWER, THREADS_MAX = 3, STEPS = 12, STEP_MAX = 4, CALLS_MAX = 120 };

static struct simulated_disk disk;
static uint64_t tags[THREADS_MAX * STEPS * STEP_MAX + 1]; /* of each sequence, as appended */

/* One run, as its seed has it. */
struct run {
    uint64_t random;
    struct wal_settings settings;
    unsigned threads;
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
    if (below(random, 20) == 0 && wal_rotate(run->wal, &sequence, first, NULL) == TARN_OK &&
        !disk_stopped(&disk))
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
            (void)!wal_wait(run->wal, sequence, levels[below(&w->random, 5)], 0);
        note(run, sequence);
        maybe_rotate(run, &w->random);
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
    run_threads(run);
    bool stopped = disk_stopped(&disk);
    struct wal_figures figures;
    wal_figures_get(run->wal, &figures);
    bool closed = wal_close(run->wal, NULL) == TARN_OK;
    if (closed && !stopped && !disk_stopped(&disk))
        raise_to(&run->durable, figures.sequence);
}

/* --- afterwards --- */

static void check(const struct run *run, uint64_t seed)
{
    struct log_back back;
    uint64_t acknowledged = atomic_load(&run->acknowledged), due = atomic_load(&run->durable);
    bool kept = run->end == DISK_KILLED || run->settings.durability == WAL_COMMIT;
    log_back_read(&back, &disk.os, "/log", run->settings.files);
    if (kept && run->settings.durability != WAL_ASYNC && acknowledged > due)
        due = acknowledged;
    if (kept && run->settings.durability == WAL_ASYNC &&
        acknowledged > due + run->settings.queue_depth)
        due = acknowledged - run->settings.queue_depth;
    if (back.unbroken < due || back.broken)
        fail_msg("seed %llu: %llu are there of %llu; broken: %d", (unsigned long long)seed,
                 (unsigned long long)back.unbroken, (unsigned long long)due, back.broken);
    for (uint64_t s = 1; s <= back.unbroken; s++)
        assert_true(back.tags[s] == tags[s]);
    log_back_done(&back);
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
        check(&run, seed);
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
