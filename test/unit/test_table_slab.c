/* Goal: slots of the right size that never overlap; pages that return when they run empty, to any
 * class; a budget that is exact at every step and never exceeded; sparse pages that can be emptied;
 * nothing lost when memory, maps or discards fail; all of it from several threads.
 * Method: a model that knows every live slot, what was written to it and in which page it lies, so
 * that pages in use, and from them the budget, are counted independently. Random steps from printed
 * seeds, through the failing os of test/lib.
 *
 * Bugs planted once to see it fail: a class too small; one slot too many in a page, or too few;
 * pages left on lists where they no longer belong; headers not counted, or discarded; budget not
 * given back when a map fails, or at the end; no smaller region tried; regions that do not grow; no
 * discard, or always; the emptiest page filled first; other arenas not asked; freed slots of a
 * window's second arena skipped; links or recent slots lost; free slots visited; evacuated pages
 * served from; the filling page evacuated at once; no look for room elsewhere, or the wrong arena
 * told; not the sparsest chosen; an evacuated page taken away when it runs empty; no lock around
 * freeing. */
#include "lib/test.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/random.h"
#include "lib/fault_malloc.h"
#include "lib/fault_os.h"
#include "table/slab_pool.h"

/* --- the model --- */

enum { LIVE_MAX = 1 << 20, PAGES_MAX = 1 << 16 };

struct live {
    unsigned char *slot;
    uint32_t size, seed;
};

struct page_count {
    uintptr_t page; /* address / SLAB_PAGE_BYTES; 0: none */
    uint32_t live;
};

struct world {
    struct fault_os faults;
    struct budget budget;
    struct slab *slab;
    uint64_t open_bytes; /* of the budget, when nothing is allocated */
    struct live *live;
    size_t live_count;
    struct page_count *pages;
    uint64_t used_bytes, page_bytes, header_bytes;
    uint32_t seeds;
};

static int world_open(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    w->live = malloc(LIVE_MAX * sizeof *w->live);
    w->pages = calloc(PAGES_MAX, sizeof *w->pages);
    assert_true(w->live && w->pages);
    fault_os_init(&w->faults, NULL);
    assert_int_equal(slab_open(&w->faults.os, &w->budget, &w->slab), TARN_OK);
    w->open_bytes = budget_used(&w->budget);
    assert_true(w->open_bytes > 0 && w->open_bytes < 100000);
    *state = w;
    return 0;
}

/* With what is still in it. */
static int world_close(void **state)
{
    struct world *w = *state;
    slab_close(w->slab);
    assert_int_equal(budget_used(&w->budget), 0);
    assert_true(fault_os_clean(&w->faults));
    fault_os_done(&w->faults);
    free(w->live);
    free(w->pages);
    free(w);
    return 0;
}

/* The entry of a page; made when it is first seen. */
static struct page_count *page_entry(struct world *w, const void *slot)
{
    uintptr_t page = (uintptr_t)slot / SLAB_PAGE_BYTES;
    size_t at = random_mix(page) % PAGES_MAX;
    while (w->pages[at].page != page && w->pages[at].page != 0)
        at = (at + 1) % PAGES_MAX;
    w->pages[at].page = page;
    return &w->pages[at];
}

/* Count what a slot's page costs when it comes into use (sign 1) or goes out of it (-1). */
static void count_page(struct world *w, const void *slot, int sign)
{
    unsigned index = (unsigned)((uintptr_t)slot / SLAB_PAGE_BYTES % CHUNK_PAGES);
    uint64_t bytes = SLAB_PAGE_BYTES - (index == 0 ? CHUNK_HEADER_BYTES : 0);
    w->page_bytes += sign > 0 ? bytes : -bytes;
}

static void note_chunk(struct world *w, const void *slot)
{
    /* Outside the addresses of pages: pages are user space. */
    uintptr_t chunk = (uintptr_t)slot / CHUNK_BYTES;
    struct page_count *entry = page_entry(w, (void *)(~chunk * SLAB_PAGE_BYTES));
    if (entry->live == 0)
        w->header_bytes += CHUNK_HEADER_BYTES;
    entry->live = 1;
}

