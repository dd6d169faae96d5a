/* Goal: what is retired is freed, all of it, once, and only when nobody can see it; retiring never
 * fails; the thread wakes when there is something to do.
 * Method: rounds made by the test, figures before and after; a reader that stays online while a
 * round waits for it; many sessions that retire little each; every allocation failed once; and with
 * the thread running, waits that end only if it does its part.
 *
 * Bugs planted once to see it fail: no grace period; a batch handed over whole for each item;
 * items of a flushed array left; handing over without waking; sleeping on when the first key that
 * expires comes. */
#include "lib/test.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "lib/fault_malloc.h"
#include "lib/table_rounds.h"

static struct table_fixture fixture;

static int setup(void **state)
{
    (void)state;
    rounds_open(&fixture, 0, TARN_EVICT_NOTHING);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fixture_close(&fixture);
    return 0;
}

static int delete_number(uint64_t i)
{
    char text[24];
    return table_delete(fixture.session, rounds_key(i, text));
}

static void fill(uint64_t from, uint64_t to, size_t size)
{
    for (uint64_t i = from; i < to; i++)
        assert_int_equal(rounds_put_number(&fixture, i, size, 0), TARN_OK);
}

/* Deleted, replaced, rebuilt: all comes back. */
static void all_comes_back(void **state)
{
    (void)state;
    enum { KEYS = 50000 / TEST_SLOWER };
    rounds_settle(&fixture);
    uint64_t used = budget_used(&fixture.table->budget);
    fill(0, KEYS, 100);
    fill(0, KEYS, 120);
    fill(0, 20, 30000);
    struct tarn_stats stats = rounds_stats(&fixture);
    assert_true(stats.limbo_bytes > KEYS * 50);
    uint64_t items = stats.item_bytes;
    rounds_settle(&fixture);
    stats = rounds_stats(&fixture);
    assert_int_equal(stats.limbo_bytes, 0);
    assert_true(stats.item_bytes < items * 6 / 10 + 20 * 30000);
    for (uint64_t i = 0; i < KEYS; i++)
        assert_int_equal(delete_number(i), TARN_OK);
    rounds_settle(&fixture);
    assert_int_equal(rounds_stats(&fixture).item_bytes, 0);
    assert_int_equal(table_flush(fixture.session), TARN_OK);
    rounds_settle(&fixture);
    assert_int_equal(rounds_stats(&fixture).limbo_bytes, 0);
    /* But for what the slab knows of its chunks. */
    assert_in_range(budget_used(&fixture.table->budget), used - 4096, used + 65536);
}

static void flushed_items(void **state)
{
    (void)state;
    enum { KEYS = 100000 / TEST_SLOWER };
    fill(0, KEYS, 100);
    fill(KEYS, KEYS + 10, 50000);
    rounds_settle(&fixture);
    uint64_t items = rounds_stats(&fixture).item_bytes;
    assert_int_equal(table_flush(fixture.session), TARN_OK);
    fixture_quiescent(fixture.session);
    /* Their bytes are told before they are free, at about their mean. */
    assert_in_range(rounds_stats(&fixture).limbo_bytes, items, items * 2);
    fill(0, 100, 100);
    unsigned rounds = 1;
    while (reclaim_round(fixture.table->reclaim))
        rounds++;
    assert_true(TEST_SLOWER > 1 || rounds > 1); /* in bounded parts */
    assert_int_equal(rounds_stats(&fixture).limbo_bytes, 0);
    assert_int_equal(rounds_stats(&fixture).keys, 100);
    assert_in_range(rounds_stats(&fixture).item_bytes, 100 * 100, 100 * 130);
}

/* A turn that retires one thing does not cost a batch. */
static void little_at_a_time(void **state)
{
    (void)state;
    fill(0, 10, 50);
    fixture_quiescent(fixture.session);
    uint64_t before = atomic_load(&fixture.table->reclaim->limbo.batch_bytes);
    for (unsigned turn = 0; turn < 2560; turn++) {
        fill(turn % 10, turn % 10 + 1, 50);
        fixture_quiescent(fixture.session);
    }
    uint64_t after = atomic_load(&fixture.table->reclaim->limbo.batch_bytes);
    assert_in_range(after - before, 0, 12 * (sizeof(struct retired) + 256 * sizeof(uintptr_t)));
    rounds_settle(&fixture);
    assert_in_range(rounds_stats(&fixture).item_bytes, 10 * 50, 10 * 80);
}

/* --- the grace period --- */

struct onlooker {
    _Atomic bool looks, done, wrong;
    pthread_barrier_t both;
};

static void *look_on(void *argument)
{
    struct onlooker *o = argument;
    struct table_session *s;
    struct tarn_record record;
    char text[24];
    qsbr_register();
    if (table_session_open(fixture.table, &s) != TARN_OK ||
        table_get(s, rounds_key(7, text), &record) != TARN_OK)
        abort();
    pthread_barrier_wait(&o->both); /* it is in view: now it may be deleted */
    unsigned char *value = malloc(record.value.size);
    memcpy(value, record.value.data, record.value.size);
    /* The round has begun and waits for this thread. It cannot be seen waiting; but if it did not,
     * it would be through soon. */
    for (unsigned n = 0; n < 20000 / TEST_SLOWER; n++) {
        if (memcmp(value, record.value.data, record.value.size) != 0 || atomic_load(&o->done))
            atomic_store(&o->wrong, true);
        sched_yield();
    }
    free(value);
    fixture_quiescent(s);
    qsbr_offline();
    qsbr_online();
    table_session_close(s);
    qsbr_unregister();
    return NULL;
}

