/* Goal: what a table tells its journal, done by another table in that order, makes the same of it;
 * also when it begins from a mixture of moments, as a checkpoint takes it; and nothing happens that
 * was refused. Method: random calls of every kind, small and large values, steps of several keys,
 * time that goes on; every change is kept, with the sequence, and applied to other tables.
 *
 * Bugs planted once to see it fail: a patch told with its offset left out; the source of a move not
 * told; a removal by a time that has passed not told; a patch of an absent key told as a patch; a
 * step told in two; the shard's sequence not noted, that of a flush in one shard only; an expired
 * key replayed by the clock. */
#include "lib/test.h"

#include <stdlib.h>
#include <string.h>

#include "lib/table_fixture.h"
#include "table/journal.h"

enum {
    KEYS = 24,
    LARGE_BYTES = 40000,
    ROUNDS = 60,
    CALLS = 400 / TEST_SLOWER + 100,
    TOLD_MAX = 4096
};

static struct table_fixture original, copy, mixture;
static char texts[KEYS][24];
static struct tarn_bytes keys[KEYS];
static unsigned char bytes[LARGE_BYTES];

static struct {
    struct change changes[TOLD_MAX];
    size_t count;
    uint64_t sequence, steps;
    bool refuses;
} told;

static struct tarn_bytes own(struct tarn_bytes view)
{
    if (view.data == NULL)
        return view;
    char *data = malloc(view.size + 1);
    assert_non_null(data);
    memcpy(data, view.data, view.size);
    return (struct tarn_bytes){data, view.size};
}

static uint64_t append(void *context, const struct change *changes, const uint64_t *shards,
                       size_t count)
{
    (void)context;
    if (told.refuses)
        return 0;
    for (size_t i = 0; i < count; i++) {
        assert_true(told.count < TOLD_MAX && shards[i] < TABLE_SHARDS);
        struct change *c = &told.changes[told.count++];
        *c = changes[i];
        c->key = own(changes[i].key);
        c->value = own(changes[i].value);
    }
    told.steps++;
    return told.sequence += count;
}

static uint64_t failed(void *context)
{
    (void)context;
    return UINT64_MAX;
}

static const struct table_journal journal = {NULL, append, failed};

static void forget(void)
{
    for (size_t i = 0; i < told.count; i++) {
        free((void *)(uintptr_t)told.changes[i].key.data);
        free((void *)(uintptr_t)told.changes[i].value.data);
    }
    told.count = 0;
}

static void hear(bool on)
{
    table_begin(original.session, NULL, 0);
    table_journal_set(original.table, on ? &journal : NULL);
    table_end(original.session);
}

static int setup(void **state)
{
    (void)state;
    fixture_open(&original, 0, TARN_EVICT_NOTHING);
    fixture_open(&copy, 0, TARN_EVICT_NOTHING);
    fixture_open(&mixture, 0, TARN_EVICT_NOTHING);
    uint64_t from = 0;
    for (size_t i = 0; i < KEYS; i++)
        keys[i] = fixture_key(original.table, 8, &from, texts[i]);
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(i * 31 + i / 251);
    memset(&told, 0, sizeof told);
    hear(true);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    forget();
    fixture_close(&mixture);
    fixture_close(&copy);
    fixture_close(&original);
    return 0;
}

/* --- random calls --- */

static struct tarn_bytes any_value(uint64_t *random)
{
    size_t size = pick(random, 8) == 0 ? 16000 + pick(random, 20000) : pick(random, 40);
    return (struct tarn_bytes){bytes + pick(random, LARGE_BYTES - size), size};
}

static int64_t any_expiry(uint64_t *random)
{
    int64_t now_ms = table_now_ms(original.table);
    return pick(random, 3) != 0 ? 0 : now_ms - 5 + (int64_t)pick(random, 200);
}

static enum tarn_verdict any_update(void *context, struct tarn_update *update)
{
    uint64_t *random = context;
    bool there = update->record.value.data != NULL;
    enum tarn_verdict verdict = (enum tarn_verdict)pick(random, TARN_REMOVE + 1);
    update->record.expire_ms = any_expiry(random);
    if (verdict == TARN_STORE)
        update->record.value = any_value(random);
    if (verdict == TARN_EXPIRE && !there)
        return TARN_KEEP;
    update->patch = (struct tarn_bytes){bytes + pick(random, 1000), pick(random, 50)};
    update->patch_offset = pick(random, there ? update->record.value.size + 10 : 10);
    return verdict;
}