static void pattern(unsigned char *out, uint32_t size, uint32_t seed)
{
    uint64_t state = seed;
    for (uint32_t at = 0; at < size; at += 8) {
        uint64_t word = random_next(&state);
        memcpy(out + at, &word, size - at < 8 ? size - at : 8);
    }
    out[0] &= (unsigned char)~SLAB_FREE;
}

static void write_item(struct live *live)
{
    pattern(live->slot, live->size, live->seed);
}

static void check_item(const struct live *live)
{
    unsigned char expected[SLAB_BYTES_MAX];
    pattern(expected, live->size, live->seed);
    assert_memory_equal(live->slot, expected, live->size);
}

/* Add a slot that was served. */
static struct live *model_add(struct world *w, void *slot, size_t size)
{
    assert_true(w->live_count < LIVE_MAX);
    struct live *live = &w->live[w->live_count++];
    *live = (struct live){slot, (uint32_t)size, w->seeds++};
    w->used_bytes += slab_slot_bytes(size);
    if (page_entry(w, slot)->live++ == 0)
        count_page(w, slot, 1);
    note_chunk(w, slot);
    return live;
}

static void model_remove(struct world *w, size_t at)
{
    struct live *live = &w->live[at];
    w->used_bytes -= slab_slot_bytes(live->size);
    if (--page_entry(w, live->slot)->live == 0)
        count_page(w, live->slot, -1);
    *live = w->live[--w->live_count];
}

static void check_figures(struct world *w)
{
    struct slab_figures figures;
    slab_figures_get(w->slab, SLAB_ANY_ARENA, &figures);
    assert_int_equal(figures.used_bytes, w->used_bytes);
    assert_int_equal(figures.page_bytes, w->page_bytes);
    assert_int_equal(budget_used(&w->budget), w->open_bytes + w->page_bytes + w->header_bytes);
}

/* Allocate, check and fill a slot; false: refused. */
static bool allocate(struct world *w, unsigned arena, size_t size)
{
    unsigned char *slot = slab_alloc(w->slab, arena, size);
    if (!slot)
        return false;
    assert_int_equal((uintptr_t)slot % 8, 0);
    assert_int_equal(slot[0] & SLAB_FREE, 0);
    write_item(model_add(w, slot, size));
    return true;
}

/* Free `count` slots, live[at..], after a look at their contents. */
static void release(struct world *w, size_t at, size_t count)
{
    void *slots[1000];
    assert_true(count <= 1000 && at + count <= w->live_count);
    for (size_t i = 0; i < count; i++) {
        check_item(&w->live[at + i]);
        slots[i] = w->live[at + i].slot;
    }
    slab_free(w->slab, slots, count);
    for (size_t i = count; i-- > 0;)
        model_remove(w, at + i);
}

static void release_all(struct world *w)
{
    while (w->live_count > 0)
        release(w, w->live_count > 1000 ? w->live_count - 1000 : 0,
                w->live_count > 1000 ? 1000 : w->live_count);
}

/* So many pages may be in use, and not one more. Half a page is left for the headers. */
/* Let all arenas but the last one have so many pages. */
static void limit_pages(struct world *w, uint64_t pages)
{
    uint64_t wanted = w->open_bytes + pages * SLAB_PAGE_BYTES + SLAB_PAGE_BYTES / 2, limit = wanted;
    while (limit - slab_rest(limit, 0) < wanted)
        limit += 64;
    atomic_store(&w->budget.limit, limit);
}

static size_t allocate_until_refused(struct world *w, unsigned arena, size_t size)
{
    size_t before = w->live_count;
    while (allocate(w, arena, size))
        continue;
    return w->live_count - before;
}

/* --- classes --- */

/* By counting up, where the code computes. */
static size_t expected_slot_bytes(size_t size)
{
    size_t bytes = 8, step = 8;
    while (bytes < size) {
        if (bytes >= 1024)
            step = bytes < 2048 ? 64 : bytes < 4096 ? 128 : bytes < 8192 ? 256 : 512;
        bytes += step;
    }
    return bytes;
}

