/* A connection: a client and the bytes that come and go. Private to the server folder; owned by
 * one worker, whose thread makes all calls.
 *
 * Memory. A connection that waits for a request has no buffer at all: requests are received into
 * the worker's input and answered from the worker's output; only an incomplete request or an
 * unsent reply is copied to buffers of the connection's own. */
#ifndef SERVER_CONNECTION_H
#define SERVER_CONNECTION_H

#include "server/state.h"

#define REFERENCE_BYTES_MIN (16u << 10) /* values from here on are sent without copying */
_Static_assert(REFERENCE_BYTES_MIN >= TARN_PIN_BYTES_MIN, "they are pinned");
#define OUTPUT_FLUSH_BYTES    (64u << 10)  /* send in the middle of a turn when this has piled up */
#define OUTPUT_PAUSE_BYTES    (1u << 20)   /* unsent: wait for the client to read before going on */
#define OUTPUT_STRANGER_BYTES (256u << 10) /* unsent, before authentication: over it, cut */
#define OUTPUT_PATIENCE_NS    200000000ull /* it reads nothing: go on, up to the limit */
#define OUTPUT_STALL_NS       60000000000ull /* it reads nothing: cut it */
#define LINGER_NS             1000000000ull  /* wait for the client to close its side */
#define STOP_NS               5000000000ull  /* wait for unsent replies at the end of the server */
#define TICK_NS               100000000ull

enum connection_state {
    CONNECTION_OPEN,
    CONNECTION_CLOSING,   /* answers nothing more: send what is unsent, then linger */
    CONNECTION_LINGERING, /* all sent, FIN sent: discard input until the client closes too, so that
                             no reset overtakes the last reply */
    CONNECTION_DEAD,      /* close at the end of the turn */
};

/* What a parked connection waits for; see park.h. */
enum park_kind {
    PARK_PAUSE,    /* CLIENT PAUSE holds its request, which is not yet taken from the input */
    PARK_SEEN,     /* it has asked CLIENT PAUSE: until all workers obey */
    PARK_WAIT,     /* WAIT */
    PARK_WAIT_AOF, /* WAITAOF */
    PARK_SLEEP,    /* DEBUG SLEEP */
};

struct connection {
    struct watch watch;
    enum connection_state state;
    struct client client;
    int fd;
    uint32_t events;    /* watched now */
    bool input_ended;   /* the client has sent FIN */
    bool held;          /* complete requests may wait in `input` until output was read */
    bool parked;        /* waits (for a job, in park.c or fetch.c); later requests wait with it */
    bool parked_silent; /* ... and wants no reply */
    bool parked_to_end; /* ... and for the end of the server */
    bool gated;         /* replies are held for the log; in gate.c's list */
    bool gate_deaf;     /* ... and it has sent more meanwhile: EPOLLIN is not watched */
    bool monitors;      /* MONITOR; in the worker's list of monitors */
    bool insistent;     /* reads nothing but goes on asking: no holding until all is sent */
    struct resp_parser *parser;
    struct buffer input;   /* received but not executed */
    size_t input_used_max; /* bytes of it that have been written to since it was allocated */
    struct output *output; /* unsent; NULL when all is sent */
    struct output *out;    /* where replies go now: `output`, or the worker's */
    uint64_t buffers_bytes;
    uint64_t progress_ns;                      /* when output last moved, or lingering began */
    struct connection *busy_next, **busy_link; /* busy_link NULL: not in the worker's list */
    struct connection *park_next, **park_link; /* likewise, park.c's */
    struct connection *monitor_next;           /* monitor.c's */
    struct tarn_fetch *fetch;                  /* fetch.c's: records its next requests read */
    bool fetching;                             /* ... or are under way; it is parked */
    bool fetch_alone;                          /* ... of the next request only */
    uint8_t fetch_tries;                       /* in which it had no room, nor had others any */
    size_t fetch_window;                       /* keys at a time; 0: not yet known */
    size_t fetched, fetched_first;             /* bytes of its input that may be executed: of a
                                                  window left, and in all */
    struct connection *come_next, **come_link; /* in a list of fetch.c's; NULL: in none */
    struct stream {                            /* fetch_far.c's: a value sent by pieces */
        struct tarn_stream *source;            /* NULL: none */
        uint64_t left, size;                   /* bytes to be sent: now, and at first */
        bool reading;                          /* a piece is under way */
    } stream;
    enum park_kind park_kind;
    uint64_t park_until_ns, park_number;
    bool park_log, park_replicas; /* WAITAOF: what it waits for */
    uint64_t park_sequence;       /* ... being synced */
    struct connection *gate_next, **gate_link;
    uint64_t sequence;              /* of the last change that its requests made or saw; 0: none */
    uint64_t unsure;                /* of those whose outcome it was told is unknown */
    struct output_mark told;        /* its output up to here may be told, sequence or not */
    uint32_t replies;               /* how many are behind that */
    struct connection *next, *prev; /* clients_lock */
    uint64_t created_ns;

