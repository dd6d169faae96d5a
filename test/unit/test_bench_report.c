/* Goal: the text says everything that the figures hold and nothing that is not known, within 100
 * columns; the JSON has every documented member with the right value whatever bytes the texts hold,
 * and no password; the CSV has a line an interval.
 * Method: the sample figures, whole text; then changed in one thing at a time and looked for what
 * that must bring or take away; JSON parsed again. */
#include "bench/report.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/test.h"

#include "lib/sample_figures.h"

struct sample_run {
    struct settings settings;
    struct figures figures;
    struct peak peak;
    struct peak_step steps[2];
    bool with_peak;
    char *text; /* of the last text_of() or json_of() */
};

static void set(struct sample_run *r, const char *name, const char *value)
{
    const struct option *row = options_find(&settings_options, bytes_of(name));
    assert_non_null(row);
    assert_int_equal(options_set(row, &r->settings, bytes_of(value), NULL), TARN_OK);
}

static int setup(void **state)
{
    static struct sample_run run;
    memset(&run, 0, sizeof run);
    options_init(&settings_options, &run.settings);
    set(&run, "connect", "127.0.0.1:6379");
    sample_figures(&run.figures);
    run.steps[0] = (struct peak_step){10000, 9999.5, 9999.5, 45, 410, true};
    run.steps[1] = (struct peak_step){160000, 141000, 3.5, 4500, 54100, false};
    run.peak =
        (struct peak){.target_us = 1000, .rate = 10000, .steps = run.steps, .steps_count = 2};
    *state = &run;
    return 0;
}

static int teardown(void **state)
{
    struct sample_run *r = *state;
    options_done(&settings_options, &r->settings);
    sample_done(&r->figures);
    free(r->text);
    return 0;
}

static const char *text_of(struct sample_run *r)
{
    struct buffer out = {0};
    report_text(&r->settings, &r->figures, r->with_peak ? &r->peak : NULL, &out);
    buffer_append_byte(&out, 0);
    assert_false(out.failed);
    free(r->text);
    r->text = (char *)out.data;
    for (const char *line = r->text; *line;) {
        size_t size = strcspn(line, "\n");
        if (size > 100)
            fail_msg("%zu columns: %.*s", size, (int)size, line);
        line += size + 1;
    }
    return r->text;
}

static void has(struct sample_run *r, const char *part)
{
    if (!strstr(text_of(r), part))
        fail_msg("no \"%s\" in:\n%s", part, r->text);
}

static void has_not(struct sample_run *r, const char *part)
{
    if (strstr(text_of(r), part))
        fail_msg("\"%s\" in:\n%s", part, r->text);
}

static const char whole[] =
    "RESP 127.0.0.1:6379\n"
    "workload get, uniform, records 1M, key 16, value 64 bytes\n"
    "closed loop, 50 connections, pipeline 1, batch 1, 2 threads\n"
    "\n"
    "total_ops                 1,000,000\n"
    "total_runtime                 10.00   s\n"
    "total_ops_per_sec           100,000\n"
    "average_ops_per_sec          50,000   per thread, from 49,900 to 50,100\n"
    "hits                        999,000\n"
    "misses                        1,000   all of keys chosen to be missing\n"
    "errors                            0\n"
    "bytes_sent                  36.0 MB   3.6 MB/s\n"
    "bytes_received              70.9 MB   7.1 MB/s\n"
    "value_bytes                 63.9 MB   6.4 MB/s\n"
    "\n"
    "latency, us                 min        p50        p90        p99      p99.9     p99.99       "
    " max\n"
    "all                       40.00      56.03      68.86      71.74      972.3    480,000    "
    "480,000\n"
    "\n"
    "server CPU                    3.250   us an operation, 0.33 cores, 123.5 MB in memory\n"
    "generator CPU                 1.500   us an operation, 0.15 cores\n"
    "bottleneck          not the generator\n"
    "values read         presence only was checked (--verify compares them)\n";

static void test_whole_text(void **state)
{
    assert_string_equal(text_of(*state), whole);
}

static void test_workload_line(void **state)
{
    struct sample_run *r = *state;
    set(r, "workload", "b");
    has(r, "workload b, zipfian 0.99, records");
    set(r, "distribution", "hotspot");
    has(r, "workload b, hotspot, records");
    set(r, "workload", "mixed");
    set(r, "read-ratio", "0.25");
    set(r, "missing-ratio", "0.5");
    has(r,
        "workload mixed, reads 0.25, hotspot, records 1M, key 16, value 64 bytes, missing 0.5\n");
    set(r, "keys-from", "data.txt");
    has(r, "hotspot, records of data.txt, missing 0.5\n");
}

