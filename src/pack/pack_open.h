/* What every way of opening or indexing a data file has to find out first (in pack.c). */
#ifndef PACK_PACK_OPEN_H
#define PACK_PACK_OPEN_H

#include "pack/splitter.h"

/* Threads to index and load with: as asked, or one per core. */
unsigned pack_thread_count(const struct tarn_options *options);

/* The format given, or what the first bytes look like. Errors: INVALID, CORRUPT, IO, NOMEM. */
TARN_MUST int pack_find_format(const struct tarn_options *options, const struct source *source,
                               struct tarn_format *ret_format, struct tarn_error *error);

/* Publishing the index must not replace the data: INVALID. */
TARN_MUST int pack_check_index_path(const struct os *os, const struct tarn_options *options,
                                    const struct os_file_info *data, struct tarn_error *error);

/* The file must be what it was when the work began, else STALE. */
TARN_MUST int pack_check_unchanged(const struct os *os, int fd, const struct os_file_info *before,
                                   const char *path, struct tarn_error *error);

#endif
