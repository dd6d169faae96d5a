/* embedded: the cost of a lookup inside one process, one thread, against LMDB and tinycdb.
 *
 *     embedded [--repetitions N] [--directory DIR] [--build-only] TEXT_FILE [BINARY_FILE]
 *
 * TEXT_FILE: records "key value\n". BINARY_FILE: the same records as u32 little-endian sizes.
 * All peers are built and opened, and each is first made to answer for every key with every value
 * compared to the file (which also warms it). Then each repetition runs, for every peer, one pass
 * over all keys in the same shuffled order that touches the values and one that copies them out.
 * --build-only: build tinycdb's file only and report how long that took.
 * The result is JSON on stdout, in ns of processor time per key (no peer waits for anything); "list
 * alone" is the cost of the loop and the key list without any lookup (it is part of every other
 * figure, not subtracted).
 *
 * Failure modes: any error or wrong value ends the program with a message and status 1. */
#include <err.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "peers/peer.h"

enum { REPETITIONS_MAX = 99 };

static double clock_seconds(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

double bench_now(void)
{
    return clock_seconds(CLOCK_MONOTONIC);
}

/* Processor time of this thread: what other programs take of a shared core is not counted. */
static double cpu_now(void)
{
    return clock_seconds(CLOCK_THREAD_CPUTIME_ID);
}

static void *allocate(size_t count, size_t size)
{
    void *memory = calloc(count ? count : 1, size);
    if (!memory)
        err(1, "cannot allocate %zu x %zu bytes", count, size);
    return memory;
}

static uint64_t random_next(uint64_t *state) /* splitmix64 */
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* Map the text file and list its records. */
static void read_records(struct workload *w)
{
    int fd = open(w->path, O_RDONLY | O_CLOEXEC);
    struct stat status;
    size_t lines = 0, value_bytes_max = 0;

    if (fd < 0 || fstat(fd, &status))
        err(1, "%s", w->path);
    size_t size = (size_t)status.st_size;
    const char *start = size ? mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;
    if (start == MAP_FAILED)
        err(1, "%s: cannot map", w->path);
    close(fd); /* the mapping stays: records point into it */
    const char *end = start + size;
    for (const char *at = start; (at = memchr(at, '\n', (size_t)(end - at))); at++)
        lines++;
    struct record *records = allocate(lines, sizeof(*records));
    for (const char *at = start; w->count < lines; w->count++) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        const char *space = memchr(at, ' ', (size_t)(line_end - at));
        if (!space || space - at > UINT16_MAX)
            errx(1, "record %zu: no separator or too long a key", w->count);
        records[w->count] = (struct record){at, space + 1, (uint32_t)(space - at),
                                            (uint32_t)(line_end - space - 1)};
        if (records[w->count].value_bytes > value_bytes_max)
            value_bytes_max = records[w->count].value_bytes;
        at = line_end + 1;
    }
    w->records = records;
    w->scratch = allocate(value_bytes_max + 8, 1);
    if (w->count == 0 || w->count > UINT32_MAX)
        errx(1, "%s: %zu records", w->path, w->count);
}

/* Shuffle, and copy the keys out in that order. */
static void make_order(struct workload *w)
{
    uint32_t *order = allocate(w->count, sizeof(*order));
    uint64_t seed = 1;
    size_t bytes = 0;

    for (size_t i = 0; i < w->count; i++) {
        order[i] = (uint32_t)i;
        bytes += sizeof(uint16_t) + w->records[i].key_bytes;
    }
    for (size_t i = w->count; i > 1; i--) { /* Fisher-Yates */
        size_t j = random_next(&seed) % i;
        uint32_t swap = order[i - 1];
        order[i - 1] = order[j];
        order[j] = swap;
    }
    char *keys = allocate(bytes, 1), *at = keys;
    for (size_t i = 0; i < w->count; i++) {
        const struct record *r = &w->records[order[i]];
        uint16_t size = (uint16_t)r->key_bytes;
        memcpy(at, &size, sizeof(size));
        memcpy(at + sizeof(size), r->key, size);
        at += sizeof(size) + size;
    }
    w->order = order;
    w->keys = keys;
}

static void *open_nothing(struct workload *w, double *ret_seconds)
{
    *ret_seconds = 0;
    return w;
}

/* Not a peer: what the loop costs without a lookup. "Values" are the keys themselves. */
static void pass_list(void *handle, struct workload *w, enum take take)
{
    const char *at = w->keys;

    (void)handle;
    for (size_t i = 0; i < w->count; i++) {
        size_t size;
        const char *key = workload_key(&at, &size);
        if (take == TAKE_TOUCH)
            workload_take(w, i, take, key, size);
    }
}

