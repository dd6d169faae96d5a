/* Goal: a rewritten data file holds every record that counts, once, in the order of hashes, within
 * the memory asked for; a rewriting that is stopped anywhere goes on, or begins anew if anything
 * changed; a failure leaves the new file as it was, and nothing behind it but what can be gone on
 * from. Method: data sets in every format and policy rewritten with few and many streams, and the
 * new file verified, looked up and compared with the model; every call failed once, then the same
 * once more; progress that cancels at every step.
 *
 * Bugs planted once to see it fail: the last stream not written; a repetition that does not count
 * kept; a far value one byte off; the place where to go on not restored; the state not compared
 * with the data file's time; the state removed though going on makes sense. */
#include "lib/test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/dataset.h"
#include "lib/fault_malloc.h"
#include "lib/fault_os.h"
#include "lib/scratch.h"
#include "pack/lookup.h"
#include "pack/rewrite.h"

struct fixture {
    struct scratch scratch;
    struct dataset d;
    char path[SCRATCH_PATH_BYTES], output[SCRATCH_PATH_BYTES];
    struct tarn_options options;
    struct rewrite_settings settings;
    struct tarn_index_report report;
    unsigned notices;
    uint64_t steps, cancel_at; /* of progress; 0: never */
};

static void take_notice(void *context, const char *text)
{
    struct fixture *f = context;
    assert_non_null(strstr(text, "going on"));
    f->notices++;
}

static bool step(void *context, const char *phase, uint64_t done, uint64_t total)
{
    struct fixture *f = context;
    assert_true(done <= total);
    assert_non_null(phase);
    return ++f->steps != f->cancel_at;
}

static int setup(void **context)
{
    struct fixture *f = calloc(1, sizeof *f);
    scratch_open(&f->scratch);
    scratch_name(&f->scratch, "data", f->path);
    scratch_name(&f->scratch, "data.tarn", f->output);
    f->options = (struct tarn_options){.path = f->path,
                                       .notice = take_notice,
                                       .notice_context = f,
                                       .progress = step,
                                       .progress_context = f};
    f->settings = (struct rewrite_settings){.memory_bytes = 16 << 20};
    *context = f;
    return 0;
}

static int teardown(void **context)
{
    struct fixture *f = *context;
    dataset_done(&f->d);
    scratch_close(&f->scratch);
    free(f);
    return 0;
}

static void fill(struct fixture *f, const struct tarn_format *format, size_t count,
                 size_t value_max, unsigned repeat)
{
    dataset_done(&f->d);
    dataset_init(&f->d, format);
    dataset_add_random(&f->d, count, count, 12, value_max, repeat);
    dataset_settle(&f->d, f->options.duplicates);
    file_write(f->path, buffer_view(&f->d.data));
    f->options.format = *format;
}

static int rewrite(struct fixture *f, const struct os *os, struct tarn_error *error)
{
    return rewrite_run(os, &f->options, &f->settings, &f->report, error);
}

/* Reads out of the page cache. */
static int open_buffered(const struct os *os, const char *path, int flags, unsigned mode,
                         int *ret_fd)
{
    (void)os;
    return os_real()->open(os_real(), path, flags & ~O_DIRECT, mode, ret_fd);
}

static const struct os *buffered(void)
{
    static struct os os;
    os = *os_real();
    os.open = open_buffered;
    return &os;
}

