/* Reading a data file record by record, sequentially, with bounded memory (a few MiB, or the
 * largest record). One thread. For inspection and verification; serving works on the whole file. */
#ifndef PACK_READER_H
#define PACK_READER_H

#include "os/os.h"
#include "pack/format.h"

struct reader;

/* format: AUTO detects. Errors: those of os_open_data, CORRUPT, NOMEM; INVALID: a `tarn` file. */
TARN_MUST int reader_open(const struct os *os, const char *path, const struct tarn_format *format,
                          struct reader **ret_reader, struct tarn_error *error);
void reader_close(struct reader *reader); /* NULL is allowed */

/* Go on at `offset`, where a record starts, and which `records` come before. Errors: IO. */
TARN_MUST int reader_seek(struct reader *reader, uint64_t offset, uint64_t records,
                          struct tarn_error *error);

/* The next record; its views live until the next call. NOTFOUND after the last one. */
TARN_MUST int reader_next(struct reader *reader, struct record *ret_record,
                          struct tarn_error *error);

const struct tarn_format *reader_format(const struct reader *reader); /* never AUTO */
uint64_t reader_offset(const struct reader *reader); /* of the record last returned */
uint64_t reader_data_bytes(const struct reader *reader);

#endif
