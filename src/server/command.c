/* Finding commands and letting them in. What: names to rows, and the errors every command shares.
 *
 * How: both tables are sorted by name and searched by halves over the lower-cased name; GET, the
 * hottest by far, is recognised by its three bytes. Texts of errors are Redis 7's word for word,
 * because clients look at them. Failure modes: none; whatever a client sends is answered. */
#include "server/command.h"

#include <stdarg.h>
#include <stdio.h>

#include "core/assert.h"
#include "core/number.h"
#include "server/command_rows.h"
#include "server/server.h"

#define NAME_BYTES_MAX    31         /* longer than any command's name */
#define PRINTED_BYTES_MAX (64 << 10) /* of an argument in an error */

/* Which of Redis's commands tarn refuses, and why. */
struct refusal {
    const char *group; /* or the full name */
    const char *reason;
};

static const struct refusal refusals[] = {
    {"hash", "it holds strings only"},        {"list", "it holds strings only"},
    {"set", "it holds strings only"},         {"sorted-set", "it holds strings only"},
    {"stream", "it holds strings only"},      {"geo", "it holds strings only"},
    {"hyperloglog", "it holds strings only"}, {"pubsub", "it has no channels"},
    {"scripting", "it runs no scripts"},      {NULL, NULL},
};

/* Subcommands of Redis's of containers that tarn has, refused likewise. */
static const struct refusal refused_subcommands[] = {
    {"acl|deluser", "it has one user, default"}, {"acl|dryrun", "its user may do everything"},
    {"acl|load", "it has one user, default"},    {"acl|log", "it keeps no such log"},
    {"acl|save", "it has one user, default"},    {"acl|setuser", "it has one user, default"},
    {"function|delete", "it runs no scripts"},   {"function|dump", "it runs no scripts"},
    {"function|kill", "it runs no scripts"},     {"function|load", "it runs no scripts"},
    {"function|restore", "it runs no scripts"},  {"function|stats", "it runs no scripts"},
    {"module|load", "it has no modules"},        {"module|loadex", "it has no modules"},
    {"module|unload", "it has no modules"},      {"script|debug", "it runs no scripts"},
    {"script|exists", "it runs no scripts"},     {"script|kill", "it runs no scripts"},
    {"script|load", "it runs no scripts"},       {NULL, NULL},
};

/* --- finding --- */

