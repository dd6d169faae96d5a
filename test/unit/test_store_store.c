/* Goal: a store serves one whole version of its data at a time, through reloads, failures and
 * exhausted memory; what it has handed out lives as long as promised; nothing is left behind.
 * Method: readers that check that every value of a batch is of one version while the file is
 * replaced and reloaded over and over; every call of the os and every allocation failed once in
 * opening, indexing, verifying and reloading, with account of files, descriptors and mappings.
 *
 * Bugs planted once to see it fail: qsbr_wait() left out of tarn_reload(); the reference of a pin
 * not taken; the lock not released by a failed reload; the old pack let go before the new is
 * there; the options' strings borrowed. */
#include "lib/test.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/dataset.h"
#include "lib/fault_malloc.h"
#include "lib/fault_os.h"
#include "lib/scratch.h"
#include "store/store.h"

enum { KEYS = 2000, READERS = 4, BATCH = 100 };

struct fixture {
    struct scratch scratch;
    struct fault_os faults;
    char path[SCRATCH_PATH_BYTES], index_path[SCRATCH_PATH_BYTES];
    unsigned notices;
};

static int setup(void **context)
{
    struct fixture *f = calloc(1, sizeof *f);
    scratch_open(&f->scratch);
    scratch_name(&f->scratch, "data", f->path);
    scratch_name(&f->scratch, "data.tarnidx", f->index_path);
    fault_os_init(&f->faults, NULL);
    *context = f;
    return 0;
}

static int teardown(void **context)
{
    struct fixture *f = *context;
    assert_true(fault_os_clean(&f->faults));
    scratch_close(&f->scratch);
    fault_os_done(&f->faults);
    free(f);
    return 0;
}

/* Put a version of the data under the path, by rename: KEYS keys whose values name the version. */
static void write_version(const struct fixture *f, unsigned version, size_t keys)
{
    struct dataset d;
    char fresh[SCRATCH_PATH_BYTES];
    dataset_init(&d, &dataset_formats[version % 2 ? 0 : 2]);
    for (size_t i = 0; i < keys; i++) {
        char key[32], value[64];
        snprintf(key, sizeof key, "key-%zu", i);
        snprintf(value, sizeof value, "version %u of value %zu", version, i);
        dataset_add_text(&d, key, value);
    }
    file_write(scratch_name(&f->scratch, "fresh", fresh), buffer_view(&d.data));
    assert_int_equal(rename(fresh, f->path), 0);
    dataset_done(&d);
}

static struct tarn *open_store(struct fixture *f)
{
    struct tarn_options options = {.path = f->path, .threads = 2};
    struct tarn_error error;
    struct tarn *store;
    if (store_open(&f->faults.os, &options, &store, &error) != TARN_OK)
        fail_msg("%s", error.text);
    return store;
}

/* The version a value is of; aborts the test if it is not the value of key i. */
static unsigned version_of(struct tarn_bytes value, size_t i)
{
    char text[64], expected[64];
    assert_true(value.size < sizeof text);
    memcpy(text, value.data, value.size);
    text[value.size] = 0;
    unsigned version = 0;
    sscanf(text, "version %u", &version);
    snprintf(expected, sizeof expected, "version %u of value %zu", version, i);
    assert_string_equal(text, expected);
    return version;
}

static unsigned version_served(struct tarn *store)
{
    struct tarn_session *session;
    struct tarn_bytes value;
    assert_int_equal(tarn_session_open(store, &session, NULL), TARN_OK);
    assert_int_equal(tarn_get(session, bytes_of("key-7"), &value), TARN_OK);
    unsigned version = version_of(value, 7);
    tarn_session_close(session);
    return version;
}

/* --- sessions --- */

static void count_visit(void *context, struct tarn_bytes key, struct tarn_bytes value)
{
    (void)key, (void)value;
    ++*(size_t *)context;
}

