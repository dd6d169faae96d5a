/* Schedules of requests.
 *
 * How: all patterns but the constant one are a shape g(x) over one period, x = 0..1, with mean 1,
 * so that r(t) = rate * g(x) and R(t) = rate * period * (whole periods + G(x)):
 *
 *     pattern   g(x)                        G(x)
 *     burst     3 up to 1/5, then 1/2       3x up to 1/5, then 3/5 + (x - 1/5) / 2
 *     ramp      2x                          x^2
 *     sine      1 + 0.9 sin(2 pi x)         x + 0.9 / (2 pi) (1 - cos(2 pi x))
 *
 * The first two are inverted in closed form; the sine by Newton's method from where the last
 * request was, with bisection where a step leaves the bracket. Its g is never below 0.1, so a root
 * is well determined.
 *
 * Precision: R of the next request is counted in a double, whose whole numbers are exact up to 2^53
 * (104 days at 10^9 requests per second); time is computed from it anew for each request, never
 * summed, so that nothing drifts: after ten hours an error is below 0.01 ns, and the result is
 * rounded to whole ns.
 *
 * Invariants
 * 1. 0 <= position <= 1.
 * 2. last_ns never decreases, whatever rounding does at the edges of periods.
 * Failure modes: none. */
#include "bench/arrival.h"

#include <math.h>
#include <stddef.h>

#include "core/assert.h"
#include "core/random.h"

#define BURST_SHARE  0.2 /* of the period */
#define BURST_FACTOR 3.0
#define BURST_REST   0.5 /* 0.2 * 3 + 0.8 * 0.5 = 1 */
#define SINE_DEPTH   0.9
#define TWO_PI       6.283185307179586476925

/* A Newton step s leaves an error of at most |G''| / (2 G') s^2 <= 5.7 / 0.2 s^2: 3e-15 of a period
 * after a step of 1e-8. From the last request two steps do; from far away bisections bound it. */
#define SEARCH_STEP_LAST 1e-8
#define SEARCH_STEPS_MAX 60

const char *const arrival_pattern_names[] = {"consistent", "burst", "ramp", "sine", NULL};

/* g(x). */
static double shape_rate(enum arrival_pattern pattern, double x)
{
    switch (pattern) {
    case ARRIVAL_BURST:
        return x < BURST_SHARE ? BURST_FACTOR : BURST_REST;
    case ARRIVAL_RAMP:
        return 2 * x;
    case ARRIVAL_SINE:
        return 1 + SINE_DEPTH * sin(TWO_PI * x);
    default:
        return 1;
    }
}

/* G(x). */
static double shape_count(enum arrival_pattern pattern, double x)
{
    switch (pattern) {
    case ARRIVAL_BURST:
        return x < BURST_SHARE ? BURST_FACTOR * x
                               : BURST_FACTOR * BURST_SHARE + BURST_REST * (x - BURST_SHARE);
    case ARRIVAL_RAMP:
        return x * x;
    case ARRIVAL_SINE:
        return x + SINE_DEPTH / TWO_PI * (1 - cos(TWO_PI * x));
    default:
        return x;
    }
}

/* x with G(x) = share of the sine, from a first guess. */
static double find_sine(double share, double x)
{
    double low = 0, high = 1;
    for (int i = 0; i < SEARCH_STEPS_MAX; i++) {
        double sine, cosine;
        sincos(TWO_PI * x, &sine, &cosine);
        double over = x + SINE_DEPTH / TWO_PI * (1 - cosine) - share;
        double step = over / (1 + SINE_DEPTH * sine), next = x - step;
        if (over > 0)
            high = x;
        else
            low = x;
        bool inside = next >= low && next <= high;
        x = inside ? next : (low + high) / 2;
        if (inside && fabs(step) < SEARCH_STEP_LAST)
            break;
    }
    return x;
}

/* x with G(x) = share, 0 <= share <= 1. guess: for the sine. */
static double find_position(enum arrival_pattern pattern, double share, double guess)
{
    const double burst_count = BURST_FACTOR * BURST_SHARE;
    switch (pattern) {
    case ARRIVAL_BURST:
        return share < burst_count ? share / BURST_FACTOR
                                   : BURST_SHARE + (share - burst_count) / BURST_REST;
    case ARRIVAL_RAMP:
        return sqrt(share);
    case ARRIVAL_SINE:
        return find_sine(share, guess);
    default:
        return share;
    }
}

static double clamp_share(double x)
{
    return x < 0 ? 0 : x > 1 ? 1 : x;
}

/* R^-1 of the next request, in ns. */
static double due_ns(struct arrival *a)
{
    if (a->pattern == ARRIVAL_CONSISTENT)
        return a->due_count * 1e9 / a->rate;
    const double per_period = a->rate * a->period_s;
    double periods = floor(a->due_count / per_period);
    /* rounded once, however many periods there were: near the start of a ramp a small error of the
     * count would be a great one of the time. Below 0 by a rounding error where the quotient was
     * rounded up to a whole number. */
    double rest = fma(-periods, per_period, a->due_count);
    double share = clamp_share(rest / per_period);
    a->position = find_position(a->pattern, share, a->position);
    return (periods + a->position) * a->period_s * 1e9;
}

/* From one request to the next, in units of R. */
static double step_count(struct arrival *a)
{
    if (!a->poisson)
        return 1;
    /* uniform on (0, 1], 53 bits */
    return -log((double)((random_next(&a->random) >> 11) + 1) * 0x1p-53);
}

void arrival_init(struct arrival *a, enum arrival_pattern pattern, bool poisson, double rate,
                  double period_s, double phase, uint64_t seed)
{
    ASSERT(rate > 0 && period_s > 0 && phase >= 0 && phase < 1);
    *a = (struct arrival){.pattern = pattern,
                          .poisson = poisson,
                          .rate = rate,
                          .period_s = period_s,
                          .random = random_mix(seed)};
    a->due_count = poisson ? step_count(a) : phase;
}

uint64_t arrival_next(struct arrival *a)
{
    double due = due_ns(a) + 0.5;
    uint64_t ns = due < (double)ARRIVAL_NS_MAX ? (uint64_t)due : ARRIVAL_NS_MAX;
    if (ns > a->last_ns)
        a->last_ns = ns;
    a->due_count += step_count(a);
    return a->last_ns;
}

double arrival_rate_at(const struct arrival *a, double t_s)
{
    double periods = t_s / a->period_s;
    return a->rate * shape_rate(a->pattern, periods - floor(periods));
}

double arrival_count_until(const struct arrival *a, double t_s)
{
    double periods = t_s / a->period_s, whole = floor(periods);
    return a->rate * a->period_s * (whole + shape_count(a->pattern, periods - whole));
}
