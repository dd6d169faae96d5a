/* A log-linear histogram in the layout of HdrHistogram (Gil Tene, hdrhistogram.org).
 *
 * How: values below 2048 have a counter each. Above, magnitude m = 1..53 covers
 * [1024 * 2^m, 2048 * 2^m) with 1024 counters of 2^m values each, so that a counter's width is at
 * most 1/1024 (0.098 %) of any value in it: 3 significant digits. A magnitude's counters are
 * allocated when its first value comes: 16 KB for magnitude 0, 8 KB for each other.
 *
 * Threads: all fields that change are atomics, written by the one writer with a relaxed load and
 * store (no locked instruction) and read relaxed. An array is published with release and read
 * with acquire, so a reader sees it zeroed or counted, never raw. A reader's sums may lag.
 *
 * Invariants
 * 1. total == sum of all counters + sum of coarse[], as seen by the writer.
 * 2. An array once published stays until histogram_free().
 * Failure modes: out of memory for a magnitude's counters: its values go to coarse[m], so that
 * counts stay exact and only the precision of that magnitude is lost. */
#include "core/histogram.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#define EXACT_BITS      11 /* values below 2^11 are counted one by one */
#define EXACT_COUNT     (1u << EXACT_BITS)
#define SLOT_COUNT      (EXACT_COUNT / 2) /* counters of each magnitude above 0 */
#define MAGNITUDE_COUNT (64 - EXACT_BITS + 1)

typedef _Atomic(uint64_t) counter;

struct histogram {
    _Atomic(counter *) slots[MAGNITUDE_COUNT]; /* NULL until used */
    counter coarse[MAGNITUDE_COUNT];           /* counts for which there was no memory */
    counter total;
    counter min; /* UINT64_MAX if empty */
    counter max;
    _Atomic(double) sum;
};

static uint64_t load(const counter *c)
{
    return atomic_load_explicit(c, memory_order_relaxed);
}

static void store(counter *c, uint64_t value)
{
    atomic_store_explicit(c, value, memory_order_relaxed);
}

/* Only the writer adds, so load and store need not be one instruction. */
static void add(counter *c, uint64_t count)
{
    store(c, load(c) + count);
}

static unsigned magnitude_of(uint64_t value)
{
    unsigned bits = 64 - (unsigned)__builtin_clzll(value | 1);
    return bits <= EXACT_BITS ? 0 : bits - EXACT_BITS;
}

static unsigned slot_of(uint64_t value, unsigned magnitude)
{
    return magnitude == 0 ? (unsigned)value : (unsigned)(value >> magnitude) - SLOT_COUNT;
}

static unsigned slot_count(unsigned magnitude)
{
    return magnitude == 0 ? EXACT_COUNT : SLOT_COUNT;
}

/* The greatest value that is counted in a slot. */
static uint64_t slot_upper(unsigned magnitude, unsigned slot)
{
    if (magnitude == 0)
        return slot;
    return (((uint64_t)slot + SLOT_COUNT + 1) << magnitude) -
           1; /* wraps to UINT64_MAX at the top */
}

/* The least. */
static uint64_t slot_lower(unsigned magnitude, unsigned slot)
{
    return magnitude == 0 ? slot : ((uint64_t)slot + SLOT_COUNT) << magnitude;
}

static counter *slots_of(const struct histogram *h, unsigned magnitude)
{
    return atomic_load_explicit(&h->slots[magnitude], memory_order_acquire);
}

struct histogram *histogram_new(void)
{
    struct histogram *h = calloc(1, sizeof *h);
    if (h)
        store(&h->min, UINT64_MAX);
    return h;
}

void histogram_free(struct histogram *h)
{
    if (!h)
        return;
    for (unsigned m = 0; m < MAGNITUDE_COUNT; m++)
        free(slots_of(h, m));
    free(h);
}

