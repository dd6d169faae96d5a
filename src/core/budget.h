/* A budget of memory: how many bytes may be in use, and how many are. Shared by all threads.
 *
 * Taking is refused over the limit; charging is for memory that is in use already, and may go over
 * it (then taking is refused until enough is given back). */
#ifndef CORE_BUDGET_H
#define CORE_BUDGET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct budget {
    _Atomic uint64_t used;
    _Atomic uint64_t limit; /* 0: none */
};

static inline uint64_t budget_used(const struct budget *b)
{
    return atomic_load_explicit(&b->used, memory_order_relaxed);
}

static inline uint64_t budget_limit(const struct budget *b)
{
    return atomic_load_explicit(&b->limit, memory_order_relaxed);
}

static inline void budget_charge(struct budget *b, uint64_t bytes)
{
    atomic_fetch_add_explicit(&b->used, bytes, memory_order_relaxed);
}

static inline void budget_give(struct budget *b, uint64_t bytes)
{
    atomic_fetch_sub_explicit(&b->used, bytes, memory_order_relaxed);
}

/* Take so many bytes if they fit and `rest` bytes stay to be taken by others. */
static inline bool budget_take_leaving(struct budget *b, uint64_t bytes, uint64_t rest)
{
    uint64_t limit = budget_limit(b), wanted = bytes + rest;
    uint64_t used = atomic_fetch_add_explicit(&b->used, bytes, memory_order_relaxed);
    if (limit == 0 || (used <= limit && wanted <= limit - used))
        return true;
    budget_give(b, bytes);
    return false;
}

static inline bool budget_take(struct budget *b, uint64_t bytes)
{
    return budget_take_leaving(b, bytes, 0);
}

#endif