static void all_calls(void **context)
{
    struct fixture *f = *context;
    write_version(f, 1, KEYS);
    char *path = strdup(f->path), *index_path = strdup(f->index_path);
    struct tarn_options options = {.path = path, .index_path = index_path, .threads = 1};
    struct tarn *store;
    struct tarn_session *session;
    struct tarn_error error;
    struct tarn_stats stats;
    struct tarn_bytes value, key, keys[2] = {bytes_of("key-3"), bytes_of("nothing")}, values[2];
    assert_int_equal(store_open(&f->faults.os, &options, &store, &error), TARN_OK);
    memset(path, 'x', strlen(path)); /* the strings are the caller's again */
    memset(index_path, 'x', strlen(index_path));
    free(path);
    free(index_path);
    assert_int_equal(tarn_session_open(store, &session, &error), TARN_OK);
    assert_int_equal(tarn_get(session, keys[0], &value), TARN_OK);
    assert_int_equal(version_of(value, 3), 1);
    assert_int_equal(tarn_get(session, keys[1], &value), TARN_NOTFOUND);
    assert_int_equal(tarn_get_many(session, keys, 2, values), 1);
    assert_int_equal(version_of(values[0], 3), 1);
    assert_null(values[1].data);
    uint64_t cursor = 0;
    size_t visits = 0;
    do
        tarn_scan(session, &cursor, 0, count_visit, &visits);
    while (cursor != 0);
    assert_int_equal(visits, KEYS);
    assert_int_equal(tarn_random_key(session, 1, &key), TARN_OK);
    assert_memory_equal(key.data, "key-", 4);
    tarn_stats_get(store, &stats);
    assert_int_equal(stats.keys, KEYS);
    assert_int_equal(stats.records, KEYS);
    assert_int_equal(stats.generation, 1);
    assert_true(stats.index_built && stats.index_bytes > 0);
    assert_true(stats.memory_bytes >= stats.data_bytes + stats.index_bytes);
    assert_int_equal(stats.format.kind, TARN_FORMAT_TEXT);
    tarn_quiescent(session);
    tarn_offline(session);
    assert_int_equal(tarn_reload(store, &error), TARN_OK); /* by the path that was given */
    tarn_online(session);
    tarn_stats_get(store, &stats);
    assert_int_equal(stats.generation, 2);
    assert_false(stats.index_built);
    tarn_session_close(session);
    tarn_close(store);
    tarn_close(NULL);
    tarn_session_close(NULL);
    tarn_unpin(NULL);
}

static void bad_options(void **context)
{
    struct fixture *f = *context;
    struct tarn *store;
    struct tarn_error error = {0};
    struct tarn_index_report report;
    struct tarn_verify_report verified;
    struct tarn_options wrong[4] = {{0}, {.path = ""}, {.path = f->path}, {.path = f->path}};
    wrong[2].duplicates = (enum tarn_duplicates)3;
    wrong[3].format.kind = (enum tarn_format_kind)77;
    write_version(f, 1, 1);
    for (int i = 0; i < 4; i++) {
        if (i > 0) { /* without a path a writable store is opened */
            assert_int_equal(tarn_open(&wrong[i], &store, &error), TARN_INVALID);
            assert_true(error.status == TARN_INVALID && error.text[0] != 0);
        }
        assert_int_equal(tarn_index_build(&wrong[i], &report, &error), TARN_INVALID);
        assert_int_equal(tarn_verify(&wrong[i], &verified, NULL), TARN_INVALID);
    }
    assert_int_equal(tarn_open(NULL, &store, &error), TARN_INVALID);
    assert_int_equal(scratch_count(&f->scratch, ""), 1);
}

/* --- reload --- */

struct crowd {
    struct tarn *store;
    atomic_bool stop;
    _Atomic unsigned mixed, batches, newest;
};

static void *read_on(void *argument)
{
    struct crowd *c = argument;
    struct tarn_session *session;
    char text[BATCH][32];
    struct tarn_bytes keys[BATCH], values[BATCH];
    uint64_t random = (uintptr_t)&session;
    if (tarn_session_open(c->store, &session, NULL) != TARN_OK)
        abort();
    while (!atomic_load(&c->stop)) {
        size_t numbers[BATCH];
        for (size_t i = 0; i < BATCH; i++) {
            numbers[i] = random_next(&random) % KEYS;
            snprintf(text[i], sizeof text[i], "key-%zu", numbers[i]);
            keys[i] = bytes_of(text[i]);
        }
        unsigned version = 0;
        bool good = tarn_get_many(session, keys, BATCH, values) == BATCH;
        for (size_t i = 0; good && i < BATCH; i++) {
            char value[64];
            unsigned this = 0;
            size_t number = SIZE_MAX;
            memcpy(value, values[i].data, values[i].size < 63 ? values[i].size : 63);
            value[values[i].size < 63 ? values[i].size : 63] = 0;
            sscanf(value, "version %u of value %zu", &this, &number);
            good = number == numbers[i] && this > 0 && (i == 0 || this == version);
            version = this;
        }
        if (!good)
            atomic_fetch_add(&c->mixed, 1);
        if (version > atomic_load(&c->newest))
            atomic_store(&c->newest, version);
        atomic_fetch_add(&c->batches, 1);
        if (random_next(&random) % 8 == 0) {
            tarn_offline(session);
            tarn_online(session);
        } else {
            tarn_quiescent(session);
        }
    }
    tarn_session_close(session);
    return NULL;
}

