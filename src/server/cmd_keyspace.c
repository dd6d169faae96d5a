/* Commands on keys: EXISTS, TOUCH, TYPE, DEL, UNLINK, DBSIZE, RANDOMKEY, FLUSHDB, FLUSHALL, SCAN
 * and KEYS.
 *
 * EXISTS and DEL of several keys happen at one moment. SCAN and KEYS do not: a key that is there
 * from beginning to end is met exactly once, others at most once. They write the keys into the
 * reply as they meet them and put the array's header before them at the end.
 *
 * Bounds: a SCAN visits at most SCAN_COUNT_MAX records and stops soon after SCAN_BYTES_MAX bytes
 * of reply, whatever COUNT asks; KEYS visits everything, but a reply over the client's output
 * limit becomes an error instead of memory.
 * Failure modes: a key that cannot be read is an error, never "not there". */
#include "core/glob.h"
#include "core/number.h"
#include "server/command_rows.h"
#include "server/server.h"

enum {
    BATCH = 64,                /* keys looked up at once */
    SCAN_STEP = 256,           /* records between two looks at the bounds */
    SCAN_COUNT_MAX = 100000,   /* some milliseconds of one worker */
    SCAN_BYTES_MAX = 16 << 20, /* and SCAN_STEP keys of 64 KiB more */
};

void cmd_type(struct client *client, const struct resp_request *request, struct tarn_bytes value)
{
    (void)request;
    reply_simple(&client->reply, value.data != NULL ? "string" : "none");
}

static size_t batch_size(size_t left)
{
    return left < BATCH ? left : BATCH;
}

/* How many of the keys there are at one moment; one named twice counts twice. More than a batch of
 * them are held on to meanwhile, so that no memory is needed for all their values. *ret_status: why
 * one cannot be read, else TARN_OK. */
static size_t count_present(struct client *client, const struct tarn_bytes *keys, size_t count,
                            int *ret_status)
{
    struct tarn_bytes values[BATCH];
    *ret_status = TARN_OK;
    if (count <= BATCH) {
        size_t found = tarn_get_together(client->session, keys, count, values);
        *ret_status = command_values_status(values, count, found);
        return found;
    }
    size_t found = 0;
    client_begin(client, keys, count);
    for (size_t i = 0; i < count && *ret_status == TARN_OK; i += BATCH) {
        size_t size = batch_size(count - i);
        size_t some = tarn_get_many(client->session, keys + i, size, values);
        *ret_status = command_values_status(values, size, some);
        found += some;
    }
    client_end(client);
    return found;
}

void cmd_touch(struct client *client, const struct resp_request *request)
{
    size_t count = request->count - 1;
    int status;
    size_t found = count_present(client, request->args + 1, count, &status);
    client_count_lookups(client, found, count - found);
    if (status == TARN_OK)
        reply_int(&client->reply, (int64_t)found);
    else
        command_reply_unreadable(client, status);
}

/* As TOUCH, but to ask is no use of a key, for eviction. */
void cmd_exists(struct client *client, const struct resp_request *request)
{
    tarn_session_touches(client->session, false);
    cmd_touch(client, request);
    tarn_session_touches(client->session, !client->no_touch);
}

/* Delete the keys from *next on, and count those that were there. After a failure, which is that of
 * *next, those before it are gone. */
static int delete_keys(struct client *client, const struct tarn_bytes *keys, size_t count,
                       size_t *next, int64_t *deleted)
{
    for (size_t i = *next; i < count; *next = ++i) {
        if (i % BATCH == 0 && count > 1)
            tarn_prefetch(client->session, keys + i, batch_size(count - i));
        int status = tarn_delete(client->session, keys[i]);
        if (status < 0)
            return status;
        *deleted += status == TARN_OK;
    }
    return TARN_OK;
}

/* DEL and UNLINK: memory is always given back in the background. Only what lies in a checkpoint
 * that is being read needs some, and may have to wait for it. */
