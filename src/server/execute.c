/* Executing requests. How: requests are parsed one by one straight out of the input. One that reads
 * or writes a single key joins the run; anything else first finishes the run, so that effects and
 * replies keep the order of requests, and is then executed alone. When a run is finished, all its
 * keys are prefetched at once; then its gathered reads (struct command's `read`) are looked up and
 * answered, as many neighbours as there are with one tarn_get_many(), and its other requests go to
 * their handlers.
 *
 * When a connection's input ends in an open run, the run is left for the connections that are ready
 * in the same loop turn to join, so that even without pipelining several look-ups overlap their
 * memory accesses (one alone waits for DRAM two or three times in a row).
 *
 * Time: a look-up is timed once and shared equally among its requests; encoding their replies is
 * not in it. A request with a handler takes from the end of the one before it (or its own start) to
 * its end.
 *
 * Admission of the common case (a name whose spelling was admitted before, an authenticated
 * client, the right number of arguments) is decided here; everything else is command_admit()'s.
 *
 * Invariants
 * 1. Views in the run point into the input or the run's own args, both stable until it finishes.
 * 2. The run is empty whenever a request is executed alone.
 * 3. Reads are answered before the next handler is called: a handler may wait for memory, after
 *    which views of values are no longer valid.
 * 4. Deferred requests of others are in the run only while the connection whose turn it is has
 *    answered nothing: finishing the run sends their replies through the same output.
 * Failure modes: malformed input is answered and closes the connection; an output that fails
 * (limit, memory) is seen by connection_send(). */
#include "core/codec.h"
#include "server/connection.h"
#include "server/fetch.h"
#include "server/gate.h"
#include "server/log.h"

#define INLINE_BYTES_MAX (64u << 10)
#define ARGS_MAX         (1u << 20)
#define UNAUTH_ARGS_MAX  10
#define UNAUTH_ARG_BYTES (16u << 10)
#define RUN_ARGS_RESERVE 8              /* finish the run when fewer argument places are left */
#define ATTACK_LOG_NS    60000000000ull /* at most one line a minute */

struct resp_limits connection_limits(const struct connection *c)
{
    const struct server_hot *hot = &c->client.server->hot;
    struct resp_limits limits = {
        .args_max = ARGS_MAX,
        .arg_bytes_max = SIZE_MAX,
        .request_bytes_max = hot_read(&hot->request_bytes_max),
        .inline_bytes_max = INLINE_BYTES_MAX,
    };
    if (limits.request_bytes_max == 0)
        limits.request_bytes_max = SIZE_MAX;
    if (!c->client.authenticated &&
        atomic_load_explicit(&hot->password_set, memory_order_relaxed)) {
        limits.args_max = UNAUTH_ARGS_MAX;
        limits.arg_bytes_max = UNAUTH_ARG_BYTES;
        limits.unauthenticated = true;
    }
    return limits;
}

/* Note what may have changed since the last request that was executed alone. */
static inline void look_around(struct worker *w)
{
    w->alone = atomic_load_explicit(&w->server->hot.alone, memory_order_relaxed) > 0;
}

/* --- which command ------------------------------------------------------------------------ */

/* The bytes of a name of 1..8 bytes as a number; distinct names of one size give distinct ones. */
static inline uint64_t name_pack(const unsigned char *name, size_t size)
{
    if (size >= 4)
        return load_u32le(name) | (uint64_t)load_u32le(name + size - 4) << 32;
    return name[0] | (uint64_t)name[size / 2] << 8 | (uint64_t)name[size - 1] << 16;
}

static inline struct name_cache_entry *name_cache_at(struct worker *w, uint64_t packed)
{
    return &w->name_cache[packed * 0x9e3779b97f4a7c15ull >> 59];
}
_Static_assert(NAME_CACHE_COUNT == 32, "five bits of the product choose the entry");

