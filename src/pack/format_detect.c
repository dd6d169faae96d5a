/* Guessing a data file's format from its first bytes. The rules, as a user reads them, stand in
 * doc/format-binary.md ("How auto detects").
 *
 * How: the prefix is read as text and as each of the seven binary variants. A reading *fits* when
 * it parses to the end of the prefix, or up to a record that the rest of the file can hold.
 * - Wide sizes are strong evidence: a wrong reading meets random sizes and soon one that is over
 *   a limit. u16 and varint sizes accept nearly anything, so each reading earns a score, twice
 *   the leading zero bits of its key sizes beyond what random bytes have, plus something for a key
 *   as long as the one before. The best average per record wins.
 * - A reading that fails but had a high score blocks weaker ones: a truncated u32 file is an
 *   error, not an odd varint file.
 * - What begins as a `tarn` file does (binary zeros behind a word) is one.
 * - What reads as text is text, unless a binary reading has keys without any blank while blanks
 *   occur elsewhere (in a text file they would fall into such keys too), or control bytes speak
 *   against text and a binary reading ends exactly at the file's end.
 *
 * Deterministic: a function of the prefix and the file's size only. One thread, no state. */
#include "pack/format.h"

#include <stdio.h>

#include "core/codec.h"
#include "pack/checkpoint_layout.h"

enum {
    ZERO_BITS_RANDOM = 3,   /* leading zero bits of a wrong reading's size: 1 to 2, ASCII 2 */
    SCORE_SAME_SIZE = 16,   /* a key size equal to the one before: as good as 8 zero bits */
    SCORE_BLOCKS = 40,      /* one u32 record, or two of u16, blocks */
    RECORDS_BLOCK_TEXT = 2, /* failing binary readings of fewer records do not block text */
    BLANKS_CREDIBLE = 16,   /* this many blanks, none in a key, is no chance (2^-16) */
    LINES_CREDIBLE = 4,     /* this many lines, each with a separator, are meant as lines */
};

/* One reading of the prefix. */
struct reading {
    struct tarn_format format;
    bool fits;
    bool exact;                  /* fits, and the prefix is the whole file */
    bool keys_clean;             /* no byte <= 0x20 in any key */
    enum format_outcome outcome; /* why it ended, if it does not fit */
    uint64_t offset, records;    /* where it ended; whole records before */
    int64_t score;
    int64_t scored; /* records the score is about */
};

static const struct tarn_format candidates[] = {
    /* in order of preference where nothing else decides */
    {.kind = TARN_FORMAT_BINARY, .size_type = TARN_SIZE_U32},
    {.kind = TARN_FORMAT_BINARY, .size_type = TARN_SIZE_U64},
    {.kind = TARN_FORMAT_BINARY, .size_type = TARN_SIZE_U16},
    {.kind = TARN_FORMAT_BINARY, .size_type = TARN_SIZE_U32, .big_endian = true},
    {.kind = TARN_FORMAT_BINARY, .size_type = TARN_SIZE_U64, .big_endian = true},
    {.kind = TARN_FORMAT_BINARY, .size_type = TARN_SIZE_U16, .big_endian = true},
    {.kind = TARN_FORMAT_BINARY, .size_type = TARN_SIZE_VARINT},
};
#define CANDIDATES_COUNT (sizeof candidates / sizeof candidates[0])

/* Bytes of one size field at p and its value; 0 if the bytes end within it, -1 if it is bad. */
static int size_field(const struct tarn_format *format, const unsigned char *p, uint64_t left,
                      uint64_t *ret_size)
{
    static const uint8_t widths[] = {4, 2, 8};
    if (format->size_type == TARN_SIZE_VARINT)
        return load_varint(p, left, ret_size);
    unsigned width = widths[format->size_type];
    if (left < width)
        return 0;
    uint64_t size = 0;
    for (unsigned i = 0; i < width; i++)
        size = size << 8 | p[format->big_endian ? i : width - 1 - i];
    *ret_size = size;
    return (int)width;
}

/* Can the file hold the incomplete record of which `left` bytes are seen? */
static bool tail_fits(const struct tarn_format *format, const unsigned char *p, uint64_t left,
                      uint64_t file_left)
{
    uint64_t key_size, value_size;
    int key_field = size_field(format, p, left, &key_size);
    if (key_field <= 0)
        return left < file_left;
    uint64_t value_at = (uint64_t)key_field + key_size; /* key_size is within its limit */
    if (value_at >= left)
        return value_at < file_left;
    int value_field = size_field(format, p + value_at, left - value_at, &value_size);
    if (value_field <= 0)
        return left < file_left;
    return value_at + (uint64_t)value_field + value_size <= file_left;
}

