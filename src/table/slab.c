/* The slab: arenas with their classes, and emptying of sparse pages.
 *
 * How: each class of an arena fills one page: first the slots freed in it, then those never used,
 * in order. The last freed slots stand in the page's header, those freed before are linked through
 * themselves; so a page with few holes, the usual case when items are replaced, is filled without
 * waiting for the memory of the holes. A full page is on no list; when a slot of it is
 * freed it comes to one of LEVELS lists by how full it is, and sinks as it empties. A class that
 * has filled its page goes on with one of the fullest list, so that sparse pages get time to run
 * empty; with none, it takes one from the pool (slab_pool.c). All of this is O(1) and, but for
 * changes of lists, touches three lines: the arena's, the page's header, the slot.
 *
 * Freeing works on windows of slots: the headers and slots of all are fetched at once, then each
 * arena among them is locked once.
 *
 * Invariants (under the arena's lock)
 * 1. A page that runs empty goes to the pool within the same call, but for an evacuated one: that
 *    stays its evacuator's until slab_evacuate_end().
 * 2. used + recent_count + slots linked as free + slots never used == capacity.
 * 3. A page with free slots is its class's filling one, or on the list of its level, or evacuated.
 * 4. used_min tells when a page must move: capacity while full, the least of its level while
 *    listed, 1 while being filled, 0 when evacuated. So freeing needs one comparison.
 * 5. The first byte of a slot that was freed has SLAB_FREE; that of one in use has not.
 * Lock order: never two locks at once.
 * Failure modes: without budget or memory for another page, free slots of other arenas are taken;
 * only then NULL. A slot freed twice, and an item that sets SLAB_FREE, are caught. */
#include "table/slab.h"

#include <string.h>

#include "core/assert.h"
#include "core/lock.h"
#include "table/slab_pool.h"

#define FINE_MAX      1024u /* up to here classes in steps of SLOT_UNIT ... */
#define FINE_CLASSES  (FINE_MAX / SLOT_UNIT)
#define FINE_BITS     10u /* log2 of FINE_MAX */
#define COARSE_BITS   4u  /* ... then 2^4 a doubling */
#define COARSE_STEPS  (1u << COARSE_BITS)
#define DOUBLINGS     4u
#define CLASSES       (FINE_CLASSES + DOUBLINGS * COARSE_STEPS)
#define LEVELS        4u
#define REST_MIN      (4 * SLAB_PAGE_BYTES)
#define FREE_WINDOW   64u
#define LIST_LOOK_MAX 64u /* pages looked at in a list by slab_evacuate() */

_Static_assert(FINE_MAX << DOUBLINGS == SLAB_BYTES_MAX, "the classes end at the largest size");
_Static_assert(SLAB_PAGE_BYTES / SLOT_UNIT < FREE_NONE, "a slot's number fits");

enum page_state { PAGE_FILLING, PAGE_FULL, PAGE_LISTED, PAGE_EVACUATED };

struct class_pages {
    struct slab_page *filling; /* not full; may be NULL */
    struct slab_page *levels[LEVELS];
};

struct arena {
    struct lock lock; /* guards the rest, and its pages */
    uint64_t used_bytes, page_bytes;
    struct class_pages classes[CLASSES];
} __attribute__((aligned(CACHE_LINE_BYTES)));

struct slab {
    struct slab_pool pool;
    unsigned hand; /* arena and class where slab_evacuate() goes on; its caller's alone */
    struct arena arenas[SLAB_ARENAS];
};

/* --- classes --- */

static unsigned class_of(size_t size)
{
    if (size <= FINE_MAX)
        return (unsigned)(size - 1) / SLOT_UNIT;
    unsigned last = (unsigned)size - 1;
    unsigned doubling = 31 - (unsigned)__builtin_clz(last) - FINE_BITS;
    unsigned step = last >> (doubling + FINE_BITS - COARSE_BITS) & (COARSE_STEPS - 1);
    return FINE_CLASSES + doubling * COARSE_STEPS + step;
}

static unsigned class_bytes(unsigned class)
{
    if (class < FINE_CLASSES)
        return (class + 1) * SLOT_UNIT;
    unsigned doubling = (class - FINE_CLASSES) / COARSE_STEPS;
    unsigned step = (class - FINE_CLASSES) % COARSE_STEPS;
    return (COARSE_STEPS + step + 1) << (doubling + FINE_BITS - COARSE_BITS);
}

