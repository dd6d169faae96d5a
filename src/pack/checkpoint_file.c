/* An open `tarn` file: header, footer and directory, each believed only once its checksum holds.
 * doc/format-tarn.md.
 *
 * Invariants
 * 1. blocks, pages and blocks_end agree with each other and with the file's size, or the directory
 *    is not known: pages is 0.
 * 2. The top's hashes do not decrease, its offsets increase and lie within the blocks.
 * 3. A window holds `bytes.size` bytes of the file from `at` on.
 * 4. No more memory is asked for than the file has bytes.
 * Failure modes: CORRUPT with the place; a file that gets shorter meanwhile is CORRUPT too; IO,
 * NOMEM; INVALID: a version of the format that is not known. */
#include "pack/checkpoint_file.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "core/status.h"

int checkpoint_file_corrupt(const struct checkpoint_file *f, uint64_t offset, const char *what,
                            struct tarn_error *error)
{
    return error_set_at(error, TARN_CORRUPT, offset, UINT64_MAX,
                        "%s: damaged at byte %" PRIu64 ": %s", f->path, offset, what);
}

int checkpoint_file_damage(const struct checkpoint_file *f, uint64_t *damaged, uint64_t offset,
                           const char *what, struct tarn_error *error)
{
    if (damaged == NULL)
        return checkpoint_file_corrupt(f, offset, what, error);
    ++*damaged;
    return TARN_OK;
}

int checkpoint_file_open(struct checkpoint_file *f, const struct os *os, const char *path,
                         struct tarn_error *error)
{
    struct os_file_info info;
    *f = (struct checkpoint_file){.os = os, .fd = -1, .path = strdup(path)};
    if (f->path == NULL)
        return error_set(error, TARN_NOMEM, "cannot read %s: out of memory", path);
    int status = os_open_data(os, path, &f->fd, &info, error);
    if (status != TARN_OK) {
        f->fd = -1;
        checkpoint_file_close(f);
        return status;
    }
    f->bytes = info.size;
    return TARN_OK;
}

void checkpoint_file_close(struct checkpoint_file *f)
{
    if (f->fd >= 0)
        (void)f->os->close(f->os, f->fd); /* nothing was written */
    free(f->path);
    free(f->top);
    *f = (struct checkpoint_file){.fd = -1};
}

int checkpoint_file_read(const struct checkpoint_file *f, void *data, size_t size, uint64_t offset,
                         struct tarn_error *error)
{
    int result = os_read_full(f->os, f->fd, data, size, offset);
    if (result == -ENODATA)
        return checkpoint_file_corrupt(f, offset, "the file got shorter while it was read", error);
    return result < 0 ? os_error(error, result, "cannot read", f->path) : TARN_OK;
}

int checkpoint_file_view(const struct checkpoint_file *f, struct checkpoint_window *w,
                         uint64_t offset, size_t size, uint64_t end, unsigned char **ret_bytes,
                         struct tarn_error *error)
{
    struct buffer *b = &w->bytes;
    if (offset < w->at || offset > w->at + b->size) {
        buffer_clear(b);
        w->at = offset;
    }
    size_t skip = (size_t)(offset - w->at);
    if (size > b->size - skip) {
        buffer_consume(b, skip);
        w->at = offset;
        skip = 0;
        if (size <= CHECKPOINT_WINDOW_BYTES)
            buffer_trim(b, 2 * CHECKPOINT_WINDOW_BYTES);
        size_t wanted = size > CHECKPOINT_WINDOW_BYTES ? size : CHECKPOINT_WINDOW_BYTES;
        wanted = end - offset < wanted ? (size_t)(end - offset) : wanted;
        if (!buffer_reserve_exactly(b, wanted - b->size))
            return error_set(error, TARN_NOMEM, "%s: out of memory: a block has %zu bytes", f->path,
                             size);
        int status =
            checkpoint_file_read(f, b->data + b->size, wanted - b->size, offset + b->size, error);
        if (status != TARN_OK)
            return status;
        b->size = wanted;
    }
    *ret_bytes = b->data + skip;
    return TARN_OK;
}

/* --- header and footer --- */

static bool sound_header(const unsigned char h[HEADER_BYTES])
{
    return memcmp(h + HEADER_MAGIC, CHECKPOINT_MAGIC, 8) == 0 &&
           load_u64le(h + HEADER_CHECKSUM) == hash_checksum(h, HEADER_CHECKSUM, HEADER_SEED);
}