/* The new file holds exactly what counts. */
static void assert_rewritten(struct fixture *f)
{
    struct disk_pack *pack;
    struct disk_buffer buffer = {0};
    struct buffer value = {0};
    struct lookup_found found;
    struct tarn_verify_report verified;
    struct tarn_error error;
    struct tarn_options options = {.path = f->output};
    if (disk_open(buffered(), &options, true, &pack, &error) != TARN_OK ||
        disk_verify(pack, &options, &verified, &error) != TARN_OK)
        fail_msg("%s", error.text);
    assert_int_equal(verified.records, f->d.live);
    for (size_t i = 0; i < f->d.count; i++) {
        struct tarn_bytes key = dataset_key(&f->d, i);
        assert_int_equal(disk_find(pack, key, &buffer, &found, &error), TARN_OK);
        assert_int_equal(found.record.expire_ms, 0);
        buffer_clear(&value);
        assert_int_equal(disk_value(pack, &found, &buffer, &value, &error), TARN_OK);
        assert_true(
            bytes_equal(buffer_view(&value), dataset_value(&f->d, dataset_find(&f->d, key))));
    }
    disk_unref(pack);
    disk_buffer_done(&buffer);
    buffer_done(&value);
    assert_int_equal(f->report.keys, f->d.live);
    assert_int_equal(f->report.records, f->d.count);
    assert_int_equal(f->report.duplicates, f->d.duplicates);
    assert_int_equal(f->report.data_bytes, f->d.data.size);
    assert_int_equal(scratch_count(&f->scratch, ""), 2); /* nothing else is left */
}

static void every_format(void **context)
{
    struct fixture *f = *context;
    struct tarn_error error;
    static const enum tarn_duplicates policies[] = {TARN_DUPLICATES_LAST, TARN_DUPLICATES_FIRST};
    for (size_t k = 0; k < dataset_formats_count; k++)
        for (unsigned i = 0; i < 4; i++) {
            f->options.duplicates = policies[i & 1];
            f->settings.partitions_log2 = i * 2;
            fill(f, &dataset_formats[k], i == 3 ? 0 : 2000 / TEST_SLOWER, i ? 60 : 1500, 4 * i);
            if (rewrite(f, os_real(), &error) != TARN_OK)
                fail_msg("%s", error.text);
            assert_rewritten(f);
        }
}

static void far_values(void **context)
{
    struct fixture *f = *context;
    struct tarn_error error;
    size_t size = 3 * DISK_FAR_BYTES + 7;
    char *value = malloc(size);
    for (size_t i = 0; i < size; i++)
        value[i] = (char)('a' + random_mix(i) % 26);
    for (size_t k = 0; k < 3; k += 2) {
        dataset_done(&f->d);
        dataset_init(&f->d, &dataset_formats[k]);
        f->options.format = dataset_formats[k];
        dataset_add_text(&f->d, "small", "x");
        for (size_t i = 0; i < 3; i++) {
            char key[12];
            snprintf(key, sizeof key, "far-%zu", i);
            dataset_add(&f->d, bytes_of(key), (struct tarn_bytes){value + i, size - 1000000 * i});
            dataset_add(&f->d, bytes_of(key), (struct tarn_bytes){value + i, DISK_FAR_BYTES + i});
        }
        dataset_drop_last_newline(&f->d);
        dataset_settle(&f->d, TARN_DUPLICATES_LAST);
        file_write(f->path, buffer_view(&f->d.data));
        if (rewrite(f, os_real(), &error) != TARN_OK)
            fail_msg("%s", error.text);
        assert_rewritten(f);
    }
    free(value);
}

/* One key many thousand times. */
static void repeated_keys(void **context)
{
    struct fixture *f = *context;
    struct tarn_error error;
    dataset_init(&f->d, &dataset_formats[2]);
    for (uint64_t i = 0; i < 50000 / TEST_SLOWER; i++)
        dataset_add(&f->d, bytes_of(i % 3 ? "a" : "b"), (struct tarn_bytes){&i, 8});
    for (int policy = 0; policy < 3; policy++) {
        f->options.duplicates = (enum tarn_duplicates)policy;
        dataset_settle(&f->d, f->options.duplicates);
        file_write(f->path, buffer_view(&f->d.data));
        int status = rewrite(f, os_real(), &error);
        if (policy == TARN_DUPLICATES_ERROR) {
            assert_int_equal(status, TARN_DUPLICATE);
            assert_non_null(strstr(error.text, "repeats the key"));
            assert_int_equal(scratch_count(&f->scratch, ""), 2); /* as it was */
        } else {
            assert_int_equal(status, TARN_OK);
            assert_rewritten(f);
        }
    }
}