size_t slab_slot_bytes(size_t size)
{
    ASSERT(size - 1 < SLAB_BYTES_MAX);
    return class_bytes(class_of(size));
}

/* --- slots --- */

/* Readers of items look at first bytes, and set bits in them, without a lock: atomic. */
static void slot_mark(unsigned char *slot, unsigned char mark)
{
    __atomic_store_n(slot, mark, __ATOMIC_RELAXED);
}

/* Free slots are poisoned, and yet their mark may be read. */
__attribute__((no_sanitize_address)) static bool slot_is_free(const unsigned char *slot)
{
    return (__atomic_load_n(slot, __ATOMIC_RELAXED) & SLAB_FREE) != 0;
}

static unsigned char *slot_at(unsigned char *base, uint16_t number)
{
    return base + (size_t)number * SLOT_UNIT;
}

/* The link of a free slot stands behind its mark. */
static uint16_t slot_next(const unsigned char *slot)
{
    uint16_t next;
    memcpy(&next, slot + 2, sizeof next);
    return next;
}

static void slot_set_next(unsigned char *slot, uint16_t next)
{
    memcpy(slot + 2, &next, sizeof next);
}

/* --- pages in their arena --- */

static struct class_pages *class_of_page_locked(struct arena *a, const struct slab_page *page)
{
    return &a->classes[page->class];
}

static void page_set_state(struct slab_page *page, enum page_state state, unsigned used_min)
{
    page->state = (uint8_t)state;
    page->used_min = (uint16_t)used_min;
}

/* The fewest slots in use of a page at this level. */
static unsigned level_used_min(const struct slab_page *page, unsigned level)
{
    return level == 0 ? 1 : (page->capacity * level + LEVELS - 1) / LEVELS;
}

static void page_list_locked(struct arena *a, struct slab_page *page)
{
    unsigned level = LEVELS - 1;
    while (level > 0 && page->used < level_used_min(page, level))
        level--;
    struct slab_page **list = &class_of_page_locked(a, page)->levels[level];
    page->level = (uint8_t)level;
    page->prev = NULL;
    page->next = *list;
    if (page->next)
        page->next->prev = page;
    *list = page;
    page_set_state(page, PAGE_LISTED, level_used_min(page, level));
}

static void page_unlist_locked(struct arena *a, struct slab_page *page)
{
    if (page->next)
        page->next->prev = page->prev;
    if (page->prev)
        page->prev->next = page->next;
    else
        class_of_page_locked(a, page)->levels[page->level] = page->next;
}

static void page_fill_locked(struct arena *a, struct slab_page *page)
{
    class_of_page_locked(a, page)->filling = page;
    page_set_state(page, PAGE_FILLING, 1);
}

/* The page to serve slots of the class from; NULL: none has a free one. */
static struct slab_page *page_to_fill_locked(struct arena *a, unsigned class)
{
    struct class_pages *pages = &a->classes[class];
    if (pages->filling)
        return pages->filling;
    for (unsigned level = LEVELS; level-- > 0;) {
        struct slab_page *page = pages->levels[level];
        if (page) {
            page_unlist_locked(a, page);
            page_fill_locked(a, page);
            return page;
        }
    }
    return NULL;
}

/* Take it from where it stands in its arena. */
static void page_detach_locked(struct arena *a, struct slab_page *page)
{
    if (page->state == PAGE_LISTED)
        page_unlist_locked(a, page);
    else if (page->state == PAGE_FILLING)
        class_of_page_locked(a, page)->filling = NULL;
}

/* The page belongs elsewhere now: on a list, or if it ran empty to the pool, for which it is added
 * to *emptied. */
static void page_move_locked(struct arena *a, struct slab_page *page, struct slab_page **emptied)
{
    page_detach_locked(a, page);
    if (page->used > 0) {
        page_list_locked(a, page);
        return;
    }
    a->page_bytes -= page_bytes(page);
    page->next = *emptied;
    *emptied = page;
}

static void give_pages(struct slab *slab, struct slab_page *emptied)
{
    while (emptied) {
        struct slab_page *page = emptied;
        emptied = page->next;
        slab_pool_give(&slab->pool, page);
    }
}

