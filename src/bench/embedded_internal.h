/* One generator thread over a store, for embedded.c and embedded_call.c only.
 *
 * embedded_call.c chooses operations, makes calls of the store and counts what they answer;
 * embedded.c decides when. */
#ifndef BENCH_EMBEDDED_INTERNAL_H
#define BENCH_EMBEDDED_INTERNAL_H

#include "bench/embedded.h"

struct caller {
    const struct os *os;
    const struct embedded_store *store;
    void *handle;
    struct phase *phase;
    struct tally *tally;
    struct workload_thread workload;
    struct arrival arrival;
    uint64_t calls;             /* made so far */
    size_t batch, calls_max;    /* keys of a call, calls of a round */
    enum operation_kind *kinds; /* [calls_max] */
    uint64_t *records;          /* [calls_max * batch] */
    struct tarn_bytes *keys;    /* the same */
    unsigned char *key_bytes;
    size_t key_bytes_max, value_bytes_max;
    struct tarn_bytes *values;  /* [batch] */
    unsigned char *value_bytes; /* [batch * value_bytes_max], touched only where values are
                                 * written */
    uint64_t touched;           /* sum of the values' first bytes, so that they are read */
};

/* Memory for rounds; c->phase is set. Errors: NOMEM. */
TARN_MUST int caller_init(struct caller *c, struct tarn_error *error);
void caller_done(struct caller *c);

/* The first `count` records from `first` on, as one call of the load. */
void caller_choose_load(struct caller *c, uint64_t first, uint64_t count);
/* `calls` <= calls_max calls of the workload. */
void caller_choose(struct caller *c, size_t calls);

/* Keys of a chosen call. */
static inline size_t caller_keys(const struct caller *c, size_t call)
{
    return c->kinds[call] == OPERATION_SCAN ? 1 : c->batch;
}

/* Make chosen call number `call` and count what it answers. from_ns: when it was due; 0: closed
 * loop. Errors: the store's; the call's operations are lost then. */
TARN_MUST int caller_ask(struct caller *c, size_t call, uint64_t from_ns, struct tarn_error *error);
/* Put the `count` records of the load that are chosen. Errors: the same. */
TARN_MUST int caller_put(struct caller *c, size_t count, struct tarn_error *error);

#endif
