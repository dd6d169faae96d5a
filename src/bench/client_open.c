/* The open loop: a request goes out when its schedule says so, whatever the server does.
 *
 * How: the schedule is a position, not a queue: the request that is next stays next until a
 * connection has room for it, and so its due time is kept. All that are due are handed to
 * connections in turn, then each of these sends once. In between the thread sleeps until shortly
 * before the next is due and then asks without sleeping, for a wake-up takes as long as many
 * servers need to answer.
 *
 * Lateness that is the generator's own is counted from when a request was due, or from when a
 * connection had room again if none had then: rooms says how many have, rooms_since_ns since when
 * that is not 0.
 *
 * Invariants
 * 1. Every request that is due before the deadline is sent, or counted as unsent at the end.
 * 2. rooms == connections that are not full.
 * 3. A connection stands in the list of dirty ones at most once, and in it if it has queued
 *    requests when client_wait() returns.
 * Failure modes: a server that cannot keep up: requests go on being sent after the deadline for as
 * long again as the phase took, at least 2 s; what is left then is unsent. */
#include "bench/client_internal.h"

#include <stdlib.h>

#include "core/assert.h"
#include "core/random.h"

#define POLL_NS     30000ull      /* from so long before a due time on, do not sleep */
#define OVERTIME_NS 2000000000ull /* at least so long may sending go on after the deadline */

struct open_loop {
    struct arrival arrival;
    uint64_t due_ns;   /* of the next request; UINT64_MAX: there is none */
    uint64_t limit_ns; /* nothing is sent from then on */
    unsigned turn;     /* the connection to try first */
    unsigned rooms;
    uint64_t rooms_since_ns;
    struct connection **dirty; /* [connections] */
    unsigned dirty_count;
};

/* --- the schedule --- */

static void next_due(struct client *c, struct open_loop *loop)
{
    loop->due_ns = c->phase->start_ns + arrival_next(&loop->arrival);
    if (c->phase->deadline_ns != 0 && loop->due_ns >= c->phase->deadline_ns)
        loop->due_ns = UINT64_MAX;
}

static void start_schedule(struct client *c, struct open_loop *loop)
{
    const struct phase *phase = c->phase;
    unsigned thread = c->options.thread;
    uint64_t seed = random_mix(phase->seed + random_mix(thread + 1));
    arrival_init(&loop->arrival, phase->pattern, phase->poisson, phase->rate / phase->threads,
                 phase->period_s, (double)thread / phase->threads, seed);
    loop->limit_ns = UINT64_MAX;
    if (phase->deadline_ns != 0) {
        uint64_t overtime = phase->deadline_ns - phase->start_ns;
        loop->limit_ns = phase->deadline_ns + (overtime > OVERTIME_NS ? overtime : OVERTIME_NS);
    }
    next_due(c, loop);
}

/* What was due before `until_ns` and will not be sent. */
static void count_unsent(struct client *c, struct open_loop *loop, uint64_t until_ns)
{
    uint64_t operations = 0, skipped = 1;
    for (; loop->due_ns <= until_ns && loop->due_ns != UINT64_MAX && skipped > 0;
         next_due(c, loop)) {
        skipped = requests_skip(c);
        operations += skipped;
    }
    tally_add(&c->tally->unsent, operations);
    loop->due_ns = UINT64_MAX;
}

/* --- rooms --- */

static void look_for_room(struct client *c, struct open_loop *loop, struct connection *connection)
{
    bool full = client_busy(c, connection) >= c->phase->pipeline;
    if (full == connection->full)
        return;
    connection->full = full;
    if (full)
        loop->rooms--;
    else if (loop->rooms++ == 0)
        loop->rooms_since_ns = c->now_ns;
}

static struct connection *next_with_room(struct client *c, struct open_loop *loop)
{
    ASSERT(loop->rooms > 0);
    struct connection *connection;
    do {
        connection = &c->connections[loop->turn];
        loop->turn = loop->turn + 1 == c->options.connections ? 0 : loop->turn + 1;
    } while (connection->full);
    return connection;
}

