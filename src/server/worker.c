/* A worker's thread: wait, give each ready connection its turn, look after time.
 *
 * How: the store session is offline while the thread sleeps, so that a reload never waits for an
 * idle worker; going offline is also the quiescent state of every loop turn. Connections that need
 * attention without an event (unsent, held or lingering bytes) are in a list looked at every
 * TICK_NS; idle clients are looked for in slow sweeps over all. With none of these, the thread
 * sleeps without a time-out.
 *
 * Running out of descriptors must not stop the server or spin: a spare descriptor is given up to
 * accept and refuse the client, then taken back; when even that fails the listener rests for a
 * tick.
 *
 * Invariants: 1. A connection is closed only at the end of its own turn or between event batches,
 * and the run is empty between batches. 2. The worker's output is empty between turns.
 * Failure modes: a failing epoll_wait stops the whole server, with a log line. */
#include "server/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "os/socket.h"
#include "server/connection.h"
#include "server/fetch.h"
#include "server/gate.h"
#include "server/log.h"
#include "server/park.h"

#define ACCEPTS_MAX       64             /* per listener and turn */
#define ACCEPT_LOG_NS     60000000000ull /* at most one line a minute */
#define OUTPUT_KEPT_BYTES (128u << 10)
#define SWEEP_NS_MIN      1000000000ull
#define SWEEP_NS_MAX      10000000000ull
#define SLEEP_MS_MAX      3600000

/* --- life --------------------------------------------------------------------------------- */

static int open_spare(const struct os *os)
{
    int fd;
    return os->open(os, "/dev/null", O_RDONLY, 0, &fd) == 0 ? fd : -1;
}

int worker_open(struct server *server, unsigned index, const int *fds, size_t fds_count,
                struct worker **ret_worker, struct tarn_error *error)
{
    struct worker *w = calloc(1, sizeof *w);
    if (w == NULL)
        return error_set(error, TARN_NOMEM, "out of memory for a worker");
    w->server = server;
    w->os = server->os;
    w->index = index;
    w->spare_fd = -1;
    w->loop.epoll_fd = w->loop.wake_fd = -1;
    pthread_mutex_init(&w->clients_lock, NULL);
    output_init(&w->output, 0);
    w->parked_end = &w->parked;
    w->park_ns = UINT64_MAX;
    w->gated_end = &w->gated;
    monitor_queue_init(&w->monitor_queue);
    int status = TARN_NOMEM;
    w->input = malloc(INPUT_SHARED_BYTES);
    w->listeners = calloc(fds_count + 1, sizeof *w->listeners);
    if (w->input == NULL || w->listeners == NULL ||
        stats_init(&w->stats, &server->stats_generation) != TARN_OK) {
        status = error_set(error, TARN_NOMEM, "out of memory for a worker");
        goto fail;
    }
    status = loop_open(&w->loop);
    for (size_t i = 0; i < fds_count && status == 0; i++) {
        w->listeners[i] = (struct listener){.watch = {WATCH_LISTENER}, .fd = fds[i]};
        status = loop_add(&w->loop, fds[i], EPOLLIN, &w->listeners[i].watch);
    }
    if (status != 0) {
        status = os_error(error, status, "start", "an event loop");
        goto fail;
    }
    w->listeners_count = fds_count;
    w->spare_fd = open_spare(w->os);
    atomic_store(&w->buffers_bytes, INPUT_SHARED_BYTES);
    *ret_worker = w;
    return TARN_OK;
fail:
    worker_close(w);
    return status;
}

static void close_listeners(struct worker *w)
{
    for (size_t i = 0; i < w->listeners_count; i++) {
        loop_remove(&w->loop, w->listeners[i].fd);
        (void)w->os->close(w->os, w->listeners[i].fd);
    }
    w->listeners_count = 0;
}

