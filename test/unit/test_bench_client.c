/* Goal: every operation handed out is answered, refused, lost or unsent and counted as exactly one
 * of these, whatever a server does; the requests are those that were asked for, in an order that
 * makes sense; an open loop's latencies count from due times.
 * Method: scripted servers in threads of this process. What is asserted are counts and orders, no
 * durations: the open loop runs on a clock that a reading moves. */
#include "bench/client.h"

#include <pthread.h>

#include "lib/test.h"

#include "bench/slot.h"
#include "lib/scripted_server.h"

#define RECORDS 200
#define MS      1000000ull

/* What one test runs: zeroed fields get defaults by world_open(). */
struct world {
    struct script script;
    enum workload_name workload;
    double read_ratio, missing_ratio;
    unsigned servers_count, connections, threads, timeout_ms;
    struct phase phase; /* batch, pipeline, total, rate, load ... */
    const struct os *os;
    const struct protocol *protocol;

    struct records *records;
    struct workload *work;
    struct scripted_server *servers[4];
    struct client_server targets[4];
    struct tally tally; /* of all threads */
    struct tarn_error error;
    int status; /* of the first thread that failed */
};

static struct world world_new(void)
{
    struct world w = {
        .script = script_plain,
        .read_ratio = 0.5,
        .servers_count = 1,
        .connections = 3,
        .threads = 1,
        .timeout_ms = 20000,
        .phase = {.verify = true, .batch = 1, .pipeline = 8, .total = 1000, .period_s = 1},
        .os = os_real(),
        .protocol = &protocol_resp,
    };
    return w;
}

static void open_targets(struct world *w)
{
    w->script.records = w->records;
    for (unsigned i = 0; i < w->servers_count; i++) {
        struct client_server *target = &w->targets[i];
        w->servers[i] = script_start(&w->script);
        *target = (struct client_server){.peer = {.host = "127.0.0.1"}};
        snprintf(target->host, sizeof target->host, "127.0.0.1");
        snprintf(target->port, sizeof target->port, "%s", w->servers[i]->port);
        snprintf(target->name, sizeof target->name, "%s", w->servers[i]->name);
    }
}

static void world_open(struct world *w)
{
    struct records_options records = {
        .count = RECORDS, .key_bytes = 16, .value_bytes = {8, 40}, .seed = 1};
    assert_int_equal(records_open(os_real(), &records, &w->records, NULL), TARN_OK);
    struct workload_options options = {
        .mix = workload_mix(w->workload, w->read_ratio),
        .theta = 0.99,
        .hot_records_share = 0.2,
        .hot_requests_share = 0.8,
        .missing_ratio = w->missing_ratio,
        .seed = 7,
    };
    options.inserts_expected = options.mix.share[OPERATION_INSERT] > 0 ? RECORDS : 0;
    w->work = workload_new(&options, w->records);
    assert_non_null(w->work);
    w->phase.records = w->records;
    w->phase.workload = w->work;
    w->phase.threads = w->threads;
    w->phase.seed = 3;
    open_targets(w);
    assert_int_equal(tally_init(&w->tally), TARN_OK);
}

struct runner {
    struct world *world;
    unsigned thread;
    struct tally tally;
    struct tarn_error error;
    int status;
};

static struct client_options options_of(struct world *w, unsigned thread)
{
    return (struct client_options){
        .protocol = w->protocol,
        .servers = w->targets,
        .servers_count = w->servers_count,
        .connections = w->connections,
        .timeout_ms = w->timeout_ms,
        .thread = thread,
        .batch_max = 50,
        .pipeline_max = 20,
    };
}

static void *run_thread(void *context)
{
    struct runner *r = context;
    struct client_options options = options_of(r->world, r->thread);
    struct client *client = NULL;
    r->status = client_open(r->world->os, &options, &client, &r->error);
    if (r->status == TARN_OK)
        r->status = client_run(client, &r->world->phase, &r->tally, &r->error);
    client_close(client);
    return NULL;
}

/* Run the phase on all threads, sum up, stop the servers. */
static void world_run(struct world *w)
{
    static struct runner runners[4];
    pthread_t threads[4];
    w->phase.start_ns = w->os->monotonic_ns(w->os);
    for (unsigned i = 0; i < w->threads; i++) {
        runners[i] = (struct runner){.world = w, .thread = i};
        assert_int_equal(tally_init(&runners[i].tally), TARN_OK);
        assert_int_equal(pthread_create(&threads[i], NULL, run_thread, &runners[i]), 0);
    }
    for (unsigned i = 0; i < w->threads; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        tally_merge(&w->tally, &runners[i].tally);
        tally_done(&runners[i].tally);
        if (w->status == TARN_OK && runners[i].status != TARN_OK) {
            w->status = runners[i].status;
            w->error = runners[i].error;
        }
    }
    for (unsigned i = 0; i < w->servers_count; i++)
        script_stop(w->servers[i]);
}

