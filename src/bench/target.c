/* Targets from options.
 *
 * Addresses are "HOST:PORT", several separated by commas (RESP only); a URL is
 * "http://HOST:PORT/BEFORE{key}AFTER", where a path without {key} gets the key at its end and no
 * path at all means /kv/{key}, tarn's own.
 *
 * Failure modes: all are the caller's text; each message names the option and the part of it. */
#include "bench/target.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "os/socket.h"

#define KEY_PLACE "{key}"

/* --- servers --- */

/* Only RESP's clients share keys among servers, by slot. */
static int refuse_several(struct tarn_bytes addresses, const char *option, struct tarn_error *error)
{
    if (!memchr(addresses.data, ',', addresses.size))
        return TARN_OK;
    return error_set(error, TARN_INVALID,
                     "%s: %.*s: one server only; keys are shared among several by --connect",
                     option, (int)(addresses.size < 200 ? addresses.size : 200),
                     (const char *)addresses.data);
}

static int add_server(struct target *t, struct tarn_bytes address, const char *option,
                      const char *default_port, const struct protocol_peer *peer,
                      struct tarn_error *error)
{
    if (t->servers_count == CLIENT_SERVERS_MAX)
        return error_set(error, TARN_INVALID, "%s: more than %d servers", option,
                         CLIENT_SERVERS_MAX);
    struct client_server *server = &t->servers[t->servers_count];
    int status = socket_host_port_parse(address, default_port, server->host, server->port, error);
    if (status != TARN_OK) {
        error_prepend(error, "%s", option);
        return status;
    }
    socket_host_port_text(server->host, server->port, server->name);
    server->peer = *peer;
    server->peer.host = server->name;
    t->servers_count++;
    status = t->protocol->check(&server->peer, error);
    if (status != TARN_OK)
        error_prepend(error, "%s", option);
    return status;
}

static int allocate_servers(struct target *t, struct tarn_error *error)
{
    t->servers = calloc(CLIENT_SERVERS_MAX, sizeof *t->servers);
    return t->servers ? TARN_OK : error_set(error, TARN_NOMEM, "out of memory");
}

static void name_target(struct target *t, const char *what)
{
    int used = snprintf(t->name, sizeof t->name, "%s", t->protocol->name);
    if (used >= 0 && (size_t)used < sizeof t->name)
        snprintf(t->name + used, sizeof t->name - (size_t)used, " %s", what);
}

static int open_resp(struct target *t, const struct settings *settings, struct tarn_error *error)
{
    struct protocol_peer peer = {.password = settings->password};
    t->protocol = &protocol_resp;
    name_target(t, settings->connect);
    const char *at = settings->connect;
    int status = TARN_OK;
    for (bool more = true; more && status == TARN_OK;) {
        size_t size = strcspn(at, ",");
        more = at[size] == ',';
        status = add_server(t, (struct tarn_bytes){at, size}, "--connect", NULL, &peer, error);
        at += size + 1;
    }
    return status;
}

static int open_memcached(struct target *t, const struct settings *settings,
                          struct tarn_error *error)
{
    struct protocol_peer peer = {.password = settings->password};
    t->protocol = &protocol_memcached;
    name_target(t, settings->memcached);
    struct tarn_bytes address = bytes_of(settings->memcached);
    int status = refuse_several(address, "--memcached", error);
    return status == TARN_OK ? add_server(t, address, "--memcached", "11211", &peer, error)
                             : status;
}

/* The path of a URL, cut where the key goes. */
static int split_path(struct target *t, const char *path, struct tarn_error *error)
{
    if (*path == 0 || strcmp(path, "/") == 0)
        path = "/kv/" KEY_PLACE;
    const char *place = strstr(path, KEY_PLACE);
    size_t before = place ? (size_t)(place - path) : strlen(path);
    t->path_before = strndup(path, before);
    t->path_after = strdup(place ? place + strlen(KEY_PLACE) : "");
    return t->path_before && t->path_after ? TARN_OK
                                           : error_set(error, TARN_NOMEM, "out of memory");
}

