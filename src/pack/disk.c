/* Opening a pack that stays on disk, and reading it a piece at a time. See disk.h.
 *
 * Order: look at the file -> what kind is it -> read its index, or build one -> open the file once
 * more for direct reads, where its file system has them.
 *
 * Invariants: (1) the file that is read is the one that was looked at (device and inode). (2)
 * Offset, size and memory of each read are aligned, and after a short read the next begins at an
 * aligned place again. (3) A file that changes is noticed by checksums only: nothing else is relied
 * on. Failure modes: as tarn_open(); afterwards STALE, CORRUPT, IO of what is read. */
#include "pack/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "core/assert.h"
#include "core/number.h"
#include "pack/hashed.h"
#include "pack/lookup.h"
#include "pack/pack.h"

/* --- reading --- */

bool disk_buffer_reserve(struct disk_buffer *b, size_t size)
{
    size_t wanted = (size + DISK_ALIGN_BYTES - 1) & ~(size_t)(DISK_ALIGN_BYTES - 1);
    if (wanted < size)
        return false;
    if (wanted <= b->capacity && b->data != NULL)
        return true;
    disk_buffer_done(b);
    wanted = wanted > 0 ? wanted : DISK_ALIGN_BYTES;
    b->data = aligned_alloc(DISK_ALIGN_BYTES, wanted);
    b->capacity = b->data != NULL ? wanted : 0;
    return b->data != NULL;
}

void disk_buffer_done(struct disk_buffer *b)
{
    free(b->data);
    *b = (struct disk_buffer){0};
}

/* Short reads that bring less than a piece of alignment, one after the other, before it is taken
 * for the end of the file (which is what it mostly is). */
#define SHORT_READS_MAX 8

int disk_read(const struct os *os, int fd, void *data, size_t size, size_t needed, uint64_t offset,
              size_t *ret_got)
{
    size_t done = 0, got = 0;
    unsigned stuck = 0;
    ASSERT(offset % DISK_ALIGN_BYTES == 0 && size % DISK_ALIGN_BYTES == 0);
    while (got < needed && stuck < SHORT_READS_MAX) {
        size_t n = 0;
        int result = os->read_at(os, fd, (char *)data + done, size - done, offset + done, &n);
        if (result < 0)
            return result;
        if (n == 0)
            break;
        got = done + n > got ? done + n : got;
        size_t whole = n & ~(size_t)(DISK_ALIGN_BYTES - 1);
        stuck = whole == 0 ? stuck + 1 : 0;
        done += whole;
    }
    *ret_got = got;
    return 0;
}

int disk_reserve(const struct disk_pack *pack, struct disk_buffer *buffer, size_t size,
                 struct tarn_error *error)
{
    if (disk_buffer_reserve(buffer, size))
        return TARN_OK;
    return error_set(error, TARN_NOMEM, "%s: out of memory: a read has %zu bytes", pack->path,
                     size);
}

int disk_step(struct lookup *l, struct disk_buffer *buffer, struct lookup_found *ret_found,
              struct tarn_error *error)
{
    size_t got;
    int status = disk_reserve(l->pack, buffer, l->size, error);
    if (status != TARN_OK)
        return status;
    int result = disk_read(l->pack->os, l->fd, buffer->data, l->size, l->needed, l->offset, &got);
    return result < 0 ? lookup_failed(l, result, error)
                      : lookup_next(l, buffer->data, got, ret_found, error);
}

int disk_find(const struct disk_pack *pack, struct tarn_bytes key, struct disk_buffer *buffer,
              struct lookup_found *ret_found, struct tarn_error *error)
{
    struct lookup l;
    int status = lookup_begin(pack, key, &l);
    while (status == LOOKUP_READ)
        status = disk_step(&l, buffer, ret_found, error);
    return status;
}

int disk_value(const struct disk_pack *pack, const struct lookup_found *found,
               struct disk_buffer *buffer, struct buffer *out, struct tarn_error *error)
{
    size_t size = found->record.value.size;
    struct tarn_bytes view = found->record.value;
    if (!buffer_reserve(out, size + 1)) /* of an empty value there is data too */
        return error_set(error, TARN_NOMEM, "%s: out of memory: a value has %zu bytes", pack->path,
                         size);
    if (!found->far)
        buffer_append(out, view.data, size);
    for (uint64_t at = 0; found->far && at < size; at += view.size) {
        struct piece p;
        size_t got;
        piece_begin(pack, &found->place, at, &p);
        int status = disk_reserve(pack, buffer, p.size, error);
        if (status != TARN_OK)
            return status;
        int result = disk_read(pack->os, p.fd, buffer->data, p.size, p.needed, p.offset, &got);
        status = result < 0 ? piece_failed(&p, result, error)
                            : piece_finish(&p, buffer->data, got, &view, error);
        if (status != TARN_OK)
            return status;
        buffer_append(out, view.data, view.size);
    }
    return TARN_OK;
}

