/* Data file formats: parsing, encoding and naming of records.
 *
 * How: format_parse() switches once on the kind and once on the size type; each fixed width is
 * one inlined copy of parse_fixed(), so that the common case (u32 little-endian) is two loads,
 * two compares against limits and two against the bytes left. Text looks for a separator or the
 * line's end 16 bytes at a time, then for the newline with memchr().
 *
 * Invariants
 * 1. No byte outside data[offset, size) is read, whatever the bytes say: a size is compared with
 *    its limit first (so that sums cannot overflow) and with the bytes left second.
 * 2. A record takes at least 1 byte, so that a walk over records always advances: 2, but for a last
 *    line of a separator only.
 * 3. What format_encode() writes, format_parse() reads back as the same key and value.
 *
 * Failure modes: only those of enum format_outcome. How a format is guessed: format_detect.c. */
#include "pack/format.h"

#include <stdio.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "core/bytes.h"
#include "core/codec.h"

/* The first byte of [p, end) that is a, b or newline; end if there is none. */
static inline const unsigned char *find_separator(const unsigned char *p, const unsigned char *end,
                                                  unsigned char a, unsigned char b)
{
#ifdef __SSE2__
    const __m128i wanted_a = _mm_set1_epi8((char)a), wanted_b = _mm_set1_epi8((char)b);
    const __m128i newline = _mm_set1_epi8('\n');
    for (; end - p >= 16; p += 16) {
        __m128i block = _mm_loadu_si128((const void *)p);
        __m128i hit =
            _mm_or_si128(_mm_cmpeq_epi8(block, wanted_a), _mm_cmpeq_epi8(block, wanted_b));
        hit = _mm_or_si128(hit, _mm_cmpeq_epi8(block, newline));
        unsigned mask = (unsigned)_mm_movemask_epi8(hit);
        if (mask)
            return p + __builtin_ctz(mask);
    }
#endif
    while (p < end && *p != a && *p != b && *p != '\n')
        p++;
    return p;
}

static enum format_outcome parse_text(const struct tarn_format *format, const unsigned char *start,
                                      uint64_t left, bool at_end, struct record *ret_record)
{
    unsigned char a = format->separator_set ? format->separator : ' ';
    unsigned char b = format->separator_set ? format->separator : '\t';
    uint64_t key_left = left > TARN_KEY_BYTES_MAX + 1 ? TARN_KEY_BYTES_MAX + 1 : left;
    const unsigned char *key_end = find_separator(start, start + key_left, a, b);
    if (key_end == start + key_left) {
        if (key_left > TARN_KEY_BYTES_MAX)
            return FORMAT_KEY_TOOBIG;
        return at_end ? FORMAT_NO_SEPARATOR : FORMAT_INCOMPLETE;
    }
    if (*key_end == '\n')
        return FORMAT_NO_SEPARATOR;

    const unsigned char *value = key_end + 1;
    uint64_t value_left = left - (uint64_t)(value - start);
    uint64_t search = value_left > TARN_VALUE_BYTES_MAX + 1 ? TARN_VALUE_BYTES_MAX + 1 : value_left;
    const unsigned char *newline = memchr(value, '\n', search);
    uint64_t value_size = newline ? (uint64_t)(newline - value) : search;
    if (value_size > TARN_VALUE_BYTES_MAX)
        return FORMAT_VALUE_TOOBIG;
    if (!newline && !at_end)
        return FORMAT_INCOMPLETE;

    ret_record->key = (struct tarn_bytes){start, (size_t)(key_end - start)};
    ret_record->value = (struct tarn_bytes){value, value_size};
    ret_record->size = (uint64_t)(value - start) + value_size + (newline ? 1 : 0);
    return FORMAT_OK;
}

static inline __attribute__((always_inline)) uint64_t load_size(const unsigned char *p,
                                                                unsigned width, bool big_endian)
{
    if (width == 2)
        return big_endian ? load_u16be(p) : load_u16le(p);
    if (width == 4)
        return big_endian ? load_u32be(p) : load_u32le(p);
    return big_endian ? load_u64be(p) : load_u64le(p);
}

