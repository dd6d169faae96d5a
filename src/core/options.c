/* Options as a table: setting, reading and initialising fields.
 *
 * The command line and the configuration file are in options_parse.c, --help in options_help.c.
 *
 * How: every row names a field by its offset in the caller's struct; one function parses a value by
 * the row's type and writes the field only when the value is good.
 *
 * Invariants
 * 1. After options_init() a text field is never NULL; it is owned by the struct.
 * 2. A failed options_set() leaves the field as it was.
 * 3. A secret's value appears in no error text, and is wiped before its memory is freed.
 * Failure modes: INVALID for a value that does not fit the row, NOMEM for texts. */
#include "core/options.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/assert.h"
#include "core/number.h"

/* A value as it appears in an error text: bounded, so that the reason after it is not cut off. */
#define VALUE_SHOWN_MAX 80

static void *field_of(const struct option *row, void *target)
{
    return (char *)target + row->offset;
}

static const void *field_of_const(const struct option *row, const void *target)
{
    return (const char *)target + row->offset;
}

static int shown(struct tarn_bytes value)
{
    return value.size < VALUE_SHOWN_MAX ? (int)value.size : VALUE_SHOWN_MAX;
}

/* "--port: 70000 <problem>" */
static int refuse(const struct option *row, struct tarn_bytes value, const char *problem,
                  struct tarn_error *error)
{
    if (value.size == 0)
        return error_set(error, TARN_INVALID, "--%s: an empty value %s", row->name, problem);
    return error_set(error, TARN_INVALID, "--%s: %.*s %s", row->name, shown(value),
                     (const char *)value.data, problem);
}

/* Bounds in the form a user would write them: sizes with a suffix where that is exact. */
static void format_bound(const struct option *row, uint64_t bound, char out[32])
{
    static const char suffixes[] = "TGMK";
    size_t size = 0;
    char suffix = 0;
    if (row->type == OPTION_COUNT) {
        number_format_scaled(bound, out);
        return;
    }
    if (row->type == OPTION_TIME) {
        number_format_duration(bound, out);
        return;
    }
    for (int shift = 40, i = 0; row->type == OPTION_SIZE && shift > 0 && !suffix;
         shift -= 10, i++) {
        if (bound >> shift != 0 && (bound & ((1ull << shift) - 1)) == 0) {
            bound >>= shift;
            suffix = suffixes[i];
        }
    }
    size = number_format_uint(bound, out);
    if (suffix)
        out[size++] = suffix;
    out[size] = 0;
}

/* "--port: 70000 is over 65535" */
static int refuse_bound(const struct option *row, struct tarn_bytes value, const char *relation,
                        const char *bound, struct tarn_error *error)
{
    char problem[64];
    snprintf(problem, sizeof problem, "is %s %s", relation, bound);
    return refuse(row, value, problem, error);
}

static int check_bounds(const struct option *row, struct tarn_bytes value, uint64_t number,
                        struct tarn_error *error)
{
    char bound[32];
    if (number < row->min) {
        format_bound(row, row->min, bound);
        return refuse_bound(row, value, "under", bound, error);
    }
    if (row->max != 0 && number > row->max) {
        format_bound(row, row->max, bound);
        return refuse_bound(row, value, "over", bound, error);
    }
    return TARN_OK;
}

static int set_bool(const struct option *row, bool *field, struct tarn_bytes value,
                    struct tarn_error *error)
{
    bool yes = bytes_equal_nocase(value, "yes");
    if (!yes && !bytes_equal_nocase(value, "no"))
        return refuse(row, value, "is neither yes nor no", error);
    *field = yes;
    return TARN_OK;
}

/* Digits only, but leading zeros are let pass: a person types them. */
static bool parse_uint(struct tarn_bytes text, uint64_t *ret_value)
{
    const char *p = text.data;
    size_t zeros = 0;
    while (zeros + 1 < text.size && p[zeros] == '0')
        zeros++;
    return number_parse_uint((struct tarn_bytes){p + zeros, text.size - zeros}, ret_value);
}

static bool all_digits(struct tarn_bytes text)
{
    const char *p = text.data;
    for (size_t i = 0; i < text.size; i++) {
        if (p[i] < '0' || p[i] > '9')
            return false;
    }
    return text.size > 0;
}

static int set_uint(const struct option *row, uint64_t *field, struct tarn_bytes value,
                    struct tarn_error *error)
{
    uint64_t number;
    if (!all_digits(value))
        return refuse(row, value, "is not a whole number", error);
    if (!parse_uint(value, &number))
        number = UINT64_MAX; /* 2^64 and above: over every bound */
    int status = check_bounds(row, value, number, error);
    if (status != TARN_OK)
        return status;
    if (number == UINT64_MAX)
        return refuse(row, value, "is too large", error);
    *field = number;
    return TARN_OK;
}

