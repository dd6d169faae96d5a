/* Goal: connections answer each request once and in order, whatever the pieces in which bytes come
 * and go and whoever shares a look-up with them; limits hold; memory is given back.
 * Method: this thread plays the one worker (lib/server_world.h), so every interleaving is chosen by
 * the test, from seeds. */
#include "lib/test.h"

#include "lib/dataset.h"
#include "lib/server_world.h"

#define CLIENTS_MAX 24

/* --- order -------------------------------------------------------------------------------- */

/* Append one random request and its reply. */
static void add_request(struct world *world, struct peer *p, uint64_t *random)
{
    struct buffer *in = &p->to_send, *out = &p->expected;
    struct reply reply = {out, 2};
    int key = (int)(random_next(random) % KEYS);
    char value[32], name[16];
    snprintf(value, sizeof value, "value-%d", key);
    snprintf(name, sizeof name, "k%d", key);
    switch (random_next(random) % 12) {
    case 0:
        buffer_append_text(in, "*1\r\n$4\r\nPING\r\n");
        reply_simple(&reply, "PONG");
        break;
    case 1:
        buffer_append_text(in, "*2\r\n$3\r\nGET\r\n$4\r\nnone\r\n");
        reply_null(&reply);
        break;
    case 2:
        buffer_printf(in, "get %s\r\n", name);
        reply_bulk_text(&reply, value);
        break;
    case 3:
        buffer_printf(in, "*2\r\n$6\r\nstrlen\r\n$%zu\r\n%s\r\n", strlen(name), name);
        reply_int(&reply, (int64_t)strlen(value));
        break;
    case 4:
        buffer_append_text(in, "*1\r\n$3\r\nGET\r\n");
        reply_error(&reply, "ERR wrong number of arguments for 'get' command");
        break;
    case 5:
        buffer_append_text(in, "*2\r\n$3\r\nGET\r\n$3\r\nbig\r\n");
        reply_bulk(&reply, buffer_view(&world->big));
        break;
    case 6:
        buffer_append_text(in, "\r\n*0\r\n");
        break;
    case 7:
        buffer_printf(in, "MGET %s none %s\n", name, name);
        reply_array(&reply, 3);
        reply_bulk_text(&reply, value);
        reply_null(&reply);
        reply_bulk_text(&reply, value);
        break;
    default:
        buffer_printf(in, "*2\r\n$3\r\nGET\r\n$%zu\r\n%s\r\n", strlen(name), name);
        reply_bulk_text(&reply, value);
        break;
    }
}

/* Many connections with random requests, delivered and sent in random pieces. */
static void run_random(uint64_t seed)
{
    struct world world;
    struct peer peers[CLIENTS_MAX];
    uint64_t random = seed;
    world_open(&world, "", 0);
    size_t count = 1 + random_next(&random) % CLIENTS_MAX;
    size_t requests = 1 + random_next(&random) % 100;
    bool tiny = random_next(&random) % 2;
    for (size_t i = 0; i < count; i++) {
        peer_open(&world, &peers[i]);
        for (size_t j = 0; j < requests; j++)
            add_request(&world, &peers[i], &random);
    }
    if (random_next(&random) % 2)
        world.send_piece = 1 + random_next(&random) % 5000;
    bool done = false;
    for (int round = 0; !done; round++) {
        assert_true(round < 100000);
        done = true;
        if (world.send_piece != SIZE_MAX)
            world.send_budget = random_next(&random) % 100000;
        for (size_t i = 0; i < count; i++) {
            if (random_next(&random) % 4 != 0)
                peer_send(&peers[i], 1 + random_next(&random) % (tiny ? 40 : 4000));
            peer_receive(&peers[i]);
            done &= peers[i].received.size >= peers[i].expected.size;
        }
        turn(&world, peers, count);
    }
    for (size_t i = 0; i < count; i++) {
        peer_receive(&peers[i]);
        assert_int_equal(peers[i].received.size, peers[i].expected.size);
        assert_memory_equal(peers[i].received.data, peers[i].expected.data, peers[i].expected.size);
        const struct connection *c = find(&world, &peers[i]);
        assert_non_null(c);
        assert_null(c->output); /* all memory is given back */
        assert_int_equal(c->input.capacity, 0);
        peer_close(&peers[i]);
    }
    world_close(&world);
}

static void test_order(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++)
        run_random(seed);
}

