/* Memory that one command works in. Large results (BITOP, RESTORE of what was compressed) are made
 * here before they are stored, so that a value can be half a gigabyte and the limit still holds. */
#include "server/command_scratch.h"

#include <stdlib.h>

#include "server/state.h"

void *command_scratch_take(struct client *client, size_t size)
{
    if (!server_memory_allows(client->server, size))
        return NULL;
    void *memory = malloc(size);
    if (memory != NULL)
        tarn_charge(server_store(client->server), (int64_t)size);
    return memory;
}

void command_scratch_give(struct client *client, void *memory, size_t size)
{
    free(memory);
    tarn_charge(server_store(client->server), -(int64_t)size);
}