static void every_size(void **context)
{
    struct world *w = *context;
    for (size_t size = 1; size <= SLAB_BYTES_MAX; size++) {
        assert_int_equal(slab_slot_bytes(size), expected_slot_bytes(size));
        for (unsigned i = 0; i < 3; i++)
            assert_true(allocate(w, i, size));
    }
    check_figures(w);
    for (size_t i = 0; i < w->live_count; i++)
        check_item(&w->live[i]);
    release_all(w);
    check_figures(w);
    assert_int_equal(w->page_bytes, 0);
}

/* Each page holds as many slots as fit: one fewer is waste, one more would overlap. */
static void pages_are_full(void **context)
{
    struct world *w = *context;
    for (size_t bytes = 8; bytes <= SLAB_BYTES_MAX; bytes = expected_slot_bytes(bytes + 1)) {
        size_t first = (SLAB_PAGE_BYTES - CHUNK_HEADER_BYTES) / bytes;
        limit_pages(w, 3); /* the first page of the chunk, and two whole ones */
        assert_int_equal(allocate_until_refused(w, 0, bytes),
                         first + 2 * (SLAB_PAGE_BYTES / bytes));
        check_figures(w);
        release_all(w);
        check_figures(w);
    }
}

/* Trips on: an ordinary arena that takes what is left for the last one, or a last one that may not
 * take it. */
static void the_last_arena_has_the_rest(void **context)
{
    struct world *w = *context;
    limit_pages(w, 100);
    uint64_t rest = slab_rest(budget_limit(&w->budget), 0);
    assert_true(rest >= 4 * SLAB_PAGE_BYTES);
    assert_int_equal(slab_rest(budget_limit(&w->budget), SLAB_LAST_ARENA), 0);
    allocate_until_refused(w, 0, 1000);
    assert_true(budget_limit(&w->budget) - budget_used(&w->budget) >= rest);
    assert_true(allocate_until_refused(w, SLAB_LAST_ARENA, 4000) > rest / 4000 / 2);
    assert_true(budget_limit(&w->budget) - budget_used(&w->budget) < SLAB_PAGE_BYTES);
    release_all(w);
}

/* --- random steps --- */

static size_t random_size(uint64_t *random)
{
    static const size_t few[] = {1, 8, 24, 90, 100, 104, 900, 1024, 1025, 2049, 8192};
    uint64_t bits = random_next(random);
    if (bits & 1)
        return few[random_below(random_next(random), sizeof few / sizeof few[0])];
    return random_below(random_next(random), (bits & 6) ? 300 : SLAB_BYTES_MAX) + 1;
}

static void random_frees(struct world *w, uint64_t *random)
{
    size_t count =
        random_below(random_next(random), 4) ? 1 : random_below(random_next(random), 200);
    if (count > w->live_count)
        count = w->live_count;
    release(w, random_below(random_next(random), w->live_count - count + 1), count);
}

static void random_steps_of(struct world *w, uint64_t seed, unsigned steps)
{
    uint64_t random = seed;
    unsigned refused = 0;
    for (unsigned i = 0; i < steps; i++) {
        /* waves: it grows to the limit and shrinks to almost nothing */
        bool growing = i % 50000 < 40000;
        uint64_t dice = random_below(random_next(&random), 100);
        if (w->live_count == 0 || dice < (growing ? 98 : 52))
            refused +=
                !allocate(w, (unsigned)(random_next(&random) % SLAB_ARENAS), random_size(&random));
        else
            random_frees(w, &random);
        check_figures(w);
        assert_true(budget_used(&w->budget) <= budget_limit(&w->budget));
    }
    print_message("seed %llu: %zu slots live, refused %u times\n", (unsigned long long)seed,
                  w->live_count, refused);
    assert_true(refused > 0);
    release_all(w);
    check_figures(w);
    assert_int_equal(w->page_bytes, 0);
}

static void random_steps(void **context)
{
    struct world *w = *context;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        limit_pages(w, 500);
        random_steps_of(w, seed, 1000000 / TEST_SLOWER);
    }
}

/* --- memory --- */

static void refusal_and_recovery(void **context)
{
    struct world *w = *context;
    limit_pages(w, 50);
    size_t count = allocate_until_refused(w, 1, 100);
    check_figures(w);
    for (int i = 0; i < 5; i++)
        assert_false(allocate(w, 1, 100));
    check_figures(w); /* a refusal costs nothing */
    assert_false(allocate(w, 1, 8));
    release(w, 7, 1);
    assert_true(allocate(w, 1, 97));
    assert_false(allocate(w, 1, 100));
    release_all(w);
    check_figures(w);
    assert_int_equal(allocate_until_refused(w, 1, 100), count);
}