/* Account for the key size of the record at p, if it is there. */
static void score_record(struct reading *reading, const unsigned char *p, uint64_t left,
                         uint64_t *key_size_before)
{
    uint64_t key_size;
    if (size_field(&reading->format, p, left, &key_size) <= 0)
        return;
    reading->scored++;
    if (key_size == 0 || key_size > TARN_KEY_BYTES_MAX)
        return;
    if (reading->format.size_type != TARN_SIZE_VARINT) {
        static const uint8_t bits[] = {32, 16, 64};
        int zeros = __builtin_clzll(key_size) - (64 - bits[reading->format.size_type]);
        reading->score += 2 * (zeros - ZERO_BITS_RANDOM);
    }
    if (key_size == *key_size_before)
        reading->score += SCORE_SAME_SIZE;
    else if (reading->format.size_type == TARN_SIZE_VARINT)
        reading->score -= 1;
    *key_size_before = key_size;
}

/* Is there a blank in the key of the record at p, as far as the key is there? */
static bool key_has_blank(const struct tarn_format *format, const unsigned char *p, uint64_t left)
{
    uint64_t key_size;
    int field = size_field(format, p, left, &key_size);
    if (field <= 0)
        return false;
    left -= (uint64_t)field;
    for (uint64_t i = 0; i < key_size && i < left; i++)
        if (p[(uint64_t)field + i] <= ' ')
            return true;
    return false;
}

static void read_binary(struct reading *reading, struct tarn_bytes prefix, uint64_t file_bytes)
{
    const unsigned char *data = prefix.data;
    bool whole = prefix.size == file_bytes;
    uint64_t offset = 0, key_size_before = UINT64_MAX;
    struct record record;
    reading->keys_clean = true;
    reading->fits = true;
    while (offset < prefix.size) {
        uint64_t left = prefix.size - offset;
        score_record(reading, data + offset, left, &key_size_before);
        enum format_outcome outcome =
            format_parse(&reading->format, prefix, offset, whole, &record);
        if ((outcome == FORMAT_OK || outcome == FORMAT_INCOMPLETE) && reading->keys_clean)
            reading->keys_clean = !key_has_blank(&reading->format, data + offset, left);
        if (outcome != FORMAT_OK) {
            reading->outcome = outcome;
            reading->fits = outcome == FORMAT_INCOMPLETE && !whole &&
                            tail_fits(&reading->format, data + offset, left, file_bytes - offset);
            break;
        }
        reading->records++;
        offset += record.size;
    }
    reading->exact = reading->fits && whole;
    reading->offset = offset;
}

static void read_text(struct reading *reading, struct tarn_bytes prefix, uint64_t file_bytes)
{
    bool whole = prefix.size == file_bytes;
    struct record record;
    reading->format = (struct tarn_format){.kind = TARN_FORMAT_TEXT};
    reading->fits = true;
    while (reading->offset < prefix.size) {
        enum format_outcome outcome =
            format_parse(&reading->format, prefix, reading->offset, whole, &record);
        if (outcome != FORMAT_OK) {
            reading->outcome = outcome;
            reading->fits = outcome == FORMAT_INCOMPLETE && !whole;
            return;
        }
        reading->records++;
        reading->offset += record.size;
    }
    reading->exact = reading->fits && whole;
}

/* What bytes there are. */
struct census {
    uint64_t nuls;
    uint64_t controls; /* below 0x20, without tab, newline and carriage return */
    uint64_t blanks;   /* up to 0x20 */
};

static struct census count_bytes(struct tarn_bytes prefix)
{
    struct census census = {0};
    const unsigned char *p = prefix.data;
    for (size_t i = 0; i < prefix.size; i++) {
        if (p[i] > ' ')
            continue;
        census.blanks++;
        census.nuls += p[i] == 0;
        census.controls += p[i] < ' ' && p[i] != '\t' && p[i] != '\n' && p[i] != '\r';
    }
    return census;
}

/* Is the average score of a better than b's? (a/n > b/m with n, m >= 0; nothing scored is 0) */
static bool scores_better(const struct reading *a, const struct reading *b)
{
    int64_t a_scored = a->scored ? a->scored : 1, b_scored = b->scored ? b->scored : 1;
    return a->score * b_scored > b->score * a_scored;
}

/* Without a NUL byte the file may be text, good or bad, and every ASCII text reads as varint:
 * then a binary reading must explain where the blanks are, or end exactly at the file's end. */
static bool credible(const struct reading *reading, const struct census *census)
{
    return reading->fits &&
           (census->nuls > 0 || reading->keys_clean || (reading->exact && census->controls > 0));
}

