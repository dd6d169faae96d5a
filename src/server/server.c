/* The server: opens the store, the listening sockets, the workers and the HTTP front; then waits
 * for signals until it is told to stop.
 *
 * Order of opening: what fails fast comes first (the ports), then the data, then HTTP. Signals are
 * blocked before any thread exists, so that all inherit it and only this thread sees them.
 *
 * Stopping: HTTP stops accepting; each worker accepts and answers what has come in time and closes
 * (see worker.c); when the last has ended, HTTP ends. A second signal ends the process at once.
 *
 * Invariants: 1. `workers` does not change between server_open and server_close. 2. workers_running
 * counts the threads that have not ended.
 * Failure modes: each is one line in *error; nothing stays open. */
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "os/socket.h"
#include "os/trim.h"
#include "server/connection.h"
#include "server/gate.h"
#include "server/log.h"
#include "store/store.h"

#define SYSTEM_BYTES           (3u << 20)
#define BASE_SHARE             8 /* of the cap of a data file on disk */
#define WORKER_STACK_BYTES     (256u << 10)
#define SAMPLE_MS              1000 /* of ops_per_second */
#define DESCRIPTORS_SPARE      32   /* log, signals, data and index files, HTTP, libraries */
#define DESCRIPTORS_PER_WORKER 8    /* event loop, listeners, clients being refused */
#define PROGRESS_NS            2000000000ull

/* --- opening ------------------------------------------------------------------------------ */

/* Few arenas, and large blocks always given back to the system: the memory that counts is the
 * data's. */
static void tune_allocator(void)
{
    (void)mallopt(M_ARENA_MAX, 2);
    (void)mallopt(M_MMAP_THRESHOLD, 256 << 10);
    (void)mallopt(M_TRIM_THRESHOLD, 256 << 10);
}

static int block_signals(struct server *server, struct tarn_error *error)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    int status = -pthread_sigmask(SIG_BLOCK, &set, NULL);
    if (status == 0)
        status = loop_signals_open(&set, &server->signals_fd);
    if (status != 0)
        return os_error(error, status, "watch", "signals");
    sigaddset(&set, SIGPIPE); /* a write to a closed socket is an error code, not an end */
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
    return TARN_OK;
}

static int make_run_id(struct server *server, struct tarn_error *error)
{
    unsigned char bytes[20];
    int status = server->os->entropy(server->os, bytes, sizeof bytes);
    if (status != 0)
        return os_error(error, status, "read", "random bytes");
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(server->run_id + 2 * i, 3, "%02x", bytes[i]);
    return TARN_OK;
}

static void set_hot(_Atomic uint64_t *setting, uint64_t value)
{
    atomic_store_explicit(setting, value, memory_order_relaxed);
}

/* Make room for max-connections descriptors, or take fewer connections: a client over the number
 * can be told so, one for whom there is no descriptor hardly. */
static void check_descriptors(struct server *server)
{
    struct config *config = server->config;
    uint64_t spare = DESCRIPTORS_SPARE + DESCRIPTORS_PER_WORKER * server->workers_count;
    uint64_t limit = socket_raise_limit(config->max_connections + spare);
    if (limit >= config->max_connections + spare)
        return;
    config->max_connections = limit > spare ? limit - spare : 1;
    set_hot(&server->hot.max_connections, config->max_connections);
    log_event(LOG_WARNING, "server", "descriptors",
              "limit=%llu max-connections=%llu advice=\"raise the limit (ulimit -n) for more\"",
              (unsigned long long)limit, (unsigned long long)config->max_connections);
}

/* The first loading of the data. */
struct loading {
    struct server *server;
    tarn_progress shown; /* NULL: log a line now and then */
    void *shown_context;
    uint64_t logged_ns;
};

/* Show how far it is; a signal to stop cancels. */
static bool on_loading(void *context, const char *phase, uint64_t done, uint64_t total)
{
    struct loading *loading = context;
    int signal = loop_signals_read(loading->server->signals_fd);
    if (signal == SIGTERM || signal == SIGINT)
        return false;
    if (loading->shown != NULL)
        return loading->shown(loading->shown_context, phase, done, total);
    uint64_t now = loading->server->os->monotonic_ns(loading->server->os);
    if (now - loading->logged_ns < PROGRESS_NS)
        return true;
    loading->logged_ns = now;
    log_event(LOG_INFO, "store", "loading", "phase=%s percent=%llu", phase,
              (unsigned long long)(total > 0 ? (unsigned __int128)done * 100 / total : 0));
    return true;
}

