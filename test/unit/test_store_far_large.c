/* Goal: values too large to be held come piece by piece, whole, also across a reload; what is read
 * stays as long as it is pinned; a reload shows the new file at once and to everybody; what does
 * not fit into the memory that is given is said, and what is given is kept to. Method: a file with
 * values of some MiB among small ones, by io_uring and by threads; reads that are held
 * (test/lib/far_fixture.h); every allocation fails once.
 *
 * Bugs planted once to see it fail: a stream that is closed under way frees its buffer at once; a
 * stream that reads the new file after a reload; a fetch that gives the old version's record, or is
 * not begun anew; a late read of the old version cached; the cache of the old version used; what is
 * charged not counted; a pinned record freed when the session is quiescent. */
#include "lib/test.h"

#include <sched.h>
#include <string.h>

#include "lib/far_fixture.h"
#include "lib/fault_malloc.h"
#include "lib/fault_os.h"

enum { SMALL = 500, VALUE_MAX = 900, FAR_VALUES = 3 };

static const size_t far_sizes[FAR_VALUES] = {TARN_FAR_BYTES + 1, 3u << 20, 2 * TARN_FAR_BYTES};

static struct tarn_bytes far_key(unsigned i)
{
    static const char *const names[FAR_VALUES] = {"far-0", "far-1", "far-2"};
    return bytes_of(names[i]);
}

/* And two small ones. */
static void add_far_values(struct far_fixture *f, unsigned char version)
{
    dataset_add_text(&f->d, "both", version == 1 ? "old" : "new");
    dataset_add_text(&f->d, "late", version == 1 ? "old" : "new");
    for (unsigned i = 0; i < FAR_VALUES; i++) {
        unsigned char *value = malloc(far_sizes[i]);
        for (size_t k = 0; k < far_sizes[i]; k++)
            value[k] = (unsigned char)(k * 7 + k / 4096 + i + version);
        dataset_add(&f->d, far_key(i), (struct tarn_bytes){value, far_sizes[i]});
        free(value);
    }
}

static void open_fixture(struct far_fixture *f)
{
    far_fixture_open(f, SMALL, VALUE_MAX);
    add_far_values(f, 1);
    far_fixture_write(f);
}

static struct tarn_bytes far_value(const struct far_fixture *f, unsigned i)
{
    return dataset_value(&f->d, dataset_find(&f->d, far_key(i)));
}

static void count_call(void *context)
{
    ++*(unsigned *)context;
}

static void poll_until(struct tarn_session *session, const unsigned *calls, unsigned wanted)
{
    while (*calls < wanted) {
        if (session->far->in_flight > 0)
            far_wait(session->far);
        tarn_fetch_poll(session);
    }
}

/* --- streams --- */

/* told: by calls; else the thread waits. */
static void read_stream(struct tarn_session *session, struct tarn_stream *stream,
                        struct tarn_bytes whole, bool told)
{
    size_t at = 0;
    unsigned calls = 0, wanted = 0;
    struct tarn_bytes piece;
    struct tarn_error error;
    do {
        assert_int_equal(tarn_stream_next(stream, told ? count_call : NULL, &calls), TARN_OK);
        if (told)
            poll_until(session, &calls, ++wanted);
        assert_int_equal(tarn_stream_piece(stream, &piece, &error), TARN_OK);
        assert_true(piece.size <= TARN_FAR_BYTES && at + piece.size <= whole.size);
        assert_memory_equal(piece.data, (const char *)whole.data + at, piece.size);
        at += piece.size;
        tarn_quiescent(session);
    } while (piece.size > 0);
    assert_int_equal(at, whole.size);
}

