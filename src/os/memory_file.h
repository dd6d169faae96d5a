/* A file without a name, in memory: for data that something wants to open as a file. */
#ifndef OS_MEMORY_FILE_H
#define OS_MEMORY_FILE_H

#include "tarn.h"

#define MEMORY_FILE_PATH_BYTES_MAX 32

/* Empty, readable and writable, close-on-exec; path: another name for it while it is open, in this
 * process. 0, or a negative errno. Close it as any descriptor; its memory goes with it. */
TARN_MUST int memory_file_open(const char *name, int *ret_fd,
                               char ret_path[MEMORY_FILE_PATH_BYTES_MAX]);

#endif
