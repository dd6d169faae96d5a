/* Goal: a data file on disk under threads: whatever they do at once, with a cache in which nothing
 * stays, and the file exchanged under their hands, everybody sees the right value or an error of
 * that key.
 * Method: threads get one key or many, fetch, drop fetches under way, close their sessions under
 * way and open new ones, while one thread reloads; some reads fail, by io_uring and by threads.
 * Every value tells its key; versions of the file have the same values. Few keys are wanted often,
 * so that reads are joined. Under ThreadSanitizer as well.
 *
 * Bugs planted once to see it fail, under ThreadSanitizer: a session that is closed leaves a miss
 * without the join shard's lock; an answer posted without the inbox's. */
#include "lib/test.h"

#include <stdio.h>
#include <string.h>

#include "core/random.h"
#include "lib/far_fixture.h"

enum {
    THREADS = 4,
    RECORDS = 3000,
    VALUE_MAX = 900,
    HOT = 20, /* keys that half of all want */
    BATCH = 24,
    TURNS = 1600 / TEST_SLOWER,
    RELOADS = 6,
};

struct crew {
    struct far_fixture *f;
    struct tarn *store;
    bool failing;
    _Atomic unsigned right, failed, running;
};

struct worker {
    struct crew *crew;
    uint64_t random;
    struct tarn_session *session;
    struct tarn_fetch *fetch; /* under way from turn to turn */
    unsigned calls;
};

static void count_call(void *context)
{
    ++*(unsigned *)context;
}

static size_t choose(struct worker *w)
{
    size_t limit = random_next(&w->random) % 2 == 0 ? HOT : w->crew->f->d.count;
    return random_next(&w->random) % limit;
}

static void judge(struct worker *w, size_t record, int status, struct tarn_bytes value)
{
    const struct dataset *d = &w->crew->f->d;
    if (status == TARN_OK) {
        size_t live = dataset_find(d, dataset_key(d, record));
        if (!bytes_equal(value, dataset_value(d, live)))
            fail_msg("a wrong value of record %zu", record);
        atomic_fetch_add(&w->crew->right, 1);
    } else {
        if (!w->crew->failing || status != TARN_IO)
            fail_msg("status %d", status);
        atomic_fetch_add(&w->crew->failed, 1);
    }
}

static void get_one(struct worker *w)
{
    size_t record = choose(w);
    struct tarn_bytes value = {NULL, 0};
    int status = tarn_get(w->session, dataset_key(&w->crew->f->d, record), &value);
    judge(w, record, status, value);
}

static void choose_many(struct worker *w, size_t *records, struct tarn_bytes *keys)
{
    for (size_t i = 0; i < BATCH; i++) {
        records[i] = choose(w);
        keys[i] = dataset_key(&w->crew->f->d, records[i]);
    }
}

static void get_many(struct worker *w)
{
    size_t records[BATCH];
    struct tarn_bytes keys[BATCH], values[BATCH];
    choose_many(w, records, keys);
    (void)tarn_get_many(w->session, keys, BATCH, values);
    for (size_t i = 0; i < BATCH; i++)
        judge(w, records[i], tarn_value_status(values[i]), values[i]);
}

/* Begin one, and have it under way for a while. */
static void fetch(struct worker *w)
{
    size_t records[BATCH];
    struct tarn_bytes keys[BATCH];
    choose_many(w, records, keys);
    tarn_fetch_end(w->fetch);
    assert_true(tarn_fetch_begin(w->session, keys, BATCH, count_call, &w->calls, &w->fetch) >= 0);
    tarn_fetch_submit(w->session);
}

/* Begin one and see it through. */
static void fetch_all(struct worker *w)
{
    size_t records[BATCH];
    struct tarn_bytes keys[BATCH], values[BATCH];
    struct tarn_fetch *all;
    unsigned calls = 0;
    choose_many(w, records, keys);
    if (tarn_fetch_begin(w->session, keys, BATCH, count_call, &calls, &all) > 0) {
        while (calls == 0) {
            far_wait(w->session->far);
            tarn_fetch_poll(w->session);
        }
        uint64_t reads = atomic_load(&w->session->far->counters.reads);
        (void)tarn_get_many(w->session, keys, BATCH, values);
        for (size_t i = 0; i < BATCH; i++)
            judge(w, records[i], tarn_value_status(values[i]), values[i]);
        assert_int_equal(atomic_load(&w->session->far->counters.reads), reads);
    }
    tarn_fetch_end(all);
}

static void close_session(struct worker *w)
{
    if (random_next(&w->random) % 2 == 0) {
        tarn_fetch_end(w->fetch); /* else the session ends it */
    }
    w->fetch = NULL;
    tarn_session_close(w->session);
}

static void *work(void *argument)
{
    struct worker *w = argument;
    w->session = far_fixture_session(w->crew->store);
    for (unsigned turn = 0; turn < TURNS; turn++) {
        uint64_t what = random_next(&w->random) % 16;
        if (what < 6) {
            get_one(w);
        } else if (what < 9) {
            get_many(w);
        } else if (what < 11) {
            fetch(w);
        } else if (what < 14) {
            fetch_all(w);
        } else if (what == 14) {
            tarn_fetch_poll(w->session);
        } else if (turn % 8 == 0) {
            close_session(w);
            w->session = far_fixture_session(w->crew->store);
        }
        tarn_quiescent(w->session);
    }
    close_session(w);
    atomic_fetch_sub(&w->crew->running, 1);
    return NULL;
}

static void run(struct far_fixture *f, const struct os *os, bool failing)
{
    struct crew crew = {.f = f, .store = far_fixture_store(f, os), .failing = failing};
    struct worker workers[THREADS];
    pthread_t threads[THREADS];
    f->fail = failing ? EIO : 0;
    if (failing) {
        far_fixture_aim(f, 3);
        far_fixture_hook(f);
    }
    atomic_store(&crew.running, THREADS);
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){.crew = &crew};
        workers[i].random = i + 1;
        pthread_create(&threads[i], NULL, work, &workers[i]);
    }
    for (unsigned i = 0; i < RELOADS; i++) {
        struct tarn_disk_stats stats;
        uint64_t misses = far_fixture_stats(crew.store).misses;
        do {
            sched_yield();
            stats = far_fixture_stats(crew.store);
        } while (stats.misses < misses + 200 && atomic_load(&crew.running) > 0);
        if (!failing)
            assert_int_equal(tarn_reload(crew.store, NULL), TARN_OK);
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    struct tarn_disk_stats stats = far_fixture_stats(crew.store);
    assert_int_equal(stats.in_flight, 0);
    assert_true(atomic_load(&crew.right) > 0 && stats.joined > 0);
    assert_int_equal(atomic_load(&crew.failed) > 0, failing);
    assert_int_equal(stats.io_errors > 0, failing);
    tarn_close(crew.store);
    f->hooked = false;
}

static void test_threads(void **state)
{
    (void)state;
    struct far_fixture f;
    far_fixture_open(&f, RECORDS, VALUE_MAX);
    f.options.memory_bytes_max = 3u << 20; /* of which buffers and kept records take much */
    run(&f, os_real(), false);
    run(&f, &f.os, false);
    run(&f, &f.os, true);
    far_fixture_done(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_threads)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
