/* Goal: resp_parse() finds the same requests however the bytes are cut, reads nothing outside its
 * input, says Redis's words for each mistake, and keeps its limits.
 * Method: tables of inputs with their transcripts (lib/transcript.h: inputs end at a guard page and
 * move between calls), each delivered whole, byte by byte and cut at every point. */
#include "lib/test.h"

#include <stdio.h>

#include "lib/transcript.h"

#define INPUT_BYTES_MAX (200u << 10)

static const struct resp_limits usual = {
    .args_max = 1 << 20,
    .arg_bytes_max = SIZE_MAX,
    .request_bytes_max = 1ull << 30,
    .inline_bytes_max = 64 << 10,
};
static const struct resp_limits before_auth = {
    .args_max = 10,
    .arg_bytes_max = 16 << 10,
    .request_bytes_max = 1ull << 30,
    .inline_bytes_max = 64 << 10,
    .unauthenticated = true,
};

/* Deliver in pieces of `piece` bytes, the first of `first`. */
static void deliver(struct transcript *t, const struct resp_limits *limits, struct tarn_bytes data,
                    size_t first, size_t piece)
{
    const unsigned char *bytes = data.data;
    transcript_init(t, limits, INPUT_BYTES_MAX);
    transcript_feed(t, bytes, first);
    for (size_t at = first; at < data.size; at += piece)
        transcript_feed(t, bytes + at, piece < data.size - at ? piece : data.size - at);
}

static void expect_text(const struct transcript *t, const char *text)
{
    char got[1024];
    snprintf(got, sizeof got, "%.*s", (int)t->text.size, (const char *)t->text.data);
    assert_string_equal(got, text);
}

/* Every way of cutting gives the transcript. */
static void check(const struct resp_limits *limits, const void *data, size_t size, const char *text)
{
    struct tarn_bytes bytes = {data, size};
    struct transcript t;
    for (size_t first = 0; first <= size; first++) {
        deliver(&t, limits, bytes, first, size);
        expect_text(&t, text);
        transcript_done(&t);
    }
    deliver(&t, limits, bytes, 0, 1);
    expect_text(&t, text);
    transcript_done(&t);
}

#define CHECK(limits, input, text) check(limits, input, sizeof(input) - 1, text)

/* --- requests ----------------------------------------------------------------------------- */

static void test_arrays(void **state)
{
    (void)state;
    CHECK(&usual, "*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n", "request \"GET\" \"key\"\n");
    CHECK(&usual, "*1\r\n$4\r\nPING\r\n", "request \"PING\"\n");
    CHECK(&usual, "*2\r\n$3\r\nGET\r\n$0\r\n\r\n", "request \"GET\" \"\"\n");
    CHECK(&usual, "*2\r\n$4\r\nECHO\r\n$4\r\n\r\n\r\n\r\n", "request \"ECHO\" \"\\r\\n\\r\\n\"\n");
    CHECK(&usual, "*2\r\n$4\r\nECHO\r\n$3\r\na\0b\r\n", "request \"ECHO\" \"a\\x00b\"\n");
    CHECK(&usual, "*2\r\n$3\r\nGET\r\n$12\r\n123456789012\r\n",
          "request \"GET\" \"123456789012\"\n");
    /* more arguments than the caller's storage, and than the fast path takes */
    CHECK(&usual, "*4\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n$1\r\nd\r\n",
          "request \"a\" \"b\" \"c\" \"d\"\n");
    CHECK(&usual,
          "*11\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n$1\r\nd\r\n$1\r\ne\r\n$1\r\nf\r\n$1\r\ng\r\n"
          "$1\r\nh\r\n$1\r\ni\r\n$1\r\nj\r\n$1\r\nk\r\n",
          "request \"a\" \"b\" \"c\" \"d\" \"e\" \"f\" \"g\" \"h\" \"i\" \"j\" \"k\"\n");
    /* nothing to do */
    CHECK(&usual, "*0\r\n*-1\r\n*-10\r\n*1\r\n$4\r\nPING\r\n", "request \"PING\"\n");
    /* several after another, of all kinds */
    CHECK(&usual,
          "*2\r\n$3\r\nGET\r\n$1\r\na\r\n*2\r\n$3\r\nGET\r\n$2\r\nbb\r\nPING\r\n"
          "*4\r\n$4\r\nMGET\r\n$1\r\nx\r\n$1\r\ny\r\n$1\r\nz\r\n*1\r\n$4\r\nQUIT\r\n",
          "request \"GET\" \"a\"\nrequest \"GET\" \"bb\"\nrequest \"PING\"\n"
          "request \"MGET\" \"x\" \"y\" \"z\"\nrequest \"QUIT\"\n");
    /* incomplete ones give nothing */
    CHECK(&usual, "*2\r\n$3\r\nGET\r\n$3\r\nkey\r", "");
    CHECK(&usual, "*2\r\n$3\r\nGET\r\n", "");
    CHECK(&usual, "*", "");
}

