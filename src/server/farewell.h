/* The end of the server, watched: when it takes long the log says what is waited for, and another
 * signal ends the process at once. A disk that hangs must not leave anybody without either. */
#ifndef SERVER_FAREWELL_H
#define SERVER_FAREWELL_H

#include "os/loop.h"
#include "os/os.h"

struct farewell;

/* Begin. signals_fd: of loop_signals_open(), borrowed and read from now on. signalled: it was a
 * signal that began the end, so that the next one is the second. Errors (negative errno): no thread
 * or memory for it; the end goes on without. */
TARN_MUST int farewell_begin(const struct os *os, int signals_fd, bool signalled,
                             struct farewell **ret_farewell);
/* What the end waits for from now on, a constant. farewell: may be NULL. */
void farewell_waits_for(struct farewell *farewell, const char *what);
void farewell_end(struct farewell *farewell); /* NULL is allowed */

#endif
