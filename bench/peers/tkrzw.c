/* tkrzw: its hash database in a file, through its C interface.
 *
 * Options: HashDBM over a memory-mapped file (MemoryMapParallelFile), twice as many buckets as
 * records, updates in place; the rest as by default: no checksums, no compression, nothing synced.
 * It has no look-up of many keys that would cost less than as many look-ups of one, so that a call
 * is a loop. A value is seen by a callback while its record is locked, and copied into the thread's
 * buffer there, which is cheaper than the copy in memory of its own that tkrzw_dbm_get() makes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tkrzw_langc.h>

#include "peers/peer.h"

struct store {
    struct peer_directory directory;
    TkrzwDBM *db;
};

struct thread {
    struct store *store;
    char *buffer; /* values of the last call, one after the other */
    size_t used, capacity;
    size_t *sizes; /* of each value; MISSING */
    size_t sizes_count, sizes_capacity;
    bool no_memory;
};

#define MISSING SIZE_MAX

static int fail(struct tarn_error *error, const char *what)
{
    return peer_error(error, "tkrzw", what, tkrzw_get_last_status_message());
}

static void close_store(void *store)
{
    struct store *s = store;
    if (s->db)
        tkrzw_dbm_close(s->db);
    peer_directory_close(&s->directory);
    free(s);
}

static int open_store(const struct os *os, const struct embedded_options *options, void **ret_store,
                      struct tarn_error *error)
{
    char file[PEER_PATH_BYTES], parameters[256];
    struct store *s = calloc(1, sizeof *s);

    (void)os;
    if (!s)
        return error_set(error, TARN_NOMEM, "out of memory");
    int status = peer_directory_open(&s->directory, "tkrzw", options->path, error);
    if (status != TARN_OK) {
        free(s);
        return status;
    }
    peer_directory_file(&s->directory, "data.tkh", file);
    snprintf(parameters, sizeof parameters,
             "dbm=HashDBM,file=MemoryMapParallelFile,update_mode=UPDATE_IN_PLACE,num_buckets=%ju",
             (uintmax_t)(2 * records_count(options->records)));
    s->db = tkrzw_dbm_open(file, true, parameters);
    if (!s->db) {
        status = fail(error, file);
        close_store(s);
        return status;
    }
    *ret_store = s;
    return TARN_OK;
}

static int open_thread(void *store, void **ret_thread, struct tarn_error *error)
{
    struct thread *t = calloc(1, sizeof *t);
    if (!t)
        return error_set(error, TARN_NOMEM, "out of memory");
    t->store = store;
    *ret_thread = t;
    return TARN_OK;
}

static void close_thread(void *thread)
{
    struct thread *t = thread;
    free(t->buffer);
    free(t->sizes);
    free(t);
}

/* Called by tkrzw with the record locked: copy its value. value NULL: there is no such record. */
static const char *take(void *context, const char *key, int32_t key_bytes, const char *value,
                        int32_t value_bytes, int32_t *new_bytes)
{
    struct thread *t = context;
    size_t size = value ? (size_t)value_bytes : 0;
    size_t want = t->used + size > t->capacity ? 2 * (t->used + size) : t->capacity;

    (void)key, (void)key_bytes, (void)new_bytes;
    if (peer_grow(&t->buffer, &t->capacity, want, 1, NULL) != TARN_OK) {
        t->no_memory = true;
        return TKRZW_REC_PROC_NOOP;
    }
    if (size)
        memcpy(t->buffer + t->used, value, size);
    t->used += size;
    t->sizes[t->sizes_count++] = value ? size : MISSING;
    return TKRZW_REC_PROC_NOOP;
}

/* The buffer has stopped moving: now views into it can be handed out. */
static void hand_out(const struct thread *t, struct tarn_bytes *ret_values)
{
    const char *at = t->buffer;

    for (size_t i = 0; i < t->sizes_count; i++) {
        ret_values[i] = (struct tarn_bytes){0};
        if (t->sizes[i] == MISSING)
            continue;
        ret_values[i] = (struct tarn_bytes){at ? at : "", t->sizes[i]};
        at += t->sizes[i];
    }
}

static int get_many(void *thread, const struct tarn_bytes *keys, size_t count,
                    struct tarn_bytes *ret_values, struct tarn_error *error)
{
    struct thread *t = thread;
    int status = peer_grow(&t->sizes, &t->sizes_capacity, count, sizeof *t->sizes, error);

    t->used = t->sizes_count = 0;
    for (size_t i = 0; status == TARN_OK && i < count; i++) {
        if (!tkrzw_dbm_process(t->store->db, keys[i].data, (int32_t)keys[i].size, take, t, false))
            status = fail(error, "process");
        else if (t->no_memory)
            status = error_set(error, TARN_NOMEM, "out of memory");
    }
    if (status == TARN_OK)
        hand_out(t, ret_values);
    return status;
}

static int put_many(void *thread, const struct tarn_bytes *keys, const struct tarn_bytes *values,
                    size_t count, struct tarn_error *error)
{
    struct thread *t = thread;

    for (size_t i = 0; i < count; i++)
        if (!tkrzw_dbm_set(t->store->db, keys[i].data, (int32_t)keys[i].size, values[i].data,
                           (int32_t)values[i].size, true))
            return fail(error, "set");
    return TARN_OK;
}

const struct embedded_store peer_tkrzw = {
    .name = "tkrzw",
    .open = open_store,
    .close = close_store,
    .thread_open = open_thread,
    .thread_close = close_thread,
    .get_many = get_many,
    .put_many = put_many,
};
