/* Goal: a tally adds up: every counter, histogram and text of several tallies is in their sum
 * exactly once, and error texts from peers are bounded, printable and told apart.
 * Method: each counter gets a value of its own, so that one that is forgotten or mixed up shows;
 * more different texts than there is room; a failing allocator. */
#include "bench/tally.h"

#include <stdio.h>

#include "lib/test.h"

#include "lib/fault_malloc.h"

static tally_counter *const *counters_of(struct tally *t)
{
    static tally_counter *all[13];
    tally_counter *const list[] = {
        &t->operations,     &t->requests,    &t->hits,   &t->misses, &t->misses_expected,
        &t->errors,         &t->lost,        &t->unsent, &t->wrong,  &t->bytes_sent,
        &t->bytes_received, &t->value_bytes, NULL,
    };
    memcpy(all, list, sizeof list);
    return all;
}

/* Trips on a counter that merging or resetting leaves out. */
static void test_every_counter_is_merged_and_reset(void **state)
{
    (void)state;
    struct tally a, b;
    assert_int_equal(tally_init(&a), TARN_OK);
    assert_int_equal(tally_init(&b), TARN_OK);
    tally_counter *const *list = counters_of(&a);
    for (uint64_t i = 0; list[i]; i++)
        tally_add(list[i], 1000 + i);
    list = counters_of(&b);
    for (uint64_t i = 0; list[i]; i++)
        tally_add(list[i], 7 * i);
    a.cpu_ns = 5, b.cpu_ns = 6;
    a.end_ns = 50, b.end_ns = 40;
    tally_merge(&a, &b);
    list = counters_of(&a);
    for (uint64_t i = 0; list[i]; i++)
        assert_int_equal(tally_get(list[i]), 1000 + 8 * i);
    assert_int_equal(a.cpu_ns, 11);
    assert_int_equal(a.end_ns, 50);
    tally_reset(&a);
    for (uint64_t i = 0; list[i]; i++)
        assert_int_equal(tally_get(list[i]), 0);
    assert_int_equal(a.cpu_ns + a.end_ns, 0);
    tally_done(&a);
    tally_done(&b);
}

static void test_requests_reach_both_histograms(void **state)
{
    (void)state;
    struct tally a, b;
    assert_int_equal(tally_init(&a), TARN_OK);
    assert_int_equal(tally_init(&b), TARN_OK);
    tally_requests(&a, OPERATION_READ, 1000, 3, 30);
    tally_request(&a, OPERATION_UPDATE, 2000, 1);
    tally_request(&b, OPERATION_UPDATE, 3000, 0); /* refused: no operation, but a latency */
    histogram_record(b.late_ns, 7, 2);
    tally_merge(&a, &b);
    assert_int_equal(tally_get(&a.requests), 5);
    assert_int_equal(tally_get(&a.operations), 31);
    assert_int_equal(histogram_count(a.latency_ns), 5);
    assert_int_equal(histogram_count(a.kind_ns[OPERATION_READ]), 3);
    assert_int_equal(histogram_count(a.kind_ns[OPERATION_UPDATE]), 2);
    assert_int_equal(histogram_count(a.kind_ns[OPERATION_SCAN]), 0);
    assert_int_equal(histogram_max(a.latency_ns), 3000);
    assert_int_equal(histogram_count(a.late_ns), 2);
    tally_reset(&a);
    assert_int_equal(histogram_count(a.latency_ns) + histogram_count(a.late_ns), 0);
    assert_int_equal(histogram_count(a.kind_ns[OPERATION_READ]), 0);
    tally_done(&a);
    tally_done(&b);
}

static uint64_t texts_sum(const struct tally *t)
{
    uint64_t sum = t->error_texts_other;
    for (unsigned i = 0; i < t->error_texts_count; i++)
        sum += t->error_texts[i].count;
    return sum;
}

