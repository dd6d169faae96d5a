/* Unsent replies: a stream of copied bytes with large values between them that are sent from the
 * store itself.
 *
 * `bytes` holds the copied part of the stream; reference i belongs before bytes.data[refs[i].at].
 * A reference holds a pin on the version of the data that its value lies in until it is sent.
 * Owned by one worker's thread. */
#ifndef SERVER_OUTPUT_H
#define SERVER_OUTPUT_H

#include "core/buffer.h"
#include "os/os.h"

#define OUTPUT_SEND_BYTES (1u << 20) /* most of one call, give or take a piece */

struct output_ref {
    size_t at;               /* position in bytes */
    struct tarn_bytes value; /* what is left to send of it */
    struct tarn_pin *pin;    /* NULL when the value is static */
};

struct output {
    struct buffer bytes;
    size_t bytes_sent; /* of `bytes` */
    struct output_ref *refs;
    size_t refs_count, refs_capacity;
    size_t refs_sent;  /* references wholly sent */
    size_t refs_bytes; /* unsent bytes of all references */
};

/* A place in the stream to go back to, as long as nothing after it was sent. */
struct output_mark {
    size_t bytes_size, refs_count, refs_bytes;
};

/* bytes_max: bound on the copied part; 0 = none. */
void output_init(struct output *o, size_t bytes_max);
void output_done(struct output *o); /* drops everything, unpins */

/* Bytes still to be sent, copied and referenced alike. */
static inline size_t output_unsent(const struct output *o)
{
    return o->bytes.size - o->bytes_sent + o->refs_bytes;
}

/* Put `value` next in the stream without copying it; takes over the pin. On failure (memory) the
 * stream is `failed`, and the pin is given back. */
void output_append_ref(struct output *o, struct tarn_bytes value, struct tarn_pin *pin);

struct output_mark output_mark(const struct output *o);
void output_truncate(struct output *o, struct output_mark mark);

/* Send until all is sent, the socket takes no more, or OUTPUT_SEND_BYTES are sent (others wait for
 * the thread). ret_sent: bytes sent by this call, set in any case. Returns 0, -EAGAIN when
 * something is left, or the socket's error. When all is sent the stream is empty, its memory kept.
 */
TARN_MUST int output_send(struct output *o, const struct os *os, int fd, size_t *ret_sent);

/* Move what is unsent from `from` into the empty `to`; `from` is empty and usable after.
 * Copies when it is little, hands the memory over when it is much. False if memory is out. */
TARN_MUST bool output_move(struct output *from, struct output *to);

/* Memory in use, in bytes. */
static inline size_t output_capacity(const struct output *o)
{
    return o->bytes.capacity + o->refs_capacity * sizeof *o->refs;
}

#endif
