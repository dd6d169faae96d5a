/* Goal: counters, latencies and error words add up, a reset holds at once for readers, and one
 * writer with readers on other threads is free of races.
 * Method: count and read back; a thread that reads while another counts and resets (run under
 * ThreadSanitizer, too). */
#include "lib/test.h"

#include <stdio.h>
#include <string.h>

#include "server/stats.h"

static const struct command *get(void)
{
    return command_find(bytes_of("get"));
}

struct words {
    char text[1024];
    unsigned count;
};

static void add_word(void *context, const char *word, uint64_t count)
{
    struct words *words = context;
    size_t size = strlen(words->text);
    if (words->count++ < 8)
        snprintf(words->text + size, sizeof words->text - size, "%s=%llu ", word,
                 (unsigned long long)count);
}

static void record_error(struct stats *s, const char *text)
{
    stats_record_error(s, get(), false, bytes_of(text));
}

static void test_counts(void **state)
{
    (void)state;
    _Atomic uint64_t generation = 5;
    struct stats s;
    struct words words = {0};
    assert_int_equal(stats_init(&s, &generation), TARN_OK);
    stats_record_calls(&s, get(), 64, 6400);
    stats_record_calls(&s, get(), 1, 500);
    const struct stats_command *c = &s.by_command[get()->id];
    assert_int_equal(stats_read(&s.commands), 65);
    assert_int_equal(stats_read(&c->calls), 65);
    assert_int_equal(stats_read(&c->ns_total), 6900);
    struct histogram *latency = atomic_load(&c->latency);
    assert_int_equal(histogram_count(latency), 65);
    assert_int_equal(histogram_quantile(latency, 0.5), 100);
    assert_int_equal(histogram_max(latency), 500);

    record_error(&s, "ERR syntax error\r\n");
    record_error(&s, "ERR other");
    record_error(&s, "WRONGTYPE");
    record_error(&s, "");
    stats_record_error(&s, NULL, true, bytes_of("NOAUTH Authentication required."));
    stats_record_error(&s, get(), true, bytes_of("ERR x"));
    stats_errors_visit(&s, add_word, &words);
    assert_string_equal(words.text, "ERR=3 WRONGTYPE=1 =1 NOAUTH=1 ");
    assert_int_equal(stats_read(&s.errors), 6);
    assert_int_equal(stats_read(&c->failed), 4);
    assert_int_equal(stats_read(&c->rejected), 1);
    stats_done(&s);
}

/* A client cannot make the table of words grow without end, nor its entries. */
static void test_error_words_bounded(void **state)
{
    (void)state;
    _Atomic uint64_t generation = 0;
    struct stats s;
    struct words words = {0};
    char text[100];
    assert_int_equal(stats_init(&s, &generation), TARN_OK);
    for (int i = 0; i < 1000; i++) {
        snprintf(text, sizeof text, "WORD%d%060d", i, 0);
        record_error(&s, text);
    }
    stats_errors_visit(&s, add_word, &words);
    assert_int_equal(words.count, STATS_ERROR_WORDS_MAX);
    assert_int_equal(strcspn(words.text, "="), STATS_ERROR_WORD_BYTES_MAX);
    assert_int_equal(stats_read(&s.errors), 1000);
    stats_done(&s);
}

static void test_reset(void **state)
{
    (void)state;
    _Atomic uint64_t generation = 0;
    struct stats s;
    struct words words = {0};
    assert_int_equal(stats_init(&s, &generation), TARN_OK);
    stats_record_calls(&s, get(), 1, 100);
    record_error(&s, "ERR");
    assert_true(stats_is_current(&s));
    atomic_fetch_add(&generation, 1);
    assert_false(stats_is_current(&s)); /* at once, before the worker has done anything */
    stats_refresh(&s);
    assert_true(stats_is_current(&s));
    assert_int_equal(stats_read(&s.commands), 0);
    assert_int_equal(stats_read(&s.by_command[get()->id].calls), 0);
    assert_int_equal(histogram_count(atomic_load(&s.by_command[get()->id].latency)), 0);
    stats_errors_visit(&s, add_word, &words);
    assert_int_equal(words.count, 0);
    stats_done(&s);
}

static void *count_much(void *argument)
{
    struct stats *s = argument;
    for (int i = 0; i < 20000; i++) {
        stats_refresh(s);
        stats_record_calls(s, get(), 2, 200 + (uint64_t)i);
        if (i % 100 == 0)
            record_error(s, "ERR x");
    }
    return NULL;
}

static void test_readers(void **state)
{
    (void)state;
    _Atomic uint64_t generation = 0;
    struct stats s;
    pthread_t thread;
    assert_int_equal(stats_init(&s, &generation), TARN_OK);
    assert_int_equal(pthread_create(&thread, NULL, count_much, &s), 0);
    for (int i = 0; i < 200; i++) {
        struct histogram *sum = histogram_new();
        struct words words = {0};
        const struct histogram *latency =
            atomic_load_explicit(&s.by_command[get()->id].latency, memory_order_acquire);
        if (latency != NULL)
            histogram_merge(sum, latency);
        stats_errors_visit(&s, add_word, &words);
        assert_true(stats_read(&s.commands) <= 40000);
        if (i % 20 == 0)
            atomic_fetch_add(&generation, 1);
        histogram_free(sum);
    }
    pthread_join(thread, NULL);
    stats_done(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_error_words_bounded),
        cmocka_unit_test(test_reset),
        cmocka_unit_test(test_readers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