/* A page fresh from the pool becomes one of this class. No lock: nobody else knows it. */
static void page_init(struct slab_page *page, unsigned arena, unsigned class)
{
    unsigned char *slots = page_slots(page);
    size_t bytes = SLAB_PAGE_BYTES - (size_t)(slots - page_base(page));
    unsigned slot_bytes = class_bytes(class);
    slab_poison(slots, bytes);
    *page = (struct slab_page){
        .unused = slots,
        .free_first = FREE_NONE,
        .capacity = (uint16_t)(bytes / slot_bytes),
        .slot_bytes = (uint16_t)slot_bytes,
        .class = (uint8_t) class,
        .arena = (uint8_t)arena,
    };
}

/* --- allocating --- */

/* A free slot of a page that has one. With AddressSanitizer all of it is open. */
static unsigned char *page_take_slot(struct slab_page *page)
{
    unsigned char *base = page_base(page), *slot;
    if (page->recent_count > 0) {
        slot = slot_at(base, page->recent[--page->recent_count]);
    } else if (page->free_first != FREE_NONE) {
        slot = slot_at(base, page->free_first);
        slab_unpoison(slot, page->slot_bytes);
        page->free_first = slot_next(slot);
        prefetch_line(slot_at(base, page->free_first)); /* the next to be served */
        return slot;
    } else {
        slot = page->unused;
        page->unused = slot + page->slot_bytes;
    }
    slab_unpoison(slot, page->slot_bytes);
    return slot;
}

/* A slot of the class, NULL: there is no free one. */
static unsigned char *slot_take_locked(struct arena *a, unsigned class)
{
    struct slab_page *page = page_to_fill_locked(a, class);
    if (!page)
        return NULL;
    unsigned char *slot = page_take_slot(page);
    slot_mark(slot, 0);
    a->used_bytes += page->slot_bytes;
    page->served = true;
    if (++page->used == page->capacity) {
        class_of_page_locked(a, page)->filling = NULL;
        page_set_state(page, PAGE_FULL, page->capacity);
    }
    return slot;
}

static unsigned char *arena_alloc(struct arena *a, unsigned class)
{
    lock_take(&a->lock);
    unsigned char *slot = slot_take_locked(a, class);
    lock_give(&a->lock);
    return slot;
}

uint64_t slab_rest(uint64_t limit, unsigned arena)
{
    uint64_t rest = limit / 64 > REST_MIN ? limit / 64 : REST_MIN;
    if (arena == SLAB_LAST_ARENA || limit == 0)
        return 0;
    return rest < limit / 16 ? rest : limit / 16;
}

/* With a page from the pool, or else a slot that is free in any arena. */
static unsigned char *alloc_slow(struct slab *slab, unsigned arena, unsigned class)
{
    struct arena *a = &slab->arenas[arena];
    struct slab_page *page =
        slab_pool_take(&slab->pool, slab_rest(budget_limit(slab->pool.budget), arena));
    if (!page) {
        unsigned char *slot = NULL;
        for (unsigned i = 0; !slot && i < SLAB_ARENAS; i++)
            slot = arena_alloc(&slab->arenas[(arena + i) % SLAB_ARENAS], class);
        return slot;
    }
    page_init(page, arena, class);
    lock_take(&a->lock);
    if (!page_to_fill_locked(a, class)) { /* nobody was quicker */
        a->page_bytes += page_bytes(page);
        page_fill_locked(a, page);
        page = NULL;
    }
    unsigned char *slot = slot_take_locked(a, class);
    lock_give(&a->lock);
    if (page)
        slab_pool_give(&slab->pool, page);
    return slot;
}

void *slab_alloc(struct slab *slab, unsigned arena, size_t size)
{
    ASSERT(size - 1 < SLAB_BYTES_MAX && arena < SLAB_ARENAS);
    unsigned class = class_of(size);
    unsigned char *slot = arena_alloc(&slab->arenas[arena], class);
    if (__builtin_expect(!slot, 0)) {
        slot = alloc_slow(slab, arena, class);
        if (!slot)
            return NULL;
    }
    slab_poison(slot + size, class_bytes(class) - size);
    return slot;
}

/* --- freeing --- */

