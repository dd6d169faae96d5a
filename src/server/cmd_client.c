/* CLIENT: who is connected. Names, lists, closing connections, turning replies off.
 *
 * Other workers' clients are reached only through server.h's functions. tarn has one kind of
 * client and one user, so that a filter by type or user matches all clients or none. */
#include "core/number.h"
#include "server/command_rows.h"
#include "server/server.h"

enum {
    ADDRESS_BYTES_MAX = 127, /* longer than any address */
    LIST_BYTES_MAX = 64 << 20,
};

static bool is_printable(struct tarn_bytes text)
{
    const unsigned char *p = text.data;
    for (size_t i = 0; i < text.size; i++)
        if (p[i] < '!' || p[i] > '~')
            return false;
    return true;
}

const char *cmd_client_name_problem(struct tarn_bytes name)
{
    if (!is_printable(name))
        return "Client names cannot contain spaces, newlines or special characters.";
    if (name.size > CLIENT_NAME_BYTES_MAX)
        return "Client names cannot be longer than 256 bytes.";
    return NULL;
}

void cmd_client_set_name(struct client *client, struct tarn_bytes name)
{
    char text[CLIENT_NAME_BYTES_MAX + 1];
    memcpy(text, name.data, name.size);
    text[name.size] = 0;
    client_set_name(client, text);
}

void cmd_client_id(struct client *client, const struct resp_request *request)
{
    (void)request;
    reply_int(&client->reply, (int64_t)client->id);
}

void cmd_client_setname(struct client *client, const struct resp_request *request)
{
    const char *problem = cmd_client_name_problem(request->args[2]);
    if (problem != NULL) {
        reply_error(&client->reply, "ERR %s", problem);
        return;
    }
    cmd_client_set_name(client, request->args[2]);
    reply_simple(&client->reply, "OK");
}

void cmd_client_getname(struct client *client, const struct resp_request *request)
{
    (void)request;
    if (client->name[0] != 0)
        reply_bulk_text(&client->reply, client->name);
    else
        reply_null(&client->reply);
}

void cmd_client_setinfo(struct client *client, const struct resp_request *request)
{
    struct tarn_bytes attribute = request->args[2], value = request->args[3];
    bool is_name = bytes_equal_nocase(attribute, "lib-name");
    if (!is_name && !bytes_equal_nocase(attribute, "lib-ver")) {
        reply_error(&client->reply, "ERR Unrecognized option '%.*s'",
                    command_printed_size(attribute), (const char *)attribute.data);
        return;
    }
    const char *word = is_name ? "lib-name" : "lib-ver";
    if (!is_printable(value) || value.size > CLIENT_NAME_BYTES_MAX) {
        reply_error(&client->reply, "ERR %s cannot contain spaces, newlines or special characters.",
                    word);
        return;
    }
    char text[CLIENT_NAME_BYTES_MAX + 1];
    memcpy(text, value.data, value.size);
    text[value.size] = 0;
    client_set_lib(client, is_name ? text : NULL, is_name ? NULL : text);
    reply_simple(&client->reply, "OK");
}

/* --- INFO and LIST --- */

static void reply_list(struct client *client, struct buffer *list)
{
    if (list->failed)
        reply_error(&client->reply, "ERR the list of clients is too long");
    else
        reply_verbatim(&client->reply, "txt", buffer_view(list));
    buffer_done(list);
}

void cmd_client_info(struct client *client, const struct resp_request *request)
{
    (void)request;
    struct buffer list;
    buffer_init(&list, LIST_BYTES_MAX);
    server_client_list(client->server, client->id, &list);
    reply_list(client, &list);
}

/* Clients of tarn are all of type normal. False after having answered that there is no such
 * type. */
static bool parse_type(struct client *client, struct tarn_bytes type, bool *ret_matches)
{
    static const char *const others[] = {"master", "slave", "replica", "pubsub"};
    *ret_matches = bytes_equal_nocase(type, "normal");
    if (*ret_matches)
        return true;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (bytes_equal_nocase(type, others[i]))
            return true;
    reply_error(&client->reply, "ERR Unknown client type '%.*s'", command_printed_size(type),
                (const char *)type.data);
    return false;
}

/* Append a line for each id asked for; false after having answered that one is no number. */
static bool list_ids(struct client *client, const struct resp_request *request, struct buffer *list)
{
    int64_t id;
    for (size_t i = 3; i < request->count; i++) {
        if (!number_parse_int(request->args[i], &id)) {
            reply_error(&client->reply, "ERR Invalid client ID");
            return false;
        }
        if (id > 0)
            server_client_list(client->server, (uint64_t)id, list);
    }
    return true;
}

void cmd_client_list(struct client *client, const struct resp_request *request)
{
    struct buffer list;
    buffer_init(&list, LIST_BYTES_MAX);
    bool matches = true;
    if (request->count == 2) {
        server_client_list(client->server, 0, &list);
    } else if (request->count == 4 && command_arg_is(request, 2, "type")) {
        if (!parse_type(client, request->args[3], &matches))
            return;
        if (matches)
            server_client_list(client->server, 0, &list);
    } else if (request->count > 3 && command_arg_is(request, 2, "id")) {
        if (!list_ids(client, request, &list)) {
            buffer_done(&list);
            return;
        }
    } else {
        command_reply_syntax_error(client);
        return;
    }
    reply_list(client, &list);
}

