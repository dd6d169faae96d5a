/* Cache policies, each as its paper has it, over arrays indexed by key.
 *
 * lru      a list, last used first
 * clock    a ring and a hand; a key used since the hand passed stays where it is
 * sieve    Zhang et al., "SIEVE is simpler than LRU", NSDI 2024, algorithm 1
 * s3fifo   Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023, algorithm 1:
 *          a tenth is the small queue; as many keys as the main queue has are remembered
 * tarn     SIEVE as src/table/evict.c has it: the hand passes over places that keys have by their
 *          hash, instead of over a queue; of 16 keys it looks at, those go first that nobody has
 *          ever read
 * hand     the same without that
 * best, belady   policy_bounds.c */
#include "core/random.h"
#include "trace/trace.h"

/* --- a list of keys through arrays: 0 is none, key k is k + 1 --- */

struct list {
    uint32_t *newer, *older; /* by key + 1 */
    uint32_t newest, oldest, count;
};

static void list_open(struct list *list, const struct trace *trace)
{
    list->newer = trace_allocate(trace->ids + 1ull, sizeof(uint32_t));
    list->older = trace_allocate(trace->ids + 1ull, sizeof(uint32_t));
}

static void list_add(struct list *list, uint32_t k)
{
    list->newer[k] = 0;
    list->older[k] = list->newest;
    *(list->newest ? &list->newer[list->newest] : &list->oldest) = k;
    list->newest = k;
    list->count++;
}

static void list_remove(struct list *list, uint32_t k)
{
    *(list->newer[k] ? &list->older[list->newer[k]] : &list->newest) = list->older[k];
    *(list->older[k] ? &list->newer[list->older[k]] : &list->oldest) = list->newer[k];
    list->count--;
}

/* --- lru, sieve --- */

enum { IN = 1, VISITED = 2, PROVEN = 4 };

struct listed {
    struct list list;
    uint8_t *state;
    uint32_t capacity, hand;
};

static void *listed_open(const struct trace *trace, uint32_t capacity)
{
    struct listed *c = trace_allocate(1, sizeof *c);
    list_open(&c->list, trace);
    c->state = trace_allocate(trace->ids + 1ull, 1);
    c->capacity = capacity;
    return c;
}

static bool lru_ask(void *cache, uint32_t id)
{
    struct listed *c = cache;
    uint32_t k = id + 1;
    bool hit = c->state[k] == IN;
    if (hit) {
        list_remove(&c->list, k);
    } else if (c->list.count == c->capacity) {
        c->state[c->list.oldest] = 0;
        list_remove(&c->list, c->list.oldest);
    }
    c->state[k] = IN;
    list_add(&c->list, k);
    return hit;
}

static void sieve_evict(struct listed *c)
{
    uint32_t k = c->hand ? c->hand : c->list.oldest;
    while (c->state[k] & VISITED) {
        c->state[k] = IN;
        k = c->list.newer[k] ? c->list.newer[k] : c->list.oldest;
    }
    c->hand = c->list.newer[k];
    c->state[k] = 0;
    list_remove(&c->list, k);
}

static bool sieve_ask(void *cache, uint32_t id)
{
    struct listed *c = cache;
    uint32_t k = id + 1;
    if (c->state[k]) {
        c->state[k] = IN | VISITED;
        return true;
    }
    if (c->list.count == c->capacity)
        sieve_evict(c);
    c->state[k] = IN;
    list_add(&c->list, k);
    return false;
}

/* --- clock, hand, tarn: places, and a hand that passes over them --- */

#define TARN_LOOKS 16 /* VISIT_ITEMS */

struct placed {
    uint32_t *places; /* key + 1; 0: free */
    uint8_t *state;   /* by key + 1 */
    uint64_t places_count, hand;
    uint32_t count, capacity;
};

static struct placed *placed_open(const struct trace *trace, uint32_t capacity, uint64_t places)
{
    struct placed *c = trace_allocate(1, sizeof *c);
    c->places = trace_allocate(places, sizeof(uint32_t));
    c->state = trace_allocate(trace->ids + 1ull, 1);
    c->places_count = places;
    c->capacity = capacity;
    return c;
}

static void *clock_open(const struct trace *trace, uint32_t capacity)
{
    return placed_open(trace, capacity, capacity);
}

/* A bucket's slots are some two thirds full. */
static void *hashed_open(const struct trace *trace, uint32_t capacity)
{
    return placed_open(trace, capacity, capacity + capacity / 2 + 1);
}

static void advance(struct placed *c)
{
    c->hand = c->hand + 1 < c->places_count ? c->hand + 1 : 0;
}

/* The key under the hand goes; its place. */
static uint64_t take(struct placed *c)
{
    uint64_t at = c->hand;
    c->state[c->places[at]] = 0;
    c->places[at] = 0;
    c->count--;
    advance(c);
    return at;
}

/* The place of the key that went. */
static uint64_t placed_evict(struct placed *c)
{
    for (;; advance(c)) {
        uint32_t k = c->places[c->hand];
        if (k == 0)
            continue;
        if (c->state[k] & VISITED) {
            c->state[k] = IN | PROVEN;
            continue;
        }
        return take(c);
    }
}

static void place(struct placed *c, uint64_t at, uint32_t k)
{
    c->places[at] = k;
    c->state[k] = IN;
    c->count++;
}

