/* A picture of a measurement, drawn by gnuplot.
 *
 * How: a script with the data inside goes to gnuplot's standard input. Two panels: latency by
 * percentile over 1 / (1 - percentile) on a logarithmic axis, which gives the tail as much room as
 * the middle; operations a second over time, one step an interval.
 *
 * Invariants
 * 1. Names and titles stand in single quotes, where gnuplot knows no escape, substitution or
 *    command but the doubled quote; control bytes do not get that far.
 * 2. The output's name begins with '/' or "./", so that neither '|' (a command) nor '~' at its
 *    start means anything.
 * 3. Every plot command has at least one row of data: gnuplot fails without.
 * Failure modes: INVALID (names), MISSING (no gnuplot), IO (what it says), NOMEM. */
#include "bench/plot.h"

#include "bench/curve.h"
#include "os/spawn.h"

#define TIMEOUT_MS 60000
#define HEIGHT     900
#define WIDTH      1100

/* One colour for everything, then one for each kind of operation. */
static const char *const kind_colours[OPERATION_KINDS] = {"#2f9e44", "#e8590c", "#9c36b5",
                                                          "#0b7285", "#c2255c"};
#define COLOUR_ALL   "#1c5fb0"
#define COLOUR_ERROR "#d00000"

static bool ends_with(const char *path, const char *suffix)
{
    size_t size = strlen(path), suffix_size = strlen(suffix);
    return size > suffix_size && strcmp(path + size - suffix_size, suffix) == 0;
}

