/* Goal: the points of a curve rise, begin at the least value and end at the greatest, and each says
 * what the histogram says; no histogram has too many of them.
 * Method: an empty histogram, one value, a million of them, the most there can be. */
#include "bench/curve.h"

#include "lib/test.h"

static size_t points_of(uint64_t from, uint64_t to, uint64_t step, uint64_t count,
                        struct curve_point out[CURVE_POINTS_MAX])
{
    struct histogram *h = histogram_new();
    assert_non_null(h);
    for (uint64_t value = from; value <= to; value += step)
        histogram_record(h, value, count);
    size_t points = curve_points(h, out);
    for (size_t i = 1; i < points; i++) {
        assert_true(out[i].quantile > out[i - 1].quantile);
        assert_true(out[i].us >= out[i - 1].us);
    }
    assert_true(points == 0 || out[0].us == (double)histogram_min(h) / 1e3);
    for (size_t i = 1; i + 1 < points; i++)
        assert_true(out[i].us == (double)histogram_quantile(h, out[i].quantile) / 1e3);
    histogram_free(h);
    return points;
}

static void test_points(void **state)
{
    (void)state;
    static struct curve_point points[CURVE_POINTS_MAX];
    assert_int_equal(points_of(1, 0, 1, 1, points), 0);

    assert_int_equal(points_of(5000, 5000, 1, 1, points), 2);
    assert_true(points[0].quantile == 0 && points[0].us == 5);
    assert_true(points[1].quantile == 1 && points[1].us == 5);

    size_t count = points_of(1000, 1000000, 1000, 1000, points); /* a million: six decades */
    assert_int_equal(count, 6 * 20 + 1 + 1);
    assert_true(points[0].us == 1);
    assert_true(points[20].quantile > 0.8999 && points[20].quantile < 0.9001);
    assert_true(points[20].us > 899 && points[20].us < 902);
    assert_true(points[count - 1].us == 1000);

    assert_int_equal(points_of(7, 7, 1, UINT64_MAX, points), CURVE_POINTS_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_points),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
