/* Records: heads, checksums, chains; the payloads are the encoders' (encode.h).
 *
 * How: a record is a head of a fixed size, then its payload. record_prepare() leaves the payload's
 * own checksum where the record's will stand. Two checksums are made of the head as words in
 * registers: the check, by which a head is recognised anywhere, seeded by the salt; and the
 * record's, of those words and the payload's checksum, seeded by salt ^ the checksum before. Both
 * are XXH3-64, of 24 and 32 bytes; XXH3 of the payload is not seeded, since that takes time.
 *
 * Invariants
 * 1. Every byte of a record counts in its checksum, or can only have one value (as the text between
 *    a line's numbers, and the numbers' own form): no two texts are the same record.
 * 2. record_seal() writes to the head only, and its time does not depend on the payload.
 * 3. No byte outside the view is read, whatever the bytes say.
 * Failure modes: memory while preparing or decoding; anything that is not a record is BAD. */
#include "wal/record.h"

#include "core/assert.h"
#include "core/codec.h"
#include "core/hash.h"
#include "core/number.h"
#include "core/plant.h"
#include "wal/encode.h"

/* Fields of a head, by offset; doc/format-log.md has them all. */
enum {
    HEAD_CHECK = 0,
    HEAD_PAYLOAD_SIZE = 4,
    HEAD_SEQUENCE = 8,
    HEAD_DISTANCE = 16,
    HEAD_KEY_SIZE = 20,
    HEAD_KIND = 22,
    HEAD_FLAGS = 23,
    HEAD_CHECKSUM = 24,
};
static_assert(HEAD_CHECKSUM + 8 == RECORD_HEAD_BYTES, "a head has no more");

enum { KIND_SEAL = 127 };
enum { FLAG_MORE = 1, FLAG_EXPIRES = 2 };
#define DISTANCE_UNKNOWN UINT32_MAX

/* A head of JSON: text with places. */
static const char json_head[] =
    "{\"seq\":                    ,\"synced\":                    ,\"more\":     ,\"sum\":\""
    "                        \"";
enum {
    JSON_SEQUENCE = 7,
    JSON_SYNCED = 37,
    JSON_MORE = 65,
    JSON_CHECK = 78,
    JSON_CHECKSUM = 86,
};
static_assert(sizeof json_head - 1 == ENCODE_JSON_HEAD_BYTES, "the places are right");
enum { JSON_DIGITS = 20, JSON_MORE_BYTES = 5 };
static const char json_seal[] = ",\"op\":\"seal\"}\n";

static const char cbor_prefix[ENCODE_CBOR_PREFIX_BYTES] = {0x58, RECORD_HEAD_BYTES};

static const char *const words[] = {
    [CHANGE_PUT] = "put",     [CHANGE_DELETE] = "delete", [CHANGE_EXPIRE] = "expire",
    [CHANGE_PATCH] = "patch", [CHANGE_FLUSH] = "flush",
};

struct tarn_bytes encode_word(enum change_kind kind)
{
    return bytes_of(words[kind]);
}

bool encode_parse_word(struct tarn_bytes word, enum change_kind *ret_kind)
{
    for (int kind = CHANGE_PUT; kind <= CHANGE_FLUSH; kind++)
        if (bytes_equal(word, bytes_of(words[kind]))) {
            *ret_kind = (enum change_kind)kind;
            return true;
        }
    return false;
}

unsigned char record_filling(enum wal_encoding encoding)
{
    return encoding == WAL_JSON ? '\n' : 0;
}

bool record_only_filling(enum wal_encoding encoding, struct tarn_bytes bytes)
{
    const unsigned char *p = bytes.data;
    /* Equal to itself moved by one, from a first byte that is the filling. */
    return bytes.size == 0 ||
           (p[0] == record_filling(encoding) && memcmp(p, p + 1, bytes.size - 1) == 0);
}

size_t record_bytes_max(enum wal_encoding encoding)
{
    return encoding == WAL_JSON
               ? ENCODE_LINE_BYTES_MAX
               : ENCODE_CBOR_PREFIX_BYTES + RECORD_HEAD_BYTES + ENCODE_PAYLOAD_BYTES_MAX;
}

size_t record_head_bytes(enum wal_encoding encoding)
{
    return encoding == WAL_JSON   ? ENCODE_JSON_HEAD_BYTES
           : encoding == WAL_CBOR ? ENCODE_CBOR_PREFIX_BYTES + RECORD_HEAD_BYTES
                                  : RECORD_HEAD_BYTES;
}

/* --- checksums --- */

/* What the head says as three words, without its check. */
struct head_words {
    uint64_t word[3];
};

static uint32_t words_check(const struct head_words *w, uint64_t salt)
{
    return (uint32_t)hash_checksum(w->word, sizeof w->word, salt);
}

