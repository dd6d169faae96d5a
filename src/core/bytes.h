/* Byte views: small inline helpers on struct tarn_bytes, which is a borrowed (pointer, size). */
#ifndef CORE_BYTES_H
#define CORE_BYTES_H

#include <string.h>

#include "tarn.h"

/* A view of a NUL-terminated string, without the NUL. */
static inline struct tarn_bytes bytes_of(const char *text)
{
    return (struct tarn_bytes){text, strlen(text)};
}

static inline bool bytes_equal(struct tarn_bytes a, struct tarn_bytes b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* Equality without regard to ASCII case; `word` is NUL-terminated. */
static inline bool bytes_equal_nocase(struct tarn_bytes a, const char *word)
{
    const unsigned char *p = a.data;
    for (size_t i = 0; i < a.size; i++) {
        unsigned char x = p[i], y = (unsigned char)word[i];
        if (y == 0)
            return false;
        if (x >= 'A' && x <= 'Z')
            x |= 0x20;
        if (y >= 'A' && y <= 'Z')
            y |= 0x20;
        if (x != y)
            return false;
    }
    return word[a.size] == 0;
}

#endif
