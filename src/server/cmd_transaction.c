/* Transactions: MULTI, EXEC, DISCARD, WATCH and UNWATCH. Client libraries wrap their pipelines in
 * MULTI and EXEC by default.
 *
 * How: between MULTI and EXEC, requests that would be executed are copied and answered +QUEUED;
 * EXEC executes them one after another in one turn of the worker, so that all see one version of
 * the data. WATCH remembers the version: keys can change only by a reload, so EXEC does nothing
 * when there was one.
 *
 * Bounds: the copies of one client are together at most request-limit bytes, and are counted as
 * its buffers. Failure modes: a request that is refused, or one too many, makes EXEC answer
 * EXECABORT, as in Redis. */
#include <stdlib.h>

#include "server/command_rows.h"
#include "server/server.h"

struct queued {
    const struct command *command;
    size_t args_count;
    struct tarn_bytes args[]; /* and their bytes after them */
};

struct transaction {
    bool aborted; /* a request was refused */
    bool watching;
    uint64_t generation; /* of the data, at the first WATCH */
    struct queued **queue;
    size_t count, capacity;
    size_t bytes; /* allocated for all of this */
};

/* The client's transaction, made if there is none; NULL if out of memory. */
static struct transaction *transaction_of(struct client *client)
{
    if (client->transaction == NULL) {
        client->transaction = calloc(1, sizeof *client->transaction);
        if (client->transaction != NULL)
            client->transaction->bytes = sizeof *client->transaction;
    }
    return client->transaction;
}

void client_transaction_end(struct client *client)
{
    struct transaction *t = client->transaction;
    client->in_multi = false;
    client->transaction = NULL;
    if (t == NULL)
        return;
    for (size_t i = 0; i < t->count; i++)
        free(t->queue[i]);
    free(t->queue);
    free(t);
}

size_t client_transaction_bytes(const struct client *client)
{
    return client->transaction != NULL ? client->transaction->bytes : 0;
}

static uint64_t generation_now(struct client *client)
{
    struct tarn_stats stats;
    tarn_stats_get(server_store(client->server), &stats);
    return stats.generation;
}

/* --- queueing --- */

static struct queued *copy_request(const struct command *command,
                                   const struct resp_request *request, size_t size)
{
    struct queued *copy = malloc(size);
    if (copy == NULL)
        return NULL;
    unsigned char *bytes = (unsigned char *)(copy->args + request->count);
    copy->command = command;
    copy->args_count = request->count;
    for (size_t i = 0; i < request->count; i++) {
        struct tarn_bytes arg = request->args[i];
        if (arg.size > 0)
            memcpy(bytes, arg.data, arg.size);
        copy->args[i] = (struct tarn_bytes){bytes, arg.size};
        bytes += arg.size;
    }
    return copy;
}

/* Room for one more pointer in the queue. */
static bool grow_queue(struct transaction *t)
{
    if (t->count < t->capacity)
        return true;
    size_t capacity = t->capacity > 0 ? 2 * t->capacity : 16;
    struct queued **queue = realloc(t->queue, capacity * sizeof *queue);
    if (queue == NULL)
        return false;
    t->bytes += (capacity - t->capacity) * sizeof *queue;
    t->queue = queue;
    t->capacity = capacity;
    return true;
}

static void queue_request(struct client *client, const struct command *command,
                          const struct resp_request *request)
{
    struct transaction *t = client->transaction;
    /* The sizes were received, so that their sum is far from overflow. */
    size_t size = sizeof(struct queued) + request->count * sizeof *request->args;
    for (size_t i = 0; i < request->count; i++)
        size += request->args[i].size;
    server_config_lock(client->server);
    uint64_t limit = server_config(client->server)->request_bytes_max;
    server_config_unlock(client->server);
    struct queued *copy = NULL;
    if (limit != 0 && t->bytes + size > limit) {
        reply_error(&client->reply, "ERR the transaction exceeds request-limit");
    } else if (!grow_queue(t) || (copy = copy_request(command, request, size)) == NULL) {
        reply_error(&client->reply, "ERR out of memory for the transaction");
    } else {
        t->queue[t->count++] = copy;
        t->bytes += size;
        reply_simple(&client->reply, "QUEUED");
        return;
    }
    t->aborted = true;
}

static bool runs_inside_multi(const struct command *command)
{
    return command->run == cmd_exec || command->run == cmd_discard || command->run == cmd_multi ||
           command->run == cmd_watch || command->run == cmd_quit || command->run == cmd_reset;
}

const struct command *command_admit_in_multi(struct client *client, const struct command *command,
                                             const struct resp_request *request)
{
    if (command != NULL && runs_inside_multi(command))
        return command;
    if (command == NULL) {
        client->transaction->aborted = true;
    } else if (command->flags & COMMAND_NO_MULTI) {
        reply_error(&client->reply, "ERR Command not allowed inside a transaction");
        client->transaction->aborted = true;
    } else {
        queue_request(client, command, request);
    }
    return NULL;
}

/* --- commands --- */

void cmd_multi(struct client *client, const struct resp_request *request)
{
    (void)request;
    if (client->in_multi) {
        reply_error(&client->reply, "ERR MULTI calls can not be nested");
    } else if (transaction_of(client) == NULL) {
        reply_error(&client->reply, "ERR out of memory for the transaction");
    } else {
        client->in_multi = true;
        reply_simple(&client->reply, "OK");
    }
}

static void execute(struct client *client, struct queued *queued)
{
    struct resp_request request = {queued->args, queued->args_count};
    const struct command *command = queued->command;
    if (command->run != NULL) {
        command->run(client, &request);
        return;
    }
    struct tarn_bytes value;
    bool found = tarn_get(client->session, request.args[1], &value) == TARN_OK;
    client_count_lookups(client, found, !found);
    command->read(client, &request, found ? value : (struct tarn_bytes){NULL, 0});
}

void cmd_exec(struct client *client, const struct resp_request *request)
{
    (void)request;
    struct transaction *t = client->transaction;
    if (!client->in_multi) {
        reply_error(&client->reply, "ERR EXEC without MULTI");
        return;
    }
    if (t->aborted) {
        reply_error(&client->reply, "EXECABORT Transaction discarded because of previous errors.");
    } else if (t->watching && t->generation != generation_now(client)) {
        reply_null_array(&client->reply);
    } else {
        client->in_multi = false;
        reply_array(&client->reply, t->count);
        for (size_t i = 0; i < t->count; i++)
            execute(client, t->queue[i]);
    }
    client_transaction_end(client);
}

void cmd_discard(struct client *client, const struct resp_request *request)
{
    (void)request;
    if (!client->in_multi) {
        reply_error(&client->reply, "ERR DISCARD without MULTI");
        return;
    }
    client_transaction_end(client);
    reply_simple(&client->reply, "OK");
}

void cmd_watch(struct client *client, const struct resp_request *request)
{
    (void)request;
    if (client->in_multi) {
        reply_error(&client->reply, "ERR WATCH inside MULTI is not allowed");
        return;
    }
    struct transaction *t = transaction_of(client);
    if (t == NULL) {
        reply_error(&client->reply, "ERR out of memory for the transaction");
        return;
    }
    if (!t->watching) {
        t->watching = true;
        t->generation = generation_now(client);
    }
    reply_simple(&client->reply, "OK");
}

/* Inside MULTI it is queued, and then comes too late to matter. */
void cmd_unwatch(struct client *client, const struct resp_request *request)
{
    (void)request;
    if (client->transaction != NULL)
        client->transaction->watching = false;
    reply_simple(&client->reply, "OK");
}
