/* Compaction: pages from free slots, small arrays from large ones.
 *
 * How: where many slots are free in pages in use, the sparsest pages are emptied. A page that was
 * chosen serves no more slots; after a grace period every item in it is published, or was taken out
 * again. Each item is hashed and looked for in its shard: by its address, so that one that has been
 * replaced or deleted meanwhile is left alone. It is copied into another page, the copy published
 * in its slot, the old one retired. When that is free the page is empty, and any size can have it.
 * Small arrays lie in such pages too; one that is still its shard's is copied as it is.
 *
 * An array is rebuilt for the items it has when it is more than twice as large as that takes.
 *
 * Pages and arrays are worked on some at a time, with pauses, unless memory is short.
 *
 * Invariants
 * 1. A moved item is the same to everybody: no watch, count or version changes.
 * 2. A page is on one of the lists from slab_evacuate() to slab_evacuate_end().
 * Failure modes: no memory for a copy or to retire into: the item stays, or where memory is short
 * and the policy allows it is evicted. */
#include "table/compact.h"

#include "core/qsbr.h"
#include "table/reclaim_internal.h"

#define MOVES 32u /* items approached at a time */
/* Waits of somebody in vain, until what cannot be moved is evicted. */
#define EVICT_WAITS 4u
/* Of what is free, such a part may be needed to empty pages: the rest is for writers meanwhile. */
#define FREE_PART 4u
/* Worth while, if memory is not short: this much is free, of pages in use. */
#define FREE_BYTES_MIN   (4u << 20)
#define FREE_PERCENT_MIN 25u
#define PAGE_PERCENT_MAX 75u /* then pages are emptied of which at most so much is in use, */
#define CALM_PAGES       4u  /* so many a round */
/* Pages of arrays are emptied earlier: there are few, and what is free in them serves no items. */
#define ARRAYS_FREE_MIN     (4 * SLAB_PAGE_BYTES)
#define ARRAYS_FREE_DIVISOR 32u
#define ARRAYS_PERCENT_MAX  90u
#define SHRINK_SHARDS       256u /* looked at in a round */
/* Arrays are too large as a whole beyond so much an item and a shard. One whose array is rebuilt
 * takes 11.3 bytes an item and 258 at most: so if they are, there is one that qualifies. */
#define SHRINK_ITEM_BYTES  24u
#define SHRINK_SHARD_BYTES 800u

/* --- moving --- */

struct mover {
    struct reclaim *r;
    unsigned arena; /* for the copies */
    unsigned count;
    struct item *items[MOVES];
    struct place places[MOVES];
};

/* The slot of exactly this item; false: it is not in the table any more. */
static bool find_item_locked(struct array *array, uint32_t place_index, const struct item *item,
                             struct position *ret_position)
{
    uint32_t b = place_bucket(array, place_index);
    for (uint32_t n = 0; n < array->buckets_count; n++) {
        const struct bucket *bucket = &array->buckets[b];
        for (unsigned i = 0; i < BUCKET_SLOTS; i++) {
            uint64_t slot = atomic_load_explicit(&bucket->slots[i], memory_order_relaxed);
            if (slot_item(slot) == item) {
                *ret_position = (struct position){array, b, i};
                return true;
            }
        }
        if (tags_displaced(atomic_load_explicit(&bucket->tags, memory_order_relaxed)) == 0)
            return false;
        if (++b == array->buckets_count)
            b = 0;
    }
    return false;
}

static struct item *copy_item(struct mover *m, const struct item *item)
{
    struct item *copy = item_new_like(&m->r->table->items, m->arena, item);
    if (copy != NULL && (item_flags(item) & ITEM_VISITED))
        item_visit(copy);
    return copy;
}

static void move_locked(struct mover *m, uint32_t shard, struct position p, struct item *item)
{
    struct table_session *s = m->r->session;
    struct item *copy = copy_item(m, item);
    if (copy == NULL) {
        if (m->r->round_waits >= EVICT_WAITS)
            evict_one_locked(s, shard, p);
        return;
    }
    _Atomic uint64_t *slot = &p.array->buckets[p.bucket].slots[p.slot];
    uint64_t word = atomic_load_explicit(slot, memory_order_relaxed);
    atomic_store_explicit(slot, (word & ~SLOT_ADDRESS_MASK) | (uintptr_t)copy,
                          memory_order_release);
    reclaim_add(s, RETIRED_ITEM, item, item_bytes(item));
}

