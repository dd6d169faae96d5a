/* One generator thread: connections, waiting, and what is common to closed and open loop.
 *
 * How: all sockets stand in one event loop. What is ready is received from once and decoded, and
 * then the loop's own rule (closed or open) is asked whether the connection sends again. A few
 * clock readings a batch, no system call but send, receive and wait.
 *
 * Invariants
 * 1. under_way == sum of all links' counts.
 * 2. At the end of a phase operations handed out == operations + errors + lost + unsent of the
 *    tally; operations_open is what is neither yet.
 * 3. No wait is longer than CLIENT_WAIT_NS, so that a stop and a silent server are seen.
 * 4. A link whose socket is closed has no request that was sent and not answered.
 * Failure modes: those of the links; the first one stops the phase for all threads. */
#include "bench/client_internal.h"

#include <stdlib.h>

#include "core/assert.h"
#include "os/observe.h"
#include "os/socket.h"

/* --- opening and closing --- */

static int open_link(struct client *c, size_t i, struct tarn_error *error)
{
    const struct client_options *options = &c->options;
    struct link_options link_options = {
        .os = c->os,
        .loop = &c->loop,
        .protocol = options->protocol,
        .server = &options->servers[i % options->servers_count],
        .timeout_ms = options->timeout_ms,
        .batch_max = options->batch_max,
        .pipeline_max = options->pipeline_max,
    };
    int status = link_init(&c->links[i], &link_options, error);
    return status == TARN_OK ? link_connect(&c->links[i], error) : status;
}

static int allocate(struct client *c, struct tarn_error *error)
{
    size_t connections = c->options.connections, servers = c->options.servers_count;
    c->connections = calloc(connections, sizeof *c->connections);
    c->links = calloc(connections * servers, sizeof *c->links);
    if (!c->connections || !c->links)
        return error_set(error, TARN_NOMEM, "no memory for %zu connections", connections);
    for (size_t i = 0; i < connections; i++)
        c->connections[i].links = c->links + i * servers;
    c->links_count = connections * servers;
    return TARN_OK;
}

int client_open(const struct os *os, const struct client_options *options,
                struct client **ret_client, struct tarn_error *error)
{
    ASSERT(options->servers_count >= 1 && options->servers_count <= CLIENT_SERVERS_MAX);
    ASSERT(options->connections >= 1 && options->batch_max >= 1 && options->pipeline_max >= 1);
    struct client *c = calloc(1, sizeof *c);
    if (!c)
        return error_set(error, TARN_NOMEM, "no memory for a generator thread");
    c->os = os;
    c->options = *options;
    int e = loop_open(&c->loop), status = TARN_OK;
    if (e != 0)
        status = os_error(error, e, "cannot make", "an event loop");
    if (status == TARN_OK)
        status = allocate(c, error);
    for (size_t i = 0; i < c->links_count && status == TARN_OK; i++)
        status = open_link(c, i, error);
    if (status == TARN_OK)
        *ret_client = c;
    else
        client_close(c);
    return status;
}

void client_close(struct client *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->links_count; i++)
        link_done(&c->links[i]);
    loop_close(&c->loop);
    requests_done(c);
    protocol_reply_done(&c->reply);
    free(c->connections);
    free(c->links);
    free(c);
}

bool client_server_is_local(const struct client *c, unsigned server)
{
    int fd = c->connections[0].links[server].fd;
    return fd >= 0 && socket_is_local(fd);
}

/* --- sending --- */

size_t client_busy(const struct client *c, const struct connection *connection)
{
    size_t busy = connection->links[0].count;
    for (unsigned i = 1; i < c->options.servers_count; i++)
        if (connection->links[i].count > busy)
            busy = connection->links[i].count;
    return busy;
}

/* Connect a link again and encode all its requests once more. */
static int reopen(struct client *c, struct link *l, struct tarn_error *error)
{
    int status = link_connect(l, error);
    for (size_t i = 0; i < l->count && status == TARN_OK; i++) {
        struct request *request = link_request(l, i);
        if (request->keys_unknown) { /* a scan begins again */
            request->kind = REQUEST_SCAN;
            request->keys_unknown = false;
        }
        status = requests_encode(c, l, i, error);
    }
    return status;
}

/* How late the queued requests of a link go out. */
static void count_lateness(struct client *c, const struct link *l)
{
    for (size_t i = link_waiting(l); i < l->count; i++) {
        const struct request *request = link_request(l, i);
        if (request->ready_ns == 0)
            continue;
        uint64_t late_ns = c->now_ns > request->ready_ns ? c->now_ns - request->ready_ns : 0;
        histogram_record(c->tally->late_ns, late_ns, 1);
    }
}

static int flush_link(struct client *c, struct link *l, struct tarn_error *error)
{
    int status = l->fd < 0 ? reopen(c, l, error) : TARN_OK;
    if (status != TARN_OK)
        return status;
    client_clock(c);
    if (c->phase->rate > 0)
        count_lateness(c, l);
    return link_send(l, c->now_ns, c->tally, error);
}

int client_flush(struct client *c, struct connection *connection, struct tarn_error *error)
{
    int status = TARN_OK;
    for (unsigned i = 0; i < c->options.servers_count && status == TARN_OK; i++)
        if (connection->links[i].queued > 0)
            status = flush_link(c, &connection->links[i], error);
    return status;
}

/* --- waiting --- */

/* Everything that was sent before the server closed is decoded by now. */
static int closed(struct link *l, struct tarn_error *error)
{
    if (link_waiting(l) > 0)
        return link_closed_error(l, error);
    link_disconnect(l); /* an idle connection: opened again if it is needed */
    return TARN_OK;
}

static int receive(struct client *c, struct link *l, struct tarn_error *error)
{
    bool peer_closed = false;
    int status = link_receive(l, c->tally, &peer_closed, error);
    if (status != TARN_OK)
        return status;
    l->progress_ns = client_clock(c);
    status = replies_take(c, l, error);
    if (status == TARN_OK && peer_closed && l->fd >= 0)
        status = closed(l, error);
    return status;
}

static int handle(struct client *c, const struct loop_event *event, struct tarn_error *error)
{
    struct link *l = event->tag;
    int status = TARN_OK;
    if (l->fd < 0)
        return TARN_OK; /* closed while this event waited for its turn */
    if (event->events & EPOLLOUT) {
        l->progress_ns = client_clock(c);
        status = link_send_rest(l, c->tally, error);
    }
    if (status == TARN_OK && event->events & ~(uint32_t)EPOLLOUT)
        status = receive(c, l, error);
    struct connection *connection =
        &c->connections[(size_t)(l - c->links) / c->options.servers_count];
    return status == TARN_OK ? c->answered(c, connection, error) : status;
}

/* Now and then: has a server that owes an answer gone silent? */
static int check_silence(struct client *c, struct tarn_error *error)
{
    int status = TARN_OK;
    if (c->now_ns - c->checked_ns < CLIENT_WAIT_NS)
        return TARN_OK;
    c->checked_ns = c->now_ns;
    for (size_t i = 0; i < c->links_count && status == TARN_OK; i++)
        status = link_silence_error(&c->links[i], c->now_ns, error);
    return status;
}

int client_wait(struct client *c, uint64_t timeout_ns, struct tarn_error *error)
{
    struct loop_event events[LOOP_EVENTS_MAX];
    unsigned count = 0;
    bool woken;
    if (phase_stopped(c->phase))
        return TARN_CANCELLED;
    int e = loop_wait_ns(&c->loop, timeout_ns < CLIENT_WAIT_NS ? timeout_ns : CLIENT_WAIT_NS,
                         events, &count, &woken);
    if (e != 0)
        return os_error(error, e, "cannot wait for", "the servers' answers");
    if (count == 0)
        client_clock(c);
    int status = TARN_OK;
    for (unsigned i = 0; i < count && status == TARN_OK; i++)
        status = handle(c, &events[i], error);
    return status == TARN_OK ? check_silence(c, error) : status;
}

/* --- a phase --- */

static int ignore_answers(struct client *c, struct connection *connection, struct tarn_error *error)
{
    (void)c, (void)connection, (void)error;
    return TARN_OK;
}

static int begin(struct client *c, struct phase *phase, struct tally *tally,
                 struct tarn_error *error)
{
    c->phase = phase;
    c->tally = tally;
    c->answered = ignore_answers;
    c->checked_ns = client_clock(c);
    if (!phase->load && c->workload.workload != phase->workload)
        workload_thread_init(&c->workload, phase->workload, c->options.thread, phase->threads);
    int status = requests_prepare(c, error);
    if (status == TARN_OK)
        status = client_wait(c, 0, error); /* servers that closed while nothing ran */
    return status;
}

int client_run(struct client *c, struct phase *phase, struct tally *tally, struct tarn_error *error)
{
    uint64_t cpu_ns = observe_thread_cpu_ns();
    int status = begin(c, phase, tally, error);
    if (status == TARN_OK)
        status = phase->rate > 0 ? client_run_open(c, error) : client_run_closed(c, error);
    if (status != TARN_OK)
        phase_stop(phase);
    if (status == TARN_CANCELLED)
        error_set(error, TARN_CANCELLED, "stopped");
    ASSERT(status != TARN_OK || (c->operations_open == 0 && c->under_way == 0));
    tally_add(&tally->lost, c->operations_open);
    tally->end_ns = client_clock(c);
    tally->cpu_ns += observe_thread_cpu_ns() - cpu_ns;
    return status;
}
