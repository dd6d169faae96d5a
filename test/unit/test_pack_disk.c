/* Goal: a data file is opened where it lies if its index belongs to it, and otherwise refused with
 * what to do; while it is open it may be changed, cut, replaced or removed, and each read then
 * gives the right value or an error that names the place, never another value. Method: real files
 * with indexes that the program builds, in both layouts, read directly and through the page cache;
 * each kind of change made under an open pack; every call and allocation failed once.
 *
 * Bugs planted once to see it fail: an index for data in memory accepted; direct reads that are
 * refused not noticed; the cap not looked at; a removed file taken for a failure; the index file of
 * pages not closed. */
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
#include "pack/external.h"
#include "pack/lookup.h"
#include "pack/pack.h"

struct fixture {
    struct scratch scratch;
    struct dataset d;
    char path[SCRATCH_PATH_BYTES];
    struct tarn_options options;
    struct disk_buffer buffer;
};

static int setup(void **context)
{
    struct fixture *f = calloc(1, sizeof *f);
    scratch_open(&f->scratch);
    scratch_name(&f->scratch, "data", f->path);
    f->options = (struct tarn_options){.path = f->path, .threads = 1, .format = dataset_formats[2]};
    dataset_init(&f->d, &dataset_formats[2]);
    for (uint64_t i = 0; i < 300; i++)
        dataset_add(&f->d, (struct tarn_bytes){&i, 8}, (struct tarn_bytes){f->path, i % 200});
    dataset_settle(&f->d, TARN_DUPLICATES_LAST);
    file_write(f->path, buffer_view(&f->d.data));
    *context = f;
    return 0;
}

static int teardown(void **context)
{
    struct fixture *f = *context;
    dataset_done(&f->d);
    disk_buffer_done(&f->buffer);
    scratch_close(&f->scratch);
    free(f);
    return 0;
}

static void build(struct fixture *f, enum index_layout layout)
{
    struct external_settings settings = {
        .memory_bytes = 64 << 20, .granule_log2 = 9, .fingerprint_bits = 0, .layout = (int)layout};
    struct tarn_index_report report;
    struct tarn_error error;
    if (external_build(os_real(), &f->options, &settings, &report, &error) != TARN_OK)
        fail_msg("%s", error.text);
}

static struct disk_pack *open_pack(struct fixture *f, const struct os *os)
{
    struct disk_pack *pack;
    struct tarn_error error;
    if (disk_open(os, &f->options, true, &pack, &error) != TARN_OK)
        fail_msg("%s", error.text);
    return pack;
}

/* TARN_OK: with the right value. */
static int ask(struct fixture *f, const struct disk_pack *pack, size_t i, struct tarn_error *error)
{
    struct lookup_found found;
    int status = disk_find(pack, dataset_key(&f->d, i), &f->buffer, &found, error);
    if (status == TARN_OK)
        assert_true(bytes_equal(found.record.value, dataset_value(&f->d, i)));
    return status;
}

static void assert_finds_all(struct fixture *f, const struct disk_pack *pack)
{
    struct tarn_error error;
    struct tarn_verify_report report;
    for (size_t i = 0; i < f->d.count; i++)
        if (ask(f, pack, i, &error) != TARN_OK)
            fail_msg("%zu: %s", i, error.text);
    if (disk_verify(pack, &f->options, &report, &error) != TARN_OK)
        fail_msg("%s", error.text);
    assert_int_equal(report.keys, f->d.count);
}

/* How reads go past the page cache, or not. */
static bool refuse_open, refuse_read;

static int open_refusing(const struct os *os, const char *path, int flags, unsigned mode,
                         int *ret_fd)
{
    (void)os;
    if (refuse_open && flags & O_DIRECT)
        return -EINVAL;
    return os_real()->open(os_real(), path, flags, mode, ret_fd);
}

static int read_refusing(const struct os *os, int fd, void *data, size_t size, uint64_t offset,
                         size_t *ret_size)
{
    (void)os;
    if (refuse_read && fcntl(fd, F_GETFL) & O_DIRECT)
        return -EINVAL;
    return os_real()->read_at(os_real(), fd, data, size, offset, ret_size);
}

