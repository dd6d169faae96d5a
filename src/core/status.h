/* Status codes and the error object: helpers around the public definitions in tarn.h. */
#ifndef CORE_STATUS_H
#define CORE_STATUS_H

#include "tarn.h"

/* Fill *error (NULL: do nothing) with a status and a printf-style line; offset and record are
 * set to "none". Returns status, so that `return error_set(error, TARN_IO, ...)` reads well. */
int error_set(struct tarn_error *error, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The same with the place in a file; the caller's line should name it too. */
int error_set_at(struct tarn_error *error, int status, uint64_t offset, uint64_t record,
                 const char *format, ...) __attribute__((format(printf, 5, 6)));

/* Put "context: " before the text of a filled error; the tail is cut if the line gets too long. */
void error_prepend(struct tarn_error *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
