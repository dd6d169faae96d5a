/* A RESP server on 127.0.0.1 that does what a script says: answers right, refuses, closes, babbles,
 * is silent, waits. One thread for all its connections; its log may be read when it has stopped.
 * Include lib/test.h first. */
#ifndef LIB_SCRIPTED_SERVER_H
#define LIB_SCRIPTED_SERVER_H

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/records.h"
#include "core/buffer.h"
#include "os/os.h"
#include "os/socket.h"
#include "resp/parse.h"

#define SCRIPT_CONNECTIONS_MAX 256
#define SCRIPT_RECORDS_MAX     2000
#define SCRIPT_LOG_MAX         20000
#define SCRIPT_NEVER           UINT64_MAX

struct script {
    const struct records *records; /* it has those below records_count() from the start ... */
    bool starts_empty;             /* ... or not */
    /* counted over all connections, the opening PING not */
    unsigned refuse_every;  /* answer each nth request with an error */
    const char *refusal;    /* that error */
    uint64_t close_after;   /* answers; then close that connection, once */
    uint64_t garbage_after; /* answers; then bytes that are no answer */
    uint64_t silent_after;  /* answers; then nothing more */
    uint64_t extra_after;   /* answers; then one that nobody asked for */
    uint64_t hold_requests; /* no answer before so many requests have come ... */
    uint64_t hold_until_ns; /* ... or before *clock_ns is this */
    _Atomic uint64_t *clock_ns;
    size_t piece;          /* bytes sent at a time; 0: all */
    uint64_t wrong_record; /* its value is wrong */
    bool knows_everything; /* keys that nobody has are answered with a value */
    unsigned scan_keys;    /* how many keys a SCAN answers, whatever it asked for */
    const char *ping;      /* what PING is answered with; NULL: +PONG */
    bool close_at_once;
};

/* Zeroed fields that would mean "at once". */
static const struct script script_plain = {
    .refusal = "-ERR no\r\n",
    .close_after = SCRIPT_NEVER,
    .garbage_after = SCRIPT_NEVER,
    .silent_after = SCRIPT_NEVER,
    .extra_after = SCRIPT_NEVER,
    .wrong_record = SCRIPT_NEVER,
    .scan_keys = 10,
};

struct script_entry {
    char verb; /* G, M (MGET), S, N (MSET), C (SCAN) */
    int connection;
    uint64_t record; /* the first; SCRIPT_NEVER: none of ours */
    size_t keys;
};

struct script_connection {
    int fd; /* -1: none */
    struct buffer in, out;
    struct resp_parser *parser;
};

struct scripted_server {
    struct script script;
    pthread_t thread;
    int listen_fd, wake[2];
    char port[SOCKET_PORT_BYTES_MAX], name[SOCKET_NAME_BYTES_MAX];
    struct script_connection connections[SCRIPT_CONNECTIONS_MAX];
    int connections_count; /* ever accepted */
    _Atomic int closed;    /* by close_after */
    size_t records_count;
    char *keys[SCRIPT_RECORDS_MAX];
    size_t key_sizes[SCRIPT_RECORDS_MAX];
    unsigned writes[SCRIPT_RECORDS_MAX]; /* how often each record was written */
    bool has[SCRIPT_RECORDS_MAX];
    unsigned wrong_writes; /* keys or values that no record has */
    uint64_t requests, answers, refused;
    size_t keys_read;
    struct script_entry log[SCRIPT_LOG_MAX];
    size_t log_count;
};

static inline uint64_t script_record(const struct scripted_server *s, struct tarn_bytes key)
{
    for (size_t i = 0; i < s->records_count; i++)
        if (key.size == s->key_sizes[i] && memcmp(key.data, s->keys[i], key.size) == 0)
            return i;
    return SCRIPT_NEVER;
}

static inline void script_bulk(struct buffer *out, struct tarn_bytes bytes)
{
    buffer_printf(out, "$%zu\r\n", bytes.size);
    buffer_append(out, bytes.data, bytes.size);
    buffer_append_text(out, "\r\n");
}

static inline void script_value(struct scripted_server *s, struct tarn_bytes key,
                                struct buffer *out)
{
    unsigned char scratch[4096];
    uint64_t record = script_record(s, key);
    s->keys_read++;
    if (record == SCRIPT_NEVER && s->script.knows_everything)
        script_bulk(out, bytes_of("surprise"));
    else if (record == SCRIPT_NEVER || !s->has[record])
        buffer_append_text(out, "$-1\r\n");
    else if (record == s->script.wrong_record)
        script_bulk(out, bytes_of("wrong"));
    else
        script_bulk(out, records_value(s->script.records, record, scratch));
}

