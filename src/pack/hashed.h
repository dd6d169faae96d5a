/* The directory of a `tarn` file that stays on disk: which block a hash leads to. 8 bytes a block
 * in memory, beside the file's top; or the top alone, and a page is read for each key.
 *
 * Of each block the high half of its first hash is held, and its offset from its page's first
 * block. What 32 bits cannot tell (equal halves, pages of over 4 GiB) is told by the block, or by
 * the page, which is then read; so is a page that could not be read when the file was opened.
 * Immutable after open. */
#ifndef PACK_HASHED_H
#define PACK_HASHED_H

#include "pack/checkpoint_block.h"
#include "pack/checkpoint_file.h"

struct hashed {
    struct checkpoint_file file;
    struct checkpoint_about about;
    struct checkpoint_totals totals;
    uint64_t *entries;       /* one a block: hash >> 32 << 32 | offset; NULL: not held */
    uint64_t block_size_max; /* bytes of the largest block; an upper bound where it is not known */
};

/* Open and read the top; the directory too if it has at most directory_bytes_max. Errors: those of
 * checkpoint_open(). */
TARN_MUST int hashed_open(const struct os *os, const char *path, uint64_t directory_bytes_max,
                          struct hashed **ret_hashed, struct tarn_error *error);
void hashed_close(struct hashed *h); /* NULL is allowed */
uint64_t hashed_memory_bytes(const struct hashed *h);
/* Of so many blocks; held: entries too, else the top alone. */
uint64_t hashed_directory_bytes(uint64_t blocks, bool held);

/* A block by the directory. */
struct hashed_place {
    uint64_t number, offset, end;
    bool hash_known; /* page was read */
    uint64_t hash;   /* of its first record; hash_known false: its high half, the low one is 0 */
};

/* The page of the directory that has the last block that may begin with this hash or a lower one;
 * UINT64_MAX: all begin with higher ones. */
uint64_t hashed_page_of(const struct hashed *h, uint64_t hash);

/* Blocks that a page has. */
static inline uint64_t hashed_entries_of_page(const struct hashed *h, uint64_t page)
{
    uint64_t left = h->file.blocks - page * PAGE_ENTRIES_MAX;
    return left < PAGE_ENTRIES_MAX ? left : PAGE_ENTRIES_MAX;
}

/* From what is held: the last block of the page whose first hash is at most this one by what is
 * known of it. False: the page must be read. */
bool hashed_locate(const struct hashed *h, uint64_t page, uint64_t hash,
                   struct hashed_place *ret_place);
/* The block of this number. False: its page must be read. */
bool hashed_block(const struct hashed *h, uint64_t number, struct hashed_place *ret_place);

/* The same two from a page, PAGE_BYTES that were read: CORRUPT if it is not sound. number
 * UINT64_MAX: by the hash. */
TARN_MUST int hashed_page(const struct hashed *h, uint64_t page, const unsigned char *bytes,
                          uint64_t hash, uint64_t number, struct hashed_place *ret_place,
                          struct tarn_error *error);

/* The block of this number, reading its page if it must. Errors: CORRUPT, IO. */
TARN_MUST int hashed_find_block(const struct hashed *h, uint64_t number,
                                struct hashed_place *ret_place, struct tarn_error *error);

/* The head of a block: sound, of this number, and with a body that ends where the place does. */
const char *hashed_check_head(const struct hashed *h, const struct hashed_place *place,
                              const unsigned char *bytes, struct checkpoint_block *ret_block);

#endif
