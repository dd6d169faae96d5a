/* Goal: appending gives changes of any size and number their places, in order, from any number of
 * threads, and fails whole or not at all.
 * Method: sizes around every limit, steps of thousands, allocations that fail, threads that append
 * while others turn the dial and begin new segments; all is read back. */
#include "lib/test.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "core/random.h"
#include "lib/fault_malloc.h"
#include "lib/log_fixture.h"
#include "lib/os_fixture.h"

static struct wal *wal;

static void open_log(const struct wal_settings *settings)
{
    struct tarn_error error;
    if (log_open(&fault.os, scratch.path, settings, &wal, &error) != TARN_OK)
        fail_msg("%s", error.text);
}

static void close_log(void)
{
    struct tarn_error error;
    if (wal_close(wal, &error) != TARN_OK)
        fail_msg("%s", error.text);
}

static struct wal_settings settings_of(unsigned files, enum wal_encoding encoding)
{
    struct wal_settings settings = log_settings;
    settings.durability = WAL_ASYNC;
    settings.files = files;
    settings.encoding = encoding;
    return settings;
}

/* All that were appended, with the tags 1, 2, ... */
static void check_back(unsigned files, uint64_t count)
{
    struct log_back back;
    log_back_read(&back, os_real(), scratch.path, files);
    assert_true(back.run == count && back.records == count);
    assert_true(!back.broken && back.bad == 0);
    for (uint64_t s = 1; s <= count; s++)
        assert_true(back.tags[s] == s);
    log_back_done(&back);
}

static void clear_log(void)
{
    scratch_close(&scratch);
    scratch_open(&scratch);
}

/* --- sizes --- */

static void test_sizes(void **state)
{
    (void)state;
    static const size_t limits[] = {8,         100,       16u << 10,  24u << 10,
                                    32u << 10, 64u << 10, 128u << 10, 300u << 10};
    for (int encoding = 0; encoding < WAL_ENCODINGS; encoding++) {
        struct wal_settings settings = settings_of(2, (enum wal_encoding)encoding);
        settings.segment_bytes = 1u << 20;
        open_log(&settings);
        uint64_t count = 0;
        for (size_t i = 0; i < sizeof limits / sizeof *limits; i++)
            for (size_t size = limits[i]; size < limits[i] + 100; size += 7) {
                count++;
                assert_true(log_append_sized(wal, count, size) == count);
            }
        close_log();
        check_back(2, count);
        clear_log();
    }
}

/* --- steps --- */

enum { STEP = 5000 };

static void test_large_step(void **state)
{
    (void)state;
    static struct change changes[STEP];
    static uint64_t hashes[STEP];
    static unsigned char values[STEP][200];
    for (uint64_t i = 0; i < STEP; i++) {
        changes[i] = log_change(i + 1, values[i], sizeof values[i]);
        hashes[i] = random_mix(i);
    }
    struct wal_settings settings = settings_of(3, WAL_BINARY);
    settings.segment_bytes = 10000; /* begins new ones at its beginning, not within it */
    open_log(&settings);
    assert_true(wal_append(wal, changes, hashes, STEP) == STEP);
    assert_true(wal_append(wal, changes, hashes, 0) == 0);
    close_log();
    check_back(3, STEP);
    struct log_back back;
    log_back_read(&back, os_real(), scratch.path, 3);
    for (uint64_t s = 1; s < STEP; s++)
        assert_true(back.more[s]);
    assert_false(back.more[STEP]);
    assert_int_equal(back.segments, 3);
    log_back_done(&back);
}

/* --- memory --- */

static void test_no_memory(void **state)
{
    (void)state;
    struct wal_settings settings = settings_of(2, WAL_JSON);
    settings.segment_bytes = 100000;
    open_log(&settings);
    uint64_t count = 0, refused = 0;
    for (int i = 0; i < 300; i++) {
        fault_malloc_arm(1, true);
        uint64_t sequence = log_append_sized(wal, count + 1, i % 10 == 0 ? 50000 : 3000);
        fault_malloc_disarm();
        assert_true(sequence == 0 || sequence == count + 1);
        count += sequence != 0;
        refused += sequence == 0;
        if (sequence == 0) {
            assert_true(log_append_sized(wal, count + 1, 50000) == count + 1);
            count++;
        }
    }
    assert_true(refused > 0);
    close_log();
    check_back(2, count);
}

static void test_open_without_memory(void **state)
{
    (void)state;
    struct wal_settings settings = settings_of(2, WAL_BINARY);
    for (uint64_t nth = 1;; nth++) {
        struct tarn_error error;
        fault_malloc_arm(nth, false);
        int status = log_open(&fault.os, scratch.path, &settings, &wal, &error);
        if (fault_malloc_disarm() == 0) {
            assert_int_equal(status, TARN_OK);
            close_log();
            return;
        }
        assert_int_equal(status, TARN_NOMEM);
        assert_true(error.text[0] != 0 && fault_os_clean(&fault));
        assert_int_equal(scratch_count(&scratch, "wal"), 0);
    }
}

/* --- what is told --- */

struct told {
    int64_t charged, charged_max;
    uint64_t synced;
    bool wrong;
};

