/* Goal: a link moves all bytes whatever pieces the system takes and gives them in, keeps requests
 * in order, holds memory for what really came only, and says clearly what went wrong.
 * Method: a struct os whose sends take and whose receives give what the test wants, over a real
 * connection to a scripted server where one is needed. */
#include "bench/link.h"

#include <errno.h>
#include <fcntl.h>

#include "lib/test.h"

#include "lib/fault_malloc.h"
#include "lib/scripted_server.h"

#define PIPELINE 5
#define BATCH    3

struct world {
    struct os os;
    struct loop loop;
    struct records *records;
    struct scripted_server *server;
    struct client_server target;
    struct link link;
    struct tally tally;
    struct tarn_error error;
    /* the next send takes at most send_max bytes, or fails; what went out */
    size_t send_max;
    int send_error;
    struct buffer sent;
    /* the next receive gives these bytes, or fails, or (size 0) says that the peer closed */
    struct tarn_bytes give;
    int receive_error;
    bool real; /* both as in earnest */
};

static int fake_send(const struct os *os, int fd, const struct iovec *parts, int count,
                     size_t *ret_size)
{
    struct world *w = os->context;
    if (w->real)
        return os_real()->send(os_real(), fd, parts, count, ret_size);
    if (w->send_error != 0)
        return w->send_error;
    *ret_size = parts[0].iov_len < w->send_max ? parts[0].iov_len : w->send_max;
    buffer_append(&w->sent, parts[0].iov_base, *ret_size);
    return 0;
}

static int fake_receive(const struct os *os, int fd, void *data, size_t size, size_t *ret_size)
{
    struct world *w = os->context;
    if (w->real)
        return os_real()->receive(os_real(), fd, data, size, ret_size);
    if (w->receive_error != 0)
        return w->receive_error;
    *ret_size = size < w->give.size ? size : w->give.size;
    memcpy(data, w->give.data, *ret_size);
    w->give.data = (const char *)w->give.data + *ret_size;
    w->give.size -= *ret_size;
    return 0;
}

static struct link_options options_of(struct world *w)
{
    return (struct link_options){
        .os = &w->os,
        .loop = &w->loop,
        .protocol = &protocol_resp,
        .server = &w->target,
        .timeout_ms = 5000,
        .batch_max = BATCH,
        .pipeline_max = PIPELINE,
    };
}

static void world_open(struct world *w)
{
    *w = (struct world){.real = true, .send_max = SIZE_MAX};
    struct records_options records = {.count = 10, .key_bytes = 16, .value_bytes = {8, 8}};
    assert_int_equal(records_open(os_real(), &records, &w->records, NULL), TARN_OK);
    struct script script = script_plain;
    script.records = w->records;
    w->server = script_start(&script);
    w->os = *os_real();
    w->os.send = fake_send;
    w->os.receive = fake_receive;
    w->os.context = w;
    snprintf(w->target.host, sizeof w->target.host, "127.0.0.1");
    snprintf(w->target.port, sizeof w->target.port, "%s", w->server->port);
    snprintf(w->target.name, sizeof w->target.name, "server:1");
    assert_int_equal(loop_open(&w->loop), 0);
    assert_int_equal(tally_init(&w->tally), TARN_OK);
    struct link_options options = options_of(w);
    assert_int_equal(link_init(&w->link, &options, &w->error), TARN_OK);
    assert_int_equal(link_connect(&w->link, &w->error), TARN_OK);
    w->real = false;
}

static void world_close(struct world *w)
{
    link_done(&w->link);
    link_done(&w->link); /* allowed */
    loop_close(&w->loop);
    script_stop(w->server);
    script_free(w->server);
    records_close(w->records);
    tally_done(&w->tally);
    buffer_done(&w->sent);
}

static void push(struct link *l, uint32_t number)
{
    *link_push(l) = (struct request){.start_ns = REQUEST_STARTS_WHEN_SENT, .keys = number};
    for (size_t i = 0; i < BATCH; i++)
        link_records(l, l->count - 1)[i] = 10ull * number + i;
}