/* Trips on: a batch over two versions; memory of the old version freed under a reader (ASan); the
 * new version not published properly (TSan). */
static void reload_under_readers(void **context)
{
    struct fixture *f = *context;
    write_version(f, 1, KEYS);
    struct crowd c = {.store = open_store(f)};
    pthread_t threads[READERS];
    for (int i = 0; i < READERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_on, &c), 0);
    unsigned versions = TEST_SLOWER > 1 ? 12 : 40;
    for (unsigned version = 2; version <= versions; version++) {
        struct tarn_error error;
        unsigned before = atomic_load(&c.batches);
        write_version(f, version, KEYS);
        if (tarn_reload(c.store, &error) != TARN_OK)
            fail_msg("%s", error.text);
        assert_int_equal(f->faults.maps_open, 2); /* the old version's memory is back */
        while (atomic_load(&c.batches) < before + READERS)
            sched_yield();
        assert_int_equal(version_served(c.store), version);
    }
    atomic_store(&c.stop, true);
    for (int i = 0; i < READERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&c.mixed), 0);
    assert_true(atomic_load(&c.newest) >= versions - 1);
    struct tarn_stats stats;
    tarn_stats_get(c.store, &stats);
    assert_int_equal(stats.generation, versions);
    tarn_close(c.store);
}

static void *stats_on(void *argument)
{
    struct crowd *c = argument;
    while (!atomic_load(&c->stop)) {
        struct tarn_stats stats;
        tarn_stats_get(c->store, &stats);
        if (stats.keys != KEYS || stats.generation == 0)
            atomic_fetch_add(&c->mixed, 1);
        atomic_fetch_add(&c->batches, 1);
    }
    return NULL;
}

/* Trips on: figures read from a version that is being freed. */
static void stats_under_reload(void **context)
{
    struct fixture *f = *context;
    write_version(f, 1, KEYS);
    struct crowd c = {.store = open_store(f)};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, stats_on, &c), 0);
    for (unsigned version = 2; version <= 8; version++) {
        unsigned before = atomic_load(&c.batches);
        write_version(f, version, KEYS);
        assert_int_equal(tarn_reload(c.store, NULL), TARN_OK);
        while (atomic_load(&c.batches) < before + 10)
            sched_yield();
    }
    atomic_store(&c.stop, true);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&c.mixed), 0);
    tarn_close(c.store);
}

static void *unpin(void *pin)
{
    tarn_unpin(pin);
    return NULL;
}

/* Trips on: a pinned version freed by the reload (ASan), or never. */
static void pins(void **context)
{
    struct fixture *f = *context;
    struct tarn_bytes values[4];
    struct tarn_pin *pinned[4];
    write_version(f, 1, KEYS);
    struct tarn *store = open_store(f);
    struct tarn_session *session;
    assert_int_equal(tarn_session_open(store, &session, NULL), TARN_OK);
    for (unsigned version = 1; version <= 4; version++) {
        assert_int_equal(tarn_get(session, bytes_of("key-5"), &values[version - 1]), TARN_OK);
        pinned[version - 1] = tarn_pin(session, values[version - 1]);
        tarn_offline(session);
        write_version(f, version + 1, KEYS);
        assert_int_equal(tarn_reload(store, NULL), TARN_OK);
        tarn_online(session);
        assert_int_equal(f->faults.maps_open, 2 * (version + 1));
    }
    for (unsigned version = 1; version <= 4; version++) {
        assert_int_equal(version_of(values[version - 1], 5), version);
        pthread_t thread; /* from any thread */
        assert_int_equal(pthread_create(&thread, NULL, unpin, pinned[version - 1]), 0);
        pthread_join(thread, NULL);
        assert_int_equal(f->faults.maps_open, 2 * (5 - version));
    }
    tarn_session_close(session);
    tarn_close(store);
}

/* An os whose rename, the last step of a reload that builds an index, waits at two barriers. */
struct waiting_os {
    struct os os;
    pthread_barrier_t reached, go_on;
    atomic_bool armed;
};

