/* Goal: payloads are what Redis writes for the same strings, those of Redis are read, and nothing
 * else: no byte outside is touched and no size is believed.
 * Method: payloads that redis-server 7.0.15 gave; strings at each change of encoding there and
 * back, every cut and every damaged byte of them; encodings put together by hand with a right
 * checksum. */
#include "core/dump.h"

#include <stdio.h>

#include "lib/test.h"

#include "core/buffer.h"
#include "core/codec.h"
#include "core/crc64.h"
#include "lib/guard.h"

#define BYTES(text)                                                                                \
    {                                                                                              \
        (text), sizeof(text) - 1                                                                   \
    }

static void write_payload(struct tarn_bytes value, struct buffer *out)
{
    struct dump_head head;
    unsigned char footer[DUMP_FOOTER_BYTES];
    buffer_clear(out);
    dump_begin(value, &head);
    dump_end(&head, footer);
    buffer_append(out, head.header, head.header_size);
    buffer_append(out, head.body.data, head.body.size);
    buffer_append(out, footer, sizeof footer);
    assert_false(out->failed);
}

/* The body with a footer that fits it. */
static enum dump_outcome parse_body(struct tarn_bytes body, unsigned version,
                                    struct dump_string *ret_string, struct guard *guard)
{
    struct buffer bytes;
    unsigned char footer[DUMP_FOOTER_BYTES];
    buffer_init(&bytes, 0);
    buffer_append(&bytes, body.data, body.size);
    store_u16le(footer, (uint16_t)version);
    buffer_append(&bytes, footer, 2);
    store_u64le(footer, crc64_update(0, bytes.data, bytes.size));
    buffer_append(&bytes, footer, 8);
    enum dump_outcome outcome = dump_parse(guard_end(guard, bytes.data, bytes.size), ret_string);
    buffer_done(&bytes);
    return outcome;
}

static void test_payloads_of_redis(void **state)
{
    (void)state;
    static const struct {
        struct tarn_bytes value, payload;
        bool same; /* tarn writes it so, too */
    } cases[] = {
        {BYTES(""), BYTES("\x00\x00\n\x00]\x9b\\@\x0f\x7f\xa2\xda"), true},
        {BYTES("1"), BYTES("\x00\xc0\x01\n\x00&x\xe7\xb6\xd1\x01\x11\xfc"), true},
        {BYTES("-129"), BYTES("\x00\xc1\x7f\xff\n\x00\x17`\x82(T\x80\x84\x80"), true},
        {BYTES("12345678901"),
         BYTES("\x00\x0b"
               "12345678901\n\x00"
               "0NR\xd7'\x17"
               "e\x10"),
         true},
        {BYTES("aaaaaaaaaaaaaaaaaaaa"),
         BYTES("\x00\x14"
               "aaaaaaaaaaaaaaaaaaaa\n\x00\x83\xb4k^\x1b\x11\xac\xf1"),
         true},
        {BYTES("aaaaaaaaaaaaaaaaaaaaa"),
         BYTES("\x00\xc3\x06\x15\x01"
               "aa\xe0\n\x00\n\x00\xfd\x0c\xb3h\x07"
               "A?h"),
         false},
    };
    struct buffer out;
    buffer_init(&out, 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct dump_string string;
        unsigned char unpacked[64];
        assert_int_equal(dump_parse(cases[i].payload, &string), DUMP_STRING);
        assert_int_equal(string.size, cases[i].value.size);
        if (string.packed) {
            assert_true(dump_unpack(&string, unpacked));
            string.bytes = (struct tarn_bytes){unpacked, string.size};
        }
        assert_true(bytes_equal(string.bytes, cases[i].value));
        write_payload(cases[i].value, &out);
        assert_int_equal(bytes_equal(buffer_view(&out), cases[i].payload), cases[i].same);
    }
    buffer_done(&out);
}

