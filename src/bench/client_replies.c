/* Answers: decoded, checked, counted, and followed up.
 *
 * How: all complete answers in a link's input are taken, oldest request first. Latencies and
 * counts are gathered and reach the tally once for all answers that came together and began
 * together, which with a pipeline in a closed loop is once for many. The second request of a
 * read-modify-write or a scan is queued at once in the place of the first, on the same link.
 *
 * Invariants
 * 1. An operation is finished once: answered, or refused by an error at either of its requests.
 * 2. An operation of two requests has the start of the first.
 * 3. A follow-up needs no room: the request before it has just left its place.
 * Failure modes: bytes that are no answer, or answers that nobody asked for. */
#include "bench/client_internal.h"

#include "core/assert.h"

#define PREFETCH_MAX 64

/* --- gathering --- */

static void flush_latencies(struct client *c)
{
    struct answers *a = &c->answers;
    uint64_t latency_ns = c->now_ns > a->start_ns ? c->now_ns - a->start_ns : 0;
    for (int kind = 0; kind < OPERATION_KINDS && a->any; kind++) {
        if (a->requests[kind] == 0)
            continue;
        tally_requests(c->tally, (enum operation_kind)kind, latency_ns, a->requests[kind],
                       a->operations[kind]);
        a->requests[kind] = a->operations[kind] = 0;
    }
    a->any = false;
}

static void flush_answers(struct client *c)
{
    struct answers *a = &c->answers;
    flush_latencies(c);
    tally_add(&c->tally->hits, a->hits);
    tally_add(&c->tally->misses, a->misses);
    tally_add(&c->tally->misses_expected, a->misses_expected);
    tally_add(&c->tally->value_bytes, a->value_bytes);
    a->hits = a->misses = a->misses_expected = a->value_bytes = 0;
}

/* An operation's last request was answered: `good` of its `operations` went well. */
static inline void finish(struct client *c, const struct link *l, const struct request *request,
                          uint64_t operations, uint64_t good)
{
    struct answers *a = &c->answers;
    uint64_t start_ns = link_started_ns(l, request);
    if (a->any && a->start_ns != start_ns)
        flush_latencies(c);
    a->any = true;
    a->start_ns = start_ns;
    a->requests[request->operation]++;
    a->operations[request->operation] += good;
    ASSERT(c->operations_open >= operations);
    c->operations_open -= operations;
}

/* --- follow-ups --- */

/* Queue the second request of an operation whose first is the link's oldest and is popped here;
 * `records` of the first's records are the second's. */
static void replace_oldest(struct link *l, enum request_kind kind, uint32_t keys, size_t records)
{
    struct request first = *link_request(l, 0);
    first.start_ns = link_started_ns(l, &first);
    const uint64_t *from = link_records(l, 0);
    link_pop(l);
    struct request *second = link_push(l);
    *second = first;
    second->kind = (uint8_t)kind;
    second->keys = keys;
    second->ready_ns = 0;
    memmove(link_records(l, l->count - 1), from, records * sizeof *from);
}

/* The value was read: write it. */
static int follow_with_put(struct client *c, struct link *l, struct tarn_error *error)
{
    uint32_t keys = link_request(l, 0)->keys;
    tally_add(&c->tally->requests, 1);
    replace_oldest(l, REQUEST_PUT, keys, keys);
    return requests_encode(c, l, l->count - 1, error);
}

/* The keys of a scan's answer that can be asked for, at most `wanted`, to the front of the list. */
static size_t usable_keys(const struct client *c, size_t wanted)
{
    const struct protocol *protocol = c->options.protocol;
    struct tarn_bytes *keys = c->reply.values;
    size_t usable = 0;
    if (wanted > protocol->get_keys_max)
        wanted = protocol->get_keys_max;
    for (size_t i = 0; i < c->reply.count && usable < wanted; i++)
        if (protocol_key_allowed(protocol, keys[i]))
            keys[usable++] = keys[i];
    return usable;
}

/* --- answers by request --- */

static void pop(struct client *c, struct link *l)
{
    link_pop(l);
    c->under_way--;
}

static void take_refusal(struct client *c, struct link *l)
{
    const struct request *request = link_request(l, 0);
    uint64_t operations = request->operation == OPERATION_SCAN ? 1 : request->keys;
    tally_error(c->tally, c->reply.error_text, operations);
    finish(c, l, request, operations, 0);
    pop(c, l);
}

static void wrong_value(struct client *c, uint64_t record)
{
    requests_keys(c, &record, 1);
    tally_wrong(c->tally, c->scratch.keys[0]);
}

/* One key of a read whose record is known. */
static inline void check_value(struct client *c, uint64_t record, struct tarn_bytes value)
{
    struct answers *a = &c->answers;
    bool missing = record & RECORD_MISSING;
    if (!value.data) {
        a->misses++;
        a->misses_expected += missing;
        return;
    }
    a->hits++;
    a->value_bytes += value.size;
    if (missing || (c->phase->verify && !records_value_equal(c->phase->records, record, value)))
        wrong_value(c, record);
}

static int take_values(struct client *c, struct link *l, struct tarn_error *error)
{
    const struct request *request = link_request(l, 0);
    const uint64_t *records = link_records(l, 0);
    ASSERT(c->reply.count == request->keys);
    for (size_t i = 0; i < request->keys; i++)
        check_value(c, records[i], c->reply.values[i]);
    if (request->operation == OPERATION_READ_MODIFY_WRITE)
        return follow_with_put(c, l, error);
    finish(c, l, request, request->keys, request->keys);
    pop(c, l);
    return TARN_OK;
}

