/* A TCP connection with time-outs.
 *
 * How: the socket is non-blocking and every wait is a poll(2) with the time-out; connecting tries
 * every address the name has.
 *
 * Failure modes: the name is unknown, nobody listens, the peer is silent for too long or hangs up;
 * each is an error that names the peer. After an error the stream can only be closed. */
#include "cli/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/bytes.h"
#include "core/number.h"

static int bad_address(const char *text, const char *why, struct tarn_error *error)
{
    return error_set(error, TARN_INVALID, "%.200s: %s (HOST:PORT or http://HOST:PORT)", text, why);
}

int stream_address_parse(const char *text, struct stream_address *ret_address,
                         struct tarn_error *error)
{
    struct stream_address address = {.http = strncmp(text, "http://", 7) == 0};
    const char *host = address.http ? text + 7 : text, *host_end, *port = NULL;
    size_t size = strlen(host);
    if (!address.http && strstr(text, "://"))
        return bad_address(text, "unknown kind of address", error);
    if (address.http && size > 0 && host[size - 1] == '/')
        size--;
    const char *end = host + size;
    if (size > 0 && host[0] == '[') {
        host_end = memchr(++host, ']', size - 1);
        if (!host_end || (host_end + 1 < end && host_end[1] != ':'))
            return bad_address(text, "not an address", error);
        if (host_end + 1 < end)
            port = host_end + 2;
    } else {
        host_end = memchr(host, ':', size);
        if (host_end)
            port = host_end + 1;
        else
            host_end = end;
        if (port && memchr(port, ':', (size_t)(end - port)))
            return bad_address(text, "write an IPv6 address in brackets, [::1]:6379", error);
    }
    uint64_t number = address.http ? 8379 : 6379;
    size_t host_size = (size_t)(host_end - host);
    if (host_size == 0 || host_size >= sizeof address.host || memchr(host, '/', host_size))
        return bad_address(text, "not an address", error);
    if (port && (!number_parse_uint((struct tarn_bytes){port, (size_t)(end - port)}, &number) ||
                 number == 0 || number > 65535))
        return bad_address(text, "not a port from 1 to 65535", error);
    memcpy(address.host, host, host_size);
    snprintf(address.port, sizeof address.port, "%u", (unsigned)(number & 0xffff));
    *ret_address = address;
    return TARN_OK;
}

/* Wait until the socket is ready. 0, or a negative errno. */
static int wait_for(int fd, short events, int timeout_ms)
{
    struct pollfd poll_fd = {.fd = fd, .events = events};
    int n;
    do
        n = poll(&poll_fd, 1, timeout_ms);
    while (n < 0 && errno == EINTR);
    return n > 0 ? 0 : n == 0 ? -ETIMEDOUT : -errno;
}

/* Connect to one address: a descriptor, or a negative errno. */
static int connect_one(const struct addrinfo *info, int timeout_ms)
{
    int fd = socket(info->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int e = 0;
    if (connect(fd, info->ai_addr, info->ai_addrlen) != 0) {
        e = -errno;
        if (e == -EINPROGRESS) {
            e = wait_for(fd, POLLOUT, timeout_ms);
            int failure = 0;
            socklen_t size = sizeof failure;
            if (e == 0 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &size) == 0)
                e = -failure;
        }
    }
    if (e == 0)
        return fd;
    close(fd);
    return e;
}

