/* Goal: whatever is done to a table, it answers what a plain list of records would; several keys
 * change at one moment or not at all; what cannot be done leaves everything as it was.
 * Method: random calls of every kind over keys that crowd a few shards, with a clock that the test
 * moves, each answer compared with the model's, the whole compared now and then, by get, get_many,
 * get_together and scan; then every allocation failed once.
 *
 * Bugs planted once to see it fail: an expired key found by update; patch without zero fill; the
 * expiry lost by a patch; a put over an expired key counted as insert; flush that leaves a shard;
 * KEEP that stores; put_many of one key twice that inserts twice; FULL after a part was published;
 * an expired value shown to a condition; a put whose condition does not hold.
 */
#include "lib/test.h"

#include <stdlib.h>
#include <string.h>

#include "lib/fault_malloc.h"
#include "lib/table_fixture.h"

enum { KEYS = 3000, SHARDS = 8, STEPS = 60000, BATCH = 100, VALUE_MAX = 20000 };

struct known {
    char text[24];
    struct tarn_bytes key;
    unsigned char *value; /* NULL: not there */
    size_t size;
    int64_t expire_ms;
};

static struct table_fixture fixture;
static struct known model[KEYS];

static int setup(void **state)
{
    (void)state;
    uint64_t from = 0;
    fixture_open(&fixture, 0, TARN_EVICT_NOTHING);
    for (size_t i = 0; i < KEYS; i++)
        model[i].key = fixture_key(fixture.table, SHARDS, &from, model[i].text);
    return 0;
}

static void forget(struct known *k)
{
    free(k->value);
    k->value = NULL;
    k->size = 0;
    k->expire_ms = 0;
}

static int teardown(void **state)
{
    (void)state;
    for (size_t i = 0; i < KEYS; i++)
        forget(&model[i]);
    fixture_close(&fixture);
    return 0;
}

static int64_t now_ms(void)
{
    return table_now_ms(fixture.table);
}

/* The model's key as it is now: expired ones go. */
static struct known *present(size_t i)
{
    struct known *k = &model[i];
    if (k->value != NULL && k->expire_ms != 0 && k->expire_ms <= now_ms())
        forget(k);
    return k;
}

static void know(struct known *k, const void *value, size_t size, int64_t expire_ms)
{
    unsigned char *copy = malloc(size + 1);
    if (size > 0)
        memcpy(copy, value, size);
    forget(k);
    if (expire_ms != 0 && expire_ms <= now_ms()) {
        free(copy);
        return;
    }
    k->value = copy;
    k->size = size;
    k->expire_ms = expire_ms;
}

static void assert_value(const struct known *k, struct tarn_bytes value)
{
    assert_true((k->value == NULL) == (value.data == NULL));
    assert_int_equal(k->size, k->value != NULL ? value.size : 0);
    if (k->size > 0)
        assert_memory_equal(k->value, value.data, k->size);
}

/* A value of any size, seldom large; its bytes come from the generator. */
static struct tarn_bytes any_value(uint64_t *random, unsigned char *space)
{
    static const size_t limits[] = {1, 20, 300, 300, 9000, VALUE_MAX};
    size_t size = pick(random, limits[pick(random, pick(random, 20) == 0 ? 6 : 4)]);
    for (size_t i = 0; i < size; i += 8) {
        uint64_t bits = random_next(random);
        memcpy(space + i, &bits, sizeof bits);
    }
    return (struct tarn_bytes){space, size};
}

static int64_t any_expiry(uint64_t *random)
{
    static const int64_t spans[] = {50, 500, 5000, 10000000};
    if (pick(random, 3) != 0)
        return 0;
    int64_t span = spans[pick(random, 4)];
    return now_ms() - 10 + (int64_t)pick(random, (uint64_t)span);
}

/* --- one kind of step each --- */

struct update_plan {
    enum tarn_verdict verdict;
    struct tarn_bytes value;
    size_t offset;
    int64_t expire_ms;
    bool keep_expiry;
    const struct known *expected;
};

