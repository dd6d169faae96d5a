/* Goal: each distribution chooses the records that it says, with the shares it says, always below
 * the limit; scattering is a permutation without visible order; choices follow from the seed.
 * Method: counts of draws with fixed seeds against exact shares by chi-square at 10^-4, also with a
 * limit below the domain and a growing one; every record of many domains scattered.
 *
 * Bugs planted once to see it fail: latest not reversed; latest not resized when the limit grows;
 * hot share taken of the domain; cold choices over all records; scatter without the walk, with
 * fewer rounds, or with a part replaced in place of changed; no scatter; the sequential start lost
 * at the wrap; modulo for multiply-shift at a large limit; the thread left out of the seed. */
#include "bench/distribution.h"

#include <stdlib.h>

#include "lib/test.h"

#include "lib/chi_square.h"

enum { DRAWS = 400000 / TEST_SLOWER };

static struct distribution made(enum distribution_kind kind, uint64_t domain)
{
    struct distribution d;
    distribution_init(&d, &(struct distribution_options){.kind = kind,
                                                         .domain = domain,
                                                         .theta = 0.99,
                                                         .hot_records_share = 0.2,
                                                         .hot_requests_share = 0.8});
    return d;
}

/* --- the permutation --- */

static void test_scatter_is_a_permutation(void **state)
{
    (void)state;
    static const uint64_t domains[] = {1,   2,   3,    4,    5,     6,     7,     8,      9,
                                       10,  15,  16,   17,   31,    33,    100,   127,    128,
                                       129, 255, 1000, 1024, 65535, 65536, 65537, 1000003};
    for (size_t d = 0; d < sizeof domains / sizeof domains[0]; d++) {
        unsigned char *seen = calloc(domains[d], 1);
        for (uint64_t rank = 0; rank < domains[d]; rank++) {
            uint64_t record = distribution_scatter(rank, domains[d]);
            assert_true(record < domains[d]);
            assert_int_equal(seen[record]++, 0);
        }
        free(seen);
    }
    for (uint64_t rank = 0; rank < 1000; rank++) /* wide ones stay inside */
        assert_true(distribution_scatter(rank, (1ull << 62) - 1) < (1ull << 62) - 1);
}

/* The first 1 % of the ranks lies evenly over 32 parts of the records, and neighbours' distances
 * are as often small as chance has it. */
static void test_scatter_scatters(void **state)
{
    (void)state;
    static const uint64_t domains[] = {100000, 131072, 1000000, 10000019, 1ull << 40};
    for (size_t d = 0; d < sizeof domains / sizeof domains[0]; d++) {
        uint64_t domain = domains[d], ranks = domain < 10000000 ? domain / 100 : 100000;
        uint64_t counted[32] = {0}, distances[32] = {0};
        double even[32];
        for (uint64_t rank = 0; rank < ranks; rank++) {
            uint64_t here = distribution_scatter(rank, domain);
            uint64_t next = distribution_scatter(rank + 1, domain);
            uint64_t distance = next > here ? next - here : next + domain - here;
            counted[(unsigned __int128)here * 32 / domain]++;
            distances[(unsigned __int128)distance * 32 / domain]++;
        }
        for (int i = 0; i < 32; i++)
            even[i] = 1.0 / 32;
        assert_true(chi_square_ratio(counted, even, 32) < 1);
        assert_true(chi_square_ratio(distances, even, 32) < 1);
    }
}

/* --- shares --- */

/* Draw from records 0..limit-1, limit <= 1000, and compare with exact probabilities. */
static double fit(const struct distribution *d, uint64_t limit, const double *probability)
{
    uint64_t counted[1000] = {0};
    struct chooser c;
    chooser_init(&c, d, 7, 0, 1);
    for (int i = 0; i < DRAWS; i++) {
        uint64_t record = chooser_next(&c, limit);
        assert_true(record < limit);
        counted[record]++;
    }
    return chi_square_ratio(counted, probability, limit);
}

static void scale(double *probability, size_t cells)
{
    double sum = 0;
    for (size_t i = 0; i < cells; i++)
        sum += probability[i];
    for (size_t i = 0; i < cells; i++)
        probability[i] /= sum;
}

