/* Files that a command writes: whole or not at all; or standard output. */
#ifndef CLI_OUTPUT_H
#define CLI_OUTPUT_H

#include "os/os.h"
#include "os/publish.h"

/* A new file or a regular one may be written under this name; publishing would replace a device or
 * a pipe by a file. advice: what to do instead. Errors: INVALID, those of opening. */
TARN_MUST int output_check(const struct os *os, const char *path, const char *advice,
                           struct tarn_error *error);

struct output {
    struct publish publish; /* of a file */
    bool is_stdout;
    uint64_t bytes; /* written so far */
};

/* path: a file, or "-" for standard output. keeps: a file of that name is not replaced. Errors:
 * those of output_check() and publish_open(), INVALID (there is one). */
TARN_MUST int output_open(struct output *output, const struct os *os, const char *path, bool keeps,
                          struct tarn_error *error);
/* context: a struct output. Errors: IO and the like; the output can then only be aborted. */
TARN_MUST int output_append(void *context, const void *data, size_t size, struct tarn_error *error);
TARN_MUST int output_commit(struct output *output, struct tarn_error *error);
void output_abort(struct output *output); /* allowed after commit */

#endif
