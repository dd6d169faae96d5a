/* Long doubles to and from text, as INCRBYFLOAT of Redis reads and writes them.
 *
 * How: the C library's conversions, which are exact; around them the rules of which texts count and
 * how zeros are trimmed. The program never leaves the C locale. Failure modes: false for anything
 * that is no number or out of range. */
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/assert.h"
#include "core/number.h"

/* After the point: what is short in decimal looks so again after rounding. */
#define DECIMALS "17"

/* LDBL_MAX has 4933 digits before the point. */
_Static_assert(__LDBL_MAX_10_EXP__ + 32 < NUMBER_LONG_DOUBLE_BYTES, "every value fits");

bool number_parse_long_double(struct tarn_bytes text, long double *ret_value)
{
    char copy[NUMBER_LONG_DOUBLE_BYTES];
    char *end;
    if (text.size == 0 || text.size >= sizeof copy)
        return false;
    memcpy(copy, text.data, text.size);
    copy[text.size] = 0;
    if (isspace((unsigned char)copy[0]))
        return false;
    errno = 0;
    long double value = strtold(copy, &end);
    bool lost = errno == ERANGE && (isinf(value) || value == 0); /* but not if less exact */
    if (end != copy + text.size || lost || isnan(value))
        return false;
    *ret_value = value;
    return true;
}

size_t number_format_long_double(long double value, char out[NUMBER_LONG_DOUBLE_BYTES])
{
    ASSERT(isfinite(value));
    int length = snprintf(out, NUMBER_LONG_DOUBLE_BYTES, "%." DECIMALS "Lf", value);
    ASSERT(length > 0 && length < NUMBER_LONG_DOUBLE_BYTES);
    size_t size = (size_t)length;
    while (out[size - 1] == '0')
        size--;
    if (out[size - 1] == '.')
        size--;
    if (size == 2 && out[0] == '-' && out[1] == '0') {
        out[0] = '0';
        size = 1;
    }
    return size;
}
