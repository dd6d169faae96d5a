/* INFO, /metrics and /stats: one table of metrics in three shapes.
 *
 * How: a sample of all figures is taken, then the rows of metrics_table.c are written; what comes
 * in lists (commands, errors, key spaces) follows by hand.
 * Invariants: 1. INFO's lines end in CR LF, sections are separated by an empty line, as in Redis;
 * 2. in Prometheus's text a name's HELP and TYPE come once, before its samples, and a histogram's
 * buckets never decrease; 3. /stats is one JSON object.
 * Failure modes: only `out`'s own (memory, bound). */
#include "server/metrics.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "core/escape.h"
#include "core/number.h"
#include "server/metrics_table.h"

/* --- one figure as text --- */

/* As Redis writes a number of bytes for people: 918.91K. */
static void append_bytes(struct buffer *out, uint64_t bytes)
{
    static const char units[] = "BKMGTP";
    double value = (double)bytes;
    int unit = 0;

    while (value >= 1024 && unit < 5) {
        value /= 1024;
        unit++;
    }
    if (unit == 0)
        buffer_printf(out, "%" PRIu64 "B", bytes);
    else
        buffer_printf(out, "%.2f%c", value, units[unit]);
}

static const void *figure(const struct metrics_row *row, const struct metrics_sample *sample)
{
    return (const char *)sample + row->offset;
}

static const char *row_text(const struct metrics_row *row, const struct metrics_sample *sample)
{
    if (row->kind == KIND_FIXED)
        return row->fixed;
    if (row->kind == KIND_ARRAY)
        return figure(row, sample);
    return *(const char *const *)figure(row, sample);
}

static void append_info_value(struct buffer *out, const struct metrics_row *row,
                              const struct metrics_sample *sample)
{
    switch (row->kind) {
    case KIND_UINT:
        buffer_append_uint(out, *(const uint64_t *)figure(row, sample));
        break;
    case KIND_INT:
        buffer_append_int(out, *(const int64_t *)figure(row, sample));
        break;
    case KIND_DOUBLE:
        buffer_printf(out, "%.6f", *(const double *)figure(row, sample));
        break;
    case KIND_RATIO:
        buffer_printf(out, "%.2f", *(const double *)figure(row, sample));
        break;
    case KIND_PERCENT:
        buffer_printf(out, "%.2f%%", *(const double *)figure(row, sample));
        break;
    case KIND_BYTES:
        append_bytes(out, *(const uint64_t *)figure(row, sample));
        break;
    case KIND_TEXT:
    case KIND_ARRAY:
    case KIND_FIXED:
        /* A path may hold anything; a line is a line. */
        for (const char *p = row_text(row, sample); *p != 0; p++)
            buffer_append_byte(out, *p == '\r' || *p == '\n' ? '?' : (unsigned char)*p);
    }
}

/* --- commands and errors --- */

struct command_figures {
    const char *name;
    struct command_counters counters;
    struct histogram *latency; /* ns; owned by the visitor's caller */
};

/* Visit the commands that were called or refused. with_latency: fill `latency` too. */
static void visit_commands(struct server *server, bool with_latency, struct buffer *out,
                           void (*visit)(struct buffer *out, const struct command_figures *c))
{
    struct histogram *latency = with_latency ? histogram_new() : NULL;

    if (with_latency && latency == NULL) {
        out->failed = true;
        return;
    }
    for (unsigned id = 0; id < command_count(); id++) {
        struct command_figures c = {.name = command_full_name(id), .latency = latency};
        server_command_counters_get(server, id, &c.counters);
        if (c.counters.calls + c.counters.rejected + c.counters.failed == 0)
            continue;
        if (with_latency) {
            histogram_reset(latency);
            server_command_latency_get(server, id, latency);
        }
        visit(out, &c);
    }
    histogram_free(latency);
}

static double us_per_call(const struct command_counters *c)
{
    return c->calls > 0 ? (double)c->us_total / (double)c->calls : 0;
}

static void info_command(struct buffer *out, const struct command_figures *c)
{
    buffer_printf(out,
                  "cmdstat_%s:calls=%" PRIu64 ",usec=%" PRIu64
                  ",usec_per_call=%.2f,rejected_calls=%" PRIu64 ",failed_calls=%" PRIu64 "\r\n",
                  c->name, c->counters.calls, c->counters.us_total, us_per_call(&c->counters),
                  c->counters.rejected, c->counters.failed);
}

static double quantile_us(const struct command_figures *c, double quantile)
{
    return (double)histogram_quantile(c->latency, quantile) / 1000;
}

