/* Listening: one socket for each worker and bind address, sharing the port by SO_REUSEPORT, so
 * that the kernel spreads connections over the workers.
 *
 * With a shared port a second server could bind beside us unnoticed. So each address is first
 * bound without sharing, which fails if anybody else has the port; that socket also picks the
 * number for port 0. With one worker it is the listening socket itself.
 * Failure modes: each names address and port and says what to do; nothing stays open. */
#include <errno.h>
#include <stdlib.h>

#include "os/socket.h"
#include "server/state.h"

#define BACKLOG           4096 /* the kernel cuts it to net.core.somaxconn */
#define ADDRESSES_MAX     64
#define ADDRESS_BYTES_MAX 63

static int listen_error(struct tarn_error *error, int status, const char *address, uint16_t port)
{
    switch (status) {
    case -EADDRINUSE:
        return error_set(error, TARN_BUSY,
                         "port %u of %s is in use: stop the server that has it, or choose another "
                         "with --port",
                         port, address);
    case -EACCES:
    case -EPERM:
        return error_set(error, TARN_DENIED,
                         "no permission to listen on port %u of %s: choose one above 1023 with "
                         "--port",
                         port, address);
    case -EADDRNOTAVAIL:
        return error_set(error, TARN_INVALID,
                         "cannot listen on %s: no interface of this machine has that address; "
                         "choose another with --bind",
                         address);
    case -EINVAL:
        return error_set(error, TARN_INVALID,
                         "cannot listen on \"%s\": --bind takes numeric addresses such as "
                         "127.0.0.1 or ::1",
                         address);
    default:
        return error_set(error, os_status(status), "cannot listen on port %u of %s: %s", port,
                         address, strerror(-status));
    }
}

/* Open the sockets of one address: fds[0], fds[stride], ... *port is set if it was 0. */
static int listen_address(const struct os *os, const char *address, uint16_t *port,
                          unsigned workers_count, int *fds, size_t stride, struct tarn_error *error)
{
    int status = os->listen(os, address, *port, BACKLOG, false, &fds[0]);
    if (status != 0)
        return listen_error(error, status, address, *port);
    if (*port == 0)
        *port = socket_local_port(fds[0]);
    if (workers_count == 1)
        return TARN_OK;
    (void)os->close(os, fds[0]);
    fds[0] = -1;
    for (unsigned i = 0; i < workers_count; i++) {
        status = os->listen(os, address, *port, BACKLOG, true, &fds[i * stride]);
        if (status != 0) {
            fds[i * stride] = -1;
            return listen_error(error, status, address, *port);
        }
    }
    return TARN_OK;
}

/* The next address of a comma-separated list, spaces around it dropped. False at its end. */
static bool next_address(const char **list, char out[ADDRESS_BYTES_MAX + 1])
{
    const char *p = *list + strspn(*list, ", ");
    size_t size = strcspn(p, ", ");
    *list = p + size;
    if (size > ADDRESS_BYTES_MAX)
        size = ADDRESS_BYTES_MAX; /* no numeric address is so long: it will not parse */
    memcpy(out, p, size);
    out[size] = 0;
    return size > 0;
}

static size_t count_addresses(const char *list)
{
    char address[ADDRESS_BYTES_MAX + 1];
    size_t count = 0;
    while (count <= ADDRESSES_MAX && next_address(&list, address))
        count++;
    return count;
}

int server_listen(const struct os *os, const char *addresses, uint16_t port, unsigned workers_count,
                  int **ret_fds, size_t *ret_addresses_count, uint16_t *ret_port,
                  struct tarn_error *error)
{
    size_t count = count_addresses(addresses);
    if (count == 0 || count > ADDRESSES_MAX)
        return error_set(error, TARN_INVALID, "--bind: give 1 to %d numeric addresses",
                         ADDRESSES_MAX);
    size_t fds_count = count * workers_count;
    int *fds = malloc(fds_count * sizeof *fds);
    if (fds == NULL)
        return error_set(error, TARN_NOMEM, "out of memory for the listening sockets");
    for (size_t i = 0; i < fds_count; i++)
        fds[i] = -1;
    char address[ADDRESS_BYTES_MAX + 1];
    int status = TARN_OK;
    for (size_t i = 0; i < count && status == TARN_OK; i++) {
        (void)next_address(&addresses, address); /* there are `count` */
        status = listen_address(os, address, &port, workers_count, fds + i, count, error);
    }
    if (status != TARN_OK) {
        for (size_t i = 0; i < fds_count; i++)
            if (fds[i] >= 0)
                (void)os->close(os, fds[i]);
        free(fds);
        return status;
    }
    *ret_fds = fds;
    *ret_addresses_count = count;
    *ret_port = port;
    return TARN_OK;
}
