/* The highest rate that a server holds within a latency target, and what it does past it. */
#ifndef BENCH_PEAK_H
#define BENCH_PEAK_H

#include "bench/run.h"

struct peak_step {
    double rate;     /* intended, requests per second */
    double answered; /* requests per second answered, over the whole step */
    double goodput;  /* of them within the target */
    double p50_us, p999_us;
    bool held; /* p99.9 within the target, and nothing left over or refused */
};

struct peak {
    double target_us;
    double rate;             /* highest that held; 0: none did */
    double generator_limit;  /* rate at which the generator itself was the bottleneck; 0: never */
    struct peak_step *steps; /* in the order they were made */
    size_t steps_count;
    bool overloaded; /* --overload was asked for and made */
    double overload_factor;
    struct peak_step overload;
};
void peak_done(struct peak *p);

/* The next rate to try when `held` is the highest that held and `failed` the lowest that did not
 * (0: not known); first: where to begin. 0 when the gap is small enough. Pure. */
double peak_next_rate(double held, double failed, double first);
/* One measurement at an intended rate, judged by the target. */
struct peak_step peak_judge(const struct figures *figures, uint64_t target_ns);

/* Steps of a search; the closed loop before them and the overload after them come on top. */
#define PEAK_STEPS_MAX 16

struct peak_hooks {
    /* A measurement, as run_measure() makes it: figures are filled also after an error. */
    int (*measure)(void *context, const struct run_load *load, struct figures *ret_figures,
                   struct tarn_error *error);
    void *measure_context;
    void (*told)(void *context, const struct peak_step *step); /* each finished step; may be NULL */
    void *told_context;
};

/* ret_figures: those of the highest step that held (or of the first), so that there is one full set
 * of figures to report. --overload alone takes settings->rate as the peak. Both outputs are filled
 * also after an error, and are the caller's to free. Errors: those of measure(), INVALID (nothing
 * was answered at all), NOMEM. */
TARN_MUST int peak_search(const struct peak_hooks *hooks, const struct settings *settings,
                          struct peak *ret_peak, struct figures *ret_figures,
                          struct tarn_error *error);
/* The same with measurements of a run. */
TARN_MUST int peak_find(struct run *run, const struct settings *settings,
                        void (*told)(void *context, const struct peak_step *step), void *context,
                        struct peak *ret_peak, struct figures *ret_figures,
                        struct tarn_error *error);

#endif