/* Stopped at every step of progress, then gone on with; or begun anew, as is asked. */
static void stopped_and_gone_on_with(void **context)
{
    struct fixture *f = *context;
    struct tarn_error error;
    fill(f, &dataset_formats[2], 20000 / TEST_SLOWER, 40, 9);
    f->settings.partitions_log2 = 3;
    f->settings.round_bytes = 60000;
    uint64_t all = UINT64_MAX;
    for (uint64_t at = 1; at <= all; at++) {
        f->steps = 0;
        f->cancel_at = at;
        unsigned before = f->notices;
        int status = rewrite(f, os_real(), &error);
        if (status == TARN_OK) {
            all = f->steps;
            assert_rewritten(f);
            break;
        }
        assert_int_equal(status, TARN_CANCELLED);
        assert_non_null(strstr(error.text, "goes on"));
        assert_int_equal(scratch_count(&f->scratch, "data.tarn.tmp"), 0);
        f->cancel_at = 0;
        f->settings.restart = at % 5 == 0;
        bool goes_on = scratch_count(&f->scratch, ".state") > 0 && !f->settings.restart;
        assert_int_equal(rewrite(f, os_real(), &error), TARN_OK);
        assert_int_equal(f->notices - before, goes_on);
        f->settings.restart = false;
        assert_rewritten(f);
    }
    assert_true(f->notices > 5 || TEST_SLOWER > 1);
}

/* Killed in its second pass it leaves a part of the new file, which the next takes away; and nobody
 * else's. */
static void killed_while_writing(void **context)
{
    struct fixture *f = *context;
    struct tarn_error error;
    const char *part = scratch_at(&f->scratch, "data.tarn.tmp.123");
    const char *other = scratch_at(&f->scratch, "data.tarn2.tmp.123");
    fill(f, &dataset_formats[2], 3000, 40, 9);
    f->settings.round_bytes = 10000;
    file_write(part, (struct tarn_bytes){"x", 1});
    assert_int_equal(rewrite(f, os_real(), &error), TARN_OK);
    assert_int_equal(scratch_count(&f->scratch, ".tmp."), 1); /* no rewriting was under way */
    f->steps = 0;
    f->cancel_at = 4;
    assert_int_equal(rewrite(f, os_real(), &error), TARN_CANCELLED);
    f->cancel_at = 0;
    file_write(other, (struct tarn_bytes){"x", 1});
    assert_int_equal(rewrite(f, os_real(), &error), TARN_OK);
    assert_int_equal(scratch_count(&f->scratch, ".tmp."), 1);
    assert_int_equal(unlink(other), 0);
    assert_rewritten(f);
}

/* What was put aside is of another file by now, or of other settings, or damaged: begun anew. */
static void nothing_else_is_gone_on_with(void **context)
{
    struct fixture *f = *context;
    struct tarn_error error;
    struct buffer state = {0};
    f->settings.round_bytes = 10000;
    f->settings.partitions_log2 = 2;
    for (int change = 0; change < 5; change++) {
        f->options.duplicates = TARN_DUPLICATES_LAST;
        fill(f, &dataset_formats[2], 5000, 30, 3);
        f->steps = 0;
        f->cancel_at = 4;
        assert_int_equal(rewrite(f, os_real(), &error), TARN_CANCELLED);
        f->cancel_at = 0;
        f->notices = 0;
        const char *name = scratch_at(&f->scratch, "data.tarn.state");
        if (change == 0)
            fill(f, &dataset_formats[2], 5001, 30, 3);
        if (change == 1)
            f->options.duplicates = TARN_DUPLICATES_FIRST;
        if (change == 2)
            f->settings.partitions_log2 = 5;
        if (change == 4)
            assert_int_equal(utimensat(AT_FDCWD, f->path, (struct timespec[2]){{1, 1}, {1, 1}}, 0),
                             0);
        if (change == 3) {
            assert_true(file_read(name, &state));
            state.data[60] ^= 1;
            file_write(name, buffer_view(&state));
        }
        dataset_settle(&f->d, f->options.duplicates);
        assert_int_equal(rewrite(f, os_real(), &error), TARN_OK);
        assert_int_equal(f->notices, 0);
        assert_rewritten(f);
        f->settings.partitions_log2 = 2;
    }
    buffer_done(&state);
}

