/* Bits of byte strings. See bits.h.
 *
 * How: everything goes by 64-bit words, loaded big-endian where the order of bits matters, so that
 * a word's highest bit is the first. Edges that are no whole byte are masked, and the bytes before
 * the first and behind the last word go one by one. Counting uses the processor's instruction where
 * it has one. Combining goes by blocks that stay in the processor's first cache, so that memory is
 * read and written once whatever the number of sources.
 *
 * Invariants
 * 1. No byte outside the given ranges is read or written.
 * 2. A field's bytes are at most nine: 64 bits at any position.
 * Failure modes: none. */
#include "core/bits.h"

#include "core/assert.h"
#include "core/codec.h"

#define COMBINE_BYTES 4096 /* one block */

/* --- counting --- */

/* Four independent sums, or each addition would wait for the one before. */
#define COUNT_WORDS                                                                                \
    uint64_t a = 0, b = 0, c = 0, d = 0;                                                           \
    for (; count >= 4; count -= 4, p += 32) {                                                      \
        a += (unsigned)__builtin_popcountll(load_u64le(p));                                        \
        b += (unsigned)__builtin_popcountll(load_u64le(p + 8));                                    \
        c += (unsigned)__builtin_popcountll(load_u64le(p + 16));                                   \
        d += (unsigned)__builtin_popcountll(load_u64le(p + 24));                                   \
    }                                                                                              \
    for (; count > 0; count--, p += 8)                                                             \
        a += (unsigned)__builtin_popcountll(load_u64le(p));                                        \
    return a + b + c + d;

static uint64_t count_words_portable(const unsigned char *p, size_t count)
{
    COUNT_WORDS
}

#if defined(__x86_64__)
__attribute__((target("popcnt"))) static uint64_t count_words_popcnt(const unsigned char *p,
                                                                     size_t count)
{
    COUNT_WORDS
}
#endif

static uint64_t count_words(const unsigned char *p, size_t count)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("popcnt"))
        return count_words_popcnt(p, count);
#endif
    return count_words_portable(p, count);
}

static uint64_t count_bytes(const unsigned char *p, size_t size)
{
    uint64_t last = 0;
    memcpy(&last, p + size / 8 * 8, size % 8);
    return count_words(p, size / 8) + (unsigned)__builtin_popcountll(last);
}

/* Of the bits of one byte, those from `first` (0..8) on. */
static inline unsigned mask_from(unsigned first)
{
    return 0xffu >> first;
}

uint64_t bits_count(const void *data, uint64_t first, uint64_t end)
{
    const unsigned char *p = data;
    if (first >= end)
        return 0;
    uint64_t from = first / 8, to = end / 8;
    unsigned head = (unsigned)(first % 8), tail = (unsigned)(end % 8);
    uint64_t count = 0;
    if (to > from)
        count = count_bytes(p + from, to - from);
    if (tail > 0)
        count += (unsigned)__builtin_popcount(p[to] & ~mask_from(tail) & 0xff);
    if (head > 0)
        count -= (unsigned)__builtin_popcount(p[from] & ~mask_from(head) & 0xff);
    return count;
}

/* --- searching --- */

/* Where the first byte is that has the bit; `size` if there is none. */
static size_t find_byte(const unsigned char *p, size_t size, bool bit)
{
    const uint64_t none = bit ? 0 : UINT64_MAX;
    size_t i = 0;
    for (; size - i >= 32; i += 32) {
        uint64_t a = load_u64le(p + i) ^ none, b = load_u64le(p + i + 8) ^ none;
        uint64_t c = load_u64le(p + i + 16) ^ none, d = load_u64le(p + i + 24) ^ none;
        if ((a | b | c | d) != 0)
            break;
    }
    while (i < size && p[i] == (unsigned char)none)
        i++;
    return i;
}

/* In a byte of which only the bits of `mask` count: the first that is equal; 8 if none. */
static unsigned find_in_byte(unsigned byte, unsigned mask, bool bit)
{
    unsigned found = (bit ? byte : ~byte) & mask;
    return found != 0 ? (unsigned)__builtin_clz(found) - 24 : 8;
}

uint64_t bits_find(const void *data, uint64_t first, uint64_t end, bool bit)
{
    const unsigned char *p = data;
    if (first >= end)
        return end;
    uint64_t from = first / 8, bytes_end = (end + 7) / 8;
    unsigned at = find_in_byte(p[from], mask_from((unsigned)(first % 8)), bit);
    if (at == 8 && ++from < bytes_end) {
        from += find_byte(p + from, bytes_end - from, bit);
        at = from < bytes_end ? find_in_byte(p[from], 0xff, bit) : 0;
    }
    uint64_t found = from * 8 + at % 8;
    return at < 8 && found < end ? found : end;
}