/* Requests of connections that are ready together wait for one look-up; their replies go to whom
 * they belong. */
static void test_shared_look_up(void **state)
{
    (void)state;
    struct world world;
    struct peer peers[RUN_SEGMENTS_MAX + 1];
    size_t count = RUN_SEGMENTS_MAX + 1;
    char request[64], reply[64];
    world_open(&world, "", 0);
    for (size_t i = 0; i < count; i++) {
        peer_open(&world, &peers[i]);
        peer_say(&peers[i], "GET k0\r\n"); /* makes the name known */
    }
    turn(&world, peers, count);
    for (size_t i = 0; i < count; i++) {
        expect(&peers[i], "$7\r\nvalue-0\r\n");
        snprintf(request, sizeof request, "GET k%zu\r\n", i);
        peer_say(&peers[i], request);
    }
    for (size_t i = 0; i < count; i++) {
        connection_on_event(find(&world, &peers[i]), EPOLLIN);
        peer_receive(&peers[0]);
        assert_int_equal(peers[0].received.size > 0, i >= RUN_SEGMENTS_MAX - 1);
    }
    run_finish(world.w, NULL);
    for (size_t i = 0; i < count; i++) {
        snprintf(reply, sizeof reply, "$%d\r\nvalue-%zu\r\n", i < 10 ? 7 : 8, i);
        expect(&peers[i], reply);
        peer_close(&peers[i]);
    }
    world_close(&world);
}

/* A connection that breaks or errs while others wait in the run takes nothing from them. */
static void test_shared_with_trouble(void **state)
{
    (void)state;
    struct world world;
    struct peer peers[4];
    world_open(&world, "", 0);
    for (int i = 0; i < 4; i++)
        peer_open(&world, &peers[i]);
    peer_say(&peers[0], "GET k0\r\n");
    turn(&world, peers, 1);
    expect(&peers[0], "$7\r\nvalue-0\r\n");
    peer_say(&peers[0], "PING\r\nGET k1\r\n"); /* has answered something: must not wait */
    peer_say(&peers[1], "GET k2\r\nGET k");    /* waits; the rest is kept */
    shutdown(peers[2].fd, SHUT_RDWR);
    peer_say(&peers[3], "GET k3\r\n*x\r\nGET k4\r\n");
    turn(&world, peers, 4);
    expect(&peers[0], "+PONG\r\n$7\r\nvalue-1\r\n");
    expect(&peers[1], "$7\r\nvalue-2\r\n");
    assert_null(find(&world, &peers[2]));
    expect(&peers[3], "$7\r\nvalue-3\r\n-ERR Protocol error: invalid multibulk length\r\n");
    assert_true(peers[3].ended);
    peer_say(&peers[1], "5\r\n");
    turn(&world, peers, 4);
    expect(&peers[1], "$7\r\nvalue-5\r\n");
    assert_int_equal(find(&world, &peers[3])->state, CONNECTION_LINGERING);
    world.w->now_ns += LINGER_NS + 1;
    connection_on_tick(find(&world, &peers[3]));
    assert_null(find(&world, &peers[3]));
    for (int i = 0; i < 4; i++)
        peer_close(&peers[i]);
    world_close(&world);
}

/* --- limits ------------------------------------------------------------------------------- */

/* A client that does not read: held back first, then served up to the limit, then cut. */
static void test_never_reads(void **state)
{
    (void)state;
    struct world world;
    struct peer deaf, other;
    world_open(&world, "", 4 << 20);
    peer_open(&world, &deaf);
    peer_open(&world, &other);
    for (int i = 0; i < 1000; i++)
        buffer_append_text(&deaf.to_send, "*2\r\n$3\r\nGET\r\n$3\r\nbig\r\n");
    peer_send(&deaf, SIZE_MAX);
    world.send_budget = 0;
    turn(&world, &deaf, 1);
    struct connection *c = find(&world, &deaf);
    assert_true(c->held);
    assert_int_equal(c->events, EPOLLOUT);
    assert_true(output_unsent(c->output) <= OUTPUT_PAUSE_BYTES + RUN_MAX * (BIG_BYTES + 100));
    connection_on_tick(c); /* too early for anything */
    assert_true(c->held);

    world.send_budget = SIZE_MAX;
    peer_say(&other, "GET k1\r\n");
    turn(&world, &other, 1);
    expect(&other, "$7\r\nvalue-1\r\n");

    world.send_budget = 0;
    world.w->now_ns += OUTPUT_PATIENCE_NS + 1;
    connection_on_tick(c);
    assert_null(find(&world, &deaf)); /* 1000 replies are 20 MB */
    struct server_counters counters;
    server_counters_get(world.server, &counters);
    assert_int_equal(counters.client_output_limit_cuts, 1);
    assert_int_equal(counters.connections_now, 1);
    peer_close(&deaf);
    peer_close(&other);
    world_close(&world);
}

