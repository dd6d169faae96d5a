/* One socket to one server: bytes that go out, bytes that came in, and the requests in flight on
 * it, oldest first. It knows nothing of what a request means. One thread uses it. */
#ifndef BENCH_LINK_H
#define BENCH_LINK_H

#include "bench/client.h"
#include "os/loop.h"

#define REQUEST_STARTS_WHEN_SENT UINT64_MAX

/* One request in flight. Its records stand in a list of their own: link_records(). */
struct request {
    uint64_t start_ns; /* when its operation began, or REQUEST_STARTS_WHEN_SENT */
    uint64_t ready_ns; /* open loop: when it could have been sent; 0: nobody asks */
    uint32_t keys;     /* asked for or written; of a SCAN: how many it asks for */
    uint8_t operation; /* enum operation_kind */
    uint8_t kind;      /* enum request_kind */
    bool keys_unknown; /* a GET of keys that a SCAN named: no records */
};

struct link {
    const struct os *os;
    struct loop *loop;
    const struct protocol *protocol;
    const struct client_server *server;
    unsigned timeout_ms;
    int fd; /* -1: closed, to be opened again when there is something to send */

    struct buffer out;
    size_t out_sent;    /* bytes of it that went out */
    bool waits_to_send; /* EPOLLOUT is armed: the socket took less than all */
    struct buffer in;
    size_t in_taken;   /* bytes of it that are done with */
    size_t in_needed;  /* so many behind them there must be before decoding makes sense */
    unsigned in_roomy; /* how often in a row it was far too large */

    /* A ring: mask + 1 places, a power of two, each with room for batch_max records. The last
     * `queued` of its `count` requests were encoded since the last link_send(). */
    struct request *requests;
    uint64_t *records;
    size_t mask, batch_max;
    size_t first, count, queued;

    uint64_t sent_ns;     /* the last link_send() */
    uint64_t progress_ns; /* the last time that bytes moved */
};

struct link_options {
    const struct os *os;
    struct loop *loop;
    const struct protocol *protocol;
    const struct client_server *server; /* borrowed */
    unsigned timeout_ms;
    size_t batch_max, pipeline_max; /* >= 1 */
};

/* Memory only; link_connect() comes next. Errors: NOMEM, then there is nothing to free. */
TARN_MUST int link_init(struct link *l, const struct link_options *options,
                        struct tarn_error *error);
void link_done(struct link *l); /* a zeroed one is allowed */

/* Connect and make the opening exchange, waiting for both. The link must be closed. Errors: those
 * of client_open(). */
TARN_MUST int link_connect(struct link *l, struct tarn_error *error);
/* Close the socket and forget all bytes. Requests stay in flight, all of them queued: they must be
 * encoded once more behind link_connect(). */
void link_disconnect(struct link *l);

/* --- requests in flight --- */

static inline size_t link_place(const struct link *l, size_t i)
{
    return (l->first + i) & l->mask;
}
/* The i-th oldest, i < count; valid until it is popped. */
static inline struct request *link_request(const struct link *l, size_t i)
{
    return &l->requests[link_place(l, i)];
}
static inline uint64_t *link_records(const struct link *l, size_t i)
{
    return &l->records[link_place(l, i) * l->batch_max];
}
/* A place for one more, queued; all its fields and records are the caller's to write. There must
 * be room (asserted). */
struct request *link_push(struct link *l);
/* The oldest is done with. What it held stays readable until the next push, and what a push then
 * writes may lie in the same place. */
void link_pop(struct link *l);
/* Sent and not answered. */
static inline size_t link_waiting(const struct link *l)
{
    return l->count - l->queued;
}
/* When the operation of a request began. */
static inline uint64_t link_started_ns(const struct link *l, const struct request *request)
{
    return request->start_ns == REQUEST_STARTS_WHEN_SENT ? l->sent_ns : request->start_ns;
}

/* --- bytes --- */

/* Send what is in `out`, or as much as goes; the rest follows by link_send_rest(). Nothing is
 * queued from now on. now_ns: taken just before. The link must be open. Errors: IO, NOMEM (an
 * append to `out` failed). A connection that the server closed is no error here: receiving finds
 * it, after what it said. */
TARN_MUST int link_send(struct link *l, uint64_t now_ns, struct tally *tally,
                        struct tarn_error *error);
/* The socket takes more (EPOLLOUT). */
TARN_MUST int link_send_rest(struct link *l, struct tally *tally, struct tarn_error *error);

/* Receive once. ret_closed: the server closed; bytes that came before are in the input all the
 * same. Errors: IO, NOMEM. */
TARN_MUST int link_receive(struct link *l, struct tally *tally, bool *ret_closed,
                           struct tarn_error *error);
/* What came and is not done with yet. */
static inline struct tarn_bytes link_input(const struct link *l)
{
    return (struct tarn_bytes){l->in.data + l->in_taken, l->in.size - l->in_taken};
}
/* Done with the first bytes of it. */
static inline void link_take(struct link *l, size_t size)
{
    l->in_taken += size;
    l->in_needed = 0;
}

/* --- what goes wrong; each fills the error and returns its status --- */

/* IO: "NAME closed the connection with N requests unanswered". */
int link_closed_error(const struct link *l, struct tarn_error *error);
/* IO, when answers are owed and no byte has moved for timeout_ms; else OK. */
int link_silence_error(const struct link *l, uint64_t now_ns, struct tarn_error *error);
/* CORRUPT: "NAME: <what is wrong>". */
int link_malformed_error(const struct link *l, struct tarn_bytes text, struct tarn_error *error);

#endif
