/* Longest common subsequences, 64 positions at a step.
 *
 * How: of the table L[i][j] (the longest common subsequence of a's first i and b's first j bytes)
 * neighbours in a row differ by 0 or 1, so a row is a vector of bits: here a 0 where it steps up.
 * The next row follows from it by an addition (M. Crochemore et al., "A fast and practical
 * bit-vector algorithm for the longest common subsequence problem", 2001; H. Hyyrö's form, 2004):
 * V' = (V + (V & M)) | (V & ~M), M having a 1 wherever b has a's next byte.
 *
 * The subsequence is found backwards from L[a.size][b.size]. Where the bytes are equal, both belong
 * to it; else the walk goes to the larger of the neighbours L[i-1][j] and L[i][j-1], to the latter
 * if they are equal. That is a matter of one bit: if the row does not step up at j, L[i][j-1] is as
 * large as L[i][j]; if it does, only L[i-1][j] can be.
 *
 * Invariants: bits of a vector beyond b's end are 1 in V and 0 in M. Failure modes: none. */
#include "core/lcs.h"

#include "core/codec.h"

/* How many bytes may have a mask; mask 0 is that of bytes that are not in both. */
static size_t masks_max(struct tarn_bytes a, struct tarn_bytes b)
{
    size_t least = a.size < b.size ? a.size : b.size;
    return least < 256 ? least : 256;
}

size_t lcs_bytes(struct tarn_bytes a, struct tarn_bytes b, bool matches)
{
    size_t words = (b.size + 63) / 64;
    size_t vectors = words * sizeof(uint64_t) * (2 + masks_max(a, b));
    return sizeof(uint64_t) + vectors + (matches ? a.size * ((b.size + 7) / 8) : 0);
}

/* Give a mask to each byte that is in a and in b, and note where it stands in b. */
static void fill_masks(struct lcs *lcs)
{
    const unsigned char *a = lcs->a.data, *b = lcs->b.data;
    bool in_b[256] = {false};
    uint16_t used = 0;
    for (size_t j = 0; j < lcs->b.size; j++)
        in_b[b[j]] = true;
    for (size_t i = 0; i < lcs->a.size; i++)
        if (in_b[a[i]] && lcs->mask_of[a[i]] == 0)
            lcs->mask_of[a[i]] = ++used;
    memset(lcs->masks, 0, (used + 1u) * lcs->words * sizeof *lcs->masks);
    for (size_t j = 0; j < lcs->b.size; j++) {
        size_t mask = lcs->mask_of[b[j]];
        if (mask != 0)
            lcs->masks[mask * lcs->words + j / 64] |= 1ull << j % 64;
    }
}

static const uint64_t *mask_at(const struct lcs *lcs, size_t i)
{
    return lcs->masks + lcs->mask_of[((const unsigned char *)lcs->a.data)[i]] * lcs->words;
}

/* From one row to the next. */
static void step(uint64_t *columns, const uint64_t *mask, size_t words)
{
    uint64_t carry = 0;
    for (size_t w = 0; w < words; w++) {
        uint64_t v = columns[w], common = v & mask[w], sum;
        uint64_t over = __builtin_add_overflow(v, common, &sum);
        over |= __builtin_add_overflow(sum, carry, &sum);
        columns[w] = sum | (v & ~mask[w]);
        carry = over;
    }
}

/* Positions where the last row steps up. */
static size_t count_steps(const struct lcs *lcs)
{
    size_t count = 0;
    for (size_t w = 0; w < lcs->words; w++)
        count += (size_t)__builtin_popcountll(~lcs->columns[w]);
    return count;
}

void lcs_solve(struct lcs *lcs, struct tarn_bytes a, struct tarn_bytes b, void *memory,
               bool matches)
{
    *lcs = (struct lcs){.a = a, .b = b};
    if (a.size == 0 || b.size == 0)
        return;
    lcs->words = (b.size + 63) / 64;
    lcs->row_bytes = (b.size + 7) / 8;
    lcs->columns = memory;
    lcs->masks = lcs->columns + lcs->words;
    lcs->rows = matches ? (unsigned char *)(lcs->masks + lcs->words * (1 + masks_max(a, b))) : NULL;
    lcs->a_left = a.size;
    lcs->b_left = b.size;
    fill_masks(lcs);
    memset(lcs->columns, 0xff, lcs->words * sizeof *lcs->columns);
    for (size_t i = 0; i < a.size; i++) {
        const uint64_t *mask = mask_at(lcs, i);
        if (mask != lcs->masks)
            step(lcs->columns, mask, lcs->words);
        if (matches)
            memcpy(lcs->rows + i * lcs->row_bytes, lcs->columns, lcs->row_bytes);
    }
    lcs->length = count_steps(lcs);
}

/* From L[a_left][b_left] on to the left: one more than the position in b where first the bytes are
 * equal or the row steps up; 0: nowhere. */
static size_t next_turn(const struct lcs *lcs)
{
    const unsigned char *row = lcs->rows + (lcs->a_left - 1) * lcs->row_bytes;
    const unsigned char *mask = (const unsigned char *)mask_at(lcs, lcs->a_left - 1);
    unsigned wanted = lcs->b_left % 8 != 0 ? (1u << lcs->b_left % 8) - 1 : 0xff;
    for (size_t k = (lcs->b_left + 7) / 8; k-- > 0; wanted = 0xff) {
        unsigned turns = (mask[k] | ~(unsigned)row[k]) & wanted;
        if (turns != 0)
            return 8 * k + 32 - (size_t)__builtin_clz(turns);
    }
    return 0;
}

bool lcs_next(struct lcs *lcs, struct lcs_match *ret_match)
{
    const unsigned char *a = lcs->a.data, *b = lcs->b.data;
    size_t size = 0;
    while (lcs->a_left > 0 && size == 0) {
        lcs->b_left = next_turn(lcs);
        if (lcs->b_left == 0)
            break;
        while (size < lcs->a_left && size < lcs->b_left &&
               a[lcs->a_left - size - 1] == b[lcs->b_left - size - 1])
            size++;
        lcs->a_left -= size > 0 ? size : 1;
        lcs->b_left -= size;
    }
    if (size == 0)
        return false;
    *ret_match = (struct lcs_match){lcs->a_left, lcs->b_left, size};
    return true;
}
