/* The payload of DUMP and RESTORE for strings: what Redis's serialisation of one value is.
 *
 *     bytes   what
 *     1       type: 0, a string
 *     ...     the string, one of
 *               length, then so many bytes
 *               0xc0, int8 | 0xc1, int16 LE | 0xc2, int32 LE: its decimal digits
 *               0xc3, length of the packed bytes, length of the string, the packed bytes (LZF)
 *     2       version of the serialisation, LE
 *     8       CRC-64 of all before it, LE (core/crc64.h)
 *
 * A length: 00LLLLLL | 01LLLLLL LLLLLLLL | 0x80, 32 bits BE | 0x81, 64 bits BE.
 *
 * Strings have been serialised so in all versions. The version written is Redis 7.0's, so that it
 * and all later servers accept it. Pure; payloads to be read may be any bytes. */
#ifndef CORE_DUMP_H
#define CORE_DUMP_H

#include "core/bytes.h"

#define DUMP_HEADER_BYTES_MAX 6  /* type and length, or type and integer */
#define DUMP_FOOTER_BYTES     10 /* version and checksum */
#define DUMP_VERSION          10 /* written */
#define DUMP_VERSION_MAX      12 /* accepted */

/* --- writing: header, value, footer --- */

/* A value's payload but for the footer: the header, then `body` (the value itself, or nothing if
 * the header holds the number that it is). */
struct dump_head {
    unsigned char header[DUMP_HEADER_BYTES_MAX];
    size_t header_size;
    struct tarn_bytes body; /* points to the value, or is empty */
};
void dump_begin(struct tarn_bytes value, struct dump_head *ret_head); /* value.size < 2^32 */
/* After header and body. Takes time in proportion to the body. */
void dump_end(const struct dump_head *head, unsigned char ret_footer[DUMP_FOOTER_BYTES]);

/* --- reading --- */

enum dump_outcome {
    DUMP_STRING,
    DUMP_UNVERIFIED, /* too short, of a later version, or the checksum is wrong */
    DUMP_OTHER_TYPE, /* a list, a hash ...: sound as far as was looked */
    DUMP_DAMAGED,    /* no type, or not a string as above */
};

/* A string in a payload. */
struct dump_string {
    struct tarn_bytes bytes; /* in the payload; or packed; or in `digits` */
    bool packed;             /* to be unpacked with dump_unpack() */
    size_t size;             /* of the string; at most TARN_VALUE_BYTES_MAX if packed */
    char digits[12];
};

/* ret_string must not move while its bytes are used. Bytes between string and footer are passed
 * over, as Redis does. */
enum dump_outcome dump_parse(struct tarn_bytes payload, struct dump_string *ret_string);

/* Unpack a packed string to out, string->size bytes; false: it is damaged. */
bool dump_unpack(const struct dump_string *string, void *out);

#endif
