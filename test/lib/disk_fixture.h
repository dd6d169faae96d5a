/* A pack on disk made from a data set, its files bytes in memory that a test may change: the index
 * is laid out here once more, in the simplest way, so that lookups are tested without the builder
 * and with what it does not let one choose (a weak hash). Of a hash that several records have, all
 * their blocks are kept, as doc/index.md says. */
#ifndef LIB_DISK_FIXTURE_H
#define LIB_DISK_FIXTURE_H

#include <stdlib.h>

#include "core/codec.h"
#include "lib/dataset.h"
#include "lib/memory_os.h"
#include "lib/test.h"
#include "pack/lookup.h"

struct disk_shape {
    enum index_layout layout;
    unsigned granule_log2, fingerprint_bits;
    enum tarn_duplicates policy;
    uint64_t hash_mask; /* 0: all ones */
};

struct disk_fixture {
    const struct dataset *d;
    struct memory_os memory; /* files "data" and "index" */
    struct disk_pack pack;
    unsigned char *data; /* of the data file: exactly its size */
    struct buffer pages; /* of the index file */
    struct index index;
    struct disk_buffer buffer;
    uint64_t reads, read_bytes; /* of disk_fixture_find() */
};

static int disk_fixture_compare(const void *a, const void *b)
{
    const struct index_exception *x = a, *y = b;
    if (x->hash != y->hash)
        return x->hash < y->hash ? -1 : 1;
    return x->location < y->location ? -1 : x->location > y->location;
}

/* (hash, block) of all records, in order, each once. */
static inline struct index_exception *disk_fixture_entries(const struct disk_fixture *f,
                                                           size_t *ret_count)
{
    struct index_exception *all = malloc((f->d->count + 1) * sizeof *all);
    size_t count = 0;
    for (size_t i = 0; i < f->d->count; i++)
        all[i] = (struct index_exception){index_hash(&f->index, dataset_key(f->d, i)),
                                          f->d->records[i].offset >> f->index.granule_log2};
    qsort(all, f->d->count, sizeof *all, disk_fixture_compare);
    for (size_t i = 0; i < f->d->count; i++)
        if (i == 0 || disk_fixture_compare(&all[i], &all[i - 1]) != 0)
            all[count++] = all[i];
    *ret_count = count;
    return all;
}

/* Starts and checksums, at their places. */
static inline void disk_fixture_blocks(struct disk_fixture *f)
{
    struct index *index = &f->index;
    uint16_t *starts16 = (void *)(uintptr_t)index->starts16;
    uint32_t *starts32 = (void *)(uintptr_t)index->starts32;
    uint64_t offset, size;
    for (uint64_t b = 0; b < index->block_count; b++)
        starts16 != NULL ? (starts16[b] = UINT16_MAX) : (starts32[b] = UINT32_MAX);
    for (size_t i = f->d->count; i-- > 0;) {
        uint64_t at = f->d->records[i].offset, block = at >> index->granule_log2;
        uint64_t in = at - (block << index->granule_log2);
        if (starts16 != NULL)
            starts16[block] = (uint16_t)in;
        else
            starts32[block] = (uint32_t)in;
    }
    for (uint64_t b = 0; b < index->block_count; b++)
        if (index_block_range(index, b, &offset, &size))
            ((uint32_t *)(uintptr_t)index->block_checksums)[b] =
                index_block_checksum(f->d->data.data + offset, size);
    for (uint64_t at = 0; at < f->d->data.size; at += CHECKSUM_BLOCK_BYTES) {
        uint64_t left = f->d->data.size - at;
        ((uint64_t *)(uintptr_t)index->checksums)[at >> CHECKSUM_BLOCK_BYTES_LOG2] = hash_checksum(
            f->d->data.data + at, left < CHECKSUM_BLOCK_BYTES ? left : CHECKSUM_BLOCK_BYTES, 0);
    }
}

