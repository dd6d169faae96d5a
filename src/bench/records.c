/* The data set of a benchmark.
 *
 * How, for a generated one: with d = min(16, key size) hexadecimal digits there are 16^d keys, one
 * for each index. Indices from 0 on are records, from 16^d - 1 down missing ones. An index is
 * permuted (permute.h) and written in hexadecimal behind the prefix. A value is "head, slice": the
 * head is eight digits of a permutation of the record number's 32 low bits, so that no two of 4
 * billion records have the same; the slice is cut from a block of printable bytes at one of 65,536
 * places. The block repeats itself after 64 KiB and is stored twice, so that a slice of any size is
 * pieces of up to 64 KiB.
 *
 * Invariants
 * 1. The indices of records (< count_max) and those of missing keys (the upper half) are disjoint;
 *    keys are equal only if their indices are.
 * 2. Key and value follow from record number, sizes and seed alone, on every machine.
 * 3. The slice's place is below BLOCK_BYTES, and no piece reads past the block.
 * Failure modes: options that cannot be met are refused with the size that would do. */
#include "bench/records.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "bench/permute.h"
#include "bench/records_file.h"
#include "core/number.h"
#include "core/random.h"

#define DIGITS_MAX    16
#define HEAD_BYTES    8
#define BLOCK_BYTES   65536u
#define COUNT_MAX_MAX (1ull << 62)

struct records {
    struct tarn_format format; /* as given */
    struct records_file *file; /* NULL: generated, and all that follows is of use */
    uint64_t count, count_max;
    size_t key_bytes, prefix_bytes;
    unsigned digits;
    uint64_t seed_key, seed_head, seed_value;
    struct option_range value_bytes;
    unsigned char block[2 * BLOCK_BYTES];
    unsigned char prefix[]; /* prefix_bytes */
};

/* --- opening --- */

/* How many different records keys of `digits` digits allow: half of the indices. */
static uint64_t count_max_of(unsigned digits)
{
    return digits == DIGITS_MAX ? COUNT_MAX_MAX : 1ull << (4 * digits - 1);
}

/* Twice the records, for inserts, and the other half of the indices for missing keys. */
static int check_key_size(const struct records_options *o, unsigned digits,
                          struct tarn_error *error)
{
    char records[32], most[32];
    if (o->count <= count_max_of(digits) / 2)
        return TARN_OK;
    number_format_count(o->count, records);
    if (o->count > COUNT_MAX_MAX / 2)
        return error_set(error, TARN_INVALID, "%s records are too many: there can be %s", records,
                         number_format_count(COUNT_MAX_MAX / 2, most));
    unsigned needed = digits;
    while (o->count > count_max_of(needed) / 2)
        needed++;
    return error_set(error, TARN_INVALID,
                     "a key size of %zu is enough for %s records, as many inserted and as many "
                     "missing ones; %s records need a key size of %u",
                     o->key_bytes, number_format_count(count_max_of(digits) / 2, most), records,
                     needed);
}

static int check_options(const struct records_options *o, unsigned digits, struct tarn_error *error)
{
    if (o->count == 0)
        return error_set(error, TARN_INVALID, "the number of records must be at least 1");
    if (o->key_bytes == 0)
        return error_set(error, TARN_INVALID, "the key size must be at least 1");
    if (o->key_bytes > TARN_KEY_BYTES_MAX)
        return error_set(error, TARN_TOOBIG, "a key size of %zu is over the limit of %u",
                         o->key_bytes, TARN_KEY_BYTES_MAX);
    if (o->value_bytes.low > o->value_bytes.high)
        return error_set(error, TARN_INVALID, "value sizes from %llu to %llu are none",
                         (unsigned long long)o->value_bytes.low,
                         (unsigned long long)o->value_bytes.high);
    if (o->value_bytes.high > TARN_VALUE_BYTES_MAX)
        return error_set(error, TARN_TOOBIG, "a value size of %llu is over the limit of %llu",
                         (unsigned long long)o->value_bytes.high, TARN_VALUE_BYTES_MAX);
    return check_key_size(o, digits, error);
}

static void fill_block(struct records *r, uint64_t random)
{
    static const char printable[64 + 1] =
        "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_";
    for (size_t i = 0; i < BLOCK_BYTES; i++)
        r->block[i] = r->block[i + BLOCK_BYTES] =
            (unsigned char)printable[random_next(&random) >> 58];
}

