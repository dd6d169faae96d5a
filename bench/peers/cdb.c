/* tinycdb: a constant database in one file, made by cdb_make_*, read through its memory map. Values
 * are views into the map. It has no options. Look-ups keep their state in the struct cdb, so each
 * thread has one of its own over the same file. */
#include <cdb.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "peers/peer.h"

struct store {
    struct peer_directory directory;
    char path[PEER_PATH_BYTES], path_new[PEER_PATH_BYTES];
    struct cdb_make make;
    int fd; /* of the file being made, else -1 */
};

struct thread {
    struct store *store;
    struct cdb cdb; /* opened at the first look-up: while loading there is no file yet */
    int fd;         /* -1: not yet */
};

static int fail(struct tarn_error *error, const char *what, const char *path)
{
    return os_error(error, -errno, what, path);
}

static int open_store(const struct os *os, const struct embedded_options *options, void **ret_store,
                      struct tarn_error *error)
{
    struct store *s = calloc(1, sizeof *s);

    (void)os;
    if (!s)
        return error_set(error, TARN_NOMEM, "out of memory");
    int status = peer_directory_open(&s->directory, "cdb", options->path, error);
    if (status != TARN_OK) {
        free(s);
        return status;
    }
    peer_directory_file(&s->directory, "data.cdb", s->path);
    peer_directory_file(&s->directory, "data.cdb.new", s->path_new);
    s->fd = -1;
    *ret_store = s;
    return TARN_OK;
}

static void close_store(void *store)
{
    struct store *s = store;
    if (s->fd >= 0)
        close(s->fd);
    peer_directory_close(&s->directory);
    free(s);
}

static int begin(struct store *s, struct tarn_error *error)
{
    s->fd = open(s->path_new, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (s->fd < 0 || cdb_make_start(&s->make, s->fd))
        return fail(error, "cannot make", s->path_new);
    return TARN_OK;
}

static int put_many(void *thread, const struct tarn_bytes *keys, const struct tarn_bytes *values,
                    size_t count, struct tarn_error *error)
{
    struct store *s = ((struct thread *)thread)->store;
    int status = s->fd < 0 ? begin(s, error) : TARN_OK;

    for (size_t i = 0; status == TARN_OK && i < count; i++)
        if (cdb_make_add(&s->make, keys[i].data, (unsigned)keys[i].size, values[i].data,
                         (unsigned)values[i].size))
            status = fail(error, "cannot write", s->path_new);
    return status;
}

static int loaded(void *store, bool loading, struct tarn_error *error)
{
    struct store *s = store;

    if (!loading || s->fd < 0)
        return TARN_OK;
    if (cdb_make_finish(&s->make))
        return fail(error, "cannot write", s->path_new);
    close(s->fd);
    s->fd = -1;
    return rename(s->path_new, s->path) ? fail(error, "cannot rename", s->path_new) : TARN_OK;
}

static int open_thread(void *store, void **ret_thread, struct tarn_error *error)
{
    struct thread *t = calloc(1, sizeof *t);
    if (!t)
        return error_set(error, TARN_NOMEM, "out of memory");
    t->store = store;
    t->fd = -1;
    *ret_thread = t;
    return TARN_OK;
}

static void close_thread(void *thread)
{
    struct thread *t = thread;
    if (t->fd >= 0) {
        cdb_free(&t->cdb);
        close(t->fd);
    }
    free(t);
}

static int open_file(struct thread *t, struct tarn_error *error)
{
    int fd = open(t->store->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return fail(error, "cannot open", t->store->path);
    if (cdb_init(&t->cdb, fd)) {
        int status = fail(error, "cannot map", t->store->path);
        close(fd);
        return status;
    }
    t->fd = fd;
    return TARN_OK;
}

static int get_many(void *thread, const struct tarn_bytes *keys, size_t count,
                    struct tarn_bytes *ret_values, struct tarn_error *error)
{
    struct thread *t = thread;
    int status = t->fd < 0 ? open_file(t, error) : TARN_OK;

    for (size_t i = 0; status == TARN_OK && i < count; i++) {
        int found = cdb_find(&t->cdb, keys[i].data, (unsigned)keys[i].size);
        ret_values[i] = (struct tarn_bytes){0};
        if (found > 0) {
            unsigned size = cdb_datalen(&t->cdb);
            ret_values[i].data = cdb_get(&t->cdb, size, cdb_datapos(&t->cdb));
            ret_values[i].size = size;
        } else if (found < 0) {
            status = peer_error(error, "tinycdb", "find", strerror(errno));
        }
    }
    return status;
}

const struct embedded_store peer_cdb = {
    .name = "cdb",
    .write_once = true,
    .one_writer = true,
    .open = open_store,
    .close = close_store,
    .loaded = loaded,
    .thread_open = open_thread,
    .thread_close = close_thread,
    .get_many = get_many,
    .put_many = put_many,
};
