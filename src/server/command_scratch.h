/* Memory that one command works in, counted against the server's memory while it is held. */
#ifndef SERVER_COMMAND_SCRATCH_H
#define SERVER_COMMAND_SCRATCH_H

#include "server/client.h"

/* `size` (>= 1) bytes that do not exceed the memory limit, to be given back with the same size by
 * the end of the command; NULL: there are none (answer TARN_FULL). */
void *command_scratch_take(struct client *client, size_t size);
void command_scratch_give(struct client *client, void *memory, size_t size);

#endif
