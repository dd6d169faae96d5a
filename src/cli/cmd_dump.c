/* tarn dump: everything in a store or a server, as a file that other programs read. */
#include <stdio.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/dump.h"
#include "cli/dump_format.h"
#include "cli/output.h"
#include "cli/place.h"
#include "cli/server_flags.h"
#include "core/bytes.h"
#include "core/number.h"

#define WRITE_BYTES (256u << 10)
#define KEY_SHOWN   100

struct dump_call_flags {
    struct dump_flags format;
    struct server_flags server;
    char *output, *over;
    bool force, skip;
};

static const struct option rows[] = {
    DUMP_FLAGS_ROWS(offsetof(struct dump_call_flags, format), "How records are written"),
    {"output", OPTION_TEXT, offsetof(struct dump_call_flags, output), "-", "FILE",
     "Write to FILE instead of standard output"},
    {"force", OPTION_BOOL, offsetof(struct dump_call_flags, force), "no", NULL,
     "Replace FILE if there is one"},
    {"skip", OPTION_BOOL, offsetof(struct dump_call_flags, skip), "no", NULL,
     "Leave out and count the records that the format cannot hold"},
    PLACE_OVER_ROW(offsetof(struct dump_call_flags, over)),
    SERVER_FLAGS_ROWS(offsetof(struct dump_call_flags, server), "10"),
};
static const struct options table = {rows, sizeof rows / sizeof rows[0]};

/* One dump under way. */
struct dumping {
    struct cli_call *call;
    const struct dump_call_flags *flags;
    struct dump_format format;
    struct place place;
    struct output output;
    struct buffer text; /* records not written yet */
    struct progress progress;
    uint64_t records, skipped;
};

static int flush(struct dumping *d, struct tarn_error *error)
{
    int status = output_append(&d->output, d->text.data, d->text.size, error);
    buffer_clear(&d->text);
    buffer_trim(&d->text, 4 * WRITE_BYTES);
    return status;
}

/* A record that cannot be written: the end, or one more that is left out. */
static int refuse(void *context, struct tarn_bytes key, const char *why, struct tarn_error *error)
{
    struct dumping *d = context;
    if (d->flags->skip) {
        d->skipped++;
        return TARN_OK;
    }
    struct buffer shown = {0};
    buffer_append_escaped(
        &shown, (struct tarn_bytes){key.data, key.size < KEY_SHOWN ? key.size : KEY_SHOWN});
    error_set(error, TARN_INVALID,
              "record \"%.*s%s\": %s; use another --format, or --skip to leave such records out",
              (int)shown.size, shown.data ? (const char *)shown.data : "",
              key.size > KEY_SHOWN ? "..." : "", why);
    buffer_done(&shown);
    return TARN_INVALID;
}

static int write_record(void *context, const struct tarn_record *record, struct tarn_error *error)
{
    struct dumping *d = context;
    const char *why;
    int status = dump_encode(&d->format, record, &d->text, &why);
    if (status == TARN_INVALID)
        return refuse(d, record->key, why, error);
    if (status != TARN_OK)
        return error_set(error, TARN_NOMEM, "out of memory");
    d->records++;
    return d->text.size >= WRITE_BYTES ? flush(d, error) : TARN_OK;
}

static int dump_opened(struct dumping *d, const struct dump_target *target,
                       struct tarn_error *error)
{
    struct tarn *store;
    int status = place_open(d->call->os, &d->place, target->progress, target->progress_context,
                            &store, error);
    if (status != TARN_OK)
        return status;
    status = dump_store(store, target, error);
    tarn_close(store);
    return status;
}

static int dump_asked(struct dumping *d, const struct dump_target *target, struct tarn_error *error)
{
    struct stream *stream;
    int status =
        server_flags_connect(d->call->os, &d->flags->server, &d->place.address, &stream, error);
    if (status != TARN_OK)
        return status;
    status = dump_server(stream, target, error);
    server_flags_disconnect(stream);
    return status;
}

static int dump(struct dumping *d, struct tarn_error *error)
{
    struct dump_target target = {
        .sink = write_record,
        .context = d,
        .progress = progress_update,
        .progress_context = &d->progress,
        .refused = refuse,
    };
    int status = d->place.kind == PLACE_SERVER ? dump_asked(d, &target, error)
                                               : dump_opened(d, &target, error);
    if (status == TARN_OK && d->text.size > 0)
        status = flush(d, error);
    return status;
}