static void test_streams(void **state)
{
    (void)state;
    struct far_fixture f;
    open_fixture(&f);
    for (unsigned how = 0; how < 4; how++) {
        struct tarn *store = far_fixture_store(&f, how % 2 == 0 ? os_real() : &f.os);
        struct tarn_session *session = far_fixture_session(store);
        for (unsigned i = 0; i < FAR_VALUES; i++) {
            struct tarn_stream *stream;
            uint64_t size;
            assert_int_equal(tarn_stream_open(session, far_key(i), &stream, &size), TARN_OK);
            assert_non_null(stream);
            assert_int_equal(size, far_sizes[i]);
            read_stream(session, stream, far_value(&f, i), how < 2);
            tarn_stream_close(stream);
            struct tarn_bytes value, want = far_value(&f, i);
            assert_int_equal(tarn_get(session, far_key(i), &value), TARN_OK);
            assert_true(bytes_equal(value, want));
            tarn_quiescent(session);
        }
        struct tarn_stream *none = NULL;
        uint64_t size;
        assert_int_equal(tarn_stream_open(session, dataset_key(&f.d, 3), &none, &size), TARN_OK);
        assert_null(none);
        assert_int_equal(tarn_stream_open(session, bytes_of("nothing"), &none, &size),
                         TARN_NOTFOUND);
        tarn_session_close(session);
        tarn_close(store);
    }
    far_fixture_done(&f);
}

/* Errors of a piece stay; a stream that is closed while it reads is gone when the read is back. */
static void test_stream_fails(void **state)
{
    (void)state;
    struct far_fixture f;
    open_fixture(&f);
    struct tarn *store = far_fixture_store(&f, &f.os);
    struct tarn_session *session = far_fixture_session(store);
    struct tarn_stream *stream;
    struct tarn_bytes piece;
    struct tarn_error error;
    uint64_t size;
    unsigned calls = 0;
    assert_int_equal(tarn_stream_open(session, far_key(1), &stream, &size), TARN_OK);
    assert_int_equal(tarn_stream_piece(stream, &piece, &error), TARN_INVALID);
    assert_int_equal(tarn_stream_next(stream, NULL, NULL), TARN_OK);
    assert_int_equal(tarn_stream_piece(stream, &piece, &error), TARN_OK);
    f.fail = EIO;
    far_fixture_hook(&f);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(tarn_stream_next(stream, NULL, NULL), TARN_OK);
        assert_int_equal(tarn_stream_piece(stream, &piece, &error), TARN_IO);
        assert_non_null(strstr(error.text, f.path));
        f.fail = 0;
    }
    tarn_stream_close(stream);

    assert_int_equal(tarn_stream_open(session, far_key(1), &stream, &size), TARN_OK);
    far_fixture_hold(&f, true);
    assert_int_equal(tarn_stream_next(stream, count_call, &calls), TARN_OK);
    tarn_fetch_submit(session);
    assert_int_equal(tarn_stream_next(stream, count_call, &calls), TARN_INVALID);
    far_fixture_await(&f, 1);
    tarn_stream_close(stream);
    far_fixture_hold(&f, false);
    tarn_session_close(session);
    tarn_close(store);
    assert_int_equal(calls, 0);
    far_fixture_done(&f);
}

/* --- memory --- */

static void test_memory(void **state)
{
    (void)state;
    struct far_fixture f;
    struct tarn *store;
    struct tarn_error error;
    struct tarn_bytes value;
    open_fixture(&f);
    f.options.memory_bytes_max = 100u << 10;
    assert_int_equal(store_open(os_real(), &f.options, &store, &error), TARN_TOOBIG);
    assert_non_null(strstr(error.text, "give at least"));
    f.options.memory_bytes_max = 6u << 20; /* too small for the value of 3 MiB */
    store = far_fixture_store(&f, os_real());
    struct tarn_session *session = far_fixture_session(store);
    assert_int_equal(tarn_get(session, far_key(1), &value), TARN_FULL);
    assert_int_equal(tarn_get_many(session, (struct tarn_bytes[]){far_key(1)}, 1, &value), 0);
    assert_int_equal(tarn_value_status(value), TARN_FULL);
    int64_t expire_ms;
    uint64_t bytes;
    assert_int_equal(tarn_get_expiry(session, far_key(1), &expire_ms), TARN_OK);
    assert_int_equal(tarn_usage(session, far_key(1), &bytes), TARN_OK);
    assert_true(bytes > far_sizes[1]);
    uint64_t used = tarn_memory_used(store);
    tarn_charge(store, 1 << 20);
    assert_int_equal(tarn_memory_used(store), used + (1 << 20));
    for (unsigned round = 0; round < 3; round++)
        for (size_t i = 0; i < SMALL; i++) {
            far_fixture_check(&f, session, i);
            tarn_quiescent(session);
        }
    assert_true(tarn_memory_used(store) <= f.options.memory_bytes_max);
    tarn_charge(store, -(1 << 20));
    tarn_session_close(session);
    tarn_close(store);

    f.options.directory = scratch_at(&f.scratch, "dir");
    assert_int_equal(store_open(os_real(), &f.options, &store, &error), TARN_INVALID);
    assert_non_null(strstr(error.text, "directory"));
    far_fixture_done(&f);
}

