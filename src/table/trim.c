/* Giving back what malloc keeps of large items.
 *
 * How: large items are malloc's, which keeps nearly all that is freed in between others: after a
 * flush of values of 16 to 256 KiB as much as there was. Rounds note how much there was at most;
 * once there is less by TRIM_STEP malloc is told to give back, while they free, so that nobody who
 * needs malloc meanwhile waits for more than that takes, some 0.1 ms a MiB; and once all is freed,
 * by a part of what there was. Items that take the place of others cost nothing.
 *
 * Failure modes: none; what is not given back stays. */
#include "os/trim.h"
#include "table/reclaim_internal.h"

#define TRIM_STEP      (16u << 20)
#define TRIM_BYTES_MIN (4u << 20) /* less is not worth it */
#define TRIM_PART      8u         /* ... nor is less than this part of what there was */

uint64_t trim_note(struct reclaim *r)
{
    uint64_t bytes = atomic_load_explicit(&r->table->items.large_bytes, memory_order_relaxed);
    if (bytes > r->large_bytes_most)
        r->large_bytes_most = bytes;
    return r->large_bytes_most - bytes;
}

static void trim(struct reclaim *r, uint64_t less)
{
    os_trim_heap();
    r->large_bytes_most -= less;
    r->trims++;
}

void trim_step(struct reclaim *r)
{
    uint64_t less = trim_note(r);
    if (less >= TRIM_STEP)
        trim(r, less);
}

void trim_rest(struct reclaim *r)
{
    uint64_t less = trim_note(r);
    if (less >= TRIM_BYTES_MIN && less >= r->large_bytes_most / TRIM_PART)
        trim(r, less);
}
