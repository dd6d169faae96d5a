/* Limits of control groups, version 2 and version 1.
 *
 * How: /proc/self/cgroup names the process's group, one line a hierarchy:
 *     0::/path                 version 2, under the mount point itself
 *     4:memory:/path           version 1, under <mount>/memory
 *     3:cpu,cpuacct:/path      version 1, under <mount>/cpu,cpuacct or <mount>/cpu
 * The file with the limit is read in that group and in each one above it, up to the mount point.
 * In a container the path is often that of the host and does not exist: then only the mount point,
 * which is the container's own group there, has the file.
 *
 * Invariants: fixed buffers; a path that is too long or holds ".." counts as "/".
 * Failure modes: anything unreadable or malformed is no limit. */
#include "os/cgroup.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "core/number.h"
#include "os/text_file.h"

#define PATH_BYTES 1024

/* Is `word` one of the comma-separated words of list[0..size)? */
static bool list_has(const char *list, size_t size, const char *word)
{
    size_t word_size = strlen(word);
    for (size_t at = 0; at < size;) {
        size_t end = at;
        while (end < size && list[end] != ',')
            end++;
        if (end - at == word_size && memcmp(list + at, word, word_size) == 0)
            return true;
        at = end + 1;
    }
    return false;
}

/* The process's group in the hierarchy of `controller` ("" for version 2), "/" if unclear; false
 * if there is no such hierarchy. */
static bool find_group(const char *proc, const char *controller, char ret_group[PATH_BYTES])
{
    for (const char *line = proc; *line;) {
        size_t size = strcspn(line, "\n");
        const char *first = memchr(line, ':', size);
        const char *second =
            first ? memchr(first + 1, ':', size - (size_t)(first + 1 - line)) : NULL;
        if (second) {
            size_t list_size = (size_t)(second - first) - 1;
            size_t group_size = size - (size_t)(second + 1 - line);
            bool found = *controller ? list_has(first + 1, list_size, controller)
                                     : list_size == 0 && line[0] == '0';
            if (found) {
                bool usable = group_size < PATH_BYTES && !memmem(second + 1, group_size, "..", 2);
                snprintf(ret_group, PATH_BYTES, "%.*s", usable ? (int)group_size : 1,
                         usable ? second + 1 : "/");
                return true;
            }
        }
        line += size;
        line += *line == '\n';
    }
    return false;
}

/* Called with each group's limit file. */
typedef void (*limit_reader)(const char *directory, void *result);

/* Visit the group's directory under root and every directory above it, root last. */
static void walk_up(const char *root, char group[PATH_BYTES], limit_reader reader, void *result)
{
    for (;;) {
        size_t size = strlen(group);
        while (size > 0 && group[size - 1] == '/')
            group[--size] = 0;
        char directory[2 * PATH_BYTES];
        int n = snprintf(directory, sizeof directory, "%s%s", root, group);
        if (n > 0 && (size_t)n < sizeof directory)
            reader(directory, result);
        if (size == 0)
            return;
        char *slash = strrchr(group, '/');
        if (!slash)
            return;
        *slash = 0;
    }
}

/* A number at the start of a file, up to a blank or the end; false for "max" and the like. */
static bool read_number(const char *directory, const char *file, uint64_t *ret_value)
{
    char path[2 * PATH_BYTES + 64], text[64];
    snprintf(path, sizeof path, "%s/%s", directory, file);
    if (!text_file_read(path, text, sizeof text))
        return false;
    return number_parse_uint((struct tarn_bytes){text, strcspn(text, " \n")}, ret_value);
}

static void read_memory_v2(const char *directory, void *result)
{
    uint64_t *least = result, value;
    if (read_number(directory, "memory.max", &value) && value < *least)
        *least = value;
}

static void read_memory_v1(const char *directory, void *result)
{
    uint64_t *least = result, value;
    if (read_number(directory, "memory.limit_in_bytes", &value) && value < *least)
        *least = value;
}

static void keep_cpus(unsigned *least, uint64_t quota, uint64_t period)
{
    if (period == 0 || quota == 0)
        return;
    uint64_t cpus = quota / period + (quota % period != 0);
    if (cpus < UINT32_MAX && (*least == 0 || cpus < *least))
        *least = (unsigned)cpus;
}

static void read_cpu_v2(const char *directory, void *result)
{
    char path[2 * PATH_BYTES + 64], text[64];
    snprintf(path, sizeof path, "%s/cpu.max", directory);
    if (!text_file_read(path, text, sizeof text))
        return;
    size_t first = strcspn(text, " \n"), second;
    if (text[first] != ' ')
        return;
    second = strcspn(text + first + 1, " \n");
    uint64_t quota, period;
    if (number_parse_uint((struct tarn_bytes){text, first}, &quota) &&
        number_parse_uint((struct tarn_bytes){text + first + 1, second}, &period))
        keep_cpus(result, quota, period);
}

static void read_cpu_v1(const char *directory, void *result)
{
    uint64_t quota, period;
    if (read_number(directory, "cpu.cfs_quota_us", &quota) && /* -1: none */
        read_number(directory, "cpu.cfs_period_us", &period))
        keep_cpus(result, quota, period);
}

uint64_t cgroup_memory_max(const char *path_proc, const char *path_mount)
{
    char proc[4096], group[PATH_BYTES], root[PATH_BYTES];
    uint64_t least = UINT64_MAX;
    if (!text_file_read(path_proc, proc, sizeof proc))
        return least;
    if (find_group(proc, "", group))
        walk_up(path_mount, group, read_memory_v2, &least);
    if (find_group(proc, "memory", group)) {
        snprintf(root, sizeof root, "%s/memory", path_mount);
        walk_up(root, group, read_memory_v1, &least);
    }
    return least;
}

unsigned cgroup_cpu_max(const char *path_proc, const char *path_mount)
{
    char proc[4096], group[PATH_BYTES], root[PATH_BYTES];
    unsigned least = 0;
    if (!text_file_read(path_proc, proc, sizeof proc))
        return least;
    if (find_group(proc, "", group))
        walk_up(path_mount, group, read_cpu_v2, &least);
    if (find_group(proc, "cpu", group)) {
        snprintf(root, sizeof root, "%s/cpu", path_mount); /* a link where mounted with cpuacct */
        walk_up(root, group, read_cpu_v1, &least);
    }
    return least;
}
