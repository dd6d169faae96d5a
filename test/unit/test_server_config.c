/* Goal: defaults are the documented ones; settings that contradict each other or open the server
 * to others without a password are refused with a line that says what to do; the password file's
 * first line is the password.
 * Method: set rows as a user would, then config_finish(); files in a directory of the test's. */
#include "server/config.h"

#include <sys/stat.h>
#include <unistd.h>

#include "lib/scratch.h"
#include "lib/test.h"

#include "server/config_redis.h"
#include "server/log.h"

static struct config config;
static struct tarn_error error;

static int setup(void **state)
{
    (void)state;
    options_init(&config_options, &config);
    memset(&error, 0, sizeof error);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    options_done(&config_options, &config);
    return 0;
}

static void set(const char *name, const char *value)
{
    const struct option *row = options_find(&config_options, bytes_of(name));
    assert_non_null(row);
    assert_int_equal(options_set(row, &config, bytes_of(value), &error), TARN_OK);
}

static void assert_refused(int status, const char *part)
{
    assert_int_equal(config_finish(&config, &error), status);
    assert_int_equal(error.status, status);
    if (strstr(error.text, part) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", error.text, part);
    assert_null(strchr(error.text, '\n'));
}

static void assert_accepted(void)
{
    if (config_finish(&config, &error) != TARN_OK)
        fail_msg("%s", error.text);
}

static void test_defaults(void **state)
{
    (void)state;
    assert_string_equal(config.bind, "127.0.0.1");
    assert_int_equal(config.port, 6379);
    assert_int_equal(config.http_port, 8379);
    assert_int_equal(config.memory_bytes, 0);
    assert_string_equal(config.password, "");
    assert_int_equal(config.log_level, LOG_INFO);
    assert_true(config.max_connections > 10000);
    assert_true(config.output_bytes_max > TARN_VALUE_BYTES_MAX); /* the largest value fits */
    assert_int_equal(config.idle_seconds_max, 0);
    assert_int_equal(config.slowlog_us, 10000);
    assert_int_equal(config.slowlog_entries_max, 128);
    assert_accepted();
    assert_true(config.threads >= 1); /* one per core */
}

/* The words' order must be the enums'. */
static void test_words_are_the_enums(void **state)
{
    (void)state;
    set("size-type", "u16");
    assert_int_equal(config.size_type, TARN_SIZE_U16);
    set("size-type", "u64");
    assert_int_equal(config.size_type, TARN_SIZE_U64);
    set("size-type", "varint");
    assert_int_equal(config.size_type, TARN_SIZE_VARINT);
    set("size-type", "u32");
    assert_int_equal(config.size_type, TARN_SIZE_U32);
    set("format", "text");
    assert_int_equal(config.format, TARN_FORMAT_TEXT);
    set("format", "binary");
    assert_int_equal(config.format, TARN_FORMAT_BINARY);
    set("on-duplicate", "first");
    assert_int_equal(config.on_duplicate, TARN_DUPLICATES_FIRST);
    set("on-duplicate", "error");
    assert_int_equal(config.on_duplicate, TARN_DUPLICATES_ERROR);
    set("log-level", "warning");
    assert_int_equal(config.log_level, LOG_WARNING);
}

/* Our names and Redis's. */
static void test_policies(void **state)
{
    (void)state;
    static const struct {
        const char *name, *shown;
        enum tarn_eviction eviction;
    } policies[] = {
        {"noeviction", "noeviction", TARN_EVICT_NOTHING},
        {"allkeys-sieve", "allkeys-sieve", TARN_EVICT_ALL_SIEVE},
        {"allkeys-random", "allkeys-random", TARN_EVICT_ALL_RANDOM},
        {"volatile-sieve", "volatile-sieve", TARN_EVICT_EXPIRING_SIEVE},
        {"volatile-ttl", "volatile-ttl", TARN_EVICT_EXPIRING_SOONEST},
        {"allkeys-lru", "allkeys-sieve", TARN_EVICT_ALL_SIEVE},
        {"allkeys-lfu", "allkeys-sieve", TARN_EVICT_ALL_SIEVE},
        {"volatile-lru", "volatile-sieve", TARN_EVICT_EXPIRING_SIEVE},
        {"volatile-lfu", "volatile-sieve", TARN_EVICT_EXPIRING_SIEVE},
        {"Volatile-Random", "volatile-sieve", TARN_EVICT_EXPIRING_SIEVE},
    };
    const struct option *row = options_find(&config_options, bytes_of("max-memory-policy"));
    for (size_t i = 0; i < sizeof policies / sizeof *policies; i++) {
        struct buffer shown = {0};
        set("max-memory-policy", policies[i].name);
        assert_int_equal(config_store_options(&config, NULL).eviction, policies[i].eviction);
        options_get(row, &config, &shown);
        buffer_append_byte(&shown, 0);
        assert_string_equal((char *)shown.data, policies[i].shown);
        buffer_done(&shown);
    }
    assert_int_equal(options_set(row, &config, bytes_of("lru"), &error), TARN_INVALID);
    assert_int_equal(config.eviction, TARN_EVICT_EXPIRING_SIEVE); /* as it was */
}

/* A writable store leaves something of the cap to buffers; a data file is checked against all. */
static void test_memory(void **state)
{
    (void)state;
    assert_int_equal(config_store_options(&config, NULL).memory_bytes_max, 0);
    set("memory", "16M");
    assert_int_equal(config_store_options(&config, NULL).memory_bytes_max, 15 << 20);
    assert_int_equal(config_store_options(&config, "file").memory_bytes_max, 16 << 20);
    set("memory", "1T");
    assert_int_equal(config_store_options(&config, NULL).memory_bytes_max,
                     (1ull << 40) - (64 << 20));
}

static void test_bind_beyond_loopback_asks_for_a_password(void **state)
{
    (void)state;
    static const char *const open[] = {
        "0.0.0.0", "::", "192.168.1.2", "127.0.0.1,0.0.0.0", "::ffff:10.0.0.1", "128.0.0.1"};
    static const char *const loopback[] = {"127.0.0.1", "::1", "127.1.2.3", "127.0.0.1,::1",
                                           "::ffff:127.0.0.1"};
    for (size_t i = 0; i < sizeof loopback / sizeof *loopback; i++) {
        set("bind", loopback[i]);
        assert_accepted();
    }
    for (size_t i = 0; i < sizeof open / sizeof *open; i++) {
        set("bind", open[i]);
        assert_refused(TARN_INVALID, "--password-file");
    }
    set("password", "secret");
    for (size_t i = 0; i < sizeof open / sizeof *open; i++) {
        set("bind", open[i]);
        assert_accepted();
    }
}

static void test_addresses_are_numeric(void **state)
{
    (void)state;
    static const char *const bad[] = {"localhost",
                                      "",
                                      "127.0.0.1,",
                                      ",::1",
                                      "127.0.0.1 ::1",
                                      "127.0.0.256",
                                      "*",
                                      "1.2.3",
                                      "1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc:"
                                      "dddd:eeee:ffff"};
    set("password", "secret");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        set("bind", bad[i]);
        assert_refused(TARN_INVALID, "is no numeric address");
    }
}

