/* Goal: an index build that is killed, loses power or meets a full disk, at any change of the disk,
 * goes on when the same command is given again, and ends with the very same index, with nothing
 * else left; what it is to go on from is never believed when it is of other data. Method: builds on
 * a simulated disk, which is stopped in each changing call in turn, then restarted with all that
 * was written, or what a power cut may leave of it; secrets that are always the same, so that
 * indexes can be compared byte by byte with one that was built in one go.
 *
 * Bugs planted once to see it fail: the spill file not synced before the state; the file that
 * becomes the index not synced before it. */
#include "lib/test.h"

#include <fcntl.h>
#include <stdio.h>

#include "lib/dataset.h"
#include "lib/simulated_disk.h"
#include "pack/external.h"

#define DATA_PATH  "/data"
#define INDEX_PATH "/data.tarnidx"

struct fixture {
    struct simulated_disk disk;
    struct dataset dataset;
    struct buffer reference; /* the index, built in one go */
    unsigned going_on;       /* builds that went on with another */
    uint64_t cancel_at;      /* report to answer with "stop"; 0: none */
    uint64_t reports;
};

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
    disk_init(&f->disk, 1);
    f->disk.os.entropy = same_entropy;
    *context = f;
    return 0;
}

static int teardown(void **context)
{
    struct fixture *f = *context;
    disk_done(&f->disk);
    dataset_done(&f->dataset);
    buffer_done(&f->reference);
    free(f);
    return 0;
}

static void notice(void *context, const char *text)
{
    struct fixture *f = context;
    f->going_on += strstr(text, "going on") != NULL;
}

static bool progress(void *context, const char *phase, uint64_t done, uint64_t total)
{
    struct fixture *f = context;
    (void)phase;
    assert_true(done <= total);
    return ++f->reports != f->cancel_at;
}

static struct external_settings settings_of(enum index_layout layout)
{
    return (struct external_settings){
        .memory_bytes = 256u << 20,
        .granule_log2 = 12,
        .fingerprint_bits = layout == INDEX_PAGES ? 0 : 3,
        .layout = layout,
        .round_bytes = 1,
        .state_period_ns = 1,
        .partitions_log2 = 3,
    };
}

static int build(struct fixture *f, const struct external_settings *settings,
                 struct tarn_error *error)
{
    struct tarn_options options = {
        .path = DATA_PATH,
        .format = f->dataset.format,
        .threads = 2,
        .notice = notice,
        .notice_context = f,
        .progress = progress,
        .progress_context = f,
    };
    struct tarn_index_report report;
    f->reports = 0;
    return external_build(&f->disk.os, &options, settings, &report, error);
}

/* And all that was done to names so far is durable. */
static void remove_index(struct fixture *f)
{
    const struct os *os = &f->disk.os;
    int fd;
    (void)os->unlink(os, INDEX_PATH); /* it may not be there */
    assert_int_equal(os->open(os, "/", O_RDONLY | O_DIRECTORY, 0, &fd), 0);
    assert_int_equal(os->sync(os, fd), 0);
    assert_int_equal(os->close(os, fd), 0);
}

static void assert_built(struct fixture *f, const struct external_settings *settings,
                         const char *after, uint64_t nth)
{
    struct tarn_error error;
    f->cancel_at = 0;
    if (build(f, settings, &error) != TARN_OK)
        fail_msg("%s %llu: %s", after, (unsigned long long)nth, error.text);
    struct tarn_bytes now = disk_content(&f->disk, INDEX_PATH);
    if (now.data == NULL || now.size != f->reference.size ||
        memcmp(now.data, f->reference.data, now.size) != 0)
        fail_msg("%s %llu: another index", after, (unsigned long long)nth);
    assert_null(disk_content(&f->disk, INDEX_PATH ".build").data);
    assert_null(disk_content(&f->disk, INDEX_PATH ".spill").data);
    assert_null(disk_content(&f->disk, INDEX_PATH ".state").data);
    assert_null(disk_content(&f->disk, INDEX_PATH ".state.new").data);
}

/* Data, and its index built in one go. Returns the number of changes of the disk. */
static uint64_t prepare(struct fixture *f, const struct external_settings *settings)
{
    struct tarn_error error;
    dataset_done(&f->dataset);
    dataset_init(&f->dataset, &dataset_formats[2]);
    dataset_add_random(&f->dataset, 1, 40000, 12, 120, 7);
    remove_index(f);
    disk_put(&f->disk, DATA_PATH, buffer_view(&f->dataset.data));
    uint64_t before = disk_calls(&f->disk);
    f->cancel_at = 0;
    if (build(f, settings, &error) != TARN_OK)
        fail_msg("%s", error.text);
    uint64_t calls = disk_calls(&f->disk) - before;
    struct tarn_bytes index = disk_content(&f->disk, INDEX_PATH);
    buffer_clear(&f->reference);
    buffer_append(&f->reference, index.data, index.size);
    remove_index(f);
    f->going_on = 0;
    return calls;
}

