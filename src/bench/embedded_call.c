/* Calls of a store in this process: chosen, made, timed, counted.
 *
 * How: the keys of a round are laid out in two passes over memory, with prefetching. A call's time
 * is from just before to just after it, checking of values excluded. Two readings of the clock cost
 * as much as a fast look-up, so of calls with less than TIMED_KEYS keys every TIMED_EACH-th is
 * timed and stands for all in the histogram: quantiles are those of the sample, the maximum may be
 * missed. In the open loop every call is timed, from when it was due.
 *
 * Invariant: the operations of a call that is made are counted once, as operations or as lost.
 * Failure modes: the store's errors; out of memory for the round. */
#include <stdlib.h>

#include "bench/embedded_internal.h"

#define ROUND_KEYS 64 /* at least; so that prefetching a round has an effect */
#define TIMED_KEYS 16 /* from this many keys on, every call is timed */
#define TIMED_EACH 16

/* --- memory --- */

void caller_done(struct caller *c)
{
    free(c->kinds);
    free(c->records);
    free(c->keys);
    free(c->key_bytes);
    free(c->values);
    free(c->value_bytes);
}

int caller_init(struct caller *c, struct tarn_error *error)
{
    size_t batch = c->phase->batch;
    c->batch = c->phase->load && batch < ROUND_KEYS ? ROUND_KEYS : batch;
    c->calls_max = c->batch < ROUND_KEYS ? ROUND_KEYS / c->batch : 1;
    c->key_bytes_max = records_key_bytes_max(c->phase->records);
    c->value_bytes_max = records_value_bytes_max(c->phase->records);
    size_t keys = c->batch * c->calls_max;
    c->kinds = calloc(c->calls_max, sizeof *c->kinds);
    c->records = calloc(keys, sizeof *c->records);
    c->keys = calloc(keys, sizeof *c->keys);
    c->key_bytes = calloc(keys, c->key_bytes_max + 1);
    c->values = calloc(c->batch, sizeof *c->values);
    c->value_bytes = calloc(c->batch, c->value_bytes_max + 1);
    if (c->kinds && c->records && c->keys && c->key_bytes && c->values && c->value_bytes)
        return TARN_OK;
    caller_done(c);
    return error_set(error, TARN_NOMEM, "no memory for batches of %zu keys", c->batch);
}

/* --- choosing --- */

/* The keys of chosen records, in two passes over memory. count: of all calls together. */
static void lay_out_keys(struct caller *c, size_t count)
{
    const struct records *records = c->phase->records;
    for (size_t i = 0; i < count; i++)
        records_prefetch_bytes(records, c->records[i]);
    for (size_t i = 0; i < count; i++)
        c->keys[i] = records_key(records, c->records[i], c->key_bytes + i * c->key_bytes_max);
}

static void lay_out_values(struct caller *c, const uint64_t *records, size_t count)
{
    for (size_t i = 0; i < count; i++)
        c->values[i] =
            records_value(c->phase->records, records[i], c->value_bytes + i * c->value_bytes_max);
}

void caller_choose_load(struct caller *c, uint64_t first, uint64_t count)
{
    c->kinds[0] = OPERATION_INSERT;
    for (uint64_t n = 0; n < count; n++)
        c->records[n] = first + n;
    lay_out_keys(c, count);
}

void caller_choose(struct caller *c, size_t calls)
{
    for (size_t i = 0; i < calls; i++) {
        c->kinds[i] = workload_kind(&c->workload);
        for (size_t j = 0; j < caller_keys(c, i); j++) {
            uint64_t *record = &c->records[i * c->batch + j];
            *record = workload_record(&c->workload, c->kinds[i]);
            records_prefetch(c->phase->records, *record);
        }
    }
    lay_out_keys(c, c->batch * calls);
}

/* --- one call --- */

