/* Goal: requests of memcached's text protocol are what it says, byte by byte; values are put at
 * the places of the keys they name; answers are taken from any number of pieces, within their
 * bytes; what is no reply to the request is refused with a text that says what came.
 * Method: golden bytes; every answer cut at every byte, ending at an unreadable page; batches with
 * all patterns of missing keys; a table of malformed answers; each allocation failed once. */
#include "bench/protocol.h"

#include "lib/test.h"

#include "lib/protocol_check.h"

static const struct protocol_peer peer;
static const struct tarn_bytes keys[] = {{"a", 1}, {"bb", 2}, {"a", 1}, {"ccc", 3}};

/* --- requests --- */

static void test_requests(void **state)
{
    (void)state;
    static const struct tarn_bytes value = {"x\r\ny", 4}, empty = {NULL, 0};
    const struct protocol *p = &protocol_memcached;
    struct buffer out = {0};
    assert_int_equal(p->hello(&peer, &out), 1);
    check_sent(&out, BYTES("version\r\n"));
    p->get(&peer, keys, 1, &out);
    check_sent(&out, BYTES("get a\r\n"));
    p->get(&peer, keys, 4, &out);
    check_sent(&out, BYTES("get a bb a ccc\r\n"));
    p->put(&peer, keys + 1, &value, 1, &out);
    check_sent(&out, BYTES("set bb 0 0 4\r\nx\r\ny\r\n"));
    p->put(&peer, keys + 1, &empty, 1, &out);
    check_sent(&out, BYTES("set bb 0 0 0\r\n\r\n"));
    buffer_done(&out);
}

static void test_longest(void **state)
{
    (void)state;
    static char block[1u << 20];
    struct tarn_bytes key = {block, 250}, value = {block, sizeof block};
    struct buffer out = {0}, expected = {0};
    memset(block, 'k', sizeof block);
    buffer_printf(&expected, "set %.250s 0 0 1048576\r\n", block);
    buffer_append(&expected, value.data, value.size);
    buffer_append_text(&expected, "\r\n");
    protocol_memcached.put(&peer, &key, &value, 1, &out);
    check_sent(&out, buffer_view(&expected));
    buffer_done(&expected);
    buffer_done(&out);
}

static void test_room(void **state)
{
    (void)state;
    static char block[600];
    struct tarn_bytes value = {block, 600};
    CHECK_ROOM(protocol_memcached.get(&peer, keys, 4, &out));
    CHECK_ROOM(protocol_memcached.put(&peer, keys, &value, 1, &out));
    CHECK_ROOM(protocol_memcached.put(&peer, keys, keys, 1, &out));
    CHECK_ROOM(protocol_memcached.hello(&peer, &out));
}

static void test_check(void **state)
{
    (void)state;
    static const struct protocol_peer empty = {.password = ""}, secret = {.password = "x"};
    struct tarn_error error;
    assert_int_equal(protocol_memcached.check(&peer, &error), TARN_OK);
    assert_int_equal(protocol_memcached.check(&empty, &error), TARN_OK);
    assert_int_equal(protocol_memcached.check(&secret, &error), TARN_INVALID);
    assert_string_equal(error.text, "memcached's text protocol has no password");
}

static void test_keys_allowed(void **state)
{
    (void)state;
    char key[251];
    memset(key, 'k', sizeof key);
    assert_true(protocol_key_allowed(&protocol_memcached, (struct tarn_bytes){key, 250}));
    assert_false(protocol_key_allowed(&protocol_memcached, (struct tarn_bytes){key, 251}));
    assert_false(protocol_key_allowed(&protocol_memcached, (struct tarn_bytes){NULL, 0}));
    for (int c = 0; c < 256; c++) {
        bool allowed = c > 0x20 && c != 0x7f;
        key[9] = (char)c;
        assert_int_equal(protocol_key_allowed(&protocol_memcached, (struct tarn_bytes){key, 10}),
                         allowed);
    }
}

/* --- replies --- */

static struct feed feed_of(enum request_kind kind, size_t count)
{
    struct feed f;
    feed_init(&f, &protocol_memcached, kind, count > 1 ? keys : NULL, count, 128u << 10);
    return f;
}

static void check_value(struct feed *f, struct tarn_bytes bytes, struct tarn_bytes value)
{
    check_complete(f, bytes);
    assert_false(f->reply.error || f->reply.closes);
    assert_true((f->reply.values[0].data != NULL) == (value.data != NULL));
    check_bytes(f->reply.values[0], value);
}

