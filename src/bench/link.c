/* One socket: connecting with the opening exchange, sending, receiving, requests in flight.
 *
 * How: EPOLLIN is armed from connecting to closing, EPOLLOUT only while the socket has taken less
 * than all there was to send: a request costs no system call of the loop's. Input is read into one
 * block that is emptied by decoding, so that the same cache lines are used again; what is left of
 * an incomplete answer is moved to its front before the next receive.
 *
 * Invariants
 * 1. fd >= 0 exactly while the socket is in the loop's set.
 * 2. out_sent <= out.size; in_taken <= in.size; queued <= count <= mask + 1.
 * 3. The input's block grows only when it is full of bytes that really came: a peer that announces
 *    a gigabyte and sends nothing costs nothing.
 * Failure modes: a peer that closes, resets, is silent, answers what nobody asked, or cannot be
 * reached: each an error that names the server. */
#include "bench/link.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "core/assert.h"
#include "os/socket.h"

#define INPUT_BYTES     ((size_t)64 << 10)
#define ROOMY_RECEIVES  64 /* so many in a row that need a quarter or less, and it shrinks */
#define HELLO_BYTES_MAX ((size_t)1 << 20)

/* --- memory --- */

int link_init(struct link *l, const struct link_options *options, struct tarn_error *error)
{
    size_t places = 1, records;
    while (places < options->pipeline_max)
        places *= 2;
    *l = (struct link){
        .os = options->os,
        .loop = options->loop,
        .protocol = options->protocol,
        .server = options->server,
        .timeout_ms = options->timeout_ms,
        .fd = -1,
        .mask = places - 1,
        .batch_max = options->batch_max,
    };
    if (__builtin_mul_overflow(places, options->batch_max, &records))
        records = SIZE_MAX;
    l->requests = reallocarray(NULL, places, sizeof *l->requests);
    l->records = reallocarray(NULL, records, sizeof *l->records);
    if (l->requests && l->records)
        return TARN_OK;
    link_done(l);
    return error_set(error, TARN_NOMEM, "no memory for a connection of %zu requests of %zu keys",
                     options->pipeline_max, options->batch_max);
}

static void close_socket(struct link *l)
{
    if (l->fd < 0)
        return;
    loop_remove(l->loop, l->fd);
    (void)l->os->close(l->os, l->fd); /* nothing is lost with it */
    l->fd = -1;
    l->waits_to_send = false;
}

void link_done(struct link *l)
{
    if (!l->os)
        return;
    close_socket(l);
    buffer_done(&l->out);
    buffer_done(&l->in);
    free(l->requests);
    free(l->records);
    *l = (struct link){.fd = -1};
}

/* --- requests in flight --- */

struct request *link_push(struct link *l)
{
    ASSERT(l->count <= l->mask);
    l->count++;
    l->queued++;
    return link_request(l, l->count - 1);
}

void link_pop(struct link *l)
{
    ASSERT(link_waiting(l) > 0);
    l->first = link_place(l, 1);
    l->count--;
}

/* --- errors --- */

int link_closed_error(const struct link *l, struct tarn_error *error)
{
    size_t n = link_waiting(l);
    return error_set(error, TARN_IO, "%s closed the connection with %zu request%s unanswered",
                     l->server->name, n, n == 1 ? "" : "s");
}

int link_silence_error(const struct link *l, uint64_t now_ns, struct tarn_error *error)
{
    size_t n = link_waiting(l);
    if (n == 0 || now_ns < l->progress_ns ||
        (now_ns - l->progress_ns) / 1000000 < (uint64_t)l->timeout_ms)
        return TARN_OK;
    return error_set(error, TARN_IO, "%s was silent for %u ms with %zu request%s unanswered",
                     l->server->name, l->timeout_ms, n, n == 1 ? "" : "s");
}

int link_malformed_error(const struct link *l, struct tarn_bytes text, struct tarn_error *error)
{
    return error_set(error, TARN_CORRUPT, "%s: %.*s", l->server->name,
                     (int)(text.size < 300 ? text.size : 300), (const char *)text.data);
}

static int system_error(const struct link *l, const char *what, int negative_errno,
                        struct tarn_error *error)
{
    return error_set(error, TARN_IO, "cannot %s %s: %s", what, l->server->name,
                     strerror(-negative_errno));
}

