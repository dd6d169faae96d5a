/* A progress bar on one line of a terminal:
 *
 *     reading  [============>               ]  47 %   312.5 MB/s   0:01 left
 *
 * Drawn on stderr if that is a terminal, at most ten times a second, and wiped away at the end; in
 * a pipe nothing is written. One thread. */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include "cli/interrupt.h"
#include "core/buffer.h"
#include "os/os.h"

struct progress {
    const struct os *os;         /* for the clock */
    struct interrupt *interrupt; /* may be NULL */
    int fd;                      /* where to draw; -1: nowhere */
    unsigned columns;            /* the terminal's width */
    const char *phase;           /* of the last call; NULL before the first */
    uint64_t phase_ns;           /* when that phase began, and how much was done then */
    uint64_t phase_done;
    uint64_t drawn_ns; /* when the bar was drawn last */
    bool visible;      /* there is a bar to wipe away */
};

/* Draw on stderr if it is a terminal. interrupt: cancels the work when a signal came; borrowed. */
void progress_open(struct progress *progress, const struct os *os, struct interrupt *interrupt);
void progress_close(struct progress *progress);

/* A tarn_progress whose context is a struct progress. Phases named "reading", "writing",
 * "loading" and "checking" count bytes and show a rate. False after a signal. */
bool progress_update(void *context, const char *phase, uint64_t done, uint64_t total);

/* Wipe the bar away for now, so that something else can be written. */
void progress_wipe(struct progress *progress);
/* Draw a line of one's own instead of a bar, cut to the terminal's width. */
void progress_draw(struct progress *progress, struct tarn_bytes line);

/* The bar as text, without colours or newline, at most columns - 1 characters. elapsed_ns,
 * done_here: time and work since the phase began. */
void progress_line(const char *phase, uint64_t done, uint64_t total, uint64_t elapsed_ns,
                   uint64_t done_here, unsigned columns, struct buffer *out);

#endif