static void test_inline(void **state)
{
    (void)state;
    CHECK(&usual, "GET key\r\n", "request \"GET\" \"key\"\n");
    CHECK(&usual, "GET key\n", "request \"GET\" \"key\"\n");
    CHECK(&usual, "  GET \t key  \r\n", "request \"GET\" \"key\"\n");
    CHECK(&usual, "\r\n\n   \r\nPING\r\n", "request \"PING\"\n");
    CHECK(&usual, "ECHO \"a b\"\r\n", "request \"ECHO\" \"a b\"\n");
    CHECK(&usual, "ECHO 'a b' \"\"\r\n", "request \"ECHO\" \"a b\" \"\"\n");
    CHECK(&usual, "ECHO \"\\n\\r\\t\\a\\b\\x41\\x4g\\q\\\"\"\r\n",
          "request \"ECHO\" \"\\n\\r\\t\\a\\bAx4gq\\\"\"\n");
    CHECK(&usual, "ECHO 'it\\'s \\n'\r\n", "request \"ECHO\" \"it's \\\\n\"\n");
    CHECK(&usual, "ECHO ab\"cd\" e\r\n", "request \"ECHO\" \"abcd\" \"e\"\n");
    CHECK(&usual, "a b c d e\r\n", "request \"a\" \"b\" \"c\" \"d\" \"e\"\n");
    CHECK(&usual, "GET a\0b\r\nPING\r\n", "request \"GET\" \"a\"\nrequest \"PING\"\n");
    CHECK(&usual, "GET a\rb\r\n", "request \"GET\" \"a\" \"b\"\n");
    CHECK(&usual, "PING", "");
}

/* --- mistakes ----------------------------------------------------------------------------- */

#define ERROR(text) "error Protocol error: " text "\n"

