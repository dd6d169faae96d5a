/* Goal: when memory runs out at any one allocation, or for good from any one on, the server opens
 * not at all and says so, or goes on; a connection may be lost, an answer never wrong; nothing is
 * leaked (the sanitizer and the counters of world_close() look at that).
 * Method: the nth allocation fails, for every n until there are no more (lib/fault_malloc.h), while
 * one thread plays the worker (lib/server_world.h). */
#include "lib/test.h"

#include "lib/fault_malloc.h"
#include "lib/server_world.h"

static void test_open(void **state)
{
    (void)state;
    uint64_t failed = 1;
    for (uint64_t nth = 1; failed > 0; nth++) {
        struct world world;
        struct tarn_error error = {0};
        world_prepare(&world, "", 0);
        size_t files = scratch_fd_count();
        fault_malloc_arm(nth, false);
        int status =
            server_open(&world.os, &world.config, world.path, NULL, NULL, &world.server, &error);
        failed = fault_malloc_disarm();
        if (status == TARN_OK) {
            server_close(world.server);
        } else {
            assert_int_equal(status, TARN_NOMEM);
            assert_int_not_equal(error.text[0], 0);
        }
        assert_int_equal(scratch_fd_count(), files);
        world_clean(&world);
    }
}

/* What a connection says must be a prefix of what it should say, or an error about memory. */
static void check_answer(struct peer *p, const char *expected)
{
    size_t size = p->received.size;
    buffer_append_byte(&p->received, 0);
    const char *text = (const char *)p->received.data;
    const char *trouble = strstr(text, "-ERR out of memory");
    if (trouble != NULL)
        size = (size_t)(trouble - text);
    assert_true(size <= strlen(expected));
    assert_memory_equal(text, expected, size);
}

static void converse(uint64_t nth, bool stays, uint64_t *ret_failed)
{
    static const char expected[] = "$7\r\nvalue-1\r\n$7\r\nvalue-2\r\n+PONG\r\n$7\r\nvalue-3\r\n";
    struct world world;
    struct peer peers[2];
    world_open(&world, "", 0);
    peer_open(&world, &peers[0]);
    fault_malloc_arm(nth, stays);
    world.send_piece = 5; /* every reply takes several sends, so output is kept */
    static const char *const pieces[] = {"GET k1\r\n*2\r\n$3\r\nGE", "T\r\n$2\r\nk2\r\nPING\r\n",
                                         "*2\r\n$3\r\nGET\r\n$2\r\n", "k3\r\n"};
    for (size_t i = 0; i < 4; i++) {
        /* past the fault injection: the test's own buffers must not fail */
        ssize_t sent = send(peers[0].fd, pieces[i], strlen(pieces[i]), MSG_NOSIGNAL);
        (void)sent; /* the connection may be gone */
        turn(&world, peers, 1);
    }
    for (int i = 0; i < 20; i++)
        turn(&world, peers, 1);
    *ret_failed = fault_malloc_disarm();
    peer_receive(&peers[0]);
    check_answer(&peers[0], expected);
    /* whatever happened to it, others are served */
    world.send_piece = SIZE_MAX;
    peer_open(&world, &peers[1]);
    peer_say(&peers[1], "GET k5\r\n");
    turn(&world, &peers[1], 1);
    expect(&peers[1], "$7\r\nvalue-5\r\n");
    peer_close(&peers[0]);
    peer_close(&peers[1]);
    world_close(&world);
}

static void test_conversation(void **state)
{
    (void)state;
    for (int stays = 0; stays <= 1; stays++) {
        uint64_t failed = 1;
        for (uint64_t nth = 1; failed > 0; nth++)
            converse(nth, stays, &failed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_open),
        cmocka_unit_test(test_conversation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
