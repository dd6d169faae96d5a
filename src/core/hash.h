/* Hashing of keys: XXH3-64 with a random 192-byte secret, so that nobody who does not know the
 * secret can construct colliding keys (xxHash #1127: the default secret has colliding pairs). */
#ifndef CORE_HASH_H
#define CORE_HASH_H

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "core/bytes.h"

#define HASH_SECRET_BYTES 192

static inline uint64_t hash_key(const unsigned char secret[HASH_SECRET_BYTES],
                                struct tarn_bytes key)
{
    return XXH3_64bits_withSecret(key.data, key.size, secret, HASH_SECRET_BYTES);
}

/* Checksum of stored bytes: XXH3-64 with the default secret and this seed. */
static inline uint64_t hash_checksum(const void *data, size_t size, uint64_t seed)
{
    return XXH3_64bits_withSeed(data, size, seed);
}

#endif
