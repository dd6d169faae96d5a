/* Goal: bytes become JSON, Prometheus labels and base64 exactly as those say, base64 is read back
 * strictly, and UTF-8 is told from what is not.
 * Method: tables of inputs and outputs, all inputs lying against an unreadable page; for base64 all
 * sizes up to 300 there and back; for UTF-8 every two-byte string and the borders of each range. */
#include "lib/test.h"

#include "core/escape.h"
#include "lib/guard.h"

static struct guard guard;

static struct tarn_bytes text(const char *s)
{
    return guard_end(&guard, s, strlen(s));
}

static void check(struct buffer *out, const char *expected)
{
    assert_false(out->failed);
    assert_int_equal(out->size, strlen(expected));
    if (out->size > 0)
        assert_memory_equal(out->data, expected, out->size);
    buffer_done(out);
}

static void test_json(void **state)
{
    (void)state;
    struct buffer out = {0};
    escape_json(&out, text("plain"));
    check(&out, "\"plain\"");
    escape_json(&out, text(""));
    check(&out, "\"\"");
    escape_json(&out, text("a\"b\\c/\b\f\n\r\t\x01\x1f\x7f"));
    check(&out, "\"a\\\"b\\\\c/\\b\\f\\n\\r\\t\\u0001\\u001f\x7f\"");
    escape_json(&out, guard_end(&guard, "\0x", 2));
    check(&out, "\"\\u0000x\"");
    escape_json(&out, text("\xc3\xa9\xf0\x9f\x94\x91"));
    check(&out, "\"\xc3\xa9\xf0\x9f\x94\x91\"");
}

static void test_json_lossy(void **state)
{
    (void)state;
    struct buffer out = {0};
    escape_json_lossy(&out, text("a\xff\"\xc3\xa9\xc3"));
    check(&out, "\"a\xef\xbf\xbd\\\"\xc3\xa9\xef\xbf\xbd\"");
}

static void test_prometheus(void **state)
{
    (void)state;
    struct buffer out = {0};
    escape_prometheus(&out, text("a\"b\\c\nd\t"));
    check(&out, "a\\\"b\\\\c\\nd\t");
}

static void test_utf8_borders(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        bool valid;
    } cases[] = {
        {"", true},
        {"0123456789abcdef", true},
        {"01234567\xff", false},
        {"\x7f", true},
        {"\x80", false},
        {"\xc1\xbf", false}, /* overlong */
        {"\xc2\x80", true},
        {"\xdf\xbf", true},
        {"\xc2", false},         /* cut */
        {"\xe0\x9f\xbf", false}, /* overlong */
        {"\xe0\xa0\x80", true},
        {"\xed\x9f\xbf", true},
        {"\xed\xa0\x80", false}, /* surrogate */
        {"\xed\xbf\xbf", false},
        {"\xee\x80\x80", true},
        {"\xef\xbf\xbf", true},
        {"\xe1\x80", false},
        {"\xf0\x8f\xbf\xbf", false}, /* overlong */
        {"\xf0\x90\x80\x80", true},
        {"\xf4\x8f\xbf\xbf", true},
        {"\xf4\x90\x80\x80", false}, /* over U+10FFFF */
        {"\xf5\x80\x80\x80", false},
        {"\xf0\x90\x80", false},
        {"\xf0\x90\x80\x41", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (utf8_valid(text(cases[i].bytes)) != cases[i].valid)
            fail_msg("case %zu", i);
    assert_true(utf8_valid(guard_end(&guard, "\0", 1)));
}

static void test_utf8_every_pair(void **state)
{
    (void)state;
    for (unsigned a = 0; a < 256; a++) {
        for (unsigned b = 0; b < 256; b++) {
            unsigned char pair[2] = {(unsigned char)a, (unsigned char)b};
            bool expected =
                (a < 0x80 && b < 0x80) || (a >= 0xc2 && a <= 0xdf && (b & 0xc0) == 0x80);
            if (utf8_valid(guard_end(&guard, pair, 2)) != expected)
                fail_msg("%02x %02x", a, b);
        }
    }
}

static void test_base64_known(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"", ""},
        {"f", "Zg=="},
        {"fo", "Zm8="},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="},
        {"fooba", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"},
        {"\xfb\xff", "+/8="},
    }; /* RFC 4648 section 10, and the last two digits of the alphabet */
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        struct buffer out = {0};
        unsigned char decoded[16];
        size_t size = 99;
        base64_append(&out, text(pairs[i][0]));
        check(&out, pairs[i][1]);
        assert_true(base64_decode(text(pairs[i][1]), decoded, &size));
        assert_int_equal(size, strlen(pairs[i][0]));
        assert_memory_equal(decoded, pairs[i][0], size);
    }
}

