/* The files of a benchmark; see bench_files.h. gnuplot writes its picture by itself, so that for it
 * only a temporary file beside the name is tried. */
#include "cli/bench_files.h"

#include "bench/plot.h"
#include "bench/report.h"
#include "cli/output.h"

static int begin(struct publish *p, const struct os *os, const char *path, struct tarn_error *error)
{
    int status = output_check(os, path, "name a new file", error);
    return status == TARN_OK ? publish_open(p, os, path, error) : status;
}

static int try_plot(const struct os *os, const char *path, struct tarn_error *error)
{
    struct publish trial = {.fd = -1};
    int status = begin(&trial, os, path, error);
    publish_abort(&trial);
    return status == TARN_OK ? plot_ready(error) : status;
}

int bench_files_open(struct bench_files *files, const struct os *os,
                     const struct settings *settings, struct tarn_error *error)
{
    *files =
        (struct bench_files){.os = os, .settings = settings, .json = {.fd = -1}, .csv = {.fd = -1}};
    int status = TARN_OK;
    if (*settings->json)
        status = begin(&files->json, os, settings->json, error);
    if (status == TARN_OK && *settings->csv)
        status = begin(&files->csv, os, settings->csv, error);
    if (status == TARN_OK && *settings->plot)
        status = try_plot(os, settings->plot, error);
    if (status != TARN_OK)
        bench_files_close(files);
    return status;
}

/* Put the text under its name, and empty it. */
static int publish_text(struct publish *p, struct buffer *text, struct tarn_error *error)
{
    int status = TARN_OK;
    if (text->failed)
        status = error_set(error, TARN_NOMEM, "%s: out of memory", p->path);
    if (status == TARN_OK)
        status = publish_append(p, text->data, text->size, error);
    if (status == TARN_OK)
        status = publish_commit(p, error);
    buffer_clear(text);
    return status;
}

static int draw(const struct bench_files *files, const struct figures *figures,
                struct buffer *title, struct tarn_error *error)
{
    const char *path = files->settings->plot;
    report_title(files->settings, figures, title);
    buffer_append_byte(title, 0);
    if (title->failed)
        return error_set(error, TARN_NOMEM, "%s: out of memory", path);
    return plot_draw(figures, path, (const char *)title->data, error);
}

int bench_files_write(struct bench_files *files, const struct figures *figures,
                      const struct peak *peak, int64_t started_realtime_us,
                      struct tarn_error *error)
{
    const struct settings *settings = files->settings;
    struct buffer text = {0};
    int status = TARN_OK;
    if (*settings->json) {
        report_json(settings, figures, peak, started_realtime_us, &text);
        status = publish_text(&files->json, &text, error);
    }
    if (status == TARN_OK && *settings->csv) {
        report_csv(figures, &text);
        status = publish_text(&files->csv, &text, error);
    }
    if (status == TARN_OK && *settings->plot)
        status = draw(files, figures, &text, error);
    buffer_done(&text);
    return status;
}

void bench_files_close(struct bench_files *files)
{
    publish_abort(&files->json);
    publish_abort(&files->csv);
}
