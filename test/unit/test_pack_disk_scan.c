/* Goal: a scan of a pack on disk visits every record that counts once, from any cursor, and around
 * a damaged block all others; random keys are of the set and evenly drawn; verifying accepts what
 * is sound and nothing else. Method: data sets over formats, granules, layouts and policies, held
 * against the model; cursors at every byte; each bit flipped; each read and each allocation failed.
 *
 * Bugs planted once to see it fail: records before the cursor visited; a repetition in the same
 * block not noticed; a repetition in another block not; skip at the end of the run, not of the bad
 * block; raw MiB not summed by verify; blocks drawn by size. */
#include "lib/test.h"

#include <errno.h>
#include <stdio.h>

#include "lib/disk_fixture.h"
#include "lib/fault_malloc.h"
#include "lib/fault_os.h"

struct seen {
    const struct dataset *d;
    unsigned char *times; /* of each record */
    size_t visits, wrong;
    uint64_t first; /* where the first one lies */
};

static void note(void *context, struct tarn_bytes key, struct tarn_bytes value)
{
    struct seen *s = context;
    size_t record = dataset_find(s->d, key);
    s->visits++;
    if (record == SIZE_MAX || !bytes_equal(dataset_value(s->d, record), value)) {
        s->wrong++;
        return;
    }
    if (s->first == UINT64_MAX)
        s->first = s->d->records[record].offset;
    s->times[record]++;
}

static struct seen seen_new(const struct dataset *d)
{
    return (struct seen){.d = d, .times = calloc(d->count + 1, 1), .first = UINT64_MAX};
}

/* From the cursor to the end in steps: each record that counts, and starts there, once. */
static void assert_scans(struct disk_fixture *f, uint64_t cursor, size_t step)
{
    struct seen s = seen_new(f->d);
    struct tarn_error error;
    uint64_t from = cursor, visited = 0;
    do {
        if (disk_scan(&f->pack, &cursor, step, &f->buffer, note, &s, NULL, &error) != TARN_OK)
            fail_msg("%s", error.text);
        assert_true(s.visits - visited <= step);
        visited = s.visits;
    } while (cursor != 0);
    assert_int_equal(s.wrong, 0);
    for (size_t i = 0; i < f->d->count; i++)
        if (s.times[i] != (dataset_live(f->d, i) && f->d->records[i].offset >= from))
            fail_msg("record %zu of %zu is visited %d times", i, f->d->count, s.times[i]);
    free(s.times);
}

static void assert_verifies(struct disk_fixture *f)
{
    struct tarn_verify_report report;
    struct tarn_error error;
    struct tarn_options options = {0};
    if (disk_verify(&f->pack, &options, &report, &error) != TARN_OK)
        fail_msg("%s", error.text);
    assert_int_equal(report.records, f->d->count);
    assert_int_equal(report.keys, f->d->live);
}

static void all_shapes(const struct dataset *d, enum tarn_duplicates policy, uint64_t hash_mask)
{
    for (unsigned g = 9; g <= 13; g += 2)
        for (unsigned layout = 0; layout < 2; layout++) {
            struct disk_fixture f;
            struct disk_shape shape = {.layout = layout,
                                       .granule_log2 = g,
                                       .fingerprint_bits = 2,
                                       .policy = policy,
                                       .hash_mask = hash_mask};
            disk_fixture_init(&f, d, &shape, 7);
            assert_scans(&f, 0, 1);
            assert_scans(&f, 0, 10);
            assert_scans(&f, 0, 100000);
            assert_verifies(&f);
            disk_fixture_done(&f);
        }
}

