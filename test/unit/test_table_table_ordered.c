/* Goal: a walk through a shard by the hashes visits each key once, in order, as it was at some
 * moment of the walk; one that is there all the time is visited.
 * Method: many keys in few shards, some expired and some taken out of a base; then with threads
 * that put over some keys without end, and put in and take out others, so that arrays grow and
 * items are displaced.
 *
 * Bugs planted once to see it fail: no sorting; a dead key visited as an empty one; the last slot
 * of each bucket left out; large values not frozen. */
#include "lib/test.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "lib/fake_base.h"
#include "lib/fault_malloc.h"
#include "lib/table_rounds.h"

enum {
    KEYS = 3000,
    SHARDS = 3,
    CHURNED = 1000, /* the first keys: put in and taken out */
    WALKS = TEST_SLOWER > 1 ? 60 : 400,
    LARGE_EVERY = 97,
    LARGE_BYTES = 20000,
};

static struct table_fixture fixture;
static struct fake_base base;
static char texts[KEYS][24];
static struct tarn_bytes keys[KEYS];
static struct tarn_record records[KEYS];
static unsigned char large[LARGE_BYTES];

static void open_with_keys(void)
{
    uint64_t from = 0;
    rounds_open(&fixture, 0, TARN_EVICT_NOTHING);
    for (size_t i = 0; i < KEYS; i++)
        keys[i] = fixture_key(fixture.table, SHARDS, &from, texts[i]);
}

static size_t index_of(struct tarn_bytes key)
{
    size_t from = 0, to = KEYS; /* keys are numbers, rising */
    unsigned long long number = strtoull((const char *)key.data + 1, NULL, 10);
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (strtoull(texts[middle] + 1, NULL, 10) < number)
            from = middle + 1;
        else
            to = middle;
    }
    assert_true(from < KEYS);
    return from;
}

/* --- alone --- */

struct walk {
    uint64_t before;
    size_t visited, stop_at;
    bool seen[KEYS], live[KEYS];
};

static int visit(void *context, uint64_t hash, const struct tarn_record *record)
{
    struct walk *w = context;
    char text[24] = {0};
    assert_true(record->key.size < sizeof text);
    memcpy(text, record->key.data, record->key.size);
    size_t i = index_of((struct tarn_bytes){text, record->key.size});
    assert_true(bytes_equal(record->key, keys[i]) && !w->seen[i]);
    assert_true(hash == fake_base_hash(fixture.table, record->key));
    assert_true(w->visited == 0 || hash > w->before);
    w->before = hash;
    w->seen[i] = true;
    w->live[i] = record->value.data != NULL;
    return ++w->visited == w->stop_at ? TARN_CANCELLED : TARN_OK;
}

static struct walk *walk_all(void)
{
    static struct walk w;
    w = (struct walk){.before = 0};
    for (uint32_t shard = 0; shard < TABLE_SHARDS; shard++)
        assert_int_equal(table_scan_ordered(fixture.session, shard, visit, &w), TARN_OK);
    return &w;
}

/* Of three keys one is empty, one expires, one is large now and then. */
static void put_all(void)
{
    for (size_t i = 0; i < KEYS; i++) {
        struct tarn_record record = {keys[i], {"", 0}, 0};
        if (i % 3 == 1)
            record.expire_ms = FIXTURE_START_MS + 2000;
        if (i % LARGE_EVERY == 0)
            record.value = (struct tarn_bytes){large, sizeof large};
        assert_int_equal(table_put(fixture.session, &record), TARN_OK);
    }
}

static void each_once_in_order(void **state)
{
    (void)state;
    open_with_keys();
    assert_int_equal(walk_all()->visited, 0);
    put_all();
    fixture_advance_ms(&fixture, 3000); /* and nobody has swept */
    struct walk *w = walk_all();
    assert_int_equal(w->visited, KEYS);
    for (size_t i = 0; i < KEYS; i++)
        assert_true(w->live[i] == (i % 3 != 1));
    rounds_settle(&fixture);
    assert_int_equal(walk_all()->visited, KEYS - KEYS / 3);
    fixture_close(&fixture);
}

static void taken_out_of_a_base(void **state)
{
    (void)state;
    open_with_keys();
    for (size_t i = 0; i < KEYS / 2; i++) /* the other half is the table's own */
        records[i] = (struct tarn_record){keys[i], {"base", 4}, 0};
    fake_base_set(&base, &fixture, records, KEYS / 2, true);
    assert_int_equal(walk_all()->visited, 0);
    put_all();
    for (size_t i = 0; i < KEYS; i += 2)
        assert_int_equal(table_delete(fixture.session, keys[i]), TARN_OK);
    struct walk *w = walk_all();
    for (size_t i = 0; i < KEYS; i++) {
        assert_true(w->seen[i] == (i < KEYS / 2 || i % 2 != 0));
        assert_true(w->live[i] == (i % 2 != 0));
    }
    fixture_close(&fixture);
}

static void stops(void **state)
{
    (void)state;
    open_with_keys();
    put_all();
    for (size_t n = 1; n < 100; n += 7) {
        struct walk w = {.stop_at = n};
        assert_int_equal(table_scan_ordered(fixture.session, 0, visit, &w), TARN_CANCELLED);
        assert_int_equal(w.visited, n);
    }
    struct walk w = {.before = 0};
    fault_malloc_arm(1, false);
    assert_int_equal(table_scan_ordered(fixture.session, 0, visit, &w), TARN_NOMEM);
    assert_int_equal(fault_malloc_disarm(), 1);
    assert_int_equal(w.visited, 0);
    fixture_close(&fixture);
}