static bool clock_ask(void *cache, uint32_t id)
{
    struct placed *c = cache;
    uint32_t k = id + 1;
    if (c->state[k]) {
        c->state[k] |= VISITED;
        return true;
    }
    place(c, c->count < c->capacity ? c->count : placed_evict(c), k);
    return false;
}

/* Of the next keys one that nobody has ever read goes, if there is one. */
static bool evict_unread(struct placed *c)
{
    uint64_t begin = c->hand;
    for (unsigned seen = 0; seen < TARN_LOOKS; advance(c)) {
        uint32_t k = c->places[c->hand];
        if (k != 0 && c->state[k] == IN) {
            (void)take(c);
            return true;
        }
        seen += k != 0;
    }
    c->hand = begin;
    return false;
}

static bool ask_hashed(struct placed *c, uint32_t id, bool unread_first)
{
    uint32_t k = id + 1;
    if (c->state[k]) {
        c->state[k] |= VISITED;
        return true;
    }
    if (c->count == c->capacity && !(unread_first && evict_unread(c)))
        (void)placed_evict(c);
    uint64_t at = random_below(random_mix(id), c->places_count);
    while (c->places[at] != 0)
        at = at + 1 < c->places_count ? at + 1 : 0;
    place(c, at, k);
    return false;
}

static bool hand_ask(void *cache, uint32_t id)
{
    return ask_hashed(cache, id, false);
}

static bool tarn_ask(void *cache, uint32_t id)
{
    return ask_hashed(cache, id, true);
}

/* --- s3fifo --- */

/* First in, first out. */
struct queue {
    uint32_t *keys;
    uint64_t begin, count, room;
};

static void queue_open(struct queue *q, uint64_t room)
{
    q->keys = trace_allocate(room + 1, sizeof(uint32_t));
    q->room = room + 1;
}

static void queue_add(struct queue *q, uint32_t k)
{
    q->keys[(q->begin + q->count++) % q->room] = k;
}

static uint32_t queue_take(struct queue *q)
{
    uint32_t k = q->keys[q->begin];
    q->begin = (q->begin + 1) % q->room;
    q->count--;
    return k;
}

enum { USES = 3, GHOST = 8 }; /* state: IN is 4, of uses 0..3 */
#define S3_IN 4

struct s3fifo {
    struct queue small, main, ghost;
    uint8_t *state;
    uint32_t capacity, small_capacity, main_capacity;
};

static void *s3fifo_open(const struct trace *trace, uint32_t capacity)
{
    struct s3fifo *c = trace_allocate(1, sizeof *c);
    c->capacity = capacity;
    c->small_capacity = capacity / 10;
    c->main_capacity = capacity - c->small_capacity;
    queue_open(&c->small, capacity);
    queue_open(&c->main, capacity);
    queue_open(&c->ghost, c->main_capacity);
    c->state = trace_allocate(trace->ids + 1ull, 1);
    return c;
}

static void s3fifo_evict_main(struct s3fifo *c)
{
    for (;;) {
        uint32_t k = queue_take(&c->main);
        if ((c->state[k] & USES) == 0) {
            c->state[k] = 0;
            return;
        }
        c->state[k]--;
        queue_add(&c->main, k);
    }
}

/* A key that is in the cache again is not a ghost any more: its entry is passed over. */
static void remember(struct s3fifo *c, uint32_t k)
{
    if (c->ghost.count == c->main_capacity) {
        uint32_t forgotten = queue_take(&c->ghost);
        if (c->state[forgotten] == GHOST)
            c->state[forgotten] = 0;
    }
    c->state[k] = GHOST;
    queue_add(&c->ghost, k);
}

static void s3fifo_evict_small(struct s3fifo *c)
{
    while (c->small.count > 0) {
        uint32_t k = queue_take(&c->small);
        if ((c->state[k] & USES) <= 1) {
            remember(c, k);
            return;
        }
        if (c->main.count >= c->main_capacity)
            s3fifo_evict_main(c);
        c->state[k] = S3_IN;
        queue_add(&c->main, k);
    }
    s3fifo_evict_main(c);
}

static bool s3fifo_ask(void *cache, uint32_t id)
{
    struct s3fifo *c = cache;
    uint32_t k = id + 1;
    if (c->state[k] & S3_IN) {
        c->state[k] += (c->state[k] & USES) < USES;
        return true;
    }
    bool remembered = c->state[k] == GHOST; /* asked before room is made, which may forget it */
    while (c->small.count + c->main.count >= c->capacity) {
        if (c->small.count >= c->small_capacity)
            s3fifo_evict_small(c);
        else
            s3fifo_evict_main(c);
    }
    c->state[k] = S3_IN;
    queue_add(remembered ? &c->main : &c->small, k);
    return false;
}

/* Bytes of a key: two pointers; the bit lies in what is there; a place in a queue, and one of those
 * that are remembered (their hash). Bounds have none. */
const struct policy trace_policies[] = {
    {"lru", 16, listed_open, lru_ask},
    {"clock", 8, clock_open, clock_ask},
    {"sieve", 16, listed_open, sieve_ask},
    {"s3fifo", 16, s3fifo_open, s3fifo_ask},
    {"hand", 0, hashed_open, hand_ask},
    {"tarn", 0, hashed_open, tarn_ask},
    {"best", 0, trace_best_open, trace_best_ask},
    {"belady", 0, trace_belady_open, trace_belady_ask},
    {0},
};