static uint64_t words_checksum(const struct head_words *w, uint64_t payload_checksum,
                               const struct record_chain *chain)
{
    const uint64_t all[4] = {w->word[0], w->word[1], w->word[2], payload_checksum};
    return hash_checksum(all, sizeof all, chain->salt ^ chain->checksum);
}

static uint64_t payload_checksum(const unsigned char *payload, size_t size)
{
    return hash_checksum(payload, size, 0);
}

/* The words of a binary head as it lies there. */
static struct head_words head_words(const unsigned char *head)
{
    struct head_words w = {{load_u64le(head) & ~(uint64_t)UINT32_MAX,
                            load_u64le(head + HEAD_SEQUENCE), load_u64le(head + HEAD_DISTANCE)}};
    if (plant(PLANT_LENGTH_UNCHECKED)) {
        w.word[0] = 0;
        w.word[2] &= 0xffff0000ffffffffu;
    }
    return w;
}

static struct head_words json_words(const struct record_stamp *stamp)
{
    return (struct head_words){{stamp->sequence, stamp->durable_upto, stamp->more}};
}

/* --- making --- */

static void prepare_headed(const struct change *change, size_t prefix_size, size_t payload_size,
                           struct buffer *out)
{
    unsigned char *head = out->data + out->size + prefix_size;
    bool expires = encode_has_expiry(change->kind) && change->expire_ms != 0;
    size_t key_size = encode_has_key(change->kind) ? change->key.size : 0;
    store_u32le(head + HEAD_CHECK, 0);
    store_u32le(head + HEAD_PAYLOAD_SIZE, (uint32_t)payload_size);
    store_u16le(head + HEAD_KEY_SIZE, (uint16_t)key_size);
    head[HEAD_KIND] = (unsigned char)change->kind;
    head[HEAD_FLAGS] = expires ? FLAG_EXPIRES : 0;
    store_u64le(head + HEAD_CHECKSUM, payload_checksum(head + RECORD_HEAD_BYTES, payload_size));
    out->size += prefix_size + RECORD_HEAD_BYTES + payload_size;
}

static void prepare_binary(const struct change *change, struct buffer *out)
{
    size_t size = encode_binary_size(change);
    if (!buffer_reserve(out, RECORD_HEAD_BYTES + size))
        return;
    encode_binary(change, out->data + out->size + RECORD_HEAD_BYTES);
    prepare_headed(change, 0, size, out);
}

static void prepare_cbor(const struct change *change, struct buffer *out)
{
    const size_t before = ENCODE_CBOR_PREFIX_BYTES + RECORD_HEAD_BYTES;
    size_t room = encode_cbor_size_max(change);
    if (!buffer_reserve(out, before + room))
        return;
    unsigned char *record = out->data + out->size;
    memcpy(record, cbor_prefix, ENCODE_CBOR_PREFIX_BYTES);
    prepare_headed(change, ENCODE_CBOR_PREFIX_BYTES, encode_cbor(change, record + before, room),
                   out);
}

static void prepare_json(const struct change *change, struct buffer *out)
{
    size_t at = out->size;
    buffer_append(out, json_head, ENCODE_JSON_HEAD_BYTES);
    encode_json(change, out);
    if (out->failed) {
        out->size = at;
        return;
    }
    unsigned char *payload = out->data + at + ENCODE_JSON_HEAD_BYTES;
    store_u64le(out->data + at + JSON_CHECKSUM,
                payload_checksum(payload, out->size - at - ENCODE_JSON_HEAD_BYTES));
}

size_t record_prepare(enum wal_encoding encoding, const struct change *change, struct buffer *out)
{
    size_t at = out->size;
    ASSERT(!encode_has_key(change->kind) || change->key.size <= TARN_KEY_BYTES_MAX);
    ASSERT(!encode_has_value(change->kind) || change->value.size <= TARN_VALUE_BYTES_MAX);
    if (encoding == WAL_BINARY)
        prepare_binary(change, out);
    else if (encoding == WAL_CBOR)
        prepare_cbor(change, out);
    else
        prepare_json(change, out);
    return at;
}

static void seal_headed(unsigned char *head, const struct record_stamp *stamp,
                        struct record_chain *chain)
{
    uint64_t distance = stamp->sequence - stamp->durable_upto;
    store_u64le(head + HEAD_SEQUENCE, stamp->sequence);
    uint32_t noted = distance < DISTANCE_UNKNOWN ? (uint32_t)distance : DISTANCE_UNKNOWN;
    uint32_t fixed =
        load_u32le(head + HEAD_KEY_SIZE) | (stamp->more ? (uint32_t)FLAG_MORE << 24 : 0);
    struct head_words w = {{(uint64_t)load_u32le(head + HEAD_PAYLOAD_SIZE) << 32, stamp->sequence,
                            noted | (uint64_t)fixed << 32}};
    store_u64le(head + HEAD_DISTANCE, w.word[2]);
    if (plant(PLANT_LENGTH_UNCHECKED))
        w = head_words(head);
    store_u32le(head + HEAD_CHECK, words_check(&w, chain->salt));
    chain->checksum = words_checksum(&w, load_u64le(head + HEAD_CHECKSUM), chain);
    store_u64le(head + HEAD_CHECKSUM, chain->checksum);
}

