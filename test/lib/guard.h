/* Bytes that end (or begin) exactly at an unreadable page, so that one byte too many read by a
 * parser is a fault and not luck. */
#ifndef LIB_GUARD_H
#define LIB_GUARD_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tarn.h"

struct guard {
    unsigned char *map;
    size_t map_size;
    size_t capacity; /* readable bytes between the two unreadable pages */
};

static inline struct guard guard_new(size_t capacity)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    struct guard g = {.capacity = (capacity + page - 1) / page * page};
    if (g.capacity == 0)
        g.capacity = page;
    g.map_size = g.capacity + 2 * page;
    g.map = mmap(NULL, g.map_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (g.map == MAP_FAILED || mprotect(g.map, page, PROT_NONE) != 0 ||
        mprotect(g.map + page + g.capacity, page, PROT_NONE) != 0)
        abort();
    return g;
}

static inline void guard_free(struct guard *g)
{
    munmap(g->map, g->map_size);
}

/* A copy of the bytes whose end is the end of the readable memory; valid until the next call. */
static inline struct tarn_bytes guard_end(struct guard *g, const void *data, size_t size)
{
    if (size > g->capacity)
        abort();
    unsigned char *at = g->map + (g->map_size - g->capacity) / 2 + g->capacity - size;
    if (size > 0)
        memcpy(at, data, size);
    return (struct tarn_bytes){at, size};
}

/* A copy of the bytes whose start is the start of the readable memory. */
static inline struct tarn_bytes guard_start(struct guard *g, const void *data, size_t size)
{
    if (size > g->capacity)
        abort();
    unsigned char *at = g->map + (g->map_size - g->capacity) / 2;
    if (size > 0)
        memcpy(at, data, size);
    return (struct tarn_bytes){at, size};
}

#endif
