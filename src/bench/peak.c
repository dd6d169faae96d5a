/* The search for the highest rate within a latency target.
 *
 * How: one step in a closed loop estimates what the server can do at most. Then open-loop steps:
 * from half of that up by RISE until one fails (or down by as much until one holds), then halving
 * the gap between the highest rate that held and the lowest that did not until it is within GAP.
 * The generator's own limit fails a step too, and is reported as that.
 *
 * Invariants
 * 1. held < failed whenever both are known.
 * 2. At most PEAK_STEPS_MAX steps are made.
 * Failure modes: those of the measurements; the steps made until then are kept. */
#include "bench/peak.h"

#include <stdlib.h>

#define FIRST_SHARE    0.5 /* of the closed loop's rate: where the search begins */
#define RISE           1.5
#define GAP            0.03 /* of the rate that held */
#define ANSWERED_LEAST 0.99 /* of what was intended, to hold */

struct search {
    const struct peak_hooks *hooks;
    const struct settings *settings;
    struct peak *peak;
    struct figures *figures; /* of the highest step that held, else of the first */
    double held, failed;     /* 0: not known */
};

void peak_done(struct peak *p)
{
    free(p->steps);
    *p = (struct peak){0};
}

/* The next rate to try; 0 when the search is over. first: where it begins. */
double peak_next_rate(double held, double failed, double first)
{
    if (held <= 0 && failed <= 0)
        return first;
    if (failed <= 0)
        return held * RISE;
    if (held <= 0)
        return failed / RISE;
    return failed - held <= GAP * held ? 0 : (held + failed) / 2;
}

struct peak_step peak_judge(const struct figures *f, uint64_t target_ns)
{
    const struct tally *all = &f->all;
    double seconds = f->seconds > 0 ? f->seconds : 1;
    uint64_t p999_ns = histogram_quantile(all->latency_ns, 0.999);
    double answered = (double)histogram_count(all->latency_ns) / seconds;
    struct peak_step step = {
        .rate = f->rate,
        .answered = answered,
        .goodput = (double)histogram_count_upto(all->latency_ns, target_ns) / seconds,
        .p50_us = (double)histogram_quantile(all->latency_ns, 0.5) / 1e3,
        .p999_us = (double)p999_ns / 1e3,
        .held = p999_ns <= target_ns && tally_get(&all->errors) == 0 &&
                tally_get(&all->unsent) == 0 && answered >= ANSWERED_LEAST * f->rate &&
                f->bottleneck != BOTTLENECK_SCHEDULE,
    };
    return step;
}

/* --- steps --- */

static void tell(const struct search *s, const struct peak_step *step)
{
    if (s->hooks->told)
        s->hooks->told(s->hooks->told_context, step);
}

static int keep_step(struct search *s, const struct peak_step *step, struct tarn_error *error)
{
    struct peak *p = s->peak;
    struct peak_step *steps = realloc(p->steps, (p->steps_count + 1) * sizeof *steps);
    if (!steps)
        return error_set(error, TARN_NOMEM, "out of memory");
    p->steps = steps;
    p->steps[p->steps_count++] = *step;
    tell(s, step);
    return TARN_OK;
}

/* Keep these figures if they are the best so far, else free them. */
static void keep_figures(struct search *s, struct figures *f, bool best)
{
    if (!best && s->peak->steps_count > 1) {
        figures_done(f);
        return;
    }
    figures_done(s->figures);
    *s->figures = *f;
}

static int measure(const struct search *s, const struct run_load *load, struct figures *ret_figures,
                   struct tarn_error *error)
{
    return s->hooks->measure(s->hooks->measure_context, load, ret_figures, error);
}

/* One step of the search; *ret_figures is the caller's to free, also after an error. */
static int measure_at(const struct search *s, double rate, struct figures *ret_figures,
                      struct tarn_error *error)
{
    struct run_load load = {.rate = rate, .duration_ns = s->settings->step_ns};
    return measure(s, &load, ret_figures, error);
}

