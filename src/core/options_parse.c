/* Options from a command line and from a configuration file.
 *
 * How: both find the row and hand the value to options_set(); the file's lines are cut into name
 * and value here, quotes and escapes resolved into a buffer.
 *
 * Invariants
 * 1. argv is only permuted: words move to the front in their order, nothing is lost or written.
 * 2. What came before an error stays set; callers give up then.
 * Failure modes: INVALID with what to write instead, NOMEM. */
#include <stdlib.h>

#include "core/assert.h"
#include "core/number.h"
#include "core/options.h"

#define NAME_BYTES_MAX 64 /* names longer than this are not compared for likeness */

/* --- the closest known name --- */

static size_t min3(size_t a, size_t b, size_t c)
{
    size_t least = a < b ? a : b;
    return least < c ? least : c;
}

/* Edit distance with swaps of neighbours (optimal string alignment). Both at most NAME_BYTES_MAX
 * bytes. */
static size_t edit_distance(struct tarn_bytes a, struct tarn_bytes b)
{
    size_t rows[3][NAME_BYTES_MAX + 1];
    const char *p = a.data, *q = b.data;
    ASSERT(a.size <= NAME_BYTES_MAX && b.size <= NAME_BYTES_MAX);
    for (size_t j = 0; j <= b.size; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= a.size; i++) {
        size_t *now = rows[i % 3], *last = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= b.size; j++) {
            size_t change = p[i - 1] == q[j - 1] ? 0 : 1;
            now[j] = min3(last[j] + 1, now[j - 1] + 1, last[j - 1] + change);
            if (i > 1 && j > 1 && p[i - 1] == q[j - 2] && p[i - 2] == q[j - 1] &&
                before[j - 2] + 1 < now[j])
                now[j] = before[j - 2] + 1;
        }
    }
    return rows[a.size % 3][b.size];
}

const char *options_closest(const struct options *table, struct tarn_bytes name)
{
    const char *best = NULL;
    if (name.size < 2 || name.size > NAME_BYTES_MAX)
        return NULL;
    size_t best_distance = name.size < 6 ? 2 : name.size / 3; /* farther is another word */
    for (size_t i = 0; i < table->count; i++) {
        const struct option *row = &table->rows[i];
        struct tarn_bytes known = bytes_of(row->name);
        if ((row->flags & OPTION_HIDDEN) || known.size > NAME_BYTES_MAX)
            continue;
        /* a name cut short ("max-conn") is likely meant, however much is missing */
        bool prefix = name.size >= 3 && known.size > name.size &&
                      memcmp(row->name, name.data, name.size) == 0;
        size_t distance = prefix ? 1 : edit_distance(name, known);
        if (distance < best_distance || (distance == best_distance && !best)) {
            best_distance = distance;
            best = row->name;
        }
    }
    return best;
}

static int refuse_unknown(const struct options *table, struct tarn_bytes name,
                          struct tarn_error *error)
{
    const char *closest = options_closest(table, name);
    int size = name.size < NAME_BYTES_MAX ? (int)name.size : NAME_BYTES_MAX;
    const char *text = name.size ? name.data : "";
    if (closest)
        return error_set(error, TARN_INVALID, "--%.*s: unknown option; did you mean --%s?", size,
                         text, closest);
    return error_set(error, TARN_INVALID, "--%.*s: unknown option; see --help", size, text);
}

/* A row that users may name; NULL if there is none. */
static const struct option *find_visible(const struct options *table, struct tarn_bytes name)
{
    const struct option *row = options_find(table, name);
    return row && (row->flags & OPTION_HIDDEN) ? NULL : row;
}

/* --- command line --- */

static struct tarn_bytes placeholder(const struct option *row)
{
    return bytes_of(row->argument ? row->argument : "VALUE");
}

