/* A run's parts, made in order and taken down again: target, data set, workload, threads,
 * connections, load. See run_internal.h for the rest.
 *
 * Failure modes: those of the parts; a half-made run is closed like a whole one. */
#include <stdlib.h>

#include "bench/run_internal.h"
#include "core/assert.h"

static bool note_file_progress(void *context, const char *phase, uint64_t done, uint64_t total)
{
    const struct run *run = context;
    (void)phase, (void)done, (void)total;
    return !run->hooks.cancelled || !run->hooks.cancelled(run->hooks.context);
}

static int open_records(struct run *run, struct tarn_error *error)
{
    const struct settings *s = run->settings;
    const char *path = *s->keys_from                         ? s->keys_from
                       : run->target.store == &embedded_file ? run->target.path
                                                             : NULL;
    struct records_options options = {
        .count = s->records,
        .key_bytes = (size_t)s->key_size,
        .value_bytes = s->value_size,
        .seed = s->seed,
        .path = path,
        .format = settings_format(s),
        .progress = note_file_progress,
        .progress_context = run,
    };
    return records_open(run->os, &options, &run->records, error);
}

/* Room in the key space for what the run may insert; a timed run gets as much again as there is. */
static uint64_t inserts_expected(const struct run *run)
{
    const struct settings *s = run->settings;
    double share = run->mix.share[OPERATION_INSERT];
    if (share <= 0)
        return 0;
    if (s->requests == 0)
        return records_count(run->records);
    double inserts = 2 * share * (double)s->requests * (double)s->batch + 1;
    return inserts < 0x1p63 ? (uint64_t)inserts : UINT64_MAX;
}

static int open_workload(struct run *run, struct tarn_error *error)
{
    const struct settings *s = run->settings;
    struct workload_options options = {
        .mix = run->mix,
        .theta = s->theta,
        .hot_records_share = s->hot_records,
        .hot_requests_share = s->hot_requests,
        .missing_ratio = s->missing_ratio,
        .inserts_expected = inserts_expected(run),
        .seed = s->seed,
    };
    if (run->mix.share[OPERATION_INSERT] > 0 &&
        records_count_max(run->records) == records_count(run->records))
        return error_set(error, TARN_INVALID,
                         "--workload %s inserts new records, which a data file has not",
                         workload_names[s->workload]);
    run->workload = workload_new(&options, run->records);
    return run->workload ? TARN_OK : error_set(error, TARN_NOMEM, "out of memory");
}

static int open_threads(struct run *run, struct tarn_error *error)
{
    unsigned count = (unsigned)run->settings->threads;
    run->threads = calloc(count, sizeof *run->threads);
    run->tallies = calloc(count, sizeof *run->tallies);
    run->streams = calloc(count, sizeof *run->streams);
    if (!run->threads || !run->tallies || !run->streams)
        return error_set(error, TARN_NOMEM, "out of memory");
    run->threads_count = count;
    for (unsigned i = 0; i < count; i++) {
        struct run_thread *t = &run->threads[i];
        t->run = run;
        t->number = i;
        if (tally_init(&t->tally) != TARN_OK)
            return error_set(error, TARN_NOMEM, "out of memory");
        t->tally_ready = true;
        run->tallies[i] = &t->tally;
        workload_thread_init(&run->streams[i], run->workload, i, count);
    }
    return TARN_OK;
}

static int connect_thread(struct run *run, struct run_thread *t, struct tarn_error *error)
{
    const struct settings *s = run->settings;
    unsigned connections = (unsigned)s->connections, threads = run->threads_count;
    struct client_options options = {
        .protocol = run->target.protocol,
        .servers = run->target.servers,
        .servers_count = run->target.servers_count,
        .connections = connections / threads + (t->number < connections % threads),
        .timeout_ms = (unsigned)(s->timeout_ns / 1000000),
        .thread = t->number,
        .batch_max = (size_t)s->batch,
        .pipeline_max = s->pipeline > RUN_LOAD_PIPELINE ? (size_t)s->pipeline : RUN_LOAD_PIPELINE,
    };
    return client_open(run->os, &options, &t->client, error);
}

static int open_store(struct run *run, const struct embedded_store *store, struct tarn_error *error)
{
    struct embedded_options options = {
        .path = run->target.path,
        .records = run->records,
        .threads = run->threads_count,
        .dial = settings_dial(run->settings),
        .log_files = (unsigned)run->settings->log_files,
        .data = (enum tarn_data)run->settings->data,
        .memory_bytes_max = run->settings->memory_bytes,
        .read_depth = (unsigned)run->settings->read_depth,
    };
    return store->open(run->os, &options, &run->store, error);
}

static int open_target(struct run *run, struct tarn_error *error)
{
    const struct embedded_store *store = run->target.store;
    if (store)
        return open_store(run, store, error);
    int status = TARN_OK;
    for (unsigned i = 0; i < run->threads_count && status == TARN_OK; i++)
        status = connect_thread(run, &run->threads[i], error);
    if (status == TARN_OK)
        run_find_servers(run);
    return status;
}

static int open_all(struct run *run, const struct embedded_store *const *stores,
                    struct tarn_error *error)
{
    const struct settings *s = run->settings;
    run->mix = workload_mix((enum workload_name)s->workload, s->read_ratio);
    if (s->distribution > 0)
        run->mix.distribution = (enum distribution_kind)(s->distribution - 1);
    int status = target_open(run->os, s, stores, &run->target, error);
    if (status == TARN_OK)
        status = open_records(run, error);
    if (status == TARN_OK)
        status = target_check(&run->target, s, &run->mix, run->records, error);
    if (status == TARN_OK)
        status = open_workload(run, error);
    if (status == TARN_OK)
        status = open_threads(run, error);
    if (status == TARN_OK)
        status = open_target(run, error);
    return status == TARN_OK ? run_load_target(run, error) : status;
}

static void init_lock(struct run *run)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&run->done, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&run->lock, NULL);
}

int run_open(const struct os *os, const struct settings *settings,
             const struct embedded_store *const *stores, const struct run_hooks *hooks,
             struct run **ret_run, struct tarn_error *error)
{
    ASSERT(settings->threads >= 1 && settings->batch >= 1 && settings->pipeline >= 1);
    struct run *run = calloc(1, sizeof *run);
    if (!run)
        return error_set(error, TARN_NOMEM, "out of memory");
    run->os = os;
    run->settings = settings;
    run->hooks = hooks ? *hooks : (struct run_hooks){0};
    init_lock(run);
    int status = open_all(run, stores, error);
    if (status == TARN_OK)
        *ret_run = run;
    else
        run_close(run);
    return status;
}

void run_close(struct run *run)
{
    if (!run)
        return;
    for (unsigned i = 0; i < run->threads_count; i++) {
        client_close(run->threads[i].client);
        if (run->threads[i].tally_ready)
            tally_done(&run->threads[i].tally);
    }
    if (run->store)
        run->target.store->close(run->store);
    free(run->threads);
    free(run->tallies);
    free(run->streams);
    workload_free(run->workload);
    records_close(run->records);
    target_close(&run->target);
    pthread_cond_destroy(&run->done);
    pthread_mutex_destroy(&run->lock);
    free(run);
}
