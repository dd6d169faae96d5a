/* Unsent replies. How: one buffer of copied bytes and a list of references at positions in it;
 * sending walks both into an iovec.
 *
 * Invariants
 * 1. bytes_sent <= bytes.size; refs_sent <= refs_count; positions of references never fall.
 * 2. The first unsent reference lies at or after bytes_sent.
 * 3. refs_bytes is the sum of value.size over the unsent references.
 * Failure modes: out of memory or over the bound: bytes.failed; the owner cuts the connection. */
#include "server/output.h"

#include <errno.h>
#include <stdlib.h>

#include "core/assert.h"

#define PARTS_MAX       16          /* pieces in one send */
#define MOVE_COPY_BYTES (32u << 10) /* more than this is handed over, not copied */
#define REFS_FIRST      4

void output_init(struct output *o, size_t bytes_max)
{
    *o = (struct output){0};
    buffer_init(&o->bytes, bytes_max);
}

/* Forget all content, keeping the memory. References after refs_sent are unpinned. */
static void output_clear(struct output *o)
{
    for (size_t i = o->refs_sent; i < o->refs_count; i++)
        tarn_unpin(o->refs[i].pin);
    o->refs_count = 0;
    o->refs_sent = 0;
    o->refs_bytes = 0;
    o->bytes_sent = 0;
    buffer_clear(&o->bytes);
}

void output_done(struct output *o)
{
    output_clear(o);
    free(o->refs);
    o->refs = NULL;
    o->refs_capacity = 0;
    buffer_done(&o->bytes);
}

void output_append_ref(struct output *o, struct tarn_bytes value, struct tarn_pin *pin)
{
    if (o->refs_count == o->refs_capacity && !o->bytes.failed) {
        size_t capacity = o->refs_capacity == 0 ? REFS_FIRST : 2 * o->refs_capacity;
        struct output_ref *refs = realloc(o->refs, capacity * sizeof *refs);
        if (refs == NULL) {
            o->bytes.failed = true;
        } else {
            o->refs = refs;
            o->refs_capacity = capacity;
        }
    }
    if (o->bytes.failed) {
        tarn_unpin(pin);
        return;
    }
    o->refs[o->refs_count++] = (struct output_ref){o->bytes.size, value, pin};
    o->refs_bytes += value.size;
}

struct output_mark output_mark(const struct output *o)
{
    return (struct output_mark){o->bytes.size, o->refs_count, o->refs_bytes};
}

void output_truncate(struct output *o, struct output_mark mark)
{
    ASSERT(mark.bytes_size <= o->bytes.size && mark.bytes_size >= o->bytes_sent);
    ASSERT(mark.refs_count <= o->refs_count && mark.refs_count >= o->refs_sent);
    while (o->refs_count > mark.refs_count)
        tarn_unpin(o->refs[--o->refs_count].pin);
    o->refs_bytes = mark.refs_bytes;
    o->bytes.size = mark.bytes_size;
}

static struct iovec part(const void *data, size_t size)
{
    if (size > OUTPUT_SEND_BYTES)
        size = OUTPUT_SEND_BYTES;
    return (struct iovec){(void *)(uintptr_t)data, size}; /* sending only reads it */
}

/* The next unsent pieces, of OUTPUT_SEND_BYTES if there are so many; returns how many. */
static int gather(const struct output *o, struct iovec parts[PARTS_MAX])
{
    int count = 0;
    size_t at = o->bytes_sent, total = 0;
    for (size_t i = o->refs_sent; i <= o->refs_count && count < PARTS_MAX; i++) {
        size_t end = i < o->refs_count ? o->refs[i].at : o->bytes.size;
        if (end > at) {
            parts[count++] = part(o->bytes.data + at, end - at);
            total += end - at;
        }
        at = end;
        if (total >= OUTPUT_SEND_BYTES)
            break;
        if (i < o->refs_count && count < PARTS_MAX) {
            parts[count++] = part(o->refs[i].value.data, o->refs[i].value.size);
            total += o->refs[i].value.size;
        }
        if (total >= OUTPUT_SEND_BYTES)
            break; /* a piece may have been cut: nothing can follow it */
    }
    return count;
}

/* Note that `size` more bytes of the stream are sent. */
static void advance(struct output *o, size_t size)
{
    while (size > 0) {
        size_t end = o->refs_sent < o->refs_count ? o->refs[o->refs_sent].at : o->bytes.size;
        size_t step = end - o->bytes_sent < size ? end - o->bytes_sent : size;
        o->bytes_sent += step;
        size -= step;
        if (size == 0)
            break;
        ASSERT(o->refs_sent < o->refs_count);
        struct output_ref *ref = &o->refs[o->refs_sent];
        step = ref->value.size < size ? ref->value.size : size;
        ref->value.data = (const unsigned char *)ref->value.data + step;
        ref->value.size -= step;
        o->refs_bytes -= step;
        size -= step;
        if (ref->value.size == 0) {
            tarn_unpin(ref->pin);
            o->refs_sent++;
        }
    }
}

int output_send(struct output *o, const struct os *os, int fd, size_t *ret_sent)
{
    *ret_sent = 0;
    while (output_unsent(o) > 0) {
        struct iovec parts[PARTS_MAX];
        size_t wanted = 0, sent;
        int count = 1;
        if (o->refs_sent == o->refs_count)
            parts[0] = part(o->bytes.data + o->bytes_sent, o->bytes.size - o->bytes_sent);
        else
            count = gather(o, parts);
        for (int i = 0; i < count; i++)
            wanted += parts[i].iov_len;
        int status = os->send(os, fd, parts, count, &sent);
        if (status != 0)
            return status;
        *ret_sent += sent;
        advance(o, sent);
        if (sent < wanted || (*ret_sent >= OUTPUT_SEND_BYTES && output_unsent(o) > 0))
            return -EAGAIN;
    }
    output_clear(o);
    return 0;
}

bool output_move(struct output *from, struct output *to)
{
    ASSERT(output_unsent(to) == 0 && to->refs_count == 0);
    size_t size_max = from->bytes.size_max;
    if (from->refs_count == 0 && from->bytes.size - from->bytes_sent <= MOVE_COPY_BYTES) {
        buffer_clear(&to->bytes);
        to->bytes_sent = 0;
        buffer_append(&to->bytes, from->bytes.data + from->bytes_sent,
                      from->bytes.size - from->bytes_sent);
        if (to->bytes.failed)
            return false;
        output_clear(from);
        return true;
    }
    output_done(to);
    *to = *from;
    output_init(from, size_max);
    return true;
}
