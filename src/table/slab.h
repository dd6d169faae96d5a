/* Memory for items: slots of equal size in pages, so that an item costs no more than its bytes
 * rounded up, and pages that run empty can serve any size again or go back to the system.
 *
 * Sizes up to SLAB_BYTES_MAX in classes: steps of 8 bytes up to 1 KiB, then 16 classes a doubling.
 * A page is SLAB_PAGE_BYTES, aligned to its size, and belongs to one class and one arena; an arena
 * has a lock and is meant for few threads. Page memory counts against the budget while the page is
 * in use by a class; a page without a slot in use returns to a pool that all classes share, and its
 * memory to the system.
 *
 * Threads: all functions from any. */
#ifndef TABLE_SLAB_H
#define TABLE_SLAB_H

#include "core/budget.h"
#include "os/os.h"

#define SLAB_BYTES_MAX  8192u
#define SLAB_PAGE_BYTES (64u << 10)
#define SLAB_ARENAS     8u /* a power of two */
/* The first byte of a slot whose SLAB_FREE bit is set is free; an item's first byte has it clear.
 */
#define SLAB_FREE 0x80u

struct slab;
struct slab_page;

/* budget: borrowed, outlives the slab. Errors: NOMEM. */
TARN_MUST int slab_open(const struct os *os, struct budget *budget, struct slab **ret_slab);
void slab_close(struct slab *slab); /* with everything in it; NULL is allowed */

/* A slot of at least size bytes (1..SLAB_BYTES_MAX), 8-byte aligned, content undefined but for a
 * cleared first byte; NULL: no free slot of its class, and no page within the budget. */
void *slab_alloc(struct slab *slab, unsigned arena, size_t size);

/* Free `count` slots, of any class and arena (those of one page next to each other are cheapest).
 */
void slab_free(struct slab *slab, void *const *slots, size_t count);

/* The bytes that a slot for `size` takes. */
size_t slab_slot_bytes(size_t size);

struct slab_figures {
    uint64_t used_bytes; /* slots in use, as rounded up */
    uint64_t page_bytes; /* pages that belong to a class */
};
void slab_figures_get(struct slab *slab, struct slab_figures *ret_figures);

/* --- emptying sparse pages, by one thread at a time --- */

/* Choose a page of which at most `percent_max` is in use, the sparsest of its class and not the one
 * being filled, and serve no slots from it any more; NULL: there is none. */
struct slab_page *slab_evacuate(struct slab *slab, unsigned percent_max);
/* Visit the slots in use of an evacuated page, of which none may be freed meanwhile. */
void slab_page_visit(struct slab *slab, struct slab_page *page,
                     void (*visit)(void *context, void *slot), void *context);
/* Serve slots from it again: what could not be moved stays. Not needed when it ran empty, which
 * takes the page away. */
void slab_evacuate_end(struct slab *slab, struct slab_page *page);

#endif
