/* Goal: opening a pack serves exactly what the file holds: by its index where that can be trusted,
 * by a new one, and a notice of why, where not; what cannot be served is refused in plain words.
 * Method: real files in a scratch directory, with indexes missing, stale, damaged, of other
 * settings, unreadable or unwritable; every answer held against the model; an os that changes the
 * file's looks meanwhile.
 *
 * Bugs planted once to see it fail: block checksums not compared; the cap checked before the index
 * is there only; check_unchanged() always content; an index that cannot be written taken for a
 * failure; the index published over the data; a bad data file's index written. */
#include "lib/test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fault_os.h"
#include "lib/forge.h"
#include "lib/memory_pack.h"
#include "lib/scratch.h"

struct fixture {
    struct scratch scratch;
    struct fault_os faults;
    struct dataset d;
    char path[SCRATCH_PATH_BYTES], index_path[SCRATCH_PATH_BYTES];
    char notice[1024]; /* the last one */
    unsigned notices;
    struct tarn_options options;
};

static void take_notice(void *context, const char *text)
{
    struct fixture *f = context;
    f->notices++;
    snprintf(f->notice, sizeof f->notice, "%s", text);
}

/* 500 records in the format, in the file. */
static void fixture_fill(struct fixture *f, const struct tarn_format *format)
{
    dataset_done(&f->d);
    dataset_init(&f->d, format);
    dataset_add_random(&f->d, 3, 500, 10, 40, 6);
    dataset_settle(&f->d, TARN_DUPLICATES_LAST);
    file_write(f->path, buffer_view(&f->d.data));
}

static int setup(void **context)
{
    struct fixture *f = calloc(1, sizeof *f);
    scratch_open(&f->scratch);
    scratch_name(&f->scratch, "data", f->path);
    scratch_name(&f->scratch, "data.tarnidx", f->index_path);
    fault_os_init(&f->faults, NULL);
    f->options = (struct tarn_options){.path = f->path, .threads = 2};
    f->options.notice = take_notice;
    f->options.notice_context = f;
    fixture_fill(f, &dataset_formats[2]);
    *context = f;
    return 0;
}

static int teardown(void **context)
{
    struct fixture *f = *context;
    assert_true(fault_os_clean(&f->faults));
    dataset_done(&f->d);
    scratch_close(&f->scratch);
    fault_os_done(&f->faults);
    free(f);
    return 0;
}

/* Open, hold all answers against the model, close. built: whether the index had to be built;
 * reason: a part of the one notice, NULL: there is none. */
static void assert_opens(struct fixture *f, bool built, const char *reason)
{
    struct pack *pack;
    struct tarn_error error;
    f->notices = 0;
    if (pack_open(&f->faults.os, &f->options, false, &pack, &error) != TARN_OK)
        fail_msg("%s", error.text);
    assert_int_equal(pack->index_built, built);
    assert_int_equal(f->notices, reason != NULL);
    if (reason && !strstr(f->notice, reason))
        fail_msg("no \"%s\" in \"%s\"", reason, f->notice);
    assert_int_equal(pack->data_bytes, f->d.data.size);
    if (f->d.data.size > 0)
        assert_memory_equal(pack->data, f->d.data.data, f->d.data.size);
    dataset_settle(&f->d, f->options.duplicates);
    check_pack(pack, &f->d, 200);
    assert_int_equal(index_keys(pack->index), f->d.live);
    pack_unref(pack);
    assert_true(fault_os_clean(&f->faults));
}

/* Opening fails with this status and a text that names the path and has this part. */
static void assert_refused(struct fixture *f, bool require_index, int status, const char *part)
{
    struct pack *pack = NULL;
    struct tarn_error error = {0};
    int got = pack_open(&f->faults.os, &f->options, require_index, &pack, &error);
    if (got != status || !strstr(error.text, part))
        fail_msg("status %d, not %d; or no \"%s\" in \"%s\"", got, status, part, error.text);
    assert_int_equal(error.status, status);
    assert_non_null(strstr(error.text, f->scratch.path));
    assert_null(pack);
    assert_true(fault_os_clean(&f->faults));
    assert_int_equal(scratch_count(&f->scratch, ".tmp"), 0);
}