static void test_password_file(void **state)
{
    (void)state;
    struct scratch scratch;
    scratch_open(&scratch);
    const char *path = scratch_at(&scratch, "password");
    static const struct {
        const char *text, *password;
    } good[] = {
        {"secret\n", "secret"},          {"secret", "secret"}, {"secret\r\n", "secret"},
        {"two words \nx", "two words "}, {" s\n\n", " s"},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        file_write(path, bytes_of(good[i].text));
        set("password", "");
        set("password-file", path);
        assert_accepted();
        assert_string_equal(config.password, good[i].password);
    }
    assert_refused(TARN_INVALID, "exclude each other");
    assert_null(strstr(error.text, " s"
                                   " ")); /* no password in an error */

    static const char *const empty[] = {"", "\n", "\r\n", "\nsecret\n"};
    for (size_t i = 0; i < sizeof empty / sizeof *empty; i++) {
        file_write(path, bytes_of(empty[i]));
        set("password", "");
        assert_refused(TARN_INVALID, "is empty");
    }
    file_write(path, (struct tarn_bytes){"a\0b\n", 4}); /* could never be typed */
    assert_refused(TARN_INVALID, "--password-file");
    set("password-file", scratch_at(&scratch, "missing"));
    assert_refused(TARN_MISSING, "--password-file");
    set("password-file", scratch.path);
    assert_refused(TARN_INVALID, "--password-file");
    scratch_close(&scratch);
}

static void test_a_large_password_file_is_not_read_whole(void **state)
{
    (void)state;
    struct scratch scratch;
    static char text[200000];
    scratch_open(&scratch);
    const char *path = scratch_at(&scratch, "password");
    memset(text, 'x', sizeof text);
    memcpy(text, "secret\n", 7);
    file_write(path, (struct tarn_bytes){text, sizeof text});
    set("password-file", path);
    assert_accepted();
    assert_string_equal(config.password, "secret");
    scratch_close(&scratch);
}

