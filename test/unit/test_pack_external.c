/* Goal: whatever the data, the granule and the layout, the index that is built within bounded
 * memory leads each key to the block of the record that counts; stopped anywhere, a build goes on
 * and ends with the same index; what fails leaves nothing behind but what can be gone on with.
 * Method: data sets of all formats over all granules, fingerprints and layouts, held against the
 * naive look-ups of lib/block_check.h; secrets that are always the same, so that indexes can be
 * compared byte by byte; every system call and allocation failed once, then the same command again.
 *
 * Failures that were found by it: another thread's "another part failed" reported instead of the
 * reason; tables of a scan that was done read back one block short. */
#include "lib/test.h"

#include <errno.h>
#include <stdio.h>

#include "lib/block_check.h"
#include "lib/fault_malloc.h"
#include "lib/fault_os.h"
#include "lib/scratch.h"
#include "pack/external.h"

struct fixture {
    struct scratch scratch;
    struct fault_os faults;
    char path[SCRATCH_PATH_BYTES], index_path[SCRATCH_PATH_BYTES];
};

/* Random bytes that are the same in each build. */
static int same_entropy(const struct os *os, void *data, size_t size)
{
    (void)os;
    for (size_t i = 0; i < size; i++)
        ((unsigned char *)data)[i] = (unsigned char)(i * 151 + 7);
    return 0;
}

static int setup(void **context)
{
    struct fixture *f = calloc(1, sizeof *f);
    scratch_open(&f->scratch);
    scratch_name(&f->scratch, "data", f->path);
    scratch_name(&f->scratch, "data.tarnidx", f->index_path);
    fault_os_init(&f->faults, NULL);
    *context = f;
    return 0;
}

static int teardown(void **context)
{
    struct fixture *f = *context;
    assert_true(fault_os_clean(&f->faults));
    fault_os_done(&f->faults);
    scratch_close(&f->scratch);
    free(f);
    return 0;
}

/* A build that writes its state as often as it can. */
static struct external_settings settings_of(unsigned granule, unsigned fingerprint,
                                            enum index_layout layout)
{
    return (struct external_settings){
        .memory_bytes = 256u << 20,
        .granule_log2 = (int)granule,
        .fingerprint_bits = layout == INDEX_PAGES ? 0 : (int)fingerprint,
        .layout = layout,
        .round_bytes = 1,
        .state_period_ns = 1,
    };
}

static int build(struct fixture *f, const struct dataset *d, enum tarn_duplicates policy,
                 const struct external_settings *settings, struct tarn_error *error)
{
    struct tarn_options options = {
        .path = f->path, .format = d->format, .duplicates = policy, .threads = 2};
    struct tarn_index_report report;
    struct os os = f->faults.os;
    os.entropy = same_entropy;
    int status = external_build(&os, &options, settings, &report, error);
    if (status == TARN_OK) {
        assert_int_equal(report.records, d->count);
        assert_int_equal(report.data_bytes, d->data.size);
    }
    return status;
}

static void assert_nothing_left(struct fixture *f)
{
    assert_int_equal(scratch_count(&f->scratch, ".build"), 0);
    assert_int_equal(scratch_count(&f->scratch, ".spill"), 0);
    assert_int_equal(scratch_count(&f->scratch, ".state"), 0);
    assert_int_equal(scratch_count(&f->scratch, ".tmp"), 0);
}

/* The index in the file, held against the data set. */
static void check_index(struct fixture *f, struct dataset *d, enum tarn_duplicates policy,
                        const struct external_settings *settings)
{
    struct index *index;
    struct tarn_error error;
    struct buffer file = {0};
    if (index_read_any(os_real(), f->index_path, &index, &error) != TARN_OK)
        fail_msg("%s", error.text);
    assert_true(file_read(f->index_path, &file));
    dataset_settle(d, policy);
    if (settings->hash_mask)
        index->hash_mask = settings->hash_mask;
    check_blocks(index, file.data + INDEX_PAGES_AT, d);
    index_free(index);
    buffer_done(&file);
}

static void check_build(struct fixture *f, struct dataset *d, enum tarn_duplicates policy,
                        const struct external_settings *settings)
{
    struct tarn_error error;
    file_write(f->path, buffer_view(&d->data));
    if (build(f, d, policy, settings, &error) != TARN_OK)
        fail_msg("%s", error.text);
    assert_nothing_left(f);
    assert_true(fault_os_clean(&f->faults));
    check_index(f, d, policy, settings);
}

static void add_numbered(struct dataset *d, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char key[32];
        snprintf(key, sizeof key, "key-%zu", i);
        dataset_add_text(d, key, key + i % 4);
    }
}

/* Records of all sizes: empty values, some larger than small granules, repeated keys. */
static void fill(struct dataset *d, size_t format, size_t count)
{
    dataset_init(d, &dataset_formats[format]);
    add_numbered(d, count / 2);
    dataset_add_random(d, format, count / 2, 12, format % 2 ? 40 : 3000, 5);
    dataset_drop_last_newline(d);
}

