/* Goal: every worker gets a socket on every address, one port for all; a port that anybody else
 * has is refused with a line that says so; a failure leaves nothing open.
 * Method: real sockets on loopback, and a struct os whose nth listen fails. */
#include "lib/test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/scratch.h"
#include "os/socket.h"
#include "server/state.h"

static void close_all(int *fds, size_t count)
{
    for (size_t i = 0; i < count; i++)
        os_real()->close(os_real(), fds[i]);
    free(fds);
}

static void test_shared_port(void **state)
{
    (void)state;
    const struct os *os = os_real();
    struct tarn_error error;
    size_t addresses, before = scratch_fd_count();
    uint16_t port, port_again;
    int *fds, *again;
    for (unsigned workers = 1; workers <= 3; workers++) {
        assert_int_equal(
            server_listen(os, "127.0.0.1, 127.0.0.2", 0, workers, &fds, &addresses, &port, &error),
            TARN_OK);
        assert_int_equal(addresses, 2);
        assert_int_not_equal(port, 0);
        for (size_t i = 0; i < 2 * workers; i++) {
            char text[SOCKET_ADDRESS_BYTES_MAX];
            assert_int_equal(socket_local_port(fds[i]), port);
            socket_local_text(fds[i], text);
            assert_memory_equal(text, i % 2 == 0 ? "127.0.0.1:" : "127.0.0.2:", 10);
        }
        /* the same port once more, by a server that would share it, too */
        for (unsigned others = 1; others <= 2; others++) {
            assert_int_equal(server_listen(os, "127.0.0.1", port, others, &again, &addresses,
                                           &port_again, &error),
                             TARN_BUSY);
            assert_non_null(strstr(error.text, "in use"));
            assert_non_null(strstr(error.text, "--port"));
        }
        close_all(fds, 2 * workers);
        assert_int_equal(scratch_fd_count(), before);
    }
}

static void test_addresses(void **state)
{
    (void)state;
    static const struct {
        const char *list;
        int status;
        const char *text;
    } cases[] = {
        {"", TARN_INVALID, "--bind"},
        {" , ,", TARN_INVALID, "--bind"},
        {"localhost", TARN_INVALID, "numeric"},
        {"127.0.0.1,nonsense", TARN_INVALID, "nonsense"},
        {"192.0.2.1", TARN_INVALID, "no interface"},
    };
    struct tarn_error error;
    size_t addresses, before = scratch_fd_count();
    uint16_t port;
    int *fds;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(
            server_listen(os_real(), cases[i].list, 0, 2, &fds, &addresses, &port, &error),
            cases[i].status);
        assert_non_null(strstr(error.text, cases[i].text));
        assert_int_equal(scratch_fd_count(), before);
    }
}

struct failing {
    int left, status; /* the call that makes left 0 fails with status */
};

static int failing_listen(const struct os *os, const char *address, uint16_t port, int backlog,
                          bool share_port, int *ret_fd)
{
    struct failing *failing = os->context;
    if (--failing->left == 0)
        return failing->status;
    return os_real()->listen(os_real(), address, port, backlog, share_port, ret_fd);
}

static void test_each_listen_fails(void **state)
{
    (void)state;
    static const int failures[][2] = {
        {-EACCES, TARN_DENIED}, {-EMFILE, TARN_IO}, {-ENOBUFS, TARN_IO}};
    struct failing failing;
    struct os os = *os_real();
    struct tarn_error error;
    size_t addresses, before = scratch_fd_count();
    uint16_t port;
    int *fds;
    os.listen = failing_listen;
    os.context = &failing;
    for (int nth = 1; nth <= 6; nth++) { /* 2 addresses: one trial and two workers each */
        for (size_t i = 0; i < 3; i++) {
            failing = (struct failing){nth, failures[i][0]};
            assert_int_equal(
                server_listen(&os, "127.0.0.1,127.0.0.2", 0, 2, &fds, &addresses, &port, &error),
                failures[i][1]);
            assert_non_null(strstr(error.text, nth <= 3 ? "127.0.0.1" : "127.0.0.2"));
            assert_int_equal(scratch_fd_count(), before);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shared_port),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_each_listen_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
