/* Goal: the index of any data set leads every key to the record that counts, whatever the number
 * of threads, repetitions and equal hashes; failures are whole errors and leave nothing behind.
 * Method: packs built in memory from random sets and held against a model; hashes cut to a few
 * bits; files whose error messages are compared word for word; every allocation, read and map
 * failed once, work cancelled at every report.
 *
 * Bugs planted once to see it fail: equal hashes resolved, but exceptions not sorted; the first
 * duplicate found instead of the lowest; a unit's partitions off by one; record_bytes_min of one
 * thread only; a chunk's error not passed on; the progress callback's answer ignored. */
#include "lib/test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "lib/block_check.h"
#include "lib/fault_malloc.h"
#include "lib/fault_os.h"
#include "lib/memory_pack.h"
#include "lib/scratch.h"

struct fixture {
    struct scratch scratch;
    char path[SCRATCH_PATH_BYTES];
};

static int setup(void **context)
{
    struct fixture *f = calloc(1, sizeof *f);
    scratch_open(&f->scratch);
    scratch_name(&f->scratch, "data.bin", f->path);
    *context = f;
    return 0;
}

static int teardown(void **context)
{
    struct fixture *f = *context;
    scratch_close(&f->scratch);
    free(f);
    return 0;
}

/* Records "key-<from>".. with short values. */
static void add_numbered(struct dataset *d, size_t from, size_t count)
{
    for (size_t i = from; i < from + count; i++) {
        char key[32], value[32];
        snprintf(key, sizeof key, "key-%zu", i);
        snprintf(value, sizeof value, "%zu", i * 7);
        dataset_add_text(d, key, value);
    }
}

static void check_counts(const struct memory_pack *m, const struct dataset *d)
{
    const struct index *index = m->pack.index;
    uint64_t keys = 0, values = 0, smallest = d->count ? UINT64_MAX : 0;
    for (size_t i = 0; i < d->count; i++) {
        keys += d->records[i].key_size;
        values += d->records[i].value_size;
        if (d->records[i].size < smallest)
            smallest = d->records[i].size;
    }
    assert_int_equal(index->records, d->count);
    assert_int_equal(index->duplicates, d->duplicates);
    assert_int_equal(index_keys(index), d->live);
    assert_int_equal(index->key_bytes_total, keys);
    assert_int_equal(index->value_bytes_total, values);
    assert_int_equal(index->record_bytes_min, smallest);
    assert_int_equal(index->exception_count, m->report.collisions);
    assert_true(ribbon_check(&index->ribbon));
}

static void check_set(struct dataset *d, enum tarn_duplicates policy, unsigned threads,
                      uint64_t hash_mask)
{
    struct memory_pack m;
    memory_pack_init(&m, d, policy, threads, hash_mask);
    check_counts(&m, d);
    if (d->count > 1000000) { /* each record once, and quickly */
        struct tarn_options options = {.path = "memory"};
        struct tarn_verify_report report;
        assert_int_equal(pack_verify(&m.pack, &options, &report, NULL), TARN_OK);
    } else {
        check_pack(&m.pack, d, d->count / 4 + 100);
    }
    memory_pack_done(&m);
}

static void all_formats_and_threads(void **context)
{
    (void)context;
    static const unsigned threads[] = {1, 2, 4};
    for (size_t i = 0; i < dataset_formats_count; i++) {
        struct dataset d;
        dataset_init(&d, &dataset_formats[i]);
        for (size_t count = 0; count < 5; count++) {
            for (int t = 0; t < 3; t++)
                check_set(&d, t & 1, threads[t], 0);
            dataset_add_random(&d, count, count * count * 200 + 1, 12, 40, count == 2 ? 0 : 3);
        }
        dataset_drop_last_newline(&d);
        check_set(&d, TARN_DUPLICATES_LAST, 2, 0);
        dataset_done(&d);
    }
}

/* Trips on: units that are not whole partitions or whole shards, at every number of shards up to
 * where a unit is one partition of several shards. */
static void many_shards(void **context)
{
    (void)context;
    static const size_t counts[] = {
        6000,
        6200,
        13000,
        30000,
        200000,
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    };
#else
        1600000
    };
#endif
    struct dataset d;
    dataset_init(&d, &dataset_formats[0]);
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        add_numbered(&d, d.count, counts[i] - d.count);
        check_set(&d, TARN_DUPLICATES_LAST, 1 + i % 4, 0);
    }
    dataset_done(&d);
}

