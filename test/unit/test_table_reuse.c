/* Goal: who writes over old values gets the slots of what was replaced, once nobody can see that;
 * what nobody wants is freed, and no slot of a page that is being emptied is used.
 * Method: overwrite, let the background do its rounds, compare addresses of new values with those
 * that were replaced; look at figures, and at every value.
 *
 * Bugs planted once to see it fail: nothing is offered; a slot taken whatever its size; what is
 * ready kept for ever, or while memory is short; a closed session's slots lost; the state of a page
 * not looked at; a batch offered before its grace period. */
#include "lib/test.h"

#include <sched.h>

#include "lib/table_rounds.h"
#include "table/slab_pool.h"

enum { KEYS = 4096, SIZE = 60 };

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

static struct reclaim *background(void)
{
    return fixture.table->reclaim;
}

static void fill(size_t size)
{
    for (uint64_t i = 0; i < KEYS; i++)
        assert_int_equal(rounds_put_number(&fixture, i, size, 0), TARN_OK);
}

static void turn(void)
{
    fixture_quiescent(fixture.session);
    (void)reclaim_round(background());
}

/* Where the key's value lies. */
static uintptr_t address_of(uint64_t i)
{
    char text[24];
    struct tarn_record record;
    assert_int_equal(table_get(fixture.session, rounds_key(i, text), &record), TARN_OK);
    return (uintptr_t)record.value.data;
}

static int by_address(const void *a, const void *b)
{
    uintptr_t left = *(const uintptr_t *)a, right = *(const uintptr_t *)b;
    return left < right ? -1 : left > right;
}

static void note_addresses(uintptr_t addresses[KEYS])
{
    for (uint64_t i = 0; i < KEYS; i++)
        addresses[i] = address_of(i);
    qsort(addresses, KEYS, sizeof addresses[0], by_address);
}

/* How many of the keys' values lie at one of these. */
static unsigned count_at(const uintptr_t addresses[KEYS])
{
    unsigned count = 0;
    for (uint64_t i = 0; i < KEYS; i++) {
        uintptr_t address = address_of(i);
        count += bsearch(&address, addresses, KEYS, sizeof address, by_address) != NULL;
    }
    return count;
}

/* Values of this size are replaced; their slots are ready, and none is free. */
static void make_ready(size_t size, uintptr_t ret_replaced[KEYS])
{
    fill(size);
    note_addresses(ret_replaced);
    fill(size);
    turn();
    assert_true(reuse_bytes(background()) >= KEYS * size / 10 * 9);
}

static void assert_all_right(void)
{
    for (uint64_t i = 0; i < KEYS; i++)
        assert_true(rounds_has(&fixture, i));
    rounds_settle(&fixture);
    assert_int_equal(rounds_stats(&fixture).limbo_bytes, 0);
    assert_in_range(rounds_stats(&fixture).item_bytes, KEYS * SIZE, KEYS * (SIZE + 40));
}

static void slots_come_again(void **state)
{
    (void)state;
    static uintptr_t replaced[KEYS];
    make_ready(SIZE, replaced);
    uint64_t pages = rounds_stats(&fixture).item_bytes;
    fill(SIZE);
    assert_in_range(count_at(replaced), KEYS / 10 * 9, KEYS);
    for (unsigned n = 0; n < 10; n++) {
        turn();
        fill(SIZE);
        assert_true(rounds_stats(&fixture).item_bytes <= pages * 11 / 10);
    }
    assert_all_right();
}

/* As long as the session may look at what was replaced, that stays. */
static void not_while_seen(void **state)
{
    (void)state;
    static uintptr_t replaced[KEYS];
    make_ready(SIZE, replaced);
    fill(SIZE);
    turn();
    note_addresses(replaced);
    fill(SIZE);
    fill(SIZE);
    assert_int_equal(count_at(replaced), 0);
    assert_all_right();
}

static void *round_on(void *unused)
{
    (void)unused;
    (void)reclaim_round(background());
    return NULL;
}

/* Nor as long as another thread may. This one looks; another writes while a round waits. */
static void *write_on(void *stops)
{
    struct table_session *own = fixture.session;
    qsbr_register();
    assert_int_equal(table_session_open(fixture.table, &fixture.session), TARN_OK);
    while (!atomic_load((_Atomic bool *)stops)) {
        fill(SIZE);
        fixture_quiescent(fixture.session);
    }
    table_session_close(fixture.session);
    fixture.session = own;
    qsbr_unregister();
    return NULL;
}

static void not_while_seen_elsewhere(void **state)
{
    (void)state;
    static uintptr_t replaced[KEYS];
    static unsigned char values[KEYS][SIZE];
    _Atomic bool stops = false;
    bool same = true;
    pthread_t writer, round;
    make_ready(SIZE, replaced);
    for (uint64_t i = 0; i < KEYS; i++)
        memcpy(values[i], (const void *)(replaced[i] = address_of(i)), SIZE);
    fill(SIZE);
    table_session_quiescent(fixture.session); /* handed over, but in view */
    assert_int_equal(pthread_create(&round, NULL, round_on, NULL), 0);
    assert_int_equal(pthread_create(&writer, NULL, write_on, &stops), 0);
    for (unsigned n = 0; n < 100; n++) { /* it cannot be seen that nothing will happen */
        for (uint64_t i = 0; i < KEYS; i++)
            same &= memcmp((const void *)replaced[i], values[i], SIZE) == 0;
        sched_yield();
    }
    atomic_store(&stops, true);
    qsbr_offline();
    pthread_join(writer, NULL);
    pthread_join(round, NULL);
    qsbr_online();
    assert_true(same);
    assert_all_right();
}