static void log_notice(void *context, const char *text)
{
    (void)context;
    log_event(LOG_INFO, "store", "notice", "text=\"%s\"", text);
}

/* What was found in the directory. */
static void log_recovery(struct server *server)
{
    struct tarn_log_stats log;
    tarn_log_stats_get(server->store, &log);
    if (log.durable_store)
        atomic_store(&server->durability, (int)log.dial.durability);
    server->loaded_at_open = !log.loading;
    log_event(
        LOG_INFO, "store", "recovered",
        "dir=\"%s\" data_file=\"%s\" closed_cleanly=%s checkpoint_records=%llu "
        "replayed_records=%llu replayed_bytes=%llu truncated_bytes=%llu sequence=%llu us=%llu "
        "loading=%s",
        server->config->directory, server->data_path != NULL ? server->data_path : "",
        log.closed_cleanly ? "yes" : "no", (unsigned long long)log.recovered_records,
        (unsigned long long)log.replayed_records, (unsigned long long)log.replayed_bytes,
        (unsigned long long)log.truncated_bytes, (unsigned long long)log.recovered_sequence,
        (unsigned long long)log.recovery_us, log.loading ? "in-background" : "done");
}

static void log_loaded(struct server *server, const struct tarn_stats *stats)
{
    struct tarn_disk_stats disk;
    tarn_disk_stats_get(server->store, &disk);
    server->on_disk = disk.on_disk;
    log_event(LOG_INFO, "store", "loaded",
              "path=%s keys=%llu data_bytes=%llu index_bytes=%llu index=%s load_us=%llu data=%s "
              "cache_bytes_max=%llu read_depth=%u",
              server->data_path, (unsigned long long)stats->keys,
              (unsigned long long)stats->data_bytes, (unsigned long long)stats->index_bytes,
              stats->index_built ? "built" : "read", (unsigned long long)stats->load_us,
              disk.on_disk ? "disk" : "memory", (unsigned long long)disk.cache_bytes_max,
              disk.depth);
}

static int open_store(struct server *server, tarn_progress progress, void *progress_context,
                      struct tarn_error *error)
{
    struct loading loading = {server, progress, progress_context,
                              server->os->monotonic_ns(server->os)};
    struct tarn_options options = config_store_options(server->config, server->data_path);
    options.progress = on_loading;
    options.progress_context = &loading;
    options.notice = log_notice;
    struct tarn_stats stats;
    int status = store_open(server->os, &options, &server->store, error);
    if (status != TARN_OK)
        return status;
    tarn_stats_get(server->store, &stats);
    server->writable = stats.writable;
    if (server->config->directory[0] != 0) {
        log_recovery(server);
        return TARN_OK;
    }
    if (server_is_writable(server)) {
        log_event(LOG_INFO, "store", "opened", "kind=writable memory=%llu",
                  (unsigned long long)server->config->memory_bytes);
        return TARN_OK;
    }
    log_loaded(server, &stats);
    return TARN_OK;
}

static int open_workers(struct server *server, int *fds, size_t addresses_count,
                        struct tarn_error *error)
{
    for (unsigned i = 0; i < server->workers_count; i++) {
        int *own = fds + i * addresses_count;
        int status = worker_open(server, i, own, addresses_count, &server->workers[i], error);
        if (status != TARN_OK)
            return status;
        for (size_t j = 0; j < addresses_count; j++)
            own[j] = -1; /* the worker's now */
    }
    return TARN_OK;
}

static int open_network(struct server *server, struct tarn_error *error)
{
    struct config *config = server->config;
    unsigned count = config->threads > 0 ? (unsigned)config->threads : os_core_count();
    int *fds;
    size_t addresses_count;
    server->workers = calloc(count, sizeof *server->workers);
    if (server->workers == NULL)
        return error_set(error, TARN_NOMEM, "out of memory for the workers");
    int status = server_listen(server->os, config->bind, (uint16_t)config->port, count, &fds,
                               &addresses_count, &server->port, error);
    if (status != TARN_OK)
        return status;
    server->workers_count = count;
    status = open_workers(server, fds, addresses_count, error);
    for (size_t i = 0; i < count * addresses_count; i++)
        if (fds[i] >= 0)
            (void)server->os->close(server->os, fds[i]);
    free(fds);
    return status;
}