/* --- KILL --- */

struct kill {
    struct client_filter filter;
    bool nobody; /* a filter that no client of tarn's can match */
    char address[ADDRESS_BYTES_MAX + 1], local_address[ADDRESS_BYTES_MAX + 1];
};

/* Copy an address; one that is too long for any client matches nobody. */
static const char *kill_address(struct kill *kill, struct tarn_bytes text,
                                char out[ADDRESS_BYTES_MAX + 1])
{
    if (text.size == 0 || text.size > ADDRESS_BYTES_MAX) {
        kill->nobody = true;
        return NULL;
    }
    memcpy(out, text.data, text.size);
    out[text.size] = 0;
    return out;
}

/* One "FILTER value" pair; false after having answered an error. */
static bool parse_kill_filter(struct client *client, const struct resp_request *request, size_t i,
                              struct kill *kill)
{
    struct tarn_bytes value = request->args[i + 1];
    int64_t number;
    bool matches;
    if (command_arg_is(request, i, "id")) {
        if (!number_parse_int(value, &number) || number < 1) {
            reply_error(&client->reply, "ERR client-id should be greater than 0");
            return false;
        }
        kill->filter.id = (uint64_t)number;
    } else if (command_arg_is(request, i, "maxage")) {
        if (!number_parse_int(value, &number) || number < 1) {
            reply_error(&client->reply, "ERR maxage is not an integer or out of range");
            return false;
        }
        kill->filter.age_seconds_min = (uint64_t)number;
    } else if (command_arg_is(request, i, "type")) {
        if (!parse_type(client, value, &matches))
            return false;
        kill->nobody |= !matches;
    } else if (command_arg_is(request, i, "addr")) {
        kill->filter.address = kill_address(kill, value, kill->address);
    } else if (command_arg_is(request, i, "laddr")) {
        kill->filter.local_address = kill_address(kill, value, kill->local_address);
    } else if (command_arg_is(request, i, "user")) {
        if (!bytes_equal(value, bytes_of("default"))) {
            reply_error(&client->reply, "ERR No such user '%.*s'", command_printed_size(value),
                        (const char *)value.data);
            return false;
        }
    } else if (command_arg_is(request, i, "skipme") && bytes_equal_nocase(value, "yes")) {
        kill->filter.skip_id = client->id;
    } else if (command_arg_is(request, i, "skipme") && bytes_equal_nocase(value, "no")) {
        kill->filter.skip_id = 0;
    } else {
        command_reply_syntax_error(client);
        return false;
    }
    return true;
}

void cmd_client_kill(struct client *client, const struct resp_request *request)
{
    struct kill kill = {0};
    bool old_form = request->count == 3; /* CLIENT KILL address */
    if (old_form) {
        kill.filter.address = kill_address(&kill, request->args[2], kill.address);
    } else {
        kill.filter.skip_id = client->id;
        for (size_t i = 2; i < request->count; i += 2) {
            if (i + 1 == request->count) {
                command_reply_syntax_error(client);
                return;
            }
            if (!parse_kill_filter(client, request, i, &kill))
                return;
        }
    }
    uint64_t killed = kill.nobody ? 0 : server_client_kill(client->server, &kill.filter);
    if (!old_form)
        reply_int(&client->reply, (int64_t)killed);
    else if (killed > 0)
        reply_simple(&client->reply, "OK");
    else
        reply_error(&client->reply, "ERR No such client");
}

/* --- REPLY and switches --- */

/* ON and OFF answer as their new state says; SKIP says nothing, for itself and the next one. */
void cmd_client_reply(struct client *client, const struct resp_request *request)
{
    if (command_arg_is(request, 2, "on")) {
        client->reply_mode = CLIENT_REPLY_ON;
        client->reply_skip_next = false;
        reply_simple(&client->reply, "OK");
    } else if (command_arg_is(request, 2, "off")) {
        client->reply_mode = CLIENT_REPLY_OFF;
    } else if (command_arg_is(request, 2, "skip")) {
        if (client->reply_mode != CLIENT_REPLY_OFF)
            client->reply_skip_next = true;
    } else {
        command_reply_syntax_error(client);
    }
}

static void set_switch(struct client *client, const struct resp_request *request, bool *field)
{
    bool on = command_arg_is(request, 2, "on");
    if (!on && !command_arg_is(request, 2, "off")) {
        command_reply_syntax_error(client);
        return;
    }
    *field = on;
    reply_simple(&client->reply, "OK");
}

void cmd_client_no_evict(struct client *client, const struct resp_request *request)
{
    set_switch(client, request, &client->no_evict);
}

void cmd_client_no_touch(struct client *client, const struct resp_request *request)
{
    set_switch(client, request, &client->no_touch);
}
