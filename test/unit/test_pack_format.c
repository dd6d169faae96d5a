/* Goal: format_parse() and format_encode() agree for every format variant, respect the limits and
 * never read a byte outside the data.
 * Method: random records from a fixed seed, encoded and parsed back with the data's end at an
 * unreadable page; the same cut at every byte; hand-made bytes for each outcome and limit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "core/codec.h"
#include "core/random.h"
#include "lib/guard.h"
#include "pack/format.h"

static const struct tarn_format variants[] = {
    {.kind = TARN_FORMAT_TEXT},
    {.kind = TARN_FORMAT_TEXT, .separator_set = true, .separator = ','},
    {.kind = TARN_FORMAT_TEXT, .separator_set = true, .separator = 0},
    {.kind = TARN_FORMAT_BINARY, .size_type = TARN_SIZE_U32},
    {.kind = TARN_FORMAT_BINARY, .size_type = TARN_SIZE_U32, .big_endian = true},
    {.kind = TARN_FORMAT_BINARY, .size_type = TARN_SIZE_U16},
    {.kind = TARN_FORMAT_BINARY, .size_type = TARN_SIZE_U16, .big_endian = true},
    {.kind = TARN_FORMAT_BINARY, .size_type = TARN_SIZE_U64},
    {.kind = TARN_FORMAT_BINARY, .size_type = TARN_SIZE_U64, .big_endian = true},
    {.kind = TARN_FORMAT_BINARY, .size_type = TARN_SIZE_VARINT},
};
#define VARIANTS_COUNT (sizeof variants / sizeof variants[0])

/* Random bytes that the variant can hold in a key (is_key) or value. */
static void fill(const struct tarn_format *format, bool is_key, unsigned char *data, size_t size,
                 uint64_t *state)
{
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)random_next(state);
        if (format->kind == TARN_FORMAT_TEXT) {
            if (c == '\n')
                c = 'n';
            if (is_key && (format->separator_set ? c == format->separator : c == ' ' || c == '\t'))
                c = 's';
        }
        data[i] = c;
    }
}

struct sample {
    unsigned char key[80], value[400];
    size_t key_size, value_size;
    uint64_t offset; /* in the encoded bytes */
};

static void make_samples(const struct tarn_format *format, struct sample *samples, size_t count,
                         struct buffer *out, uint64_t seed)
{
    for (size_t i = 0; i < count; i++) {
        struct sample *s = &samples[i];
        s->key_size = random_next(&seed) % 4 == 0 ? random_next(&seed) % 3
                                                  : random_next(&seed) % sizeof s->key;
        s->value_size = random_next(&seed) % 4 == 0 ? random_next(&seed) % 3
                                                    : random_next(&seed) % sizeof s->value;
        fill(format, true, s->key, s->key_size, &seed);
        fill(format, false, s->value, s->value_size, &seed);
        s->offset = out->size;
        assert_int_equal(format_encode(format, (struct tarn_bytes){s->key, s->key_size},
                                       (struct tarn_bytes){s->value, s->value_size}, out),
                         TARN_OK);
    }
}

/* Trips on: any disagreement between encoder and parser, wrong record sizes, reads past the end. */
static void test_round_trip(void **context)
{
    (void)context;
    enum { COUNT = 300 };
    struct sample *samples = calloc(COUNT, sizeof *samples);
    struct guard guard = guard_new(1 << 20);
    for (size_t v = 0; v < VARIANTS_COUNT; v++) {
        for (uint64_t seed = 1; seed <= 5; seed++) {
            struct buffer out = {0};
            make_samples(&variants[v], samples, COUNT, &out, seed);
            struct tarn_bytes data = guard_end(&guard, out.data, out.size);
            uint64_t offset = 0;
            for (size_t i = 0; i < COUNT; i++) {
                struct record record;
                assert_int_equal(offset, samples[i].offset);
                assert_int_equal(format_parse(&variants[v], data, offset, true, &record),
                                 FORMAT_OK);
                assert_int_equal(record.key.size, samples[i].key_size);
                assert_int_equal(record.value.size, samples[i].value_size);
                assert_memory_equal(record.key.data, samples[i].key, record.key.size);
                assert_memory_equal(record.value.data, samples[i].value, record.value.size);
                assert_non_null(record.key.data);
                assert_non_null(record.value.data);
                offset += record.size;
            }
            assert_int_equal(offset, data.size);
            buffer_done(&out);
        }
    }
    guard_free(&guard);
    free(samples);
}

