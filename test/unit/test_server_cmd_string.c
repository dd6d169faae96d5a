/* Goal: where memory fails, each command on strings answers an error that says so (OOM at the
 * limit), and every value is as it was; what needs no memory goes on.
 * Method: a writable store behind the real server, without its threads. Each allocation of each
 * request is failed in turn until the request succeeds; then a store that is filled to its limit.
 */
#include <stdio.h>

#include "lib/test.h"

#include "lib/fault_malloc.h"
#include "lib/server_world.h"

#define MANY_KEYS  200 /* more than have room on the stack */
#define NTH_MAX    1000
#define ROOM_BYTES (8u << 20) /* until the store is full */

/* The reply to one request, words separated by spaces, without waiting. */
static const char *ask(struct world *world, struct peer *peer, const char *line)
{
    buffer_clear(&peer->received);
    peer_say(peer, line);
    peer_say(peer, "\r\n");
    buffer_clear(&peer->to_send);
    peer->sent = 0;
    turn(world, peer, 1);
    peer_receive(peer);
    buffer_append_byte(&peer->received, 0);
    return (const char *)peer->received.data;
}

static void expect_reply(struct world *world, struct peer *peer, const char *line,
                         const char *expected)
{
    assert_string_equal(ask(world, peer, line), expected);
}

/* "NAME key0 value key1 value ..." */
static const char *many(const char *name, bool values)
{
    static char line[MANY_KEYS * 20 + 20];
    size_t size = (size_t)snprintf(line, sizeof line, "%s", name);
    for (int i = 0; i < MANY_KEYS; i++)
        size +=
            (size_t)snprintf(line + size, sizeof line - size, values ? " key%d v" : " key%d", i);
    return line;
}

static bool is_memory_error(const char *reply)
{
    return strcmp(reply, "-ERR out of memory\r\n") == 0 ||
           strncmp(reply, "-ERR Insufficient memory, ", 26) == 0;
}

/* The value of "k" is `old`, or there is no key at all. */
static void expect_unchanged(struct world *world, const char *old)
{
    struct peer other;
    char present[64] = "$-1\r\n";
    if (old != NULL)
        snprintf(present, sizeof present, "$%zu\r\n%s\r\n", strlen(old), old);
    peer_open(world, &other);
    expect_reply(world, &other, "GET k", present);
    expect_reply(world, &other, "DBSIZE", old != NULL ? ":1\r\n" : ":0\r\n");
    peer_close(&other);
}

/* A new connection, on which "k" was set to `old`, nothing else is there, and what requests like
 * this one need was allocated before. */
static void prepare(struct world *world, struct peer *peer, const char *line, const char *old)
{
    char set[64];
    peer_open(world, peer);
    ask(world, peer, line);
    expect_reply(world, peer, "FLUSHALL", "+OK\r\n");
    if (old != NULL) {
        snprintf(set, sizeof set, "SET k %s", old);
        expect_reply(world, peer, set, "+OK\r\n");
    }
    tarn_quiescent(world->w->session);
}

/* Fail each allocation in turn until the request succeeds without; before, "k" is `old`, or there
 * is no key. (If the parser has no room for the arguments, the connection is closed.) */
static void fail_each(const char *line, const char *old, const char *expected)
{
    struct world world;
    struct peer peer;
    world_open_writable(&world, 0);
    uint64_t failed = 1;
    for (uint64_t nth = 1; failed > 0; nth++) {
        assert_true(nth < NTH_MAX);
        prepare(&world, &peer, line, old);
        fault_malloc_arm(nth, false);
        const char *reply = ask(&world, &peer, line);
        failed = fault_malloc_disarm();
        if (strcmp(reply, expected) != 0) {
            assert_true(failed > 0);
            assert_true(is_memory_error(reply) || peer.ended);
            expect_unchanged(&world, old);
        }
        peer_close(&peer);
    }
    world_close(&world);
}

static void test_each_allocation_of_requests_of_one_key(void **state)
{
    (void)state;
    fail_each("SET k v", NULL, "+OK\r\n");
    fail_each("SET k v", "old", "+OK\r\n");
    fail_each("SET k v GET", "old", "$3\r\nold\r\n");
    fail_each("GETSET k v", "old", "$3\r\nold\r\n");
    fail_each("GETDEL k", "old", "$3\r\nold\r\n");
    fail_each("GETEX k EX 1000", "old", "$3\r\nold\r\n");
    fail_each("INCR k", "41", ":42\r\n");
    fail_each("INCRBYFLOAT k 0.5", "41", "$4\r\n41.5\r\n");
    fail_each("APPEND k more", "old", ":7\r\n");
    fail_each("SETRANGE k 10000 x", "old", ":10001\r\n");
    fail_each("LCS k k", "old", "$3\r\nold\r\n");
}

static void test_each_allocation_of_requests_of_many_keys(void **state)
{
    (void)state;
    fail_each("MSET k 1 l 2", NULL, "+OK\r\n");
    fail_each(many("MSET", true), NULL, "+OK\r\n");
    fail_each(many("MSETNX", true), NULL, ":1\r\n");
    fail_each(many("MSETNX k v", true), "old", ":0\r\n");
    static char nulls[MANY_KEYS * 8];
    size_t size = (size_t)snprintf(nulls, sizeof nulls, "*%d\r\n", MANY_KEYS);
    for (int i = 0; i < MANY_KEYS; i++)
        size += (size_t)snprintf(nulls + size, sizeof nulls - size, "$-1\r\n");
    fail_each(many("MGET", false), "old", nulls);
}

/* Trips if a refused change is half done, or a loop waits for room for ever. */
static void test_a_full_store(void **state)
{
    (void)state;
    static const struct {
        const char *before, *after; /* the value */
    } refused[] = {
        {"SET new ", ""},        {"SET k ", " GET"},     {"SETNX new ", ""},
        {"GETSET k ", ""},       {"APPEND k ", ""},      {"MSET new ", " k 2"},
        {"MSETNX new ", " l 2"}, {"SETEX new 100 ", ""}, {"SETRANGE k 5 ", ""},
    };
    struct world world;
    struct peer peer;
    static char value[20001], line[21000];
    memset(value, 'v', sizeof value - 1);
    world_open_writable(&world, 0);
    tarn_limit(world.server->store, tarn_memory_used(world.server->store) + ROOM_BYTES,
               TARN_EVICT_NOTHING);
    peer_open(&world, &peer);
    expect_reply(&world, &peer, "SET k 5", "+OK\r\n");
    const char *reply = "+OK\r\n";
    for (int i = 0; strcmp(reply, "+OK\r\n") == 0; i++) {
        assert_true(i < 100000);
        snprintf(line, sizeof line, "SET filler%d %s", i, value);
        reply = ask(&world, &peer, line);
    }
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        snprintf(line, sizeof line, "%s%s%s", refused[i].before, value, refused[i].after);
        expect_reply(&world, &peer, line,
                     "-OOM command not allowed when used memory > 'maxmemory'.\r\n");
        expect_reply(&world, &peer, "MGET k l new", "*3\r\n$1\r\n5\r\n$-1\r\n$-1\r\n");
    }
    expect_reply(&world, &peer, "GETDEL k", "$1\r\n5\r\n");
    expect_reply(&world, &peer, "STRLEN filler0", ":20000\r\n");
    peer_close(&peer);
    world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_allocation_of_requests_of_one_key),
        cmocka_unit_test(test_each_allocation_of_requests_of_many_keys),
        cmocka_unit_test(test_a_full_store),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
