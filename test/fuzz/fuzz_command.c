/* The whole command layer on a writable store under arbitrary bytes: parsing, admission, every
 * command and option, transactions, replies; two connections of one worker take turns.
 *
 * The input is what both clients send; a zero byte passes the turn to the other one. Lines without
 * a RESP frame are inline commands, so a dictionary of words makes whole sessions (command.dict).
 * What must hold: nothing crashes or leaks; what comes back is well-formed RESP; the store's count
 * of keys is that of a scan afterwards. */
#include <stdlib.h>
#include <string.h>

#include "lib/test.h"

#include "core/assert.h"
#include "lib/server_world.h"
#include "server/park.h"

enum { CONNECTIONS = 2, TURNS_MAX = 64, DEPTH_MAX = 64 };

static struct world world;

static void open_once(void)
{
    static bool opened;
    struct tarn_error error;
    if (opened)
        return;
    opened = true;
    world_prepare(&world, "", 16 << 20);
    world.config.memory_bytes = 64 << 20;
    ASSERT(server_open(&world.os, &world.config, NULL, NULL, NULL, &world.server, &error) ==
           TARN_OK);
    world.w = world.server->workers[0];
    ASSERT(tarn_session_open(world.server->store, &world.w->session, &error) == TARN_OK);
    world.w->now_ns = 1000000000000;
}

/* --- well-formed replies --- */

static bool skip_line(struct tarn_bytes *in, long long *ret_number)
{
    const char *end = memmem(in->data, in->size, "\r\n", 2);
    if (end == NULL)
        return false;
    const char *p = in->data;
    if (ret_number != NULL) {
        char *stop;
        *ret_number = strtoll(p + 1, &stop, 10);
        ASSERT(stop == end);
    }
    in->size -= (size_t)(end + 2 - p);
    in->data = end + 2;
    return true;
}

/* One value; false: incomplete. */
static bool skip_value(struct tarn_bytes *in, int depth)
{
    ASSERT(depth < DEPTH_MAX);
    if (in->size == 0)
        return false;
    long long n;
    char type = *(const char *)in->data;
    switch (type) {
    case '+':
    case '-':
    case ':':
    case ',':
    case '#':
    case '_':
    case '(':
        return skip_line(in, NULL);
    case '$':
    case '=':
        if (!skip_line(in, &n))
            return false;
        ASSERT(n >= -1);
        if (n == -1)
            return true;
        if (in->size < (size_t)n + 2)
            return false;
        ASSERT(memcmp((const char *)in->data + n, "\r\n", 2) == 0);
        in->data = (const char *)in->data + n + 2;
        in->size -= (size_t)n + 2;
        return true;
    case '*':
    case '%':
    case '~':
    case '>':
        if (!skip_line(in, &n))
            return false;
        ASSERT(n >= -1);
        for (n *= type == '%' ? 2 : 1; n > 0; n--)
            if (!skip_value(in, depth + 1))
                return false;
        return true;
    default:
        ASSERT(!"no type of RESP");
        return false;
    }
}

/* Take what has come; whole values are checked and dropped. */
static void take(struct peer *p)
{
    peer_receive(p);
    struct tarn_bytes rest = buffer_view(&p->received), kept = rest;
    while (rest.size > 0 && skip_value(&rest, 0))
        kept = rest;
    buffer_consume(&p->received, p->received.size - kept.size);
}

/* --- the store afterwards --- */

struct census {
    uint64_t count;
};

static void count_key(void *context, struct tarn_bytes key, struct tarn_bytes value)
{
    struct census *census = context;
    census->count++;
    ASSERT(key.size <= TARN_KEY_BYTES_MAX && value.data != NULL);
}

static void check_store(void)
{
    struct tarn_stats stats;
    struct census census = {0};
    uint64_t cursor = 0;
    do
        tarn_scan(world.w->session, &cursor, 100, count_key, &census);
    while (cursor != 0);
    tarn_stats_get(world.server->store, &stats);
    ASSERT(census.count <= stats.keys); /* expired ones may linger */
    ASSERT(census.count + stats.expiring >= stats.keys);
    ASSERT(tarn_flush(world.w->session) == TARN_OK);
    tarn_quiescent(world.w->session);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    struct peer peers[CONNECTIONS];
    size_t at = 0;
    open_once();
    for (size_t i = 0; i < CONNECTIONS; i++)
        peer_open(&world, &peers[i]);
    for (int n = 0; n < TURNS_MAX && at < size; n++) {
        struct peer *p = &peers[n % CONNECTIONS];
        const unsigned char *end = memchr(data + at, 0, size - at);
        size_t length = end != NULL ? (size_t)(end - data) - at : size - at;
        buffer_append(&p->to_send, data + at, length);
        peer_send(p, SIZE_MAX);
        at += length + 1;
        turn(&world, peers, CONNECTIONS);
        park_look(world.w);
        park_deliver(world.w);
        monitor_deliver(world.w);
        tarn_quiescent(world.w->session);
        for (size_t i = 0; i < CONNECTIONS; i++)
            take(&peers[i]);
    }
    while (world.w->clients != NULL)
        connection_close(world.w->clients);
    for (size_t i = 0; i < CONNECTIONS; i++) {
        take(&peers[i]);
        peer_close(&peers[i]);
    }
    server_unpause(world.server);
    ASSERT(atomic_load(&world.server->hot.alone) == 0);
    ASSERT(world.w->parked == NULL && world.w->monitors == NULL);
    check_store();
    return 0;
}
