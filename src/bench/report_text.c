/* A measurement as text for people; see report.h.
 *
 * How: blocks, each left out if there is nothing to say: what was measured and how, the load phase,
 * totals under the names that the JSON has, latencies as a table, processor time and memory, the
 * sweep of --find-peak, errors by text. Names in a column of NAME_COLUMNS, numbers right-aligned in
 * one of NUMBER_COLUMNS, remarks after it.
 *
 * Invariants
 * 1. No line is longer than 100 columns but for a name or text of the user's or the server's.
 * 2. What is not known is not printed; nothing is printed as 0 because it is unknown.
 * Failure modes: those of the buffer. */
#include <math.h>
#include <stdio.h>

#include "bench/report.h"
#include "core/number.h"

#define NAME_COLUMNS    20
#define NUMBER_COLUMNS  15
#define LATENCY_COLUMNS 11

/* --- numbers --- */

static const char *format_us(uint64_t ns, char out[32])
{
    return number_format_figure((double)ns / 1e3, out);
}

static void append_name(struct buffer *out, const char *name, const char *number)
{
    buffer_printf(out, "%-*s%*s", NAME_COLUMNS, name, NUMBER_COLUMNS, number);
}

/* "name          1,234" and the rest of the line. */
static void append_count(struct buffer *out, const char *name, uint64_t count, const char *remark)
{
    char text[32];
    append_name(out, name, number_format_count(count, text));
    buffer_printf(out, "%s%s\n", *remark ? "   " : "", remark);
}

static void append_bytes(struct buffer *out, const char *name, uint64_t bytes, double seconds)
{
    char text[32];
    append_name(out, name, number_format_size(bytes, text));
    if (seconds > 0)
        buffer_printf(out, "   %s/s",
                      number_format_size((uint64_t)((double)bytes / seconds), text));
    buffer_append_byte(out, '\n');
}

/* --- what was measured --- */

/* An option as it would be written, after "name " if there is one. */
static void append_option(struct buffer *out, const struct settings *s, const char *before,
                          const char *name)
{
    const struct option *row = options_find(&settings_options, bytes_of(name));
    buffer_append_text(out, before);
    options_get(row, s, out);
}

static const char *distribution_name(const struct settings *s)
{
    const struct option *row = options_find(&settings_options, bytes_of("distribution"));
    struct workload_mix mix = workload_mix((enum workload_name)s->workload, s->read_ratio);
    int word = s->distribution ? s->distribution : (int)mix.distribution + 1;
    return row->words[word];
}

static void append_workload(const struct settings *s, const struct figures *f, struct buffer *out)
{
    const char *file = *s->keys_from ? s->keys_from : f->records_from_file ? s->embedded : NULL;
    bool mixed = s->workload == WORKLOAD_MIXED;
    append_option(out, s, "workload ", "workload");
    if (mixed)
        append_option(out, s, ", reads ", "read-ratio");
    buffer_printf(out, ", %s", distribution_name(s));
    const char *name = distribution_name(s);
    if (strcmp(name, "zipfian") == 0 || strcmp(name, "latest") == 0)
        append_option(out, s, " ", "theta");
    if (file) {
        buffer_printf(out, ", records of %s", file);
    } else {
        append_option(out, s, ", records ", "records");
        append_option(out, s, ", key ", "key-size");
        append_option(out, s, ", value ", "value-size");
        buffer_append_text(out, " bytes");
    }
    if (s->missing_ratio > 0)
        append_option(out, s, ", missing ", "missing-ratio");
    buffer_append_byte(out, '\n');
}

