/* Drawing progress on a terminal.
 *
 * How: a line is put together in a buffer and written with one write(2), beginning with a
 * carriage return and ending with "erase to the end of the line".
 *
 * Invariants: never more than one line; nothing is written unless the descriptor is a terminal;
 * a failing write is ignored (progress is not worth failing for). */
#include "cli/progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "core/bytes.h"
#include "core/number.h"

#define DRAW_INTERVAL_NS 100000000ull
#define RATE_AFTER_NS    200000000ull /* an earlier rate is noise */
#define BAR_COLUMNS_MAX  40
#define BAR_COLUMNS_MIN  8
#define COLUMNS_UNKNOWN  80
#define LEFT_SECONDS_MAX 359999 /* 99:59:59 */

void progress_open(struct progress *progress, const struct os *os, struct interrupt *interrupt)
{
    *progress = (struct progress){.os = os, .interrupt = interrupt, .fd = -1};
    const char *terminal = getenv("TERM");
    if (!isatty(STDERR_FILENO) || (terminal && strcmp(terminal, "dumb") == 0))
        return;
    struct winsize size;
    progress->fd = STDERR_FILENO;
    progress->columns = COLUMNS_UNKNOWN;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        progress->columns = size.ws_col;
}

static void write_out(int fd, const struct buffer *text)
{
    if (!text->failed && text->size > 0) {
        ssize_t ignored = write(fd, text->data, text->size); /* see the invariants */
        (void)ignored;
    }
}

void progress_wipe(struct progress *progress)
{
    if (progress->visible) {
        struct buffer text = {0};
        buffer_append_text(&text, "\r\033[K");
        write_out(progress->fd, &text);
        buffer_done(&text);
    }
    progress->visible = false;
}

void progress_close(struct progress *progress)
{
    progress_wipe(progress);
    progress->fd = -1;
}

void progress_draw(struct progress *progress, struct tarn_bytes line)
{
    size_t limit = progress->columns > 0 ? progress->columns - 1 : 0;
    struct buffer text = {0};
    if (progress->fd < 0)
        return;
    buffer_append_byte(&text, '\r');
    buffer_append(&text, line.data, line.size < limit ? line.size : limit);
    buffer_append_text(&text, "\033[K");
    write_out(progress->fd, &text);
    buffer_done(&text);
    progress->visible = true;
}

static bool counts_bytes(const char *phase)
{
    static const char *const phases[] = {"reading", "writing", "loading", "checking"};
    for (size_t i = 0; i < sizeof phases / sizeof phases[0]; i++)
        if (strcmp(phase, phases[i]) == 0)
            return true;
    return false;
}

/* The part after the bar: " 47 %   312.5 MB/s   0:01 left". */
static void append_figures(const char *phase, uint64_t done, uint64_t total, uint64_t elapsed_ns,
                           uint64_t done_here, struct buffer *out)
{
    unsigned percent = total > 0 ? (unsigned)((double)done * 100 / (double)total) : 100;
    buffer_printf(out, " %3u %%", percent);
    if (elapsed_ns < RATE_AFTER_NS || done_here == 0)
        return;
    double rate = (double)done_here * 1e9 / (double)elapsed_ns;
    char text[32];
    if (counts_bytes(phase))
        buffer_printf(out, "   %s/s", number_format_size((uint64_t)rate, text));
    double left = (double)(total - done) / rate;
    if (left > LEFT_SECONDS_MAX)
        return;
    unsigned seconds = (unsigned)(left + 0.5);
    if (seconds >= 3600)
        buffer_printf(out, "   %u:%02u:%02u left", seconds / 3600, seconds / 60 % 60, seconds % 60);
    else
        buffer_printf(out, "   %u:%02u left", seconds / 60, seconds % 60);
}

void progress_line(const char *phase, uint64_t done, uint64_t total, uint64_t elapsed_ns,
                   uint64_t done_here, unsigned columns, struct buffer *out)
{
    struct buffer figures = {0};
    if (done > total)
        done = total;
    append_figures(phase, done, total, elapsed_ns, done_here, &figures);
    size_t start = out->size, limit = columns > 0 ? columns - 1 : 0;
    buffer_append_text(out, phase);

    size_t used = out->size - start + 4 + figures.size; /* two spaces and two brackets */
    size_t bar = used < limit ? limit - used : 0;
    if (bar > BAR_COLUMNS_MAX)
        bar = BAR_COLUMNS_MAX;
    if (bar >= BAR_COLUMNS_MIN) {
        size_t full = total > 0 ? (size_t)((double)bar * (double)done / (double)total) : bar;
        buffer_append_text(out, "  [");
        for (size_t i = 0; i < bar; i++)
            buffer_append_byte(out, i < full ? '=' : i == full ? '>' : ' ');
        buffer_append_byte(out, ']');
    }
    buffer_append(out, figures.data, figures.size);
    if (out->size - start > limit)
        out->size = start + limit;
    buffer_done(&figures);
}

bool progress_update(void *context, const char *phase, uint64_t done, uint64_t total)
{
    struct progress *progress = context;
    if (progress->interrupt && interrupt_poll(progress->interrupt) != 0)
        return false;
    if (progress->fd < 0)
        return true;
    uint64_t now = progress->os->monotonic_ns(progress->os);
    if (!progress->phase || strcmp(progress->phase, phase) != 0 || done < progress->phase_done) {
        progress->phase = phase;
        progress->phase_ns = now;
        progress->phase_done = done;
    } else if (now - progress->drawn_ns < DRAW_INTERVAL_NS) {
        return true;
    }
    struct buffer line = {0};
    progress_line(phase, done, total, now - progress->phase_ns, done - progress->phase_done,
                  progress->columns, &line);
    progress_draw(progress, buffer_view(&line));
    buffer_done(&line);
    progress->drawn_ns = now;
    return true;
}
