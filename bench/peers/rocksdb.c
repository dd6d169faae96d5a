/* RocksDB through its C interface.
 *
 * Options: no compression, a block cache of twice the data (so that it holds all of them),
 * full bloom filters of 10 bits a key, a write buffer of 64 MiB (its default), no write-ahead log
 * while loading; the rest as by default, with the log written and not synced after the load. A call
 * to write is one batch; single reads are rocksdb_get_pinned, batches rocksdb_batched_multi_get_cf
 * (keys not sorted). After a load all is flushed and compacted (counted as load time), which is its
 * best case for reading. BENCH_ROCKSDB_CACHE in the environment makes the block cache as many bytes
 * and the write buffer a quarter of them, for runs within a cap. Values are views that the next
 * call releases. */
#include <rocksdb/c.h>
#include <stdlib.h>

#include "peers/peer.h"

struct store {
    struct peer_directory directory;
    rocksdb_options_t *options;
    rocksdb_cache_t *cache;
    rocksdb_block_based_table_options_t *table;
    rocksdb_readoptions_t *read;
    rocksdb_writeoptions_t *write;
    rocksdb_column_family_handle_t *family;
    rocksdb_t *db;
};

struct thread {
    struct store *store;
    const char **keys;
    size_t *key_bytes;
    rocksdb_pinnableslice_t **values; /* of the last call */
    char **texts;
    size_t values_count, capacity[4];
    rocksdb_writebatch_t *batch;
};

/* text: from the library; freed. */
static int fail(struct tarn_error *error, const char *what, char *text)
{
    int status = peer_error(error, "RocksDB", what, text);
    rocksdb_free(text);
    return status;
}

static void close_store(void *store)
{
    struct store *s = store;
    if (s->family)
        rocksdb_column_family_handle_destroy(s->family);
    if (s->db)
        rocksdb_close(s->db);
    rocksdb_readoptions_destroy(s->read);
    rocksdb_writeoptions_destroy(s->write);
    rocksdb_options_destroy(s->options);
    rocksdb_block_based_options_destroy(s->table);
    rocksdb_cache_destroy(s->cache);
    peer_directory_close(&s->directory);
    free(s);
}

static void make_options(struct store *s, uint64_t data_bytes)
{
    s->options = rocksdb_options_create();
    const char *cache_bytes = getenv("BENCH_ROCKSDB_CACHE");
    s->cache = rocksdb_cache_create_lru(cache_bytes ? strtoull(cache_bytes, NULL, 10)
                                                    : 2 * data_bytes + (64 << 20));
    s->table = rocksdb_block_based_options_create();
    s->read = rocksdb_readoptions_create();
    s->write = rocksdb_writeoptions_create();
    rocksdb_block_based_options_set_block_cache(s->table, s->cache);
    rocksdb_block_based_options_set_filter_policy(s->table,
                                                  rocksdb_filterpolicy_create_bloom_full(10));
    rocksdb_options_set_block_based_table_factory(s->options, s->table);
    rocksdb_options_set_create_if_missing(s->options, 1);
    rocksdb_options_set_compression(s->options, rocksdb_no_compression);
    if (cache_bytes)
        rocksdb_options_set_write_buffer_size(s->options, strtoull(cache_bytes, NULL, 10) / 4);
    rocksdb_writeoptions_disable_WAL(s->write, 1); /* until loaded() */
}

static int open_store(const struct os *os, const struct embedded_options *options, void **ret_store,
                      struct tarn_error *error)
{
    struct store *s = calloc(1, sizeof *s);
    const char *family = "default";
    char *text = NULL;

    (void)os;
    if (!s)
        return error_set(error, TARN_NOMEM, "out of memory");
    int status = peer_directory_open(&s->directory, "rocksdb", options->path, error);
    if (status != TARN_OK) {
        free(s);
        return status;
    }
    make_options(s, records_data_bytes(options->records));
    s->db = rocksdb_open_column_families(s->options, s->directory.path, 1, &family,
                                         (const rocksdb_options_t *const *)&s->options, &s->family,
                                         &text);
    if (text) {
        s->db = NULL;
        s->family = NULL;
        close_store(s);
        return fail(error, "open", text);
    }
    *ret_store = s;
    return TARN_OK;
}

static int loaded(void *store, bool loading, struct tarn_error *error)
{
    struct store *s = store;
    char *text = NULL;

    rocksdb_writeoptions_disable_WAL(s->write, 0);
    if (!loading)
        return TARN_OK;
    rocksdb_flushoptions_t *flush = rocksdb_flushoptions_create();
    rocksdb_flush(s->db, flush, &text); /* waits, as by default */
    rocksdb_flushoptions_destroy(flush);
    if (text)
        return fail(error, "flush", text);
    rocksdb_compact_range(s->db, NULL, 0, NULL, 0);
    return TARN_OK;
}

