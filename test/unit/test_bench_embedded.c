/* Goal: a thread over a store in this process asks for what the workload says, writes the right
 * values, believes no answer it can check, and accounts for every operation handed out, also when
 * the store fails, lies, stalls or is too slow.
 * Method: a store that knows its records and counts its calls. Time is a clock that only readings
 * and calls move, so that numbers of calls and latencies are exact. */
#include "bench/embedded.h"

#include <pthread.h>

#include "lib/test.h"

#include "lib/fake_store.h"
#include "lib/fault_malloc.h"

#define MS     1000000ull
#define SECOND (1000 * MS)
#define START  (5 * SECOND)

/* What one test runs: zeroed fields get defaults by world_open(). */
struct world {
    struct fake_plan plan;
    uint64_t records_count;
    enum workload_name workload;
    bool sequential;
    double missing_ratio;
    unsigned threads;
    struct phase phase;
    uint64_t clock_step_ns;

    struct os os;
    struct records *records;
    struct workload *work;
    struct tally tally; /* of all threads */
    struct tarn_error error;
    int status; /* of the first thread that failed */
};

static struct world world_new(void)
{
    return (struct world){
        .plan = {.starts_full = true},
        .records_count = 1000,
        .threads = 1,
        .phase = {.verify = true, .batch = 1, .total = 1000, .period_s = 1},
    };
}

static void world_open(struct world *w)
{
    void *store = NULL;
    struct records_options records = {
        .count = w->records_count, .key_bytes = 16, .value_bytes = {8, 40}, .seed = 1};
    assert_int_equal(records_open(os_real(), &records, &w->records, NULL), TARN_OK);
    struct workload_options options = {
        .mix = workload_mix(w->workload, 0.5),
        .theta = 0.99,
        .missing_ratio = w->missing_ratio,
        .inserts_expected = w->records_count,
        .seed = 7,
    };
    if (w->sequential)
        options.mix.distribution = DISTRIBUTION_SEQUENTIAL;
    if (options.mix.share[OPERATION_INSERT] <= 0)
        options.inserts_expected = 0;
    w->work = workload_new(&options, w->records);
    assert_non_null(w->work);
    w->phase.records = w->records;
    w->phase.workload = w->work;
    w->phase.threads = w->threads;
    w->phase.start_ns = START;
    w->os = fake_clock_os(START, w->clock_step_ns);
    assert_int_equal(tally_init(&w->tally), TARN_OK);
    fake_reset(&w->plan);
    fake.plan.stop = &w->phase;
    struct embedded_options store_options = {
        .path = "", .records = w->records, .threads = w->threads};
    assert_int_equal(fake_open(&w->os, &store_options, &store, NULL), TARN_OK);
}

struct runner {
    struct world *world;
    unsigned thread;
    struct tally tally;
    struct tarn_error error;
    int status;
};

static void *run_thread(void *context)
{
    struct runner *r = context;
    struct world *w = r->world;
    void *handle = NULL;
    r->status = fake_thread_open(&fake, &handle, &r->error);
    if (r->status == TARN_OK)
        r->status = embedded_run(&w->os, &fake_embedded, handle, r->thread, &w->phase, &r->tally,
                                 &r->error);
    fake_thread_close(handle);
    return NULL;
}

static void world_run(struct world *w)
{
    static struct runner runners[4];
    pthread_t threads[4];
    for (unsigned i = 0; i < w->threads; i++) {
        runners[i] = (struct runner){.world = w, .thread = i};
        assert_int_equal(tally_init(&runners[i].tally), TARN_OK);
        assert_int_equal(pthread_create(&threads[i], NULL, run_thread, &runners[i]), 0);
    }
    for (unsigned i = 0; i < w->threads; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        tally_merge(&w->tally, &runners[i].tally);
        tally_done(&runners[i].tally);
        if (runners[i].status != TARN_OK && (w->status == TARN_OK || w->status == TARN_CANCELLED)) {
            w->status = runners[i].status;
            w->error = runners[i].error;
        }
    }
}

static void world_close(struct world *w)
{
    fake_reset(NULL);
    tally_done(&w->tally);
    workload_free(w->work);
    records_close(w->records);
}

#define COUNT(w, what) tally_get(&(w).tally.what)

/* The invariant of embedded.c; keys: of a request (0: not all are of one size, only their sum is
 * known to be that of the calls). */
