/* Transactions: MULTI, EXEC, DISCARD, WATCH and UNWATCH. Client libraries wrap their pipelines in
 * MULTI and EXEC by default.
 *
 * How: between MULTI and EXEC, requests that would be executed are copied and answered +QUEUED.
 * EXEC collects the keys of all of them and the watched ones, and has the store hold everybody else
 * off these keys (tarn_begin()) while it looks at the watches and executes one request after
 * another. So the whole takes effect at one moment. A request about the keyspace as a whole
 * (DBSIZE, FLUSHALL ...) holds off everybody from everything.
 *
 * Nothing can wait for memory in between: room is made before, as much as the queued requests take;
 * a command that finds none nevertheless answers -OOM in its place, as in Redis.
 *
 * Of a data file, the version is what is watched: EXEC does nothing if there was a reload.
 *
 * Bounds: the copies and watched keys of one client are together at most request-limit bytes, and
 * are counted as its buffers; WATCHED_KEYS_MAX. Failure modes: a request that is refused, or one
 * too many, makes EXEC answer EXECABORT, as in Redis; with no memory for the list of keys, EXEC
 * holds everybody off everything. */
#include <stdlib.h>

#include "server/command_rows.h"
#include "server/monitor.h"
#include "server/server.h"
#include "server/watched.h"

#define ROOM_TRIES_MAX 32 /* waiting for memory before EXEC begins */
#define KEYS_ON_STACK  64

struct queued {
    const struct command *command;
    size_t args_count;
    struct tarn_bytes args[]; /* and their bytes after them */
};

struct transaction {
    bool aborted; /* a request was refused */
    struct watched watched;
    struct queued **queue;
    size_t count, capacity;
    size_t bytes;        /* allocated for all of this but `watched` */
    size_t keys_count;   /* of all queued requests */
    bool everything;     /* one of them is about the keyspace as a whole */
    bool writes;         /* one of them writes */
    size_t memory_bytes; /* of those that may need memory */
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
    watched_clear(&t->watched);
    for (size_t i = 0; i < t->count; i++)
        free(t->queue[i]);
    free(t->queue);
    free(t);
}

static size_t bytes_of_all(const struct transaction *t)
{
    return t->bytes + t->watched.bytes;
}

size_t client_transaction_bytes(const struct client *client)
{
    return client->transaction != NULL ? bytes_of_all(client->transaction) : 0;
}

bool client_transaction_writes(const struct client *client)
{
    return client->transaction != NULL && client->transaction->writes;
}

/* Would `size` bytes more be over the client's bound? */
static bool over_limit(struct client *client, size_t size)
{
    server_config_lock(client->server);
    uint64_t limit = server_config(client->server)->request_bytes_max;
    server_config_unlock(client->server);
    return limit != 0 && bytes_of_all(client->transaction) + size > limit;
}

/* --- memory --- */

/* Are there `size` bytes for values in the store? */
static bool has_room(const struct tarn_stats *stats, size_t size)
{
    uint64_t used = stats->memory_bytes < stats->memory_bytes_max ? stats->memory_bytes
                                                                  : stats->memory_bytes_max;
    return stats->memory_bytes_max == 0 ||
           stats->memory_bytes_max - used + stats->free_bytes >= size;
}

static bool is_capped(struct client *client)
{
    server_config_lock(client->server);
    bool capped = server_config(client->server)->memory_bytes != 0;
    server_config_unlock(client->server);
    return capped;
}

