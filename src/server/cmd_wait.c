/* Commands about waiting: CLIENT PAUSE, UNPAUSE and UNBLOCK, WAIT and WAITAOF. There are no
 * replicas, so that who waits for them waits until the time is over; Redis's append-only file is
 * the log. Inside EXEC nobody waits: the answer is what there is. */
#include "core/number.h"
#include "server/command_rows.h"
#include "server/server.h"

/* args[index] as a time in ms, 0 or more; false after having answered that it is none. */
static bool parse_timeout(struct client *client, const struct resp_request *request, size_t index,
                          uint64_t *ret_ms)
{
    int64_t ms;
    if (!number_parse_int(request->args[index], &ms)) {
        reply_error(&client->reply, "ERR timeout is not an integer or out of range");
        return false;
    }
    if (ms < 0) {
        reply_error(&client->reply, "ERR timeout is negative");
        return false;
    }
    *ret_ms = (uint64_t)ms;
    return true;
}

void cmd_client_pause(struct client *client, const struct resp_request *request)
{
    uint64_t ms;
    bool writes = command_arg_is(request, 3, "write");
    if (request->count > 4)
        command_reply_subcommand_syntax(client, request);
    else if (request->count == 4 && !writes && !command_arg_is(request, 3, "all"))
        reply_error(&client->reply, "ERR CLIENT PAUSE mode must be WRITE or ALL");
    else if (parse_timeout(client, request, 2, &ms))
        client_pause(client, ms, !writes);
}

void cmd_client_unpause(struct client *client, const struct resp_request *request)
{
    (void)request;
    server_unpause(client->server);
    reply_simple(&client->reply, "OK");
}

void cmd_client_unblock(struct client *client, const struct resp_request *request)
{
    int64_t id;
    bool error = command_arg_is(request, 3, "error");
    if (request->count > 4) {
        command_reply_subcommand_syntax(client, request);
    } else if (request->count == 4 && !error && !command_arg_is(request, 3, "timeout")) {
        reply_error(&client->reply, "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
    } else if (command_arg_int(client, request, 2, &id)) {
        reply_int(&client->reply,
                  id > 0 && server_client_unblock(client->server, (uint64_t)id, error));
    }
}

/* WAIT replicas timeout */
void cmd_wait(struct client *client, const struct resp_request *request)
{
    int64_t replicas;
    uint64_t ms;
    if (!command_arg_int(client, request, 1, &replicas) || !parse_timeout(client, request, 2, &ms))
        return;
    if (replicas <= 0 || client->in_exec)
        reply_int(&client->reply, 0);
    else
        client_wait_replicas(client, ms);
}

/* WAITAOF local replicas timeout */
void cmd_waitaof(struct client *client, const struct resp_request *request)
{
    int64_t local, replicas;
    uint64_t ms;
    if (!number_parse_int(request->args[1], &local) || local < 0 || local > 1) {
        reply_error(&client->reply, "ERR value is out of range, value must between 0 and 1");
        return;
    }
    if (!command_arg_int(client, request, 2, &replicas))
        return;
    if (replicas < 0) {
        reply_error(&client->reply, "ERR value is out of range, must be positive");
        return;
    }
    if (!parse_timeout(client, request, 3, &ms))
        return;
    client_wait_synced(client, local > 0, replicas > 0, ms);
}