static void stopped_anywhere(struct fixture *f, enum index_layout layout, enum disk_end end,
                             uint64_t seed)
{
    struct external_settings s = settings_of(layout);
    uint64_t calls = prepare(f, &s), rounds = 0;
    assert_true(calls > 60);
    for (uint64_t nth = 1; nth <= calls; nth += TEST_SLOWER, rounds++) {
        struct tarn_error error;
        remove_index(f);
        disk_stop_at(&f->disk, nth);
        int status = build(f, &s, &error);
        if (disk_stopped(&f->disk)) /* what comes after the rename may fail unnoticed */
            disk_restart(&f->disk, end, seed + nth);
        else
            assert_int_equal(status, TARN_OK);
        disk_stop_at(&f->disk, 0);
        assert_built(f, &s, end == DISK_KILLED ? "killed at" : "power lost at", nth);
    }
    assert_true(f->going_on > rounds / 4); /* else this tests beginning anew */
}

static void killed_anywhere(void **context)
{
    stopped_anywhere(*context, INDEX_BLOCKS, DISK_KILLED, 0);
    stopped_anywhere(*context, INDEX_PAGES, DISK_KILLED, 0);
}

static void power_lost_anywhere(void **context)
{
    for (uint64_t seed = 0; seed < 4; seed++)
        stopped_anywhere(*context, seed & 1 ? INDEX_PAGES : INDEX_BLOCKS, DISK_POWER_LOST,
                         seed * 1000);
}

/* Killed again and again, each time a little later, without ever beginning anew. */
static void killed_often(void **context)
{
    struct fixture *f = *context;
    for (int layout = 0; layout <= INDEX_PAGES; layout++) {
        struct external_settings s = settings_of((enum index_layout)layout);
        prepare(f, &s);
        unsigned kills = 0;
        for (uint64_t nth = 16;; nth++, kills++) {
            struct tarn_error error;
            disk_stop_at(&f->disk, nth);
            (void)!build(f, &s, &error);
            if (!disk_stopped(&f->disk))
                break;
            disk_restart(&f->disk, kills % 2 ? DISK_KILLED : DISK_POWER_LOST, nth);
        }
        disk_stop_at(&f->disk, 0);
        assert_true(kills > 3);
        remove_index(f);
        assert_built(f, &s, "killed often", kills);
    }
}

static void cancelled_anywhere(void **context)
{
    struct fixture *f = *context;
    for (int layout = 0; layout <= INDEX_PAGES; layout++) {
        struct external_settings s = settings_of((enum index_layout)layout);
        prepare(f, &s);
        for (uint64_t nth = 1;; nth++) {
            struct tarn_error error;
            remove_index(f);
            f->cancel_at = nth;
            int status = build(f, &s, &error);
            if (status == TARN_OK)
                break;
            assert_int_equal(status, TARN_CANCELLED);
            assert_non_null(strstr(error.text, "goes on"));
            unsigned before = f->going_on;
            assert_built(f, &s, "cancelled at", nth);
            assert_int_equal(f->going_on, before + 1);
        }
    }
}

static void full_disk(void **context)
{
    struct fixture *f = *context;
    unsigned full = 0;
    for (int layout = 0; layout <= INDEX_PAGES; layout++) {
        struct external_settings s = settings_of((enum index_layout)layout);
        prepare(f, &s);
        uint64_t used = disk_used(&f->disk);
        for (uint64_t more = 0; more < 4u << 20; more += 64u << 10) {
            struct tarn_error error;
            remove_index(f);
            disk_limit(&f->disk, used + more);
            int status = build(f, &s, &error);
            disk_limit(&f->disk, 0);
            if (status == TARN_OK)
                continue;
            full++;
            assert_int_equal(status, TARN_NOSPACE);
            assert_non_null(strstr(error.text, INDEX_PATH));
            if (disk_content(&f->disk, INDEX_PATH ".state").data == NULL)
                assert_int_equal(disk_used(&f->disk),
                                 used); /* nothing to go on with, nothing left */
            assert_built(f, &s, "full at", more);
        }
    }
    assert_true(full > 10);
}

/* What is left of a build of other data, of other settings, or damaged, is not gone on with. */
static void of_something_else(void **context)
{
    struct fixture *f = *context;
    struct external_settings s = settings_of(INDEX_BLOCKS);
    for (int change = 0; change < 5; change++) {
        struct tarn_error error;
        prepare(f, &s);
        struct external_settings other = s;
        f->cancel_at = 3;
        assert_int_equal(build(f, &s, &error), TARN_CANCELLED);
        remove_index(f);
        struct tarn_bytes state = disk_content(&f->disk, INDEX_PATH ".state");
        unsigned char *copy = malloc(state.size);
        memcpy(copy, state.data, state.size);
        if (change == 0)
            copy[state.size / 2] ^= 4;
        if (change < 2)
            disk_put(&f->disk, INDEX_PATH ".state",
                     (struct tarn_bytes){copy, state.size - (size_t)change});
        if (change == 2)
            other.fingerprint_bits = 4;
        if (change == 3) { /* the last value is another */
            f->dataset.data.data[f->dataset.data.size - 1] ^= 1;
            disk_put(&f->disk, DATA_PATH, buffer_view(&f->dataset.data));
        }
        if (change == 4)
            other.restart = true;
        free(copy);
        unsigned before = f->going_on;
        f->cancel_at = 0;
        assert_int_equal(build(f, &other, &error), TARN_OK);
        assert_int_equal(f->going_on, before);
        assert_null(disk_content(&f->disk, INDEX_PATH ".state").data);
        remove_index(f);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(killed_anywhere),    TEST(power_lost_anywhere), TEST(killed_often),
        TEST(cancelled_anywhere), TEST(full_disk),           TEST(of_something_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
