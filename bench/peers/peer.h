/* What bench/embedded.c measures: a peer is one way to look keys up inside this process.
 *
 * A workload is the same for all peers: the records of a data file (mapped, borrowed) and the list
 * of keys to ask for, shuffled once and copied out in that order, so that choosing and fetching a
 * key is a sequential read. Each peer walks the list in its own loop (no call through a pointer
 * per key) and hands each value to workload_take(), which is where values are touched, copied or
 * checked; one code path serves all three. */
#ifndef BENCH_PEERS_PEER_H
#define BENCH_PEERS_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct record {
    const char *key, *value;
    uint32_t key_bytes, value_bytes;
};

enum take {
    TAKE_TOUCH, /* read the first 8 bytes of the value */
    TAKE_COPY,  /* copy the value out */
    TAKE_CHECK, /* compare it with the data file */
};

struct workload {
    const char *path;             /* the text data file, as given */
    const char *binary_path;      /* the same records in the binary format, or NULL */
    const char *directory;        /* where peers may build their files */
    const struct record *records; /* in file order */
    size_t count;
    const uint32_t *order; /* the i-th key asked for is records[order[i]] */
    const char *keys;      /* in that order: u16 size, bytes, u16 size, bytes ... */
    char *scratch;         /* at least the largest value's size + 8 */
    uint64_t sum;          /* of what was touched: keeps the reads alive */
    uint64_t wrong;        /* missing or different values */
};

struct peer {
    const char *name;
    const char *build_name; /* what `open` times into *ret_build_seconds; NULL: nothing */
    /* Build what is needed from the records and open it; NULL: not asked for. Ends the program on
     * failure. With open and close NULL the peer uses the handle of the one before it. */
    void *(*open)(struct workload *workload, double *ret_build_seconds);
    /* Ask for every key of the list once. */
    void (*pass)(void *handle, struct workload *workload, enum take take);
    void (*close)(void *handle);
};

extern const struct peer peer_list_alone, peer_tarn_text_many, peer_tarn_text_get,
    peer_tarn_binary_many, peer_tarn_binary_get, peer_lmdb, peer_cdb;

/* The key at `at` of the list; *at moves to the next. */
static inline const char *workload_key(const char **at, size_t *ret_size)
{
    uint16_t size;
    memcpy(&size, *at, sizeof(size));
    const char *key = *at + sizeof(size);
    *ret_size = size;
    *at = key + size;
    return key;
}

/* The i-th answer; data is NULL where there was none. */
static inline void workload_take(struct workload *w, size_t i, enum take take, const void *data,
                                 size_t size)
{
    uint64_t head = 0;

    if (!data) {
        w->wrong++;
        return;
    }
    if (take == TAKE_COPY) {
        memcpy(w->scratch, data, size);
        data = w->scratch;
        __asm__ volatile("" : : "r"(data) : "memory"); /* the copy is wanted */
    } else if (take == TAKE_CHECK) {
        const struct record *r = &w->records[w->order[i]];
        w->wrong += size != r->value_bytes || memcmp(data, r->value, size) != 0;
    }
    if (size >= sizeof(head))
        memcpy(&head, data, sizeof(head));
    else
        memcpy(&head, data, size);
    w->sum += head;
}

/* Monotonic clock, seconds. */
double bench_now(void);

#endif