static int open_http(struct target *t, const struct settings *settings, struct tarn_error *error)
{
    static const char scheme[] = "http://";
    const char *url = settings->http;
    t->protocol = &protocol_http;
    name_target(t, url);
    if (strncmp(url, "https://", 8) == 0)
        return error_set(error, TARN_INVALID, "--http: %.200s: TLS is not spoken here", url);
    if (strncmp(url, scheme, strlen(scheme)) == 0)
        url += strlen(scheme);
    else if (strstr(url, "://"))
        return error_set(error, TARN_INVALID, "--http: %.200s: not an http:// URL", url);
    size_t host = strcspn(url, "/");
    int status = refuse_several((struct tarn_bytes){url, host}, "--http", error);
    if (status == TARN_OK)
        status = split_path(t, url + host, error);
    if (status != TARN_OK)
        return status;
    struct protocol_peer peer = {
        .path_before = t->path_before, .path_after = t->path_after, .password = settings->password};
    return add_server(t, (struct tarn_bytes){url, host}, "--http", "80", &peer, error);
}

/* --- stores --- */

static int unknown_store(const char *text, const struct embedded_store *const *stores,
                         struct tarn_error *error)
{
    struct buffer names = {0};
    for (size_t i = 0; stores[i]; i++)
        buffer_printf(&names, ", %s:", stores[i]->name);
    buffer_append_byte(&names, 0);
    int status = error_set(error, TARN_INVALID,
                           "--embedded: %.100s: no such store or file (memory, none, dir:%.200s, "
                           "or a data file)",
                           text, names.failed ? "" : (const char *)names.data);
    buffer_done(&names);
    return status;
}

/* A data file that is there and can be read. */
static int check_file(const struct os *os, const char *path,
                      const struct embedded_store *const *stores, struct tarn_error *error)
{
    int fd;
    struct os_file_info info;
    int status = os_open_data(os, path, &fd, &info, error);
    if (status == TARN_MISSING && stores && strchr(path, ':'))
        return unknown_store(path, stores, error);
    if (status == TARN_OK)
        (void)os->close(os, fd); /* only looked at */
    else
        error_prepend(error, "--embedded (memory, none, a directory or dir:NEW, or a data file)");
    return status;
}

/* By "NAME:" before the path. */
static const struct embedded_store *find_store(const struct embedded_store *const *stores,
                                               const char *text, const char **ret_path)
{
    static const struct embedded_store *const own[] = {&embedded_directory, &embedded_disk, NULL};
    size_t name = strcspn(text, ":");
    for (const struct embedded_store *const *list = own; list; list = list == own ? stores : NULL)
        for (size_t i = 0; text[name] == ':' && list[i]; i++)
            if (bytes_equal((struct tarn_bytes){text, name}, bytes_of(list[i]->name))) {
                *ret_path = text + name + 1;
                return list[i];
            }
    return NULL;
}

/* One that is there, or one that is meant to be: "new/". */
static bool is_directory(const struct os *os, const char *path)
{
    size_t size = strlen(path);
    int fd;
    if (size > 0 && path[size - 1] == '/')
        return true;
    if (os->open(os, path, O_RDONLY | O_DIRECTORY, 0, &fd) != 0)
        return false;
    (void)os->close(os, fd); /* only looked at */
    return true;
}

static int open_store(const struct os *os, struct target *t, const struct settings *settings,
                      const struct embedded_store *const *stores, struct tarn_error *error)
{
    const char *text = settings->embedded;
    t->path = "";
    snprintf(t->name, sizeof t->name, "embedded %.300s", text);
    t->store = find_store(stores, text, &t->path);
    if (t->store && t->store->path_required && *t->path == 0)
        return error_set(error, TARN_INVALID, "--embedded: %s needs a path; write %s:PATH", text,
                         t->store->name);
    if (t->store)
        return TARN_OK;
    if (strcmp(text, embedded_memory.name) == 0 || strcmp(text, embedded_none.name) == 0) {
        t->store = *text == 'm' ? &embedded_memory : &embedded_none;
        return TARN_OK;
    }
    t->path = text;
    t->store = is_directory(os, text) ? &embedded_directory : &embedded_file;
    return t->store == &embedded_file ? check_file(os, text, stores, error) : TARN_OK;
}

