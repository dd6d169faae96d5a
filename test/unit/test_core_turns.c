/* Goal: threads that take turns run the same way with the same seed and differently with another;
 * mutexes, conditions, time-outs, joins, locks and grace periods mean what they always mean.
 * Method: a few threads that write down who was where, run from many seeds. */
#include "lib/turns.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <time.h>

#include "lib/test.h"

#include "core/hash.h"
#include "core/lock.h"
#include "core/qsbr.h"

enum { THREADS = 3, ROUNDS = 20, SEEDS = 50 };

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    struct lock lock;
    unsigned char diary[1024];
    size_t size;
    int inside; /* threads in the critical section */
    bool flag;
    int *shared;
} w;

static void note(unsigned char who)
{
    assert_true(w.size < sizeof w.diary);
    w.diary[w.size++] = who;
}

static void begin(uint64_t seed)
{
    memset(&w, 0, sizeof w);
    pthread_mutex_init(&w.mutex, NULL);
    pthread_cond_init(&w.cond, NULL);
    turns_begin(seed);
}

static void end(void)
{
    turns_end();
    pthread_cond_destroy(&w.cond);
    pthread_mutex_destroy(&w.mutex);
}

static void *write_diary(void *argument)
{
    for (int i = 0; i < ROUNDS; i++) {
        pthread_mutex_lock(&w.mutex);
        assert_int_equal(w.inside++, 0);
        turns_yield();
        note(*(unsigned char *)argument);
        assert_int_equal(--w.inside, 0);
        pthread_mutex_unlock(&w.mutex);
    }
    return argument;
}

static void run_all(void *(*run)(void *))
{
    static unsigned char names[THREADS] = {'a', 'b', 'c'};
    pthread_t ids[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&ids[i], NULL, run, &names[i]), 0);
    for (int i = 0; i < THREADS; i++) {
        void *result = NULL;
        assert_int_equal(pthread_join(ids[i], &result), 0);
        assert_ptr_equal(result, &names[i]);
    }
}

static void test_a_seed_replays(void **state)
{
    (void)state;
    unsigned different = 0;
    char first[sizeof w.diary];
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        for (int time = 0; time < 2; time++) {
            begin(seed);
            run_all(write_diary);
            end();
            assert_int_equal(w.size, THREADS * ROUNDS);
            if (time == 0) {
                different += memcmp(first, w.diary, w.size) != 0;
                memcpy(first, w.diary, w.size);
            }
            assert_memory_equal(first, w.diary, w.size);
        }
    }
    assert_in_range(different, SEEDS / 2, SEEDS);
}

static void *wait_for_flag(void *argument)
{
    pthread_mutex_lock(&w.mutex);
    while (!w.flag)
        pthread_cond_wait(&w.cond, &w.mutex);
    pthread_mutex_unlock(&w.mutex);
    return argument;
}

static void *raise_flag(void *argument)
{
    pthread_mutex_lock(&w.mutex);
    w.flag = true;
    pthread_cond_broadcast(&w.cond);
    pthread_mutex_unlock(&w.mutex);
    return argument;
}

static void *wait_or_raise(void *argument)
{
    return *(unsigned char *)argument == 'b' ? raise_flag(argument) : wait_for_flag(argument);
}

static void test_who_waits_is_woken(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        begin(seed);
        run_all(wait_or_raise);
        end();
    }
}

static struct timespec in_seconds(clockid_t clock, long seconds)
{
    struct timespec t;
    clock_gettime(clock, &t);
    t.tv_sec += seconds;
    return t;
}

static void test_time_passes_when_all_wait(void **state)
{
    (void)state;
    begin(1);
    uint64_t before = turns_now_ns();
    pthread_mutex_lock(&w.mutex);
    struct timespec until = in_seconds(CLOCK_REALTIME, 3600);
    assert_int_equal(pthread_cond_timedwait(&w.cond, &w.mutex, &until), ETIMEDOUT);
    assert_in_range(turns_now_ns() - before, 3599000000000ull, 3601000000000ull);
    until = in_seconds(CLOCK_MONOTONIC, 3600);
    assert_int_equal(pthread_cond_timedwait(&w.cond, &w.mutex, &until), ETIMEDOUT);
    assert_in_range(turns_now_ns() - before, 7199000000000ull, 7201000000000ull);
    pthread_mutex_unlock(&w.mutex);
    nanosleep(&(struct timespec){.tv_sec = 10}, NULL);
    assert_in_range(turns_now_ns() - before, 7209000000000ull, 7211000000000ull);
    end();
}

static void *take_lock(void *argument)
{
    for (int i = 0; i < ROUNDS; i++) {
        lock_take(&w.lock);
        assert_int_equal(w.inside++, 0);
        sched_yield();
        assert_int_equal(--w.inside, 0);
        lock_give(&w.lock);
    }
    return argument;
}

static void test_a_lock_is_waited_for(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        begin(seed);
        run_all(take_lock);
        end();
    }
}

/* `a` replaces what `b` and `c` look at, and makes it wrong after a grace period. */
static void *read_or_replace(void *argument)
{
    static int values[ROUNDS + 1];
    if (*(unsigned char *)argument == 'a') {
        for (int i = 0; i < ROUNDS; i++) {
            int *old = w.shared;
            values[i + 1] = 1;
            w.shared = &values[i + 1];
            qsbr_wait();
            if (old)
                *old = 0;
        }
        return argument;
    }
    qsbr_register();
    for (int i = 0; i < ROUNDS; i++) {
        const int *seen = w.shared;
        sched_yield();
        assert_true(seen == NULL || *seen == 1);
        if (i % 4 == 3) {
            qsbr_offline();
            sched_yield();
            qsbr_online();
        } else {
            qsbr_quiescent();
        }
    }
    qsbr_unregister();
    return argument;
}

static void test_a_grace_period_is_waited_for(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        begin(seed);
        run_all(read_or_replace);
        end();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_seed_replays),
        cmocka_unit_test(test_who_waits_is_woken),
        cmocka_unit_test(test_time_passes_when_all_wait),
        cmocka_unit_test(test_a_lock_is_waited_for),
        cmocka_unit_test(test_a_grace_period_is_waited_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
