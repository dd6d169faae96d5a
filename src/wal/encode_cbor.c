/* Payloads of cbor records: one map, as RFC 8949 has it, of text to
 *
 *     "op"         text: "put", "delete", "expire", "patch", "flush"
 *     "key"        byte string; not of a flush
 *     "value"      byte string; of put and patch
 *     "offset"     unsigned; of a patch
 *     "expire_ms"  integer; of put, expire, patch; only if there is an expiry
 *
 * How: libcbor's encoders and its decoder of single items, neither of which allocates.
 *
 * Invariants
 * 1. Every field is there once, and only where its kind has it; the order is free.
 * 2. Strings have a definite length, so that what is decoded lies in the payload.
 * Failure modes: anything else is refused. */
#include "wal/encode.h"

#include <cbor.h>

#include "core/assert.h"

/* Map, names and the heads of what they name: under 80 bytes. */
#define CBOR_FIXED_BYTES_MAX 96

/* --- writing --- */

struct output {
    unsigned char *at;
    size_t room;
};

static void advance(struct output *out, size_t size)
{
    ASSERT(size > 0); /* there was room */
    out->at += size;
    out->room -= size;
}

static void put_raw(struct output *out, struct tarn_bytes bytes)
{
    ASSERT(bytes.size <= out->room);
    if (bytes.size > 0)
        memcpy(out->at, bytes.data, bytes.size);
    out->at += bytes.size;
    out->room -= bytes.size;
}

static void put_text(struct output *out, struct tarn_bytes text)
{
    advance(out, cbor_encode_string_start(text.size, out->at, out->room));
    put_raw(out, text);
}

static void put_bytes(struct output *out, const char *name, struct tarn_bytes bytes)
{
    put_text(out, bytes_of(name));
    advance(out, cbor_encode_bytestring_start(bytes.size, out->at, out->room));
    put_raw(out, bytes);
}

static void put_integer(struct output *out, const char *name, int64_t value)
{
    put_text(out, bytes_of(name));
    if (value >= 0)
        advance(out, cbor_encode_uint((uint64_t)value, out->at, out->room));
    else
        advance(out, cbor_encode_negint((uint64_t)(-1 - value), out->at, out->room));
}

size_t encode_cbor_size_max(const struct change *change)
{
    return CBOR_FIXED_BYTES_MAX + (encode_has_key(change->kind) ? change->key.size : 0) +
           (encode_has_value(change->kind) ? change->value.size : 0);
}

size_t encode_cbor(const struct change *change, unsigned char *out, size_t room)
{
    struct output o = {out, room};
    bool expires = encode_has_expiry(change->kind) && change->expire_ms != 0;
    size_t fields = 1u + encode_has_key(change->kind) + encode_has_value(change->kind) +
                    (change->kind == CHANGE_PATCH) + expires;
    advance(&o, cbor_encode_map_start(fields, o.at, o.room));
    put_text(&o, bytes_of("op"));
    put_text(&o, encode_word(change->kind));
    if (encode_has_key(change->kind))
        put_bytes(&o, "key", change->key);
    if (change->kind == CHANGE_PATCH) {
        put_text(&o, bytes_of("offset"));
        advance(&o, cbor_encode_uint(change->offset, o.at, o.room));
    }
    if (encode_has_value(change->kind))
        put_bytes(&o, "value", change->value);
    if (expires)
        put_integer(&o, "expire_ms", change->expire_ms);
    return room - o.room;
}

/* --- reading --- */

enum item_type { ITEM_OTHER, ITEM_UNSIGNED, ITEM_NEGATIVE, ITEM_BYTES, ITEM_TEXT, ITEM_MAP };

struct item {
    enum item_type type;
    uint64_t number; /* a negative one is -1 - number */
    struct tarn_bytes bytes;
};

static void on_number(void *context, enum item_type type, uint64_t number)
{
    *(struct item *)context = (struct item){.type = type, .number = number};
}
static void on_uint8(void *context, uint8_t v)
{
    on_number(context, ITEM_UNSIGNED, v);
}
static void on_uint16(void *context, uint16_t v)
{
    on_number(context, ITEM_UNSIGNED, v);
}
static void on_uint32(void *context, uint32_t v)
{
    on_number(context, ITEM_UNSIGNED, v);
}
static void on_uint64(void *context, uint64_t v)
{
    on_number(context, ITEM_UNSIGNED, v);
}
static void on_negint8(void *context, uint8_t v)
{
    on_number(context, ITEM_NEGATIVE, v);
}
static void on_negint16(void *context, uint16_t v)
{
    on_number(context, ITEM_NEGATIVE, v);
}
static void on_negint32(void *context, uint32_t v)
{
    on_number(context, ITEM_NEGATIVE, v);
}
static void on_negint64(void *context, uint64_t v)
{
    on_number(context, ITEM_NEGATIVE, v);
}
static void on_map(void *context, size_t fields)
{
    on_number(context, ITEM_MAP, fields);
}
static void on_bytes(void *context, cbor_data data, size_t size)
{
    *(struct item *)context = (struct item){.type = ITEM_BYTES, .bytes = {data, size}};
}
static void on_text(void *context, cbor_data data, size_t size)
{
    *(struct item *)context = (struct item){.type = ITEM_TEXT, .bytes = {data, size}};
}

