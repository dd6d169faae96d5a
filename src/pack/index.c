/* The index file: header and body, written whole, read with suspicion. Layout: doc/index.md.
 *
 * Invariants of an index that was read: (1) header and body match their checksums. (2) Every count
 * in the header agrees with the body's size, computed without overflow. (3) The static function
 * passes ribbon_check(), the starts of blocks lie in them, the first hashes of pages are in order.
 * (4) Locations are *not* trusted: whoever follows one checks it; nor are pages, which are not read
 * here. */
#include "pack/index.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/assert.h"
#include "core/codec.h"
#include "os/publish.h"

/* doc/index.md has this table in words. All integers little-endian. */
enum header_offset {
    AT_MAGIC = 0,             /* 8 bytes */
    AT_VERSION = 8,           /* u32 */
    AT_HEADER_BYTES = 12,     /* u32 */
    AT_DATA_BYTES = 16,       /* u64 */
    AT_DATA_MTIME_NS = 24,    /* i64 */
    AT_DATA_CHECKSUM = 32,    /* u64 */
    AT_RECORDS = 40,          /* u64 */
    AT_DUPLICATES = 48,       /* u64 */
    AT_KEY_BYTES = 56,        /* u64 */
    AT_VALUE_BYTES = 64,      /* u64 */
    AT_RECORD_BYTES_MIN = 72, /* u64 */
    AT_EXCEPTIONS = 80,       /* u64 */
    AT_SHARDS = 88,           /* u64 */
    AT_GROUPS_BYTES = 96,     /* u64 */
    AT_BODY_BYTES = 104,      /* u64 */
    AT_BODY_CHECKSUM = 112,   /* u64 */
    AT_FORMAT = 120,          /* u8 kind, size type, big endian, separator set, separator */
    AT_POLICY = 125,          /* u8 */
    AT_BITS = 126,            /* u8 */
    AT_BLOCK_LOG2 = 127,      /* u8 */
    AT_SECRET = 128,          /* 192 bytes */
    AT_GRANULE = 320,         /* u8, log2; 0: locations are bytes */
    AT_FINGERPRINT = 321,     /* u8, bits */
    AT_LAYOUT = 322,          /* u8 */
    AT_PAGES = 328,           /* u64 */
    AT_RESERVED = 336,        /* zeros */
    AT_HEADER_CHECKSUM = 376, /* u64, over all before it */
};
static_assert(AT_SECRET + HASH_SECRET_BYTES == AT_GRANULE, "layout");
static_assert(AT_HEADER_CHECKSUM + 8 == INDEX_HEADER_BYTES, "layout");
static_assert(sizeof(struct index_exception) == 16, "stored as it is");

static const char magic[8] = "tarnidx";
#define INDEX_VERSION 2

uint64_t index_body_at(const struct index *index)
{
    if (index->layout != INDEX_PAGES)
        return INDEX_HEADER_BYTES;
    return INDEX_PAGES_AT + index->page_count * INDEX_PAGE_BYTES;
}

uint64_t index_bytes(const struct index *index)
{
    return index_body_at(index) + index->body_bytes;
}

uint64_t index_memory_bytes(const struct index *index)
{
    return INDEX_HEADER_BYTES + index->body_bytes;
}

uint64_t index_sync_count(const struct index *index)
{
    return index->granule_log2 ? 0 : sync_block_count(&index->format, index->data_bytes);
}

unsigned index_location_bits(const struct index *index)
{
    uint64_t last = (index->data_bytes ? index->data_bytes - 1 : 0) >> index->granule_log2;
    return last > 1 ? 64 - (unsigned)__builtin_clzll(last) : 1;
}

