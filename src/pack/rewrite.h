/* A data file's records copied into a `tarn` file, in the order of their keys' hashes: layout
 * "rewritten" of doc/larger.md. A sort on disk within a bound of memory.
 *
 * divide  one pass over the data: each record goes to one of many streams of a spill file, by its
 *         hash's top bits; of a far value only the place
 * write   one stream after the other is read back, sorted, rid of repeated keys, and appended to
 * the new file, which appears when it is whole
 *
 * So everything is read twice and written twice. Beside the new file lie OUT.spill (or in another
 * directory) and OUT.state, which says how far the first pass is, after it was synced; the same
 * rewriting goes on from there if it was stopped, at the beginning of its second pass if the first
 * was done. Both are taken away in the end, unless it failed for a reason that may go away: a full
 * disk, an I/O error, too little memory, being cancelled. */
#ifndef PACK_REWRITE_H
#define PACK_REWRITE_H

#include "os/os.h"

#define REWRITE_SUFFIX ".tarn"

struct rewrite_settings {
    uint64_t memory_bytes;      /* cap; 0: half of what the machine has */
    const char *output;         /* NULL: the data file's path + REWRITE_SUFFIX */
    const char *temp_directory; /* of the spill file; NULL: beside the output */
    bool restart;               /* do not go on with what is left of another rewriting */

    /* For tests. */
    uint64_t round_bytes;     /* of data, after which the state is written; 0: 4 GiB */
    unsigned partitions_log2; /* 0: by memory and size */
};

/* options: path, format, duplicates, progress, notice. ret_report: index_bytes is the new file's
 * size. Errors: CORRUPT, TOOBIG (bad record, with its place; or the memory is too little, with how
 * much is needed), DUPLICATE, STALE (the data file changed meanwhile), BUSY (another one is under
 * way), INVALID, NOSPACE, IO, NOMEM, CANCELLED, ... */
TARN_MUST int rewrite_run(const struct os *os, const struct tarn_options *options,
                          const struct rewrite_settings *settings,
                          struct tarn_index_report *ret_report, struct tarn_error *error);

#endif