int plot_check(const char *path, struct tarn_error *error)
{
    for (const char *p = path; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            return error_set(error, TARN_INVALID, "--plot: the name holds a control character");
    if (ends_with(path, ".svg") || ends_with(path, ".png"))
        return TARN_OK;
    return error_set(error, TARN_INVALID, "--plot: %s: name a file that ends in .svg or .png",
                     path);
}

/* Text in single quotes. */
static void append_quoted(struct buffer *out, const char *before, const char *text)
{
    buffer_append_byte(out, '\'');
    buffer_append_text(out, before);
    for (const char *p = text; *p; p++) {
        unsigned char c = (unsigned char)*p;
        buffer_append_byte(out, c < ' ' || c == 0x7f ? '?' : c);
        if (c == '\'')
            buffer_append_byte(out, c);
    }
    buffer_append_byte(out, '\'');
}

static void append_header(const char *path, const char *title, struct buffer *out)
{
    buffer_printf(out,
                  "set terminal %s size %d,%d noenhanced font 'sans,13' background '#ffffff'\n",
                  ends_with(path, ".svg") ? "svg" : "pngcairo", WIDTH, HEIGHT);
    buffer_append_text(out, "set output ");
    append_quoted(out, *path == '/' ? "" : "./", path);
    buffer_append_text(out, "\nset multiplot layout 2,1 margins 0.085,0.945,0.055,0.9 "
                            "spacing 0,0.13 title ");
    append_quoted(out, "", title);
    buffer_append_text(out, " font 'sans,15'\n"
                            "set border 3 linecolor '#808080'\n"
                            "set tics nomirror textcolor '#303030'\n"
                            "set grid xtics ytics linetype 1 linecolor '#e0e0e0'\n"
                            "set key top left Left reverse\n");
}

/* --- latency --- */

/* A data block of "x seconds" rows; the maximum is drawn where its quantile would be. */
static void append_curve(const char *name, const struct histogram *latency_ns, struct buffer *out)
{
    struct curve_point points[CURVE_POINTS_MAX];
    size_t count = curve_points(latency_ns, points);
    buffer_printf(out, "$%s << END\n", name);
    for (size_t i = 0; i < count; i++) {
        double x = points[i].quantile < 1 ? 1 / (1 - points[i].quantile)
                                          : (double)histogram_count(latency_ns);
        double us = points[i].us > 0.001 ? points[i].us : 0.001; /* its logarithm is taken */
        buffer_printf(out, "%.6g %.6g\n", x, us / 1e6);
    }
    buffer_append_text(out, "END\n");
}

static bool has_requests(const struct histogram *h)
{
    return h && histogram_count(h) > 0;
}

static unsigned kinds_count(const struct tally *t)
{
    unsigned count = 0;
    for (int i = 0; i < OPERATION_KINDS; i++)
        count += has_requests(t->kind_ns[i]);
    return count;
}

static void append_latency(const struct tally *t, struct buffer *out)
{
    bool by_kind = kinds_count(t) > 1;
    append_curve("all", t->latency_ns, out);
    for (int i = 0; by_kind && i < OPERATION_KINDS; i++)
        if (has_requests(t->kind_ns[i]))
            append_curve(operation_name((enum operation_kind)i), t->kind_ns[i], out);
    buffer_append_text(out,
                       "set logscale xy\n"
                       "set label 1 'Latency by percentile' at graph 0,1.06 left\n"
                       "set xtics ('50 %%' 2, '90 %%' 10, '99 %%' 100, '99.9 %%' 1000, "
                       "'99.99 %%' 10000, '99.999 %%' 1e5, '99.9999 %%' 1e6, '99.99999 %%' 1e7, "
                       "'99.999999 %%' 1e8)\n"
                       "set format y '%.0s %cs'\n");
    uint64_t requests = histogram_count(t->latency_ns);
    buffer_printf(out, "set xrange [1:%.6g]\n", requests > 10 ? (double)requests : 10.0);
    buffer_append_text(out, "plot $all using 1:2 with lines linewidth 2.5 linecolor '" COLOUR_ALL
                            "' title 'all requests'");
    for (int i = 0; by_kind && i < OPERATION_KINDS; i++) {
        if (!has_requests(t->kind_ns[i]))
            continue;
        const char *name = operation_name((enum operation_kind)i);
        buffer_printf(out, ", $%s using 1:2 with lines linewidth 1.5 linecolor '%s' title ", name,
                      kind_colours[i]);
        append_quoted(out, "", name);
    }
    buffer_append_text(out, "\n");
}

/* --- throughput --- */

/* Two rows an interval, its start and its end, so that each is drawn as wide as it was. */
static void append_step(const struct figures_point *p, double from_s, struct buffer *out)
{
    double seconds = p->seconds > 0 ? p->seconds : 1;
    for (int end = 0; end < 2; end++)
        buffer_printf(out, "%.6g %.6g %.6g\n", end ? p->at_s : from_s,
                      (double)p->operations / seconds, (double)p->errors / seconds);
}

static bool append_series(const struct figures *f, struct buffer *out)
{
    bool errors = false;
    buffer_append_text(out, "$series << END\n");
    for (size_t i = 0; i < f->points_count; i++) {
        append_step(&f->points[i], f->points[i].at_s - f->points[i].seconds, out);
        errors |= f->points[i].errors > 0;
    }
    if (f->points_count == 0) { /* over too soon: the whole of it is the only interval */
        struct figures_point whole = {
            .at_s = f->seconds, .seconds = f->seconds, .operations = tally_get(&f->all.operations)};
        append_step(&whole, 0, out);
    }
    buffer_append_text(out, "END\n");
    return errors;
}

/* Operations a second that were due: a request of --batch keys is so many operations. */
static double operations_due(const struct figures *f)
{
    uint64_t requests = has_requests(f->all.latency_ns) ? histogram_count(f->all.latency_ns) : 0;
    uint64_t answered = tally_get(&f->all.operations) + tally_get(&f->all.errors);
    return requests > 0 ? f->rate * (double)answered / (double)requests : f->rate;
}

static double end_of_series(const struct figures *f)
{
    double end = f->points_count > 0 ? f->points[f->points_count - 1].at_s : f->seconds;
    return end > 1e-6 ? end : 1;
}

static void append_throughput(const struct figures *f, struct buffer *out)
{
    bool errors = append_series(f, out);
    buffer_append_text(out, "unset logscale\n"
                            "set label 1 'Operations a second over time' at graph 0,1.06 left\n"
                            "set xtics auto\n"
                            "set format y '%.0s%c'\n"
                            "set format x '%g s'\n"
                            "set yrange [0:*]\n"
                            "set offsets 0,0,graph 0.12,0\n"
                            "set key at graph 1.0,1.115 right top horizontal\n"
                            "set style fill solid 0.18 noborder\n");
    buffer_printf(out, "set xrange [0:%.6g]\n", end_of_series(f));
    buffer_append_text(out, "plot $series using 1:2 with filledcurves y=0 linecolor '" COLOUR_ALL
                            "' notitle, $series using 1:2 with lines linewidth 2 linecolor "
                            "'" COLOUR_ALL "' title 'answered'");
    if (f->rate > 0)
        buffer_printf(
            out,
            ", %.6g with lines dashtype 2 linewidth 1.5 linecolor '#606060' title 'due on average'",
            operations_due(f));
    if (errors)
        buffer_append_text(out, ", $series using 1:3 with lines linewidth 2 linecolor "
                                "'" COLOUR_ERROR "' title 'refused'");
    buffer_append_text(out, "\n");
}

void plot_script(const struct figures *figures, const char *path, const char *title,
                 struct buffer *out)
{
    append_header(path, title, out);
    if (has_requests(figures->all.latency_ns))
        append_latency(&figures->all, out);
    else
        buffer_append_text(
            out, "set label 1 'No request was answered' at graph 0,1.06 left\nset xrange [1:2]\n"
                 "set yrange [1:2]\nplot NaN notitle\n");
    append_throughput(figures, out);
    buffer_append_text(out, "unset multiplot\nset output\n");
}

/* --- gnuplot --- */

/* What it said as one line, empty lines and its pointer at the error ("   ^") left out. */
static void one_line(struct buffer *text)
{
    size_t at = 0;
    bool gap = false;
    for (size_t i = 0; i < text->size; i++) {
        unsigned char c = text->data[i];
        if (c <= ' ' || c == '^' || c == 0x7f) {
            gap = at > 0;
            continue;
        }
        if (gap)
            text->data[at++] = ' ';
        gap = false;
        text->data[at++] = c;
    }
    text->size = at;
}

static int run_gnuplot(const char *const *argv, struct tarn_bytes script, struct tarn_error *error)
{
    struct buffer messages = {0};
    int exit_status = 0;
    int status = spawn_run(argv, script, TIMEOUT_MS, &messages, &exit_status, error);
    if (status == TARN_MISSING)
        error_set(error, status,
                  "--plot: gnuplot is not installed; on Debian, apt-get install gnuplot-nox");
    one_line(&messages);
    if (status == TARN_OK && exit_status != 0)
        status = error_set(error, TARN_IO, "gnuplot failed: %.*s",
                           messages.size < 300 ? (int)messages.size : 300,
                           messages.size ? (const char *)messages.data : "");
    buffer_done(&messages);
    return status;
}

int plot_ready(struct tarn_error *error)
{
    const char *argv[] = {"gnuplot", "--version", NULL};
    return run_gnuplot(argv, (struct tarn_bytes){"", 0}, error);
}

int plot_draw(const struct figures *figures, const char *path, const char *title,
              struct tarn_error *error)
{
    const char *argv[] = {"gnuplot", "-", NULL};
    struct buffer script = {0};
    int status = TARN_OK;
    plot_script(figures, path, title, &script);
    if (script.failed)
        status = error_set(error, TARN_NOMEM, "%s: out of memory", path);
    else
        status = run_gnuplot(argv, buffer_view(&script), error);
    buffer_done(&script);
    return status;
}
