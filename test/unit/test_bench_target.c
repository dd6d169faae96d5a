/* Goal: what --connect, --http, --memcached and --embedded name is what is driven, each thing that
 * cannot be is refused with a text that names the option and the part of it, and so is what a
 * target cannot do.
 * Method: tables of addresses, URLs and settings with what must come of them. */
#include "bench/target.h"

#include <stdio.h>
#include <string.h>

#include "lib/test.h"

#include "lib/bench_settings.h"
#include "lib/fault_malloc.h"
#include "lib/os_fixture.h"

static int open_none(const struct os *os, const struct embedded_options *options, void **ret_store,
                     struct tarn_error *error)
{
    (void)os, (void)options, (void)ret_store;
    return error_set(error, TARN_IO, "not opened here");
}

static const struct embedded_store peer = {.name = "peer", .open = open_none};
static const struct embedded_store other = {
    .name = "other", .path_required = true, .open = open_none};
static const struct embedded_store *const peers[] = {&peer, &other, NULL};

/* Opens the target that one word asks for. */
static int open_target(const char *word, const struct embedded_store *const *stores,
                       struct target *t, struct settings *s, struct tarn_error *error)
{
    BENCH_SETTINGS(s, word);
    *t = (struct target){0};
    return target_open(&fault.os, s, stores, t, error);
}

static void check_refused(const char *word, const struct embedded_store *const *stores, int status,
                          const char *text)
{
    struct target t;
    struct settings s;
    struct tarn_error error = {0};
    assert_int_equal(open_target(word, stores, &t, &s, &error), status);
    assert_int_equal(error.status, status);
    assert_string_equal(error.text, text);
    assert_null(t.servers);
    bench_settings_done(&s);
}

/* --- servers --- */

struct server_case {
    const char *word, *name, *host, *port;
};