static int open_thread(void *store, void **ret_thread, struct tarn_error *error)
{
    struct thread *t = calloc(1, sizeof *t);
    if (!t)
        return error_set(error, TARN_NOMEM, "out of memory");
    t->store = store;
    t->batch = rocksdb_writebatch_create();
    *ret_thread = t;
    return TARN_OK;
}

static void free_values(struct thread *t)
{
    for (size_t i = 0; i < t->values_count; i++)
        if (t->values[i])
            rocksdb_pinnableslice_destroy(t->values[i]);
    t->values_count = 0;
}

static void close_thread(void *thread)
{
    struct thread *t = thread;
    free_values(t);
    rocksdb_writebatch_destroy(t->batch);
    free(t->keys);
    free(t->key_bytes);
    free(t->values);
    free(t->texts);
    free(t);
}

static int make_room(struct thread *t, size_t count, struct tarn_error *error)
{
    int status = peer_grow(&t->keys, &t->capacity[0], count, sizeof *t->keys, error);
    if (status == TARN_OK)
        status = peer_grow(&t->key_bytes, &t->capacity[1], count, sizeof *t->key_bytes, error);
    if (status == TARN_OK)
        status = peer_grow(&t->values, &t->capacity[2], count, sizeof *t->values, error);
    if (status == TARN_OK)
        status = peer_grow(&t->texts, &t->capacity[3], count, sizeof *t->texts, error);
    return status;
}

static void look_up(struct thread *t, const struct tarn_bytes *keys, size_t count)
{
    struct store *s = t->store;

    t->values_count = count;
    for (size_t i = 0; i < count; i++) {
        t->keys[i] = keys[i].data;
        t->key_bytes[i] = keys[i].size;
        t->texts[i] = NULL;
    }
    if (count == 1)
        t->values[0] = rocksdb_get_pinned(s->db, s->read, t->keys[0], t->key_bytes[0], t->texts);
    else
        rocksdb_batched_multi_get_cf(s->db, s->read, s->family, count, t->keys, t->key_bytes,
                                     t->values, t->texts, false);
}

static int get_many(void *thread, const struct tarn_bytes *keys, size_t count,
                    struct tarn_bytes *ret_values, struct tarn_error *error)
{
    struct thread *t = thread;

    free_values(t);
    int status = make_room(t, count, error);
    if (status != TARN_OK)
        return status;
    look_up(t, keys, count);
    for (size_t i = 0; i < count; i++) {
        ret_values[i] = (struct tarn_bytes){0};
        if (t->values[i])
            ret_values[i].data = rocksdb_pinnableslice_value(t->values[i], &ret_values[i].size);
        if (t->texts[i])
            status = fail(error, "get", t->texts[i]);
    }
    return status;
}

static int put_many(void *thread, const struct tarn_bytes *keys, const struct tarn_bytes *values,
                    size_t count, struct tarn_error *error)
{
    struct thread *t = thread;
    char *text = NULL;

    free_values(t);
    rocksdb_writebatch_clear(t->batch);
    for (size_t i = 0; i < count; i++)
        rocksdb_writebatch_put(t->batch, keys[i].data, keys[i].size, values[i].data,
                               values[i].size);
    rocksdb_write(t->store->db, t->store->write, t->batch, &text);
    return text ? fail(error, "write", text) : TARN_OK;
}

static int scan(void *thread, struct tarn_bytes from, size_t count, embedded_visit visit,
                void *context, struct tarn_error *error)
{
    struct thread *t = thread;
    char *text = NULL;
    rocksdb_iterator_t *at = rocksdb_create_iterator(t->store->db, t->store->read);

    rocksdb_iter_seek(at, from.data, from.size);
    for (size_t i = 0; i < count && rocksdb_iter_valid(at); i++) {
        struct tarn_bytes key, value;
        key.data = rocksdb_iter_key(at, &key.size);
        value.data = rocksdb_iter_value(at, &value.size);
        visit(context, key, value);
        rocksdb_iter_next(at);
    }
    rocksdb_iter_get_error(at, &text);
    rocksdb_iter_destroy(at);
    return text ? fail(error, "scan", text) : TARN_OK;
}

const struct embedded_store peer_rocksdb = {
    .name = "rocksdb",
    .open = open_store,
    .close = close_store,
    .loaded = loaded,
    .thread_open = open_thread,
    .thread_close = close_thread,
    .get_many = get_many,
    .put_many = put_many,
    .scan = scan,
};
