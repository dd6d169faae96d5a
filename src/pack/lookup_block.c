/* Blocks of a data file: where they lie, and the key in their records. See lookup.h.
 *
 * A block is the records that start in one granule, so only its last record can be large. Mostly it
 * is read whole and held against its checksum. If it is longer than a granule with a value that is
 * not far, it ends in a large record: then the raw MiB from its start up to where that record's
 * value has begun are read, which have checksums of their own, and a far value stays where it is.
 * (In text a value's end is not stored: it is the block's, less a newline, which the last line of
 * the file may lack: that is looked up.)
 *
 * Invariants: (1) a block's records fill it exactly; if not, it is CORRUPT, although the checksum
 * held. (2) Of a key that is in the block more than once the policy's record is given. */
#include "core/bytes.h"
#include "pack/lookup_internal.h"

/* Bytes of a record besides its value, at most: key, sizes, separator, newline. */
#define FRAMING_BYTES_MAX (TARN_KEY_BYTES_MAX + 32)

/* What is read of a block at most: longer ones end in a record whose value is far. */
static uint64_t near_bytes(const struct index *index)
{
    return (1ull << index->granule_log2) + FRAMING_BYTES_MAX + DISK_FAR_BYTES;
}

uint64_t lookup_block_read_bytes_max(const struct disk_pack *pack)
{
    return near_bytes(pack->index) + 2 * CHECKSUM_BLOCK_BYTES;
}

static uint64_t raw_down(uint64_t offset)
{
    return offset & ~(uint64_t)(CHECKSUM_BLOCK_BYTES - 1);
}

/* The end of the raw MiB that holds the byte before `end`. */
static uint64_t raw_up(const struct disk_pack *pack, uint64_t end)
{
    uint64_t up = raw_down(end + CHECKSUM_BLOCK_BYTES - 1);
    return up < pack->data_bytes ? up : pack->data_bytes;
}

static bool block_range(const struct disk_pack *pack, uint64_t block, uint64_t *ret_start,
                        uint64_t *ret_end)
{
    uint64_t size;
    if (block >= pack->index->block_count ||
        !index_block_range(pack->index, block, ret_start, &size) ||
        *ret_start >= pack->data_bytes || size == 0 || size > pack->data_bytes - *ret_start)
        return false;
    *ret_end = *ret_start + size;
    return true;
}

int lookup_block_plan(struct lookup *l, uint64_t block)
{
    const struct disk_pack *pack = l->pack;
    uint64_t start, end, near = near_bytes(pack->index);
    if (!block_range(pack, block, &start, &end))
        return TARN_NOTFOUND;
    l->number = block;
    if (end - start <= near)
        lookup_ask(l, READING_BLOCK, pack->fd, start, end);
    else
        lookup_ask(l, READING_HEAD, pack->fd, raw_down(start), raw_up(pack, start + near));
    return LOOKUP_READ;
}

static int no_records(const struct lookup *l, uint64_t offset, struct tarn_error *error)
{
    return lookup_corrupt(l->pack, offset, "no record is where the index says that one starts",
                          error);
}

static int give_far(const struct lookup *l, uint64_t offset, uint64_t size,
                    struct lookup_found *ret_found)
{
    *ret_found = (struct lookup_found){
        .record = {.key = l->key, .value = {NULL, (size_t)size}},
        .far = true,
        .place = {.offset = offset, .size = size},
    };
    return TARN_OK;
}

/* A value that lies in what was read, whose first byte is the file's at l->start. */
static int give(const struct lookup *l, const unsigned char *data, struct tarn_bytes value,
                struct lookup_found *ret_found)
{
    if (value.size > DISK_FAR_BYTES) {
        uint64_t before = (uint64_t)((const unsigned char *)value.data - data);
        return give_far(l, l->start + before, value.size, ret_found);
    }
    *ret_found = (struct lookup_found){.record = {.key = l->key, .value = value}};
    return TARN_OK;
}

/* Of a key that is repeated in one block, does the last record count? */
static bool last_counts(const struct index *index)
{
    return index->duplicates > 0 && index->duplicates_policy != TARN_DUPLICATES_FIRST;
}

/* The records in `view`, which begins at byte `start` of the file. TARN_OK: found; NOTFOUND: it is
 * in none of them. *at: behind the last that is whole, view.size if all are. */
