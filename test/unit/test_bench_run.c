/* Goal: a run opens, loads, measures as often as asked and closes; its figures are of one piece and
 * of the measurement only; what goes wrong on the way, a signal included, ends it with that error
 * and with what was counted until then.
 * Method: whole runs from settings, over tarn in this process and over a store that counts and
 * fails; every allocation failed once. */
#include "bench/run.h"

#include "lib/test.h"

#include "lib/fake_store.h"
#include "lib/fault_malloc.h"
#include "lib/run_fixture.h"
#include "lib/scratch.h"

static const struct embedded_store *const stores[] = {&fake_embedded, NULL};

/* A run over the fake store with this plan. */
static struct run_fixture fake_fixture(struct fake_plan plan)
{
    fake_reset(&plan);
    return (struct run_fixture){.stores = stores};
}

/* The store was closed as often as it was opened, by its run. */
static void close_fake(struct run_fixture *f)
{
    fixture_close(f);
    assert_int_equal(atomic_load(&fake.opened), atomic_load(&fake.closed));
    assert_int_equal(atomic_load(&fake.threads_opened), atomic_load(&fake.threads_closed));
    fake_reset(NULL);
}

/* --- tarn in this process --- */

static void test_memory(void **state)
{
    (void)state;
    static const char *const batches[] = {"batch=1", "batch=30", "batch=200"};
    for (size_t i = 0; i < 3; i++) {
        struct run_fixture f = {0};
        fixture_run(&f, WORDS("embedded=memory", "records=3000", "requests=2000", "verify",
                              "missing-ratio=0.1", "threads=2", "value-size=0-40", batches[i]));
        check_figures(&f);
        uint64_t keys = 2000 * f.settings.batch;
        assert_true(f.figures.complete);
        assert_string_equal(f.figures.target, "embedded memory");
        assert_int_equal(f.figures.connections, 0);
        assert_int_equal(FIGURE(f, operations), keys);
        assert_int_equal(FIGURE(f, hits) + FIGURE(f, misses), keys);
        assert_int_equal(FIGURE(f, misses), FIGURE(f, misses_expected));
        assert_in_range(FIGURE(f, misses), keys / 20, keys / 5);
        assert_int_equal(FIGURE(f, wrong), 0);
        assert_true(f.figures.loaded);
        assert_int_equal(f.figures.load_operations, 3000);
        assert_true(f.figures.load_seconds > 0);
        assert_true(f.figures.data_bytes > 3000 * 16 && f.figures.data_bytes < 3000 * 56);
        assert_true(f.figures.memory_loaded_bytes > 0 && f.figures.memory_before_bytes > 0);
        fixture_close(&f);
    }
}

/* Empty values are there, every record is. */
static void test_memory_has_every_record(void **state)
{
    (void)state;
    static const char *const sizes[] = {"value-size=0", "value-size=1", "value-size=0-300"};
    for (size_t i = 0; i < 3; i++) {
        struct run_fixture f = {0};
        fixture_run(&f, WORDS("embedded=memory", "records=20000", "requests=20000", "verify",
                              "distribution=sequential", sizes[i]));
        check_figures(&f);
        assert_int_equal(FIGURE(f, hits), 20000);
        assert_int_equal(FIGURE(f, wrong), 0);
        assert_int_equal(FIGURE(f, value_bytes), f.figures.data_bytes - 20000 * 16);
        fixture_close(&f);
    }
}

static void write_file(const char *path, size_t records)
{
    struct buffer data = {0};
    for (size_t i = 0; i < records; i++)
        buffer_printf(&data, "key%zu\tvalue %zu of them\n", i * 7919 % records, i);
    assert_false(data.failed);
    file_write(path, buffer_view(&data));
    buffer_done(&data);
}

