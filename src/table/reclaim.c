/* The background: its thread, its rounds, and waiting for it.
 *
 * How: a round sweeps, evicts, compacts; then takes all that was handed over, waits for a grace
 * period, and frees. The thread makes rounds as long as there is more to do, else it sleeps:
 * TICK_MS while anything expires or is in limbo, less near the memory limit and while pages are
 * being emptied, without end when there is nothing. It is woken when much is in limbo, when memory
 * is short, when settings change.
 *
 * Invariants
 * 1. Only rounds free what was published, and there is one at a time.
 * 2. The thread is not registered with core/qsbr.h, so it never waits for itself.
 * 3. Who sees `idle` set after a change wakes the thread; who sets it looks for changes after that
 *    (all sequentially consistent): no change is slept through.
 * Lock order: r->lock comes last; nothing is called with it held.
 * Failure modes: opening; later, work that needs memory is left for the next tick. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "core/qsbr.h"
#include "table/reclaim_internal.h"

#define TICK_MS         100u
#define COMPACT_MS      10u          /* between rounds that move items */
#define WAKE_LIMBO      (256u << 10) /* at most: so much memory waits to be used again */
#define ROUND_ITEMS     65536u       /* freed in one round: some 10 ms */
#define STEP_ITEMS      4096u        /* freed before waiters are told */
#define FOREVER         UINT32_MAX
#define EVICT_BYTES_MAX (1u << 20) /* by a writer itself, from at most so many shards */
#define EVICT_VISITS    128u
#define WAITS_MAX       32u /* of one session in a row, where evicting helps ... */
#define WAITS_MAX_PLAIN 3u  /* ... and where only what was deleted is waited for */

/* --- waking --- */

void reclaim_ask_locked(struct reclaim *r)
{
    r->asked = true;
    if (r->sleeps)
        pthread_cond_signal(&r->wake);
}

void reclaim_wake(struct reclaim *r)
{
    pthread_mutex_lock(&r->lock);
    reclaim_ask_locked(r);
    pthread_mutex_unlock(&r->lock);
}

void reclaim_expect(struct reclaim *r)
{
    if (atomic_load_explicit(&r->idle, memory_order_seq_cst))
        reclaim_wake(r);
}

/* --- rounds --- */

static void tell_progress(struct reclaim *r)
{
    pthread_mutex_lock(&r->lock);
    r->freed++;
    if (r->waiters > 0)
        pthread_cond_broadcast(&r->progress);
    pthread_mutex_unlock(&r->lock);
}

/* Free what may be; true: something is left. */
static bool free_part(struct reclaim *r)
{
    bool left = r->limbo.freeing != NULL;
    for (unsigned freed = 0; left && freed < ROUND_ITEMS; freed += STEP_ITEMS) {
        left = retire_free(r, STEP_ITEMS);
        tell_progress(r);
    }
    if (!left) {
        expire_freed(r);
        compact_freed(r);
    }
    return left;
}

static void begin_round(struct reclaim *r)
{
    (void)trim_note(r);
    pthread_mutex_lock(&r->lock);
    r->rounds_begun++;
    pthread_mutex_unlock(&r->lock);
    r->round_short_bytes = atomic_exchange_explicit(&r->short_bytes, 0, memory_order_relaxed);
    r->round_waits = (unsigned)atomic_exchange_explicit(&r->short_waits, 0, memory_order_relaxed);
}

static void end_round(struct reclaim *r)
{
    pthread_mutex_lock(&r->lock);
    r->rounds_done++;
    pthread_cond_broadcast(&r->progress);
    pthread_mutex_unlock(&r->lock);
}

bool reclaim_round(struct reclaim *r)
{
    begin_round(r);
    bool more = expire_step(r);
    more |= evict_step(r);
    compact_move(r);
    reclaim_flush(r->session);
    bool taken = retire_take(r);
    if (taken) {
        qsbr_wait();
        expire_taken(r);
        atomic_store_explicit(&r->compact.vain, false, memory_order_relaxed);
    }
    more |= free_part(r);
    more |= compact_choose(r);
    end_round(r);
    if (!more)
        trim_rest(r);
    return more;
}

/* --- sleeping --- */

