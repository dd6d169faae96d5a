/* Pages of 64 KiB for the slab: where they lie, what is known of each, and the pool that all
 * classes and arenas share. Private to slab.c and slab_pool.c.
 *
 * Memory comes in regions of whole chunks. A chunk is 2 MiB, aligned to that: room for one huge
 * page. It begins with the headers of its 32 pages, so that a slot, its page's header and their
 * translation are found by masking, the headers of neighbours do not compete for the same cache
 * sets (those at the start of each page would), and a free page is linked without being touched.
 * The rest of the chunk's first page holds slots as the others do. */
#ifndef TABLE_SLAB_POOL_H
#define TABLE_SLAB_POOL_H

#include <pthread.h>

#include "core/prefetch.h"
#include "table/slab.h"

#define CHUNK_BYTES        (2u << 20)
#define CHUNK_PAGES        (CHUNK_BYTES / SLAB_PAGE_BYTES)
#define CHUNK_HEADER_BYTES ((CHUNK_PAGES + 1) * CACHE_LINE_BYTES)

/* Slots are numbered by their distance from the page's base in SLOT_UNIT. */
#define SLOT_UNIT  8u /* their sizes are multiples of it */
#define FREE_NONE  UINT16_MAX
#define RECENT_MAX 11u

/* Header of a page. While the page is in use by a class, its arena's lock guards it; but arena,
 * class and slot_bytes do not change then. While it is in the pool, `next` is the pool's. */
struct slab_page {
    struct slab_page *next, *prev; /* of its list */
    unsigned char *unused;         /* the first slot that never was in use */
    uint16_t free_first;     /* the slot freed last, in SLOT_UNIT from the base, or FREE_NONE */
    uint16_t used, capacity; /* slots */
    uint16_t used_min;       /* below this many in use, the page changes its place */
    uint16_t slot_bytes;
    uint8_t class, arena, level;
    uint8_t state;  /* enum page_state */
    bool served;    /* a slot, since slab_evacuate() last looked */
    uint8_t target; /* evacuated: the arena that has room for its items */
    uint8_t recent_count;
    uint16_t recent[RECENT_MAX]; /* slots freed last; found without a look at their memory */
} __attribute__((aligned(CACHE_LINE_BYTES)));
_Static_assert(sizeof(struct slab_page) == CACHE_LINE_BYTES, "one cache line");

struct slab_chunk {
    struct slab_page pages[CHUNK_PAGES];
    struct slab_chunk *next_region; /* of the first chunk of a region */
    size_t region_bytes;
} __attribute__((aligned(CACHE_LINE_BYTES)));
_Static_assert(sizeof(struct slab_chunk) == CHUNK_HEADER_BYTES, "as slots begin behind it");

static inline unsigned page_index(const struct slab_page *page)
{
    return (unsigned)((uintptr_t)page % CHUNK_BYTES / sizeof *page);
}

/* Where its 64 KiB begin. */
static inline unsigned char *page_base(struct slab_page *page)
{
    unsigned char *chunk = (unsigned char *)page - (uintptr_t)page % CHUNK_BYTES;
    return chunk + (size_t)page_index(page) * SLAB_PAGE_BYTES;
}

/* The page that an address lies in. */
static inline struct slab_page *page_of(const void *address)
{
    uintptr_t offset = (uintptr_t)address % CHUNK_BYTES;
    struct slab_chunk *chunk = (struct slab_chunk *)((uintptr_t)address - offset);
    return &chunk->pages[offset / SLAB_PAGE_BYTES];
}

/* Where its slots begin. */
static inline unsigned char *page_slots(struct slab_page *page)
{
    return page_base(page) + (page_index(page) == 0 ? CHUNK_HEADER_BYTES : 0);
}

/* Bytes of its slots, and of the odd end: what is counted while it is in use. */
static inline size_t page_bytes(const struct slab_page *page)
{
    return SLAB_PAGE_BYTES - (page_index(page) == 0 ? CHUNK_HEADER_BYTES : 0);
}

struct slab_pool {
    const struct os *os;
    struct budget *budget;
    pthread_mutex_t lock;   /* guards the rest */
    struct slab_page *warm; /* free pages whose memory was kept */
    unsigned warm_count;
    struct slab_page *cold;            /* free pages without memory */
    unsigned char *fresh, *fresh_end;  /* pages of the newest region that never were in use */
    struct slab_chunk *regions;        /* newest first */
    size_t mapped_bytes, header_bytes; /* of all regions; of headers, charged to the budget */
} __attribute__((aligned(CACHE_LINE_BYTES)));

void slab_pool_init(struct slab_pool *pool, const struct os *os, struct budget *budget);
/* Unmaps all pages, those in use too; their bytes are for the caller to give back. */
void slab_pool_done(struct slab_pool *pool);

/* A page for the caller alone, its page_bytes() taken from the budget, of which `rest` bytes must
 * stay for others; header and contents undefined; NULL: not within the budget, or the system has no
 * memory. Any thread. */
struct slab_page *slab_pool_take(struct slab_pool *pool, uint64_t rest);
/* Give a page back: its bytes to the budget at once, its memory to the system unless few pages are
 * kept. Any thread; may take some microseconds, so better without a lock. */
void slab_pool_give(struct slab_pool *pool, struct slab_page *page);

/* With AddressSanitizer free slots are poisoned; else these do nothing. */
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
static inline void slab_poison(const void *start, size_t bytes)
{
    __asan_poison_memory_region(start, bytes);
}
static inline void slab_unpoison(const void *start, size_t bytes)
{
    __asan_unpoison_memory_region(start, bytes);
}
#else
static inline void slab_poison(const void *start, size_t bytes)
{
    (void)start, (void)bytes;
}
static inline void slab_unpoison(const void *start, size_t bytes)
{
    (void)start, (void)bytes;
}
#endif

#endif
