/* Memory that one command works in. Large results (BITOP, RESTORE of what was compressed) are made
 * here before they are stored, so that a value can be half a gigabyte and the limit still holds. */
#include "server/command_scratch.h"

#include <stdlib.h>

#include "server/server.h"

#define SMALL_BYTES (64u << 10) /* below, the limit is not looked at: no more than a reply takes   \
                                 */

static bool fits(struct tarn *store, size_t size)
{
    struct tarn_stats stats;
    if (size < SMALL_BYTES)
        return true;
    tarn_stats_get(store, &stats);
    return stats.memory_bytes_max == 0 || (stats.memory_bytes <= stats.memory_bytes_max &&
                                           size <= stats.memory_bytes_max - stats.memory_bytes);
}

void *command_scratch_take(struct client *client, size_t size)
{
    struct tarn *store = server_store(client->server);
    void *memory = fits(store, size) ? malloc(size) : NULL;
    if (memory != NULL)
        tarn_charge(store, (int64_t)size);
    return memory;
}

void command_scratch_give(struct client *client, void *memory, size_t size)
{
    free(memory);
    tarn_charge(server_store(client->server), -(int64_t)size);
}