/* Fetch what moving will touch. */
static void approach(struct mover *m)
{
    struct table *t = m->r->table;
    for (unsigned i = 0; i < m->count; i++) {
        m->places[i] = table_place(t, item_parts(m->items[i]).key);
        prefetch_line(&t->shards[m->places[i].shard]);
    }
    for (unsigned i = 0; i < m->count; i++)
        prefetch_line(shard_array(&t->shards[m->places[i].shard]));
    for (unsigned i = 0; i < m->count; i++) {
        const struct array *array = shard_array(&t->shards[m->places[i].shard]);
        prefetch_line(&array->buckets[place_bucket(array, m->places[i].index)]);
    }
}

static void move_all(struct mover *m)
{
    struct table_session *s = m->r->session;
    struct position p;
    approach(m);
    if (!reclaim_reserve(s, m->count))
        m->count = 0;
    for (unsigned i = 0; i < m->count; i++) {
        uint32_t shard = m->places[i].shard;
        shard_lock(s, shard);
        if (find_item_locked(shard_array_locked(&s->table->shards[shard]), m->places[i].index,
                             m->items[i], &p))
            move_locked(m, shard, p, m->items[i]);
        shard_unlock(s, shard);
    }
    m->count = 0;
}

/* Put a shard's array elsewhere, unless it is its array no more. */
static void move_array(struct mover *m, const struct array *array)
{
    struct table_session *s = m->r->session;
    uint32_t shard = array->shard;
    if (!reclaim_reserve(s, 1))
        return;
    shard_lock(s, shard);
    if (shard_array_locked(&s->table->shards[shard]) == array) {
        struct array *copy = array_copy(s->table, array);
        if (copy != NULL) {
            shard_change_begin_locked(s, shard);
            shard_set_array_locked(s, shard, copy, RETIRED_ARRAY);
            shard_change_end_locked(s, shard);
        }
    }
    shard_unlock(s, shard);
}

static void meet(void *context, void *slot)
{
    struct mover *m = context;
    if (item_is_array(slot)) {
        move_array(m, slot);
        return;
    }
    m->items[m->count++] = slot;
    if (m->count == MOVES)
        move_all(m);
}

static void note_advance(struct compact *c)
{
    atomic_store_explicit(&c->advances, c->chosen_count > 0 || c->moved_count > 0 || c->shrinks,
                          memory_order_relaxed);
}

void compact_move(struct reclaim *r)
{
    struct compact *c = &r->compact;
    if (c->chosen_count == 0 || c->moved_count > 0)
        return;
    qsbr_wait();
    for (unsigned i = 0; i < c->chosen_count; i++) {
        struct mover m = {.r = r, .arena = slab_page_target(c->chosen[i])};
        slab_page_visit(r->table->slab, c->chosen[i], meet, &m);
        move_all(&m);
        c->moved[i] = c->chosen[i];
    }
    c->moved_count = c->chosen_count;
    c->chosen_count = 0;
}

void compact_freed(struct reclaim *r)
{
    struct compact *c = &r->compact;
    while (c->moved_count > 0)
        slab_evacuate_end(r->table->slab, c->moved[--c->moved_count]);
    note_advance(c);
}

/* --- choosing --- */

/* Pages to be made for the reserve and for whoever is short, of what is free in pages. */
static uint64_t pages_short(const struct reclaim *r, uint64_t free_bytes)
{
    uint64_t limit = evict_limit(r->table), used = budget_used(&r->table->budget);
    uint64_t wanted = evict_reserve(limit) / 4 + r->round_short_bytes;
    if (limit == 0 || used + wanted <= limit || free_bytes < SLAB_PAGE_BYTES)
        return 0;
    uint64_t pages = (used + wanted - limit + SLAB_PAGE_BYTES - 1) / SLAB_PAGE_BYTES;
    uint64_t most = free_bytes / FREE_PART / SLAB_PAGE_BYTES + 1;
    return pages < most ? pages : most;
}

static void choose_pages(struct reclaim *r, unsigned arena, uint64_t count, unsigned percent_max)
{
    struct compact *c = &r->compact;
    while (c->chosen_count < COMPACT_PAGES && c->chosen_count < count) {
        struct slab_page *page = slab_evacuate(r->table->slab, arena, percent_max);
        if (page == NULL)
            break;
        c->chosen[c->chosen_count++] = page;
    }
}