/* The gathered command of this name if it was admitted before, else NULL. */
static inline const struct command *name_cache_find(struct worker *w, struct tarn_bytes name)
{
    if (name.size - 1 >= 8)
        return NULL;
    uint64_t packed = name_pack(name.data, name.size);
    const struct name_cache_entry *entry = name_cache_at(w, packed);
    return entry->packed == packed && entry->size == name.size ? entry->command : NULL;
}

static void name_cache_add(struct worker *w, struct tarn_bytes name, const struct command *command)
{
    if (name.size - 1 >= 8)
        return;
    uint64_t packed = name_pack(name.data, name.size);
    *name_cache_at(w, packed) = (struct name_cache_entry){packed, name.size, command};
}

/* --- bookkeeping -------------------------------------------------------------------------- */

static void log_slow(struct connection *c, const struct resp_request *request, uint64_t ns)
{
    struct server *server = c->client.server;
    slowlog_add(&server->slowlog, hot_read(&server->hot.slowlog_entries_max), request, ns / 1000,
                server->os->realtime_us(server->os) / 1000000, c->client.address, c->client.name);
}

/* Count the reply that begins at `start` if it is an error. */
static inline void count_error(struct connection *c, const struct command *command, bool rejected,
                               size_t start)
{
    const struct buffer *out = &c->out->bytes;
    if (__builtin_expect(out->size > start && out->data[start] == '-', 0))
        stats_record_error(&c->client.worker->stats, command, rejected,
                           (struct tarn_bytes){out->data + start + 1, out->size - start - 1});
}

/* Count the calls from..to of a run, command by command, each with its share of the time. */
static void count_calls(struct worker *w, size_t from, size_t to, uint64_t ns)
{
    const struct run *run = &w->run;
    size_t count = to - from;
    for (size_t i = from + 1; i <= to; i++) {
        if (i < to && run->commands[i] == run->commands[from])
            continue;
        stats_record_calls(&w->stats, run->commands[from], i - from, ns * (i - from) / count);
        from = i;
    }
}

/* CLIENT REPLY: take back what a command answered if the client wants no replies, and let SKIP
 * take its turn. */
static void apply_reply_mode(struct connection *c, struct output_mark before)
{
    struct client *client = &c->client;
    if (client->reply_mode != CLIENT_REPLY_ON)
        output_truncate(c->out, before);
    if (client->reply_mode == CLIENT_REPLY_SKIP)
        client->reply_mode = CLIENT_REPLY_ON;
    if (client->reply_skip_next && client->reply_mode == CLIENT_REPLY_ON)
        client->reply_mode = CLIENT_REPLY_SKIP;
    client->reply_skip_next = false;
}

/* Show other threads what this client has just done. */
static void show(struct connection *c, const struct command *command)
{
    atomic_store_explicit(&c->command_shown, command, memory_order_relaxed);
}

/* --- executing ---------------------------------------------------------------------------- */

/* Call the handler of one request, timed and counted. */
static void call_handler(struct connection *c, const struct command *command,
                         const struct resp_request *request)
{
    struct worker *w = c->client.worker;
    size_t start = c->out->bytes.size;
    if (w->stamp_ns == 0)
        w->stamp_ns = w->os->monotonic_ns(w->os);
    c->client.asked_command = command;
    c->client.asked = request;
    command->run(&c->client, request);
    uint64_t now = w->os->monotonic_ns(w->os);
    uint64_t ns = now - w->stamp_ns;
    w->stamp_ns = now;
    stats_record_calls(&w->stats, command, 1, ns);
    count_error(c, command, false, start);
    gate_note(c, tarn_session_sequence(w->session));
    if (__builtin_expect(ns / 1000 >= hot_read(&c->client.server->hot.slowlog_us), 0))
        log_slow(c, request, ns);
}

