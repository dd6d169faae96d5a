/* Zipf-distributed ranks by rejection-inversion.
 *
 * How: with h(x) = x^-theta and H its integral from 1, the areas under h over [k-1/2, k+1/2] are
 * at least h(k) for each rank k = 1..n (h is convex), and H can be inverted. Draw u uniform in
 * (H(1.5) - 1, H(n + 0.5)], take x = H^-1(u) and the rank k nearest to x; k is right if u lies in
 * the upper h(k) of its area, else draw again (once in fifty draws at most). The
 * first area is cut to exactly h(1) = 1. Paper, section 2, algorithm ZRI; the quick test: k - x is
 * at most what it may be for k = 2, which holds for all k >= 2 then, as the rejected share of an
 * area shrinks as k grows. A draw costs one log, one exp.
 *
 * H(x) = (x^p - 1) / p with p = 1 - theta is log x at p = 0. Near that both forms lose their
 * digits: H is written with expm1, its inverse with a series where |p| < POWER_SMALL. Elsewhere
 * log(1 + pu) / p is off by at most 2^-53 / POWER_SMALL, 10^-10: by a rank in 10^10.
 *
 * Invariants
 * 1. A rank is 0..n-1 whatever the rounding: x is held to [1, n] before it becomes an integer.
 * Failure modes: none. Draws are of 53 bits: ranks whose probability is below 2^-53 come in
 * clumps, which no run is long enough to show. */
#include "bench/zipf.h"

#include <math.h>
#include <stdbool.h>

#include "core/assert.h"
#include "core/random.h"

#define POWER_SMALL 1e-6

/* H(x) = ((x^p) - 1) / p, x > 0. */
static double integral(const struct zipf *z, double x)
{
    double log_x = log(x), t = z->power * log_x;
    /* expm1(t) / t, whose series begins 1 + t/2 */
    return fabs(t) < 1e-8 ? log_x * (1 + t / 2) : log_x * (expm1(t) / t);
}

/* H^-1(u) = (1 + pu)^(1/p). */
static double integral_inverse(const struct zipf *z, double u)
{
    double t = z->power * u;
    if (z->power_inverse == 0) /* log1p(t) / t = 1 - t/2 + t^2/3 - ..., |t| < 5e-5 */
        return exp(u * (1 + t * (-1.0 / 2 + t * (1.0 / 3 + t * (-1.0 / 4)))));
    double base = 1 + t; /* not below 0 but by rounding */
    return base > 0 ? exp(log(base) * z->power_inverse) : HUGE_VAL;
}

void zipf_init(struct zipf *z, uint64_t n, double theta)
{
    ASSERT(theta >= 0 && theta <= ZIPF_THETA_MAX);
    *z = (struct zipf){.theta = theta, .power = 1 - theta};
    if (fabs(z->power) >= POWER_SMALL)
        z->power_inverse = 1 / z->power;
    z->h_first = integral(z, 1.5) - 1;
    z->accept = 2 - integral_inverse(z, integral(z, 2.5) - pow(2, -theta));
    zipf_resize(z, n);
}

void zipf_resize(struct zipf *z, uint64_t n)
{
    ASSERT(n >= 1 && n <= ZIPF_N_MAX);
    z->n = n;
    z->h_last = integral(z, (double)n + 0.5);
}

/* Whether u lies in the part of k's area that counts. What does not count is about
 * theta (theta + 1) / 24k^2 of it: from ALWAYS_RIGHT on less than one draw of 2^53 can be, at any
 * theta, and less than the rounding of u. */
#define ALWAYS_RIGHT 0x1p28
static __attribute__((noinline)) bool accepted(const struct zipf *z, double u, double k)
{
    return k >= ALWAYS_RIGHT || u >= integral(z, k + 0.5) - pow(k, -z->theta);
}

/* The integer nearest to x, of 1..n. */
static int64_t nearest(double x, int64_t n)
{
    if (!(x < (double)n))
        return n;
    return x < 1 ? 1 : (int64_t)(x + 0.5);
}

uint64_t zipf_next(const struct zipf *z, uint64_t *random)
{
    for (;;) {
        double uniform = (double)(int64_t)(random_next(random) >> 11) * 0x1p-53; /* [0, 1) */
        double u = z->h_last + uniform * (z->h_first - z->h_last);
        double x = integral_inverse(z, u);
        int64_t k = nearest(x, (int64_t)z->n);
        if ((double)k - x <= z->accept || accepted(z, u, (double)k))
            return (uint64_t)k - 1;
    }
}
