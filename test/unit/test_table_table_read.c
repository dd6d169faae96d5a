/* Goal: with many threads at it, nobody ever sees what was not so: changes of several keys wholly
 * or not at all, reads of several keys as they were at one moment, single reads in an order that
 * goes with everybody's, no update lost, views unchanged until given back. Method: writers stamp
 * groups of keys with rising numbers in one put_many or one transaction; readers compare what they
 * get; counters are incremented by all. Run under ThreadSanitizer too.
 *
 * Bugs planted once to see it fail: no busy mark in table_begin(); versions not compared; versions
 * stepped once per change; update without the lock; large values not frozen before a view of them
 * is given away; a watch notified before it is in the list. */
#include "lib/test.h"

#include <stdlib.h>
#include <string.h>

#include "lib/table_fixture.h"

enum { GROUP = 6, GROUPS = 4, LARGE_BYTES = 20000, COUNTERS = 3 };

static struct table_fixture fixture;
static char texts[GROUPS][GROUP][24];
static struct tarn_bytes keys[GROUPS][GROUP];
static _Atomic unsigned writers_running;
static _Atomic uint64_t violations;

static int setup(void **state)
{
    (void)state;
    uint64_t from = 0;
    fixture_open(&fixture, 0, TARN_EVICT_NOTHING);
    for (size_t g = 0; g < GROUPS; g++)
        for (size_t i = 0; i < GROUP; i++)
            keys[g][i] = fixture_key(fixture.table, TABLE_SHARDS, &from, texts[g][i]);
    atomic_store(&violations, 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fixture_close(&fixture);
    return 0;
}

static struct table_session *session_open(void)
{
    struct table_session *s;
    qsbr_register();
    return table_session_open(fixture.table, &s) == TARN_OK ? s : NULL;
}

static void session_close(struct table_session *s)
{
    table_session_close(s);
    qsbr_unregister();
}

static void violation(const char *what, uint64_t a, uint64_t b)
{
    if (atomic_fetch_add(&violations, 1) == 0)
        fprintf(stderr, "%s: %llu, %llu\n", what, (unsigned long long)a, (unsigned long long)b);
}

/* The stamp in a value of any size: its first and last eight bytes must agree. */
static uint64_t stamp_of(struct tarn_bytes value)
{
    uint64_t first, last;
    if (value.data == NULL)
        return 0;
    memcpy(&first, value.data, sizeof first);
    memcpy(&last, (const char *)value.data + value.size - sizeof last, sizeof last);
    if (first != last)
        violation("a value that was never stored", first, last);
    return first;
}

static void write_group(struct table_session *s, size_t g, uint64_t stamp, unsigned char *space)
{
    struct tarn_record records[GROUP];
    for (size_t i = 0; i < GROUP; i++) {
        size_t size = i == 0 && stamp % 8 == 0 ? LARGE_BYTES : 8 + stamp % 5 * 8;
        unsigned char *value = i == 0 ? space : space + LARGE_BYTES + 64 * i;
        for (size_t at = 0; at < size; at += 8)
            memcpy(value + at, &stamp, 8);
        records[i] = (struct tarn_record){keys[g][i], {value, size}, 0};
    }
    if (stamp % 2 == 0) {
        (void)!table_put_many(s, records, GROUP);
        return;
    }
    table_begin(s, keys[g], GROUP);
    for (size_t i = GROUP; i > 0; i--) /* the other way round */
        (void)!table_put(s, &records[i - 1]);
    table_end(s);
}

static void *stamp_groups(void *argument)
{
    size_t g = (size_t)(uintptr_t)argument;
    struct table_session *s = session_open();
    unsigned char *space = malloc(LARGE_BYTES + 64 * GROUP);
    for (uint64_t stamp = 1; stamp <= 30000 / TEST_SLOWER; stamp++) {
        write_group(s, g, stamp, space);
        fixture_quiescent(s);
    }
    free(space);
    session_close(s);
    atomic_fetch_sub(&writers_running, 1);
    return NULL;
}

static void read_together(struct table_session *s, size_t g)
{
    struct tarn_bytes values[GROUP];
    (void)table_get_together(s, keys[g], GROUP, values);
    uint64_t stamp = stamp_of(values[0]);
    for (size_t i = 1; i < GROUP; i++)
        if (stamp_of(values[i]) != stamp)
            violation("keys of two moments", stamp, stamp_of(values[i]));
}

/* One by one, in either order: later reads are not older. */
static void read_singly(struct table_session *s, size_t g, bool backwards)
{
    uint64_t newest = 0;
    for (size_t i = 0; i < GROUP; i++) {
        struct tarn_record record;
        size_t k = backwards ? GROUP - 1 - i : i;
        if (table_get(s, keys[g][k], &record) != TARN_OK)
            record.value = (struct tarn_bytes){NULL, 0};
        uint64_t stamp = stamp_of(record.value);
        if (stamp < newest)
            violation("an older value after a newer one", newest, stamp);
        newest = stamp;
    }
}

static void read_batch(struct table_session *s, size_t g)
{
    struct tarn_bytes values[GROUP];
    uint64_t newest = 0;
    (void)table_get_many(s, keys[g], GROUP, values);
    for (size_t i = 0; i < GROUP; i++) {
        uint64_t stamp = stamp_of(values[i]);
        if (stamp < newest)
            violation("an older value later in a batch", newest, stamp);
        newest = stamp;
    }
}

static void *read_groups(void *argument)
{
    struct table_session *s = session_open();
    uint64_t random = (uint64_t)(uintptr_t)argument;
    while (atomic_load(&writers_running) > 0) {
        size_t g = pick(&random, GROUPS);
        uint64_t kind = pick(&random, 4);
        if (kind == 0)
            read_together(s, g);
        else if (kind == 1)
            read_batch(s, g);
        else
            read_singly(s, g, kind == 2);
        if (pick(&random, 8) == 0)
            fixture_quiescent(s);
    }
    session_close(s);
    return NULL;
}

static void groups(void **state)
{
    (void)state;
    pthread_t writers[GROUPS], readers[2];
    atomic_store(&writers_running, GROUPS);
    qsbr_offline();
    for (size_t i = 0; i < GROUPS; i++)
        assert_int_equal(pthread_create(&writers[i], NULL, stamp_groups, (void *)i), 0);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&readers[i], NULL, read_groups, (void *)(i + 1)), 0);
    for (size_t i = 0; i < GROUPS; i++)
        pthread_join(writers[i], NULL);
    for (size_t i = 0; i < 2; i++)
        pthread_join(readers[i], NULL);
    qsbr_online();
    assert_int_equal(atomic_load(&violations), 0);
}

