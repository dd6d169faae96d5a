/* Sums over all workers, and what else commands, HTTP and metrics ask of the server.
 *
 * How: see server/stats.h. A worker that has not yet obeyed a reset counts as zero. HTTP's
 * counters cannot be reset, so their values at the reset are subtracted.
 * Failure modes: none. */
#include "server/state.h"

#define ROOM_TRIES_MAX 100        /* waits for a store that evicts */
#define BUFFERS_ALWAYS (1u << 20) /* that fit whatever the cap */
#define BUFFERS_SHARE  4          /* of the cap: before a file on disk, whose cache makes room */

static uint64_t read_gauge(const _Atomic uint64_t *gauge)
{
    return atomic_load_explicit(gauge, memory_order_relaxed);
}

static void add_worker(struct worker *w, struct server_counters *sum)
{
    const struct stats *s = &w->stats;
    sum->connections_now += read_gauge(&w->connections_now);
    sum->buffers_bytes += read_gauge(&w->buffers_bytes);
    sum->clients_blocked += read_gauge(&w->parked_now);
    sum->clients_gated += read_gauge(&w->gated_now);
    if (!stats_is_current(s))
        return;
    sum->connections_total += stats_read(&s->connections);
    sum->connections_rejected += stats_read(&s->connections_rejected);
    sum->commands_total += stats_read(&s->commands);
    sum->keyspace_hits += stats_read(&s->hits);
    sum->keyspace_misses += stats_read(&s->misses);
    sum->net_input_bytes += stats_read(&s->input_bytes);
    sum->net_output_bytes += stats_read(&s->output_bytes);
    sum->errors_total += stats_read(&s->errors);
    sum->client_output_limit_cuts += stats_read(&s->output_cuts);
    sum->clients_idle_closed += stats_read(&s->idle_closed);
}

/* What is not counted by workers: HTTP's requests, connections now, hits, misses, rejected and
 * buffers; the keys that the store has freed by itself. */
static struct server_counters other_counters(struct server *server)
{
    struct server_counters c = {0};
    struct tarn_stats stats;
    tarn_stats_get(server->store, &stats);
    c.keys_expired = stats.expired_total;
    c.keys_evicted = stats.evicted_total;
    if (server->http != NULL) {
        http_counters_get(server->http, &c.http_requests_total, &c.http_connections_now,
                          &c.keyspace_hits, &c.keyspace_misses, &c.connections_rejected);
        c.buffers_bytes = http_buffers_bytes(server->http);
    }
    return c;
}

void server_counters_get(struct server *server, struct server_counters *ret_counters)
{
    struct server_counters sum = {0};
    for (unsigned i = 0; i < server->workers_count; i++)
        add_worker(server->workers[i], &sum);
    struct server_counters other = other_counters(server);
    pthread_mutex_lock(&server->stats_lock);
    const struct server_counters *base = &server->base;
    sum.http_connections_now = other.http_connections_now;
    sum.buffers_bytes += other.buffers_bytes;
    sum.http_requests_total = other.http_requests_total - base->http_requests_total;
    sum.keyspace_hits += other.keyspace_hits - base->keyspace_hits;
    sum.keyspace_misses += other.keyspace_misses - base->keyspace_misses;
    sum.connections_rejected += other.connections_rejected - base->connections_rejected;
    sum.keys_expired = other.keys_expired - base->keys_expired;
    sum.keys_evicted = other.keys_evicted - base->keys_evicted;
    pthread_mutex_unlock(&server->stats_lock);
    *ret_counters = sum;
}

void server_counters_reset(struct server *server)
{
    pthread_mutex_lock(&server->stats_lock);
    server->base = other_counters(server);
    atomic_fetch_add_explicit(&server->stats_generation, 1, memory_order_release);
    pthread_mutex_unlock(&server->stats_lock);
}

void server_command_counters_get(struct server *server, unsigned id,
                                 struct command_counters *ret_counters)
{
    struct command_counters sum = {0};
    uint64_t ns_total = 0;
    for (unsigned i = 0; i < server->workers_count; i++) {
        const struct stats *s = &server->workers[i]->stats;
        if (id >= s->commands_count || !stats_is_current(s))
            continue;
        const struct stats_command *c = &s->by_command[id];
        sum.calls += stats_read(&c->calls);
        sum.rejected += stats_read(&c->rejected);
        sum.failed += stats_read(&c->failed);
        ns_total += stats_read(&c->ns_total);
    }
    sum.us_total = ns_total / 1000;
    *ret_counters = sum;
}

