/* Files that a command writes; see output.h. */
#include "cli/output.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

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

/* Is there something under this name? */
static bool exists(const struct os *os, const char *path)
{
    int fd;
    if (os->open(os, path, O_PATH | O_NOFOLLOW, 0, &fd) < 0)
        return false;
    (void)os->close(os, fd); /* nothing was written */
    return true;
}

int output_open(struct output *output, const struct os *os, const char *path, bool keeps,
                struct tarn_error *error)
{
    *output = (struct output){.publish.fd = -1, .is_stdout = strcmp(path, "-") == 0};
    if (output->is_stdout)
        return TARN_OK;
    int status = output_check(os, path, "use - to write to standard output", error);
    if (status == TARN_OK && keeps && exists(os, path))
        status = error_set(error, TARN_INVALID, "%s: exists already; --force replaces it", path);
    return status == TARN_OK ? publish_open(&output->publish, os, path, error) : status;
}

static int write_stdout(const void *data, size_t size, struct tarn_error *error)
{
    const char *p = data;
    while (size > 0) {
        ssize_t n = write(STDOUT_FILENO, p, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return os_error(error, -errno, "cannot write to", "standard output");
        p += n;
        size -= (size_t)n;
    }
    return TARN_OK;
}

int output_append(void *context, const void *data, size_t size, struct tarn_error *error)
{
    struct output *output = context;
    output->bytes += size;
    return output->is_stdout ? write_stdout(data, size, error)
                             : publish_append(&output->publish, data, size, error);
}

int output_commit(struct output *output, struct tarn_error *error)
{
    return output->is_stdout ? TARN_OK : publish_commit(&output->publish, error);
}

void output_abort(struct output *output)
{
    publish_abort(&output->publish);
}
