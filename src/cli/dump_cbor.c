/* Dumps as CBOR: a sequence (RFC 8742) of maps of text to
 *
 *     "key", "value"   byte strings; text strings are read as well
 *     "expire_ms"      unsigned, ms since 1970; if the key expires
 *
 * Failure modes: anything else is refused, with the record's number and the byte where it goes
 * wrong. */
#include "cli/dump_format.h"
#include "core/cbor_piece.h"

void dump_cbor_encode(const struct tarn_record *record, struct buffer *out)
{
    size_t before = out->size;
    cbor_append_map(out, record->expire_ms != 0 ? 3 : 2);
    cbor_append_text(out, bytes_of("key"));
    cbor_append_bytes(out, record->key);
    cbor_append_text(out, bytes_of("value"));
    cbor_append_bytes(out, record->value);
    if (record->expire_ms != 0) {
        cbor_append_text(out, bytes_of("expire_ms"));
        cbor_append_int(out, record->expire_ms);
    }
    if (out->failed)
        out->size = before;
}

struct reading {
    const unsigned char *start;
    struct tarn_bytes left;
    const char *wrong; /* if BAD */
};

static enum dump_outcome bad(struct reading *in, const char *wrong)
{
    in->wrong = wrong;
    return DUMP_BAD;
}

static enum dump_outcome take(struct reading *in, struct cbor_piece *ret_piece)
{
    switch (cbor_piece_take(&in->left, ret_piece)) {
    case CBOR_TAKEN:
        return DUMP_RECORD;
    case CBOR_SHORT:
        return DUMP_INCOMPLETE;
    default:
        return bad(in, "malformed CBOR");
    }
}

static enum dump_outcome take_bytes(struct reading *in, size_t size_max, struct tarn_bytes *ret)
{
    struct cbor_piece piece;
    struct tarn_bytes before = in->left;
    enum dump_outcome outcome = take(in, &piece);
    if (outcome != DUMP_RECORD)
        return outcome;
    if (ret->data != NULL || (piece.type != CBOR_PIECE_BYTES && piece.type != CBOR_PIECE_TEXT) ||
        piece.bytes.size > size_max) {
        in->left = before;
        return bad(in, ret->data != NULL             ? "a name for the second time"
                       : piece.bytes.size > size_max ? "a string longer than a key or value can be"
                                                     : "expected a byte string of definite length");
    }
    *ret = piece.bytes;
    return DUMP_RECORD;
}

static enum dump_outcome take_expiry(struct reading *in, int64_t *ret_expire_ms)
{
    struct cbor_piece piece;
    struct tarn_bytes before = in->left;
    enum dump_outcome outcome = take(in, &piece);
    if (outcome != DUMP_RECORD)
        return outcome;
    if (*ret_expire_ms != 0 || piece.type != CBOR_PIECE_UNSIGNED || piece.number == 0 ||
        piece.number > INT64_MAX) {
        in->left = before;
        return bad(in, *ret_expire_ms != 0
                           ? "a name for the second time"
                           : "expected milliseconds since 1970, a whole number over 0");
    }
    *ret_expire_ms = (int64_t)piece.number;
    return DUMP_RECORD;
}

/* A name and what it names. */
static enum dump_outcome take_member(struct reading *in, struct tarn_record *r)
{
    struct cbor_piece name;
    struct tarn_bytes before = in->left;
    enum dump_outcome outcome = take(in, &name);
    if (outcome != DUMP_RECORD)
        return outcome;
    if (name.type == CBOR_PIECE_TEXT && bytes_equal(name.bytes, bytes_of("key")))
        return take_bytes(in, TARN_KEY_BYTES_MAX, &r->key);
    if (name.type == CBOR_PIECE_TEXT && bytes_equal(name.bytes, bytes_of("value")))
        return take_bytes(in, TARN_VALUE_BYTES_MAX, &r->value);
    if (name.type == CBOR_PIECE_TEXT && bytes_equal(name.bytes, bytes_of("expire_ms")))
        return take_expiry(in, &r->expire_ms);
    in->left = before;
    return bad(in, "expected the text \"key\", \"value\" or \"expire_ms\"");
}

static enum dump_outcome take_map(struct reading *in, struct tarn_record *r)
{
    struct cbor_piece map;
    enum dump_outcome outcome = take(in, &map);
    if (outcome != DUMP_RECORD)
        return outcome;
    if (map.type != CBOR_PIECE_MAP || map.number < 2 || map.number > 3) {
        in->left.data = in->start;
        return bad(in, "expected a map of two or three, of definite length");
    }
    for (uint64_t i = 0; i < map.number && outcome == DUMP_RECORD; i++)
        outcome = take_member(in, r);
    if (outcome == DUMP_RECORD && (r->key.data == NULL || r->value.data == NULL))
        outcome = bad(in, r->key.data == NULL ? "no key in the map" : "no value in the map");
    return outcome;
}

enum dump_outcome dump_cbor_decode(unsigned char *data, size_t size, const struct dump_place *place,
                                   size_t *ret_size, struct tarn_record *ret_record,
                                   struct tarn_error *error)
{
    struct reading in = {.start = data, .left = {data, size}};
    *ret_record = (struct tarn_record){0};
    enum dump_outcome outcome = take_map(&in, ret_record);
    size_t at = (size_t)((const unsigned char *)in.left.data - data);
    *ret_size = at;
    if (outcome == DUMP_BAD)
        error_set_at(error, TARN_CORRUPT, place->offset + at, place->record,
                     "%s: record %llu at byte %llu: %s at byte %llu", place->path,
                     (unsigned long long)place->record, (unsigned long long)place->offset, in.wrong,
                     (unsigned long long)(place->offset + at));
    return outcome;
}
