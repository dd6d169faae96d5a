/* Goal: the simulated disk loses after a power cut whatever was not synced, and nothing else: each
 * outcome that a file system may leave does occur, and no other.
 * Method: a few calls, then cuts from many seeds, the outcomes gathered; and random calls beside
 * the real file system, which must answer alike. */
#include "lib/simulated_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/test.h"

#include "lib/scratch.h"

enum { SEEDS = 400 };

static struct simulated_disk disk;
static const struct os *const os = &disk.os;

static int setup(void **state)
{
    (void)state;
    disk_init(&disk, 1);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    disk_done(&disk);
    return 0;
}

static int opened(const char *path, int flags)
{
    int fd = -1;
    assert_int_equal(os->open(os, path, flags, 0666, &fd), 0);
    return fd;
}

static void closed(int fd)
{
    assert_int_equal(os->close(os, fd), 0);
}

static void sync_names(const char *path)
{
    int fd = opened(path, O_RDONLY | O_DIRECTORY);
    assert_int_equal(os->sync(os, fd), 0);
    closed(fd);
}

/* A file whose name is durable, its content not. */
static int named(const char *path)
{
    int fd = opened(path, O_RDWR | O_CREAT);
    sync_names("/");
    return fd;
}

static void put(int fd, const char *text, uint64_t offset)
{
    assert_int_equal(os_write_full(os, fd, text, strlen(text), offset), 0);
}

static bool holds(const char *path, const char *text)
{
    struct tarn_bytes content = disk_content(&disk, path);
    return content.data && content.size == strlen(text) &&
           memcmp(content.data, text, content.size) == 0;
}

static bool exists(const char *path)
{
    return disk_content(&disk, path).data != NULL;
}

/* Play a scene SEEDS times, cut the power with another seed each time, and count what `look` sees:
 * a number below `outcomes`. Each must occur. */
static void expect_each(void (*scene)(void), unsigned (*look)(void), unsigned outcomes)
{
    unsigned counts[16] = {0};
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        disk_done(&disk);
        disk_init(&disk, seed);
        scene();
        disk_restart(&disk, DISK_POWER_LOST, seed);
        unsigned seen = look();
        assert_in_range(seen, 0, outcomes - 1);
        counts[seen]++;
    }
    for (unsigned i = 0; i < outcomes; i++)
        assert_true(counts[i] > 0);
}

/* --- contents --- */

static void write_unsynced(void)
{
    int fd = named("/file");
    put(fd, "old", 0);
    assert_int_equal(os->sync(os, fd), 0);
    put(fd, "new", 0);
    closed(fd);
}

static unsigned see_old_new(void)
{
    return holds("/file", "old") ? 0 : holds("/file", "new") ? 1 : 99;
}

static void test_unsynced_content_is_kept_or_lost(void **state)
{
    (void)state;
    expect_each(write_unsynced, see_old_new, 2);
}

static void write_synced(void)
{
    write_unsynced();
    int fd = opened("/file", O_RDWR);
    assert_int_equal(os->data_sync(os, fd), 0);
    closed(fd);
}

static unsigned see_new(void)
{
    return holds("/file", "new") ? 0 : 99;
}

static void test_synced_content_is_kept(void **state)
{
    (void)state;
    expect_each(write_synced, see_new, 1);
}

static char units_old[1025], units_new[1025];

static void write_two_units(void)
{
    memset(units_old, 'o', 1024);
    memset(units_new, 'n', 1024);
    int fd = named("/file");
    put(fd, units_old, 0);
    assert_int_equal(os->sync(os, fd), 0);
    put(fd, units_new, 0);
    closed(fd);
}

static unsigned see_two_units(void)
{
    struct tarn_bytes content = disk_content(&disk, "/file");
    if (content.size != 1024)
        return 99;
    unsigned seen = 0;
    for (unsigned i = 0; i < 2; i++) {
        const char *unit = (const char *)content.data + i * 512;
        if (memcmp(unit, units_new, 512) == 0)
            seen |= 1u << i;
        else if (memcmp(unit, units_old, 512) != 0)
            return 99;
    }
    return seen;
}

