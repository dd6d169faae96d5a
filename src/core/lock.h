/* A lock for what takes well under a microsecond: one locked instruction to take it, none to give
 * it back, where a mutex needs two (some 20 ns each). Whoever finds it taken spins for a moment,
 * then lets others run, and sleeps when it takes long. Not recursive, not fair. A zeroed one is
 * free. */
#ifndef CORE_LOCK_H
#define CORE_LOCK_H

#include <stdatomic.h>
#include <stdint.h>

struct lock {
    _Atomic uint32_t taken;
};

/* The slow way: somebody else has it. */
void lock_wait(struct lock *lock);

static inline void lock_take(struct lock *lock)
{
    while (__builtin_expect(atomic_exchange_explicit(&lock->taken, 1, memory_order_acquire), 0))
        lock_wait(lock);
}

static inline void lock_give(struct lock *lock)
{
    atomic_store_explicit(&lock->taken, 0, memory_order_release);
}

#endif