/* Trips on a place that is used twice, and on records of another request. */
static void test_requests_leave_in_the_order_they_came(void **state)
{
    (void)state;
    struct world w;
    world_open(&w);
    struct link *l = &w.link;
    uint32_t next = 0, oldest = 0;
    for (int round = 0; round < 50; round++) {
        for (int i = 0; i < round % PIPELINE + 1 && l->count < PIPELINE; i++)
            push(l, next++);
        assert_int_equal(link_waiting(l) + l->queued, l->count);
        assert_int_equal(link_send(l, 1000, &w.tally, &w.error), TARN_OK);
        assert_int_equal(link_waiting(l), l->count);
        for (size_t i = 0; i < l->count; i++) {
            assert_int_equal(link_request(l, i)->keys, oldest + i);
            assert_int_equal(link_records(l, i)[BATCH - 1], 10 * (oldest + i) + BATCH - 1);
        }
        for (int i = 0; i < (round * 7) % PIPELINE && l->count > 0; i++, oldest++)
            link_pop(l);
    }
    assert_true(oldest > 4 * PIPELINE);
    world_close(&w);
}

/* Is the link's socket reported as ready to take more? */
static bool asks_to_send(struct world *w)
{
    struct loop_event events[LOOP_EVENTS_MAX];
    unsigned count;
    bool woken;
    assert_int_equal(loop_wait(&w->loop, 0, events, &count, &woken), 0);
    return count == 1 && events[0].tag == &w->link && events[0].events & EPOLLOUT;
}

static void test_short_sends(void **state)
{
    (void)state;
    struct world w;
    world_open(&w);
    struct link *l = &w.link;
    push(l, 1);
    buffer_append_text(&l->out, "0123456789");
    w.send_max = 3;
    assert_int_equal(link_send(l, 1000, &w.tally, &w.error), TARN_OK);
    assert_true(asks_to_send(&w));
    push(l, 2); /* more is queued meanwhile: it waits behind */
    buffer_append_text(&l->out, "abc");
    assert_int_equal(link_send(l, 2000, &w.tally, &w.error), TARN_OK);
    assert_int_equal(w.sent.size, 3);
    w.send_error = -EAGAIN;
    assert_int_equal(link_send_rest(l, &w.tally, &w.error), TARN_OK);
    assert_true(asks_to_send(&w));
    w.send_error = 0;
    for (int i = 0; i < 3; i++)
        assert_int_equal(link_send_rest(l, &w.tally, &w.error), TARN_OK);
    assert_true(asks_to_send(&w));
    assert_int_equal(link_send_rest(l, &w.tally, &w.error), TARN_OK);
    assert_false(asks_to_send(&w));
    assert_int_equal(w.sent.size, 13);
    assert_memory_equal(w.sent.data, "0123456789abc", 13);
    assert_int_equal(tally_get(&w.tally.bytes_sent), 13);
    assert_int_equal(l->out.size, 0);
    world_close(&w);
}

static void test_sending_failures(void **state)
{
    (void)state;
    struct world w;
    world_open(&w);
    struct link *l = &w.link;
    /* the server closed: what it said before is still to be received, so that is no failure */
    buffer_append_text(&l->out, "x");
    w.send_error = -EPIPE;
    assert_int_equal(link_send(l, 1, &w.tally, &w.error), TARN_OK);
    assert_false(asks_to_send(&w));
    buffer_append_text(&l->out, "x");
    w.send_error = -ENETDOWN;
    assert_int_equal(link_send(l, 1, &w.tally, &w.error), TARN_IO);
    assert_string_equal(w.error.text, "cannot send to server:1: Network is down");
    l->out.failed = true;
    w.send_error = 0;
    assert_int_equal(link_send(l, 1, &w.tally, &w.error), TARN_NOMEM);
    assert_int_equal(w.sent.size, 0);
    world_close(&w);
}

