/* Figures of other processes, from proc(5).
 *
 * How: net/tcp and net/tcp6 name the inodes of the sockets that listen on a port; a process has
 * such a socket if one of the links in its fd/ folder says "socket:[inode]". Processor time is in
 * task/<thread>/schedstat in ns, which forgets a thread when it ends, and in stat in ticks, which
 * does not: the greater of the two is nearer to the truth.
 *
 * Invariants
 * 1. Nothing is assumed of any file: it may vanish, be cut, or hold anything. Memory and, but for
 *    the number of folder entries there are, work are bounded by the constants below.
 * Failure modes: none; what cannot be read is left out. */
#include "os/observe.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/number.h"
#include "os/text_file.h"

#define PATH_BYTES   512
#define SOCKETS_MAX  1024    /* listening on one port: with SO_REUSEPORT one a thread */
#define TABLE_LINES  4000000 /* of net/tcp: more than there can be connections and listeners */
#define LINE_BYTES   256     /* lines of net/tcp are 150 bytes, of net/tcp6 200 */
#define STATE_LISTEN 0x0a
#define NS_PER_S     1000000000u

struct inodes {
    uint64_t list[SOCKETS_MAX];
    unsigned count;
};

static bool inodes_have(const struct inodes *inodes, uint64_t inode)
{
    for (unsigned i = 0; i < inodes->count; i++)
        if (inodes->list[i] == inode)
            return true;
    return false;
}

/* One line of net/tcp: "sl: address:port address:port state queues timer retransmits uid timeout
 * inode ...", addresses and ports in hexadecimal. */
static void add_listener(const char *line, uint16_t port, struct inodes *inodes)
{
    unsigned line_port, line_state;
    unsigned long long inode;
    int fields = sscanf(line,
                        " %*9[0-9]: %*32[0-9A-Fa-f]:%4x %*32[0-9A-Fa-f]:%*4x %2x %*64s %*64s %*64s "
                        "%*64s %*64s %19llu",
                        &line_port, &line_state, &inode);
    if (fields == 3 && line_port == port && line_state == STATE_LISTEN && inode != 0 &&
        inodes->count < SOCKETS_MAX)
        inodes->list[inodes->count++] = inode;
}

static void read_table(const char *proc, const char *name, uint16_t port, struct inodes *inodes)
{
    char path[PATH_BYTES], line[LINE_BYTES];
    snprintf(path, sizeof path, "%s/net/%s", proc, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return;
    FILE *file = fdopen(fd, "r");
    if (!file) {
        close(fd);
        return;
    }
    bool whole = true; /* the piece read starts where a line does */
    for (unsigned lines = 0; lines < TABLE_LINES && fgets(line, sizeof line, file); lines++) {
        if (whole)
            add_listener(line, port, inodes);
        whole = strchr(line, '\n') != NULL;
    }
    fclose(file);
}

/* Is the link in this folder "socket:[inode]" with one of the inodes? */
static bool is_listener(int directory_fd, const char *name, const struct inodes *inodes)
{
    static const char before[] = "socket:[";
    const size_t skip = sizeof before - 1;
    char target[64];
    uint64_t inode;
    ssize_t size = readlinkat(directory_fd, name, target, sizeof target);
    if (size < (ssize_t)skip + 1 || (size_t)size == sizeof target ||
        memcmp(target, before, skip) != 0 || target[size - 1] != ']')
        return false;
    return number_parse_uint((struct tarn_bytes){target + skip, (size_t)size - skip - 1}, &inode) &&
           inodes_have(inodes, inode);
}

static bool process_listens(const char *proc, int pid, const struct inodes *inodes)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/%d/fd", proc, pid);
    DIR *directory = opendir(path);
    if (!directory)
        return false;
    bool found = false;
    for (struct dirent *entry; !found && (entry = readdir(directory));)
        found = is_listener(dirfd(directory), entry->d_name, inodes);
    closedir(directory);
    return found;
}

/* The number that a folder's name is: a process or thread. */
static bool parse_pid(const char *name, int *ret_pid)
{
    uint64_t pid;
    if (!number_parse_uint(bytes_of(name), &pid) || pid == 0 || pid > INT32_MAX)
        return false;
    *ret_pid = (int)pid;
    return true;
}

