/* --help texts and the manual page, both made from the subcommands' rows and option tables.
 *
 * Invariant: no option, default or subcommand is written down here. */
#include "cli/cli.h"
#include "core/bytes.h"

#define LINE_COLUMNS 80

/* --- --help --- */

/* Text of paragraphs separated by empty lines, wrapped. */
static void append_wrapped(struct buffer *out, const char *text)
{
    size_t used = 0;
    for (const char *p = text; *p;) {
        if (*p == '\n') {
            buffer_append_text(out, used > 0 ? "\n\n" : "");
            used = 0;
            p += strspn(p, "\n");
            continue;
        }
        size_t word = strcspn(p, " \n");
        if (used > 0 && used + 1 + word > LINE_COLUMNS) {
            buffer_append_byte(out, '\n');
            used = 0;
        } else if (used > 0) {
            buffer_append_byte(out, ' ');
            used++;
        }
        buffer_append(out, p, word);
        used += word;
        p += word;
        p += strspn(p, " ");
    }
    buffer_append_byte(out, '\n');
}

/* Lines of "command, tab, what it does". */
static void append_examples(struct buffer *out, const char *examples)
{
    for (const char *p = examples; *p;) {
        size_t command = strcspn(p, "\t"), meaning = strcspn(p + command + 1, "\n");
        buffer_printf(out, "  %.*s\n      %.*s\n", (int)command, p, (int)meaning, p + command + 1);
        p += command + 1 + meaning;
        p += strspn(p, "\n");
    }
}

void cli_help_command(const struct cli_command *command, struct buffer *out)
{
    struct option rows[CLI_ROWS_MAX];
    struct options table = cli_command_rows(command, rows);
    buffer_printf(out, "Usage: tarn %s%s%s%s\n\n", command->name, table.count ? " [OPTIONS]" : "",
                  *command->words ? " " : "", command->words);
    append_wrapped(out, command->description);
    if (table.count > 0) {
        buffer_append_text(out, "\nOptions:\n");
        options_help(&table, out);
    }
    if (command->examples) {
        buffer_append_text(out, "\nExamples:\n");
        append_examples(out, command->examples);
    }
}

void cli_help_program(struct buffer *out)
{
    buffer_append_text(out, "tarn " TARN_VERSION ": a key-value store\n\n"
                            "Usage: tarn COMMAND [OPTIONS] ...\n\nCommands:\n");
    for (const struct cli_command *const *command = cli_commands(); *command; command++)
        buffer_printf(out, "  %-10s%s\n", (*command)->name, (*command)->summary);
    buffer_append_text(out, "\nOptions:\n"
                            "  --help    Show this, or a command's options: tarn COMMAND --help\n"
                            "  --version Show the version\n"
                            "\nTo begin with:\n"
                            "  tarn gen sample.txt\n"
                            "  tarn serve sample.txt\n");
}

/* --- the manual page --- */

/* Text with roff's own characters escaped. */
static void roff_text(struct buffer *out, const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        char c = text[i];
        bool line_start = out->size == 0 || out->data[out->size - 1] == '\n';
        if (line_start && (c == '.' || c == '\''))
            buffer_append_text(out, "\\&");
        if (c == '\\')
            buffer_append_text(out, "\\e");
        else if (c == '-')
            buffer_append_text(out, "\\-");
        else if (c == '\'')
            buffer_append_text(out, "\\(aq");
        else
            buffer_append_byte(out, (unsigned char)c);
    }
}

static void roff_paragraphs(struct buffer *out, const char *text)
{
    for (const char *p = text; *p;) {
        size_t size = strcspn(p, "\n");
        buffer_append_text(out, ".PP\n");
        roff_text(out, p, size);
        buffer_append_byte(out, '\n');
        p += size;
        p += strspn(p, "\n");
    }
}

static void roff_options(struct buffer *out, const struct options *table)
{
    struct buffer scratch = {0};
    for (size_t i = 0; i < table->count; i++) {
        if (table->rows[i].flags & OPTION_HIDDEN)
            continue;
        buffer_append_text(out, ".TP\n.B ");
        buffer_clear(&scratch);
        options_append_flag(&table->rows[i], &scratch);
        roff_text(out, (const char *)scratch.data, scratch.size);
        buffer_append_byte(out, '\n');
        buffer_clear(&scratch);
        options_append_meaning(&table->rows[i], &scratch);
        roff_text(out, (const char *)scratch.data, scratch.size);
        buffer_append_text(out, ".\n");
    }
    out->failed |= scratch.failed;
    buffer_done(&scratch);
}

static void roff_examples(struct buffer *out, const char *examples)
{
    for (const char *p = examples; *p;) {
        size_t command = strcspn(p, "\t"), meaning = strcspn(p + command + 1, "\n");
        buffer_append_text(out, ".TP\n.B ");
        roff_text(out, p, command);
        buffer_append_byte(out, '\n');
        roff_text(out, p + command + 1, meaning);
        buffer_append_byte(out, '\n');
        p += command + 1 + meaning;
        p += strspn(p, "\n");
    }
}

static void roff_command(struct buffer *out, const struct cli_command *command)
{
    struct option rows[CLI_ROWS_MAX];
    struct options table = cli_command_rows(command, rows);
    buffer_printf(out, ".SS tarn %s", command->name);
    buffer_append_text(out, table.count ? " [OPTIONS] " : " ");
    roff_text(out, command->words, strlen(command->words));
    buffer_append_byte(out, '\n');
    roff_paragraphs(out, command->description);
    roff_options(out, &table);
}

void cli_manual(struct buffer *out)
{
    buffer_append_text(out, ".TH TARN 1 \"\" \"tarn " TARN_VERSION "\" \"User Commands\"\n"
                            ".SH NAME\ntarn \\- a key\\-value store\n"
                            ".SH SYNOPSIS\n");
    for (const struct cli_command *const *command = cli_commands(); *command; command++) {
        buffer_printf(out, "%s.B tarn %s\n", command == cli_commands() ? "" : ".br\n",
                      (*command)->name);
        roff_text(out, "[OPTIONS] ", 10);
        roff_text(out, (*command)->words, strlen((*command)->words));
        buffer_append_byte(out, '\n');
    }
    buffer_append_text(
        out,
        ".SH DESCRIPTION\n"
        "tarn serves a data file of keys and values from memory, over RESP and HTTP. A data "
        "file is text, a record a line with the key, a space or tab, and the value; or binary, "
        "with the sizes of key and value before each.\n"
        ".SH COMMANDS\n");
    for (const struct cli_command *const *command = cli_commands(); *command; command++)
        roff_command(out, *command);
    buffer_append_text(out, ".SH EXAMPLES\n");
    for (const struct cli_command *const *command = cli_commands(); *command; command++)
        if ((*command)->examples)
            roff_examples(out, (*command)->examples);
    buffer_append_text(out, ".SH FILES\n.TP\n.I FILE.tarnidx\nthe index of a data file\n"
                            ".SH EXIT STATUS\n.TP\n.B 0\nsuccess\n.TP\n.B 1\nfailure; one line on "
                            "standard error says why\n.TP\n.B 2\nwrong usage\n"
                            ".SH SEE ALSO\n.BR redis\\-cli (1),\n.BR curl (1)\n");
}
