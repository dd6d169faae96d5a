/* Requests: chosen in passes, dealt out to servers, encoded into links.
 *
 * How: a batch's kinds and records are chosen first, all of them, so that what their keys and
 * values touch in memory can be fetched for all at once before the first is needed. With one
 * server a request goes into its link as it is; with several its keys are told apart by slot, and
 * each server that has some gets a request of its own for them.
 *
 * Invariants
 * 1. A planned request is issued exactly once; the phase's count of requests handed out goes up
 *    by exactly those that are planned or skipped.
 * 2. A request in a link has 1..batch_max records, all of one server.
 * Failure modes: no memory; a key of a data file that this protocol has no way to send. */
#include "bench/client_internal.h"

#include <stdlib.h>

#include "bench/slot.h"
#include "core/assert.h"
#include "core/random.h"

#define SAMPLES 256 /* of record sizes: within some 5 % of their mean for uniform ones */

/* --- memory --- */

static bool plan_allocate(struct client *c)
{
    size_t requests = c->options.pipeline_max, batch = c->options.batch_max, records;
    struct plan *plan = &c->plan;
    if (plan->kinds)
        return true;
    if (__builtin_mul_overflow(requests, batch, &records))
        return false;
    plan->kinds = calloc(requests, sizeof *plan->kinds);
    plan->counts = calloc(requests, sizeof *plan->counts);
    plan->records = calloc(records, sizeof *plan->records);
    return plan->kinds && plan->counts && plan->records;
}

static bool scratch_allocate(struct client *c)
{
    size_t batch = c->options.batch_max;
    struct scratch *s = &c->scratch;
    if (!s->keys)
        s->keys = calloc(batch, sizeof *s->keys);
    if (!s->values)
        s->values = calloc(batch, sizeof *s->values);
    if (!s->servers)
        s->servers = calloc(batch, sizeof *s->servers);
    if (!s->counts)
        s->counts = calloc(c->options.servers_count, sizeof *s->counts);
    return s->keys && s->values && s->servers && s->counts;
}

/* Blocks for the bytes of a batch's keys and, made when first needed, values. */
static bool scratch_size(struct client *c)
{
    struct scratch *s = &c->scratch;
    size_t key = records_key_bytes_max(c->phase->records);
    size_t value = records_value_bytes_max(c->phase->records);
    if (value > s->value_bytes_max || !s->value_bytes) {
        free(s->value_bytes);
        s->value_bytes = NULL;
        s->value_bytes_max = value ? value : 1;
    }
    if (s->key_bytes && key <= s->key_bytes_max)
        return true;
    free(s->key_bytes);
    s->key_bytes_max = key ? key : 1;
    s->key_bytes = reallocarray(NULL, c->options.batch_max, s->key_bytes_max);
    return s->key_bytes != NULL;
}

static int no_memory(struct tarn_error *error)
{
    return error_set(error, TARN_NOMEM, "no memory for the requests of a connection");
}

static unsigned keys_of_kind(const struct client *c, enum operation_kind kind)
{
    const struct protocol *protocol = c->options.protocol;
    size_t keys = c->phase->batch;
    if (kind == OPERATION_SCAN)
        return 1;
    if (kind != OPERATION_UPDATE && kind != OPERATION_INSERT && keys > protocol->get_keys_max)
        keys = protocol->get_keys_max;
    if (kind != OPERATION_READ && keys > protocol->put_keys_max)
        keys = protocol->put_keys_max;
    return (unsigned)keys;
}

/* Bytes of the data set, by a sample: rather too few than too many. */
static uint64_t sample_data_bytes(struct client *c)
{
    const struct records *records = c->phase->records;
    uint64_t count = records_count(records), sum = 0;
    uint64_t samples = count < SAMPLES ? count : SAMPLES;
    for (uint64_t i = 0; i < samples; i++) {
        uint64_t record = count / samples * i;
        sum += records_key(records, record, c->scratch.key_bytes).size +
               records_value_bytes(records, record);
    }
    uint64_t bytes = samples > 0 ? sum * (count / samples) / 16 * 15 : 0;
    return bytes > 0 ? bytes : 1;
}

