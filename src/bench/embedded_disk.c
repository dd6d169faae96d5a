/* tarn over a data file on disk that the load makes: "disk:FILE".
 *
 * How: a load writes the records as a binary data file, builds an index of blocks within the memory
 * that is given, and opens both as any store would; without a load they are there already. So what
 * is loaded is what tarn gen and tarn index would have made, and keys are known without reading it.
 *
 * Failure modes: a file that is there is never written to: a load wants a new one; those of the
 * file system and of the build. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/embedded.h"
#include "core/codec.h"
#include "pack/external.h"
#include "store/store.h"

#define WRITE_BYTES ((size_t)4 << 20)

struct disk {
    const struct os *os;
    struct tarn_options options;
    struct tarn *store;    /* NULL: there is nothing to read yet */
    int fd;                /* of the file that is being loaded; -1: none is */
    struct buffer pending; /* records that have not been written */
    uint64_t written_bytes;
    char path[4096];
};

static void close_disk(void *store)
{
    struct disk *d = store;
    tarn_close(d->store);
    if (d->fd >= 0)
        (void)d->os->close(d->os, d->fd); /* a load that did not come to its end */
    buffer_done(&d->pending);
    free(d);
}

static int open_store(struct disk *d, struct tarn_error *error)
{
    return store_open(d->os, &d->options, &d->store, error);
}

/* The file is there, or begun anew. */
static int open_file(struct disk *d, struct tarn_error *error)
{
    int status = d->os->open(d->os, d->path, O_WRONLY | O_CREAT | O_EXCL, 0666, &d->fd);
    if (status == -EEXIST)
        return open_store(d, error);
    return status == 0 ? TARN_OK : os_error(error, status, "cannot make", d->path);
}

static int open_disk(const struct os *os, const struct embedded_options *options, void **ret_store,
                     struct tarn_error *error)
{
    struct disk *d = calloc(1, sizeof *d);
    if (!d)
        return error_set(error, TARN_NOMEM, "out of memory");
    d->os = os;
    d->fd = -1;
    snprintf(d->path, sizeof d->path, "%s", options->path);
    d->options = (struct tarn_options){
        .path = d->path,
        .format = {.kind = TARN_FORMAT_BINARY},
        .threads = options->threads,
        .data = options->data == TARN_DATA_AUTO ? TARN_DATA_ON_DISK : options->data,
        .memory_bytes_max = options->memory_bytes_max,
        .read_depth = options->read_depth,
    };
    int status = open_file(d, error);
    if (status == TARN_OK)
        *ret_store = d;
    else
        close_disk(d);
    return status;
}

static bool is_empty(void *store)
{
    return ((struct disk *)store)->store == NULL;
}

/* --- the load --- */

static int write_pending(struct disk *d, struct tarn_error *error)
{
    int status = d->pending.failed ? -ENOMEM
                                   : os_write_full(d->os, d->fd, d->pending.data, d->pending.size,
                                                   d->written_bytes);
    d->written_bytes += d->pending.size;
    buffer_clear(&d->pending);
    return status == 0 ? TARN_OK : os_error(error, status, "cannot write", d->path);
}

static void append_sized(struct buffer *out, struct tarn_bytes bytes)
{
    unsigned char size[4];
    store_u32le(size, (uint32_t)bytes.size);
    buffer_append(out, size, sizeof size);
    buffer_append(out, bytes.data, bytes.size);
}

static int build(struct disk *d, struct tarn_error *error)
{
    struct external_settings settings = {
        .memory_bytes = d->options.memory_bytes_max,
        .granule_log2 = EXTERNAL_AUTO,
        .fingerprint_bits = EXTERNAL_AUTO,
        .layout = EXTERNAL_AUTO,
    };
    struct tarn_index_report report;
    return external_build(d->os, &d->options, &settings, &report, error);
}

static int loaded(void *store, bool loading, struct tarn_error *error)
{
    struct disk *d = store;
    if (!loading)
        return TARN_OK;
    int status = write_pending(d, error);
    int synced = d->os->sync(d->os, d->fd), closed = d->os->close(d->os, d->fd);
    d->fd = -1;
    if (status == TARN_OK && (synced != 0 || closed != 0))
        status = os_error(error, synced != 0 ? synced : closed, "cannot write", d->path);
    if (status == TARN_OK)
        status = build(d, error);
    return status == TARN_OK ? open_store(d, error) : status;
}

/* --- threads: sessions once there is a store, before that only the one that loads --- */

struct thread {
    struct disk *disk;
    struct tarn_session *session;
};

static int thread_open(void *store, void **ret_thread, struct tarn_error *error)
{
    struct thread *t = calloc(1, sizeof *t);
    if (!t)
        return error_set(error, TARN_NOMEM, "out of memory");
    t->disk = store;
    int status = t->disk->store ? tarn_session_open(t->disk->store, &t->session, error) : TARN_OK;
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

static int put_many(void *thread, const struct tarn_bytes *keys, const struct tarn_bytes *values,
                    size_t count, struct tarn_error *error)
{
    struct disk *d = ((struct thread *)thread)->disk;
    if (d->fd < 0)
        return error_set(error, TARN_READONLY, "%s is there already; name a file that is not",
                         d->path);
    for (size_t i = 0; i < count; i++) {
        append_sized(&d->pending, keys[i]);
        append_sized(&d->pending, values[i]);
    }
    return d->pending.size < WRITE_BYTES ? TARN_OK : write_pending(d, error);
}

static int get_many(void *thread, const struct tarn_bytes *keys, size_t count,
                    struct tarn_bytes *ret_values, struct tarn_error *error)
{
    return embedded_get_many(((struct thread *)thread)->session, keys, count, ret_values, error);
}

static void disk_stats(void *store, struct tarn_disk_stats *ret_stats)
{
    struct disk *d = store;
    *ret_stats = (struct tarn_disk_stats){.on_disk = false};
    if (d->store)
        tarn_disk_stats_get(d->store, ret_stats);
}

const struct embedded_store embedded_disk = {
    .name = "disk",
    .path_required = true,
    .write_once = true,
    .one_writer = true,
    .open = open_disk,
    .close = close_disk,
    .is_empty = is_empty,
    .loaded = loaded,
    .thread_open = thread_open,
    .thread_close = thread_close,
    .get_many = get_many,
    .put_many = put_many,
    .disk_stats = disk_stats,
};
