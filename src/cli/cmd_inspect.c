/* tarn inspect: what is in a data file, and what is the state of its index.
 *
 * The data file is read record by record with bounded memory; the index is only opened and checked
 * against the file's size and time (tarn verify reads everything). */
#include <stdio.h>

#include "cli/data_flags.h"
#include "core/histogram.h"
#include "core/number.h"
#include "pack/checkpoint.h"
#include "pack/disk.h"
#include "pack/index.h"
#include "pack/reader.h"

#define RECORDS_PER_UPDATE 4096

struct findings {
    struct histogram *key_sizes, *value_sizes;
    uint64_t records, data_bytes, key_bytes, value_bytes;
    struct tarn_format format;
    struct checkpoint_totals totals; /* of a `tarn` file */
};

static int read_records(struct reader *reader, const char *path, struct findings *f,
                        struct progress *progress, struct tarn_error *error)
{
    struct record record;
    int status;
    while ((status = reader_next(reader, &record, error)) == TARN_OK) {
        histogram_record(f->key_sizes, record.key.size, 1);
        histogram_record(f->value_sizes, record.value.size, 1);
        f->key_bytes += record.key.size;
        f->value_bytes += record.value.size;
        if (++f->records % RECORDS_PER_UPDATE == 0 &&
            !progress_update(progress, "reading", reader_offset(reader), f->data_bytes))
            return error_set(error, TARN_CANCELLED, "%s: cancelled", path);
    }
    return status == TARN_NOTFOUND ? TARN_OK : status;
}

static int read_data_file(const struct os *os, const struct tarn_options *options,
                          struct findings *f, struct progress *progress, struct tarn_error *error)
{
    struct reader *reader;
    int status = reader_open(os, options->path, &options->format, &reader, error);
    if (status != TARN_OK)
        return status;
    f->format = *reader_format(reader);
    f->data_bytes = reader_data_bytes(reader);
    status = read_records(reader, options->path, f, progress, error);
    reader_close(reader);
    return status;
}

static int count_records(void *context, const struct tarn_record *records, size_t count)
{
    struct findings *f = context;
    for (size_t i = 0; i < count; i++) {
        histogram_record(f->key_sizes, records[i].key.size, 1);
        histogram_record(f->value_sizes, records[i].value.size, 1);
        f->key_bytes += records[i].key.size;
        f->value_bytes += records[i].value.size;
    }
    f->records += count;
    return TARN_OK;
}

static int read_tarn_file(const struct os *os, const struct tarn_options *options,
                          struct findings *f, struct progress *progress, struct tarn_error *error)
{
    struct checkpoint_about about;
    int status = checkpoint_read(os, options->path, 0, count_records, f, progress_update, progress,
                                 &about, &f->totals, NULL, error);
    f->format.kind = TARN_FORMAT_TARN;
    f->data_bytes = f->totals.bytes;
    return status;
}

static int read_data(const struct os *os, const struct tarn_options *options, struct findings *f,
                     struct progress *progress, struct tarn_error *error)
{
    struct os_file_info info;
    int fd, status = os_open_data(os, options->path, &fd, &info, error);
    if (status != TARN_OK)
        return status;
    bool hashed;
    status = disk_is_hashed(os, options, fd, &hashed, error);
    (void)os->close(os, fd); /* only looked at */
    if (status != TARN_OK)
        return status;
    f->key_sizes = histogram_new();
    f->value_sizes = histogram_new();
    if (!f->key_sizes || !f->value_sizes)
        return error_set(error, TARN_NOMEM, "out of memory");
    return (hashed ? read_tarn_file : read_data_file)(os, options, f, progress, error);
}

static void print_sizes(const char *name, const struct histogram *h, uint64_t total)
{
    char text[32];
    printf("%-8s%11s%11llu%11llu%11llu%11llu%11llu%11.1f\n", name, number_format_size(total, text),
           (unsigned long long)histogram_min(h), (unsigned long long)histogram_quantile(h, 0.5),
           (unsigned long long)histogram_quantile(h, 0.9),
           (unsigned long long)histogram_quantile(h, 0.99), (unsigned long long)histogram_max(h),
           histogram_mean(h));
}

static void print_data(const struct tarn_options *options, const struct findings *f)
{
    char described[64], text[32];
    printf("file      %s, %s\n", options->path, number_format_size(f->data_bytes, text));
    printf("format    %s (%s)\n", format_describe(&f->format, described),
           options->format.kind == TARN_FORMAT_AUTO ? "detected" : "as given");
    printf("records   %s\n", number_format_count(f->records, text));
}

