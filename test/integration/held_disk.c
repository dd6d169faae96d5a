/* Preloaded into the server under test: a disk that is slow, fails or is full when the test says
 * so, by making a file in the directory $HELD_DISK. Of the files of the log (wal-*):
 *
 *   hold   fdatasync() waits for as long as there is this file
 *   fail   fdatasync() fails with EIO
 *   full   pwrite() and fallocate() fail with ENOSPC
 *
 * and of checkpoints: hold-save and fail-save, for fsync(). */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int is_on(const char *name)
{
    char path[4096];
    const char *directory = getenv("HELD_DISK");
    if (directory == NULL)
        return 0;
    snprintf(path, sizeof path, "%s/%s", directory, name);
    return access(path, F_OK) == 0;
}

static int is_named(int fd, const char *name)
{
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < 0)
        return 0;
    path[size] = 0;
    return strstr(path, name) != NULL;
}

static int is_log(int fd)
{
    return is_named(fd, "/wal-");
}

/* 0, or -1 with errno. */
static int wait_or_fail(const char *hold, const char *fail)
{
    while (is_on(hold))
        usleep(1000);
    if (!is_on(fail))
        return 0;
    errno = EIO;
    return -1;
}

int fdatasync(int fd)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    if (is_log(fd) && wait_or_fail("hold", "fail") != 0)
        return -1;
    return real(fd);
}

int fsync(int fd)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    if (is_named(fd, "/checkpoint-") && wait_or_fail("hold-save", "fail-save") != 0)
        return -1;
    return real(fd);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
    ssize_t (*real)(int, const void *, size_t, off_t) =
        (ssize_t(*)(int, const void *, size_t, off_t))dlsym(RTLD_NEXT, "pwrite");
    if (is_on("full") && is_log(fd)) {
        errno = ENOSPC;
        return -1;
    }
    return real(fd, data, size, offset);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off_t offset)
{
    return pwrite(fd, data, size, offset);
}

int fallocate(int fd, int mode, off_t offset, off_t size)
{
    int (*real)(int, int, off_t, off_t) =
        (int (*)(int, int, off_t, off_t))dlsym(RTLD_NEXT, "fallocate");
    if (is_on("full") && is_log(fd)) {
        errno = ENOSPC;
        return -1;
    }
    return real(fd, mode, offset, size);
}
