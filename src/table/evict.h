/* Taking out items to stay within the memory limit. Private to the background
 * (reclaim_internal.h). */
#ifndef TABLE_EVICT_H
#define TABLE_EVICT_H

#include <stdbool.h>
#include <stdint.h>

#include "table/shard.h"

struct reclaim;

/* Shared by all who evict. */
struct evict {
    _Atomic uint32_t next;   /* shard whose turn it is */
    _Atomic uint64_t random; /* state of the random numbers */
};

/* Take out items by the policy, at least `bytes` of them if possible, from at most visits_max
 * shards. The session holds no lock; what it has reserved it keeps. Returns the bytes. Any thread.
 */
uint64_t evict_some(struct table_session *s, uint64_t bytes, unsigned visits_max);

/* Could so many bytes be had within the limit if all items went? */
bool evict_could_hold(const struct table *t, uint64_t bytes);

/* Take out one item if the policy allows that; reclaim_reserve(s, 1) was done. */
void evict_one_locked(struct table_session *s, uint32_t shard, struct position position);

/* Does the policy allow to take out anything that is there? */
bool evict_possible(const struct table *t);

/* The memory limit as far as it is not left to arrays, bytes; 0: there is none. */
uint64_t evict_limit(const struct table *t);
/* How much of such a limit is to be kept ready. */
uint64_t evict_reserve(uint64_t limit);
/* Free slots in pages of items, bytes. */
uint64_t evict_free_slots(const struct table *t);

/* Evict ahead of need: a bounded part of what is missing of the reserve. True: there is more to do
 * at once. */
bool evict_step(struct reclaim *r);

#endif
