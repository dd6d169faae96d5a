/* Writing a `tarn` file: header, blocks, footer, in one sequential pass. doc/format-tarn.md.
 *
 * How: records are gathered in one block's memory, which is summed and written when the next record
 * has no room in it. A record that is larger than a block becomes a block of its own: its value is
 * summed and written from where it lies. What was written is synced every SYNC_EVERY_BYTES, so that
 * the last sync is short and other files of the same disk do not wait for gigabytes of ours.
 *
 * Invariants
 * 1. The block's memory holds `used` bytes of whole records behind the room for its head.
 * 2. After a failure nothing more is written: `status` stays, and the temporary file is gone.
 * 3. Only publish_commit() gives the file its name: it is there whole and synced or not at all.
 * Failure modes: those of publish.h, NOMEM, TOOBIG (nothing written, the writer goes on). */
#include <stdlib.h>

#include "core/assert.h"
#include "core/status.h"
#include "pack/checkpoint_layout.h"

#define SYNC_EVERY_BYTES (16u << 20)

struct checkpoint_writer {
    struct publish publish;
    int status; /* not TARN_OK: a write failed */
    size_t used;
    uint32_t block_records;
    uint64_t sum; /* over the blocks written */
    uint64_t salt;
    uint64_t synced; /* offset up to which the file was synced */
    struct checkpoint_totals totals;
    unsigned char header[HEADER_BYTES];
    /* A block; or what stands before the value of a record that is a block by itself. */
    unsigned char block[BLOCK_HEAD_BYTES + RECORD_HEAD_BYTES_MAX + TARN_KEY_BYTES_MAX];
};
static_assert(sizeof((struct checkpoint_writer *)0)->block >= CHECKPOINT_BLOCK_BYTES, "room");

static void encode_header(struct checkpoint_writer *w, const struct checkpoint_about *about)
{
    memcpy(w->header + HEADER_MAGIC, CHECKPOINT_MAGIC, 8);
    store_u32le(w->header + HEADER_VERSION, CHECKPOINT_VERSION);
    store_u64le(w->header + HEADER_STORE_ID, about->store_id);
    store_u64le(w->header + HEADER_SALT, w->salt);
    store_u64le(w->header + HEADER_SEQUENCE, about->sequence);
    store_u64le(w->header + HEADER_TIME_MS, (uint64_t)about->time_ms);
    store_u64le(w->header + HEADER_CHECKSUM,
                hash_checksum(w->header, HEADER_CHECKSUM, HEADER_SEED));
}

static int append(struct checkpoint_writer *w, const void *data, size_t size,
                  struct tarn_error *error)
{
    if (size > 0)
        w->status = publish_append(&w->publish, data, size, error);
    return w->status;
}

int checkpoint_create(const struct os *os, const char *path, const struct checkpoint_about *about,
                      struct checkpoint_writer **ret_writer, struct tarn_error *error)
{
    struct checkpoint_writer *w = calloc(1, sizeof *w);
    if (w == NULL)
        return error_set(error, TARN_NOMEM, "cannot write %s: out of memory", path);
    int result = os->entropy(os, &w->salt, sizeof w->salt);
    int status = result == 0 ? publish_open(&w->publish, os, path, error)
                             : os_error(error, result, "no randomness for", path);
    if (status == TARN_OK) {
        encode_header(w, about);
        status = append(w, w->header, sizeof w->header, error);
    }
    if (status != TARN_OK) {
        checkpoint_abort(w);
        return status;
    }
    *ret_writer = w;
    return TARN_OK;
}

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

/* The head of the next block, whose body has this size and checksum. */
static void encode_head(struct checkpoint_writer *w, uint32_t records, size_t body_bytes,
                        uint64_t body_checksum, unsigned char *head)
{
    store_u64le(head + BLOCK_NUMBER, w->totals.blocks);
    store_u32le(head + BLOCK_RECORDS, records);
    store_u32le(head + BLOCK_BODY_BYTES, (uint32_t)body_bytes);
    store_u64le(head + BLOCK_BODY_CHECKSUM, body_checksum);
    uint64_t checksum = hash_checksum(head, BLOCK_CHECKSUM, w->salt);
    store_u64le(head + BLOCK_CHECKSUM, checksum);
    w->sum = checkpoint_sum(w->sum, checksum);
    w->totals.blocks++;
}