static void page_give_slot(struct slab_page *page, unsigned char *slot)
{
    uint16_t number = (uint16_t)((size_t)(slot - page_base(page)) / SLOT_UNIT);
    ASSERT(!slot_is_free(slot));
    slab_unpoison(slot, page->slot_bytes);
    slot_mark(slot, SLAB_FREE);
    if (page->recent_count < RECENT_MAX) {
        page->recent[page->recent_count++] = number;
    } else {
        slot_set_next(slot, page->free_first);
        page->free_first = number;
    }
    slab_poison(slot, page->slot_bytes);
}

static void slot_give_locked(struct arena *a, struct slab_page *page, unsigned char *slot,
                             struct slab_page **emptied)
{
    page_give_slot(page, slot);
    a->used_bytes -= page->slot_bytes;
    if (--page->used < page->used_min)
        page_move_locked(a, page, emptied);
}

/* Free those of the slots whose bit is set in `todo` that belong to this arena; returns the rest of
 * the bits. */
static uint64_t free_in_arena(struct slab *slab, unsigned arena, void *const *slots, uint64_t todo,
                              struct slab_page **emptied)
{
    struct arena *a = &slab->arenas[arena];
    uint64_t rest = todo;
    lock_take(&a->lock);
    for (; todo; todo &= todo - 1) {
        void *slot = slots[__builtin_ctzll(todo)];
        struct slab_page *page = page_of(slot);
        if (page->arena == arena) {
            slot_give_locked(a, page, slot, emptied);
            rest &= ~(todo & -todo);
        }
    }
    lock_give(&a->lock);
    return rest;
}

/* 1..FREE_WINDOW slots. */
static void free_window(struct slab *slab, void *const *slots, size_t count)
{
    struct slab_page *emptied = NULL;
    for (size_t i = 0; i < count; i++) {
        prefetch_line(page_of(slots[i]));
        prefetch_line(slots[i]);
    }
    uint64_t todo = UINT64_MAX >> (FREE_WINDOW - count);
    while (todo) {
        unsigned arena = page_of(slots[__builtin_ctzll(todo)])->arena;
        todo = free_in_arena(slab, arena, slots, todo, &emptied);
    }
    give_pages(slab, emptied);
}

void slab_free(struct slab *slab, void *const *slots, size_t count)
{
    while (count > 0) {
        size_t part = count < FREE_WINDOW ? count : FREE_WINDOW;
        free_window(slab, slots, part);
        slots += part;
        count -= part;
    }
}

/* --- emptying sparse pages --- */

/* The sparsest page of a list, as far as it is looked at; NULL: it is empty. */
static struct slab_page *sparsest_of_list_locked(struct slab_page *list)
{
    struct slab_page *sparsest = list;
    for (unsigned i = 0; list && i < LIST_LOOK_MAX; i++, list = list->next)
        if (list->used < sparsest->used)
            sparsest = list;
    return sparsest;
}

/* Whether nothing was served from the page since it was last asked. */
static bool is_idle(struct slab_page *page)
{
    bool served = page->served;
    page->served = false;
    return !served;
}

static bool is_sparse(const struct slab_page *page, unsigned percent_max)
{
    return page && page->used * 100u <= page->capacity * percent_max;
}

/* One of the sparsest pages of the class, the filling one only if it is idle; NULL: there is none
 * with at most percent_max in use. */
static struct slab_page *sparse_page_locked(struct class_pages *pages, unsigned percent_max)
{
    struct slab_page *page = NULL;
    for (unsigned level = 0; !page && level < LEVELS; level++)
        page = sparsest_of_list_locked(pages->levels[level]);
    if (is_sparse(page, percent_max))
        return page;
    page = pages->filling;
    return is_sparse(page, percent_max) && is_idle(page) ? page : NULL;
}

/* Take a sparse page of the class out of service. *ret_used: its slots in use. */
static struct slab_page *evacuate_class(struct arena *a, unsigned class, unsigned percent_max,
                                        unsigned *ret_used)
{
    lock_take(&a->lock);
    struct slab_page *page = sparse_page_locked(&a->classes[class], percent_max);
    if (page) {
        page_detach_locked(a, page);
        page_set_state(page, PAGE_EVACUATED, 0);
        *ret_used = page->used;
    }
    lock_give(&a->lock);
    return page;
}

