/* Goal: RESP requests are what the protocol says, byte by byte, and what the server's own parser
 * reads back; replies of both versions are taken from any number of pieces, within their bytes, and
 * what is no reply to the request is refused with a text that says what came.
 * Method: golden bytes; sizes around each digit through resp_parse(); every answer cut at every
 * byte, ending at an unreadable page; a table of malformed answers; each allocation failed once. */
#include "bench/protocol.h"

#include <stdio.h>

#include "core/number.h"
#include "resp/parse.h"

#include "lib/test.h"

#include "lib/protocol_check.h"

static const struct protocol_peer peer;
static const struct tarn_bytes three[] = {{"a", 1}, {"bb", 2}, {"ccc", 3}};

/* --- requests --- */

static void test_requests(void **state)
{
    (void)state;
    static const struct tarn_bytes odd[] = {{NULL, 0}, {"\0\r\n", 3}};
    static const struct tarn_bytes values[] = {{"", 0}, {"v w", 3}, {"x", 1}};
    const struct protocol *p = &protocol_resp;
    struct buffer out = {0};
    p->get(&peer, three, 1, &out);
    check_sent(&out, BYTES("*2\r\n$3\r\nGET\r\n$1\r\na\r\n"));
    p->get(&peer, three, 3, &out);
    check_sent(&out, BYTES("*4\r\n$4\r\nMGET\r\n$1\r\na\r\n$2\r\nbb\r\n$3\r\nccc\r\n"));
    p->get(&peer, odd, 1, &out);
    check_sent(&out, BYTES("*2\r\n$3\r\nGET\r\n$0\r\n\r\n"));
    p->get(&peer, odd, 2, &out);
    check_sent(&out, BYTES("*3\r\n$4\r\nMGET\r\n$0\r\n\r\n$3\r\n\0\r\n\r\n"));
    p->put(&peer, three + 1, values + 1, 1, &out);
    check_sent(&out, BYTES("*3\r\n$3\r\nSET\r\n$2\r\nbb\r\n$3\r\nv w\r\n"));
    p->put(&peer, three, values, 3, &out);
    check_sent(&out, BYTES("*7\r\n$4\r\nMSET\r\n$1\r\na\r\n$0\r\n\r\n$2\r\nbb\r\n$3\r\nv w\r\n"
                           "$3\r\nccc\r\n$1\r\nx\r\n"));
    p->scan(&peer, 0, 10, &out);
    check_sent(&out, BYTES("*4\r\n$4\r\nSCAN\r\n$1\r\n0\r\n$5\r\nCOUNT\r\n$2\r\n10\r\n"));
    p->scan(&peer, UINT64_MAX, 4294967295u, &out);
    check_sent(&out, BYTES("*4\r\n$4\r\nSCAN\r\n$20\r\n18446744073709551615\r\n$5\r\nCOUNT\r\n"
                           "$10\r\n4294967295\r\n"));
    buffer_done(&out);
}

static void test_hello(void **state)
{
    (void)state;
    static const struct protocol_peer empty = {.password = ""}, secret = {.password = "se cret"};
    const struct protocol *p = &protocol_resp;
    struct buffer out = {0};
    assert_int_equal(p->hello(&peer, &out), 1);
    check_sent(&out, BYTES("*1\r\n$4\r\nPING\r\n"));
    assert_int_equal(p->hello(&empty, &out), 1);
    check_sent(&out, BYTES("*1\r\n$4\r\nPING\r\n"));
    assert_int_equal(p->hello(&secret, &out), 2);
    check_sent(&out, BYTES("*2\r\n$4\r\nAUTH\r\n$7\r\nse cret\r\n*1\r\n$4\r\nPING\r\n"));
    buffer_done(&out);
}

static void test_check(void **state)
{
    (void)state;
    static char big[TARN_KEY_BYTES_MAX + 2];
    struct tarn_error error;
    struct protocol_peer long_password = {.password = big};
    memset(big, 'x', sizeof big - 1);
    assert_int_equal(protocol_resp.check(&peer, &error), TARN_OK);
    assert_int_equal(protocol_resp.check(&long_password, &error), TARN_INVALID);
    assert_string_equal(error.text, "a password of more than 65535 bytes cannot be sent");
    big[sizeof big - 2] = 0;
    assert_int_equal(protocol_resp.check(&long_password, &error), TARN_OK);
    struct buffer out = {0};
    assert_int_equal(protocol_resp.hello(&long_password, &out), 2);
    buffer_done(&out);
}