static inline void disk_fixture_function(struct disk_fixture *f)
{
    struct index *index = &f->index;
    size_t count, pairs_count = 0, group_count;
    struct index_exception *all = disk_fixture_entries(f, &count);
    struct ribbon_pair *pairs = malloc((count + 1) * sizeof *pairs);
    struct index_exception *exceptions = malloc((count + 1) * sizeof *exceptions);
    const unsigned char *groups;
    unsigned seed;
    for (size_t i = 0, end; i < count; i = end) {
        for (end = i + 1; end < count && all[end].hash == all[i].hash; end++)
            ;
        if (end - i == 1)
            pairs[pairs_count++] = (struct ribbon_pair){
                all[i].hash,
                index_value(index, all[i].hash, all[i].location << index->granule_log2)};
        else
            for (size_t k = i; k < end; k++)
                exceptions[index->exception_count++] = all[k];
    }
    struct ribbon_workspace *w = ribbon_workspace_new();
    index->ribbon.bits = index_location_bits(index) + index->fingerprint_bits;
    index->ribbon.shard_count = 1;
    if (ribbon_shard_build(w, pairs, pairs_count, index->ribbon.bits, &groups, &group_count,
                           &seed) != TARN_OK)
        fail_msg("the function cannot be solved");
    index->ribbon.groups_bytes = group_count * index->ribbon.bits;
    assert_true(index_attach(index, NULL));
    assert_int_equal(index_body_map(index, NULL), TARN_OK);
    uint64_t *shards = (void *)(uintptr_t)index->ribbon.shards;
    shards[0] = seed;
    shards[1] = (uint64_t)group_count << 8;
    memcpy((void *)(uintptr_t)index->ribbon.groups, groups, index->ribbon.groups_bytes);
    memcpy((void *)(uintptr_t)index->exceptions, exceptions,
           index->exception_count * sizeof *exceptions);
    assert_true(ribbon_check(&index->ribbon));
    ribbon_workspace_free(w);
    free(exceptions);
    free(pairs);
    free(all);
}

static inline void disk_fixture_page_checksum(unsigned char *page)
{
    store_u64le(page, hash_checksum(page + 8, INDEX_PAGE_BYTES - 8, 0));
}

/* page_entries: of a page at most; 0: as many as there is room for. */
static inline void disk_fixture_pages(struct disk_fixture *f, unsigned page_entries)
{
    struct index *index = &f->index;
    size_t count;
    struct index_exception *all = disk_fixture_entries(f, &count);
    index->ribbon.bits = index_location_bits(index);
    unsigned entry_bytes = index_entry_bytes(index);
    if (page_entries == 0)
        page_entries = index_page_entries(index);
    index->page_count = (count + page_entries - 1) / page_entries;
    assert_true(index_attach(index, NULL));
    assert_int_equal(index_body_map(index, NULL), TARN_OK);
    buffer_reserve(&f->pages, INDEX_PAGES_AT + index->page_count * INDEX_PAGE_BYTES);
    f->pages.size = INDEX_PAGES_AT + index->page_count * INDEX_PAGE_BYTES;
    memset(f->pages.data, 0, f->pages.size);
    for (size_t i = 0; i < count; i++) {
        unsigned char *page = f->pages.data + INDEX_PAGES_AT + i / page_entries * INDEX_PAGE_BYTES;
        unsigned char *entry = page + INDEX_PAGE_HEADER_BYTES + i % page_entries * entry_bytes;
        store_u64le(page + 8, i % page_entries + 1);
        store_u64le(entry, all[i].hash);
        memcpy(entry + 8, &all[i].location, entry_bytes - 8);
        if (i % page_entries == 0)
            ((uint64_t *)(uintptr_t)index->top)[i / page_entries] = all[i].hash;
    }
    for (uint64_t p = 0; p < index->page_count; p++)
        disk_fixture_page_checksum(f->pages.data + INDEX_PAGES_AT + p * INDEX_PAGE_BYTES);
    free(all);
}

