/* The HTTP front's inside: what http.c (threads, connections, time), http_head.c (how requests are
 * framed), http_answer.c (who asks for what), http_read.c and http_write.c (what is done),
 * http_fetch.c (waiting for a data file on disk) and http_reply.c share. Nobody else includes this.
 */
#ifndef SERVER_HTTP_INTERNAL_H
#define SERVER_HTTP_INTERNAL_H

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>

#include "core/buffer.h"
#include "os/loop.h"
#include "server/http.h"
#include "server/http_request.h"
#include "server/state.h"

/* Bounds of the HTTP front, all in one place. */
#define HTTP_ADDRESSES_MAX               16          /* of --bind */
#define HTTP_THREADS_MAX                 2           /* fewer on a machine of one core */
#define HTTP_CONNECTION_BYTES            (16u << 10) /* request line, fields, reply head; per connection */
#define HTTP_MGET_BYTES_MAX              (16u << 20) /* of a body; also bounded by --request-limit, ... */
#define HTTP_MSET_BYTES_MAX              (64u << 20) /* ... as is this: any reply of /mget can be put back */
#define HTTP_DRAIN_BYTES_MAX             (1u << 20) /* of a body nobody wants, to keep the connection */
#define HTTP_KEYS_MAX                    65536u     /* of /mget and /mset */
#define HTTP_TAG_FIELDS_MAX              16 /* If-Match or If-None-Match fields of a request */
#define HTTP_REPLY_BYTES_MAX             (64u << 20) /* generated: /mget; also --output-bytes-max */
#define HTTP_BUFFERED_BYTES_MAX          (256u << 20) /* bodies and generated replies of all connections */
#define HTTP_BUFFERED_WRITABLE_BYTES_MAX (2ull << 30) /* ... of a writable store: four values */
#define HTTP_COPY_BYTES_MAX              (16u << 10) /* larger values are sent from the store itself */
#define HTTP_IDLE_SECONDS                60          /* where --idle-seconds-max says "never" */
#define HTTP_RATE_BYTES_MIN              (16u << 10) /* per second, below it a client is cut */
#define HTTP_REJECTING_MAX               64 /* connections over the limit being told so, a thread */
#define HTTP_COMMIT_US_MAX               10000000 /* that a write waits for being durable */
#define HTTP_CLOSE_SECONDS_MAX           5 /* that http_close() waits for replies under way */

#define HTTP_IMMUTABLE_TEXT "the data set is immutable: it can only be read"
#define HTTP_FULL_TEXT      "the memory limit is reached: nothing was written"
#define HTTP_NO_SPACE_TEXT  "there is no space left on the device: nothing was written"
#define HTTP_LOG_FAILED_TEXT                                                                       \
    "the log has failed: nothing was written, the store can only be read until it is started "     \
    "again"
#define HTTP_LOADING_FULL_TEXT                                                                     \
    "what the checkpoint holds does not fit in memory: it is looked up there, and cannot be "      \
    "listed"
#define HTTP_LOADING_FAILED_TEXT                                                                   \
    "the checkpoint cannot be read to its end: some keys cannot be read"
#define HTTP_UNREADABLE_TEXT "cannot read the key: "
#define HTTP_NO_READ_TEXT    "there is no memory to read with: try again"
#define HTTP_UNSURE_TEXT     "outcome unknown: the change may be kept or lost"

enum http_method { HTTP_GET = 1 << 0, HTTP_POST = 1 << 1, HTTP_PUT = 1 << 2, HTTP_DELETE = 1 << 3 };

enum http_route_flags {
    HTTP_PREFIX = 1 << 0, /* the rest of the path is the key */
    HTTP_KEYED = 1 << 1,  /* there is a key: with PREFIX there, else the parameter key */
    HTTP_OPEN = 1 << 2,   /* no password needed */
    HTTP_WRITES = 1 << 3, /* only with a writable store */
};