/* Handle argv[*at], which begins with "--", and its value; *at moves to the last word used. */
static int parse_flag(const struct options *table, void *target, int argc, char **argv, int *at,
                      struct tarn_error *error)
{
    const char *text = argv[*at] + 2;
    const char *equals = strchr(text, '=');
    struct tarn_bytes name = {text, equals ? (size_t)(equals - text) : strlen(text)};
    const struct option *row = find_visible(table, name);
    if (!row && name.size > 3 && memcmp(text, "no-", 3) == 0) {
        row = find_visible(table, (struct tarn_bytes){text + 3, name.size - 3});
        if (row && row->type != OPTION_BOOL)
            return error_set(error, TARN_INVALID,
                             "--%.*s: --%s cannot be negated, it takes a value", (int)name.size,
                             text, row->name);
        if (row && equals)
            return error_set(error, TARN_INVALID, "--%.*s: takes no value", (int)name.size, text);
        if (row)
            return options_set(row, target, bytes_of("no"), error);
    }
    if (!row)
        return refuse_unknown(table, name, error);
    if (equals)
        return options_set(row, target, bytes_of(equals + 1), error);
    if (row->type == OPTION_BOOL)
        return options_set(row, target, bytes_of("yes"), error);
    if (*at + 1 >= argc)
        return error_set(error, TARN_INVALID, "--%s: needs a value (--%s %s)", row->name, row->name,
                         (const char *)placeholder(row).data);
    ++*at;
    return options_set(row, target, bytes_of(argv[*at]), error);
}

int options_parse_args(const struct options *table, void *target, int argc, char **argv,
                       int *ret_words_count, struct tarn_error *error)
{
    int count = 0;
    bool flags_ended = false;
    for (int at = 1; at < argc; at++) {
        char *word = argv[at];
        if (!flags_ended && strcmp(word, "--") == 0) {
            flags_ended = true;
            continue;
        }
        if (!flags_ended && word[0] == '-' && word[1] == '-') {
            int status = parse_flag(table, target, argc, argv, &at, error);
            if (status != TARN_OK)
                return status;
            continue;
        }
        if (!flags_ended && word[0] == '-' && word[1] != 0)
            return error_set(error, TARN_INVALID,
                             "%.64s: unknown option; options begin with two dashes, see --help (a "
                             "word that begins with a dash goes after --)",
                             word);
        count++;
        for (int i = at; i > count; i--) /* rotate the word down, keeping the others' order */
            argv[i] = argv[i - 1];
        argv[count] = word;
    }
    *ret_words_count = count;
    return TARN_OK;
}

/* --- configuration file --- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* One escape after the backslash at p[0]; returns the bytes taken, 0 if cut short. */
static size_t unescape(const char *p, size_t size, struct buffer *out)
{
    if (size < 2)
        return 0;
    if (p[1] == 'x') {
        int high = size >= 4 ? number_hex_digit((unsigned char)p[2]) : -1,
            low = size >= 4 ? number_hex_digit((unsigned char)p[3]) : -1;
        if (high < 0 || low < 0)
            return 0;
        buffer_append_byte(out, (unsigned char)(high << 4 | low));
        return 4;
    }
    char c = p[1] == 'n' ? '\n' : p[1] == 'r' ? '\r' : p[1] == 't' ? '\t' : p[1];
    buffer_append_byte(out, (unsigned char)c);
    return 2;
}

/* The quoted value at the start of rest: "..." with escapes \n \r \t \xHH \" \\, or '...' with
 * nothing but \' inside. Only a comment may follow. */
static int parse_quoted(struct tarn_bytes rest, struct buffer *out, struct tarn_error *error)
{
    const char *p = rest.data;
    char quote = p[0];
    size_t at = 1;
    while (at < rest.size && p[at] != quote) {
        bool escape = p[at] == '\\' && (quote == '"' || (at + 1 < rest.size && p[at + 1] == '\''));
        size_t taken = 1;
        if (escape)
            taken = unescape(p + at, rest.size - at, out);
        else
            buffer_append_byte(out, (unsigned char)p[at]);
        if (taken == 0)
            return error_set(error, TARN_INVALID,
                             "bad escape; write \\n \\r \\t \\\" \\\\ or \\x and two hex digits");
        at += taken;
    }
    if (at >= rest.size)
        return error_set(error, TARN_INVALID, "the quote %c is not closed", quote);
    at++;
    size_t after = at;
    while (after < rest.size && is_blank(p[after]))
        after++;
    if (after < rest.size && (p[after] != '#' || after == at))
        return error_set(error, TARN_INVALID, "nothing may follow a quoted value but a comment");
    return TARN_OK;
}