static bool any_condition(void *context, const struct tarn_record *present)
{
    (void)present;
    return pick(context, 2) == 0;
}

static void put_several(uint64_t *random)
{
    struct tarn_record records[5];
    size_t count = 1 + pick(random, 5);
    for (size_t i = 0; i < count; i++)
        records[i] =
            (struct tarn_record){keys[pick(random, KEYS)], any_value(random), any_expiry(random)};
    assert_int_equal(table_put_many(original.session, records, count), TARN_OK);
}

static void any_call(uint64_t *random)
{
    struct table_session *s = original.session;
    struct tarn_bytes key = keys[pick(random, KEYS)];
    struct tarn_record record = {key, any_value(random), any_expiry(random)};
    switch (pick(random, 40)) {
    case 0 ... 9:
        assert_int_equal(table_put(s, &record), TARN_OK);
        break;
    case 10 ... 14:
        assert_in_range(table_delete(s, key), TARN_OK, TARN_NOTFOUND);
        break;
    case 15 ... 26:
        assert_int_equal(table_update(s, key, any_update, random), TARN_OK);
        break;
    case 27 ... 29:
        put_several(random);
        break;
    case 30 ... 33: {
        int status = table_copy(s, key, keys[pick(random, KEYS)], (unsigned)pick(random, 4));
        assert_true(status == TARN_OK || status == TARN_NOTFOUND || status == TARN_DUPLICATE);
        break;
    }
    case 34 ... 37: {
        int status = table_put_if(s, &record, any_condition, random);
        assert_true(status == TARN_OK || status == TARN_CANCELLED);
        break;
    }
    case 38:
        if (pick(random, 10) == 0)
            assert_int_equal(table_flush(s), TARN_OK);
        break;
    default:
        fixture_advance_ms(&original, pick(random, 60));
    }
}

static void any_step(uint64_t *random)
{
    table_begin(original.session, NULL, 0);
    uint64_t steps = told.steps, sequence = told.sequence;
    for (uint64_t n = pick(random, 6); n > 0; n--)
        any_call(random);
    assert_true(told.steps == steps); /* nothing is told before the end */
    table_end(original.session);
    assert_true(told.steps <= steps + 1);
    assert_true((told.sequence == sequence) == (told.steps == steps));
}

/* --- doing the same --- */

/* Long after, by a clock that must not matter. */
static void apply(struct table_fixture *f, const struct change *change)
{
    atomic_store(&f->clock_ns, atomic_load(&original.clock_ns) + 3600 * 1000000000ull);
    assert_int_equal(table_apply(f->session, change), TARN_OK);
    fixture_quiescent(f->session);
}

static void assert_same(struct table_fixture *f)
{
    atomic_store(&f->clock_ns, atomic_load(&original.clock_ns));
    table_start_time(f->table);
    for (size_t i = 0; i < KEYS; i++) {
        struct tarn_record theirs, ours;
        int status = table_get(original.session, keys[i], &theirs);
        assert_int_equal(table_get(f->session, keys[i], &ours), status);
        if (status != TARN_OK)
            continue;
        assert_true(bytes_equal(theirs.value, ours.value));
        assert_true(theirs.expire_ms == ours.expire_ms);
    }
    table_stop_time(f->table, 0);
}

static void some_calls(uint64_t *random, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (pick(random, 5) == 0)
            any_step(random);
        else
            any_call(random);
        if (pick(random, 4) == 0) { /* frozen now, if large */
            struct tarn_record record;
            (void)!table_get(original.session, keys[pick(random, KEYS)], &record);
        }
        fixture_quiescent(original.session);
    }
}

static void same_again(void **state)
{
    (void)state;
    uint64_t random = 1;
    table_stop_time(copy.table, 0);
    for (unsigned round = 0; round < ROUNDS; round++) {
        some_calls(&random, CALLS / 4);
        for (size_t i = 0; i < told.count; i++)
            apply(&copy, &told.changes[i]);
        forget();
        assert_same(&copy);
    }
    assert_true(told.sequence > ROUNDS * CALLS / 16);
}

static void take_key(size_t key)
{
    struct tarn_record record;
    if (table_get(copy.session, keys[key], &record) == TARN_OK)
        assert_int_equal(table_put(mixture.session, &record), TARN_OK);
}