/* --- opening --- */

/* Some file systems open for direct reads and then refuse them. */
static bool direct_reads_work(const struct disk_pack *pack, int fd)
{
    struct disk_buffer buffer = {0};
    size_t n;
    bool works = disk_buffer_reserve(&buffer, DISK_ALIGN_BYTES) &&
                 pack->os->read_at(pack->os, fd, buffer.data, DISK_ALIGN_BYTES, 0, &n) == 0;
    disk_buffer_done(&buffer);
    return works;
}

/* The same file for direct reads instead of *fd; as it is where that cannot be had. */
static bool open_direct(struct disk_pack *pack, const char *path, int *fd)
{
    const struct os *os = pack->os;
    struct os_file_info was, info;
    int direct;
    if (os->file_info(os, *fd, &was) != 0 ||
        os->open(os, path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_DIRECT, 0, &direct) != 0)
        return false;
    if (os->file_info(os, direct, &info) != 0 || info.device != was.device ||
        info.inode != was.inode || !direct_reads_work(pack, direct)) {
        (void)os->close(os, direct); /* only read from */
        return false;
    }
    (void)os->close(os, *fd);
    *fd = direct;
    return true;
}

static int check_cap(const struct disk_pack *pack, const struct tarn_options *options,
                     struct tarn_error *error)
{
    struct disk_figures figures;
    char needed[32], cap[32];
    disk_figures(pack, &figures);
    if (options->memory_bytes_max == 0 || figures.memory_bytes <= options->memory_bytes_max)
        return TARN_OK;
    return error_set(error, TARN_TOOBIG,
                     "%s: its index needs %s of memory, but the cap is %s; raise --memory, or "
                     "build a smaller index (tarn index --memory, tarn plan)",
                     pack->path, number_format_size(figures.memory_bytes, needed),
                     number_format_size(options->memory_bytes_max, cap));
}

/* A `tarn` file's directory may take a share of the memory: 1 of so many bytes. */
#define DIRECTORY_SHARE 4

/* A `tarn` file: it is its own index. */
static int open_hashed(struct disk_pack *pack, const struct tarn_options *options,
                       struct tarn_error *error)
{
    uint64_t cap = options->memory_bytes_max;
    pack->layout = DISK_HASHED;
    return hashed_open(pack->os, pack->path, cap ? cap / DIRECTORY_SHARE : UINT64_MAX,
                       &pack->hashed, error);
}

static int open_index(struct disk_pack *pack, const struct tarn_options *options,
                      const char *index_path, struct tarn_error *error)
{
    int status = index_read(pack->os, index_path, &pack->info, &options->format,
                            options->duplicates, &pack->index, error);
    if (status != TARN_OK)
        return status;
    if (pack->index->granule_log2 == 0)
        return error_set(error, TARN_STALE,
                         "%s: stale: it is for data in memory; build one for data on disk (tarn "
                         "index --granule auto)",
                         index_path);
    pack->layout = pack->index->layout == INDEX_PAGES ? DISK_PAGES : DISK_BLOCKS;
    if (pack->layout == DISK_BLOCKS)
        return TARN_OK;
    struct os_file_info info;
    pack->index_path = strdup(index_path);
    if (pack->index_path == NULL)
        return error_set(error, TARN_NOMEM, "%s: out of memory", index_path);
    status = os_open_data(pack->os, index_path, &pack->index_fd, &info, error);
    if (status != TARN_OK)
        return status;
    (void)open_direct(pack, index_path, &pack->index_fd);
    return TARN_OK;
}

int disk_is_hashed(const struct os *os, const struct tarn_options *options, int fd,
                   bool *ret_hashed, struct tarn_error *error)
{
    char first[HEADER_BLOCK_BYTES];
    *ret_hashed = options->format.kind == TARN_FORMAT_TARN;
    if (options->format.kind != TARN_FORMAT_AUTO)
        return TARN_OK;
    int result = os_read_full(os, fd, first, sizeof first, 0);
    *ret_hashed = result == 0 && checkpoint_looks_like(first, sizeof first);
    return result == 0 || result == -ENODATA
               ? TARN_OK
               : os_error(error, result, "cannot read", options->path);
}

