/* Goal: glob_match() answers as Redis 7 does, reads no byte outside its views, and costs at most
 * pattern x text.
 * Method: a table of a few ten thousand answers of a real Redis (lib/glob_table.h), each tried with
 * pattern and text ending at an unreadable page; a reference matcher by dynamic programming for
 * random patterns without classes; steps counted, not timed, for patterns that are exponential in
 * a naive matcher. */
#include "core/glob.h"

#include "lib/test.h"

#include "lib/glob_table.h"
#include "lib/guard.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void check_table(const struct glob_row *rows, size_t rows_count,
                        const struct glob_text *texts, size_t texts_count, bool ignore_case)
{
    struct guard pattern_guard = guard_new(64), text_guard = guard_new(64);
    size_t wrong = 0;
    for (size_t i = 0; i < rows_count; i++) {
        const struct glob_row *row = &rows[i];
        struct tarn_bytes pattern = guard_end(&pattern_guard, row->pattern.data, row->pattern.size);
        assert_int_equal(strlen(row->answers), texts_count);
        for (size_t j = 0; j < texts_count; j++) {
            struct tarn_bytes text = guard_end(&text_guard, texts[j].data, texts[j].size);
            if (glob_match(pattern, text, ignore_case) != (row->answers[j] == '1')) {
                print_error("pattern '%s' text '%s': Redis says %c\n", row->pattern.data,
                            texts[j].data, row->answers[j]);
                wrong++;
            }
        }
    }
    guard_free(&pattern_guard);
    guard_free(&text_guard);
    assert_int_equal(wrong, 0);
}

/* Trips on any deviation: class rules, escapes, signed ranges, the empty text. */
static void test_answers_of_redis(void **state)
{
    (void)state;
    check_table(glob_rows, COUNT(glob_rows), glob_texts, COUNT(glob_texts), false);
}

static void test_answers_of_redis_ignoring_case(void **state)
{
    (void)state;
    check_table(glob_nocase_rows, COUNT(glob_nocase_rows), glob_nocase_texts,
                COUNT(glob_nocase_texts), true);
}

/* The definition, by dynamic programming, for patterns of bytes, '?' and '*' over a text that is
 * not empty. */
static bool reference(const char *p, size_t p_size, const char *t, size_t t_size)
{
    bool now[64] = {true}, next[64];
    for (size_t i = 0; i < p_size; i++) {
        memset(next, 0, sizeof next);
        next[0] = p[i] == '*' && now[0];
        for (size_t j = 1; j <= t_size; j++) {
            if (p[i] == '*')
                next[j] = now[j] || next[j - 1];
            else
                next[j] = now[j - 1] && (p[i] == '?' || p[i] == t[j - 1]);
        }
        memcpy(now, next, sizeof now);
    }
    return now[t_size];
}

/* Trips on a star that is given up too early: the shortcut of going back to the last one only. */
static void test_random_stars(void **state)
{
    (void)state;
    uint64_t random = 42;
    size_t matched = 0;
    for (int round = 0; round < 100000; round++) {
        char p[12], t[24];
        size_t p_size, t_size;
        random = random * 6364136223846793005u + 1442695040888963407u;
        uint64_t bits = random >> 8;
        p_size = bits % (sizeof p + 1);
        t_size = 1 + (bits >> 5) % sizeof t;
        for (size_t i = 0; i < p_size; i++)
            p[i] = "ab*?a*b*"[(random >> (5 * i + 3)) & 7];
        for (size_t i = 0; i < t_size; i++)
            t[i] = "ab"[(bits >> (i + 11)) & 1];
        bool expected = reference(p, p_size, t, t_size);
        matched += expected;
        assert_int_equal(
            glob_match((struct tarn_bytes){p, p_size}, (struct tarn_bytes){t, t_size}, round & 1),
            expected);
    }
    assert_in_range(matched, 5000, 95000); /* the test decides something */
}

/* Trips on backtracking over more than one star: 1000 of them would take longer than the sun. */
static void test_steps_are_bounded(void **state)
{
    (void)state;
    enum { STARS = 1000, TEXT = 20000 };
    static char pattern[2 * STARS + 1], text[TEXT];
    for (size_t i = 0; i < STARS; i++)
        memcpy(pattern + 2 * i, "a*", 2);
    pattern[2 * STARS] = 'b';
    memset(text, 'a', sizeof text);
    uint64_t steps;
    struct tarn_bytes p = {pattern, sizeof pattern}, t = {text, sizeof text};
    assert_false(glob_match_counted(p, t, false, &steps));
    assert_true(steps <= 4 * sizeof text); /* linear: each star settles at once, the last scans */

    /* the worst case: after the star nearly all of the pattern fits at every start */
    memset(pattern, 'a', sizeof pattern);
    pattern[0] = '*';
    pattern[2 * STARS] = 'b';
    assert_false(glob_match_counted(p, t, false, &steps));
    assert_true(steps <= (uint64_t)sizeof pattern * sizeof text);

    /* long classes behind many stars */
    for (size_t i = 0; i + 5 <= sizeof pattern; i += 5)
        memcpy(pattern + i, "*[xa]", 5);
    pattern[2 * STARS] = 'b';
    assert_false(glob_match_counted(p, t, true, &steps));
    assert_true(steps <= (uint64_t)sizeof pattern * sizeof text);

    text[TEXT - 1] = 'b';
    assert_true(glob_match_counted(p, t, true, &steps));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers_of_redis),
        cmocka_unit_test(test_answers_of_redis_ignoring_case),
        cmocka_unit_test(test_random_stars),
        cmocka_unit_test(test_steps_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
