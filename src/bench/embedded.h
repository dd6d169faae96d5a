/* Stores in this process, and one generator thread over one of them.
 *
 * struct embedded_store is what a store must offer to be measured: tarn's own are in this folder,
 * peers' are in bench/peers/. */
#ifndef BENCH_EMBEDDED_H
#define BENCH_EMBEDDED_H

#include "bench/phase.h"
#include "bench/tally.h"
#include "os/os.h"

typedef void (*embedded_visit)(void *context, struct tarn_bytes key, struct tarn_bytes value);

/* How a store is opened; borrowed for the call, records for as long as it is open. */
struct embedded_options {
    const char *path;              /* as given after NAME:, "" if none */
    const struct records *records; /* what will be loaded, for sizing */
    unsigned threads;              /* how many will be opened */
    struct tarn_dial dial;         /* of tarn in a directory */
    unsigned log_files;
    enum tarn_data data; /* of tarn over a data file, and the two below */
    uint64_t memory_bytes_max;
    unsigned read_depth;
};

struct embedded_store {
    const char *name; /* the word before the colon of --embedded NAME:PATH, or all of it */
    bool path_required;
    bool write_once; /* put_many() only before loaded(): a static store */
    bool one_writer; /* puts of the load come from one thread */

    /* Errors fill *error, as everywhere. */
    int (*open)(const struct os *os, const struct embedded_options *options, void **ret_store,
                struct tarn_error *error);
    void (*close)(void *store); /* removes what a load made where path was "" */
    /* Has it no records, so that it is loaded without being asked to? NULL: it may have some. */
    bool (*is_empty)(void *store);
    /* All of the load was put: build, flush, whatever makes it readable. NULL: nothing to do.
     * Called in every run before the first read, with loading false if nothing was loaded. */
    int (*loaded)(void *store, bool loading, struct tarn_error *error);

    /* On the thread itself, before its first and after its last operation; threads of the load
     * are closed before loaded(). */
    int (*thread_open)(void *store, void **ret_thread, struct tarn_error *error);
    void (*thread_close)(void *thread);

    /* Values are valid until the next call on this thread; data NULL: not there. */
    int (*get_many)(void *thread, const struct tarn_bytes *keys, size_t count,
                    struct tarn_bytes *ret_values, struct tarn_error *error);
    int (*put_many)(void *thread, const struct tarn_bytes *keys, const struct tarn_bytes *values,
                    size_t count, struct tarn_error *error); /* NULL: cannot be written */
    /* About `count` records from the one at or after key; in key order where the store has one.
     * NULL: cannot scan. */
    int (*scan)(void *thread, struct tarn_bytes key, size_t count, embedded_visit visit,
                void *context, struct tarn_error *error);

    /* Both NULL: it keeps no log. What it has written so far; and have all of it synced, which
     * without a log is nothing. */
    void (*log_stats)(void *store, struct tarn_log_stats *ret_stats);
    int (*log_sync)(void *store, struct tarn_error *error);

    /* NULL: it reads no data file. */
    void (*disk_stats)(void *store, struct tarn_disk_stats *ret_stats);
};

/* tarn itself: "memory" (a writable store), "dir" (one that is kept in a directory), a data file,
 * and "none": a store that answers every read with the right value at no cost, to see what the
 * generator alone takes. */
extern const struct embedded_store embedded_memory, embedded_directory, embedded_file,
    embedded_none;
/* "disk": a data file that a load makes, with its index, and that is then served from disk. */
extern const struct embedded_store embedded_disk;

/* get_many() of a session of tarn's. */
TARN_MUST int embedded_get_many(struct tarn_session *session, const struct tarn_bytes *keys,
                                size_t count, struct tarn_bytes *ret_values,
                                struct tarn_error *error);

/* Run one phase on this thread, whose handle thread_open() gave, in calls of phase->batch keys.
 * Closed loop, or open at phase->rate. Errors: the store's; phase->stop is set then. TARN_CANCELLED
 * when another thread stopped it. */
TARN_MUST int embedded_run(const struct os *os, const struct embedded_store *store, void *handle,
                           unsigned thread, struct phase *phase, struct tally *tally,
                           struct tarn_error *error);

#endif
