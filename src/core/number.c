/* Whole numbers to and from text; those with units and fractions are in number_units.c.
 *
 * How: plain digit loops with an overflow check before every step, so nothing depends on the
 * locale.
 *
 * Invariants
 * 1. A parser accepts the whole view or nothing, and writes its output on success only.
 * 2. What number_format_int/uint write, number_parse_int/uint read back to the same value.
 * Failure modes: false for anything malformed or out of range. */
#include "core/number.h"

#include <math.h>
#include <stdio.h>

size_t number_take_digits(struct tarn_bytes text, uint64_t *ret_value)
{
    const char *p = text.data;
    uint64_t value = 0;
    size_t n = 0;
    for (; n < text.size && p[n] >= '0' && p[n] <= '9'; n++) {
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(p[n] - '0'), &value))
            return 0;
    }
    *ret_value = value;
    return n;
}

bool number_parse_uint(struct tarn_bytes text, uint64_t *ret_value)
{
    const char *p = text.data;
    uint64_t value;
    if (text.size == 0 || (p[0] == '0' && text.size > 1))
        return false;
    if (number_take_digits(text, &value) != text.size)
        return false;
    *ret_value = value;
    return true;
}

bool number_parse_int(struct tarn_bytes text, int64_t *ret_value)
{
    const char *p = text.data;
    bool negative = text.size > 0 && p[0] == '-';
    uint64_t magnitude;
    if (!negative) {
        if (!number_parse_uint(text, &magnitude) || magnitude > INT64_MAX)
            return false;
        *ret_value = (int64_t)magnitude;
        return true;
    }
    struct tarn_bytes digits = {p + 1, text.size - 1};
    if (!number_parse_uint(digits, &magnitude) || magnitude == 0 ||
        magnitude > (uint64_t)INT64_MAX + 1)
        return false;
    *ret_value = (int64_t)(0 - magnitude);
    return true;
}

const char *number_format_size(uint64_t bytes, char out[32])
{
    static const char *const units[] = {"kB", "MB", "GB", "TB", "PB", "EB"};
    if (bytes < 1000) {
        snprintf(out, 32, "%u B", (unsigned)bytes);
        return out;
    }
    size_t i = 0;
    unsigned __int128 unit = 1000, tenths;
    for (;; i++, unit *= 1000) {
        tenths = ((unsigned __int128)bytes * 10 + unit / 2) / unit;
        if (tenths < 10000 || i + 1 == sizeof units / sizeof units[0])
            break;
    }
    snprintf(out, 32, "%u.%u %s", (unsigned)(tenths / 10), (unsigned)(tenths % 10), units[i]);
    return out;
}

const char *number_format_count(uint64_t count, char out[32])
{
    char digits[20];
    size_t size = number_format_uint(count, digits), n = 0;
    for (size_t i = 0; i < size; i++) {
        if (i > 0 && (size - i) % 3 == 0)
            out[n++] = ',';
        out[n++] = digits[i];
    }
    out[n] = 0;
    return out;
}

const char *number_format_figure(double value, char out[32])
{
    double size = fabs(value);
    char *at = out;
    if (!(size < 1e15)) { /* beyond counting, or no number */
        snprintf(out, 32, "%.4g", value);
        return out;
    }
    if (value < 0)
        *at++ = '-';
    if (size >= 999.95) {
        char count[32];
        snprintf(at, 31, "%s", number_format_count((uint64_t)llround(size), count));
    } else {
        snprintf(at, 31, "%.*f", size >= 99.995 ? 1 : size >= 9.9995 ? 2 : 3, size);
    }
    return out;
}

size_t number_format_uint(uint64_t value, char *out)
{
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    memcpy(out, digits + at, sizeof digits - at);
    return sizeof digits - at;
}

size_t number_format_int(int64_t value, char *out)
{
    if (value >= 0)
        return number_format_uint((uint64_t)value, out);
    out[0] = '-';
    return 1 + number_format_uint(0 - (uint64_t)value, out + 1);
}
