/* Goal: the documented defaults; every combination of options that makes no sense is refused with
 * the options' names, every one that does is not; each row reaches its own field.
 * Method: command lines as a user would write them with the whole error text; all rows set to a
 * value of their own and read back. */
#include "bench/settings.h"

#include <stdlib.h>

#include "bench/arrival.h"
#include "bench/distribution.h"
#include "bench/workload.h"
#include "core/bytes.h"

#include "lib/test.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define WORDS_MAX    16

/* Parse "--connect h:1 --rate 5" into *s; every word must be part of an option. */
static void parse(const char *line, struct settings *s)
{
    char text[1024], *argv[WORDS_MAX + 1] = {(char[]){"bench"}};
    int argc = 1, words;
    struct tarn_error error;
    assert_true(strlen(line) < sizeof text);
    memcpy(text, line, strlen(line) + 1);
    for (char *word = strtok(text, " "); word; word = strtok(NULL, " ")) {
        assert_true(argc < WORDS_MAX);
        argv[argc++] = word;
    }
    options_init(&settings_options, s);
    if (options_parse_args(&settings_options, s, argc, argv, &words, &error) != TARN_OK)
        fail_msg("%s: %s", line, error.text);
    assert_int_equal(words, 0);
}

static void test_defaults(void **state)
{
    (void)state;
    struct settings s;
    parse("", &s);
    assert_string_equal(s.connect, "");
    assert_true(s.timeout_ns == 10000000000);
    assert_int_equal(s.workload, WORKLOAD_GET);
    assert_int_equal(s.distribution, 0);
    assert_true(s.read_ratio == 0.95 && s.theta == 0.99 && s.missing_ratio == 0);
    assert_true(s.hot_records == 0.2 && s.hot_requests == 0.8);
    assert_int_equal(s.records, 1000000);
    assert_int_equal(s.key_size, 16);
    assert_true(s.value_size.low == 64 && s.value_size.high == 64);
    assert_true(s.connections == 50 && s.pipeline == 1 && s.batch == 1 && s.threads == 1);
    assert_true(s.requests == 0 && s.duration_ns == 10000000000 && s.warmup_ns == 0);
    assert_true(s.rate == 0 && !s.poisson && s.arrival == ARRIVAL_CONSISTENT);
    assert_true(s.period_ns == 10000000000 && s.target_ns == 1000000 && s.step_ns == 3000000000);
    assert_true(!s.find_peak && s.overload == 0);
    assert_true(!s.load && !s.load_only && !s.verify);
    options_done(&settings_options, &s);
}

static void test_good(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "--connect h:1",
        "--http http://h:1/kv/{key} --batch 100",
        "--memcached h:1 --workload a --load",
        "--embedded memory --threads 64",
        "--embedded d/ --durability async --queue-depth 1k --log-files 4 --log-format json",
        "--embedded d/ --write-period-us 500 --checkpoint-log-bytes 1M",
        "--embedded d/ --durability none",
        "--embedded d/ --durability commit --log-format cbor",
        "--connect h:1 --password-file f",
        "--connect h:1 --rate 50000 --poisson",
        "--connect h:1 --rate 2.5k --arrival sine --arrival-period 1m",
        "--connect h:1 --rate 5 --overload 1.5 --target 5ms",
        "--connect h:1 --find-peak --overload 1.5 --step 1s --target 5ms",
        "--connect h:1 --requests 1M --warmup 1s",
        "--connect h:1 --requests 1M --duration 10s", /* the default said aloud */
        "--connect h:1 --keys-from f --workload set --load",
        "--connect h:1 --workload mixed --read-ratio 0 --distribution latest --theta 1.2",
        "--connect h:1 --workload A --theta 0",
        "--connect h:1 --distribution hotspot --hot-records 0.1 --hot-requests 1",
        "--connect h:1 --load-only --json f.json",
        "--connect h:1 --plot a.svg --csv a.csv",
        "--connect h:1 --plot .png.png",
        "--connect h:1 --connections 4 --threads 4",
        "--connect h:1 --connections 10k --pipeline 1000",
    };
    for (size_t i = 0; i < COUNT(lines); i++) {
        struct settings s;
        struct tarn_error error;
        parse(lines[i], &s);
        if (settings_check(&s, &error) != TARN_OK)
            fail_msg("%s: %s", lines[i], error.text);
        options_done(&settings_options, &s);
    }
}

