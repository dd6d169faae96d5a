/* Goal: each reply type has Redis's bytes in RESP2 and RESP3.
 * Method: append one reply to a fresh buffer and compare; buffers that refuse stay unchanged. */
#include "lib/test.h"

#include <math.h>
#include <string.h>

#include "resp/reply.h"

/* Evaluate `call` with r in each protocol and compare the bytes. */
#define CHECK(call, two, three)                                                                    \
    do {                                                                                           \
        for (int protocol = 2; protocol <= 3; protocol++) {                                        \
            struct buffer out = {0};                                                               \
            struct reply reply = {&out, protocol}, *r = &reply;                                    \
            const char *expected = protocol == 2 ? (two) : (three);                                \
            call;                                                                                  \
            assert_false(out.failed);                                                              \
            assert_int_equal(out.size, strlen(expected));                                          \
            assert_memory_equal(out.data, expected, out.size);                                     \
            buffer_done(&out);                                                                     \
        }                                                                                          \
    } while (0)

#define SAME(call, bytes) CHECK(call, bytes, bytes)

static void test_plain(void **state)
{
    (void)state;
    SAME(reply_simple(r, "OK"), "+OK\r\n");
    SAME(reply_error(r, "ERR bad '%s' %d", "x", 5), "-ERR bad 'x' 5\r\n");
    SAME(reply_error(r, "ERR a\r\nb\n"), "-ERR a  b \r\n");
    SAME(reply_int(r, 0), ":0\r\n");
    SAME(reply_int(r, 9), ":9\r\n");
    SAME(reply_int(r, 10), ":10\r\n");
    SAME(reply_int(r, 99), ":99\r\n");
    SAME(reply_int(r, 100), ":100\r\n");
    SAME(reply_int(r, -1), ":-1\r\n");
    SAME(reply_int(r, INT64_MAX), ":9223372036854775807\r\n");
    SAME(reply_int(r, INT64_MIN), ":-9223372036854775808\r\n");
    SAME(reply_bulk(r, bytes_of("hello")), "$5\r\nhello\r\n");
    SAME(reply_bulk(r, bytes_of("")), "$0\r\n\r\n");
    SAME(reply_bulk(r, bytes_of("0123456789")), "$10\r\n0123456789\r\n");
    SAME(reply_bulk_text(r, "x"), "$1\r\nx\r\n");
    SAME(reply_bulk_header(r, 12345), "$12345\r\n");
    SAME(reply_array(r, 3), "*3\r\n");
    SAME(reply_array(r, 0), "*0\r\n");
}

static void test_typed(void **state)
{
    (void)state;
    CHECK(reply_null(r), "$-1\r\n", "_\r\n");
    CHECK(reply_null_array(r), "*-1\r\n", "_\r\n");
    CHECK(reply_map(r, 7), "*14\r\n", "%7\r\n");
    CHECK(reply_set(r, 2), "*2\r\n", "~2\r\n");
    CHECK(reply_bool(r, true), ":1\r\n", "#t\r\n");
    CHECK(reply_bool(r, false), ":0\r\n", "#f\r\n");
    CHECK(reply_double(r, 0.1), "$3\r\n0.1\r\n", ",0.1\r\n");
    CHECK(reply_double(r, 3), "$1\r\n3\r\n", ",3\r\n");
    CHECK(reply_double(r, 1.0 / 3), "$18\r\n0.3333333333333333\r\n", ",0.3333333333333333\r\n");
    CHECK(reply_double(r, INFINITY), "$3\r\ninf\r\n", ",inf\r\n");
    CHECK(reply_double(r, -INFINITY), "$4\r\n-inf\r\n", ",-inf\r\n");
    CHECK(reply_double(r, NAN), "$3\r\nnan\r\n", ",nan\r\n");
    CHECK(reply_verbatim(r, "txt", bytes_of("a\nb")), "$3\r\na\nb\r\n", "=7\r\ntxt:a\nb\r\n");
}

static void test_push(void **state)
{
    (void)state;
    struct buffer out = {0};
    struct reply r = {&out, 3};
    reply_push(&r, 2);
    assert_int_equal(out.size, 4);
    assert_memory_equal(out.data, ">2\r\n", 4);
    buffer_done(&out);
}

/* A reply is whole or not there at all: a client must never see half of one. */
static void test_bounded(void **state)
{
    (void)state;
    struct buffer out;
    buffer_init(&out, 64);
    struct reply r = {&out, 2};
    char value[100];
    memset(value, 'v', sizeof value);
    reply_simple(&r, "OK");
    reply_bulk(&r, (struct tarn_bytes){value, sizeof value});
    reply_simple(&r, "more");
    assert_true(out.failed);
    assert_int_equal(out.size, 5);
    buffer_clear(&out);
    reply_error(&r, "ERR %100s", "x");
    assert_true(out.failed);
    assert_int_equal(out.size, 0);
    buffer_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_typed),
        cmocka_unit_test(test_push),
        cmocka_unit_test(test_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
