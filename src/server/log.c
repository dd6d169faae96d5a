/* The server's log. How: the line is formatted on the stack and written with one write(2), so that
 * lines of several threads do not mix. Whatever would break the line in two (control characters in
 * a detail) is blanked; a line over LINE_BYTES_MAX is cut. Failure modes: a log that cannot be
 * written is lost silently; there is nowhere to say so. */
#include "server/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define LINE_BYTES_MAX 1024

const char *const log_level_words[] = {"debug", "info", "warning", "error", "silent", NULL};

/* The one setting of the process's one log; an atomic, not a lock. */
static _Atomic int log_level_now = LOG_INFO;

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&log_level_now, level, memory_order_relaxed);
}

void log_event(enum log_level level, const char *module, const char *event, const char *format, ...)
{
    if ((int)level < atomic_load_explicit(&log_level_now, memory_order_relaxed))
        return;
    struct timespec now;
    struct tm utc;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    char line[LINE_BYTES_MAX + 1];
    size_t size = strftime(line, sizeof line, "%Y-%m-%dT%H:%M:%S", &utc);
    size += (size_t)snprintf(line + size, sizeof line - size, ".%03ldZ %s %s %s",
                             now.tv_nsec / 1000000, log_level_words[level], module, event);
    if (size < sizeof line - 1 && format[0] != 0) {
        line[size++] = ' ';
        va_list args;
        va_start(args, format);
        int length = vsnprintf(line + size, sizeof line - size, format, args);
        va_end(args);
        size += length < 0 ? 0 : (size_t)length;
    }
    if (size > sizeof line - 1)
        size = sizeof line - 1;
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
            line[i] = ' ';
    line[size++] = '\n';
    ssize_t written = write(STDERR_FILENO, line, size);
    (void)written; /* see failure modes */
}
