/* Goal: a data file on disk answers as the same file in memory would, whatever the cache holds; who
 * fetches is told and then answered at once; a key that several want is read once; a failure is
 * that key's only; nothing that is dropped under way is missed by others, or lost. Method: random
 * records in a real file, by io_uring and by threads; a struct os that holds, fails, cuts and
 * changes what is read (test/lib/far_fixture.h); two sessions on the test's thread.
 *
 * Bugs planted once to see it fail: what was fetched not kept once the cache has lost it; views of
 * the cache not copied; a joined session not woken; a miss dropped with the session that began it;
 * one who waits joins a fetch; an error kept for good; the mark behind a value given away with it;
 * records without a bound; reads that nobody waits for begun; the file never looked at. */
#include "lib/test.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "lib/far_fixture.h"

enum { RECORDS = 4000, VALUE_MAX = 900, BATCH = 50 };

static struct tarn_bytes absent_key(unsigned number, char out[32])
{
    snprintf(out, 32, "there is no such key %u", number);
    return bytes_of(out);
}

/* --- waiting for fetches --- */

static void count_call(void *context)
{
    ++*(unsigned *)context;
}

static void poll_until(struct tarn_session *session, const unsigned *calls, unsigned wanted)
{
    while (*calls < wanted) {
        tarn_fetch_submit(session);
        far_wait(session->far);
        tarn_fetch_poll(session);
    }
}

/* --- reading --- */

/* reads_max: for a key. */
static void check_everything(const struct os *os, struct far_fixture *f, unsigned reads_max)
{
    struct tarn *store = far_fixture_store(f, os);
    struct tarn_session *session = far_fixture_session(store);
    char name[32];
    struct tarn_bytes value, keys[BATCH], values[BATCH];
    for (unsigned round = 0; round < 2; round++) {
        for (size_t i = 0; i < f->d.count; i += 3) {
            far_fixture_check(f, session, i);
            if (i % 5 == 0)
                tarn_quiescent(session);
        }
        for (unsigned i = 0; i < 300; i++)
            assert_int_equal(tarn_get(session, absent_key(i, name), &value), TARN_NOTFOUND);
        for (size_t at = 0; at + BATCH <= f->d.count; at += BATCH) {
            for (size_t i = 0; i < BATCH; i++)
                keys[i] = i % 10 == 9 ? bytes_of("nothing") : dataset_key(&f->d, at + i);
            assert_int_equal(tarn_get_many(session, keys, BATCH, values), BATCH - BATCH / 10);
            for (size_t i = 0; i < BATCH; i++)
                if (i % 10 == 9)
                    assert_int_equal(tarn_value_status(values[i]), TARN_NOTFOUND);
                else
                    assert_true(
                        bytes_equal(values[i], dataset_value(&f->d, dataset_find(&f->d, keys[i]))));
            tarn_quiescent(session);
        }
    }
    struct tarn_disk_stats stats = far_fixture_stats(store);
    assert_true(stats.on_disk && stats.hits > 0 && stats.misses > 0);
    assert_true(stats.absent_hits + stats.refused > 0);
    assert_int_equal(stats.in_flight, 0);
    assert_int_equal(stats.io_errors + stats.corrupt, 0);
    assert_true(stats.reads <= stats.misses * reads_max && stats.read_ns_max > 0);
    assert_true(tarn_memory_used(store) <= f->options.memory_bytes_max);
    tarn_session_close(session);
    tarn_close(store);
}

static void test_reading(void **state)
{
    (void)state;
    struct far_fixture f;
    far_fixture_open(&f, RECORDS, VALUE_MAX);
    check_everything(os_real(), &f, 1);
    check_everything(&f.os, &f, 1);
    f.short_bytes = 5000; /* of 8 KiB and more */
    far_fixture_hook(&f);
    f.options.read_depth = 1;
    check_everything(&f.os, &f, 1);
    far_fixture_layout(&f, INDEX_PAGES, 16);
    check_everything(&f.os, &f, 2);
    check_everything(os_real(), &f, 2);
    far_fixture_layout(&f, INDEX_BLOCKS, 14);
    check_everything(os_real(), &f, 1);
    far_fixture_done(&f);
}

