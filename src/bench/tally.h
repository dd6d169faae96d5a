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

struct tally {
    /* An operation is one key read or written, one scan, one read-modify-write; a request is one
     * command on the wire or one call in process. With --batch N a request is N operations. */
    tally_counter operations, requests;
    tally_counter hits, misses;    /* of reads */
    tally_counter misses_expected; /* of them: keys chosen to be missing */
    tally_counter errors;          /* operations that the server refused; not in operations */
    tally_counter wrong;           /* values that are not what was written (in hits too) */
    tally_counter bytes_sent, bytes_received;
    tally_counter value_bytes;                  /* of values read */
    uint64_t cpu_ns;                            /* processor time of this thread, set at the end */
    uint64_t end_ns;                            /* when this thread was done, monotonic */
    struct histogram *latency_ns;               /* one entry per request; errors included */
    struct histogram *kind_ns[OPERATION_KINDS]; /* the same by kind, allocated at need */
    struct histogram *late_ns; /* open loop: how much later than possible this generator
                                * itself sent (a connection was free), per request */
    char first_wrong[TALLY_ERROR_BYTES_MAX]; /* key of the first wrong value, "" if none */
    struct tally_error error_texts[TALLY_ERROR_TEXTS_MAX];
    unsigned error_texts_count;
    uint64_t error_texts_other; /* errors whose text found no room */
};

/* Errors: NOMEM. */
TARN_MUST int tally_init(struct tally *t);
void tally_done(struct tally *t);
void tally_reset(struct tally *t);
void tally_merge(struct tally *into, const struct tally *from); /* end_ns: the later */

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
/* A request of `operations` operations was answered, well or not, after latency_ns. */
void tally_request(struct tally *t, enum operation_kind kind, uint64_t latency_ns,
                   uint64_t operations);
/* `operations` operations were refused with this text. */
void tally_error(struct tally *t, struct tarn_bytes text, uint64_t operations);
void tally_wrong(struct tally *t, struct tarn_bytes key);

#endif
