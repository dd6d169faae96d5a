/* When requests are meant to be sent: the schedule of an open loop.
 *
 * A rate function r(t) with mean `rate` over each period; its integral R(t) counts the requests
 * that should have been sent by t. The k-th request is due at R^-1(k) on a fixed schedule and at
 * R^-1(E1 + ... + Ek), E exponential with mean 1, on a Poisson one (time rescaling: Cinlar,
 * "Introduction to Stochastic Processes", 1975, ch. 4). Nothing is ever skipped: a schedule is
 * what was intended, however late the client runs. Pure. */
#ifndef BENCH_ARRIVAL_H
#define BENCH_ARRIVAL_H

#include <stdbool.h>
#include <stdint.h>

/* The order is that of arrival_pattern_names. */
enum arrival_pattern {
    ARRIVAL_CONSISTENT, /* rate, always */
    ARRIVAL_BURST,      /* 3 x rate in the first fifth of each period, then rate / 2 */
    ARRIVAL_RAMP,       /* from 0 up to 2 x rate over each period */
    ARRIVAL_SINE,       /* rate x (1 + 0.9 sin(2 pi t / period)) */
};
extern const char *const arrival_pattern_names[]; /* NULL-terminated */

struct arrival {
    enum arrival_pattern pattern;
    bool poisson;
    double rate;      /* requests per second of this schedule (a thread's share) */
    double period_s;  /* > 0 */
    uint64_t random;  /* state of core/random.h */
    double due_count; /* R of the request that is next */
    double position; /* of the last one in its period, 0..1: where the search for the next begins */
    uint64_t last_ns; /* when the last one was due */
};

/* phase: 0 <= phase < 1, shifts a fixed schedule by that share of one request, so that several
 * threads' schedules interleave (thread i of n: i / n); the first request of phase 0 is due at 0.
 * rate > 0, period_s > 0. Schedules of different seeds are independent; a fixed one has no use for
 * its seed. */
void arrival_init(struct arrival *a, enum arrival_pattern pattern, bool poisson, double rate,
                  double period_s, double phase, uint64_t seed);
#define ARRIVAL_NS_MAX (1ull << 62) /* 146 years: what is later is due then */

/* When the next request is due, in ns since the start; then move on to the one after. Never
 * decreases. */
uint64_t arrival_next(struct arrival *a);
/* r(t), requests per second, and R(t): for tests and plots. */
double arrival_rate_at(const struct arrival *a, double t_s);
double arrival_count_until(const struct arrival *a, double t_s);

#endif
