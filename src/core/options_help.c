/* The --help text of an option table.
 *
 * How: names in a left column, meanings in a right one that starts where the longest name of
 * reasonable length ends; words are wrapped at LINE_COLUMNS.
 *
 * Invariants: no line is longer than LINE_COLUMNS unless one word is.
 * Failure modes: those of the buffer. */
#include "core/options.h"

#define LINE_COLUMNS 80
#define NAME_COLUMN  2
#define MEANING_MIN  12
#define MEANING_MAX  28 /* a name that reaches it gets a line of its own */

void options_append_flag(const struct option *row, struct buffer *out)
{
    bool on = row->type == OPTION_BOOL && row->fallback &&
              bytes_equal_nocase(bytes_of(row->fallback), "yes");
    buffer_append_text(out, on ? "--no-" : "--");
    buffer_append_text(out, row->name);
    if (row->type == OPTION_BOOL)
        return;
    buffer_append_byte(out, ' ');
    buffer_append_text(out, row->argument ? row->argument : "VALUE");
}

void options_append_meaning(const struct option *row, struct buffer *out)
{
    buffer_append_text(out, row->meaning);
    const char *fallback = row->fallback ? row->fallback : "";
    if (row->type == OPTION_WORD) {
        buffer_append_text(out, ": ");
        for (int i = 0; row->words[i]; i++) {
            if (i > 0)
                buffer_append_text(out, row->words[i + 1] ? ", " : " or ");
            buffer_append_text(out, row->words[i]);
        }
        if (!*fallback)
            fallback = row->words[0];
    }
    if (row->type != OPTION_BOOL && row->type != OPTION_SECRET && *fallback)
        buffer_printf(out, " (default %s)", fallback);
}

/* Write text from `column` on, wrapped, continued lines starting at `column`. */
static void append_wrapped(struct buffer *out, struct tarn_bytes text, size_t column)
{
    const char *p = text.data;
    size_t used = column;
    for (size_t at = 0; at < text.size;) {
        size_t end = at;
        while (end < text.size && p[end] != ' ')
            end++;
        size_t word = end - at;
        if (used > column && used + 1 + word > LINE_COLUMNS) {
            buffer_printf(out, "\n%*s", (int)column, "");
            used = column;
        } else if (used > column) {
            buffer_append_byte(out, ' ');
            used++;
        }
        buffer_append(out, p + at, word);
        used += word;
        at = end + 1;
    }
    buffer_append_byte(out, '\n');
}

/* The column where meanings start. */
static size_t meaning_column(const struct options *table, struct buffer *scratch)
{
    size_t column = MEANING_MIN;
    for (size_t i = 0; i < table->count; i++) {
        if (table->rows[i].flags & OPTION_HIDDEN)
            continue;
        buffer_clear(scratch);
        options_append_flag(&table->rows[i], scratch);
        size_t end = NAME_COLUMN + scratch->size + 2;
        if (end > column && end <= MEANING_MAX)
            column = end;
    }
    return column;
}

void options_help(const struct options *table, struct buffer *out)
{
    struct buffer scratch;
    buffer_init(&scratch, 0);
    size_t column = meaning_column(table, &scratch);
    for (size_t i = 0; i < table->count; i++) {
        const struct option *row = &table->rows[i];
        if (row->flags & OPTION_HIDDEN)
            continue;
        buffer_clear(&scratch);
        options_append_flag(row, &scratch);
        size_t end = NAME_COLUMN + scratch.size;
        buffer_append_text(out, "  ");
        buffer_append(out, scratch.data, scratch.size);
        if (end + 2 > column) {
            buffer_append_byte(out, '\n');
            end = 0;
        }
        buffer_printf(out, "%*s", (int)(column - end), "");
        buffer_clear(&scratch);
        options_append_meaning(row, &scratch);
        append_wrapped(out, buffer_view(&scratch), column);
    }
    out->failed |= scratch.failed;
    buffer_done(&scratch);
}
