/* What the wire protocols share among themselves; users of a protocol need protocol.h alone. */
#ifndef BENCH_PROTOCOL_INTERNAL_H
#define BENCH_PROTOCOL_INTERNAL_H

#include "bench/protocol.h"
#include "core/assert.h"
#include "core/codec.h"

#define CRLF 0x0a0d /* as load_u16le() and store_u16le() see "\r\n" */

/* --- for encoders: they reserve room for a whole request once, then write it --- */

/* Returns where to write next, as the others do. */
static inline unsigned char *protocol_write(unsigned char *at, const void *data, size_t size)
{
    if (size > 0)
        memcpy(at, data, size);
    return at + size;
}
static inline unsigned char *protocol_write_line_end(unsigned char *at)
{
    store_u16le(at, CRLF);
    return at + 2;
}
/* The request ends here. */
static inline void protocol_written(struct buffer *out, const unsigned char *end)
{
    out->size = (size_t)(end - out->data);
    ASSERT(out->size <= out->capacity);
}

/* --- for decoders --- */

/* As if nothing had been decoded; keeps the memory. */
static inline void protocol_reply_clear(struct protocol_reply *reply)
{
    reply->error = reply->closes = false;
    reply->cursor = 0;
    reply->count = 0;
}
/* Room for `count` values; false if out of memory. */
bool protocol_reply_grow(struct protocol_reply *reply, size_t count);
/* Append a view; false if out of memory. */
static inline bool protocol_reply_add(struct protocol_reply *reply, struct tarn_bytes value)
{
    if (__builtin_expect(reply->count == reply->capacity, 0) &&
        !protocol_reply_grow(reply, reply->count + 1))
        return false;
    reply->values[reply->count++] = value;
    return true;
}
/* Write error_text, cut if long; count becomes 0. Returns MALFORMED. */
enum protocol_outcome protocol_malformed(struct protocol_reply *reply, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The line at input + at. COMPLETE: ret_line is it without its CR LF, ret_end where the next one
 * starts. INCOMPLETE: ret_end is how many bytes are needed in all. MALFORMED: it is longer than
 * PROTOCOL_LINE_BYTES_MAX or ends without a CR; the text is written. */
enum protocol_outcome protocol_line(struct tarn_bytes input, size_t at,
                                    struct protocol_reply *reply, struct tarn_bytes *ret_line,
                                    size_t *ret_end);

#endif
