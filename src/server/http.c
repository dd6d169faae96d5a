/* The HTTP front: threads, connections and time. What requests mean is in http_answer.c.
 *
 * How: libmicrohttpd (MHD) parses and writes HTTP; it has no listening socket and no thread here.
 * One or two threads of ours share the listening socket. Each has a store session and an MHD
 * daemon in external epoll mode, whose epoll descriptor lies in our own event loop: so the thread
 * can put its session offline around the wait, refuse connections over the limit with an answer,
 * and stop accepting at once.
 *
 * Time: MHD cuts connections on which nothing moves. Against clients that send or read a byte now
 * and then, each stage of a request has a deadline of ours; a connection past it is shut down,
 * which MHD notices as its end. We look only when the earliest deadline has come, and while bodies
 * are being received, each second.
 *
 * Invariants
 * 1. A connection, its request and its replies live on one thread. Between threads: atomics only.
 * 2. The session is online exactly while MHD or a callback of ours runs.
 * 3. http_thread.deadline_next_ns is not later than any connection's deadline, nor than a second
 *    from now if one sends a body.
 * 4. MHD is never given a connection beyond its own limit (0.9.75 would lock up).
 * Failure modes: no descriptor for a new connection: accepting pauses for a moment; no memory:
 * that connection is closed. */
#include <assert.h>
#include <errno.h>
#include <malloc.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/assert.h"
#include "os/socket.h"
#include "server/http_internal.h"
#include "server/http_request.h"
#include "server/log.h"

#define SECOND_NS           1000000000ull
#define ACCEPT_BATCH_MAX    64
#define ACCEPT_PAUSE_NS     (SECOND_NS / 10)
#define LISTEN_BACKLOG      511
#define CROWD_MIN           256      /* connections: 4 MB */
#define MHD_CONNECTIONS_MAX 1000000u /* never reached: --max-connections is far lower */

#define REFUSAL "{\"error\":\"too many connections are open\"}"

/* --- deadlines --- */

static uint64_t idle_seconds(struct http *http)
{
    server_config_lock(http->server);
    uint64_t seconds = server_config(http->server)->idle_seconds_max;
    server_config_unlock(http->server);
    if (seconds == 0)
        return HTTP_IDLE_SECONDS;
    return seconds < 86400 ? seconds : 86400;
}

/* Sweep when this connection's deadline has come; while it sends a body, each second. */
static void look_by(struct http_thread *t, const struct http_connection *c, uint64_t deadline_ns)
{
    if (c->stage == HTTP_BODY && t->now_ns + SECOND_NS < deadline_ns)
        deadline_ns = t->now_ns + SECOND_NS;
    if (deadline_ns < t->deadline_next_ns)
        t->deadline_next_ns = deadline_ns;
}

/* Has the client gone in the middle of a body? MHD does not notice an end that comes together with
 * data: it is told of both at once, and looks no further when it has taken the data. */
static bool has_gone(const struct http_connection *c)
{
    char byte;
    return c->stage == HTTP_BODY && recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

void http_connection_extend(struct http_connection *connection, uint64_t bytes)
{
    struct http_thread *t = connection->thread;

    connection->deadline_ns =
        t->now_ns + idle_seconds(t->http) * SECOND_NS + bytes / HTTP_RATE_BYTES_MIN * SECOND_NS;
    look_by(t, connection, connection->deadline_ns);
}

/* Let MHD see the end of the connection. */
static void cut(struct http_connection *connection)
{
    connection->cut = true;
    shutdown(connection->fd, SHUT_RDWR);
    http_fetch_resume(connection);
}

/* Cut what is past its deadline or gone; when closing, also what is between two requests. */
static void sweep(struct http_thread *t)
{
    bool closing = atomic_load(&t->http->closing);

    t->deadline_next_ns = UINT64_MAX;
    for (struct http_connection *c = t->connections; c != NULL; c = c->next) {
        if (c->cut)
            continue;
        if (c->deadline_ns <= t->now_ns || (closing && c->stage == HTTP_IDLE) || has_gone(c))
            cut(c);
        else
            look_by(t, c, c->deadline_ns);
    }
}

/* --- connections --- */

/* One connection more or less (1 or -1). */
static void count_connection(struct http_thread *t, int change)
{
    http_count(&t->counters.connections, (uint64_t)change);
    tarn_charge(server_store(t->http->server), (int64_t)change * HTTP_CONNECTION_BYTES);
}

static void connection_started(struct http_thread *t, struct MHD_Connection *mhd,
                               void **socket_context)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct http_connection *c = calloc(1, sizeof *c);

    *socket_context = c;
    if (c == NULL) {
        shutdown(info->connect_fd, SHUT_RDWR);
        return;
    }
    c->thread = t;
    c->fd = info->connect_fd;
    c->over_limit = t->adding_over_limit;
    buffer_init(&c->target, HTTP_CONNECTION_BYTES);
    c->next = t->connections;
    if (c->next != NULL)
        c->next->previous = c;
    t->connections = c;
    if (++t->connections_count > t->connections_peak)
        t->connections_peak = t->connections_count;
    if (c->over_limit)
        t->rejecting_count++;
    else
        count_connection(t, 1);
    http_connection_extend(c, 0);
    MHD_set_connection_option(mhd, MHD_CONNECTION_OPTION_TIMEOUT, (unsigned)idle_seconds(t->http));
}