static void world_close(struct world *w)
{
    for (unsigned i = 0; i < w->servers_count; i++)
        script_free(w->servers[i]);
    tally_done(&w->tally);
    workload_free(w->work);
    records_close(w->records);
}

/* Operations handed out, of requests of `keys` keys. */
static uint64_t handed_out(const struct world *w, uint64_t keys)
{
    uint64_t next = atomic_load(&w->phase.next);
    return (next < w->phase.total ? next : w->phase.total) * keys;
}

/* Invariant 1 of doc/bench.md. */
static void check_accounts(const struct world *w, uint64_t keys)
{
    const struct tally *t = &w->tally;
    assert_int_equal(tally_get(&t->operations) + tally_get(&t->errors) + tally_get(&t->lost) +
                         tally_get(&t->unsent),
                     handed_out(w, keys));
}

static void check_all_good(const struct world *w, uint64_t operations)
{
    const struct tally *t = &w->tally;
    if (w->status != TARN_OK)
        fail_msg("%s", w->error.text);
    assert_int_equal(tally_get(&t->operations), operations);
    assert_int_equal(tally_get(&t->errors) + tally_get(&t->lost) + tally_get(&t->unsent), 0);
    assert_int_equal(tally_get(&t->wrong), 0);
    for (unsigned i = 0; i < w->servers_count; i++)
        assert_int_equal(w->servers[i]->wrong_writes, 0);
}

static uint64_t latencies(const struct world *w, enum operation_kind kind)
{
    return histogram_count(w->tally.kind_ns[kind]);
}

/* How often a verb stands in the servers' logs. */
static size_t logged(const struct world *w, char verb)
{
    size_t count = 0;
    for (unsigned i = 0; i < w->servers_count; i++)
        for (size_t j = 0; j < w->servers[i]->log_count; j++)
            count += w->servers[i]->log[j].verb == verb;
    return count;
}

/* --- a server that does its work --- */

static void test_reads_and_writes(void **state)
{
    (void)state;
    struct world w = world_new();
    w.workload = WORKLOAD_MIXED;
    world_open(&w);
    world_run(&w);
    check_all_good(&w, 1000);
    check_accounts(&w, 1);
    assert_int_equal(tally_get(&w.tally.requests), 1000);
    assert_int_equal(w.servers[0]->requests, 1000);
    assert_int_equal(latencies(&w, OPERATION_READ), logged(&w, 'G'));
    assert_int_equal(latencies(&w, OPERATION_UPDATE), logged(&w, 'S'));
    assert_int_equal(histogram_count(w.tally.latency_ns), 1000);
    assert_int_equal(tally_get(&w.tally.hits), logged(&w, 'G'));
    assert_int_equal(tally_get(&w.tally.misses), 0);
    assert_in_range(logged(&w, 'G'), 350, 650);
    world_close(&w);
}

/* Trips on a decoder that is asked before enough has come, and on input that is lost between two
 * receives. */
static void test_answers_byte_by_byte(void **state)
{
    (void)state;
    struct world w = world_new();
    w.script.piece = 1;
    w.phase.total = 300;
    world_open(&w);
    world_run(&w);
    check_all_good(&w, 300);
    assert_int_equal(tally_get(&w.tally.hits), 300);
    world_close(&w);
}

static _Atomic unsigned sends;

static int counted_send(const struct os *os, int fd, const struct iovec *parts, int count,
                        size_t *ret_size)
{
    (void)os;
    atomic_fetch_add(&sends, 1);
    return os_real()->send(os_real(), fd, parts, count, ret_size);
}

/* Ten batches are ten sends, however the answers drip. Trips on a batch that is sent before the
 * last one is answered, and on one that is sent in parts. */
static void test_a_batch_is_one_send(void **state)
{
    (void)state;
    struct world w = world_new();
    struct os counting = *os_real();
    counting.send = counted_send;
    atomic_store(&sends, 0);
    w.os = &counting;
    w.script.piece = 1;
    w.connections = 1;
    w.phase.total = 10 * w.phase.pipeline;
    world_open(&w);
    world_run(&w);
    check_all_good(&w, w.phase.total);
    assert_int_equal(atomic_load(&sends), 10 + 1); /* and the greeting */
    world_close(&w);
}