static void test_file(void **state)
{
    struct scratch *scratch = *state;
    char word[SCRATCH_PATH_BYTES + 16];
    struct run_fixture f = {0};
    snprintf(word, sizeof word, "embedded=%s", scratch_at(scratch, "data"));
    write_file(scratch_at(scratch, "data"), 5000);
    for (int many = 0; many < 2; many++) {
        fixture_run(&f, WORDS(word, "requests=5000", "verify", "distribution=sequential",
                              many ? "batch=100" : "batch=1"));
        check_figures(&f);
        assert_int_equal(FIGURE(f, hits), many ? 500000 : 5000);
        assert_int_equal(FIGURE(f, wrong), 0);
        assert_false(f.figures.loaded);
        fixture_close(&f);
    }
    assert_int_equal(scratch_count(scratch, ""), 1); /* no index was written beside it */
}

/* The keys of one file, all of which another one has with other values. */
static void test_file_verified_against_another(void **state)
{
    struct scratch *scratch = *state;
    char embedded[SCRATCH_PATH_BYTES + 16], keys[SCRATCH_PATH_BYTES + 16];
    struct run_fixture f = {0};
    write_file(scratch_at(scratch, "data"), 100);
    file_write(scratch_at(scratch, "keys"),
               bytes_of("key5\tanother\nkey6\tvalue 1000\nkey100\tx\n"));
    snprintf(embedded, sizeof embedded, "embedded=%s", scratch_at(scratch, "data"));
    snprintf(keys, sizeof keys, "keys-from=%s", scratch_at(scratch, "keys"));
    fixture_run(&f, WORDS(embedded, keys, "requests=3", "verify", "distribution=sequential"));
    assert_int_equal(FIGURE(f, hits), 2);
    assert_int_equal(FIGURE(f, wrong), 2);
    assert_int_equal(FIGURE(f, misses), 1);
    fixture_close(&f);
}

static void test_none(void **state)
{
    (void)state;
    struct run_fixture f = {0};
    fixture_run(&f, WORDS("embedded=none", "workload=f", "load", "records=1000", "requests=1000",
                          "batch=10"));
    check_figures(&f);
    assert_int_equal(FIGURE(f, operations), 10000);
    assert_int_equal(FIGURE(f, hits), 10000);
    assert_int_equal(f.figures.load_operations, 1000);
    fixture_close(&f);
}

/* --- a store that counts --- */

static void test_load_then_measure(void **state)
{
    (void)state;
    struct run_fixture f = fake_fixture((struct fake_plan){0});
    fixture_run(&f, WORDS("embedded=fake:/some/path", "records=1000", "load", "requests=500",
                          "verify", "threads=2", "workload=mixed", "read-ratio=0.5"));
    check_figures(&f);
    assert_string_equal(fake.path, "/some/path");
    assert_int_equal(fake.threads, 2);
    assert_int_equal(atomic_load(&fake.loaded), 1);
    assert_int_equal(atomic_load(&fake.loaded_true), 1);
    assert_int_equal(f.figures.load_operations, 1000);
    assert_int_equal(FIGURE(f, operations), 500);
    assert_int_equal(FIGURE(f, misses) + FIGURE(f, wrong), 0); /* all was there */
    assert_int_equal(atomic_load(&fake.wrong_writes) + atomic_load(&fake.unknown), 0);
    close_fake(&f);
}

static void test_without_a_load(void **state)
{
    (void)state;
    struct run_fixture f = fake_fixture((struct fake_plan){0});
    fixture_run(&f, WORDS("embedded=fake:", "records=1000", "requests=500"));
    check_figures(&f);
    assert_int_equal(atomic_load(&fake.puts), 0);
    assert_int_equal(atomic_load(&fake.loaded), 1);
    assert_int_equal(atomic_load(&fake.loaded_true), 0);
    assert_false(f.figures.loaded);
    assert_int_equal(FIGURE(f, misses), 500); /* an answer, no failure */
    assert_true(f.figures.complete);
    close_fake(&f);
}