static void scans_everything(void **context)
{
    (void)context;
    static const enum tarn_duplicates policies[] = {TARN_DUPLICATES_LAST, TARN_DUPLICATES_FIRST};
    for (size_t k = 0; k < dataset_formats_count; k++)
        for (unsigned i = 0; i < 4; i++) {
            struct dataset d;
            dataset_init(&d, &dataset_formats[k]);
            dataset_add_random(&d, k + i, i == 3 ? 0 : 200 / TEST_SLOWER, 20, i ? 1500 : 30, 3 * i);
            if (i & 1)
                dataset_drop_last_newline(&d);
            dataset_settle(&d, policies[i & 1]);
            all_shapes(&d, policies[i & 1], 0);
            all_shapes(&d, policies[i & 1], 0x1f);
            dataset_done(&d);
        }
}

static void scans_from_every_byte(void **context)
{
    (void)context;
    struct dataset d;
    struct disk_fixture f;
    dataset_init(&d, &dataset_formats[2]);
    dataset_add_random(&d, 4, 40, 20, 1500, 5);
    dataset_settle(&d, TARN_DUPLICATES_LAST);
    disk_fixture_init(&f, &d, &(struct disk_shape){.granule_log2 = 9}, 0);
    for (uint64_t at = 0; at <= d.data.size; at += 7 * TEST_SLOWER)
        assert_scans(&f, at, 16);
    uint64_t cursor = UINT64_MAX;
    struct seen s = seen_new(&d);
    assert_int_equal(disk_scan(&f.pack, &cursor, 5, &f.buffer, note, &s, NULL, NULL), TARN_OK);
    assert_int_equal(cursor, 0);
    assert_int_equal(s.visits, 0);
    free(s.times);
    disk_fixture_done(&f);
    dataset_done(&d);
}

/* A far value is visited whole. */
static void scans_far_values(void **context)
{
    (void)context;
    struct dataset d;
    struct disk_fixture f;
    char *value = calloc(3, DISK_FAR_BYTES);
    dataset_init(&d, &dataset_formats[0]);
    dataset_add_text(&d, "a", "b");
    dataset_add(&d, bytes_of("far"), (struct tarn_bytes){value, 3 * DISK_FAR_BYTES});
    dataset_add_text(&d, "c", "d");
    dataset_settle(&d, TARN_DUPLICATES_LAST);
    disk_fixture_init(&f, &d, &(struct disk_shape){.granule_log2 = 9}, 0);
    assert_scans(&f, 0, 1);
    assert_scans(&f, 0, 9);
    assert_scans(&f, 1, 9);
    assert_verifies(&f);
    disk_fixture_done(&f);
    dataset_done(&d);
    free(value);
}

/* Each bit: an error once, behind which all other blocks are scanned; verify never agrees. */
static void flipped_bits(void **context)
{
    (void)context;
    struct dataset d;
    struct disk_fixture f;
    struct tarn_verify_report report;
    struct tarn_error error;
    struct tarn_options options = {0};
    dataset_init(&d, &dataset_formats[0]);
    for (unsigned i = 0; i < 60; i++) {
        char key[12];
        snprintf(key, sizeof key, "k%u", i * i);
        dataset_add_text(&d, key, i % 7 ? "a value of some size" : "");
    }
    dataset_settle(&d, TARN_DUPLICATES_LAST);
    disk_fixture_init(&f, &d, &(struct disk_shape){.granule_log2 = 9}, 0);
    for (size_t bit = 0; bit < 8 * d.data.size; bit += TEST_SLOWER) {
        struct seen s = seen_new(&d);
        unsigned errors = 0;
        uint64_t cursor = 0, start = 0, size = 0;
        f.data[bit / 8] ^= (unsigned char)(1 << bit % 8);
        do {
            int status = disk_scan(&f.pack, &cursor, 1000, &f.buffer, note, &s, &cursor, &error);
            errors += status != TARN_OK;
            assert_true(status == TARN_OK || status == TARN_CORRUPT);
        } while (cursor != 0);
        assert_int_equal(errors, 1);
        for (uint64_t b = 0; start + size <= bit / 8; b++)
            assert_true(index_block_range(&f.index, b, &start, &size) || b < f.index.block_count);
        for (size_t i = 0; i < d.count; i++) {
            uint64_t at = d.records[i].offset;
            bool lost = at >= start && at < start + size;
            assert_int_equal(s.times[i], dataset_live(&d, i) && !lost);
        }
        assert_int_equal(disk_verify(&f.pack, &options, &report, &error), TARN_CORRUPT);
        assert_int_equal(error.offset, start);
        f.data[bit / 8] ^= (unsigned char)(1 << bit % 8);
        free(s.times);
    }
    disk_fixture_done(&f);
    dataset_done(&d);
}

