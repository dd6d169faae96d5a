/* Goal: addresses as text and port numbers, for IPv4, IPv6 and what is neither.
 * Method: made-up addresses, and a real listening socket. */
#include "lib/test.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_local),
        cmocka_unit_test(test_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