static void opens_and_finds(void **context)
{
    struct fixture *f = *context;
    struct os os = *os_real();
    os.open = open_refusing;
    os.read_at = read_refusing;
    for (unsigned i = 0; i < 6; i++) {
        refuse_open = i / 2 == 1;
        refuse_read = i / 2 == 2;
        build(f, i & 1 ? INDEX_PAGES : INDEX_BLOCKS);
        struct disk_pack *pack = open_pack(f, &os);
        struct disk_figures figures;
        assert_int_equal(pack->layout, i & 1 ? DISK_PAGES : DISK_BLOCKS);
        assert_true(!pack->direct || i < 2);
        assert_finds_all(f, pack);
        assert_int_equal(disk_look(pack, NULL), TARN_OK);
        disk_figures(pack, &figures);
        assert_int_equal(figures.keys, 300);
        assert_int_equal(figures.key_bytes_total, 2400);
        assert_in_range(figures.memory_bytes, 400, 20000);
        assert_int_equal(figures.format.kind, TARN_FORMAT_BINARY);
        disk_ref(pack);
        disk_unref(pack);
        assert_int_equal(ask(f, pack, 7, NULL), TARN_OK);
        disk_unref(pack);
    }
    refuse_open = refuse_read = false;
}

static void refuse(struct fixture *f, int status, const char *text)
{
    struct disk_pack *pack;
    struct tarn_error error;
    size_t open = scratch_fd_count();
    assert_int_equal(disk_open(os_real(), &f->options, true, &pack, &error), status);
    if (strstr(error.text, text) == NULL)
        fail_msg("%s", error.text);
    assert_int_equal(scratch_fd_count(), open);
}

static void what_is_refused(void **context)
{
    struct fixture *f = *context;
    struct tarn_index_report report;
    refuse(f, TARN_MISSING, "data.tarnidx");
    assert_int_equal(pack_index_build(os_real(), &f->options, &report, NULL), TARN_OK);
    refuse(f, TARN_STALE, "data in memory; build one for data on disk");
    build(f, INDEX_BLOCKS);
    f->options.memory_bytes_max = 300;
    refuse(f, TARN_TOOBIG, "of memory, but the cap is 300");
    f->options.memory_bytes_max = 0;
    f->options.format = dataset_formats[0];
    refuse(f, TARN_STALE, "another data format");
    f->options.format = dataset_formats[2];
    dataset_add_text(&f->d, "one more", "");
    file_write(f->path, buffer_view(&f->d.data));
    refuse(f, TARN_STALE, "size has changed");
    f->options.path = f->scratch.path;
    refuse(f, TARN_INVALID, "directory");
    f->options.path = scratch_at(&f->scratch, "nothing");
    refuse(f, TARN_MISSING, "nothing");
}

static void write_at(const char *path, uint64_t offset, const char *bytes)
{
    int fd = open(path, O_WRONLY);
    assert_true(pwrite(fd, bytes, strlen(bytes), (off_t)offset) == (ssize_t)strlen(bytes));
    close(fd);
}

/* In place: the keys of that block fail, the others do not. */
static void changed_in_place(void **context)
{
    struct fixture *f = *context;
    struct tarn_error error;
    for (int layout = 0; layout < 2; layout++) {
        file_write(f->path, buffer_view(&f->d.data));
        build(f, (enum index_layout)layout);
        struct disk_pack *pack = open_pack(f, os_real());
        write_at(f->path, 5000, "something else");
        assert_int_equal(disk_look(pack, &error), TARN_STALE);
        assert_non_null(strstr(error.text, "changed while it is served"));
        size_t failed = 0;
        for (size_t i = 0; i < f->d.count; i++) {
            int status = ask(f, pack, i, &error);
            if (status == TARN_OK)
                continue;
            assert_int_equal(status, TARN_CORRUPT);
            assert_non_null(strstr(error.text, f->path));
            assert_in_range(error.offset, 4000, 5014);
            uint64_t at = f->d.records[i].offset;
            assert_true(at / 512 >= 5000 / 512 - 1 && at / 512 <= 5014 / 512);
            failed++;
        }
        assert_in_range(failed, 1, 20);
        disk_unref(pack);
    }
}

