/* Reloading the data on a thread of its own, one at a time. Workers go on serving the old version
 * meanwhile; the store swaps.
 *
 * Failure modes: a reload that fails is logged, and the old version stays. */
#include <stdlib.h>

#include "server/log.h"
#include "server/state.h"

struct reload {
    struct server *server;
    void (*done)(void *context, int status, const struct tarn_error *error);
    void *context;
};

static void log_result(struct server *server, int status, const struct tarn_error *error)
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
    if (status == TARN_OK) {
        struct tarn_stats stats;
        tarn_stats_get(server->store, &stats);
        atomic_store(&server->store_bytes, stats.memory_bytes);
    }
    log_result(server, status, &error);
    if (reload->done != NULL)
        reload->done(reload->context, status, &error);
    pthread_mutex_lock(&server->reload_lock);
    server->reload_running = false;
    pthread_mutex_unlock(&server->reload_lock);
    free(reload);
    return NULL;
}

int server_reload_start(struct server *server,
                        void (*done)(void *context, int status, const struct tarn_error *error),
                        void *context, struct tarn_error *error)
{
    int status = TARN_OK;
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
