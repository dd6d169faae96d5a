/* Goal: what a request says is understood as RFC 9110, 9112 and 3986 want it, and hostile forms of
 * it are told apart.
 * Method: tables of inputs and answers; every input lies against an unreadable page, so that a
 * scanner that looks one byte too far faults. Where a rule has a border, both sides are there. */
#include "lib/test.h"

#include <stdio.h>

#include "lib/guard.h"
#include "server/http_request.h"

static struct guard guard;

static struct tarn_bytes text(const char *s)
{
    return guard_end(&guard, s, strlen(s));
}

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

/* --- percent-encoding --- */

static void check_decode(const char *from, const char *path, size_t path_size, const char *query)
{
    unsigned char out[64];
    size_t size = 99;
    assert_true(http_percent_decode(text(from), out, &size));
    assert_int_equal(size, path_size);
    assert_memory_equal(out, path, size);
    assert_true(http_query_decode(text(from), out, &size));
    assert_int_equal(size, path_size);
    assert_memory_equal(out, query, size);
}

static void test_decode(void **state)
{
    (void)state;
    check_decode("", "", 0, "");
    check_decode("plain", "plain", 5, "plain");
    check_decode("a%00b", "a\0b", 3, "a\0b");
    check_decode("%2F%2f", "//", 2, "//");
    check_decode("a+b", "a+b", 3, "a b");
    check_decode("%2B+%20", "++ ", 3, "+  ");
    check_decode("%25%32%35", "%25", 3, "%25"); /* once, not twice */
    check_decode("%ff%FE", "\xff\xfe", 2, "\xff\xfe");
}

static void test_decode_malformed(void **state)
{
    (void)state;
    static const char *const bad[] = {"%", "a%", "%4", "%G0", "%0G", "%%41", "ok%2", "%-1", "% 1"};
    unsigned char out[64];
    size_t size;
    for (size_t i = 0; i < COUNT(bad); i++)
        if (http_percent_decode(text(bad[i]), out, &size))
            fail_msg("%s", bad[i]);
}

static void test_decode_every_byte_in_place(void **state)
{
    (void)state;
    for (unsigned b = 0; b < 256; b++) {
        char escape[4];
        size_t size;
        snprintf(escape, sizeof escape, "%%%02x", b);
        struct tarn_bytes in = text(escape);
        unsigned char *place = guard.map + ((const unsigned char *)in.data - guard.map);
        assert_true(http_percent_decode(in, place, &size));
        assert_int_equal(size, 1);
        assert_int_equal(place[0], b);
    }
}

/* --- Range --- */