static void connection_closed(struct http_thread *t, struct http_connection *c)
{
    if (c == NULL)
        return;
    if (c->previous != NULL)
        c->previous->next = c->next;
    else
        t->connections = c->next;
    if (c->next != NULL)
        c->next->previous = c->previous;
    t->connections_count--;
    if (c->over_limit)
        t->rejecting_count--;
    else
        count_connection(t, -1);
    http_connection_release(c);
    buffer_done(&c->target);
    free(c);
}

static void on_connection(void *thread, struct MHD_Connection *mhd, void **socket_context,
                          enum MHD_ConnectionNotificationCode code)
{
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        connection_started(thread, mhd, socket_context);
    } else {
        connection_closed(thread, *socket_context);
        *socket_context = NULL;
    }
}

/* --- accepting --- */

/* Is there no room for another connection, by their number or by the cap on memory? */
static bool at_connection_limit(struct http *http)
{
    return server_connections_full(http->server) ||
           !server_memory_allows(http->server, HTTP_CONNECTION_BYTES);
}

/* Over the limit, and too many are being told so already: answer without having read. */
static void refuse(struct http *http, int fd)
{
    static char text[] = "HTTP/1.1 503 Service Unavailable\r\n"
                         "Connection: close\r\nRetry-After: 1\r\n"
                         "Content-Type: application/json\r\nContent-Length: 41\r\n\r\n" REFUSAL;
    static_assert(sizeof REFUSAL - 1 == 41, "Content-Length above");
    struct iovec part = {text, sizeof text - 1};
    size_t sent;

    /* A courtesy: that it may not arrive is no failure. */
    (void)http->os->send(http->os, fd, &part, 1, &sent);
    (void)http->os->close(http->os, fd);
}

/* Look for new connections, or do not for now. */
static bool accept_watch(struct http_thread *t, uint32_t events)
{
    struct http *http = t->http;
    bool ok = true;

    for (unsigned i = 0; i < http->listen_count; i++)
        ok &= loop_modify(&t->loop, http->listen_fds[i], events, &http->listen_fds[i]) == 0;
    return ok;
}

static void accept_pause(struct http_thread *t, int status)
{
    log_event(LOG_WARNING, "http", "accept failed", "error=\"%s\"", strerror(-status));
    t->accept_paused = accept_watch(t, 0);
    t->accept_again_ns = t->now_ns + ACCEPT_PAUSE_NS;
}

static void accept_resume(struct http_thread *t)
{
    t->accept_paused = !accept_watch(t, EPOLLIN);
    t->accept_again_ns = t->now_ns + ACCEPT_PAUSE_NS;
}

static void accept_some(struct http_thread *t, int listen_fd)
{
    struct http *http = t->http;

    for (int i = 0; i < ACCEPT_BATCH_MAX && atomic_load(&http->state) == HTTP_ACCEPTING; i++) {
        struct sockaddr_storage peer;
        int fd;
        int status = http->os->accept(http->os, listen_fd, &peer, &fd);
        if (status == -EAGAIN)
            return;
        if (status == -ECONNABORTED)
            continue;
        if (status != 0) {
            accept_pause(t, status);
            return;
        }
        t->adding_over_limit = at_connection_limit(http);
        if (t->adding_over_limit) {
            http_count(&t->counters.rejected, 1);
            if (t->rejecting_count >= HTTP_REJECTING_MAX) {
                refuse(http, fd);
                continue;
            }
        }
        socklen_t size =
            peer.ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
        /* On failure MHD has closed the socket; there is nobody to tell. */
        (void)MHD_add_connection(t->daemon, fd, (struct sockaddr *)&peer, size);
    }
}

/* --- the threads --- */

