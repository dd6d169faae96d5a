/* Opening a pack: data into memory, index from its file or built. See pack.h.
 *
 * Order: look at the file -> read the index's file, if it is of this version of the data -> load
 * the data on all cores, comparing each block with the index's checksum -> build the index from the
 * loaded data where there was none to trust, and publish it.
 *
 * Invariants: (1) what is served is what was indexed: each block was compared with the checksum
 * taken when the index was built. (2) The file's size and time are the same before and after. */
#include "pack/pack.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/assert.h"
#include "core/number.h"
#include "os/parallel.h"
#include "pack/builder.h"
#include "pack/external.h"
#include "pack/pack_open.h"

/* Beyond this the processor's own streaming prefetch has taken over. */
#define PREFETCH_BYTES_MAX 256

/* More than this brings nothing: a partition or a block is the smallest piece of work. */
#define THREADS_MAX 256

/* One pack_open() under way. */
struct opening {
    const struct os *os;
    const struct tarn_options *options;
    int fd;
    struct os_file_info info;
    struct pack *pack;
    _Atomic uint64_t block_next, bytes_done;
    _Atomic uint64_t bad_block; /* lowest block that differs from the index; UINT64_MAX: none */
    bool keep_index; /* the file of one for data on disk is not replaced by one in memory */
    _Atomic int status;
    pthread_mutex_t lock; /* guards error */
    struct tarn_error error;
};

static void notice(const struct tarn_options *options, const struct tarn_error *error,
                   const char *consequence)
{
    if (options->notice == NULL)
        return;
    char text[sizeof error->text + 64];
    snprintf(text, sizeof text, "%s; %s", error->text, consequence);
    options->notice(options->notice_context, text);
}

char *pack_index_path(const struct tarn_options *options)
{
    if (options->index_path != NULL)
        return strdup(options->index_path);
    size_t size = strlen(options->path) + sizeof INDEX_SUFFIX;
    char *path = malloc(size);
    if (path != NULL)
        snprintf(path, size, "%s%s", options->path, INDEX_SUFFIX);
    return path;
}

int pack_check_index_path(const struct os *os, const struct tarn_options *options,
                          const struct os_file_info *data, struct tarn_error *error)
{
    struct os_file_info info;
    int fd;
    if (options->index_path == NULL ||
        os->open(os, options->index_path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, &fd) != 0)
        return TARN_OK; /* if it is there and cannot be opened, reading it will say so */
    int result = os->file_info(os, fd, &info);
    os->close(os, fd);
    if (result == 0 && info.device == data->device && info.inode == data->inode)
        return error_set(error, TARN_INVALID,
                         "%s: the index cannot be kept in the data file; name another file",
                         options->index_path);
    return TARN_OK;
}

/* --- loading --- */

static void load_fail(struct opening *o, int status, const struct tarn_error *error)
{
    pthread_mutex_lock(&o->lock);
    if (atomic_load(&o->status) == TARN_OK) {
        o->error = *error;
        atomic_store(&o->status, status);
    }
    pthread_mutex_unlock(&o->lock);
}

static void note_bad_block(struct opening *o, uint64_t block)
{
    uint64_t lowest = atomic_load(&o->bad_block);
    while (block < lowest && !atomic_compare_exchange_weak(&o->bad_block, &lowest, block))
        ;
}

static void load_block(struct opening *o, uint64_t block)
{
    unsigned char *data = (void *)(uintptr_t)o->pack->data;
    uint64_t offset = block << CHECKSUM_BLOCK_BYTES_LOG2;
    uint64_t left = o->info.size - offset;
    size_t size = left < CHECKSUM_BLOCK_BYTES ? (size_t)left : CHECKSUM_BLOCK_BYTES;
    struct tarn_error error;
    int result = os_read_full(o->os, o->fd, data + offset, size, offset);
    if (result == -ENODATA) {
        error_set_at(&error, TARN_STALE, offset, UINT64_MAX, "%s: got shorter while it was read",
                     o->options->path);
        load_fail(o, TARN_STALE, &error);
    } else if (result < 0) {
        load_fail(o, os_error(&error, result, "cannot read", o->options->path), &error);
    } else if (o->pack->index != NULL &&
               hash_checksum(data + offset, size, 0) != o->pack->index->checksums[block]) {
        note_bad_block(o, block);
    }
    atomic_fetch_add(&o->bytes_done, size);
}