struct http_connection;
typedef enum MHD_Result http_answer(struct http_connection *c, struct MHD_Connection *mhd);

/* What there is, by path and methods. */
struct http_route {
    const char *path;
    unsigned methods;        /* enum http_method; GET is HEAD too */
    unsigned flags;          /* enum http_route_flags */
    unsigned takes;          /* of writes: enum http_parameter_flags */
    uint64_t body_bytes_max; /* 0: a body means nothing */
    http_answer *answer;
};

enum http_stage {
    HTTP_IDLE,  /* between requests: nothing or a part of a request's head has come */
    HTTP_HEAD,  /* the request line is there */
    HTTP_BODY,  /* the head was judged; the body, if any, is coming */
    HTTP_FETCH, /* the keys are being read */
    HTTP_REPLY, /* the reply is being sent */
};

/* One connection; owned by its thread. MHD's socket context and request context. */
struct http_connection {
    struct http_connection *next, *previous; /* the thread's list */
    struct http_thread *thread;
    int fd;               /* MHD's; valid until MHD tells that it closes the connection */
    uint64_t deadline_ns; /* cut the connection when the present stage lasts longer */
    enum http_stage stage;
    bool over_limit;            /* is to get 503 */
    bool cut;                   /* shut down by us, MHD will notice */
    bool suspended;             /* MHD does nothing with it until http_fetch_resume() */
    struct MHD_Connection *mhd; /* valid when suspended */

