/* Reports of `tarn plan`: the rows, the table, and why. plan_report_json.c has the JSON. */
#include "cli/plan_report.h"

#include <math.h>
#include <stdio.h>

#include "core/bytes.h"
#include "core/number.h"

static bool is_granular(const struct plan_candidate *c)
{
    return c->layout == PLAN_BLOCKS || c->layout == PLAN_PAGES;
}

static bool is_same(const struct plan_candidate *a, const struct plan_candidate *b)
{
    return a->layout == b->layout && a->granule_log2 == b->granule_log2 &&
           a->fingerprint_bits == b->fingerprint_bits;
}

/* --- rows --- */

static void visit_bits(const struct plan_report *report, const struct plan_candidate *best,
                       plan_visit visit, void *context)
{
    static const unsigned shown[] = {0, 2, 4, 8};
    visit(context, best);
    if (!best->fits || !report->chosen_any || report->chosen.layout != PLAN_BLOCKS ||
        best->granule_log2 != report->chosen.granule_log2)
        return;
    for (size_t i = 0; i < sizeof shown / sizeof shown[0]; i++) {
        struct plan_candidate c =
            plan_evaluate(&report->input, PLAN_BLOCKS, best->granule_log2, shown[i]);
        if (shown[i] != best->fingerprint_bits && c.fits)
            visit(context, &c);
    }
}

/* Granules from 4 KiB on, and the finer ones if one of them is chosen. */
static bool is_shown(const struct plan_report *report, unsigned granule_log2)
{
    unsigned chosen = report->chosen_any ? report->chosen.granule_log2 : 0;
    return (granule_log2 >= 12 && granule_log2 <= 20) || granule_log2 == chosen;
}

void plan_report_rows(const struct plan_report *report, plan_visit visit, void *context)
{
    struct plan_candidate c = plan_best(&report->input, PLAN_MEMORY);
    visit(context, &c);
    for (unsigned g = PLAN_GRANULE_LOG2_MIN; g <= PLAN_GRANULE_LOG2_MAX; g++) {
        if (!is_shown(report, g))
            continue;
        c = plan_best_granule(&report->input, PLAN_BLOCKS, g);
        visit_bits(report, &c, visit, context);
    }
    c = plan_best(&report->input, PLAN_PAGES);
    visit(context, &c);
    c = plan_best(&report->input, PLAN_REWRITTEN);
    visit(context, &c);
}

/* --- figures for people --- */

static const char *format_time(double seconds, char out[32])
{
    static const struct {
        double below, unit;
        const char *name;
    } units[] = {{1e-3, 1e-6, "us"},           {1, 1e-3, "ms"},     {180, 1, "s"},
                 {10800, 60, "min"},           {172800, 3600, "h"}, {86400.0 * 1000, 86400, "days"},
                 {INFINITY, 31557600, "years"}};
    size_t i = 0;
    while (!(seconds < units[i].below) && i + 1 < sizeof units / sizeof units[0])
        i++;
    double value = seconds / units[i].unit;
    snprintf(out, 32, "%.*f %s", value < 10 ? 2 : value < 100 ? 1 : 0, value, units[i].name);
    return out;
}

/* Powers of two as people write granules. */
static const char *format_granule(const struct plan_candidate *c, char out[32])
{
    static const char *const names[] = {"B", "KiB", "MiB"};
    if (!is_granular(c))
        return c->layout == PLAN_MEMORY ? "1 B" : "-";
    snprintf(out, 32, "%u %s", 1u << c->granule_log2 % 10, names[c->granule_log2 / 10]);
    return out;
}

/* As a flag takes it, and so exactly. */
static void append_size(struct buffer *out, uint64_t bytes)
{
    static const char suffixes[] = {0, 'K', 'M', 'G', 'T'};
    unsigned s = 0;
    while (s < 4 && bytes >= 1024 && bytes % 1024 == 0) {
        bytes /= 1024;
        s++;
    }
    buffer_append_uint(out, bytes);
    buffer_append(out, suffixes + s, s > 0);
}

