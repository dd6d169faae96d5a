/* The flags that say how to read a data file, shared by index, inspect and verify: rows of the
 * server's option table, so that a flag means the same everywhere. */
#ifndef CLI_DATA_FLAGS_H
#define CLI_DATA_FLAGS_H

#include "cli/cli.h"
#include "server/config.h"

/* Check the settings in call->target (a struct config) and turn them into store options for
 * words[0]; views into the target. Errors: INVALID. */
TARN_MUST int data_flags_options(struct cli_call *call, struct tarn_options *ret_options,
                                 struct tarn_error *error);

/* Where the index is: as given, or the data file's name with ".tarnidx"; false: out of memory. */
bool data_flags_index_path(const struct tarn_options *options, struct buffer *ret_path);

/* Long work on a data file: what it does, and what it says when it is done. report: the work's own
 * result, handed from the one to the other. */
struct data_work {
    int (*work)(const struct os *os, const struct tarn_options *options, void *report,
                struct tarn_error *error);
    void (*print)(const struct tarn_options *options, const char *index_path, const void *report);
};

/* Do it for words[0], with progress on a terminal; a signal cancels. Returns the exit status. */
int data_flags_run(struct cli_call *call, const struct data_work *work, void *report);

#endif