static int open_http(struct server *server, struct tarn_error *error)
{
    const struct config *config = server->config;
    if (config->http_port == 0)
        return TARN_OK;
    struct http *http;
    int status = http_open(server, config->bind, (uint16_t)config->http_port, &http, error);
    if (status == TARN_OK) {
        server->http_port = http_port(http);
        server->http = http;
    }
    return status;
}

/* What the process takes beside store and buffers: program, libraries, stacks. */
static uint64_t own_bytes(const struct server *server)
{
    uint64_t resident = os_memory_resident(), used = tarn_memory_used(server->store);
    return resident > used ? resident - used : 0;
}

/* The cap holds for the process as a whole: what it takes itself must leave room. */
static int check_memory(const struct server *server, struct tarn_error *error)
{
    uint64_t limit = config_store_memory(server->config), own = own_bytes(server);
    if (!server_is_writable(server) || limit == 0 || own < limit)
        return TARN_OK;
    return error_set(error, TARN_TOOBIG,
                     "--memory: %llu bytes are too few, the empty server takes %llu itself",
                     (unsigned long long)server->config->memory_bytes, (unsigned long long)own);
}

int server_open(const struct os *os, struct config *config, const char *data_path,
                tarn_progress progress, void *progress_context, struct server **ret_server,
                struct tarn_error *error)
{
    tune_allocator();
    struct server *server = calloc(1, sizeof *server);
    if (server == NULL)
        return error_set(error, TARN_NOMEM, "out of memory for the server");
    server->os = os;
    server->config = config;
    server->loaded_at_open = true;
    server->dial = config_dial(config);
    server->loop.epoll_fd = server->loop.wake_fd = server->signals_fd = -1;
    server->start_ns = os->monotonic_ns(os);
    atomic_init(&server->client_id_next, 1);
    pthread_mutex_init(&server->config_lock, NULL);
    pthread_mutex_init(&server->stats_lock, NULL);
    pthread_mutex_init(&server->jobs_lock, NULL);
    pthread_mutex_init(&server->pause_lock, NULL);
    slowlog_init(&server->slowlog);
    server_config_changed(server);
    int status = TARN_NOMEM;
    server->data_path = data_path != NULL ? strdup(data_path) : NULL;
    if (data_path != NULL && server->data_path == NULL) {
        error_set(error, status, "out of memory for the server");
        goto fail;
    }
    if ((status = block_signals(server, error)) != TARN_OK ||
        (status = make_run_id(server, error)) != TARN_OK)
        goto fail;
    status = loop_open(&server->loop);
    if (status != 0) {
        status = os_error(error, status, "start", "an event loop");
        goto fail;
    }
    if ((status = open_network(server, error)) != TARN_OK)
        goto fail;
    check_descriptors(server);
    if ((status = open_store(server, progress, progress_context, error)) != TARN_OK ||
        (status = gate_listen(server, error)) != TARN_OK ||
        (status = open_http(server, error)) != TARN_OK ||
        (status = check_memory(server, error)) != TARN_OK)
        goto fail;
    *ret_server = server;
    return TARN_OK;
fail:
    server_close(server);
    return status;
}

void server_close(struct server *server)
{
    if (server == NULL)
        return;
    farewell_waits_for(server->farewell, "a checkpoint, a backup or a reload");
    server_jobs_join(server);
    farewell_waits_for(server->farewell, "HTTP requests");
    http_close(server->http);
    gate_unlisten(server);
    for (unsigned i = 0; i < server->workers_count; i++)
        worker_close(server->workers[i]);
    free(server->workers);
    farewell_waits_for(server->farewell, "the log to be written and synced");
    tarn_close(server->store);
    farewell_end(server->farewell);
    loop_close(&server->loop);
    if (server->signals_fd >= 0)
        (void)server->os->close(server->os, server->signals_fd);
    slowlog_done(&server->slowlog);
    pthread_mutex_destroy(&server->pause_lock);
    pthread_mutex_destroy(&server->jobs_lock);
    pthread_mutex_destroy(&server->stats_lock);
    pthread_mutex_destroy(&server->config_lock);
    free(server->data_path);
    free(server);
}

/* --- running ------------------------------------------------------------------------------ */