void plan_report_command(const struct plan_report *report, struct buffer *out)
{
    const struct plan_candidate *c = &report->chosen;
    buffer_append_text(out, "tarn index --memory ");
    append_size(out, report->input.memory_bytes);
    if (is_granular(c)) {
        buffer_printf(out, " --layout %s --granule ", plan_layout_name(c->layout));
        append_size(out, 1ull << c->granule_log2);
    }
    if (c->layout == PLAN_BLOCKS)
        buffer_printf(out, " --fingerprint-bits %u", c->fingerprint_bits);
    buffer_printf(out, " %s", report->file ? report->file : "FILE");
}

/* --- what is planned for --- */

static void append_input(const struct plan_report *report, struct buffer *out)
{
    const struct plan_input *in = &report->input;
    char a[32], b[32], c[32];
    buffer_printf(out, "data     %s in %s%s records, %s bytes each\n",
                  number_format_size(in->data_bytes, a), report->estimated ? "about " : "",
                  number_format_count(in->records, b),
                  number_format_count(in->data_bytes / in->records, c));
    buffer_printf(out, "memory   %s; %u cores\n", number_format_size(in->memory_bytes, a),
                  in->cores);
    buffer_printf(out, "disk     %s: %s a second in sequence; of 4 KiB at random %s alone, ",
                  report->disk_name, number_format_size((uint64_t)in->disk.rate, a),
                  format_time(plan_disk_latency_us(&in->disk, 4096) / 1e6, b));
    buffer_printf(
        out, "%s/s at depth %u\n",
        number_format_count((uint64_t)llround(1e6 / plan_disk_interval_us(&in->disk, 4096)), a),
        in->disk.depth);
    char profile[PLAN_DISK_TEXT_BYTES];
    buffer_printf(out, "         --disk %s\n", plan_disk_format(&in->disk, profile));
    buffer_printf(out, "queries  %s, zipf %g, %g %% of them for keys that are not there\n\n",
                  number_format_count(in->queries, a), in->theta, in->missing_ratio * 100);
}

/* --- the table --- */

struct table {
    const struct plan_report *report;
    struct buffer *out;
};

static void append_row(void *context, const struct plan_candidate *c)
{
    struct table *t = context;
    struct buffer *out = t->out;
    char a[32], b[32];
    bool chosen = t->report->chosen_any && is_same(c, &t->report->chosen);
    buffer_printf(out, "%c %-9s %8s", chosen ? '>' : ' ', plan_layout_name(c->layout),
                  format_granule(c, a));
    if (c->layout == PLAN_BLOCKS)
        buffer_printf(out, " %3u", c->fingerprint_bits);
    else
        buffer_printf(out, " %3s", "-");
    buffer_printf(out, " %9s", number_format_size(c->index_bytes, a));
    if (!c->fits) {
        buffer_printf(out, "  does not fit: needs %s\n", number_format_size(c->memory_bytes, b));
        return;
    }
    buffer_printf(out, " %9s %5.1f%% %5.3g %6.2g %6.3f", number_format_size(c->cache_bytes, a),
                  c->hit_ratio * 100, c->reads_hit, c->reads_absent, c->reads_query);
    buffer_printf(out, " %9s", format_time(c->latency_us / 1e6, a));
    buffer_printf(out, " %9s", format_time(c->query_us / 1e6, a));
    buffer_printf(out, " %9s", format_time(c->build_s, a));
    buffer_printf(out, " %10s\n", format_time(c->total_s, a));
}

static void append_table(const struct plan_report *report, struct buffer *out)
{
    char depth[32];
    snprintf(depth, sizeof depth, "depth %u", report->input.disk.depth);
    buffer_printf(out, "%33s %9s %6s %19s %19s\n", "", "", "", "reads of a", "time of a query");
    buffer_printf(out, "  %-9s %8s %3s %9s %9s %6s %5s %6s %6s %9s %9s %9s %10s\n", "layout",
                  "granule", "F", "index", "cache", "cached", "hit", "absent", "query", "alone",
                  depth, "build", "all");
    struct table table = {report, out};
    plan_report_rows(report, append_row, &table);
    buffer_append_byte(out, '\n');
}

/* --- why --- */

static void append_memory_why(const struct plan_report *report, struct buffer *out)
{
    struct plan_candidate c = plan_best(&report->input, PLAN_MEMORY);
    char need[32];
    if (!c.fits)
        buffer_printf(out, "- All data in memory would need %s.\n",
                      number_format_size(c.memory_bytes, need));
}

