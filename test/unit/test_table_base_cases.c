/* Goal: where a base cannot be read, or memory is short, the answer says so and nothing else
 * suffers. Method: a base of a few records, small, large and empty; each call while it cannot be
 * read; a cap that has no room for what is read; each allocation in turn failing.
 *
 * Bugs planted once to see it fail: a failing look-up taken for an absent key (alone, in a batch,
 * in a change); a lent value freed before the quiescent state; a lent value that cannot be pinned;
 * room asked for what is there already. */
#include "lib/test.h"

#include <stdlib.h>
#include <string.h>

#include "lib/fake_base.h"
#include "lib/fault_malloc.h"
#include "lib/table_rounds.h"
#include "table/base.h"

enum { KEYS = 12, LARGE_BYTES = 100000 };

static struct table_fixture fixture;
static struct fake_base base;
static struct tarn_record records[KEYS], sorted[KEYS];
static char texts[KEYS + 1][24];
static struct tarn_bytes absent;
static unsigned char bytes[LARGE_BYTES + 256];

/* Key i has a value of its own size, beginning at bytes[i]. */
static void open_with(bool stays)
{
    static const size_t sizes[KEYS] = {0,     1,     100,   700,   1500,  5000,
                                       16384, 20000, 40000, 60000, 80000, LARGE_BYTES};
    uint64_t from = 0;
    rounds_open(&fixture, 0, TARN_EVICT_NOTHING);
    for (size_t i = 0; i < KEYS; i++)
        records[i] = (struct tarn_record){
            fixture_key(fixture.table, 3, &from, texts[i]), {bytes + i, sizes[i]}, 0};
    records[KEYS - 1].key = (struct tarn_bytes){bytes, 300}; /* a dead item of a size of its own */
    absent = fixture_key(fixture.table, 3, &from, texts[KEYS]);
    memcpy(sorted, records, sizeof records);
    fake_base_set(&base, &fixture, sorted, KEYS, stays);
}

static void check_all(void)
{
    struct tarn_record record;
    for (size_t i = 0; i < KEYS; i++) {
        assert_int_equal(table_get(fixture.session, records[i].key, &record), TARN_OK);
        assert_non_null(record.value.data);
        assert_true(bytes_equal(record.value, records[i].value));
    }
    assert_int_equal(table_get(fixture.session, absent, &record), TARN_NOTFOUND);
}

/* --- what cannot be read --- */

static enum tarn_verdict never(void *context, struct tarn_update *update)
{
    (void)context;
    (void)update;
    fail_msg("asked about a key that cannot be read");
    return TARN_KEEP;
}

static bool never_if(void *context, const struct tarn_record *present)
{
    (void)context;
    (void)present;
    fail_msg("asked about a key that cannot be read");
    return false;
}

static void check_reading_fails(struct tarn_bytes key, int status)
{
    struct table_session *s = fixture.session;
    const struct tarn_bytes keys[] = {key, records[0].key, key};
    struct tarn_bytes values[3];
    struct tarn_record record;
    struct table_about about;
    assert_int_equal(table_get(s, key, &record), status);
    assert_int_equal(table_about(s, key, &about), status);
    for (int i = 0; i < 2; i++) {
        size_t found =
            i == 0 ? table_get_many(s, keys, 3, values) : table_get_together(s, keys, 3, values);
        assert_int_equal(found, 1);
        assert_true(values[0].data == NULL && (int)values[0].size == status);
        assert_true(values[1].data != NULL && values[1].size == 3);
        assert_true(values[2].data == NULL && (int)values[2].size == status);
    }
}

