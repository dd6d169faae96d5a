/* Goal: a command on keys that finds no memory says so, and the keys are as they were.
 * Method: one server over a writable store, driven turn by turn; each command with its nth
 * allocation failed, for every n until none fails; each again with the store's cap reached.
 *
 * Bugs planted once to see it fail: tarn_copy()'s status taken for OK; a failed EXPIRE answered
 * with what its function decided; FLUSHALL that answers OK whatever happened. */
#include "lib/test.h"

#include "lib/fault_malloc.h"
#include "lib/server_world.h"

enum { MEMORY = 64 << 20 };

static struct world world;
static struct peer peer;

static void start(void)
{
    world_open_writable(&world, MEMORY);
    peer_open(&world, &peer);
}

static void stop(void)
{
    peer_close(&peer);
    world_close(&world);
}

static void say(const char *line)
{
    peer_say_line(&world, &peer, line);
}

static void assert_answer(const char *line, const char *reply)
{
    say(line);
    expect(&peer, reply);
}

static const char *answer(const char *line)
{
    say(line);
    peer_receive(&peer);
    buffer_append_byte(&peer.received, 0);
    return (const char *)peer.received.data;
}

/* a expires in the year 2100, b and s never; a and b have a value too large for a page of slots,
 * and s would need another page for slots of another size to have an expiry too. */
static void prepare(void)
{
    assert_answer("SETBIT a 160000 1", ":0\r\n");
    assert_answer("PEXPIREAT a 4102444800000", ":1\r\n");
    assert_answer("SETBIT b 240000 1", ":0\r\n");
    assert_answer("SETBIT s 4000 1", ":0\r\n");
}

static void assert_as_prepared(void)
{
    assert_answer("STRLEN a", ":20001\r\n");
    assert_answer("PEXPIRETIME a", ":4102444800000\r\n");
    assert_answer("STRLEN b", ":30001\r\n");
    assert_answer("TTL b", ":-1\r\n");
    assert_answer("STRLEN s", ":501\r\n");
    assert_answer("TTL s", ":-1\r\n");
    assert_answer("DBSIZE", ":3\r\n");
}

static const struct {
    const char *request, *reply;
    bool grows; /* it needs memory for the data */
} commands[] = {
    {"RENAME a b", "+OK\r\n", true},      {"RENAMENX a c", ":1\r\n", true},
    {"COPY a c", ":1\r\n", true},         {"COPY a b REPLACE", ":1\r\n", true},
    {"EXPIRE s 1000000", ":1\r\n", true}, {"PERSIST a", ":1\r\n", false},
    {"DEL a", ":1\r\n", false},           {"FLUSHALL", "+OK\r\n", false},
    {"EXPIREAT a 1", ":1\r\n", false},    {"EXISTS a b", ":2\r\n", false},
};
enum { EXPIRE = 4, FLUSHALL = 7, COMMANDS = sizeof commands / sizeof *commands };

/* Returns whether an allocation was failed. */
static bool run_without(size_t command, uint64_t nth, unsigned *failures)
{
    const char *wanted = commands[command].reply;
    start();
    prepare();
    fault_malloc_arm(nth, false);
    const char *reply = answer(commands[command].request);
    bool failed = fault_malloc_disarm() != 0;
    if (strcmp(reply, wanted) != 0) {
        assert_true(failed && !peer.ended);
        if (strcmp(reply, "-ERR out of memory\r\n") != 0)
            assert_int_equal(strncmp(reply, "-OOM ", 5), 0);
        assert_as_prepared();
        ++*failures;
    } else if (command == FLUSHALL) {
        assert_answer("EXISTS a b s", ":0\r\n");
    }
    stop();
    return failed;
}

static void no_memory_for_it(void **state)
{
    (void)state;
    for (size_t i = 0; i < COMMANDS; i++) {
        unsigned failures = 0;
        uint64_t nth = 1;
        while (run_without(i, nth, &failures))
            assert_true(++nth < 50);
        if (i ==
            FLUSHALL) /* the others' items and arrays lie in pages, which come from the kernel */
            assert_true(failures > 0);
    }
}

static void the_cap_is_reached(void **state)
{
    (void)state;
    for (size_t i = 0; i < COMMANDS; i++) {
        start();
        prepare();
        tarn_limit(world.server->store, 1, TARN_EVICT_NOTHING);
        const char *reply = answer(commands[i].request);
        if (commands[i].grows) {
            assert_string_equal(reply,
                                "-OOM command not allowed when used memory > 'maxmemory'.\r\n");
            assert_as_prepared();
        } else {
            assert_string_equal(reply, commands[i].reply);
        }
        stop();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_memory_for_it),
        cmocka_unit_test(the_cap_is_reached),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
