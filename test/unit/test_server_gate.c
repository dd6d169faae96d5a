/* Goal: nothing is told before the log has acknowledged what it tells; nothing waits that need not,
 * nothing waits for ever; when the log fails each request whose reply was held gets one error.
 * Method: this thread plays the one worker (lib/server_world.h) and the log (lib/held_log.h), so
 * the test chooses what each request made or saw and when it is acknowledged. */
#include "lib/test.h"

#include "lib/dataset.h"
#include "lib/held_log.h"
#include "lib/server_world.h"
#include "server/park.h"

static void gate_world_open(struct world *world)
{
    world_open_writable(world, 0);
    atomic_store(&world->server->durability, TARN_DURABILITY_COMMIT);
    held = (struct held_log){.on = true};
}

static void gate_world_close(struct world *world)
{
    assert_null(world->w->gated);
    assert_int_equal(world->w->log_waits, 0);
    assert_false(atomic_load(&world->w->log_waiting));
    assert_int_equal(atomic_load(&world->w->gated_now), 0);
    held.on = false;
    world_close(world);
}

/* The client says this, and it makes or sees changes up to `sequence`. */
static void say(struct world *world, struct peer *p, uint64_t sequence, const char *bytes)
{
    held.sequence = sequence;
    peer_say(p, bytes);
    turn(world, p, 1);
    held.sequence = 0;
}

/* The log has gone on. */
static void acknowledge(struct world *world, uint64_t sequence)
{
    held.reached = sequence;
    gate_wake(world->server);
    park_deliver(world->w);
}

static void fail_log(struct world *world, int state)
{
    held.state = state;
    gate_wake(world->server);
    park_deliver(world->w);
}

#define UNSURE                                                                                     \
    "-UNSURE outcome unknown: the change that this is about may be kept or lost: the test says "   \
    "so\r\n"

static void test_held_until_acknowledged(void **state)
{
    (void)state;
    struct world world;
    struct peer writer, reader;
    gate_world_open(&world);
    peer_open(&world, &writer);
    peer_open(&world, &reader);
    say(&world, &writer, 5, "SET a 1\r\n");
    expect(&writer, "");
    assert_true(find(&world, &writer)->gated);
    assert_int_equal(find(&world, &writer)->events, EPOLLIN); /* no busy loop */
    say(&world, &reader, 0, "GET b\r\nPING\r\n");             /* others go on */
    expect(&reader, "$-1\r\n+PONG\r\n");
    say(&world, &reader, 5, "GET a\r\n"); /* but nobody sees it */
    expect(&reader, "");
    say(&world, &writer, 6, "SET a 2\r\n"); /* is not executed yet */
    assert_true(find(&world, &writer)->gate_deaf);
    acknowledge(&world, 4);
    expect(&writer, "");
    acknowledge(&world, 5);
    expect(&writer, "+OK\r\n");
    expect(&reader, "$1\r\n1\r\n");
    held.sequence = 6;
    turn(&world, &writer, 1);
    expect(&writer, "");
    say(&world, &reader, 4, "GET a\r\n");
    expect(&reader, "$1\r\n2\r\n");
    acknowledge(&world, 6);
    expect(&writer, "+OK\r\n");
    assert_null(find(&world, &writer)->output);
    peer_close(&writer);
    peer_close(&reader);
    gate_world_close(&world);
}

/* Where nothing waits, nothing is asked of the log. */
static void test_costs_nothing(void **state)
{
    (void)state;
    struct world world;
    struct peer p;
    gate_world_open(&world);
    peer_open(&world, &p);
    say(&world, &p, 0, "SET a 1\r\nGET a\r\nMGET a b\r\n");
    assert_int_equal(held.looks, 0);
    held.reached = 9;
    say(&world, &p, 9, "SET a 1\r\nGET a\r\nMGET a b\r\n");
    assert_int_equal(held.looks, 1);
    say(&world, &p, 9, "SET a 1\r\nGET a\r\nMGET a b\r\n"); /* it is known by now */
    assert_int_equal(held.looks, 1);
    assert_false(atomic_load(&world.w->log_waiting));
    gate_wake(world.server); /* wakes nobody */
    assert_false(atomic_load(&world.w->unparks_pending));
    peer_close(&p);
    gate_world_close(&world);
}