/* --- fields --- */

uint64_t bits_read(const void *data, uint64_t at, unsigned width)
{
    const unsigned char *p = (const unsigned char *)data + at / 8;
    ASSERT(width >= 1 && width <= 64);
    unsigned skip = (unsigned)(at % 8), bytes = (skip + width + 7) / 8;
    unsigned __int128 window = 0;
    for (unsigned i = 0; i < bytes; i++)
        window = window << 8 | p[i];
    window >>= bytes * 8 - skip - width;
    return (uint64_t)window & (UINT64_MAX >> (64 - width));
}

void bits_write(void *data, uint64_t at, unsigned width, uint64_t value)
{
    unsigned char *p = (unsigned char *)data + at / 8;
    ASSERT(width >= 1 && width <= 64);
    unsigned skip = (unsigned)(at % 8), bytes = (skip + width + 7) / 8;
    unsigned shift = bytes * 8 - skip - width;
    uint64_t ones = UINT64_MAX >> (64 - width);
    unsigned __int128 mask = (unsigned __int128)ones << shift;
    unsigned __int128 window = (unsigned __int128)(value & ones) << shift;
    for (unsigned i = bytes; i-- > 0; mask >>= 8, window >>= 8)
        p[i] = (unsigned char)((p[i] & ~(unsigned)mask) | (unsigned)window);
}

bool bits_add(int64_t value, int64_t increment, unsigned width, bool sign_kept,
              enum bits_overflow overflow, int64_t *ret_value)
{
    ASSERT(width >= 1 && width <= (sign_kept ? 64u : 63u));
    __int128 least = sign_kept ? -((__int128)1 << (width - 1)) : 0;
    __int128 most = ((__int128)1 << (sign_kept ? width - 1 : width)) - 1;
    __int128 sum = (sign_kept ? (__int128)value : (__int128)(uint64_t)value) + increment;
    if (sum >= least && sum <= most) {
        *ret_value = (int64_t)sum;
        return true;
    }
    if (overflow == BITS_FAIL)
        return false;
    uint64_t low = (uint64_t)sum & (UINT64_MAX >> (64 - width));
    if (overflow == BITS_SATURATE)
        *ret_value = (int64_t)(sum < least ? least : most);
    else
        *ret_value = sign_kept ? bits_sign_extend(low, width) : (int64_t)low;
    return true;
}

/* --- combining --- */

static void invert(unsigned char *restrict out, const unsigned char *restrict in, size_t size)
{
    for (size_t i = 0; i < size; i++)
        out[i] = (unsigned char)~in[i];
}

/* out = out and, or, xor in. The compiler makes vector code of these loops. */
static void fold(enum bits_operation operation, unsigned char *restrict out,
                 const unsigned char *restrict in, size_t size)
{
    if (operation == BITS_AND)
        for (size_t i = 0; i < size; i++)
            out[i] &= in[i];
    else if (operation == BITS_OR)
        for (size_t i = 0; i < size; i++)
            out[i] |= in[i];
    else
        for (size_t i = 0; i < size; i++)
            out[i] ^= in[i];
}

/* The part of a source that lies in the block at `from`. */
static struct tarn_bytes part_of(struct tarn_bytes source, size_t from, size_t size)
{
    if (source.size <= from)
        return (struct tarn_bytes){"", 0};
    size_t left = source.size - from;
    const unsigned char *p = source.data;
    return (struct tarn_bytes){p + from, left < size ? left : size};
}

static void combine_block(enum bits_operation operation, const struct tarn_bytes *sources,
                          size_t count, size_t from, size_t size, unsigned char *out)
{
    struct tarn_bytes part = part_of(sources[0], from, size);
    if (operation == BITS_NOT)
        invert(out, part.data, part.size);
    else
        memcpy(out, part.data, part.size);
    memset(out + part.size, 0, size - part.size);
    for (size_t i = 1; i < count; i++) {
        part = part_of(sources[i], from, size);
        fold(operation, out, part.data, part.size);
        if (operation == BITS_AND)
            memset(out + part.size, 0, size - part.size);
    }
}

void bits_combine(enum bits_operation operation, const struct tarn_bytes *sources, size_t count,
                  void *out)
{
    ASSERT(count >= 1 && (operation != BITS_NOT || count == 1));
    size_t size = 0;
    for (size_t i = 0; i < count; i++)
        if (sources[i].size > size)
            size = sources[i].size;
    for (size_t from = 0; from < size; from += COMBINE_BYTES) {
        size_t block = size - from < COMBINE_BYTES ? size - from : COMBINE_BYTES;
        combine_block(operation, sources, count, from, block, (unsigned char *)out + from);
    }
}
