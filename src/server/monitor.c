/* MONITOR. How: the worker that executes a request writes its line and appends it to the queue of
 * each worker that has monitors; that worker copies what is queued to their output once a turn.
 * While nobody monitors this costs one relaxed load a request; while somebody does, requests are
 * executed one by one (server_hot.alone).
 *
 * Nobody waits for a monitor: a queue is bounded, and monitors that lose lines because it is full
 * are closed, as is one whose unsent output exceeds its limit. Arguments are shown up to
 * ARG_BYTES_MAX bytes and a line up to about LINE_BYTES_MAX, with a note of what is left out.
 *
 * Invariants: 1. monitors_count of a queue, the worker's list and server.monitors_now agree; each
 * monitor counts in server_hot.alone. Failure modes: no memory for a line: as if the queue were
 * full. */
#include "server/monitor.h"

#include "server/connection.h"

#define QUEUE_BYTES_MAX (16u << 20)
#define LINE_BYTES_MAX  (1u << 20)
#define ARG_BYTES_MAX   (64u << 10)

void monitor_queue_init(struct monitor_queue *q)
{
    *q = (struct monitor_queue){0};
    pthread_mutex_init(&q->lock, NULL);
    buffer_init(&q->lines, QUEUE_BYTES_MAX);
}

void monitor_queue_done(struct monitor_queue *q)
{
    buffer_done(&q->lines);
    pthread_mutex_destroy(&q->lock);
}

/* --- lines -------------------------------------------------------------------------------- */

static void append_argument(struct buffer *line, const struct resp_request *request, size_t index)
{
    struct tarn_bytes arg = request->args[index];
    size_t left_out = arg.size > ARG_BYTES_MAX ? arg.size - ARG_BYTES_MAX : 0;
    if (command_argument_is_secret(request, index)) {
        buffer_append_text(line, " \"(redacted)\"");
        return;
    }
    buffer_append_text(line, " \"");
    buffer_append_escaped(line, (struct tarn_bytes){arg.data, arg.size - left_out});
    if (left_out > 0)
        buffer_printf(line, "... (%zu more bytes)", left_out);
    buffer_append_text(line, "\"");
}

static void append_line(struct buffer *line, const struct client *client,
                        const struct resp_request *request)
{
    const struct os *os = client->worker->os;
    uint64_t now_us = (uint64_t)os->realtime_us(os);
    buffer_printf(line, "+%llu.%06llu [0 %s]", (unsigned long long)(now_us / 1000000),
                  (unsigned long long)(now_us % 1000000), client->address);
    for (size_t i = 0; i < request->count; i++) {
        if (line->size > LINE_BYTES_MAX) {
            buffer_printf(line, " \"... (%zu more arguments)\"", request->count - i);
            break;
        }
        append_argument(line, request, i);
    }
    buffer_append_text(line, "\r\n");
}

/* --- from the one who executes ------------------------------------------------------------ */

static void queue_line(struct worker *to, const struct buffer *line)
{
    struct monitor_queue *q = &to->monitor_queue;
    bool first = false;
    pthread_mutex_lock(&q->lock);
    if (q->monitors_count > 0) {
        first = q->lines.size == 0;
        buffer_append(&q->lines, line->data, line->size);
        q->lost |= q->lines.failed || line->failed;
    }
    pthread_mutex_unlock(&q->lock);
    if (first)
        loop_wake(&to->loop);
}

void monitor_feed(struct client *client, const struct command *command,
                  const struct resp_request *request)
{
    struct server *server = client->server;
    if (__builtin_expect(atomic_load_explicit(&server->monitors_now, memory_order_relaxed) == 0,
                         1) ||
        (command->flags & COMMAND_ADMIN))
        return;
    struct buffer line;
    buffer_init(&line, 0);
    append_line(&line, client, request);
    for (unsigned i = 0; i < server->workers_count; i++)
        queue_line(server->workers[i], &line);
    buffer_done(&line);
}

/* --- to the monitors ---------------------------------------------------------------------- */

/* The client may be closed by it. */
static void show_lines(struct connection *c, struct tarn_bytes lines, bool lost)
{
    if (c->state == CONNECTION_OPEN && lost)
        connection_cut(c, "commands to be shown to a monitor pile up");
    else if (c->state == CONNECTION_OPEN && c->output != NULL &&
             !server_memory_allows(c->client.server, lines.size))
        connection_cut(c, "out of memory for commands to be shown to a monitor");
    else if (c->state == CONNECTION_OPEN && c->client.reply_mode != CLIENT_REPLY_OFF)
        buffer_append(c->client.reply.out, lines.data, lines.size);
    connection_end_turn(c);
}

void monitor_deliver(struct worker *w)
{
    struct monitor_queue *q = &w->monitor_queue;
    if (w->monitors == NULL)
        return;
    pthread_mutex_lock(&q->lock);
    struct buffer lines = q->lines;
    bool lost = q->lost;
    buffer_init(&q->lines, QUEUE_BYTES_MAX);
    q->lost = false;
    pthread_mutex_unlock(&q->lock);
    struct connection *next;
    for (struct connection *c = w->monitors; c != NULL && (lost || lines.size > 0); c = next) {
        next = c->monitor_next;
        show_lines(c, buffer_view(&lines), lost);
    }
    buffer_done(&lines);
}

/* --- who monitors ------------------------------------------------------------------------- */

static void count_monitors(struct worker *w, int change)
{
    pthread_mutex_lock(&w->monitor_queue.lock);
    w->monitor_queue.monitors_count += (size_t)change;
    if (w->monitor_queue.monitors_count == 0)
        buffer_done(&w->monitor_queue.lines);
    pthread_mutex_unlock(&w->monitor_queue.lock);
    atomic_fetch_add_explicit(&w->server->monitors_now, (unsigned)change, memory_order_relaxed);
    atomic_fetch_add_explicit(&w->server->hot.alone, (unsigned)change, memory_order_relaxed);
}

void client_monitor(struct client *client)
{
    struct connection *c = connection_of(client);
    struct worker *w = client->worker;
    if (c->monitors)
        return; /* it has been answered before, as in Redis */
    c->monitors = client->is_monitor = true;
    c->monitor_next = w->monitors;
    w->monitors = c;
    count_monitors(w, 1);
    reply_simple(&client->reply, "OK");
}

void client_monitor_end(struct client *client)
{
    struct connection *c = connection_of(client);
    struct connection **link = &client->worker->monitors;
    if (!c->monitors)
        return;
    while (*link != c)
        link = &(*link)->monitor_next;
    *link = c->monitor_next;
    c->monitors = client->is_monitor = false;
    count_monitors(client->worker, -1);
}