static int walk(const struct lookup *l, struct tarn_bytes view, uint64_t start, uint64_t *at,
                struct tarn_bytes *ret_value)
{
    const struct index *index = l->pack->index;
    bool at_end = start + view.size == index->data_bytes;
    int status = TARN_NOTFOUND;
    struct record record;
    for (*at = 0; *at < view.size; *at += record.size) {
        if (format_parse(&index->format, view, *at, at_end, &record) != FORMAT_OK)
            break;
        if (!bytes_equal(record.key, l->key))
            continue;
        *ret_value = record.value;
        status = TARN_OK;
        if (!last_counts(index))
            break;
    }
    return status;
}

static int finish_block(struct lookup *l, const unsigned char *data, struct lookup_found *ret_found,
                        struct tarn_error *error)
{
    struct tarn_bytes view = {data, (size_t)(l->end - l->start)}, value;
    uint64_t at;
    if (index_block_checksum(view.data, view.size) != l->pack->index->block_checksums[l->number])
        return lookup_corrupt(l->pack, l->start, "a block does not match the index's checksum",
                              error);
    int status = walk(l, view, l->start, &at, &value);
    if (status == TARN_OK)
        return give(l, data, value, ret_found);
    return at == view.size ? TARN_NOTFOUND : no_records(l, l->start + at, error);
}

/* The large record at `at` of the view, which ends the block: is it the key's? Its value lies in
 * the file from *ret_value_at on, ret_value_size bytes. NOTFOUND: another key. */
static int large_record(const struct lookup *l, struct tarn_bytes view, uint64_t start, uint64_t at,
                        uint64_t end, uint64_t *ret_value_at, uint64_t *ret_size,
                        struct tarn_error *error)
{
    const struct index *index = l->pack->index;
    struct record_head head;
    if (format_parse_head(&index->format, view, at, &head) != FORMAT_OK ||
        (start + at) >> index->granule_log2 != l->number || head.value_at > end - start - at)
        return no_records(l, start + at, error);
    *ret_value_at = start + at + head.value_at;
    *ret_size = end - *ret_value_at;
    if (head.value_size != UINT64_MAX && head.value_size != *ret_size)
        return no_records(l, start + at, error);
    return bytes_equal(head.key, l->key) ? TARN_OK : TARN_NOTFOUND;
}

static int give_large(struct lookup *l, uint64_t value_at, uint64_t size,
                      struct lookup_found *ret_found)
{
    const struct disk_pack *pack = l->pack;
    if (pack->index->format.kind == TARN_FORMAT_BINARY)
        return give_far(l, value_at, size, ret_found);
    if (value_at + size < pack->data_bytes)
        return give_far(l, value_at, size - 1, ret_found); /* a newline ends it */
    l->value_at = value_at;
    lookup_ask(l, READING_TAIL, pack->fd, raw_down(pack->data_bytes - 1), pack->data_bytes);
    return LOOKUP_READ;
}

static int finish_head(struct lookup *l, const unsigned char *data, struct lookup_found *ret_found,
                       struct tarn_error *error)
{
    uint64_t start, end, at, value_at = 0, size = 0;
    int status = lookup_check_raw(l->pack, data, l->start, l->end, error);
    if (status != TARN_OK)
        return status;
    if (!block_range(l->pack, l->number, &start, &end))
        return no_records(l, l->start, error); /* cannot be: it was planned by this */
    uint64_t to = end < l->end ? end : l->end;
    struct tarn_bytes view = {data + (start - l->start), (size_t)(to - start)}, value;
    status = walk(l, view, start, &at, &value);
    bool all = at == view.size && to == end;
    if (status == TARN_OK && (all || !last_counts(l->pack->index)))
        return give(l, data, value, ret_found);
    if (all)
        return TARN_NOTFOUND;
    int large = large_record(l, view, start, at, end, &value_at, &size, error);
    if (large == TARN_OK)
        return give_large(l, value_at, size, ret_found);
    if (large == TARN_NOTFOUND && status == TARN_OK)
        return give(l, data, value, ret_found);
    return large;
}

static int finish_tail(const struct lookup *l, const unsigned char *data,
                       struct lookup_found *ret_found, struct tarn_error *error)
{
    int status = lookup_check_raw(l->pack, data, l->start, l->end, error);
    if (status != TARN_OK)
        return status;
    bool newline = data[l->end - l->start - 1] == '\n';
    return give_far(l, l->value_at, l->end - l->value_at - newline, ret_found);
}

int lookup_block_finish(struct lookup *l, const unsigned char *data, struct lookup_found *ret_found,
                        struct tarn_error *error)
{
    switch (l->reading) {
    case READING_BLOCK:
        return finish_block(l, data, ret_found, error);
    case READING_HEAD:
        return finish_head(l, data, ret_found, error);
    default:
        return finish_tail(l, data, ret_found, error);
    }
}
