/* ACL: there is one user, "default", who may do everything. Its password is never shown, nor a hash
 * of it. Failure modes: errors in Redis 7's words. */
#include "core/number.h"
#include "server/command_rows.h"
#include "server/server.h"

#define USER          "default"
#define HIDDEN        "(redacted)"
#define GENPASS_BITS  256
#define GENPASS_MAX   4096
#define GENPASS_CHARS (GENPASS_MAX / 4)

static bool has_password(struct client *client)
{
    server_config_lock(client->server);
    bool has = server_config(client->server)->password[0] != 0;
    server_config_unlock(client->server);
    return has;
}

void cmd_acl_whoami(struct client *client, const struct resp_request *request)
{
    (void)request;
    reply_bulk_text(&client->reply, USER);
}

void cmd_acl_users(struct client *client, const struct resp_request *request)
{
    (void)request;
    reply_array(&client->reply, 1);
    reply_bulk_text(&client->reply, USER);
}

void cmd_acl_list(struct client *client, const struct resp_request *request)
{
    (void)request;
    reply_array(&client->reply, 1);
    reply_bulk_text(&client->reply, has_password(client) ? "user " USER " on #" HIDDEN
                                                           " ~* &* +@all"
                                                         : "user " USER " on nopass ~* &* +@all");
}

void cmd_acl_getuser(struct client *client, const struct resp_request *request)
{
    struct reply *r = &client->reply;
    bool password = has_password(client);
    if (!bytes_equal(request->args[2], bytes_of(USER))) {
        reply_null(r);
        return;
    }
    reply_map(r, 6);
    reply_bulk_text(r, "flags");
    reply_set(r, password ? 1 : 2);
    reply_bulk_text(r, "on");
    if (!password)
        reply_bulk_text(r, "nopass");
    reply_bulk_text(r, "passwords");
    reply_array(r, password);
    if (password)
        reply_bulk_text(r, HIDDEN);
    reply_bulk_text(r, "commands");
    reply_bulk_text(r, "+@all");
    reply_bulk_text(r, "keys");
    reply_bulk_text(r, "~*");
    reply_bulk_text(r, "channels");
    reply_bulk_text(r, "&*");
    reply_bulk_text(r, "selectors");
    reply_array(r, 0);
}

/* GENPASS [bits]: so many random bits as hexadecimal digits. */
void cmd_acl_genpass(struct client *client, const struct resp_request *request)
{
    const struct os *os = server_os(client->server);
    static const char digits[] = "0123456789abcdef";
    unsigned char random[GENPASS_CHARS];
    char text[GENPASS_CHARS];
    int64_t bits = GENPASS_BITS;
    if (request->count > 3) {
        command_reply_subcommand_syntax(client, request);
        return;
    }
    if (request->count == 3 && !command_arg_int(client, request, 2, &bits))
        return;
    if (bits <= 0 || bits > GENPASS_MAX) {
        reply_error(&client->reply,
                    "ERR ACL GENPASS argument must be the number of bits for the "
                    "output password, a positive number up to %d",
                    GENPASS_MAX);
        return;
    }
    size_t size = (size_t)(bits + 3) / 4;
    if (os->entropy(os, random, size) != 0) {
        reply_error(&client->reply, "ERR no random bytes");
        return;
    }
    for (size_t i = 0; i < size; i++)
        text[i] = digits[random[i] & 15];
    reply_bulk(&client->reply, (struct tarn_bytes){text, size});
}

/* --- CAT [category] --- */

static const char *const categories[] = {
    "keyspace", "read",   "write",       "set",       "sortedset",  "list",        "hash",
    "string",   "bitmap", "hyperloglog", "geo",       "stream",     "pubsub",      "admin",
    "fast",     "slow",   "blocking",    "dangerous", "connection", "transaction", "scripting",
};
enum { CATEGORIES_COUNT = sizeof categories / sizeof *categories };

static bool is_category(struct tarn_bytes name)
{
    for (size_t i = 0; i < CATEGORIES_COUNT; i++)
        if (bytes_equal_nocase(name, categories[i]))
            return true;
    return false;
}

static size_t reply_if_in(struct client *client, const struct command *command,
                          struct tarn_bytes category)
{
    if (!command_has_category(command, category))
        return 0;
    reply_bulk_text(&client->reply, command->full_name);
    return 1;
}

static void reply_commands_in(struct client *client, struct tarn_bytes category)
{
    size_t start = client->reply.out->size, count = 0;
    for (size_t i = 0; i < COMMAND_SERVED_COUNT; i++) {
        count += reply_if_in(client, &command_served[i], category);
        const struct command *sub = command_served[i].subcommands;
        for (; sub != NULL && sub->name != NULL; sub++)
            count += reply_if_in(client, sub, category);
    }
    command_insert(client, start, "*%zu\r\n", count);
}

void cmd_acl_cat(struct client *client, const struct resp_request *request)
{
    if (request->count > 3) {
        command_reply_subcommand_syntax(client, request);
    } else if (request->count == 2) {
        reply_array(&client->reply, CATEGORIES_COUNT);
        for (size_t i = 0; i < CATEGORIES_COUNT; i++)
            reply_bulk_text(&client->reply, categories[i]);
    } else if (is_category(request->args[2])) {
        reply_commands_in(client, request->args[2]);
    } else {
        reply_error(&client->reply, "ERR Unknown category '%.*s'",
                    command_printed_size(request->args[2]), (const char *)request->args[2].data);
    }
}