static int waiting_rename(const struct os *os, const char *from, const char *to)
{
    struct waiting_os *w = os->context;
    if (atomic_exchange(&w->armed, false)) {
        pthread_barrier_wait(&w->reached);
        pthread_barrier_wait(&w->go_on);
    }
    return os_real()->rename(os_real(), from, to);
}

static void *reload_once(void *store)
{
    return (void *)(intptr_t)tarn_reload(store, NULL);
}

/* Trips on: two reloads at once; a lock kept after one. */
static void second_reload_is_busy(void **context)
{
    struct fixture *f = *context;
    struct waiting_os w = {.os = *os_real()};
    struct tarn_options options = {.path = f->path, .threads = 1};
    struct tarn_error error;
    struct tarn *store;
    pthread_t thread;
    void *result;
    w.os.rename = waiting_rename;
    w.os.context = &w;
    pthread_barrier_init(&w.reached, NULL, 2);
    pthread_barrier_init(&w.go_on, NULL, 2);
    write_version(f, 1, KEYS);
    assert_int_equal(store_open(&w.os, &options, &store, &error), TARN_OK);
    for (unsigned version = 2; version < 4; version++) {
        write_version(f, version, KEYS);
        atomic_store(&w.armed, true);
        assert_int_equal(pthread_create(&thread, NULL, reload_once, store), 0);
        pthread_barrier_wait(&w.reached);
        assert_int_equal(tarn_reload(store, &error), TARN_BUSY);
        assert_non_null(strstr(error.text, f->path));
        assert_int_equal(version_served(store), version - 1);
        pthread_barrier_wait(&w.go_on);
        pthread_join(thread, &result);
        assert_int_equal((intptr_t)result, TARN_OK);
        assert_int_equal(version_served(store), version);
    }
    assert_int_equal(tarn_reload(store, &error), TARN_OK);
    tarn_close(store);
    pthread_barrier_destroy(&w.reached);
    pthread_barrier_destroy(&w.go_on);
}

/* Trips on: the old version given up for a new one that cannot be served. */
struct waiting {
    struct tarn *store;
    atomic_bool done;
};

static void *reload_and_tell(void *context)
{
    struct waiting *w = context;
    int status = tarn_reload(w->store, NULL);
    atomic_store(&w->done, true);
    return (void *)(intptr_t)status;
}

/* Two sessions on one thread: what one has in view outlives the other's quiescent states. */
static void sessions_of_one_thread(void **context)
{
    struct fixture *f = *context;
    write_version(f, 1, KEYS);
    struct waiting w = {.store = open_store(f)};
    struct tarn_session *one, *other;
    struct tarn_bytes value, ignored;
    struct tarn_stats stats;
    pthread_t thread;
    void *status;
    assert_int_equal(tarn_session_open(w.store, &one, NULL), TARN_OK);
    assert_int_equal(tarn_session_open(w.store, &other, NULL), TARN_OK);
    assert_int_equal(tarn_get(one, bytes_of("key-7"), &value), TARN_OK);
    assert_int_equal(tarn_get(other, bytes_of("key-7"), &ignored), TARN_OK);
    write_version(f, 2, KEYS);
    assert_int_equal(pthread_create(&thread, NULL, reload_and_tell, &w), 0);
    do { /* until it has swapped and waits for this thread */
        sched_yield();
        tarn_stats_get(w.store, &stats);
    } while (stats.generation == 1);
    for (unsigned i = 0; i < 1000; i++) {
        tarn_quiescent(other);
        assert_int_equal(tarn_get(other, bytes_of("key-7"), &ignored), TARN_OK);
        assert_int_equal(version_of(ignored, 7), 2);
        sched_yield();
    }
    tarn_offline(other);
    tarn_online(other);
    tarn_session_close(other);
    assert_false(atomic_load(&w.done));
    assert_int_equal(version_of(value, 7), 1);
    assert_int_equal(tarn_get(one, bytes_of("key-7"), &value), TARN_OK);
    assert_int_equal(version_of(value, 7), 1); /* one version between quiescent states */
    tarn_quiescent(one);
    assert_int_equal(pthread_join(thread, &status), 0);
    assert_int_equal((intptr_t)status, TARN_OK);
    assert_int_equal(tarn_get(one, bytes_of("key-7"), &value), TARN_OK);
    assert_int_equal(version_of(value, 7), 2);
    tarn_session_close(one);
    tarn_close(w.store);
}

