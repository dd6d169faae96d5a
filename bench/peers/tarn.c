/* tarn in process: tarn_get() one by one and tarn_get_many() in batches of 64, over the text and
 * the binary file. The index is built in memory anew by each open (timed) and not written. */
#include <err.h>
#include <stdlib.h>

#include "peers/peer.h"
#include "tarn.h"

enum { BATCH = 64 };

struct handle {
    struct tarn *store;
    struct tarn_session *session;
};

static struct handle *open_file(const char *path, enum tarn_format_kind kind, double *ret_seconds)
{
    struct tarn_error error;
    struct handle *h = malloc(sizeof(*h));
    struct tarn_options options = {.path = path,
                                   .index_path = "/nonexistent/index", /* not one of before */
                                   .format = {.kind = kind},
                                   .threads = 1,
                                   .index_readonly = true};

    if (!h)
        err(1, "malloc");
    double start = bench_now();
    if (tarn_open(&options, &h->store, &error) != TARN_OK)
        errx(1, "tarn: %s", error.text);
    *ret_seconds = bench_now() - start;
    if (tarn_session_open(h->store, &h->session, &error) != TARN_OK)
        errx(1, "tarn: %s", error.text);
    return h;
}

static void *open_text(struct workload *w, double *ret_seconds)
{
    return open_file(w->path, TARN_FORMAT_TEXT, ret_seconds);
}

static void *open_binary(struct workload *w, double *ret_seconds)
{
    return w->binary_path ? open_file(w->binary_path, TARN_FORMAT_BINARY, ret_seconds) : NULL;
}

static void close_file(void *handle)
{
    struct handle *h = handle;
    tarn_session_close(h->session);
    tarn_close(h->store);
    free(h);
}

static void pass_get(void *handle, struct workload *w, enum take take)
{
    struct handle *h = handle;
    const char *at = w->keys;

    for (size_t i = 0; i < w->count; i++) {
        struct tarn_bytes key, value;
        key.data = workload_key(&at, &key.size);
        if (tarn_get(h->session, key, &value) != TARN_OK)
            value = (struct tarn_bytes){0};
        workload_take(w, i, take, value.data, value.size);
        if (i % BATCH == BATCH - 1)
            tarn_quiescent(h->session);
    }
    tarn_quiescent(h->session);
}

static void pass_many(void *handle, struct workload *w, enum take take)
{
    struct handle *h = handle;
    struct tarn_bytes keys[BATCH], values[BATCH];
    const char *at = w->keys;

    for (size_t i = 0; i < w->count; i += BATCH) {
        size_t count = w->count - i < BATCH ? w->count - i : BATCH;
        for (size_t j = 0; j < count; j++)
            keys[j].data = workload_key(&at, &keys[j].size);
        tarn_get_many(h->session, keys, count, values);
        for (size_t j = 0; j < count; j++)
            workload_take(w, i + j, take, values[j].data, values[j].size);
        tarn_quiescent(h->session);
    }
}

const struct peer peer_tarn_text_many = {"tarn_get_many, batches of 64, text", "tarn_open, text",
                                         open_text, pass_many, close_file};
const struct peer peer_tarn_text_get = {"tarn_get, text", NULL, NULL, pass_get, NULL};
const struct peer peer_tarn_binary_many = {"tarn_get_many, batches of 64, binary",
                                           "tarn_open, binary", open_binary, pass_many, close_file};
const struct peer peer_tarn_binary_get = {"tarn_get, binary", NULL, NULL, pass_get, NULL};
