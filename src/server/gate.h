/* The gate: replies are held until what they tell may be told (doc/durability.md). Private to the
 * server folder; owner's thread, but for gate_wake().
 *
 * A connection whose latest requests made or saw changes that the log has not yet acknowledged is
 * `gated`: its output is kept and none of its further requests is executed until then; its worker
 * serves others. Where nothing waits (a store in memory) all of this is one comparison. */
#ifndef SERVER_GATE_H
#define SERVER_GATE_H

#include "server/connection.h"

/* Have workers told when the log goes on; gate_unlisten() before the store is closed. */
TARN_MUST int gate_listen(struct server *server, struct tarn_error *error);
void gate_unlisten(struct server *server);
/* Have every worker that waits for the log look again. Any thread. */
void gate_wake(struct server *server);

/* The worker's session; its thread's. */
TARN_MUST int gate_session_open(struct worker *w, struct tarn_error *error);

/* At the beginning of a worker's turn. */
void gate_begin_turn(struct worker *w);

/* Note what the connection's latest requests did or saw: every change up to this one. */
static inline void gate_note(struct connection *c, uint64_t sequence)
{
    if (__builtin_expect(sequence > c->sequence, 0))
        c->sequence = sequence;
}

bool gate_reached(struct connection *c);

/* May what the connection was answered be told? */
static inline bool gate_is_open(struct connection *c)
{
    return __builtin_expect(c->sequence <= c->client.worker->acknowledged, 1) || gate_reached(c);
}

/* What is in the output may not be told yet: have gate_deliver() go on with the connection. */
void gate_hold(struct connection *c);
/* It waits no more. Nothing happens if it does not. */
void gate_forget(struct connection *c);
/* Have what is held written, if the dial lets whoever waits do so; then gate_deliver() is due
 * (true). A quiescent state of the session. */
bool gate_push(struct worker *w);
/* Go on with those whose replies may be told, or will never be. They may be closed by it. */
void gate_deliver(struct worker *w);

/* For WAITAOF: have changes up to the sequence synced, and the worker look at its parked
 * connections whenever the log has gone on, until gate_wait_end(). */
void gate_wait(struct worker *w, uint64_t sequence);
void gate_wait_end(struct worker *w);
/* TARN_OK; NOSPACE: what was not acknowledged may never be; IO: nothing will, for good. */
int gate_log_state(struct worker *w);
/* Answer that it is not known what became of a request. */
void gate_reply_unsure(struct client *client);

#endif
