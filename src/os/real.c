/* The real operating system: each entry of struct os by the system calls of Linux.
 *
 * How: thin wrappers. EINTR is retried, every descriptor is close-on-exec, errno becomes a
 * negative return value.
 *
 * Memory. A mapping is reserved as PROT_NONE address space with 2 MiB to spare, cut to 2 MiB
 * alignment, and made writable up to the last 4 KiB page that holds a byte of it; the page after
 * that stays PROT_NONE. So
 *   - every whole 2 MiB of the mapping may be one huge page (madvise(MADV_HUGEPAGE));
 *   - the tail is cheap: no huge page can cover it, for the kernel gives one only where the whole
 *     2 MiB lie in the same area, and the guard page keeps that area from being merged with a
 *     neighbour's. Only touched 4 KiB pages of the tail cost memory;
 *   - running over the end faults at once instead of reading a neighbour.
 * A mapping below 2 MiB can hold no huge page; it is advised against them for the same reason.
 *
 * Invariants
 * 1. map and unmap compute the same area from the same size: round_page(size) + one guard page.
 * 2. Outputs are written on success only; a failed entry leaves nothing open or mapped.
 * Failure modes: those of the system calls, as negative errno. */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/assert.h"
#include "os/os.h"

#define PAGE_BYTES      ((size_t)4096)
#define HUGE_PAGE_BYTES ((size_t)2 << 20)
/* Linux moves at most this much in one call (MAX_RW_COUNT); asking for no more keeps ssize_t safe
 */
#define TRANSFER_BYTES_MAX ((size_t)0x7ffff000)

/* --- files --- */

static int real_open(const struct os *os, const char *path, int flags, unsigned mode, int *ret_fd)
{
    (void)os;
    int fd;
    do
        fd = open(path, flags | O_CLOEXEC, mode);
    while (fd < 0 && errno == EINTR);
    if (fd < 0)
        return -errno;
    *ret_fd = fd;
    return 0;
}

static int real_close(const struct os *os, int fd)
{
    (void)os;
    /* Linux has released the descriptor even when close says EINTR: a retry could close another
     * thread's file. */
    if (close(fd) != 0 && errno != EINTR)
        return -errno;
    return 0;
}

static int real_file_info(const struct os *os, int fd, struct os_file_info *ret_info)
{
    (void)os;
    struct stat st;
    if (fstat(fd, &st) != 0)
        return -errno;
    *ret_info = (struct os_file_info){
        .kind = S_ISREG(st.st_mode)   ? OS_FILE_REGULAR
                : S_ISDIR(st.st_mode) ? OS_FILE_DIRECTORY
                                      : OS_FILE_OTHER,
        .size = st.st_size > 0 ? (uint64_t)st.st_size : 0,
        .mtime_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec,
        .device = st.st_dev,
        .inode = st.st_ino,
    };
    return 0;
}

static int real_read_at(const struct os *os, int fd, void *data, size_t size, uint64_t offset,
                        size_t *ret_size)
{
    (void)os;
    ssize_t n;
    if (offset > INT64_MAX)
        return -EOVERFLOW;
    if (size > TRANSFER_BYTES_MAX)
        size = TRANSFER_BYTES_MAX;
    do
        n = pread(fd, data, size, (off_t)offset);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    *ret_size = (size_t)n;
    return 0;
}

static int real_write_at(const struct os *os, int fd, const void *data, size_t size,
                         uint64_t offset, size_t *ret_size)
{
    (void)os;
    ssize_t n;
    if (offset > INT64_MAX)
        return -EFBIG;
    if (size > TRANSFER_BYTES_MAX)
        size = TRANSFER_BYTES_MAX;
    do
        n = pwrite(fd, data, size, (off_t)offset);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    *ret_size = (size_t)n;
    return 0;
}

static int real_sync(const struct os *os, int fd)
{
    (void)os;
    int status;
    do
        status = fsync(fd);
    while (status != 0 && errno == EINTR);
    return status == 0 ? 0 : -errno;
}

static int real_data_sync(const struct os *os, int fd)
{
    (void)os;
    int status;
    do
        status = fdatasync(fd);
    while (status != 0 && errno == EINTR);
    return status == 0 ? 0 : -errno;
}

/* Without waiting for anything: it takes no error away from fdatasync(). */
static void real_write_soon(const struct os *os, int fd, uint64_t offset, uint64_t size)
{
    (void)os;
    (void)!sync_file_range(fd, (off64_t)offset, (off64_t)size, SYNC_FILE_RANGE_WRITE);
}

