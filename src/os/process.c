/* Figures of this process and of the machine it may use.
 *
 * How: affinity mask, sysinfo(2), getrusage(2) and /proc, each narrowed by the control group where
 * a container sets a limit.
 *
 * Invariants: at least one core; a memory limit above the machine's memory is ignored.
 * Failure modes: none; what cannot be read is 0. */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "core/number.h"
#include "os/cgroup.h"
#include "os/os.h"
#include "os/text_file.h"

#define PROC_CGROUP  "/proc/self/cgroup"
#define MOUNT_CGROUP "/sys/fs/cgroup"
#define CPUS_MAX     (1 << 16)

/* CPUs in this process's affinity mask; 0 if unknown. */
static unsigned affinity_count(void)
{
    /* The kernel's mask may be wider than cpu_set_t: double until it fits. */
    for (size_t cpus = CPU_SETSIZE; cpus <= CPUS_MAX; cpus *= 2) {
        cpu_set_t *set = CPU_ALLOC(cpus);
        if (!set)
            return 0;
        size_t set_bytes = CPU_ALLOC_SIZE(cpus);
        int status = sched_getaffinity(0, set_bytes, set) == 0 ? 0 : errno;
        unsigned count = status == 0 ? (unsigned)CPU_COUNT_S(set_bytes, set) : 0;
        CPU_FREE(set);
        if (status != EINVAL)
            return count;
    }
    return 0;
}

unsigned os_core_count(void)
{
    unsigned count = affinity_count();
    unsigned limit = cgroup_cpu_max(PROC_CGROUP, MOUNT_CGROUP);
    if (limit != 0 && limit < count)
        count = limit;
    return count > 0 ? count : 1;
}

uint64_t os_memory_total(void)
{
    struct sysinfo info;
    uint64_t total = 0;
    if (sysinfo(&info) == 0)
        total = (uint64_t)info.totalram * info.mem_unit;
    uint64_t limit = cgroup_memory_max(PROC_CGROUP, MOUNT_CGROUP);
    if (limit != UINT64_MAX && (total == 0 || limit < total))
        total = limit;
    return total;
}

uint64_t os_memory_resident(void)
{
    char text[128]; /* "size resident shared ..." in pages */
    if (!text_file_read("/proc/self/statm", text, sizeof text))
        return 0;
    size_t skip = strcspn(text, " ");
    if (text[skip] != ' ')
        return 0;
    const char *field = text + skip + 1;
    uint64_t pages;
    if (!number_parse_uint((struct tarn_bytes){field, strcspn(field, " \n")}, &pages))
        return 0;
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t micros(struct timeval t)
{
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_usec;
}

void os_cpu_time_us(uint64_t *ret_user, uint64_t *ret_system)
{
    struct rusage usage;
    *ret_user = *ret_system = 0;
    if (getrusage(RUSAGE_SELF, &usage) == 0) {
        *ret_user = micros(usage.ru_utime);
        *ret_system = micros(usage.ru_stime);
    }
}

/* The scheduler's weights: 172 at 8, 1024 at 0 (Linux, sched_prio_to_weight). */
void os_thread_gives_way(void)
{
    const int lower = 8;
    id_t self = (id_t)gettid();
    (void)setpriority(PRIO_PROCESS, self, getpriority(PRIO_PROCESS, self) + lower);
}
