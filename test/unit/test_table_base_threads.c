/* Goal: while a base's records are taken in, by whom they are read and by a walk through the
 * shards, nobody ever reads what has been replaced or deleted, no key is lost, and the base is not
 * asked after it was forgotten. Method: each key has one writer, who gives it one version after the
 * other; versions tell whether they put or delete. A reader knows which version was acknowledged
 * before it began and which was begun before it ended: what it reads must be one of these, and
 * never older than what it has read before. The look-up in the base lets others go on in its midst.
 * At the end all is as the writers left it, and counted.
 *
 * Bugs planted once to see it fail: a shard done with before its last record is taken in; dead
 * items taken out before the shard is done with; an item put in the place of a covering one that
 * covers nothing; a record taken in without looking, under the lock, whether the key is there, or
 * whether the shard still rests on the base; the base forgotten without waiting; the base asked
 * before the table is looked at; a flush that forgets the base. */
#include "lib/test.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "lib/fake_base.h"
#include "table/base.h"

enum {
    KEYS = 512,
    SHARDS = 16, /* that the keys lie in */
    READERS = 2,
    WRITERS = 2,
    ROUNDS = TEST_SLOWER > 1 ? 4 : 12,
    WRITES = TEST_SLOWER > 1 ? 1000 : 2500, /* of each writer at least; and until all is done */
    BATCH = 16,
    FLUSH_ROUNDS = TEST_SLOWER > 1 ? 10 : 60,
    LARGE_EVERY = 61, /* such a key has large values */
    LARGE_BYTES = 17000,
};

static struct table_fixture fixture;
static struct fake_base base;
static char texts[KEYS][24];
static struct tarn_bytes keys[KEYS];
static struct tarn_record records[KEYS];
static unsigned char *first_values[KEYS];

static _Atomic uint32_t begun[KEYS], acknowledged[KEYS]; /* versions */
static _Atomic unsigned writers_left;
static _Atomic bool all_done, flushed;
static _Atomic uint64_t bad, seen_below, reads;

static bool deletes(uint32_t version)
{
    return version % 3 == 2;
}

/* --- values --- */

struct head {
    uint32_t key, version;
};

static size_t value_size(size_t key, uint32_t version)
{
    return key % LARGE_EVERY == 0 ? LARGE_BYTES : sizeof(struct head) + (key + version) % 90;
}

static struct tarn_bytes value_make(unsigned char *space, size_t key, uint32_t version)
{
    struct head head = {(uint32_t)key, version};
    size_t size = value_size(key, version);
    memset(space, (int)(key + version * 7) & 0xff, size);
    memcpy(space, &head, sizeof head);
    return (struct tarn_bytes){space, size};
}

/* The version that a value is of; a value that is none, or another key's, is bad. */
static uint32_t value_version(size_t key, struct tarn_bytes value)
{
    struct head head = {0, 0};
    const unsigned char *p = value.data;
    if (value.size >= sizeof head)
        memcpy(&head, p, sizeof head);
    bool whole =
        value.size >= sizeof head && head.key == key && !deletes(head.version) &&
        value.size == value_size(key, head.version) &&
        (value.size == sizeof head || p[value.size - 1] == (unsigned char)(key + head.version * 7));
    if (!whole)
        atomic_fetch_add(&bad, 1);
    return head.version;
}

/* --- readers --- */

struct reader {
    struct table_session *s;
    uint64_t random;
    uint32_t known[KEYS]; /* a version that was acknowledged, or read */
};

static void note_known(struct reader *r, size_t key)
{
    uint32_t version = atomic_load_explicit(&acknowledged[key], memory_order_acquire);
    if (version > r->known[key])
        r->known[key] = version;
}

/* It was looked up after the key was known to be of r->known[key]. */
static void check(struct reader *r, size_t key, struct tarn_bytes value)
{
    uint32_t from = r->known[key], to = atomic_load_explicit(&begun[key], memory_order_acquire);
    bool right;
    if (value.data != NULL) {
        uint32_t version = value_version(key, value);
        right = version >= from && version <= to;
        r->known[key] = version;
        if (version == 0)
            atomic_fetch_add_explicit(&seen_below, 1, memory_order_relaxed);
    } else {
        uint32_t deletion = from + (5 - from % 3) % 3; /* the first from `from` on */
        right = value.size == 0 && deletes(deletion) && deletion <= to;
        if (right)
            r->known[key] = deletion;
    }
    if (!right)
        atomic_fetch_add(&bad, 1);
    atomic_fetch_add_explicit(&reads, 1, memory_order_relaxed);
}

static void read_one(struct reader *r)
{
    size_t key = pick(&r->random, KEYS);
    struct tarn_record record = {.value = {NULL, 0}};
    note_known(r, key);
    int status = table_get(r->s, keys[key], &record);
    if (status != TARN_OK)
        record.value = (struct tarn_bytes){NULL, status == TARN_NOTFOUND ? 0 : 1};
    check(r, key, record.value);
}

