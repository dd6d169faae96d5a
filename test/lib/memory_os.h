/* A struct os whose files are bytes in memory, read only: for walking through thousands of damaged
 * files, and for fuzzers. Mappings are exactly as large as asked for, from malloc, so that
 * AddressSanitizer sees a byte too many. Time stands still; all else fails with -EROFS. */
#ifndef LIB_MEMORY_OS_H
#define LIB_MEMORY_OS_H

#include "os/os.h"

#define MEMORY_OS_FILES 16

struct memory_os {
    struct os os; /* hand &m.os to the code under test */
    struct {
        const char *path; /* NULL: none */
        struct tarn_bytes content;
        int64_t mtime_ns;
    } files[MEMORY_OS_FILES];
    int open; /* descriptors not closed */
    int maps; /* mappings not unmapped */
};

void memory_os_init(struct memory_os *m);
/* Add or replace a file; both are borrowed. */
void memory_os_put(struct memory_os *m, const char *path, struct tarn_bytes content,
                   int64_t mtime_ns);
void memory_os_clear(struct memory_os *m); /* no files */

#endif