static void test_several_keys_a_request(void **state)
{
    (void)state;
    struct world w = world_new();
    w.workload = WORKLOAD_MIXED;
    w.phase.batch = 50;
    w.phase.total = 200;
    world_open(&w);
    world_run(&w);
    check_all_good(&w, 200 * 50);
    assert_int_equal(tally_get(&w.tally.requests), 200);
    assert_int_equal(logged(&w, 'M') + logged(&w, 'N'), 200);
    assert_int_equal(tally_get(&w.tally.hits), 50 * logged(&w, 'M'));
    assert_int_equal(w.servers[0]->keys_read, 50 * logged(&w, 'M'));
    world_close(&w);
}

static void test_missing_keys(void **state)
{
    (void)state;
    struct world w = world_new();
    w.missing_ratio = 0.3;
    world_open(&w);
    world_run(&w);
    check_all_good(&w, 1000);
    assert_in_range(tally_get(&w.tally.misses), 200, 400);
    assert_int_equal(tally_get(&w.tally.misses), tally_get(&w.tally.misses_expected));
    assert_int_equal(tally_get(&w.tally.hits) + tally_get(&w.tally.misses), 1000);
    world_close(&w);
}

/* A miss of a key that should be there is no expected one. */
static void test_unexpected_misses(void **state)
{
    (void)state;
    struct world w = world_new();
    w.script.starts_empty = true;
    world_open(&w);
    world_run(&w);
    check_all_good(&w, 1000);
    assert_int_equal(tally_get(&w.tally.misses), 1000);
    assert_int_equal(tally_get(&w.tally.misses_expected), 0);
    world_close(&w);
}

/* Each record exactly once, over several threads and connections, the last request a part. */
static void test_load_writes_every_record_once(void **state)
{
    (void)state;
    for (unsigned batch = 1; batch <= 7; batch += 6) {
        struct world w = world_new();
        w.threads = 3;
        w.servers_count = batch == 1 ? 1 : 2;
        w.script.starts_empty = true;
        w.phase.load = true;
        w.phase.batch = batch;
        w.phase.total = RECORDS;
        world_open(&w);
        w.phase.workload = NULL; /* not needed */
        world_run(&w);
        check_all_good(&w, RECORDS);
        for (size_t i = 0; i < RECORDS; i++) {
            unsigned writes = 0;
            for (unsigned s = 0; s < w.servers_count; s++)
                writes += w.servers[s]->writes[i];
            assert_int_equal(writes, 1);
        }
        if (batch == 7)
            assert_true(logged(&w, 'N') > logged(&w, 'S'));
        else
            assert_int_equal(logged(&w, 'S'), RECORDS);
        world_close(&w);
    }
}

/* --- operations of two requests --- */

/* Every write of a record follows a read of it on the same connection. */
static void check_writes_follow_reads(const struct scripted_server *s)
{
    static int reads[SCRIPT_CONNECTIONS_MAX][RECORDS];
    memset(reads, 0, sizeof reads);
    for (size_t i = 0; i < s->log_count; i++) {
        const struct script_entry *entry = &s->log[i];
        assert_in_range(entry->record, 0, RECORDS - 1);
        int *open = &reads[entry->connection][entry->record];
        *open += entry->verb == 'G' ? 1 : -1;
        assert_true(*open >= 0);
    }
}

static void test_read_modify_write(void **state)
{
    (void)state;
    struct world w = world_new();
    w.workload = WORKLOAD_F;
    world_open(&w);
    world_run(&w);
    check_all_good(&w, 1000);
    uint64_t modified = latencies(&w, OPERATION_READ_MODIFY_WRITE);
    assert_in_range(modified, 350, 650);
    assert_int_equal(logged(&w, 'G'), 1000);
    assert_int_equal(logged(&w, 'S'), modified);
    assert_int_equal(tally_get(&w.tally.requests), 1000 + modified);
    assert_int_equal(histogram_count(w.tally.latency_ns), 1000);
    check_writes_follow_reads(w.servers[0]);
    world_close(&w);
}

/* One connection: the writes go out before anything else is read. */
static void test_writes_go_first_in_the_next_batch(void **state)
{
    (void)state;
    struct world w = world_new();
    w.workload = WORKLOAD_F;
    w.connections = 1;
    world_open(&w);
    world_run(&w);
    check_all_good(&w, 1000);
    const struct scripted_server *s = w.servers[0];
    size_t batch = 0; /* requests since the last batch began */
    for (size_t i = 0, at = 0; i < s->log_count; i++) {
        if (at == w.phase.pipeline)
            at = 0;
        batch = at++;
        /* a write stands at the front of its batch: only writes before it */
        if (s->log[i].verb == 'S' && batch > 0)
            assert_int_equal(s->log[i - 1].verb, 'S');
    }
    world_close(&w);
}

