/* Two results side by side; see diff.h.
 *
 * How: both files are parsed by jansson; a table of metrics says where each is found, by a path of
 * member names, and whether more of it is better.
 *
 * Invariants
 * 1. Nothing in a file is trusted: a member of another type is a member that is not there.
 * 2. Bytes of a file reach the output escaped.
 * Failure modes: those of reading; CORRUPT with the line; memory: then `out` is marked as failed.
 */
#include "bench/diff.h"

#include <jansson.h>
#include <math.h>

#include "bench/report.h"
#include "core/number.h"

#define FILE_BYTES_MAX (256u << 20)
#define NAME_COLUMNS   28
#define VALUE_COLUMNS  16
#define RATIO_COLUMNS  10
#define RATIO_NOISE    0.02 /* a smaller difference is neither better nor worse */

enum direction { NEUTRAL, MORE_IS_BETTER, LESS_IS_BETTER };

struct metric {
    const char *name, *path; /* path: member names with dots between */
    enum direction direction;
    bool zero_is_nothing; /* no row if it is 0 in both */
};

static const struct metric totals[] = {
    {"total_ops", "total_ops", NEUTRAL, false},
    {"total_runtime, s", "total_runtime_s", NEUTRAL, false},
    {"total_ops_per_sec", "total_ops_per_sec", MORE_IS_BETTER, false},
    {"average_ops_per_sec", "average_ops_per_sec", MORE_IS_BETTER, false},
    {"rate", "rate", NEUTRAL, false},
    {"hits", "hits", NEUTRAL, true},
    {"misses", "misses", NEUTRAL, true},
    {"errors", "errors", LESS_IS_BETTER, true},
    {"lost", "lost", NEUTRAL, true},
    {"unsent", "unsent", LESS_IS_BETTER, true},
    {"wrong", "wrong", LESS_IS_BETTER, true},
    {"bytes_sent", "bytes_sent", NEUTRAL, true},
    {"bytes_received", "bytes_received", NEUTRAL, true},
    {"peak rate", "peak.rate", MORE_IS_BETTER, false},
    {"goodput in overload", "peak.overload.goodput", MORE_IS_BETTER, false},
};

static const struct metric latencies[] = {
    /* below latency_us, and below each kind */
    {"min", "min", LESS_IS_BETTER, false},    {"p50", "p50", LESS_IS_BETTER, false},
    {"p90", "p90", LESS_IS_BETTER, false},    {"p99", "p99", LESS_IS_BETTER, false},
    {"p99.9", "p999", LESS_IS_BETTER, false}, {"p99.99", "p9999", LESS_IS_BETTER, false},
    {"max", "max", LESS_IS_BETTER, false},    {"mean", "mean", LESS_IS_BETTER, false},
};

