/* tarn plan: what ways of laying out a data set would cost, and which one tarn index chooses. */
#include <stddef.h>
#include <stdio.h>

#include "cli/cli.h"
#include "cli/plan_look.h"
#include "cli/plan_measure.h"
#include "cli/plan_report.h"
#include "core/bytes.h"
#include "os/ring.h"

#define DEPTH_MEASURED 64 /* as tarn serve has it */

struct plan_flags {
    uint64_t data_size, records, memory, cores, queries, read_depth;
    double theta, missing_ratio;
    char *disk, *measure;
    int format;
};

static const char *const format_words[] = {"text", "json", NULL};

#define ROW(type, field) type, offsetof(struct plan_flags, field)
static const struct option rows[] = {
    {"data-size", ROW(OPTION_SIZE, data_size), "0", "SIZE",
     "Size of the data, if there is no FILE"},
    {"records", ROW(OPTION_COUNT, records), "0", "N",
     "Number of records; with FILE: instead of looking", .max = 1ull << 56},
    {"memory", ROW(OPTION_SIZE, memory), "0", "SIZE",
     "Memory for everything while serving; 0: three quarters of this machine's"},
    {"cores", ROW(OPTION_UINT, cores), "0", "N", "Processors; 0: this machine's", .max = 4096},
    {"disk", ROW(OPTION_TEXT, disk), "", "DISK",
     "hdd, ssd, auto (FILE's device is measured for some seconds) or a profile like "
     "rate=200M,depth=32,4K=12ms/130 (doc/plan.md); default: auto with FILE, else hdd"},
    {"measure", ROW(OPTION_TEXT, measure), "", "PATH",
     "With --disk auto: measure by reading this file, at least 16 MiB, instead of FILE"},
    {"read-depth", ROW(OPTION_UINT, read_depth), "0", "N",
     "Reads under way together; 0: what DISK says, and 64 with auto", .max = RING_DEPTH_MAX},
    {"queries", ROW(OPTION_COUNT, queries), "100M", "N", "Queries to come", .min = 1,
     .max = 1ull << 60},
    {"theta", ROW(OPTION_REAL, theta), "0.99", "X",
     "How unevenly keys are asked for, as in zipf; 0: evenly", .real_max = 10},
    {"missing-ratio", ROW(OPTION_REAL, missing_ratio), "0.01", "R",
     "Share of queries whose key is not there", .real_max = 1},
    {"format", ROW(OPTION_WORD, format), "text", "FORMAT", "How to print", .words = format_words},
};
static const struct options table = {rows, sizeof rows / sizeof rows[0]};

/* --- what is asked --- */

static int take_data(struct cli_call *call, struct plan_report *report, struct tarn_error *error)
{
    const struct plan_flags *flags = call->target;
    struct plan_input *input = &report->input;
    input->data_bytes = flags->data_size;
    input->records = flags->records;
    if (!report->file) {
        if (flags->data_size == 0 || flags->records == 0)
            return error_set(error, TARN_INVALID,
                             "what is to be planned for? Give FILE, or --data-size and --records");
        return TARN_OK;
    }
    struct plan_look look;
    int status = plan_look(call->os, report->file, &look, error);
    if (status != TARN_OK)
        return status;
    input->data_bytes = look.data_bytes;
    report->estimated = flags->records == 0 && look.estimated;
    if (flags->records == 0)
        input->records = look.records;
    return TARN_OK;
}

static int measure_disk(struct cli_call *call, struct plan_report *report, struct tarn_error *error)
{
    const struct plan_flags *flags = call->target;
    const char *path = *flags->measure ? flags->measure : report->file;
    if (!path)
        return error_set(error, TARN_INVALID,
                         "--disk auto reads a file to measure its device: give FILE, or a large "
                         "file on that device by --measure");
    unsigned depth = flags->read_depth ? (unsigned)flags->read_depth : DEPTH_MEASURED;
    struct interrupt interrupt;
    struct progress progress;
    interrupt_open(&interrupt);
    progress_open(&progress, call->os, &interrupt);
    int status =
        plan_measure(call->os, path, depth, progress_update, &progress, &report->input.disk, error);
    progress_close(&progress);
    interrupt_close(&interrupt);
    return status;
}

static int take_disk(struct cli_call *call, struct plan_report *report, struct tarn_error *error)
{
    const struct plan_flags *flags = call->target;
    report->disk_name = *flags->disk ? flags->disk : report->file ? "auto" : "hdd";
    if (strcmp(report->disk_name, "auto") == 0)
        return measure_disk(call, report, error);
    int status = plan_disk_parse(bytes_of(report->disk_name), &report->input.disk, error);
    if (status == TARN_OK && flags->read_depth)
        report->input.disk.depth = (unsigned)flags->read_depth;
    if (strchr(report->disk_name, '='))
        report->disk_name = "profile";
    return status;
}

static int take_flags(struct cli_call *call, struct plan_report *report, struct tarn_error *error)
{
    const struct plan_flags *flags = call->target;
    if (report->file && flags->data_size != 0)
        return error_set(error, TARN_INVALID, "--data-size is FILE's own if there is one");
    report->input = (struct plan_input){
        .memory_bytes = flags->memory ? flags->memory : os_memory_total() / 4 * 3,
        .cores = flags->cores ? (unsigned)flags->cores : os_core_count(),
        .queries = flags->queries,
        .theta = flags->theta,
        .missing_ratio = flags->missing_ratio};
    int status = take_data(call, report, error);
    return status == TARN_OK ? take_disk(call, report, error) : status;
}

/* --- the answer --- */

static int print(struct cli_call *call, const struct plan_report *report)
{
    const struct plan_flags *flags = call->target;
    struct buffer out = {0};
    (flags->format == 1 ? plan_report_json : plan_report_text)(report, &out);
    int exit_status = cli_print(call->command, &out);
    buffer_done(&out);
    return exit_status;
}

static int fail(struct cli_call *call, const struct tarn_error *error)
{
    cli_error(call->command->name, error->text);
    return error->status == TARN_INVALID ? CLI_USAGE : CLI_FAILED;
}

static int run(struct cli_call *call)
{
    struct plan_report report = {.file = call->words_count > 0 ? call->words[0] : NULL};
    struct tarn_error error;
    if (take_flags(call, &report, &error) != TARN_OK)
        return fail(call, &error);
    int status = plan_choose(&report.input, &report.chosen, &error);
    if (status != TARN_OK && status != TARN_FULL)
        return fail(call, &error);
    report.chosen_any = status == TARN_OK;
    int exit_status = print(call, &report);
    if (exit_status == CLI_OK && status != TARN_OK)
        return fail(call, &error);
    return exit_status;
}

const struct cli_command cli_command_plan = {
    .name = "plan",
    .words = "[FILE]",
    .summary = "Compare ways of laying out a data set on a machine",
    .description =
        "For a data set larger than memory: compares index layouts by the memory they take, the "
        "time to build them, disk reads and time per query, and the time of everything, building "
        "included; says which one tarn index would choose, and why. Nothing is built or changed.\n"
        "\n"
        "With FILE, its size is known, its records are counted (of a large file those of the first "
        "64 MiB), and its device is measured unless --disk describes it. The arithmetic is in "
        "doc/plan.md.",
    .examples = "tarn plan --memory 4G data.bin\ta file on this machine\n"
                "tarn plan --data-size 1T --records 1e9 --memory 4G --cores 8 --disk hdd\ta data "
                "set that is not there yet\n",
    .options = &table,
    .target_bytes = sizeof(struct plan_flags),
    .words_min = 0,
    .words_max = 1,
    .run = run,
};