static void test_one_value(void **state)
{
    (void)state;
    static const struct tarn_bytes missing = {NULL, 0};
    struct feed f = feed_of(REQUEST_GET, 1);
    check_value(&f, BYTES("VALUE a 0 5\r\nhello\r\nEND\r\n"), BYTES("hello"));
    check_value(&f, BYTES("VALUE a 4294967295 0\r\n\r\nEND\r\n"), BYTES(""));
    check_value(&f, BYTES("VALUE a 0 7 123456\r\nEND\r\n\0\n\r\nEND\r\n"), BYTES("END\r\n\0\n"));
    check_value(&f, BYTES("END\r\n"), missing);
    feed_done(&f);
}

/* Any of four keys may be missing; the first and the third are the same key, so that one of them
 * alone is taken for the first. */
static void test_several_values(void **state)
{
    (void)state;
    struct feed f = feed_of(REQUEST_GET, 4);
    for (unsigned present = 0; present < 16; present++) {
        struct buffer answer = {0};
        for (unsigned i = 0; i < 4; i++) {
            if (present >> i & 1)
                buffer_printf(&answer, "VALUE %s 0 %zu\r\n%s\r\n", (const char *)keys[i].data,
                              keys[i].size, (const char *)keys[i].data);
        }
        buffer_append_text(&answer, "END\r\n");
        check_complete(&f, buffer_view(&answer));
        unsigned expected = (present & 5) == 4 && !(present & 2) ? (present ^ 5) : present;
        for (unsigned i = 0; i < 4; i++) {
            assert_int_equal(f.reply.values[i].data != NULL, expected >> i & 1);
            if (expected >> i & 1)
                check_bytes(f.reply.values[i], keys[i]);
        }
        buffer_done(&answer);
    }
    feed_done(&f);
}

static void test_other_replies(void **state)
{
    (void)state;
    struct feed f = feed_of(REQUEST_HELLO, 1);
    check_complete(&f, BYTES("VERSION 1.6.18\r\n"));
    assert_false(f.reply.error);
    feed_done(&f);
    f = feed_of(REQUEST_PUT, 1);
    check_complete(&f, BYTES("STORED\r\n"));
    assert_false(f.reply.error);
    check_refused(&f, BYTES("NOT_STORED\r\n"), "NOT_STORED");
    feed_done(&f);
}

static void test_errors(void **state)
{
    (void)state;
    static const struct {
        enum request_kind kind;
        size_t count;
    } requests[] = {{REQUEST_HELLO, 1}, {REQUEST_GET, 1}, {REQUEST_GET, 4}, {REQUEST_PUT, 1}};
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        struct feed f = feed_of(requests[i].kind, requests[i].count);
        check_refused(&f, BYTES("ERROR\r\n"), "ERROR");
        check_refused(&f, BYTES("ERROR Too many open connections\r\n"),
                      "ERROR Too many open connections");
        check_refused(&f, BYTES("CLIENT_ERROR bad data chunk\r\n"), "CLIENT_ERROR bad data chunk");
        check_refused(&f, BYTES("SERVER_ERROR object too large for cache\r\n"),
                      "SERVER_ERROR object too large for cache");
        feed_done(&f);
    }
    /* instead of the rest of a reply */
    struct feed f = feed_of(REQUEST_GET, 4);
    check_refused(&f, BYTES("VALUE bb 0 1\r\nx\r\nSERVER_ERROR out of memory\r\n"),
                  "SERVER_ERROR out of memory");
    check_complete(&f, BYTES("END\r\n"));
    assert_false(f.reply.error); /* the one before's */
    feed_done(&f);
}

static void test_bytes_needed(void **state)
{
    (void)state;
    struct feed f = feed_of(REQUEST_GET, 1);
    check_needed(&f, BYTES("VALUE a 0 1000\r\nab"), 16 + 1000 + 2 + 5);
    check_needed(&f, BYTES("VALUE a 0 2\r\nab\r"), 13 + 2 + 2 + 5);
    feed_done(&f);
}

