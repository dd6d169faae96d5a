/* Goal: errors of the system become the right status and a text a user can act on; whole reads and
 * writes survive short counts and end on every failure; opening a data file refuses all that is
 * none, without waiting and without leaking a descriptor.
 * Method: the failing os of test/lib over files in a temporary directory. */
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/test.h"

#include "lib/os_fixture.h"

static void test_status_of_errno(void **state)
{
    (void)state;
    static const struct {
        int number, status;
    } cases[] = {
        {ENOENT, TARN_MISSING},  {EACCES, TARN_DENIED},  {EPERM, TARN_DENIED},
        {ENOSPC, TARN_NOSPACE},  {EDQUOT, TARN_NOSPACE}, {ENOMEM, TARN_NOMEM},
        {EADDRINUSE, TARN_BUSY}, {EFBIG, TARN_TOOBIG},   {EIO, TARN_IO},
        {EMFILE, TARN_IO},       {4095, TARN_IO},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(os_status(-cases[i].number), cases[i].status);
}

static void test_error_texts(void **state)
{
    (void)state;
    struct tarn_error error;
    assert_int_equal(os_error(&error, -ENOSPC, "cannot write", "/x/y.tarnidx"), TARN_NOSPACE);
    assert_string_equal(error.text, "cannot write /x/y.tarnidx: No space left on device; free "
                                    "space and run again");
    assert_int_equal(os_error(&error, -EBADF, "cannot sync", "f"), TARN_IO);
    assert_string_equal(error.text, "cannot sync f: Bad file descriptor"); /* no advice */
    assert_int_equal(os_error(&error, -ENOMEM, "cannot get entropy", NULL), TARN_NOMEM);
    assert_string_equal(
        error.text, "cannot get entropy: Cannot allocate memory; free memory or raise the limit");
    os_error(&error, -4095, "cannot do", "");
    assert_string_equal(error.text, "cannot do: error 4095");
    os_error(&error, -ENODATA, "cannot read", "f");
    assert_string_equal(error.text, "cannot read f: unexpected end of file; the file ends too "
                                    "early; was it cut while being read?");
    assert_int_equal(os_error(NULL, -ENOENT, "x", "y"), TARN_MISSING);

    static const struct {
        int number;
        const char *advice;
    } cases[] = {
        {EDQUOT, "raise the quota"},
        {ENOENT, "check the path"},
        {EACCES, "check the permissions"},
        {EPERM, "check the permissions"},
        {EROFS, "writable file system"},
        {ENAMETOOLONG, "choose a shorter name"},
        {EADDRINUSE, "another port"},
        {EADDRNOTAVAIL, "address of this machine"},
        {EMFILE, "ulimit -n"},
        {ENFILE, "fs.file-max"},
        {EFBIG, "ulimit -f"},
        {EIO, "check the disk"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        os_error(&error, -cases[i].number, "cannot use", "f");
        assert_non_null(strstr(error.text, strerror(cases[i].number)));
        assert_non_null(strstr(error.text, cases[i].advice));
    }
}

static int open_file(const char *name, int flags)
{
    int fd;
    assert_int_equal(
        fault.os.open(&fault.os, scratch_at(&scratch, name), flags | O_CREAT, 0600, &fd), 0);
    return fd;
}

static void test_whole_transfers(void **state)
{
    (void)state;
    const struct os *os = &fault.os;
    int fd = open_file("whole", O_RDWR);
    fault_os_reset(&fault);
    fault_os_short(&fault, FAULT_WRITE_AT, 1, 3);
    assert_int_equal(os_write_full(os, fd, "0123456789", 10, 5), 0);
    assert_int_equal(fault_os_calls(&fault, FAULT_WRITE_AT), 2);
    char data[10] = {0};
    fault_os_short(&fault, FAULT_READ_AT, 2, 1);
    fault_os_short(&fault, FAULT_READ_AT, 1, 4);
    assert_int_equal(os_read_full(os, fd, data, 10, 5), 0);
    assert_int_equal(fault_os_calls(&fault, FAULT_READ_AT), 2);
    assert_memory_equal(data, "0123456789", 10);

    assert_int_equal(os_read_full(os, fd, data, 10, 6), -ENODATA); /* one byte past the end */
    assert_int_equal(os_read_full(os, fd, data, 0, 99), 0);
    assert_int_equal(os_write_full(os, fd, data, 0, 99), 0);

    fault_os_reset(&fault);
    fault_os_short(&fault, FAULT_WRITE_AT, 1, 0); /* a device that takes nothing: no endless loop */
    assert_int_equal(os_write_full(os, fd, "x", 1, 0), -EIO);
    for (uint64_t nth = 1; nth <= 2; nth++) {
        fault_os_reset(&fault);
        fault_os_short(&fault, FAULT_WRITE_AT, 3 - nth, 3);
        fault_os_fail(&fault, FAULT_WRITE_AT, nth, ENOSPC, false);
        assert_int_equal(os_write_full(os, fd, "0123456789", 10, 0), -ENOSPC);
        fault_os_short(&fault, FAULT_READ_AT, 1, 3);
        fault_os_fail(&fault, FAULT_READ_AT, 2, EIO, false);
        assert_int_equal(os_read_full(os, fd, data, 10, 0), -EIO);
    }
    fault_os_reset(&fault);
    assert_int_equal(os->close(os, fd), 0);
}

/* Both steps, as publishing takes them. */
static int sync_parent(const struct os *os, const char *path)
{
    int fd;
    int status = os_open_parent(os, path, &fd);
    if (status != 0)
        return status;
    status = os_sync_directory(os, fd);
    int close_status = os->close(os, fd);
    return status != 0 ? status : close_status;
}

static void test_sync_parent(void **state)
{
    (void)state;
    const struct os *os = &fault.os;
    char there[1024];
    assert_non_null(getcwd(there, sizeof there));
    assert_int_equal(chdir(scratch.path), 0);
    file_write(scratch_at(&scratch, "sub/x"), (struct tarn_bytes){"", 0});
    fault_os_reset(&fault);
    assert_int_equal(sync_parent(os, "x"), 0);
    assert_int_equal(sync_parent(os, "sub/x"), 0);
    assert_int_equal(sync_parent(os, "/x"), 0);
    assert_int_equal(sync_parent(os, scratch_at(&scratch, "x")), 0);
    assert_int_equal(fault_os_calls(&fault, FAULT_SYNC), 4);
    assert_int_equal(fault_os_calls(&fault, FAULT_CLOSE), 4);
    assert_int_equal(sync_parent(os, "nosuch/x"), -ENOENT);
    assert_int_equal(sync_parent(os, "sub/x/y"), -ENOTDIR);
    assert_int_equal(chdir(there), 0);

    static const struct {
        enum fault_entry entry;
        int number, status;
    } cases[] = {
        {FAULT_OPEN, EMFILE, -EMFILE}, {FAULT_SYNC, EIO, -EIO},
        {FAULT_SYNC, EINVAL, 0},       {FAULT_SYNC, EOPNOTSUPP, 0}, /* no such thing there */
        {FAULT_CLOSE, EIO, -EIO},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fault_os_reset(&fault);
        fault_os_fail(&fault, cases[i].entry, 1, cases[i].number, false);
        assert_int_equal(sync_parent(os, scratch_at(&scratch, "x")), cases[i].status);
        assert_true(fault_os_clean(&fault));
    }
    fault_os_reset(&fault);
}

static void check_refused(const char *path, int status, const char *reason)
{
    struct tarn_error error;
    struct os_file_info info;
    int fd = -7;
    assert_int_equal(os_open_data(&fault.os, path, &fd, &info, &error), status);
    assert_int_equal(fd, -7);
    assert_int_equal(error.status, status);
    assert_non_null(strstr(error.text, path));
    assert_non_null(strstr(error.text, reason));
    assert_true(fault_os_clean(&fault));
}

static void test_open_data(void **state)
{
    (void)state;
    const struct os *os = &fault.os;
    const char *path = scratch_at(&scratch, "data");
    file_write(path, (struct tarn_bytes){"k v\n", 4});
    int fd;
    struct os_file_info info;
    assert_int_equal(os_open_data(os, path, &fd, &info, NULL), TARN_OK);
    assert_int_equal(info.size, 4);
    assert_int_equal(info.kind, OS_FILE_REGULAR);
    assert_int_equal(os->close(os, fd), 0);

    check_refused(scratch_at(&scratch, "nosuch"), TARN_MISSING, "No such file or directory; check");
    check_refused(scratch.path, TARN_INVALID, "it is a directory; name a file");
    check_refused("/dev/null", TARN_INVALID, "not a regular file");
    const char *pipe_path = scratch_at(&scratch, "pipe");
    assert_int_equal(mkfifo(pipe_path, 0600), 0);
    check_refused(pipe_path, TARN_INVALID,
                  "not a regular file"); /* and does not wait for a writer */

    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%.90s/socket", scratch.path);
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    check_refused(address.sun_path, TARN_INVALID, "not a regular file");
    close(listener);

    fault_os_reset(&fault);
    fault_os_fail(&fault, FAULT_OPEN, 1, EACCES, false);
    check_refused(path, TARN_DENIED, "Permission denied; check the permissions");
    fault_os_reset(&fault);
    fault_os_fail(&fault, FAULT_OPEN, 1, EMFILE, false);
    check_refused(path, TARN_IO, "Too many open files; raise the limit of open files (ulimit -n)");
    fault_os_reset(&fault);
    fault_os_fail(&fault, FAULT_FILE_INFO, 1, EIO, false);
    check_refused(path, TARN_IO, "Input/output error; check the disk");
    fault_os_reset(&fault);
}

static void test_read_file(void **state)
{
    (void)state;
    const char *path = scratch_at(&scratch, "text");
    struct buffer out = {0};
    struct tarn_error error;
    file_write(path, (struct tarn_bytes){"some text", 9});
    buffer_append_text(&out, "before ");
    assert_int_equal(os_read_file(&fault.os, path, 9, &out, &error), TARN_OK);
    assert_true(bytes_equal(buffer_view(&out), bytes_of("before some text")));
    assert_int_equal(os_read_file(&fault.os, path, 8, &out, &error), TARN_TOOBIG);
    assert_non_null(strstr(error.text, "text: it has more than 8 bytes"));
    assert_int_equal(os_read_file(&fault.os, scratch.path, 9, &out, &error), TARN_INVALID);
    fault_os_reset(&fault);
    fault_os_fail(&fault, FAULT_READ_AT, 1, EIO, false);
    assert_int_equal(os_read_file(&fault.os, path, 9, &out, &error), TARN_IO);
    assert_true(bytes_equal(buffer_view(&out), bytes_of("before some text")));
    fault_os_reset(&fault);
    out.size_max = 20;
    assert_int_equal(os_read_file(&fault.os, path, 9, &out, &error), TARN_NOMEM);
    assert_true(fault_os_clean(&fault));
    buffer_done(&out);

    file_write(path, (struct tarn_bytes){"", 0});
    struct buffer empty = {0};
    assert_int_equal(os_read_file(&fault.os, path, 0, &empty, &error), TARN_OK);
    assert_int_equal(empty.size, 0);
    buffer_done(&empty);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_status_of_errno), cmocka_unit_test(test_error_texts),
        cmocka_unit_test(test_whole_transfers), cmocka_unit_test(test_sync_parent),
        cmocka_unit_test(test_open_data),       cmocka_unit_test(test_read_file),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