static void test_keys_allowed(void **state)
{
    (void)state;
    static const char big[TARN_KEY_BYTES_MAX + 1];
    struct tarn_bytes key = {big, TARN_KEY_BYTES_MAX};
    assert_true(protocol_key_allowed(&protocol_resp, key));
    key.size++;
    assert_false(protocol_key_allowed(&protocol_resp, key));
    key.size = 0;
    assert_true(protocol_key_allowed(&protocol_resp, key));
}

/* What the server makes of one request: its arguments. */
static void check_parsed(struct buffer *out, const struct tarn_bytes *expected, size_t count)
{
    static const struct resp_limits limits = {.args_max = 1u << 20,
                                              .arg_bytes_max = 1u << 29,
                                              .request_bytes_max = 1u << 30,
                                              .inline_bytes_max = 1u << 16};
    struct tarn_bytes args[8];
    struct resp_request request;
    struct resp_parser *parser = resp_parser_new();
    size_t size;
    assert_false(out->failed);
    assert_int_equal(resp_parse(parser, buffer_view(out), &limits, args, 8, &request, &size),
                     RESP_REQUEST);
    assert_int_equal(size, out->size);
    assert_int_equal(request.count, count);
    for (size_t i = 0; i < count; i++)
        check_bytes(request.args[i], expected[i]);
    resp_parser_free(parser);
    buffer_clear(out);
}

/* Trips on a length of one digit too few or too many. */
static void test_sizes_as_the_server_reads_them(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 9, 10, 11, 99, 100, 101, 999, 1000, 9999, 10000, 65535};
    static char block[1u << 20];
    struct buffer out = {0};
    for (size_t i = 0; i < sizeof block; i++)
        block[i] = (char)(i * 7 + i / 251);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct tarn_bytes key = {block, sizes[i]}, value = {block + 3, 16 * sizes[i]};
        struct tarn_bytes get[] = {BYTES("GET"), key};
        struct tarn_bytes set[] = {BYTES("SET"), key, value};
        protocol_resp.get(&peer, &key, 1, &out);
        check_parsed(&out, get, 2);
        protocol_resp.put(&peer, &key, &value, 1, &out);
        check_parsed(&out, set, 3);
    }
    buffer_done(&out);
}

/* A batch as large as a server takes: the head counts all arguments. */
static void test_many_keys(void **state)
{
    (void)state;
    enum { COUNT = 100000 };
    static struct tarn_bytes keys[COUNT], expected[COUNT + 1];
    static char digits[COUNT][8];
    struct buffer out = {0};
    expected[0] = BYTES("MGET");
    for (size_t i = 0; i < COUNT; i++) {
        keys[i] = (struct tarn_bytes){digits[i], number_format_uint(i, digits[i])};
        expected[i + 1] = keys[i];
    }
    protocol_resp.get(&peer, keys, COUNT, &out);
    check_parsed(&out, expected, COUNT + 1);
    expected[0] = BYTES("MSET");
    for (size_t i = 0; i < COUNT / 2; i++) {
        expected[2 * i + 1] = keys[i];
        expected[2 * i + 2] = keys[COUNT / 2 + i];
    }
    protocol_resp.put(&peer, keys, keys + COUNT / 2, COUNT / 2, &out);
    check_parsed(&out, expected, COUNT + 1);
    buffer_done(&out);
}

static void test_room(void **state)
{
    (void)state;
    static const struct protocol_peer secret = {.password = "secret"};
    static const char block[600];
    const struct tarn_bytes big[] = {{block, 500}, {block, 600}};
    CHECK_ROOM(protocol_resp.put(&peer, big, big, 2, &out));
    CHECK_ROOM(protocol_resp.get(&peer, three, 1, &out));
    CHECK_ROOM(protocol_resp.get(&peer, three, 3, &out));
    CHECK_ROOM(protocol_resp.put(&peer, three, three, 1, &out));
    CHECK_ROOM(protocol_resp.scan(&peer, 0, 1, &out));
    CHECK_ROOM(protocol_resp.hello(&secret, &out));
}