static int no_memory(const struct link *l, struct tarn_error *error)
{
    return error_set(error, TARN_NOMEM, "no memory for the bytes to and from %s", l->server->name);
}

/* --- bytes --- */

/* Everything went out. */
static int output_emptied(struct link *l, struct tarn_error *error)
{
    buffer_clear(&l->out);
    l->out_sent = 0;
    if (!l->waits_to_send)
        return TARN_OK;
    l->waits_to_send = false;
    int e = loop_modify(l->loop, l->fd, EPOLLIN, l);
    return e == 0 ? TARN_OK : system_error(l, "watch", e, error);
}

static int wait_to_send(struct link *l, struct tarn_error *error)
{
    if (l->waits_to_send)
        return TARN_OK;
    int e = loop_modify(l->loop, l->fd, EPOLLIN | EPOLLOUT, l);
    if (e != 0)
        return system_error(l, "watch", e, error);
    l->waits_to_send = true;
    return TARN_OK;
}

/* One send; a short one, or none, is success. */
static int send_some(struct link *l, size_t *ret_size, struct tarn_error *error)
{
    struct iovec part = {l->out.data + l->out_sent, l->out.size - l->out_sent};
    if (l->out.failed)
        return no_memory(l, error);
    *ret_size = 0;
    int e = part.iov_len > 0 ? l->os->send(l->os, l->fd, &part, 1, ret_size) : 0;
    if (e == -EPIPE || e == -ECONNRESET)
        *ret_size = part.iov_len; /* receiving finds out */
    else if (e != 0 && e != -EAGAIN)
        return system_error(l, "send to", e, error);
    l->out_sent += *ret_size;
    return TARN_OK;
}

int link_send_rest(struct link *l, struct tally *tally, struct tarn_error *error)
{
    size_t size;
    int status = send_some(l, &size, error);
    if (status != TARN_OK)
        return status;
    tally_add(&tally->bytes_sent, size);
    return l->out_sent == l->out.size ? output_emptied(l, error) : wait_to_send(l, error);
}

int link_send(struct link *l, uint64_t now_ns, struct tally *tally, struct tarn_error *error)
{
    ASSERT(l->fd >= 0);
    if (link_waiting(l) == 0)
        l->progress_ns = now_ns; /* silence counts from when an answer is owed */
    l->sent_ns = now_ns;
    l->queued = 0;
    if (l->waits_to_send && !l->out.failed)
        return TARN_OK; /* behind what the socket has not taken yet */
    return link_send_rest(l, tally, error);
}

/* All input was decoded. */
static void input_emptied(struct link *l)
{
    l->in_roomy = l->in.size <= l->in.capacity / 4 ? l->in_roomy + 1 : 0;
    buffer_clear(&l->in);
    l->in_taken = 0;
    if (l->in_roomy < ROOMY_RECEIVES)
        return;
    buffer_trim(&l->in, l->in.capacity / 4 > INPUT_BYTES ? l->in.capacity / 4 : INPUT_BYTES);
    l->in_roomy = 0;
}

/* Room for at least one more byte. */
static bool make_room(struct link *l)
{
    if (l->in_taken == l->in.size) {
        input_emptied(l);
    } else if (l->in_taken > 0) {
        buffer_consume(&l->in, l->in_taken);
        l->in_taken = 0;
    }
    if (l->in.size < l->in.capacity)
        return true;
    return buffer_reserve(&l->in, l->in.capacity > 0 ? l->in.capacity : INPUT_BYTES);
}

int link_receive(struct link *l, struct tally *tally, bool *ret_closed, struct tarn_error *error)
{
    size_t size = 0;
    if (!make_room(l))
        return no_memory(l, error);
    int e =
        l->os->receive(l->os, l->fd, l->in.data + l->in.size, l->in.capacity - l->in.size, &size);
    *ret_closed = (e == 0 && size == 0) || e == -ECONNRESET || e == -EPIPE;
    if (e != 0 && e != -EAGAIN && !*ret_closed)
        return system_error(l, "receive from", e, error);
    l->in.size += size;
    tally_add(&tally->bytes_received, size);
    return TARN_OK;
}

/* --- connecting --- */

static int hello_wait(struct link *l, short events, struct tarn_error *error)
{
    int e = socket_wait(l->fd, events, l->timeout_ms);
    if (e == -ETIMEDOUT)
        return error_set(error, TARN_IO, "%s took the connection and said nothing for %u ms",
                         l->server->name, l->timeout_ms);
    return e == 0 ? TARN_OK : system_error(l, "wait for", e, error);
}