/* Whether `count` more items fit in pages of the class; sparse pages are counted first, and not all
 * of a long list. */
static bool has_room(struct arena *a, unsigned class, unsigned count)
{
    unsigned room = 0;
    lock_take(&a->lock);
    const struct class_pages *pages = &a->classes[class];
    if (pages->filling)
        room = pages->filling->capacity - pages->filling->used;
    for (unsigned level = 0; level < LEVELS; level++) {
        const struct slab_page *page = pages->levels[level];
        for (unsigned i = 0; page && room < count && i < LIST_LOOK_MAX; i++, page = page->next)
            room += page->capacity - page->used;
    }
    lock_give(&a->lock);
    return room >= count;
}

/* Find an arena where the page's `count` items fit without another page, its own first. */
static bool find_target(struct slab *slab, struct slab_page *page, unsigned count)
{
    for (unsigned i = 0; i < SLAB_ARENAS; i++) {
        unsigned arena = (page->arena + i) % SLAB_ARENAS;
        if (has_room(&slab->arenas[arena], page->class, count)) {
            page->target = (uint8_t)arena;
            return true;
        }
    }
    return false;
}

struct slab_page *slab_evacuate(struct slab *slab, unsigned arena, unsigned percent_max)
{
    for (unsigned looks = 0; looks < SLAB_ARENAS * CLASSES; looks++) {
        unsigned at = slab->hand;
        slab->hand = (at + 1) % (SLAB_ARENAS * CLASSES);
        if (arena != SLAB_ANY_ARENA && arena != at / CLASSES)
            continue;
        struct arena *a = &slab->arenas[at / CLASSES];
        unsigned used;
        struct slab_page *page = evacuate_class(a, at % CLASSES, percent_max, &used);
        if (!page)
            continue;
        if (find_target(slab, page, used))
            return page;
        slab_evacuate_end(slab, page);
    }
    return NULL;
}

unsigned slab_page_target(const struct slab_page *page)
{
    return page->target;
}

void slab_page_visit(struct slab *slab, struct slab_page *page,
                     void (*visit)(void *context, void *slot), void *context)
{
    (void)slab;
    ASSERT(page->state == PAGE_EVACUATED);
    unsigned char *end = page->unused;
    for (unsigned char *slot = page_slots(page); slot < end; slot += page->slot_bytes)
        if (!slot_is_free(slot))
            visit(context, slot);
}

void slab_evacuate_end(struct slab *slab, struct slab_page *page)
{
    struct arena *a = &slab->arenas[page->arena];
    struct slab_page *emptied = NULL;
    lock_take(&a->lock);
    ASSERT(page->state == PAGE_EVACUATED);
    page_move_locked(a, page, &emptied);
    lock_give(&a->lock);
    give_pages(slab, emptied);
}

/* --- all of it --- */

int slab_open(const struct os *os, struct budget *budget, struct slab **ret_slab)
{
    void *address;
    int status = os->map(os, sizeof(struct slab), &address);
    if (status != 0)
        return TARN_NOMEM;
    struct slab *slab = address; /* zeros */
    slab_pool_init(&slab->pool, os, budget);
    budget_charge(budget, sizeof *slab);
    *ret_slab = slab;
    return TARN_OK;
}

void slab_close(struct slab *slab)
{
    if (!slab)
        return;
    const struct os *os = slab->pool.os;
    budget_give(slab->pool.budget, sizeof *slab);
    for (unsigned i = 0; i < SLAB_ARENAS; i++)
        budget_give(slab->pool.budget, slab->arenas[i].page_bytes);
    slab_pool_done(&slab->pool);
    os->unmap(os, slab, sizeof *slab);
}

void slab_figures_get(struct slab *slab, unsigned arena, struct slab_figures *ret_figures)
{
    struct slab_figures sum = {0};
    for (unsigned i = 0; i < SLAB_ARENAS; i++) {
        if (arena != SLAB_ANY_ARENA && arena != i)
            continue;
        struct arena *a = &slab->arenas[i];
        lock_take(&a->lock);
        sum.used_bytes += a->used_bytes;
        sum.page_bytes += a->page_bytes;
        lock_give(&a->lock);
    }
    *ret_figures = sum;
}
