/* tarn gen: write a sample data set. */
#include <stddef.h>
#include <stdio.h>

#include "cli/cli.h"
#include "cli/gen.h"
#include "cli/output.h"
#include "core/bytes.h"
#include "core/number.h"

struct gen_flags {
    uint64_t count, seed;
    int format, size_type;
    bool big_endian;
    struct option_range value_size;
};

static const char *const format_words[] = {"text", "binary", NULL};
static const char *const size_type_words[] = {"u32", "u16", "u64", "varint", NULL};

static const struct option rows[] = {
    {"count", OPTION_UINT, offsetof(struct gen_flags, count), "1000000", "N", "Number of records",
     .max = GEN_COUNT_MAX},
    {"format", OPTION_WORD, offsetof(struct gen_flags, format), "text", "FORMAT", "Data format",
     .words = format_words},
    {"size-type", OPTION_WORD, offsetof(struct gen_flags, size_type), "u32", "TYPE",
     "Type of the sizes in binary", .words = size_type_words},
    {"big-endian", OPTION_BOOL, offsetof(struct gen_flags, big_endian), "no", NULL,
     "Sizes in binary are big-endian"},
    {"value-size", OPTION_RANGE, offsetof(struct gen_flags, value_size), "8-62", "N|A-B",
     "Bytes of a value, each size from A to B being equally likely", .max = TARN_VALUE_BYTES_MAX},
    {"seed", OPTION_UINT, offsetof(struct gen_flags, seed), "1", "S",
     "The same seed gives the same bytes on any machine"},
};
static const struct options table = {rows, sizeof rows / sizeof rows[0]};

static int write_file(struct cli_call *call, struct output *output,
                      const struct gen_options *options, struct interrupt *interrupt,
                      struct tarn_error *error)
{
    struct progress progress;
    progress_open(&progress, call->os, interrupt);
    int status = gen_run(options, output_append, output, progress_update, &progress, error);
    progress_close(&progress);
    if (status == TARN_OK)
        return output_commit(output, error);
    output_abort(output);
    return status;
}

static void report(const char *path, const struct gen_options *options, uint64_t bytes,
                   uint64_t elapsed_ns)
{
    char count[32], size[32], rate[32];
    double seconds = (double)elapsed_ns / 1e9;
    printf("%s: %s records, %s in %.2f s (%s/s)\n", path,
           number_format_count(options->count, count), number_format_size(bytes, size), seconds,
           number_format_size((uint64_t)((double)bytes / (seconds > 0 ? seconds : 1e-9)), rate));
}

static int check_flags(const struct gen_flags *flags, struct tarn_error *error)
{
    bool binary = flags->format == 1;
    if (!binary && (flags->size_type != TARN_SIZE_U32 || flags->big_endian))
        return error_set(error, TARN_INVALID, "--size-type and --big-endian need --format binary");
    if (flags->size_type == TARN_SIZE_VARINT && flags->big_endian)
        return error_set(error, TARN_INVALID, "--size-type varint has no byte order");
    if (flags->size_type == TARN_SIZE_U16 && flags->value_size.high > UINT16_MAX)
        return error_set(
            error, TARN_INVALID,
            "--value-size: values over 65535 bytes need a larger --size-type than u16");
    return TARN_OK;
}

static int run(struct cli_call *call)
{
    const struct gen_flags *flags = call->target;
    const char *path = call->words[0];
    struct tarn_error error;
    if (check_flags(flags, &error) != TARN_OK) {
        cli_error(call->command->name, error.text);
        return CLI_USAGE;
    }
    struct gen_options options = {
        .count = flags->count,
        .seed = flags->seed,
        .value_low = flags->value_size.low,
        .value_high = flags->value_size.high,
        .format = {.kind = flags->format == 1 ? TARN_FORMAT_BINARY : TARN_FORMAT_TEXT,
                   .size_type = (enum tarn_size_type)flags->size_type,
                   .big_endian = flags->big_endian}};
    struct output output;
    if (output_open(&output, call->os, path, false, &error) != TARN_OK)
        return cli_fail(call, NULL, &error);
    if (output.is_stdout) {
        if (gen_run(&options, output_append, &output, NULL, NULL, &error) != TARN_OK)
            return cli_fail(call, NULL, &error);
        return CLI_OK;
    }
    struct interrupt interrupt;
    uint64_t start = call->os->monotonic_ns(call->os);
    interrupt_open(&interrupt);
    int status = write_file(call, &output, &options, &interrupt, &error);
    interrupt_close(&interrupt);
    if (status != TARN_OK)
        return cli_fail(call, &interrupt, &error);
    report(path, &options, output.bytes, call->os->monotonic_ns(call->os) - start);
    return cli_flush(call->command->name);
}

const struct cli_command cli_command_gen = {
    .name = "gen",
    .words = "FILE",
    .summary = "Write a sample data set",
    .description =
        "Writes a data set of distinct random UUID keys and printable values to FILE, or to "
        "standard output if FILE is -. The same options give the same bytes on any machine. By "
        "default the sizes of values lie between 8 and 62 bytes with a median of 35.\n"
        "\n"
        "The file appears whole or not at all; a regular file of that name is replaced. On a "
        "terminal a progress bar is shown.",
    .examples = "tarn gen sample.txt\tone million records, 73 MB\n"
                "tarn gen --count 10 -\tten records on standard output\n"
                "tarn gen --format binary --value-size 64 sample.bin\tvalues of 64 bytes\n",
    .options = &table,
    .target_bytes = sizeof(struct gen_flags),
    .words_min = 1,
    .words_max = 1,
    .run = run,
};