static void check_accounts(const struct world *w, uint64_t keys)
{
    uint64_t next = atomic_load(&w->phase.next);
    uint64_t handed_out = (next < w->phase.total ? next : w->phase.total) * keys;
    assert_int_equal(COUNT(*w, operations) + COUNT(*w, errors) + COUNT(*w, lost) +
                         COUNT(*w, unsent),
                     handed_out);
}

static void check_all_good(const struct world *w, uint64_t operations)
{
    if (w->status != TARN_OK)
        fail_msg("%s", w->error.text);
    assert_int_equal(COUNT(*w, operations), operations);
    assert_int_equal(COUNT(*w, errors) + COUNT(*w, lost) + COUNT(*w, unsent) + COUNT(*w, wrong), 0);
    assert_int_equal(atomic_load(&fake.unknown) + atomic_load(&fake.wrong_writes), 0);
    assert_false(phase_stopped(&w->phase));
}

/* --- loading --- */

/* Trips on records written twice, never, out of order, or with another's value. */
static void load(unsigned threads, unsigned batch)
{
    struct world w = world_new();
    w.plan.starts_full = false;
    w.threads = threads;
    w.phase.load = true;
    w.phase.batch = batch;
    world_open(&w);
    world_run(&w);
    check_all_good(&w, 1000);
    for (uint64_t i = 0; i < fake.count; i++)
        assert_int_equal(atomic_load(&fake.writes[i]), i < 1000 ? 1 : 0);
    assert_int_equal(atomic_load(&fake.out_of_order), 0);
    assert_int_equal(COUNT(w, requests), atomic_load(&fake.puts));
    assert_int_equal(histogram_count(w.tally.kind_ns[OPERATION_INSERT]), atomic_load(&fake.puts));
    uint64_t next = 0;
    for (size_t i = 0; i < fake.log_count && threads == 1; i++) {
        assert_int_equal(fake.log[i].record, next);
        next += fake.log[i].keys;
    }
    world_close(&w);
}

static void test_load(void **state)
{
    (void)state;
    load(1, 1);
    load(1, 100);
    load(1, 300); /* 1000 is no multiple of it */
    load(3, 1);
    load(4, 90);
}

static void test_load_that_fails(void **state)
{
    (void)state;
    struct world w = world_new();
    w.plan = (struct fake_plan){.fail_put = 5};
    w.threads = 2;
    w.phase.load = true;
    w.phase.batch = 100;
    world_open(&w);
    world_run(&w);
    assert_int_equal(w.status, TARN_NOSPACE);
    assert_non_null(strstr(w.error.text, "fails"));
    assert_true(phase_stopped(&w.phase));
    assert_int_equal(COUNT(w, operations), 400);
    check_accounts(&w, 1);
    world_close(&w);
}

/* --- mixes --- */

struct mix_case {
    enum workload_name workload;
    double gets, puts, scans; /* calls for each request */
};

static void check_share(uint64_t count, uint64_t all, double share)
{
    double found = (double)count / (double)all;
    if (found < share - 0.02 || found > share + 0.02)
        fail_msg("%g is not %g", found, share);
}

/* Every workload reaches the functions that its kinds are made of, as often as its definition says,
 * with keys there are and with their values. */
