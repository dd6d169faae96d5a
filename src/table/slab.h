/* Memory for items: slots of equal size in pages, so that an item costs no more than its bytes
 * rounded up, and pages that run empty can serve any size again or go back to the system.
 *
 * Sizes up to SLAB_BYTES_MAX in classes: steps of 8 bytes up to 1 KiB, then 16 classes a doubling.
 * A page is SLAB_PAGE_BYTES, aligned to its size, and belongs to one class and one arena; an arena
 * has a lock and is meant for few threads. Page memory counts against the budget while the page is
 * in use by a class; a page without a slot in use returns at once to a pool that all classes share,
 * and its memory to the system (but for a little that is kept for the next).
 *
 * Threads: all functions from any. */
#ifndef TABLE_SLAB_H
#define TABLE_SLAB_H

#include "core/budget.h"
#include "os/os.h"

#define SLAB_BYTES_MAX  16384u
#define SLAB_PAGE_BYTES (64u << 10)
#define SLAB_ARENAS     8u /* a power of two */
#define SLAB_ANY_ARENA  UINT32_MAX
#define SLAB_LAST_ARENA (SLAB_ARENAS - 1) /* may use the whole budget, the others leave some */
/* Set in the first byte of a slot that was freed; must be clear in that of a slot in use. */
#define SLAB_FREE 0x80u

struct slab;
struct slab_page;

/* os, budget: borrowed, outlive the slab. Errors: NOMEM. */
TARN_MUST int slab_open(const struct os *os, struct budget *budget, struct slab **ret_slab);
void slab_close(struct slab *slab); /* with everything in it; NULL is allowed */

/* A slot of size bytes (1..SLAB_BYTES_MAX; no more may be used), 8-byte aligned, content undefined
 * but for a cleared first byte. arena: 0..SLAB_ARENAS - 1, the caller's favourite; another one's
 * slot is given when memory is short. NULL: no free slot of its class anywhere, and no page within
 * the budget or from the system. */
void *slab_alloc(struct slab *slab, unsigned arena, size_t size);

/* Free `count` slots, of any class and arena: many at once are cheaper. */
void slab_free(struct slab *slab, void *const *slots, size_t count);

/* What of a budget's limit slots of an arena, and large items, leave to the last arena: of that are
 * small things without which nothing goes on. 1/64, at least four pages, at most 1/16. */
uint64_t slab_rest(uint64_t limit, unsigned arena);

/* The bytes that a slot for `size` takes. */
size_t slab_slot_bytes(size_t size);

struct slab_figures {
    uint64_t used_bytes; /* slots in use, as rounded up */
    uint64_t page_bytes; /* pages that belong to a class */
};
/* arena: one, or SLAB_ANY_ARENA: all together. */
void slab_figures_get(struct slab *slab, unsigned arena, struct slab_figures *ret_figures);

/* --- emptying sparse pages, by one thread at a time ---
 *
 * slab_evacuate(), a grace period, slab_page_visit() with moving of items, freeing of what was
 * moved when nobody can see it any more, slab_evacuate_end(). The grace period is for slots that
 * were allocated before and may still be being written, or freed unused, by their threads. */

/* Choose a page of the arena (or SLAB_ANY_ARENA) of which at most `percent_max` is in use, one of
 * the sparsest of its class, and serve no slots from it until slab_evacuate_end(). Only a page
 * whose items fit in free slots elsewhere is chosen, and the one being filled only if it has served
 * nothing since this function last came by. Goes round over all classes; NULL: there is none now.
 */
struct slab_page *slab_evacuate(struct slab *slab, unsigned arena, unsigned percent_max);
/* The arena that has those free slots: for slab_alloc(). */
unsigned slab_page_target(const struct slab_page *page);
/* Visit the slots in use of an evacuated page, of which none may be freed meanwhile. No lock is
 * held during visits. An item there may have been taken out of the table already. */
void slab_page_visit(struct slab *slab, struct slab_page *page,
                     void (*visit)(void *context, void *slot), void *context);
/* Needed once for each evacuated page: when it is empty it goes to the pool, else slots are served
 * from it again (also when something moved is not yet freed). The page is the slab's again. */
void slab_evacuate_end(struct slab *slab, struct slab_page *page);

#endif
