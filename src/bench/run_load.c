/* Filling the target: every record once, in order, before anything is measured.
 *
 * Failure modes: a server that refuses even one write fails the load, with its words. */
#include "bench/run_internal.h"
#include "core/number.h"

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
    run_phase_init(run, &phase);
    phase.load = true;
    phase.total = records_count(run->records);
    phase.threads = threads;
    if (phase.pipeline < RUN_LOAD_PIPELINE)
        phase.pipeline = RUN_LOAD_PIPELINE;
    struct course course = {.name = "loading", .phase = &phase};
    if (meter_init(&course.meter, phase.start_ns) != TARN_OK)
        return error_set(error, TARN_NOMEM, "out of memory");
    uint64_t cpu_ns = run_servers_cpu_ns(run);
    int status = run_phase(run, &course, threads, error);
    meter_done(&course.meter);
    if (status == TARN_OK)
        status = sum_load(run, &phase, error);
    if (status == TARN_OK && store && store->loaded)
        status = store->loaded(run->store, true, error);
    run->load_seconds = (double)(run->os->monotonic_ns(run->os) - phase.start_ns) / 1e9;
    run->load_cpu_s = (double)(run_servers_cpu_ns(run) - cpu_ns) / 1e9;
    run->loaded = true;
    return status;
}

int run_load_target(struct run *run, struct tarn_error *error)
{
    const struct embedded_store *store = run->target.store;
    run->memory_before_bytes = run_memory_bytes(run);
    bool is_empty = store && store->is_empty && store->is_empty(run->store);
    int status = TARN_OK;
    if (run->settings->load || run->settings->load_only || is_empty)
        status = load(run, error);
    else if (store && store->loaded)
        status = store->loaded(run->store, false, error);
    run->memory_loaded_bytes = run_memory_bytes(run);
    return status;
}
