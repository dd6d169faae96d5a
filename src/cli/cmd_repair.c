/* tarn repair: what is sound of a damaged directory, into a new one. */
#include <inttypes.h>
#include <stdio.h>

#include "cli/cli.h"
#include "cli/place.h"
#include "store/store.h"

struct repair_flags {
    char *into, *over;
    bool accept_loss;
};

static const struct option rows[] = {
    {"into", OPTION_TEXT, offsetof(struct repair_flags, into), "", "NEWDIR",
     "The new directory, which must not exist or be empty"},
    PLACE_OVER_ROW(offsetof(struct repair_flags, over)),
    {"accept-loss", OPTION_BOOL, offsetof(struct repair_flags, accept_loss), "no", NULL,
     "Do it, knowing that what is damaged is lost"},
};
static const struct options table = {rows, sizeof rows / sizeof rows[0]};

static void print_line(void *context, const char *line)
{
    progress_wipe(context);
    printf("%s\n", line);
}

static int usage(const struct cli_call *call, const char *text)
{
    cli_error(call->command->name, text);
    return CLI_USAGE;
}

/* Nothing is done: say what is the matter with it. */
static int explain(struct cli_call *call, struct progress *progress, struct interrupt *interrupt)
{
    struct tarn_check_report report;
    struct tarn_error error;
    int status = store_check(call->os, call->words[0], print_line, progress, progress_update,
                             progress, &report, &error);
    progress_wipe(progress);
    if (status == TARN_OK) {
        printf("sound: there is nothing to repair\n");
        return cli_flush(call->command->name);
    }
    if (status != TARN_CORRUPT)
        return cli_fail(call, interrupt, &error);
    printf("%s\n", error.text);
    fflush(stdout);
    return usage(call, "what is damaged will be lost: changes there, and keys may come back with "
                       "an older value or after their deletion; everything sound is kept, and this "
                       "directory stays as it is; say --accept-loss to go on");
}

static int repair(struct cli_call *call, struct progress *progress, struct interrupt *interrupt)
{
    const struct repair_flags *flags = call->target;
    const struct tarn_line_context lines = {print_line, progress, progress_update, progress};
    struct tarn_repair_report r;
    struct tarn_error error;
    const char *over = *flags->over ? flags->over : NULL;
    int status = store_repair(call->os, call->words[0], over, flags->into, &lines, &r, &error);
    progress_wipe(progress);
    if (status != TARN_OK)
        return cli_fail(call, interrupt, &error);
    printf("%s: %" PRIu64 " records of the checkpoint and %" PRIu64 " of the log, %" PRIu64
           " damaged places left out, %" PRIu64 " bytes cut\n",
           flags->into, r.records, r.log_records, r.damaged_places, r.truncated_bytes);
    return cli_flush(call->command->name);
}

static int run(struct cli_call *call)
{
    const struct repair_flags *flags = call->target;
    struct interrupt interrupt;
    struct progress progress;
    if (flags->accept_loss && !*flags->into)
        return usage(call, "--into NEWDIR is missing: the new directory");
    interrupt_open(&interrupt);
    progress_open(&progress, call->os, &interrupt);
    int exit_status = flags->accept_loss ? repair(call, &progress, &interrupt)
                                         : explain(call, &progress, &interrupt);
    progress_close(&progress);
    interrupt_close(&interrupt);
    return exit_status;
}

const struct cli_command cli_command_repair = {
    .name = "repair",
    .words = "DIR",
    .summary = "Salvage a damaged directory into a new one",
    .description =
        "Reads a directory that tarn check calls damaged, or that has lost files, and writes "
        "everything sound in it to a new directory, which tarn serve --dir then opens. The old one "
        "is not changed.\n"
        "\n"
        "What is damaged is lost, and because the order of changes has gaps then, a key may have "
        "an older value, or be there although it was deleted. Therefore nothing is done without "
        "--accept-loss: what is the matter is printed instead. If there is a backup, take that.",
    .examples = "tarn repair store\tsay what is damaged\n"
                "tarn repair store --into store.new --accept-loss\tsalvage it\n",
    .options = &table,
    .target_bytes = sizeof(struct repair_flags),
    .words_min = 1,
    .words_max = 1,
    .run = run,
};