static void check_round_trip(struct tarn_bytes value, struct guard *guard)
{
    struct buffer out;
    struct dump_string string;
    buffer_init(&out, 0);
    write_payload(value, &out);
    assert_int_equal(dump_parse(guard_end(guard, out.data, out.size), &string), DUMP_STRING);
    assert_false(string.packed);
    assert_true(bytes_equal(string.bytes, value));
    for (size_t cut = 0; cut < out.size && cut < 200; cut++)
        assert_int_equal(dump_parse(guard_end(guard, out.data, cut), &string), DUMP_UNVERIFIED);
    for (size_t at = 0; at < out.size && at < 200; at++) {
        out.data[at] ^= (unsigned char)(1 + at % 255);
        assert_int_equal(dump_parse(guard_end(guard, out.data, out.size), &string),
                         DUMP_UNVERIFIED);
        out.data[at] ^= (unsigned char)(1 + at % 255);
    }
    buffer_done(&out);
}

static void test_there_and_back(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",      "0",      "127",    "128",        "-128",       "-129",        "32767",
        "32768", "-32768", "-32769", "2147483647", "2147483648", "-2147483648", "-2147483649",
        "007",   "-0",     "+1",     "1 ",         "1.5",        "99999999999"};
    static char big[70000];
    static const size_t sizes[] = {1, 63, 64, 65, 16383, 16384, 16385, 65536, 70000};
    struct guard guard = guard_new(80000);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        check_round_trip(bytes_of(texts[i]), &guard);
    memset(big, 'x', sizeof big);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        check_round_trip((struct tarn_bytes){big, sizes[i]}, &guard);
    guard_free(&guard);
}

/* Trips where a number is written longer than Redis would. */
static void test_numbers_are_short(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t header_size;
        bool plain;
    } cases[] = {{"127", 3, false},         {"-128", 3, false},       {"128", 4, false},
                 {"-32768", 4, false},      {"32768", 6, false},      {"-2147483648", 6, false},
                 {"2147483648", 2, true},   {"-2147483649", 2, true}, {"012", 2, true},
                 {"1234567890123", 2, true}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct dump_head head;
        dump_begin(bytes_of(cases[i].text), &head);
        assert_int_equal(head.header_size, cases[i].header_size);
        assert_int_equal(head.body.size, cases[i].plain ? strlen(cases[i].text) : 0);
    }
}

