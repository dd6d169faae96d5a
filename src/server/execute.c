/* Executing requests. How: requests are parsed one by one straight out of the input. A gathered
 * read (struct command's `read`) joins the run; anything else first finishes the run, so that
 * replies keep the order of requests, and is then executed alone. A run is looked up with one
 * tarn_get_many().
 *
 * When a connection's input ends in an open run, the run is left for the connections that are ready
 * in the same loop turn to join, so that even without pipelining several look-ups overlap their
 * memory accesses (one alone waits for DRAM two or three times in a row).
 *
 * Time: a run's look-up is timed once and shared equally among its requests; encoding their
 * replies is not in it. A request executed alone takes from the end of the one before it (or its
 * own start) to its end.
 *
 * Admission of the common case (a read whose spelling was admitted before, an authenticated
 * client, the right number of arguments) is decided here; everything else is command_admit()'s.
 *
 * Invariants
 * 1. Views in the run point into the input or the run's own args, both stable until it finishes.
 * 2. The run is empty whenever a request is executed alone.
 * 3. Deferred requests of others are in the run only while the connection whose turn it is has
 *    answered nothing: finishing the run sends their replies through the same output.
 * Failure modes: malformed input is answered and closes the connection; an output that fails
 * (limit, memory) is seen by connection_send(). */
#include "core/codec.h"
#include "server/connection.h"
#include "server/log.h"

#define INLINE_BYTES_MAX (64u << 10)
#define ARGS_MAX         (1u << 20)
#define UNAUTH_ARGS_MAX  10
#define UNAUTH_ARG_BYTES (16u << 10)
#define RUN_ARGS_RESERVE 8              /* finish the run when fewer argument places are left */
#define ATTACK_LOG_NS    60000000000ull /* at most one line a minute */

static struct resp_limits limits_of(const struct connection *c)
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
    return &w->name_cache[packed * 0x9e3779b97f4a7c15ull >> 61];
}
_Static_assert(NAME_CACHE_COUNT == 8, "three bits of the product choose the entry");

/* The gathered read of this name if it was admitted before, else NULL. */
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

