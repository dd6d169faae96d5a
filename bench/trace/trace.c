/* A trace simulator: how many requests would a cache of so much memory answer?
 *
 *     cache KIND KEYS THETA REQUESTS MEMORY RECORD SEED POLICY...
 *
 * Each policy gets as many keys as MEMORY holds at RECORD bytes and its own bookkeeping each.
 * Prints a JSON list: hits over all requests, the cache being empty at first, and over their second
 * half. One thread, deterministic. */
#include "trace/trace.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/zipf.h"
#include "core/random.h"

#define SCANS       10 /* of a trace, each as long as half of what lies between them */
#define PHASES      20 /* of shifting popularity */
#define GROUPS      10 /* of keys, of which one is replaced at the beginning of a phase */
#define GENERATIONS (PHASES / GROUPS + 2)

void trace_fail(const char *what)
{
    fprintf(stderr, "cache: %s\n", what);
    exit(1);
}

void *trace_allocate(uint64_t count, uint64_t bytes)
{
    void *memory = calloc(count, bytes);
    if (!memory)
        trace_fail("out of memory");
    return memory;
}

/* --- traces --- */

/* Keys from `keys` on, which come once. */
static void add_scans(struct trace *trace, uint32_t keys)
{
    uint64_t period = trace->count / SCANS, length = period / 2;
    trace->ids = keys;
    for (uint64_t i = 0; i < trace->count; i++)
        if (i % period >= period - length)
            trace->requests[i] = trace->ids++;
}

static void shift_keys(struct trace *trace, uint32_t keys)
{
    trace->ids = keys * GENERATIONS;
    for (uint64_t i = 0; i < trace->count; i++) {
        uint64_t phase = i * PHASES / trace->count;
        uint32_t rank = trace->requests[i];
        uint64_t group = random_mix(rank) % GROUPS;
        trace->requests[i] = rank + keys * (uint32_t)((phase + group) / GROUPS);
    }
}

struct trace trace_make(const char *kind, uint32_t keys, double theta, uint64_t requests,
                        uint64_t seed)
{
    struct trace trace = {trace_allocate(requests, sizeof(uint32_t)), requests, keys};
    struct zipf zipf;
    if (requests + keys > UINT32_MAX || (uint64_t)keys * GENERATIONS > UINT32_MAX)
        trace_fail("too many keys or requests");
    zipf_init(&zipf, keys, theta);
    for (uint64_t i = 0; i < requests; i++)
        trace.requests[i] = (uint32_t)zipf_next(&zipf, &seed);
    if (strcmp(kind, "scan") == 0)
        add_scans(&trace, keys);
    else if (strcmp(kind, "shift") == 0)
        shift_keys(&trace, keys);
    else if (strcmp(kind, "zipf") != 0)
        trace_fail("KIND is zipf, scan or shift");
    return trace;
}

/* --- running --- */

static const struct policy *find_policy(const char *name)
{
    const struct policy *p = trace_policies;
    while (p->name && strcmp(p->name, name) != 0)
        p++;
    if (!p->name)
        trace_fail("no such policy");
    return p;
}

static void run(const struct trace *trace, const struct policy *policy, uint64_t memory,
                uint64_t record, bool first)
{
    uint64_t capacity = memory / (record + policy->bytes_per_key), hits = 0, late = 0;
    if (capacity < 16)
        trace_fail("too little memory");
    capacity = capacity < trace->ids ? capacity : trace->ids;
    void *cache = policy->open(trace, (uint32_t)capacity);
    for (uint64_t i = 0; i < trace->count; i++) {
        if (!policy->ask(cache, trace->requests[i]))
            continue;
        hits++;
        late += i >= trace->count / 2;
    }
    printf("%s{\"policy\":\"%s\",\"capacity\":%" PRIu64 ",\"hits\":%.6f,\"late_hits\":%.6f}",
           first ? "[" : ",\n", policy->name, capacity, (double)hits / (double)trace->count,
           (double)late / (double)(trace->count - trace->count / 2));
}

static uint64_t number(const char *text)
{
    char *end;
    uint64_t n = strtoull(text, &end, 10);
    if (*end != 0 || n == 0)
        trace_fail("a number is expected");
    return n;
}

int main(int argc, char **argv)
{
    if (argc < 9)
        trace_fail("cache KIND KEYS THETA REQUESTS MEMORY RECORD SEED POLICY...");
    struct trace trace = trace_make(argv[1], (uint32_t)number(argv[2]), strtod(argv[3], NULL),
                                    number(argv[4]), number(argv[7]));
    for (int i = 8; i < argc; i++)
        run(&trace, find_policy(argv[i]), number(argv[5]), number(argv[6]), i == 8);
    printf("]\n");
    return 0; /* the system is quicker at freeing gigabytes */
}