/* width and big_endian are constants at every call. */
static inline __attribute__((always_inline)) enum format_outcome
parse_fixed(const unsigned char *start, uint64_t left, unsigned width, bool big_endian,
            struct record *ret_record)
{
    if (left < width)
        return FORMAT_INCOMPLETE;
    uint64_t key_size = load_size(start, width, big_endian);
    if (key_size > TARN_KEY_BYTES_MAX)
        return FORMAT_KEY_TOOBIG;
    uint64_t value_at = 2 * (uint64_t)width + key_size;
    if (left < value_at)
        return FORMAT_INCOMPLETE;
    uint64_t value_size = load_size(start + width + key_size, width, big_endian);
    if (value_size > TARN_VALUE_BYTES_MAX)
        return FORMAT_VALUE_TOOBIG;
    if (left - value_at < value_size)
        return FORMAT_INCOMPLETE;

    ret_record->key = (struct tarn_bytes){start + width, key_size};
    ret_record->value = (struct tarn_bytes){start + value_at, value_size};
    ret_record->size = value_at + value_size;
    return FORMAT_OK;
}

static enum format_outcome parse_varint(const unsigned char *start, uint64_t left,
                                        struct record *ret_record)
{
    uint64_t key_size, value_size;
    int taken = load_varint(start, left, &key_size);
    if (taken <= 0)
        return taken < 0 ? FORMAT_BAD_SIZE : FORMAT_INCOMPLETE;
    if (key_size > TARN_KEY_BYTES_MAX)
        return FORMAT_KEY_TOOBIG;
    const unsigned char *key = start + taken;
    left -= (uint64_t)taken;
    if (left <= key_size)
        return FORMAT_INCOMPLETE;
    left -= key_size;
    taken = load_varint(key + key_size, left, &value_size);
    if (taken <= 0)
        return taken < 0 ? FORMAT_BAD_SIZE : FORMAT_INCOMPLETE;
    if (value_size > TARN_VALUE_BYTES_MAX)
        return FORMAT_VALUE_TOOBIG;
    if (left - (uint64_t)taken < value_size)
        return FORMAT_INCOMPLETE;

    const unsigned char *value = key + key_size + taken;
    ret_record->key = (struct tarn_bytes){key, key_size};
    ret_record->value = (struct tarn_bytes){value, value_size};
    ret_record->size = (uint64_t)(value - start) + value_size;
    return FORMAT_OK;
}

enum format_outcome format_parse(const struct tarn_format *format, struct tarn_bytes data,
                                 uint64_t offset, bool at_end, struct record *ret_record)
{
    const unsigned char *start = (const unsigned char *)data.data + offset;
    uint64_t left = data.size - offset;
    if (format->kind != TARN_FORMAT_BINARY)
        return parse_text(format, start, left, at_end, ret_record);
    bool big = format->big_endian;
    switch (format->size_type) {
    case TARN_SIZE_U32:
        return big ? parse_fixed(start, left, 4, true, ret_record)
                   : parse_fixed(start, left, 4, false, ret_record);
    case TARN_SIZE_U16:
        return big ? parse_fixed(start, left, 2, true, ret_record)
                   : parse_fixed(start, left, 2, false, ret_record);
    case TARN_SIZE_U64:
        return big ? parse_fixed(start, left, 8, true, ret_record)
                   : parse_fixed(start, left, 8, false, ret_record);
    case TARN_SIZE_VARINT:
        break;
    }
    return parse_varint(start, left, ret_record);
}

static enum format_outcome parse_text_head(const struct tarn_format *format,
                                           const unsigned char *start, uint64_t left,
                                           struct record_head *ret_head)
{
    unsigned char a = format->separator_set ? format->separator : ' ';
    unsigned char b = format->separator_set ? format->separator : '\t';
    uint64_t key_left = left > TARN_KEY_BYTES_MAX + 1 ? TARN_KEY_BYTES_MAX + 1 : left;
    const unsigned char *end = find_separator(start, start + key_left, a, b);
    uint64_t size = (uint64_t)(end - start);
    if (size == key_left)
        return size > TARN_KEY_BYTES_MAX ? FORMAT_KEY_TOOBIG : FORMAT_INCOMPLETE;
    if (*end == '\n')
        return FORMAT_NO_SEPARATOR;
    *ret_head = (struct record_head){{start, size}, size + 1, UINT64_MAX};
    return FORMAT_OK;
}

