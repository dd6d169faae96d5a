/* Passwords from files; see password.h. */
#include "cli/password.h"

#include <string.h>

int password_read(const struct os *os, const char *path, char out[PASSWORD_BYTES_MAX + 1],
                  struct tarn_error *error)
{
    int fd;
    struct os_file_info info;
    int status = os_open_data(os, path, &fd, &info, error);
    if (status != TARN_OK)
        return status;
    size_t size = info.size < PASSWORD_BYTES_MAX ? (size_t)info.size : PASSWORD_BYTES_MAX;
    int e = os_read_full(os, fd, out, size, 0);
    (void)os->close(os, fd); /* only read from */
    if (e < 0)
        return os_error(error, e, "cannot read", path);
    out[size] = 0;
    out[strcspn(out, "\r\n")] = 0;
    return TARN_OK;
}
