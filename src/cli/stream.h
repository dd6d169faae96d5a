/* A blocking TCP connection with time-outs and a small read buffer: what commands that ask a server
 * speak RESP and HTTP over. One thread. */
#ifndef CLI_STREAM_H
#define CLI_STREAM_H

#include <stdio.h>

#include "core/buffer.h"
#include "core/status.h"
#include "os/socket.h"

#define STREAM_BUFFER_BYTES 65536
#define STREAM_LINE_MAX     16384 /* longest line accepted from a server */

/* Where a server is: "HOST:PORT", "HOST", "[::1]:PORT", any of them after "http://". */
struct stream_address {
    char host[SOCKET_HOST_BYTES_MAX];
    char port[SOCKET_PORT_BYTES_MAX];
    bool http;
};

/* Errors: INVALID. */
TARN_MUST int stream_address_parse(const char *text, struct stream_address *ret_address,
                                   struct tarn_error *error);

struct stream {
    int fd;                           /* -1: closed */
    unsigned timeout_ms;              /* for connecting, and for each wait for the peer */
    char name[SOCKET_NAME_BYTES_MAX]; /* "host:port" for messages */
    bool answered;                    /* something was received */
    size_t at, end;                   /* unread bytes in data */
    char data[STREAM_BUFFER_BYTES];
};

/* Resolve and connect, trying each address. Errors: IO. */
TARN_MUST int stream_open(struct stream *stream, const struct stream_address *address,
                          unsigned timeout_ms, struct tarn_error *error);
void stream_close(struct stream *stream); /* allowed twice */

TARN_MUST int stream_send(struct stream *stream, struct tarn_bytes data, struct tarn_error *error);

/* One line without its "\r\n" or "\n", NUL-terminated in out. Errors: IO, CORRUPT (too long). */
TARN_MUST int stream_line(struct stream *stream, char out[STREAM_LINE_MAX],
                          struct tarn_error *error);

/* Exactly `size` bytes. Errors: IO. */
TARN_MUST int stream_read(struct stream *stream, void *to, size_t size, struct tarn_error *error);

/* Hand `size` bytes on to `to` (NULL: throw them away). A failing `to` shows in ferror(to). */
TARN_MUST int stream_copy(struct stream *stream, uint64_t size, FILE *to, struct tarn_error *error);

#endif