static void test_base64_malformed(void **state)
{
    (void)state;
    static const char *const bad[] = {"Zg",   "Zg=",  "Z===", "====", "Zm9v=", "Zg==Zg==",
                                      "Z g=", "Zm9-", "Zm9_", "Zm=v", "=m9v",  "Zm8\n"};
    unsigned char decoded[16];
    size_t size;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (base64_decode(text(bad[i]), decoded, &size))
            fail_msg("%s", bad[i]);
}

static void test_base64_round_trip(void **state)
{
    (void)state;
    unsigned char bytes[300], decoded[300];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(i * 167 + 13);
    for (size_t n = 0; n <= sizeof bytes; n++) {
        struct buffer out = {0};
        size_t size = 999;
        base64_append(&out, guard_end(&guard, bytes, n));
        assert_int_equal(out.size, (n + 2) / 3 * 4);
        assert_true(base64_decode(guard_end(&guard, out.data, out.size), decoded, &size));
        assert_int_equal(size, n);
        assert_memory_equal(decoded, bytes, n);
        buffer_done(&out);
    }
}

static void check_member(const char *data, size_t size, const char *expected)
{
    struct buffer out = {0};
    escape_json_member(&out, bytes_of("key"), guard_end(&guard, data, size));
    check(&out, expected);
}

/* Trips if bytes are written as text that is not theirs, or at a length that has no bound. */
static void test_json_member(void **state)
{
    (void)state;
    check_member("", 0, "\"key\":\"\"");
    check_member("plain", 5, "\"key\":\"plain\"");
    check_member("\xc3\xa9", 2, "\"key\":\"\xc3\xa9\"");
    check_member("abcdef\"\n", 8, "\"key\":\"abcdef\\\"\\n\"");
    check_member("a\"\n", 3, "\"key_base64\":\"YSIK\"");
    check_member("\xff", 1, "\"key_base64\":\"/w==\"");
    check_member("a\0b", 3, "\"key_base64\":\"YQBi\"");
    check_member("\x01\x02\x03", 3, "\"key_base64\":\"AQID\""); /* 4 bytes against 18 */
    check_member("ab\x01", 3, "\"key_base64\":\"YWIB\"");
    check_member("abcdefghijklmnop\x01", 17, "\"key\":\"abcdefghijklmnop\\u0001\"");
    for (size_t size = 0; size < 100; size++) {
        char data[100];
        struct buffer out = {0};
        for (int byte = 0; byte < 128; byte++) {
            memset(data, byte, size);
            buffer_clear(&out);
            escape_json_member(&out, bytes_of("k"), guard_end(&guard, data, size));
            assert_true(out.size <= (size + 2) / 3 * 4 + 1 + 16);
        }
        buffer_done(&out);
    }
}

static void test_bound(void **state)
{
    (void)state;
    struct buffer out;
    buffer_init(&out, 4);
    escape_json(&out, text("abcdef"));
    assert_true(out.failed);
    buffer_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_json_lossy),
        cmocka_unit_test(test_json_member),
        cmocka_unit_test(test_prometheus),
        cmocka_unit_test(test_utf8_borders),
        cmocka_unit_test(test_utf8_every_pair),
        cmocka_unit_test(test_base64_known),
        cmocka_unit_test(test_base64_malformed),
        cmocka_unit_test(test_base64_round_trip),
        cmocka_unit_test(test_bound),
    };
    guard = guard_new(1 << 12);
    int failures = cmocka_run_group_tests(tests, NULL, NULL);
    guard_free(&guard);
    return failures;
}
