/* tarn in this process: a data file, or the generated records as a data set in memory.
 *
 * "memory": the load writes the records, in the binary format, to a file in memory; loaded() opens
 * that as tarn opens any file and lets the file go. So the data set is the one `tarn serve FILE`
 * would serve, and it cannot be written afterwards.
 *
 * Invariant: pending holds what is not in the file yet; it is empty once loaded.
 * Failure modes: those of opening; out of memory. */
#include <stdlib.h>

#include "bench/embedded.h"
#include "core/codec.h"
#include "os/memory_file.h"
#include "store/store.h"

#define PENDING_BYTES (1u << 20)

struct handle {
    const struct os *os;
    unsigned threads;
    struct tarn *store; /* NULL until it is loaded */
    int fd;             /* memory: the file that the load writes, else -1 */
    char path[MEMORY_FILE_PATH_BYTES_MAX];
    uint64_t file_bytes;
    struct buffer pending;
};

/* One thread's; the load's has no session. */
struct thread {
    struct handle *handle;
    struct tarn_session *session;
};

static struct handle *new_handle(const struct os *os, unsigned threads, struct tarn_error *error)
{
    struct handle *h = calloc(1, sizeof *h);
    if (!h) {
        error_set(error, TARN_NOMEM, "out of memory");
        return NULL;
    }
    h->os = os;
    h->threads = threads;
    h->fd = -1;
    return h;
}

static void close_file(struct handle *h)
{
    if (h->fd >= 0)
        (void)h->os->close(h->os, h->fd); /* it has no name: nothing can be lost */
    h->fd = -1;
    buffer_done(&h->pending);
}

static void close_tarn(void *store)
{
    struct handle *h = store;
    tarn_close(h->store);
    close_file(h);
    free(h);
}

static int open_store(struct handle *h, const char *path, const struct tarn_format *format,
                      struct tarn_error *error)
{
    struct tarn_options options = {
        .path = path, .format = *format, .threads = h->threads, .index_readonly = true};
    return store_open(h->os, &options, &h->store, error);
}

/* --- a data file --- */

static int open_file(const struct os *os, const char *path, const struct records *records,
                     unsigned threads, void **ret_store, struct tarn_error *error)
{
    struct handle *h = new_handle(os, threads, error);
    if (!h)
        return TARN_NOMEM;
    struct tarn_format format = records_format(records);
    int status = open_store(h, path, &format, error);
    if (status == TARN_OK)
        *ret_store = h;
    else
        close_tarn(h);
    return status;
}

/* --- memory --- */

static int open_memory(const struct os *os, const char *path, const struct records *records,
                       unsigned threads, void **ret_store, struct tarn_error *error)
{
    struct handle *h = new_handle(os, threads, error);
    (void)path, (void)records;
    if (!h)
        return TARN_NOMEM;
    int e = memory_file_open("tarn-bench", &h->fd, h->path);
    if (e < 0) {
        close_tarn(h);
        return os_error(error, e, "cannot make", "a file in memory");
    }
    *ret_store = h;
    return TARN_OK;
}

static int write_pending(struct handle *h, struct tarn_error *error)
{
    int e = os_write_full(h->os, h->fd, h->pending.data, h->pending.size, h->file_bytes);
    if (e < 0)
        return os_error(error, e, "cannot write", "a file in memory");
    h->file_bytes += h->pending.size;
    buffer_clear(&h->pending);
    return TARN_OK;
}

static void append_part(struct buffer *out, struct tarn_bytes part)
{
    unsigned char size[4];
    store_u32le(size, (uint32_t)part.size);
    buffer_append(out, size, sizeof size);
    buffer_append(out, part.data, part.size);
}

/* The load's records, on its one thread. */
static int put_memory(void *thread, const struct tarn_bytes *keys, const struct tarn_bytes *values,
                      size_t count, struct tarn_error *error)
{
    struct handle *h = ((struct thread *)thread)->handle;
    int status = TARN_OK;
    for (size_t i = 0; i < count && status == TARN_OK; i++) {
        append_part(&h->pending, keys[i]);
        append_part(&h->pending, values[i]);
        if (h->pending.failed)
            status = error_set(error, TARN_NOMEM, "out of memory");
        else if (h->pending.size >= PENDING_BYTES)
            status = write_pending(h, error);
    }
    return status;
}

static int loaded_memory(void *store, bool loading, struct tarn_error *error)
{
    struct handle *h = store;
    static const struct tarn_format format = {.kind = TARN_FORMAT_BINARY};
    (void)loading; /* always: a new handle holds nothing */
    int status = write_pending(h, error);
    if (status == TARN_OK)
        status = open_store(h, h->path, &format, error);
    close_file(h);
    return status;
}

/* --- threads --- */

static int thread_open(void *store, void **ret_thread, struct tarn_error *error)
{
    struct handle *h = store;
    struct thread *t = calloc(1, sizeof *t);
    if (!t)
        return error_set(error, TARN_NOMEM, "out of memory");
    t->handle = h;
    int status = h->store ? tarn_session_open(h->store, &t->session, error) : TARN_OK;
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

static int get_many(void *thread, const struct tarn_bytes *keys, size_t count,
                    struct tarn_bytes *ret_values, struct tarn_error *error)
{
    struct thread *t = thread;
    (void)error;
    tarn_quiescent(t->session);
    if (count > 1)
        tarn_get_many(t->session, keys, count, ret_values);
    else if (tarn_get(t->session, keys[0], ret_values) != TARN_OK)
        *ret_values = (struct tarn_bytes){0};
    return TARN_OK;
}

const struct embedded_store embedded_file = {
    .name = "file",
    .path_required = true,
    .write_once = true,
    .open = open_file,
    .close = close_tarn,
    .thread_open = thread_open,
    .thread_close = thread_close,
    .get_many = get_many,
};

const struct embedded_store embedded_memory = {
    .name = "memory",
    .write_once = true,
    .one_writer = true,
    .open = open_memory,
    .close = close_tarn,
    .loaded = loaded_memory,
    .thread_open = thread_open,
    .thread_close = thread_close,
    .get_many = get_many,
    .put_many = put_memory,
};
