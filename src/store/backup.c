/* A consistent copy of a store that is being served.
 *
 * How: the log begins new segments, so that all before are whole and synced and never change again;
 * checkpoint and those segments get second names in the new directory, or are copied where that
 * cannot be; then it gets a manifest of its own. That is what recovery would read if the store had
 * been closed at the moment when the segments ended.
 *
 * Invariant: the new directory has no manifest until everything else in it is durable.
 * Failure modes: as tarn.h says; a directory half made has no manifest, so it cannot be opened. */
#include "store/durable.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "os/publish.h"

#define COPY_BYTES (1u << 20)

static int copy_content(const struct os *os, int fd, struct publish *publish,
                        struct tarn_error *error)
{
    unsigned char *space = malloc(COPY_BYTES);
    int status = space != NULL ? TARN_OK : error_set(error, TARN_NOMEM, "out of memory");
    for (uint64_t at = 0; status == TARN_OK;) {
        size_t size;
        int result = os->read_at(os, fd, space, COPY_BYTES, at, &size);
        if (result != 0)
            status = os_error(error, result, "cannot read what is to be copied to", publish->path);
        else if (size == 0)
            break;
        else
            status = publish_append(publish, space, size, error);
        at += result == 0 ? size : 0;
    }
    free(space);
    return status;
}

static int copy_file(const struct os *os, const char *from, const char *to,
                     struct tarn_error *error)
{
    struct publish publish = {.fd = -1};
    struct os_file_info info;
    int fd, status = os_open_data(os, from, &fd, &info, error);
    if (status != TARN_OK)
        return status;
    status = publish_open(&publish, os, to, error);
    if (status == TARN_OK)
        status = copy_content(os, fd, &publish, error);
    if (status == TARN_OK)
        status = publish_commit(&publish, error);
    publish_abort(&publish);
    (void)os->close(os, fd);
    return status;
}

/* Give a file of one directory a name in another. */
static int take_file(struct durable *d, struct directory *to, const char *name,
                     struct tarn_error *error)
{
    const struct os *os = d->directory.os;
    char *source = directory_path(&d->directory, name), *target = directory_path(to, name);
    int status = TARN_OK;
    if (source == NULL || target == NULL) {
        status = error_set(error, TARN_NOMEM, "out of memory");
    } else {
        int linked = os->link(os, source, target);
        if (linked == -EEXIST)
            status = os_error(error, linked, "cannot create", target);
        else if (linked != 0) /* another file system, or one without links */
            status = copy_file(os, source, target, error);
    }
    free(source);
    free(target);
    return status;
}

static int take_segments(struct durable *d, struct directory *to, const struct manifest *m,
                         const uint64_t end[WAL_FILES_MAX], struct tarn_error *error)
{
    int status = TARN_OK;
    for (unsigned file = 0; file < m->files; file++)
        for (uint64_t n = m->first[file]; n < end[file] && status == TARN_OK; n++) {
            char name[SEGMENT_NAME_BYTES];
            segment_name(file, n, name);
            status = take_file(d, to, name, error);
        }
    return status;
}

static int fill(struct durable *d, struct directory *to, struct manifest *m, uint64_t sequence,
                const uint64_t end[WAL_FILES_MAX], struct tarn_error *error)
{
    char name[DIRECTORY_NAME_BYTES];
    int status = TARN_OK;
    if (m->checkpoint_number != 0) {
        directory_checkpoint_name(m->checkpoint_number, name);
        status = take_file(d, to, name, error);
    }
    if (status == TARN_OK)
        status = take_segments(d, to, m, end, error);
    if (status != TARN_OK)
        return status;
    m->closed = true;
    m->closed_sequence = sequence;
    return directory_put_manifest(to, m, error); /* syncs the directory, after all that is in it */
}

static int run(struct durable *d, const char *path, struct tarn_error *error)
{
    uint64_t sequence, end[WAL_FILES_MAX];
    struct directory to;
    int status = d->journaled ? TARN_OK : durable_checkpoint(d, error);
    if (status == TARN_OK)
        status = wal_rotate(d->wal, &sequence, end, error);
    if (status != TARN_OK)
        return status;
    struct manifest m = d->manifest;
    for (unsigned i = d->log_files; i < m.files; i++)
        end[i] = d->idle_first[i];
    status = directory_create(d->directory.os, path, m.store_id, &to, error);
    if (status != TARN_OK)
        return status;
    status = fill(d, &to, &m, sequence, end, error);
    directory_close(&to);
    return status;
}

int tarn_backup(struct tarn *store, const char *directory, struct tarn_error *error)
{
    struct durable *d = store->durable;
    if (d == NULL)
        return error_set(error, TARN_INVALID, "the store has no directory to copy");
    if (!durable_take(d))
        return error_set(error, TARN_BUSY, "%s: a checkpoint or a backup is under way",
                         d->directory.path);
    int status = run(d, directory, error);
    durable_give(d);
    return status;
}
