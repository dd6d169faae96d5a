/* Numbers to and from text: exact, bounded, locale-free. */
#ifndef CORE_NUMBER_H
#define CORE_NUMBER_H

#include "core/bytes.h"

/* The whole view must be a decimal integer in Redis's strict form: optional '-', no '+', no
 * leading zeros or spaces, within int64. */
bool number_parse_int(struct tarn_bytes text, int64_t *ret_value);

/* The same, unsigned 64-bit. */
bool number_parse_uint(struct tarn_bytes text, uint64_t *ret_value);

/* The value of a hexadecimal digit of either case; -1 for any other byte. */
static inline int number_hex_digit(unsigned char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A size: digits with an optional suffix K M G T (powers of 1024, case ignored, optional "B" or
 * "iB"), or a decimal fraction with a suffix ("1.5G"). No overflow, no sign. */
bool number_parse_size(struct tarn_bytes text, uint64_t *ret_bytes);

/* "1.5 GB"-like text of a byte count for people, powers of 1000: at most 31 characters. */
const char *number_format_size(uint64_t bytes, char out[32]);
/* 1234567 -> "1,234,567". */
const char *number_format_count(uint64_t count, char out[32]);

/* Decimal digits of value at out (no NUL); returns how many (at most 20). */
size_t number_format_uint(uint64_t value, char *out);
size_t number_format_int(int64_t value, char *out); /* at most 20 */

#endif
