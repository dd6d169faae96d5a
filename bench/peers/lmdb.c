/* LMDB: one file, built in one write transaction in file order, read through one read transaction
 * a pass (its best case: no transaction per get). Values are views into its memory map. */
#include <err.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "peers/peer.h"

struct handle {
    MDB_env *env;
    MDB_dbi db;
    char path[4096];
};

static void must(int code, const char *what)
{
    if (code)
        errx(1, "lmdb: %s: %s", what, mdb_strerror(code));
}

static void *open_lmdb(struct workload *w, double *ret_seconds)
{
    struct handle *h = malloc(sizeof(*h));
    MDB_txn *txn;
    size_t bytes = 64 << 20;

    if (!h)
        err(1, "malloc");
    for (size_t i = 0; i < w->count; i++)
        bytes += 3 * ((size_t)w->records[i].key_bytes + w->records[i].value_bytes + 64);
    snprintf(h->path, sizeof(h->path), "%s/peer.lmdb", w->directory);
    unlink(h->path);
    double start = bench_now();
    must(mdb_env_create(&h->env), "create");
    must(mdb_env_set_mapsize(h->env, bytes), "map size");
    must(mdb_env_open(h->env, h->path, MDB_NOSUBDIR | MDB_NORDAHEAD | MDB_NOSYNC, 0600), h->path);
    must(mdb_txn_begin(h->env, NULL, 0, &txn), "begin");
    must(mdb_dbi_open(txn, NULL, 0, &h->db), "open");
    for (size_t i = 0; i < w->count; i++) {
        const struct record *r = &w->records[i];
        MDB_val key = {r->key_bytes, (void *)(uintptr_t)r->key};
        MDB_val value = {r->value_bytes, (void *)(uintptr_t)r->value};
        must(mdb_put(txn, h->db, &key, &value, 0), "put");
    }
    must(mdb_txn_commit(txn), "commit");
    *ret_seconds = bench_now() - start;
    return h;
}

static void pass(void *handle, struct workload *w, enum take take)
{
    struct handle *h = handle;
    const char *at = w->keys;
    MDB_txn *txn;

    must(mdb_txn_begin(h->env, NULL, MDB_RDONLY, &txn), "begin");
    for (size_t i = 0; i < w->count; i++) {
        MDB_val key, value = {0};
        key.mv_data = (void *)(uintptr_t)workload_key(&at, &key.mv_size);
        if (mdb_get(txn, h->db, &key, &value))
            value = (MDB_val){0};
        workload_take(w, i, take, value.mv_data, value.mv_size);
    }
    mdb_txn_abort(txn);
}

static void close_lmdb(void *handle)
{
    struct handle *h = handle;
    char lock_path[sizeof(h->path) + 8];

    mdb_env_close(h->env);
    snprintf(lock_path, sizeof(lock_path), "%s-lock", h->path);
    unlink(lock_path);
    unlink(h->path);
    free(h);
}

const struct peer peer_lmdb = {"LMDB mdb_get", "LMDB, one transaction", open_lmdb, pass,
                               close_lmdb};