static void test_bad(void **state)
{
    (void)state;
    static const struct {
        const char *line, *text;
    } cases[] = {
        {"", "nothing to measure; give one of --connect, --http, --memcached and --embedded"},
        {"--connect a:1 --http b", "--connect and --http exclude each other"},
        {"--memcached a:1 --embedded b", "--memcached and --embedded exclude each other"},
        {"--connect a:1 --password x --password-file y",
         "--password and --password-file exclude each other"},
        {"--memcached a:1 --password x",
         "--password does not go with --memcached, whose text protocol knows none"},
        {"--embedded memory --password-file x",
         "--password-file does not go with --embedded, which asks for none"},
        {"--embedded d --queue-depth 5", "--queue-depth needs --durability async"},
        {"--embedded d --durability commit --queue-depth 5",
         "--queue-depth needs --durability async"},
        {"--embedded d --durability async --write-period-us 5",
         "--write-period-us needs --durability periodic"},
        {"--embedded d --durability none --log-files 2",
         "--log-files does not go with --durability none, which keeps no log"},
        {"--embedded d --durability none --log-format cbor",
         "--log-format does not go with --durability none, which keeps no log"},
        {"--connect a:1 --poisson", "--poisson needs --rate"},
        {"--connect a:1 --arrival burst", "--arrival needs --rate"},
        {"--connect a:1 --rate 5 --arrival-period 1s",
         "--arrival-period needs --arrival burst, ramp or sine"},
        {"--connect a:1 --overload 2", "--overload needs --rate or --find-peak"},
        {"--connect a:1 --rate 5 --overload 1",
         "--overload: a factor over 1 is needed, such as 1.5 for half as much again"},
        {"--connect a:1 --rate 5 --overload 0.5",
         "--overload: a factor over 1 is needed, such as 1.5 for half as much again"},
        {"--connect a:1 --find-peak --rate 5",
         "--rate does not go with --find-peak, which chooses rates and times by itself (--step)"},
        {"--connect a:1 --find-peak --requests 5",
         "--requests does not go with --find-peak, which chooses rates and times by itself "
         "(--step)"},
        {"--connect a:1 --find-peak --duration 5s",
         "--duration does not go with --find-peak, which chooses rates and times by itself "
         "(--step)"},
        {"--connect a:1 --step 1s", "--step needs --find-peak"},
        {"--connect a:1 --rate 5 --target 5ms", "--target needs --find-peak or --overload"},
        {"--connect a:1 --requests 5 --duration 5s",
         "--requests and --duration exclude each other"},
        {"--connect a:1 --connections 2 --threads 3",
         "--threads: 3 threads have only 2 connections to share; raise --connections"},
        {"--connect a:1 --connections 10k --pipeline 10k",
         "--connections times --pipeline times --batch is over 10000000 keys under way at once"},
        {"--connect a:1 --load-only --rate 5",
         "--rate does not go with --load-only, which measures nothing but the load"},
        {"--connect a:1 --load-only --plot a.png",
         "--plot does not go with --load-only, which measures nothing but the load"},
        {"--connect a:1 --keys-from f --records 5",
         "--records does not go with --keys-from, which brings its own records"},
        {"--connect a:1 --keys-from f --value-size 5",
         "--value-size does not go with --keys-from, which brings its own records"},
        {"--connect a:1 --keys-from f --workload d",
         "--workload d inserts new records, of which --keys-from has none"},
        {"--connect a:1 --workload get --read-ratio 0.5", "--read-ratio needs --workload mixed"},
        {"--connect a:1 --hot-records 0.5", "--hot-records needs --distribution hotspot"},
        {"--connect a:1 --theta 0.5", "--theta needs --distribution zipfian or latest, or a "
                                      "workload that has one of them"},
        {"--connect a:1 --workload a --distribution uniform --theta 0.5",
         "--theta needs --distribution zipfian or latest, or a workload that has one of them"},
        {"--connect a:1 --workload set --missing-ratio 0.5",
         "--missing-ratio needs a workload that reads single records"},
        {"--connect a:1 --workload mixed --read-ratio 0 --missing-ratio 0.5",
         "--missing-ratio needs a workload that reads single records"},
        {"--connect a:1 --plot a.pdf", "--plot: a.pdf: name a file that ends in .svg or .png"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct settings s;
        struct tarn_error error;
        parse(cases[i].line, &s);
        if (settings_check(&s, &error) != TARN_INVALID)
            fail_msg("%s was let pass", cases[i].line);
        assert_int_equal(error.status, TARN_INVALID);
        assert_string_equal(error.text, cases[i].text);
        options_done(&settings_options, &s);
    }
}

static void test_bounds(void **state)
{
    (void)state;
    static const struct {
        const char *name, *value, *text;
    } cases[] = {
        {"read-ratio", "1.1", "--read-ratio: 1.1 is over 1"},
        {"missing-ratio", "2", "--missing-ratio: 2 is over 1"},
        {"hot-records", "0", "--hot-records: 0 is under 1e-9"},
        {"theta", "11", "--theta: 11 is over 10"},
        {"records", "0", "--records: 0 is under 1"},
        {"key-size", "65536", "--key-size: 65536 is over 65535"},
        {"connections", "0", "--connections: 0 is under 1"},
        {"connections", "10001", "--connections: 10001 is over 10k"},
        {"timeout", "0", "--timeout: 0 is under 1ms"},
        {"duration", "0s", "--duration: 0s is under 1ms"},
        {"rate", "2G", "--rate: 2G is over 1G"},
        {"step", "1ms", "--step: 1ms is under 100ms"},
        {"queue-depth", "0", "--queue-depth: 0 is under 1"},
        {"log-files", "65", "--log-files: 65 is over 64"},
        {"durability", "fsync",
         "--durability: fsync is unknown; choose none, async, periodic or commit"},
        {"log-format", "xml", "--log-format: xml is unknown; choose binary, cbor or json"},
        {"workload", "g", "--workload: g is unknown; choose get, set, mixed, a, b, c, d, e or f"},
        {"distribution", "normal",
         "--distribution: normal is unknown; choose own, uniform, zipfian, latest, hotspot or "
         "sequential"},
    };
    struct settings s;
    options_init(&settings_options, &s);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct tarn_error error;
        const struct option *row = options_find(&settings_options, bytes_of(cases[i].name));
        assert_non_null(row);
        assert_int_equal(options_set(row, &s, bytes_of(cases[i].value), &error), TARN_INVALID);
        assert_string_equal(error.text, cases[i].text);
    }
    options_done(&settings_options, &s);
}

