/* The background's parts and what they share. Private to reclaim.c, retire.c, expire.c, evict.c,
 * compact.c and their tests.
 *
 * All work is done in rounds, by the thread, or by a test that has stopped it. A round works on
 * the table through a session of its own. It needs no registration with core/qsbr.h: what it looks
 * at it reaches under a shard's lock, or only a round could free it. */
#ifndef TABLE_RECLAIM_INTERNAL_H
#define TABLE_RECLAIM_INTERNAL_H

#include <pthread.h>

#include "table/compact.h"
#include "table/evict.h"
#include "table/expire.h"
#include "table/reclaim.h"

/* Things taken out: an address and, in its low bits, an enum retired_kind each. */
struct retired {
    struct retired *next;
    uint64_t bytes; /* what will be free; without the items of arrays */
    uint32_t count, capacity;
    uintptr_t things[];
};

#define RETIRED_KIND_MASK 3u

/* Charged at opening for batches, so that with the cap reached something can still be taken out:
 * all of the pool, and a flush. More is charged when it is needed. */
#define RETIRE_ALLOWANCE_BYTES (256u << 10)

/* What was handed over; guarded by the lock of struct reclaim but for the atomics. */
struct limbo {
    struct retired *filling; /* small batches are gathered here; may be NULL */
    struct retired *full;    /* to be freed after a grace period */
    struct retired *pool;    /* empty, for sessions */
    unsigned pool_count;
    _Atomic uint64_t batch_bytes; /* of all batches */
    _Atomic uint64_t bytes;       /* in filling, full and freeing */
    _Atomic uint64_t array_items; /* items of arrays there, whose bytes nobody has counted */
    /* of the rounds alone: after their grace period, being freed */
    struct retired *freeing;
    uint32_t freeing_thing;  /* the next thing of its first batch */
    uint32_t freeing_bucket; /* the next bucket of that thing, an array with items */
};

struct reclaim {
    struct table *table;
    struct table_session *session; /* of the rounds */

    pthread_mutex_t lock; /* the last in the order of locks */
    pthread_cond_t wake, progress;
    pthread_t thread;
    bool runs;   /* there is a thread */
    bool sleeps; /* it waits for `wake` */
    bool asked;  /* a round is wanted at once */
    bool stop;
    unsigned waiters;
    uint64_t rounds_begun, rounds_done;
    uint64_t freed; /* steps of freeing, for the waiters */

    _Atomic bool idle;           /* sleeps without end: tell it of anything new */
    _Atomic uint64_t wake_limbo; /* wake it from so many bytes in limbo on ... */
    _Atomic uint64_t wake_used;  /* ... or in use */
    /* The most that somebody failed to get, and how often somebody waited in vain before; 0: nobody
     * did. */
    _Atomic uint64_t short_bytes, short_waits;

    /* of the rounds alone */
    uint64_t round_short_bytes; /* short_bytes when this round began */
    unsigned round_waits;       /* short_waits likewise */
    uint64_t calm_used;         /* bytes in use when the last round ended */
    unsigned calm_ms;           /* sleep near the limit: more while nothing happens */
    uint64_t large_bytes_most;  /* in large items, since malloc last gave anything back */
    uint64_t trims;             /* how often it did */

    struct limbo limbo;
    struct expire expire;
    struct evict evict;
    struct compact compact;
};

/* End the thread, if there is one; rounds can be called then. A quiescent state of the calling
 * thread: the other may be waiting for it. */
void reclaim_stop(struct reclaim *r);

/* One round: bounded work of each kind, then a grace period if anything waits for one, then
 * freeing. Returns true if there is more to do at once. */
bool reclaim_round(struct reclaim *r);

/* --- trim.c --- */

/* See how many bytes large items take; returns by how many less than they did. */
uint64_t trim_note(struct reclaim *r);
/* Have malloc give back what it keeps of them, if it is much; or, when all is freed, if it is worth
 * it. */
void trim_step(struct reclaim *r);
void trim_rest(struct reclaim *r);

/* --- retire.c --- */

/* Free some of what was handed over before the grace period that has just passed: at most
 * items_max items. False: nothing is left. */
bool retire_free(struct reclaim *r, size_t items_max);
/* Make what has been handed over wait for the next grace period. False: there is nothing. */
bool retire_take(struct reclaim *r);
/* What would be free if all that was handed over were; items of flushed arrays at their mean. */
uint64_t retire_limbo_bytes(const struct reclaim *r);
void retire_done(struct reclaim *r); /* free everything; nobody looks any more */

/* Ask for a round at once; r->lock is held. */
void reclaim_ask_locked(struct reclaim *r);

#endif
