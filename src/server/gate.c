/* The gate. How: after each request, or group of look-ups, the store says up to which change it has
 * seen or made any; the connection keeps the highest. Before anything is sent that is compared with
 * what the log has acknowledged. A gated connection stands in its worker's list; the store's
 * listener, on a thread of the log, marks workers that wait for anything, and wakes each at most
 * once until it has looked.
 *
 * A client's replies are told all together or not at all. When the log fails, or has no room, each
 * request whose reply was held gets -UNSURE instead: the change may be kept or lost. The connection
 * stays usable.
 *
 * With periodic a worker writes the log itself, once for all that a turn of it made, as whoever
 * waits in process does: that costs less than to wake another thread, and to be woken by it.
 *
 * Invariants
 * 1. A connection is in the list exactly while `gated`. Then nothing of its output is sent,
 * EPOLLOUT is not watched, and no request is executed (but at the end of the server).
 * 2. `told` is where the held part of a connection's output begins, `replies` how many there are.
 * 3. log_waiting is set before it is looked once more whether there is anything to wait for; the
 *    listener looks at it after the log has gone on. So one of the two sees the other.
 * Failure modes: no memory to hold replies: the connection is cut. */
#include "server/gate.h"

#include "server/log.h"

/* --- the log's side ----------------------------------------------------------------------- */

void gate_wake(struct server *server)
{
    atomic_fetch_add(&server->log_events, 1);
    for (unsigned i = 0; i < server->workers_count; i++) {
        struct worker *w = server->workers[i];
        if (atomic_load(&w->log_waiting) && !atomic_exchange(&w->unparks_pending, true))
            loop_wake(&w->loop);
    }
}

/* On a thread of the log, which has gone on or failed. */
static void on_log(void *context)
{
    gate_wake(context);
}

int gate_listen(struct server *server, struct tarn_error *error)
{
    if (tarn_listen(server->store, on_log, server, &server->log_listener) != TARN_OK)
        return error_set(error, TARN_NOMEM, "out of memory for the server");
    return TARN_OK;
}

void gate_unlisten(struct server *server)
{
    tarn_unlisten(server->log_listener);
    server->log_listener = NULL;
}

/* --- a worker's side ---------------------------------------------------------------------- */

int gate_session_open(struct worker *w, struct tarn_error *error)
{
    int status = tarn_session_open(w->server->store, &w->session, error);
    if (status == TARN_OK)
        tarn_session_defers(w->session, true);
    return status;
}

void gate_begin_turn(struct worker *w)
{
    uint64_t turns = atomic_load_explicit(&w->server->dial_turns, memory_order_acquire);
    if (turns != w->dial_turns_seen) {
        w->dial_turns_seen = turns;
        w->acknowledged = 0; /* the dial may ask for more now */
    }
}

int gate_log_state(struct worker *w)
{
    uint64_t events = atomic_load(&w->server->log_events);
    if (events != w->log_events_seen) {
        struct tarn_log_stats stats;
        tarn_log_stats_get(w->server->store, &stats);
        w->log_events_seen = events;
        w->log_state = stats.state;
    }
    return w->log_state;
}

/* Have this worker look at what waits in it, in this turn or the next. */
static void look_again(struct worker *w)
{
    if (!atomic_exchange(&w->unparks_pending, true))
        loop_wake(&w->loop);
}

/* One more thing waits for the log. */
static void begin_wait(struct worker *w)
{
    if (w->log_waits++ == 0)
        atomic_store(&w->log_waiting, true);
}

void gate_wait_end(struct worker *w)
{
    if (--w->log_waits == 0)
        atomic_store_explicit(&w->log_waiting, false, memory_order_relaxed);
}

void gate_wait(struct worker *w, uint64_t sequence)
{
    begin_wait(w);
    tarn_hurry(w->server->store, sequence, TARN_DURABLE);
    if (tarn_reached(w->server->store, sequence, TARN_DURABLE) || gate_log_state(w) != TARN_OK)
        look_again(w);
}