static void test_open_loop(void **state)
{
    struct sample_run *r = *state;
    has_not(r, "sent late");
    r->figures.rate = 120000;
    has_not(r, "sent late");
    histogram_record(r->figures.all.late_ns, 2500, 10);
    set(r, "poisson", "yes");
    set(r, "arrival", "sine");
    has(r, "open loop, 120,000 requests a second, sine, poisson, 50 connections");
    has(r, "\nsent late by itself       2.500");
    tally_add(&r->figures.all.unsent, 12345);
    has(r, "\nunsent                       12,345   were due");
}

static void test_what_went_wrong(void **state)
{
    struct sample_run *r = *state;
    struct tally *t = &r->figures.all;
    r->figures.complete = false;
    snprintf(r->figures.stopped, sizeof r->figures.stopped, "127.0.0.1:6379 closed");
    has(r, "PARTIAL RESULT: 127.0.0.1:6379 closed\n");
    assert_ptr_equal(strstr(r->text, "PARTIAL"), r->text);
    has_not(r, "errors by text");
    tally_error(t, bytes_of("READONLY no writes"), 1234);
    t->error_texts_other = 5;
    has(r, "\nerrors                        1,234\n");
    has(r, "\nerrors by text\n          1,234   READONLY no writes\n              5   others\n");
    tally_wrong(t, bytes_of("user17"));
    tally_add(&t->lost, 7);
    has(r, "\nWRONG VALUES                      1\n  the first of key  user17\n");
    has(r, "\nlost                              7   under way when it ended\n");
    set(r, "verify", "yes");
    has(r, "values read         every one was compared byte by byte\n");
    tally_add(&t->misses, 50);
    has(r, "\nmisses                        1,050   1,000 of them of keys chosen to be missing\n");
    tally_add(&t->requests, 1);
    has(r, "\nrequests                  1,000,001\n");
}

static void test_bottlenecks(void **state)
{
    struct sample_run *r = *state;
    r->figures.bottleneck = BOTTLENECK_GENERATOR;
    has(r, "bottleneck          THE GENERATOR: its threads");
    r->figures.bottleneck = BOTTLENECK_GENERATOR_MAYBE;
    has(r, "bottleneck          PERHAPS THE GENERATOR");
    r->figures.bottleneck = BOTTLENECK_SCHEDULE;
    has(r, "bottleneck          THE GENERATOR: it sent");
    r->figures.server.local = false;
    has_not(r, "server CPU");
}

static void test_kinds(void **state)
{
    struct sample_run *r = *state;
    histogram_record(r->figures.all.kind_ns[OPERATION_SCAN], 1000, 1);
    has_not(r, "\nscan"); /* the only kind is the same as all */
    sample_kinds(&r->figures);
    has(r, "\nread                      35.00      49.02");
    has(r, "\nupdate                    55.00");
    has(r, "\nscan                      1.000");
    has_not(r, "\ninsert");
}

static void test_embedded(void **state)
{
    struct sample_run *r = *state;
    set(r, "connect", "");
    set(r, "embedded", "memory");
    r->figures.server.local = false;
    has(r, "CPU with the store            1.500   us an operation");
    has_not(r, "connection");
    has_not(r, "bytes_sent");
    has_not(r, "bottleneck");
}

/* A store in a directory, and its log. */
static void keep_log(struct sample_run *r)
{
    struct figures *f = &r->figures;
    set(r, "connect", "");
    set(r, "embedded", "d");
    f->server.local = false;
    f->process_cpu_s = 20;
    f->log = (struct figures_log){.kept = true,
                                  .records = 900,
                                  .bytes = 123456789,
                                  .syncs = 1000,
                                  .sync_s = 1.5,
                                  .sync_us_max = 9000,
                                  .checkpoints = 2,
                                  .drain_s = 0.25};
}

static void test_log(void **state)
{
    struct sample_run *r = *state;
    has_not(r, "durability");
    has_not(r, "drain");
    keep_log(r);
    has(r, "\ndurability periodic, every us 10000, log files 1, format binary\nworkload");
    has(r, "\nCPU of the process            20.00   us an operation, 2.00 cores, the log's threads "
           "too\n"
           "log                        123.5 MB   12.3 MB/s\n"
           "syncs                         1,000   1,500 us each, the longest 9,000\n"
           "drain                         0.250   s after the end, until all was synced\n"
           "checkpoints                       2\n");
    set(r, "durability", "async");
    set(r, "log-format", "json");
    has(r, "\ndurability async, queue depth 100k, log files 1, format json\n");
    set(r, "durability", "none");
    has(r, "\ndurability none\n");
    has_not(r, "drain");
}

