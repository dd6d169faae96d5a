/* Records, read: from a place where the chain is known, and heads where it is not.
 *
 * How: a head is recognised by its check, which tells how much there must be; then the checksum is
 * made again. Only what it vouches for is decoded.
 *
 * Invariants
 * 1. What record.c wrote is read as it was; no other bytes are the same record.
 * 2. No byte outside the view is read, whatever the bytes say.
 * Failure modes: memory while decoding; anything that is not a record is BAD. */
#include "wal/record.h"

#include "core/number.h"
#include "wal/record_head.h"

/* --- heads, read --- */

/* A head that its check vouches for. */
struct head {
    struct record_stamp stamp;
    struct head_words words;
    bool seal;
    uint64_t checksum;
    size_t payload_size; /* unknown in JSON: 0 */
    unsigned kind, flags;
    size_t key_size;
};

static bool plausible(const struct head *h)
{
    if (h->payload_size > ENCODE_PAYLOAD_BYTES_MAX || h->flags & ~(FLAG_MORE | FLAG_EXPIRES))
        return false;
    if (h->kind == KIND_SEAL)
        return h->payload_size == 0 && h->key_size == 0 && h->flags == 0;
    return h->kind >= CHANGE_PUT && h->kind <= CHANGE_FLUSH && h->key_size <= h->payload_size &&
           h->stamp.sequence >= 1;
}

/* p: RECORD_HEAD_BYTES. */
static bool parse_headed(const unsigned char *p, uint64_t salt, struct head *ret_head)
{
    uint32_t distance = load_u32le(p + HEAD_DISTANCE);
    uint64_t sequence = load_u64le(p + HEAD_SEQUENCE);
    struct head h = {
        .payload_size = load_u32le(p + HEAD_PAYLOAD_SIZE),
        .kind = p[HEAD_KIND],
        .flags = p[HEAD_FLAGS],
        .key_size = load_u16le(p + HEAD_KEY_SIZE),
        .stamp = {.sequence = sequence, .more = p[HEAD_FLAGS] & FLAG_MORE},
        .seal = p[HEAD_KIND] == KIND_SEAL,
        .checksum = load_u64le(p + HEAD_CHECKSUM),
    };
    if (!plausible(&h) || (distance == 0) != h.seal)
        return false;
    h.words = head_words(p);
    if (words_check(&h.words, salt) != load_u32le(p + HEAD_CHECK))
        return false;
    if (distance != DISTANCE_UNKNOWN && distance <= sequence)
        h.stamp.durable_upto = sequence - distance;
    *ret_head = h;
    return true;
}

/* A number as put_padded() writes it, in no other form. */
static bool take_padded(const unsigned char *p, uint64_t *ret_value)
{
    size_t at = 0;
    while (at < JSON_DIGITS - 1 && p[at] == ' ')
        at++;
    struct tarn_bytes digits = {p + at, JSON_DIGITS - at};
    return number_parse_uint(digits, ret_value);
}

static bool take_hex(const unsigned char *p, size_t digits, uint64_t *ret_value)
{
    uint64_t value = 0;
    for (size_t i = 0; i < digits; i++) {
        int digit = number_hex_digit(p[i]);
        if (digit < 0 || (p[i] >= 'A' && p[i] <= 'F'))
            return false;
        value = value << 4 | (unsigned)digit;
    }
    *ret_value = value;
    return true;
}

/* The text between the places. */
static bool json_head_fits(const unsigned char *p)
{
    static const struct {
        size_t from, to;
    } fixed[] = {{0, JSON_SEQUENCE},
                 {JSON_SEQUENCE + JSON_DIGITS, JSON_SYNCED},
                 {JSON_SYNCED + JSON_DIGITS, JSON_MORE},
                 {JSON_MORE + JSON_MORE_BYTES, JSON_CHECK},
                 {JSON_CHECKSUM + 16, ENCODE_JSON_HEAD_BYTES}};
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
        if (memcmp(p + fixed[i].from, json_head + fixed[i].from, fixed[i].to - fixed[i].from) != 0)
            return false;
    return true;
}

/* p: ENCODE_JSON_HEAD_BYTES. A seal shows by its payload only, but for its being synced. */
static bool parse_json_head(const unsigned char *p, uint64_t salt, struct head *ret_head)
{
    struct head h = {0};
    uint64_t check;
    if (!json_head_fits(p) || !take_padded(p + JSON_SEQUENCE, &h.stamp.sequence) ||
        !take_padded(p + JSON_SYNCED, &h.stamp.durable_upto) ||
        !take_hex(p + JSON_CHECK, 8, &check) || !take_hex(p + JSON_CHECKSUM, 16, &h.checksum))
        return false;
    h.stamp.more = memcmp(p + JSON_MORE, "true ", JSON_MORE_BYTES) == 0;
    if (!h.stamp.more && memcmp(p + JSON_MORE, "false", JSON_MORE_BYTES) != 0)
        return false;
    h.words = json_words(&h.stamp);
    h.seal = h.stamp.durable_upto == h.stamp.sequence;
    if (h.stamp.durable_upto > h.stamp.sequence || words_check(&h.words, salt) != check)
        return false;
    *ret_head = h;
    return true;
}