/* One of a binary record's two sizes. Returns the bytes it takes, 0: INCOMPLETE, -1: BAD_SIZE. */
static int parse_size(const struct tarn_format *format, const unsigned char *p, uint64_t left,
                      uint64_t *ret_size)
{
    static const unsigned char widths[] = {
        [TARN_SIZE_U32] = 4, [TARN_SIZE_U16] = 2, [TARN_SIZE_U64] = 8};
    if (format->size_type == TARN_SIZE_VARINT)
        return load_varint(p, left, ret_size);
    unsigned width = widths[format->size_type];
    if (left < width)
        return 0;
    *ret_size = load_size(p, width, format->big_endian);
    return (int)width;
}

enum format_outcome format_parse_head(const struct tarn_format *format, struct tarn_bytes data,
                                      uint64_t offset, struct record_head *ret_head)
{
    const unsigned char *start = (const unsigned char *)data.data + offset;
    uint64_t left = data.size - offset, key_size, value_size;
    if (format->kind != TARN_FORMAT_BINARY)
        return parse_text_head(format, start, left, ret_head);
    int taken = parse_size(format, start, left, &key_size);
    if (taken <= 0)
        return taken < 0 ? FORMAT_BAD_SIZE : FORMAT_INCOMPLETE;
    if (key_size > TARN_KEY_BYTES_MAX)
        return FORMAT_KEY_TOOBIG;
    uint64_t at = (uint64_t)taken + key_size;
    if (left < at)
        return FORMAT_INCOMPLETE;
    int more = parse_size(format, start + at, left - at, &value_size);
    if (more <= 0)
        return more < 0 ? FORMAT_BAD_SIZE : FORMAT_INCOMPLETE;
    if (value_size > TARN_VALUE_BYTES_MAX)
        return FORMAT_VALUE_TOOBIG;
    *ret_head = (struct record_head){{start + taken, key_size}, at + (uint64_t)more, value_size};
    return FORMAT_OK;
}

int format_error(enum format_outcome outcome, const char *path, uint64_t offset, uint64_t record,
                 struct tarn_error *error)
{
    const char *reason = "not a record";
    int status = TARN_CORRUPT;
    switch (outcome) {
    case FORMAT_OK:
        break;
    case FORMAT_INCOMPLETE:
        reason = "the file ends inside this record (truncated file, or another format?)";
        break;
    case FORMAT_KEY_TOOBIG:
        reason = "the key is over the limit of 65535 bytes";
        status = TARN_TOOBIG;
        break;
    case FORMAT_VALUE_TOOBIG:
        reason = "the value is over the limit of 512 MiB";
        status = TARN_TOOBIG;
        break;
    case FORMAT_NO_SEPARATOR:
        reason = "the line has no separator between key and value";
        break;
    case FORMAT_BAD_SIZE:
        reason = "a size is no valid varint";
        break;
    }
    return error_set_at(error, status, offset, record, "%s: record %llu at byte %llu: %s", path,
                        (unsigned long long)record, (unsigned long long)offset, reason);
}

static int encode_text(const struct tarn_format *format, struct tarn_bytes key,
                       struct tarn_bytes value, struct buffer *out)
{
    unsigned char a = format->separator_set ? format->separator : ' ';
    unsigned char b = format->separator_set ? format->separator : '\t';
    const unsigned char *key_data = key.data;
    if (key.size > 0 && find_separator(key_data, key_data + key.size, a, b) != key_data + key.size)
        return TARN_INVALID;
    if (value.size > 0 && memchr(value.data, '\n', value.size))
        return TARN_INVALID;
    if (!buffer_reserve(out, key.size + value.size + 2))
        return TARN_NOMEM;
    buffer_append(out, key.data, key.size);
    buffer_append_byte(out, a);
    buffer_append(out, value.data, value.size);
    buffer_append_byte(out, '\n');
    return TARN_OK;
}