static int real_truncate(const struct os *os, int fd, uint64_t size)
{
    (void)os;
    int status;
    if (size > INT64_MAX)
        return -EFBIG;
    do
        status = ftruncate(fd, (off_t)size);
    while (status != 0 && errno == EINTR);
    return status == 0 ? 0 : -errno;
}

static int real_link(const struct os *os, const char *from, const char *to)
{
    (void)os;
    return link(from, to) == 0 ? 0 : -errno;
}

static int real_make_directory(const struct os *os, const char *path, unsigned mode)
{
    (void)os;
    return mkdir(path, mode) == 0 ? 0 : -errno;
}

static int real_list(const struct os *os, const char *path, os_visit_name visit, void *context)
{
    (void)os;
    DIR *directory = opendir(path);
    if (directory == NULL)
        return -errno;
    const struct dirent *entry;
    while (errno = 0, (entry = readdir(directory)) != NULL)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            visit(context, entry->d_name);
    int status = -errno;
    closedir(directory);
    return status;
}

/* A lock of the open file description, so that two opens of one process exclude each other, too. */
static int real_lock(const struct os *os, int fd)
{
    (void)os;
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(fd, F_OFD_SETLK, &lock) == 0)
        return 0;
    return errno == EACCES || errno == EAGAIN ? -EWOULDBLOCK : -errno;
}

static int real_rename(const struct os *os, const char *from, const char *to)
{
    (void)os;
    return rename(from, to) == 0 ? 0 : -errno;
}

static int real_unlink(const struct os *os, const char *path)
{
    (void)os;
    return unlink(path) == 0 ? 0 : -errno;
}

/* --- memory --- */

static size_t round_page(size_t size)
{
    return (size + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1);
}