static void test_scan_then_read_what_it_named(void **state)
{
    (void)state;
    struct world w = world_new();
    w.workload = WORKLOAD_E;
    w.script.scan_keys = 150; /* more than is ever asked for */
    world_open(&w);
    world_run(&w);
    check_all_good(&w, 1000);
    uint64_t scans = latencies(&w, OPERATION_SCAN);
    assert_int_equal(logged(&w, 'C'), scans);
    assert_int_equal(logged(&w, 'M') + logged(&w, 'G'), scans);
    assert_int_equal(logged(&w, 'S'), 1000 - scans);
    assert_in_range(scans, 900, 995);
    assert_int_equal(tally_get(&w.tally.hits), w.servers[0]->keys_read);
    /* uniform 1..100 keys */
    assert_in_range(w.servers[0]->keys_read / scans, 40, 60);
    world_close(&w);
}

static void test_scan_that_finds_nothing(void **state)
{
    (void)state;
    struct world w = world_new();
    w.workload = WORKLOAD_E;
    w.script.scan_keys = 0;
    world_open(&w);
    world_run(&w);
    check_all_good(&w, 1000);
    assert_int_equal(logged(&w, 'M') + logged(&w, 'G'), 0);
    assert_int_equal(tally_get(&w.tally.hits), 0);
    world_close(&w);
}

/* The key space grows by exactly the inserts, once they were answered. */
static void test_inserts_become_visible(void **state)
{
    (void)state;
    struct world w = world_new();
    w.workload = WORKLOAD_D;
    w.threads = 2;
    world_open(&w);
    world_run(&w);
    check_all_good(&w, 1000);
    uint64_t inserts = latencies(&w, OPERATION_INSERT);
    assert_in_range(inserts, 20, 90);
    assert_int_equal(workload_limit(w.work), RECORDS + inserts);
    assert_int_equal(tally_get(&w.tally.misses), 0);
    world_close(&w);
}

/* --- several servers --- */

static void check_shards(const struct world *w)
{
    size_t asked = 0;
    for (unsigned i = 0; i < w->servers_count; i++) {
        const struct scripted_server *s = w->servers[i];
        for (size_t j = 0; j < s->log_count; j++) {
            uint64_t record = s->log[j].record;
            if (record == SCRIPT_NEVER || s->log[j].verb == 'C')
                continue;
            struct tarn_bytes key = {s->keys[record], s->key_sizes[record]};
            assert_int_equal(slot_server(slot_of(key), w->servers_count), i);
            asked++;
        }
        assert_true(s->requests > 0);
    }
    assert_true(asked > 0);
}

static void test_servers_by_slot(void **state)
{
    (void)state;
    for (unsigned batch = 1; batch <= 11; batch += 10) {
        struct world w = world_new();
        w.workload = WORKLOAD_F;
        w.servers_count = 3;
        w.phase.batch = batch;
        w.phase.total = 300;
        world_open(&w);
        world_run(&w);
        check_all_good(&w, 300 * batch);
        check_shards(&w);
        assert_int_equal(tally_get(&w.tally.hits), 300 * batch);
        world_close(&w);
    }
}

/* --- servers that misbehave --- */

static void test_errors_are_no_operations(void **state)
{
    (void)state;
    struct world w = world_new();
    w.workload = WORKLOAD_D;
    w.script.refuse_every = 4;
    w.script.refusal = "-ERR no\x1b today\r\n";
    world_open(&w);
    world_run(&w);
    assert_int_equal(w.status, TARN_OK);
    check_accounts(&w, 1);
    assert_int_equal(tally_get(&w.tally.errors), w.servers[0]->refused);
    assert_int_equal(w.servers[0]->refused, 250);
    assert_int_equal(w.tally.error_texts_count, 1);
    assert_string_equal(w.tally.error_texts[0].text, "ERR no\\x1b today");
    assert_int_equal(histogram_count(w.tally.latency_ns), 1000);
    /* refused inserts are answered too */
    assert_int_equal(workload_limit(w.work), RECORDS + latencies(&w, OPERATION_INSERT));
    world_close(&w);
}

/* A refused read is not followed by the write; a refused write refuses the operation. */
static void test_refused_halves(void **state)
{
    (void)state;
    for (unsigned every = 1; every <= 3; every += 2) {
        struct world w = world_new();
        w.workload = WORKLOAD_F;
        w.script.refuse_every = every;
        world_open(&w);
        world_run(&w);
        assert_int_equal(w.status, TARN_OK);
        check_accounts(&w, 1);
        assert_int_equal(tally_get(&w.tally.errors), w.servers[0]->refused);
        assert_int_equal(tally_get(&w.tally.requests), w.servers[0]->requests);
        if (every == 1)
            assert_int_equal(logged(&w, 'S'), 0);
        world_close(&w);
    }
}

