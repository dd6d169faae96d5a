/* CRC-64 with the Jones polynomial, reflected, beginning with 0, as Redis's payloads carry it. It
 * finds damage, not forgery. */
#ifndef CORE_CRC64_H
#define CORE_CRC64_H

#include <stddef.h>
#include <stdint.h>

/* The checksum of the bytes that gave `crc` (at first 0) followed by these. */
uint64_t crc64_update(uint64_t crc, const void *data, size_t size);

#endif