void server_command_latency_get(struct server *server, unsigned id, struct histogram *into)
{
    for (unsigned i = 0; i < server->workers_count; i++) {
        const struct stats *s = &server->workers[i]->stats;
        if (id >= s->commands_count || !stats_is_current(s))
            continue;
        const struct histogram *latency =
            atomic_load_explicit(&s->by_command[id].latency, memory_order_acquire);
        if (latency != NULL)
            histogram_merge(into, latency);
    }
}

/* The error words of all workers, one entry a word. */
struct error_sums {
    struct stats_error errors[STATS_ERROR_WORDS_MAX];
    unsigned count;
};

static void add_error(void *context, const char *word, uint64_t count)
{
    struct error_sums *sums = context;
    unsigned i = 0;
    while (i < sums->count && strcmp(sums->errors[i].word, word) != 0)
        i++;
    if (i == STATS_ERROR_WORDS_MAX)
        return;
    if (i == sums->count) {
        memcpy(sums->errors[i].word, word, strlen(word) + 1);
        sums->count++;
    }
    sums->errors[i].count += count;
}

void server_error_counts_visit(struct server *server,
                               void (*visit)(void *context, const char *word, uint64_t count),
                               void *context)
{
    struct error_sums sums = {0};
    for (unsigned i = 0; i < server->workers_count; i++)
        if (stats_is_current(&server->workers[i]->stats))
            stats_errors_visit(&server->workers[i]->stats, add_error, &sums);
    for (unsigned i = 0; i < sums.count; i++)
        visit(context, sums.errors[i].word, sums.errors[i].count);
}

bool server_connections_full(struct server *server)
{
    uint64_t now = atomic_load_explicit(&server->connections_now, memory_order_relaxed);
    uint64_t http = server->http != NULL ? http_connections_now(server->http) : 0;
    return now + http >= hot_read(&server->hot.max_connections);
}

bool server_memory_could(struct server *server, uint64_t extra)
{
    uint64_t limit = hot_read(&server->hot.memory_bytes);
    if (!server_is_writable(server) || hot_read(&server->hot.eviction) == TARN_EVICT_NOTHING)
        return server_memory_allows(server, extra);
    return limit == 0 || extra <= limit;
}

bool server_memory_allows(struct server *server, uint64_t extra)
{
    uint64_t limit = hot_read(&server->hot.memory_bytes);
    if (limit == 0)
        return true;
    uint64_t used = tarn_memory_used(server->store);
    if (used <= limit && extra <= limit - used)
        return true;
    if (!server_is_writable(server) && !server->on_disk)
        return false;
    uint64_t always = server->on_disk && limit / BUFFERS_SHARE > BUFFERS_ALWAYS
                          ? limit / BUFFERS_SHARE
                          : BUFFERS_ALWAYS;
    uint64_t buffers = server->http != NULL ? http_buffers_bytes(server->http) : 0;
    for (unsigned i = 0; i < server->workers_count; i++)
        buffers += read_gauge(&server->workers[i]->buffers_bytes);
    return extra <= always && buffers <= always - extra;
}

bool server_memory_wait(struct server *server, struct tarn_session *session, uint64_t extra)
{
    for (int i = 0; i < ROOM_TRIES_MAX; i++) {
        if (server_memory_allows(server, extra))
            return true;
        if (!tarn_make_room(session))
            break;
    }
    return server_memory_allows(server, extra);
}

/* --- the slow log ------------------------------------------------------------------------- */

void server_slowlog_visit(struct server *server, size_t count,
                          void (*visit)(void *context, const struct slowlog_entry *entry),
                          void *context)
{
    slowlog_visit(&server->slowlog, count, visit, context);
}

size_t server_slowlog_length(struct server *server)
{
    return slowlog_length(&server->slowlog);
}

void server_slowlog_reset(struct server *server)
{
    slowlog_trim(&server->slowlog, 0);
}
