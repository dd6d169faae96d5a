/* growth: what a writable store takes of memory, and how long its calls take while it grows, while
 * everything is deleted, and while much expires at one instant. bench/growth runs it.
 *
 *     growth memory KEYS [expiring]       bytes in use and resident with KEYS keys
 *     growth grow FROM TO                 latencies at rest with FROM and TO keys, and between
 *     growth flush KEYS                   ... while tarn_flush() deletes KEYS keys
 *     growth expire KEYS                  ... while KEYS keys expire at one instant, among a tenth
 *                                         as many others
 *     growth resp-flush KEYS PORT         the same of a server on this machine, over one connection
 *     growth resp-expire KEYS PORT
 *
 * Keys and values of 16 bytes. A reader and a writer, a thread each (on two cores one thread is
 * both while the store's own is busy), call as fast as they can and time each call; over RESP one
 * client does both in turn. Prints one JSON object: for each phase and thread the calls, their
 * quantiles and the longest in ns; "longest_own" leaves out calls during which the system took the
 * processor away from the thread. */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "core/histogram.h"
#include "grow/growth.h"

enum { BATCH = 64, PROBE_MS = 2000, PHASES_MAX = 4 };
#define LONG_NS 5000 /* look whether the processor was taken away */

void growth_fail(const char *what)
{
    fprintf(stderr, "growth: %s\n", what);
    exit(1);
}

uint64_t growth_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void growth_sleep_ms(unsigned ms)
{
    nanosleep(&(struct timespec){ms / 1000, (long)(ms % 1000) * 1000000}, NULL);
}

void growth_key(uint64_t i, char out[GROWTH_KEY_BYTES])
{
    static const char hex[] = "0123456789abcdef";
    uint64_t bits = i * 0x9e3779b97f4a7c15u; /* odd: all are different */
    for (int n = 0; n < GROWTH_KEY_BYTES; n++, bits >>= 4)
        out[n] = hex[bits & 15];
}