/* The dial is turned: what was acknowledged may have to wait again. */
static void test_dial(void **state)
{
    (void)state;
    struct world world;
    struct peer p;
    gate_world_open(&world);
    peer_open(&world, &p);
    held.reached = 9;
    say(&world, &p, 9, "SET a 1\r\n");
    expect(&p, "+OK\r\n");
    held.reached = 3;
    atomic_fetch_add(&world.server->dial_turns, 1);
    gate_begin_turn(world.w);
    say(&world, &p, 9, "GET a\r\n");
    expect(&p, "");
    acknowledge(&world, 9);
    expect(&p, "$1\r\n1\r\n");
    peer_close(&p);
    gate_world_close(&world);
}

/* With periodic the worker writes for all that a turn made; with async it has that done. */
static void test_push(void **state)
{
    (void)state;
    struct world world;
    struct peer p, q;
    gate_world_open(&world);
    peer_open(&world, &p);
    peer_open(&world, &q);
    atomic_store(&world.server->durability, TARN_DURABILITY_PERIODIC);
    assert_false(gate_push(world.w));
    say(&world, &p, 3, "SET a 1\r\n");
    say(&world, &q, 2, "SET a 1\r\n");
    assert_true(gate_push(world.w));
    assert_int_equal(held.awaited, 3);
    park_deliver(world.w);
    expect(&p, "+OK\r\n");
    expect(&q, "+OK\r\n");
    assert_false(gate_push(world.w)); /* once */
    atomic_store(&world.server->durability, TARN_DURABILITY_ASYNC);
    say(&world, &p, 4, "SET a 1\r\n");
    assert_false(gate_push(world.w));
    assert_int_equal(held.hurried, 4);
    acknowledge(&world, 4);
    expect(&p, "+OK\r\n");
    atomic_store(&world.server->durability, TARN_DURABILITY_PERIODIC);
    held.state = TARN_IO; /* it fails under our hands */
    say(&world, &p, 5, "SET a 1\r\n");
    assert_true(gate_push(world.w));
    atomic_fetch_add(&world.server->log_events, 1);
    park_deliver(world.w);
    expect(&p, UNSURE);
    peer_close(&p);
    peer_close(&q);
    gate_world_close(&world);
}

/* Reads of several connections are looked up together, and wait together. */
static void test_shared_look_up(void **state)
{
    (void)state;
    struct world world;
    struct peer peers[3];
    gate_world_open(&world);
    for (int i = 0; i < 3; i++) {
        peer_open(&world, &peers[i]);
        say(&world, &peers[i], 0, "GET a\r\n"); /* makes the name known */
        expect(&peers[i], "$-1\r\n");
        peer_say(&peers[i], "GET a\r\n");
    }
    held.sequence = 7;
    turn(&world, peers, 3);
    held.sequence = 0;
    for (int i = 0; i < 3; i++)
        expect(&peers[i], "");
    acknowledge(&world, 7);
    for (int i = 0; i < 3; i++) {
        expect(&peers[i], "$-1\r\n");
        peer_close(&peers[i]);
    }
    gate_world_close(&world);
}

