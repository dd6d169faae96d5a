/* Goal: generated data sets are reproducible, distinct, of the sizes asked for, and parse back.
 * Method: generate into memory in every format, walk the records, compare with gen_key() and with
 * bytes written down here (another machine must give the same). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "cli/gen.h"
#include "core/buffer.h"
#include "core/hash.h"
#include "core/histogram.h"
#include "pack/format.h"

static int sink_buffer(void *context, const void *data, size_t size, struct tarn_error *error)
{
    struct buffer *out = context;
    buffer_append(out, data, size);
    return out->failed ? error_set(error, TARN_NOMEM, "full") : TARN_OK;
}

static struct buffer generate(const struct gen_options *options)
{
    struct buffer out = {0};
    assert_int_equal(gen_run(options, sink_buffer, &out, NULL, NULL, NULL), TARN_OK);
    return out;
}

static const struct tarn_format text = {.kind = TARN_FORMAT_TEXT};

/* Trips on: any change of the generator, which would make "reproducible" a lie across versions. */
static void test_known_bytes(void **context)
{
    (void)context;
    struct gen_options o = {
        .count = 2, .format = text, .value_low = 8, .value_high = 62, .seed = 1};
    struct buffer out = generate(&o);
    static const char expected[] = "ce12f364-2ab4-4522-acf6-425d2f05f796 idmStkcWAy7VYodKzKes9v\n"
                                   "a7cdc56a-cc41-48db-8420-55963a19a691 PtVCwjPJOPgQ\n";
    assert_int_equal(out.size, sizeof expected - 1);
    assert_memory_equal(out.data, expected, out.size);
    buffer_done(&out);
    o.count = 1;
    o.seed = 2;
    out = generate(&o);
    assert_memory_not_equal(out.data, expected, 36);
    buffer_done(&out);
    o.count = 0;
    out = generate(&o);
    assert_int_equal(out.size, 0);
    buffer_done(&out);
}

static int compare_keys(const void *a, const void *b)
{
    return memcmp(a, b, GEN_KEY_BYTES);
}

static void test_keys(void **context)
{
    (void)context;
    enum { COUNT = 200000 };
    char(*keys)[GEN_KEY_BYTES] = malloc((size_t)COUNT * GEN_KEY_BYTES);
    assert_non_null(keys);
    for (size_t i = 0; i < COUNT; i++) {
        gen_key(7, i, keys[i]);
        for (size_t j = 0; j < GEN_KEY_BYTES; j++) {
            char c = keys[i][j];
            bool dash = j == 8 || j == 13 || j == 18 || j == 23;
            assert_true(dash ? c == '-' : (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'));
        }
        assert_int_equal(keys[i][14], '4');
        assert_non_null(memchr("89ab", keys[i][19], 4));
    }
    qsort(keys, COUNT, GEN_KEY_BYTES, compare_keys);
    for (size_t i = 1; i < COUNT; i++)
        assert_memory_not_equal(keys[i - 1], keys[i], GEN_KEY_BYTES);
    /* even if only the first half, which is what makes them distinct, were compared */
    for (size_t i = 1; i < COUNT; i++)
        assert_true(memcmp(keys[i - 1], keys[i], 18) != 0);
    free(keys);
}

/* Every format holds the same records; sizes stay within the range and have its median. */
static void test_formats_hold_the_same(void **context)
{
    (void)context;
    enum { COUNT = 20000 };
    static const struct tarn_format formats[] = {
        {.kind = TARN_FORMAT_TEXT},
        {.kind = TARN_FORMAT_BINARY},
        {.kind = TARN_FORMAT_BINARY, .big_endian = true},
        {.kind = TARN_FORMAT_BINARY, .size_type = TARN_SIZE_U16},
        {.kind = TARN_FORMAT_BINARY, .size_type = TARN_SIZE_U16, .big_endian = true},
        {.kind = TARN_FORMAT_BINARY, .size_type = TARN_SIZE_U64},
        {.kind = TARN_FORMAT_BINARY, .size_type = TARN_SIZE_U64, .big_endian = true},
        {.kind = TARN_FORMAT_BINARY, .size_type = TARN_SIZE_VARINT},
    };
    uint64_t first_hash = 0;
    for (size_t f = 0; f < sizeof formats / sizeof formats[0]; f++) {
        struct gen_options o = {
            .count = COUNT, .format = formats[f], .value_low = 8, .value_high = 62, .seed = 3};
        struct buffer out = generate(&o);
        struct histogram *sizes = histogram_new();
        struct record record;
        uint64_t offset = 0, hash = 0;
        for (uint64_t i = 0; i < COUNT; i++) {
            char key[GEN_KEY_BYTES];
            gen_key(3, i, key);
            assert_int_equal(format_parse(&formats[f], buffer_view(&out), offset, true, &record),
                             FORMAT_OK);
            assert_int_equal(record.key.size, GEN_KEY_BYTES);
            assert_memory_equal(record.key.data, key, GEN_KEY_BYTES);
            hash = hash_checksum(record.value.data, record.value.size, hash);
            histogram_record(sizes, record.value.size, 1);
            offset += record.size;
        }
        assert_int_equal(offset, out.size);
        assert_int_equal(histogram_min(sizes), 8);
        assert_int_equal(histogram_max(sizes), 62);
        assert_in_range(histogram_quantile(sizes, 0.5), 34, 36);
        if (f == 0)
            first_hash = hash;
        assert_int_equal(hash, first_hash);
        histogram_free(sizes);
        buffer_done(&out);
    }
}

/* Values around and over the buffer of 1 MiB. Trips on: bytes lost or doubled at a flush. */
static void test_large_values(void **context)
{
    (void)context;
    static const uint64_t sizes[] = {
        0, 1, (1 << 20) - 40, (1 << 20) - 37, 1 << 20, (1 << 20) + 1, 3500000};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct gen_options o = {
            .count = 3, .format = text, .value_low = sizes[i], .value_high = sizes[i], .seed = 5};
        struct buffer out = generate(&o);
        assert_int_equal(out.size, 3 * (GEN_KEY_BYTES + 1 + sizes[i] + 1));
        struct record record;
        uint64_t offset = 0;
        for (int n = 0; n < 3; n++) {
            assert_int_equal(format_parse(&text, buffer_view(&out), offset, true, &record), 0);
            assert_int_equal(record.value.size, sizes[i]);
            const unsigned char *p = record.value.data;
            for (uint64_t j = 0; j < sizes[i]; j++)
                assert_true(p[j] > ' ' && p[j] < 0x7f);
            offset += record.size;
        }
        assert_int_equal(offset, out.size);
        buffer_done(&out);
    }
}

static bool cancel(void *context, const char *phase, uint64_t done, uint64_t total)
{
    (void)phase;
    (void)done;
    (void)total;
    return --*(int *)context > 0;
}

static void test_failures(void **context)
{
    (void)context;
    struct gen_options o = {
        .count = 100000, .format = text, .value_low = 35, .value_high = 35, .seed = 5};
    struct buffer out;
    struct tarn_error error = {.text = ""};
    buffer_init(&out, 3 << 20);
    assert_int_equal(gen_run(&o, sink_buffer, &out, NULL, NULL, &error), TARN_NOMEM);
    assert_string_equal(error.text, "full");
    buffer_done(&out);
    int calls = 2;
    buffer_init(&out, 0);
    assert_int_equal(gen_run(&o, sink_buffer, &out, cancel, &calls, &error), TARN_CANCELLED);
    assert_int_equal(calls, 0);
    buffer_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_bytes),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_formats_hold_the_same),
        cmocka_unit_test(test_large_values),
        cmocka_unit_test(test_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
