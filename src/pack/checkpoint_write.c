/* Writing a `tarn` file: header, blocks, directory, footer, in one sequential pass.
 * doc/format-tarn.md.
 *
 * How: blocks are made one behind the other in memory, a record copied once, each summed when the
 * next record has no room in it; what was gathered is written when there is enough for the call to
 * be worth it. A record that is larger than a block becomes a block of its own: its value is summed
 * and, if it is large, written from where it lies, or (version 3) by pieces, which are fetched one
 * after the other. What was written is synced every
 * SYNC_EVERY_BYTES, so that the last sync is short and other files of the same disk do not wait for
 * gigabytes of ours. Of each block its entry in the directory is remembered.
 *
 * Invariants
 * 1. `gathered` holds `filled` bytes of whole blocks, then a block in the making if used > 0: room
 *    for its head and `used` bytes of whole records. filled < GATHER_BYTES while one is.
 * 2. `directory` has an entry for each block that was begun.
 * 3. After a failure nothing more is written: `status` stays, and the temporary file is gone.
 * 4. Only publish_commit() gives the file its name: it is there whole and synced or not at all.
 * Failure modes: those of publish.h, NOMEM; TOOBIG, INVALID (nothing added, the writer goes on). */
#include <stdlib.h>

#include "core/assert.h"
#include "core/status.h"
#include "pack/checkpoint_layout.h"

#define SYNC_EVERY_BYTES   (16u << 20)
#define GATHER_BYTES       (256u << 10)
#define COPIED_VALUE_BYTES (64u << 10) /* a larger one is not gathered */

struct checkpoint_writer {
    struct publish publish;
    int status; /* not TARN_OK: a write failed */
    uint32_t block_records;
    size_t filled, used;
    uint64_t last_hash;
    uint64_t sum; /* over the blocks */
    uint64_t salt;
    uint64_t synced; /* offset up to which the file was synced */
    size_t block_bytes;
    unsigned char *piece; /* version 3: room for one; NULL: none was needed yet */
    struct checkpoint_totals totals;
    struct buffer directory;
    unsigned char header[HEADER_BYTES];
    /* Blocks to write. Behind the last that has to be: the largest that is copied here, or what
     * stands before the value of a record that is a block by itself. */
    unsigned char gathered[GATHER_BYTES + BLOCK_HEAD_BYTES + RECORD_HEAD_BYTES_MAX +
                           TARN_KEY_BYTES_MAX + COPIED_VALUE_BYTES];
};
static_assert(CHECKPOINT_BLOCK_BYTES_MAX <= COPIED_VALUE_BYTES, "room");
static_assert(CHECKPOINT_FETCH_BYTES == (int)PIECE_BYTES, "a far value makes a body of pieces");
static_assert(PAGE_BYTES <= COPIED_VALUE_BYTES, "room");

static void encode_header(struct checkpoint_writer *w, const struct checkpoint_about *about)
{
    memcpy(w->header + HEADER_MAGIC, CHECKPOINT_MAGIC, 8);
    store_u32le(w->header + HEADER_VERSION,
                about->block_bytes ? CHECKPOINT_VERSION_PIECES : CHECKPOINT_VERSION);
    store_u32le(w->header + HEADER_BLOCK_BYTES, about->block_bytes);
    store_u64le(w->header + HEADER_STORE_ID, about->store_id);
    store_u64le(w->header + HEADER_SALT, w->salt);
    store_u64le(w->header + HEADER_SEQUENCE, about->sequence);
    store_u64le(w->header + HEADER_TIME_MS, (uint64_t)about->time_ms);
    memcpy(w->header + HEADER_SECRET, about->secret, HASH_SECRET_BYTES);
    store_u64le(w->header + HEADER_CHECKSUM,
                hash_checksum(w->header, HEADER_CHECKSUM, HEADER_SEED));
}

