/* Goal: addresses from and to text and port numbers, for IPv4, IPv6 and what is neither; connecting
 * gives a usable socket or says why not; a peer on this machine is known as such.
 * Method: made-up addresses and tables of bad ones (each ending at a guard page); real listening
 * sockets; a port that was just closed. */
#include "lib/test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/bytes.h"
#include "lib/guard.h"
#include "os/os.h"
#include "os/socket.h"

static void test_text(void **state)
{
    (void)state;
    char text[SOCKET_ADDRESS_BYTES_MAX];
    struct sockaddr_storage address = {0};
    struct sockaddr_in *v4 = (struct sockaddr_in *)&address;
    socket_address_text(&address, text);
    assert_string_equal(text, "?:0");
    v4->sin_family = AF_INET;
    v4->sin_port = htons(65535);
    inet_pton(AF_INET, "192.168.100.200", &v4->sin_addr);
    socket_address_text(&address, text);
    assert_string_equal(text, "192.168.100.200:65535");
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&address;
    memset(&address, 0, sizeof address);
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(1);
    inet_pton(AF_INET6, "1111:2222:3333:4444:5555:6666:7777:8888", &v6->sin6_addr);
    socket_address_text(&address, text);
    assert_string_equal(text, "[1111:2222:3333:4444:5555:6666:7777:8888]:1");
}

static void test_local(void **state)
{
    (void)state;
    const struct os *os = os_real();
    char text[SOCKET_ADDRESS_BYTES_MAX], expected[SOCKET_ADDRESS_BYTES_MAX];
    int fd;
    assert_int_equal(os->listen(os, "127.0.0.1", 0, 1, false, &fd), 0);
    uint16_t port = socket_local_port(fd);
    assert_int_not_equal(port, 0);
    socket_local_text(fd, text);
    snprintf(expected, sizeof expected, "127.0.0.1:%u", port);
    assert_string_equal(text, expected);
    os->close(os, fd);
    assert_int_equal(socket_local_port(-1), 0);
    socket_local_text(-1, text);
    assert_string_equal(text, "?:0");
}

static void test_limit(void **state)
{
    (void)state;
    uint64_t now = socket_raise_limit(1); /* it is higher already: unchanged */
    assert_true(now > 1);
    assert_int_equal(socket_raise_limit(1), now);
    assert_true(socket_raise_limit(now + 1) >= now);
}

static void test_host_port(void **state)
{
    (void)state;
    static const struct {
        const char *text, *host, *port;
    } good[] = {
        {"localhost:6379", "localhost", "6379"},
        {"localhost", "localhost", "77"},
        {"127.0.0.1:1", "127.0.0.1", "1"},
        {"[::1]:65535", "::1", "65535"},
        {"[::1]", "::1", "77"},
        {"[fe80::1%eth0]:9", "fe80::1%eth0", "9"},
    };
    char host[SOCKET_HOST_BYTES_MAX], port[SOCKET_PORT_BYTES_MAX], name[SOCKET_NAME_BYTES_MAX];
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct tarn_bytes text = bytes_of(good[i].text);
        assert_int_equal(socket_host_port_parse(text, "77", host, port, NULL), TARN_OK);
        assert_string_equal(host, good[i].host);
        assert_string_equal(port, good[i].port);
        bool named = strcmp(port, "77") != 0;
        assert_int_equal(socket_host_port_parse(text, NULL, host, port, NULL),
                         named ? TARN_OK : TARN_INVALID);
        socket_host_port_text(host, port, name);
        assert_true(!named || strcmp(name, good[i].text) == 0);
    }
}

/* Every text stands before a page that cannot be read. */
static void test_host_port_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *why;
    } bad[] = {
        {"", "not an address"},       {":6379", "not an address"},
        {"[]:1", "not an address"},   {"[", "not an address"},
        {"[::1", "not an address"},   {"[::1]x", "not an address"},
        {"h/x:1", "not an address"},  {"a b:1", "not an address"},
        {"a\n:1", "not an address"},  {"[::1]:", "not a port"},
        {"host:", "not a port"},      {"host:0", "not a port"},
        {"host:65536", "not a port"}, {"host:x", "not a port"},
        {"host:-1", "not a port"},    {"host:+1", "not a port"},
        {"host: 6379", "not a port"}, {"::1", "in brackets"},
        {"host:1:2", "in brackets"},  {"host:99999999999999999999", "not a port"},
    };
    char host[SOCKET_HOST_BYTES_MAX] = "unchanged", port[SOCKET_PORT_BYTES_MAX] = "same";
    struct guard guard = guard_new(64);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct tarn_error error = {0};
        struct tarn_bytes text = guard_end(&guard, bad[i].text, strlen(bad[i].text));
        assert_int_equal(socket_host_port_parse(text, "77", host, port, &error), TARN_INVALID);
        if (!strstr(error.text, bad[i].why))
            fail_msg("\"%s\": %s", bad[i].text, error.text);
    }
    guard_free(&guard);
    assert_string_equal(host, "unchanged");
    assert_string_equal(port, "same");
    struct tarn_bytes with_nul = {"h\0st:1", 6};
    assert_int_equal(socket_host_port_parse(with_nul, "77", host, port, NULL), TARN_INVALID);
}

