/* Goal: requests are due when the patterns' definitions say: as many in every interval as the
 * integral of the rate, on a fixed schedule at exact times and without drift, on a Poisson one with
 * independent exponential gaps after time rescaling; times never decrease.
 * Method: rates against the definitions, integrals against sums of rates, schedules against
 * integrals; fixed times against exact integer arithmetic, also hours on; chi-square, mean and
 * correlation of gaps (fixed seeds, so that nothing is left to chance). */
#include "bench/arrival.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/test.h"

#define PATTERNS 4
#define HOUR_S   3600.0

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(arrival_pattern_names[ARRIVAL_CONSISTENT], "consistent");
    assert_string_equal(arrival_pattern_names[ARRIVAL_BURST], "burst");
    assert_string_equal(arrival_pattern_names[ARRIVAL_RAMP], "ramp");
    assert_string_equal(arrival_pattern_names[ARRIVAL_SINE], "sine");
    assert_null(arrival_pattern_names[PATTERNS]);
}

static void assert_near(double value, double expected, double tolerance)
{
    if (!(fabs(value - expected) <= tolerance))
        fail_msg("%.17g is not within %g of %.17g", value, tolerance, expected);
}

/* The definitions, at places of the second period of two seconds. */
static void test_rates(void **state)
{
    (void)state;
    static const struct {
        enum arrival_pattern pattern;
        double x, factor; /* position in the period; of the mean rate */
    } rates[] = {
        {ARRIVAL_CONSISTENT, 0.3, 1}, {ARRIVAL_BURST, 0, 3},      {ARRIVAL_BURST, 0.19, 3},
        {ARRIVAL_BURST, 0.21, 0.5},   {ARRIVAL_BURST, 0.99, 0.5}, {ARRIVAL_RAMP, 0, 0},
        {ARRIVAL_RAMP, 0.25, 0.5},    {ARRIVAL_RAMP, 0.75, 1.5},  {ARRIVAL_SINE, 0, 1},
        {ARRIVAL_SINE, 0.25, 1.9},    {ARRIVAL_SINE, 0.5, 1},     {ARRIVAL_SINE, 0.75, 0.1},
    };
    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        struct arrival a;
        arrival_init(&a, rates[i].pattern, false, 700, 2, 0, 1);
        assert_near(arrival_rate_at(&a, 2 + 2 * rates[i].x), 700 * rates[i].factor, 1e-9);
    }
}

/* Trips on a constant of integration that is wrong, also one that shows only in a later period. */
static void test_integral_of_the_rate(void **state)
{
    (void)state;
    for (int pattern = 0; pattern < PATTERNS; pattern++) {
        struct arrival a;
        arrival_init(&a, (enum arrival_pattern)pattern, false, 1000, 0.5, 0, 1);
        const double step = 1.0 / 100000; /* the burst's edges lie on steps: 0.1 s */
        double sum = 0;
        for (int i = 0; i < 200000; i++) {
            if (i % 1000 == 0)
                assert_near(arrival_count_until(&a, i * step), sum, 1e-4);
            sum += step * arrival_rate_at(&a, (i + 0.5) * step);
        }
        for (int periods = 0; periods < 20; periods++) /* the mean of whole periods */
            assert_near(arrival_count_until(&a, periods * 0.5), periods * 500, 1e-7);
    }
}

/* So many requests before t as R(t) says, at any t; request k (from 0) where R is k + phase. */
static void test_fixed_follows_the_integral(void **state)
{
    (void)state;
    static const double phases[] = {0, 0.25, 0.999};
    for (int i = 0; i < PATTERNS * 3; i++) {
        struct arrival a;
        double phase = phases[i / PATTERNS], edge = 0;
        arrival_init(&a, (enum arrival_pattern)(i % PATTERNS), false, 1234.5, 0.7, phase, 1);
        for (uint64_t k = 0; k < 8000; k++) {
            double t = (double)arrival_next(&a) / 1e9;
            assert_near(arrival_count_until(&a, t), (double)k + phase, 1234.5 * 3 * 0.6e-9 + 1e-9);
            for (; edge < t - 1e-9; edge += 0.0031) /* k of them were before this edge */
                assert_near(arrival_count_until(&a, edge), (double)k + phase - 0.5, 0.5 + 1e-5);
        }
        assert_true(edge > 5 * 0.7); /* over several periods */
    }
}

/* k / rate in ns, rounded: ns * rate is within rate / 2 of k * 10^9 (ties and dust may go either
 * way, hence the 2 %). */
