/* CONFIG: the settings of config.c, by their own names and by the names that Redis's tools ask.
 *
 * SET is all or nothing: every pair is parsed into a scratch struct first, then the fields are
 * exchanged under the config lock, which cannot fail. Failure modes: a bad pair is named in the
 * error and nothing has changed. */
#include "core/assert.h"
#include "core/glob.h"
#include "server/command_rows.h"
#include "server/config_redis.h"
#include "server/server.h"

/* Redis's names of settings that tarn calls otherwise. */
static const struct config_alias {
    const char *name, *row_name;
} aliases[] = {
    {"client-query-buffer-limit", "request-limit"},
    {"loglevel", "log-level"},
    {"maxclients", "max-connections"},
    {"maxmemory", "memory"},
    {"maxmemory-policy", "max-memory-policy"},
    {"requirepass", "password"},
};

/* Settings of Redis that tools look at and that have one value here. */
static const struct config_constant {
    const char *name, *value;
} constants[] = {
    {"cluster-enabled", "no"},           {"databases", "1"},
    {"latency-monitor-threshold", "0"},  {"notify-keyspace-events", ""},
    {"proto-max-bulk-len", "536870912"},
};

enum {
    ALIASES_COUNT = sizeof aliases / sizeof *aliases,
    CONSTANTS_COUNT = sizeof constants / sizeof *constants,
    PAIRS_MAX = 64, /* of one SET: more than there are settings */
};

static const struct option *find_row(struct tarn_bytes name)
{
    for (size_t i = 0; i < ALIASES_COUNT; i++)
        if (bytes_equal_nocase(name, aliases[i].name))
            return options_find(&config_options, bytes_of(aliases[i].row_name));
    const struct config_mapped *mapped = config_mapped_find(name);
    if (mapped != NULL)
        return options_find(&config_options, bytes_of(mapped->row_name));
    for (size_t i = 0; i < config_options.count; i++)
        if (bytes_equal_nocase(name, config_options.rows[i].name))
            return &config_options.rows[i];
    return NULL;
}

static bool is_constant(struct tarn_bytes name)
{
    for (size_t i = 0; i < CONSTANTS_COUNT; i++)
        if (bytes_equal_nocase(name, constants[i].name))
            return true;
    return false;
}

bool cmd_config_name_is_secret(struct tarn_bytes name)
{
    const struct option *row = find_row(name);
    return row != NULL && row->type == OPTION_SECRET;
}

/* --- GET --- */

/* If a pattern of the request matches the name: append the name (as asked, if it was asked by
 * name) and say so. */
static bool reply_name(struct client *client, const struct resp_request *request, const char *name)
{
    for (size_t i = 2; i < request->count; i++) {
        if (bytes_equal_nocase(request->args[i], name)) {
            reply_bulk(&client->reply, request->args[i]);
            return true;
        }
        if (glob_match(request->args[i], bytes_of(name), true)) {
            reply_bulk_text(&client->reply, name);
            return true;
        }
    }
    return false;
}

static size_t reply_row(struct client *client, const struct resp_request *request, const char *name,
                        const struct option *row)
{
    if (!reply_name(client, request, name))
        return 0;
    struct buffer value;
    buffer_init(&value, 0);
    options_get(row, server_config(client->server), &value);
    reply_bulk(&client->reply, (struct tarn_bytes){value.data, value.size});
    buffer_done(&value);
    return 1;
}

static size_t reply_mapped(struct client *client, const struct resp_request *request,
                           const struct config_mapped *mapped)
{
    if (!reply_name(client, request, mapped->name))
        return 0;
    struct buffer value;
    buffer_init(&value, 0);
    mapped->get(server_config(client->server), &value);
    reply_bulk(&client->reply, value.size > 0 ? buffer_view(&value) : bytes_of(""));
    buffer_done(&value);
    return 1;
}

void cmd_config_get(struct client *client, const struct resp_request *request)
{
    size_t start = client->reply.out->size, count = 0;
    server_config_lock(client->server);
    for (size_t i = 0; i < config_options.count; i++)
        count += reply_row(client, request, config_options.rows[i].name, &config_options.rows[i]);
    for (size_t i = 0; i < ALIASES_COUNT; i++)
        count += reply_row(client, request, aliases[i].name,
                           options_find(&config_options, bytes_of(aliases[i].row_name)));
    for (size_t i = 0; i < CONFIG_MAPPED_COUNT; i++)
        count += reply_mapped(client, request, &config_mapped[i]);
    server_config_unlock(client->server);
    for (size_t i = 0; i < CONSTANTS_COUNT; i++) {
        if (reply_name(client, request, constants[i].name)) {
            reply_bulk_text(&client->reply, constants[i].value);
            count++;
        }
    }
    if (client->reply.protocol >= 3)
        command_insert(client, start, "%%%zu\r\n", count);
    else
        command_insert(client, start, "*%zu\r\n", 2 * count);
}

/* --- SET --- */

static void reply_set_failure(struct client *client, struct tarn_bytes name, const char *reason)
{
    reply_error(&client->reply, "ERR CONFIG SET failed (possibly related to argument '%.*s') - %s",
                command_printed_size(name), (const char *)name.data, reason);
}