static void test_wrong_value_of_one_key(void **state)
{
    (void)state;
    struct world w = world_new();
    w.script.wrong_record = 17;
    world_open(&w);
    world_run(&w);
    assert_int_equal(w.status, TARN_OK);
    const struct scripted_server *s = w.servers[0];
    size_t wrong = 0;
    for (size_t i = 0; i < s->log_count; i++)
        wrong += s->log[i].record == 17;
    assert_true(wrong > 0);
    assert_int_equal(tally_get(&w.tally.wrong), wrong);
    assert_int_equal(strlen(w.tally.first_wrong), s->key_sizes[17]);
    assert_memory_equal(w.tally.first_wrong, s->keys[17], s->key_sizes[17]);
    world_close(&w);
    /* without verify only presence counts */
    w = world_new();
    w.script.wrong_record = 17;
    w.phase.verify = false;
    world_open(&w);
    world_run(&w);
    check_all_good(&w, 1000);
    world_close(&w);
}

/* A value for a key that was chosen to be missing is wrong, verify or not. */
static void test_value_of_a_missing_key(void **state)
{
    (void)state;
    struct world w = world_new();
    w.script.knows_everything = true;
    w.missing_ratio = 0.5;
    w.phase.verify = false;
    world_open(&w);
    world_run(&w);
    assert_int_equal(tally_get(&w.tally.hits), 1000);
    assert_in_range(tally_get(&w.tally.wrong), 400, 600);
    world_close(&w);
}

/* A run that fails: the error says so, everything is accounted for, other threads end too. */
static void check_failure(struct world *w, int status, const char *text)
{
    world_open(w);
    world_run(w);
    if (w->status != status || !strstr(w->error.text, text))
        fail_msg("status %d: %s", w->status, w->error.text);
    if (status != TARN_CANCELLED)
        assert_non_null(strstr(w->error.text, w->targets[0].name));
    assert_true(phase_stopped(&w->phase));
    check_accounts(w, w->phase.batch);
    assert_true(tally_get(&w->tally.lost) > 0);
    world_close(w);
}

static void test_server_closes(void **state)
{
    (void)state;
    struct world w = world_new();
    w.script.close_after = 100;
    w.connections = 1;
    check_failure(&w, TARN_IO, "closed the connection with ");
}

static void test_server_closes_on_several_threads(void **state)
{
    (void)state;
    struct world w = world_new();
    w.workload = WORKLOAD_F;
    w.script.close_after = 100;
    w.threads = 3;
    w.phase.batch = 5;
    world_open(&w);
    world_run(&w);
    assert_true(w.status == TARN_IO || w.status == TARN_CANCELLED);
    assert_true(phase_stopped(&w.phase));
    check_accounts(&w, 5);
    world_close(&w);
}

static void test_server_babbles(void **state)
{
    (void)state;
    struct world w = world_new();
    w.script.garbage_after = 50;
    check_failure(&w, TARN_CORRUPT, "what is not RESP");
}

/* One connection that sends nothing else: the answer too many arrives with the last batch. */
static void test_server_answers_too_much(void **state)
{
    (void)state;
    struct world w = world_new();
    w.connections = 1;
    w.phase.pipeline = 1;
    w.phase.total = 100;
    w.script.extra_after = 100;
    world_open(&w);
    world_run(&w);
    assert_int_equal(w.status, TARN_CORRUPT);
    assert_non_null(strstr(w.error.text, "more than it was asked"));
    assert_int_equal(tally_get(&w.tally.operations), 100);
    check_accounts(&w, 1);
    world_close(&w);
}

static void test_server_is_silent(void **state)
{
    (void)state;
    struct world w = world_new();
    w.script.silent_after = 30;
    w.timeout_ms = 150;
    check_failure(&w, TARN_IO, "was silent for 150 ms with ");
}

/* A data file may have keys that a protocol has no form for. */
static void test_keys_that_cannot_be_sent(void **state)
{
    (void)state;
    struct protocol narrow = protocol_resp;
    struct world w = world_new();
    narrow.key_bytes_max = 15;
    w.protocol = &narrow;
    world_open(&w);
    world_run(&w);
    assert_int_equal(w.status, TARN_INVALID);
    assert_non_null(strstr(w.error.text, "RESP cannot ask for the key"));
    check_accounts(&w, 1);
    assert_int_equal(w.servers[0]->requests, 0);
    world_close(&w);
}

static void *stop_later(void *context)
{
    struct world *w = context;
    while (atomic_load(&w->phase.next) == 0)
        usleep(100);
    phase_stop(&w->phase);
    return NULL;
}