static void read_several(struct reader *r, bool together)
{
    size_t indexes[BATCH];
    struct tarn_bytes wanted[BATCH], values[BATCH];
    size_t from = pick(&r->random, KEYS);
    for (size_t i = 0; i < BATCH; i++) { /* each once */
        indexes[i] = (from + i * 63) % KEYS;
        wanted[i] = keys[indexes[i]];
        note_known(r, indexes[i]);
    }
    if (together)
        table_get_together(r->s, wanted, BATCH, values);
    else
        table_get_many(r->s, wanted, BATCH, values);
    for (size_t i = 0; i < BATCH; i++)
        check(r, indexes[i], values[i]);
}

static void *read_on(void *argument)
{
    struct reader *r = calloc(1, sizeof *r);
    qsbr_register();
    if (r == NULL || table_session_open(fixture.table, &r->s) != TARN_OK)
        abort();
    r->random = *(uint64_t *)argument;
    while (atomic_load(&writers_left) > 0) {
        uint64_t how = pick(&r->random, 4);
        if (how < 2)
            read_one(r);
        else
            read_several(r, how == 2);
        fixture_quiescent(r->s);
    }
    table_session_close(r->s);
    qsbr_unregister();
    free(r);
    return NULL;
}

/* --- writers --- */

struct writer {
    struct table_session *s;
    uint64_t random;
    unsigned number;
    unsigned char space[8][LARGE_BYTES];
};

/* Only this writer changes the key: it is as it left it. */
static void check_own(size_t key, struct tarn_bytes value)
{
    uint32_t version = atomic_load_explicit(&begun[key], memory_order_relaxed);
    bool right = value.data != NULL ? value_version(key, value) == version : deletes(version);
    if (!right)
        atomic_fetch_add(&bad, 1);
}

static uint32_t begin(size_t key)
{
    uint32_t version = atomic_load_explicit(&begun[key], memory_order_relaxed) + 1;
    atomic_store_explicit(&begun[key], version, memory_order_release);
    return version;
}

static void end(size_t key)
{
    uint32_t version = atomic_load_explicit(&begun[key], memory_order_relaxed);
    atomic_store_explicit(&acknowledged[key], version, memory_order_release);
}

struct rewriting {
    struct writer *w;
    size_t key;
    bool stores;
};

static enum tarn_verdict rewrite(void *context, struct tarn_update *update)
{
    struct rewriting *rewriting = context;
    size_t key = rewriting->key;
    check_own(key, update->record.value);
    if (!rewriting->stores)
        return TARN_KEEP;
    uint32_t version = begin(key);
    if (deletes(version))
        return TARN_REMOVE;
    update->record.value = value_make(rewriting->w->space[0], key, version);
    return TARN_STORE;
}

static void look(struct writer *w, size_t key)
{
    struct tarn_record record = {.value = {NULL, 0}};
    int status = table_get(w->s, keys[key], &record);
    if (status < 0)
        atomic_fetch_add(&bad, 1);
    check_own(key, record.value);
}

static void put_or_delete(struct writer *w, size_t key)
{
    bool was_there = !deletes(atomic_load_explicit(&begun[key], memory_order_relaxed));
    if (pick(&w->random, 3) == 0)
        look(w, key);
    uint32_t version = begin(key);
    struct tarn_record record = {keys[key], {"", 0}, 1};
    if (!deletes(version))
        record = (struct tarn_record){keys[key], value_make(w->space[0], key, version), 0};
    int status, right = TARN_OK;
    if (deletes(version) && pick(&w->random, 2) == 0) {
        status = table_delete(w->s, keys[key]);
        right = was_there ? TARN_OK : TARN_NOTFOUND;
    } else {
        status = table_put(w->s, &record);
    }
    if (status != right)
        atomic_fetch_add(&bad, 1);
    end(key);
}

/* Some keys, by one step. */
static void put_several(struct writer *w)
{
    struct tarn_record several[8];
    size_t indexes[8], first = pick(&w->random, KEYS / WRITERS);
    for (size_t i = 0; i < 8; i++) {
        size_t key = indexes[i] = (first + i) % (KEYS / WRITERS) * WRITERS + w->number;
        uint32_t version = begin(key);
        several[i] = (struct tarn_record){keys[key], {"", 0}, 1};
        if (!deletes(version))
            several[i] = (struct tarn_record){keys[key], value_make(w->space[i], key, version), 0};
    }
    if (table_put_many(w->s, several, 8) != TARN_OK)
        atomic_fetch_add(&bad, 1);
    for (size_t i = 0; i < 8; i++)
        end(indexes[i]);
}

