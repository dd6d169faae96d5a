/* Filling the tables of blocks (index.h): where each granule's first record starts, and a checksum
 * over all records that start in it.
 *
 * Whoever parses a chunk of whole blocks (splitter.h with a granule) tells of its records in order;
 * chunks may be taken by different threads at once, since no two of them share a block. */
#ifndef PACK_BLOCKS_H
#define PACK_BLOCKS_H

#include <stdlib.h>

#include "pack/index.h"

/* The tables, owned. Zeroed: none (no granule). */
struct block_tables {
    unsigned granule_log2;
    uint64_t count;     /* granules */
    uint16_t *starts16; /* as in struct index */
    uint32_t *starts32;
    uint32_t *checksums;
};

/* granule_log2 0: none. NOMEM. */
TARN_MUST int block_tables_init(struct block_tables *t, const struct index *index);
void block_tables_done(struct block_tables *t);
/* Into the body of an index that was attached to it. */
void block_tables_copy(const struct block_tables *t, const struct index *index, void *body);

/* One chunk on its way into the tables. */
struct block_walk {
    struct block_tables *tables;
    const unsigned char *data; /* of the chunk */
    uint64_t offset;           /* of data in the file */
    uint64_t block;            /* being walked through; UINT64_MAX: none yet */
    uint64_t start;            /* where it began, in the chunk */
};

static inline void block_walk_begin(struct block_walk *w, struct block_tables *tables,
                                    const void *data, uint64_t offset)
{
    *w = (struct block_walk){.tables = tables, .data = data, .offset = offset, .block = UINT64_MAX};
}

/* A block ends and another begins at data + at. */
void block_walk_next(struct block_walk *w, uint64_t block, uint64_t at);

/* A record starts at data + at. */
static inline void block_walk_record(struct block_walk *w, uint64_t at)
{
    uint64_t block = (w->offset + at) >> w->tables->granule_log2;
    if (block != w->block)
        block_walk_next(w, block, at);
}

/* The chunk ends at data + at. */
void block_walk_end(struct block_walk *w, uint64_t at);

#endif