/* Receive once, and check that the whole input is `expected`. */
static void receive(struct world *w, const char *given, const char *expected)
{
    bool closed;
    w->give = bytes_of(given);
    assert_int_equal(link_receive(&w->link, &w->tally, &closed, &w->error), TARN_OK);
    assert_false(closed);
    struct tarn_bytes input = link_input(&w->link);
    assert_int_equal(input.size, strlen(expected));
    assert_memory_equal(input.data, expected, input.size);
}

static void test_input_in_pieces(void **state)
{
    (void)state;
    struct world w;
    bool closed;
    world_open(&w);
    receive(&w, "abcde", "abcde");
    link_take(&w.link, 2);
    receive(&w, "fg", "cdefg");
    link_take(&w.link, 5);
    receive(&w, "h", "h");
    assert_int_equal(tally_get(&w.tally.bytes_received), 8);
    w.receive_error = -EAGAIN;
    assert_int_equal(link_receive(&w.link, &w.tally, &closed, &w.error), TARN_OK);
    assert_false(closed);
    assert_int_equal(link_input(&w.link).size, 1);
    w.receive_error = -ECONNRESET;
    assert_int_equal(link_receive(&w.link, &w.tally, &closed, &w.error), TARN_OK);
    assert_true(closed);
    w.receive_error = 0; /* and no bytes: an orderly end */
    assert_int_equal(link_receive(&w.link, &w.tally, &closed, &w.error), TARN_OK);
    assert_true(closed);
    assert_int_equal(link_input(&w.link).size, 1);
    w.receive_error = -EHOSTUNREACH;
    assert_int_equal(link_receive(&w.link, &w.tally, &closed, &w.error), TARN_IO);
    assert_string_equal(w.error.text, "cannot receive from server:1: No route to host");
    world_close(&w);
}

/* Memory follows what came: at most twice as much, and less again when answers are small. */
static void test_input_grows_and_shrinks(void **state)
{
    (void)state;
    struct world w;
    world_open(&w);
    struct link *l = &w.link;
    size_t size = (size_t)5 << 20, came = 0;
    char *block = malloc(size);
    memset(block, 'v', size);
    l->in_needed = (size_t)1 << 30; /* announced: costs nothing */
    w.give = (struct tarn_bytes){block, size};
    while (w.give.size > 0) {
        bool closed;
        assert_int_equal(link_receive(l, &w.tally, &closed, &w.error), TARN_OK);
        came = link_input(l).size;
        assert_in_range(l->in.capacity, came, 2 * came + 65536);
    }
    assert_int_equal(came, size);
    assert_memory_equal(link_input(l).data, block, size);
    link_take(l, size);
    for (int i = 0; i < 1000; i++) {
        receive(&w, "+OK\r\n", "+OK\r\n");
        link_take(l, 5);
    }
    assert_in_range(l->in.capacity, 1, 65536);
    free(block);
    world_close(&w);
}

static void test_disconnecting_queues_all_again(void **state)
{
    (void)state;
    struct world w;
    world_open(&w);
    struct link *l = &w.link;
    push(l, 1);
    push(l, 2);
    link_request(l, 1)->start_ns = 500;
    assert_int_equal(link_send(l, 1000, &w.tally, &w.error), TARN_OK);
    push(l, 3);
    buffer_append_text(&l->out, "half of a request");
    receive(&w, "half of an answer", "half of an answer");
    link_disconnect(l);
    assert_int_equal(l->fd, -1);
    assert_int_equal(link_waiting(l), 0);
    assert_int_equal(l->count, 3);
    assert_int_equal(l->out.size + link_input(l).size, 0);
    w.real = true;
    assert_int_equal(link_connect(l, &w.error), TARN_OK);
    w.real = false;
    assert_int_equal(link_send(l, 2000, &w.tally, &w.error), TARN_OK);
    /* those that had begun keep their start */
    assert_int_equal(link_started_ns(l, link_request(l, 0)), 1000);
    assert_int_equal(link_started_ns(l, link_request(l, 1)), 500);
    assert_int_equal(link_started_ns(l, link_request(l, 2)), 2000);
    world_close(&w);
}