/* --- replies --- */

static struct feed feed_of(enum request_kind kind, size_t count)
{
    struct feed f;
    feed_init(&f, &protocol_resp, kind, NULL, count, 128u << 10);
    return f;
}

static void check_one(struct feed *f, struct tarn_bytes bytes, struct tarn_bytes value)
{
    check_complete(f, bytes);
    assert_false(f->reply.error || f->reply.closes);
    assert_true((f->reply.values[0].data != NULL) == (value.data != NULL));
    check_bytes(f->reply.values[0], value);
}

static void test_values(void **state)
{
    (void)state;
    static const struct tarn_bytes missing = {NULL, 0};
    struct feed f = feed_of(REQUEST_GET, 1);
    check_one(&f, BYTES("$5\r\nhello\r\n"), BYTES("hello"));
    check_one(&f, BYTES("$0\r\n\r\n"), BYTES(""));
    check_one(&f, BYTES("$4\r\n\r\n\r\n\r\n"), BYTES("\r\n\r\n"));
    check_one(&f, BYTES("$12\r\n$5\r\nhello\r\n\0\r\n"), BYTES("$5\r\nhello\r\n\0"));
    check_one(&f, BYTES("$-1\r\n"), missing);
    check_one(&f, BYTES("_\r\n"), missing);
    feed_done(&f);
}

static void test_errors(void **state)
{
    (void)state;
    static const struct {
        enum request_kind kind;
        size_t count;
    } requests[] = {
        {REQUEST_HELLO, 1}, {REQUEST_GET, 1}, {REQUEST_GET, 3}, {REQUEST_PUT, 1}, {REQUEST_SCAN, 1},
    };
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        struct feed f = feed_of(requests[i].kind, requests[i].count);
        check_refused(&f, BYTES("-ERR unknown command 'x', with args\r\n"),
                      "ERR unknown command 'x', with args");
        check_refused(&f, BYTES("-\r\n"), "");
        check_refused(&f, BYTES("!21\r\nSYNTAX invalid syntax\r\n"), "SYNTAX invalid syntax");
        check_malformed(&f, BYTES("-ERR x\n"), "a line that ends without a carriage return");
        feed_done(&f);
    }
}

static void test_several_values(void **state)
{
    (void)state;
    struct feed f = feed_of(REQUEST_GET, 3);
    check_complete(&f, BYTES("*3\r\n$1\r\na\r\n$-1\r\n$0\r\n\r\n"));
    assert_false(f.reply.error);
    check_text(f.reply.values[0], "a");
    assert_null(f.reply.values[1].data);
    assert_true(f.reply.values[2].data != NULL && f.reply.values[2].size == 0);
    check_complete(&f, BYTES("*3\r\n_\r\n$3\r\nb\r\n\r\n_\r\n"));
    assert_null(f.reply.values[0].data);
    check_text(f.reply.values[1], "b\r\n");
    /* an error in the array: the first one is the reply's */
    check_refused(&f, BYTES("*3\r\n$1\r\na\r\n-LOADING x\r\n-ERR y\r\n"), "LOADING x");
    check_refused(&f, BYTES("*3\r\n!5\r\nERR z\r\n$-1\r\n$1\r\na\r\n"), "ERR z");
    /* and it is not the next reply's */
    check_complete(&f, BYTES("*3\r\n_\r\n_\r\n_\r\n"));
    assert_false(f.reply.error);
    feed_done(&f);
}

static void test_other_replies(void **state)
{
    (void)state;
    static const enum request_kind kinds[] = {REQUEST_HELLO, REQUEST_PUT};
    for (size_t i = 0; i < 2; i++) {
        struct feed f = feed_of(kinds[i], 1);
        check_complete(&f, BYTES("+OK\r\n"));
        assert_false(f.reply.error);
        check_complete(&f, BYTES("+PONG, and more\r\n"));
        check_complete(&f, BYTES("+\r\n"));
        feed_done(&f);
    }
}

