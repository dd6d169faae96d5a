/* MONITOR, SLOWLOG and LATENCY: what is executed, and what took long.
 *
 * Latencies come from the workers' histograms, one per command. tarn keeps no history of latency
 * events, so that the parts of LATENCY that show it are empty. */
#include <stdio.h>

#include "core/number.h"
#include "server/command_rows.h"
#include "server/server.h"

void cmd_monitor(struct client *client, const struct resp_request *request)
{
    (void)request;
    if (client->in_exec)
        reply_error(&client->reply, "ERR MONITOR isn't allowed for DENY BLOCKING client");
    else
        client_monitor(client);
}

/* --- SLOWLOG --- */

struct slowlog_reply {
    struct client *client;
    size_t count;
};

static void reply_entry(void *context, const struct slowlog_entry *entry)
{
    struct slowlog_reply *state = context;
    struct reply *r = &state->client->reply;
    reply_array(r, 6);
    reply_int(r, (int64_t)entry->id);
    reply_int(r, entry->unix_seconds);
    reply_int(r, (int64_t)entry->us);
    reply_array(r, entry->args_count);
    for (size_t i = 0; i < entry->args_count; i++)
        reply_bulk(r, entry->args[i]);
    reply_bulk_text(r, entry->address);
    reply_bulk_text(r, entry->name);
    state->count++;
}

/* SLOWLOG GET [count]: 10 entries; -1 is all. */
void cmd_slowlog_get(struct client *client, const struct resp_request *request)
{
    int64_t count = 10;
    if (request->count > 3) {
        command_reply_subcommand_syntax(client, request);
        return;
    }
    if (request->count == 3 && (!number_parse_int(request->args[2], &count) || count < -1)) {
        reply_error(&client->reply, "ERR count should be greater than or equal to -1");
        return;
    }
    struct slowlog_reply state = {.client = client};
    size_t start = client->reply.out->size;
    server_slowlog_visit(client->server, count < 0 ? SIZE_MAX : (size_t)count, reply_entry, &state);
    command_insert(client, start, "*%zu\r\n", state.count);
}

void cmd_slowlog_len(struct client *client, const struct resp_request *request)
{
    (void)request;
    reply_int(&client->reply, (int64_t)server_slowlog_length(client->server));
}

void cmd_slowlog_reset(struct client *client, const struct resp_request *request)
{
    (void)request;
    server_slowlog_reset(client->server);
    reply_simple(&client->reply, "OK");
}

/* --- LATENCY HISTOGRAM --- */

/* A pair's header: RESP3 maps count pairs, RESP2's flat arrays count both. */
static void insert_map_header(struct client *client, size_t start, size_t pairs_count)
{
    if (client->reply.protocol >= 3)
        command_insert(client, start, "%%%zu\r\n", pairs_count);
    else
        command_insert(client, start, "*%zu\r\n", 2 * pairs_count);
}

/* Calls that took at most 1, 2, 4 ... microseconds (of 1024 ns), where that differs from the
 * bucket before. */
static void reply_buckets(struct client *client, const struct histogram *latencies)
{
    size_t start = client->reply.out->size, pairs = 0;
    uint64_t previous = 0, total = histogram_count(latencies);
    for (unsigned shift = 10; shift < 63 && previous < total; shift++) {
        uint64_t bound_ns = 1ull << shift;
        uint64_t count = histogram_count_upto(latencies, bound_ns);
        if (count <= previous)
            continue;
        reply_int(&client->reply, (int64_t)(bound_ns / 1000));
        reply_int(&client->reply, (int64_t)count);
        previous = count;
        pairs++;
    }
    insert_map_header(client, start, pairs);
}

/* One command's distribution, if it was called; returns how many were written. */
static size_t reply_distribution(struct client *client, unsigned id)
{
    struct command_counters counters;
    server_command_counters_get(client->server, id, &counters);
    if (counters.calls == 0)
        return 0;
    struct histogram *latencies = histogram_new();
    if (latencies == NULL)
        return 0;
    server_command_latency_get(client->server, id, latencies);
    reply_bulk_text(&client->reply, command_full_name(id));
    reply_map(&client->reply, 2);
    reply_bulk_text(&client->reply, "calls");
    reply_int(&client->reply, (int64_t)counters.calls);
    reply_bulk_text(&client->reply, "histogram_usec");
    reply_buckets(client, latencies);
    histogram_free(latencies);
    return 1;
}

/* The distributions of a command, or of a container's subcommands. */
static size_t reply_distributions(struct client *client, const struct command *command)
{
    size_t count = reply_distribution(client, command->id);
    for (const struct command *sub = command->subcommands; sub != NULL && sub->name != NULL; sub++)
        count += reply_distribution(client, sub->id);
    return count;
}

/* LATENCY HISTOGRAM [command ...]: all that were called, or those named. */
void cmd_latency_histogram(struct client *client, const struct resp_request *request)
{
    size_t start = client->reply.out->size, count = 0;
    for (unsigned id = 0; request->count == 2 && id < command_count(); id++)
        count += reply_distribution(client, id);
    for (size_t i = 2; i < request->count; i++) {
        const struct command *command = command_find_full(request->args[i]);
        if (command != NULL)
            count += reply_distributions(client, command);
    }
    insert_map_header(client, start, count);
}

/* --- the rest of LATENCY --- */

void cmd_latency_latest(struct client *client, const struct resp_request *request)
{
    (void)request;
    reply_array(&client->reply, 0);
}

void cmd_latency_history(struct client *client, const struct resp_request *request)
{
    (void)request;
    reply_array(&client->reply, 0);
}

void cmd_latency_reset(struct client *client, const struct resp_request *request)
{
    (void)request;
    reply_int(&client->reply, 0);
}

void cmd_latency_graph(struct client *client, const struct resp_request *request)
{
    struct tarn_bytes event = request->args[2];
    reply_error(&client->reply, "ERR No samples available for event '%.*s'",
                command_printed_size(event), (const char *)event.data);
}

/* A line for each of the commands that take longest on average. */
void cmd_latency_doctor(struct client *client, const struct resp_request *request)
{
    (void)request;
    enum { SHOWN_MAX = 5 };
    struct buffer text;
    uint64_t bound = UINT64_MAX;
    buffer_init(&text, 0);
    buffer_append_text(&text, "Commands by their mean time:\n");
    for (int shown = 0; shown < SHOWN_MAX; shown++) {
        uint64_t slowest = 0, calls = 0;
        unsigned slowest_id = 0;
        for (unsigned id = 0; id < command_count(); id++) {
            struct command_counters counters;
            server_command_counters_get(client->server, id, &counters);
            uint64_t mean = counters.calls > 0 ? counters.us_total * 1000 / counters.calls : 0;
            if (mean > slowest && mean < bound) {
                slowest = mean;
                slowest_id = id;
                calls = counters.calls;
            }
        }
        if (slowest == 0)
            break;
        bound = slowest;
        buffer_printf(&text, "%s: %.1f us over %llu calls\n", command_full_name(slowest_id),
                      (double)slowest / 1000, (unsigned long long)calls);
    }
    buffer_append_text(&text, "LATENCY HISTOGRAM has the distributions, SLOWLOG the outliers.\n");
    reply_verbatim(&client->reply, "txt", (struct tarn_bytes){text.data, text.size});
    buffer_done(&text);
}
