/* Goal: HTTP requests are what the protocol says, byte by byte, with a key that every server
 * decodes the same; answers with Content-Length and in chunks are taken from any number of pieces,
 * within their bytes, refusals with their status line; what cannot be measured is refused with a
 * reason. Method: golden bytes; every answer cut at every byte, ending at an unreadable page; a
 * table of malformed answers; the bounds of a header; each allocation failed once. */
#include "bench/protocol.h"

#include "lib/test.h"

#include "lib/protocol_check.h"

#define OK "HTTP/1.1 200 OK\r\n"

static const struct protocol_peer peer = {
    .host = "127.0.0.1:8379", .path_before = "/kv/", .path_after = ""};

/* --- requests --- */

static void test_requests(void **state)
{
    (void)state;
    static const struct protocol_peer other = {
        .host = "h", .path_before = "/get?k=", .path_after = "&raw=1", .password = "se cret"};
    static const struct tarn_bytes key = {"user7", 5}, value = {"a\r\nb", 4}, empty = {NULL, 0};
    struct buffer out = {0};
    protocol_http.get(&peer, &key, 1, &out);
    check_sent(&out, BYTES("GET /kv/user7 HTTP/1.1\r\nHost: 127.0.0.1:8379\r\n\r\n"));
    protocol_http.get(&other, &key, 1, &out);
    check_sent(&out, BYTES("GET /get?k=user7&raw=1 HTTP/1.1\r\nHost: h\r\n"
                           "Authorization: Bearer se cret\r\n\r\n"));
    protocol_http.get(&peer, &empty, 1, &out);
    check_sent(&out, BYTES("GET /kv/ HTTP/1.1\r\nHost: 127.0.0.1:8379\r\n\r\n"));
    protocol_http.put(&peer, &key, &value, 1, &out);
    check_sent(&out, BYTES("PUT /kv/user7 HTTP/1.1\r\nHost: 127.0.0.1:8379\r\n"
                           "Content-Length: 4\r\n\r\na\r\nb"));
    protocol_http.put(&other, &key, &empty, 1, &out);
    check_sent(&out, BYTES("PUT /get?k=user7&raw=1 HTTP/1.1\r\nHost: h\r\n"
                           "Authorization: Bearer se cret\r\nContent-Length: 0\r\n\r\n"));
    assert_int_equal(protocol_http.hello(&other, &out), 0);
    check_sent(&out, BYTES(""));
    buffer_done(&out);
}

/* The target of a GET of this key, between "GET /kv/" and " HTTP". */
static void check_encoded(struct tarn_bytes key, const char *expected)
{
    static const char before[] = "GET /kv/", after[] = " HTTP/1.1\r\nHost: 127.0.0.1:8379\r\n\r\n";
    struct buffer out = {0}, wanted = {0};
    protocol_http.get(&peer, &key, 1, &out);
    buffer_append_text(&wanted, before);
    buffer_append_text(&wanted, expected);
    buffer_append_text(&wanted, after);
    check_sent(&out, buffer_view(&wanted));
    buffer_done(&wanted);
    buffer_done(&out);
}

static void test_keys_are_encoded(void **state)
{
    (void)state;
    check_encoded(BYTES("azAZ09-._~"), "azAZ09-._~");
    check_encoded(BYTES("a/b?c#d%e&f=g+h i"), "a%2Fb%3Fc%23d%25e%26f%3Dg%2Bh%20i");
    check_encoded(BYTES("\0\r\n\x7f\x80\xff"), "%00%0D%0A%7F%80%FF");
    check_encoded(BYTES("@[`{/:!*'()"), "%40%5B%60%7B%2F%3A%21%2A%27%28%29");
    check_encoded(BYTES("."), "%2E");
    check_encoded(BYTES(".."), "%2E%2E");
    check_encoded(BYTES("..."), "...");
    check_encoded(BYTES(".a"), ".a");
}

/* The longest key, all of it encoded, still fits what was reserved. */
static void test_longest_key(void **state)
{
    (void)state;
    static char key[TARN_KEY_BYTES_MAX], expected[3 * TARN_KEY_BYTES_MAX + 1];
    memset(key, '/', sizeof key);
    for (size_t i = 0; i < sizeof key; i++)
        memcpy(expected + 3 * i, "%2F", 3);
    check_encoded((struct tarn_bytes){key, sizeof key}, expected);
}