static void info_latency(struct buffer *out, const struct command_figures *c)
{
    if (histogram_count(c->latency) == 0)
        return;
    buffer_printf(out, "latency_percentiles_usec_%s:p50=%.3f,p99=%.3f,p99.9=%.3f\r\n", c->name,
                  quantile_us(c, 0.5), quantile_us(c, 0.99), quantile_us(c, 0.999));
}

static void info_error(void *out, const char *word, uint64_t count)
{
    buffer_printf(out, "errorstat_%s:count=%" PRIu64 "\r\n", word, count);
}

/* --- INFO --- */

/* Is `name` a section's title, an alias of it, or a word for a group it belongs to? */
static bool section_is_named(enum metrics_section section, struct tarn_bytes name)
{
    const struct metrics_section_name *s = &metrics_sections[section];

    if (bytes_equal_nocase(name, s->title) ||
        (s->aliases[0] && bytes_equal_nocase(name, s->aliases)))
        return true;
    if (bytes_equal_nocase(name, "all") || bytes_equal_nocase(name, "everything"))
        return true;
    return s->is_default && bytes_equal_nocase(name, "default");
}

/* names: one or more, separated by spaces; none: default. */
static bool section_is_wanted(enum metrics_section section, struct tarn_bytes names)
{
    const char *p = names.data;
    size_t at = 0;
    bool any = false;

    while (at < names.size) {
        size_t from = at;
        while (at < names.size && p[at] != ' ')
            at++;
        struct tarn_bytes name = {p + from, at - from};
        if (name.size > 0 && section_is_named(section, name))
            return true;
        any = any || name.size > 0;
        at++;
    }
    return !any && metrics_sections[section].is_default;
}

/* Is there anything to be said in this section? */
static bool section_is_there(enum metrics_section section, const struct metrics_sample *sample)
{
    return section != SECTION_DISK || sample->on_disk;
}

static void info_section(struct server *server, enum metrics_section section,
                         const struct metrics_sample *sample, struct buffer *out)
{
    buffer_printf(out, "# %s\r\n", metrics_sections[section].title);
    for (size_t i = 0; i < metrics_rows_count; i++) {
        const struct metrics_row *row = &metrics_rows[i];
        if (row->section != section || row->field == NULL)
            continue;
        buffer_append_text(out, row->field);
        buffer_append_byte(out, ':');
        append_info_value(out, row, sample);
        buffer_append_text(out, "\r\n");
    }
    if (section == SECTION_COMMANDSTATS)
        visit_commands(server, false, out, info_command);
    else if (section == SECTION_LATENCYSTATS)
        visit_commands(server, true, out, info_latency);
    else if (section == SECTION_ERRORSTATS)
        server_error_counts_visit(server, info_error, out);
    else if (section == SECTION_KEYSPACE && sample->store.keys > 0)
        buffer_printf(out, "db0:keys=%" PRIu64 ",expires=%" PRIu64 ",avg_ttl=%" PRId64 "\r\n",
                      sample->store.keys, sample->store.expiring, sample->store.expire_ms_mean);
}

void metrics_info(struct server *server, struct tarn_bytes section, struct buffer *out)
{
    struct metrics_sample sample;
    size_t begin = out->size;

    metrics_sample_take(server, &sample);
    for (enum metrics_section s = 0; s < SECTIONS_COUNT; s++) {
        if (!section_is_wanted(s, section) || !section_is_there(s, &sample))
            continue;
        if (out->size > begin)
            buffer_append_text(out, "\r\n");
        info_section(server, s, &sample, out);
    }
}

/* --- Prometheus --- */

/* Upper bounds of the latency buckets, in ns, and as Prometheus wants them, in seconds. */
static const struct bucket {
    uint64_t ns;
    const char *seconds;
} buckets[] = {
    {250, "2.5e-07"},    {500, "5e-07"},      {1000, "1e-06"},    {2500, "2.5e-06"},
    {5000, "5e-06"},     {10000, "1e-05"},    {25000, "2.5e-05"}, {50000, "5e-05"},
    {100000, "0.0001"},  {250000, "0.00025"}, {500000, "0.0005"}, {1000000, "0.001"},
    {2500000, "0.0025"}, {5000000, "0.005"},  {10000000, "0.01"}, {25000000, "0.025"},
    {100000000, "0.1"},  {1000000000, "1"},
};

static void prometheus_head(struct buffer *out, const char *name, const char *type,
                            const char *help)
{
    buffer_printf(out, "# HELP %s %s.\n# TYPE %s %s\n", name, help, name, type);
}

static void prometheus_labelled(struct buffer *out, const char *name, const char *label,
                                const char *value, uint64_t n)
{
    buffer_printf(out, "%s{%s=\"", name, label);
    escape_prometheus(out, bytes_of(value));
    buffer_printf(out, "\"} %" PRIu64 "\n", n);
}

