/* Making memory out of free slots: emptying sparse pages, and arrays smaller that have lost most of
 * their items. Private to the background (reclaim_internal.h). */
#ifndef TABLE_COMPACT_H
#define TABLE_COMPACT_H

#include <stdbool.h>
#include <stdint.h>

struct reclaim;

struct compact {
    unsigned pages_count;
};

static inline bool compact_step(struct reclaim *r)
{
    (void)r;
    return false;
}
static inline void compact_freed(struct reclaim *r)
{
    (void)r;
}
static inline void compact_done(struct reclaim *r)
{
    (void)r;
}
static inline bool compact_wants_grace(const struct compact *c)
{
    return c->pages_count > 0;
}
static inline bool compact_advances(const struct compact *c)
{
    return c->pages_count > 0;
}

#endif