/* Trips on a wait that only a server could end. */
static void test_stop_beside_a_silent_server(void **state)
{
    (void)state;
    struct world w = world_new();
    pthread_t thread;
    w.script.silent_after = 0;
    w.timeout_ms = 600000;
    assert_int_equal(pthread_create(&thread, NULL, stop_later, &w), 0);
    check_failure(&w, TARN_CANCELLED, "stopped");
    assert_int_equal(pthread_join(thread, NULL), 0);
}

static void test_opening_failures(void **state)
{
    (void)state;
    static const struct {
        const char *ping;
        bool close;
        int status;
        const char *text;
    } rows[] = {
        {"-NOAUTH Authentication required.\r\n", false, TARN_DENIED, "--password"},
        {"-ERR max number of clients reached\r\n", false, TARN_INVALID, "max number of clients"},
        {"HTTP/1.1 400 Bad\r\n", false, TARN_CORRUPT, "what is not RESP"},
        {"+PONG\r\n+PONG\r\n", false, TARN_CORRUPT, "more than it was asked"},
        {NULL, true, TARN_IO, "closed the connection at once"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct world w = world_new();
        w.script.ping = rows[i].ping;
        w.script.close_at_once = rows[i].close;
        world_open(&w);
        struct client_options options = options_of(&w, 0);
        struct client *client = NULL;
        int status = client_open(w.os, &options, &client, &w.error);
        if (status != rows[i].status || !strstr(w.error.text, rows[i].text))
            fail_msg("row %zu: status %d: %s", i, status, w.error.text);
        assert_non_null(strstr(w.error.text, w.targets[0].name));
        assert_null(client);
        script_stop(w.servers[0]);
        if (i == 0) { /* and now nobody listens */
            assert_int_equal(client_open(w.os, &options, &client, &w.error), TARN_IO);
            assert_non_null(strstr(w.error.text, "cannot connect to 127.0.0.1"));
        }
        world_close(&w);
    }
}

/* --- the open loop, on a clock that every reading moves --- */

struct moving_clock {
    struct os os;
    _Atomic uint64_t now_ns;
    uint64_t step_ns;
};

static uint64_t moving_now(const struct os *os)
{
    struct moving_clock *clock = os->context;
    return atomic_fetch_add(&clock->now_ns, clock->step_ns) + clock->step_ns;
}

static void use_clock(struct world *w, struct moving_clock *clock, uint64_t step_ns)
{
    clock->os = *os_real();
    clock->os.monotonic_ns = moving_now;
    clock->os.context = clock;
    clock->step_ns = step_ns;
    atomic_store(&clock->now_ns, 1000000 * MS);
    w->os = &clock->os;
    w->timeout_ms = 1000000;
    w->script.clock_ns = &clock->now_ns;
}

/* A phase of `ms` at one request a ms. */
static struct world open_world(struct moving_clock *clock, uint64_t ms)
{
    struct world w = world_new();
    use_clock(&w, clock, MS);
    w.phase.rate = 1000;
    w.phase.total = UINT64_MAX;
    w.phase.deadline_ns = 1000000 * MS + MS + ms * MS;
    return w;
}

static void test_open_loop_sends_what_is_due(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct moving_clock clock;
        struct world w = open_world(&clock, 200);
        w.workload = i == 0 ? WORKLOAD_GET : i == 1 ? WORKLOAD_F : WORKLOAD_E;
        w.servers_count = i == 2 ? 2 : 1;
        world_open(&w);
        world_run(&w);
        uint64_t sent = tally_get(&w.tally.operations);
        assert_in_range(sent, 199, 201);
        check_all_good(&w, sent);
        check_accounts(&w, 1);
        assert_int_equal(histogram_count(w.tally.latency_ns), sent);
        assert_int_equal(histogram_count(w.tally.late_ns), sent);
        if (i == 1)
            check_writes_follow_reads(w.servers[0]);
        world_close(&w);
    }
}

/* The server says nothing until 100 ms have gone by; there is room for 4 requests. All that fell
 * due meanwhile waited, and it is their latency, not the generator's lateness. Trips on a latency
 * that begins when a request is sent, on due times that are moved, on requests that are skipped. */
static void test_a_stall_counts_for_all_that_fell_due(void **state)
{
    (void)state;
    struct moving_clock clock;
    struct world w = open_world(&clock, 200);
    w.connections = 2;
    w.phase.pipeline = 2;
    w.script.hold_until_ns = 1000000 * MS + 100 * MS;
    world_open(&w);
    world_run(&w);
    uint64_t sent = tally_get(&w.tally.operations);
    assert_in_range(sent, 199, 201);
    check_all_good(&w, sent);
    const struct histogram *latency = w.tally.latency_ns;
    for (uint64_t ms = 10; ms < 90; ms += 10) /* due at k, answered at 100 or later */
        assert_true(sent - histogram_count_upto(latency, ms * MS) >= 100 - ms - 2);
    assert_true(histogram_max(latency) >= 97 * MS);
    assert_int_equal(histogram_count(w.tally.late_ns), sent);
    /* so many readings of the clock lie between a room that becomes free and a send at most */
    assert_true(histogram_max(w.tally.late_ns) <= 20 * MS);
    world_close(&w);
}

