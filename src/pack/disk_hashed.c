/* Scans, random keys and verification of a `tarn` file on disk. See disk.h.
 *
 * A cursor is the number of the next block, times 2^16, and the place of the next record in it; any
 * value is safe. Every record counts: no key is there twice. A random key is one of the block that
 * a random hash leads to, drawn evenly: blocks of one large record come as often as their share of
 * all hashes, so all keys are about as likely. */
#include "core/assert.h"
#include "core/random.h"
#include "pack/disk_internal.h"
#include "pack/hashed.h"
#include "pack/lookup_internal.h"

static_assert(CHECKPOINT_BLOCK_BYTES_MAX / 2 < 1 << 16, "a record's place in its block");

/* Blocks read at once. */
struct blocks {
    unsigned char *data; /* of the first */
    uint64_t first, end; /* numbers */
    uint64_t offset;     /* of the first in the file */
};

/* Read the block `first` and as many behind it as `bytes` have room for. */
static int read_blocks(const struct disk_pack *pack, uint64_t first, uint64_t bytes,
                       struct disk_buffer *buffer, struct blocks *ret, struct tarn_error *error)
{
    const struct hashed *h = pack->hashed;
    struct hashed_place place, next;
    struct lookup l = {.pack = pack};
    size_t got;
    int status = hashed_find_block(h, first, &place, error);
    if (status != TARN_OK)
        return status;
    *ret = (struct blocks){.first = first, .end = first + 1, .offset = place.offset};
    while (ret->end < h->file.blocks && hashed_block(h, ret->end, &next) &&
           next.offset == place.end && next.end - ret->offset <= bytes) {
        place = next;
        ret->end++;
    }
    lookup_ask(&l, READING_BODY, pack->fd, ret->offset, place.end);
    status = disk_reserve(pack, buffer, l.size, error);
    if (status != TARN_OK)
        return status;
    int result = disk_read(pack->os, l.fd, buffer->data, l.size, l.needed, l.offset, &got);
    bool whole = result == 0 && got >= l.needed;
    if (!whole && ret->end > first + 1) /* the first alone may be there */
        return read_blocks(pack, first, 0, buffer, ret, error);
    if (result < 0)
        return lookup_failed(&l, result, error);
    ret->data = lookup_arrived(&l, buffer->data, got, error);
    return ret->data == NULL ? TARN_STALE : TARN_OK;
}

/* Believe a block of these. Its body stands in ret_block->body_bytes behind the head. */
static int open_block(const struct disk_pack *pack, const struct blocks *blocks, uint64_t number,
                      struct hashed_place *place, unsigned char **ret_body,
                      struct checkpoint_block *ret_block, struct tarn_error *error)
{
    const struct hashed *h = pack->hashed;
    int status = hashed_find_block(h, number, place, error);
    if (status != TARN_OK)
        return status;
    unsigned char *bytes = blocks->data + (place->offset - blocks->offset);
    const char *wrong = hashed_check_head(h, place, bytes, ret_block);
    *ret_body = bytes + BLOCK_HEAD_BYTES;
    if (wrong == NULL && !checkpoint_open_body(ret_block, *ret_body, h->file.salt, h->file.pieces))
        wrong = "a block does not match its checksum";
    return wrong == NULL ? TARN_OK : lookup_corrupt(pack, place->offset, wrong, error);
}

static int bad_records(const struct disk_pack *pack, const struct hashed_place *place,
                       struct tarn_error *error)
{
    return lookup_corrupt(pack, place->offset, "a block's records are not what its head says",
                          error);
}

/* --- scans --- */

struct scan {
    const struct disk_pack *pack;
    struct blocks blocks;
    uint64_t number, index; /* the next record */
    size_t left;
    tarn_visit visit;
    void *context;
};

