/* Building a shard of the static function (see ribbon.h): Gaussian elimination on the fly, then
 * back substitution straight into the stored layout.
 *
 * What. For each pair an equation: coefficient (128 bits from row `start`) . rows = value.
 * How.  Elimination puts each equation into the row of its first set bit, adding rows already
 * there until it finds a free one ("Ribbon filter", section 3). About 25 additions a key at this
 * load, 60-80 ns. Substitution goes from the last row to the first: a row's value is its right
 * side plus the rows after it that its coefficient selects; that sum is a query on the rows solved
 * so far, so the query kernel computes it.
 *
 * Invariants: (1) an equation in row i has bit 0 set and reaches rows i..i+127 only. (2) Empty
 * rows are free variables, set to 0. */
#include <stdlib.h>
#include <string.h>

#include "core/assert.h"
#include "pack/ribbon_internal.h"

#define SEEDS 256

struct row {
    uint64_t low, high; /* coefficient; low == 0 (bit 0 clear): empty */
    uint64_t value;
};

struct ribbon_workspace {
    struct row *rows;
    unsigned char *groups; /* as stored, with what a window at the last row reaches behind */
    uint64_t *hashes;      /* to look for equal ones */
    size_t rows_capacity, groups_capacity, hashes_capacity;
};

struct ribbon_workspace *ribbon_workspace_new(void)
{
    return calloc(1, sizeof(struct ribbon_workspace));
}

void ribbon_workspace_free(struct ribbon_workspace *w)
{
    if (w == NULL)
        return;
    free(w->rows);
    free(w->groups);
    free(w->hashes);
    free(w);
}

static bool grow(void **memory, size_t *capacity, size_t wanted, size_t item_bytes)
{
    if (wanted <= *capacity)
        return true;
    void *bigger = realloc(*memory, wanted * item_bytes);
    if (bigger == NULL)
        return false;
    *memory = bigger;
    *capacity = wanted;
    return true;
}

/* Add one equation. False: it contradicts the others (or repeats a hash). */
static inline bool insert(struct row *rows, uint32_t start, unsigned __int128 coefficient,
                          uint64_t value)
{
    uint64_t low = (uint64_t)coefficient, high = (uint64_t)(coefficient >> 64);
    struct row *row = rows + start;
    while (row->low != 0) {
        low ^= row->low;
        high ^= row->high;
        value ^= row->value;
        unsigned skip;
        if (low != 0) {
            skip = (unsigned)__builtin_ctzll(low);
            low = low >> skip | (high << 1) << (63 - skip);
            high >>= skip;
        } else if (high != 0) {
            skip = (unsigned)__builtin_ctzll(high);
            low = high >> skip;
            high = 0;
            skip += 64;
        } else {
            return value == 0; /* follows from the others */
        }
        row += skip;
    }
    *row = (struct row){low, high, value};
    return true;
}

static bool eliminate(struct row *rows, uint32_t row_count, unsigned seed,
                      const struct ribbon_pair *pairs, size_t count)
{
    memset(rows, 0, row_count * sizeof *rows);
    for (size_t i = 0; i < count; i++) {
        unsigned __int128 coefficient;
        uint32_t start = ribbon_derive(pairs[i].hash, seed, row_count, &coefficient);
        if (!insert(rows, start, coefficient, pairs[i].value))
            return false;
    }
    return true;
}

/* Put bit j of value into byte j of the group, at this row's place. */
static inline void store_row(unsigned char *group, unsigned place, uint64_t value)
{
    for (; value != 0; value &= value - 1)
        group[__builtin_ctzll(value)] |= (unsigned char)(1u << place);
}

/* Bytes of the groups while they are solved. The window of a query starts at most 128 rows before
 * the end, that of substitution at the last row: its groups behind the end are multiplied by 0,
 * but read. */
static size_t solving_bytes(uint32_t row_count, unsigned bits)
{
    return ((size_t)row_count / 8 + RIBBON_WINDOW_GROUPS) * bits + RIBBON_PAD_BYTES;
}

static void substitute(const struct row *rows, uint32_t row_count, unsigned bits,
                       unsigned char *groups)
{
    memset(groups, 0, solving_bytes(row_count, bits));
    const struct ribbon view = {.bits = bits};
    for (uint32_t i = row_count; i-- > 0;) {
        if (rows[i].low == 0)
            continue;
        unsigned shift = i & 7;
        struct ribbon_probe probe = {.window = groups + (size_t)(i / 8) * bits};
        uint64_t words[3] = {rows[i].low << shift,
                             rows[i].high << shift | (rows[i].low >> 1) >> (63 - shift),
                             (rows[i].high >> 1) >> (63 - shift)};
        memcpy(probe.coefficient, words, sizeof words);
        uint64_t sum; /* the row itself is still 0, so its own bit adds nothing */
        ribbon_probes_values(&view, &probe, 1, &sum);
        store_row(groups + (size_t)(i / 8) * bits, shift, sum ^ rows[i].value);
    }
}

static int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* Only asked after a seed failed: equal hashes are rare, sorting costs as much as a try. */
static int has_equal_hashes(struct ribbon_workspace *w, const struct ribbon_pair *pairs,
                            size_t count, bool *ret_equal)
{
    if (!grow((void **)&w->hashes, &w->hashes_capacity, count, sizeof *w->hashes))
        return TARN_NOMEM;
    for (size_t i = 0; i < count; i++)
        w->hashes[i] = pairs[i].hash;
    qsort(w->hashes, count, sizeof *w->hashes, compare_u64);
    *ret_equal = false;
    for (size_t i = 1; i < count; i++)
        *ret_equal |= w->hashes[i] == w->hashes[i - 1];
    return TARN_OK;
}

int ribbon_shard_build(struct ribbon_workspace *w, const struct ribbon_pair *pairs, size_t count,
                       unsigned bits, const unsigned char **ret_groups, size_t *ret_group_count,
                       unsigned *ret_seed)
{
    ASSERT(bits >= 1 && bits <= RIBBON_BITS_MAX);
    ASSERT(count < UINT32_MAX / 16);
    /* +0.6 % rows: five of six seeds work at 4096 keys, and space is within 1 % of the payload. */
    uint64_t wanted = count + count / 160;
    bool checked = false;
    for (int enlargement = 0; enlargement < 8; enlargement++, wanted += wanted / 50 + 8) {
        uint32_t row_count =
            (uint32_t)(wanted < RIBBON_WIDTH ? RIBBON_WIDTH : (wanted + 7) & ~7ull);
        if (!grow((void **)&w->rows, &w->rows_capacity, row_count, sizeof *w->rows) ||
            !grow((void **)&w->groups, &w->groups_capacity, solving_bytes(row_count, bits), 1))
            return TARN_NOMEM;
        for (unsigned seed = 0; seed < SEEDS; seed++) {
            if (eliminate(w->rows, row_count, seed, pairs, count)) {
                substitute(w->rows, row_count, bits, w->groups);
                *ret_groups = w->groups;
                *ret_group_count = row_count / 8;
                *ret_seed = seed;
                return TARN_OK;
            }
            if (!checked) {
                bool equal;
                int status = has_equal_hashes(w, pairs, count, &equal);
                if (status != TARN_OK)
                    return status;
                if (equal)
                    return TARN_DUPLICATE;
                checked = true;
            }
        }
    }
    return TARN_TOOBIG;
}
