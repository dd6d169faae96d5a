/* Publishing a file: temporary file -> write -> fsync -> rename -> fsync(directory).
 *
 * How: the temporary file is created with O_EXCL under a random name beside the final one, so two
 * publishers, or the leftover of a crash, never share it. The directory is opened before the
 * rename, so that after the rename only its fsync can fail.
 *
 * Invariants
 * 1. path_temp != NULL exactly while the publish is open (after open, before commit/abort/failure).
 * 2. Every failure ends the publish: descriptor closed, temporary file removed, error filled.
 * 3. The file under `path` is only ever replaced, whole, by rename(2).
 * Failure modes: each call's, with path and reason. If the directory's fsync fails the new file is
 * in place and whole but may be gone (the old one back) after a power loss; the error says so. */
#include "os/publish.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/assert.h"
#include "core/plant.h"

#define NAME_TRIES 4

void publish_abort(struct publish *p)
{
    if (!p->path_temp)
        return;
    /* The file is being thrown away: what close and unlink say changes nothing. */
    if (p->fd >= 0)
        (void)p->os->close(p->os, p->fd);
    (void)p->os->unlink(p->os, p->path_temp);
    free(p->path_temp);
    free(p->path);
    p->path_temp = p->path = NULL;
    p->fd = -1;
}

/* Fill the error, then end the publish. Returns the status. */
static int fail(struct publish *p, int negative_errno, const char *what, struct tarn_error *error)
{
    int status = os_error(error, negative_errno, what, p->path);
    publish_abort(p);
    return status;
}

/* path + ".tmp." + 16 random hex digits, in memory of the caller's to free. */
static int make_temp_name(const struct os *os, const char *path, char **ret_name)
{
    uint64_t random;
    int status = os->entropy(os, &random, sizeof random);
    if (status != 0)
        return status;
    size_t size = strlen(path) + sizeof ".tmp." + 16;
    char *name = malloc(size);
    if (!name)
        return -ENOMEM;
    snprintf(name, size, "%s.tmp.%016llx", path, (unsigned long long)random);
    *ret_name = name;
    return 0;
}

int publish_open(struct publish *p, const struct os *os, const char *path, struct tarn_error *error)
{
    *p = (struct publish){.os = os, .fd = -1};
    char *name = NULL;
    int status, fd = -1;
    for (int i = 0; i < NAME_TRIES; i++) {
        free(name);
        name = NULL;
        status = make_temp_name(os, path, &name);
        if (status != 0)
            return os_error(error, status, "cannot name a temporary file for", path);
        status = os->open(os, name, O_WRONLY | O_CREAT | O_EXCL, 0666, &fd);
        if (status != -EEXIST)
            break;
    }
    if (status != 0) {
        status = os_error(error, status, "cannot create", name);
        free(name);
        return status;
    }
    p->path_temp = name;
    p->fd = fd;
    p->path = strdup(path);
    if (!p->path) {
        status = os_error(error, -ENOMEM, "cannot write", path);
        publish_abort(p);
        return status;
    }
    return TARN_OK;
}

int publish_append(struct publish *p, const void *data, size_t size, struct tarn_error *error)
{
    ASSERT(p->path_temp && p->fd >= 0);
    int status = os_write_full(p->os, p->fd, data, size, p->offset);
    if (status != 0)
        return fail(p, status, "cannot write", error);
    p->offset += size;
    return TARN_OK;
}

int publish_write_at(struct publish *p, const void *data, size_t size, uint64_t offset,
                     struct tarn_error *error)
{
    ASSERT(p->path_temp && p->fd >= 0);
    ASSERT(offset <= p->offset && size <= p->offset - offset);
    int status = os_write_full(p->os, p->fd, data, size, offset);
    if (status != 0)
        return fail(p, status, "cannot write", error);
    return TARN_OK;
}

/* The rename is done: free what is left, then the directory's turn. */
static int sync_rename(struct publish *p, int directory, struct tarn_error *error)
{
    const struct os *os = p->os;
    int status = os_sync_directory(os, directory);
    int close_status = os->close(os, directory);
    if (status == 0)
        status = close_status;
    if (status != 0) {
        status = os_error(error, status, "cannot sync the directory of", p->path);
        error_prepend(error, "the new file is in place but may not survive a power failure");
    }
    free(p->path_temp);
    free(p->path);
    p->path_temp = p->path = NULL;
    return status;
}

int publish_commit(struct publish *p, struct tarn_error *error)
{
    ASSERT(p->path_temp && p->fd >= 0);
    const struct os *os = p->os;
    int directory;
    int status = plant(PLANT_NO_FILE_SYNC) ? 0 : os->sync(os, p->fd);
    if (status != 0)
        return fail(p, status, "cannot sync", error);
    status = os->close(os, p->fd);
    p->fd = -1;
    if (status != 0) /* where a network file system reports a failed write */
        return fail(p, status, "cannot write", error);
    status = os_open_parent(os, p->path, &directory);
    if (status != 0)
        return fail(p, status, "cannot open the directory of", error);
    status = os->rename(os, p->path_temp, p->path);
    if (status != 0) {
        (void)os->close(os, directory); /* the rename's failure is what matters */
        return fail(p, status, "cannot rename the new file to", error);
    }
    return sync_rename(p, directory, error);
}