/* Write the gathered records, if there are any. */
static int write_block(struct checkpoint_writer *w, struct tarn_error *error)
{
    if (w->used == 0)
        return TARN_OK;
    unsigned char *body = w->block + BLOCK_HEAD_BYTES;
    uint64_t checksum = hash_checksum(body, w->used, w->salt + w->totals.blocks);
    encode_head(w, w->block_records, w->used, checksum, w->block);
    int status = append(w, w->block, BLOCK_HEAD_BYTES + w->used, error);
    w->used = 0;
    w->block_records = 0;
    return status == TARN_OK ? sync_some(w, error) : status;
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
    return n;
}

/* A block of this record only, whose value is not copied. */
static int add_alone(struct checkpoint_writer *w, const struct tarn_record *record,
                     struct tarn_error *error)
{
    int status = write_block(w, error);
    if (status != TARN_OK)
        return status;
    unsigned char *body = w->block + BLOCK_HEAD_BYTES;
    size_t n = encode_record_head(body, record);
    if (record->key.size > 0)
        memcpy(body + n, record->key.data, record->key.size);
    n += record->key.size;
    XXH3_state_t state;
    XXH3_64bits_reset_withSeed(&state, w->salt + w->totals.blocks);
    XXH3_64bits_update(&state, body, n);
    XXH3_64bits_update(&state, record->value.data, record->value.size);
    encode_head(w, 1, n + record->value.size, XXH3_64bits_digest(&state), w->block);
    status = append(w, w->block, BLOCK_HEAD_BYTES + n, error);
    if (status == TARN_OK)
        status = append(w, record->value.data, record->value.size, error);
    return status == TARN_OK ? sync_some(w, error) : status;
}

static void add_small(struct checkpoint_writer *w, const struct tarn_record *record)
{
    unsigned char *out = w->block + BLOCK_HEAD_BYTES + w->used, *at = out;
    at += encode_record_head(at, record);
    if (record->key.size > 0)
        memcpy(at, record->key.data, record->key.size);
    at += record->key.size;
    if (record->value.size > 0)
        memcpy(at, record->value.data, record->value.size);
    at += record->value.size;
    w->used += (size_t)(at - out);
    w->block_records++;
}

static int stopped(const struct checkpoint_writer *w, struct tarn_error *error)
{
    return error_set(error, w->status, "the file could not be written (%s)",
                     tarn_status_text(w->status));
}

int checkpoint_add(struct checkpoint_writer *w, const struct tarn_record *record,
                   struct tarn_error *error)
{
    const size_t room = CHECKPOINT_BLOCK_BYTES - BLOCK_HEAD_BYTES;
    if (w->status != TARN_OK)
        return stopped(w, error);
    if (record->key.size > TARN_KEY_BYTES_MAX || record->value.size > TARN_VALUE_BYTES_MAX)
        return error_set(error, TARN_TOOBIG, "a key of %zu and a value of %zu bytes: too large",
                         record->key.size, record->value.size);
    size_t size_max = RECORD_HEAD_BYTES_MAX + record->key.size + record->value.size;
    int status = TARN_OK;
    if (size_max > room) {
        status = add_alone(w, record, error);
    } else {
        if (size_max > room - w->used)
            status = write_block(w, error);
        if (status == TARN_OK)
            add_small(w, record);
    }
    if (status != TARN_OK)
        return status;
    w->totals.records++;
    w->totals.expiring += record->expire_ms != 0;
    return TARN_OK;
}

static void encode_footer(struct checkpoint_writer *w, unsigned char footer[FOOTER_BYTES])
{
    w->totals.bytes = w->publish.offset + FOOTER_BYTES;
    memset(footer, 0, FOOTER_BYTES);
    memcpy(footer + FOOTER_HEADER, w->header, HEADER_BYTES);
    store_u64le(footer + FOOTER_RECORDS, w->totals.records);
    store_u64le(footer + FOOTER_EXPIRING, w->totals.expiring);
    store_u64le(footer + FOOTER_BLOCKS, w->totals.blocks);
    store_u64le(footer + FOOTER_BYTES_ALL, w->totals.bytes);
    store_u64le(footer + FOOTER_SUM, w->sum);
    w->totals.checksum = checkpoint_footer_checksum(footer);
    store_u64le(footer + FOOTER_CHECKSUM, w->totals.checksum);
}

int checkpoint_commit(struct checkpoint_writer *w, struct checkpoint_totals *ret_totals,
                      struct tarn_error *error)
{
    unsigned char footer[FOOTER_BYTES];
    int status = w->status == TARN_OK ? write_block(w, error) : stopped(w, error);
    if (status == TARN_OK) {
        encode_footer(w, footer);
        status = append(w, footer, sizeof footer, error);
    }
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
    free(w);
}
