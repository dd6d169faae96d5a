/* A growable, bounded byte buffer.
 *
 * How: one allocation, doubled when full (so n appends cost O(n) copies), never beyond size_max.
 *
 * Invariants
 * 1. size <= capacity; size_max == 0 or size <= size_max.
 * 2. data is NULL exactly when capacity is 0.
 * 3. Once failed, size and content change only through consume, clear and done.
 * Failure modes: limit or memory; both set `failed` and leave the content as it was. */
#include "core/buffer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/assert.h"
#include "core/number.h"

#define CAPACITY_MIN 64

void buffer_init(struct buffer *b, size_t size_max)
{
    *b = (struct buffer){.size_max = size_max};
}

void buffer_done(struct buffer *b)
{
    free(b->data);
    buffer_init(b, b->size_max);
}

/* Allocate so many bytes in all; false if memory is out. */
static bool allocate(struct buffer *b, size_t capacity)
{
    unsigned char *data = realloc(b->data, capacity);
    if (!data)
        return false;
    b->data = data;
    b->capacity = capacity;
    return true;
}

/* Allocate at least `size` bytes in all; false if memory is out. */
static bool grow(struct buffer *b, size_t size)
{
    size_t capacity = b->capacity ? b->capacity : CAPACITY_MIN;
    if (size > PTRDIFF_MAX)
        return false; /* no object is larger */
    while (capacity < size)
        capacity = capacity > PTRDIFF_MAX / 2 ? size : capacity * 2;
    if (b->size_max && capacity > b->size_max)
        capacity = b->size_max;
    return allocate(b, capacity);
}

bool buffer_reserve_exactly(struct buffer *b, size_t extra)
{
    size_t size;
    if (!b->failed && extra > b->capacity - b->size &&
        !__builtin_add_overflow(b->size, extra, &size) && size <= PTRDIFF_MAX &&
        (b->size_max == 0 || size <= b->size_max))
        b->failed = !allocate(b, size);
    return buffer_reserve(b, extra);
}

bool buffer_reserve(struct buffer *b, size_t extra)
{
    if (b->failed)
        return false;
    if (__builtin_expect(extra <= b->capacity - b->size, 1) &&
        (!b->size_max || extra <= b->size_max - b->size))
        return true;
    size_t size;
    if (__builtin_add_overflow(b->size, extra, &size) || (b->size_max && size > b->size_max) ||
        !grow(b, size)) {
        b->failed = true;
        return false;
    }
    ASSERT(b->capacity - b->size >= extra);
    return true;
}

void buffer_append(struct buffer *b, const void *data, size_t size)
{
    if (size == 0 || !buffer_reserve(b, size))
        return;
    memcpy(b->data + b->size, data, size);
    b->size += size;
}

void buffer_append_text(struct buffer *b, const char *text)
{
    buffer_append(b, text, strlen(text));
}

void buffer_append_byte(struct buffer *b, unsigned char byte)
{
    if (!buffer_reserve(b, 1))
        return;
    b->data[b->size++] = byte;
}

void buffer_append_int(struct buffer *b, int64_t value)
{
    char digits[20];
    buffer_append(b, digits, number_format_int(value, digits));
}

void buffer_append_uint(struct buffer *b, uint64_t value)
{
    char digits[20];
    buffer_append(b, digits, number_format_uint(value, digits));
}

void buffer_printf(struct buffer *b, const char *format, ...)
{
    if (b->failed)
        return;
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (length < 0) {
        b->failed = true;
        return;
    }
    /* vsnprintf writes a NUL too: format aside when the bound leaves no room for that byte. */
    size_t size = (size_t)length;
    if (!buffer_reserve(b, size))
        return;
    va_start(arguments, format);
    if (b->capacity - b->size > size) {
        vsnprintf((char *)b->data + b->size, size + 1, format, arguments);
        b->size += size;
    } else {
        char *text = malloc(size + 1);
        if (text) {
            vsnprintf(text, size + 1, format, arguments);
            buffer_append(b, text, size);
            free(text);
        } else {
            b->failed = true;
        }
    }
    va_end(arguments);
}

/* The escaped form of one byte at out; returns its size, 1, 2 or 4. */
static size_t escape_byte(unsigned char c, unsigned char out[4])
{
    static const unsigned char hex[] = "0123456789abcdef";
    switch (c) {
    case '\n':
        return out[0] = '\\', out[1] = 'n', 2;
    case '\r':
        return out[0] = '\\', out[1] = 'r', 2;
    case '\t':
        return out[0] = '\\', out[1] = 't', 2;
    case '\a':
        return out[0] = '\\', out[1] = 'a', 2;
    case '\b':
        return out[0] = '\\', out[1] = 'b', 2;
    case '\\':
    case '"':
        return out[0] = '\\', out[1] = c, 2;
    default:
        break;
    }
    if (c >= 0x20 && c < 0x7f)
        return out[0] = c, 1;
    out[0] = '\\';
    out[1] = 'x';
    out[2] = hex[c >> 4];
    out[3] = hex[c & 15];
    return 4;
}

void buffer_append_escaped(struct buffer *b, struct tarn_bytes bytes)
{
    const unsigned char *p = bytes.data;
    unsigned char escaped[4];
    size_t size = 0; /* measured first: the append is whole or not at all */
    for (size_t i = 0; i < bytes.size; i++)
        size += escape_byte(p[i], escaped);
    if (!buffer_reserve(b, size))
        return;
    for (size_t i = 0; i < bytes.size; i++) {
        size_t part = escape_byte(p[i], escaped);
        memcpy(b->data + b->size, escaped, part);
        b->size += part;
    }
}

void buffer_consume(struct buffer *b, size_t size)
{
    ASSERT(size <= b->size);
    b->size -= size;
    if (b->size && size)
        memmove(b->data, b->data + size, b->size);
}

void buffer_clear(struct buffer *b)
{
    b->size = 0;
    b->failed = false;
}

void buffer_trim(struct buffer *b, size_t keep)
{
    if (b->capacity <= keep || b->size > keep)
        return;
    if (keep == 0) {
        free(b->data);
        b->data = NULL;
        b->capacity = 0;
        return;
    }
    unsigned char *data = realloc(b->data, keep);
    if (!data)
        return; /* keeping the larger block is no error */
    b->data = data;
    b->capacity = keep;
}
