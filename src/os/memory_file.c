/* memfd_create(2) behind a name that can be opened: /proc/self/fd/N. */
#include "os/memory_file.h"

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>

int memory_file_open(const char *name, int *ret_fd, char ret_path[MEMORY_FILE_PATH_BYTES_MAX])
{
    int fd = memfd_create(name, MFD_CLOEXEC);
    if (fd < 0)
        return -errno;
    snprintf(ret_path, MEMORY_FILE_PATH_BYTES_MAX, "/proc/self/fd/%d", fd);
    *ret_fd = fd;
    return 0;
}