/* Every cut: whole records still parse, the cut one is INCOMPLETE (binary, or text that may go on),
 * or at a text file's end a shorter value or no separator. Trips on: a read past the cut, a record
 * invented from a cut one. */
static void test_truncation(void **context)
{
    (void)context;
    enum { COUNT = 6 };
    struct sample samples[COUNT + 1];
    struct guard guard = guard_new(1 << 16);
    for (size_t v = 0; v < VARIANTS_COUNT; v++) {
        const struct tarn_format *format = &variants[v];
        struct buffer out = {0};
        make_samples(format, samples, COUNT, &out, 77 + v);
        samples[COUNT].offset = out.size;
        for (size_t cut = 0; cut < out.size; cut++) {
            struct tarn_bytes data = guard_end(&guard, out.data, cut);
            for (int at_end = 0; at_end <= 1; at_end++) {
                uint64_t offset = 0;
                size_t records = 0;
                struct record record;
                enum format_outcome outcome = FORMAT_OK;
                while (offset < data.size) {
                    outcome = format_parse(format, data, offset, at_end, &record);
                    if (outcome != FORMAT_OK)
                        break;
                    offset += record.size;
                    records++;
                }
                assert_true(offset <= data.size);
                if (offset == data.size && samples[records].offset == cut)
                    continue; /* cut between records */
                if (format->kind == TARN_FORMAT_TEXT && at_end) {
                    assert_true(outcome == FORMAT_OK || outcome == FORMAT_NO_SEPARATOR);
                    continue;
                }
                assert_int_equal(outcome, FORMAT_INCOMPLETE);
                assert_int_equal(offset, samples[records].offset);
                assert_true(samples[records + 1].offset > cut);
            }
        }
        buffer_done(&out);
    }
    guard_free(&guard);
}

static struct tarn_bytes text_of(const char *text)
{
    return (struct tarn_bytes){text, strlen(text)};
}

static void test_text_rules(void **context)
{
    (void)context;
    const struct tarn_format text = {.kind = TARN_FORMAT_TEXT};
    const struct tarn_format comma = {
        .kind = TARN_FORMAT_TEXT, .separator_set = true, .separator = ','};
    struct record r;

    /* the first separator counts, later ones belong to the value; value may be empty */
    assert_int_equal(format_parse(&text, text_of("k a\tb c\nx"), 0, true, &r), FORMAT_OK);
    assert_true(bytes_equal(r.key, text_of("k")) && bytes_equal(r.value, text_of("a\tb c")));
    assert_int_equal(r.size, 8);
    assert_int_equal(format_parse(&text, text_of("k\t\n"), 0, true, &r), FORMAT_OK);
    assert_int_equal(r.value.size, 0);
    assert_int_equal(r.size, 3);
    assert_int_equal(format_parse(&text, text_of(" v\n"), 0, true, &r), FORMAT_OK);
    assert_int_equal(r.key.size, 0);
    /* carriage returns are part of the value */
    assert_int_equal(format_parse(&text, text_of("k v\r\n"), 0, true, &r), FORMAT_OK);
    assert_true(bytes_equal(r.value, text_of("v\r")));

    /* with a chosen separator, space and tab are ordinary */
    assert_int_equal(format_parse(&comma, text_of("a b\tc,d,e\n"), 0, true, &r), FORMAT_OK);
    assert_true(bytes_equal(r.key, text_of("a b\tc")) && bytes_equal(r.value, text_of("d,e")));

    /* an empty line, a line without separator, the last one included */
    assert_int_equal(format_parse(&text, text_of("\na b\n"), 0, true, &r), FORMAT_NO_SEPARATOR);
    assert_int_equal(format_parse(&text, text_of("ab\nc d\n"), 0, true, &r), FORMAT_NO_SEPARATOR);
    assert_int_equal(format_parse(&text, text_of("ab"), 0, true, &r), FORMAT_NO_SEPARATOR);
    assert_int_equal(format_parse(&text, text_of("ab"), 0, false, &r), FORMAT_INCOMPLETE);
    assert_int_equal(format_parse(&text, text_of("a b"), 0, false, &r), FORMAT_INCOMPLETE);
    assert_int_equal(format_parse(&text, text_of("a b"), 0, true, &r), FORMAT_OK);
    assert_int_equal(r.size, 3);
    /* the smallest record of all: a separator at the end of the file */
    assert_int_equal(format_parse(&text, text_of(" "), 0, true, &r), FORMAT_OK);
    assert_int_equal(r.size, 1);
    assert_int_equal(r.key.size + r.value.size, 0);
    /* from an offset */
    assert_int_equal(format_parse(&text, text_of("a b\nc d"), 4, true, &r), FORMAT_OK);
    assert_true(bytes_equal(r.key, text_of("c")));
}

