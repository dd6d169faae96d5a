/* The clients of all workers as other threads see them: CLIENT LIST, CLIENT KILL, names.
 *
 * How: each worker has its list under a mutex of its own, changed only by the worker's thread.
 * What changes with every turn is atomic; the names are guarded by the mutex. A kill only marks
 * the client and wakes its owner, who closes it.
 *
 * Invariants: 1. A connection in a list is alive while the list's mutex is held. 2. A worker's list
 * is in id order, newest first (ids are given when clients are added).
 * Failure modes: out of memory: a name stays as it was; the list lacks clients (out->failed). */
#include <stdlib.h>

#include "server/connection.h"

void clients_add(struct worker *w, struct connection *c)
{
    pthread_mutex_lock(&w->clients_lock);
    c->next = w->clients;
    c->prev = NULL;
    if (c->next != NULL)
        c->next->prev = c;
    w->clients = c;
    pthread_mutex_unlock(&w->clients_lock);
}

/* Free a name that client_set_name() allocated. */
static void free_name(const char *name)
{
    if (name[0] != 0)
        free((char *)(uintptr_t)name);
}

void clients_remove(struct worker *w, struct connection *c)
{
    pthread_mutex_lock(&w->clients_lock);
    if (c->next != NULL)
        c->next->prev = c->prev;
    if (c->prev != NULL)
        c->prev->next = c->next;
    else
        w->clients = c->next;
    pthread_mutex_unlock(&w->clients_lock);
    free_name(c->client.name);
    free_name(c->client.lib_name);
    free_name(c->client.lib_version);
}

static void set_name(struct client *client, const char **field, const char *text)
{
    const char *copy = "";
    if (text[0] != 0) {
        copy = strndup(text, CLIENT_NAME_BYTES_MAX);
        if (copy == NULL)
            return;
    }
    pthread_mutex_lock(&client->worker->clients_lock);
    const char *old = *field;
    *field = copy;
    pthread_mutex_unlock(&client->worker->clients_lock);
    free_name(old);
}

void client_set_name(struct client *client, const char *name)
{
    set_name(client, &client->name, name);
}

void client_set_lib(struct client *client, const char *name, const char *version)
{
    if (name != NULL)
        set_name(client, &client->lib_name, name);
    if (version != NULL)
        set_name(client, &client->lib_version, version);
}

/* --- listing ------------------------------------------------------------------------------ */

static size_t read_size(const _Atomic size_t *size)
{
    return atomic_load_explicit(size, memory_order_relaxed);
}

static bool read_bool(const _Atomic bool *flag)
{
    return atomic_load_explicit(flag, memory_order_relaxed);
}

/* One line in the form of Redis 7.2. What tarn does not have shows the value that Redis shows for
 * a client that does not use it. */
static void append_line_locked(const struct connection *c, uint64_t now_ns, struct buffer *out)
{
    const struct client *client = &c->client;
    uint64_t active_ns = atomic_load_explicit(&c->active_ns, memory_order_relaxed);
    const struct command *command = atomic_load_explicit(&c->command_shown, memory_order_relaxed);
    size_t input = read_size(&c->input_shown), input_free = read_size(&c->input_free_shown);
    size_t unsent = read_size(&c->output_shown);
    char flags[8];
    size_t flags_size = 0;
    if (read_bool(&c->monitors_shown))
        flags[flags_size++] = 'O';
    if (read_bool(&c->blocked_shown))
        flags[flags_size++] = 'b';
    if (read_bool(&c->closing_shown))
        flags[flags_size++] = 'c';
    if (read_bool(&c->no_evict_shown))
        flags[flags_size++] = 'e';
    if (read_bool(&c->no_touch_shown))
        flags[flags_size++] = 'T';
    if (flags_size == 0)
        flags[flags_size++] = 'N';
    flags[flags_size] = 0;
    buffer_printf(
        out,
        "id=%llu addr=%s laddr=%s fd=%d name=%s age=%llu idle=%llu flags=%s db=0 sub=0 "
        "psub=0 ssub=0 multi=-1 qbuf=%zu qbuf-free=%zu argv-mem=0 multi-mem=0 rbs=0 rbp=0 "
        "obl=%zu oll=%zu omem=%zu tot-mem=%zu events=%s cmd=%s user=default redir=-1 "
        "resp=%d lib-name=%s lib-ver=%s\n",
        (unsigned long long)client->id, client->address, client->local_address, c->fd, client->name,
        (unsigned long long)((now_ns - c->created_ns) / 1000000000),
        (unsigned long long)(now_ns > active_ns ? (now_ns - active_ns) / 1000000000 : 0), flags,
        input, input_free, (size_t)0, read_size(&c->references_shown), unsent,
        sizeof *c + input + input_free + unsent, unsent > 0 ? "rw" : "r",
        command != NULL ? command_full_name(command->id) : "NULL",
        atomic_load_explicit(&c->protocol_shown, memory_order_relaxed), client->lib_name,
        client->lib_version);
}

