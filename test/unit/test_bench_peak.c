/* Goal: the search finds the highest rate that holds, whatever that is, in at most 16 steps, and
 * says why a step does not hold; a server that never holds and one that always does end it too.
 * Method: the pure parts against tables and made-up servers; the whole against a store whose calls
 * take a fixed time by a clock that only readings and calls move. */
#include "bench/peak.h"

#include "lib/test.h"

#include "lib/bench_settings.h"
#include "lib/fake_store.h"

#define STEPS_MAX 16

/* --- the next rate --- */

struct found {
    double held, failed;
    unsigned steps;
    bool ended; /* by itself */
};

/* The search of a server that holds rates up to `capacity`. */
static struct found find(double capacity, double first)
{
    struct found f = {0};
    for (; f.steps < STEPS_MAX; f.steps++) {
        double rate = peak_next_rate(f.held, f.failed, first);
        if (rate < 1) {
            f.ended = true;
            break;
        }
        if (rate <= capacity) {
            assert_true(rate > f.held);
            f.held = rate;
        } else {
            assert_true(f.failed <= 0 || rate < f.failed);
            f.failed = rate;
        }
        assert_true(f.failed <= 0 || f.held < f.failed);
    }
    return f;
}

static void test_search_finds_every_capacity(void **state)
{
    (void)state;
    unsigned most = 0;
    for (double capacity = 100; capacity < 1e9; capacity *= 1.013)
        for (double share = 0.02; share < 40; share *= 1.37) { /* how wrong the estimate was */
            struct found f = find(capacity, capacity * share);
            assert_true(f.ended || f.steps == STEPS_MAX);
            most = f.steps > most ? f.steps : most;
            if (!(f.held <= capacity && f.held * 1.0301 >= capacity))
                fail_msg("capacity %g, first %g: %g in %u steps", capacity, capacity * share,
                         f.held, f.steps);
        }
    assert_in_range(most, 12, STEPS_MAX);
    assert_true(find(1000, 500).steps <= 8); /* a good estimate */
}

static void test_search_ends(void **state)
{
    (void)state;
    struct found never = find(0, 100000), always = find(1e300, 100000);
    assert_true(never.held <= 0 && never.steps == STEPS_MAX);
    assert_true(always.failed <= 0 && always.steps == STEPS_MAX);
    struct found slow = find(0, 20); /* down to less than one request per second */
    assert_true(slow.ended && slow.held <= 0 && slow.steps < STEPS_MAX);
}

static void check_rate(double found, double expected)
{
    if (!(found > expected - 1e-6 && found < expected + 1e-6))
        fail_msg("%g is not %g", found, expected);
}

static void test_steps_of_the_search(void **state)
{
    (void)state;
    check_rate(peak_next_rate(0, 0, 500), 500);
    check_rate(peak_next_rate(1000, 0, 500), 1500);
    check_rate(peak_next_rate(0, 1500, 500), 1000);
    check_rate(peak_next_rate(1000, 1500, 500), 1250);
    check_rate(peak_next_rate(1000, 1031, 500), 1015.5);
    check_rate(peak_next_rate(1000, 1030, 500), 0);
}

/* --- judging --- */

/* A thousand requests a second for a second, one in a thousand of 2 ms, the others of 100 us. */
static void fill(struct figures *f)
{
    *f = (struct figures){.complete = true, .seconds = 1, .rate = 1000};
    assert_int_equal(tally_init(&f->all), TARN_OK);
    tally_requests(&f->all, OPERATION_READ, 100000, 999, 999);
    tally_requests(&f->all, OPERATION_READ, 2000000, 1, 1);
}

static struct peak_step judge(struct figures *f, uint64_t target_ns)
{
    struct peak_step step = peak_judge(f, target_ns);
    figures_done(f);
    return step;
}

