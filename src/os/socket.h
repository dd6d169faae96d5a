/* What a server wants to know of its sockets and descriptors beyond moving bytes: addresses as
 * text, closing one direction, how many descriptors there may be. Figures and conveniences, not
 * effects a test would want to fail; bytes go through struct os. */
#ifndef OS_SOCKET_H
#define OS_SOCKET_H

#include <stdint.h>
#include <sys/socket.h>

#include "tarn.h"

#define SOCKET_ADDRESS_BYTES_MAX 64 /* "[ffff:...%scope]:65535" and its NUL */

/* "127.0.0.1:6379", "[::1]:6379", or "?:0" for anything that is not IP. */
void socket_address_text(const struct sockaddr_storage *address,
                         char out[SOCKET_ADDRESS_BYTES_MAX]);
/* The same of a socket's own end. */
void socket_local_text(int fd, char out[SOCKET_ADDRESS_BYTES_MAX]);
uint16_t socket_local_port(int fd); /* 0 when unknown */

/* Send a FIN after what is sent already; reading goes on. */
void socket_finish_sending(int fd);

/* Raise the soft limit on open files to `wanted` or as near as allowed; returns the limit now in
 * force. */
uint64_t socket_raise_limit(uint64_t wanted);

#endif