static void test_errors_are_counted_by_text(void **state)
{
    (void)state;
    struct tally a, b;
    assert_int_equal(tally_init(&a), TARN_OK);
    assert_int_equal(tally_init(&b), TARN_OK);
    tally_error(&a, bytes_of("ERR one"), 2);
    tally_error(&a, bytes_of("ERR two"), 1);
    tally_error(&a, bytes_of("ERR one"), 3);
    assert_int_equal(a.error_texts_count, 2);
    assert_string_equal(a.error_texts[0].text, "ERR one");
    assert_int_equal(a.error_texts[0].count, 5);
    for (int i = 0; i < 40; i++) {
        char text[32];
        snprintf(text, sizeof text, "ERR number %d", i);
        tally_error(&b, bytes_of(text), 1);
    }
    tally_error(&b, bytes_of("ERR number 3"), 1); /* one that has a row */
    assert_int_equal(b.error_texts_count, TALLY_ERROR_TEXTS_MAX);
    assert_int_equal(b.error_texts[3].count, 2);
    assert_int_equal(b.error_texts_other, 40 - TALLY_ERROR_TEXTS_MAX);
    tally_merge(&a, &b);
    assert_int_equal(a.error_texts_count, TALLY_ERROR_TEXTS_MAX);
    assert_int_equal(texts_sum(&a), 47);
    assert_int_equal(tally_get(&a.errors), 47);
    tally_reset(&a);
    assert_int_equal(texts_sum(&a), 0);
    tally_done(&a);
    tally_done(&b);
}

/* Trips on bytes that would reach a terminal, and on a text that runs out of its row. */
static void test_texts_are_printable_and_bounded(void **state)
{
    (void)state;
    struct tally t;
    char hostile[1000];
    assert_int_equal(tally_init(&t), TARN_OK);
    memset(hostile, 0x1b, sizeof hostile);
    for (size_t size = 0; size <= sizeof hostile; size += 37)
        tally_error(&t, (struct tarn_bytes){hostile, size}, 1);
    tally_error(&t, (struct tarn_bytes){"a\0b\r\n", 5}, 1);
    bool escaped = false;
    for (unsigned i = 0; i < t.error_texts_count; i++) {
        size_t size = strnlen(t.error_texts[i].text, TALLY_ERROR_BYTES_MAX);
        assert_in_range(size, 0, TALLY_ERROR_BYTES_MAX - 1);
        assert_int_equal(strspn(t.error_texts[i].text, "\\x1b00arn"), size);
        escaped = escaped || strcmp(t.error_texts[i].text, "a\\x00b\\r\\n") == 0;
    }
    assert_true(escaped);
    tally_done(&t);
}

static void test_the_first_wrong_key_is_kept(void **state)
{
    (void)state;
    struct tally a, b;
    assert_int_equal(tally_init(&a), TARN_OK);
    assert_int_equal(tally_init(&b), TARN_OK);
    tally_wrong(&b, bytes_of("first\n"));
    tally_wrong(&b, bytes_of("second"));
    tally_merge(&a, &b);
    tally_merge(&a, &b);
    assert_string_equal(a.first_wrong, "first\\n");
    assert_int_equal(tally_get(&a.wrong), 4);
    tally_reset(&a);
    assert_string_equal(a.first_wrong, "");
    tally_done(&a);
    tally_done(&b);
}

static void test_out_of_memory(void **state)
{
    (void)state;
    struct tally t;
    int status = TARN_NOMEM;
    for (uint64_t nth = 1; status != TARN_OK; nth++) {
        fault_malloc_arm(nth, false);
        status = tally_init(&t);
        fault_malloc_disarm();
        assert_true(status == TARN_OK || status == TARN_NOMEM);
        assert_in_range(nth, 1, 20);
    }
    tally_done(&t);
    tally_done(&t); /* allowed */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_counter_is_merged_and_reset),
        cmocka_unit_test(test_requests_reach_both_histograms),
        cmocka_unit_test(test_errors_are_counted_by_text),
        cmocka_unit_test(test_texts_are_printable_and_bounded),
        cmocka_unit_test(test_the_first_wrong_key_is_kept),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