static void failed_reload_keeps_the_old(void **context)
{
    struct fixture *f = *context;
    struct tarn_error error;
    struct tarn_stats stats;
    write_version(f, 1, KEYS);
    struct tarn *store = open_store(f);
    assert_int_equal(unlink(f->path), 0);
    assert_int_equal(tarn_reload(store, &error), TARN_MISSING);
    assert_non_null(strstr(error.text, f->path));
    assert_int_equal(version_served(store), 1);
    file_write(f->path, bytes_of("good record\nbad\n"));
    assert_int_equal(tarn_reload(store, &error), TARN_CORRUPT);
    assert_int_equal(error.record, 1);
    assert_int_equal(error.offset, 12);
    assert_int_equal(version_served(store), 1);
    assert_int_equal(f->faults.maps_open, 2);
    tarn_stats_get(store, &stats);
    assert_int_equal(stats.generation, 1);
    write_version(f, 2, KEYS);
    assert_int_equal(tarn_reload(store, &error), TARN_OK);
    assert_int_equal(version_served(store), 2);
    tarn_close(store);
}

/* --- every failure --- */

enum operation { OPEN_BUILDING, OPEN_READING, INDEX, VERIFY, RELOAD, OPERATIONS };

static void count_notice(void *context, const char *text)
{
    struct fixture *f = context;
    f->notices += strstr(text, f->path) != NULL; /* each names the file */
}

/* Do it; on success, see that the answers are right. */
static int operate(struct fixture *f, enum operation operation, struct tarn *reloaded,
                   struct tarn_error *error)
{
    struct tarn_options options = {.path = f->path, .threads = 1};
    struct tarn_index_report report;
    struct tarn_verify_report verified;
    struct tarn *store;
    options.notice = count_notice;
    options.notice_context = f;
    int status;
    switch (operation) {
    case INDEX:
        return store_index_build(&f->faults.os, &options, &report, error);
    case VERIFY:
        return store_verify(&f->faults.os, &options, &verified, error);
    case RELOAD:
        return tarn_reload(reloaded, error);
    default:
        status = store_open(&f->faults.os, &options, &store, error);
        if (status == TARN_OK) {
            fault_malloc_disarm();
            assert_int_equal(version_served(store), 2);
            tarn_close(store);
        }
        return status;
    }
}

/* The state an operation begins in: a good index for all but OPEN_BUILDING; RELOAD serves the
 * version before. Returns the store to reload. */
static struct tarn *prepare(struct fixture *f, enum operation operation)
{
    struct tarn *store = NULL;
    fault_os_reset(&f->faults);
    if (operation == RELOAD) {
        write_version(f, 1, 300);
        store = open_store(f);
    }
    write_version(f, 2, 300);
    (void)unlink(f->index_path);
    if (operation != OPEN_BUILDING && operation != RELOAD) {
        struct tarn_options options = {.path = f->path, .threads = 1};
        struct tarn_index_report report;
        assert_int_equal(store_index_build(os_real(), &options, &report, NULL), TARN_OK);
    }
    fault_os_reset(&f->faults);
    f->notices = 0;
    return store;
}

/* After it: the error is whole; no temporary file, no descriptor, no mapping is left; an index
 * that lies there is a good one; a store that failed to reload serves what it did. */
static void check_after(struct fixture *f, enum operation operation, struct tarn *reloaded,
                        int status, const struct tarn_error *error, const char *what)
{
    struct tarn_options options = {.path = f->path, .threads = 1};
    struct tarn_verify_report verified;
    struct tarn_error problem;
    fault_os_reset(&f->faults);
    if (status != TARN_OK) {
        if (status > 0 || error->status != status || !strstr(error->text, f->path))
            fail_msg("%s: status %d, \"%s\"", what, status, error->text);
    }
    assert_int_equal(scratch_count(&f->scratch, ".tmp"), 0);
    if (operation == INDEX || operation == VERIFY || operation == OPEN_READING)
        assert_int_equal(scratch_count(&f->scratch, ".tarnidx"), 1);
    if (scratch_count(&f->scratch, ".tarnidx") > 0 &&
        store_verify(os_real(), &options, &verified, &problem) != TARN_OK)
        fail_msg("%s: %s", what, problem.text);
    if (operation == RELOAD) {
        assert_int_equal(version_served(reloaded), status == TARN_OK ? 2 : 1);
        tarn_close(reloaded);
    }
    if (!fault_os_clean(&f->faults))
        fail_msg("%s: something is left open", what);
}