static void charge(void *context, int64_t bytes)
{
    struct told *told = context;
    told->charged += bytes;
    told->wrong |= told->charged < 0;
    if (told->charged > told->charged_max)
        told->charged_max = told->charged;
}

static void synced(void *context, uint64_t sequence)
{
    struct told *told = context;
    told->wrong |= sequence <= told->synced || wal_reached(wal, sequence, WAL_DURABLE);
    told->synced = sequence;
}

static void test_told(void **state)
{
    (void)state;
    struct told told = {0};
    const struct replay_end ends[WAL_FILES_MAX] = {0};
    const struct wal_start start = {scratch.path, LOG_STORE_ID, 0, ends, charge, synced, &told};
    struct wal_settings settings = settings_of(1, WAL_BINARY);
    assert_int_equal(wal_open(&fault.os, &settings, &start, &wal, NULL), TARN_OK);
    for (uint64_t i = 1; i <= 100; i++)
        assert_true(log_append_sized(wal, i, i == 50 ? 1000000 : 1000) == i);
    assert_int_equal(wal_wait(wal, 100, WAL_DURABLE, 0), TARN_OK);
    struct wal_figures figures;
    wal_figures_get(wal, &figures);
    close_log();
    assert_true(!told.wrong && told.synced == 100);
    /* What came and went between two tellings is not told of: not of each byte. */
    assert_true(told.charged == 0 && told.charged_max > 0);
    assert_true(figures.records == 100 && figures.bytes > 1099000 && figures.live_bytes > 1099000);
    assert_true(figures.syncs >= 1 && figures.segments == 1 && figures.pending_bytes == 0);
}

/* --- threads --- */

enum { THREADS = 4, EACH = 6000 / TEST_SLOWER, TAGS = THREADS * EACH * 3 };

static uint64_t expected[TAGS + 1]; /* of each sequence its tag */
static _Atomic bool done;

static void *append_many(void *argument)
{
    uint64_t thread = (uint64_t)(uintptr_t)argument, random = thread, tag = thread << 32;
    for (int i = 0; i < EACH; i++) {
        struct change changes[3];
        unsigned char values[3][300];
        uint64_t hashes[3] = {random_next(&random), random_next(&random), random_next(&random)};
        size_t count = 1 + random_below(hashes[0], 3);
        for (size_t j = 0; j < count; j++)
            changes[j] = log_change(++tag, values[j], 8 + random_below(hashes[j], 250));
        uint64_t last = wal_append(wal, changes, hashes, count);
        for (size_t j = 0; j < count && last > 0; j++)
            expected[last - count + 1 + j] = tag - count + 1 + j;
        if (last == 0 || (i % 16 == 0 && wal_wait(wal, last, WAL_ACKNOWLEDGED, 0) != TARN_OK) ||
            (i % 512 == 0 && wal_wait(wal, last, WAL_DURABLE, 0) != TARN_OK))
            return NULL;
        wal_admit(wal);
    }
    return argument;
}

static void *disturb(void *argument)
{
    struct wal_settings settings = *(const struct wal_settings *)argument;
    for (unsigned i = 0; !atomic_load(&done); i++) {
        uint64_t sequence, first[WAL_FILES_MAX];
        settings.durability = (enum wal_durability)(WAL_ASYNC + i % 3);
        settings.encoding = (enum wal_encoding)(i / 2 % WAL_ENCODINGS);
        wal_configure(wal, &settings);
        if (wal_rotate(wal, &sequence, first, NULL) != TARN_OK)
            return NULL;
        assert_true(wal_reached(wal, sequence, WAL_DURABLE));
    }
    return argument;
}

static void run_threads(const struct wal_settings *settings)
{
    pthread_t threads[THREADS], disturber;
    void *result;
    atomic_store(&done, false);
    struct wal_settings copy = *settings;
    assert_int_equal(pthread_create(&disturber, NULL, disturb, &copy), 0);
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, append_many, (void *)(i + 1)), 0);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], &result);
        assert_non_null(result);
    }
    atomic_store(&done, true);
    pthread_join(disturber, &result);
    assert_non_null(result);
}

static void test_threads(void **state)
{
    (void)state;
    for (unsigned files = 1; files <= 3; files += 2) {
        struct wal_settings settings = settings_of(files, WAL_BINARY);
        settings.segment_bytes = 200000;
        settings.memory_bytes_max = 100000;
        settings.queue_depth = 50;
        open_log(&settings);
        run_threads(&settings);
        struct wal_figures figures;
        wal_figures_get(wal, &figures);
        close_log();
        struct log_back back;
        uint64_t last[THREADS + 1] = {0};
        log_back_read(&back, os_real(), scratch.path, files);
        assert_true(back.run == figures.sequence && back.records == back.run && !back.broken);
        for (uint64_t s = 1; s <= back.run; s++) {
            assert_true(back.tags[s] == expected[s]);
            uint64_t thread = back.tags[s] >> 32; /* each thread's in its order */
            assert_true(back.tags[s] > last[thread]);
            last[thread] = back.tags[s];
        }
        log_back_done(&back);
        clear_log();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_sizes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_large_step, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(test_open_without_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(test_told, setup, teardown),
        cmocka_unit_test_setup_teardown(test_threads, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
