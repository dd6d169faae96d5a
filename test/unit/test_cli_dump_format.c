/* Goal: a record in a dump of any format is read back as it was, whatever its bytes; a record that
 * is not whole yet is waited for, never guessed; what is malformed is refused, without a byte read
 * beyond the end.
 * Method: random records of all sizes there and back; every cut of each, and every byte of it
 * changed to every value, in memory that ends at an unreadable page. (Texts of errors, and other
 * programs' dumps: test_dump_load.py.)
 *
 * Bugs planted once to see it fail: a NUL in a key written as text; an expiry left out; a line
 * taken before its newline came; a string's decoding running past the line. */
#include "lib/test.h"

#include <stdio.h>

#include "cli/dump_format.h"
#include "core/random.h"
#include "lib/guard.h"

static struct guard guard;

static const struct dump_format formats[] = {
    {DUMP_JSON, {0}},
    {DUMP_CBOR, {0}},
    {DUMP_TEXT, {.kind = TARN_FORMAT_TEXT}},
    {DUMP_BINARY, {.kind = TARN_FORMAT_BINARY}},
    {DUMP_BINARY, {.kind = TARN_FORMAT_BINARY, .size_type = TARN_SIZE_VARINT}},
};
enum { FORMATS = sizeof formats / sizeof *formats };

static const struct dump_place place = {"dump", 1000, 7, 8};

static bool holds_all(const struct dump_format *format)
{
    return format->kind == DUMP_JSON || format->kind == DUMP_CBOR;
}

/* A record that the format can hold. kinds: bytes are below this. */
static struct tarn_record make_record(const struct dump_format *format, uint64_t *random,
                                      size_t size_max, unsigned kinds, unsigned char *bytes)
{
    struct tarn_record r = {
        .key = {bytes, random_next(random) % (size_max + 1)},
        .value = {bytes + size_max, random_next(random) % (size_max + 1)},
        .expire_ms = holds_all(format) && random_next(random) % 2
                         ? (int64_t)(random_next(random) >> 1) | 1
                         : 0,
    };
    for (size_t i = 0; i < 2 * size_max; i++) {
        bytes[i] = (unsigned char)(random_next(random) % kinds);
        if (format->kind == DUMP_TEXT && (bytes[i] <= ' '))
            bytes[i] = 'x';
    }
    return r;
}

static bool same(const struct tarn_record *a, const struct tarn_record *b)
{
    return bytes_equal(a->key, b->key) && bytes_equal(a->value, b->value) &&
           a->expire_ms == b->expire_ms;
}

static enum dump_outcome decode(const struct dump_format *format, const void *data, size_t size,
                                bool at_end, size_t *ret_size, struct tarn_record *ret_record,
                                struct tarn_error *error)
{
    struct tarn_bytes bytes = guard_end(&guard, data, size);
    unsigned char *writable = guard.map + ((const unsigned char *)bytes.data - guard.map);
    error->text[0] = 0;
    return dump_decode(format, writable, size, at_end, &place, ret_size, ret_record, error);
}

static void test_round_trip(void **state)
{
    (void)state;
    static unsigned char bytes[2 * 600];
    const unsigned kinds[] = {2, 33, 128, 256};
    uint64_t random = 1;
    for (size_t f = 0; f < FORMATS; f++) {
        for (int i = 0; i < 4000 / TEST_SLOWER; i++) {
            struct tarn_record record =
                make_record(&formats[f], &random, i % 600, kinds[i % 4], bytes);
            struct tarn_record got;
            struct tarn_error error;
            struct buffer out = {0};
            const char *why;
            size_t size;
            assert_int_equal(dump_encode(&formats[f], &record, &out, &why), TARN_OK);
            size_t one = out.size;
            buffer_append_text(&out, "{\"key\": what follows"); /* is not looked at */
            if (decode(&formats[f], out.data, out.size, true, &size, &got, &error) != DUMP_RECORD)
                fail_msg("format %zu: %s", f, error.text);
            assert_int_equal(size, one);
            assert_true(same(&got, &record));
            assert_true(one <= dump_record_bytes_max(&formats[f]));
            buffer_done(&out);
        }
    }
}

/* More is to come: no cut is a record, and none is an error. At the end: an error, or, of a last
 * line whose newline alone is missing, the same record. */