static void test_a_write_is_torn_between_units(void **state)
{
    (void)state;
    expect_each(write_two_units, see_two_units, 4);
}

static void append_unsynced(void)
{
    int fd = named("/file");
    put(fd, "a", 0);
    assert_int_equal(os->sync(os, fd), 0);
    put(fd, "b", 1);
    closed(fd);
}

static unsigned see_appended(void)
{
    struct tarn_bytes content = disk_content(&disk, "/file");
    if (content.size == 2 && memcmp(content.data, "a\0", 2) == 0)
        return 2;
    return holds("/file", "a") ? 0 : holds("/file", "ab") ? 1 : 99;
}

static void test_an_appended_file_may_have_the_size_without_the_bytes(void **state)
{
    (void)state;
    expect_each(append_unsynced, see_appended, 3);
}

static void shrink(void)
{
    int fd = named("/file");
    put(fd, "abc", 0);
    assert_int_equal(os->sync(os, fd), 0);
    assert_int_equal(os->truncate(os, fd, 1), 0);
    closed(fd);
}

/* 2: the size of before, of content that has been cut off. */
static unsigned see_shrunk(void)
{
    struct tarn_bytes content = disk_content(&disk, "/file");
    if (content.size == 3 && memcmp(content.data, "a\0", 3) == 0)
        return 2;
    return holds("/file", "a") ? 0 : holds("/file", "abc") ? 1 : 99;
}

static void shrink_synced(void)
{
    shrink();
    int fd = opened("/file", O_RDWR);
    assert_int_equal(os->data_sync(os, fd), 0);
    closed(fd);
}

static void test_a_smaller_size_is_durable_once_synced(void **state)
{
    (void)state;
    expect_each(shrink, see_shrunk, 3);
    expect_each(shrink_synced, see_shrunk, 1);
}

/* --- names --- */

static void create_synced_unnamed(void)
{
    int fd = opened("/file", O_RDWR | O_CREAT | O_EXCL);
    put(fd, "new", 0);
    assert_int_equal(os->sync(os, fd), 0);
    closed(fd);
}

static unsigned see_absent_new(void)
{
    return !exists("/file") ? 0 : holds("/file", "new") ? 1 : 99;
}

static void test_a_name_is_durable_by_its_directory_only(void **state)
{
    (void)state;
    expect_each(create_synced_unnamed, see_absent_new, 2);
}

static void rename_unsynced(void)
{
    int fd = named("/file");
    put(fd, "old", 0);
    assert_int_equal(os->sync(os, fd), 0);
    closed(fd);
    fd = named("/next");
    put(fd, "new", 0);
    assert_int_equal(os->sync(os, fd), 0);
    closed(fd);
    assert_int_equal(os->rename(os, "/next", "/file"), 0);
}

static unsigned see_renamed(void)
{
    return holds("/file", "old") && holds("/next", "new") ? 0
           : holds("/file", "new") && !exists("/next")    ? 1
                                                          : 99;
}

static void rename_synced(void)
{
    rename_unsynced();
    sync_names("/");
}

static unsigned see_renamed_only(void)
{
    return see_renamed() == 1 ? 0 : 99;
}

static void test_a_rename_is_whole_or_not_at_all(void **state)
{
    (void)state;
    expect_each(rename_unsynced, see_renamed, 2);
    expect_each(rename_synced, see_renamed_only, 1);
}

static void rename_without_content(void)
{
    int fd = named("/next");
    put(fd, "new", 0);
    closed(fd);
    assert_int_equal(os->rename(os, "/next", "/file"), 0);
    sync_names("/");
}

static unsigned see_empty_new(void)
{
    struct tarn_bytes content = disk_content(&disk, "/file");
    return holds("/file", "") ? 0 : holds("/file", "new") ? 1 : content.size == 3 ? 2 : 99;
}

static void test_a_rename_does_not_keep_the_content(void **state)
{
    (void)state;
    expect_each(rename_without_content, see_empty_new, 3);
}

static void create_two(void)
{
    closed(opened("/a", O_RDWR | O_CREAT));
    closed(opened("/b", O_RDWR | O_CREAT));
}

static unsigned see_two(void)
{
    return (unsigned)exists("/a") | (unsigned)exists("/b") << 1;
}