int checkpoint_create(const struct os *os, const char *path, const struct checkpoint_about *about,
                      struct checkpoint_writer **ret_writer, struct tarn_error *error)
{
    ASSERT(about->block_bytes == 0 || checkpoint_block_bytes_good(about->block_bytes));
    struct checkpoint_writer *w = calloc(1, sizeof *w);
    if (w == NULL)
        return error_set(error, TARN_NOMEM, "cannot write %s: out of memory", path);
    int result = os->entropy(os, &w->salt, sizeof w->salt);
    int status = result == 0 ? publish_open(&w->publish, os, path, error)
                             : os_error(error, result, "no randomness for", path);
    if (status != TARN_OK) {
        checkpoint_abort(w);
        return status;
    }
    w->block_bytes = about->block_bytes ? about->block_bytes : CHECKPOINT_BLOCK_BYTES;
    encode_header(w, about);
    memcpy(w->gathered, w->header, HEADER_BYTES);
    w->filled = HEADER_BYTES;
    *ret_writer = w;
    return TARN_OK;
}

/* --- out of memory, to the file --- */

/* Have what was written reach the disk now and then. */
static int sync_some(struct checkpoint_writer *w, struct tarn_error *error)
{
    struct publish *p = &w->publish;
    if (p->offset - w->synced < SYNC_EVERY_BYTES)
        return TARN_OK;
    int result = p->os->data_sync(p->os, p->fd);
    if (result != 0) {
        w->status = os_error(error, result, "cannot sync", p->path);
        publish_abort(p);
        return w->status;
    }
    w->synced = p->offset;
    return TARN_OK;
}

static int append(struct checkpoint_writer *w, const void *data, size_t size,
                  struct tarn_error *error)
{
    if (size > 0)
        w->status = publish_append(&w->publish, data, size, error);
    return w->status == TARN_OK ? sync_some(w, error) : w->status;
}

/* Write what is gathered. */
static int flush(struct checkpoint_writer *w, struct tarn_error *error)
{
    size_t size = w->filled;
    w->filled = 0;
    return append(w, w->gathered, size, error);
}

/* ... if it is enough. */
static int flush_some(struct checkpoint_writer *w, struct tarn_error *error)
{
    return w->filled >= GATHER_BYTES ? flush(w, error) : TARN_OK;
}

/* Gather bytes of any count, none too; by then there is less than is worth a call. */
static int put(struct checkpoint_writer *w, const unsigned char *data, size_t size,
               struct tarn_error *error)
{
    int status = flush_some(w, error);
    while (size > 0 && status == TARN_OK) {
        size_t some = size < COPIED_VALUE_BYTES ? size : COPIED_VALUE_BYTES;
        memcpy(w->gathered + w->filled, data, some);
        w->filled += some;
        data += some;
        size -= some;
        status = flush_some(w, error);
    }
    return status;
}

/* --- blocks --- */

/* A block begins behind what is gathered, with a record of this hash. */
static int begin_block(struct checkpoint_writer *w, uint64_t hash, struct tarn_error *error)
{
    unsigned char entry[ENTRY_BYTES];
    ASSERT(w->used == 0 && w->filled < GATHER_BYTES);
    store_u64le(entry + ENTRY_HASH, hash);
    store_u64le(entry + ENTRY_OFFSET, w->publish.offset + w->filled);
    buffer_append(&w->directory, entry, sizeof entry);
    if (!w->directory.failed)
        return TARN_OK;
    w->status =
        error_set(error, TARN_NOMEM, "cannot write %s: out of memory: its directory has %zu bytes",
                  w->publish.path, w->directory.size);
    publish_abort(&w->publish);
    return w->status;
}

/* The head of the next block, whose body has this size and checksum. */
static void encode_head(struct checkpoint_writer *w, uint32_t records, size_t body_bytes,
                        uint64_t body_checksum)
{
    unsigned char *head = w->gathered + w->filled;
    store_u64le(head + BLOCK_NUMBER, w->totals.blocks);
    store_u32le(head + BLOCK_RECORDS, records);
    store_u32le(head + BLOCK_BODY_BYTES, (uint32_t)body_bytes);
    store_u64le(head + BLOCK_BODY_CHECKSUM, body_checksum);
    uint64_t checksum = hash_checksum(head, BLOCK_CHECKSUM, w->salt);
    store_u64le(head + BLOCK_CHECKSUM, checksum);
    w->sum = checkpoint_sum(w->sum, checksum);
    w->totals.blocks++;
}

