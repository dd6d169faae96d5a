/* See partitions.h. */
#include "pack/partitions.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static_assert(sizeof(struct partition_run) == 4096, "a run is one page");

int partitions_grow(struct partitions *p, unsigned partition)
{
    struct partition_run *run = malloc(sizeof *run);
    if (run == NULL)
        return TARN_NOMEM;
    run->next = p->runs[partition];
    run->count = 0;
    p->runs[partition] = run;
    return TARN_OK;
}

size_t partitions_take(struct partitions *p, unsigned partition, struct ribbon_pair *out)
{
    size_t count = 0;
    struct partition_run *run = p->runs[partition];
    while (run != NULL) {
        struct partition_run *next = run->next;
        memcpy(out + count, run->pairs, run->count * sizeof *out);
        count += run->count;
        free(run);
        run = next;
    }
    p->runs[partition] = NULL;
    p->counts[partition] = 0;
    return count;
}

void partitions_done(struct partitions *p)
{
    for (unsigned i = 0; i < PARTITIONS; i++) {
        struct partition_run *run = p->runs[i];
        while (run != NULL) {
            struct partition_run *next = run->next;
            free(run);
            run = next;
        }
        p->runs[i] = NULL;
    }
}