static void test_names_are_kept_one_by_one(void **state)
{
    (void)state;
    expect_each(create_two, see_two, 4);
}

static void unlink_unsynced(void)
{
    create_synced_unnamed();
    sync_names("/");
    assert_int_equal(os->unlink(os, "/file"), 0);
}

static void test_an_unlinked_file_may_come_back(void **state)
{
    (void)state;
    expect_each(unlink_unsynced, see_absent_new, 2);
}

static void make_directory_unsynced(void)
{
    assert_int_equal(os->make_directory(os, "/d", 0777), 0);
    int fd = opened("/d/file", O_RDWR | O_CREAT);
    put(fd, "new", 0);
    assert_int_equal(os->sync(os, fd), 0);
    closed(fd);
    sync_names("/d");
}

static unsigned see_in_directory(void)
{
    return holds("/d/file", "new") ? 1 : exists("/d/file") ? 99 : 0;
}

static void test_a_directory_without_its_name_is_gone(void **state)
{
    (void)state;
    expect_each(make_directory_unsynced, see_in_directory, 2);
}

/* --- failing syncs --- */

static void retry_failed_sync(void)
{
    write_unsynced();
    int fd = opened("/file", O_RDWR);
    disk_fail_sync(&disk, 1);
    assert_int_equal(os->data_sync(os, fd), -EIO);
    assert_int_equal(os->data_sync(os, fd), 0);
    assert_true(holds("/file", "new")); /* as long as there is power */
    closed(fd);
}

static void write_again_after_failed_sync(void)
{
    retry_failed_sync();
    int fd = opened("/file", O_RDWR);
    put(fd, "new", 0);
    assert_int_equal(os->sync(os, fd), 0);
    closed(fd);
}

static void fail_sync_of_names(void)
{
    create_synced_unnamed();
    int fd = opened("/", O_RDONLY);
    disk_fail_sync(&disk, 1);
    assert_int_equal(os->sync(os, fd), -EIO);
    closed(fd);
}

static void test_a_failed_sync_loses_what_a_retry_says_is_kept(void **state)
{
    (void)state;
    expect_each(retry_failed_sync, see_old_new, 2);
    expect_each(write_again_after_failed_sync, see_new, 1);
    expect_each(fail_sync_of_names, see_absent_new, 2);
}

/* --- stopping --- */

static void test_killed_loses_nothing_and_gives_up_locks(void **state)
{
    (void)state;
    write_unsynced();
    int fd = opened("/file", O_RDWR), other = opened("/file", O_RDWR);
    assert_int_equal(os->lock(os, fd), 0);
    assert_int_equal(os->lock(os, fd), 0);
    assert_int_equal(os->lock(os, other), -EWOULDBLOCK);
    disk_stop(&disk);
    disk_restart(&disk, DISK_KILLED, 7);
    assert_true(holds("/file", "new"));
    assert_int_equal(os->close(os, fd), -EBADF);
    other = opened("/file", O_RDWR);
    assert_int_equal(os->lock(os, other), 0);
    closed(other);
    other = opened("/file", O_RDWR);
    assert_int_equal(os->lock(os, other), 0);
    closed(other);
}

static void test_killed_can_still_be_lost(void **state)
{
    (void)state;
    unsigned lost = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        disk_done(&disk);
        disk_init(&disk, seed);
        write_unsynced();
        disk_restart(&disk, DISK_KILLED, seed);
        disk_restart(&disk, DISK_POWER_LOST, seed);
        lost += holds("/file", "old");
    }
    assert_in_range(lost, 1, SEEDS - 1);
}

static void test_stops_in_the_nth_call(void **state)
{
    (void)state;
    unsigned effective = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        disk_done(&disk);
        disk_init(&disk, seed);
        write_unsynced();
        int fd = opened("/file", O_RDWR);
        size_t size;
        disk_stop_at(&disk, 2);
        assert_int_equal(os->data_sync(os, fd), 0);
        assert_false(disk_stopped(&disk));
        assert_int_equal(os->write_at(os, fd, "abc", 3, 0, &size), -EIO);
        assert_true(disk_stopped(&disk));
        assert_int_equal(os->write_at(os, fd, "xyz", 3, 0, &size), -EIO);
        assert_int_equal(os->truncate(os, fd, 0), -EIO);
        assert_int_equal(os->sync(os, fd), -EIO);
        assert_int_equal(os->unlink(os, "/file"), -EIO);
        assert_int_equal(os->rename(os, "/file", "/other"), -EIO);
        closed(fd);
        disk_restart(&disk, DISK_KILLED, seed);
        effective += holds("/file", "abc");
        assert_true(holds("/file", "abc") || holds("/file", "new"));
    }
    assert_in_range(effective, 1, SEEDS - 1);
}