/* By size: what does not fit is left on disk. */
static void test_auto(void **state)
{
    (void)state;
    struct far_fixture f;
    struct tarn_stats stats;
    open_fixture(&f);
    f.options.data = TARN_DATA_AUTO;
    for (unsigned fits = 0; fits < 2; fits++) {
        f.options.memory_bytes_max = fits ? 64u << 20 : 5u << 20;
        f.options.index_readonly = true;
        struct tarn *store = far_fixture_store(&f, os_real());
        struct tarn_session *session = far_fixture_session(store);
        assert_int_equal(far_fixture_stats(store).on_disk, !fits);
        tarn_stats_get(store, &stats);
        assert_int_equal(stats.keys, f.d.live);
        far_fixture_check(&f, session, 3);
        tarn_session_close(session);
        tarn_close(store);
    }
    far_fixture_done(&f);
}

static unsigned retired(const struct tarn *store)
{
    unsigned count = 0;
    for (const struct cache *c = store->far->retired; c != NULL; c = c->next)
        count++;
    return count;
}

static void test_pins(void **state)
{
    (void)state;
    struct far_fixture f;
    far_fixture_open(&f, SMALL, VALUE_MAX);
    unsigned char *large = malloc(40000);
    memset(large, 'x', 40000);
    dataset_add(&f.d, bytes_of("large"), (struct tarn_bytes){large, 40000});
    far_fixture_write(&f);
    struct tarn *store = far_fixture_store(&f, os_real());
    struct tarn_session *session = far_fixture_session(store);
    struct tarn_bytes read, cached;
    struct tarn_pin *pins[2];
    assert_int_equal(tarn_get(session, bytes_of("large"), &read), TARN_OK);
    pins[0] = tarn_pin(session, read);
    tarn_quiescent(session);
    assert_int_equal(tarn_get(session, bytes_of("large"), &cached), TARN_OK);
    assert_true(cached.data != read.data);
    pins[1] = tarn_pin(session, cached);
    tarn_offline(session);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(tarn_reload(store, NULL), TARN_OK);
    tarn_online(session);
    assert_memory_equal(read.data, large, 40000);
    assert_memory_equal(cached.data, large, 40000);
    assert_true(retired(store) > 0); /* what is pinned in it stays */
    tarn_unpin(pins[0]);
    tarn_unpin(pins[1]);
    tarn_offline(session);
    do {
        sched_yield();
        assert_int_equal(tarn_reload(store, NULL), TARN_OK);
    } while (retired(store) > 2); /* old caches are closed, sooner or later */
    tarn_online(session);
    tarn_session_close(session);
    tarn_close(store);
    free(large);
    far_fixture_done(&f);
}

/* --- reloads --- */

static void rewrite(struct far_fixture *f)
{
    dataset_done(&f->d);
    struct tarn_format format = {.kind = TARN_FORMAT_BINARY};
    dataset_init(&f->d, &format);
    dataset_add_random(&f->d, 1, SMALL, 24, VALUE_MAX - 200, 50); /* the keys of before */
    add_far_values(f, 2);
    far_fixture_write(f);
}

