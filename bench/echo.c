/* echo: the floor under any server's cost per GET.
 *
 *     echo PORT [REQUEST_BYTES [VALUE_BYTES]]        (defaults 36 and 64)
 *
 * One thread, one epoll loop, loopback. It receives and sends exactly the bytes that a real server
 * receives and sends for the same requests, with one recv and one send per connection and turn,
 * and does nothing in between: it does not look at the requests, it divides their bytes by
 * REQUEST_BYTES (all requests of a run have the same size: the default, 36, is
 * "*2 $3 GET $16 key:000000000000" with its line ends) and answers each with the same bulk string
 * of VALUE_BYTES bytes. Requests split over two receives are counted when their last byte is here.
 *
 * The exceptions are what generators ask before they start: redis-benchmark CONFIG GET, so that a
 * receive that begins with "*3" is answered with one pair of empty strings per '*'; and tarn bench
 * PING, one that begins with "*1", with PONG.
 *
 * Invariants:
 * 1. A connection with unsent replies is not read from (so unsent bytes are bounded).
 * 2. unsent bytes are always the tail of a whole number of replies, so the place in the reply
 *    pattern follows from their count alone.
 * Failure modes: set-up errors end the program with a message and status 1; an error on a
 * connection closes that connection. */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    READ_BYTES = 65536,
    EVENTS_MAX = 128,
    FD_MAX = 4096,
    VALUE_BYTES_MAX = 1 << 20,
};

struct connection {
    uint32_t carry;  /* bytes of a request begun but not complete */
    uint64_t unsent; /* reply bytes not yet sent */
};

struct echo {
    int epoll;
    size_t request_bytes;
    size_t reply_bytes;
    char *replies; /* as many whole replies as one receive can ask for */
    size_t replies_bytes;
    struct connection connections[FD_MAX]; /* by file descriptor */
    char input[READ_BYTES];
};

/* Listen on 127.0.0.1:port. Ends the program on failure. */
static int listen_on(uint16_t port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (fd < 0)
        err(1, "socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) || listen(fd, 511))
        err(1, "cannot listen on port %u", port);
    return fd;
}

/* Fill e->replies with "$N\r\n<N times x>\r\n", repeated. */
static void make_replies(struct echo *e, size_t value_bytes)
{
    char head[32];
    size_t head_bytes = (size_t)snprintf(head, sizeof(head), "$%zu\r\n", value_bytes);
    size_t count = READ_BYTES / e->request_bytes + 1;

    e->reply_bytes = head_bytes + value_bytes + 2;
    e->replies_bytes = count * e->reply_bytes;
    e->replies = malloc(e->replies_bytes);
    if (!e->replies)
        err(1, "malloc");
    for (size_t i = 0; i < count; i++) {
        char *at = e->replies + i * e->reply_bytes;
        memcpy(at, head, head_bytes);
        memset(at + head_bytes, 'x', value_bytes);
        memcpy(at + head_bytes + value_bytes, "\r\n", 2);
    }
}

static void watch(struct echo *e, int fd, int operation, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.fd = fd};
    if (epoll_ctl(e->epoll, operation, fd, &event))
        err(1, "epoll_ctl");
}

static void accept_all(struct echo *e, int listener)
{
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        if (fd >= FD_MAX) {
            close(fd);
            continue;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        e->connections[fd] = (struct connection){0};
        watch(e, fd, EPOLL_CTL_ADD, EPOLLIN);
    }
}

/* Send what is unsent. Returns false if the connection is to be closed. */
static bool send_unsent(struct echo *e, int fd, bool was_waiting)
{
    struct connection *c = &e->connections[fd];

    while (c->unsent) {
        size_t start = (e->reply_bytes - c->unsent % e->reply_bytes) % e->reply_bytes;
        size_t size = e->replies_bytes - start;
        if (size > c->unsent)
            size = c->unsent;
        ssize_t sent = send(fd, e->replies + start, size, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN)
            return false;
        if (sent < 0)
            break;
        c->unsent -= (size_t)sent;
    }
    if (c->unsent && !was_waiting)
        watch(e, fd, EPOLL_CTL_MOD, EPOLLOUT);
    if (!c->unsent && was_waiting)
        watch(e, fd, EPOLL_CTL_MOD, EPOLLIN);
    return true;
}

/* Answer redis-benchmark's CONFIG GET or tarn bench's PING. Returns false if the connection is to
 * be closed. */
static bool answer_opening(struct echo *e, int fd, size_t size)
{
    const char *answer = e->input[1] == '1' ? "+PONG\r\n" : "*2\r\n$0\r\n\r\n$0\r\n\r\n";
    for (size_t i = 0; i < size; i++)
        if (e->input[i] == '*' && send(fd, answer, strlen(answer), MSG_NOSIGNAL) < 0)
            return false;
    return true;
}

/* Receive once, answer every request completed by it. Returns false if to be closed. */
static bool serve(struct echo *e, int fd)
{
    struct connection *c = &e->connections[fd];
    ssize_t got = recv(fd, e->input, sizeof(e->input), 0);

    if (got <= 0)
        return got < 0 && errno == EAGAIN;
    if (c->carry == 0 && got > 1 && (e->input[1] == '3' || e->input[1] == '1'))
        return answer_opening(e, fd, (size_t)got);
    size_t bytes = c->carry + (size_t)got;
    c->carry = (uint32_t)(bytes % e->request_bytes);
    c->unsent = bytes / e->request_bytes * e->reply_bytes;
    return send_unsent(e, fd, false);
}

static void run(struct echo *e, int listener)
{
    struct epoll_event events[EVENTS_MAX];

    for (;;) {
        int count = epoll_wait(e->epoll, events, EVENTS_MAX, -1);
        if (count < 0 && errno != EINTR)
            err(1, "epoll_wait");
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (fd == listener)
                accept_all(e, listener);
            else if (!(events[i].events & EPOLLOUT ? send_unsent(e, fd, true) : serve(e, fd)))
                close(fd);
        }
    }
}

/* A whole number in [low, high], or the program ends with status 2. */
static size_t number(const char *text, size_t low, size_t high)
{
    char *end;
    unsigned long long value = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || value < low || value > high)
        errx(2, "\"%s\" is not a number from %zu to %zu", text, low, high);
    return (size_t)value;
}

int main(int argc, char **argv)
{
    static struct echo e;

    if (argc < 2 || argc > 4)
        errx(2, "usage: echo PORT [REQUEST_BYTES [VALUE_BYTES]]");
    uint16_t port = (uint16_t)number(argv[1], 1, 65535);
    e.request_bytes = argc > 2 ? number(argv[2], 16, READ_BYTES) : 36;
    make_replies(&e, argc > 3 ? number(argv[3], 0, VALUE_BYTES_MAX) : 64);
    e.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (e.epoll < 0)
        err(1, "epoll_create1");
    int listener = listen_on(port);
    watch(&e, listener, EPOLL_CTL_ADD, EPOLLIN);
    fprintf(stderr, "echo ready port=%u request_bytes=%zu reply_bytes=%zu\n", port, e.request_bytes,
            e.reply_bytes);
    run(&e, listener);
    return 0;
}
