/* Lookups: which block may have the key, and what was read for it. See lookup.h; the bytes of
 * blocks are judged in lookup_block.c, those of pages in lookup_page.c.
 *
 * Invariants
 * 1. Of bytes that were read nothing is believed before the checksum that the index (or the page's,
 *    or the `tarn` file's own) has of them held.
 * 2. A block that may have the key is read at most once in a lookup; a hash that several records
 *    have leads to one block after the other, in the order in which a record of it counts.
 * 3. Every number of the index is compared with its bound before it is used.
 * Failure modes: CORRUPT, STALE, IO: of this key only. */
#include <inttypes.h>

#include "core/assert.h"
#include "pack/lookup_internal.h"

void lookup_ask(struct lookup *l, enum lookup_reading reading, int fd, uint64_t start, uint64_t end)
{
    uint64_t aligned = start & ~(uint64_t)(DISK_ALIGN_BYTES - 1);
    uint64_t last = (end + DISK_ALIGN_BYTES - 1) & ~(uint64_t)(DISK_ALIGN_BYTES - 1);
    ASSERT(start < end);
    l->reading = (unsigned char)reading;
    l->fd = fd;
    l->start = start;
    l->end = end;
    l->offset = aligned;
    l->size = (size_t)(last - aligned);
    l->needed = (size_t)(end - aligned);
}

static const char *read_path(const struct lookup *l)
{
    return l->reading == READING_PAGE ? l->pack->index_path : l->pack->path;
}

unsigned char *lookup_arrived(const struct lookup *l, void *data, size_t size,
                              struct tarn_error *error)
{
    if (size >= l->needed)
        return (unsigned char *)data + (l->start - l->offset);
    error_set_at(error, TARN_STALE, l->start, UINT64_MAX,
                 "%s: the bytes at byte %" PRIu64 " are gone: it got shorter while it was open; "
                 "restore it, or reload",
                 read_path(l), l->start);
    return NULL;
}

int lookup_corrupt(const struct disk_pack *pack, uint64_t offset, const char *what,
                   struct tarn_error *error)
{
    return error_set_at(error, TARN_CORRUPT, offset, UINT64_MAX,
                        "%s: damaged at byte %" PRIu64 ": %s", pack->path, offset, what);
}

int lookup_check_raw(const struct disk_pack *pack, const unsigned char *data, uint64_t start,
                     uint64_t end, struct tarn_error *error)
{
    for (uint64_t at = start; at < end; at += CHECKSUM_BLOCK_BYTES) {
        uint64_t left = pack->data_bytes - at;
        size_t size = left < CHECKSUM_BLOCK_BYTES ? (size_t)left : CHECKSUM_BLOCK_BYTES;
        uint64_t expected = pack->index->checksums[at >> CHECKSUM_BLOCK_BYTES_LOG2];
        if (hash_checksum(data + (at - start), size, 0) != expected)
            return lookup_corrupt(pack, at, "a MiB of the data does not match the index's checksum",
                                  error);
    }
    return TARN_OK;
}

uint64_t lookup_read_bytes_max(const struct disk_pack *pack)
{
    return pack->layout == DISK_HASHED ? lookup_hashed_read_bytes_max(pack)
                                       : lookup_block_read_bytes_max(pack);
}

/* --- which block --- */

