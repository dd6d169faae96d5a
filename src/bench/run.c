/* A benchmark from its target to its figures.
 *
 * How: run_open() makes the data set, the workload and the target; each phase (load, warm-up,
 * measurement) then runs on threads of its own while the calling thread waits, looks for a signal
 * ten times a second and takes an interval's figures about once a second.
 *
 * Invariants
 * 1. While a phase runs, its threads own their struct run_thread but for the tally's counters;
 *    `running` is guarded by the lock.
 * 2. Clients are opened and closed on the calling thread, used on one thread at a time.
 * 3. Figures are complete only if every thread ended well.
 * Failure modes: the first real failure of a thread stops all; it is the run's error, and what was
 * counted until then is reported with it. */
#include "bench/run.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "bench/meter.h"
#include "bench/target.h"
#include "core/assert.h"
#include "core/bytes.h"
#include "core/number.h"
#include "os/observe.h"

#define PROC          "/proc"
#define LISTENERS_MAX 64
#define POLL_NS       100000000u  /* how often a signal is looked for */
#define TICK_NS       1000000000u /* an interval */
#define LOAD_PIPELINE 64          /* at least, while loading */
#define FULL_SHARE    0.95        /* of a core: this much or more is all of it */
#define LATE_NS       1000000u    /* p99 of the generator's own lateness: more is too late */

struct run_thread {
    struct run *run;
    unsigned number;
    struct client *client; /* servers */
    struct tally tally;
    bool tally_ready;
    pthread_t thread;
    struct phase *phase; /* of the phase under way */
    struct tarn_error error;
    int status;
};

struct run {
    const struct os *os;
    const struct settings *settings;
    struct run_hooks hooks;
    struct target target;
    void *store; /* the target's handle */
    struct records *records;
    struct workload *workload;
    struct workload_mix mix;
    struct run_thread *threads;
    unsigned threads_count;
    const struct tally **tallies; /* [threads_count], the threads' */
    int servers[LISTENERS_MAX];   /* process numbers of servers on this machine */
    unsigned servers_count;
    bool servers_local;

    pthread_mutex_t lock;
    pthread_cond_t done;
    unsigned running;

    bool loaded;
    uint64_t load_operations, memory_before_bytes, memory_loaded_bytes;
    double load_seconds, load_cpu_s;
};

/* --- what the servers use --- */

static uint64_t servers_cpu_ns(const struct run *run)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < run->servers_count; i++)
        sum += observe_cpu_ns(PROC, run->servers[i]);
    return sum;
}

/* Resident memory of the servers, or of this process where the store is in it. */
static uint64_t target_memory_bytes(const struct run *run)
{
    uint64_t sum = 0;
    if (run->target.store)
        return os_memory_resident();
    for (unsigned i = 0; i < run->servers_count; i++)
        sum += observe_memory_bytes(PROC, run->servers[i]);
    return sum;
}

static void add_process(struct run *run, int pid)
{
    for (unsigned i = 0; i < run->servers_count; i++)
        if (run->servers[i] == pid)
            return;
    if (run->servers_count < LISTENERS_MAX)
        run->servers[run->servers_count++] = pid;
}

/* All servers are on this machine and their processes can be seen; else nothing is said of them. */
static void find_servers(struct run *run)
{
    run->servers_local = true;
    for (unsigned i = 0; i < run->target.servers_count && run->servers_local; i++) {
        int pids[LISTENERS_MAX];
        uint64_t port = 0;
        unsigned found = 0;
        bool numeric = number_parse_uint(bytes_of(run->target.servers[i].port), &port);
        if (numeric && client_server_is_local(run->threads[0].client, i))
            found = observe_listeners(PROC, (uint16_t)port, pids, LISTENERS_MAX);
        for (unsigned j = 0; j < found; j++)
            add_process(run, pids[j]);
        run->servers_local = found > 0;
    }
    if (!run->servers_local)
        run->servers_count = 0;
}

/* --- threads of a phase --- */

static int run_store(struct run_thread *t, struct phase *phase)
{
    struct run *run = t->run;
    const struct embedded_store *store = run->target.store;
    void *handle = NULL;
    int status = store->thread_open(run->store, &handle, &t->error);
    if (status != TARN_OK)
        return status;
    status = embedded_run(run->os, store, handle, t->number, phase, &t->tally, &t->error);
    store->thread_close(handle);
    return status;
}