int stream_open(struct stream *stream, const struct stream_address *address, int timeout_ms,
                struct tarn_error *error)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *list;
    stream->fd = -1;
    stream->timeout_ms = timeout_ms;
    stream->at = stream->end = 0;
    stream->answered = false;
    bool v6 = strchr(address->host, ':') != NULL;
    snprintf(stream->name, sizeof stream->name, v6 ? "[%s]:%s" : "%s:%s", address->host,
             address->port);
    int failure = getaddrinfo(address->host, address->port, &hints, &list);
    if (failure != 0)
        return error_set(error, TARN_IO, "cannot find %s: %s", address->host,
                         failure == EAI_SYSTEM ? strerror(errno) : gai_strerror(failure));
    int e = -EADDRNOTAVAIL;
    for (const struct addrinfo *info = list; info && stream->fd < 0; info = info->ai_next) {
        e = connect_one(info, timeout_ms);
        if (e >= 0)
            stream->fd = e;
    }
    freeaddrinfo(list);
    if (stream->fd < 0)
        return error_set(error, TARN_IO, "cannot connect to %s: %s%s", stream->name, strerror(-e),
                         e == -ECONNREFUSED ? " (is tarn serve running there?)" : "");
    return TARN_OK;
}

void stream_close(struct stream *stream)
{
    if (stream->fd >= 0)
        close(stream->fd);
    stream->fd = -1;
}

static int fail(const struct stream *stream, int negative_errno, struct tarn_error *error)
{
    if (negative_errno == -ETIMEDOUT)
        return error_set(error, TARN_IO, "%s: no answer within %g s (see --timeout)", stream->name,
                         stream->timeout_ms / 1000.0);
    return error_set(error, TARN_IO, "%s: %s", stream->name, strerror(-negative_errno));
}

int stream_send(struct stream *stream, struct tarn_bytes data, struct tarn_error *error)
{
    const char *p = data.data;
    size_t left = data.size;
    while (left > 0) {
        ssize_t n = send(stream->fd, p, left, MSG_NOSIGNAL);
        if (n >= 0) {
            p += n;
            left -= (size_t)n;
        } else if (errno == EAGAIN) {
            int e = wait_for(stream->fd, POLLOUT, stream->timeout_ms);
            if (e < 0)
                return fail(stream, e, error);
        } else if (errno != EINTR) {
            return fail(stream, -errno, error);
        }
    }
    return TARN_OK;
}

/* Read what there is, waiting for at least one byte, when the buffer is empty. */
static int fill(struct stream *stream, struct tarn_error *error)
{
    for (;;) {
        ssize_t n = recv(stream->fd, stream->data, sizeof stream->data, 0);
        if (n > 0) {
            stream->answered = true;
            stream->at = 0;
            stream->end = (size_t)n;
            return TARN_OK;
        }
        if (n == 0)
            return error_set(error, TARN_IO, "%s: the server closed the connection%s", stream->name,
                             stream->answered ? ""
                                              : " without an answer; is this the right port, and "
                                                "http:// if it speaks HTTP?");
        if (errno != EAGAIN && errno != EINTR)
            return fail(stream, -errno, error);
        int e = wait_for(stream->fd, POLLIN, stream->timeout_ms);
        if (e < 0)
            return fail(stream, e, error);
    }
}

int stream_line(struct stream *stream, char out[STREAM_LINE_MAX], struct tarn_error *error)
{
    size_t size = 0;
    for (;;) {
        if (stream->at == stream->end) {
            int status = fill(stream, error);
            if (status != TARN_OK)
                return status;
        }
        char c = stream->data[stream->at++];
        if (c == '\n')
            break;
        if (size + 1 >= STREAM_LINE_MAX)
            return error_set(error, TARN_CORRUPT, "%s: a line of more than 16 KiB; is it tarn?",
                             stream->name);
        out[size++] = c;
    }
    if (size > 0 && out[size - 1] == '\r')
        size--;
    out[size] = 0;
    return TARN_OK;
}

int stream_copy(struct stream *stream, uint64_t size, FILE *to, struct tarn_error *error)
{
    while (size > 0) {
        if (stream->at == stream->end) {
            int status = fill(stream, error);
            if (status != TARN_OK)
                return status;
        }
        size_t part = stream->end - stream->at;
        if (part > size)
            part = (size_t)size;
        if (to)
            fwrite(stream->data + stream->at, 1, part, to); /* see the declaration */
        stream->at += part;
        size -= part;
    }
    return TARN_OK;
}
