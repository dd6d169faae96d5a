/* Which server has a key when several share the key space: Redis Cluster's hash slots. */
#ifndef BENCH_SLOT_H
#define BENCH_SLOT_H

#include "core/bytes.h"

#define SLOT_COUNT 16384

/* CRC16 (XMODEM: polynomial 0x1021, initial value 0) of the key, or of what stands between the
 * first '{' and the next '}' if that is not empty, modulo SLOT_COUNT: the Redis Cluster
 * specification, "Key distribution model" and "Hash tags". */
unsigned slot_of(struct tarn_bytes key);

/* Server number of a slot when `servers` >= 1 servers have equal, contiguous ranges, in order:
 * what `redis-cli --cluster create` deals out. */
unsigned slot_server(unsigned slot, unsigned servers);
/* The first slot of a server. */
unsigned slot_first(unsigned server, unsigned servers);

#endif
