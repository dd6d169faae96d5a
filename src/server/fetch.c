/* Reads of a data file on disk. How: the keys of the complete requests that a connection has sent
 * (a window of them) are begun to be read with one tarn_fetch_begin(); at the end of the worker's
 * turn the system is handed what all its connections have begun. When a window has come, its
 * requests are executed as ever, and find their records in memory. Its input is parsed twice: ahead
 * with the worker's own parser, then, as ever, with the connection's.
 *
 * A window holds only requests that read the keys they name: before and behind it are those that
 * may change what the next ones mean (MULTI, AUTH, SELECT ...). It begins with WINDOW_FIRST keys,
 * grows while windows are executed whole, and shrinks to the part that was executed when the client
 * does not take the replies of one, since what is left of it is let go and read again.
 *
 * No memory for a window (FULL, of all or of some of its keys): a smaller one is tried when another
 * connection of the worker has let go of its records, or after a tick. Only a request that is
 * alone, and the only one in the server that is being read for, is executed then and gets the
 * error.
 *
 * Invariants
 * 1. c->fetching: the reads are under way, and c is parked. Else c->fetch is held only while
 *    requests are executed, so that a slow client keeps no records.
 * 2. c->fetched is how many bytes of the input, from the next request on, may be executed; it ends
 *    where a request does.
 * 3. A connection with come_link is in its worker's list, to be gone on with. */
#include "server/fetch.h"

#include <stdlib.h>

#include "server/command_rows.h"

#define WINDOW_FIRST     64 /* keys, if the first request has not more */
#define WINDOW_MAX       256
#define WINDOW_BYTES_MAX (64u << 10) /* of requests behind the first */
#define TRIES_MAX        2           /* what was let go is free only when the turn is over */
#define LIST_KEYS_KEPT   (16 * WINDOW_MAX)

/* --- the worker's part -------------------------------------------------------------------- */

int fetch_open(struct worker *w, struct tarn_error *error)
{
    struct fetcher *f = &w->fetcher;
    int fd = tarn_fetch_fd(w->session);
    if (fd == TARN_NOMEM)
        return error_set(error, TARN_NOMEM, "out of memory for reads of the data file");
    if (fd < 0)
        return TARN_OK;
    f->starved_end = &f->starved;
    f->watch.kind = WATCH_FETCH;
    f->parser = resp_parser_new();
    if (f->parser == NULL)
        return error_set(error, TARN_NOMEM, "out of memory for a worker");
    int status = loop_add(&w->loop, fd, EPOLLIN, &f->watch);
    if (status != 0)
        return os_error(error, status, "watch", "reads of the data file");
    f->on = true;
    return TARN_OK;
}

void fetch_close(struct worker *w)
{
    struct fetcher *f = &w->fetcher;
    if (f->on)
        loop_remove(&w->loop, tarn_fetch_fd(w->session));
    resp_parser_free(f->parser);
    free(f->keys);
    *f = (struct fetcher){.on = false};
}

static void come_add(struct fetcher *f, struct connection *c)
{
    c->come_next = f->come;
    c->come_link = &f->come;
    if (c->come_next != NULL)
        c->come_next->come_link = &c->come_next;
    f->come = c;
}

static void starved_add(struct fetcher *f, struct connection *c)
{
    c->come_next = NULL;
    c->come_link = f->starved_end;
    *f->starved_end = c;
    f->starved_end = &c->come_next;
}

/* Out of the list that it is in, if any. */
static void list_remove(struct connection *c)
{
    struct fetcher *f = &c->client.worker->fetcher;
    if (c->come_link == NULL)
        return;
    *c->come_link = c->come_next;
    if (c->come_next != NULL)
        c->come_next->come_link = c->come_link;
    if (f->starved_end == &c->come_next)
        f->starved_end = c->come_link;
    c->come_next = NULL;
    c->come_link = NULL;
}

/* --- which keys --------------------------------------------------------------------------- */

/* Room for so many more keys. */
static bool reserve_keys(struct fetcher *f, size_t count)
{
    if (f->keys_capacity - f->keys_count >= count)
        return true;
    size_t capacity = f->keys_count + count < WINDOW_MAX ? WINDOW_MAX : f->keys_count + count;
    struct tarn_bytes *keys = realloc(f->keys, capacity * sizeof *keys);
    if (keys == NULL)
        return false;
    f->keys = keys;
    f->keys_capacity = capacity;
    return true;
}

