/* The pool of pages behind the slab: regions from the system, cut into pages, and free pages.
 *
 * How: a page is taken from the warm ones (memory kept), the cold ones (memory given back), or from
 * the part of the newest region that was never touched; only then a region is mapped. The first is
 * one chunk, so that a small store stays small; each of the others as large as all before it, up to
 * REGION_BYTES_MAX. Addresses cost nothing until they are touched.
 *
 * Invariants
 * 1. A page is in one place: in use by its taker, warm, cold, or not yet cut from its region.
 * 2. The budget counts page_bytes() of each page in use, and CHUNK_HEADER_BYTES of each chunk with
 * a page that ever was. Up to WARM_PAGES_MAX free pages hold memory that is not counted.
 * 3. The lock is not held while memory goes back to the system.
 * Failure modes: no memory for a large region: a small one is tried; for that neither: NULL, and
 * nothing has changed. A page that the system does not take back stays as it is. */
#include "table/slab_pool.h"

#include "core/assert.h"

#define REGION_BYTES_MAX  ((size_t)32 << 20)
#define MEMORY_PAGE_BYTES 4096u
#define WARM_PAGES_MAX    4u /* 256 KiB */
_Static_assert(CHUNK_HEADER_BYTES <= MEMORY_PAGE_BYTES, "what of a chunk is never discarded");

void slab_pool_init(struct slab_pool *pool, const struct os *os, struct budget *budget)
{
    *pool = (struct slab_pool){.os = os, .budget = budget};
    pthread_mutex_init(&pool->lock, NULL);
}

void slab_pool_done(struct slab_pool *pool)
{
    while (pool->regions) {
        struct slab_chunk *region = pool->regions;
        size_t bytes = region->region_bytes;
        pool->regions = region->next_region;
        slab_unpoison(region, bytes); /* the next to map these addresses knows nothing of it */
        pool->os->unmap(pool->os, region, bytes);
    }
    budget_give(pool->budget, pool->header_bytes);
    pthread_mutex_destroy(&pool->lock);
}

/* Map a region to cut pages from; false: the system has no memory. */
static bool grow_locked(struct slab_pool *pool)
{
    const struct os *os = pool->os;
    size_t bytes = pool->mapped_bytes;
    void *address;
    if (bytes > REGION_BYTES_MAX)
        bytes = REGION_BYTES_MAX;
    if (bytes <= CHUNK_BYTES || os->map(os, bytes, &address) != 0) {
        bytes = CHUNK_BYTES;
        if (os->map(os, bytes, &address) != 0)
            return false;
    }
    ASSERT((uintptr_t)address % CHUNK_BYTES == 0);
    struct slab_chunk *region = address;
    region->next_region = pool->regions;
    region->region_bytes = bytes;
    pool->regions = region;
    pool->mapped_bytes += bytes;
    pool->fresh = address;
    pool->fresh_end = pool->fresh + bytes;
    return true;
}

/* A page that never was in use. */
static struct slab_page *cut_locked(struct slab_pool *pool)
{
    if (pool->fresh == pool->fresh_end && !grow_locked(pool))
        return NULL;
    struct slab_page *page = page_of(pool->fresh);
    if (page_index(page) == 0) {
        pool->header_bytes += CHUNK_HEADER_BYTES;
        budget_charge(pool->budget, CHUNK_HEADER_BYTES);
    }
    pool->fresh += SLAB_PAGE_BYTES;
    return page;
}

static struct slab_page *take_locked(struct slab_pool *pool)
{
    struct slab_page *page = pool->warm;
    if (page) {
        pool->warm = page->next;
        pool->warm_count--;
        return page;
    }
    page = pool->cold;
    if (!page)
        return cut_locked(pool);
    pool->cold = page->next;
    return page;
}

struct slab_page *slab_pool_take(struct slab_pool *pool, uint64_t rest)
{
    /* Before any memory is touched; what a page takes less is given back when it is known. */
    if (!budget_take_leaving(pool->budget, SLAB_PAGE_BYTES, rest))
        return NULL;
    pthread_mutex_lock(&pool->lock);
    struct slab_page *page = take_locked(pool);
    pthread_mutex_unlock(&pool->lock);
    budget_give(pool->budget, SLAB_PAGE_BYTES - (page ? page_bytes(page) : 0));
    return page;
}

/* If it fails, the memory is the page's still, and used again with it. */
static void discard(const struct slab_pool *pool, struct slab_page *page)
{
    size_t kept = page_index(page) == 0 ? MEMORY_PAGE_BYTES : 0; /* where the headers are */
    (void)pool->os->discard(pool->os, page_base(page) + kept, SLAB_PAGE_BYTES - kept);
}

/* Keep the page with its memory; false: enough are kept. */
static bool keep_warm(struct slab_pool *pool, struct slab_page *page)
{
    pthread_mutex_lock(&pool->lock);
    bool kept = pool->warm_count < WARM_PAGES_MAX;
    if (kept) {
        page->next = pool->warm;
        pool->warm = page;
        pool->warm_count++;
    }
    pthread_mutex_unlock(&pool->lock);
    return kept;
}

void slab_pool_give(struct slab_pool *pool, struct slab_page *page)
{
    if (!keep_warm(pool, page)) {
        discard(pool, page);
        pthread_mutex_lock(&pool->lock);
        page->next = pool->cold;
        pool->cold = page;
        pthread_mutex_unlock(&pool->lock);
    }
    budget_give(pool->budget, page_bytes(page));
}