static void test_load_only(void **state)
{
    (void)state;
    struct run_fixture f = fake_fixture((struct fake_plan){0});
    assert_int_equal(fixture_open(&f, WORDS("embedded=fake:", "records=1000", "load-only")),
                     TARN_OK);
    run_loaded(f.run, &f.figures);
    assert_true(f.figures.complete && f.figures.loaded);
    assert_int_equal(f.figures.load_operations, 1000);
    assert_true(f.figures.load_seconds > 0);
    assert_int_equal(atomic_load(&fake.keys_written), 1000);
    close_fake(&f);
}

/* Trips on a load on all threads of a store that can only be written by one. */
static void test_one_writer(void **state)
{
    (void)state;
    struct embedded_store one = fake_embedded;
    const struct embedded_store *const list[] = {&one, NULL};
    one.one_writer = true;
    struct run_fixture f = fake_fixture((struct fake_plan){0});
    f.stores = list;
    assert_int_equal(fixture_open(&f, WORDS("embedded=fake:", "load", "records=1000", "threads=3")),
                     TARN_OK);
    assert_int_equal(atomic_load(&fake.threads_opened), 1);
    assert_int_equal(atomic_load(&fake.keys_written), 1000);
    assert_int_equal(fake.threads, 3);
    close_fake(&f);
}

static void test_several_measurements(void **state)
{
    (void)state;
    struct run_fixture f = fake_fixture((struct fake_plan){.starts_full = true});
    assert_int_equal(
        fixture_open(&f, WORDS("embedded=fake:", "records=1000", "requests=300", "threads=2")),
        TARN_OK);
    for (unsigned i = 1; i <= 4; i++) {
        f.settings.requests = 100 * i;
        assert_int_equal(fixture_measure(&f), TARN_OK);
        check_figures(&f);
        assert_int_equal(FIGURE(f, operations), 100 * i);
    }
    assert_int_equal(atomic_load(&fake.gets), 1000);
    assert_int_equal(atomic_load(&fake.opened), 1);
    close_fake(&f);
}

/* Records read by calls `from` to `from + count` of the fake store, in a list. */
static void log_records(size_t from, size_t count, uint64_t *ret_records)
{
    assert_true(from + count <= atomic_load(&fake.log_count) && from + count <= FAKE_LOG_MAX);
    for (size_t i = 0; i < count; i++)
        ret_records[i] = fake.log[from + i].record;
}

/* A warm-up that reads what is measured next would make a store look faster than it is. */
static void test_measurements_go_on_in_the_stream(void **state)
{
    (void)state;
    static uint64_t parts[400], whole[400];
    struct run_fixture f = fake_fixture((struct fake_plan){.starts_full = true});
    assert_int_equal(fixture_open(&f, WORDS("embedded=fake:", "records=100000", "requests=200")),
                     TARN_OK);
    assert_int_equal(fixture_measure(&f), TARN_OK);
    assert_int_equal(fixture_measure(&f), TARN_OK);
    log_records(0, 400, parts);
    close_fake(&f);
    assert_memory_not_equal(parts, parts + 200, sizeof parts / 2);
    f = fake_fixture((struct fake_plan){.starts_full = true});
    fixture_run(&f, WORDS("embedded=fake:", "records=100000", "requests=400"));
    log_records(0, 400, whole);
    close_fake(&f);
    assert_memory_equal(parts, whole, sizeof whole);
}

static void test_warm_up_is_not_counted(void **state)
{
    (void)state;
    struct os os = fake_clock_os(1000000, 0);
    struct run_fixture f = fake_fixture((struct fake_plan){.starts_full = true, .call_ns = 10000});
    f.os = &os;
    fixture_run(&f, WORDS("embedded=fake:", "records=1000", "requests=700", "warmup=50ms"));
    check_figures(&f);
    assert_int_equal(FIGURE(f, operations), 700);
    assert_in_range(atomic_load(&fake.gets), 700 + 5000, 700 + 5000 + 64);
    assert_true(f.figures.seconds > 0.00699 && f.figures.seconds < 0.00701);
    close_fake(&f);
}

