/* COMMAND: what the server can do, for clients that ask. All of it comes from the rows of
 * command_table.c, in the shapes of Redis 7: COUNT, INFO, DOCS, LIST, GETKEYS. Commands that are
 * known but refused are left out. */
#include "core/glob.h"
#include "server/command_rows.h"

/* --- words --- */

struct flag_word {
    unsigned flag;
    const char *word;
};

static const struct flag_word flag_words[] = {
    {COMMAND_WRITE, "write"},       {COMMAND_READONLY, "readonly"},
    {COMMAND_DENYOOM, "denyoom"},   {COMMAND_ADMIN, "admin"},
    {COMMAND_NOSCRIPT, "noscript"}, {COMMAND_NO_ASYNC_LOADING, "no_async_loading"},
    {COMMAND_LOADING, "loading"},   {COMMAND_STALE, "stale"},
    {COMMAND_FAST, "fast"},         {COMMAND_NO_AUTH, "no_auth"},
    {COMMAND_NO_MULTI, "no_multi"}, {COMMAND_ALLOW_BUSY, "allow_busy"},
};
enum { FLAG_WORDS_COUNT = sizeof flag_words / sizeof *flag_words };

static const char *const argument_words[] = {
    [ARGUMENT_STRING] = "string",         [ARGUMENT_INTEGER] = "integer",
    [ARGUMENT_DOUBLE] = "double",         [ARGUMENT_KEY] = "key",
    [ARGUMENT_PATTERN] = "pattern",       [ARGUMENT_UNIX_TIME] = "unix-time",
    [ARGUMENT_PURE_TOKEN] = "pure-token", [ARGUMENT_ONEOF] = "oneof",
    [ARGUMENT_BLOCK] = "block",
};

static bool is_served(const struct command *command)
{
    return command != NULL && (command->flags & COMMAND_REFUSED) == 0;
}

const struct command *command_find_full(struct tarn_bytes name)
{
    const char *bar = name.size > 0 ? memchr(name.data, '|', name.size) : NULL;
    struct tarn_bytes words[2] = {name};
    struct resp_request request = {words, 1};
    if (bar != NULL) {
        words[0].size = (size_t)(bar - (const char *)name.data);
        words[1] = (struct tarn_bytes){bar + 1, name.size - words[0].size - 1};
        request.count = 2;
    }
    const struct command *command = command_find_request(&request);
    if (bar != NULL && command != NULL && strchr(command->full_name, '|') == NULL)
        return NULL; /* "get|x" */
    return is_served(command) ? command : NULL;
}

static size_t count_subcommands(const struct command *command)
{
    size_t count = 0;
    for (const struct command *sub = command->subcommands; sub != NULL && sub->name != NULL; sub++)
        count++;
    return count;
}

/* --- INFO --- */

/* A set of words that stand in one text, separated by spaces. */
static void reply_words(struct client *client, const char *text, bool as_status)
{
    size_t count = text != NULL && text[0] != 0;
    for (const char *p = text; count > 0 && *p != 0; p++)
        count += *p == ' ';
    reply_set(&client->reply, count);
    for (const char *p = text; count > 0; count--) {
        size_t size = strcspn(p, " ");
        struct tarn_bytes word = {p, size};
        if (as_status)
            command_reply_status(client, word);
        else
            reply_bulk(&client->reply, word);
        p += size + 1;
    }
}

static void reply_flags(struct client *client, unsigned flags)
{
    size_t count = 0;
    for (size_t i = 0; i < FLAG_WORDS_COUNT; i++)
        count += (flags & flag_words[i].flag) != 0;
    reply_set(&client->reply, count);
    for (size_t i = 0; i < FLAG_WORDS_COUNT; i++)
        if (flags & flag_words[i].flag)
            reply_simple(&client->reply, flag_words[i].word);
}

/* How a command uses its first key, and those after it. */
static const char *key_use(const struct command *command, bool first)
{
    if (!first && command->key_use_rest != NULL)
        return command->key_use_rest;
    if (command->key_use != NULL)
        return command->key_use;
    return command->flags & COMMAND_ACCESS ? "RO access" : "RO";
}

/* Keys from one index on, up to another. */
static void reply_key_spec(struct client *client, const struct command *command, int first,
                           int last)
{
    struct reply *r = &client->reply;
    reply_map(r, 3 + (command->key_notes != NULL));
    if (command->key_notes != NULL) {
        reply_bulk_text(r, "notes");
        reply_bulk_text(r, command->key_notes);
    }
    reply_bulk_text(r, "flags");
    reply_words(client, key_use(command, first == command->key_first), true);
    reply_bulk_text(r, "begin_search");
    reply_map(r, 2);
    reply_bulk_text(r, "type");
    reply_bulk_text(r, "index");
    reply_bulk_text(r, "spec");
    reply_map(r, 1);
    reply_bulk_text(r, "index");
    reply_int(r, first);
    reply_bulk_text(r, "find_keys");
    reply_map(r, 2);
    reply_bulk_text(r, "type");
    reply_bulk_text(r, "range");
    reply_bulk_text(r, "spec");
    reply_map(r, 3);
    reply_bulk_text(r, "lastkey"); /* counted from the first key */
    reply_int(r, last < 0 ? last : last - first);
    reply_bulk_text(r, "keystep");
    reply_int(r, command->key_step);
    reply_bulk_text(r, "limit");
    reply_int(r, 0);
}

