/* Goal: the slow log keeps the newest entries in order, trims arguments as Redis does, and obeys
 * its bound.
 * Method: add requests and read them back; the trimming tables are Redis 7's (slowlog.c). */
#include "lib/test.h"

#include <stdlib.h>
#include <string.h>

#include "server/slowlog.h"

struct seen {
    struct slowlog_entry entries[8];
    char texts[8][4096]; /* the arguments, joined by '|' */
    size_t count;
};

static void see(void *context, const struct slowlog_entry *entry)
{
    struct seen *seen = context;
    assert_true(seen->count < 8);
    char *text = seen->texts[seen->count];
    for (size_t i = 0; i < entry->args_count; i++) {
        memcpy(text, entry->args[i].data, entry->args[i].size);
        text += entry->args[i].size;
        *text++ = '|';
    }
    *text = 0;
    seen->entries[seen->count++] = *entry;
}

static void add(struct slowlog *log, size_t entries_max, struct tarn_bytes *args, size_t count)
{
    struct resp_request request = {args, count};
    slowlog_add(log, entries_max, &request, 1234, 99, "127.0.0.1:5", "me");
}

static void test_order_and_bound(void **state)
{
    (void)state;
    struct slowlog log;
    struct tarn_bytes args[2] = {bytes_of("GET"), bytes_of("a")};
    static struct seen seen;
    slowlog_init(&log);
    add(&log, 0, args, 2);
    assert_int_equal(slowlog_length(&log), 0);
    for (int i = 0; i < 5; i++) {
        args[1].data = &"abcde"[i];
        add(&log, 3, args, 2);
    }
    assert_int_equal(slowlog_length(&log), 3);
    slowlog_visit(&log, 10, see, &seen);
    assert_int_equal(seen.count, 3);
    assert_string_equal(seen.texts[0], "GET|e|");
    assert_string_equal(seen.texts[2], "GET|c|");
    assert_int_equal(seen.entries[0].id, 4);
    assert_int_equal(seen.entries[2].id, 2);
    assert_int_equal(seen.entries[0].us, 1234);
    assert_int_equal(seen.entries[0].unix_seconds, 99);
    assert_string_equal(seen.entries[0].address, "127.0.0.1:5");
    assert_string_equal(seen.entries[0].name, "me");
    seen.count = 0;
    slowlog_visit(&log, 1, see, &seen);
    assert_int_equal(seen.count, 1);
    slowlog_trim(&log, 1);
    assert_int_equal(slowlog_length(&log), 1);
    slowlog_trim(&log, 0);
    assert_int_equal(slowlog_length(&log), 0);
    add(&log, 3, args, 2); /* ids go on after a reset */
    seen.count = 0;
    slowlog_visit(&log, 1, see, &seen);
    assert_int_equal(seen.entries[0].id, 5);
    slowlog_done(&log);
}

static void test_trimmed_arguments(void **state)
{
    (void)state;
    struct slowlog log;
    struct tarn_bytes args[40];
    static struct seen seen;
    slowlog_init(&log);
    for (size_t i = 0; i < 40; i++)
        args[i] = bytes_of("x");
    seen.count = 0;
    add(&log, 8, args, 32);
    add(&log, 8, args, 33);
    add(&log, 8, args, 40);
    slowlog_visit(&log, 3, see, &seen);
    assert_int_equal(seen.entries[2].args_count, 32);
    assert_null(strstr(seen.texts[2], "more"));
    assert_int_equal(seen.entries[1].args_count, 32);
    assert_string_equal(seen.texts[1] + 2 * 31, "... (2 more arguments)|");
    assert_string_equal(seen.texts[0] + 2 * 31, "... (9 more arguments)|");
    slowlog_done(&log);
}

static void test_trimmed_bytes(void **state)
{
    (void)state;
    struct slowlog log;
    char value[1000];
    memset(value, 'v', sizeof value);
    static struct seen seen;
    slowlog_init(&log);
    struct tarn_bytes args[3] = {{value, 128}, {value, 129}, {value, 0}};
    add(&log, 8, args, 3);
    slowlog_visit(&log, 1, see, &seen);
    const struct slowlog_entry *entry = &seen.entries[0];
    assert_int_equal(entry->args_count, 3);
    char expected[400];
    memset(expected, 'v', 128);
    strcpy(expected + 128, "|");
    memset(expected + 129, 'v', 128);
    strcpy(expected + 257, "... (1 more bytes)||");
    assert_string_equal(seen.texts[0], expected);
    slowlog_done(&log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_and_bound),
        cmocka_unit_test(test_trimmed_arguments),
        cmocka_unit_test(test_trimmed_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