static void pages_serve_any_class(void **context)
{
    static const size_t sizes[] = {100, 900, 8, 8192, 101};
    struct world *w = *context;
    limit_pages(w, 100);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        allocate_until_refused(w, (unsigned)i, sizes[i]);
        assert_true(w->used_bytes > 98 * SLAB_PAGE_BYTES);
        release_all(w);
        check_figures(w);
    }
}

/* Trips if a thread whose arena has no page is refused while others have free slots. */
static void other_arenas_help_out(void **context)
{
    struct world *w = *context;
    limit_pages(w, 20);
    allocate_until_refused(w, 0, 100);
    release(w, 1000, 500);
    for (int i = 0; i < 500; i++)
        assert_true(allocate(w, (unsigned)i % SLAB_LAST_ARENA, 100));
    assert_false(allocate(w, 5, 100));
    check_figures(w);
}

static void regions_grow(void **context)
{
    struct world *w = *context;
    for (size_t size = 8; size <= 8 * 24; size += 8)
        assert_true(allocate(w, 0, size));
    assert_int_equal(fault_os_calls(&w->faults, FAULT_MAP), 2); /* the slab itself, one region */
    assert_true(w->faults.bytes_mapped < CHUNK_BYTES + 100000);
    while (w->used_bytes < 150 << 20)
        assert_true(allocate(w, 0, 8000));
    assert_int_equal(fault_os_calls(&w->faults, FAULT_MAP), 10); /* 2, 2, 4, 8, 16, 32 ... MiB */
    assert_true(w->faults.bytes_mapped < 200 << 20);
}

/* Trips if memory that runs empty stays, if little of it is given away at once, or if it is touched
 * on its way. */
static void empty_pages_are_discarded(void **context)
{
    struct world *w = *context;
    enum { PAGES = 200, KEPT = 4 };
    for (int i = 0; i < 10; i++) { /* no churn: a few pages that come and go */
        limit_pages(w, KEPT);
        allocate_until_refused(w, 0, 100);
        release_all(w);
    }
    assert_int_equal(fault_os_calls(&w->faults, FAULT_DISCARD), 0);
    limit_pages(w, PAGES);
    allocate_until_refused(w, 0, 100);
    assert_int_equal(w->page_bytes + w->header_bytes, PAGES * SLAB_PAGE_BYTES);
    release_all(w);
    assert_int_equal(fault_os_calls(&w->faults, FAULT_DISCARD), PAGES - KEPT);
    size_t maps = fault_os_calls(&w->faults, FAULT_MAP);
    allocate_until_refused(w, 3, 900); /* the same pages again */
    assert_int_equal(fault_os_calls(&w->faults, FAULT_MAP), maps);
    for (size_t i = 0; i < w->live_count; i++)
        check_item(&w->live[i]);
}

/* How many slots are in use in the page of this one. */
static uint32_t live_beside(struct world *w, const void *slot)
{
    return page_entry(w, slot)->live;
}

/* Leave so many slots of a page in use. */
static void thin_out(struct world *w, const struct slab_page *page, uint32_t left)
{
    for (size_t i = w->live_count; i-- > 0;)
        if (page_of(w->live[i].slot) == page && live_beside(w, w->live[i].slot) > left)
            release(w, i, 1);
}

/* Sparse pages must get time to run empty: pages are filled by how full they are, in quarters. */
static void fuller_pages_first(void **context)
{
    struct world *w = *context;
    static const uint32_t left[] = {5, 60, 20, 40, 50, 30, 35, 10, 55}; /* of 64 */
    enum { PAGES = sizeof left / sizeof left[0] };
    limit_pages(w, PAGES + 1); /* the first of the chunk stays full */
    allocate_until_refused(w, 0, 1024);
    struct slab_page *first = page_of(w->live[0].slot);
    for (int i = 0; i < PAGES; i++)
        thin_out(w, first + i + 1, left[i]);
    check_figures(w);
    uint32_t quarter = 3;
    for (int i = 0; i < PAGES; i++) {
        assert_true(allocate(w, 0, 1024));
        unsigned char *slot = w->live[w->live_count - 1].slot;
        uint32_t now = (live_beside(w, slot) - 1) / 16;
        assert_true(now <= quarter);
        quarter = now;
        while (live_beside(w, slot) < 64) /* and each until it is full */
            assert_true(allocate(w, 0, 1024));
    }
    assert_false(allocate(w, 0, 1024));
}