static void append_loop(const struct settings *s, const struct figures *f, struct buffer *out)
{
    char text[32];
    if (f->rate > 0) {
        buffer_printf(out, "open loop, %s requests a second", number_format_figure(f->rate, text));
        append_option(out, s, ", ", "arrival");
        buffer_append_text(out, s->poisson ? ", poisson" : "");
    } else {
        buffer_append_text(out, "closed loop");
    }
    if (!*s->embedded) {
        buffer_printf(out, ", %u connection%s", f->connections, f->connections == 1 ? "" : "s");
        append_option(out, s, ", pipeline ", "pipeline");
    }
    append_option(out, s, ", batch ", "batch");
    buffer_printf(out, ", %u thread%s\n", f->threads, f->threads == 1 ? "" : "s");
}

/* The dial of a store in a directory. */
static void append_dial(const struct settings *s, struct buffer *out)
{
    append_option(out, s, "durability ", "durability");
    if (s->durability == TARN_DURABILITY_ASYNC)
        append_option(out, s, ", queue depth ", "queue-depth");
    if (s->durability == TARN_DURABILITY_PERIODIC)
        append_option(out, s, ", every us ", "write-period-us");
    if (s->durability != TARN_DURABILITY_NONE) {
        append_option(out, s, ", log files ", "log-files");
        append_option(out, s, ", format ", "log-format");
    }
    buffer_append_byte(out, '\n');
}

static void append_head(const struct settings *s, const struct figures *f, struct buffer *out)
{
    if (!f->complete)
        buffer_printf(out, "PARTIAL RESULT: %s\n", f->stopped);
    buffer_printf(out, "%s\n", f->target);
    if (f->log.kept)
        append_dial(s, out);
    append_workload(s, f, out);
    if (!s->load_only)
        append_loop(s, f, out);
}

/* --- the load phase --- */

static void append_load(const struct figures *f, struct buffer *out)
{
    char text[32], more[32];
    if (!f->loaded)
        return;
    snprintf(more, sizeof more, "%s", number_format_figure(f->load_seconds, text));
    buffer_printf(out, "\nrecords loaded in %s s", more);
    if (f->load_seconds > 0)
        buffer_printf(out, ", %s a second",
                      number_format_figure((double)f->load_operations / f->load_seconds, text));
    buffer_append_byte(out, '\n');
    append_count(out, "load_ops", f->load_operations, "");
    append_bytes(out, "data", f->data_bytes, 0);
    if (f->load_cpu_s > 0 && f->load_operations > 0) {
        append_name(out, "server CPU",
                    number_format_figure(f->load_cpu_s * 1e6 / (double)f->load_operations, text));
        buffer_append_text(out, "   us a record\n");
    }
    if (f->memory_loaded_bytes > 0) {
        append_name(out, "memory", number_format_size(f->memory_loaded_bytes, more));
        buffer_printf(out, "   %s before", number_format_size(f->memory_before_bytes, more));
        double per_key;
        if (report_memory_per_key(f, &per_key))
            buffer_printf(out, "; %.1f bytes a key beyond key and value", per_key);
        buffer_append_byte(out, '\n');
    }
}

/* --- totals --- */

static void append_average(const struct figures *f, struct buffer *out)
{
    char text[32], low_text[32], high_text[32];
    double low = INFINITY, high = 0;
    append_name(out, "average_ops_per_sec",
                number_format_figure(f->threads ? figures_per_second(f) / f->threads : 0, text));
    buffer_append_text(out, "   per thread");
    for (unsigned i = 0; f->thread_operations && f->seconds > 0 && i < f->threads; i++) {
        double rate = (double)f->thread_operations[i] / f->seconds;
        low = rate < low ? rate : low;
        high = rate > high ? rate : high;
    }
    if (f->threads > 1 && low < INFINITY)
        buffer_printf(out, ", from %s to %s", number_format_figure(low, low_text),
                      number_format_figure(high, high_text));
    buffer_append_byte(out, '\n');
}

static void append_misses(const struct tally *t, struct buffer *out)
{
    char text[32], remark[80] = "";
    uint64_t misses = tally_get(&t->misses), expected = tally_get(&t->misses_expected);
    if (misses > 0 && expected == misses)
        snprintf(remark, sizeof remark, "all of keys chosen to be missing");
    else if (expected > 0)
        snprintf(remark, sizeof remark, "%s of them of keys chosen to be missing",
                 number_format_count(expected, text));
    append_count(out, "misses", misses, remark);
}