static void rewrite_in_a_step(struct writer *w, size_t key)
{
    struct rewriting rewriting = {w, key, true};
    table_begin(w->s, &keys[key], 1);
    if (table_update(w->s, keys[key], rewrite, &rewriting) != TARN_OK)
        atomic_fetch_add(&bad, 1);
    table_end(w->s);
    end(key);
}

static void write_some(struct writer *w)
{
    size_t key = pick(&w->random, KEYS / WRITERS) * WRITERS + w->number;
    struct rewriting rewriting = {w, key, pick(&w->random, 4) != 0};
    switch (pick(&w->random, 8)) {
    case 0:
        put_several(w);
        break;
    case 1:
        rewrite_in_a_step(w, key);
        break;
    case 2 ... 4:
        if (table_update(w->s, keys[key], rewrite, &rewriting) != TARN_OK)
            atomic_fetch_add(&bad, 1);
        if (rewriting.stores)
            end(key);
        break;
    default:
        put_or_delete(w, key);
    }
}

static void *write_on(void *argument)
{
    struct writer *w = calloc(1, sizeof *w);
    qsbr_register();
    if (w == NULL || table_session_open(fixture.table, &w->s) != TARN_OK)
        abort();
    w->random = *(uint64_t *)argument;
    w->number = (unsigned)(w->random % WRITERS);
    for (unsigned n = 0; n < WRITES || !atomic_load(&all_done); n++) {
        write_some(w);
        fixture_quiescent(w->s);
    }
    table_session_close(w->s);
    qsbr_unregister();
    free(w);
    atomic_fetch_sub(&writers_left, 1);
    return NULL;
}

/* --- who takes in --- */

/* A few records at a time, in no order, so that it lasts. */
static void take_in_slowly(struct table_session *s, uint32_t shard, uint64_t *random)
{
    size_t from = fake_base_shard(&base, shard), to = fake_base_shard(&base, shard + 1);
    for (size_t i = from; i < to;) {
        size_t count = 1 + pick(random, to - i < 8 ? to - i : 8);
        if (table_adopt(s, base.records + i, count) != TARN_OK)
            abort();
        i += count;
        fixture_quiescent(s);
        sched_yield();
    }
    if (table_base_done(s, shard, to - from) != TARN_OK)
        abort();
}

static void *take_in(void *argument)
{
    uint64_t random = *(uint64_t *)argument;
    struct table_session *s;
    qsbr_register();
    if (table_session_open(fixture.table, &s) != TARN_OK)
        abort();
    for (uint32_t shard = TABLE_SHARDS; shard-- > 0;) /* those with records last */
        take_in_slowly(s, shard, &random);
    fixture_quiescent(s);
    fake_base_forget(&base);
    atomic_store(&all_done, true);
    table_session_close(s);
    qsbr_unregister();
    return NULL;
}

/* --- rounds --- */

static void open_with(bool stays)
{
    uint64_t from = 0;
    fixture_open(&fixture, 0, TARN_EVICT_NOTHING);
    for (size_t i = 0; i < KEYS; i++) {
        keys[i] = fixture_key(fixture.table, SHARDS, &from, texts[i]);
        struct tarn_bytes value = value_make(first_values[i], i, 0);
        records[i] = (struct tarn_record){keys[i], value, 0};
        atomic_store(&begun[i], 0);
        atomic_store(&acknowledged[i], 0);
    }
    fake_base_set(&base, &fixture, records, KEYS, stays);
    base.yields = true;
    atomic_store(&writers_left, WRITERS);
    atomic_store(&all_done, stays);
    atomic_store(&flushed, false);
}

