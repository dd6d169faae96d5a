/* tarn check: is a store's directory sound? */
#include <inttypes.h>
#include <stdio.h>

#include "cli/cli.h"
#include "cli/place.h"
#include "core/bytes.h"
#include "core/escape.h"
#include "store/store.h"

/* Exit statuses besides 0, sound. */
enum { DAMAGED = CLI_FAILED, NOT_CHECKED = CLI_USAGE };

struct check_flags {
    bool json;
};

static const struct option rows[] = {
    {"json", OPTION_BOOL, offsetof(struct check_flags, json), "no", NULL,
     "Print one JSON object instead of lines"},
};
static const struct options table = {rows, sizeof rows / sizeof rows[0]};

struct checking {
    struct cli_call *call;
    bool json;
    struct progress progress;
    struct buffer lines; /* of JSON, the elements of an array */
    struct tarn_check_report report;
};

static void print_line(void *context, const char *line)
{
    struct checking *c = context;
    if (c->json) {
        buffer_append_text(&c->lines, c->lines.size > 0 ? "," : "");
        escape_json_lossy(&c->lines, bytes_of(line));
        return;
    }
    progress_wipe(&c->progress);
    printf("%s\n", line);
}

static void print_verdict(const struct checking *c)
{
    const struct tarn_check_report *r = &c->report;
    printf("sound: %" PRIu64 " files, %" PRIu64 " records in the checkpoint and %" PRIu64
           " in the log, up to sequence %" PRIu64 "%s\n",
           r->files, r->checkpoint_records, r->log_records, r->sequence,
           r->closed_cleanly ? ", closed cleanly" : "");
}

/* error: NULL if it is sound. */
static int print_json(struct checking *c, const struct tarn_error *error)
{
    const struct tarn_check_report *r = &c->report;
    struct buffer out = {0};
    buffer_append_text(&out, "{\"directory\":");
    escape_json_lossy(&out, bytes_of(c->call->words[0]));
    buffer_printf(&out, ",\"sound\":%s", error == NULL ? "true" : "false");
    if (error == NULL)
        buffer_printf(&out,
                      ",\"files\":%" PRIu64 ",\"checkpoint_records\":%" PRIu64
                      ",\"log_records\":%" PRIu64 ",\"torn_bytes\":%" PRIu64
                      ",\"sequence\":%" PRIu64 ",\"closed_cleanly\":%s",
                      r->files, r->checkpoint_records, r->log_records, r->torn_bytes, r->sequence,
                      r->closed_cleanly ? "true" : "false");
    buffer_append_text(&out, ",\"report\":[");
    buffer_append(&out, c->lines.data, c->lines.size);
    buffer_append_byte(&out, ']');
    if (error != NULL) {
        buffer_append_text(&out, ",\"error\":");
        escape_json_lossy(&out, bytes_of(error->text));
        if (error->offset != UINT64_MAX)
            buffer_printf(&out, ",\"offset\":%" PRIu64, error->offset);
    }
    buffer_append_text(&out, "}\n");
    out.failed |= c->lines.failed;
    int exit_status = cli_print(c->call->command, &out);
    buffer_done(&out);
    return exit_status;
}

static int conclude(struct checking *c, int status, struct interrupt *interrupt,
                    const struct tarn_error *error)
{
    if (status == TARN_OK && c->json)
        return print_json(c, NULL);
    if (status == TARN_OK) {
        print_verdict(c);
        return cli_flush(c->call->command->name);
    }
    bool damaged = (status == TARN_CORRUPT || status == TARN_IO) &&
                   place_holds_store(c->call->os, c->call->words[0]);
    if (damaged && c->json)
        return print_json(c, error) == CLI_OK ? DAMAGED : NOT_CHECKED;
    int exit_status = cli_fail(c->call, interrupt, error);
    return damaged || exit_status > CLI_SIGNAL ? exit_status : NOT_CHECKED;
}

static int run(struct cli_call *call)
{
    const struct check_flags *flags = call->target;
    struct checking c = {.call = call, .json = flags->json};
    struct interrupt interrupt;
    struct tarn_error error;
    interrupt_open(&interrupt);
    progress_open(&c.progress, call->os, &interrupt);
    int status = store_check(call->os, call->words[0], print_line, &c, progress_update, &c.progress,
                             &c.report, &error);
    progress_close(&c.progress);
    interrupt_close(&interrupt);
    int exit_status = conclude(&c, status, &interrupt, &error);
    buffer_done(&c.lines);
    return exit_status;
}

const struct cli_command cli_command_check = {
    .name = "check",
    .words = "DIR",
    .summary = "Say whether a store's directory is sound",
    .description =
        "Reads everything in the directory of a store that nobody has open: the manifest, the "
        "checkpoint, the log. Prints a line for each and a verdict. Nothing is changed.\n"
        "\n"
        "Exit status 0: sound, all that was acknowledged is there; a torn end of the log, which "
        "was promised to nobody, is sound and reported. 1: damaged; the first bad place is named, "
        "with its file and byte. 2: it could not be checked, because it is in use, say, or not "
        "there.",
    .examples = "tarn check store\tis it sound?\n"
                "tarn check --json store | jq .sequence\tfor programs\n",
    .options = &table,
    .target_bytes = sizeof(struct check_flags),
    .words_min = 1,
    .words_max = 1,
    .run = run,
};
