/* tarn index: build the index of a data file. */
#include <stdio.h>

#include "cli/data_flags.h"
#include "core/number.h"
#include "pack/format.h"
#include "store/store.h"

static double per_second(uint64_t count, uint64_t us)
{
    return (double)count * 1e6 / (double)(us > 0 ? us : 1);
}

static void print_report(const struct tarn_options *options, const char *index_path,
                         const struct tarn_index_report *report)
{
    char described[64], a[32], b[32];
    printf("%s: %s, %s\n", options->path, format_describe(&report->format, described),
           number_format_size(report->data_bytes, a));
    printf("%s keys in %s records, ", number_format_count(report->keys, a),
           number_format_count(report->records, b));
    printf("%s duplicates\n", number_format_count(report->duplicates, a));
    printf("%s: %s", index_path, number_format_size(report->index_bytes, a));
    if (report->keys > 0)
        printf(", %.2f bytes per key", (double)report->index_bytes / (double)report->keys);
    printf("\nbuilt in %.2f s (%s keys/s): reading %.2f s, solving %.2f s\n",
           (double)report->total_us / 1e6,
           number_format_count((uint64_t)per_second(report->keys, report->total_us), a),
           (double)report->read_us / 1e6, (double)report->solve_us / 1e6);
}

static int run(struct cli_call *call)
{
    struct tarn_options options;
    struct tarn_error error;
    struct buffer index_path = {0};
    if (data_flags_options(call, &options, &error) != TARN_OK) {
        cli_error(call->command->name, error.text);
        return CLI_USAGE;
    }
    if (!data_flags_index_path(&options, &index_path)) {
        cli_error(call->command->name, "out of memory");
        return CLI_FAILED;
    }
    struct tarn_index_report report;
    struct interrupt interrupt;
    struct progress progress;
    interrupt_open(&interrupt);
    progress_open(&progress, call->os, &interrupt);
    options.progress = progress_update;
    options.progress_context = &progress;
    int status = store_index_build(call->os, &options, &report, &error);
    progress_close(&progress);
    interrupt_close(&interrupt);

    int exit_status;
    if (status == TARN_OK) {
        print_report(&options, (const char *)index_path.data, &report);
        exit_status = cli_flush(call->command->name);
    } else {
        exit_status = cli_fail(call, &interrupt, &error);
    }
    buffer_done(&index_path);
    return exit_status;
}

static const char *const rows[] = {"format",       "size-type", "big-endian", "separator",
                                   "on-duplicate", "index",     "threads",    NULL};

const struct cli_command cli_command_index = {
    .name = "index",
    .words = "FILE",
    .summary = "Build the index of a data file",
    .description =
        "Reads FILE once and writes FILE.tarnidx beside it, with which tarn serve starts at once. "
        "The index appears whole or not at all. It belongs to this version of the file: when the "
        "file changes, tarn serve builds it anew.\n"
        "\n"
        "Where a key is repeated, its last record counts, or as --on-duplicate says; the number of "
        "repeated keys is printed.",
    .examples = "tarn index sample.txt\ta text or binary file, detected\n"
                "tarn index --separator , table.csv\tthe key ends at the first comma\n",
    .options = &config_options,
    .only = rows,
    .target_bytes = sizeof(struct config),
    .words_min = 1,
    .words_max = 1,
    .run = run,
};