/* The nth call of each kind fails: the new file is as it was, and the same goes on, or begins anew.
 */
static void every_call_fails(void **context)
{
    struct fixture *f = *context;
    struct fault_os faults;
    struct tarn_error error;
    static const enum fault_entry entries[] = {FAULT_OPEN,     FAULT_FILE_INFO, FAULT_READ_AT,
                                               FAULT_WRITE_AT, FAULT_SYNC,      FAULT_DATA_SYNC,
                                               FAULT_RENAME,   FAULT_ENTROPY,   FAULT_TRUNCATE};
    fill(f, &dataset_formats[2], 700, 60, 4);
    f->settings.round_bytes = 15000;
    f->settings.partitions_log2 = 2;
    fault_os_init(&faults, NULL);
    for (size_t e = 0; e < sizeof entries / sizeof *entries; e++)
        for (uint64_t nth = 1;; nth++) {
            (void)os_real()->unlink(os_real(), f->output);
            fault_os_reset(&faults);
            fault_os_fail(&faults, entries[e], nth, entries[e] == FAULT_WRITE_AT ? ENOSPC : EIO,
                          false);
            int status = rewrite(f, &faults.os, &error);
            bool fired = fault_os_fired(&faults);
            assert_true(fault_os_clean(&faults));
            if (status != TARN_OK) {
                assert_true(fired);
                assert_true(error.text[0] != 0);
                assert_true(status == TARN_IO || status == TARN_NOSPACE);
                assert_int_equal(rewrite(f, os_real(), &error), TARN_OK);
            }
            assert_rewritten(f);
            if (!fired)
                break;
        }
    fault_os_done(&faults);
    for (uint64_t nth = 1;; nth++) {
        fault_malloc_arm(nth, false);
        int status = rewrite(f, os_real(), &error);
        uint64_t failed = fault_malloc_disarm();
        assert_int_equal(status, failed ? TARN_NOMEM : TARN_OK);
        if (failed)
            assert_int_equal(rewrite(f, os_real(), &error), TARN_OK);
        assert_rewritten(f);
        if (!failed)
            break;
    }
}

static void refusals(void **context)
{
    struct fixture *f = *context;
    struct tarn_error error;
    fill(f, &dataset_formats[2], 100, 60, 0);
    f->settings.memory_bytes = 1 << 20;
    assert_int_equal(rewrite(f, os_real(), &error), TARN_TOOBIG);
    assert_non_null(strstr(error.text, "are needed; raise --memory"));
    f->settings.memory_bytes = 0;
    assert_int_equal(rewrite(f, os_real(), &error), TARN_OK);
    assert_rewritten(f);
    f->settings.output = f->path;
    assert_int_equal(rewrite(f, os_real(), &error), TARN_INVALID);
    f->settings.output = NULL;
    f->options.path = f->output;
    f->options.format = (struct tarn_format){0};
    assert_int_equal(rewrite(f, os_real(), &error), TARN_INVALID);
    assert_non_null(strstr(error.text, "tarn file"));
    f->options.path = scratch_at(&f->scratch, "nothing");
    assert_int_equal(rewrite(f, os_real(), &error), TARN_MISSING);
    file_write(f->path, (struct tarn_bytes){"noseparator", 11});
    f->options.path = f->path;
    f->options.format.kind = TARN_FORMAT_TEXT;
    assert_int_equal(rewrite(f, os_real(), &error), TARN_CORRUPT);
    assert_int_equal(error.record, 0);
    assert_int_equal(scratch_count(&f->scratch, ""), 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_format),         TEST(far_values),
        TEST(repeated_keys),        TEST(stopped_and_gone_on_with),
        TEST(killed_while_writing), TEST(nothing_else_is_gone_on_with),
        TEST(every_call_fails),     TEST(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