static void report(const struct dumping *d)
{
    char count[32], size[32];
    if (!d->output.is_stdout)
        printf("%s: %s record%s, %s\n", d->flags->output, number_format_count(d->records, count),
               d->records == 1 ? "" : "s", number_format_size(d->output.bytes, size));
    if (d->skipped == 0)
        return;
    struct tarn_error text;
    error_set(&text, TARN_OK, "%s record%s left out, which %s cannot hold",
              number_format_count(d->skipped, count), d->skipped == 1 ? " was" : "s were",
              dump_kind_words[d->format.kind]);
    cli_error(d->call->command->name, text.text);
}

/* Dump, with progress on a terminal; to a file whole or not at all. Who writes into a pipe can be
 * stopped at any time: there signals keep their usual effect. */
static int run_dump(struct dumping *d)
{
    struct interrupt interrupt;
    struct tarn_error error;
    bool to_file = !d->output.is_stdout;
    if (to_file)
        interrupt_open(&interrupt);
    progress_open(&d->progress, d->call->os, to_file ? &interrupt : NULL);
    if (!to_file && isatty(STDOUT_FILENO))
        d->progress.fd = -1; /* the records are drawn there */
    int status = dump(d, &error);
    progress_close(&d->progress);
    if (status == TARN_OK)
        status = output_commit(&d->output, &error);
    output_abort(&d->output);
    if (to_file)
        interrupt_close(&interrupt);
    if (status != TARN_OK)
        return cli_fail(d->call, to_file ? &interrupt : NULL, &error);
    report(d);
    return cli_flush(d->call->command->name);
}

static int run(struct cli_call *call)
{
    struct dumping d = {.call = call, .flags = call->target};
    struct tarn_error error;
    if (dump_format_from_flags(&d.flags->format, &d.format, &error) != TARN_OK ||
        place_parse(call->os, call->words[0], d.flags->over, &d.place, &error) != TARN_OK) {
        cli_error(call->command->name, error.text);
        return CLI_USAGE;
    }
    if (place_need_store(&d.place, &error) != TARN_OK ||
        output_open(&d.output, call->os, d.flags->output, !d.flags->force, &error) != TARN_OK)
        return cli_fail(call, NULL, &error);
    int exit_status = run_dump(&d);
    buffer_done(&d.text);
    return exit_status;
}

const struct cli_command cli_command_dump = {
    .name = "dump",
    .words = "DIR|FILE|HOST:PORT",
    .summary = "Write all records as JSON, CBOR, text or binary",
    .description =
        "Writes every record of a store to standard output, or to a file: of a directory that no "
        "server has open, of a data file, or of a server, which is asked over RESP. tarn load "
        "reads it back as it was, byte for byte. Of a directory that holds changes to a data file "
        "all is written, what is unchanged in the file, too.\n"
        "\n"
        "json: an object a line, {\"key\":\"k\",\"value\":\"v\",\"expire_ms\":1893456000000}; "
        "expire_ms, in milliseconds since 1970, is there if the key expires; keys and values that "
        "are not UTF-8 are key_base64 and value_base64. cbor: a sequence of maps with the same "
        "names, keys and values being byte strings. text and binary: data files that tarn serve "
        "takes; neither can hold an expiry, text no newline either: such a record ends the dump "
        "with its name, or is left out and counted with --skip.\n"
        "\n"
        "A file appears whole or not at all, and an existing one is replaced with --force only. "
        "What changes in a server meanwhile may be in the dump as it was or as it is; tarn backup "
        "makes a copy of one moment.",
    .examples = "tarn dump localhost:6379 > all.json\tall records of a server\n"
                "tarn dump store --format cbor --output all.cbor\tof a directory\n"
                "tarn dump changes --over sample.txt\ta data file as it was changed\n"
                "tarn dump sample.txt | jq -r .key\tthe keys of a data file\n"
                "tarn dump localhost:6379 --format binary --skip --output all.bin\ta data file\n",
    .options = &table,
    .target_bytes = sizeof(struct dump_call_flags),
    .words_min = 1,
    .words_max = 1,
    .run = run,
};
