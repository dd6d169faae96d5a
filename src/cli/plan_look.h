/* What a data file has in it, as far as `tarn plan` has to know. */
#ifndef CLI_PLAN_LOOK_H
#define CLI_PLAN_LOOK_H

#include "os/os.h"

/* As much of the file is read. */
#define PLAN_LOOK_BYTES (64ull << 20)

struct plan_look {
    uint64_t data_bytes, records;
    bool estimated; /* records: the file has more than was read */
};

/* Count the records of a data file whose format is detected; of a large one those at its beginning,
 * the rest being taken to be as large. Errors: those of reader_open() and reader_next(), INVALID
 * (it is empty). */
TARN_MUST int plan_look(const struct os *os, const char *path, struct plan_look *ret_look,
                        struct tarn_error *error);

#endif