static void load_thread(void *context, unsigned thread)
{
    struct opening *o = context;
    uint64_t blocks = checksum_block_count(o->info.size);
    while (atomic_load(&o->status) == TARN_OK) {
        uint64_t block = atomic_fetch_add(&o->block_next, 1);
        if (block >= blocks)
            break;
        load_block(o, block);
        if (thread == 0 && o->options->progress != NULL &&
            !o->options->progress(o->options->progress_context, "loading",
                                  atomic_load(&o->bytes_done), o->info.size)) {
            struct tarn_error error;
            error_set(&error, TARN_CANCELLED, "%s: loading was cancelled", o->options->path);
            load_fail(o, TARN_CANCELLED, &error);
        }
    }
}

unsigned pack_thread_count(const struct tarn_options *options)
{
    unsigned threads = options->threads ? options->threads : os_core_count();
    return threads < THREADS_MAX ? threads : THREADS_MAX;
}

/* Data that differ from the index make the index the one to distrust: it is dropped. */
static int load_data(struct opening *o, bool require_index, struct tarn_error *error)
{
    struct pack *pack = o->pack;
    if (o->info.size == 0)
        return TARN_OK;
    void *data;
    if (o->os->map(o->os, o->info.size, &data) < 0) {
        char size[32];
        return error_set(error, TARN_NOMEM, "%s: out of memory: the data need %s", o->options->path,
                         number_format_size(o->info.size, size));
    }
    pack->data = data;
    pack->data_bytes = o->info.size;
    parallel_run(pack_thread_count(o->options), load_thread, o);
    int status = atomic_load(&o->status);
    if (status != TARN_OK) {
        if (error != NULL)
            *error = o->error;
        return status;
    }
    uint64_t bad = atomic_load(&o->bad_block);
    if (bad == UINT64_MAX)
        return TARN_OK;
    struct tarn_error mismatch;
    uint64_t offset = bad << CHECKSUM_BLOCK_BYTES_LOG2;
    error_set_at(&mismatch, TARN_CORRUPT, offset, UINT64_MAX,
                 "%s: the block at byte %" PRIu64 " does not match the index's checksum",
                 o->options->path, offset);
    if (require_index) {
        if (error != NULL)
            *error = mismatch;
        return TARN_CORRUPT;
    }
    notice(o->options, &mismatch, "building the index anew");
    index_free(pack->index);
    pack->index = NULL;
    return TARN_OK;
}

/* --- index --- */

/* An index that may be used, or none (and a notice of why). */
static int load_index(struct opening *o, const char *path, bool require_index,
                      struct tarn_error *error)
{
    struct tarn_error reason;
    int status = index_read(o->os, path, &o->info, &o->options->format, o->options->duplicates,
                            &o->pack->index, &reason);
    if (status == TARN_OK && o->pack->index->granule_log2 > 0) {
        index_free(o->pack->index);
        o->pack->index = NULL;
        o->keep_index = true;
        status = error_set(&reason, TARN_STALE, "%s: made for data that stay on disk", path);
    }
    if (status == TARN_OK)
        return TARN_OK;
    if (require_index || status == TARN_NOMEM) {
        if (error != NULL)
            *error = reason;
        return status;
    }
    if (status != TARN_MISSING)
        notice(o->options, &reason, "building the index anew");
    return TARN_OK;
}