/* --- counters, large values, watches ------------------------------------------------------- */

static enum tarn_verdict increment(void *context, struct tarn_update *update)
{
    uint64_t *n = context;
    *n = 0;
    if (update->record.value.data != NULL)
        memcpy(n, update->record.value.data, sizeof *n);
    ++*n;
    update->record.value = (struct tarn_bytes){n, sizeof *n};
    return TARN_STORE;
}

/* Add to the end of a large value, in place where that is allowed. */
static enum tarn_verdict append(void *context, struct tarn_update *update)
{
    size_t size = update->record.value.size;
    memcpy(context, &(uint64_t){size / 8}, 8);
    update->patch = (struct tarn_bytes){context, 8};
    update->patch_offset = size;
    return TARN_PATCH;
}

enum { ROUNDS = 20000, APPENDS = 3000 };

static void *count_and_append(void *argument)
{
    struct table_session *s = session_open();
    uint64_t random = (uint64_t)(uintptr_t)argument;
    for (int n = 0; n < ROUNDS / TEST_SLOWER; n++) {
        uint64_t space;
        (void)!table_update(s, keys[0][n % COUNTERS], increment, &space);
        if (n % (ROUNDS / APPENDS) == 0)
            (void)!table_update(s, keys[1][0], append, &space);
        if (pick(&random, 4) == 0)
            fixture_quiescent(s);
    }
    session_close(s);
    atomic_fetch_sub(&writers_running, 1);
    return NULL;
}

/* Views of the growing value: word i is i, and stays so as long as the view lives. */
static void *read_growing(void *argument)
{
    (void)argument;
    struct table_session *s = session_open();
    size_t newest = 0;
    while (atomic_load(&writers_running) > 0) {
        struct tarn_record record;
        if (table_get(s, keys[1][0], &record) == TARN_OK) {
            if (record.value.size < newest || record.value.size % 8 != 0)
                violation("a value that shrank", newest, record.value.size);
            newest = record.value.size;
            for (size_t at = 0; at < newest; at += 8) {
                uint64_t word;
                memcpy(&word, (const char *)record.value.data + at, 8);
                if (word != at / 8)
                    violation("a view that changed", at / 8, word);
            }
        }
        fixture_quiescent(s);
    }
    session_close(s);
    return NULL;
}

static void counters_and_large_values(void **state)
{
    (void)state;
    pthread_t threads[4];
    atomic_store(&writers_running, 3);
    qsbr_offline();
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count_and_append, (void *)(i + 1)), 0);
    assert_int_equal(pthread_create(&threads[3], NULL, read_growing, NULL), 0);
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    qsbr_online();
    uint64_t sum = 0;
    for (size_t i = 0; i < COUNTERS; i++) {
        struct tarn_record record;
        assert_int_equal(table_get(fixture.session, keys[0][i], &record), TARN_OK);
        uint64_t n;
        memcpy(&n, record.value.data, sizeof n);
        sum += n;
    }
    assert_int_equal(sum, 3 * (ROUNDS / TEST_SLOWER));
    assert_int_equal(atomic_load(&violations), 0);
}

/* Trips on: in-place changes of a value somebody looks at or sends; or none at all, when nobody
 * does. */
