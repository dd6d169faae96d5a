/* A key in a `tarn` file on disk. See lookup.h and hashed.h.
 *
 * The directory says which block may have the key, mostly from memory: one read. It is the last
 * whose first hash is not above the key's, as far as that is known: if the block turns out to begin
 * with a higher one, or with the very same and does not have the key, then the one before may.
 *
 * A block in pieces is read up to the end of its first: the key and where the value lies.
 * Invariants: (1) nothing of a block is believed before its head's and its body's (or its piece's)
 * checksum held. (2) Each step goes to a lower block: it comes to an end. */
#include "core/bytes.h"
#include "pack/checkpoint_block.h"
#include "pack/hashed.h"
#include "pack/lookup_internal.h"

/* Larger blocks of pieces are not read whole: their values are far. */
static uint64_t near_bytes(const struct hashed *h)
{
    return h->file.pieces
               ? BLOCK_HEAD_BYTES + checkpoint_stored_bytes(PIECE_BYTES + RECORD_HEAD_BYTES_MAX +
                                                            TARN_KEY_BYTES_MAX)
               : UINT64_MAX;
}

uint64_t lookup_hashed_read_bytes_max(const struct disk_pack *pack)
{
    const struct hashed *h = pack->hashed;
    uint64_t near = near_bytes(h);
    uint64_t most = h->block_size_max < near ? h->block_size_max : near;
    most = most < PIECE_READ_BYTES_MAX ? PIECE_READ_BYTES_MAX : most;
    return most + 2 * DISK_ALIGN_BYTES;
}

static int ask_page(struct lookup *l, uint64_t page, uint64_t number)
{
    uint64_t at = l->pack->hashed->file.blocks_end + page * PAGE_BYTES;
    l->page = page;
    l->bound = number;
    lookup_ask(l, READING_ENTRY, l->pack->fd, at, at + PAGE_BYTES);
    return LOOKUP_READ;
}

/* The block there, if it can have the key. */
static int ask_block(struct lookup *l, const struct hashed_place *p)
{
    const struct hashed *h = l->pack->hashed;
    uint64_t size = p->end - p->offset, near = near_bytes(h);
    l->number = p->number;
    bool lower = p->hash_known ? p->hash < l->hash : p->hash >> 32 < l->hash >> 32;
    if (size > h->file.block_bytes && lower)
        return TARN_NOTFOUND; /* it has one record, of another hash */
    l->value_at = p->end;
    lookup_ask(l, READING_BODY, l->pack->fd, p->offset,
               size <= near ? p->end : p->offset + BLOCK_HEAD_BYTES + PIECE_BYTES);
    return LOOKUP_READ;
}

int lookup_hashed_begin(struct lookup *l)
{
    const struct hashed *h = l->pack->hashed;
    struct hashed_place place;
    l->hash = hash_key(h->about.secret, l->key);
    uint64_t page = hashed_page_of(h, l->hash);
    if (page == UINT64_MAX)
        return TARN_NOTFOUND;
    if (!hashed_locate(h, page, l->hash, &place))
        return ask_page(l, page, UINT64_MAX);
    return ask_block(l, &place);
}

int lookup_hashed_page(struct lookup *l, const unsigned char *data, struct tarn_error *error)
{
    struct hashed_place place;
    int status = hashed_page(l->pack->hashed, l->page, data, l->hash, l->bound, &place, error);
    return status == TARN_OK ? ask_block(l, &place) : status;
}

static int step_back(struct lookup *l)
{
    struct hashed_place place;
    if (l->number == 0)
        return TARN_NOTFOUND;
    uint64_t number = l->number - 1;
    if (!hashed_block(l->pack->hashed, number, &place))
        return ask_page(l, number / PAGE_ENTRIES_MAX, number);
    return ask_block(l, &place);
}

static int give(const struct lookup *l, const unsigned char *body, const struct tarn_record *record,
                struct lookup_found *ret_found)
{
    *ret_found = (struct lookup_found){.record = *record};
    ret_found->record.key = l->key;
    if (!l->pack->hashed->file.pieces || record->value.size <= DISK_FAR_BYTES)
        return TARN_OK;
    ret_found->record.value.data = NULL;
    ret_found->far = true;
    ret_found->place = (struct lookup_far){
        .offset = (uint64_t)((const unsigned char *)record->value.data - body),
        .size = record->value.size,
        .block_offset = l->start,
        .block_number = l->number,
    };
    return TARN_OK;
}