static int start_workers(struct server *server, struct tarn_error *error)
{
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, WORKER_STACK_BYTES);
    int status = 0;
    for (unsigned i = 0; i < server->workers_count && status == 0; i++) {
        struct worker *w = server->workers[i];
        status = pthread_create(&w->thread, &attributes, worker_main, w);
        if (status == 0)
            atomic_fetch_add(&server->workers_running, 1);
        w->started = status == 0;
    }
    pthread_attr_destroy(&attributes);
    return status == 0
               ? TARN_OK
               : error_set(error, TARN_NOMEM, "cannot start a thread: %s", strerror(status));
}

/* Of a data file on disk, whose cap may be that of a control group, also what the system takes for
 * the process: rings, sockets, tables of pages. A cache that is very small keeps most of its cap.
 */
static uint64_t base_on_disk(const struct server *server)
{
    uint64_t base = own_bytes(server) + SYSTEM_BYTES;
    uint64_t most = server->config->memory_bytes / BASE_SHARE;
    return base < most ? base : most;
}

/* Count in the cap what the process takes itself. */
static void charge_base(struct server *server)
{
    uint64_t base = server->on_disk ? base_on_disk(server) : own_bytes(server);
    atomic_store(&server->base_bytes, base);
    tarn_charge(server->store, (int64_t)base);
}

void server_stop_saving(struct server *server, bool save)
{
    atomic_store(&server->save_at_stop, save ? SAVE_YES : SAVE_NO);
    server_stop(server);
}

void server_stop(struct server *server)
{
    atomic_store_explicit(&server->stopping, true, memory_order_release);
    loop_wake(&server->loop); /* supervise() does the rest */
}

/* Leave signals to the end's own watch, which begins. */
static void begin_farewell(struct server *server, bool signalled)
{
    if (server->farewell != NULL)
        return;
    int status = farewell_begin(server->os, server->signals_fd, signalled, &server->farewell);
    if (status == 0)
        loop_remove(&server->loop, server->signals_fd);
    else
        log_event(LOG_WARNING, "server", "end-not-watched", "reason=\"%s\"", strerror(-status));
}

static void stop(struct server *server, bool signalled)
{
    begin_farewell(server, signalled);
    atomic_store_explicit(&server->stopping, true, memory_order_release);
    if (server->http != NULL)
        http_stop_accepting(server->http);
    for (unsigned i = 0; i < server->workers_count; i++)
        loop_wake(&server->workers[i]->loop);
}

static void log_ready(struct server *server)
{
    const char *bind = server->config->bind;
    int size = (int)strcspn(bind, ", ");
    bool v6 = memchr(bind, ':', (size_t)size) != NULL;
    const char *open = v6 ? "[" : "", *close = v6 ? "]" : "";
    char http[96] = "off";
    if (server->http != NULL)
        snprintf(http, sizeof http, "%s%.*s%s:%u", open, size, bind, close, server->http_port);
    log_event(LOG_INFO, "server", "ready", "resp=%s%.*s%s:%u http=%s bind=%s workers=%u", open,
              size, bind, close, server->port, http, bind, server->workers_count);
}

/* Act on the signals that have come, until the end's watch does. stopping: one to stop has come
 * before. */
static void take_signals(struct server *server, bool *stopping)
{
    while (server->farewell == NULL) {
        int signal = loop_signals_read(server->signals_fd);
        if (signal < 0)
            return;
        if (signal == SIGHUP) {
            struct tarn_error error;
            if (server_job_start(server, JOB_RELOAD, NULL, NULL, NULL, &error) != TARN_OK)
                log_event(LOG_WARNING, "server", "reload-refused", "reason=\"%s\"", error.text);
            continue;
        }
        if (*stopping) {
            log_event(LOG_WARNING, "server", "stopped", "reason=\"second signal\"");
            _exit(1);
        }
        *stopping = true;
        log_event(LOG_INFO, "server", "stopping", "signal=%s",
                  signal == SIGTERM ? "SIGTERM" : "SIGINT");
        stop(server, true);
    }
}

/* What has been answered since the last sample, per second. */
struct sample {
    uint64_t ns, operations;
};

static void take_sample(struct server *server, struct sample *last)
{
    struct server_counters counters;
    uint64_t now = server->os->monotonic_ns(server->os);
    uint64_t elapsed = now - last->ns;
    if (elapsed < SAMPLE_MS * 1000000ull)
        return;
    server_counters_get(server, &counters);
    uint64_t operations = counters.commands_total + counters.http_requests_total;
    uint64_t done = operations > last->operations ? operations - last->operations : 0;
    atomic_store_explicit(&server->ops_per_second, done * 1000000000 / elapsed,
                          memory_order_relaxed);
    *last = (struct sample){now, operations};
}