static void test_every_cut(void **state)
{
    (void)state;
    static unsigned char bytes[2 * 40];
    uint64_t random = 2;
    for (size_t f = 0; f < FORMATS; f++) {
        for (int i = 0; i < 50; i++) {
            struct tarn_record record = make_record(&formats[f], &random, 40, 256, bytes), got;
            struct tarn_error error;
            struct buffer out = {0};
            const char *why;
            size_t taken;
            assert_int_equal(dump_encode(&formats[f], &record, &out, &why), TARN_OK);
            for (size_t size = 1; size < out.size; size++) {
                enum dump_outcome outcome =
                    decode(&formats[f], out.data, size, false, &taken, &got, &error);
                assert_int_equal(outcome, DUMP_INCOMPLETE);
                outcome = decode(&formats[f], out.data, size, true, &taken, &got, &error);
                if (outcome == DUMP_RECORD && formats[f].kind != DUMP_TEXT)
                    assert_true(size + 1 == out.size && same(&got, &record));
                else if (outcome != DUMP_RECORD)
                    assert_true(outcome == DUMP_BAD && strstr(error.text, "dump: "));
            }
            buffer_done(&out);
        }
    }
}

static void test_every_byte_changed(void **state)
{
    (void)state;
    static unsigned char bytes[2 * 12];
    uint64_t random = 3;
    for (size_t f = 0; f < FORMATS; f++) {
        for (int i = 0; i < 6; i++) {
            struct tarn_record record = make_record(&formats[f], &random, 12, 256, bytes), got;
            struct tarn_error error;
            struct buffer out = {0};
            const char *why;
            size_t taken;
            assert_int_equal(dump_encode(&formats[f], &record, &out, &why), TARN_OK);
            for (size_t at = 0; at < out.size; at++) {
                for (int byte = 0; byte < 256; byte++) {
                    unsigned char kept = out.data[at];
                    out.data[at] = (unsigned char)byte;
                    enum dump_outcome outcome =
                        decode(&formats[f], out.data, out.size, byte % 2, &taken, &got, &error);
                    out.data[at] = kept;
                    if (outcome == DUMP_RECORD || outcome == DUMP_NOTHING)
                        assert_in_range(taken, 1, out.size);
                    if (outcome == DUMP_BAD)
                        assert_true(error.text[0] != 0 && error.offset >= place.offset &&
                                    error.offset <= place.offset + out.size);
                }
            }
            buffer_done(&out);
        }
    }
}

/* The first byte of a key or value that its format cannot hold is found, and nothing is written. */
static void test_what_cannot_be_written(void **state)
{
    (void)state;
    static const struct {
        struct tarn_record record;
        const char *why;
    } table[] = {
        {{{"a\nb", 3}, {"", 0}, 0}, "key has a newline"},
        {{{"a", 1}, {"\n", 1}, 0}, "value has a newline"},
        {{{"a b", 3}, {"", 0}, 0}, "separator"},
        {{{"a\tb", 3}, {"", 0}, 0}, "separator"},
        {{{"a", 1}, {"", 0}, 5}, "expiry"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct buffer out = {0};
        const char *why = "";
        assert_int_equal(dump_encode(&formats[2], &table[i].record, &out, &why), TARN_INVALID);
        assert_non_null(strstr(why, table[i].why));
        assert_int_equal(out.size, 0);
        buffer_done(&out);
    }
}

static void test_no_memory(void **state)
{
    (void)state;
    const struct tarn_record record = {{"some key", 8}, {"and its value", 13}, 9};
    const char *why;
    for (size_t f = 0; f < 2; f++) {
        for (size_t room = 1; room < 30; room++) {
            struct buffer out;
            buffer_init(&out, room + 4);
            buffer_append(&out, "some", 4);
            assert_int_equal(dump_encode(&formats[f], &record, &out, &why), TARN_NOMEM);
            assert_int_equal(out.size, 4); /* nothing is left half-way */
            buffer_done(&out);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),         cmocka_unit_test(test_every_cut),
        cmocka_unit_test(test_every_byte_changed), cmocka_unit_test(test_what_cannot_be_written),
        cmocka_unit_test(test_no_memory),
    };
    guard = guard_new(1 << 16);
    int failures = cmocka_run_group_tests(tests, NULL, NULL);
    guard_free(&guard);
    return failures;
}
