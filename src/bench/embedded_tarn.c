/* tarn in this process: a data file, a writable store in memory, or one kept in a directory.
 *
 * Failure modes: those of opening and of the store's calls; a directory that is not the bench's own
 * (mark.h); out of memory. */
#include <stdlib.h>

#include "bench/embedded.h"
#include "bench/mark.h"
#include "core/hash.h"
#include "store/store.h"

#define PUTS_MAX 256 /* records of one tarn_put_many() */

/* One thread's. */
struct thread {
    struct tarn_session *session;
};

static void close_tarn(void *store)
{
    tarn_close(store);
}

static int open_tarn(const struct os *os, const struct tarn_options *options, void **ret_store,
                     struct tarn_error *error)
{
    struct tarn *store;
    int status = store_open(os, options, &store, error);
    if (status == TARN_OK)
        *ret_store = store;
    return status;
}

static int open_file(const struct os *os, const struct embedded_options *options, void **ret_store,
                     struct tarn_error *error)
{
    return open_tarn(os,
                     &(struct tarn_options){.path = options->path,
                                            .format = records_format(options->records),
                                            .threads = options->threads,
                                            .data = options->data,
                                            .memory_bytes_max = options->memory_bytes_max,
                                            .read_depth = options->read_depth,
                                            .index_readonly = true},
                     ret_store, error);
}

static int open_memory(const struct os *os, const struct embedded_options *options,
                       void **ret_store, struct tarn_error *error)
{
    (void)options;
    return open_tarn(os, &(struct tarn_options){0}, ret_store, error);
}

static int open_directory(const struct os *os, const struct embedded_options *options,
                          void **ret_store, struct tarn_error *error)
{
    struct tarn_options tarn_options = {
        .directory = options->path, .dial = options->dial, .log_files = options->log_files};
    void *store;
    int status = mark_check(os, options->path, error);
    if (status == TARN_OK)
        status = open_tarn(os, &tarn_options, &store, error);
    if (status != TARN_OK)
        return status;
    status = mark_put(os, options->path, error);
    if (status == TARN_OK)
        *ret_store = store;
    else
        tarn_close(store);
    return status;
}

static bool is_empty(void *store)
{
    struct tarn_stats stats;
    tarn_stats_get(store, &stats);
    return stats.keys == 0;
}

static void disk_stats(void *store, struct tarn_disk_stats *ret_stats)
{
    tarn_disk_stats_get(store, ret_stats);
}

/* --- the log --- */

static void log_stats(void *store, struct tarn_log_stats *ret_stats)
{
    tarn_log_stats_get(store, ret_stats);
}

static int log_sync(void *store, struct tarn_error *error)
{
    struct tarn_log_stats stats;
    tarn_log_stats_get(store, &stats);
    if (stats.dial.durability == TARN_DURABILITY_NONE)
        return TARN_OK;
    int status = tarn_await(store, tarn_sequence(store), TARN_DURABLE, 0);
    if (status == TARN_OK)
        return TARN_OK;
    tarn_log_stats_get(store, &stats);
    return error_set(error, status, "cannot sync the log: %s",
                     *stats.failure ? stats.failure : tarn_status_text(status));
}

/* What the load left to be synced is no part of what is measured. */
static int directory_loaded(void *store, bool loading, struct tarn_error *error)
{
    return loading ? log_sync(store, error) : TARN_OK;
}

/* --- threads --- */

static int thread_open(void *store, void **ret_thread, struct tarn_error *error)
{
    struct thread *t = calloc(1, sizeof *t);
    if (!t)
        return error_set(error, TARN_NOMEM, "out of memory");
    int status = tarn_session_open(store, &t->session, error);
    if (status == TARN_OK)
        *ret_thread = t;
    else
        free(t);
    return status;
}

static void thread_close(void *thread)
{
    struct thread *t = thread;
    tarn_session_close(t->session);
    free(t);
}

int embedded_get_many(struct tarn_session *session, const struct tarn_bytes *keys, size_t count,
                      struct tarn_bytes *ret_values, struct tarn_error *error)
{
    size_t found = 1;
    int status = TARN_OK;
    tarn_quiescent(session);
    if (count > 1)
        found = tarn_get_many(session, keys, count, ret_values);
    else if ((status = tarn_get(session, keys[0], ret_values)) != TARN_OK)
        *ret_values = (struct tarn_bytes){0};
    for (size_t i = 0; i < count && count > 1 && found < count && status >= 0; i++)
        status = tarn_value_status(ret_values[i]);
    return status >= 0 ? TARN_OK
                       : error_set(error, status, "cannot get: %s", tarn_status_text(status));
}

static int get_many(void *thread, const struct tarn_bytes *keys, size_t count,
                    struct tarn_bytes *ret_values, struct tarn_error *error)
{
    return embedded_get_many(((struct thread *)thread)->session, keys, count, ret_values, error);
}

static int put_many(void *thread, const struct tarn_bytes *keys, const struct tarn_bytes *values,
                    size_t count, struct tarn_error *error)
{
    struct thread *t = thread;
    struct tarn_record records[PUTS_MAX];
    int status = TARN_OK;
    tarn_quiescent(t->session);
    for (size_t from = 0; from < count && status == TARN_OK; from += PUTS_MAX) {
        size_t size = count - from < PUTS_MAX ? count - from : PUTS_MAX;
        for (size_t i = 0; i < size; i++)
            records[i] = (struct tarn_record){keys[from + i], values[from + i], 0};
        status = tarn_put_many(t->session, records, size);
    }
    return status == TARN_OK ? TARN_OK
                             : error_set(error, status, "cannot put: %s", tarn_status_text(status));
}

static int scan(void *thread, struct tarn_bytes key, size_t count, embedded_visit visit,
                void *context, struct tarn_error *error)
{
    struct thread *t = thread;
    uint64_t cursor = hash_checksum(key.data, key.size, 0); /* it has no order: anywhere */
    tarn_quiescent(t->session);
    int status = tarn_scan(t->session, &cursor, count, visit, context);
    return status == TARN_OK
               ? TARN_OK
               : error_set(error, status, "cannot scan: %s", tarn_status_text(status));
}

const struct embedded_store embedded_file = {
    .name = "file",
    .path_required = true,
    .write_once = true,
    .open = open_file,
    .close = close_tarn,
    .thread_open = thread_open,
    .thread_close = thread_close,
    .get_many = get_many,
    .disk_stats = disk_stats,
};

const struct embedded_store embedded_memory = {
    .name = "memory",
    .open = open_memory,
    .close = close_tarn,
    .is_empty = is_empty,
    .thread_open = thread_open,
    .thread_close = thread_close,
    .get_many = get_many,
    .put_many = put_many,
    .scan = scan,
};

const struct embedded_store embedded_directory = {
    .name = "dir",
    .path_required = true,
    .open = open_directory,
    .close = close_tarn,
    .is_empty = is_empty,
    .loaded = directory_loaded,
    .thread_open = thread_open,
    .thread_close = thread_close,
    .get_many = get_many,
    .put_many = put_many,
    .scan = scan,
    .log_stats = log_stats,
    .log_sync = log_sync,
};
