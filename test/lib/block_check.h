/* What every index of blocks must hold, computed in the simplest way from a data set: where each
 * block begins, its checksum, and that each key that counts is led to its block.
 *
 * A look-up in the plain way, without any of the code that looks up in earnest: exceptions, then
 * the static function or the pages; in each block named all records are walked through. */
#ifndef LIB_BLOCK_CHECK_H
#define LIB_BLOCK_CHECK_H

#include <stdlib.h>

#include "core/codec.h"
#include "lib/dataset.h"
#include "lib/test.h"
#include "pack/index.h"

#define BLOCK_CHECK_CANDIDATES 4096

/* The record of this block that counts for the key by the index's policy, SIZE_MAX: none. */
static inline size_t block_find(const struct index *index, const struct dataset *d, uint64_t block,
                                struct tarn_bytes key)
{
    size_t low = 0, high = d->count, found = SIZE_MAX;
    while (low < high) { /* the first record that starts in the block or behind it */
        size_t middle = (low + high) / 2;
        if (d->records[middle].offset >> index->granule_log2 < block)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < d->count && d->records[low].offset >> index->granule_log2 == block; low++)
        if (bytes_equal(dataset_key(d, low), key) &&
            (found == SIZE_MAX || index->duplicates_policy == TARN_DUPLICATES_LAST))
            found = low;
    return found;
}

/* A page is whole, and its first hash is what the top says. */
static inline uint64_t check_page(const struct index *index, const unsigned char *page,
                                  uint64_t number)
{
    uint64_t entries = load_u64le(page + 8);
    assert_true(load_u64le(page) == hash_checksum(page + 8, INDEX_PAGE_BYTES - 8, 0));
    assert_true(entries >= 1 && entries <= index_page_entries(index));
    assert_true(load_u64le(page + INDEX_PAGE_HEADER_BYTES) == index->top[number]);
    return entries;
}

/* Blocks named for this hash by pages (their bytes from INDEX_PAGES_AT on), as doc/index.md says
 * which pages are to be read. */
static inline size_t page_candidates(const struct index *index, const unsigned char *pages,
                                     uint64_t hash, uint64_t *ret_blocks)
{
    size_t count = 0;
    unsigned entry_bytes = index_entry_bytes(index);
    uint64_t first = 0, high = index->page_count;
    while (first < high) { /* the first page whose first hash is not less */
        uint64_t middle = (first + high) / 2;
        if (index->top[middle] < hash)
            first = middle + 1;
        else
            high = middle;
    }
    if (first > 0 && (first == index->page_count || index->top[first] != hash))
        first--;
    for (uint64_t p = first; p < index->page_count && index->top[p] <= hash; p++) {
        const unsigned char *page = pages + p * INDEX_PAGE_BYTES;
        const unsigned char *entry = page + INDEX_PAGE_HEADER_BYTES;
        for (uint64_t e = check_page(index, page, p); e-- > 0; entry += entry_bytes) {
            if (load_u64le(entry) != hash)
                continue;
            uint64_t block = 0;
            memcpy(&block, entry + 8, entry_bytes - 8);
            assert_true(count < BLOCK_CHECK_CANDIDATES);
            ret_blocks[count++] = block;
        }
    }
    return count;
}

/* Blocks that may hold a key of this hash, in their order. */
static inline size_t block_candidates(const struct index *index, const unsigned char *pages,
                                      uint64_t hash, uint64_t *ret_blocks)
{
    if (index->layout == INDEX_PAGES)
        return page_candidates(index, pages, hash, ret_blocks);
    size_t count = 0;
    for (uint64_t e = 0; e < index->exception_count; e++) {
        if (index->exceptions[e].hash == hash) {
            assert_true(count < BLOCK_CHECK_CANDIDATES);
            ret_blocks[count++] = index->exceptions[e].location;
        }
    }
    if (count > 0)
        return count;
    uint64_t value = ribbon_query(&index->ribbon, hash);
    uint64_t mask = (1ull << index->fingerprint_bits) - 1;
    ret_blocks[0] = value >> index->fingerprint_bits;
    return (value & mask) == (hash & mask) && ret_blocks[0] < index->block_count;
}

/* The record found under a key, SIZE_MAX: none. */
static inline size_t block_look_up(const struct index *index, const unsigned char *pages,
                                   const struct dataset *d, struct tarn_bytes key)
{
    static uint64_t blocks[BLOCK_CHECK_CANDIDATES];
    size_t count = block_candidates(index, pages, index_hash(index, key), blocks);
    size_t found = SIZE_MAX;
    for (size_t i = 0; i < count; i++) {
        assert_true(i == 0 || blocks[i] >= blocks[i - 1]);
        size_t record = block_find(index, d, blocks[i], key);
        if (record != SIZE_MAX &&
            (found == SIZE_MAX || index->duplicates_policy == TARN_DUPLICATES_LAST))
            found = record;
    }
    return found;
}

/* Starts and checksums of all blocks. */
static inline void check_block_tables(const struct index *index, const struct dataset *d)
{
    size_t next = 0;
    uint64_t granule = 1ull << index->granule_log2;
    assert_int_equal(index->block_count, (d->data.size + granule - 1) / granule);
    for (uint64_t b = 0; b < index->block_count; b++) {
        size_t first = next;
        while (next < d->count && d->records[next].offset < (b + 1) * granule)
            next++;
        uint64_t offset, size;
        bool any = index_block_range(index, b, &offset, &size);
        assert_int_equal(any, next > first);
        if (!any) {
            assert_int_equal(index->block_checksums[b], 0);
            continue;
        }
        uint64_t end = next < d->count ? d->records[next].offset : d->data.size;
        assert_int_equal(offset, d->records[first].offset);
        assert_int_equal(size, end - offset);
        assert_true(index->block_checksums[b] ==
                    (uint32_t)hash_checksum(d->data.data + offset, size, 0));
    }
    assert_int_equal(next, d->count);
    for (uint64_t m = 0; m < checksum_block_count(d->data.size); m++) {
        size_t left = d->data.size - (m << 20);
        assert_true(index->checksums[m] ==
                    hash_checksum(d->data.data + (m << 20), left < 1 << 20 ? left : 1 << 20, 0));
    }
}

/* All of that, for a settled data set; pages: NULL but for INDEX_PAGES. */
static inline void check_blocks(const struct index *index, const unsigned char *pages,
                                const struct dataset *d)
{
    check_block_tables(index, d);
    assert_int_equal(index->records, d->count);
    assert_int_equal(index->duplicates, d->duplicates);
    for (size_t i = 0; i < d->count; i++) {
        size_t expected = dataset_find(d, dataset_key(d, i));
        size_t found = block_look_up(index, pages, d, dataset_key(d, i));
        if (found != expected)
            fail_msg("record %zu is found under the key of record %zu, not %zu", found, i,
                     expected);
    }
    for (uint64_t i = 0; i < 200; i++) {
        struct tarn_bytes key = {&i, sizeof i};
        assert_int_equal(block_look_up(index, pages, d, key), dataset_find(d, key));
    }
}

#endif
