/* The parts of a generator thread, for client*.c only.
 *
 * client.c opens and closes connections, waits and handles what is ready; client_requests.c
 * chooses requests and puts them into links; client_replies.c takes the answers out again;
 * client_closed.c and client_open.c decide when to send. */
#ifndef BENCH_CLIENT_INTERNAL_H
#define BENCH_CLIENT_INTERNAL_H

#include "bench/client.h"
#include "bench/link.h"

/* One logical client: a link to every server. */
struct connection {
    struct link *links; /* [servers_count] */
    /* open loop */
    bool full;  /* a link has `pipeline` requests in flight */
    bool dirty; /* stands in the list of those that have something to send */
};

/* Requests chosen and not yet in a link: request i is of kinds[i] and has the records
 * records[i * batch_max ...], counts[i] of them. */
struct plan {
    uint8_t *kinds; /* enum operation_kind */
    uint32_t *counts;
    uint64_t *records;
};

/* Scratch for a request's keys and values. */
struct scratch {
    struct tarn_bytes *keys, *values; /* [batch_max] */
    unsigned char *key_bytes;         /* [batch_max * key_bytes_max] */
    unsigned char *value_bytes;       /* [batch_max * value_bytes_max], once something is written */
    size_t key_bytes_max, value_bytes_max;
    unsigned *servers; /* [batch_max], which server has each key */
    unsigned *counts;  /* [servers_count], how many keys each has */
};

/* What one receive completed, gathered so that it costs once: requests with one start. */
struct answers {
    uint64_t start_ns;
    uint64_t requests[OPERATION_KINDS], operations[OPERATION_KINDS];
    bool any;
    uint64_t hits, misses, misses_expected, value_bytes;
};

struct client {
    const struct os *os;
    struct client_options options;
    struct loop loop;
    struct connection *connections;
    struct link *links; /* of all connections, one after the other */
    size_t links_count;
    struct protocol_reply reply;
    struct plan plan;
    struct scratch scratch;
    struct answers answers;
    struct workload_thread workload;
    uint64_t now_ns;          /* the clock, read after the last receive or wait */
    uint64_t checked_ns;      /* the last look for silent servers */
    uint64_t under_way;       /* requests in all links */
    uint64_t operations_open; /* handed out and not finished, in links or still planned */

    /* of the phase that runs */
    struct phase *phase;
    struct tally *tally;
    unsigned keys_max[OPERATION_KINDS]; /* keys of a request of each kind */
    bool keys_checked;                  /* this protocol cannot take every key of these records */
    uint64_t scan_space;                /* cursors of scans are below it; >= 1 */
    /* Something may have been answered on this connection: send if it is time to. */
    int (*answered)(struct client *c, struct connection *connection, struct tarn_error *error);
    void *loop_context; /* closed or open loop's own */
};

/* No wait is longer, so that a stop is seen. */
#define CLIENT_WAIT_NS 100000000ull

static inline uint64_t client_clock(struct client *c)
{
    c->now_ns = c->os->monotonic_ns(c->os);
    return c->now_ns;
}

/* --- client.c --- */

/* Send what is queued on the links of a connection, opening again what was closed. */
TARN_MUST int client_flush(struct client *c, struct connection *connection,
                           struct tarn_error *error);
/* Wait for at most timeout_ns and handle all that is ready. Errors: those of client_run(). */
TARN_MUST int client_wait(struct client *c, uint64_t timeout_ns, struct tarn_error *error);

/* Requests in flight on the connection's fullest link: what counts against the pipeline. */
size_t client_busy(const struct client *c, const struct connection *connection);

/* --- client_requests.c --- */

/* Memory for a phase over these records. Errors: NOMEM. */
TARN_MUST int requests_prepare(struct client *c, struct tarn_error *error);
void requests_done(struct client *c);
/* Take up to `want` <= pipeline_max requests of what is left of the phase and choose their keys
 * and kinds; returns how many are planned. */
size_t requests_plan(struct client *c, size_t want);
/* How many operations a request has that was never chosen. */
uint64_t requests_skip(struct client *c);
/* Put planned request i into the connection's links, encoded and queued. Errors: INVALID (a key
 * that this protocol cannot send), NOMEM. */
TARN_MUST int requests_issue(struct client *c, struct connection *connection, size_t i,
                             uint64_t start_ns, uint64_t ready_ns, struct tarn_error *error);
/* Append request i of a link to its output. Errors: as above. */
TARN_MUST int requests_encode(struct client *c, struct link *l, size_t i, struct tarn_error *error);
/* Views of the keys of these records in the scratch. */
void requests_keys(struct client *c, const uint64_t *records, size_t count);

/* --- client_replies.c --- */

/* Decode and count all complete answers in the link's input; follow-ups are queued. Errors:
 * CORRUPT, NOMEM. */
TARN_MUST int replies_take(struct client *c, struct link *l, struct tarn_error *error);

/* --- client_closed.c, client_open.c --- */

TARN_MUST int client_run_closed(struct client *c, struct tarn_error *error);
TARN_MUST int client_run_open(struct client *c, struct tarn_error *error);

#endif
