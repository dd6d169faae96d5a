/* Passwords from files. */
#ifndef CLI_PASSWORD_H
#define CLI_PASSWORD_H

#include "os/os.h"

#define PASSWORD_BYTES_MAX 4096

/* The first line of the file, without its end, into `out`. Errors: those of os_open_data(), IO. */
TARN_MUST int password_read(const struct os *os, const char *path, char out[PASSWORD_BYTES_MAX + 1],
                            struct tarn_error *error);

#endif
