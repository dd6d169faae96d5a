/* See hashed.h.
 *
 * Invariants: (1) the top's hashes and offsets are in order (checkpoint_file_top() saw to it). (2)
 * A place lies within the file's blocks and has room for a head and a byte. (3) An entry whose
 * offset is UNKNOWN, or whose successor's is, is never used: its page is read. */
#include "pack/hashed.h"

#include <stdlib.h>

#include "core/assert.h"
#include "core/status.h"

#define UNKNOWN UINT32_MAX

static uint64_t top_hash(const struct hashed *h, uint64_t page)
{
    return load_u64le(h->file.top + page * ENTRY_BYTES + ENTRY_HASH);
}

static uint64_t top_offset(const struct hashed *h, uint64_t page)
{
    return page < h->file.pages ? load_u64le(h->file.top + page * ENTRY_BYTES + ENTRY_OFFSET)
                                : h->file.blocks_end;
}

/* --- opening --- */

/* What is known of a page's blocks; of a page that is not sound, nothing. */
static void hold_page(struct hashed *h, uint64_t page, const unsigned char *bytes)
{
    uint64_t base = top_offset(h, page), count = hashed_entries_of_page(h, page), last = base;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t hash = top_hash(h, page), offset = UNKNOWN;
        if (bytes != NULL) {
            hash = load_u64le(bytes + i * ENTRY_BYTES + ENTRY_HASH);
            uint64_t at = load_u64le(bytes + i * ENTRY_BYTES + ENTRY_OFFSET);
            offset = at >= base && at - base < UNKNOWN ? at - base : UNKNOWN;
            if (i > 0 && at > last && at - last > h->block_size_max)
                h->block_size_max = at - last;
            last = at;
        }
        h->entries[page * PAGE_ENTRIES_MAX + i] = (hash >> 32 << 32) | offset;
    }
    uint64_t end = top_offset(h, page + 1);
    if (end > last && end - last > h->block_size_max)
        h->block_size_max = end - last;
}

static int hold_directory(struct hashed *h, struct tarn_error *error)
{
    unsigned char page[PAGE_BYTES];
    struct tarn_error ignored;
    h->entries = malloc((size_t)h->file.blocks * sizeof *h->entries + 1);
    if (h->entries == NULL)
        return error_set(error, TARN_NOMEM, "%s: out of memory: its directory needs %zu bytes",
                         h->file.path, (size_t)h->file.blocks * sizeof *h->entries);
    for (uint64_t p = 0; p < h->file.pages; p++) {
        bool sound = checkpoint_file_page(&h->file, p, page, &ignored) == TARN_OK;
        hold_page(h, p, sound ? page : NULL); /* not sound: told to whoever looks there */
    }
    return TARN_OK;
}

/* Bytes of a block of one record, of the largest there may be. */
static uint64_t block_limit(const struct hashed *h)
{
    uint64_t body = RECORD_HEAD_BYTES_MAX + TARN_KEY_BYTES_MAX + TARN_VALUE_BYTES_MAX;
    return BLOCK_HEAD_BYTES + (h->file.pieces ? checkpoint_stored_bytes(body) : body);
}

int hashed_open(const struct os *os, const char *path, uint64_t directory_bytes_max,
                struct hashed **ret_hashed, struct tarn_error *error)
{
    struct hashed *h = calloc(1, sizeof *h);
    if (h == NULL)
        return error_set(error, TARN_NOMEM, "cannot read %s: out of memory", path);
    h->file.fd = -1;
    int status = checkpoint_file_open(&h->file, os, path, error);
    if (status == TARN_OK)
        status = checkpoint_file_ends(&h->file, 0, NULL, error);
    if (status == TARN_OK)
        status = checkpoint_file_top(&h->file, error);
    h->block_size_max = h->file.block_bytes;
    if (status == TARN_OK && h->file.blocks <= directory_bytes_max / sizeof *h->entries)
        status = hold_directory(h, error);
    else
        h->block_size_max = block_limit(h);
    if (status != TARN_OK) {
        hashed_close(h);
        return status;
    }
    checkpoint_file_about(&h->file, &h->about);
    checkpoint_file_totals(&h->file, &h->totals);
    *ret_hashed = h;
    return TARN_OK;
}

void hashed_close(struct hashed *h)
{
    if (h == NULL)
        return;
    checkpoint_file_close(&h->file);
    free(h->entries);
    free(h);
}

uint64_t hashed_memory_bytes(const struct hashed *h)
{
    return sizeof *h + hashed_directory_bytes(h->file.blocks, h->entries != NULL);
}

uint64_t hashed_directory_bytes(uint64_t blocks, bool held)
{
    uint64_t pages = (blocks + PAGE_ENTRIES_MAX - 1) / PAGE_ENTRIES_MAX;
    return pages * ENTRY_BYTES + (held ? blocks * sizeof(uint64_t) : 0);
}

