/* Goal: with a data file on disk no request waits on its worker's thread, each is answered once, in
 * order and as from memory, whatever comes when; slow clients hold nothing; clients that go, are
 * killed or are stopped in the middle leave nothing behind.
 * Method: the one worker is this thread (lib/server_world.h), reads come when the test says so
 * (lib/late_disk.h), which notes those that would have waited.
 *
 * Bugs planted once to see it fail: fetch_ahead() answering true while reads are under way; a
 * window that goes on behind MULTI; EXEC without its queue's keys; fetch_done() left out of
 * resume(); a window of more bytes than its requests; fetch_forget() left out of
 * connection_close(); the stream asked for its next piece while the output is not empty;
 * connections without room that nobody wakes, or not told so; connection_stop()
 * that does not wait; large values not seen in a run; arguments in quotes kept; keys fetched for
 * strangers. */
#include "lib/test.h"

#include "core/random.h"
#include "lib/late_disk.h"
#include "lib/server_world.h"
#include "server/fetch.h"

#define PEERS_MAX 16

static struct world world;

static void start(const char *password)
{
    struct tarn_error error;
    world_open(&world, password, 0);
    late_begin(1);
    assert_int_equal(fetch_open(world.w, &error), TARN_OK);
    assert_true(world.w->fetcher.on);
}

static void stop(void)
{
    while (world.w->clients != NULL)
        connection_close(world.w->clients);
    assert_int_equal(atomic_load(&world.server->fetches_held), 0);
    assert_null(world.w->fetcher.come);
    assert_null(world.w->fetcher.starved);
    fetch_close(world.w);
    late_end();
    world_close(&world);
}

/* Those whose reads have come get their turn; so do, after a tick, those that had no room. */
static void deliver(void)
{
    world.w->fetcher.due = true;
    fetch_deliver(world.w);
    if (world.w->fetcher.starved != NULL && late_disk.under_way == 0)
        fetch_retry(world.w);
    assert_int_equal(world.w->run.count, 0);
    late_turn();
}

/* Turns of all, and everything comes, until nothing moves. */
static void settle(struct peer *peers, size_t count)
{
    for (int quiet = 0; quiet < 4; quiet++) {
        turn(&world, peers, count);
        deliver();
        for (size_t i = 0; i < count; i++)
            peer_receive(&peers[i]);
        if (late_come(0))
            quiet = 0;
    }
}

/* --- order -------------------------------------------------------------------------------- */

static void add_bulk(struct peer *p, const char *command, int key)
{
    char name[16], value[32];
    struct reply reply = {&p->expected, 2};
    snprintf(name, sizeof name, "k%d", key);
    snprintf(value, sizeof value, "value-%d", key);
    buffer_printf(&p->to_send, "*2\r\n$%zu\r\n%s\r\n$%zu\r\n%s\r\n", strlen(command), command,
                  strlen(name), name);
    if (strcmp(command, "STRLEN") == 0)
        reply_int(&reply, (int64_t)strlen(value));
    else if (strcmp(command, "TTL") == 0)
        reply_int(&reply, -1);
    else
        reply_bulk_text(&reply, value);
}

/* MULTI, some reads, EXEC. */
static void add_transaction(struct peer *p, uint64_t *random)
{
    struct reply reply = {&p->expected, 2};
    char value[32];
    int count = (int)(random_next(random) % 4), first = (int)(random_next(random) % (KEYS - 4));
    buffer_append_text(&p->to_send, "*1\r\n$5\r\nMULTI\r\n");
    reply_simple(&reply, "OK");
    for (int i = 0; i < count; i++) {
        buffer_printf(&p->to_send, "GET k%d\r\n", first + i);
        reply_simple(&reply, "QUEUED");
    }
    buffer_append_text(&p->to_send, "EXEC\r\n");
    reply_array(&reply, (size_t)count);
    for (int i = 0; i < count; i++) {
        snprintf(value, sizeof value, "value-%d", first + i);
        reply_bulk_text(&reply, value);
    }
}