static void append_totals(const struct settings *s, const struct figures *f, struct buffer *out)
{
    const struct tally *t = &f->all;
    char text[32];
    buffer_append_byte(out, '\n');
    append_count(out, "total_ops", tally_get(&t->operations), "");
    append_name(out, "total_runtime", number_format_figure(f->seconds, text));
    buffer_append_text(out, "   s\n");
    append_name(out, "total_ops_per_sec", number_format_figure(figures_per_second(f), text));
    buffer_append_byte(out, '\n');
    append_average(f, out);
    if (tally_get(&t->requests) != tally_get(&t->operations))
        append_count(out, "requests", tally_get(&t->requests), "");
    append_count(out, "hits", tally_get(&t->hits), "");
    append_misses(t, out);
    append_count(out, "errors", tally_get(&t->errors), "");
    if (tally_get(&t->lost) > 0)
        append_count(out, "lost", tally_get(&t->lost), "under way when it ended");
    if (tally_get(&t->unsent) > 0)
        append_count(out, "unsent", tally_get(&t->unsent),
                     "were due and never sent: the answers before them took too long");
    if (!*s->embedded) {
        append_bytes(out, "bytes_sent", tally_get(&t->bytes_sent), f->seconds);
        append_bytes(out, "bytes_received", tally_get(&t->bytes_received), f->seconds);
    }
    append_bytes(out, "value_bytes", tally_get(&t->value_bytes), f->seconds);
}

/* --- latencies --- */

static void append_latency_row(struct buffer *out, const char *name, const struct histogram *h)
{
    static const double quantiles[] = {0.5, 0.9, 0.99, 0.999, 0.9999};
    char text[32];
    buffer_printf(out, "%-*s%*s", NAME_COLUMNS, name, LATENCY_COLUMNS,
                  format_us(histogram_min(h), text));
    for (size_t i = 0; i < sizeof quantiles / sizeof quantiles[0]; i++)
        buffer_printf(out, "%*s", LATENCY_COLUMNS,
                      format_us(histogram_quantile(h, quantiles[i]), text));
    buffer_printf(out, "%*s\n", LATENCY_COLUMNS, format_us(histogram_max(h), text));
}

static void append_latency_head(struct buffer *out)
{
    static const char *const names[] = {"min", "p50", "p90", "p99", "p99.9", "p99.99", "max"};
    buffer_printf(out, "\n%-*s", NAME_COLUMNS, "latency, us");
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        buffer_printf(out, "%*s", LATENCY_COLUMNS, names[i]);
    buffer_append_byte(out, '\n');
}

static void append_latency(const struct figures *f, struct buffer *out)
{
    const struct tally *t = &f->all;
    unsigned kinds = 0;
    if (!t->latency_ns || histogram_count(t->latency_ns) == 0)
        return;
    append_latency_head(out);
    append_latency_row(out, "all", t->latency_ns);
    for (int i = 0; i < OPERATION_KINDS; i++)
        kinds += t->kind_ns[i] && histogram_count(t->kind_ns[i]) > 0;
    for (int i = 0; kinds > 1 && i < OPERATION_KINDS; i++)
        if (t->kind_ns[i] && histogram_count(t->kind_ns[i]) > 0)
            append_latency_row(out, operation_name((enum operation_kind)i), t->kind_ns[i]);
    if (f->rate > 0 && t->late_ns && histogram_count(t->late_ns) > 0)
        append_latency_row(out, "sent late by itself", t->late_ns);
}

/* --- processor time, memory, trust --- */

static void append_cpu(struct buffer *out, const char *name, double cpu_s, const struct figures *f)
{
    char text[32];
    uint64_t operations = tally_get(&f->all.operations);
    append_name(out, name,
                number_format_figure(operations ? cpu_s * 1e6 / (double)operations : 0, text));
    buffer_printf(out, "   us an operation, %.2f cores", f->seconds > 0 ? cpu_s / f->seconds : 0);
}

