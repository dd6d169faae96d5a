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
                         const void *result)
{
    const struct tarn_index_report *report = result;
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

static int work(const struct os *os, const struct tarn_options *options, void *report,
                struct tarn_error *error)
{
    return store_index_build(os, options, report, error);
}

static int run(struct cli_call *call)
{
    struct tarn_index_report report;
    return data_flags_run(call, &(struct data_work){work, print_report}, &report);
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