/* --- arrays --- */

/* Do small arrays leave much of their pages free? They do while a table grows: the shards change
 * from one size to the next one after the other, and the last one keeps a page. */
static bool arrays_are_sparse(const struct table *t)
{
    struct slab_figures slab;
    slab_figures_get(t->slab, ARRAY_ARENA, &slab);
    uint64_t free_bytes = slab.page_bytes - slab.used_bytes;
    return free_bytes > ARRAYS_FREE_MIN && free_bytes > slab.page_bytes / ARRAYS_FREE_DIVISOR;
}

static bool arrays_too_large(const struct table *t)
{
    int64_t items = 0;
    for (unsigned i = 0; i < STRIPES; i++)
        items += atomic_load_explicit(&t->stripes[i].items, memory_order_relaxed);
    return atomic_load_explicit(&t->array_bytes, memory_order_relaxed) >
           (items > 0 ? (uint64_t)items : 0) * SHRINK_ITEM_BYTES +
               TABLE_SHARDS * SHRINK_SHARD_BYTES;
}

/* Items to make room for, so that some more can come; 0: the array is small enough. */
static uint32_t shrunk_items(const struct array *array)
{
    uint32_t items = array->items_count + array->items_count / 8 + 1;
    uint64_t bytes =
        sizeof *array + (uint64_t)array_buckets_for(items) * array_bucket_bytes(array->due != NULL);
    return array->bytes > 2 * bytes + 256 ? items : 0;
}

/* False: no memory. */
static bool shrink_shard(struct reclaim *r, uint32_t shard)
{
    struct table_session *s = r->session;
    bool done = true;
    if (!reclaim_reserve(s, 1))
        return false;
    shard_lock(s, shard);
    struct array *array = shard_array_locked(&r->table->shards[shard]);
    uint32_t items = shrunk_items(array);
    if (items > 0) {
        struct array *smaller = array_rebuild(r->table, array, items);
        done = smaller != NULL;
        if (done) {
            shard_change_begin_locked(s, shard);
            shard_set_array_locked(s, shard, smaller, RETIRED_ARRAY);
            shard_change_end_locked(s, shard);
        }
    }
    shard_unlock(s, shard);
    return done;
}

static void shrink_some(struct reclaim *r)
{
    struct compact *c = &r->compact;
    c->shrinks = arrays_too_large(r->table);
    for (unsigned n = 0; c->shrinks && n < SHRINK_SHARDS; n++) {
        c->shrinks = shrink_shard(r, c->shrink_shard);
        c->shrink_shard = (c->shrink_shard + 1) % TABLE_SHARDS;
    }
}

bool compact_choose(struct reclaim *r)
{
    struct compact *c = &r->compact;
    struct slab_figures slab;
    slab_figures_get(r->table->slab, SLAB_ANY_ARENA, &slab);
    uint64_t free_bytes = slab.page_bytes - slab.used_bytes;
    uint64_t wanted = pages_short(r, evict_free_slots(r->table));
    bool is_short = wanted > 0, gains = slab.page_bytes < c->page_bytes || c->page_bytes == 0;
    c->page_bytes = is_short ? slab.page_bytes : 0;
    if (is_short && c->chosen_count == 0)
        choose_pages(r, SLAB_ANY_ARENA, wanted, 100);
    else if (c->chosen_count == 0 && free_bytes > FREE_BYTES_MIN && !compact_is_vain(c) &&
             free_bytes > slab.page_bytes / 100 * FREE_PERCENT_MIN)
        choose_pages(r, SLAB_ANY_ARENA, CALM_PAGES, PAGE_PERCENT_MAX);
    else if (c->chosen_count == 0 && arrays_are_sparse(r->table))
        choose_pages(r, ARRAY_ARENA, CALM_PAGES, ARRAYS_PERCENT_MAX);
    shrink_some(r);
    note_advance(c);
    atomic_store_explicit(&c->vain, !compact_advances(c), memory_order_relaxed);
    return is_short && gains && compact_advances(c);
}

void compact_done(struct reclaim *r)
{
    struct compact *c = &r->compact;
    while (c->chosen_count > 0)
        slab_evacuate_end(r->table->slab, c->chosen[--c->chosen_count]);
    compact_freed(r);
}
