/* Goal: the length is that of a longest common subsequence, the runs are those of the subsequence
 * that Redis finds, each as long as can be, and no byte outside the memory asked for is touched.
 * Method: a model with the whole table of lengths and Redis's walk through it: at equal bytes both
 * back, else to the larger neighbour, to the left if they are equal. Random strings of small and
 * large alphabets, of sizes around multiples of 8 and 64; memory and strings that end at an
 * unreadable page. */
#include "core/lcs.h"

#include <stdlib.h>

#include "lib/test.h"

#include "core/random.h"
#include "lib/guard.h"

#define SIZE_MAX_HERE 400
#define SEED          20261121

static uint16_t table[SIZE_MAX_HERE + 1][SIZE_MAX_HERE + 1];

static void fill_table(struct tarn_bytes a, struct tarn_bytes b)
{
    const unsigned char *p = a.data, *q = b.data;
    for (size_t i = 1; i <= a.size; i++)
        for (size_t j = 1; j <= b.size; j++) {
            uint16_t up = table[i - 1][j], left = table[i][j - 1];
            table[i][j] = p[i - 1] == q[j - 1] ? (uint16_t)(table[i - 1][j - 1] + 1)
                          : up > left          ? up
                                               : left;
        }
}

/* The model's next run back from *i, *j; size 0: there is none. */
static struct lcs_match model_next(struct tarn_bytes a, struct tarn_bytes b, size_t *i, size_t *j)
{
    const unsigned char *p = a.data, *q = b.data;
    size_t size = 0;
    while (*i > 0 && *j > 0) {
        if (p[*i - 1] == q[*j - 1]) {
            --*i;
            --*j;
            size++;
        } else if (size > 0) {
            break;
        } else if (table[*i - 1][*j] > table[*i][*j - 1]) {
            --*i;
        } else {
            --*j;
        }
    }
    return (struct lcs_match){*i, *j, size};
}

/* Vectors need alignment, so up to 7 bytes at the end are not guarded, but must stay as they are.
 */
static struct lcs solve(struct guard *guard, struct tarn_bytes a, struct tarn_bytes b, bool matches,
                        unsigned char **ret_end)
{
    static unsigned char zeros[1 << 20];
    struct lcs lcs;
    size_t size = lcs_bytes(a, b, matches), aligned = (size + 7) / 8 * 8;
    assert_true(aligned <= sizeof zeros);
    unsigned char *memory = (unsigned char *)(uintptr_t)guard_end(guard, zeros, aligned).data;
    memset(memory, 0xa5, aligned);
    lcs_solve(&lcs, a, b, memory, matches);
    *ret_end = memory + size;
    return lcs;
}

static void check_end(const unsigned char *end)
{
    for (; (uintptr_t)end % 8 != 0; end++)
        assert_int_equal(*end, 0xa5);
}

static void check(struct guard *guard, struct tarn_bytes a, struct tarn_bytes b)
{
    unsigned char *end;
    size_t i = a.size, j = b.size, total = 0;
    fill_table(a, b);
    struct lcs lcs = solve(guard, a, b, false, &end);
    assert_int_equal(lcs.length, table[a.size][b.size]);
    check_end(end);
    lcs = solve(guard, a, b, true, &end);
    assert_int_equal(lcs.length, table[a.size][b.size]);
    check_end(end);
    struct lcs_match match;
    while (lcs_next(&lcs, &match)) {
        struct lcs_match expected = model_next(a, b, &i, &j);
        assert_int_equal(match.size, expected.size);
        assert_int_equal(match.a_start, expected.a_start);
        assert_int_equal(match.b_start, expected.b_start);
        assert_true(match.size > 0);
        total += match.size;
    }
    assert_int_equal(model_next(a, b, &i, &j).size, 0);
    assert_int_equal(total, lcs.length);
    assert_false(lcs_next(&lcs, &match));
}

static struct tarn_bytes random_string(struct guard *guard, uint64_t *random, size_t size,
                                       uint64_t alphabet)
{
    unsigned char bytes[SIZE_MAX_HERE];
    for (size_t i = 0; i < size; i++)
        bytes[i] = (unsigned char)random_below(random_next(random), alphabet);
    return guard_end(guard, bytes, size);
}

static size_t random_size(uint64_t *random)
{
    static const size_t edges[] = {0,  1,  2,   7,   8,   9,   15,  16,  31,           63,
                                   64, 65, 127, 128, 129, 191, 192, 257, SIZE_MAX_HERE};
    uint64_t bits = random_next(random);
    if (bits % 2)
        return edges[(bits >> 8) % (sizeof edges / sizeof *edges)];
    return (size_t)random_below(random_next(random), SIZE_MAX_HERE + 1);
}

/* Trips on a lost carry between words, a wrong choice among equals, a wrong mask at the ends. */
static void test_random_strings(void **state)
{
    (void)state;
    static const uint64_t alphabets[] = {1, 2, 3, 4, 20, 256};
    struct guard guards[3] = {guard_new(1 << 20), guard_new(SIZE_MAX_HERE),
                              guard_new(SIZE_MAX_HERE)};
    uint64_t random = SEED;
    for (int round = 0; round < 600 / TEST_SLOWER; round++) {
        uint64_t alphabet = alphabets[round % 6];
        struct tarn_bytes a = random_string(&guards[1], &random, random_size(&random), alphabet);
        struct tarn_bytes b = random_string(&guards[2], &random, random_size(&random), alphabet);
        check(&guards[0], a, b);
    }
    for (size_t i = 0; i < 3; i++)
        guard_free(&guards[i]);
}

static void test_equal_and_shifted_strings(void **state)
{
    (void)state;
    struct guard guards[3] = {guard_new(1 << 20), guard_new(SIZE_MAX_HERE),
                              guard_new(SIZE_MAX_HERE)};
    uint64_t random = SEED;
    for (size_t shift = 0; shift < 70; shift++) {
        struct tarn_bytes a = random_string(&guards[1], &random, 200, 256);
        struct tarn_bytes b =
            guard_end(&guards[2], (const unsigned char *)a.data + shift, a.size - shift);
        check(&guards[0], a, b);
        check(&guards[0], b, a);
    }
    for (size_t i = 0; i < 3; i++)
        guard_free(&guards[i]);
}

static void test_empty_strings(void **state)
{
    (void)state;
    struct guard guard = guard_new(1 << 20);
    struct tarn_bytes nothing = {NULL, 0}, something = {"abc", 3};
    check(&guard, nothing, nothing);
    check(&guard, nothing, something);
    check(&guard, something, nothing);
    guard_free(&guard);
}

/* A table of Redis's takes 32 bits a pair; with long strings of one byte it must not be more. */
static void test_memory_is_a_bit_for_each_pair(void **state)
{
    (void)state;
    struct tarn_bytes a = {NULL, 10000}, b = {NULL, 13000}, one = {NULL, 1},
                      big = {NULL, 60u << 20};
    assert_in_range(lcs_bytes(a, b, true), 10000 * 13000 / 8, 10000 * 13000 / 8 + 500000);
    assert_in_range(lcs_bytes(a, b, false), 1, 500000);
    assert_in_range(lcs_bytes(one, big, true), 1, 60u << 20);
    assert_in_range(lcs_bytes(big, one, true), 1, (60u << 20) + 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_strings),
        cmocka_unit_test(test_equal_and_shifted_strings),
        cmocka_unit_test(test_empty_strings),
        cmocka_unit_test(test_memory_is_a_bit_for_each_pair),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
