/* Numbers to and from text: exact, bounded, locale-free. */
#ifndef CORE_NUMBER_H
#define CORE_NUMBER_H

#include "core/bytes.h"

/* The whole view must be a decimal integer in Redis's strict form: optional '-', no '+', no
 * leading zeros or spaces, within int64. */
bool number_parse_int(struct tarn_bytes text, int64_t *ret_value);

/* The same, unsigned 64-bit. */
bool number_parse_uint(struct tarn_bytes text, uint64_t *ret_value);

/* The digits that text begins with; returns how many, 0 if there is none or 64 bits are not enough.
 */
size_t number_take_digits(struct tarn_bytes text, uint64_t *ret_value);

/* The value of a hexadecimal digit of either case; -1 for any other byte. */
static inline int number_hex_digit(unsigned char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A size: digits with an optional suffix K M G T (powers of 1024, case ignored, optional "B" or
 * "iB"), or a decimal fraction with a suffix ("1.5G"), rounded down. No overflow, no sign. */
bool number_parse_size(struct tarn_bytes text, uint64_t *ret_bytes);

/* A count: digits with an optional suffix k M G T (powers of 1000, case ignored); before a suffix
 * also a decimal fraction, if the product is whole ("1.5k"); or with a power of ten, if whole
 * ("1e9", "2.5e6"). No overflow, no sign. */
bool number_parse_scaled(struct tarn_bytes text, uint64_t *ret_count);
/* A time: "10s", "500ms", "250us", "80ns", "2m", "1.5h"; a plain number is in seconds. Exact: less
 * than a nanosecond is refused, not rounded. */
bool number_parse_duration(struct tarn_bytes text, uint64_t *ret_ns);
/* A decimal number >= 0: digits, optionally a fraction, optionally an exponent of ten ("2.5e6"). At
 * most 15 digits, leading zeros apart, and powers of ten up to 22: what is exact to the last bit.
 */
bool number_parse_real(struct tarn_bytes text, double *ret_value);

/* The shortest text that the parser above reads as exactly this value; returns out. For a real
 * (finite, >= 0) of more than 15 digits: the nearest of 15. */
const char *number_format_scaled(uint64_t count, char out[32]);
const char *number_format_duration(uint64_t ns, char out[32]);
const char *number_format_real(double value, char out[32]);

/* Bytes that the text of any finite long double takes, and the longest text that is read. */
#define NUMBER_LONG_DOUBLE_BYTES 5120
/* As INCRBYFLOAT of Redis takes a number: what C's strtold() takes (hexadecimal and "inf" too)
 * without space before it, but not NaN, too large or too small. */
bool number_parse_long_double(struct tarn_bytes text, long double *ret_value);
/* A finite value, rounded to 17 digits after the point, trailing zeros left out; returns the size,
 * without a NUL. */
size_t number_format_long_double(long double value, char out[NUMBER_LONG_DOUBLE_BYTES]);

/* "1.5 GB"-like text of a byte count for people, powers of 1000: at most 31 characters. */
const char *number_format_size(uint64_t bytes, char out[32]);
/* A measured value for people, 4 or 5 digits of it but all before the point: "1,234,567", "123.4",
 * "0.120", "-3.500". */
const char *number_format_figure(double value, char out[32]);
/* 1234567 -> "1,234,567". */
const char *number_format_count(uint64_t count, char out[32]);

/* Decimal digits of value at out (no NUL); returns how many (at most 20). */
size_t number_format_uint(uint64_t value, char *out);
size_t number_format_int(int64_t value, char *out); /* at most 20 */

#endif