/* Append one random request and its reply. */
static void add_request(struct peer *p, uint64_t *random)
{
    struct buffer *in = &p->to_send;
    struct reply reply = {&p->expected, 2};
    int key = (int)(random_next(random) % KEYS);
    char value[32];
    snprintf(value, sizeof value, "value-%d", key);
    switch (random_next(random) % 14) {
    case 0:
        buffer_append_text(in, "*1\r\n$4\r\nPING\r\n");
        reply_simple(&reply, "PONG");
        break;
    case 1:
        buffer_append_text(in, "*2\r\n$3\r\nGET\r\n$4\r\nnone\r\n");
        reply_null(&reply);
        break;
    case 2:
        buffer_printf(in, "\r\nget \"k%d\"\r\n", key);
        reply_bulk_text(&reply, value);
        break;
    case 3:
        buffer_printf(in, "EXISTS k%d k%d none\r\n", key, key);
        reply_int(&reply, 2);
        break;
    case 4:
        buffer_append_text(in, "*2\r\n$3\r\nGET\r\n$3\r\nbig\r\n");
        reply_bulk(&reply, buffer_view(&world.big));
        break;
    case 5:
        buffer_printf(in, "MGET k%d none k%d\r\n", key, key);
        reply_array(&reply, 3);
        reply_bulk_text(&reply, value);
        reply_null(&reply);
        reply_bulk_text(&reply, value);
        break;
    case 6:
        buffer_printf(in, "SET k%d x\r\n", key);
        reply_error(&reply, "READONLY You can't write against an immutable data set.");
        break;
    case 7:
        buffer_printf(in, "OBJECT ENCODING k%d\r\nTYPE k%d\r\n", key, key);
        reply_bulk_text(&reply, "embstr");
        reply_simple(&reply, "string");
        break;
    case 8:
        add_transaction(p, random);
        break;
    case 9:
        buffer_printf(in, "CLIENT REPLY SKIP\r\nGET k%d\r\nGET\r\n", key);
        reply_error(&reply, "ERR wrong number of arguments for 'get' command");
        break;
    case 10:
        add_bulk(p, "STRLEN", key);
        break;
    case 11:
        add_bulk(p, "TTL", key);
        break;
    case 12:
        buffer_append_text(in, "GETRANGE big 100 5099\r\nSTRLEN big\r\n");
        reply_bulk(&reply, (struct tarn_bytes){world.big.data + 100, 5000});
        reply_int(&reply, (int64_t)world.big.size);
        break;
    default:
        add_bulk(p, "GET", key);
    }
}

/* Many connections with random requests in random pieces; reads come in any order. */
static void run_random(uint64_t seed)
{
    struct peer peers[PEERS_MAX];
    uint64_t random = seed;
    start("");
    late_disk.random = seed;
    late_disk.cached = (unsigned)(random_next(&random) % 3 * 45);
    if (random_next(&random) % 2)
        late_disk.far_bytes = BIG_BYTES - 1;
    if (random_next(&random) % 3 == 0)
        late_disk.keys_max = 5 + random_next(&random) % 100;
    if (random_next(&random) % 3 == 0)
        late_disk.records_max = 5 + random_next(&random) % 50;
    size_t count = 1 + random_next(&random) % PEERS_MAX;
    size_t requests = 1 + random_next(&random) % 200;
    bool tiny = random_next(&random) % 2;
    for (size_t i = 0; i < count; i++) {
        peer_open(&world, &peers[i]);
        for (size_t j = 0; j < requests; j++)
            add_request(&peers[i], &random);
    }
    if (random_next(&random) % 2)
        world.send_piece = 1 + random_next(&random) % 5000;
    bool done = false;
    for (int round = 0; !done; round++) {
        assert_true(round < 200000);
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
        for (uint64_t come = random_next(&random) % 4; come > 0; come--)
            (void)late_come(random_next(&random));
        deliver();
    }
    for (size_t i = 0; i < count; i++) {
        peer_receive(&peers[i]);
        assert_int_equal(peers[i].received.size, peers[i].expected.size);
        assert_memory_equal(peers[i].received.data, peers[i].expected.data, peers[i].expected.size);
        const struct connection *c = find(&world, &peers[i]);
        assert_non_null(c);
        assert_null(c->output);
        assert_null(c->fetch); /* nothing is held on to */
        assert_int_equal(c->input.capacity, 0);
        peer_close(&peers[i]);
    }
    assert_int_equal(late_disk.blocked, 0);
    assert_int_equal(late_disk.held, 0);
    stop();
}