static int real_map(const struct os *os, size_t size, void **ret_address)
{
    (void)os;
    if (size == 0)
        return -EINVAL;
    if (size > SIZE_MAX / 2)
        return -ENOMEM;
    size_t used = round_page(size);
    bool huge = size >= HUGE_PAGE_BYTES;
    size_t reserved = used + PAGE_BYTES + (huge ? HUGE_PAGE_BYTES : 0);

    void *base =
        mmap(NULL, reserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED)
        return -errno;
    unsigned char *start = base;
    if (huge) {
        size_t head = (0 - (uintptr_t)base) & (HUGE_PAGE_BYTES - 1);
        size_t tail = HUGE_PAGE_BYTES - head;
        start += head;
        /* Trimming cannot fail: it frees whole ends of one area. */
        if (head)
            munmap(base, head);
        munmap(start + used + PAGE_BYTES, tail);
    }
    if (mprotect(start, used, PROT_READ | PROT_WRITE) != 0) {
        int status = -errno;
        munmap(start, used + PAGE_BYTES);
        return status;
    }
    /* Advice only: a kernel without huge pages says EINVAL, and the mapping works all the same. */
    (void)madvise(start, used, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    ASSERT(!huge || ((uintptr_t)start & (HUGE_PAGE_BYTES - 1)) == 0);
    *ret_address = start;
    return 0;
}

static void real_unmap(const struct os *os, void *address, size_t size)
{
    (void)os;
    if (!address)
        return;
    int status = munmap(address, round_page(size) + PAGE_BYTES);
    ASSERT(status == 0); /* fails only for an address that map() did not give */
}

static int real_discard(const struct os *os, void *address, size_t size)
{
    (void)os;
    if (((uintptr_t)address | size) & (PAGE_BYTES - 1))
        return -EINVAL;
    return madvise(address, size, MADV_DONTNEED) == 0 ? 0 : -errno;
}

/* --- time and entropy --- */

static uint64_t real_monotonic_ns(const struct os *os)
{
    (void)os;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static int64_t real_realtime_us(const struct os *os)
{
    (void)os;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int real_entropy(const struct os *os, void *data, size_t size)
{
    (void)os;
    unsigned char *p = data;
    while (size > 0) {
        ssize_t n = getrandom(p, size, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        p += n;
        size -= (size_t)n;
    }
    return 0;
}

/* --- sockets --- */

/* Numeric IPv4 or IPv6 ("::1", "fe80::1%eth0") and port to a socket address; -EINVAL if neither. */
static int parse_address(const char *address, uint16_t port, struct sockaddr_storage *ret_socket,
                         socklen_t *ret_size)
{
    memset(ret_socket, 0, sizeof *ret_socket);
    struct sockaddr_in *v4 = (struct sockaddr_in *)ret_socket;
    if (inet_pton(AF_INET, address, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        *ret_size = sizeof *v4;
        return 0;
    }
    char host[INET6_ADDRSTRLEN];
    const char *zone = strchr(address, '%');
    size_t host_size = zone ? (size_t)(zone - address) : strlen(address);
    if (host_size >= sizeof host)
        return -EINVAL;
    memcpy(host, address, host_size);
    host[host_size] = 0;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret_socket;
    if (inet_pton(AF_INET6, host, &v6->sin6_addr) != 1)
        return -EINVAL;
    if (zone && (v6->sin6_scope_id = if_nametoindex(zone + 1)) == 0)
        return -EINVAL;
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    *ret_size = sizeof *v6;
    return 0;
}

/* Options of a listening socket. Linux hands TCP_NODELAY and SO_KEEPALIVE on to the accepted
 * sockets, so that they cost no system call per connection. */
static int set_listen_options(int fd, int family, bool share_port)
{
    const int on = 1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        (share_port && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0) ||
        (family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) != 0) ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on) != 0)
        return -errno;
    return 0;
}

static int real_listen(const struct os *os, const char *address, uint16_t port, int backlog,
                       bool share_port, int *ret_fd)
{
    (void)os;
    struct sockaddr_storage socket_address;
    socklen_t socket_address_size;
    int status = parse_address(address, port, &socket_address, &socket_address_size);
    if (status != 0)
        return status;
    int family = socket_address.ss_family;
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    status = set_listen_options(fd, family, share_port);
    if (status != 0)
        goto fail;
    if (bind(fd, (struct sockaddr *)&socket_address, socket_address_size) != 0 ||
        listen(fd, backlog) != 0) {
        status = -errno;
        goto fail;
    }
    *ret_fd = fd;
    return 0;
fail:
    close(fd);
    return status;
}

static int real_accept(const struct os *os, int fd, struct sockaddr_storage *ret_peer, int *ret_fd)
{
    (void)os;
    struct sockaddr_storage peer;
    int accepted;
    do {
        socklen_t size = sizeof peer;
        memset(&peer, 0, sizeof peer);
        accepted = accept4(fd, (struct sockaddr *)&peer, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    } while (accepted < 0 && (errno == EINTR || errno == ECONNABORTED));
    if (accepted < 0)
        return -errno;
    *ret_peer = peer;
    *ret_fd = accepted;
    return 0;
}

static int real_receive(const struct os *os, int fd, void *data, size_t size, size_t *ret_size)
{
    (void)os;
    ssize_t n;
    if (size > TRANSFER_BYTES_MAX)
        size = TRANSFER_BYTES_MAX;
    do
        n = recv(fd, data, size, 0);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    *ret_size = (size_t)n;
    return 0;
}

static int real_send(const struct os *os, int fd, const struct iovec *parts, int parts_count,
                     size_t *ret_size)
{
    (void)os;
    ssize_t n;
    ASSERT(parts_count > 0);
    if (parts_count > IOV_MAX)
        parts_count = IOV_MAX;
    do {
        if (parts_count == 1) {
            size_t size = parts->iov_len;
            n = send(fd, parts->iov_base, size < TRANSFER_BYTES_MAX ? size : TRANSFER_BYTES_MAX,
                     MSG_NOSIGNAL);
        } else {
            struct msghdr message = {
                .msg_iov = (struct iovec *)(uintptr_t)parts, /* sendmsg only reads them */
                .msg_iovlen = (size_t)parts_count,
            };
            n = sendmsg(fd, &message, MSG_NOSIGNAL);
        }
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    *ret_size = (size_t)n;
    return 0;
}

const struct os *os_real(void)
{
    static const struct os real = {
        .open = real_open,
        .close = real_close,
        .file_info = real_file_info,
        .read_at = real_read_at,
        .write_at = real_write_at,
        .sync = real_sync,
        .data_sync = real_data_sync,
        .write_soon = real_write_soon,
        .truncate = real_truncate,
        .link = real_link,
        .make_directory = real_make_directory,
        .list = real_list,
        .lock = real_lock,
        .rename = real_rename,
        .unlink = real_unlink,
        .map = real_map,
        .unmap = real_unmap,
        .discard = real_discard,
        .monotonic_ns = real_monotonic_ns,
        .realtime_us = real_realtime_us,
        .entropy = real_entropy,
        .listen = real_listen,
        .accept = real_accept,
        .receive = real_receive,
        .send = real_send,
    };
    return &real;
}
