/* The server's log: one line an event on stderr: time, level, module, event, key=value.
 *
 *     2026-11-21T03:10:00.123Z info server listening address=127.0.0.1:6379
 *
 * Peer bytes must be escaped by the caller (buffer_append_escaped). Any thread; a line is one
 * write. Layers below the server never log: they return errors, and each failure is logged once. */
#ifndef SERVER_LOG_H
#define SERVER_LOG_H

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERROR, LOG_SILENT };

extern const char *const log_level_words[]; /* for the option table; NULL-terminated */

void log_set_level(enum log_level level); /* process-wide; atomic */
void log_event(enum log_level level, const char *module, const char *event, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif
