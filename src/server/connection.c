/* A connection's bytes: receiving, sending, holding back, closing.
 *
 * A turn: receive once, execute what is complete, keep what is not, send once. A turn whose last
 * requests wait in the worker's run is ended by the run.
 *
 * Flow control. Unsent bytes, copied and referenced alike, count against output_bytes_max; a client
 * over it is cut. Well before, from OUTPUT_PAUSE_BYTES on, the connection is `held`: its further
 * requests wait in its input buffer and in the socket until the client has read. A client that
 * does not read at all while it still sends (a pipeline larger than the socket buffers, sent whole
 * before the first reply is read) would wait for ever, so after OUTPUT_PATIENCE_NS without
 * progress it is `insistent` and served up to the limit. Unsent bytes that do not move at all for
 * OUTPUT_STALL_NS cut the connection, too.
 *
 * Invariants
 * 1. c->out is c->output if that is not NULL, else the worker's output, which is empty between
 *    turns.
 * 2. EPOLLOUT is watched exactly while c->output is not NULL and the connection not gated, EPOLLIN
 * unless held, ended or closing.
 * 3. A connection with unsent output that is not gated, held requests or in LINGERING is in the
 * worker's busy list.
 * 4. Nothing is sent but through connection_send(), which asks the gate.
 * Failure modes: socket errors and lack of memory close the connection; nobody else notices. */
#include "server/connection.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "os/socket.h"
#include "server/fetch.h"
#include "server/gate.h"
#include "server/log.h"
#include "server/park.h"

#define STOP_ROUNDS_MAX   16 /* receives from one connection while stopping */
#define INPUT_STEP_BYTES  (16u << 10)
#define RECEIVE_BYTES_MAX (256u << 10) /* of one receive: others wait for the thread */
#define CHARGE_STEP_BYTES (64u << 10)

void client_append_part(struct client *client, struct tarn_bytes value, size_t offset, size_t size)
{
    struct tarn_bytes part = {(const unsigned char *)value.data + offset, size};
    if (size < REFERENCE_BYTES_MIN)
        buffer_append(client->reply.out, part.data, part.size);
    else
        output_append_ref(connection_of(client)->out, part, tarn_pin(client->session, value));
}

void client_reply_part(struct client *client, struct tarn_bytes value, size_t offset, size_t size)
{
    if (size < REFERENCE_BYTES_MIN) {
        const unsigned char *data = value.data;
        reply_bulk(&client->reply, (struct tarn_bytes){data + offset, size});
        return;
    }
    reply_bulk_header(&client->reply, size);
    client_append_part(client, value, offset, size);
    buffer_append(client->reply.out, "\r\n", 2);
}

void client_reply_value(struct client *client, struct tarn_bytes value)
{
    client_reply_part(client, value, 0, value.size);
}

void client_begin(struct client *client, const struct tarn_bytes *keys, size_t count)
{
    if (!client->in_exec)
        tarn_begin(client->session, keys, count);
}

void client_end(struct client *client)
{
    if (!client->in_exec)
        tarn_end(client->session);
}

bool client_make_room(struct client *client)
{
    return !client->in_exec && tarn_make_room(client->session);
}

void client_count_lookups(struct client *client, uint64_t hits, uint64_t misses)
{
    stats_add(&client->worker->stats.hits, hits);
    stats_add(&client->worker->stats.misses, misses);
}

/* --- opening and closing ------------------------------------------------------------------ */

static void use_output(struct connection *c, struct output *o)
{
    c->out = o;
    c->client.reply.out = &o->bytes;
}

/* Tell the worker that the connection takes so much memory; at the end of the loop turn, or when
 * it is much at once, the worker tells the store. */
static void set_buffers(struct connection *c, uint64_t bytes)
{
    struct worker *w = c->client.worker;
    uint64_t before = c->buffers_bytes;
    if (bytes == before)
        return;
    stats_add(&w->buffers_bytes, bytes - before);
    c->buffers_bytes = bytes;
    if ((bytes > before ? bytes - before : before - bytes) >= CHARGE_STEP_BYTES)
        worker_charge(w);
}

/* Memory of the input buffer. One that was allocated for a large request takes what has been
 * received: the kernel gives pages when they are written to. */
static size_t input_bytes(struct connection *c)
{
    if (c->input.size > c->input_used_max)
        c->input_used_max = c->input.size;
    if (c->input.capacity <= INPUT_SHARED_BYTES)
        c->input_used_max = c->input.size;
    if (c->input.capacity - c->input_used_max <= INPUT_SHARED_BYTES)
        return c->input.capacity;
    return c->input_used_max + INPUT_SHARED_BYTES;
}

/* ... all that it takes now. */
static void account_buffers(struct connection *c)
{
    uint64_t bytes = sizeof *c + input_bytes(c) + client_transaction_bytes(&c->client);
    if (c->output != NULL)
        bytes += output_capacity(c->output);
    set_buffers(c, bytes);
}

int connection_open(struct worker *w, int fd, const struct sockaddr_storage *peer)
{
    struct server *server = w->server;
    int status = TARN_NOMEM;
    struct connection *c = calloc(1, sizeof *c);
    if (c == NULL)
        return TARN_NOMEM;
    c->parser = resp_parser_new();
    if (c->parser == NULL)
        goto fail;
    c->watch.kind = WATCH_CONNECTION;
    c->fd = fd;
    c->client.server = server;
    c->client.worker = w;
    c->client.session = w->session;
    c->client.reply.protocol = 2;
    c->client.id = atomic_fetch_add_explicit(&server->client_id_next, 1, memory_order_relaxed);
    c->client.authenticated =
        !atomic_load_explicit(&server->hot.password_set, memory_order_relaxed);
    c->client.name = c->client.lib_name = c->client.lib_version = "";
    socket_address_text(peer, c->client.address);
    socket_local_text(fd, c->client.local_address);
    c->created_ns = c->progress_ns = w->now_ns;
    atomic_init(&c->active_ns, w->now_ns);
    atomic_init(&c->protocol_shown, 2);
    use_output(c, &w->output);
    c->events = EPOLLIN;
    status = loop_add(&w->loop, fd, c->events, &c->watch);
    if (status != 0) {
        status = os_status(status);
        goto fail;
    }
    stats_add(&w->stats.connections, 1);
    stats_add(&w->connections_now, 1);
    atomic_fetch_add_explicit(&server->connections_now, 1, memory_order_relaxed);
    clients_add(w, c);
    account_buffers(c);
    return TARN_OK;
fail:
    resp_parser_free(c->parser);
    free(c);
    return status;
}

/* Free the connection's own output; replies go to the worker's from now on. */
static void drop_output(struct connection *c)
{
    if (c->output == NULL)
        return;
    output_done(c->output);
    free(c->output);
    c->output = NULL;
    use_output(c, &c->client.worker->output);
}

void connection_close(struct connection *c)
{
    struct worker *w = c->client.worker;
    if (w->output.bytes.size > 0 || w->output.refs_count > 0 || w->output.bytes.failed)
        output_done(&w->output); /* what is left there is this connection's */
    drop_output(c);
    fetch_forget(c);
    client_transaction_end(&c->client);
    client_monitor_end(&c->client);
    park_forget(c);
    gate_forget(c);
    buffer_done(&c->input);
    set_buffers(c, 0);
    worker_busy_remove(w, c);
    clients_remove(w, c);
    loop_remove(&w->loop, c->fd);
    (void)w->os->close(w->os, c->fd); /* nothing can be done about a failure */
    stats_add(&w->connections_now, (uint64_t)-1);
    atomic_fetch_sub_explicit(&w->server->connections_now, 1, memory_order_relaxed);
    resp_parser_free(c->parser);
    free(c);
}

/* --- sending ------------------------------------------------------------------------------ */

/* The unsent rest goes to a buffer of the connection's own. */
static bool keep_output(struct connection *c)
{
    struct worker *w = c->client.worker;
    if (c->output != NULL)
        return true;
    if (!server_memory_allows(w->server, output_unsent(&w->output) - w->output.refs_bytes))
        return false;
    struct output *own = malloc(sizeof *own);
    if (own == NULL)
        return false;
    output_init(own, w->output.bytes.size_max);
    if (!output_move(&w->output, own)) {
        output_done(own);
        free(own);
        return false;
    }
    c->output = own;
    c->progress_ns = w->now_ns;
    use_output(c, own);
    return true;
}

void connection_cut(struct connection *c, const char *reason)
{
    log_event(LOG_WARNING, "server", "client-cut", "id=%llu address=%s reason=\"%s\" unsent=%zu",
              (unsigned long long)c->client.id, c->client.address, reason, output_unsent(c->out));
    stats_add(&c->client.worker->stats.output_cuts, 1);
    c->state = CONNECTION_DEAD;
}

/* The unsent rest stays with the connection, unless it is over the limit. */
static void keep_or_cut(struct connection *c)
{
    uint64_t limit = hot_read(&c->client.server->hot.output_bytes_max);
    if (!c->client.authenticated && (limit == 0 || limit > OUTPUT_STRANGER_BYTES))
        limit = OUTPUT_STRANGER_BYTES;
    if (!keep_output(c))
        connection_cut(c, "out of memory for unsent replies");
    else if (limit != 0 && output_unsent(c->out) > limit)
        connection_cut(c, "output limit");
}

/* Keep what may not be told yet. */
static void hold(struct connection *c)
{
    if (output_unsent(c->out) > 0)
        keep_or_cut(c);
    if (c->state != CONNECTION_DEAD)
        gate_hold(c);
}

void connection_send(struct connection *c)
{
    struct worker *w = c->client.worker;
    if (c->out->bytes.failed) {
        connection_cut(c, "reply over the output limit, or out of memory");
        return;
    }
    if (!gate_is_open(c)) {
        hold(c);
        return;
    }
    c->replies = 0;
    if (output_unsent(c->out) == 0)
        return;
    size_t sent;
    int status = output_send(c->out, w->os, c->fd, &sent);
    stats_add(&w->stats.output_bytes, sent);
    if (sent > 0)
        c->progress_ns = w->now_ns;
    if (status == 0) {
        drop_output(c);
        c->insistent = false;
    } else if (status != -EAGAIN) {
        c->state = CONNECTION_DEAD; /* the client has gone */
    } else {
        keep_or_cut(c);
    }
    c->told = output_mark(c->out);
    if (!c->insistent && !w->stopping)
        c->held = output_unsent(c->out) > OUTPUT_PAUSE_BYTES;
}

/* --- receiving ---------------------------------------------------------------------------- */

/* Answer that a request cannot be held in memory, and close. */
static void refuse_input(struct connection *c)
{
    reply_error(&c->client.reply, "ERR out of memory: no room to receive the request");
    c->state = CONNECTION_CLOSING;
}

/* Room in the connection's own buffer for what the request under way still needs: all of it as far
 * as its announced lengths tell, so that nothing is copied when it grows. Address space only: its
 * pages, and the memory cap, are used as they are received. */
static bool reserve_input(struct connection *c)
{
    struct buffer *b = &c->input;
    size_t needed = resp_parser_bytes_needed(c->parser);
    size_t extra = needed > b->size ? needed - b->size : INPUT_STEP_BYTES;
    if (!server_memory_could(c->client.server, extra))
        return false;
    if (extra > b->size ? !buffer_reserve_exactly(b, extra) : !buffer_reserve(b, extra))
        return false;
    size_t step = b->capacity - b->size;
    return server_memory_wait(c->client.server, c->client.session,
                              step < RECEIVE_BYTES_MAX ? step : RECEIVE_BYTES_MAX);
}