/* Add the keys of a request that only reads those it names; false if it is no such one. */
static bool add_request(struct fetcher *f, const struct resp_request *request)
{
    const struct command *command = command_find_request(request);
    if (command == NULL || (command->flags & COMMAND_READONLY) == 0 || command->key_first == 0 ||
        !command_takes(command, request->count) ||
        !reserve_keys(f, command_keys_count(command, request)))
        return false;
    f->keys_count += command_keys(command, request, f->keys + f->keys_count);
    return true;
}

/* The keys of all that EXEC will execute. */
static void add_transaction(struct fetcher *f, const struct client *client)
{
    size_t count = client_transaction_keys_count(client);
    if (!reserve_keys(f, count))
        return; /* they are read one after the other */
    client_transaction_keys(client, f->keys);
    f->keys_count = count;
}

/* Do the arguments lie in the input (and not in the parser, which forgets them)? */
static bool lies_in(const struct resp_request *request, struct tarn_bytes input)
{
    const unsigned char *from = input.data, *last = request->args[request->count - 1].data;
    return last >= from && last <= from + input.size;
}

/* Add the keys of the requests at the beginning of `rest`, as long as they only read; returns how
 * many bytes they are. */
static size_t add_rest(struct connection *c, struct tarn_bytes rest)
{
    struct fetcher *f = &c->client.worker->fetcher;
    struct resp_limits limits = connection_limits(c);
    const unsigned char *data = rest.data;
    size_t at = 0;
    if (rest.size > WINDOW_BYTES_MAX)
        rest.size = WINDOW_BYTES_MAX;
    while (at < rest.size && f->keys_count < c->fetch_window) {
        struct tarn_bytes input = {data + at, rest.size - at};
        struct resp_request request;
        size_t size;
        enum resp_outcome outcome = resp_parse(f->parser, input, &limits, f->args,
                                               sizeof f->args / sizeof f->args[0], &request, &size);
        if (outcome != RESP_REQUEST || !lies_in(&request, input) || !add_request(f, &request))
            break;
        at += size;
    }
    resp_parser_reset(f->parser);
    return at;
}

/* Gather the keys of the request, and of those behind it; returns how many bytes these are. */
static size_t gather(struct connection *c, const struct resp_request *request,
                     struct tarn_bytes rest, size_t *ret_first)
{
    struct fetcher *f = &c->client.worker->fetcher;
    size_t ahead = 0;
    f->keys_count = 0;
    if (c->client.in_multi) {
        const struct command *command = command_find_request(request);
        if (command != NULL && command->run == cmd_exec)
            add_transaction(f, &c->client);
        *ret_first = f->keys_count;
        return 0;
    }
    bool reads = add_request(f, request);
    *ret_first = f->keys_count;
    if (reads)
        ahead = add_rest(c, rest);
    return ahead;
}

/* --- windows ------------------------------------------------------------------------------ */

void fetch_come(void *context)
{
    struct connection *c = context;
    come_add(&c->client.worker->fetcher, c);
}

/* Let go what came, or is still coming, for the connection; others that had no room may try again.
 */
static void end_fetch(struct connection *c)
{
    struct worker *w = c->client.worker;
    struct fetcher *f = &w->fetcher;
    if (c->fetch == NULL)
        return;
    tarn_fetch_end(c->fetch);
    c->fetch = NULL;
    atomic_fetch_sub_explicit(&w->server->fetches_held, 1, memory_order_relaxed);
    struct connection *starved = f->starved;
    if (starved == NULL)
        return;
    list_remove(starved);
    come_add(f, starved);
    loop_wake(&w->loop);
}

static void wait_for(struct connection *c)
{
    c->fetching = c->parked = true;
}

/* Begin to read the keys; returns how many are under way, or the store's error. */
static int begin(struct connection *c, size_t count)
{
    struct worker *w = c->client.worker;
    struct fetcher *f = &w->fetcher;
    int under_way = tarn_fetch_begin(w->session, f->keys, count, fetch_come, c, &c->fetch);
    if (f->keys_capacity > LIST_KEYS_KEPT) {
        free(f->keys);
        f->keys = NULL;
        f->keys_capacity = 0;
    }
    if (under_way > 0) {
        atomic_fetch_add_explicit(&w->server->fetches_held, 1, memory_order_relaxed);
        wait_for(c);
    }
    return under_way;
}

