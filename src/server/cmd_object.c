/* OBJECT and MEMORY: what is inside a key, and where the memory goes.
 *
 * OBJECT answers as Redis would for the same string: tools show the words to people. Figures that
 * tarn does not keep (idle time, frequency) are answered as a server that does not keep them.
 * MEMORY USAGE counts the record in the data and the key's share of the index. */
#include <stdio.h>

#include "core/number.h"
#include "os/os.h"
#include "server/command_rows.h"
#include "server/server.h"

enum {
    EMBEDDED_BYTES_MAX = 44, /* Redis keeps longer strings apart from their object */
    INTEGER_DIGITS_MAX = 20, /* of an int64, sign included */
};

/* Look up args[2]; false after having answered null. */
static bool get_key(struct client *client, const struct resp_request *request,
                    struct tarn_bytes *ret_value)
{
    bool found = tarn_get(client->session, request->args[2], ret_value) == TARN_OK;
    client_count_lookups(client, found, !found);
    if (!found)
        reply_null(&client->reply);
    return found;
}

void cmd_object_encoding(struct client *client, const struct resp_request *request)
{
    struct tarn_bytes value;
    int64_t number;
    if (!get_key(client, request, &value))
        return;
    if (value.size <= INTEGER_DIGITS_MAX && number_parse_int(value, &number))
        reply_bulk_text(&client->reply, "int");
    else
        reply_bulk_text(&client->reply, value.size <= EMBEDDED_BYTES_MAX ? "embstr" : "raw");
}

void cmd_object_freq(struct client *client, const struct resp_request *request)
{
    struct tarn_bytes value;
    if (get_key(client, request, &value))
        reply_error(&client->reply,
                    "ERR An LFU maxmemory policy is not selected, access frequency not tracked. "
                    "Please note that when switching between policies at runtime LRU and LFU data "
                    "will take some time to adjust.");
}

void cmd_object_idletime(struct client *client, const struct resp_request *request)
{
    struct tarn_bytes value;
    if (get_key(client, request, &value))
        reply_int(&client->reply, 0);
}

void cmd_object_refcount(struct client *client, const struct resp_request *request)
{
    struct tarn_bytes value;
    if (get_key(client, request, &value))
        reply_int(&client->reply, 1);
}

/* --- MEMORY --- */

/* Bytes that a record takes beside its key and value: file framing and index, rounded up. */
static uint64_t overhead_per_record(const struct tarn_stats *stats)
{
    if (stats->records == 0)
        return 0;
    uint64_t payload = stats->key_bytes_total + stats->value_bytes_total;
    uint64_t framing = stats->data_bytes > payload ? stats->data_bytes - payload : 0;
    return (framing + stats->index_bytes + stats->records - 1) / stats->records;
}

/* MEMORY USAGE key [SAMPLES n]: a string needs no samples. */
void cmd_memory_usage(struct client *client, const struct resp_request *request)
{
    int64_t samples;
    for (size_t i = 3; i < request->count; i += 2) {
        if (!command_arg_is(request, i, "samples") || i + 1 == request->count) {
            command_reply_syntax_error(client);
            return;
        }
        if (!command_arg_int(client, request, i + 1, &samples))
            return;
        if (samples < 0) {
            command_reply_syntax_error(client);
            return;
        }
    }
    struct tarn_bytes value;
    if (!get_key(client, request, &value))
        return;
    struct tarn_stats stats;
    tarn_stats_get(server_store(client->server), &stats);
    reply_int(&client->reply,
              (int64_t)(request->args[2].size + value.size + overhead_per_record(&stats)));
}

void cmd_memory_doctor(struct client *client, const struct resp_request *request)
{
    (void)request;
    struct tarn_stats stats;
    struct server_counters counters;
    char data[32], index[32], buffers[32], resident[32], text[512];
    tarn_stats_get(server_store(client->server), &stats);
    server_counters_get(client->server, &counters);
    int size = snprintf(text, sizeof text,
                        "The data takes %s, its index %s and the buffers of clients %s; the "
                        "process has %s resident. The data does not change, so neither does "
                        "this, but for the buffers and while a reload holds two versions.\n",
                        number_format_size(stats.data_bytes, data),
                        number_format_size(stats.index_bytes, index),
                        number_format_size(counters.buffers_bytes, buffers),
                        number_format_size(os_memory_resident(), resident));
    reply_verbatim(&client->reply, "txt", (struct tarn_bytes){text, (size_t)size});
}

void cmd_memory_stats(struct client *client, const struct resp_request *request)
{
    (void)request;
    struct tarn_stats stats;
    struct server_counters counters;
    tarn_stats_get(server_store(client->server), &stats);
    server_counters_get(client->server, &counters);
    const struct {
        const char *name;
        uint64_t value;
    } figures[] = {
        {"total.allocated", os_memory_resident()},
        {"clients.normal", counters.buffers_bytes},
        {"keys.count", stats.keys},
        {"keys.bytes-per-key", stats.keys > 0 ? stats.memory_bytes / stats.keys : 0},
        {"dataset.bytes", stats.data_bytes},
        {"index.bytes", stats.index_bytes},
        {"overhead.total", counters.buffers_bytes + stats.index_bytes},
    };
    const size_t count = sizeof figures / sizeof *figures;
    reply_map(&client->reply, count);
    for (size_t i = 0; i < count; i++) {
        reply_bulk_text(&client->reply, figures[i].name);
        reply_int(&client->reply, (int64_t)figures[i].value);
    }
}

void cmd_memory_purge(struct client *client, const struct resp_request *request)
{
    (void)request;
    reply_simple(&client->reply, "OK");
}

void cmd_memory_malloc_stats(struct client *client, const struct resp_request *request)
{
    (void)request;
    reply_bulk_text(&client->reply, "Stats not supported for the current allocator");
}