/* The values of keys that a scan named: whose they are is not known. */
static void take_scanned_values(struct client *c, struct link *l)
{
    struct answers *a = &c->answers;
    for (size_t i = 0; i < c->reply.count; i++) {
        bool hit = c->reply.values[i].data != NULL;
        a->hits += hit;
        a->misses += !hit;
        a->value_bytes += c->reply.values[i].size;
    }
    finish(c, l, link_request(l, 0), 1, 1);
    pop(c, l);
}

static void take_scan(struct client *c, struct link *l)
{
    const struct request *request = link_request(l, 0);
    size_t keys = usable_keys(c, request->keys);
    if (keys == 0) {
        finish(c, l, request, 1, 1);
        pop(c, l);
        return;
    }
    tally_add(&c->tally->requests, 1);
    replace_oldest(l, REQUEST_GET, (uint32_t)keys, 1);
    link_request(l, l->count - 1)->keys_unknown = true;
    l->protocol->get(&l->server->peer, c->reply.values, keys, &l->out);
}

static void take_written(struct client *c, struct link *l)
{
    const struct request *request = link_request(l, 0);
    finish(c, l, request, request->keys, request->keys);
    pop(c, l);
}

/* The inserts of the link's oldest request were answered, well or not. */
static void publish_inserts(struct client *c, const struct link *l)
{
    const struct request *request = link_request(l, 0);
    const uint64_t *records = link_records(l, 0);
    if (request->operation != OPERATION_INSERT || c->phase->load)
        return;
    for (size_t i = 0; i < request->keys; i++)
        workload_inserted(c->phase->workload, records[i]);
}

static inline int take_answer(struct client *c, struct link *l, struct tarn_error *error)
{
    const struct request *request = link_request(l, 0);
    if (__builtin_expect(request->kind == REQUEST_GET && !c->reply.error, 1)) {
        if (!request->keys_unknown)
            return take_values(c, l, error);
        take_scanned_values(c, l);
        return TARN_OK;
    }
    publish_inserts(c, l);
    if (c->reply.error)
        take_refusal(c, l);
    else if (request->kind == REQUEST_SCAN)
        take_scan(c, l);
    else
        take_written(c, l);
    return TARN_OK;
}

/* --- decoding --- */

static inline enum protocol_outcome decode(struct client *c, struct link *l, size_t *ret_size)
{
    const struct request *request = link_request(l, 0);
    const struct tarn_bytes *keys = NULL;
    if (l->protocol->replies_name_keys && request->kind == REQUEST_GET && request->keys > 1) {
        requests_keys(c, link_records(l, 0), request->keys);
        keys = c->scratch.keys;
    }
    return l->protocol->decode((enum request_kind)request->kind, keys, request->keys, link_input(l),
                               &c->reply, ret_size);
}

/* Take the oldest request's answer. ret_more: there was one; try the next. */
static inline int take_one(struct client *c, struct link *l, bool *ret_more,
                           struct tarn_error *error)
{
    size_t size = 0;
    *ret_more = false;
    switch (decode(c, l, &size)) {
    case PROTOCOL_COMPLETE:
        break;
    case PROTOCOL_INCOMPLETE:
        l->in_needed = size;
        return TARN_OK;
    case PROTOCOL_MALFORMED:
        return link_malformed_error(l, c->reply.error_text, error);
    default:
        return error_set(error, TARN_NOMEM, "no memory for an answer of %s", l->server->name);
    }
    int status = take_answer(c, l, error);
    link_take(l, size);
    *ret_more = true;
    return status;
}

/* What comes behind the last answer that is owed is nobody's. */
static int check_rest(const struct link *l, struct tarn_error *error)
{
    if (link_waiting(l) > 0 || link_input(l).size == 0)
        return TARN_OK;
    return link_malformed_error(l, bytes_of("it answers more than it was asked"), error);
}

/* The values that the oldest answers will be compared with have left the cache since their keys
 * were sent, if there are many connections: fetch them together. */
static void prefetch_expected(const struct client *c, const struct link *l)
{
    size_t requests = link_waiting(l) < PREFETCH_MAX ? link_waiting(l) : PREFETCH_MAX;
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < requests; i++) {
            const struct request *request = link_request(l, i);
            uint64_t record = link_records(l, i)[0];
            if (request->kind != REQUEST_GET || request->keys_unknown || record & RECORD_MISSING)
                continue;
            if (pass == 0)
                records_prefetch(c->phase->records, record);
            else
                records_prefetch_bytes(c->phase->records, record);
        }
    }
}

int replies_take(struct client *c, struct link *l, struct tarn_error *error)
{
    int status = TARN_OK;
    bool more = link_input(l).size >= l->in_needed, closes = false;
    if (more && c->phase->verify && c->phase->batch == 1)
        prefetch_expected(c, l);
    while (status == TARN_OK && more && link_waiting(l) > 0 && link_input(l).size > 0) {
        status = take_one(c, l, &more, error);
        closes = more && c->reply.closes;
        if (closes)
            break;
    }
    flush_answers(c);
    if (status != TARN_OK)
        return status;
    if (closes)
        link_disconnect(l);
    return closes ? TARN_OK : check_rest(l, error);
}