static inline void script_write(struct scripted_server *s, struct tarn_bytes key,
                                struct tarn_bytes value)
{
    uint64_t record = script_record(s, key);
    if (record == SCRIPT_NEVER || !records_value_equal(s->script.records, record, value)) {
        s->wrong_writes++;
        return;
    }
    s->writes[record]++;
    s->has[record] = true;
}

static inline void script_scan(struct scripted_server *s, struct buffer *out)
{
    unsigned keys = s->script.scan_keys;
    buffer_printf(out, "*2\r\n$1\r\n7\r\n*%u\r\n", keys);
    for (unsigned i = 0; i < keys; i++)
        script_bulk(out, (struct tarn_bytes){s->keys[i], s->key_sizes[i]});
}

/* What a good server says to this request. */
static inline void script_answer(struct scripted_server *s, const struct resp_request *request,
                                 struct script_entry *entry, struct buffer *out)
{
    const struct tarn_bytes *args = request->args;
    if (bytes_equal_nocase(args[0], "GET")) {
        entry->verb = 'G';
        script_value(s, args[1], out);
    } else if (bytes_equal_nocase(args[0], "MGET")) {
        entry->verb = 'M';
        entry->keys = request->count - 1;
        buffer_printf(out, "*%zu\r\n", request->count - 1);
        for (size_t i = 1; i < request->count; i++)
            script_value(s, args[i], out);
    } else if (bytes_equal_nocase(args[0], "SCAN")) {
        entry->verb = 'C';
        script_scan(s, out);
    } else {
        entry->verb = bytes_equal_nocase(args[0], "MSET") ? 'N' : 'S';
        entry->keys = request->count / 2;
        for (size_t i = 1; i + 1 < request->count; i += 2)
            script_write(s, args[i], args[i + 1]);
        buffer_append_text(out, "+OK\r\n");
    }
}

static inline void script_take(struct scripted_server *s, int number,
                               const struct resp_request *request, struct buffer *out)
{
    const struct script *script = &s->script;
    if (bytes_equal_nocase(request->args[0], "PING")) {
        buffer_append_text(out, script->ping ? script->ping : "+PONG\r\n");
        return;
    }
    s->requests++;
    struct script_entry entry = {
        .connection = number, .keys = 1, .record = script_record(s, request->args[1])};
    if (s->answers >= script->garbage_after) {
        buffer_append_text(out, "HTTP/1.1 400 Bad Request\r\n\r\n");
    } else if (s->answers < script->silent_after) {
        struct buffer answer = {0};
        script_answer(s, request, &entry, &answer);
        if (script->refuse_every && s->requests % script->refuse_every == 0) {
            s->refused++;
            buffer_append_text(out, script->refusal);
        } else {
            buffer_append(out, answer.data, answer.size);
        }
        buffer_done(&answer);
        s->answers++;
        if (s->answers == script->extra_after)
            buffer_append_text(out, "+OK\r\n");
    }
    if (s->log_count < SCRIPT_LOG_MAX)
        s->log[s->log_count++] = entry;
}

static inline void script_close(struct script_connection *c)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    buffer_done(&c->in);
    buffer_done(&c->out);
    resp_parser_free(c->parser);
    c->parser = NULL;
}

static inline bool script_closes(const struct scripted_server *s)
{
    return s->answers >= s->script.close_after;
}

/* Take all whole requests that came. */
static inline void script_parse(struct scripted_server *s, int number)
{
    static const struct resp_limits limits = {10000, 1 << 20, 1 << 26, 1 << 16, false};
    struct script_connection *c = &s->connections[number];
    struct tarn_bytes args[8];
    for (;;) {
        struct resp_request request;
        size_t size;
        enum resp_outcome outcome =
            resp_parse(c->parser, buffer_view(&c->in), &limits, args, 8, &request, &size);
        if (outcome == RESP_INCOMPLETE)
            return;
        assert_int_equal(outcome, RESP_REQUEST); /* what the client sends is well-formed */
        if (!script_closes(s))
            script_take(s, number, &request, &c->out);
        buffer_consume(&c->in, size);
    }
}

static inline bool script_holds(const struct scripted_server *s)
{
    const struct script *script = &s->script;
    return s->requests > 0 &&
           (s->requests < script->hold_requests ||
            (script->clock_ns && atomic_load(script->clock_ns) < script->hold_until_ns));
}

