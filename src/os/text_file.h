/* The start of a small text file, as /proc and /sys have them. */
#ifndef OS_TEXT_FILE_H
#define OS_TEXT_FILE_H

#include <stdbool.h>
#include <stddef.h>

/* The file's first bytes, as much as one read(2) gives, as a string of at most text_bytes with its
 * NUL. Never waits, whatever the file is. false if unreadable (ret_text is then untouched). */
bool text_file_read(const char *path, char *ret_text, size_t text_bytes);

#endif
