/* Asking the processor to fetch memory that will be read soon. Any address is allowed: a hint never
 * faults. */
#ifndef CORE_PREFETCH_H
#define CORE_PREFETCH_H

#include <stddef.h>

#define CACHE_LINE_BYTES 64

/* Always inlined: GCC 12 takes a function of nothing but prefetches for one without effects and
 * drops calls to it. */
static inline __attribute__((always_inline)) void prefetch_line(const void *address)
{
    __builtin_prefetch(address);
}

/* Every line of size >= 1 bytes from start. */
static inline __attribute__((always_inline)) void prefetch_range(const void *start, size_t size)
{
    const char *first = start, *last = first + size - 1;
    for (const char *line = first; line < last; line += CACHE_LINE_BYTES)
        prefetch_line(line);
    prefetch_line(last);
}

#endif
