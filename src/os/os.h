/* The operating system as tarn uses it: every effect (files, sync, memory maps, clock, entropy,
 * sockets) is one entry of `struct os`, handed down from open. os_real() is the real one; a
 * failing or forgetting one lives in test/lib/.
 *
 * Conventions: functions return 0 or a negative errno (-ENOENT); outputs come last. EINTR is
 * retried inside. Entries may be called from any thread. This layer knows errno, the layers
 * above know TARN_ codes: os_error() turns the one into the other. */
#ifndef OS_OS_H
#define OS_OS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "core/buffer.h"
#include "core/status.h"

enum os_file_kind { OS_FILE_REGULAR, OS_FILE_DIRECTORY, OS_FILE_OTHER };

struct os_file_info {
    enum os_file_kind kind;
    uint64_t size;    /* bytes */
    int64_t mtime_ns; /* modification time, ns since 1970 */
    uint64_t device, inode;
};

typedef void (*os_visit_name)(void *context, const char *name);

struct os {
    /* Files. `flags` are open(2)'s; O_CLOEXEC is added. */
    int (*open)(const struct os *os, const char *path, int flags, unsigned mode, int *ret_fd);
    int (*close)(const struct os *os, int fd);
    int (*file_info)(const struct os *os, int fd, struct os_file_info *ret_info);
    /* One pread/pwrite: may be short; *ret_size 0 means end of file for a read. */
    int (*read_at)(const struct os *os, int fd, void *data, size_t size, uint64_t offset,
                   size_t *ret_size);
    int (*write_at)(const struct os *os, int fd, const void *data, size_t size, uint64_t offset,
                    size_t *ret_size);
    int (*sync)(const struct os *os, int fd);      /* fsync(2) */
    int (*data_sync)(const struct os *os, int fd); /* fdatasync(2): content, and size if it grew */
    /* A hint: begin to write these bytes to the disk. Nothing is durable by it, and a sync that
     * follows tells of every failure as if it had not been. */
    void (*write_soon)(const struct os *os, int fd, uint64_t offset, uint64_t size);
    int (*truncate)(const struct os *os, int fd, uint64_t size);
    int (*rename)(const struct os *os, const char *from, const char *to);
    int (*unlink)(const struct os *os, const char *path);
    int (*link)(const struct os *os, const char *from, const char *to); /* a second name */
    int (*make_directory)(const struct os *os, const char *path, unsigned mode);
    /* Call visit with each name in a directory but "." and "..", in any order. */
    int (*list)(const struct os *os, const char *path, os_visit_name visit, void *context);
    /* Hold an open file exclusively until it is closed: -EWOULDBLOCK while another open file does.
     */
    int (*lock)(const struct os *os, int fd);

    /* Anonymous memory, zeroed, huge pages where the kernel grants them; only touched pages cost.
     * The address is aligned to 2 MiB when size >= 2 MiB, else to 64 bytes. The page after the last
     * one used is not accessible. size 0: -EINVAL. unmap takes the same size; address NULL does
     * nothing. */
    int (*map)(const struct os *os, size_t size, void **ret_address);
    void (*unmap)(const struct os *os, void *address, size_t size);
    /* Part of such memory, whole 4 KiB pages, costs nothing again until it is touched; it reads as
     * zeros then. -EINVAL: not whole pages. After a failure its contents are as they were. */
    int (*discard)(const struct os *os, void *address, size_t size);

    /* Time. monotonic never steps; realtime is for people and expiry. */
    uint64_t (*monotonic_ns)(const struct os *os);
    int64_t (*realtime_us)(const struct os *os);
    int (*entropy)(const struct os *os, void *data, size_t size);

    /* Sockets, all non-blocking and close-on-exec. -EAGAIN when there is nothing to do now. */
    int (*listen)(const struct os *os, const char *address, uint16_t port, int backlog,
                  bool share_port, int *ret_fd); /* numeric IPv4/IPv6; port 0: any */
    int (*accept)(const struct os *os, int fd, struct sockaddr_storage *ret_peer, int *ret_fd);
    int (*receive)(const struct os *os, int fd, void *data, size_t size, size_t *ret_size);
    int (*send)(const struct os *os, int fd, const struct iovec *parts, int parts_count,
                size_t *ret_size);

    void *context; /* for fakes */
};

/* The real one; a static constant. */
const struct os *os_real(void);

/* TARN_ status of a negative errno: ENOENT MISSING, EACCES/EPERM DENIED, ENOSPC/EDQUOT NOSPACE,
 * ENOMEM NOMEM, EADDRINUSE BUSY, EFBIG TOOBIG, anything else IO. */
int os_status(int negative_errno);

/* Fill *error with "<what> <path>: <reason>" and advice where there is some; returns the status. */
int os_error(struct tarn_error *error, int negative_errno, const char *what, const char *path);

/* Read or write exactly `size` bytes, looping over short counts. A read that meets the end of the
 * file returns -ENODATA. */
int os_read_full(const struct os *os, int fd, void *data, size_t size, uint64_t offset);
int os_write_full(const struct os *os, int fd, const void *data, size_t size, uint64_t offset);

/* Open the directory that holds `path`; and fsync one, where a file system that knows no such thing
 * is no failure. Two steps, so that all but the sync itself can fail before a rename. */
int os_open_parent(const struct os *os, const char *path, int *ret_fd);
int os_sync_directory(const struct os *os, int fd);

/* Open for reading and make sure it is a regular file; a clear error for a missing file, a
 * directory, a device, no permission. */
int os_open_data(const struct os *os, const char *path, int *ret_fd, struct os_file_info *ret_info,
                 struct tarn_error *error);

/* All of a regular file of at most size_max bytes, appended to out. Errors: those of
 * os_open_data(), TOOBIG, NOMEM, IO. */
int os_read_file(const struct os *os, const char *path, size_t size_max, struct buffer *out,
                 struct tarn_error *error);

/* Figures of this process and machine (not effects; never fail: 0 when unknown). */
unsigned os_core_count(void);      /* CPUs this process may run on, at least 1 */
uint64_t os_memory_total(void);    /* of the machine or the cgroup, bytes */
uint64_t os_memory_resident(void); /* of this process, bytes */
void os_cpu_time_us(uint64_t *ret_user, uint64_t *ret_system);

/* Let this thread give way from now on: of a core that another thread wants, too, it gets a
 * seventh. For work in the background; where that cannot be had it goes on as it is. */
void os_thread_gives_way(void);

#endif