/* A bare value: up to a '#' that follows a blank, trailing blanks dropped. */
static void parse_bare(struct tarn_bytes rest, struct buffer *out)
{
    const char *p = rest.data;
    size_t end = 0;
    while (end < rest.size && (p[end] != '#' || (end > 0 && !is_blank(p[end - 1]))))
        end++;
    while (end > 0 && is_blank(p[end - 1]))
        end--;
    buffer_append(out, p, end);
}

/* One line without its newline. value: scratch, empty. */
static int parse_line(const struct options *table, void *target, struct tarn_bytes line,
                      struct buffer *value, struct tarn_error *error)
{
    const char *p = line.data;
    size_t at = 0, end = line.size;
    if (end > 0 && p[end - 1] == '\r')
        end--;
    while (at < end && is_blank(p[at]))
        at++;
    if (at == end || p[at] == '#')
        return TARN_OK;
    if (memchr(p, 0, end))
        return error_set(error, TARN_INVALID, "the line holds a NUL byte; is this a text file?");
    struct tarn_bytes name = {p + at, 0};
    while (at < end && !is_blank(p[at]))
        at++;
    name.size = (size_t)(p + at - (const char *)name.data);
    while (at < end && is_blank(p[at]))
        at++;

    const struct option *row = find_visible(table, name);
    if (!row)
        return refuse_unknown(table, name, error);
    if (row->flags & OPTION_ONLY_FLAG)
        return error_set(error, TARN_INVALID, "--%s: only allowed on the command line", row->name);
    struct tarn_bytes rest = {p + at, end - at};
    if (rest.size == 0 || p[at] == '#') {
        bool text = row->type == OPTION_TEXT || row->type == OPTION_SECRET;
        return error_set(error, TARN_INVALID, "--%s: needs a value (%s %s%s)", row->name, row->name,
                         row->type == OPTION_BOOL ? "yes" : (const char *)placeholder(row).data,
                         text ? ", or \"\" for none" : "");
    }
    int status = TARN_OK;
    if (p[at] == '"' || p[at] == '\'')
        status = parse_quoted(rest, value, error);
    else
        parse_bare(rest, value);
    if (status == TARN_OK && value->failed)
        status = error_set(error, TARN_NOMEM, "--%s: out of memory", row->name);
    if (status == TARN_OK)
        status = options_set(row, target,
                             value->size ? buffer_view(value) : (struct tarn_bytes){"", 0}, error);
    return status;
}

int options_parse_file(const struct options *table, void *target, const char *path,
                       struct tarn_bytes text, struct tarn_error *error)
{
    const char *p = text.data;
    struct buffer value;
    buffer_init(&value, 0); /* never longer than the line it is cut from */
    int status = TARN_OK;
    uint64_t line_number = 0;
    for (size_t at = 0; at < text.size && status == TARN_OK;) {
        const char *newline = memchr(p + at, '\n', text.size - at);
        size_t size = newline ? (size_t)(newline - (p + at)) : text.size - at;
        line_number++;
        buffer_clear(&value);
        status = parse_line(table, target, (struct tarn_bytes){p + at, size}, &value, error);
        at += size + 1;
    }
    if (status != TARN_OK)
        error_prepend(error, "%s line %llu", path, (unsigned long long)line_number);
    if (value.data) /* it may have held a secret */
        explicit_bzero(value.data, value.capacity);
    buffer_done(&value);
    return status;
}
