/* Pairs of a unit of an external build: read back, sorted, repeated keys taken out.
 *
 * A pair's value is the record's block above some bits of a second hash of its key. Two records
 * with equal hashes and equal second hashes are taken for the same key: together over 96 bits of
 * two hashes under a secret drawn for this build, so that among 1e9 keys two different ones are
 * taken for one with a chance of 1e-11 (blocks of 64 KiB in 1 TB: 104 bits, 2e-14). Two with equal
 * hashes and different second ones are different keys for certain.
 *
 * Memory: a unit's pairs, within the bound that was set. Where a key is so frequent that they are
 * more than that, its repetitions are taken out while they are read. */
#include <inttypes.h>
#include <stdlib.h>

#include "core/assert.h"
#include "core/number.h"
#include "pack/external_internal.h"

#define BUCKET_PAIRS_MAX 24 /* of more the sort by comparisons is faster than insertion */

static inline bool pair_less(const struct ribbon_pair *a, const struct ribbon_pair *b)
{
    return a->hash != b->hash ? a->hash < b->hash : a->value < b->value;
}

static void sort_few(struct ribbon_pair *pairs, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        struct ribbon_pair pair = pairs[i];
        size_t at = i;
        for (; at > 0 && pair_less(&pair, &pairs[at - 1]); at--)
            pairs[at] = pairs[at - 1];
        pairs[at] = pair;
    }
}

/* Move pairs less than the pivot before it, more behind it; returns how many are less, and where
 * those begin that are more. */
static size_t divide(struct ribbon_pair *pairs, size_t count, size_t *ret_more)
{
    struct ribbon_pair pivot = pairs[count / 2];
    size_t less = 0, at = 0, more = count;
    while (at < more) {
        struct ribbon_pair pair = pairs[at];
        if (pair_less(&pair, &pivot)) {
            pairs[at++] = pairs[less];
            pairs[less++] = pair;
        } else if (pair_less(&pivot, &pair)) {
            pairs[at] = pairs[--more];
            pairs[more] = pair;
        } else {
            at++;
        }
    }
    *ret_more = more;
    return less;
}

static int compare_pairs(const void *a, const void *b)
{
    return pair_less(a, b) ? -1 : pair_less(b, a);
}

/* In place; the larger part is left for the loop, so that the stack stays small. */
static void sort_many(struct ribbon_pair *pairs, size_t count)
{
    for (unsigned depth = 0; count > BUCKET_PAIRS_MAX; depth++) {
        if (depth > 64) { /* an order made to be slow */
            qsort(pairs, count, sizeof *pairs, compare_pairs);
            return;
        }
        size_t more, less = divide(pairs, count, &more);
        if (less > count - more) {
            sort_many(pairs + more, count - more);
            count = less;
        } else {
            sort_many(pairs, less);
            pairs += more;
            count -= more;
        }
    }
    sort_few(pairs, count);
}

/* Hashes of a shard are spread evenly: a pair's place is nearly known. */
void pairs_sort(struct ribbon_pair *pairs, struct ribbon_pair *scratch, size_t count,
                uint64_t shards)
{
    uint32_t ends[PAIRS_SORT_MAX + 1];
    if (count > PAIRS_SORT_MAX || scratch == NULL) {
        sort_many(pairs, count);
        return;
    }
    memset(ends, 0, (count + 1) * sizeof *ends);
#define BUCKET(pair) (size_t)(((unsigned __int128)((pair).hash * shards) * count) >> 64)
    for (size_t i = 0; i < count; i++)
        ends[BUCKET(pairs[i]) + 1]++;
    for (size_t i = 0; i < count; i++)
        ends[i + 1] += ends[i];
    for (size_t i = 0; i < count; i++)
        scratch[ends[BUCKET(pairs[i])]++] = pairs[i];
#undef BUCKET
    for (size_t i = 0, start = 0; i < count; start = ends[i++])
        if (ends[i] - start > 1)
            sort_many(scratch + start, ends[i] - start);
    memcpy(pairs, scratch, count * sizeof *pairs);
}

/* Of a run of equal hashes keep one of each second hash; returns how many. */
static size_t unique_run(const struct external *x, struct ribbon_pair *run, size_t count)
{
    uint64_t mask = (1ull << x->check_bits) - 1;
    bool last = x->options->duplicates == TARN_DUPLICATES_LAST;
    size_t kept = 0;
    /* LAST: from the end to the beginning, collected at the end. */
    for (size_t i = 0; i < count; i++) {
        struct ribbon_pair pair = run[last ? count - 1 - i : i];
        size_t k = 0;
        while (k < kept && ((run[last ? count - 1 - k : k].value ^ pair.value) & mask) != 0)
            k++;
        if (k == kept) {
            run[last ? count - 1 - kept : kept] = pair;
            kept++;
        }
    }
    if (last)
        memmove(run, run + count - kept, kept * sizeof *run);
    return kept;
}