/* The best credible reading that fits; NULL if none. */
static const struct reading *best_of(const struct reading *readings, const struct census *census)
{
    const struct reading *best = NULL;
    for (size_t i = 0; i < CANDIDATES_COUNT; i++)
        if (credible(&readings[i], census) && (!best || scores_better(&readings[i], best)))
            best = &readings[i];
    return best;
}

/* A failing reading whose evidence is too strong to believe `best` instead; NULL if none. */
static const struct reading *blocking(const struct reading *readings, const struct reading *best)
{
    const struct reading *blocker = NULL;
    for (size_t i = 0; i < CANDIDATES_COUNT; i++) {
        const struct reading *reading = &readings[i];
        if (reading->fits || reading->score < SCORE_BLOCKS)
            continue;
        if ((!best || scores_better(reading, best)) &&
            (!blocker || scores_better(reading, blocker)))
            blocker = reading;
    }
    return blocker;
}

/* A binary reading to be preferred to text that fits; NULL if none. */
static const struct reading *stronger_than_text(const struct reading *readings,
                                                const struct census *census)
{
    const struct reading *best = best_of(readings, census);
    if (best && best->records > 0 && (best->exact || census->blanks >= BLANKS_CREDIBLE))
        return best;
    if (census->controls == 0)
        return NULL;
    for (size_t i = 0; i < CANDIDATES_COUNT; i++)
        if (!readings[i].fits && readings[i].keys_clean &&
            readings[i].records >= RECORDS_BLOCK_TEXT)
            return &readings[i];
    return NULL;
}

/* Lines of text but for some NUL bytes, which a reading as varint takes without anything to speak
 * for it: any bytes below 128 are sizes. Better no answer than that one. */
static bool is_text_with_nuls(const struct reading *text, const struct reading *best)
{
    return text->outcome == FORMAT_OK && text->records >= LINES_CREDIBLE && best != NULL &&
           best->format.size_type == TARN_SIZE_VARINT &&
           best->score < SCORE_SAME_SIZE / 2 * best->scored; /* not one size of key throughout */
}

/* Nothing fits: which reading came nearest? */
static const struct reading *nearest(const struct reading *readings, const struct reading *text,
                                     const struct census *census)
{
    if (census->controls == 0)
        return text;
    const struct reading *best = blocking(readings, NULL);
    if (best)
        return best;
    best = text;
    for (size_t i = 0; i < CANDIDATES_COUNT; i++)
        if (readings[i].records > best->records)
            best = &readings[i];
    return best;
}

static int detect_error(const struct reading *reading, struct tarn_error *error)
{
    if (reading->outcome == FORMAT_OK)
        return error_set(error, TARN_CORRUPT,
                         "cannot tell the format: lines of text, but with NUL bytes (choose with "
                         "--format)");
    char nearest_text[64], described[64];
    struct tarn_error place;
    snprintf(nearest_text, sizeof nearest_text, "%s", format_describe(&reading->format, described));
    int status = format_error(reading->outcome, "data", reading->offset, reading->records, &place);
    /* skip "data: ": the caller puts the path there */
    return error_set_at(error, status, reading->offset, reading->records,
                        "cannot tell the format, nearest is %s: %s (choose with --format)",
                        nearest_text, place.text + sizeof "data: " - 1);
}

int format_detect(struct tarn_bytes prefix, uint64_t file_bytes, struct tarn_format *ret_format,
                  struct tarn_error *error)
{
    if (checkpoint_looks_like(prefix.data, prefix.size)) {
        *ret_format = (struct tarn_format){.kind = TARN_FORMAT_TARN};
        return TARN_OK;
    }
    struct reading readings[CANDIDATES_COUNT] = {0}, text = {0};
    struct census census = count_bytes(prefix);
    if (prefix.size > file_bytes) /* the file shrank since */
        file_bytes = prefix.size;
    read_text(&text, prefix, file_bytes);
    text.fits = text.fits && census.nuls == 0;
    if (prefix.size == 0) {
        *ret_format = text.format;
        return TARN_OK;
    }
    for (size_t i = 0; i < CANDIDATES_COUNT; i++) {
        readings[i].format = candidates[i];
        read_binary(&readings[i], prefix, file_bytes);
    }

    const struct reading *best;
    if (text.fits) {
        best = stronger_than_text(readings, &census);
        if (!best)
            best = &text;
    } else {
        best = best_of(readings, &census);
        const struct reading *blocker = census.controls > 0 ? blocking(readings, best) : NULL;
        if (blocker)
            best = blocker;
        else if (is_text_with_nuls(&text, best))
            best = &text;
        if (!best)
            best = nearest(readings, &text, &census);
    }
    if (!best->fits)
        return detect_error(best, error);
    *ret_format = best->format;
    return TARN_OK;
}