static const uint64_t limits[] = {1, 2, 3, 10, 640, 1000};
enum { LIMITS = sizeof limits / sizeof limits[0] };

static void test_uniform(void **state)
{
    (void)state;
    double probability[1000];
    for (size_t l = 0; l < LIMITS; l++) {
        struct distribution d = made(DISTRIBUTION_UNIFORM, 1000);
        for (uint64_t i = 0; i < limits[l]; i++)
            probability[i] = 1.0 / (double)limits[l];
        assert_true(fit(&d, limits[l], probability) < 1);
    }
    /* where 2^64 is no multiple: a remainder would choose the lower half twice as often */
    struct distribution d = made(DISTRIBUTION_UNIFORM, 1);
    struct chooser c;
    chooser_init(&c, &d, 1, 0, 1);
    uint64_t thirds[3] = {0}, limit = 3ull << 62;
    for (int i = 0; i < DRAWS; i++)
        thirds[chooser_next(&c, limit) >> 62]++;
    assert_true(chi_square_ratio(thirds, (double[]){1.0 / 3, 1.0 / 3, 1.0 / 3}, 3) < 1);
}

/* The popular records are the same at every limit: the zipfian over the domain, cut. */
static void test_zipfian(void **state)
{
    (void)state;
    for (size_t l = 1; l < LIMITS; l++) {
        double probability[1000] = {0}, unscattered[1000] = {0};
        uint64_t domain = limits[l] < 640 ? limits[l] : 1000;
        for (uint64_t rank = 0; rank < domain; rank++) {
            double p = pow((double)rank + 1, -0.99);
            uint64_t record = distribution_scatter(rank, domain);
            if (record < limits[l])
                probability[record] = p;
            if (rank < limits[l])
                unscattered[rank] = p;
        }
        scale(probability, limits[l]);
        scale(unscattered, limits[l]);
        struct distribution d = made(DISTRIBUTION_ZIPFIAN, domain);
        assert_true(fit(&d, limits[l], probability) < 1);
        if (limits[l] > 3)
            assert_true(fit(&d, limits[l], unscattered) > 1);
    }
}

static void test_zipfian_of_a_tiny_part_ends(void **state)
{
    (void)state;
    struct distribution d = made(DISTRIBUTION_ZIPFIAN, 1ull << 62);
    struct chooser c;
    uint64_t counted[4] = {0};
    chooser_init(&c, &d, 3, 0, 1);
    for (int i = 0; i < 4000; i++)
        counted[chooser_next(&c, 4)]++;
    assert_true(chi_square_ratio(counted, (double[]){0.25, 0.25, 0.25, 0.25}, 4) < 1);
}

static void test_latest(void **state)
{
    (void)state;
    struct distribution d = made(DISTRIBUTION_LATEST, 1000);
    for (size_t l = 0; l < LIMITS; l++) {
        double probability[1000];
        for (uint64_t i = 0; i < limits[l]; i++)
            probability[i] = pow((double)(limits[l] - i), -0.99);
        scale(probability, limits[l]);
        assert_true(fit(&d, limits[l], probability) < 1);
    }
    /* the newest is the most popular also while the limit grows, past the domain */
    uint64_t ages[20] = {0};
    double probability[20];
    struct chooser c;
    chooser_init(&c, &d, 5, 0, 1);
    double sum = 0;
    for (int k = 1; k <= 1000000; k++)
        sum += pow(k, -0.99);
    for (int i = 0; i < DRAWS; i++) { /* so near to 10^6 that its sum will do */
        uint64_t limit = 1000000 + (uint64_t)i % 100, age = limit - 1 - chooser_next(&c, limit);
        ages[age < 19 ? age : 19]++;
    }
    probability[19] = 1;
    for (int i = 0; i < 19; i++)
        probability[19] -= probability[i] = pow(i + 1, -0.99) / sum;
    assert_true(chi_square_ratio(ages, probability, 20) < 1);
}

