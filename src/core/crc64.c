/* CRC-64, eight bytes a step: eight tables say what each byte of a word, by its place, adds to the
 * remainder (Kounavis and Berry, "A systematic approach to building high performance software-based
 * CRC generators", 2005, section 4). The tables are made at the first call.
 *
 * Invariant: tables[k][b] is the remainder of byte b followed by k zero bytes.
 * Failure modes: none. */
#include "core/crc64.h"

#include <pthread.h>

#include "core/codec.h"

#define POLYNOMIAL 0x95ac9329ac4bc9b5ull /* 0xad93d23594c935a9, its bits reflected */

static uint64_t tables[8][256];
static pthread_once_t tables_once = PTHREAD_ONCE_INIT;

static void make_tables(void)
{
    for (unsigned i = 0; i < 256; i++) {
        uint64_t crc = i;
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ POLYNOMIAL : crc >> 1;
        tables[0][i] = crc;
    }
    for (unsigned k = 1; k < 8; k++)
        for (unsigned i = 0; i < 256; i++)
            tables[k][i] = tables[0][tables[k - 1][i] & 0xff] ^ tables[k - 1][i] >> 8;
}

static inline uint64_t eight_bytes(uint64_t word)
{
    return tables[7][word & 0xff] ^ tables[6][word >> 8 & 0xff] ^ tables[5][word >> 16 & 0xff] ^
           tables[4][word >> 24 & 0xff] ^ tables[3][word >> 32 & 0xff] ^
           tables[2][word >> 40 & 0xff] ^ tables[1][word >> 48 & 0xff] ^ tables[0][word >> 56];
}

uint64_t crc64_update(uint64_t crc, const void *data, size_t size)
{
    const unsigned char *p = data;
    pthread_once(&tables_once, make_tables);
    for (; size >= 8; size -= 8, p += 8)
        crc = eight_bytes(crc ^ load_u64le(p));
    for (; size > 0; size--, p++)
        crc = tables[0][(crc ^ *p) & 0xff] ^ crc >> 8;
    return crc;
}