static void test_encodings(void **state)
{
    (void)state;
    static const struct {
        struct tarn_bytes body;
        enum dump_outcome outcome;
        const char *text; /* NULL: packed, or no string */
    } cases[] = {
        {BYTES("\x00\x03"
               "abc"),
         DUMP_STRING, "abc"},
        {BYTES("\x00\x40\x03"
               "abc"),
         DUMP_STRING, "abc"}, /* longer than it need be */
        {BYTES("\x00\x80\x00\x00\x00\x03"
               "abc"),
         DUMP_STRING, "abc"},
        {BYTES("\x00\x81\x00\x00\x00\x00\x00\x00\x00\x03"
               "abc"),
         DUMP_STRING, "abc"},
        {BYTES("\x00\x02"
               "abc"),
         DUMP_STRING, "ab"}, /* what is behind is passed over */
        {BYTES("\x00\xc0\x80"), DUMP_STRING, "-128"},
        {BYTES("\x00\xc1\x00\x80"), DUMP_STRING, "-32768"},
        {BYTES("\x00\xc2\x00\x00\x00\x80"), DUMP_STRING, "-2147483648"},
        {BYTES("\x00\xc2\xff\xff\xff\x7f"), DUMP_STRING, "2147483647"},
        {BYTES("\x00\xc3\x05\x04\x00"
               "a\x20\x00"),
         DUMP_DAMAGED, NULL}, /* fewer packed bytes than told */
        {BYTES("\x00\xc3\x04\x04\x00"
               "a\x20\x00"),
         DUMP_STRING, NULL},
        {BYTES("\x00\xc3\x04\x00\x00"
               "a\x20\x00"),
         DUMP_DAMAGED, NULL},                                    /* of no bytes */
        {BYTES("\x00\xc3\x01\x40\x59\x00"), DUMP_DAMAGED, NULL}, /* 89 from 1 */
        {BYTES("\x00\xc3\x01\x40\x58\x00"), DUMP_STRING, NULL},  /* fails when it is unpacked */
        {BYTES("\x00\xc3\x81\xff\xff\xff\xff\xff\xff\xff\xff\x01"), DUMP_DAMAGED, NULL},
        {BYTES("\x00\xc3\xc0\x04\x00"
               "a\x20\x00"),
         DUMP_DAMAGED, NULL}, /* a number for a length */
        {BYTES("\x00\xc4\x00\x00\x00\x00\x00"), DUMP_DAMAGED, NULL},
        {BYTES("\x00\xff"), DUMP_DAMAGED, NULL},
        {BYTES("\x00\x82\x00\x00\x00\x03"
               "abc"),
         DUMP_DAMAGED, NULL},
        {BYTES("\x00\x04"
               "abc"),
         DUMP_DAMAGED, NULL},
        {BYTES("\x00\x40"), DUMP_DAMAGED, NULL},
        {BYTES("\x00\x80\x00\x00"), DUMP_DAMAGED, NULL},
        {BYTES("\x00\x80\xff\xff\xff\xff"), DUMP_DAMAGED, NULL},
        {BYTES("\x00\x81\xff\xff\xff\xff\xff\xff\xff\xff"), DUMP_DAMAGED, NULL},
        {BYTES("\x00\xc0"), DUMP_DAMAGED, NULL},
        {BYTES("\x00\xc1\x01"), DUMP_DAMAGED, NULL},
        {BYTES("\x00\xc2\x01\x02\x03"), DUMP_DAMAGED, NULL},
        {BYTES("\x00\xc3"), DUMP_DAMAGED, NULL},
        {BYTES("\x00\xc3\x01"), DUMP_DAMAGED, NULL},
        {BYTES("\x00"), DUMP_DAMAGED, NULL},
        {BYTES(""), DUMP_DAMAGED, NULL},
        {BYTES("\x01\x00"), DUMP_OTHER_TYPE, NULL},
        {BYTES("\x19\x00"), DUMP_OTHER_TYPE, NULL},
        {BYTES("\x08\x00"), DUMP_DAMAGED, NULL},
        {BYTES("\x1a\x00"), DUMP_DAMAGED, NULL},
        {BYTES("\xff\x00"), DUMP_DAMAGED, NULL},
    };
    struct guard guard = guard_new(100);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct dump_string string;
        if (parse_body(cases[i].body, DUMP_VERSION, &string, &guard) != cases[i].outcome)
            fail_msg("case %zu", i);
        if (cases[i].outcome != DUMP_STRING)
            continue;
        assert_int_equal(string.packed, cases[i].text == NULL);
        if (cases[i].text != NULL)
            assert_true(bytes_equal(string.bytes, bytes_of(cases[i].text)));
    }
    guard_free(&guard);
}

static void test_versions(void **state)
{
    (void)state;
    struct guard guard = guard_new(100);
    struct dump_string string;
    struct tarn_bytes body = BYTES("\x00\x01x");
    for (unsigned version = 0; version <= DUMP_VERSION_MAX; version++)
        assert_int_equal(parse_body(body, version, &string, &guard), DUMP_STRING);
    assert_int_equal(parse_body(body, DUMP_VERSION_MAX + 1, &string, &guard), DUMP_UNVERIFIED);
    assert_int_equal(parse_body(body, 0xffff, &string, &guard), DUMP_UNVERIFIED);
    guard_free(&guard);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_payloads_of_redis), cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_numbers_are_short), cmocka_unit_test(test_encodings),
        cmocka_unit_test(test_versions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