/* How long to sleep near the limit: a millisecond while memory comes and goes, more and more when
 * it does not. */
static unsigned calm_ms(struct reclaim *r, uint64_t used)
{
    if (used != r->calm_used)
        r->calm_ms = 1;
    else if (r->calm_ms < TICK_MS)
        r->calm_ms *= 2;
    r->calm_used = used;
    return r->calm_ms;
}

/* Set what wakes the thread, and return how long it may sleep until then, ms. */
static unsigned plan_sleep(struct reclaim *r)
{
    struct table *t = r->table;
    uint64_t limit = evict_limit(t), used = budget_used(&t->budget);
    uint64_t reserve = evict_reserve(limit), wake_used = UINT64_MAX;
    unsigned delay = FOREVER;
    if (limit != 0 && evict_possible(t)) {
        wake_used = limit > reserve ? limit - reserve : 0;
        if (used >= wake_used) {
            wake_used = UINT64_MAX;
            delay = calm_ms(r, used);
        }
    }
    atomic_store_explicit(&r->wake_used, wake_used, memory_order_relaxed);
    uint64_t wake_limbo = limit != 0 && reserve / 4 < WAKE_LIMBO ? reserve / 4 : WAKE_LIMBO;
    atomic_store_explicit(&r->wake_limbo, wake_limbo, memory_order_relaxed);
    if (delay > COMPACT_MS && compact_advances(&r->compact))
        delay = COMPACT_MS;
    return delay;
}

/* Is there anything to come back for at the next tick? */
static bool expects_anything(const struct reclaim *r)
{
    return atomic_load_explicit(&r->limbo.bytes, memory_order_relaxed) > 0 ||
           expire_expects(r->table);
}