/* 20 characters, the number's digits at their end; the places before hold spaces. */
static void put_padded(unsigned char *at, uint64_t value)
{
    static const char pairs[] = "0001020304050607080910111213141516171819"
                                "2021222324252627282930313233343536373839"
                                "4041424344454647484950515253545556575859"
                                "6061626364656667686970717273747576777879"
                                "8081828384858687888990919293949596979899";
    unsigned char *p = at + JSON_DIGITS;
    for (; value >= 10; value /= 100) /* 10..99 are the last pair, and have no leading zero */
        memcpy(p -= 2, pairs + 2 * (value % 100), 2);
    if (value > 0 || p == at + JSON_DIGITS)
        *--p = (unsigned char)('0' + value);
}

/* 8 lower-case digits. Each nibble gets a byte, then what makes it a digit or a letter. */
static void put_hex(unsigned char *at, uint32_t value)
{
    uint64_t x = __builtin_bswap32(value);
    x = (x | x << 16) & 0x0000ffff0000ffff;
    x = (x | x << 8) & 0x00ff00ff00ff00ff;
    x = (x >> 4 & 0x000f000f000f000f) | (x & 0x000f000f000f000f) << 8;
    uint64_t letters = (x + 0x0606060606060606) >> 4 & 0x0101010101010101;
    store_u64le(at, x + 0x3030303030303030 + letters * ('a' - '0' - 10));
}

static void seal_json(unsigned char *line, const struct record_stamp *stamp,
                      struct record_chain *chain)
{
    struct head_words w = json_words(stamp);
    uint64_t checksum = words_checksum(&w, load_u64le(line + JSON_CHECKSUM), chain);
    put_padded(line + JSON_SEQUENCE, stamp->sequence);
    put_padded(line + JSON_SYNCED, stamp->durable_upto);
    memcpy(line + JSON_MORE, stamp->more ? "true " : "false", JSON_MORE_BYTES);
    put_hex(line + JSON_CHECK, words_check(&w, chain->salt));
    put_hex(line + JSON_CHECKSUM, (uint32_t)(checksum >> 32));
    put_hex(line + JSON_CHECKSUM + 8, (uint32_t)checksum);
    chain->checksum = checksum;
}

void record_seal(enum wal_encoding encoding, unsigned char *record, size_t size,
                 const struct record_stamp *stamp, struct record_chain *chain)
{
    ASSERT(size >= RECORD_HEAD_BYTES && stamp->durable_upto < stamp->sequence);
    if (encoding == WAL_BINARY)
        seal_headed(record, stamp, chain);
    else if (encoding == WAL_CBOR)
        seal_headed(record + ENCODE_CBOR_PREFIX_BYTES, stamp, chain);
    else
        seal_json(record, stamp, chain);
}

/* A record whose payload is nothing, and which says that all up to its sequence is synced. */
void record_append_seal(enum wal_encoding encoding, uint64_t last_sequence,
                        struct record_chain *chain, struct buffer *out)
{
    const struct record_stamp stamp = {.sequence = last_sequence, .durable_upto = last_sequence};
    size_t at = out->size;
    if (!buffer_reserve(out, ENCODE_JSON_HEAD_BYTES + sizeof json_seal))
        return;
    unsigned char *record = out->data + at;
    if (encoding == WAL_JSON) {
        buffer_append(out, json_head, ENCODE_JSON_HEAD_BYTES);
        buffer_append(out, json_seal, sizeof json_seal - 1);
        store_u64le(record + JSON_CHECKSUM,
                    payload_checksum(record + ENCODE_JSON_HEAD_BYTES, sizeof json_seal - 1));
        seal_json(record, &stamp, chain);
        return;
    }
    if (encoding == WAL_CBOR)
        buffer_append(out, cbor_prefix, ENCODE_CBOR_PREFIX_BYTES);
    unsigned char head[RECORD_HEAD_BYTES] = {[HEAD_KIND] = KIND_SEAL};
    store_u64le(head + HEAD_CHECKSUM, payload_checksum(head, 0));
    seal_headed(head, &stamp, chain);
    buffer_append(out, head, sizeof head);
}

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
    if (bytes.size == 0 || (*(const unsigned char *)bytes.data == record_filling(encoding) &&
                            record_only_filling(encoding, bytes)))
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