/* Where a client's line lies in the unsorted text. */
struct line {
    uint64_t id;
    size_t offset, size;
};

static int compare_lines(const void *a, const void *b)
{
    const struct line *x = a, *y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* Append one worker's lines to text and their places to lines. */
static void list_worker(struct worker *w, uint64_t id, uint64_t now_ns, struct buffer *text,
                        struct buffer *lines)
{
    pthread_mutex_lock(&w->clients_lock);
    for (const struct connection *c = w->clients; c != NULL; c = c->next) {
        if (id != 0 && c->client.id != id)
            continue;
        struct line line = {.id = c->client.id, .offset = text->size};
        append_line_locked(c, now_ns, text);
        line.size = text->size - line.offset;
        buffer_append(lines, &line, sizeof line);
    }
    pthread_mutex_unlock(&w->clients_lock);
}

void server_client_list(struct server *server, uint64_t id, struct buffer *out)
{
    uint64_t now_ns = server->os->monotonic_ns(server->os);
    struct buffer text, lines;
    buffer_init(&text, 0);
    buffer_init(&lines, 0);
    for (unsigned i = 0; i < server->workers_count; i++)
        list_worker(server->workers[i], id, now_ns, &text, &lines);
    struct line *sorted = (struct line *)lines.data;
    size_t count = lines.size / sizeof *sorted;
    if (count > 1)
        qsort(sorted, count, sizeof *sorted, compare_lines);
    if (text.failed || lines.failed)
        out->failed = true;
    for (size_t i = 0; i < count; i++)
        buffer_append(out, text.data + sorted[i].offset, sorted[i].size);
    buffer_done(&lines);
    buffer_done(&text);
}

/* --- killing ------------------------------------------------------------------------------ */

static bool matches(const struct connection *c, const struct client_filter *filter, uint64_t now_ns)
{
    const struct client *client = &c->client;
    if (filter->id != 0 && client->id != filter->id)
        return false;
    if (filter->skip_id != 0 && client->id == filter->skip_id)
        return false;
    if (filter->address != NULL && strcmp(client->address, filter->address) != 0)
        return false;
    if (filter->local_address != NULL && strcmp(client->local_address, filter->local_address) != 0)
        return false;
    return filter->age_seconds_min == 0 ||
           (now_ns - c->created_ns) / 1000000000 >= filter->age_seconds_min;
}

uint64_t server_client_kill(struct server *server, const struct client_filter *filter)
{
    uint64_t now_ns = server->os->monotonic_ns(server->os), killed = 0;
    for (unsigned i = 0; i < server->workers_count; i++) {
        struct worker *w = server->workers[i];
        uint64_t found = 0;
        pthread_mutex_lock(&w->clients_lock);
        for (struct connection *c = w->clients; c != NULL; c = c->next) {
            if (read_bool(&c->kill) || !matches(c, filter, now_ns))
                continue;
            atomic_store_explicit(&c->kill, true, memory_order_relaxed);
            found++;
        }
        pthread_mutex_unlock(&w->clients_lock);
        if (found > 0) {
            atomic_store_explicit(&w->kills_pending, true, memory_order_release);
            loop_wake(&w->loop);
        }
        killed += found;
    }
    return killed;
}
