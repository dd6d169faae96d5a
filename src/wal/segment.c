/* Names and headers of segments.
 *
 * A header of binary and cbor, little endian; all of it is one byte string to a reader of CBOR:
 *
 *     offset size what
 *     0      2    0x58 0xfe
 *     2      8    "tarn-log"
 *     10     1    version, 1
 *     11     1    encoding
 *     12     4    file
 *     16     8    number
 *     24     8    store id
 *     32     8    salt
 *     40     8    previous sequence
 *     48     8    previous checksum
 *     56     8    first sequence
 *     64     184  zeros
 *     248    8    XXH3-64 of all before
 *
 * Of JSON: one line, with XXH3-64 of all before `,"sum":`, in the order below, spaces behind it.
 *
 * How: a header is read by finding its fields and writing it anew: it is sound if that gives the
 * same bytes. So there is one form of each, and no byte that does not count. */
#include "wal/segment.h"

#include <stdio.h>

#include "core/codec.h"
#include "core/hash.h"
#include "core/number.h"

enum {
    HEADER_MAGIC = 0,
    HEADER_VERSION = 10,
    HEADER_ENCODING = 11,
    HEADER_FILE = 12,
    HEADER_NUMBER = 16,
    HEADER_STORE = 24,
    HEADER_SALT = 32,
    HEADER_PREVIOUS_SEQUENCE = 40,
    HEADER_PREVIOUS_CHECKSUM = 48,
    HEADER_FIRST_SEQUENCE = 56,
    HEADER_ZEROS = 64,
    HEADER_CHECKSUM = 248,
};
static_assert(HEADER_CHECKSUM + 8 == SEGMENT_HEADER_BYTES, "a header has no more");

static const unsigned char magic[] = {
    0x58, SEGMENT_HEADER_BYTES - 2, 't', 'a', 'r', 'n', '-', 'l', 'o', 'g', 1};
static_assert(sizeof magic == HEADER_ENCODING, "magic and version");

/* --- names --- */

void segment_name(unsigned file, uint64_t number, char ret_name[SEGMENT_NAME_BYTES])
{
    snprintf(ret_name, SEGMENT_NAME_BYTES, "wal-%02u-%010llu.log", file % 100,
             (unsigned long long)number);
}

bool segment_name_parse(const char *name, unsigned *ret_file, uint64_t *ret_number)
{
    struct tarn_bytes rest = bytes_of(name);
    char again[SEGMENT_NAME_BYTES];
    uint64_t file, number;
    if (rest.size < 8 || memcmp(name, "wal-", 4) != 0 ||
        number_take_digits((struct tarn_bytes){name + 4, 2}, &file) != 2 || file >= WAL_FILES_MAX ||
        name[6] != '-' ||
        number_take_digits((struct tarn_bytes){name + 7, rest.size - 7}, &number) == 0 ||
        number == 0)
        return false;
    segment_name((unsigned)file, number, again);
    if (strcmp(name, again) != 0)
        return false;
    *ret_file = (unsigned)file;
    *ret_number = number;
    return true;
}

/* --- binary and cbor --- */

static void write_binary(const struct segment_header *h, unsigned char *out, uint64_t *ret_checksum)
{
    memset(out, 0, SEGMENT_HEADER_BYTES);
    memcpy(out + HEADER_MAGIC, magic, sizeof magic);
    out[HEADER_ENCODING] = (unsigned char)h->encoding;
    store_u32le(out + HEADER_FILE, h->file);
    store_u64le(out + HEADER_NUMBER, h->number);
    store_u64le(out + HEADER_STORE, h->store_id);
    store_u64le(out + HEADER_SALT, h->salt);
    store_u64le(out + HEADER_PREVIOUS_SEQUENCE, h->previous_sequence);
    store_u64le(out + HEADER_PREVIOUS_CHECKSUM, h->previous_checksum);
    store_u64le(out + HEADER_FIRST_SEQUENCE, h->first_sequence);
    *ret_checksum = hash_checksum(out, HEADER_CHECKSUM, 0);
    store_u64le(out + HEADER_CHECKSUM, *ret_checksum);
}

static bool parse_binary(const unsigned char *p, struct segment_header *h, uint64_t *ret_sum)
{
    *ret_sum = load_u64le(p + HEADER_CHECKSUM);
    *h = (struct segment_header){
        .encoding = p[HEADER_ENCODING] == WAL_CBOR ? WAL_CBOR : WAL_BINARY,
        .file = load_u32le(p + HEADER_FILE),
        .number = load_u64le(p + HEADER_NUMBER),
        .store_id = load_u64le(p + HEADER_STORE),
        .salt = load_u64le(p + HEADER_SALT),
        .previous_sequence = load_u64le(p + HEADER_PREVIOUS_SEQUENCE),
        .previous_checksum = load_u64le(p + HEADER_PREVIOUS_CHECKSUM),
        .first_sequence = load_u64le(p + HEADER_FIRST_SEQUENCE),
    };
    return true;
}

/* --- json --- */