static void test_a_seed_replays(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        unsigned seen[2];
        for (int i = 0; i < 2; i++) {
            disk_done(&disk);
            disk_init(&disk, seed);
            write_two_units();
            disk_restart(&disk, DISK_POWER_LOST, seed);
            seen[i] = see_two_units();
        }
        assert_int_equal(seen[0], seen[1]);
    }
}

/* --- a full disk --- */

static void test_a_full_disk(void **state)
{
    (void)state;
    static const char page[8192];
    size_t size;
    int fd = opened("/a", O_RDWR | O_CREAT), other = opened("/b", O_RDWR | O_CREAT);
    put(other, "b", 0);
    disk_limit(&disk, 3 * 4096 + 1);
    assert_int_equal(os->write_at(os, fd, page, sizeof page, 4000, &size), 0);
    assert_int_equal(size, 2 * 4096 - 4000);
    assert_int_equal(os->write_at(os, fd, page, 1, 2 * 4096, &size), -ENOSPC);
    assert_int_equal(os->write_at(os, fd, page, 8192, 0, &size), 0); /* there is room within */
    assert_int_equal(size, 8192);
    assert_int_equal(disk_used(&disk), 3 * 4096);
    assert_int_equal(os->unlink(os, "/b"), 0);
    assert_int_equal(os->write_at(os, fd, page, 1, 2 * 4096, &size), 0);
    assert_int_equal(os->truncate(os, fd, 0), 0);
    assert_int_equal(disk_used(&disk), 0);
    closed(fd);
    closed(other);
}

/* --- damage --- */

static void test_contents_can_be_replaced(void **state)
{
    (void)state;
    struct simulated_disk copy;
    assert_int_equal(os->make_directory(os, "/d", 0777), 0);
    sync_names("/");
    disk_put(&disk, "/d/file", (struct tarn_bytes){"text", 4});
    disk_init(&copy, 1);
    disk_put(&copy, "/old", (struct tarn_bytes){"", 0});
    disk_copy(&copy, &disk);
    disk_remove(&disk, "/d/file");
    disk_restart(&copy, DISK_POWER_LOST, 3);
    disk_restart(&disk, DISK_POWER_LOST, 3);
    assert_false(exists("/d/file"));
    assert_null(disk_content(&copy, "/old").data);
    assert_memory_equal(disk_content(&copy, "/d/file").data, "text", 4);
    disk_done(&copy);
}

/* --- beside the real one --- */

#define NAMES 4

struct beside {
    struct scratch scratch;
    uint64_t random;
    int fds[2]; /* the real one's, the simulated one's; -1 */
};

static const char *path_of(struct beside *b, int which, unsigned name)
{
    char text[8];
    snprintf(text, sizeof text, "f%u", name);
    if (which == 0)
        return scratch_at(&b->scratch, text);
    static char paths[4][16];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "/%s", text);
    return path;
}

static unsigned below(struct beside *b, unsigned limit)
{
    return (unsigned)random_below(random_next(&b->random), limit);
}

static const struct os *of(int which)
{
    return which == 0 ? os_real() : os;
}

static void open_both(struct beside *b)
{
    static const int flags[] = {O_RDONLY,
                                O_RDWR,
                                O_RDWR | O_CREAT,
                                O_RDWR | O_CREAT | O_EXCL,
                                O_RDWR | O_CREAT | O_TRUNC,
                                O_RDONLY | O_DIRECTORY};
    unsigned name = below(b, NAMES), flag = below(b, sizeof flags / sizeof *flags);
    int status[2];
    for (int i = 0; i < 2; i++) {
        if (b->fds[i] >= 0)
            assert_int_equal(of(i)->close(of(i), b->fds[i]), 0);
        b->fds[i] = -1;
        status[i] = of(i)->open(of(i), path_of(b, i, name), flags[flag], 0666, &b->fds[i]);
    }
    assert_int_equal(status[0], status[1]);
}