/* Keep the bytes from `taken` on in the connection's own buffer. shared: input is the worker's. */
static void keep_input(struct connection *c, struct tarn_bytes input, size_t taken, bool shared)
{
    if (!shared) {
        buffer_consume(&c->input, taken);
    } else if (c->input.size > 0 || taken < input.size) {
        buffer_clear(&c->input);
        if (input.size - taken > c->input.capacity &&
            !server_memory_allows(c->client.server, input.size - taken))
            c->input.failed = true;
        buffer_append(&c->input, (const unsigned char *)input.data + taken, input.size - taken);
        if (c->input.failed) {
            run_finish(c->client.worker, c);
            refuse_input(c);
        }
    }
    size_t capacity = c->input.capacity;
    if (c->input.size == 0)
        buffer_trim(&c->input, 0);
    else if (c->input.capacity > INPUT_SHARED_BYTES)
        buffer_trim(&c->input, INPUT_SHARED_BYTES / 2);
    if (c->input.capacity < capacity)
        account_buffers(c); /* before the reply tells that the memory is free again */
}

/* What a receive led to. */
enum received {
    RECEIVED_ALL,      /* executed; there is nothing more to receive now */
    RECEIVED_MORE,     /* executed; there may be more to receive */
    RECEIVED_DEFERRED, /* the last requests wait in the worker's run, which will end the turn */
};

/* Receive once and execute. */
static enum received receive(struct connection *c, bool may_defer)
{
    struct worker *w = c->client.worker;
    bool shared = c->input.size <= INPUT_SHARED_BYTES / 2;
    size_t have = c->input.size, size;
    if (shared && w->input_used > 0 && w->input_used + have > INPUT_SHARED_BYTES / 2)
        run_finish(w, NULL);
    unsigned char *base = w->input + w->input_used;
    size_t room = INPUT_SHARED_BYTES - w->input_used - have;
    if (!shared) {
        if (!reserve_input(c)) {
            refuse_input(c);
            return RECEIVED_ALL;
        }
        base = c->input.data;
        room = c->input.capacity - have;
        if (room > RECEIVE_BYTES_MAX)
            room = RECEIVE_BYTES_MAX;
    } else if (have > 0) {
        memcpy(base, c->input.data, have);
    }
    int status = w->os->receive(w->os, c->fd, base + have, room, &size);
    if (status != 0) {
        if (status != -EAGAIN)
            c->state = CONNECTION_DEAD;
        return RECEIVED_ALL;
    }
    if (size == 0) {
        c->input_ended = true;
        return RECEIVED_ALL;
    }
    stats_add(&w->stats.input_bytes, size);
    atomic_store_explicit(&c->active_ns, w->now_ns, memory_order_relaxed);
    if (!shared) {
        c->input.size += size;
        account_buffers(c);
    }
    struct tarn_bytes input = {base, have + size};
    size_t taken = connection_execute(c, input);
    if (!shared)
        run_finish(w, c);
    keep_input(c, input, taken, shared);
    if (may_defer && shared && c->state == CONNECTION_OPEN && output_unsent(c->out) == 0) {
        size_t used = w->input_used;
        w->input_used = (size_t)(base - w->input) + input.size;
        if (run_defer(c))
            return RECEIVED_DEFERRED; /* its turn may even be over: c is not to be touched */
        w->input_used = used;
    }
    run_finish(w, c);
    return size == room ? RECEIVED_MORE : RECEIVED_ALL;
}

/* Execute the requests that were held back. */
static void resume(struct connection *c)
{
    if (c->gated && !c->client.worker->stopping)
        return;
    c->held = false;
    struct tarn_bytes input = buffer_view(&c->input);
    if (input.size == 0)
        return;
    size_t taken = connection_execute(c, input);
    run_finish(c->client.worker, c);
    fetch_done(c);
    keep_input(c, input, taken, false);
}

