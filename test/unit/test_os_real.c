/* Goal: the real os keeps the promises of os.h: negative errno, outputs on success only, EINTR
 * retried, close-on-exec, cheap and guarded memory, non-blocking sockets that raise no SIGPIPE.
 * Method: files in a temporary directory, sockets on a free loopback port; memory looked at with
 * mincore(2) and with system calls that say EFAULT instead of faulting. */
#include "os/os.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/test.h"

#include "lib/scratch.h"

#define PAGE ((size_t)4096)
#define MIB  ((size_t)1 << 20)

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

/* --- files --- */

static void test_files(void **state)
{
    (void)state;
    const struct os *os = os_real();
    const char *path = scratch_at(&scratch, "a"), *moved = scratch_at(&scratch, "b");
    int fd = -7;
    assert_int_equal(os->open(os, path, O_RDONLY, 0, &fd), -ENOENT);
    assert_int_equal(fd, -7);
    assert_int_equal(os->open(os, path, O_RDWR | O_CREAT, 0600, &fd), 0);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);

    size_t size = 99;
    assert_int_equal(os->write_at(os, fd, "hello", 5, 10, &size), 0);
    assert_int_equal(size, 5);
    /* Not on the stack: the kernel refuses a size that reaches beyond the top of user space. */
    static char data[32];
    assert_int_equal(os->read_at(os, fd, data, sizeof data, 8, &size), 0);
    assert_int_equal(size, 7);
    assert_memory_equal(data, "\0\0hello", 7);
    assert_int_equal(os->read_at(os, fd, data, sizeof data, 15, &size), 0);
    assert_int_equal(size, 0);
    size = 99;
    assert_true(os->read_at(os, fd, data, 1, UINT64_MAX, &size) < 0);
    assert_int_equal(os->write_at(os, fd, data, 1, UINT64_MAX, &size), -EFBIG);
    assert_int_equal(size, 99);

    /* more than one call can move: as much as there is, no overflow */
    assert_int_equal(os->read_at(os, fd, data, SIZE_MAX / 2, 10, &size), 0);
    assert_int_equal(size, 5);

    int other;
    size = 99;
    assert_int_equal(os->open(os, path, O_WRONLY, 0, &other), 0);
    assert_int_equal(os->read_at(os, other, data, 1, 0, &size), -EBADF);
    assert_int_equal(os->close(os, other), 0);
    assert_int_equal(os->open(os, path, O_RDONLY, 0, &other), 0);
    assert_int_equal(os->write_at(os, other, data, 1, 0, &size), -EBADF);
    assert_int_equal(os->close(os, other), 0);
    assert_int_equal(size, 99);

    struct os_file_info info;
    struct stat st;
    assert_int_equal(os->file_info(os, fd, &info), 0);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(info.kind, OS_FILE_REGULAR);
    assert_int_equal(info.size, 15);
    assert_true(info.mtime_ns == st.st_mtim.tv_sec * 1000000000ll + st.st_mtim.tv_nsec);
    assert_true(info.device == st.st_dev && info.inode == st.st_ino);

    assert_int_equal(os->sync(os, fd), 0);
    assert_int_equal(os->rename(os, path, moved), 0);
    assert_int_equal(os->rename(os, path, moved), -ENOENT);
    assert_int_equal(os->unlink(os, moved), 0);
    assert_int_equal(os->unlink(os, moved), -ENOENT);
    assert_int_equal(os->close(os, fd), 0);
    assert_int_equal(os->close(os, fd), -EBADF);
    assert_int_equal(os->file_info(os, fd, &info), -EBADF);
    assert_int_equal(os->sync(os, fd), -EBADF);
}

static void test_kinds_of_files(void **state)
{
    (void)state;
    const struct os *os = os_real();
    static const struct {
        const char *path;
        enum os_file_kind kind;
    } cases[] = {{"/", OS_FILE_DIRECTORY}, {"/dev/null", OS_FILE_OTHER}};
    for (size_t i = 0; i < 2; i++) {
        int fd;
        struct os_file_info info;
        assert_int_equal(os->open(os, cases[i].path, O_RDONLY, 0, &fd), 0);
        assert_int_equal(os->file_info(os, fd, &info), 0);
        assert_int_equal(info.kind, cases[i].kind);
        assert_int_equal(os->close(os, fd), 0);
    }
}