void cmd_del(struct client *client, const struct resp_request *request)
{
    const struct tarn_bytes *keys = request->args + 1;
    size_t count = request->count - 1, next = 0;
    int64_t deleted = 0;
    int status;
    do {
        if (count > 1)
            client_begin(client, keys + next, count - next);
        status = delete_keys(client, keys, count, &next, &deleted);
        if (count > 1)
            client_end(client);
    } while (status == TARN_FULL && client_make_room(client));
    if (status == TARN_OK)
        reply_int(&client->reply, deleted);
    else
        command_reply_failure(client, status);
}

/* FLUSHALL and FLUSHDB [ASYNC | SYNC]: empty at once either way, memory comes back afterwards. */
void cmd_flush(struct client *client, const struct resp_request *request)
{
    bool right = request->count == 1 ||
                 (request->count == 2 &&
                  (command_arg_is(request, 1, "async") || command_arg_is(request, 1, "sync")));
    if (!right) {
        command_reply_syntax_error(client);
        return;
    }
    int status = tarn_flush(client->session);
    if (status == TARN_OK)
        reply_simple(&client->reply, "OK");
    else
        command_reply_failure(client, status);
}

void cmd_dbsize(struct client *client, const struct resp_request *request)
{
    (void)request;
    struct tarn_stats stats;
    tarn_stats_get(server_store(client->server), &stats);
    client_saw_everything(client);
    reply_int(&client->reply, (int64_t)stats.keys);
}

void cmd_randomkey(struct client *client, const struct resp_request *request)
{
    (void)request;
    const struct os *os = server_os(client->server);
    uint64_t random;
    if (os->entropy(os, &random, sizeof random) != 0)
        random = os->monotonic_ns(os) * 0x9E3779B97F4A7C15u;
    struct tarn_bytes key;
    int status;
    do
        status = tarn_random_key(client->session, random, &key);
    while (status == TARN_FULL && client_make_room(client));
    if (status == TARN_OK)
        reply_bulk(&client->reply, key);
    else if (status == TARN_NOTFOUND)
        reply_null(&client->reply);
    else
        command_reply_unreadable_keys(client, status);
}

/* --- SCAN and KEYS --- */

struct walk {
    struct client *client;
    struct tarn_bytes pattern;
    bool all;        /* every key matches */
    bool none;       /* no key matches: another type is asked for */
    size_t start;    /* where in the output the keys begin */
    size_t size_max; /* of the output from `start` on */
    size_t count;    /* keys written */
    bool full;       /* size_max is reached */
    uint64_t cursor;
    int status; /* why it does not go on; TARN_OK: it does */
};

static void walk_visit(void *context, struct tarn_bytes key, struct tarn_bytes value)
{
    (void)value;
    struct walk *walk = context;
    if (walk->none || walk->full)
        return;
    if (!walk->all && !glob_match(walk->pattern, key, false))
        return;
    struct buffer *out = walk->client->reply.out;
    if (out->size - walk->start + key.size + 32 > walk->size_max) {
        walk->full = true;
        return;
    }
    reply_bulk(&walk->client->reply, key);
    walk->count++;
}

/* Some records on. What is being read from a checkpoint may have to wait for memory. */
static void walk_on(struct walk *walk, size_t count)
{
    do
        walk->status = tarn_scan(walk->client->session, &walk->cursor, count, walk_visit, walk);
    while (walk->status == TARN_FULL && client_make_room(walk->client));
}

/* Nothing of what was met is told. */
static void reply_walk_failed(struct walk *walk)
{
    walk->client->reply.out->size = walk->start;
    command_reply_unreadable_keys(walk->client, walk->status);
}

static void walk_set_pattern(struct walk *walk, struct tarn_bytes pattern)
{
    walk->pattern = pattern;
    walk->all = pattern.size == 1 && *(const char *)pattern.data == '*';
}