static void check_changing_fails(struct tarn_bytes key, int status)
{
    struct table_session *s = fixture.session;
    const struct tarn_record past = {key, {"x", 1}, 1}, put = {key, {"x", 1}, 0};
    const struct tarn_record both[] = {{records[0].key, {"other", 5}, 0}, past};
    struct table_watch *watch;
    assert_int_equal(table_delete(s, key), status);
    assert_int_equal(table_update(s, key, never, NULL), status);
    assert_int_equal(table_put_if(s, &put, never_if, NULL), status);
    assert_int_equal(table_put(s, &past), status);
    assert_int_equal(table_put_many(s, both, 2), status);
    assert_int_equal(table_watch_open(s, key, &watch), status);
    for (unsigned flags = 0; flags < 4; flags++) {
        assert_int_equal(table_copy(s, key, records[0].key, flags), status);
        assert_int_equal(table_copy(s, records[0].key, key, flags), status);
    }
    assert_int_equal(table_copy(s, key, key, 0), status);
}

/* The first key is the table's own by now, and goes on; also one that is put. */
static void check_others(void)
{
    struct table_session *s = fixture.session;
    const struct tarn_record put = {records[1].key, {"new", 3}, 0};
    struct tarn_record record;
    assert_int_equal(table_get(s, records[0].key, &record), TARN_OK);
    assert_true(bytes_equal(record.value, bytes_of("own")));
    assert_int_equal(table_put(s, &put), TARN_OK);
    assert_int_equal(table_get(s, put.key, &record), TARN_OK);
    assert_int_equal(table_delete(s, put.key), TARN_OK);
    assert_int_equal(table_get(s, put.key, &record), TARN_NOTFOUND); /* though the base has it */
    assert_int_equal(table_delete(s, put.key), TARN_NOTFOUND);
    assert_int_equal(table_put(s, &records[1]), TARN_OK);
}

static void check_failing(int status)
{
    static const struct tarn_bytes own = {"own", 3};
    const struct tarn_record put = {records[0].key, own, 0};
    assert_int_equal(table_put(fixture.session, &put), TARN_OK);
    atomic_store(&base.fails, status);
    for (size_t i = 2; i < KEYS; i++) {
        check_reading_fails(records[i].key, status);
        check_changing_fails(records[i].key, status);
    }
    check_reading_fails(absent, status); /* nobody knows */
    table_begin(fixture.session, &records[5].key, 1);
    check_reading_fails(records[5].key, status);
    check_changing_fails(records[5].key, status);
    table_end(fixture.session);
    check_others();
    atomic_store(&base.fails, TARN_OK);
    assert_int_equal(table_put(fixture.session, &records[0]), TARN_OK);
    check_all();
}

static void cannot_be_read(void **state)
{
    (void)state;
    static const int statuses[] = {TARN_IO, TARN_CORRUPT, TARN_NOMEM};
    for (size_t i = 0; i < 3; i++)
        for (int stays = 0; stays < 2; stays++) {
            open_with(stays != 0);
            check_failing(statuses[i]);
            fixture_close(&fixture);
        }
}

/* --- no room --- */

/* Nothing more can be taken in. */
static void close_the_cap(void)
{
    table_limit(fixture.table, table_memory_used(fixture.table), TARN_EVICT_NOTHING);
}

static void check_changes_are_refused(size_t i)
{
    struct table_session *s = fixture.session;
    assert_int_equal(table_update(s, records[i].key, never, NULL), TARN_FULL);
    assert_int_equal(table_delete(s, records[i].key), TARN_FULL);
    assert_int_equal(table_adopt(s, &records[i], 1), TARN_FULL);
}

