/* Goal: /mset's JSON is taken exactly as documented and anything else is refused with its place.
 * Method: bodies against an unreadable page; every prefix of good bodies refused; each allocation
 * failed. Errors' places are tested over HTTP, in test_http_write.py. */
#include "lib/test.h"

#include <stdlib.h>

#include "lib/fault_malloc.h"
#include "lib/guard.h"
#include "server/http_mset.h"

static struct guard guard;

static int parse(const char *body, size_t size, size_t max, struct tarn_record **records,
                 size_t *count, struct tarn_error *error)
{
    struct tarn_bytes copy = guard_end(&guard, body, size);
    unsigned char *place = guard.map + ((const unsigned char *)copy.data - guard.map);
    return http_mset_parse(place, size, max, records, count, error);
}

static void assert_bytes(struct tarn_bytes bytes, const char *expected, size_t size)
{
    assert_int_equal(bytes.size, size);
    assert_non_null(bytes.data);
    assert_memory_equal(bytes.data, expected, size);
}

static const char object[] = " {\"a\\u0000\" : \"1\\n\",\"\":{\"base64\" : \"/wE=\" },\"a\":\"\"} ";
static const char list[] =
    "[[\"a\",\"1\"],[{\"base64\":\"AAE=\"},{\"base64\":\"\"},0.25],[ \"c\" , \"3\" , 1.5 ]]\n";

static void test_object(void **state)
{
    (void)state;
    struct tarn_record *records = NULL;
    size_t count = 0;
    assert_int_equal(parse(object, sizeof object - 1, 3, &records, &count, NULL), TARN_OK);
    assert_int_equal(count, 3);
    assert_bytes(records[0].key, "a\0", 2);
    assert_bytes(records[0].value, "1\n", 2);
    assert_bytes(records[1].key, "", 0);
    assert_bytes(records[1].value, "\xff\x01", 2);
    assert_bytes(records[2].value, "", 0);
    assert_int_equal(records[2].expire_ms, 0);
    free(records);
}

static void test_list(void **state)
{
    (void)state;
    struct tarn_record *records = NULL;
    size_t count = 0;
    assert_int_equal(parse(list, sizeof list - 1, 3, &records, &count, NULL), TARN_OK);
    assert_int_equal(count, 3);
    assert_bytes(records[0].key, "a", 1);
    assert_int_equal(records[0].expire_ms, 0);
    assert_bytes(records[1].key, "\0\1", 2);
    assert_bytes(records[1].value, "", 0);
    assert_int_equal(records[1].expire_ms, 250);
    assert_int_equal(records[2].expire_ms, 1500);
    free(records);
    records = NULL;
    assert_int_equal(parse("{}", 2, 0, &records, &count, NULL), TARN_OK);
    assert_int_equal(count, 0);
    assert_null(records);
}

/* Trips on: reading past the end, an error without place, a leak. */
static void test_prefixes(void **state)
{
    (void)state;
    static const struct tarn_bytes bodies[] = {{object, sizeof object - 3},
                                               {list, sizeof list - 3}};
    for (size_t i = 0; i < 2; i++)
        for (size_t size = 0; size < bodies[i].size; size++) {
            struct tarn_record *records = NULL;
            struct tarn_error error = {0};
            size_t count;
            assert_int_equal(parse(bodies[i].data, size, 9, &records, &count, &error),
                             TARN_INVALID);
            assert_true(error.offset <= size);
            assert_null(records);
        }
}

static void test_bounds(void **state)
{
    (void)state;
    struct tarn_record *records = NULL;
    struct tarn_error error;
    size_t count;
    assert_int_equal(parse(object, sizeof object - 1, 2, &records, &count, &error), TARN_TOOBIG);
    assert_non_null(strstr(error.text, "2 keys"));
    fault_malloc_arm(1, false);
    assert_int_equal(parse(object, sizeof object - 1, 3, &records, &count, &error), TARN_NOMEM);
    assert_int_equal(fault_malloc_disarm(), 1);
    assert_null(records);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_object),
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_bounds),
    };
    guard = guard_new(1 << 14);
    int failures = cmocka_run_group_tests(tests, NULL, NULL);
    guard_free(&guard);
    return failures;
}