/* What may still be written for this client before its limit. */
static size_t output_left(struct client *client)
{
    server_config_lock(client->server);
    uint64_t limit = server_config(client->server)->output_bytes_max;
    server_config_unlock(client->server);
    size_t used = client->reply.out->size;
    if (limit == 0)
        return SIZE_MAX / 2;
    return limit > used ? limit - used : 0;
}

/* Redis reads a cursor with strtoul(): a sign and leading zeros are taken, overflow is not. */
static bool parse_cursor(struct tarn_bytes text, uint64_t *ret_cursor)
{
    const char *p = text.data;
    size_t i = 0;
    bool negative = false;
    if (i < text.size && (p[i] == '+' || p[i] == '-'))
        negative = p[i++] == '-';
    if (i == text.size && i > 0)
        return false;
    uint64_t value = 0;
    for (; i < text.size; i++) {
        if (p[i] < '0' || p[i] > '9')
            return false;
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(p[i] - '0'), &value))
            return false;
    }
    *ret_cursor = negative ? -value : value;
    return true;
}

/* The options after the cursor; false after having answered an error. */
static bool parse_scan_options(struct client *client, const struct resp_request *request,
                               struct walk *walk, size_t *ret_count)
{
    int64_t count = 10;
    walk->all = true;
    for (size_t i = 2; i < request->count; i += 2) {
        bool has_value = i + 1 < request->count;
        if (has_value && command_arg_is(request, i, "match")) {
            walk_set_pattern(walk, request->args[i + 1]);
        } else if (has_value && command_arg_is(request, i, "count")) {
            if (!command_arg_int(client, request, i + 1, &count))
                return false;
            if (count < 1) {
                command_reply_syntax_error(client);
                return false;
            }
        } else if (has_value && command_arg_is(request, i, "type")) {
            walk->none = !command_arg_is(request, i + 1, "string");
        } else {
            command_reply_syntax_error(client);
            return false;
        }
    }
    *ret_count = count < SCAN_COUNT_MAX ? (size_t)count : SCAN_COUNT_MAX;
    return true;
}

void cmd_scan(struct client *client, const struct resp_request *request)
{
    struct buffer *out = client->reply.out;
    struct walk walk = {.client = client, .size_max = SIZE_MAX / 2};
    size_t count;
    if (!parse_cursor(request->args[1], &walk.cursor)) {
        reply_error(&client->reply, "ERR invalid cursor");
        return;
    }
    if (!parse_scan_options(client, request, &walk, &count))
        return;
    walk.start = out->size;
    do {
        size_t step = count < SCAN_STEP ? count : SCAN_STEP;
        walk_on(&walk, step);
        count -= step;
    } while (count > 0 && walk.cursor != 0 && walk.status == TARN_OK &&
             out->size - walk.start < SCAN_BYTES_MAX);
    if (walk.status != TARN_OK) {
        reply_walk_failed(&walk);
        return;
    }
    char digits[24];
    size_t digits_size = number_format_uint(walk.cursor, digits);
    command_insert(client, walk.start, "*2\r\n$%zu\r\n%.*s\r\n*%zu\r\n", digits_size,
                   (int)digits_size, digits, walk.count);
}

void cmd_keys(struct client *client, const struct resp_request *request)
{
    struct buffer *out = client->reply.out;
    struct walk walk = {.client = client, .start = out->size, .size_max = output_left(client)};
    walk_set_pattern(&walk, request->args[1]);
    do {
        walk_on(&walk, SCAN_STEP);
    } while (walk.cursor != 0 && walk.status == TARN_OK && !walk.full && !out->failed);
    if (walk.status != TARN_OK) {
        reply_walk_failed(&walk);
        return;
    }
    if (!walk.full) {
        command_insert(client, walk.start, "*%zu\r\n", walk.count);
        return;
    }
    out->size = walk.start;
    reply_error(&client->reply, "ERR the reply to KEYS would exceed output-limit; use SCAN");
}