static void test_scans(void **state)
{
    (void)state;
    struct feed f = feed_of(REQUEST_SCAN, 1);
    check_complete(&f, BYTES("*2\r\n$20\r\n18446744073709551615\r\n*2\r\n$1\r\na\r\n$0\r\n\r\n"));
    assert_true(f.reply.cursor == UINT64_MAX && f.reply.count == 2);
    check_text(f.reply.values[0], "a");
    check_text(f.reply.values[1], "");
    assert_non_null(f.reply.values[1].data);
    check_complete(&f, BYTES("*2\r\n$1\r\n0\r\n*0\r\n"));
    assert_true(f.reply.cursor == 0 && f.reply.count == 0);
    feed_done(&f);
}

/* Replies one behind the other, taken from an input that begins anywhere. */
static void test_pipeline(void **state)
{
    (void)state;
    struct buffer input = {0};
    struct protocol_reply reply = {0};
    for (int i = 0; i < 1000; i++) {
        if (i % 7 == 3)
            buffer_append_text(&input, "$-1\r\n");
        else if (i % 7 == 5)
            buffer_append_text(&input, "-ERR no\r\n");
        else
            buffer_printf(&input, "$%d\r\n%0*d\r\n", i + 1, i + 1, i);
    }
    size_t at = 0, size;
    for (int i = 0; i < 1000; i++, at += size) {
        struct tarn_bytes rest = {input.data + at, input.size - at};
        assert_int_equal(protocol_resp.decode(REQUEST_GET, NULL, 1, rest, &reply, &size),
                         PROTOCOL_COMPLETE);
        assert_int_equal(reply.error, i % 7 == 5);
        assert_int_equal(reply.count, !reply.error);
        if (!reply.error)
            assert_int_equal(reply.values[0].size, i % 7 == 3 ? 0 : i + 1);
    }
    assert_int_equal(at, input.size);
    protocol_reply_done(&reply);
    buffer_done(&input);
}

/* What is announced is asked for at once, so that a long value is not walked for each packet. */
static void test_bytes_needed(void **state)
{
    (void)state;
    struct feed one = feed_of(REQUEST_GET, 1), three_keys = feed_of(REQUEST_GET, 3);
    check_needed(&one, BYTES("$100000\r\nab"), 9 + 100000 + 2);
    check_needed(&one, BYTES("$1000"), 5 + 2);
    check_needed(&one, BYTES("$1000\r"), 7);
    check_needed(&three_keys, BYTES("*3\r\n$100\r\n"), 4 + 6 + 102 + 2 * 3);
    check_needed(&three_keys, BYTES("*3\r\n$-1\r\n"), 4 + 5 + 3 + 3);
    feed_done(&one);
    feed_done(&three_keys);
    struct feed scan = feed_of(REQUEST_SCAN, 1);
    check_needed(&scan, BYTES("*2\r\n$1\r\n0\r\n*10\r\n$9\r\n"), 4 + 7 + 5 + 4 + 11 + 9 * 6);
    feed_done(&scan);
}