static void prometheus_calls(struct buffer *out, const struct command_figures *c)
{
    prometheus_labelled(out, "tarn_command_calls_total", "command", c->name, c->counters.calls);
}

static void prometheus_failed(struct buffer *out, const struct command_figures *c)
{
    prometheus_labelled(out, "tarn_command_failed_total", "command", c->name, c->counters.failed);
}

static void prometheus_rejected(struct buffer *out, const struct command_figures *c)
{
    prometheus_labelled(out, "tarn_command_rejected_total", "command", c->name,
                        c->counters.rejected);
}

static void prometheus_latency(struct buffer *out, const struct command_figures *c)
{
    uint64_t count = histogram_count(c->latency);

    for (size_t i = 0; i < sizeof buckets / sizeof buckets[0]; i++) {
        uint64_t upto = histogram_count_upto(c->latency, buckets[i].ns);
        buffer_printf(
            out, "tarn_command_duration_seconds_bucket{command=\"%s\",le=\"%s\"} %" PRIu64 "\n",
            c->name, buckets[i].seconds, upto < count ? upto : count);
    }
    buffer_printf(out,
                  "tarn_command_duration_seconds_bucket{command=\"%s\",le=\"+Inf\"} %" PRIu64 "\n",
                  c->name, count);
    buffer_printf(out, "tarn_command_duration_seconds_sum{command=\"%s\"} %.9f\n", c->name,
                  histogram_mean(c->latency) * (double)count / 1e9);
    buffer_printf(out, "tarn_command_duration_seconds_count{command=\"%s\"} %" PRIu64 "\n", c->name,
                  count);
}

