/* What a fault program says of a kind of test at its end, for script/fault to collect: how many
 * points were tried, how many of them lost what had to stay, how many showed something wrong (a
 * value that never was, a store that does not open, a crash, a hang). */
#ifndef LIB_FAULT_LINE_H
#define LIB_FAULT_LINE_H

#include <inttypes.h>
#include <stdio.h>

static inline void fault_line(const char *kind, uint64_t points, uint64_t losses, uint64_t wrong)
{
    printf("fault: %s\tpoints %" PRIu64 "\tlosses %" PRIu64 "\twrong %" PRIu64 "\n", kind, points,
           losses, wrong);
}

static inline void fault_skipped(const char *kind, const char *reason)
{
    printf("fault: %s\tskipped: %s\n", kind, reason);
}

#endif