static void test_malformed(void **state)
{
    (void)state;
    static const struct {
        enum request_kind kind;
        size_t count;
        struct tarn_bytes bytes;
        const char *text;
    } cases[] = {
        {REQUEST_GET, 1, BYTES("HTTP/1.1 400 Bad Request\r\n"),
         "get was answered with \"HTTP/1.1 400 Bad Request\""},
        {REQUEST_GET, 1, BYTES("\r\n"), "get was answered with \"\""},
        {REQUEST_GET, 1, BYTES("END\n"), "a line that ends without a carriage return"},
        {REQUEST_GET, 1, BYTES("END \r\n"), "get was answered with \"END \""},
        {REQUEST_GET, 1, BYTES("STORED\r\n"), "get was answered with \"STORED\""},
        {REQUEST_GET, 1, BYTES("ERRORS\r\n"), "get was answered with \"ERRORS\""},
        {REQUEST_GET, 1, BYTES("VALUE\r\n"), "get was answered with \"VALUE\""},
        {REQUEST_GET, 1, BYTES("VALUE  0 1\r\nx\r\n"), "get was answered with \"VALUE  0 1\""},
        {REQUEST_GET, 1, BYTES("VALUE a 0\r\n"), "get was answered with \"VALUE a 0\""},
        {REQUEST_GET, 1, BYTES("VALUE a x 1\r\n"), "get was answered with \"VALUE a x 1\""},
        {REQUEST_GET, 1, BYTES("VALUE a 0 -1\r\n"), "get was answered with \"VALUE a 0 -1\""},
        {REQUEST_GET, 1, BYTES("VALUE a 0 99999999999999999999\r\n"),
         "get was answered with \"VALUE a 0 99999999999999999999\""},
        {REQUEST_GET, 1, BYTES("VALUE a 0 18446744073709551615\r\n"),
         "get was answered with a value of 18446744073709551615 bytes"},
        {REQUEST_GET, 1, BYTES("VALUE a 0 1073741824\r\n"),
         "an answer of more than 1073741824 bytes"},
        {REQUEST_GET, 1, BYTES("VALUE a 0 1\r\nxyz\r\nEND\r\n"),
         "get was answered with a value without a line end"},
        {REQUEST_GET, 1, BYTES("VALUE a 0 1\r\nx\r\nVALUE a 0 1\r\nx\r\nEND\r\n"),
         "get was answered with a key that was not asked for: \"a\""},
        {REQUEST_GET, 4, BYTES("VALUE zz 0 1\r\nx\r\nEND\r\n"),
         "get was answered with a key that was not asked for: \"zz\""},
        {REQUEST_GET, 4, BYTES("VALUE ccc 0 1\r\nx\r\nVALUE a 0 1\r\nx\r\nEND\r\n"),
         "get was answered with a key that was not asked for: \"a\""},
        {REQUEST_PUT, 1, BYTES("END\r\n"), "set was answered with \"END\""},
        {REQUEST_PUT, 1, BYTES("STORED \r\n"), "set was answered with \"STORED \""},
        {REQUEST_HELLO, 1, BYTES("STORED\r\n"), "version was answered with \"STORED\""},
        {REQUEST_HELLO, 1, BYTES("NOT_STORED\r\n"), "version was answered with \"NOT_STORED\""},
        {REQUEST_HELLO, 1, BYTES("VERSION\r\n"), "version was answered with \"VERSION\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct feed f = feed_of(cases[i].kind, cases[i].count);
        check_malformed(&f, cases[i].bytes, cases[i].text);
        feed_done(&f);
    }
}

static void test_long_line(void **state)
{
    (void)state;
    static char line[PROTOCOL_LINE_BYTES_MAX];
    struct feed f = feed_of(REQUEST_GET, 1);
    memset(line, 'x', sizeof line);
    assert_int_equal(feed_once(&f, line, sizeof line - 1), PROTOCOL_INCOMPLETE);
    assert_int_equal(feed_once(&f, line, sizeof line), PROTOCOL_MALFORMED);
    check_text(f.reply.error_text, "a line of more than 65536 bytes");
    feed_done(&f);
}

static void test_out_of_memory(void **state)
{
    (void)state;
    struct tarn_bytes many[40];
    for (size_t i = 0; i < 40; i++)
        many[i] = keys[i % 2];
    many[39] = keys[3];
    check_nomem(&protocol_memcached, REQUEST_GET, NULL, 1,
                BYTES("VALUE a 0 5\r\nhello\r\nEND\r\n"));
    check_nomem(&protocol_memcached, REQUEST_GET, many, 40, BYTES("END\r\n"));
    check_nomem(&protocol_memcached, REQUEST_GET, many, 40, BYTES("VALUE ccc 0 1\r\nx\r\nEND\r\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests),       cmocka_unit_test(test_longest),
        cmocka_unit_test(test_room),           cmocka_unit_test(test_check),
        cmocka_unit_test(test_keys_allowed),   cmocka_unit_test(test_one_value),
        cmocka_unit_test(test_several_values), cmocka_unit_test(test_other_replies),
        cmocka_unit_test(test_errors),         cmocka_unit_test(test_bytes_needed),
        cmocka_unit_test(test_malformed),      cmocka_unit_test(test_long_line),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