/* What another candidate differs in that decides. */
static void append_other(const struct plan_report *report, const char *name,
                         const struct plan_candidate *other, struct buffer *out)
{
    const struct plan_candidate *chosen = &report->chosen;
    char a[32], b[32], c[32];
    if (!other->fits) {
        buffer_printf(out, "- %s would need %s of memory.\n", name,
                      number_format_size(other->memory_bytes, a));
        return;
    }
    buffer_printf(out, "- %s: an index of %s, %.1f %% cached instead of %.1f %%, %s a query: %s",
                  name, number_format_size(other->index_bytes, a), other->hit_ratio * 100,
                  chosen->hit_ratio * 100, format_time(other->query_us / 1e6, b),
                  format_time(fabs(other->total_s - chosen->total_s), c));
    buffer_printf(out, " %s in all.\n", other->total_s >= chosen->total_s ? "more" : "less");
}

static void append_neighbours(const struct plan_report *report, struct buffer *out)
{
    const struct plan_candidate *chosen = &report->chosen;
    for (int step = -1; step <= 1; step += 2) {
        unsigned granule = chosen->granule_log2 + (unsigned)step;
        if (granule < PLAN_GRANULE_LOG2_MIN || granule > PLAN_GRANULE_LOG2_MAX)
            continue;
        struct plan_candidate c = plan_best_granule(&report->input, chosen->layout, granule);
        char name[64], text[32];
        snprintf(name, sizeof name, "%s granules of %s", step < 0 ? "Finer" : "Coarser",
                 format_granule(&c, text));
        append_other(report, name, &c, out);
    }
}

static void append_rewritten(const struct plan_report *report, struct buffer *out)
{
    struct plan_candidate c = plan_best(&report->input, PLAN_REWRITTEN);
    const struct plan_candidate *chosen = &report->chosen;
    char a[32], b[32];
    if (!c.fits || chosen->layout == PLAN_MEMORY)
        return;
    buffer_printf(out, "- Rewriting the data (tarn index --rewrite) takes %s and %s of disk",
                  format_time(c.build_s, a), number_format_size(c.disk_bytes, b));
    double gain_s = (chosen->query_us - c.query_us) / 1e6;
    if (gain_s > 0)
        buffer_printf(out, "; it pays from %s such queries on.\n",
                      number_format_count((uint64_t)((c.build_s - chosen->build_s) / gain_s), a));
    else
        buffer_append_text(out, ", and no query becomes cheaper by it.\n");
}

static void append_choice(const struct plan_report *report, struct buffer *out)
{
    const struct plan_candidate *c = &report->chosen;
    char a[32], b[32];
    buffer_printf(out, "tarn index chooses %s", plan_layout_name(c->layout));
    if (is_granular(c))
        buffer_printf(out, " of %s", format_granule(c, a));
    if (c->layout == PLAN_BLOCKS)
        buffer_printf(out, " with %u fingerprint bits", c->fingerprint_bits);
    buffer_printf(out, ": built in %s, the queries in %s.\n", format_time(c->build_s, a),
                  format_time(c->total_s - c->build_s, b));
    buffer_append_text(out, "    ");
    plan_report_command(report, out);
    buffer_append_text(out, "\n\n");
}

static void append_why(const struct plan_report *report, struct buffer *out)
{
    append_choice(report, out);
    append_memory_why(report, out);
    if (is_granular(&report->chosen))
        append_neighbours(report, out);
    if (report->chosen.layout == PLAN_BLOCKS) {
        struct plan_candidate pages = plan_best(&report->input, PLAN_PAGES);
        append_other(report, "Pages", &pages, out);
    } else if (report->chosen.layout == PLAN_PAGES) {
        struct plan_candidate blocks = plan_best(&report->input, PLAN_BLOCKS);
        append_other(report, "Blocks", &blocks, out);
    }
    append_rewritten(report, out);
}

void plan_report_text(const struct plan_report *report, struct buffer *out)
{
    append_input(report, out);
    append_table(report, out);
    if (report->chosen_any)
        append_why(report, out);
}