static void test_room(void **state)
{
    (void)state;
    static const char block[600];
    const struct tarn_bytes key = {block, 100}, value = {block, 600};
    struct protocol_peer secret = peer;
    secret.password = "a password that is longer than the slack";
    CHECK_ROOM(protocol_http.get(&peer, &key, 1, &out));
    CHECK_ROOM(protocol_http.get(&secret, &key, 1, &out));
    CHECK_ROOM(protocol_http.put(&peer, &key, &value, 1, &out));
}

static void check_peer(struct protocol_peer wrong, const char *text)
{
    struct tarn_error error = {0};
    assert_int_equal(protocol_http.check(&wrong, &error), text ? TARN_INVALID : TARN_OK);
    if (text)
        assert_string_equal(error.text, text);
}

static void test_check(void **state)
{
    (void)state;
    static const char url[] =
        "blanks and control characters in a URL must be written as %20 and the like";
    struct protocol_peer p = peer;
    check_peer(p, NULL);
    p.password = "with blanks \xc3\xa4";
    check_peer(p, NULL);
    p.password = "a\r\nX: y";
    check_peer(p, "a password with control characters cannot go over HTTP");
    p = peer, p.path_before = "kv/";
    check_peer(p, "the path of a URL must start with '/'");
    p = peer, p.path_before = "";
    check_peer(p, "the path of a URL must start with '/'");
    p = peer, p.path_before = "/a b";
    check_peer(p, url);
    p = peer, p.path_after = "\x7f";
    check_peer(p, url);
    p = peer, p.path_after = "\n";
    check_peer(p, url);
    p = peer, p.host = "a\r\nb";
    check_peer(p, "a host with blanks or control characters cannot go over HTTP");
}

/* --- replies --- */

static struct feed feed_of(enum request_kind kind)
{
    struct feed f;
    feed_init(&f, &protocol_http, kind, NULL, 1, 2 * PROTOCOL_LINE_BYTES_MAX + 4096);
    return f;
}

static void check_value(struct feed *f, struct tarn_bytes bytes, const char *value, bool closes)
{
    check_complete(f, bytes);
    assert_false(f->reply.error);
    assert_int_equal(f->reply.closes, closes);
    assert_non_null(f->reply.values[0].data);
    check_text(f->reply.values[0], value);
}

static void test_values(void **state)
{
    (void)state;
    struct feed f = feed_of(REQUEST_GET);
    check_value(&f, BYTES(OK "Content-Length: 5\r\n\r\nhello"), "hello", false);
    check_value(&f, BYTES(OK "Content-Length: 0\r\n\r\n"), "", false);
    check_value(&f, BYTES(OK "A: b\r\nCONTENT-length:\t 0005 \t\r\nC:\r\n\r\nhello"), "hello",
                false);
    check_value(&f, BYTES(OK "Content-Length: 4\r\nContent-Length: 4\r\n\r\n\r\n\r\n"), "\r\n\r\n",
                false);
    check_value(&f, BYTES("HTTP/1.1 200\r\nContent-Length: 1\r\n\r\nx"), "x", false);
    check_value(&f, BYTES("HTTP/1.1 200 \r\nContent-Length: 1\r\n\r\nx"), "x", false);
    check_value(&f, BYTES("HTTP/1.1 203 Non-Authoritative\r\nContent-Length: 1\r\n\r\nx"), "x",
                false);
    check_value(&f, BYTES("HTTP/1.1 204 No Content\r\n\r\n"), "", false);
    check_value(&f, BYTES("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"), "", false);
    feed_done(&f);
}

static void test_closing(void **state)
{
    (void)state;
    struct feed f = feed_of(REQUEST_GET);
    check_value(&f, BYTES(OK "Connection: close\r\nContent-Length: 1\r\n\r\nx"), "x", true);
    check_value(&f, BYTES(OK "connection: a ,CLOSE , b\r\nContent-Length: 1\r\n\r\nx"), "x", true);
    check_value(&f, BYTES(OK "Connection: closed, ,\r\nContent-Length: 1\r\n\r\nx"), "x", false);
    check_value(&f, BYTES(OK "Connection:\r\nContent-Length: 1\r\n\r\nx"), "x", false);
    check_value(&f, BYTES("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx"), "x", true);
    check_value(&f,
                BYTES("HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 1\r\n\r\nx"),
                "x", false);
    check_value(&f, BYTES(OK "Content-Length: 1\r\n\r\nx"), "x", false); /* not the one before's */
    feed_done(&f);
}