/* A second time nothing is read, and the keys that are not there are known. */
static void test_cached(void **state)
{
    (void)state;
    struct far_fixture f;
    char name[32];
    struct tarn_bytes value;
    far_fixture_open(&f, RECORDS, VALUE_MAX);
    struct tarn *store = far_fixture_store(&f, os_real());
    struct tarn_session *session = far_fixture_session(store);
    uint64_t reads = 0;
    for (unsigned round = 0; round < 2; round++) {
        for (size_t i = 0; i < 200; i++)
            far_fixture_check(&f, session, i);
        for (unsigned i = 0; i < 200; i++)
            assert_int_equal(tarn_get(session, absent_key(i, name), &value), TARN_NOTFOUND);
        if (round == 1)
            assert_int_equal(far_fixture_stats(store).reads, reads);
        reads = far_fixture_stats(store).reads;
        tarn_quiescent(session);
    }
    struct tarn_disk_stats stats = far_fixture_stats(store);
    assert_true(stats.absent_hits > 0 && stats.absent_hits < 200);
    assert_int_equal(stats.absent_hits * 2 + stats.refused, 400);
    tarn_session_close(session);
    tarn_close(store);
    far_fixture_done(&f);
}

/* --- fetching --- */

static unsigned views(const struct tarn_session *session)
{
    unsigned count = 0;
    for (size_t i = 0; i < session->far->map_size; i++)
        for (const struct kept *k = session->far->map[i]; k != NULL; k = k->chain)
            count += k->state == KEPT_VIEW;
    return count;
}

static void test_fetch(void **state)
{
    (void)state;
    struct far_fixture f;
    far_fixture_open(&f, RECORDS, VALUE_MAX);
    for (unsigned engine = 0; engine < 2; engine++) {
        struct tarn *store = far_fixture_store(&f, engine == 0 ? os_real() : &f.os);
        struct tarn_session *session = far_fixture_session(store);
        struct tarn_bytes keys[BATCH];
        struct tarn_fetch *fetch, *again;
        unsigned calls = 0;
        for (size_t i = 0; i < BATCH; i++)
            keys[i] = i == 7 ? bytes_of("nothing") : dataset_key(&f.d, i * 40);
        far_fixture_check(&f, session, 0); /* one is in the cache already */
        tarn_quiescent(session);
        assert_true(tarn_fetch_fd(session) >= 0);
        assert_in_range(tarn_fetch_begin(session, keys, BATCH, count_call, &calls, &fetch),
                        BATCH - 3, BATCH);
        assert_int_equal(calls, 0);
        assert_int_equal(views(session), 0); /* which the cache may lose */
        poll_until(session, &calls, 1);
        table_limit(session->far->cache->table, 1, TARN_EVICT_ALL_SIEVE);
        assert_int_equal(table_flush(session->far->table), TARN_OK);
        uint64_t reads = far_fixture_stats(store).reads;
        for (unsigned turn = 0; turn < 3; turn++) {
            for (size_t i = 0; i < BATCH; i++)
                if (i != 7)
                    far_fixture_check(&f, session, i * 40);
            tarn_quiescent(session);
        }
        assert_int_equal(tarn_fetch_begin(session, keys, BATCH, count_call, &calls, &again), 0);
        assert_null(again);
        assert_int_equal(far_fixture_stats(store).reads, reads);
        tarn_fetch_end(fetch);
        far_fixture_check(&f, session, 40); /* until it is quiescent */
        assert_int_equal(far_fixture_stats(store).reads, reads);
        tarn_quiescent(session);
        assert_int_equal(session->far->kept_count, 0);
        far_fixture_check(&f, session, 40);
        assert_int_equal(far_fixture_stats(store).reads, reads + 1);
        assert_int_equal(calls, 1);
        tarn_session_close(session);
        tarn_close(store);
    }
    far_fixture_done(&f);
}

static bool is_readable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, 0) == 1;
}

