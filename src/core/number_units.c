/* Numbers with units or fractions to and from text: sizes, counts, times, decimal numbers.
 *
 * How: a table of units each; the number before the unit is kept as digits and a power of ten in
 * 128-bit integers, so that nothing depends on the locale or on the rounding of doubles. A real is
 * digits times or divided by a power of ten, both exact as doubles, so that the one operation
 * rounds once (Clinger, "How to read floating point numbers accurately", 1990: the simple case).
 *
 * Invariants
 * 1. A parser accepts the whole view or nothing, and writes its output on success only.
 * 2. What number_format_scaled/duration/real write, their parsers read back to the same value.
 * Failure modes: false for anything malformed, out of range, or not exact where that is asked. */
#include <stdio.h>

#include "core/assert.h"
#include "core/number.h"

#define FRACTION_DIGITS_MAX 18 /* 10^18 < 2^60: times any unit it fits 128 bits */
#define REAL_DIGITS_MAX     15 /* any such whole number is below 2^53 */
#define REAL_POWER_MAX      22 /* 10^22 is the last power of ten that is exact as a double */

struct unit {
    const char *names[3]; /* any case; the first is how it is written back */
    uint64_t factor;
};
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct unit size_units[] = {
    {{"", "b", "b"}, 1},
    {{"k", "kb", "kib"}, 1ull << 10},
    {{"m", "mb", "mib"}, 1ull << 20},
    {{"g", "gb", "gib"}, 1ull << 30},
    {{"t", "tb", "tib"}, 1ull << 40},
};
static const struct unit count_units[] = {
    {{"", "", ""}, 1},
    {{"k", "k", "k"}, 1000},
    {{"M", "m", "m"}, 1000000},
    {{"G", "g", "g"}, 1000000000},
    {{"T", "t", "t"}, 1000000000000},
};
static const struct unit duration_units[] = {
    {{"ns", "ns", "ns"}, 1},          {{"us", "us", "us"}, 1000},
    {{"ms", "ms", "ms"}, 1000000},    {{"s", "", "s"}, 1000000000},
    {{"m", "min", "m"}, 60000000000}, {{"h", "h", "h"}, 3600000000000},
};

/* The factor a suffix stands for, 0 if it is none. */
static uint64_t factor_of(struct tarn_bytes suffix, const struct unit *units, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < COUNT(units[i].names); j++) {
            if (bytes_equal_nocase(suffix, units[i].names[j]))
                return units[i].factor;
        }
    }
    return 0;
}

/* "12", "1.5K": a number and one of the units. exact: refuse what leaves a remainder. */
static bool parse_units(struct tarn_bytes text, const struct unit *units, size_t count, bool exact,
                        uint64_t *ret_value)
{
    const char *p = text.data;
    uint64_t whole, fraction = 0, scale = 1;
    size_t at = number_take_digits(text, &whole);
    if (at == 0)
        return false;
    bool has_fraction = at < text.size && p[at] == '.';
    if (has_fraction) {
        at++;
        struct tarn_bytes rest = {p + at, text.size - at};
        size_t digits = number_take_digits(rest, &fraction);
        if (digits == 0 || digits > FRACTION_DIGITS_MAX)
            return false;
        for (size_t i = 0; i < digits; i++)
            scale *= 10;
        at += digits;
    }
    uint64_t factor = factor_of((struct tarn_bytes){p + at, text.size - at}, units, count);
    if (factor == 0 || (has_fraction && factor == 1))
        return false;
    unsigned __int128 part = (unsigned __int128)fraction * factor;
    unsigned __int128 value = (unsigned __int128)whole * factor + part / scale;
    if ((exact && part % scale != 0) || value > UINT64_MAX)
        return false;
    *ret_value = (uint64_t)value;
    return true;
}

bool number_parse_size(struct tarn_bytes text, uint64_t *ret_bytes)
{
    return parse_units(text, size_units, COUNT(size_units), false, ret_bytes);
}

/* "1e9": a real with an exponent that is whole. */
static bool parse_power(struct tarn_bytes text, uint64_t *ret_count)
{
    double value;
    bool has_power = text.size > 0 && (memchr(text.data, 'e', text.size) != NULL ||
                                       memchr(text.data, 'E', text.size) != NULL);
    if (!has_power || !number_parse_real(text, &value) || !(value < 0x1p64))
        return false;
    if ((double)(uint64_t)value != value)
        return false;
    *ret_count = (uint64_t)value;
    return true;
}

bool number_parse_scaled(struct tarn_bytes text, uint64_t *ret_count)
{
    return parse_units(text, count_units, COUNT(count_units), true, ret_count) ||
           parse_power(text, ret_count);
}

bool number_parse_duration(struct tarn_bytes text, uint64_t *ret_ns)
{
    return parse_units(text, duration_units, COUNT(duration_units), true, ret_ns);
}

/* value in one unit, with as many decimals as it takes; false if no number of them is enough. */
static bool format_in(uint64_t value, const struct unit *unit, char out[32])
{
    size_t size = number_format_uint(value / unit->factor, out);
    uint64_t rest = value % unit->factor;
    if (rest != 0)
        out[size++] = '.';
    for (int digits = 0; rest != 0; digits++) {
        if (digits == 9)
            return false;
        unsigned __int128 tenfold = (unsigned __int128)rest * 10;
        out[size++] = (char)('0' + (int)(tenfold / unit->factor));
        rest = (uint64_t)(tenfold % unit->factor);
    }
    memcpy(out + size, unit->names[0], strlen(unit->names[0]) + 1);
    return true;
}