static void *thread_main(void *argument)
{
    struct run_thread *t = argument;
    struct run *run = t->run;
    t->status = run->target.store ? run_store(t, t->phase)
                                  : client_run(t->client, t->phase, &t->tally, &t->error);
    if (t->status != TARN_OK)
        phase_stop(t->phase);
    pthread_mutex_lock(&run->lock);
    run->running--;
    pthread_cond_signal(&run->done);
    pthread_mutex_unlock(&run->lock);
    return NULL;
}

/* Start `count` threads; how many did. */
static unsigned start_threads(struct run *run, struct phase *phase, unsigned count)
{
    unsigned started = 0;
    run->running = count;
    for (; started < count; started++) {
        struct run_thread *t = &run->threads[started];
        t->phase = phase;
        t->status = TARN_OK;
        tally_reset(&t->tally);
        if (pthread_create(&t->thread, NULL, thread_main, t) != 0)
            break;
    }
    if (started < count) {
        phase_stop(phase);
        pthread_mutex_lock(&run->lock);
        run->running -= count - started;
        pthread_mutex_unlock(&run->lock);
    }
    return started;
}

/* Wait until all threads are done or POLL_NS are over; true when they are done. */
static bool wait_briefly(struct run *run)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += POLL_NS;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    pthread_mutex_lock(&run->lock);
    int e = 0;
    while (run->running > 0 && e == 0)
        e = pthread_cond_timedwait(&run->done, &run->lock, &until);
    bool done = run->running == 0;
    pthread_mutex_unlock(&run->lock);
    return done;
}

/* --- the course of a phase --- */

struct course {
    const char *name;
    struct phase *phase;
    struct meter meter;
    bool cancelled;
};

static void tell(struct run *run, const struct course *course, const struct figures_point *point,
                 uint64_t now_ns)
{
    const struct phase *phase = course->phase;
    uint64_t next = atomic_load_explicit(&phase->next, memory_order_relaxed), errors = 0;
    for (unsigned i = 0; i < run->threads_count; i++)
        errors += tally_get(&run->tallies[i]->errors);
    struct run_tick tick = {
        .phase = course->name,
        .elapsed_s = (double)(now_ns - phase->start_ns) / 1e9,
        .total_s = phase->deadline_ns ? (double)(phase->deadline_ns - phase->start_ns) / 1e9 : 0,
        .done = next < phase->total ? next : phase->total,
        .total = phase->total == UINT64_MAX ? 0 : phase->total,
        .per_second = point->seconds > 0 ? (double)point->operations / point->seconds : 0,
        .p50_us = point->p50_us,
        .p99_us = point->p99_us,
        .errors = errors,
    };
    if (run->hooks.tick)
        run->hooks.tick(run->hooks.context, &tick);
}

/* One more point; a lost one is no failure. */
static void look(struct run *run, struct course *course)
{
    struct figures_point point;
    uint64_t now_ns = run->os->monotonic_ns(run->os);
    if (meter_look(&course->meter, run->tallies, run->threads_count, now_ns, &point) == TARN_OK)
        tell(run, course, &point, now_ns);
}

static void watch(struct run *run, struct course *course)
{
    uint64_t looked_ns = course->phase->start_ns;
    while (!wait_briefly(run)) {
        if (!course->cancelled && run->hooks.cancelled &&
            run->hooks.cancelled(run->hooks.context)) {
            course->cancelled = true;
            phase_stop(course->phase);
        }
        uint64_t now_ns = run->os->monotonic_ns(run->os);
        if (now_ns - looked_ns < TICK_NS)
            continue;
        looked_ns = now_ns;
        look(run, course);
    }
}

/* The first failure that is not the echo of another one. */
static int first_failure(const struct run *run, unsigned count, struct tarn_error *error)
{
    const struct run_thread *found = NULL;
    for (unsigned i = 0; i < count; i++) {
        const struct run_thread *t = &run->threads[i];
        if (t->status != TARN_OK && (!found || found->status == TARN_CANCELLED))
            found = t;
    }
    if (!found)
        return TARN_OK;
    *error = found->error;
    return found->status;
}

/* Run a phase on `count` threads. course->meter is ready; its last point is taken here. */
static int run_phase(struct run *run, struct course *course, unsigned count,
                     struct tarn_error *error)
{
    for (unsigned i = count; i < run->threads_count; i++)
        tally_reset(&run->threads[i].tally); /* those that have no part in it */
    unsigned started = start_threads(run, course->phase, count);
    watch(run, course);
    for (unsigned i = 0; i < started; i++)
        pthread_join(run->threads[i].thread, NULL);
    look(run, course);
    int status = first_failure(run, started, error);
    if (started < count)
        return error_set(error, TARN_NOMEM, "cannot start thread %u of %u", started + 1, count);
    if (status == TARN_CANCELLED)
        error_set(error, TARN_CANCELLED, "stopped by a signal");
    return status;
}