static void test_hotspot(void **state)
{
    (void)state;
    for (size_t l = 0; l < LIMITS; l++) {
        double probability[1000];
        uint64_t limit = limits[l], hot = limit < 10 ? 1 : limit / 5;
        for (uint64_t i = 0; i < limit; i++)
            probability[i] = limit == 1 ? 1
                             : i < hot  ? 0.8 / (double)hot
                                        : 0.2 / (double)(limit - hot);
        struct distribution d = made(DISTRIBUTION_HOTSPOT, 1000);
        assert_true(fit(&d, limit, probability) < 1);
    }
}

/* All records hot, and no request to the hot ones. */
static void test_hotspot_at_its_ends(void **state)
{
    (void)state;
    double probability[10];
    struct distribution d = made(DISTRIBUTION_HOTSPOT, 10);
    d.options.hot_records_share = 1;
    d.options.hot_requests_share = 0.3;
    for (int i = 0; i < 10; i++)
        probability[i] = 0.1;
    assert_true(fit(&d, 10, probability) < 1);
    d.options.hot_records_share = 0.5;
    d.options.hot_requests_share = 0;
    for (int i = 0; i < 10; i++)
        probability[i] = i < 5 ? 0 : 0.2;
    struct chooser c;
    chooser_init(&c, &d, 7, 0, 1);
    for (int i = 0; i < 10000; i++)
        assert_true(chooser_next(&c, 10) >= 5);
    d.options.hot_requests_share = 1;
    for (int i = 0; i < 10000; i++)
        assert_true(chooser_next(&c, 10) < 5);
}

static void test_sequential(void **state)
{
    (void)state;
    struct distribution d = made(DISTRIBUTION_SEQUENTIAL, 10);
    struct chooser c[3];
    for (unsigned t = 0; t < 3; t++)
        chooser_init(&c[t], &d, 1, t, 3);
    for (int round = 0; round < 3; round++) /* together, each record once a round */
        for (uint64_t i = 0; i < 10; i++)
            assert_int_equal(chooser_next(&c[i % 3], 10), i);
    for (unsigned t = 0; t < 3; t++)
        chooser_init(&c[t], &d, 1, t, 3);
    for (uint64_t i = 0; i < 12; i++) /* a limit that grows is followed */
        assert_int_equal(chooser_next(&c[i % 3], 10 + i), i);
    struct chooser many; /* more threads than records */
    chooser_init(&many, &d, 1, 7, 8);
    for (int i = 0; i < 5; i++)
        assert_int_equal(chooser_next(&many, 3), 7 % 3);
}

static void test_streams(void **state)
{
    (void)state;
    static const enum distribution_kind kinds[] = {DISTRIBUTION_UNIFORM, DISTRIBUTION_ZIPFIAN,
                                                   DISTRIBUTION_LATEST, DISTRIBUTION_HOTSPOT};
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        struct distribution d = made(kinds[k], 1ull << 40);
        struct chooser same[2], thread, seed;
        chooser_init(&same[0], &d, 1, 0, 4);
        chooser_init(&same[1], &d, 1, 0, 4);
        chooser_init(&thread, &d, 1, 1, 4);
        chooser_init(&seed, &d, 2, 0, 4);
        int as_thread = 0, as_seed = 0;
        for (int i = 0; i < 1000; i++) {
            uint64_t record = chooser_next(&same[0], 1ull << 40);
            assert_true(record == chooser_next(&same[1], 1ull << 40));
            as_thread += record == chooser_next(&thread, 1ull << 40);
            as_seed += record == chooser_next(&seed, 1ull << 40);
        }
        assert_in_range(as_thread, 0, 20); /* the most popular coincide at times */
        assert_in_range(as_seed, 0, 20);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scatter_is_a_permutation),
        cmocka_unit_test(test_scatter_scatters),
        cmocka_unit_test(test_uniform),
        cmocka_unit_test(test_zipfian),
        cmocka_unit_test(test_zipfian_of_a_tiny_part_ends),
        cmocka_unit_test(test_latest),
        cmocka_unit_test(test_hotspot),
        cmocka_unit_test(test_hotspot_at_its_ends),
        cmocka_unit_test(test_sequential),
        cmocka_unit_test(test_streams),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