/* Milliseconds the thread may sleep; -1: for ever. */
static int wait_ms(struct http_thread *t)
{
    uint64_t until_ns = t->deadline_next_ns;
    MHD_UNSIGNED_LONG_LONG mhd_ms;

    if (t->accept_paused && atomic_load(&t->http->state) == HTTP_ACCEPTING &&
        t->accept_again_ns < until_ns)
        until_ns = t->accept_again_ns;
    if (atomic_load(&t->http->closing) && atomic_load(&t->http->close_deadline_ns) < until_ns)
        until_ns = atomic_load(&t->http->close_deadline_ns);
    uint64_t ms = UINT64_MAX;
    if (until_ns != UINT64_MAX) {
        uint64_t now_ns = t->http->os->monotonic_ns(t->http->os);
        ms = until_ns <= now_ns ? 0 : (until_ns - now_ns) / 1000000 + 1;
    }
    if (MHD_get_timeout(t->daemon, &mhd_ms) == MHD_YES && mhd_ms < ms)
        ms = mhd_ms;
    if (ms == UINT64_MAX)
        return -1;
    return ms < 3600000 ? (int)ms : 3600000;
}

/* After a crowd has left: what it took lies scattered in the allocator, which gives back only what
 * is at its ends by itself. */
static void give_back(struct http_thread *t)
{
    if (t->connections_peak < CROWD_MIN || t->connections_count > t->connections_peak / 4)
        return;
    malloc_trim(0);
    t->connections_peak = t->connections_count;
}

static void turn(struct http_thread *t)
{
    struct loop_event events[LOOP_EVENTS_MAX];
    unsigned count = 0;
    bool woken = false;
    int timeout_ms = wait_ms(t);

    if (timeout_ms != 0)
        tarn_offline(t->session);
    int status = loop_wait(&t->loop, timeout_ms, events, &count, &woken);
    ASSERT(status == 0); /* only descriptors of our own making can be wrong */
    if (timeout_ms != 0)
        tarn_online(t->session);
    else
        tarn_quiescent(t->session);

    t->now_ns = t->http->os->monotonic_ns(t->http->os);
    int state = atomic_load(&t->http->state);
    if (t->listening && state == HTTP_STOPPED) {
        for (unsigned i = 0; i < t->http->listen_count; i++)
            loop_remove(&t->loop, t->http->listen_fds[i]);
        t->listening = t->accept_paused = false;
    }
    if (t->accept_paused && t->accept_again_ns <= t->now_ns && state == HTTP_ACCEPTING)
        accept_resume(t);
    for (unsigned i = 0; i < count; i++)
        if (events[i].tag == &t->fetch_tag)
            tarn_fetch_poll(t->session);
        else if (events[i].tag != &t->daemon && t->listening)
            accept_some(t, *(int *)events[i].tag);
    MHD_run(t->daemon);
    if (t->deadline_next_ns <= t->now_ns || atomic_load(&t->http->closing))
        sweep(t);
    if (t->fetches)
        tarn_fetch_submit(t->session);
    give_back(t);
}

static bool finished(struct http_thread *t)
{
    return atomic_load(&t->http->closing) &&
           (t->connections == NULL || t->now_ns >= atomic_load(&t->http->close_deadline_ns));
}

static void *thread_main(void *thread)
{
    struct http_thread *t = thread;
    struct http *http = t->http;
    struct tarn_error error = {0};
    int status = tarn_session_open(server_store(http->server), &t->session, &error);
    if (status == TARN_OK) {
        int failure = http_fetch_open(t);
        if (failure != 0) {
            status = os_error(&error, failure, "cannot watch", "reads of the data file");
            tarn_session_close(t->session);
        }
    }

    pthread_mutex_lock(&http->lock);
    http->started_count++;
    if (status != TARN_OK) {
        http->start_status = status;
        http->start_error = error;
    }
    pthread_cond_signal(&http->started);
    pthread_mutex_unlock(&http->lock);
    if (status != TARN_OK)
        return NULL;

    while (!finished(t))
        turn(t);
    for (struct http_connection *c = t->connections; c != NULL; c = c->next)
        cut(c); /* MHD must not be stopped while one is suspended */
    MHD_stop_daemon(t->daemon);
    t->daemon = NULL;
    ASSERT(t->connections == NULL);
    http_fetch_close(t);
    tarn_session_close(t->session);
    return NULL;
}

/* --- opening --- */

/* Keys may hold any byte, so the target is decoded by us: MHD shall leave it alone. */
static size_t keep_escapes(void *thread, struct MHD_Connection *mhd, char *text)
{
    (void)thread;
    (void)mhd;
    return strlen(text);
}

