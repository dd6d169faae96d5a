/* MEMORY: where the memory goes.
 *
 * STATS has the fields of Redis 7 that clients and viewers read, with tarn's figures; what tarn has
 * nothing of is 0. All memory that is counted is total.allocated, which is dataset.bytes and
 * overhead.total. USAGE of a key is what its item takes (of an immutable data set: key and value)
 * and its share of what finds it. */
#include <stdio.h>

#include "core/number.h"
#include "os/os.h"
#include "os/trim.h"
#include "server/command_rows.h"
#include "server/metrics_table.h"

/* [SAMPLES n] from args[3] on: a string needs none. False after having answered an error. */
static bool check_samples(struct client *client, const struct resp_request *request)
{
    int64_t samples;
    for (size_t i = 3; i < request->count; i += 2) {
        if (!command_arg_is(request, i, "samples") || i + 1 == request->count) {
            command_reply_syntax_error(client);
            return false;
        }
        if (!command_arg_int(client, request, i + 1, &samples))
            return false;
        if (samples < 0) {
            command_reply_syntax_error(client);
            return false;
        }
    }
    return true;
}

void cmd_memory_usage(struct client *client, const struct resp_request *request)
{
    uint64_t bytes;
    if (!check_samples(client, request))
        return;
    int status = tarn_usage(client->session, request->args[2], &bytes);
    if (status == TARN_OK)
        reply_int(&client->reply, (int64_t)bytes);
    else if (status == TARN_NOTFOUND)
        reply_null(&client->reply);
    else
        command_reply_unreadable(client, status);
}

/* --- STATS --- */

/* What MEMORY STATS is made of; bytes. */
struct figures {
    struct metrics_sample sample;
    uint64_t dataset; /* keys and values with their headers */
    uint64_t in_use;  /* of what the store has taken from the system */
    uint64_t held;    /* all that the store has taken */
};

static void take_figures(struct client *client, struct figures *f)
{
    metrics_sample_take(client->server, &f->sample);
    const struct tarn_stats *store = &f->sample.store;
    f->dataset = store->data_bytes;
    f->held = store->memory_bytes;
    f->in_use = f->held;
    if (f->in_use > store->free_bytes + store->limbo_bytes)
        f->in_use -= store->free_bytes + store->limbo_bytes;
}

static void reply_figure(struct client *client, const char *name, uint64_t value)
{
    reply_bulk_text(&client->reply, name);
    reply_int(&client->reply, (int64_t)value);
}

/* part of whole, times `factor`; 0 of nothing. */
static void reply_ratio(struct client *client, const char *name, uint64_t part, uint64_t whole,
                        double factor)
{
    reply_bulk_text(&client->reply, name);
    reply_double(&client->reply, whole > 0 ? factor * (double)part / (double)whole : 0);
}

static void reply_difference(struct client *client, const char *name, uint64_t more, uint64_t less)
{
    reply_bulk_text(&client->reply, name);
    reply_int(&client->reply, (int64_t)more - (int64_t)less);
}

static const char *const nothing[] = {"replication.backlog", "clients.slaves"};
static const char *const nothing_either[] = {"cluster.links", "aof.buffer", "lua.caches",
                                             "functions.caches"};
enum { OVERALL_COUNT = 9, DATABASE_COUNT = 1, SHARES_COUNT = 6, ALLOCATOR_COUNT = 11 };

static void reply_zeros(struct client *client, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        reply_figure(client, names[i], 0);
}

static void reply_overall(struct client *client, const struct figures *f)
{
    reply_figure(client, "peak.allocated", f->sample.memory_peak);
    reply_figure(client, "total.allocated", f->sample.memory_used);
    reply_figure(client, "startup.allocated", 0);
    reply_zeros(client, nothing, 2);
    reply_figure(client, "clients.normal", f->sample.counters.buffers_bytes);
    reply_zeros(client, nothing_either, 4);
}

static void reply_database(struct client *client, const struct figures *f)
{
    reply_bulk_text(&client->reply, "db.0");
    reply_map(&client->reply, 3);
    reply_figure(client, "overhead.hashtable.main", f->sample.store.index_bytes);
    reply_figure(client, "overhead.hashtable.expires", 0);
    reply_figure(client, "overhead.hashtable.slot-to-keys", 0);
}

