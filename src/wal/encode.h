/* Inside of record.c: how a change lies in a record's payload, one encoder an encoding, and the
 * bounds of records. doc/format-log.md. Pure; payloads to be decoded may be any bytes. */
#ifndef WAL_ENCODE_H
#define WAL_ENCODE_H

#include "wal/record.h"

/* Before the head of a cbor record: a byte string of that many bytes follows. */
#define ENCODE_CBOR_PREFIX_BYTES 2

/* In JSON the head is text of a fixed size. */
#define ENCODE_JSON_HEAD_BYTES 103

/* No payload that has a head before it is larger: key, value, and what names them. */
#define ENCODE_PAYLOAD_BYTES_MAX (TARN_KEY_BYTES_MAX + TARN_VALUE_BYTES_MAX + 128)
/* ... and no line: key and value are written as base64 where that is shorter. */
#define ENCODE_LINE_BYTES_MAX                                                                      \
    (ENCODE_JSON_HEAD_BYTES + (TARN_KEY_BYTES_MAX + TARN_VALUE_BYTES_MAX) / 3 * 4 + 256)

static inline bool encode_has_key(enum change_kind kind)
{
    return kind != CHANGE_FLUSH;
}

static inline bool encode_has_value(enum change_kind kind)
{
    return kind == CHANGE_PUT || kind == CHANGE_PATCH;
}

static inline bool encode_has_expiry(enum change_kind kind)
{
    return kind == CHANGE_PUT || kind == CHANGE_EXPIRE || kind == CHANGE_PATCH;
}

/* "put", "delete", ...: what cbor and JSON call a kind; and back, false: no such word. */
struct tarn_bytes encode_word(enum change_kind kind);
bool encode_parse_word(struct tarn_bytes word, enum change_kind *ret_kind);

/* --- binary: [expiry, 8] [offset, 8, of a patch] key value --- */

size_t encode_binary_size(const struct change *change);
void encode_binary(const struct change *change, unsigned char *out);
/* What the head says: kind, whether there is an expiry, the key's size. ret_change views payload.
 */
bool decode_binary(enum change_kind kind, bool expires, size_t key_size, struct tarn_bytes payload,
                   struct change *ret_change);

/* --- cbor: a map --- */

size_t encode_cbor_size_max(const struct change *change);
size_t encode_cbor(const struct change *change, unsigned char *out, size_t room);
/* ret_change views payload. */
bool decode_cbor(struct tarn_bytes payload, struct change *ret_change);

/* --- json: what stands in the line behind the head, from its comma to the newline --- */

/* Appended; a failure leaves part of it. */
void encode_json(const struct change *change, struct buffer *out);
/* ret_change views `scratch`, which is cleared first; no memory: scratch->failed. */
bool decode_json(struct tarn_bytes payload, struct change *ret_change, struct buffer *scratch);

#endif