/* Numbers with units: the parser, and what to say of a text that it refuses. */
static int set_units(const struct option *row, uint64_t *field, struct tarn_bytes value,
                     bool (*parse)(struct tarn_bytes text, uint64_t *ret_value),
                     const char *problem, struct tarn_error *error)
{
    uint64_t number;
    if (!parse(value, &number))
        return refuse(row, value, problem, error);
    int status = check_bounds(row, value, number, error);
    if (status != TARN_OK)
        return status;
    *field = number;
    return TARN_OK;
}

static int set_real(const struct option *row, double *field, struct tarn_bytes value,
                    struct tarn_error *error)
{
    double number;
    char bound[32];
    if (!number_parse_real(value, &number))
        return refuse(row, value, "is not a number like 3 or 0.25 (at most 15 digits)", error);
    if (number < row->real_min)
        return refuse_bound(row, value, "under", number_format_real(row->real_min, bound), error);
    if (row->real_max != 0 && number > row->real_max)
        return refuse_bound(row, value, "over", number_format_real(row->real_max, bound), error);
    *field = number;
    return TARN_OK;
}

static int set_range(const struct option *row, struct option_range *field, struct tarn_bytes value,
                     struct tarn_error *error)
{
    const char *dash = value.size ? memchr(value.data, '-', value.size) : NULL;
    struct tarn_bytes low_text = value, high_text = value;
    struct option_range range;
    if (dash) {
        low_text.size = (size_t)(dash - (const char *)value.data);
        high_text = (struct tarn_bytes){dash + 1, value.size - low_text.size - 1};
    }
    if (!parse_uint(low_text, &range.low) || !parse_uint(high_text, &range.high))
        return refuse(row, value, "is neither a number nor a range like 10-20", error);
    if (range.low > range.high)
        return refuse(row, value, "is backwards; write the smaller number first", error);
    int status = check_bounds(row, low_text, range.low, error);
    if (status == TARN_OK)
        status = check_bounds(row, high_text, range.high, error);
    if (status == TARN_OK)
        *field = range;
    return status;
}

static void free_text(const struct option *row, char *text)
{
    if (text && row->type == OPTION_SECRET)
        explicit_bzero(text, strlen(text));
    free(text);
}

static int set_text(const struct option *row, char **field, struct tarn_bytes value,
                    struct tarn_error *error)
{
    if (value.size && memchr(value.data, 0, value.size))
        return error_set(error, TARN_INVALID, "--%s: the value holds a NUL byte", row->name);
    char *text = malloc(value.size + 1);
    if (!text)
        return error_set(error, TARN_NOMEM, "--%s: out of memory", row->name);
    if (value.size)
        memcpy(text, value.data, value.size);
    text[value.size] = 0;
    free_text(row, *field);
    *field = text;
    return TARN_OK;
}

/* The index of the word that `value` is, or is an alias of; -1 if it is none. */
static int find_word(const struct option *row, struct tarn_bytes value)
{
    for (int i = 0; row->words[i]; i++)
        if (bytes_equal_nocase(value, row->words[i]))
            return i;
    for (const struct option_alias *a = row->aliases; a && a->word; a++)
        if (bytes_equal_nocase(value, a->word))
            return a->index;
    return -1;
}

static int set_word(const struct option *row, int *field, struct tarn_bytes value,
                    struct tarn_error *error)
{
    int index = find_word(row, value);
    if (index >= 0) {
        *field = index;
        return TARN_OK;
    }
    struct buffer words;
    buffer_init(&words, 256);
    for (int i = 0; row->words[i]; i++) {
        if (i > 0)
            buffer_append_text(&words, row->words[i + 1] ? ", " : " or ");
        buffer_append_text(&words, row->words[i]);
    }
    buffer_append_byte(&words, 0);
    const char *known = words.failed ? "one of the words in --help" : (const char *)words.data;
    int status = error_set(error, TARN_INVALID, "--%s: %.*s is unknown; choose %s", row->name,
                           shown(value), value.size ? (const char *)value.data : "", known);
    buffer_done(&words);
    return status;
}

