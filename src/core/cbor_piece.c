/* CBOR by pieces; see cbor_piece.h.
 *
 * How: libcbor's encoders into room reserved before, and its decoder of single items, whose
 * callbacks note what came.
 * Invariants: 1. A view lies within the bytes read. 2. An item without a callback of ours leaves
 * the piece OTHER. Failure modes: none but the buffer's. */
#include "core/cbor_piece.h"

#include <cbor.h>

#define HEAD_BYTES_MAX 9

static void on_number(void *context, enum cbor_piece_type type, uint64_t number)
{
    *(struct cbor_piece *)context = (struct cbor_piece){.type = type, .number = number};
}

#define NUMBER_CALLBACK(name, argument, type)                                                      \
    static void name(void *context, argument number)                                               \
    {                                                                                              \
        on_number(context, type, number);                                                          \
    }
NUMBER_CALLBACK(on_uint8, uint8_t, CBOR_PIECE_UNSIGNED)
NUMBER_CALLBACK(on_uint16, uint16_t, CBOR_PIECE_UNSIGNED)
NUMBER_CALLBACK(on_uint32, uint32_t, CBOR_PIECE_UNSIGNED)
NUMBER_CALLBACK(on_uint64, uint64_t, CBOR_PIECE_UNSIGNED)
NUMBER_CALLBACK(on_negint8, uint8_t, CBOR_PIECE_NEGATIVE)
NUMBER_CALLBACK(on_negint16, uint16_t, CBOR_PIECE_NEGATIVE)
NUMBER_CALLBACK(on_negint32, uint32_t, CBOR_PIECE_NEGATIVE)
NUMBER_CALLBACK(on_negint64, uint64_t, CBOR_PIECE_NEGATIVE)
NUMBER_CALLBACK(on_map, size_t, CBOR_PIECE_MAP)

static void on_bytes(void *context, cbor_data data, size_t size)
{
    *(struct cbor_piece *)context = (struct cbor_piece){CBOR_PIECE_BYTES, 0, {data, size}};
}

static void on_text(void *context, cbor_data data, size_t size)
{
    *(struct cbor_piece *)context = (struct cbor_piece){CBOR_PIECE_TEXT, 0, {data, size}};
}

static const struct cbor_callbacks callbacks = {
    .uint8 = on_uint8,
    .uint16 = on_uint16,
    .uint32 = on_uint32,
    .uint64 = on_uint64,
    .negint8 = on_negint8,
    .negint16 = on_negint16,
    .negint32 = on_negint32,
    .negint64 = on_negint64,
    .byte_string = on_bytes,
    .string = on_text,
    .map_start = on_map,
    .byte_string_start = cbor_null_byte_string_start_callback,
    .string_start = cbor_null_string_start_callback,
    .indef_array_start = cbor_null_indef_array_start_callback,
    .array_start = cbor_null_array_start_callback,
    .indef_map_start = cbor_null_indef_map_start_callback,
    .tag = cbor_null_tag_callback,
    .float2 = cbor_null_float2_callback,
    .float4 = cbor_null_float4_callback,
    .float8 = cbor_null_float8_callback,
    .undefined = cbor_null_undefined_callback,
    .null = cbor_null_null_callback,
    .boolean = cbor_null_boolean_callback,
    .indef_break = cbor_null_indef_break_callback,
};

enum cbor_outcome cbor_piece_take(struct tarn_bytes *in, struct cbor_piece *ret_piece)
{
    struct cbor_piece piece = {CBOR_PIECE_OTHER};
    if (in->size == 0)
        return CBOR_SHORT;
    struct cbor_decoder_result r = cbor_stream_decode(in->data, in->size, &callbacks, &piece);
    if (r.status != CBOR_DECODER_FINISHED)
        return r.status == CBOR_DECODER_NEDATA ? CBOR_SHORT : CBOR_BAD;
    in->data = (const unsigned char *)in->data + r.read;
    in->size -= r.read;
    *ret_piece = piece;
    return CBOR_TAKEN;
}

/* --- writing --- */

static void append_string(struct buffer *out, struct tarn_bytes bytes,
                          size_t (*encode_start)(size_t, unsigned char *, size_t))
{
    if (!buffer_reserve(out, HEAD_BYTES_MAX + bytes.size))
        return;
    out->size += encode_start(bytes.size, out->data + out->size, HEAD_BYTES_MAX);
    buffer_append(out, bytes.data, bytes.size);
}

void cbor_append_map(struct buffer *out, size_t pairs)
{
    if (buffer_reserve(out, HEAD_BYTES_MAX))
        out->size += cbor_encode_map_start(pairs, out->data + out->size, HEAD_BYTES_MAX);
}

void cbor_append_text(struct buffer *out, struct tarn_bytes text)
{
    append_string(out, text, cbor_encode_string_start);
}

void cbor_append_bytes(struct buffer *out, struct tarn_bytes bytes)
{
    append_string(out, bytes, cbor_encode_bytestring_start);
}

void cbor_append_int(struct buffer *out, int64_t value)
{
    if (!buffer_reserve(out, HEAD_BYTES_MAX))
        return;
    unsigned char *at = out->data + out->size;
    out->size += value >= 0 ? cbor_encode_uint((uint64_t)value, at, HEAD_BYTES_MAX)
                            : cbor_encode_negint((uint64_t)(-1 - value), at, HEAD_BYTES_MAX);
}
