/* tarn index: build the index of a data file. */
#include <stddef.h>
#include <stdio.h>

#include "cli/data_flags.h"
#include "core/number.h"
#include "pack/external.h"
#include "pack/format.h"
#include "pack/rewrite.h"
#include "store/store.h"

/* What config_options does not have; the rows of both lie in here. */
struct index_flags {
    struct config config;
    char *granule, *fingerprint_bits, *temp_directory;
    char *output;
    int layout; /* 0: auto, else enum index_layout + 1 */
    bool restart, rewrite;
};

/* What is asked for, and what came of it. */
struct index_run {
    struct external_settings settings;
    bool external; /* an index of blocks is asked for, whatever the size */
    bool rewrites;
    struct rewrite_settings rewrite;
    struct tarn_index_report report;
};

static const char *const layout_words[] = {"auto", "blocks", "pages", NULL};

#define ROW(type, field) type, offsetof(struct index_flags, field)
static const struct option more_rows[] = {
    {"granule", ROW(OPTION_TEXT, granule), "auto", "SIZE",
     "For data that stay on disk: what one read of the index's answer brings, a power of two from "
     "512 to 16M; auto: what is least time in all by the model of tarn plan"},
    {"fingerprint-bits", ROW(OPTION_TEXT, fingerprint_bits), "auto", "N",
     "For data that stay on disk: bits a key, 0 to 16, of which each halves the reads for keys "
     "that "
     "are not there; auto: likewise"},
    {"layout", ROW(OPTION_WORD, layout), "auto", "LAYOUT",
     "For data that stay on disk: index in memory, or in pages on disk; auto: likewise",
     .words = layout_words},
    {"temp-dir", ROW(OPTION_TEXT, temp_directory), "", "DIR",
     "For data that stay on disk: where some 16 bytes a record are kept meanwhile; default: beside "
     "the index"},
    {"restart", ROW(OPTION_BOOL, restart), NULL, NULL,
     "Begin anew where a build was stopped, instead of going on"},
    {"rewrite", ROW(OPTION_BOOL, rewrite), NULL, NULL,
     "Write no index, but a copy of the data in the order of hashes, a tarn file, which needs "
     "none"},
    {"output", ROW(OPTION_TEXT, output), "", "FILE",
     "With --rewrite: the copy; default: the data file's name with .tarn"},
};
static const struct options more = {more_rows, sizeof more_rows / sizeof *more_rows};

static double per_second(uint64_t count, uint64_t us)
{
    return (double)count * 1e6 / (double)(us > 0 ? us : 1);
}

/* What a rewriting says besides the counts. */
static void print_rewritten(const struct tarn_options *options, const struct index_run *run)
{
    const struct tarn_index_report *report = &run->report;
    char size[32];
    if (run->rewrite.output != NULL)
        printf("%s", run->rewrite.output);
    else
        printf("%s%s", options->path, REWRITE_SUFFIX);
    printf(
        ": %s, in the order of hashes\nwritten in %.2f s (%s/s): dividing %.2f s, writing %.2f s\n",
        number_format_size(report->index_bytes, size), (double)report->total_us / 1e6,
        number_format_size((uint64_t)per_second(report->data_bytes, report->total_us),
                           (char[32]){0}),
        (double)report->read_us / 1e6, (double)report->solve_us / 1e6);
}

static void print_report(const struct tarn_options *options, const char *index_path,
                         const void *result)
{
    const struct index_run *run = result;
    const struct tarn_index_report *report = &run->report;
    char described[64], a[32], b[32];
    printf("%s: %s, %s\n", options->path, format_describe(&report->format, described),
           number_format_size(report->data_bytes, a));
    printf("%s keys in %s records, ", number_format_count(report->keys, a),
           number_format_count(report->records, b));
    printf("%s duplicates\n", number_format_count(report->duplicates, a));
    if (run->rewrites) {
        print_rewritten(options, run);
        return;
    }
    printf("%s: %s", index_path, number_format_size(report->index_bytes, a));
    if (report->keys > 0)
        printf(", %.2f bytes per key", (double)report->index_bytes / (double)report->keys);
    if (report->granule_bytes > 0)
        printf(", granules of %llu bytes, fingerprints of %u bits%s",
               (unsigned long long)report->granule_bytes, report->fingerprint_bits,
               report->pages > 0 ? ", in pages" : "");
    printf("\nbuilt in %.2f s (%s keys/s): reading %.2f s, solving %.2f s\n",
           (double)report->total_us / 1e6,
           number_format_count((uint64_t)per_second(report->keys, report->total_us), a),
           (double)report->read_us / 1e6, (double)report->solve_us / 1e6);
}

static void print_notice(void *context, const char *text)
{
    (void)context;
    cli_error("index", text);
}

