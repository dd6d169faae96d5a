/* Small text files. Failure modes: what cannot be read is reported as such; nothing is said of why,
 * since callers of this go on without. */
#include "os/text_file.h"

#include <fcntl.h>
#include <unistd.h>

bool text_file_read(const char *path, char *ret_text, size_t text_bytes)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, ret_text, text_bytes - 1);
    close(fd);
    if (n < 0)
        return false;
    ret_text[n] = 0;
    return true;
}
