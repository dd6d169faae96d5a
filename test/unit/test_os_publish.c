/* Goal: a published file appears whole under its name and replaces the old one only at commit; an
 * aborted one leaves no trace.
 * Method: publishing in a temporary directory whose entries are counted between the steps. (What
 * happens when a call fails is in test/fault/test_os_publish.c.) */
#include "os/publish.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/test.h"

#include "lib/os_fixture.h"

static void test_new_file(void **state)
{
    (void)state;
    const char *path = scratch_at(&scratch, "f");
    struct publish p;
    assert_int_equal(publish_open(&p, &fault.os, path, NULL), TARN_OK);
    assert_int_equal(publish_append(&p, "....", 4, NULL), TARN_OK);
    assert_int_equal(publish_append(&p, "", 0, NULL), TARN_OK);
    assert_int_equal(publish_append(&p, "body", 4, NULL), TARN_OK);
    assert_int_equal(p.offset, 8);
    assert_int_equal(publish_write_at(&p, "HE", 2, 1, NULL), TARN_OK);
    assert_int_equal(p.offset, 8);            /* overwriting moves nothing */
    assert_int_equal(access(path, F_OK), -1); /* not visible yet */
    assert_int_equal(scratch_count(&scratch, ""), 1);
    assert_int_equal(publish_commit(&p, NULL), TARN_OK);
    assert_true(file_holds(path, (struct tarn_bytes){".HE.body", 8}));
    assert_int_equal(scratch_count(&scratch, ""), 1);
    publish_abort(&p); /* allowed, does nothing */
    assert_true(file_holds(path, (struct tarn_bytes){".HE.body", 8}));
}

static void test_replaces_the_old_only_at_commit(void **state)
{
    (void)state;
    const char *path = scratch_at(&scratch, "f");
    file_write(path, (struct tarn_bytes){"old", 3});
    struct publish p;
    assert_int_equal(publish_open(&p, &fault.os, path, NULL), TARN_OK);
    assert_int_equal(publish_append(&p, "new content", 11, NULL), TARN_OK);
    assert_true(file_holds(path, (struct tarn_bytes){"old", 3}));
    assert_int_equal(publish_commit(&p, NULL), TARN_OK);
    assert_true(file_holds(path, (struct tarn_bytes){"new content", 11}));

    assert_int_equal(publish_open(&p, &fault.os, path, NULL), TARN_OK);
    assert_int_equal(publish_commit(&p, NULL), TARN_OK);
    assert_true(file_holds(path, (struct tarn_bytes){"", 0})); /* an empty file is a file */
    assert_int_equal(scratch_count(&scratch, ""), 1);
}

static void test_abort_leaves_no_trace(void **state)
{
    (void)state;
    const char *path = scratch_at(&scratch, "f");
    file_write(path, (struct tarn_bytes){"old", 3});
    struct publish p = {0};
    publish_abort(&p); /* a zeroed one: must not close descriptor 0 */
    assert_true(fcntl(0, F_GETFD) >= 0 || errno == EBADF);
    assert_int_equal(fault_os_calls(&fault, FAULT_CLOSE), 0);
    assert_int_equal(publish_open(&p, &fault.os, path, NULL), TARN_OK);
    assert_int_equal(publish_append(&p, "new", 3, NULL), TARN_OK);
    publish_abort(&p);
    publish_abort(&p);
    assert_true(file_holds(path, (struct tarn_bytes){"old", 3}));
    assert_int_equal(scratch_count(&scratch, ""), 1);
}