bool index_block_range(const struct index *index, uint64_t block, uint64_t *ret_offset,
                       uint64_t *ret_size)
{
    uint64_t start = index_block_start(index, block), end = INDEX_NO_START;
    if (start == INDEX_NO_START)
        return false;
    while (++block < index->block_count && end == INDEX_NO_START)
        end = index_block_start(index, block);
    *ret_offset = start;
    *ret_size = (end == INDEX_NO_START ? index->data_bytes : end) - start;
    return true;
}

/* *ret_start = *at, then *at += count * size rounded up to 8; false on overflow. */
static bool section(uint64_t *ret_start, uint64_t *at, uint64_t count, uint64_t size)
{
    uint64_t bytes;
    *ret_start = *at;
    return !__builtin_mul_overflow(count, size, &bytes) &&
           !__builtin_add_overflow(bytes, 7, &bytes) &&
           !__builtin_add_overflow(*at, bytes & ~7ull, at);
}

/* Bytes of an entry of the table of starts. */
static unsigned start_bytes(const struct index *index)
{
    return index->granule_log2 < 16 ? 2 : 4;
}

bool index_lay_out(struct index *index, struct index_sections *s)
{
    uint64_t at = 0, granules = 0, shards = index->ribbon.shard_count, pages = index->page_count;
    if (index->granule_log2 > 0) {
        granules = index->data_bytes >> index->granule_log2;
        granules += index->data_bytes > granules << index->granule_log2;
    }
    index->block_count = granules;
    if (shards == UINT64_MAX || pages > UINT64_MAX / INDEX_PAGE_BYTES / 2)
        return false;
    return section(&s->checksums, &at, checksum_block_count(index->data_bytes), 8) &&
           section(&s->sync, &at, index_sync_count(index), 1) &&
           section(&s->starts, &at, granules, start_bytes(index)) &&
           section(&s->block_checksums, &at, granules, 4) &&
           section(&s->groups, &at, index->ribbon.groups_bytes, 1) &&
           section(&s->shards, &at, shards > 0 ? shards + 1 : 0, 8) &&
           section(&s->top, &at, pages, 8) &&
           section(&s->exceptions, &at, index->exception_count, sizeof *index->exceptions) &&
           section(&s->end, &at, RIBBON_PAD_BYTES, 1) &&
           !__builtin_add_overflow(s->end, index_body_at(index), &at);
}

bool index_attach(struct index *index, void *body)
{
    struct index_sections s;
    if (!index_lay_out(index, &s))
        return false;
    index->body_bytes = s.end;
    if (body == NULL)
        return true;
    char *bytes = body;
    index->body = body;
    index->checksums = (const void *)(bytes + s.checksums);
    index->sync = index_sync_count(index) ? (const void *)(bytes + s.sync) : NULL;
    if (index->granule_log2 > 0) {
        if (start_bytes(index) == 2)
            index->starts16 = (const void *)(bytes + s.starts);
        else
            index->starts32 = (const void *)(bytes + s.starts);
        index->block_checksums = (const void *)(bytes + s.block_checksums);
    }
    index->ribbon.groups = (const void *)(bytes + s.groups);
    index->ribbon.shards = (const void *)(bytes + s.shards);
    index->top = index->page_count ? (const void *)(bytes + s.top) : NULL;
    index->exceptions = (const void *)(bytes + s.exceptions);
    return true;
}

uint64_t index_body_checksum(const void *body, uint64_t body_bytes)
{
    uint64_t pieces[512];
    size_t count = 0;
    XXH3_state_t state;
    XXH3_64bits_reset(&state);
    for (uint64_t at = 0; at < body_bytes; at += INDEX_PIECE_BYTES) {
        uint64_t left = body_bytes - at;
        pieces[count++] = hash_checksum((const char *)body + at,
                                        left < INDEX_PIECE_BYTES ? left : INDEX_PIECE_BYTES, 0);
        if (count == 512) {
            XXH3_64bits_update(&state, pieces, sizeof pieces);
            count = 0;
        }
    }
    XXH3_64bits_update(&state, pieces, count * sizeof *pieces);
    return XXH3_64bits_digest(&state);
}

