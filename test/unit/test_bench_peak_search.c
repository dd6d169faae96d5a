/* Goal: the search's steps, figures and reports are right whatever the measurements say: noise, a
 * generator that is the limit, refusals, one that breaks off; test_bench_peak.c has its parts and
 * searches of a store.
 * Method: measurements of a server that never was, with a known highest rate: figures made up from
 * what it would do at the rate asked for. */
#include "bench/peak.h"

#include <stdlib.h>

#include "lib/test.h"

#include "core/random.h"
#include "lib/bench_settings.h"
#include "lib/fault_malloc.h"

#define TARGET_NS 1000000ull
#define GAP       0.03

/* A server and the generator before it. */
struct fake {
    double closed_rate;      /* what a closed loop reaches */
    double limit;            /* up to this rate it holds; then half of all is late */
    double noise;            /* share of the steps that fail although they need not */
    double generator_limit;  /* above it the generator is late; 0: never */
    unsigned errors_in_step; /* this measurement (from 1) has one; 0: none */
    unsigned fails_at;       /* this measurement breaks off; 0: none */
    unsigned starves_at;     /* after this measurement there is no memory; 0: never */
    uint64_t random;

    unsigned measured, told;
    struct run_load loads[PEAK_STEPS_MAX + 2];
    struct peak_step last_told;
};

static void record(struct figures *f, uint64_t latency_ns, double requests)
{
    tally_requests(&f->all, OPERATION_READ, latency_ns, (uint64_t)requests, (uint64_t)requests);
}

static void answer(struct fake *fake, const struct run_load *load, struct figures *f)
{
    bool closed = load->rate <= 0;
    bool late = !closed && load->rate > fake->limit;
    double count = (closed ? fake->closed_rate : load->rate) * (double)load->duration_ns / 1e9;
    if (load->requests > 0)
        count = (double)load->requests;
    if (!closed && (double)random_below(random_next(&fake->random), 1000) < 1000 * fake->noise)
        late = true;
    record(f, TARGET_NS / 4, late ? count / 2 : count);
    if (late)
        record(f, TARGET_NS * 3, count / 2);
    if (!closed && fake->generator_limit > 0 && load->rate > fake->generator_limit)
        f->bottleneck = BOTTLENECK_SCHEDULE;
}

static int measure(void *context, const struct run_load *load, struct figures *ret_figures,
                   struct tarn_error *error)
{
    struct fake *fake = context;
    assert_in_range(fake->measured, 0, PEAK_STEPS_MAX + 1);
    fake->loads[fake->measured++] = *load;
    *ret_figures = (struct figures){.complete = true, .rate = load->rate, .threads = 1};
    ret_figures->seconds = (double)load->duration_ns / 1e9;
    ret_figures->thread_operations = calloc(1, sizeof *ret_figures->thread_operations);
    assert_non_null(ret_figures->thread_operations);
    assert_int_equal(tally_init(&ret_figures->all), TARN_OK);
    answer(fake, load, ret_figures);
    if (fake->measured == fake->errors_in_step)
        tally_error(&ret_figures->all, bytes_of("ERR no"), 1);
    if (fake->measured == fake->starves_at)
        fault_malloc_arm(1, false);
    if (fake->measured != fake->fails_at)
        return TARN_OK;
    ret_figures->complete = false;
    return error_set(error, TARN_IO, "the cat has the cable");
}

static void told(void *context, const struct peak_step *step)
{
    struct fake *fake = context;
    fake->told++;
    fake->last_told = *step;
}

static struct settings settings;
static struct peak peak;
static struct figures figures;
static struct tarn_error error;

static int search(struct fake *fake)
{
    struct peak_hooks hooks = {
        .measure = measure, .measure_context = fake, .told = told, .told_context = fake};
    figures_done(&figures);
    peak_done(&peak);
    return peak_search(&hooks, &settings, &peak, &figures, &error);
}

static int setup(void **state)
{
    (void)state;
    BENCH_SETTINGS(&settings, "find-peak", "target=1ms", "step=2s");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    figures_done(&figures);
    peak_done(&peak);
    bench_settings_done(&settings);
    return 0;
}

/* --- whole searches --- */