/* The separator search works in blocks of 16: put each stopping byte at each position, with
 * decoys beyond the data. Trips on: off-by-one between blocks and tail. */
static void test_text_separator_positions(void **context)
{
    (void)context;
    const struct tarn_format text = {.kind = TARN_FORMAT_TEXT};
    struct guard guard = guard_new(256);
    unsigned char line[80];
    struct record r;
    for (size_t size = 1; size <= sizeof line; size++) {
        for (size_t at = 0; at < size; at++) {
            memset(line, 'x', size);
            line[at] = at % 2 ? ' ' : '\t';
            if (at + 3 < size)
                line[at + 3] = ' ';
            assert_int_equal(format_parse(&text, guard_end(&guard, line, size), 0, true, &r),
                             FORMAT_OK);
            assert_int_equal(r.key.size, at);
            assert_int_equal(r.value.size, size - at - 1);
            line[at] = '\n';
            assert_int_equal(format_parse(&text, guard_end(&guard, line, size), 0, true, &r),
                             FORMAT_NO_SEPARATOR);
        }
    }
    guard_free(&guard);
}

/* Keys at and over the limit, in every variant. */
static void test_key_limit(void **context)
{
    (void)context;
    unsigned char *key = malloc(TARN_KEY_BYTES_MAX + 1);
    struct guard guard = guard_new(TARN_KEY_BYTES_MAX + 64);
    memset(key, 'k', TARN_KEY_BYTES_MAX + 1);
    for (size_t v = 0; v < VARIANTS_COUNT; v++) {
        struct buffer out = {0};
        struct record r;
        struct tarn_bytes biggest = {key, TARN_KEY_BYTES_MAX};
        struct tarn_bytes over = {key, TARN_KEY_BYTES_MAX + 1};
        assert_int_equal(format_encode(&variants[v], over, text_of("v"), &out), TARN_TOOBIG);
        assert_int_equal(out.size, 0);
        assert_int_equal(format_encode(&variants[v], biggest, text_of("v"), &out), TARN_OK);
        struct tarn_bytes data = guard_end(&guard, out.data, out.size);
        assert_int_equal(format_parse(&variants[v], data, 0, true, &r), FORMAT_OK);
        assert_int_equal(r.key.size, TARN_KEY_BYTES_MAX);
        assert_true(bytes_equal(r.value, text_of("v")));
        buffer_done(&out);
    }
    /* one byte more, where a size field can say so */
    struct record r;
    const struct tarn_format text = {.kind = TARN_FORMAT_TEXT};
    struct tarn_bytes line = guard_end(&guard, key, TARN_KEY_BYTES_MAX + 1);
    assert_int_equal(format_parse(&text, line, 0, true, &r), FORMAT_KEY_TOOBIG);
    line = guard_end(&guard, key, TARN_KEY_BYTES_MAX);
    assert_int_equal(format_parse(&text, line, 0, false, &r), FORMAT_INCOMPLETE);
    assert_int_equal(format_parse(&text, line, 0, true, &r), FORMAT_NO_SEPARATOR);
    guard_free(&guard);
    free(key);
}