static atomic_int signals;

static void count_signal(int number)
{
    (void)number;
    atomic_fetch_add(&signals, 1);
}

struct opener {
    pthread_t thread;
    pid_t id;
    const char *path;
};

/* Wait until the other thread sleeps in its system call. */
static void await_sleep(const struct opener *o)
{
    char path[64], text[512];
    for (;;) {
        snprintf(path, sizeof path, "/proc/self/task/%d/stat", (int)o->id);
        FILE *file = fopen(path, "re");
        assert_non_null(file);
        size_t size = fread(text, 1, sizeof text - 1, file);
        fclose(file);
        text[size] = 0;
        const char *end = strrchr(text, ')');
        if (end && end[1] == ' ' && end[2] == 'S')
            return;
        sched_yield();
    }
}

static void *interrupt_then_write(void *context)
{
    struct opener *o = context;
    for (int i = 1; i <= 3; i++) {
        await_sleep(o);
        pthread_kill(o->thread, SIGUSR1);
        while (atomic_load(&signals) < i)
            sched_yield();
    }
    await_sleep(o);
    int fd = open(o->path, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    close(fd);
    return NULL;
}

/* Trips if EINTR comes out: opening a pipe waits for a writer and is interrupted three times. */
static void test_interrupted_open_is_retried(void **state)
{
    (void)state;
#if defined(__SANITIZE_THREAD__)
    skip(); /* it delays signals to points of its own, so the interruption may never come */
#endif
    const struct os *os = os_real();
    struct sigaction action = {.sa_handler = count_signal}, old; /* without SA_RESTART */
    assert_int_equal(sigaction(SIGUSR1, &action, &old), 0);
    struct opener o = {pthread_self(), (pid_t)syscall(SYS_gettid), scratch_at(&scratch, "pipe")};
    assert_int_equal(mkfifo(o.path, 0600), 0);
    pthread_t helper;
    assert_int_equal(pthread_create(&helper, NULL, interrupt_then_write, &o), 0);
    int fd;
    assert_int_equal(os->open(os, o.path, O_RDONLY, 0, &fd), 0);
    assert_int_equal(pthread_join(helper, NULL), 0);
    assert_int_equal(atomic_load(&signals), 3);
    assert_int_equal(os->close(os, fd), 0);
    sigaction(SIGUSR1, &old, NULL);
}

/* --- memory --- */

/* Can a byte be read there? Asked of the kernel, which says EFAULT instead of faulting. */
static bool readable(const void *address)
{
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    ssize_t n = write(ends[1], address, 1);
    assert_true(n == 1 || errno == EFAULT);
    close(ends[0]);
    close(ends[1]);
    return n == 1;
}

static size_t resident_pages(void *address, size_t pages)
{
    unsigned char *present = malloc(pages);
    size_t count = 0;
    assert_non_null(present);
    assert_int_equal(mincore(address, pages * PAGE, present), 0);
    for (size_t i = 0; i < pages; i++)
        count += present[i] & 1;
    free(present);
    return count;
}

static void test_map_is_aligned_zeroed_and_guarded(void **state)
{
    (void)state;
    const struct os *os = os_real();
    static const size_t sizes[] = {1,       4095,        4096,    4097,          2 * MIB - 1,
                                   2 * MIB, 2 * MIB + 1, 4 * MIB, 5 * MIB + 5000};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        void *address;
        size_t size = sizes[i], rounded = (size + PAGE - 1) / PAGE * PAGE;
        assert_int_equal(os->map(os, size, &address), 0);
        unsigned char *p = address;
        if (size >= 2 * MIB)
            assert_true((uintptr_t)p % (2 * MIB) == 0);
        for (size_t at = 0; at < size; at += 512)
            assert_int_equal(p[at], 0);
        memset(p, 0xa5, size);
        assert_true(readable(p + rounded - 1));
        assert_false(readable(p + rounded)); /* the guard page */
        os->unmap(os, address, size);
        assert_false(readable(p));
        assert_false(readable(p + rounded - 1));
        /* nothing is left behind, the guard page included */
        unsigned char present;
        assert_int_equal(mincore(p + rounded, PAGE, &present), -1);
        assert_int_equal(errno, ENOMEM);
    }
}