/* Change the file at `path`, keeping its size and modification time. */
static void change_secretly(const char *path, uint64_t offset, unsigned char flip)
{
    struct stat st;
    unsigned char c;
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0 && fstat(fd, &st) == 0);
    assert_int_equal(pread(fd, &c, 1, (off_t)offset), 1);
    c ^= flip;
    assert_int_equal(pwrite(fd, &c, 1, (off_t)offset), 1);
    struct timespec times[2] = {st.st_atim, st.st_mtim};
    assert_int_equal(futimens(fd, times), 0);
    close(fd);
}

/* --- index --- */

static void built_once_then_read(void **context)
{
    struct fixture *f = *context;
    for (size_t i = 0; i < dataset_formats_count; i++) {
        fixture_fill(f, &dataset_formats[i]);
        f->options.format = dataset_formats[i];
        assert_opens(f, true, i ? "stale" : NULL);
        assert_opens(f, false, NULL);
        f->options.format = (struct tarn_format){0};
        assert_opens(f, false, NULL);
        assert_int_equal(scratch_count(&f->scratch, ""), 2);
        /* so that the next round finds an index that is stale for sure */
        struct timespec times[2] = {{.tv_sec = (time_t)i}, {.tv_sec = (time_t)i}};
        assert_int_equal(utimensat(AT_FDCWD, f->path, times, 0), 0);
    }
}

static void format_is_detected(void **context)
{
    struct fixture *f = *context;
    struct dataset *d = &f->d;
    for (size_t i = 0; i < dataset_formats_count; i++) {
        if (dataset_formats[i].separator_set)
            continue; /* nothing to detect it by */
        dataset_done(d);
        dataset_init(d, &dataset_formats[i]);
        for (int r = 0; r < 300; r++) {
            char key[40];
            snprintf(key, sizeof key, "a-key-of-usual-size-%d", r);
            dataset_add_text(d, key, "a value, as values are");
        }
        file_write(f->path, buffer_view(&d->data));
        f->options.index_readonly = true;
        assert_opens(f, true, NULL);
    }
}

static void readonly_writes_nothing(void **context)
{
    struct fixture *f = *context;
    f->options.index_readonly = true;
    assert_opens(f, true, NULL);
    assert_int_equal(scratch_count(&f->scratch, ""), 1);
    f->options.index_readonly = false;
    assert_opens(f, true, NULL);
    f->options.index_readonly = true;
    assert_opens(f, false, NULL);
}

static void index_elsewhere(void **context)
{
    struct fixture *f = *context;
    char other[SCRATCH_PATH_BYTES];
    f->options.index_path = scratch_name(&f->scratch, "elsewhere", other);
    assert_opens(f, true, NULL);
    assert_opens(f, false, NULL);
    assert_int_equal(scratch_count(&f->scratch, ".tarnidx"), 0);
    char *path = pack_index_path(&f->options);
    assert_string_equal(path, other);
    free(path);
    f->options.index_path = NULL;
    path = pack_index_path(&f->options);
    assert_string_equal(path, f->index_path);
    free(path);
}

static void stale_and_damaged(void **context)
{
    struct fixture *f = *context;
    assert_opens(f, true, NULL);
    dataset_add_text(&f->d, "one more", "record");
    file_write(f->path, buffer_view(&f->d.data));
    assert_refused(f, true, TARN_STALE, "size");
    assert_opens(f, true, "size has changed");
    assert_opens(f, false, NULL);

    struct timespec times[2] = {{.tv_sec = 1000}, {.tv_sec = 1000, .tv_nsec = 1}};
    assert_int_equal(utimensat(AT_FDCWD, f->path, times, 0), 0);
    assert_refused(f, true, TARN_STALE, "modification time");
    assert_opens(f, true, "modification time has changed");

    f->options.duplicates = TARN_DUPLICATES_FIRST;
    assert_opens(f, true, "--on-duplicate");
    assert_opens(f, false, NULL);

    for (uint64_t at = 0; at < 800; at += 37) {
        change_secretly(f->index_path, at, 0x40);
        assert_opens(f, true, at >= 8 && at < 12 ? "version" : at < 8 ? "not a tarn" : "checksum");
        assert_opens(f, false, NULL);
    }
    file_write(f->index_path, bytes_of("this is no index"));
    assert_refused(f, true, TARN_CORRUPT, f->index_path);
    assert_opens(f, true, "shorter than");
    assert_int_equal(truncate(f->index_path, 500), 0);
    assert_opens(f, true, "size");
    assert_opens(f, false, NULL);
    assert_int_equal(unlink(f->index_path), 0);
    assert_refused(f, true, TARN_MISSING, f->index_path);
}

