/* A directory of a test's own, with everything in it gone at the end, and whole files in one call.
 * Failures abort: they are the machine's, not the code's under test. One thread. */
#ifndef LIB_SCRATCH_H
#define LIB_SCRATCH_H

#include <stdbool.h>
#include <stddef.h>

#include "core/buffer.h"

#define SCRATCH_PATH_BYTES 256

struct scratch {
    char path[SCRATCH_PATH_BYTES];
};

void scratch_open(struct scratch *s); /* under $TMPDIR or /tmp */
void scratch_close(struct scratch *s);

/* "<directory>/<name>" in out; returns out. */
const char *scratch_name(const struct scratch *s, const char *name, char out[SCRATCH_PATH_BYTES]);

/* The same in memory of its own, good for eight calls more. */
const char *scratch_at(const struct scratch *s, const char *name);

/* Entries of the directory whose names contain `part` ("" for all). */
size_t scratch_count(const struct scratch *s, const char *part);

/* Descriptors this process has open. */
size_t scratch_fd_count(void);

/* A new file or new content; missing directories are made. */
void file_write(const char *path, struct tarn_bytes content);
bool file_read(const char *path, struct buffer *ret_content); /* false: no such file */
/* Is the file there with exactly this content? */
bool file_holds(const char *path, struct tarn_bytes content);

#endif