int pack_find_format(const struct tarn_options *options, const struct source *source,
                     struct tarn_format *ret_format, struct tarn_error *error)
{
    *ret_format = options->format;
    int status = format_check(&options->format, error);
    if (status != TARN_OK || options->format.kind != TARN_FORMAT_AUTO)
        return status;
    struct buffer buffer = {0};
    struct tarn_bytes prefix;
    size_t size = source->size < FORMAT_DETECT_BYTES ? (size_t)source->size : FORMAT_DETECT_BYTES;
    status = source_read(source, 0, size, &buffer, &prefix, error);
    if (status == TARN_OK) {
        status = format_detect(prefix, source->size, ret_format, error);
        if (status != TARN_OK)
            error_prepend(error, "%s", source->path);
    }
    buffer_done(&buffer);
    if (status == TARN_OK && ret_format->kind == TARN_FORMAT_TARN)
        status = error_set(error, TARN_INVALID,
                           "%s: a tarn file is its own index, and is read where it lies; serve it "
                           "from disk (--data disk)",
                           source->path);
    return status;
}

static int build_index(const struct tarn_options *options, const struct source *source,
                       int64_t mtime_ns, struct index **ret_index,
                       struct builder_report *ret_report, struct tarn_error *error)
{
    struct builder_options build = {
        .duplicates = options->duplicates,
        .data_mtime_ns = mtime_ns,
        .threads = pack_thread_count(options),
        .progress = options->progress,
        .progress_context = options->progress_context,
    };
    int status = pack_find_format(options, source, &build.format, error);
    if (status != TARN_OK)
        return status;
    return builder_run(source, &build, ret_index, ret_report, error);
}

int pack_check_unchanged(const struct os *os, int fd, const struct os_file_info *before,
                         const char *path, struct tarn_error *error)
{
    struct os_file_info now;
    int result = os->file_info(os, fd, &now);
    if (result < 0)
        return os_error(error, result, "cannot look at", path);
    if (now.size != before->size || now.mtime_ns != before->mtime_ns)
        return error_set(error, TARN_STALE,
                         "%s: changed while it was read; try again when it is "
                         "complete (write it elsewhere, then rename it)",
                         path);
    return TARN_OK;
}

static int ensure_index(struct opening *o, const char *path, struct tarn_error *error)
{
    struct pack *pack = o->pack;
    if (pack->index != NULL)
        return TARN_OK;
    struct source source = {
        .os = o->os,
        .path = o->options->path,
        .fd = o->fd,
        .size = o->info.size,
        .memory = {pack->data, pack->data_bytes},
    };
    struct builder_report report;
    int status = build_index(o->options, &source, o->info.mtime_ns, &pack->index, &report, error);
    if (status != TARN_OK)
        return status;
    pack->index_built = true;
    if (o->options->index_readonly || o->keep_index)
        return TARN_OK;
    struct tarn_error failure;
    if (index_write(pack->index, path, &failure) != TARN_OK)
        notice(o->options, &failure, "serving with the index in memory only");
    return TARN_OK;
}

/* --- all --- */

/* index_size 0: not known yet. */
static int check_cap(const struct opening *o, uint64_t index_size, struct tarn_error *error)
{
    uint64_t cap = o->options->memory_bytes_max, needed;
    if (cap == 0)
        return TARN_OK;
    if (!__builtin_add_overflow(o->info.size, index_size, &needed) && needed <= cap)
        return TARN_OK;
    char data[32], index[48] = "", limit[32], size[32];
    if (index_size > 0)
        snprintf(index, sizeof index, " and the index %s", number_format_size(index_size, size));
    return error_set(error, TARN_TOOBIG,
                     "%s: does not fit in memory: the data need %s%s, but the cap is %s; raise "
                     "--memory",
                     o->options->path, number_format_size(o->info.size, data), index,
                     number_format_size(cap, limit));
}

static int open_steps(struct opening *o, const char *index_path, bool require_index,
                      struct tarn_error *error)
{
    int status = check_cap(o, 0, error);
    if (status == TARN_OK)
        status = pack_check_index_path(o->os, o->options, &o->info, error);
    if (status == TARN_OK)
        status = load_index(o, index_path, require_index, error);
    if (status == TARN_OK)
        status = load_data(o, require_index, error);
    if (status == TARN_OK)
        status = pack_check_unchanged(o->os, o->fd, &o->info, o->options->path, error);
    if (status == TARN_OK)
        status = ensure_index(o, index_path, error);
    if (status == TARN_OK)
        status = check_cap(o, index_bytes(o->pack->index), error);
    return status;
}