/* Count a run's calls, command by command, each with its share of the time. */
static void count_run(struct worker *w, uint64_t ns)
{
    const struct run *run = &w->run;
    size_t from = 0;
    for (size_t i = 1; i <= run->count; i++) {
        if (i < run->count && run->commands[i] == run->commands[from])
            continue;
        stats_record_calls(&w->stats, run->commands[from], i - from, ns * (i - from) / run->count);
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

/* Look up the keys of the run; returns the time it took, in ns. */
static uint64_t run_look_up(struct worker *w)
{
    struct run *run = &w->run;
    uint64_t start = w->os->monotonic_ns(w->os);
    size_t found;
    if (run->count == 1) {
        found = tarn_get(w->session, run->keys[0], &run->values[0]) == TARN_OK;
        if (found == 0)
            run->values[0] = (struct tarn_bytes){NULL, 0};
    } else {
        found = tarn_get_many(w->session, run->keys, run->count, run->values);
    }
    uint64_t ns = w->os->monotonic_ns(w->os) - start;
    stats_add(&w->stats.hits, found);
    stats_add(&w->stats.misses, run->count - found);
    count_run(w, ns);
    return ns;
}

/* Answer the requests from..to, which are c's. each_ns: the time of one. */
static void run_answer(struct connection *c, size_t from, size_t to, uint64_t each_ns)
{
    const struct run *run = &c->client.worker->run;
    for (size_t i = from; i < to; i++) {
        size_t start = c->out->bytes.size;
        run->commands[i]->read(&c->client, &run->requests[i], run->values[i]);
        count_error(c, run->commands[i], false, start);
    }
    show(c, run->commands[to - 1]);
    if (__builtin_expect(each_ns / 1000 >= hot_read(&c->client.server->hot.slowlog_us), 0))
        for (size_t i = from; i < to; i++)
            log_slow(c, &run->requests[i], each_ns);
}

void run_finish(struct worker *w, struct connection *c)
{
    struct run *run = &w->run;
    if (run->count == 0)
        return;
    uint64_t each_ns = run_look_up(w) / run->count;
    size_t from = 0;
    for (size_t i = 0; i < run->segments_count; i++) {
        struct run_segment *segment = &run->segments[i];
        run_answer(segment->connection, from, segment->end, each_ns);
        from = segment->end;
        connection_end_turn(segment->connection);
    }
    if (from < run->count)
        run_answer(c, from, run->count, each_ns);
    run->count = 0;
    run->args_count = 0;
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

static void run_add(struct worker *w, const struct resp_request *request,
                    const struct command *command)
{
    struct run *run = &w->run;
    run->keys[run->count] = request->args[1];
    run->requests[run->count] = *request;
    run->commands[run->count] = command;
    run->count++;
    run->args_count += request->count;
}

/* Let the request join the run if it is a plain read. */
static inline bool run_offer(struct connection *c, const struct resp_request *request)
{
    struct worker *w = c->client.worker;
    const struct command *command = name_cache_find(w, request->args[0]);
    if (command == NULL || request->args != w->run.args + w->run.args_count)
        return false;
    if (!c->client.authenticated || c->client.in_multi || c->client.reply_mode != CLIENT_REPLY_ON ||
        c->client.reply_skip_next)
        return false;
    if (command->arity >= 0 ? request->count != (size_t)command->arity
                            : request->count < (size_t)-command->arity)
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

/* Execute one request on its own; the run is empty. */
static void execute_alone(struct connection *c, const struct resp_request *request)
{
    struct worker *w = c->client.worker;
    struct client *client = &c->client;
    if (is_attack(c, request))
        return;
    struct output_mark before = output_mark(c->out);
    atomic_store_explicit(&c->protocol_shown, client->reply.protocol, memory_order_relaxed);
    const struct command *command = command_admit(client, request);
    if (command == NULL) {
        count_error(c, command_find(request->args[0]), true, before.bytes_size);
    } else if (command->read != NULL) {
        if ((command->flags & COMMAND_WRITE) == 0)
            name_cache_add(w, request->args[0], command);
        run_add(w, request, command);
        run_finish(w, c);
    } else {
        show(c, command);
        if (w->stamp_ns == 0)
            w->stamp_ns = w->os->monotonic_ns(w->os);
        command->run(client, request);
        uint64_t now = w->os->monotonic_ns(w->os);
        uint64_t ns = now - w->stamp_ns;
        w->stamp_ns = now;
        stats_record_calls(&w->stats, command, 1, ns);
        count_error(c, command, false, before.bytes_size);
        if (ns / 1000 >= hot_read(&client->server->hot.slowlog_us))
            log_slow(c, request, ns);
    }
    apply_reply_mode(c, before);
    if (client->close_after_reply)
        c->state = CONNECTION_CLOSING;
}

static void answer_invalid(struct connection *c)
{
    size_t start = c->out->bytes.size;
    reply_error(&c->client.reply, "ERR %s", resp_parser_error(c->parser));
    count_error(c, NULL, true, start);
    c->state = CONNECTION_CLOSING;
}

size_t connection_execute(struct connection *c, struct tarn_bytes input)
{
    struct worker *w = c->client.worker;
    struct run *run = &w->run;
    struct resp_limits limits = limits_of(c);
    enum resp_outcome outcome = RESP_EMPTY;
    size_t taken = 0;
    w->stamp_ns = 0;
    while (taken < input.size && c->state == CONNECTION_OPEN && !c->held && !c->parked) {
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
        if (run_offer(c, &request)) {
            if (run->count < RUN_MAX && RUN_ARGS_MAX - run->args_count >= RUN_ARGS_RESERVE)
                continue;
            run_finish(w, c);
        } else {
            run_finish(w, c);
            execute_alone(c, &request);
            limits = limits_of(c);
        }
        if (output_unsent(c->out) >= OUTPUT_FLUSH_BYTES || c->out->bytes.failed)
            connection_send(c);
    }
    if (outcome == RESP_INVALID) {
        run_finish(w, c);
        answer_invalid(c);
    }
    return taken;
}