/* How the reading of a checkpoint that is served meanwhile was last told to go. */
struct reading {
    bool over;
    int status;
};

static void log_reading_stopped(const struct tarn_log_stats *log)
{
    if (log->loading_status == TARN_FULL)
        log_event(LOG_WARNING, "store", "loading-waits",
                  "reason=\"%s\" advice=\"give it more memory, or a policy: until then keys are "
                  "looked up in the checkpoint, and cannot be listed or saved\"",
                  log->loading_failure);
    else
        log_event(LOG_ERROR, "store", "loading-failed",
                  "reason=\"%s\" advice=\"keys in what cannot be read are answered an error; put a "
                  "backup in place, or stop the server and see tarn check and tarn repair\"",
                  log->loading_failure);
}

/* Tell when the checkpoint has been read, and when that does not go on. */
static void watch_reading(struct server *server, struct reading *last)
{
    struct tarn_log_stats log;
    struct tarn_stats stats;
    if (last->over)
        return;
    tarn_log_stats_get(server->store, &log);
    if (!log.loading) {
        tarn_stats_get(server->store, &stats);
        log_event(LOG_INFO, "store", "checkpoint-loaded", "keys=%llu",
                  (unsigned long long)stats.keys);
        last->over = true;
    } else if (log.loading_status != TARN_OK && log.loading_status != last->status) {
        last->status = log.loading_status;
        log_reading_stopped(&log);
    }
}

/* Wait for signals until every worker has ended. */
static int supervise(struct server *server)
{
    struct sample sample = {server->os->monotonic_ns(server->os), 0};
    struct reading reading = {.over = server->loaded_at_open, .status = TARN_OK};
    bool stopping = false;
    while (atomic_load(&server->workers_running) > 0) {
        struct loop_event events[LOOP_EVENTS_MAX];
        unsigned count;
        bool woken;
        int status = loop_wait(&server->loop, SAMPLE_MS, events, &count, &woken);
        if (status != 0)
            return status;
        take_signals(server, &stopping);
        take_sample(server, &sample);
        watch_reading(server, &reading);
        if (!stopping && atomic_load(&server->stopping)) {
            stopping = true; /* SHUTDOWN, or a worker failed and said so */
            log_event(LOG_INFO, "server", "stopping", "reason=request");
            stop(server, false);
        }
    }
    return 0;
}

/* The last checkpoint, if one is asked for. */
static int save_at_stop(struct server *server, struct tarn_error *error)
{
    int wanted = atomic_load(&server->save_at_stop);
    bool save = wanted == SAVE_AS_SET ? server->config->checkpoint_at_exit : wanted == SAVE_YES;
    if (!save || server->config->directory[0] == 0)
        return TARN_OK;
    int status = server_save(server, error);
    if (status != TARN_OK)
        error_prepend(error, "the checkpoint at the end");
    return status;
}

int server_run(struct server *server, struct tarn_error *error)
{
    struct watch signals = {WATCH_SIGNALS};
    int status = loop_add(&server->loop, server->signals_fd, EPOLLIN, &signals);
    if (status != 0)
        return os_error(error, status, "watch", "signals");
    int started = start_workers(server, error);
    if (started == TARN_OK) {
        os_trim_program(); /* 1-2 MB that only the start has touched */
        os_trim_heap();    /* what building the index has freed */
        if (server_is_writable(server) || server->on_disk)
            charge_base(server);
        log_ready(server);
    } else {
        stop(server, false);
    }
    status = supervise(server);
    if (status != 0)
        stop(server, false);
    for (unsigned i = 0; i < server->workers_count; i++)
        if (server->workers[i]->started)
            pthread_join(server->workers[i]->thread, NULL);
    if (server->farewell == NULL)
        loop_remove(&server->loop, server->signals_fd);
    farewell_waits_for(server->farewell, "the checkpoint at the end");
    int saved = save_at_stop(server, error);
    log_event(LOG_INFO, "server", "stopped", "uptime_seconds=%llu",
              (unsigned long long)server_uptime_seconds(server));
    if (started != TARN_OK)
        return started;
    return status == 0 ? saved : os_error(error, status, "wait for", "events");
}

