/* Addresses as text, connecting, limits of descriptors.
 *
 * How: connecting tries every address the name has, in the resolver's order; each is a non-blocking
 * connect(2) and a poll(2) with the time-out.
 *
 * Failure modes: a bad address, an unknown name, nobody who listens, a peer that is silent: each
 * is an error that names what was asked for. Of figures, what cannot be found out is unknown. */
#include "os/socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "core/number.h"

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

static int bad_address(struct tarn_bytes text, const char *why, struct tarn_error *error)
{
    return error_set(error, TARN_INVALID, "%.*s: %s", (int)(text.size < 200 ? text.size : 200),
                     (const char *)text.data, why);
}

/* Cut text in two, the port's view empty with data NULL where there is none. NULL, or what is
 * wrong. */
static const char *split_host_port(struct tarn_bytes text, struct tarn_bytes *ret_host,
                                   struct tarn_bytes *ret_port)
{
    const char *host = text.data, *end = host + text.size, *host_end;
    const char *port = NULL;
    if (text.size > 0 && host[0] == '[') {
        host_end = memchr(++host, ']', text.size - 1);
        if (!host_end || (host_end + 1 < end && host_end[1] != ':'))
            return "not an address";
        if (host_end + 1 < end)
            port = host_end + 2;
    } else {
        host_end = text.size > 0 ? memchr(host, ':', text.size) : NULL;
        if (host_end)
            port = host_end + 1;
        else
            host_end = end;
        if (port && memchr(port, ':', (size_t)(end - port)))
            return "write an IPv6 address in brackets, [::1]:6379";
    }
    *ret_host = (struct tarn_bytes){host, (size_t)(host_end - host)};
    *ret_port = (struct tarn_bytes){port, port ? (size_t)(end - port) : 0};
    return NULL;
}

/* Can this be a host? The resolver says whether it is one. */
static bool is_host(struct tarn_bytes host)
{
    const unsigned char *p = host.data;
    for (size_t i = 0; i < host.size; i++)
        if (p[i] <= ' ' || p[i] == 0x7f || p[i] == '/')
            return false;
    return host.size > 0 && host.size < SOCKET_HOST_BYTES_MAX;
}

int socket_host_port_parse(struct tarn_bytes text, const char *default_port,
                           char ret_host[SOCKET_HOST_BYTES_MAX],
                           char ret_port[SOCKET_PORT_BYTES_MAX], struct tarn_error *error)
{
    struct tarn_bytes host, port;
    uint64_t number;
    const char *why = split_host_port(text, &host, &port);
    if (why)
        return bad_address(text, why, error);
    if (!is_host(host))
        return bad_address(text, "not an address", error);
    if (!port.data && default_port)
        port = bytes_of(default_port);
    if (!port.data)
        return bad_address(text, "no port; write HOST:PORT", error);
    if (!number_parse_uint(port, &number) || number == 0 || number > 65535)
        return bad_address(text, "not a port from 1 to 65535", error);
    memcpy(ret_host, host.data, host.size);
    ret_host[host.size] = 0;
    snprintf(ret_port, SOCKET_PORT_BYTES_MAX, "%u", (unsigned)(number & 0xffff));
    return TARN_OK;
}

void socket_host_port_text(const char *host, const char *port, char out[SOCKET_NAME_BYTES_MAX])
{
    bool v6 = strchr(host, ':') != NULL;
    snprintf(out, SOCKET_NAME_BYTES_MAX, v6 ? "[%s]:%s" : "%s:%s", host, port);
}

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

int socket_wait(int fd, short events, unsigned timeout_ms)
{
    struct pollfd poll_fd = {.fd = fd, .events = events};
    uint64_t deadline = now_ms() + timeout_ms, left = timeout_ms;
    for (;;) {
        int n = poll(&poll_fd, 1, left > INT32_MAX ? INT32_MAX : (int)left);
        if (n > 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return -errno;
        uint64_t now = now_ms();
        if (n == 0 || now >= deadline)
            return -ETIMEDOUT;
        left = deadline - now; /* interrupted by a signal */
    }
}

/* Wait for the end of a connect(2) that goes on in the background. 0, or a negative errno. */
static int finish_connect(int fd, unsigned timeout_ms)
{
    int failure = 0, e = socket_wait(fd, POLLOUT, timeout_ms);
    socklen_t size = sizeof failure;
    if (e != 0)
        return e;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &size) == 0 ? -failure : -errno;
}

/* Connect to one address: a descriptor, or a negative errno. */
static int connect_one(const struct addrinfo *info, unsigned timeout_ms)
{
    int fd = socket(info->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    if (fd < 0)
        return -errno;
    int e = connect(fd, info->ai_addr, info->ai_addrlen) == 0 ? 0 : -errno;
    if (e == -EINPROGRESS || e == -EINTR)
        e = finish_connect(fd, timeout_ms);
    if (e == 0 && setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0)
        e = -errno;
    if (e == 0)
        return fd;
    close(fd);
    return e;
}

int socket_connect(const char *host, const char *port, unsigned timeout_ms, int *ret_fd,
                   struct tarn_error *error)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *list;
    int failure = getaddrinfo(host, port, &hints, &list);
    if (failure != 0) {
        error_set(error, TARN_IO, "cannot find %s: %s", host,
                  failure == EAI_SYSTEM ? strerror(errno) : gai_strerror(failure));
        errno = 0;
        return TARN_IO;
    }
    int fd = -EADDRNOTAVAIL;
    for (const struct addrinfo *info = list; info && fd < 0; info = info->ai_next)
        fd = connect_one(info, timeout_ms);
    freeaddrinfo(list);
    if (fd < 0) {
        char name[SOCKET_NAME_BYTES_MAX];
        socket_host_port_text(host, port, name);
        error_set(error, TARN_IO, "cannot connect to %s: %s", name, strerror(-fd));
        errno = -fd;
        return TARN_IO;
    }
    *ret_fd = fd;
    return TARN_OK;
}

/* The IP address as 16 bytes, IPv4 in its mapped form; false for other families. */
static bool ip_of(const struct sockaddr_storage *address, struct in6_addr *ret_ip)
{
    if (address->ss_family == AF_INET6) {
        *ret_ip = ((const struct sockaddr_in6 *)address)->sin6_addr;
        return true;
    }
    if (address->ss_family != AF_INET)
        return false;
    *ret_ip = (struct in6_addr){.s6_addr = {[10] = 0xff, [11] = 0xff}};
    memcpy(ret_ip->s6_addr + 12, &((const struct sockaddr_in *)address)->sin_addr, 4);
    return true;
}

bool socket_is_local(int fd)
{
    struct sockaddr_storage own, peer;
    struct in6_addr own_ip, peer_ip;
    socklen_t size = sizeof peer;
    if (!local_address(fd, &own) || getpeername(fd, (struct sockaddr *)&peer, &size) != 0)
        return false;
    if (own.ss_family == AF_UNIX)
        return true;
    if (!ip_of(&own, &own_ip) || !ip_of(&peer, &peer_ip))
        return false;
    return IN6_IS_ADDR_LOOPBACK(&peer_ip) ||
           (IN6_IS_ADDR_V4MAPPED(&peer_ip) && peer_ip.s6_addr[12] == 127) ||
           memcmp(&own_ip, &peer_ip, sizeof own_ip) == 0;
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