static void test_open_loop(void **state)
{
    (void)state;
    struct os os = fake_clock_os(1000000, 1000);
    struct run_fixture f = fake_fixture((struct fake_plan){.starts_full = true, .call_ns = 10000});
    f.os = &os;
    fixture_run(&f, WORDS("embedded=fake:", "records=1000", "rate=2000", "duration=500ms"));
    check_figures(&f);
    assert_int_equal(FIGURE(f, operations), 1000);
    assert_true(f.figures.rate > 1999 && f.figures.rate < 2001);
    assert_true(f.figures.seconds > 0.49 && f.figures.seconds < 0.51);
    close_fake(&f);
}

/* Both threads insert and read what the other one inserted. */
static void test_inserts_on_two_threads(void **state)
{
    (void)state;
    struct run_fixture f = fake_fixture((struct fake_plan){.starts_full = true});
    fixture_run(&f, WORDS("embedded=fake:", "workload=d", "records=1000", "requests=5000", "verify",
                          "threads=2"));
    check_figures(&f);
    assert_int_equal(FIGURE(f, operations), 5000);
    assert_int_equal(FIGURE(f, misses) + FIGURE(f, wrong), 0);
    assert_true(atomic_load(&fake.keys_written) > 100);
    close_fake(&f);
}

/* --- hooks --- */

struct watcher {
    unsigned asked, cancel_at; /* cancel_at: 0: never */
    unsigned ticks;
    char phases[256];
    struct run_tick last;
};

static bool is_cancelled(void *context)
{
    struct watcher *w = context;
    return ++w->asked == w->cancel_at;
}

static void note_tick(void *context, const struct run_tick *tick)
{
    struct watcher *w = context;
    size_t used = strlen(w->phases);
    w->ticks++;
    w->last = *tick;
    if (!strstr(w->phases, tick->phase))
        snprintf(w->phases + used, sizeof w->phases - used, "%s.", tick->phase);
}

static void test_ticks(void **state)
{
    (void)state;
    struct watcher watcher = {0};
    struct run_fixture f = fake_fixture((struct fake_plan){.fail_get = 0});
    f.hooks = (struct run_hooks){.context = &watcher, .tick = note_tick};
    assert_int_equal(fixture_open(&f, WORDS("embedded=fake:", "records=1000", "load",
                                            "requests=500", "warmup=1ms", "threads=2")),
                     TARN_OK);
    assert_string_equal(watcher.last.phase, "loading");
    assert_int_equal(watcher.last.done, 1000);
    assert_int_equal(watcher.last.total, 1000);
    assert_int_equal(fixture_measure(&f), TARN_OK);
    assert_string_equal(watcher.phases, "loading.warming up.measuring.");
    assert_int_equal(watcher.last.done, 500);
    assert_int_equal(watcher.last.total, 500);
    assert_true(watcher.last.total_s <= 0 && watcher.last.elapsed_s > 0);
    assert_true(watcher.last.per_second > 0);
    assert_int_equal(watcher.last.errors, 0);
    close_fake(&f);
}

static void test_cancelled(void **state)
{
    (void)state;
    struct watcher watcher = {.cancel_at = 2};
    struct run_fixture f = fake_fixture((struct fake_plan){.starts_full = true});
    f.hooks = (struct run_hooks){.context = &watcher, .cancelled = is_cancelled};
    assert_int_equal(
        fixture_open(&f, WORDS("embedded=fake:", "records=1000", "duration=1h", "threads=2")),
        TARN_OK);
    assert_int_equal(fixture_measure(&f), TARN_CANCELLED);
    check_figures(&f);
    assert_false(f.figures.complete);
    assert_string_equal(f.figures.stopped, "stopped by a signal");
    assert_string_equal(f.error.text, "stopped by a signal");
    assert_int_equal(f.error.status, TARN_CANCELLED);
    assert_int_equal(watcher.asked, 2);
    assert_true(FIGURE(f, operations) > 0);
    assert_int_equal(FIGURE(f, operations) + FIGURE(f, lost), atomic_load(&fake.gets));
    close_fake(&f);
}

