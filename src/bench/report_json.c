/* A measurement as JSON; see report.h. Members: doc/bench.md.
 *
 * How: a jansson value for each member, written a member a line and an element of a list a line, so
 * that people can read it too.
 *
 * Invariants
 * 1. Every member is always there; null is what is not known.
 * 2. No secret is written: options of type SECRET are left out.
 * 3. Any bytes in texts become valid JSON: what is not UTF-8 is escaped as in log lines.
 * Failure modes: memory; then `out` is marked as failed. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "bench/curve.h"
#include "bench/report.h"

/* Collects members; failed once one could not be made. */
struct object {
    json_t *json;
    bool failed;
};

static struct object object_new(void)
{
    struct object o = {json_object(), false};
    o.failed = o.json == NULL;
    return o;
}

/* value: taken over; NULL if out of memory. */
static void put(struct object *o, const char *name, json_t *value)
{
    if (json_object_set_new(o->json, name, value) != 0)
        o->failed = true;
}

static void put_object(struct object *o, const char *name, struct object member)
{
    o->failed |= member.failed;
    put(o, name, member.json);
}

/* --- values --- */

/* Six decimals: more is noise. What is no number is null. */
static json_t *real(double value)
{
    return isfinite(value) ? json_real(round(value * 1e6) / 1e6) : json_null();
}

static json_t *count(uint64_t value)
{
    return json_integer(value < INT64_MAX ? (json_int_t)value : INT64_MAX);
}

static json_t *counter(const tally_counter *c)
{
    return count(tally_get(c));
}

static json_t *text(const char *value)
{
    json_t *json = json_string(value);
    if (json)
        return json;
    struct buffer escaped = {0};
    buffer_append_escaped(&escaped, bytes_of(value));
    if (!escaped.failed)
        json = json_stringn((const char *)escaped.data, escaped.size);
    buffer_done(&escaped);
    return json;
}

static json_t *known(bool is_known, double value)
{
    return is_known ? real(value) : json_null();
}

static double ratio(double a, double b)
{
    return b > 0 ? a / b : NAN;
}

/* --- members --- */

static struct object latency(const struct histogram *h)
{
    static const struct {
        const char *name;
        double quantile;
    } rows[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p999", 0.999}, {"p9999", 0.9999}};
    struct object o = object_new();
    put(&o, "min", real((double)histogram_min(h) / 1e3));
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        put(&o, rows[i].name, real((double)histogram_quantile(h, rows[i].quantile) / 1e3));
    put(&o, "max", real((double)histogram_max(h) / 1e3));
    put(&o, "mean", real(histogram_mean(h) / 1e3));
    return o;
}

static void put_latency(struct object *o, const char *name, const struct histogram *h)
{
    if (h && histogram_count(h) > 0)
        put_object(o, name, latency(h));
    else
        put(o, name, json_null());
}

static struct object latency_by_kind(const struct tally *t)
{
    struct object o = object_new();
    for (int i = 0; i < OPERATION_KINDS; i++)
        if (t->kind_ns[i] && histogram_count(t->kind_ns[i]) > 0)
            put_latency(&o, operation_name((enum operation_kind)i), t->kind_ns[i]);
    return o;
}

static json_t *percentiles(const struct histogram *h)
{
    struct curve_point points[CURVE_POINTS_MAX];
    size_t n = h ? curve_points(h, points) : 0;
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        json_t *pair = json_array();
        /* as many decimals as tell 1 - 10^-12 from 1 */
        json_array_append_new(pair, json_real(round(points[i].quantile * 1e14) / 1e12));
        json_array_append_new(pair, real(points[i].us));
        if (json_array_size(pair) == 2)
            json_array_append_new(list, pair);
        else
            json_decref(pair);
    }
    if (list && json_array_size(list) == n)
        return list;
    json_decref(list);
    return NULL;
}