/* Throw away what a client sends that has been told good-bye. */
static void discard_input(struct connection *c)
{
    struct worker *w = c->client.worker;
    size_t size;
    int status = worker_discard(w, c->fd, &size);
    if (status == -EAGAIN)
        return;
    if (status != 0 || size == 0)
        c->state = CONNECTION_DEAD;
}

/* --- turns -------------------------------------------------------------------------------- */

/* What other threads may see of the connection between turns. */
static void show_state(struct connection *c)
{
    atomic_store_explicit(&c->protocol_shown, c->client.reply.protocol, memory_order_relaxed);
    atomic_store_explicit(&c->input_shown, c->input.size, memory_order_relaxed);
    atomic_store_explicit(&c->input_free_shown, c->input.capacity - c->input.size,
                          memory_order_relaxed);
    size_t unsent = c->output != NULL ? output_unsent(c->output) : 0;
    atomic_store_explicit(&c->output_shown, unsent, memory_order_relaxed);
    atomic_store_explicit(&c->references_shown, c->output != NULL ? c->output->refs_count : 0,
                          memory_order_relaxed);
    atomic_store_explicit(&c->closing_shown, c->state != CONNECTION_OPEN, memory_order_relaxed);
    atomic_store_explicit(&c->no_evict_shown, c->client.no_evict, memory_order_relaxed);
    atomic_store_explicit(&c->no_touch_shown, c->client.no_touch, memory_order_relaxed);
    atomic_store_explicit(&c->blocked_shown, c->parked, memory_order_relaxed);
    atomic_store_explicit(&c->monitors_shown, c->monitors, memory_order_relaxed);
}

/* Watch for what the connection's state waits for. */
static void watch(struct connection *c)
{
    uint32_t events = 0;
    if (c->state == CONNECTION_LINGERING ||
        (c->state == CONNECTION_OPEN && !c->held && !c->parked && !c->gate_deaf && !c->input_ended))
        events |= EPOLLIN;
    if (c->park_link != NULL)
        events |= EPOLLRDHUP; /* a client that goes does not wait for ever */
    if (c->output != NULL && !c->gated)
        events |= EPOLLOUT;
    if (events == c->events)
        return;
    if (loop_modify(&c->client.worker->loop, c->fd, events, &c->watch) != 0)
        c->state = CONNECTION_DEAD;
    c->events = events;
}

void connection_end_turn(struct connection *c)
{
    struct worker *w = c->client.worker;
    for (;;) {
        bool was_held = c->held;
        if (c->state != CONNECTION_DEAD)
            connection_send(c);
        if (c->stream.source != NULL && c->state == CONNECTION_OPEN && fetch_send_on(c)) {
            fetch_go_on(c);
            return;
        }
        if (!was_held || c->held || c->parked || c->gated || c->state != CONNECTION_OPEN)
            break;
        resume(c); /* the client has read meanwhile: no event will tell */
    }
    if (c->state == CONNECTION_OPEN && atomic_load_explicit(&c->kill, memory_order_relaxed))
        c->state = CONNECTION_CLOSING;
    if (c->state != CONNECTION_OPEN) {
        if (c->stream.source != NULL)
            c->state = CONNECTION_DEAD; /* in the middle of a value: nothing can follow */
        else
            fetch_forget(c);
        park_forget(c);
        client_monitor_end(&c->client);
    }
    if (output_unsent(c->out) == 0 && c->state != CONNECTION_DEAD && !c->held && !c->parked &&
        !c->gated) {
        uint64_t active_ns = atomic_load_explicit(&c->active_ns, memory_order_relaxed);
        bool quiet = w->stopping && w->now_ns - active_ns > LINGER_NS;
        if (c->input_ended || (c->state == CONNECTION_CLOSING && quiet)) {
            c->state = CONNECTION_DEAD;
        } else if (c->state == CONNECTION_CLOSING) {
            socket_finish_sending(c->fd);
            c->progress_ns = w->now_ns;
            c->state = CONNECTION_LINGERING;
        }
    }
    if (c->state != CONNECTION_DEAD)
        watch(c);
    if (c->state == CONNECTION_DEAD) {
        connection_close(c);
        return;
    }
    if ((c->output != NULL && !c->gated) || c->held || c->state == CONNECTION_LINGERING)
        worker_busy_add(w, c);
    else
        worker_busy_remove(w, c);
    account_buffers(c);
    show_state(c);
}