static void test_cancelled_while_warming_up(void **state)
{
    (void)state;
    struct watcher watcher = {.cancel_at = 1};
    struct run_fixture f = fake_fixture((struct fake_plan){.starts_full = true});
    f.hooks = (struct run_hooks){.context = &watcher, .cancelled = is_cancelled};
    assert_int_equal(fixture_open(&f, WORDS("embedded=fake:", "records=1000", "warmup=1h")),
                     TARN_OK);
    assert_int_equal(fixture_measure(&f), TARN_CANCELLED);
    assert_false(f.figures.complete);
    assert_string_equal(f.figures.stopped, "stopped by a signal");
    assert_int_equal(FIGURE(f, operations), 0); /* none of them counts */
    close_fake(&f);
}

/* --- failures --- */

static void test_a_failing_store_ends_the_measurement(void **state)
{
    (void)state;
    for (unsigned threads = 1; threads <= 2; threads++) {
        struct run_fixture f =
            fake_fixture((struct fake_plan){.starts_full = true, .fail_get = 1000});
        assert_int_equal(fixture_open(&f, WORDS("embedded=fake:", "records=1000", "duration=1h",
                                                threads == 1 ? "threads=1" : "threads=2")),
                         TARN_OK);
        assert_int_equal(fixture_measure(&f), TARN_IO);
        check_figures(&f);
        assert_false(f.figures.complete);
        assert_non_null(strstr(f.error.text, "fails"));
        assert_string_equal(f.figures.stopped, f.error.text);
        assert_int_equal(FIGURE(f, operations), 999);
        assert_true(FIGURE(f, lost) >= 1);
        close_fake(&f);
    }
}

/* Of two threads the second one asks for the odd records. The first is stopped when it fails, and
 * its error is the run's. */
static void test_the_cause_is_told_not_its_echo(void **state)
{
    (void)state;
    struct run_fixture f =
        fake_fixture((struct fake_plan){.starts_full = true, .fails = true, .fail_record = 777});
    assert_int_equal(fixture_open(&f, WORDS("embedded=fake:", "records=1000", "duration=1h",
                                            "distribution=sequential", "threads=2")),
                     TARN_OK);
    assert_int_equal(fixture_measure(&f), TARN_IO);
    check_figures(&f);
    assert_string_equal(f.figures.stopped, "record 777 fails");
    close_fake(&f);
}

static void check_open_fails(struct fake_plan plan, int status, const char *text)
{
    struct run_fixture f = fake_fixture(plan);
    assert_int_equal(fixture_open(&f, WORDS("embedded=fake:", "load", "records=1000", "threads=2")),
                     status);
    assert_int_equal(f.error.status, status);
    if (!strstr(f.error.text, text))
        fail_msg("%s", f.error.text);
    assert_null(f.run);
    close_fake(&f);
}

static void test_opening_fails(void **state)
{
    (void)state;
    check_open_fails((struct fake_plan){.fail_open = true}, TARN_IO, "the store does not open");
    check_open_fails((struct fake_plan){.fail_thread_open = 1}, TARN_BUSY, "no more threads");
    check_open_fails((struct fake_plan){.fail_put = 3}, TARN_NOSPACE, "fails");
    check_open_fails((struct fake_plan){.fail_loaded = true}, TARN_NOSPACE, "no room to build");
}

static void test_a_thread_that_cannot_begin(void **state)
{
    (void)state;
    struct run_fixture f = fake_fixture((struct fake_plan){.starts_full = true});
    assert_int_equal(fixture_open(&f, WORDS("embedded=fake:", "records=1000", "threads=2")),
                     TARN_OK);
    fake.plan.fail_thread_open = 1;
    assert_int_equal(fixture_measure(&f), TARN_BUSY);
    assert_false(f.figures.complete);
    assert_string_equal(f.figures.stopped, "no more threads");
    close_fake(&f);
}

/* The other one has an hour to go. Trips on a failure that stops its own thread only: a signal in
 * the twentieth second ends the test then. */