int index_body_map(struct index *index, struct tarn_error *error)
{
    void *body;
    int result = index->os->map(index->os, index->body_bytes + RIBBON_PAD_BYTES, &body);
    if (result < 0)
        return error_set(error, TARN_NOMEM, "out of memory: the index needs %" PRIu64 " bytes",
                         index->body_bytes);
    index_attach(index, body);
    return TARN_OK;
}

void index_free(struct index *index)
{
    if (index == NULL)
        return;
    if (index->body != NULL)
        index->os->unmap(index->os, index->body, index->body_bytes + RIBBON_PAD_BYTES);
    free(index);
}

/* --- writing --- */

void index_header(const struct index *index, uint64_t body_checksum,
                  unsigned char h[INDEX_HEADER_BYTES])
{
    memset(h, 0, INDEX_HEADER_BYTES);
    memcpy(h + AT_MAGIC, magic, sizeof magic);
    store_u32le(h + AT_VERSION, INDEX_VERSION);
    store_u32le(h + AT_HEADER_BYTES, INDEX_HEADER_BYTES);
    store_u64le(h + AT_DATA_BYTES, index->data_bytes);
    store_u64le(h + AT_DATA_MTIME_NS, (uint64_t)index->data_mtime_ns);
    store_u64le(h + AT_DATA_CHECKSUM, index->data_checksum);
    store_u64le(h + AT_RECORDS, index->records);
    store_u64le(h + AT_DUPLICATES, index->duplicates);
    store_u64le(h + AT_KEY_BYTES, index->key_bytes_total);
    store_u64le(h + AT_VALUE_BYTES, index->value_bytes_total);
    store_u64le(h + AT_RECORD_BYTES_MIN, index->record_bytes_min);
    store_u64le(h + AT_EXCEPTIONS, index->exception_count);
    store_u64le(h + AT_SHARDS, index->ribbon.shard_count);
    store_u64le(h + AT_GROUPS_BYTES, index->ribbon.groups_bytes);
    store_u64le(h + AT_BODY_BYTES, index->body_bytes);
    store_u64le(h + AT_BODY_CHECKSUM, body_checksum);
    h[AT_FORMAT] = (unsigned char)index->format.kind;
    h[AT_FORMAT + 1] = (unsigned char)index->format.size_type;
    h[AT_FORMAT + 2] = index->format.big_endian;
    h[AT_FORMAT + 3] = index->format.separator_set;
    h[AT_FORMAT + 4] = index->format.separator;
    h[AT_POLICY] = (unsigned char)index->duplicates_policy;
    h[AT_BITS] = (unsigned char)index->ribbon.bits;
    h[AT_BLOCK_LOG2] = CHECKSUM_BLOCK_BYTES_LOG2;
    memcpy(h + AT_SECRET, index->secret, HASH_SECRET_BYTES);
    h[AT_GRANULE] = (unsigned char)index->granule_log2;
    h[AT_FINGERPRINT] = (unsigned char)index->fingerprint_bits;
    h[AT_LAYOUT] = (unsigned char)index->layout;
    store_u64le(h + AT_PAGES, index->page_count);
    store_u64le(h + AT_HEADER_CHECKSUM, hash_checksum(h, AT_HEADER_CHECKSUM, INDEX_VERSION));
}

int index_write(const struct index *index, const char *path, struct tarn_error *error)
{
    ASSERT(index->hash_mask == UINT64_MAX); /* a weak hash is for tests in memory */
    ASSERT(index->layout == INDEX_BLOCKS);  /* pages are written as they are made */
    unsigned char header[INDEX_HEADER_BYTES];
    index_header(index, index_body_checksum(index->body, index->body_bytes), header);
    struct publish p;
    int status = publish_open(&p, index->os, path, error);
    if (status != TARN_OK)
        return status;
    status = publish_append(&p, header, sizeof header, error);
    if (status == TARN_OK)
        status = publish_append(&p, index->body, index->body_bytes, error);
    if (status == TARN_OK)
        return publish_commit(&p, error);
    publish_abort(&p);
    return status;
}