static int thread_prepare(struct http *http, struct http_thread *t, struct tarn_error *error)
{
    t->http = http;
    t->now_ns = http->os->monotonic_ns(http->os);
    t->deadline_next_ns = UINT64_MAX;
    int status = loop_open(&t->loop);
    if (status != 0)
        return os_error(error, status, "cannot make", "an event loop");
    struct tarn_disk_stats disk;
    tarn_disk_stats_get(server_store(http->server), &disk);
    t->daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | (disk.on_disk ? MHD_ALLOW_SUSPEND_RESUME : 0), 0,
        NULL, NULL, http_request_handle, t, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)HTTP_CONNECTION_BYTES, MHD_OPTION_CONNECTION_LIMIT, MHD_CONNECTIONS_MAX,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)idle_seconds(http), MHD_OPTION_NOTIFY_CONNECTION,
        on_connection, t, MHD_OPTION_NOTIFY_COMPLETED, http_request_done, t,
        MHD_OPTION_URI_LOG_CALLBACK, http_target_seen, t, MHD_OPTION_UNESCAPE_CALLBACK,
        keep_escapes, t, MHD_OPTION_END);
    const union MHD_DaemonInfo *info =
        t->daemon != NULL ? MHD_get_daemon_info(t->daemon, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
    if (info == NULL)
        return error_set(error, TARN_NOMEM, "cannot start libmicrohttpd");
    status = loop_add(&t->loop, info->epoll_fd, EPOLLIN, &t->daemon);
    for (unsigned i = 0; i < http->listen_count && status == 0; i++)
        status = loop_add(&t->loop, http->listen_fds[i], 0, &http->listen_fds[i]);
    if (status != 0)
        return os_error(error, status, "cannot watch", "the HTTP sockets");
    t->listening = true;
    t->accept_paused = true; /* until http_open() is about to return */
    return TARN_OK;
}

/* With all signals blocked: they are for the thread that runs the server. */
static int thread_start(struct http_thread *t, struct tarn_error *error)
{
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int status = pthread_create(&t->thread, NULL, thread_main, t);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return status == 0 ? TARN_OK : os_error(error, -status, "cannot start", "an HTTP thread");
}

/* Start the threads and wait until each has its session. */
static int threads_start(struct http *http, unsigned count, struct tarn_error *error)
{
    int status = TARN_OK;

    for (unsigned i = 0; i < count && status == TARN_OK; i++) {
        status = thread_start(&http->threads[i], error);
        if (status == TARN_OK)
            http->threads_count++;
    }
    pthread_mutex_lock(&http->lock);
    while (http->started_count < http->threads_count)
        pthread_cond_wait(&http->started, &http->lock);
    if (status == TARN_OK && http->start_status != TARN_OK) {
        status = http->start_status;
        if (error != NULL)
            *error = http->start_error;
    }
    pthread_mutex_unlock(&http->lock);
    return status;
}

static void wake_all(struct http *http)
{
    for (unsigned i = 0; i < http->threads_count; i++)
        loop_wake(&http->threads[i].loop);
}

/* Listen on every address of a comma-separated list. Port 0: the first one's choice. */
static int listen_all(struct http *http, const char *addresses, uint16_t port,
                      struct tarn_error *error)
{
    const char *p = addresses;

    http->is_loopback = true;
    http->port = port;
    while (true) {
        char address[64], where[96];
        size_t size = strcspn(p, ",");
        if (http->listen_count == HTTP_ADDRESSES_MAX)
            return error_set(error, TARN_INVALID, "--bind: more than %d addresses",
                             HTTP_ADDRESSES_MAX);
        snprintf(address, sizeof address, "%.*s", (int)(size < 63 ? size : 63), p);
        snprintf(where, sizeof where, "HTTP on %s port %u", address, http->port);
        int fd;
        int status = http->os->listen(http->os, address, http->port, LISTEN_BACKLOG, false, &fd);
        if (status != 0)
            return os_error(error, status, "cannot listen for", where);
        http->listen_fds[http->listen_count++] = fd;
        http->is_loopback = http->is_loopback && http_address_is_loopback(address);
        if (http->port == 0)
            http->port = socket_local_port(fd);
        if (p[size] == 0)
            return TARN_OK;
        p += size + 1;
    }
}

