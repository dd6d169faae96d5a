/* The payload of DUMP and RESTORE. See dump.h for its format.
 *
 * Invariants
 * 1. A reader's position never passes the end; what it takes is checked against what is left.
 * 2. A length is bounded by what the payload can hold before anybody allocates by it.
 * Failure modes: an outcome, for whatever the bytes are. */
#include "core/dump.h"

#include "core/assert.h"
#include "core/codec.h"
#include "core/crc64.h"
#include "core/lzf.h"
#include "core/number.h"

enum {
    TYPE_STRING = 0,
    TYPE_LAST = 25, /* of the types that there are, up to version 12 */
    TYPE_NONE = 8,  /* never used */
};
enum { SPECIAL = 0xc0, INT8 = 0, INT16 = 1, INT32 = 2, PACKED = 3 };
enum { LENGTH32 = 0x80, LENGTH64 = 0x81 };
#define NUMBER_BYTES_MAX 11 /* of the digits of an int32, sign included */

/* --- writing --- */

static size_t put_length(unsigned char *p, size_t size)
{
    if (size < 1 << 6) {
        p[0] = (unsigned char)size;
        return 1;
    }
    if (size < 1 << 14) {
        store_u16be(p, (uint16_t)(0x4000 | size));
        return 2;
    }
    p[0] = LENGTH32;
    store_u32be(p + 1, (uint32_t)size);
    return 5;
}

static size_t put_number(unsigned char *p, int64_t number)
{
    bool one = number >= INT8_MIN && number <= INT8_MAX;
    bool two = number >= INT16_MIN && number <= INT16_MAX;
    p[0] = (unsigned char)(SPECIAL | (one ? INT8 : two ? INT16 : INT32));
    if (one)
        p[1] = (unsigned char)number;
    else if (two)
        store_u16le(p + 1, (uint16_t)number);
    else
        store_u32le(p + 1, (uint32_t)number);
    return one ? 2 : two ? 3 : 5;
}

void dump_begin(struct tarn_bytes value, struct dump_head *ret_head)
{
    int64_t number;
    ASSERT(value.size <= UINT32_MAX);
    ret_head->header[0] = TYPE_STRING;
    if (value.size <= NUMBER_BYTES_MAX && number_parse_int(value, &number) && number >= INT32_MIN &&
        number <= INT32_MAX) {
        ret_head->header_size = 1 + put_number(ret_head->header + 1, number);
        ret_head->body = (struct tarn_bytes){"", 0};
    } else {
        ret_head->header_size = 1 + put_length(ret_head->header + 1, value.size);
        ret_head->body = value;
    }
}

void dump_end(const struct dump_head *head, unsigned char ret_footer[DUMP_FOOTER_BYTES])
{
    uint64_t crc = crc64_update(0, head->header, head->header_size);
    crc = crc64_update(crc, head->body.data, head->body.size);
    store_u16le(ret_footer, DUMP_VERSION);
    store_u64le(ret_footer + 2, crc64_update(crc, ret_footer, 2));
}

/* --- reading --- */

/* Take `size` bytes from the front; NULL if there are fewer. */
static const unsigned char *take(struct tarn_bytes *left, size_t size)
{
    const unsigned char *p = left->data;
    if (size > left->size)
        return NULL;
    *left = (struct tarn_bytes){p + size, left->size - size};
    return p;
}

/* The rest of a length that begins with `first`. */
static bool take_length(struct tarn_bytes *left, unsigned first, uint64_t *ret_length)
{
    const unsigned char *p;
    if (first < 0x40) {
        *ret_length = first;
        return true;
    }
    if (first < 0x80) {
        if ((p = take(left, 1)) == NULL)
            return false;
        *ret_length = (first & 0x3f) << 8 | p[0];
        return true;
    }
    bool wide = first == LENGTH64;
    if ((!wide && first != LENGTH32) || (p = take(left, wide ? 8 : 4)) == NULL)
        return false;
    *ret_length = wide ? load_u64be(p) : load_u32be(p);
    return true;
}

static bool take_whole_length(struct tarn_bytes *left, uint64_t *ret_length)
{
    const unsigned char *p = take(left, 1);
    return p != NULL && take_length(left, p[0], ret_length);
}

static bool parse_plain(struct tarn_bytes left, unsigned first, struct dump_string *string)
{
    uint64_t length;
    const unsigned char *p;
    if (!take_length(&left, first, &length) || length > left.size ||
        (p = take(&left, length)) == NULL)
        return false;
    string->bytes = (struct tarn_bytes){p, length};
    string->size = length;
    return true;
}

static bool parse_number(struct tarn_bytes left, unsigned kind, struct dump_string *string)
{
    const unsigned char *p = take(&left, kind == INT8 ? 1 : kind == INT16 ? 2 : 4);
    if (p == NULL)
        return false;
    int64_t number = kind == INT8    ? (int8_t)p[0]
                     : kind == INT16 ? (int16_t)load_u16le(p)
                                     : (int32_t)load_u32le(p);
    string->size = number_format_int(number, string->digits);
    string->bytes = (struct tarn_bytes){string->digits, string->size};
    return true;
}

static bool parse_packed(struct tarn_bytes left, struct dump_string *string)
{
    uint64_t packed_size, size;
    const unsigned char *p;
    if (!take_whole_length(&left, &packed_size) || !take_whole_length(&left, &size) ||
        packed_size > left.size || (p = take(&left, packed_size)) == NULL)
        return false;
    if (size == 0 || size > TARN_VALUE_BYTES_MAX || size > packed_size * LZF_RATIO_MAX)
        return false;
    string->bytes = (struct tarn_bytes){p, packed_size};
    string->size = size;
    string->packed = true;
    return true;
}

static bool parse_string(struct tarn_bytes left, struct dump_string *string)
{
    const unsigned char *first = take(&left, 1);
    string->packed = false;
    if (first == NULL)
        return false;
    switch (first[0]) {
    case SPECIAL | INT8:
    case SPECIAL | INT16:
    case SPECIAL | INT32:
        return parse_number(left, first[0] & 0x3f, string);
    case SPECIAL | PACKED:
        return parse_packed(left, string);
    default:
        return parse_plain(left, first[0], string);
    }
}

static bool is_verified(struct tarn_bytes payload)
{
    const unsigned char *p = payload.data;
    if (payload.size < DUMP_FOOTER_BYTES)
        return false;
    size_t checked = payload.size - sizeof(uint64_t);
    return load_u16le(p + payload.size - DUMP_FOOTER_BYTES) <= DUMP_VERSION_MAX &&
           crc64_update(0, p, checked) == load_u64le(p + checked);
}

enum dump_outcome dump_parse(struct tarn_bytes payload, struct dump_string *ret_string)
{
    if (!is_verified(payload))
        return DUMP_UNVERIFIED;
    struct tarn_bytes left = {payload.data, payload.size - DUMP_FOOTER_BYTES};
    const unsigned char *type = take(&left, 1);
    if (type == NULL || type[0] > TYPE_LAST || type[0] == TYPE_NONE)
        return DUMP_DAMAGED;
    if (type[0] != TYPE_STRING)
        return DUMP_OTHER_TYPE;
    return parse_string(left, ret_string) ? DUMP_STRING : DUMP_DAMAGED;
}

bool dump_unpack(const struct dump_string *string, void *out)
{
    ASSERT(string->packed);
    return lzf_unpack(string->bytes, out, string->size);
}
