/* The command line: what a subcommand is, and what all of them share.
 *
 * A subcommand is one row: its option table, words, texts and function. --help and the manual page
 * are made from the same row. Results go to stdout, progress and errors to stderr, an error being
 * one line "tarn <command>: ...". One thread. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include "cli/interrupt.h"
#include "cli/progress.h"
#include "core/options.h"
#include "os/os.h"

enum cli_exit {
    CLI_OK = 0,
    CLI_FAILED = 1,
    CLI_USAGE = 2,
    CLI_SIGNAL = 128, /* + the signal's number, as shells do */
};

struct cli_command;

/* One run of a subcommand. */
struct cli_call {
    const struct cli_command *command;
    const struct os *os;
    void *target; /* option values, in the layout of command->options */
    char **words; /* words[0 .. words_count) */
    int words_count;
};

struct cli_command {
    const char *name;
    const char *words;       /* "FILE", "HOST:PORT KEY..." */
    const char *summary;     /* one line, no final stop */
    const char *description; /* paragraphs, separated by empty lines */
    const char *examples;    /* lines: command, tab, what it does; may be NULL */
    const struct options *options;
    const char *const *only; /* NULL-terminated names of the rows it takes; NULL: all */
    /* With `only`: more rows, whose fields lie in the same target; NULL: none. */
    const struct options *more;
    size_t target_bytes;
    int words_min, words_max;
    /* Where the name of a configuration file is among the option values; NULL: takes none. */
    const char *(*config_path)(const void *target);
    int (*run)(struct cli_call *call); /* returns an exit status */
};

/* All subcommands, in the order of --help; NULL-terminated. */
const struct cli_command *const *cli_commands(void);

extern const struct cli_command cli_command_gen, cli_command_index, cli_command_serve,
    cli_command_get, cli_command_bench, cli_command_plan, cli_command_inspect, cli_command_verify,
    cli_command_dump, cli_command_load, cli_command_check, cli_command_repair, cli_command_backup,
    cli_command_help;

/* The rows a subcommand takes. rows: room for CLI_ROWS_MAX. */
#define CLI_ROWS_MAX 96
struct options cli_command_rows(const struct cli_command *command,
                                struct option rows[CLI_ROWS_MAX]);

/* Parse argv (argv[0] is the subcommand's name) and run. Returns an exit status. */
int cli_run(const struct os *os, const struct cli_command *command, int argc, char **argv);

/* "tarn gen: text" on stderr; control bytes are escaped, so that it stays one line. */
void cli_error(const char *command_name, const char *text);
/* The same; returns the exit status of a failure, or of a caught signal if that was the reason. */
int cli_fail(const struct cli_call *call, const struct interrupt *interrupt,
             const struct tarn_error *error);

/* Write text to stdout; an exit status. cli_flush() makes sure that all of stdout was written. */
int cli_print(const struct cli_command *command, struct buffer *text);
int cli_flush(const char *command_name);

/* --help's text of a subcommand, of the program, and the manual page in roff. */
void cli_help_command(const struct cli_command *command, struct buffer *out);
void cli_help_program(struct buffer *out);
void cli_manual(struct buffer *out);

#endif
