/* tarn bench: the load generator, and two of its results side by side.
 *
 * How: everything that can be judged without asking a server is judged first, files included; then
 * the run; then the report on standard output, the files, and a line on standard error for each
 * thing that went wrong.
 *
 * Invariants
 * 1. What was measured is printed and written however the run ended; a run that ended early is
 *    marked as such everywhere.
 * 2. The exit status is 0 only if all was answered, nothing refused and no value wrong. */
#include "cli/bench.h"

#include <stdio.h>

#include "bench/diff.h"
#include "bench/report.h"
#include "cli/bench_files.h"
#include "cli/bench_live.h"
#include "cli/password.h"
#include "core/number.h"

#define MISSES_TOLD  0.01 /* of the reads: more of them unasked for are worth a hint */
#define ERRORS_SHOWN 3

struct bench {
    struct cli_call *call;
    struct settings *settings;
    const struct embedded_store *const *stores;
    struct interrupt interrupt;
    struct progress progress;
    int64_t started_realtime_us;
    bool measured, with_peak; /* are there figures, is there a peak? */
    struct figures figures;
    struct peak peak;
};

static int usage(const struct cli_call *call, const char *text)
{
    cli_error(call->command->name, text);
    return CLI_USAGE;
}

/* --- before the run --- */

static int take_password_file(const struct cli_call *call, struct settings *settings,
                              struct tarn_error *error)
{
    char password[PASSWORD_BYTES_MAX + 1];
    if (!*settings->password_file)
        return TARN_OK;
    int status = password_read(call->os, settings->password_file, password, error);
    if (status == TARN_OK)
        status = options_set(options_find(&settings_options, bytes_of("password")), settings,
                             bytes_of(password), error);
    explicit_bzero(password, sizeof password);
    return status;
}

/* --- the run --- */

static int measure_opened(struct bench *b, struct run *run, struct tarn_error *error)
{
    const struct settings *s = b->settings;
    b->measured = true;
    if (s->load_only) {
        run_loaded(run, &b->figures);
        return TARN_OK;
    }
    if (s->find_peak || s->overload > 0) {
        b->with_peak = true;
        return peak_find(run, s, bench_live_step, &b->progress, &b->peak, &b->figures, error);
    }
    struct run_load load = {.rate = s->rate,
                            .duration_ns = s->duration_ns,
                            .warmup_ns = s->warmup_ns,
                            .requests = s->requests};
    return run_measure(run, &load, &b->figures, error);
}

static int measure(struct bench *b, struct tarn_error *error)
{
    struct run *run;
    struct run_hooks hooks = bench_live_hooks(&b->progress);
    b->started_realtime_us = b->call->os->realtime_us(b->call->os);
    int status = run_open(b->call->os, b->settings, b->stores, &hooks, &run, error);
    if (status != TARN_OK)
        return status;
    status = measure_opened(b, run, error);
    if (status != TARN_OK) { /* also where the figures are those of an earlier, whole step */
        b->figures.complete = false;
        snprintf(b->figures.stopped, sizeof b->figures.stopped, "%s", error->text);
    }
    run_close(run);
    return status;
}

/* --- after the run --- */

static void append_refusals(const struct tally *t, struct buffer *out)
{
    char text[32];
    for (unsigned i = 0; i < t->error_texts_count && i < ERRORS_SHOWN; i++)
        buffer_printf(out, "%s%s (%s)", i == 0 ? ": " : ", ", t->error_texts[i].text,
                      number_format_count(t->error_texts[i].count, text));
    if (t->error_texts_count > ERRORS_SHOWN || t->error_texts_other > 0)
        buffer_append_text(out, ", and others");
}

/* Say it on standard error; false, for there is something to say. */
static bool complain(const struct bench *b, struct buffer *text)
{
    buffer_append_byte(text, 0);
    cli_error(b->call->command->name, text->failed ? "out of memory" : (const char *)text->data);
    buffer_clear(text);
    return false;
}

/* Were all operations answered well? Tells what was not. */
static bool judge(const struct bench *b)
{
    const struct tally *t = &b->figures.all;
    uint64_t errors = tally_get(&t->errors), wrong = tally_get(&t->wrong);
    uint64_t misses = tally_get(&t->misses) - tally_get(&t->misses_expected);
    uint64_t reads = tally_get(&t->hits) + tally_get(&t->misses);
    char count[32], total[32];
    struct buffer text = {0};
    bool good = true;
    if (errors > 0) {
        buffer_printf(&text, "the %s refused %s of %s operations",
                      *b->settings->embedded ? "store" : "server",
                      number_format_count(errors, count),
                      number_format_count(errors + tally_get(&t->operations), total));
        append_refusals(t, &text);
        good = complain(b, &text);
    }
    if (wrong > 0) {
        buffer_printf(&text, "%s value%s wrong, %s of key %s", number_format_count(wrong, count),
                      wrong == 1 ? " was" : "s were", wrong == 1 ? "that" : "the first",
                      t->first_wrong);
        good = complain(b, &text);
    }
    if ((double)misses > MISSES_TOLD * (double)reads) {
        buffer_printf(&text,
                      "%.1f %% of the reads found nothing: are the records loaded? --load writes "
                      "them first",
                      (double)misses * 100 / (double)reads);
        (void)complain(b, &text); /* a hint: it may be what was wanted */
    }
    buffer_done(&text);
    return good;
}