static void test_one_server(void **state)
{
    (void)state;
    static const struct server_case cases[] = {
        {"connect=127.0.0.1:6379", "RESP 127.0.0.1:6379", "127.0.0.1", "6379"},
        {"connect=[::1]:7000", "RESP [::1]:7000", "::1", "7000"},
        {"connect=db.example:1", "RESP db.example:1", "db.example", "1"},
        {"memcached=127.0.0.1:11212", "memcached 127.0.0.1:11212", "127.0.0.1", "11212"},
        {"memcached=cache", "memcached cache", "cache", "11211"},
        {"memcached=[::1]", "memcached [::1]", "::1", "11211"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct target t;
        struct settings s;
        struct tarn_error error = {0};
        assert_int_equal(open_target(cases[i].word, NULL, &t, &s, &error), TARN_OK);
        assert_ptr_equal(t.protocol,
                         cases[i].word[0] == 'c' ? &protocol_resp : &protocol_memcached);
        assert_null(t.store);
        assert_int_equal(t.servers_count, 1);
        assert_string_equal(t.name, cases[i].name);
        assert_string_equal(t.servers[0].host, cases[i].host);
        assert_string_equal(t.servers[0].port, cases[i].port);
        assert_string_equal(t.servers[0].peer.host, t.servers[0].name);
        target_close(&t);
        target_close(&t); /* a zeroed one */
        bench_settings_done(&s);
    }
}

static void test_several_servers_in_order(void **state)
{
    (void)state;
    struct target t;
    struct settings s;
    struct tarn_error error = {0};
    assert_int_equal(open_target("connect=a:1,[::1]:2,c:3", NULL, &t, &s, &error), TARN_OK);
    assert_int_equal(t.servers_count, 3);
    assert_string_equal(t.name, "RESP a:1,[::1]:2,c:3");
    assert_string_equal(t.servers[0].name, "a:1");
    assert_string_equal(t.servers[1].name, "[::1]:2");
    assert_string_equal(t.servers[1].host, "::1");
    assert_string_equal(t.servers[2].name, "c:3");
    target_close(&t);
    bench_settings_done(&s);
}

/* "connect=h:1,h:2,..." with `count` servers. */
static const char *many_servers(unsigned count)
{
    static char word[4096];
    size_t used = (size_t)snprintf(word, sizeof word, "connect=");
    for (unsigned i = 1; i <= count; i++)
        used += (size_t)snprintf(word + used, sizeof word - used, "%sh:%u", i > 1 ? "," : "", i);
    assert_true(used < sizeof word);
    return word;
}

static void test_as_many_servers_as_there_may_be(void **state)
{
    (void)state;
    struct target t;
    struct settings s;
    struct tarn_error error = {0};
    assert_int_equal(open_target(many_servers(CLIENT_SERVERS_MAX), NULL, &t, &s, &error), TARN_OK);
    assert_int_equal(t.servers_count, CLIENT_SERVERS_MAX);
    assert_string_equal(t.servers[CLIENT_SERVERS_MAX - 1].name, "h:64");
    assert_true(strlen(t.name) < sizeof t.name); /* cut */
    target_close(&t);
    bench_settings_done(&s);
    check_refused(many_servers(CLIENT_SERVERS_MAX + 1), NULL, TARN_INVALID,
                  "--connect: more than 64 servers");
}

static void test_addresses_refused(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"connect=localhost", "--connect: localhost: no port; write HOST:PORT"},
        {"connect=a:1,b,c:3", "--connect: b: no port; write HOST:PORT"},
        {"connect=a:1,b:0,c:3", "--connect: b:0: not a port from 1 to 65535"},
        {"connect=a:65536", "--connect: a:65536: not a port from 1 to 65535"},
        {"connect=a:1,", "--connect: : not an address"},
        {"connect=a:1,,b:2", "--connect: : not an address"},
        {"connect=::1:6379", "--connect: ::1:6379: write an IPv6 address in brackets, [::1]:6379"},
        {"connect=[::1", "--connect: [::1: not an address"},
        {"connect=a b:1", "--connect: a b:1: not an address"},
        {"memcached=a:1,b:2", "--memcached: a:1,b:2: one server only; keys are shared among "
                              "several by --connect"},
        {"http=http://a:1,b:2/x,y", "--http: a:1,b:2: one server only; keys are shared among "
                                    "several by --connect"},
        {"memcached=:11211", "--memcached: :11211: not an address"},
        {"http=http://", "--http: : not an address"},
        {"http=http:///kv/", "--http: : not an address"},
        {"http=http://h:99999/", "--http: h:99999: not a port from 1 to 65535"},
        {"http=https://h/", "--http: https://h/: TLS is not spoken here"},
        {"http=ftp://h/", "--http: ftp://h/: not an http:// URL"},
        {"http=http://h/a b", "--http: blanks and control characters in a URL must be written as "
                              "%20 and the like"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        check_refused(cases[i][0], peers, TARN_INVALID, cases[i][1]);
}

static void test_password(void **state)
{
    (void)state;
    struct target t = {0};
    struct settings s;
    struct tarn_error error = {0};
    BENCH_SETTINGS(&s, "connect=a:1,b:2", "password=secret");
    assert_int_equal(target_open(&fault.os, &s, NULL, &t, &error), TARN_OK);
    assert_string_equal(t.servers[0].peer.password, "secret");
    assert_string_equal(t.servers[1].peer.password, "secret");
    assert_null(strstr(t.name, "secret"));
    target_close(&t);
    bench_settings_done(&s);
    BENCH_SETTINGS(&s, "memcached=a:1", "password=secret");
    assert_int_equal(target_open(&fault.os, &s, NULL, &t, &error), TARN_INVALID);
    assert_string_equal(error.text, "--memcached: memcached's text protocol has no password");
    bench_settings_done(&s);
}

/* --- URLs --- */

static void test_urls(void **state)
{
    (void)state;
    static const char *const cases[][4] = {
        {"http=http://h:8379", "h:8379", "/kv/", ""},
        {"http=http://h:8379/", "h:8379", "/kv/", ""},
        {"http=http://h", "h:80", "/kv/", ""},
        {"http=h:8379", "h:8379", "/kv/", ""},
        {"http=h:8379/get/", "h:8379", "/get/", ""},
        {"http=http://h/v1/{key}", "h:80", "/v1/", ""},
        {"http=http://h/v1/{key}/value?raw=1", "h:80", "/v1/", "/value?raw=1"},
        {"http=http://h/get?key=", "h:80", "/get?key=", ""},
        {"http=http://h/{key}/{key}", "h:80", "/", "/{key}"},
        {"http=http://[::1]:81/x/", "[::1]:81", "/x/", ""},
        {"http=http://h/a?u=http://b/{key}", "h:80", "/a?u=http://b/", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct target t;
        struct settings s;
        struct tarn_error error = {0};
        if (open_target(cases[i][0], NULL, &t, &s, &error) != TARN_OK)
            fail_msg("%s", error.text);
        assert_ptr_equal(t.protocol, &protocol_http);
        assert_int_equal(t.servers_count, 1);
        assert_string_equal(t.servers[0].name, cases[i][1]);
        assert_string_equal(t.servers[0].peer.path_before, cases[i][2]);
        assert_string_equal(t.servers[0].peer.path_after, cases[i][3]);
        target_close(&t);
        bench_settings_done(&s);
    }
}

/* --- stores --- */

static void check_store(const char *word, const struct embedded_store *store, const char *path)
{
    struct target t;
    struct settings s;
    struct tarn_error error = {0};
    char name[400];
    if (open_target(word, peers, &t, &s, &error) != TARN_OK)
        fail_msg("%s", error.text);
    assert_ptr_equal(t.store, store);
    assert_null(t.protocol);
    assert_string_equal(t.path, path);
    snprintf(name, sizeof name, "embedded %s", strchr(word, '=') + 1);
    assert_string_equal(t.name, name);
    target_close(&t);
    bench_settings_done(&s);
}

static void test_stores(void **state)
{
    (void)state;
    char word[400], path[SCRATCH_PATH_BYTES];
    check_store("embedded=memory", &embedded_memory, "");
    check_store("embedded=none", &embedded_none, "");
    check_store("embedded=peer:", &peer, "");
    check_store("embedded=peer:/a/b:c", &peer, "/a/b:c");
    check_store("embedded=other:x", &other, "x");
    file_write(scratch_name(&scratch, "data", path), bytes_of("key,value\n"));
    snprintf(word, sizeof word, "embedded=%s", path);
    check_store(word, &embedded_file, path);
    file_write(scratch_name(&scratch, "nobody:s", path), bytes_of("key,value\n"));
    snprintf(word, sizeof word, "embedded=%s", path);
    check_store(word, &embedded_file, path);
    check_store("embedded=dir:new", &embedded_directory, "new");
    check_store("embedded=dir:memory", &embedded_directory, "memory");
    check_store("embedded=no/such/", &embedded_directory, "no/such/");
    snprintf(word, sizeof word, "embedded=%s", scratch.path);
    check_store(word, &embedded_directory, scratch.path);
}

static void test_stores_refused(void **state)
{
    (void)state;
    check_refused("embedded=nobody:x", peers, TARN_INVALID,
                  "--embedded: nobody:x: no such store or file (memory, none, dir:, peer:, other:, "
                  "or a data file)");
    check_refused("embedded=dir:", NULL, TARN_INVALID,
                  "--embedded: dir: needs a path; write dir:PATH");
    check_refused("embedded=other:", peers, TARN_INVALID,
                  "--embedded: other: needs a path; write other:PATH");
    check_refused("embedded=nobody:x", NULL, TARN_MISSING,
                  "--embedded (memory, none, a directory or dir:NEW, or a data file): cannot open "
                  "nobody:x: No such file or directory; check the path");
    check_refused("embedded=memory2", peers, TARN_MISSING,
                  "--embedded (memory, none, a directory or dir:NEW, or a data file): cannot open "
                  "memory2: No such file or directory; check the path");
}

/* --- out of memory --- */

static void test_out_of_memory(void **state)
{
    (void)state;
    for (uint64_t nth = 1;; nth++) {
        struct target t = {0};
        struct settings s;
        struct tarn_error error = {0};
        BENCH_SETTINGS(&s, "http=http://h/a/{key}/b");
        fault_malloc_arm(nth, false);
        int status = target_open(&fault.os, &s, NULL, &t, &error);
        bool fired = fault_malloc_disarm() > 0;
        assert_int_equal(status, fired ? TARN_NOMEM : TARN_OK);
        target_close(&t);
        bench_settings_done(&s);
        if (!fired) {
            assert_int_equal(nth, 4); /* servers and two halves of the path */
            return;
        }
    }
}

/* --- what a target can do --- */

static int get_many(void *thread, const struct tarn_bytes *keys, size_t count,
                    struct tarn_bytes *ret_values, struct tarn_error *error)
{
    (void)thread, (void)keys, (void)count, (void)ret_values, (void)error;
    return TARN_OK;
}

static int put_many(void *thread, const struct tarn_bytes *keys, const struct tarn_bytes *values,
                    size_t count, struct tarn_error *error)
{
    (void)thread, (void)keys, (void)values, (void)count, (void)error;
    return TARN_OK;
}

static int scan(void *thread, struct tarn_bytes key, size_t count, embedded_visit visit,
                void *context, struct tarn_error *error)
{
    (void)thread, (void)key, (void)count, (void)visit, (void)context, (void)error;
    return TARN_OK;
}

static const struct embedded_store all_round = {
    .name = "all-round", .get_many = get_many, .put_many = put_many, .scan = scan};
static const struct embedded_store read_only = {.name = "read-only", .get_many = get_many};

/* What target_check() says to these settings, "" for nothing. */
static const char *verdict(const struct target *t, const char *const *words)
{
    static struct tarn_error error;
    struct settings s;
    struct records *records;
    bench_settings_init(&s, words);
    struct records_options options = {
        .count = 10, .key_bytes = (size_t)s.key_size, .value_bytes = s.value_size, .seed = 1};
    assert_int_equal(records_open(os_real(), &options, &records, NULL), TARN_OK);
    struct workload_mix mix = workload_mix((enum workload_name)s.workload, s.read_ratio);
    error = (struct tarn_error){0};
    int status = target_check(t, &s, &mix, records, &error);
    assert_int_equal(status, *error.text ? TARN_INVALID : TARN_OK);
    records_close(records);
    bench_settings_done(&s);
    return error.text;
}
#define VERDICT(t, ...) verdict(&(t), (const char *const[]){__VA_ARGS__, NULL})

static void test_protocols_checked(void **state)
{
    (void)state;
    const struct target resp = {.protocol = &protocol_resp}, http = {.protocol = &protocol_http},
                        memcached = {.protocol = &protocol_memcached};
    assert_string_equal(VERDICT(resp, "workload=e", "batch=10000", "key-size=65535"), "");
    assert_string_equal(VERDICT(http, "workload=a", "key-size=1000", "load"), "");
    assert_string_equal(VERDICT(memcached, "workload=f", "key-size=250", "batch=10000"), "");
    assert_string_equal(VERDICT(http, "workload=e"),
                        "--workload e: HTTP has no scans; RESP and stores in process have");
    assert_string_equal(VERDICT(memcached, "workload=e"),
                        "--workload e: memcached has no scans; RESP and stores in process have");
    assert_string_equal(VERDICT(http, "batch=2"), "--batch 2: HTTP asks for at most 1 key at once");
    assert_string_equal(VERDICT(memcached, "key-size=251"),
                        "keys of 251 bytes: memcached takes at most 250");
}

static void test_stores_checked(void **state)
{
    (void)state;
    const struct target all = {.store = &all_round}, reads = {.store = &read_only},
                        memory = {.store = &embedded_memory}, none = {.store = &embedded_none},
                        file = {.store = &embedded_file};
    assert_string_equal(VERDICT(all, "workload=e", "load", "verify", "batch=1000"), "");
    assert_string_equal(VERDICT(memory, "workload=e", "load", "verify"), "");
    assert_string_equal(VERDICT(none, "workload=f", "load"), "");
    assert_string_equal(VERDICT(file, "workload=get", "verify"), "");
    assert_string_equal(VERDICT(none, "workload=e"), "--workload e: none has no scans");
    static const char *const writing[] = {"workload=set", "workload=mixed", "workload=a",
                                          "workload=d", "workload=f"};
    for (size_t i = 0; i < sizeof writing / sizeof writing[0]; i++) {
        assert_string_equal(VERDICT(memory, writing[i]), "");
        assert_non_null(strstr(VERDICT(file, writing[i]), ": file cannot be written"));
        assert_non_null(strstr(VERDICT(reads, writing[i]), ": read-only cannot be written"));
    }
    assert_string_equal(VERDICT(file, "load"), "--load: file cannot be written");
    assert_string_equal(VERDICT(file, "load-only"), "--load-only: file cannot be written");
    assert_string_equal(VERDICT(reads, "load"), "--load: read-only cannot be written");
    assert_string_equal(VERDICT(none, "verify"), "--verify: none holds no values");
}

static void test_dial_checked(void **state)
{
    (void)state;
    static const char text[] = " needs a store in a directory: --embedded DIR, or dir:DIR where it "
                               "is new";
    const struct target directory = {.store = &embedded_directory},
                        memory = {.store = &embedded_memory}, resp = {.protocol = &protocol_resp};
    assert_string_equal(VERDICT(directory, "workload=e", "load", "verify", "durability=async"), "");
    assert_string_equal(VERDICT(memory, "durability=periodic"), ""); /* the default said aloud */
    assert_string_equal(VERDICT(memory, "durability=async") + strlen("--durability"), text);
    assert_string_equal(VERDICT(memory, "log-files=2") + strlen("--log-files"), text);
    assert_string_equal(VERDICT(resp, "log-format=json") + strlen("--log-format"), text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_one_server, setup, teardown),
        cmocka_unit_test_setup_teardown(test_several_servers_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_as_many_servers_as_there_may_be, setup, teardown),
        cmocka_unit_test_setup_teardown(test_addresses_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_password, setup, teardown),
        cmocka_unit_test_setup_teardown(test_urls, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stores, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stores_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_out_of_memory, setup, teardown),
        cmocka_unit_test(test_protocols_checked),
        cmocka_unit_test(test_stores_checked),
        cmocka_unit_test(test_dial_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
