/* tarn: one program, a subcommand each for what can be done with a data set. */
#include <stdio.h>

#include "cli/cli.h"
#include "core/bytes.h"

static const struct cli_command *find_command(const char *name)
{
    for (const struct cli_command *const *command = cli_commands(); *command; command++)
        if (strcmp((*command)->name, name) == 0)
            return *command;
    return NULL;
}

static int refuse_unknown(const char *name)
{
    struct option rows[CLI_ROWS_MAX] = {0};
    struct options names = {rows, 0};
    for (const struct cli_command *const *command = cli_commands(); *command; command++)
        rows[names.count++].name = (*command)->name;
    const char *closest = options_closest(&names, bytes_of(name));
    struct tarn_error error;
    if (closest)
        error_set(&error, TARN_INVALID, "%.100s: no such command; did you mean %s?", name, closest);
    else
        error_set(&error, TARN_INVALID, "%.100s: no such command; see tarn --help", name);
    cli_error(NULL, error.text);
    return CLI_USAGE;
}

static int print_program_help(void)
{
    struct buffer text = {0};
    cli_help_program(&text);
    int exit_status = cli_print(&cli_command_help, &text);
    buffer_done(&text);
    return exit_status;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        cli_error(NULL, "no command given; see tarn --help");
        return CLI_USAGE;
    }
    const char *word = argv[1];
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
        return print_program_help();
    if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0) {
        printf("tarn %s\n", TARN_VERSION);
        return cli_flush(NULL);
    }
    const struct cli_command *command = find_command(word);
    if (!command)
        return refuse_unknown(word);
    return cli_run(os_real(), command, argc - 1, argv + 1);
}