static uint64_t exception_bound(const struct index *index, uint64_t hash)
{
    uint64_t low = 0, high = index->exception_count;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (index->exceptions[middle].hash < hash)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The next block of those that the index's list has for this hash: from the last to the first, or
 * with the policy FIRST the other way round. exception and exception_end bound those left. */
static int next_exception(struct lookup *l)
{
    const struct index *index = l->pack->index;
    bool first = index->duplicates_policy == TARN_DUPLICATES_FIRST;
    while (l->exception < l->exception_end) {
        uint64_t i = first ? l->exception++ : --l->exception_end;
        if (lookup_block_plan(l, index->exceptions[i].location) == LOOKUP_READ)
            return LOOKUP_READ;
    }
    return TARN_NOTFOUND;
}

/* By the static function. */
static int begin_blocks(struct lookup *l)
{
    const struct index *index = l->pack->index;
    if (index->exception_count > 0) {
        l->exception = l->exception_end = exception_bound(index, l->hash);
        while (l->exception_end < index->exception_count &&
               index->exceptions[l->exception_end].hash == l->hash)
            l->exception_end++;
        if (l->exception < l->exception_end)
            return next_exception(l);
    }
    uint64_t value = ribbon_query(&index->ribbon, l->hash);
    uint64_t mask = (1ull << index->fingerprint_bits) - 1;
    if ((value & mask) != (l->hash & mask))
        return TARN_NOTFOUND;
    return lookup_block_plan(l, value >> index->fingerprint_bits);
}

int lookup_begin(const struct disk_pack *pack, struct tarn_bytes key, struct lookup *ret)
{
    *ret = (struct lookup){.pack = pack, .key = key, .fd = -1};
    if (key.size > TARN_KEY_BYTES_MAX)
        return TARN_NOTFOUND;
    if (pack->layout == DISK_HASHED)
        return lookup_hashed_begin(ret);
    if (pack->index->records == 0)
        return TARN_NOTFOUND;
    ret->hash = index_hash(pack->index, key);
    return pack->layout == DISK_PAGES ? lookup_page_begin(ret) : begin_blocks(ret);
}

/* This block does not have the key. */
static int go_on(struct lookup *l)
{
    return l->pack->layout == DISK_PAGES ? lookup_page_again(l) : next_exception(l);
}

int lookup_next(struct lookup *l, void *data, size_t size, struct lookup_found *ret_found,
                struct tarn_error *error)
{
    unsigned char *bytes = lookup_arrived(l, data, size, error);
    if (bytes == NULL)
        return TARN_STALE;
    if (l->reading == READING_PAGE)
        return lookup_page_finish(l, bytes, error);
    if (l->reading == READING_ENTRY)
        return lookup_hashed_page(l, bytes, error);
    if (l->reading == READING_BODY)
        return lookup_hashed_block(l, bytes, ret_found, error);
    int status = lookup_block_finish(l, bytes, ret_found, error);
    return status == TARN_NOTFOUND ? go_on(l) : status;
}

static int read_failed(const char *path, uint64_t offset, size_t size, int negative_errno,
                       struct tarn_error *error)
{
    os_error(error, negative_errno, "cannot read", path);
    error_prepend(error, "%zu bytes at byte %" PRIu64, size, offset);
    if (error != NULL) {
        error->status = TARN_IO;
        error->offset = offset;
    }
    return TARN_IO;
}

int lookup_failed(const struct lookup *l, int negative_errno, struct tarn_error *error)
{
    return read_failed(read_path(l), l->offset, l->size, negative_errno, error);
}

/* --- far values --- */

static uint64_t minimum(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* The bytes of the file that have the piece with the value's byte `at`, and are summed together. */
static void piece_range(const struct disk_pack *pack, const struct lookup_far *value, uint64_t at,
                        uint64_t *ret_start, uint64_t *ret_end)
{
    if (pack->layout == DISK_HASHED) {
        lookup_hashed_piece(value, at, ret_start, ret_end);
    } else {
        *ret_start = (value->offset + at) & ~(uint64_t)(CHECKSUM_BLOCK_BYTES - 1);
        *ret_end = minimum(*ret_start + CHECKSUM_BLOCK_BYTES, pack->data_bytes);
    }
}

void piece_begin(const struct disk_pack *pack, const struct lookup_far *value, uint64_t at,
                 struct piece *ret)
{
    struct lookup l = {.pack = pack};
    uint64_t start, end;
    ASSERT(at < value->size);
    piece_range(pack, value, at, &start, &end);
    lookup_ask(&l, READING_HEAD, pack->fd, start, end);
    *ret = (struct piece){
        .fd = l.fd,
        .size = l.size,
        .needed = l.needed,
        .offset = l.offset,
        .pack = pack,
        .value = *value,
        .at = at,
    };
}

int piece_finish(const struct piece *p, void *data, size_t size, struct tarn_bytes *ret_view,
                 struct tarn_error *error)
{
    const struct disk_pack *pack = p->pack;
    struct lookup l = {.pack = pack, .reading = READING_HEAD};
    piece_range(pack, &p->value, p->at, &l.start, &l.end);
    l.offset = p->offset;
    l.needed = p->needed;
    const unsigned char *bytes = lookup_arrived(&l, data, size, error);
    if (bytes == NULL)
        return TARN_STALE;
    if (pack->layout == DISK_HASHED)
        return lookup_hashed_piece_finish(p, bytes, ret_view, error);
    int status = lookup_check_raw(pack, bytes, l.start, l.end, error);
    if (status != TARN_OK)
        return status;
    uint64_t from = p->value.offset + p->at, to = minimum(l.end, p->value.offset + p->value.size);
    *ret_view = (struct tarn_bytes){bytes + (from - l.start), (size_t)(to - from)};
    return TARN_OK;
}

int piece_failed(const struct piece *p, int negative_errno, struct tarn_error *error)
{
    return read_failed(p->pack->path, p->offset, p->size, negative_errno, error);
}
