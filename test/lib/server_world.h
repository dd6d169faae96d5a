/* A server that is opened but not run: the test's thread plays its one worker and gives turns to
 * connections over socket pairs, on a struct os whose sends take as little as the test wants. So
 * every interleaving is the test's choice. Include lib/test.h first. */
#ifndef LIB_SERVER_WORLD_H
#define LIB_SERVER_WORLD_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/scratch.h"
#include "server/connection.h"
#include "server/gate.h"

#define KEYS      50
#define BIG_BYTES (20u << 10) /* sent by reference */

struct world {
    struct scratch scratch;
    struct config config;
    struct os os; /* the real one but for send */
    struct server *server;
    struct worker *w;
    size_t send_budget; /* bytes until sends say EAGAIN */
    size_t send_piece;  /* most bytes of one send */
    struct buffer big;  /* the value of key "big" */
    char path[SCRATCH_PATH_BYTES];
};

static inline int limited_send(const struct os *os, int fd, const struct iovec *parts, int count,
                               size_t *ret_size)
{
    struct world *world = os->context;
    (void)count;
    size_t size = parts[0].iov_len;
    if (size > world->send_piece)
        size = world->send_piece;
    if (size > world->send_budget)
        size = world->send_budget;
    if (size == 0)
        return -EAGAIN;
    ssize_t sent = send(fd, parts[0].iov_base, size, MSG_NOSIGNAL);
    if (sent < 0)
        return -errno;
    world->send_budget -= (size_t)sent;
    *ret_size = (size_t)sent;
    return 0;
}

/* Data file and settings; the server is not opened. */
static inline void world_prepare(struct world *world, const char *password, uint64_t output_limit)
{
    struct buffer text = {0};
    *world = (struct world){.send_budget = SIZE_MAX, .send_piece = SIZE_MAX};
    scratch_open(&world->scratch);
    for (int i = 0; i < KEYS; i++)
        buffer_printf(&text, "k%d value-%d\n", i, i);
    for (size_t i = 0; i < BIG_BYTES; i++)
        buffer_append_byte(&world->big, (unsigned char)('a' + i % 26));
    buffer_append_text(&text, "big ");
    buffer_append(&text, world->big.data, world->big.size);
    buffer_append_text(&text, "\n");
    file_write(scratch_name(&world->scratch, "data", world->path), buffer_view(&text));
    buffer_done(&text);
    options_init(&config_options, &world->config);
    world->config.port = world->config.http_port = 0;
    world->config.threads = 1;
    world->config.log_level = 4; /* silent */
    if (output_limit != 0)
        world->config.output_bytes_max = output_limit;
    free(world->config.password);
    world->config.password = strdup(password);
    world->os = *os_real();
    world->os.send = limited_send;
    world->os.context = world;
}

/* path NULL: a writable store. */
static inline void world_start(struct world *world, const char *path)
{
    struct tarn_error error;
    assert_int_equal(
        server_open(&world->os, &world->config, path, NULL, NULL, &world->server, &error), TARN_OK);
    world->w = world->server->workers[0];
    assert_int_equal(gate_session_open(world->w, &error), TARN_OK);
    world->w->now_ns = 1000000000000;
}

static inline void world_open(struct world *world, const char *password, uint64_t output_limit)
{
    world_prepare(world, password, output_limit);
    world_start(world, world->path);
}

/* An empty writable store instead of the data file. memory: the cap; 0: none. */
static inline void world_open_writable(struct world *world, uint64_t memory)
{
    world_prepare(world, "", 0);
    world->config.memory_bytes = memory;
    world_start(world, NULL);
}

/* Undo world_prepare(). */
static inline void world_clean(struct world *world)
{
    options_done(&config_options, &world->config);
    buffer_done(&world->big);
    scratch_close(&world->scratch);
}

static inline void world_close(struct world *world)
{
    while (world->w->clients != NULL)
        connection_close(world->w->clients);
    assert_int_equal(atomic_load(&world->w->buffers_bytes), INPUT_SHARED_BYTES);
    assert_int_equal(atomic_load(&world->w->connections_now), 0);
    tarn_session_close(world->w->session);
    server_close(world->server);
    world_clean(world);
}

/* A client's side of a connection. */
struct peer {
    int fd;
    uint64_t id;
    struct buffer to_send, received, expected;
    size_t sent;
    bool ended; /* the server has sent FIN, or closed */
};

static inline void peer_open(struct world *world, struct peer *p)
{
    int pair[2];
    struct sockaddr_storage nobody = {0};
    *p = (struct peer){0};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    assert_int_equal(connection_open(world->w, pair[0], &nobody), TARN_OK);
    p->fd = pair[1];
    p->id = world->w->clients->client.id;
}

static inline void peer_close(struct peer *p)
{
    close(p->fd);
    buffer_done(&p->to_send);
    buffer_done(&p->received);
    buffer_done(&p->expected);
}

static inline struct connection *find(struct world *world, const struct peer *p)
{
    struct connection *c = world->w->clients;
    while (c != NULL && c->client.id != p->id)
        c = c->next;
    return c;
}

/* Put up to `size` bytes of what is to be sent into the socket. */
static inline void peer_send(struct peer *p, size_t size)
{
    size_t left = p->to_send.size - p->sent;
    if (left == 0)
        return;
    ssize_t n = send(p->fd, p->to_send.data + p->sent, size < left ? size : left, MSG_NOSIGNAL);
    if (n > 0)
        p->sent += (size_t)n;
}

static inline void peer_say(struct peer *p, const char *bytes)
{
    buffer_append_text(&p->to_send, bytes);
    peer_send(p, SIZE_MAX);
}

static inline void peer_receive(struct peer *p)
{
    static unsigned char bytes[1 << 16];
    ssize_t n;
    while ((n = recv(p->fd, bytes, sizeof bytes, 0)) > 0)
        buffer_append(&p->received, bytes, (size_t)n);
    if (n == 0 || errno == ECONNRESET)
        p->ended = true;
}

static inline void expect(struct peer *p, const char *bytes)
{
    peer_receive(p);
    buffer_append_byte(&p->received, 0);
    assert_string_equal((char *)p->received.data, bytes);
    buffer_clear(&p->received);
}

/* One loop turn: every connection that has something to do gets its event. */
static inline void turn(struct world *world, struct peer *peers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct connection *c = find(world, &peers[i]);
        if (c == NULL)
            continue;
        char byte;
        bool readable = (c->events & EPOLLIN) != 0 && recv(c->fd, &byte, 1, MSG_PEEK) >= 0;
        bool writable = (c->events & EPOLLOUT) != 0 && world->send_budget > 0;
        if (readable || writable)
            connection_on_event(c, (readable ? EPOLLIN : 0) | (writable ? EPOLLOUT : 0));
    }
    run_finish(world->w, NULL);
    assert_int_equal(world->w->run.count, 0);
    assert_int_equal(world->w->input_used, 0); /* the shared input is free again */
    world->w->now_ns += 1000;
}

/* Send an inline request and give the server a turn. */
static inline void peer_say_line(struct world *world, struct peer *peer, const char *line)
{
    buffer_clear(&peer->to_send);
    buffer_clear(&peer->received);
    peer->sent = 0;
    buffer_append_text(&peer->to_send, line);
    peer_say(peer, "\r\n");
    turn(world, peer, 1);
}

#endif