static void other_sizes(void **state)
{
    (void)state;
    static uintptr_t replaced[KEYS];
    make_ready(SIZE * 2, replaced);
    fill(SIZE); /* needs none of them: they go to be freed ... */
    assert_int_equal(count_at(replaced), 0);
    turn();
    turn();
    assert_true(reuse_bytes(background()) < KEYS * SIZE * 3); /* ... in time */
    make_ready(SIZE, replaced);
    fill(SIZE / 2);
    fill(SIZE);
    assert_all_right();
}

/* Two sizes in turn: each finds its own. */
static void mixed_sizes(void **state)
{
    (void)state;
    uint64_t most = 0;
    for (unsigned n = 0; n < 20; n++) {
        for (uint64_t i = 0; i < KEYS; i++)
            assert_int_equal(rounds_put_number(&fixture, i, i % 2 ? SIZE : SIZE + 16, 0), TARN_OK);
        turn();
        uint64_t bytes = rounds_stats(&fixture).item_bytes;
        assert_true(n < 4 || bytes <= most);
        most = bytes > most ? bytes * 21 / 20 : most;
    }
    assert_all_right();
}

static void nobody_wants_them(void **state)
{
    (void)state;
    static uintptr_t replaced[KEYS];
    make_ready(SIZE, replaced);
    assert_int_equal(rounds_put_number(&fixture, 1, SIZE, 0), TARN_OK); /* takes a batch */
    turn();
    turn();
    turn();
    assert_int_equal(reuse_bytes(background()), 0);
    assert_int_equal(rounds_stats(&fixture).limbo_bytes, 0);
    assert_all_right();
}

static void short_of_memory(void **state)
{
    (void)state;
    static uintptr_t replaced[KEYS];
    make_ready(SIZE, replaced);
    assert_int_equal(rounds_put_number(&fixture, 1, SIZE, 0), TARN_OK); /* wants them */
    atomic_store(&background()->short_bytes, 1000);
    turn();
    assert_int_equal(reuse_bytes(background()), 0);
    assert_all_right();
}

static void closed_session(void **state)
{
    (void)state;
    static uintptr_t replaced[KEYS];
    make_ready(SIZE, replaced);
    fixture_quiescent(fixture.session);
    struct table_session *first = fixture.session;
    assert_int_equal(table_session_open(fixture.table, &fixture.session), TARN_OK);
    assert_int_equal(rounds_put_number(&fixture, 1, SIZE, 0), TARN_OK);
    fixture_quiescent(fixture.session);
    table_session_close(fixture.session);
    fixture.session = first;
    rounds_settle(&fixture);
    assert_int_equal(reuse_bytes(background()), 0);
    assert_all_right();
}

static void pages_being_emptied(void **state)
{
    (void)state;
    static uintptr_t replaced[KEYS];
    struct slab *slab = fixture.table->slab;
    struct slab_page *pages[64];
    unsigned count = 0;
    static void *held[KEYS]; /* beside each item: free again, they are room for items */
    for (uint64_t i = 0; i < KEYS; i++) {
        held[i] = slab_alloc(slab, fixture.session->arena, SIZE + 8);
        assert_non_null(held[i]);
        assert_int_equal(rounds_put_number(&fixture, i, SIZE, 0), TARN_OK);
    }
    make_ready(SIZE, replaced);
    slab_free(slab, held, KEYS);
    while (count < 64 && (pages[count] = slab_evacuate(slab, SLAB_ANY_ARENA, 100)) != NULL)
        count++;
    assert_true(count > 0);
    fill(SIZE);
    for (uint64_t i = 0; i < KEYS; i++)
        for (unsigned n = 0; n < count; n++)
            assert_ptr_not_equal(page_of((const void *)address_of(i)), pages[n]);
    while (count > 0)
        slab_evacuate_end(slab, pages[--count]);
    assert_all_right();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(slots_come_again, setup, teardown),
        cmocka_unit_test_setup_teardown(not_while_seen, setup, teardown),
        cmocka_unit_test_setup_teardown(not_while_seen_elsewhere, setup, teardown),
        cmocka_unit_test_setup_teardown(other_sizes, setup, teardown),
        cmocka_unit_test_setup_teardown(mixed_sizes, setup, teardown),
        cmocka_unit_test_setup_teardown(nobody_wants_them, setup, teardown),
        cmocka_unit_test_setup_teardown(short_of_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(closed_session, setup, teardown),
        cmocka_unit_test_setup_teardown(pages_being_emptied, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