static void test_one_thread_that_cannot_begin_stops_the_others(void **state)
{
    (void)state;
    struct watcher watcher = {.cancel_at = 200};
    struct run_fixture f =
        fake_fixture((struct fake_plan){.starts_full = true, .fail_thread_open = 2});
    f.hooks = (struct run_hooks){.context = &watcher, .cancelled = is_cancelled};
    assert_int_equal(
        fixture_open(&f, WORDS("embedded=fake:", "records=1000", "threads=2", "duration=1h")),
        TARN_OK);
    assert_int_equal(fixture_measure(&f), TARN_BUSY);
    assert_in_range(watcher.asked, 0, watcher.cancel_at - 1);
    assert_string_equal(f.figures.stopped, "no more threads");
    assert_int_equal(atomic_load(&fake.threads_closed), 1);
    close_fake(&f);
}

static void check_refused(const char *const *words, int status, const char *text)
{
    struct run_fixture f = {0};
    assert_int_equal(fixture_open(&f, words), status);
    if (!strstr(f.error.text, text))
        fail_msg("%s", f.error.text);
    assert_null(f.run);
    fixture_close(&f);
}

static void test_settings_refused(void **state)
{
    struct scratch *scratch = *state;
    char embedded[SCRATCH_PATH_BYTES + 16];
    snprintf(embedded, sizeof embedded, "embedded=%s", scratch_at(scratch, "data"));
    write_file(scratch_at(scratch, "data"), 100);
    check_refused(WORDS(embedded, "workload=d"), TARN_INVALID, "file cannot be written");
    check_refused(WORDS(embedded, "load-only"), TARN_INVALID, "--load-only: file cannot be");
    check_refused(WORDS("embedded=memory", "records=1M", "key-size=2"), TARN_INVALID, "key");
    check_refused(WORDS("embedded=/nowhere/at/all"), TARN_MISSING, "/nowhere/at/all");
    check_refused(WORDS("connect=127.0.0.1"), TARN_INVALID, "--connect: 127.0.0.1: no port");
    check_refused(WORDS("http=127.0.0.1:1", "workload=e"), TARN_INVALID, "HTTP has no scans");
}

/* Told before anything is connected to. */
static void test_inserts_into_a_data_file_are_refused(void **state)
{
    struct scratch *scratch = *state;
    struct settings s;
    struct run *run = NULL;
    struct tarn_error error;
    char keys[SCRATCH_PATH_BYTES + 16];
    snprintf(keys, sizeof keys, "keys-from=%s", scratch_at(scratch, "data"));
    write_file(scratch_at(scratch, "data"), 100);
    BENCH_SETTINGS(&s, "connect=127.0.0.1:1", "workload=d", keys);
    assert_int_equal(run_open(os_real(), &s, NULL, NULL, &run, &error), TARN_INVALID);
    assert_string_equal(error.text, "--workload d inserts new records, which a data file has not");
    bench_settings_done(&s);
}

/* --- checking beforehand --- */

static int check(const char *const *words, struct tarn_error *error)
{
    struct settings s;
    bench_settings_init(&s, words);
    *error = (struct tarn_error){0};
    int status = run_check(os_real(), &s, stores, error);
    bench_settings_done(&s);
    return status;
}

static void test_run_check(void **state)
{
    (void)state;
    struct tarn_error error;
    assert_int_equal(check(WORDS("embedded=memory", "workload=c"), &error), TARN_OK);
    assert_int_equal(check(WORDS("connect=127.0.0.1:1", "workload=e"), &error), TARN_OK);
    assert_int_equal(check(WORDS("embedded=/nowhere"), &error), TARN_OK); /* run_open() tells */
    assert_int_equal(check(WORDS("embedded=memory", "workload=e"), &error), TARN_OK);
    assert_int_equal(check(WORDS("embedded=none", "workload=e"), &error), TARN_INVALID);
    assert_non_null(strstr(error.text, "--workload e: none has no scans"));
    assert_int_equal(check(WORDS("http=h:1", "workload=e"), &error), TARN_INVALID);
    assert_int_equal(check(WORDS("connect=h"), &error), TARN_INVALID);
    assert_int_equal(check(WORDS("connect=h:1", "key-size=2"), &error), TARN_INVALID);
    assert_int_equal(check(WORDS("memcached=h", "key-size=300"), &error), TARN_INVALID);
    assert_non_null(strstr(error.text, "memcached takes at most 250"));
}