static void test_format_options_agree(void **state)
{
    (void)state;
    static const char *const contradictions[][4] = {
        {"separator", ",", "format", "binary"},  {"separator", ",", "size-type", "u16"},
        {"separator", ",", "big-endian", "yes"}, {"format", "text", "size-type", "u64"},
        {"format", "text", "big-endian", "yes"}, {"size-type", "varint", "big-endian", "yes"},
    };
    for (size_t i = 0; i < sizeof contradictions / sizeof *contradictions; i++) {
        options_done(&config_options, &config);
        options_init(&config_options, &config);
        set(contradictions[i][0], contradictions[i][1]);
        assert_accepted();
        set(contradictions[i][2], contradictions[i][3]);
        assert_refused(TARN_INVALID, "leave");
    }
}

static void test_separator(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        unsigned char byte;
    } good[] = {{",", ','},   {"tab", '\t'}, {"\\t", '\t'},  {"space", ' '},
                {"\t", '\t'}, {"=", '='},    {"comma", ','}, {"\xff", 0xff}};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        set("separator", good[i].text);
        assert_accepted();
        struct tarn_options options = config_store_options(&config, "file");
        assert_true(options.format.separator_set);
        assert_int_equal(options.format.separator, good[i].byte);
        assert_int_equal(options.format.kind, TARN_FORMAT_TEXT);
    }
    static const char *const bad[] = {",,", "\n", "Tab", "\\n"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        set("separator", bad[i]);
        assert_refused(TARN_INVALID, "--separator");
    }
}

static void test_store_options(void **state)
{
    (void)state;
    struct tarn_options options = config_store_options(&config, "file");
    assert_string_equal(options.path, "file");
    assert_null(options.index_path);
    assert_int_equal(options.format.kind, TARN_FORMAT_AUTO);
    assert_false(options.format.separator_set);
    assert_int_equal(options.memory_bytes_max, 0);
    set("big-endian", "yes");
    set("index", "elsewhere");
    set("memory", "3M");
    set("threads", "5");
    set("on-duplicate", "first");
    assert_accepted();
    options = config_store_options(&config, "file");
    assert_int_equal(options.format.kind, TARN_FORMAT_BINARY); /* follows from --big-endian */
    assert_true(options.format.big_endian);
    assert_string_equal(options.index_path, "elsewhere");
    assert_int_equal(options.memory_bytes_max, 3 << 20);
    assert_int_equal(options.threads, 5);
    assert_int_equal(options.duplicates, TARN_DUPLICATES_FIRST);
}