static bool sound_footer(const unsigned char f[FOOTER_BYTES])
{
    return load_u64le(f + FOOTER_CHECKSUM) == checkpoint_footer_checksum(f) &&
           sound_header(f + FOOTER_HEADER);
}

/* The header, or to salvage the footer's copy of it. has_footer: the footer is sound. */
static int check_header(struct checkpoint_file *f, bool has_footer, uint64_t *damaged,
                        struct tarn_error *error)
{
    if (!sound_header(f->header)) {
        bool ours = memcmp(f->header + HEADER_MAGIC, CHECKPOINT_MAGIC, 8) == 0;
        int status = checkpoint_file_damage(
            f, has_footer ? damaged : NULL, 0,
            ours ? "the header does not match its checksum" : "not a tarn file", error);
        if (status != TARN_OK)
            return status;
        memcpy(f->header, f->footer + FOOTER_HEADER, HEADER_BYTES);
    }
    uint32_t version = load_u32le(f->header + HEADER_VERSION);
    if (version != CHECKPOINT_VERSION && version != CHECKPOINT_VERSION_PIECES)
        return error_set(error, TARN_INVALID,
                         "%s: format version %" PRIu32 ", this program reads versions %d and %d; "
                         "use %s",
                         f->path, version, CHECKPOINT_VERSION, CHECKPOINT_VERSION_PIECES,
                         version > CHECKPOINT_VERSION ? "a newer one" : "an older one");
    f->pieces = version == CHECKPOINT_VERSION_PIECES;
    f->block_bytes =
        f->pieces ? load_u32le(f->header + HEADER_BLOCK_BYTES) : CHECKPOINT_BLOCK_BYTES;
    if (!checkpoint_block_bytes_good(f->block_bytes))
        return checkpoint_file_corrupt(f, HEADER_BLOCK_BYTES, "impossible size of blocks", error);
    f->salt = load_u64le(f->header + HEADER_SALT);
    return TARN_OK;
}

/* Blocks, directory, top and footer fill the file as the footer says. */
static bool sound_layout(const struct checkpoint_file *f)
{
    const uint64_t page_bytes = PAGE_BYTES + ENTRY_BYTES; /* with its entry in the top */
    uint64_t left = f->bytes - HEADER_BYTES - FOOTER_BYTES;
    uint64_t blocks = load_u64le(f->footer + FOOTER_BLOCKS);
    uint64_t pages = load_u64le(f->footer + FOOTER_PAGES);
    return load_u64le(f->footer + FOOTER_BYTES_ALL) == f->bytes &&
           pages == blocks / PAGE_ENTRIES_MAX + (blocks % PAGE_ENTRIES_MAX != 0) &&
           pages <= left / page_bytes && (pages > 0) == (left > 0) &&
           load_u64le(f->footer + FOOTER_DIRECTORY) == HEADER_BYTES + left - pages * page_bytes;
}

static int check_footer(struct checkpoint_file *f, bool sound, uint64_t expected_checksum,
                        uint64_t *damaged, struct tarn_error *error)
{
    uint64_t at = f->blocks_end;
    if (!sound) {
        f->blocks_end = f->bytes; /* to salvage: where the blocks end is not known */
        return checkpoint_file_damage(
            f, damaged, at, "no sound footer: the file was cut, or never finished", error);
    }
    if (memcmp(f->footer + FOOTER_HEADER, f->header, HEADER_BYTES) != 0)
        return checkpoint_file_corrupt(f, at, "header and footer are of two files", error);
    uint64_t checksum = load_u64le(f->footer + FOOTER_CHECKSUM);
    if (expected_checksum != 0 && checksum != expected_checksum)
        return checkpoint_file_corrupt(f, at, "this is another file than the one expected here",
                                       error);
    if (!sound_layout(f))
        return checkpoint_file_damage(f, damaged, at, "the file's size is not what its footer says",
                                      error);
    f->blocks = load_u64le(f->footer + FOOTER_BLOCKS);
    f->pages = load_u64le(f->footer + FOOTER_PAGES);
    f->blocks_end = load_u64le(f->footer + FOOTER_DIRECTORY);
    return TARN_OK;
}