/* What only verify looks at: raw checksums, counts, a key that does not lead to its record. */
static void verify_finds_wrong_indexes(void **context)
{
    (void)context;
    struct dataset d;
    struct disk_fixture f;
    struct tarn_verify_report report;
    struct tarn_error error;
    struct tarn_options options = {0};
    dataset_init(&d, &dataset_formats[2]);
    dataset_add_random(&d, 4, 60, 10, 300, 9);
    dataset_settle(&d, TARN_DUPLICATES_LAST);
    disk_fixture_init(&f, &d, &(struct disk_shape){.granule_log2 = 9}, 0);
    unsigned char *body = f.index.body;
    struct index_sections sections;
    assert_true(index_lay_out(&f.index, &sections));
    const uint64_t bytes[] = {sections.checksums, sections.starts + 2, sections.block_checksums};
    for (size_t i = 0; i < 3; i++) {
        body[bytes[i]] ^= 4;
        assert_int_equal(disk_verify(&f.pack, &options, &report, &error), TARN_CORRUPT);
        body[bytes[i]] ^= 4;
    }
    f.index.records++;
    assert_int_equal(disk_verify(&f.pack, &options, &report, &error), TARN_CORRUPT);
    f.index.records--;
    f.index.secret[0] ^= 1;
    f.index.secret[40] ^= 1;
    f.index.secret[190] ^= 1;
    assert_int_equal(disk_verify(&f.pack, &options, &report, &error), TARN_CORRUPT);
    disk_fixture_done(&f);
    dataset_done(&d);
}

static bool cancel(void *context, const char *phase, uint64_t done, uint64_t total)
{
    (void)phase, (void)total;
    *(uint64_t *)context = done;
    return false;
}

static void verify_is_cancelled(void **context)
{
    (void)context;
    struct dataset d;
    struct disk_fixture f;
    struct tarn_verify_report report;
    uint64_t done = 0;
    struct tarn_options options = {.progress = cancel, .progress_context = &done};
    dataset_init(&d, &dataset_formats[2]);
    dataset_add_random(&d, 4, 60, 10, 300, 9);
    dataset_settle(&d, TARN_DUPLICATES_LAST);
    disk_fixture_init(&f, &d, &(struct disk_shape){.granule_log2 = 9}, 0);
    assert_int_equal(disk_verify(&f.pack, &options, &report, NULL), TARN_CANCELLED);
    assert_int_equal(done, d.data.size);
    disk_fixture_done(&f);
    dataset_done(&d);
}

/* Records of like size, spread unevenly over blocks: each is drawn about as often. One of a hundred
 * times the size: about as often as the others, too. */
