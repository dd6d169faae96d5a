/* load: ask a RESP server for the keys of a data file, and check every answer.
 *
 *     load [options] FILE
 *       --port N            on 127.0.0.1 (6379)
 *       --connections N     (50)
 *       --pipeline N        requests sent at once by a connection (1)
 *       --requests N        in total (1000000)
 *       --no-check          count the bytes of the answers but do not compare them
 *
 * Made to cost as little as possible, so that the server is what is measured. At the start the
 * file's records are shuffled, and every request and its expected reply is laid out in that order
 * in two long buffers. A connection takes the next `pipeline` requests, sends that span of the
 * first buffer in one call, and compares what comes back with the same span of the second. Keys
 * are read sequentially, nothing is parsed, and every byte of every reply is verified. All keys are
 * asked once before any is asked again.
 *
 * One thread, one epoll loop, closed loop: a connection sends again when all its replies are here.
 * Latency: from before the send to after the receive that completes the batch.
 * The result is one line of JSON on stdout; times in microseconds.
 *
 * Failure modes: any error or wrong byte ends the program with a message and status 1. */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/random.h"

struct settings {
    const char *path;
    uint64_t port, connections, pipeline, requests;
    bool no_check;
};

struct record {
    const char *key, *value;
    uint32_t key_bytes, value_bytes;
};

/* Requests and replies in the order of asking; ends[i] is where the i-th ends in each. */
struct script {
    char *requests, *replies;
    uint64_t *request_ends, *reply_ends; /* count + 1 entries, [0] = 0 */
    size_t count;
};

struct connection {
    int fd;
    uint32_t batch;     /* requests under way */
    uint64_t sent_ns;   /* when they were sent */
    uint64_t at, until; /* span of the replies expected */
};

static void *allocate(size_t count, size_t size)
{
    void *memory = calloc(count ? count : 1, size);
    if (!memory)
        err(1, "cannot allocate %zu x %zu bytes", count, size);
    return memory;
}

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static struct record *read_records(const char *path, size_t *ret_count)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat status;
    if (fd < 0 || fstat(fd, &status))
        err(1, "%s", path);
    size_t size = (size_t)status.st_size;
    const char *at = size ? mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;
    if (at == MAP_FAILED)
        err(1, "%s: cannot map", path);
    close(fd); /* the mapping stays: records point into it */
    const char *end = at + size;
    size_t lines = 1, count = 0;
    for (const char *line = at; (line = memchr(line, '\n', (size_t)(end - line))); line++)
        lines++;
    struct record *records = allocate(lines, sizeof(*records));
    for (const char *next; at < end; at = next + 1) {
        next = memchr(at, '\n', (size_t)(end - at));
        next = next ? next : end;
        const char *space = memchr(at, ' ', (size_t)(next - at));
        if (!space)
            errx(1, "record %zu has no separator", count);
        records[count++] =
            (struct record){at, space + 1, (uint32_t)(space - at), (uint32_t)(next - space - 1)};
    }
    *ret_count = count;
    return records;
}

static size_t put(char *to, const char *head, const char *body, size_t body_bytes)
{
    size_t head_bytes = strlen(head);
    memcpy(to, head, head_bytes);
    memcpy(to + head_bytes, body, body_bytes);
    memcpy(to + head_bytes + body_bytes, "\r\n", 2);
    return head_bytes + body_bytes + 2;
}

static void make_script(struct script *script, struct record *records, size_t count)
{
    uint64_t request_bytes = 0, reply_bytes = 0, seed = 1;

    script->count = count;
    for (size_t i = count; i > 1; i--) { /* Fisher-Yates */
        size_t j = random_next(&seed) % i;
        struct record swap = records[i - 1];
        records[i - 1] = records[j];
        records[j] = swap;
    }
    for (size_t i = 0; i < count; i++) {
        request_bytes += records[i].key_bytes + 48;
        reply_bytes += records[i].value_bytes + 32;
    }
    script->requests = allocate(request_bytes, 1);
    script->replies = allocate(reply_bytes, 1);
    script->request_ends = allocate(count + 1, sizeof(uint64_t));
    script->reply_ends = allocate(count + 1, sizeof(uint64_t));
    for (size_t i = 0; i < count; i++) {
        const struct record *r = &records[i];
        char head[48];
        snprintf(head, sizeof(head), "*2\r\n$3\r\nGET\r\n$%u\r\n", r->key_bytes);
        script->request_ends[i + 1] =
            script->request_ends[i] +
            put(script->requests + script->request_ends[i], head, r->key, r->key_bytes);
        snprintf(head, sizeof(head), "$%u\r\n", r->value_bytes);
        script->reply_ends[i + 1] =
            script->reply_ends[i] +
            put(script->replies + script->reply_ends[i], head, r->value, r->value_bytes);
    }
}

static int connect_to(const struct settings *s)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)s->port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)))
        err(1, "cannot connect to port %u", (unsigned)s->port);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    return fd;
}

/* Send the next requests of the script, from *next on; a batch does not cross the script's end. */
static void send_batch(struct connection *c, const struct script *script, uint64_t *next,
                       uint64_t count)
{
    size_t first = *next % script->count;
    if (count > script->count - first)
        count = script->count - first;
    *next += count;
    c->batch = (uint32_t)count;
    c->at = script->reply_ends[first];
    c->until = script->reply_ends[first + count];
    const char *at = script->requests + script->request_ends[first];
    const char *end = script->requests + script->request_ends[first + count];
    c->sent_ns = now_ns();
    while (at < end) { /* blocking; the requests of a batch fit the socket buffers */
        ssize_t sent = send(c->fd, at, (size_t)(end - at), MSG_NOSIGNAL);
        if (sent < 0)
            err(1, "send");
        at += sent;
    }
}

