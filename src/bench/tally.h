/* What one thread counts during one phase. One writer; the ticking thread may read counters and
 * histograms meanwhile and sees values that lag but never tear. */
#ifndef BENCH_TALLY_H
#define BENCH_TALLY_H

#include <stdatomic.h>

#include "bench/workload.h"
#include "core/histogram.h"

#define TALLY_ERROR_TEXTS_MAX 16
#define TALLY_ERROR_BYTES_MAX 128

struct tally_error {
    char text[TALLY_ERROR_BYTES_MAX]; /* control bytes escaped, cut if long */
    uint64_t count;
};

typedef _Atomic(uint64_t) tally_counter;

/* An operation is one key read or written, one scan, one read-modify-write; a request is one
 * command on the wire or one call in process. With --batch N a request is N operations; a scan and
 * a read-modify-write take two requests. Operations handed out == operations + errors + lost +
 * unsent. */
struct tally {
    tally_counter operations;
    tally_counter requests;        /* that were answered, well or not */
    tally_counter hits, misses;    /* of reads */
    tally_counter misses_expected; /* of them: keys chosen to be missing */
    tally_counter errors;          /* operations that the server refused; not in operations */
    tally_counter lost;            /* operations under way when their phase or connection ended */
    tally_counter unsent;          /* open loop: operations that were due and never sent */
    tally_counter wrong;           /* values that are not what was written (in hits too) */
    tally_counter bytes_sent, bytes_received;
    tally_counter value_bytes;    /* of values read */
    uint64_t cpu_ns;              /* processor time of this thread in this phase, set at its end */
    uint64_t end_ns;              /* when this thread was done, monotonic */
    struct histogram *latency_ns; /* one entry per request, one for both of a scan or a
                                   * read-modify-write; errors included */
    struct histogram *kind_ns[OPERATION_KINDS]; /* the same by kind; never NULL, small if unused */
    struct histogram *late_ns; /* open loop: how much later than possible this generator
                                * itself sent (a connection was free), per request */
    char first_wrong[TALLY_ERROR_BYTES_MAX]; /* key of the first wrong value, "" if none */
    struct tally_error error_texts[TALLY_ERROR_TEXTS_MAX];
    unsigned error_texts_count;
    uint64_t error_texts_other; /* errors whose text found no room */
};

/* Errors: NOMEM, then nothing is to be freed. */
TARN_MUST int tally_init(struct tally *t);
void tally_done(struct tally *t); /* a zeroed one is allowed */
void tally_reset(struct tally *t);
void tally_merge(struct tally *into, const struct tally *from); /* cpu_ns: sum; end_ns: the later */

/* One writer, so no locked instruction. */
static inline void tally_add(tally_counter *c, uint64_t n)
{
    atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + n,
                          memory_order_relaxed);
}
static inline uint64_t tally_get(const tally_counter *c)
{
    return atomic_load_explicit(c, memory_order_relaxed);
}
/* `requests` requests of one kind, of `operations` operations that went well, were answered after
 * latency_ns each. */
void tally_requests(struct tally *t, enum operation_kind kind, uint64_t latency_ns,
                    uint64_t requests, uint64_t operations);
static inline void tally_request(struct tally *t, enum operation_kind kind, uint64_t latency_ns,
                                 uint64_t operations)
{
    tally_requests(t, kind, latency_ns, 1, operations);
}
/* `operations` operations were refused with this text; what a peer sent, any bytes. */
void tally_error(struct tally *t, struct tarn_bytes text, uint64_t operations);
void tally_wrong(struct tally *t, struct tarn_bytes key); /* count it; remember the first key */

#endif
