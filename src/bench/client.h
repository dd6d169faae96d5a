/* One generator thread over the network: its connections, its event loop, closed or open.
 *
 * A connection is one logical client with a socket to every server; a key goes to the server that
 * has its slot. Closed loop: a connection sends `pipeline` requests and sends again when all are
 * answered. Open loop: due requests go to the next connection that has fewer than `pipeline` under
 * way; one that finds none waits, and its latency counts from when it was due. A
 * read-modify-write is a GET and, when that is answered, a PUT of the same key; a scan is a SCAN
 * and then a GET of the keys it named; each is one operation, its latency that of both steps. A
 * request has phase->batch keys of one kind, or as many as the protocol can put into one (a scan is
 * alone); with several servers it becomes a request to each that has some of them. A connection
 * that the server announces to close (HTTP) or closes while nothing is owed is opened again. */
#ifndef BENCH_CLIENT_H
#define BENCH_CLIENT_H

#include "bench/phase.h"
#include "bench/protocol.h"
#include "bench/tally.h"
#include "os/os.h"

#define CLIENT_SERVERS_MAX 64

struct client_server {
    char name[280]; /* "host:port", for messages */
    char host[256], port[6];
    struct protocol_peer peer;
};

struct client_options {
    const struct protocol *protocol;
    const struct client_server *servers; /* borrowed; 1..CLIENT_SERVERS_MAX */
    unsigned servers_count;
    unsigned connections; /* of this thread, >= 1 */
    unsigned timeout_ms;  /* for connecting, and for the silence of a server that owes an answer */
    unsigned thread;      /* 0..phase->threads-1 */
    size_t batch_max, pipeline_max;
};

struct client;

/* Connect every socket and make the opening exchange. Errors: IO (unreachable), DENIED or INVALID
 * (the server refused; its words are in the text), CORRUPT (not this protocol), NOMEM. */
TARN_MUST int client_open(const struct os *os, const struct client_options *options,
                          struct client **ret_client, struct tarn_error *error);
void client_close(struct client *c); /* NULL is allowed */

/* Is this server (by its number) on this machine? For a client that has just been opened. */
bool client_server_is_local(const struct client *c, unsigned server);

/* Run one phase to its end: the deadline or the last request, then until all is answered. After its
 * deadline an open loop goes on sending what was due before it for as long as the phase took, at
 * least 2 s; the rest is unsent, which is no error. May be called again with another phase; the
 * workload, if it is the same, goes on where it was, and must not be freed before the client is
 * closed. Errors: IO (a server closed, or is silent for too long), CORRUPT (bytes that are no
 * reply), INVALID (a key that the protocol cannot send), NOMEM, those of client_open() when it
 * connects again; phase->stop is set then, so that the other threads end too; what was counted
 * stays counted. TARN_CANCELLED when another thread stopped the phase. After an error the client
 * can only be closed. */
TARN_MUST int client_run(struct client *c, struct phase *phase, struct tally *tally,
                         struct tarn_error *error);

#endif
