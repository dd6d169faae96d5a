/* Sockets beyond moving bytes: addresses from and to text, connecting, waiting for one socket,
 * closing one direction, how many descriptors there may be. Conveniences of clients and figures for
 * servers, not effects a test would want to fail; bytes go through struct os. */
#ifndef OS_SOCKET_H
#define OS_SOCKET_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "core/status.h"

#define SOCKET_ADDRESS_BYTES_MAX 64 /* "[ffff:...%scope]:65535" and its NUL */

/* "127.0.0.1:6379", "[::1]:6379", or "?:0" for anything that is not IP. */
void socket_address_text(const struct sockaddr_storage *address,
                         char out[SOCKET_ADDRESS_BYTES_MAX]);
/* The same of a socket's own end. */
void socket_local_text(int fd, char out[SOCKET_ADDRESS_BYTES_MAX]);
uint16_t socket_local_port(int fd); /* 0 when unknown */

/* --- clients --- */

#define SOCKET_HOST_BYTES_MAX 256 /* a name or address and its NUL */
#define SOCKET_PORT_BYTES_MAX 6   /* "65535" and its NUL */
#define SOCKET_NAME_BYTES_MAX 280 /* "[host]:port" and its NUL */

/* One "HOST:PORT", "HOST", "[IPV6]:PORT" or "[IPV6]"; the whole of text. Outputs are
 * NUL-terminated, the host without brackets. default_port: where text names none; NULL: it must.
 * Errors: INVALID, "TEXT: reason". */
TARN_MUST int socket_host_port_parse(struct tarn_bytes text, const char *default_port,
                                     char ret_host[SOCKET_HOST_BYTES_MAX],
                                     char ret_port[SOCKET_PORT_BYTES_MAX],
                                     struct tarn_error *error);
/* The two together again, for messages: "host:port" or "[::1]:port". */
void socket_host_port_text(const char *host, const char *port, char out[SOCKET_NAME_BYTES_MAX]);

/* Resolve and connect, trying every address the name has, each for at most timeout_ms. The socket
 * is non-blocking, close-on-exec and sends small writes at once (TCP_NODELAY). host, port: as
 * parsed; the caller closes *ret_fd. Errors: IO, "cannot find HOST: ..." or "cannot connect to
 * HOST:PORT: ..."; errno is then that of the last address tried (ECONNREFUSED: nobody listens), 0
 * when none was found. */
TARN_MUST int socket_connect(const char *host, const char *port, unsigned timeout_ms, int *ret_fd,
                             struct tarn_error *error);

/* Wait until the socket is ready for `events` (POLLIN, POLLOUT) or has failed. 0, or a negative
 * errno: -ETIMEDOUT after timeout_ms. */
TARN_MUST int socket_wait(int fd, short events, unsigned timeout_ms);

/* Is the peer of a connected socket this machine: a loopback address, our own end's address, or not
 * on a network at all? false when unknown. */
bool socket_is_local(int fd);

/* --- both ends --- */

/* Send a FIN after what is sent already; reading goes on. */
void socket_finish_sending(int fd);

/* Raise the soft limit on open files to `wanted` or as near as allowed; returns the limit now in
 * force. */
uint64_t socket_raise_limit(uint64_t wanted);

#endif