void connection_on_event(struct connection *c, uint32_t events)
{
    bool broken = (events & (EPOLLERR | EPOLLHUP)) != 0;
    broken |= c->park_link != NULL && (events & EPOLLRDHUP) != 0;
    c->gate_deaf = c->gated && (events & EPOLLIN) != 0; /* it sends more, which is left for now */
    if (c->output != NULL && (events & EPOLLOUT) != 0) {
        connection_send(c);
        if (c->state == CONNECTION_OPEN && !c->held && !c->parked)
            resume(c);
    }
    if (c->state == CONNECTION_LINGERING) {
        discard_input(c);
    } else if (c->state == CONNECTION_OPEN && !c->held && !c->parked && !c->gated &&
               !c->input_ended) {
        if (broken || (events & EPOLLIN) != 0)
            if (receive(c, true) == RECEIVED_DEFERRED)
                return; /* level-triggered: what is left comes with the next event */
    } else if (broken) {
        c->state = CONNECTION_DEAD;
    }
    connection_end_turn(c);
}

void connection_on_tick(struct connection *c)
{
    uint64_t still_ns = c->client.worker->now_ns - c->progress_ns;
    if (c->state == CONNECTION_LINGERING) {
        if (still_ns >= (c->client.worker->stopping ? TICK_NS : LINGER_NS))
            c->state = CONNECTION_DEAD;
    } else if (c->gated) {
        return;
    } else if (c->output != NULL && still_ns > OUTPUT_STALL_NS) {
        connection_cut(c, "unsent replies not read");
    } else if (c->held && still_ns > OUTPUT_PATIENCE_NS) {
        c->insistent = true;
        resume(c);
    } else {
        return;
    }
    connection_end_turn(c);
}

void connection_unpark(struct connection *c, const struct tarn_error *error)
{
    c->parked = c->parked_to_end = false;
    if (c->state == CONNECTION_OPEN && !c->parked_silent) {
        if (error != NULL)
            reply_error(&c->client.reply, "ERR %s", error->text);
        else
            reply_simple(&c->client.reply, "OK");
        c->replies++;
    }
    connection_go_on(c);
}

void connection_go_on(struct connection *c)
{
    if (c->state == CONNECTION_OPEN)
        resume(c);
    connection_end_turn(c);
}

/* Does it wait for the data file? It will go on. */
static bool is_reading(const struct connection *c)
{
    return c->state == CONNECTION_OPEN && (c->fetching || c->stream.source != NULL);
}

void connection_stop(struct connection *c)
{
    if (is_reading(c))
        return;
    if (c->parked && c->parked_to_end) {
        c->parked = false;
        c->state = CONNECTION_CLOSING;
    } else if (c->parked && c->park_link == NULL) {
        c->parked = false;
        if (!c->parked_silent) {
            reply_error(&c->client.reply, "ERR the server stops before this is done");
            c->replies++;
        }
    } else if (!park_stop(c) && c->state == CONNECTION_OPEN) {
        c->state = CONNECTION_CLOSING;
    }
    if (c->state == CONNECTION_OPEN) {
        c->insistent = true;
        resume(c);
        for (int i = 0; i < STOP_ROUNDS_MAX && c->state == CONNECTION_OPEN && !is_reading(c); i++)
            if (c->input_ended || receive(c, false) != RECEIVED_MORE)
                break;
        if (is_reading(c)) {
            connection_end_turn(c);
            return;
        }
    }
    if (c->state == CONNECTION_OPEN)
        c->state = CONNECTION_CLOSING;
    if (c->state == CONNECTION_LINGERING)
        c->state = CONNECTION_DEAD;
    connection_end_turn(c);
}
