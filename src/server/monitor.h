/* MONITOR: lines that tell what clients execute. Private to the server folder. */
#ifndef SERVER_MONITOR_H
#define SERVER_MONITOR_H

#include <pthread.h>

#include "server/command.h"

struct worker;

/* Lines for the monitors of one worker, from all workers. */
struct monitor_queue {
    pthread_mutex_t lock; /* guards all */
    struct buffer lines;
    bool lost; /* some did not fit */
    size_t monitors_count;
};

void monitor_queue_init(struct monitor_queue *q);
void monitor_queue_done(struct monitor_queue *q);

/* The client has executed this: tell it to those who monitor, if there are any. Owner's thread. */
void monitor_feed(struct client *client, const struct command *command,
                  const struct resp_request *request);

/* Hand the queued lines to the worker's monitors, which may be closed by it. */
void monitor_deliver(struct worker *w);

#endif
