/* Goal: tarn get understands addresses, RESP and HTTP, prints what it should, and turns anything
 * else a server may send into an error.
 * Method: address table; a scripted server on the other end of a socket pair, whose answers stand
 * there before they are asked for; values printed into memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/get.h"

static void test_addresses(void **context)
{
    (void)context;
    static const struct {
        const char *text, *host, *port;
        bool http;
    } good[] = {
        {"localhost:6379", "localhost", "6379", false},
        {"localhost", "localhost", "6379", false},
        {"127.0.0.1:1", "127.0.0.1", "1", false},
        {"[::1]:65535", "::1", "65535", false},
        {"[::1]", "::1", "6379", false},
        {"http://localhost:80", "localhost", "80", true},
        {"http://localhost", "localhost", "8379", true},
        {"http://localhost:80/", "localhost", "80", true},
        {"http://[fe80::1%eth0]:9/", "fe80::1%eth0", "9", true},
    };
    struct stream_address a;
    struct tarn_error error;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_int_equal(stream_address_parse(good[i].text, &a, &error), TARN_OK);
        assert_string_equal(a.host, good[i].host);
        assert_string_equal(a.port, good[i].port);
        assert_int_equal(a.http, good[i].http);
    }
    static const char *const bad[] = {
        "",        ":6379",      "host:",         "host:0",       "host:65536", "host:x",
        "host:-1", "::1",        "::1:6379",      "[::1",         "[::1]x",     "[]:1",
        "[::1]:",  "http://",    "http://h/path", "https://host", "host:1:2",   "host/x:1",
        "host:+1", "host: 6379", "http://h:1/kv", "redis://host",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        error.text[0] = 0;
        if (stream_address_parse(bad[i], &a, &error) != TARN_INVALID)
            fail_msg("accepted: \"%s\"", bad[i]);
        assert_true(error.text[0] != 0);
    }
    char long_host[400];
    memset(long_host, 'h', sizeof long_host);
    long_host[sizeof long_host - 1] = 0;
    assert_int_equal(stream_address_parse(long_host, &a, &error), TARN_INVALID);
}

/* What a run printed, asked and left missing. */
struct outcome {
    int status;
    struct tarn_error error;
    char *printed;
    size_t printed_size;
    char missing[256];
    char asked[65536];
};

static void note_missing(void *context, const char *key)
{
    struct outcome *o = context;
    strncat(o->missing, key, sizeof o->missing - strlen(o->missing) - 2);
    strcat(o->missing, ";");
}

/* Ask a server that answers `answer` (and then hangs up). */
static void ask(bool http, const char *answer, size_t answer_size, const char *password,
                const char *const *names, int count, int terminator, struct outcome *o)
{
    int fds[2];
    *o = (struct outcome){0};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_int_equal(write(fds[1], answer, answer_size), answer_size);
    assert_int_equal(shutdown(fds[1], SHUT_WR), 0);
    struct stream *stream = calloc(1, sizeof *stream);
    assert_non_null(stream);
    stream->fd = fds[0];
    stream->timeout_ms = 10000;
    strcpy(stream->name, "peer");
    assert_int_equal(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
    struct get_output output = {.terminator = terminator, .missing = note_missing, .context = o};
    output.values = open_memstream(&o->printed, &o->printed_size);
    if (http) {
        int done;
        o->status = get_http_on(stream, password, names, count, &output, &done, &o->error);
    } else {
        o->status = get_resp(stream, password, names, count, &output, &o->error);
    }
    assert_int_equal(fclose(output.values), 0);
    ssize_t n = recv(fds[1], o->asked, sizeof o->asked - 1, MSG_DONTWAIT);
    o->asked[n > 0 ? n : 0] = 0;
    stream_close(stream);
    free(stream);
    close(fds[1]);
}

static const char *const keys[] = {"a", "bb", "c"};
#define RESP(answer, password, count, terminator, o)                                               \
    ask(false, answer, sizeof answer - 1, password, keys, count, terminator, o)
#define HTTP(answer, password, count, o)                                                           \
    ask(true, answer, sizeof answer - 1, password, keys, count, '\n', o)

static void test_resp(void **context)
{
    (void)context;
    struct outcome o;
    RESP("$3\r\none\r\n$0\r\n\r\n$5\r\n\r\n\0\r\n\r\n", NULL, 3, '\n', &o);
    assert_int_equal(o.status, TARN_OK);
    assert_int_equal(o.printed_size, 11);
    assert_memory_equal(o.printed, "one\n\n\r\n\0\r\n\n", 11);
    assert_string_equal(o.asked, "*2\r\n$3\r\nGET\r\n$1\r\na\r\n*2\r\n$3\r\nGET\r\n$2\r\nbb\r\n"
                                 "*2\r\n$3\r\nGET\r\n$1\r\nc\r\n");
    free(o.printed);

    RESP("$-1\r\n$1\r\nx\r\n_\r\n", "", 3, -1, &o);
    assert_int_equal(o.status, TARN_OK);
    assert_int_equal(o.printed_size, 1);
    assert_string_equal(o.missing, "a;c;");
    free(o.printed);

    RESP("+OK\r\n$1\r\nx\r\n", "pw", 1, 0, &o);
    assert_int_equal(o.status, TARN_OK);
    assert_int_equal(o.printed_size, 2);
    assert_memory_equal(o.printed, "x\0", 2);
    assert_non_null(strstr(o.asked, "*2\r\n$4\r\nAUTH\r\n$2\r\npw\r\n"));
    free(o.printed);
}

static void test_resp_errors(void **context)
{
    (void)context;
    struct outcome o;
    RESP("-NOAUTH Authentication required.\r\n", NULL, 1, '\n', &o);
    assert_int_equal(o.status, TARN_DENIED);
    assert_non_null(strstr(o.error.text, "--password"));
    free(o.printed);
    RESP("-WRONGPASS invalid\r\n", "pw", 1, '\n', &o);
    assert_int_equal(o.status, TARN_DENIED);
    free(o.printed);
    RESP("-ERR something\r\n", NULL, 1, '\n', &o);
    assert_int_equal(o.status, TARN_IO);
    assert_non_null(strstr(o.error.text, "ERR something"));
    free(o.printed);

    static const char *const broken[] = {
        "HTTP/1.1 400 Bad Request\r\n\r\n",
        ":1\r\n",
        "$x\r\n",
        "$-2\r\n",
        "$+1\r\nx\r\n",
        "$99999999999999999999\r\n",
        "$536870913\r\n",
        "$1\r\nxy\r\n",
        "*1\r\n$1\r\nx\r\n",
        "\r\n",
    };
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        ask(false, broken[i], strlen(broken[i]), NULL, keys, 1, '\n', &o);
        assert_int_equal(o.status, TARN_CORRUPT);
        free(o.printed);
    }
    static const char *const cut[] = {"", "$", "$3\r\non", "$3\r\none", "$3\r\none\r"};
    for (size_t i = 0; i < sizeof cut / sizeof cut[0]; i++) {
        ask(false, cut[i], strlen(cut[i]), NULL, keys, 1, '\n', &o);
        assert_int_equal(o.status, TARN_IO);
        assert_non_null(strstr(o.error.text, "closed the connection"));
        free(o.printed);
    }
    /* a line without end */
    char *endless = malloc(40000);
    memset(endless, '$', 40000);
    ask(false, endless, 40000, NULL, keys, 1, '\n', &o);
    assert_int_equal(o.status, TARN_CORRUPT);
    free(o.printed);
    free(endless);
}

