/* One benchmark from the connections to the figures: open, load, measure as often as wanted. */
#ifndef BENCH_RUN_H
#define BENCH_RUN_H

#include "bench/embedded.h"
#include "bench/figures.h"
#include "bench/settings.h"

/* Called on the thread that runs, about once a second and at phase ends. */
struct run_tick {
    const char *phase;         /* "loading", "warming up", "measuring" */
    double elapsed_s, total_s; /* total_s: 0 if it is a number of requests that ends it */
    uint64_t done, total;      /* requests (load: records); total 0: time ends it */
    double per_second;         /* operations in the last interval */
    double p50_us, p99_us;     /* in the last interval */
    uint64_t errors;           /* so far */
};

struct run_hooks {
    void *context;
    void (*tick)(void *context, const struct run_tick *tick); /* may be NULL */
    bool (*cancelled)(void *context); /* a signal came? asked ten times a second; may be NULL */
};

/* Settings that passed settings_check() and cannot be run all the same: an address that is none, an
 * operation that the target has not, more records than keys. Opens and asks nothing but a data
 * file's existence. Errors: INVALID; everything else is run_open()'s to tell. */
TARN_MUST int run_check(const struct os *os, const struct settings *settings,
                        const struct embedded_store *const *stores, struct tarn_error *error);

struct run;

/* Data set, threads, connections; the load phase if settings->load (or the store is empty).
 * stores: further embedded stores by name, NULL-terminated; may be NULL. settings: checked,
 * borrowed. Errors: those of client_open(), records_open(), the store's; CANCELLED. */
TARN_MUST int run_open(const struct os *os, const struct settings *settings,
                       const struct embedded_store *const *stores, const struct run_hooks *hooks,
                       struct run **ret_run, struct tarn_error *error);
void run_close(struct run *run); /* NULL is allowed */

struct run_load {
    double rate;                               /* requests per second, 0: closed loop */
    uint64_t duration_ns, warmup_ns, requests; /* as in struct settings */
};
/* One measurement. ret_figures is filled also when it ends early: then the status is not OK,
 * complete is false, and stopped is the error's text. Errors: those of client_run() and
 * embedded_run(), CANCELLED. */
TARN_MUST int run_measure(struct run *run, const struct run_load *load, struct figures *ret_figures,
                          struct tarn_error *error);

/* What was loaded and how fast, in a struct figures without a measurement (--load-only). */
void run_loaded(struct run *run, struct figures *ret_figures);

#endif
