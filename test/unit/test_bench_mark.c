/* Goal: the bench writes into a directory only if that is new or the bench's own; whatever fails on
 * the way is told.
 * Method: directories with this and that in them; every allocation and every system call failed. */
#include "bench/mark.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/bytes.h"

#include "lib/test.h"

#include "lib/fault_malloc.h"
#include "lib/os_fixture.h"

static void put_file(const char *name)
{
    file_write(scratch_at(&scratch, name), bytes_of("x"));
}

static void test_others_are_let_be(void **state)
{
    (void)state;
    struct tarn_error error = {0};
    char text[600];
    assert_int_equal(mark_check(&fault.os, scratch_at(&scratch, "new"), &error), TARN_OK);
    assert_int_equal(mark_check(&fault.os, scratch.path, &error), TARN_OK);
    put_file("letters"); /* for the store itself to refuse */
    assert_int_equal(mark_check(&fault.os, scratch.path, &error), TARN_OK);
    put_file("MANIFEST");
    assert_int_equal(mark_check(&fault.os, scratch.path, &error), TARN_INVALID);
    snprintf(text, sizeof text,
             "%s holds a store that tarn bench did not make, and would be written to; name a new "
             "directory",
             scratch.path);
    assert_string_equal(error.text, text);
    assert_int_equal(mark_put(&fault.os, scratch.path, &error), TARN_OK);
    assert_int_equal(mark_check(&fault.os, scratch.path, &error), TARN_OK);
}

static void test_put_once(void **state)
{
    (void)state;
    assert_int_equal(mark_put(&fault.os, scratch.path, NULL), TARN_OK);
    assert_int_equal(scratch_count(&scratch, ""), 1);
    assert_int_equal(scratch_count(&scratch, "TARN-BENCH"), 1);
    put_file("TARN-BENCH");
    assert_int_equal(mark_put(&fault.os, scratch.path, NULL), TARN_OK);
    assert_true(file_holds(scratch_at(&scratch, "TARN-BENCH"), bytes_of("x")));
}

/* A path that is a file, or that may not be looked at, is an error and not an empty directory. */
static void test_what_is_no_directory(void **state)
{
    (void)state;
    struct tarn_error error = {0};
    put_file("file");
    assert_int_equal(mark_check(&fault.os, scratch_at(&scratch, "file"), &error), TARN_IO);
    assert_non_null(strstr(error.text, "file: Not a directory"));
    assert_int_equal(mark_put(&fault.os, scratch_at(&scratch, "new"), &error), TARN_MISSING);
}

static void test_failures(void **state)
{
    (void)state;
    static const enum fault_entry entries[] = {FAULT_LIST, FAULT_OPEN, FAULT_WRITE_AT, FAULT_CLOSE};
    for (size_t i = 0; i < sizeof entries / sizeof entries[0]; i++) {
        struct tarn_error error = {0};
        fault_os_reset(&fault);
        fault_os_fail(&fault, entries[i], 1, EIO, false);
        assert_int_equal(mark_put(&fault.os, scratch.path, &error), TARN_IO);
        assert_non_null(strstr(error.text, scratch.path));
        remove(scratch_at(&scratch, "TARN-BENCH"));
    }
    fault_os_reset(&fault);
    fault_os_fail(&fault, FAULT_LIST, 1, EACCES, false);
    assert_int_equal(mark_check(&fault.os, scratch.path, NULL), TARN_DENIED);
    fault_malloc_arm(1, false);
    assert_int_equal(mark_put(&fault.os, scratch.path, NULL), TARN_NOMEM);
    fault_malloc_disarm();
    assert_int_equal(scratch_count(&scratch, ""), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_others_are_let_be, setup, teardown),
        cmocka_unit_test_setup_teardown(test_put_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_no_directory, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failures, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