/* --- reading --- */

static int corrupt(struct tarn_error *error, const char *path, uint64_t offset, const char *what)
{
    return error_set_at(error, TARN_CORRUPT, offset, UINT64_MAX,
                        "%s: damaged at byte %" PRIu64 ": %s", path, offset, what);
}

/* Granule, fingerprint and what finds a location; index->data_bytes is set. */
static int decode_layout(const unsigned char h[INDEX_HEADER_BYTES], const char *path,
                         struct index *index, struct tarn_error *error)
{
    unsigned granule = h[AT_GRANULE], layout = h[AT_LAYOUT];
    if (index->data_bytes > INT64_MAX)
        return corrupt(error, path, AT_DATA_BYTES, "impossible size of the data");
    if (granule != 0 && (granule < INDEX_GRANULE_LOG2_MIN || granule > INDEX_GRANULE_LOG2_MAX))
        return corrupt(error, path, AT_GRANULE, "impossible granule");
    if (layout > INDEX_PAGES || (layout == INDEX_PAGES && granule == 0))
        return corrupt(error, path, AT_LAYOUT, "unknown layout");
    index->granule_log2 = granule;
    index->fingerprint_bits = h[AT_FINGERPRINT];
    index->layout = (enum index_layout)layout;
    index->page_count = load_u64le(h + AT_PAGES);
    const struct ribbon *r = &index->ribbon;
    bool pages = layout == INDEX_PAGES;
    if (pages ? r->shard_count != 0 || r->groups_bytes != 0 || index->fingerprint_bits != 0 ||
                    index->exception_count != 0
              : index->page_count != 0 || r->shard_count == 0)
        return corrupt(error, path, AT_LAYOUT, "counts of another layout");
    if (index->fingerprint_bits > (granule ? INDEX_FINGERPRINT_MAX : 0))
        return corrupt(error, path, AT_FINGERPRINT, "impossible fingerprint");
    if (r->bits > RIBBON_BITS_MAX ||
        r->bits != index_location_bits(index) + index->fingerprint_bits)
        return corrupt(error, path, AT_BITS, "impossible bits of a location");
    return TARN_OK;
}

