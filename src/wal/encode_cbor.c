/* Payloads of cbor records: one map, as RFC 8949 has it, of text to
 *
 *     "op"         text: "put", "delete", "expire", "patch", "flush"
 *     "key"        byte string; not of a flush
 *     "value"      byte string; of put and patch
 *     "offset"     unsigned; of a patch
 *     "expire_ms"  integer; of put, expire, patch; only if there is an expiry
 *
 * How: libcbor's encoders, and its decoder by core/cbor_piece.h; neither allocates.
 *
 * Invariants
 * 1. Every field is there once, and only where its kind has it; the order is free.
 * 2. Strings have a definite length, so that what is decoded lies in the payload.
 * Failure modes: anything else is refused. */
#include "wal/encode.h"

#include <cbor.h>

#include "core/assert.h"
#include "core/cbor_piece.h"

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

/* The next piece, which must be of that type. */
static bool take(struct tarn_bytes *in, enum cbor_piece_type type, struct cbor_piece *ret_piece)
{
    *ret_piece = (struct cbor_piece){CBOR_PIECE_OTHER};
    return cbor_piece_take(in, ret_piece) == CBOR_TAKEN && ret_piece->type == type;
}

static bool take_expiry(struct tarn_bytes *in, int64_t *ret_expiry)
{
    struct tarn_bytes before = *in;
    struct cbor_piece item;
    bool negative = false;
    if (!take(in, CBOR_PIECE_UNSIGNED, &item)) {
        *in = before;
        negative = true;
        if (!take(in, CBOR_PIECE_NEGATIVE, &item))
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
    struct cbor_piece name, item;
    if (!take(in, CBOR_PIECE_TEXT, &name))
        return 0;
    if (bytes_equal(name.bytes, bytes_of("op")))
        return take(in, CBOR_PIECE_TEXT, &item) && encode_parse_word(item.bytes, &c->kind)
                   ? FIELD_OP
                   : 0;
    if (bytes_equal(name.bytes, bytes_of("key"))) {
        bool ok = take(in, CBOR_PIECE_BYTES, &item);
        c->key = item.bytes;
        return ok ? FIELD_KEY : 0;
    }
    if (bytes_equal(name.bytes, bytes_of("value"))) {
        bool ok = take(in, CBOR_PIECE_BYTES, &item);
        c->value = item.bytes;
        return ok ? FIELD_VALUE : 0;
    }
    if (bytes_equal(name.bytes, bytes_of("offset"))) {
        bool ok = take(in, CBOR_PIECE_UNSIGNED, &item);
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
    struct cbor_piece map;
    struct change c = {.kind = CHANGE_FLUSH};
    unsigned seen = 0;
    if (!take(&payload, CBOR_PIECE_MAP, &map) || map.number > 5)
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