/* Two sessions want a key: it is read once. How the first leaves does not matter. */
static void join_and_leave(struct far_fixture *f, int how)
{
    struct tarn *store = far_fixture_store(f, &f->os);
    struct tarn_session *a = far_fixture_session(store), *b = far_fixture_session(store);
    struct tarn_bytes key = dataset_key(&f->d, 9);
    struct tarn_fetch *of_a, *of_b;
    unsigned calls_a = 0, calls_b = 0;
    far_fixture_hook(f);
    far_fixture_hold(f, true);
    assert_int_equal(tarn_fetch_begin(a, &key, 1, count_call, &calls_a, &of_a), 1);
    tarn_fetch_submit(a);
    far_fixture_await(f, 1);
    assert_int_equal(tarn_fetch_begin(b, &key, 1, count_call, &calls_b, &of_b), 1);
    tarn_fetch_poll(b); /* there is nothing yet */
    assert_false(is_readable(tarn_fetch_fd(b)));
    if (how == 1)
        tarn_fetch_end(of_a);
    if (how == 2)
        tarn_fetch_end(of_b);
    far_fixture_hold(f, false);
    if (how == 3) {
        tarn_session_close(a); /* with its fetch */
    } else if (how == 4) {
        tarn_session_close(b);
        poll_until(a, &calls_a, 1);
    } else if (how == 0) {
        poll_until(a, &calls_a, 1);
    } else {
        while (a->far->in_flight > 0) {
            far_wait(a->far);
            tarn_fetch_poll(a);
        }
    }
    if (how != 2 && how != 4) {
        assert_true(is_readable(tarn_fetch_fd(b)));
        poll_until(b, &calls_b, 1);
        far_fixture_check(f, b, 9);
        tarn_fetch_end(of_b);
    }
    assert_int_equal(f->reads, 1);
    assert_int_equal(far_fixture_stats(store).joined, 1);
    if (how == 0 || how == 4)
        tarn_fetch_end(of_a);
    if (how == 2)
        tarn_fetch_end(of_a);
    if (how != 3)
        tarn_session_close(a);
    if (how != 4)
        tarn_session_close(b);
    tarn_close(store);
}

static void test_join(void **state)
{
    (void)state;
    struct far_fixture f;
    far_fixture_open(&f, RECORDS, VALUE_MAX);
    for (int how = 0; how < 5; how++)
        join_and_leave(&f, how);
    far_fixture_done(&f);
}

/* A session that is closed reads on for who joined, also what had not been begun. */
static void test_join_queued(void **state)
{
    (void)state;
    struct far_fixture f;
    far_fixture_open(&f, RECORDS, VALUE_MAX);
    f.options.read_depth = 1;
    struct tarn *store = far_fixture_store(&f, &f.os);
    struct tarn_session *a = far_fixture_session(store), *b = far_fixture_session(store);
    struct tarn_bytes keys[3] = {dataset_key(&f.d, 9), dataset_key(&f.d, 500),
                                 dataset_key(&f.d, 900)};
    struct tarn_fetch *of_a, *of_b;
    unsigned calls_a = 0, calls_b = 0;
    far_fixture_hook(&f);
    far_fixture_hold(&f, true);
    assert_int_equal(tarn_fetch_begin(a, keys, 3, count_call, &calls_a, &of_a), 3);
    tarn_fetch_submit(a);
    far_fixture_await(&f, 1);
    assert_int_equal(tarn_fetch_begin(b, &keys[1], 1, count_call, &calls_b, &of_b), 1);
    far_fixture_hold(&f, false);
    tarn_session_close(a); /* with its fetch */
    poll_until(b, &calls_b, 1);
    far_fixture_check(&f, b, 500);
    assert_int_equal(f.reads, 2);
    tarn_fetch_end(of_b);
    tarn_session_close(b);
    tarn_close(store);
    far_fixture_done(&f);
}

/* A thread that waits does not wait for another session's fetch, which nobody may be polling. */
static void test_no_join(void **state)
{
    (void)state;
    struct far_fixture f;
    far_fixture_open(&f, RECORDS, VALUE_MAX);
    struct tarn *store = far_fixture_store(&f, os_real());
    struct tarn_session *a = far_fixture_session(store), *b = far_fixture_session(store);
    struct tarn_bytes key = dataset_key(&f.d, 9);
    struct tarn_fetch *fetch;
    unsigned calls = 0;
    assert_true(tarn_fetch_fd(b) >= 0); /* it could be woken */
    assert_int_equal(tarn_fetch_begin(a, &key, 1, count_call, &calls, &fetch), 1);
    far_fixture_check(&f, b, 9);
    poll_until(a, &calls, 1);
    tarn_fetch_end(fetch);
    tarn_session_close(a);
    tarn_session_close(b);
    tarn_close(store);
    far_fixture_done(&f);
}