/* Trips if a huge page can cover the tail: one touched byte must then cost one page only. */
static void test_tail_costs_touched_pages_only(void **state)
{
    (void)state;
    const struct os *os = os_real();
    enum { MAPS = 4 };
    void *maps[MAPS]; /* several, so that they would lie side by side and might be merged */
    size_t tail_pages = 300, size = 4 * MIB + tail_pages * PAGE;
    for (int i = 0; i < MAPS; i++)
        assert_int_equal(os->map(os, size, &maps[i]), 0);
    for (int i = 0; i < MAPS; i++) {
        unsigned char *tail = (unsigned char *)maps[i] + 4 * MIB;
        assert_int_equal(resident_pages(tail, tail_pages), 0);
        tail[0] = 1;
        tail[100 * PAGE] = 1;
        tail[tail_pages * PAGE - 1] = 1;
        assert_int_equal(resident_pages(tail, tail_pages), 3);
    }
    for (int i = 0; i < MAPS; i++) {
        memset(maps[i], 1, size);
        assert_int_equal(resident_pages(maps[i], size / PAGE), size / PAGE);
    }
    for (int i = 0; i < MAPS; i++)
        os->unmap(os, maps[i], size);
}

/* Trips if the memory stays, if the pages beside it go too, or if parts of pages are taken. */
static void test_discard(void **state)
{
    (void)state;
    const struct os *os = os_real();
    static const size_t sizes[] = {64 * PAGE, 4 * MIB};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        void *address;
        size_t size = sizes[i], pages = size / PAGE;
        assert_int_equal(os->map(os, size, &address), 0);
        unsigned char *p = address;
        memset(p, 7, size);
        assert_int_equal(os->discard(os, p + 16 * PAGE, 16 * PAGE), 0);
        assert_int_equal(resident_pages(p, pages), pages - 16);
        for (size_t at = 0; at < pages; at++) {
            unsigned char expected = at >= 16 && at < 32 ? 0 : 7;
            assert_int_equal(p[at * PAGE], expected);
            assert_int_equal(p[at * PAGE + PAGE - 1], expected);
        }
        assert_int_equal(os->discard(os, p + 1, PAGE), -EINVAL);
        assert_int_equal(os->discard(os, p, PAGE - 1), -EINVAL);
        assert_int_equal(p[0], 7);
        os->unmap(os, address, size);
        assert_int_equal(os->discard(os, p, PAGE), -ENOMEM);
    }
}

static void test_map_refuses_the_impossible(void **state)
{
    (void)state;
    const struct os *os = os_real();
    void *address = &address;
    assert_int_equal(os->map(os, 0, &address), -EINVAL);
    assert_int_equal(os->map(os, SIZE_MAX, &address), -ENOMEM);
    assert_int_equal(os->map(os, SIZE_MAX / 4, &address), -ENOMEM);
    assert_ptr_equal(address, &address);
    os->unmap(os, NULL, 5); /* nothing */
}

/* The areas of address space this process has. */
static size_t area_count(void)
{
    FILE *file = fopen("/proc/self/maps", "re");
    size_t count = 0;
    if (!file)
        _exit(9);
    for (int c; (c = fgetc(file)) != EOF;)
        count += c == '\n';
    fclose(file);
    return count;
}

