/* Reloading the data on a thread of its own, one at a time. Workers go on serving the old version
 * meanwhile; the store swaps. A client that asked for the reload is parked; the reload's thread
 * leaves the result with the client's worker, which answers.
 *
 * Failure modes: a reload that fails is logged, and the old version stays. */
#include <stdlib.h>

#include "os/trim.h"
#include "server/connection.h"
#include "server/log.h"

struct reload {
    struct server *server;
    void (*done)(void *context, int status, const struct tarn_error *error);
    void *context;
};

/* What a parked client is to be told. Made by its worker, filled by the reload's thread. */
struct reload_result {
    struct reload_result *next;
    struct worker *worker;
    uint64_t client_id;
    int status;
    struct tarn_error error;
};

/* What follows from a reload that has ended. */
static void take_result(struct server *server, int status, const struct tarn_error *error)
{
    if (status != TARN_OK) {
        log_event(LOG_ERROR, "server", "reload-failed", "reason=\"%s\"", error->text);
        return;
    }
    struct tarn_stats stats;
    tarn_stats_get(server->store, &stats);
    log_event(LOG_INFO, "server", "reloaded", "keys=%llu generation=%llu load_us=%llu",
              (unsigned long long)stats.keys, (unsigned long long)stats.generation,
              (unsigned long long)stats.load_us);
}

static void *reload_main(void *argument)
{
    struct reload *reload = argument;
    struct server *server = reload->server;
    struct tarn_error error = {0};
    int status = tarn_reload(server->store, &error);
    os_trim_heap(); /* what building the index has freed */
    take_result(server, status, &error);
    /* Before anybody is told: who was told may ask for the next reload at once. */
    pthread_mutex_lock(&server->reload_lock);
    server->reload_running = false;
    pthread_mutex_unlock(&server->reload_lock);
    if (reload->done != NULL)
        reload->done(reload->context, status, &error);
    free(reload);
    return NULL;
}

int server_reload_start(struct server *server,
                        void (*done)(void *context, int status, const struct tarn_error *error),
                        void *context, struct tarn_error *error)
{
    int status = TARN_OK;
    if (server_is_writable(server))
        return error_set(error, TARN_INVALID,
                         "there is no data file to reload: this is a writable store in memory");
    struct reload *reload = malloc(sizeof *reload);
    if (reload == NULL)
        return error_set(error, TARN_NOMEM, "out of memory for a reload");
    *reload = (struct reload){server, done, context};
    pthread_mutex_lock(&server->reload_lock);
    if (server->reload_running) {
        status = error_set(error, TARN_BUSY, "a reload is under way already");
        goto out;
    }
    if (server->reload_started) {
        pthread_join(server->reload_thread, NULL); /* it has set running to false: about to end */
        server->reload_started = false;
    }
    log_event(LOG_INFO, "server", "reload-started", "path=%s", server->data_path);
    if (pthread_create(&server->reload_thread, NULL, reload_main, reload) != 0) {
        status = error_set(error, TARN_NOMEM, "no thread for a reload");
        goto out;
    }
    server->reload_started = true;
    server->reload_running = true;
    reload = NULL; /* the thread's now */
out:
    pthread_mutex_unlock(&server->reload_lock);
    free(reload);
    return status;
}

void server_reload_join(struct server *server)
{
    pthread_mutex_lock(&server->reload_lock);
    bool started = server->reload_started;
    server->reload_started = false;
    pthread_mutex_unlock(&server->reload_lock);
    if (started)
        pthread_join(server->reload_thread, NULL);
}

/* --- a client that waits ------------------------------------------------------------------ */

/* On the reload's thread. */
static void leave_result(void *context, int status, const struct tarn_error *error)
{
    struct reload_result *result = context;
    struct worker *w = result->worker;
    result->status = status;
    if (status != TARN_OK)
        result->error = *error;
    result->next = atomic_load_explicit(&w->reload_results, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&w->reload_results, &result->next, result,
                                                  memory_order_release, memory_order_relaxed))
        continue;
    loop_wake(&w->loop);
}

void client_reload(struct client *client)
{
    struct connection *c = connection_of(client);
    struct tarn_error error;
    struct reload_result *result = calloc(1, sizeof *result);
    if (result == NULL) {
        reply_error(&client->reply, "ERR out of memory for a reload");
        return;
    }
    result->worker = client->worker;
    result->client_id = client->id;
    if (server_reload_start(client->server, leave_result, result, &error) != TARN_OK) {
        free(result);
        reply_error(&client->reply, "ERR %s", error.text);
        return;
    }
    c->parked = true;
    c->parked_silent = client->reply_mode != CLIENT_REPLY_ON;
}

/* Tell the client this result is for, unless it has gone. */
static void deliver(struct worker *w, const struct reload_result *result)
{
    for (struct connection *c = w->clients; c != NULL; c = c->next) {
        if (c->client.id != result->client_id)
            continue;
        if (c->parked)
            connection_unpark(c, result->status == TARN_OK ? NULL : &result->error);
        return;
    }
}

static struct reload_result *take_results(struct worker *w)
{
    if (atomic_load_explicit(&w->reload_results, memory_order_relaxed) == NULL)
        return NULL;
    return atomic_exchange_explicit(&w->reload_results, NULL, memory_order_acquire);
}

void reload_deliver(struct worker *w)
{
    struct reload_result *next;
    for (struct reload_result *result = take_results(w); result != NULL; result = next) {
        next = result->next;
        deliver(w, result);
        free(result);
    }
}

void reload_drop(struct worker *w)
{
    struct reload_result *next;
    for (struct reload_result *result = take_results(w); result != NULL; result = next) {
        next = result->next;
        free(result);
    }
}