static void load(struct sample_run *r)
{
    struct figures *f = &r->figures;
    f->loaded = true;
    f->load_operations = 1000000;
    f->load_seconds = 1.25;
    f->load_cpu_s = 0.84;
    f->data_bytes = 80000000;
    f->memory_before_bytes = 5000000;
    f->memory_loaded_bytes = 97000000;
}

static void test_load(void **state)
{
    struct sample_run *r = *state;
    load(r);
    has(r, "\nrecords loaded in 1.250 s, 800,000 a second\n"
           "load_ops                  1,000,000\n"
           "data                        80.0 MB\n"
           "server CPU                    0.840   us a record\n"
           "memory                      97.0 MB   5.0 MB before; 12.0 bytes a key beyond key and "
           "value\n");
    set(r, "load-only", "yes");
    has_not(r, "total_ops");
    has_not(r, "closed loop");
    r->figures.load_cpu_s = 0;
    has_not(r, "server CPU");
    r->figures.memory_before_bytes = 0;
    has_not(r, "beyond key");
    r->figures.memory_loaded_bytes = 0;
    has_not(r, "memory");
}

static void test_peak(void **state)
{
    struct sample_run *r = *state;
    r->with_peak = true;
    set(r, "find-peak", "yes");
    has(r, "\nrequests a second with p99.9 within 1,000 us\n"
           "           rate       answered  within target       p50 us     p99.9 us\n"
           "         10,000         10,000         10,000        45.00        410.0   held\n"
           "        160,000        141,000          3.500        4,500       54,100   not held\n"
           "peak_rate                    10,000   the highest that held; its figures follow\n");
    r->peak.rate = 0;
    r->peak.generator_limit = 200000;
    r->peak.overloaded = true;
    r->peak.overload_factor = 1.5;
    r->peak.overload = r->steps[1];
    has(r, "54,100   overload x 1.5\npeak_rate                      none   no rate held");
    has(r, "\ngenerator_limit             200,000   ");
    set(r, "find-peak", "no"); /* --overload of a given --rate */
    has_not(r, "peak_rate");
}

static void test_title(void **state)
{
    struct sample_run *r = *state;
    struct buffer out = {0};
    set(r, "workload", "a");
    report_title(&r->settings, &r->figures, &out);
    assert_true(bytes_equal(
        buffer_view(&out),
        bytes_of("RESP 127.0.0.1:6379, workload a, zipfian, connections 50, pipeline 1")));
    buffer_done(&out);
}

/* Nothing was answered. */
static void test_empty(void **state)
{
    struct sample_run *r = *state;
    sample_done(&r->figures);
    r->figures = (struct figures){.target = "RESP a:1", .stopped = "cannot connect"};
    assert_int_equal(tally_init(&r->figures.all), TARN_OK);
    has(r, "\ntotal_ops                         0\ntotal_runtime                 0.000   s\n");
    has_not(r, "latency");
    has_not(r, "nan");
    has_not(r, "inf");
}

/* --- JSON --- */

static json_t *json_of(struct sample_run *r)
{
    struct buffer out = {0};
    json_error_t where;
    report_json(&r->settings, &r->figures, r->with_peak ? &r->peak : NULL, 1763700000000000, &out);
    assert_false(out.failed);
    json_t *json = json_loadb((const char *)out.data, out.size, JSON_REJECT_DUPLICATES, &where);
    if (!json)
        fail_msg("line %d: %s", where.line, where.text);
    buffer_append_byte(&out, 0);
    free(r->text);
    r->text = (char *)out.data;
    return json;
}

static const json_t *at(const json_t *json, const char *name)
{
    const json_t *value = json_object_get(json, name);
    if (!value)
        fail_msg("no member %s", name);
    return value;
}

static double number(const json_t *json, const char *name)
{
    assert_true(json_is_number(at(json, name)));
    return json_number_value(at(json, name));
}

static void is_text(const json_t *json, const char *name, const char *expected)
{
    assert_true(json_is_string(at(json, name)));
    assert_string_equal(json_string_value(at(json, name)), expected);
}

