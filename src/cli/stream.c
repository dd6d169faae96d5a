/* A TCP connection with time-outs.
 *
 * How: the socket is non-blocking and every wait is a poll(2) with the time-out.
 *
 * Failure modes: the name is unknown, nobody listens, the peer is silent for too long or hangs up;
 * each is an error that names the peer. After an error the stream can only be closed. */
#include "cli/stream.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/bytes.h"

int stream_address_parse(const char *text, struct stream_address *ret_address,
                         struct tarn_error *error)
{
    struct stream_address address = {.http = strncmp(text, "http://", 7) == 0};
    struct tarn_bytes host_port = bytes_of(address.http ? text + 7 : text);
    struct tarn_error wrong;
    int status;
    if (address.http && host_port.size > 0 && text[strlen(text) - 1] == '/')
        host_port.size--;
    if (!address.http && strstr(text, "://"))
        status = error_set(&wrong, TARN_INVALID, "%.200s: unknown kind of address", text);
    else
        status = socket_host_port_parse(host_port, address.http ? "8379" : "6379", address.host,
                                        address.port, &wrong);
    if (status != TARN_OK)
        return error_set(error, status, "%s%.400s (HOST:PORT or http://HOST:PORT)",
                         address.http ? "http://" : "", wrong.text);
    *ret_address = address;
    return TARN_OK;
}

int stream_open(struct stream *stream, const struct stream_address *address, unsigned timeout_ms,
                struct tarn_error *error)
{
    stream->fd = -1;
    stream->timeout_ms = timeout_ms;
    stream->at = stream->end = 0;
    stream->answered = false;
    socket_host_port_text(address->host, address->port, stream->name);
    struct tarn_error wrong;
    int status = socket_connect(address->host, address->port, timeout_ms, &stream->fd, &wrong);
    bool refused = status != TARN_OK && errno == ECONNREFUSED;
    if (status != TARN_OK)
        return error_set(error, status, "%s%s", wrong.text,
                         refused ? " (is tarn serve running there?)" : "");
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
            int e = socket_wait(stream->fd, POLLOUT, stream->timeout_ms);
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
        int e = socket_wait(stream->fd, POLLIN, stream->timeout_ms);
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

/* Unread bytes, at least one and at most `size`. */
static int take_part(struct stream *stream, uint64_t size, struct tarn_bytes *ret_part,
                     struct tarn_error *error)
{
    if (stream->at == stream->end) {
        int status = fill(stream, error);
        if (status != TARN_OK)
            return status;
    }
    size_t part = stream->end - stream->at;
    if (part > size)
        part = (size_t)size;
    *ret_part = (struct tarn_bytes){stream->data + stream->at, part};
    stream->at += part;
    return TARN_OK;
}

int stream_read(struct stream *stream, void *to, size_t size, struct tarn_error *error)
{
    struct tarn_bytes part;
    for (size_t at = 0; at < size; at += part.size) {
        int status = take_part(stream, size - at, &part, error);
        if (status != TARN_OK)
            return status;
        memcpy((char *)to + at, part.data, part.size);
    }
    return TARN_OK;
}

int stream_copy(struct stream *stream, uint64_t size, FILE *to, struct tarn_error *error)
{
    struct tarn_bytes part;
    for (; size > 0; size -= part.size) {
        int status = take_part(stream, size, &part, error);
        if (status != TARN_OK)
            return status;
        if (to)
            fwrite(part.data, 1, part.size, to); /* see the declaration */
    }
    return TARN_OK;
}
