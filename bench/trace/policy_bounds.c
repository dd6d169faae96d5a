/* Bounds: what a cache could do that knows the trace.
 *
 * best     always the keys that are asked for most often in the whole trace (perfect LFU)
 * belady   out goes the key that is asked for again last, if that is not the new one (Belady, "A
 *          study of replacement algorithms for virtual-storage computers", 1966) */
#include <stdlib.h>

#include "trace/trace.h"

/* --- best --- */

struct best {
    uint8_t *kept, *seen;
};

static const uint32_t *counts_compared;

static int compare_counts(const void *a, const void *b)
{
    uint32_t x = counts_compared[*(const uint32_t *)a], y = counts_compared[*(const uint32_t *)b];
    return x < y ? 1 : x > y ? -1 : 0;
}

void *trace_best_open(const struct trace *trace, uint32_t capacity)
{
    struct best *c = trace_allocate(1, sizeof *c);
    uint32_t *counts = trace_allocate(trace->ids, sizeof *counts);
    uint32_t *order = trace_allocate(trace->ids, sizeof *order);
    for (uint64_t i = 0; i < trace->count; i++)
        counts[trace->requests[i]]++;
    for (uint32_t id = 0; id < trace->ids; id++)
        order[id] = id;
    counts_compared = counts;
    qsort(order, trace->ids, sizeof *order, compare_counts);
    c->kept = trace_allocate(trace->ids, 1);
    c->seen = trace_allocate(trace->ids, 1);
    for (uint32_t i = 0; i < capacity && i < trace->ids; i++)
        c->kept[order[i]] = 1;
    free(counts);
    free(order);
    return c;
}

bool trace_best_ask(void *cache, uint32_t id)
{
    struct best *c = cache;
    bool hit = c->kept[id] && c->seen[id];
    c->seen[id] = 1;
    return hit;
}

/* --- belady --- */

/* A key in the cache and when it is asked for again, as far as it was known when it went in here:
 * an entry that is not the key's latest is passed over. */
struct due {
    uint32_t at, id;
};

struct belady {
    uint32_t *next;        /* by request: when its key comes again; UINT32_MAX: never */
    uint32_t *next_of_key; /* by key, if it is in the cache; else 0 */
    struct due *heap;      /* the latest first */
    uint64_t heap_count, now;
    uint32_t count, capacity;
};

void *trace_belady_open(const struct trace *trace, uint32_t capacity)
{
    struct belady *c = trace_allocate(1, sizeof *c);
    c->next = trace_allocate(trace->count, sizeof *c->next);
    c->next_of_key = trace_allocate(trace->ids, sizeof *c->next_of_key);
    uint32_t *last = trace_allocate(trace->ids, sizeof *last); /* request + 1 */
    for (uint64_t i = trace->count; i-- > 0;) {
        uint32_t id = trace->requests[i];
        c->next[i] = last[id] ? last[id] - 1 : UINT32_MAX;
        last[id] = (uint32_t)i + 1;
    }
    free(last);
    c->heap = trace_allocate(trace->count + 1, sizeof *c->heap);
    c->capacity = capacity;
    return c;
}

static void heap_add(struct belady *c, struct due due)
{
    uint64_t i = c->heap_count++;
    for (; i > 0 && c->heap[(i - 1) / 2].at < due.at; i = (i - 1) / 2)
        c->heap[i] = c->heap[(i - 1) / 2];
    c->heap[i] = due;
}

static struct due heap_take(struct belady *c)
{
    struct due first = c->heap[0], last = c->heap[--c->heap_count];
    uint64_t i = 0;
    for (;;) {
        uint64_t child = 2 * i + 1;
        if (child >= c->heap_count)
            break;
        child += child + 1 < c->heap_count && c->heap[child + 1].at > c->heap[child].at;
        if (c->heap[child].at <= last.at)
            break;
        c->heap[i] = c->heap[child];
        i = child;
    }
    c->heap[i] = last;
    return first;
}

bool trace_belady_ask(void *cache, uint32_t id)
{
    struct belady *c = cache;
    uint32_t next = c->next[c->now++];
    bool hit = c->next_of_key[id] != 0;
    c->count += !hit;
    c->next_of_key[id] = next; /* never 0: a request comes after this one */
    heap_add(c, (struct due){next, id});
    while (c->count > c->capacity) {
        struct due out = heap_take(c);
        if (c->next_of_key[out.id] != out.at)
            continue;
        c->next_of_key[out.id] = 0;
        c->count--;
    }
    return hit;
}
