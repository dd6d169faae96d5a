/* Zipf-distributed ranks: rank k of n (from 0) with probability proportional to 1 / (k+1)^theta.
 *
 * Method: rejection-inversion (Hoermann and Derflinger, "Rejection-inversion to generate variates
 * from monotone discrete distributions", 1996): exact, any theta >= 0, set-up in constant time
 * however large n is, no table. A struct zipf is read-only once made; share it freely. */
#ifndef BENCH_ZIPF_H
#define BENCH_ZIPF_H

#include <stdint.h>

struct zipf {
    uint64_t n;
    double theta;
    double power, power_inverse;    /* 1 - theta, and 1 / (1 - theta) where that is safe, else 0 */
    double h_first, h_last, accept; /* H(1.5) - 1, H(n + 0.5), and the bound of the quick test */
};

/* 1 <= n <= ZIPF_N_MAX, 0 <= theta <= ZIPF_THETA_MAX (asserted). */
#define ZIPF_N_MAX     (1ull << 62)
#define ZIPF_THETA_MAX 10.0
void zipf_init(struct zipf *z, uint64_t n, double theta);
/* The same theta over another n: a fifth of the work. */
void zipf_resize(struct zipf *z, uint64_t n);
/* A rank 0..n-1; rank 0 is the most frequent. *random: state of core/random.h. */
uint64_t zipf_next(const struct zipf *z, uint64_t *random);

#endif
