/* Finding and taking out what has expired. Private to the background (reclaim_internal.h). */
#ifndef TABLE_EXPIRE_H
#define TABLE_EXPIRE_H

#include <stdbool.h>
#include <stdint.h>

#include "table/bucket.h"

struct reclaim;
struct table;

/* Where sweeping stands; the rounds' alone, but for the atomics. */
struct expire {
    uint32_t shard, bucket; /* where a pass that is not through goes on */
    bool through;           /* the pass of `unit` is */
    bool everything;        /* look at all buckets: due times may have wrapped */
    due_time unit;          /* the time of the last pass, as due times are kept */
    int64_t pass_ms;        /* when the last pass began */
    /* Expiry of the oldest item taken out by this round; and of those waiting to be freed. 0: none
     */
    _Atomic int64_t oldest_swept_ms, oldest_limbo_ms;
};

void expire_init(struct reclaim *r);

/* Sweep: once a DUE_UNIT_MS through all shards that are due, a bounded number of items a call.
 * True: there is more to do at once. */
bool expire_step(struct reclaim *r);
/* What was swept waits for a grace period; all that waited is free. */
void expire_taken(struct reclaim *r);
void expire_freed(struct reclaim *r);

/* Set the shard's earliest due time from its buckets'. */
void expire_renew_first_locked(struct table *t, uint32_t shard, const struct array *array,
                               due_time now);

/* Does anything expire, some time? */
bool expire_expects(const struct table *t);
/* Age of the oldest expired item that is known and not yet freed, ms; 0: none. */
uint64_t expire_lag_ms(struct reclaim *r);

#endif