static void test_host_of_any_length(void **state)
{
    (void)state;
    char text[600], host[SOCKET_HOST_BYTES_MAX], port[SOCKET_PORT_BYTES_MAX];
    memset(text, 'h', sizeof text);
    for (size_t size = 1; size < sizeof text; size++) {
        int expected = size < SOCKET_HOST_BYTES_MAX ? TARN_OK : TARN_INVALID;
        struct tarn_bytes view = {text, size};
        assert_int_equal(socket_host_port_parse(view, "1", host, port, NULL), expected);
        assert_int_equal(strlen(host), size < SOCKET_HOST_BYTES_MAX ? size : 255);
    }
}

/* A listening socket of the address, its port as text; -1 where the address is not to be had. */
static int listen_on(const char *address, char ret_port[SOCKET_PORT_BYTES_MAX])
{
    const struct os *os = os_real();
    int fd;
    if (os->listen(os, address, 0, 8, false, &fd) != 0)
        return -1;
    snprintf(ret_port, SOCKET_PORT_BYTES_MAX, "%u", socket_local_port(fd));
    return fd;
}

static void test_connect(void **state)
{
    (void)state;
    static const char *const hosts[] = {"127.0.0.1", "::1", "localhost"};
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
        struct tarn_error error;
        char port[SOCKET_PORT_BYTES_MAX];
        /* localhost is often ::1 first, where nobody listens: the next address must be tried */
        int fd, listening = listen_on(i == 2 ? "127.0.0.1" : hosts[i], port);
        if (listening < 0)
            continue; /* no IPv6 here */
        assert_int_equal(socket_connect(hosts[i], port, 10000, &fd, &error), TARN_OK);
        assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
        assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
        int on = 0;
        socklen_t size = sizeof on;
        assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, &size), 0);
        assert_true(on);
        assert_int_equal(socket_wait(fd, POLLOUT, 10000), 0);
        assert_int_equal(socket_wait(fd, POLLIN, 1), -ETIMEDOUT);
        assert_true(socket_is_local(fd));
        int accepted = accept(listening, NULL, NULL);
        assert_int_equal(write(accepted, "x", 1), 1);
        assert_int_equal(socket_wait(fd, POLLIN, 10000), 0);
        close(accepted);
        close(fd);
        close(listening);
    }
}

static void test_connect_fails(void **state)
{
    (void)state;
    struct tarn_error error;
    char port[SOCKET_PORT_BYTES_MAX], expected[200];
    int fd = -7, listening = listen_on("127.0.0.1", port);
    assert_true(listening >= 0);
    close(listening); /* nobody listens there now */
    assert_int_equal(socket_connect("127.0.0.1", port, 10000, &fd, &error), TARN_IO);
    assert_int_equal(errno, ECONNREFUSED);
    snprintf(expected, sizeof expected, "cannot connect to 127.0.0.1:%s: Connection refused", port);
    assert_string_equal(error.text, expected);
    assert_int_equal(socket_connect("::1%none::", port, 10000, &fd, &error), TARN_IO);
    assert_int_equal(errno, 0);
    assert_non_null(strstr(error.text, "cannot find ::1%none::: "));
    assert_int_equal(fd, -7);
    assert_int_equal(socket_wait(-1, POLLIN, 0), -ETIMEDOUT); /* poll() passes over it */
}

/* A full backlog answers no more: the wait must end. */
static void test_connect_times_out(void **state)
{
    (void)state;
    struct tarn_error error;
    char port[SOCKET_PORT_BYTES_MAX];
    int fds[64], count = 0, listening = listen_on("127.0.0.1", port);
    assert_int_equal(listen(listening, 0), 0);
    int status = TARN_OK;
    while (status == TARN_OK && count < 64) {
        status = socket_connect("127.0.0.1", port, 50, &fds[count], &error);
        count += status == TARN_OK;
    }
    assert_int_equal(status, TARN_IO);
    assert_non_null(strstr(error.text, "timed out"));
    while (count > 0)
        close(fds[--count]);
    close(listening);
}

static void test_is_local(void **state)
{
    (void)state;
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    assert_true(socket_is_local(pair[0]));
    close(pair[0]);
    close(pair[1]);
    assert_false(socket_is_local(-1));
    /* datagram sockets connect without a packet: a peer elsewhere, one of our own addresses */
    static const struct {
        const char *own, *peer;
        bool local;
    } cases[] = {
        {"127.0.0.1", "127.9.9.9", true},
        {"0.0.0.0", "127.0.0.1", true},
        {"127.0.0.1", "192.0.2.1", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int fd = socket(AF_INET, SOCK_DGRAM, 0);
        struct sockaddr_in own = {.sin_family = AF_INET}, peer = {.sin_family = AF_INET};
        inet_pton(AF_INET, cases[i].own, &own.sin_addr);
        inet_pton(AF_INET, cases[i].peer, &peer.sin_addr);
        peer.sin_port = htons(9);
        assert_int_equal(bind(fd, (struct sockaddr *)&own, sizeof own), 0);
        if (connect(fd, (struct sockaddr *)&peer, sizeof peer) == 0) /* a route may be missing */
            assert_int_equal(socket_is_local(fd), cases[i].local);
        close(fd);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_local),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_host_port),
        cmocka_unit_test(test_host_port_refused),
        cmocka_unit_test(test_host_of_any_length),
        cmocka_unit_test(test_connect),
        cmocka_unit_test(test_connect_fails),
        cmocka_unit_test(test_connect_times_out),
        cmocka_unit_test(test_is_local),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
