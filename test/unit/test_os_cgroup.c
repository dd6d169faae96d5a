/* Goal: the tightest limit of the process's group and those above it is found, in both versions of
 * the interface; nonsense is no limit.
 * Method: small trees of files that look like /proc/self/cgroup and /sys/fs/cgroup. */
#include "os/cgroup.h"

#include <stdlib.h>
#include <string.h>

#include "lib/test.h"

#include "lib/scratch.h"

static struct scratch scratch;

static int setup(void **state)
{
    (void)state;
    scratch_open(&scratch);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    scratch_close(&scratch);
    return 0;
}

static void put(const char *name, const char *text)
{
    file_write(scratch_at(&scratch, name), (struct tarn_bytes){text, strlen(text)});
}

static uint64_t memory_max(void)
{
    return cgroup_memory_max(scratch_at(&scratch, "proc"), scratch_at(&scratch, "sys"));
}

static unsigned cpu_max(void)
{
    return cgroup_cpu_max(scratch_at(&scratch, "proc"), scratch_at(&scratch, "sys"));
}

static void test_nothing_there(void **state)
{
    (void)state;
    assert_true(memory_max() == UINT64_MAX);
    assert_int_equal(cpu_max(), 0);
    put("proc", "0::/a/b\n");
    assert_true(memory_max() == UINT64_MAX);
    assert_int_equal(cpu_max(), 0);
}

static void test_version_2(void **state)
{
    (void)state;
    put("proc", "0::/a/b\n");
    put("sys/a/b/memory.max", "max\n");
    put("sys/a/b/cpu.max", "max 100000\n");
    assert_true(memory_max() == UINT64_MAX);
    assert_int_equal(cpu_max(), 0);
    put("sys/a/memory.max", "1073741824\n"); /* on a group above */
    put("sys/a/cpu.max", "250000 100000\n");
    assert_true(memory_max() == 1 << 30);
    assert_int_equal(cpu_max(), 3); /* 2.5, rounded up */
    put("sys/a/b/memory.max", "4096\n");
    put("sys/a/b/cpu.max", "50000 100000\n");
    assert_true(memory_max() == 4096);
    assert_int_equal(cpu_max(), 1);
    put("sys/memory.max", "2048"); /* the root of a container */
    assert_true(memory_max() == 2048);
}

/* In a container /proc names the host's path, which is not there; its own group is the root. */
static void test_container_sees_its_group_as_root(void **state)
{
    (void)state;
    put("sys/memory.max", "8192\n");
    static const char *const groups[] = {"0::/docker/0123\n", "0::/\n", "0::/../../x\n", "0::\n"};
    for (size_t i = 0; i < 4; i++) {
        put("proc", groups[i]);
        assert_true(memory_max() == 8192);
    }
    char longest[3000] = "0::/";
    memset(longest + 4, 'x', sizeof longest - 6);
    longest[sizeof longest - 2] = '\n';
    put("proc", longest);
    assert_true(memory_max() == 8192);
}

static void test_version_1(void **state)
{
    (void)state;
    put("proc", "12:cpuset:/z\n11:memory:/m/n\n4:cpu,cpuacct:/c\n1:name=systemd:/s\n0::/s\n");
    put("sys/memory/m/n/memory.limit_in_bytes", "9223372036854771712\n"); /* its word for none */
    put("sys/cpu/c/cpu.cfs_quota_us", "-1\n");
    put("sys/cpu/c/cpu.cfs_period_us", "100000\n");
    assert_true(memory_max() == 9223372036854771712u);
    assert_int_equal(cpu_max(), 0);
    put("sys/memory/m/memory.limit_in_bytes", "65536\n");
    put("sys/cpu/cpu.cfs_quota_us", "400000\n");
    put("sys/cpu/cpu.cfs_period_us", "100000\n");
    assert_true(memory_max() == 65536);
    assert_int_equal(cpu_max(), 4);
}

static void test_nonsense_is_no_limit(void **state)
{
    (void)state;
    static const char *const procs[] = {
        "", "\n", "0", "0:", "0::", ":::\n::\n", "memory", "\n\n0:\n"};
    for (size_t i = 0; i < sizeof procs / sizeof procs[0]; i++) {
        put("proc", procs[i]);
        assert_true(memory_max() == UINT64_MAX);
        assert_int_equal(cpu_max(), 0);
    }
    put("proc", "0::/\n");
    static const char *const limits[] = {"",   "-5", "x", "1x", "99999999999999999999999",
                                         " 5", "\n"};
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        put("sys/memory.max", limits[i]);
        assert_true(memory_max() == UINT64_MAX);
    }
    static const char *const quotas[] = {
        "", "5", "5 ", "0 100", "100 0", "max", "x 5", "5 x", "18446744073709551615 1"};
    for (size_t i = 0; i < sizeof quotas / sizeof quotas[0]; i++) {
        put("sys/cpu.max", quotas[i]);
        assert_int_equal(cpu_max(), 0);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_nothing_there),
        TEST(test_version_2),
        TEST(test_container_sees_its_group_as_root),
        TEST(test_version_1),
        TEST(test_nonsense_is_no_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
