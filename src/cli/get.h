/* Asking a server for values, over RESP or HTTP, or a store in this process, and printing them as
 * they come in. */
#ifndef CLI_GET_H
#define CLI_GET_H

#include "cli/place.h"

/* What is printed after each value, and where the missing are noted. */
struct get_output {
    FILE *values;
    int terminator; /* a byte after each value, -1: none */
    void (*missing)(void *context, const char *key);
    void *context;
    uint64_t missing_count;
};

/* stream: open. password: NULL or "" if none. Values are printed in the order of the keys.
 * Errors: IO, DENIED (password), CORRUPT (not the protocol), NOMEM. */
TARN_MUST int get_resp(struct stream *stream, const char *password, const char *const *keys,
                       int count, struct get_output *output, struct tarn_error *error);

/* As above over HTTP, until all keys are answered or the server closes the connection; *ret_done
 * says how many were. */
TARN_MUST int get_http_on(struct stream *stream, const char *password, const char *const *keys,
                          int count, struct get_output *output, int *ret_done,
                          struct tarn_error *error);

/* The same for all keys; opens the stream itself, and again when the server closes it between two
 * requests. */
TARN_MUST int get_http(struct stream *stream, const struct stream_address *address,
                       unsigned timeout_ms, const char *password, const char *const *keys,
                       int count, struct get_output *output, struct tarn_error *error);

/* Of a data file or a directory. Errors: those of opening; IO, CORRUPT. */
TARN_MUST int get_store(const struct os *os, const struct place *place, const char *const *keys,
                        int count, struct get_output *output, struct tarn_error *error);

#endif