/* --- asking ------------------------------------------------------------------------------- */

struct tarn *server_store(struct server *server)
{
    return server->store;
}

bool server_is_writable(const struct server *server)
{
    return server->writable;
}

bool server_is_logged(struct server *server)
{
    return atomic_load_explicit(&server->durability, memory_order_relaxed) != TARN_DURABILITY_NONE;
}

const struct os *server_os(struct server *server)
{
    return server->os;
}

struct config *server_config(struct server *server)
{
    return server->config;
}

void server_config_lock(struct server *server)
{
    pthread_mutex_lock(&server->config_lock);
}

void server_config_unlock(struct server *server)
{
    pthread_mutex_unlock(&server->config_lock);
}

void server_config_changed(struct server *server)
{
    const struct config *config = server->config;
    struct server_hot *hot = &server->hot;
    set_hot(&hot->output_bytes_max, config->output_bytes_max);
    set_hot(&hot->request_bytes_max, config->request_bytes_max);
    set_hot(&hot->memory_bytes, config->memory_bytes);
    set_hot(&hot->eviction, (uint64_t)config->eviction);
    set_hot(&hot->max_connections, config->max_connections);
    set_hot(&hot->idle_ns_max, config->idle_seconds_max * 1000000000);
    set_hot(&hot->slowlog_us, config->slowlog_us);
    set_hot(&hot->slowlog_entries_max, config->slowlog_entries_max);
    atomic_store_explicit(&hot->password_set, config->password[0] != 0, memory_order_relaxed);
    if (server->store != NULL)
        tarn_limit(server->store,
                   server_is_writable(server) ? config_store_memory(config) : config->memory_bytes,
                   (enum tarn_eviction)config->eviction);
    log_set_level((enum log_level)config->log_level);
    slowlog_trim(&server->slowlog, config->slowlog_entries_max);
    for (unsigned i = 0; i < server->workers_count; i++)
        if (server->workers[i] != NULL)
            loop_wake(&server->workers[i]->loop); /* for the sweeps of idle clients */
}

static bool dial_equal(const struct tarn_dial *a, const struct tarn_dial *b)
{
    return a->durability == b->durability && a->queue_depth == b->queue_depth &&
           a->period_us == b->period_us && a->log_format == b->log_format &&
           a->log_bytes_max == b->log_bytes_max && a->checkpoint_s == b->checkpoint_s;
}

int server_dial_changed(struct server *server, struct tarn_error *error)
{
    const struct config *config = server->config;
    struct tarn_dial dial = config_dial(config);
    if (dial_equal(&dial, &server->dial) && (config->directory[0] || !config->checkpoint_at_exit))
        return TARN_OK;
    if (config->directory[0] == 0)
        return error_set(error, TARN_INVALID,
                         "the store is in memory only: start the server with --dir DIR");
    int status = tarn_dial_set(server->store, &dial, error);
    if (status != TARN_OK)
        return status;
    server->dial = dial;
    atomic_store(&server->durability, (int)dial.durability);
    atomic_fetch_add_explicit(&server->dial_turns, 1, memory_order_release);
    gate_wake(server);
    return TARN_OK;
}

int64_t server_last_save_seconds(struct server *server)
{
    struct tarn_log_stats log;
    tarn_log_stats_get(server->store, &log);
    if (log.checkpoint_time_ms > 0)
        return log.checkpoint_time_ms / 1000;
    return server->os->realtime_us(server->os) / 1000000 - (int64_t)server_uptime_seconds(server);
}

uint64_t server_uptime_seconds(struct server *server)
{
    return (server->os->monotonic_ns(server->os) - server->start_ns) / 1000000000;
}

uint64_t server_ops_per_second(struct server *server)
{
    return atomic_load_explicit(&server->ops_per_second, memory_order_relaxed);
}

const char *server_run_id(struct server *server)
{
    return server->run_id;
}

uint16_t server_port(struct server *server)
{
    return server->port;
}

uint16_t server_http_port(struct server *server)
{
    return server->http_port;
}

uint64_t server_base_bytes(const struct server *server)
{
    return atomic_load_explicit(&server->base_bytes, memory_order_relaxed);
}

const char *server_data_path(struct server *server)
{
    return server->data_path;
}

unsigned server_thread_count(struct server *server)
{
    return server->workers_count;
}
