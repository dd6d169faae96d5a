/* The static function's queries: see ribbon.h. Two kernels compute the same thing, one in plain
 * 64-bit words and one with AVX2; the processor decides. Building is in ribbon_build.c. */
#include "pack/ribbon.h"

#include <string.h>

#include "core/codec.h"
#include "core/prefetch.h"
#include "pack/ribbon_internal.h"

uint64_t ribbon_shard_count(uint64_t keys)
{
    uint64_t wanted = (keys + RIBBON_SHARD_KEYS / 2) / RIBBON_SHARD_KEYS;
    if (wanted >= 256)
        return (wanted + 128) / 256 * 256;
    uint64_t power = 1;
    while (power * RIBBON_SHARD_KEYS * 3 / 2 < keys)
        power *= 2;
    return power;
}

bool ribbon_check(const struct ribbon *r)
{
    if (r->bits < 1 || r->bits > RIBBON_BITS_MAX || r->shard_count < 1)
        return false;
    if (r->shards[0] >> 8 != 0)
        return false;
    for (uint64_t s = 0; s < r->shard_count; s++) {
        uint64_t first = r->shards[s] >> 8, end = r->shards[s + 1] >> 8;
        if (end < first || end - first < RIBBON_GROUPS_MIN || end - first > UINT32_MAX / 8)
            return false;
    }
    uint64_t groups = r->shards[r->shard_count] >> 8;
    return groups <= UINT64_MAX / RIBBON_BITS_MAX && groups * r->bits == r->groups_bytes;
}

static inline void probe_init(const struct ribbon *r, uint64_t hash, struct ribbon_probe *ret_probe)
{
    uint64_t shard = ribbon_shard_of(hash, r->shard_count);
    uint64_t word = r->shards[shard], first = word >> 8;
    uint32_t rows = (uint32_t)((r->shards[shard + 1] >> 8) - first) * 8;
    unsigned __int128 coefficient;
    uint32_t start = ribbon_derive(hash, (unsigned)(word & 0xff), rows, &coefficient);

    /* Shift the coefficient so that its bit 0 meets row `start` of the window's first group. */
    unsigned shift = start & 7;
    uint64_t low = (uint64_t)coefficient, high = (uint64_t)(coefficient >> 64);
    store_u64le(ret_probe->coefficient, low << shift);
    store_u64le(ret_probe->coefficient + 8, high << shift | (low >> 1) >> (63 - shift));
    store_u64le(ret_probe->coefficient + 16, (high >> 1) >> (63 - shift));
    ret_probe->window = r->groups + (first + start / 8) * r->bits;
}

void ribbon_probes_init(const struct ribbon *r, const uint64_t *hashes, size_t count,
                        struct ribbon_probe *ret_probes)
{
    for (size_t i = 0; i < count; i++) {
        probe_init(r, hashes[i], &ret_probes[i]);
        prefetch_range(ret_probes[i].window, RIBBON_WINDOW_GROUPS * r->bits);
    }
}

/* The parity of each of 8 bytes, gathered into 8 bits. */
static inline uint64_t parities(uint64_t x)
{
    x ^= x >> 4;
    x ^= x >> 2;
    x ^= x >> 1;
    return ((x & 0x0101010101010101ull) * 0x0102040810204080ull) >> 56;
}

void ribbon_values_portable(const struct ribbon *r, const struct ribbon_probe *probes, size_t count,
                            uint64_t *ret_values)
{
    unsigned words = (r->bits + 7) / 8;
    uint64_t mask = (1ull << r->bits) - 1;
    for (size_t i = 0; i < count; i++) {
        uint64_t sums[RIBBON_BITS_MAX / 8] = {0};
        const unsigned char *group = probes[i].window;
        for (unsigned g = 0; g < RIBBON_WINDOW_GROUPS; g++, group += r->bits) {
            uint64_t byte = probes[i].coefficient[g] * 0x0101010101010101ull;
            for (unsigned w = 0; w < words; w++)
                sums[w] ^= load_u64le(group + 8 * w) & byte;
        }
        uint64_t value = 0;
        for (unsigned w = 0; w < words; w++)
            value |= parities(sums[w]) << (8 * w);
        ret_values[i] = value & mask;
    }
}

#if defined(__x86_64__)
#include <immintrin.h>

__attribute__((target("avx2"))) static inline uint32_t parities_avx2(__m256i x)
{
    /* Bits that cross from one byte into its neighbour never reach bit 0. */
    x = _mm256_xor_si256(x, _mm256_srli_epi16(x, 4));
    x = _mm256_xor_si256(x, _mm256_srli_epi16(x, 2));
    x = _mm256_xor_si256(x, _mm256_srli_epi16(x, 1));
    return (uint32_t)_mm256_movemask_epi8(_mm256_slli_epi16(x, 7));
}

__attribute__((target("avx2"))) static void values_avx2(const struct ribbon *r,
                                                        const struct ribbon_probe *probes,
                                                        size_t count, uint64_t *ret_values)
{
    unsigned bits = r->bits;
    bool wide = bits > 32;
    uint64_t mask = (1ull << bits) - 1;
    for (size_t i = 0; i < count; i++) {
        const unsigned char *group = probes[i].window;
        const unsigned char *coefficient = probes[i].coefficient;
        __m256i low = _mm256_setzero_si256(), high = low;
#pragma GCC unroll 17
        for (unsigned g = 0; g < RIBBON_WINDOW_GROUPS; g++, group += bits) {
            __m256i byte = _mm256_set1_epi8((char)coefficient[g]);
            __m256i rows = _mm256_loadu_si256((const __m256i *)(const void *)group);
            low = _mm256_xor_si256(low, _mm256_and_si256(rows, byte));
            if (wide) {
                rows = _mm256_loadu_si256((const __m256i *)(const void *)(group + 32));
                high = _mm256_xor_si256(high, _mm256_and_si256(rows, byte));
            }
        }
        uint64_t value = parities_avx2(low);
        if (wide)
            value |= (uint64_t)parities_avx2(high) << 32;
        ret_values[i] = value & mask;
    }
}
#endif

void ribbon_probes_values(const struct ribbon *r, const struct ribbon_probe *probes, size_t count,
                          uint64_t *ret_values)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2")) {
        values_avx2(r, probes, count, ret_values);
        return;
    }
#endif
    ribbon_values_portable(r, probes, count, ret_values);
}

uint64_t ribbon_query(const struct ribbon *r, uint64_t hash)
{
    struct ribbon_probe probe;
    uint64_t value;
    probe_init(r, hash, &probe);
    prefetch_range(probe.window, RIBBON_WINDOW_GROUPS * r->bits);
    ribbon_probes_values(r, &probe, 1, &value);
    return value;
}