/* Hostile sizes: limits are checked before sums, so that nothing wraps. */
static void test_hostile_sizes(void **context)
{
    (void)context;
    struct guard guard = guard_new(64);
    struct record r;
    unsigned char b[64];
    const struct tarn_format u32 = {.kind = TARN_FORMAT_BINARY};
    const struct tarn_format u64 = {.kind = TARN_FORMAT_BINARY, .size_type = TARN_SIZE_U64};
    const struct tarn_format varint = {.kind = TARN_FORMAT_BINARY, .size_type = TARN_SIZE_VARINT};

    static const uint64_t sizes[] = {65536, UINT32_MAX, UINT64_MAX, UINT64_MAX - 7, 1ull << 63};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        memset(b, 0, sizeof b);
        store_u64le(b, sizes[i]);
        assert_int_equal(format_parse(&u64, guard_end(&guard, b, 16), 0, true, &r),
                         FORMAT_KEY_TOOBIG);
        if (sizes[i] <= UINT32_MAX)
            assert_int_equal(format_parse(&u32, guard_end(&guard, b, 8), 0, true, &r),
                             FORMAT_KEY_TOOBIG);
        size_t n = store_varint(b, sizes[i]);
        assert_int_equal(format_parse(&varint, guard_end(&guard, b, n + 1), 0, true, &r),
                         FORMAT_KEY_TOOBIG);
    }
    static const struct {
        uint64_t size;
        enum format_outcome outcome;
    } values[] = {
        {TARN_VALUE_BYTES_MAX, FORMAT_INCOMPLETE}, {TARN_VALUE_BYTES_MAX + 1, FORMAT_VALUE_TOOBIG},
        {UINT32_MAX, FORMAT_VALUE_TOOBIG},         {UINT64_MAX, FORMAT_VALUE_TOOBIG},
        {UINT64_MAX - 16, FORMAT_VALUE_TOOBIG},
    };
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        memset(b, 0, sizeof b);
        b[0] = 1; /* one byte of key */
        store_u64le(b + 9, values[i].size);
        assert_int_equal(format_parse(&u64, guard_end(&guard, b, 20), 0, true, &r),
                         values[i].outcome);
        size_t n = store_varint(b + 2, values[i].size);
        assert_int_equal(format_parse(&varint, guard_end(&guard, b, 2 + n), 0, true, &r),
                         values[i].outcome);
        if (values[i].size <= UINT32_MAX) {
            store_u32le(b, 1);
            store_u32le(b + 5, (uint32_t)values[i].size);
            assert_int_equal(format_parse(&u32, guard_end(&guard, b, 9), 0, true, &r),
                             values[i].outcome);
        }
    }
    /* varints that overflow 64 bits, in either place */
    memset(b, 0xff, sizeof b);
    assert_int_equal(format_parse(&varint, guard_end(&guard, b, 11), 0, true, &r), FORMAT_BAD_SIZE);
    assert_int_equal(format_parse(&varint, guard_end(&guard, b, 9), 0, true, &r),
                     FORMAT_INCOMPLETE);
    b[0] = 0;
    assert_int_equal(format_parse(&varint, guard_end(&guard, b, 12), 0, true, &r), FORMAT_BAD_SIZE);
    guard_free(&guard);
}

static void test_encode_refuses(void **context)
{
    (void)context;
    const struct tarn_format text = {.kind = TARN_FORMAT_TEXT};
    const struct tarn_format comma = {
        .kind = TARN_FORMAT_TEXT, .separator_set = true, .separator = ','};
    const struct tarn_format u16 = {.kind = TARN_FORMAT_BINARY, .size_type = TARN_SIZE_U16};
    struct buffer out = {0};
    assert_int_equal(format_encode(&text, text_of("a b"), text_of("v"), &out), TARN_INVALID);
    assert_int_equal(format_encode(&text, text_of("a\tb"), text_of("v"), &out), TARN_INVALID);
    assert_int_equal(format_encode(&text, text_of("a\nb"), text_of("v"), &out), TARN_INVALID);
    assert_int_equal(format_encode(&text, text_of("a"), text_of("v\n"), &out), TARN_INVALID);
    assert_int_equal(format_encode(&comma, text_of("a,"), text_of("v"), &out), TARN_INVALID);
    assert_int_equal(format_encode(&comma, text_of("a b"), text_of("v,w"), &out), TARN_OK);
    buffer_clear(&out);
    char *big = calloc(1, 65536);
    assert_int_equal(format_encode(&u16, text_of("a"), (struct tarn_bytes){big, 65536}, &out),
                     TARN_INVALID);
    assert_int_equal(format_encode(&u16, text_of("a"), (struct tarn_bytes){big, 65535}, &out),
                     TARN_OK);
    free(big);
    buffer_done(&out);

    /* a full buffer: nothing is appended */
    buffer_init(&out, 10);
    assert_int_equal(format_encode(&text, text_of("key"), text_of("12345678"), &out), TARN_NOMEM);
    assert_int_equal(out.size, 0);
    buffer_done(&out);
}