static int work(const struct os *os, const struct tarn_options *given, void *result,
                struct tarn_error *error)
{
    struct index_run *run = result;
    struct tarn_options options = *given;
    options.notice = print_notice;
    run->rewrite.memory_bytes = options.memory_bytes_max;
    if (run->rewrites)
        return rewrite_run(os, &options, &run->rewrite, &run->report, error);
    run->settings.memory_bytes = options.memory_bytes_max;
    if (!run->external)
        return store_index_build(os, &options, &run->report, error);
    return external_build(os, &options, &run->settings, &run->report, error);
}

/* "auto", or a number within bounds: a size whose log2 counts, or the number itself. */
static bool parse_auto(const char *text, bool size, uint64_t least, uint64_t most, int *ret_value)
{
    uint64_t value;
    *ret_value = EXTERNAL_AUTO;
    if (strcmp(text, "auto") == 0)
        return true;
    if (!(size ? number_parse_size(bytes_of(text), &value)
               : number_parse_uint(bytes_of(text), &value)) ||
        value < least || value > most || (size && (value & (value - 1)) != 0))
        return false;
    *ret_value = size ? __builtin_ctzll(value) : (int)value;
    return true;
}

/* Flags into settings. INVALID. */
static int take_flags(const struct index_flags *flags, struct index_run *run,
                      struct tarn_error *error)
{
    struct external_settings *s = &run->settings;
    s->layout = flags->layout ? flags->layout - 1 : EXTERNAL_AUTO;
    s->temp_directory = flags->temp_directory[0] ? flags->temp_directory : NULL;
    s->restart = flags->restart;
    if (!parse_auto(flags->granule, true, 1ull << INDEX_GRANULE_LOG2_MIN,
                    1ull << INDEX_GRANULE_LOG2_MAX, &s->granule_log2))
        return error_set(error, TARN_INVALID,
                         "--granule: \"%.40s\" is neither auto nor a power of two from 512 to 16M",
                         flags->granule);
    if (!parse_auto(flags->fingerprint_bits, false, 0, INDEX_FINGERPRINT_MAX, &s->fingerprint_bits))
        return error_set(error, TARN_INVALID,
                         "--fingerprint-bits: \"%.40s\" is neither auto nor a number from 0 to %d",
                         flags->fingerprint_bits, INDEX_FINGERPRINT_MAX);
    if (s->layout == INDEX_PAGES && s->fingerprint_bits > 0)
        return error_set(error, TARN_INVALID, "--fingerprint-bits: pages have none");
    run->rewrites = flags->rewrite;
    run->rewrite = (struct rewrite_settings){
        .output = flags->output[0] ? flags->output : NULL,
        .temp_directory = s->temp_directory,
        .restart = s->restart,
    };
    if (!flags->rewrite && flags->output[0])
        return error_set(error, TARN_INVALID, "--output is for --rewrite; an index: --index");
    run->external = s->layout >= 0 || s->granule_log2 >= 0 || s->fingerprint_bits >= 0 ||
                    s->temp_directory != NULL;
    return TARN_OK;
}

static int run(struct cli_call *call)
{
    struct index_run index_run = {.external = false};
    struct tarn_error error;
    if (take_flags(call->target, &index_run, &error) != TARN_OK) {
        cli_error(call->command->name, error.text);
        return CLI_USAGE;
    }
    return data_flags_run(call, &(struct data_work){work, print_report}, &index_run);
}

static const char *const rows[] = {"format", "size-type", "big-endian", "separator", "on-duplicate",
                                   "index",  "threads",   "memory",     NULL};

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
        "repeated keys is printed.\n"
        "\n"
        "With --memory less than the data, or with one of the flags that say so, the index is for "
        "data that stay on disk, and is built within that memory: FILE is read once, what is found "
        "is put aside in a file of some 16 bytes a record. Such a build may be stopped at any "
        "time; "
        "the same command goes on.\n"
        "\n"
        "With --rewrite no index is built: the data are copied into a tarn file, FILE.tarn or "
        "--output, in the order of their keys' hashes. That reads and writes everything twice, and "
        "needs the data's size once more meanwhile; such a file is served from disk with one read "
        "a "
        "key and next to no memory. It may be stopped, too.",
    .examples = "tarn index sample.txt\ta text or binary file, detected\n"
                "tarn index --separator , table.csv\tthe key ends at the first comma\n"
                "tarn index --memory 4G large.bin\tto be served from disk with 4 GB of memory\n"
                "tarn index --rewrite --memory 4G large.bin\tcopied in the order of hashes\n",
    .options = &config_options,
    .only = rows,
    .more = &more,
    .target_bytes = sizeof(struct index_flags),
    .words_min = 1,
    .words_max = 1,
    .run = run,
};