/* --- places --- */

uint64_t hashed_page_of(const struct hashed *h, uint64_t hash)
{
    uint64_t low = 0, high = h->file.pages;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (top_hash(h, middle) <= hash)
            low = middle + 1;
        else
            high = middle;
    }
    return low == 0 ? UINT64_MAX : low - 1;
}

static bool possible(const struct hashed *h, const struct hashed_place *p)
{
    return p->offset >= HEADER_BYTES && p->end <= h->file.blocks_end && p->offset < p->end &&
           p->end - p->offset > BLOCK_HEAD_BYTES && p->end - p->offset <= block_limit(h);
}

bool hashed_block(const struct hashed *h, uint64_t number, struct hashed_place *ret_place)
{
    if (h->entries == NULL)
        return false;
    uint64_t page = number / PAGE_ENTRIES_MAX, i = number % PAGE_ENTRIES_MAX;
    const uint64_t *e = h->entries + number;
    struct hashed_place p = {.number = number, .hash = *e >> 32 << 32};
    bool last = i + 1 == hashed_entries_of_page(h, page);
    if ((uint32_t)*e == UNKNOWN || (!last && (uint32_t)e[1] == UNKNOWN))
        return false;
    p.offset = top_offset(h, page) + (uint32_t)*e;
    p.end = last ? top_offset(h, page + 1) : top_offset(h, page) + (uint32_t)e[1];
    if (i == 0) {
        p.hash = top_hash(h, page);
        p.hash_known = true;
    }
    *ret_place = p;
    return possible(h, &p);
}

bool hashed_locate(const struct hashed *h, uint64_t page, uint64_t hash,
                   struct hashed_place *ret_place)
{
    if (h->entries == NULL)
        return false;
    const uint64_t *entries = h->entries + page * PAGE_ENTRIES_MAX;
    uint64_t low = 1,
             high = hashed_entries_of_page(h, page); /* the first one's hash is the top's */
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (entries[middle] >> 32 <= hash >> 32)
            low = middle + 1;
        else
            high = middle;
    }
    return hashed_block(h, page * PAGE_ENTRIES_MAX + low - 1, ret_place);
}

static uint64_t page_entry_hash(const unsigned char *bytes, uint64_t i)
{
    return load_u64le(bytes + i * ENTRY_BYTES + ENTRY_HASH);
}

int hashed_page(const struct hashed *h, uint64_t page, const unsigned char *bytes, uint64_t hash,
                uint64_t number, struct hashed_place *ret_place, struct tarn_error *error)
{
    int status = checkpoint_file_check_page(&h->file, page, bytes, error);
    if (status != TARN_OK)
        return status;
    uint64_t count = hashed_entries_of_page(h, page), low = 1, high = count;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (page_entry_hash(bytes, middle) <= hash)
            low = middle + 1;
        else
            high = middle;
    }
    uint64_t i = number == UINT64_MAX ? low - 1 : number % PAGE_ENTRIES_MAX;
    const unsigned char *e = bytes + i * ENTRY_BYTES;
    *ret_place = (struct hashed_place){
        .number = page * PAGE_ENTRIES_MAX + i,
        .offset = load_u64le(e + ENTRY_OFFSET),
        .end = i + 1 < count ? load_u64le(e + ENTRY_BYTES + ENTRY_OFFSET) : top_offset(h, page + 1),
        .hash_known = true,
        .hash = load_u64le(e + ENTRY_HASH),
    };
    if (possible(h, ret_place))
        return TARN_OK;
    return checkpoint_file_corrupt(&h->file,
                                   h->file.blocks_end + page * PAGE_BYTES + i * ENTRY_BYTES,
                                   "the directory has an impossible block", error);
}

int hashed_find_block(const struct hashed *h, uint64_t number, struct hashed_place *ret_place,
                      struct tarn_error *error)
{
    unsigned char page[PAGE_BYTES];
    ASSERT(number < h->file.blocks);
    if (hashed_block(h, number, ret_place))
        return TARN_OK;
    int status = checkpoint_file_page(&h->file, number / PAGE_ENTRIES_MAX, page, error);
    return status != TARN_OK
               ? status
               : hashed_page(h, number / PAGE_ENTRIES_MAX, page, 0, number, ret_place, error);
}

const char *hashed_check_head(const struct hashed *h, const struct hashed_place *place,
                              const unsigned char *bytes, struct checkpoint_block *ret_block)
{
    uint64_t size = place->end - place->offset - BLOCK_HEAD_BYTES;
    const char *wrong = checkpoint_decode_head(bytes, h->file.salt, size, ret_block);
    if (wrong == NULL && (ret_block->number != place->number || ret_block->body_bytes != size))
        wrong = "a block is not the one that should be here";
    return wrong;
}