/* Trips if a mapping that the system refuses half-way stays as reserved address space. */
static void test_map_refused_half_way_leaves_nothing(void **state)
{
    (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    skip(); /* they need the memory that the limit takes away */
#endif
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        const struct os *os = os_real();
        /* bounds writable private memory, not address space: mprotect is refused, mmap is not */
        const struct rlimit limit = {1 << 20, 1 << 20};
        void *address = NULL;
        size_t before = area_count();
        if (setrlimit(RLIMIT_DATA, &limit) != 0)
            _exit(2);
        for (size_t size = 4 * MIB; size <= 16 * MIB; size *= 2) {
            if (os->map(os, size + 1, &address) != -ENOMEM || address)
                _exit(3);
        }
        _exit(area_count() == before ? 0 : 4);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* --- time and entropy --- */

static void test_time(void **state)
{
    (void)state;
    const struct os *os = os_real();
    struct timespec before, after;
    uint64_t first = os->monotonic_ns(os), second = os->monotonic_ns(os);
    assert_true(first > 0 && second >= first);
    clock_gettime(CLOCK_REALTIME, &before);
    int64_t now = os->realtime_us(os);
    clock_gettime(CLOCK_REALTIME, &after);
    assert_true(now >= before.tv_sec * 1000000ll + before.tv_nsec / 1000);
    assert_true(now <= after.tv_sec * 1000000ll + after.tv_nsec / 1000);
}

static void test_entropy(void **state)
{
    (void)state;
    const struct os *os = os_real();
    static unsigned char data[100000]; /* more than one call of getrandom(2) is sure to give */
    size_t zeros = 0;
    assert_int_equal(os->entropy(os, data, sizeof data), 0);
    for (size_t i = 0; i < sizeof data; i++)
        zeros += data[i] == 0;
    assert_in_range(zeros, 100, 1000); /* 391 expected: chances outside are below 10^-40 */
    assert_memory_not_equal(data, data + 50000, 32);
    assert_int_equal(os->entropy(os, data, 0), 0);
}

/* --- sockets --- */

static uint16_t port_of(int fd)
{
    struct sockaddr_in address;
    socklen_t size = sizeof address;
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    return ntohs(address.sin_port);
}

static int connect_to(uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static void await(int fd, short events)
{
    struct pollfd p = {.fd = fd, .events = events};
    assert_int_equal(poll(&p, 1, 10000), 1);
}

static void test_listen(void **state)
{
    (void)state;
    const struct os *os = os_real();
    int one = -7, two = -7;
    assert_int_equal(os->listen(os, "127.0.0.1", 0, 16, false, &one), 0);
    uint16_t port = port_of(one);
    assert_true(port != 0);
    assert_true(fcntl(one, F_GETFD) & FD_CLOEXEC);
    assert_true(fcntl(one, F_GETFL) & O_NONBLOCK);
    assert_int_equal(os->listen(os, "127.0.0.1", port, 16, false, &two), -EADDRINUSE);
    assert_int_equal(two, -7);
    assert_int_equal(os->close(os, one), 0);

    assert_int_equal(os->listen(os, "127.0.0.1", 0, 16, true, &one), 0);
    assert_int_equal(os->listen(os, "127.0.0.1", port_of(one), 16, true, &two), 0);
    assert_int_equal(os->close(os, one), 0);
    assert_int_equal(os->close(os, two), 0);

    static const char *const bad[] = {"",          "localhost",  "127.0.0.1:80", "1.2.3",
                                      "256.1.1.1", "::1%nosuch", ":::",          "[::1]"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(os->listen(os, bad[i], 0, 16, false, &two), -EINVAL);
    char longest[1000];
    memset(longest, '1', sizeof longest - 1);
    longest[sizeof longest - 1] = 0;
    assert_int_equal(os->listen(os, longest, 0, 16, false, &two), -EINVAL);
    /* 192.0.2.0/24 is for documentation: no interface has it */
    assert_int_equal(os->listen(os, "192.0.2.1", 0, 16, false, &two), -EADDRNOTAVAIL);
}

static void test_listen_ipv6_only(void **state)
{
    (void)state;
    const struct os *os = os_real();
    int six, four;
    int status = os->listen(os, "::", 0, 16, false, &six);
    if (status == -EAFNOSUPPORT || status == -EADDRNOTAVAIL)
        skip(); /* a machine without IPv6 */
    assert_int_equal(status, 0);
    struct sockaddr_in6 address;
    socklen_t size = sizeof address;
    assert_int_equal(getsockname(six, (struct sockaddr *)&address, &size), 0);
    /* the same port is free for IPv4 */
    assert_int_equal(os->listen(os, "0.0.0.0", ntohs(address.sin6_port), 16, false, &four), 0);
    assert_int_equal(os->close(os, four), 0);
    assert_int_equal(os->close(os, six), 0);
}

static void test_accept_receive_send(void **state)
{
    (void)state;
    const struct os *os = os_real();
    int listener, fd = -7;
    struct sockaddr_storage peer;
    assert_int_equal(os->listen(os, "127.0.0.1", 0, 16, false, &listener), 0);
    assert_int_equal(os->accept(os, listener, &peer, &fd), -EAGAIN);
    assert_int_equal(fd, -7);

    int client = connect_to(port_of(listener));
    await(listener, POLLIN);
    assert_int_equal(os->accept(os, listener, &peer, &fd), 0);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    assert_int_equal(peer.ss_family, AF_INET);
    assert_int_equal(ntohs(((struct sockaddr_in *)&peer)->sin_port), port_of(client));
    int on = 0;
    socklen_t size = sizeof on;
    assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, &size), 0);
    assert_true(on);
    assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, &size), 0);
    assert_true(on);

    char data[64];
    size_t n = 99;
    assert_int_equal(os->receive(os, fd, data, sizeof data, &n), -EAGAIN);
    assert_int_equal(n, 99);
    assert_int_equal(write(client, "ping", 4), 4);
    await(fd, POLLIN);
    assert_int_equal(os->receive(os, fd, data, sizeof data, &n), 0);
    assert_int_equal(n, 4);
    assert_memory_equal(data, "ping", 4);

    struct iovec parts[2000];
    char byte = 'x';
    for (size_t i = 0; i < 2000; i++)
        parts[i] = (struct iovec){&byte, 1};
    assert_int_equal(os->send(os, fd, parts, 1, &n), 0);
    assert_int_equal(n, 1);
    assert_int_equal(os->send(os, fd, parts, 3, &n), 0);
    assert_int_equal(n, 3);
    assert_int_equal(os->send(os, fd, parts, 2000, &n), 0);
    assert_int_equal(n, 1024); /* the most parts the system takes at once */
    size_t got = 0;
    char sink[4096];
    while (got < 1 + 3 + 1024) {
        ssize_t part = read(client, sink, sizeof sink);
        assert_true(part > 0);
        got += (size_t)part;
    }

    shutdown(client, SHUT_WR);
    await(fd, POLLIN);
    assert_int_equal(os->receive(os, fd, data, sizeof data, &n), 0);
    assert_int_equal(n, 0); /* the peer has ended its side */
    close(client);
    assert_int_equal(os->close(os, fd), 0);
    assert_int_equal(os->close(os, listener), 0);
}