#if defined(__SANITIZE_ADDRESS__)
static void free_slots_are_poisoned(void **context)
{
    struct world *w = *context;
    unsigned char *slots[40];
    for (int i = 0; i < 40; i++) {
        slots[i] = slab_alloc(w->slab, 0, 13);
        assert_false(__asan_address_is_poisoned(slots[i]));
        assert_false(__asan_address_is_poisoned(slots[i] + 12));
        assert_true(__asan_address_is_poisoned(slots[i] + 13));
    }
    assert_true(__asan_address_is_poisoned(slots[39] + 16));
    slab_free(w->slab, (void **)slots, 40);
    for (int i = 0; i < 40; i++)
        assert_non_null(__asan_region_is_poisoned(slots[i], 16));
}
#else
static void free_slots_are_poisoned(void **context)
{
    (void)context;
    skip();
}
#endif

/* --- failing --- */

static void failing_open(void **context)
{
    struct world *w = *context;
    struct slab *none = (struct slab *)w;
    fault_os_fail(&w->faults, FAULT_MAP, 2, ENOMEM, false);
    assert_int_equal(slab_open(&w->faults.os, &w->budget, &none), TARN_NOMEM);
    assert_ptr_equal(none, w);
    assert_int_equal(budget_used(&w->budget), w->open_bytes);
}

/* Regions are 2, 2, 4, 8 and 16 MiB. Fail each, once or for good: for a large one a small one will
 * do, else it is a refusal that costs nothing and is over when there is memory again. */
static void failing_maps(void **context)
{
    for (int stays = 0; stays < 2; stays++) {
        for (uint64_t nth = 1; nth <= 5; nth++) {
            struct world *w = *context;
            fault_os_reset(&w->faults);
            fault_os_fail(&w->faults, FAULT_MAP, nth, ENOMEM, stays);
            unsigned refused = 0;
            while (w->live_count < 3000) { /* 24 MB */
                bool served = allocate(w, 0, 8000);
                check_figures(w);
                if (served)
                    continue;
                refused++;
                assert_true(fault_os_fired(&w->faults));
                fault_os_reset(&w->faults);
            }
            assert_int_equal(refused, stays || nth <= 2 ? 1 : 0);
            world_close(context);
            world_open(context);
        }
    }
}

static void failing_first_map(void **context)
{
    struct world *w = *context;
    fault_os_reset(&w->faults);
    fault_os_fail(&w->faults, FAULT_MAP, 1, ENOMEM, true);
    assert_false(allocate(w, 0, 1));
    check_figures(w);
    fault_os_reset(&w->faults);
    assert_true(allocate(w, 0, 1));
}

static void failing_discards(void **context)
{
    struct world *w = *context;
    fault_os_fail(&w->faults, FAULT_DISCARD, 1, EINVAL, true);
    limit_pages(w, 100);
    for (int round = 0; round < 3; round++) {
        size_t count = allocate_until_refused(w, 0, 300);
        assert_true(count > 100 * (SLAB_PAGE_BYTES / 304) - 40);
        release_all(w);
        check_figures(w);
    }
    assert_true(fault_os_fired(&w->faults));
}

static void no_malloc(void **context)
{
    struct world *w = *context;
    struct slab *slab;
    struct budget budget = {0};
    fault_malloc_arm(1, true);
    assert_int_equal(slab_open(&w->faults.os, &budget, &slab), TARN_OK);
    for (int i = 0; i < 1000; i++) {
        void *slot = slab_alloc(slab, 0, 3000);
        assert_non_null(slot);
        if (i % 2)
            slab_free(slab, &slot, 1);
    }
    slab_close(slab);
    assert_int_equal(fault_malloc_calls(), 0);
    fault_malloc_disarm();
    slab_close(NULL);
}