static void lent(void **state)
{
    (void)state;
    struct tarn_bytes keys[KEYS], values[KEYS];
    struct item_large *pins[KEYS] = {NULL};
    open_with(false);
    for (size_t i = 0; i < KEYS; i++)
        keys[i] = records[i].key;
    close_the_cap();
    uint64_t used = table_memory_used(fixture.table);
    for (int round = 0; round < 3; round++) {
        check_all(); /* and what was lent before is not disturbed */
        assert_int_equal(round == 0 ? table_get_many(fixture.session, keys, KEYS, values)
                                    : table_get_together(fixture.session, keys, KEYS, values),
                         KEYS);
        for (size_t i = 6; i < KEYS; i++)
            check_changes_are_refused(i);
        for (size_t i = 0; i < KEYS; i++)
            if (values[i].size >= TARN_PIN_BYTES_MIN)
                pins[i] = table_pin(values[i]);
            else
                assert_true(bytes_equal(values[i], records[i].value));
        rounds_settle(&fixture);
        for (size_t i = 0; i < KEYS; i++) {
            if (pins[i] != NULL)
                assert_true(bytes_equal(values[i], records[i].value));
            table_unpin(pins[i]);
            pins[i] = NULL;
        }
        rounds_settle(&fixture);
        assert_true(table_memory_used(fixture.table) == used); /* what was lent is back */
    }
    table_limit(fixture.table, 0, TARN_EVICT_NOTHING);
    check_all();
    uint64_t asked = atomic_load(&base.asked);
    check_all(); /* taken in now, but for the one that is not there */
    assert_int_equal(atomic_load(&base.asked), asked + 1);
    fixture_close(&fixture);
}

/* What readers have taken in needs no room when the rest is taken in. */
static void done_without_room(void **state)
{
    (void)state;
    open_with(false);
    check_all();
    close_the_cap();
    for (uint32_t shard = 0; shard < TABLE_SHARDS; shard++)
        assert_int_equal(fake_base_take_in(&base, fixture.session, shard), TARN_OK);
    fake_base_forget(&base);
    check_all();
    assert_int_equal(rounds_stats(&fixture).keys, KEYS);
    fixture_close(&fixture);
}

/* With no room for a dead item what was there is one itself: its value goes when it is replaced. */
static void dead_without_room(void **state)
{
    (void)state;
    struct tarn_record record;
    struct tarn_bytes held[KEYS];
    open_with(false);
    check_all();
    for (int round = 0; round < 2; round++) {
        close_the_cap();
        for (size_t i = 0; i < KEYS; i++) {
            assert_int_equal(table_get(fixture.session, records[i].key, &record), TARN_OK);
            held[i] = record.value;
            assert_int_equal(table_delete(fixture.session, records[i].key), TARN_OK);
            assert_int_equal(table_get(fixture.session, records[i].key, &record), TARN_NOTFOUND);
            assert_int_equal(table_delete(fixture.session, records[i].key), TARN_NOTFOUND);
        }
        for (size_t i = 0; i < KEYS; i++)
            assert_true(bytes_equal(held[i], records[i].value));
        rounds_settle(&fixture);
        assert_true(rounds_stats(&fixture).item_bytes >= LARGE_BYTES);
        table_limit(fixture.table, 0, TARN_EVICT_NOTHING);
        for (size_t i = 0; i < KEYS; i++)
            assert_int_equal(table_put(fixture.session, &records[i]), TARN_OK);
        check_all();
        rounds_settle(&fixture);
    }
    for (uint32_t shard = 0; shard < TABLE_SHARDS; shard++)
        assert_int_equal(fake_base_take_in(&base, fixture.session, shard), TARN_OK);
    check_all();
    assert_int_equal(rounds_stats(&fixture).keys, KEYS);
    assert_int_equal(table_flush(fixture.session), TARN_OK);
    rounds_settle(&fixture);
    assert_int_equal(rounds_stats(&fixture).item_bytes, 0);
    fixture_close(&fixture);
}

/* --- moved --- */

enum { MANY = 64000 / TEST_SLOWER };

static struct tarn_record many[MANY];
static char many_texts[MANY][24];

/* Of eight one is kept as the base has it, three are put in again, four stay taken out. */
static struct tarn_bytes many_value(size_t i)
{
    static const struct tarn_bytes again = {"again", 5};
    struct tarn_bytes first = {bytes + i % 256, 200};
    return i % 8 == 0 ? first : i % 8 < 4 ? again : (struct tarn_bytes){NULL, 0};
}

