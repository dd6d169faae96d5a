/* Bits of byte strings: counting, searching, fields of 1 to 64 bits, combining strings.
 *
 * Bits are numbered as Redis numbers them: bit 0 is the highest of byte 0, bit 8 the highest of
 * byte 1. A field's first bit is its highest. Pure; positions and counts are in bits unless named
 * bytes. */
#ifndef CORE_BITS_H
#define CORE_BITS_H

#include "core/bytes.h"

/* Bits that are set from position `first` (counted) to `end` (not counted); first <= end <= 8 x
 * the size of data. */
uint64_t bits_count(const void *data, uint64_t first, uint64_t end);

/* Position of the first bit equal to `bit` in that range; `end` if there is none. */
uint64_t bits_find(const void *data, uint64_t first, uint64_t end, bool bit);

/* The bit at that position; 0 behind the end of data. */
static inline bool bits_get(struct tarn_bytes data, uint64_t at)
{
    const unsigned char *p = data.data;
    return at / 8 < data.size && (p[at / 8] >> (7 - at % 8) & 1) != 0;
}

/* The field of `width` (1..64) bits at position `at`, as an unsigned number. All of it must lie
 * inside data. */
uint64_t bits_read(const void *data, uint64_t at, unsigned width);
/* Store the low `width` bits of value there; other bits stay. */
void bits_write(void *data, uint64_t at, unsigned width, uint64_t value);

/* A field's value as a number with sign: two's complement of `width` bits. */
static inline int64_t bits_sign_extend(uint64_t value, unsigned width)
{
    return (int64_t)(value << (64 - width)) >> (64 - width);
}

/* What arithmetic on fields does with results that do not fit. */
enum bits_overflow { BITS_WRAP, BITS_SATURATE, BITS_FAIL };

/* value + increment in a field of `width` bits (1..64 with sign_kept, 1..63 without). value is any
 * number, taken as unsigned if the field is. Without a sign, what is below 0 saturates at 0. False:
 * it does not fit and overflow is FAIL. */
bool bits_add(int64_t value, int64_t increment, unsigned width, bool sign_kept,
              enum bits_overflow overflow, int64_t *ret_value);

enum bits_operation { BITS_AND, BITS_OR, BITS_XOR, BITS_NOT };

/* Combine the sources, each as if followed by zero bytes to the size of the longest; NOT takes one
 * source. out: room for the longest's size, not overlapping any source. */
void bits_combine(enum bits_operation operation, const struct tarn_bytes *sources, size_t count,
                  void *out);

#endif