/* No answer before the tenth request, due 9 ms after the first: they are answered together, and
 * each has the latency of its own due time. */
static void test_answers_withheld_until_enough_came(void **state)
{
    (void)state;
    struct moving_clock clock;
    struct world w = open_world(&clock, 1000);
    w.script.hold_requests = 10;
    w.connections = 1;
    w.phase.pipeline = 10;
    w.phase.total = 10;
    world_open(&w);
    world_run(&w);
    check_all_good(&w, 10);
    const struct histogram *latency = w.tally.latency_ns;
    uint64_t last = histogram_min(latency);
    assert_in_range(histogram_max(latency) - last, 9 * MS - MS / 100, 9 * MS + MS / 100);
    for (uint64_t k = 0; k < 10; k++)
        assert_int_equal(histogram_count_upto(latency, last + k * MS + MS / 2), k + 1);
    world_close(&w);
}

/* Requests that were due and found no room until long after the deadline are unsent; the server
 * answers the 2 under way later. */
static void test_unsent_requests_are_counted(void **state)
{
    (void)state;
    struct moving_clock clock;
    struct world w = open_world(&clock, 0);
    use_clock(&w, &clock, 5000 * MS);
    w.connections = 2;
    w.phase.pipeline = 1;
    w.phase.rate = 1;
    w.phase.deadline_ns = 1000000 * MS + 5000 * MS + 10000 * MS;
    w.script.hold_until_ns = 1000000 * MS + 60000 * MS;
    world_open(&w);
    world_run(&w);
    assert_int_equal(w.status, TARN_OK);
    assert_int_equal(tally_get(&w.tally.operations), 2);
    assert_in_range(tally_get(&w.tally.unsent), 7, 9);
    check_accounts(&w, 1);
    world_close(&w);
}

/* A number of requests ends an open loop too, over several threads. */
static void test_open_loop_of_a_number_of_requests(void **state)
{
    (void)state;
    struct world w = world_new();
    w.threads = 2;
    w.phase.rate = 20000;
    w.phase.poisson = true;
    world_open(&w);
    world_run(&w);
    check_all_good(&w, 1000);
    check_accounts(&w, 1);
    world_close(&w);
}

/* --- the closed loop on that clock --- */

/* A write's operation began with its read: two sends and two receives read the clock. Trips on a
 * latency of the second half alone. */
static void test_both_halves_are_one_latency(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct moving_clock clock;
        struct world w = world_new();
        use_clock(&w, &clock, MS);
        w.workload = i == 0 ? WORKLOAD_F : WORKLOAD_E;
        w.connections = 1;
        w.phase.pipeline = 1;
        w.phase.total = 100;
        world_open(&w);
        world_run(&w);
        check_all_good(&w, 100);
        enum operation_kind kind = i == 0 ? OPERATION_READ_MODIFY_WRITE : OPERATION_SCAN;
        assert_true(histogram_min(w.tally.kind_ns[kind]) >= 3 * MS);
        kind = i == 0 ? OPERATION_READ : OPERATION_INSERT;
        assert_int_equal(histogram_min(w.tally.kind_ns[kind]), MS);
        assert_int_equal(histogram_count(w.tally.late_ns), 0);
        world_close(&w);
    }
}

static void test_nothing_is_sent_after_the_deadline(void **state)
{
    (void)state;
    for (uint64_t readings = 0; readings <= 200; readings += 100) {
        struct moving_clock clock;
        struct world w = world_new();
        use_clock(&w, &clock, MS);
        w.workload = WORKLOAD_F;
        w.phase.total = UINT64_MAX;
        w.phase.deadline_ns = 1000000 * MS + (1 + readings) * MS;
        world_open(&w);
        world_run(&w);
        uint64_t done = tally_get(&w.tally.operations);
        check_all_good(&w, done);
        check_accounts(&w, 1);
        assert_in_range(done, readings > 0 ? 1 : 0, readings * w.phase.pipeline);
        world_close(&w);
    }
}

/* --- connections that end --- */

/* RESP, but each seventh answer says that the server will close behind it. */
static enum protocol_outcome decode_closing(enum request_kind kind, const struct tarn_bytes *keys,
                                            size_t count, struct tarn_bytes input,
                                            struct protocol_reply *reply, size_t *ret_size)
{
    static unsigned answers;
    enum protocol_outcome outcome = protocol_resp.decode(kind, keys, count, input, reply, ret_size);
    if (outcome == PROTOCOL_COMPLETE && kind != REQUEST_HELLO)
        reply->closes = ++answers % 7 == 0;
    return outcome;
}