/* End the block in the making, if there is one. */
static int end_block(struct checkpoint_writer *w, struct tarn_error *error)
{
    if (w->used == 0)
        return TARN_OK;
    const unsigned char *body = w->gathered + w->filled + BLOCK_HEAD_BYTES;
    encode_head(w, w->block_records, w->used,
                hash_checksum(body, w->used, w->salt + w->totals.blocks));
    w->filled += BLOCK_HEAD_BYTES + w->used;
    w->used = 0;
    w->block_records = 0;
    return flush_some(w, error);
}

/* A record's bytes before its key; returns how many. */
static inline size_t encode_record_head(unsigned char *out, const struct tarn_record *record)
{
    bool expires = record->expire_ms != 0;
    size_t n = store_varint(out, record->key.size);
    n += store_varint(out + n, (uint64_t)record->value.size * 2 + expires);
    if (expires) {
        store_u64le(out + n, (uint64_t)record->expire_ms);
        n += 8;
    }
    if (record->key.size > 0)
        memcpy(out + n, record->key.data, record->key.size);
    return n + record->key.size;
}

/* What it takes in a body. */
static size_t encode_record_bytes(const struct tarn_record *record)
{
    unsigned char size[VARINT_BYTES_MAX];
    bool expires = record->expire_ms != 0;
    return store_varint(size, record->key.size) +
           store_varint(size, (uint64_t)record->value.size * 2 + expires) + (expires ? 8 : 0) +
           record->key.size + record->value.size;
}

/* A block of this record only, whose value is not copied if it is large. */
static int add_alone(struct checkpoint_writer *w, const struct tarn_record *record, uint64_t hash,
                     struct tarn_error *error)
{
    int status = end_block(w, error);
    if (status == TARN_OK)
        status = begin_block(w, hash, error);
    if (status != TARN_OK)
        return status;
    unsigned char *body = w->gathered + w->filled + BLOCK_HEAD_BYTES;
    struct tarn_bytes value = record->value;
    size_t n = encode_record_head(body, record);
    XXH3_state_t state;
    XXH3_64bits_reset_withSeed(&state, w->salt + w->totals.blocks);
    XXH3_64bits_update(&state, body, n);
    XXH3_64bits_update(&state, value.data, value.size);
    encode_head(w, 1, n + value.size, XXH3_64bits_digest(&state));
    w->filled += BLOCK_HEAD_BYTES + n;
    if (value.size <= COPIED_VALUE_BYTES)
        return put(w, value.data, value.size, error);
    status = flush(w, error);
    return status == TARN_OK ? append(w, value.data, value.size, error) : status;
}

static int copy_value(void *context, uint64_t at, void *data, size_t size, struct tarn_error *error)
{
    const struct tarn_bytes *value = context;
    (void)error;
    memcpy(data, (const char *)value->data + at, size);
    return TARN_OK;
}

/* A piece whose first `used` bytes are there: fill it up from the value's byte *at on, and write
 * it. */
static int put_piece(struct checkpoint_writer *w, uint64_t number, uint64_t piece, size_t used,
                     uint64_t *at, uint64_t size, checkpoint_fetch fetch, void *context,
                     struct tarn_error *error)
{
    size_t some = size - *at < PIECE_DATA - used ? (size_t)(size - *at) : PIECE_DATA - used;
    int status = fetch(context, *at, w->piece + used, some, error);
    if (status != TARN_OK) {
        w->status = status;
        publish_abort(&w->publish);
        return status;
    }
    *at += some;
    some += used;
    store_u64le(w->piece + some,
                hash_checksum(w->piece, some, checkpoint_piece_seed(w->salt, number, piece)));
    return append(w, w->piece, some + PIECE_CHECKSUM_BYTES, error);
}

