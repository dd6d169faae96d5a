/* Clients that wait. How: a parked connection stands in its worker's list, with the time at which
 * its wait ends; the worker sleeps no longer than until the first of these. A request that is held
 * by CLIENT PAUSE has not been taken from the input: it is admitted anew when the pause may be
 * over.
 *
 * CLIENT PAUSE is answered when every worker has begun a new turn: none executes then what it began
 * before. So after the answer nothing is written (or nothing is done at all).
 *
 * CLIENT UNBLOCK may come from any thread: who sets `wait` from WAIT_BLOCKED to something else has
 * ended the wait.
 *
 * Invariants: 1. A connection with park_link is in its worker's list, and parked. 2.
 * server_hot.alone counts the pause exactly while pause_until_ns is not 0 (pause_lock). Failure
 * modes: none. */
#include "server/park.h"

#include "server/gate.h"

#define NS_PER_MS 1000000u

/* `wait` of a connection. */
enum wait_state { WAIT_NONE, WAIT_BLOCKED, WAIT_ENDED, WAIT_FAILED };

static uint64_t now_ns(const struct server *server)
{
    return server->os->monotonic_ns(server->os);
}

/* So many ms from now; UINT64_MAX if that is beyond all time. */
static uint64_t after_ms(const struct server *server, uint64_t ms)
{
    uint64_t now = now_ns(server);
    return ms > (UINT64_MAX - now) / NS_PER_MS ? UINT64_MAX : now + ms * NS_PER_MS;
}

/* --- parking ------------------------------------------------------------------------------ */

static void list_append(struct worker *w, struct connection *c)
{
    c->park_next = NULL;
    c->park_link = w->parked_end;
    *w->parked_end = c;
    w->parked_end = &c->park_next;
    if (c->park_until_ns < w->park_ns)
        w->park_ns = c->park_until_ns;
}

static void list_remove(struct worker *w, struct connection *c)
{
    *c->park_link = c->park_next;
    if (c->park_next != NULL)
        c->park_next->park_link = c->park_link;
    else
        w->parked_end = c->park_link;
    c->park_link = NULL;
}

void park(struct connection *c, enum park_kind kind, uint64_t until_ns)
{
    bool unblockable = kind == PARK_WAIT || kind == PARK_WAIT_AOF;
    c->parked = true;
    c->parked_silent = c->client.reply_mode != CLIENT_REPLY_ON;
    c->park_kind = kind;
    c->park_until_ns = until_ns;
    atomic_store_explicit(&c->wait, unblockable ? WAIT_BLOCKED : WAIT_NONE, memory_order_relaxed);
    list_append(c->client.worker, c);
    stats_add(&c->client.worker->parked_now, 1);
}

void park_forget(struct connection *c)
{
    c->parked = false;
    if (c->park_link == NULL)
        return;
    list_remove(c->client.worker, c);
    if (c->park_kind == PARK_WAIT_AOF)
        gate_wait_end(c->client.worker);
    atomic_store_explicit(&c->wait, WAIT_NONE, memory_order_relaxed);
    stats_add(&c->client.worker->parked_now, (uint64_t)-1);
}

static uint64_t until(const struct server *server, uint64_t timeout_ms)
{
    return timeout_ms == 0 ? UINT64_MAX : after_ms(server, timeout_ms);
}

void client_wait_replicas(struct client *client, uint64_t timeout_ms)
{
    park(connection_of(client), PARK_WAIT, until(client->server, timeout_ms));
}

/* Are this connection's changes synced? */
static bool is_synced(const struct connection *c)
{
    return server_is_logged(c->client.server) &&
           tarn_reached(c->client.server->store, c->park_sequence, TARN_DURABLE);
}

static void answer_synced(struct connection *c)
{
    struct reply *r = &c->client.reply;
    bool synced = is_synced(c);
    if (c->park_log && !server_is_logged(c->client.server)) {
        reply_error(r, WAITAOF_WITHOUT_LOG);
    } else if (c->park_log && !synced && gate_log_state(c->client.worker) == TARN_IO) {
        gate_reply_unsure(&c->client);
    } else {
        reply_array(r, 2);
        reply_int(r, synced);
        reply_int(r, 0);
    }
}

