/* Goal: counts are exact, quantiles and cumulative counts are within 0.1 % of the sorted values, so
 * too for the values of an interval, a concurrent reader sees sane figures.
 * Method: values of several distributions recorded and sorted, each quantile compared with the
 * exact one; bucket edges of every magnitude; memory that runs out; a reader thread beside a writer
 * (for TSan). */
#include "core/histogram.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#include "lib/test.h"

#include "lib/fault_malloc.h"

#define VALUES 20000

static uint64_t next_random(uint64_t *random)
{
    *random = *random * 6364136223846793005u + 1442695040888963407u;
    return *random >> 11; /* 53 bits */
}

#define KINDS 6

/* Values of kind 0: small; 1: narrow around a million; 2: all magnitudes alike; 3: constant;
 * 4: exponential, mean 100,000; 5: latencies in ns of a server that stalls for 0.5 s at times. */
static uint64_t draw(uint64_t *random, int kind)
{
    uint64_t bits = next_random(random);
    switch (kind) {
    case 0:
        return bits % 3000;
    case 1:
        return 1000000 + bits % 50000;
    case 2:
        return (bits | (next_random(random) << 32)) >> (bits & 63);
    case 4:
        return (uint64_t)(-100000 * log(((double)bits + 1) / 0x1p53));
    case 5:
        return bits % 1000 < 2 ? bits / 1000 % 500000000 : 20000 + bits / 1000 % 5000;
    default:
        return 123456789;
    }
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* exact <= answer <= exact * (1 + 1/1024) */
static void check_close(uint64_t answer, uint64_t exact)
{
    assert_true(answer >= exact);
    assert_true(answer - exact <= exact / 1024);
}

static void check_quantiles(const struct histogram *h, const uint64_t *sorted, size_t count)
{
    static const double quantiles[] = {0,   0.001, 0.01, 0.1,   0.25,   0.5, 0.75,
                                       0.9, 0.95,  0.99, 0.999, 0.9999, 1};
    assert_int_equal(histogram_count(h), count);
    for (size_t i = 0; i < sizeof quantiles / sizeof quantiles[0]; i++) {
        size_t rank = (size_t)ceil(quantiles[i] * (double)count - 1e-6);
        check_close(histogram_quantile(h, quantiles[i]), sorted[rank ? rank - 1 : 0]);
    }
    /* exact ranks all over, the outermost hundred on both sides one by one */
    for (size_t rank = 1; rank <= count; rank += rank <= 100 || rank + 100 >= count ? 1 : 97)
        check_close(histogram_quantile(h, (double)rank / (double)count), sorted[rank - 1]);
}

static void check_against_sorted(const struct histogram *h, const uint64_t *sorted, size_t count)
{
    assert_true(histogram_min(h) == sorted[0]);
    assert_true(histogram_max(h) == sorted[count - 1]);
    check_quantiles(h, sorted, count);
    uint64_t seen = 0;
    for (size_t i = 0; i < count; i += 997) {
        /* values counted may be over the one asked for by the width of its slot, not more */
        uint64_t upto = histogram_count_upto(h, sorted[i]), low = 0, high = 0;
        uint64_t edge = sorted[i] + sorted[i] / 1024;
        while (low < count && sorted[low] <= sorted[i])
            low++;
        high = low;
        while (high < count && (sorted[high] <= edge || edge < sorted[i]))
            high++;
        assert_in_range(upto, low, high);
        assert_true(upto >= seen);
        seen = upto;
    }
    assert_int_equal(histogram_count_upto(h, UINT64_MAX), count);
}

static void test_against_sorted_values(void **state)
{
    (void)state;
    static uint64_t values[VALUES];
    for (int kind = 0; kind < KINDS; kind++) {
        uint64_t random = 99;
        double sum = 0;
        struct histogram *h = histogram_new();
        assert_non_null(h);
        for (size_t i = 0; i < VALUES; i++) {
            values[i] = draw(&random, kind);
            sum += (double)values[i];
            histogram_record(h, values[i], 1);
        }
        qsort(values, VALUES, sizeof values[0], compare);
        check_against_sorted(h, values, VALUES);
        assert_true(fabs(histogram_mean(h) - sum / VALUES) <= 1e-9 * sum / VALUES);
        histogram_free(h);
    }
}

/* Trips on a value counted in the wrong slot at the edge of a magnitude, and on shifts by 64. */
static void test_edges_of_all_magnitudes(void **state)
{
    (void)state;
    struct histogram *h = histogram_new();
    for (int bit = 0; bit < 64; bit++) {
        for (uint64_t delta = 0; delta < 3; delta++) {
            uint64_t value = (1ull << bit) + delta - 1;
            histogram_reset(h);
            histogram_record(h, value, 3);
            assert_int_equal(histogram_count(h), 3);
            assert_true(histogram_quantile(h, 0.5) == value); /* never over the maximum */
            assert_int_equal(histogram_count_upto(h, value), 3);
            if (value > 0)
                assert_int_equal(histogram_count_upto(h, value - value / 512 - 1), 0);
        }
    }
    histogram_record(h, UINT64_MAX, 1);
    assert_true(histogram_max(h) == UINT64_MAX);
    assert_true(histogram_quantile(h, 1) == UINT64_MAX);
    histogram_free(h);
}

static void test_empty_and_odd_arguments(void **state)
{
    (void)state;
    struct histogram *h = histogram_new();
    assert_true(histogram_quantile(h, 0.5) == 0 && histogram_min(h) == 0 && histogram_max(h) == 0);
    assert_true(histogram_mean(h) == 0 && histogram_count_upto(h, UINT64_MAX) == 0);
    histogram_record(h, 5, 0); /* no values: nothing happens */
    assert_true(histogram_count(h) == 0 && histogram_min(h) == 0 && histogram_max(h) == 0);
    for (uint64_t v = 1; v <= 100; v++)
        histogram_record(h, v, 1);
    assert_int_equal(histogram_quantile(h, -1), 1);
    assert_int_equal(histogram_quantile(h, 2), 100);
    assert_int_equal(histogram_quantile(h, (double)NAN), 1);
    for (uint64_t p = 1; p <= 100; p++) /* 0.07 * 100 is over 7 in binary */
        assert_int_equal(histogram_quantile(h, (double)p / 100), p);
    histogram_free(h);
    histogram_free(NULL);
}

static void test_merge_and_reset(void **state)
{
    (void)state;
    static uint64_t values[VALUES];
    struct histogram *parts[3], *sum = histogram_new();
    uint64_t random = 5;
    for (int i = 0; i < 3; i++)
        parts[i] = histogram_new();
    for (size_t i = 0; i < VALUES; i++) {
        values[i] = draw(&random, (int)(i % 3));
        histogram_record(parts[i % 3], values[i], 1);
    }
    struct histogram *empty = histogram_new();
    histogram_merge(sum, empty); /* must not bring in the empty one's minimum */
    for (int i = 0; i < 3; i++)
        histogram_merge(sum, parts[i]);
    histogram_merge(sum, empty);
    qsort(values, VALUES, sizeof values[0], compare);
    check_against_sorted(sum, values, VALUES);

    histogram_reset(sum);
    assert_true(histogram_count(sum) == 0 && histogram_quantile(sum, 1) == 0);
    histogram_record(sum, 77, 2);
    assert_true(histogram_min(sum) == 77 && histogram_max(sum) == 77 && histogram_count(sum) == 2);
    for (int i = 0; i < 3; i++)
        histogram_free(parts[i]);
    histogram_free(empty);
    histogram_free(sum);
}

/* A copy of a growing histogram, as a reader makes it. */
static struct histogram *copy_of(const struct histogram *h)
{
    struct histogram *copy = histogram_new();
    assert_non_null(copy);
    histogram_merge(copy, h);
    return copy;
}

/* The values between two copies are left, for every kind before and every kind after. */
static void test_interval(void **state)
{
    (void)state;
    static uint64_t values[VALUES];
    for (int kinds = 0; kinds < KINDS * KINDS; kinds++) {
        uint64_t random = 7;
        size_t count = kinds == 0 ? 1 : VALUES / 4;
        double sum = 0;
        struct histogram *h = histogram_new();
        for (size_t i = 0; i < VALUES / 4; i++)
            histogram_record(h, draw(&random, kinds % KINDS), 1);
        struct histogram *before = copy_of(h);
        for (size_t i = 0; i < count; i++) {
            values[i] = draw(&random, kinds / KINDS);
            sum += (double)values[i];
            histogram_record(h, values[i], 1);
        }
        struct histogram *now = copy_of(h);
        histogram_subtract(now, before);
        qsort(values, count, sizeof values[0], compare);
        check_quantiles(now, values, count);
        check_close(histogram_max(now), values[count - 1]);
        assert_true(histogram_max(now) <= histogram_max(h));
        check_close(values[0], histogram_min(now));
        assert_int_equal(histogram_count_upto(now, UINT64_MAX), count);
        /* 2^-53 of the sum of all, for each of the additions */
        double all = histogram_mean(h) * (double)histogram_count(h);
        assert_true(fabs(histogram_mean(now) * (double)count - sum) <= 1e-9 * sum + 1e-11 * all);
        histogram_free(now);
        histogram_free(before);
        histogram_free(h);
    }
}

static void test_interval_without_values(void **state)
{
    (void)state;
    struct histogram *h = histogram_new(), *empty = histogram_new();
    histogram_record(h, 5, 3);
    histogram_record(h, 5000000, 3);
    struct histogram *before = copy_of(h);
    histogram_subtract(h, empty); /* nothing is taken */
    assert_int_equal(histogram_count(h), 6);
    assert_true(histogram_min(h) == 5 && histogram_max(h) == 5000000);
    histogram_subtract(h, before);
    assert_true(histogram_count(h) == 0 && histogram_min(h) == 0 && histogram_max(h) == 0);
    assert_true(histogram_mean(h) == 0 && histogram_quantile(h, 0.5) == 0);
    histogram_subtract(h, before); /* never below nothing */
    assert_true(histogram_count(h) == 0 && histogram_count_upto(h, UINT64_MAX) == 0);
    histogram_record(h, UINT64_MAX, 1); /* and in use again; the greatest slot's bound */
    histogram_subtract(h, empty);
    assert_true(histogram_min(h) <= UINT64_MAX && histogram_min(h) >= UINT64_MAX - (1ull << 53));
    assert_true(histogram_max(h) == UINT64_MAX);
    histogram_free(before);
    histogram_free(empty);
    histogram_free(h);
}

/* A copy, or the histogram itself, that had no memory for a magnitude: counts stay exact. */
static void test_interval_without_memory(void **state)
{
    (void)state;
    for (int failing = 0; failing < 3; failing++) { /* the earlier copy, the later, both */
        struct histogram *h = histogram_new(), *before = histogram_new(), *now = histogram_new();
        histogram_record(h, 100, 10);
        histogram_record(h, 5000, 20);
        histogram_record(h, 8000, 5);
        if (failing != 1)
            fault_malloc_arm(1, true);
        histogram_merge(before, h);
        fault_malloc_disarm();
        histogram_record(h, 100, 1);
        histogram_record(h, 8000, 4);
        histogram_record(h, 1000000, 3);
        if (failing != 0)
            fault_malloc_arm(1, true);
        histogram_merge(now, h);
        fault_malloc_disarm();
        histogram_subtract(now, before);
        assert_int_equal(histogram_count(now), 8);
        assert_int_equal(histogram_count_upto(now, UINT64_MAX), 8);
        assert_int_equal(histogram_count_upto(now, 2047), 1); /* a magnitude's end */
        assert_int_equal(histogram_count_upto(now, 8191), 5);
        assert_in_range(histogram_quantile(now, 0.5), 4096, 8191);
        assert_true(histogram_min(now) <= 2047);
        assert_in_range(histogram_max(now), 1000000, 1000000);
        histogram_free(h);
        histogram_free(before);
        histogram_free(now);
    }
}

struct shared {
    struct histogram *h;
    atomic_bool done;
};

static void *write_values(void *context)
{
    struct shared *shared = context;
    uint64_t random = 1;
    for (int i = 0; i < 50000; i++)
        histogram_record(shared->h, draw(&random, 2), 1);
    atomic_store(&shared->done, true);
    return NULL;
}

/* Trips (under TSan) on a plain access, and on a reader that meets an array not yet zeroed. */
static void test_reader_beside_writer(void **state)
{
    (void)state;
    struct shared shared = {.h = histogram_new()};
    struct histogram *copy = histogram_new();
    pthread_t writer;
    assert_int_equal(pthread_create(&writer, NULL, write_values, &shared), 0);
    uint64_t last = 0;
    bool done;
    do {
        done = atomic_load(&shared.done);
        uint64_t count = histogram_count(shared.h);
        assert_in_range(count, last, 50000);
        last = count;
        assert_true(histogram_quantile(shared.h, 0.5) <= histogram_max(shared.h));
        assert_true(histogram_count_upto(shared.h, UINT64_MAX) <= 50000);
        histogram_reset(copy);
        histogram_merge(copy, shared.h);
        assert_true(histogram_count(copy) <= 50000);
    } while (!done);
    assert_int_equal(pthread_join(writer, NULL), 0);
    assert_int_equal(histogram_count(shared.h), 50000);
    assert_int_equal(histogram_count_upto(shared.h, UINT64_MAX), 50000);
    histogram_free(copy);
    histogram_free(shared.h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_sorted_values),
        cmocka_unit_test(test_edges_of_all_magnitudes),
        cmocka_unit_test(test_empty_and_odd_arguments),
        cmocka_unit_test(test_merge_and_reset),
        cmocka_unit_test(test_interval),
        cmocka_unit_test(test_interval_without_values),
        cmocka_unit_test(test_interval_without_memory),
        cmocka_unit_test(test_reader_beside_writer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