/* --- sending --- */

static void mark_dirty(struct open_loop *loop, struct connection *connection)
{
    if (connection->dirty)
        return;
    connection->dirty = true;
    loop->dirty[loop->dirty_count++] = connection;
}

/* Hand the request that is due to the next connection with room. */
static int issue_due(struct client *c, struct open_loop *loop, struct tarn_error *error)
{
    if (requests_plan(c, 1) == 0) {
        loop->due_ns = UINT64_MAX; /* that was all of them */
        return TARN_OK;
    }
    struct connection *connection = next_with_room(c, loop);
    uint64_t ready_ns = loop->due_ns > loop->rooms_since_ns ? loop->due_ns : loop->rooms_since_ns;
    int status = requests_issue(c, connection, 0, loop->due_ns, ready_ns ? ready_ns : 1, error);
    mark_dirty(loop, connection);
    look_for_room(c, loop, connection);
    next_due(c, loop);
    return status;
}

static int issue_all_due(struct client *c, struct open_loop *loop, struct tarn_error *error)
{
    int status = TARN_OK;
    if (c->now_ns >= loop->limit_ns)
        count_unsent(c, loop, c->phase->deadline_ns);
    while (status == TARN_OK && loop->due_ns <= c->now_ns && loop->rooms > 0)
        status = issue_due(c, loop, error);
    return status;
}

static int flush_dirty(struct client *c, struct open_loop *loop, struct tarn_error *error)
{
    int status = TARN_OK;
    for (unsigned i = 0; i < loop->dirty_count && status == TARN_OK; i++) {
        loop->dirty[i]->dirty = false;
        status = client_flush(c, loop->dirty[i], error);
    }
    loop->dirty_count = 0;
    return status;
}

static int answered(struct client *c, struct connection *connection, struct tarn_error *error)
{
    (void)error;
    struct open_loop *loop = c->loop_context;
    look_for_room(c, loop, connection);
    for (unsigned i = 0; i < c->options.servers_count; i++)
        if (connection->links[i].queued > 0)
            mark_dirty(loop, connection);
    return TARN_OK;
}

/* --- the loop --- */

static uint64_t wait_ns(const struct client *c, const struct open_loop *loop)
{
    if (loop->due_ns == UINT64_MAX || loop->rooms == 0)
        return UINT64_MAX;
    return loop->due_ns > c->now_ns + POLL_NS ? loop->due_ns - c->now_ns - POLL_NS : 0;
}

static int run(struct client *c, struct open_loop *loop, struct tarn_error *error)
{
    int status = TARN_OK;
    while (status == TARN_OK && (loop->due_ns != UINT64_MAX || c->under_way > 0)) {
        client_clock(c);
        status = issue_all_due(c, loop, error);
        if (status == TARN_OK)
            status = flush_dirty(c, loop, error);
        if (status == TARN_OK)
            status = client_wait(c, wait_ns(c, loop), error);
    }
    return status;
}

int client_run_open(struct client *c, struct tarn_error *error)
{
    struct open_loop loop = {.rooms = c->options.connections};
    loop.dirty = calloc(c->options.connections, sizeof(struct connection *));
    if (!loop.dirty)
        return error_set(error, TARN_NOMEM, "no memory for an open loop");
    for (unsigned i = 0; i < c->options.connections; i++)
        c->connections[i].full = c->connections[i].dirty = false;
    loop_set_timer_slack_ns(1);
    start_schedule(c, &loop);
    c->answered = answered;
    c->loop_context = &loop;
    int status = run(c, &loop, error);
    if (status != TARN_OK)
        count_unsent(c, &loop, c->now_ns);
    c->answered = NULL;
    c->loop_context = NULL;
    free(loop.dirty);
    return status;
}