/* Add to one slot, allocating its magnitude if need be. */
static void add_slot(struct histogram *h, unsigned magnitude, unsigned slot, uint64_t count)
{
    counter *slots = slots_of(h, magnitude);
    if (__builtin_expect(!slots, 0)) {
        slots = calloc(slot_count(magnitude), sizeof *slots);
        if (!slots) {
            add(&h->coarse[magnitude], count);
            return;
        }
        atomic_store_explicit(&h->slots[magnitude], slots, memory_order_release);
    }
    add(&slots[slot], count);
}

static void add_range(struct histogram *h, uint64_t count, double sum, uint64_t min, uint64_t max)
{
    add(&h->total, count);
    double before = atomic_load_explicit(&h->sum, memory_order_relaxed);
    atomic_store_explicit(&h->sum, before + sum, memory_order_relaxed);
    if (min < load(&h->min))
        store(&h->min, min);
    if (max > load(&h->max))
        store(&h->max, max);
}

void histogram_record(struct histogram *h, uint64_t value, uint64_t count)
{
    if (count == 0)
        return;
    unsigned magnitude = magnitude_of(value);
    add_slot(h, magnitude, slot_of(value, magnitude), count);
    add_range(h, count, (double)value * (double)count, value, value);
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
    uint64_t total = 0;
    for (unsigned m = 0; m < MAGNITUDE_COUNT; m++) {
        const counter *slots = slots_of(from, m);
        for (unsigned i = 0; slots && i < slot_count(m); i++) {
            uint64_t count = load(&slots[i]);
            if (count)
                add_slot(into, m, i, count);
            total += count;
        }
        uint64_t coarse = load(&from->coarse[m]);
        add(&into->coarse[m], coarse);
        total += coarse;
    }
    if (total)
        add_range(into, total, atomic_load_explicit(&from->sum, memory_order_relaxed),
                  load(&from->min), load(&from->max));
}

/* Take as much of *amount as the counter has; returns what is left in the counter. */
static uint64_t take(counter *c, uint64_t *amount)
{
    uint64_t count = load(c), part = count < *amount ? count : *amount;
    *amount -= part;
    if (part)
        store(c, count - part);
    return count - part;
}

/* What one of the two had no memory to count exactly is in coarse[] there and in a slot here, or
 * the other way round: it is taken from coarse[] first, then from the magnitude's lowest slots, so
 * that counts stay exact. */
static void subtract_magnitude(struct histogram *from, const struct histogram *what, unsigned m)
{
    counter *slots = slots_of(from, m);
    const counter *slots_what = slots_of(what, m);
    uint64_t owed = load(&what->coarse[m]);
    for (unsigned i = 0; slots_what && i < slot_count(m); i++) {
        uint64_t amount = load(&slots_what[i]);
        if (slots && amount)
            take(&slots[i], &amount);
        owed += amount;
    }
    if (owed)
        take(&from->coarse[m], &owed);
    for (unsigned i = 0; slots && owed && i < slot_count(m); i++)
        take(&slots[i], &owed);
}

/* The values in one magnitude, and bounds of the outermost; bounds unchanged if there are none. */
static uint64_t count_magnitude(const struct histogram *h, unsigned m, uint64_t *least,
                                uint64_t *greatest)
{
    const counter *slots = slots_of(h, m);
    uint64_t total = load(&h->coarse[m]), lower = UINT64_MAX, upper = 0;
    if (total) {
        lower = slot_lower(m, 0);
        upper = slot_upper(m, slot_count(m) - 1);
    }
    for (unsigned i = 0; slots && i < slot_count(m); i++) {
        uint64_t count = load(&slots[i]);
        if (count && slot_lower(m, i) < lower)
            lower = slot_lower(m, i);
        if (count && slot_upper(m, i) > upper)
            upper = slot_upper(m, i);
        total += count;
    }
    if (total && *least == UINT64_MAX)
        *least = lower;
    if (total)
        *greatest = upper;
    return total;
}