struct slow {
    struct far_fixture *f;
    struct tarn *store;
    size_t record;
};

static void *get_slowly(void *argument)
{
    struct slow *slow = argument;
    struct tarn_session *session = far_fixture_session(slow->store);
    far_fixture_check(slow->f, session, slow->record);
    tarn_session_close(session);
    return NULL;
}

/* While one waits for its read, others read; and two that wait for one key read it once. */
static void test_slow(void **state)
{
    (void)state;
    struct far_fixture f;
    far_fixture_open(&f, RECORDS, VALUE_MAX);
    struct tarn *store = far_fixture_store(&f, &f.os);
    struct tarn_session *session = far_fixture_session(store);
    struct slow slow = {&f, store, RECORDS / 2};
    pthread_t threads[2];
    far_fixture_aim(&f, slow.record);
    far_fixture_hook(&f);
    far_fixture_hold(&f, true);
    pthread_create(&threads[0], NULL, get_slowly, &slow);
    far_fixture_await(&f, 1);
    for (size_t i = 0; i < 500; i++) {
        far_fixture_check(&f, session, i);
        tarn_quiescent(session);
    }
    tarn_offline(session);
    pthread_create(&threads[1], NULL, get_slowly, &slow);
    far_fixture_hold(&f, false);
    for (unsigned i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    tarn_online(session);
    tarn_session_close(session);
    tarn_close(store);
    far_fixture_done(&f);
}

/* --- failures --- */

/* What is wrong with one block is told of its keys only, counted, and over when it is over. */
static void fail_with(struct far_fixture *f, int status, bool fetches)
{
    struct tarn *store = far_fixture_store(f, &f->os);
    struct tarn_session *session = far_fixture_session(store);
    size_t bad = RECORDS / 2;
    struct tarn_bytes values[3],
        keys[3] = {dataset_key(&f->d, 3), dataset_key(&f->d, bad), dataset_key(&f->d, RECORDS - 3)};
    struct tarn_fetch *fetch = NULL;
    unsigned calls = 0;
    bad = dataset_find(&f->d, keys[1]);
    far_fixture_aim(f, bad);
    far_fixture_hook(f);
    f->fail = status == TARN_IO ? EIO : 0;
    f->flip = status == TARN_CORRUPT;
    if (fetches) {
        assert_int_equal(tarn_fetch_begin(session, keys, 3, count_call, &calls, &fetch), 3);
        poll_until(session, &calls, 1);
    }
    assert_int_equal(tarn_get_many(session, keys, 3, values), 2);
    assert_int_equal(tarn_value_status(values[1]), status);
    assert_int_equal(tarn_get(session, keys[1], &values[1]), status);
    far_fixture_check(f, session, 3);
    struct tarn_disk_stats stats = far_fixture_stats(store);
    assert_int_equal(stats.io_errors, status == TARN_IO);
    assert_int_equal(stats.corrupt, status == TARN_CORRUPT);
    assert_non_null(strstr(stats.failure, f->path));
    f->fail = 0;
    f->flip = false;
    tarn_fetch_end(fetch);
    tarn_quiescent(session);
    far_fixture_check(f, session, bad);
    tarn_session_close(session);
    tarn_close(store);
}

static void test_failures(void **state)
{
    (void)state;
    struct far_fixture f;
    far_fixture_open(&f, RECORDS, VALUE_MAX);
    for (unsigned fetches = 0; fetches < 2; fetches++) {
        fail_with(&f, TARN_IO, fetches);
        fail_with(&f, TARN_CORRUPT, fetches);
    }
    far_fixture_done(&f);
}

/* More records than the memory has room for: some are refused, none is wrong, and one after the
 * other they all come. */
static void test_full(void **state)
{
    (void)state;
    struct far_fixture f;
    far_fixture_open(&f, 9000, 1500);
    f.options.memory_bytes_max = 4u << 20;
    struct tarn *store = far_fixture_store(&f, os_real());
    struct tarn_session *session = far_fixture_session(store);
    struct tarn_bytes *keys = calloc(f.d.count, sizeof *keys);
    struct tarn_bytes *values = calloc(f.d.count, sizeof *values);
    size_t full = 0;
    for (size_t i = 0; i < f.d.count; i++)
        keys[i] = dataset_key(&f.d, i);
    size_t found = tarn_get_many(session, keys, f.d.count, values);
    for (size_t i = 0; i < f.d.count; i++)
        if (values[i].data != NULL)
            assert_true(bytes_equal(values[i], dataset_value(&f.d, dataset_find(&f.d, keys[i]))));
        else
            full += tarn_value_status(values[i]) == TARN_FULL;
    assert_true(full > 0 && found > 0 && found + full == f.d.count);
    assert_true(tarn_memory_used(store) <= f.options.memory_bytes_max);
    tarn_quiescent(session);
    for (size_t i = 0; i < f.d.count; i += 7) {
        far_fixture_check(&f, session, i);
        tarn_quiescent(session);
    }
    tarn_limit(store, 3u << 20, TARN_EVICT_NOTHING);
    assert_true(far_fixture_stats(store).cache_bytes_max < 3u << 20);
    tarn_limit(store, 1, TARN_EVICT_NOTHING); /* not less than what it needs */
    far_fixture_check(&f, session, 1);
    free(keys);
    free(values);
    tarn_session_close(session);
    tarn_close(store);
    far_fixture_done(&f);
}

/* Many reads are begun and dropped: what the system was not asked for is not read. */
static void test_dropped(void **state)
{
    (void)state;
    struct far_fixture f;
    far_fixture_open(&f, RECORDS, VALUE_MAX);
    struct tarn *store = far_fixture_store(&f, &f.os);
    struct tarn_session *session = far_fixture_session(store);
    struct tarn_bytes keys[BATCH];
    struct tarn_fetch *fetch;
    unsigned calls = 0;
    for (size_t i = 0; i < BATCH; i++)
        keys[i] = dataset_key(&f.d, i * 70);
    far_fixture_hook(&f);
    far_fixture_hold(&f, true);
    assert_in_range(tarn_fetch_begin(session, keys, BATCH, count_call, &calls, &fetch), BATCH - 5,
                    BATCH);
    tarn_fetch_submit(session);
    far_fixture_await(&f, f.options.read_depth);
    tarn_fetch_end(fetch);
    assert_int_equal(session->far->kept_count, f.options.read_depth);
    far_fixture_hold(&f, false);
    tarn_session_close(session);
    assert_int_equal(f.reads, f.options.read_depth);
    assert_int_equal(calls, 0);
    tarn_close(store);
    far_fixture_done(&f);
}

/* The next record that counts for its key, not one far behind it. */
static size_t next_live(const struct far_fixture *f, size_t record)
{
    while (!dataset_live(&f->d, record))
        record++;
    return record;
}

/* Once a second it is noticed that the file is another one; what is read of it is right or an
 * error. */
static void test_changed(void **state)
{
    (void)state;
    struct far_fixture f;
    far_fixture_open(&f, RECORDS, VALUE_MAX);
    struct tarn *store = far_fixture_store(&f, &f.os);
    struct tarn_session *session = far_fixture_session(store);
    atomic_store(&f.later_ns, 2000000000ull);
    far_fixture_check(&f, session, next_live(&f, 10));
    assert_false(far_fixture_stats(store).changed);
    assert_int_equal(truncate(f.path, (off_t)f.d.records[RECORDS / 2].offset), 0);
    far_fixture_check(&f, session, next_live(&f, 100)); /* it was looked at just now */
    atomic_store(&f.later_ns, 4000000000ull);
    far_fixture_check(&f, session, next_live(&f, 200));
    assert_true(far_fixture_stats(store).changed);
    struct tarn_bytes value;
    int status = tarn_get(session, dataset_key(&f.d, next_live(&f, RECORDS - 10)), &value);
    assert_true(status == TARN_STALE || status == TARN_CORRUPT);
    tarn_quiescent(session);
    far_fixture_check(&f, session, next_live(&f, 300));
    tarn_session_close(session);
    tarn_close(store);
    far_fixture_done(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reading),     cmocka_unit_test(test_cached),
        cmocka_unit_test(test_fetch),       cmocka_unit_test(test_join),
        cmocka_unit_test(test_join_queued), cmocka_unit_test(test_no_join),
        cmocka_unit_test(test_slow),        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_full),        cmocka_unit_test(test_dropped),
        cmocka_unit_test(test_changed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
