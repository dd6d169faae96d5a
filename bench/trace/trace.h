/* Traces of requests, and what caches make of them; bench/cache runs this program. */
#ifndef BENCH_TRACE_H
#define BENCH_TRACE_H

#include <stdbool.h>
#include <stdint.h>

/* Requests for keys, which are numbers below ids. */
struct trace {
    uint32_t *requests;
    uint64_t count;
    uint32_t ids;
};

/* kind: "zipf"; "scan": every tenth of the requests one twentieth of them asks for keys that nobody
 * asks for again; "shift": every twentieth of the requests a tenth of the keys, of any popularity,
 * becomes others. Fails the program where there is no such kind or no memory. */
struct trace trace_make(const char *kind, uint32_t keys, double theta, uint64_t requests,
                        uint64_t seed);

/* A cache with room for so many keys. */
struct policy {
    const char *name;
    unsigned bytes_per_key; /* of memory beyond what every cache needs */
    void *(*open)(const struct trace *trace, uint32_t capacity);
    bool (*ask)(void *cache, uint32_t id); /* was it there? It is now, if it may */
};
extern const struct policy trace_policies[]; /* ends with name NULL */

_Noreturn void trace_fail(const char *what);
void *trace_allocate(uint64_t count, uint64_t bytes); /* zeroed; never NULL, never freed */

/* policy_bounds.c: what no cache can be better than. */
void *trace_best_open(const struct trace *trace, uint32_t capacity);
bool trace_best_ask(void *cache, uint32_t id);
void *trace_belady_open(const struct trace *trace, uint32_t capacity);
bool trace_belady_ask(void *cache, uint32_t id);

#endif