    /* the present request */
    struct buffer target;  /* copy of the raw request target; keeps its memory */
    const char *target_at; /* where MHD had it */
    size_t target_size;
    const struct http_route *route;    /* NULL: none fits */
    char allow[32];                    /* the methods that the path has, for 405 */
    bool is_head;                      /* method HEAD */
    struct tarn_bytes key;             /* decoded in place in target; data NULL: none */
    struct http_parameters parameters; /* of a write */
    bool prefers_commit; /* likewise: answer when it is durable, whatever the dial says */
    bool committed;      /* ... and that it is */
    struct buffer body;
    uint64_t body_announced, body_dropped; /* bytes: Content-Length; not kept */
    uint64_t buffered;                     /* this request's share of http->buffered_bytes */
    struct tarn_fetch *fetch;              /* records that were read for it; NULL: none */
    bool fetched;                          /* ... have come */
    struct tarn_bytes *keys;               /* of /mget, in body; NULL: not parsed yet */
    size_t keys_count;
    unsigned status; /* an error decided on, 0: none yet */
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
    struct tarn_session *session;        /* online while MHD runs */
    bool fetches;                        /* its data are on disk */
    char fetch_tag;                      /* in the loop: tarn_fetch_poll() has something to do */
    struct http_connection *connections; /* doubly linked */
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

/* --- http_fetch.c: a data file on disk; on the connection's thread --- */

/* The thread's part, when its session is open and before it is closed. 0, or a negative errno. */
TARN_MUST int http_fetch_open(struct http_thread *t);
void http_fetch_close(struct http_thread *t);
/* Have the keys read (borrowed for the call): true when they are in memory. False: return
 * *ret_result; the route's answer is called again when they have come, or an error was answered. */
bool http_fetch(struct http_connection *c, struct MHD_Connection *mhd,
                const struct tarn_bytes *keys, size_t count, enum MHD_Result *ret_result);
void http_fetch_end(struct http_connection *c); /* the request is done */
/* Have MHD go on with the connection, if it is suspended. */
void http_fetch_resume(struct http_connection *c);
/* `size` bytes of a large value from `offset` on, read as they are sent; takes over the stream.
 * NULL: no memory. */
struct MHD_Response *http_far_response(struct http_connection *c, struct MHD_Connection *mhd,
                                       struct tarn_stream *source, uint64_t offset, uint64_t size);

/* --- http_head.c --- */

/* What the fields of a request say that decides how it is taken. */
struct http_head {
    const char *method, *version;
    struct tarn_bytes host, authorization, content_length, transfer_encoding, origin;
    unsigned hosts, content_lengths, transfer_encodings, origins;
    bool expects, has_content_range, bad_name, prefers_commit;
    bool torn;            /* the fields do not follow one another */
    const char *field_at; /* where the next field must begin */
};
void http_head_scan(struct http_connection *c, struct MHD_Connection *mhd, const char *method,
                    const char *version, struct http_head *ret_head);
/* Why this request's framing must not be trusted, NULL if it may. *ret_status: 400 or 501. */
const char *http_head_doubt(const struct http_head *h, unsigned *ret_status);

/* If-Match and If-None-Match; each may stand in several fields, which are one list. */
struct http_tags {
    struct tarn_bytes fields[HTTP_TAG_FIELDS_MAX];
    unsigned count; /* 0: not given */
};
struct http_conditions {
    struct http_tags match, none_match;
};
/* False: more fields than HTTP_TAG_FIELDS_MAX. */
bool http_conditions_get(struct MHD_Connection *mhd, struct http_conditions *ret_conditions);

/* Does the list have the tag (or is it "*")? weak: as http_tag_listed(). */
static inline bool http_tags_have(const struct http_tags *tags, struct tarn_bytes tag, bool weak)
{
    bool have = false;

    for (unsigned i = 0; i < tags->count; i++)
        have = have || http_tag_listed(tags->fields[i], tag, weak);
    return have;
}

/* --- http_reply.c: each returns what MHD's callback is to return --- */

/* bytes: of the body, for the time it may take. response: NULL (no memory) is allowed; released. */
enum MHD_Result http_send(struct http_connection *c, struct MHD_Connection *mhd, unsigned status,
                          struct MHD_Response *response, uint64_t bytes);
enum MHD_Result http_answer_text(struct http_connection *c, struct MHD_Connection *mhd,
                                 unsigned status, struct tarn_bytes text, const char *type);
/* {"error": text} */
enum MHD_Result http_answer_error(struct http_connection *c, struct MHD_Connection *mhd,
                                  unsigned status, const char *text);
/* What a call of the store came to. */
enum MHD_Result http_answer_failure(struct http_connection *c, struct MHD_Connection *mhd,
                                    int status);
/* Why a JSON body was not understood. */
enum MHD_Result http_answer_bad_body(struct http_connection *c, struct MHD_Connection *mhd,
                                     const struct tarn_error *error);
/* A generated text, whose memory is taken over. */
enum MHD_Result http_answer_buffer(struct http_connection *c, struct MHD_Connection *mhd,
                                   struct buffer *text, const char *type);

#define HTTP_TAG_BYTES 19
/* The entity tag of a value, quotes included: it depends on the value alone. */
void http_tag_make(struct tarn_bytes value, char ret_tag[HTTP_TAG_BYTES]);

/* Count `bytes` more for this request; false if all requests together would be over the bound, or
 * the server over its cap. A store that evicts is given time to: a quiescent state. */
bool http_buffers_take(struct http_connection *c, uint64_t bytes);
void http_connection_release(struct http_connection *c); /* the request's buffers */

/* --- http_read.c and http_write.c: the routes' answers --- */

http_answer http_answer_value, http_answer_mget, http_answer_healthz, http_answer_stats,
    http_answer_metrics;
http_answer http_answer_put, http_answer_delete, http_answer_incr, http_answer_mset;

/* --- http_answer.c: MHD's callbacks for requests, on the thread that owns the connection --- */

void *http_target_seen(void *thread, const char *target, struct MHD_Connection *mhd);
enum MHD_Result http_request_handle(void *thread, struct MHD_Connection *mhd, const char *target,
                                    const char *method, const char *version, const char *data,
                                    size_t *data_size, void **context);
void http_request_done(void *thread, struct MHD_Connection *mhd, void **context,
                       enum MHD_RequestTerminationCode code);

#endif