static bool parse_head(enum wal_encoding encoding, const unsigned char *p, uint64_t salt,
                       struct head *ret_head)
{
    if (encoding == WAL_JSON)
        return parse_json_head(p, salt, ret_head);
    if (encoding == WAL_BINARY)
        return parse_headed(p, salt, ret_head);
    return memcmp(p, cbor_prefix, ENCODE_CBOR_PREFIX_BYTES) == 0 &&
           parse_headed(p + ENCODE_CBOR_PREFIX_BYTES, salt, ret_head);
}

/* --- reading --- */

/* Where a line's payload ends: behind the newline. 0: not within the bytes. */
static size_t json_payload_size(struct tarn_bytes rest)
{
    const unsigned char *end = memchr(rest.data, '\n', rest.size);
    return end ? (size_t)(end + 1 - (const unsigned char *)rest.data) : 0;
}

/* The payload, whose checksum was right, as a change. */
static bool decode(enum wal_encoding encoding, const struct head *h, struct tarn_bytes payload,
                   struct change *ret_change, struct buffer *scratch)
{
    bool expires = h->flags & FLAG_EXPIRES;
    if (encoding == WAL_BINARY)
        return decode_binary((enum change_kind)h->kind, expires, h->key_size, payload, ret_change);
    if (encoding == WAL_JSON)
        return decode_json(payload, ret_change, scratch);
    return decode_cbor(payload, ret_change) && ret_change->kind == (enum change_kind)h->kind &&
           ret_change->key.size == h->key_size && (ret_change->expire_ms != 0) == expires;
}

static bool is_seal(enum wal_encoding encoding, const struct head *h, struct tarn_bytes payload)
{
    return encoding != WAL_JSON ||
           (h->seal && !h->stamp.more && bytes_equal(payload, bytes_of(json_seal)));
}

/* What lies behind the head, if all of it is there. */
static enum record_found find_payload(enum wal_encoding encoding, const struct head *h,
                                      struct tarn_bytes rest, struct tarn_bytes *ret_payload)
{
    size_t size = encoding == WAL_JSON ? json_payload_size(rest) : h->payload_size;
    if (size > rest.size || (encoding == WAL_JSON && size == 0))
        return rest.size < record_bytes_max(encoding) ? RECORD_SHORT : RECORD_BAD;
    *ret_payload = (struct tarn_bytes){rest.data, size};
    return RECORD_FOUND;
}

/* There is no head: filling, the start of one, or something else. */
static enum record_found no_head(enum wal_encoding encoding, struct tarn_bytes bytes)
{
    const unsigned char *p = bytes.data;
    if (bytes.size == 0 ||
        ((p[0] == record_filling(encoding) || p[0] == 0) && record_only_filling(encoding, bytes)))
        return RECORD_END;
    return bytes.size < record_head_bytes(encoding) ? RECORD_SHORT : RECORD_BAD;
}

enum record_found record_read(enum wal_encoding encoding, struct tarn_bytes bytes,
                              struct record_chain *chain, struct record_view *ret_view,
                              struct buffer *scratch)
{
    size_t head_size = record_head_bytes(encoding);
    struct head h;
    struct tarn_bytes payload;
    buffer_clear(scratch);
    if (bytes.size < head_size || !parse_head(encoding, bytes.data, chain->salt, &h))
        return no_head(encoding, bytes);
    struct tarn_bytes rest = {(const unsigned char *)bytes.data + head_size,
                              bytes.size - head_size};
    enum record_found found = find_payload(encoding, &h, rest, &payload);
    if (found != RECORD_FOUND)
        return found;
    uint64_t checksum =
        words_checksum(&h.words, payload_checksum(payload.data, payload.size), chain);
    if (checksum != h.checksum)
        return RECORD_BAD;
    struct record_view view = {.size = head_size + payload.size, .stamp = h.stamp};
    if (h.seal ? !is_seal(encoding, &h, payload)
               : !decode(encoding, &h, payload, &view.change, scratch))
        return RECORD_BAD;
    chain->checksum = checksum;
    *ret_view = view;
    return h.seal ? RECORD_SEAL : RECORD_FOUND;
}

/* --- where there is no chain --- */

/* Could a head begin here? Quick, and right if it says no. */
static inline bool could_begin(enum wal_encoding encoding, const unsigned char *p)
{
    if (encoding == WAL_JSON)
        return p[0] == '{' && p[1] == '"';
    if (encoding == WAL_CBOR)
        return p[0] == 0x58 && p[1] == RECORD_HEAD_BYTES;
    return (unsigned char)(p[HEAD_KIND] - 1) < KIND_SEAL;
}

bool record_find(enum wal_encoding encoding, struct tarn_bytes bytes, uint64_t salt, size_t *at,
                 struct record_mark *ret_mark)
{
    const unsigned char *p = bytes.data;
    size_t head_size = record_head_bytes(encoding);
    struct head h;
    for (; bytes.size >= head_size && *at <= bytes.size - head_size; ++*at) {
        if (!could_begin(encoding, p + *at) || !parse_head(encoding, p + *at, salt, &h))
            continue;
        *ret_mark = (struct record_mark){h.stamp, h.seal, h.checksum};
        return true;
    }
    return false;
}

bool record_evidence(enum wal_encoding encoding, struct tarn_bytes bytes, uint64_t salt,
                     uint64_t sequence)
{
    struct record_mark mark;
    for (size_t at = 0; record_find(encoding, bytes, salt, &at, &mark); at++)
        if (mark.stamp.durable_upto >= sequence)
            return true;
    return false;
}
