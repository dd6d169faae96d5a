/* How many queries a cache answers.
 *
 * LRU by Che's approximation ("Hierarchical Web caching systems", 2002): a key asked for with
 * probability p is in the cache if it was asked for within the last T queries, T being such that
 * the expected number of such keys is the capacity. A cache that begins empty has seen only t
 * queries after t, so T is min(t, T); the mean over t has a closed form. SIEVE lies between that
 * and the keys with the largest p, once they came, never leaving; bench/cache measures where.
 *
 * Keys are taken in runs of ranks that grow by a tenth, each run with its mean probability: at most
 * some 500 runs for any number of keys. */
#include <math.h>

#include "core/assert.h"
#include "pack/plan.h"

#define RUNS_MAX     1024
#define RUN_GROWTH   1.1
#define RANKS_SINGLE 32
/* Of the way from LRU to the best that is possible: measured by bench/cache. */
#define SIEVE_SHARE 0.7

struct runs {
    unsigned count;
    double keys[RUNS_MAX], p[RUNS_MAX]; /* how many keys, and each one's probability */
};

/* The integral of x^-theta. */
static double area(double from, double to, double theta)
{
    double power = 1 - theta;
    if (fabs(power) < 1e-9)
        return log(to / from);
    return (pow(to, power) - pow(from, power)) / power;
}

static void make_runs(double keys, double theta, struct runs *runs)
{
    double sum = 0;
    runs->count = 0;
    for (double from = 1; from <= keys && runs->count < RUNS_MAX;) {
        double size = from <= RANKS_SINGLE ? 1 : floor(from * (RUN_GROWTH - 1));
        size = fmin(size, keys - from + 1);
        double weight = size == 1 ? pow(from, -theta) : area(from - 0.5, from + size - 0.5, theta);
        runs->keys[runs->count] = size;
        runs->p[runs->count++] = weight / size;
        sum += weight;
        from += size;
    }
    for (unsigned i = 0; i < runs->count; i++)
        runs->p[i] /= sum;
}

/* The chance that a key is asked for at least once in t queries. */
static double asked_ratio(double p, double t)
{
    return -expm1(t * log1p(-p));
}

/* Keys asked for at least once in t queries. */
static double distinct(const struct runs *runs, double t)
{
    double sum = 0;
    for (unsigned i = 0; i < runs->count; i++)
        sum += runs->keys[i] * asked_ratio(runs->p[i], t);
    return sum;
}

/* T: bisection between bounds that a doubling found, to a part in a million. */
static double characteristic(const struct runs *runs, double capacity)
{
    double high = capacity;
    while (distinct(runs, high) < capacity)
        high *= 2;
    double low = high / 2;
    while (high - low > high * 1e-6) {
        double middle = (low + high) / 2;
        *(distinct(runs, middle) < capacity ? &low : &high) = middle;
    }
    return high;
}

/* Share of hits among the first t queries when nothing is ever dropped. */
static double filling_ratio(const struct runs *runs, double t)
{
    return 1 - distinct(runs, t) / t;
}

/* Of a full cache that keeps what was asked for within t queries. */
static double steady_ratio(const struct runs *runs, double t)
{
    double sum = 0;
    for (unsigned i = 0; i < runs->count; i++)
        sum += runs->keys[i] * runs->p[i] * asked_ratio(runs->p[i], t);
    return sum;
}

/* As filling_ratio(), when only the `capacity` likeliest keys are ever kept. */
static double perfect_ratio(const struct runs *runs, double capacity, double t)
{
    double sum = 0;
    for (unsigned i = 0; i < runs->count && capacity > 0; i++) {
        double p = runs->p[i];
        sum += fmin(runs->keys[i], capacity) * (p - asked_ratio(p, t) / t);
        capacity -= runs->keys[i];
    }
    return sum;
}

/* Of all t queries; the first of them fill it. */
static double lru_ratio(const struct runs *runs, double capacity, double t)
{
    if (distinct(runs, t) <= capacity)
        return filling_ratio(runs, t);
    double full = characteristic(runs, capacity);
    return (filling_ratio(runs, full) * full + steady_ratio(runs, full) * (t - full)) / t;
}

double plan_hit_ratio(double keys, double theta, double capacity, double queries)
{
    ASSERT(keys >= 1 && theta >= 0 && capacity >= 0 && queries >= 0);
    if (capacity < 1 || queries <= 1)
        return 0;
    struct runs runs;
    make_runs(keys, theta, &runs);
    double lru = lru_ratio(&runs, fmin(capacity, keys), queries);
    double best = fmax(lru, perfect_ratio(&runs, capacity, queries));
    return lru + SIEVE_SHARE * (best - lru);
}