/* Look up the keys from..to of the run; returns the time it took for each, in ns. */
static uint64_t run_look_up(struct worker *w, size_t from, size_t to)
{
    struct run *run = &w->run;
    uint64_t start = w->os->monotonic_ns(w->os);
    size_t found, count = to - from;
    if (count == 1) {
        int status = tarn_get(w->session, run->keys[from], &run->values[from]);
        found = status == TARN_OK;
        if (found == 0)
            run->values[from] = command_no_value(status);
    } else {
        found = tarn_get_many(w->session, run->keys + from, count, run->values + from);
    }
    uint64_t ns = w->os->monotonic_ns(w->os) - start;
    stats_add(&w->stats.hits, found);
    stats_add(&w->stats.misses, count - found);
    count_calls(w, from, to, ns);
    w->stamp_ns = 0;
    return ns / count;
}

/* Answer the reads from..to, which are c's and looked up. each_ns: the time of one. */
static void run_answer(struct connection *c, size_t from, size_t to, uint64_t each_ns)
{
    const struct run *run = &c->client.worker->run;
    for (size_t i = from; i < to; i++) {
        size_t start = c->out->bytes.size;
        command_answer_read(&c->client, run->commands[i], &run->requests[i], run->values[i]);
        count_error(c, run->commands[i], false, start);
    }
    c->replies += (uint32_t)(to - from);
    if (__builtin_expect(each_ns / 1000 >= hot_read(&c->client.server->hot.slowlog_us), 0))
        for (size_t i = from; i < to; i++)
            log_slow(c, &run->requests[i], each_ns);
}

/* Execute the requests from..to, which are c's and have handlers. */
static void run_handle(struct connection *c, size_t from, size_t to)
{
    const struct run *run = &c->client.worker->run;
    for (size_t i = from; i < to; i++)
        call_handler(c, run->commands[i], &run->requests[i]);
    c->replies += (uint32_t)(to - from);
}

/* Where the neighbours of the same kind (gathered reads, or not) as run->commands[from] end. */
static size_t run_group_end(const struct run *run, size_t from)
{
    if (run->handled_count == 0)
        return run->count;
    bool read = run->commands[from]->read != NULL;
    size_t end = from + 1;
    while (end < run->count && (run->commands[end]->read != NULL) == read)
        end++;
    return end;
}

/* Execute the requests from..to, all of one kind; *segment is where `from` belongs, and moves on.
 * c: whose the requests after all segments are. */
static void run_group(struct worker *w, struct connection *c, size_t from, size_t to,
                      size_t *segment)
{
    const struct run *run = &w->run;
    bool read = run->commands[from]->read != NULL;
    uint64_t each_ns = read ? run_look_up(w, from, to) : 0;
    uint64_t sequence = read ? tarn_session_sequence(w->session) : 0;
    while (from < to) {
        bool deferred = *segment < run->segments_count;
        const struct run_segment *s = &run->segments[*segment];
        struct connection *owner = deferred ? s->connection : c;
        size_t end = deferred && s->end < to ? s->end : to;
        if (read)
            run_answer(owner, from, end, each_ns);
        else
            run_handle(owner, from, end);
        gate_note(owner, sequence);
        show(owner, run->commands[end - 1]);
        from = end;
        if (deferred && end == s->end) {
            connection_end_turn(owner);
            ++*segment;
        }
    }
}

void run_finish(struct worker *w, struct connection *c)
{
    struct run *run = &w->run;
    size_t segment = 0;
    if (run->count == 0)
        return;
    if (run->handled_count > 0 && run->count > 1)
        tarn_prefetch(w->session, run->keys, run->count);
    w->stamp_ns = 0;
    for (size_t from = 0, end; from < run->count; from = end) {
        end = run_group_end(run, from);
        run_group(w, c, from, end, &segment);
    }
    run->count = 0;
    run->args_count = 0;
    run->handled_count = 0;
    run->segments_count = 0;
    w->input_used = 0;
    w->stamp_ns = 0;
}

