/* Goal: the points of a series show what happened in their intervals and nothing of before, and add
 * up to the tallies; a point that is lost for want of memory belongs to the next.
 * Method: tallies grow by known latencies between looks at made-up times. */
#include "bench/meter.h"

#include "lib/test.h"

#include "core/random.h"
#include "lib/fault_malloc.h"

#define SECOND 1000000000ull
#define START  (77 * SECOND)

static struct tally tallies[3];
static const struct tally *const views[3] = {&tallies[0], &tallies[1], &tallies[2]};
static struct meter meter;

static int setup(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++)
        assert_int_equal(tally_init(&tallies[i]), TARN_OK);
    assert_int_equal(meter_init(&meter, START), TARN_OK);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++)
        tally_done(&tallies[i]);
    meter_done(&meter);
    meter_done(&meter); /* a zeroed one */
    return 0;
}

static struct figures_point look(uint64_t now_ns)
{
    struct figures_point point;
    assert_int_equal(meter_look(&meter, views, 3, now_ns, &point), TARN_OK);
    assert_memory_equal(&point, &meter.points[meter.points_count - 1], sizeof point);
    return point;
}

/* `count` reads of so many us each. */
static void answer(unsigned thread, uint64_t us, uint64_t count)
{
    tally_requests(&tallies[thread], OPERATION_READ, us * 1000, count, count);
}

static void check_near(double value, double expected)
{
    if (!(value > expected * 0.998 && value < expected * 1.002))
        fail_msg("%g is not %g", value, expected);
}

static void test_an_interval_knows_nothing_of_the_one_before(void **state)
{
    (void)state;
    answer(0, 1000, 900);
    answer(1, 3000, 100);
    struct figures_point a = look(START + SECOND);
    assert_int_equal(a.operations, 1000);
    check_near(a.at_s, 1);
    check_near(a.seconds, 1);
    check_near(a.p50_us, 1000);
    check_near(a.p99_us, 3000);
    check_near(a.mean_us, 1200);
    check_near(a.max_us, 3000);

    answer(0, 10, 50);
    answer(2, 20, 49);
    answer(1, 70, 1);
    struct figures_point b = look(START + 3 * SECOND / 2);
    assert_int_equal(b.operations, 100);
    check_near(b.at_s, 1.5);
    check_near(b.seconds, 0.5);
    check_near(b.p50_us, 10);
    check_near(b.p99_us, 20);
    check_near(b.p999_us, 70);
    check_near(b.max_us, 70);
    check_near(b.mean_us, (50 * 10 + 49 * 20 + 70) / 100.0);
}

static void test_an_interval_in_which_nothing_happened(void **state)
{
    (void)state;
    answer(0, 1000, 5);
    look(START + SECOND);
    struct figures_point point = look(START + 2 * SECOND);
    assert_int_equal(point.operations, 0);
    assert_true(point.mean_us == 0 && point.p50_us == 0 && point.max_us == 0);
    check_near(point.seconds, 1);
}

static void test_errors_are_no_operations(void **state)
{
    (void)state;
    tally_error(&tallies[0], (struct tarn_bytes){"no", 2}, 3);
    answer(1, 10, 4);
    struct figures_point point = look(START + SECOND);
    assert_int_equal(point.operations, 4);
    assert_int_equal(point.errors, 3);
    tally_error(&tallies[2], (struct tarn_bytes){"no", 2}, 1);
    point = look(START + 2 * SECOND);
    assert_int_equal(point.operations, 0);
    assert_int_equal(point.errors, 1);
}

/* Invariant of meter.c, over more points than are reserved at first. */
static void test_points_add_up(void **state)
{
    (void)state;
    uint64_t random = 5, operations = 0, errors = 0;
    double seconds = 0;
    for (unsigned i = 1; i <= 200; i++) {
        for (unsigned t = 0; t < 3; t++) {
            answer(t, 1 + random_next(&random) % 100000, random_next(&random) % 100);
            tally_error(&tallies[t], (struct tarn_bytes){"e", 1}, random_next(&random) % 3);
        }
        look(START + i * SECOND + random_next(&random) % SECOND);
    }
    assert_int_equal(meter.points_count, 200);
    for (size_t i = 0; i < meter.points_count; i++) {
        operations += meter.points[i].operations;
        errors += meter.points[i].errors;
        seconds += meter.points[i].seconds;
        check_near(seconds, meter.points[i].at_s);
    }
    uint64_t all = 0, all_errors = 0;
    for (unsigned t = 0; t < 3; t++) {
        all += tally_get(&tallies[t].operations);
        all_errors += tally_get(&tallies[t].errors);
    }
    assert_true(all > 10000);
    assert_int_equal(operations, all);
    assert_int_equal(errors, all_errors);
}

static void test_a_lost_point_belongs_to_the_next(void **state)
{
    (void)state;
    struct figures_point point = {.at_s = -1};
    answer(0, 500, 7);
    fault_malloc_arm(1, false);
    assert_int_equal(meter_look(&meter, views, 3, START + SECOND, &point), TARN_NOMEM);
    assert_int_equal(fault_malloc_disarm(), 1);
    assert_true(point.at_s == -1);
    assert_int_equal(meter.points_count, 0);
    answer(0, 500, 2);
    point = look(START + 2 * SECOND);
    assert_int_equal(point.operations, 9);
    check_near(point.seconds, 2);
    check_near(point.p50_us, 500);
}

static void test_no_memory_to_begin(void **state)
{
    (void)state;
    for (uint64_t nth = 1; nth <= 3; nth++) {
        struct meter m;
        fault_malloc_arm(nth, false);
        assert_int_equal(meter_init(&m, 0), TARN_NOMEM);
        assert_int_equal(fault_malloc_disarm(), 1);
        assert_null(m.before);
        meter_done(&m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_an_interval_knows_nothing_of_the_one_before, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_an_interval_in_which_nothing_happened, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_errors_are_no_operations, setup, teardown),
        cmocka_unit_test_setup_teardown(test_points_add_up, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_lost_point_belongs_to_the_next, setup, teardown),
        cmocka_unit_test(test_no_memory_to_begin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
