/* A growable, bounded byte buffer: what replies, requests and generated text are written into.
 *
 * A buffer is owned by one thread. Appends never fail half-way: on the first failure (limit or
 * memory) the buffer becomes `failed`, its content stays as it was, and later appends are
 * ignored, so that a caller may append freely and check once. */
#ifndef CORE_BUFFER_H
#define CORE_BUFFER_H

#include "core/bytes.h"

struct buffer {
    unsigned char *data;
    size_t size;     /* bytes in use */
    size_t capacity; /* bytes allocated */
    size_t size_max; /* bound on size; 0 means none */
    bool failed;     /* an append was refused */
};

/* A zeroed struct is an empty buffer without a bound. */
void buffer_init(struct buffer *b, size_t size_max);
void buffer_done(struct buffer *b); /* frees; the buffer is empty and usable again */

/* Room for `extra` more bytes at data + size; false (and failed) if refused. The caller writes
 * there and adds to size itself. */
bool buffer_reserve(struct buffer *b, size_t extra);
/* ... and if memory has to be allocated for it, not more than that. */
bool buffer_reserve_exactly(struct buffer *b, size_t extra);

void buffer_append(struct buffer *b, const void *data, size_t size);
void buffer_append_text(struct buffer *b, const char *text);
void buffer_append_byte(struct buffer *b, unsigned char byte);
void buffer_append_int(struct buffer *b, int64_t value);
void buffer_append_uint(struct buffer *b, uint64_t value);
void buffer_printf(struct buffer *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Printable ASCII as it is, everything else as \xHH, \n, \r, \t, \a, \b, \\ and \": for lines. */
void buffer_append_escaped(struct buffer *b, struct tarn_bytes bytes);

/* Drop the first `size` bytes, moving the rest down. */
void buffer_consume(struct buffer *b, size_t size);
void buffer_clear(struct buffer *b); /* size = 0, failed = false; keeps the memory */
/* Give memory back if more than `keep` bytes are allocated and size allows. */
void buffer_trim(struct buffer *b, size_t keep);

static inline struct tarn_bytes buffer_view(const struct buffer *b)
{
    return (struct tarn_bytes){b->data, b->size};
}

#endif
