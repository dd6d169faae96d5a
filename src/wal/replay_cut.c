/* Cutting the torn end of a log.
 *
 * How: segments behind the last one that counts are removed, last ones first, and that is made
 * durable; then the last ones are cut, written again and synced. Interrupted anywhere, the next
 * replay comes to the same end: what is left behind it is as little known to be synced as before.
 * Failure modes: those of the calls; what was not done yet is done the next time. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "core/plant.h"
#include "wal/replay_internal.h"

#define PART_BYTES ((size_t)256 << 10)

static int remove_segment(const struct os *os, const struct replay_start *start, unsigned file,
                          uint64_t number, struct tarn_error *error)
{
    char *path = segment_path(start->directory, file, number);
    if (!path)
        return error_set(error, TARN_NOMEM, "out of memory");
    int e = os->unlink(os, path);
    int status = e < 0 ? os_error(error, e, "cannot remove", path) : TARN_OK;
    free(path);
    return status;
}

static int remove_later(const struct os *os, const struct replay_start *start,
                        const struct replay_result *result, const struct segment_list *lists,
                        bool *ret_removed, struct tarn_error *error)
{
    int status = TARN_OK;
    *ret_removed = false;
    for (unsigned file = 0; file < start->files; file++)
        for (size_t i = lists[file].count; i > 0 && status == TARN_OK; i--) {
            if (lists[file].numbers[i - 1] <= result->ends[file].number)
                break;
            status = remove_segment(os, start, file, lists[file].numbers[i - 1], error);
            *ret_removed = true;
        }
    return status;
}

/* Write again what is there: after a sync that failed, content may be in the page cache only and
 * count as clean, so that no other sync would write it (doc/durability.md, Failures). */
static int write_again(const struct os *os, int fd, uint64_t size)
{
    unsigned char *part = malloc(PART_BYTES);
    int e = part ? 0 : -ENOMEM;
    for (uint64_t offset = 0; offset < size && e == 0; offset += PART_BYTES) {
        size_t count = size - offset < PART_BYTES ? (size_t)(size - offset) : PART_BYTES;
        e = os_read_full(os, fd, part, count, offset);
        if (e == 0)
            e = os_write_full(os, fd, part, count, offset);
    }
    free(part);
    return e;
}

/* Synced in any case, unless the store was closed: what was written before a kill may be in the
 * page cache only, and from now on it is seen, and segments follow that refer to it. */
static int cut_open(const struct os *os, int fd, const char *path, uint64_t size, bool closed,
                    struct tarn_error *error)
{
    struct os_file_info info;
    int e = os->file_info(os, fd, &info);
    bool longer = e == 0 && info.size > size;
    if (longer)
        e = os->truncate(os, fd, size);
    bool again = !closed && !plant(PLANT_NOT_SYNCED_AGAIN);
    if (e == 0 && again)
        e = write_again(os, fd, size);
    if (e == 0 && (longer || again))
        e = os->sync(os, fd);
    return e < 0 ? os_error(error, e, "cannot cut the torn end of", path) : TARN_OK;
}

static int cut(const struct os *os, const struct replay_start *start, unsigned file,
               const struct replay_end *end, struct tarn_error *error)
{
    int fd, status;
    char *path = segment_path(start->directory, file, end->number);
    if (!path)
        return error_set(error, TARN_NOMEM, "out of memory");
    int e = os->open(os, path, O_RDWR, 0, &fd);
    if (e < 0) {
        status = os_error(error, e, "cannot open", path);
    } else {
        status = cut_open(os, fd, path, end->size, start->closed, error);
        (void)os->close(os, fd); /* synced, or failed, or as it was */
    }
    free(path);
    return status;
}

static int sync_names(const struct os *os, const char *directory, struct tarn_error *error)
{
    int fd;
    int e = os->open(os, directory, O_RDONLY | O_DIRECTORY, 0, &fd);
    if (e == 0) {
        e = os_sync_directory(os, fd);
        (void)os->close(os, fd);
    }
    return e < 0 ? os_error(error, e, "cannot sync", directory) : TARN_OK;
}

int replay_truncate(const struct os *os, const struct replay_start *start,
                    const struct replay_result *result, struct tarn_error *error)
{
    struct segment_list lists[WAL_FILES_MAX];
    struct replay_start all = *start;
    bool removed = false;
    all.last = NULL; /* what is behind it would be in the way of the next segment */
    int status = segment_lists_read(os, &all, lists, error);
    if (status == TARN_OK)
        status = remove_later(os, start, result, lists, &removed, error);
    if (status == TARN_OK && removed)
        status = sync_names(os, start->directory, error);
    for (unsigned file = 0; file < start->files && status == TARN_OK; file++)
        if (result->ends[file].number > 0)
            status = cut(os, start, file, &result->ends[file], error);
    segment_lists_free(lists);
    return status;
}