static enum tarn_verdict change(void *context, struct tarn_update *update)
{
    const struct update_plan *plan = context;
    assert_value(plan->expected, update->record.value);
    assert_int_equal(update->record.expire_ms, plan->expected->expire_ms);
    assert_true(bytes_equal(update->record.key, plan->expected->key));
    if (plan->verdict == TARN_STORE)
        update->record.value = plan->value;
    update->patch = plan->value;
    update->patch_offset = plan->offset;
    if (!plan->keep_expiry)
        update->record.expire_ms = plan->expire_ms;
    return plan->verdict;
}

static void know_update(struct known *k, const struct update_plan *plan)
{
    int64_t expire_ms = plan->keep_expiry ? k->expire_ms : plan->expire_ms;
    switch (plan->verdict) {
    case TARN_STORE:
        know(k, plan->value.data, plan->value.size, expire_ms);
        break;
    case TARN_PATCH: {
        size_t size =
            plan->offset + plan->value.size > k->size ? plan->offset + plan->value.size : k->size;
        unsigned char *patched = calloc(1, size + 1);
        if (k->size > 0)
            memcpy(patched, k->value, k->size);
        if (plan->value.size > 0)
            memcpy(patched + plan->offset, plan->value.data, plan->value.size);
        know(k, patched, size, expire_ms);
        free(patched);
        break;
    }
    case TARN_EXPIRE:
        if (k->value != NULL) {
            k->expire_ms = expire_ms;
            (void)present((size_t)(k - model));
        }
        break;
    case TARN_REMOVE:
        forget(k);
        break;
    case TARN_KEEP:
    case TARN_PEEK:
        break;
    }
}

static void step_update(uint64_t *random)
{
    static unsigned char space[VALUE_MAX + 8];
    struct known *k = present(pick(random, KEYS));
    struct update_plan plan = {.verdict = (enum tarn_verdict)pick(random, TARN_REMOVE + 1),
                               .value = any_value(random, space),
                               .offset = pick(random, pick(random, 8) == 0 ? 12000 : 40),
                               .expire_ms = any_expiry(random),
                               .keep_expiry = pick(random, 2) == 0,
                               .expected = k};
    assert_int_equal(table_update(fixture.session, k->key, change, &plan), TARN_OK);
    know_update(k, &plan);
}

static void step_put(uint64_t *random)
{
    static unsigned char space[VALUE_MAX + 8];
    struct known *k = present(pick(random, KEYS));
    struct tarn_record record = {k->key, any_value(random, space), any_expiry(random)};
    assert_int_equal(table_put(fixture.session, &record), TARN_OK);
    know(k, record.value.data, record.value.size, record.expire_ms);
}

struct condition_plan {
    bool holds;
    struct tarn_record found; /* out; looked at when the shard is no longer locked */
};

static bool condition(void *context, const struct tarn_record *found)
{
    struct condition_plan *plan = context;
    plan->found = *found;
    return plan->holds;
}

static void step_put_if(uint64_t *random)
{
    static unsigned char space[VALUE_MAX + 8];
    struct known *k = present(pick(random, KEYS));
    struct tarn_record record = {k->key, any_value(random, space), any_expiry(random)};
    struct condition_plan plan = {.holds = pick(random, 3) != 0};
    assert_int_equal(table_put_if(fixture.session, &record, condition, &plan),
                     plan.holds ? TARN_OK : TARN_CANCELLED);
    assert_value(k, plan.found.value);
    assert_int_equal(plan.found.expire_ms, k->expire_ms);
    assert_true(bytes_equal(plan.found.key, k->key));
    if (plan.holds)
        know(k, record.value.data, record.value.size, record.expire_ms);
}

static void step_put_many(uint64_t *random)
{
    static unsigned char spaces[BATCH][VALUE_MAX + 8];
    struct tarn_record records[BATCH] = {0};
    struct known *known[BATCH];
    size_t count = pick(random, BATCH);
    for (size_t i = 0; i < count; i++) { /* some keys come twice */
        known[i] = present(pick(random, pick(random, 2) == 0 ? KEYS : 50));
        records[i] =
            (struct tarn_record){known[i]->key, any_value(random, spaces[i]), any_expiry(random)};
    }
    assert_int_equal(table_put_many(fixture.session, records, count), TARN_OK);
    for (size_t i = 0; i < count; i++)
        know(known[i], records[i].value.data, records[i].value.size, records[i].expire_ms);
}

static void step_delete(uint64_t *random)
{
    struct known *k = present(pick(random, KEYS));
    assert_int_equal(table_delete(fixture.session, k->key), k->value ? TARN_OK : TARN_NOTFOUND);
    forget(k);
}