static bool sync_is_over(const struct connection *c)
{
    if (c->park_log && !server_is_logged(c->client.server))
        return true; /* the dial was turned meanwhile */
    if (c->park_log && gate_log_state(c->client.worker) == TARN_IO)
        return true;
    return !c->park_replicas && (!c->park_log || is_synced(c));
}

void client_wait_synced(struct client *client, bool log, bool replicas, uint64_t timeout_ms)
{
    struct connection *c = connection_of(client);
    c->park_log = log;
    c->park_replicas = replicas;
    c->park_sequence = c->sequence > c->unsure ? c->sequence : c->unsure;
    if (client->in_exec && client_transaction_writes(client))
        c->park_sequence = UINT64_MAX; /* what it has done so far is not even known to the log */
    if (client->in_exec || sync_is_over(c)) {
        answer_synced(c);
        return;
    }
    park(c, PARK_WAIT_AOF, until(client->server, timeout_ms));
    gate_wait(client->worker, log ? c->park_sequence : 0);
}

void client_sleep(struct client *client, uint64_t ms)
{
    park(connection_of(client), PARK_SLEEP, after_ms(client->server, ms));
}

static struct connection *list_last(const struct worker *w)
{
    return (struct connection *)((char *)w->parked_end - offsetof(struct connection, park_next));
}

/* Have every worker look at its parked connections. */
static void wake_all(struct server *server)
{
    for (unsigned i = 0; i < server->workers_count; i++) {
        struct worker *w = server->workers[i];
        atomic_store_explicit(&w->unparks_pending, true, memory_order_release);
        loop_wake(&w->loop);
    }
}

/* --- CLIENT PAUSE ------------------------------------------------------------------------- */

static void pause_end_locked(struct server *server)
{
    if (atomic_load_explicit(&server->pause_until_ns, memory_order_relaxed) == 0)
        return;
    atomic_store_explicit(&server->pause_until_ns, 0, memory_order_relaxed);
    atomic_fetch_sub_explicit(&server->hot.alone, 1, memory_order_relaxed);
}

bool server_is_paused(struct server *server, bool writes)
{
    uint64_t until = atomic_load_explicit(&server->pause_until_ns, memory_order_acquire);
    if (until == 0)
        return false;
    if (now_ns(server) < until)
        return writes || atomic_load_explicit(&server->pause_all, memory_order_relaxed);
    pthread_mutex_lock(&server->pause_lock);
    if (atomic_load_explicit(&server->pause_until_ns, memory_order_relaxed) <= now_ns(server))
        pause_end_locked(server);
    pthread_mutex_unlock(&server->pause_lock);
    return false;
}

/* Begin or widen the pause, never narrow it. */
static void pause_locked(struct server *server, uint64_t until, bool all)
{
    uint64_t before = atomic_load_explicit(&server->pause_until_ns, memory_order_relaxed);
    bool goes_on = before > now_ns(server);
    if (before == 0)
        atomic_fetch_add_explicit(&server->hot.alone, 1, memory_order_relaxed);
    if (!goes_on || all)
        atomic_store_explicit(&server->pause_all, all, memory_order_relaxed);
    if (!goes_on || until > before)
        atomic_store_explicit(&server->pause_until_ns, until, memory_order_release);
}

/* Have all workers begun a turn since that number was given? */
static bool all_have_seen(const struct server *server, uint64_t number)
{
    for (unsigned i = 0; i < server->workers_count; i++)
        if (atomic_load_explicit(&server->workers[i]->pause_seen, memory_order_acquire) < number)
            return false;
    return true;
}

void park_look(struct worker *w)
{
    uint64_t number = atomic_load_explicit(&w->server->pause_number, memory_order_acquire);
    if (number == atomic_load_explicit(&w->pause_seen, memory_order_relaxed))
        return;
    atomic_store_explicit(&w->pause_seen, number, memory_order_release);
    wake_all(w->server);
}

void client_pause(struct client *client, uint64_t ms, bool all)
{
    struct server *server = client->server;
    struct connection *c = connection_of(client);
    pthread_mutex_lock(&server->pause_lock);
    pause_locked(server, after_ms(server, ms), all);
    uint64_t number = atomic_fetch_add_explicit(&server->pause_number, 1, memory_order_acq_rel) + 1;
    pthread_mutex_unlock(&server->pause_lock);
    /* This worker is in no other request. */
    atomic_store_explicit(&client->worker->pause_seen, number, memory_order_release);
    if (client->in_exec || all_have_seen(server, number)) {
        reply_simple(&client->reply, "OK");
        return;
    }
    c->park_number = number;
    park(c, PARK_SEEN, UINT64_MAX);
    wake_all(server);
}

