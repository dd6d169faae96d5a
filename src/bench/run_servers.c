/* What the servers use of this machine: their processes, found by the ports they listen on.
 *
 * Invariant: servers[] holds each process once; it is empty unless every server was found.
 * Failure modes: none; what cannot be seen is not reported. */
#include "bench/run_internal.h"
#include "core/bytes.h"
#include "core/number.h"
#include "os/observe.h"

#define PROC "/proc"

uint64_t run_servers_cpu_ns(const struct run *run)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < run->servers_count; i++)
        sum += observe_cpu_ns(PROC, run->servers[i]);
    return sum;
}

uint64_t run_memory_bytes(const struct run *run)
{
    uint64_t sum = 0;
    if (run->target.store)
        return os_memory_resident();
    for (unsigned i = 0; i < run->servers_count; i++)
        sum += observe_memory_bytes(PROC, run->servers[i]);
    return sum;
}

static void add_process(struct run *run, int pid)
{
    for (unsigned i = 0; i < run->servers_count; i++)
        if (run->servers[i] == pid)
            return;
    if (run->servers_count < RUN_SERVERS_MAX)
        run->servers[run->servers_count++] = pid;
}

void run_find_servers(struct run *run)
{
    run->servers_local = true;
    for (unsigned i = 0; i < run->target.servers_count && run->servers_local; i++) {
        int pids[RUN_SERVERS_MAX];
        uint64_t port = 0;
        unsigned found = 0;
        bool numeric = number_parse_uint(bytes_of(run->target.servers[i].port), &port);
        if (numeric && client_server_is_local(run->threads[0].client, i))
            found = observe_listeners(PROC, (uint16_t)port, pids, RUN_SERVERS_MAX);
        for (unsigned j = 0; j < found; j++)
            add_process(run, pids[j]);
        run->servers_local = found > 0;
    }
    if (!run->servers_local)
        run->servers_count = 0;
}