/* Read the index twice: as it is, then held against the data file. */
static int print_index(const struct os *os, const struct tarn_options *options, const char *path,
                       const struct tarn_format *format, struct tarn_error *error)
{
    static const char *const policies[] = {"last", "first", "error"};
    struct index *index = NULL, *fresh = NULL;
    struct os_file_info data;
    int fd, status = os_open_data(os, options->path, &fd, &data, error);
    if (status != TARN_OK)
        return status;
    (void)os->close(os, fd); /* opened for its description only */
    status = index_read_any(os, path, &index, error);
    if (status == TARN_MISSING) {
        printf("index     none; tarn index or tarn serve builds %s\n", path);
        return TARN_OK;
    }
    if (status != TARN_OK) {
        printf("index     unusable: %s\n", error->text);
        return TARN_OK;
    }
    char a[32];
    uint64_t keys = index_keys(index), bytes = index_bytes(index);
    status = index_read(os, path, &data, format, index->duplicates_policy, &fresh, error);
    printf("index     %s, %s", path, number_format_size(bytes, a));
    if (keys > 0)
        printf(", %.2f bytes per key", (double)bytes / (double)keys);
    if (index->granule_log2 > 0) {
        printf("\nlayout    %s, granules of %llu bytes",
               index->layout == INDEX_PAGES ? "pages" : "blocks", 1ull << index->granule_log2);
        if (index->layout == INDEX_BLOCKS)
            printf(", fingerprints of %u bits", index->fingerprint_bits);
        printf("\nmemory    %s while served from disk",
               number_format_size(index_memory_bytes(index), a));
    }
    printf("\nstate     %s\n", status == TARN_OK ? "fresh" : error->text);
    printf("keys      %s\n", number_format_count(keys, a));
    printf("repeated  %s records, the %s of a key counts\n",
           number_format_count(index->duplicates, a), policies[index->duplicates_policy]);
    index_free(fresh);
    index_free(index);
    return TARN_OK;
}

/* What a `tarn` file has instead of an index. */
static void print_directory(const struct findings *f)
{
    char a[32], b[32];
    printf("blocks    %s, sound\n", number_format_count(f->totals.blocks, a));
    printf("memory    %s for one read a key while served from disk, %s for two\n",
           number_format_size(disk_directory_bytes(f->totals.blocks, true), a),
           number_format_size(disk_directory_bytes(f->totals.blocks, false), b));
    if (f->totals.expiring > 0)
        printf("expiring  %s\n", number_format_count(f->totals.expiring, a));
}

static int inspect(struct cli_call *call, const struct tarn_options *options, struct findings *f,
                   struct interrupt *interrupt, struct tarn_error *error)
{
    struct progress progress;
    struct buffer index_path = {0};
    progress_open(&progress, call->os, interrupt);
    int status = read_data(call->os, options, f, &progress, error);
    progress_close(&progress);
    if (status != TARN_OK)
        return status;
    print_data(options, f);
    if (f->format.kind == TARN_FORMAT_TARN)
        print_directory(f);
    else if (data_flags_index_path(options, &index_path))
        status = print_index(call->os, options, (const char *)index_path.data, &f->format, error);
    else
        status = error_set(error, TARN_NOMEM, "out of memory");
    buffer_done(&index_path);
    if (status != TARN_OK)
        return status;
    printf("\n%-8s%11s%11s%11s%11s%11s%11s%11s\n", "bytes", "total", "min", "p50", "p90", "p99",
           "max", "mean");
    print_sizes("keys", f->key_sizes, f->key_bytes);
    print_sizes("values", f->value_sizes, f->value_bytes);
    return TARN_OK;
}

static int run(struct cli_call *call)
{
    struct tarn_options options;
    struct tarn_error error;
    struct findings findings = {0};
    struct interrupt interrupt;
    if (data_flags_options(call, &options, &error) != TARN_OK) {
        cli_error(call->command->name, error.text);
        return CLI_USAGE;
    }
    interrupt_open(&interrupt);
    int status = inspect(call, &options, &findings, &interrupt, &error);
    interrupt_close(&interrupt);
    histogram_free(findings.key_sizes);
    histogram_free(findings.value_sizes);
    if (status != TARN_OK)
        return cli_fail(call, &interrupt, &error);
    return cli_flush(call->command->name);
}

static const char *const rows[] = {"format", "size-type", "big-endian", "separator", "index", NULL};

const struct cli_command cli_command_inspect = {
    .name = "inspect",
    .words = "FILE",
    .summary = "Show what is in a data file and its index",
    .description =
        "Reads FILE and shows its format (and whether it was detected), the number of records, and "
        "how the sizes of keys and values are distributed (to 0.1 %); of the index, whether there "
        "is one that belongs to this version of the file, how many keys it has, how many records "
        "repeat a key, and its size per key.",
    .examples = "tarn inspect sample.txt\ta text or binary file, detected\n",
    .options = &config_options,
    .only = rows,
    .target_bytes = sizeof(struct config),
    .words_min = 1,
    .words_max = 1,
    .run = run,
};