static void check_exact(uint64_t ns, uint64_t k, uint64_t rate)
{
    __int128 off = (__int128)ns * rate - (__int128)k * 1000000000;
    __int128 size = off < 0 ? -off : off;
    if (size * 100 > (__int128)rate * 51)
        fail_msg("request %llu at %llu per second: %llu ns", (unsigned long long)k,
                 (unsigned long long)rate, (unsigned long long)ns);
}

/* Trips on times that are summed (drift), and on counts or times kept in too few bits. */
static void test_fixed_is_exact(void **state)
{
    (void)state;
    static const uint64_t rates[] = {1, 3, 7, 1000, 123457, 1000000, 999999937, 1000000000};
    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        struct arrival a;
        arrival_init(&a, ARRIVAL_CONSISTENT, false, (double)rates[i], 1, 0, 1);
        for (uint64_t k = 0; k < 100000; k++)
            check_exact(arrival_next(&a), k, rates[i]);
        uint64_t k = rates[i] * 10 * (uint64_t)HOUR_S; /* ten hours on */
        arrival_init(&a, ARRIVAL_CONSISTENT, false, (double)rates[i], 1, 0, 1);
        a.due_count = (double)k;
        for (uint64_t end = k + 10000; k < end; k++)
            check_exact(arrival_next(&a), k, rates[i]);
    }
    struct arrival round; /* whole ns: exactly these */
    arrival_init(&round, ARRIVAL_CONSISTENT, false, 1000000, 1, 0, 1);
    for (uint64_t k = 0; k < 3000000; k++)
        assert_true(arrival_next(&round) == k * 1000);
}

/* All patterns are where they should be after ten hours of short periods: the same place in the
 * period as in the first one. */
static void test_no_drift_of_periods(void **state)
{
    (void)state;
    const uint64_t per_period = 250, periods = 20 * (uint64_t)HOUR_S; /* of 0.5 s */
    for (int pattern = 0; pattern < PATTERNS; pattern++) {
        struct arrival first, later;
        arrival_init(&first, (enum arrival_pattern)pattern, false, 500, 0.5, 0, 1);
        later = first;
        later.due_count = (double)(periods * per_period);
        for (uint64_t k = 0; k < 2 * per_period; k++) {
            uint64_t expected = arrival_next(&first) + periods * 500000000;
            assert_near((double)arrival_next(&later) - (double)expected, 0, 1);
        }
    }
}

/* n threads' schedules together are one schedule of the whole rate. */
static void test_threads_interleave(void **state)
{
    (void)state;
    enum { THREADS = 3 };
    for (int pattern = 0; pattern < PATTERNS; pattern++) {
        struct arrival whole, parts[THREADS];
        arrival_init(&whole, (enum arrival_pattern)pattern, false, 3000, 0.5, 0, 1);
        for (int i = 0; i < THREADS; i++)
            arrival_init(&parts[i], (enum arrival_pattern)pattern, false, 3000.0 / THREADS, 0.5,
                         (double)i / THREADS, 1);
        for (uint64_t k = 0; k < 9000; k++) {
            double expected = (double)arrival_next(&whole);
            assert_near((double)arrival_next(&parts[k % THREADS]), expected, 1);
        }
    }
}

#define GAPS 100000
#define BINS 50

/* Gaps of R are independent and exponential with mean 1. The bounds are some five standard
 * deviations: chi-square with 49 degrees of freedom has mean 49 and deviation 9.9. */
static void check_gaps(const struct arrival *start)
{
    struct arrival a = *start;
    unsigned bins[BINS] = {0};
    double last = 0, sum = 0, previous = 0, products = 0, chi_square = 0;
    for (int i = 0; i < GAPS; i++) {
        double count = arrival_count_until(&a, (double)arrival_next(&a) / 1e9), gap = count - last;
        double share = -expm1(-gap); /* uniform on 0..1 if the gap is exponential */
        unsigned bin = (unsigned)(share * BINS);
        assert_true(gap >= -1e-4);
        bins[bin < BINS ? bin : BINS - 1]++;
        sum += gap;
        products += i ? (gap - 1) * (previous - 1) : 0;
        previous = gap;
        last = count;
    }
    const double expected = (double)GAPS / BINS;
    for (int i = 0; i < BINS; i++)
        chi_square += (bins[i] - expected) * (bins[i] - expected) / expected;
    assert_near(chi_square, 49, 50);
    assert_near(sum / GAPS, 1, 5 / sqrt(GAPS));
    assert_near(products / GAPS, 0, 5 / sqrt(GAPS));
}