static void random_keys(void **context)
{
    (void)context;
    enum { COUNT = 200 };
    struct dataset d;
    struct disk_fixture f;
    unsigned drawn[COUNT] = {0};
    char value[4000] = {0};
    const unsigned draws = 100 * COUNT / TEST_SLOWER;
    dataset_init(&d, &dataset_formats[2]);
    for (uint64_t i = 0; i < COUNT; i++)
        dataset_add(&d, (struct tarn_bytes){&i, 8},
                    (struct tarn_bytes){value, i == COUNT / 2 ? 4000 : 30 + i % 20});
    dataset_settle(&d, TARN_DUPLICATES_LAST);
    disk_fixture_init(&f, &d, &(struct disk_shape){.granule_log2 = 9}, 0);
    for (unsigned i = 0; i < draws; i++) {
        struct tarn_bytes key;
        assert_int_equal(disk_random_key(&f.pack, random_mix(i), &f.buffer, &key, NULL), TARN_OK);
        drawn[dataset_find(&d, key)]++;
    }
    for (size_t i = 0; i < COUNT && TEST_SLOWER == 1; i++)
        assert_in_range(drawn[i], 40, i == COUNT / 2 ? 300 : 180);
    disk_fixture_done(&f);
    dataset_done(&d);
    dataset_init(&d, &dataset_formats[2]);
    dataset_settle(&d, TARN_DUPLICATES_LAST);
    struct tarn_bytes key;
    disk_fixture_init(&f, &d, &(struct disk_shape){.granule_log2 = 9}, 0);
    assert_int_equal(disk_random_key(&f.pack, 1, &f.buffer, &key, NULL), TARN_NOTFOUND);
    disk_fixture_done(&f);
    dataset_done(&d);
}

/* Each read fails or is short, each allocation fails: an error, never another answer. */
static void every_call_fails(void **context)
{
    (void)context;
    struct dataset d;
    struct disk_fixture f;
    struct fault_os faults;
    struct tarn_error error;
    dataset_init(&d, &dataset_formats[2]);
    dataset_add_random(&d, 4, 50, 10, 300, 4);
    dataset_settle(&d, TARN_DUPLICATES_LAST);
    disk_fixture_init(&f, &d, &(struct disk_shape){.layout = INDEX_PAGES, .granule_log2 = 9}, 0);
    fault_os_init(&faults, &f.memory.os);
    f.pack.os = &faults.os;
    bool fired = true;
    for (uint64_t nth = 1; fired; nth++) {
        struct seen s = seen_new(&d);
        uint64_t cursor = 0;
        fault_os_reset(&faults);
        fault_os_fail(&faults, FAULT_READ_AT, nth, EIO, false);
        int status = disk_scan(&f.pack, &cursor, 40, &f.buffer, note, &s, NULL, &error);
        fired = fault_os_fired(&faults);
        if (status != TARN_OK) {
            assert_true(fired);
            assert_int_equal(status, TARN_IO);
            assert_non_null(strstr(error.text, " at byte "));
        }
        assert_int_equal(s.wrong, 0);
        free(s.times);
    }
    fired = true;
    for (uint64_t nth = 1; fired; nth++) {
        fault_os_reset(&faults);
        fault_os_short(&faults, FAULT_READ_AT, nth, nth * 700 % 9000);
        struct seen s = seen_new(&d);
        uint64_t cursor = 0;
        int status = disk_scan(&f.pack, &cursor, 40, &f.buffer, note, &s, NULL, &error);
        fired = fault_os_fired(&faults);
        assert_true(status == TARN_OK || (status == TARN_STALE && nth * 700 % 9000 == 0));
        assert_int_equal(s.wrong, 0);
        free(s.times);
    }
    fault_os_reset(&faults);
    for (uint64_t nth = 1;; nth++) {
        struct seen s = seen_new(&d);
        uint64_t cursor = 0;
        disk_buffer_done(&f.buffer);
        fault_malloc_arm(nth, false);
        int status = disk_scan(&f.pack, &cursor, 40, &f.buffer, note, &s, NULL, &error);
        uint64_t failed = fault_malloc_disarm();
        assert_int_equal(status, failed ? TARN_NOMEM : TARN_OK);
        assert_int_equal(s.wrong, 0);
        free(s.times);
        if (!failed)
            break;
    }
    fault_os_done(&faults);
    disk_fixture_done(&f);
    dataset_done(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scans_everything),
        cmocka_unit_test(scans_from_every_byte),
        cmocka_unit_test(scans_far_values),
        cmocka_unit_test(flipped_bits),
        cmocka_unit_test(verify_finds_wrong_indexes),
        cmocka_unit_test(verify_is_cancelled),
        cmocka_unit_test(random_keys),
        cmocka_unit_test(every_call_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
