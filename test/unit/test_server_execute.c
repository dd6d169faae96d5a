/* Goal: requests that are executed together in a run have their effects and replies in the order in
 * which they were sent, within a connection and across those that share the run, whatever is mixed;
 * each is counted; those that must be seen alone are.
 * Method: this thread plays the one worker (lib/server_world.h) of a writable store; random streams
 * are checked against a model that executes them one by one. */
#include "lib/test.h"

#include "lib/dataset.h"
#include "lib/server_world.h"

#define CLIENTS_MAX 20
#define OWN_KEYS    4 /* of each client: few, so that requests of a run meet */
#define VALUE_MAX   64

/* What one client's keys should hold. */
struct model {
    bool there[OWN_KEYS];
    char value[OWN_KEYS][VALUE_MAX];
};

static void add_words(struct buffer *out, size_t count, const char *const *words)
{
    buffer_printf(out, "*%zu\r\n", count);
    for (size_t i = 0; i < count; i++)
        buffer_printf(out, "$%zu\r\n%s\r\n", strlen(words[i]), words[i]);
}
#define ADD(out, ...)                                                                              \
    add_words(out, sizeof((const char *[]){__VA_ARGS__}) / sizeof(const char *),                   \
              (const char *[]){__VA_ARGS__})

static void reply_value(struct reply *reply, const struct model *m, unsigned k)
{
    if (m->there[k])
        reply_bulk_text(reply, m->value[k]);
    else
        reply_null(reply);
}

static void change(struct buffer *in, struct reply *reply, struct model *m, unsigned k,
                   const char *key, uint64_t *random)
{
    char text[VALUE_MAX];
    switch (random_next(random) % 4) {
    case 0:
        snprintf(text, sizeof text, "%u", (unsigned)(random_next(random) % 1000));
        ADD(in, random_next(random) % 2 ? "SET" : "set", key, text);
        memcpy(m->value[k], text, sizeof text);
        m->there[k] = true;
        reply_simple(reply, "OK");
        break;
    case 1: {
        int number = m->there[k] ? atoi(m->value[k]) + 1 : 1;
        ADD(in, "INCR", key);
        snprintf(m->value[k], sizeof m->value[k], "%d", number);
        m->there[k] = true;
        reply_int(reply, number);
        break;
    }
    case 2:
        ADD(in, "DEL", key);
        reply_int(reply, m->there[k]);
        m->there[k] = false;
        break;
    default:
        ADD(in, "GETSET", key, "7");
        reply_value(reply, m, k);
        snprintf(m->value[k], sizeof m->value[k], "7");
        m->there[k] = true;
    }
}

/* One random request of client `number` and its reply. */
static void add_request(struct peer *p, struct model *m, size_t number, uint64_t *random)
{
    struct buffer *in = &p->to_send;
    struct reply reply = {&p->expected, 2};
    unsigned k = (unsigned)(random_next(random) % OWN_KEYS);
    char key[32], other[32];
    snprintf(key, sizeof key, "c%zu-k%u", number, k);
    snprintf(other, sizeof other, "c%zu-k%u", number, (k + 1) % OWN_KEYS);
    switch (random_next(random) % 16) {
    case 0:
        ADD(in, "STRLEN", key);
        reply_int(&reply, m->there[k] ? (int64_t)strlen(m->value[k]) : 0);
        break;
    case 1:
        ADD(in, "EXISTS", key);
        reply_int(&reply, m->there[k]);
        break;
    case 2: /* of several keys: alone */
        ADD(in, "DEL", key, other);
        reply_int(&reply, m->there[k] + m->there[(k + 1) % OWN_KEYS]);
        m->there[k] = m->there[(k + 1) % OWN_KEYS] = false;
        break;
    case 3:
        ADD(in, "SET", key, "x", "BAD");
        reply_error(&reply, "ERR syntax error");
        break;
    case 4:
        ADD(in, "PING");
        reply_simple(&reply, "PONG");
        break;
    case 5:
    case 6:
    case 7:
    case 8:
        change(in, &reply, m, k, key, random);
        break;
    default:
        ADD(in, "GET", key);
        reply_value(&reply, m, k);
    }
}

static void run_random(uint64_t seed)
{
    struct world world;
    struct peer peers[CLIENTS_MAX];
    struct model models[CLIENTS_MAX] = {0};
    uint64_t random = seed;
    world_open_writable(&world, 0);
    size_t count = 1 + random_next(&random) % CLIENTS_MAX;
    size_t requests = 1 + random_next(&random) % 300;
    size_t piece = random_next(&random) % 2 ? 200 : 20000;
    for (size_t i = 0; i < count; i++) {
        peer_open(&world, &peers[i]);
        for (size_t j = 0; j < requests; j++)
            add_request(&peers[i], &models[i], i, &random);
    }
    bool done = false;
    for (int round = 0; !done; round++) {
        assert_true(round < 100000);
        done = true;
        for (size_t i = 0; i < count; i++) {
            if (random_next(&random) % 4 != 0)
                peer_send(&peers[i], 1 + random_next(&random) % piece);
            peer_receive(&peers[i]);
            done &= peers[i].received.size >= peers[i].expected.size;
        }
        turn(&world, peers, count);
        tarn_quiescent(world.w->session);
    }
    for (size_t i = 0; i < count; i++) {
        peer_receive(&peers[i]);
        assert_int_equal(peers[i].received.size, peers[i].expected.size);
        assert_memory_equal(peers[i].received.data, peers[i].expected.data, peers[i].expected.size);
        peer_close(&peers[i]);
    }
    world_close(&world);
}

