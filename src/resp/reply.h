/* Replies to bytes, RESP2 or RESP3. Pure: appends to a buffer. A type that RESP2 lacks is written
 * as Redis writes it there (map -> flat array, double -> bulk, null -> $-1, set -> array ...). */
#ifndef RESP_REPLY_H
#define RESP_REPLY_H

#include "core/buffer.h"

struct reply {
    struct buffer *out;
    int protocol; /* 2 or 3 */
};

void reply_simple(struct reply *r, const char *text);      /* +OK */
void reply_error(struct reply *r, const char *format, ...) /* "-" added; CR and LF blanked */
    __attribute__((format(printf, 2, 3)));
void reply_int(struct reply *r, int64_t value);
void reply_bulk(struct reply *r, struct tarn_bytes value);
void reply_bulk_text(struct reply *r, const char *text);
/* Only "$<size>\r\n": the caller sends the bytes and "\r\n" itself. */
void reply_bulk_header(struct reply *r, size_t size);
void reply_null(struct reply *r);       /* missing value: $-1 or _ */
void reply_null_array(struct reply *r); /* *-1 or _ */
void reply_array(struct reply *r, size_t count);
void reply_map(struct reply *r, size_t pairs_count); /* RESP2: array of 2 x pairs */
void reply_set(struct reply *r, size_t count);
void reply_push(struct reply *r, size_t count); /* RESP3 only (asserted) */
void reply_double(struct reply *r, double value);
void reply_bool(struct reply *r, bool value); /* RESP2: :1 or :0 */
void reply_verbatim(struct reply *r, const char kind[3], struct tarn_bytes text);

#endif