/* Send what is answered, then do what the script says of closing. */
static inline void script_send(struct scripted_server *s, struct script_connection *c)
{
    while (c->fd >= 0 && c->out.size > 0 && !script_holds(s)) {
        size_t piece =
            s->script.piece && s->script.piece < c->out.size ? s->script.piece : c->out.size;
        ssize_t sent = send(c->fd, c->out.data, piece, MSG_NOSIGNAL);
        if (sent < 0)
            return script_close(c); /* the client has gone */
        buffer_consume(&c->out, (size_t)sent);
    }
    if (c->fd >= 0 && script_closes(s)) {
        script_close(c);
        s->script.close_after = SCRIPT_NEVER;
        atomic_store(&s->closed, 1);
    }
}

static inline void script_receive(struct scripted_server *s, int number)
{
    struct script_connection *c = &s->connections[number];
    if (!buffer_reserve(&c->in, 65536))
        abort();
    ssize_t size = recv(c->fd, c->in.data + c->in.size, 65536, 0);
    if (size <= 0) {
        script_close(c);
        return;
    }
    c->in.size += (size_t)size;
    script_parse(s, number);
}

static inline void script_accept(struct scripted_server *s)
{
    int on = 1, fd = accept(s->listen_fd, NULL, NULL);
    if (fd < 0)
        return;
    if (s->script.close_at_once || s->connections_count == SCRIPT_CONNECTIONS_MAX) {
        close(fd);
        return;
    }
    setsockopt(fd, 6 /* TCP */, 1 /* TCP_NODELAY */, &on, sizeof on);
    struct script_connection *c = &s->connections[s->connections_count++];
    c->fd = fd;
    c->parser = resp_parser_new();
}

static inline void *script_run(void *context)
{
    struct scripted_server *s = context;
    for (;;) {
        struct pollfd fds[SCRIPT_CONNECTIONS_MAX + 2] = {{.fd = s->listen_fd, .events = POLLIN},
                                                         {.fd = s->wake[0], .events = POLLIN}};
        int count = s->connections_count;
        for (int i = 0; i < count; i++)
            fds[i + 2] = (struct pollfd){.fd = s->connections[i].fd, .events = POLLIN};
        poll(fds, (nfds_t)count + 2, s->script.clock_ns ? 1 : -1);
        if (fds[1].revents)
            return NULL;
        for (int i = 0; i < count; i++) {
            if (fds[i + 2].revents && s->connections[i].fd >= 0)
                script_receive(s, i);
            script_send(s, &s->connections[i]);
        }
        for (int i = 0; i < count; i++) /* those that were held back by others' requests */
            script_send(s, &s->connections[i]);
        if (fds[0].revents)
            script_accept(s);
    }
}

static inline void script_learn_keys(struct scripted_server *s)
{
    const struct records *records = s->script.records;
    unsigned char scratch[TARN_KEY_BYTES_MAX];
    uint64_t count = records_count_max(records);
    s->records_count = count < SCRIPT_RECORDS_MAX ? (size_t)count : SCRIPT_RECORDS_MAX;
    for (size_t i = 0; i < s->records_count; i++) {
        struct tarn_bytes key = records_key(records, i, scratch);
        s->keys[i] = malloc(key.size + 1);
        memcpy(s->keys[i], key.data, key.size);
        s->key_sizes[i] = key.size;
        s->has[i] = !s->script.starts_empty && i < records_count(records);
    }
}

static inline struct scripted_server *script_start(const struct script *script)
{
    struct scripted_server *s = calloc(1, sizeof *s);
    assert_non_null(s);
    s->script = *script;
    script_learn_keys(s);
    assert_int_equal(os_real()->listen(os_real(), "127.0.0.1", 0, 128, false, &s->listen_fd), 0);
    snprintf(s->port, sizeof s->port, "%u", socket_local_port(s->listen_fd));
    snprintf(s->name, sizeof s->name, "127.0.0.1:%s", s->port);
    assert_int_equal(pipe(s->wake), 0);
    assert_int_equal(pthread_create(&s->thread, NULL, script_run, s), 0);
    return s;
}

/* From here on the log can be read. */
static inline void script_stop(struct scripted_server *s)
{
    assert_int_equal(write(s->wake[1], "", 1), 1);
    assert_int_equal(pthread_join(s->thread, NULL), 0);
    for (int i = 0; i < s->connections_count; i++)
        script_close(&s->connections[i]);
    close(s->listen_fd);
    close(s->wake[0]);
    close(s->wake[1]);
}

static inline void script_free(struct scripted_server *s)
{
    for (size_t i = 0; i < s->records_count; i++)
        free(s->keys[i]);
    free(s);
}

#endif
