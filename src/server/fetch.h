/* Requests of a data file on disk: before they are executed, the records of their keys are fetched
 * (tarn_fetch_begin), many at once, so that no worker waits for the disk. A connection whose keys
 * are under way is parked: it executes nothing, its worker serves others. Private to the server
 * folder; owner's thread.
 *
 * A large value is not fetched but sent by pieces as the client takes it; its connection is parked
 * until the last one is out. With a store in memory all of this is one branch. */
#ifndef SERVER_FETCH_H
#define SERVER_FETCH_H

#include "server/connection.h"

/* The worker's part, on its thread, after its session was opened and before it is closed. Errors:
 * NOMEM, IO. */
TARN_MUST int fetch_open(struct worker *w, struct tarn_error *error);
void fetch_close(struct worker *w);

/* The request is about to be executed: `size` bytes, and `rest` has come behind it. False: its keys
 * are being fetched, and those of requests behind it; the connection is parked, and what was said
 * of the request is said again when they have come. */
bool fetch_ahead(struct connection *c, const struct resp_request *request, size_t size,
                 struct tarn_bytes rest);
/* The connection executes nothing more for now: let go what came for it. */
void fetch_done(struct connection *c);
/* ... and what is under way, and the value being sent, whose bytes must not be in its output. */
void fetch_forget(struct connection *c);

/* Those that wait for memory try once more. They may be closed by it. */
void fetch_retry(struct worker *w);
/* Go on with those whose reads have come. They may be closed by it. */
void fetch_deliver(struct worker *w);

/* It waits for the disk no more: execute what it has sent meanwhile. It may be closed. */
static inline void fetch_go_on(struct connection *c)
{
    if (c->client.worker->stopping)
        connection_stop(c);
    else
        connection_go_on(c);
}

/* tarn_fetched: go on with this connection at the next fetch_deliver(). */
void fetch_come(void *connection);

/* --- fetch_far.c: values sent by pieces --- */

/* Is this the key, just fetched, of a value that is read by pieces? */
bool fetch_is_far(struct connection *c, struct tarn_bytes key);
/* Answer a gathered read of such a value without reading it whole, or begin to: true. False: it is
 * to be answered as any other is. */
bool fetch_answer_far(struct connection *c, const struct command *command,
                      const struct resp_request *request);
/* A piece has come: into the output with it. The connection may be closed by it. */
void fetch_take_piece(struct connection *c);
/* The output may have been sent: begin to read the next piece if all of it has. True: that was the
 * last, and the connection may go on. */
bool fetch_send_on(struct connection *c);

#endif