static int hello_send(struct link *l, struct tarn_error *error)
{
    int status = TARN_OK;
    while (status == TARN_OK && (l->out.failed || l->out_sent < l->out.size)) {
        size_t size;
        status = send_some(l, &size, error);
        if (status == TARN_OK && l->out_sent < l->out.size)
            status = hello_wait(l, POLLOUT, error);
    }
    buffer_clear(&l->out);
    l->out_sent = 0;
    return status;
}

static int hello_receive(struct link *l, struct tarn_error *error)
{
    struct tally ignored = {0}; /* no phase runs: nobody counts these bytes */
    bool closed;
    int status = hello_wait(l, POLLIN, error);
    if (status == TARN_OK)
        status = link_receive(l, &ignored, &closed, error);
    if (status == TARN_OK && closed)
        status = error_set(error, TARN_IO, "%s closed the connection at once", l->server->name);
    if (status == TARN_OK && l->in.size > HELLO_BYTES_MAX)
        status = link_malformed_error(l, bytes_of("the opening exchange has no end"), error);
    return status;
}

/* The server's refusal as our error. */
static int refused(const struct link *l, struct tarn_bytes text, struct tarn_error *error)
{
    char excerpt[PROTOCOL_EXCERPT_BYTES_MAX];
    protocol_excerpt(text, excerpt);
    bool denied = strncmp(excerpt, "NOAUTH", 6) == 0 || strncmp(excerpt, "WRONGPASS", 9) == 0 ||
                  strncmp(excerpt, "NOPERM", 6) == 0;
    return error_set(error, denied ? TARN_DENIED : TARN_INVALID, "%s: %s%s", l->server->name,
                     excerpt, strncmp(excerpt, "NOAUTH", 6) == 0 ? " (use --password)" : "");
}

/* Take one reply of the opening exchange. */
static int hello_take(struct link *l, struct protocol_reply *reply, struct tarn_error *error)
{
    for (;;) {
        size_t size = 0;
        switch (l->protocol->decode(REQUEST_HELLO, NULL, 0, link_input(l), reply, &size)) {
        case PROTOCOL_COMPLETE:
            link_take(l, size);
            return reply->error ? refused(l, reply->error_text, error) : TARN_OK;
        case PROTOCOL_INCOMPLETE:
            break;
        case PROTOCOL_MALFORMED:
            return link_malformed_error(l, reply->error_text, error);
        default:
            return no_memory(l, error);
        }
        int status = hello_receive(l, error);
        if (status != TARN_OK)
            return status;
    }
}

static int greet(struct link *l, struct tarn_error *error)
{
    struct protocol_reply reply = {0};
    unsigned replies = l->protocol->hello(&l->server->peer, &l->out);
    int status = hello_send(l, error);
    for (unsigned i = 0; i < replies && status == TARN_OK; i++)
        status = hello_take(l, &reply, error);
    if (status == TARN_OK && link_input(l).size > 0)
        status = link_malformed_error(l, bytes_of("it says more than it was asked"), error);
    protocol_reply_done(&reply);
    return status;
}

static void forget_bytes(struct link *l)
{
    buffer_clear(&l->out);
    buffer_clear(&l->in);
    l->out_sent = l->in_taken = l->in_needed = 0;
}

int link_connect(struct link *l, struct tarn_error *error)
{
    ASSERT(l->fd < 0);
    int fd, e;
    forget_bytes(l);
    int status = socket_connect(l->server->host, l->server->port, l->timeout_ms, &fd, error);
    if (status != TARN_OK)
        return status;
    e = loop_add(l->loop, fd, EPOLLIN, l);
    if (e != 0) {
        (void)l->os->close(l->os, fd);
        return system_error(l, "watch", e, error);
    }
    l->fd = fd;
    status = greet(l, error);
    if (status != TARN_OK)
        close_socket(l);
    return status;
}

void link_disconnect(struct link *l)
{
    for (size_t i = 0; i < link_waiting(l); i++) {
        struct request *request = link_request(l, i);
        request->start_ns = link_started_ns(l, request);
        request->ready_ns = 0; /* its lateness was counted when it was sent */
    }
    l->queued = l->count;
    close_socket(l);
    forget_bytes(l);
}
