/* What the wire protocols of the load generator share: the list of a reply, its texts, lines, and
 * which keys can be sent.
 *
 * How: a reply's list grows by doubling and is kept from one reply to the next, so that decoding
 * allocates only while the largest reply so far is being met.
 *
 * Invariants
 * 1. count <= capacity; error_text is set whenever error is.
 * 2. A line is judged by its first PROTOCOL_LINE_BYTES_MAX bytes alone, so that what is said of the
 *    start of an answer holds when more of it has come.
 * Failure modes: no memory for the list: false, the list stays as it was. */
#include "bench/protocol_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define VALUES_MIN 16

void protocol_reply_done(struct protocol_reply *reply)
{
    free(reply->values);
    buffer_done(&reply->gathered);
    *reply = (struct protocol_reply){0};
}

bool protocol_reply_grow(struct protocol_reply *reply, size_t count)
{
    if (count <= reply->capacity)
        return true;
    size_t capacity = reply->capacity ? reply->capacity : VALUES_MIN;
    while (capacity < count)
        capacity *= 2;
    struct tarn_bytes *values = realloc(reply->values, capacity * sizeof *values);
    if (!values)
        return false;
    reply->values = values;
    reply->capacity = capacity;
    return true;
}

enum protocol_outcome protocol_malformed(struct protocol_reply *reply, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reply->text, sizeof reply->text, format, arguments);
    va_end(arguments);
    reply->error_text = bytes_of(reply->text);
    reply->count = 0;
    return PROTOCOL_MALFORMED;
}

const char *protocol_excerpt(struct tarn_bytes bytes, char out[PROTOCOL_EXCERPT_BYTES_MAX])
{
    const char *p = bytes.data;
    size_t size = 0;
    while (size < bytes.size && size < PROTOCOL_EXCERPT_BYTES_MAX && p[size] != '\r' &&
           p[size] != '\n')
        size++;
    struct buffer escaped = {0};
    buffer_append_escaped(&escaped, (struct tarn_bytes){p, size});
    size =
        escaped.size < PROTOCOL_EXCERPT_BYTES_MAX ? escaped.size : PROTOCOL_EXCERPT_BYTES_MAX - 1;
    if (size > 0)
        memcpy(out, escaped.data, size);
    out[size] = 0;
    buffer_done(&escaped);
    return out;
}

enum protocol_outcome protocol_line(struct tarn_bytes input, size_t at,
                                    struct protocol_reply *reply, struct tarn_bytes *ret_line,
                                    size_t *ret_end)
{
    const char *start = (const char *)input.data + at;
    size_t window = input.size - at;
    if (window > PROTOCOL_LINE_BYTES_MAX)
        window = PROTOCOL_LINE_BYTES_MAX;
    const char *newline = window > 0 ? memchr(start, '\n', window) : NULL;
    if (!newline) {
        *ret_end = input.size + 1;
        if (window < PROTOCOL_LINE_BYTES_MAX)
            return PROTOCOL_INCOMPLETE;
        return protocol_malformed(reply, "a line of more than %llu bytes", PROTOCOL_LINE_BYTES_MAX);
    }
    size_t size = (size_t)(newline - start);
    if (size == 0 || start[size - 1] != '\r')
        return protocol_malformed(reply, "a line that ends without a carriage return");
    *ret_end = at + size + 1;
    *ret_line = (struct tarn_bytes){start, size - 1};
    return PROTOCOL_COMPLETE;
}

bool protocol_key_allowed(const struct protocol *protocol, struct tarn_bytes key)
{
    const unsigned char *p = key.data;
    if (key.size > protocol->key_bytes_max)
        return false;
    if (!protocol->keys_printable)
        return true;
    for (size_t i = 0; i < key.size; i++) {
        if (p[i] <= 0x20 || p[i] == 0x7f)
            return false;
    }
    return key.size > 0;
}