/* A block of this record only, in pieces. */
static int add_pieces(struct checkpoint_writer *w, const struct tarn_record *record, uint64_t hash,
                      checkpoint_fetch fetch, void *context, struct tarn_error *error)
{
    if (w->piece == NULL && (w->piece = malloc(PIECE_BYTES)) == NULL)
        return error_set(error, TARN_NOMEM, "cannot write %s: out of memory", w->publish.path);
    int status = end_block(w, error);
    if (status == TARN_OK)
        status = begin_block(w, hash, error);
    if (status != TARN_OK)
        return status;
    uint64_t number = w->totals.blocks, at = 0;
    size_t n = encode_record_head(w->piece, record);
    encode_head(w, 1, (size_t)checkpoint_stored_bytes(n + record->value.size), 0);
    w->filled += BLOCK_HEAD_BYTES;
    status = flush(w, error);
    for (uint64_t piece = 0; status == TARN_OK && at < record->value.size; piece++)
        status = put_piece(w, number, piece, piece == 0 ? n : 0, &at, record->value.size, fetch,
                           context, error);
    return status;
}

static void add_small(struct checkpoint_writer *w, const struct tarn_record *record)
{
    unsigned char *out = w->gathered + w->filled + BLOCK_HEAD_BYTES + w->used;
    size_t n = encode_record_head(out, record);
    if (record->value.size > 0)
        memcpy(out + n, record->value.data, record->value.size);
    w->used += n + record->value.size;
    w->block_records++;
}

/* A record in the block in the making, or in the next. */
static int add_to_block(struct checkpoint_writer *w, const struct tarn_record *record,
                        size_t size_max, uint64_t hash, struct tarn_error *error)
{
    int status = TARN_OK;
    if (size_max > w->block_bytes - BLOCK_HEAD_BYTES - w->used)
        status = end_block(w, error);
    if (status == TARN_OK && w->used == 0)
        status = begin_block(w, hash, error);
    if (status == TARN_OK)
        add_small(w, record);
    return status;
}

static int stopped(const struct checkpoint_writer *w, struct tarn_error *error)
{
    return error_set(error, w->status, "the file could not be written (%s)",
                     tarn_status_text(w->status));
}

/* Which kind of block the record goes into. */
static int add(struct checkpoint_writer *w, const struct tarn_record *record, uint64_t hash,
               checkpoint_fetch fetch, void *context, struct tarn_error *error)
{
    size_t size_max = RECORD_HEAD_BYTES_MAX + record->key.size + record->value.size;
    if (size_max <= w->block_bytes - BLOCK_HEAD_BYTES)
        return add_to_block(w, record, size_max, hash, error);
    bool pieces = load_u32le(w->header + HEADER_VERSION) == CHECKPOINT_VERSION_PIECES;
    if (!pieces || encode_record_bytes(record) <= PIECE_BYTES)
        return add_alone(w, record, hash, error);
    return add_pieces(w, record, hash, fetch, context, error);
}

int checkpoint_add_far(struct checkpoint_writer *w, const struct tarn_record *record, uint64_t hash,
                       checkpoint_fetch fetch, void *context, struct tarn_error *error)
{
    size_t payload = record->key.size + record->value.size;
    if (w->status != TARN_OK)
        return stopped(w, error);
    if (record->key.size > TARN_KEY_BYTES_MAX || record->value.size > TARN_VALUE_BYTES_MAX)
        return error_set(error, TARN_TOOBIG, "a key of %zu and a value of %zu bytes: too large",
                         record->key.size, record->value.size);
    if (hash < w->last_hash)
        return error_set(error, TARN_INVALID, "%s: a record is not in the order of its key's hash",
                         w->publish.path);
    int status = add(w, record, hash, fetch, context, error);
    if (status != TARN_OK)
        return status;
    w->last_hash = hash;
    w->totals.records++;
    w->totals.expiring += record->expire_ms != 0;
    w->totals.payload_bytes += payload;
    return TARN_OK;
}

int checkpoint_add(struct checkpoint_writer *w, const struct tarn_record *record, uint64_t hash,
                   struct tarn_error *error)
{
    struct tarn_bytes value = record->value;
    return checkpoint_add_far(w, record, hash, copy_value, &value, error);
}

/* --- what stands behind the blocks --- */