/* --- both --- */

int target_open(const struct os *os, const struct settings *settings,
                const struct embedded_store *const *stores, struct target *ret_target,
                struct tarn_error *error)
{
    struct target t = {0};
    int status = *settings->embedded ? TARN_OK : allocate_servers(&t, error);
    if (status == TARN_OK && *settings->embedded)
        status = open_store(os, &t, settings, stores, error);
    else if (status == TARN_OK && *settings->connect)
        status = open_resp(&t, settings, error);
    else if (status == TARN_OK && *settings->http)
        status = open_http(&t, settings, error);
    else if (status == TARN_OK)
        status = open_memcached(&t, settings, error);
    if (status == TARN_OK)
        *ret_target = t;
    else
        target_close(&t);
    return status;
}

void target_close(struct target *t)
{
    free(t->servers);
    free(t->path_before);
    free(t->path_after);
    *t = (struct target){0};
}

static int check_protocol(const struct protocol *protocol, const struct settings *settings,
                          const struct workload_mix *mix, const struct records *records,
                          struct tarn_error *error)
{
    const char *name = protocol->name;
    if (mix->share[OPERATION_SCAN] > 0 && !protocol->scans)
        return error_set(error, TARN_INVALID,
                         "--workload %s: %s has no scans; RESP and stores in process have",
                         workload_names[settings->workload], name);
    if (settings->batch > protocol->get_keys_max)
        return error_set(error, TARN_INVALID, "--batch %ju: %s asks for at most %zu key%s at once",
                         (uintmax_t)settings->batch, name, protocol->get_keys_max,
                         protocol->get_keys_max == 1 ? "" : "s");
    if (records_key_bytes_max(records) > protocol->key_bytes_max)
        return error_set(error, TARN_INVALID, "keys of %zu bytes: %s takes at most %zu",
                         records_key_bytes_max(records), name, protocol->key_bytes_max);
    return TARN_OK;
}

/* Only a store in a directory has a dial, only a data file lies in one place or another. */
static int check_dial(const struct target *t, const struct settings *settings,
                      struct tarn_error *error)
{
    bool is_file = t->store == &embedded_file || t->store == &embedded_disk;
    const char *name = is_file ? NULL : settings_data_given(settings);
    if (name)
        return error_set(error, TARN_INVALID,
                         "--%s needs a data file: --embedded FILE, or disk:FILE where it is new",
                         name);
    name = t->store == &embedded_directory ? NULL : settings_dial_given(settings);
    if (!name)
        return TARN_OK;
    return error_set(error, TARN_INVALID,
                     "--%s needs a store in a directory: --embedded DIR, or "
                     "dir:DIR where it is new",
                     name);
}

static int check_store(const struct embedded_store *store, const struct settings *settings,
                       const struct workload_mix *mix, struct tarn_error *error)
{
    const char *workload = workload_names[settings->workload];
    if (mix->share[OPERATION_SCAN] > 0 && !store->scan)
        return error_set(error, TARN_INVALID, "--workload %s: %s has no scans", workload,
                         store->name);
    if (workload_writes(mix) && (store->write_once || !store->put_many))
        return error_set(error, TARN_INVALID,
                         "--workload %s: %s cannot be written once it is loaded; use --workload "
                         "get or c",
                         workload, store->name);
    if ((settings->load || settings->load_only) && !store->put_many)
        return error_set(error, TARN_INVALID, "--load%s: %s cannot be written",
                         settings->load ? "" : "-only", store->name);
    if (settings->verify && store == &embedded_none)
        return error_set(error, TARN_INVALID, "--verify: %s holds no values", store->name);
    return TARN_OK;
}

int target_check(const struct target *t, const struct settings *settings,
                 const struct workload_mix *mix, const struct records *records,
                 struct tarn_error *error)
{
    int status = check_dial(t, settings, error);
    if (status != TARN_OK)
        return status;
    if (t->store)
        return check_store(t->store, settings, mix, error);
    return check_protocol(t->protocol, settings, mix, records, error);
}