/* Each key as it was at some moment of a span; then all that was told in that span. */
static void from_a_mixture(void **state)
{
    (void)state;
    uint64_t random = 2;
    table_stop_time(copy.table, 0);
    table_stop_time(mixture.table, 0);
    for (unsigned round = 0; round < ROUNDS; round++) {
        size_t moments[KEYS];
        some_calls(&random, 40);
        for (size_t i = 0; i < KEYS; i++)
            moments[i] = pick(&random, told.count + 1);
        assert_int_equal(table_flush(mixture.session), TARN_OK);
        for (size_t n = 0; n <= told.count; n++) {
            for (size_t i = 0; i < KEYS; i++)
                if (moments[i] == n)
                    take_key(i);
            if (n < told.count)
                apply(&copy, &told.changes[n]);
        }
        for (size_t n = 0; n < told.count; n++)
            apply(&mixture, &told.changes[n]);
        forget();
        assert_same(&copy);
        assert_same(&mixture);
    }
}

/* Whoever reads a change finds its sequence; nobody who does not want it. */
static void readers_know(void **state)
{
    (void)state;
    struct tarn_record record = {keys[0], {"x", 1}, 0}, seen;
    struct table_session *reader;
    assert_int_equal(table_session_open(original.table, &reader), TARN_OK);
    told.sequence = 100;
    assert_int_equal(table_put(original.session, &record), TARN_OK);
    assert_int_equal(table_session_sequence(original.session), 101);
    assert_int_equal(table_session_sequence(original.session), 0);
    assert_int_equal(table_get(reader, keys[0], &seen), TARN_OK);
    assert_int_equal(table_session_sequence(reader), 0);
    table_readers_wait(original.table, true);
    assert_int_equal(table_get(reader, keys[0], &seen), TARN_OK);
    assert_int_equal(table_session_sequence(reader), 101);
    assert_int_equal(table_delete(original.session, keys[0]), TARN_OK);
    assert_int_equal(table_get(reader, keys[0], &seen), TARN_NOTFOUND); /* which is news, too */
    assert_int_equal(table_session_sequence(reader), 102);
    assert_int_equal(table_delete(reader, keys[0]), TARN_NOTFOUND);
    assert_int_equal(table_session_sequence(reader), 102);
    const struct tarn_record records[] = {{keys[1], {"a", 1}, 0}, {keys[2], {"b", 1}, 0}};
    assert_int_equal(table_put_many(original.session, records, 2), TARN_OK);
    assert_int_equal(table_get(reader, keys[1], &seen), TARN_OK);
    assert_int_equal(table_session_sequence(reader), 104); /* of the whole step */
    assert_int_equal(table_flush(original.session), TARN_OK);
    for (size_t i = 0; i < KEYS; i++) { /* whatever its shard */
        assert_int_equal(table_get(reader, keys[i], &seen), TARN_NOTFOUND);
        assert_int_equal(table_session_sequence(reader), 105);
    }
    table_session_close(reader);
}

static void refused(void **state)
{
    (void)state;
    struct tarn_record record = {keys[0], {bytes, 20000}, 0}, seen;
    assert_int_equal(table_put(original.session, &record), TARN_OK);
    told.refuses = true;
    uint64_t random = 3;
    record.value.size = 3;
    assert_int_equal(table_put(original.session, &record), TARN_NOMEM);
    assert_int_equal(table_delete(original.session, keys[0]), TARN_NOMEM);
    assert_int_equal(table_flush(original.session), TARN_OK); /* a step: it cannot be refused */
    assert_true(table_session_sequence(original.session) == UINT64_MAX);
    told.refuses = false;
    record.value.size = 20000;
    assert_int_equal(table_put(original.session, &record), TARN_OK);
    told.refuses = true;
    for (int i = 0; i < 200; i++) {
        int status = table_update(original.session, keys[0], any_update, &random);
        assert_true(status == TARN_OK || status == TARN_NOMEM);
        assert_int_equal(table_get(original.session, keys[0], &seen), TARN_OK);
        assert_true(seen.value.size == 20000 && seen.expire_ms == 0 &&
                    memcmp(seen.value.data, bytes, 20000) == 0);
        fixture_quiescent(original.session);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(same_again, setup, teardown),
        cmocka_unit_test_setup_teardown(from_a_mixture, setup, teardown),
        cmocka_unit_test_setup_teardown(readers_know, setup, teardown),
        cmocka_unit_test_setup_teardown(refused, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