static void test_poisson(void **state)
{
    (void)state;
    for (int i = 0; i < PATTERNS * 3; i++) {
        struct arrival a;
        arrival_init(&a, (enum arrival_pattern)(i % PATTERNS), true, 2000, 1.5, 0,
                     (uint64_t)(i / PATTERNS));
        check_gaps(&a);
        a.due_count += 2000 * 10 * HOUR_S; /* and ten hours on: the first gap is not looked at */
        struct arrival later = a;
        double before = arrival_count_until(&later, (double)arrival_next(&later) / 1e9);
        double after = arrival_count_until(&later, (double)arrival_next(&later) / 1e9);
        assert_true(after >= before - 1e-2 && after - before < 20);
    }
}

/* The same seed gives the same schedule, the next seed another one, as many as asked for. */
static void test_seeds(void **state)
{
    (void)state;
    struct arrival a, same, other;
    int equal = 0;
    arrival_init(&a, ARRIVAL_CONSISTENT, true, 1000, 1, 0, 42);
    arrival_init(&same, ARRIVAL_CONSISTENT, true, 1000, 1, 0, 42);
    arrival_init(&other, ARRIVAL_CONSISTENT, true, 1000, 1, 0, 43);
    for (int i = 0; i < 1000; i++) {
        uint64_t ns = arrival_next(&a);
        assert_true(ns == arrival_next(&same));
        equal += ns == arrival_next(&other);
    }
    assert_true(equal < 3);
    double sum = 0; /* of the first gaps */
    for (uint64_t seed = 0; seed < 2000; seed++) {
        arrival_init(&a, ARRIVAL_CONSISTENT, true, 1000, 1, 0, seed);
        sum += (double)arrival_next(&a) / 1e6;
    }
    assert_near(sum / 2000, 1, 5 / sqrt(2000));
}

static void check_order(enum arrival_pattern pattern, bool poisson, double rate, double period_s,
                        double start)
{
    struct arrival a;
    arrival_init(&a, pattern, poisson, rate, period_s, 0, 9);
    a.due_count += floor(start * rate * period_s);
    uint64_t last = 0;
    for (int k = 0; k < 400; k++) {
        uint64_t ns = arrival_next(&a);
        assert_true(ns >= last && ns <= ARRIVAL_NS_MAX);
        assert_true(a.position >= 0 && a.position <= 1);
        last = ns;
    }
    assert_true(rate > 1e-6 || last == ARRIVAL_NS_MAX);
}

/* Rates and periods beyond all use, from places within and at the edge of a period: times are in
 * order and in range. */
static void test_never_decreases(void **state)
{
    (void)state;
    static const double rates[] = {1e-12, 1e-3, 1, 3, 1e6, 1e9, 7e9, 1e13};
    static const double periods[] = {1e-6, 1.0 / 3, 1, 60, 1e5, 1e9};
    static const double starts[] = {0, 0.1999, 0.2, 0.3, 0.77, 0.9999999, 1, 1e6};
    for (size_t i = 0; i < 8; i++)
        for (size_t j = 0; j < 6; j++)
            for (size_t k = 0; k < 8; k++)
                for (unsigned p = 0; p < 2 * PATTERNS; p++)
                    check_order((enum arrival_pattern)(p / 2), p % 2, rates[i], periods[j],
                                starts[k]);
}

/* Trips on a position past the end of its period: the last request before it. */
static void test_last_of_a_period(void **state)
{
    (void)state;
    for (int pattern = 0; pattern < PATTERNS; pattern++) {
        struct arrival a;
        arrival_init(&a, (enum arrival_pattern)pattern, false, 1024, 1, 0, 1);
        a.due_count = nextafter(1024, 0);
        assert_true(arrival_next(&a) == 1000000000);
        assert_true(a.position >= 0 && a.position <= 1);
    }
}

/* The sine is found from any first guess, far ones too. */
static void test_sine_from_any_guess(void **state)
{
    (void)state;
    struct arrival a;
    arrival_init(&a, ARRIVAL_SINE, false, 1000, 1, 0, 1);
    for (int guess = 0; guess <= 20; guess++) {
        for (int k = 0; k < 1000; k++) {
            struct arrival one = a;
            one.due_count = k;
            one.position = guess / 20.0;
            one.last_ns = 0;
            double t = (double)arrival_next(&one) / 1e9;
            assert_near(arrival_count_until(&a, t), k, 1000 * 1.9 * 0.6e-9);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_rates),
        cmocka_unit_test(test_integral_of_the_rate),
        cmocka_unit_test(test_fixed_follows_the_integral),
        cmocka_unit_test(test_fixed_is_exact),
        cmocka_unit_test(test_no_drift_of_periods),
        cmocka_unit_test(test_threads_interleave),
        cmocka_unit_test(test_poisson),
        cmocka_unit_test(test_seeds),
        cmocka_unit_test(test_never_decreases),
        cmocka_unit_test(test_last_of_a_period),
        cmocka_unit_test(test_sine_from_any_guess),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
