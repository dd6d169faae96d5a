/* Goal: format_detect() names the variant a file was written in, refuses what is none, and is not
 * fooled by truncation into another format.
 * Method: for every variant, files of several shapes (printable and random contents, fixed and
 * varying sizes, smaller and larger than the prefix) from fixed seeds; then every truncation, and
 * hand-made files at the borders between the formats. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/random.h"
#include "lib/guard.h"
#include "pack/format.h"

static const struct tarn_format variants[] = {
    {.kind = TARN_FORMAT_TEXT},
    {.kind = TARN_FORMAT_BINARY, .size_type = TARN_SIZE_U32},
    {.kind = TARN_FORMAT_BINARY, .size_type = TARN_SIZE_U32, .big_endian = true},
    {.kind = TARN_FORMAT_BINARY, .size_type = TARN_SIZE_U16},
    {.kind = TARN_FORMAT_BINARY, .size_type = TARN_SIZE_U16, .big_endian = true},
    {.kind = TARN_FORMAT_BINARY, .size_type = TARN_SIZE_U64},
    {.kind = TARN_FORMAT_BINARY, .size_type = TARN_SIZE_U64, .big_endian = true},
    {.kind = TARN_FORMAT_BINARY, .size_type = TARN_SIZE_VARINT},
};
#define VARIANTS_COUNT (sizeof variants / sizeof variants[0])

enum content { CONTENT_WORDS, CONTENT_SENTENCES, CONTENT_BYTES };

struct shape {
    const char *name;
    size_t records, key_low, key_high, value_low, value_high;
    enum content content; /* of values; keys are words, or random bytes with CONTENT_BYTES */
};

static void fill(unsigned char *p, size_t size, enum content content, uint64_t *state)
{
    static const char words[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
    for (size_t i = 0; i < size; i++) {
        uint64_t r = random_next(state);
        p[i] = (unsigned char)words[r % 64];
        if (content == CONTENT_SENTENCES && (r >> 8) % 6 == 0)
            p[i] = ' ';
        if (content == CONTENT_BYTES)
            p[i] = (unsigned char)(r >> 16);
    }
}

static size_t between(size_t low, size_t high, uint64_t *state)
{
    return low + random_next(state) % (high - low + 1);
}

static void make_file(const struct tarn_format *format, const struct shape *shape, uint64_t seed,
                      struct buffer *out)
{
    unsigned char *key = malloc(shape->key_high + 1), *value = malloc(shape->value_high + 1);
    for (size_t i = 0; i < shape->records; i++) {
        size_t key_size = between(shape->key_low, shape->key_high, &seed);
        size_t value_size = between(shape->value_low, shape->value_high, &seed);
        fill(key, key_size, shape->content == CONTENT_BYTES ? CONTENT_BYTES : CONTENT_WORDS, &seed);
        fill(value, value_size, shape->content, &seed);
        assert_int_equal(format_encode(format, (struct tarn_bytes){key, key_size},
                                       (struct tarn_bytes){value, value_size}, out),
                         TARN_OK);
    }
    free(key);
    free(value);
}

static struct tarn_bytes prefix_of(const struct buffer *file)
{
    size_t size = file->size < FORMAT_DETECT_BYTES ? file->size : FORMAT_DETECT_BYTES;
    return (struct tarn_bytes){file->data, size};
}

static bool formats_equal(const struct tarn_format *a, const struct tarn_format *b)
{
    return a->kind == b->kind && a->size_type == b->size_type && a->big_endian == b->big_endian &&
           a->separator_set == b->separator_set && a->separator == b->separator;
}

static const struct shape shapes[] = {
    {"like gen", 20000, 36, 36, 8, 62, CONTENT_WORDS},
    {"like gen, small", 40, 36, 36, 8, 62, CONTENT_WORDS},
    {"varying keys", 30000, 5, 20, 0, 100, CONTENT_WORDS},
    {"varying keys, small", 25, 5, 20, 0, 100, CONTENT_WORDS},
    {"sentences", 20000, 16, 16, 20, 120, CONTENT_SENTENCES},
    {"sentences, small", 30, 16, 16, 40, 120, CONTENT_SENTENCES},
    {"larger values", 2000, 8, 24, 1000, 3000, CONTENT_WORDS},
    {"huge values", 40, 10, 30, 40000, 60000, CONTENT_WORDS},
    {"random bytes", 20000, 8, 32, 0, 200, CONTENT_BYTES},
    {"random bytes, small", 50, 8, 32, 0, 200, CONTENT_BYTES},
};

/* Trips on: any variant taken for another in these shapes. */
static void test_every_variant_is_recognised(void **context)
{
    (void)context;
    struct guard guard = guard_new(FORMAT_DETECT_BYTES);
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
        for (size_t v = 0; v < VARIANTS_COUNT; v++) {
            if (variants[v].kind == TARN_FORMAT_TEXT && shapes[s].content == CONTENT_BYTES)
                continue;
            for (uint64_t seed = 1; seed <= 3; seed++) {
                struct buffer file = {0};
                struct tarn_format found = {0};
                struct tarn_error error = {.text = ""};
                make_file(&variants[v], &shapes[s], seed * 1000 + v, &file);
                struct tarn_bytes prefix = prefix_of(&file);
                prefix = guard_end(&guard, prefix.data, prefix.size);
                int status = format_detect(prefix, file.size, &found, &error);
                if (status != TARN_OK || !formats_equal(&found, &variants[v])) {
                    char a[64], b[64];
                    fail_msg("shape \"%s\", seed %d: %s taken for %s (%s)", shapes[s].name,
                             (int)seed, format_describe(&variants[v], a),
                             status == TARN_OK ? format_describe(&found, b) : "nothing",
                             error.text);
                }
                buffer_done(&file);
            }
        }
    }
    guard_free(&guard);
}