/* Every step lies between the highest that held and the lowest that did not until then. */
static void check_steps(const struct fake *fake)
{
    double held = 0, failed = 0;
    assert_in_range(peak.steps_count, 1, PEAK_STEPS_MAX);
    assert_int_equal(fake->told, peak.steps_count + (peak.overloaded ? 1 : 0));
    assert_true(fake->loads[0].rate == 0); /* the closed loop */
    for (size_t i = 0; i < peak.steps_count; i++) {
        const struct peak_step *step = &peak.steps[i];
        assert_true(step->rate == fake->loads[i + 1].rate);
        assert_int_equal(fake->loads[i + 1].duration_ns, 2000000000);
        assert_true(step->rate > held && (failed <= 0 || step->rate < failed));
        if (step->held)
            held = step->rate;
        else
            failed = step->rate;
    }
    assert_true(peak.rate == held);
    assert_true(figures.rate == (held > 0 ? held : peak.steps[0].rate));
}

/* Any limit from a twentieth of the closed loop's rate to five times it. Trips on a search that
 * stops too early, goes the wrong way or runs out of steps. */
static void test_the_limit_is_found(void **state)
{
    (void)state;
    for (double share = 0.05; share < 5; share *= 1.013) {
        struct fake fake = {.closed_rate = 200000, .limit = 200000 * share};
        assert_int_equal(search(&fake), TARN_OK);
        check_steps(&fake);
        if (!(peak.rate <= fake.limit && fake.limit <= peak.rate * (1 + GAP)))
            fail_msg("limit %g, found %g", fake.limit, peak.rate);
        assert_true(peak.generator_limit == 0);
        assert_false(peak.overloaded);
        assert_true(peak.target_us == 1000);
    }
}

/* Steps that fail by chance: less is found, never more, and no more steps are made. */
static void test_a_noisy_server(void **state)
{
    (void)state;
    unsigned near = 0;
    for (uint64_t seed = 0; seed < 500; seed++) {
        struct fake fake = {
            .closed_rate = 100000, .limit = 90000, .noise = 0.1, .random = seed << 32};
        assert_int_equal(search(&fake), TARN_OK);
        check_steps(&fake);
        assert_true(peak.rate <= fake.limit);
        near += peak.rate > 0.8 * fake.limit;
    }
    assert_in_range(near, 250, 499); /* most searches meet no such step where it matters */
}

static void test_a_server_that_never_holds(void **state)
{
    (void)state;
    struct fake fake = {.closed_rate = 100000};
    bench_set(&settings, "overload=2");
    assert_int_equal(search(&fake), TARN_OK);
    check_steps(&fake);
    assert_int_equal(peak.steps_count, PEAK_STEPS_MAX);
    assert_true(peak.rate == 0);
    assert_false(peak.overloaded); /* of what? */
    assert_int_equal(fake.measured, PEAK_STEPS_MAX + 1);
}

static void test_a_server_that_always_holds(void **state)
{
    (void)state;
    struct fake fake = {.closed_rate = 1000, .limit = 1e12};
    assert_int_equal(search(&fake), TARN_OK);
    check_steps(&fake);
    assert_int_equal(peak.steps_count, PEAK_STEPS_MAX);
    assert_true(peak.rate == peak.steps[PEAK_STEPS_MAX - 1].rate);
}

/* Down to one request a second and not below. */
static void test_a_server_that_is_slow(void **state)
{
    (void)state;
    struct fake fake = {.closed_rate = 4};
    assert_int_equal(search(&fake), TARN_OK);
    check_steps(&fake);
    assert_int_equal(peak.steps_count, 2); /* 2 and 4/3 */
    assert_true(peak.rate == 0);
    fake = (struct fake){.closed_rate = 1.5};
    assert_int_equal(search(&fake), TARN_OK);
    assert_int_equal(peak.steps_count, 1); /* half of it is less than 1 */
    assert_true(peak.steps[0].rate == 1);
}

static void test_a_server_that_answers_nothing(void **state)
{
    (void)state;
    struct fake fake = {.closed_rate = 0.4};
    assert_int_equal(search(&fake), TARN_INVALID);
    assert_int_equal(peak.steps_count, 0);
    assert_int_equal(fake.measured, 1);
}

/* The limit is the generator's: found as such, and named. */
static void test_a_generator_that_is_slow(void **state)
{
    (void)state;
    struct fake fake = {.closed_rate = 200000, .limit = 1e9, .generator_limit = 170000};
    assert_int_equal(search(&fake), TARN_OK);
    check_steps(&fake);
    assert_true(peak.rate <= 170000 && peak.rate > 160000);
    assert_true(peak.generator_limit > 170000 && peak.generator_limit <= peak.rate * (1 + GAP));
}

/* --- what fails a step --- */

static void test_a_refusal_fails_a_step(void **state)
{
    (void)state;
    struct fake fake = {.closed_rate = 100000, .limit = 1e9, .errors_in_step = 3};
    assert_int_equal(search(&fake), TARN_OK);
    check_steps(&fake);
    assert_true(peak.steps[0].held);
    assert_false(peak.steps[1].held);
    assert_true(peak.rate < peak.steps[1].rate);
}

