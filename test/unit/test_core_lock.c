/* Goal: a lock lets one thread in at a time, also when it is held for long.
 * Method: threads increment what is not atomic; some rounds are held over yields.
 *
 * Bugs planted once to see it fail: an exchange that is not looked at; waiting that takes the lock
 * for free after it has slept. */
#include "lib/test.h"

#include <pthread.h>
#include <sched.h>

#include "core/lock.h"

enum { THREADS = 4, ROUNDS = 200000 };

static struct lock lock;
static uint64_t counter;

static void *count(void *argument)
{
    (void)argument;
    for (int i = 0; i < ROUNDS / TEST_SLOWER; i++) {
        lock_take(&lock);
        uint64_t seen = counter;
        if (i % 1000 == 0)
            for (int n = 0; n < 300; n++)
                sched_yield();
        counter = seen + 1;
        lock_give(&lock);
    }
    return NULL;
}

static void one_at_a_time(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(counter, THREADS * (ROUNDS / TEST_SLOWER));
    assert_int_equal(atomic_load(&lock.taken), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(one_at_a_time)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
