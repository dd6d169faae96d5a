/* See lock.h. Yielding comes early: on a machine with fewer cores than threads the owner may be
 * waiting for this very core. */
#include "core/lock.h"

#include <sched.h>
#include <time.h>

#define SPINS    64
#define YIELDS   256
#define SLEEP_NS 50000

static int is_taken(struct lock *lock)
{
    return atomic_load_explicit(&lock->taken, memory_order_relaxed) != 0;
}

void lock_wait(struct lock *lock)
{
    for (int i = 0; i < SPINS && is_taken(lock); i++)
        __builtin_ia32_pause();
    for (int i = 0; i < YIELDS && is_taken(lock); i++)
        sched_yield();
    while (is_taken(lock))
        (void)nanosleep(&(struct timespec){.tv_nsec = SLEEP_NS}, NULL);
}
