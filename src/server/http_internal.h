/* The HTTP front's inside: what http.c (threads, connections, time) and http_answer.c (requests
 * and replies) share. Nobody else includes this. */
#ifndef SERVER_HTTP_INTERNAL_H
#define SERVER_HTTP_INTERNAL_H

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>

#include "core/buffer.h"
#include "os/loop.h"
#include "server/http.h"
#include "server/state.h"

/* Bounds of the HTTP front, all in one place. */
#define HTTP_ADDRESSES_MAX      16          /* of --bind */
#define HTTP_THREADS_MAX        2           /* fewer on a machine of one core */
#define HTTP_CONNECTION_BYTES   (16u << 10) /* request line, fields, reply head; per connection */
#define HTTP_BODY_BYTES_MAX     (16u << 20) /* also bounded by --request-bytes-max */
#define HTTP_DRAIN_BYTES_MAX    (1u << 20)  /* of a body nobody wants, to keep the connection */
#define HTTP_MGET_KEYS_MAX      65536u
#define HTTP_REPLY_BYTES_MAX    (64u << 20)  /* generated: /mget; also --output-bytes-max */
#define HTTP_BUFFERED_BYTES_MAX (256u << 20) /* bodies and generated replies of all connections */
#define HTTP_COPY_BYTES_MAX     (16u << 10)  /* larger values are sent from the store itself */
#define HTTP_IDLE_SECONDS       60           /* where --idle-seconds-max says "never" */
#define HTTP_RATE_BYTES_MIN     (16u << 10)  /* per second, below it a client is cut */
#define HTTP_REJECTING_MAX      64 /* connections over the limit being told so, a thread */
#define HTTP_CLOSE_SECONDS_MAX  5  /* that http_close() waits for replies under way */

struct http_route;

enum http_stage {
    HTTP_IDLE,  /* between requests: nothing or a part of a request's head has come */
    HTTP_HEAD,  /* the request line is there */
    HTTP_BODY,  /* the head was judged; the body, if any, is coming */
    HTTP_REPLY, /* the reply is being sent */
};

/* One connection; owned by its thread. MHD's socket context and request context. */
struct http_connection {
    struct http_connection *next, *previous; /* the thread's list */
    struct http_thread *thread;
    int fd;               /* MHD's; valid until MHD tells that it closes the connection */
    uint64_t deadline_ns; /* cut the connection when the present stage lasts longer */
    enum http_stage stage;
    bool over_limit; /* is to get 503 */
    bool cut;        /* shut down by us, MHD will notice */

    /* the present request */
    struct buffer target;  /* copy of the raw request target; keeps its memory */
    const char *target_at; /* where MHD had it */
    size_t target_size;
    const struct http_route *route; /* NULL: none fits */
    bool is_head;                   /* method HEAD */
    struct tarn_bytes key;          /* of /kv, decoded in place in target; data NULL: none */
    struct buffer body;
    uint64_t body_dropped; /* bytes not kept */
    uint64_t buffered;     /* this request's share of http->buffered_bytes */
    unsigned status;       /* an error decided on, 0: none yet */
    const char *error_text;
};

/* Whether new connections are taken. OPENING: http_open() has not returned yet. */
enum http_state { HTTP_OPENING, HTTP_ACCEPTING, HTTP_STOPPED };

struct http_counters {
    _Atomic uint64_t requests, connections, hits, misses, rejected;
};

struct http_thread {
    struct http *http;
    pthread_t thread;
    struct loop loop;
    struct MHD_Daemon *daemon;
    struct tarn_session *session;                 /* online while MHD runs */
    struct http_connection *connections;          /* doubly linked */
    unsigned connections_count, connections_peak; /* now; most since memory was given back */
    unsigned rejecting_count;                     /* of them with over_limit */
    bool adding_over_limit; /* said to the callback of the connection being added */
    bool listening;         /* the listening sockets are in the loop... */
    bool accept_paused;     /* ... but not looked at until accept_again_ns */
    uint64_t accept_again_ns;
    uint64_t now_ns;           /* start of the present turn */
    uint64_t deadline_next_ns; /* no connection's deadline is earlier */
    struct http_counters counters;
};

struct http {
    struct server *server;
    const struct os *os;
    int listen_fds[HTTP_ADDRESSES_MAX]; /* their places are the tags in the threads' loops */
    unsigned listen_count;
    uint16_t port;
    bool is_loopback; /* bound to nothing else: the Host field is checked */
    uint64_t seed;
    _Atomic int state; /* enum http_state */
    _Atomic bool closing;
    _Atomic uint64_t close_deadline_ns; /* valid when closing */
    _Atomic uint64_t buffered_bytes;

    pthread_mutex_t lock; /* guards the next three, during http_open() */
    pthread_cond_t started;
    unsigned started_count;
    int start_status;
    struct tarn_error start_error;

    unsigned threads_count; /* running */
    struct http_thread threads[HTTP_THREADS_MAX];
};

static inline void http_count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* http.c: let the present stage last another idle time-out plus the time `bytes` take at the
 * lowest rate allowed. */
void http_connection_extend(struct http_connection *connection, uint64_t bytes);

/* http_answer.c: MHD's callbacks for requests, on the thread that owns the connection. */
void *http_target_seen(void *thread, const char *target, struct MHD_Connection *mhd);
enum MHD_Result http_request_handle(void *thread, struct MHD_Connection *mhd, const char *target,
                                    const char *method, const char *version, const char *data,
                                    size_t *data_size, void **context);
void http_request_done(void *thread, struct MHD_Connection *mhd, void **context,
                       enum MHD_RequestTerminationCode code);
void http_connection_release(struct http_connection *connection); /* the request's buffers */

#endif