void server_unpause(struct server *server)
{
    pthread_mutex_lock(&server->pause_lock);
    pause_end_locked(server);
    pthread_mutex_unlock(&server->pause_lock);
    wake_all(server);
}

bool client_hold_if_paused(struct client *client, bool writes)
{
    if (!server_is_paused(client->server, writes))
        return false;
    park(connection_of(client), PARK_PAUSE,
         atomic_load_explicit(&client->server->pause_until_ns, memory_order_relaxed));
    return true;
}

/* --- CLIENT UNBLOCK ----------------------------------------------------------------------- */

bool server_client_unblock(struct server *server, uint64_t id, bool with_error)
{
    bool unblocked = false;
    for (unsigned i = 0; i < server->workers_count && !unblocked; i++) {
        struct worker *w = server->workers[i];
        pthread_mutex_lock(&w->clients_lock);
        for (struct connection *c = w->clients; c != NULL && !unblocked; c = c->next) {
            int expected = WAIT_BLOCKED;
            if (c->client.id == id)
                unblocked = atomic_compare_exchange_strong(&c->wait, &expected,
                                                           with_error ? WAIT_FAILED : WAIT_ENDED);
        }
        pthread_mutex_unlock(&w->clients_lock);
        if (unblocked) {
            atomic_store_explicit(&w->unparks_pending, true, memory_order_release);
            loop_wake(&w->loop);
        }
    }
    return unblocked;
}

/* --- the end of a wait -------------------------------------------------------------------- */

static bool is_over(const struct connection *c)
{
    const struct worker *w = c->client.worker;
    if (c->park_kind == PARK_PAUSE)
        return true; /* perhaps: its request is admitted anew */
    if (c->park_kind == PARK_SEEN)
        return all_have_seen(w->server, c->park_number);
    int wait = atomic_load_explicit(&c->wait, memory_order_relaxed);
    if (c->park_kind == PARK_WAIT_AOF && sync_is_over(c))
        return true;
    return w->now_ns >= c->park_until_ns || wait == WAIT_ENDED || wait == WAIT_FAILED;
}

static void answer(struct connection *c)
{
    struct reply *r = &c->client.reply;
    if (c->park_kind != PARK_PAUSE)
        c->replies++;
    if (atomic_exchange(&c->wait, WAIT_NONE) == WAIT_FAILED) {
        reply_error(r, "UNBLOCKED client unblocked via CLIENT UNBLOCK");
        return;
    }
    switch (c->park_kind) {
    case PARK_WAIT_AOF:
        answer_synced(c);
        break;
    case PARK_WAIT:
        reply_int(r, 0);
        break;
    case PARK_SLEEP:
    case PARK_SEEN:
        reply_simple(r, "OK");
        break;
    case PARK_PAUSE:
        break;
    }
}

static void finish(struct connection *c)
{
    if (!c->parked_silent && c->state == CONNECTION_OPEN)
        answer(c);
    park_forget(c);
    connection_go_on(c);
}

void park_deliver(struct worker *w)
{
    bool pending = atomic_exchange(&w->unparks_pending, false);
    if (pending)
        gate_deliver(w);
    if (w->parked == NULL || (!pending && w->now_ns < w->park_ns))
        return;
    /* Those that are parked again meanwhile come behind the last. */
    struct connection *next = w->parked, *last = list_last(w);
    w->park_ns = UINT64_MAX;
    for (bool more = true; more;) {
        struct connection *c = next;
        next = c->park_next;
        more = c != last;
        if (is_over(c))
            finish(c);
        else if (c->park_until_ns < w->park_ns)
            w->park_ns = c->park_until_ns;
    }
}

bool park_stop(struct connection *c)
{
    bool held = c->parked && c->park_kind == PARK_PAUSE;
    if (c->park_link != NULL && !c->parked_silent)
        answer(c);
    park_forget(c);
    return !held;
}