static int open_generated(const struct records_options *o, struct records **ret_records,
                          struct tarn_error *error)
{
    static const char user[] = "user";
    unsigned digits = o->key_bytes < DIGITS_MAX ? (unsigned)o->key_bytes : DIGITS_MAX;
    int status = check_options(o, digits, error);
    if (status != TARN_OK)
        return status;
    size_t prefix_bytes = o->key_bytes - digits;
    struct records *r = calloc(1, sizeof *r + prefix_bytes);
    if (!r)
        return error_set(error, TARN_NOMEM, "out of memory");
    r->count = o->count;
    r->count_max = count_max_of(digits);
    r->key_bytes = o->key_bytes;
    r->prefix_bytes = prefix_bytes;
    r->digits = digits;
    r->value_bytes = o->value_bytes;
    uint64_t random = o->seed;
    r->seed_key = random_next(&random);
    r->seed_head = random_next(&random);
    r->seed_value = random_next(&random);
    fill_block(r, random_next(&random));
    for (size_t i = 0; i < prefix_bytes; i++)
        r->prefix[i] = i < sizeof user - 1 ? (unsigned char)user[i] : ':';
    *ret_records = r;
    return TARN_OK;
}

static int open_file(const struct os *os, const struct records_options *o,
                     struct records **ret_records, struct tarn_error *error)
{
    struct records_file *file;
    int status =
        records_file_open(os, o->path, &o->format, o->progress, o->progress_context, &file, error);
    if (status != TARN_OK)
        return status;
    struct records *r = calloc(1, sizeof *r);
    if (!r) {
        records_file_close(file);
        return error_set(error, TARN_NOMEM, "out of memory");
    }
    r->file = file;
    r->format = o->format;
    r->count = r->count_max = records_file_sums(file).count;
    *ret_records = r;
    return TARN_OK;
}

int records_open(const struct os *os, const struct records_options *options,
                 struct records **ret_records, struct tarn_error *error)
{
    return options->path ? open_file(os, options, ret_records, error)
                         : open_generated(options, ret_records, error);
}

void records_close(struct records *r)
{
    if (!r)
        return;
    records_file_close(r->file);
    free(r);
}

/* --- sizes --- */

bool records_are_of_file(const struct records *r)
{
    return r->file != NULL;
}

struct tarn_format records_format(const struct records *r)
{
    return r->format;
}

uint64_t records_count(const struct records *r)
{
    return r->count;
}

uint64_t records_count_max(const struct records *r)
{
    return r->count_max;
}

size_t records_key_bytes_max(const struct records *r)
{
    return r->file ? records_file_sums(r->file).key_bytes_max : r->key_bytes;
}

size_t records_value_bytes_max(const struct records *r)
{
    return r->file ? records_file_sums(r->file).value_bytes_max : (size_t)r->value_bytes.high;
}

uint64_t records_data_bytes(const struct records *r)
{
    if (r->file)
        return records_file_sums(r->file).bytes;
    uint64_t values = r->count * r->value_bytes.low;
    if (r->value_bytes.low != r->value_bytes.high) {
        values = 0;
        for (uint64_t i = 0; i < r->count; i++)
            values += records_value_bytes(r, i);
    }
    return r->count * r->key_bytes + values;
}

/* --- generated keys --- */

typedef unsigned char bytes16 __attribute__((vector_size(16)));
typedef signed char signed16 __attribute__((vector_size(16))); /* compares in one instruction */
typedef uint64_t words2 __attribute__((vector_size(16)));

/* The 16 hexadecimal digits of v, 16 bytes at once: each byte of v in big-endian order is split
 * into its two nibbles, side by side, and these become digits. */
static inline bytes16 hex16(uint64_t v)
{
    bytes16 low = (bytes16)(words2){htobe64(v), 0}, high = low >> 4;
    bytes16 nibbles = __builtin_shufflevector(high, low & 15, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5,
                                              21, 6, 22, 7, 23);
    return nibbles + '0' + ((bytes16)((signed16)nibbles > 9) & ('a' - '0' - 10));
}