/* What was under way behind such an answer is asked once more, and counted once. Trips on requests
 * that are lost or answered twice, and on second halves that are forgotten. */
static void test_answers_that_close(void **state)
{
    (void)state;
    struct protocol closing = protocol_resp;
    closing.decode = decode_closing;
    for (int i = 0; i < 4; i++) {
        struct moving_clock clock;
        struct world w = i < 3 ? world_new() : open_world(&clock, 100);
        w.workload = i == 1 ? WORKLOAD_E : WORKLOAD_F;
        w.phase.pipeline = i == 1 ? 1 : 8;
        w.servers_count = i == 2 ? 3 : 1;
        w.protocol = &closing;
        if (i < 3)
            w.phase.total = 100;
        world_open(&w);
        world_run(&w);
        uint64_t done = tally_get(&w.tally.operations);
        check_all_good(&w, done);
        check_accounts(&w, 1);
        assert_in_range(done, 99, 101);
        assert_int_equal(histogram_count(w.tally.latency_ns), done);
        assert_int_equal(histogram_count(w.tally.late_ns), i < 3 ? 0 : done);
        int opened = 0;
        for (unsigned s = 0; s < w.servers_count; s++)
            opened += w.servers[s]->connections_count;
        assert_true(opened >= (int)(w.connections * w.servers_count + done / 7));
        world_close(&w);
    }
}

/* A connection that ends while nobody needs it is opened again when somebody does. */
static void test_phases_follow_each_other(void **state)
{
    (void)state;
    struct world w = world_new();
    struct client *client;
    w.connections = 1;
    w.phase.total = 96;
    w.script.close_after = 96;
    world_open(&w);
    struct client_options options = options_of(&w, 0);
    assert_int_equal(client_open(w.os, &options, &client, &w.error), TARN_OK);
    for (int i = 0; i < 3; i++) {
        struct phase phase = w.phase;
        phase.rate = i == 1 ? 50000 : 0;
        phase.start_ns = w.os->monotonic_ns(w.os);
        if (client_run(client, &phase, &w.tally, &w.error) != TARN_OK)
            fail_msg("%s", w.error.text);
        while (atomic_load(&w.servers[0]->closed) == 0)
            usleep(100);
    }
    assert_int_equal(tally_get(&w.tally.operations), 3 * 96);
    client_close(client);
    script_stop(w.servers[0]);
    assert_int_equal(w.servers[0]->connections_count, 2);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_and_writes),
        cmocka_unit_test(test_answers_byte_by_byte),
        cmocka_unit_test(test_a_batch_is_one_send),
        cmocka_unit_test(test_several_keys_a_request),
        cmocka_unit_test(test_missing_keys),
        cmocka_unit_test(test_unexpected_misses),
        cmocka_unit_test(test_load_writes_every_record_once),
        cmocka_unit_test(test_read_modify_write),
        cmocka_unit_test(test_writes_go_first_in_the_next_batch),
        cmocka_unit_test(test_scan_then_read_what_it_named),
        cmocka_unit_test(test_scan_that_finds_nothing),
        cmocka_unit_test(test_inserts_become_visible),
        cmocka_unit_test(test_servers_by_slot),
        cmocka_unit_test(test_errors_are_no_operations),
        cmocka_unit_test(test_refused_halves),
        cmocka_unit_test(test_wrong_value_of_one_key),
        cmocka_unit_test(test_value_of_a_missing_key),
        cmocka_unit_test(test_server_closes),
        cmocka_unit_test(test_server_closes_on_several_threads),
        cmocka_unit_test(test_server_babbles),
        cmocka_unit_test(test_server_answers_too_much),
        cmocka_unit_test(test_server_is_silent),
        cmocka_unit_test(test_keys_that_cannot_be_sent),
        cmocka_unit_test(test_stop_beside_a_silent_server),
        cmocka_unit_test(test_opening_failures),
        cmocka_unit_test(test_open_loop_sends_what_is_due),
        cmocka_unit_test(test_a_stall_counts_for_all_that_fell_due),
        cmocka_unit_test(test_answers_withheld_until_enough_came),
        cmocka_unit_test(test_unsent_requests_are_counted),
        cmocka_unit_test(test_open_loop_of_a_number_of_requests),
        cmocka_unit_test(test_both_halves_are_one_latency),
        cmocka_unit_test(test_nothing_is_sent_after_the_deadline),
        cmocka_unit_test(test_answers_that_close),
        cmocka_unit_test(test_phases_follow_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