static void test_errors(void **state)
{
    (void)state;
    CHECK(&usual, "*a\r\n", ERROR("invalid multibulk length"));
    CHECK(&usual, "*\r\n", ERROR("invalid multibulk length"));
    CHECK(&usual, "*01\r\n", ERROR("invalid multibulk length"));
    CHECK(&usual, "*+1\r\n", ERROR("invalid multibulk length"));
    CHECK(&usual, "* 1\r\n", ERROR("invalid multibulk length"));
    CHECK(&usual, "*2147483648\r\n", ERROR("invalid multibulk length"));
    CHECK(&usual, "*1048577\r\n", ERROR("invalid multibulk length"));
    CHECK(&usual, "*99999999999999999999\r\n", ERROR("invalid multibulk length"));
    CHECK(&usual, "*18446744073709551617\r\n", ERROR("invalid multibulk length"));
    CHECK(&usual, "*1\rx", ERROR("invalid multibulk length"));
    CHECK(&usual,
          "*:\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n$1\r\nd\r\n$1\r\ne\r\n$1\r\nf\r\n$1\r\ng\r\n"
          "$1\r\nh\r\n$1\r\ni\r\n$1\r\nj\r\n",
          ERROR("invalid multibulk length"));
    CHECK(&usual, "*1\r\n$a\r\n", ERROR("invalid bulk length"));
    CHECK(&usual, "*1\r\n$-1\r\n", ERROR("invalid bulk length"));
    CHECK(&usual, "*1\r\n$\r\n", ERROR("invalid bulk length"));
    CHECK(&usual, "*1\r\n$536870913\r\n", ERROR("invalid bulk length"));
    CHECK(&usual, "*1\r\n$18446744073709551620\r\n", ERROR("invalid bulk length"));
    CHECK(&usual, "*1\r\n$4\rx", ERROR("invalid bulk length"));
    CHECK(&usual, "*1\r\nPING\r\n", ERROR("expected '$', got 'P'"));
    CHECK(&usual, "*1\r\n\r\n", ERROR("expected '$', got ' '"));
    CHECK(&usual, "*1\r\n$4\r\nPINGxx", ERROR("expected CRLF after bulk string"));
    CHECK(&usual, "*1\r\n$3\r\nPING\r\n", ERROR("expected CRLF after bulk string"));
    CHECK(&usual, "GET \"a\r\n", ERROR("unbalanced quotes in request"));
    CHECK(&usual, "GET 'a\r\n", ERROR("unbalanced quotes in request"));
    CHECK(&usual, "GET \"a\"b\r\n", ERROR("unbalanced quotes in request"));
    CHECK(&usual, "GET 'a'b\r\n", ERROR("unbalanced quotes in request"));
    CHECK(&usual, "GET \"a\\\r\n", ERROR("unbalanced quotes in request"));
    /* what came before is executed, nothing after */
    CHECK(&usual, "PING\r\n*1\r\n$4\r\nQUIT\r\n*x\r\nPING\r\n",
          "request \"PING\"\nrequest \"QUIT\"\n" ERROR("invalid multibulk length"));
}

static void test_errors_before_auth(void **state)
{
    (void)state;
    CHECK(&before_auth, "*10\r\n$1\r\na\r\n", "");
    CHECK(&before_auth, "*11\r\n", ERROR("unauthenticated multibulk length"));
    CHECK(&before_auth, "*1\r\n$16384\r\n", "");
    CHECK(&before_auth, "*1\r\n$16385\r\n", ERROR("unauthenticated bulk length"));
    CHECK(&before_auth, "*2147483648\r\n", ERROR("invalid multibulk length"));
    CHECK(&before_auth, "a b c d e f g h i j k\r\n", ERROR("unauthenticated multibulk length"));
}