/* A sound body, all of it. */
static int search_body(struct lookup *l, const struct checkpoint_block *block,
                       const unsigned char *body, struct lookup_found *ret_found,
                       struct tarn_error *error)
{
    size_t at = 0;
    uint64_t first_hash = 0;
    for (uint32_t i = 0; i < block->records; i++) {
        struct tarn_record record;
        if (!checkpoint_decode_record(body, block->body_bytes, &at, &record))
            return lookup_corrupt(l->pack, l->start, "a block's records are not what its head says",
                                  error);
        if (bytes_equal(record.key, l->key))
            return give(l, body, &record, ret_found);
        if (i == 0)
            first_hash = hash_key(l->pack->hashed->about.secret, record.key);
    }
    return first_hash >= l->hash ? step_back(l) : TARN_NOTFOUND;
}

/* The first piece of a body whose record's value is far. */
static int search_piece(struct lookup *l, const struct checkpoint_block *block, unsigned char *body,
                        struct lookup_found *ret_found, struct tarn_error *error)
{
    const struct disk_pack *pack = l->pack;
    struct tarn_record record;
    size_t at = 0;
    if (!checkpoint_piece_sound(block, body, PIECE_BYTES, 0, pack->hashed->file.salt))
        return lookup_corrupt(pack, l->start, "a block does not match its checksum", error);
    if (!checkpoint_decode_start(body, PIECE_DATA, &at, &record) || block->records != 1 ||
        checkpoint_stored_bytes(at + record.value.size) != block->body_bytes)
        return lookup_corrupt(pack, l->start, "a block's records are not what its head says",
                              error);
    record.value.data = body + at;
    if (bytes_equal(record.key, l->key))
        return give(l, body, &record, ret_found);
    return hash_key(pack->hashed->about.secret, record.key) >= l->hash ? step_back(l)
                                                                       : TARN_NOTFOUND;
}

int lookup_hashed_block(struct lookup *l, unsigned char *data, struct lookup_found *ret_found,
                        struct tarn_error *error)
{
    const struct hashed *h = l->pack->hashed;
    struct hashed_place place = {.number = l->number, .offset = l->start, .end = l->value_at};
    struct checkpoint_block block;
    unsigned char *body = data + BLOCK_HEAD_BYTES;
    const char *wrong = hashed_check_head(h, &place, data, &block);
    if (wrong != NULL)
        return lookup_corrupt(l->pack, l->start, wrong, error);
    if (l->end < place.end)
        return search_piece(l, &block, body, ret_found, error);
    if (!checkpoint_open_body(&block, body, h->file.salt, h->file.pieces))
        return lookup_corrupt(l->pack, l->start, "a block does not match its checksum", error);
    return search_body(l, &block, body, ret_found, error);
}

/* --- pieces --- */

/* Of the piece that has the value's byte `at`: its number, and where it lies. */
static uint64_t piece_place(const struct lookup_far *value, uint64_t at, uint64_t *ret_start,
                            uint64_t *ret_end)
{
    uint64_t number = (value->offset + at) / PIECE_DATA;
    uint64_t body = value->block_offset + BLOCK_HEAD_BYTES;
    uint64_t end = body + checkpoint_stored_bytes(value->offset + value->size);
    *ret_start = body + number * PIECE_BYTES;
    *ret_end = *ret_start + PIECE_BYTES < end ? *ret_start + PIECE_BYTES : end;
    return number;
}

void lookup_hashed_piece(const struct lookup_far *value, uint64_t at, uint64_t *ret_start,
                         uint64_t *ret_end)
{
    (void)piece_place(value, at, ret_start, ret_end);
}

int lookup_hashed_piece_finish(const struct piece *p, const unsigned char *bytes,
                               struct tarn_bytes *ret_view, struct tarn_error *error)
{
    struct checkpoint_block block = {.number = p->value.block_number};
    uint64_t start, end, number = piece_place(&p->value, p->at, &start, &end);
    if (!checkpoint_piece_sound(&block, bytes, (size_t)(end - start), number,
                                p->pack->hashed->file.salt))
        return lookup_corrupt(p->pack, start, "a piece of a value does not match its checksum",
                              error);
    uint64_t skip = p->value.offset + p->at - number * PIECE_DATA;
    *ret_view =
        (struct tarn_bytes){bytes + skip, (size_t)(end - start - PIECE_CHECKSUM_BYTES - skip)};
    return TARN_OK;
}
