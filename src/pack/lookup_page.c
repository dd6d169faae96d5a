/* Pages of an index on disk: which block a hash leads to. See lookup.h and index.h.
 *
 * Entries lie in the order of (hash, block), over all pages; a hash that several records have may
 * stand in several pages. Its blocks are tried from the last to the first, with the policy FIRST
 * from the first to the last: l->bound is the block tried last, so that each page can be looked at
 * by itself, as often as is needed, and nothing has to be remembered of it.
 *
 * Invariants: (1) a page is believed if its checksum holds and its first hash is the top's: then no
 * other page can stand in for it. (2) With each page or block that is read, the bound moves on or
 * the page does: it comes to an end. */
#include <inttypes.h>

#include "core/codec.h"
#include "pack/lookup_internal.h"

struct page {
    const unsigned char *entries;
    uint64_t count;
    unsigned entry_bytes;
};

static uint64_t entry_hash(const struct page *p, uint64_t i)
{
    return load_u64le(p->entries + i * p->entry_bytes);
}

static uint64_t entry_block(const struct page *p, uint64_t i)
{
    uint64_t block = 0;
    memcpy(&block, p->entries + i * p->entry_bytes + 8, p->entry_bytes - 8);
    return block;
}

static bool first_counts(const struct lookup *l)
{
    return l->pack->index->duplicates_policy == TARN_DUPLICATES_FIRST;
}

/* How many pages begin with a lower hash (or_equal: or with this one). */
static uint64_t pages_below(const struct index *index, uint64_t hash, bool or_equal)
{
    uint64_t low = 0, high = index->page_count;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (index->top[middle] < hash || (or_equal && index->top[middle] == hash))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int ask_page(struct lookup *l, uint64_t page)
{
    uint64_t at = INDEX_PAGES_AT + page * INDEX_PAGE_BYTES;
    l->page = page;
    lookup_ask(l, READING_PAGE, l->pack->index_fd, at, at + INDEX_PAGE_BYTES);
    return LOOKUP_READ;
}

int lookup_page_begin(struct lookup *l)
{
    const struct index *index = l->pack->index;
    uint64_t before = pages_below(index, l->hash, !first_counts(l));
    if (first_counts(l) && before == 0 && index->page_count > 0 && index->top[0] == l->hash)
        before = 1; /* page 0 begins with it */
    l->bound = first_counts(l) ? 0 : UINT64_MAX;
    return before == 0 ? TARN_NOTFOUND : ask_page(l, before - 1);
}

int lookup_page_again(struct lookup *l)
{
    if (first_counts(l))
        l->bound = l->number + 1;
    else if ((l->bound = l->number) == 0)
        return TARN_NOTFOUND;
    return ask_page(l, l->page);
}

/* NULL, or what is wrong. */
static const char *check_page(const struct lookup *l, const unsigned char *data,
                              struct page *ret_page)
{
    const struct index *index = l->pack->index;
    *ret_page = (struct page){data + INDEX_PAGE_HEADER_BYTES, load_u64le(data + 8),
                              index_entry_bytes(index)};
    if (load_u64le(data) != hash_checksum(data + 8, INDEX_PAGE_BYTES - 8, 0))
        return "a page does not match its checksum";
    if (ret_page->count == 0 || ret_page->count > index_page_entries(index))
        return "a page has an impossible count";
    if (entry_hash(ret_page, 0) != index->top[l->page])
        return "a page is not the one that should be here";
    return NULL;
}

/* How many entries are lower than (hash, bound). */
static uint64_t entries_below(const struct lookup *l, const struct page *p)
{
    uint64_t low = 0, high = p->count;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2, hash = entry_hash(p, middle);
        if (hash < l->hash || (hash == l->hash && entry_block(p, middle) < l->bound))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The last entry of the hash below the bound. */
static int step_down(struct lookup *l, const struct page *p)
{
    uint64_t below = entries_below(l, p);
    for (; below > 0 && entry_hash(p, below - 1) == l->hash && entry_block(p, below - 1) < l->bound;
         below--)
        if (lookup_block_plan(l, entry_block(p, below - 1)) == LOOKUP_READ)
            return LOOKUP_READ;
    if (below > 0 || l->page == 0 || entry_hash(p, 0) != l->hash)
        return TARN_NOTFOUND;
    return ask_page(l, l->page - 1);
}

/* The first entry of the hash at or above the bound. */
static int step_up(struct lookup *l, const struct page *p)
{
    const struct index *index = l->pack->index;
    uint64_t i = entries_below(l, p);
    for (; i < p->count && entry_hash(p, i) == l->hash && entry_block(p, i) >= l->bound; i++)
        if (lookup_block_plan(l, entry_block(p, i)) == LOOKUP_READ)
            return LOOKUP_READ;
    if (i < p->count || l->page + 1 >= index->page_count || index->top[l->page + 1] != l->hash)
        return TARN_NOTFOUND;
    return ask_page(l, l->page + 1);
}

int lookup_page_finish(struct lookup *l, const unsigned char *data, struct tarn_error *error)
{
    struct page page;
    const char *wrong = check_page(l, data, &page);
    if (wrong != NULL)
        return error_set_at(error, TARN_CORRUPT, l->start, UINT64_MAX,
                            "%s: damaged at byte %" PRIu64 ": %s; build the index anew",
                            l->pack->index_path, l->start, wrong);
    return first_counts(l) ? step_up(l, &page) : step_down(l, &page);
}