static void test_errors_name_the_place(void **context)
{
    (void)context;
    struct tarn_error error;
    assert_int_equal(format_error(FORMAT_INCOMPLETE, "data.bin", 1234, 17, &error), TARN_CORRUPT);
    assert_int_equal(error.offset, 1234);
    assert_int_equal(error.record, 17);
    assert_non_null(strstr(error.text, "data.bin: record 17 at byte 1234: the file ends inside"));
    assert_int_equal(format_error(FORMAT_KEY_TOOBIG, "d", 0, 0, &error), TARN_TOOBIG);
    assert_int_equal(format_error(FORMAT_VALUE_TOOBIG, "d", 0, 0, &error), TARN_TOOBIG);
    assert_int_equal(format_error(FORMAT_NO_SEPARATOR, "d", 0, 0, &error), TARN_CORRUPT);
    assert_int_equal(format_error(FORMAT_BAD_SIZE, "d", 0, 0, NULL), TARN_CORRUPT);
}

static void test_check(void **context)
{
    (void)context;
    struct tarn_error error;
    for (size_t v = 0; v < VARIANTS_COUNT; v++)
        assert_int_equal(format_check(&variants[v], &error), TARN_OK);
    static const struct tarn_format wrong[] = {
        {.kind = TARN_FORMAT_AUTO, .size_type = TARN_SIZE_U16},
        {.kind = TARN_FORMAT_AUTO, .big_endian = true},
        {.kind = TARN_FORMAT_AUTO, .separator_set = true, .separator = ','},
        {.kind = TARN_FORMAT_TEXT, .size_type = TARN_SIZE_VARINT},
        {.kind = TARN_FORMAT_TEXT, .separator_set = true, .separator = '\n'},
        {.kind = TARN_FORMAT_TEXT, .separator = ','},
        {.kind = TARN_FORMAT_BINARY, .separator_set = true, .separator = ','},
        {.kind = TARN_FORMAT_BINARY, .size_type = TARN_SIZE_VARINT, .big_endian = true},
        {.kind = (enum tarn_format_kind)4},
        {.kind = TARN_FORMAT_TARN, .separator_set = true, .separator = ','},
        {.kind = TARN_FORMAT_TARN, .size_type = TARN_SIZE_U16},
        {.kind = TARN_FORMAT_BINARY, .size_type = (enum tarn_size_type)4},
    };
    assert_int_equal(format_check(&(struct tarn_format){0}, &error), TARN_OK);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        error.text[0] = 0;
        assert_int_equal(format_check(&wrong[i], &error), TARN_INVALID);
        assert_true(error.text[0] != 0);
    }
}

static void test_describe(void **context)
{
    (void)context;
    char out[64];
    assert_string_equal(format_describe(&variants[0], out), "text");
    assert_string_equal(format_describe(&variants[1], out), "text separator ','");
    assert_string_equal(format_describe(&variants[2], out), "text separator 0x00");
    assert_string_equal(format_describe(&variants[3], out), "binary u32 little-endian");
    assert_string_equal(format_describe(&variants[6], out), "binary u16 big-endian");
    assert_string_equal(format_describe(&variants[9], out), "binary varint");
    assert_string_equal(format_describe(&(struct tarn_format){0}, out), "auto");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),     cmocka_unit_test(test_truncation),
        cmocka_unit_test(test_text_rules),     cmocka_unit_test(test_text_separator_positions),
        cmocka_unit_test(test_key_limit),      cmocka_unit_test(test_hostile_sizes),
        cmocka_unit_test(test_encode_refuses), cmocka_unit_test(test_errors_name_the_place),
        cmocka_unit_test(test_check),          cmocka_unit_test(test_describe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
