/* One generator thread over a store in this process.
 *
 * How: a round of at least ROUND_KEYS keys is chosen and laid out, with prefetching, then asked for
 * in calls of `batch` keys. A call's time is from just before to just after it, checking of values
 * excluded. Two readings of the clock cost as much as a fast look-up, so of calls with less than
 * TIMED_KEYS keys every TIMED_EACH-th is timed and stands for all in the histogram: quantiles are
 * those of the sample, the maximum may be missed. In the open loop every call is timed, from when
 * it was due.
 *
 * Invariant: operations handed out == operations + errors + lost + unsent of the tally.
 * Failure modes: the store's errors; out of memory for the round. */
#include "bench/embedded.h"

#include <sched.h>
#include <stdlib.h>

#include "os/observe.h"

#define ROUND_KEYS 64 /* at least; so that prefetching a round has an effect */
#define TIMED_KEYS 16 /* from this many keys on, every call is timed */
#define TIMED_EACH 16
/* A deadline is looked for after every round. An open loop waits by yielding: its calls take less
 * than a sleep's precision. */

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
    struct tarn_bytes *values; /* [batch] */
    unsigned char
        *value_bytes; /* [batch * value_bytes_max], touched only where values are written */
    uint64_t touched; /* sum of the values' first bytes, so that they are read */
};

/* --- memory --- */

static void caller_done(struct caller *c)
{
    free(c->kinds);
    free(c->records);
    free(c->keys);
    free(c->key_bytes);
    free(c->values);
    free(c->value_bytes);
}

static int caller_init(struct caller *c, struct tarn_error *error)
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

static size_t keys_of(const struct caller *c, size_t call)
{
    return c->kinds[call] == OPERATION_SCAN ? 1 : c->batch;
}

static void choose_load(struct caller *c, uint64_t first, uint64_t count)
{
    c->kinds[0] = OPERATION_INSERT;
    for (uint64_t i = 0; i < count; i++)
        c->records[i] = first + i;
}

static void choose(struct caller *c, size_t calls)
{
    for (size_t i = 0; i < calls; i++) {
        c->kinds[i] = workload_kind(&c->workload);
        for (size_t j = 0; j < keys_of(c, i); j++) {
            uint64_t *record = &c->records[i * c->batch + j];
            *record = workload_record(&c->workload, c->kinds[i]);
            records_prefetch(c->phase->records, *record);
        }
    }
}

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
    size_t count = keys_of(c, call);
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
    if (kind == OPERATION_INSERT && !c->phase->load)
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

/* Make call number `call` of the round. from_ns: when it was due; 0: closed loop. */
static int make_call(struct caller *c, size_t call, size_t count, uint64_t from_ns,
                     struct tarn_error *error)
{
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

/* --- rounds --- */

static bool is_over(const struct caller *c, uint64_t now_ns)
{
    return c->phase->deadline_ns != 0 && now_ns >= c->phase->deadline_ns;
}

static int run_load(struct caller *c, struct tarn_error *error)
{
    uint64_t first, count;
    int status = TARN_OK;
    while (status == TARN_OK && (count = phase_take(c->phase, c->batch, &first)) > 0) {
        if (phase_stopped(c->phase))
            return TARN_CANCELLED;
        choose_load(c, first, count);
        lay_out_keys(c, count);
        lay_out_values(c, c->records, count);
        uint64_t start_ns = c->os->monotonic_ns(c->os);
        status = c->store->put_many(c->handle, c->keys, c->values, count, error);
        if (status == TARN_OK)
            tally_requests(c->tally, OPERATION_INSERT, c->os->monotonic_ns(c->os) - start_ns, 1,
                           count);
        else
            tally_add(&c->tally->lost, count);
    }
    return status;
}

static int run_closed(struct caller *c, struct tarn_error *error)
{
    uint64_t first, calls;
    int status = TARN_OK;
    while (status == TARN_OK && !is_over(c, c->os->monotonic_ns(c->os)) &&
           (calls = phase_take(c->phase, c->calls_max, &first)) > 0) {
        if (phase_stopped(c->phase))
            return TARN_CANCELLED;
        choose(c, calls);
        lay_out_keys(c, c->batch * calls);
        for (size_t i = 0; i < calls && status == TARN_OK; i++)
            status = make_call(c, i, keys_of(c, i), 0, error);
    }
    return status;
}

/* Until it is due, or the phase is stopped. */
static uint64_t wait_until(struct caller *c, uint64_t due_ns)
{
    uint64_t now_ns = c->os->monotonic_ns(c->os);
    while (now_ns < due_ns && !phase_stopped(c->phase)) {
        sched_yield();
        now_ns = c->os->monotonic_ns(c->os);
    }
    return now_ns;
}

static int run_open(struct caller *c, struct tarn_error *error)
{
    uint64_t first, free_ns = c->phase->start_ns;
    int status = TARN_OK;
    while (status == TARN_OK) {
        uint64_t due_ns = c->phase->start_ns + arrival_next(&c->arrival);
        if (is_over(c, due_ns) || phase_take(c->phase, 1, &first) == 0)
            return TARN_OK;
        choose(c, 1);
        lay_out_keys(c, c->batch);
        uint64_t now_ns = wait_until(c, due_ns), ready_ns = due_ns > free_ns ? due_ns : free_ns;
        if (phase_stopped(c->phase)) {
            tally_add(&c->tally->unsent, keys_of(c, 0));
            return TARN_CANCELLED;
        }
        histogram_record(c->tally->late_ns, now_ns > ready_ns ? now_ns - ready_ns : 0, 1);
        status = make_call(c, 0, keys_of(c, 0), due_ns, error);
        free_ns = c->os->monotonic_ns(c->os);
    }
    return status;
}

int embedded_run(const struct os *os, const struct embedded_store *store, void *handle,
                 unsigned thread, struct phase *phase, struct tally *tally,
                 struct tarn_error *error)
{
    struct caller c = {.os = os, .store = store, .handle = handle, .phase = phase, .tally = tally};
    uint64_t cpu_ns = observe_thread_cpu_ns();
    int status = caller_init(&c, error);
    if (status == TARN_OK) {
        double threads = (double)phase->threads;
        if (!phase->load)
            workload_thread_init(&c.workload, phase->workload, thread, phase->threads);
        if (phase->rate > 0)
            arrival_init(&c.arrival, phase->pattern, phase->poisson, phase->rate / threads,
                         phase->period_s, thread / threads, phase->seed + thread);
        status = phase->load       ? run_load(&c, error)
                 : phase->rate > 0 ? run_open(&c, error)
                                   : run_closed(&c, error);
        __asm__ volatile("" : : "r"(c.touched)); /* the values were wanted */
        caller_done(&c);
    }
    if (status != TARN_OK)
        phase_stop(phase);
    if (status == TARN_CANCELLED)
        error_set(error, TARN_CANCELLED, "stopped");
    tally->end_ns = os->monotonic_ns(os);
    tally->cpu_ns += observe_thread_cpu_ns() - cpu_ns;
    return status;
}