int requests_prepare(struct client *c, struct tarn_error *error)
{
    ASSERT(c->phase->batch >= 1 && c->phase->batch <= c->options.batch_max);
    ASSERT(c->phase->pipeline >= 1 && c->phase->pipeline <= c->options.pipeline_max);
    if (!plan_allocate(c) || !scratch_allocate(c) || !scratch_size(c))
        return no_memory(error);
    for (int kind = 0; kind < OPERATION_KINDS; kind++)
        c->keys_max[kind] = keys_of_kind(c, (enum operation_kind)kind);
    c->scan_space = c->options.protocol->scans ? sample_data_bytes(c) : 1;
    c->keys_checked = c->options.protocol->keys_printable ||
                      c->options.protocol->key_bytes_max < c->scratch.key_bytes_max;
    return TARN_OK;
}

void requests_done(struct client *c)
{
    free(c->plan.kinds);
    free(c->plan.counts);
    free(c->plan.records);
    free(c->scratch.keys);
    free(c->scratch.values);
    free(c->scratch.servers);
    free(c->scratch.counts);
    free(c->scratch.key_bytes);
    free(c->scratch.value_bytes);
}

/* --- choosing --- */

static void prefetch_planned(struct client *c, size_t requests,
                             void (*prefetch)(const struct records *r, uint64_t i))
{
    for (size_t i = 0; i < requests; i++) {
        const uint64_t *records = &c->plan.records[i * c->options.batch_max];
        for (size_t j = 0; j < c->plan.counts[i]; j++)
            if (!(records[j] & RECORD_MISSING))
                prefetch(c->phase->records, records[j]);
    }
}

/* The load's next records, in order; only here a request may be the last and smaller. */
static size_t plan_load(struct client *c, size_t want)
{
    uint64_t first, batch = c->keys_max[OPERATION_INSERT];
    uint64_t left = phase_take(c->phase, want * batch, &first);
    size_t requests = 0;
    c->operations_open += left;
    for (; left > 0; requests++) {
        uint64_t count = left < batch ? left : batch;
        for (uint64_t j = 0; j < count; j++)
            c->plan.records[requests * c->options.batch_max + j] = first++;
        c->plan.kinds[requests] = OPERATION_INSERT;
        c->plan.counts[requests] = (uint32_t)count;
        left -= count;
    }
    return requests;
}

static size_t plan_workload(struct client *c, size_t want)
{
    uint64_t first, requests = phase_take(c->phase, want, &first);
    for (size_t i = 0; i < requests; i++) {
        enum operation_kind kind = workload_kind(&c->workload);
        uint64_t *records = &c->plan.records[i * c->options.batch_max];
        for (size_t j = 0; j < c->keys_max[kind]; j++)
            records[j] = workload_record(&c->workload, kind);
        c->plan.kinds[i] = (uint8_t)kind;
        c->plan.counts[i] = c->keys_max[kind];
        c->operations_open += c->keys_max[kind];
    }
    return requests;
}

size_t requests_plan(struct client *c, size_t want)
{
    ASSERT(want <= c->options.pipeline_max);
    if (want == 0)
        return 0;
    size_t requests = c->phase->load ? plan_load(c, want) : plan_workload(c, want);
    prefetch_planned(c, requests, records_prefetch);
    prefetch_planned(c, requests, records_prefetch_bytes);
    return requests;
}

uint64_t requests_skip(struct client *c)
{
    uint64_t first;
    if (c->phase->load)
        return phase_take(c->phase, c->keys_max[OPERATION_INSERT], &first);
    if (phase_take(c->phase, 1, &first) == 0)
        return 0;
    return c->keys_max[workload_kind(&c->workload)];
}

/* --- encoding --- */

void requests_keys(struct client *c, const uint64_t *records, size_t count)
{
    struct scratch *s = &c->scratch;
    for (size_t i = 0; i < count; i++)
        s->keys[i] =
            records_key(c->phase->records, records[i], s->key_bytes + i * s->key_bytes_max);
}

static bool make_values(struct client *c, const uint64_t *records, size_t count)
{
    struct scratch *s = &c->scratch;
    if (!s->value_bytes)
        s->value_bytes = reallocarray(NULL, c->options.batch_max, s->value_bytes_max);
    if (!s->value_bytes)
        return false;
    for (size_t i = 0; i < count; i++)
        s->values[i] =
            records_value(c->phase->records, records[i], s->value_bytes + i * s->value_bytes_max);
    return true;
}

static int check_keys(const struct client *c, size_t count, struct tarn_error *error)
{
    const struct protocol *protocol = c->options.protocol;
    for (size_t i = 0; i < count; i++) {
        char excerpt[PROTOCOL_EXCERPT_BYTES_MAX];
        if (!protocol_key_allowed(protocol, c->scratch.keys[i]))
            return error_set(error, TARN_INVALID,
                             "%s cannot ask for the key \"%s\" of %zu bytes: too long, or it has "
                             "bytes that this protocol does not allow",
                             protocol->name, protocol_excerpt(c->scratch.keys[i], excerpt),
                             c->scratch.keys[i].size);
    }
    return TARN_OK;
}