static struct object point(const struct figures_point *p)
{
    struct object o = object_new();
    put(&o, "at_s", real(p->at_s));
    put(&o, "seconds", real(p->seconds));
    put(&o, "operations", count(p->operations));
    put(&o, "errors", count(p->errors));
    put(&o, "mean_us", real(p->mean_us));
    put(&o, "p50_us", real(p->p50_us));
    put(&o, "p99_us", real(p->p99_us));
    put(&o, "p999_us", real(p->p999_us));
    put(&o, "max_us", real(p->max_us));
    return o;
}

/* Append an object to a list; false if one of them could not be made. */
static bool append(json_t *list, struct object element)
{
    return json_array_append_new(list, element.json) == 0 && !element.failed;
}

static void put_series(struct object *o, const struct figures *f)
{
    json_t *list = json_array();
    for (size_t i = 0; i < f->points_count; i++)
        o->failed |= !append(list, point(&f->points[i]));
    put(o, "series", list);
}

static struct object error_texts(const struct tally *t)
{
    struct object o = object_new();
    for (unsigned i = 0; i < t->error_texts_count; i++)
        put(&o, t->error_texts[i].text, count(t->error_texts[i].count));
    return o;
}

static struct object server(const struct figures *f)
{
    const struct figures_server *s = &f->server;
    struct object o = object_new();
    double operations = (double)tally_get(&f->all.operations);
    put(&o, "local", json_boolean(s->local));
    put(&o, "processes", count(s->processes));
    put(&o, "cpu_us_per_op", known(s->local, ratio(s->cpu_s * 1e6, operations)));
    put(&o, "cpu_s", known(s->local, s->cpu_s));
    put(&o, "memory_bytes", s->local ? count(s->memory_bytes) : json_null());
    return o;
}

static const char *bottleneck_word(enum figures_bottleneck bottleneck)
{
    switch (bottleneck) {
    case BOTTLENECK_NONE:
        return "none";
    case BOTTLENECK_GENERATOR:
        return "generator";
    case BOTTLENECK_GENERATOR_MAYBE:
        return "generator_maybe";
    case BOTTLENECK_SCHEDULE:
        return "schedule";
    }
    return "none";
}

static struct object generator(const struct figures *f)
{
    struct object o = object_new();
    double operations = (double)tally_get(&f->all.operations);
    put(&o, "cpu_us_per_op", real(ratio(f->generator_cpu_s * 1e6, operations)));
    put(&o, "cpu_s", real(f->generator_cpu_s));
    put(&o, "threads", count(f->threads));
    put(&o, "connections", count(f->connections));
    put(&o, "bottleneck", json_string(bottleneck_word(f->bottleneck)));
    put_latency(&o, "late_us", f->rate > 0 ? f->all.late_ns : NULL);
    return o;
}

static struct object process(const struct figures *f)
{
    struct object o = object_new();
    double operations = (double)tally_get(&f->all.operations);
    put(&o, "cpu_us_per_op", real(ratio(f->process_cpu_s * 1e6, operations)));
    put(&o, "cpu_s", real(f->process_cpu_s));
    return o;
}

static struct object log_object(const struct figures_log *l)
{
    struct object o = object_new();
    put(&o, "records", count(l->records));
    put(&o, "bytes", count(l->bytes));
    put(&o, "syncs", count(l->syncs));
    put(&o, "sync_s", real(l->sync_s));
    put(&o, "sync_us_max", real(l->sync_us_max));
    put(&o, "checkpoints", count(l->checkpoints));
    put(&o, "drain_s", real(l->drain_s));
    return o;
}

static struct object disk_object(const struct figures_disk *d)
{
    struct object o = object_new();
    put(&o, "hits", count(d->hits));
    put(&o, "misses", count(d->misses));
    put(&o, "joined", count(d->joined));
    put(&o, "reads", count(d->reads));
    put(&o, "read_bytes", count(d->read_bytes));
    put(&o, "read_us_mean", real(d->read_us_mean));
    put(&o, "read_us_p50", real(d->read_us_p50));
    put(&o, "read_us_p99", real(d->read_us_p99));
    put(&o, "index_bytes", count(d->index_bytes));
    put(&o, "cache_bytes", count(d->cache_bytes));
    put(&o, "cache_records", count(d->cache_records));
    return o;
}