/* Cut at every byte beyond the second record, a file of one variant is that variant or an error
 * that names a place within the file; it never becomes another format. (A few zero bytes alone are
 * several formats at once, see doc/format-binary.md.) */
static void test_truncated_is_not_another(void **context)
{
    (void)context;
    struct guard guard = guard_new(1 << 16);
    const struct shape shape = {"cut", 30, 36, 36, 8, 62, CONTENT_WORDS};
    for (size_t v = 0; v < VARIANTS_COUNT; v++) {
        struct buffer file = {0};
        make_file(&variants[v], &shape, 5 + v, &file);
        for (size_t cut = 160; cut < file.size; cut++) {
            struct tarn_format found = {0};
            struct tarn_error error = {.text = ""};
            struct tarn_bytes data = guard_end(&guard, file.data, cut);
            int status = format_detect(data, cut, &found, &error);
            if (status == TARN_OK) {
                if (!formats_equal(&found, &variants[v])) {
                    char a[64], b[64];
                    fail_msg("%s cut at %zu taken for %s", format_describe(&variants[v], a), cut,
                             format_describe(&found, b));
                }
                continue;
            }
            assert_true(error.text[0] != 0);
            if (error.offset != UINT64_MAX)
                assert_true(error.offset < cut);
        }
        buffer_done(&file);
    }
    guard_free(&guard);
}

static int detect(const char *data, size_t size, struct tarn_format *ret_format,
                  struct tarn_error *error)
{
    *ret_format = (struct tarn_format){0};
    *error = (struct tarn_error){.text = ""};
    return format_detect((struct tarn_bytes){data, size}, size, ret_format, error);
}
#define DETECT(literal) detect(literal, sizeof literal - 1, &format, &error)

