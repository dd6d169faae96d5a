/* The server: workers, listening sockets, the HTTP front, and what they share.
 *
 *     server_open -> server_run (returns after SIGTERM/SIGINT and the last reply) -> server_close
 *
 * Threads: each worker is one thread with its own epoll loop, listening socket (SO_REUSEPORT),
 * store session and clients. Shared state: `config` (guarded by config_lock for live changes; hot
 * values are copied into atomics), counters (each worker has its own, summed on demand with
 * relaxed loads), the client lists (one mutex per worker). */
#ifndef SERVER_SERVER_H
#define SERVER_SERVER_H

#include "core/histogram.h"
#include "os/os.h"
#include "server/command.h"
#include "server/config.h"

/* The version of Redis that tarn answers like, for clients that ask (HELLO, INFO). */
#define SERVER_REDIS_VERSION "7.2.4"

struct server;

/* data_path: the immutable data file; NULL: none. Writable is a store without one, in memory or in
 * config's directory, and one over a data file, whose changes are in config's directory.
 * config: borrowed, must outlive the server. progress: called while the data are loaded and
 * indexed; NULL: a line is logged now and then. SIGTERM or SIGINT during that time: CANCELLED. */
TARN_MUST int server_open(const struct os *os, struct config *config, const char *data_path,
                          tarn_progress progress, void *progress_context,
                          struct server **ret_server, struct tarn_error *error);
/* Serve until told to stop: SIGTERM/SIGINT stop, SIGHUP reloads. */
TARN_MUST int server_run(struct server *server, struct tarn_error *error);
void server_close(struct server *server);
/* Begin a graceful stop, as SIGTERM does: server_run() returns when the replies are out. Any
 * thread. */
void server_stop(struct server *server);
/* The same, and a checkpoint is made at the end, or not, whatever the settings say. */
void server_stop_saving(struct server *server, bool save);

/* --- what commands, HTTP and metrics may ask; any thread unless said otherwise --- */

struct tarn *server_store(struct server *server);
const struct os *server_os(struct server *server);
struct config *server_config(struct server *server);
bool server_is_writable(const struct server *server); /* not only a data file: a table */
bool server_is_logged(struct server *server); /* it keeps a log: --dir, and durability not none */

/* Take effect of changed live settings (after CONFIG SET, under config_lock). */
void server_config_lock(struct server *server);
void server_config_unlock(struct server *server);
void server_config_changed(struct server *server);
/* Turn the store's dial as the config says now, if it has changed. Errors: INVALID (no directory),
 * IO. Under config_lock. */
TARN_MUST int server_dial_changed(struct server *server, struct tarn_error *error);

/* Start a reload, a checkpoint or a backup (argument: the new directory, copied; else NULL) on its
 * own thread. done(context, status, error) is called from that thread. Errors: BUSY if one of its
 * kind is under way, INVALID if there is no data file to reload, NOMEM. */
TARN_MUST int server_job_start(struct server *server, enum job_kind kind, const char *argument,
                               void (*done)(void *context, int status,
                                            const struct tarn_error *error),
                               void *context, struct tarn_error *error);

/* Sums over all workers since start or CONFIG RESETSTAT. */
struct server_counters {
    uint64_t connections_total, connections_rejected, connections_now, http_connections_now;
    uint64_t clients_blocked; /* waiting: in WAIT, DEBUG SLEEP, held by CLIENT PAUSE */
    uint64_t clients_gated;   /* whose replies are held until the log has gone on */
    uint64_t commands_total, http_requests_total;
    uint64_t keyspace_hits, keyspace_misses;
    uint64_t net_input_bytes, net_output_bytes;
    uint64_t errors_total, client_output_limit_cuts, clients_idle_closed;
    uint64_t buffers_bytes; /* connections and their input and output buffers, now */
    uint64_t keys_expired, keys_evicted;
};
void server_counters_get(struct server *server, struct server_counters *ret_counters);
void server_counters_reset(struct server *server);

/* Per command id (see command_count()). */
struct command_counters {
    uint64_t calls, us_total, rejected, failed;
};
void server_command_counters_get(struct server *server, unsigned id,
                                 struct command_counters *ret_counters);
/* Merge every worker's latency histogram (in ns) of a command into `into`. */
void server_command_latency_get(struct server *server, unsigned id, struct histogram *into);

/* Error replies by their first word ("ERR", "WRONGTYPE"); visits each with its count. */
void server_error_counts_visit(struct server *server,
                               void (*visit)(void *context, const char *word, uint64_t count),
                               void *context);

uint64_t server_uptime_seconds(struct server *server);
int64_t server_last_save_seconds(struct server *server); /* since 1970; LASTSAVE */
uint64_t server_ops_per_second(struct server *server);   /* over about the last second */
const char *server_run_id(struct server *server);        /* 40 hex digits */
uint16_t server_port(struct server *server);             /* as bound (port 0 picks one) */
uint16_t server_http_port(struct server *server);
const char *server_data_path(struct server *server); /* NULL: none */
unsigned server_thread_count(struct server *server);
/* Memory of the process itself, as counted in a writable store's cap. */
uint64_t server_base_bytes(const struct server *server);

/* --- clients --- */

/* Both copy, cut at CLIENT_NAME_BYTES_MAX and take the lock; "" unsets. Owner's thread only. */
void client_set_name(struct client *client, const char *name);
void client_set_lib(struct client *client, const char *name, const char *version); /* NULL: keep */

/* One CLIENT LIST line per client, in id order, Redis's fields. id 0: all, else only that one. */
void server_client_list(struct server *server, uint64_t id, struct buffer *out);
/* Which clients CLIENT KILL is to close; zero or NULL fields match everything. */
struct client_filter {
    uint64_t id;
    const char *address, *local_address;
    uint64_t skip_id; /* spare this one (SKIPME yes), 0 = none */
    uint64_t age_seconds_min;
};
/* Ask the owners to close matching clients after their present reply; returns how many. */
uint64_t server_client_kill(struct server *server, const struct client_filter *filter);

/* End the pause of CLIENT PAUSE. */
void server_unpause(struct server *server);
/* Are requests held now: those that write, or (writes false) those that read, too? */
bool server_is_paused(struct server *server, bool writes);
/* End the wait of a client in WAIT or WAITAOF as if its time were over, or with an error. False: it
 * does not wait. */
bool server_client_unblock(struct server *server, uint64_t id, bool with_error);

/* --- slow log --- */

struct slowlog_entry {
    uint64_t id;
    int64_t unix_seconds;
    uint64_t us;
    struct tarn_bytes args[32]; /* trimmed as Redis does */
    size_t args_count;
    char address[64];
    char name[CLIENT_NAME_BYTES_MAX + 1];
};
void server_slowlog_visit(struct server *server, size_t count,
                          void (*visit)(void *context, const struct slowlog_entry *entry),
                          void *context); /* newest first */
size_t server_slowlog_length(struct server *server);
void server_slowlog_reset(struct server *server);

#endif