static void test_order(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++)
        run_random(seed);
}

/* --- one thing at a time -------------------------------------------------------------------- */

/* A pipeline is fetched together, and others are served meanwhile. */
static void test_together(void **state)
{
    (void)state;
    struct peer peers[2];
    start("");
    peer_open(&world, &peers[0]);
    peer_open(&world, &peers[1]);
    peer_say(&peers[0], "GET k1\r\nGET k2\r\nMGET k3 k4\r\nPING\r\nGET k5\r\n");
    turn(&world, peers, 2);
    assert_int_equal(late_disk.fetches, 1);
    assert_int_equal(late_disk.held, 4); /* up to PING */
    peer_say(&peers[1], "PING\r\n");
    turn(&world, peers, 2);
    expect(&peers[1], "+PONG\r\n");
    expect(&peers[0], "");
    assert_true(late_come(0));
    deliver();
    expect(&peers[0], "$7\r\nvalue-1\r\n$7\r\nvalue-2\r\n*2\r\n$7\r\nvalue-3\r\n$7\r\nvalue-4\r\n"
                      "+PONG\r\n");
    assert_int_equal(late_disk.held, 1);
    assert_true(late_come(0));
    deliver();
    expect(&peers[0], "$7\r\nvalue-5\r\n");
    assert_int_equal(late_disk.blocked, 0);
    peer_close(&peers[0]);
    peer_close(&peers[1]);
    stop();
}

/* Arguments in quotes lie in a parser, not in the input: they are not kept for later. */
static void test_quotes(void **state)
{
    (void)state;
    struct peer p;
    start("");
    peer_open(&world, &p);
    peer_say(&p, "GET k1\r\nGET \"k2\"\r\nGET \"k3\"\r\nGET k4\r\n");
    settle(&p, 1);
    expect(&p, "$7\r\nvalue-1\r\n$7\r\nvalue-2\r\n$7\r\nvalue-3\r\n$7\r\nvalue-4\r\n");
    assert_int_equal(late_disk.blocked, 0);
    peer_close(&p);
    stop();
}

/* Windows are bounded, and grow as long as they are executed whole. */
static void test_windows(void **state)
{
    (void)state;
    struct peer p;
    start("");
    peer_open(&world, &p);
    for (int i = 0; i < 1000; i++)
        buffer_append_text(&p.to_send, "*2\r\n$3\r\nGET\r\n$2\r\nk1\r\n");
    peer_send(&p, SIZE_MAX);
    size_t sizes[] = {64, 128, 256, 256, 256};
    turn(&world, &p, 1);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        assert_int_equal(late_disk.held, sizes[i]);
        assert_true(late_come(0));
        deliver();
    }
    settle(&p, 1);
    assert_int_equal(p.received.size, 1000 * 13);
    peer_close(&p);
    stop();
}

/* Nothing is read for those who have no password, nor for writes, which are refused. */
static void test_nothing_to_fetch(void **state)
{
    (void)state;
    struct peer p;
    start("secret");
    peer_open(&world, &p);
    peer_say(&p, "GET k1\r\n");
    turn(&world, &p, 1);
    expect(&p, "-NOAUTH Authentication required.\r\n");
    assert_int_equal(late_disk.fetches, 0);
    peer_say(&p, "AUTH secret\r\nSET k1 v\r\nGET\r\nOBJECT NONE k1\r\nMULTI\r\nGET k2\r\n");
    turn(&world, &p, 1);
    assert_int_equal(late_disk.fetches, 0);
    peer_say(&p, "EXEC\r\nGET k3\r\n");
    turn(&world, &p, 1);
    assert_int_equal(late_disk.fetches, 1);
    assert_int_equal(late_disk.held, 1);
    settle(&p, 1);
    assert_int_equal(late_disk.blocked, 0);
    peer_close(&p);
    stop();
}

