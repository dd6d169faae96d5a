/* What `tarn plan` found as JSON; members: doc/plan.md.
 *
 * Failure modes: memory; then `out` is marked as failed. */
#include <jansson.h>
#include <math.h>

#include "cli/plan_report.h"

/* A member of `object`; value: taken over. */
static bool put(json_t *object, const char *name, json_t *value)
{
    return json_object_set_new(object, name, value) == 0;
}

static json_t *count(uint64_t value)
{
    return json_integer(value < INT64_MAX ? (json_int_t)value : INT64_MAX);
}

/* Nine decimals: more is noise. */
static json_t *real(double value)
{
    return json_real(round(value * 1e9) / 1e9);
}

static json_t *disk_of(const struct plan_report *report)
{
    const struct plan_disk *disk = &report->input.disk;
    char profile[PLAN_DISK_TEXT_BYTES];
    json_t *points = json_array(), *json = json_object();
    bool good = points && json;
    for (unsigned i = 0; good && i < disk->count; i++) {
        const struct plan_point *p = &disk->points[i];
        json_t *point = json_pack("{s:f, s:f, s:f}", "bytes", p->bytes, "latency_us", p->latency_us,
                                  "reads_per_second", p->reads_s);
        good = json_array_append_new(points, point) == 0;
    }
    good = good && put(json, "name", json_string(report->disk_name)) &&
           put(json, "profile", json_string(plan_disk_format(disk, profile))) &&
           put(json, "bytes_per_second", real(disk->rate)) &&
           put(json, "depth", count(disk->depth)) && put(json, "points", json_incref(points));
    json_decref(points);
    if (good)
        return json;
    json_decref(json);
    return NULL;
}

static bool put_input(json_t *json, const struct plan_report *report)
{
    const struct plan_input *in = &report->input;
    return put(json, "file", report->file ? json_string(report->file) : json_null()) &&
           put(json, "data_bytes", count(in->data_bytes)) &&
           put(json, "records", count(in->records)) &&
           put(json, "records_estimated", json_boolean(report->estimated)) &&
           put(json, "memory_bytes", count(in->memory_bytes)) &&
           put(json, "cores", count(in->cores)) && put(json, "queries", count(in->queries)) &&
           put(json, "theta", real(in->theta)) &&
           put(json, "missing_ratio", real(in->missing_ratio)) &&
           put(json, "disk", disk_of(report));
}

/* What is known whether it fits or not, then the rest. */
static bool put_candidate(json_t *json, const struct plan_candidate *c)
{
    bool granular = c->layout == PLAN_BLOCKS || c->layout == PLAN_PAGES;
    bool good =
        put(json, "layout", json_string(plan_layout_name(c->layout))) &&
        put(json, "granule_bytes", granular ? count(1ull << c->granule_log2) : json_null()) &&
        put(json, "fingerprint_bits", count(c->fingerprint_bits)) &&
        put(json, "location_bits", count(c->location_bits)) &&
        put(json, "index_bytes", count(c->index_bytes)) &&
        put(json, "disk_bytes", count(c->disk_bytes)) &&
        put(json, "memory_bytes", count(c->memory_bytes)) &&
        put(json, "fits", json_boolean(c->fits));
    if (!good || !c->fits)
        return good;
    return put(json, "cache_bytes", count(c->cache_bytes)) &&
           put(json, "build_s", real(c->build_s)) && put(json, "hit_ratio", real(c->hit_ratio)) &&
           put(json, "reads_per_hit", real(c->reads_hit)) &&
           put(json, "reads_per_absent", real(c->reads_absent)) &&
           put(json, "reads_per_query", real(c->reads_query)) &&
           put(json, "read_bytes", real(c->read_bytes)) &&
           put(json, "latency_us", real(c->latency_us)) &&
           put(json, "query_us", real(c->query_us)) && put(json, "total_s", real(c->total_s));
}

static json_t *candidate_of(const struct plan_candidate *c)
{
    json_t *json = json_object();
    if (json && put_candidate(json, c))
        return json;
    json_decref(json);
    return NULL;
}

struct list {
    json_t *json;
    bool good;
};

static void add_candidate(void *context, const struct plan_candidate *c)
{
    struct list *list = context;
    if (list->good)
        list->good = json_array_append_new(list->json, candidate_of(c)) == 0;
}

static bool put_candidates(json_t *json, const struct plan_report *report)
{
    struct list list = {json_array(), true};
    list.good = list.json != NULL;
    plan_report_rows(report, add_candidate, &list);
    list.good = list.good && put(json, "candidates", json_incref(list.json));
    json_decref(list.json);
    return list.good;
}

static bool put_choice(json_t *json, const struct plan_report *report)
{
    if (!report->chosen_any)
        return put(json, "chosen", json_null()) && put(json, "command", json_null());
    struct buffer command = {0};
    plan_report_command(report, &command);
    json_t *text = command.failed ? NULL : json_stringn((const char *)command.data, command.size);
    buffer_done(&command);
    return put(json, "chosen", candidate_of(&report->chosen)) && put(json, "command", text);
}

static int write_out(const char *data, size_t size, void *context)
{
    struct buffer *out = context;
    buffer_append(out, data, size);
    return out->failed ? -1 : 0;
}

void plan_report_json(const struct plan_report *report, struct buffer *out)
{
    json_t *json = json_object();
    bool good = json && put_input(json, report) && put_candidates(json, report) &&
                put_choice(json, report) &&
                json_dump_callback(json, write_out, out, JSON_INDENT(1)) == 0;
    json_decref(json);
    buffer_append_byte(out, '\n');
    out->failed |= !good;
}
