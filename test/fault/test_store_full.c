/* Goal: a store whose disk is full again and again answers writes with an error, goes on reading,
 * writes again by itself once there is room, and loses nothing that was acknowledged.
 * Method: a simulated disk whose limit is set to a little more than is used; puts until one is
 * refused; all that was acknowledged read back; room again; puts until one is taken. 100 rounds,
 * some with a checkpoint (which the full disk may refuse, too), after some the store is closed or
 * killed and opened again. At each setting of the dial that has a log.
 *
 * Bug planted once to see it fail: who waits while there is no room is told that all is well. */
#include <sched.h>
#include <stdio.h>
#include <unistd.h>

#include "lib/test.h"

#include "core/random.h"
#include "lib/fault_line.h"
#include "lib/simulated_disk.h"
#include "store/store.h"

enum { KEYS = 64, ROUNDS = 100, VALUE_BYTES = 2000, PUTS_MAX = 1000000, HANG_S = 300 };

struct run {
    struct simulated_disk disk;
    struct tarn_options options;
    struct tarn *store;
    struct tarn_session *session;
    uint64_t random;
    unsigned next;   /* number of the next put */
    unsigned unsure; /* a put of which it is not known whether it is kept; 0: none */
    unsigned unsure_key;
    unsigned kept[KEYS]; /* the last acknowledged put of each key; 0: none */
};

static uint64_t points;

static struct tarn_bytes key_of(unsigned key, char text[8])
{
    return (struct tarn_bytes){text, (size_t)snprintf(text, 8, "%u", key)};
}

static struct tarn_bytes value_of(unsigned number, unsigned char space[VALUE_BYTES])
{
    memset(space, (int)(number % 251), VALUE_BYTES);
    memcpy(space, &number, sizeof number);
    return (struct tarn_bytes){space, sizeof number + number % (VALUE_BYTES - sizeof number)};
}

static void open_store(struct run *r)
{
    struct tarn_error error;
    int status = store_open(&r->disk.os, &r->options, &r->store, &error);
    if (status == TARN_NOSPACE) { /* said so, and everything is as it was */
        disk_limit(&r->disk, 0);
        status = store_open(&r->disk.os, &r->options, &r->store, &error);
    }
    if (status != TARN_OK)
        fail_msg("%s", error.text);
    assert_int_equal(tarn_session_open(r->store, &r->session, &error), TARN_OK);
}

static void close_store(struct run *r)
{
    tarn_session_close(r->session);
    tarn_close(r->store);
}

/* TARN_OK, NOSPACE (nothing was changed) or UNSURE: seen by all, and kept if a later one is. */
static int put(struct run *r)
{
    char text[8];
    unsigned char space[VALUE_BYTES];
    unsigned number = ++r->next, key = (unsigned)random_below(random_next(&r->random), KEYS);
    int status = tarn_put(r->session, key_of(key, text), value_of(number, space), 0);
    tarn_quiescent(r->session);
    if (status == TARN_OK) {
        if (r->unsure != 0)
            r->kept[r->unsure_key] = r->unsure;
        r->unsure = 0;
        r->kept[key] = number;
    } else if (status == TARN_UNSURE && r->unsure == 0) {
        r->unsure = number;
        r->unsure_key = key;
    } else if (status != TARN_NOSPACE) {
        fail_msg("put %u: status %d", number, status);
    }
    return status;
}

static bool is(struct tarn_bytes value, unsigned number)
{
    unsigned char space[VALUE_BYTES];
    return bytes_equal(value, value_of(number, space));
}

