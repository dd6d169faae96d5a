/* The live line; see bench_live.h. */
#include "cli/bench_live.h"

#include <stdio.h>

#include "core/number.h"

static void append_how_far(const struct run_tick *tick, struct buffer *out)
{
    char done[32], total[32];
    if (tick->total > 0)
        buffer_printf(out, " %s of %s", number_format_count(tick->done, done),
                      number_format_count(tick->total, total));
    else if (tick->total_s > 0)
        buffer_printf(out, " %.1f s of %.4g s", tick->elapsed_s, tick->total_s);
    else if (tick->elapsed_s >= 1)
        buffer_printf(out, " %.0f s", tick->elapsed_s);
}

void bench_live_line(const struct run_tick *tick, struct buffer *out)
{
    char text[32];
    buffer_append_text(out, tick->phase);
    append_how_far(tick, out);
    if (tick->per_second > 0) {
        buffer_printf(out, "  %s ops/s", number_format_figure(tick->per_second, text));
        buffer_printf(out, "  p50 %s us", number_format_figure(tick->p50_us, text));
        buffer_printf(out, "  p99 %s us", number_format_figure(tick->p99_us, text));
    }
    if (tick->errors > 0)
        buffer_printf(out, "  errors %s", number_format_count(tick->errors, text));
}

static void draw_tick(void *context, const struct run_tick *tick)
{
    struct progress *progress = context;
    struct buffer line = {0};
    bench_live_line(tick, &line);
    progress_draw(progress, buffer_view(&line));
    buffer_done(&line);
}

static bool was_interrupted(void *context)
{
    struct progress *progress = context;
    return interrupt_poll(progress->interrupt) != 0;
}

struct run_hooks bench_live_hooks(struct progress *progress)
{
    return (struct run_hooks){.context = progress, .tick = draw_tick, .cancelled = was_interrupted};
}

void bench_live_step(void *context, const struct peak_step *step)
{
    struct progress *progress = context;
    char rate[32], p999[32];
    if (progress->fd < 0)
        return;
    progress_wipe(progress);
    fprintf(stderr, "%s a second: p99.9 %s us, %s\n", number_format_figure(step->rate, rate),
            number_format_figure(step->p999_us, p999), step->held ? "held" : "not held");
}