static void test_small_files(void **context)
{
    (void)context;
    struct tarn_format format;
    struct tarn_error error;

    assert_int_equal(DETECT(""), TARN_OK);
    assert_int_equal(format.kind, TARN_FORMAT_TEXT);
    assert_int_equal(DETECT("k v\n"), TARN_OK);
    assert_int_equal(format.kind, TARN_FORMAT_TEXT);
    assert_int_equal(DETECT("k v"), TARN_OK);
    assert_int_equal(format.kind, TARN_FORMAT_TEXT);
    assert_int_equal(DETECT("k\t\n\tv\n"), TARN_OK);
    assert_int_equal(format.kind, TARN_FORMAT_TEXT);
    assert_int_equal(DETECT("caf\xc3\xa9 \xe2\x82\xac 5\r\n"), TARN_OK);
    assert_int_equal(format.kind, TARN_FORMAT_TEXT);

    assert_int_equal(DETECT("\x03\0\0\0key\x05\0\0\0value"), TARN_OK);
    assert_true(formats_equal(&format, &variants[1]));
    assert_int_equal(DETECT("\0\0\0\x03key\0\0\0\x05value"), TARN_OK);
    assert_true(formats_equal(&format, &variants[2]));
    assert_int_equal(DETECT("\x03\0key\x05\0value"), TARN_OK);
    assert_true(formats_equal(&format, &variants[3]));
    assert_int_equal(DETECT("\0\x03key\0\x05value"), TARN_OK);
    assert_true(formats_equal(&format, &variants[4]));
    assert_int_equal(DETECT("\x03\0\0\0\0\0\0\0key\x05\0\0\0\0\0\0\0value"), TARN_OK);
    assert_true(formats_equal(&format, &variants[5]));
    assert_int_equal(DETECT("\x03key\x05value"), TARN_OK);
    assert_true(formats_equal(&format, &variants[7]));
    assert_int_equal(DETECT("\x03key\x0bhello world"), TARN_OK);
    assert_true(formats_equal(&format, &variants[7]));
    /* one empty record, and an empty key */
    assert_int_equal(DETECT("\0\0\0\0\0\0\0\0"), TARN_OK);
    assert_true(formats_equal(&format, &variants[1]));
    assert_int_equal(DETECT("\0\0\0\0\x05\0\0\0value"), TARN_OK);
    assert_true(formats_equal(&format, &variants[1]));
}

static void test_refusals_name_the_place(void **context)
{
    (void)context;
    struct tarn_format format;
    struct tarn_error error;

    /* a line without separator among good ones */
    assert_int_equal(DETECT("a b\nc d\nnothing\ne f\n"), TARN_CORRUPT);
    assert_int_equal(error.record, 2);
    assert_int_equal(error.offset, 8);
    assert_non_null(strstr(error.text, "no separator"));
    /* a truncated binary file is an error at its last record */
    assert_int_equal(DETECT("\x03\0\0\0key\x05\0\0\0value\x03\0\0\0ke"), TARN_CORRUPT);
    assert_int_equal(error.record, 1);
    assert_int_equal(error.offset, 16);
    assert_non_null(strstr(error.text, "binary u32 little-endian"));
    /* lines of text, but with a NUL */
    assert_int_equal(DETECT("abc d\0e\nfgh i\n"), TARN_CORRUPT);
    assert_true(error.text[0] != 0);
}

/* A large text file with one bad line reads as varint to the end of the prefix (every ASCII byte
 * is a size); it must be refused all the same. */
static void test_bad_line_does_not_make_varint(void **context)
{
    (void)context;
    struct buffer file = {0};
    struct tarn_format format = {0};
    struct tarn_error error;
    const struct shape shape = {"text", 30000, 36, 36, 8, 62, CONTENT_WORDS};
    buffer_append_text(&file, "first line\nbad\n");
    make_file(&variants[0], &shape, 9, &file);
    assert_int_equal(format_detect(prefix_of(&file), file.size, &format, &error), TARN_CORRUPT);
    assert_int_equal(error.record, 1);
    assert_int_equal(error.offset, 11);
    buffer_done(&file);
}

/* One text record larger than the prefix, and one binary record larger than the prefix. */
/* Trips on: text with a NUL byte that is read as varint, whose sizes any ASCII bytes are. */
static void test_nul_does_not_make_varint(void **context)
{
    (void)context;
    static const struct tarn_format text = {.kind = TARN_FORMAT_TEXT};
    for (uint64_t seed = 1; seed <= 3000; seed++) {
        struct shape shape = {"lines", 4 + seed % 40, 1, 40, 1, 60, CONTENT_SENTENCES};
        struct buffer file = {0};
        struct tarn_format format;
        struct tarn_error error;
        make_file(&text, &shape, seed, &file);
        unsigned char *separator = memchr(file.data, ' ', file.size);
        separator[1 + seed % 2] = 0; /* in the first value, or what follows it */
        if (memchr(separator, '\n', 3) == NULL) {
            int status = format_detect(buffer_view(&file), file.size, &format, &error);
            if (status == TARN_OK)
                fail_msg("seed %llu: NUL in text is detected as %d/%d", (unsigned long long)seed,
                         format.kind, format.size_type);
            assert_int_equal(status, TARN_CORRUPT);
        }
        buffer_done(&file);
    }
}

