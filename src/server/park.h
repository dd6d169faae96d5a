/* Clients that wait: for a time (WAIT, DEBUG SLEEP), or while clients are paused (CLIENT PAUSE).
 * Private to the server folder. A parked connection executes nothing; its worker serves others. */
#ifndef SERVER_PARK_H
#define SERVER_PARK_H

#include "server/connection.h"

#define WAITAOF_WITHOUT_LOG                                                                        \
    "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled."

/* Park the connection whose request is being executed. until_ns: by the monotonic clock;
 * UINT64_MAX: until it is unblocked or closed. Owner's thread. */
void park(struct connection *c, enum park_kind kind, uint64_t until_ns);
/* It waits no more, and gets no answer. Nothing happens if it is not parked. Owner's thread. */
void park_forget(struct connection *c);

/* At the beginning of a worker's turn: let others know that it sees what clients are to wait for.
 */
void park_look(struct worker *w);
/* Answer those whose wait is over, and let them go on. They may be closed by it. */
void park_deliver(struct worker *w);

/* The server stops: the answer of a connection that waits; its requests are not to be executed if
 * false. */
bool park_stop(struct connection *c);

#endif
