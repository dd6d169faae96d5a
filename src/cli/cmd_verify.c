/* tarn verify: read everything, check everything. */
#include <stdio.h>

#include "cli/data_flags.h"
#include "core/number.h"
#include "store/store.h"

static void print_report(const struct tarn_options *options, const char *index_path,
                         const void *result)
{
    const struct tarn_verify_report *report = result;
    char a[32], b[32];
    printf("%s: %s, %s blocks with the right checksums\n", options->path,
           number_format_size(report->data_bytes, a), number_format_count(report->blocks, b));
    if (report->index_bytes > 0)
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

static int work(const struct os *os, const struct tarn_options *options, void *report,
                struct tarn_error *error)
{
    int status = store_verify(os, options, report, error);
    if (status == TARN_MISSING && data_exists(os, options->path))
        error_set(error, TARN_MISSING,
                  "%s: there is no index to hold it against; run tarn index first", options->path);
    return status;
}

static int run(struct cli_call *call)
{
    struct tarn_verify_report report;
    return data_flags_run(call, &(struct data_work){work, print_report}, &report);
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
