/* Running another program: input on its standard input, what it says on standard error gathered, a
 * limit on its time. */
#ifndef OS_SPAWN_H
#define OS_SPAWN_H

#include "core/buffer.h"
#include "core/status.h"

#define SPAWN_ERRORS_BYTES_MAX 4096 /* of standard error that are kept; the rest is lost */

/* Run argv[0], looked for in PATH, and wait for its end. argv: NULL-terminated. input: borrowed; a
 * program that does not read all of it is no error. Its standard output goes nowhere; no other
 * descriptor and no blocked signal is passed on. errors: what it wrote to standard error is
 * appended. *ret_exit: its exit status. Errors: MISSING (no such program), IO (it was ended by a
 * signal; it took longer than timeout_ms and was killed; it could not be started), NOMEM. */
TARN_MUST int spawn_run(const char *const *argv, struct tarn_bytes input, unsigned timeout_ms,
                        struct buffer *errors, int *ret_exit, struct tarn_error *error);

#endif
