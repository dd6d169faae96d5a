/* The slow log. How: a list of nodes, each one allocation that holds the entry and after it the
 * bytes of its trimmed arguments.
 *
 * Invariants: 1. length counts the nodes between newest and oldest. 2. ids only grow.
 * Failure modes: out of memory: the command is not logged. */
#include "server/slowlog.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define NOTE_BYTES_MAX 64 /* "... (18446744073709551615 more arguments)" */

struct slowlog_node {
    struct slowlog_node *older, *newer;
    struct slowlog_entry entry; /* its args point into bytes */
    unsigned char bytes[];
};

static_assert(SLOWLOG_ARGS_MAX ==
                  sizeof((struct slowlog_entry *)0)->args / sizeof(struct tarn_bytes),
              "an entry has room for the arguments kept");

void slowlog_init(struct slowlog *log)
{
    *log = (struct slowlog){0};
    pthread_mutex_init(&log->lock, NULL);
}

static void trim_locked(struct slowlog *log, size_t entries_max)
{
    while (log->length > entries_max) {
        struct slowlog_node *oldest = log->oldest;
        log->oldest = oldest->newer;
        if (log->oldest != NULL)
            log->oldest->older = NULL;
        else
            log->newest = NULL;
        log->length--;
        free(oldest);
    }
}

void slowlog_trim(struct slowlog *log, size_t entries_max)
{
    pthread_mutex_lock(&log->lock);
    trim_locked(log, entries_max);
    pthread_mutex_unlock(&log->lock);
}

void slowlog_done(struct slowlog *log)
{
    trim_locked(log, 0);
    pthread_mutex_destroy(&log->lock);
}

/* Copy the request's arguments, trimmed, into the node. bytes has room for them. */
static void copy_args(struct slowlog_node *node, const struct resp_request *request)
{
    unsigned char *out = node->bytes;
    size_t count = request->count > SLOWLOG_ARGS_MAX ? SLOWLOG_ARGS_MAX : request->count;
    for (size_t i = 0; i < count; i++) {
        struct tarn_bytes arg = request->args[i];
        char note[NOTE_BYTES_MAX] = "";
        if (i == SLOWLOG_ARGS_MAX - 1 && request->count > SLOWLOG_ARGS_MAX) {
            snprintf(note, sizeof note, "... (%zu more arguments)",
                     request->count - SLOWLOG_ARGS_MAX + 1);
            arg.size = 0;
        } else if (command_argument_is_secret(request, i)) {
            snprintf(note, sizeof note, "(redacted)");
            arg.size = 0;
        } else if (arg.size > SLOWLOG_ARG_BYTES_MAX) {
            snprintf(note, sizeof note, "... (%zu more bytes)", arg.size - SLOWLOG_ARG_BYTES_MAX);
            arg.size = SLOWLOG_ARG_BYTES_MAX;
        }
        size_t note_size = strlen(note);
        if (arg.size > 0)
            memcpy(out, arg.data, arg.size);
        memcpy(out + arg.size, note, note_size);
        node->entry.args[i] = (struct tarn_bytes){out, arg.size + note_size};
        out += arg.size + note_size;
    }
    node->entry.args_count = count;
}

/* An upper bound of what copy_args() writes. */
static size_t args_bytes(const struct resp_request *request)
{
    size_t bytes = 0;
    for (size_t i = 0; i < request->count && i < SLOWLOG_ARGS_MAX; i++) {
        size_t size = request->args[i].size;
        bytes += size > SLOWLOG_ARG_BYTES_MAX ? SLOWLOG_ARG_BYTES_MAX : size;
        bytes += NOTE_BYTES_MAX;
    }
    return bytes;
}

void slowlog_add(struct slowlog *log, size_t entries_max, const struct resp_request *request,
                 uint64_t us, int64_t unix_seconds, const char *address, const char *name)
{
    if (entries_max == 0)
        return;
    struct slowlog_node *node = malloc(sizeof *node + args_bytes(request));
    if (node == NULL)
        return;
    node->entry = (struct slowlog_entry){.unix_seconds = unix_seconds, .us = us};
    copy_args(node, request);
    snprintf(node->entry.address, sizeof node->entry.address, "%s", address);
    snprintf(node->entry.name, sizeof node->entry.name, "%s", name);
    pthread_mutex_lock(&log->lock);
    node->entry.id = log->id_next++;
    node->newer = NULL;
    node->older = log->newest;
    if (log->newest != NULL)
        log->newest->newer = node;
    else
        log->oldest = node;
    log->newest = node;
    log->length++;
    trim_locked(log, entries_max);
    pthread_mutex_unlock(&log->lock);
}

void slowlog_visit(struct slowlog *log, size_t count,
                   void (*visit)(void *context, const struct slowlog_entry *entry), void *context)
{
    pthread_mutex_lock(&log->lock);
    for (const struct slowlog_node *n = log->newest; n != NULL && count > 0; n = n->older, count--)
        visit(context, &n->entry);
    pthread_mutex_unlock(&log->lock);
}

size_t slowlog_length(struct slowlog *log)
{
    pthread_mutex_lock(&log->lock);
    size_t length = log->length;
    pthread_mutex_unlock(&log->lock);
    return length;
}