/* Is it certain already that a request of this size finds no memory? */
static bool is_out_of_memory(struct client *client, size_t size)
{
    struct tarn_stats stats;
    if (!is_capped(client))
        return false;
    tarn_stats_get(server_store(client->server), &stats);
    return stats.eviction == TARN_EVICT_NOTHING && !has_room(&stats, size);
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

/* Is the request about the keyspace as a whole? Those that read or write keys name them, else. */
static bool is_about_everything(const struct command *command)
{
    return command->key_first == 0 && command_uses_data(command);
}

static void append_request(struct transaction *t, struct queued *copy, size_t size)
{
    struct resp_request request = {copy->args, copy->args_count};
    t->queue[t->count++] = copy;
    t->bytes += size;
    t->keys_count += command_keys_count(copy->command, &request);
    t->writes |= (copy->command->flags & COMMAND_WRITE) != 0;
    t->everything |= is_about_everything(copy->command);
    if (copy->command->flags & COMMAND_DENYOOM)
        t->memory_bytes += size;
}

static void queue_request(struct client *client, const struct command *command,
                          const struct resp_request *request)
{
    struct transaction *t = client->transaction;
    /* The sizes were received, so that their sum is far from overflow. */
    size_t size = sizeof(struct queued) + request->count * sizeof *request->args;
    for (size_t i = 0; i < request->count; i++)
        size += request->args[i].size;
    struct queued *copy = NULL;
    if ((command->flags & COMMAND_DENYOOM) && is_out_of_memory(client, size)) {
        command_reply_failure(client, TARN_FULL);
    } else if (over_limit(client, size)) {
        reply_error(&client->reply, "ERR the transaction exceeds request-limit");
    } else if (!grow_queue(t) || (copy = copy_request(command, request, size)) == NULL) {
        reply_error(&client->reply, "ERR out of memory for the transaction");
    } else {
        append_request(t, copy, size);
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
        client->asked_command = command;
        client->asked = &request;
        command->run(client, &request);
    } else {
        struct tarn_bytes value;
        int status = tarn_get(client->session, request.args[1], &value);
        client_count_lookups(client, status == TARN_OK, status != TARN_OK);
        command_answer_read(client, command, &request,
                            status == TARN_OK ? value : command_no_value(status));
    }
    monitor_feed(client, command, &request);
}

/* All keys of the queued requests, at ret_keys. */
static void queued_keys(const struct transaction *t, struct tarn_bytes *ret_keys)
{
    for (size_t i = 0; i < t->count; i++) {
        struct resp_request request = {t->queue[i]->args, t->queue[i]->args_count};
        ret_keys += command_keys(t->queue[i]->command, &request, ret_keys);
    }
}

size_t client_transaction_keys_count(const struct client *client)
{
    return client->transaction != NULL ? client->transaction->keys_count : 0;
}

void client_transaction_keys(const struct client *client, struct tarn_bytes *ret_keys)
{
    if (client->transaction != NULL)
        queued_keys(client->transaction, ret_keys);
}

/* All keys of the transaction, queued and watched, at ret_keys. */
static void collect_keys(const struct transaction *t, struct tarn_bytes *ret_keys)
{
    queued_keys(t, ret_keys);
    watched_keys(&t->watched, ret_keys + t->keys_count);
}

/* What the requests that may need memory will store, as far as they tell: key and, of the arguments
 * after it up to the next key, the largest. ret_records has room for all their keys. */
static size_t collect_records(const struct transaction *t, struct tarn_record *ret_records)
{
    size_t count = 0;
    for (size_t i = 0; i < t->count; i++) {
        struct queued *q = t->queue[i];
        struct resp_request request = {q->args, q->args_count};
        size_t keys = command_keys_count(q->command, &request);
        for (size_t k = 0; (q->command->flags & COMMAND_DENYOOM) && k < keys; k++) {
            size_t at = (size_t)q->command->key_first + k * (size_t)q->command->key_step;
            size_t end = k + 1 < keys ? at + (size_t)q->command->key_step : q->args_count;
            struct tarn_record record = {.key = q->args[at], .value = {"", 0}};
            for (size_t j = at + 1; j < end; j++)
                if (q->args[j].size > record.value.size)
                    record.value = q->args[j];
            ret_records[count++] = record;
        }
    }
    return count;
}

/* Have what the transaction will store evict others now, since it cannot later. Whether that
 * succeeds shows when it is executed. */
static void make_room(struct client *client, const struct transaction *t)
{
    struct tarn_stats stats;
    if (t->memory_bytes == 0 || !is_capped(client))
        return;
    tarn_stats_get(server_store(client->server), &stats);
    if (stats.eviction == TARN_EVICT_NOTHING || t->memory_bytes > stats.memory_bytes_max / 2)
        return;
    struct tarn_record *records = malloc((t->keys_count + 1) * sizeof *records);
    if (records == NULL)
        return;
    size_t count = collect_records(t, records);
    for (int i = 0; i < ROOM_TRIES_MAX; i++)
        if (tarn_prepare(client->session, records, count) != TARN_FULL || !client_make_room(client))
            break;
    free(records);
}

/* From here to tarn_end() nobody else sees or changes what the transaction is about. */
static void begin(struct client *client, const struct transaction *t)
{
    struct tarn_bytes on_stack[KEYS_ON_STACK], *keys = on_stack;
    size_t count = t->keys_count + t->watched.count;
    if (t->everything)
        keys = NULL;
    else if (count > KEYS_ON_STACK)
        keys = malloc(count * sizeof *keys); /* NULL: everything */
    if (keys != NULL)
        collect_keys(t, keys);
    tarn_begin(client->session, keys, count);
    if (keys != on_stack)
        free(keys);
}

/* The transaction is complete and without errors. */
static void execute_all(struct client *client, struct transaction *t)
{
    make_room(client, t);
    begin(client, t);
    if (watched_changed(&t->watched)) {
        client_saw_everything(client);
        reply_null_array(&client->reply);
    } else {
        client->in_multi = false;
        client->in_exec = true;
        reply_array(&client->reply, t->count);
        for (size_t i = 0; i < t->count; i++)
            execute(client, t->queue[i]);
        client->in_exec = false;
    }
    tarn_end(client->session);
}

void cmd_exec(struct client *client, const struct resp_request *request)
{
    (void)request;
    struct transaction *t = client->transaction;
    if (!client->in_multi) {
        reply_error(&client->reply, "ERR EXEC without MULTI");
        return;
    }
    if (t->aborted)
        reply_error(&client->reply, "EXECABORT Transaction discarded because of previous errors.");
    else
        execute_all(client, t);
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

/* Watch one key; false after having answered why not. */
static bool watch(struct client *client, struct tarn_bytes key)
{
    if (over_limit(client, key.size)) {
        reply_error(&client->reply, "ERR the transaction exceeds request-limit");
        return false;
    }
    int status;
    do
        status = watched_add(&client->transaction->watched, client->session, key);
    while (status == TARN_FULL && client_make_room(client));
    if (status == TARN_TOOBIG)
        reply_error(&client->reply, "ERR too many watched keys: at most %d", WATCHED_KEYS_MAX);
    else if (status != TARN_OK && status != TARN_NOMEM)
        command_reply_failure(client, status);
    else if (status != TARN_OK)
        reply_error(&client->reply, "ERR out of memory for the transaction");
    return status == TARN_OK;
}

/* After an error the keys before it are watched, as they were asked to be. */
void cmd_watch(struct client *client, const struct resp_request *request)
{
    if (client->in_multi) {
        reply_error(&client->reply, "ERR WATCH inside MULTI is not allowed");
        return;
    }
    if (transaction_of(client) == NULL) {
        reply_error(&client->reply, "ERR out of memory for the transaction");
        return;
    }
    for (size_t i = 1; i < request->count; i++)
        if (!watch(client, request->args[i]))
            return;
    reply_simple(&client->reply, "OK");
}

/* Inside MULTI it is queued, and then comes too late to matter. */
void cmd_unwatch(struct client *client, const struct resp_request *request)
{
    (void)request;
    if (client->transaction != NULL && !client->in_exec)
        watched_clear(&client->transaction->watched);
    reply_simple(&client->reply, "OK");
}