/* Held back, then read: every reply arrives. And unsent bytes that never move end it. */
static void test_reads_late_or_never(void **state)
{
    (void)state;
    struct world world;
    struct peer late, never;
    world_open(&world, "", 0);
    peer_open(&world, &late);
    peer_open(&world, &never);
    for (int i = 0; i < 300; i++)
        buffer_append_text(&late.to_send, "GET big\r\nPING\r\n");
    peer_send(&late, SIZE_MAX);
    peer_say(&never, "GET big\r\n");
    world.send_budget = 0;
    turn(&world, &late, 1);
    turn(&world, &never, 1);
    assert_true(find(&world, &late)->held);
    world.w->now_ns += OUTPUT_STALL_NS + 1;
    connection_on_tick(find(&world, &never));
    assert_null(find(&world, &never));
    /* a little now and then is enough not to be cut; asking on without reading lifts the hold */
    for (int i = 0; i < 3; i++) {
        world.send_budget = 10;
        turn(&world, &late, 1);
        world.w->now_ns += OUTPUT_STALL_NS - OUTPUT_PATIENCE_NS;
        connection_on_tick(find(&world, &late));
    }
    assert_true(find(&world, &late)->insistent);
    assert_false(find(&world, &late)->held);
    world.send_budget = SIZE_MAX;
    size_t each = strlen("$20480\r\n\r\n+PONG\r\n") + BIG_BYTES;
    for (int round = 0; late.received.size < 300 * each; round++) {
        assert_true(round < 100000);
        turn(&world, &late, 1);
        peer_receive(&late);
    }
    assert_int_equal(late.received.size, 300 * each);
    assert_false(find(&world, &late)->held);
    assert_false(find(&world, &late)->insistent);
    assert_null(find(&world, &late)->busy_link);
    peer_close(&late);
    peer_close(&never);
    world_close(&world);
}

/* A socket that takes nothing until a connection is held, and then, in the same turn, everything.
 * send_piece counts what it took. */
static int send_when_held(const struct os *os, int fd, const struct iovec *parts, int count,
                          size_t *ret_size)
{
    struct world *world = os->context;
    (void)fd;
    if (world->send_budget == 0 && output_unsent(world->w->clients->out) <= OUTPUT_PAUSE_BYTES)
        return -EAGAIN;
    if (world->send_budget == 0) {
        world->send_budget = 1; /* this call holds the connection, the next takes all */
        return -EAGAIN;
    }
    *ret_size = 0;
    for (int i = 0; i < count; i++)
        *ret_size += parts[i].iov_len;
    world->send_piece += *ret_size;
    if (*ret_size == output_unsent(world->w->clients->out))
        world->send_budget = 0;
    return 0;
}

/* Held in the middle of a turn, all read before its end: the requests that were held back are not
 * forgotten, though no event will come for them. */
static void test_reads_within_the_turn(void **state)
{
    (void)state;
    struct world world;
    struct peer p;
    world_open(&world, "", 0);
    peer_open(&world, &p);
    for (int i = 0; i < 300; i++)
        buffer_append_text(&p.to_send, "GET big\r\nPING\r\n");
    peer_send(&p, SIZE_MAX);
    world.os.send = send_when_held;
    world.send_budget = world.send_piece = 0;
    turn(&world, &p, 1);
    const struct connection *c = find(&world, &p);
    assert_true(world.send_piece > OUTPUT_PAUSE_BYTES);
    assert_true(c->input.size == 0 || c->output != NULL);
    world.send_budget = SIZE_MAX; /* the tail, which was too little to be held */
    connection_on_event(find(&world, &p), EPOLLOUT);
    assert_int_equal(world.send_piece, 300 * (strlen("$20480\r\n\r\n+PONG\r\n") + BIG_BYTES));
    peer_close(&p);
    world_close(&world);
}