static void test_malformed_values(void **state)
{
    (void)state;
    static const struct {
        struct tarn_bytes bytes;
        const char *text;
    } cases[] = {
        {BYTES(":17\r\n"), "GET was answered with an integer: \":17\""},
        {BYTES("+OK\r\n"), "GET was answered with a simple string: \"+OK\""},
        {BYTES("*1\r\n$1\r\na\r\n"), "GET was answered with an array: \"*1\""},
        {BYTES("%1\r\n"), "GET was answered with a map: \"%1\""},
        {BYTES("~1\r\n"), "GET was answered with a set: \"~1\""},
        {BYTES("#t\r\n"), "GET was answered with a boolean: \"#t\""},
        {BYTES(",1.5\r\n"), "GET was answered with a double: \",1.5\""},
        {BYTES("(12\r\n"), "GET was answered with a big number: \"(12\""},
        {BYTES("=5\r\ntxt:a\r\n"), "GET was answered with a verbatim string: \"=5\""},
        {BYTES(">2\r\n"), "GET was answered with a push message: \">2\""},
        {BYTES("|1\r\n"), "GET was answered with an attribute: \"|1\""},
        {BYTES("HTTP/1.1 400 Bad Request\r\n"),
         "GET was answered with what is not RESP: \"HTTP/1.1 400 Bad Request\""},
        {BYTES("\0\1"), "GET was answered with what is not RESP: \"\\x00\\x01\""},
        {BYTES("$-2\r\n"), "GET was answered with a wrong length: \"$-2\""},
        {BYTES("$-0\r\n"), "GET was answered with a wrong length: \"$-0\""},
        {BYTES("$-11\r\n"), "GET was answered with a wrong length: \"$-11\""},
        {BYTES("$--1\r\n"), "GET was answered with a wrong length: \"$--1\""},
        {BYTES("$+5\r\nhello\r\n"), "GET was answered with a wrong length: \"$+5\""},
        {BYTES("$\r\n"), "GET was answered with a wrong length: \"$\""},
        {BYTES("$ 5\r\nhello\r\n"), "GET was answered with a wrong length: \"$ 5\""},
        {BYTES("$5x\r\nhello\r\n"), "GET was answered with a wrong length: \"$5x\""},
        {BYTES("$5\nhello\r\n"), "GET was answered with a wrong length: \"$5\""},
        {BYTES("$5\rhello\r\n"), "GET was answered with a wrong length: \"$5\""},
        {BYTES("$?\r\n"), "GET was answered with a wrong length: \"$?\""},
        {BYTES("$99999999999\r\n"), "GET was answered with a wrong length: \"$99999999999\""},
        {BYTES("$18446744073709551615\r\n"),
         "GET was answered with a wrong length: \"$18446744073709551615\""},
        {BYTES("$9999999999\r\n"), "GET was answered with a value of 9999999999 bytes"},
        {BYTES("$1073741825\r\n"), "GET was answered with a value of 1073741825 bytes"},
        {BYTES("$1073741824\r\n"), "GET was answered with more than 1073741824 bytes"},
        {BYTES("$5\r\nhello!!"), "GET was answered with a value without a line end"},
        {BYTES("$5\r\nhello\r!"), "GET was answered with a value without a line end"},
        {BYTES("_!\r\n"), "GET was answered with a wrong length: \"_!\""},
        {BYTES("!-1\r\n"), "GET was answered with a wrong length: \"!-1\""},
    };
    struct feed f = feed_of(REQUEST_GET, 1);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        check_malformed(&f, cases[i].bytes, cases[i].text);
    feed_done(&f);
}

