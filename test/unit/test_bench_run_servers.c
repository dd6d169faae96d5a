/* Goal: a run over the network loads, measures and finds the server's process; a server that
 * refuses, closes, is silent or is not there ends it with that server's name or words and with what
 * was counted until then.
 * Method: scripted RESP servers in threads of this process, which so is the servers' process. */
#include "bench/run.h"

#include "lib/test.h"

#include "lib/run_fixture.h"
#include "lib/scripted_server.h"

#define RECORDS 500

static struct records *records;
static struct scripted_server *server;

/* The records of the words below. */
static int setup(void **state)
{
    (void)state;
    struct records_options options = {
        .count = RECORDS, .key_bytes = 16, .value_bytes = {64, 64}, .seed = 1};
    return records_open(os_real(), &options, &records, NULL) == TARN_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    records_close(records);
    return 0;
}

/* Start a server and open a run over it, with two more words ("" for none). */
static int open_run(struct run_fixture *f, struct script script, const char *more,
                    const char *and_more)
{
    char connect[64];
    script.records = records;
    server = script_start(&script);
    snprintf(connect, sizeof connect, "connect=127.0.0.1:%s", server->port);
    const char *words[] = {
        connect, "records=500", "connections=3", "verify", more, *and_more ? and_more : NULL, NULL};
    return fixture_open(f, words);
}

static void close_run(struct run_fixture *f)
{
    fixture_close(f);
    script_free(server);
}

static void test_load_and_measure(void **state)
{
    (void)state;
    struct run_fixture f = {0};
    struct script script = script_plain;
    script.starts_empty = true;
    assert_int_equal(open_run(&f, script, "load", "threads=2"), TARN_OK);
    f.settings.requests = 2000;
    assert_int_equal(fixture_measure(&f), TARN_OK);
    script_stop(server);
    check_figures(&f);
    assert_string_equal(strchr(f.figures.target, ' ') + 1, server->name);
    assert_memory_equal(f.figures.target, "RESP ", 5);
    assert_int_equal(f.figures.connections, 3);
    assert_int_equal(server->connections_count, 3); /* two for one thread, one for the other */
    assert_int_equal(f.figures.load_operations, RECORDS);
    for (size_t i = 0; i < RECORDS; i++)
        assert_int_equal(server->writes[i], 1);
    assert_int_equal(server->wrong_writes, 0);
    assert_int_equal(FIGURE(f, operations), 2000);
    assert_int_equal(FIGURE(f, hits), 2000);
    assert_int_equal(FIGURE(f, wrong), 0);
    assert_true(FIGURE(f, bytes_sent) > 2000 * 16 && FIGURE(f, bytes_received) > 2000 * 64);
    close_run(&f);
}

static void test_the_servers_process_is_found(void **state)
{
    (void)state;
    struct run_fixture f = {0};
    assert_int_equal(open_run(&f, script_plain, "requests=2000", ""), TARN_OK);
    assert_int_equal(fixture_measure(&f), TARN_OK);
    script_stop(server);
    assert_true(f.figures.server.local);
    assert_int_equal(f.figures.server.processes, 1);
    assert_true(f.figures.server.memory_bytes > 100000);
    assert_true(f.figures.server.cpu_s >= 0 && f.figures.server.cpu_s < 100);
    assert_false(f.figures.loaded);
    close_run(&f);
}

/* Two servers of one process are one process. */
static void test_a_process_counts_once(void **state)
{
    (void)state;
    struct run_fixture f = {0};
    struct script script = script_plain;
    char connect[128];
    script.records = records;
    struct scripted_server *a = script_start(&script), *b = script_start(&script);
    snprintf(connect, sizeof connect, "connect=127.0.0.1:%s,127.0.0.1:%s", a->port, b->port);
    fixture_run(&f, WORDS(connect, "records=500", "connections=2", "requests=1000", "verify"));
    script_stop(a);
    script_stop(b);
    check_figures(&f);
    assert_int_equal(f.figures.server.processes, 1);
    assert_int_equal(FIGURE(f, hits), 1000);
    assert_true(a->keys_read > 300 && b->keys_read > 300);
    fixture_close(&f);
    script_free(a);
    script_free(b);
}

static void check_load_refused(unsigned every, const char *text)
{
    struct run_fixture f = {0};
    struct script script = script_plain;
    script.refuse_every = every;
    script.refusal = "-READONLY You can't write against a read only replica.\r\n";
    assert_int_equal(open_run(&f, script, "load", "threads=2"), TARN_INVALID);
    script_stop(server);
    assert_string_equal(f.error.text, text);
    assert_null(f.run);
    close_run(&f);
}