/* The shortest way of writing value with one of the units; of two equally short, the larger unit
 * without decimals, else the smaller one. */
static const char *format_units(uint64_t value, const struct unit *units, size_t count,
                                char out[32])
{
    bool first = format_in(value, &units[0], out);
    ASSERT(first && units[0].factor == 1);
    for (size_t i = 1; i < count && value >= units[i].factor; i++) {
        char other[32];
        if (!format_in(value, &units[i], other))
            continue;
        size_t size = strlen(other), best = strlen(out);
        if (size < best || (size == best && value % units[i].factor == 0))
            memcpy(out, other, size + 1);
    }
    return out;
}

const char *number_format_scaled(uint64_t count, char out[32])
{
    return format_units(count, count_units, COUNT(count_units), out);
}

const char *number_format_duration(uint64_t ns, char out[32])
{
    if (ns == 0)
        return memcpy(out, "0s", 3);
    return format_units(ns, duration_units, COUNT(duration_units), out);
}

/* --- decimal numbers --- */

/* Digits of a decimal number: mantissa x 10^power. */
struct decimal {
    uint64_t mantissa;
    int digits; /* of the mantissa, leading zeros not counted */
    int power;
};

/* Digits at p[0] are the mantissa's next ones; returns how many there are. */
static size_t take_mantissa(const char *p, size_t size, struct decimal *d)
{
    size_t n = 0;
    for (; n < size && p[n] >= '0' && p[n] <= '9'; n++) {
        if (d->digits > 0 || p[n] != '0')
            d->digits++;
        if (d->digits <= REAL_DIGITS_MAX)
            d->mantissa = d->mantissa * 10 + (uint64_t)(p[n] - '0');
    }
    return n;
}

/* "e6", "E+6", "e-3" and nothing after it, or nothing at all. */
static bool take_exponent(const char *p, size_t size, struct decimal *d)
{
    if (size == 0)
        return true;
    bool negative = size > 1 && p[1] == '-';
    size_t at = size > 1 && (p[1] == '-' || p[1] == '+') ? 2 : 1;
    uint64_t power;
    if (at == size)
        return false;
    size_t digits = number_take_digits((struct tarn_bytes){p + at, size - at}, &power);
    if ((p[0] | 0x20) != 'e' || digits == 0 || at + digits != size || power > 1000)
        return false;
    d->power += negative ? -(int)power : (int)power;
    return true;
}

static double power_of_ten(int power)
{
    double value = 1;
    for (int i = 0; i < power; i++)
        value *= 10; /* exact up to REAL_POWER_MAX */
    return value;
}

bool number_parse_real(struct tarn_bytes text, double *ret_value)
{
    const char *p = text.data;
    struct decimal d = {0, 0, 0};
    size_t at = take_mantissa(p, text.size, &d);
    if (at == 0)
        return false;
    if (at < text.size && p[at] == '.') {
        size_t fraction = take_mantissa(p + at + 1, text.size - at - 1, &d);
        if (fraction == 0 || fraction > 1000)
            return false;
        d.power = -(int)fraction;
        at += 1 + fraction;
    }
    if (!take_exponent(p + at, text.size - at, &d))
        return false;
    if (d.digits > REAL_DIGITS_MAX)
        return false;
    if (d.mantissa != 0 && (d.power > REAL_POWER_MAX || d.power < -REAL_POWER_MAX))
        return false;
    if (d.mantissa == 0)
        *ret_value = 0;
    else if (d.power >= 0)
        *ret_value = (double)d.mantissa * power_of_ten(d.power);
    else
        *ret_value = (double)d.mantissa / power_of_ten(-d.power);
    return true;
}

/* The first `count` significant digits of value into digits, rounded; returns the power of ten of
 * the first one. */
static int significant_digits(double value, int count, char digits[REAL_DIGITS_MAX + 1])
{
    char text[48];
    snprintf(text, sizeof text, "%.*e", count - 1, value);
    const char *e = strchr(text, 'e');
    int n = 0, power = 0;
    for (const char *p = text; p < e; p++) /* skips the point, whatever the locale makes of it */
        if (*p >= '0' && *p <= '9' && n < count)
            digits[n++] = *p;
    digits[n] = 0;
    for (const char *p = e + 2; *p; p++)
        power = power * 10 + (*p - '0');
    return e[1] == '-' ? -power : power;
}

/* Digits with their point: plain where that is short, else with an exponent. */
static void lay_out(const char *digits, int power, char out[32])
{
    int count = (int)strlen(digits);
    if (power >= 0 && power < REAL_DIGITS_MAX && count <= power + 1)
        snprintf(out, 32, "%s%.*s", digits, power + 1 - count, "000000000000000");
    else if (power >= 0 && power < REAL_DIGITS_MAX)
        snprintf(out, 32, "%.*s.%s", power + 1, digits, digits + power + 1);
    else if (power < 0 && power >= -5)
        snprintf(out, 32, "0.%.*s%s", -power - 1, "00000", digits);
    else
        snprintf(out, 32, "%se%d", digits, power - (count - 1));
}

const char *number_format_real(double value, char out[32])
{
    char digits[REAL_DIGITS_MAX + 1];
    double back;
    ASSERT(value >= 0 && value <= 1e300);
    for (int count = 1; count <= REAL_DIGITS_MAX; count++) {
        int power = significant_digits(value, count, digits);
        lay_out(digits, power, out);
        if (number_parse_real(bytes_of(out), &back) && back == value)
            break;
    }
    return out;
}
