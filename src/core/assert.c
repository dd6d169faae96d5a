/* What a failed assertion does: one line on stderr, then abort, so that a core dump shows the
 * place. Formats into a local array and writes with one system call: no allocation, no stdio
 * buffers or locks, for the heap may be what is broken. */
#include "core/assert.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

_Noreturn void assert_failed(const char *condition, const char *file, int line)
{
    char text[512];
    int size = snprintf(text, sizeof text, "%s:%d: assertion failed: %s\n", file, line, condition);
    if (size > 0) {
        size_t bytes = (size_t)size < sizeof text ? (size_t)size : sizeof text - 1;
        /* A failed write changes nothing: abort follows. */
        ssize_t ignored = write(STDERR_FILENO, text, bytes);
        (void)ignored;
    }
    abort();
}