int options_set(const struct option *row, void *target, struct tarn_bytes value,
                struct tarn_error *error)
{
    void *field = field_of(row, target);
    switch (row->type) {
    case OPTION_BOOL:
        return set_bool(row, field, value, error);
    case OPTION_UINT:
        return set_uint(row, field, value, error);
    case OPTION_SIZE:
        return set_units(row, field, value, number_parse_size,
                         "is not a size; write it like 4096, 64K, 512M or 1.5G", error);
    case OPTION_COUNT:
        return set_units(row, field, value, number_parse_scaled,
                         "is not a whole number; write it like 5000, 10k, 1.5M or 2G", error);
    case OPTION_TIME:
        return set_units(row, field, value, number_parse_duration,
                         "is not a time; write it like 10s, 500ms, 250us, 2m or 1h", error);
    case OPTION_REAL:
        return set_real(row, field, value, error);
    case OPTION_RANGE:
        return set_range(row, field, value, error);
    case OPTION_TEXT:
    case OPTION_SECRET:
        return set_text(row, field, value, error);
    case OPTION_WORD:
        return set_word(row, field, value, error);
    }
    ASSERT(!"a row's type is one of enum option_type");
    return TARN_INVALID;
}

/* The row's default as a user would write it. */
static const char *fallback_of(const struct option *row)
{
    if (row->fallback)
        return row->fallback;
    switch (row->type) {
    case OPTION_BOOL:
        return "no";
    case OPTION_UINT:
    case OPTION_SIZE:
    case OPTION_COUNT:
    case OPTION_TIME:
    case OPTION_REAL:
    case OPTION_RANGE:
        return "0";
    case OPTION_WORD:
        return row->words[0];
    case OPTION_TEXT:
    case OPTION_SECRET:
        break;
    }
    return "";
}

bool options_is_default(const struct option *row, const void *target)
{
    const void *field = field_of_const(row, target);
    const char *fallback = fallback_of(row), *text;
    union {
        bool yes;
        uint64_t number;
        double real;
        struct option_range range;
        int word;
    } value;
    struct option alone = *row;
    alone.offset = 0;
    if (row->type != OPTION_TEXT && row->type != OPTION_SECRET) {
        int status = options_set(&alone, &value, bytes_of(fallback), NULL);
        ASSERT(status == TARN_OK);
    }
    switch (row->type) {
    case OPTION_BOOL:
        return *(const bool *)field == value.yes;
    case OPTION_UINT:
    case OPTION_SIZE:
    case OPTION_COUNT:
    case OPTION_TIME:
        return *(const uint64_t *)field == value.number;
    case OPTION_REAL:
        return *(const double *)field == value.real;
    case OPTION_RANGE:
        return ((const struct option_range *)field)->low == value.range.low &&
               ((const struct option_range *)field)->high == value.range.high;
    case OPTION_WORD:
        return *(const int *)field == value.word;
    case OPTION_TEXT:
    case OPTION_SECRET:
        break;
    }
    text = *(char *const *)field;
    return strcmp(text ? text : "", fallback) == 0;
}

void options_init(const struct options *table, void *target)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct option *row = &table->rows[i];
        if (row->type == OPTION_TEXT || row->type == OPTION_SECRET)
            *(char **)field_of(row, target) = NULL;
        int status = options_set(row, target, bytes_of(fallback_of(row)), NULL);
        ASSERT(status == TARN_OK); /* a default must parse, and start-up needs a few bytes */
    }
}

void options_done(const struct options *table, void *target)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct option *row = &table->rows[i];
        if (row->type != OPTION_TEXT && row->type != OPTION_SECRET)
            continue;
        char **field = field_of(row, target);
        free_text(row, *field);
        *field = NULL;
    }
}

const struct option *options_find(const struct options *table, struct tarn_bytes name)
{
    for (size_t i = 0; i < table->count; i++) {
        if (bytes_equal(name, bytes_of(table->rows[i].name)))
            return &table->rows[i];
    }
    return NULL;
}

void options_get(const struct option *row, const void *target, struct buffer *out)
{
    const void *field = field_of_const(row, target);
    const struct option_range *range;
    const char *text;
    char number[32];
    switch (row->type) {
    case OPTION_BOOL:
        buffer_append_text(out, *(const bool *)field ? "yes" : "no");
        return;
    case OPTION_UINT:
    case OPTION_SIZE:
        buffer_append_uint(out, *(const uint64_t *)field);
        return;
    case OPTION_COUNT:
        buffer_append_text(out, number_format_scaled(*(const uint64_t *)field, number));
        return;
    case OPTION_TIME:
        buffer_append_text(out, number_format_duration(*(const uint64_t *)field, number));
        return;
    case OPTION_REAL:
        buffer_append_text(out, number_format_real(*(const double *)field, number));
        return;
    case OPTION_RANGE:
        range = field;
        buffer_append_uint(out, range->low);
        if (range->high != range->low) {
            buffer_append_byte(out, '-');
            buffer_append_uint(out, range->high);
        }
        return;
    case OPTION_TEXT:
    case OPTION_SECRET:
        text = *(char *const *)field;
        buffer_append_text(out, text ? text : "");
        return;
    case OPTION_WORD:
        buffer_append_text(out, row->words[*(const int *)field]);
        return;
    }
}
