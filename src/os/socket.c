/* Addresses as text and limits of descriptors. Failure modes: none; what cannot be found out is
 * shown as unknown. */
#include "os/socket.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/resource.h>

void socket_address_text(const struct sockaddr_storage *address, char out[SOCKET_ADDRESS_BYTES_MAX])
{
    char host[INET6_ADDRSTRLEN] = "?";
    if (address->ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;
        inet_ntop(AF_INET, &v4->sin_addr, host, sizeof host);
        snprintf(out, SOCKET_ADDRESS_BYTES_MAX, "%s:%u", host, ntohs(v4->sin_port));
    } else if (address->ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;
        inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host);
        snprintf(out, SOCKET_ADDRESS_BYTES_MAX, "[%s]:%u", host, ntohs(v6->sin6_port));
    } else {
        snprintf(out, SOCKET_ADDRESS_BYTES_MAX, "?:0");
    }
}

static bool local_address(int fd, struct sockaddr_storage *ret_address)
{
    socklen_t size = sizeof *ret_address;
    return getsockname(fd, (struct sockaddr *)ret_address, &size) == 0;
}

void socket_local_text(int fd, char out[SOCKET_ADDRESS_BYTES_MAX])
{
    struct sockaddr_storage address = {0};
    (void)local_address(fd, &address); /* zeroed: shown as unknown */
    socket_address_text(&address, out);
}

uint16_t socket_local_port(int fd)
{
    struct sockaddr_storage address;
    if (!local_address(fd, &address))
        return 0;
    if (address.ss_family == AF_INET)
        return ntohs(((const struct sockaddr_in *)&address)->sin_port);
    if (address.ss_family == AF_INET6)
        return ntohs(((const struct sockaddr_in6 *)&address)->sin6_port);
    return 0;
}

void socket_finish_sending(int fd)
{
    (void)shutdown(fd, SHUT_WR); /* it fails only when the peer has gone already */
}

uint64_t socket_raise_limit(uint64_t wanted)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 0;
    if (limit.rlim_cur >= wanted)
        return limit.rlim_cur;
    struct rlimit raised = limit;
    raised.rlim_cur = wanted;
    if (raised.rlim_max < wanted)
        raised.rlim_max = wanted; /* root may */
    if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
        return wanted;
    raised = limit;
    raised.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
    if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
        return raised.rlim_cur;
    return limit.rlim_cur;
}