/* --- among others --- */

static _Atomic bool stop;
static _Atomic uint32_t acknowledged[KEYS]; /* of those that are there all the time: versions */

static struct tarn_bytes version_value(unsigned char *space, size_t i, uint32_t version)
{
    size_t size = i % LARGE_EVERY == 0 ? LARGE_BYTES : 8 + version % 40;
    memset(space, (int)(version & 0xff), size);
    memcpy(space, &version, sizeof version);
    return (struct tarn_bytes){space, size};
}

static enum tarn_verdict patch(void *context, struct tarn_update *update)
{
    update->patch = *(struct tarn_bytes *)context;
    update->patch_offset = 0;
    return TARN_PATCH;
}

static void *put_over(void *argument)
{
    static unsigned char space[LARGE_BYTES];
    uint64_t random = 1;
    struct table_session *s;
    (void)argument;
    qsbr_register();
    if (table_session_open(fixture.table, &s) != TARN_OK)
        abort();
    for (uint32_t version = 2; !atomic_load(&stop); version++) {
        size_t i = CHURNED + pick(&random, KEYS - CHURNED);
        struct tarn_bytes value = version_value(space, i, version);
        struct tarn_record record = {keys[i], value, 0};
        int status = i % LARGE_EVERY == 0 ? table_update(s, keys[i], patch, &value) /* in place */
                                          : table_put(s, &record);
        if (status != TARN_OK)
            abort();
        atomic_store_explicit(&acknowledged[i], version, memory_order_release);
        fixture_quiescent(s);
    }
    table_session_close(s);
    qsbr_unregister();
    return NULL;
}

/* Nearly all are put in, then nearly all taken out, and so on. */
static void *churn(void *argument)
{
    uint64_t random = 2;
    struct table_session *s;
    (void)argument;
    qsbr_register();
    if (table_session_open(fixture.table, &s) != TARN_OK)
        abort();
    for (uint64_t n = 0; !atomic_load(&stop); n++) {
        struct tarn_record record = {keys[pick(&random, CHURNED)], {"there", 5}, 0};
        int status = n / (CHURNED * 4) % 2 == pick(&random, 8) / 7 ? table_put(s, &record)
                                                                   : table_delete(s, record.key);
        if (status != TARN_OK && status != TARN_NOTFOUND)
            abort();
        fixture_quiescent(s);
    }
    table_session_close(s);
    qsbr_unregister();
    return NULL;
}

struct busy_walk {
    struct walk walk;
    uint32_t known[KEYS];
};

static int visit_busy(void *context, uint64_t hash, const struct tarn_record *record)
{
    struct busy_walk *b = context;
    size_t visited = b->walk.visited;
    int status = visit(&b->walk, hash, record);
    char text[24] = {0};
    memcpy(text, record->key.data, record->key.size);
    size_t i = index_of((struct tarn_bytes){text, record->key.size});
    assert_int_equal(b->walk.visited, visited + 1);
    if (i < CHURNED) {
        assert_true(record->value.data == NULL || bytes_equal(record->value, bytes_of("there")));
        return status;
    }
    uint32_t version;
    const unsigned char *value = record->value.data;
    assert_true(value != NULL && record->value.size >= sizeof version);
    memcpy(&version, value, sizeof version);
    assert_true(version >= b->known[i]);
    for (size_t at = sizeof version; at < record->value.size; at++)
        assert_int_equal(value[at], version & 0xff);
    return status;
}

static void walk_busy(struct busy_walk *b)
{
    *b = (struct busy_walk){.walk = {.before = 0}};
    for (size_t i = CHURNED; i < KEYS; i++)
        b->known[i] = atomic_load_explicit(&acknowledged[i], memory_order_acquire);
    for (uint32_t shard = 0; shard < SHARDS; shard++)
        assert_int_equal(table_scan_ordered(fixture.session, shard, visit_busy, b), TARN_OK);
    for (size_t i = CHURNED; i < KEYS; i++)
        assert_true(b->walk.seen[i]);
    fixture_quiescent(fixture.session);
}

static void among_others(void **state)
{
    (void)state;
    static struct busy_walk b;
    static unsigned char space[LARGE_BYTES];
    pthread_t threads[2];
    open_with_keys();
    atomic_store(&stop, false);
    for (size_t i = CHURNED; i < KEYS; i++) {
        struct tarn_record record = {keys[i], version_value(space, i, 1), 0};
        assert_int_equal(table_put(fixture.session, &record), TARN_OK);
        atomic_store(&acknowledged[i], 1);
    }
    assert_int_equal(pthread_create(&threads[0], NULL, put_over, NULL), 0);
    assert_int_equal(pthread_create(&threads[1], NULL, churn, NULL), 0);
    for (unsigned n = 0; n < WALKS; n++) {
        walk_busy(&b);
        if (n % 8 == 0)
            (void)reclaim_round(fixture.table->reclaim);
    }
    atomic_store(&stop, true);
    qsbr_offline();
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    qsbr_online();
    fixture_close(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_once_in_order),
        cmocka_unit_test(taken_out_of_a_base),
        cmocka_unit_test(stops),
        cmocka_unit_test(among_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
