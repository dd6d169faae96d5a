/* A session's insides: what the calls of tarn.h have in common. Private to the store folder.
 *
 * A session is of one kind: of a table, of a data file on disk, or of a pack in memory. Whoever
 * asks for its part of a kind gets NULL if it is of another, and else may have views from then on,
 * until the session is quiescent. */
#ifndef STORE_SESSION_H
#define STORE_SESSION_H

#include "store/durable.h"
#include "store/far.h"
#include "store/store_internal.h"

/* Reclamation knows threads, not sessions, so a thread with several sessions is quiescent only
 * when none of them has anything in view, and offline only when all are. */
struct thread_sessions {
    unsigned online;  /* sessions that are */
    unsigned viewing; /* sessions that may have views */
};
extern _Thread_local struct thread_sessions thread_sessions;

/* For any thread, with or without a session, which looks at what is served for a moment. */
void session_look_briefly(void);
void session_look_away_again(void);

/* There may be views from now on. */
static inline void session_look(struct tarn_session *session)
{
    if (!session->viewing) {
        session->viewing = true;
        thread_sessions.viewing++;
    }
}

/* The version this session sees: one and the same between two quiescent states, so that a pin is
 * on the version from which the values of this turn came, also when a reload swaps meanwhile. */
static inline struct pack *session_pack(struct tarn_session *session)
{
    if (session->seen == NULL) {
        session_look(session);
        session->seen = atomic_load_explicit(&session->store->current, memory_order_acquire);
    }
    return session->seen;
}

/* The session's table if it has one, else NULL: then session_pack() is to be asked. */
static inline struct table_session *session_table(struct tarn_session *session)
{
    if (session->table != NULL)
        session_look(session);
    return session->table;
}

/* The same for a data file on disk. */
static inline struct far_session *session_far(struct tarn_session *session)
{
    if (session->far != NULL)
        session_look(session);
    return session->far;
}

/* Wait for durability, where there is any. */
static inline int session_settle(struct tarn_session *session, int status)
{
    return __builtin_expect(session->durable == NULL, 1) ? status : durable_settle(session, status);
}

/* What cannot be told for certain is told as it is in memory: see tarn.h. */
static inline size_t session_settle_count(struct tarn_session *session, size_t count)
{
    (void)session_settle(session, TARN_OK);
    return count;
}

/* What comes before a change: TARN_OK if it may be made. */
static inline int session_admit(struct tarn_session *session, const struct table_session *table)
{
    if (table == NULL)
        return TARN_READONLY;
    return __builtin_expect(session->durable == NULL, 1) ? TARN_OK : durable_admit(session);
}

#endif