static const char *const members[] = {
    "tool",
    "format",
    "version",
    "started",
    "complete",
    "stopped",
    "target",
    "total_ops",
    "total_runtime_s",
    "total_ops_per_sec",
    "average_ops_per_sec",
    "rate",
    "requests",
    "hits",
    "misses",
    "misses_expected",
    "errors",
    "error_texts",
    "error_texts_other",
    "lost",
    "unsent",
    "wrong",
    "first_wrong",
    "bytes_sent",
    "bytes_received",
    "value_bytes",
    "latency_us",
    "latency_us_by_kind",
    "server",
    "generator",
    "process",
    "log",
    "disk",
    "load",
    "peak",
    "settings",
    "series",
    "percentiles",
};

static void test_json_members(void **state)
{
    struct sample_run *r = *state;
    sample_kinds(&r->figures);
    json_t *json = json_of(r);
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++)
        at(json, members[i]);
    assert_int_equal(json_object_size(json), sizeof members / sizeof members[0]);
    is_text(json, "tool", "tarn bench");
    is_text(json, "version", TARN_VERSION);
    assert_true(number(at(json, "latency_us"), "p999") == 972.287);
    is_text(json, "started", "2025-11-21T04:40:00Z");
    is_text(json, "target", "RESP 127.0.0.1:6379");
    assert_true(json_is_true(at(json, "complete")));
    assert_true(json_is_null(at(json, "stopped")) && json_is_null(at(json, "rate")));
    assert_true(json_is_null(at(json, "load")) && json_is_null(at(json, "peak")));
    assert_true(json_is_null(at(json, "process")) && json_is_null(at(json, "log")));
    assert_true(number(json, "total_ops") == 1000000);
    assert_true(number(json, "total_runtime_s") == 10);
    assert_true(number(json, "total_ops_per_sec") == 100000);
    assert_true(number(json, "average_ops_per_sec") == 50000);
    assert_true(number(json, "requests") == 1000000);
    assert_true(number(json, "hits") == 999000 && number(json, "misses") == 1000);
    assert_true(number(json, "misses_expected") == 1000 && number(json, "errors") == 0);
    assert_true(number(json, "bytes_sent") == 36000000);
    assert_true(number(json, "bytes_received") == 70930000);
    assert_true(number(json, "value_bytes") == 63936000);
    const json_t *latency = at(json, "latency_us");
    assert_true(number(latency, "min") == 40 && number(latency, "max") == 480000);
    assert_true(number(latency, "p50") == 56.031 && number(latency, "p99") == 71.743);
    assert_int_equal(json_object_size(latency), 8);
    assert_int_equal(json_object_size(at(json, "latency_us_by_kind")), 2);
    assert_true(number(at(at(json, "latency_us_by_kind"), "update"), "min") == 55);
    assert_true(number(at(json, "server"), "cpu_us_per_op") == 3.25);
    assert_true(number(at(json, "server"), "memory_bytes") == 123456789);
    assert_true(number(at(json, "generator"), "cpu_us_per_op") == 1.5);
    is_text(at(json, "generator"), "bottleneck", "none");
    assert_true(json_is_null(at(at(json, "generator"), "late_us")));
    assert_int_equal(json_array_size(at(json, "series")), SAMPLE_SECONDS);
    assert_true(number(json_array_get(at(json, "series"), 5), "operations") == 55000);
    const json_t *curve = at(json, "percentiles");
    assert_int_equal(json_array_size(curve), 6 * 20 + 2);
    assert_true(json_number_value(json_array_get(json_array_get(curve, 20), 0)) == 90);
    assert_true(json_number_value(json_array_get(json_array_get(curve, 121), 0)) == 100);
    assert_true(json_number_value(json_array_get(json_array_get(curve, 121), 1)) == 480000);
    json_decref(json);
}

/* A store in a directory: what its log took. */
static void test_json_log(void **state)
{
    struct sample_run *r = *state;
    keep_log(r);
    json_t *json = json_of(r);
    const json_t *log = at(json, "log"), *process = at(json, "process");
    assert_true(number(process, "cpu_s") == 20 && number(process, "cpu_us_per_op") == 20);
    assert_true(number(log, "records") == 900 && number(log, "bytes") == 123456789);
    assert_true(number(log, "syncs") == 1000 && number(log, "sync_s") == 1.5);
    assert_true(number(log, "sync_us_max") == 9000 && number(log, "checkpoints") == 2);
    assert_true(number(log, "drain_s") == 0.25);
    assert_int_equal(json_object_size(log), 7);
    json_decref(json);
}

