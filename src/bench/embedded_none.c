/* "none": a store that does nothing, so that what remains is the generator: choosing operations,
 * making keys and values, counting. Every key is there; its value is a word of ours. */
#include "bench/embedded.h"

static int open_none(const struct os *os, const struct embedded_options *options, void **ret_store,
                     struct tarn_error *error)
{
    (void)os, (void)options, (void)error;
    *ret_store = NULL;
    return TARN_OK;
}

static void close_none(void *store)
{
    (void)store;
}

static int thread_open(void *store, void **ret_thread, struct tarn_error *error)
{
    (void)error;
    *ret_thread = store;
    return TARN_OK;
}

static int get_many(void *thread, const struct tarn_bytes *keys, size_t count,
                    struct tarn_bytes *ret_values, struct tarn_error *error)
{
    (void)thread, (void)keys, (void)error;
    for (size_t i = 0; i < count; i++)
        ret_values[i] = (struct tarn_bytes){"nothing", 7};
    return TARN_OK;
}

static int put_many(void *thread, const struct tarn_bytes *keys, const struct tarn_bytes *values,
                    size_t count, struct tarn_error *error)
{
    (void)thread, (void)keys, (void)values, (void)count, (void)error;
    return TARN_OK;
}

const struct embedded_store embedded_none = {
    .name = "none",
    .open = open_none,
    .close = close_none,
    .thread_open = thread_open,
    .thread_close = close_none,
    .get_many = get_many,
    .put_many = put_many,
};
