/* What is asked next.
 *
 * How: a kind is drawn by comparing 63 random bits with cumulative shares of 2^63. The end of the
 * key space is three counters. `next` is the record that the next insert gets. `limit` is how many
 * records the distributions choose from: it follows next as inserts are answered, over a ring of
 * WINDOW flags, one for each record from limit on (YCSB's AcknowledgedCounterGenerator, without its
 * lock). A flag holds the number of its lap round the ring, modulo 256, so that none must ever be
 * cleared: that would be a race with the next lap. An insert that would lie more than WINDOW past
 * the limit, or past count_max, does not get a new record: it overwrites the visible ones, from
 * record 0 on. So an insert that is not answered for long costs new records, never a wait, and no
 * answered one is ever forgotten.
 *
 * Order: setting a flag, reading flags and moving limit are sequentially consistent. Of two threads
 * that set the flags of neighbours one sees both, so the last to set a flag finds limit movable.
 *
 * Invariants
 * 1. count <= limit <= next <= count_max and next - limit <= WINDOW.
 * 2. Records < limit have been answered, or were there at the start.
 * 3. A choice of a kind other than insert is a record < limit, or RECORD_MISSING.
 * 4. A thread's choices follow from seed, thread, threads and the limits it saw.
 * Failure modes: an insert that is never answered holds limit where it is; the records behind it
 * are not asked for, and after WINDOW of them inserts overwrite. */
#include "bench/workload.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "core/assert.h"
#include "core/prefetch.h"
#include "core/random.h"

#define WINDOW     (1u << 20) /* 64 threads of 16,384 inserts under way; YCSB's is as large */
#define SHARE_ONE  (1ull << 63)
#define SEED_KINDS 0x3c6ef372fe94f82bull /* apart from the choosers' streams */

/* A counter on a cache line of its own, so that those who read one do not wait for another. */
struct line {
    _Atomic uint64_t value;
    char rest[CACHE_LINE_BYTES - sizeof(uint64_t)];
};

struct workload {
    const struct records *records;
    struct distribution distribution;
    uint64_t seed, count, count_max;
    uint64_t kind_below[OPERATION_KINDS]; /* cumulative shares */
    uint64_t missing_below;               /* share of the reads */
    _Atomic unsigned char *answered;      /* [WINDOW]; NULL if nothing is inserted */
    char rest[CACHE_LINE_BYTES];
    struct line next, limit, overwrite;
};

/* --- what the workloads are --- */

const char *const workload_names[] = {"get", "set", "mixed", "a", "b", "c", "d", "e", "f", NULL};
static_assert(sizeof workload_names / sizeof workload_names[0] == WORKLOAD_NAMES + 1, "one each");

const char *operation_name(enum operation_kind kind)
{
    static const char *const names[OPERATION_KINDS] = {"read", "update", "insert", "scan",
                                                       "read_modify_write"};
    return names[kind];
}

struct workload_mix workload_mix(enum workload_name name, double read_ratio)
{
    static const struct workload_mix mixes[WORKLOAD_NAMES] = {
        [WORKLOAD_GET] = {{[OPERATION_READ] = 1}, DISTRIBUTION_UNIFORM},
        [WORKLOAD_SET] = {{[OPERATION_UPDATE] = 1}, DISTRIBUTION_UNIFORM},
        [WORKLOAD_MIXED] = {{0}, DISTRIBUTION_UNIFORM},
        [WORKLOAD_A] = {{[OPERATION_READ] = 0.5, [OPERATION_UPDATE] = 0.5}, DISTRIBUTION_ZIPFIAN},
        [WORKLOAD_B] = {{[OPERATION_READ] = 0.95, [OPERATION_UPDATE] = 0.05}, DISTRIBUTION_ZIPFIAN},
        [WORKLOAD_C] = {{[OPERATION_READ] = 1}, DISTRIBUTION_ZIPFIAN},
        [WORKLOAD_D] = {{[OPERATION_READ] = 0.95, [OPERATION_INSERT] = 0.05}, DISTRIBUTION_LATEST},
        [WORKLOAD_E] = {{[OPERATION_SCAN] = 0.95, [OPERATION_INSERT] = 0.05}, DISTRIBUTION_ZIPFIAN},
        [WORKLOAD_F] = {{[OPERATION_READ] = 0.5, [OPERATION_READ_MODIFY_WRITE] = 0.5},
                        DISTRIBUTION_ZIPFIAN},
    };
    struct workload_mix mix = mixes[name];
    if (name == WORKLOAD_MIXED) {
        mix.share[OPERATION_READ] = read_ratio;
        mix.share[OPERATION_UPDATE] = 1 - read_ratio;
    }
    return mix;
}

bool workload_writes(const struct workload_mix *mix)
{
    return mix->share[OPERATION_UPDATE] > 0 || mix->share[OPERATION_INSERT] > 0 ||
           mix->share[OPERATION_READ_MODIFY_WRITE] > 0;
}

/* --- the shared part --- */

static uint64_t share_of_one(double share)
{
    return share >= 1 ? SHARE_ONE : share > 0 ? (uint64_t)(share * 0x1p63) : 0;
}

