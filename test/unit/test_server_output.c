/* Goal: the stream of copied bytes and referenced values comes out whole and in order however
 * little a send takes, through truncation and moves.
 * Method: random streams against a model that copies everything; sends that take random amounts. */
#include "lib/test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/dataset.h"
#include "server/output.h"

struct sink {
    struct buffer received;
    uint64_t random;
    size_t most; /* one send takes 0..most bytes */
};

static int sink_send(const struct os *os, int fd, const struct iovec *parts, int count,
                     size_t *ret_size)
{
    struct sink *sink = os->context;
    size_t take = random_next(&sink->random) % (sink->most + 1), taken = 0;
    (void)fd;
    assert_true(count > 0);
    if (take == 0)
        return -EAGAIN;
    for (int i = 0; i < count && taken < take; i++) {
        size_t size = parts[i].iov_len < take - taken ? parts[i].iov_len : take - taken;
        assert_true(parts[i].iov_len > 0);
        buffer_append(&sink->received, parts[i].iov_base, size);
        taken += size;
    }
    *ret_size = taken;
    return 0;
}

static unsigned char value[100000];

/* Append a random piece to both. */
static void append(struct output *o, struct buffer *model, uint64_t *random)
{
    size_t size = random_next(random) % 3000, at = random_next(random) % 1000;
    if (random_next(random) % 3 == 0) {
        output_append_ref(o, (struct tarn_bytes){value + at, size + 1}, NULL);
        buffer_append(model, value + at, size + 1);
    } else {
        buffer_append(&o->bytes, value + at, size);
        buffer_append(model, value + at, size);
    }
}

static void run_random(uint64_t seed)
{
    uint64_t random = seed;
    struct sink sink = {.random = seed + 1, .most = 1 + random_next(&random) % 20000};
    struct os os = {.send = sink_send, .context = &sink};
    struct output a, b, *now = &a, *other = &b;
    struct buffer model = {0};
    output_init(&a, 0);
    output_init(&b, 0);
    for (int step = 0; step < 200; step++) {
        size_t sent;
        switch (random_next(&random) % 6) {
        case 0: {
            size_t before = output_unsent(now);
            int status = output_send(now, &os, -1, &sent);
            assert_int_equal(output_unsent(now), before - sent);
            assert_int_equal(status, output_unsent(now) == 0 ? 0 : -EAGAIN);
            break;
        }
        case 1: { /* take back what a command answered */
            struct output_mark mark = output_mark(now);
            size_t size = model.size;
            append(now, &model, &random);
            append(now, &model, &random);
            output_truncate(now, mark);
            model.size = size;
            break;
        }
        case 2: {
            size_t unsent = output_unsent(now);
            assert_true(output_move(now, other));
            assert_int_equal(output_unsent(now), 0);
            assert_int_equal(output_unsent(other), unsent);
            struct output *swap = now;
            now = other;
            other = swap;
            output_done(other);
            break;
        }
        default:
            append(now, &model, &random);
        }
        assert_int_equal(output_unsent(now), model.size - sink.received.size);
    }
    size_t sent;
    while (output_unsent(now) > 0)
        (void)!output_send(now, &os, -1, &sent);
    assert_int_equal(sink.received.size, model.size);
    assert_memory_equal(sink.received.data, model.data, model.size);
    output_done(&a);
    output_done(&b);
    buffer_done(&model);
    buffer_done(&sink.received);
}

static void test_random_streams(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof value; i++)
        value[i] = (unsigned char)(i * 31 + i / 256);
    for (uint64_t seed = 1; seed <= 200; seed++)
        run_random(seed);
}

static int broken_send(const struct os *os, int fd, const struct iovec *parts, int count,
                       size_t *ret_size)
{
    (void)os;
    (void)fd;
    (void)parts;
    (void)count;
    (void)ret_size;
    return -EPIPE;
}

static void test_broken(void **state)
{
    (void)state;
    struct os os = {.send = broken_send};
    struct output o;
    size_t sent = 1;
    output_init(&o, 0);
    buffer_append_text(&o.bytes, "x");
    assert_int_equal(output_send(&o, &os, -1, &sent), -EPIPE);
    assert_int_equal(sent, 0);
    output_done(&o);
}

/* Takes all that it is given. */
static int greedy_send(const struct os *os, int fd, const struct iovec *parts, int count,
                       size_t *ret_size)
{
    struct sink *sink = os->context;
    (void)fd;
    *ret_size = 0;
    for (int i = 0; i < count; i++) {
        buffer_append(&sink->received, parts[i].iov_base, parts[i].iov_len);
        *ret_size += parts[i].iov_len;
    }
    return 0;
}

/* One call sends a bounded part of what there is, however much the socket would take. */
static void test_much_at_once(void **state)
{
    (void)state;
    struct sink sink = {0};
    struct os os = {.send = greedy_send, .context = &sink};
    struct output o;
    struct buffer model = {0}, large = {0};
    size_t sent, calls = 0;
    int status;
    for (size_t i = 0; i < (5u << 20); i++)
        buffer_append_byte(&large, (unsigned char)(i * 31 >> 3));
    output_init(&o, 0);
    for (int i = 0; i < 3; i++) {
        output_append_ref(&o, buffer_view(&large), NULL);
        buffer_append(&model, large.data, large.size);
        buffer_append(&o.bytes, large.data, 3u << 20);
        buffer_append(&model, large.data, 3u << 20);
    }
    do {
        status = output_send(&o, &os, -1, &sent);
        calls++;
        assert_true(sent > 0 && sent <= 2 * OUTPUT_SEND_BYTES);
    } while (status == -EAGAIN);
    assert_int_equal(status, 0);
    assert_true(calls >= model.size / (2 * OUTPUT_SEND_BYTES));
    assert_int_equal(sink.received.size, model.size);
    assert_memory_equal(sink.received.data, model.data, model.size);
    output_done(&o);
    buffer_done(&large);
    buffer_done(&model);
    buffer_done(&sink.received);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_streams),
        cmocka_unit_test(test_broken),
        cmocka_unit_test(test_much_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