static void test_order(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++)
        run_random(seed);
}

/* Make the names known, so that they are gathered from now on. */
static void learn(struct world *world, struct peer *p)
{
    peer_say(p, "SET a 0\r\nGET a\r\nINCR a\r\nDEL a\r\nEXISTS a\r\n");
    turn(world, p, 1);
    expect(p, "+OK\r\n$1\r\n0\r\n:1\r\n:1\r\n:0\r\n");
}

/* Connections that share a run see what those before them did, and not what those after do. */
static void test_across_connections(void **state)
{
    (void)state;
    struct world world;
    struct peer peers[4];
    world_open_writable(&world, 0);
    for (int i = 0; i < 4; i++)
        peer_open(&world, &peers[i]);
    learn(&world, &peers[0]);
    peer_say(&peers[0], "GET a\r\nINCR a\r\n");
    peer_say(&peers[1], "GET a\r\nGET a\r\nSET a 10\r\nINCR a\r\n");
    peer_say(&peers[2], "INCR a\r\nGET a\r\nDEL a\r\n");
    peer_say(&peers[3], "GET a\r\nEXISTS a\r\n");
    for (int i = 0; i < 4; i++)
        connection_on_event(find(&world, &peers[i]), EPOLLIN);
    assert_int_equal(world.w->run.count, 11); /* nothing is executed yet */
    for (int i = 0; i < 4; i++)
        expect(&peers[i], "");
    run_finish(world.w, NULL);
    expect(&peers[0], "$-1\r\n:1\r\n");
    expect(&peers[1], "$1\r\n1\r\n$1\r\n1\r\n+OK\r\n:11\r\n");
    expect(&peers[2], ":12\r\n$2\r\n12\r\n:1\r\n");
    expect(&peers[3], "$-1\r\n:0\r\n");
    for (int i = 0; i < 4; i++)
        peer_close(&peers[i]);
    world_close(&world);
}

static uint64_t calls_of(struct world *world, const char *name)
{
    struct command_counters counters;
    server_command_counters_get(world->server, command_find(bytes_of(name))->id, &counters);
    return counters.calls;
}

/* Each request of a run is counted once, errors as such; look-ups count as hits and misses. */
static void test_counts(void **state)
{
    (void)state;
    struct world world;
    struct peer p;
    struct server_counters counters;
    world_open_writable(&world, 0);
    peer_open(&world, &p);
    learn(&world, &p);
    server_counters_reset(world.server);
    stats_refresh(&world.w->stats);
    peer_say(&p, "GET a\r\nSET a x\r\nGET a\r\nGET a\r\nINCR a\r\nSET a 1\r\nINCR a\r\nDEL a\r\n");
    turn(&world, &p, 1);
    expect(&p, "$-1\r\n+OK\r\n$1\r\nx\r\n$1\r\nx\r\n"
               "-ERR value is not an integer or out of range\r\n+OK\r\n:2\r\n:1\r\n");
    assert_int_equal(calls_of(&world, "get"), 3);
    assert_int_equal(calls_of(&world, "set"), 2);
    assert_int_equal(calls_of(&world, "incr"), 2);
    assert_int_equal(calls_of(&world, "del"), 1);
    server_counters_get(world.server, &counters);
    assert_int_equal(counters.commands_total, 8);
    assert_int_equal(counters.errors_total, 1);
    assert_int_equal(counters.keyspace_hits, 2);
    assert_int_equal(counters.keyspace_misses, 1);
    peer_close(&p);
    world_close(&world);
}

/* Nothing is gathered while somebody must see every request, nor for a client whose reads are not
 * to count as use. */
static void test_alone(void **state)
{
    (void)state;
    struct world world;
    struct peer p;
    world_open_writable(&world, 0);
    peer_open(&world, &p);
    learn(&world, &p);
    for (int i = 0; i < 3; i++) {
        struct connection *c = find(&world, &p);
        atomic_store(&world.server->hot.alone, i == 0);
        c->client.no_touch = i == 1;
        peer_say(&p, "SET a 1\r\nGET a\r\n");
        connection_on_event(c, EPOLLIN);
        assert_int_equal(world.w->run.count, i == 2 ? 2 : 0);
        run_finish(world.w, NULL);
        expect(&p, "+OK\r\n$1\r\n1\r\n");
    }
    peer_close(&p);
    world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_across_connections),
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
