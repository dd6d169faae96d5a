/* Goal: a key's slot is the one that Redis Cluster gives it; the servers' ranges are those that
 * redis-cli --cluster create deals out, and cover every slot once.
 * Method: slots answered by CLUSTER KEYSLOT of redis-server 7.0; redis-cli's own arithmetic in
 * floating point; every slot for every number of servers.
 *
 * Bugs planted once to see it fail: an empty tag hashed; the last '}' taken; the polynomial
 * reflected; a range's first slot rounded down. */
#include "bench/slot.h"

#include <math.h>

#include "lib/test.h"

static void test_slots_of_redis(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        unsigned slot;
    } rows[] = {
        {"foo", 12182},
        {"bar", 5061},
        {"hello", 866},
        {"123456789", 0x31c3 % SLOT_COUNT},
        {"{user1000}", 3443},
        {"{user1000}.following", 3443},
        {"foo{}{bar}", 8363},
        {"foo{{bar}}zap", 4015},
        {"{bar", 4015},
        {"foo{bar}{zap}", 5061},
        {"", 0},
        {"{}", 15257},
        {"a}b{c}", 7365},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(slot_of(bytes_of(rows[i].key)), rows[i].slot);
    assert_int_equal(slot_of((struct tarn_bytes){NULL, 0}), 0);
    assert_int_equal(slot_of((struct tarn_bytes){"{\xff\0}x", 5}),
                     slot_of((struct tarn_bytes){"\xff\0", 2}));
}

/* CRC16 bit by bit. */
static unsigned slow_slot(const unsigned char *bytes, size_t size)
{
    unsigned crc = 0;
    for (size_t i = 0; i < size; i++) {
        crc ^= (unsigned)bytes[i] << 8;
        for (int bit = 0; bit < 8; bit++)
            crc = (crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1) & 0xffff;
    }
    return crc % SLOT_COUNT;
}

static void test_all_pairs_of_bytes(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 65536; i++) {
        unsigned char key[2] = {(unsigned char)(i >> 8), (unsigned char)i};
        assert_int_equal(slot_of((struct tarn_bytes){key, 2}), slow_slot(key, 2));
    }
}

static void test_ranges_of_redis_cli(void **state)
{
    (void)state;
    assert_int_equal(slot_first(0, 3), 0);
    assert_int_equal(slot_first(1, 3), 5461);
    assert_int_equal(slot_first(2, 3), 10923);
    for (unsigned servers = 1; servers <= 64; servers++) {
        float per_server = (float)SLOT_COUNT / (float)servers, cursor = 0; /* as redis-cli.c has */
        unsigned first = 0;
        for (unsigned i = 0; i < servers; i++) {
            assert_int_equal(slot_first(i, servers), first);
            first = (unsigned)lround(cursor + per_server - 1) + 1;
            cursor += per_server;
        }
    }
}

static void test_each_slot_has_one_server(void **state)
{
    (void)state;
    for (unsigned servers = 1; servers <= SLOT_COUNT; servers += servers < 200 ? 1 : 997) {
        unsigned server = 0;
        for (unsigned slot = 0; slot < SLOT_COUNT; slot++) {
            if (server + 1 < servers && slot_first(server + 1, servers) == slot)
                server++;
            assert_int_equal(slot_server(slot, servers), server);
        }
        assert_int_equal(server, servers - 1);
    }
    assert_int_equal(slot_server(SLOT_COUNT - 1, SLOT_COUNT), SLOT_COUNT - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slots_of_redis),
        cmocka_unit_test(test_all_pairs_of_bytes),
        cmocka_unit_test(test_ranges_of_redis_cli),
        cmocka_unit_test(test_each_slot_has_one_server),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