/* --- evacuation --- */

struct visits {
    struct world *w;
    struct slab_page *page;
    unsigned arena;
    bool move;
    uint32_t count, refused;
    void *moved[SLAB_PAGE_BYTES / 8];
    uint32_t moved_count;
};

static struct live *find_live(struct world *w, const void *slot)
{
    for (size_t i = 0; i < w->live_count; i++)
        if (w->live[i].slot == slot)
            return &w->live[i];
    fail_msg("a slot is visited that is not in use");
    return NULL;
}

static void visit(void *context, void *slot)
{
    struct visits *v = context;
    struct live *live = find_live(v->w, slot);
    assert_ptr_equal(page_of(slot), v->page);
    check_item(live);
    v->count++;
    if (!v->move)
        return;
    unsigned char *to = slab_alloc(v->w->slab, v->arena, live->size);
    if (!to) {
        v->refused++;
        return;
    }
    assert_ptr_not_equal(page_of(to), v->page);
    memcpy(to, slot, live->size);
    v->moved[v->moved_count++] = slot;
    /* the model's item lies there now */
    if (--page_entry(v->w, slot)->live == 0)
        count_page(v->w, slot, -1);
    if (page_entry(v->w, to)->live++ == 0)
        count_page(v->w, to, 1);
    live->slot = to;
}

/* Empty the page; returns the slots that were in use in it. */
static uint32_t evacuate(struct world *w, struct slab_page *page)
{
    struct visits *v = calloc(1, sizeof *v);
    *v = (struct visits){.w = w, .page = page, .move = true, .arena = slab_page_target(page)};
    uint32_t live = live_beside(w, page_base(page) + SLAB_PAGE_BYTES - 1), count;
    slab_page_visit(w->slab, page, visit, v);
    assert_int_equal(v->count, live);
    assert_int_equal(v->refused, 0);
    slab_free(w->slab, v->moved, v->moved_count);
    slab_evacuate_end(w->slab, page);
    check_figures(w);
    count = v->count;
    free(v);
    return count;
}

static void release_random(struct world *w, uint64_t seed, size_t left)
{
    while (w->live_count > left)
        release(w, random_below(random_next(&seed), w->live_count), 1);
}

static void sparse_pages_are_emptied(void **context)
{
    struct world *w = *context;
    static const size_t sizes[] = {100, 24, 1500, 8192};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        limit_pages(w, 60);
        allocate_until_refused(w, 3, sizes[i]);
        release_random(w, i, w->live_count / 5);
        struct slab_page *page;
        while ((page = slab_evacuate(w->slab, SLAB_ANY_ARENA, 50)) != NULL) {
            uint64_t before = w->page_bytes;
            uint32_t used = live_beside(w, page_base(page) + SLAB_PAGE_BYTES - 1);
            assert_true(used * slab_slot_bytes(sizes[i]) <= SLAB_PAGE_BYTES / 2);
            assert_int_equal(slab_page_target(page), 3);
            evacuate(w, page);
            assert_true(w->page_bytes < before); /* each is a gain, so it ends */
        }
        assert_true(w->page_bytes < w->used_bytes * 2);
        for (size_t at = 0; at < w->live_count; at++)
            check_item(&w->live[at]);
        release_all(w);
        check_figures(w);
    }
}

/* A few items of one size in every arena end up in one page. */
static void arenas_are_merged(void **context)
{
    struct world *w = *context;
    for (unsigned arena = 0; arena < SLAB_ARENAS; arena++)
        assert_true(allocate(w, arena, 5000) && allocate(w, arena, 64));
    assert_int_equal(w->page_bytes + w->header_bytes, 2 * SLAB_ARENAS * SLAB_PAGE_BYTES);
    /* all have just served */
    assert_null(slab_evacuate(w->slab, SLAB_ANY_ARENA, 50));
    unsigned emptied = 0;
    for (struct slab_page *page; (page = slab_evacuate(w->slab, SLAB_ANY_ARENA, 50)) != NULL;
         emptied++)
        assert_true(evacuate(w, page) > 0);
    assert_int_equal(emptied, 2 * SLAB_ARENAS - 2);
    release_all(w);
    check_figures(w);
    assert_int_equal(w->page_bytes, 0);
}