static void all_granules_and_layouts(void **context)
{
    struct fixture *f = *context;
    for (size_t i = 0; i < dataset_formats_count; i++) {
        struct dataset d;
        fill(&d, i, 1500);
        for (unsigned granule = 9; granule <= 18; granule += 1 + (granule > 10) * 2) {
            for (int layout = 0; layout <= INDEX_PAGES; layout++) {
                struct external_settings s =
                    settings_of(granule, (granule + (unsigned)i) % 9, (enum index_layout)layout);
                check_build(f, &d, (granule + (unsigned)i) & 1, &s);
            }
        }
        dataset_done(&d);
    }
}

static void few_records(void **context)
{
    struct fixture *f = *context;
    for (size_t i = 0; i < dataset_formats_count; i++) {
        struct dataset d;
        dataset_init(&d, &dataset_formats[i]);
        for (size_t count = 0; count < 4; count++) {
            for (int layout = 0; layout <= INDEX_PAGES; layout++) {
                struct external_settings s = settings_of(9, 3, (enum index_layout)layout);
                check_build(f, &d, TARN_DUPLICATES_LAST, &s);
            }
            dataset_add_random(&d, count, 1, 5, count * 2000, 0);
        }
        dataset_done(&d);
    }
}

/* Trips on: exceptions lost, or not in order; runs of equal hashes over the ends of pages. */
static void equal_hashes(void **context)
{
    struct fixture *f = *context;
    struct dataset d;
    fill(&d, 2, 6000);
    for (int layout = 0; layout <= INDEX_PAGES; layout++) {
        for (unsigned bits = 4; bits <= 12; bits += 8) {
            struct external_settings s = settings_of(12, 2, (enum index_layout)layout);
            s.hash_mask = ~0ull << (64 - bits);
            check_build(f, &d, bits == 4, &s);
        }
    }
    dataset_done(&d);
}

/* Units that are many partitions, one, and a part of one; with a key so frequent that a unit's
 * pairs do not fit. */
static void all_units(void **context)
{
    struct fixture *f = *context;
    struct dataset d;
    dataset_init(&d, &dataset_formats[0]);
    add_numbered(&d, 40000 / TEST_SLOWER);
    for (int i = 0; i < 40000; i++)
        dataset_add_text(&d, i % 3 ? "again" : "and-again", "value");
    for (int layout = 0; layout <= INDEX_PAGES; layout++) {
        for (unsigned partitions = 8; partitions <= 12; partitions += 4) {
            for (uint64_t unit = 1; unit <= 1u << 20; unit <<= 10) {
                struct external_settings s = settings_of(13, 0, (enum index_layout)layout);
                s.partitions_log2 = partitions;
                s.unit_bytes = unit << 10;
                check_build(f, &d, layout, &s);
            }
        }
    }
    dataset_done(&d);
}

/* --- failures --- */

static void check_error(struct fixture *f, const struct dataset *d, enum tarn_duplicates policy,
                        const struct external_settings *settings, int status, const char *text)
{
    struct tarn_error error = {0};
    file_write(f->path, buffer_view(&d->data));
    assert_int_equal(build(f, d, policy, settings, &error), status);
    if (strstr(error.text, text) == NULL)
        fail_msg("%s", error.text);
    assert_nothing_left(f);
    assert_int_equal(scratch_count(&f->scratch, ".tarnidx"), 0);
}

static void bad_records(void **context)
{
    struct fixture *f = *context;
    struct external_settings s = settings_of(10, 0, INDEX_BLOCKS);
    struct dataset d;
    dataset_init(&d, &dataset_formats[0]);
    add_numbered(&d, 500);
    buffer_append_text(&d.data, "no-separator\n");
    check_error(f, &d, TARN_DUPLICATES_LAST, &s, TARN_CORRUPT, "record 500 at byte");
    dataset_done(&d);
    dataset_init(&d, &dataset_formats[2]);
    add_numbered(&d, 500);
    d.data.size--;
    check_error(f, &d, TARN_DUPLICATES_LAST, &s, TARN_CORRUPT, "record 499 at byte");
    dataset_done(&d);
}

static void duplicates_refused(void **context)
{
    struct fixture *f = *context;
    for (int layout = 0; layout <= INDEX_PAGES; layout++) {
        struct external_settings s = settings_of(9, 0, (enum index_layout)layout);
        struct dataset d;
        dataset_init(&d, &dataset_formats[0]);
        add_numbered(&d, 3000);
        check_build(f, &d, TARN_DUPLICATES_ERROR, &s);
        remove(f->index_path);
        dataset_add_text(&d, "key-2000", "again");
        add_numbered(&d, 10);
        check_error(f, &d, TARN_DUPLICATES_ERROR, &s, TARN_DUPLICATE, "repeats the key \"key-");
        dataset_done(&d);
    }
}