/* The number whose digits are the key of this index, a bijection of 0..2^bits-1. */
static inline uint64_t permuted(const struct records *r, uint64_t index, unsigned bits)
{
    return bits == 64 ? random_mix(index ^ r->seed_key) : permute(index, bits, r->seed_key);
}

static struct tarn_bytes generated_key(const struct records *r, uint64_t i, unsigned char *scratch)
{
    unsigned bits = 4 * r->digits;
    uint64_t index = i;
    if (i & RECORD_MISSING) /* a number too large for the upper half goes round in it */
        index = UINT64_MAX >> (64 - bits) ^ (i & UINT64_MAX >> (65 - bits));
    bytes16 digits = hex16(permuted(r, index, bits));
    if (r->prefix_bytes)
        memcpy(scratch, r->prefix, r->prefix_bytes);
    if (r->digits == DIGITS_MAX)
        memcpy(scratch + r->prefix_bytes, &digits, DIGITS_MAX);
    else
        memcpy(scratch, (unsigned char *)&digits + DIGITS_MAX - r->digits, r->digits);
    return (struct tarn_bytes){scratch, r->key_bytes};
}

struct tarn_bytes records_key(const struct records *r, uint64_t i, unsigned char *scratch)
{
    if (!r->file)
        return generated_key(r, i, scratch);
    return i & RECORD_MISSING ? records_file_missing(r->file, i & ~RECORD_MISSING)
                              : records_file_key(r->file, i);
}

/* --- generated values --- */

/* The first bytes of a value: eight digits. */
static inline uint64_t head_of(const struct records *r, uint64_t i)
{
    uint32_t number = (uint32_t)(permute((uint32_t)i, 32, r->seed_head) + (i >> 32));
    return ((words2)hex16((uint64_t)number << 32))[0];
}

static inline const unsigned char *slice_of(const struct records *r, uint64_t i)
{
    return r->block + (random_mix(i + r->seed_value) & (BLOCK_BYTES - 1));
}

size_t records_value_bytes(const struct records *r, uint64_t i)
{
    if (r->file)
        return records_file_value(r->file, i).size;
    uint64_t low = r->value_bytes.low, span = r->value_bytes.high - low + 1;
    return span == 1 ? low : low + random_below(random_mix(i ^ r->seed_value), span);
}

struct tarn_bytes records_value(const struct records *r, uint64_t i, unsigned char *scratch)
{
    if (r->file)
        return records_file_value(r->file, i);
    struct tarn_bytes value = {scratch, records_value_bytes(r, i)};
    uint64_t head = head_of(r, i);
    if (value.size <= HEAD_BYTES) {
        memcpy(scratch, &head, value.size);
        return value;
    }
    memcpy(scratch, &head, HEAD_BYTES);
    const unsigned char *slice = slice_of(r, i);
    for (size_t at = HEAD_BYTES, piece; at < value.size; at += piece) {
        piece = value.size - at < BLOCK_BYTES ? value.size - at : BLOCK_BYTES;
        memcpy(scratch + at, slice, piece);
    }
    return value;
}

bool records_value_equal(const struct records *r, uint64_t i, struct tarn_bytes value)
{
    if (r->file)
        return bytes_equal(value, records_file_value(r->file, i));
    if (value.size != records_value_bytes(r, i))
        return false;
    const unsigned char *bytes = value.data, *slice = slice_of(r, i);
    uint64_t head = head_of(r, i);
    size_t head_bytes = value.size < HEAD_BYTES ? value.size : HEAD_BYTES;
    if (head_bytes && memcmp(bytes, &head, head_bytes) != 0)
        return false;
    for (size_t at = HEAD_BYTES, piece; at < value.size; at += piece) {
        piece = value.size - at < BLOCK_BYTES ? value.size - at : BLOCK_BYTES;
        if (memcmp(bytes + at, slice, piece) != 0)
            return false;
    }
    return true;
}

/* --- fetching ahead --- */

void records_prefetch(const struct records *r, uint64_t i)
{
    if (r->file && !(i & RECORD_MISSING))
        records_file_prefetch(r->file, i);
}

void records_prefetch_bytes(const struct records *r, uint64_t i)
{
    if (r->file && !(i & RECORD_MISSING))
        records_file_prefetch_bytes(r->file, i);
}