static struct object load(const struct figures *f)
{
    struct object o = object_new();
    double per_key = 0;
    bool per_key_known = report_memory_per_key(f, &per_key);
    put(&o, "ops", count(f->load_operations));
    put(&o, "seconds", real(f->load_seconds));
    put(&o, "ops_per_sec", real(ratio((double)f->load_operations, f->load_seconds)));
    put(&o, "cpu_s", known(f->load_cpu_s > 0, f->load_cpu_s));
    put(&o, "data_bytes", count(f->data_bytes));
    put(&o, "memory_before_bytes",
        f->memory_before_bytes ? count(f->memory_before_bytes) : json_null());
    put(&o, "memory_loaded_bytes",
        f->memory_loaded_bytes ? count(f->memory_loaded_bytes) : json_null());
    put(&o, "memory_per_key_over_data", known(per_key_known, per_key));
    return o;
}

static struct object step(const struct peak_step *s)
{
    struct object o = object_new();
    put(&o, "rate", real(s->rate));
    put(&o, "answered", real(s->answered));
    put(&o, "goodput", real(s->goodput));
    put(&o, "p50_us", real(s->p50_us));
    put(&o, "p999_us", real(s->p999_us));
    put(&o, "held", json_boolean(s->held));
    return o;
}

static struct object peak_object(const struct peak *p)
{
    struct object o = object_new();
    json_t *steps = json_array();
    put(&o, "target_us", real(p->target_us));
    put(&o, "rate", known(p->rate > 0, p->rate));
    put(&o, "generator_limit", known(p->generator_limit > 0, p->generator_limit));
    for (size_t i = 0; i < p->steps_count; i++)
        o.failed |= !append(steps, step(&p->steps[i]));
    put(&o, "steps", steps);
    put(&o, "overload_factor", known(p->overloaded, p->overload_factor));
    if (p->overloaded)
        put_object(&o, "overload", step(&p->overload));
    else
        put(&o, "overload", json_null());
    return o;
}

/* --- settings --- */

static json_t *option_text(const struct option *row, const struct settings *s)
{
    struct buffer value = {0};
    options_get(row, s, &value);
    buffer_append_byte(&value, 0);
    json_t *json = value.failed ? NULL : text((const char *)value.data);
    buffer_done(&value);
    return json;
}

/* Numbers as numbers, times in seconds, the rest as it would be written. */
static json_t *option_value(const struct option *row, const struct settings *s)
{
    const void *field = (const char *)s + row->offset;
    switch (row->type) {
    case OPTION_BOOL:
        return json_boolean(*(const bool *)field);
    case OPTION_UINT:
    case OPTION_SIZE:
    case OPTION_COUNT:
        return count(*(const uint64_t *)field);
    case OPTION_TIME:
        return json_real((double)*(const uint64_t *)field / 1e9);
    case OPTION_REAL:
        return json_real(*(const double *)field);
    case OPTION_RANGE:
    case OPTION_TEXT:
    case OPTION_WORD:
    case OPTION_SECRET:
        break;
    }
    return option_text(row, s);
}

static struct object settings_object(const struct settings *s)
{
    struct object o = object_new();
    for (size_t i = 0; i < settings_options.count; i++) {
        const struct option *row = &settings_options.rows[i];
        if (row->type != OPTION_SECRET)
            put(&o, row->name, option_value(row, s));
    }
    return o;
}

/* --- all of it --- */

static void put_head(struct object *o, const struct figures *f, int64_t started_realtime_us)
{
    char started[32];
    time_t seconds = (time_t)(started_realtime_us / 1000000);
    struct tm utc = {0};
    gmtime_r(&seconds, &utc);
    strftime(started, sizeof started, "%Y-%m-%dT%H:%M:%SZ", &utc);
    put(o, "tool", json_string("tarn bench"));
    put(o, "format", json_integer(REPORT_FORMAT));
    put(o, "version", json_string(TARN_VERSION));
    put(o, "started", json_string(started));
    put(o, "complete", json_boolean(f->complete));
    put(o, "stopped", f->complete ? json_null() : text(f->stopped));
    put(o, "target", text(f->target));
}