/* The pages of the directory. */
static int put_pages(struct checkpoint_writer *w, uint64_t *ret_sum, struct tarn_error *error)
{
    const struct buffer *d = &w->directory;
    int status = TARN_OK;
    uint64_t number = 0, sum = 0;
    for (size_t at = 0; at < d->size && status == TARN_OK; at += PAGE_FULL) {
        unsigned char page[PAGE_BYTES] = {0};
        memcpy(page, d->data + at, d->size - at < PAGE_FULL ? d->size - at : PAGE_FULL);
        store_u64le(page + PAGE_NUMBER, number);
        uint64_t seed = checkpoint_page_seed(w->salt, number++);
        uint64_t checksum = hash_checksum(page, PAGE_CHECKSUM, seed);
        store_u64le(page + PAGE_CHECKSUM, checksum);
        sum = checkpoint_sum(sum, checksum);
        status = put(w, page, PAGE_BYTES, error);
    }
    *ret_sum = sum;
    return status;
}

/* Of the directory, which was written, keep each page's first entry: the top. */
static void reduce_to_top(struct buffer *directory)
{
    size_t size = 0;
    for (size_t at = 0; at < directory->size; at += PAGE_FULL) {
        memmove(directory->data + size, directory->data + at, ENTRY_BYTES);
        size += ENTRY_BYTES;
    }
    directory->size = size;
}

/* Directory and top; the footer, which they are told in, is written by the caller. */
static int put_directory(struct checkpoint_writer *w, unsigned char footer[FOOTER_BYTES],
                         struct tarn_error *error)
{
    uint64_t sum;
    store_u64le(footer + FOOTER_DIRECTORY, w->publish.offset + w->filled);
    int status = put_pages(w, &sum, error);
    if (status != TARN_OK)
        return status;
    struct buffer *top = &w->directory;
    reduce_to_top(top);
    store_u64le(footer + FOOTER_PAGES, top->size / ENTRY_BYTES);
    store_u64le(footer + FOOTER_PAGES_SUM, sum);
    store_u64le(footer + FOOTER_TOP_CHECKSUM, hash_checksum(top->data, top->size, w->salt));
    return put(w, top->data, top->size, error);
}

static void encode_footer(struct checkpoint_writer *w, unsigned char footer[FOOTER_BYTES])
{
    w->totals.bytes = w->publish.offset + w->filled + FOOTER_BYTES;
    memcpy(footer + FOOTER_HEADER, w->header, HEADER_BYTES);
    store_u64le(footer + FOOTER_RECORDS, w->totals.records);
    store_u64le(footer + FOOTER_EXPIRING, w->totals.expiring);
    store_u64le(footer + FOOTER_PAYLOAD, w->totals.payload_bytes);
    store_u64le(footer + FOOTER_BLOCKS, w->totals.blocks);
    store_u64le(footer + FOOTER_SUM, w->sum);
    store_u64le(footer + FOOTER_BYTES_ALL, w->totals.bytes);
    w->totals.checksum = checkpoint_footer_checksum(footer);
    store_u64le(footer + FOOTER_CHECKSUM, w->totals.checksum);
}

/* All that is left to write. */
static int put_end(struct checkpoint_writer *w, struct tarn_error *error)
{
    unsigned char footer[FOOTER_BYTES] = {0};
    int status = end_block(w, error);
    if (status == TARN_OK)
        status = put_directory(w, footer, error);
    if (status != TARN_OK)
        return status;
    encode_footer(w, footer);
    status = put(w, footer, FOOTER_BYTES, error);
    return status == TARN_OK ? flush(w, error) : status;
}

int checkpoint_commit(struct checkpoint_writer *w, struct checkpoint_totals *ret_totals,
                      struct tarn_error *error)
{
    int status = w->status == TARN_OK ? put_end(w, error) : stopped(w, error);
    if (status == TARN_OK)
        status = publish_commit(&w->publish, error);
    if (status == TARN_OK)
        *ret_totals = w->totals;
    checkpoint_abort(w);
    return status;
}

void checkpoint_abort(struct checkpoint_writer *w)
{
    if (w == NULL)
        return;
    publish_abort(&w->publish);
    buffer_done(&w->directory);
    free(w->piece);
    free(w);
}