/* --- what is not told of by sessions ------------------------------------------------------- */

void client_saw_everything(struct client *client)
{
    gate_note(connection_of(client), tarn_sequence(client->server->store));
}

/* --- holding ------------------------------------------------------------------------------ */

bool gate_reached(struct connection *c)
{
    struct worker *w = c->client.worker;
    if (!tarn_reached(w->server->store, c->sequence, TARN_ACKNOWLEDGED))
        return false;
    w->acknowledged = c->sequence;
    return true;
}

void gate_hold(struct connection *c)
{
    struct worker *w = c->client.worker;
    if (c->gated)
        return;
    c->gated = true;
    c->gate_next = NULL;
    c->gate_link = w->gated_end;
    *w->gated_end = c;
    w->gated_end = &c->gate_next;
    stats_add(&w->gated_now, 1);
    if (c->sequence > w->push)
        w->push = c->sequence;
    begin_wait(w);
    if (gate_reached(c) || gate_log_state(w) != TARN_OK)
        look_again(w);
}

bool gate_push(struct worker *w)
{
    uint64_t sequence = w->push;
    struct tarn *store = w->server->store;
    w->push = 0;
    if (sequence == 0)
        return false;
    int durability = atomic_load_explicit(&w->server->durability, memory_order_relaxed);
    if (durability == TARN_DURABILITY_ASYNC)
        tarn_hurry(store, sequence, TARN_ACKNOWLEDGED);
    if (durability != TARN_DURABILITY_PERIODIC)
        return false;                        /* with commit the log is at it */
    atomic_store(&w->unparks_pending, true); /* so that nobody wakes this thread */
    tarn_offline(w->session);
    (void)!tarn_await(store, sequence, TARN_WRITTEN, 1); /* if it fails, gate_deliver() sees it */
    tarn_online(w->session);
    return true;
}

void gate_forget(struct connection *c)
{
    struct worker *w = c->client.worker;
    if (!c->gated)
        return;
    *c->gate_link = c->gate_next;
    if (c->gate_next != NULL)
        c->gate_next->gate_link = c->gate_link;
    else
        w->gated_end = c->gate_link;
    c->gated = c->gate_deaf = false;
    c->progress_ns = w->now_ns; /* from now on it is the client that is waited for */
    stats_add(&w->gated_now, (uint64_t)-1);
    gate_wait_end(w);
}

/* --- failing ------------------------------------------------------------------------------ */

void gate_reply_unsure(struct client *client)
{
    struct tarn_log_stats stats;
    tarn_log_stats_get(client->server->store, &stats);
    reply_error(&client->reply,
                "UNSURE outcome unknown: the change that this is about may be kept or lost: %s",
                stats.state != TARN_OK ? stats.failure : "the log had no room for a moment");
}

/* Nobody knows what becomes of what the held replies tell: say that instead. */
static void fail(struct connection *c)
{
    uint32_t replies = c->replies;
    log_event(LOG_WARNING, "server", "outcome-unknown", "id=%llu address=%s replies=%u",
              (unsigned long long)c->client.id, c->client.address, replies);
    output_truncate(c->out, c->told);
    for (uint32_t i = 0; i < replies; i++) {
        gate_reply_unsure(&c->client);
        stats_record_error(&c->client.worker->stats, NULL, false, bytes_of("UNSURE"));
    }
    if (c->sequence > c->unsure)
        c->unsure = c->sequence;
    c->sequence = 0;
}

void gate_deliver(struct worker *w)
{
    if (w->gated == NULL)
        return;
    /* Those that are gated again meanwhile come behind the last. */
    struct connection *next = w->gated,
                      *last = (struct connection *)((char *)w->gated_end -
                                                    offsetof(struct connection, gate_next));
    for (bool more = true; more;) {
        struct connection *c = next;
        next = c->gate_next;
        more = c != last;
        if (!gate_is_open(c)) {
            if (gate_log_state(w) == TARN_OK)
                continue;
            fail(c);
        }
        gate_forget(c);
        connection_go_on(c);
    }
}
