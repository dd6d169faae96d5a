/* Files that a command writes; see output.h. */
#include "cli/output.h"

#include <errno.h>
#include <fcntl.h>

int output_check(const struct os *os, const char *path, const char *advice,
                 struct tarn_error *error)
{
    int fd;
    struct os_file_info info;
    int e = os->open(os, path, O_PATH, 0, &fd);
    if (e == -ENOENT)
        return TARN_OK;
    if (e < 0)
        return os_error(error, e, "cannot write", path);
    e = os->file_info(os, fd, &info);
    (void)os->close(os, fd); /* nothing was written */
    if (e < 0)
        return os_error(error, e, "cannot write", path);
    if (info.kind == OS_FILE_DIRECTORY)
        return error_set(error, TARN_INVALID, "%s: is a directory; name a file in it", path);
    if (info.kind != OS_FILE_REGULAR)
        return error_set(error, TARN_INVALID, "%s: is not a regular file; %s", path, advice);
    return TARN_OK;
}
