/* Goal: a JSON list of strings is taken exactly as JSON says and anything else is refused with its
 * place; the answer is valid, complete and bounded.
 * Method: bodies against an unreadable page, every prefix of a good body refused, each escape; the
 * answer from a store opened on a small data file, compared as text. */
#include "lib/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/guard.h"
#include "server/http_mget.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static struct guard guard;

static int parse(const char *body, size_t size, size_t keys_max, struct tarn_bytes **keys,
                 size_t *count, struct tarn_error *error)
{
    struct tarn_bytes copy = guard_end(&guard, body, size);
    unsigned char *place = guard.map + ((const unsigned char *)copy.data - guard.map);
    return http_mget_parse(place, size, keys_max, keys, count, error);
}

static void check_one(const char *body, const char *key, size_t key_size)
{
    struct tarn_bytes *keys = NULL;
    struct tarn_error error;
    size_t count = 0;
    if (parse(body, strlen(body), 10, &keys, &count, &error) != TARN_OK)
        fail_msg("%s: %s", body, error.text);
    assert_int_equal(count, 1);
    assert_int_equal(keys[0].size, key_size);
    if (key_size > 0)
        assert_memory_equal(keys[0].data, key, key_size);
    free(keys);
}

static void test_strings(void **state)
{
    (void)state;
    check_one("[\"\"]", "", 0);
    check_one("[\"a\"]", "a", 1);
    check_one(" \t\r\n[ \"a b\" ] \n", "a b", 3);
    check_one("[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"]", "\"\\/\b\f\n\r\t", 8);
    check_one("[\"\\u0041\\u00e9\\u20ac\\ud83d\\ude00\"]", "A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80",
              10);
    check_one("[\"\\u0000x\"]", "\0x", 2);
    check_one("[\"\\uFFFF\\udbff\\udfff\"]", "\xef\xbf\xbf\xf4\x8f\xbf\xbf", 7);
    check_one("[\"\xc3\xa9\x7f\"]", "\xc3\xa9\x7f", 3);
}

static void test_lists(void **state)
{
    (void)state;
    struct tarn_bytes *keys = (struct tarn_bytes *)1;
    size_t count = 99;
    assert_int_equal(parse("[]", 2, 10, &keys, &count, NULL), TARN_OK);
    assert_int_equal(count, 0);
    assert_null(keys);
    assert_int_equal(parse("[ ]", 3, 10, &keys, &count, NULL), TARN_OK);
    assert_int_equal(count, 0);
    const char *three = "[\"a\" , \"b\",\"a\"]";
    assert_int_equal(parse(three, strlen(three), 3, &keys, &count, NULL), TARN_OK);
    assert_int_equal(count, 3);
    assert_memory_equal(keys[2].data, "a", 1);
    free(keys);
    struct tarn_error error;
    assert_int_equal(parse(three, strlen(three), 2, &keys, &count, &error), TARN_TOOBIG);
    assert_non_null(strstr(error.text, "2 keys"));
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        uint64_t offset;
    } cases[] = {
        {"", 0},
        {"  ", 2},
        {"{}", 0},
        {"\"a\"", 0},
        {"null", 0},
        {"[", 1},
        {"[1]", 1},
        {"[null]", 1},
        {"[[\"a\"]]", 1},
        {"[\"a\"", 4},
        {"[\"a\",", 5},
        {"[\"a\",]", 5},
        {"[,\"a\"]", 1},
        {"[\"a\" \"b\"]", 5},
        {"[\"a\"]x", 5},
        {"[\"a\"][]", 5},
        {"[\"a", 1},
        {"[\"a\n\"]", 3},
        {"[\"\\x\"]", 2},
        {"[\"\\\"]", 1},
        {"[\"\\u12\"]", 2},
        {"[\"\\u12g4\"]", 2},
        {"[\"ab\\ud800\"]", 4},      /* half a pair */
        {"[\"\\ud800\\u0041\"]", 2}, /* wrong second half */
        {"[\"\\udc00\\ud800\"]", 2}, /* halves exchanged */
        {"[\"\\ud800\\n1234\"]", 2},
        {"[\"\xff\"]", 1},
        {"[\"a\",\"\xc3\"]", 5},
        {"[\"\xed\xa0\x80\"]", 1},
        {"\xef\xbb\xbf[]", 0}, /* byte order mark */
        {"['a']", 1},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct tarn_bytes *keys = NULL;
        struct tarn_error error = {0};
        size_t count = 0;
        int status = parse(cases[i].body, strlen(cases[i].body), 10, &keys, &count, &error);
        if (status != TARN_INVALID || error.offset != cases[i].offset)
            fail_msg("%s: status %d, offset %llu", cases[i].body, status,
                     (unsigned long long)error.offset);
        char place[32];
        snprintf(place, sizeof place, "byte %llu", (unsigned long long)cases[i].offset);
        assert_non_null(strstr(error.text, place));
    }
}

