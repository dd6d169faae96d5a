/* The background of a table: frees what was taken out of it when nobody can see it any more,
 * frees expired items, evicts ahead of need, empties sparse pages. One thread a table.
 *
 * What is taken out ("retired") is collected by each session in a batch; full batches, and all at a
 * quiescent state, go to a list; the thread takes the list, waits for a grace period, frees. */
#ifndef TABLE_RECLAIM_H
#define TABLE_RECLAIM_H

#include "table/shard.h"

struct retired;

/* Start the thread. Errors: NOMEM. */
TARN_MUST int reclaim_open(struct table *t, struct reclaim **ret_reclaim);
/* Stop it; all that was retired is freed. All sessions are closed. For the calling thread, if it is
 * online, a quiescent state: the other may be waiting for it. NULL is allowed. */
void reclaim_close(struct reclaim *r);

/* Make sure that the session can retire `count` more things without failing; false: out of
 * memory. Call before taking the lock. */
bool reclaim_reserve(struct table_session *s, size_t count);
/* Retire; never fails after reclaim_reserve(). bytes: what will be free again, for the figures. */
void reclaim_add(struct table_session *s, enum retired_kind kind, void *thing, size_t bytes);
/* Hand over what the session has retired, if anything. Cheap when there is nothing. */
void reclaim_flush(struct table_session *s);

/* The session ends: hand over the rest and free its batches. */
void reclaim_session_done(struct table_session *s);

/* Memory ran short for `bytes`, the caller holds no lock: evict (retire) something if the policy
 * allows; false: there is nothing to evict. */
bool reclaim_evict(struct table_session *s, size_t bytes);
/* Wait until the thread has freed something or gone once around; the session is offline. False:
 * waiting does not help (nothing retired, nothing evictable). */
bool reclaim_wait(struct table_session *s);
/* The shard's due time was lowered: if the thread sleeps without end, it is to tick. */
void reclaim_expect(struct reclaim *r);
/* Ask for a round soon: the limit or the policy has changed, or active expiry was turned on. */
void reclaim_wake(struct reclaim *r);

struct reclaim_figures {
    uint64_t limbo_bytes;
    uint64_t expired_lag_ms;
};
void reclaim_figures_get(struct reclaim *r, struct reclaim_figures *ret_figures);

#endif