/* Fields in their order: what stands before each, and whether it is hexadecimal. */
static const struct {
    const char *before;
    bool hex;
} fields[] = {
    {"{\"tarn_log\":1,\"file\":", false},
    {",\"number\":", false},
    {",\"store\":\"", true},
    {"\",\"salt\":\"", true},
    {"\",\"previous_seq\":", false},
    {",\"previous_sum\":\"", true},
    {"\",\"first_seq\":", false},
};
enum { FIELDS = sizeof fields / sizeof *fields };

static void to_values(const struct segment_header *h, uint64_t v[FIELDS])
{
    v[0] = h->file;
    v[1] = h->number;
    v[2] = h->store_id;
    v[3] = h->salt;
    v[4] = h->previous_sequence;
    v[5] = h->previous_checksum;
    v[6] = h->first_sequence;
}

static void write_json(const struct segment_header *h, unsigned char *out, uint64_t *ret_checksum)
{
    char line[SEGMENT_HEADER_BYTES + 1];
    uint64_t values[FIELDS];
    int size = 0;
    to_values(h, values);
    for (int i = 0; i < FIELDS; i++)
        size += snprintf(line + size, sizeof line - (size_t)size,
                         fields[i].hex ? "%s%016llx" : "%s%llu", fields[i].before,
                         (unsigned long long)values[i]);
    *ret_checksum = hash_checksum(line, (size_t)size, 0);
    size += snprintf(line + size, sizeof line - (size_t)size, ",\"sum\":\"%016llx\"}",
                     (unsigned long long)*ret_checksum);
    memset(out, ' ', SEGMENT_HEADER_BYTES);
    memcpy(out, line, (size_t)size);
    out[SEGMENT_HEADER_BYTES - 1] = '\n';
}
/* All fields at their longest: 20 digits, 16 hexadecimal ones. */
static_assert(21 + 2 + 10 + 20 + 10 + 16 + 10 + 16 + 17 + 20 + 17 + 16 + 14 + 20 + 9 + 16 + 1 <
                  SEGMENT_HEADER_BYTES,
              "a line has room for any header");

/* Up to 16 hexadecimal digits; those that are no digits are found out by writing them anew. */
static size_t take_hex(const unsigned char *p, size_t size, uint64_t *ret_value)
{
    size_t n = 0;
    *ret_value = 0;
    for (; n < size && n < 16 && number_hex_digit(p[n]) >= 0; n++)
        *ret_value = *ret_value << 4 | (unsigned)number_hex_digit(p[n]);
    return n;
}

static const char sum_before[] = ",\"sum\":\"";

/* ret_sum: as it stands there; 0 if it does not. */
static bool parse_json(const unsigned char *p, struct segment_header *h, uint64_t *ret_sum)
{
    uint64_t v[FIELDS];
    size_t at = 0;
    for (int i = 0; i < FIELDS; i++) {
        size_t size = strlen(fields[i].before);
        if (SEGMENT_HEADER_BYTES - at < size || memcmp(p + at, fields[i].before, size) != 0)
            return false;
        at += size;
        struct tarn_bytes rest = {p + at, SEGMENT_HEADER_BYTES - at};
        size =
            fields[i].hex ? take_hex(rest.data, rest.size, &v[i]) : number_take_digits(rest, &v[i]);
        if (size == 0)
            return false;
        at += size;
    }
    size_t sum_size = sizeof sum_before - 1;
    *ret_sum = 0;
    if (SEGMENT_HEADER_BYTES - at > sum_size && memcmp(p + at, sum_before, sum_size) == 0)
        take_hex(p + at + sum_size, SEGMENT_HEADER_BYTES - at - sum_size, ret_sum);
    *h = (struct segment_header){WAL_JSON, (unsigned)v[0], v[1], v[2], v[3], v[4], v[5], v[6]};
    return v[0] < WAL_FILES_MAX;
}

/* --- either --- */

void segment_header_write(const struct segment_header *header,
                          unsigned char ret_bytes[SEGMENT_HEADER_BYTES], uint64_t *ret_checksum)
{
    if (header->encoding == WAL_JSON)
        write_json(header, ret_bytes, ret_checksum);
    else
        write_binary(header, ret_bytes, ret_checksum);
}

bool segment_header_guess(const unsigned char bytes[SEGMENT_HEADER_BYTES],
                          struct segment_header *ret_header, uint64_t *ret_checksum)
{
    return bytes[0] == '{' ? parse_json(bytes, ret_header, ret_checksum)
                           : parse_binary(bytes, ret_header, ret_checksum);
}

bool segment_header_read(const unsigned char bytes[SEGMENT_HEADER_BYTES],
                         struct segment_header *ret_header, uint64_t *ret_checksum)
{
    struct segment_header h;
    unsigned char again[SEGMENT_HEADER_BYTES];
    uint64_t checksum;
    if (!segment_header_guess(bytes, &h, &checksum))
        return false;
    if (h.file >= WAL_FILES_MAX || h.number == 0)
        return false;
    segment_header_write(&h, again, &checksum);
    if (memcmp(bytes, again, SEGMENT_HEADER_BYTES) != 0)
        return false;
    *ret_header = h;
    *ret_checksum = checksum;
    return true;
}
