/* Goal: the checksum is CRC-64 as Redis computes it, whatever pieces the bytes come in.
 * Method: the published check value; a model that goes bit by bit, for all sizes up to 100 at all
 * alignments, whole and cut in two. */
#include "core/crc64.h"

#include "lib/test.h"

#include "core/random.h"

static uint64_t model(uint64_t crc, const unsigned char *data, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ 0x95ac9329ac4bc9b5ull : crc >> 1;
    }
    return crc;
}

static void test_check_value(void **state)
{
    (void)state;
    assert_true(crc64_update(0, "123456789", 9) == 0xe9c6d914c4b8d9caull);
    assert_true(crc64_update(0, NULL, 0) == 0);
    assert_true(crc64_update(77, NULL, 0) == 77);
}

/* Trips on a wrong table, and on bytes left out between words and rest. */
static void test_against_bits(void **state)
{
    (void)state;
    unsigned char data[128];
    uint64_t random = 5;
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (unsigned char)random_next(&random);
    for (size_t from = 0; from < 9; from++) {
        for (size_t size = 0; size <= 100; size++) {
            uint64_t wanted = model(0, data + from, size);
            assert_true(crc64_update(0, data + from, size) == wanted);
            uint64_t half = crc64_update(0, data + from, size / 3);
            assert_true(crc64_update(half, data + from + size / 3, size - size / 3) == wanted);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_check_value),
        cmocka_unit_test(test_against_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
