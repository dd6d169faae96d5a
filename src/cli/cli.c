/* What all subcommands share: parsing, errors, output; see cli.h.
 *
 * Options come from, in rising order of precedence: the defaults, a configuration file (where the
 * subcommand takes one), the command line. The command line is read twice then: once to learn the
 * file's name, once more on top of it. */
#include "cli/cli.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/assert.h"
#include "core/bytes.h"

#define CONFIG_BYTES_MAX (1u << 20)

struct options cli_command_rows(const struct cli_command *command, struct option rows[CLI_ROWS_MAX])
{
    if (!command->only)
        return *command->options;
    size_t count = 0;
    for (; command->only[count]; count++) {
        const struct option *row = options_find(command->options, bytes_of(command->only[count]));
        ASSERT(row && count < CLI_ROWS_MAX);
        rows[count] = *row;
    }
    for (size_t i = 0; command->more != NULL && i < command->more->count; i++, count++) {
        ASSERT(count < CLI_ROWS_MAX);
        rows[count] = command->more->rows[i];
    }
    return (struct options){rows, count};
}

void cli_error(const char *command_name, const char *text)
{
    struct buffer line = {0};
    buffer_append_text(&line, "tarn");
    if (command_name)
        buffer_printf(&line, " %s", command_name);
    buffer_append_text(&line, ": ");
    for (const char *p = text; *p; p++) {
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            buffer_printf(&line, "\\x%02x", (unsigned char)*p);
        else
            buffer_append_byte(&line, (unsigned char)*p);
    }
    buffer_append_byte(&line, '\n');
    fflush(stdout);
    if (!line.failed)
        fwrite(line.data, 1, line.size, stderr);
    buffer_done(&line);
}

int cli_fail(const struct cli_call *call, const struct interrupt *interrupt,
             const struct tarn_error *error)
{
    cli_error(call->command->name, error->text);
    if (error->status == TARN_CANCELLED && interrupt && interrupt->signal)
        return CLI_SIGNAL + interrupt->signal;
    return CLI_FAILED;
}

int cli_print(const struct cli_command *command, struct buffer *text)
{
    if (text->failed) {
        cli_error(command->name, "out of memory");
        return CLI_FAILED;
    }
    fwrite(text->data, 1, text->size, stdout); /* errors stick to the stream: see cli_flush() */
    return cli_flush(command->name);
}

int cli_flush(const char *command_name)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return CLI_OK;
    struct tarn_error error;
    error_set(&error, TARN_IO, "cannot write to standard output: %s", strerror(errno));
    cli_error(command_name, error.text);
    return CLI_FAILED;
}

static void target_init(const struct cli_command *command, void *target)
{
    options_init(command->options, target);
    if (command->more != NULL)
        options_init(command->more, target);
}

static void target_done(const struct cli_command *command, void *target)
{
    options_done(command->options, target);
    if (command->more != NULL)
        options_done(command->more, target);
}

/* Read a configuration file and apply it. */
static int apply_config(const struct os *os, const struct options *table, void *target,
                        const char *path, struct tarn_error *error)
{
    struct buffer text = {0};
    int status = os_read_file(os, path, CONFIG_BYTES_MAX, &text, error);
    if (status == TARN_OK)
        status = options_parse_file(table, target, path, buffer_view(&text), error);
    buffer_done(&text);
    return status;
}

/* Defaults, configuration file, command line. argv is permuted as options_parse_args() does. */
static int parse_options(const struct os *os, const struct cli_command *command,
                         const struct options *table, void *target, int argc, char **argv,
                         int *ret_words_count, struct tarn_error *error)
{
    if (!command->config_path)
        return options_parse_args(table, target, argc, argv, ret_words_count, error);

    char **copy = malloc((size_t)(argc + 1) * sizeof *copy);
    if (!copy)
        return error_set(error, TARN_NOMEM, "out of memory");
    memcpy(copy, argv, (size_t)(argc + 1) * sizeof *copy);
    int status = options_parse_args(table, target, argc, copy, ret_words_count, error);
    free(copy);
    if (status != TARN_OK)
        return status;
    const char *path = command->config_path(target);
    if (!path || !*path)
        return options_parse_args(table, target, argc, argv, ret_words_count, error);

    char *config_path = strdup(path); /* the value itself is reset now */
    if (!config_path)
        return error_set(error, TARN_NOMEM, "out of memory");
    target_done(command, target);
    target_init(command, target);
    status = apply_config(os, table, target, config_path, error);
    free(config_path);
    if (status != TARN_OK)
        return status;
    return options_parse_args(table, target, argc, argv, ret_words_count, error);
}

static bool wants_help(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    return false;
}

static int check_words(const struct cli_command *command, int count, char **words,
                       struct tarn_error *error)
{
    if (count < command->words_min)
        return error_set(error, TARN_INVALID, "%s is missing; usage: tarn %s [OPTIONS] %s",
                         count == 0 ? command->words : "an argument", command->name,
                         command->words);
    if (command->words_max >= 0 && count > command->words_max)
        return error_set(error, TARN_INVALID,
                         "one argument too many: %.100s; usage: tarn %s "
                         "[OPTIONS] %s",
                         words[command->words_max], command->name, command->words);
    return TARN_OK;
}

int cli_run(const struct os *os, const struct cli_command *command, int argc, char **argv)
{
    struct option rows[CLI_ROWS_MAX];
    struct options table = cli_command_rows(command, rows);
    struct tarn_error error;
    if (wants_help(argc, argv)) {
        struct buffer text = {0};
        cli_help_command(command, &text);
        int exit_status = cli_print(command, &text);
        buffer_done(&text);
        return exit_status;
    }
    struct cli_call call = {.command = command, .os = os};
    call.target = calloc(1, command->target_bytes ? command->target_bytes : 1);
    if (!call.target) {
        cli_error(command->name, "out of memory");
        return CLI_FAILED;
    }
    target_init(command, call.target);
    int status =
        parse_options(os, command, &table, call.target, argc, argv, &call.words_count, &error);
    call.words = argv + 1;
    if (status == TARN_OK)
        status = check_words(command, call.words_count, call.words, &error);
    int exit_status;
    if (status == TARN_OK) {
        exit_status = command->run(&call);
    } else {
        cli_error(command->name, error.text);
        exit_status = status == TARN_INVALID ? CLI_USAGE : CLI_FAILED;
    }
    target_done(command, call.target);
    free(call.target);
    return exit_status;
}
