/* Work that takes long, on threads of its own: a reload, a checkpoint that somebody waits for, a
 * backup; one of each kind at a time. Workers go on serving meanwhile. A client that asked for it
 * is parked; the work's thread leaves the result with the client's worker, which answers. A
 * checkpoint that was well made for SHUTDOWN has no result: the end of the server is what the
 * client sees.
 *
 * Failure modes: what fails is logged, and the store is as it was. */
#include <stdlib.h>
#include <unistd.h>

#include "os/trim.h"
#include "server/connection.h"
#include "server/log.h"

#define SAVE_AGAIN_US 10000 /* before the end of the server: a checkpoint is under way */

struct job {
    struct server *server;
    enum job_kind kind;
    char *argument; /* NULL: none */
    void (*done)(void *context, int status, const struct tarn_error *error);
    void *context;
};

/* What a parked client is to be told. Made by its worker, filled by the job's thread. */
struct job_result {
    struct job_result *next;
    struct worker *worker;
    uint64_t client_id;
    int status;
    struct tarn_error error;
};

/* --- the kinds ---------------------------------------------------------------------------- */

static int run_reload(struct server *server, const char *argument, struct tarn_error *error)
{
    (void)argument;
    int status = tarn_reload(server->store, error);
    os_trim_heap(); /* what building the index has freed */
    return status;
}

static int run_save(struct server *server, const char *argument, struct tarn_error *error)
{
    (void)argument;
    return tarn_checkpoint(server->store, error);
}

/* A checkpoint of all up to now: one that was begun before lacks what came after it. */
static int save_after_others(struct server *server, struct tarn_error *error)
{
    int status;
    while ((status = tarn_checkpoint(server->store, error)) == TARN_BUSY)
        usleep(SAVE_AGAIN_US);
    return status;
}

static int run_save_to_stop(struct server *server, const char *argument, struct tarn_error *error)
{
    (void)argument;
    return save_after_others(server, error);
}

static int run_backup(struct server *server, const char *argument, struct tarn_error *error)
{
    return tarn_backup(server->store, argument, error);
}

static void log_reloaded(struct server *server)
{
    struct tarn_stats stats;
    tarn_stats_get(server->store, &stats);
    log_event(LOG_INFO, "server", "reloaded", "keys=%llu generation=%llu load_us=%llu",
              (unsigned long long)stats.keys, (unsigned long long)stats.generation,
              (unsigned long long)stats.load_us);
}

static void log_saved(struct server *server)
{
    struct tarn_log_stats log;
    tarn_log_stats_get(server->store, &log);
    log_event(LOG_INFO, "server", "saved", "records=%llu bytes=%llu us=%llu",
              (unsigned long long)log.checkpoint_records, (unsigned long long)log.checkpoint_bytes,
              (unsigned long long)log.checkpoint_us);
}

static void log_backed_up(struct server *server)
{
    (void)server;
    log_event(LOG_INFO, "server", "backed-up", "status=ok");
}

static const struct job_row {
    const char *started, *failed; /* events of the log */
    const char *busy;             /* why not another one, for the client */
    int (*run)(struct server *server, const char *argument, struct tarn_error *error);
    void (*log)(struct server *server);
} rows[JOBS_COUNT] = {
    [JOB_RELOAD] = {"reload-started", "reload-failed", "a reload is under way already", run_reload,
                    log_reloaded},
    [JOB_SAVE] = {"save-started", "save-failed", "Background save already in progress", run_save,
                  log_saved},
    [JOB_BACKUP] = {"backup-started", "backup-failed", "a backup is under way already", run_backup,
                    log_backed_up},
    [JOB_SHUTDOWN] = {"save-started", "save-failed", "Shutdown already in progress",
                      run_save_to_stop, log_saved},
};

/* --- a job -------------------------------------------------------------------------------- */

static void job_free(struct job *job)
{
    if (job != NULL)
        free(job->argument);
    free(job);
}

static void *job_main(void *argument)
{
    struct job *job = argument;
    struct server *server = job->server;
    const struct job_row *row = &rows[job->kind];
    struct tarn_error error = {0};
    int status = row->run(server, job->argument, &error);
    if (status == TARN_OK)
        row->log(server);
    else
        log_event(LOG_ERROR, "server", row->failed, "reason=\"%s\"", error.text);
    /* Before anybody is told: who was told may ask for the next one at once. */
    pthread_mutex_lock(&server->jobs_lock);
    server->jobs[job->kind].running = false;
    bool aborted = server->jobs[job->kind].aborted;
    pthread_mutex_unlock(&server->jobs_lock);
    if (status == TARN_OK && aborted)
        status = error_set(&error, TARN_CANCELLED, "aborted");
    if (job->done != NULL)
        job->done(job->context, status, &error);
    job_free(job);
    return NULL;
}

/* Start the thread, which takes over *job, set to NULL then. */
static int start_locked(struct job **job, struct tarn_error *error)
{
    struct server *server = (*job)->server;
    struct job_slot *slot = &server->jobs[(*job)->kind];
    const struct job_row *row = &rows[(*job)->kind];
    if (slot->running)
        return error_set(error, TARN_BUSY, "%s", row->busy);
    if (slot->started) {
        pthread_join(slot->thread, NULL); /* it has set running to false: about to end */
        slot->started = false;
    }
    const char *path = (*job)->argument != NULL     ? (*job)->argument
                       : (*job)->kind == JOB_RELOAD ? server->data_path
                                                    : server->config->directory;
    log_event(LOG_INFO, "server", row->started, "path=%s", path);
    if (pthread_create(&slot->thread, NULL, job_main, *job) != 0)
        return error_set(error, TARN_NOMEM, "no thread for it");
    slot->started = slot->running = true;
    slot->aborted = false;
    *job = NULL;
    return TARN_OK;
}