void histogram_subtract(struct histogram *from, const struct histogram *what)
{
    uint64_t total = 0, least = UINT64_MAX, greatest = 0;
    uint64_t min = load(&from->min), max = load(&from->max);
    double sum = atomic_load_explicit(&from->sum, memory_order_relaxed) -
                 atomic_load_explicit(&what->sum, memory_order_relaxed);
    for (unsigned m = 0; m < MAGNITUDE_COUNT; m++) {
        subtract_magnitude(from, what, m);
        total += count_magnitude(from, m, &least, &greatest);
    }
    if (total == 0) {
        histogram_reset(from);
        return;
    }
    store(&from->total, total);
    max = greatest < max ? greatest : max;
    min = least > min ? least : min;
    min = min < max ? min : max; /* the extremes of a copy may lag behind its counts */
    store(&from->max, max);
    store(&from->min, min);
    /* the difference of two rounded sums may lie outside of what is possible */
    sum = sum < (double)min * (double)total ? (double)min * (double)total : sum;
    sum = sum > (double)max * (double)total ? (double)max * (double)total : sum;
    atomic_store_explicit(&from->sum, sum, memory_order_relaxed);
}

void histogram_reset(struct histogram *h)
{
    for (unsigned m = 0; m < MAGNITUDE_COUNT; m++) {
        counter *slots = slots_of(h, m);
        for (unsigned i = 0; slots && i < slot_count(m); i++)
            store(&slots[i], 0);
        store(&h->coarse[m], 0);
    }
    store(&h->total, 0);
    store(&h->min, UINT64_MAX);
    store(&h->max, 0);
    atomic_store_explicit(&h->sum, 0, memory_order_relaxed);
}

uint64_t histogram_count(const struct histogram *h)
{
    return load(&h->total);
}

uint64_t histogram_min(const struct histogram *h)
{
    uint64_t min = load(&h->min);
    return min == UINT64_MAX && load(&h->total) == 0 ? 0 : min;
}

uint64_t histogram_max(const struct histogram *h)
{
    return load(&h->max);
}

double histogram_mean(const struct histogram *h)
{
    uint64_t total = load(&h->total);
    return total ? atomic_load_explicit(&h->sum, memory_order_relaxed) / (double)total : 0;
}

/* The 1-based rank of the value asked for: the least r with r >= quantile * total. */
static uint64_t rank_of(double quantile, uint64_t total)
{
    if (!(quantile > 0)) /* NaN too */
        return 1;
    if (quantile >= 1)
        return total;
    double exact = quantile * (double)total;
    uint64_t rank = (uint64_t)exact;
    /* 0.99 * 100 is 99.00000000000001 in binary: do not let such dust cost a rank */
    if (exact - (double)rank > 1e-9 * exact)
        rank++;
    return rank < 1 ? 1 : rank > total ? total : rank;
}

uint64_t histogram_quantile(const struct histogram *h, double quantile)
{
    uint64_t total = load(&h->total);
    if (total == 0)
        return 0;
    uint64_t rank = rank_of(quantile, total), seen = 0, max = load(&h->max);
    for (unsigned m = 0; m < MAGNITUDE_COUNT; m++) {
        const counter *slots = slots_of(h, m);
        uint64_t upper = 0;
        bool found = false;
        for (unsigned i = 0; slots && i < slot_count(m) && !found; i++) {
            seen += load(&slots[i]);
            found = seen >= rank;
            upper = slot_upper(m, i);
        }
        if (!found) {
            seen += load(&h->coarse[m]);
            found = seen >= rank;
            upper = slot_upper(m, slot_count(m) - 1);
        }
        if (found)
            return upper < max ? upper : max;
    }
    return max; /* the writer was between a total and its slot */
}

uint64_t histogram_count_upto(const struct histogram *h, uint64_t value)
{
    unsigned magnitude = magnitude_of(value), slot = slot_of(value, magnitude);
    uint64_t seen = 0;
    for (unsigned m = 0; m <= magnitude; m++) {
        const counter *slots = slots_of(h, m);
        unsigned end = m < magnitude ? slot_count(m) : slot + 1;
        for (unsigned i = 0; slots && i < end; i++)
            seen += load(&slots[i]);
        if (m < magnitude || end == slot_count(m))
            seen += load(&h->coarse[m]);
    }
    return seen;
}