/* Where the keys are: keys that are used alike are described together. */
static void reply_key_specs(struct client *client, const struct command *command)
{
    int first = command->key_first;
    if (first == 0 || command->key_use_rest == NULL) {
        reply_set(&client->reply, first != 0);
        if (first != 0)
            reply_key_spec(client, command, first, command->key_last);
        return;
    }
    reply_set(&client->reply, 2);
    reply_key_spec(client, command, first, first);
    reply_key_spec(client, command, first + command->key_step, command->key_last);
}

/* Subcommands recurse once: they have none of their own. */
static void reply_info(struct client *client, const struct command *command)
{
    struct reply *r = &client->reply;
    reply_array(r, 10);
    reply_bulk_text(r, command->full_name);
    reply_int(r, command->arity);
    reply_flags(client, command->flags);
    reply_int(r, command->key_first);
    reply_int(r, command->key_last);
    reply_int(r, command->key_step);
    reply_words(client, command->categories, true);
    reply_words(client, command->tips, false);
    reply_key_specs(client, command);
    reply_set(r, count_subcommands(command));
    for (const struct command *sub = command->subcommands; sub != NULL && sub->name != NULL; sub++)
        reply_info(client, sub);
}

/* COMMAND alone: INFO of all commands. */
void cmd_command(struct client *client, const struct resp_request *request)
{
    (void)request;
    reply_array(&client->reply, COMMAND_SERVED_COUNT);
    for (size_t i = 0; i < COMMAND_SERVED_COUNT; i++)
        reply_info(client, &command_served[i]);
}

void cmd_command_info(struct client *client, const struct resp_request *request)
{
    if (request->count == 2) {
        cmd_command(client, request);
        return;
    }
    reply_array(&client->reply, request->count - 2);
    for (size_t i = 2; i < request->count; i++) {
        const struct command *command = command_find_full(request->args[i]);
        if (command != NULL)
            reply_info(client, command);
        else
            reply_null(&client->reply);
    }
}

void cmd_command_count(struct client *client, const struct resp_request *request)
{
    (void)request;
    reply_int(&client->reply, COMMAND_SERVED_COUNT);
}

/* --- DOCS --- */

/* keys_apart: the keys after the first are described by a specification of their own. */
static void reply_arguments(struct client *client, const struct command_argument *arguments,
                            bool keys_apart)
{
    struct reply *r = &client->reply;
    size_t count = 0, keys = 0;
    while (arguments[count].name != NULL)
        count++;
    reply_array(r, count);
    for (const struct command_argument *a = arguments; a->name != NULL; a++) {
        size_t flags_count = (size_t)a->optional + a->multiple + a->multiple_token;
        reply_map(r, 2 + (a->type == ARGUMENT_KEY) + (a->token != NULL) + (flags_count > 0) +
                         (a->parts != NULL));
        reply_bulk_text(r, "name");
        reply_bulk_text(r, a->name);
        reply_bulk_text(r, "type");
        reply_bulk_text(r, argument_words[a->type]);
        if (a->type == ARGUMENT_KEY) {
            reply_bulk_text(r, "key_spec_index");
            reply_int(r, keys_apart && keys > 0);
            keys++;
        }
        if (a->token != NULL) {
            reply_bulk_text(r, "token");
            reply_bulk_text(r, a->token);
        }
        if (flags_count > 0) {
            reply_bulk_text(r, "flags");
            reply_set(r, flags_count);
            if (a->optional)
                reply_simple(r, "optional");
            if (a->multiple)
                reply_simple(r, "multiple");
            if (a->multiple_token)
                reply_simple(r, "multiple_token");
        }
        if (a->parts != NULL) {
            reply_bulk_text(r, "arguments");
            reply_arguments(client, a->parts, keys_apart);
        }
    }
}