/* --- out of memory --- */

/* Histograms and points do without; everything else must be told. */
static void run_with_failing_allocations(const char *const *words, uint64_t *ret_told)
{
    *ret_told = 0;
    for (uint64_t nth = 1;; nth++) {
        struct os os = fake_clock_os(1000000, 1000);
        struct run_fixture f = {.os = &os};
        bench_settings_init(&f.settings, words);
        fault_malloc_arm(nth, false);
        int status = run_open(&os, &f.settings, NULL, NULL, &f.run, &f.error);
        if (status == TARN_OK) {
            status = fixture_measure(&f);
            assert_int_equal(f.figures.complete, status == TARN_OK);
        }
        bool fired = fault_malloc_disarm() > 0;
        assert_true(status == TARN_OK || status == TARN_NOMEM);
        if (status == TARN_NOMEM) {
            assert_true(fired);
            ++*ret_told;
            if (!strstr(f.error.text, "memory"))
                fail_msg("allocation %ju: %s", (uintmax_t)nth, f.error.text);
        } else {
            assert_int_equal(FIGURE(f, operations), 100);
            assert_int_equal(FIGURE(f, wrong) + FIGURE(f, misses), 0);
        }
        fixture_close(&f);
        if (!fired)
            return;
    }
}

static void test_out_of_memory(void **state)
{
    struct scratch *scratch = *state;
    char embedded[SCRATCH_PATH_BYTES + 16];
    uint64_t told;
    size_t fds = scratch_fd_count();
    run_with_failing_allocations(WORDS("embedded=memory", "records=100", "requests=100", "verify"),
                                 &told);
    assert_in_range(told, 20, 1000);
    snprintf(embedded, sizeof embedded, "embedded=%s", scratch_at(scratch, "data"));
    write_file(scratch_at(scratch, "data"), 100);
    run_with_failing_allocations(WORDS(embedded, "requests=100", "verify"), &told);
    assert_in_range(told, 20, 1000);
    assert_int_equal(scratch_fd_count(), fds);
}

static int setup(void **state)
{
    static struct scratch scratch;
    scratch_open(&scratch);
    *state = &scratch;
    return 0;
}

static int teardown(void **state)
{
    scratch_close(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_memory_has_every_record),
        cmocka_unit_test_setup_teardown(test_file, setup, teardown),
        cmocka_unit_test_setup_teardown(test_file_verified_against_another, setup, teardown),
        cmocka_unit_test(test_none),
        cmocka_unit_test(test_load_then_measure),
        cmocka_unit_test(test_without_a_load),
        cmocka_unit_test(test_load_only),
        cmocka_unit_test(test_one_writer),
        cmocka_unit_test(test_several_measurements),
        cmocka_unit_test(test_measurements_go_on_in_the_stream),
        cmocka_unit_test(test_warm_up_is_not_counted),
        cmocka_unit_test(test_open_loop),
        cmocka_unit_test(test_inserts_on_two_threads),
        cmocka_unit_test(test_ticks),
        cmocka_unit_test(test_cancelled),
        cmocka_unit_test(test_cancelled_while_warming_up),
        cmocka_unit_test(test_a_failing_store_ends_the_measurement),
        cmocka_unit_test(test_the_cause_is_told_not_its_echo),
        cmocka_unit_test(test_opening_fails),
        cmocka_unit_test(test_a_thread_that_cannot_begin),
        cmocka_unit_test(test_one_thread_that_cannot_begin_stops_the_others),
        cmocka_unit_test_setup_teardown(test_settings_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_inserts_into_a_data_file_are_refused, setup, teardown),
        cmocka_unit_test(test_run_check),
        cmocka_unit_test_setup_teardown(test_out_of_memory, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
