/* Pearson's chi-square test of counts against exact probabilities, for tests with a fixed seed:
 * they give the same figure always, so a pass is not luck, and one in 10,000 right programs would
 * have been unlucky with the seed chosen. */
#ifndef LIB_CHI_SQUARE_H
#define LIB_CHI_SQUARE_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

/* The value that chi-square exceeds with probability 10^-4 (Wilson and Hilferty, 1931). */
static inline double chi_square_critical(size_t freedom)
{
    double d = 2.0 / (9.0 * (double)freedom);
    return (double)freedom * pow(1 - d + 3.719016 * sqrt(d), 3);
}

/* Sum over cells of (counted - expected)^2 / expected, by the critical value for cells - 1: below
 * 1 the counts fit. probability: sums to 1 over the cells. Cells of which fewer than 10 are
 * expected are put together with the next ones. One cell always fits (0). */
static inline double chi_square_ratio(const uint64_t *counted, const double *probability,
                                      size_t cells)
{
    double total = 0, sum = 0, expected = 0, seen = 0;
    size_t used = 0;
    for (size_t i = 0; i < cells; i++)
        total += (double)counted[i];
    for (size_t i = 0; i < cells; i++) {
        expected += probability[i] * total;
        seen += (double)counted[i];
        if (expected < 10 && i + 1 < cells)
            continue;
        if (expected <= 0)
            return seen > 0 ? HUGE_VAL : used > 1 ? sum / chi_square_critical(used - 1) : 0;
        sum += (seen - expected) * (seen - expected) / expected;
        used++;
        expected = seen = 0;
    }
    return used > 1 ? sum / chi_square_critical(used - 1) : 0;
}

#endif
