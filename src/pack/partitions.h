/* (hash, offset) pairs, dropped by many threads into 256 partitions by the hash's top byte.
 *
 * Each thread has a struct of its own, so dropping takes no lock; a partition is then gathered
 * from all of them by the one thread that solves it. */
#ifndef PACK_PARTITIONS_H
#define PACK_PARTITIONS_H

#include "pack/ribbon.h"

#define PARTITIONS          256
#define PARTITION_RUN_PAIRS 255 /* with its header a run is 4 KiB */

struct partition_run {
    struct partition_run *next;
    size_t count;
    struct ribbon_pair pairs[PARTITION_RUN_PAIRS];
};

struct partitions {
    struct partition_run *runs[PARTITIONS]; /* newest first; only the newest may be partly full */
    uint64_t counts[PARTITIONS];
};

TARN_MUST int partitions_grow(struct partitions *p, unsigned partition); /* NOMEM */

/* False if out of memory. */
static inline bool partitions_drop(struct partitions *p, uint64_t hash, uint64_t value)
{
    unsigned partition = (unsigned)(hash >> 56);
    struct partition_run *run = p->runs[partition];
    if (run == NULL || run->count == PARTITION_RUN_PAIRS) {
        if (partitions_grow(p, partition) != TARN_OK)
            return false;
        run = p->runs[partition];
    }
    run->pairs[run->count++] = (struct ribbon_pair){hash, value};
    p->counts[partition]++;
    return true;
}

/* Append a partition's pairs to out and free them. Returns how many. */
size_t partitions_take(struct partitions *p, unsigned partition, struct ribbon_pair *out);

void partitions_done(struct partitions *p);

#endif
