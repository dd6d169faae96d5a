/* Goal: a budget counts exactly what is taken, charged and given back, refuses what would go over
 * its limit and nothing else, and forgets nothing when threads use it at once.
 * Method: the borders by hand; threads that take and give back in steps, never over the limit
 * together, and leave the count at 0.
 *
 * Bugs planted once to see it fail: < for <= at the limit; no giving back after a refusal; the
 * count loaded and stored instead of added. */
#include "lib/test.h"

#include <pthread.h>

#include "core/budget.h"
#include "core/random.h"

static void taking_up_to_the_limit(void **context)
{
    (void)context;
    struct budget b = {.limit = 100};
    assert_true(budget_take(&b, 60));
    assert_false(budget_take(&b, 41));
    assert_int_equal(budget_used(&b), 60);
    assert_true(budget_take(&b, 40));
    assert_int_equal(budget_used(&b), 100);
    assert_false(budget_take(&b, 1));
    assert_true(budget_take(&b, 0));
    budget_give(&b, 1);
    assert_true(budget_take(&b, 1));
    assert_int_equal(budget_used(&b), 100);
    assert_int_equal(budget_limit(&b), 100);
}

static void charging_goes_over_and_taking_waits(void **context)
{
    (void)context;
    struct budget b = {.limit = 100};
    budget_charge(&b, 150);
    assert_int_equal(budget_used(&b), 150);
    assert_false(budget_take(&b, 1));
    assert_false(budget_take(&b, UINT64_MAX - 200));
    budget_give(&b, 51);
    assert_true(budget_take(&b, 1));
    assert_int_equal(budget_used(&b), 100);
}

static void no_limit_and_a_changed_one(void **context)
{
    (void)context;
    struct budget b = {0};
    assert_true(budget_take(&b, 1ull << 60));
    atomic_store(&b.limit, 1ull << 59); /* lowered below what is in use */
    assert_false(budget_take(&b, 1));
    atomic_store(&b.limit, 0);
    assert_true(budget_take(&b, 1));
    assert_int_equal(budget_used(&b), (1ull << 60) + 1);
}

static void sizes_that_wrap_are_refused(void **context)
{
    (void)context;
    struct budget b = {.limit = 100};
    assert_true(budget_take(&b, 10));
    assert_false(budget_take(&b, UINT64_MAX));
    assert_false(budget_take(&b, UINT64_MAX - 9));
    assert_int_equal(budget_used(&b), 10);
}

enum { THREADS = 4, STEPS = 200000 / TEST_SLOWER, LIMIT = 1000 };

struct shared {
    struct budget budget;
    _Atomic uint64_t owned, over; /* owned never exceeds what is used */
    _Atomic uint64_t seed;
};

static void *take_and_give(void *argument)
{
    struct shared *s = argument;
    uint64_t random = atomic_fetch_add(&s->seed, 1);
    for (int i = 0; i < STEPS; i++) {
        uint64_t bytes = random_below(random_next(&random), LIMIT / 2) + 1;
        if (!budget_take(&s->budget, bytes))
            continue;
        if (atomic_fetch_add(&s->owned, bytes) + bytes > LIMIT)
            atomic_fetch_add(&s->over, 1);
        atomic_fetch_sub(&s->owned, bytes);
        budget_give(&s->budget, bytes);
    }
    return NULL;
}

static void threads_stay_within_the_limit(void **context)
{
    (void)context;
    struct shared s = {.budget.limit = LIMIT};
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_and_give, &s), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(budget_used(&s.budget), 0);
    assert_int_equal(atomic_load(&s.over), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(taking_up_to_the_limit),
        cmocka_unit_test(charging_goes_over_and_taking_waits),
        cmocka_unit_test(no_limit_and_a_changed_one),
        cmocka_unit_test(sizes_that_wrap_are_refused),
        cmocka_unit_test(threads_stay_within_the_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