static void test_malformed_others(void **state)
{
    (void)state;
    static const struct {
        enum request_kind kind;
        size_t count;
        struct tarn_bytes bytes;
        const char *text;
    } cases[] = {
        {REQUEST_GET, 3, BYTES("$1\r\na\r\n"), "MGET was answered with a bulk string: \"$1\""},
        {REQUEST_GET, 3, BYTES("_\r\n"), "MGET was answered with a null: \"_\""},
        {REQUEST_GET, 3, BYTES("*-1\r\n"), "MGET was answered with a wrong length: \"*-1\""},
        {REQUEST_GET, 3, BYTES("*2\r\n_\r\n_\r\n"), "MGET of 3 keys was answered with 2 values"},
        {REQUEST_GET, 3, BYTES("*4\r\n"), "MGET of 3 keys was answered with 4 values"},
        {REQUEST_GET, 3, BYTES("*9999999999\r\n"),
         "MGET of 3 keys was answered with 9999999999 values"},
        {REQUEST_GET, 3, BYTES("*3\r\n_\r\n:1\r\n"), "MGET was answered with an integer: \":1\""},
        {REQUEST_GET, 3, BYTES("*3\r\n$1073741810\r\n"),
         "MGET was answered with more than 1073741824 bytes"},
        {REQUEST_PUT, 1, BYTES("$2\r\nOK\r\n"),
         "SET or MSET was answered with a bulk string: \"$2\""},
        {REQUEST_PUT, 1, BYTES("_\r\n"), "SET or MSET was answered with a null: \"_\""},
        {REQUEST_HELLO, 1, BYTES("*0\r\n"), "AUTH or PING was answered with an array: \"*0\""},
        {REQUEST_SCAN, 1, BYTES("+OK\r\n"), "SCAN was answered with a simple string: \"+OK\""},
        {REQUEST_SCAN, 1, BYTES("*3\r\n"), "SCAN was answered with 3 parts, not 2"},
        {REQUEST_SCAN, 1, BYTES("*2\r\n:0\r\n"), "SCAN was answered with an integer: \":0\""},
        {REQUEST_SCAN, 1, BYTES("*2\r\n!1\r\n0\r\n"), "SCAN was answered with an error: \"!1\""},
        {REQUEST_SCAN, 1, BYTES("*2\r\n$-1\r\n"), "SCAN was answered with a wrong length: \"$-1\""},
        {REQUEST_SCAN, 1, BYTES("*2\r\n$2\r\nno\r\n"),
         "SCAN was answered with a cursor that is no number: \"no\""},
        {REQUEST_SCAN, 1, BYTES("*2\r\n$0\r\n\r\n"),
         "SCAN was answered with a cursor that is no number: \"\""},
        {REQUEST_SCAN, 1, BYTES("*2\r\n$1\r\n0\r\n*1000001\r\n"),
         "SCAN was answered with 1000001 keys"},
        {REQUEST_SCAN, 1, BYTES("*2\r\n$1\r\n0\r\n*1\r\n$-1\r\n"),
         "SCAN was answered with a wrong length: \"$-1\""},
        {REQUEST_SCAN, 1, BYTES("*2\r\n$1\r\n0\r\n*1\r\n-ERR x\r\n"),
         "SCAN was answered with an error: \"-ERR x\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct feed f = feed_of(cases[i].kind, cases[i].count);
        check_malformed(&f, cases[i].bytes, cases[i].text);
        feed_done(&f);
    }
}

/* The longest line there may be, and one byte more. */
static void test_long_lines(void **state)
{
    (void)state;
    static char line[PROTOCOL_LINE_BYTES_MAX + 4];
    struct feed f = feed_of(REQUEST_PUT, 1);
    memset(line, 'x', sizeof line);
    line[0] = '-';
    assert_int_equal(feed_once(&f, line, PROTOCOL_LINE_BYTES_MAX), PROTOCOL_INCOMPLETE);
    assert_int_equal(feed_once(&f, line, PROTOCOL_LINE_BYTES_MAX + 1), PROTOCOL_MALFORMED);
    check_text(f.reply.error_text, "a line of more than 65536 bytes");
    memcpy(line + PROTOCOL_LINE_BYTES_MAX, "\r\n", 2); /* one too long */
    assert_int_equal(feed_all(&f, line, PROTOCOL_LINE_BYTES_MAX + 2, 997), PROTOCOL_MALFORMED);
    memcpy(line + PROTOCOL_LINE_BYTES_MAX - 1, "\r\n", 2);
    assert_int_equal(feed_all(&f, line, PROTOCOL_LINE_BYTES_MAX + 1, 997), PROTOCOL_COMPLETE);
    assert_int_equal(f.reply.error_text.size, PROTOCOL_LINE_BYTES_MAX - 2);
    feed_done(&f);
}

static void test_out_of_memory(void **state)
{
    (void)state;
    struct buffer keys = {0}, values = {0};
    buffer_append_text(&keys, "*2\r\n$1\r\n0\r\n*40\r\n");
    buffer_append_text(&values, "*40\r\n");
    for (int i = 0; i < 40; i++) {
        buffer_append_text(&keys, "$1\r\nk\r\n");
        buffer_append_text(&values, "$1\r\nk\r\n");
    }
    check_nomem(&protocol_resp, REQUEST_GET, NULL, 1, BYTES("$5\r\nhello\r\n"));
    check_nomem(&protocol_resp, REQUEST_GET, NULL, 40, buffer_view(&values));
    check_nomem(&protocol_resp, REQUEST_SCAN, NULL, 1, buffer_view(&keys));
    buffer_done(&keys);
    buffer_done(&values);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_hello),
        cmocka_unit_test(test_check),
        cmocka_unit_test(test_keys_allowed),
        cmocka_unit_test(test_sizes_as_the_server_reads_them),
        cmocka_unit_test(test_many_keys),
        cmocka_unit_test(test_room),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_several_values),
        cmocka_unit_test(test_other_replies),
        cmocka_unit_test(test_scans),
        cmocka_unit_test(test_pipeline),
        cmocka_unit_test(test_bytes_needed),
        cmocka_unit_test(test_malformed_values),
        cmocka_unit_test(test_malformed_others),
        cmocka_unit_test(test_long_lines),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
