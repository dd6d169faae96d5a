/* growth over RESP: one client's SET and GET in turn, timed, while another sends FLUSHALL or much
 * expires.
 *
 * Loading is pipelined: MSET of 100 keys, or SET with PXAT. Answers are only counted by their size,
 * which is known. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "core/buffer.h"
#include "grow/growth.h"

enum { MSET_KEYS = 100, PIPELINE = 50, SETS = 500, PROBE_MS = 2000 };

struct resp {
    int fd;
    struct buffer out;
};

static void resp_connect(struct resp *r, uint16_t port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    int one = 1;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    *r = (struct resp){.fd = socket(AF_INET, SOCK_STREAM, 0)};
    if (r->fd < 0 || connect(r->fd, (struct sockaddr *)&to, sizeof to) != 0)
        growth_fail("cannot connect");
    setsockopt(r->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

static void resp_word(struct resp *r, const void *data, size_t size)
{
    buffer_printf(&r->out, "$%zu\r\n", size);
    buffer_append(&r->out, data, size);
    buffer_append(&r->out, "\r\n", 2);
}

/* Send what was said, and receive exactly so many bytes at `answer`. */
static void resp_exchange(struct resp *r, char *answer, size_t size)
{
    if (r->out.failed)
        growth_fail("out of memory");
    for (size_t sent = 0; sent < r->out.size;) {
        ssize_t n = send(r->fd, r->out.data + sent, r->out.size - sent, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR)
            growth_fail("the server closed the connection");
        sent += n > 0 ? (size_t)n : 0;
    }
    buffer_clear(&r->out);
    for (size_t got = 0; got < size;) {
        ssize_t n = recv(r->fd, answer + got, size - got, 0);
        if (n == 0 || (n < 0 && errno != EINTR))
            growth_fail("the server closed the connection");
        got += n > 0 ? (size_t)n : 0;
        if (answer[0] == '-')
            growth_fail("the server answered an error");
    }
}

static void say_set(struct resp *r, uint64_t i, int64_t expire_ms)
{
    char key[GROWTH_KEY_BYTES], text[24];
    growth_key(i, key);
    buffer_append_text(&r->out, expire_ms != 0 ? "*5\r\n$3\r\nSET\r\n" : "*3\r\n$3\r\nSET\r\n");
    resp_word(r, key, sizeof key);
    resp_word(r, key, sizeof key);
    if (expire_ms != 0) {
        resp_word(r, "PXAT", 4);
        resp_word(r, text, (size_t)snprintf(text, sizeof text, "%lld", (long long)expire_ms));
    }
}

/* Keys from..to - 1. */
static void load(struct resp *r, uint64_t from, uint64_t to, int64_t expire_ms)
{
    static char answers[SETS * 5];
    while (from < to) {
        uint64_t until = to - from > SETS ? from + SETS : to;
        size_t size = (until - from) * 5;
        for (; from < until; from++)
            say_set(r, from, expire_ms);
        resp_exchange(r, answers, size);
    }
}

/* MSETs, for as many as make whole ones. */
static void load_many(struct resp *r, uint64_t keys)
{
    static char answers[PIPELINE * 5];
    uint64_t i = 0;
    while (keys - i >= MSET_KEYS) {
        size_t requests = 0;
        for (; requests < PIPELINE && keys - i >= MSET_KEYS; requests++) {
            buffer_printf(&r->out, "*%d\r\n$4\r\nMSET\r\n", 1 + 2 * MSET_KEYS);
            for (int n = 0; n < MSET_KEYS; n++, i++) {
                char key[GROWTH_KEY_BYTES];
                growth_key(i, key);
                resp_word(r, key, sizeof key);
                resp_word(r, key, sizeof key);
            }
        }
        resp_exchange(r, answers, requests * 5);
    }
    load(r, i, keys, 0);
}

/* --- the client that is timed --- */

struct probe {
    struct resp resp;
    uint64_t keys; /* it asks for */
    pthread_t thread;
    _Atomic unsigned phase;
    _Atomic bool stops;
    struct growth_figures reads[2], writes[2];
};