static void too_little_memory(void **context)
{
    struct fixture *f = *context;
    struct dataset d;
    fill(&d, 2, 1000);
    struct external_settings s = settings_of(9, 0, INDEX_BLOCKS);
    s.memory_bytes = 1 << 20;
    check_error(f, &d, TARN_DUPLICATES_LAST, &s, TARN_TOOBIG, "needs");
    s.memory_bytes = 10 << 20;
    check_error(f, &d, TARN_DUPLICATES_LAST, &s, TARN_TOOBIG, "are needed; raise --memory");
    dataset_done(&d);
}

/* Each call that can fail, failing once: an error that names a file, or the index; then the same
 * command makes the index that was to be. */
static void failing_calls(void **context)
{
    struct fixture *f = *context;
    struct dataset d;
    fill(&d, 3, 12000 / TEST_SLOWER);
    file_write(f->path, buffer_view(&d.data));
    for (int layout = 0; layout <= INDEX_PAGES; layout++) {
        struct external_settings s = settings_of(12, 2, (enum index_layout)layout);
        struct buffer reference = {0};
        struct tarn_error error = {0};
        s.partitions_log2 = 2;
        assert_int_equal(build(f, &d, TARN_DUPLICATES_LAST, &s, &error), TARN_OK);
        assert_true(file_read(f->index_path, &reference));
        for (int entry = 0; entry < FAULT_ENTRY_COUNT; entry++) {
            uint64_t nth = 1;
            for (bool fired = true; fired; nth += TEST_SLOWER + nth / 16) {
                remove(f->index_path);
                fault_os_reset(&f->faults);
                fault_os_fail(&f->faults, entry, nth, entry == FAULT_WRITE_AT ? ENOSPC : EIO,
                              false);
                int status = build(f, &d, TARN_DUPLICATES_LAST, &s, &error);
                fired = fault_os_fired(&f->faults) && entry != FAULT_UNMAP &&
                        entry != FAULT_MONOTONIC_NS && entry != FAULT_REALTIME_US;
                fault_os_reset(&f->faults);
                assert_true(fault_os_clean(&f->faults));
                if (status != TARN_OK)
                    assert_true(fired && strstr(error.text, f->path) != NULL);
                if (status != TARN_OK && build(f, &d, TARN_DUPLICATES_LAST, &s, &error) != TARN_OK)
                    fail_msg("after %s %llu: %s", fault_entry_name((enum fault_entry)entry),
                             (unsigned long long)nth, error.text);
                if (!file_holds(f->index_path, buffer_view(&reference)))
                    fail_msg("after %s %llu: another index",
                             fault_entry_name((enum fault_entry)entry), (unsigned long long)nth);
            }
        }
        buffer_done(&reference);
    }
    dataset_done(&d);
}

static void short_transfers(void **context)
{
    struct fixture *f = *context;
    struct dataset d;
    struct tarn_error error;
    fill(&d, 3, 6000 / TEST_SLOWER);
    file_write(f->path, buffer_view(&d.data));
    struct external_settings s = settings_of(12, 2, INDEX_BLOCKS);
    s.partitions_log2 = 2;
    for (int entry = FAULT_READ_AT; entry <= FAULT_WRITE_AT; entry++) {
        bool fired = true;
        for (uint64_t nth = 1; fired; nth += TEST_SLOWER + nth / 16) {
            fault_os_reset(&f->faults);
            fault_os_short(&f->faults, entry, nth, entry == FAULT_READ_AT ? 4096 : 5);
            if (build(f, &d, TARN_DUPLICATES_LAST, &s, &error) != TARN_OK)
                fail_msg("%s", error.text);
            fired = fault_os_fired(&f->faults);
            check_index(f, &d, TARN_DUPLICATES_LAST, &s);
        }
    }
    fault_os_reset(&f->faults);
    dataset_done(&d);
}

static void failing_allocations(void **context)
{
    struct fixture *f = *context;
    struct dataset d;
    fill(&d, 2, 2000);
    file_write(f->path, buffer_view(&d.data));
    for (int layout = 0; layout <= INDEX_PAGES; layout++) {
        struct external_settings s = settings_of(12, 2, (enum index_layout)layout);
        s.partitions_log2 = 2;
        bool fired = true;
        for (uint64_t nth = 1; fired; nth += TEST_SLOWER) {
            struct tarn_error error = {0};
            fault_malloc_arm(nth, false);
            int status = build(f, &d, TARN_DUPLICATES_LAST, &s, &error);
            fired = fault_malloc_disarm() > 0;
            if (status != TARN_OK) { /* fewer threads do, too */
                assert_int_equal(status, TARN_NOMEM);
                assert_true(fired && strlen(error.text) > 0);
            }
            assert_int_equal(build(f, &d, TARN_DUPLICATES_LAST, &s, &error), TARN_OK);
            assert_nothing_left(f);
        }
        check_index(f, &d, TARN_DUPLICATES_LAST, &s);
    }
    dataset_done(&d);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(few_records),       TEST(all_granules_and_layouts),
        TEST(equal_hashes),      TEST(all_units),
        TEST(bad_records),       TEST(duplicates_refused),
        TEST(too_little_memory), TEST(failing_calls),
        TEST(short_transfers),   TEST(failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