/* Trips on: keys lost where hashes are equal; exceptions that cannot be found. */
static void weak_hashes(void **context)
{
    (void)context;
    struct dataset d;
    dataset_init(&d, &dataset_formats[2]);
    add_numbered(&d, 0, 20000 / TEST_SLOWER);
    for (int policy = 0; policy < 2; policy++) {
        check_set(&d, policy, 2, ~0ull << 52); /* 4096 values */
        check_set(&d, policy, 1, ~0ull << 60); /* 16: all keys of a shard in one run */
        if (policy == 0)
            dataset_add_random(&d, 1, 1000, 1, 3, 2); /* and duplicates among them */
    }
    add_numbered(&d, 20000, 80000 / TEST_SLOWER);
    check_set(&d, TARN_DUPLICATES_LAST, 4, ~0ull << 52);
    check_set(&d, TARN_DUPLICATES_FIRST, 4, ~0ull << 48); /* some alone, some not */
    dataset_done(&d);
}

/* Trips on: a shard of very many records; work that grows with the square of the repetitions. */
static void one_key_very_often(void **context)
{
    (void)context;
    for (int policy = 0; policy < 2; policy++) {
        struct dataset d;
        dataset_init(&d, &dataset_formats[0]);
        add_numbered(&d, 0, 3000);
        for (int i = 0; i < 100000; i++)
            dataset_add_text(&d, i % 3 ? "again" : "and-again", "value");
        add_numbered(&d, 2000, 3000);
        check_set(&d, policy, 2, 0);
        dataset_done(&d);
    }
}

static void extreme_keys(void **context)
{
    (void)context;
    char *key = malloc(TARN_KEY_BYTES_MAX);
    for (size_t i = 0; i < dataset_formats_count; i++) {
        struct dataset d;
        dataset_init(&d, &dataset_formats[i]);
        memset(key, 'k', TARN_KEY_BYTES_MAX);
        dataset_add(&d, (struct tarn_bytes){key, TARN_KEY_BYTES_MAX}, bytes_of("long"));
        dataset_add(&d, (struct tarn_bytes){key, TARN_KEY_BYTES_MAX - 1}, bytes_of("shorter"));
        dataset_add(&d, (struct tarn_bytes){key, 0}, bytes_of("empty"));
        dataset_add(&d, (struct tarn_bytes){key, 1}, bytes_of(""));
        dataset_add(&d, (struct tarn_bytes){key, 0}, bytes_of(""));
        key[TARN_KEY_BYTES_MAX - 1] = 'l';
        dataset_add(&d, (struct tarn_bytes){key, TARN_KEY_BYTES_MAX}, bytes_of("other"));
        for (int policy = 0; policy < 2; policy++)
            check_set(&d, policy, 1, 0);
        dataset_done(&d);
    }
    free(key);
}

/* Trips on: a chunk that ends inside a block; the first start of a granule not noted, or a later
 * one; equal hashes of one block not seen; a block's checksum over other bytes. */
static void blocks(void **context)
{
    (void)context;
    for (size_t i = 0; i < dataset_formats_count; i++) {
        struct dataset d;
        dataset_init(&d, &dataset_formats[i]);
        add_numbered(&d, 0, 3000);
        dataset_add_random(&d, i, 3000, 12, i % 2 ? 40 : 3000, 5);
        dataset_drop_last_newline(&d);
        for (unsigned granule = 9; granule <= 24; granule += 1 + granule / 8) {
            struct memory_pack m;
            memory_pack_init_blocks(
                &m, &d,
                (struct builder_options){.threads = 2,
                                         .duplicates = granule & 1,
                                         .granule_log2 = granule,
                                         .fingerprint_bits = granule % 9,
                                         .hash_mask = granule & 2 ? ~0ull << 52 : 0});
            check_blocks(m.pack.index, NULL, &d);
            memory_pack_done(&m);
        }
        dataset_done(&d);
    }
}

/* --- from a file --- */

static int run_on(const struct os *os, const struct fixture *f, const struct dataset *d,
                  const struct builder_options *options, bool memory, struct index **ret_index,
                  struct tarn_error *error)
{
    struct source source = {.os = os, .path = f->path, .fd = -1, .size = d->data.size};
    struct builder_report report;
    if (memory)
        source.memory = buffer_view(&d->data);
    else
        source.fd = open(f->path, O_RDONLY | O_CLOEXEC);
    int status = builder_run(&source, options, ret_index, &report, error);
    if (source.fd >= 0)
        close(source.fd);
    return status;
}