static int decode_header(const unsigned char h[INDEX_HEADER_BYTES], const char *path,
                         struct index *index, struct tarn_error *error)
{
    if (memcmp(h + AT_MAGIC, magic, sizeof magic) != 0)
        return error_set_at(error, TARN_CORRUPT, 0, UINT64_MAX, "%s: not a tarn index", path);
    uint32_t version = load_u32le(h + AT_VERSION);
    if (version != INDEX_VERSION)
        return error_set_at(error, TARN_STALE, AT_VERSION, UINT64_MAX,
                            "%s: index version %" PRIu32 ", this program reads version %d", path,
                            version, INDEX_VERSION);
    if (load_u64le(h + AT_HEADER_CHECKSUM) != hash_checksum(h, AT_HEADER_CHECKSUM, INDEX_VERSION))
        return corrupt(error, path, 0, "the header does not match its checksum");
    index->data_bytes = load_u64le(h + AT_DATA_BYTES);
    index->data_mtime_ns = (int64_t)load_u64le(h + AT_DATA_MTIME_NS);
    index->data_checksum = load_u64le(h + AT_DATA_CHECKSUM);
    index->records = load_u64le(h + AT_RECORDS);
    index->duplicates = load_u64le(h + AT_DUPLICATES);
    index->key_bytes_total = load_u64le(h + AT_KEY_BYTES);
    index->value_bytes_total = load_u64le(h + AT_VALUE_BYTES);
    index->record_bytes_min = load_u64le(h + AT_RECORD_BYTES_MIN);
    index->exception_count = load_u64le(h + AT_EXCEPTIONS);
    index->ribbon.shard_count = load_u64le(h + AT_SHARDS);
    index->ribbon.groups_bytes = load_u64le(h + AT_GROUPS_BYTES);
    index->ribbon.bits = h[AT_BITS];
    memcpy(index->secret, h + AT_SECRET, HASH_SECRET_BYTES);
    if (h[AT_FORMAT] < TARN_FORMAT_TEXT || h[AT_FORMAT] > TARN_FORMAT_BINARY ||
        h[AT_FORMAT + 1] > TARN_SIZE_VARINT || h[AT_FORMAT + 2] > 1 || h[AT_FORMAT + 3] > 1)
        return corrupt(error, path, AT_FORMAT, "unknown data format");
    index->format = (struct tarn_format){
        .kind = (enum tarn_format_kind)h[AT_FORMAT],
        .size_type = (enum tarn_size_type)h[AT_FORMAT + 1],
        .big_endian = h[AT_FORMAT + 2],
        .separator_set = h[AT_FORMAT + 3],
        .separator = h[AT_FORMAT + 4],
    };
    if (format_check(&index->format, NULL) != TARN_OK)
        return corrupt(error, path, AT_FORMAT, "impossible data format");
    if (h[AT_POLICY] > TARN_DUPLICATES_ERROR)
        return corrupt(error, path, AT_POLICY, "unknown policy for duplicates");
    index->duplicates_policy = (enum tarn_duplicates)h[AT_POLICY];
    if (h[AT_BLOCK_LOG2] != CHECKSUM_BLOCK_BYTES_LOG2)
        return corrupt(error, path, AT_BLOCK_LOG2, "unknown block size");
    int status = decode_layout(h, path, index, error);
    if (status != TARN_OK)
        return status;
    if (index->duplicates > index->records || index->exception_count > index->records ||
        index->records > index->data_bytes)
        return corrupt(error, path, AT_RECORDS, "impossible counts");
    if (!index_attach(index, NULL) || index->body_bytes != load_u64le(h + AT_BODY_BYTES))
        return corrupt(error, path, AT_BODY_BYTES, "the counts do not add up to the body's size");
    return TARN_OK;
}

/* Every block begins within its granule, the first one at byte 0. */
static bool check_starts(const struct index *index)
{
    uint64_t granule = 1ull << index->granule_log2;
    for (uint64_t b = 0; b < index->block_count; b++) {
        uint64_t start = index_block_start(index, b);
        if (start == INDEX_NO_START ? b == 0
                                    : start - (b << index->granule_log2) >= granule ||
                                          start >= index->data_bytes || (b == 0 && start != 0))
            return false;
    }
    return true;
}

static bool check_top(const struct index *index)
{
    for (uint64_t p = 1; p < index->page_count; p++)
        if (index->top[p] < index->top[p - 1])
            return false;
    return true;
}

static int read_body(int fd, const char *path, uint64_t body_checksum, struct index *index,
                     struct tarn_error *error)
{
    int status = index_body_map(index, error);
    if (status != TARN_OK) {
        error_prepend(error, "%s", path);
        return status;
    }
    uint64_t at = index_body_at(index);
    int result = os_read_full(index->os, fd, index->body, index->body_bytes, at);
    if (result == -ENODATA)
        return corrupt(error, path, at, "the file got shorter while it was read");
    if (result < 0)
        return os_error(error, result, "cannot read", path);
    if (index_body_checksum(index->body, index->body_bytes) != body_checksum)
        return corrupt(error, path, at, "the body does not match its checksum");
    if (index->layout == INDEX_BLOCKS && !ribbon_check(&index->ribbon))
        return corrupt(error, path, at, "impossible shard table");
    if (!check_starts(index))
        return corrupt(error, path, at, "impossible table of starts");
    if (!check_top(index))
        return corrupt(error, path, at, "impossible table of pages");
    uint64_t blocks = checksum_block_count(index->data_bytes);
    if (hash_checksum(index->checksums, blocks * 8, 0) != index->data_checksum)
        return corrupt(error, path, AT_DATA_CHECKSUM, "the block checksums do not add up");
    return TARN_OK;
}

