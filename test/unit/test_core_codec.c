/* Goal: integers keep their value through bytes, in the stated byte order; a varint is refused when
 * cut short or over 64 bits; views compare as they should; a key's hash depends on its secret.
 * Method: fixed byte patterns, powers of two with neighbours, every cut of every encoding. */
#include "core/codec.h"

#include "lib/test.h"

#include "core/bytes.h"
#include "core/hash.h"
#include "lib/guard.h"

static void test_byte_order(void **state)
{
    (void)state;
    unsigned char b[9] = {0};
    store_u16le(b + 1, 0x0102);
    assert_memory_equal(b + 1, "\x02\x01", 2);
    store_u16be(b + 1, 0x0102);
    assert_memory_equal(b + 1, "\x01\x02", 2);
    assert_int_equal(load_u16be(b + 1), 0x0102);
    assert_int_equal(load_u16le(b + 1), 0x0201);
    store_u32le(b + 1, 0x01020304);
    assert_memory_equal(b + 1, "\x04\x03\x02\x01", 4);
    store_u32be(b + 1, 0x01020304);
    assert_memory_equal(b + 1, "\x01\x02\x03\x04", 4);
    assert_int_equal(load_u32be(b + 1), 0x01020304);
    assert_int_equal(load_u32le(b + 1), 0x04030201);
    store_u64le(b + 1, 0x0102030405060708);
    assert_memory_equal(b + 1, "\x08\x07\x06\x05\x04\x03\x02\x01", 8);
    store_u64be(b + 1, 0x0102030405060708);
    assert_memory_equal(b + 1, "\x01\x02\x03\x04\x05\x06\x07\x08", 8);
    assert_true(load_u64be(b + 1) == 0x0102030405060708);
    assert_true(load_u64le(b + 1) == 0x0807060504030201);
}

static void check_varint(struct guard *guard, uint64_t value)
{
    unsigned char encoded[VARINT_BYTES_MAX];
    size_t size = store_varint(encoded, value);
    uint64_t back = ~value;
    assert_in_range(size, 1, VARINT_BYTES_MAX);
    struct tarn_bytes bytes = guard_end(guard, encoded, size);
    assert_int_equal(load_varint(bytes.data, bytes.size, &back), size);
    assert_true(back == value);
    for (size_t cut = 0; cut < size; cut++) {
        bytes = guard_end(guard, encoded, cut);
        assert_int_equal(load_varint(bytes.data, bytes.size, &back), 0);
    }
}

static void test_varint(void **state)
{
    (void)state;
    struct guard guard = guard_new(16);
    for (int i = 0; i < 64; i++) {
        for (uint64_t delta = 0; delta < 3; delta++)
            check_varint(&guard, (1ull << i) + delta - 1);
    }
    check_varint(&guard, UINT64_MAX);
    unsigned char b[VARINT_BYTES_MAX];
    assert_int_equal(store_varint(b, 300), 2);
    assert_memory_equal(b, "\xac\x02", 2);

    uint64_t value;
    memset(b, 0xff, sizeof b);
    assert_int_equal(load_varint(b, sizeof b, &value), -1);
    b[9] = 2; /* bit 64 */
    assert_int_equal(load_varint(b, sizeof b, &value), -1);
    b[9] = 1;
    assert_int_equal(load_varint(b, sizeof b, &value), 10);
    assert_true(value == UINT64_MAX);
    guard_free(&guard);
}

static void test_views(void **state)
{
    (void)state;
    struct tarn_bytes none = {0}, empty = bytes_of(""), get = bytes_of("GeT");
    assert_true(bytes_equal(none, empty));
    assert_false(bytes_equal(get, empty));
    assert_true(bytes_equal(get, bytes_of("GeT")));
    assert_false(bytes_equal(get, bytes_of("GET")));
    assert_true(bytes_equal_nocase(get, "get"));
    assert_true(bytes_equal_nocase(get, "GET"));
    assert_false(bytes_equal_nocase(get, "GE"));
    assert_false(bytes_equal_nocase(get, "GETX"));
    assert_true(bytes_equal_nocase(empty, ""));
    assert_false(bytes_equal_nocase((struct tarn_bytes){"get\0", 4}, "get"));
    assert_false(bytes_equal_nocase(bytes_of("@"), "`")); /* differ by 0x20, are no letters */
}

static void test_hash_depends_on_its_secret(void **state)
{
    (void)state;
    unsigned char one[HASH_SECRET_BYTES], two[HASH_SECRET_BYTES];
    for (size_t i = 0; i < sizeof one; i++) {
        one[i] = (unsigned char)(i * 7 + 1);
        two[i] = (unsigned char)(i * 11 + 3);
    }
    char key[300];
    memset(key, 'k', sizeof key);
    for (size_t size = 0; size < sizeof key; size++) {
        struct tarn_bytes view = {key, size};
        assert_true(hash_key(one, view) == hash_key(one, view));
        assert_true(hash_key(one, view) != hash_key(two, view));
    }
    assert_true(hash_checksum(key, 9, 0) != hash_checksum(key, 9, 1));
    assert_true(hash_checksum(key, 9, 0) != hash_checksum(key, 10, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_byte_order),
        cmocka_unit_test(test_varint),
        cmocka_unit_test(test_views),
        cmocka_unit_test(test_hash_depends_on_its_secret),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
