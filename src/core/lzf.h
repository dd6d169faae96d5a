/* Unpacking what LibLZF packed: Redis's payloads hold long strings so. */
#ifndef CORE_LZF_H
#define CORE_LZF_H

#include "core/bytes.h"

/* No packed string unpacks to more than this times its size. */
#define LZF_RATIO_MAX 88

/* Unpack into out. True if the bytes are well-formed and give exactly `size` bytes; else what lies
 * in out is garbage. */
bool lzf_unpack(struct tarn_bytes packed, void *out, size_t size);

#endif
