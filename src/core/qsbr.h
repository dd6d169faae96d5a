/* Quiescent-state-based reclamation: liburcu's QSBR flavour behind a few names.
 *
 * A registered thread is online: what it has read from shared structures stays until it passes
 * qsbr_quiescent() or qsbr_offline(). qsbr_wait() returns when every thread that was online has
 * done so. Registration counts, so several owners on one thread may register it.
 *
 * Source: Desnoyers, McKenney et al., "User-level implementations of read-copy update" (2012). */
#ifndef CORE_QSBR_H
#define CORE_QSBR_H

#define URCU_INLINE_SMALL_FUNCTIONS
#include <urcu/urcu-qsbr.h>

#if defined(__SANITIZE_THREAD__)
/* liburcu's barriers are inline assembly, which ThreadSanitizer does not see. */
void __tsan_acquire(void *address);
void __tsan_release(void *address);
void *qsbr_tsan_tag(void);
#define QSBR_TSAN_RELEASE() __tsan_release(qsbr_tsan_tag())
#define QSBR_TSAN_ACQUIRE() __tsan_acquire(qsbr_tsan_tag())
#else
#define QSBR_TSAN_RELEASE() ((void)0)
#define QSBR_TSAN_ACQUIRE() ((void)0)
#endif

void qsbr_register(void);   /* this thread; the first time it comes out online */
void qsbr_unregister(void); /* undoes one qsbr_register() */

static inline void qsbr_quiescent(void)
{
    QSBR_TSAN_RELEASE();
    urcu_qsbr_quiescent_state();
}

static inline void qsbr_offline(void)
{
    QSBR_TSAN_RELEASE();
    urcu_qsbr_thread_offline();
}

static inline void qsbr_online(void)
{
    urcu_qsbr_thread_online();
}

/* Wait for a grace period. Any thread; one that is online counts as quiescent meanwhile. */
static inline void qsbr_wait(void)
{
    urcu_qsbr_synchronize_rcu();
    QSBR_TSAN_ACQUIRE();
}

#endif