static int open_steps(struct disk_pack *pack, const struct tarn_options *options,
                      bool require_index, struct tarn_error *error)
{
    (void)require_index;
    char *index_path = pack_index_path(options);
    int status = format_check(&options->format, error);
    if (status == TARN_OK && (index_path == NULL || (pack->path = strdup(options->path)) == NULL))
        status = error_set(error, TARN_NOMEM, "%s: out of memory", options->path);
    if (status == TARN_OK)
        status = os_open_data(pack->os, options->path, &pack->fd, &pack->info, error);
    pack->data_bytes = pack->info.size;
    bool hashed = false;
    if (status == TARN_OK)
        status = disk_is_hashed(pack->os, options, pack->fd, &hashed, error);
    if (status == TARN_OK)
        status = hashed ? open_hashed(pack, options, error)
                        : open_index(pack, options, index_path, error);
    if (status == TARN_OK)
        status = check_cap(pack, options, error);
    if (status == TARN_OK)
        pack->direct = open_direct(pack, options->path, &pack->fd);
    free(index_path);
    return status;
}

int disk_open(const struct os *os, const struct tarn_options *options, bool require_index,
              struct disk_pack **ret_pack, struct tarn_error *error)
{
    uint64_t start = os->monotonic_ns(os);
    struct disk_pack *pack = calloc(1, sizeof *pack);
    if (pack == NULL)
        return error_set(error, TARN_NOMEM, "%s: out of memory", options->path);
    *pack = (struct disk_pack){.os = os, .fd = -1, .index_fd = -1, .references = 1};
    int status = open_steps(pack, options, require_index, error);
    if (status != TARN_OK) {
        disk_unref(pack);
        return status;
    }
    pack->open_us = (os->monotonic_ns(os) - start) / 1000;
    *ret_pack = pack;
    return TARN_OK;
}

void disk_ref(struct disk_pack *pack)
{
    atomic_fetch_add_explicit(&pack->references, 1, memory_order_relaxed);
}

void disk_unref(struct disk_pack *pack)
{
    if (pack == NULL || atomic_fetch_sub_explicit(&pack->references, 1, memory_order_acq_rel) > 1)
        return;
    if (pack->fd >= 0)
        (void)pack->os->close(pack->os, pack->fd); /* only read from */
    if (pack->index_fd >= 0)
        (void)pack->os->close(pack->os, pack->index_fd);
    index_free(pack->index);
    hashed_close(pack->hashed);
    free(pack->path);
    free(pack->index_path);
    free(pack);
}

void disk_figures(const struct disk_pack *pack, struct disk_figures *ret_figures)
{
    const struct index *index = pack->index;
    if (pack->layout == DISK_HASHED) {
        const struct checkpoint_totals *totals = &pack->hashed->totals;
        *ret_figures = (struct disk_figures){
            .keys = totals->records,
            .records = totals->records,
            .value_bytes_total = totals->payload_bytes,
            .memory_bytes = sizeof *pack + hashed_memory_bytes(pack->hashed),
            .read_bytes_max = lookup_read_bytes_max(pack),
            .format = {.kind = TARN_FORMAT_TARN},
        };
        return;
    }
    *ret_figures = (struct disk_figures){
        .keys = index_keys(index),
        .records = index->records,
        .key_bytes_total = index->key_bytes_total,
        .value_bytes_total = index->value_bytes_total,
        .memory_bytes = sizeof *pack + sizeof *index + index_memory_bytes(index),
        .read_bytes_max = lookup_read_bytes_max(pack),
        .format = index->format,
    };
}

int disk_look(const struct disk_pack *pack, struct tarn_error *error)
{
    const struct os *os = pack->os;
    struct os_file_info now, named;
    int fd, result = os->file_info(os, pack->fd, &now);
    if (result < 0)
        return os_error(error, result, "cannot look at", pack->path);
    if (now.size != pack->info.size || now.mtime_ns != pack->info.mtime_ns)
        return error_set(error, TARN_STALE,
                         "%s: changed while it is served: it had %" PRIu64 " bytes, now %" PRIu64
                         "; reads of what changed fail; restore it, or reload",
                         pack->path, pack->info.size, now.size);
    result = os->open(os, pack->path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, &fd);
    if (result == -ENOENT)
        return error_set(error, TARN_MISSING,
                         "%s: was removed while it is served; the open file is read further",
                         pack->path);
    if (result < 0)
        return os_error(error, result, "cannot open", pack->path);
    result = os->file_info(os, fd, &named);
    (void)os->close(os, fd); /* only looked at */
    if (result < 0)
        return os_error(error, result, "cannot look at", pack->path);
    if (named.device != now.device || named.inode != now.inode)
        return error_set(error, TARN_MISSING,
                         "%s: was replaced while it is served; the old file is read further: "
                         "reload for the new one",
                         pack->path);
    return TARN_OK;
}