int server_job_start(struct server *server, enum job_kind kind, const char *argument,
                     void (*done)(void *context, int status, const struct tarn_error *error),
                     void *context, struct tarn_error *error)
{
    if (kind == JOB_RELOAD && server_is_writable(server))
        return error_set(error, TARN_INVALID, "%s",
                         server->data_path == NULL
                             ? "there is no data file to reload: this is a writable store"
                             : "the data file is not loaded anew: the changes kept in the "
                               "directory belong to the version that is served");
    struct job *job = malloc(sizeof *job);
    if (job == NULL)
        return error_set(error, TARN_NOMEM, "out of memory");
    *job = (struct job){server, kind, NULL, done, context};
    if (argument != NULL && (job->argument = strdup(argument)) == NULL) {
        free(job);
        return error_set(error, TARN_NOMEM, "out of memory");
    }
    pthread_mutex_lock(&server->jobs_lock);
    int status = start_locked(&job, error);
    pthread_mutex_unlock(&server->jobs_lock);
    job_free(job);
    return status;
}

void server_jobs_join(struct server *server)
{
    for (int kind = 0; kind < JOBS_COUNT; kind++) {
        struct job_slot *slot = &server->jobs[kind];
        pthread_mutex_lock(&server->jobs_lock);
        bool started = slot->started;
        slot->started = false;
        pthread_mutex_unlock(&server->jobs_lock);
        if (started)
            pthread_join(slot->thread, NULL);
    }
}

int server_save(struct server *server, struct tarn_error *error)
{
    int status = save_after_others(server, error);
    if (status == TARN_OK)
        log_saved(server);
    else
        log_event(LOG_ERROR, "server", rows[JOB_SAVE].failed, "reason=\"%s\"", error->text);
    return status;
}

/* --- a client that waits ------------------------------------------------------------------ */

/* On the job's thread. */
static void leave_result(void *context, int status, const struct tarn_error *error)
{
    struct job_result *result = context;
    struct worker *w = result->worker;
    result->status = status;
    if (status != TARN_OK)
        result->error = *error;
    result->next = atomic_load_explicit(&w->job_results, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&w->job_results, &result->next, result,
                                                  memory_order_release, memory_order_relaxed))
        continue;
    loop_wake(&w->loop);
}

/* As leave_result(), of the checkpoint before SHUTDOWN. What was changed behind it is in the log;
 * without one a last checkpoint has it. */
static void stop_or_leave_result(void *context, int status, const struct tarn_error *error)
{
    (void)error;
    struct job_result *result = context;
    struct server *server = result->worker->server;
    if (status != TARN_OK) {
        struct tarn_error told;
        error_set(&told, status, "Errors trying to SHUTDOWN. Check logs.");
        leave_result(context, status, &told);
        return;
    }
    free(result);
    server_stop_saving(server, !server_is_logged(server));
}

/* False: the error is answered. */
static bool park_for(struct client *client, enum job_kind kind, const char *argument,
                     void (*done)(void *context, int status, const struct tarn_error *error))
{
    struct connection *c = connection_of(client);
    struct tarn_error error;
    struct job_result *result = calloc(1, sizeof *result);
    if (result == NULL) {
        reply_error(&client->reply, "ERR out of memory");
        return false;
    }
    result->worker = client->worker;
    result->client_id = client->id;
    if (server_job_start(client->server, kind, argument, done, result, &error) != TARN_OK) {
        free(result);
        reply_error(&client->reply, "ERR %s", error.text);
        return false;
    }
    c->parked = true;
    c->parked_silent = client->reply_mode != CLIENT_REPLY_ON;
    return true;
}

void client_job(struct client *client, enum job_kind kind, const char *argument)
{
    (void)park_for(client, kind, argument, leave_result);
}

void client_shutdown(struct client *client)
{
    if (park_for(client, JOB_SHUTDOWN, NULL, stop_or_leave_result))
        connection_of(client)->parked_to_end = true;
}

bool server_abort_shutdown(struct server *server)
{
    pthread_mutex_lock(&server->jobs_lock);
    bool running = server->jobs[JOB_SHUTDOWN].running;
    server->jobs[JOB_SHUTDOWN].aborted = running;
    pthread_mutex_unlock(&server->jobs_lock);
    return running;
}

/* Tell the client this result is for, unless it has gone. */
static void deliver(struct worker *w, const struct job_result *result)
{
    for (struct connection *c = w->clients; c != NULL; c = c->next) {
        if (c->client.id != result->client_id)
            continue;
        if (c->parked)
            connection_unpark(c, result->status == TARN_OK ? NULL : &result->error);
        return;
    }
}

static struct job_result *take_results(struct worker *w)
{
    if (atomic_load_explicit(&w->job_results, memory_order_relaxed) == NULL)
        return NULL;
    return atomic_exchange_explicit(&w->job_results, NULL, memory_order_acquire);
}

void job_deliver(struct worker *w)
{
    struct job_result *next;
    for (struct job_result *result = take_results(w); result != NULL; result = next) {
        next = result->next;
        deliver(w, result);
        free(result);
    }
}

void job_drop(struct worker *w)
{
    struct job_result *next;
    for (struct job_result *result = take_results(w); result != NULL; result = next) {
        next = result->next;
        free(result);
    }
}