/* A key that cannot be read is an error in its place; the others are answered. */
static void test_unreadable(void **state)
{
    (void)state;
    struct peer p;
    start("");
    late_disk.bad = "k2";
    peer_open(&world, &p);
    peer_say(&p, "GET k1\r\nGET k2\r\nSTRLEN k2\r\nMGET k1 k2\r\nTTL k2\r\nGET k3\r\n");
    settle(&p, 1);
    expect(&p, "$7\r\nvalue-1\r\n"
               "-ERR cannot read the key: input/output error\r\n"
               "-ERR cannot read the key: input/output error\r\n"
               "-ERR cannot read the key: input/output error\r\n"
               "-ERR cannot read the key: input/output error\r\n"
               "$7\r\nvalue-3\r\n");
    peer_close(&p);
    stop();
}

/* --- ends ----------------------------------------------------------------------------------- */

/* Killed, gone, closed by the server: what was under way is given up. */
static void test_ends(void **state)
{
    (void)state;
    struct peer peers[3];
    start("");
    for (int i = 0; i < 3; i++) {
        peer_open(&world, &peers[i]);
        peer_say(&peers[i], "GET k1\r\nGET k2\r\n");
    }
    turn(&world, peers, 3);
    assert_int_equal(late_disk.under_way, 3);
    connection_close(find(&world, &peers[0])); /* CLIENT KILL does just this */
    assert_int_equal(late_disk.under_way, 2);
    peer_close(&peers[1]);
    connection_on_event(find(&world, &peers[1]), EPOLLHUP);
    assert_int_equal(late_disk.under_way, 1);
    assert_true(late_come(0));
    atomic_store(&find(&world, &peers[2])->kill, true); /* between the read and its delivery */
    deliver();
    assert_int_equal(late_disk.held, 0);
    expect(&peers[2], "$7\r\nvalue-1\r\n$7\r\nvalue-2\r\n");
    peer_close(&peers[0]);
    peer_close(&peers[2]);
    stop();
}

/* It has come, but the client goes before it is delivered. */
static void test_end_before_delivery(void **state)
{
    (void)state;
    struct peer p;
    start("");
    peer_open(&world, &p);
    peer_say(&p, "GET k1\r\n");
    turn(&world, &p, 1);
    assert_true(late_come(0));
    tarn_fetch_poll(world.w->session);
    assert_non_null(world.w->fetcher.come);
    connection_close(find(&world, &p));
    assert_null(world.w->fetcher.come);
    deliver();
    peer_close(&p);
    stop();
}

/* A client that has sent all and its FIN gets its answers. */
static void test_half_closed(void **state)
{
    (void)state;
    struct peer p;
    start("");
    peer_open(&world, &p);
    peer_say(&p, "GET k1\r\nPING\r\nGET k2\r\n");
    shutdown(p.fd, SHUT_WR);
    settle(&p, 1);
    settle(&p, 1);
    assert_true(p.ended);
    expect(&p, "$7\r\nvalue-1\r\n+PONG\r\n$7\r\nvalue-2\r\n");
    peer_close(&p);
    stop();
}

/* A server that stops answers what it has received, first. */
static void test_stop(void **state)
{
    (void)state;
    struct peer peers[2];
    start("");
    late_disk.far_bytes = BIG_BYTES - 1;
    peer_open(&world, &peers[0]);
    peer_open(&world, &peers[1]);
    peer_say(&peers[0], "GET k1\r\nPING\r\nGET k2\r\n");
    peer_say(&peers[1], "GET big\r\nGET k3\r\n");
    turn(&world, peers, 2);
    world.w->stopping = true;
    connection_stop(find(&world, &peers[0]));
    connection_stop(find(&world, &peers[1]));
    settle(peers, 2);
    assert_true(find(&world, &peers[0]) == NULL ||
                find(&world, &peers[0])->state == CONNECTION_LINGERING);
    expect(&peers[0], "$7\r\nvalue-1\r\n+PONG\r\n$7\r\nvalue-2\r\n");
    peer_receive(&peers[1]);
    assert_int_equal(peers[1].received.size, 8 + BIG_BYTES + 2 + 13);
    assert_memory_equal(peers[1].received.data + 8 + BIG_BYTES + 2, "$7\r\nvalue-3\r\n", 13);
    assert_int_equal(late_disk.blocked, 0);
    peer_close(&peers[0]);
    peer_close(&peers[1]);
    stop();
}