static void test_a_step_that_holds(void **state)
{
    (void)state;
    struct figures f;
    fill(&f);
    struct peak_step step = judge(&f, 150000);
    assert_true(step.held);
    check_rate(step.rate, 1000);
    check_rate(step.answered, 1000);
    check_rate(step.goodput, 999);
    assert_true(step.p50_us > 99 && step.p50_us < 101);
    assert_true(step.p999_us > 99 && step.p999_us < 101);
}

static void test_reasons_not_to_hold(void **state)
{
    (void)state;
    struct figures f;
    fill(&f);
    assert_false(judge(&f, 99000).held); /* all are slower */
    fill(&f);
    tally_requests(&f.all, OPERATION_READ, 2000000, 1, 1); /* two in a thousand */
    assert_false(judge(&f, 150000).held);
    fill(&f);
    tally_error(&f.all, (struct tarn_bytes){"no", 2}, 1);
    assert_false(judge(&f, 150000).held);
    fill(&f);
    tally_add(&f.all.unsent, 1);
    assert_false(judge(&f, 150000).held);
    fill(&f);
    f.seconds = 1.02; /* it took longer than the schedule */
    assert_false(judge(&f, 150000).held);
    fill(&f);
    f.seconds = 1.005;
    assert_true(judge(&f, 150000).held);
    fill(&f);
    f.bottleneck = BOTTLENECK_SCHEDULE; /* the generator's failure is no success of the server */
    assert_false(judge(&f, 150000).held);
    fill(&f);
    f.bottleneck = BOTTLENECK_GENERATOR_MAYBE;
    assert_true(judge(&f, 150000).held);
    f = (struct figures){.rate = 1000, .seconds = 0};
    assert_int_equal(tally_init(&f.all), TARN_OK); /* nothing was answered */
    assert_false(judge(&f, 150000).held);
}

/* --- the whole search --- */

static struct settings settings;
static struct os os;
static struct run *run;
static struct peak peak;
static struct figures figures;
static struct tarn_error error;
static unsigned told;

static void count_step(void *context, const struct peak_step *step)
{
    assert_ptr_equal(context, &told);
    assert_true(step->rate > 0);
    told++;
}

/* A run over the fake store, whose calls take call_ns. */
static void open_run(uint64_t call_ns, const char *const *words)
{
    static const struct embedded_store *const stores[] = {&fake_embedded, NULL};
    struct fake_plan plan = {.starts_full = true, .call_ns = call_ns};
    fake_reset(&plan);
    bench_settings_init(&settings, words);
    if (settings_check(&settings, &error) != TARN_OK)
        fail_msg("%s", error.text);
    os = fake_clock_os(1000000, 500);
    if (run_open(&os, &settings, stores, NULL, &run, &error) != TARN_OK)
        fail_msg("%s", error.text);
}
#define OPEN_RUN(call_ns, ...)                                                                     \
    open_run(call_ns, (const char *const[]){"embedded=fake:", "records=1000", __VA_ARGS__, NULL})

static int find_peak(void)
{
    told = 0;
    error = (struct tarn_error){0};
    return peak_find(run, &settings, count_step, &told, &peak, &figures, &error);
}

static void close_run(void)
{
    peak_done(&peak);
    figures_done(&figures);
    run_close(run);
    bench_settings_done(&settings);
    fake_reset(NULL);
}

static void check_invariants(void)
{
    double highest = 0;
    assert_in_range(peak.steps_count, 1, STEPS_MAX);
    for (size_t i = 0; i < peak.steps_count; i++)
        if (peak.steps[i].held && peak.steps[i].rate > highest)
            highest = peak.steps[i].rate;
    check_rate(peak.rate, highest);
}