static void phase_init(const struct run *run, struct phase *phase)
{
    const struct settings *s = run->settings;
    *phase = (struct phase){
        .records = run->records,
        .workload = run->workload,
        .batch = (unsigned)s->batch,
        .pipeline = (unsigned)s->pipeline,
        .pattern = (enum arrival_pattern)s->arrival,
        .poisson = s->poisson,
        .period_s = (double)s->period_ns / 1e9,
        .verify = s->verify,
        .seed = s->seed,
        .threads = run->threads_count,
        .total = UINT64_MAX,
        .start_ns = run->os->monotonic_ns(run->os),
    };
}

static double seconds_since(uint64_t start_ns, const struct tally *all)
{
    return all->end_ns > start_ns ? (double)(all->end_ns - start_ns) / 1e9 : 0;
}

/* --- loading --- */

static int refused(const struct tally *all, uint64_t total, struct tarn_error *error)
{
    char errors[32], operations[32];
    return error_set(error, TARN_INVALID, "the load failed: %s of %s writes were refused: %s",
                     number_format_count(tally_get(&all->errors), errors),
                     number_format_count(total, operations),
                     all->error_texts_count ? all->error_texts[0].text : "no reason given");
}

static int sum_load(struct run *run, const struct phase *phase, struct tarn_error *error)
{
    struct tally all;
    if (tally_init(&all) != TARN_OK)
        return error_set(error, TARN_NOMEM, "out of memory");
    for (unsigned i = 0; i < run->threads_count; i++)
        tally_merge(&all, run->tallies[i]);
    run->load_operations = tally_get(&all.operations);
    int status = tally_get(&all.errors) > 0 ? refused(&all, phase->total, error) : TARN_OK;
    tally_done(&all);
    return status;
}

static int load(struct run *run, struct tarn_error *error)
{
    const struct embedded_store *store = run->target.store;
    unsigned threads = store && store->one_writer ? 1 : run->threads_count;
    struct phase phase;
    phase_init(run, &phase);
    phase.load = true;
    phase.total = records_count(run->records);
    phase.threads = threads;
    if (phase.pipeline < LOAD_PIPELINE)
        phase.pipeline = LOAD_PIPELINE;
    struct course course = {.name = "loading", .phase = &phase};
    if (meter_init(&course.meter, phase.start_ns) != TARN_OK)
        return error_set(error, TARN_NOMEM, "out of memory");
    uint64_t cpu_ns = servers_cpu_ns(run);
    int status = run_phase(run, &course, threads, error);
    meter_done(&course.meter);
    if (status == TARN_OK)
        status = sum_load(run, &phase, error);
    if (status == TARN_OK && store && store->loaded)
        status = store->loaded(run->store, true, error);
    run->load_seconds = (double)(run->os->monotonic_ns(run->os) - phase.start_ns) / 1e9;
    run->load_cpu_s = (double)(servers_cpu_ns(run) - cpu_ns) / 1e9;
    run->loaded = true;
    return status;
}

/* Load if asked to, or if the store is empty without it. */
static int load_if_needed(struct run *run, struct tarn_error *error)
{
    const struct embedded_store *store = run->target.store;
    run->memory_before_bytes = target_memory_bytes(run);
    int status = TARN_OK;
    if (run->settings->load || run->settings->load_only || store == &embedded_memory)
        status = load(run, error);
    else if (store && store->loaded)
        status = store->loaded(run->store, false, error);
    run->memory_loaded_bytes = target_memory_bytes(run);
    return status;
}

/* --- opening --- */

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
    return (uint64_t)(2 * share * (double)s->requests * (double)s->batch) + 1;
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
    if (!run->threads || !run->tallies)
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
        .pipeline_max = s->pipeline > LOAD_PIPELINE ? (size_t)s->pipeline : LOAD_PIPELINE,
    };
    return client_open(run->os, &options, &t->client, error);
}

static int open_target(struct run *run, struct tarn_error *error)
{
    const struct embedded_store *store = run->target.store;
    if (store)
        return store->open(run->os, run->target.path, run->records, run->threads_count, &run->store,
                           error);
    int status = TARN_OK;
    for (unsigned i = 0; i < run->threads_count && status == TARN_OK; i++)
        status = connect_thread(run, &run->threads[i], error);
    if (status == TARN_OK)
        find_servers(run);
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
    return status == TARN_OK ? load_if_needed(run, error) : status;
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
    workload_free(run->workload);
    records_close(run->records);
    target_close(&run->target);
    pthread_cond_destroy(&run->done);
    pthread_mutex_destroy(&run->lock);
    free(run);
}

