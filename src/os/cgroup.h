/* Limits that control groups put on this process: what a container may use of its machine.
 *
 * Both versions of the interface. Every group from the process's own up to the root counts, for a
 * limit on any of them binds. Unreadable or absent files mean no limit. */
#ifndef OS_CGROUP_H
#define OS_CGROUP_H

#include <stdint.h>

/* path_proc: "/proc/self/cgroup"; path_mount: "/sys/fs/cgroup" (others in tests).
 * Bytes; UINT64_MAX if there is no limit. */
uint64_t cgroup_memory_max(const char *path_proc, const char *path_mount);

/* CPUs' worth of time, rounded up; 0 if there is no limit. */
unsigned cgroup_cpu_max(const char *path_proc, const char *path_mount);

#endif