/* Trips on: what only the blocks' checksums can see. */
static void data_changed_secretly(void **context)
{
    struct fixture *f = *context;
    dataset_add_random(&f->d, 4, 1500, 10, 2000, 0); /* more than one block */
    assert_true(f->d.data.size > CHECKSUM_BLOCK_BYTES);
    file_write(f->path, buffer_view(&f->d.data));
    assert_opens(f, true, NULL);
    for (size_t r = 0; r < f->d.count; r += 400) {
        const struct dataset_record *record = &f->d.records[r];
        if (record->value_size == 0)
            continue;
        char place[64];
        snprintf(place, sizeof place, "block at byte %llu does not match",
                 record->value_at < CHECKSUM_BLOCK_BYTES ? 0 : CHECKSUM_BLOCK_BYTES);
        change_secretly(f->path, record->value_at, 1);
        f->d.data.data[record->value_at] ^= 1;
        assert_refused(f, true, TARN_CORRUPT, place);
        assert_opens(f, true, place);
        assert_opens(f, false, NULL);
    }
}

static void unusable_index_paths(void **context)
{
    struct fixture *f = *context;
    /* a directory in its place */
    assert_int_equal(mkdir(f->index_path, 0700), 0);
    f->options.notice = NULL; /* two notices: it cannot be read, nor written */
    f->notices = 0;
    assert_opens(f, true, NULL);
    f->options.notice = take_notice;
    assert_refused(f, true, TARN_INVALID, f->index_path);
    assert_int_equal(rmdir(f->index_path), 0);
    /* not to be read: the second file opened is the index */
    assert_opens(f, true, NULL);
    fault_os_reset(&f->faults);
    fault_os_fail(&f->faults, FAULT_OPEN, 2, EACCES, false);
    assert_opens(f, true, "permissions");
    fault_os_reset(&f->faults);
    assert_opens(f, false, NULL);
    /* not to be written */
    assert_int_equal(unlink(f->index_path), 0);
    static const enum fault_entry entries[] = {FAULT_WRITE_AT, FAULT_SYNC, FAULT_RENAME};
    for (int e = 0; e < 3; e++) {
        fault_os_reset(&f->faults);
        fault_os_fail(&f->faults, entries[e], 1, EROFS, true);
        assert_opens(f, true, "serving with the index in memory only");
        fault_os_reset(&f->faults);
        assert_int_equal(scratch_count(&f->scratch, ""), 1);
    }
}

/* Trips on: the data lost to an index of the same name. */
static void index_over_data(void **context)
{
    struct fixture *f = *context;
    char link_path[SCRATCH_PATH_BYTES];
    struct tarn_index_report report;
    struct tarn_error error;
    scratch_name(&f->scratch, "link", link_path);
    assert_int_equal(link(f->path, link_path), 0);
    for (int i = 0; i < 2; i++) {
        f->options.index_path = i ? link_path : f->path;
        assert_refused(f, false, TARN_INVALID, "name another file");
        assert_int_equal(pack_index_build(&f->faults.os, &f->options, &report, &error),
                         TARN_INVALID);
        struct buffer content = {0};
        assert_true(file_read(f->path, &content));
        assert_int_equal(content.size, f->d.data.size);
        assert_memory_equal(content.data, f->d.data.data, content.size);
        buffer_done(&content);
    }
}