/* How many of those that are kept are elsewhere than they were. */
static size_t check_many(const void **places)
{
    size_t moved = 0;
    for (size_t k = 0; k < MANY; k++) { /* as sorted by the base */
        struct tarn_record record = {.value = {NULL, 0}};
        size_t i = strtoul((const char *)many[k].key.data + 4, NULL, 10);
        struct tarn_bytes value = many_value(i);
        int status = table_get(fixture.session, many[k].key, &record);
        assert_int_equal(status, value.data != NULL ? TARN_OK : TARN_NOTFOUND);
        assert_true(bytes_equal(record.value, value));
        moved += i % 8 == 0 && places[k] != record.value.data;
        places[k] = record.value.data;
    }
    return moved;
}

/* What compaction moves covers what it did, and what is dead stays dead. */
static void moved(void **state)
{
    (void)state;
    static const void *places[MANY];
    rounds_open(&fixture, 0, TARN_EVICT_NOTHING);
    for (size_t i = 0; i < MANY; i++)
        many[i] = (struct tarn_record){rounds_key(i, many_texts[i]), {bytes + i % 256, 200}, 0};
    fake_base_set(&base, &fixture, many, MANY, false);
    for (int pass = 0; pass < 2; pass++)
        for (size_t k = 0; k < MANY; k++) {
            size_t i = strtoul((const char *)many[k].key.data + 4, NULL, 10);
            const struct tarn_record again = {many[k].key, many_value(i), 0};
            struct tarn_record record;
            if (pass == 0)
                assert_int_equal(i % 8 == 0 ? table_get(fixture.session, many[k].key, &record)
                                            : table_delete(fixture.session, many[k].key),
                                 TARN_OK);
            else if (i % 8 != 0 && again.value.data != NULL)
                assert_int_equal(table_put(fixture.session, &again), TARN_OK);
        }
    (void)check_many(places);
    rounds_settle(&fixture);
    assert_true(TEST_SLOWER > 1 || check_many(places) > MANY / 100);
    (void)check_many(places);
    for (size_t k = 0; k < MANY; k++) { /* these covered when they were moved, too */
        size_t i = strtoul((const char *)many[k].key.data + 4, NULL, 10);
        if (i % 8 == 0) {
            const struct tarn_record first = {many[k].key, many_value(i), 0};
            struct tarn_record gone;
            assert_int_equal(table_delete(fixture.session, first.key), TARN_OK);
            assert_int_equal(table_get(fixture.session, first.key, &gone), TARN_NOTFOUND);
            assert_int_equal(table_put(fixture.session, &first), TARN_OK);
        }
    }
    for (uint32_t shard = 0; shard < TABLE_SHARDS; shard++)
        assert_int_equal(fake_base_take_in(&base, fixture.session, shard), TARN_OK);
    fake_base_forget(&base);
    (void)check_many(places);
    assert_int_equal(rounds_stats(&fixture).keys, MANY / 2);
    rounds_settle(&fixture);
    (void)check_many(places);
    fixture_close(&fixture);
}

/* --- allocations that fail --- */

static enum tarn_verdict patch(void *context, struct tarn_update *update)
{
    (void)context;
    update->patch = (struct tarn_bytes){bytes, 10};
    update->patch_offset = update->record.value.size;
    return TARN_PATCH;
}

static bool always(void *context, const struct tarn_record *present)
{
    (void)context;
    return present->value.data != NULL;
}