static void append_log(const struct figures *f, struct buffer *out)
{
    const struct figures_log *l = &f->log;
    char text[32], longest[32];
    append_cpu(out, "CPU of the process", f->process_cpu_s, f);
    buffer_append_text(out, ", the log's threads too\n");
    append_bytes(out, "log", l->bytes, f->seconds);
    append_name(out, "syncs", number_format_count(l->syncs, text));
    if (l->syncs > 0)
        buffer_printf(out, "   %s us each, the longest %s",
                      number_format_figure(l->sync_s * 1e6 / (double)l->syncs, text),
                      number_format_figure(l->sync_us_max, longest));
    buffer_append_byte(out, '\n');
    append_name(out, "drain", number_format_figure(l->drain_s, text));
    buffer_append_text(out, "   s after the end, until all was synced\n");
    if (l->checkpoints > 0)
        append_count(out, "checkpoints", l->checkpoints, "");
}

static void append_disk(const struct figures *f, struct buffer *out)
{
    const struct figures_disk *d = &f->disk;
    uint64_t asked = d->hits + d->misses;
    char text[32], p50[32], p99[32];
    append_name(out, "from memory", number_format_count(d->hits, text));
    buffer_printf(out, "   %.2f %% of the keys; %s of cache, ",
                  asked > 0 ? 100.0 * (double)d->hits / (double)asked : 0.0,
                  number_format_size(d->cache_bytes, text));
    buffer_printf(out, "%s of index\n", number_format_size(d->index_bytes, text));
    append_name(out, "reads", number_format_count(d->reads, text));
    buffer_printf(out, "   %.3f a key not in memory, %s us each (p50 %s, p99 %s)\n",
                  d->misses > 0 ? (double)d->reads / (double)d->misses : 0.0,
                  number_format_figure(d->read_us_mean, text),
                  number_format_figure(d->read_us_p50, p50),
                  number_format_figure(d->read_us_p99, p99));
    append_bytes(out, "read", d->read_bytes, f->seconds);
}

static const char *bottleneck_text(enum figures_bottleneck bottleneck)
{
    switch (bottleneck) {
    case BOTTLENECK_NONE:
        return "not the generator";
    case BOTTLENECK_GENERATOR:
        return "THE GENERATOR: its threads were busy all the time, not the server (--threads)";
    case BOTTLENECK_GENERATOR_MAYBE:
        return "PERHAPS THE GENERATOR: its threads were busy all the time (--threads)";
    case BOTTLENECK_SCHEDULE:
        return "THE GENERATOR: it sent requests late by itself (--threads)";
    }
    return "";
}

static void append_processes(const struct settings *s, const struct figures *f, struct buffer *out)
{
    char text[32];
    buffer_append_byte(out, '\n');
    if (f->server.local) {
        append_cpu(out, "server CPU", f->server.cpu_s, f);
        buffer_printf(out, ", %s in memory\n", number_format_size(f->server.memory_bytes, text));
    }
    append_cpu(out, *s->embedded ? "CPU with the store" : "generator CPU", f->generator_cpu_s, f);
    buffer_append_byte(out, '\n');
    if (f->log.kept && s->durability != TARN_DURABILITY_NONE)
        append_log(f, out);
    if (f->disk.on_disk)
        append_disk(f, out);
    if (!*s->embedded || f->bottleneck != BOTTLENECK_NONE)
        buffer_printf(out, "%-*s%s\n", NAME_COLUMNS, "bottleneck", bottleneck_text(f->bottleneck));
}

