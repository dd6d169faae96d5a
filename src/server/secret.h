/* Comparing passwords. */
#ifndef SERVER_SECRET_H
#define SERVER_SECRET_H

#include "core/bytes.h"

/* Are they the same bytes? The time taken depends on given.size alone: not on where the bytes
 * differ, nor on how long the wanted ones are. An empty `wanted` equals only an empty `given`. */
static inline bool secret_equal(struct tarn_bytes given, struct tarn_bytes wanted)
{
    const volatile unsigned char *a = given.data;
    const volatile unsigned char *b = wanted.data;
    volatile unsigned char difference = given.size != wanted.size;
    for (size_t i = 0, j = 0; i < given.size; i++) {
        difference |= (unsigned char)(a[i] ^ (wanted.size > 0 ? b[j] : 0));
        j = j + 1 < wanted.size ? j + 1 : 0;
    }
    return difference == 0;
}

#endif