static size_t store_size(const struct tarn_format *format, unsigned char *p, uint64_t size)
{
    bool big = format->big_endian;
    switch (format->size_type) {
    case TARN_SIZE_U32:
        big ? store_u32be(p, (uint32_t)size) : store_u32le(p, (uint32_t)size);
        return 4;
    case TARN_SIZE_U16:
        big ? store_u16be(p, (uint16_t)size) : store_u16le(p, (uint16_t)size);
        return 2;
    case TARN_SIZE_U64:
        big ? store_u64be(p, size) : store_u64le(p, size);
        return 8;
    case TARN_SIZE_VARINT:
        break;
    }
    return store_varint(p, size);
}

int format_encode(const struct tarn_format *format, struct tarn_bytes key, struct tarn_bytes value,
                  struct buffer *out)
{
    if (key.size > TARN_KEY_BYTES_MAX || value.size > TARN_VALUE_BYTES_MAX)
        return TARN_TOOBIG;
    if (format->kind != TARN_FORMAT_BINARY)
        return encode_text(format, key, value, out);
    if (format->size_type == TARN_SIZE_U16 && value.size > UINT16_MAX)
        return TARN_INVALID;
    if (!buffer_reserve(out, key.size + value.size + 2 * VARINT_BYTES_MAX))
        return TARN_NOMEM;
    out->size += store_size(format, out->data + out->size, key.size);
    buffer_append(out, key.data, key.size);
    out->size += store_size(format, out->data + out->size, value.size);
    buffer_append(out, value.data, value.size);
    return TARN_OK;
}

int format_check(const struct tarn_format *format, struct tarn_error *error)
{
    bool binary_fields = format->size_type != TARN_SIZE_U32 || format->big_endian;
    if (format->kind != TARN_FORMAT_AUTO && format->kind != TARN_FORMAT_TEXT &&
        format->kind != TARN_FORMAT_BINARY && format->kind != TARN_FORMAT_TARN)
        return error_set(error, TARN_INVALID, "no such data format: %d", (int)format->kind);
    if ((unsigned)format->size_type > TARN_SIZE_VARINT)
        return error_set(error, TARN_INVALID, "no such size type: %d", (int)format->size_type);
    if (format->kind != TARN_FORMAT_BINARY && binary_fields)
        return error_set(error, TARN_INVALID, "a size type and byte order need format binary");
    if (format->kind != TARN_FORMAT_TEXT && format->separator_set)
        return error_set(error, TARN_INVALID, "a separator needs format text");
    if (format->separator_set && format->separator == '\n')
        return error_set(error, TARN_INVALID, "a newline cannot be the separator");
    if (!format->separator_set && format->separator != 0)
        return error_set(error, TARN_INVALID, "a separator is given but not switched on");
    if (format->size_type == TARN_SIZE_VARINT && format->big_endian)
        return error_set(error, TARN_INVALID, "size type varint has no byte order");
    return TARN_OK;
}

const char *format_describe(const struct tarn_format *format, char out[64])
{
    static const char *const widths[] = {"u32", "u16", "u64", "varint"};
    if (format->kind == TARN_FORMAT_AUTO)
        return "auto";
    if (format->kind == TARN_FORMAT_TARN)
        return "tarn";
    if (format->kind == TARN_FORMAT_TEXT) {
        if (!format->separator_set)
            return "text";
        if (format->separator > ' ' && format->separator < 0x7f)
            snprintf(out, 64, "text separator '%c'", format->separator);
        else
            snprintf(out, 64, "text separator 0x%02x", format->separator);
        return out;
    }
    if (format->size_type == TARN_SIZE_VARINT)
        return "binary varint";
    snprintf(out, 64, "binary %s %s-endian", widths[format->size_type & 3],
             format->big_endian ? "big" : "little");
    return out;
}