bool run_defer(struct connection *c)
{
    struct worker *w = c->client.worker;
    struct run *run = &w->run;
    size_t from = run->segments_count > 0 ? run->segments[run->segments_count - 1].end : 0;
    if (run->count == from)
        return false;
    run->segments[run->segments_count++] = (struct run_segment){c, run->count};
    if (run->segments_count == RUN_SEGMENTS_MAX)
        run_finish(w, NULL);
    return true;
}

static inline void run_add(struct worker *w, const struct resp_request *request,
                           const struct command *command)
{
    struct run *run = &w->run;
    run->keys[run->count] = request->args[1];
    run->requests[run->count] = *request;
    run->commands[run->count] = command;
    run->count++;
    run->args_count += request->count;
    run->handled_count += command->read == NULL;
}

/* Can requests of this command join a run: do they read or write args[1], and (if there are not
 * more) nothing else? */
static bool may_gather(const struct command *command)
{
    if (command->read != NULL)
        return true;
    return (command->flags & (COMMAND_READONLY | COMMAND_WRITE)) != 0 && command->key_first == 1 &&
           (command->key_last == 1 || command->key_last == -1);
}

/* Let the request join the run if it is a plain one of a known name. */
static inline bool run_offer(struct connection *c, const struct resp_request *request)
{
    struct worker *w = c->client.worker;
    const struct command *command = name_cache_find(w, request->args[0]);
    if (command == NULL || request->args != w->run.args + w->run.args_count)
        return false;
    if (!c->client.authenticated || c->client.in_multi || c->client.reply_mode != CLIENT_REPLY_ON ||
        c->client.reply_skip_next || c->client.no_touch || w->alone)
        return false;
    if (!command_takes(command, request->count))
        return false;
    if (command->key_last < 0 && request->count != 2)
        return false; /* of several keys */
    if (c->fetch != NULL && command->read != NULL && fetch_is_far(c, request->args[1]))
        return false;
    run_add(w, request, command);
    return true;
}

/* A browser that was made to send its HTTP request here must not reach the commands in its body
 * (cross-protocol scripting): such a connection is dropped at once, as Redis does. */
static bool is_attack(struct connection *c, const struct resp_request *request)
{
    struct tarn_bytes name = request->args[0];
    if (!bytes_equal_nocase(name, "post") && !bytes_equal_nocase(name, "host:"))
        return false;
    struct worker *w = c->client.worker;
    if (w->attack_log_ns == 0 || w->now_ns - w->attack_log_ns > ATTACK_LOG_NS) {
        w->attack_log_ns = w->now_ns;
        log_event(LOG_WARNING, "server", "attack",
                  "address=%s reason=\"POST or Host: on the RESP port, connection dropped; "
                  "somebody may be using cross-protocol scripting\"",
                  c->client.address);
    }
    c->state = CONNECTION_DEAD;
    return true;
}

/* Answer a gathered read of a value that is sent by pieces; false if it is not. */
static bool answer_far(struct connection *c, const struct command *command,
                       const struct resp_request *request)
{
    struct worker *w = c->client.worker;
    size_t start = c->out->bytes.size;
    uint64_t began = w->os->monotonic_ns(w->os);
    c->client.asked_command = command;
    c->client.asked = request;
    if (!fetch_answer_far(c, command, request))
        return false;
    stats_add(&w->stats.hits, 1);
    stats_record_calls(&w->stats, command, 1, w->os->monotonic_ns(w->os) - began);
    count_error(c, command, false, start);
    show(c, command);
    w->stamp_ns = 0;
    return true;
}

/* Execute an admitted request on its own; the run is empty. */
static void execute_admitted(struct connection *c, const struct command *command,
                             const struct resp_request *request)
{
    struct worker *w = c->client.worker;
    if (may_gather(command))
        name_cache_add(w, request->args[0], command);
    if (c->fetch != NULL && command->read != NULL && answer_far(c, command, request))
        return;
    if (command->read != NULL) {
        run_add(w, request, command);
        run_finish(w, c);
    } else {
        show(c, command);
        call_handler(c, command, request);
    }
}