int index_read_any(const struct os *os, const char *path, struct index **ret_index,
                   struct tarn_error *error)
{
    struct os_file_info info;
    int fd;
    int status = os_open_data(os, path, &fd, &info, error);
    if (status != TARN_OK)
        return status;
    unsigned char header[INDEX_HEADER_BYTES];
    struct index *index = calloc(1, sizeof *index);
    if (index == NULL) {
        status = error_set(error, TARN_NOMEM, "%s: out of memory", path);
        goto done;
    }
    index->os = os;
    index->hash_mask = UINT64_MAX;
    if (info.size < INDEX_HEADER_BYTES) {
        status = corrupt(error, path, info.size, "shorter than an index's header");
        goto done;
    }
    int result = os_read_full(os, fd, header, sizeof header, 0);
    if (result < 0) {
        status = os_error(error, result, "cannot read", path);
        goto done;
    }
    status = decode_header(header, path, index, error);
    if (status != TARN_OK)
        goto done;
    if (info.size != index_bytes(index)) {
        status =
            corrupt(error, path, info.size < index_bytes(index) ? info.size : index_bytes(index),
                    "the file's size is not what its header says");
        goto done;
    }
    status = read_body(fd, path, load_u64le(header + AT_BODY_CHECKSUM), index, error);
done:
    os->close(os, fd);
    if (status == TARN_OK)
        *ret_index = index;
    else
        index_free(index);
    return status;
}

int index_is_of_blocks(const struct os *os, const char *path, bool *ret_blocks,
                       struct tarn_error *error)
{
    struct index index = {.os = os};
    struct os_file_info info;
    unsigned char header[INDEX_HEADER_BYTES];
    int fd;
    *ret_blocks = false;
    int status = os_open_data(os, path, &fd, &info, error);
    if (status != TARN_OK)
        return status == TARN_MISSING ? TARN_OK : status;
    int result = os_read_full(os, fd, header, sizeof header, 0);
    (void)os->close(os, fd); /* only read from */
    if (result < 0)
        return result == -ENODATA ? TARN_OK : os_error(error, result, "cannot read", path);
    *ret_blocks = decode_header(header, path, &index, NULL) == TARN_OK && index.granule_log2 > 0;
    return TARN_OK;
}

static bool same_format(const struct tarn_format *a, const struct tarn_format *b)
{
    return a->kind == b->kind && a->size_type == b->size_type && a->big_endian == b->big_endian &&
           a->separator_set == b->separator_set && a->separator == b->separator;
}

int index_read(const struct os *os, const char *path, const struct os_file_info *data,
               const struct tarn_format *format, enum tarn_duplicates policy,
               struct index **ret_index, struct tarn_error *error)
{
    struct index *index;
    int status = index_read_any(os, path, &index, error);
    if (status != TARN_OK)
        return status;
    const char *reason = NULL;
    if (index->data_bytes != data->size)
        reason = "the data file's size has changed";
    else if (index->data_mtime_ns != data->mtime_ns)
        reason = "the data file's modification time has changed";
    else if (format->kind != TARN_FORMAT_AUTO && !same_format(format, &index->format))
        reason = "it was built for another data format";
    /* LAST and FIRST are the same where nothing repeats; so is ERROR. */
    else if (policy != index->duplicates_policy && index->duplicates > 0)
        reason = "it was built with another --on-duplicate";
    if (reason != NULL) {
        index_free(index);
        return error_set(error, TARN_STALE, "%s: stale: %s", path, reason);
    }
    *ret_index = index;
    return TARN_OK;
}
