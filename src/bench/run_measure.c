/* Measurements: warm-up, the phase itself, and the figures made of it.
 *
 * Invariant: figures are complete only if every thread ended well.
 * Failure modes: those of the phase; what was counted until then is in the figures. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/run_internal.h"

#define FULL_SHARE    0.95     /* of a core: this much or more is all of it */
#define SEVERAL_SHARE 1.05     /* of a core: more than this are several threads */
#define LATE_NS       1000000u /* p99 of the generator's own lateness: more is too late */

static double seconds_since(uint64_t start_ns, const struct tally *all)
{
    return all->end_ns > start_ns ? (double)(all->end_ns - start_ns) / 1e9 : 0;
}

static void describe(const struct run *run, struct figures *f)
{
    memcpy(f->target, run->target.name, sizeof f->target);
    f->threads = run->threads_count;
    f->connections = run->target.store ? 0 : (unsigned)run->settings->connections;
    f->log.kept = run->target.store && run->target.store->log_stats;
    f->loaded = run->loaded;
    f->load_operations = run->load_operations;
    f->load_seconds = run->load_seconds;
    f->load_cpu_s = run->load_cpu_s;
    f->memory_before_bytes = run->memory_before_bytes;
    f->memory_loaded_bytes = run->memory_loaded_bytes;
    f->data_bytes = records_data_bytes(run->records);
    f->records = records_count(run->records);
    f->records_from_file = records_are_of_file(run->records);
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

/* Sent later than it could have been, by so much that it shows in what is looked for. */
static bool is_late(const struct figures *f, uint64_t target_ns)
{
    uint64_t limit_ns = target_ns < LATE_NS ? target_ns : LATE_NS;
    return histogram_quantile(f->all.late_ns, 0.99) > limit_ns;
}

/* A server's process is taken to be full at one core: so it is where one thread runs the commands.
 * One that uses less waits for requests; one that uses more has several threads, and how many of
 * them could still be busier is not known. */
enum figures_bottleneck run_judge(const struct figures *f, bool in_process, uint64_t target_ns)
{
    double cores = f->seconds > 0 ? f->server.cpu_s / f->seconds : 0;
    if (f->seconds <= 0)
        return BOTTLENECK_NONE;
    if (f->rate > 0)
        return is_late(f, target_ns) ? BOTTLENECK_SCHEDULE : BOTTLENECK_NONE;
    if (in_process || f->generator_cpu_s < FULL_SHARE * f->seconds * f->threads)
        return BOTTLENECK_NONE;
    if (!f->server.local || cores > SEVERAL_SHARE * f->server.processes)
        return BOTTLENECK_GENERATOR_MAYBE;
    return cores < FULL_SHARE * f->server.processes ? BOTTLENECK_GENERATOR : BOTTLENECK_NONE;
}

/* --- a store's own --- */

/* What this process and its store had used before. */
struct used {
    double cpu_s;
    struct tarn_log_stats log;
    struct tarn_disk_stats disk;
};

static struct used look_at_store(const struct run *run)
{
    struct used used = {0};
    uint64_t user_us, system_us;
    os_cpu_time_us(&user_us, &system_us);
    used.cpu_s = (double)(user_us + system_us) / 1e6;
    if (run->target.store && run->target.store->log_stats)
        run->target.store->log_stats(run->store, &used.log);
    if (run->target.store && run->target.store->disk_stats)
        run->target.store->disk_stats(run->store, &used.disk);
    return used;
}

static struct figures_disk since(const struct tarn_disk_stats *before,
                                 const struct tarn_disk_stats *now)
{
    return (struct figures_disk){
        .on_disk = now->on_disk,
        .hits = now->hits - before->hits,
        .misses = now->misses - before->misses,
        .joined = now->joined - before->joined,
        .reads = now->reads - before->reads,
        .read_bytes = now->read_bytes - before->read_bytes,
        .read_us_mean = (double)now->read_ns_mean / 1e3,
        .read_us_p50 = (double)now->read_ns_p50 / 1e3,
        .read_us_p99 = (double)now->read_ns_p99 / 1e3,
        .index_bytes = now->index_bytes,
        .cache_bytes = now->cache_bytes,
        .cache_records = now->cache_records,
    };
}

static void fill_store(const struct run *run, const struct used *before, struct figures *f)
{
    struct used now = look_at_store(run);
    f->process_cpu_s = now.cpu_s - before->cpu_s;
    f->log = (struct figures_log){
        .kept = f->log.kept,
        .records = now.log.records - before->log.records,
        .bytes = now.log.bytes - before->log.bytes,
        .syncs = now.log.syncs - before->log.syncs,
        .sync_s = (double)(now.log.sync_us_total - before->log.sync_us_total) / 1e6,
        .sync_us_max = (double)now.log.sync_us_max,
        .checkpoints = now.log.checkpoints - before->log.checkpoints,
    };
    f->disk = since(&before->disk, &now.disk);
}

/* How far behind the log's device was. */
static int drain(struct run *run, struct figures *f, struct tarn_error *error)
{
    uint64_t start_ns = run->os->monotonic_ns(run->os);
    int status = run->target.store->log_sync(run->store, error);
    f->log.drain_s = (double)(run->os->monotonic_ns(run->os) - start_ns) / 1e9;
    return status;
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
        .memory_bytes = run_memory_bytes(run),
    };
    f->bottleneck = run_judge(f, run->target.store != NULL, run->settings->target_ns);
}

/* One phase of the workload. figures NULL: a warm-up, of which nothing is kept. */
static int measure(struct run *run, const struct run_load *load_spec, uint64_t duration_ns,
                   struct figures *figures, struct tarn_error *error)
{
    struct phase phase;
    run_phase_init(run, &phase);
    phase.rate = load_spec->rate;
    if (figures && load_spec->requests > 0)
        phase.total = load_spec->requests;
    else
        phase.deadline_ns = phase.start_ns + duration_ns;
    struct course course = {.name = figures ? "measuring" : "warming up", .phase = &phase};
    if (meter_init(&course.meter, phase.start_ns) != TARN_OK)
        return error_set(error, TARN_NOMEM, "out of memory");
    uint64_t cpu_ns = run_servers_cpu_ns(run);
    struct used used = look_at_store(run);
    int status = run_phase(run, &course, run->threads_count, error);
    if (figures) {
        fill(run, &course, run_servers_cpu_ns(run) - cpu_ns, figures);
        fill_store(run, &used, figures);
        if (status == TARN_OK && figures->log.kept)
            status = drain(run, figures, error);
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