uint64_t growth_random(uint64_t *state)
{
    uint64_t x = *state += 0x9e3779b97f4a7c15u; /* splitmix64 */
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

/* --- timing calls --- */

static long taken_away(void)
{
    struct rusage usage;
    getrusage(RUSAGE_THREAD, &usage);
    return usage.ru_nivcsw;
}

void growth_timer_start(struct growth_timer *t)
{
    t->taken_away = taken_away();
    t->last_ns = growth_now_ns();
}

void growth_timer_lap(struct growth_timer *t, struct growth_figures *into)
{
    uint64_t now_ns = growth_now_ns(), took_ns = now_ns - t->last_ns;
    histogram_record(into->calls, took_ns, 1);
    t->last_ns = now_ns;
    if (took_ns < LONG_NS)
        return;
    long before = t->taken_away;
    t->taken_away = taken_away();
    if (before == t->taken_away && took_ns > into->longest_own_ns)
        into->longest_own_ns = took_ns;
    t->last_ns = growth_now_ns(); /* without the time to ask */
}

void growth_figures_init(struct growth_figures *f)
{
    f->calls = histogram_new();
    f->longest_own_ns = 0;
    if (f->calls == NULL)
        growth_fail("out of memory");
}

void growth_figures_print(const char *name, struct growth_figures *f)
{
    printf("\"%s\":{\"calls\":%" PRIu64 ",\"p50\":%" PRIu64 ",\"p99\":%" PRIu64 ",\"p999\":%" PRIu64
           ",\"longest\":%" PRIu64 ",\"longest_own\":%" PRIu64 "}",
           name, histogram_count(f->calls), histogram_quantile(f->calls, 0.5),
           histogram_quantile(f->calls, 0.99), histogram_quantile(f->calls, 0.999),
           histogram_max(f->calls), f->longest_own_ns);
    histogram_free(f->calls);
}

/* --- the store --- */

struct world {
    struct tarn *store;
    _Atomic uint64_t keys;  /* how many there are, keys 0 and on */
    uint64_t keys_max;      /* the writer adds keys up to so many; else it writes old ones anew */
    _Atomic unsigned phase; /* where calls are counted */
    _Atomic bool grows, stops; /* what the writer is to do */
    struct growth_figures reads[PHASES_MAX], writes[PHASES_MAX];
};

static struct tarn_session *open_session(struct world *w)
{
    struct tarn_session *session;
    if (tarn_session_open(w->store, &session, NULL) != TARN_OK)
        growth_fail("cannot open a session");
    return session;
}

/* Keys from..to - 1. */
static void load(struct world *w, uint64_t from, uint64_t to, int64_t expire_ms)
{
    struct tarn_session *session = open_session(w);
    char keys[BATCH][GROWTH_KEY_BYTES];
    struct tarn_record records[BATCH];
    for (uint64_t i = from; i < to;) {
        size_t count = 0;
        for (; count < BATCH && i < to; count++, i++) {
            growth_key(i, keys[count]);
            struct tarn_bytes key = {keys[count], GROWTH_KEY_BYTES};
            records[count] = (struct tarn_record){key, key, expire_ms};
        }
        if (tarn_put_many(session, records, count) != TARN_OK)
            growth_fail("cannot load: out of memory");
        tarn_quiescent(session);
    }
    tarn_session_close(session);
    atomic_store(&w->keys, to);
}

/* Until what was taken out is free. */
static uint64_t settle(struct world *w)
{
    struct tarn_stats stats;
    uint64_t start_ns = growth_now_ns();
    for (;;) {
        tarn_stats_get(w->store, &stats);
        if (stats.limbo_bytes == 0)
            return growth_now_ns() - start_ns;
        growth_sleep_ms(1);
    }
}

/* What a thread needs to call and time. */
struct caller {
    struct world *world;
    struct tarn_session *session;
    struct growth_timer timer;
    uint64_t random;
};

static void read_once(struct caller *c)
{
    struct world *w = c->world;
    char text[GROWTH_KEY_BYTES];
    struct tarn_bytes value;
    uint64_t keys = atomic_load_explicit(&w->keys, memory_order_acquire);
    growth_key(growth_random(&c->random) % keys, text);
    if (tarn_get(c->session, (struct tarn_bytes){text, sizeof text}, &value) == TARN_OK &&
        memcmp(value.data, text, sizeof text) != 0)
        growth_fail("a wrong value");
    tarn_quiescent(c->session);
    growth_timer_lap(&c->timer, &w->reads[atomic_load(&w->phase)]);
}

static void write_once(struct caller *c)
{
    struct world *w = c->world;
    uint64_t keys = atomic_load_explicit(&w->keys, memory_order_relaxed);
    bool grows = atomic_load(&w->grows) && keys < w->keys_max;
    char text[GROWTH_KEY_BYTES];
    growth_key(grows ? keys : growth_random(&c->random) % keys, text);
    struct tarn_bytes bytes = {text, sizeof text};
    if (tarn_put(c->session, bytes, bytes, 0) != TARN_OK)
        growth_fail("cannot put: out of memory");
    tarn_quiescent(c->session);
    if (grows)
        atomic_store_explicit(&w->keys, keys + 1, memory_order_release);
    growth_timer_lap(&c->timer, &w->writes[atomic_load(&w->phase)]);
}

static void call_on(struct world *w, bool reads, bool writes)
{
    struct caller c = {.world = w, .session = open_session(w), .random = reads};
    growth_timer_start(&c.timer);
    while (!atomic_load_explicit(&w->stops, memory_order_relaxed)) {
        if (reads)
            read_once(&c);
        if (writes)
            write_once(&c);
    }
    tarn_session_close(c.session);
}

static void *read_on(void *world)
{
    call_on(world, true, false);
    return NULL;
}

static void *write_on(void *world)
{
    call_on(world, false, true);
    return NULL;
}

static void *read_and_write_on(void *world)
{
    call_on(world, true, true);
    return NULL;
}

/* --- phases --- */

static void world_open(struct world *w)
{
    *w = (struct world){.keys = 0};
    if (tarn_open(&(struct tarn_options){.path = NULL}, &w->store, NULL) != TARN_OK)
        growth_fail("cannot open a store");
    for (int i = 0; i < PHASES_MAX; i++) {
        growth_figures_init(&w->reads[i]);
        growth_figures_init(&w->writes[i]);
    }
}

struct probes {
    pthread_t threads[2];
    int count;
};

/* A reader and a writer, or one thread that is both: where there are no more than two cores, the
 * store's own thread, which has much to do, needs the other. */
static void probes_start(struct world *w, struct probes *p, bool store_is_busy)
{
    void *(*const both[])(void *) = {read_on, write_on},
                               *(*const one[])(void *) = {read_and_write_on};
    bool alone = store_is_busy && sysconf(_SC_NPROCESSORS_ONLN) < 3;
    p->count = alone ? 1 : 2;
    for (int i = 0; i < p->count; i++)
        if (pthread_create(&p->threads[i], NULL, alone ? one[i] : both[i], w) != 0)
            growth_fail("cannot start a thread");
}

static void probes_stop(struct world *w, struct probes *p)
{
    atomic_store(&w->stops, true);
    for (int i = 0; i < p->count; i++)
        pthread_join(p->threads[i], NULL);
}

static void print_phases(struct world *w, const char *const names[])
{
    printf("\"phases\":{");
    for (int i = 0; names[i] != NULL; i++) {
        printf("%s\"%s\":{", i > 0 ? "," : "", names[i]);
        growth_figures_print("reads", &w->reads[i]);
        putchar(',');
        growth_figures_print("writes", &w->writes[i]);
        putchar('}');
    }
    printf("}}\n");
}

static uint64_t resident_bytes(void)
{
    unsigned long total, resident;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL || fscanf(file, "%lu %lu", &total, &resident) != 2)
        growth_fail("cannot read /proc/self/statm");
    fclose(file);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void measure_memory(uint64_t keys, bool expiring)
{
    struct world w;
    world_open(&w);
    load(&w, 0, 1, 0); /* what is there from the first key on */
    uint64_t used = tarn_memory_used(w.store), resident = resident_bytes();
    uint64_t start_ns = growth_now_ns();
    load(&w, 1, keys + 1, expiring ? tarn_now_ms(w.store) + 86400000 : 0);
    uint64_t took_ns = growth_now_ns() - start_ns;
    settle(&w);
    printf("{\"keys\":%" PRIu64 ",\"data_bytes\":%" PRIu64 ",\"used_bytes\":%" PRIu64
           ",\"resident_bytes\":%" PRIu64 ",\"load_ns\":%" PRIu64 "}\n",
           keys, keys * 2 * GROWTH_KEY_BYTES, tarn_memory_used(w.store) - used,
           resident_bytes() - resident, took_ns);
}

static void measure_growth(uint64_t from, uint64_t to)
{
    struct world w;
    struct probes probes;
    world_open(&w);
    w.keys_max = to;
    load(&w, 0, from, 0);
    probes_start(&w, &probes, false);
    growth_sleep_ms(PROBE_MS);
    atomic_store(&w.phase, 1);
    atomic_store(&w.grows, true);
    uint64_t start_ns = growth_now_ns();
    while (atomic_load(&w.keys) < to)
        growth_sleep_ms(1);
    uint64_t took_ns = growth_now_ns() - start_ns;
    atomic_store(&w.phase, 2);
    growth_sleep_ms(PROBE_MS);
    probes_stop(&w, &probes);
    printf("{\"from\":%" PRIu64 ",\"to\":%" PRIu64 ",\"grow_ns\":%" PRIu64 ",", from, to, took_ns);
    print_phases(&w, (const char *const[]){"rest", "growth", "rest after", NULL});
}

static void measure_flush(uint64_t keys)
{
    struct world w;
    struct probes probes;
    world_open(&w);
    load(&w, 0, keys, 0);
    struct tarn_session *session = open_session(&w);
    tarn_offline(session);
    probes_start(&w, &probes, true);
    growth_sleep_ms(PROBE_MS);
    atomic_store(&w.phase, 1);
    tarn_online(session);
    uint64_t start_ns = growth_now_ns();
    if (tarn_flush(session) != TARN_OK)
        growth_fail("cannot flush");
    uint64_t flush_ns = growth_now_ns() - start_ns;
    tarn_session_close(session);
    growth_sleep_ms(PROBE_MS);
    probes_stop(&w, &probes);
    uint64_t free_ns = growth_now_ns() - start_ns + settle(&w);
    printf("{\"keys\":%" PRIu64 ",\"flush_ns\":%" PRIu64 ",\"freed_at_most_ns\":%" PRIu64 ",", keys,
           flush_ns, free_ns);
    print_phases(&w, (const char *const[]){"rest", "flush", NULL});
}

/* When keys that are loaded now, at `ns_per_key` perhaps, can all expire. */
int64_t growth_expiry_ms(int64_t now_ms, uint64_t keys, uint64_t ns_per_key)
{
    return now_ms + PROBE_MS + 2000 + (int64_t)(keys * ns_per_key / 1000000);
}

static void measure_expiry(uint64_t keys)
{
    struct world w;
    struct probes probes;
    struct tarn_stats stats;
    uint64_t lasting = keys / 10 > 0 ? keys / 10 : 1, lag_ms = 0;
    world_open(&w);
    load(&w, 0, lasting, 0);
    int64_t expire_ms = growth_expiry_ms(tarn_now_ms(w.store), keys, 1000);
    load(&w, lasting, lasting + keys, expire_ms);
    tarn_stats_get(w.store, &stats);
    if (stats.expiring < keys || tarn_now_ms(w.store) > expire_ms - PROBE_MS)
        growth_fail("loading took too long on this machine");
    atomic_store(&w.keys, lasting); /* who writes a key would take its expiry away */
    probes_start(&w, &probes, true);
    while (tarn_now_ms(w.store) < expire_ms)
        growth_sleep_ms(1);
    atomic_store(&w.phase, 1);
    uint64_t start_ns = growth_now_ns();
    do {
        growth_sleep_ms(1);
        tarn_stats_get(w.store, &stats);
        lag_ms = stats.expired_lag_ms > lag_ms ? stats.expired_lag_ms : lag_ms;
    } while (stats.expiring > 0 || stats.limbo_bytes > 64 << 20);
    uint64_t took_ns = growth_now_ns() - start_ns;
    growth_sleep_ms(PROBE_MS / 4);
    probes_stop(&w, &probes);
    printf("{\"keys\":%" PRIu64 ",\"freed_ns\":%" PRIu64 ",\"lag_ms\":%" PRIu64 ",", keys, took_ns,
           lag_ms);
    print_phases(&w, (const char *const[]){"rest", "expiry", NULL});
}

static uint64_t number(const char *text)
{
    char *end;
    uint64_t n = strtoull(text, &end, 10);
    if (*end != 0 || n == 0)
        growth_fail("a number is expected");
    return n;
}

int main(int argc, char **argv)
{
    const char *mode = argc > 2 ? argv[1] : "";
    uint64_t keys = argc > 2 ? number(argv[2]) : 0;
    if (strcmp(mode, "memory") == 0)
        measure_memory(keys, argc > 3);
    else if (strcmp(mode, "grow") == 0 && argc == 4)
        measure_growth(keys, number(argv[3]));
    else if (strcmp(mode, "flush") == 0)
        measure_flush(keys);
    else if (strcmp(mode, "expire") == 0)
        measure_expiry(keys);
    else if (strcmp(mode, "resp-flush") == 0 && argc == 4)
        growth_resp_flush(keys, (uint16_t)number(argv[3]));
    else if (strcmp(mode, "resp-expire") == 0 && argc == 4)
        growth_resp_expire(keys, (uint16_t)number(argv[3]));
    else
        growth_fail(
            "growth memory|grow|flush|expire|resp-flush|resp-expire: see bench/grow/growth.c");
    return 0; /* the system is quicker at freeing gigabytes */
}
