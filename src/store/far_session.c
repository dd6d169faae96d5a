/* A session of a store whose data file is on disk: what it sees, and how it waits.
 *
 * How: between two quiescent states a session sees one version. It has a session of that version's
 * cache, exchanged when another version is seen; the old cache is closed by somebody who may wait.
 *
 * Invariants: (1) `cache` and `table` are of one version, cache_version; (2) as long as `joined` is
 * over 0 the session has a descriptor by which it is woken.
 * Failure modes: no memory for a session of the cache: nothing is cached for this session. */
#include <errno.h>
#include <stdlib.h>

#include "core/assert.h"
#include "store/far.h"

int far_session_open(struct far *far, struct far_session **ret_session)
{
    struct far_session *s = calloc(1, sizeof *s);
    if (s == NULL)
        return TARN_NOMEM;
    s->far = far;
    s->touches = true;
    s->waiting_last = &s->waiting;
    s->calls_last = &s->calls;
    pthread_mutex_lock(&far->list_lock);
    s->next = far->sessions;
    s->link = &far->sessions;
    if (s->next != NULL)
        s->next->link = &s->next;
    far->sessions = s;
    pthread_mutex_unlock(&far->list_lock);
    far_charge(far, sizeof *s);
    *ret_session = s;
    return TARN_OK;
}

/* The last to let go of a cache leaves it to be closed. */
static void let_go_of_cache(struct far_session *s)
{
    struct cache *cache = s->cache;
    struct far *far = s->far;
    table_session_close(s->table);
    s->table = NULL;
    s->cache = NULL;
    if (cache == NULL ||
        atomic_fetch_sub_explicit(&cache->references, 1, memory_order_acq_rel) != 1)
        return;
    pthread_mutex_lock(&far->list_lock);
    cache->next = far->retired;
    far->retired = cache;
    pthread_mutex_unlock(&far->list_lock);
}

static void take_cache(struct far_session *s, struct far_version *version)
{
    let_go_of_cache(s);
    s->cache_version = version->number;
    if (table_session_open(version->cache->table, &s->table) != TARN_OK) {
        s->table = NULL;
        s->cache_version = 0; /* it is tried again */
        return;
    }
    table_session_touches(s->table, s->touches);
    atomic_fetch_add_explicit(&version->cache->references, 1, memory_order_relaxed);
    s->cache = version->cache;
}

struct far_version *far_version(struct far_session *s)
{
    if (s->seen == NULL) {
        s->seen = atomic_load_explicit(&s->far->current, memory_order_acquire);
        if (__builtin_expect(s->cache_version != s->seen->number, 0))
            take_cache(s, s->seen);
    }
    return s->seen;
}

void far_session_quiescent(struct far_session *s)
{
    s->seen = NULL;
    if (s->leaving != NULL)
        far_kept_quiescent(s);
    if (s->table != NULL)
        table_session_quiescent(s->table);
}

void far_session_touches(struct far_session *s, bool touches)
{
    s->touches = touches;
    if (s->table != NULL)
        table_session_touches(s->table, touches);
}

/* --- waiting --- */

bool far_tell(struct far_session *s)
{
    if (!s->told && far_ring_open(s) == 0)
        s->told = ring_fd(s->ring) >= 0;
    return s->told;
}

void far_poll(struct far_session *s)
{
    if (s->told) {
        ring_quiet(s->ring);
        far_take_inbox(s);
    }
    far_io_poll(s);
}

void far_wait(struct far_session *s)
{
    if (s->failed != NULL)
        return;
    ring_wait(s->ring, s->joined > 0);
}

/* --- closing --- */

static void leave_all(struct far_session *s)
{
    for (size_t i = 0; i < s->map_size; i++)
        for (struct kept *k = s->map[i]; k != NULL; k = k->chain)
            if (k->state == KEPT_PENDING)
                far_miss_leave(s, k);
}

/* What it counted stays in the store's figures. */
static void unlist(struct far_session *s)
{
    struct far *far = s->far;
    struct histogram *latency = atomic_load(&s->latency);
    _Atomic uint64_t *from = (_Atomic uint64_t *)&s->counters, *to = (_Atomic uint64_t *)&far->past;
    pthread_mutex_lock(&far->list_lock);
    for (size_t i = 0; i < FAR_COUNTERS; i++)
        far_count(&to[i], atomic_load_explicit(&from[i], memory_order_relaxed));
    if (latency != NULL && far->past_latency != NULL)
        histogram_merge(far->past_latency, latency);
    *s->link = s->next;
    if (s->next != NULL)
        s->next->link = s->link;
    pthread_mutex_unlock(&far->list_lock);
    histogram_free(latency);
}

void far_session_close(struct far_session *s)
{
    if (s == NULL)
        return;
    far_fetch_done(s);
    leave_all(s);
    far_miss_drop(s);
    while (s->in_flight > 0 || s->failed != NULL) { /* of streams closed under way */
        far_wait(s);
        far_poll(s);
    }
    ASSERT(s->joined == 0);
    far_kept_done(s);
    far_io_done(s);
    let_go_of_cache(s);
    disk_buffer_done(&s->buffer);
    unlist(s);
    far_charge(s->far, -(int64_t)sizeof *s);
    free(s);
}
