/* Goal: headers and names of segments are read back exactly, and nothing else is read.
 * Method: headers with each field at its limits, in each encoding; every bit flipped; names of all
 * kinds. */
#include "wal/segment.h"

#include <jansson.h>

#include "lib/test.h"

static const struct segment_header headers[] = {
    {WAL_BINARY, 0, 1, 0, 0, 0, 0, 0},
    {WAL_CBOR, 7, 17, 0x1234, 0x5a17, 99, 0xc4a1, 100},
    {WAL_JSON, 0, 1, 0, 0, 0, 0, 1},
    {WAL_JSON, 63, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX},
    {WAL_BINARY, 63, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX},
    {WAL_JSON, 12, 345, 0xfedcba9876543210, 0x0123456789abcdef, 1000000, 0xabcdef, 1000001},
};
enum { HEADERS = sizeof headers / sizeof *headers };

static void test_round_trip(void **state)
{
    (void)state;
    for (size_t i = 0; i < HEADERS; i++) {
        const struct segment_header *h = &headers[i];
        unsigned char bytes[SEGMENT_HEADER_BYTES];
        uint64_t written, read;
        struct segment_header again;
        segment_header_write(h, bytes, &written);
        assert_true(segment_header_read(bytes, &again, &read));
        assert_true(written == read);
        assert_true(again.encoding == h->encoding && again.file == h->file);
        assert_true(again.number == h->number && again.store_id == h->store_id);
        assert_true(again.salt == h->salt && again.first_sequence == h->first_sequence);
        assert_true(again.previous_sequence == h->previous_sequence);
        assert_true(again.previous_checksum == h->previous_checksum);
    }
}

static void test_every_bit(void **state)
{
    (void)state;
    for (size_t i = 0; i < HEADERS; i++) {
        unsigned char bytes[SEGMENT_HEADER_BYTES];
        uint64_t checksum;
        struct segment_header again;
        segment_header_write(&headers[i], bytes, &checksum);
        for (size_t bit = 0; bit < 8 * sizeof bytes; bit++) {
            bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
            assert_false(segment_header_read(bytes, &again, &checksum));
            bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
        }
    }
}

static void test_line_is_json(void **state)
{
    (void)state;
    unsigned char bytes[SEGMENT_HEADER_BYTES];
    uint64_t checksum;
    segment_header_write(&headers[5], bytes, &checksum);
    assert_int_equal(bytes[SEGMENT_HEADER_BYTES - 1], '\n');
    json_t *line = json_loadb((const char *)bytes, sizeof bytes, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(line);
    assert_int_equal(json_integer_value(json_object_get(line, "file")), 12);
    assert_int_equal(json_integer_value(json_object_get(line, "number")), 345);
    assert_string_equal(json_string_value(json_object_get(line, "store")), "fedcba9876543210");
    assert_int_equal(json_integer_value(json_object_get(line, "first_seq")), 1000001);
    json_decref(line);
}

/* What no header has: zeros, spaces, a file or number that is none, with a right checksum. */
static void test_no_headers(void **state)
{
    (void)state;
    static const struct segment_header none[] = {
        {WAL_BINARY, 64, 1, 0, 0, 0, 0, 0},
        {WAL_BINARY, 0, 0, 0, 0, 0, 0, 0},
        {WAL_JSON, 64, 1, 0, 0, 0, 0, 0},
        {WAL_JSON, 0, 0, 0, 0, 0, 0, 0},
        {(enum wal_encoding)3, 0, 1, 0, 0, 0, 0, 0},
    };
    unsigned char bytes[SEGMENT_HEADER_BYTES] = {0};
    uint64_t checksum;
    struct segment_header header;
    assert_false(segment_header_read(bytes, &header, &checksum));
    memset(bytes, ' ', sizeof bytes);
    assert_false(segment_header_read(bytes, &header, &checksum));
    memset(bytes, '{', sizeof bytes);
    assert_false(segment_header_read(bytes, &header, &checksum));
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        segment_header_write(&none[i], bytes, &checksum);
        assert_false(segment_header_read(bytes, &header, &checksum));
    }
}

static void test_names(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",
        "wal",
        "wal-00-",
        "wal-00-.log",
        "wal-00-0000000000.log",
        "wal-0-0000000001.log",
        "wal-64-0000000001.log",
        "wal-00-1.log",
        "wal-00-00000000001.log",
        "wal-00-0000000001.log.tmp",
        "wal-00-0000000001.lo",
        "wal-00-0000000001",
        "Wal-00-0000000001.log",
        "wal-00_0000000001.log",
        "wal-+1-0000000001.log",
        "wal-00-18446744073709551616.log",
        "checkpoint-1",
    };
    static const uint64_t numbers[] = {1, 17, 9999999999, 10000000000, UINT64_MAX};
    char name[SEGMENT_NAME_BYTES];
    unsigned file;
    uint64_t number;
    segment_name(3, 17, name);
    assert_string_equal(name, "wal-03-0000000017.log");
    for (unsigned f = 0; f < WAL_FILES_MAX; f++)
        for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
            segment_name(f, numbers[i], name);
            assert_true(segment_name_parse(name, &file, &number));
            assert_true(file == f && number == numbers[i]);
        }
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_false(segment_name_parse(wrong[i], &file, &number));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),   cmocka_unit_test(test_every_bit),
        cmocka_unit_test(test_line_is_json), cmocka_unit_test(test_no_headers),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
