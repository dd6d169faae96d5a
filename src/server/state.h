/* The server's state, private to the server folder: what its workers share. */
#ifndef SERVER_STATE_H
#define SERVER_STATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "os/loop.h"
#include "server/farewell.h"
#include "server/http.h"
#include "server/server.h"
#include "server/slowlog.h"
#include "server/worker.h"

/* Settings that workers look at, copied from the config when it changes. */
struct server_hot {
    _Atomic uint64_t output_bytes_max, request_bytes_max, memory_bytes, max_connections;
    _Atomic uint64_t eviction; /* enum tarn_eviction */
    _Atomic uint64_t idle_ns_max, slowlog_us, slowlog_entries_max;
    _Atomic bool password_set;
    _Atomic unsigned alone; /* > 0: every request is admitted and executed alone, in no run */
};

struct server {
    const struct os *os;
    struct config *config;
    pthread_mutex_t config_lock;
    struct server_hot hot;
    char *data_path; /* NULL: none */
    struct tarn *store;
    bool writable;       /* the store is */
    bool on_disk;        /* a data file, whose records are read as they are asked for */
    bool loaded_at_open; /* nothing of it was left to be read in the background */
    /* Atomic: HTTP's threads answer /stats before http_open() has returned. */
    struct http *_Atomic http; /* NULL when off */
    _Atomic uint16_t http_port;
    uint16_t port;
    char run_id[41];
    uint64_t start_ns;
    _Atomic uint64_t base_bytes; /* memory of the process itself, counted in the store's cap */

    struct worker **workers;
    unsigned workers_count;
    _Atomic unsigned workers_running;
    _Atomic bool stopping;
    struct loop loop; /* of the thread in server_run: signals, and the end of workers */
    int signals_fd;
    struct farewell *farewell; /* from the beginning of the end; NULL: not yet, or none */

    _Atomic uint64_t client_id_next;
    _Atomic uint64_t connections_now; /* RESP, of all workers */
    _Atomic uint64_t ops_per_second;
    _Atomic unsigned fetches_held; /* fetches of a data file on disk that have come, or will */
    struct slowlog slowlog;

    _Atomic uint64_t stats_generation;
    pthread_mutex_t stats_lock;  /* guards base and resets */
    struct server_counters base; /* figures of HTTP and the store at the last reset */

    pthread_mutex_t pause_lock;      /* guards changes of the pause */
    _Atomic uint64_t pause_until_ns; /* CLIENT PAUSE, by the monotonic clock; 0: none */
    _Atomic bool pause_all;          /* of reads, too */
    _Atomic uint64_t pause_number;   /* of the last CLIENT PAUSE */
    _Atomic unsigned monitors_now;   /* clients that MONITOR */

    struct tarn_dial dial;              /* the store's; under config_lock */
    _Atomic int durability;             /* enum tarn_durability: the dial's */
    _Atomic int save_at_stop;           /* enum save_at_stop */
    struct tarn_listener *log_listener; /* gate.c's */
    _Atomic uint64_t log_events;        /* how often it was told of anything */
    _Atomic uint64_t dial_turns;        /* how often the dial was turned */

    pthread_mutex_t jobs_lock; /* guards the next */
    struct job_slot {
        pthread_t thread;
        bool running, started; /* started: the thread is to be joined */
        bool aborted;          /* what was to follow is not to */
    } jobs[JOBS_COUNT];
};

/* A checkpoint at the end: as the settings say, or as SHUTDOWN said. */
enum save_at_stop { SAVE_AS_SET, SAVE_YES, SAVE_NO };

static inline uint64_t hot_read(const _Atomic uint64_t *setting)
{
    return atomic_load_explicit(setting, memory_order_relaxed);
}

/* Are there as many connections, RESP and HTTP together, as may be? */
bool server_connections_full(struct server *server);

/* Do `extra` more bytes of connection buffers fit under the memory cap? (Beside a writable store a
 * little always does, so that somebody can come in and make room.) */
bool server_memory_allows(struct server *server, uint64_t extra);

/* ... or could they, if a writable store with an eviction policy freed all it holds? */
bool server_memory_could(struct server *server, uint64_t extra);

/* server_memory_allows(), and a store that evicts is given time to free memory: a quiescent state
 * of the session. */
bool server_memory_wait(struct server *server, struct tarn_session *session, uint64_t extra);

/* job.c: wait for all work under way, at the end of the server; make a last checkpoint, after those
 * under way. Errors: as tarn_checkpoint(), but BUSY. */
void server_jobs_join(struct server *server);
TARN_MUST int server_save(struct server *server, struct tarn_error *error);

/* listen.c: open the listening sockets of all workers on every bind address. ret_fds: one array of
 * workers_count x ret_addresses_count descriptors, worker by worker; the caller frees it and owns
 * the descriptors. ret_port: as bound. Errors: INVALID (an address), BUSY (port in use), DENIED,
 * IO, NOMEM. */
TARN_MUST int server_listen(const struct os *os, const char *addresses, uint16_t port,
                            unsigned workers_count, int **ret_fds, size_t *ret_addresses_count,
                            uint16_t *ret_port, struct tarn_error *error);

#endif
