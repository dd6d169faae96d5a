/* A file beside a store's own, which says in words whose the store is. It is put when the store is
 * open: until then tarn takes a directory with such a file in it for somebody else's.
 *
 * Failure modes: those of files. A run that dies between opening a new store and marking it leaves
 * one that the bench refuses from then on. */
#include "bench/mark.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "core/bytes.h"

#define MARK "TARN-BENCH"

static const char mark_text[] =
    "This store was made by tarn bench --embedded; it holds test data.\n";

struct found {
    bool store, mark;
};

static void look_at(void *context, const char *name)
{
    struct found *found = context;
    found->store |= strcmp(name, "MANIFEST") == 0;
    found->mark |= strcmp(name, MARK) == 0;
}

/* What is in the directory; nothing, if it is not there. */
static int look(const struct os *os, const char *directory, struct found *ret_found,
                struct tarn_error *error)
{
    *ret_found = (struct found){0};
    int e = os->list(os, directory, look_at, ret_found);
    return e == 0 || e == -ENOENT ? TARN_OK : os_error(error, e, "cannot read", directory);
}

int mark_check(const struct os *os, const char *directory, struct tarn_error *error)
{
    struct found found;
    int status = look(os, directory, &found, error);
    if (status != TARN_OK || !found.store || found.mark)
        return status;
    return error_set(error, TARN_INVALID,
                     "%s holds a store that tarn bench did not make, and would be written to; name "
                     "a new directory",
                     directory);
}

static int write_mark(const struct os *os, const char *path, struct tarn_error *error)
{
    int fd, e = os->open(os, path, O_WRONLY | O_CREAT | O_TRUNC, 0666, &fd);
    if (e != 0)
        return os_error(error, e, "cannot create", path);
    e = os_write_full(os, fd, mark_text, sizeof mark_text - 1, 0);
    int closed = os->close(os, fd);
    e = e != 0 ? e : closed;
    return e == 0 ? TARN_OK : os_error(error, e, "cannot write", path);
}

int mark_put(const struct os *os, const char *directory, struct tarn_error *error)
{
    struct found found;
    struct buffer path = {0};
    int status = look(os, directory, &found, error);
    if (status != TARN_OK || found.mark)
        return status;
    buffer_printf(&path, "%s/%s", directory, MARK);
    buffer_append_byte(&path, 0);
    status = path.failed ? error_set(error, TARN_NOMEM, "out of memory")
                         : write_mark(os, (const char *)path.data, error);
    buffer_done(&path);
    return status;
}