static void index_build_report(void **context)
{
    struct fixture *f = *context;
    struct tarn_index_report report;
    struct tarn_error error;
    struct stat st;
    for (int policy = 0; policy < 2; policy++) {
        f->options.duplicates = policy;
        if (pack_index_build(&f->faults.os, &f->options, &report, &error) != TARN_OK)
            fail_msg("%s", error.text);
        dataset_settle(&f->d, policy);
        assert_int_equal(stat(f->index_path, &st), 0);
        assert_int_equal(report.records, 500);
        assert_int_equal(report.keys, f->d.live);
        assert_int_equal(report.duplicates, f->d.duplicates);
        assert_int_equal(report.collisions, 0);
        assert_int_equal(report.data_bytes, f->d.data.size);
        assert_int_equal(report.index_bytes, st.st_size);
        assert_int_equal(report.format.kind, TARN_FORMAT_BINARY);
        assert_opens(f, false, NULL); /* built from the file, good for the same in memory */
    }
    f->options.duplicates = TARN_DUPLICATES_ERROR;
    assert_int_equal(pack_index_build(&f->faults.os, &f->options, &report, &error), TARN_DUPLICATE);
    assert_true(error.record < 500 && error.offset < f->d.data.size);
    f->options.duplicates = TARN_DUPLICATES_FIRST;
    assert_opens(f, false, NULL); /* the good index is still there */
}

/* --- refusals --- */

static void memory_cap(void **context)
{
    struct fixture *f = *context;
    struct pack *pack;
    assert_int_equal(pack_open(&f->faults.os, &f->options, false, &pack, NULL), TARN_OK);
    uint64_t index_size = index_bytes(pack->index);
    pack_unref(pack);
    for (int built = 0; built < 2; built++) { /* the index read, then built */
        f->options.memory_bytes_max = 1;
        assert_refused(f, false, TARN_TOOBIG, "raise --memory");
        f->options.memory_bytes_max = f->d.data.size - 1;
        assert_refused(f, false, TARN_TOOBIG, "raise --memory");
        f->options.memory_bytes_max = f->d.data.size + index_size - 1;
        assert_refused(f, false, TARN_TOOBIG, "raise --memory");
        f->options.memory_bytes_max = f->d.data.size + index_size;
        assert_opens(f, built, NULL);
        f->options.index_readonly = true;
        unlink(f->index_path);
    }
}

static void no_data_file(void **context)
{
    struct fixture *f = *context;
    char path[SCRATCH_PATH_BYTES];
    f->options.path = scratch_name(&f->scratch, "nothing", path);
    assert_refused(f, false, TARN_MISSING, path);
    f->options.path = f->scratch.path;
    assert_refused(f, false, TARN_INVALID, "directory");
    f->options.path = f->path;
    fault_os_reset(&f->faults);
    fault_os_fail(&f->faults, FAULT_OPEN, 1, EACCES, false);
    assert_refused(f, false, TARN_DENIED, f->path);
    fault_os_reset(&f->faults);
    f->options.format = (struct tarn_format){.kind = TARN_FORMAT_TEXT, .big_endian = true};
    struct pack *pack;
    assert_int_equal(pack_open(&f->faults.os, &f->options, false, &pack, NULL), TARN_INVALID);
}

static void empty_file(void **context)
{
    struct fixture *f = *context;
    dataset_done(&f->d);
    dataset_init(&f->d, &dataset_formats[0]);
    file_write(f->path, (struct tarn_bytes){0});
    assert_opens(f, true, NULL);
    assert_opens(f, false, NULL);
}

static void bad_record(void **context)
{
    struct fixture *f = *context;
    f->options.format = f->d.format;
    assert_int_equal(truncate(f->path, (off_t)f->d.data.size - 1), 0);
    char place[64];
    snprintf(place, sizeof place, "record 499 at byte %llu",
             (unsigned long long)f->d.records[499].offset);
    assert_refused(f, false, TARN_CORRUPT, place);
    assert_int_equal(scratch_count(&f->scratch, ""), 1); /* no index of bad data */
    struct tarn_index_report report;
    struct tarn_error error;
    assert_int_equal(pack_index_build(&f->faults.os, &f->options, &report, &error), TARN_CORRUPT);
    assert_int_equal(error.record, 499);
    assert_int_equal(scratch_count(&f->scratch, ""), 1);
}

/* An os that finds the data file's time changed when it looks the nth time. */
struct restless_os {
    struct os os;
    int looks, change_at;
    uint64_t size;
};

static int restless_file_info(const struct os *os, int fd, struct os_file_info *ret_info)
{
    struct restless_os *r = os->context;
    int status = os_real()->file_info(os_real(), fd, ret_info);
    if (status == 0 && ret_info->size == r->size && ++r->looks >= r->change_at)
        ret_info->mtime_ns++;
    return status;
}