static void test_http(void **context)
{
    (void)context;
    struct outcome o;
    HTTP("HTTP/1.1 200 OK\r\nContent-Type: x\r\ncontent-length: 3\r\n\r\none"
         "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnope"
         "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length:0\r\n\r\n",
         NULL, 3, &o);
    assert_int_equal(o.status, TARN_OK);
    assert_int_equal(o.printed_size, 5);
    assert_memory_equal(o.printed, "one\n\n", 5);
    assert_string_equal(o.missing, "bb;");
    assert_non_null(strstr(o.asked, "GET /kv?key=a HTTP/1.1\r\nHost: peer\r\n"));
    assert_null(strstr(o.asked, "Authorization"));
    free(o.printed);

    const char *const odd[] = {"a b/%+&\xff.=~"};
    static const char ok[] = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx";
    ask(true, ok, sizeof ok - 1, "pw", odd, 1, '\n', &o);
    assert_int_equal(o.status, TARN_OK);
    assert_non_null(strstr(o.asked, "GET /kv?key=a%20b%2F%25%2B%26%FF%2E%3D~ HTTP/1.1\r\n"));
    assert_non_null(strstr(o.asked, "Authorization: Bearer pw\r\n"));
    free(o.printed);
}

static void test_http_errors(void **context)
{
    (void)context;
    struct outcome o;
    HTTP("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", NULL, 1, &o);
    assert_int_equal(o.status, TARN_DENIED);
    free(o.printed);
    HTTP("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", NULL, 1, &o);
    assert_int_equal(o.status, TARN_IO);
    assert_non_null(strstr(o.error.text, "503 Busy"));
    free(o.printed);
    static const char *const broken[] = {
        "-ERR Protocol error\r\n",
        "HTTP/2 200\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        ask(true, broken[i], strlen(broken[i]), NULL, keys, 1, '\n', &o);
        assert_int_equal(o.status, TARN_CORRUPT);
        free(o.printed);
    }
    HTTP("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", NULL, 1, &o);
    assert_int_equal(o.status, TARN_IO);
    free(o.printed);
    /* header lines without end */
    struct buffer endless = {0};
    buffer_append_text(&endless, "HTTP/1.1 200 OK\r\n");
    for (int i = 0; i < 500; i++)
        buffer_append_text(&endless, "X: y\r\n");
    ask(true, (const char *)endless.data, endless.size, NULL, keys, 1, '\n', &o);
    assert_int_equal(o.status, TARN_CORRUPT);
    free(o.printed);
    buffer_done(&endless);
}

/* A silent server: the wait ends. */
static void test_time_out(void **context)
{
    (void)context;
    int fds[2];
    struct tarn_error error;
    char out[STREAM_LINE_MAX];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    struct stream *stream = calloc(1, sizeof *stream);
    assert_non_null(stream);
    stream->fd = fds[0];
    stream->timeout_ms = 1;
    assert_int_equal(stream_line(stream, out, &error), TARN_IO);
    assert_non_null(strstr(error.text, "no answer"));
    stream_close(stream);
    stream_close(stream);
    free(stream);
    close(fds[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses),   cmocka_unit_test(test_resp),
        cmocka_unit_test(test_resp_errors), cmocka_unit_test(test_http),
        cmocka_unit_test(test_http_errors), cmocka_unit_test(test_time_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