int pack_open(const struct os *os, const struct tarn_options *options, bool require_index,
              struct pack **ret_pack, struct tarn_error *error)
{
    struct opening o = {.os = os, .options = options, .bad_block = UINT64_MAX};
    uint64_t start = os->monotonic_ns(os);
    int status = format_check(&options->format, error);
    if (status != TARN_OK)
        return status;
    status = os_open_data(os, options->path, &o.fd, &o.info, error);
    if (status != TARN_OK)
        return status;
    pthread_mutex_init(&o.lock, NULL);
    char *index_path = pack_index_path(options);
    struct pack *pack = calloc(1, sizeof *pack);
    if (index_path == NULL || pack == NULL) {
        status = error_set(error, TARN_NOMEM, "%s: out of memory", options->path);
    } else {
        pack->os = os;
        pack->references = 1;
        o.pack = pack;
        status = open_steps(&o, index_path, require_index, error);
    }
    free(index_path);
    os->close(os, o.fd);
    pthread_mutex_destroy(&o.lock);
    if (status != TARN_OK) {
        pack_unref(pack);
        return status;
    }
    const struct index *index = pack->index;
    uint64_t mean = index->records ? pack->data_bytes / index->records : 1;
    pack->prefetch_bytes = mean < 1                    ? 1
                           : mean > PREFETCH_BYTES_MAX ? PREFETCH_BYTES_MAX
                                                       : (unsigned)mean;
    pack->load_us = (os->monotonic_ns(os) - start) / 1000;
    *ret_pack = pack;
    return TARN_OK;
}

void pack_ref(struct pack *pack)
{
    atomic_fetch_add_explicit(&pack->references, 1, memory_order_relaxed);
}

void pack_unref(struct pack *pack)
{
    if (pack == NULL || atomic_fetch_sub_explicit(&pack->references, 1, memory_order_acq_rel) > 1)
        return;
    if (pack->data != NULL)
        pack->os->unmap(pack->os, (void *)(uintptr_t)pack->data, pack->data_bytes);
    index_free(pack->index);
    free(pack);
}

int pack_index_build(const struct os *os, const struct tarn_options *options,
                     struct tarn_index_report *ret_report, struct tarn_error *error)
{
    struct os_file_info info;
    struct builder_report report;
    struct index *index = NULL;
    int fd;
    uint64_t start = os->monotonic_ns(os);
    int status = os_open_data(os, options->path, &fd, &info, error);
    if (status != TARN_OK)
        return status;
    if (info.size > (options->memory_bytes_max ? options->memory_bytes_max : os_memory_total())) {
        os->close(os, fd);
        struct external_settings settings = {.memory_bytes = options->memory_bytes_max};
        settings.granule_log2 = settings.fingerprint_bits = settings.layout = EXTERNAL_AUTO;
        return external_build(os, options, &settings, ret_report, error);
    }
    char *index_path = pack_index_path(options);
    if (index_path == NULL) {
        status = error_set(error, TARN_NOMEM, "%s: out of memory", options->path);
        goto done;
    }
    status = pack_check_index_path(os, options, &info, error);
    if (status != TARN_OK)
        goto done;
    struct source source = {.os = os, .path = options->path, .fd = fd, .size = info.size};
    status = build_index(options, &source, info.mtime_ns, &index, &report, error);
    if (status == TARN_OK)
        status = pack_check_unchanged(os, fd, &info, options->path, error);
    if (status == TARN_OK)
        status = index_write(index, index_path, error);
    if (status == TARN_OK)
        *ret_report = (struct tarn_index_report){
            .keys = index_keys(index),
            .records = index->records,
            .duplicates = index->duplicates,
            .collisions = report.collisions,
            .data_bytes = info.size,
            .index_bytes = index_bytes(index),
            .read_us = report.scan_us,
            .solve_us = report.solve_us,
            .total_us = (os->monotonic_ns(os) - start) / 1000,
            .format = index->format,
        };
done:
    index_free(index);
    free(index_path);
    os->close(os, fd);
    return status;
}