static void every_call_fails(void **context)
{
    struct fixture *f = *context;
    static const int numbers[] = {EIO, ENOSPC, EACCES, ENOMEM, EMFILE};
    for (int operation = 0; operation < OPERATIONS; operation++) {
        for (int entry = 0; entry <= FAULT_ENTROPY; entry++) {
            uint64_t failures = 0;
            bool fired = entry != FAULT_UNMAP && entry != FAULT_MONOTONIC_NS;
            for (uint64_t nth = 1; fired; nth++) {
                for (int stays = 0; stays < 2; stays++) {
                    char what[128];
                    struct tarn_error error = {0};
                    struct tarn *store = prepare(f, operation);
                    int number = numbers[(nth + (unsigned)entry) % 5];
                    snprintf(what, sizeof what, "operation %d, %s %llu: errno %d", operation,
                             fault_entry_name(entry), (unsigned long long)nth, number);
                    fault_os_fail(&f->faults, entry, nth, number, stays);
                    int status = operate(f, operation, store, &error);
                    fired = fault_os_fired(&f->faults);
                    if (!fired && status != TARN_OK)
                        fail_msg("%s: %s", what, error.text);
                    if (fired && entry != FAULT_CLOSE && entry != FAULT_UNLINK &&
                        status == TARN_OK && f->notices == 0 && operation != RELOAD)
                        fail_msg("%s: nobody is told", what);
                    failures += fired;
                    check_after(f, operation, store, status, &error, what);
                }
            }
            if (entry == FAULT_OPEN || entry == FAULT_READ_AT)
                assert_true(failures > 0);
        }
    }
}

/* A full disk in the middle, after any number of bytes. */
static void disk_is_full(void **context)
{
    struct fixture *f = *context;
    for (uint64_t nth = 1; nth <= 3; nth++) {
        for (size_t bytes = 0; bytes < 400; bytes += 133) {
            struct tarn_error error = {0};
            struct tarn *store = prepare(f, INDEX);
            fault_os_short(&f->faults, FAULT_WRITE_AT, nth, bytes);
            fault_os_fail(&f->faults, FAULT_WRITE_AT, nth + 1, ENOSPC, true);
            int status = operate(f, INDEX, store, &error);
            if (fault_os_fired(&f->faults) && nth < 3 && bytes > 0)
                assert_int_equal(status, TARN_NOSPACE);
            check_after(f, INDEX, store, status, &error, "full disk");
        }
    }
}

static void every_allocation_fails(void **context)
{
    struct fixture *f = *context;
    for (int operation = 0; operation < OPERATIONS; operation++) {
        for (int stays = 0; stays < 2; stays++) {
            bool fired = true;
            /* the scan's 256 partitions are alike: not each of them need be failed */
            for (uint64_t nth = 1; fired; nth += nth < 30 ? 1 : 17 * TEST_SLOWER) {
                struct tarn_error error = {0};
                char what[64];
                struct tarn *store = prepare(f, operation);
                snprintf(what, sizeof what, "operation %d, allocation %llu", operation,
                         (unsigned long long)nth);
                fault_malloc_arm(nth, stays);
                int status = operate(f, operation, store, &error);
                fired = fault_malloc_calls() >= nth;
                fault_malloc_disarm();
                if (status != TARN_OK && (!fired || status != TARN_NOMEM))
                    fail_msg("%s: %s", what, error.text);
                check_after(f, operation, store, status, &error, what);
            }
        }
    }
    struct tarn *store = prepare(f, RELOAD);
    struct tarn_session *session;
    struct tarn_error error = {0};
    fault_malloc_arm(1, false);
    assert_int_equal(tarn_session_open(store, &session, &error), TARN_NOMEM);
    fault_malloc_disarm();
    assert_true(error.text[0] != 0);
    tarn_close(store);
}

/* Trips on: a version that vanishes with its file. */
static void file_goes_away(void **context)
{
    struct fixture *f = *context;
    write_version(f, 3, KEYS);
    struct tarn *store = open_store(f);
    assert_int_equal(truncate(f->path, 10), 0);
    assert_int_equal(unlink(f->path), 0);
    assert_int_equal(unlink(f->index_path), 0);
    assert_int_equal(version_served(store), 3);
    tarn_close(store);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(all_calls),
        TEST(bad_options),
        TEST(reload_under_readers),
        TEST(stats_under_reload),
        TEST(pins),
        TEST(second_reload_is_busy),
        TEST(sessions_of_one_thread),
        TEST(failed_reload_keeps_the_old),
        TEST(file_goes_away),
        TEST(every_call_fails),
        TEST(disk_is_full),
        TEST(every_allocation_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
