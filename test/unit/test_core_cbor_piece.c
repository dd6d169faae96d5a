/* Goal: pieces of CBOR are taken as RFC 8949 has them, in any width, and what is written is read
 * back; bytes that end within one are told from bytes that are none; nothing beyond them is read.
 * Method: the examples of the RFC's appendix A, every first byte, and every cut of each example,
 * all lying against an unreadable page.
 *
 * Bugs planted once to see it fail: *in moved on after SHORT; a negative number read as unsigned;
 * NEDATA taken for malformed. */
#include "lib/test.h"

#include "core/cbor_piece.h"
#include "lib/guard.h"

static struct guard guard;

static const struct example {
    const char *bytes;
    size_t size;
    enum cbor_piece_type type;
    uint64_t number;
    const char *text;
} examples[] = {
    {"\x00", 1, CBOR_PIECE_UNSIGNED, 0, NULL},
    {"\x17", 1, CBOR_PIECE_UNSIGNED, 23, NULL},
    {"\x18\x18", 2, CBOR_PIECE_UNSIGNED, 24, NULL},
    {"\x19\x03\xe8", 3, CBOR_PIECE_UNSIGNED, 1000, NULL},
    {"\x1a\x00\x0f\x42\x40", 5, CBOR_PIECE_UNSIGNED, 1000000, NULL},
    {"\x1b\xff\xff\xff\xff\xff\xff\xff\xff", 9, CBOR_PIECE_UNSIGNED, UINT64_MAX, NULL},
    {"\x20", 1, CBOR_PIECE_NEGATIVE, 0, NULL},
    {"\x38\x63", 2, CBOR_PIECE_NEGATIVE, 99, NULL},
    {"\x39\x03\xe7", 3, CBOR_PIECE_NEGATIVE, 999, NULL},
    {"\x3a\x00\x00\x00\x01", 5, CBOR_PIECE_NEGATIVE, 1, NULL},
    {"\x3b\xff\xff\xff\xff\xff\xff\xff\xff", 9, CBOR_PIECE_NEGATIVE, UINT64_MAX, NULL},
    {"\x40", 1, CBOR_PIECE_BYTES, 0, ""},
    {"\x44\x01\x02\x03\x04", 5, CBOR_PIECE_BYTES, 0, "\x01\x02\x03\x04"},
    {"\x58\x02xy", 4, CBOR_PIECE_BYTES, 0, "xy"},
    {"\x60", 1, CBOR_PIECE_TEXT, 0, ""},
    {"\x64IETF", 5, CBOR_PIECE_TEXT, 0, "IETF"},
    {"\xa0", 1, CBOR_PIECE_MAP, 0, NULL},
    {"\xa2", 1, CBOR_PIECE_MAP, 2, NULL},
    {"\xb8\x05", 2, CBOR_PIECE_MAP, 5, NULL},
    {"\x80", 1, CBOR_PIECE_OTHER, 0, NULL},
    {"\x5f", 1, CBOR_PIECE_OTHER, 0, NULL},
    {"\xbf", 1, CBOR_PIECE_OTHER, 0, NULL},
    {"\xc1", 1, CBOR_PIECE_OTHER, 0, NULL},
    {"\xf5", 1, CBOR_PIECE_OTHER, 0, NULL},
    {"\xf6", 1, CBOR_PIECE_OTHER, 0, NULL},
    {"\xf9\x3c\x00", 3, CBOR_PIECE_OTHER, 0, NULL},
    {"\xff", 1, CBOR_PIECE_OTHER, 0, NULL},
};
enum { EXAMPLES = sizeof examples / sizeof *examples };

static void test_examples(void **state)
{
    (void)state;
    for (size_t i = 0; i < EXAMPLES; i++) {
        const struct example *e = &examples[i];
        struct tarn_bytes in = guard_end(&guard, e->bytes, e->size), left = in;
        struct cbor_piece piece = {CBOR_PIECE_OTHER};
        if (cbor_piece_take(&left, &piece) != CBOR_TAKEN)
            fail_msg("example %zu", i);
        assert_int_equal(piece.type, e->type);
        assert_true(piece.number == e->number);
        assert_int_equal(left.size, 0);
        assert_ptr_equal(left.data, (const char *)in.data + in.size);
        if (e->text == NULL)
            continue;
        assert_non_null(piece.bytes.data);
        assert_true(bytes_equal(piece.bytes, bytes_of(e->text)));
    }
}

