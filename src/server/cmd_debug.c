/* DEBUG: what the test suites of clients and peers use of it. Refused unless the setting
 * enable-debug-command allows it.
 *
 * SLEEP makes the client wait that asks, not the others: a worker serves many. Failure modes:
 * errors in Redis 7's words. */
#include <math.h>

#include "core/glob.h"
#include "core/number.h"
#include "server/command_rows.h"
#include "server/server.h"

#define SLEEP_SECONDS_MAX 1e9
#define LRU_CLOCK_MASK    0xffffff

struct debug_subcommand {
    const char *name;
    size_t count; /* of arguments, with DEBUG and the name */
    void (*run)(struct client *client, const struct resp_request *request);
    const char *usage, *help;
};

bool cmd_debug_is_allowed(struct client *client)
{
    return command_is_allowed(client, server_config(client->server)->debug_command);
}

/* --- subcommands --- */

static void debug_sleep(struct client *client, const struct resp_request *request)
{
    double seconds;
    if (!number_parse_real(request->args[2], &seconds) || !(seconds > 0))
        seconds = 0; /* as Redis takes what is no number */
    if (seconds > SLEEP_SECONDS_MAX)
        seconds = SLEEP_SECONDS_MAX;
    if (client->in_exec || seconds <= 0)
        reply_simple(&client->reply, "OK");
    else
        client_sleep(client, (uint64_t)ceil(seconds * 1000));
}

static void debug_set_active_expire(struct client *client, const struct resp_request *request)
{
    int64_t number;
    bool active = number_parse_int(request->args[2], &number) && number != 0;
    tarn_expire_actively(server_store(client->server), active);
    reply_simple(&client->reply, "OK");
}

/* Bytes that Redis writes for a string, without compression: a header and the bytes. */
static size_t serialized_size(size_t size)
{
    return size + (size < 64 ? 1 : size < 16384 ? 2 : 5);
}

static void debug_object(struct client *client, const struct resp_request *request)
{
    const struct os *os = server_os(client->server);
    struct tarn_bytes value;
    int status = tarn_get(client->session, request->args[2], &value);
    if (status == TARN_NOTFOUND)
        reply_error(&client->reply, "ERR no such key");
    else if (status != TARN_OK)
        command_reply_unreadable(client, status);
    if (status != TARN_OK)
        return;
    uint64_t clock = (uint64_t)os->realtime_us(os) / 1000000 & LRU_CLOCK_MASK;
    buffer_printf(client->reply.out,
                  "+Value at:%p refcount:1 encoding:%s serializedlength:%zu lru:%llu "
                  "lru_seconds_idle:0\r\n",
                  value.data, cmd_object_encoding_of(value), serialized_size(value.size),
                  (unsigned long long)clock);
}

/* STRINGMATCH-LEN pattern text: do they match? */
static void debug_match(struct client *client, const struct resp_request *request)
{
    reply_int(&client->reply, glob_match(request->args[2], request->args[3], false));
}

static void debug_help(struct client *client, const struct resp_request *request);

static const struct debug_subcommand subcommands[] = {
    {"object", 3, debug_object, "OBJECT <key>", "Show low level info about `key` and its value."},
    {"set-active-expire", 3, debug_set_active_expire, "SET-ACTIVE-EXPIRE <0|1>",
     "With 0, expired keys are not freed in the background; with 1 again."},
    {"sleep", 3, debug_sleep, "SLEEP <seconds>",
     "Let this client wait for <seconds>. Decimals allowed."},
    {"stringmatch-len", 4, debug_match, "STRINGMATCH-LEN <pattern> <string>",
     "Tell whether the pattern matches the string."},
    {"help", 2, debug_help, "HELP", "Print this help."},
};
enum { SUBCOMMANDS_COUNT = sizeof subcommands / sizeof *subcommands };

static void debug_help(struct client *client, const struct resp_request *request)
{
    (void)request;
    struct buffer *out = client->reply.out;
    reply_array(&client->reply, 1 + 2 * SUBCOMMANDS_COUNT);
    buffer_append_text(out, "+DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:\r\n");
    for (size_t i = 0; i < SUBCOMMANDS_COUNT; i++)
        buffer_printf(out, "+%s\r\n+    %s\r\n", subcommands[i].usage, subcommands[i].help);
}

void cmd_debug(struct client *client, const struct resp_request *request)
{
    for (size_t i = 0; i < SUBCOMMANDS_COUNT; i++) {
        if (request->count == subcommands[i].count &&
            command_arg_is(request, 1, subcommands[i].name)) {
            subcommands[i].run(client, request);
            return;
        }
    }
    command_reply_subcommand_syntax(client, request);
}
