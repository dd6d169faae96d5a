/* Commands on the connection: PING, ECHO, QUIT, RESET, SELECT, AUTH and HELLO.
 *
 * There is one user, "default", and one password. Passwords are compared in constant time under
 * the config lock and never copied or logged. Failure modes: wrong passwords and arguments are
 * answered with Redis 7's errors; a failed AUTH leaves the client as it was. */

#include "core/number.h"
#include "server/command_rows.h"
#include "server/secret.h"
#include "server/server.h"

void cmd_ping(struct client *client, const struct resp_request *request)
{
    if (request->count > 2)
        command_reply_arity(client, "ping");
    else if (request->count == 2)
        reply_bulk(&client->reply, request->args[1]);
    else
        reply_simple(&client->reply, "PONG");
}

void cmd_echo(struct client *client, const struct resp_request *request)
{
    reply_bulk(&client->reply, request->args[1]);
}

void cmd_quit(struct client *client, const struct resp_request *request)
{
    (void)request;
    reply_simple(&client->reply, "OK");
    client->close_after_reply = true;
}

void cmd_select(struct client *client, const struct resp_request *request)
{
    int64_t index;
    if (!command_arg_int32(client, request, 1, &index))
        return;
    if (index != 0)
        reply_error(&client->reply, "ERR DB index is out of range");
    else
        reply_simple(&client->reply, "OK");
}

/* Is there a password at all? */
static bool password_is_set(struct client *client)
{
    server_config_lock(client->server);
    bool set = server_config(client->server)->password[0] != 0;
    server_config_unlock(client->server);
    return set;
}

/* The one user is "default"; without a password any is right. */
static bool password_is_right(struct client *client, struct tarn_bytes user,
                              struct tarn_bytes password)
{
    server_config_lock(client->server);
    const char *wanted = server_config(client->server)->password;
    bool right = secret_equal(password, bytes_of(wanted)) || wanted[0] == 0;
    server_config_unlock(client->server);
    return bytes_equal(user, bytes_of("default")) && right;
}

static void reply_wrong_password(struct client *client)
{
    reply_error(&client->reply, "WRONGPASS invalid username-password pair or user is disabled.");
}

void cmd_auth(struct client *client, const struct resp_request *request)
{
    if (request->count > 3) {
        command_reply_syntax_error(client);
        return;
    }
    bool user_given = request->count == 3;
    if (!user_given && !password_is_set(client)) {
        reply_error(&client->reply,
                    "ERR AUTH <password> called without any password configured for the default "
                    "user. Are you sure your configuration is correct?");
        return;
    }
    struct tarn_bytes user = user_given ? request->args[1] : bytes_of("default");
    if (!password_is_right(client, user, request->args[request->count - 1])) {
        reply_wrong_password(client);
        return;
    }
    client->authenticated = true;
    reply_simple(&client->reply, "OK");
}

void cmd_reset(struct client *client, const struct resp_request *request)
{
    (void)request;
    client_transaction_end(client);
    client_monitor_end(client);
    client_set_name(client, "");
    client->authenticated = !password_is_set(client);
    client->reply.protocol = 2;
    client->reply_mode = CLIENT_REPLY_ON;
    client->reply_skip_next = false;
    client->no_evict = client->no_touch = false;
    reply_simple(&client->reply, "RESET");
}

/* --- HELLO [protocol [AUTH user password] [SETNAME name]] --- */

struct hello {
    int protocol; /* 0: leave it */
    bool auth;
    struct tarn_bytes user, password, name; /* name.data NULL: not given */
};

/* False after having answered an error. */
static bool parse_hello(struct client *client, const struct resp_request *request,
                        struct hello *hello)
{
    int64_t protocol;
    if (request->count >= 2) {
        if (!number_parse_int(request->args[1], &protocol)) {
            reply_error(&client->reply, "ERR Protocol version is not an integer or out of range");
            return false;
        }
        if (protocol != 2 && protocol != 3) {
            reply_error(&client->reply, "NOPROTO unsupported protocol version");
            return false;
        }
        hello->protocol = (int)protocol;
    }
    for (size_t i = 2; i < request->count; i++) {
        size_t left = request->count - 1 - i;
        if (left >= 2 && command_arg_is(request, i, "auth")) {
            hello->auth = true;
            hello->user = request->args[i + 1];
            hello->password = request->args[i + 2];
            i += 2;
        } else if (left >= 1 && command_arg_is(request, i, "setname")) {
            const char *problem = cmd_client_name_problem(request->args[i + 1]);
            if (problem != NULL) {
                reply_error(&client->reply, "ERR %s", problem);
                return false;
            }
            hello->name = request->args[i + 1];
            i++;
        } else {
            reply_error(&client->reply, "ERR Syntax error in HELLO option '%.*s'",
                        command_printed_size(request->args[i]),
                        (const char *)request->args[i].data);
            return false;
        }
    }
    return true;
}

static void reply_hello(struct client *client)
{
    struct reply *r = &client->reply;
    reply_map(r, 7);
    reply_bulk_text(r, "server");
    reply_bulk_text(r, "redis");
    reply_bulk_text(r, "version");
    reply_bulk_text(r, SERVER_REDIS_VERSION);
    reply_bulk_text(r, "proto");
    reply_int(r, r->protocol);
    reply_bulk_text(r, "id");
    reply_int(r, (int64_t)client->id);
    reply_bulk_text(r, "mode");
    reply_bulk_text(r, "standalone");
    reply_bulk_text(r, "role");
    reply_bulk_text(r, "master");
    reply_bulk_text(r, "modules");
    reply_array(r, 0);
}

void cmd_hello(struct client *client, const struct resp_request *request)
{
    struct hello hello = {0};
    if (!parse_hello(client, request, &hello))
        return;
    if (hello.auth) {
        if (!password_is_right(client, hello.user, hello.password)) {
            reply_wrong_password(client);
            return;
        }
        client->authenticated = true;
    }
    if (!command_client_is_authenticated(client)) {
        reply_error(&client->reply,
                    "NOAUTH HELLO must be called with the client already authenticated, otherwise "
                    "the HELLO AUTH <user> <pass> option can be used to authenticate the "
                    "client and select the RESP protocol version at the same time");
        return;
    }
    if (hello.name.data != NULL)
        cmd_client_set_name(client, hello.name);
    if (hello.protocol != 0)
        client->reply.protocol = hello.protocol;
    reply_hello(client);
}
