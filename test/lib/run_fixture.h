/* One run of tarn bench in a test, from words of its command line to checked figures. Include
 * lib/test.h first. */
#ifndef LIB_RUN_FIXTURE_H
#define LIB_RUN_FIXTURE_H

#include "bench/run.h"
#include "lib/bench_settings.h"

struct run_fixture {
    struct settings settings;
    const struct os *os; /* NULL: the real one */
    const struct embedded_store *const *stores;
    struct run_hooks hooks;
    struct run *run;
    struct figures figures;
    struct tarn_error error;
};

static inline int fixture_open(struct run_fixture *f, const char *const *words)
{
    bench_settings_init(&f->settings, words);
    if (settings_check(&f->settings, &f->error) != TARN_OK)
        fail_msg("%s", f->error.text);
    if (!f->os)
        f->os = os_real();
    return run_open(f->os, &f->settings, f->stores, &f->hooks, &f->run, &f->error);
}

/* What the settings ask for, as the command does it. */
static inline int fixture_measure(struct run_fixture *f)
{
    const struct settings *s = &f->settings;
    struct run_load load = {.rate = s->rate,
                            .duration_ns = s->duration_ns,
                            .warmup_ns = s->warmup_ns,
                            .requests = s->requests};
    figures_done(&f->figures);
    return run_measure(f->run, &load, &f->figures, &f->error);
}

/* Both, and both must succeed. */
static inline void fixture_run(struct run_fixture *f, const char *const *words)
{
    if (fixture_open(f, words) != TARN_OK || fixture_measure(f) != TARN_OK)
        fail_msg("%s", f->error.text);
}
#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

static inline void fixture_close(struct run_fixture *f)
{
    figures_done(&f->figures);
    run_close(f->run);
    bench_settings_done(&f->settings);
    *f = (struct run_fixture){0};
}

/* What is true of the figures of every measurement, however it ended. */
static inline void check_figures(const struct run_fixture *f)
{
    const struct figures *figures = &f->figures;
    uint64_t operations = 0, errors = 0, of_threads = 0;
    for (size_t i = 0; i < figures->points_count; i++) {
        operations += figures->points[i].operations;
        errors += figures->points[i].errors;
        assert_true(i == 0 || figures->points[i].at_s >= figures->points[i - 1].at_s);
    }
    assert_int_equal(figures->threads, f->settings.threads);
    for (unsigned i = 0; i < figures->threads; i++)
        of_threads += figures->thread_operations[i];
    assert_true(figures->points_count > 0);
    assert_int_equal(operations, tally_get(&figures->all.operations));
    assert_int_equal(errors, tally_get(&figures->all.errors));
    assert_int_equal(of_threads, tally_get(&figures->all.operations));
    assert_true(figures->seconds > 0);
    assert_true(*figures->target != 0);
    assert_int_equal(figures->complete, *figures->stopped == 0);
}

#define FIGURE(f, what) tally_get(&(f).figures.all.what)

#endif