static void test_chunks(void **state)
{
    (void)state;
    struct feed f = feed_of(REQUEST_GET);
    check_value(&f, BYTES(OK "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), "", false);
    check_value(&f, BYTES(OK "Transfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"), "hello",
                false);
    check_value(&f,
                BYTES(OK "transfer-encoding: chunked\r\nConnection: close\r\n\r\n"
                         "5\r\nhello\r\n0002;a=\"b\"\r\n, \r\nB \r\nworld, etc.\r\n1\r\n\n\r\n"
                         "000;last\r\n\r\n"),
                "hello, world, etc.\n", true);
    /* more gathered than before, and less: nothing is left of the one before */
    check_value(&f, BYTES(OK "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n0\r\n\r\n"),
                "ab", false);
    check_value(&f,
                BYTES(OK "Transfer-Encoding: chunked\r\n\r\n3\r\n0\r\n\r\n0\r\n"
                         "X-Sum: 1\r\n folded\r\n\r\n"),
                "0\r\n", false); /* a trailer is passed over */
    check_value(&f,
                BYTES(OK "Content-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\n"
                         "1\r\na\r\n0\r\n\r\n"),
                "a", false);
    feed_done(&f);
}

static void test_missing_and_interim(void **state)
{
    (void)state;
    static const struct tarn_bytes missing[] = {
        BYTES("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
        BYTES("HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno\n"),
        BYTES("HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"),
    };
    struct feed f = feed_of(REQUEST_GET);
    for (size_t i = 0; i < 3; i++) {
        check_complete(&f, missing[i]);
        assert_false(f.reply.error);
        assert_null(f.reply.values[0].data);
        assert_int_equal(f.reply.closes, i == 1);
    }
    check_value(&f,
                BYTES("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n"
                      "Content-Length: 7\r\n\r\n" OK "Content-Length: 2\r\n\r\nab"),
                "ab", false);
    feed_done(&f);
}

static void test_errors(void **state)
{
    (void)state;
    struct feed f = feed_of(REQUEST_GET);
    check_refused(&f, BYTES("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\nno"),
                  "HTTP 503 Service Unavailable");
    check_refused(&f, BYTES("HTTP/1.0 401 \r\nContent-Length: 0\r\n\r\n"), "HTTP 401 ");
    assert_true(f.reply.closes);
    check_refused(&f, BYTES("HTTP/1.1 500\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
                  "HTTP 500");
    assert_false(f.reply.closes);
    check_refused(&f, BYTES("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"),
                  "HTTP 304 Not Modified");
    check_complete(&f, BYTES("HTTP/1.1 302 a\0b\r\nContent-Length: 0\r\n\r\n"));
    check_bytes(f.reply.error_text, BYTES("HTTP 302 a\0b"));
    feed_done(&f);
    f = feed_of(REQUEST_PUT);
    check_refused(&f, BYTES("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
                  "HTTP 404 Not Found");
    check_refused(&f, BYTES("HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"),
                  "HTTP 202 Accepted");
    feed_done(&f);
}

static void test_error_texts_are_cut(void **state)
{
    (void)state;
    struct buffer answer = {0};
    struct feed f = feed_of(REQUEST_GET);
    buffer_append_text(&answer, "HTTP/1.1 500 ");
    for (int i = 0; i < 500; i++)
        buffer_append_byte(&answer, 'x');
    buffer_append_text(&answer, "\r\nContent-Length: 0\r\n\r\n");
    check_complete(&f, buffer_view(&answer));
    assert_true(f.reply.error);
    assert_int_equal(f.reply.error_text.size, PROTOCOL_TEXT_BYTES_MAX - 1);
    assert_memory_equal(f.reply.error_text.data, "HTTP 500 xxx", 12);
    assert_int_equal(f.reply.text[PROTOCOL_TEXT_BYTES_MAX - 1], 0);
    buffer_done(&answer);
    feed_done(&f);
}

static void test_put_answers(void **state)
{
    (void)state;
    static const struct tarn_bytes answers[] = {
        BYTES(OK "Content-Length: 2\r\n\r\nOK"),
        BYTES("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"),
        BYTES("HTTP/1.1 204 No Content\r\n\r\n"),
    };
    struct feed f = feed_of(REQUEST_PUT);
    for (size_t i = 0; i < 3; i++) {
        check_complete(&f, answers[i]);
        assert_false(f.reply.error || f.reply.closes);
    }
    feed_done(&f);
}

/* What is announced is asked for at once. */
static void test_bytes_needed(void **state)
{
    (void)state;
    struct feed f = feed_of(REQUEST_GET);
    check_needed(&f, BYTES(OK "Content-Length: 1000\r\n\r\nab"), 17 + 24 + 1000);
    check_needed(&f, BYTES(OK "Transfer-Encoding: chunked\r\n\r\n3E8\r\nab"),
                 17 + 30 + 5 + 1000 + 2 + 5);
    feed_done(&f);
}

static void test_malformed(void **state)
{
    (void)state;
    static const struct {
        struct tarn_bytes bytes;
        const char *text;
    } cases[] = {
        {BYTES("-ERR unknown\r\n"), "not an answer of HTTP/1: \"-ERR unknown\""},
        {BYTES("HTTP/2 200 OK\r\n"), "not an answer of HTTP/1: \"HTTP/2 200 OK\""},
        {BYTES("HTTP/1.2 200 OK\r\n"), "not an answer of HTTP/1: \"HTTP/1.2 200 OK\""},
        {BYTES("HTTP/1.1 20 OK\r\n"), "not an answer of HTTP/1: \"HTTP/1.1 20 OK\""},
        {BYTES("HTTP/1.1 2000 OK\r\n"), "not an answer of HTTP/1: \"HTTP/1.1 2000 OK\""},
        {BYTES("HTTP/1.1 099 OK\r\n"), "not an answer of HTTP/1: \"HTTP/1.1 099 OK\""},
        {BYTES("HTTP/1.1  200 OK\r\n"), "not an answer of HTTP/1: \"HTTP/1.1  200 OK\""},
        {BYTES("HTTP/1.1 20\r\n"), "not an answer of HTTP/1: \"HTTP/1.1 20\""},
        {BYTES("\r\n"), "not an answer of HTTP/1: \"\""},
        {BYTES("HTTP/1.1 200 OK\n"), "a line that ends without a carriage return"},
        {BYTES(OK "Content-Length: -1\r\n"), "a wrong length: \"Content-Length: -1\""},
        {BYTES(OK "Content-Length:\r\n"), "a wrong length: \"Content-Length:\""},
        {BYTES(OK "Content-Length: 1 1\r\n"), "a wrong length: \"Content-Length: 1 1\""},
        {BYTES(OK "Content-Length: 0x1\r\n"), "a wrong length: \"Content-Length: 0x1\""},
        {BYTES(OK "Content-Length: 1073741825\r\n"),
         "a wrong length: \"Content-Length: 1073741825\""},
        {BYTES(OK "Content-Length: 18446744073709551617\r\n"),
         "a wrong length: \"Content-Length: 18446744073709551617\""},
        {BYTES(OK "Content-Length: 1073741824\r\n\r\n"), "an answer of more than 1073741824 bytes"},
        {BYTES(OK "Content-Length: 1\r\nContent-Length: 2\r\n"),
         "a wrong length: \"Content-Length: 2\""},
        {BYTES(OK "no field\r\n"), "not a header field: \"no field\""},
        {BYTES(OK ": x\r\n"), "not a header field: \": x\""},
        {BYTES(OK "A: b\r\n c: d\r\n"), "not a header field: \" c: d\""},
        {BYTES(OK "Transfer-Encoding: gzip, chunked\r\n"),
         "only chunks are understood: \"Transfer-Encoding: gzip, chunked\""},
        {BYTES(OK "\r\n"), "answers without Content-Length cannot be measured"},
        {BYTES(OK "Connection: close\r\n\r\nhello"),
         "answers without Content-Length cannot be measured"},
        {BYTES("HTTP/1.1 500 X\r\nConnection: close\r\n\r\n"),
         "answers without Content-Length cannot be measured"},
        {BYTES("HTTP/1.1 101 Switching Protocols\r\n\r\n"),
         "the server switched to another protocol"},
        {BYTES(OK "Transfer-Encoding: chunked\r\n\r\n\r\n"), "a wrong chunk size: \"\""},
        {BYTES(OK "Transfer-Encoding: chunked\r\n\r\n-1\r\n"), "a wrong chunk size: \"-1\""},
        {BYTES(OK "Transfer-Encoding: chunked\r\n\r\n1g\r\n"), "a wrong chunk size: \"1g\""},
        {BYTES(OK "Transfer-Encoding: chunked\r\n\r\n40000001\r\n"),
         "a wrong chunk size: \"40000001\""},
        {BYTES(OK "Transfer-Encoding: chunked\r\n\r\n10000000000000001\r\n"),
         "a wrong chunk size: \"10000000000000001\""},
        {BYTES(OK "Transfer-Encoding: chunked\r\n\r\n40000000\r\n"),
         "an answer of more than 1073741824 bytes"},
        {BYTES(OK "Transfer-Encoding: chunked\r\n\r\n2\r\nabcd"), "a chunk without a line end"},
        {BYTES(OK "Transfer-Encoding: chunked\r\n\r\n2\r\nab\n0\r\n\r\n"),
         "a chunk without a line end"},
    };
    struct feed f = feed_of(REQUEST_GET);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        check_malformed(&f, cases[i].bytes, cases[i].text);
    feed_done(&f);
}

/* `start`, then lines of 100 bytes until there are `size` bytes, then `end`. */
static void make_long(struct buffer *out, const char *start, size_t size, const char *end)
{
    buffer_clear(out);
    buffer_append_text(out, start);
    while (out->size < size) {
        size_t left = size - out->size, line = left < 200 ? left : 100;
        buffer_append_text(out, "X:");
        for (size_t i = 4; i < line; i++)
            buffer_append_byte(out, 'x');
        buffer_append_text(out, "\r\n");
    }
    assert_int_equal(out->size, size);
    buffer_append_text(out, end);
}

/* The longest header there may be, and one byte more, in one answer, with interim answers before,
 * and as a trailer. */
static void test_long_headers(void **state)
{
    (void)state;
    static const struct {
        const char *start, *end;
        size_t uncounted; /* of start: not of this header */
    } cases[] = {
        {OK "Content-Length: 2\r\n", "\r\n", 0},
        {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n", "\r\n", 0},
        {OK "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n", "\r\n", 17 + 30 + 6 + 3},
    };
    struct feed f = feed_of(REQUEST_GET);
    struct buffer answer = {0};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t size = PROTOCOL_LINE_BYTES_MAX + cases[i].uncounted - 2;
        make_long(&answer, cases[i].start, size, cases[i].end);
        size_t header = answer.size;
        buffer_append_text(&answer, i == 0 ? "ab" : "");
        assert_int_equal(feed_all(&f, answer.data, answer.size, 499), PROTOCOL_COMPLETE);
        assert_int_equal(feed_once(&f, answer.data, header - 1), PROTOCOL_INCOMPLETE);
        make_long(&answer, cases[i].start, size + 1, cases[i].end);
        assert_int_equal(feed_all(&f, answer.data, answer.size, 499), PROTOCOL_MALFORMED);
        check_text(f.reply.error_text, "a header of more than 65536 bytes");
        assert_int_equal(feed_once(&f, answer.data, answer.size - 2), PROTOCOL_INCOMPLETE);
    }
    buffer_done(&answer);
    feed_done(&f);
}

static void test_out_of_memory(void **state)
{
    (void)state;
    check_nomem(&protocol_http, REQUEST_GET, NULL, 1, BYTES(OK "Content-Length: 1\r\n\r\nx"));
    check_nomem(&protocol_http, REQUEST_GET, NULL, 1,
                BYTES("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"));
    check_nomem(&protocol_http, REQUEST_GET, NULL, 1,
                BYTES(OK "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n0\r\n\r\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_keys_are_encoded),
        cmocka_unit_test(test_longest_key),
        cmocka_unit_test(test_room),
        cmocka_unit_test(test_check),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_closing),
        cmocka_unit_test(test_chunks),
        cmocka_unit_test(test_missing_and_interim),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_error_texts_are_cut),
        cmocka_unit_test(test_put_answers),
        cmocka_unit_test(test_bytes_needed),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_long_headers),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
