/* tarn help: the same texts as --help, and the manual page; and the list of all subcommands. */
#include <stddef.h>
#include <stdio.h>

#include "cli/cli.h"
#include "core/bytes.h"

struct help_flags {
    bool man;
};

static const struct option rows[] = {
    {"man", OPTION_BOOL, offsetof(struct help_flags, man), "no", NULL,
     "Print the manual page, for man(1) to format"},
};
static const struct options table = {rows, sizeof rows / sizeof rows[0]};

const struct cli_command *const *cli_commands(void)
{
    static const struct cli_command *const commands[] = {
        &cli_command_gen,     &cli_command_index,  &cli_command_plan,
        &cli_command_serve,   &cli_command_get,    &cli_command_bench,
        &cli_command_inspect, &cli_command_verify, &cli_command_dump,
        &cli_command_load,    &cli_command_check,  &cli_command_repair,
        &cli_command_backup,  &cli_command_help,   NULL};
    return commands;
}

static const struct cli_command *find(const char *name)
{
    for (const struct cli_command *const *command = cli_commands(); *command; command++)
        if (strcmp((*command)->name, name) == 0)
            return *command;
    return NULL;
}

static int run(struct cli_call *call)
{
    const struct help_flags *flags = call->target;
    struct buffer text = {0};
    if (flags->man) {
        cli_manual(&text);
    } else if (call->words_count == 0) {
        cli_help_program(&text);
    } else {
        const struct cli_command *command = find(call->words[0]);
        if (!command) {
            struct tarn_error error;
            error_set(&error, TARN_INVALID, "%.100s: no such command; see tarn --help",
                      call->words[0]);
            cli_error(call->command->name, error.text);
            return CLI_USAGE;
        }
        cli_help_command(command, &text);
    }
    int exit_status = cli_print(call->command, &text);
    buffer_done(&text);
    return exit_status;
}

const struct cli_command cli_command_help = {
    .name = "help",
    .words = "[COMMAND]",
    .summary = "Show how to use tarn or one of its commands",
    .description = "Shows the same text as tarn COMMAND --help.",
    .options = &table,
    .target_bytes = sizeof(struct help_flags),
    .words_min = 0,
    .words_max = 1,
    .run = run,
};