/* Run these, the main thread being offline. */
static void run_threads(void *(*const *functions)(void *), unsigned count, uint64_t seed)
{
    pthread_t threads[8];
    uint64_t seeds[8];
    qsbr_offline();
    for (unsigned i = 0; i < count; i++) {
        seeds[i] = seed * 8 + i;
        assert_int_equal(pthread_create(&threads[i], NULL, functions[i], &seeds[i]), 0);
    }
    for (unsigned i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    qsbr_online();
}

static void check_end(void)
{
    uint64_t live = 0;
    struct tarn_stats stats;
    for (size_t i = 0; i < KEYS; i++) {
        struct tarn_record record = {.value = {NULL, 0}};
        (void)!table_get(fixture.session, keys[i], &record);
        check_own(i, record.value);
        live += !deletes(atomic_load(&begun[i]));
    }
    table_stats_get(fixture.table, &stats);
    assert_int_equal(stats.keys, live);
    assert_int_equal(atomic_load(&bad), 0);
}

static void everybody(bool stays)
{
    void *(*const functions[])(void *) = {write_on, write_on, read_on, read_on, take_in};
    _Static_assert(WRITERS == 2 && READERS == 2, "as many as there are");
    atomic_store(&seen_below, 0);
    for (uint64_t seed = 1; seed <= ROUNDS; seed++) {
        open_with(stays);
        run_threads(functions, stays ? 4 : 5, seed);
        check_end();
        fixture_close(&fixture);
    }
    printf("%llu reads, %llu of what the base has\n", (unsigned long long)atomic_load(&reads),
           (unsigned long long)atomic_load(&seen_below));
    assert_true(atomic_load(&seen_below) > ROUNDS * 100);
}

static void taken_in(void **state)
{
    (void)state;
    everybody(false);
}

static void stays(void **state)
{
    (void)state;
    everybody(true);
}

/* --- a flush --- */

static void *flush_once(void *argument)
{
    uint64_t random = *(uint64_t *)argument;
    struct table_session *s;
    qsbr_register();
    if (table_session_open(fixture.table, &s) != TARN_OK)
        abort();
    for (uint64_t n = pick(&random, 40); n > 0; n--)
        sched_yield();
    if (table_flush(s) != TARN_OK)
        abort();
    atomic_store(&flushed, true);
    atomic_store(&writers_left, 1); /* now readers look some times more */
    for (unsigned n = 0; n < 20; n++)
        sched_yield();
    atomic_store(&writers_left, 0);
    table_session_close(s);
    qsbr_unregister();
    return NULL;
}

static void *read_until_flushed(void *argument)
{
    uint64_t random = *(uint64_t *)argument;
    struct table_session *s;
    struct tarn_record record;
    qsbr_register();
    if (table_session_open(fixture.table, &s) != TARN_OK)
        abort();
    while (atomic_load(&writers_left) > 0) {
        bool gone = atomic_load(&flushed);
        size_t key = pick(&random, KEYS);
        int status = table_get(s, keys[key], &record);
        if (status == TARN_OK && (gone || value_version(key, record.value) != 0))
            atomic_fetch_add(&bad, 1);
        else if (status < 0)
            atomic_fetch_add(&bad, 1);
        fixture_quiescent(s);
    }
    table_session_close(s);
    qsbr_unregister();
    return NULL;
}

static void flushed_meanwhile(void **state)
{
    (void)state;
    void *(*const functions[])(void *) = {flush_once, read_until_flushed, read_until_flushed,
                                          take_in};
    for (uint64_t seed = 1; seed <= FLUSH_ROUNDS; seed++) {
        struct tarn_stats stats;
        struct tarn_record record;
        bool kept = seed % 2 == 0;
        open_with(kept);
        run_threads(functions, kept ? 3 : 4, seed);
        assert_int_equal(atomic_load(&bad), 0);
        for (size_t i = 0; i < KEYS; i++)
            assert_int_equal(table_get(fixture.session, keys[i], &record), TARN_NOTFOUND);
        table_stats_get(fixture.table, &stats);
        assert_int_equal(stats.keys, 0);
        fixture_close(&fixture);
    }
}

/* --- the end --- */

static void *read_slowly(void *argument)
{
    struct table_session *s;
    struct tarn_record record;
    (void)argument;
    qsbr_register();
    if (table_session_open(fixture.table, &s) != TARN_OK)
        abort();
    if (table_get(s, keys[1], &record) != TARN_OK || value_version(1, record.value) != 0)
        atomic_fetch_add(&bad, 1);
    table_session_close(s);
    qsbr_unregister();
    return NULL;
}

/* The base is not forgotten while somebody is looking there: fake_base_find() would see it. */
static void somebody_is_inside(void **state)
{
    (void)state;
    pthread_t reader, taker;
    uint64_t seed = 1;
    open_with(false);
    base.yields = false;
    atomic_store(&base.holds, true);
    qsbr_offline();
    assert_int_equal(pthread_create(&reader, NULL, read_slowly, NULL), 0);
    while (atomic_load(&base.inside) == 0)
        sched_yield();
    assert_int_equal(pthread_create(&taker, NULL, take_in, &seed), 0);
    for (uint32_t shard = 0; shard < TABLE_SHARDS; shard++)
        while (table_base_rests(fixture.table, shard))
            sched_yield();
    for (unsigned n = 0; n < 1000; n++) /* time enough for what must not be */
        sched_yield();
    atomic_store(&base.holds, false);
    pthread_join(reader, NULL);
    pthread_join(taker, NULL);
    qsbr_online();
    assert_int_equal(atomic_load(&bad), 0);
    fixture_close(&fixture);
}

static int setup(void **state)
{
    (void)state;
    for (size_t i = 0; i < KEYS; i++)
        if ((first_values[i] = malloc(LARGE_BYTES)) == NULL)
            return -1;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (size_t i = 0; i < KEYS; i++)
        free(first_values[i]);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(taken_in),
        cmocka_unit_test(stays),
        cmocka_unit_test(flushed_meanwhile),
        cmocka_unit_test(somebody_is_inside),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