static void *probe_on(void *context)
{
    struct probe *p = context;
    struct growth_timer timer;
    uint64_t random = 3;
    char answer[64], key[GROWTH_KEY_BYTES];
    growth_timer_start(&timer);
    while (!atomic_load(&p->stops)) {
        uint64_t i = growth_random(&random) % p->keys;
        say_set(&p->resp, i, 0);
        resp_exchange(&p->resp, answer, 5);
        growth_timer_lap(&timer, &p->writes[atomic_load(&p->phase)]);
        /* what it has just written is there, unless FLUSHALL came between: "$-1" is 5 bytes */
        growth_key(i, key);
        buffer_append_text(&p->resp.out, "*2\r\n$3\r\nGET\r\n");
        resp_word(&p->resp, key, sizeof key);
        resp_exchange(&p->resp, answer, 5);
        if (memcmp(answer, "$-1", 3) != 0)
            resp_exchange(&p->resp, answer + 5, GROWTH_KEY_BYTES + 2);
        growth_timer_lap(&timer, &p->reads[atomic_load(&p->phase)]);
    }
    return NULL;
}

static void probe_start(struct probe *p, uint64_t keys, uint16_t port)
{
    *p = (struct probe){.keys = keys};
    resp_connect(&p->resp, port);
    for (int i = 0; i < 2; i++) {
        growth_figures_init(&p->reads[i]);
        growth_figures_init(&p->writes[i]);
    }
    if (pthread_create(&p->thread, NULL, probe_on, p) != 0)
        growth_fail("cannot start a thread");
}

static void probe_stop(struct probe *p, uint64_t keys, uint64_t took_ns, const char *event)
{
    atomic_store(&p->stops, true);
    pthread_join(p->thread, NULL);
    printf("{\"keys\":%llu,\"took_ns\":%llu,\"phases\":{", (unsigned long long)keys,
           (unsigned long long)took_ns);
    for (int i = 0; i < 2; i++) {
        printf("%s\"%s\":{", i > 0 ? "," : "", i == 0 ? "rest" : event);
        growth_figures_print("reads", &p->reads[i]);
        putchar(',');
        growth_figures_print("writes", &p->writes[i]);
        putchar('}');
    }
    printf("}}\n");
}

void growth_resp_flush(uint64_t keys, uint16_t port)
{
    struct resp control;
    struct probe probe;
    char answer[8];
    resp_connect(&control, port);
    load_many(&control, keys);
    probe_start(&probe, keys, port);
    growth_sleep_ms(PROBE_MS);
    atomic_store(&probe.phase, 1);
    uint64_t start_ns = growth_now_ns();
    buffer_append_text(&control.out, "*1\r\n$8\r\nFLUSHALL\r\n");
    resp_exchange(&control, answer, 5);
    uint64_t took_ns = growth_now_ns() - start_ns;
    growth_sleep_ms(PROBE_MS);
    probe_stop(&probe, keys, took_ns, "flush");
}

static int64_t wall_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* How many keys the server has, expired ones that are not yet free counted. */
static uint64_t count_keys(struct resp *r)
{
    char answer[32];
    size_t size = 0;
    buffer_append_text(&r->out, "*1\r\n$6\r\nDBSIZE\r\n");
    resp_exchange(r, answer, 3);
    for (size = 3; answer[size - 1] != '\n'; size++)
        resp_exchange(r, answer + size, 1);
    return strtoull(answer + 1, NULL, 10);
}

void growth_resp_expire(uint64_t keys, uint16_t port)
{
    struct resp control;
    struct probe probe;
    uint64_t lasting = keys / 10 > 0 ? keys / 10 : 1;
    resp_connect(&control, port);
    load_many(&control, lasting);
    int64_t expire_ms = growth_expiry_ms(wall_ms(), keys, 2500);
    load(&control, lasting, lasting + keys, expire_ms);
    if (wall_ms() > expire_ms - PROBE_MS)
        growth_fail("loading took too long on this machine");
    probe_start(&probe, lasting, port);
    while (wall_ms() < expire_ms)
        growth_sleep_ms(1);
    atomic_store(&probe.phase, 1);
    uint64_t start_ns = growth_now_ns();
    while (count_keys(&control) > lasting)
        growth_sleep_ms(10);
    uint64_t took_ns = growth_now_ns() - start_ns;
    growth_sleep_ms(PROBE_MS / 2);
    probe_stop(&probe, keys, took_ns, "expiry");
}
