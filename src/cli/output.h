/* Files that a command writes. */
#ifndef CLI_OUTPUT_H
#define CLI_OUTPUT_H

#include "os/os.h"

/* A new file or a regular one may be written under this name; publishing would replace a device or
 * a pipe by a file. advice: what to do instead. Errors: INVALID, those of opening. */
TARN_MUST int output_check(const struct os *os, const char *path, const char *advice,
                           struct tarn_error *error);

#endif