static void check_value(struct tarn_session *session, const char *key, const char *want)
{
    struct tarn_bytes value;
    assert_int_equal(tarn_get(session, bytes_of(key), &value), TARN_OK);
    assert_true(bytes_equal(value, bytes_of(want)));
}

/* What was fetched of the old version is not given once the new one is served; a stream goes on
 * with the version it is of; a read of the old that comes late is not cached. */
static void test_reload(void **state)
{
    (void)state;
    struct far_fixture f;
    open_fixture(&f);
    struct tarn *store = far_fixture_store(&f, &f.os);
    struct tarn_session *session = far_fixture_session(store), *idle = far_fixture_session(store);
    far_fixture_check(&f, idle, 5);
    tarn_offline(idle);
    struct tarn_bytes old = far_value(&f, 1), keys[2] = {bytes_of("far-0"), bytes_of("both")};
    unsigned char *copy = malloc(old.size);
    memcpy(copy, old.data, old.size);
    old.data = copy;
    struct tarn_stream *stream, *again;
    struct tarn_fetch *fetch, *dropped;
    uint64_t size;
    unsigned calls = 0, none = 0;
    far_fixture_hook(&f);
    assert_int_equal(tarn_stream_open(session, far_key(1), &stream, &size), TARN_OK);
    far_fixture_hold(&f, true);
    assert_int_equal(tarn_fetch_begin(session, keys, 2, count_call, &calls, &fetch), 2);
    assert_int_equal(tarn_fetch_begin(session, (struct tarn_bytes[]){bytes_of("late")}, 1,
                                      count_call, &none, &dropped),
                     1);
    tarn_fetch_submit(session);
    far_fixture_await(&f, 3);
    tarn_fetch_end(dropped);
    tarn_offline(session);
    f.hooked = false; /* reads of the index are not held */
    rewrite(&f);
    assert_int_equal(tarn_reload(store, NULL), TARN_OK);
    tarn_online(session);
    f.hooked = true;
    far_fixture_hold(&f, false);
    poll_until(session, &calls, 1);
    uint64_t reads = far_fixture_stats(store).reads;
    assert_int_equal(tarn_stream_open(session, keys[0], &again, &size), TARN_OK);
    tarn_stream_close(again);
    check_value(session, "both", "new");
    assert_int_equal(far_fixture_stats(store).reads, reads);
    tarn_fetch_end(fetch);
    read_stream(session, stream, old, true);
    tarn_stream_close(stream);
    for (unsigned round = 0; round < 2; round++) {
        reads = far_fixture_stats(store).reads;
        check_value(session, "late", "new");
        check_value(session, "both", "new");
        for (size_t i = 0; i < SMALL; i++) {
            far_fixture_check(&f, session, i);
            tarn_quiescent(session);
        }
    }
    assert_int_equal(far_fixture_stats(store).reads, reads); /* the new version is cached */
    assert_int_equal(none, 0);
    tarn_online(idle);
    far_fixture_check(&f, idle, 5);
    tarn_session_close(idle);
    tarn_session_close(session);
    tarn_close(store);
    free(copy);
    far_fixture_done(&f);
}

/* --- every allocation fails --- */

static void read_some(struct far_fixture *f, struct tarn_session *session)
{
    struct tarn_bytes values[3],
        keys[3] = {dataset_key(&f->d, 3), far_key(0), dataset_key(&f->d, 200)};
    struct tarn_fetch *fetch = NULL;
    struct tarn_stream *stream = NULL;
    uint64_t size;
    unsigned calls = 0;
    if (tarn_fetch_begin(session, keys, 2, count_call, &calls, &fetch) > 0)
        poll_until(session, &calls, 1);
    (void)tarn_get_many(session, keys, 3, values);
    for (unsigned i = 0; i < 3; i++)
        if (tarn_value_status(values[i]) == TARN_OK)
            assert_true(bytes_equal(values[i], dataset_value(&f->d, dataset_find(&f->d, keys[i]))));
        else
            assert_int_equal(tarn_value_status(values[i]), TARN_NOMEM);
    if (tarn_stream_open(session, keys[1], &stream, &size) == TARN_OK && stream != NULL &&
        tarn_stream_next(stream, NULL, NULL) == TARN_OK) {
        struct tarn_bytes piece;
        int status = tarn_stream_piece(stream, &piece, NULL);
        assert_true(status == TARN_NOMEM || (status == TARN_OK && piece.size > 0));
    }
    tarn_stream_close(stream);
    tarn_fetch_end(fetch);
    tarn_quiescent(session);
}