/* Call number n upon key i; what the key has then, if that was TARN_OK, is for check_state(). */
static int call(unsigned n, size_t i)
{
    struct table_session *s = fixture.session;
    const struct tarn_record put = {records[i].key, {"new", 3}, 0};
    struct tarn_bytes values[KEYS], keys[KEYS];
    struct tarn_record record;
    struct table_watch *watch = NULL;
    int status = TARN_OK;
    switch (n) {
    case 0:
        return table_get(s, records[i].key, &record);
    case 1:
        for (size_t k = 0; k < KEYS; k++)
            keys[k] = records[k].key;
        if (table_get_many(s, keys, KEYS, values) < KEYS)
            status = TARN_NOMEM;
        for (size_t k = 0; k < KEYS; k++)
            assert_true(values[k].data != NULL ? bytes_equal(values[k], records[k].value)
                                               : (int)values[k].size == TARN_NOMEM);
        return status;
    case 2:
        return table_put(s, &put);
    case 3:
        return table_delete(s, records[i].key);
    case 4:
        return table_update(s, records[i].key, patch, NULL);
    case 5:
        return table_put_if(s, &put, always, NULL);
    case 6:
        return table_copy(s, records[i].key, absent, TARN_COPY_MOVE);
    case 7:
        status = table_watch_open(s, records[i].key, &watch);
        table_watch_close(watch);
        return status;
    case 8:
        return fake_base_take_in(&base, s, table_place(fixture.table, records[i].key).shard);
    case 9:
        return table_flush(s);
    default:
        table_begin(s, NULL, 0);
        status = table_delete(s, records[i].key);
        table_end(s);
        return status;
    }
}

enum { CALLS = 11 };

/* What there must be of key i after call n. */
static void check_state(unsigned n, size_t i, bool done)
{
    struct tarn_record record, moved;
    int status = table_get(fixture.session, records[i].key, &record);
    bool goes = done && (n == 3 || n == 6 || n == 9 || n == 10);
    assert_int_equal(status, goes ? TARN_NOTFOUND : TARN_OK);
    if (status == TARN_OK && done && (n == 2 || n == 5))
        assert_true(bytes_equal(record.value, bytes_of("new")));
    else if (status == TARN_OK && done && n == 4)
        assert_true(record.value.size == records[i].value.size + 10);
    else if (status == TARN_OK)
        assert_true(bytes_equal(record.value, records[i].value));
    status = table_get(fixture.session, absent, &moved);
    assert_int_equal(status, done && n == 6 ? TARN_OK : TARN_NOTFOUND);
    for (size_t k = 0; k < KEYS && !(done && n == 9); k++)
        if (k != i)
            assert_int_equal(table_get(fixture.session, records[k].key, &moved), TARN_OK);
}

/* Each allocation of a call fails once, then each and all that follow; true: there was one more. */
static bool fail_nth(unsigned n, size_t i, uint64_t nth, bool on)
{
    open_with(i % 2 != 0);
    fault_malloc_arm(nth, on);
    int status = call(n, i);
    bool failed = fault_malloc_disarm() != 0;
    if (status != TARN_OK)
        assert_true(failed && status == TARN_NOMEM);
    check_state(n, i, status == TARN_OK);
    fixture_close(&fixture);
    return failed;
}

static void allocations_fail(void **state)
{
    (void)state;
    static const size_t tried[] = {2, 3, 10, 11};
    for (unsigned n = 0; n < CALLS; n++)
        for (size_t k = 0; k < sizeof tried / sizeof *tried; k++)
            for (int on = 0; on < 2; on++)
                for (uint64_t nth = 1; fail_nth(n, tried[k], nth, on != 0); nth++)
                    assert_true(nth < 200);
}

static void setting_fails(void **state)
{
    (void)state;
    const struct table_base set = {&base, 0, false, fake_base_find};
    rounds_open(&fixture, 0, TARN_EVICT_NOTHING);
    table_session_close(fixture.session);
    uint64_t used = table_memory_used(fixture.table);
    fault_malloc_arm(1, false);
    assert_int_equal(table_base_set(fixture.table, &set), TARN_NOMEM);
    assert_int_equal(fault_malloc_disarm(), 1);
    assert_false(table_base_rests(fixture.table, 0));
    assert_true(table_memory_used(fixture.table) == used);
    assert_int_equal(table_session_open(fixture.table, &fixture.session), TARN_OK);
    fixture_close(&fixture);
}

static int setup(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(i * 31 + i / 251);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cannot_be_read),
        cmocka_unit_test(lent),
        cmocka_unit_test(done_without_room),
        cmocka_unit_test(dead_without_room),
        cmocka_unit_test(moved),
        cmocka_unit_test(allocations_fail),
        cmocka_unit_test(setting_fails),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