int checkpoint_file_ends(struct checkpoint_file *f, uint64_t expected_checksum, uint64_t *damaged,
                         struct tarn_error *error)
{
    bool sound = f->bytes >= HEADER_BYTES + FOOTER_BYTES;
    if (f->bytes < HEADER_BYTES || (!sound && damaged == NULL))
        return checkpoint_file_corrupt(f, f->bytes, "shorter than header and footer", error);
    f->blocks_end = sound ? f->bytes - FOOTER_BYTES : f->bytes;
    int status = checkpoint_file_read(f, f->header, HEADER_BYTES, 0, error);
    if (status == TARN_OK && sound)
        status = checkpoint_file_read(f, f->footer, FOOTER_BYTES, f->blocks_end, error);
    if (status != TARN_OK)
        return status;
    sound = sound && sound_footer(f->footer);
    status = check_header(f, sound, damaged, error);
    return status == TARN_OK ? check_footer(f, sound, expected_checksum, damaged, error) : status;
}

void checkpoint_file_about(const struct checkpoint_file *f, struct checkpoint_about *ret_about)
{
    *ret_about = (struct checkpoint_about){
        .store_id = load_u64le(f->header + HEADER_STORE_ID),
        .sequence = load_u64le(f->header + HEADER_SEQUENCE),
        .time_ms = (int64_t)load_u64le(f->header + HEADER_TIME_MS),
        .block_bytes = f->pieces ? f->block_bytes : 0,
    };
    memcpy(ret_about->secret, f->header + HEADER_SECRET, HASH_SECRET_BYTES);
}

void checkpoint_file_totals(const struct checkpoint_file *f, struct checkpoint_totals *ret_totals)
{
    *ret_totals = (struct checkpoint_totals){
        .records = load_u64le(f->footer + FOOTER_RECORDS),
        .expiring = load_u64le(f->footer + FOOTER_EXPIRING),
        .blocks = f->blocks,
        .payload_bytes = load_u64le(f->footer + FOOTER_PAYLOAD),
        .bytes = f->bytes,
        .checksum = load_u64le(f->footer + FOOTER_CHECKSUM),
    };
}

/* --- the directory --- */

static bool sound_top(const struct checkpoint_file *f, const unsigned char *top)
{
    uint64_t size = f->pages * ENTRY_BYTES, hash = 0, offset = 0;
    if (hash_checksum(top, size, f->salt) != load_u64le(f->footer + FOOTER_TOP_CHECKSUM))
        return false;
    for (const unsigned char *e = top; e < top + size; e += ENTRY_BYTES) {
        uint64_t next_hash = load_u64le(e + ENTRY_HASH), next = load_u64le(e + ENTRY_OFFSET);
        if (next_hash < hash || (e == top ? next != HEADER_BYTES : next <= offset))
            return false;
        hash = next_hash;
        offset = next;
    }
    return offset < f->blocks_end;
}

int checkpoint_file_top(struct checkpoint_file *f, struct tarn_error *error)
{
    uint64_t at = f->blocks_end + f->pages * PAGE_BYTES;
    size_t size = (size_t)(f->pages * ENTRY_BYTES);
    unsigned char *top = malloc(size + 1); /* + 1: a block of memory even for none */
    if (top == NULL)
        return error_set(error, TARN_NOMEM, "%s: out of memory: its directory needs %zu bytes",
                         f->path, size);
    int status = checkpoint_file_read(f, top, size, at, error);
    if (status == TARN_OK && !sound_top(f, top))
        status = checkpoint_file_corrupt(
            f, at, "the top of the directory does not match its checksum", error);
    if (status != TARN_OK) {
        free(top);
        return status;
    }
    f->top = top;
    return TARN_OK;
}

int checkpoint_file_page(const struct checkpoint_file *f, uint64_t number,
                         unsigned char page[PAGE_BYTES], struct tarn_error *error)
{
    int status =
        checkpoint_file_read(f, page, PAGE_BYTES, f->blocks_end + number * PAGE_BYTES, error);
    return status == TARN_OK ? checkpoint_file_check_page(f, number, page, error) : status;
}

int checkpoint_file_check_page(const struct checkpoint_file *f, uint64_t number,
                               const unsigned char page[PAGE_BYTES], struct tarn_error *error)
{
    uint64_t at = f->blocks_end + number * PAGE_BYTES;
    uint64_t sum = hash_checksum(page, PAGE_CHECKSUM, checkpoint_page_seed(f->salt, number));
    if (load_u64le(page + PAGE_CHECKSUM) != sum || load_u64le(page + PAGE_NUMBER) != number)
        return checkpoint_file_corrupt(f, at, "a page of the directory does not match its checksum",
                                       error);
    if (f->top != NULL && memcmp(page, f->top + number * ENTRY_BYTES, ENTRY_BYTES) != 0)
        return checkpoint_file_corrupt(f, at, "a page of the directory is not the top's", error);
    return TARN_OK;
}