static void test_range(void **state)
{
    (void)state;
    static const struct {
        const char *field;
        uint64_t size;
        enum http_range_outcome outcome;
        uint64_t first, last;
    } cases[] = {
        {"bytes=0-0", 10, HTTP_RANGE_PART, 0, 0},
        {"bytes=2-4", 10, HTTP_RANGE_PART, 2, 4},
        {"bytes=0-9", 10, HTTP_RANGE_PART, 0, 9},
        {"bytes=0-10", 10, HTTP_RANGE_PART, 0, 9},
        {"bytes=9-", 10, HTTP_RANGE_PART, 9, 9},
        {"bytes=10-", 10, HTTP_RANGE_UNSATISFIABLE, 0, 0},
        {"bytes=10-20", 10, HTTP_RANGE_UNSATISFIABLE, 0, 0},
        {"bytes=-1", 10, HTTP_RANGE_PART, 9, 9},
        {"bytes=-10", 10, HTTP_RANGE_PART, 0, 9},
        {"bytes=-11", 10, HTTP_RANGE_PART, 0, 9},
        {"bytes=-0", 10, HTTP_RANGE_UNSATISFIABLE, 0, 0},
        {"bytes=0-", 0, HTTP_RANGE_UNSATISFIABLE, 0, 0},
        {"bytes=-5", 0, HTTP_RANGE_UNSATISFIABLE, 0, 0},
        {"BYTES=1-2", 10, HTTP_RANGE_PART, 1, 2},
        {" bytes= 1-2 ", 10, HTTP_RANGE_PART, 1, 2},
        {"bytes=0-99999999999999999999999999", 10, HTTP_RANGE_PART, 0, 9},
        {"bytes=99999999999999999999999999-", 10, HTTP_RANGE_UNSATISFIABLE, 0, 0},
        {"bytes=-99999999999999999999999999", 10, HTTP_RANGE_PART, 0, 9},
        {"bytes=18446744073709551615-", UINT64_MAX, HTTP_RANGE_UNSATISFIABLE, 0, 0},
        {"bytes=5-4", 10, HTTP_RANGE_NONE, 0, 0},
        {"bytes=0-1,3-4", 10, HTTP_RANGE_NONE, 0, 0},
        {"bytes=", 10, HTTP_RANGE_NONE, 0, 0},
        {"bytes=-", 10, HTTP_RANGE_NONE, 0, 0},
        {"bytes=5", 10, HTTP_RANGE_NONE, 0, 0},
        {"bytes=a-b", 10, HTTP_RANGE_NONE, 0, 0},
        {"bytes=1-2x", 10, HTTP_RANGE_NONE, 0, 0},
        {"bytes=1--2", 10, HTTP_RANGE_NONE, 0, 0},
        {"bytes=+1-2", 10, HTTP_RANGE_NONE, 0, 0},
        {"bytes=0-99999999999999999999999999x", 10, HTTP_RANGE_NONE, 0, 0},
        {"items=0-1", 10, HTTP_RANGE_NONE, 0, 0},
        {"bytes", 10, HTTP_RANGE_NONE, 0, 0},
        {"", 10, HTTP_RANGE_NONE, 0, 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        uint64_t first = 0, last = 0;
        if (http_range_parse(text(cases[i].field), cases[i].size, &first, &last) !=
                cases[i].outcome ||
            first != cases[i].first || last != cases[i].last)
            fail_msg("%s: %llu-%llu", cases[i].field, (unsigned long long)first,
                     (unsigned long long)last);
    }
}

/* --- entity tags --- */

static void test_tags(void **state)
{
    (void)state;
    static const struct {
        const char *field;
        bool weak, strong;
    } cases[] = {
        {"\"abc\"", true, true},
        {"W/\"abc\"", true, false},
        {"*", true, true},
        {" * ", true, true},
        {"\"x\", \"abc\"", true, true},
        {"\"x\",W/\"abc\" ,\"y\"", true, false},
        {",, \"abc\"", true, true},
        {"\"x,\\\", \"abc\"", true, true}, /* no escapes in entity tags */
        {"\"abcd\"", false, false},
        {"\"ab\"", false, false},
        {"abc", false, false},
        {"\"abc", false, false},
        {"W/abc", false, false},
        {"W/", false, false},
        {"w/\"abc\"", false, false},
        {"\"x\" junk \"abc\"", false, false},
        {"**", false, false},
        {"", false, false},
    };
    struct tarn_bytes tag = {"\"abc\"", 5};
    for (size_t i = 0; i < COUNT(cases); i++) {
        if (http_tag_listed(text(cases[i].field), tag, true) != cases[i].weak ||
            http_tag_listed(text(cases[i].field), tag, false) != cases[i].strong)
            fail_msg("%s", cases[i].field);
    }
}

/* --- Host --- */

static void test_host(void **state)
{
    (void)state;
    static const char *const good[] = {
        "localhost",          "LocalHost:8379", "localhost:",  "127.0.0.1", "127.0.0.1:80",
        "127.255.1.2",        "[::1]",          "[::1]:65535", " [::1] ",   "[0:0:0:0:0:0:0:1]:1",
        "[::ffff:127.0.0.1]",
    };
    static const char *const bad[] = {
        "",
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "::1",
        "[::1",
        "[::1]x",
        "[::2]",
        "128.0.0.1",
        "0.0.0.0",
        "127.1",
        "localhost:80:80",
        ":80",
        "localhost:999999",
        "localhost:8x",
        "[]",
        "[::1]:-1",
        "localhost:70000",
        "evil@localhost",
        "localhost/evil",
        "[::1]:80:",
        "0x7f000001",
        "2130706433",
        "localhost evil",
    };
    for (size_t i = 0; i < COUNT(good); i++)
        if (!http_host_is_loopback(text(good[i])))
            fail_msg("%s", good[i]);
    for (size_t i = 0; i < COUNT(bad); i++)
        if (http_host_is_loopback(text(bad[i])))
            fail_msg("%s", bad[i]);
    char longer[200];
    memset(longer, '1', sizeof longer);
    assert_false(http_host_is_loopback(guard_end(&guard, longer, sizeof longer)));
    assert_false(http_host_is_loopback(guard_end(&guard, "localhost\0", 10)));
    assert_false(http_host_is_loopback(guard_end(&guard, "127.0.0.1\0.evil", 15)));
}

static void test_address(void **state)
{
    (void)state;
    assert_true(http_address_is_loopback("127.0.0.1"));
    assert_true(http_address_is_loopback("127.9.9.9"));
    assert_true(http_address_is_loopback("::1"));
    assert_false(http_address_is_loopback("0.0.0.0"));
    assert_false(http_address_is_loopback("::"));
    assert_false(http_address_is_loopback("192.168.1.1"));
    assert_false(http_address_is_loopback("localhost"));
}

/* --- credentials --- */

static void test_authorized(void **state)
{
    (void)state;
    static const char *const good[] = {
        "Bearer s3cret:x",     "bearer s3cret:x",
        "Bearer   s3cret:x  ", "Basic dXNlcjpzM2NyZXQ6eA==", /* user:s3cret:x */
        "basic OnMzY3JldDp4",                                /* :s3cret:x */
    };
    static const char *const bad[] = {
        "",
        "Bearer",
        "Bearer ",
        "Bearer s3cret",
        "Bearer s3cret:xx",
        "Bearer S3cret:x",
        "s3cret:x",
        "Basic s3cret:x",
        "Basic dXNlcjpzM2NyZXQ=",   /* user:s3cret */
        "Basic czNjcmV0OngK",       /* s3cret:x and a newline: password "x\n" */
        "Basic czNjcmV0",           /* no colon */
        "Basic dXNlcjpzM2NyZXQ6eA", /* no padding */
        "Basic",
        "Basic ",
        "Digest s3cret:x",
        "BearerX s3cret:x",
    };
    struct tarn_bytes password = {"s3cret:x", 8};
    for (size_t i = 0; i < COUNT(good); i++)
        if (!http_authorized(text(good[i]), password))
            fail_msg("%s", good[i]);
    for (size_t i = 0; i < COUNT(bad); i++)
        if (http_authorized(text(bad[i]), password))
            fail_msg("%s", bad[i]);
    assert_false(http_authorized((struct tarn_bytes){NULL, 0}, password));
    /* No password set is not the empty password. */
    assert_false(http_authorized(text("Bearer "), (struct tarn_bytes){"", 0}));
    assert_false(http_authorized(text("Basic Og=="), (struct tarn_bytes){"", 0}));
}

static void test_authorized_bounds(void **state)
{
    (void)state;
    char field[8192];
    memset(field, 'A', sizeof field);
    memcpy(field, "Basic ", 6);
    for (size_t n = 4096 - 8; n <= 4096 + 8; n += 4) /* around the room for decoding */
        assert_false(http_authorized(guard_end(&guard, field, 6 + n), (struct tarn_bytes){"p", 1}));
}

/* --- names, targets, queries --- */

static void test_field_name(void **state)
{
    (void)state;
    assert_true(http_field_name_valid(text("Content-Length")));
    assert_true(http_field_name_valid(text("x!#$%&'*+-.^_`|~9")));
    static const char *const bad[] = {
        "", "a b", "Content-Length ", "\ta", "a:", "a(", "a\x7f", "\x80", "a\"", "a/b", "a\x01"};
    for (size_t i = 0; i < COUNT(bad); i++)
        if (http_field_name_valid(text(bad[i])))
            fail_msg("%s", bad[i]);
    assert_false(http_field_name_valid(guard_end(&guard, "a\0", 2)));
}

static void check_bytes(struct tarn_bytes bytes, const char *expected)
{
    if (expected == NULL) {
        assert_null(bytes.data);
        return;
    }
    assert_non_null(bytes.data);
    assert_int_equal(bytes.size, strlen(expected));
    assert_memory_equal(bytes.data, expected, bytes.size);
}

static void test_target(void **state)
{
    (void)state;
    static const struct {
        const char *target, *authority, *path, *query;
    } good[] = {
        {"/", NULL, "/", NULL},
        {"/kv/a%20b", NULL, "/kv/a%20b", NULL},
        {"/kv?key=a", NULL, "/kv", "key=a"},
        {"/kv?", NULL, "/kv", ""},
        {"/kv/a?b?c", NULL, "/kv/a", "b?c"},
        {"//evil", NULL, "//evil", NULL},
        {"http://host:80/kv/x?y", "host:80", "/kv/x", "y"},
        {"HTTP://h/", "h", "/", NULL},
    };
    static const char *const bad[] = {"",
                                      "*",
                                      "kv/x",
                                      "?x",
                                      "http://",
                                      "http:///x",
                                      "http://host",
                                      "http://host?x",
                                      "https://host/x",
                                      "host:80",
                                      "/a b",
                                      "/a\tb",
                                      "/\x7f",
                                      "/a\n"};
    struct tarn_bytes authority, path, query;
    for (size_t i = 0; i < COUNT(good); i++) {
        assert_true(http_target_split(text(good[i].target), &authority, &path, &query));
        check_bytes(authority, good[i].authority);
        check_bytes(path, good[i].path);
        check_bytes(query, good[i].query);
    }
    for (size_t i = 0; i < COUNT(bad); i++)
        if (http_target_split(text(bad[i]), &authority, &path, &query))
            fail_msg("%s", bad[i]);
}

static void test_query(void **state)
{
    (void)state;
    static const struct {
        const char *query;
        enum http_parameter_outcome outcome;
        const char *value;
    } cases[] = {
        {"key=a", HTTP_PARAMETER_FOUND, "a"},
        {"key=", HTTP_PARAMETER_FOUND, ""},
        {"x=1&key=a=b&y", HTTP_PARAMETER_FOUND, "a=b"},
        {"&&key=a&", HTTP_PARAMETER_FOUND, "a"},
        {"key", HTTP_PARAMETER_MISSING, NULL},
        {"ke", HTTP_PARAMETER_MISSING, NULL},
        {"keys=a&xkey=b", HTTP_PARAMETER_MISSING, NULL},
        {"", HTTP_PARAMETER_MISSING, NULL},
        {"key=a&key=b", HTTP_PARAMETER_TWICE, NULL},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct tarn_bytes value = {NULL, 0};
        enum http_parameter_outcome outcome = http_query_find(text(cases[i].query), "key", &value);
        if (outcome != cases[i].outcome)
            fail_msg("%s", cases[i].query);
        if (outcome == HTTP_PARAMETER_FOUND)
            check_bytes(value, cases[i].value);
    }
}

static void test_trim(void **state)
{
    (void)state;
    check_bytes(http_trim(text(" \t a b\t ")), "a b");
    check_bytes(http_trim(text("  ")), "");
    check_bytes(http_trim(text("")), "");
    check_bytes(http_trim((struct tarn_bytes){NULL, 0}), NULL);
}

/* Trips on: a condition that is no list of tags taken for one that does not match. */
static void test_tags_valid(void **state)
{
    (void)state;
    static const char *const good[] = {
        "*", " * ", "\"\"", "\"a\"", "W/\"a\"", "\"a\" , W/\"b\"", ",\"a\",,", "\"a,b\""};
    static const char *const bad[] = {"",        " ",       ",",          "a",       "\"a",
                                      "W/",      "W/a",     "w/\"a\"",    "*,\"a\"", "\"a\",*",
                                      "\"a\" b", "\"a\" W", "\"a\", \"b", "'a'"};
    for (size_t i = 0; i < COUNT(good); i++)
        if (!http_tags_valid(text(good[i])))
            fail_msg("%s", good[i]);
    for (size_t i = 0; i < COUNT(bad); i++)
        if (http_tags_valid(text(bad[i])))
            fail_msg("%s", bad[i]);
}

/* Trips on: an origin that only begins or ends like ours. */
static void test_origin(void **state)
{
    (void)state;
    static const struct tarn_bytes host = {" localhost:8379", 15};
    static const char *const ours[] = {"http://localhost:8379", "https://LocalHost:8379 "};
    static const char *const others[] = {"",
                                         "null",
                                         "localhost:8379",
                                         "http://",
                                         "http://localhost",
                                         "http://localhost:83790",
                                         "http://localhost:837",
                                         "http://evil.example/localhost:8379",
                                         "ftp://localhost:8379",
                                         "http://localhost:8379/"};
    for (size_t i = 0; i < COUNT(ours); i++)
        assert_true(http_origin_is(text(ours[i]), host));
    for (size_t i = 0; i < COUNT(others); i++)
        if (http_origin_is(text(others[i]), host))
            fail_msg("%s", others[i]);
    assert_false(http_origin_is(text("http://"), (struct tarn_bytes){"", 0}));
}

static void test_ttl(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms; /* 0: no time */
    } cases[] = {{"1", 1000},        {"1.5", 1500},  {"0.0001", 1},
                 {"1.0005", 1001},   {"500ms", 500}, {"10m", 600000},
                 {"2h", 7200000},    {"0", 0},       {"0.0", 0},
                 {"-1", 0},          {"", 0},        {"1 ", 0},
                 {"+1", 0},          {".", 0},       {"s", 0},
                 {"99999999999", 0}, {"nan", 0},     {"1000000000", 1000000000000}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        int64_t ms = 0;
        if (http_ttl_parse(text(cases[i].text), &ms) != (cases[i].ms > 0) || ms != cases[i].ms)
            fail_msg("%s: %lld", cases[i].text, (long long)ms);
    }
}