static int print_report(const struct bench *b)
{
    struct buffer text = {0};
    report_text(b->settings, &b->figures, b->with_peak ? &b->peak : NULL, &text);
    int exit_status = cli_print(b->call->command, &text);
    buffer_done(&text);
    return exit_status;
}

/* Print and write what there is; an exit status. */
static int report(struct bench *b, struct bench_files *files)
{
    struct tarn_error error;
    int exit_status = print_report(b);
    if (bench_files_write(files, &b->figures, b->with_peak ? &b->peak : NULL,
                          b->started_realtime_us, &error) != TARN_OK)
        exit_status = cli_fail(b->call, NULL, &error);
    if (!judge(b))
        exit_status = CLI_FAILED;
    return exit_status;
}

static int run_bench(struct bench *b)
{
    struct bench_files files;
    struct tarn_error error;
    int exit_status = CLI_OK;
    if (bench_files_open(&files, b->call->os, b->settings, &error) != TARN_OK)
        return cli_fail(b->call, NULL, &error);
    interrupt_open(&b->interrupt);
    progress_open(&b->progress, b->call->os, &b->interrupt);
    int status = measure(b, &error);
    progress_close(&b->progress);
    interrupt_close(&b->interrupt);
    if (b->measured)
        exit_status = report(b, &files);
    bench_files_close(&files);
    if (status != TARN_OK)
        exit_status = cli_fail(b->call, &b->interrupt, &error);
    figures_done(&b->figures);
    peak_done(&b->peak);
    return exit_status;
}

/* --- diff --- */

static int run_diff(struct cli_call *call)
{
    struct tarn_error error;
    struct buffer text = {0};
    if (strcmp(call->words[0], "diff") != 0) {
        error_set(&error, TARN_INVALID,
                  "%.100s: unknown; what is measured is an option, see --help", call->words[0]);
        return usage(call, error.text);
    }
    if (call->words_count != 3)
        return usage(call, "diff compares two files; usage: tarn bench diff A.json B.json");
    for (size_t i = 0; i < settings_options.count; i++) {
        const struct option *row = &settings_options.rows[i];
        if (!options_is_default(row, call->target)) {
            error_set(&error, TARN_INVALID, "--%s does not go with diff", row->name);
            return usage(call, error.text);
        }
    }
    int status = diff_files(call->os, call->words[1], call->words[2], &text, &error);
    int exit_status =
        status == TARN_OK ? cli_print(call->command, &text) : cli_fail(call, NULL, &error);
    buffer_done(&text);
    return exit_status;
}

int cmd_bench_run(struct cli_call *call, const struct embedded_store *const *stores)
{
    struct settings *settings = call->target;
    struct bench bench = {.call = call, .settings = settings, .stores = stores};
    struct tarn_error error;
    if (call->words_count > 0)
        return run_diff(call);
    if (settings_check(settings, &error) != TARN_OK)
        return usage(call, error.text);
    if (take_password_file(call, settings, &error) != TARN_OK)
        return cli_fail(call, NULL, &error);
    if (run_check(call->os, settings, stores, &error) != TARN_OK)
        return usage(call, error.text);
    return run_bench(&bench);
}

static int run(struct cli_call *call)
{
    return cmd_bench_run(call, NULL);
}

const struct cli_command cli_command_bench = {
    .name = "bench",
    .words = "[diff A.json B.json]",
    .summary = "Measure a server or a store",
    .description =
        "Sends requests to a server, or to tarn in this process, and tells how many were answered "
        "a second, how long they took, and what they cost in processor time and memory. What is "
        "measured is named by one of --connect, --http, --memcached and --embedded.\n"
        "\n"
        "Without --rate each connection waits for its answers before it sends more (a closed "
        "loop), so that a server that stalls is asked less and looks better than it is. With "
        "--rate requests are due by a schedule, and their latency counts from when they were due.\n"
        "\n"
        "Records are made up, or those of a data file; --load writes them first. With --verify "
        "every value read is compared with what was written.\n"
        "\n"
        "Times are written like 500ms, 10s or 2m, a plain number being seconds; counts like 50000, "
        "10k or 1.5M.\n"
        "\n"
        "tarn bench diff A.json B.json shows two results of --json side by side.\n"
        "\n"
        "The exit status is 1 if the run ended early, if operations were refused or if values "
        "were wrong; what was measured until then is printed all the same.",
    .examples = "tarn bench --connect localhost:6379 --load --verify\t"
                "a million records, then reads over 50 connections for 10 s\n"
                "tarn bench --connect localhost:6379 --workload b --pipeline 16 --json b.json\t"
                "YCSB workload B, with 16 requests under way on each connection\n"
                "tarn bench --connect localhost:6379 --rate 50k --poisson --plot a.svg\t"
                "50,000 requests a second, however fast the answers come\n"
                "tarn bench --connect localhost:6379 --find-peak --overload 1.5 --target 2ms\t"
                "the highest rate with a p99.9 of at most 2 ms, and what happens above it\n"
                "tarn bench --http http://localhost:8379 --keys-from data.txt --requests 1M\t"
                "the keys of a data file, over HTTP\n"
                "tarn bench --embedded data.txt --threads 2 --batch 100\t"
                "the library alone, without a network\n"
                "tarn bench diff before.json after.json\twhat has changed\n",
    .options = &settings_options,
    .target_bytes = sizeof(struct settings),
    .words_min = 0,
    .words_max = 3,
    .run = run,
};