static void test_mixes(void **state)
{
    (void)state;
    static const struct mix_case cases[] = {
        {WORKLOAD_GET, 1, 0, 0},     {WORKLOAD_SET, 0, 1, 0},     {WORKLOAD_MIXED, 0.5, 0.5, 0},
        {WORKLOAD_A, 0.5, 0.5, 0},   {WORKLOAD_B, 0.95, 0.05, 0}, {WORKLOAD_C, 1, 0, 0},
        {WORKLOAD_D, 0.95, 0.05, 0}, {WORKLOAD_E, 0, 0.05, 0.95}, {WORKLOAD_F, 1, 0.5, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (unsigned batch = 1; batch <= 5; batch += 4) {
            struct world w = world_new();
            const uint64_t total = 20000 / TEST_SLOWER;
            w.workload = cases[i].workload;
            w.phase.total = total;
            w.phase.batch = batch;
            world_open(&w);
            world_run(&w);
            uint64_t scans = atomic_load(&fake.scans), both = 0;
            check_all_good(&w, (total - scans) * batch + scans);
            check_share(atomic_load(&fake.gets), total, cases[i].gets);
            check_share(atomic_load(&fake.puts), total, cases[i].puts);
            check_share(scans, total, cases[i].scans);
            if (w.workload == WORKLOAD_F)
                both = atomic_load(&fake.puts);
            assert_int_equal(COUNT(w, requests), total + both);
            assert_int_equal(atomic_load(&fake.calls), total + both);
            assert_int_equal(COUNT(w, misses), 0); /* inserts are asked for once they are there */
            assert_int_equal(COUNT(w, hits), atomic_load(&fake.keys_read));
            world_close(&w);
        }
}

static void test_inserts_extend_the_key_space_in_order(void **state)
{
    (void)state;
    for (unsigned threads = 1; threads <= 3; threads += 2) {
        struct world w = world_new();
        w.workload = WORKLOAD_D;
        w.threads = threads;
        w.phase.total = 5000;
        world_open(&w);
        world_run(&w);
        check_all_good(&w, 5000);
        uint64_t inserted = atomic_load(&fake.keys_written);
        assert_true(inserted > 100);
        assert_int_equal(workload_limit(w.work), 1000 + inserted);
        for (uint64_t i = 1000; i < fake.count; i++)
            assert_int_equal(atomic_load(&fake.writes[i]), i < 1000 + inserted ? 1 : 0);
        assert_int_equal(COUNT(w, misses), 0);
        world_close(&w);
    }
}

/* Trips on a read-modify-write that writes other keys than it read. */
static void test_read_modify_write_is_get_then_put_of_the_same(void **state)
{
    (void)state;
    struct world w = world_new();
    w.workload = WORKLOAD_F;
    w.phase.total = 1000;
    w.phase.batch = 3;
    world_open(&w);
    world_run(&w);
    check_all_good(&w, 3000);
    size_t puts = 0;
    for (size_t i = 0; i < fake.log_count; i++) {
        if (fake.log[i].verb != 'P')
            continue;
        puts++;
        assert_true(i > 0 && fake.log[i - 1].verb == 'G');
        assert_int_equal(fake.log[i - 1].record, fake.log[i].record);
        assert_int_equal(fake.log[i].keys, 3);
    }
    assert_true(puts > 300);
    world_close(&w);
}

static void test_batches_and_totals_that_do_not_divide(void **state)
{
    (void)state;
    static const unsigned batches[] = {1, 7, 64, 100};
    for (size_t b = 0; b < 4; b++) {
        struct world w = world_new();
        w.threads = 2;
        w.phase.batch = batches[b];
        w.phase.total = 1001;
        world_open(&w);
        world_run(&w);
        check_all_good(&w, 1001 * batches[b]);
        assert_int_equal(atomic_load(&fake.gets), 1001);
        assert_int_equal(atomic_load(&fake.keys_read), 1001 * batches[b]);
        for (size_t i = 0; i < fake.log_count; i++)
            assert_int_equal(fake.log[i].keys, batches[b]);
        check_accounts(&w, batches[b]);
        world_close(&w);
    }
}

/* --- answers --- */

static void test_verify_catches_one_wrong_value(void **state)
{
    (void)state;
    for (int verify = 0; verify < 2; verify++) {
        struct world w = world_new();
        unsigned char scratch[16];
        w.records_count = w.phase.total = 10000;
        w.sequential = true;
        w.phase.verify = verify;
        w.plan.wrong = true;
        w.plan.wrong_record = 7777;
        world_open(&w);
        world_run(&w);
        assert_int_equal(w.status, TARN_OK);
        assert_int_equal(COUNT(w, hits), 10000);
        assert_int_equal(COUNT(w, wrong), verify);
        struct tarn_bytes key = records_key(w.records, 7777, scratch);
        if (verify)
            assert_memory_equal(w.tally.first_wrong, key.data, key.size);
        else
            assert_string_equal(w.tally.first_wrong, "");
        world_close(&w);
    }
}

static void test_verify_within_read_modify_write(void **state)
{
    (void)state;
    struct world w = world_new();
    w.workload = WORKLOAD_F;
    w.records_count = 1;
    w.phase.total = 100;
    w.plan.wrong = true;
    w.plan.wrong_record = 0;
    world_open(&w);
    world_run(&w);
    assert_int_equal(w.status, TARN_OK);
    assert_int_equal(COUNT(w, wrong), 100); /* read in both kinds */
    assert_int_equal(COUNT(w, hits), 100);
    world_close(&w);
}

static void test_missing_keys(void **state)
{
    (void)state;
    struct world w = world_new();
    w.missing_ratio = 0.25;
    w.phase.total = 10000;
    w.phase.batch = 2;
    world_open(&w);
    world_run(&w);
    check_all_good(&w, 20000);
    check_share(COUNT(w, misses), 20000, 0.25);
    assert_int_equal(COUNT(w, misses), COUNT(w, misses_expected));
    assert_int_equal(COUNT(w, hits) + COUNT(w, misses), 20000);
    world_close(&w);
}

static void test_a_missing_key_that_is_answered_is_wrong(void **state)
{
    (void)state;
    struct world w = world_new();
    w.missing_ratio = 0.25;
    w.phase.verify = false; /* presence is always checked */
    w.plan.knows_everything = true;
    world_open(&w);
    world_run(&w);
    assert_int_equal(COUNT(w, hits), 1000);
    check_share(COUNT(w, wrong), 1000, 0.25);
    world_close(&w);
}

static void test_unexpected_misses_are_told_apart(void **state)
{
    (void)state;
    struct world w = world_new();
    w.plan.starts_full = false;
    w.missing_ratio = 0.5;
    world_open(&w);
    world_run(&w);
    assert_int_equal(COUNT(w, misses), 1000);
    assert_true(COUNT(w, misses_expected) > 400 && COUNT(w, misses_expected) < 600);
    assert_int_equal(COUNT(w, value_bytes), 0);
    world_close(&w);
}

static void test_bytes_are_those_of_the_values(void **state)
{
    (void)state;
    struct world w = world_new();
    uint64_t bytes = 0;
    w.sequential = true;
    world_open(&w);
    world_run(&w);
    for (uint64_t i = 0; i < 1000; i++)
        bytes += records_value_bytes(w.records, i);
    assert_int_equal(COUNT(w, value_bytes), bytes);
    world_close(&w);
}

/* --- failures --- */

static void check_failure(struct world *w, int status, const char *text, uint64_t keys)
{
    world_open(w);
    world_run(w);
    assert_int_equal(w->status, status);
    assert_string_equal(w->error.text, text);
    assert_true(phase_stopped(&w->phase));
    assert_true(COUNT(*w, lost) > 0);
    check_accounts(w, keys);
    world_close(w);
}

static void test_failing_calls_end_the_phase(void **state)
{
    (void)state;
    for (uint64_t nth = 1; nth <= 130; nth += 43) { /* in the first round, and in later ones */
        char text[64];
        for (unsigned batch = 1; batch <= 100; batch += 33) {
            struct world w = world_new();
            w.phase.batch = batch;
            w.plan.fail_get = nth;
            snprintf(text, sizeof text, "get %ju fails", (uintmax_t)nth);
            check_failure(&w, TARN_IO, text, batch);
            w = world_new();
            w.phase.batch = batch;
            w.workload = WORKLOAD_F;
            w.plan.fail_put = nth;
            snprintf(text, sizeof text, "put %ju fails", (uintmax_t)nth);
            check_failure(&w, TARN_NOSPACE, text, batch);
        }
        struct world w = world_new();
        w.workload = WORKLOAD_E;
        w.plan.fail_scan = nth;
        snprintf(text, sizeof text, "scan %ju fails", (uintmax_t)nth);
        check_failure(&w, TARN_CORRUPT, text, 1);
    }
}

static void test_one_failing_thread_stops_the_others(void **state)
{
    (void)state;
    struct world w = world_new();
    w.threads = 3;
    w.phase.total = UINT64_MAX;
    w.plan.fail_get = 1000;
    world_open(&w);
    world_run(&w);
    assert_int_equal(w.status, TARN_IO);
    assert_int_equal(COUNT(w, operations), 999);
    check_accounts(&w, 1);
    world_close(&w);
}

static void test_stopped_by_another(void **state)
{
    (void)state;
    for (int open_loop = 0; open_loop < 2; open_loop++) {
        struct world w = world_new();
        w.phase.total = UINT64_MAX;
        w.phase.rate = open_loop ? 1e6 : 0;
        w.plan.call_ns = 3000; /* slower than that */
        w.plan.stop_at = 100;
        world_open(&w);
        world_run(&w);
        assert_int_equal(w.status, TARN_CANCELLED);
        assert_string_equal(w.error.text, "stopped");
        assert_in_range(COUNT(w, operations), 100, 163); /* a round may go on */
        if (open_loop)
            assert_true(COUNT(w, unsent) > 100); /* due meanwhile */
        check_accounts(&w, 1);
        world_close(&w);
    }
}

static void test_no_memory(void **state)
{
    (void)state;
    for (uint64_t nth = 1; nth <= 6; nth++) {
        struct world w = world_new();
        world_open(&w);
        void *handle;
        assert_int_equal(fake_thread_open(&fake, &handle, NULL), TARN_OK);
        fault_malloc_arm(nth, false);
        int status = embedded_run(&w.os, &fake_embedded, handle, 0, &w.phase, &w.tally, &w.error);
        assert_int_equal(fault_malloc_disarm(), 1);
        assert_int_equal(status, TARN_NOMEM);
        assert_string_equal(w.error.text, "no memory for batches of 1 keys");
        assert_true(phase_stopped(&w.phase));
        assert_int_equal(atomic_load(&fake.calls), 0);
        check_accounts(&w, 1);
        fake_thread_close(handle);
        world_close(&w);
    }
}

/* --- time --- */

static void test_closed_loop_until_its_deadline(void **state)
{
    (void)state;
    struct world w = world_new();
    w.phase.batch = 16; /* every call is timed; four a round */
    w.phase.total = UINT64_MAX;
    w.phase.deadline_ns = START + 101 * MS;
    w.plan.call_ns = MS;
    world_open(&w);
    world_run(&w);
    check_all_good(&w, 104 * 16);
    assert_int_equal(histogram_count(w.tally.latency_ns), 104);
    assert_int_equal(histogram_min(w.tally.latency_ns), MS);
    assert_int_equal(histogram_max(w.tally.latency_ns), MS);
    assert_int_equal(w.tally.end_ns, START + 104 * MS);
    world_close(&w);
}

/* Of small calls one in 16 is timed and stands for them. */
static void test_a_sample_of_small_calls_is_timed(void **state)
{
    (void)state;
    struct world w = world_new();
    w.phase.total = 1024;
    w.plan.call_ns = 700;
    world_open(&w);
    world_run(&w);
    check_all_good(&w, 1024);
    assert_int_equal(histogram_count(w.tally.latency_ns), 1024);
    assert_int_equal(histogram_min(w.tally.latency_ns), 700);
    assert_int_equal(histogram_max(w.tally.latency_ns), 700);
    assert_int_equal(histogram_count(w.tally.kind_ns[OPERATION_READ]), 1024);
    world_close(&w);
}

/* A thousand calls a second for a second, each taking call_ns. */
static struct world open_loop(uint64_t call_ns)
{
    struct world w = world_new();
    w.phase.rate = 1000;
    w.phase.total = UINT64_MAX;
    w.phase.deadline_ns = START + SECOND;
    w.plan.call_ns = call_ns;
    w.clock_step_ns = 1000;
    return w;
}

static void check_between(uint64_t value, uint64_t low, uint64_t high)
{
    if (value < low || value > high)
        fail_msg("%ju is not between %ju and %ju", (uintmax_t)value, (uintmax_t)low,
                 (uintmax_t)high);
}

static void test_open_loop_makes_each_call_when_it_is_due(void **state)
{
    (void)state;
    struct world w = open_loop(100000);
    w.phase.batch = 3;
    world_open(&w);
    world_run(&w);
    check_all_good(&w, 3000);
    assert_int_equal(atomic_load(&fake.gets), 1000);
    assert_int_equal(histogram_count(w.tally.latency_ns), 1000);
    check_between(histogram_min(w.tally.latency_ns), 100000, 103000);
    check_between(histogram_max(w.tally.latency_ns), 100000, 105000);
    check_between(histogram_max(w.tally.late_ns), 0, 3000);
    check_between(w.tally.end_ns, START + SECOND - MS, START + SECOND);
    world_close(&w);
}

static void test_open_loop_ends_with_its_requests(void **state)
{
    (void)state;
    struct world w = open_loop(100000);
    w.phase.deadline_ns = 0;
    w.phase.total = 77;
    world_open(&w);
    world_run(&w);
    check_all_good(&w, 77);
    check_between(w.tally.end_ns, START + 76 * MS, START + 77 * MS);
    world_close(&w);
}

/* The k-th call is due at k ms and made at 2k ms: nothing is skipped, and the wait counts. */
static void test_a_slow_store_is_seen_in_latencies(void **state)
{
    (void)state;
    struct world w = open_loop(2 * MS);
    world_open(&w);
    world_run(&w);
    check_all_good(&w, 1000);
    check_between(histogram_quantile(w.tally.latency_ns, 0.5), 495 * MS, 515 * MS);
    check_between(histogram_max(w.tally.latency_ns), 999 * MS, 1020 * MS);
    check_between(histogram_quantile(w.tally.late_ns, 0.99), 0, 10000); /* the store's, not ours */
    world_close(&w);
}

/* Trips on a loop that goes on until all is made, however long that takes. */
static void test_what_a_far_too_slow_store_is_not_asked_is_unsent(void **state)
{
    (void)state;
    for (unsigned threads = 1; threads <= 2; threads++) {
        struct world w = open_loop(20 * MS);
        w.threads = threads; /* the clock is one for all: twice as slow */
        w.phase.batch = 5;
        world_open(&w);
        world_run(&w);
        assert_int_equal(w.status, TARN_OK);
        assert_int_equal(COUNT(w, operations) + COUNT(w, unsent), 5000);
        assert_int_equal(COUNT(w, lost), 0);
        check_between(COUNT(w, operations), 140 * 5, 152 * 5); /* in 3 s */
        check_between(w.tally.end_ns, START + 3 * SECOND, START + 3 * SECOND + 50 * MS);
        check_accounts(&w, 5);
        world_close(&w);
    }
}

static void test_a_stall_is_seen_by_all_that_are_due_meanwhile(void **state)
{
    (void)state;
    struct world w = open_loop(10000);
    w.plan.stall_at = 300;
    w.plan.stall_ns = 500 * MS;
    world_open(&w);
    world_run(&w);
    check_all_good(&w, 1000);
    uint64_t waited = 1000 - histogram_count_upto(w.tally.latency_ns, 100 * MS);
    check_between(waited, 395, 410); /* 400, and those that catching up adds */
    check_between(histogram_max(w.tally.latency_ns), 500 * MS, 501 * MS);
    check_between(histogram_quantile(w.tally.latency_ns, 0.3), 10000, 20000);
    world_close(&w);
}

static void test_failing_call_in_an_open_loop(void **state)
{
    (void)state;
    struct world w = open_loop(10 * MS);
    w.plan.fail_get = 50;
    world_open(&w);
    world_run(&w);
    assert_int_equal(w.status, TARN_IO);
    assert_int_equal(COUNT(w, operations), 49);
    assert_int_equal(COUNT(w, lost), 1);
    check_between(COUNT(w, unsent), 445, 455); /* due in 500 ms, and not asked */
    check_accounts(&w, 1);
    world_close(&w);
}

static void test_threads_share_a_rate(void **state)
{
    (void)state;
    struct world w = open_loop(1000);
    w.threads = 3;
    w.phase.rate = 3000;
    world_open(&w);
    world_run(&w);
    check_all_good(&w, 3000);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_load),
        cmocka_unit_test(test_load_that_fails),
        cmocka_unit_test(test_mixes),
        cmocka_unit_test(test_inserts_extend_the_key_space_in_order),
        cmocka_unit_test(test_read_modify_write_is_get_then_put_of_the_same),
        cmocka_unit_test(test_batches_and_totals_that_do_not_divide),
        cmocka_unit_test(test_verify_catches_one_wrong_value),
        cmocka_unit_test(test_verify_within_read_modify_write),
        cmocka_unit_test(test_missing_keys),
        cmocka_unit_test(test_a_missing_key_that_is_answered_is_wrong),
        cmocka_unit_test(test_unexpected_misses_are_told_apart),
        cmocka_unit_test(test_bytes_are_those_of_the_values),
        cmocka_unit_test(test_failing_calls_end_the_phase),
        cmocka_unit_test(test_one_failing_thread_stops_the_others),
        cmocka_unit_test(test_stopped_by_another),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_closed_loop_until_its_deadline),
        cmocka_unit_test(test_a_sample_of_small_calls_is_timed),
        cmocka_unit_test(test_open_loop_makes_each_call_when_it_is_due),
        cmocka_unit_test(test_open_loop_ends_with_its_requests),
        cmocka_unit_test(test_a_slow_store_is_seen_in_latencies),
        cmocka_unit_test(test_what_a_far_too_slow_store_is_not_asked_is_unsent),
        cmocka_unit_test(test_a_stall_is_seen_by_all_that_are_due_meanwhile),
        cmocka_unit_test(test_failing_call_in_an_open_loop),
        cmocka_unit_test(test_threads_share_a_rate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