static void close_nothing(void *handle)
{
    (void)handle;
}

const struct peer peer_list_alone = {"list alone", NULL, open_nothing, pass_list, close_nothing};

static const struct peer *const peers[] = {&peer_list_alone,
                                           &peer_tarn_text_many,
                                           &peer_tarn_text_get,
                                           &peer_tarn_binary_many,
                                           &peer_tarn_binary_get,
                                           &peer_lmdb,
                                           &peer_cdb};
enum { PEERS = sizeof(peers) / sizeof(*peers) };

struct result {
    void *handle;
    double ns[2][REPETITIONS_MAX]; /* by take: touch, copy */
};

static void print_row(const char *name, const struct result *result, size_t repetitions, bool last)
{
    static const char *const takes[] = {"touch_ns", "copy_ns"};

    printf("  {\"name\": \"%s\"", name);
    for (int take = 0; take < 2; take++) {
        printf(", \"%s\": [", takes[take]);
        for (size_t i = 0; i < repetitions; i++)
            printf("%s%.2f", i ? ", " : "", result->ns[take][i]);
        printf("]");
    }
    printf("}%s\n", last ? "" : ",");
}

static void open_all(struct workload *w, struct result *results)
{
    const char *comma = "";

    printf("{\"keys\": %zu, \"builds\": {", w->count);
    for (int i = 0; i < PEERS; i++) {
        double seconds = 0;
        results[i].handle = peers[i]->open ? peers[i]->open(w, &seconds) : results[i - 1].handle;
        if (!results[i].handle)
            continue;
        if (peers[i]->build_name) {
            printf("%s\n  \"%s\": %.3f", comma, peers[i]->build_name, seconds);
            comma = ",";
        }
        w->wrong = 0;
        peers[i]->pass(results[i].handle, w, TAKE_CHECK);
        if (w->wrong)
            errx(1, "%s: %ju of %zu values are wrong", peers[i]->name, (uintmax_t)w->wrong,
                 w->count);
    }
    printf("},\n \"rows\": [\n");
}

static void measure(struct workload *w, size_t repetitions)
{
    struct result *results = allocate(PEERS, sizeof(*results));
    int last = 0;

    open_all(w, results);
    for (size_t r = 0; r < repetitions; r++)
        for (int i = 0; i < PEERS; i++)
            for (int take = TAKE_TOUCH; take <= TAKE_COPY && results[i].handle; take++) {
                double start = cpu_now();
                peers[i]->pass(results[i].handle, w, take);
                results[i].ns[take][r] = (cpu_now() - start) * 1e9 / (double)w->count;
            }
    if (w->wrong)
        errx(1, "%ju values went missing", (uintmax_t)w->wrong);
    for (int i = 0; i < PEERS; i++)
        last = results[i].handle ? i : last;
    for (int i = 0; i < PEERS; i++)
        if (results[i].handle) {
            print_row(peers[i]->name, &results[i], repetitions, i == last);
            if (peers[i]->close)
                peers[i]->close(results[i].handle);
        }
    printf(" ], \"sum\": %ju}\n", (uintmax_t)w->sum);
    free(results);
}

static void build_only(struct workload *w)
{
    double seconds = 0;
    void *handle = peer_cdb.open(w, &seconds);
    peer_cdb.close(handle);
    printf("{\"keys\": %zu, \"seconds\": %.3f}\n", w->count, seconds);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"repetitions", 1, 0, 'r'}, {"directory", 1, 0, 'd'}, {"build-only", 0, 0, 'b'}, {0}};
    struct workload w = {.directory = "."};
    long repetitions = 7;
    bool only = false;

    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;)
        if (option == 'r')
            repetitions = strtol(optarg, NULL, 10);
        else if (option == 'd')
            w.directory = optarg;
        else if (option == 'b')
            only = true;
        else
            return 2;
    if (optind >= argc || argc > optind + 2 || repetitions < 1 || repetitions > REPETITIONS_MAX)
        errx(2, "usage: embedded [--repetitions N] [--directory DIR] [--build-only] "
                "TEXT_FILE [BINARY_FILE]");
    w.path = argv[optind];
    w.binary_path = argv[optind + 1];
    read_records(&w);
    make_order(&w);
    if (only)
        build_only(&w);
    else
        measure(&w, (size_t)repetitions);
    return 0;
}