static void reply_docs(struct client *client, const struct command *command)
{
    struct reply *r = &client->reply;
    reply_bulk_text(r, command->full_name);
    reply_map(r, 4 + (command->arguments != NULL) + (command->subcommands != NULL));
    reply_bulk_text(r, "summary");
    reply_bulk_text(r, command->summary);
    reply_bulk_text(r, "since");
    reply_bulk_text(r, command->since);
    reply_bulk_text(r, "group");
    reply_bulk_text(r, command->group);
    reply_bulk_text(r, "complexity");
    reply_bulk_text(r, command->complexity);
    if (command->arguments != NULL) {
        reply_bulk_text(r, "arguments");
        reply_arguments(client, command->arguments, command->key_use_rest != NULL);
    }
    if (command->subcommands != NULL) {
        reply_bulk_text(r, "subcommands");
        reply_map(r, count_subcommands(command));
        for (const struct command *sub = command->subcommands; sub->name != NULL; sub++)
            reply_docs(client, sub);
    }
}

/* Names that are no command are left out of the map. */
void cmd_command_docs(struct client *client, const struct resp_request *request)
{
    if (request->count == 2) {
        reply_map(&client->reply, COMMAND_SERVED_COUNT);
        for (size_t i = 0; i < COMMAND_SERVED_COUNT; i++)
            reply_docs(client, &command_served[i]);
        return;
    }
    size_t count = 0;
    for (size_t i = 2; i < request->count; i++)
        count += command_find_full(request->args[i]) != NULL;
    reply_map(&client->reply, count);
    for (size_t i = 2; i < request->count; i++) {
        const struct command *command = command_find_full(request->args[i]);
        if (command != NULL)
            reply_docs(client, command);
    }
}

/* --- LIST [FILTERBY MODULE name | ACLCAT category | PATTERN pattern] --- */

struct list_filter {
    bool by_category, by_pattern, nothing;
    struct tarn_bytes text;
};

static size_t list_command(struct client *client, const struct command *command,
                           const struct list_filter *filter)
{
    if (filter->nothing)
        return 0;
    if (filter->by_category && !command_has_category(command, filter->text))
        return 0;
    if (filter->by_pattern && !glob_match(filter->text, bytes_of(command->full_name), true))
        return 0;
    reply_bulk_text(&client->reply, command->full_name);
    return 1;
}

void cmd_command_list(struct client *client, const struct resp_request *request)
{
    struct list_filter filter = {0};
    if (request->count == 5 && command_arg_is(request, 2, "filterby")) {
        filter.text = request->args[4];
        filter.by_category = command_arg_is(request, 3, "aclcat");
        filter.by_pattern = command_arg_is(request, 3, "pattern");
        filter.nothing = command_arg_is(request, 3, "module"); /* there are no modules */
    }
    if (request->count != 2 && !filter.by_category && !filter.by_pattern && !filter.nothing) {
        command_reply_syntax_error(client);
        return;
    }
    size_t start = client->reply.out->size, count = 0;
    for (size_t i = 0; i < COMMAND_SERVED_COUNT; i++) {
        count += list_command(client, &command_served[i], &filter);
        const struct command *sub = command_served[i].subcommands;
        for (; sub != NULL && sub->name != NULL; sub++)
            count += list_command(client, sub, &filter);
    }
    command_insert(client, start, "*%zu\r\n", count);
}

/* --- GETKEYS --- */

/* The command that args[2..] are; NULL after having answered what is wrong with it. */
static const struct command *find_inner(struct client *client, const struct resp_request *inner)
{
    const struct command *command = command_find_request(inner);
    bool fits = command != NULL && (command->arity >= 0 ? inner->count == (size_t)command->arity
                                                        : inner->count >= (size_t)-command->arity);
    if (!is_served(command))
        reply_error(&client->reply, "ERR Invalid command specified");
    else if (command->key_first == 0)
        reply_error(&client->reply, "ERR The command has no key arguments");
    else if (!fits)
        reply_error(&client->reply, "ERR Invalid number of arguments specified for command");
    else
        return command;
    return NULL;
}

/* How the request uses the key at that index. */
static const char *inner_key_use(const struct command *command, const struct resp_request *inner,
                                 size_t index)
{
    if (command->key_use_of != NULL)
        return command->key_use_of(inner);
    return key_use(command, index == (size_t)command->key_first);
}

static void reply_keys(struct client *client, const struct resp_request *request, bool with_flags)
{
    struct resp_request inner = {request->args + 2, request->count - 2};
    const struct command *command = find_inner(client, &inner);
    if (command == NULL)
        return;
    size_t count = command_keys_count(command, &inner);
    reply_array(&client->reply, count);
    for (size_t k = 0; k < count; k++) {
        size_t i = (size_t)command->key_first + k * (size_t)command->key_step;
        if (with_flags)
            reply_array(&client->reply, 2);
        reply_bulk(&client->reply, inner.args[i]);
        if (with_flags)
            reply_words(client, inner_key_use(command, &inner, i), true);
    }
}

void cmd_command_getkeys(struct client *client, const struct resp_request *request)
{
    reply_keys(client, request, false);
}

void cmd_command_getkeysandflags(struct client *client, const struct resp_request *request)
{
    reply_keys(client, request, true);
}