/* Trips on: another record than the first repetition named, or wrongly counted. */
static void duplicates_refused(void **context)
{
    struct fixture *f = *context;
    char expected[1024];
    for (size_t i = 0; i < dataset_formats_count; i += 2) {
        for (unsigned threads = 1; threads <= 4; threads += 3) {
            struct dataset d;
            struct tarn_error error;
            struct index *index;
            dataset_init(&d, &dataset_formats[i]);
            add_numbered(&d, 0, 9000);
            file_write(f->path, buffer_view(&d.data));
            struct builder_options options = {
                .format = d.format, .duplicates = TARN_DUPLICATES_ERROR, .threads = threads};
            assert_int_equal(run_on(os_real(), f, &d, &options, false, &index, &error), TARN_OK);
            index_free(index);
            add_numbered(&d, 4711, 3); /* records 9000.. repeat 4711.. */
            add_numbered(&d, 0, 100);
            file_write(f->path, buffer_view(&d.data));
            for (int memory = 0; memory < 2; memory++) {
                int status = run_on(os_real(), f, &d, &options, memory, &index, &error);
                assert_int_equal(status, TARN_DUPLICATE);
                assert_int_equal(error.record, 9000);
                assert_int_equal(error.offset, d.records[9000].offset);
                snprintf(expected, sizeof expected,
                         "%s: record 9000 at byte %llu repeats the key \"key-4711\" of the record "
                         "at byte %llu",
                         f->path, (unsigned long long)d.records[9000].offset,
                         (unsigned long long)d.records[4711].offset);
                assert_string_equal(error.text, expected);
            }
            dataset_done(&d);
        }
    }
}

/* Trips on: a bad record that goes unseen with several threads, or is not the first. */
static void bad_records(void **context)
{
    struct fixture *f = *context;
    char place[128];
    for (size_t i = 0; i < 3; i += 2) {
        struct dataset d;
        dataset_init(&d, &dataset_formats[i]);
        add_numbered(&d, 0, 200000); /* several blocks */
        static const size_t bad[] = {0, 1, 77777, 150000, 199999};
        for (size_t b = 0; b<5; b += TEST_SLOWER> 1 ? 3 : 1) {
            struct dataset_record *r = &d.records[bad[b]], *next = &d.records[199999];
            unsigned char *at = d.data.data + (i == 0 ? r->value_at - 1 : r->offset + 3);
            unsigned char *later = d.data.data + (i == 0 ? next->value_at - 1 : next->offset + 3);
            unsigned char old = *at, old_later = *later;
            *at = *later = i == 0 ? 'x' : 0x7f;
            file_write(f->path, buffer_view(&d.data));
            for (unsigned threads = 1; threads <= 4; threads += 3) {
                for (int memory = 0; memory < 2; memory++) {
                    struct builder_options options = {.format = d.format, .threads = threads};
                    struct tarn_error error;
                    struct index *index = NULL;
                    int status = run_on(os_real(), f, &d, &options, memory, &index, &error);
                    assert_int_equal(status, i == 0 ? TARN_CORRUPT : TARN_TOOBIG);
                    assert_int_equal(error.record, bad[b]);
                    assert_int_equal(error.offset, r->offset);
                    snprintf(place, sizeof place, "record %zu at byte %llu: ", bad[b],
                             (unsigned long long)r->offset);
                    assert_non_null(strstr(error.text, place));
                    assert_non_null(strstr(error.text, f->path));
                    assert_null(index);
                }
            }
            *later = old_later;
            *at = old;
        }
        dataset_done(&d);
    }
}

/* --- failures --- */

struct canceller {
    uint64_t reports, cancel_at;
};

static bool report(void *context, const char *phase, uint64_t done, uint64_t total)
{
    struct canceller *c = context;
    if (done > total || phase[0] == 0)
        abort();
    return ++c->reports != c->cancel_at;
}

