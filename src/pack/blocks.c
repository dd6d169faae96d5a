/* See blocks.h. Invariant: a block's entries are written once, by the one who has its chunk. */
#include "pack/blocks.h"

#include "core/assert.h"

int block_tables_init(struct block_tables *t, const struct index *index)
{
    *t = (struct block_tables){.granule_log2 = index->granule_log2};
    if (index->granule_log2 == 0)
        return TARN_OK;
    struct index sizes = *index;
    struct index_sections s;
    if (!index_lay_out(&sizes, &s))
        return TARN_NOMEM;
    t->count = sizes.block_count;
    size_t bytes = s.block_checksums - s.starts;
    void *starts = malloc(bytes + 1);
    t->checksums = calloc(t->count + 1, sizeof *t->checksums);
    if (index->granule_log2 < 16)
        t->starts16 = starts;
    else
        t->starts32 = starts;
    if (starts == NULL || t->checksums == NULL) {
        block_tables_done(t);
        return TARN_NOMEM;
    }
    memset(starts, 0xff, bytes);
    return TARN_OK;
}

void block_tables_done(struct block_tables *t)
{
    free(t->starts16);
    free(t->starts32);
    free(t->checksums);
    *t = (struct block_tables){0};
}

void block_tables_copy(const struct block_tables *t, const struct index *index, void *body)
{
    struct index sizes = *index;
    struct index_sections s;
    if (t->granule_log2 == 0 || !index_lay_out(&sizes, &s))
        return;
    const void *starts = t->starts16 != NULL ? (const void *)t->starts16 : t->starts32;
    memcpy((char *)body + s.starts, starts, s.block_checksums - s.starts);
    memcpy((char *)body + s.block_checksums, t->checksums, t->count * sizeof *t->checksums);
}

void block_walk_end(struct block_walk *w, uint64_t at)
{
    if (w->block != UINT64_MAX)
        w->tables->checksums[w->block] = index_block_checksum(w->data + w->start, at - w->start);
}

void block_walk_next(struct block_walk *w, uint64_t block, uint64_t at)
{
    struct block_tables *t = w->tables;
    ASSERT(block < t->count);
    block_walk_end(w, at);
    uint64_t start = (w->offset + at) & ((1ull << t->granule_log2) - 1);
    if (t->starts16 != NULL)
        t->starts16[block] = (uint16_t)start;
    else
        t->starts32[block] = (uint32_t)start;
    w->block = block;
    w->start = at;
}