static void test_json_settings(void **state)
{
    struct sample_run *r = *state;
    set(r, "password", "hunter2");
    set(r, "timeout", "250ms");
    set(r, "value-size", "10-20");
    json_t *json = json_of(r);
    assert_null(strstr(r->text, "hunter2"));
    const json_t *settings = at(json, "settings");
    assert_int_equal(json_object_size(settings), settings_options.count - 1);
    assert_true(number(settings, "timeout") == 0.25 && number(settings, "records") == 1000000);
    assert_true(number(settings, "theta") == 0.99);
    assert_true(json_is_false(at(settings, "verify")));
    is_text(settings, "value-size", "10-20");
    is_text(settings, "workload", "get");
    is_text(settings, "connect", "127.0.0.1:6379");
    json_decref(json);
}

static void test_json_load_and_peak(void **state)
{
    struct sample_run *r = *state;
    load(r);
    r->with_peak = true;
    r->peak.overloaded = true;
    r->peak.overload_factor = 1.5;
    r->peak.overload = r->steps[1];
    json_t *json = json_of(r);
    assert_true(number(at(json, "load"), "memory_per_key_over_data") == 12);
    assert_true(number(at(json, "load"), "ops_per_sec") == 800000);
    const json_t *peak = at(json, "peak");
    assert_true(number(peak, "rate") == 10000 && number(peak, "overload_factor") == 1.5);
    assert_true(number(at(peak, "overload"), "goodput") == 3.5);
    assert_int_equal(json_array_size(at(peak, "steps")), 2);
    assert_true(json_is_true(at(json_array_get(at(peak, "steps"), 0), "held")));
    assert_true(json_is_null(at(peak, "generator_limit")));
    json_decref(json);
}

/* Texts from servers and users: quotes, control bytes, bytes that are no UTF-8. */
static void test_json_odd_texts(void **state)
{
    struct sample_run *r = *state;
    r->figures.complete = false;
    snprintf(r->figures.stopped, sizeof r->figures.stopped, "closed \xff\n\"");
    snprintf(r->figures.target, sizeof r->figures.target, "RESP \xc3\xa9:1");
    set(r, "json", "\x80.json");
    tally_error(&r->figures.all, bytes_of("ERR \"quoted\" \xfe"), 3);
    tally_wrong(&r->figures.all, bytes_of("k\xff"));
    json_t *json = json_of(r);
    is_text(json, "stopped", "closed \\xff\\n\\\"");
    is_text(json, "target", "RESP \xc3\xa9:1");
    is_text(at(json, "settings"), "json", "\\x80.json");
    assert_int_equal(json_object_size(at(json, "error_texts")), 1);
    assert_true(number(at(json, "error_texts"), "ERR \\\"quoted\\\" \\xfe") == 3);
    assert_true(number(json, "wrong") == 1);
    json_decref(json);
}

static void test_json_empty(void **state)
{
    struct sample_run *r = *state;
    sample_done(&r->figures);
    r->figures = (struct figures){.target = "RESP a:1", .stopped = "cannot connect"};
    assert_int_equal(tally_init(&r->figures.all), TARN_OK);
    json_t *json = json_of(r);
    assert_true(json_is_null(at(json, "latency_us")));
    assert_true(json_is_null(at(at(json, "server"), "cpu_us_per_op")));
    assert_true(json_is_null(at(at(json, "generator"), "cpu_us_per_op")));
    assert_int_equal(json_array_size(at(json, "series")), 0);
    assert_int_equal(json_array_size(at(json, "percentiles")), 0);
    json_decref(json);
}

static void test_csv(void **state)
{
    struct sample_run *r = *state;
    struct buffer out = {0};
    r->figures.points_count = 2;
    r->figures.points[1].seconds = 0.5;
    r->figures.points[1].errors = 4;
    report_csv(&r->figures, &out);
    buffer_append_byte(&out, 0);
    assert_string_equal((const char *)out.data,
                        "at_s,seconds,operations,errors,ops_per_sec,mean_us,p50_us,p99_us,p999_us,"
                        "max_us\n"
                        "1.000,1.000,105000,0,105000.0,61.500,58.000,140.000,420.000,900.000\n"
                        "2.000,0.500,106000,4,212000.0,61.500,58.000,140.000,420.000,900.000\n");
    buffer_done(&out);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_whole_text),
        TEST(test_workload_line),
        TEST(test_open_loop),
        TEST(test_what_went_wrong),
        TEST(test_bottlenecks),
        TEST(test_kinds),
        TEST(test_embedded),
        TEST(test_log),
        TEST(test_load),
        TEST(test_peak),
        TEST(test_title),
        TEST(test_empty),
        TEST(test_json_members),
        TEST(test_json_log),
        TEST(test_json_settings),
        TEST(test_json_load_and_peak),
        TEST(test_json_odd_texts),
        TEST(test_json_empty),
        TEST(test_csv),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