static void assert_directory(int status, const char *part)
{
    assert_int_equal(config_check_directory(&config, &error), status);
    if (status != TARN_OK && strstr(error.text, part) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", error.text, part);
}

static void test_directory(void **state)
{
    (void)state;
    static const char *const about[][2] = {
        {"durability", "commit"},   {"queue-depth", "5"},          {"write-period-us", "7"},
        {"log-files", "2"},         {"log-format", "json"},        {"checkpoint-log-bytes", "1M"},
        {"checkpoint-period", "5"}, {"checkpoint-at-exit", "yes"}, {"load-before-serving", "1M"},
    };
    assert_directory(TARN_OK, NULL);
    assert_int_equal(config.durability, TARN_DURABILITY_NONE); /* in memory only */
    for (size_t i = 0; i < sizeof about / sizeof *about; i++) {
        options_done(&config_options, &config);
        options_init(&config_options, &config);
        assert_int_equal(config.durability, TARN_DURABILITY_PERIODIC);
        set(about[i][0], about[i][1]);
        assert_directory(TARN_INVALID, about[i][0]);
        set("dir", "there");
        assert_directory(TARN_OK, NULL);
    }
    assert_int_equal(config_store_options(&config, NULL).load_bytes_max, 1 << 20);
    set("load-before-serving", "0"); /* nothing: the library's 0 is its default */
    assert_int_equal(config_store_options(&config, NULL).load_bytes_max, 1);
}

/* With a directory the data file's records can be changed. */
static void test_over_a_data_file(void **state)
{
    (void)state;
    set("memory", "1600M");
    struct tarn_options options = config_store_options(&config, "file");
    assert_null(options.directory);
    assert_int_equal(options.memory_bytes_max, 1600ull << 20);
    set("dir", "there");
    set("on-duplicate", "first");
    options = config_store_options(&config, "file");
    assert_string_equal(options.path, "file");
    assert_string_equal(options.directory, "there");
    assert_int_equal(options.duplicates, TARN_DUPLICATES_FIRST);
    assert_int_equal(options.load_bytes_max, 64 << 20);
    assert_int_equal(options.memory_bytes_max, config_store_memory(&config)); /* as any writable */
}

static void test_dial(void **state)
{
    (void)state;
    struct tarn_dial dial = config_dial(&config);
    assert_int_equal(dial.durability, TARN_DURABILITY_PERIODIC);
    assert_int_equal(dial.queue_depth, 100000);
    assert_int_equal(dial.period_us, 10000);
    assert_int_equal(dial.log_bytes_max, 1 << 30);
    assert_int_equal(dial.checkpoint_s, 0);
    set("dir", "there");
    set("durability", "commit");
    set("log-format", "cbor");
    set("log-files", "3");
    set("checkpoint-period", "1500ms");
    set("checkpoint-at-exit", "yes");
    struct tarn_options options = config_store_options(&config, NULL);
    assert_string_equal(options.directory, "there");
    assert_int_equal(options.dial.durability, TARN_DURABILITY_COMMIT);
    assert_int_equal(options.dial.log_format, TARN_LOG_CBOR);
    assert_int_equal(options.dial.checkpoint_s, 2);
    assert_int_equal(options.log_files, 3);
    assert_false(options.checkpoint_at_close); /* the server makes it, as SHUTDOWN can say no */
}

/* Redis's names: what they are shown as, and what may be set. */
static void test_redis(void **state)
{
    (void)state;
    static const struct {
        int durability;
        uint64_t period_s;
        const char *name, *shown, *value, *means; /* NULL: refused */
    } cases[] = {
        {TARN_DURABILITY_NONE, 0, "appendonly", "no", "YES", "periodic"},
        {TARN_DURABILITY_ASYNC, 0, "appendonly", "yes", "yes", "async"},
        {TARN_DURABILITY_COMMIT, 0, "APPENDONLY", "yes", "no", "none"},
        {TARN_DURABILITY_COMMIT, 0, "appendonly", "yes", "maybe", NULL},
        {TARN_DURABILITY_NONE, 0, "appendfsync", "no", "always", "commit"},
        {TARN_DURABILITY_COMMIT, 0, "appendfsync", "always", "everysec", "periodic"},
        {TARN_DURABILITY_PERIODIC, 0, "appendfsync", "everysec", "no", NULL},
        {TARN_DURABILITY_ASYNC, 0, "appendfsync", "no", "sometimes", NULL},
        {0, 0, "save", "", "900 1", "900"},
        {0, 60, "save", "60 1", "", "0"},
        {0, 60, "save", "60 1", "900 1 300 10", NULL},
        {0, 60, "save", "60 1", "900 10", NULL},
        {0, 60, "save", "60 1", "0 1", NULL},
        {0, 60, "save", "60 1", "5", NULL},
        {0, 60, "save", "60 1", " ", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buffer shown = {0}, means = {0};
        const struct config_mapped *mapped = config_mapped_find(bytes_of(cases[i].name));
        assert_non_null(mapped);
        config.durability = cases[i].durability;
        config.checkpoint_period_ns = cases[i].period_s * 1000000000;
        mapped->get(&config, &shown);
        buffer_append_byte(&shown, 0);
        assert_string_equal((char *)shown.data, cases[i].shown);
        const char *problem = mapped->set(&config, bytes_of(cases[i].value), &means);
        assert_true((problem == NULL) == (cases[i].means != NULL));
        buffer_append_byte(&means, 0);
        if (problem == NULL) {
            assert_string_equal((char *)means.data, cases[i].means);
            set(mapped->row_name, (char *)means.data);
        }
        buffer_done(&shown);
        buffer_done(&means);
    }
    assert_null(config_mapped_find(bytes_of("appendfilename")));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_defaults),
        TEST(test_words_are_the_enums),
        TEST(test_policies),
        TEST(test_memory),
        TEST(test_bind_beyond_loopback_asks_for_a_password),
        TEST(test_addresses_are_numeric),
        TEST(test_password_file),
        TEST(test_a_large_password_file_is_not_read_whole),
        TEST(test_format_options_agree),
        TEST(test_separator),
        TEST(test_store_options),
        TEST(test_directory),
        TEST(test_over_a_data_file),
        TEST(test_dial),
        TEST(test_redis),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
