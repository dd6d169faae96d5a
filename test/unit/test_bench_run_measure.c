/* Goal: the generator is named as what was slow when it was, and not otherwise.
 * Method: figures made up for each case; whole measurements are in test_bench_run.c. */
#include "bench/run_internal.h"

#include "lib/test.h"

#define MS 1000000ull

struct lateness {
    double rate;
    uint64_t late_ns, late; /* so many of 1,000 requests were so late */
    uint64_t target_ns;
    enum figures_bottleneck expected;
};

static void test_open_loop(void **state)
{
    (void)state;
    static const struct lateness cases[] = {
        {1000, 2 * MS, 20, 10 * MS, BOTTLENECK_SCHEDULE}, /* 1 ms is too late for any target */
        {1000, 2 * MS, 9, 10 * MS, BOTTLENECK_NONE},      /* less than one in a hundred */
        {1000, MS / 2, 1000, 10 * MS, BOTTLENECK_NONE},
        {1000, MS / 2, 1000, MS / 4, BOTTLENECK_SCHEDULE}, /* later than answers may be */
        {1000, MS / 2, 9, MS / 4, BOTTLENECK_NONE},
        {0, 2 * MS, 1000, MS, BOTTLENECK_NONE}, /* no schedule */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (int in_process = 0; in_process < 2; in_process++) {
            /* busy as can be: in an open loop that is no sign */
            struct figures f = {.seconds = 1, .threads = 1, .rate = cases[i].rate};
            f.generator_cpu_s = f.rate > 0 ? 1 : 0;
            assert_int_equal(tally_init(&f.all), TARN_OK);
            histogram_record(f.all.late_ns, cases[i].late_ns, cases[i].late);
            histogram_record(f.all.late_ns, 100, 1000 - cases[i].late);
            enum figures_bottleneck found = run_judge(&f, in_process, cases[i].target_ns);
            if (found != cases[i].expected)
                fail_msg("case %zu: %d", i, (int)found);
            figures_done(&f);
        }
}

struct business {
    double generator_s; /* of 10 s on each of 2 threads */
    bool in_process, local;
    unsigned processes;
    double server_s; /* of all processes */
    enum figures_bottleneck expected;
};

static void test_closed_loop(void **state)
{
    (void)state;
    static const struct business cases[] = {
        {18.9, false, true, 1, 2, BOTTLENECK_NONE}, /* it had time left */
        {18.9, false, false, 0, 0, BOTTLENECK_NONE},
        {19.1, false, true, 1, 9.4, BOTTLENECK_GENERATOR}, /* it had not, and the server had */
        {19.1, false, true, 1, 9.6, BOTTLENECK_NONE},      /* both had not */
        {19.1, false, true, 1, 10.4, BOTTLENECK_NONE},
        {19.1, false, true, 1, 10.6, BOTTLENECK_GENERATOR_MAYBE}, /* one of several threads */
        {19.1, false, true, 3, 28.4, BOTTLENECK_GENERATOR},
        {19.1, false, true, 3, 28.6, BOTTLENECK_NONE},
        {19.1, false, true, 3, 31.6, BOTTLENECK_GENERATOR_MAYBE},
        {19.1, false, false, 0, 0, BOTTLENECK_GENERATOR_MAYBE}, /* not on this machine */
        {20, true, false, 0, 0, BOTTLENECK_NONE}, /* the store's time is the generator's */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct figures f = {.seconds = 10, .threads = 2, .generator_cpu_s = cases[i].generator_s};
        f.server = (struct figures_server){
            .local = cases[i].local, .processes = cases[i].processes, .cpu_s = cases[i].server_s};
        assert_int_equal(tally_init(&f.all), TARN_OK);
        enum figures_bottleneck found = run_judge(&f, cases[i].in_process, MS);
        if (found != cases[i].expected)
            fail_msg("case %zu: %d", i, (int)found);
        f.seconds = 0; /* nothing was measured */
        assert_int_equal(run_judge(&f, cases[i].in_process, MS), BOTTLENECK_NONE);
        figures_done(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_open_loop),
        cmocka_unit_test(test_closed_loop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