static int scan_block(struct scan *s, struct tarn_error *error)
{
    struct hashed_place place;
    struct checkpoint_block block;
    unsigned char *body;
    size_t at = 0;
    int status = open_block(s->pack, &s->blocks, s->number, &place, &body, &block, error);
    if (status != TARN_OK)
        return status;
    for (uint32_t i = 0; i < block.records && s->left > 0; i++) {
        struct tarn_record record;
        if (!checkpoint_decode_record(body, block.body_bytes, &at, &record))
            return bad_records(s->pack, &place, error);
        if (i < s->index)
            continue;
        s->visit(s->context, record.key, record.value);
        s->index++;
        s->left--;
    }
    if (s->index >= block.records) {
        s->number++;
        s->index = 0;
    }
    return TARN_OK;
}

int disk_hashed_scan(const struct disk_pack *pack, uint64_t *cursor, size_t count,
                     struct disk_buffer *buffer, tarn_visit visit, void *context,
                     uint64_t *ret_skip, struct tarn_error *error)
{
    const struct hashed *h = pack->hashed;
    struct scan s = {
        .pack = pack,
        .number = *cursor >> 16,
        .index = *cursor & 0xffff,
        .left = count,
        .visit = visit,
        .context = context,
    };
    int status = TARN_OK;
    while (s.left > 0 && s.number < h->file.blocks && status == TARN_OK) {
        uint64_t bytes = disk_run_bytes(h->file.bytes, h->totals.records, s.left);
        status = read_blocks(pack, s.number, bytes, buffer, &s.blocks, error);
        while (status == TARN_OK && s.left > 0 && s.number < s.blocks.end)
            status = scan_block(&s, error);
    }
    *cursor = s.number < h->file.blocks ? s.number << 16 | s.index : 0;
    if (status != TARN_OK && ret_skip != NULL)
        *ret_skip = s.number + 1 < h->file.blocks ? (s.number + 1) << 16 : 0;
    return status;
}

/* --- random keys --- */

int disk_hashed_random_key(const struct disk_pack *pack, uint64_t random,
                           struct disk_buffer *buffer, struct tarn_bytes *ret_key,
                           struct tarn_error *error)
{
    const struct hashed *h = pack->hashed;
    struct blocks blocks;
    struct hashed_place place;
    struct checkpoint_block block;
    struct tarn_record record;
    unsigned char *body;
    size_t at = 0;
    if (h->file.blocks == 0)
        return TARN_NOTFOUND;
    uint64_t hash = random_next(&random), page = hashed_page_of(h, hash), number = 0;
    if (page != UINT64_MAX && hashed_locate(h, page, hash, &place))
        number = place.number;
    else if (page != UINT64_MAX) /* which of the page's is not known: any */
        number = page * PAGE_ENTRIES_MAX +
                 random_below(random_next(&random), hashed_entries_of_page(h, page));
    int status = read_blocks(pack, number, 0, buffer, &blocks, error);
    if (status == TARN_OK)
        status = open_block(pack, &blocks, number, &place, &body, &block, error);
    if (status != TARN_OK)
        return status;
    uint64_t i = random_below(random_next(&random), block.records);
    do {
        if (!checkpoint_decode_record(body, block.body_bytes, &at, &record))
            return bad_records(pack, &place, error);
    } while (i-- > 0);
    *ret_key = record.key;
    return TARN_OK;
}

/* --- verification --- */

int disk_hashed_verify(const struct disk_pack *pack, const struct tarn_options *options,
                       struct tarn_verify_report *ret_report, struct tarn_error *error)
{
    struct checkpoint_about about;
    struct checkpoint_totals totals;
    int status =
        checkpoint_read(pack->os, pack->path, pack->hashed->totals.checksum, NULL, NULL,
                        options->progress, options->progress_context, &about, &totals, NULL, error);
    if (status != TARN_OK)
        return status;
    *ret_report = (struct tarn_verify_report){
        .keys = totals.records,
        .records = totals.records,
        .blocks = totals.blocks,
        .data_bytes = totals.bytes,
    };
    return TARN_OK;
}

uint64_t disk_directory_bytes(uint64_t blocks, bool held)
{
    return hashed_directory_bytes(blocks, held);
}