/* --- slow clients --------------------------------------------------------------------------- */

/* Who does not take replies has no records held and no reads under way, and later gets them all. */
static void test_slow_client(void **state)
{
    (void)state;
    struct peer p;
    enum { COUNT = 400 };
    start("");
    peer_open(&world, &p);
    world.send_budget = 0;
    for (int i = 0; i < COUNT; i++)
        buffer_append_text(&p.to_send, "GET big\r\n");
    peer_send(&p, SIZE_MAX);
    do {
        turn(&world, &p, 1);
        deliver();
    } while (late_come(0));
    const struct connection *c = find(&world, &p);
    assert_true(c->held);
    assert_null(c->fetch);
    assert_int_equal(late_disk.held, 0);
    assert_true(output_unsent(c->out) < 3 * OUTPUT_PAUSE_BYTES);
    for (int i = 0; i < 100000 && p.received.size < COUNT * (BIG_BYTES + 10); i++) {
        world.send_budget = 100000;
        turn(&world, &p, 1);
        (void)late_come(0);
        deliver();
        peer_receive(&p);
    }
    assert_int_equal(p.received.size, COUNT * (BIG_BYTES + 10));
    assert_true(late_disk.keys < 2 * COUNT); /* windows shrink to what it takes */
    assert_int_equal(late_disk.blocked, 0);
    peer_close(&p);
    stop();
}

/* A large value is read as it is taken: one piece at a time. */
static void test_slow_client_of_far_value(void **state)
{
    (void)state;
    struct peer p;
    start("");
    late_disk.far_bytes = BIG_BYTES - 1;
    peer_open(&world, &p);
    peer_say(&p, "GET big\r\nPING\r\n");
    turn(&world, &p, 1);
    world.send_budget = 0;
    do
        deliver();
    while (late_come(0));
    assert_int_equal(late_disk.pieces, 1);
    assert_int_equal(late_disk.under_way, 0);
    assert_true(output_unsent(find(&world, &p)->out) <= late_disk.piece_bytes + 8);
    world.send_budget = 4000; /* not all of it */
    turn(&world, &p, 1);
    assert_int_equal(late_disk.pieces, 1);
    world.send_budget = SIZE_MAX;
    settle(&p, 1);
    assert_int_equal(late_disk.pieces, BIG_BYTES / 4096);
    assert_int_equal(late_disk.streams, 0);
    peer_receive(&p);
    assert_int_equal(p.received.size, 8 + BIG_BYTES + 2 + 7);
    assert_memory_equal(p.received.data, "$20480\r\n", 8);
    assert_memory_equal(p.received.data + 8, world.big.data, BIG_BYTES);
    peer_close(&p);
    stop();
}

/* What is asked of a large value without wanting its bytes reads none. */
static void test_far_without_bytes(void **state)
{
    (void)state;
    struct peer p;
    start("");
    late_disk.far_bytes = BIG_BYTES - 1;
    peer_open(&world, &p);
    peer_say(&p, "STRLEN big\r\nTYPE big\r\nGETRANGE big 5 4\r\nGETRANGE big x 4\r\n"
                 "GETRANGE big 20479 30000\r\n");
    settle(&p, 1);
    expect(&p, ":20480\r\n+string\r\n$0\r\n\r\n-ERR value is not an integer or out of range\r\n"
               "$1\r\nr\r\n");
    assert_int_equal(late_disk.blocked, 0);
    peer_close(&p);
    stop();
}