static void test_load_refused(void **state)
{
    (void)state;
    check_load_refused(1, "the load failed: 500 of 500 writes were refused: READONLY You can't "
                          "write against a read only replica.");
    check_load_refused(500, "the load failed: 1 of 500 writes were refused: READONLY You can't "
                            "write against a read only replica.");
}

/* In a measurement refusals are counted, and no failure. */
static void test_refusals_are_counted(void **state)
{
    (void)state;
    struct run_fixture f = {0};
    struct script script = script_plain;
    script.refuse_every = 10;
    assert_int_equal(open_run(&f, script, "requests=1000", ""), TARN_OK);
    assert_int_equal(fixture_measure(&f), TARN_OK);
    script_stop(server);
    check_figures(&f);
    assert_true(f.figures.complete);
    assert_int_equal(FIGURE(f, errors), 100);
    assert_int_equal(FIGURE(f, operations), 900);
    assert_string_equal(f.figures.all.error_texts[0].text, "ERR no");
    close_run(&f);
}

static void test_nobody_listens(void **state)
{
    (void)state;
    struct run_fixture f = {0};
    char connect[64], name[32];
    int fd;
    assert_int_equal(os_real()->listen(os_real(), "127.0.0.1", 0, 1, false, &fd), 0);
    snprintf(name, sizeof name, "127.0.0.1:%u", socket_local_port(fd));
    snprintf(connect, sizeof connect, "connect=%s", name);
    close(fd);
    assert_int_equal(fixture_open(&f, WORDS(connect, "records=500")), TARN_IO);
    assert_non_null(strstr(f.error.text, name));
    assert_null(f.run);
    fixture_close(&f);
}

static void test_server_closes_while_measuring(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 2; threads++) {
        struct run_fixture f = {0};
        struct script script = script_plain;
        script.close_after = 700;
        assert_int_equal(
            open_run(&f, script, "duration=1h", threads == 1 ? "threads=1" : "threads=2"), TARN_OK);
        assert_int_equal(fixture_measure(&f), TARN_IO);
        script_stop(server);
        check_figures(&f);
        assert_false(f.figures.complete);
        assert_string_equal(f.figures.stopped, f.error.text);
        assert_non_null(strstr(f.error.text, server->name));
        assert_true(FIGURE(f, operations) >= 699 - 3);
        assert_true(FIGURE(f, lost) >= 1);
        close_run(&f);
    }
}

static void test_server_closes_while_loading(void **state)
{
    (void)state;
    struct run_fixture f = {0};
    struct script script = script_plain;
    script.close_after = 100;
    assert_int_equal(open_run(&f, script, "load", ""), TARN_IO);
    script_stop(server);
    assert_non_null(strstr(f.error.text, server->name));
    close_run(&f);
}

static bool is_cancelled(void *context)
{
    ++*(unsigned *)context;
    return true;
}

static void test_cancelled_while_the_server_is_silent(void **state)
{
    (void)state;
    for (int loads = 0; loads < 2; loads++) {
        unsigned asked = 0;
        struct run_fixture f = {.hooks = {.context = &asked, .cancelled = is_cancelled}};
        struct script script = script_plain;
        script.silent_after = 50;
        int status = open_run(&f, script, loads ? "load" : "duration=1h", "timeout=1h");
        if (!loads && status == TARN_OK)
            status = fixture_measure(&f);
        script_stop(server);
        assert_int_equal(status, TARN_CANCELLED);
        assert_string_equal(f.error.text, "stopped by a signal");
        assert_int_equal(asked, 1);
        if (!loads) {
            check_figures(&f);
            assert_int_equal(FIGURE(f, operations), 50);
        }
        close_run(&f);
    }
}

static void test_open_loop_over_the_network(void **state)
{
    (void)state;
    struct run_fixture f = {0};
    assert_int_equal(open_run(&f, script_plain, "rate=5000", "duration=200ms"), TARN_OK);
    assert_int_equal(fixture_measure(&f), TARN_OK);
    script_stop(server);
    check_figures(&f);
    assert_int_equal(FIGURE(f, operations) + FIGURE(f, unsent), 1000);
    assert_true(f.figures.rate > 4999 && f.figures.rate < 5001);
    close_run(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_load_and_measure),
        cmocka_unit_test(test_the_servers_process_is_found),
        cmocka_unit_test(test_a_process_counts_once),
        cmocka_unit_test(test_load_refused),
        cmocka_unit_test(test_refusals_are_counted),
        cmocka_unit_test(test_nobody_listens),
        cmocka_unit_test(test_server_closes_while_measuring),
        cmocka_unit_test(test_server_closes_while_loading),
        cmocka_unit_test(test_cancelled_while_the_server_is_silent),
        cmocka_unit_test(test_open_loop_over_the_network),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