static void cancelled_anywhere(void **context)
{
    struct fixture *f = *context;
    struct dataset d;
    dataset_init(&d, &dataset_formats[2]);
    add_numbered(&d, 0, 100000);
    file_write(f->path, buffer_view(&d.data));
    bool cancelled = true;
    for (uint64_t at = 1; cancelled; at += 1 + at * TEST_SLOWER / 8) {
        for (unsigned threads = 1; threads <= 3; threads += 2) {
            struct canceller canceller = {0, at};
            struct builder_options options = {.format = d.format, .threads = threads};
            struct tarn_error error;
            struct index *index = NULL;
            options.progress = report;
            options.progress_context = &canceller;
            int status = run_on(os_real(), f, &d, &options, at & 1, &index, &error);
            if (threads == 1)
                cancelled = canceller.reports >= at;
            if (canceller.reports >= at) {
                assert_int_equal(status, TARN_CANCELLED);
                assert_non_null(strstr(error.text, f->path));
                assert_null(index);
            } else {
                assert_int_equal(status, TARN_OK);
                index_free(index);
            }
        }
        if (at == 1)
            assert_true(cancelled);
    }
    dataset_done(&d);
}

/* Trips on: a failure that is not reported or leaks. */
static void failing_calls(void **context)
{
    struct fixture *f = *context;
    struct fault_os faults;
    struct dataset d;
    dataset_init(&d, &dataset_formats[2]);
    add_numbered(&d, 0, 70000);
    add_numbered(&d, 5, 5);
    file_write(f->path, buffer_view(&d.data));
    fault_os_init(&faults, NULL);
    static const enum fault_entry entries[] = {FAULT_READ_AT, FAULT_MAP, FAULT_ENTROPY};
    for (unsigned threads = TEST_SLOWER > 1 ? 3 : 1; threads <= 3; threads += 2) {
        for (int e = 0; e < 4; e++) { /* the fourth: the file gets shorter */
            uint64_t nth = 1;
            for (bool fired = true; fired; nth++) {
                struct builder_options options = {.format = d.format, .threads = threads};
                struct tarn_error error = {0};
                struct index *index = NULL;
                fault_os_reset(&faults);
                if (e < 3)
                    fault_os_fail(&faults, entries[e], nth, e == 1 ? ENOMEM : EIO, true);
                else
                    fault_os_short(&faults, FAULT_READ_AT, nth, 0);
                int status = run_on(&faults.os, f, &d, &options, false, &index, &error);
                fired = fault_os_fired(&faults);
                assert_int_equal(status, !fired   ? TARN_OK
                                         : e == 1 ? TARN_NOMEM
                                         : e == 3 ? TARN_STALE
                                                  : TARN_IO);
                if (fired)
                    assert_non_null(strstr(error.text, f->path));
                else
                    index_free(index);
                assert_true(fault_os_clean(&faults));
            }
            assert_true(nth > 2);
        }
    }
    fault_os_done(&faults);
    dataset_done(&d);
}

static void failing_allocations(void **context)
{
    struct fixture *f = *context;
    struct dataset d;
    dataset_init(&d, &dataset_formats[2]);
    add_numbered(&d, 0, 13000 / TEST_SLOWER);
    add_numbered(&d, 5, 5);
    file_write(f->path, buffer_view(&d.data));
    for (unsigned threads = 1; threads <= 2; threads++) {
        for (int memory = 0; memory < 2; memory++) {
            bool fired = true;
            /* some allocations of the scan are alike: not all of them need be failed */
            for (uint64_t nth = 1; fired; nth += nth < 40 ? 1 : nth / 8) {
                struct builder_options options = {
                    .format = d.format, .threads = threads, .hash_mask = ~0ull << 50};
                struct tarn_error error = {0};
                struct index *index = NULL;
                fault_malloc_arm(nth, false);
                int status = run_on(os_real(), f, &d, &options, memory, &index, &error);
                fired = fault_malloc_disarm() > 0;
                if (status == TARN_OK) {
                    /* threads that cannot be started are done without */
                    assert_true(!fired || threads > 1);
                    index_free(index);
                } else {
                    assert_int_equal(status, TARN_NOMEM);
                    assert_non_null(strstr(error.text, f->path));
                }
            }
        }
    }
    dataset_done(&d);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(all_formats_and_threads), TEST(many_shards),         TEST(weak_hashes),
        TEST(one_key_very_often),      TEST(extreme_keys),        TEST(blocks),
        TEST(duplicates_refused),      TEST(bad_records),         TEST(failing_calls),
        TEST(cancelled_anywhere),      TEST(failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