/* The first piece cannot be read: an error; a later one: the connection ends there. */
static void test_far_unreadable(void **state)
{
    (void)state;
    struct peer p;
    start("");
    late_disk.far_bytes = BIG_BYTES - 1;
    late_disk.bad = "big";
    peer_open(&world, &p);
    peer_say(&p, "GET big\r\nPING\r\n");
    settle(&p, 1);
    expect(&p, "-ERR cannot read the key: data: cannot read at offset 12345\r\n+PONG\r\n");
    late_disk.bad_from = 8192;
    peer_say(&p, "GET big\r\nPING\r\n");
    settle(&p, 1);
    assert_null(find(&world, &p));
    peer_receive(&p);
    assert_true(p.ended);
    assert_int_equal(p.received.size, 8 + 8192);
    assert_int_equal(late_disk.streams, 0);
    peer_close(&p);
    stop();
}

/* It is killed, or goes, in the middle of a large value, with a piece in its output or on its way.
 */
static void test_far_ends(void **state)
{
    (void)state;
    struct peer peers[3];
    start("");
    late_disk.far_bytes = BIG_BYTES - 1;
    for (int i = 0; i < 3; i++) {
        peer_open(&world, &peers[i]);
        peer_say(&peers[i], "GET big\r\nPING\r\n");
    }
    turn(&world, peers, 3);
    while (late_come(0))
        ;
    deliver(); /* the first pieces are under way */
    assert_int_equal(late_disk.streams, 3);
    assert_int_equal(late_disk.under_way, 3);
    connection_close(find(&world, &peers[0]));
    assert_int_equal(late_disk.under_way, 2);
    world.send_budget = 100;
    while (late_come(0))
        ;
    deliver(); /* ... and now in the outputs */
    connection_close(find(&world, &peers[1]));
    atomic_store(&find(&world, &peers[2])->kill, true);
    world.send_budget = 200;
    turn(&world, peers, 3);
    assert_null(find(&world, &peers[2]));
    assert_int_equal(late_disk.streams, 0);
    for (int i = 0; i < 3; i++)
        peer_close(&peers[i]);
    stop();
}

/* --- memory --------------------------------------------------------------------------------- */

/* Without room for all, connections wait for one another; without any, they get the error. */
static void test_no_room(void **state)
{
    (void)state;
    struct peer peers[PEERS_MAX];
    start("");
    late_disk.keys_max = 3;
    for (int i = 0; i < PEERS_MAX; i++) {
        peer_open(&world, &peers[i]);
        peer_say(&peers[i], "GET k1\r\nGET k2\r\nGET k3\r\nGET k4\r\n");
    }
    turn(&world, peers, PEERS_MAX);
    assert_int_equal(late_disk.held, 3);
    assert_non_null(world.w->fetcher.starved);
    settle(peers, PEERS_MAX);
    for (int i = 0; i < PEERS_MAX; i++)
        assert_int_equal(peers[i].received.size, 4 * 13);
    assert_int_equal(late_disk.blocked, 0);
    late_disk.keys_max = 0;
    peer_say(&peers[0], "GET k1\r\n");
    settle(peers, 1);
    assert_int_equal(late_disk.blocked, 1); /* it is left to the store to say so */
    late_disk.keys_max = SIZE_MAX;
    late_disk.records_max = 3;
    for (int i = 0; i < PEERS_MAX; i++)
        peer_say(&peers[i], "GET k1\r\nGET k2\r\nGET k3\r\nGET k4\r\n");
    settle(peers, PEERS_MAX);
    assert_int_equal(late_disk.blocked, 1);
    peer_say(&peers[0], "MGET k1 k2 k3 k4\r\n"); /* which it can never have */
    settle(peers, 1);
    assert_int_equal(late_disk.blocked, 5);
    for (int i = 0; i < PEERS_MAX; i++)
        peer_close(&peers[i]);
    stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_together),
        cmocka_unit_test(test_quotes),
        cmocka_unit_test(test_windows),
        cmocka_unit_test(test_nothing_to_fetch),
        cmocka_unit_test(test_unreadable),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_end_before_delivery),
        cmocka_unit_test(test_half_closed),
        cmocka_unit_test(test_stop),
        cmocka_unit_test(test_slow_client),
        cmocka_unit_test(test_slow_client_of_far_value),
        cmocka_unit_test(test_far_without_bytes),
        cmocka_unit_test(test_far_unreadable),
        cmocka_unit_test(test_far_ends),
        cmocka_unit_test(test_no_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
