/* Goal: ranks come with probability 1 / (k+1)^theta over the sum of all, for every theta and n.
 * Method: 300,000 draws with a fixed seed are counted by rank, and by ranges of ranks that double
 * where there are many, against the exact sums by chi-square at 10^-4; 2 million are
 * told from a theta 0.01 off, and from ranks one off. Around theta 1, where the formula changes,
 * the same random numbers must give almost the same ranks.
 *
 * Bugs planted once to see it fail: ranks from 1; theta + 0.01 in the draw; the slow test left
 * out, reversed, or used for ranks beyond its precision; h_last at n instead of n + 0.5; h_first
 * 0.1 off; the series at theta 1 with a wrong sign; POWER_SMALL 1e-17; h_last not resized. */
#include "bench/zipf.h"

#include <string.h>

#include "lib/test.h"

#include "lib/chi_square.h"

enum { DRAWS = 300000 / TEST_SLOWER, SINGLES = 64, CELLS = SINGLES + 64 };

/* Cell of rank 0..: the first SINGLES have their own, then cells double. */
static size_t cell_of(uint64_t rank)
{
    return rank < SINGLES ? rank : SINGLES + 57 - (size_t)__builtin_clzll(rank);
}

static uint64_t cell_start(size_t cell)
{
    return cell <= SINGLES ? cell : (uint64_t)SINGLES << (cell - SINGLES);
}

/* Sum of k^-theta over k = from..to: term by term, from 10^5 on by Euler and Maclaurin. */
static double power_sum(uint64_t from, uint64_t to, double theta)
{
    double sum = 0;
    uint64_t k = from;
    for (; k <= to && k < 100000; k++)
        sum += pow((double)k, -theta);
    if (k > to)
        return sum;
    double a = (double)k, b = (double)to, ratio = log(b / a), p = 1 - theta;
    double integral = fabs(p) < 1e-9 ? ratio : pow(a, p) * expm1(p * ratio) / p;
    return sum + integral + (pow(a, -theta) + pow(b, -theta)) / 2;
}

/* Exact probabilities of the cells; returns how many there are. */
static size_t expect(uint64_t n, double theta, double probability[CELLS])
{
    size_t cells = cell_of(n - 1) + 1;
    double total = 0;
    for (size_t i = 0; i < cells; i++) {
        uint64_t end = cell_start(i + 1) < n ? cell_start(i + 1) : n;
        probability[i] = power_sum(cell_start(i) + 1, end, theta);
        total += probability[i];
    }
    for (size_t i = 0; i < cells; i++)
        probability[i] /= total;
    return cells;
}

static void draw(uint64_t n, double theta, int draws, uint64_t counted[CELLS])
{
    struct zipf z;
    uint64_t random = 20240607;
    zipf_init(&z, n, theta);
    memset(counted, 0, CELLS * sizeof counted[0]);
    for (int i = 0; i < draws; i++) {
        uint64_t rank = zipf_next(&z, &random);
        assert_true(rank < n);
        counted[cell_of(rank)]++;
    }
}

static double ratio_of(uint64_t n, double theta, const uint64_t counted[CELLS])
{
    double probability[CELLS];
    size_t cells = expect(n, theta, probability);
    return chi_square_ratio(counted, probability, cells);
}

static const double thetas[] = {0, 1e-9,      0.2,      0.5,  0.9, 0.99, 1 - 1e-6, 1 - 1e-12,
                                1, 1 + 1e-12, 1 + 1e-6, 1.01, 1.2, 2,    3,        10};
static const uint64_t sizes[] = {1,    2,       3,        4,           10,        100,
                                 1000, 1000000, 10000019, 10000000000, 1ull << 62};
enum { THETAS = sizeof thetas / sizeof thetas[0], SIZES = sizeof sizes / sizeof sizes[0] };

static void test_against_theory(void **state)
{
    (void)state;
    for (size_t t = 0; t < THETAS; t++) {
        for (size_t s = 0; s < SIZES; s++) {
            uint64_t counted[CELLS];
            draw(sizes[s], thetas[t], DRAWS, counted);
            double ratio = ratio_of(sizes[s], thetas[t], counted);
            if (!(ratio < 1))
                fail_msg("n %llu, theta %.13g: chi-square is %.3f times its bound",
                         (unsigned long long)sizes[s], thetas[t], ratio);
        }
    }
}

/* The test above has teeth: it tells theta from theta + 0.01, and rank from rank + 1. */
static void test_tells_neighbours_apart(void **state)
{
    (void)state;
    for (size_t s = 6; s < SIZES; s += 2) { /* few ranks need too many draws */
        uint64_t counted[CELLS], shifted[CELLS] = {0};
        draw(sizes[s], 0.99, 2000000, counted);
        assert_true(ratio_of(sizes[s], 0.99, counted) < 1);
        assert_true(ratio_of(sizes[s], 1.00, counted) > 1);
        assert_true(ratio_of(sizes[s], 0.98, counted) > 1);
        for (size_t i = 1; i < SINGLES; i++)
            shifted[i] = counted[i - 1];
        assert_true(ratio_of(sizes[s], 0.99, shifted) > 1);
    }
}

static void test_no_step_at_one(void **state)
{
    (void)state;
    static const double steps[] = {1e-14, 1e-12, 1e-9, 9e-7, 1.1e-6};
    struct zipf one, near;
    zipf_init(&one, 1000000, 1);
    for (size_t s = 0; s < 2 * sizeof steps / sizeof steps[0]; s++) {
        double step = s % 2 ? steps[s / 2] : -steps[s / 2];
        zipf_init(&near, 1000000, 1 + step);
        int apart = 0; /* a draw that only one of them rejects */
        for (uint64_t i = 0; i < 20000; i++) {
            uint64_t a = i, b = i;
            double rank = (double)zipf_next(&one, &a), other = (double)zipf_next(&near, &b);
            /* theory: x differs by a share of up to step * (log n)^2 / 8 */
            apart += fabs(rank - other) > 1 + rank * 25 * fabs(step);
        }
        assert_in_range(apart, 0, 5);
    }
}

static void test_resize_is_init(void **state)
{
    (void)state;
    for (size_t t = 0; t < THETAS; t++) {
        struct zipf resized, made;
        zipf_init(&resized, 5, thetas[t]);
        for (size_t s = 0; s < SIZES; s++) {
            uint64_t a = s, b = s;
            zipf_resize(&resized, sizes[s]);
            zipf_init(&made, sizes[s], thetas[t]);
            for (int i = 0; i < 100; i++)
                assert_true(zipf_next(&resized, &a) == zipf_next(&made, &b));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_theory),
        cmocka_unit_test(test_tells_neighbours_apart),
        cmocka_unit_test(test_no_step_at_one),
        cmocka_unit_test(test_resize_is_init),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