static void test_every_prefix_is_refused(void **state)
{
    (void)state;
    static const char body[] = "[\"k\\u00e9y\",\"\\ud83d\\ude00\\\\\", \"\xc3\xa9\" ]";
    for (size_t n = 0; n < sizeof body - 1; n++) {
        struct tarn_bytes *keys = NULL;
        size_t count = 0;
        if (parse(body, n, 10, &keys, &count, NULL) != TARN_INVALID)
            fail_msg("prefix of %zu bytes", n);
    }
}

/* --- answers --- */

struct fixture {
    char path[64];
    struct tarn *store;
    struct tarn_session *session;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct tarn_error error;
    snprintf(f->path, sizeof f->path, "/tmp/tarn-test-mget-XXXXXX");
    int fd = mkstemp(f->path);
    static const char data[] = "a 1\nb two \"2\"\nbin \xff\x01\nempty \n";
    if (fd < 0 || write(fd, data, sizeof data - 1) != (ssize_t)sizeof data - 1)
        return -1;
    close(fd);
    struct tarn_options options = {
        .path = f->path, .index_readonly = true, .format.kind = TARN_FORMAT_TEXT};
    if (tarn_open(&options, &f->store, &error) != TARN_OK ||
        tarn_session_open(f->store, &f->session, &error) != TARN_OK) {
        print_error("%s\n", error.text);
        return -1;
    }
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    tarn_session_close(f->session);
    tarn_close(f->store);
    unlink(f->path);
    free(f);
    return 0;
}

static void check_answer(struct fixture *f, const struct tarn_bytes *keys, size_t count,
                         uint64_t hits_expected, const char *expected)
{
    struct buffer out = {0};
    uint64_t hits = 99, misses = 99;
    assert_int_equal(http_mget_answer(f->session, keys, count, 7, &out, &hits, &misses), TARN_OK);
    assert_int_equal(hits, hits_expected);
    assert_int_equal(hits + misses, count);
    assert_int_equal(out.size, strlen(expected));
    assert_memory_equal(out.data, expected, out.size);
    buffer_done(&out);
}

static void test_answer(void **state)
{
    const struct tarn_bytes keys[] = {{"b", 1}, {"none\n", 5}, {"a", 1}, {"bin", 3},
                                      {"b", 1}, {"empty", 5},  {"a", 1}};
    check_answer(*state, keys, COUNT(keys), 6,
                 "{\"b\":\"two \\\"2\\\"\",\"none\\n\":null,\"a\":\"1\","
                 "\"bin\":{\"base64\":\"/wE=\"},\"empty\":\"\"}\n");
    check_answer(*state, keys, 0, 0, "{}\n");
}

static void test_answer_many_duplicates(void **state)
{
    enum { N = 5000 };
    struct tarn_bytes *keys = calloc(N, sizeof *keys);
    for (size_t i = 0; i < N; i++)
        keys[i] = bytes_of(i % 2 ? "a" : "none");
    check_answer(*state, keys, N, N / 2, "{\"none\":null,\"a\":\"1\"}\n");
    free(keys);
}

static void test_answer_over_bound(void **state)
{
    struct fixture *f = *state;
    const struct tarn_bytes keys[] = {{"b", 1}};
    uint64_t hits, misses;
    const size_t whole = strlen("{\"b\":\"two \\\"2\\\"\"}\n");
    for (size_t bound = 1; bound <= whole; bound++) {
        struct buffer out;
        buffer_init(&out, bound);
        assert_int_equal(http_mget_answer(f->session, keys, 1, 7, &out, &hits, &misses),
                         bound < whole ? TARN_TOOBIG : TARN_OK);
        buffer_done(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_strings),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_every_prefix_is_refused),
        cmocka_unit_test_setup_teardown(test_answer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_answer_many_duplicates, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_answer_over_bound, set_up, tear_down),
    };
    guard = guard_new(1 << 12);
    int failures = cmocka_run_group_tests(tests, NULL, NULL);
    guard_free(&guard);
    return failures;
}