static void only_what_is_sparse_and_fits(void **context)
{
    struct world *w = *context;
    limit_pages(w, 10);
    allocate_until_refused(w, 0, 1024);
    release(w, 64, 15); /* of 64 in the second page: 77 % in use */
    assert_null(slab_evacuate(w->slab, SLAB_ANY_ARENA, 50));
    assert_null(
        slab_evacuate(w->slab, SLAB_ANY_ARENA, 100)); /* sparse enough, but there is no room */
    release(w, w->live_count - 49, 49);               /* 23 % of the last page */
    assert_null(slab_evacuate(w->slab, SLAB_ANY_ARENA, 23));
    struct slab_page *page = slab_evacuate(w->slab, SLAB_ANY_ARENA, 24);
    assert_non_null(page);
    assert_int_equal(live_beside(w, page_base(page) + SLAB_PAGE_BYTES - 1), 15);
    /* in service again, as it was not emptied: all free slots are there to be had */
    slab_evacuate_end(w->slab, page);
    for (int i = 0; i < 64; i++)
        assert_true(allocate(w, 0, 1024));
    assert_false(allocate(w, 0, 1024));
}

static void the_sparsest_first(void **context)
{
    struct world *w = *context;
    static const uint32_t left[] = {14, 40, 9, 5, 15, 30, 12}; /* of 64 */
    enum { PAGES = sizeof left / sizeof left[0] };
    limit_pages(w, PAGES + 1);
    allocate_until_refused(w, 0, 1024);
    struct slab_page *first = page_of(w->live[0].slot);
    for (int i = 0; i < PAGES; i++)
        thin_out(w, first + i + 1, left[i]);
    static const uint32_t order[] = {5, 9, 12};
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
        struct slab_page *page = slab_evacuate(w->slab, SLAB_ANY_ARENA, 50);
        assert_non_null(page);
        assert_int_equal(evacuate(w, page), order[i]);
    }
}

/* What was allocated before, and freed unused, may empty the page under its evacuator. */
static void evacuated_page_runs_empty(void **context)
{
    struct world *w = *context;
    limit_pages(w, 3);
    allocate_until_refused(w, 0, 1024);
    thin_out(w, page_of(w->live[0].slot), 30);
    thin_out(w, page_of(w->live[100].slot), 5);
    struct slab_page *page = slab_evacuate(w->slab, SLAB_ANY_ARENA, 10);
    assert_non_null(page);
    uint64_t before = budget_used(&w->budget);
    for (size_t i = w->live_count; i-- > 0;)
        if (page_of(w->live[i].slot) == page) {
            void *slot = w->live[i].slot;
            slab_free(w->slab, &slot, 1);
            w->live[i] = w->live[--w->live_count];
            w->used_bytes -= 1024;
        }
    assert_int_equal(budget_used(&w->budget), before); /* still the evacuator's */
    struct visits v = {.w = w, .page = page};
    slab_page_visit(w->slab, page, visit, &v);
    assert_int_equal(v.count, 0);
    slab_evacuate_end(w->slab, page);
    assert_int_equal(budget_used(&w->budget), before - SLAB_PAGE_BYTES);
}

/* Trips if a page whose moved items are not yet freed is lost, or served wrongly. */
static void ended_before_all_is_freed(void **context)
{
    struct world *w = *context;
    limit_pages(w, 5);
    allocate_until_refused(w, 0, 512);
    release_random(w, 11, w->live_count / 4);
    struct slab_page *page = slab_evacuate(w->slab, SLAB_ANY_ARENA, 50);
    assert_non_null(page);
    struct visits *v = calloc(1, sizeof *v);
    *v = (struct visits){.w = w, .page = page, .move = true, .arena = slab_page_target(page)};
    slab_page_visit(w->slab, page, visit, v);
    slab_evacuate_end(w->slab, page);
    assert_true(v->moved_count > 0);
    uint64_t before = budget_used(&w->budget);
    slab_free(w->slab, v->moved, v->moved_count);
    assert_true(budget_used(&w->budget) < before);
    check_figures(w);
    free(v);
}

/* --- threads --- */

enum { THREADS = 4, CELLS = 512, THREAD_STEPS = 400000 / TEST_SLOWER, BATCH = 32 };

