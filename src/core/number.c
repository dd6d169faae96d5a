/* Numbers to and from text.
 *
 * How: plain digit loops with an overflow check before every step; fractions of sizes in 128-bit
 * integers, so nothing depends on the locale or on rounding of doubles.
 *
 * Invariants
 * 1. A parser accepts the whole view or nothing, and writes its output on success only.
 * 2. What number_format_int/uint write, number_parse_int/uint read back to the same value.
 * Failure modes: false for anything malformed or out of range. */
#include "core/number.h"

#include <stdio.h>

/* Digits from p[0] on into *ret_value; returns how many digits, 0 on overflow of 64 bits. */
static size_t parse_digits(const char *p, size_t size, uint64_t *ret_value)
{
    uint64_t value = 0;
    size_t n = 0;
    for (; n < size && p[n] >= '0' && p[n] <= '9'; n++) {
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
    if (parse_digits(p, text.size, &value) != text.size)
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

/* The power of two a suffix stands for ("", "b", "k", "kb", "kib", ...), -1 if it is none. */
static int suffix_shift(struct tarn_bytes suffix)
{
    static const struct {
        const char *names[3];
        int shift;
    } units[] = {
        {{"k", "kb", "kib"}, 10},
        {{"m", "mb", "mib"}, 20},
        {{"g", "gb", "gib"}, 30},
        {{"t", "tb", "tib"}, 40},
    };
    if (suffix.size == 0 || bytes_equal_nocase(suffix, "b"))
        return 0;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        for (size_t j = 0; j < 3; j++) {
            if (bytes_equal_nocase(suffix, units[i].names[j]))
                return units[i].shift;
        }
    }
    return -1;
}

bool number_parse_size(struct tarn_bytes text, uint64_t *ret_bytes)
{
    const char *p = text.data;
    uint64_t whole, fraction = 0, scale = 1;
    size_t at = parse_digits(p, text.size, &whole);
    if (at == 0)
        return false;
    bool has_fraction = at < text.size && p[at] == '.';
    if (has_fraction) {
        at++;
        size_t digits = parse_digits(p + at, text.size - at, &fraction);
        if (digits == 0 || digits > 18) /* 10^18 < 2^60: the product below fits 128 bits */
            return false;
        for (size_t i = 0; i < digits; i++)
            scale *= 10;
        at += digits;
    }
    int shift = suffix_shift((struct tarn_bytes){p + at, text.size - at});
    if (shift < 0 || (has_fraction && shift == 0))
        return false;
    unsigned __int128 bytes = (unsigned __int128)whole << shift;
    bytes += ((unsigned __int128)fraction << shift) / scale;
    if (bytes > UINT64_MAX)
        return false;
    *ret_bytes = (uint64_t)bytes;
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