/* Trips if two publishers of one name, or a leftover, share a temporary file. */
static void test_publishers_do_not_share(void **state)
{
    (void)state;
    const char *path = scratch_at(&scratch, "f");
    struct publish one, two;
    assert_int_equal(publish_open(&one, &fault.os, path, NULL), TARN_OK);
    assert_int_equal(publish_open(&two, &fault.os, path, NULL), TARN_OK);
    assert_string_not_equal(one.path_temp, two.path_temp);
    assert_int_equal(publish_append(&one, "one", 3, NULL), TARN_OK);
    assert_int_equal(publish_append(&two, "two", 3, NULL), TARN_OK);
    assert_int_equal(publish_commit(&two, NULL), TARN_OK);
    assert_true(file_holds(path, (struct tarn_bytes){"two", 3}));
    assert_int_equal(publish_commit(&one, NULL), TARN_OK);
    assert_true(file_holds(path, (struct tarn_bytes){"one", 3}));
    assert_int_equal(scratch_count(&scratch, ""), 1);
}

static int same_entropy(const struct os *os, void *data, size_t size)
{
    (void)os;
    memset(data, 0x11, size);
    return 0;
}

/* Trips without O_EXCL: a name that exists, here always the same, is never taken over. */
static void test_existing_temporary_file_is_left_alone(void **state)
{
    (void)state;
    const char *path = scratch_at(&scratch, "f");
    const char *taken = scratch_at(&scratch, "f.tmp.1111111111111111");
    file_write(taken, (struct tarn_bytes){"other", 5});
    struct os os = fault.os;
    os.entropy = same_entropy;
    struct publish p;
    struct tarn_error error;
    assert_int_equal(publish_open(&p, &os, path, &error), TARN_IO);
    assert_non_null(strstr(error.text, taken));
    assert_non_null(strstr(error.text, "File exists"));
    publish_abort(&p); /* after a failed open: nothing */
    assert_true(file_holds(taken, (struct tarn_bytes){"other", 5}));
    assert_int_equal(scratch_count(&scratch, ""), 1);
}

static void test_impossible_paths(void **state)
{
    (void)state;
    struct publish p;
    struct tarn_error error;
    const char *path = scratch_at(&scratch, "nosuch/f");
    assert_int_equal(publish_open(&p, &fault.os, path, &error), TARN_MISSING);
    assert_non_null(strstr(error.text, path));
    file_write(scratch_at(&scratch, "file"), (struct tarn_bytes){"", 0});
    assert_int_equal(publish_open(&p, &fault.os, scratch_at(&scratch, "file/f"), &error), TARN_IO);
    assert_non_null(strstr(error.text, "Not a directory"));

    /* onto a directory: fails at the rename, and the temporary file goes */
    file_write(scratch_at(&scratch, "d/x"), (struct tarn_bytes){"", 0});
    path = scratch_at(&scratch, "d");
    assert_int_equal(publish_open(&p, &fault.os, path, NULL), TARN_OK);
    assert_int_equal(publish_commit(&p, &error), TARN_IO);
    assert_non_null(strstr(error.text, path));
    assert_non_null(strstr(error.text, "Is a directory"));
    assert_int_equal(scratch_count(&scratch, ""), 2);
}

/* Relative names, in this directory and below it. */
static void test_relative_paths(void **state)
{
    (void)state;
    char there[1024];
    assert_non_null(getcwd(there, sizeof there));
    assert_int_equal(chdir(scratch.path), 0);
    file_write(scratch_at(&scratch, "sub/old"), (struct tarn_bytes){"", 0});
    static const char *const names[] = {"plain", "./dot", "sub/below"};
    for (size_t i = 0; i < 3; i++) {
        struct publish p;
        assert_int_equal(publish_open(&p, &fault.os, names[i], NULL), TARN_OK);
        assert_int_equal(publish_append(&p, "x", 1, NULL), TARN_OK);
        assert_int_equal(publish_commit(&p, NULL), TARN_OK);
        assert_true(file_holds(names[i], (struct tarn_bytes){"x", 1}));
    }
    assert_int_equal(chdir(there), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_new_file),
        TEST(test_replaces_the_old_only_at_commit),
        TEST(test_abort_leaves_no_trace),
        TEST(test_publishers_do_not_share),
        TEST(test_existing_temporary_file_is_left_alone),
        TEST(test_impossible_paths),
        TEST(test_relative_paths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