struct shared {
    struct world *w;
    _Atomic(unsigned char *) cells[CELLS]; /* what lies here belongs to who takes it out */
    atomic_uint next, running;
};

/* Size in bytes 1 and 2, then a byte that says the rest. */
static unsigned char *thread_item(struct shared *s, unsigned arena, uint64_t *random)
{
    size_t size = random_below(random_next(random), 600) + 4;
    unsigned char *slot = slab_alloc(s->w->slab, arena, size);
    if (!slot)
        return NULL;
    if (slot[0] != 0)
        abort();
    memset(slot + 3, slot[3] = (unsigned char)random_next(random), size - 3);
    slot[1] = (unsigned char)size;
    slot[2] = (unsigned char)(size >> 8);
    return slot;
}

static void check_thread_item(const unsigned char *slot)
{
    size_t size = slot[1] | (size_t)slot[2] << 8;
    for (size_t i = 3; i < size; i++)
        if (slot[i] != slot[3])
            abort();
}

static void *exchange_items(void *argument)
{
    struct shared *s = argument;
    unsigned number = atomic_fetch_add(&s->next, 1);
    uint64_t random = number;
    void *batch[BATCH];
    size_t count = 0;
    for (int i = 0; i < THREAD_STEPS; i++) {
        unsigned char *slot = thread_item(s, number % 3, &random); /* two threads in one arena */
        size_t cell = random_below(random_next(&random), CELLS);
        unsigned char *old = atomic_exchange(&s->cells[cell], slot);
        if (!old)
            continue;
        check_thread_item(old);
        batch[count++] = old;
        if (count == BATCH || random_below(random_next(&random), 10) == 0) {
            slab_free(s->w->slab, batch, count);
            count = 0;
        }
    }
    slab_free(s->w->slab, batch, count);
    atomic_fetch_sub(&s->running, 1);
    return NULL;
}

static void several_threads(void **context)
{
    struct world *w = *context;
    struct shared *s = calloc(1, sizeof *s);
    pthread_t threads[THREADS];
    s->w = w;
    limit_pages(w, 120); /* tight: refusals happen */
    atomic_store(&s->running, THREADS);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, exchange_items, s), 0);
    for (unsigned i = 0; atomic_load(&s->running) > 0; i++) {
        struct slab_figures figures;
        struct slab_page *page = slab_evacuate(w->slab, SLAB_ANY_ARENA, i % 101);
        slab_figures_get(w->slab, SLAB_ANY_ARENA, &figures);
        assert_true(figures.used_bytes <= figures.page_bytes);
        if (page)
            slab_evacuate_end(w->slab, page);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < CELLS; i++) {
        void *slot = atomic_load(&s->cells[i]);
        if (slot)
            slab_free(w->slab, &slot, 1);
    }
    struct slab_figures figures;
    slab_figures_get(w->slab, SLAB_ANY_ARENA, &figures);
    assert_int_equal(figures.used_bytes, 0);
    assert_int_equal(figures.page_bytes, 0);
    assert_int_equal((budget_used(&w->budget) - w->open_bytes) % CHUNK_HEADER_BYTES, 0);
    assert_true(budget_used(&w->budget) - w->open_bytes <= 5 * CHUNK_HEADER_BYTES);
    free(s);
}

#define world_test(name) cmocka_unit_test_setup_teardown(name, world_open, world_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        world_test(every_size),
        world_test(pages_are_full),
        world_test(random_steps),
        world_test(refusal_and_recovery),
        world_test(pages_serve_any_class),
        world_test(other_arenas_help_out),
        world_test(the_last_arena_has_the_rest),
        world_test(regions_grow),
        world_test(empty_pages_are_discarded),
        world_test(fuller_pages_first),
        world_test(free_slots_are_poisoned),
        world_test(failing_open),
        world_test(failing_maps),
        world_test(failing_first_map),
        world_test(failing_discards),
        world_test(no_malloc),
        world_test(sparse_pages_are_emptied),
        world_test(arenas_are_merged),
        world_test(only_what_is_sparse_and_fits),
        world_test(the_sparsest_first),
        world_test(evacuated_page_runs_empty),
        world_test(ended_before_all_is_freed),
        world_test(several_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
