/* The slow log: the latest commands that took longer than a limit, newest first.
 *
 * One list for the server under one mutex, which is taken only for commands that are slow. Memory:
 * an entry keeps at most 32 arguments of at most 128 bytes and a note, as in Redis. */
#ifndef SERVER_SLOWLOG_H
#define SERVER_SLOWLOG_H

#include <pthread.h>

#include "server/server.h"

#define SLOWLOG_ARGS_MAX      32
#define SLOWLOG_ARG_BYTES_MAX 128

struct slowlog_node;
struct slowlog {
    pthread_mutex_t lock;
    struct slowlog_node *newest, *oldest;
    size_t length;
    uint64_t id_next;
};

void slowlog_init(struct slowlog *log);
void slowlog_done(struct slowlog *log);

/* Keep a copy of the request, trimmed, and drop the oldest entries beyond entries_max (0 keeps
 * none). Nothing is kept when memory is out. Any thread. */
void slowlog_add(struct slowlog *log, size_t entries_max, const struct resp_request *request,
                 uint64_t us, int64_t unix_seconds, const char *address, const char *name);

/* Drop the oldest entries beyond entries_max. */
void slowlog_trim(struct slowlog *log, size_t entries_max);

/* The `count` newest, under the lock: visit must not call back. */
void slowlog_visit(struct slowlog *log, size_t count,
                   void (*visit)(void *context, const struct slowlog_entry *entry), void *context);
size_t slowlog_length(struct slowlog *log);

#endif