static void step_get(uint64_t *random)
{
    struct known *k = present(pick(random, KEYS));
    struct tarn_record record;
    int status = table_get(fixture.session, k->key, &record);
    assert_int_equal(status, k->value ? TARN_OK : TARN_NOTFOUND);
    if (status != TARN_OK)
        return;
    assert_value(k, record.value);
    assert_int_equal(record.expire_ms, k->expire_ms);
}

static void step_get_many(uint64_t *random)
{
    struct tarn_bytes keys[BATCH], values[BATCH];
    struct known *known[BATCH];
    size_t count = pick(random, BATCH), there = 0;
    for (size_t i = 0; i < count; i++) {
        known[i] = present(pick(random, KEYS));
        keys[i] = known[i]->key;
        there += known[i]->value != NULL;
    }
    bool together = pick(random, 2) == 0;
    assert_int_equal(
        (together ? table_get_together : table_get_many)(fixture.session, keys, count, values),
        there);
    for (size_t i = 0; i < count; i++)
        assert_value(known[i], values[i]);
}

/* All in a transaction: the shards are locked meanwhile. */
static void step_transaction(uint64_t *random)
{
    struct tarn_bytes keys[BATCH];
    for (size_t i = 0; i < BATCH; i++)
        keys[i] = model[i].key;
    uint64_t inside = *random;
    table_begin(fixture.session, pick(random, 4) == 0 ? NULL : keys, BATCH);
    struct known *k = present(pick(&inside, BATCH)), *l = present(pick(&inside, BATCH));
    struct tarn_record record = {k->key, {"in a transaction", 16}, 0};
    assert_int_equal(table_put(fixture.session, &record), TARN_OK);
    know(k, record.value.data, record.value.size, 0);
    assert_int_equal(table_delete(fixture.session, l->key), l->value ? TARN_OK : TARN_NOTFOUND);
    forget(l);
    struct tarn_bytes values[BATCH];
    (void)table_get_together(fixture.session, keys, BATCH, values);
    for (size_t i = 0; i < BATCH; i++)
        assert_value(present(i), values[i]);
    table_end(fixture.session);
}

/* --- the whole --- */

struct seen {
    size_t count;
    unsigned char times[KEYS];
};

static void see(void *context, struct tarn_bytes key, struct tarn_bytes value)
{
    struct seen *seen = context;
    for (size_t i = 0; i < KEYS; i++)
        if (bytes_equal(model[i].key, key)) {
            assert_value(&model[i], value);
            seen->times[i]++;
            seen->count++;
            return;
        }
    fail_msg("a key that was never put: %.*s", (int)key.size, (const char *)key.data);
}

static void check_all(uint64_t step)
{
    struct seen seen = {0};
    struct tarn_stats stats;
    uint64_t cursor = 0;
    size_t there = 0, expiring = 0;
    do
        table_scan(fixture.session, &cursor, step % 50 + 1, see, &seen);
    while (cursor != 0);
    for (size_t i = 0; i < KEYS; i++) {
        const struct known *k = present(i);
        assert_int_equal(seen.times[i], k->value != NULL);
        there += k->value != NULL;
        expiring += k->value != NULL && k->expire_ms != 0;
    }
    assert_int_equal(seen.count, there);
    table_stats_get(fixture.table, &stats);
    assert_true(stats.keys >= there && stats.expiring >= expiring); /* expired ones may linger */
    assert_int_equal(stats.keys - there, stats.expiring - expiring);
    struct tarn_bytes key = {NULL, 0};
    assert_int_equal(table_random_key(fixture.session, step * 0x9e3779b97f4a7c15u, &key),
                     there > 0 ? TARN_OK : TARN_NOTFOUND);
}

static void step(uint64_t *random)
{
    uint64_t kind = pick(random, 100);
    if (kind < 15)
        step_put(random);
    else if (kind < 25)
        step_put_if(random);
    else if (kind < 50)
        step_update(random);
    else if (kind < 55)
        step_put_many(random);
    else if (kind < 65)
        step_delete(random);
    else if (kind < 85)
        step_get(random);
    else if (kind < 93)
        step_get_many(random);
    else if (kind < 95)
        step_transaction(random);
    else
        fixture_advance_ms(&fixture, pick(random, 40));
    if (kind % 7 == 0)
        fixture_quiescent(fixture.session);
}