static void reply_shares(struct client *client, const struct figures *f)
{
    uint64_t total = f->sample.memory_used, keys = f->sample.store.keys;
    reply_difference(client, "overhead.total", total, f->dataset);
    reply_figure(client, "keys.count", keys);
    reply_figure(client, "keys.bytes-per-key", keys > 0 ? total / keys : 0);
    reply_figure(client, "dataset.bytes", f->dataset);
    reply_ratio(client, "dataset.percentage", f->dataset, total, 100);
    reply_ratio(client, "peak.percentage", total, f->sample.memory_peak, 100);
}

/* The allocator is the store's own; "rss overhead" is the process beyond it. */
static void reply_allocator(struct client *client, const struct figures *f)
{
    uint64_t resident = f->sample.memory_resident, total = f->sample.memory_used;
    reply_figure(client, "allocator.allocated", f->in_use);
    reply_figure(client, "allocator.active", f->held);
    reply_figure(client, "allocator.resident", f->held);
    reply_ratio(client, "allocator-fragmentation.ratio", f->held, f->in_use, 1);
    reply_difference(client, "allocator-fragmentation.bytes", f->held, f->in_use);
    reply_ratio(client, "allocator-rss.ratio", 1, 1, 1);
    reply_figure(client, "allocator-rss.bytes", 0);
    reply_ratio(client, "rss-overhead.ratio", resident, f->held, 1);
    reply_difference(client, "rss-overhead.bytes", resident, f->held);
    reply_ratio(client, "fragmentation", resident, total, 1);
    reply_difference(client, "fragmentation.bytes", resident, total);
}

void cmd_memory_stats(struct client *client, const struct resp_request *request)
{
    (void)request;
    struct figures f;
    take_figures(client, &f);
    bool has_keys = f.sample.store.keys > 0; /* Redis leaves an empty database out */
    reply_map(&client->reply,
              OVERALL_COUNT + 1 + (has_keys ? DATABASE_COUNT : 0) + SHARES_COUNT + ALLOCATOR_COUNT);
    reply_overall(client, &f);
    if (has_keys)
        reply_database(client, &f);
    reply_shares(client, &f);
    reply_allocator(client, &f);
}

/* --- in words, and what can be done --- */

static int describe_data_file(const struct metrics_sample *s, char *out, size_t size)
{
    char data[32], index[32], buffers[32], resident[32];
    return snprintf(out, size,
                    "The data takes %s, its index %s and the buffers of clients %s; the process "
                    "has %s resident. The data does not change, so neither does this, but for the "
                    "buffers and while a reload holds two versions.\n",
                    number_format_size(s->store.data_bytes, data),
                    number_format_size(s->store.index_bytes, index),
                    number_format_size(s->counters.buffers_bytes, buffers),
                    number_format_size(s->memory_resident, resident));
}

static int describe_table(const struct metrics_sample *s, char *out, size_t size)
{
    char items[32], table[32], free_room[32], limbo[32], buffers[32], resident[32], cap[32];
    bool capped = s->store.memory_bytes_max > 0;
    return snprintf(out, size,
                    "Keys and values take %s, the table that finds them %s and the buffers of "
                    "clients %s. %s is held free for new items, %s was deleted or replaced and "
                    "will be free in a moment. The process has %s resident. %s%s.\n",
                    number_format_size(s->store.item_bytes, items),
                    number_format_size(s->store.table_bytes, table),
                    number_format_size(s->counters.buffers_bytes, buffers),
                    number_format_size(s->store.free_bytes, free_room),
                    number_format_size(s->store.limbo_bytes, limbo),
                    number_format_size(s->memory_resident, resident),
                    capped ? "All of it may take " : "There is no limit to it",
                    capped ? number_format_size(s->store.memory_bytes_max, cap) : "");
}

void cmd_memory_doctor(struct client *client, const struct resp_request *request)
{
    (void)request;
    struct metrics_sample sample;
    char text[640];
    metrics_sample_take(client->server, &sample);
    int size = sample.store.writable ? describe_table(&sample, text, sizeof text)
                                     : describe_data_file(&sample, text, sizeof text);
    reply_verbatim(&client->reply, "txt", (struct tarn_bytes){text, (size_t)size});
}

/* The store gives its pages back by itself; this is for the rest of the process. */
void cmd_memory_purge(struct client *client, const struct resp_request *request)
{
    (void)request;
    os_trim_heap();
    reply_simple(&client->reply, "OK");
}

void cmd_memory_malloc_stats(struct client *client, const struct resp_request *request)
{
    (void)request;
    reply_bulk_text(&client->reply, "Stats not supported for the current allocator");
}