/* From the last kind that occurs on the sum is 1, whatever its rounding. */
static void set_kinds(struct workload *w, const double share[OPERATION_KINDS])
{
    int last = OPERATION_KINDS - 1;
    while (last > 0 && !(share[last] > 0))
        last--;
    double sum = 0;
    for (int k = 0; k < OPERATION_KINDS; k++) {
        sum += share[k];
        w->kind_below[k] = k < last ? share_of_one(sum) : SHARE_ONE;
    }
}

struct workload *workload_new(const struct workload_options *options, const struct records *records)
{
    struct workload *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    w->records = records;
    w->seed = options->seed;
    w->count = records_count(records);
    w->count_max = records_count_max(records);
    if (options->mix.share[OPERATION_INSERT] > 0) {
        w->answered = calloc(WINDOW, 1);
        if (!w->answered) {
            free(w);
            return NULL;
        }
    }
    uint64_t room = w->count_max - w->count;
    distribution_init(&w->distribution, &(struct distribution_options){
                                            .kind = options->mix.distribution,
                                            .domain = w->count + (options->inserts_expected < room
                                                                      ? options->inserts_expected
                                                                      : room),
                                            .theta = options->theta,
                                            .hot_records_share = options->hot_records_share,
                                            .hot_requests_share = options->hot_requests_share,
                                        });
    set_kinds(w, options->mix.share);
    w->missing_below = share_of_one(options->missing_ratio);
    atomic_init(&w->next.value, w->count);
    atomic_init(&w->limit.value, w->count);
    return w;
}

void workload_free(struct workload *w)
{
    if (!w)
        return;
    free(w->answered);
    free(w);
}

uint64_t workload_limit(const struct workload *w)
{
    return atomic_load_explicit(&w->limit.value, memory_order_acquire);
}

/* --- inserts --- */

/* Where the flag of a record is, and what it holds once the record is answered; 0 is before all. */
static _Atomic unsigned char *flag_of(const struct workload *w, uint64_t record,
                                      unsigned char *ret_lap)
{
    uint64_t number = record - w->count;
    *ret_lap = (unsigned char)(number / WINDOW + 1);
    return &w->answered[number % WINDOW];
}

/* The new record of an insert, or an old one to overwrite. */
static uint64_t next_insert(struct workload *w)
{
    uint64_t next = atomic_load_explicit(&w->next.value, memory_order_relaxed);
    uint64_t limit;
    do {
        limit = workload_limit(w);
        /* next may be older than limit and below it: the exchange fails then */
        if (next == w->count_max || (next >= limit && next - limit >= WINDOW))
            return atomic_fetch_add_explicit(&w->overwrite.value, 1, memory_order_relaxed) % limit;
    } while (!atomic_compare_exchange_weak_explicit(&w->next.value, &next, next + 1,
                                                    memory_order_relaxed, memory_order_relaxed));
    return next;
}

void workload_inserted(struct workload *w, uint64_t record)
{
    unsigned char lap;
    uint64_t limit = atomic_load(&w->limit.value);
    if (record < limit)
        return; /* overwritten */
    ASSERT(w->answered && record < atomic_load(&w->next.value));
    atomic_store(flag_of(w, record, &lap), lap);
    limit = atomic_load(&w->limit.value);
    while (atomic_load(flag_of(w, limit, &lap)) == lap) /* never so for limit == next */
        if (atomic_compare_exchange_strong(&w->limit.value, &limit, limit + 1))
            limit++;
}

/* --- a thread --- */

void workload_thread_init(struct workload_thread *t, struct workload *w, unsigned thread,
                          unsigned threads)
{
    t->workload = w;
    t->random = random_mix(random_mix(w->seed ^ SEED_KINDS) + thread + 1);
    chooser_init(&t->chooser, &w->distribution, w->seed, thread, threads);
}

/* 63 random bits are below a share of SHARE_ONE. */
static inline bool chance(struct workload_thread *t, uint64_t below)
{
    return random_next(&t->random) >> 1 < below;
}

enum operation_kind workload_kind(struct workload_thread *t)
{
    const uint64_t *below = t->workload->kind_below;
    if (below[0] == SHARE_ONE)
        return 0;
    uint64_t draw = random_next(&t->random) >> 1;
    unsigned kind = 0;
    for (unsigned k = 0; k + 1 < OPERATION_KINDS; k++)
        kind += draw >= below[k];
    return (enum operation_kind)kind;
}

uint64_t workload_record(struct workload_thread *t, enum operation_kind kind)
{
    struct workload *w = t->workload;
    if (kind == OPERATION_INSERT)
        return next_insert(w);
    uint64_t record = chooser_next(&t->chooser, workload_limit(w));
    if (kind == OPERATION_READ && w->missing_below != 0 && chance(t, w->missing_below))
        record |= RECORD_MISSING;
    return record;
}

unsigned workload_scan_count(struct workload_thread *t)
{
    return 1 + (unsigned)random_below(random_next(&t->random), SCAN_RECORDS_MAX);
}