/* Trips on: an unknown, repeated or malformed parameter that is passed over. */
static void test_parameters(void **state)
{
    (void)state;
    static const struct {
        const char *query;
        unsigned takes;
        bool ok;
        int64_t ttl_ms, by;
    } cases[] = {
        {"", 0, true, 0, 1},
        {"&&", 0, true, 0, 1},
        {"key=a", 0, false, 0, 1},
        {"key=a&key=b", HTTP_TAKES_KEY, true, 0, 1}, /* the key is for another to judge */
        {"ttl=2&key=%zz", HTTP_TAKES_KEY | HTTP_TAKES_TTL, true, 2000, 1},
        {"ttl_ms=7", HTTP_TAKES_TTL, true, 7, 1},
        {"ttl=%31", HTTP_TAKES_TTL, true, 1000, 1},
        {"ttl=1", HTTP_TAKES_BY, false, 0, 1},
        {"by=-9223372036854775808", HTTP_TAKES_BY, true, 0, INT64_MIN},
        {"by=9223372036854775808", HTTP_TAKES_BY, false, 0, 1},
        {"by=1", HTTP_TAKES_TTL, false, 0, 1},
        {"by=1&by=1", HTTP_TAKES_BY, false, 0, 1},
        {"ttl=1&ttl_ms=1", HTTP_TAKES_TTL, false, 0, 1},
        {"ttl=1&ttl=1", HTTP_TAKES_TTL, false, 0, 1},
        {"ttl", HTTP_TAKES_TTL, false, 0, 1},
        {"ttl=", HTTP_TAKES_TTL, false, 0, 1},
        {"ttl=%3", HTTP_TAKES_TTL, false, 0, 1},
        {"tt=1", HTTP_TAKES_TTL, false, 0, 1},
        {"ttl_=1", HTTP_TAKES_TTL, false, 0, 1},
        {"=1", HTTP_TAKES_TTL, false, 0, 1},
        {"ttl_ms=4611686018427387903", HTTP_TAKES_TTL, true, INT64_MAX / 2, 1},
        {"ttl_ms=4611686018427387904", HTTP_TAKES_TTL, false, 0, 1},
        {"ttl_ms="
         "00000000000000000000000000000000000000000000000000000000000000000000000000000000000"
         "0000000000000000000000000000000000001",
         HTTP_TAKES_TTL, false, 0, 1},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct http_parameters p;
        const char *problem = http_parameters_parse(text(cases[i].query), cases[i].takes, &p);
        if ((problem == NULL) != cases[i].ok)
            fail_msg("%s: %s", cases[i].query, problem != NULL ? problem : "taken");
        if (cases[i].ok) {
            assert_int_equal(p.ttl_ms, cases[i].ttl_ms);
            assert_int_equal(p.by, cases[i].by);
        }
    }
}