static void append_checked(const struct settings *s, const struct figures *f, struct buffer *out)
{
    uint64_t wrong = tally_get(&f->all.wrong);
    buffer_printf(out, "%-*s%s\n", NAME_COLUMNS, "values read",
                  s->verify ? "every one was compared byte by byte"
                            : "presence only was checked (--verify compares them)");
    if (wrong > 0) {
        append_count(out, "WRONG VALUES", wrong, "");
        buffer_printf(out, "%-*s%s\n", NAME_COLUMNS, "  the first of key", f->all.first_wrong);
    }
}

static void append_errors(const struct tally *t, struct buffer *out)
{
    char text[32];
    if (t->error_texts_count == 0 && t->error_texts_other == 0)
        return;
    buffer_append_text(out, "\nerrors by text\n");
    for (unsigned i = 0; i < t->error_texts_count; i++)
        buffer_printf(out, "%*s   %s\n", NUMBER_COLUMNS,
                      number_format_count(t->error_texts[i].count, text), t->error_texts[i].text);
    if (t->error_texts_other > 0)
        buffer_printf(out, "%*s   others\n", NUMBER_COLUMNS,
                      number_format_count(t->error_texts_other, text));
}

/* --- the highest rate --- */

static void append_step(struct buffer *out, const struct peak_step *step, const char *remark)
{
    char rate[32], answered[32], goodput[32], p50[32], p999[32];
    buffer_printf(out, "%*s%*s%*s%*s%*s   %s\n", NUMBER_COLUMNS,
                  number_format_figure(step->rate, rate), NUMBER_COLUMNS,
                  number_format_figure(step->answered, answered), NUMBER_COLUMNS,
                  number_format_figure(step->goodput, goodput), NUMBER_COLUMNS - 2,
                  number_format_figure(step->p50_us, p50), NUMBER_COLUMNS - 2,
                  number_format_figure(step->p999_us, p999), remark);
}

static void append_peak(const struct settings *s, const struct peak *p, struct buffer *out)
{
    char text[32];
    buffer_printf(out, "\nrequests a second with p99.9 within %s us\n",
                  number_format_figure(p->target_us, text));
    buffer_printf(out, "%*s%*s%*s%*s%*s\n", NUMBER_COLUMNS, "rate", NUMBER_COLUMNS, "answered",
                  NUMBER_COLUMNS, "within target", NUMBER_COLUMNS - 2, "p50 us", NUMBER_COLUMNS - 2,
                  "p99.9 us");
    for (size_t i = 0; i < p->steps_count; i++)
        append_step(out, &p->steps[i], p->steps[i].held ? "held" : "not held");
    if (p->overloaded) {
        snprintf(text, sizeof text, "overload x %g", p->overload_factor);
        append_step(out, &p->overload, text);
    }
    if (s->find_peak && p->rate > 0) {
        append_name(out, "peak_rate", number_format_figure(p->rate, text));
        buffer_append_text(out, "   the highest that held; its figures follow\n");
    } else if (s->find_peak) {
        append_name(out, "peak_rate", "none");
        buffer_append_text(out, "   no rate held; the figures of the first follow\n");
    }
    if (p->generator_limit > 0) {
        append_name(out, "generator_limit", number_format_figure(p->generator_limit, text));
        buffer_append_text(out, "   from there on the generator itself was too slow\n");
    }
}

void report_title(const struct settings *settings, const struct figures *figures,
                  struct buffer *out)
{
    buffer_append_text(out, figures->target);
    append_option(out, settings, ", workload ", "workload");
    buffer_printf(out, ", %s", distribution_name(settings));
    if (!*settings->embedded) {
        append_option(out, settings, ", connections ", "connections");
        append_option(out, settings, ", pipeline ", "pipeline");
    }
}

void report_text(const struct settings *settings, const struct figures *figures,
                 const struct peak *peak, struct buffer *out)
{
    append_head(settings, figures, out);
    append_load(figures, out);
    if (peak)
        append_peak(settings, peak, out);
    if (!settings->load_only) {
        append_totals(settings, figures, out);
        append_latency(figures, out);
        append_processes(settings, figures, out);
        append_checked(settings, figures, out);
    }
    append_errors(&figures->all, out);
}