void worker_charge(struct worker *w)
{
    uint64_t bytes =
        atomic_load_explicit(&w->buffers_bytes, memory_order_relaxed) + output_capacity(&w->output);
    if (bytes == w->charged_bytes)
        return;
    tarn_charge(w->server->store, (int64_t)(bytes - w->charged_bytes));
    w->charged_bytes = bytes;
}

void worker_close(struct worker *w)
{
    if (w == NULL)
        return;
    while (w->clients != NULL)
        connection_close(w->clients);
    close_listeners(w);
    loop_close(&w->loop);
    if (w->spare_fd >= 0)
        (void)w->os->close(w->os, w->spare_fd);
    job_drop(w);
    monitor_queue_done(&w->monitor_queue);
    stats_done(&w->stats);
    output_done(&w->output);
    free(w->listeners);
    free(w->input);
    pthread_mutex_destroy(&w->clients_lock);
    free(w);
}

void worker_busy_add(struct worker *w, struct connection *c)
{
    if (c->busy_link != NULL)
        return;
    c->busy_next = w->busy;
    c->busy_link = &w->busy;
    if (c->busy_next != NULL)
        c->busy_next->busy_link = &c->busy_next;
    w->busy = c;
    if (w->tick_ns == 0)
        w->tick_ns = w->now_ns + TICK_NS;
}

void worker_busy_remove(struct worker *w, struct connection *c)
{
    (void)w;
    if (c->busy_link == NULL)
        return;
    *c->busy_link = c->busy_next;
    if (c->busy_next != NULL)
        c->busy_next->busy_link = c->busy_link;
    c->busy_link = NULL;
    c->busy_next = NULL;
}

int worker_discard(struct worker *w, int fd, size_t *ret_size)
{
    if (w->input_used > INPUT_SHARED_BYTES / 2)
        run_finish(w, NULL); /* what waits there is answered: the input is free */
    return w->os->receive(w->os, fd, w->input + w->input_used, INPUT_SHARED_BYTES - w->input_used,
                          ret_size);
}

/* --- accepting ---------------------------------------------------------------------------- */

/* Say why, and close. What the client has sent already is read, so that closing does not send a
 * reset ahead of the answer. */
static void refuse(struct worker *w, int fd, const char *answer)
{
    struct iovec part = {(void *)(uintptr_t)answer, strlen(answer)};
    size_t size;
    /* The socket is new: there is room for one line, unless the client has gone already. */
    (void)!w->os->send(w->os, fd, &part, 1, &size);
    socket_finish_sending(fd);
    (void)!worker_discard(w, fd, &size);
    (void)w->os->close(w->os, fd);
    stats_add(&w->stats.connections_rejected, 1);
}

static void welcome(struct worker *w, int fd, const struct sockaddr_storage *peer)
{
    struct server *server = w->server;
    if (server_connections_full(server)) {
        refuse(w, fd, "-ERR max number of clients reached\r\n");
    } else if (!server_memory_allows(server, sizeof(struct connection))) {
        refuse(w, fd, "-ERR out of memory: no room for another connection\r\n");
    } else if (connection_open(w, fd, peer) != TARN_OK) {
        refuse(w, fd, "-ERR out of memory\r\n");
    }
}

/* Do not watch the listener until the next tick. */
static void rest(struct worker *w, struct listener *listener)
{
    if (loop_modify(&w->loop, listener->fd, 0, &listener->watch) != 0)
        return;
    listener->paused = true;
    if (w->tick_ns == 0)
        w->tick_ns = w->now_ns + TICK_NS;
}

/* No descriptor is left for a client that waits: refuse it with the spare one. False when that
 * fails, too. */
static bool shed(struct worker *w, struct listener *listener)
{
    struct sockaddr_storage peer;
    int fd;
    if (w->spare_fd < 0)
        return false;
    (void)w->os->close(w->os, w->spare_fd);
    int status = w->os->accept(w->os, listener->fd, &peer, &fd);
    if (status == 0)
        refuse(w, fd, "-ERR max number of clients reached\r\n");
    w->spare_fd = open_spare(w->os);
    return status == 0;
}