static void test_record_beyond_prefix(void **context)
{
    (void)context;
    for (size_t v = 0; v < VARIANTS_COUNT; v++) {
        if (variants[v].size_type == TARN_SIZE_U16)
            continue;
        struct buffer file = {0};
        struct tarn_format format = {0};
        struct tarn_error error;
        const struct shape shape = {"one", 1, 24, 24, 3 << 20, 3 << 20, CONTENT_WORDS};
        make_file(&variants[v], &shape, 4, &file);
        assert_int_equal(format_detect(prefix_of(&file), file.size, &format, &error), TARN_OK);
        assert_true(formats_equal(&format, &variants[v]));
        /* cut: the wide sizes say so already, text cannot */
        int status = format_detect(prefix_of(&file), file.size - 2, &format, &error);
        if (variants[v].kind == TARN_FORMAT_BINARY && variants[v].size_type != TARN_SIZE_VARINT) {
            assert_int_equal(status, TARN_CORRUPT);
            assert_int_equal(error.record, 0);
        }
        buffer_done(&file);
    }
}

/* Any bytes give an answer, the same each time, without a read outside. */
static void test_random_prefixes(void **context)
{
    (void)context;
    struct guard guard = guard_new(4096);
    uint64_t state = 42;
    for (int i = 0; i < 5000; i++) {
        unsigned char data[300];
        size_t size = random_next(&state) % sizeof data;
        fill(data, size, (enum content)(random_next(&state) % 3), &state);
        for (size_t j = 0; j < size; j++)
            if (random_next(&state) % 3 == 0)
                data[j] = (unsigned char)(random_next(&state) % 40);
        uint64_t file_bytes = size + (i % 2 ? random_next(&state) % 1000 : 0);
        struct tarn_format first = {0}, second = {0};
        struct tarn_error error;
        struct tarn_bytes prefix = guard_end(&guard, data, size);
        int status = format_detect(prefix, file_bytes, &first, &error);
        assert_int_equal(format_detect(prefix, file_bytes, &second, NULL), status);
        assert_true(formats_equal(&first, &second));
        if (status == TARN_OK) {
            assert_true(first.kind != TARN_FORMAT_AUTO);
            assert_int_equal(format_check(&first, &error), TARN_OK);
        }
    }
    guard_free(&guard);
}

/* A `tarn` file is known by its first bytes, and a key that begins alike is no such file. */
static void test_tarn_files(void **context)
{
    (void)context;
    static const struct {
        const char *bytes;
        size_t size;
        enum tarn_format_kind kind;
    } cases[] = {
        {"tarndata\2\0\0\0........", 20, TARN_FORMAT_TARN},
        {"tarndata\x63\0\0\0", 12, TARN_FORMAT_TARN},
        {"tarndata value\nother value\n", 27, TARN_FORMAT_TEXT},
        {"tarndata\tv\n", 11, TARN_FORMAT_TEXT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tarn_format format;
        assert_int_equal(format_detect((struct tarn_bytes){cases[i].bytes, cases[i].size},
                                       cases[i].size, &format, NULL),
                         TARN_OK);
        assert_int_equal(format.kind, cases[i].kind);
        char text[64];
        assert_int_equal(strcmp(format_describe(&format, text), "tarn") == 0,
                         format.kind == TARN_FORMAT_TARN);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_variant_is_recognised),
        cmocka_unit_test(test_truncated_is_not_another),
        cmocka_unit_test(test_small_files),
        cmocka_unit_test(test_tarn_files),
        cmocka_unit_test(test_refusals_name_the_place),
        cmocka_unit_test(test_bad_line_does_not_make_varint),
        cmocka_unit_test(test_nul_does_not_make_varint),
        cmocka_unit_test(test_record_beyond_prefix),
        cmocka_unit_test(test_random_prefixes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