/* How long reads of a data file on disk took. */
static void prometheus_reads(struct buffer *out, const struct tarn_disk_stats *disk)
{
    const char *name = "tarn_disk_read_duration_seconds";
    uint64_t timed = disk->reads - disk->in_flight; /* taken at another moment than the buckets */

    if (timed < disk->read_latency[TARN_READ_BOUNDS - 1].count || disk->reads < disk->in_flight)
        timed = disk->read_latency[TARN_READ_BOUNDS - 1].count;
    prometheus_head(out, name, "histogram", "Time that reads of the data file took");
    for (unsigned i = 0; i < TARN_READ_BOUNDS; i++)
        buffer_printf(out, "%s_bucket{le=\"%g\"} %" PRIu64 "\n", name,
                      (double)disk->read_latency[i].bound_ns / 1e9, disk->read_latency[i].count);
    buffer_printf(out, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n", name, timed);
    buffer_printf(out, "%s_sum %.9f\n", name, (double)disk->read_ns_mean / 1e9 * (double)timed);
    buffer_printf(out, "%s_count %" PRIu64 "\n", name, timed);
}

static void prometheus_error(void *out, const char *word, uint64_t count)
{
    prometheus_labelled(out, "tarn_errors_total", "kind", word, count);
}

static void prometheus_row(struct buffer *out, const struct metrics_row *row,
                           const struct metrics_sample *sample)
{
    size_t size = strlen(row->prometheus);
    bool is_counter = size > 6 && strcmp(row->prometheus + size - 6, "_total") == 0;

    prometheus_head(out, row->prometheus, is_counter ? "counter" : "gauge", row->help);
    if (row->kind == KIND_UINT)
        buffer_printf(out, "%s %" PRIu64 "\n", row->prometheus,
                      *(const uint64_t *)figure(row, sample));
    else
        buffer_printf(out, "%s %.9g\n", row->prometheus, *(const double *)figure(row, sample));
}

void metrics_prometheus(struct server *server, struct buffer *out)
{
    struct metrics_sample sample;

    metrics_sample_take(server, &sample);
    prometheus_head(out, "tarn_build_info", "gauge", "The program's version; always 1");
    prometheus_labelled(out, "tarn_build_info", "version", TARN_VERSION, 1);
    for (size_t i = 0; i < metrics_rows_count; i++)
        if (metrics_rows[i].prometheus != NULL &&
            section_is_there(metrics_rows[i].section, &sample))
            prometheus_row(out, &metrics_rows[i], &sample);
    if (sample.on_disk)
        prometheus_reads(out, &sample.disk);
    prometheus_head(out, "tarn_errors_total", "counter", "Error replies by their first word");
    server_error_counts_visit(server, prometheus_error, out);
    prometheus_head(out, "tarn_command_calls_total", "counter", "Commands executed, by name");
    visit_commands(server, false, out, prometheus_calls);
    prometheus_head(out, "tarn_command_failed_total", "counter",
                    "Commands that were executed and gave an error, by name");
    visit_commands(server, false, out, prometheus_failed);
    prometheus_head(out, "tarn_command_rejected_total", "counter",
                    "Commands refused before they were executed, by name");
    visit_commands(server, false, out, prometheus_rejected);
    prometheus_head(out, "tarn_command_duration_seconds", "histogram",
                    "Time commands took in the server, by name");
    visit_commands(server, true, out, prometheus_latency);
}

/* --- JSON --- */

static void json_name(struct buffer *out, const char *name)
{
    escape_json_lossy(out, bytes_of(name));
    buffer_append_byte(out, ':');
}

/* Room for one more member: a comma unless the object has just been opened. */
static void json_next(struct buffer *out)
{
    if (out->size > 0 && out->data[out->size - 1] != '{')
        buffer_append_byte(out, ',');
}

static void json_double(struct buffer *out, double value)
{
    if (isfinite(value))
        buffer_printf(out, "%.9g", value);
    else
        buffer_append_text(out, "null");
}

static void json_value(struct buffer *out, const struct metrics_row *row,
                       const struct metrics_sample *sample)
{
    struct tarn_bytes text;
    int64_t ignored;

    switch (row->kind) {
    case KIND_UINT:
        buffer_append_uint(out, *(const uint64_t *)figure(row, sample));
        break;
    case KIND_INT:
        buffer_append_int(out, *(const int64_t *)figure(row, sample));
        break;
    case KIND_DOUBLE:
    case KIND_RATIO:
    case KIND_PERCENT:
        json_double(out, *(const double *)figure(row, sample));
        break;
    case KIND_BYTES:
        buffer_append_byte(out, '"');
        append_bytes(out, *(const uint64_t *)figure(row, sample));
        buffer_append_byte(out, '"');
        break;
    case KIND_TEXT:
    case KIND_ARRAY:
    case KIND_FIXED:
        text = bytes_of(row_text(row, sample));
        if (row->kind == KIND_FIXED && number_parse_int(text, &ignored))
            buffer_append(out, text.data, text.size);
        else
            escape_json_lossy(out, text);
    }
}

static void json_command(struct buffer *out, const struct command_figures *c)
{
    json_next(out);
    json_name(out, c->name);
    buffer_printf(out,
                  "{\"calls\":%" PRIu64 ",\"usec\":%" PRIu64 ",\"rejected_calls\":%" PRIu64
                  ",\"failed_calls\":%" PRIu64,
                  c->counters.calls, c->counters.us_total, c->counters.rejected,
                  c->counters.failed);
    if (histogram_count(c->latency) > 0)
        buffer_printf(out, ",\"usec_p50\":%.3f,\"usec_p99\":%.3f,\"usec_p99.9\":%.3f",
                      quantile_us(c, 0.5), quantile_us(c, 0.99), quantile_us(c, 0.999));
    buffer_append_byte(out, '}');
}

static void json_error(void *out, const char *word, uint64_t count)
{
    json_next(out);
    json_name(out, word);
    buffer_append_uint(out, count);
}

static void json_section(struct server *server, enum metrics_section section,
                         const struct metrics_sample *sample, struct buffer *out)
{
    buffer_append_byte(out, '{');
    for (size_t i = 0; i < metrics_rows_count; i++) {
        const struct metrics_row *row = &metrics_rows[i];
        if (row->section != section || row->field == NULL)
            continue;
        json_next(out);
        json_name(out, row->field);
        json_value(out, row, sample);
    }
    if (section == SECTION_COMMANDSTATS)
        visit_commands(server, true, out, json_command);
    else if (section == SECTION_ERRORSTATS)
        server_error_counts_visit(server, json_error, out);
    else if (section == SECTION_KEYSPACE)
        buffer_printf(
            out, "\"db0\":{\"keys\":%" PRIu64 ",\"expires\":%" PRIu64 ",\"avg_ttl\":%" PRId64 "}",
            sample->store.keys, sample->store.expiring, sample->store.expire_ms_mean);
    buffer_append_byte(out, '}');
}

void metrics_json(struct server *server, struct buffer *out)
{
    struct metrics_sample sample;

    metrics_sample_take(server, &sample);
    buffer_append_byte(out, '{');
    for (enum metrics_section s = 0; s < SECTIONS_COUNT; s++) {
        if (s == SECTION_LATENCYSTATS || s == SECTION_MODULES || !section_is_there(s, &sample))
            continue; /* the first is in commandstats, the second is empty */
        char name[32];
        size_t size = 0;
        for (const char *p = metrics_sections[s].title; *p != 0 && size + 1 < sizeof name; p++)
            name[size++] = (char)(*p >= 'A' && *p <= 'Z' ? *p | 0x20 : *p);
        name[size] = 0;
        json_next(out);
        json_name(out, name);
        json_section(server, s, &sample, out);
    }
    buffer_append_text(out, "}\n");
}