/* --- past the peak --- */

static void test_overload(void **state)
{
    (void)state;
    struct fake fake = {.closed_rate = 100000, .limit = 80000};
    bench_set(&settings, "overload=1.5");
    assert_int_equal(search(&fake), TARN_OK);
    check_steps(&fake);
    assert_true(peak.overloaded && peak.overload_factor == 1.5);
    assert_true(peak.overload.rate == peak.rate * 1.5);
    assert_false(peak.overload.held);
    /* made up: half is late; a request more or less where a half is no whole number */
    assert_true(peak.overload.goodput > peak.overload.rate / 2 - 1);
    assert_true(peak.overload.goodput <= peak.overload.rate / 2);
    assert_true(fake.last_told.rate == peak.overload.rate);
    assert_true(figures.rate == peak.rate); /* not the overload's */
    assert_int_equal(fake.loads[fake.measured - 1].duration_ns, 2000000000);
}

/* --rate is the peak; both measurements last as --duration says, only the first warms up. */
static void test_a_given_rate(void **state)
{
    (void)state;
    bench_settings_done(&settings);
    BENCH_SETTINGS(&settings, "rate=50000", "overload=2", "duration=7s", "warmup=3s");
    struct fake fake = {.closed_rate = 100000, .limit = 80000};
    assert_int_equal(search(&fake), TARN_OK);
    assert_int_equal(fake.measured, 2);
    assert_int_equal(peak.steps_count, 1);
    assert_true(peak.steps[0].held);
    assert_true(peak.rate == 50000 && figures.rate == 50000);
    assert_true(peak.overloaded && peak.overload.rate == 100000);
    assert_int_equal(fake.told, 2);
    assert_true(fake.loads[0].rate == 50000);
    assert_int_equal(fake.loads[0].warmup_ns, 3000000000);
    assert_int_equal(fake.loads[1].warmup_ns, 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(fake.loads[i].duration_ns, 7000000000);
        assert_int_equal(fake.loads[i].requests, 0);
    }
}

static void test_a_given_rate_and_number(void **state)
{
    (void)state;
    bench_settings_done(&settings);
    BENCH_SETTINGS(&settings, "rate=50000", "overload=2", "requests=1000");
    struct fake fake = {.closed_rate = 100000, .limit = 80000};
    assert_int_equal(search(&fake), TARN_OK);
    assert_int_equal(fake.measured, 2);
    for (int i = 0; i < 2; i++)
        assert_int_equal(fake.loads[i].requests, 1000);
}

/* --- measurements that break off --- */

/* Every measurement once: its figures are the ones kept, but for the overload's, after which the
 * peak's stay. */
static void test_each_measurement_fails_once(void **state)
{
    (void)state;
    struct fake whole = {.closed_rate = 100000, .limit = 80000};
    bench_set(&settings, "overload=1.5");
    assert_int_equal(search(&whole), TARN_OK);
    for (unsigned i = 1; i <= whole.measured; i++) {
        struct fake fake = {.closed_rate = 100000, .limit = 80000, .fails_at = i};
        error.text[0] = 0;
        assert_int_equal(search(&fake), TARN_IO);
        assert_string_equal(error.text, "the cat has the cable");
        assert_int_equal(fake.measured, i);
        assert_int_equal(peak.steps_count, i < 2 ? 0 : i - 2);
        assert_false(peak.overloaded);
        bool overload = i == whole.measured;
        assert_int_equal(figures.complete, overload);
        assert_true(figures.rate == (overload ? peak.rate : fake.loads[i - 1].rate));
    }
}

/* The list of steps is all the memory that the search takes: a step that finds no room ends it. */
static void test_no_memory(void **state)
{
    (void)state;
    for (unsigned step = 1; step <= 3; step++) {
        struct fake fake = {.closed_rate = 100000, .limit = 80000, .starves_at = step + 1};
        assert_int_equal(search(&fake), TARN_NOMEM);
        assert_int_equal(fault_malloc_disarm(), 1);
        assert_int_equal(fake.measured, step + 1);
        assert_int_equal(peak.steps_count, step - 1);
        assert_true(figures.rate > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_the_limit_is_found, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_noisy_server, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_server_that_never_holds, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_server_that_always_holds, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_server_that_is_slow, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_server_that_answers_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_generator_that_is_slow, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_refusal_fails_a_step, setup, teardown),
        cmocka_unit_test_setup_teardown(test_overload, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_given_rate, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_given_rate_and_number, setup, teardown),
        cmocka_unit_test_setup_teardown(test_each_measurement_fails_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_memory, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