static void data_change_meanwhile(void **context)
{
    struct fixture *f = *context;
    struct restless_os r = {.os = *os_real(), .change_at = 2, .size = f->d.data.size};
    struct tarn_index_report report;
    struct tarn_error error;
    struct pack *pack;
    r.os.file_info = restless_file_info;
    r.os.context = &r;
    assert_int_equal(pack_index_build(&r.os, &f->options, &report, &error), TARN_STALE);
    assert_non_null(strstr(error.text, "changed while it was read"));
    r.looks = 0;
    assert_int_equal(pack_open(&r.os, &f->options, false, &pack, &error), TARN_STALE);
    assert_non_null(strstr(error.text, f->path));
    assert_int_equal(scratch_count(&f->scratch, ""), 1);
    /* shorter, in the middle of loading */
    fault_os_reset(&f->faults);
    fault_os_short(&f->faults, FAULT_READ_AT, 1, 0);
    assert_refused(f, false, TARN_STALE, "shorter");
    fault_os_reset(&f->faults);
}

static void short_reads(void **context)
{
    struct fixture *f = *context;
    for (uint64_t nth = 1; nth < 6; nth++) {
        for (int built = 1; built >= 0; built--) {
            fault_os_reset(&f->faults);
            fault_os_short(&f->faults, FAULT_READ_AT, nth, 5);
            fault_os_short(&f->faults, FAULT_WRITE_AT, nth, 5);
            assert_opens(f, built, NULL);
            fault_os_reset(&f->faults);
        }
        assert_int_equal(unlink(f->index_path), 0);
    }
}

struct canceller {
    uint64_t reports, cancel_at;
};

static bool report_to(void *context, const char *phase, uint64_t done, uint64_t total)
{
    struct canceller *c = context;
    assert_true(done <= total && phase[0] != 0);
    return ++c->reports != c->cancel_at;
}

static void cancelled(void **context)
{
    struct fixture *f = *context;
    struct canceller c = {0, 1};
    f->options.progress = report_to;
    f->options.progress_context = &c;
    f->options.threads = 1;
    for (;; c.cancel_at++) {
        c.reports = 0;
        struct pack *pack;
        int status = pack_open(&f->faults.os, &f->options, false, &pack, NULL);
        if (status == TARN_OK) {
            pack_unref(pack);
            break;
        }
        c.reports = 0;
        assert_refused(f, false, TARN_CANCELLED, "cancelled");
        assert_int_equal(scratch_count(&f->scratch, ""), 1);
    }
    assert_true(c.cancel_at > 2);
}

static void any_number_of_threads(void **context)
{
    struct fixture *f = *context;
    static const unsigned threads[] = {0, 1, 3, 4000000000u};
    for (int i = 0; i < 4; i++) {
        f->options.threads = threads[i];
        assert_opens(f, true, NULL);
        assert_opens(f, false, NULL);
        assert_int_equal(unlink(f->index_path), 0);
    }
}

/* The file may go away under an open pack; the last reference frees all. */
static void references(void **context)
{
    struct fixture *f = *context;
    struct pack *pack;
    assert_int_equal(pack_open(&f->faults.os, &f->options, false, &pack, NULL), TARN_OK);
    assert_int_equal(truncate(f->path, 0), 0);
    assert_int_equal(unlink(f->path), 0);
    pack_ref(pack);
    pack_unref(pack);
    check_pack(pack, &f->d, 10);
    assert_true(f->faults.maps_open == 2 && f->faults.fds_open == 0);
    pack_unref(pack);
    assert_true(fault_os_clean(&f->faults));
    pack_unref(NULL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(built_once_then_read),
        TEST(format_is_detected),
        TEST(readonly_writes_nothing),
        TEST(index_elsewhere),
        TEST(stale_and_damaged),
        TEST(data_changed_secretly),
        TEST(unusable_index_paths),
        TEST(index_over_data),
        TEST(index_build_report),
        TEST(memory_cap),
        TEST(no_data_file),
        TEST(empty_file),
        TEST(bad_record),
        TEST(data_change_meanwhile),
        TEST(short_reads),
        TEST(cancelled),
        TEST(any_number_of_threads),
        TEST(references),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