/* Exchange one field of two configs. */
static void swap_field(const struct option *row, struct config *a, struct config *b)
{
    static const size_t sizes[] = {
        [OPTION_BOOL] = sizeof(bool),     [OPTION_UINT] = sizeof(uint64_t),
        [OPTION_SIZE] = sizeof(uint64_t), [OPTION_RANGE] = sizeof(struct option_range),
        [OPTION_TEXT] = sizeof(char *),   [OPTION_SECRET] = sizeof(char *),
        [OPTION_WORD] = sizeof(int),      [OPTION_COUNT] = sizeof(uint64_t),
        [OPTION_TIME] = sizeof(uint64_t), [OPTION_REAL] = sizeof(double),
    };
    char saved[sizeof(struct option_range)];
    char *x = (char *)a + row->offset, *y = (char *)b + row->offset;
    memcpy(saved, x, sizes[row->type]);
    memcpy(x, y, sizes[row->type]);
    memcpy(y, saved, sizes[row->type]);
}

/* Find the rows of all names; false after having answered which name is wrong. */
static bool find_set_rows(struct client *client, const struct resp_request *request,
                          const struct option *found[PAIRS_MAX])
{
    size_t count = 0;
    for (size_t i = 2; i < request->count; i += 2) {
        struct tarn_bytes name = request->args[i];
        const struct option *row = find_row(name);
        if (row == NULL && !is_constant(name)) {
            reply_error(&client->reply,
                        "ERR Unknown option or number of arguments for CONFIG SET - '%.*s'",
                        command_printed_size(name), (const char *)name.data);
            return false;
        }
        if (row == NULL || (row->flags & OPTION_LIVE) == 0) {
            reply_set_failure(client, name, "can't set immutable config");
            return false;
        }
        for (size_t j = 0; j < count; j++) {
            if (found[j] == row) {
                reply_set_failure(client, name, "duplicate parameter");
                return false;
            }
        }
        ASSERT(count < PAIRS_MAX); /* no row twice, and fewer rows than places */
        found[count++] = row;
    }
    return true;
}

/* Parse a value given by one of Redis's names into scratch. NULL, or what is wrong. */
static const char *parse_mapped(struct client *client, const struct config_mapped *mapped,
                                struct tarn_bytes value, struct config *scratch)
{
    struct buffer text;
    buffer_init(&text, 0);
    server_config_lock(client->server);
    const char *problem = mapped->set(server_config(client->server), value, &text);
    server_config_unlock(client->server);
    const struct option *row = options_find(&config_options, bytes_of(mapped->row_name));
    if (problem == NULL && options_set(row, scratch, buffer_view(&text), NULL) != TARN_OK)
        problem = "out of memory";
    buffer_done(&text);
    return problem;
}

/* Parse all values into scratch; false after having answered which one is wrong. */
static bool parse_set_values(struct client *client, const struct resp_request *request,
                             const struct option *const *found, struct config *scratch)
{
    struct tarn_error error;
    for (size_t i = 2; i < request->count; i += 2) {
        const struct option *row = found[(i - 2) / 2];
        const struct config_mapped *mapped = config_mapped_find(request->args[i]);
        if (mapped != NULL) {
            const char *problem = parse_mapped(client, mapped, request->args[i + 1], scratch);
            if (problem == NULL)
                continue;
            reply_set_failure(client, request->args[i], problem);
            return false;
        }
        if (options_set(row, scratch, request->args[i + 1], &error) == TARN_OK)
            continue;
        const char *colon = strstr(error.text, ": "); /* after "--name" */
        reply_set_failure(client, request->args[i], colon != NULL ? colon + 2 : error.text);
        return false;
    }
    return true;
}

void cmd_config_set(struct client *client, const struct resp_request *request)
{
    const struct option *found[PAIRS_MAX] = {NULL};
    struct config scratch = {0};
    struct tarn_error error;
    if (request->count % 2 != 0) {
        command_reply_syntax_error(client);
        return;
    }
    if (!find_set_rows(client, request, found) ||
        !parse_set_values(client, request, found, &scratch))
        goto out;
    struct config *config = server_config(client->server);
    const size_t count = (request->count - 2) / 2;
    server_config_lock(client->server);
    for (size_t i = 0; i < count; i++)
        swap_field(found[i], config, &scratch);
    int status = config_check_password(config, &error);
    if (status == TARN_OK)
        status = server_dial_changed(client->server, &error);
    if (status == TARN_OK)
        server_config_changed(client->server);
    else
        for (size_t i = 0; i < count; i++)
            swap_field(found[i], config, &scratch);
    server_config_unlock(client->server);
    if (status == TARN_OK)
        reply_simple(&client->reply, "OK");
    else
        reply_set_failure(client, request->args[2], error.text);
out:
    options_done(&config_options, &scratch);
}

/* --- the rest --- */

void cmd_config_resetstat(struct client *client, const struct resp_request *request)
{
    (void)request;
    server_counters_reset(client->server);
    reply_simple(&client->reply, "OK");
}

void cmd_config_rewrite(struct client *client, const struct resp_request *request)
{
    (void)request;
    reply_error(&client->reply,
                "ERR CONFIG REWRITE is not supported: tarn does not write its configuration file");
}