unsigned observe_listeners(const char *proc, uint16_t port, int *ret_pids, unsigned pids_max)
{
    struct inodes inodes = {.count = 0};
    unsigned count = 0;
    read_table(proc, "tcp", port, &inodes);
    read_table(proc, "tcp6", port, &inodes);
    DIR *directory = inodes.count > 0 ? opendir(proc) : NULL;
    if (!directory)
        return 0;
    for (struct dirent *entry; count < pids_max && (entry = readdir(directory));) {
        int pid;
        if (parse_pid(entry->d_name, &pid) && process_listens(proc, pid, &inodes))
            ret_pids[count++] = pid;
    }
    closedir(directory);
    return count;
}

/* The number at the start of text, up to a blank or the end; 0 if there is none. */
static uint64_t number_at(const char *text)
{
    uint64_t value;
    return number_parse_uint((struct tarn_bytes){text, strcspn(text, " \t\n")}, &value) ? value : 0;
}

static uint64_t add_bounded(uint64_t a, uint64_t b)
{
    uint64_t sum;
    return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}

/* Sum over the threads there are now; 0 where the kernel keeps no schedstat. */
static uint64_t threads_cpu_ns(const char *proc, int pid)
{
    char path[PATH_BYTES], text[128]; /* "ns-on-cpu ns-waiting timeslices" */
    snprintf(path, sizeof path, "%s/%d/task", proc, pid);
    DIR *directory = opendir(path);
    if (!directory)
        return 0;
    uint64_t sum = 0;
    for (struct dirent *entry; (entry = readdir(directory));) {
        int thread;
        if (!parse_pid(entry->d_name, &thread))
            continue;
        snprintf(path, sizeof path, "%s/%d/task/%d/schedstat", proc, pid, thread);
        if (text_file_read(path, text, sizeof text))
            sum = add_bounded(sum, number_at(text));
    }
    closedir(directory);
    return sum;
}

/* User and system time of the whole process in ns, from ticks. */
static uint64_t process_cpu_ns(const char *proc, int pid)
{
    char path[PATH_BYTES], text[1024];
    snprintf(path, sizeof path, "%s/%d/stat", proc, pid);
    if (!text_file_read(path, text, sizeof text))
        return 0;
    /* "pid (name) state ppid ..."; the name may hold anything, the fields after it hold no ')' */
    const char *at = strrchr(text, ')');
    for (int field = 2; at && field < 14; field++) { /* utime is field 14, stime 15 */
        at = strchr(at, ' ');
        at = at ? at + 1 : NULL;
    }
    const char *stime = at ? strchr(at, ' ') : NULL;
    long per_second = sysconf(_SC_CLK_TCK);
    uint64_t ns;
    if (!stime || per_second <= 0)
        return 0;
    uint64_t ticks = add_bounded(number_at(at), number_at(stime + 1));
    return __builtin_mul_overflow(ticks, NS_PER_S / (uint64_t)per_second, &ns) ? 0 : ns;
}

uint64_t observe_cpu_ns(const char *proc, int pid)
{
    uint64_t threads = threads_cpu_ns(proc, pid), process = process_cpu_ns(proc, pid);
    return threads > process ? threads : process;
}

uint64_t observe_memory_bytes(const char *proc, int pid)
{
    char path[PATH_BYTES], text[16384]; /* room for many groups before it */
    snprintf(path, sizeof path, "%s/%d/status", proc, pid);
    if (!text_file_read(path, text, sizeof text))
        return 0;
    const char *at = strstr(text, "\nVmRSS:");
    uint64_t bytes;
    if (!at)
        return 0;
    at += strlen("\nVmRSS:");
    at += strspn(at, " \t");
    return __builtin_mul_overflow(number_at(at), (uint64_t)1024, &bytes) ? 0 : bytes;
}

uint64_t observe_thread_cpu_ns(void)
{
    struct timespec used;
    if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used) != 0)
        return 0;
    return (uint64_t)used.tv_sec * NS_PER_S + (uint64_t)used.tv_nsec;
}
