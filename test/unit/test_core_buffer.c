/* Goal: appends are whole or refused, the bound holds to the byte, a refused buffer keeps its
 * content, memory is given back when asked.
 * Method: every append at, one below and one above the bound; a mirror array for random use. */
#include "core/buffer.h"

#include <stdlib.h>

#include "lib/test.h"

static void check_text(const struct buffer *b, const char *expected)
{
    assert_int_equal(b->size, strlen(expected));
    if (b->size)
        assert_memory_equal(b->data, expected, b->size);
}

static void test_zeroed_is_usable(void **state)
{
    (void)state;
    struct buffer b = {0};
    buffer_append(&b, NULL, 0);
    assert_null(b.data);
    buffer_append_text(&b, "abc");
    buffer_append_byte(&b, 0xff);
    assert_int_equal(buffer_view(&b).size, 4);
    assert_memory_equal(b.data, "abc\xff", 4);
    buffer_done(&b);
    assert_null(b.data);
    buffer_append_text(&b, "again");
    check_text(&b, "again");
    buffer_done(&b);
}

static void test_numbers_and_printf(void **state)
{
    (void)state;
    struct buffer b;
    buffer_init(&b, 0);
    buffer_append_int(&b, INT64_MIN);
    buffer_append_byte(&b, ' ');
    buffer_append_uint(&b, UINT64_MAX);
    buffer_printf(&b, " %s-%d", "x", 7);
    check_text(&b, "-9223372036854775808 18446744073709551615 x-7");
    buffer_clear(&b);
    buffer_printf(&b, "%s", "");
    check_text(&b, "");
    buffer_printf(&b, "%200s", "y"); /* longer than the memory at hand */
    assert_int_equal(b.size, 200);
    assert_int_equal(b.data[199], 'y');
    buffer_done(&b);
}

/* Trips on printf needing a byte more than the bound for its NUL. */
static void test_bound_is_exact(void **state)
{
    (void)state;
    for (int kind = 0; kind < 4; kind++) {
        for (size_t bound = 1; bound < 200; bound++) {
            for (int over = 0; over <= 1; over++) {
                char text[256];
                memset(text, 'k', sizeof text);
                size_t size = bound + (size_t)over - 1; /* after one byte already there */
                text[size] = 0;
                struct buffer b;
                buffer_init(&b, bound);
                buffer_append_byte(&b, '!');
                if (kind == 0)
                    buffer_append(&b, text, size);
                else if (kind == 1)
                    buffer_printf(&b, "%s", text);
                else if (kind == 2)
                    buffer_append_escaped(&b, (struct tarn_bytes){text, size});
                else if (buffer_reserve(&b, size))
                    b.size += size;
                assert_int_equal(b.failed, over);
                assert_int_equal(b.size, over ? 1 : bound);
                assert_int_equal(b.data[0], '!');
                assert_true(b.capacity <= bound);
                buffer_done(&b);
            }
        }
    }
}

static void test_failed_is_sticky_until_clear(void **state)
{
    (void)state;
    struct buffer b;
    buffer_init(&b, 4);
    buffer_append_text(&b, "abc");
    buffer_append_text(&b, "de");
    assert_true(b.failed);
    buffer_append_text(&b, "f"); /* would fit, but comes after a hole */
    buffer_printf(&b, "g");
    assert_false(buffer_reserve(&b, 0));
    check_text(&b, "abc");
    buffer_clear(&b);
    assert_false(b.failed);
    buffer_append_text(&b, "wxyz");
    check_text(&b, "wxyz");
    buffer_done(&b);
}

static void test_absurd_sizes_are_refused(void **state)
{
    (void)state;
    struct buffer b;
    buffer_init(&b, 0);
    buffer_append_text(&b, "abc");
    assert_false(buffer_reserve(&b, SIZE_MAX)); /* size + extra overflows */
    assert_true(b.failed);
    check_text(&b, "abc");
    buffer_clear(&b);
    buffer_append_text(&b, "abc");
    assert_false(buffer_reserve(&b, SIZE_MAX / 2 - 1)); /* more than an object can have */
    buffer_clear(&b);
    buffer_append_text(&b, "abc");
    assert_false(buffer_reserve(&b, SIZE_MAX / 2 - 4096)); /* more than there is */
    check_text(&b, "abc");
    buffer_done(&b);
}

static void test_escaping(void **state)
{
    (void)state;
    struct buffer b;
    buffer_init(&b, 0);
    static const char raw[] = "a \"q\" \\ \n\r\t\0\x1f\x7f\x80\xff~";
    buffer_append_escaped(&b, (struct tarn_bytes){raw, sizeof raw - 1});
    check_text(&b, "a \\\"q\\\" \\\\ \\n\\r\\t\\x00\\x1f\\x7f\\x80\\xff~");
    buffer_done(&b);
}

/* Trips on wrong moves in consume and on growth that loses bytes. */
static void test_random_use_against_a_mirror(void **state)
{
    (void)state;
    enum { MAX = 5000 };
    static unsigned char mirror[MAX];
    size_t mirror_size = 0;
    struct buffer b;
    buffer_init(&b, MAX);
    uint64_t random = 7;
    for (int i = 0; i < 20000; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        size_t size = (random >> 33) % 400;
        if (random >> 63) {
            if (mirror_size + size > MAX)
                continue;
            for (size_t j = 0; j < size; j++)
                mirror[mirror_size + j] = (unsigned char)(random >> (j % 56));
            buffer_append(&b, mirror + mirror_size, size);
            mirror_size += size;
        } else {
            size = size < mirror_size ? size : mirror_size;
            memmove(mirror, mirror + size, mirror_size - size);
            mirror_size -= size;
            buffer_consume(&b, size);
        }
        if (i % 64 == 0)
            buffer_trim(&b, (random >> 40) % 600);
        assert_false(b.failed);
        assert_int_equal(b.size, mirror_size);
        if (mirror_size)
            assert_memory_equal(b.data, mirror, mirror_size);
    }
    buffer_done(&b);
}

static void test_trim(void **state)
{
    (void)state;
    struct buffer b;
    buffer_init(&b, 0);
    assert_true(buffer_reserve(&b, 10000));
    buffer_append_text(&b, "abc");
    buffer_trim(&b, 2); /* three bytes are in use: nothing to give */
    assert_true(b.capacity >= 10000);
    buffer_trim(&b, 100);
    assert_int_equal(b.capacity, 100);
    check_text(&b, "abc");
    buffer_clear(&b);
    buffer_trim(&b, 0);
    assert_true(b.capacity == 0 && b.data == NULL);
    buffer_append_text(&b, "xyz");
    check_text(&b, "xyz");
    buffer_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_zeroed_is_usable),
        cmocka_unit_test(test_numbers_and_printf),
        cmocka_unit_test(test_bound_is_exact),
        cmocka_unit_test(test_failed_is_sticky_until_clear),
        cmocka_unit_test(test_absurd_sizes_are_refused),
        cmocka_unit_test(test_escaping),
        cmocka_unit_test(test_random_use_against_a_mirror),
        cmocka_unit_test(test_trim),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
