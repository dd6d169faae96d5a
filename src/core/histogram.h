/* A log-linear histogram of non-negative integers: 3 significant digits over the whole range of
 * uint64, fixed memory, mergeable (the layout of HdrHistogram).
 *
 * One writer; a reader on another thread sees counts that may lag but never tear. */
#ifndef CORE_HISTOGRAM_H
#define CORE_HISTOGRAM_H

#include <stdint.h>

/* Allocated lazily by magnitude so that an unused or narrow histogram stays small. */
struct histogram;

struct histogram *histogram_new(void); /* NULL if out of memory */
void histogram_free(struct histogram *h);
void histogram_record(struct histogram *h, uint64_t value, uint64_t count);
void histogram_merge(struct histogram *into, const struct histogram *from);
/* Take away the values of `what`, an earlier state of the same growing histogram (or of the same
 * merge of several), so that those recorded since are left. Least and greatest are then known as
 * exactly as the others only: the bounds of the outermost values left. */
void histogram_subtract(struct histogram *from, const struct histogram *what);
void histogram_reset(struct histogram *h);
uint64_t histogram_count(const struct histogram *h);
uint64_t histogram_min(const struct histogram *h); /* 0 if empty */
uint64_t histogram_max(const struct histogram *h);
double histogram_mean(const struct histogram *h);
/* The value at a quantile 0..1: at least that share of the values is <= it, within 0.1 %. */
uint64_t histogram_quantile(const struct histogram *h, double quantile);
/* How many recorded values are <= value, to the same precision (for cumulative buckets). */
uint64_t histogram_count_upto(const struct histogram *h, uint64_t value);

#endif
