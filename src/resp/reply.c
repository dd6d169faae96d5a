/* Replies to bytes. What: each reply type in RESP2 or RESP3, appended to a buffer.
 *
 * How: the common replies reserve their exact room once and write in place; numbers are formatted
 * without printf. Failure modes: none of its own; a buffer that refuses an append is `failed`, and
 * its owner looks at that once a turn. */
#include "resp/reply.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/assert.h"
#include "core/number.h"

#define LINE_BYTES_MAX 32 /* type byte, 20 digits, CR LF */

/* Room for `size` bytes at the end of out, or NULL. A buffer's capacity never exceeds its bound,
 * so what fits in the capacity needs no other look. */
static inline unsigned char *reply_room(struct buffer *out, size_t size)
{
    if (__builtin_expect(size > out->capacity - out->size || out->failed, 0)) {
        if (!buffer_reserve(out, size))
            return NULL;
    }
    return out->data + out->size;
}

/* Write type, number, CR LF at p; returns the bytes written. */
static inline size_t write_line(unsigned char *p, char type, uint64_t value)
{
    size_t size = 1;
    p[0] = (unsigned char)type;
    if (value < 10)
        p[size++] = (unsigned char)('0' + value);
    else if (value < 100) {
        p[size++] = (unsigned char)('0' + value / 10);
        p[size++] = (unsigned char)('0' + value % 10);
    } else
        size += number_format_uint(value, (char *)p + size);
    p[size++] = '\r';
    p[size++] = '\n';
    return size;
}

static void reply_line(struct reply *r, char type, uint64_t value)
{
    unsigned char *p = reply_room(r->out, LINE_BYTES_MAX);
    if (p != NULL)
        r->out->size += write_line(p, type, value);
}

void reply_simple(struct reply *r, const char *text)
{
    size_t size = strlen(text);
    unsigned char *p = reply_room(r->out, size + 3);
    if (p == NULL)
        return;
    p[0] = '+';
    memcpy(p + 1, text, size);
    memcpy(p + 1 + size, "\r\n", 2);
    r->out->size += size + 3;
}

void reply_error(struct reply *r, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    size_t size = length < 0 ? 0 : (size_t)length;
    unsigned char *p = reply_room(r->out, size + 4);
    if (p != NULL) {
        p[0] = '-';
        vsnprintf((char *)p + 1, size + 1, format, again);
        for (size_t i = 1; i <= size; i++)
            if (p[i] == '\r' || p[i] == '\n')
                p[i] = ' ';
        memcpy(p + 1 + size, "\r\n", 2);
        r->out->size += size + 3;
    }
    va_end(again);
    va_end(args);
}

void reply_int(struct reply *r, int64_t value)
{
    unsigned char *p = reply_room(r->out, LINE_BYTES_MAX);
    if (p == NULL)
        return;
    if (value >= 0) {
        r->out->size += write_line(p, ':', (uint64_t)value);
        return;
    }
    p[0] = ':';
    size_t size = 1 + number_format_int(value, (char *)p + 1);
    memcpy(p + size, "\r\n", 2);
    r->out->size += size + 2;
}

void reply_bulk(struct reply *r, struct tarn_bytes value)
{
    unsigned char *p = reply_room(r->out, value.size + LINE_BYTES_MAX);
    if (p == NULL)
        return;
    size_t head = write_line(p, '$', value.size);
    if (value.size > 0)
        memcpy(p + head, value.data, value.size);
    memcpy(p + head + value.size, "\r\n", 2);
    r->out->size += head + value.size + 2;
}

void reply_bulk_text(struct reply *r, const char *text)
{
    reply_bulk(r, bytes_of(text));
}

void reply_bulk_header(struct reply *r, size_t size)
{
    reply_line(r, '$', size);
}

void reply_null(struct reply *r)
{
    buffer_append_text(r->out, r->protocol >= 3 ? "_\r\n" : "$-1\r\n");
}

void reply_null_array(struct reply *r)
{
    buffer_append_text(r->out, r->protocol >= 3 ? "_\r\n" : "*-1\r\n");
}

void reply_array(struct reply *r, size_t count)
{
    reply_line(r, '*', count);
}

void reply_map(struct reply *r, size_t pairs_count)
{
    if (r->protocol >= 3)
        reply_line(r, '%', pairs_count);
    else
        reply_line(r, '*', 2 * pairs_count);
}

void reply_set(struct reply *r, size_t count)
{
    reply_line(r, r->protocol >= 3 ? '~' : '*', count);
}

void reply_push(struct reply *r, size_t count)
{
    ASSERT(r->protocol >= 3);
    reply_line(r, '>', count);
}

/* The shortest of 15 to 17 digits that reads back as the same number. */
static const char *format_double(double value, char out[40])
{
    if (isnan(value))
        return "nan";
    if (isinf(value))
        return value > 0 ? "inf" : "-inf";
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(out, 40, "%.*g", digits, value);
        if (strtod(out, NULL) == value)
            break;
    }
    return out;
}

void reply_double(struct reply *r, double value)
{
    char digits[40];
    const char *text = format_double(value, digits);
    if (r->protocol < 3) {
        reply_bulk_text(r, text);
        return;
    }
    char line[48];
    int size = snprintf(line, sizeof line, ",%s\r\n", text);
    buffer_append(r->out, line, (size_t)size);
}

void reply_bool(struct reply *r, bool value)
{
    if (r->protocol >= 3)
        buffer_append_text(r->out, value ? "#t\r\n" : "#f\r\n");
    else
        reply_line(r, ':', value);
}

void reply_verbatim(struct reply *r, const char kind[3], struct tarn_bytes text)
{
    if (r->protocol < 3) {
        reply_bulk(r, text);
        return;
    }
    if (!buffer_reserve(r->out, LINE_BYTES_MAX + 4 + text.size + 2))
        return;
    reply_line(r, '=', text.size + 4);
    buffer_append(r->out, kind, 3);
    buffer_append_byte(r->out, ':');
    buffer_append(r->out, text.data, text.size);
    buffer_append(r->out, "\r\n", 2);
}