/* d: settled by the policy; outlives the fixture. */
static inline void disk_fixture_init(struct disk_fixture *f, const struct dataset *d,
                                     const struct disk_shape *shape, unsigned page_entries)
{
    *f = (struct disk_fixture){.d = d};
    memory_os_init(&f->memory);
    f->data = malloc(d->data.size + 1);
    if (d->data.size > 0)
        memcpy(f->data, d->data.data, d->data.size);
    f->index = (struct index){
        .os = &f->memory.os,
        .format = d->format,
        .duplicates_policy = shape->policy,
        .data_bytes = d->data.size,
        .records = d->count,
        .duplicates = d->duplicates,
        .hash_mask = shape->hash_mask ? shape->hash_mask : UINT64_MAX,
        .layout = shape->layout,
        .granule_log2 = shape->granule_log2,
        .fingerprint_bits = shape->layout == INDEX_BLOCKS ? shape->fingerprint_bits : 0,
        .record_bytes_min = 1,
    };
    uint64_t random = 17;
    for (size_t i = 0; i < HASH_SECRET_BYTES; i++)
        f->index.secret[i] = (unsigned char)random_next(&random);
    if (shape->layout == INDEX_BLOCKS)
        disk_fixture_function(f);
    else
        disk_fixture_pages(f, page_entries);
    disk_fixture_blocks(f);
    memory_os_put(&f->memory, "data", (struct tarn_bytes){f->data, d->data.size}, 0);
    memory_os_put(&f->memory, "index", buffer_view(&f->pages), 0);
    f->pack = (struct disk_pack){
        .os = &f->memory.os,
        .layout = shape->layout == INDEX_BLOCKS ? DISK_BLOCKS : DISK_PAGES,
        .fd = 100,
        .index_fd = 101,
        .path = (char *)(uintptr_t) "data",
        .index_path = (char *)(uintptr_t) "index",
        .data_bytes = d->data.size,
        .info = {.size = d->data.size, .inode = 100},
        .index = &f->index,
        .references = 1,
    };
}

static inline void disk_fixture_done(struct disk_fixture *f)
{
    f->memory.os.unmap(&f->memory.os, f->index.body, f->index.body_bytes);
    free(f->data);
    buffer_done(&f->pages);
    disk_buffer_done(&f->buffer);
}

/* As disk_find(), and each read comes in memory that is exactly as large as what was got. *memory:
 * what the views lie in, to be freed. */
static inline int disk_fixture_find(struct disk_fixture *f, struct tarn_bytes key, void **memory,
                                    struct lookup_found *ret_found, struct tarn_error *error)
{
    struct lookup l;
    int status = lookup_begin(&f->pack, key, &l);
    *memory = NULL;
    while (status == LOOKUP_READ) {
        size_t got;
        assert_int_equal(l.offset % DISK_ALIGN_BYTES + l.size % DISK_ALIGN_BYTES, 0);
        assert_in_range(l.size, 1, lookup_read_bytes_max(&f->pack));
        unsigned char *whole = malloc(l.size);
        assert_int_equal(f->memory.os.read_at(&f->memory.os, l.fd, whole, l.size, l.offset, &got),
                         0);
        free(*memory);
        *memory = malloc(got + (got == 0));
        memcpy(*memory, whole, got);
        free(whole);
        f->reads++;
        f->read_bytes += l.size;
        status = lookup_next(&l, *memory, got, ret_found, error);
    }
    return status;
}

/* All of the value; far ones by pieces. */
static inline int disk_fixture_value(struct disk_fixture *f, const struct lookup_found *found,
                                     struct buffer *out, struct tarn_error *error)
{
    assert_int_equal(found->far, found->record.value.size > DISK_FAR_BYTES);
    assert_true(found->far == (found->record.value.data == NULL));
    return disk_value(&f->pack, found, &f->buffer, out, error);
}

#endif