/* The row of that name (lower case) in a sorted table, or NULL. */
static const struct command *search_rows(const struct command *rows, size_t count, const char *name)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = strcmp(name, rows[middle].name);
        if (order == 0)
            return &rows[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

static inline bool is_get(struct tarn_bytes name)
{
    const unsigned char *p = name.data;
    return name.size == 3 && (p[0] | 0x20) == 'g' && (p[1] | 0x20) == 'e' && (p[2] | 0x20) == 't';
}

const struct command *command_find(struct tarn_bytes name)
{
    if (is_get(name))
        return &command_served[COMMAND_GET_ROW];
    if (name.size > NAME_BYTES_MAX)
        return NULL;
    char lower[NAME_BYTES_MAX + 1];
    const unsigned char *p = name.data;
    for (size_t i = 0; i < name.size; i++) {
        unsigned char c = p[i];
        if (c == 0)
            return NULL;
        lower[i] = (char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
    }
    lower[name.size] = 0;
    const struct command *found = search_rows(command_served, COMMAND_SERVED_COUNT, lower);
    return found != NULL ? found : search_rows(command_refused, COMMAND_REFUSED_IDS, lower);
}

const struct command *command_find_request(const struct resp_request *request)
{
    const struct command *command = command_find(request->args[0]);
    if (command == NULL || command->subcommands == NULL || request->count == 1)
        return command;
    for (const struct command *sub = command->subcommands; sub->name != NULL; sub++)
        if (bytes_equal_nocase(request->args[1], sub->name))
            return sub;
    return NULL;
}

unsigned command_count(void)
{
    return COMMAND_SERVED_IDS + COMMAND_REFUSED_IDS;
}

const char *command_full_name(unsigned id)
{
    if (id >= COMMAND_SERVED_IDS)
        return id < command_count() ? command_refused[id - COMMAND_SERVED_IDS].full_name : NULL;
    for (size_t i = 0; i < COMMAND_SERVED_COUNT; i++) {
        if (command_served[i].id == id)
            return command_served[i].full_name;
        const struct command *sub = command_served[i].subcommands;
        for (; sub != NULL && sub->name != NULL; sub++)
            if (sub->id == id)
                return sub->full_name;
    }
    return NULL;
}

/* --- errors --- */

/* Redis prints arguments as C strings: up to the first NUL, at most `size_max` bytes. */
static int printed_size(struct tarn_bytes bytes, size_t size_max)
{
    return (int)strnlen(bytes.data, bytes.size < size_max ? bytes.size : size_max);
}

static void reply_unknown_command(struct client *client, const struct resp_request *request)
{
    enum { ARGS_BYTES_MAX = 128 };
    char args[ARGS_BYTES_MAX + 8]; /* the last "'...' " may begin at byte 127 */
    size_t used = 0;
    for (size_t i = 1; i < request->count && used < ARGS_BYTES_MAX; i++) {
        int size = printed_size(request->args[i], ARGS_BYTES_MAX - used);
        used += (size_t)snprintf(args + used, sizeof args - used, "'%.*s' ", size,
                                 (const char *)request->args[i].data);
    }
    args[used] = 0;
    reply_error(&client->reply, "ERR unknown command '%.*s', with args beginning with: %s",
                printed_size(request->args[0], 128), (const char *)request->args[0].data, args);
}

/* "ERR <what> 'SUBCOMMAND'. Try CONTAINER HELP." */
static void reply_try_help(struct client *client, const struct resp_request *request,
                           const char *what)
{
    char container[NAME_BYTES_MAX + 1];
    size_t size = request->args[0].size < NAME_BYTES_MAX ? request->args[0].size : NAME_BYTES_MAX;
    const char *name = request->args[0].data;
    for (size_t i = 0; i < size; i++)
        container[i] = (char)(name[i] >= 'a' && name[i] <= 'z' ? name[i] & ~0x20 : name[i]);
    container[size] = 0;
    reply_error(&client->reply, "ERR %s '%.*s'. Try %s HELP.", what,
                printed_size(request->args[1], 128), (const char *)request->args[1].data,
                container);
}

void command_reply_unknown_subcommand(struct client *client, const struct resp_request *request)
{
    reply_try_help(client, request, "unknown subcommand");
}

void command_reply_subcommand_syntax(struct client *client, const struct resp_request *request)
{
    reply_try_help(client, request, "unknown subcommand or wrong number of arguments for");
}

void command_reply_arity(struct client *client, const char *full_name)
{
    reply_error(&client->reply, "ERR wrong number of arguments for '%s' command", full_name);
}

void command_reply_syntax_error(struct client *client)
{
    reply_error(&client->reply, "ERR syntax error");
}

/* Why one of the request's keys cannot be read, as far as it is known. */
static const char *unreadable_reason(struct client *client, int status)
{
    const struct command *command = client->asked_command;
    size_t count = command != NULL ? command_keys_count(command, client->asked) : 0;
    for (size_t i = 0; i < count; i++) {
        size_t at = (size_t)command->key_first + i * (size_t)command->key_step;
        const char *reason = tarn_unreadable(client->session, client->asked->args[at]);
        if (reason != NULL)
            return reason;
    }
    return tarn_status_text(status);
}

void command_reply_unreadable(struct client *client, int status)
{
    reply_error(&client->reply, "ERR cannot read the key: %s", unreadable_reason(client, status));
}

void command_reply_unreadable_keys(struct client *client, int status)
{
    reply_error(&client->reply, "ERR cannot read all keys: %s", tarn_status_text(status));
}

/* The log takes no changes; or, if it is sound, what was to be changed could not be read. The words
 * are Redis's, of its append-only file. */
static void reply_log_failure(struct client *client, int status)
{
    struct tarn_log_stats log;
    tarn_log_stats_get(server_store(client->server), &log);
    if (status == TARN_IO && log.state != TARN_IO)
        command_reply_unreadable(client, status);
    else if (status == TARN_NOSPACE)
        reply_error(&client->reply,
                    "MISCONF Errors writing to the AOF file: No space left on device");
    else
        reply_error(&client->reply, "MISCONF Errors writing to the AOF file: %s",
                    log.failure[0] != 0 ? log.failure : tarn_status_text(status));
}

void command_reply_failure(struct client *client, int status)
{
    switch (status) {
    case TARN_READONLY:
        reply_error(&client->reply, "READONLY You can't write against an immutable data set.");
        break;
    case TARN_FULL:
        reply_error(&client->reply, "OOM command not allowed when used memory > 'maxmemory'.");
        break;
    case TARN_TOOBIG:
        reply_error(&client->reply, "ERR string exceeds maximum allowed size (proto-max-bulk-len)");
        break;
    case TARN_IO:
    case TARN_NOSPACE:
        reply_log_failure(client, status);
        break;
    case TARN_CORRUPT:
        command_reply_unreadable(client, status);
        break;
    default:
        reply_error(&client->reply, "ERR %s", tarn_status_text(status));
    }
}

/* "127.0.0.1:1" and "[::1]:1", as Redis judges. */
static bool is_local(const struct client *client)
{
    return strncmp(client->address, "127.0.0.1:", 10) == 0 ||
           strncmp(client->address, "[::1]:", 6) == 0;
}

bool command_is_allowed(const struct client *client, int who)
{
    return who == CONFIG_DEBUG_YES || (who == CONFIG_DEBUG_LOCAL && is_local(client));
}

void command_reply_not_integer(struct client *client)
{
    reply_error(&client->reply, "ERR value is not an integer or out of range");
}

/* A command that is known but not served: a write, or something tarn does not have. */
static void reply_refusal(struct client *client, const struct command *command)
{
    if ((command->flags & COMMAND_WRITE) && !server_is_writable(client->server)) {
        reply_error(&client->reply, "READONLY You can't write against an immutable data set.");
        return;
    }
    if (strcmp(command->group, "cluster") == 0) {
        reply_error(&client->reply, "ERR This instance has cluster support disabled");
        return;
    }
    const char *reason = "it has no such function";
    for (const struct refusal *r = refusals; r->group != NULL; r++)
        if (strcmp(r->group, command->group) == 0)
            reason = r->reason;
    reply_error(&client->reply, "ERR tarn does not serve '%s': %s", command->name, reason);
}

/* A subcommand that the container does not have. */
static void reply_no_subcommand(struct client *client, const struct command *container,
                                const struct resp_request *request)
{
    size_t size = strlen(container->name);
    for (const struct refusal *r = refused_subcommands; r->group != NULL; r++) {
        if (strncmp(r->group, container->name, size) == 0 && r->group[size] == '|' &&
            bytes_equal_nocase(request->args[1], r->group + size + 1)) {
            reply_error(&client->reply, "ERR tarn does not serve '%s': %s", r->group, r->reason);
            return;
        }
    }
    command_reply_unknown_subcommand(client, request);
}

/* --- letting in --- */

bool command_client_is_authenticated(struct client *client)
{
    if (client->authenticated)
        return true;
    server_config_lock(client->server);
    bool open = server_config(client->server)->password[0] == 0;
    server_config_unlock(client->server);
    return open;
}

static const struct command *admit(struct client *client, const struct resp_request *request)
{
    const struct command *command = command_find_request(request);
    if (command == NULL) {
        const struct command *container = command_find(request->args[0]);
        if (container != NULL)
            reply_no_subcommand(client, container, request);
        else
            reply_unknown_command(client, request);
        return NULL;
    }
    if (!command_takes(command, request->count)) {
        command_reply_arity(client, command->full_name);
        return NULL;
    }
    if (!client->authenticated && (command->flags & COMMAND_NO_AUTH) == 0 &&
        !command_client_is_authenticated(client)) {
        reply_error(&client->reply, "NOAUTH Authentication required.");
        return NULL;
    }
    bool served = command->run != NULL || command->read != NULL;
    if (!served || ((command->flags & COMMAND_WRITE) && !server_is_writable(client->server))) {
        reply_refusal(client, command);
        return NULL;
    }
    if (command->run == cmd_debug && !cmd_debug_is_allowed(client)) {
        reply_error(&client->reply,
                    "ERR DEBUG command not allowed. If the enable-debug-command option is set to "
                    "\"local\", you can run it from a local connection, otherwise you need to set "
                    "this option in the configuration file, and then restart the server.");
        return NULL;
    }
    return command;
}

/* Is the request to wait for the end of a pause? UNPAUSE never is: else nobody could end one. EXEC
 * writes if one of the queued requests does. */
static bool is_held(struct client *client, const struct command *command)
{
    if (command->run == cmd_client_unpause)
        return false;
    bool writes = (command->flags & COMMAND_WRITE) != 0 ||
                  (command->run == cmd_exec && client_transaction_writes(client));
    return client_hold_if_paused(client, writes);
}

const struct command *command_admit(struct client *client, const struct resp_request *request)
{
    const struct command *command = admit(client, request);
    if (command != NULL && client->is_monitor && command_uses_data(command)) {
        reply_error(&client->reply, "ERR Replica can't interact with the keyspace");
        command = NULL;
    }
    if (command != NULL && is_held(client, command))
        return NULL;
    return client->in_multi ? command_admit_in_multi(client, command, request) : command;
}

/* --- what may be logged --- */

/* HELLO [version] then options: AUTH is followed by a user name and a password. */
static bool hello_argument_is_secret(const struct resp_request *request, size_t index)
{
    for (size_t i = 2; i < request->count; i++) {
        if (command_arg_is(request, i, "auth")) {
            if (index == i + 1 || index == i + 2)
                return true;
            i += 2;
        } else if (command_arg_is(request, i, "setname")) {
            i++;
        }
    }
    return false;
}

bool command_argument_is_secret(const struct resp_request *request, size_t index)
{
    if (index == 0)
        return false;
    if (command_arg_is(request, 0, "auth"))
        return true;
    if (command_arg_is(request, 0, "hello"))
        return hello_argument_is_secret(request, index);
    if (command_arg_is(request, 0, "config") && command_arg_is(request, 1, "set"))
        return index >= 3 && (index & 1) == 1 &&
               cmd_config_name_is_secret(request->args[index - 1]);
    return false;
}

/* --- helpers of handlers --- */

bool command_arg_is(const struct resp_request *request, size_t index, const char *word)
{
    return index < request->count && bytes_equal_nocase(request->args[index], word);
}

int command_printed_size(struct tarn_bytes bytes)
{
    return printed_size(bytes, PRINTED_BYTES_MAX);
}

bool command_arg_int(struct client *client, const struct resp_request *request, size_t index,
                     int64_t *ret_value)
{
    if (number_parse_int(request->args[index], ret_value))
        return true;
    command_reply_not_integer(client);
    return false;
}

bool command_arg_int32(struct client *client, const struct resp_request *request, size_t index,
                       int64_t *ret_value)
{
    int64_t value;
    if (!command_arg_int(client, request, index, &value))
        return false;
    if (value < INT32_MIN || value > INT32_MAX) {
        reply_error(&client->reply, "ERR value is out of range, value must between %d and %d",
                    INT32_MIN, INT32_MAX);
        return false;
    }
    *ret_value = value;
    return true;
}

int command_values_status(const struct tarn_bytes *values, size_t count, size_t found)
{
    for (size_t i = 0; i < count && found < count; i++) {
        int status = tarn_value_status(values[i]);
        if (status < 0)
            return status;
    }
    return TARN_OK;
}

void command_answer_read(struct client *client, const struct command *command,
                         const struct resp_request *request, struct tarn_bytes value)
{
    if (__builtin_expect(value.data == NULL && value.size != 0, 0)) {
        client->asked_command = command;
        client->asked = request;
        command_reply_unreadable(client, tarn_value_status(value));
    } else {
        command->read(client, request, value);
    }
}

/* The last argument that may be a key. */
static size_t last_key(const struct command *command, const struct resp_request *request)
{
    return command->key_last < 0 ? request->count - (size_t)-command->key_last
                                 : (size_t)command->key_last;
}

bool command_has_category(const struct command *command, struct tarn_bytes category)
{
    for (const char *p = command->categories; *p != 0;) {
        size_t size = strcspn(p, " ");
        if (size == category.size + 1 && strncasecmp(p + 1, category.data, category.size) == 0)
            return true;
        p += size + (p[size] == ' ');
    }
    return false;
}

bool command_uses_data(const struct command *command)
{
    return (command->flags & (COMMAND_READONLY | COMMAND_WRITE)) != 0;
}

size_t command_keys_count(const struct command *command, const struct resp_request *request)
{
    if (command->key_first == 0)
        return 0;
    size_t first = (size_t)command->key_first, last = last_key(command, request);
    return last < first ? 0 : (last - first) / (size_t)command->key_step + 1;
}

size_t command_keys(const struct command *command, const struct resp_request *request,
                    struct tarn_bytes *ret_keys)
{
    size_t count = command_keys_count(command, request);
    for (size_t i = 0; i < count; i++)
        ret_keys[i] = request->args[(size_t)command->key_first + i * (size_t)command->key_step];
    return count;
}

bool command_update(struct client *client, struct tarn_bytes key, tarn_change change, void *context)
{
    int status;
    do {
        status = tarn_update(client->session, key, change, context);
    } while (status == TARN_FULL && client_make_room(client));
    if (status != TARN_OK)
        command_reply_failure(client, status);
    return status == TARN_OK;
}

void command_reply_status(struct client *client, struct tarn_bytes line)
{
    struct buffer *out = client->reply.out;
    buffer_append_byte(out, '+');
    const unsigned char *p = line.data;
    for (size_t i = 0; i < line.size; i++)
        buffer_append_byte(out, p[i] == '\r' || p[i] == '\n' ? ' ' : p[i]);
    buffer_append_text(out, "\r\n");
}

void command_insert(struct client *client, size_t start, const char *format, ...)
{
    struct buffer *out = client->reply.out;
    char header[128];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(header, sizeof header, format, args);
    va_end(args);
    ASSERT(length >= 0 && (size_t)length < sizeof header);
    size_t size = (size_t)length;
    if (!buffer_reserve(out, size))
        return;
    memmove(out->data + start + size, out->data + start, out->size - start);
    memcpy(out->data + start, header, size);
    out->size += size;
}
