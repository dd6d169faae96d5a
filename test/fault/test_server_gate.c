/* Goal: when memory runs out at any one allocation, or for good from any one on, while replies are
 * held for the log, nothing is told before it may be, nothing wrong is, and nothing waits for ever;
 * a connection may be lost, others are served.
 * Method: the nth allocation fails, for every n until there are no more, while one thread plays the
 * worker (lib/server_world.h) and the log (lib/held_log.h), which goes on at the end or fails.
 *
 * Bugs planted once to see it fail: what is held is sent; a connection that is cut stays in the
 * list of those that wait. */
#include "lib/test.h"

#include "lib/fault_malloc.h"
#include "lib/held_log.h"
#include "lib/server_world.h"
#include "server/park.h"

#define UNSURE                                                                                     \
    "-UNSURE outcome unknown: the change that this is about may be kept or lost: the test says "   \
    "so\r\n"

/* Past the failures: the test's own buffers must not fail. */
static void say(struct world *world, struct peer *p, uint64_t sequence, const char *bytes)
{
    held.sequence = sequence;
    ssize_t sent = send(p->fd, bytes, strlen(bytes), MSG_NOSIGNAL);
    (void)sent; /* the connection may be gone */
    turn(world, p, 1);
    held.sequence = 0;
}

static void go_on(struct world *world, uint64_t sequence, int state)
{
    held.reached = sequence;
    held.state = state;
    gate_wake(world->server);
    park_deliver(world->w);
}

/* A prefix of what is expected, or of that an error about memory. */
static void check_answer(struct peer *p, const char *expected)
{
    peer_receive(p);
    size_t size = p->received.size;
    buffer_append_byte(&p->received, 0);
    const char *text = (const char *)p->received.data;
    const char *trouble = strstr(text, "-ERR out of memory"), *full = strstr(text, "-OOM");
    if (full != NULL && (trouble == NULL || full < trouble))
        trouble = full;
    if (trouble != NULL)
        size = (size_t)(trouble - text);
    assert_true(size <= strlen(expected));
    assert_memory_equal(text, expected, size);
}

static void nothing_is_told(struct peer *p)
{
    char byte;
    ssize_t size = recv(p->fd, &byte, 1, MSG_PEEK);
    assert_true(size <= 0 || byte == '-'); /* gone, or an error about memory */
}

static void play(struct world *world, struct peer *peers, int state, bool cut)
{
    say(world, &peers[0], 5, "SET a 1\r\nSET a 2\r\n");
    nothing_is_told(&peers[0]);
    say(world, &peers[1], 5, "GET a\r\n*3\r\n$3\r\nSET\r\n$1\r\n");
    nothing_is_told(&peers[1]);
    say(world, &peers[1], 6, "b\r\n$1\r\n3\r\nWAITAOF 1 0 0\r\n");
    go_on(world, 4, TARN_OK);
    nothing_is_told(&peers[0]);
    nothing_is_told(&peers[1]);
    if (cut && find(world, &peers[1]) != NULL)
        connection_close(find(world, &peers[1]));
    go_on(world, state == TARN_OK ? 9 : 4, state);
    held.durable = 9;
    for (int i = 0; i < 4; i++) {
        turn(world, peers, 2);
        go_on(world, held.reached, state);
    }
}

static void converse(uint64_t nth, bool stays, int state, uint64_t *ret_failed)
{
    struct world world;
    struct peer peers[3];
    world_open_writable(&world, 0);
    atomic_store(&world.server->durability, TARN_DURABILITY_COMMIT);
    held = (struct held_log){.on = true};
    peer_open(&world, &peers[0]);
    peer_open(&world, &peers[1]);
    fault_malloc_arm(nth, stays);
    play(&world, peers, state, nth % 2 == 1);
    *ret_failed = fault_malloc_disarm();
    check_answer(&peers[0], state == TARN_OK ? "+OK\r\n+OK\r\n" : UNSURE UNSURE);
    if (state == TARN_OK && nth == 0)
        assert_int_equal(peers[0].received.size, sizeof "+OK\r\n+OK\r\n");
    go_on(&world, 9, TARN_OK);
    peer_open(&world, &peers[2]);
    say(&world, &peers[2], 9, "PING\r\n");
    expect(&peers[2], "+PONG\r\n");
    for (int i = 0; i < 3; i++)
        peer_close(&peers[i]);
    while (world.w->clients != NULL)
        connection_close(world.w->clients);
    assert_null(world.w->gated);
    assert_int_equal(world.w->log_waits, 0);
    assert_int_equal(atomic_load(&world.w->gated_now), 0);
    held.on = false;
    world_close(&world);
}

static void test_held_replies(void **state)
{
    (void)state;
    static const int states[] = {TARN_OK, TARN_IO};
    for (int i = 0; i < 2; i++)
        for (int stays = 0; stays <= 1; stays++) {
            uint64_t failed = 1, none;
            converse(0, false, states[i], &none);
            for (uint64_t nth = 1; failed > 0; nth++)
                converse(nth, stays, states[i], &failed);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_held_replies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