static const struct metric costs[] = {
    {"server CPU us per op", "server.cpu_us_per_op", LESS_IS_BETTER, false},
    {"server memory, bytes", "server.memory_bytes", LESS_IS_BETTER, false},
    {"generator CPU us per op", "generator.cpu_us_per_op", NEUTRAL, false},
    {"load ops_per_sec", "load.ops_per_sec", MORE_IS_BETTER, false},
    {"memory per key over data", "load.memory_per_key_over_data", LESS_IS_BETTER, false},
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* --- reading --- */

/* The number below value by its path; NULL if there is none. */
static const json_t *find_number(const json_t *value, const char *path)
{
    char name[64];
    while (*path) {
        size_t size = strcspn(path, ".");
        if (size >= sizeof name)
            return NULL;
        memcpy(name, path, size);
        name[size] = 0;
        value = json_object_get(value, name);
        path += size + (path[size] == '.');
    }
    return json_is_number(value) ? value : NULL;
}

static int check_result(const json_t *result, const char *path, struct tarn_error *error)
{
    const char *tool = json_string_value(json_object_get(result, "tool"));
    const json_t *format = find_number(result, "format");
    if (!tool || strcmp(tool, "tarn bench") != 0 || !format)
        return error_set(error, TARN_CORRUPT, "%s: not a result of tarn bench --json", path);
    if (json_number_value(format) != REPORT_FORMAT)
        return error_set(error, TARN_CORRUPT,
                         "%s: a result of another version of tarn bench (format %.10g, not %d)",
                         path, json_number_value(format), REPORT_FORMAT);
    return TARN_OK;
}

static int read_result(const struct os *os, const char *path, json_t **ret_result,
                       struct tarn_error *error)
{
    struct buffer text = {0};
    json_error_t where;
    int status = os_read_file(os, path, FILE_BYTES_MAX, &text, error);
    json_t *result = NULL;
    if (status == TARN_OK) {
        result = json_loadb((const char *)text.data, text.size, JSON_REJECT_DUPLICATES, &where);
        if (!result)
            status = error_set(error, TARN_CORRUPT, "%s line %d: not JSON: %s", path, where.line,
                               where.text);
    }
    buffer_done(&text);
    if (status == TARN_OK)
        status = check_result(result, path, error);
    if (status == TARN_OK)
        *ret_result = result;
    else
        json_decref(result);
    return status;
}

/* --- writing --- */

static void append_text(struct buffer *out, const json_t *string)
{
    if (json_is_string(string))
        buffer_append_escaped(
            out, (struct tarn_bytes){json_string_value(string), json_string_length(string)});
    else
        buffer_append_text(out, "-");
}

static void append_head(struct buffer *out, char letter, const char *path, const json_t *result)
{
    buffer_printf(out, "%c  %s: ", letter, path);
    append_text(out, json_object_get(result, "target"));
    buffer_append_text(out, ", ");
    append_text(out, json_object_get(result, "started"));
    buffer_append_byte(out, '\n');
    if (!json_is_true(json_object_get(result, "complete"))) {
        buffer_append_text(out, "   PARTIAL RESULT: ");
        append_text(out, json_object_get(result, "stopped"));
        buffer_append_byte(out, '\n');
    }
}

static void append_setting(struct buffer *out, const json_t *value)
{
    if (json_is_boolean(value))
        buffer_append_text(out, json_is_true(value) ? "yes" : "no");
    else if (json_is_number(value))
        buffer_printf(out, "%.10g", json_number_value(value));
    else if (json_is_string(value) && json_string_length(value) == 0)
        buffer_append_text(out, "none");
    else
        append_text(out, value);
}

static bool is_output(const char *name)
{
    return strcmp(name, "json") == 0 || strcmp(name, "csv") == 0 || strcmp(name, "plot") == 0;
}

static void append_differing(struct buffer *out, const char *name, const json_t *a, const json_t *b,
                             bool *any)
{
    if (is_output(name) || (a && b && json_equal(a, b)))
        return;
    if (!*any)
        buffer_append_text(out, "\nsettings that differ\n");
    *any = true;
    struct buffer shown = {0};
    buffer_append_text(&shown, "--");
    buffer_append_escaped(&shown, bytes_of(name));
    buffer_printf(out, "  %-*.*s", NAME_COLUMNS, (int)shown.size,
                  shown.size ? (const char *)shown.data : "");
    buffer_done(&shown);
    append_setting(out, a);
    buffer_append_text(out, " -> ");
    append_setting(out, b);
    buffer_append_byte(out, '\n');
}

static void append_settings(struct buffer *out, json_t *a, json_t *b)
{
    const char *name;
    json_t *value;
    bool any = false;
    json_object_foreach(a, name, value)
    {
        append_differing(out, name, value, json_object_get(b, name), &any);
    }
    json_object_foreach(b, name, value)
    {
        if (!json_object_get(a, name))
            append_differing(out, name, NULL, value, &any);
    }
}

static const char *verdict(double ratio, enum direction direction)
{
    if (direction == NEUTRAL || fabs(ratio - 1) < RATIO_NOISE)
        return "";
    return (ratio > 1) == (direction == MORE_IS_BETTER) ? "   better" : "   worse";
}

/* Counts are whole, measured values have decimals. */
static void append_value(struct buffer *out, const json_t *number)
{
    char text[32];
    if (json_is_integer(number) && json_integer_value(number) >= 0)
        number_format_count((uint64_t)json_integer_value(number), text);
    else if (number)
        number_format_figure(json_number_value(number), text);
    buffer_printf(out, "%*s", VALUE_COLUMNS, number ? text : "-");
}

/* One row, unless neither result has the metric. */
static void append_metric(struct buffer *out, const char *name, const struct metric *m,
                          const json_t *a, const json_t *b)
{
    const json_t *in_a = find_number(a, m->path), *in_b = find_number(b, m->path);
    double x = json_number_value(in_a), y = json_number_value(in_b); /* 0 where there is none */
    if ((!in_a && !in_b) || (m->zero_is_nothing && x == 0 && y == 0))
        return;
    buffer_printf(out, "%-*s", NAME_COLUMNS, name);
    append_value(out, in_a);
    append_value(out, in_b);
    if (in_a && in_b && x > 0 && y >= 0)
        buffer_printf(out, "%*.3f%s", RATIO_COLUMNS, y / x, verdict(y / x, m->direction));
    else if (in_a && in_b && x == 0 && y > 0) /* no ratio, but it became more */
        buffer_printf(out, "%*s%s", RATIO_COLUMNS, "-", verdict(2, m->direction));
    else
        buffer_printf(out, "%*s", RATIO_COLUMNS, "-");
    buffer_append_byte(out, '\n');
}

static void append_latencies(struct buffer *out, const char *kind, const json_t *a, const json_t *b)
{
    char name[64];
    for (size_t i = 0; i < COUNT(latencies); i++) {
        snprintf(name, sizeof name, "%s %s, us", kind, latencies[i].name);
        append_metric(out, name, &latencies[i], a, b);
    }
}

static void append_kinds(struct buffer *out, json_t *a, json_t *b)
{
    if (json_object_size(a) < 2 && json_object_size(b) < 2)
        return; /* the same as all requests */
    for (int i = 0; i < OPERATION_KINDS; i++) {
        const char *kind = operation_name((enum operation_kind)i);
        append_latencies(out, kind, json_object_get(a, kind), json_object_get(b, kind));
    }
}

static void append_metrics(struct buffer *out, const json_t *a, const json_t *b)
{
    buffer_printf(out, "\n%-*s%*s%*s%*s\n", NAME_COLUMNS, "", VALUE_COLUMNS, "A", VALUE_COLUMNS,
                  "B", RATIO_COLUMNS, "B / A");
    for (size_t i = 0; i < COUNT(totals); i++)
        append_metric(out, totals[i].name, &totals[i], a, b);
    append_latencies(out, "latency", json_object_get(a, "latency_us"),
                     json_object_get(b, "latency_us"));
    append_kinds(out, json_object_get(a, "latency_us_by_kind"),
                 json_object_get(b, "latency_us_by_kind"));
    for (size_t i = 0; i < COUNT(costs); i++)
        append_metric(out, costs[i].name, &costs[i], a, b);
}

int diff_files(const struct os *os, const char *path_a, const char *path_b, struct buffer *out,
               struct tarn_error *error)
{
    json_t *a = NULL, *b = NULL;
    int status = read_result(os, path_a, &a, error);
    if (status == TARN_OK)
        status = read_result(os, path_b, &b, error);
    if (status == TARN_OK) {
        append_head(out, 'A', path_a, a);
        append_head(out, 'B', path_b, b);
        append_settings(out, json_object_get(a, "settings"), json_object_get(b, "settings"));
        append_metrics(out, a, b);
    }
    json_decref(a);
    json_decref(b);
    return status;
}