/* The first block that has a key of the run again. */
static void note_repeat(const struct external *x, const struct ribbon_pair *run, size_t count,
                        struct ribbon_pair *repeat)
{
    uint64_t mask = (1ull << x->check_bits) - 1;
    for (size_t i = 1; i < count; i++) {
        if (run[i].value >> x->check_bits >= repeat->value)
            return;
        for (size_t j = 0; j < i; j++) {
            if (((run[i].value ^ run[j].value) & mask) == 0) {
                *repeat = (struct ribbon_pair){run[i].hash, run[i].value >> x->check_bits};
                return;
            }
        }
    }
}

size_t pairs_unique(const struct external *x, struct ribbon_pair *pairs, size_t count,
                    struct ribbon_pair *repeat)
{
    size_t kept = 0;
    for (size_t first = 0, end; first < count; first = end) {
        for (end = first + 1; end < count && pairs[end].hash == pairs[first].hash; end++)
            ;
        size_t size = end - first;
        if (size > 1) {
            note_repeat(x, pairs + first, size, repeat);
            size = unique_run(x, pairs + first, size);
        }
        memmove(pairs + kept, pairs + first, size * sizeof *pairs);
        kept += size;
    }
    return kept;
}

/* --- reading back --- */

struct loading {
    struct external *x;
    struct unit *unit;
    uint64_t low, high; /* hashes of the unit, both inclusive */
    size_t most;        /* pairs that may be in memory */
};

/* Room for more pairs: more memory, as far as that is allowed, or fewer pairs. */
static int make_room(struct loading *l, struct tarn_error *error)
{
    struct unit *u = l->unit;
    size_t capacity = u->capacity * 2 + 4096;
    if (capacity > l->most)
        capacity = l->most;
    if (capacity > u->capacity) {
        struct ribbon_pair *bigger = realloc(u->pairs, capacity * sizeof *bigger);
        if (bigger == NULL)
            return external_no_memory(l->x, error);
        u->pairs = bigger;
        u->capacity = capacity;
        return TARN_OK;
    }
    sort_many(u->pairs, u->count);
    size_t kept = pairs_unique(l->x, u->pairs, u->count, &u->repeat);
    u->duplicates += u->count - kept;
    u->count = kept;
    if (kept < u->capacity - u->capacity / 8)
        return TARN_OK;
    char size[32];
    return error_set(error, TARN_TOOBIG,
                     "%s: the memory is too little for what was found in it: a part of the keys "
                     "takes more than %s; raise --memory",
                     l->x->source.path, number_format_size(u->capacity * sizeof *u->pairs, size));
}

static int take_pairs(void *context, struct tarn_bytes piece, struct tarn_error *error)
{
    struct loading *l = context;
    struct unit *u = l->unit;
    const struct ribbon_pair *pairs = piece.data;
    size_t count = piece.size / sizeof *pairs;
    for (size_t i = 0; i < count; i++) {
        if (pairs[i].hash < l->low || pairs[i].hash > l->high)
            continue;
        if (u->count == u->capacity) {
            int status = make_room(l, error);
            if (status != TARN_OK)
                return status;
        }
        u->pairs[u->count++] = pairs[i];
    }
    return TARN_OK;
}

int unit_load(struct external *x, struct unit *u, uint64_t number, struct tarn_error *error)
{
    unsigned unit_log2 = (unsigned)__builtin_ctzll(x->counts.units);
    unsigned shift = 64 - x->fit.partitions_log2;
    struct loading l = {.x = x, .unit = u, .most = x->fit.unit_bytes / sizeof *u->pairs};
    if (l.most < PAIRS_SORT_MAX)
        l.most = PAIRS_SORT_MAX;
    l.low = unit_log2 > 0 ? number << (64 - unit_log2) : 0;
    l.high = unit_log2 > 0 ? l.low + (UINT64_MAX >> unit_log2) : UINT64_MAX;
    u->number = number;
    u->count = 0;
    u->duplicates = 0;
    u->repeat = (struct ribbon_pair){0, UINT64_MAX};
    return spill_read(&x->spill, (unsigned)(l.low >> shift), (unsigned)(l.high >> shift),
                      &u->buffer, take_pairs, &l, error);
}