static int try_rate(struct search *s, double rate, struct tarn_error *error)
{
    struct figures f;
    int status = measure_at(s, rate, &f, error);
    if (status != TARN_OK) {
        figures_done(s->figures);
        *s->figures = f;
        return status;
    }
    struct peak_step step = peak_judge(&f, s->settings->target_ns);
    bool lowest_limit = s->peak->generator_limit <= 0 || rate < s->peak->generator_limit;
    if (f.bottleneck == BOTTLENECK_SCHEDULE && lowest_limit)
        s->peak->generator_limit = rate;
    status = keep_step(s, &step, error);
    if (step.held)
        s->held = rate;
    else
        s->failed = rate;
    keep_figures(s, &f, step.held);
    return status;
}

/* Where to begin, from what a closed loop reaches, in requests per second. */
static int estimate(struct search *s, double *ret_first, struct tarn_error *error)
{
    struct figures f;
    int status = measure_at(s, 0, &f, error);
    if (status != TARN_OK) {
        *s->figures = f;
        return status;
    }
    double rate = f.seconds > 0 ? (double)histogram_count(f.all.latency_ns) / f.seconds : 0;
    figures_done(&f);
    *ret_first = rate * FIRST_SHARE > 1 ? rate * FIRST_SHARE : 1;
    if (rate < 1)
        return error_set(error, TARN_INVALID,
                         "--find-peak: not even one request was answered within a step");
    return TARN_OK;
}

static int search(struct search *s, struct tarn_error *error)
{
    double first = 0;
    int status = estimate(s, &first, error);
    for (unsigned i = 0; i < PEAK_STEPS_MAX && status == TARN_OK; i++) {
        double rate = peak_next_rate(s->held, s->failed, first);
        if (rate < 1)
            break;
        status = try_rate(s, rate, error);
    }
    s->peak->rate = s->held;
    return status;
}

/* --rate alone: that rate is the peak, measured for as long as --duration says. */
static int take_given_rate(struct search *s, struct tarn_error *error)
{
    const struct settings *settings = s->settings;
    struct run_load load = {.rate = settings->rate,
                            .duration_ns = settings->duration_ns,
                            .warmup_ns = settings->warmup_ns,
                            .requests = settings->requests};
    int status = measure(s, &load, s->figures, error);
    s->peak->rate = settings->rate;
    if (status != TARN_OK)
        return status;
    struct peak_step step = peak_judge(s->figures, settings->target_ns);
    return keep_step(s, &step, error);
}

/* Past the peak, for as long as the peak was measured. */
static int overload(struct search *s, struct tarn_error *error)
{
    struct figures f;
    const struct settings *settings = s->settings;
    struct run_load load = {.rate = s->peak->rate * settings->overload,
                            .duration_ns = settings->step_ns};
    if (!settings->find_peak) {
        load.duration_ns = settings->duration_ns;
        load.requests = settings->requests;
    }
    int status = measure(s, &load, &f, error);
    if (status == TARN_OK) {
        s->peak->overloaded = true;
        s->peak->overload_factor = settings->overload;
        s->peak->overload = peak_judge(&f, settings->target_ns);
        tell(s, &s->peak->overload);
    }
    figures_done(&f);
    return status;
}

int peak_search(const struct peak_hooks *hooks, const struct settings *settings,
                struct peak *ret_peak, struct figures *ret_figures, struct tarn_error *error)
{
    *ret_peak = (struct peak){.target_us = (double)settings->target_ns / 1e3};
    *ret_figures = (struct figures){0};
    struct search s = {
        .hooks = hooks, .settings = settings, .peak = ret_peak, .figures = ret_figures};
    int status = settings->find_peak ? search(&s, error) : take_given_rate(&s, error);
    if (status == TARN_OK && settings->overload > 0 && ret_peak->rate > 0)
        status = overload(&s, error);
    return status;
}

static int measure_run(void *context, const struct run_load *load, struct figures *ret_figures,
                       struct tarn_error *error)
{
    return run_measure(context, load, ret_figures, error);
}

int peak_find(struct run *run, const struct settings *settings,
              void (*told)(void *context, const struct peak_step *step), void *context,
              struct peak *ret_peak, struct figures *ret_figures, struct tarn_error *error)
{
    struct peak_hooks hooks = {
        .measure = measure_run, .measure_context = run, .told = told, .told_context = context};
    return peak_search(&hooks, settings, ret_peak, ret_figures, error);
}
