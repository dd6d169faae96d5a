/* What growth.c and growth_resp.c share. */
#ifndef BENCH_GROWTH_H
#define BENCH_GROWTH_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "tarn.h"

#define GROWTH_KEY_BYTES 16 /* and of a value, which is the key */

/* Calls of one thread in one phase. */
struct growth_figures {
    struct histogram *calls; /* ns */
    uint64_t longest_own_ns; /* of those in which the processor was not taken away */
};
void growth_figures_init(struct growth_figures *f);
void growth_figures_print(const char *name, struct growth_figures *f); /* as JSON; frees */

/* Times calls one after the other: start, then a lap after each. */
struct growth_timer {
    uint64_t last_ns;
    long taken_away;
};
void growth_timer_start(struct growth_timer *t);
void growth_timer_lap(struct growth_timer *t, struct growth_figures *into);

_Noreturn void growth_fail(const char *what);
uint64_t growth_now_ns(void);
void growth_sleep_ms(unsigned ms);
void growth_key(uint64_t i, char out[GROWTH_KEY_BYTES]); /* different for every i */
uint64_t growth_random(uint64_t *state);
int64_t growth_expiry_ms(int64_t now_ms, uint64_t keys, uint64_t ns_per_key);

void growth_resp_flush(uint64_t keys, uint16_t port);
void growth_resp_expire(uint64_t keys, uint16_t port);

#endif