static void random_steps(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 2; seed++) {
        uint64_t random = seed;
        for (uint64_t n = 0; n < STEPS / TEST_SLOWER; n++) {
            step(&random);
            if (n % 5000 == 4999)
                check_all(n);
        }
        assert_int_equal(table_flush(fixture.session), TARN_OK);
        for (size_t i = 0; i < KEYS; i++)
            forget(&model[i]);
        check_all(1);
    }
}

/* Trips on: a failed allocation that loses or half stores something, or leaks (ASan). */
static void failing_allocations(void **state)
{
    (void)state;
    struct tarn_record records[BATCH] = {0};
    for (size_t i = 0; i < BATCH; i++)
        records[i] = (struct tarn_record){model[i].key, {"first", 5}, 0};
    assert_int_equal(table_put_many(fixture.session, records, BATCH / 2), TARN_OK);
    static char large[VALUE_MAX];
    uint64_t failures = 0;
    for (uint64_t nth = 1; nth < 500; nth++) {
        struct tarn_bytes values[BATCH];
        for (size_t i = 0; i < BATCH; i++)
            records[i].value = (struct tarn_bytes){large, i % 10 == 0 ? sizeof large : 6};
        fault_malloc_arm(nth, false);
        int status = table_put_many(fixture.session, records, BATCH);
        bool failed = fault_malloc_disarm() != 0;
        size_t found = 0;
        for (size_t i = 0; i < BATCH; i++) {
            struct tarn_record record;
            bool there = table_get(fixture.session, records[i].key, &record) == TARN_OK;
            values[i] = there ? record.value : (struct tarn_bytes){NULL, 0};
            found += there;
        }
        if (status == TARN_OK) {
            assert_int_equal(found, BATCH);
            assert_int_equal(values[BATCH - 1].size, 6);
        } else {
            assert_int_equal(status, TARN_NOMEM);
            assert_true(failed);
            assert_int_equal(found, BATCH / 2);
            for (size_t i = 0; i < BATCH / 2; i++)
                assert_memory_equal(values[i].data, "first", 5);
            failures++;
        }
        if (!failed)
            break;
        assert_int_equal(table_flush(fixture.session), TARN_OK);
        for (size_t i = 0; i < BATCH; i++)
            records[i].value = (struct tarn_bytes){"first", 5};
        assert_int_equal(table_put_many(fixture.session, records, BATCH / 2), TARN_OK);
        fixture_quiescent(fixture.session);
    }
    assert_true(failures >= BATCH / 10);
}

/* Trips on: a limit of key, value or patched size that is off by one, or that changes something. */
static void limits(void **state)
{
    (void)state;
    char *key = malloc(TARN_KEY_BYTES_MAX + 1);
    memset(key, 'k', TARN_KEY_BYTES_MAX + 1);
    struct tarn_record record = {{key, TARN_KEY_BYTES_MAX}, {"v", 1}, 0};
    assert_int_equal(table_put(fixture.session, &record), TARN_OK);
    assert_int_equal(table_get(fixture.session, record.key, &record), TARN_OK);
    assert_int_equal(record.value.size, 1);
    record.key.size++;
    assert_int_equal(table_put(fixture.session, &record), TARN_TOOBIG);
    struct tarn_record empty = {{key, 0}, {"", 0}, 0};
    assert_int_equal(table_put(fixture.session, &empty), TARN_OK);
    assert_int_equal(table_get(fixture.session, empty.key, &empty), TARN_OK);
    assert_true(empty.value.data != NULL && empty.value.size == 0);
    struct known nothing = {.key = {"far", 3}};
    struct update_plan plan = {TARN_PATCH, {"x", 1}, TARN_VALUE_BYTES_MAX, 0, false, &nothing};
    assert_int_equal(table_update(fixture.session, nothing.key, change, &plan), TARN_TOOBIG);
    assert_int_equal(table_get(fixture.session, nothing.key, &record), TARN_NOTFOUND);
    free(key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(random_steps, setup, teardown),
        cmocka_unit_test_setup_teardown(failing_allocations, setup, teardown),
        cmocka_unit_test_setup_teardown(limits, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