static void in_place(void **state)
{
    (void)state;
    static unsigned char large[LARGE_BYTES];
    uint64_t space;
    struct tarn_record record = {keys[1][0], {large, sizeof large}, 0};
    assert_int_equal(table_put(fixture.session, &record), TARN_OK);
    assert_int_equal(table_update(fixture.session, keys[1][0], append, &space), TARN_OK);
    assert_int_equal(table_get(fixture.session, keys[1][0], &record), TARN_OK);
    const void *seen = record.value.data;
    assert_int_equal(record.value.size, LARGE_BYTES + 8);
    struct item_large *pin = table_pin(record.value);
    for (int i = 0; i < 100; i++)
        assert_int_equal(table_update(fixture.session, keys[1][0], append, &space), TARN_OK);
    assert_int_equal(atomic_load(&pin->value_size), LARGE_BYTES + 8);
    struct position position;
    struct place place = table_place(fixture.table, keys[1][0]);
    uint64_t slot =
        shard_find_locked(&fixture.table->shards[place.shard], place.index, keys[1][0], &position);
    const struct item *now = slot_item(slot);
    assert_ptr_not_equal(item_large(now)->data, seen);
    for (int i = 0; i < 100; i++)
        assert_int_equal(table_update(fixture.session, keys[1][0], append, &space), TARN_OK);
    slot =
        shard_find_locked(&fixture.table->shards[place.shard], place.index, keys[1][0], &position);
    assert_ptr_equal(slot_item(slot), now); /* nobody looked: not copied */
    assert_int_equal(item_parts(now).value.size, LARGE_BYTES + 8 + 200 * 8);
    table_unpin(pin);
}

static enum tarn_verdict overwrite(void *context, struct tarn_update *update)
{
    update->patch = (struct tarn_bytes){context, 8};
    return TARN_PATCH;
}

/* Trips on: a view that is not frozen when it is given away, by get, get_many or a scan. */
static void views_stay(void **state)
{
    (void)state;
    static unsigned char large[LARGE_BYTES];
    struct tarn_record record = {keys[1][0], {large, sizeof large}, 0};
    char overwriting[] = "overwrit";
    for (int way = 0; way < 2; way++) {
        struct tarn_bytes view;
        assert_int_equal(table_put(fixture.session, &record), TARN_OK);
        if (way == 0) {
            struct tarn_record seen;
            assert_int_equal(table_get(fixture.session, record.key, &seen), TARN_OK);
            view = seen.value;
        } else {
            assert_int_equal(table_get_many(fixture.session, &record.key, 1, &view), 1);
        }
        assert_int_equal(table_update(fixture.session, record.key, overwrite, overwriting),
                         TARN_OK);
        assert_memory_equal(view.data, large, 8);
    }
}

static void watches(void **state)
{
    (void)state;
    struct table_session *s = fixture.session;
    struct table_watch *watch, *other;
    struct tarn_record record = {keys[0][0], {"12345678", 8}, 0},
                       beside = {keys[0][1], {"1", 1}, 0};
    uint64_t space;
    enum { WAYS = 8 };
    for (int way = 0; way < WAYS; way++) {
        record.expire_ms = way == 5 ? table_now_ms(fixture.table) + 100 : 0;
        assert_int_equal(table_put(s, &record), TARN_OK);
        assert_int_equal(table_watch_open(s, record.key, &watch), TARN_OK);
        assert_int_equal(table_watch_open(s, beside.key, &other), TARN_OK);
        assert_false(table_watch_changed(watch));
        if (way == 0)
            assert_int_equal(table_put(s, &record), TARN_OK);
        else if (way == 1)
            assert_int_equal(table_delete(s, record.key), TARN_OK);
        else if (way == 2)
            assert_int_equal(table_update(s, record.key, increment, &space), TARN_OK);
        else if (way == 3)
            assert_int_equal(table_flush(s), TARN_OK);
        else if (way == 4)
            assert_int_equal(table_put_many(s, &record, 1), TARN_OK);
        else if (way == 5)
            fixture_advance_ms(&fixture, 100);
        else if (way == 6)
            assert_int_equal(table_put(s, &beside), TARN_OK);
        assert_int_equal(table_watch_changed(watch), way < 6);
        assert_int_equal(table_watch_changed(other), way == 6);
        table_watch_close(watch);
        table_watch_close(other);
        assert_int_equal(table_flush(s), TARN_OK);
    }
    /* a key that is not there and comes; one that had expired before it was watched */
    assert_int_equal(table_watch_open(s, record.key, &watch), TARN_OK);
    record.expire_ms = table_now_ms(fixture.table) + 10;
    assert_int_equal(table_put(s, &record), TARN_OK);
    assert_true(table_watch_changed(watch));
    table_watch_close(watch);
    fixture_advance_ms(&fixture, 10);
    assert_int_equal(table_watch_open(s, record.key, &watch), TARN_OK);
    assert_int_equal(table_delete(s, record.key), TARN_NOTFOUND);
    assert_false(table_watch_changed(watch));
    table_watch_close(watch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(groups, setup, teardown),
        cmocka_unit_test_setup_teardown(counters_and_large_values, setup, teardown),
        cmocka_unit_test_setup_teardown(in_place, setup, teardown),
        cmocka_unit_test_setup_teardown(views_stay, setup, teardown),
        cmocka_unit_test_setup_teardown(watches, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
