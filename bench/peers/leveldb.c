/* LevelDB through its C interface.
 *
 * Options: no compression, a block cache of twice the data (so that it holds all of them), bloom
 * filters of 10 bits a key, a write buffer of 64 MiB; the log is written and not synced, as by
 * default. A call to write is one batch. After a load all is compacted (counted as load time),
 * which is its best case for reading.
 *
 * The C interface hands out each value as a copy in memory of its own, which the next call frees.
 */
#include <leveldb/c.h>
#include <stdlib.h>

#include "peers/peer.h"

struct store {
    struct peer_directory directory;
    leveldb_options_t *options;
    leveldb_cache_t *cache;
    leveldb_filterpolicy_t *filter;
    leveldb_readoptions_t *read;
    leveldb_writeoptions_t *write;
    leveldb_t *db;
};

struct thread {
    struct store *store;
    char **values; /* of the last call */
    size_t values_count, values_capacity;
    leveldb_writebatch_t *batch;
};

/* text: from the library; freed. */
static int fail(struct tarn_error *error, const char *what, char *text)
{
    int status = peer_error(error, "LevelDB", what, text);
    leveldb_free(text);
    return status;
}

static void close_store(void *store)
{
    struct store *s = store;
    if (s->db)
        leveldb_close(s->db);
    leveldb_readoptions_destroy(s->read);
    leveldb_writeoptions_destroy(s->write);
    leveldb_options_destroy(s->options);
    leveldb_filterpolicy_destroy(s->filter);
    leveldb_cache_destroy(s->cache);
    peer_directory_close(&s->directory);
    free(s);
}

static void make_options(struct store *s, uint64_t data_bytes)
{
    s->options = leveldb_options_create();
    s->cache = leveldb_cache_create_lru(2 * data_bytes + (64 << 20));
    s->filter = leveldb_filterpolicy_create_bloom(10);
    s->read = leveldb_readoptions_create();
    s->write = leveldb_writeoptions_create();
    leveldb_options_set_create_if_missing(s->options, 1);
    leveldb_options_set_compression(s->options, leveldb_no_compression);
    leveldb_options_set_cache(s->options, s->cache);
    leveldb_options_set_filter_policy(s->options, s->filter);
    leveldb_options_set_write_buffer_size(s->options, 64 << 20);
}

static int open_store(const struct os *os, const struct embedded_options *options, void **ret_store,
                      struct tarn_error *error)
{
    struct store *s = calloc(1, sizeof *s);
    char *text = NULL;

    (void)os;
    if (!s)
        return error_set(error, TARN_NOMEM, "out of memory");
    int status = peer_directory_open(&s->directory, "leveldb", options->path, error);
    if (status != TARN_OK) {
        free(s);
        return status;
    }
    make_options(s, records_data_bytes(options->records));
    s->db = leveldb_open(s->options, s->directory.path, &text);
    if (text) {
        close_store(s);
        return fail(error, "open", text);
    }
    *ret_store = s;
    return TARN_OK;
}

static int loaded(void *store, bool loading, struct tarn_error *error)
{
    struct store *s = store;
    (void)error;
    if (loading)
        leveldb_compact_range(s->db, NULL, 0, NULL, 0);
    return TARN_OK;
}

static int open_thread(void *store, void **ret_thread, struct tarn_error *error)
{
    struct thread *t = calloc(1, sizeof *t);
    if (!t)
        return error_set(error, TARN_NOMEM, "out of memory");
    t->store = store;
    t->batch = leveldb_writebatch_create();
    *ret_thread = t;
    return TARN_OK;
}

static void free_values(struct thread *t)
{
    for (size_t i = 0; i < t->values_count; i++)
        leveldb_free(t->values[i]);
    t->values_count = 0;
}

static void close_thread(void *thread)
{
    struct thread *t = thread;
    free_values(t);
    free(t->values);
    leveldb_writebatch_destroy(t->batch);
    free(t);
}

static int get_many(void *thread, const struct tarn_bytes *keys, size_t count,
                    struct tarn_bytes *ret_values, struct tarn_error *error)
{
    struct thread *t = thread;
    struct store *s = t->store;

    free_values(t);
    int status = peer_grow(&t->values, &t->values_capacity, count, sizeof *t->values, error);
    for (size_t i = 0; status == TARN_OK && i < count; i++) {
        char *text = NULL;
        size_t size = 0;
        char *value = leveldb_get(s->db, s->read, keys[i].data, keys[i].size, &size, &text);
        t->values[t->values_count++] = value;
        ret_values[i] = (struct tarn_bytes){value, size};
        if (text)
            status = fail(error, "get", text);
    }
    return status;
}

static int put_many(void *thread, const struct tarn_bytes *keys, const struct tarn_bytes *values,
                    size_t count, struct tarn_error *error)
{
    struct thread *t = thread;
    char *text = NULL;

    free_values(t);
    leveldb_writebatch_clear(t->batch);
    for (size_t i = 0; i < count; i++)
        leveldb_writebatch_put(t->batch, keys[i].data, keys[i].size, values[i].data,
                               values[i].size);
    leveldb_write(t->store->db, t->store->write, t->batch, &text);
    return text ? fail(error, "write", text) : TARN_OK;
}

static int scan(void *thread, struct tarn_bytes from, size_t count, embedded_visit visit,
                void *context, struct tarn_error *error)
{
    struct thread *t = thread;
    char *text = NULL;
    leveldb_iterator_t *at = leveldb_create_iterator(t->store->db, t->store->read);

    leveldb_iter_seek(at, from.data, from.size);
    for (size_t i = 0; i < count && leveldb_iter_valid(at); i++) {
        struct tarn_bytes key, value;
        key.data = leveldb_iter_key(at, &key.size);
        value.data = leveldb_iter_value(at, &value.size);
        visit(context, key, value);
        leveldb_iter_next(at);
    }
    leveldb_iter_get_error(at, &text);
    leveldb_iter_destroy(at);
    return text ? fail(error, "scan", text) : TARN_OK;
}

const struct embedded_store peer_leveldb = {
    .name = "leveldb",
    .open = open_store,
    .close = close_store,
    .loaded = loaded,
    .thread_open = open_thread,
    .thread_close = close_thread,
    .get_many = get_many,
    .put_many = put_many,
    .scan = scan,
};
