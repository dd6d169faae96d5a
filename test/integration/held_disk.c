/* Preloaded into the server under test: a disk that is slow, fails or is full when the test says
 * so, by making a file in the directory $HELD_DISK. It concerns the files of the log (wal-*) only.
 *
 *   hold   fdatasync() waits for as long as there is this file
 *   fail   fdatasync() fails with EIO
 *   full   pwrite() and fallocate() fail with ENOSPC
 */
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

static int is_log(int fd)
{
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < 0)
        return 0;
    path[size] = 0;
    return strstr(path, "/wal-") != NULL;
}

int fdatasync(int fd)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    if (is_log(fd)) {
        while (is_on("hold"))
            usleep(1000);
        if (is_on("fail")) {
            errno = EIO;
            return -1;
        }
    }
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
