/* RESP as a client speaks it, over a stream: requests into a buffer, replies piece by piece. One
 * thread. */
#ifndef CLI_RESP_CLIENT_H
#define CLI_RESP_CLIENT_H

#include "cli/stream.h"

/* So many bytes of requests fit any socket's buffer: they can be sent before a reply is read, and
 * neither side waits for the other. */
#define RESP_CLIENT_BATCH_BYTES 16384

/* Append one argument of a request; and the head of a request of so many. */
void resp_client_argument(struct buffer *request, struct tarn_bytes argument);
void resp_client_begin(struct buffer *request, size_t arguments);

/* Send what is gathered and clear it. Errors: NOMEM (an append failed), IO. */
TARN_MUST int resp_client_send(struct stream *stream, struct buffer *request,
                               struct tarn_error *error);

enum resp_reply_type { RESP_SIMPLE, RESP_ERROR, RESP_INTEGER, RESP_BULK, RESP_NULL, RESP_ARRAY };

/* The line that a reply begins with. */
struct resp_reply {
    enum resp_reply_type type;
    int64_t number;             /* INTEGER; BULK: bytes that follow; ARRAY: replies that follow */
    char line[STREAM_LINE_MAX]; /* SIMPLE, ERROR: the text */
};

/* Errors: IO, CORRUPT (not RESP, or over a limit). */
TARN_MUST int resp_client_reply(struct stream *stream, struct resp_reply *ret_reply,
                                struct tarn_error *error);
/* What follows a BULK of so many bytes, appended to `out`; or handed on to a file, as
 * stream_copy() does. Errors: NOMEM, IO, CORRUPT. */
TARN_MUST int resp_client_bulk(struct stream *stream, uint64_t size, struct buffer *out,
                               struct tarn_error *error);
TARN_MUST int resp_client_copy_bulk(struct stream *stream, uint64_t size, FILE *to,
                                    struct tarn_error *error);

/* An error reply as our error: DENIED (password) or IO. */
int resp_client_refused(const struct stream *stream, const struct resp_reply *reply,
                        struct tarn_error *error);
/* CORRUPT: that is no answer to this request. */
int resp_client_unexpected(const struct stream *stream, struct tarn_error *error);

/* Send what is gathered, and be told OK. Errors: NOMEM, DENIED, IO, CORRUPT. */
TARN_MUST int resp_client_do(struct stream *stream, struct buffer *request,
                             struct tarn_error *error);
/* AUTH, if password is not NULL or "". Errors: DENIED, IO, CORRUPT, NOMEM. */
TARN_MUST int resp_client_authenticate(struct stream *stream, const char *password,
                                       struct tarn_error *error);

#endif
