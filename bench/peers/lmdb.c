/* LMDB: one environment of one unnamed database.
 *
 * Options: MDB_NOSYNC (nothing waits for the disk), MDB_NORDAHEAD, MDB_NOTLS (a thread may read and
 * write), a map of four times the data and at least 4 GiB. A call to read is one read transaction,
 * renewed, not begun anew; a call to write is one write transaction. Values are views into the map.
 *
 * A thread's read transaction stays live until its next call, because the values it gave are valid
 * until then; meanwhile pages that others free are not used again. */
#include <lmdb.h>
#include <stdlib.h>

#include "peers/peer.h"

#define MAP_BYTES_MIN (4ull << 30)

struct store {
    struct peer_directory directory;
    MDB_env *env;
    MDB_dbi db;
};

struct thread {
    struct store *store;
    MDB_txn *read;
    bool live;
};

static int fail(struct tarn_error *error, const char *what, int code)
{
    return peer_error(error, "LMDB", what, mdb_strerror(code));
}

static int open_database(struct store *s, struct tarn_error *error)
{
    MDB_txn *txn;
    int code = mdb_txn_begin(s->env, NULL, 0, &txn);
    if (code)
        return fail(error, "begin", code);
    code = mdb_dbi_open(txn, NULL, 0, &s->db);
    if (code) {
        mdb_txn_abort(txn);
        return fail(error, "open the database", code);
    }
    code = mdb_txn_commit(txn);
    return code ? fail(error, "commit", code) : TARN_OK;
}

static void close_store(void *store)
{
    struct store *s = store;
    if (s->env)
        mdb_env_close(s->env);
    peer_directory_close(&s->directory);
    free(s);
}

static int open_store(const struct os *os, const struct embedded_options *options, void **ret_store,
                      struct tarn_error *error)
{
    uint64_t bytes =
        4 * (records_data_bytes(options->records) + 64 * records_count(options->records));
    struct store *s = calloc(1, sizeof *s);
    int code, status;

    (void)os;
    if (!s)
        return error_set(error, TARN_NOMEM, "out of memory");
    status = peer_directory_open(&s->directory, "lmdb", options->path, error);
    if (status != TARN_OK) {
        free(s);
        return status;
    }
    if ((code = mdb_env_create(&s->env)) ||
        (code = mdb_env_set_mapsize(s->env, bytes > MAP_BYTES_MIN ? bytes : MAP_BYTES_MIN)) ||
        (code = mdb_env_set_maxreaders(s->env, options->threads + 8)) ||
        (code =
             mdb_env_open(s->env, s->directory.path, MDB_NORDAHEAD | MDB_NOSYNC | MDB_NOTLS, 0666)))
        status = fail(error, s->directory.path, code);
    else
        status = open_database(s, error);
    if (status != TARN_OK)
        close_store(s);
    else
        *ret_store = s;
    return status;
}

static int open_thread(void *store, void **ret_thread, struct tarn_error *error)
{
    struct thread *t = calloc(1, sizeof *t);
    if (!t)
        return error_set(error, TARN_NOMEM, "out of memory");
    t->store = store;
    int code = mdb_txn_begin(t->store->env, NULL, MDB_RDONLY, &t->read);
    if (code) {
        free(t);
        return fail(error, "begin", code);
    }
    mdb_txn_reset(t->read);
    *ret_thread = t;
    return TARN_OK;
}

static void close_thread(void *thread)
{
    struct thread *t = thread;
    mdb_txn_abort(t->read);
    free(t);
}

static void end_read(struct thread *t)
{
    if (t->live)
        mdb_txn_reset(t->read);
    t->live = false;
}

static int begin_read(struct thread *t, struct tarn_error *error)
{
    end_read(t);
    int code = mdb_txn_renew(t->read);
    if (code)
        return fail(error, "renew", code);
    t->live = true;
    return TARN_OK;
}

static MDB_val val_of(struct tarn_bytes bytes)
{
    return (MDB_val){bytes.size, (void *)(uintptr_t)bytes.data};
}

static struct tarn_bytes bytes_of_val(MDB_val val)
{
    return (struct tarn_bytes){val.mv_data, val.mv_size};
}

static int get_many(void *thread, const struct tarn_bytes *keys, size_t count,
                    struct tarn_bytes *ret_values, struct tarn_error *error)
{
    struct thread *t = thread;
    int status = begin_read(t, error);

    for (size_t i = 0; status == TARN_OK && i < count; i++) {
        MDB_val key = val_of(keys[i]), value = {0};
        int code = mdb_get(t->read, t->store->db, &key, &value);
        if (code == MDB_NOTFOUND)
            value = (MDB_val){0};
        else if (code)
            status = fail(error, "get", code);
        ret_values[i] = bytes_of_val(value);
    }
    return status;
}

static int put_many(void *thread, const struct tarn_bytes *keys, const struct tarn_bytes *values,
                    size_t count, struct tarn_error *error)
{
    struct thread *t = thread;
    MDB_txn *txn;

    end_read(t);
    int code = mdb_txn_begin(t->store->env, NULL, 0, &txn);
    if (code)
        return fail(error, "begin", code);
    for (size_t i = 0; code == 0 && i < count; i++) {
        MDB_val key = val_of(keys[i]), value = val_of(values[i]);
        code = mdb_put(txn, t->store->db, &key, &value, 0);
    }
    if (code) {
        mdb_txn_abort(txn);
        return fail(error, "put", code);
    }
    code = mdb_txn_commit(txn);
    return code ? fail(error, "commit", code) : TARN_OK;
}

static int scan(void *thread, struct tarn_bytes from, size_t count, embedded_visit visit,
                void *context, struct tarn_error *error)
{
    struct thread *t = thread;
    MDB_val key = val_of(from), value;
    MDB_cursor *cursor;
    int status = begin_read(t, error);

    if (status != TARN_OK)
        return status;
    int code = mdb_cursor_open(t->read, t->store->db, &cursor);
    if (code)
        return fail(error, "open a cursor", code);
    code = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    for (size_t i = 0; code == 0 && i < count; i++) {
        visit(context, bytes_of_val(key), bytes_of_val(value));
        code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    }
    mdb_cursor_close(cursor);
    return code && code != MDB_NOTFOUND ? fail(error, "scan", code) : TARN_OK;
}

const struct embedded_store peer_lmdb = {
    .name = "lmdb",
    .open = open_store,
    .close = close_store,
    .thread_open = open_thread,
    .thread_close = close_thread,
    .get_many = get_many,
    .put_many = put_many,
    .scan = scan,
};