/* --- measuring --- */

static void describe(const struct run *run, struct figures *f)
{
    memcpy(f->target, run->target.name, sizeof f->target);
    f->threads = run->threads_count;
    f->connections = run->target.store ? 0 : (unsigned)run->settings->connections;
    f->loaded = run->loaded;
    f->load_operations = run->load_operations;
    f->load_seconds = run->load_seconds;
    f->load_cpu_s = run->load_cpu_s;
    f->memory_before_bytes = run->memory_before_bytes;
    f->memory_loaded_bytes = run->memory_loaded_bytes;
    f->data_bytes = records_data_bytes(run->records);
}

static int init_figures(const struct run *run, struct figures *f, struct tarn_error *error)
{
    *f = (struct figures){0};
    describe(run, f);
    f->thread_operations = calloc(run->threads_count, sizeof *f->thread_operations);
    if (f->thread_operations && tally_init(&f->all) == TARN_OK)
        return TARN_OK;
    free(f->thread_operations);
    *f = (struct figures){0};
    return error_set(error, TARN_NOMEM, "out of memory");
}

void run_loaded(struct run *run, struct figures *ret_figures)
{
    *ret_figures = (struct figures){.complete = true};
    describe(run, ret_figures);
}

/* Was it the generator that set the pace? */
static enum figures_bottleneck judge(const struct run *run, const struct figures *f)
{
    if (f->seconds <= 0 || run->target.store)
        return BOTTLENECK_NONE;
    if (f->rate > 0)
        return histogram_quantile(f->all.late_ns, 0.99) > LATE_NS ? BOTTLENECK_SCHEDULE
                                                                  : BOTTLENECK_NONE;
    if (f->generator_cpu_s < FULL_SHARE * f->seconds * f->threads)
        return BOTTLENECK_NONE;
    if (!f->server.local)
        return BOTTLENECK_GENERATOR_MAYBE;
    return f->server.cpu_s < FULL_SHARE * f->seconds * f->server.processes ? BOTTLENECK_GENERATOR
                                                                           : BOTTLENECK_NONE;
}

static void fill(struct run *run, const struct course *course, uint64_t cpu_ns, struct figures *f)
{
    for (unsigned i = 0; i < run->threads_count; i++) {
        tally_merge(&f->all, run->tallies[i]);
        f->thread_operations[i] = tally_get(&run->tallies[i]->operations);
    }
    f->seconds = seconds_since(course->phase->start_ns, &f->all);
    f->rate = course->phase->rate;
    f->generator_cpu_s = (double)f->all.cpu_ns / 1e9;
    f->server = (struct figures_server){
        .local = run->servers_count > 0,
        .processes = run->servers_count,
        .cpu_s = (double)cpu_ns / 1e9,
        .memory_bytes = target_memory_bytes(run),
    };
    f->bottleneck = judge(run, f);
}

/* One phase of the workload. figures NULL: a warm-up, of which nothing is kept. */
static int measure(struct run *run, const struct run_load *load_spec, uint64_t duration_ns,
                   struct figures *figures, struct tarn_error *error)
{
    struct phase phase;
    phase_init(run, &phase);
    phase.rate = load_spec->rate;
    if (figures && load_spec->requests > 0)
        phase.total = load_spec->requests;
    else
        phase.deadline_ns = phase.start_ns + duration_ns;
    struct course course = {.name = figures ? "measuring" : "warming up", .phase = &phase};
    if (meter_init(&course.meter, phase.start_ns) != TARN_OK)
        return error_set(error, TARN_NOMEM, "out of memory");
    uint64_t cpu_ns = servers_cpu_ns(run);
    int status = run_phase(run, &course, run->threads_count, error);
    if (figures) {
        fill(run, &course, servers_cpu_ns(run) - cpu_ns, figures);
        figures->points = course.meter.points;
        figures->points_count = course.meter.points_count;
        course.meter.points = NULL;
    }
    meter_done(&course.meter);
    return status;
}

int run_measure(struct run *run, const struct run_load *load_spec, struct figures *ret_figures,
                struct tarn_error *error)
{
    int status = init_figures(run, ret_figures, error);
    if (status == TARN_OK && load_spec->warmup_ns > 0)
        status = measure(run, load_spec, load_spec->warmup_ns, NULL, error);
    if (status == TARN_OK)
        status = measure(run, load_spec, load_spec->duration_ns, ret_figures, error);
    ret_figures->complete = status == TARN_OK;
    if (status != TARN_OK)
        snprintf(ret_figures->stopped, sizeof ret_figures->stopped, "%s", error->text);
    return status;
}