static void views_hold_rounds_up(void **state)
{
    (void)state;
    struct onlooker o = {0};
    pthread_t thread;
    pthread_barrier_init(&o.both, NULL, 2);
    fill(7, 8, 3000);
    assert_int_equal(pthread_create(&thread, NULL, look_on, &o), 0);
    pthread_barrier_wait(&o.both);
    assert_int_equal(delete_number(7), TARN_OK);
    fixture_quiescent(fixture.session);
    (void)reclaim_round(fixture.table->reclaim);
    atomic_store(&o.done, true);
    pthread_join(thread, NULL);
    pthread_barrier_destroy(&o.both);
    assert_false(atomic_load(&o.wrong));
    assert_int_equal(rounds_stats(&fixture).item_bytes, 0);
}

/* --- failures --- */

static void failing_allocations(void **state)
{
    (void)state;
    enum { KEYS = 3000 };
    for (uint64_t nth = 1; nth < 200; nth++) {
        fill(0, KEYS, 60);
        fixture_quiescent(fixture.session);
        fault_malloc_arm(nth % 7 + 1, nth % 3 == 0);
        uint64_t deleted = 0;
        for (uint64_t i = 0; i < KEYS; i++) {
            int status = delete_number(i);
            assert_true(status == TARN_OK || status == TARN_NOMEM);
            deleted += status == TARN_OK;
        }
        int status = table_flush(fixture.session);
        assert_true(status == TARN_OK || status == TARN_NOMEM);
        (void)fault_malloc_disarm();
        assert_int_equal(rounds_stats(&fixture).keys, status == TARN_OK ? 0 : KEYS - deleted);
        if (nth % 4 == 0)
            rounds_settle(&fixture);
    }
    assert_int_equal(table_flush(fixture.session), TARN_OK);
    rounds_settle(&fixture);
    assert_int_equal(rounds_stats(&fixture).item_bytes, 0);
    assert_int_equal(rounds_stats(&fixture).limbo_bytes, 0);
}

static void opening_fails(void **state)
{
    (void)state;
    for (uint64_t nth = 1;; nth++) {
        struct table *t = NULL;
        struct tarn_error error;
        fault_malloc_arm(nth, false);
        int status = table_open(&fixture.os, 0, TARN_EVICT_NOTHING, &t, &error);
        if (fault_malloc_disarm() == 0) {
            assert_int_equal(status, TARN_OK);
            table_close(t);
            break;
        }
        assert_int_equal(status, TARN_NOMEM);
    }
}

/* Closing with much retired and nothing freed. */
static void closing(void **state)
{
    (void)state;
    fill(0, 5000, 60);
    fill(0, 5000, 70);
    fill(5000, 5010, 50000);
    assert_int_equal(table_flush(fixture.session), TARN_OK);
    fill(0, 5000, 60);
}

/* --- with the thread --- */

/* Until the thread sleeps without end. */
static void await_idle(void)
{
    while (!atomic_load(&fixture.table->reclaim->idle)) {
        fixture_quiescent(fixture.session);
        sched_yield();
    }
}

static void thread_frees(void **state)
{
    (void)state;
    fixture_open(&fixture, 0, TARN_EVICT_NOTHING);
    /* Nothing is retired: at last there is nothing to wait for. */
    qsbr_offline();
    while (table_make_room(fixture.session))
        continue;
    qsbr_online();
    fill(0, 10, 50);
    await_idle();
    assert_int_equal(table_flush(fixture.session), TARN_OK);
    fixture_quiescent(fixture.session);
    qsbr_offline();
    while (rounds_stats(&fixture).item_bytes > 0) /* the tick, at last */
        sched_yield();
    qsbr_online();
    fixture_close(&fixture);
}

static void thread_sweeps(void **state)
{
    (void)state;
    fixture_open(&fixture, 0, TARN_EVICT_NOTHING);
    for (unsigned n = 0; n < 3; n++) {
        await_idle();
        assert_int_equal(rounds_put_number(&fixture, n, 50, table_now_ms(fixture.table) + 1000),
                         TARN_OK);
        fixture_quiescent(fixture.session);
        fixture_advance_ms(&fixture, 1200);
        qsbr_offline();
        while (rounds_stats(&fixture).item_bytes > 0)
            sched_yield();
        qsbr_online();
        assert_int_equal(rounds_stats(&fixture).expired_total, n + 1);
    }
    fixture_close(&fixture);
}

/* Closing while the thread waits for this very thread. */
static void closing_online(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 50; n++) {
        fixture_open(&fixture, 0, TARN_EVICT_NOTHING);
        fill(0, 3000, 50);
        assert_int_equal(table_flush(fixture.session), TARN_OK);
        table_session_close(fixture.session);
        table_close(fixture.table);
        qsbr_unregister();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(all_comes_back, setup, teardown),
        cmocka_unit_test_setup_teardown(flushed_items, setup, teardown),
        cmocka_unit_test_setup_teardown(little_at_a_time, setup, teardown),
        cmocka_unit_test_setup_teardown(views_hold_rounds_up, setup, teardown),
        cmocka_unit_test_setup_teardown(failing_allocations, setup, teardown),
        cmocka_unit_test_setup_teardown(opening_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(closing, setup, teardown),
        cmocka_unit_test(thread_frees),
        cmocka_unit_test(thread_sweeps),
        cmocka_unit_test(closing_online),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