static void check_values(struct caller *c, const uint64_t *records, const struct tarn_bytes *keys,
                         size_t count)
{
    uint64_t hits = 0, misses = 0, expected = 0, bytes = 0;
    for (size_t i = 0; i < count; i++) {
        struct tarn_bytes value = c->values[i];
        bool missing = records[i] & RECORD_MISSING;
        if (!value.data) {
            misses++;
            expected += missing;
            continue;
        }
        hits++;
        bytes += value.size;
        c->touched += value.size > 0 ? *(const unsigned char *)value.data : 0;
        if (missing ||
            (c->phase->verify && !records_value_equal(c->phase->records, records[i], value)))
            tally_wrong(c->tally, keys[i]);
    }
    tally_add(&c->tally->hits, hits);
    tally_add(&c->tally->misses, misses);
    tally_add(&c->tally->misses_expected, expected);
    tally_add(&c->tally->value_bytes, bytes);
}

static void visit_scanned(void *context, struct tarn_bytes key, struct tarn_bytes value)
{
    struct caller *c = context;
    (void)key;
    tally_add(&c->tally->hits, 1);
    tally_add(&c->tally->value_bytes, value.size);
}

static int ask(struct caller *c, size_t call, struct tarn_error *error)
{
    const struct embedded_store *store = c->store;
    const uint64_t *records = c->records + call * c->batch;
    const struct tarn_bytes *keys = c->keys + call * c->batch;
    size_t count = caller_keys(c, call);
    int status = TARN_OK;
    switch (c->kinds[call]) {
    case OPERATION_READ:
        return store->get_many(c->handle, keys, count, c->values, error);
    case OPERATION_SCAN:
        return store->scan(c->handle, keys[0], workload_scan_count(&c->workload), visit_scanned, c,
                           error);
    case OPERATION_READ_MODIFY_WRITE:
        status = store->get_many(c->handle, keys, count, c->values, error);
        if (status != TARN_OK)
            return status;
        check_values(c, records, keys, count);
        break;
    default:
        break;
    }
    lay_out_values(c, records, count);
    return store->put_many(c->handle, keys, c->values, count, error);
}

/* What an answered call means for the counts. */
static void count_call(struct caller *c, size_t call, size_t count)
{
    const uint64_t *records = c->records + call * c->batch;
    enum operation_kind kind = c->kinds[call];
    if (kind == OPERATION_READ)
        check_values(c, records, c->keys + call * c->batch, count);
    if (kind == OPERATION_READ_MODIFY_WRITE)
        tally_add(&c->tally->requests, 1); /* the first of its two */
    if (kind == OPERATION_INSERT)
        for (size_t i = 0; i < count; i++)
            workload_inserted(c->phase->workload, records[i]);
}

/* One reading of the clock that stands for `calls` calls. */
static void record_time(struct caller *c, enum operation_kind kind, uint64_t latency_ns,
                        uint64_t calls)
{
    histogram_record(c->tally->latency_ns, latency_ns, calls);
    histogram_record(c->tally->kind_ns[kind], latency_ns, calls);
}

int caller_ask(struct caller *c, size_t call, uint64_t from_ns, struct tarn_error *error)
{
    size_t count = caller_keys(c, call);
    bool every = from_ns != 0 || c->batch >= TIMED_KEYS;
    bool timed = every || c->calls % TIMED_EACH == 0;
    uint64_t start_ns = timed && from_ns == 0 ? c->os->monotonic_ns(c->os) : from_ns;
    int status = ask(c, call, error);
    uint64_t end_ns = timed ? c->os->monotonic_ns(c->os) : 0;
    if (status != TARN_OK) {
        tally_add(&c->tally->lost, count);
        return status;
    }
    c->calls++;
    count_call(c, call, count);
    if (timed)
        record_time(c, c->kinds[call], end_ns > start_ns ? end_ns - start_ns : 0,
                    every ? 1 : TIMED_EACH);
    tally_add(&c->tally->requests, 1);
    tally_add(&c->tally->operations, count);
    return TARN_OK;
}

int caller_put(struct caller *c, size_t count, struct tarn_error *error)
{
    lay_out_values(c, c->records, count);
    uint64_t start_ns = c->os->monotonic_ns(c->os);
    int status = c->store->put_many(c->handle, c->keys, c->values, count, error);
    if (status == TARN_OK)
        tally_requests(c->tally, OPERATION_INSERT, c->os->monotonic_ns(c->os) - start_ns, 1, count);
    else
        tally_add(&c->tally->lost, count);
    return status;
}