static void test_before_authentication(void **state)
{
    (void)state;
    struct world world;
    struct peer p, q;
    world_open(&world, "secret", 0);
    peer_open(&world, &p);
    peer_open(&world, &q);
    peer_say(&p, "*11\r\n");
    /* AUTH takes effect for the next request of the same pipeline */
    peer_say(&q, "GET k1\r\nAUTH secret\r\n*11\r\n$4\r\nMGET\r\n");
    for (int i = 0; i < 10; i++)
        peer_say(&q, "$2\r\nk1\r\n");
    turn(&world, &p, 1);
    turn(&world, &q, 1);
    expect(&p, "-ERR Protocol error: unauthenticated multibulk length\r\n");
    peer_receive(&q);
    buffer_append_byte(&q.received, 0);
    assert_memory_equal(q.received.data, "-NOAUTH Authentication required.\r\n+OK\r\n*10\r\n$7\r\n",
                        strlen("-NOAUTH Authentication required.\r\n+OK\r\n*10\r\n$7\r\n"));
    peer_close(&p);
    peer_close(&q);
    world_close(&world);
}

static void test_attack(void **state)
{
    (void)state;
    static const char *const requests[] = {"POST / HTTP/1.1\r\nHost: localhost:6379\r\n\r\n",
                                           "Host: localhost\r\n", "*1\r\n$4\r\npost\r\n"};
    struct world world;
    world_open(&world, "", 0);
    for (size_t i = 0; i < 3; i++) {
        struct peer p;
        peer_open(&world, &p);
        peer_say(&p, requests[i]);
        turn(&world, &p, 1);
        assert_null(find(&world, &p));
        expect(&p, "");
        peer_close(&p);
    }
    world_close(&world);
}

/* --- the rest ----------------------------------------------------------------------------- */

static void test_large_request(void **state)
{
    (void)state;
    struct world world;
    struct peer p;
    size_t size = 1 << 20;
    world_open(&world, "", 0);
    peer_open(&world, &p);
    buffer_printf(&p.to_send, "GET k1\r\n*2\r\n$4\r\nECHO\r\n$%zu\r\n", size);
    buffer_printf(&p.expected, "$7\r\nvalue-1\r\n$%zu\r\n", size);
    for (size_t i = 0; i < size; i++)
        buffer_append_byte(&p.to_send, (unsigned char)(i * 7));
    buffer_append(&p.expected, p.to_send.data + p.to_send.size - size, size);
    buffer_append_text(&p.to_send, "\r\nPING\r\n");
    buffer_append_text(&p.expected, "\r\n+PONG\r\n");
    const unsigned char *data = NULL;
    for (int round = 0; p.received.size < p.expected.size; round++) {
        assert_true(round < 10000);
        peer_send(&p, 50000);
        turn(&world, &p, 1);
        peer_receive(&p);
        const struct connection *c = find(&world, &p);
        if (c->output != NULL)
            continue; /* the reply is on its way */
        /* what counts as memory follows what arrived */
        assert_true(c->buffers_bytes <= sizeof *c + p.sent + 2 * INPUT_SHARED_BYTES);
        assert_true(atomic_load(&world.w->buffers_bytes) == c->buffers_bytes + INPUT_SHARED_BYTES);
        if (c->input.capacity >
            4 * INPUT_SHARED_BYTES) { /* allocated once, and as large as asked */
            assert_true(c->input.capacity < size + 100);
            assert_true(data == NULL || data == c->input.data);
            data = c->input.data;
        }
    }
    assert_non_null(data);
    assert_int_equal(p.received.size, p.expected.size);
    assert_memory_equal(p.received.data, p.expected.data, p.expected.size);
    assert_int_equal(find(&world, &p)->input.capacity, 0);
    peer_close(&p);
    world_close(&world);
}

static int flooded_fd; /* whose socket is always full of 'x' */

static int flooded_receive(const struct os *os, int fd, void *data, size_t size, size_t *ret_size)
{
    if (fd != flooded_fd)
        return os_real()->receive(os, fd, data, size, ret_size);
    memset(data, 'x', size);
    *ret_size = size;
    return 0;
}