/* reopened: what is not known may be gone. */
static void check_all(struct run *r, bool reopened)
{
    if (reopened && r->unsure != 0) {
        char text[8];
        struct tarn_bytes value;
        if (tarn_get(r->session, key_of(r->unsure_key, text), &value) == TARN_OK &&
            is(value, r->unsure))
            r->kept[r->unsure_key] = r->unsure;
        r->unsure = 0;
    }
    for (unsigned key = 0; key < KEYS; key++) {
        char text[8];
        struct tarn_bytes value;
        int status = tarn_get(r->session, key_of(key, text), &value);
        unsigned number = r->unsure != 0 && r->unsure_key == key ? r->unsure : r->kept[key];
        bool untold = r->unsure != 0 && r->options.dial.durability == TARN_DURABILITY_COMMIT;
        if (status == TARN_UNSURE && untold)
            continue; /* nobody is told of what may still be lost, nor of its shard's others */
        if (number == 0)
            assert_int_equal(status, TARN_NOTFOUND);
        else if (status != TARN_OK || !is(value, number))
            fail_msg("key %u: status %d, put %u is not there", key, status, number);
    }
    tarn_quiescent(r->session);
}

static void fill(struct run *r)
{
    disk_limit(&r->disk, disk_used(&r->disk) + random_below(random_next(&r->random), 200000));
    for (unsigned i = 0; put(r) == TARN_OK; i++)
        if (i == PUTS_MAX)
            fail_msg("the disk is full and nobody says so");
}

static void checkpoint(struct run *r, bool full)
{
    struct tarn_error error;
    tarn_offline(r->session);
    int status = tarn_checkpoint(r->store, &error);
    tarn_online(r->session);
    if (full)
        assert_true(status == TARN_OK || status == TARN_NOSPACE || status == TARN_UNSURE);
    else if (status != TARN_OK)
        fail_msg("%s", error.text);
}

static void make_room(struct run *r)
{
    disk_limit(&r->disk, 0);
    while (put(r) != TARN_OK)
        sched_yield(); /* by itself, and soon: else the alarm */
}

static void open_again(struct run *r, bool killed)
{
    if (killed)
        disk_stop(&r->disk);
    close_store(r);
    if (killed)
        disk_restart(&r->disk, DISK_KILLED, 1);
    open_store(r);
}

/* What async may lose is not asked for: it is closed when there is room. */
static void round_of(struct run *r, unsigned round)
{
    bool loses = r->options.dial.durability == TARN_DURABILITY_ASYNC;
    fill(r);
    check_all(r, false);
    if (round % 5 == 1)
        checkpoint(r, true);
    check_all(r, false);
    if (round % 10 == 7 && !loses) { /* while it is full */
        open_again(r, round % 20 == 7);
        check_all(r, true);
    }
    make_room(r);
    if (round % 5 == 3)
        checkpoint(r, false);
    if (round % 10 == 7 && loses)
        open_again(r, false);
    check_all(r, false);
    points++;
}

static void rounds(enum tarn_durability durability, unsigned files)
{
    static struct run r;
    r = (struct run){.random = durability * 10 + files,
                     .options = {.directory = "/db",
                                 .log_files = files,
                                 .dial = {.durability = durability,
                                          .period_us = 1000,
                                          .log_format = (enum tarn_log_format)(durability % 3)}}};
    disk_init(&r.disk, 1);
    alarm(HANG_S);
    open_store(&r);
    for (unsigned round = 0; round < ROUNDS / TEST_SLOWER; round++)
        round_of(&r, round);
    open_again(&r, false);
    check_all(&r, true);
    close_store(&r);
    alarm(0);
    disk_done(&r.disk);
}

static void test_async(void **state)
{
    (void)state;
    rounds(TARN_DURABILITY_ASYNC, 1);
}

static void test_periodic(void **state)
{
    (void)state;
    rounds(TARN_DURABILITY_PERIODIC, 2);
}

static void test_commit(void **state)
{
    (void)state;
    rounds(TARN_DURABILITY_COMMIT, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_async),
        cmocka_unit_test(test_periodic),
        cmocka_unit_test(test_commit),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    fault_line("disk full and freed", points, (uint64_t)failed, 0);
    return failed;
}
