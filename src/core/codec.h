/* Integers to and from bytes, of stated width and endianness, at any alignment. */
#ifndef CORE_CODEC_H
#define CORE_CODEC_H

#include <stdint.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "tarn is written for little-endian machines"
#endif

static inline uint16_t load_u16le(const void *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline uint32_t load_u32le(const void *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline uint64_t load_u64le(const void *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline void store_u16le(void *p, uint16_t v)
{
    memcpy(p, &v, sizeof v);
}
static inline void store_u32le(void *p, uint32_t v)
{
    memcpy(p, &v, sizeof v);
}
static inline void store_u64le(void *p, uint64_t v)
{
    memcpy(p, &v, sizeof v);
}
static inline uint16_t load_u16be(const void *p)
{
    return __builtin_bswap16(load_u16le(p));
}
static inline uint32_t load_u32be(const void *p)
{
    return __builtin_bswap32(load_u32le(p));
}
static inline uint64_t load_u64be(const void *p)
{
    return __builtin_bswap64(load_u64le(p));
}
static inline void store_u16be(void *p, uint16_t v)
{
    store_u16le(p, __builtin_bswap16(v));
}
static inline void store_u32be(void *p, uint32_t v)
{
    store_u32le(p, __builtin_bswap32(v));
}
static inline void store_u64be(void *p, uint64_t v)
{
    store_u64le(p, __builtin_bswap64(v));
}

#define VARINT_BYTES_MAX 10

/* LEB128, as in protobuf: 7 bits a byte, low group first, high bit = more follows. */
static inline size_t store_varint(void *out, uint64_t v)
{
    unsigned char *p = out;
    size_t n = 0;
    while (v >= 0x80) {
        p[n++] = (unsigned char)(v | 0x80);
        v >>= 7;
    }
    p[n++] = (unsigned char)v;
    return n;
}

/* Bytes taken (1..10), 0 if the bytes end within the number, -1 if it overflows 64 bits. */
static inline int load_varint(const void *data, size_t size, uint64_t *ret_value)
{
    const unsigned char *p = data;
    uint64_t v = 0;
    for (size_t i = 0; i < size && i < VARINT_BYTES_MAX; i++) {
        if (i == 9 && p[i] > 1)
            return -1;
        v |= (uint64_t)(p[i] & 0x7f) << (7 * i);
        if (p[i] < 0x80) {
            *ret_value = v;
            return (int)(i + 1);
        }
    }
    return size >= VARINT_BYTES_MAX ? -1 : 0;
}

#endif