static void put_totals(struct object *o, const struct figures *f)
{
    const struct tally *t = &f->all;
    double per_second = figures_per_second(f);
    put(o, "total_ops", counter(&t->operations));
    put(o, "total_runtime_s", real(f->seconds));
    put(o, "total_ops_per_sec", real(per_second));
    put(o, "average_ops_per_sec", real(f->threads ? per_second / f->threads : 0));
    put(o, "rate", known(f->rate > 0, f->rate));
    put(o, "requests", counter(&t->requests));
    put(o, "hits", counter(&t->hits));
    put(o, "misses", counter(&t->misses));
    put(o, "misses_expected", counter(&t->misses_expected));
    put(o, "errors", counter(&t->errors));
    put_object(o, "error_texts", error_texts(t));
    put(o, "error_texts_other", count(t->error_texts_other));
    put(o, "lost", counter(&t->lost));
    put(o, "unsent", counter(&t->unsent));
    put(o, "wrong", counter(&t->wrong));
    put(o, "first_wrong", t->first_wrong[0] ? text(t->first_wrong) : json_null());
    put(o, "bytes_sent", counter(&t->bytes_sent));
    put(o, "bytes_received", counter(&t->bytes_received));
    put(o, "value_bytes", counter(&t->value_bytes));
}

static struct object result(const struct settings *settings, const struct figures *f,
                            const struct peak *peak, int64_t started_realtime_us)
{
    struct object o = object_new();
    put_head(&o, f, started_realtime_us);
    put_totals(&o, f);
    put_latency(&o, "latency_us", f->all.latency_ns);
    put_object(&o, "latency_us_by_kind", latency_by_kind(&f->all));
    put_object(&o, "server", server(f));
    put_object(&o, "generator", generator(f));
    if (*settings->embedded)
        put_object(&o, "process", process(f));
    else
        put(&o, "process", json_null());
    if (f->log.kept)
        put_object(&o, "log", log_object(&f->log));
    else
        put(&o, "log", json_null());
    if (f->disk.on_disk)
        put_object(&o, "disk", disk_object(&f->disk));
    else
        put(&o, "disk", json_null());
    if (f->loaded)
        put_object(&o, "load", load(f));
    else
        put(&o, "load", json_null());
    if (peak)
        put_object(&o, "peak", peak_object(peak));
    else
        put(&o, "peak", json_null());
    put_object(&o, "settings", settings_object(settings));
    put_series(&o, f);
    put(&o, "percentiles", percentiles(f->all.latency_ns));
    return o;
}

static int write_out(const char *data, size_t size, void *context)
{
    buffer_append(context, data, size);
    return 0;
}

static bool dump(const json_t *value, struct buffer *out)
{
    return json_dump_callback(value, write_out, out, JSON_ENCODE_ANY | JSON_REAL_PRECISION(15)) ==
           0;
}

/* A list, an element a line. */
static bool dump_list(const json_t *list, struct buffer *out)
{
    bool good = true;
    for (size_t i = 0; i < json_array_size(list); i++) {
        buffer_append_text(out, i == 0 ? "[\n    " : ",\n    ");
        good = good && dump(json_array_get(list, i), out);
    }
    buffer_append_text(out, json_array_size(list) ? "\n  ]" : "[]");
    return good;
}

void report_json(const struct settings *settings, const struct figures *figures,
                 const struct peak *peak, int64_t started_realtime_us, struct buffer *out)
{
    struct object o = result(settings, figures, peak, started_realtime_us);
    const char *name, *separator = "{\n";
    json_t *value;
    json_object_foreach(o.json, name, value)
    {
        buffer_printf(out, "%s  \"%s\": ", separator, name);
        bool good = json_is_array(value) ? dump_list(value, out) : dump(value, out);
        o.failed |= !good;
        separator = ",\n";
    }
    buffer_append_text(out, "\n}\n");
    out->failed |= o.failed;
    json_decref(o.json);
}