static void accept_clients(struct worker *w, struct listener *listener)
{
    for (int i = 0; i < ACCEPTS_MAX; i++) {
        struct sockaddr_storage peer;
        int fd;
        int status = w->os->accept(w->os, listener->fd, &peer, &fd);
        switch (status) {
        case 0:
            welcome(w, fd, &peer);
            break;
        case -EAGAIN:
            return;
        case -EMFILE:
        case -ENFILE:
            if (shed(w, listener))
                break;
            /* fall through */
        case -ENOBUFS:
        case -ENOMEM:
            if (w->accept_log_ns == 0 || w->now_ns - w->accept_log_ns > ACCEPT_LOG_NS) {
                w->accept_log_ns = w->now_ns;
                log_event(LOG_WARNING, "server", "accept-failed", "reason=\"%s\"",
                          strerror(-status));
            }
            rest(w, listener);
            return;
        default:
            break; /* this one client's trouble: the next may be well */
        }
    }
}

/* --- time --------------------------------------------------------------------------------- */

static void tick(struct worker *w)
{
    if (w->tick_ns == 0 || w->now_ns < w->tick_ns)
        return;
    w->tick_ns = 0;
    for (size_t i = 0; i < w->listeners_count; i++) {
        struct listener *listener = &w->listeners[i];
        if (!listener->paused)
            continue;
        if (w->spare_fd < 0)
            w->spare_fd = open_spare(w->os);
        if (loop_modify(&w->loop, listener->fd, EPOLLIN, &listener->watch) == 0)
            listener->paused = false;
        else
            w->tick_ns = w->now_ns + TICK_NS;
    }
    struct connection *next;
    for (struct connection *c = w->busy; c != NULL; c = next) {
        next = c->busy_next;
        connection_on_tick(c);
    }
    if (w->fetcher.starved != NULL)
        fetch_retry(w);
    if (w->busy != NULL || w->fetcher.starved != NULL)
        w->tick_ns = w->now_ns + TICK_NS;
}

/* Close clients that asked nothing for longer than allowed. */
static void sweep(struct worker *w)
{
    uint64_t idle_ns_max = hot_read(&w->server->hot.idle_ns_max);
    if (idle_ns_max == 0) {
        w->sweep_ns = 0;
        return;
    }
    uint64_t period = idle_ns_max / 4;
    period = period < SWEEP_NS_MIN ? SWEEP_NS_MIN : period > SWEEP_NS_MAX ? SWEEP_NS_MAX : period;
    if (w->sweep_ns == 0 || w->sweep_ns > w->now_ns + period)
        w->sweep_ns = w->now_ns + period;
    if (w->now_ns < w->sweep_ns)
        return;
    w->sweep_ns = w->now_ns + period;
    struct connection *next;
    for (struct connection *c = w->clients; c != NULL; c = next) {
        next = c->next;
        if (w->now_ns - atomic_load_explicit(&c->active_ns, memory_order_relaxed) < idle_ns_max ||
            c->output != NULL || c->parked || c->gated || c->monitors)
            continue;
        stats_add(&w->stats.idle_closed, 1);
        connection_close(c);
    }
}

/* Close the clients that CLIENT KILL has marked. */
static void close_killed(struct worker *w)
{
    if (!atomic_exchange_explicit(&w->kills_pending, false, memory_order_acquire))
        return;
    struct connection *next;
    for (struct connection *c = w->clients; c != NULL; c = next) {
        next = c->next;
        if (atomic_load_explicit(&c->kill, memory_order_relaxed) &&
            c->state != CONNECTION_LINGERING)
            connection_close(c);
    }
}

/* Accept and answer whoever came in time, then wait only for what is still unsent. */
static void begin_stop(struct worker *w)
{
    for (size_t i = 0; i < w->listeners_count; i++)
        accept_clients(w, &w->listeners[i]);
    close_listeners(w);
    w->stopping = true;
    struct connection *next;
    for (struct connection *c = w->clients; c != NULL; c = next) {
        next = c->next;
        connection_stop(c);
    }
}