static void cut(void **context)
{
    struct fixture *f = *context;
    struct tarn_error error;
    build(f, INDEX_BLOCKS);
    struct disk_pack *pack = open_pack(f, os_real());
    for (uint64_t size = f->d.data.size; size > 0; size = size > 3333 ? size - 3333 : 0) {
        assert_int_equal(truncate(f->path, (off_t)(size - 1)), 0);
        assert_int_equal(disk_look(pack, &error), TARN_STALE);
        for (size_t i = 0; i < f->d.count; i++) {
            int status = ask(f, pack, i, &error);
            uint64_t end = f->d.records[i].offset + f->d.records[i].size;
            assert_true(status == TARN_STALE || (status == TARN_OK && end < size));
        }
    }
    file_write(f->path, buffer_view(&f->d.data)); /* in place: what was there is there again */
    assert_finds_all(f, pack);
    disk_unref(pack);
}

/* The open file is read on. */
static void removed_and_replaced(void **context)
{
    struct fixture *f = *context;
    struct tarn_error error;
    for (int layout = 0; layout < 2; layout++) {
        file_write(f->path, buffer_view(&f->d.data));
        build(f, (enum index_layout)layout);
        struct disk_pack *pack = open_pack(f, os_real());
        const char *other = scratch_at(&f->scratch, "other");
        file_write(other, (struct tarn_bytes){"other", 5});
        assert_int_equal(rename(other, f->path), 0);
        assert_int_equal(disk_look(pack, &error), TARN_MISSING);
        assert_non_null(strstr(error.text, "was replaced"));
        assert_finds_all(f, pack);
        assert_int_equal(unlink(f->path), 0);
        assert_int_equal(unlink(scratch_at(&f->scratch, "data.tarnidx")), 0);
        assert_int_equal(disk_look(pack, &error), TARN_MISSING);
        assert_non_null(strstr(error.text, "was removed"));
        assert_finds_all(f, pack);
        disk_unref(pack);
    }
}

static void every_call_fails(void **context)
{
    struct fixture *f = *context;
    struct fault_os faults;
    struct disk_pack *pack;
    struct tarn_error error;
    static const enum fault_entry entries[] = {FAULT_OPEN, FAULT_FILE_INFO, FAULT_READ_AT,
                                               FAULT_MAP};
    build(f, INDEX_PAGES);
    fault_os_init(&faults, NULL);
    for (size_t e = 0; e < 4; e++)
        for (bool fired = true; fired;) {
            static uint64_t nth;
            fault_os_reset(&faults);
            fault_os_fail(&faults, entries[e], ++nth, entries[e] == FAULT_MAP ? ENOMEM : EIO,
                          false);
            int status = disk_open(&faults.os, &f->options, true, &pack, &error);
            fired = fault_os_fired(&faults);
            if (status == TARN_OK) { /* at worst without direct reads */
                fault_os_reset(&faults);
                assert_finds_all(f, pack);
                disk_unref(pack);
            } else {
                assert_true(fired && (status == TARN_IO || status == TARN_NOMEM));
            }
            assert_true(fault_os_clean(&faults));
            nth = fired ? nth : 0;
        }
    for (uint64_t nth = 1;; nth++) {
        fault_malloc_arm(nth, false);
        int status = disk_open(os_real(), &f->options, true, &pack, &error);
        uint64_t failed = fault_malloc_disarm();
        assert_true(status == TARN_OK || (failed && status == TARN_NOMEM));
        if (status == TARN_OK)
            disk_unref(pack);
        if (!failed)
            break;
    }
    pack = open_pack(f, &faults.os);
    fault_os_reset(&faults);
    fault_os_fail(&faults, FAULT_FILE_INFO, 1, EIO, false);
    assert_int_equal(disk_look(pack, &error), TARN_IO);
    fault_os_reset(&faults);
    fault_os_fail(&faults, FAULT_OPEN, 1, EMFILE, false);
    assert_int_equal(disk_look(pack, &error), TARN_IO);
    disk_unref(pack);
    fault_os_done(&faults);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(opens_and_finds),      TEST(what_is_refused),  TEST(changed_in_place), TEST(cut),
        TEST(removed_and_replaced), TEST(every_call_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
