/* Goal: what is packed well unpacks to its bytes, anything else is refused, and no byte outside
 * input and output is touched. Method: streams put together by hand, one for each rule and each way
 * to break it; random streams made together with what they mean; all their prefixes and random
 * damage. Input and output end at unreadable pages. */
#include "core/lzf.h"

#include <stdio.h>

#include "lib/test.h"

#include "core/random.h"
#include "lib/guard.h"

#define OUT_BYTES_MAX 4096

static struct guard in_guard, out_guard;

static bool unpack(const void *packed, size_t packed_size, size_t size, unsigned char *ret_out)
{
    static unsigned char fill[OUT_BYTES_MAX];
    struct tarn_bytes in = guard_end(&in_guard, packed, packed_size);
    struct tarn_bytes out = guard_end(&out_guard, fill, size);
    bool good = lzf_unpack(in, (void *)(uintptr_t)out.data, size);
    if (good)
        memcpy(ret_out, out.data, size);
    return good;
}

#define PACKED(text) (text), sizeof(text) - 1

static void test_by_hand(void **state)
{
    (void)state;
    static const struct {
        const char *packed;
        size_t packed_size;
        const char *wanted; /* NULL: refused */
        size_t size;
    } cases[] = {
        {PACKED(""), "", 0},
        {PACKED("\x00x"), "x", 1},
        {PACKED("\x02"
                "abc"),
         "abc", 3},
        {PACKED("\x00"
                "a\x20\x00"),
         "aaaa", 4}, /* 3 more from 1 before: overlaps */
        {PACKED("\x02"
                "abc\x20\x02"),
         "abcabc", 6},
        {PACKED("\x02"
                "abc\x40\x02\x00x"),
         "abcabcax", 8},
        {PACKED("\x00"
                "a\xe0\x00\x00"),
         "aaaaaaaaaa", 10}, /* 9 more */
        {PACKED("\x00"
                "a\xe0\x01\x00"),
         "aaaaaaaaaaa", 11},
        {PACKED("\x00x"), NULL, 0}, /* more than asked for */
        {PACKED("\x00x"), NULL, 2}, /* less */
        {PACKED(""), NULL, 1},
        {PACKED("\x02"
                "ab"),
         NULL, 3}, /* literals end early */
        {PACKED("\x02"), NULL, 3},
        {PACKED("\x20\x00"), NULL, 3}, /* copies before the beginning */
        {PACKED("\x00"
                "a\x20\x01"),
         NULL, 4},
        {PACKED("\x00"
                "a\x3f\xff"),
         NULL, 4},
        {PACKED("\x00"
                "a\x20"),
         NULL, 4}, /* the distance is missing */
        {PACKED("\x00"
                "a\xe0"),
         NULL, 10}, /* the length is missing */
        {PACKED("\x00"
                "a\xe0\x00"),
         NULL, 10},
        {PACKED("\x00"
                "a\x20\x00"),
         NULL, 3}, /* the copy is too long */
    };
    unsigned char out[64];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bool good = unpack(cases[i].packed, cases[i].packed_size, cases[i].size, out);
        if (good != (cases[i].wanted != NULL))
            fail_msg("case %zu", i);
        if (good)
            assert_memory_equal(out, cases[i].wanted, cases[i].size);
    }
}

/* A stream and what it means. */
struct stream {
    unsigned char packed[OUT_BYTES_MAX], out[OUT_BYTES_MAX];
    size_t packed_size, size;
};

static void add_literals(struct stream *s, uint64_t *random)
{
    size_t size = 1 + random_next(random) % 32;
    s->packed[s->packed_size++] = (unsigned char)(size - 1);
    for (size_t i = 0; i < size; i++)
        s->packed[s->packed_size++] = s->out[s->size++] = (unsigned char)random_next(random);
}

static void add_copy(struct stream *s, uint64_t *random)
{
    size_t size = 3 + random_next(random) % (random_next(random) % 2 ? 6 : 262);
    size_t most = s->size < 8192 ? s->size : 8192;
    size_t back = random_next(random) % (random_next(random) % 2 && most > 4 ? 4 : most);
    unsigned code = size - 2 < 7 ? (unsigned)size - 2 : 7;
    s->packed[s->packed_size++] = (unsigned char)(code << 5 | back >> 8);
    if (code == 7)
        s->packed[s->packed_size++] = (unsigned char)(size - 9);
    s->packed[s->packed_size++] = (unsigned char)back;
    for (size_t i = 0; i < size; i++, s->size++)
        s->out[s->size] = s->out[s->size - back - 1];
}

static void make_stream(struct stream *s, uint64_t *random, size_t size_max)
{
    s->packed_size = s->size = 0;
    add_literals(s, random);
    while (s->size + 300 < size_max) {
        if (random_next(random) % 2)
            add_literals(s, random);
        else
            add_copy(s, random);
    }
}

static void test_random_streams(void **state)
{
    (void)state;
    static struct stream s;
    static unsigned char out[OUT_BYTES_MAX];
    uint64_t random = 20261121;
    for (int round = 0; round < 500 / TEST_SLOWER; round++) {
        make_stream(&s, &random, 300 + random_next(&random) % (OUT_BYTES_MAX - 300));
        assert_true(unpack(s.packed, s.packed_size, s.size, out));
        assert_memory_equal(out, s.out, s.size);
        assert_false(unpack(s.packed, s.packed_size, s.size - 1, out));
        assert_true(s.size <= s.packed_size * LZF_RATIO_MAX);
        for (size_t cut = 0; cut < s.packed_size; cut += 1 + cut / 8)
            assert_false(unpack(s.packed, cut, s.size, out));
    }
}

/* Whatever it answers, it touches nothing outside. */
static void test_damage(void **state)
{
    (void)state;
    static struct stream s;
    static unsigned char out[OUT_BYTES_MAX];
    uint64_t random = 20261122;
    for (int round = 0; round < 20000 / TEST_SLOWER; round++) {
        if (round % 100 == 0)
            make_stream(&s, &random, 600);
        s.packed[random_next(&random) % s.packed_size] = (unsigned char)random_next(&random);
        (void)unpack(s.packed, s.packed_size, s.size, out);
    }
}

static int setup(void **state)
{
    (void)state;
    in_guard = guard_new(OUT_BYTES_MAX);
    out_guard = guard_new(OUT_BYTES_MAX);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    guard_free(&in_guard);
    guard_free(&out_guard);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_random_streams),
        cmocka_unit_test(test_damage),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