/* A place in the server's own order, always the same for a record. Any number is safe; those below
 * the size of the data set mean something to servers whose cursors are positions, and to those that
 * look at the low bits alone. */
static uint64_t scan_cursor(const struct client *c, uint64_t record)
{
    return random_mix(record) % c->scan_space;
}

int requests_encode(struct client *c, struct link *l, size_t i, struct tarn_error *error)
{
    const struct request *request = link_request(l, i);
    const uint64_t *records = link_records(l, i);
    const struct protocol *protocol = l->protocol;
    const struct protocol_peer *peer = &l->server->peer;
    if (request->kind == REQUEST_SCAN) {
        protocol->scan(peer, scan_cursor(c, records[0]), request->keys, &l->out);
        return TARN_OK;
    }
    requests_keys(c, records, request->keys);
    int status = c->keys_checked ? check_keys(c, request->keys, error) : TARN_OK;
    if (status != TARN_OK)
        return status;
    if (request->kind == REQUEST_GET) {
        protocol->get(peer, c->scratch.keys, request->keys, &l->out);
        return TARN_OK;
    }
    if (!make_values(c, records, request->keys))
        return no_memory(error);
    protocol->put(peer, c->scratch.keys, c->scratch.values, request->keys, &l->out);
    return TARN_OK;
}

/* --- dealing out --- */

static enum request_kind first_request(enum operation_kind kind)
{
    switch (kind) {
    case OPERATION_UPDATE:
    case OPERATION_INSERT:
        return REQUEST_PUT;
    case OPERATION_SCAN:
        return REQUEST_SCAN;
    default:
        return REQUEST_GET;
    }
}

/* A new request of planned request i's kind at the end of a link; the records are the caller's. */
static uint64_t *push(struct client *c, struct link *l, size_t i, size_t count, uint64_t start_ns,
                      uint64_t ready_ns)
{
    enum operation_kind kind = (enum operation_kind)c->plan.kinds[i];
    struct request *request = link_push(l);
    *request = (struct request){
        .start_ns = start_ns,
        .ready_ns = ready_ns,
        .keys = kind == OPERATION_SCAN ? workload_scan_count(&c->workload) : (uint32_t)count,
        .operation = (uint8_t)kind,
        .kind = (uint8_t)first_request(kind),
    };
    c->under_way++;
    return link_records(l, l->count - 1);
}

/* Which server has each of the records, and how many each server has. */
static void find_servers(struct client *c, const uint64_t *records, size_t count)
{
    struct scratch *s = &c->scratch;
    memset(s->counts, 0, c->options.servers_count * sizeof *s->counts);
    requests_keys(c, records, count);
    for (size_t i = 0; i < count; i++) {
        s->servers[i] = slot_server(slot_of(s->keys[i]), c->options.servers_count);
        s->counts[s->servers[i]]++;
    }
}

static int issue_to_server(struct client *c, struct link *l, size_t i, unsigned server,
                           uint64_t start_ns, uint64_t ready_ns, struct tarn_error *error)
{
    const uint64_t *records = &c->plan.records[i * c->options.batch_max];
    uint64_t *out = push(c, l, i, c->scratch.counts[server], start_ns, ready_ns);
    for (size_t j = 0; j < c->plan.counts[i]; j++)
        if (c->scratch.servers[j] == server)
            *out++ = records[j];
    return requests_encode(c, l, l->count - 1, error);
}

int requests_issue(struct client *c, struct connection *connection, size_t i, uint64_t start_ns,
                   uint64_t ready_ns, struct tarn_error *error)
{
    const uint64_t *records = &c->plan.records[i * c->options.batch_max];
    size_t count = c->plan.counts[i];
    struct link *l = connection->links;
    if (c->options.servers_count == 1) {
        uint64_t *out = push(c, l, i, count, start_ns, ready_ns);
        memcpy(out, records, count * sizeof *out);
        return requests_encode(c, l, l->count - 1, error);
    }
    find_servers(c, records, count);
    int status = TARN_OK;
    for (unsigned server = 0; server < c->options.servers_count && status == TARN_OK; server++)
        if (c->scratch.counts[server] > 0)
            status = issue_to_server(c, l + server, i, server, start_ns, ready_ns, error);
    return status;
}