/* A value sent from the store itself, and the end of a connection, wait too. */
static void test_large_values_and_quit(void **state)
{
    (void)state;
    struct world world;
    struct peer p;
    gate_world_open(&world);
    peer_open(&world, &p);
    buffer_printf(&p.to_send, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%zu\r\n", (size_t)BIG_BYTES);
    buffer_append(&p.to_send, world.big.data, BIG_BYTES);
    say(&world, &p, 1, "\r\nGET k\r\nQUIT\r\n");
    expect(&p, "");
    assert_false(p.ended);
    assert_int_equal(find(&world, &p)->state, CONNECTION_CLOSING);
    world.send_piece = 1000;
    acknowledge(&world, 1);
    for (int i = 0; i < 100 && !p.ended; i++) {
        turn(&world, &p, 1);
        peer_receive(&p);
    }
    assert_true(p.ended);
    assert_int_equal(p.received.size, 5 + 8 + BIG_BYTES + 2 + 5);
    peer_close(&p);
    gate_world_close(&world);
}

/* Much that is held: the rest of what came with it is left for later. */
static void test_held_in_the_middle(void **state)
{
    (void)state;
    struct world world;
    struct peer p;
    gate_world_open(&world);
    peer_open(&world, &p);
    held.reached = 1;
    buffer_printf(&p.to_send, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%zu\r\n", (size_t)BIG_BYTES);
    buffer_append(&p.to_send, world.big.data, BIG_BYTES);
    say(&world, &p, 1, "\r\n");
    expect(&p, "+OK\r\n");
    say(&world, &p, 2, "MGET k k\r\nMGET k k\r\nMGET k k\r\nMGET k k\r\n");
    assert_int_equal(find(&world, &p)->replies, 2);
    acknowledge(&world, 2);
    for (int i = 0; i < 100; i++)
        turn(&world, &p, 1);
    peer_receive(&p);
    assert_int_equal(p.received.size, 4 * (4 + 2 * (8 + BIG_BYTES + 2)));
    peer_close(&p);
    gate_world_close(&world);
}

/* A client that wants no replies does not run ahead of the log either. */
static void test_reply_off(void **state)
{
    (void)state;
    struct world world;
    struct peer p;
    gate_world_open(&world);
    peer_open(&world, &p);
    say(&world, &p, 1, "CLIENT REPLY OFF\r\nSET a 1\r\n");
    assert_true(find(&world, &p)->gated);
    assert_null(find(&world, &p)->output);
    peer_say(&p, "SET a 2\r\nCLIENT REPLY ON\r\nGET a\r\n");
    turn(&world, &p, 1);
    acknowledge(&world, 1);
    turn(&world, &p, 1);
    expect(&p, "+OK\r\n$1\r\n2\r\n");
    say(&world, &p, 3, "CLIENT REPLY SKIP\r\nSET a 3\r\nGET a\r\n");
    fail_log(&world, TARN_IO);
    expect(&p, UNSURE); /* for GET alone */
    peer_close(&p);
    gate_world_close(&world);
}

/* One error a request, whatever it was answered; then the connection goes on. */
static void test_log_fails(void **state)
{
    (void)state;
    struct world world;
    struct peer p, q;
    gate_world_open(&world);
    peer_open(&world, &p);
    peer_open(&world, &q);
    say(&world, &p, 0, "GET a\r\nSET a 0\r\n"); /* the names are known: they run together */
    expect(&p, "$-1\r\n+OK\r\n");
    say(&world, &p, 2,
        "SET a 1\r\nGET a\r\nSET b 1\r\nMGET a b\r\nMULTI\r\nGET a\r\nEXEC\r\nnope\r\n");
    expect(&p, "");
    say(&world, &q, 1, "SET c 1\r\n");
    acknowledge(&world, 1);
    expect(&q, "+OK\r\n");
    fail_log(&world, TARN_IO);
    expect(&p, UNSURE UNSURE UNSURE UNSURE UNSURE UNSURE UNSURE UNSURE);
    say(&world, &q, 2, "GET a\r\n"); /* what is not known to be kept is not shown */
    park_deliver(world.w);
    expect(&q, UNSURE);
    say(&world, &q, 1, "GET c\r\n"); /* the rest is */
    expect(&q, "$1\r\n1\r\n");
    say(&world, &p, 0, "GET d\r\n");
    expect(&p, "$-1\r\n");
    struct server_counters counters;
    server_counters_get(world.server, &counters);
    assert_int_equal(counters.errors_total, 9 + 1 /* nope */);
    peer_close(&p);
    peer_close(&q);
    gate_world_close(&world);
}

/* It fails while nobody waits; who waits later is told all the same. */
static void test_log_failed_before(void **state)
{
    (void)state;
    struct world world;
    struct peer p;
    gate_world_open(&world);
    peer_open(&world, &p);
    fail_log(&world, TARN_NOSPACE);
    say(&world, &p, 2, "SET a 1\r\n");
    assert_true(atomic_load(&world.w->unparks_pending));
    park_deliver(world.w);
    expect(&p, UNSURE);
    fail_log(&world, TARN_OK); /* there is room again */
    say(&world, &p, 3, "SET a 1\r\n");
    expect(&p, "");
    acknowledge(&world, 3);
    expect(&p, "+OK\r\n");
    peer_close(&p);
    gate_world_close(&world);
}

/* What may be told, and what is half sent, is not taken back. */
static void test_log_fails_behind_unsent(void **state)
{
    (void)state;
    struct world world;
    struct peer p;
    gate_world_open(&world);
    peer_open(&world, &p);
    world.send_budget = 3;
    say(&world, &p, 0, "PING\r\nPING\r\n");
    expect(&p, "+PO");
    say(&world, &p, 1, "SET a 1\r\n");
    world.send_budget = SIZE_MAX;
    turn(&world, &p, 1);
    expect(&p, ""); /* all in order */
    fail_log(&world, TARN_IO);
    expect(&p, "NG\r\n+PONG\r\n" UNSURE);
    peer_close(&p);
    gate_world_close(&world);
}

static void test_client_goes(void **state)
{
    (void)state;
    struct world world;
    struct peer a, b, c;
    gate_world_open(&world);
    peer_open(&world, &a);
    peer_open(&world, &b);
    peer_open(&world, &c);
    say(&world, &a, 1, "SET a 1\r\n");
    say(&world, &b, 2, "SET a 1\r\n");
    say(&world, &c, 3, "SET a 1\r\n");
    connection_on_event(find(&world, &b), EPOLLERR | EPOLLHUP);
    assert_null(find(&world, &b));
    acknowledge(&world, 3);
    expect(&a, "+OK\r\n");
    expect(&c, "+OK\r\n");
    say(&world, &a, 4, "SET a 1\r\n");
    shutdown(a.fd, SHUT_WR);
    connection_on_event(find(&world, &a), EPOLLIN);
    expect(&a, "");
    acknowledge(&world, 4);
    turn(&world, &a, 1);
    expect(&a, "+OK\r\n");
    assert_true(a.ended);
    say(&world, &c, 5, "SET a 1\r\n"); /* is closed with the worker */
    peer_close(&a);
    peer_close(&b);
    connection_close(find(&world, &c));
    peer_close(&c);
    gate_world_close(&world);
}

/* A client is neither idle nor slow while it is the log that keeps it waiting. */
static void test_time_passes(void **state)
{
    (void)state;
    struct world world;
    struct peer p;
    gate_world_open(&world);
    peer_open(&world, &p);
    say(&world, &p, 1, "SET a 1\r\n");
    assert_null(world.w->busy);
    world.w->now_ns += 2 * OUTPUT_STALL_NS;
    connection_on_tick(find(&world, &p));
    world.send_budget = 2;
    acknowledge(&world, 1);
    connection_on_tick(find(&world, &p));
    world.send_budget = SIZE_MAX;
    turn(&world, &p, 1);
    expect(&p, "+OK\r\n");
    peer_close(&p);
    gate_world_close(&world);
}

/* The output that is held is bounded like any other. */
static void test_limit(void **state)
{
    (void)state;
    struct world world;
    struct peer p;
    world_prepare(&world, "", 64 << 10);
    world_start(&world, NULL);
    held = (struct held_log){.on = true};
    peer_open(&world, &p);
    held.reached = 1;
    buffer_printf(&p.to_send, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%zu\r\n", (size_t)BIG_BYTES);
    buffer_append(&p.to_send, world.big.data, BIG_BYTES);
    say(&world, &p, 1, "\r\n");
    expect(&p, "+OK\r\n");
    say(&world, &p, 2, "GET k\r\nGET k\r\nGET k\r\nGET k\r\n");
    assert_null(find(&world, &p));
    peer_receive(&p);
    assert_true(p.ended);
    peer_close(&p);
    gate_world_close(&world);
}

static void test_stop(void **state)
{
    (void)state;
    struct world world;
    struct peer p;
    gate_world_open(&world);
    peer_open(&world, &p);
    say(&world, &p, 1, "SET a 1\r\n");
    peer_say(&p, "GET a\r\n");
    world.w->stopping = true;
    held.sequence = 1;
    connection_stop(find(&world, &p));
    expect(&p, "");
    acknowledge(&world, 1);
    expect(&p, "+OK\r\n$1\r\n1\r\n");
    assert_true(p.ended);
    peer_close(&p);
    gate_world_close(&world);
}

/* --- WAITAOF ------------------------------------------------------------------------------ */

static void test_waitaof(void **state)
{
    (void)state;
    struct world world;
    struct peer p, q;
    gate_world_open(&world);
    peer_open(&world, &p);
    peer_open(&world, &q);
    held.reached = 5; /* as with periodic */
    held.durable = 3;
    say(&world, &p, 0, "WAITAOF 1 0 0\r\n"); /* nothing to wait for */
    expect(&p, "*2\r\n:1\r\n:0\r\n");
    say(&world, &p, 4, "SET a 1\r\nWAITAOF 0 0 0\r\n");
    expect(&p, "+OK\r\n*2\r\n:0\r\n:0\r\n");
    say(&world, &p, 0, "WAITAOF 1 0 0\r\nPING\r\n");
    assert_int_equal(held.hurried, 4);
    expect(&p, "");
    say(&world, &q, 5, "SET b 1\r\nWAITAOF 1 0 100\r\n");
    expect(&q, "+OK\r\n");
    held.durable = 4;
    acknowledge(&world, 5);
    expect(&p, "*2\r\n:1\r\n:0\r\n+PONG\r\n");
    expect(&q, "");
    world.w->now_ns = world.os.monotonic_ns(&world.os) + 1000000000;
    park_deliver(world.w);
    expect(&q, "*2\r\n:0\r\n:0\r\n");
    say(&world, &p, 0, "WAITAOF 1 1 0\r\n"); /* there are no replicas: for ever */
    acknowledge(&world, 9);
    expect(&p, "");
    assert_true(server_client_unblock(world.server, p.id, false));
    park_deliver(world.w);
    expect(&p, "*2\r\n:1\r\n:0\r\n");
    peer_close(&p);
    peer_close(&q);
    gate_world_close(&world);
}

static void test_waitaof_fails(void **state)
{
    (void)state;
    struct world world;
    struct peer p, q;
    gate_world_open(&world);
    peer_open(&world, &p);
    peer_open(&world, &q);
    held.reached = 5;
    say(&world, &p, 4, "SET a 1\r\nWAITAOF 1 0 0\r\n");
    say(&world, &q, 4, "SET a 1\r\nWAITAOF 1 0 0\r\n");
    expect(&p, "+OK\r\n");
    expect(&q, "+OK\r\n");
    fail_log(&world, TARN_NOSPACE); /* it may yet go on */
    expect(&p, "");
    fail_log(&world, TARN_IO);
    expect(&p, UNSURE);
    expect(&q, UNSURE);
    held.state = TARN_OK;
    say(&world, &p, 0, "WAITAOF 0 1 0\r\n");
    atomic_store(&world.server->durability, TARN_DURABILITY_NONE); /* the dial is turned */
    fail_log(&world, TARN_OK);
    say(&world, &q, 0, "WAITAOF 1 0 0\r\n");
    expect(&q, "-ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.\r\n");
    connection_close(find(&world, &p));
    peer_close(&p);
    peer_close(&q);
    gate_world_close(&world);
}

/* A change whose outcome was unknown is not one that is synced. */
static void test_waitaof_after_unsure(void **state)
{
    (void)state;
    struct world world;
    struct peer p;
    gate_world_open(&world);
    peer_open(&world, &p);
    say(&world, &p, 4, "SET a 1\r\n");
    fail_log(&world, TARN_NOSPACE);
    expect(&p, UNSURE);
    say(&world, &p, 0, "WAITAOF 0 0 0\r\n");
    expect(&p, "*2\r\n:0\r\n:0\r\n");
    say(&world, &p, 0, "MULTI\r\nSET b 1\r\nWAITAOF 1 0 0\r\nEXEC\r\n");
    expect(&p, "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n*2\r\n:0\r\n:0\r\n");
    held.durable = 4;
    say(&world, &p, 0, "WAITAOF 0 0 0\r\n");
    expect(&p, "*2\r\n:1\r\n:0\r\n");
    peer_close(&p);
    gate_world_close(&world);
}

/* --- any order ---------------------------------------------------------------------------- */

#define PEERS    6
#define REQUESTS 200

/* Each peer writes on, a few at a time; the log goes on now and then. Nobody is told of more than
 * is acknowledged, and in the end all is told. */
static void run_random(uint64_t seed)
{
    struct world world;
    struct peer peers[PEERS];
    uint64_t random = seed, last = 0, told[PEERS] = {0};
    uint64_t sequences[PEERS][REQUESTS];
    size_t asked[PEERS] = {0};
    gate_world_open(&world);
    for (int i = 0; i < PEERS; i++)
        peer_open(&world, &peers[i]);
    for (bool done = false; !done;) {
        int i = (int)(random_next(&random) % PEERS);
        size_t count = random_next(&random) % 4;
        bool waits = find(&world, &peers[i])->gated;
        if (asked[i] + count <= REQUESTS && !waits && count > 0) {
            last++;
            for (size_t j = 0; j < count; j++) {
                sequences[i][asked[i]++] = last;
                peer_say(&peers[i], random_next(&random) % 2
                                        ? "SET k 1234567\r\n"
                                        : "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n");
            }
            held.sequence = last;
            turn(&world, &peers[i], 1);
            held.sequence = 0;
        }
        if (random_next(&random) % 3 == 0)
            acknowledge(&world, held.reached + random_next(&random) % (last - held.reached + 1));
        done = true;
        for (i = 0; i < PEERS; i++) {
            peer_receive(&peers[i]);
            told[i] = peers[i].received.size / 5;
            if (told[i] > 0)
                assert_true(sequences[i][told[i] - 1] <= held.reached);
            done &= asked[i] > REQUESTS - 4 && !find(&world, &peers[i])->gated;
        }
    }
    for (int i = 0; i < PEERS; i++) {
        assert_int_equal(told[i], asked[i]);
        peer_close(&peers[i]);
    }
    gate_world_close(&world);
}

static void test_any_order(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 40 / TEST_SLOWER; seed++)
        run_random(seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_held_until_acknowledged),
        cmocka_unit_test(test_costs_nothing),
        cmocka_unit_test(test_dial),
        cmocka_unit_test(test_push),
        cmocka_unit_test(test_shared_look_up),
        cmocka_unit_test(test_large_values_and_quit),
        cmocka_unit_test(test_held_in_the_middle),
        cmocka_unit_test(test_reply_off),
        cmocka_unit_test(test_log_fails),
        cmocka_unit_test(test_log_failed_before),
        cmocka_unit_test(test_log_fails_behind_unsent),
        cmocka_unit_test(test_client_goes),
        cmocka_unit_test(test_time_passes),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_stop),
        cmocka_unit_test(test_waitaof),
        cmocka_unit_test(test_waitaof_fails),
        cmocka_unit_test(test_waitaof_after_unsure),
        cmocka_unit_test(test_any_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
