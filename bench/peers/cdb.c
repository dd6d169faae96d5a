/* tinycdb: built by cdb_make_*, read through its memory map. Values are views into the map. */
#include <cdb.h>
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "peers/peer.h"

struct handle {
    struct cdb cdb;
    int fd;
    char path[4096];
};

static void *open_cdb(struct workload *w, double *ret_seconds)
{
    struct handle *h = malloc(sizeof(*h));
    struct cdb_make make;

    if (!h)
        err(1, "malloc");
    snprintf(h->path, sizeof(h->path), "%s/peer.cdb", w->directory);
    double start = bench_now();
    h->fd = open(h->path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (h->fd < 0 || cdb_make_start(&make, h->fd))
        err(1, "%s", h->path);
    for (size_t i = 0; i < w->count; i++) {
        const struct record *r = &w->records[i];
        if (cdb_make_add(&make, r->key, r->key_bytes, r->value, r->value_bytes))
            err(1, "cdb_make_add");
    }
    if (cdb_make_finish(&make))
        err(1, "cdb_make_finish");
    *ret_seconds = bench_now() - start;
    if (cdb_init(&h->cdb, h->fd))
        err(1, "cdb_init");
    return h;
}

static void pass(void *handle, struct workload *w, enum take take)
{
    struct handle *h = handle;
    const char *at = w->keys;

    for (size_t i = 0; i < w->count; i++) {
        size_t size;
        const char *key = workload_key(&at, &size);
        const void *value = NULL;
        unsigned value_bytes = 0;
        if (cdb_find(&h->cdb, key, (unsigned)size) > 0) {
            value_bytes = cdb_datalen(&h->cdb);
            value = cdb_get(&h->cdb, value_bytes, cdb_datapos(&h->cdb));
        }
        workload_take(w, i, take, value, value_bytes);
    }
}

static void close_cdb(void *handle)
{
    struct handle *h = handle;
    cdb_free(&h->cdb);
    close(h->fd);
    unlink(h->path);
    free(h);
}

const struct peer peer_cdb = {"tinycdb cdb_find", "tinycdb cdb_make", open_cdb, pass, close_cdb};