int http_open(struct server *server, const char *address, uint16_t port, struct http **ret_http,
              struct tarn_error *error)
{
    unsigned count = os_core_count() < HTTP_THREADS_MAX ? 1 : HTTP_THREADS_MAX;
    struct http *http = calloc(1, sizeof *http);

    if (http == NULL)
        return error_set(error, TARN_NOMEM, "out of memory");
    http->server = server;
    http->os = server_os(server);
    atomic_init(&http->state, HTTP_OPENING);
    pthread_mutex_init(&http->lock, NULL);
    pthread_cond_init(&http->started, NULL);
    for (unsigned i = 0; i < HTTP_THREADS_MAX; i++)
        http->threads[i].loop = (struct loop){.epoll_fd = -1, .wake_fd = -1};

    int status = http->os->entropy(http->os, &http->seed, sizeof http->seed);
    if (status != 0) {
        status = os_error(error, status, "cannot read", "random numbers");
        goto fail;
    }
    status = listen_all(http, address, port, error);
    if (status != TARN_OK)
        goto fail;
    for (unsigned i = 0; i < count; i++) {
        status = thread_prepare(http, &http->threads[i], error);
        if (status != TARN_OK)
            goto fail;
    }
    status = threads_start(http, count, error);
    if (status != TARN_OK)
        goto fail;
    /* Only now: what the threads ask of the server may lead back here, through *ret_http. */
    *ret_http = http;
    atomic_store(&http->state, HTTP_ACCEPTING);
    wake_all(http);
    return TARN_OK;
fail:
    http_close(http);
    return status;
}

uint16_t http_port(const struct http *http)
{
    return http->port;
}

void http_stop_accepting(struct http *http)
{
    /* The shutdown makes the kernel refuse further connections at once, instead of leaving them
     * in a queue that nobody reads. */
    if (atomic_exchange(&http->state, HTTP_STOPPED) != HTTP_STOPPED)
        for (unsigned i = 0; i < http->listen_count; i++)
            shutdown(http->listen_fds[i], SHUT_RDWR);
    wake_all(http);
}

void http_close(struct http *http)
{
    if (http == NULL)
        return;
    atomic_store(&http->close_deadline_ns,
                 http->os->monotonic_ns(http->os) + HTTP_CLOSE_SECONDS_MAX * SECOND_NS);
    atomic_store(&http->closing, true);
    http_stop_accepting(http);
    for (unsigned i = 0; i < http->threads_count; i++)
        pthread_join(http->threads[i].thread, NULL);
    for (unsigned i = 0; i < HTTP_THREADS_MAX; i++) {
        /* Still there if its thread never ran or had no session. */
        if (http->threads[i].daemon != NULL)
            MHD_stop_daemon(http->threads[i].daemon);
        loop_close(&http->threads[i].loop);
    }
    for (unsigned i = 0; i < http->listen_count; i++)
        (void)http->os->close(http->os, http->listen_fds[i]); /* it holds nothing to lose */
    ASSERT(atomic_load(&http->buffered_bytes) == 0);
    pthread_cond_destroy(&http->started);
    pthread_mutex_destroy(&http->lock);
    free(http);
}

uint64_t http_connections_now(const struct http *http)
{
    uint64_t connections = 0;

    for (unsigned i = 0; i < HTTP_THREADS_MAX; i++)
        connections +=
            atomic_load_explicit(&http->threads[i].counters.connections, memory_order_relaxed);
    return connections;
}

uint64_t http_buffers_bytes(const struct http *http)
{
    return http_connections_now(http) * HTTP_CONNECTION_BYTES +
           atomic_load_explicit(&http->buffered_bytes, memory_order_relaxed);
}

void http_counters_get(const struct http *http, uint64_t *ret_requests, uint64_t *ret_connections,
                       uint64_t *ret_hits, uint64_t *ret_misses, uint64_t *ret_rejected)
{
    uint64_t sums[5] = {0};

    for (unsigned i = 0; i < HTTP_THREADS_MAX; i++) {
        const struct http_counters *c = &http->threads[i].counters;
        sums[0] += atomic_load_explicit(&c->requests, memory_order_relaxed);
        sums[1] += atomic_load_explicit(&c->connections, memory_order_relaxed);
        sums[2] += atomic_load_explicit(&c->hits, memory_order_relaxed);
        sums[3] += atomic_load_explicit(&c->misses, memory_order_relaxed);
        sums[4] += atomic_load_explicit(&c->rejected, memory_order_relaxed);
    }
    *ret_requests = sums[0];
    *ret_connections = sums[1];
    *ret_hits = sums[2];
    *ret_misses = sums[3];
    *ret_rejected = sums[4];
}
