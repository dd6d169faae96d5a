/* tarn verify: read everything, check everything. */
#include <stdio.h>

#include "cli/data_flags.h"
#include "core/number.h"
#include "store/store.h"

static void print_report(const struct tarn_options *options, const char *index_path,
                         const struct tarn_verify_report *report)
{
    char a[32], b[32];
    printf("%s: %s, %s blocks with the right checksums\n", options->path,
           number_format_size(report->data_bytes, a), number_format_count(report->blocks, b));
    printf("%s: %s, sound\n", index_path, number_format_size(report->index_bytes, a));
    printf("%s keys found in %s records\n", number_format_count(report->keys, a),
           number_format_count(report->records, b));
}

/* Is it the index that is missing, and not the data file? */
static bool data_exists(const struct os *os, const char *path)
{
    int fd;
    struct os_file_info info;
    if (os_open_data(os, path, &fd, &info, NULL) != TARN_OK)
        return false;
    (void)os->close(os, fd); /* opened to see that it is there */
    return true;
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
    struct tarn_verify_report report;
    struct interrupt interrupt;
    struct progress progress;
    interrupt_open(&interrupt);
    progress_open(&progress, call->os, &interrupt);
    options.progress = progress_update;
    options.progress_context = &progress;
    int status = store_verify(call->os, &options, &report, &error);
    progress_close(&progress);
    interrupt_close(&interrupt);

    int exit_status;
    if (status == TARN_MISSING && data_exists(call->os, options.path))
        error_set(&error, TARN_MISSING,
                  "%s: there is no index to hold it against; run tarn index "
                  "first",
                  options.path);
    if (status == TARN_OK) {
        print_report(&options, (const char *)index_path.data, &report);
        exit_status = cli_flush(call->command->name);
    } else {
        exit_status = cli_fail(call, &interrupt, &error);
    }
    buffer_done(&index_path);
    return exit_status;
}

static const char *const rows[] = {"format", "size-type", "big-endian", "separator",
                                   "index",  "threads",   NULL};

const struct cli_command cli_command_verify = {
    .name = "verify",
    .words = "FILE",
    .summary = "Check a data file and its index",
    .description = "Reads the whole data file and its index, checks every checksum, and looks up "
                   "every record's key in the index. The first thing that is wrong is reported "
                   "with its place in the file, and the exit status is 1.",
    .examples = "tarn verify sample.txt\tsample.txt and sample.txt.tarnidx\n",
    .options = &config_options,
    .only = rows,
    .target_bytes = sizeof(struct config),
    .words_min = 1,
    .words_max = 1,
    .run = run,
};