/* Trips if two rows share a field or a field has no row: every row changed, one after the other,
 * changes itself only, and their sizes fill the struct. */
static void test_every_row_has_its_field(void **state)
{
    (void)state;
    struct settings s;
    size_t bytes = 0;
    options_init(&settings_options, &s);
    for (size_t i = 0; i < settings_options.count; i++) {
        const struct option *row = &settings_options.rows[i];
        const char *other = row->type == OPTION_BOOL   ? "yes"
                            : row->type == OPTION_WORD ? row->words[1]
                            : row->type == OPTION_TIME ? "200ms"
                            : row->type == OPTION_REAL ? "0.5"
                            : row->type == OPTION_SIZE ? "2M"
                                                       : "7";
        assert_true(options_is_default(row, &s));
        assert_int_equal(options_set(row, &s, bytes_of(other), NULL), TARN_OK);
        assert_false(options_is_default(row, &s));
        bytes += row->type == OPTION_BOOL    ? sizeof(bool)
                 : row->type == OPTION_WORD  ? sizeof(int)
                 : row->type == OPTION_RANGE ? sizeof(struct option_range)
                                             : sizeof(uint64_t);
    }
    assert_in_range(sizeof s - bytes, 0, 31); /* padding */
    options_done(&settings_options, &s);
}

/* What is asked for reaches the dial; what is not given is what tarn.h says is the default. */
static void test_dial(void **state)
{
    (void)state;
    struct settings s;
    parse("--embedded d", &s);
    struct tarn_dial dial = settings_dial(&s);
    assert_null(settings_dial_given(&s));
    assert_int_equal(dial.durability, TARN_DURABILITY_PERIODIC);
    assert_int_equal(dial.queue_depth, 100000);
    assert_int_equal(dial.period_us, 10000);
    assert_int_equal(dial.log_format, TARN_LOG_BINARY);
    assert_int_equal(dial.log_bytes_max, 1 << 30);
    assert_int_equal(dial.checkpoint_s, 0);
    assert_int_equal(s.log_files, 1);
    options_done(&settings_options, &s);
    parse("--durability async --queue-depth 2k --log-format json --checkpoint-log-bytes 4M", &s);
    dial = settings_dial(&s);
    assert_string_equal(settings_dial_given(&s), "durability");
    assert_int_equal(dial.durability, TARN_DURABILITY_ASYNC);
    assert_int_equal(dial.queue_depth, 2000);
    assert_int_equal(dial.log_format, TARN_LOG_JSON);
    assert_int_equal(dial.log_bytes_max, 4 << 20);
    options_done(&settings_options, &s);
    parse("--write-period-us 77", &s);
    assert_int_equal(settings_dial(&s).period_us, 77);
    assert_string_equal(settings_dial_given(&s), "write-period-us");
    options_done(&settings_options, &s);
}

static void test_distribution_words(void **state)
{
    (void)state;
    static const struct {
        const char *word;
        int value;
    } cases[] = {{"own", 0},
                 {"uniform", DISTRIBUTION_UNIFORM + 1},
                 {"zipfian", DISTRIBUTION_ZIPFIAN + 1},
                 {"latest", DISTRIBUTION_LATEST + 1},
                 {"hotspot", DISTRIBUTION_HOTSPOT + 1},
                 {"sequential", DISTRIBUTION_SEQUENTIAL + 1}};
    struct settings s;
    options_init(&settings_options, &s);
    const struct option *row = options_find(&settings_options, bytes_of("distribution"));
    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_int_equal(options_set(row, &s, bytes_of(cases[i].word), NULL), TARN_OK);
        assert_int_equal(s.distribution, cases[i].value);
    }
    options_done(&settings_options, &s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_every_row_has_its_field),
        cmocka_unit_test(test_dial),
        cmocka_unit_test(test_distribution_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