static struct timespec deadline(unsigned delay_ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += delay_ms / 1000;
    until.tv_nsec += (long)(delay_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    return until;
}

static void sleep_locked(struct reclaim *r, unsigned delay_ms)
{
    if (delay_ms > TICK_MS) {
        atomic_store_explicit(&r->idle, true, memory_order_seq_cst);
        if (expects_anything(r)) {
            atomic_store_explicit(&r->idle, false, memory_order_relaxed);
            delay_ms = TICK_MS;
        }
    }
    struct timespec until = deadline(delay_ms == FOREVER ? 0 : delay_ms);
    r->sleeps = true;
    for (int e = 0; !r->asked && !r->stop && e != ETIMEDOUT;)
        e = delay_ms == FOREVER ? pthread_cond_wait(&r->wake, &r->lock)
                                : pthread_cond_timedwait(&r->wake, &r->lock, &until);
    r->sleeps = false;
    atomic_store_explicit(&r->idle, false, memory_order_relaxed);
}

static void *run(void *argument)
{
    struct reclaim *r = argument;
    bool more = false;
    pthread_mutex_lock(&r->lock);
    while (!r->stop) {
        if (!more) {
            unsigned delay_ms = plan_sleep(r);
            sleep_locked(r, delay_ms);
        }
        r->asked = false;
        pthread_mutex_unlock(&r->lock);
        more = reclaim_round(r);
        pthread_mutex_lock(&r->lock);
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

/* --- opening and closing --- */

static int start(struct reclaim *r)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    r->runs = pthread_create(&r->thread, NULL, run, r) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return r->runs ? TARN_OK : TARN_NOMEM;
}

static void init(struct reclaim *r)
{
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->wake, &monotonic);
    pthread_cond_init(&r->progress, NULL);
    pthread_condattr_destroy(&monotonic);
    atomic_store_explicit(&r->wake_limbo, WAKE_LIMBO, memory_order_relaxed);
    atomic_store_explicit(&r->wake_used, UINT64_MAX, memory_order_relaxed);
    expire_init(r);
    r->calm_ms = 1;
}

int reclaim_open(struct table *t, struct reclaim **ret_reclaim)
{
    struct reclaim *r = calloc(1, sizeof *r);
    if (r == NULL)
        return TARN_NOMEM;
    r->table = t;
    t->reclaim = r;
    init(r);
    budget_charge(&t->budget, sizeof *r + RETIRE_ALLOWANCE_BYTES);
    int status = table_session_open(t, &r->session);
    if (status == TARN_OK)
        status = start(r);
    if (status != TARN_OK) {
        reclaim_close(r);
        r = NULL;
    }
    t->reclaim = r;
    *ret_reclaim = r;
    return status;
}

void reclaim_stop(struct reclaim *r)
{
    if (!r->runs)
        return;
    pthread_mutex_lock(&r->lock);
    r->stop = true;
    reclaim_ask_locked(r);
    pthread_mutex_unlock(&r->lock);
    bool online = urcu_qsbr_read_ongoing();
    if (online)
        qsbr_offline();
    pthread_join(r->thread, NULL);
    if (online)
        qsbr_online();
    r->runs = false;
}

void reclaim_close(struct reclaim *r)
{
    if (r == NULL)
        return;
    reclaim_stop(r);
    table_session_close(r->session);
    retire_done(r);
    compact_done(r);
    pthread_cond_destroy(&r->progress);
    pthread_cond_destroy(&r->wake);
    pthread_mutex_destroy(&r->lock);
    budget_give(&r->table->budget, sizeof *r + RETIRE_ALLOWANCE_BYTES);
    free(r);
}

/* --- for writers --- */

static void raise_to(_Atomic uint64_t *most, uint64_t n)
{
    uint64_t now = atomic_load_explicit(most, memory_order_relaxed);
    while (now < n && !atomic_compare_exchange_weak_explicit(most, &now, n, memory_order_relaxed,
                                                             memory_order_relaxed))
        continue;
}

/* Tell the next round what the session is short of: it, or a page that it would be in. */
static void note_short(const struct table_session *s)
{
    struct reclaim *r = s->table->reclaim;
    raise_to(&r->short_bytes, s->short_bytes > SLAB_BYTES_MAX ? s->short_bytes : SLAB_PAGE_BYTES);
    raise_to(&r->short_waits, s->waits);
}

bool reclaim_evict(struct table_session *s, size_t bytes)
{
    struct table *t = s->table;
    struct reclaim *r = t->reclaim;
    uint64_t limit = budget_limit(&t->budget);
    s->short_bytes = bytes;
    if (limit == 0 || !evict_could_hold(t, bytes))
        return false;
    note_short(s);
    if (!evict_possible(t)) {
        if (!compact_is_vain(&r->compact))
            reclaim_wake(r);
        return false;
    }
    if (retire_limbo_bytes(r) < bytes)
        (void)evict_some(s, bytes < EVICT_BYTES_MAX ? bytes : EVICT_BYTES_MAX, EVICT_VISITS);
    reclaim_wake(r);
    return true;
}

/* Can a round free anything that the session could use? */
static bool waiting_helps(struct table_session *s)
{
    struct table *t = s->table;
    struct reclaim *r = t->reclaim;
    if (!evict_could_hold(t, s->short_bytes))
        return false;
    if (evict_possible(t))
        return s->waits < WAITS_MAX;
    return s->waits < WAITS_MAX_PLAIN &&
           (retire_limbo_bytes(r) > 0 || compact_advances(&r->compact) ||
            !compact_is_vain(&r->compact));
}

bool reclaim_wait(struct table_session *s)
{
    struct reclaim *r = s->table->reclaim;
    reclaim_flush(s);
    if (!waiting_helps(s)) {
        s->waits = 0;
        return false;
    }
    s->waits++;
    note_short(s);
    pthread_mutex_lock(&r->lock);
    if (!r->runs) {
        pthread_mutex_unlock(&r->lock);
        (void)reclaim_round(r);
        return true;
    }
    uint64_t freed = r->freed, round = r->rounds_begun + 1;
    reclaim_ask_locked(r);
    r->waiters++;
    while (!r->stop && r->freed == freed && r->rounds_done < round)
        pthread_cond_wait(&r->progress, &r->lock);
    r->waiters--;
    pthread_mutex_unlock(&r->lock);
    return true;
}

void reclaim_figures_get(struct reclaim *r, struct reclaim_figures *ret_figures)
{
    *ret_figures = (struct reclaim_figures){retire_limbo_bytes(r), expire_lag_ms(r)};
}