/* Trips if a send to a peer that is gone raises SIGPIPE, which would end this program, or if a full
 * socket blocks. */
static void test_send_to_a_slow_and_to_a_dead_peer(void **state)
{
    (void)state;
    const struct os *os = os_real();
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    static char data[65536];
    struct iovec parts[2] = {{data, sizeof data}, {data, 1}};
    for (int parts_count = 1; parts_count <= 2; parts_count++) {
        size_t n;
        int status;
        do
            status = os->send(os, ends[0], parts, parts_count, &n);
        while (status == 0);
        assert_int_equal(status, -EAGAIN);
    }
    close(ends[1]);
    size_t n;
    for (int parts_count = 1; parts_count <= 2; parts_count++)
        assert_int_equal(os->send(os, ends[0], parts, parts_count, &n), -EPIPE);
    assert_int_equal(os->close(os, ends[0]), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_kinds_of_files),
        cmocka_unit_test(test_interrupted_open_is_retried),
        cmocka_unit_test(test_map_is_aligned_zeroed_and_guarded),
        cmocka_unit_test(test_tail_costs_touched_pages_only),
        cmocka_unit_test(test_discard),
        cmocka_unit_test(test_map_refuses_the_impossible),
        cmocka_unit_test(test_map_refused_half_way_leaves_nothing),
        cmocka_unit_test(test_time),
        cmocka_unit_test(test_entropy),
        cmocka_unit_test(test_listen),
        cmocka_unit_test(test_listen_ipv6_only),
        cmocka_unit_test(test_accept_receive_send),
        cmocka_unit_test(test_send_to_a_slow_and_to_a_dead_peer),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