    /* what other threads look at */
    _Atomic uint64_t active_ns; /* last request */
    _Atomic(const struct command *) command_shown;
    _Atomic int protocol_shown;
    _Atomic size_t input_shown, input_free_shown, output_shown, references_shown;
    _Atomic bool closing_shown, no_evict_shown, no_touch_shown;
    _Atomic bool blocked_shown, monitors_shown;
    _Atomic bool kill;
    _Atomic int wait; /* park.c's: who has ended a wait that CLIENT UNBLOCK may end */
};

static inline struct connection *connection_of(struct client *client)
{
    return (struct connection *)((char *)client - offsetof(struct connection, client));
}

/* Take over an accepted socket, on success only. Errors: NOMEM, IO. */
TARN_MUST int connection_open(struct worker *w, int fd, const struct sockaddr_storage *peer);
void connection_close(struct connection *c);

/* Events of the socket. The connection may be closed (freed) by it. */
void connection_on_event(struct connection *c, uint32_t events);
/* Time passes for a busy connection. It may be closed by it. */
void connection_on_tick(struct connection *c);
/* Give a parked connection the answer it waits for (error NULL: OK) and go on. It may be closed. */
void connection_unpark(struct connection *c, const struct tarn_error *error);
/* It waits no more and has its answer: execute what it has sent meanwhile. It may be closed. */
void connection_go_on(struct connection *c);
/* Close a client that does not take its replies, or has none to take for lack of memory. */
void connection_cut(struct connection *c, const char *reason);
/* job.c: answer the clients that wait for work that has ended; or forget the results. */
void job_deliver(struct worker *w);
void job_drop(struct worker *w);

/* The server stops: answer what has been received, then close. */
void connection_stop(struct connection *c);

/* What requests of this client may be like. */
struct resp_limits connection_limits(const struct connection *c);

/* execute.c: execute the requests in `input`, appending replies to c->out; returns the bytes
 * taken. Stops early when the state is no longer OPEN, or c->held or c->parked is set. The last
 * gathered reads may be left in the worker's run: end with run_defer() or run_finish(). */
size_t connection_execute(struct connection *c, struct tarn_bytes input);
/* Leave them there, to be looked up together with those of other connections; the input must not
 * change and connection_end_turn() is called later. False, and nothing happens, if there are none.
 */
bool run_defer(struct connection *c);
/* Look up and answer the whole run, ending the turns of deferred connections. c: the one whose turn
 * it is, or NULL. */
void run_finish(struct worker *w, struct connection *c);

/* All is executed: send, and go on to the state that follows. The connection may be closed. */
void connection_end_turn(struct connection *c);

/* Try to send what is unsent, then apply the limits: may set held or change the state. */
void connection_send(struct connection *c);

/* clients.c: the list other threads look at. */
void clients_add(struct worker *w, struct connection *c);
void clients_remove(struct worker *w, struct connection *c); /* frees names too */

#endif