/* Calls of 40 us: some 25,000 a second, less what reading the clock takes. */
static void test_find_peak(void **state)
{
    (void)state;
    OPEN_RUN(40000, "find-peak", "step=200ms", "overload=1.5");
    assert_int_equal(find_peak(), TARN_OK);
    check_invariants();
    if (peak.rate < 22000 || peak.rate > 25000)
        fail_msg("%g", peak.rate);
    assert_int_equal(told, peak.steps_count + 1);
    check_rate(figures.rate, peak.rate); /* those of the best step */
    assert_true(figures.complete && figures.points_count > 0);
    assert_true(peak.generator_limit <= 0);
    assert_true(peak.overloaded);
    check_rate(peak.overload_factor, 1.5);
    check_rate(peak.overload.rate, 1.5 * peak.rate);
    assert_false(peak.overload.held);
    assert_true(peak.overload.goodput < peak.overload.answered / 2); /* most wait for others */
    close_run();
}

/* No call is within the target: the search goes down and finds nothing. */
static void test_no_rate_holds(void **state)
{
    (void)state;
    OPEN_RUN(2000000, "find-peak", "step=200ms", "overload=2");
    assert_int_equal(find_peak(), TARN_OK);
    check_invariants();
    assert_true(peak.rate <= 0);
    assert_false(peak.overloaded);
    assert_true(figures.rate > 0); /* those of the first step */
    check_rate(figures.rate, peak.steps[0].rate);
    close_run();
}

static void test_a_failing_store_ends_the_search(void **state)
{
    (void)state;
    OPEN_RUN(40000, "find-peak", "step=200ms");
    fake.plan.fail_get = 5000 + 100; /* in the closed loop there are about 5,000, then 2,500 */
    assert_int_equal(find_peak(), TARN_IO);
    assert_string_equal(error.text, figures.stopped);
    assert_false(figures.complete);
    assert_true(tally_get(&figures.all.operations) > 0);
    assert_int_equal(told, peak.steps_count);
    close_run();
    OPEN_RUN(40000, "find-peak", "step=200ms");
    fake.plan.fail_get = 1; /* in the estimate */
    assert_int_equal(find_peak(), TARN_IO);
    assert_string_equal(error.text, "get 1 fails");
    assert_int_equal(peak.steps_count, 0);
    assert_string_equal(figures.stopped, "get 1 fails");
    close_run();
}

static void test_nothing_is_answered(void **state)
{
    (void)state;
    OPEN_RUN(10000000000, "find-peak", "step=200ms", "batch=64"); /* 10 s a call */
    assert_int_equal(find_peak(), TARN_INVALID);
    assert_string_equal(error.text, "--find-peak: not even one request was answered within a step");
    close_run();
}

/* Trips on a search that ends before its first step. */
static void test_one_answer_a_step(void **state)
{
    (void)state;
    OPEN_RUN(700000000, "find-peak", "step=1s", "batch=64", "target=10s");
    assert_int_equal(find_peak(), TARN_OK);
    check_invariants();
    assert_true(figures.complete);
    check_rate(peak.steps[0].rate, 1);
    close_run();
}

static void test_overload_of_a_given_rate(void **state)
{
    (void)state;
    OPEN_RUN(40000, "rate=10000", "duration=200ms", "overload=4");
    settings.step_ns = 200000000;
    assert_int_equal(find_peak(), TARN_OK);
    check_rate(peak.rate, 10000);
    assert_int_equal(peak.steps_count, 1);
    assert_true(peak.steps[0].held);
    check_rate(figures.rate, 10000);
    assert_int_equal(tally_get(&figures.all.operations), 2000);
    check_rate(peak.overload.rate, 40000);
    assert_false(peak.overload.held);
    close_run();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_search_finds_every_capacity),
        cmocka_unit_test(test_search_ends),
        cmocka_unit_test(test_steps_of_the_search),
        cmocka_unit_test(test_a_step_that_holds),
        cmocka_unit_test(test_reasons_not_to_hold),
        cmocka_unit_test(test_find_peak),
        cmocka_unit_test(test_no_rate_holds),
        cmocka_unit_test(test_a_failing_store_ends_the_search),
        cmocka_unit_test(test_nothing_is_answered),
        cmocka_unit_test(test_one_answer_a_step),
        cmocka_unit_test(test_overload_of_a_given_rate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