static void test_every_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < EXAMPLES; i++) {
        for (size_t size = 0; size < examples[i].size; size++) {
            struct tarn_bytes in = guard_end(&guard, examples[i].bytes, size), left = in;
            struct cbor_piece piece;
            assert_int_equal(cbor_piece_take(&left, &piece), CBOR_SHORT);
            assert_ptr_equal(left.data, in.data);
            assert_int_equal(left.size, in.size);
        }
    }
}

static void test_every_first_byte(void **state)
{
    (void)state;
    for (int first = 0; first < 256; first++) {
        for (size_t size = 1; size < 12; size++) {
            unsigned char bytes[12] = {(unsigned char)first};
            struct tarn_bytes in = guard_end(&guard, bytes, size), left = in;
            struct cbor_piece piece = {CBOR_PIECE_OTHER};
            enum cbor_outcome outcome = cbor_piece_take(&left, &piece);
            bool reserved = (first & 31) >= 28 && (first & 31) < 31;
            if (reserved)
                assert_int_equal(outcome, CBOR_BAD);
            assert_true(outcome == CBOR_TAKEN ? left.size < in.size : left.size == in.size);
            assert_true(piece.bytes.size <= in.size);
        }
    }
}

static void test_written(void **state)
{
    (void)state;
    static const char long_text[300] = "x";
    const struct tarn_bytes strings[] = {{"", 0}, {"a", 1}, {long_text, 23}, {long_text, 300}};
    const int64_t numbers[] = {0, 23, 24, 255, 65536, INT64_MAX, -1, -24, -25, INT64_MIN};
    struct buffer out = {0};
    struct cbor_piece piece;
    cbor_append_map(&out, 3);
    for (size_t i = 0; i < 4; i++) {
        cbor_append_text(&out, strings[i]);
        cbor_append_bytes(&out, strings[i]);
    }
    for (size_t i = 0; i < 10; i++)
        cbor_append_int(&out, numbers[i]);
    struct tarn_bytes in = buffer_view(&out);
    assert_int_equal(cbor_piece_take(&in, &piece), CBOR_TAKEN);
    assert_true(piece.type == CBOR_PIECE_MAP && piece.number == 3);
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(cbor_piece_take(&in, &piece), CBOR_TAKEN);
        assert_int_equal(piece.type, i % 2 ? CBOR_PIECE_BYTES : CBOR_PIECE_TEXT);
        assert_true(bytes_equal(piece.bytes, strings[i / 2]));
    }
    for (size_t i = 0; i < 10; i++) {
        assert_int_equal(cbor_piece_take(&in, &piece), CBOR_TAKEN);
        assert_int_equal(piece.type, numbers[i] < 0 ? CBOR_PIECE_NEGATIVE : CBOR_PIECE_UNSIGNED);
        assert_true(piece.number ==
                    (numbers[i] < 0 ? (uint64_t)(-1 - numbers[i]) : (uint64_t)numbers[i]));
    }
    assert_int_equal(in.size, 0);
    buffer_done(&out);
}

static void test_bound(void **state)
{
    (void)state;
    struct buffer out;
    buffer_init(&out, 4);
    cbor_append_text(&out, bytes_of("too long"));
    assert_true(out.failed && out.size == 0);
    buffer_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_examples),
        cmocka_unit_test(test_every_cut),
        cmocka_unit_test(test_every_first_byte),
        cmocka_unit_test(test_written),
        cmocka_unit_test(test_bound),
    };
    guard = guard_new(1 << 12);
    int failures = cmocka_run_group_tests(tests, NULL, NULL);
    guard_free(&guard);
    return failures;
}