static bool live_with_failure(struct far_fixture *f, uint64_t nth)
{
    struct tarn *store = NULL;
    struct tarn_session *session = NULL;
    struct tarn_error error;
    fault_malloc_arm(nth, false);
    int status = store_open(&f->os, &f->options, &store, &error);
    if (status == TARN_OK)
        status = tarn_session_open(store, &session, &error);
    if (status == TARN_OK)
        read_some(f, session);
    bool failed = fault_malloc_disarm() > 0;
    assert_true(status == TARN_OK || (failed && status == TARN_NOMEM));
    if (session != NULL)
        read_some(f, session);
    tarn_session_close(session);
    tarn_close(store);
    return failed;
}

static void test_no_memory(void **state)
{
    (void)state;
    struct far_fixture f;
    open_fixture(&f);
    uint64_t nth = 1;
    while (live_with_failure(&f, nth))
        nth++;
    assert_true(nth > 30);
    far_fixture_done(&f);
}

/* --- every system call fails --- */

static bool live_with_call(struct far_fixture *f, enum fault_entry entry, uint64_t nth)
{
    static struct fault_os faults;
    struct tarn *store = NULL;
    struct tarn_session *session = NULL;
    struct tarn_error error;
    struct tarn_bytes value;
    fault_os_init(&faults, os_real());
    fault_os_fail(&faults, entry, nth, EIO, false);
    int status = store_open(&faults.os, &f->options, &store, &error);
    if (status == TARN_OK)
        status = tarn_session_open(store, &session, &error);
    for (size_t i = 0; status == TARN_OK && i < 20; i++) {
        int got = tarn_get(session, dataset_key(&f->d, i), &value);
        assert_true(got == TARN_OK || got == TARN_IO);
        tarn_quiescent(session);
    }
    if (status == TARN_OK) {
        tarn_offline(session);
        assert_true(tarn_reload(store, &error) == TARN_OK || fault_os_fired(&faults));
        tarn_online(session);
    }
    bool fired = fault_os_fired(&faults);
    fault_os_reset(&faults);
    for (size_t i = 0; status == TARN_OK && i < 20; i++) {
        tarn_quiescent(session);
        far_fixture_check(f, session, i); /* whatever was, is over */
    }
    assert_true(status == TARN_OK || fired);
    tarn_session_close(session);
    tarn_close(store);
    assert_true(fault_os_clean(&faults));
    fault_os_done(&faults);
    return fired;
}

static void test_calls_fail(void **state)
{
    (void)state;
    static const enum fault_entry entries[] = {FAULT_OPEN, FAULT_FILE_INFO, FAULT_READ_AT,
                                               FAULT_MAP, FAULT_ENTROPY};
    struct far_fixture f;
    open_fixture(&f);
    f.options.index_readonly = true;
    for (size_t i = 0; i < sizeof entries / sizeof entries[0]; i++) {
        uint64_t nth = 1;
        while (live_with_call(&f, entries[i], nth))
            nth++;
        assert_true(nth > 1);
    }
    far_fixture_done(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_streams),   cmocka_unit_test(test_stream_fails),
        cmocka_unit_test(test_memory),    cmocka_unit_test(test_auto),
        cmocka_unit_test(test_pins),      cmocka_unit_test(test_reload),
        cmocka_unit_test(test_no_memory), cmocka_unit_test(test_calls_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
