/* Publishing a file: the new content appears under its name whole and durable, or not at all.
 *
 * temporary file -> write -> fsync -> rename -> fsync(directory). Any failure removes the
 * temporary file and leaves the old file as it was. One thread. */
#ifndef OS_PUBLISH_H
#define OS_PUBLISH_H

#include "os/os.h"

struct publish {
    const struct os *os;
    char *path;      /* final name */
    char *path_temp; /* path + ".tmp." + random hex */
    int fd;          /* -1 when not open */
    uint64_t offset; /* bytes written so far; appends go here */
};

/* Create the temporary file beside `path`. Leftovers of a crashed attempt are never reused. */
TARN_MUST int publish_open(struct publish *p, const struct os *os, const char *path,
                           struct tarn_error *error);
TARN_MUST int publish_append(struct publish *p, const void *data, size_t size,
                             struct tarn_error *error);
/* Overwrite an earlier range, as for a header whose checksum is known last. */
TARN_MUST int publish_write_at(struct publish *p, const void *data, size_t size, uint64_t offset,
                               struct tarn_error *error);
/* Make it durable and visible under `path`; on success and on failure the publish is done. */
TARN_MUST int publish_commit(struct publish *p, struct tarn_error *error);
/* Remove the temporary file, if still there. Allowed after commit and on a zeroed struct. */
void publish_abort(struct publish *p);

#endif