/* However fast a large value comes: a turn takes a bounded part of it, and others have theirs. */
static void test_large_request_in_turns(void **state)
{
    (void)state;
    struct world world;
    struct peer large, other;
    size_t size = 10 << 20, before = 0;
    world_open_writable(&world, 0);
    peer_open(&world, &large);
    peer_open(&world, &other);
    buffer_printf(&large.to_send, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%zu\r\n", size);
    peer_send(&large, SIZE_MAX);
    turn(&world, &large, 1);
    struct connection *c = find(&world, &large);
    flooded_fd = c->fd;
    world.os.receive = flooded_receive;
    for (; c->input.size < size; before = c->input.size) {
        peer_say(&other, "PING\r\n");
        connection_on_event(c, EPOLLIN);
        run_finish(world.w, NULL);
        assert_true(c->input.size > before && c->input.size - before <= 256 << 10);
        turn(&world, &other, 1);
        expect(&other, "+PONG\r\n");
    }
    connection_close(c);
    peer_close(&large);
    peer_close(&other);
    world_close(&world);
}

static void test_reply_mode(void **state)
{
    (void)state;
    struct world world;
    struct peer p;
    world_open(&world, "", 0);
    peer_open(&world, &p);
    peer_say(&p, "GET k1\r\nCLIENT REPLY SKIP\r\nGET k2\r\nGET k3\r\n");
    turn(&world, &p, 1);
    expect(&p, "$7\r\nvalue-1\r\n$7\r\nvalue-3\r\n");
    peer_say(&p, "CLIENT REPLY OFF\r\nGET k1\r\nGET big\r\nMGET big big\r\nbad\r\n");
    turn(&world, &p, 1);
    expect(&p, "");
    peer_say(&p, "GET big\r\nCLIENT REPLY ON\r\nGET k4\r\n");
    turn(&world, &p, 1);
    expect(&p, "+OK\r\n$7\r\nvalue-4\r\n");
    peer_close(&p);
    world_close(&world);
}

/* The client closes its sending side: what it asked for is still answered. */
static void test_half_closed(void **state)
{
    (void)state;
    struct world world;
    struct peer p;
    world_open(&world, "", 0);
    peer_open(&world, &p);
    peer_say(&p, "GET k1\r\nGET big\r\nGET k");
    shutdown(p.fd, SHUT_WR);
    world.send_budget = 10;
    turn(&world, &p, 1);
    turn(&world, &p, 1);
    assert_non_null(find(&world, &p));
    world.send_budget = SIZE_MAX;
    for (int i = 0; i < 3; i++) /* a send takes one part: the value and what is around it */
        turn(&world, &p, 1);
    peer_receive(&p);
    assert_int_equal(p.received.size, strlen("$7\r\nvalue-1\r\n$20480\r\n\r\n") + BIG_BYTES);
    assert_true(p.ended);
    assert_null(find(&world, &p));
    peer_close(&p);
    world_close(&world);
}

/* The server stops: what was received is answered, then FIN; a quiet client is closed at once. */
static void test_stop(void **state)
{
    (void)state;
    struct world world;
    struct peer quiet, active, slow;
    world_open(&world, "", 0);
    peer_open(&world, &quiet);
    world.w->now_ns += 10 * LINGER_NS;
    peer_open(&world, &active);
    peer_open(&world, &slow);
    peer_say(&active, "GET k1\r\nPING\r\nGET k2\r\nGET k");
    peer_say(&slow, "GET k3\r\n");
    world.w->stopping = true;
    connection_stop(find(&world, &quiet));
    connection_stop(find(&world, &active));
    world.send_budget = 5;
    connection_stop(find(&world, &slow));
    assert_null(find(&world, &quiet));
    peer_receive(&quiet);
    assert_true(quiet.ended);
    expect(&active, "$7\r\nvalue-1\r\n+PONG\r\n$7\r\nvalue-2\r\n");
    assert_true(active.ended);
    peer_say(&active, "PING\r\n"); /* too late, and no reason for a reset */
    turn(&world, &active, 1);
    expect(&active, "");
    world.w->now_ns += TICK_NS;
    connection_on_tick(find(&world, &active));
    assert_null(find(&world, &active));
    world.send_budget = SIZE_MAX; /* unsent replies are waited for */
    turn(&world, &slow, 1);
    expect(&slow, "$7\r\nvalue-3\r\n");
    assert_true(slow.ended);
    peer_close(&quiet);
    peer_close(&active);
    peer_close(&slow);
    world_close(&world);
}

static void test_kill_and_list(void **state)
{
    (void)state;
    struct world world;
    struct peer a, b;
    struct buffer list = {0};
    world_open(&world, "", 0);
    peer_open(&world, &a);
    peer_open(&world, &b);
    peer_say(&a, "CLIENT SETNAME first\r\nHELLO 3\r\n");
    turn(&world, &a, 1);
    server_client_list(world.server, 0, &list);
    buffer_append_byte(&list, 0);
    char *second = strstr((char *)list.data, "\nid=2 ");
    assert_memory_equal(list.data, "id=1 ", 5); /* in id order */
    assert_non_null(second);
    assert_non_null(strstr((char *)list.data, " name=first "));
    assert_non_null(strstr((char *)list.data, " resp=3 "));
    assert_non_null(strstr(second, " cmd=NULL "));
    assert_int_equal(server_client_kill(world.server, &(struct client_filter){.skip_id = 2}), 1);
    assert_int_equal(server_client_kill(world.server, &(struct client_filter){.id = 7}), 0);
    assert_int_equal(
        server_client_kill(world.server, &(struct client_filter){.address = "1.2.3.4:5"}), 0);
    assert_true(atomic_load(&find(&world, &a)->kill));
    assert_false(atomic_load(&find(&world, &b)->kill));
    /* a client that kills itself still gets the answer */
    peer_say(&b, "CLIENT KILL ID 2 SKIPME no\r\n");
    turn(&world, &b, 1);
    expect(&b, ":1\r\n");
    assert_true(b.ended);
    buffer_done(&list);
    peer_close(&a);
    peer_close(&b);
    world_close(&world);
}

static void test_counters(void **state)
{
    (void)state;
    struct world world;
    struct peer p;
    struct server_counters counters;
    struct command_counters get;
    world_open(&world, "", 0);
    peer_open(&world, &p);
    const char *input = "GET k1\r\nGET none\r\nGET\r\nGETRANGE k1 x y\r\nfoo\r\n";
    peer_say(&p, input);
    turn(&world, &p, 1);
    peer_receive(&p);
    server_counters_get(world.server, &counters);
    assert_int_equal(counters.connections_total, 1);
    assert_int_equal(counters.connections_now, 1);
    assert_int_equal(counters.net_input_bytes, strlen(input));
    assert_int_equal(counters.net_output_bytes, p.received.size);
    assert_int_equal(counters.keyspace_misses, 1);
    assert_int_equal(counters.errors_total, 3);
    server_command_counters_get(world.server, command_find(bytes_of("get"))->id, &get);
    assert_int_equal(get.calls, 2);
    assert_int_equal(get.rejected, 1);
    assert_int_equal(get.failed, 0);
    server_command_counters_get(world.server, command_find(bytes_of("getrange"))->id, &get);
    assert_int_equal(get.failed, 1);
    struct histogram *latency = histogram_new();
    server_command_latency_get(world.server, command_find(bytes_of("get"))->id, latency);
    assert_int_equal(histogram_count(latency), 2);
    histogram_free(latency);

    server_counters_reset(world.server); /* at once for readers, later for the writer */
    server_counters_get(world.server, &counters);
    assert_int_equal(counters.keyspace_misses, 0);
    assert_int_equal(counters.connections_now, 1);
    stats_refresh(&world.w->stats);
    server_counters_get(world.server, &counters);
    assert_int_equal(counters.commands_total, 0);
    peer_say(&p, "GET k1\r\n");
    turn(&world, &p, 1);
    server_counters_get(world.server, &counters);
    assert_int_equal(counters.commands_total, 1);
    assert_int_equal(counters.keyspace_hits, 1);
    peer_close(&p);
    world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_shared_look_up),
        cmocka_unit_test(test_shared_with_trouble),
        cmocka_unit_test(test_never_reads),
        cmocka_unit_test(test_reads_late_or_never),
        cmocka_unit_test(test_reads_within_the_turn),
        cmocka_unit_test(test_before_authentication),
        cmocka_unit_test(test_attack),
        cmocka_unit_test(test_large_request),
        cmocka_unit_test(test_large_request_in_turns),
        cmocka_unit_test(test_reply_mode),
        cmocka_unit_test(test_half_closed),
        cmocka_unit_test(test_stop),
        cmocka_unit_test(test_kill_and_list),
        cmocka_unit_test(test_counters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