/* Is there no hope that a request for which there was no memory will find any? */
static bool is_hopeless(struct connection *c)
{
    const _Atomic unsigned *held = &c->client.worker->server->fetches_held;
    if (atomic_load_explicit(held, memory_order_relaxed) > (c->fetch != NULL))
        return false;
    return c->fetch_tries++ == TRIES_MAX;
}

/* There was no memory to read with: try again later. */
static void starve(struct connection *c)
{
    struct worker *w = c->client.worker;
    c->fetched = 0;
    wait_for(c);
    starved_add(&w->fetcher, c);
    if (w->tick_ns == 0)
        w->tick_ns = w->now_ns + TICK_NS;
}

bool fetch_ahead(struct connection *c, const struct resp_request *request, size_t size,
                 struct tarn_bytes rest)
{
    struct worker *w = c->client.worker;
    size_t first;
    if (c->fetched >= size) {
        c->fetched -= size;
        return true;
    }
    if (!c->client.authenticated &&
        atomic_load_explicit(&w->server->hot.password_set, memory_order_relaxed))
        return true; /* nothing is read for strangers */
    if (c->fetch_window == 0)
        c->fetch_window = WINDOW_FIRST;
    size_t ahead = gather(c, request, rest, &first);
    if (w->fetcher.keys_count == 0)
        return true;
    int under_way = begin(c, w->fetcher.keys_count);
    if (under_way < 0 && ahead > 0) {
        ahead = 0;
        gather(c, request, (struct tarn_bytes){NULL, 0}, &first);
        under_way = begin(c, first);
    }
    if (under_way < 0 && !is_hopeless(c)) {
        starve(c);
        return false;
    }
    if (under_way <= 0)
        c->fetch_tries = 0;
    c->fetched = c->fetched_first = under_way > 0 ? size + ahead : ahead;
    c->fetch_alone = ahead == 0;
    return under_way <= 0;
}

void fetch_done(struct connection *c)
{
    if (c->fetching)
        return;
    if (c->fetch != NULL && c->fetched > 0)
        c->fetch_window = 1 + c->fetch_window * (c->fetched_first - c->fetched) / c->fetched_first;
    else if (c->fetch != NULL && c->fetch_window < WINDOW_MAX)
        c->fetch_window *= 2;
    c->fetched = 0;
    end_fetch(c);
}

void fetch_forget(struct connection *c)
{
    list_remove(c);
    if (c->fetching || c->stream.source != NULL)
        c->parked = false;
    c->fetching = false;
    c->fetched = 0;
    end_fetch(c);
    tarn_stream_close(c->stream.source);
    c->stream.source = NULL;
}

/* --- what has come ------------------------------------------------------------------------ */

/* What has come is not all, for lack of memory: it is to be read again, less at a time or later. */
static bool must_retry(struct connection *c)
{
    if (c->fetch == NULL)
        return false;
    if (tarn_fetch_status(c->fetch) == TARN_OK || (c->fetch_alone && is_hopeless(c))) {
        c->fetch_tries = 0;
        return false;
    }
    c->fetch_window = 1 + c->fetch_window / 8;
    end_fetch(c);
    starve(c);
    return true;
}

/* Its reads have come: execute them. */
static void go_on(struct connection *c)
{
    c->fetching = c->parked = false;
    if (must_retry(c))
        return;
    if (c->held && !c->client.worker->stopping) {
        c->fetched = 0;
        end_fetch(c); /* it has not taken its replies yet; these are read again then */
        connection_end_turn(c);
    } else {
        fetch_go_on(c);
    }
}

void fetch_retry(struct worker *w)
{
    struct fetcher *f = &w->fetcher;
    for (struct connection *c; (c = f->starved) != NULL;) {
        list_remove(c);
        come_add(f, c);
    }
    fetch_deliver(w);
}

void fetch_deliver(struct worker *w)
{
    struct fetcher *f = &w->fetcher;
    if (f->due) {
        f->due = false;
        tarn_fetch_poll(w->session);
    }
    while (f->come != NULL) {
        struct connection *c = f->come;
        list_remove(c);
        if (c->stream.source != NULL)
            fetch_take_piece(c);
        else
            go_on(c);
    }
}