static void transfer_both(struct beside *b)
{
    unsigned char data[3000], read[2][6000];
    size_t size = below(b, sizeof data), sizes[2] = {0}, offset = below(b, 3000);
    bool shrinks = below(b, 4) == 0;
    int status[2];
    for (size_t i = 0; i < size; i++)
        data[i] = (unsigned char)below(b, 256);
    for (int i = 0; i < 2; i++) {
        const struct os *o = of(i);
        status[i] = shrinks ? o->truncate(o, b->fds[i], offset)
                            : o->write_at(o, b->fds[i], data, size, offset, &sizes[i]);
        if (status[i] == -EINVAL) /* what Linux says to ftruncate() of a file open for reading */
            status[i] = -EBADF;
    }
    assert_int_equal(status[0], status[1]);
    assert_int_equal(sizes[0], sizes[1]);
    for (int i = 0; i < 2; i++)
        assert_int_equal(of(i)->read_at(of(i), b->fds[i], read[i], 6000, 10, &sizes[i]), 0);
    assert_int_equal(sizes[0], sizes[1]);
    assert_memory_equal(read[0], read[1], sizes[0]);
}

static void name_both(struct beside *b)
{
    unsigned what = below(b, 3), one = below(b, NAMES), two = below(b, NAMES);
    int status[2];
    if (one == two)
        return;
    for (int i = 0; i < 2; i++) {
        const struct os *o = of(i);
        const char *from = path_of(b, i, one), *to = path_of(b, i, two);
        status[i] = what == 0   ? o->rename(o, from, to)
                    : what == 1 ? o->link(o, from, to)
                                : o->unlink(o, from);
    }
    assert_int_equal(status[0], status[1]);
}

static void mark_name(void *context, const char *name)
{
    *(unsigned *)context |= 1u << (name[1] - '0');
}

static void list_both(struct beside *b)
{
    unsigned seen[2] = {0};
    assert_int_equal(os_real()->list(os_real(), b->scratch.path, mark_name, &seen[0]), 0);
    assert_int_equal(os->list(os, "/", mark_name, &seen[1]), 0);
    assert_int_equal(seen[0], seen[1]);
}

static void test_answers_as_the_real_one(void **state)
{
    (void)state;
    struct beside b = {.fds = {-1, -1}, .random = 11};
    scratch_open(&b.scratch);
    for (unsigned i = 0; i < 3000; i++) {
        unsigned what = below(&b, 8);
        if (what < 2)
            open_both(&b);
        else if (what < 6 && b.fds[0] >= 0)
            transfer_both(&b);
        else if (what == 6)
            name_both(&b);
        else
            list_both(&b);
    }
    for (int i = 0; i < 2; i++)
        if (b.fds[i] >= 0)
            assert_int_equal(of(i)->close(of(i), b.fds[i]), 0);
    scratch_close(&b.scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_unsynced_content_is_kept_or_lost, setup, teardown),
        cmocka_unit_test_setup_teardown(test_synced_content_is_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_write_is_torn_between_units, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_appended_file_may_have_the_size_without_the_bytes,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_smaller_size_is_durable_once_synced, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_a_name_is_durable_by_its_directory_only, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_a_rename_is_whole_or_not_at_all, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_rename_does_not_keep_the_content, setup, teardown),
        cmocka_unit_test_setup_teardown(test_names_are_kept_one_by_one, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_unlinked_file_may_come_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_directory_without_its_name_is_gone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_failed_sync_loses_what_a_retry_says_is_kept, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_killed_loses_nothing_and_gives_up_locks, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_killed_can_still_be_lost, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stops_in_the_nth_call, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_seed_replays, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_full_disk, setup, teardown),
        cmocka_unit_test_setup_teardown(test_contents_can_be_replaced, setup, teardown),
        cmocka_unit_test_setup_teardown(test_answers_as_the_real_one, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
