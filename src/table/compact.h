/* Making memory out of free slots: emptying sparse pages, and making arrays smaller that have lost
 * most of their items. Private to the background (reclaim_internal.h). */
#ifndef TABLE_COMPACT_H
#define TABLE_COMPACT_H

#include <stdbool.h>
#include <stdint.h>

#include "table/slab.h"

#define COMPACT_PAGES 16u /* being emptied at a time, 1 MiB */

struct reclaim;

/* The rounds' alone, but for the atomics. */
struct compact {
    struct slab_page *chosen[COMPACT_PAGES]; /* to be emptied after a grace period */
    struct slab_page *moved[COMPACT_PAGES];  /* emptied; what was in them is still to be freed */
    unsigned chosen_count, moved_count;
    uint64_t page_bytes;   /* in use when pages were last chosen */
    uint32_t shrink_shard; /* where shrinking goes on */
    bool shrinks;          /* arrays are too large for what they hold */
    _Atomic bool advances; /* anything of the above */
    _Atomic bool vain;     /* no page could be chosen, and nothing was freed since */
};

/* Move the items out of the pages chosen before. */
void compact_move(struct reclaim *r);
/* All that was retired before is free: give the pages back. */
void compact_freed(struct reclaim *r);
/* Choose pages to be emptied by the next round, if that is worth while, and make some arrays
 * smaller. True: memory is short and this helps, go on at once. */
bool compact_choose(struct reclaim *r);
void compact_done(struct reclaim *r); /* at closing */

/* Is memory being made? Any thread. */
static inline bool compact_advances(const struct compact *c)
{
    return atomic_load_explicit(&c->advances, memory_order_relaxed);
}

/* Would trying to make memory be in vain? Any thread. */
static inline bool compact_is_vain(const struct compact *c)
{
    return atomic_load_explicit(&c->vain, memory_order_relaxed);
}

#endif