/* Lines without an end: accepted up to the limit, refused one byte after it. */
static void test_long_lines(void **state)
{
    (void)state;
    static const struct {
        const char *start, *error;
    } cases[] = {
        {"*", "error Protocol error: too big mbulk count string\n"},
        {"*1\r\n$", "error Protocol error: too big bulk count string\n"},
        {"x", "error Protocol error: too big inline request\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *line = strrchr(cases[i].start, '\n');
        size_t before = line != NULL ? (size_t)(line + 1 - cases[i].start) : 0;
        size_t size = before + usual.inline_bytes_max;
        char *input = malloc(size + 1);
        assert_non_null(input);
        memset(input, '1', size + 1);
        memcpy(input, cases[i].start, strlen(cases[i].start));
        struct transcript t;
        for (size_t piece = 1 << 10; piece <= 1 << 20; piece <<= 5) {
            deliver(&t, &usual, (struct tarn_bytes){input, size}, 0, piece);
            expect_text(&t, "");
            transcript_feed(&t, input + size, 1);
            expect_text(&t, cases[i].error);
            transcript_done(&t);
        }
        free(input);
    }
}

/* An inline line of exactly the limit is taken; with one byte more it is refused, also when it
 * arrives at once with its end. */
static void test_inline_limit(void **state)
{
    (void)state;
    struct resp_limits limits = usual;
    limits.inline_bytes_max = 6;
    CHECK(&limits, "GET ab\n", "request \"GET\" \"ab\"\n");
    CHECK(&limits, "GET abc\n", ERROR("too big inline request"));
    limits.inline_bytes_max = 4; /* and lines that carry a length */
    CHECK(&limits, "*100\r\n", "");
    CHECK(&limits, "*1000\r\n", ERROR("too big mbulk count string"));
    CHECK(&limits, "*1\r\n$100\r\n", "");
    CHECK(&limits, "*1\r\n$1000\r\n", ERROR("too big bulk count string"));
}

static void test_request_limit(void **state)
{
    (void)state;
    struct resp_limits limits = usual;
    limits.request_bytes_max = 22;
    CHECK(&limits, "*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n", "request \"GET\" \"key\"\n");
    CHECK(&limits, "*2\r\n$3\r\nGET\r\n$4\r\nkeys\r\n", ERROR("too big request"));
    limits = usual;
    limits.arg_bytes_max = 3;
    CHECK(&limits, "*2\r\n$3\r\nGET\r\n$4\r\nkeys\r\n", ERROR("invalid bulk length"));
    limits = usual;
    limits.args_max = 2;
    CHECK(&limits, "*3\r\n$3\r\nGET\r\n$4\r\nkeys\r\n", ERROR("invalid multibulk length"));
}

/* A large argument in many pieces: delivered whole, and the parser says how much it waits for. */
static void test_large_argument(void **state)
{
    (void)state;
    size_t size = 100000;
    char *input = malloc(size + 64);
    assert_non_null(input);
    int head = sprintf(input, "*2\r\n$4\r\nECHO\r\n$%zu\r\n", size);
    memset(input + head, 'v', size);
    memcpy(input + head + size, "\r\n", 2);
    size_t total = (size_t)head + size + 2;
    struct transcript t;
    transcript_init(&t, &usual, INPUT_BYTES_MAX);
    transcript_feed(&t, input, (size_t)head);
    assert_int_equal(resp_parser_bytes_needed(t.parser), total);
    for (size_t at = (size_t)head; at < total; at += 4096)
        transcript_feed(&t, input + at, total - at < 4096 ? total - at : 4096);
    assert_int_equal(t.text.size, strlen("request \"ECHO\" \"\"\n") + size);
    assert_int_equal(t.pending.size, 0);
    transcript_done(&t);
    free(input);
}

/* The count that a client announces costs no memory: only arguments that arrived do. */
static void test_announced_count(void **state)
{
    (void)state;
    struct transcript t;
    for (int i = 0; i < 2000; i++) { /* with memory for the count, 32 GB */
        transcript_init(&t, &usual, 4096);
        transcript_feed(&t, "*1048576\r\n$1\r\na\r\n", 17);
        expect_text(&t, "");
        transcript_done(&t);
    }
}

/* Requests that fit the caller's storage stay valid while others are parsed beside them. */
static void test_side_by_side(void **state)
{
    (void)state;
    static const char input[] = "*2\r\n$3\r\nGET\r\n$1\r\na\r\n*2\r\n$3\r\nGET\r\n$1\r\nb\r\n"
                                "GET c\r\n*2\r\n$3\r\nGET\r\n$1\r\nd\r\n";
    struct resp_parser *parser = resp_parser_new();
    struct tarn_bytes storage[8];
    struct resp_request requests[4];
    size_t at = 0, size;
    for (size_t i = 0; i < 4; i++) {
        struct tarn_bytes rest = {input + at, sizeof input - 1 - at};
        assert_int_equal(
            resp_parse(parser, rest, &usual, storage + 2 * i, 8 - 2 * i, &requests[i], &size),
            RESP_REQUEST);
        assert_ptr_equal(requests[i].args, storage + 2 * i);
        at += size;
    }
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(*(const char *)requests[i].args[1].data, "abcd"[i]);
    resp_parser_free(parser);
    resp_parser_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arrays),          cmocka_unit_test(test_inline),
        cmocka_unit_test(test_errors),          cmocka_unit_test(test_errors_before_auth),
        cmocka_unit_test(test_long_lines),      cmocka_unit_test(test_inline_limit),
        cmocka_unit_test(test_request_limit),   cmocka_unit_test(test_large_argument),
        cmocka_unit_test(test_announced_count), cmocka_unit_test(test_side_by_side),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
