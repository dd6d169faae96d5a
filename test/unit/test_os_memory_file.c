/* Goal: a file in memory can be written, opened again by its path as any file, leaves no descriptor
 * behind and is not inherited; what the system refuses comes back as its errno.
 * Method: bytes written through the descriptor are read through the path, in this process. */
#include "os/memory_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "lib/test.h"

#include "lib/scratch.h"

static void test_written_bytes_are_read_by_path(void **state)
{
    (void)state;
    int fd = -1;
    char path[MEMORY_FILE_PATH_BYTES_MAX], read_back[6] = {0};
    size_t before = scratch_fd_count();
    assert_int_equal(memory_file_open("test", &fd, path), 0);
    assert_true(strlen(path) < sizeof path);
    assert_int_equal(lseek(fd, 0, SEEK_END), 0);
    assert_int_equal(write(fd, "value", 5), 5);
    int other = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(other >= 0);
    assert_int_equal(close(fd), 0); /* the other one keeps the bytes */
    assert_int_equal(read(other, read_back, sizeof read_back), 5);
    assert_string_equal(read_back, "value");
    assert_int_equal(close(other), 0);
    assert_int_equal(open(path, O_RDONLY), -1); /* and then it is gone */
    assert_int_equal(scratch_fd_count(), before);
}

static void test_two_files_are_two(void **state)
{
    (void)state;
    int a, b;
    char path_a[MEMORY_FILE_PATH_BYTES_MAX], path_b[MEMORY_FILE_PATH_BYTES_MAX];
    assert_int_equal(memory_file_open("same", &a, path_a), 0);
    assert_int_equal(memory_file_open("same", &b, path_b), 0);
    assert_string_not_equal(path_a, path_b);
    assert_int_equal(write(a, "x", 1), 1);
    assert_int_equal(lseek(b, 0, SEEK_END), 0);
    close(a);
    close(b);
}

static void test_not_inherited(void **state)
{
    (void)state;
    int fd;
    char path[MEMORY_FILE_PATH_BYTES_MAX];
    assert_int_equal(memory_file_open("test", &fd, path), 0);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    close(fd);
}

/* Outputs are written only on success. */
static void test_refused(void **state)
{
    (void)state;
    int fd = -7;
    char path[MEMORY_FILE_PATH_BYTES_MAX] = "as before", name[300];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = 0;
    assert_int_equal(memory_file_open(name, &fd, path), -EINVAL); /* at most 249 bytes */
    assert_int_equal(fd, -7);
    assert_string_equal(path, "as before");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_written_bytes_are_read_by_path),
        cmocka_unit_test(test_two_files_are_two),
        cmocka_unit_test(test_not_inherited),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
