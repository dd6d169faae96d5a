/* tarn load: the records of a dump into a store or a server. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/load.h"
#include "cli/place.h"
#include "cli/server_flags.h"
#include "core/number.h"

struct load_flags {
    struct dump_flags format;
    char *over;
    struct server_flags server;
};

static const struct option rows[] = {
    DUMP_FLAGS_ROWS(offsetof(struct load_flags, format), "How the records are written"),
    PLACE_OVER_ROW(offsetof(struct load_flags, over)),
    SERVER_FLAGS_ROWS(offsetof(struct load_flags, server), "10"),
};
static const struct options table = {rows, sizeof rows / sizeof rows[0]};

/* One load under way. */
struct loading {
    struct cli_call *call;
    const struct load_flags *flags;
    struct dump_format format;
    struct place place;
    struct load_input input;
    struct progress progress;
    struct load_report report;
};

/* Of a pipe nobody knows how much is to come. */
static bool update(void *context, const char *phase, uint64_t done, uint64_t total)
{
    struct loading *l = context;
    if (total == 0)
        return !l->progress.interrupt || interrupt_poll(l->progress.interrupt) == 0;
    return progress_update(&l->progress, phase, done, total);
}

static int load_opened(struct loading *l, const struct load_source *source,
                       struct tarn_error *error)
{
    struct tarn *store;
    int status = place_open(l->call->os, &l->place, progress_update, &l->progress, &store, error);
    if (status != TARN_OK)
        return status;
    status = load_store(store, source, &l->report, error);
    tarn_close(store);
    return status;
}

static int load_asked(struct loading *l, const struct load_source *source, struct tarn_error *error)
{
    struct stream *stream;
    int status =
        server_flags_connect(l->call->os, &l->flags->server, &l->place.address, &stream, error);
    if (status != TARN_OK)
        return status;
    status = load_server(stream, source, &l->report, error);
    server_flags_disconnect(stream);
    return status;
}

/* What is to be found in the target after a failure, as part of its error. */
static void tell_stored(const struct loading *l, struct tarn_error *error)
{
    char count[32];
    struct tarn_error failure = *error;
    if (l->place.kind != PLACE_SERVER)
        error_set(error, failure.status, "%s; nothing was stored", failure.text);
    else
        error_set(error, failure.status, "%s; %s record%s before it %s stored", failure.text,
                  number_format_count(l->report.records, count), l->report.records == 1 ? "" : "s",
                  l->report.records == 1 ? "is" : "are");
}

static void report(const struct loading *l, uint64_t elapsed_ns)
{
    char count[32], rate[32];
    double seconds = (double)elapsed_ns / 1e9;
    printf("%s: %s record%s in %.2f s (%s/s)\n", l->call->words[0],
           number_format_count(l->report.records, count), l->report.records == 1 ? "" : "s",
           seconds,
           number_format_count(
               (uint64_t)((double)l->report.records / (seconds > 0 ? seconds : 1e-9)), rate));
}

static int run_load(struct loading *l)
{
    struct interrupt interrupt;
    struct tarn_error error;
    struct load_source source = {&l->input, update, l};
    uint64_t start = l->call->os->monotonic_ns(l->call->os);
    bool from_file = !l->input.is_stdin;
    if (from_file) /* who waits for a pipe can be stopped at any time */
        interrupt_open(&interrupt);
    progress_open(&l->progress, l->call->os, from_file ? &interrupt : NULL);
    int status = l->place.kind == PLACE_SERVER ? load_asked(l, &source, &error)
                                               : load_opened(l, &source, &error);
    progress_close(&l->progress);
    if (from_file)
        interrupt_close(&interrupt);
    if (status != TARN_OK) {
        if (l->input.place.record > 0)
            tell_stored(l, &error);
        return cli_fail(l->call, from_file ? &interrupt : NULL, &error);
    }
    report(l, l->call->os->monotonic_ns(l->call->os) - start);
    return cli_flush(l->call->command->name);
}

static int usage(const struct cli_call *call, const char *text)
{
    cli_error(call->command->name, text);
    return CLI_USAGE;
}

static int run(struct cli_call *call)
{
    struct loading l = {.call = call, .flags = call->target};
    struct tarn_error error;
    const char *path = call->words_count > 1 ? call->words[1] : "-";
    if (dump_format_from_flags(&l.flags->format, &l.format, &error) != TARN_OK ||
        place_parse(call->os, call->words[0], l.flags->over, &l.place, &error) != TARN_OK)
        return usage(call, error.text);
    if (l.place.kind == PLACE_FILE)
        return usage(call, "a data file is immutable; name a directory or HOST:PORT");
    if (call->words_count == 1 && isatty(STDIN_FILENO))
        return usage(call, "name a file to load, or - for what is typed here");
    if (load_input_open(&l.input, call->os, path, &l.format, &error) != TARN_OK)
        return cli_fail(call, NULL, &error);
    int exit_status = run_load(&l);
    load_input_close(&l.input);
    return exit_status;
}

const struct cli_command cli_command_load = {
    .name = "load",
    .words = "DIR|HOST:PORT [FILE|-]",
    .summary = "Store the records of a dump",
    .description =
        "Stores every record of FILE, or of standard input, in the format that tarn dump writes: "
        "into the store of a directory that no server has open (made if it is not there), or into "
        "a server, over RESP. Keys that exist get the new value and expiry; other keys stay.\n"
        "\n"
        "Into a directory all records are loaded or none. Into a server they are stored one by "
        "one; the first that is malformed, or that the server refuses, ends it: the error names "
        "its line or byte, and the records before it are stored. A record whose expiry has passed "
        "deletes its key.",
    .examples = "tarn load localhost:6379 all.json\tinto a server\n"
                "tarn load ./store --format cbor all.cbor\tinto a directory\n"
                "tarn dump a:6379 | tarn load b:6379\tfrom server to server\n",
    .options = &table,
    .target_bytes = sizeof(struct load_flags),
    .words_min = 1,
    .words_max = 2,
    .run = run,
};