/* How long the thread may sleep, in ms; -1: until something happens. */
static int sleep_ms(const struct worker *w, uint64_t stop_ns)
{
    uint64_t deadline = UINT64_MAX;
    if (w->tick_ns != 0)
        deadline = w->tick_ns;
    if (w->sweep_ns != 0 && w->sweep_ns < deadline)
        deadline = w->sweep_ns;
    if (w->park_ns < deadline)
        deadline = w->park_ns;
    if (w->stopping && stop_ns < deadline)
        deadline = stop_ns;
    if (deadline == UINT64_MAX)
        return -1;
    uint64_t ms = deadline <= w->now_ns ? 0 : (deadline - w->now_ns) / 1000000 + 1;
    return ms < SLEEP_MS_MAX ? (int)ms : SLEEP_MS_MAX;
}

/* --- the loop ----------------------------------------------------------------------------- */

static void dispatch(struct worker *w, const struct loop_event *event)
{
    struct watch *watch = event->tag;
    if (watch->kind == WATCH_LISTENER)
        accept_clients(w, (struct listener *)watch);
    else if (watch->kind == WATCH_FETCH)
        w->fetcher.due = true;
    else
        connection_on_event((struct connection *)watch, event->events);
}

static void serve(struct worker *w)
{
    struct server *server = w->server;
    uint64_t stop_ns = 0;
    for (;;) {
        struct loop_event events[LOOP_EVENTS_MAX];
        unsigned count;
        bool woken;
        tarn_offline(w->session);
        int status = loop_wait(&w->loop, sleep_ms(w, stop_ns), events, &count, &woken);
        tarn_online(w->session);
        if (status != 0) {
            log_event(LOG_ERROR, "server", "event-loop-failed", "reason=\"%s\"", strerror(-status));
            atomic_store(&server->stopping, true);
            return;
        }
        w->now_ns = w->os->monotonic_ns(w->os);
        stats_refresh(&w->stats);
        park_look(w);
        gate_begin_turn(w);
        uint64_t limit = hot_read(&server->hot.output_bytes_max);
        w->output.bytes.size_max = limit == 0 ? 0 : limit + OUTPUT_FLUSH_BYTES;
        for (unsigned i = 0; i < count; i++)
            dispatch(w, &events[i]);
        run_finish(w, NULL);
        if (w->fetcher.on)
            fetch_deliver(w);
        close_killed(w);
        job_deliver(w);
        (void)gate_push(w); /* what is due is delivered now */
        park_deliver(w);
        monitor_deliver(w);
        tick(w);
        sweep(w);
        buffer_trim(&w->output.bytes, OUTPUT_KEPT_BYTES);
        worker_charge(w);
        if (!w->stopping && atomic_load_explicit(&server->stopping, memory_order_acquire)) {
            stop_ns = w->now_ns + STOP_NS;
            begin_stop(w);
        }
        if (gate_push(w))
            loop_wake(&w->loop);
        if (w->fetcher.on)
            tarn_fetch_submit(w->session);
        if (w->stopping && (w->clients == NULL || w->now_ns >= stop_ns))
            return;
    }
}

void *worker_main(void *argument)
{
    struct worker *w = argument;
    struct server *server = w->server;
    struct tarn_error error;
    int status = gate_session_open(w, &error);
    bool opened = status == TARN_OK;
    if (opened)
        status = fetch_open(w, &error);
    if (status == TARN_OK) {
        w->now_ns = w->os->monotonic_ns(w->os);
        serve(w);
        while (w->clients != NULL)
            connection_close(w->clients);
    } else {
        log_event(LOG_ERROR, "server", "worker-failed", "reason=\"%s\"", error.text);
        atomic_store(&server->stopping, true);
    }
    if (opened) {
        fetch_close(w);
        tarn_session_close(w->session);
    }
    atomic_fetch_sub(&server->workers_running, 1);
    loop_wake(&server->loop);
    return NULL;
}