/* All else has no callback of ours, and leaves the item what it was: OTHER. */
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

/* The next item, which must be of that type. */
static bool take(struct tarn_bytes *in, enum item_type type, struct item *ret_item)
{
    *ret_item = (struct item){ITEM_OTHER};
    if (in->size == 0)
        return false;
    struct cbor_decoder_result r = cbor_stream_decode(in->data, in->size, &callbacks, ret_item);
    if (r.status != CBOR_DECODER_FINISHED || ret_item->type != type)
        return false;
    in->data = (const unsigned char *)in->data + r.read;
    in->size -= r.read;
    return true;
}

static bool take_expiry(struct tarn_bytes *in, int64_t *ret_expiry)
{
    struct tarn_bytes before = *in;
    struct item item;
    bool negative = false;
    if (!take(in, ITEM_UNSIGNED, &item)) {
        *in = before;
        negative = true;
        if (!take(in, ITEM_NEGATIVE, &item))
            return false;
    }
    if (item.number > INT64_MAX || (item.number == 0 && !negative))
        return false;
    *ret_expiry = negative ? -1 - (int64_t)item.number : (int64_t)item.number;
    return true;
}

enum { FIELD_OP = 1, FIELD_KEY = 2, FIELD_VALUE = 4, FIELD_OFFSET = 8, FIELD_EXPIRY = 16 };

/* One name and what it names; returns which field, 0 if it is none. */
static unsigned take_field(struct tarn_bytes *in, struct change *c)
{
    struct item name, item;
    if (!take(in, ITEM_TEXT, &name))
        return 0;
    if (bytes_equal(name.bytes, bytes_of("op")))
        return take(in, ITEM_TEXT, &item) && encode_parse_word(item.bytes, &c->kind) ? FIELD_OP : 0;
    if (bytes_equal(name.bytes, bytes_of("key"))) {
        bool ok = take(in, ITEM_BYTES, &item);
        c->key = item.bytes;
        return ok ? FIELD_KEY : 0;
    }
    if (bytes_equal(name.bytes, bytes_of("value"))) {
        bool ok = take(in, ITEM_BYTES, &item);
        c->value = item.bytes;
        return ok ? FIELD_VALUE : 0;
    }
    if (bytes_equal(name.bytes, bytes_of("offset"))) {
        bool ok = take(in, ITEM_UNSIGNED, &item);
        c->offset = item.number;
        return ok ? FIELD_OFFSET : 0;
    }
    if (bytes_equal(name.bytes, bytes_of("expire_ms")))
        return take_expiry(in, &c->expire_ms) ? FIELD_EXPIRY : 0;
    return 0;
}

/* Which fields a change of that kind must have, leaving the expiry aside. */
static unsigned needed(enum change_kind kind)
{
    return FIELD_OP | (encode_has_key(kind) ? FIELD_KEY : 0u) |
           (encode_has_value(kind) ? FIELD_VALUE : 0u) | (kind == CHANGE_PATCH ? FIELD_OFFSET : 0u);
}

bool decode_cbor(struct tarn_bytes payload, struct change *ret_change)
{
    struct item map;
    struct change c = {.kind = CHANGE_FLUSH};
    unsigned seen = 0;
    if (!take(&payload, ITEM_MAP, &map) || map.number > 5)
        return false;
    for (uint64_t i = 0; i < map.number; i++) {
        unsigned field = take_field(&payload, &c);
        if (field == 0 || seen & field)
            return false;
        seen |= field;
    }
    if (payload.size > 0 || !(seen & FIELD_OP) ||
        (seen & ~(unsigned)FIELD_EXPIRY) != needed(c.kind))
        return false;
    if (seen & FIELD_EXPIRY && !encode_has_expiry(c.kind))
        return false;
    *ret_change = c;
    return true;
}