static void test_errors_name_the_server(void **state)
{
    (void)state;
    struct world w;
    world_open(&w);
    struct link *l = &w.link;
    l->timeout_ms = 3;
    assert_int_equal(link_silence_error(l, UINT64_MAX, &w.error), TARN_OK); /* owes nothing */
    push(l, 1);
    assert_int_equal(link_send(l, 1000000, &w.tally, &w.error), TARN_OK);
    assert_int_equal(link_silence_error(l, 3999999, &w.error), TARN_OK);
    assert_int_equal(link_silence_error(l, 4000000, &w.error), TARN_IO);
    assert_string_equal(w.error.text, "server:1 was silent for 3 ms with 1 request unanswered");
    push(l, 2); /* sending more does not make the silence shorter */
    assert_int_equal(link_send(l, 3900000, &w.tally, &w.error), TARN_OK);
    assert_int_equal(link_silence_error(l, 4000000, &w.error), TARN_IO);
    assert_int_equal(link_closed_error(l, &w.error), TARN_IO);
    assert_string_equal(w.error.text, "server:1 closed the connection with 2 requests unanswered");
    assert_int_equal(link_malformed_error(l, bytes_of("odd"), &w.error), TARN_CORRUPT);
    assert_string_equal(w.error.text, "server:1: odd");
    world_close(&w);
}

/* A server that allocates nothing: it greets until one says "stop". */
static void *greet_all(void *context)
{
    int listen_fd = *(int *)context;
    for (bool stop = false; !stop;) {
        char bytes[64];
        int fd = accept(listen_fd, NULL, NULL);
        ssize_t size = recv(fd, bytes, sizeof bytes, 0);
        stop = size > 0 && bytes[0] == 's';
        (void)send(fd, "+PONG\r\n", 7, MSG_NOSIGNAL); /* the other end may have failed by now */
        close(fd);
    }
    return NULL;
}

static unsigned say_stop(const struct protocol_peer *peer, struct buffer *out)
{
    (void)peer;
    buffer_append_text(out, "stop");
    return 1;
}

/* Every allocation of a link and of its opening exchange fails once. */
static void test_out_of_memory(void **state)
{
    (void)state;
    struct world w;
    struct protocol stopping = protocol_resp;
    pthread_t thread;
    int listen_fd;
    world_open(&w);
    assert_int_equal(os_real()->listen(os_real(), "127.0.0.1", 0, 16, false, &listen_fd), 0);
    assert_int_equal(fcntl(listen_fd, F_SETFL, 0), 0); /* accepting waits */
    snprintf(w.target.port, sizeof w.target.port, "%u", socket_local_port(listen_fd));
    assert_int_equal(pthread_create(&thread, NULL, greet_all, &listen_fd), 0);
    struct link_options options = options_of(&w);
    stopping.hello = say_stop;
    uint64_t failed = 1;
    w.real = true;
    for (uint64_t nth = 1; failed > 0 || options.protocol != &stopping; nth++) {
        struct link l = {0};
        if (failed == 0)
            options.protocol = &stopping;
        fault_malloc_arm(nth, false);
        int status = link_init(&l, &options, &w.error);
        if (status == TARN_OK)
            status = link_connect(&l, &w.error);
        failed = fault_malloc_disarm();
        assert_true(status == (failed > 0 ? TARN_NOMEM : TARN_OK));
        link_done(&l);
        assert_in_range(nth, 1, 30);
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
    close(listen_fd);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests_leave_in_the_order_they_came),
        cmocka_unit_test(test_short_sends),
        cmocka_unit_test(test_sending_failures),
        cmocka_unit_test(test_input_in_pieces),
        cmocka_unit_test(test_input_grows_and_shrinks),
        cmocka_unit_test(test_disconnecting_queues_all_again),
        cmocka_unit_test(test_errors_name_the_server),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
