/* Goal: the figures of the process are of the right kind and follow what the process does.
 * Method: compare with the system's own answers, narrow the affinity, touch memory, spend CPU. */
#include <sched.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "lib/test.h"

#include "os/os.h"

static void test_core_count_follows_affinity(void **state)
{
    (void)state;
    cpu_set_t before, one;
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    unsigned count = os_core_count();
    assert_in_range(count, 1, (unsigned)CPU_COUNT(&before));
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE; i++) {
        if (CPU_ISSET(i, &before)) {
            CPU_SET(i, &one);
            break;
        }
    }
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    assert_int_equal(os_core_count(), 1);
    assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
    assert_int_equal(os_core_count(), count);
}

static void test_memory_total(void **state)
{
    (void)state;
    struct sysinfo info;
    assert_int_equal(sysinfo(&info), 0);
    assert_in_range(os_memory_total(), 1 << 20, (uint64_t)info.totalram * info.mem_unit);
}

static void test_memory_resident_follows_touched_pages(void **state)
{
    (void)state;
    const struct os *os = os_real();
    const size_t size = (size_t)32 << 20, slack = (size_t)8 << 20;
    void *address;
    assert_int_equal(os->map(os, size, &address), 0);
    uint64_t before = os_memory_resident();
    assert_true(before > 100000);
    memset(address, 1, size);
    uint64_t after = os_memory_resident();
    assert_true(after >= before + size - slack); /* the kernel counts in batches */
    os->unmap(os, address, size);
    assert_true(os_memory_resident() <= after - size + slack);
}

static void test_cpu_time_grows(void **state)
{
    (void)state;
    uint64_t user, system, user_before, system_before;
    os_cpu_time_us(&user_before, &system_before);
    volatile uint64_t x = 0;
    do { /* ends as soon as the clock has moved; never, if it is not read */
        for (int i = 0; i < 100000; i++)
            x += (uint64_t)i;
        (void)getppid();
        os_cpu_time_us(&user, &system);
        assert_true(user >= user_before && system >= system_before);
    } while (user + system == user_before + system_before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_core_count_follows_affinity),
        cmocka_unit_test(test_memory_total),
        cmocka_unit_test(test_memory_resident_follows_touched_pages),
        cmocka_unit_test(test_cpu_time_grows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
