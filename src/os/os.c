/* Helpers over struct os: errors for people, whole reads and writes, opening a data file.
 *
 * How: everything goes through the table, so that a fake's failures show up here too.
 *
 * Invariants
 * 1. An error's text names the action, the path and the reason, and what to do where that is
 *    known.
 * 2. A call that makes no progress (0 bytes) ends the loop: no helper can spin.
 * Failure modes: those of the entries called. */
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/assert.h"

int os_status(int negative_errno)
{
    switch (-negative_errno) {
    case ENOENT:
        return TARN_MISSING;
    case EACCES:
    case EPERM:
        return TARN_DENIED;
    case ENOSPC:
    case EDQUOT:
        return TARN_NOSPACE;
    case ENOMEM:
        return TARN_NOMEM;
    case EADDRINUSE:
        return TARN_BUSY;
    case EFBIG:
        return TARN_TOOBIG;
    default:
        return TARN_IO;
    }
}

/* What a user can do about an errno; NULL where there is no good advice. */
static const char *advice(int number)
{
    switch (number) {
    case ENOSPC:
        return "free space and run again";
    case EDQUOT:
        return "free space or raise the quota and run again";
    case ENOENT:
        return "check the path";
    case EACCES:
    case EPERM:
        return "check the permissions of the file and its directory, or run as another user";
    case EROFS:
        return "choose a path on a writable file system";
    case ENAMETOOLONG:
        return "choose a shorter name";
    case ENOMEM:
        return "free memory or raise the limit";
    case EADDRINUSE:
        return "stop the program that listens there or choose another port";
    case EADDRNOTAVAIL:
        return "choose an address of this machine";
    case EMFILE:
        return "raise the limit of open files (ulimit -n)";
    case ENFILE:
        return "raise the machine's limit of open files (sysctl fs.file-max)";
    case EFBIG:
        return "raise the file size limit (ulimit -f) or use another file system";
    case EIO:
        return "check the disk (dmesg)";
    case ENODATA:
        return "the file ends too early; was it cut while being read?";
    default:
        return NULL;
    }
}

int os_error(struct tarn_error *error, int negative_errno, const char *what, const char *path)
{
    int number = -negative_errno;
    char unknown[32];
    const char *reason = number == ENODATA ? "unexpected end of file" : strerrordesc_np(number);
    const char *hint = advice(number);
    if (!reason) {
        snprintf(unknown, sizeof unknown, "error %d", number);
        reason = unknown;
    }
    bool has_path = path && *path;
    return error_set(error, os_status(negative_errno), "%s%s%s: %s%s%s", what, has_path ? " " : "",
                     has_path ? path : "", reason, hint ? "; " : "", hint ? hint : "");
}

int os_read_full(const struct os *os, int fd, void *data, size_t size, uint64_t offset)
{
    unsigned char *p = data;
    while (size > 0) {
        size_t n = 0;
        int status = os->read_at(os, fd, p, size, offset, &n);
        if (status != 0)
            return status;
        if (n == 0)
            return -ENODATA;
        ASSERT(n <= size);
        p += n;
        size -= n;
        offset += n;
    }
    return 0;
}

int os_write_full(const struct os *os, int fd, const void *data, size_t size, uint64_t offset)
{
    const unsigned char *p = data;
    while (size > 0) {
        size_t n = 0;
        int status = os->write_at(os, fd, p, size, offset, &n);
        if (status != 0)
            return status;
        if (n == 0)
            return -EIO; /* a device that takes nothing and says nothing */
        ASSERT(n <= size);
        p += n;
        size -= n;
        offset += n;
    }
    return 0;
}

int os_open_parent(const struct os *os, const char *path, int *ret_fd)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return os->open(os, ".", O_RDONLY | O_DIRECTORY, 0, ret_fd);
    if (slash == path)
        return os->open(os, "/", O_RDONLY | O_DIRECTORY, 0, ret_fd);
    char *directory = strndup(path, (size_t)(slash - path));
    if (!directory)
        return -ENOMEM;
    int status = os->open(os, directory, O_RDONLY | O_DIRECTORY, 0, ret_fd);
    free(directory);
    return status;
}

int os_sync_directory(const struct os *os, int fd)
{
    int status = os->sync(os, fd);
    /* Some file systems know no fsync of a directory and say so; there is nothing more to do. */
    return status == -EINVAL || status == -EOPNOTSUPP ? 0 : status;
}

int os_open_data(const struct os *os, const char *path, int *ret_fd, struct os_file_info *ret_info,
                 struct tarn_error *error)
{
    int fd;
    struct os_file_info info;
    /* O_NONBLOCK: opening a pipe or a device must not wait for its other side. */
    int status = os->open(os, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, &fd);
    if (status == -ENXIO) /* a socket */
        return error_set(error, TARN_INVALID, "cannot use %s: not a regular file", path);
    if (status != 0)
        return os_error(error, status, "cannot open", path);
    status = os->file_info(os, fd, &info);
    if (status != 0) {
        status = os_error(error, status, "cannot examine", path);
        goto fail;
    }
    if (info.kind == OS_FILE_DIRECTORY) {
        status =
            error_set(error, TARN_INVALID, "cannot use %s: it is a directory; name a file", path);
        goto fail;
    }
    if (info.kind != OS_FILE_REGULAR) {
        status = error_set(error, TARN_INVALID,
                           "cannot use %s: not a regular file; copy its contents into one", path);
        goto fail;
    }
    *ret_fd = fd;
    *ret_info = info;
    return TARN_OK;
fail:
    (void)os->close(os, fd); /* nothing was written; the first failure is what matters */
    return status;
}

int os_read_file(const struct os *os, const char *path, size_t size_max, struct buffer *out,
                 struct tarn_error *error)
{
    int fd;
    struct os_file_info info;
    int status = os_open_data(os, path, &fd, &info, error);
    if (status != TARN_OK)
        return status;
    size_t size = (size_t)info.size;
    if (info.size > size_max) {
        status = error_set(error, TARN_TOOBIG, "cannot read %s: it has more than %zu bytes", path,
                           size_max);
    } else if (!buffer_reserve(out, size + 1)) { /* of an empty file there is data too */
        status = error_set(error, TARN_NOMEM, "cannot read %s: out of memory", path);
    } else {
        int e = os_read_full(os, fd, out->data + out->size, size, 0);
        if (e < 0)
            status = os_error(error, e, "cannot read", path);
        else
            out->size += size;
    }
    (void)os->close(os, fd); /* only read from */
    return status;
}
