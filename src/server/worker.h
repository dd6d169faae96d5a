/* A worker: one thread with its own event loop, listening sockets, store session and clients.
 *
 * Private to the server folder. Only the worker's thread touches a worker, except for: the client
 * list (under clients_lock), atomics, and loop_wake(). */
#ifndef SERVER_WORKER_H
#define SERVER_WORKER_H

#include <pthread.h>
#include <stdatomic.h>

#include "os/loop.h"
#include "server/monitor.h"
#include "server/output.h"
#include "server/server.h"
#include "server/stats.h"

#define INPUT_SHARED_BYTES (64u << 10) /* one receive takes at most this */
#define RUN_MAX            64          /* requests of one run */
#define RUN_SEGMENTS_MAX   16          /* connections that share a run */
#define RUN_ARGS_MAX       (4 * RUN_MAX)
#define NAME_CACHE_COUNT   32 /* a power of two */

/* What an event's tag points to. */
enum watch_kind { WATCH_LISTENER, WATCH_CONNECTION, WATCH_SIGNALS, WATCH_FETCH };
struct watch {
    enum watch_kind kind;
};

struct listener {
    struct watch watch;
    int fd;
    bool paused; /* out of descriptors: not watched for a moment */
};

/* Requests of a connection that wait in the run after its turn. */
struct run_segment {
    struct connection *connection;
    size_t end; /* its requests begin where the segment before ends */
};

/* Requests of one key each that wait to be executed together: of connections whose turn is over
 * but for these (segments), then of the one whose turn it is. */
struct run {
    size_t count, args_count;
    size_t handled_count; /* of them, those with a handler, not `read` */
    size_t segments_count;
    struct run_segment segments[RUN_SEGMENTS_MAX];
    struct tarn_bytes keys[RUN_MAX], values[RUN_MAX];
    struct resp_request requests[RUN_MAX];
    const struct command *commands[RUN_MAX];
    struct tarn_bytes args[RUN_ARGS_MAX]; /* of the requests */
};

/* The spelling of a gathered command's name (at most 8 bytes) that was admitted before. */
struct name_cache_entry {
    uint64_t packed;
    size_t size; /* 0: empty */
    const struct command *command;
};

struct connection;
struct job_result;

/* fetch.c's: reads of a data file on disk. */
struct fetcher {
    bool on;  /* there are such */
    bool due; /* tarn_fetch_poll() has something to do */
    struct watch watch;
    struct resp_parser *parser; /* looks ahead */
    struct tarn_bytes args[8];  /* its */
    struct tarn_bytes *keys;    /* to be fetched; a list for the moment */
    size_t keys_count, keys_capacity;
    struct connection *come;                   /* to be gone on with */
    struct connection *starved, **starved_end; /* waiting for memory; the longest first */
};

struct worker {
    struct server *server;
    const struct os *os;
    unsigned index;
    pthread_t thread;
    bool started; /* thread is to be joined */
    struct loop loop;
    struct tarn_session *session;
    struct listener *listeners;
    size_t listeners_count;
    int spare_fd; /* given up for a moment to refuse a client when descriptors run out */
    bool stopping;
    unsigned char *input; /* INPUT_SHARED_BYTES, used by every connection during its turn */
    size_t input_used;    /* of it: requests that wait in the run */
    struct output output; /* likewise */
    struct run run;
    bool alone; /* server_hot.alone, when the present requests began */
    struct name_cache_entry name_cache[NAME_CACHE_COUNT];
    uint64_t now_ns;         /* when the present loop turn began */
    uint64_t stamp_ns;       /* when the request before ended; 0: other work was done since */
    uint64_t tick_ns;        /* when to look at `busy` and paused listeners again; 0: never */
    uint64_t sweep_ns;       /* when to look for idle clients again */
    uint64_t attack_log_ns;  /* when a cross-protocol attack was last logged */
    uint64_t accept_log_ns;  /* when it was last logged that accepting fails */
    struct connection *busy; /* those with unsent, held or lingering bytes */
    struct connection *parked, **parked_end; /* park.c's; the longest waiting first */
    uint64_t park_ns;                        /* when the first of their waits ends; UINT64_MAX */
    struct connection *gated, **gated_end;   /* gate.c's; the longest waiting first */
    uint64_t acknowledged;    /* of the log, as far as this worker has looked: at least this */
    uint64_t log_events_seen; /* of the server's, when log_state was looked at */
    int log_state;
    unsigned log_waits; /* connections that wait for the log */
    uint64_t push;      /* highest sequence held since gate_push() */
    uint64_t dial_turns_seen;
    struct fetcher fetcher;
    struct connection *monitors;
    struct monitor_queue monitor_queue;
    struct stats stats;
    _Atomic uint64_t buffers_bytes; /* of its connections, and its input */
    uint64_t charged_bytes;         /* what of that, and of its output, the store counts */
    _Atomic uint64_t connections_now;
    _Atomic uint64_t parked_now, gated_now;
    _Atomic uint64_t pause_seen; /* server's pause_number, when the present turn began */
    _Atomic bool kills_pending, unparks_pending;
    _Atomic bool log_waiting;                 /* log_waits > 0: wake it when the log has gone on */
    _Atomic(struct job_result *) job_results; /* a list, for clients that wait */
    pthread_mutex_t clients_lock;             /* guards the list, and names of the clients in it */
    struct connection *clients;
};

/* Make a worker that is not yet running; it takes over the listening sockets in fds, on success
 * only. Errors: NOMEM, IO. */
TARN_MUST int worker_open(struct server *server, unsigned index, const int *fds, size_t fds_count,
                          struct worker **ret_worker, struct tarn_error *error);
/* After its thread has ended, or never began. NULL is allowed. */
void worker_close(struct worker *w);
/* The thread's body; argument: the worker. Returns when the server stops. */
void *worker_main(void *argument);

/* Have the store count what the worker's buffers take now. Owner's thread. */
void worker_charge(struct worker *w);

/* Receive once from the socket and forget what came. Owner's thread. */
TARN_MUST int worker_discard(struct worker *w, int fd, size_t *ret_size);

/* Is the connection to be given the worker's attention every tick? Owner's thread. */
void worker_busy_add(struct worker *w, struct connection *c);
void worker_busy_remove(struct worker *w, struct connection *c);

#endif
