/* The data set of a benchmark: record i's key and value, for every i, without storing them, or the
 * records of a data file.
 *
 * Generated: the key is a fixed permutation of i in hexadecimal, behind "user" and colons up to
 * the key's size, so that keys come in no order; the value is 8 bytes that only record i has (as
 * far as the value's size allows), then a slice of one shared block at a place that depends on i.
 * So a value can be checked byte by byte without remembering it. Every write of a record writes
 * the same value, as in YCSB with data integrity on. All bytes are printable.
 *
 * From a file: keys and values are views of the file's live records, loaded as a store would load
 * it (the index is built in memory and not written).
 *
 * Read-only once open, from any thread. */
#ifndef BENCH_RECORDS_H
#define BENCH_RECORDS_H

#include "core/options.h"
#include "os/os.h"

struct records;

/* A record number with this bit set means: a key that is not there. */
#define RECORD_MISSING (1ull << 63)

struct records_options {
    uint64_t count;                  /* generated: records that exist at the start, >= 1 */
    size_t key_bytes;                /* generated: 1..TARN_KEY_BYTES_MAX */
    struct option_range value_bytes; /* generated: sizes, uniform, by record */
    uint64_t seed;                   /* generated: another data set */
    const char *path;                /* a data file instead; NULL: generated */
    struct tarn_format format;       /* of the file */
    tarn_progress progress;          /* for the file; may be NULL */
    void *progress_context;
};

/* Errors: INVALID (the key size cannot tell so many keys apart, missing ones and as many again for
 * inserts included; a file without records), TOOBIG, NOMEM, those of tarn_open(). */
TARN_MUST int records_open(const struct os *os, const struct records_options *options,
                           struct records **ret_records, struct tarn_error *error);
void records_close(struct records *r); /* NULL is allowed */

bool records_are_of_file(const struct records *r);
struct tarn_format records_format(const struct records *r); /* as given to records_open() */
uint64_t records_count(const struct records *r);            /* at the start */
/* How many different records there can be, inserted ones included; count for a file. */
uint64_t records_count_max(const struct records *r);
size_t records_key_bytes_max(const struct records *r);
size_t records_value_bytes_max(const struct records *r);
/* Sums over records 0..count-1, for memory per key (exact; walks them where sizes vary). */
uint64_t records_data_bytes(const struct records *r);

/* The key of record i < count_max, or with RECORD_MISSING one that no record has, the same one for
 * the same number. scratch: key_bytes_max bytes; the view points there or into the data file. */
struct tarn_bytes records_key(const struct records *r, uint64_t i, unsigned char *scratch);
/* The value of record i < count_max. scratch: value_bytes_max bytes. */
struct tarn_bytes records_value(const struct records *r, uint64_t i, unsigned char *scratch);
size_t records_value_bytes(const struct records *r, uint64_t i);
bool records_value_equal(const struct records *r, uint64_t i, struct tarn_bytes value);

/* Record i will be asked for in a moment: fetch what finding its key touches (a file's records
 * lie anywhere in memory). Call it for a whole batch, then records_prefetch_bytes() for the batch,
 * then the rest. Both do nothing for generated records. */
void records_prefetch(const struct records *r, uint64_t i);
void records_prefetch_bytes(const struct records *r, uint64_t i);

#endif