/* Receive what is there; true when the batch is complete. */
static bool receive(struct connection *c, const struct script *script, bool check)
{
    static char input[1 << 16];
    ssize_t got = recv(c->fd, input, sizeof(input), MSG_DONTWAIT);

    if (got < 0 && errno == EAGAIN)
        return false;
    if (got <= 0)
        errx(1, "connection closed by the server: %s", got ? strerror(errno) : "end of stream");
    if ((uint64_t)got > c->until - c->at ||
        (check && memcmp(input, script->replies + c->at, (size_t)got) != 0))
        errx(1, "wrong answer, it begins \"%.*s\"", (int)(got < 60 ? got : 60), input);
    c->at += (uint64_t)got;
    return c->at == c->until;
}

/* Ask s->requests times; latencies: one entry per batch, in ns. Returns the number of batches. */
static size_t run(const struct settings *s, const struct script *script, uint32_t *latencies)
{
    struct connection *connections = allocate(s->connections, sizeof(struct connection));
    struct epoll_event *events = allocate(s->connections, sizeof(struct epoll_event));
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    uint64_t next = 0, done = 0;
    size_t batches = 0;

    for (uint64_t i = 0; i < s->connections; i++) {
        connections[i].fd = connect_to(s);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &connections[i]};
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, connections[i].fd, &event))
            err(1, "epoll_ctl");
    }
    for (uint64_t i = 0; i < s->connections && next < s->requests; i++) {
        uint64_t left = s->requests - next;
        send_batch(&connections[i], script, &next, left < s->pipeline ? left : s->pipeline);
    }
    while (done < s->requests) {
        int count = epoll_wait(epoll, events, (int)s->connections, -1);
        for (int i = 0; i < count; i++) {
            struct connection *c = events[i].data.ptr;
            if (!receive(c, script, !s->no_check))
                continue;
            uint64_t ns = now_ns() - c->sent_ns, left = s->requests - next;
            latencies[batches++] = ns > UINT32_MAX ? UINT32_MAX : (uint32_t)ns;
            done += c->batch;
            if (left)
                send_batch(c, script, &next, left < s->pipeline ? left : s->pipeline);
        }
    }
    return batches;
}

static int compare_u32(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static void report(const struct settings *s, double seconds, uint32_t *latencies, size_t count)
{
    static const double percentiles[] = {50, 90, 99, 99.9};
    double total = 0;

    qsort(latencies, count, sizeof(*latencies), compare_u32);
    for (size_t i = 0; i < count; i++)
        total += latencies[i];
    printf("{\"requests\": %ju, \"connections\": %ju, \"pipeline\": %ju, \"seconds\": %.6f, "
           "\"rps\": %.1f, \"mean_us\": %.2f",
           (uintmax_t)s->requests, (uintmax_t)s->connections, (uintmax_t)s->pipeline, seconds,
           (double)s->requests / seconds, total / (double)count / 1e3);
    for (size_t i = 0; i < sizeof(percentiles) / sizeof(*percentiles); i++)
        printf(", \"p%g_us\": %.2f", percentiles[i],
               latencies[(size_t)(percentiles[i] / 100 * (double)(count - 1))] / 1e3);
    printf(", \"max_us\": %.2f}\n", latencies[count - 1] / 1e3);
}

static uint64_t number(const char *text, uint64_t low, uint64_t high)
{
    char *end;
    unsigned long long value = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || value < low || value > high)
        errx(2, "\"%s\" is not a number from %ju to %ju", text, (uintmax_t)low, (uintmax_t)high);
    return value;
}

static struct settings parse(int argc, char **argv)
{
    struct settings s = {.port = 6379, .connections = 50, .pipeline = 1, .requests = 1000000};
    static const struct option options[] = {{"port", 1, 0, 0},     {"connections", 1, 0, 1},
                                            {"pipeline", 1, 0, 2}, {"requests", 1, 0, 3},
                                            {"no-check", 0, 0, 4}, {0}};
    uint64_t *targets[] = {&s.port, &s.connections, &s.pipeline, &s.requests};
    static const uint64_t high[] = {65535, 10000, 1024, 1000000000};

    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;)
        if (option == '?')
            exit(2);
        else if (option == 4)
            s.no_check = true;
        else
            *targets[option] = number(optarg, 1, high[option]);
    if (optind + 1 != argc)
        errx(2, "usage: load [options] FILE (see the head of bench/load.c)");
    s.path = argv[optind];
    return s;
}

int main(int argc, char **argv)
{
    struct settings s = parse(argc, argv);
    struct script script;
    size_t count;

    struct record *records = read_records(s.path, &count);
    if (count == 0)
        errx(1, "%s has no records", s.path);
    make_script(&script, records, count);
    free(records);
    /* a batch is shorter than the pipeline only at the script's end and at the very end */
    size_t batches_max = s.requests / s.pipeline + s.requests / script.count + s.connections + 2;
    uint32_t *latencies = allocate(batches_max, sizeof(uint32_t));
    uint64_t start = now_ns();
    size_t batches = run(&s, &script, latencies);
    report(&s, (double)(now_ns() - start) / 1e9, latencies, batches);
    return 0;
}