static void test_prefers(void **state)
{
    (void)state;
    static const char *const yes[] = {
        "durability=commit",
        "Durability = commit",
        "durability=\"commit\"",
        "respond-async, wait=10,durability=commit",
        "a=\"x, durability=none\",  durability=commit ; why=because, handling=strict",
        "a=\"\\\"\", durability=commit",
    };
    static const char *const no[] = {
        "",
        ",,;=",
        "durability",
        "durability=",
        "durability=commits",
        "durability=COMMIT",
        "xdurability=commit",
        "durability==commit",
        "durability=none; durability=commit",
        "a=\", durability=commit",
        "a=\"b, durability=commit\"",
        "a=\"\\",
        "durability=\"commit",
        "durability=\"",
    };
    for (size_t i = 0; i < COUNT(yes); i++)
        if (!http_prefers(text(yes[i]), "durability", "commit"))
            fail_msg("%s", yes[i]);
    for (size_t i = 0; i < COUNT(no); i++)
        if (http_prefers(text(no[i]), "durability", "commit"))
            fail_msg("%s", no[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decode),
        cmocka_unit_test(test_decode_malformed),
        cmocka_unit_test(test_decode_every_byte_in_place),
        cmocka_unit_test(test_range),
        cmocka_unit_test(test_tags),
        cmocka_unit_test(test_host),
        cmocka_unit_test(test_address),
        cmocka_unit_test(test_authorized),
        cmocka_unit_test(test_authorized_bounds),
        cmocka_unit_test(test_field_name),
        cmocka_unit_test(test_target),
        cmocka_unit_test(test_query),
        cmocka_unit_test(test_trim),
        cmocka_unit_test(test_tags_valid),
        cmocka_unit_test(test_origin),
        cmocka_unit_test(test_ttl),
        cmocka_unit_test(test_parameters),
        cmocka_unit_test(test_prefers),
    };
    guard = guard_new(1 << 14);
    int failures = cmocka_run_group_tests(tests, NULL, NULL);
    guard_free(&guard);
    return failures;
}