/* Execute one request on its own; the run is empty. */
static void execute_alone(struct connection *c, const struct resp_request *request)
{
    struct client *client = &c->client;
    if (is_attack(c, request))
        return;
    struct output_mark before = output_mark(c->out);
    uint32_t replies = c->replies;
    atomic_store_explicit(&c->protocol_shown, client->reply.protocol, memory_order_relaxed);
    const struct command *command = command_admit(client, request);
    if (c->parked)
        return; /* held by CLIENT PAUSE */
    bool untouched = client->no_touch && !bytes_equal_nocase(request->args[0], "touch");
    if (untouched)
        tarn_session_touches(client->session, false);
    if (command == NULL)
        count_error(c, command_find(request->args[0]), true, before.bytes_size);
    else
        execute_admitted(c, command, request);
    if (untouched)
        tarn_session_touches(client->session, true);
    if (command != NULL)
        monitor_feed(client, command, request);
    apply_reply_mode(c, before);
    c->replies = replies + (c->out->bytes.size > before.bytes_size);
    if (client->close_after_reply)
        c->state = CONNECTION_CLOSING;
    look_around(c->client.worker);
}

static void answer_invalid(struct connection *c)
{
    size_t start = c->out->bytes.size;
    reply_error(&c->client.reply, "ERR %s", resp_parser_error(c->parser));
    count_error(c, NULL, true, start);
    c->replies++;
    c->state = CONNECTION_CLOSING;
}

static inline void send_if_much(struct connection *c)
{
    if (output_unsent(c->out) >= OUTPUT_FLUSH_BYTES || c->out->bytes.failed)
        connection_send(c);
}

size_t connection_execute(struct connection *c, struct tarn_bytes input)
{
    struct worker *w = c->client.worker;
    struct run *run = &w->run;
    struct resp_limits limits = connection_limits(c);
    enum resp_outcome outcome = RESP_EMPTY;
    size_t taken = 0;
    w->stamp_ns = 0;
    look_around(w);
    while (taken < input.size && c->state == CONNECTION_OPEN && !c->held && !c->parked &&
           (!c->gated || w->stopping)) {
        if (c->fetch != NULL && c->fetched == 0) {
            run_finish(w, c); /* the next requests were not fetched with these */
            fetch_done(c);
            send_if_much(c);
            continue;
        }
        struct tarn_bytes rest = {(const unsigned char *)input.data + taken, input.size - taken};
        struct resp_request request;
        size_t size;
        outcome = resp_parse(c->parser, rest, &limits, run->args + run->args_count,
                             RUN_ARGS_MAX - run->args_count, &request, &size);
        if (outcome == RESP_INCOMPLETE || outcome == RESP_INVALID)
            break;
        taken += size;
        if (outcome == RESP_EMPTY)
            continue;
        if (w->fetcher.on &&
            !fetch_ahead(
                c, &request, size,
                (struct tarn_bytes){(const unsigned char *)rest.data + size, rest.size - size})) {
            taken -= size; /* it will be executed when that has come */
            break;
        }
        if (run_offer(c, &request)) {
            if (run->count < RUN_MAX && RUN_ARGS_MAX - run->args_count >= RUN_ARGS_RESERVE)
                continue;
            run_finish(w, c);
        } else {
            run_finish(w, c);
            execute_alone(c, &request);
            if (c->park_link != NULL && c->park_kind == PARK_PAUSE)
                taken -= size; /* it will be executed when the pause is over */
            limits = connection_limits(c);
        }
        send_if_much(c);
    }
    if (outcome == RESP_INVALID) {
        run_finish(w, c);
        answer_invalid(c);
    }
    if (!c->fetching && c->fetch == NULL)
        c->fetched = 0;
    return taken;
}
